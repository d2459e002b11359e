// What a terminal would do with a program's output, as far as colours and lines go. Text comes out as text and never as markup: a program's
// output is foreign.

/** How a run of text looks. */
export interface Look {
  colour: string; // CSS; "": the default
  background: string;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  strike: boolean;
  inverse: boolean;
}

export const plain: Look = { colour: "", background: "", bold: false, dim: false, italic: false, underline: false, strike: false, inverse: false };

/** What to do next: write text, go to the next line, or back to the beginning of this one. */
export type Step = { text: string; look: Look } | "newline" | "return";

// A control sequence: CSI ... letter, OSC ... BEL or ST, or ESC and one character; section 5.4 of ECMA-48.
const escape = /\x1b(?:\[([0-9:;<=>?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-OQ-WYZ\\`-~])/y;
/** The beginning of one, as far as the end of the text. */
const begun = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)$/y;
/** A sequence whose end has not come after this many characters is none. */
const longestEscape = 4096;

export class AnsiParser {
  private look = plain;
  private held = "";

  /** The steps that this text completes; the beginning of a sequence waits for its end. */
  push(text: string): Step[] {
    text = this.held + text;
    this.held = "";
    const steps: Step[] = [];
    const write = (part: string): void => {
      // Other control characters have no look.
      part = part.replace(/[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]/g, "");
      if (part !== "") {
        steps.push({ text: part, look: this.look });
      }
    };
    let at = 0;
    while (at < text.length) {
      const next = text.slice(at).search(/[\x1b\r\n]/);
      if (next < 0) {
        write(text.slice(at));
        break;
      }
      write(text.slice(at, at + next));
      at += next;
      if (text[at] === "\n") {
        steps.push("newline");
        at++;
      } else if (text[at] === "\r") {
        if (at + 1 === text.length) {
          this.held = "\r"; // a newline may follow, and then it means nothing
          break;
        }
        if (text[at + 1] !== "\n") {
          steps.push("return");
        }
        at++;
      } else {
        escape.lastIndex = begun.lastIndex = at;
        const sequence = escape.exec(text);
        if (sequence !== null) {
          if (sequence[2] === "m") {
            this.look = changed(this.look, sequence[1] ?? "");
          }
          at = escape.lastIndex;
        } else if (text.length - at < longestEscape && begun.test(text)) {
          this.held = text.slice(at);
          break;
        } else {
          at++; // no sequence: what follows is text
        }
      }
    }
    return steps;
  }
}

/** Select Graphic Rendition. */
function changed(look: Look, parameters: string): Look {
  const codes = parameters.split(";").map((p) => p.split(":").map((n) => Number(n || "0")));
  let next = { ...look };
  for (let i = 0; i < codes.length; i++) {
    const [code = 0, ...own] = codes[i]!; // own: what follows a colon belongs to the code before it
    if (code === 0) next = { ...plain };
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = own[0] !== 0;
    else if (code === 7) next.inverse = true;
    else if (code === 9) next.strike = true;
    else if (code === 22) next.bold = next.dim = false;
    else if (code === 23) next.italic = false;
    else if (code === 24) next.underline = false;
    else if (code === 27) next.inverse = false;
    else if (code === 29) next.strike = false;
    else if (code >= 30 && code <= 37) next.colour = named(code - 30);
    else if (code === 39) next.colour = "";
    else if (code >= 40 && code <= 47) next.background = named(code - 40);
    else if (code === 49) next.background = "";
    else if (code >= 90 && code <= 97) next.colour = named(code - 82);
    else if (code >= 100 && code <= 107) next.background = named(code - 92);
    else if (code === 38 || code === 48 || code === 58) {
      // Between colons a colour space, mostly empty, may stand before the three parts.
      const [colour, used] = extended(own.length === 0 ? codes.slice(i + 1).map(([n = 0]) => n) : own[0] === 2 && own.length > 4 ? [2, ...own.slice(2)] : own);
      if (code !== 58) next[code === 38 ? "colour" : "background"] = colour; // 58 is that of the underline
      i += own.length === 0 ? used : 0;
    }
  }
  return next;
}

/** The 16 colours are the page's, so that they can be read on light and on dark. */
const named = (n: number): string => `var(--ansi-${n})`;

/** 5;n or 2;r;g;b, and how many codes it takes. */
function extended(codes: number[]): [colour: string, used: number] {
  const byte = (n: number | undefined): number => Math.min(Math.max(Math.trunc(n ?? 0) || 0, 0), 255);
  if (codes[0] === 2) {
    return [`rgb(${byte(codes[1])}, ${byte(codes[2])}, ${byte(codes[3])})`, 4];
  }
  if (codes[0] !== 5) {
    return ["", 0];
  }
  const n = byte(codes[1]);
  if (n < 16) {
    return [named(n), 2];
  }
  if (n >= 232) {
    const grey = 8 + (n - 232) * 10;
    return [`rgb(${grey}, ${grey}, ${grey})`, 2];
  }
  const level = (part: number): number => (part === 0 ? 0 : 55 + part * 40);
  const cube = n - 16;
  return [`rgb(${level(Math.trunc(cube / 36))}, ${level(Math.trunc(cube / 6) % 6)}, ${level(cube % 6)})`, 2];
}
