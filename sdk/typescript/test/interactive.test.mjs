import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { outputBytes, RunTools } from "@runtools/sdk";
import WebSocket, { WebSocketServer } from "ws";
import { printed42, refusal } from "./fake.mjs";

const say = (code) => ({ language: "bash", code });
const result = { type: "result", data: printed42 };

/**
 * A server of WebSockets. Each takes the next of talks, the last one for ever: a function of a connection with `send(message)`,
 * `close()` and `next()`, which resolves with the next message. A number refuses with that status. Requests are answered by `[]`, or 401.
 */
async function serve(t, ...talks) {
  const seen = [];
  const server = createServer((request, response) => {
    if (request.headers.authorization === "Bearer wrong") {
      response.writeHead(401).end(JSON.stringify(refusal(401, "unauthorized").body));
    } else {
      response.end("[]");
    }
  });
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] });
  server.on("upgrade", (request, socket, head) => {
    const talk = talks[Math.min(seen.length, talks.length - 1)];
    if (typeof talk === "number") {
      socket.end(`HTTP/1.1 ${talk} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const messages = [];
      let wake = () => {};
      ws.on("message", (text) => wake(messages.push(JSON.parse(text))));
      const connection = {
        path: request.url,
        offered: request.headers["sec-websocket-protocol"],
        messages,
        closed: once(ws, "close"),
        send: (message) => ws.send(typeof message === "string" ? message : JSON.stringify(message)),
        close: () => ws.close(1000),
        async next() {
          while (messages.length === 0) {
            await new Promise((resolve) => (wake = resolve));
          }
          return messages.shift();
        },
      };
      seen.push(connection);
      talk(connection);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    sockets.clients.forEach((ws) => ws.terminate());
    server.close();
    server.closeAllConnections();
  });
  const baseUrl = `http://127.0.0.1:${server.address().port}/prefix`;
  return { seen, baseUrl, rt: new RunTools({ apiKey: "key", baseUrl, WebSocket }) };
}

async function collect(events) {
  const all = [];
  for await (const event of events) {
    all.push(event);
  }
  return all;
}

/** Says what it was sent, all of it, as the events of a program. */
async function echo(connection) {
  await connection.next();
  for (;;) {
    const message = await connection.next();
    if (message.type === "stdin_close") {
      connection.send(result);
      connection.close();
      return;
    }
    connection.send({ type: "stdout", data: { text: JSON.stringify(message) } });
  }
}

test("the conversation in the API's words", async (t) => {
  const { seen, rt } = await serve(t, async (connection) => {
    for (let i = 0; i < 7; i++) {
      connection.got = [...(connection.got ?? []), await connection.next()];
    }
    connection.send({ type: "compile", data: printed42.run });
    connection.send({ type: "stdout", data: { text: "\ufffd", text_base64: "/w==" } });
    connection.send({ type: "news", data: {} });
    connection.send({ type: "exit", data: { code: 0, signal: null, status: "OK" } });
    connection.send(result);
    connection.close();
  });
  const program = rt.interactive({ ...say("cat"), stdin: "a", runTimeout: 5, pty: { cols: 80, rows: 24 } });
  // Before it is connected.
  program.write("é");
  await program.write(new Uint8Array([0, 255]));
  program.write("");
  program.signal("SIGINT");
  program.resize(1, 2);
  program.closeInput();
  program.write("x");
  const events = await collect(program);
  assert.deepEqual(events, [
    { type: "compile", compile: printed42.run },
    { type: "stdout", text: "\ufffd", text_base64: "/w==" },
    { type: "exit", code: 0, signal: null, status: "OK" },
    { type: "result", result: printed42 },
  ]);
  assert.deepEqual([...outputBytes(events[1])], [255]);
  const [{ path, offered, got }] = seen;
  assert.deepEqual([path, offered], ["/prefix/v1/execute/ws", "runtools,runtools.key.key"]);
  assert.deepEqual(got, [
    { ...say("cat"), stdin: "a", run_timeout: 5, pty: { cols: 80, rows: 24 } },
    { type: "stdin", data: "w6k=", encoding: "base64" },
    { type: "stdin", data: "AP8=", encoding: "base64" },
    { type: "signal", signal: "SIGINT" },
    { type: "resize", cols: 1, rows: 2 },
    { type: "stdin_close" },
    { type: "stdin", data: "eA==", encoding: "base64" },
  ]);
  await seen[0].closed;
  await program.write("after the end");
  assert.deepEqual(await program.next(), { done: true, value: undefined });
});

test("much input goes in parts, and waits", async (t) => {
  const { seen, baseUrl, rt } = await serve(t, echo);
  const program = rt.interactive(say("cat"));
  const much = new Uint8Array(1_000_000).map((_, i) => i % 251);
  await program.write(much);
  program.closeInput();
  const parts = (await collect(program)).filter((e) => e.type === "stdout").map((e) => Buffer.from(JSON.parse(e.text).data, "base64"));
  assert.ok(Buffer.concat(parts).equals(much));
  assert.ok(parts.every((part) => part.length <= 64 << 10));
  assert.equal(seen.length, 1);

  // While nothing is taken the write waits, and no longer than the program is wanted.
  class Full extends WebSocket {
    get bufferedAmount() {
      return 1 << 20;
    }
  }
  const full = new RunTools({ apiKey: "key", baseUrl, WebSocket: Full }).interactive(say("cat"));
  full.write("a");
  await full.next();
  let written = false;
  const writing = full.write("b").then(() => (written = true));
  await full.next(); // it was sent
  assert.equal(written, false);
  full.close();
  await writing;
});

test("an answer to what was read", async (t) => {
  const { rt } = await serve(t, echo);
  const program = rt.interactive(say("cat"));
  program.write("1");
  let answers = 0;
  for await (const event of program) {
    if (event.type === "stdout" && ++answers < 3) {
      program.write("1");
    } else {
      program.closeInput();
    }
  }
  assert.equal(answers, 3);
});

test("failures are thrown in the loop", async (t) => {
  for (const [talk, want] of [
    [(c) => c.send({ type: "error", data: refusal(0, "overloaded").body }), { code: "overloaded", requestId: "r-1", mayHaveRun: false }],
    [(c) => (c.send({ type: "stdout", data: { text: "a" } }), c.send({ type: "error", data: refusal(0, "overloaded").body })), { code: "overloaded", mayHaveRun: true }],
    [(c) => c.close(), { name: "RunToolsConnectionError", code: "connection_failed", mayHaveRun: true }],
    [(c) => c.send("no JSON"), { code: "unexpected_answer", mayHaveRun: true }],
    [503, { name: "RunToolsConnectionError", message: /answers, but opens no WebSocket: .*503/, mayHaveRun: false }],
  ]) {
    const { seen, rt } = await serve(t, talk);
    await assert.rejects(collect(rt.interactive(say("1"))), want);
    await Promise.all(seen.map((connection) => connection.closed));
  }
  // A WebSocket does not say what is wrong with the key, or that there is no server.
  const { baseUrl } = await serve(t, 401);
  await assert.rejects(collect(new RunTools({ apiKey: "wrong", baseUrl, WebSocket }).interactive(say("1"))), { code: "unauthorized", status: 401 });
  const gone = createServer().listen(0, "127.0.0.1");
  await once(gone, "listening");
  const nobody = new RunTools({ apiKey: "key", baseUrl: `http://127.0.0.1:${gone.address().port}`, WebSocket });
  await new Promise((resolve) => gone.close(resolve));
  await assert.rejects(collect(nobody.interactive(say("1"))), { message: /cannot reach/, mayHaveRun: false });
});

test("leaving the loop, closing and aborting hang up", async (t) => {
  const { seen, rt } = await serve(t, (connection) => connection.send({ type: "stdout", data: { text: "a" } }));
  for await (const _ of rt.interactive(say("1"))) {
    break;
  }
  await seen[0].closed;

  const program = rt.interactive(say("1"));
  await program.next();
  program.close();
  assert.deepEqual(await collect(program), []);
  await seen[1].closed;

  const abort = new AbortController();
  const aborted = rt.interactive(say("1"), { signal: abort.signal });
  await aborted.next();
  const waiting = aborted.next();
  abort.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  await seen[2].closed;

  await assert.rejects(collect(rt.interactive(say("1"), { signal: abort.signal })), { name: "AbortError" });
  assert.equal(seen.length, 3);
});

test("in a session: its id, and its turn", async (t) => {
  const { seen, rt } = await serve(t, echo);
  const session = rt.session();
  const first = session.interactive(say("1"));
  const second = session.interactive(say("2"));
  const third = session.interactive(say("3"));
  second.close(); // while it waits
  first.write("1");
  await first.next();
  third.closeInput();
  assert.equal(seen.length, 1);
  const [last] = await Promise.all([collect(third), first.closeInput(), collect(first)]);
  assert.equal(last.length, 1);
  assert.equal(session.id, "s-1");
  assert.equal(seen.length, 2);
});

test("what cannot be meant, and an old Node", async (t) => {
  const { seen, baseUrl, rt } = await serve(t, echo);
  assert.throws(() => rt.interactive({ ...say("1"), run_timeout: 1 }), /spelt runTimeout/);
  assert.throws(() => rt.session().interactive({ ...say("1"), run_timeout: 1 }), /spelt runTimeout/);
  assert.equal(seen.length, 0);
  const global = globalThis.WebSocket;
  t.after(() => (globalThis.WebSocket = global));
  globalThis.WebSocket = undefined;
  assert.throws(() => new RunTools({ apiKey: "key", baseUrl }).interactive(say("1")), { name: "TypeError", message: /Node 22 .*new RunTools\({ WebSocket }\)/ });
  globalThis.WebSocket = WebSocket;
  const program = new RunTools({ apiKey: "key", baseUrl }).interactive(say("1"));
  program.closeInput();
  assert.equal((await collect(program)).length, 1);
});
