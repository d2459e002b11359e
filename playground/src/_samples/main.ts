import { readFileSync } from "node:fs";

interface Row {
  name: string;
  count: number;
}

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
const rows: Row[] = readFileSync(0, "utf8")
  .trim()
  .split("\n")
  .map((line) => {
    const [name = "", count] = line.split(" ");
    return { name, count: Number(count) };
  });
const left = new Set(process.argv.slice(2));
for (const { name, count } of rows.filter((row) => !left.has(row.name))) {
  console.log(`${name.padEnd(8)} \x1b[34m${"█".repeat(count)}\x1b[0m ${count}`);
}
