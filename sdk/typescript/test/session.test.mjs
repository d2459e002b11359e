import assert from "node:assert/strict";
import { test } from "node:test";
import { RunTools } from "@runtools/sdk";
import { fake, printed42, refusal } from "./fake.mjs";

const say = (code) => ({ language: "bash", code });

async function serve(t, ...answers) {
  const server = await fake(t, ...answers);
  return { server, rt: new RunTools({ apiKey: "key", baseUrl: server.url, maxRetries: 0 }) };
}

test("a session keeps the id that the server gave it, and sends one request at a time, in order", async (t) => {
  let running = 0;
  const { server, rt } = await serve(t, async () => {
    assert.equal(++running, 1, "two at a time");
    await new Promise((resolve) => setTimeout(resolve, 20));
    running--;
    return { body: printed42 };
  });
  const session = rt.session();
  assert.equal(session.id, undefined);
  await Promise.all(["1", "2", "3"].map((code) => session.execute(say(code))));
  assert.equal(session.id, "s-1");
  assert.deepEqual(server.requests.map((r) => r.body), [
    say("1"),
    { ...say("2"), session_id: "s-1" },
    { ...say("3"), session_id: "s-1" },
  ]);
});

test("a request that fails does not hold up those behind it", async (t) => {
  const { server, rt } = await serve(t, refusal(400, "invalid_field"), { body: printed42 });
  const session = rt.session("mine");
  const [first, second] = await Promise.allSettled([session.execute(say("1")), session.execute(say("2"))]);
  assert.deepEqual([first.status, second.status], ["rejected", "fulfilled"]);
  assert.equal(server.requests[1].body.session_id, "mine");
});

test("one that is aborted while it waits is not sent, and lets nobody overtake", async (t) => {
  let release;
  const { server, rt } = await serve(t, () => new Promise((resolve) => (release = () => resolve({ body: printed42 }))), { body: printed42 });
  const session = rt.session("mine");
  const abort = new AbortController();
  const first = session.execute(say("1"));
  const second = session.execute(say("2"), { signal: abort.signal });
  const third = session.execute(say("3"));
  await server.arrived(1);
  abort.abort();
  await assert.rejects(second, { name: "AbortError" });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(server.requests.length, 1);
  release();
  await Promise.all([first, third]);
  assert.deepEqual(server.requests.map((r) => r.body.code), ["1", "3"]);
});

test("delete", async (t) => {
  const { server, rt } = await serve(t, { body: printed42 }, { status: 204 }, refusal(404, "not_found"), refusal(401, "unauthorized"));
  const session = rt.session();
  assert.equal(await session.delete(), false, "there is nothing yet");
  const [, existed] = await Promise.all([session.execute(say("1")), session.delete()]);
  assert.equal(existed, true);
  assert.deepEqual([server.requests[1].method, server.requests[1].path], ["DELETE", "/v1/sessions/s-1"]);
  assert.equal(await rt.deleteSession("a/b"), false);
  assert.equal(server.requests[2].path, "/v1/sessions/a%2Fb");
  await assert.rejects(rt.deleteSession("x"), { code: "unauthorized" });
});
