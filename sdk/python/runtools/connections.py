"""HTTP for the client without asyncio: kept connections of http.client, which any thread may use."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import socket
import threading
import time
import weakref
from typing import Iterator, List, Optional, Tuple

from .errors import RunToolsError
from .frames import Frames
from .protocol import MAX_IDLE, Answer, Attempts, Call, Settings, socket_call
from .socket_threads import Socket

pause = time.sleep
Turn = threading.Lock  # a session's


class Connections:
    """Lends each request a connection of its own. Those that can be used again wait here, the last one used first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._idle: List[Tuple[http.client.HTTPConnection, float]] = []
        self._closed = False
        self._process = os.getpid()
        weakref.finalize(self, _close, self._idle)  # a client may be dropped, or live until the program ends

    def send(self, call: Call, attempts: Attempts) -> Answer:
        """One attempt. However it ends early, by Ctrl-C as well, the connection is closed, and so the program killed."""
        connection = self._take() or self._connect(attempts)
        with _closing_if_it_fails(connection, attempts):
            response = self._begin(connection, call, attempts)
            answer, reusable = response.rest(), response.reusable
        if reusable:
            self._give_back(connection)
        else:
            connection.close()
        return answer

    def open(self, call: Call, attempts: Attempts) -> Events:
        """One attempt, up to the head of the answer. Raises what a refusal says."""
        connection = self._take() or self._connect(attempts)
        with _closing_if_it_fails(connection, attempts):
            response = self._begin(connection, call, attempts)
            if response.kind != call.accept:
                attempts.understand(response.rest())
        return Events(connection, response, attempts)

    def open_socket(self, attempts: Attempts) -> Socket:
        """One attempt. Raises what a refusal says."""
        if self._closed:
            raise RuntimeError("the client is closed")
        frames = Frames()
        connection = self._connect(attempts)
        with _closing_if_it_fails(connection, attempts):
            call = socket_call(frames.headers(), attempts.call.request_id)
            response = self._begin(connection, call, attempts)
            if response.status != 101:
                raise attempts.no_socket(response.rest())
            frames.check(response.headers)
            response.close()  # what it has read ahead is nothing: the client has the first word
        return Socket(connection, frames, lambda: _closing_if_it_fails(connection, attempts))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            _close(self._idle)

    def _take(self) -> Optional[http.client.HTTPConnection]:
        if self._process != os.getpid():  # after a fork the idle ones are the parent's, and the lock may have been held
            self._process, self._lock = os.getpid(), threading.Lock()
            _close(self._idle)  # only this process's hold on them
        while True:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the client is closed")
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since < MAX_IDLE and not _closed_by_peer(connection):
                return connection
            connection.close()

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()

    def _connect(self, attempts: Attempts) -> http.client.HTTPConnection:
        s = self._settings
        timeout = attempts.remaining()
        if s.tls:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(s.host, s.port, timeout=timeout, context=s.ssl_context)
        else:
            connection = http.client.HTTPConnection(s.host, s.port, timeout=timeout)
        try:
            connection.connect()
        except OSError as error:  # nothing was sent, also if it was a timeout
            connection.close()
            attempts.remaining()
            raise attempts.not_connected(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin(self, connection: http.client.HTTPConnection, call: Call, attempts: Attempts) -> Response:
        sock = connection.sock  # an answer that closes the connection takes it away
        sock.settimeout(attempts.remaining())
        try:
            connection.request(call.method, self._settings.prefix + call.path, body=call.body, headers=self._settings.headers(call))
        except BrokenPipeError:
            pass  # a body that is refused unread: the answer says why, and reading it fails if there is none
        # A program that waits for its answer is silent: each wait may take all that remains.
        sock.settimeout(attempts.remaining())
        return Response(connection.getresponse(), sock, attempts)


class Response:
    """An answer whose head is there."""

    def __init__(self, response: http.client.HTTPResponse, sock: socket.socket, attempts: Attempts) -> None:
        self._response = response
        self._sock = sock
        self._attempts = attempts
        self.status = response.status
        self.headers = response.headers
        self.kind = response.headers.get_content_type() if response.status == 200 else ""
        self.reusable = not response.will_close

    def read(self) -> bytes:
        """What has come, at least a byte unless it is the end."""
        if self._response.isclosed():  # with the last byte, since Python 3.12.2, and the socket with it if no other request may follow
            return b""
        self._sock.settimeout(self._attempts.remaining())
        chunk = self._response.read1(1 << 16)
        if not chunk and self._response.length:  # read1 takes an early end for the end
            raise http.client.IncompleteRead(b"", self._response.length)
        return chunk

    def rest(self) -> Answer:
        chunks = list(iter(self.read, b""))
        self.close()
        return Answer(self.status, self.headers, b"".join(chunks))

    def close(self) -> None:
        """Not the connection, which takes no other request before."""
        self._response.close()


class Events:
    """The body of an answer as it comes. Closing it hangs up."""

    def __init__(self, connection: http.client.HTTPConnection, response: Response, attempts: Attempts) -> None:
        self._connection = connection
        self._response = response
        self._attempts = attempts

    def read(self) -> bytes:
        """What has come. The end, which nobody asks for, is a lost connection."""
        with _closing_if_it_fails(self._connection, self._attempts):
            chunk = self._response.read()
            if not chunk:
                raise http.client.IncompleteRead(b"")
            return chunk

    def close(self) -> None:
        self._connection.close()
        self._response.close()


def _close(idle: List[Tuple[http.client.HTTPConnection, float]]) -> None:
    while idle:
        idle.pop()[0].close()


@contextlib.contextmanager
def _closing_if_it_fails(connection: http.client.HTTPConnection, attempts: Attempts) -> Iterator[None]:
    try:
        yield
    except RunToolsError:
        connection.close()
        raise
    except socket.timeout as error:  # TimeoutError since Python 3.10
        connection.close()
        raise attempts.timed_out() from error
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise attempts.lost(error) from error
    except BaseException:
        connection.close()
        raise


def _closed_by_peer(connection: http.client.HTTPConnection) -> bool:
    """Nothing was asked, so what can be read is the end, or nothing we want."""
    if not hasattr(select, "poll"):
        return bool(select.select([connection.sock], [], [], 0)[0])
    poll = select.poll()  # select fails on descriptors above 1023
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
