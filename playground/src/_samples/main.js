import { createInterface } from "node:readline";

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
for await (const line of createInterface({ input: process.stdin })) {
  const [name, number] = line.split(" ");
  if (!process.argv.slice(2).includes(name)) {
    console.log(`${name.padEnd(8)} \x1b[33m${"█".repeat(number)}\x1b[0m ${number}`);
  }
}
