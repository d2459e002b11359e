// What the page knows of a language beyond what the server says: a name for people, how its main file is called, and a sample. One that the
// server has and this table lacks still runs, as plain text.

export interface Language {
  name: string; // the API's
  label: string;
  main: string;
  sample: string;
}

// Go skips folders with an underscore: the samples are no packages of the repository.
const samples = import.meta.glob<string>("./_samples/*", { query: "?raw", import: "default", eager: true });

const known: [name: string, label: string, main: string][] = [
  ["python", "Python", "main.py"],
  ["javascript", "JavaScript", "main.js"],
  ["typescript", "TypeScript", "main.ts"],
  ["bash", "Bash", "main.sh"],
  ["c", "C", "main.c"],
  ["cpp", "C++", "main.cpp"],
  ["go", "Go", "main.go"],
  ["rust", "Rust", "main.rs"],
  ["java", "Java", "Main.java"],
  ["csharp", "C#", "Main.cs"],
  ["ruby", "Ruby", "main.rb"],
];

export const languages: Language[] = known.map(([name, label, main]) => ({ name, label, main, sample: samples[`./_samples/${main}`] ?? "" }));

export function languageNamed(name: string): Language {
  return languages.find((l) => l.name === name) ?? { name, label: name, main: "main", sample: "" };
}

/** The input that the samples read. */
export const sampleInput = "apples 12\npears 7\nplums 19\n";
