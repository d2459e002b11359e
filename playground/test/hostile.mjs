// Links, programs and servers' words made by somebody who means harm.
import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";
import { badge, forgive, open, text, type, use } from "./page.mjs";
import { key } from "./stack.mjs";

const evil = "<img src=x onerror=alert(1)><svg onload=alert(2)>";

const link = (program) => `#p=${deflateRawSync(JSON.stringify(program)).toString("base64url")}`;

/** What became an element of it, on the page or in the editor. A script that ran would have shown a dialog, and a style or a script refused is a complaint. */
const made = (page) =>
  page.evaluate(() => {
    const roots = [document, document.querySelector("#editor").shadowRoot];
    return roots.flatMap((root) => [...root.querySelectorAll("[onerror], [onload], img[src=x], script:not([src])")]).map((e) => e.outerHTML);
  });

test("nothing foreign becomes markup: a link's names and texts, messages of compilers, output, a session's files, refusals", async () => {
  const program = { language: "c", files: [{ name: `${evil}.c`, content: `#error ${evil}\n` }, { name: "b\u202ec.h", content: evil }], stdin: evil, args: evil };
  const page = await open({ fragment: `${link(program)}&key=${key}` });
  page.on("dialog", (dialog) => assert.match(dialog.message(), /^This link|^Put the sample/));
  await page.keyboard.press("Control+Enter");
  await badge(page, "CE");
  await page.locator("#output button.place", { hasText: evil }).first().click();
  await page.keyboard.press("F8");
  await page.locator("#editor .cm-diagnostic", { hasText: evil }).waitFor();
  assert.deepEqual(await made(page), []);

  await use(page, "bash", `echo '${evil}' | tee -a -- '${evil}' >&2; printf '\\e]8;;javascript:alert(1)\\e\\\\link\\e]8;;\\e\\\\ \\e[38;2;1;2;url(x)m'; echo; cat; . ./none '${evil}'`);
  await page.check("#session");
  await page.keyboard.press("Control+Enter");
  await badge(page, "RE");
  await page.locator("#kept button", { hasText: evil }).waitFor();
  const shown = await text(page); // of two streams, which have no order between them
  assert.match(shown, /^<img src=x onerror=alert\(1\)>/m);
  assert.match(shown, /^link /m);
  assert.equal(await page.locator("#output a").count(), 0);
  assert.deepEqual(await made(page), []);

  const other = await open({ fragment: `${link({ ...program, language: evil })}&key=${key}` });
  await other.keyboard.press("Control+Enter");
  await badge(other, "not run");
  await other.locator("#output .of-note", { hasText: "language" }).waitFor();
  assert.deepEqual(await made(other), []);
  forgive(); // the browser tells of the refusal
  for (const bad of [link({ ...program, files: [{ name: "../x", content: "" }] }), `#p=${encodeURIComponent(evil)}`, link([evil])]) {
    await (await open({ fragment: bad })).locator("#toast", { hasText: "cannot be read" }).waitFor();
  }
});

test("a link takes the place of nobody's own work, nor does a reload", async () => {
  const page = await open();
  await use(page, "ruby", "puts 'mine'\n");
  await page.fill("#stdin", "my input");
  await page.waitForFunction(() => localStorage.getItem("runtools.draft.ruby")?.includes("my input"));
  const came = { language: "ruby", files: [{ name: "main.rb", content: "puts 'theirs'\n" }], stdin: "", args: "" };
  await page.goto(page.url().replace(/#.*/, "") + link(came));
  const shows = (code) => page.locator("#editor .cm-content", { hasText: code }).waitFor();
  await shows("theirs");
  await page.reload();
  await shows("theirs");
  await type(page, "puts 'changed'\n");
  assert.equal(new URL(page.url()).hash, "", "the address names another program than is shown");
  await page.reload();
  await shows("changed");
  // Another tab.
  const own = await page.context().newPage();
  await own.goto(page.url());
  await own.locator("#editor .cm-content", { hasText: "mine" }).waitFor();
  assert.equal(await own.inputValue("#stdin"), "my input");
  // What is shared is one's own all the same.
  await own.click("#share");
  await own.locator("#toast").waitFor();
  await own.fill("#stdin", "more input");
  await own.reload();
  await own.waitForSelector("html[data-ready=true]");
  assert.equal(await own.inputValue("#stdin"), "more input");
  await own.evaluate(() => (globalThis.confirm = () => false));
  await own.click("#sample");
  assert.equal(await own.inputValue("#stdin"), "more input", "the sample came unasked");
});
