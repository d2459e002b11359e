import assert from "node:assert/strict";
import { test } from "node:test";
import { RunTools } from "@runtools/sdk";
import { fake, refusal } from "./fake.mjs";

async function serve(t, ...answers) {
  const server = await fake(t, ...answers);
  return { server, rt: new RunTools({ apiKey: "key", baseUrl: server.url, maxRetries: 0 }) };
}

const bytes = (type, body) => ({ headers: { "Content-Type": type }, body });

test("files of a session", async (t) => {
  const entry = { path: "a b/é", type: "file", size: 2, mode: "644", modified: 1.5 };
  const data = new Uint8Array([255, 0]);
  const { server, rt } = await serve(
    t, { status: 204 }, { body: { files: [entry] } }, bytes("application/octet-stream", data), { status: 204 }, refusal(404, "not_found"),
    refusal(404, "not_found"), bytes("text/html", "<html>"), bytes("application/x-tar", data), { body: { session_id: "s", busy: false } }, { body: { session_ids: ["x", "y"] } },
  );
  const session = rt.session("s/");
  await session.files.put("a b/é", "hi");
  assert.deepEqual(await session.files.list(), [entry]);
  assert.deepEqual(await session.files.get("a b/é"), data);
  assert.equal(await session.files.delete("a"), true);
  assert.equal(await session.files.delete("a"), false);
  await assert.rejects(session.files.get("a"), { code: "not_found" });
  await assert.rejects(session.files.get("a"), { code: "unexpected_answer" }, "a page of a proxy is no file");
  assert.deepEqual(await session.archive(), data);
  assert.equal((await session.info()).busy, false);
  assert.deepEqual((await session.fork(2)).map((s) => s.id), ["x", "y"]);
  assert.deepEqual(
    server.requests.map((r) => `${r.method} ${r.path} ${r.text}`.trim()),
    [
      "PUT /v1/sessions/s%2F/files/a%20b/%C3%A9 hi",
      "GET /v1/sessions/s%2F/files",
      "GET /v1/sessions/s%2F/files/a%20b/%C3%A9",
      "DELETE /v1/sessions/s%2F/files/a",
      "DELETE /v1/sessions/s%2F/files/a",
      "GET /v1/sessions/s%2F/files/a",
      "GET /v1/sessions/s%2F/files/a",
      "GET /v1/sessions/s%2F/archive",
      "GET /v1/sessions/s%2F",
      'POST /v1/sessions/s%2F/fork {"count":2}',
    ],
  );
});

test("a part of a file", async (t) => {
  const octets = (status) => ({ ...bytes("Application/Octet-Stream; charset=x", "bc"), status });
  const { server, rt } = await serve(t, octets(206), octets(206), octets(200), refusal(416, "never_read"));
  const { files } = rt.session("s");
  for (const part of [{ offset: 1, length: 2 }, { offset: 9 }, {}]) {
    assert.deepEqual(await files.get("a", part), new Uint8Array([98, 99]));
  }
  assert.equal((await files.get("a", { length: 5 })).length, 0, "the file ends before");
  assert.deepEqual(server.requests.map((r) => r.headers.range), ["bytes=1-2", "bytes=9-", undefined, "bytes=0-4"]);
  for (const part of [{ offset: -1 }, { length: 0 }, { offset: 0.5 }, { offset: 1e21 }]) {
    await assert.rejects(files.get("a", part), TypeError);
  }
});

test("a path that would lead out of the files is not sent", async (t) => {
  const { server, rt } = await serve(t, { status: 204 });
  for (const path of ["", "..", "a/../..", "./a", "/a", "a//b"]) {
    await assert.rejects(rt.session("s").files.delete(path), TypeError, path);
  }
  assert.equal(server.requests.length, 0);
});

test("a session that has not begun", async (t) => {
  const { server, rt } = await serve(t, { status: 413, body: "" }, { status: 204 });
  const session = rt.session();
  await assert.rejects(session.files.list(), { code: "not_found" });
  await assert.rejects(session.info(), { code: "not_found" });
  assert.equal(await session.files.delete("a"), false);
  await assert.rejects(session.files.put("a", "b"));
  assert.equal(session.id, undefined);
  await session.files.put("a", "b");
  assert.match(session.id, /^sdk-[0-9a-z]+$/);
  assert.equal(server.requests[1].path, `/v1/sessions/${session.id}/files/a`);
});
