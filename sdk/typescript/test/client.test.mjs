import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { RunTools, RunToolsConnectionError, RunToolsError, RunToolsTimeoutError, stderrBytes, stdoutBytes, VERSION } from "@runtools/sdk";
import { fake, printed42, refusal } from "./fake.mjs";

const hello = { language: "python", code: "print(42)" };

/** A client of a server that gives these answers. */
async function serve(t, answers, options = {}) {
  const server = await fake(t, ...answers);
  return { server, rt: new RunTools({ apiKey: "key", baseUrl: server.url, ...options }) };
}

/** What a promise rejects with. */
async function rejection(promise) {
  return promise.then(
    (value) => assert.fail(`resolved with ${JSON.stringify(value)}`),
    (error) => error,
  );
}

test("a request in the API's words", async (t) => {
  const { server, rt } = await serve(t, [{ body: printed42 }], {});
  const result = await rt.execute(
    {
      language: "c",
      version: "13",
      code: "<&>é",
      files: [
        { name: "a.h", content: "x" },
        { name: "b", content: new Uint8Array([255]) },
        { name: "c", content: "ff", encoding: "hex" },
      ],
      stdin: new Uint8Array([0, 255]),
      args: ["1"],
      env: { A: "b" },
      sessionId: "s",
      ephemeral: undefined,
      runTimeout: 1,
      compileTimeout: 2,
      runCpuTime: 3,
      compileCpuTime: 4,
      runMemoryLimit: 5,
      compileMemoryLimit: 6,
      outputLimit: 7,
    },
    { requestId: "mine" },
  );
  assert.deepEqual(result, printed42);
  const [request] = server.requests;
  assert.deepEqual(request.body, {
    language: "c",
    version: "13",
    code: "<&>é",
    files: [
      { name: "a.h", content: "x" },
      { name: "b", content: "/w==", encoding: "base64" },
      { name: "c", content: "ff", encoding: "hex" },
    ],
    stdin: "AP8=",
    stdin_encoding: "base64",
    args: ["1"],
    env: { A: "b" },
    session_id: "s",
    run_timeout: 1,
    compile_timeout: 2,
    run_cpu_time: 3,
    compile_cpu_time: 4,
    run_memory_limit: 5,
    compile_memory_limit: 6,
    output_limit: 7,
  });
  assert.equal(`${request.method} ${request.path}`, "POST /v1/execute");
  assert.equal(request.headers.authorization, "Bearer key");
  assert.equal(request.headers["content-type"], "application/json");
  assert.equal(request.headers["x-request-id"], "mine");
  assert.equal(request.headers["user-agent"], `runtools-typescript/${VERSION}`);
});

test("bytes that take more than one call to encode", async (t) => {
  const { server, rt } = await serve(t, [{ body: printed42 }]);
  const bytes = Uint8Array.from({ length: 200_001 }, (_, i) => (i * 7) % 256);
  await rt.execute({ ...hello, stdin: bytes });
  assert.deepEqual(new Uint8Array(Buffer.from(server.requests[0].body.stdin, "base64")), bytes);
});

test("a field that would be lost in silence is refused", async () => {
  const rt = new RunTools({ apiKey: "key" });
  await assert.rejects(rt.execute({ ...hello, session_id: "s" }), { name: "TypeError", message: "execute: unknown field session_id, it is spelt sessionId here" });
  await assert.rejects(rt.execute({ ...hello, timeout: 1 }), { name: "TypeError", message: /second argument: execute\(request, \{ timeout \}\)/ });
  await assert.rejects(rt.execute({ ...hello, toString: 1 }), { name: "TypeError", message: "execute: unknown field toString" });
});

test("the exact bytes of the output", () => {
  const stage = { ...printed42.run, stdout: "\ufffd", stdout_base64: "/wA=", stderr: "é" };
  assert.deepEqual([...stdoutBytes(stage)], [255, 0]);
  assert.deepEqual([...stderrBytes(stage)], [0xc3, 0xa9]);
});

test("settings: arguments, then the environment, then the default", async (t) => {
  const server = await fake(t, { body: [] });
  t.after(() => {
    delete process.env.RUNTOOLS_URL;
    delete process.env.RUNTOOLS_API_KEY;
  });
  process.env.RUNTOOLS_API_KEY = "";
  assert.throws(() => new RunTools(), (e) => e instanceof RunToolsError && e.code === "unauthorized" && /RUNTOOLS_API_KEY/.test(e.message));
  process.env.RUNTOOLS_URL = `${server.url}/prefix/`;
  process.env.RUNTOOLS_API_KEY = "from-env";
  await new RunTools().runtimes();
  await new RunTools({ apiKey: "given", baseUrl: server.url }).runtimes();
  assert.deepEqual(
    server.requests.map((r) => [r.path, r.headers.authorization]),
    [
      ["/prefix/v1/execute/runtimes", "Bearer from-env"],
      ["/v1/execute/runtimes", "Bearer given"],
    ],
  );
});

test("settings that cannot be meant", () => {
  for (const baseUrl of ["127.0.0.1:8080", "ftp://h", "http://h?q=1", "http://h#f", "http://u@h", "h"]) {
    assert.throws(() => new RunTools({ apiKey: "k", baseUrl }), { name: "TypeError", message: /want http:\/\/host:port/ }, baseUrl);
  }
  assert.throws(() => new RunTools({ apiKey: "k\n" }), TypeError);
  assert.throws(() => new RunTools({ apikey: "k" }), /unknown option apikey, want apiKey/);
});

test("refusals", async (t) => {
  for (const [answer, want] of [
    [
      refusal(400, "invalid_field", { field: "run_timeout" }),
      { code: "invalid_field", status: 400, field: "run_timeout", requestId: "r-1", mayHaveRun: false, message: "this is invalid_field (invalid_field, request r-1)" },
    ],
    [refusal(429, "rate_limited", {}, { "Retry-After": "7" }), { code: "rate_limited", retryAfter: 7000, mayHaveRun: false }],
    [refusal(503, "overloaded"), { code: "overloaded", mayHaveRun: false, retryAfter: undefined }],
    [refusal(503, "interrupted"), { code: "interrupted", mayHaveRun: true }],
    [refusal(500, "internal"), { code: "internal", mayHaveRun: true }],
    [refusal(418, "new_code"), { code: "new_code", mayHaveRun: false }],
    [{ status: 502, body: "<html>Bad gateway" }, { code: "unexpected_answer", status: 502, mayHaveRun: true, message: /answered 502.*check baseUrl.*"<html>Bad gateway"/ }],
    [{ status: 200, body: "<html>" + "x".repeat(5000) }, { code: "unexpected_answer", status: 200, mayHaveRun: true, message: /^.{0,400}$/ }],
    [{ status: 404, body: "{}" }, { code: "unexpected_answer", status: 404, mayHaveRun: false }],
    [{ status: 301, headers: { Location: "https://h/" }, body: "" }, { code: "unexpected_answer", mayHaveRun: false, message: /redirect to https:\/\/h\// }],
  ]) {
    const { server, rt } = await serve(t, [answer], { maxRetries: 0 });
    const error = await rejection(rt.execute(hello));
    assert.ok(error instanceof RunToolsError && error instanceof Error);
    assert.equal(error.name, "RunToolsError");
    const { message = /./, ...details } = want;
    assert.match(error.message, message instanceof RegExp ? message : new RegExp(message.replace(/[()]/g, "\\$&")));
    for (const [name, value] of Object.entries(details)) {
      assert.equal(error[name], value, `${name} of ${JSON.stringify(answer)}`);
    }
    assert.equal(server.requests.length, 1);
  }
});

test("what has not run is sent again, and not before the time that the server named", async (t) => {
  const { server, rt } = await serve(t, [
    refusal(429, "rate_limited", {}, { "Retry-After": "1" }),
    refusal(503, "overloaded", {}, { "Retry-After": new Date(Date.now() - 1000).toUTCString() }),
    { body: printed42 },
  ]);
  const began = Date.now();
  assert.equal((await rt.execute(hello, { requestId: "same" })).run.stdout, "42\n");
  assert.ok(Date.now() - began >= 1000 + 1000, "waits of 1 s (Retry-After) and 1 s (the second)");
  assert.deepEqual(server.requests.map((r) => [r.body, r.headers["x-request-id"]]), Array(3).fill([hello, "same"]));
});

test("retries come to an end, by their number or by the timeout", async (t) => {
  const { server, rt } = await serve(t, [refusal(503, "overloaded")]);
  assert.equal((await rejection(rt.execute(hello, { maxRetries: 1 }))).code, "overloaded");
  assert.equal(server.requests.length, 2);
  const { server: later, rt: patient } = await serve(t, [refusal(503, "overloaded", {}, { "Retry-After": "60" })]);
  assert.equal((await rejection(patient.execute(hello, { timeout: 50_000 }))).code, "overloaded", "the first wait would be longer than the timeout");
  assert.equal(later.requests.length, 1);
});

test("what may have run, or will not pass, is not sent again", async (t) => {
  for (const answer of [
    refusal(503, "interrupted"),
    refusal(500, "internal"),
    { status: 503, body: "a proxy's" },
    { status: 504, body: "" },
    "close",
    refusal(400, "invalid_field"),
    refusal(503, "overloaded", {}, { "Retry-After": "61" }),
  ]) {
    const { server, rt } = await serve(t, [answer]);
    await rejection(rt.execute(hello));
    assert.equal(server.requests.length, 1, JSON.stringify(answer));
  }
});

test("what may be done twice is sent again after a lost connection", async (t) => {
  const { server, rt } = await serve(t, ["close", { status: 502, body: "" }, { body: [{ language: "c" }] }]);
  assert.deepEqual(await rt.runtimes(), [{ language: "c" }]);
  assert.equal(server.requests.length, 3);
});

test("a lost connection, and none", async (t) => {
  const { rt } = await serve(t, ["close"]);
  const lost = await rejection(rt.execute(hello));
  assert.ok(lost instanceof RunToolsConnectionError && lost instanceof RunToolsError);
  assert.deepEqual([lost.code, lost.mayHaveRun, lost.name], ["connection_failed", true, "RunToolsConnectionError"]);
  assert.match(lost.message, /failed before the answer was there: /);

  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address();
  closed.close();
  const none = await rejection(new RunTools({ apiKey: "k", baseUrl: `http://127.0.0.1:${port}`, maxRetries: 1 }).execute(hello));
  assert.deepEqual([none.code, none.mayHaveRun], ["connection_failed", false]);
  assert.match(none.message, /cannot reach http:\/\/127.0.0.1:\d+: .*ECONNREFUSED.*RUNTOOLS_URL/);
});

test("a server that comes up is found by a retry", async (t) => {
  const server = await fake(t, { body: printed42 });
  let calls = 0;
  const refusesOnce = (...args) => {
    if (calls++ === 0) {
      throw Object.assign(new TypeError("fetch failed"), { cause: Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" }) });
    }
    return fetch(...args);
  };
  await new RunTools({ apiKey: "k", baseUrl: server.url, fetch: refusesOnce }).execute(hello);
  assert.equal(calls, 2);
});

test("a timeout hangs up", async (t) => {
  const { server, rt } = await serve(t, ["hang"]);
  const error = await rejection(rt.execute(hello, { timeout: 1000 }));
  assert.ok(error instanceof RunToolsTimeoutError && error instanceof RunToolsError);
  assert.deepEqual([error.code, error.mayHaveRun, error.message.includes("1000 ms")], ["timeout", true, true]);
  await server.requests[0].hungUp;
});

test("the time limit of Node's own fetch says what to do", async () => {
  const gaveUp = () => Promise.reject(Object.assign(new TypeError("fetch failed"), { cause: Object.assign(new Error("Headers Timeout Error"), { code: "UND_ERR_HEADERS_TIMEOUT" }) }));
  const error = await rejection(new RunTools({ apiKey: "k", fetch: gaveUp }).execute(hello));
  assert.ok(error instanceof RunToolsTimeoutError);
  assert.match(error.message, /300 s.*option: fetch/);
});

test("a timeout too long for a timer does not fire at once", async (t) => {
  for (const timeout of [Infinity, 2 ** 31]) {
    const { rt } = await serve(t, [{ body: printed42 }], { timeout });
    assert.equal((await rt.execute(hello)).run.code, 0);
  }
});

test("aborting hangs up, and rejects with the signal's reason", async (t) => {
  const { server, rt } = await serve(t, ["hang"]);
  const abort = new AbortController();
  const running = rejection(rt.execute(hello, { signal: abort.signal }));
  await server.arrived(1);
  abort.abort();
  assert.equal((await running).name, "AbortError");
  await server.requests[0].hungUp;

  const mine = new Error("mine");
  assert.equal(await rejection(rt.execute(hello, { signal: AbortSignal.abort(mine) })), mine);
  assert.equal(server.requests.length, 1, "one that was aborted before it was sent");
});

test("aborting ends the wait before a retry", async (t) => {
  const { server, rt } = await serve(t, [refusal(503, "overloaded", {}, { "Retry-After": "50" })]);
  const abort = new AbortController();
  const running = rejection(rt.execute(hello, { signal: abort.signal }));
  await server.arrived(1);
  setTimeout(() => abort.abort(), 100);
  assert.equal((await running).name, "AbortError");
  assert.equal(server.requests.length, 1);
});

test("the version is the package's", () => {
  assert.equal(VERSION, JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version);
});
