import assert from "node:assert/strict";
import { test } from "node:test";
import { outputBytes, RunTools, RunToolsTimeoutError } from "@runtools/sdk";
import { EventParser } from "../dist/esm/sse.js";
import { fake, printed42, refusal } from "./fake.mjs";

const hello = { language: "python", code: "print(42)" };
const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
const resultEvent = event("result", printed42);

async function serve(t, ...answers) {
  const server = await fake(t, ...answers);
  return { server, rt: new RunTools({ apiKey: "key", baseUrl: server.url }) };
}

async function collect(events) {
  const seen = [];
  for await (const e of events) {
    seen.push(e);
  }
  return seen;
}

test("events, wherever their bytes are cut", () => {
  const text = "\ufeff: comment\n\nevent: a\ndata: é€\u{1f600}\r\n\r\ndata:x\rdata: y:z\rid: 1\r\revent: none\n\n: ping\n\ndata\n\nevent: unfinished\ndata: 1\n";
  const want = [
    { name: "a", data: "é€\u{1f600}" },
    { name: "message", data: "x\ny:z" },
    { name: "message", data: "" },
  ];
  const bytes = new TextEncoder().encode(text);
  for (let size = 1; size <= bytes.length; size++) {
    const parser = new EventParser();
    const got = [];
    for (let i = 0; i < bytes.length; i += size) {
      got.push(...parser.push(bytes.subarray(i, i + size)));
    }
    assert.deepEqual(got, want, `in parts of ${size}`);
  }
});

test("each kind of event", async (t) => {
  const testResult = { verdict: "AC", run: printed42.run };
  const { server, rt } = await serve(t, {
    events:
      event("compile", printed42.run) + event("stdout", { text: "\ufffd", text_base64: "/w==" }) + ": ping\n\n" + event("news", {}) + event("stderr", { text: "e" }) +
      event("exit", { code: 0, signal: null, status: "OK" }) + event("test", { index: 1, test: testResult }) + resultEvent,
  });
  const events = await collect(rt.stream({ ...hello, tests: [{ stdin: new Uint8Array([255]), expectedStdout: "x", checker: "exact" }], stopOnFailure: true }));
  assert.deepEqual(events, [
    { type: "compile", compile: printed42.run },
    { type: "stdout", text: "\ufffd", text_base64: "/w==" },
    { type: "stderr", text: "e" },
    { type: "exit", code: 0, signal: null, status: "OK" },
    { type: "test", index: 1, test: testResult },
    { type: "result", result: printed42 },
  ]);
  assert.deepEqual([...outputBytes(events[1])], [255]);
  assert.equal(server.requests[0].headers.accept, "text/event-stream");
  assert.deepEqual(server.requests[0].body, {
    ...hello,
    tests: [{ stdin: "/w==", stdin_encoding: "base64", expected_stdout: "x", checker: "exact" }],
    stop_on_failure: true,
  });
  assert.throws(() => rt.stream({ ...hello, tests: [{ expected_stdout: "" }] }), { message: /tests\[0\]: unknown field expected_stdout, it is spelt expectedStdout/ });
});

test("execute with functions for the output", async (t) => {
  const { rt } = await serve(t, { events: event("stdout", { text: "a" }) + event("stderr", { text: "b" }) + event("stdout", { text: "c" }) + resultEvent });
  const out = [];
  assert.deepEqual(await rt.execute(hello, { onStdout: (text) => out.push(text) }), printed42);
  assert.deepEqual(out, ["a", "c"]);
});

test("errors in place of a result", async (t) => {
  const error = (code) => event("error", refusal(0, code).body);
  for (const [events, want] of [
    [error("overloaded"), { code: "overloaded", requestId: "r-1", mayHaveRun: false }],
    [event("stdout", { text: "a" }) + error("overloaded"), { code: "overloaded", mayHaveRun: true }],
    [error("internal"), { code: "internal", mayHaveRun: true }],
    [event("stdout", { text: "a" }), { name: "RunToolsConnectionError", code: "connection_failed", mayHaveRun: true }],
    ["event: stdout\ndata: {\n\n", { code: "unexpected_answer", mayHaveRun: true }],
  ]) {
    const { rt, server } = await serve(t, { events });
    await assert.rejects(collect(rt.stream(hello)), want);
    assert.equal(server.requests.length, 1);
  }
  const { rt } = await serve(t, { body: printed42 });
  await assert.rejects(collect(rt.stream(hello)), { code: "unexpected_answer" }, "no events");
});

test("what is refused before the first event is sent again", async (t) => {
  const { server, rt } = await serve(t, refusal(503, "overloaded"), { events: resultEvent });
  assert.equal((await collect(rt.stream(hello))).length, 1);
  assert.equal(server.requests.length, 2);
});

test("leaving the loop, aborting and a timeout hang up", async (t) => {
  const { server, rt } = await serve(t, { events: event("stdout", { text: "a" }), hang: true });
  for await (const _ of rt.stream(hello)) {
    break;
  }
  await server.requests[0].hungUp;

  const abort = new AbortController();
  await assert.rejects(async () => {
    for await (const _ of rt.stream(hello, { signal: abort.signal })) {
      setTimeout(() => abort.abort(), 10);
    }
  }, { name: "AbortError" });
  await server.requests[1].hungUp;

  await assert.rejects(collect(rt.stream(hello, { timeout: 1000 })), RunToolsTimeoutError);
  await server.requests[2].hungUp;
});

test("a session learns its id from events, and waits for their end", async (t) => {
  const { server, rt } = await serve(t, { events: event("stdout", { text: "a" }) + resultEvent }, { body: printed42 });
  const session = rt.session();
  const events = session.stream({ language: "bash", code: "1" });
  await events.next();
  const next = session.execute({ language: "bash", code: "2" });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(server.requests.length, 1);
  await collect(events);
  await next;
  assert.equal(server.requests[1].body.session_id, "s-1");
});
