// Builds dist/ twice, as ES modules and as CommonJS, each with types of its own: a package.json beside the files tells Node, and tsc, which they are.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

rmSync(`${here}/dist`, { recursive: true, force: true });
for (const [folder, type, options] of [
  ["esm", "module", []],
  ["cjs", "commonjs", ["--module", "CommonJS", "--moduleResolution", "Node10", "--verbatimModuleSyntax", "false"]],
]) {
  execFileSync(process.execPath, [tsc, "-p", here, "--outDir", `${here}/dist/${folder}`, ...options], { stdio: "inherit" });
  mkdirSync(`${here}/dist/${folder}`, { recursive: true });
  writeFileSync(`${here}/dist/${folder}/package.json`, `{"type": "${type}"}\n`);
}
copyFileSync(`${here}/../../LICENSE`, `${here}/LICENSE`); // npm packs no file from above
