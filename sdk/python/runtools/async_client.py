from __future__ import annotations

import asyncio
import ssl
from typing import Any, Dict, List, Optional

from .errors import RunToolsError
from .executor import AsyncExecutor
from .protocol import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Attempts, Call, Settings, delete_call, execute_call, refuse_session_fields, runtimes_call
from .result import ExecuteResult, Runtime, decode_result, decode_runtimes
from .streams import Streams


class AsyncRunTools(AsyncExecutor):
    """`RunTools` for asyncio: the same settings, arguments, results and errors.

        async with AsyncRunTools() as rt:
            results = await asyncio.gather(*(rt.execute("python", code) for code in programs))

    Cancelling the task of a call, or a timeout around it, closes the connection, and the server then kills the program with everything
    that it started. A client may be used in one event loop after another, not in several at a time.
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
        self._streams = Streams(self._settings)

    async def __aenter__(self) -> AsyncRunTools:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the kept connections. Calls that run come to their end; later ones raise RuntimeError."""
        await self._streams.close()

    async def runtimes(
        self, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> List[Runtime]:
        """Lists what is installed: one entry a version, the newest of a language first."""
        return decode_runtimes(await self._send(runtimes_call(request_id), timeout, max_retries))

    def session(self, id: Optional[str] = None) -> AsyncSession:
        """A session whose id is kept for you: that of an earlier result, a name of your own, or, without one, the id that the server
        gives it at its first request. As a context manager it is deleted at the end.

            async with rt.session() as session:
                await session.execute("bash", "echo hello > note")
        """
        return AsyncSession(self, id)

    async def delete_session(
        self, id: str, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> bool:
        """Ends a session, files and all. False if this key has none of that id: it expired, or was deleted already."""
        try:
            await self._send(delete_call(id, request_id), timeout, max_retries)
        except RunToolsError as error:
            if error.code == "not_found":
                return False
            raise
        return True

    async def _execute(
        self, fields: Dict[str, Any], timeout: Optional[float], max_retries: Optional[int], request_id: Optional[str]
    ) -> ExecuteResult:
        return decode_result(await self._send(execute_call(fields, request_id), timeout, max_retries))

    async def _send(self, call: Call, timeout: Optional[float], max_retries: Optional[int]) -> Any:
        attempts = Attempts(self._settings, call, timeout, max_retries)
        while True:
            try:
                return attempts.understand(await self._streams.send(call, attempts))
            except RunToolsError as error:
                wait = attempts.wait_before_next(error)
            await asyncio.sleep(wait)


class AsyncSession(AsyncExecutor):
    """Keeps the id of one session and sends its requests one after another, in the order of the calls. Made by `AsyncRunTools.session`.

    `execute` is that of `AsyncRunTools`; it refuses `session_id` and `ephemeral`.

    The files of the working directory and the environment persist, processes do not. Ten minutes after its last request the server
    drops a session; the next result then says `session_created`.
    """

    def __init__(self, client: AsyncRunTools, id: Optional[str]) -> None:
        self._client = client
        self._id = id
        self._turn: Optional[asyncio.Lock] = None

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.delete()

    @property
    def id(self) -> Optional[str]:
        """None before the first result of a session that the server is to name."""
        return self._id

    def _in_turn(self) -> asyncio.Lock:
        if self._turn is None:  # before Python 3.10 a lock belongs to the loop that is current when it is made
            self._turn = asyncio.Lock()
        return self._turn

    async def _execute(
        self, fields: Dict[str, Any], timeout: Optional[float], max_retries: Optional[int], request_id: Optional[str]
    ) -> ExecuteResult:
        refuse_session_fields(fields)
        async with self._in_turn():
            result = await self._client._execute({**fields, "session_id": self._id}, timeout, max_retries, request_id)
            self._id = result.session_id
            return result

    async def delete(
        self, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> bool:
        """Ends the session, files and all, after the request that runs. False if there was none any more."""
        async with self._in_turn():
            if self._id is None:
                return False
            return await self._client.delete_session(self._id, timeout=timeout, max_retries=max_retries, request_id=request_id)
