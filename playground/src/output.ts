// The pane that shows what a program writes, while it does.
import { AnsiParser, type Look, plain } from "./ansi.ts";
import { type Place, PlaceFinder } from "./places.ts";

export type Stream = "stdout" | "stderr" | "compiler" | "note";

/** A browser gets slow with more than this. The program may write more; the page says how much. */
const maxLines = 10_000;
const maxCharacters = 2_000_000;
const pieceCharacters = 50; // that a piece of another look counts as, beside its own
const maxPieces = 1_000; // in a line, which is drawn anew whenever it grows; then it goes on in another

interface Piece {
  text: string;
  look: Look;
  stream: Stream;
}

export class Output {
  private finder = new PlaceFinder([]);
  private parsers = new Map<Stream, AnsiParser>();
  private line: Piece[] = []; // the last one, which may grow
  private element: HTMLElement | undefined; // of it, once it is drawn
  private overwrite = false; // what comes next replaces the line
  private done: Piece[][] = []; // lines that are ended and not drawn
  private lines = 0;
  private characters = 0;
  private dropped = 0;
  private frame = 0;

  constructor(
    private readonly pane: HTMLElement,
    private readonly goTo: (place: Place) => void,
  ) {}

  /** Empties the pane for a run of a program of these files. */
  clear(files: string[]): void {
    cancelAnimationFrame(this.frame);
    this.pane.replaceChildren();
    this.finder = new PlaceFinder(files);
    this.parsers.clear();
    this.line = [];
    this.done = [];
    this.element = undefined;
    this.overwrite = false;
    this.lines = this.characters = this.dropped = this.frame = 0;
  }

  write(stream: Stream, text: string): void {
    if (this.lines >= maxLines || this.characters >= maxCharacters) {
      this.dropped += text.length;
      return;
    }
    this.characters += text.length;
    let parser = this.parsers.get(stream);
    if (parser === undefined) {
      parser = new AnsiParser();
      this.parsers.set(stream, parser);
    }
    for (const step of parser.push(text)) {
      if (step === "newline") {
        this.endLine();
      } else if (step === "return") {
        this.overwrite = true;
      } else {
        if (this.overwrite) {
          this.line = [];
          this.overwrite = false;
        }
        if (this.line.length >= maxPieces) {
          this.endLine();
        }
        this.characters += pieceCharacters;
        this.line.push({ ...step, stream });
      }
    }
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  /** A line of ours between those of the program. */
  note(text: string): void {
    if (this.line.length > 0) {
      this.endLine();
    }
    this.line.push({ text, look: plain, stream: "note" });
    this.endLine();
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  /** Nothing more comes. */
  end(): void {
    if (this.dropped > 0) {
      this.note(`… ${this.dropped.toLocaleString("en")} more characters are not shown`);
    }
    cancelAnimationFrame(this.frame);
    this.draw();
  }

  /** The first place in the program that the output names. */
  firstPlace(): HTMLElement | null {
    return this.pane.querySelector("button.place");
  }

  private endLine(): void {
    this.done.push(this.line);
    this.line = [];
    this.overwrite = false;
    this.lines++;
  }

  private draw(): void {
    this.frame = 0;
    const atEnd = this.pane.scrollHeight - this.pane.scrollTop - this.pane.clientHeight < 40;
    const fresh = document.createDocumentFragment();
    for (const line of this.done) {
      if (this.element !== undefined) {
        this.fill(this.element, line);
        this.element = undefined;
      } else {
        fresh.append(this.fill(document.createElement("div"), line));
      }
    }
    this.done = [];
    if (this.line.length > 0) {
      if (this.element === undefined) {
        this.element = document.createElement("div");
        fresh.append(this.element);
      }
      this.fill(this.element, this.line);
    }
    this.pane.append(fresh);
    if (atEnd) {
      this.pane.scrollTop = this.pane.scrollHeight;
    }
  }

  private fill(element: HTMLElement, line: Piece[]): HTMLElement {
    const streams = new Set(line.map((piece) => piece.stream));
    element.className = ["line", ...streams].join(" ");
    element.replaceChildren();
    const places = streams.has("note") ? [] : this.finder.find(line.map((piece) => piece.text).join(""));
    let at = 0; // of the piece in the line
    for (const piece of line) {
      this.fillPiece(element, piece, at, places);
      at += piece.text.length;
    }
    if (line.length === 0) {
      element.append("\n"); // so that an empty line has a height, and is copied as one
    }
    return element;
  }

  /** A piece in parts: those that name a place lead to it. */
  private fillPiece(element: HTMLElement, piece: Piece, at: number, places: Place[]): void {
    const end = at + piece.text.length;
    let from = at;
    for (const place of places) {
      if (place.from < from || place.to > end) {
        continue; // in another piece, or coloured in parts
      }
      element.append(span(piece, piece.text.slice(from - at, place.from - at)));
      const button = document.createElement("button");
      button.className = "place";
      button.type = "button";
      button.title = `Go to line ${place.line} of ${place.file}`;
      button.append(span(piece, piece.text.slice(place.from - at, place.to - at)));
      button.addEventListener("click", () => this.goTo(place));
      element.append(button);
      from = place.to;
    }
    element.append(span(piece, piece.text.slice(from - at)));
  }
}

function span(piece: Piece, text: string): Node {
  const { look, stream } = piece;
  if (look === plain && stream === "stdout") {
    return document.createTextNode(text);
  }
  const s = document.createElement("span");
  s.textContent = text;
  s.className = `of-${stream}`;
  const [front, back] = look.inverse ? [look.background || "var(--pane)", look.colour || "var(--text)"] : [look.colour, look.background];
  // Set by name: a style attribute is not allowed by the page's policy, and could not be trusted.
  if (front !== "") s.style.color = front;
  if (back !== "") s.style.backgroundColor = back;
  if (look.bold) s.style.fontWeight = "650";
  if (look.dim) s.style.opacity = "0.7";
  if (look.italic) s.style.fontStyle = "italic";
  const lines = [look.underline ? "underline" : "", look.strike ? "line-through" : ""].filter(Boolean).join(" ");
  if (lines !== "") s.style.textDecoration = lines;
  return s;
}
