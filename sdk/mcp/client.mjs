// The official client lists and calls the tools over one transport: client.mjs stdio COMMAND | http
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import assert from "node:assert";

const { RUNTOOLS_URL, RUNTOOLS_API_KEY } = process.env;

function connectTo(kind, command) {
  if (kind === "stdio") {
    return new StdioClientTransport({ command, args: ["mcp"], env: { RUNTOOLS_URL, RUNTOOLS_API_KEY } });
  }
  const headers = { Authorization: `Bearer ${RUNTOOLS_API_KEY}` };
  return new StreamableHTTPClientTransport(new URL(`${RUNTOOLS_URL}/mcp`), { requestInit: { headers } });
}

const client = new Client({ name: "test", version: "1" });
client.onerror = (error) => { throw error; };
await client.connect(connectTo(...process.argv.slice(2)));

const { tools } = await client.listTools();
for (const tool of tools) assert(tool.description && tool.inputSchema.type === "object", tool.name);
console.log(tools.map((tool) => tool.name).join(" "));
assert.match(client.getInstructions(), /session_id/);

// call gives the texts of an answer.
async function call(name, args, options) {
  const answer = await client.callTool({ name, arguments: args }, undefined, options);
  return { text: answer.content.map((part) => part.text).join("\n"), failed: answer.isError === true };
}

const session_id = `mcp-${process.argv[2]}`;
assert.match((await call("list_runtimes", {})).text, /^python /m);
assert.match((await call("write_file", { session_id, path: "data.txt", content: "6 7" })).text, /3 bytes/);
const product = await call("execute", { language: "python", session_id, code: "a, b = map(int, open('data.txt').read().split())\nprint(a * b)" });
assert.match(product.text, /^exit code 0\n[^]*stdout:\n42\n/);
assert.match((await call("list_files", { session_id })).text, /3 {2}data\.txt/);
assert.match((await call("read_file", { session_id, path: "data.txt" })).text, /6 7$/);

// What is too long is kept, and does not keep the compiler from what it made.
const c = { language: "c", session_id: `${session_id}-c`, code: '#include <stdio.h>\nint main(void) { for (int i = 0; i < 9999; i++) printf("%d\\n", i); }' };
const long = (await call("execute", c)).text;
const [, id, path, offset] = /read_file with session_id "(.*?)", path "(.*?)", offset (\d+)/.exec(long);
assert.match((await call("read_file", { session_id: id, path, offset: Number(offset) })).text, /go on with offset/);
assert.match((await call("execute", c)).text, /compile cached/);

const wrong = await call("execute", { language: "cobol", code: "" });
assert(wrong.failed && /list_runtimes/.test(wrong.text), wrong.text);

// Copies go their own ways; what was begun is waited for, or cancelled; what has ended is gone.
const [copy] = /\n(.*)$/.exec((await call("fork_session", { session_id })).text).slice(1);
await call("write_file", { session_id: copy, path: "data.txt", content: "other" });
assert.match((await call("read_file", { session_id, path: "data.txt" })).text, /6 7$/);
const start = async (code) => /execution (\S+) has begun/.exec((await call("start_execution", { language: "bash", session_id: copy, code })).text)[1];
const execution_id = await start("cat data.txt; exit 3");
assert.match((await call("get_execution", { execution_id })).text, /^exit code 3\n[^]*stdout:\nother/);
const sleeper = await start("sleep 250");
assert.match((await call("get_execution", { execution_id: sleeper, wait_seconds: 1 })).text, /call get_execution again/);
assert.match((await call("cancel_execution", { execution_id: sleeper })).text, /has ended/);
assert((await call("get_execution", { execution_id: sleeper })).failed);
assert.match((await call("end_session", { session_id: copy })).text, /has ended/);
assert((await call("list_files", { session_id: copy })).failed);

// A call that the client gives up ends the program: the next one of the session has its turn at once.
client.onerror = undefined; // over stdio the call is answered nonetheless, which the client reports
const abort = new AbortController();
const endless = call("execute", { language: "bash", session_id, code: "sleep 250" }, { signal: abort.signal });
setTimeout(() => abort.abort(), 1000);
await assert.rejects(endless);
assert.match((await call("execute", { language: "bash", session_id, code: "echo on" })).text, /stdout:\non/);
await client.close();
