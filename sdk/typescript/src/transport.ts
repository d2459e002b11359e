// One call of the API: attempts, the waits between them, and what each failure means. It uses nothing but `fetch`, so that it
// runs wherever that is.
import { RunToolsConnectionError, RunToolsError, RunToolsTimeoutError } from "./errors.js";
import { VERSION } from "./version.js";

/** What each call can be told. */
export interface CallOptions {
  /**
   * Aborting closes the connection, and so kills the program with everything that it started. The call rejects with the
   * signal's reason, as `fetch` does.
   */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the call is given up, retries and waits included. Default: the client's. */
  timeout?: number | undefined;
  /** How often to send it again after a refusal that ran nothing. Default: the client's. */
  maxRetries?: number | undefined;
  /** Sent as `X-Request-Id`: 1 to 64 of `A-Z a-z 0-9 . _ -`. It is in the server's log, and in errors. */
  requestId?: string | undefined;
}

/** @internal */
export interface Settings {
  baseUrl: string;
  apiKey: string;
  timeout: number;
  maxRetries: number;
  fetch: typeof globalThis.fetch;
}

/** One request. `idempotent`: carrying it out twice is the same as once. */
interface Call {
  method: "GET" | "POST" | "DELETE";
  path: string;
  body?: string;
  idempotent: boolean;
}

/** The first wait, milliseconds. Each further one is twice as long, up to the longest. */
const firstWait = 500;
const longestWait = 8_000;
/** Who is told to wait longer than this is better off with the error. */
const longestRetryAfter = 60_000;
/** Timers of JavaScript count in 31 bits; a longer one would fire at once. */
const longestTimer = 0x7fffffff;
/** How much of an answer that is not the API's is quoted: an HTML page can be long. */
const maxExcerpt = 200;

/** Carries calls out. @internal */
export class Transport {
  constructor(private readonly settings: Settings) {}

  async call(call: Call, options: CallOptions = {}): Promise<unknown> {
    const { signal, timeout = this.settings.timeout, maxRetries = this.settings.maxRetries } = options;
    signal?.throwIfAborted();
    const giveUp = Date.now() + timeout;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    let timedOut = false;
    const onTimeout = (): void => {
      timedOut = true;
      stop.abort();
    };
    const timer = timeout > longestTimer ? undefined : setTimeout(onTimeout, timeout);
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          return await this.attempt(call, options.requestId, stop.signal);
        } catch (error) {
          const wait = attempt < maxRetries ? waitBefore(error, attempt) : undefined;
          if (wait === undefined || stop.signal.aborted || Date.now() + wait > giveUp) {
            throw error;
          }
          await sleep(wait, stop.signal);
        }
      }
    } catch (error) {
      if (signal?.aborted) {
        throw signal.reason;
      }
      if (timedOut) {
        throw new RunToolsTimeoutError(`no answer within ${timeout} ms; the program, if it ran, was killed (option: timeout)`, {
          code: "timeout",
          requestId: options.requestId,
          mayHaveRun: !call.idempotent,
        });
      }
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  private async attempt(call: Call, requestId: string | undefined, signal: AbortSignal): Promise<unknown> {
    const { baseUrl, fetch } = this.settings;
    let response: Response;
    let text: string;
    try {
      response = await fetch(baseUrl + call.path, {
        method: call.method,
        headers: this.headers(call, requestId),
        // A redirect would turn POST into GET, and may lose the key.
        redirect: "manual",
        signal,
        ...(call.body === undefined ? {} : { body: call.body }),
      });
      text = await response.text();
    } catch (error) {
      throw connectionError(error, baseUrl, call, requestId);
    }
    if (response.status === 204) {
      return undefined;
    }
    const answer = parse(text);
    if (response.status === 200 && answer !== undefined) {
      return answer;
    }
    throw refusal(response, answer, text, baseUrl, call);
  }

  private headers(call: Call, requestId: string | undefined): Record<string, string> {
    const headers: Record<string, string> = { Accept: "application/json", Authorization: `Bearer ${this.settings.apiKey}` };
    if (call.body !== undefined) {
      headers["Content-Type"] = "application/json";
    }
    if (requestId !== undefined) {
      headers["X-Request-Id"] = requestId;
    }
    if (!("document" in globalThis)) {
      headers["User-Agent"] = `runtools-typescript/${VERSION}`; // in a page it would be one more header for CORS to allow
    }
    return headers;
  }
}

/**
 * Milliseconds to wait before the next attempt; undefined if there must be none. A request is sent again only if it is
 * certain that nothing ran, for the program may have had effects; or if it makes no difference.
 */
function waitBefore(error: unknown, attempt: number): number | undefined {
  if (!(error instanceof RunToolsError) || error.mayHaveRun) {
    return undefined;
  }
  const passing = error instanceof RunToolsConnectionError || [429, 502, 503, 504].includes(error.status ?? 0);
  const asked = error.retryAfter ?? 0;
  if (!passing || asked > longestRetryAfter) {
    return undefined;
  }
  // Never earlier than asked; and not all at one moment, or they would be refused together again.
  return Math.max(asked, Math.min(firstWait * 2 ** attempt, longestWait)) * (1 + Math.random() / 4);
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** What Node, Deno and Bun call a connection that was never made, so that nothing was sent. Elsewhere it cannot be told. */
const neverConnected = new Set([
  "ECONNREFUSED",
  "ConnectionRefused",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

function connectionError(error: unknown, baseUrl: string, call: Call, requestId: string | undefined): RunToolsError {
  const { code, message } = reasonOf(error);
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT") {
    return new RunToolsTimeoutError(
      "Node's fetch gave up after 300 s without an answer, and the program was killed; for longer ones pass a fetch with a longer headersTimeout (option: fetch)",
      { code: "timeout", requestId, mayHaveRun: !call.idempotent, cause: error },
    );
  }
  const reached = !neverConnected.has(code);
  return new RunToolsConnectionError(
    reached
      ? `the connection to ${baseUrl} failed before the answer was there: ${message}`
      : `cannot reach ${baseUrl}: ${message} (is the server running? option: baseUrl, or RUNTOOLS_URL)`,
    { code: "connection_failed", requestId, mayHaveRun: reached && !call.idempotent, cause: error },
  );
}

/** fetch says "fetch failed"; why is in the cause, or in the cause of that. */
function reasonOf(error: unknown): { code: string; message: string } {
  let reason = error as { cause?: unknown; code?: unknown; message?: unknown };
  while (reason.cause instanceof Error) {
    reason = reason.cause;
  }
  const code = String(reason.code ?? "");
  return { code, message: String(reason.message || code || error) };
}

/** The object that an answer is, or undefined. */
function parse(text: string): Record<string, unknown> | undefined {
  try {
    const answer: unknown = JSON.parse(text);
    return typeof answer === "object" && answer !== null ? (answer as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function refusal(
  response: Response,
  answer: Record<string, unknown> | undefined,
  text: string,
  baseUrl: string,
  call: Call,
): RunToolsError {
  const { status, headers } = response;
  const details = (answer?.["error"] ?? {}) as Record<string, string | undefined>;
  const requestId = details["request_id"] ?? headers.get("X-Request-Id") ?? undefined;
  const retryAfter = waitAsked(headers.get("Retry-After"));
  if (details["code"] === undefined || details["message"] === undefined) {
    const location = headers.has("Location") ? ` (redirect to ${headers.get("Location")})` : "";
    const excerpt = JSON.stringify(text.length > maxExcerpt ? `${text.slice(0, maxExcerpt)}...` : text);
    return new RunToolsError(`${baseUrl}${call.path} answered ${status}${location}, and not as the API does (check baseUrl): ${excerpt}`, {
      code: "unexpected_answer",
      status,
      requestId,
      retryAfter,
      mayHaveRun: !call.idempotent && (status === 200 || status > 499),
    });
  }
  const { code, message, field } = details;
  return new RunToolsError(`${message} (${code}, request ${requestId})`, {
    code,
    status,
    field,
    requestId,
    retryAfter,
    mayHaveRun: !call.idempotent && status > 499 && code !== "overloaded",
  });
}

/** Retry-After in milliseconds: it is seconds, or a date. */
function waitAsked(header: string | null): number | undefined {
  if (header === null) {
    return undefined;
  }
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(ms, 0) : undefined;
}
