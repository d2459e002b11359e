export { type ExecuteOptions, RunTools, type RunToolsOptions } from "./client.js";
export { type ErrorCode, type ErrorDetails, RunToolsConnectionError, RunToolsError, RunToolsTimeoutError } from "./errors.js";
export { type ExecuteEvent, outputBytes, type OutputEvent } from "./events.js";
export type { GetFileOptions, SessionFiles } from "./files.js";
export type { Interactive, InteractiveOptions, InteractiveRequest, SignalName } from "./interactive.js";
export type { ExecuteRequest, Language, SourceFile, StartRequest, TestCase } from "./request.js";
export {
  type Artifact,
  artifactBytes,
  type ArtifactsOmitted,
  type CompileStage,
  type Diagnostic,
  type ExecuteResult,
  type Execution,
  type FileEntry,
  type LimitFired,
  type Repeat,
  type LimitUse,
  type Runtime,
  type SessionInfo,
  type Spread,
  type Stage,
  type Status,
  stderrBytes,
  stdoutBytes,
  type TestResult,
  type Verdict,
  type Violation,
} from "./result.js";
export type { Session, SessionInteractiveRequest, SessionRequest } from "./session.js";
export type { CallOptions, WebSocketConstructor, WebSocketLike } from "./transport.js";
export { VERSION } from "./version.js";
