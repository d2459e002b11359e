import type { ExecuteOptions, RunTools } from "./client.js";
import type { ExecuteEvent } from "./events.js";
import { begun, SessionFiles } from "./files.js";
import { encodeInteractive, Interactive, type InteractiveOptions, type InteractiveRequest } from "./interactive.js";
import type { ExecuteRequest } from "./request.js";
import type { ExecuteResult, SessionInfo } from "./result.js";
import type { CallOptions, Transport } from "./transport.js";

/** What a program in a session gets: its session is given, and tests and repeated runs have none. */
export type SessionRequest = Omit<ExecuteRequest, "sessionId" | "ephemeral" | "tests" | "stopOnFailure" | "repeat">;

/** The same for one that is talked to. */
export type SessionInteractiveRequest = Omit<InteractiveRequest, "sessionId" | "ephemeral">;

/**
 * Keeps the id of one session and sends its requests one after another, in the order of the calls: each finds what the one
 * before it left. Made by {@link RunTools.session}.
 *
 * The files of the working directory and the environment persist, processes do not. Ten minutes after its last request the
 * server drops a session; the next result then says `session_created: true`.
 */
export class Session {
  #id: string | undefined;
  /** Settled when the request that was called last has ended. */
  #last: Promise<unknown> = Promise.resolve();

  /** The files of its working directory. */
  readonly files: SessionFiles;

  /** @internal */
  constructor(
    private readonly client: RunTools,
    private readonly transport: Transport,
    id: string | undefined,
  ) {
    this.#id = id;
    this.files = new SessionFiles(transport, (signal, send, begin) =>
      this.#inTurn(signal, async () => {
        const id = this.#id ?? (begin ? newId() : undefined);
        const done = await send(sessionPath(id));
        this.#id ??= id; // a file that could not be put made no session
        return done;
      }),
    );
  }

  /** Undefined before the first result, or file, of a session that has not been named. */
  get id(): string | undefined {
    return this.#id;
  }

  /** {@link RunTools.execute} in this session. */
  execute(request: SessionRequest, options: ExecuteOptions = {}): Promise<ExecuteResult> {
    return this.#inTurn(options.signal, async () => {
      const result = await this.client.execute({ ...request, sessionId: this.#id }, options);
      this.#id = result.session_id ?? this.#id;
      return result;
    });
  }

  /** {@link RunTools.stream} in this session. Requests that are called later wait until it has ended, or was left. */
  async *stream(request: SessionRequest, options: CallOptions = {}): AsyncGenerator<ExecuteEvent, void, undefined> {
    const leave = await this.#turn(options.signal);
    try {
      for await (const event of this.client.stream({ ...request, sessionId: this.#id }, options)) {
        if (event.type === "result") {
          this.#id = event.result.session_id ?? this.#id;
        }
        yield event;
      }
    } finally {
      leave();
    }
  }

  /** {@link RunTools.interactive} in this session. Requests that are called later wait until it has ended, or was left. */
  interactive(request: SessionInteractiveRequest, options: InteractiveOptions = {}): Interactive {
    this.transport.checkSockets();
    encodeInteractive(request); // throws now what is wrong with it
    const begin = async () => {
      const end = await this.#turn(options.signal);
      const leave = (result?: ExecuteResult): void => {
        this.#id = result?.session_id ?? this.#id;
        end();
      };
      return { body: encodeInteractive({ ...request, sessionId: this.#id }), leave };
    };
    return new Interactive(this.transport, begin, options);
  }

  /** What the server knows of the session; at once, also while a program runs in it. */
  async info(options?: CallOptions): Promise<SessionInfo> {
    return (await this.transport.call({ method: "GET", path: begun(sessionPath(this.#id)), idempotent: true }, options)) as SessionInfo;
  }

  /** A tar of all files. */
  archive(options: CallOptions = {}): Promise<Uint8Array> {
    return this.#inTurn(options.signal, async () => {
      const path = `${begun(sessionPath(this.#id))}/archive`;
      return (await this.transport.call({ method: "GET", path, accept: "application/x-tar", idempotent: true }, options)) as Uint8Array;
    });
  }

  /** New sessions that begin with the same files and environment, at most 100. */
  fork(count = 1, options: CallOptions = {}): Promise<Session[]> {
    return this.#inTurn(options.signal, async () => {
      const path = `${begun(sessionPath(this.#id))}/fork`;
      const answer = await this.transport.call({ method: "POST", path, body: JSON.stringify({ count }), idempotent: false }, options);
      return (answer as { session_ids: string[] }).session_ids.map((id) => this.client.session(id));
    });
  }

  /**
   * Ends the session, files and all, after the requests that were called before. False if there was none any more.
   */
  delete(options: CallOptions = {}): Promise<boolean> {
    return this.#inTurn(options.signal, async () => this.#id !== undefined && this.client.deleteSession(this.#id, options));
  }

  /** A turn that lasts until the function that it gives is called. */
  #turn(signal: AbortSignal | undefined): Promise<() => void> {
    return new Promise((begin, reject) => {
      this.#inTurn(signal, () => new Promise<void>((end) => begin(end))).catch(reject);
    });
  }

  #inTurn<T>(signal: AbortSignal | undefined, send: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const mine = ended(before, signal).then(send);
    // One that is given up while it waits must not let those behind it overtake those before it.
    this.#last = Promise.allSettled([before, mine]);
    return mine;
  }
}

function sessionPath(id: string | undefined): string | undefined {
  return id === undefined ? undefined : `/v1/sessions/${encodeURIComponent(id)}`;
}

/** The server names a session only when a program ran. An id belongs to its key: it need not be secret, only another each time. */
function newId(): string {
  return `sdk-${[1, 2].map(() => Math.random().toString(36).slice(2)).join("")}`;
}

/** Resolves with a promise that never rejects, or rejects with the signal's reason if that comes first. */
function ended(promise: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal?.reason);
    if (signal?.aborted) {
      onAbort();
    }
    signal?.addEventListener("abort", onAbort, { once: true });
    void promise.then(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
  });
}
