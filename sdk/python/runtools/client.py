from __future__ import annotations

import ssl
import threading
import time
from typing import Any, Dict, List, Optional

from .connections import Connections
from .errors import RunToolsError
from .executor import Executor
from .protocol import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Attempts, Call, Settings, delete_call, execute_call, refuse_session_fields, runtimes_call
from .result import ExecuteResult, Runtime, decode_result, decode_runtimes


class RunTools(Executor):
    """A client of the Code Execution API. One serves a whole program, all of its threads.

    - `api_key`: `rt_live_...`. Default: the environment variable `RUNTOOLS_API_KEY`.
    - `base_url`: the server, a path in front of the API included. Default: `RUNTOOLS_URL`, else `http://127.0.0.1:8080`.
    - `timeout`: seconds until a call is given up, retries and waits included; None for never. Default ten minutes.
    - `max_retries`: how often a call is sent again after a refusal that ran nothing. Default 3.
    - `ssl_context`: for https, instead of the system's certificates.

    It is a context manager, which closes the kept connections at its end.

    **Errors.** Calls raise `RunToolsError`. Wrong arguments raise `TypeError` or `ValueError`.

    **Retries.** What the server refused with `rate_limited` (429) or `overloaded` (503), and what could not be sent at all, has not
    run and is sent again, after the time that `Retry-After` names or a growing one. A lost connection, a timeout, and every other
    failure may come after the program began; `execute` then leaves the decision to you (`may_have_run`). `runtimes` and
    `delete_session` are sent again after a lost connection too.

    **Stopping a program.** Whatever ends the wait - `timeout`, Ctrl-C, an exception of a signal handler - closes the connection, and
    the server then kills the program with everything that it started. To stop one from elsewhere use `AsyncRunTools` and cancel its task.
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

    def runtimes(
        self, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> List[Runtime]:
        """Lists what is installed: one entry a version, the newest of a language first."""
        return decode_runtimes(self._send(runtimes_call(request_id), timeout, max_retries))

    def session(self, id: Optional[str] = None) -> Session:
        """A session whose id is kept for you: that of an earlier result, a name of your own, or, without one, the id that the server
        gives it at its first request. As a context manager it is deleted at the end.

            with rt.session() as session:
                session.execute("bash", "echo hello > note")
                print(session.execute("python", "print(open('note').read())").run.stdout)
        """
        return Session(self, id)

    def delete_session(
        self, id: str, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> bool:
        """Ends a session, files and all. False if this key has none of that id: it expired, or was deleted already."""
        try:
            self._send(delete_call(id, request_id), timeout, max_retries)
        except RunToolsError as error:
            if error.code == "not_found":
                return False
            raise
        return True

    def _execute(
        self, fields: Dict[str, Any], timeout: Optional[float], max_retries: Optional[int], request_id: Optional[str]
    ) -> ExecuteResult:
        return decode_result(self._send(execute_call(fields, request_id), timeout, max_retries))

    def _send(self, call: Call, timeout: Optional[float], max_retries: Optional[int]) -> Any:
        attempts = Attempts(self._settings, call, timeout, max_retries)
        while True:
            try:
                return attempts.understand(self._connections.send(call, attempts))
            except RunToolsError as error:
                wait = attempts.wait_before_next(error)
            time.sleep(wait)


class Session(Executor):
    """Keeps the id of one session and sends its requests one at a time. Made by `RunTools.session`.

    `execute` is that of `RunTools`; it refuses `session_id` and `ephemeral`.

    The files of the working directory and the environment persist, processes do not. Ten minutes after its last request the server
    drops a session; the next result then says `session_created`.
    """

    def __init__(self, client: RunTools, id: Optional[str]) -> None:
        self._client = client
        self._id = id
        self._turn = threading.Lock()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.delete()

    @property
    def id(self) -> Optional[str]:
        """None before the first result of a session that the server is to name."""
        return self._id

    def _execute(
        self, fields: Dict[str, Any], timeout: Optional[float], max_retries: Optional[int], request_id: Optional[str]
    ) -> ExecuteResult:
        refuse_session_fields(fields)
        with self._turn:
            result = self._client._execute({**fields, "session_id": self._id}, timeout, max_retries, request_id)
            self._id = result.session_id
            return result

    def delete(
        self, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> bool:
        """Ends the session, files and all, after the request that runs. False if there was none any more."""
        with self._turn:
            if self._id is None:
                return False
            return self._client.delete_session(self._id, timeout=timeout, max_retries=max_retries, request_id=request_id)
