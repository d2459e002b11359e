import assert from "node:assert/strict";
import { test } from "node:test";
import { RunTools } from "@runtools/sdk";
import { fake, printed42, refusal } from "./fake.mjs";

const sleep = { language: "bash", code: "sleep 9" };

async function serve(t, ...answers) {
  const server = await fake(t, ...answers);
  return { server, rt: new RunTools({ apiKey: "key", baseUrl: server.url }) };
}

test("a program that is not waited for", async (t) => {
  const pending = { id: "e/1", status: "pending", created: "2026-01-02T03:04:05.678Z" };
  const done = { ...pending, status: "done", ended: "2026-01-02T03:04:06Z", result: printed42 };
  const failed = { ...pending, status: "failed", ended: "2026-01-02T03:04:06Z", error: refusal(0, "internal").body.error };
  const { server, rt } = await serve(
    t, { status: 202, body: pending }, { body: pending }, { body: done }, { body: failed }, { status: 204 }, refusal(404, "not_found"), refusal(404, "not_found"),
  );
  assert.deepEqual(await rt.start({ ...sleep, runTimeout: 5, webhook: { url: "https://hooks.example.com/", secret: "whsec_x" } }, { requestId: "mine" }), pending);
  assert.deepEqual(await rt.execution("e/1"), pending);
  assert.deepEqual(await rt.execution("e/1", { wait: 1.5 }), done);
  assert.deepEqual(await rt.execution("e/1", { wait: 60, requestId: "his" }), failed);
  assert.equal(await rt.deleteExecution("e/1"), true);
  assert.equal(await rt.deleteExecution("e/1"), false);
  await assert.rejects(rt.execution("e/1"), { code: "not_found", status: 404 });
  assert.deepEqual(
    server.requests.map((r) => `${r.method} ${r.path} ${r.text}`.trim()),
    [
      'POST /v1/executions {"language":"bash","code":"sleep 9","run_timeout":5,"webhook":{"url":"https://hooks.example.com/","secret":"whsec_x"}}',
      "GET /v1/executions/e%2F1?wait=0",
      "GET /v1/executions/e%2F1?wait=1.5",
      "GET /v1/executions/e%2F1?wait=60",
      "DELETE /v1/executions/e%2F1",
      "DELETE /v1/executions/e%2F1",
      "GET /v1/executions/e%2F1?wait=0",
    ],
  );
  assert.deepEqual([0, 3].map((i) => server.requests[i].headers["x-request-id"]), ["mine", "his"]);
});

test("a start is not sent twice if it may have run, a question is", async (t) => {
  const { server, rt } = await serve(t, "close", refusal(503, "overloaded"), { status: 202, body: { id: "e" } }, "close", { body: { id: "e" } });
  await assert.rejects(rt.start(sleep), { code: "connection_failed", mayHaveRun: true });
  assert.equal(server.requests.length, 1);
  assert.equal((await rt.start(sleep)).id, "e");
  assert.equal((await rt.execution("e")).id, "e");
  assert.equal(server.requests.length, 5);
});
