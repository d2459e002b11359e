// From CommonJS: an aborted call kills its program. A session runs one request at a time, so the next one is answered at once only
// if the aborted one, which would sleep for minutes, is dead.
const assert = require("node:assert/strict");
const { RunTools, RunToolsTimeoutError } = require("@runtools/sdk");

const hang = 200_000; // of the machine, milliseconds; less than the sleep

async function main() {
  const rt = new RunTools();
  for (const [session, stop] of [
    [rt.session("abort"), (ms) => [{ signal: AbortSignal.timeout(ms) }, { name: "TimeoutError" }]],
    [rt.session("timeout"), (ms) => [{ timeout: ms }, RunToolsTimeoutError]],
  ]) {
    // The session must be there before: one that a request makes whose caller hangs up is none.
    await session.execute({ language: "bash", code: "touch there" });
    // How long a busy machine takes until the program has begun cannot be known: wait longer until it has.
    for (let ms = 200, began = ""; began !== "yes\n"; ms *= 2) {
      const [options, error] = stop(ms);
      await assert.rejects(session.execute({ language: "bash", code: "echo yes > began; sleep 250; echo lived > late" }, options), error);
      const { run } = await session.execute({ language: "bash", code: "cat began; ls late 2>/dev/null; true" }, { timeout: hang });
      began = run.stdout;
      assert.ok(ms < hang && !began.includes("late"), began);
    }
    assert.equal(await session.delete(), true);
    assert.equal(await session.delete(), false);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
