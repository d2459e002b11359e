/**
 * What became of a program. Whatever the program did - a crash, a limit that fired, a failed compilation - is told here; an
 * exception says that there is no result. The object is the server's JSON as it came.
 */
export interface ExecuteResult {
  /** Canonical name. */
  language: string;
  /** The version that ran. */
  version: string;
  /** Send it back as `sessionId` to find the files and the environment again; null if the request was ephemeral. */
  session_id: string | null;
  /**
   * True if the `sessionId` of the request named no session, so that this one began empty: it is new, or the one you had
   * expired. Absent otherwise.
   */
  session_created?: true;
  /** Absent for languages without a compile stage. */
  compile?: CompileStage;
  /** Where the time went, milliseconds by phase in the order of the phases; only in the result of a stream. */
  timing?: Record<string, number>;
  /**
   * The run. After a failed compilation its status is `"CE"` and its `stderr` that of the compiler. With `tests` it is the run
   * of the first that was not accepted, else of the last.
   */
  run: Stage;
  /** With `tests` in the request: a result for each, in their order. Empty if compilation failed. */
  tests?: TestResult[];
  /** With `artifacts` in the request: the files that matched, in the order of their names. Absent if compilation failed. */
  artifacts?: Artifact[];
  /** What matched and is not in `artifacts`; absent when that is nothing. */
  artifacts_omitted?: ArtifactsOmitted;
  /** With `repeat` in the request: what the runs took. `run` is the first of them. Absent if compilation failed. */
  repeat?: Repeat;
}

/** What the runs of one program took. */
export interface Repeat {
  /** Fewer than asked for if a limit fired: that run is the last. */
  runs: number;
  wall_ms: Spread;
  cpu_ms: Spread;
  memory_kb: Spread;
  /** All wrote the same and ended the same way. */
  outputs_equal: boolean;
  /** A: nothing disturbed the runs. B: a little did. C: compare the figures with care. D: do not. `reasons`: what lowered the grade. */
  quality: { grade: "A" | "B" | "C" | "D"; reasons: string[] };
}

/** One figure of all runs. */
export interface Spread {
  median: number;
  min: number;
  max: number;
  /** Confidence interval of the median; null below 6 runs. */
  ci95: [number, number] | null;
}

/** A file that the program left; {@link artifactBytes} gives its bytes. */
export interface Artifact {
  /** Relative to the working directory. */
  name: string;
  /** Bytes. */
  size: number;
  encoding: "base64";
  content: string;
}

/** Files that did not fit into the answer. */
export interface ArtifactsOmitted {
  count: number;
  /** Of all of them together. */
  bytes: number;
  /** Why. */
  message: string;
}

/** What became of one test. */
export interface TestResult {
  verdict: Verdict;
  run: Stage;
}

/**
 * | verdict | |
 * |---|---|
 * | `AC` | accepted |
 * | `WA` | another `stdout` than expected |
 * | `TO`, `ML`, `OL` | time, memory, output on either stream |
 * | `RE` | an exit code that is not 0, or death by a signal |
 */
export type Verdict = "AC" | "WA" | "TO" | "ML" | "OL" | "RE";

/**
 * How a stage ended.
 *
 * | status | |
 * |---|---|
 * | `OK` | exit code 0 |
 * | `RE` | another exit code |
 * | `SG` | died of a signal |
 * | `TO` | time limit, wall clock or CPU |
 * | `ML` | memory limit |
 * | `OL`, `EL` | output limit, on stdout or on stderr |
 * | `SV` | killed by the syscall filter |
 * | `CE` | compilation failed |
 */
export type Status = "OK" | "RE" | "SG" | "TO" | "ML" | "OL" | "EL" | "SV" | "CE";

/** The run, or what is common to both stages. */
export interface Stage {
  /** Text. Bytes that are not UTF-8 appear as U+FFFD; {@link stdoutBytes} gives the exact ones. */
  stdout: string;
  /** Text. Bytes that are not UTF-8 appear as U+FFFD; {@link stderrBytes} gives the exact ones. */
  stderr: string;
  /** The exact bytes, present only when `stdout` cannot show them. */
  stdout_base64?: string;
  /** The exact bytes, present only when `stderr` cannot show them. */
  stderr_base64?: string;
  /** Exit code, or null if a signal ended the program. */
  code: number | null;
  /** `"SIGSEGV"`, or null if the program exited. */
  signal: string | null;
  /** Wall clock, milliseconds, to the microsecond. */
  time_ms: number;
  /** CPU time of all processes, milliseconds. */
  cpu_time_ms: number;
  /** Peak of memory, KiB. */
  memory_kb: number;
  /** How it ended. */
  status: Status;
  /** One sentence with figures, such as `"wall time 2003 ms exceeded run_timeout 2000 ms"`, or null. */
  message: string | null;
  /** The limit that fired, or null. */
  limit: LimitFired | null;
  /** System calls that the sandbox denied, in the order in which each kind was first made; absent when there were none. */
  violations?: Violation[];
  /** With `explain` in the request: every limit that was in force. Absent of a stage that did not run. */
  limits?: LimitUse[];
  /** What compiler or interpreter said on stderr of places in the files, at most 100; absent when there is nothing. */
  diagnostics?: Diagnostic[];
}

/** An error, a warning or a note of a compiler, or what a program was given up for by its interpreter. */
export interface Diagnostic {
  /** As the request names files. */
  file: string;
  /** From 1; absent where the tool does not tell. */
  line?: number;
  /** From 1, as the tool counts; absent where it does not tell. */
  column?: number;
  severity: "error" | "warning" | "note";
  message: string;
  /** `"E0308"`, `"CS1002"`, `"-Wint-conversion"`; absent where there is none. */
  code?: string;
}

/** One limit of a stage and what is known of its use. A figure that nobody counts is null. */
export interface LimitUse {
  /** `"wall_time"`, `"processes"`, `"tmp_bytes"`, ...: the list is in the API's documentation. */
  name: string;
  /** The field of the API that sets it, or null if only the operator can. */
  set_by: string | null;
  unit: "ms" | "ms/s" | "bytes" | "count" | "level";
  /** Null: none. */
  limit: number | null;
  /** When the main process had ended. */
  used: number | null;
  /** The most that it was at any time. */
  peak: number | null;
  /** It ended the stage, or something was refused because of it. Null: nobody can tell. */
  fired: boolean | null;
}

/** A system call that the sandbox denied. */
export interface Violation {
  /** Its name; `"*"` in the last entry for all kinds that did not fit. */
  syscall: string;
  /** As text, at most 200 bytes. What the program wrote there. */
  args?: string;
  /** How often. */
  count: number;
}

/** The compilation. */
export interface CompileStage extends Stage {
  /** True if no compiler ran, because the same was compiled before: times and memory are zero. Absent otherwise. */
  cached?: true;
}

/** A limit that ended a stage. */
export interface LimitFired {
  /** The field of the API that sets it: `"run_timeout"`. */
  name: string;
  /** Its value, in the unit of that field. */
  limit: number;
  /** What was used when it fired, in the same unit. */
  used: number;
}

/** A program that was started and not waited for. */
export interface Execution {
  id: string;
  status: "pending" | "done" | "failed";
  /** ISO 8601. */
  created: string;
  /** ISO 8601; absent while it is pending. */
  ended?: string;
  /** If it is done: what `execute` would have returned. */
  result?: ExecuteResult;
  /** If there was one in the request: whether the result has been sent to it. */
  webhook?: { status: "pending" | "delivered" | "failed"; attempts: number; last_error?: string };
  /** If it failed: what `execute` would have thrown. */
  error?: { code: string; message: string; field?: string; request_id: string };
}

/** One installed version of a language. */
export interface Runtime {
  /** Canonical name. */
  language: string;
  version: string;
  /** Other names that `language` of a request may have. */
  aliases: string[];
  /** Has a compile stage. */
  compiled: boolean;
}

/** What the server knows of a session. */
export interface SessionInfo {
  session_id: string;
  /** Of its files. */
  bytes: number;
  /** Of its environment. */
  env_bytes: number;
  /** A request runs in it. */
  busy: boolean;
  /** ISO 8601. */
  last_used: string;
  /** When it will be gone, unless it is used before. ISO 8601. */
  expires: string;
}

/** One file of a session. */
export interface FileEntry {
  /** Relative to the working directory. */
  path: string;
  /** The exact bytes, present only when the name is not UTF-8. */
  path_base64?: string;
  type: "file" | "folder" | "link" | "other";
  /** Bytes. */
  size: number;
  /** Octal: `"644"`. */
  mode: string;
  /** Seconds since 1970. */
  modified: number;
}

/** What a stage wrote to standard output, byte for byte. */
export function stdoutBytes(stage: Stage): Uint8Array {
  return bytesOf(stage.stdout, stage.stdout_base64);
}

/** What a stage wrote to standard error, byte for byte. */
export function stderrBytes(stage: Stage): Uint8Array {
  return bytesOf(stage.stderr, stage.stderr_base64);
}

/** The bytes of a file that the program left. */
export function artifactBytes(artifact: Artifact): Uint8Array {
  return bytesOf("", artifact.content);
}

/** @internal */
export function bytesOf(text: string, encoded: string | undefined): Uint8Array {
  if (encoded === undefined) {
    return new TextEncoder().encode(text);
  }
  return Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
}
