import { RunToolsError } from "./errors.js";
import type { CompileStage, ExecuteResult, Status, TestResult } from "./result.js";
import { bytesOf } from "./result.js";

/**
 * What happens while a program runs, told apart by `type`:
 *
 * | type | |
 * |---|---|
 * | `compile` | the compilation has ended; its output comes with it |
 * | `stdout`, `stderr` | {@link OutputEvent}: what the program wrote since the last one |
 * | `exit` | the program has ended |
 * | `test` | a test has ended; in the order in which they end |
 * | `result` | the last one: all that {@link RunTools.execute} gives |
 */
export type ExecuteEvent =
  | { type: "compile"; compile: CompileStage }
  | OutputEvent
  | { type: "exit"; code: number | null; signal: string | null; status: Status }
  | { type: "test"; index: number; test: TestResult }
  | { type: "result"; result: ExecuteResult };

/** What the program wrote since the last one, no character cut in two. */
export interface OutputEvent {
  type: "stdout" | "stderr";
  /** Bytes that are not UTF-8 appear as U+FFFD; {@link outputBytes} gives the exact ones. */
  text: string;
  /** The exact bytes, present only when `text` cannot show them. */
  text_base64?: string;
}

/** What an event of output carries, byte for byte. */
export function outputBytes(event: OutputEvent): Uint8Array {
  return bytesOf(event.text, event.text_base64);
}

/** The server's words for what happened: undefined for a kind that it learned later. Throws what an error event says. @internal */
export function decodeEvent(name: string, data: object, begun: boolean): ExecuteEvent | undefined {
  switch (name) {
    case "compile":
      return { type: name, compile: data as CompileStage };
    case "stdout":
    case "stderr":
    case "exit":
    case "test":
      return { type: name, ...data } as ExecuteEvent;
    case "result":
      return { type: name, result: data as ExecuteResult };
    case "error":
      throw failure(data, begun);
    default:
      return undefined;
  }
}

/** @internal */
export function parseEvent(data: string): object {
  try {
    return JSON.parse(data) as object;
  } catch (cause) {
    throw new RunToolsError("an event is not JSON (check baseUrl)", { code: "unexpected_answer", status: 200, mayHaveRun: true, cause });
  }
}

/** `begun`: there were events before, so that some of it did run. */
function failure(data: object, begun: boolean): RunToolsError {
  const { code, message, field, request_id: requestId } = (data as { error: Record<string, string> }).error;
  return new RunToolsError(`${message} (${code}, request ${requestId})`, {
    code: code!,
    field,
    requestId,
    mayHaveRun: begun || (code !== "overloaded" && code !== "rate_limited"),
  });
}
