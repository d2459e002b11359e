// The playground: one program, run through the same API and SDK as everybody's.
import { type Diagnostic, type ExecuteResult, RunTools, RunToolsError, type Stage } from "../../sdk/typescript/src/index.ts";
import { lastLanguage, linkedDraft, ownDraft, saveDraft } from "./drafts.ts";
import { Editor } from "./editor.ts";
import { askForKey, storedKey, takeKeyFromAddress } from "./key.ts";
import { languageNamed, languages, sampleInput } from "./languages.ts";
import { Output } from "./output.ts";
import type { Place } from "./places.ts";
import { type Program, splitArguments } from "./program.ts";
import { SessionPanel } from "./session.ts";
import { pack, unpack } from "./share.ts";
import { Tabs } from "./tabs.ts";
import { theme } from "./theme.ts";
import { drawWaterfall, milliseconds } from "./waterfall.ts";

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const runButton = find<HTMLButtonElement>("run");
const languageList = find<HTMLSelectElement>("language");
const args = find<HTMLInputElement>("args");
const stdin = find<HTMLTextAreaElement>("stdin");

/** The API is served where this page is. */
const baseUrl = new URL(".", document.baseURI).href.replace(/\/$/, "");

let program: Program;
let linked = false; // it came with a link
let shown = ""; // the file in the editor
let running: AbortController | undefined;
let diagnostics: Diagnostic[] = [];

let saving = 0;
function changed(): void {
  // The address no longer names what is here: a reload would bring back what it names.
  if (new URLSearchParams(location.hash.slice(1)).has("p")) {
    history.replaceState(null, "", location.pathname + location.search);
  }
  clearTimeout(saving);
  saving = setTimeout(save, 300);
}

function save(): void {
  clearTimeout(saving);
  saveDraft(program, linked);
}

const same = (a: Program, b: Program | undefined): boolean => JSON.stringify(a) === JSON.stringify(b);

function sampleOf(language: string): Program {
  const { main, sample } = languageNamed(language);
  return { language, files: [{ name: main, content: sample }], stdin: sampleInput, args: "" };
}

// The program.

const editor = new Editor(find("editor"), (name, content) => {
  program.files.find((f) => f.name === name)!.content = content;
  changed();
});

const output = new Output(find("output"), goTo);

const tabs = new Tabs(find("tabs"), { add: find("add"), rename: find("rename"), remove: find("remove") }, {
  select: show,
  add(name) {
    program.files.push({ name, content: "" });
    show(name);
    editor.focus();
    changed();
  },
  rename(from, to) {
    const file = program.files.find((f) => f.name === from)!;
    file.name = to;
    editor.rename(from, to, file.content);
    show(to);
    tabs.focus();
    changed();
  },
  remove(name) {
    const at = program.files.findIndex((f) => f.name === name);
    program.files.splice(at, 1);
    editor.close(name);
    show(program.files[Math.max(at - 1, 0)]!.name);
    changed();
  },
});

const session = new SessionPanel({ box: find("session"), kept: find("kept"), anew: find("anew") }, { client, say, fail: failed });

function show(name: string): void {
  shown = name;
  editor.show(name, program.files.find((f) => f.name === name)!.content);
  editor.mark(diagnostics);
  tabs.draw(program.files, name);
}

function goTo(place: Place): void {
  if (!program.files.some((f) => f.name === place.file)) {
    toast(`${place.file} is not there any more`); // another name, another program
    return;
  }
  if (shown !== place.file) {
    show(place.file);
  }
  editor.goTo(place.line, place.column);
}

/** What was typed in a language, or its sample. */
function loadLanguage(language: string): void {
  const came = linkedDraft(language);
  load(came ?? ownDraft(language) ?? sampleOf(language), came !== undefined);
}

function load(next: Program, fromLink: boolean): void {
  program = next;
  linked = fromLink && !same(next, ownDraft(next.language));
  diagnostics = [];
  editor.clear();
  if (![...languageList.options].some((o) => o.value === next.language)) {
    languageList.add(new Option(languageNamed(next.language).label, next.language));
  }
  languageList.value = next.language;
  args.value = next.args;
  stdin.value = next.stdin;
  show(next.files[0]!.name);
}

// Running it.

function client(): RunTools {
  return new RunTools({ apiKey: storedKey(), baseUrl });
}

async function run(): Promise<void> {
  if (running !== undefined) {
    return;
  }
  if (storedKey() === "" && !(await askForKey("Programs run on this server, which wants a key of its API."))) {
    return;
  }
  const stop = new AbortController();
  running = stop;
  const names = program.files.map((f) => f.name);
  begin(names);
  const started = performance.now();
  const clock = setInterval(() => facts(`${((performance.now() - started) / 1000).toFixed(1)} s`), 100);
  try {
    const request = {
      language: program.language,
      files: program.files.map(({ name, content }) => ({ name, content })),
      stdin: program.stdin,
      args: splitArguments(program.args),
      ...session.request(),
    };
    for await (const event of client().stream(request, { signal: stop.signal, timeout: Infinity })) {
      if (event.type === "compile") {
        showCompiler(event.compile);
      } else if (event.type === "stdout" || event.type === "stderr") {
        output.write(event.type, event.text);
      } else if (event.type === "result") {
        clearInterval(clock);
        finish(event.result, performance.now() - started);
      }
    }
  } catch (error) {
    clearInterval(clock);
    if (stop.signal.aborted) {
      verdict("warn", "stopped", `after ${milliseconds(performance.now() - started)}; the program was killed`);
    } else {
      failed(error);
    }
  } finally {
    clearInterval(clock);
    running = undefined;
    output.end();
    runButton.classList.remove("running");
    document.body.classList.remove("running");
    label("Run", runKeys);
    showResults(); // there may be more to see now
    void session.refresh(names);
  }
}

function begin(names: string[]): void {
  output.clear(names);
  diagnostics = [];
  editor.mark([]);
  find("waterfall").replaceChildren();
  runButton.classList.add("running");
  document.body.classList.add("running");
  label("Stop", "Esc");
  verdict("", "running", "");
  showResults();
}

/** On a phone they are below the program. */
function showResults(): void {
  if (matchMedia("(max-width: 760px)").matches) {
    find("results").scrollIntoView();
  }
}

/** A compiler that has nothing to say says "OK", and how long it took. */
function showCompiler(stage: Stage): void {
  const words = [stage.stdout, stage.stderr].filter((text) => text !== "" && !/^OK \([\d.]+ sec real\)\s*$/.test(text)).join("");
  if (words !== "") {
    output.write("compiler", words.endsWith("\n") ? words : `${words}\n`);
  }
}

function finish(result: ExecuteResult, took: number): void {
  const { compile, run } = result;
  const failedCompile = run.status === "CE";
  const stage = failedCompile ? compile! : run;
  const told = [
    stage.signal ?? `exit code ${stage.code}`,
    ...(compile === undefined || failedCompile ? [] : [compile.cached ? "compiled before" : `compile ${milliseconds(compile.time_ms)}`]),
    `${failedCompile ? "compile" : "run"} ${milliseconds(stage.time_ms)}`,
    `CPU ${milliseconds(stage.cpu_time_ms)}`,
    `${(stage.memory_kb / 1024).toFixed(1)} MiB`,
  ];
  const { message, violations } = stage;
  if (message !== null) {
    output.note(message);
  }
  for (const { syscall, args, count } of violations ?? []) {
    output.note(`denied: ${syscall}(${args ?? ""})${count > 1 ? ` ×${count}` : ""}`);
  }
  session.ran(result);
  verdict(run.status === "OK" ? "good" : "bad", run.status, told.join(" · "));
  if (result.timing !== undefined) {
    drawWaterfall(find("waterfall"), result.timing, took);
  }
  diagnostics = [...(compile?.diagnostics ?? []), ...(failedCompile ? [] : (run.diagnostics ?? []))];
  editor.mark(diagnostics);
}

/** What we, the network or the server failed at. */
function failed(error: unknown): void {
  const words = error instanceof Error ? error.message : String(error);
  output.note(words);
  verdict("bad", "not run", "");
  if (error instanceof RunToolsError && error.code === "unauthorized") {
    void askForKey("The server does not accept the key.").then((given) => (given ? begun().catch(failed) : undefined));
  }
}

function verdict(kind: string, word: string, details: string): void {
  const badge = find("badge");
  badge.className = kind;
  badge.textContent = word;
  facts(details);
  say(word === "running" ? "Running" : `${word}: ${details}`);
}

function facts(text: string): void {
  find("facts").textContent = text;
}

/** For who does not see it. */
function say(text: string): void {
  find("said").textContent = text;
}

let toasting = 0;
function toast(text: string): void {
  const note = find("toast");
  note.textContent = text;
  note.hidden = false;
  say(text);
  clearTimeout(toasting);
  toasting = setTimeout(() => (note.hidden = true), 4000);
}

// What is around it.

const runKeys = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘ ⏎" : "Ctrl ⏎";

function label(word: string, keys: string): void {
  runButton.querySelector(".word")!.textContent = word;
  runButton.querySelector("kbd")!.textContent = keys;
}

async function share(): Promise<void> {
  const address = `${location.origin}${location.pathname}#p=${await pack(program)}`;
  history.replaceState(null, "", address);
  try {
    await navigator.clipboard.writeText(address); // not there without TLS, except on this machine
    toast("A link to this program was copied");
  } catch {
    toast("The link to this program is in the address bar");
  }
}

/** The program of the address, if it has one. */
async function shared(): Promise<Program | undefined> {
  const packed = new URLSearchParams(location.hash.slice(1)).get("p");
  if (packed === null) {
    return undefined;
  }
  try {
    return await unpack(packed);
  } catch (error) {
    toast(`The link's program cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/** Learns what the server has, once there is a key. */
async function begun(): Promise<void> {
  const installed = new Map<string, string>();
  for (const { language, version } of await client().runtimes()) {
    installed.set(language, installed.get(language) ?? version);
  }
  const names = [...languages.map((l) => l.name), ...installed.keys()];
  const options = [...new Set(names)].map((name) => {
    const option = new Option(`${languageNamed(name).label} ${installed.get(name) ?? "(not installed)"}`, name);
    option.disabled = !installed.has(name);
    return option;
  });
  languageList.replaceChildren(...options);
  languageList.value = program.language;
}

function keys(event: KeyboardEvent): void {
  if (document.querySelector("dialog[open]") !== null) {
    return;
  }
  const command = event.ctrlKey || event.metaKey;
  if (event.key === "Enter" && command) {
    void run();
  } else if (running !== undefined && (event.key === "Escape" || (event.key === "." && command))) {
    running.abort();
  } else if (event.key === "F8" && !event.defaultPrevented && !find("editor").contains(document.activeElement)) {
    output.firstPlace()?.click();
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

async function start(): Promise<void> {
  theme(find("theme"));
  takeKeyFromAddress();
  label("Run", runKeys);
  languageList.replaceChildren(...languages.map((l) => new Option(l.label, l.name)));
  const came = await shared();
  came === undefined ? loadLanguage(lastLanguage() ?? "python") : load(came, true);

  addEventListener("keydown", keys, { capture: true });
  addEventListener("pagehide", save);
  addEventListener("hashchange", async () => {
    takeKeyFromAddress();
    const other = await shared();
    if (other !== undefined) {
      save();
      load(other, true);
    }
  });
  languageList.addEventListener("change", () => {
    save();
    loadLanguage(languageList.value);
    changed();
  });
  args.addEventListener("input", () => {
    program.args = args.value;
    changed();
  });
  stdin.addEventListener("input", () => {
    program.stdin = stdin.value;
    changed();
  });
  runButton.addEventListener("click", () => (running === undefined ? void run() : running.abort()));
  find("sample").addEventListener("click", () => {
    const sample = sampleOf(program.language);
    if (same(program, sample) || confirm("Put the sample in place of your program?")) {
      load(sample, linked);
      changed();
    }
  });
  find("share").addEventListener("click", () => void share());
  find("copy").addEventListener("click", () => void navigator.clipboard?.writeText(find("output").innerText).then(() => toast("The output was copied")));
  find("key").addEventListener("click", () => void askForKey("Programs run on this server, which wants a key of its API.").then((given) => (given ? begun().catch(failed) : undefined)));
  document.documentElement.dataset["ready"] = "true";
  if (storedKey() !== "") {
    await begun().catch(failed);
    await session.refresh(program.files.map((f) => f.name));
  }
}

void start();
