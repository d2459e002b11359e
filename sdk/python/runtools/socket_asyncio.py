"""A WebSocket of the asyncio client."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Callable, ContextManager, Optional, Union

from .errors import RunToolsError
from .frames import TEXT, Frames, frame
from .protocol import SILENCE


class Socket:
    """Reads all the time, so that the server can write, and so read, while its caller writes. What nobody has asked for waits here."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frames: Frames, failing: Callable[[], ContextManager[None]]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = frames
        self._arrived: asyncio.Queue[Union[str, RunToolsError, None]] = asyncio.Queue()
        self._drain = asyncio.Lock()  # before Python 3.11 only one task may drain
        self._reading = asyncio.ensure_future(self._read(failing))

    async def receive(self) -> Optional[str]:
        """The next message; None if this side has closed."""
        message = await self._arrived.get()
        if isinstance(message, RunToolsError):
            raise message
        return message

    async def send(self, text: str, wait: bool) -> None:
        """Drops it if the connection is gone: who receives is told. wait: until the network has taken most of it."""
        if self._reading.done():
            return
        self._writer.write(frame(TEXT, text.encode()))
        if wait:
            async with self._drain:
                with contextlib.suppress(OSError):
                    await self._writer.drain()

    async def close(self) -> None:
        """Hangs up."""
        self._reading.cancel()
        self._writer.transport.abort()
        await asyncio.wait({self._reading})
        self._arrived.put_nowait(None)

    async def _read(self, failing: Callable[[], ContextManager[None]]) -> None:
        try:
            with failing():
                while True:
                    await self._read_some()
        except RunToolsError as error:
            self._arrived.put_nowait(error)

    async def _read_some(self) -> None:
        try:
            chunk = await asyncio.wait_for(self._reader.read(1 << 16), SILENCE)
        except asyncio.TimeoutError:
            raise ConnectionError(f"the server was silent for {SILENCE:.0f} s") from None
        if not chunk:
            raise EOFError("it was closed")
        for message in self._frames.push(chunk):
            self._arrived.put_nowait(message)
        if self._frames.answers:
            self._writer.write(bytes(self._frames.answers))
            self._frames.answers.clear()
