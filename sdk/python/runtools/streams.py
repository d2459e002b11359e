"""HTTP for the asyncio client, on asyncio's streams.

Threads under asyncio would be less code, but a thread cannot be cancelled: the program would run on when its task is gone, and each
waiting one would hold a thread of a pool of a few dozen. HTTP/1.1 as one needs it here is half a page.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.message
import http.client
import io
import time
from typing import AsyncGenerator, Iterator, List, Optional, Tuple

from .errors import RunToolsError
from .frames import Frames
from .protocol import MAX_IDLE, Answer, Attempts, Call, Settings, socket_call
from .socket_asyncio import Socket

Connection = Tuple[asyncio.StreamReader, asyncio.StreamWriter]
pause = asyncio.sleep


class Turn:
    """A session's: an asyncio.Lock, which before Python 3.10 belongs to the loop that is current when it is made."""

    def __init__(self) -> None:
        self._lock: Optional[asyncio.Lock] = None

    async def __aenter__(self) -> None:
        if self._lock is None:
            self._lock = asyncio.Lock()
        await self._lock.acquire()

    async def __aexit__(self, *exc: object) -> None:
        assert self._lock is not None
        self._lock.release()


class Streams:
    """Lends each request a connection of its own. Those that can be used again wait here, the last one used first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: List[Tuple[Connection, float]] = []
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._end_of_loop: Optional[AsyncGenerator[None, None]] = None
        self._closed = False

    async def send(self, call: Call, attempts: Attempts) -> Answer:
        """One attempt. However it ends early, by cancellation as well, the connection is closed, and so the program killed."""
        connection = await self._take() or await self._connect(attempts)
        with _aborting_if_it_fails(connection, attempts):
            response, answer = await asyncio.wait_for(self._exchange(connection, call), attempts.remaining())
        if response.reusable and not self._closed:
            self._idle.append((connection, time.monotonic()))
        else:
            _abort(connection)
        return answer

    async def open(self, call: Call, attempts: Attempts) -> Events:
        """One attempt, up to the head of the answer. Raises what a refusal says."""
        connection = await self._take() or await self._connect(attempts)
        with _aborting_if_it_fails(connection, attempts):
            response = await asyncio.wait_for(self._begin(connection, call), attempts.remaining())
            if response.kind != call.accept:
                attempts.understand(await asyncio.wait_for(response.rest(), attempts.remaining()))
        return Events(connection, response, attempts)

    async def open_socket(self, attempts: Attempts) -> Socket:
        """One attempt. Raises what a refusal says."""
        if self._closed:
            raise RuntimeError("the client is closed")
        frames = Frames()
        connection = await self._connect(attempts)
        with _aborting_if_it_fails(connection, attempts):
            call = socket_call(frames.headers(), attempts.call.request_id)
            response = await asyncio.wait_for(self._begin(connection, call), attempts.remaining())
            if response.status != 101:
                raise attempts.no_socket(await asyncio.wait_for(response.rest(), attempts.remaining()))
            frames.check(response.headers)
        return Socket(*connection, frames, lambda: _aborting_if_it_fails(connection, attempts))

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            (_, writer), _ = self._idle.pop()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        if self._end_of_loop is not None:
            await self._end_of_loop.aclose()

    async def _take(self) -> Optional[Connection]:
        if self._closed:
            raise RuntimeError("the client is closed")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # each asyncio.run has a loop of its own, and connections are bound to theirs
            self._loop, self._idle = loop, []
            self._end_of_loop = _closing_at_the_end(self._idle)
            await self._end_of_loop.__anext__()
        while self._idle:
            connection, since = self._idle.pop()
            reader, writer = connection
            if time.monotonic() - since < MAX_IDLE and not reader.at_eof() and reader.exception() is None and not writer.is_closing():
                return connection
            _abort(connection)
        return None

    async def _connect(self, attempts: Attempts) -> Connection:
        s = self._settings
        try:
            return await asyncio.wait_for(asyncio.open_connection(s.host, s.port, ssl=s.ssl_context), attempts.remaining())
        except (asyncio.TimeoutError, OSError) as error:  # nothing was sent, also if it was a timeout
            attempts.remaining()
            raise attempts.not_connected(error) from error

    async def _exchange(self, connection: Connection, call: Call) -> Tuple[Response, Answer]:
        response = await self._begin(connection, call)
        return response, await response.rest()

    async def _begin(self, connection: Connection, call: Call) -> Response:
        reader, writer = connection
        head = [f"{call.method} {self._settings.prefix}{call.path} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in self._settings.headers(call).items()]
        writer.write("\r\n".join(head + ["", ""]).encode("latin-1") + (call.body or b""))
        try:
            await writer.drain()
        except ConnectionError:
            pass  # a body that is refused unread: the answer says why, and reading it fails if there is none
        while True:
            line, _, fields = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
            version, code = line.split(None, 2)[:2]
            if not version.startswith(b"HTTP/1."):
                raise http.client.BadStatusLine(line.decode("latin-1"))
            status = int(code)
            if status >= 200 or status == 101:  # the others come before the answer
                return Response(reader, version, status, http.client.parse_headers(io.BytesIO(fields)))


class Response:
    """An answer whose head is there."""

    def __init__(self, reader: asyncio.StreamReader, version: bytes, status: int, headers: email.message.Message) -> None:
        self._reader = reader
        self.status = status
        self.headers = headers
        self._chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
        self._left: Optional[int] = None  # bytes of the body, or of the chunk that is being read; None: until the connection ends
        if status in (204, 304):
            self._left, self._chunked = 0, False
        elif self._chunked:
            self._left = 0
        elif "Content-Length" in headers:
            self._left = int(headers["Content-Length"])
        self.reusable = version == b"HTTP/1.1" and headers.get("Connection", "").lower() != "close" and self._left is not None
        self.kind = headers.get_content_type() if status == 200 else ""

    async def read(self) -> bytes:
        """What has come, at least a byte unless it is the end."""
        if self._left == 0 and self._chunked:
            self._left = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
            if self._left == 0:
                self._chunked = False
                while await self._reader.readuntil(b"\r\n") != b"\r\n":
                    pass  # trailers
        if self._left == 0:
            return b""
        chunk = await self._reader.read(1 << 16 if self._left is None else min(self._left, 1 << 16))
        if self._left is None:
            return chunk
        if not chunk:
            raise EOFError("it ended too early")
        self._left -= len(chunk)
        if self._left == 0 and self._chunked:
            await self._reader.readexactly(2)
        return chunk

    async def rest(self) -> Answer:
        chunks = []
        while True:
            chunk = await self.read()
            if not chunk:
                return Answer(self.status, self.headers, b"".join(chunks))
            chunks.append(chunk)


class Events:
    """The body of an answer as it comes. Closing it hangs up."""

    def __init__(self, connection: Connection, response: Response, attempts: Attempts) -> None:
        self._connection = connection
        self._response = response
        self._attempts = attempts

    async def read(self) -> bytes:
        """What has come. The end, which nobody asks for, is a lost connection."""
        with _aborting_if_it_fails(self._connection, self._attempts):
            chunk = await asyncio.wait_for(self._response.read(), self._attempts.remaining())
            if not chunk:
                raise EOFError("it was closed")
            return chunk

    def close(self) -> None:
        _abort(self._connection)


async def _closing_at_the_end(idle: List[Tuple[Connection, float]]) -> AsyncGenerator[None, None]:
    """A loop tells nobody that it ends, but asyncio.run closes its generators before: afterwards its sockets could not be closed any more. A
    client that is dropped drops its generator, which asyncio closes as well."""
    try:
        yield
    finally:
        for connection, _ in idle:
            _abort(connection)
        idle.clear()
        await asyncio.sleep(0)  # an abort is carried out by the loop


@contextlib.contextmanager
def _aborting_if_it_fails(connection: Connection, attempts: Attempts) -> Iterator[None]:
    try:
        yield
    except RunToolsError:
        _abort(connection)
        raise
    except (asyncio.TimeoutError, TimeoutError) as error:
        _abort(connection)
        raise attempts.timed_out() from error
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, http.client.HTTPException) as error:
        _abort(connection)
        raise attempts.lost(error) from error
    except BaseException:
        _abort(connection)
        raise


def _abort(connection: Connection) -> None:
    """Closes at once, also TLS and with data unsent: a farewell would wait for the peer."""
    connection[1].transport.abort()
