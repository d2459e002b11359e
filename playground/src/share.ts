// A program in the fragment of an address: browsers do not send it to any server.
import { type Program, readProgram } from "./program.ts";

/** A link can be made by anybody: what it unpacks to is bounded, in bytes. */
const maxUnpacked = 4 << 20;

export async function pack(program: Program): Promise<string> {
  const packed = new Blob([JSON.stringify(program)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  let text = "";
  for (const byte of bytes) {
    text += String.fromCharCode(byte);
  }
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Throws for what no page of ours has packed. */
export async function unpack(text: string): Promise<Program> {
  const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let size = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    size += value.length;
    if (size > maxUnpacked) {
      throw new Error("the program in the link is too large");
    }
    parts.push(value as Uint8Array<ArrayBuffer>);
  }
  const program = readProgram(JSON.parse(await new Blob(parts).text()));
  if (program === undefined) {
    throw new Error("the link holds no program");
  }
  return program;
}
