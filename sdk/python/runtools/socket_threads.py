"""A WebSocket of the client without asyncio: one thread may receive while others send."""

from __future__ import annotations

import collections
import contextlib
import http.client
import select
import socket
import ssl
import threading
from typing import Callable, ContextManager, Deque, Optional

from .errors import RunToolsError
from .frames import TEXT, Frames, frame
from .protocol import SILENCE

# Who waits for the network to take something looks that often whether somebody else receives meanwhile. Seconds.
ASK_AGAIN = 0.05

NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Socket:
    """It never blocks within recv or send, of which TLS allows one at a time, and waits outside of its lock. A thread that sends receives as well
    while nobody else does, or the server could not write, and so not read. What nobody has asked for waits here."""

    def __init__(self, connection: http.client.HTTPConnection, frames: Frames, failing: Callable[[], ContextManager[None]]) -> None:
        self._connection = connection
        self._sock: socket.socket = connection.sock
        self._sock.setblocking(False)
        self._frames = frames
        self._failing = failing
        self._lock = threading.Lock()
        self._receiving = False  # a thread is in receive
        self._unsent = bytearray()
        self._arrived: Deque[str] = collections.deque()
        self._error: Optional[RunToolsError] = None
        self._closed = False

    def receive(self) -> Optional[str]:
        """The next message; None if this side has closed."""
        try:
            while True:
                self._step(receive=True)
                if self._arrived:
                    return self._arrived.popleft()
                if self._closed:
                    return None
                if self._error is not None:
                    raise self._error
                if not self._wait(True, SILENCE):
                    self._fail(ConnectionError(f"the server was silent for {SILENCE:.0f} s"))
        finally:
            self._receiving = False

    def send(self, text: str, wait: bool) -> None:
        """Drops it if the connection is gone: who receives is told. wait: until the network has taken it."""
        with self._lock:
            self._unsent += frame(TEXT, text.encode())
        self._step()
        while wait and self._unsent and self._error is None and not self._closed:
            self._wait(not self._receiving, ASK_AGAIN)
            self._step()

    def close(self) -> None:
        """Hangs up."""
        with self._lock:
            self._closed = True
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits
            self._connection.close()

    def _step(self, receive: bool = False) -> None:
        """Sends and receives what it can at once."""
        with self._lock:
            # Else that thread, which waits for something to come, would not notice.
            mine = receive or not self._receiving
            self._receiving = self._receiving or receive
            if self._closed or self._error is not None:
                return
            try:
                with self._failing():
                    if mine:
                        self._receive_some()
                    self._send_some()
            except RunToolsError as error:
                self._error = error

    def _send_some(self) -> None:
        self._unsent += self._frames.answers
        self._frames.answers.clear()
        with contextlib.suppress(*NOT_NOW):
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]

    def _receive_some(self) -> None:
        with contextlib.suppress(*NOT_NOW):
            while True:  # to the end: what TLS holds back does not wake anybody
                chunk = self._sock.recv(1 << 16)
                if not chunk:
                    raise ConnectionError("it was closed")
                self._arrived.extend(self._frames.push(chunk))

    def _fail(self, error: Exception) -> None:
        try:
            with self._failing():
                raise error
        except RunToolsError as failure:
            self._error = failure

    def _wait(self, receive: bool, seconds: float) -> bool:
        """Until something can be done. False if nothing could in this time."""
        fd = self._sock.fileno()
        if fd < 0:  # closed
            return True
        if not hasattr(select, "poll"):
            return any(select.select([fd] if receive else [], [fd] if self._unsent else [], [], seconds))
        poll = select.poll()  # select fails on descriptors above 1023
        poll.register(fd, (select.POLLIN if receive else 0) | (select.POLLOUT if self._unsent else 0))
        return bool(poll.poll(seconds * 1000))
