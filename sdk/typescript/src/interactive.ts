import { decodeEvent, type ExecuteEvent, parseEvent } from "./events.js";
import { base64, encodeRequest, type ExecuteRequest } from "./request.js";
import type { ExecuteResult } from "./result.js";
import type { Transport, WebSocketLike } from "./transport.js";

/** A program that can be talked to while it runs. `stdin` is only the beginning of its input. */
export interface InteractiveRequest extends Omit<ExecuteRequest, "tests" | "stopOnFailure" | "repeat"> {
  /** Give it a terminal of this size, 1 to 1000 each way: all of its output is `stdout` then. Default: pipes. */
  pty?: { cols: number; rows: number } | undefined;
}

/** What `interactive` can be told besides. */
export interface InteractiveOptions {
  /** Aborting closes the connection, and so kills the program. The loop over the events throws the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** The signals that a program can be sent. */
export type SignalName =
  | "SIGHUP"
  | "SIGINT"
  | "SIGQUIT"
  | "SIGKILL"
  | "SIGUSR1"
  | "SIGUSR2"
  | "SIGTERM"
  | "SIGCONT"
  | "SIGSTOP"
  | "SIGTSTP"
  | "SIGWINCH";

/** Begins when it is the program's turn. `leave` is called once, when its connection has ended or is given up. @internal */
export type Begin = () => Promise<{ body: string; leave: (result?: ExecuteResult) => void }>;

/** Bytes of input in one message. The server takes more, but a signal waits behind it. */
const mostInput = 64 << 10;
/** Characters that wait to be sent before `write` asks its caller to wait as well. */
const mostUnsent = 256 << 10;
/** Milliseconds: a WebSocket does not tell when it has sent something, it must be asked. */
const askAgain = 10;

/**
 * A program that runs and can be talked to. Made by {@link RunTools.interactive}; a loop over it gives the events, as those of
 * {@link RunTools.stream}.
 *
 * What is sent before the program has begun waits for it; what is sent after its end is dropped. Failures are thrown in the loop, nowhere
 * else. Events that nobody has asked for yet are kept, in memory: at most `outputLimit`.
 */
export class Interactive implements AsyncIterableIterator<ExecuteEvent> {
  readonly #transport: Transport;
  readonly #signal: AbortSignal | undefined;
  readonly #events = this.#read();
  #socket: WebSocketLike | undefined;
  #opened = false;
  /** Messages from before. */
  #unsent: string[] = [];
  /** Events that have not been asked for. */
  #arrived: ExecuteEvent[] = [];
  /** There was an event, so that some of the program ran. */
  #begun = false;
  /** There will be no more events; `error` is why, if it is not the result. */
  #end: { error?: unknown } | undefined;
  #wake = (): void => {};
  #leave = (_result?: ExecuteResult): void => {};

  /** @internal */
  constructor(transport: Transport, begin: Begin, { signal }: InteractiveOptions) {
    this.#transport = transport;
    this.#signal = signal;
    if (signal?.aborted) {
      this.#onAbort();
      return;
    }
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    void this.#start(begin);
  }

  /**
   * Sends input: text as UTF-8, or bytes. The promise resolves, always, when the network has taken most of it; wait for it if there is much to
   * send, and need not if not.
   */
  async write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    for (let i = 0; i < bytes.length; i += mostInput) {
      this.#send({ type: "stdin", data: base64(bytes.subarray(i, i + mostInput)), encoding: "base64" });
    }
    while (this.#end === undefined && this.#waiting() > mostUnsent) {
      await new Promise((resolve) => setTimeout(resolve, askAgain));
    }
  }

  /** The end of input. With a terminal it types Ctrl-D. */
  closeInput(): void {
    this.#send({ type: "stdin_close" });
  }

  /** Sends a signal to the program's main process; the server's documentation says what is different with a terminal. */
  signal(name: SignalName): void {
    this.#send({ type: "signal", signal: name });
  }

  /** The terminal has another size now, 1 to 1000 each way. Without a terminal it does nothing. */
  resize(cols: number, rows: number): void {
    this.#send({ type: "resize", cols, rows });
  }

  /** Hangs up, which kills the program if it still runs. The loop ends without a result, after the events that have come. */
  close(): void {
    this.#finish({});
  }

  /** The next event. */
  next(): Promise<IteratorResult<ExecuteEvent, void>> {
    return this.#events.next();
  }

  /** Leaving the loop hangs up. */
  return(): Promise<IteratorResult<ExecuteEvent, void>> {
    this.close();
    return this.#events.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async *#read(): AsyncGenerator<ExecuteEvent, void, undefined> {
    for (;;) {
      for (let event = this.#arrived.shift(); event !== undefined; event = this.#arrived.shift()) {
        yield event;
      }
      if (this.#end !== undefined) {
        if ("error" in this.#end) {
          throw this.#end.error;
        }
        return;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async #start(begin: Begin): Promise<void> {
    try {
      const { body, leave } = await begin();
      if (this.#end !== undefined) {
        leave(); // closed while it waited for its turn
        return;
      }
      this.#leave = leave;
      this.#dial(body);
    } catch (error) {
      this.#finish({ error });
    }
  }

  #dial(body: string): void {
    const socket = this.#transport.socket("/v1/execute/ws");
    this.#socket = socket;
    let why = "it was closed";
    socket.addEventListener("open", () => {
      if (this.#end === undefined) {
        this.#opened = true;
        [body, ...this.#unsent.splice(0)].forEach((message) => socket.send(message));
      }
    });
    socket.addEventListener("message", ({ data }) => this.#take(data));
    // Browsers do not say why, to keep pages from looking around in networks. Close follows.
    socket.addEventListener("error", ({ message }) => (why = message || why));
    socket.addEventListener("close", () => void this.#lost(why));
  }

  #take(text: string): void {
    if (this.#end !== undefined) {
      return;
    }
    try {
      const { type, data } = parseEvent(text) as { type: string; data: object };
      const event = decodeEvent(type, data, this.#begun);
      this.#begun = true;
      if (event === undefined) {
        return;
      }
      this.#arrived.push(event);
      this.#wake();
      if (event.type === "result") {
        this.#finish({}, event.result);
      }
    } catch (error) {
      this.#finish({ error });
    }
  }

  /** The connection ended before the result, or never was. */
  async #lost(why: string): Promise<void> {
    if (this.#end !== undefined) {
      return;
    }
    this.#finish({ error: this.#opened ? this.#transport.lost(why) : await this.#transport.refusedSocket(why, this.#signal) });
  }

  #finish(end: { error?: unknown }, result?: ExecuteResult): void {
    if (this.#end !== undefined) {
      return;
    }
    this.#end = end;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#unsent = [];
    this.#socket?.close();
    this.#leave(result);
    this.#wake();
  }

  #send(message: object): void {
    if (this.#end !== undefined) {
      return;
    }
    const text = JSON.stringify(message);
    if (this.#opened) {
      this.#socket!.send(text);
    } else {
      this.#unsent.push(text);
    }
  }

  /** How much has not been sent, characters or bytes, which are the same here: messages of input are ASCII. */
  #waiting(): number {
    return this.#opened ? this.#socket!.bufferedAmount : this.#unsent.reduce((sum, text) => sum + text.length, 0);
  }

  readonly #onAbort = (): void => this.#finish({ error: this.#signal!.reason });
}

/** The first message. @internal */
export function encodeInteractive({ pty, ...request }: InteractiveRequest): string {
  return encodeRequest(request, pty === undefined ? {} : { pty });
}
