import type { RunTools } from "./client.js";
import type { ExecuteRequest } from "./request.js";
import type { ExecuteResult } from "./result.js";
import type { CallOptions } from "./transport.js";

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

  /** @internal */
  constructor(
    private readonly client: RunTools,
    id: string | undefined,
  ) {
    this.#id = id;
  }

  /** Undefined before the first result of a session that the server is to name. */
  get id(): string | undefined {
    return this.#id;
  }

  /** {@link RunTools.execute} in this session. */
  execute(request: Omit<ExecuteRequest, "sessionId" | "ephemeral">, options: CallOptions = {}): Promise<ExecuteResult> {
    return this.#inTurn(options.signal, async () => {
      const result = await this.client.execute({ ...request, sessionId: this.#id }, options);
      this.#id = result.session_id ?? this.#id;
      return result;
    });
  }

  /**
   * Ends the session, files and all, after the requests that were called before. False if there was none any more.
   */
  delete(options: CallOptions = {}): Promise<boolean> {
    return this.#inTurn(options.signal, async () => this.#id !== undefined && this.client.deleteSession(this.#id, options));
  }

  #inTurn<T>(signal: AbortSignal | undefined, send: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const mine = ended(before, signal).then(send);
    // One that is given up while it waits must not let those behind it overtake those before it.
    this.#last = Promise.allSettled([before, mine]);
    return mine;
  }
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
