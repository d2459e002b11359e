// A server of our own, as `make run` starts it, and a browser: Debian's Chromium, for Playwright's own downloads are no packages.
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdir, realpath, rm, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";

const repository = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "../..");
export const key = "rt_live_of_the_playground_tests";
/** Bounds every wait, milliseconds. It is long, because the machine may be busy, and shorter than what must be killed would go on. */
export const hang = 240_000;

/** Serves beside whatever else runs on this machine: a server's names are those of its state folder. */
export async function serve() {
  const image = await realpath(path.join(process.env.RUNTOOLS_STATE ?? "/var/lib/runtools", "current"));
  const state = path.join(repository, "bin", "playground-state");
  await mkdir(state, { recursive: true });
  await rm(path.join(state, "current"), { force: true });
  await symlink(image, path.join(state, "current"));
  const address = `127.0.0.1:${await freePort()}`;
  // If the tests are killed the server ends as well.
  const server = spawn("setpriv", ["--pdeathsig", "TERM", "scripts/run"], {
    cwd: repository,
    env: { ...process.env, RUNTOOLS_STATE: state, RUNTOOLS_LISTEN: address, RUNTOOLS_DEV_KEY: key },
  });
  let log = "";
  server.stdout.on("data", (data) => (log += data));
  server.stderr.on("data", (data) => (log += data));
  let over = false;
  const ended = new Promise((resolve) => server.on("exit", resolve)).then(() => (over = true));
  for (const giveUp = Date.now() + hang; !log.includes("runtools is ready"); await sleep(50)) {
    if (over || Date.now() > giveUp) {
      throw new Error(`the server does not come up\n${log}`);
    }
  }
  return {
    url: `http://${address}/`,
    link: /In a browser: (\S+)/.exec(log)[1], // what people are told to open
    log: () => log,
    stop: async () => {
      server.kill("SIGTERM");
      await ended;
    },
  };
}

/** A port that the kernel gives to no outgoing connection meanwhile (ip_local_port_range). */
async function freePort() {
  for (;;) {
    const port = randomInt(10_000, 30_000);
    const probe = createServer();
    const error = await new Promise((resolve) => probe.once("error", resolve).listen(port, "127.0.0.1", resolve));
    if (!error) {
      await new Promise((resolve) => probe.close(resolve));
      return port;
    }
    if (error.code !== "EADDRINUSE") {
      throw error;
    }
  }
}

/** As root Chromium wants its own sandbox off; it opens nothing but the pages under test. */
export const browse = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"], timeout: hang });
