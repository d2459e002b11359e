from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, AsyncGenerator, Dict, List, Optional

from .async_executor import AsyncExecutor
from .async_interactive import AsyncInteractive
from .events import Event, ResultEvent
from .protocol import BYTES, Call, CallOptions, file_path, get_file_call, new_session_id, not_begun, refuse_session_fields, session_path
from .request import Content
from .result import ExecuteResult, FileEntry, SessionInfo, decode_rows
from .streams import Turn

if TYPE_CHECKING:
    from .async_client import AsyncRunTools


class AsyncSession(AsyncExecutor):
    """Keeps the id of one session and sends its requests one at a time. Made by `AsyncRunTools.session`.

    `execute`, `stream` and `interactive` are those of `AsyncRunTools`; they refuse `session_id`, `ephemeral` and `tests`. `files` are its files.

    The files of the working directory and the environment persist, processes do not. Ten minutes after its last request the server
    drops a session; the next result then says `session_created`.
    """

    def __init__(self, client: AsyncRunTools, id: Optional[str]) -> None:
        self._client = client
        self._id = id
        self._turn = Turn()
        self.files = AsyncSessionFiles(self)

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.delete()

    @property
    def id(self) -> Optional[str]:
        """None before the first result, or file, of a session that has not been named."""
        return self._id

    async def info(
        self, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> SessionInfo:
        """What the server knows of the session; at once, also while a program runs in it."""
        call = Call("GET", session_path(self._begun()), None, idempotent=True, request_id=request_id)
        return decode_rows(SessionInfo, [await self._client._send(call, CallOptions(timeout, max_retries, request_id))])[0]

    async def archive(
        self, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> bytes:
        """A tar of all files."""
        async with self._turn:
            path = session_path(self._begun()) + "/archive"
            call = Call("GET", path, None, idempotent=True, request_id=request_id, accept="application/x-tar")
            return await self._client._send(call, CallOptions(timeout, max_retries, request_id))

    async def fork(
        self,
        count: int = 1,
        *,
        timeout: Optional[float] = None,
        max_retries: Optional[int] = None,
        request_id: Optional[str] = None,
    ) -> List[AsyncSession]:
        """New sessions that begin with the same files and environment, at most 100."""
        async with self._turn:
            body = json.dumps({"count": count}).encode()
            call = Call("POST", session_path(self._begun()) + "/fork", body, idempotent=False, request_id=request_id)
            answer = await self._client._send(call, CallOptions(timeout, max_retries, request_id))
            return [self._client.session(id) for id in answer["session_ids"]]

    async def delete(
        self, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> bool:
        """Ends the session, files and all, after the request that runs. False if there was none any more."""
        async with self._turn:
            if self._id is None:
                return False
            return await self._client._delete(session_path(self._id), CallOptions(timeout, max_retries, request_id))

    async def _execute(self, fields: Dict[str, Any], options: CallOptions) -> ExecuteResult:
        refuse_session_fields(fields)
        async with self._turn:
            result = await self._client._execute({**fields, "session_id": self._id}, options)
            self._id = result.session_id
            return result

    async def _stream(self, fields: Dict[str, Any], options: CallOptions) -> AsyncGenerator[Event, None]:
        refuse_session_fields(fields)
        async with self._turn:
            events = self._client._stream({**fields, "session_id": self._id}, options)
            try:
                async for event in events:
                    if isinstance(event, ResultEvent):
                        self._id = event.result.session_id
                    yield event
            finally:
                await events.aclose()

    def _interactive(self, fields: Dict[str, Any], options: CallOptions) -> AsyncInteractive:
        refuse_session_fields(fields)
        return AsyncInteractive(self._client, self, fields, options)

    def _begun(self) -> str:
        if self._id is None:
            raise not_begun()
        return self._id


class AsyncSessionFiles:
    """The files of a session's working directory. Paths are relative, with `/` between folders. Each call waits for the requests of the
    session that run. Made by `AsyncRunTools.session`.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list(
        self, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> List[FileEntry]:
        """All of them, folders included, at any depth."""
        async with self._session._turn:
            call = Call("GET", session_path(self._session._begun()) + "/files", None, idempotent=True, request_id=request_id)
            answer = await self._session._client._send(call, CallOptions(timeout, max_retries, request_id))
            return decode_rows(FileEntry, answer["files"])

    async def get(
        self,
        path: str,
        *,
        offset: int = 0,
        length: Optional[int] = None,
        timeout: Optional[float] = None,
        max_retries: Optional[int] = None,
        request_id: Optional[str] = None,
    ) -> bytes:
        """The bytes of a regular file: at most `length` from `offset` on, none if it ends before. Raises `not_found` if there is none of that
        path, `payload_too_large` above 32 MiB unless the server's operator says otherwise: read it in parts then.
        """
        async with self._session._turn:
            call = get_file_call(self._session._begun(), path, offset, length, request_id)
            return await self._session._client._send(call, CallOptions(timeout, max_retries, request_id))

    async def put(
        self,
        path: str,
        content: Content,
        *,
        timeout: Optional[float] = None,
        max_retries: Optional[int] = None,
        request_id: Optional[str] = None,
    ) -> None:
        """Writes a file, of mode 0644; folders above it are made, a link is replaced. Begins the session if it has not begun."""
        body = content.encode() if isinstance(content, str) else bytes(content)
        async with self._session._turn:
            id = self._session._id or new_session_id()
            call = Call("PUT", file_path(id, path), body, idempotent=True, request_id=request_id, content_type=BYTES)
            await self._session._client._send(call, CallOptions(timeout, max_retries, request_id))
            self._session._id = id

    async def delete(
        self, path: str, *, timeout: Optional[float] = None, max_retries: Optional[int] = None, request_id: Optional[str] = None
    ) -> bool:
        """Deletes a file, or a folder with all that is in it. False if there was none."""
        async with self._session._turn:
            if self._session._id is None:
                return False
            return await self._session._client._delete(file_path(self._session._id, path), CallOptions(timeout, max_retries, request_id))
