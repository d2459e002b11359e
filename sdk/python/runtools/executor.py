# Made of async_executor.py by unasync.py: change that.
"""The calls with two dozen arguments: written once, for the client and its sessions."""

from __future__ import annotations

from typing import Any, Generator, Dict, Iterable, Mapping, Optional, Sequence, Tuple

from .interactive import Interactive
from .events import Event
from .protocol import CallOptions, split
from .request import Content, Files, Test
from .result import ExecuteResult


class Executor:
    def execute(
        self,
        language: str,
        code: Optional[str] = None,
        *,
        version: Optional[str] = None,
        files: Optional[Files] = None,
        stdin: Optional[Content] = None,
        args: Optional[Sequence[str]] = None,
        env: Optional[Mapping[str, str]] = None,
        session_id: Optional[str] = None,
        ephemeral: Optional[bool] = None,
        explain: Optional[bool] = None,
        tests: Optional[Iterable[Test]] = None,
        stop_on_failure: Optional[bool] = None,
        artifacts: Optional[Sequence[str]] = None,
        repeat: Optional[int] = None,
        run_timeout: Optional[int] = None,
        compile_timeout: Optional[int] = None,
        run_cpu_time: Optional[int] = None,
        compile_cpu_time: Optional[int] = None,
        run_memory_limit: Optional[int] = None,
        compile_memory_limit: Optional[int] = None,
        output_limit: Optional[int] = None,
        timeout: Optional[float] = None,
        max_retries: Optional[int] = None,
        request_id: Optional[str] = None,
    ) -> ExecuteResult:
        """Runs a program and waits for its end.

            result = rt.execute("c", code, stdin="1 2", run_timeout=2000)
            if result.run.status != "OK":
                print(result.run.message, result.run.stderr)

        `code` or `files` must be given. For what is left out the server's defaults apply; it refuses what is out of its bounds and
        clamps nothing. The limits are those of the API, in milliseconds and bytes; `timeout` is the client's own, in seconds.

        - `language`: name or alias from `runtimes()`, in any case.
        - `code`: written to the language's main file (`main.py`, `Main.java`, ...), which is run.
        - `version`: `"3"`, `"3.12"`, `">=3.11 <3.14"`. Default: the newest.
        - `files`: `{"main.py": "...", "data.bin": b"..."}`, or a list of `File`. Without `code` the first is run.
        - `stdin`: text or bytes, delivered byte for byte. Default: empty.
        - `args`: the program's arguments.
        - `env`: added to the environment, and kept by the session.
        - `session_id`: the session whose files and environment the program finds: that of an earlier result, or a name of your own
          (1 to 128 of `A-Z a-z 0-9 . _ -`). Default: a new one. `session()` keeps it for you.
        - `ephemeral`: keep nothing: `session_id` of the result is None. Not beside `session_id`.
        - `explain`: each stage shows every limit that was in force and its use, `Stage.limits`.
        - `tests`: compiled once, the program runs for each of them in a sandbox of its own; `ExecuteResult.tests`. Not beside `session_id` and `stdin`.
        - `stop_on_failure`: the results end with the first test that is not accepted.
        - `artifacts`: patterns; files that match when the program has ended are `ExecuteResult.artifacts`. `"*.png"`, `"out/**"`: `*` and `?` within
          a folder, `**` for folders. At most 32. Not beside `tests`.
        - `repeat`: run the program that often, one run after another, each in a sandbox of its own; `ExecuteResult.repeat` sums up what they took.
          Not beside `tests`, `artifacts` and `session_id`.
        - `run_timeout`, `compile_timeout`: wall clock, milliseconds. Defaults 300000 and 60000, which are also the most.
        - `run_cpu_time`, `compile_cpu_time`: CPU time of all processes, milliseconds. Default: no limit.
        - `run_memory_limit`, `compile_memory_limit`: of all processes and their files in memory, bytes. Defaults 512 MiB and 1 GiB, or
          the language's own.
        - `output_limit`: of each of stdout and stderr in each stage, bytes. Default 10 MiB.
        - `timeout`, `max_retries`: instead of the client's, for this call.
        - `request_id`: sent as `X-Request-Id`: 1 to 64 of `A-Z a-z 0-9 . _ -`. It is in the server's log, and in errors.
        """
        return self._execute(*split(locals()))

    def stream(
        self,
        language: str,
        code: Optional[str] = None,
        *,
        version: Optional[str] = None,
        files: Optional[Files] = None,
        stdin: Optional[Content] = None,
        args: Optional[Sequence[str]] = None,
        env: Optional[Mapping[str, str]] = None,
        session_id: Optional[str] = None,
        ephemeral: Optional[bool] = None,
        explain: Optional[bool] = None,
        tests: Optional[Iterable[Test]] = None,
        stop_on_failure: Optional[bool] = None,
        artifacts: Optional[Sequence[str]] = None,
        repeat: Optional[int] = None,
        run_timeout: Optional[int] = None,
        compile_timeout: Optional[int] = None,
        run_cpu_time: Optional[int] = None,
        compile_cpu_time: Optional[int] = None,
        run_memory_limit: Optional[int] = None,
        compile_memory_limit: Optional[int] = None,
        output_limit: Optional[int] = None,
        timeout: Optional[float] = None,
        max_retries: Optional[int] = None,
        request_id: Optional[str] = None,
    ) -> Generator[Event, None, None]:
        """Runs a program and tells what happens as it does. The arguments are those of `execute`; `timeout` is for all of it.

            for event in rt.stream("bash", "echo one; sleep 1; echo two"):
                if event.type == "stdout":
                    print(event.text, end="")
                elif event.type == "result":
                    print(event.result.run.status)

        The request is sent when the first event is asked for. Leaving the loop hangs up, and the server kills the program; what is still refused
        before the first event is sent again like a call. Errors are those of `execute`.
        """
        return self._stream(*split(locals()))

    def interactive(
        self,
        language: str,
        code: Optional[str] = None,
        *,
        version: Optional[str] = None,
        files: Optional[Files] = None,
        stdin: Optional[Content] = None,
        args: Optional[Sequence[str]] = None,
        env: Optional[Mapping[str, str]] = None,
        session_id: Optional[str] = None,
        ephemeral: Optional[bool] = None,
        explain: Optional[bool] = None,
        artifacts: Optional[Sequence[str]] = None,
        pty: Optional[Tuple[int, int]] = None,
        run_timeout: Optional[int] = None,
        compile_timeout: Optional[int] = None,
        run_cpu_time: Optional[int] = None,
        compile_cpu_time: Optional[int] = None,
        run_memory_limit: Optional[int] = None,
        compile_memory_limit: Optional[int] = None,
        output_limit: Optional[int] = None,
        request_id: Optional[str] = None,
    ) -> Interactive:
        """Runs a program that is talked to while it runs: input, signals, a terminal. The arguments are those of `execute`; `stdin` is only the
        beginning of the input.

            with rt.interactive("python", "print('hello', input('name? '))") as program:
                for event in program:
                    if event.type == "stdout" and event.text == "name? ":
                        program.write("Ada\\n")
                    elif event.type == "result":
                        print(event.result.run.stdout)  # name? hello Ada

        - `pty`: columns and rows of a terminal for the program, 1 to 1000 each, as `os.get_terminal_size()` tells them; all of its output is `stdout`
          then. Default: pipes.

        The program begins with the `with`, and leaving it hangs up, which kills the program. What is refused before it could begin is sent again
        like a call, within the client's `timeout`. No timeout of ours ends it later: `run_timeout` does, which goes on while the program waits
        for input.
        """
        return self._interactive(*split(locals()))

    def _execute(self, fields: Dict[str, Any], options: CallOptions) -> ExecuteResult:
        raise NotImplementedError

    def _stream(self, fields: Dict[str, Any], options: CallOptions) -> Generator[Event, None, None]:
        raise NotImplementedError

    def _interactive(self, fields: Dict[str, Any], options: CallOptions) -> Interactive:
        raise NotImplementedError
