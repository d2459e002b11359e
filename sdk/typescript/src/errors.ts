/**
 * What went wrong. The first group are the server's words; the last three are the client's own.
 *
 * | code | status | |
 * |---|---|---|
 * | `bad_request`, `invalid_json`, `invalid_field`, `unknown_language`, `unknown_version` | 400 | the request is wrong; `field` says where |
 * | `unauthorized` | 401 | no valid key (without a status: none was given) |
 * | `forbidden` | 403 | the key is not an operator's |
 * | `not_found`, `method_not_allowed`, `unsupported_media_type`, `upgrade_required` | 404, 405, 415, 426 | most likely `baseUrl` is not the server's |
 * | `payload_too_large` | 413 | |
 * | `rate_limited` | 429 | this key has its share: of requests waiting, connections, memory, answers not read, or sessions |
 * | `overloaded` | 503 | the server is full, or going down |
 * | `interrupted` | 503 | the server, or a part of it, went down while the program may have run |
 * | `internal` | 500 | the operator finds why under `requestId` |
 * | `connection_failed` | | {@link RunToolsConnectionError} |
 * | `timeout` | | {@link RunToolsTimeoutError} |
 * | `unexpected_answer` | any | not the API's: most likely a proxy's, or `baseUrl` is wrong |
 */
export type ErrorCode =
  | "bad_request"
  | "invalid_json"
  | "invalid_field"
  | "unknown_language"
  | "unknown_version"
  | "unauthorized"
  | "forbidden"
  | "not_found"
  | "method_not_allowed"
  | "payload_too_large"
  | "unsupported_media_type"
  | "upgrade_required"
  | "rate_limited"
  | "overloaded"
  | "interrupted"
  | "internal"
  | "connection_failed"
  | "timeout"
  | "unexpected_answer"
  | (string & {});

/** What a {@link RunToolsError} is made of, for tests that need one. */
export interface ErrorDetails {
  code: ErrorCode;
  status?: number | undefined;
  field?: string | undefined;
  requestId?: string | undefined;
  retryAfter?: number | undefined;
  mayHaveRun?: boolean;
  cause?: unknown;
}

/**
 * There is no result: the server refused the request, or could not be reached, or did not answer in time. What a program
 * did is never an error, it is in the result.
 */
export class RunToolsError extends Error {
  override readonly name: string = "RunToolsError";
  /** What callers branch on. */
  readonly code: ErrorCode;
  /** HTTP status; undefined without an answer. */
  readonly status: number | undefined;
  /** The field that was refused, as the API spells it: `"run_timeout"`, `"files[2].name"`. */
  readonly field: string | undefined;
  /** Finds the request in the server's log. */
  readonly requestId: string | undefined;
  /** How long the server asked to wait, milliseconds. */
  readonly retryAfter: number | undefined;
  /** False if it is certain that the program did not run, so that it is safe to send it again. */
  readonly mayHaveRun: boolean;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.status = details.status;
    this.field = details.field;
    this.requestId = details.requestId;
    this.retryAfter = details.retryAfter;
    this.mayHaveRun = details.mayHaveRun ?? false;
  }
}

/** No answer: the server could not be reached, or the connection was lost. `cause` is what `fetch` said. */
export class RunToolsConnectionError extends RunToolsError {
  override readonly name = "RunToolsConnectionError";
}

/** No answer within `timeout`. The connection is closed, and the server has killed the program if it ran. */
export class RunToolsTimeoutError extends RunToolsError {
  override readonly name = "RunToolsTimeoutError";
}
