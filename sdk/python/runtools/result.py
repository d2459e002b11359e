from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Dict, List, Literal, Optional, Tuple, Type, TypeVar

from .errors import RunToolsError, told_error

Row = TypeVar("Row")
Status = Literal["OK", "RE", "SG", "TO", "ML", "OL", "EL", "SV", "CE"]


@dataclass(frozen=True)
class LimitFired:
    """A limit that ended a stage.

    - `name`: the argument that sets it: `"run_timeout"`.
    - `limit`: its value, in the unit of that argument.
    - `used`: what was used when it fired, in the same unit.
    """

    name: str
    limit: float
    used: float


@dataclass(frozen=True)
class LimitUse:
    """One limit of a stage and what is known of its use. A figure that nobody counts is None.

    - `name`: `"wall_time"`, `"processes"`, `"tmp_bytes"`, ...: the list is in the API's documentation.
    - `unit`: `"ms"`, `"ms/s"`, `"bytes"`, `"count"` or `"level"`.
    - `limit`: None: there is none.
    - `used`: when the main process had ended.
    - `peak`: the most that it was at any time.
    - `fired`: it ended the stage, or something was refused because of it; None: nobody can tell.
    - `set_by`: the argument that sets it, or None if only the operator can.
    """

    name: str
    unit: str
    limit: Optional[int]
    used: Optional[int]
    peak: Optional[int]
    fired: Optional[bool]
    set_by: Optional[str] = None


@dataclass(frozen=True)
class Diagnostic:
    """An error, a warning or a note of a compiler, or what a program was given up for by its interpreter.

    - `file`: as the request names files.
    - `line`, `column`: from 1, as the tool counts; None where it does not tell.
    - `severity`: `"error"`, `"warning"` or `"note"`.
    - `code`: `"E0308"`, `"CS1002"`, `"-Wint-conversion"`, or None.
    """

    file: str
    severity: str
    message: str
    line: Optional[int] = None
    column: Optional[int] = None
    code: Optional[str] = None


@dataclass(frozen=True)
class Violation:
    """One kind of system call that the sandbox denied.

    - `syscall`: its name; `"unknown"`, or `"*"` for all that did not fit.
    - `count`: how often.
    - `args`: printable ASCII, written by the program and not to be trusted, or None.
    """

    syscall: str
    count: int
    args: Optional[str] = None


@dataclass(frozen=True)
class Stage:
    """The compilation or the run.

    - `stdout`, `stderr`: text; bytes that are not UTF-8 appear as U+FFFD. `stdout_bytes` and `stderr_bytes` are exact.
    - `code`: exit code, or None if a signal ended the program.
    - `signal`: `"SIGSEGV"`, or None if the program exited.
    - `time_ms`: wall clock, milliseconds, to the microsecond.
    - `cpu_time_ms`: CPU time of all processes, milliseconds.
    - `memory_kb`: peak of memory, KiB.
    - `status`: how it ended, see below.
    - `message`: one sentence with figures, such as `"wall time 2003 ms exceeded run_timeout 2000 ms"`, or None.
    - `limit`: the limit that fired, or None.
    - `limits`: with `explain`, every limit that was in force; empty if the stage did not run.
    - `diagnostics`: what compiler or interpreter said on stderr of places in the files.
    - `violations`: system calls that the sandbox denied, at most 20 kinds.
    - `cached`: of a compilation: no compiler ran, because the same was compiled before; times and memory are zero.

    | status | |
    |---|---|
    | `OK` | exit code 0 |
    | `RE` | another exit code |
    | `SG` | died of a signal |
    | `TO` | time limit, wall clock or CPU |
    | `ML` | memory limit |
    | `OL`, `EL` | output limit, on stdout or on stderr |
    | `SV` | killed by the syscall filter |
    | `CE` | compilation failed |
    """

    stdout: str
    stderr: str
    code: Optional[int]
    signal: Optional[str]
    time_ms: float
    cpu_time_ms: float
    memory_kb: int
    status: Status
    message: Optional[str] = None
    limit: Optional[LimitFired] = None
    limits: List[LimitUse] = field(default_factory=list)
    diagnostics: List[Diagnostic] = field(default_factory=list)
    violations: List[Violation] = field(default_factory=list)
    cached: bool = False
    stdout_base64: Optional[str] = field(default=None, repr=False)
    stderr_base64: Optional[str] = field(default=None, repr=False)

    @property
    def stdout_bytes(self) -> bytes:
        """What was written to standard output, byte for byte."""
        return _exact(self.stdout, self.stdout_base64)

    @property
    def stderr_bytes(self) -> bytes:
        """What was written to standard error, byte for byte."""
        return _exact(self.stderr, self.stderr_base64)


@dataclass(frozen=True)
class TestResult:
    """What became of a test. `verdict` is `"AC"`, `"WA"`, `"TO"`, `"ML"`, `"OL"` or `"RE"`."""

    __test__ = False  # no test case of pytest's

    verdict: str
    run: Stage


@dataclass(frozen=True)
class Artifact:
    """A file that the program left. `name` is relative to the working directory; `content` are its bytes."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class ArtifactsOmitted:
    """Files that did not fit into the answer: how many, their `bytes` together, and a `message` that says why."""

    count: int
    bytes: int
    message: str


@dataclass(frozen=True)
class Spread:
    """One figure of all runs. `ci95` is the confidence interval of the median; None below six runs."""

    median: float
    min: float
    max: float
    ci95: Optional[Tuple[float, float]]


@dataclass(frozen=True)
class Repeat:
    """What the runs of one program took.

    - `runs`: fewer than asked for if a limit fired: that run is the last.
    - `wall_ms`, `cpu_ms`, `memory_kb`: milliseconds, milliseconds, KiB.
    - `outputs_equal`: all wrote the same and ended the same way.
    - `grade`: `"A"`: nothing disturbed the runs; `"B"`: a little did; `"C"`: compare the figures with care; `"D"`: do not.
    - `reasons`: what lowered the grade.
    """

    runs: int
    wall_ms: Spread
    cpu_ms: Spread
    memory_kb: Spread
    outputs_equal: bool
    grade: Literal["A", "B", "C", "D"]
    reasons: List[str]


@dataclass(frozen=True)
class ExecuteResult:
    """What became of a program. A crash, a limit that fired, or a failed compilation is told here; an exception says that there is no result.

    - `language`: canonical name.
    - `version`: the version that ran.
    - `session_id`: send it back to find the files and the environment again; None if the request was ephemeral.
    - `session_created`: the `session_id` of the request named no session, so that this one began empty: it is new, or the one you had expired.
    - `run`: the run. After a failed compilation its status is `"CE"` and its `stderr` that of the compiler.
    - `compile`: None for languages without a compile stage.
    - `tests`: with `tests` in the request, a result for each in their order; empty if compilation failed.
    - `artifacts`: with `artifacts` in the request, the files that matched, in the order of their names; empty if compilation failed.
    - `artifacts_omitted`: what matched and is not in `artifacts`, or None.
    - `repeat`: with `repeat` in the request, what the runs took; `run` is the first of them. None if compilation failed.
    - `timing`: where the time went, milliseconds by phase in the order of the phases; only in the result of a stream, else empty.
    - `raw`: the server's answer, decoded JSON.
    """

    language: str
    version: str
    session_id: Optional[str]
    session_created: bool
    run: Stage
    compile: Optional[Stage] = None
    tests: List[TestResult] = field(default_factory=list)
    artifacts: List[Artifact] = field(default_factory=list)
    artifacts_omitted: Optional[ArtifactsOmitted] = None
    repeat: Optional[Repeat] = None
    timing: Dict[str, float] = field(default_factory=dict)
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class WebhookState:
    """Whether a webhook has been sent its result: `"pending"`, `"delivered"` or `"failed"`; `last_error`: why the last attempt failed, or None."""

    status: str
    attempts: int
    last_error: Optional[str] = None


@dataclass(frozen=True)
class Execution:
    """A program that was started and not waited for.

    - `status`: `"pending"`, `"done"` or `"failed"`.
    - `created`, `ended`: `2026-01-02T03:04:05.678Z`; `ended` is None while it is pending.
    - `result`: if it is done, what `execute` would have returned.
    - `error`: if it failed, what `execute` would have raised.
    - `webhook`: how far that of the request is, or None.
    """

    id: str
    status: Literal["pending", "done", "failed"]
    created: str
    ended: Optional[str] = None
    result: Optional[ExecuteResult] = None
    error: Optional[RunToolsError] = None
    webhook: Optional[WebhookState] = None


@dataclass(frozen=True)
class Runtime:
    """One installed version of a language.

    - `language`: canonical name.
    - `version`: as the tool prints it.
    - `aliases`: other names that `language` of a request may have.
    - `compiled`: has a compile stage.
    """

    language: str
    version: str
    aliases: List[str]
    compiled: bool


@dataclass(frozen=True)
class SessionInfo:
    """What the server knows of a session.

    - `bytes`, `env_bytes`: of its files, and of its environment.
    - `busy`: a request of it runs or waits.
    - `last_used`, `expires`: `2026-01-02T03:04:05.678Z`.
    """

    session_id: str
    bytes: int
    env_bytes: int
    busy: bool
    last_used: str
    expires: str


@dataclass(frozen=True)
class FileEntry:
    """One entry of a session's working directory.

    - `path`: relative to it; bytes that are not UTF-8 appear as U+FFFD, and `path_bytes` is exact.
    - `type`: `"file"`, `"folder"`, `"link"` or `"other"`.
    - `size`: bytes.
    - `mode`: permissions, octal.
    - `modified`: seconds since 1970.
    """

    path: str
    type: str
    size: int
    mode: str
    modified: float
    path_base64: Optional[str] = field(default=None, repr=False)

    @property
    def path_bytes(self) -> bytes:
        """The name, byte for byte."""
        return _exact(self.path, self.path_base64)


def _exact(text: str, encoded: Optional[str]) -> bytes:
    return text.encode() if encoded is None else base64.b64decode(encoded)


def _known(kind: type, values: Dict[str, Any]) -> Dict[str, Any]:
    """Drops what a newer server says besides."""
    return {name: value for name, value in values.items() if name in kind.__dataclass_fields__}  # type: ignore[attr-defined]


def decode_rows(kind: Type[Row], rows: List[Dict[str, Any]]) -> List[Row]:
    return [kind(**_known(kind, row)) for row in rows]


def decode_stage(values: Dict[str, Any]) -> Stage:
    limit = values.get("limit")
    given = _known(Stage, values)
    given["limit"] = limit and LimitFired(**_known(LimitFired, limit))
    for name, kind in (("limits", LimitUse), ("diagnostics", Diagnostic), ("violations", Violation)):
        given[name] = decode_rows(kind, values.get(name, []))
    return Stage(**given)


def decode_test(values: Dict[str, Any]) -> TestResult:
    return TestResult(values["verdict"], decode_stage(values["run"]))


def decode_repeat(values: Dict[str, Any]) -> Repeat:
    given = _known(Repeat, {**values, **values["quality"]})
    for name in ("wall_ms", "cpu_ms", "memory_kb"):
        spread = _known(Spread, values[name])
        given[name] = Spread(**{**spread, "ci95": spread["ci95"] and tuple(spread["ci95"])})
    return Repeat(**given)


def decode_execution(values: Dict[str, Any]) -> Execution:
    given = _known(Execution, values)
    given["result"] = decode_result(values["result"]) if "result" in values else None
    given["error"] = told_error(values["error"], may_have_run=True) if "error" in values else None
    given["webhook"] = WebhookState(**_known(WebhookState, values["webhook"])) if "webhook" in values else None
    return Execution(**given)


def decode_result(answer: Dict[str, Any]) -> ExecuteResult:
    compiled, omitted, repeat = answer.get("compile"), answer.get("artifacts_omitted"), answer.get("repeat")
    return ExecuteResult(
        language=answer["language"],
        version=answer["version"],
        session_id=answer["session_id"],
        session_created=answer.get("session_created", False),
        run=decode_stage(answer["run"]),
        compile=compiled and decode_stage(compiled),
        tests=[decode_test(test) for test in answer.get("tests", [])],
        artifacts=[Artifact(file["name"], base64.b64decode(file["content"])) for file in answer.get("artifacts", [])],
        artifacts_omitted=omitted and ArtifactsOmitted(**_known(ArtifactsOmitted, omitted)),
        repeat=repeat and decode_repeat(repeat),
        timing=answer.get("timing", {}),
        raw=answer,
    )
