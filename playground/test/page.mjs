// A page in a real browser, against a real server, and what tests want to know of it.
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { after, afterEach, before } from "node:test";
import { browse, hang, serve } from "./stack.mjs";

const shots = process.env.PLAYGROUND_SCREENSHOTS; // a folder; empty: none are made

export let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([serve(), browse()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** What the pages complained of since they were opened. A page that breaks its own policy says so here. */
export let complaints = [];
export const forgive = () => (complaints = []);
let contexts = [];
afterEach(async () => {
  await Promise.all(contexts.map((c) => c.close()));
  contexts = [];
  const said = complaints;
  complaints = [];
  assert.deepEqual(said, []);
});

/** A fresh browser's page: no key but that of the link, no draft. */
export async function open({ file = "", fragment = new URL(server.link).hash, answer = "accept", ...settings } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light", ...settings });
  contexts.push(context);
  context.setDefaultTimeout(hang);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]).catch(() => {});
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => request.url().startsWith(server.url) || request.url().startsWith("blob:") || complaints.push(`asked for ${request.url()}`));
  page.on("dialog", (question) => void question[answer]());
  await page.goto(server.url + file + fragment);
  await page.waitForSelector("html[data-ready=true]");
  return page;
}

export async function shoot(page, name) {
  if (shots) {
    await mkdir(shots, { recursive: true });
    // To hide the caret Playwright would insert a style sheet, which the page's policy forbids.
    await page.screenshot({ path: path.join(shots, `${name}.png`), caret: "initial" });
  }
}

export const text = (page) => page.locator("#output").innerText();
export const badge = (page, word) => page.locator("#badge", { hasText: new RegExp(`^${word}$`) }).waitFor();

/** Replaces what is in the editor, as by typing. */
export async function type(page, code) {
  await page.locator("#editor .cm-content").click();
  await page.keyboard.press("Control+a");
  // Text over a selection makes the browser itself try inline styles, which the policy refuses and the console tells of.
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(code);
}

export async function use(page, language, code) {
  await page.selectOption("#language", language);
  if (code !== undefined) {
    await type(page, code);
  }
}

/** The cursor is in this line. */
export async function atLine(page, line) {
  await page.locator("#editor .cm-lineNumbers .cm-activeLineGutter", { hasText: new RegExp(`^${line}$`) }).waitFor();
}

/** Texts with less contrast to what is behind them than WCAG's AA wants, 4.5 to 1. */
export function faint(page) {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return canvas.getImageData(0, 0, 1, 1).data;
    };
    const luminance = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => sum + weight * (c[i] <= 10 ? c[i] / 3294 : ((c[i] / 255 + 0.055) / 1.055) ** 2.4), 0);
    const behind = (element) => {
      for (let e = element; e !== null; e = e.parentElement ?? e.getRootNode().host ?? null) {
        const c = rgba(getComputedStyle(e).backgroundColor);
        if (c[3] === 255) return c;
      }
      return [255, 255, 255, 255];
    };
    const all = [...document.querySelectorAll("body *")].flatMap((e) => (e.shadowRoot ? [...e.shadowRoot.querySelectorAll(".cm-line, .cm-line *, .cm-gutterElement")] : [e]));
    return all.flatMap((e) => {
      const own = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim() !== "");
      if (!own || !e.checkVisibility() || e.matches(":disabled, option, .unseen")) return [];
      const [a, b] = [luminance(rgba(getComputedStyle(e).color)), luminance(behind(e))].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      return ratio < 4.5 ? [`${e.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`] : [];
    });
  });
}

/** What axe finds wrong for who cannot see, or not use a mouse. */
export async function barriers(page) {
  const axe = await readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}
