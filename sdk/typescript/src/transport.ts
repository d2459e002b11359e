// One call of the API: attempts, the waits between them, and what each failure means. It uses nothing but `fetch`, so that it
// runs wherever that is.
import { RunToolsConnectionError, RunToolsError, RunToolsTimeoutError } from "./errors.js";
import { EventParser, type ServerSentEvent } from "./sse.js";
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
  WebSocket: WebSocketConstructor | undefined;
}

/** As much of a WebSocket as is needed: those of browsers, Node, Deno and Bun have it, and that of the package `ws`. */
export interface WebSocketLike {
  readonly bufferedAmount: number;
  // An event of type message has data, one of type error may have a message.
  addEventListener(type: "open" | "message" | "error" | "close", listener: (event: any) => void): void;
  send(message: string): void;
  close(): void;
}

/** The class of such. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** One request. A string as its body is JSON. `idempotent`: carrying it out twice is the same as once. */
interface Call {
  method: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  body?: string | Uint8Array;
  /** What a success is, unless it is JSON: bytes, or events, which are a stream of bytes. */
  accept?: "application/octet-stream" | "application/x-tar" | "text/event-stream";
  /** Of bytes: the header Range. */
  range?: string | undefined;
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
    const limits = new Limits(call, options, this.settings);
    try {
      return await this.retried(call, options, limits);
    } catch (error) {
      throw limits.explain(error);
    } finally {
      limits.end();
    }
  }

  /** False if there was none. */
  async delete(path: string, options?: CallOptions): Promise<boolean> {
    try {
      await this.call({ method: "DELETE", path, idempotent: true }, options);
    } catch (error) {
      if (error instanceof RunToolsError && error.code === "not_found") {
        return false;
      }
      throw error;
    }
    return true;
  }

  /** Events as they come. Leaving the loop hangs up. Once the answer has begun nothing is sent again. */
  async *events(call: Call, options: CallOptions = {}): AsyncGenerator<ServerSentEvent, never, undefined> {
    const limits = new Limits(call, options, this.settings);
    try {
      const body = await this.retried({ ...call, accept: "text/event-stream" }, options, limits);
      const reader = (body as ReadableStream<Uint8Array>).getReader();
      const parser = new EventParser();
      for (;;) {
        const { done, value } = await reader.read().catch((error: unknown) => {
          throw connectionError(error, this.settings.baseUrl, call, options.requestId);
        });
        if (done) {
          throw connectionError(new Error("it was closed"), this.settings.baseUrl, call, options.requestId);
        }
        yield* parser.push(value);
      }
    } catch (error) {
      throw limits.explain(error);
    } finally {
      limits.end();
      limits.stop.abort();
    }
  }

  /** Throws a `TypeError` if there are no WebSockets. */
  checkSockets(): WebSocketConstructor {
    if (this.settings.WebSocket === undefined) {
      throw new TypeError("no WebSocket here: use Node 22 or newer, or `npm install ws` and pass its: new RunTools({ WebSocket })");
    }
    return this.settings.WebSocket;
  }

  /** Opens a WebSocket. In browsers nobody can set its headers, so the key goes along as a subprotocol. */
  socket(path: string): WebSocketLike {
    const { apiKey, baseUrl } = this.settings;
    return new (this.checkSockets())(baseUrl.replace(/^http/, "ws") + path, ["runtools", `runtools.key.${apiKey}`]);
  }

  /** The error of a connection that ended too early. */
  lost(why: string): RunToolsError {
    return connectionError(new Error(why), this.settings.baseUrl, { method: "GET", path: "", idempotent: false }, undefined);
  }

  /** Why a WebSocket could not be opened. It does not tell itself; a request is answered by what is wrong with key, address or server. */
  async refusedSocket(why: string, signal: AbortSignal | undefined): Promise<unknown> {
    try {
      await this.call({ method: "GET", path: "/v1/execute/runtimes", idempotent: true }, { signal, maxRetries: 0 });
    } catch (error) {
      return error;
    }
    return new RunToolsConnectionError(
      `${this.settings.baseUrl} answers, but opens no WebSocket: ${why} (is it busy, or is there a proxy before it that passes none?)`,
      { code: "connection_failed" },
    );
  }

  private async retried(call: Call, options: CallOptions, limits: Limits): Promise<unknown> {
    const { maxRetries = this.settings.maxRetries } = options;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.attempt(call, options.requestId, limits.stop.signal);
      } catch (error) {
        const wait = attempt < maxRetries ? waitBefore(error, attempt) : undefined;
        if (wait === undefined || limits.stop.signal.aborted || Date.now() + wait > limits.giveUp) {
          throw error;
        }
        await sleep(wait, limits.stop.signal);
      }
    }
  }

  /** What a success brought: JSON, undefined without content, or what `accept` says. */
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
        ...(call.body === undefined ? {} : { body: call.body as BodyInit }),
      });
      // The type tells what we asked for from a page that a proxy gave instead.
      if ((response.status === 200 || response.status === 206) && call.accept !== undefined && mediaType(response) === call.accept) {
        return call.accept === "text/event-stream" ? response.body : new Uint8Array(await response.arrayBuffer());
      }
      text = await response.text();
    } catch (error) {
      throw connectionError(error, baseUrl, call, requestId);
    }
    if (response.status === 204) {
      return undefined;
    }
    if (response.status === 416 && call.range !== undefined) {
      return new Uint8Array(); // the file ends before
    }
    const answer = parse(text);
    if ((response.status === 200 || response.status === 202) && answer !== undefined && call.accept === undefined) {
      return answer;
    }
    throw refusal(response, answer, text, baseUrl, call);
  }

  private headers(call: Call, requestId: string | undefined): Record<string, string> {
    const headers: Record<string, string> = { Accept: call.accept ?? "application/json", Authorization: `Bearer ${this.settings.apiKey}` };
    if (call.body !== undefined) {
      headers["Content-Type"] = typeof call.body === "string" ? "application/json" : "application/octet-stream";
    }
    if (call.range !== undefined) {
      headers["Range"] = call.range;
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

/** Without parameters: a proxy may add a charset. */
function mediaType(response: Response): string | undefined {
  return response.headers.get("Content-Type")?.split(";")[0]!.trim().toLowerCase();
}

/** What ends a call before its answer: the caller's signal, and the timeout. */
class Limits {
  /** Aborted by both. */
  readonly stop = new AbortController();
  readonly giveUp: number;
  private readonly timeout: number;
  private readonly timer: ReturnType<typeof setTimeout> | undefined;
  private timedOut = false;

  constructor(
    private readonly call: Call,
    private readonly options: CallOptions,
    settings: Settings,
  ) {
    options.signal?.throwIfAborted();
    options.signal?.addEventListener("abort", this.onAbort, { once: true });
    this.timeout = options.timeout ?? settings.timeout;
    this.giveUp = Date.now() + this.timeout;
    this.timer = this.timeout > longestTimer ? undefined : setTimeout(this.onTimeout, this.timeout);
  }

  /** What to throw for an error that may be the consequence of an early end. */
  explain(error: unknown): unknown {
    if (this.options.signal?.aborted) {
      return this.options.signal.reason;
    }
    if (!this.timedOut) {
      return error;
    }
    return new RunToolsTimeoutError(`no answer within ${this.timeout} ms; the program, if it ran, was killed (option: timeout)`, {
      code: "timeout",
      requestId: this.options.requestId,
      mayHaveRun: !this.call.idempotent,
    });
  }

  end(): void {
    clearTimeout(this.timer);
    this.options.signal?.removeEventListener("abort", this.onAbort);
  }

  private readonly onAbort = (): void => this.stop.abort(this.options.signal?.reason);

  private readonly onTimeout = (): void => {
    this.timedOut = true;
    this.stop.abort();
  };
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
