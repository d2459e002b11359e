// The page for the operator.
import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { badge, barriers, faint, open, server, shoot, use } from "./page.mjs";
import { key } from "./stack.mjs";

const execute = (request, signal) =>
  fetch(`${server.url}v1/execute`, { method: "POST", headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" }, body: JSON.stringify(request), signal });

test("the status page shows what the server does while it does it, to an operator's key", async () => {
  const page = await open({ file: "status" });
  await page.locator("#health", { hasText: "serving" }).waitFor();
  assert.equal(await page.locator("#denied", { hasText: "chroot" }).count(), 0);
  // The most that each tile has shown: some of it may be there for one answer only.
  await page.evaluate(() => {
    globalThis.most = {};
    new MutationObserver(() => {
      for (const tile of document.querySelectorAll(".tile")) {
        const name = tile.querySelector(".name").textContent;
        globalThis.most[name] = Math.max(globalThis.most[name] ?? 0, parseFloat(tile.querySelector("strong").textContent.replace(",", "")));
      }
    }).observe(document.querySelector("#tiles"), { childList: true });
  });
  const moved = (...names) => page.waitForFunction((all) => all.every((name) => globalThis.most[name] > 0), names);
  const tile = (name, shown) => page.locator(".tile", { hasText: name }).locator("strong", { hasText: shown }).waitFor();

  // A real queue: more than are carried out at one time, and two that want the same session. It goes with those who hang up. No test before
  // this one has run Ruby, so its pool holds fewer than come now, and it is not filled again as fast.
  const slots = Math.max(4 * availableParallelism(), 4);
  const crowd = new AbortController();
  const waiting = [execute({ language: "bash", code: "head -c 3000000 /dev/zero >kept; sleep 300", session_id: "shown" }, crowd.signal)];
  for (let i = 0; i < slots + 3; i++) {
    waiting.push(execute({ language: "ruby", code: "sleep 300", ...(i < 1 && { session_id: "shown" }) }, crowd.signal));
  }
  await tile("Running", new RegExp(`^${slots}$`));
  await tile("Waiting", /^4$/);
  await moved("Pool misses");
  await shoot(page, "status-queue");
  crowd.abort();
  assert.ok((await Promise.allSettled(waiting)).every(({ reason }) => reason?.name === "AbortError"), "one of them was answered");
  await tile("Running", /^0$/);
  await tile("Waiting", /^0$/);

  // A real denial, in the answer and on this page, which was open before it happened.
  const runs = await open();
  await use(runs, "python", "import os\ntry:\n    os.chroot('/tmp')\nexcept OSError as error:\n    print(error)\n");
  await runs.keyboard.press("Control+Enter");
  await badge(runs, "OK");
  await runs.locator("#output .of-note", { hasText: "denied: chroot" }).waitFor();
  await page.bringToFront();
  for (const request of [{ language: "c", code: "int main(void) { return 0; }" }, { language: "ruby", code: "p 1" }, { language: "bash", code: "head -c 3000000 /dev/zero >kept", session_id: "shown" }]) {
    assert.equal((await execute(request)).status, 200);
  }
  for (const [plot, row] of [["latency", "Ruby"], ["pools", "python/run"], ["outcomes", "Bash"], ["denied", "chroot"]]) {
    await page.locator(`#${plot}`, { hasText: row }).waitFor();
  }
  await moved("Requests", "Running", "Waiting", "Jails", "Pool misses", "Sessions", "Session memory", "Memory of apid");
  await page.locator("#latency .dot").nth(4 * 5).waitFor();
  assert.equal((await execute({ language: "ruby", code: "p 1" })).status, 200); // within the minute
  await page.selectOption("#window", "minute");
  await page.locator("#latency", { hasText: /Ruby/ }).waitFor();
  await page.locator(".spark .curve").first().waitFor({ state: "attached" });
  assert.deepEqual(await faint(page), []);
  await shoot(page, "status");
  await page.setViewportSize({ width: 360, height: 740 });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it scrolls sideways");
  assert.deepEqual(await barriers(page), []);
  await shoot(page, "status-phone");
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.emulateMedia({ colorScheme: "dark" });
  assert.deepEqual(await faint(page), []);
  await shoot(page, "status-dark");
});
