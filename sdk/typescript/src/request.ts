/** The languages the server may have installed, for completion; aliases such as `"py"` and newer languages are accepted as well. */
export type Language =
  | "python"
  | "javascript"
  | "typescript"
  | "bash"
  | "c"
  | "cpp"
  | "go"
  | "ruby"
  | "rust"
  | "java"
  | "csharp"
  | (string & {});

/** One file of a program. */
export interface SourceFile {
  /** Relative path, with `/` between folders: `"pkg/util.py"`. */
  name: string;
  /** Text, or bytes, which travel as base64. */
  content: string | Uint8Array;
  /** How `content` is to be read if it is a string. Default `"utf8"`. */
  encoding?: "utf8" | "base64" | "hex" | undefined;
}

/** One input of a program, and what is expected of it. */
export interface TestCase {
  /** Standard input, delivered byte for byte. Default: empty. */
  stdin?: string | Uint8Array | undefined;
  /** How `stdin` is to be read if it is a string. Default `"utf8"`. */
  stdinEncoding?: "utf8" | "base64" | undefined;
  /** The program's arguments. Default: the request's. */
  args?: readonly string[] | undefined;
  /** Added to the request's; one of the same name replaces it. */
  files?: readonly SourceFile[] | undefined;
  /** Without it a program that ends well is accepted. */
  expectedStdout?: string | undefined;
  /**
   * `"tokens"`: the same words, whatever space is between them. `"exact"`: the same bytes. `"floats"`: tokens, where two numbers
   * may differ by `tolerance`. Default `"tokens"`.
   */
  checker?: "tokens" | "exact" | "floats" | undefined;
  /** Absolute, or relative to the expected number, whichever allows more. Default 0.000001. */
  tolerance?: number | undefined;
}

/**
 * A program and what it gets. `language`, and `code` or `files`, are required; for what is left out the server's defaults
 * apply. The server refuses what is out of its bounds and clamps nothing.
 */
export interface ExecuteRequest {
  /** Name or alias from {@link RunTools.runtimes}, in any case. */
  language: Language;
  /** `"3"`, `"3.12"`, `">=3.11 <3.14"`. Default: the newest. */
  version?: string | undefined;
  /** Written to the language's main file (`main.py`, `Main.java`, ...), which is run. */
  code?: string | undefined;
  /** Written to the working directory. Without `code` the first is run. */
  files?: readonly SourceFile[] | undefined;
  /** Standard input, delivered byte for byte. Default: empty. */
  stdin?: string | Uint8Array | undefined;
  /** How `stdin` is to be read if it is a string. Default `"utf8"`. */
  stdinEncoding?: "utf8" | "base64" | undefined;
  /** The program's arguments. */
  args?: readonly string[] | undefined;
  /** Added to the environment, and kept by the session. */
  env?: Readonly<Record<string, string>> | undefined;
  /**
   * The session whose files and environment the program finds: `session_id` of an earlier result, or a name of your own
   * (1 to 128 of `A-Z a-z 0-9 . _ -`). Default: a new one. {@link RunTools.session} keeps it for you.
   */
  sessionId?: string | null | undefined;
  /** Keep nothing: `session_id` of the result is null. Not beside `sessionId`. */
  ephemeral?: boolean | undefined;
  /** Have each stage show every limit that was in force and its use: {@link Stage.limits}. */
  explain?: boolean | undefined;
  /**
   * Compile once and run once for each of these inputs, at most 1000, each in a sandbox of its own; `tests` of the result has
   * the verdicts. The limits are those of each test. Nothing is kept. Not beside `stdin` and `sessionId`.
   */
  tests?: readonly TestCase[] | undefined;
  /** With `tests`: the results end with the first that is not accepted. */
  stopOnFailure?: boolean | undefined;
  /**
   * Patterns: files that match when the program has ended come back as `artifacts` of the result. `"*.png"`, `"out/**"`: `*` and `?`
   * within a folder, `**` for folders. At most 32. Not beside `tests`.
   */
  artifacts?: readonly string[] | undefined;
  /**
   * Run the program that often, one run after another, each in a sandbox of its own; `repeat` of the result sums up what they took. Not
   * beside `tests`, `artifacts` and `sessionId`.
   */
  repeat?: number | undefined;
  /** Wall clock of the run, milliseconds. Default 300000, which is also the most. */
  runTimeout?: number | undefined;
  /** Wall clock of the compilation, milliseconds. Default 60000, which is also the most. */
  compileTimeout?: number | undefined;
  /** CPU time of all processes of the run, milliseconds. Default: no limit. */
  runCpuTime?: number | undefined;
  /** CPU time of all processes of the compilation, milliseconds. Default: no limit. */
  compileCpuTime?: number | undefined;
  /** Memory of all processes of the run and of their files in memory, bytes. Default 512 MiB, or the language's own. */
  runMemoryLimit?: number | undefined;
  /** The same for the compilation. Default 1 GiB, or the language's own. */
  compileMemoryLimit?: number | undefined;
  /** Of each of stdout and stderr in each stage, bytes. Default 10 MiB; with `tests` 64 KiB, and at most 64 MiB for all together. */
  outputLimit?: number | undefined;
}

/** A program whose result is asked for later, or sent: {@link RunTools.start}. */
export interface StartRequest extends ExecuteRequest {
  /**
   * Where the server sends the result, signed as Standard Webhooks says, if its operator allows the host. `secret`: `whsec_` and 24 to 64 random
   * bytes in base64.
   */
  webhook?: { readonly url: string; readonly secret: string } | undefined;
}

/** The field of the API for each field of a request. */
const wireNames: Record<keyof StartRequest, string> = {
  language: "language",
  version: "version",
  code: "code",
  files: "files",
  stdin: "stdin",
  stdinEncoding: "stdin_encoding",
  args: "args",
  env: "env",
  sessionId: "session_id",
  ephemeral: "ephemeral",
  explain: "explain",
  tests: "tests",
  stopOnFailure: "stop_on_failure",
  artifacts: "artifacts",
  repeat: "repeat",
  webhook: "webhook",
  runTimeout: "run_timeout",
  compileTimeout: "compile_timeout",
  runCpuTime: "run_cpu_time",
  compileCpuTime: "compile_cpu_time",
  runMemoryLimit: "run_memory_limit",
  compileMemoryLimit: "compile_memory_limit",
  outputLimit: "output_limit",
};

const testWireNames: Record<keyof TestCase, string> = {
  stdin: "stdin",
  stdinEncoding: "stdin_encoding",
  args: "args",
  files: "files",
  expectedStdout: "expected_stdout",
  checker: "checker",
  tolerance: "tolerance",
};

const callOptions = ["signal", "timeout", "maxRetries", "requestId", "onStdout", "onStderr"];

/** The JSON body for a request. `more`: fields besides, in the API's words. @internal */
export function encodeRequest(request: StartRequest, more: object = {}): string {
  const body = encodeFields("execute", request, wireNames);
  if (Array.isArray(request.tests)) {
    body["tests"] = request.tests.map((test: TestCase, i) => encodeFields(`tests[${i}]`, test, testWireNames));
  }
  return JSON.stringify({ ...body, ...more });
}

/** What a request and a test have in common. `names`: the field of the API for each of theirs. */
function encodeFields(where: string, fields: ExecuteRequest | TestCase, names: Record<string, string>): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (!Object.hasOwn(names, name)) {
      throw new TypeError(unknownField(where, name, names));
    }
    if (value !== undefined && value !== null) {
      body[names[name]!] = value;
    }
  }
  if (fields.stdin instanceof Uint8Array) {
    body["stdin"] = base64(fields.stdin);
    body["stdin_encoding"] = "base64";
  }
  if (Array.isArray(fields.files)) {
    body["files"] = fields.files.map(encodeFile);
  }
  return body;
}

function encodeFile(file: SourceFile): SourceFile {
  return file.content instanceof Uint8Array ? { ...file, content: base64(file.content), encoding: "base64" } : file;
}

/** Results are spelt `session_id`, requests `sessionId`: one that was dropped in silence would cost the caller his files. */
function unknownField(where: string, name: string, names: Record<string, string>): string {
  const meant = Object.entries(names).find(([, wire]) => wire === name);
  const hint = meant ? `, it is spelt ${meant[0]} here` : callOptions.includes(name) ? `, it goes into the second argument: execute(request, { ${name} })` : "";
  return `${where}: unknown field ${name}${hint}`;
}

/** @internal */
export function base64(bytes: Uint8Array): string {
  const most = 0x8000; // arguments of one call: engines allow about 64 K
  let binary = "";
  for (let i = 0; i < bytes.length; i += most) {
    binary += String.fromCharCode.apply(null, bytes.subarray(i, i + most) as unknown as number[]); // `...` takes several times as long
  }
  return btoa(binary);
}
