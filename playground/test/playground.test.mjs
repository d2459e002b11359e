// The playground as people use it, in a real browser, against a real server.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, afterEach, before, test } from "node:test";
import { browse, hang, key, serve } from "./stack.mjs";

const languages = ["python", "javascript", "typescript", "bash", "c", "cpp", "go", "rust", "java", "csharp", "ruby"];
const shots = process.env.PLAYGROUND_SCREENSHOTS; // a folder; empty: none are made

let server, browser;
before(async () => {
  [server, browser] = await Promise.all([serve(), browse()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** What the pages complained of since they were opened. A page that breaks its own policy says so here. */
let complaints = [];
let contexts = [];
afterEach(async () => {
  await Promise.all(contexts.map((c) => c.close()));
  contexts = [];
  const said = complaints;
  complaints = [];
  assert.deepEqual(said, []);
});

/** A fresh browser's page: no key but that of the link, no draft. */
async function open({ fragment = `#key=${key}`, file = "", ...settings } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light", ...settings });
  contexts.push(context);
  context.setDefaultTimeout(hang);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]).catch(() => {});
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => request.url().startsWith(server.url) || request.url().startsWith("blob:") || complaints.push(`asked for ${request.url()}`));
  await page.goto(server.url + file + fragment);
  await page.waitForSelector("html[data-ready=true]");
  return page;
}

async function shoot(page, name) {
  if (shots) {
    await mkdir(shots, { recursive: true });
    // To hide the caret Playwright would insert a style sheet, which the page's policy forbids.
    await page.screenshot({ path: path.join(shots, `${name}.png`), caret: "initial" });
  }
}

const text = (page) => page.locator("#output").innerText();
const badge = (page, word) => page.locator("#badge", { hasText: new RegExp(`^${word}$`) }).waitFor();

/** Replaces what is in the editor, as by typing. */
async function type(page, code) {
  await page.locator("#editor .cm-content").click();
  await page.keyboard.press("Control+a");
  // Text over a selection makes the browser itself try inline styles, which the policy refuses and the console tells of.
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(code);
}

async function use(page, language, code) {
  await page.selectOption("#language", language);
  if (code !== undefined) {
    await type(page, code);
  }
}

test("all languages run their samples, and the input and arguments reach them", async () => {
  const page = await open();
  assert.equal(new URL(page.url()).hash, "", "the key stays in the address");
  for (const language of languages) {
    await use(page, language);
    await page.fill("#args", '"pears" none');
    await page.keyboard.press("Control+Enter");
    await page.locator("#badge", { hasText: /^(OK|RE|CE|TO|SG|ML|not run)$/ }).waitFor();
    const shown = await text(page);
    assert.match(shown, /^apples +█{12} 12\nplums +█{19} 19\n*$/, `${language} printed ${shown}`);
    assert.ok((await page.locator("#output span[style*=--ansi-]").count()) >= 2, `${language}: no colours`);
    await page.locator("#waterfall .phase-run").waitFor();
    assert.equal(await page.locator("#waterfall .phase-compile").count(), ["c", "cpp", "csharp", "go", "java", "rust"].includes(language) ? 1 : 0);
    // Syntax has colours: more than one.
    const colours = await page.locator("#editor .cm-line span").evaluateAll((spans) => new Set(spans.map((s) => getComputedStyle(s).color)).size);
    assert.ok(colours >= 3, `${language} has ${colours} colours in the editor`);
    await shoot(page, `language-${language}`);
  }
});

test("output is there before the end, stdout and stderr are told apart, and Escape kills the program", async () => {
  const page = await open();
  await use(page, "bash", "echo first; echo oops >&2; sleep 300; echo never");
  await page.keyboard.press("Control+Enter");
  await page.locator("#output .line", { hasText: "first" }).waitFor();
  await page.locator("#output .line.stderr", { hasText: "oops" }).waitFor();
  assert.equal(await page.locator("#badge").innerText(), "running");
  assert.equal(await page.locator("#run .word").innerText(), "Stop");
  await shoot(page, "running");
  await page.keyboard.press("Escape");
  await badge(page, "stopped");
  assert.equal(await page.locator("#run .word").innerText(), "Run");
  assert.match(await page.locator("#said").innerText(), /stopped/);
  // The server has ended the job: its log has the request that was hung up on.
  for (const giveUp = Date.now() + hang; !/outcome=gone/.test(server.log()); await page.waitForTimeout(50)) {
    assert.ok(Date.now() < giveUp, `no hang-up in the log:\n${server.log()}`);
  }
});

test("errors lead to their line: by click in the output, by F8, in another file; and are marked in the editor", async () => {
  const page = await open();
  await use(page, "c", "#include <stdio.h>\n\nint main(void)\n{\n    return oops;\n}\n");
  await page.keyboard.press("Control+Enter");
  await badge(page, "CE");
  await page.locator("#editor .cm-lintRange-error", { hasText: "oops" }).waitFor();
  await page.locator("#output .line.compiler button.place", { hasText: "main.c:5:12" }).first().click();
  await atLine(page, 5);
  assert.equal(await page.evaluate(() => document.activeElement.id), "editor");
  await shoot(page, "error");

  // A second file; its name comes by keyboard.
  await use(page, "python", "import words\nwords.count(None)\n");
  await page.click("#add");
  await page.keyboard.type("words.py");
  await page.keyboard.press("Enter");
  await page.keyboard.insertText("def count(s):\n    return len(s)\n");
  await page.locator("#tabs [role=tab]", { hasText: "main.py" }).click();
  await page.keyboard.press("Control+Enter");
  await badge(page, "RE");
  await page.locator("#output").focus();
  await page.keyboard.press("F8"); // the first place that the output names
  await atLine(page, 2);
  await page.locator("#output button.place", { hasText: "words.py" }).press("Enter");
  assert.equal(await page.locator("#tabs [aria-selected=true]").innerText(), "words.py");
  await atLine(page, 2);
  await page.locator("#editor .cm-lintRange-error").waitFor();
});

/** The cursor is in this line. */
async function atLine(page, line) {
  await page.locator("#editor .cm-lineNumbers .cm-activeLineGutter", { hasText: new RegExp(`^${line}$`) }).waitFor();
}
