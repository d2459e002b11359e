// Server-sent events, as section 9.2.6 of the HTML standard reads them.

/** One event: its name and its data. */
export interface ServerSentEvent {
  name: string;
  data: string;
}

/** Makes events of the bytes of an answer, wherever they were cut. @internal */
export class EventParser {
  readonly #decoder = new TextDecoder(); // keeps the beginning of a character, and drops a byte order mark
  #endedWithCR = false;
  /** The beginning of a line. */
  #line = "";
  #name = "";
  #data: string[] = [];

  /** The events that these bytes complete. */
  push(bytes: Uint8Array): ServerSentEvent[] {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") {
      return [];
    }
    if (this.#endedWithCR && text.startsWith("\n")) {
      text = text.slice(1); // the second half of a line break
      this.#endedWithCR = false;
    }
    if (text !== "") {
      this.#endedWithCR = text.endsWith("\r");
    }
    // Only what is new is searched: the last event may come in hundreds of parts.
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = this.#line + lines[0];
    this.#line = lines.pop()!;
    return lines.flatMap((line) => this.#take(line) ?? []);
  }

  #take(line: string): ServerSentEvent | undefined {
    if (line === "") {
      const event = { name: this.#name || "message", data: this.#data.join("\n") };
      const complete = this.#data.length > 0;
      this.#name = "";
      this.#data = [];
      return complete ? event : undefined;
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?([^]*))?$/.exec(line)!;
    if (field === "event") {
      this.#name = value;
    } else if (field === "data") {
      this.#data.push(value);
    } // a comment has no field's name; the others are for who reconnects
    return undefined;
  }
}
