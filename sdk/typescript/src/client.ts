import { RunToolsError } from "./errors.js";
import { decodeEvent, type ExecuteEvent, parseEvent } from "./events.js";
import { encodeInteractive, Interactive, type InteractiveOptions, type InteractiveRequest } from "./interactive.js";
import { encodeRequest, type ExecuteRequest, type StartRequest } from "./request.js";
import type { ExecuteResult, Execution, Runtime } from "./result.js";
import { Session } from "./session.js";
import { type CallOptions, Transport, type WebSocketConstructor } from "./transport.js";

/** Where the server is, how to identify to it, and what every call is told unless it says otherwise. */
export interface RunToolsOptions {
  /** `rt_live_...`. Default: the environment variable `RUNTOOLS_API_KEY`. */
  apiKey?: string | undefined;
  /** The server, a path in front of the API included. Default: `RUNTOOLS_URL`, else `http://127.0.0.1:8080`. */
  baseUrl?: string | undefined;
  /** Milliseconds until a call is given up, retries and waits included; `Infinity` for never. Default 600000, ten minutes. */
  timeout?: number | undefined;
  /** How often a call is sent again after a refusal that ran nothing. Default 3. */
  maxRetries?: number | undefined;
  /** Takes the place of the global `fetch`: for proxies, TLS settings, longer limits than the runtime's own, tests. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Takes the place of the global `WebSocket`, which Node has from 22 on: that of the package `ws`, for example. Only `interactive` needs it. */
  WebSocket?: WebSocketConstructor | undefined;
}

/** What `execute` can be told besides. */
export interface ExecuteOptions extends CallOptions {
  /** Called with what the program writes to standard output, as it does; the result has all of it as well. */
  onStdout?: ((text: string) => void) | undefined;
  /** The same for standard error. */
  onStderr?: ((text: string) => void) | undefined;
}

const optionNames = ["apiKey", "baseUrl", "timeout", "maxRetries", "fetch", "WebSocket"];
const defaultUrl = "http://127.0.0.1:8080";
/** A compile, a run and a wait in the queue may each take minutes. */
const defaultTimeout = 600_000;
/** A busy server refuses for seconds, not for minutes: these waits make about four seconds together. */
const defaultRetries = 3;

/**
 * A client of the Code Execution API. One serves a whole program.
 *
 * ```ts
 * const rt = new RunTools({ apiKey: "rt_live_..." });
 * const result = await rt.execute({ language: "python", code: "print(42)" });
 * console.log(result.run.stdout); // "42\n"
 * ```
 *
 * **Errors.** Calls reject with a {@link RunToolsError}, except that an aborted one rejects with its signal's reason.
 *
 * **Retries.** What the server refused with `rate_limited` (429) or `overloaded` (503), and what could not be sent at all, has
 * not run and is sent again, after the time that `Retry-After` names or a growing one. A lost connection, a timeout, and every
 * other failure may come after the program began; `execute` then leaves the decision to you (`mayHaveRun`). `runtimes` and
 * `deleteSession` are sent again after a lost connection too.
 */
export class RunTools {
  readonly #transport: Transport;

  /** Throws a {@link RunToolsError} if there is no API key, and a `TypeError` for options that cannot be meant. */
  constructor(options: RunToolsOptions = {}) {
    for (const name of Object.keys(options)) {
      if (!optionNames.includes(name)) {
        throw new TypeError(`RunTools: unknown option ${name}, want ${optionNames.join(", ")}`);
      }
    }
    const apiKey = options.apiKey ?? environment("RUNTOOLS_API_KEY");
    if (!apiKey) {
      throw new RunToolsError("no API key: pass apiKey, or set RUNTOOLS_API_KEY", { code: "unauthorized" });
    }
    if (/\s/.test(apiKey)) {
      throw new TypeError("apiKey must not contain white space");
    }
    this.#transport = new Transport({
      apiKey,
      baseUrl: checkUrl(options.baseUrl ?? environment("RUNTOOLS_URL") ?? defaultUrl),
      timeout: options.timeout ?? defaultTimeout,
      maxRetries: options.maxRetries ?? defaultRetries,
      // As a method of another object the browsers' fetch refuses to work.
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
      WebSocket: options.WebSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket,
    });
  }

  /**
   * Runs a program and waits for its end.
   *
   * ```ts
   * const { run } = await rt.execute({ language: "c", code, stdin: "1 2", runTimeout: 2000 }, { signal });
   * if (run.status !== "OK") console.error(run.message, run.stderr);
   * ```
   */
  async execute(request: ExecuteRequest, options: ExecuteOptions = {}): Promise<ExecuteResult> {
    if (options.onStdout || options.onStderr) {
      return finalResult(this.stream(request, options), options);
    }
    const body = encodeRequest(request);
    const answer = await this.#transport.call({ method: "POST", path: "/v1/execute", body, idempotent: false }, options);
    return answer as ExecuteResult;
  }

  /**
   * Runs a program and tells what happens as it does. The request is sent when the first event is asked for; leaving the loop
   * hangs up. Errors are those of `execute`. `timeout` is for all of it.
   *
   * ```ts
   * for await (const event of rt.stream({ language: "bash", code: "echo one; sleep 1; echo two" })) {
   *   if (event.type === "stdout") process.stdout.write(event.text);
   *   if (event.type === "result") console.log(event.result.run.status);
   * }
   * ```
   */
  stream(request: ExecuteRequest, options?: CallOptions): AsyncGenerator<ExecuteEvent, void, undefined> {
    const body = encodeRequest(request);
    return this.#events(body, options);
  }

  async *#events(body: string, options?: CallOptions): AsyncGenerator<ExecuteEvent, void, undefined> {
    let begun = false;
    for await (const sent of this.#transport.events({ method: "POST", path: "/v1/execute", body, idempotent: false }, options)) {
      const event = decodeEvent(sent.name, parseEvent(sent.data), begun);
      if (event !== undefined) {
        yield event;
      }
      if (event?.type === "result") {
        return;
      }
      begun = true;
    }
  }

  /**
   * Runs a program that is talked to while it runs: over a WebSocket, so that Node must be 22 or newer, or be given one (option `WebSocket`).
   * It begins at once. Leaving the loop hangs up, and kills it. Nothing is sent again, and no `timeout` of ours ends it: `runTimeout` does,
   * which goes on while the program waits for input, and `signal`.
   *
   * ```ts
   * const program = rt.interactive({ language: "python", code: "print('hello', input('name? '))" });
   * for await (const event of program) {
   *   if (event.type === "stdout" && event.text === "name? ") program.write("Ada\n");
   *   if (event.type === "result") console.log(event.result.run.stdout); // "name? hello Ada\n"
   * }
   * ```
   */
  interactive(request: InteractiveRequest, options: InteractiveOptions = {}): Interactive {
    this.#transport.checkSockets();
    const body = encodeInteractive(request);
    return new Interactive(this.#transport, async () => ({ body, leave: () => {} }), options);
  }

  /**
   * Has a program run and does not wait for it: no connection is kept. The server keeps its result for some minutes.
   *
   * ```ts
   * const { id } = await rt.start({ language: "bash", code: "sleep 60; echo done" });
   * let execution = await rt.execution(id, { wait: 60 });
   * while (execution.status === "pending") execution = await rt.execution(id, { wait: 60 });
   * console.log(execution.result?.run.stdout);
   * ```
   */
  async start(request: StartRequest, options?: CallOptions): Promise<Execution> {
    const body = encodeRequest(request);
    const answer = await this.#transport.call({ method: "POST", path: "/v1/executions", body, idempotent: false }, options);
    return answer as Execution;
  }

  /** How a program that was started stands. `wait`: seconds to wait for its end, at most 60; else it answers at once. */
  async execution(id: string, options: CallOptions & { wait?: number } = {}): Promise<Execution> {
    const { wait = 0, ...callOptions } = options;
    const path = `/v1/executions/${encodeURIComponent(id)}?wait=${wait}`;
    return (await this.#transport.call({ method: "GET", path, idempotent: true }, callOptions)) as Execution;
  }

  /** Kills a program that was started, if it runs, and has the server forget it. False if this key has none of that id any more. */
  async deleteExecution(id: string, options?: CallOptions): Promise<boolean> {
    return this.#transport.delete(`/v1/executions/${encodeURIComponent(id)}`, options);
  }

  /** Lists what is installed: one entry a version, the newest of a language first. */
  async runtimes(options?: CallOptions): Promise<Runtime[]> {
    const answer = await this.#transport.call({ method: "GET", path: "/v1/execute/runtimes", idempotent: true }, options);
    return answer as Runtime[];
  }

  /**
   * A session whose id is kept for you: that of an earlier result, a name of your own, or, without one, the id that the server
   * gives it at its first request.
   *
   * ```ts
   * const session = rt.session();
   * await session.execute({ language: "bash", code: "echo hello > note" });
   * const { run } = await session.execute({ language: "python", code: "print(open('note').read())" });
   * await session.delete();
   * ```
   */
  session(id?: string | null): Session {
    return new Session(this, this.#transport, id ?? undefined);
  }

  /** Ends a session, files and all. False if this key has none of that id: it expired, or was deleted already. */
  async deleteSession(id: string, options?: CallOptions): Promise<boolean> {
    return this.#transport.delete(`/v1/sessions/${encodeURIComponent(id)}`, options);
  }
}

async function finalResult(events: AsyncIterable<ExecuteEvent>, options: ExecuteOptions): Promise<ExecuteResult> {
  for await (const event of events) {
    if (event.type === "stdout") {
      options.onStdout?.(event.text);
    } else if (event.type === "stderr") {
      options.onStderr?.(event.text);
    } else if (event.type === "result") {
      return event.result;
    }
  }
  throw new Error("runtools: internal error: events without a result"); // their source throws
}

function checkUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new TypeError(`baseUrl ${JSON.stringify(text)}: want http://host:port or https://host:port`);
  }
  if (!/^https?:$/.test(url.protocol) || url.search !== "" || url.hash !== "" || url.username !== "") {
    throw new TypeError(`baseUrl ${JSON.stringify(text)}: want http://host:port or https://host:port, without query, fragment and user`);
  }
  return url.href.replace(/\/+$/, "");
}

/** A variable of the environment, where there is one and it may be read. An empty one counts as not set. */
function environment(name: string): string | undefined {
  try {
    const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
    return process?.env?.[name] || undefined;
  } catch {
    return undefined; // Deno asks for permission
  }
}
