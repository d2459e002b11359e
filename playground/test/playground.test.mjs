// The playground as people use it.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./hostile.mjs";
import { atLine, badge, barriers, complaints, faint, forgive, open, server, shoot, text, type, use } from "./page.mjs";
import { hang, key } from "./stack.mjs";
import "./status.mjs";

const languages = ["python", "javascript", "typescript", "bash", "c", "cpp", "go", "rust", "java", "csharp", "ruby"];

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

test("output is shown as a terminal would: colours over parts, lines that are written over, and no more than a browser can take", async () => {
  const page = await open();
  await use(page, "bash", `printf '10%%\\r50%%\\r100%%\\r\\n\\e[3'; sleep 0.2; printf '8;5;196mred\\e[0m \\e[2Jplain\\a \\e[38:2::0:0:255m\\e[4:3mblue\\e[0m\\n\\e[\\n'; yes ${"x".repeat(400)} | head -c 5000000`);
  await page.keyboard.press("Control+Enter");
  await badge(page, "OK");
  await page.locator("#output .of-note", { hasText: /more characters are not shown/ }).waitFor();
  const lines = await page.locator("#output .line").evaluateAll((all) => all.slice(0, 4).map((l) => l.textContent));
  assert.deepEqual(lines, ["100%", "red plain blue", "[", "x".repeat(400)]);
  assert.equal(await page.locator("#output span", { hasText: "red" }).first().evaluate((s) => getComputedStyle(s).color), "rgb(255, 0, 0)");
  const blue = await page.locator("#output span", { hasText: "blue" }).first().evaluate((s) => [getComputedStyle(s).color, getComputedStyle(s).fontStyle, getComputedStyle(s).textDecorationLine]);
  assert.deepEqual(blue, ["rgb(0, 0, 255)", "normal", "underline"]);
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
  assert.deepEqual(await barriers(page), []);
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

test("a link holds the program, in a part that no server is told", async () => {
  const page = await open();
  await use(page, "ruby", "puts ARGV.inspect, $stdin.read, File.read('notes/ä.txt')\n");
  await page.fill("#args", "one 'two three'");
  await page.fill("#stdin", "ünïcode");
  await page.click("#add");
  await page.keyboard.type("notes/ä.txt");
  await page.keyboard.press("Enter");
  await page.keyboard.insertText("<b>kept</b>");
  await page.click("#share");
  await page.locator("#toast", { hasText: "copied" }).waitFor();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(link, page.url());
  assert.ok(!server.log().includes("#p="));

  const other = await open({ fragment: `${new URL(link).hash}&key=${key}` });
  assert.equal(new URL(other.url()).hash, new URL(link).hash, "the key stays in the address, or the program does not");
  await other.keyboard.press("Control+Enter");
  await badge(other, "OK");
  assert.equal((await text(other)).trim(), '["one", "two three"]\nünïcode\n<b>kept</b>');
  const broken = await open({ fragment: "#p=AAAA" });
  await broken.locator("#toast", { hasText: "cannot be read" }).waitFor();
});

test("a session keeps files, shows them, and ends", async () => {
  const page = await open();
  await use(page, "bash", 'echo "run $(($(cat count 2>/dev/null || echo 0) + 1))" | tee last; echo $(($(cat count 2>/dev/null || echo 0) + 1)) > count');
  const runs = async (want) => {
    await page.keyboard.press("Control+Enter");
    await page.locator("#output .line", { hasText: want }).waitFor();
    await badge(page, "OK");
  };
  await runs("run 1");
  await runs("run 1"); // nothing is kept unless it is asked for
  await page.check("#session");
  await runs("run 1");
  await runs("run 2");
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#kept button", { hasText: /^last$/ }).click()]);
  assert.equal(download.suggestedFilename(), "last");
  await shoot(page, "session");
  await page.click("#anew");
  await runs("run 1");
});

test("the key is asked for once, and a wrong one again; what a program writes is never markup", async () => {
  const page = await open({ fragment: "" });
  await use(page, "python", "print('<img src=x onerror=alert(1)><script>alert(2)</script>\\x1b]0;title\\x07 \\x1b[38;2;1;2;3;4mnested')");
  await page.keyboard.press("Control+Enter");
  const dialog = page.locator("#key-dialog");
  await dialog.waitFor();
  assert.deepEqual(await barriers(page), []);
  await shoot(page, "key");
  await page.keyboard.type("rt_live_not_the_key");
  await page.keyboard.press("Enter");
  await badge(page, "not run");
  await dialog.waitFor(); // the server did not accept it
  assert.match(await dialog.innerText(), /does not accept/);
  await page.keyboard.type(key);
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "hidden" });
  await page.keyboard.press("Control+Enter");
  await badge(page, "OK");
  assert.equal((await text(page)).trim(), "<img src=x onerror=alert(1)><script>alert(2)</script> nested");
  assert.equal(await page.locator("#output img, #output script").count(), 0);
  await page.reload();
  await page.waitForSelector("html[data-ready=true]");
  await page.keyboard.press("Control+Enter");
  await badge(page, "OK");
  assert.deepEqual(await page.context().cookies(), []);
  assert.ok(complaints.every((c) => c.includes("401")), complaints.join()); // the browser tells of what was refused
  forgive();
});

test("the key of a link is used by who agrees alone", async () => {
  const page = await open({ answer: "dismiss" });
  assert.equal(new URL(page.url()).hash, "", "the key stays in the address");
  await use(page, "bash", "echo mine");
  await page.keyboard.press("Control+Enter");
  await page.locator("#key-dialog").waitFor();
});

test("a line of a hundred thousand colours does not stop the page", async () => {
  const page = await open();
  await use(page, "bash", "for ((i = 0; i < 100000; i++)); do printf '\\e[3%dm%d' $((i % 8)) $((i % 10)); done");
  await page.keyboard.press("Control+Enter");
  await badge(page, "OK");
  assert.match(await text(page), /more characters are not shown/);
  const most = await page.locator("#output .line").evaluateAll((lines) => Math.max(...lines.map((line) => line.childNodes.length)));
  assert.ok(most <= 1000, `${most} pieces in a line`);
});

test("dark and light follow the system until the switch says otherwise, and both can be read", async () => {
  const page = await open({ colorScheme: "dark" });
  const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await back();
  await use(page, "bash", "for c in 30 31 32 33 34 35 36 37 90 91 92 93 94 95 96 97; do printf '\\e[%dmcolour %d\\e[0m\\n' $c $c; done; echo plain; echo bad >&2; exit 3");
  await page.keyboard.press("Control+Enter");
  await badge(page, "RE");
  assert.deepEqual(await faint(page), []);
  await shoot(page, "dark");
  await page.click("#theme");
  const light = await back();
  assert.notEqual(light, dark);
  assert.deepEqual(await faint(page), []);
  await shoot(page, "light");
  await page.reload();
  assert.equal(await back(), light, "the choice is forgotten");
  await page.click("#theme");
  await page.emulateMedia({ colorScheme: "light" });
  assert.equal(await back(), light, "back at the system's colours it does not follow the system");
});

test("on a phone all is in one column, nothing is cut off, and a run works by touch", async () => {
  const page = await open({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 });
  await page.tap("#run");
  await badge(page, "OK");
  const { y } = await page.locator("#output").boundingBox();
  assert.ok(y > 0 && y < 400, `the output is at ${y}, out of sight`);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it scrolls sideways");
  const small = await page.locator("button:visible, select:visible, input:not([type=checkbox]):visible").evaluateAll((all) =>
    all.filter((e) => !e.matches(".place")).map((e) => [e.id || e.textContent, e.getBoundingClientRect()]).filter(([, box]) => box.height < 24 || box.width < 24).map(([name]) => name));
  assert.deepEqual(small, [], "too small to touch");
  await shoot(page, "phone");
  await page.locator("#waterfall").scrollIntoViewIfNeeded();
  await shoot(page, "phone-results");
});

test("everything is reached and worked by keyboard alone", async () => {
  const page = await open();
  // Around the page by Tab: each stop has a name and is seen to have the focus. The editor keeps Tab for itself until Escape is pressed.
  const stops = [];
  for (let i = 0; i < 40; i++) {
    const where = await page.evaluate(() => {
      const e = document.activeElement;
      if (e === document.body) return "body";
      const inner = e.shadowRoot?.activeElement ?? e;
      const name = inner.getAttribute("aria-label") ?? inner.labels?.[0]?.textContent ?? inner.textContent;
      const style = getComputedStyle(inner);
      const seen = inner !== e || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
      return `${e.id || e.role || e.textContent.toLowerCase()}${name.trim() ? "" : " without a name"}${seen ? "" : " without a ring"}`;
    });
    if (where === "body" && stops.length > 0) break;
    if (where !== "body") stops.push(where);
    if (where === "editor") await page.keyboard.press("Escape");
    await page.keyboard.press("Tab");
  }
  assert.deepEqual(stops, ["language", "run", "sample", "share", "key", "status", "theme", "tab", "add", "rename", "editor", "args", "stdin", "session", "copy", "output"]);

  // A program of two files, renamed and deleted, run and stopped.
  await page.locator("#add").press("Enter");
  await page.keyboard.type("a.txt");
  await page.keyboard.press("Enter");
  await page.keyboard.type("hello");
  await page.locator("#tabs [aria-selected=true]").press("F2");
  await page.keyboard.press("Control+a");
  await page.keyboard.type("b.txt");
  await page.keyboard.press("Enter");
  assert.deepEqual(await page.locator("#tabs [role=tab]").allInnerTexts(), ["main.py", "b.txt"]);
  await page.keyboard.press("ArrowLeft");
  assert.equal(await page.locator("#tabs [aria-selected=true]").innerText(), "main.py");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Control+a");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText("print(open('b.txt').read(), flush=True)\nwhile True: pass\n");
  await page.keyboard.press("Control+Enter");
  await page.locator("#output .line", { hasText: "hello" }).waitFor();
  await page.keyboard.press("Control+.");
  await badge(page, "stopped");
  await page.locator("#tabs [aria-selected=true]").press("ArrowRight");
  await page.keyboard.press("Delete");
  assert.deepEqual(await page.locator("#tabs [role=tab]").allInnerTexts(), ["main.py"]);
});
