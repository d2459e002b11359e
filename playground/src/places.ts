// Places in the program's files that its output names. The answer's diagnostics mark lines in the editor; these lead there from the text.

/** A place that some text names, and where in the text. */
export interface Place {
  from: number;
  to: number;
  file: string;
  line: number;
  column: number; // 1 if it is not told
}

// All toolchains write a file's name and then the line, in one of these ways:
//   main.c:3:5  main.go:3  main.rb:3:in   Main.java:3     most
//   main.ts(3,5)                                          tsc, Roslyn
//   "/home/user/main.py", line 3                          Python
//   main.sh: line 3                                       Bash
//   Main.cs:line 3                                        .NET's stack traces
const afterName = String.raw`(?:\((\d+)(?:,(\d+))?\)|"?[:,]? ?line (\d+)|:(\d+)(?::(\d+))?)`;

/** Finds the places of these files. Only names that are the program's own count, so a text cannot lead anywhere else. */
export class PlaceFinder {
  private readonly pattern: RegExp | undefined;

  constructor(files: string[]) {
    const names = [...files].sort((a, b) => b.length - a.length).map((name) => name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
    this.pattern = names.length === 0 ? undefined : new RegExp(String.raw`(?<![\w.-])(${names.join("|")})${afterName}`, "g");
  }

  find(text: string): Place[] {
    if (this.pattern === undefined) {
      return [];
    }
    return [...text.matchAll(this.pattern)].map((m) => {
      const [whole, file = "", a, aColumn, b, c, cColumn] = m;
      return { from: m.index, to: m.index + whole.length, file, line: Number(a ?? b ?? c), column: Number(aColumn ?? cColumn ?? 1) };
    });
  }
}
