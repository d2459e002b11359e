export { RunTools, type RunToolsOptions } from "./client.js";
export { type ErrorCode, type ErrorDetails, RunToolsConnectionError, RunToolsError, RunToolsTimeoutError } from "./errors.js";
export type { ExecuteRequest, Language, SourceFile } from "./request.js";
export { type CompileStage, type ExecuteResult, type LimitFired, type Runtime, type Stage, type Status, stderrBytes, stdoutBytes } from "./result.js";
export type { Session } from "./session.js";
export type { CallOptions } from "./transport.js";
export { VERSION } from "./version.js";
