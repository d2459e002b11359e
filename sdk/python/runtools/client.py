# Made of async_client.py by unasync.py: change that.
from __future__ import annotations

import ssl
from typing import Any, Generator, Dict, Iterable, List, Mapping, Optional, Sequence

from .executor import Executor
from .interactive import Interactive
from .session import Session
from .errors import RunToolsError
from .events import Event, EventParser, ResultEvent, decode_event
from .protocol import DEFAULT_RETRIES, DEFAULT_TIMEOUT, EVENTS, Attempts, Call, CallOptions, Settings
from .protocol import execute_call, execution_path, runtimes_call, session_path, socket_call, split, start_call
from .request import Content, Files, Test, Webhook, encode_request
from .result import ExecuteResult, Execution, Runtime, decode_execution, decode_result, decode_rows
from .connections import Socket, Connections, pause


class RunTools(Executor):
    """A client of the Code Execution API. One serves a whole program: all of its threads, or, of the one for asyncio, all tasks of one event
    loop after another.

    - `api_key`: `rt_live_...`. Default: the environment variable `RUNTOOLS_API_KEY`.
    - `base_url`: the server, a path in front of the API included. Default: `RUNTOOLS_URL`, else `http://127.0.0.1:8080`.
    - `timeout`: seconds until a call is given up, retries and waits included; None for never. Default ten minutes.
    - `max_retries`: how often a call is sent again after a refusal that ran nothing. Default 3.
    - `ssl_context`: for https, instead of the system's certificates.

    A client is a context manager, which closes the kept connections at its end.

    **Errors.** Calls raise `RunToolsError`. Wrong arguments raise `TypeError` or `ValueError`.

    **Retries.** What the server refused with `rate_limited` (429) or `overloaded` (503), and what could not be sent at all, has not
    run and is sent again, after the time that `Retry-After` names or a growing one. A lost connection, a timeout, and every other
    failure may come after the program began; `execute` then leaves the decision to you (`may_have_run`). What may as well be done twice, which is
    everything but `execute`, `stream`, `start` and `fork`, is sent again after a lost connection too.

    **Stopping a program.** Whatever ends the wait - `timeout`, Ctrl-C, an exception of a signal handler, the cancellation of a task - closes
    the connection, and the server then kills the program with everything that it started.
    """

    def __init__(
        self,
        api_key: Optional[str] = None,
        base_url: Optional[str] = None,
        *,
        timeout: Optional[float] = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_RETRIES,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None:
        self._settings = Settings(api_key, base_url, timeout, max_retries, ssl_context)
        self._connections = Connections(self._settings)

    def __enter__(self) -> RunTools:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the kept connections. Calls that run come to their end; later ones raise RuntimeError."""
        self._connections.close()

    def start(
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
        webhook: Optional[Webhook] = None,
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
    ) -> Execution:
        """Has a program run and does not wait for it: no connection is kept. The server keeps its result for some minutes. The arguments are those of
        `execute`, and `webhook`, where the server is to send the result.

            execution = rt.start("bash", "sleep 60; echo done")
            while execution.status == "pending":
                execution = rt.execution(execution.id, wait=60)
        """
        fields, options = split(locals())
        return decode_execution(self._send(start_call(fields, options.request_id), options))

    def execution(
        self,
        id: str,
        *,
        wait: float = 0,
        timeout: Optional[float] = None,
        max_retries: Optional[int] = None,
        request_id: Optional[str] = None,
    ) -> Execution:
        """How a program that was started stands. `wait`: seconds to wait for its end, at most 60; else it answers at once."""
        call = Call("GET", f"{execution_path(id)}?wait={wait}", None, idempotent=True, request_id=request_id)
        return decode_execution(self._send(call, CallOptions(timeout, max_retries, request_id)))

    def delete_execution(
        self, id: str, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> bool:
        """Kills a program that was started, if it runs, and has the server forget it. False if this key has none of that id any more."""
        return self._delete(execution_path(id), CallOptions(timeout, max_retries, request_id))

    def runtimes(
        self, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> List[Runtime]:
        """Lists what is installed: one entry a version, the newest of a language first."""
        return decode_rows(Runtime, self._send(runtimes_call(request_id), CallOptions(timeout, max_retries, request_id)))

    def session(self, id: Optional[str] = None) -> Session:
        """A session whose id is kept for you: that of an earlier result, a name of your own, or, without one, the id that the server
        gives it at its first request. As a context manager it is deleted at the end.

            with rt.session() as session:
                session.execute("bash", "echo hello > note")
                result = session.execute("python", "print(open('note').read())")
        """
        return Session(self, id)

    def delete_session(
        self, id: str, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> bool:
        """Ends a session, files and all. False if this key has none of that id: it expired, or was deleted already."""
        return self._delete(session_path(id), CallOptions(timeout, max_retries, request_id))

    def _execute(self, fields: Dict[str, Any], options: CallOptions) -> ExecuteResult:
        return decode_result(self._send(execute_call(fields, options.request_id), options))

    def _stream(self, fields: Dict[str, Any], options: CallOptions) -> Generator[Event, None, None]:
        call = execute_call(fields, options.request_id, accept=EVENTS)
        attempts = Attempts(self._settings, call, options)
        while True:
            try:
                events = self._connections.open(call, attempts)
                break
            except RunToolsError as error:
                wait = attempts.wait_before_next(error)
            pause(wait)
        parser, begun = EventParser(), False
        try:
            while True:
                for name, data in parser.push(events.read()):
                    event = decode_event(name, data, begun)
                    begun = True
                    if event is not None:
                        yield event
                    if isinstance(event, ResultEvent):
                        return
        finally:
            events.close()

    def _interactive(self, fields: Dict[str, Any], options: CallOptions) -> Interactive:
        return Interactive(self, None, fields, options)

    def _open_socket(self, fields: Dict[str, Any], options: CallOptions) -> Socket:
        """A WebSocket on which the request has been sent."""
        body = encode_request(**fields).decode("ascii")
        attempts = Attempts(self._settings, socket_call({}, options.request_id), options)
        while True:
            try:
                socket = self._connections.open_socket(attempts)
                break
            except RunToolsError as error:
                wait = attempts.wait_before_next(error)
            pause(wait)
        attempts.begun()
        try:
            socket.send(body, wait=True)
        except BaseException:
            socket.close()
            raise
        return socket

    def _delete(self, path: str, options: CallOptions) -> bool:
        """False if there was none."""
        try:
            self._send(Call("DELETE", path, None, idempotent=True, request_id=options.request_id), options)
        except RunToolsError as error:
            if error.code == "not_found":
                return False
            raise
        return True

    def _send(self, call: Call, options: CallOptions) -> Any:
        attempts = Attempts(self._settings, call, options)
        while True:
            try:
                return attempts.understand(self._connections.send(call, attempts))
            except RunToolsError as error:
                wait = attempts.wait_before_next(error)
            pause(wait)
