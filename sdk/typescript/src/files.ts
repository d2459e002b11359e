import type { FileEntry } from "./result.js";
import type { CallOptions, Transport } from "./transport.js";

/** Sends when it is the session's turn, with the path of the session. `begin`: if there is no session yet this begins one. */
type InTurn = <T>(signal: AbortSignal | undefined, send: (session: string) => Promise<T>, begin?: boolean) => Promise<T>;

/**
 * The files of a session's working directory. Paths are relative, with `/` between folders. Each call waits for the requests of
 * the session that were called before. Made by {@link RunTools.session}.
 */
export class SessionFiles {
  /** @internal */
  constructor(
    private readonly transport: Transport,
    private readonly inTurn: InTurn,
  ) {}

  /** All of them, folders included, at any depth. */
  list(options: CallOptions = {}): Promise<FileEntry[]> {
    return this.inTurn(options.signal, async (session) => {
      const answer = await this.transport.call({ method: "GET", path: `${session}/files`, idempotent: true }, options);
      return (answer as { files: FileEntry[] }).files;
    });
  }

  /** The bytes of a file. Rejects with `not_found` if there is no regular file of that path. */
  async get(path: string, options: CallOptions = {}): Promise<Uint8Array> {
    const file = encodePath(path);
    return this.inTurn(options.signal, async (session) => {
      const answer = await this.transport.call({ method: "GET", path: session + file, accept: "application/octet-stream", idempotent: true }, options);
      return answer as Uint8Array;
    });
  }

  /** Writes a file, of mode 0644; folders above it are made, a link is replaced. Begins the session if it has not begun. */
  async put(path: string, content: string | Uint8Array, options: CallOptions = {}): Promise<void> {
    const file = encodePath(path);
    const body = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const send = async (session: string): Promise<void> => {
      await this.transport.call({ method: "PUT", path: session + file, body, idempotent: true }, options);
    };
    await this.inTurn(options.signal, send, true);
  }

  /** Deletes a file, or a folder with all that is in it. False if there was none. */
  async delete(path: string, options: CallOptions = {}): Promise<boolean> {
    const file = encodePath(path);
    return this.inTurn(options.signal, (session) => this.transport.delete(session + file, options));
  }
}

/** `fetch` and servers resolve `..` in a URL, also in its escaped forms: it would lead from the file to the session itself. */
function encodePath(path: string): string {
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new TypeError(`path ${JSON.stringify(path)}: want a relative one without empty parts, "." and ".."`);
  }
  return `/files/${parts.map(encodeURIComponent).join("/")}`;
}
