// A program as the page keeps and shares it.

export interface SourceFile {
  name: string;
  content: string;
}

export interface Program {
  language: string;
  files: SourceFile[]; // the first is run
  stdin: string;
  args: string; // as typed
}

/** Reads what a link or an older page wrote; undefined for anything else. */
export function readProgram(value: unknown): Program | undefined {
  const p = value as Program | null;
  const isFile = (f: unknown): boolean =>
    typeof (f as SourceFile | null)?.name === "string" && typeof (f as SourceFile).content === "string" && nameProblem((f as SourceFile).name, []) === undefined;
  if (typeof p?.language !== "string" || typeof p.stdin !== "string" || typeof p.args !== "string" || !Array.isArray(p.files)) {
    return undefined;
  }
  const names = p.files.map((f) => (f as SourceFile | null)?.name);
  if (p.files.length === 0 || !p.files.every(isFile) || new Set(names).size !== names.length) {
    return undefined;
  }
  return { language: p.language, files: p.files.map(({ name, content }) => ({ name, content })), stdin: p.stdin, args: p.args };
}

/** Why a file cannot have this name; undefined if it can. The server has the last word, this one comes earlier. */
export function nameProblem(name: string, others: string[]): string | undefined {
  if (name === "" || name.split("/").some((part) => part === "" || part === "." || part === ".." || part.length > 255)) {
    return "want a name like util.py or lib/util.py";
  }
  if (name.includes("\0")) {
    return "a name has no NUL";
  }
  if (others.includes(name)) {
    return "there is a file of that name";
  }
  return undefined;
}

/** Splits arguments as a shell does: by spaces, with quotes and backslashes to keep them. */
export function splitArguments(text: string): string[] {
  const words: string[] = [];
  for (const [whole] of text.matchAll(/(?:"(?:\\[^]|[^"\\])*"?|'[^']*'?|\\[^]|[^\s"'\\]|\\$)+/g)) {
    words.push(
      whole.replace(/"((?:\\[^]|[^"\\])*)"?|'([^']*)'?|\\([^])/g, (_, double?: string, single?: string, char?: string) =>
        double !== undefined ? double.replace(/\\(["\\$`])/g, "$1") : (single ?? char ?? ""),
      ),
    );
  }
  return words;
}
