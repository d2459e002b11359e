// A server that answers as each test tells it, and remembers what it was asked.
import { once } from "node:events";
import { createServer } from "node:http";

/** The answer of a program that printed 42. */
export const printed42 = {
  language: "python",
  version: "3.13.5",
  session_id: "s-1",
  run: { stdout: "42\n", stderr: "", code: 0, signal: null, time_ms: 12.1, cpu_time_ms: 11, memory_kb: 9088, status: "OK", message: null, limit: null },
};

/** A refusal as the API words it. */
export function refusal(status, code, more = {}, headers = {}) {
  return { status, headers, body: { error: { code, message: `this is ${code}`, request_id: "r-1", ...more } } };
}

/**
 * Starts a server. Each request takes the next of answers, the last one for ever: {status, headers, body}, or
 * {events, hang}, where hang leaves the answer open, a function of the
 * request, or "hang", or "close", which closes the connection without a word.
 */
export async function fake(t, ...answers) {
  const requests = [];
  const waiting = [];
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) {
      text += chunk;
    }
    const seen = { method: request.method, path: request.url, headers: request.headers, text, body: request.headers["content-type"] === "application/json" ? JSON.parse(text) : text, hungUp: once(response, "close") };
    requests.push(seen);
    waiting.splice(0).forEach((resolve) => resolve());
    let answer = answers[Math.min(requests.length, answers.length) - 1];
    if (typeof answer === "function") {
      answer = await answer(seen);
    }
    if (answer === "close") {
      request.socket.destroy();
    } else if (answer !== "hang") {
      const { status = 200, headers = {}, body, events, hang = false } = answer;
      if (events !== undefined) {
        response.writeHead(200, { "Content-Type": "text/event-stream" }).write(events);
        if (!hang) {
          response.end();
        }
        return;
      }
      response.writeHead(status, headers).end(typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    /** Resolves when n requests have arrived. */
    async arrived(n) {
      while (requests.length < n) {
        await new Promise((resolve) => waiting.push(resolve));
      }
    },
  };
}
