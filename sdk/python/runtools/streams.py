"""HTTP for the asyncio client, on asyncio's streams.

Threads under asyncio would be less code, but a thread cannot be cancelled: the program would run on when its task is gone, and each
waiting one would hold a thread of a pool of a few dozen. HTTP/1.1 as one needs it here is half a page.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import time
from typing import List, Optional, Tuple

from .protocol import MAX_IDLE, Answer, Attempts, Call, Settings

Connection = Tuple[asyncio.StreamReader, asyncio.StreamWriter]



class Streams:
    """Lends each request a connection of its own. Those that can be used again wait here, the last one used first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: List[Tuple[Connection, float]] = []
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._closed = False

    async def send(self, call: Call, attempts: Attempts) -> Answer:
        """One attempt. However it ends early, by cancellation as well, the connection is closed, and so the program killed."""
        connection = self._take() or await self._connect(attempts)
        try:
            answer, reusable = await asyncio.wait_for(self._exchange(connection, call), attempts.remaining())
        except (asyncio.TimeoutError, TimeoutError) as error:
            _abort(connection)
            raise attempts.timed_out() from error
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, http.client.HTTPException) as error:
            _abort(connection)
            raise attempts.lost(error) from error
        except BaseException:
            _abort(connection)
            raise
        if reusable and not self._closed:
            self._idle.append((connection, time.monotonic()))
        else:
            connection[1].close()
        return answer

    async def close(self) -> None:
        self._closed = True
        idle, self._idle = self._idle, []
        for (_, writer), _ in idle:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _take(self) -> Optional[Connection]:
        if self._closed:
            raise RuntimeError("the client is closed")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # each asyncio.run has a loop of its own, and connections are bound to theirs
            self._loop, self._idle = loop, []
        while self._idle:
            connection, since = self._idle.pop()
            reader, writer = connection
            if time.monotonic() - since < MAX_IDLE and not reader.at_eof() and reader.exception() is None and not writer.is_closing():
                return connection
            writer.close()
        return None

    async def _connect(self, attempts: Attempts) -> Connection:
        s = self._settings
        try:
            return await asyncio.wait_for(asyncio.open_connection(s.host, s.port, ssl=s.ssl_context), attempts.remaining())
        except (asyncio.TimeoutError, OSError) as error:  # nothing was sent, also if it was a timeout
            attempts.remaining()
            raise attempts.not_connected(error) from error

    async def _exchange(self, connection: Connection, call: Call) -> Tuple[Answer, bool]:
        reader, writer = connection
        head = [f"{call.method} {self._settings.prefix}{call.path} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in self._settings.headers(call).items()]
        writer.write("\r\n".join(head + ["", ""]).encode("latin-1") + (call.body or b""))
        try:
            await writer.drain()
        except ConnectionError:
            pass  # a body that is refused unread: the answer says why, and reading it fails if there is none
        return await _read_answer(reader)


async def _read_answer(reader: asyncio.StreamReader) -> Tuple[Answer, bool]:
    while True:
        line, _, fields = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        version, code = line.split(None, 2)[:2]
        if not version.startswith(b"HTTP/1."):
            raise http.client.BadStatusLine(line.decode("latin-1"))
        status = int(code)
        headers = http.client.parse_headers(io.BytesIO(fields))
        if status >= 200:  # 1xx come before the answer
            break
    reusable = version == b"HTTP/1.1" and headers.get("Connection", "").lower() != "close"
    if status in (204, 304):
        return Answer(status, headers, b""), reusable
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return Answer(status, headers, await _read_chunks(reader)), reusable
    if "Content-Length" in headers:
        return Answer(status, headers, await reader.readexactly(int(headers["Content-Length"]))), reusable
    return Answer(status, headers, await reader.read()), False


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass  # trailers
            return b"".join(chunks)
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)


def _abort(connection: Connection) -> None:
    """Closes at once, also TLS and with data unsent: a farewell would wait for the peer."""
    connection[1].transport.abort()
