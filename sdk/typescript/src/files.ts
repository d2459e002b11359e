import { RunToolsError } from "./errors.js";
import type { FileEntry } from "./result.js";
import type { CallOptions, Transport } from "./transport.js";

/** Sends when it is the session's turn, with the path of the session if it has begun. `begin`: if it has not this begins it. */
type InTurn = <T>(signal: AbortSignal | undefined, send: (session: string | undefined) => Promise<T>, begin?: boolean) => Promise<T>;

/** What `get` can be told besides: a part of the file. */
export interface GetFileOptions extends CallOptions {
  /** The first byte, from 0. Default 0. */
  offset?: number | undefined;
  /** How many bytes at most; there are less if the file ends before. Default: to its end. */
  length?: number | undefined;
}

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
      const answer = await this.transport.call({ method: "GET", path: `${begun(session)}/files`, idempotent: true }, options);
      return (answer as { files: FileEntry[] }).files;
    });
  }

  /**
   * The bytes of a file, or of a part of it. Rejects with `not_found` if there is no regular file of that path, with `payload_too_large` above
   * 32 MiB unless the server's operator says otherwise: read it in parts then.
   */
  async get(path: string, options: GetFileOptions = {}): Promise<Uint8Array> {
    const file = encodePath(path);
    const range = encodeRange(options);
    return this.inTurn(options.signal, async (session) => {
      const call = { method: "GET", path: begun(session) + file, accept: "application/octet-stream", range, idempotent: true } as const;
      return (await this.transport.call(call, options)) as Uint8Array;
    });
  }

  /** Writes a file, of mode 0644; folders above it are made, a link is replaced. Begins the session if it has not begun. */
  async put(path: string, content: string | Uint8Array, options: CallOptions = {}): Promise<void> {
    const file = encodePath(path);
    const body = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const send = async (session: string | undefined): Promise<void> => {
      await this.transport.call({ method: "PUT", path: begun(session) + file, body, idempotent: true }, options);
    };
    await this.inTurn(options.signal, send, true);
  }

  /** Deletes a file, or a folder with all that is in it. False if there was none. */
  async delete(path: string, options: CallOptions = {}): Promise<boolean> {
    const file = encodePath(path);
    return this.inTurn(options.signal, async (session) => session !== undefined && this.transport.delete(session + file, options));
  }
}

/** The path of a session that has begun. @internal */
export function begun(session: string | undefined): string {
  if (session === undefined) {
    throw new RunToolsError("the session has not begun: execute a program in it, or put a file", { code: "not_found" });
  }
  return session;
}

function encodeRange({ offset = 0, length }: GetFileOptions): string | undefined {
  if (!Number.isSafeInteger(offset) || offset < 0 || (length !== undefined && (!Number.isSafeInteger(length) || length < 1))) {
    throw new TypeError(`offset ${offset}, length ${length}: want whole numbers of at least 0 and 1`);
  }
  if (length === undefined) {
    return offset === 0 ? undefined : `bytes=${offset}-`;
  }
  return `bytes=${offset}-${offset + length - 1}`;
}

/** `fetch` and servers resolve `..` in a URL, also in its escaped forms: it would lead from the file to the session itself. */
function encodePath(path: string): string {
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new TypeError(`path ${JSON.stringify(path)}: want a relative one without empty parts, "." and ".."`);
  }
  return `/files/${parts.map(encodeURIComponent).join("/")}`;
}
