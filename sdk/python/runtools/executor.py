"""The one call with twenty arguments: written once for each kind of client, which its sessions share."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

from .request import Content, Files
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

            run = rt.execute("c", code, stdin="1 2", run_timeout=2000).run
            if run.status != "OK":
                print(run.message, run.stderr)

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
        - `run_timeout`, `compile_timeout`: wall clock, milliseconds. Defaults 300000 and 60000, which are also the most.
        - `run_cpu_time`, `compile_cpu_time`: CPU time of all processes, milliseconds. Default: no limit.
        - `run_memory_limit`, `compile_memory_limit`: of all processes and their files in memory, bytes. Defaults 512 MiB and 1 GiB, or
          the language's own.
        - `output_limit`: of each of stdout and stderr in each stage, bytes. Default 10 MiB.
        - `timeout`, `max_retries`: instead of the client's, for this call.
        - `request_id`: sent as `X-Request-Id`: 1 to 64 of `A-Z a-z 0-9 . _ -`. It is in the server's log, and in errors.
        """
        fields: Dict[str, Any] = dict(
            language=language,
            version=version,
            code=code,
            files=files,
            stdin=stdin,
            args=args,
            env=env,
            session_id=session_id,
            ephemeral=ephemeral,
            explain=explain,
            run_timeout=run_timeout,
            compile_timeout=compile_timeout,
            run_cpu_time=run_cpu_time,
            compile_cpu_time=compile_cpu_time,
            run_memory_limit=run_memory_limit,
            compile_memory_limit=compile_memory_limit,
            output_limit=output_limit,
        )
        return self._execute(fields, timeout, max_retries, request_id)

    def _execute(
        self, fields: Dict[str, Any], timeout: Optional[float], max_retries: Optional[int], request_id: Optional[str]
    ) -> ExecuteResult:
        raise NotImplementedError


class AsyncExecutor:
    async def execute(
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
        """Runs a program and waits for its end. The arguments are those of `RunTools.execute`.

        Cancelling the task closes the connection, and the server then kills the program with everything that it started.

            run = (await rt.execute("c", code, stdin="1 2", run_timeout=2000)).run
        """
        fields: Dict[str, Any] = dict(
            language=language,
            version=version,
            code=code,
            files=files,
            stdin=stdin,
            args=args,
            env=env,
            session_id=session_id,
            ephemeral=ephemeral,
            explain=explain,
            run_timeout=run_timeout,
            compile_timeout=compile_timeout,
            run_cpu_time=run_cpu_time,
            compile_cpu_time=compile_cpu_time,
            run_memory_limit=run_memory_limit,
            compile_memory_limit=compile_memory_limit,
            output_limit=output_limit,
        )
        return await self._execute(fields, timeout, max_retries, request_id)

    async def _execute(
        self, fields: Dict[str, Any], timeout: Optional[float], max_retries: Optional[int], request_id: Optional[str]
    ) -> ExecuteResult:
        raise NotImplementedError
