// What the compiler must accept, and refuse. It is not run.
import { type ExecuteResult, type LimitUse, RunTools, RunToolsConnectionError, RunToolsError, type Runtime, type Session, type Stage, stdoutBytes } from "@runtools/sdk";

export async function accepted(rt: RunTools, signal: AbortSignal): Promise<void> {
  const result: ExecuteResult = await rt.execute(
    { language: "python", files: [{ name: "a", content: new Uint8Array(1) }], env: { A: "1" }, version: undefined },
    { signal, timeout: 1, maxRetries: 0, requestId: "r" },
  );
  await rt.execute({ language: "a language of tomorrow", code: "", sessionId: result.session_id });
  const stages: (Stage | undefined)[] = [result.run, result.compile];
  const code: number | null = result.run.code;
  const cached: true | undefined = result.compile?.cached;
  const created: true | undefined = result.session_created;
  if (result.run.limit !== null) {
    const used: number = result.run.limit.used;
    void used;
  }
  const fired: LimitUse | undefined = (await rt.execute({ language: "c", code: "", explain: true })).run.limits?.find((row) => row.fired);
  const peak: number | null = fired?.peak ?? null;
  void peak;
  const bytes: Uint8Array = stdoutBytes(result.run);
  for await (const event of rt.stream({ language: "c", code: "", tests: [{ expectedStdout: "1" }] }, { signal })) {
    if (event.type === "stdout") {
      const text: string = event.text;
      void text;
    } else if (event.type === "result") {
      const verdict: string | undefined = event.result.tests?.[0]?.verdict;
      void verdict;
    }
  }
  const program = rt.interactive({ language: "c", code: "", pty: { cols: 80, rows: 24 } }, { signal });
  program.signal("SIGINT");
  for await (const event of program) {
    await program.write(event.type === "stdout" ? event.text : new Uint8Array(1));
  }
  const rows: Runtime[] = await rt.runtimes();
  const session: Session = rt.session(result.session_id);
  const deleted: boolean = await session.delete({ signal });
  void [stages, code, cached, created, bytes, rows, deleted];
  try {
    await session.execute({ language: "c", code: "" });
  } catch (error) {
    if (error instanceof RunToolsConnectionError) {
      const base: RunToolsError = error;
      void base;
    } else if (error instanceof RunToolsError && error.code === "rate_limited") {
      const wait: number | undefined = error.retryAfter;
      void wait;
    }
  }
}

export async function refused(rt: RunTools): Promise<void> {
  // @ts-expect-error: requests spell it sessionId
  await rt.execute({ language: "python", code: "", session_id: "s" });
  // @ts-expect-error: no language
  await rt.execute({ code: "" });
  // @ts-expect-error: a session has its own
  await rt.session().execute({ language: "python", code: "", sessionId: "s" });
  // @ts-expect-error: tests have no session
  await rt.session().execute({ language: "python", code: "", tests: [] });
  // @ts-expect-error: nor have repeated runs
  await rt.session().execute({ language: "python", code: "", repeat: 5 });
  // @ts-expect-error: whoever waits for the result is told it
  await rt.execute({ language: "python", code: "", webhook: { url: "", secret: "" } });
  await rt.start({ language: "python", code: "", webhook: { url: "", secret: "" } });
  // @ts-expect-error: one program
  rt.interactive({ language: "python", code: "", tests: [] });
  // @ts-expect-error: no such signal
  rt.session().interactive({ language: "python", code: "" }).signal("INT");
  // @ts-expect-error: a name misspelt
  new RunTools({ apikey: "" });
  const result = await rt.execute({ language: "python", code: "" });
  // @ts-expect-error: not every language compiles
  void result.compile.status;
  // @ts-expect-error: no such status
  void (result.run.status === "TLE");
}
