"""HTTP for the client without asyncio: kept connections of http.client, which any thread may use."""

from __future__ import annotations

import http.client
import os
import select
import socket
import threading
import time
from typing import List, Optional, Tuple

from .errors import RunToolsError
from .protocol import MAX_IDLE, Answer, Attempts, Call, Settings


class Connections:
    """Lends each request a connection of its own. Those that can be used again wait here, the last one used first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._idle: List[Tuple[http.client.HTTPConnection, float]] = []
        self._closed = False
        self._process = os.getpid()

    def send(self, call: Call, attempts: Attempts) -> Answer:
        """One attempt. However it ends early, by Ctrl-C as well, the connection is closed, and so the program killed."""
        connection = self._take() or self._connect(attempts)
        try:
            answer, reusable = self._exchange(connection, call, attempts)
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
        if reusable:
            self._give_back(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _take(self) -> Optional[http.client.HTTPConnection]:
        if self._process != os.getpid():  # after a fork the idle ones are the parent's, and the lock may have been held
            self._process, self._lock, self._idle = os.getpid(), threading.Lock(), []
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

    def _exchange(self, connection: http.client.HTTPConnection, call: Call, attempts: Attempts) -> Tuple[Answer, bool]:
        connection.sock.settimeout(attempts.remaining())
        try:
            connection.request(call.method, self._settings.prefix + call.path, body=call.body, headers=self._settings.headers(call))
        except BrokenPipeError:
            pass  # a body that is refused unread: the answer says why, and reading it fails if there is none
        # A program that waits for its answer is silent: each wait may take all that remains.
        connection.sock.settimeout(attempts.remaining())
        sock = connection.sock  # an answer that closes the connection takes it away
        response = connection.getresponse()
        chunks = []
        while True:
            sock.settimeout(attempts.remaining())
            chunk = response.read1(1 << 16)
            if not chunk:
                break
            chunks.append(chunk)
        if response.length:  # read1 takes an early end for the end
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # not the connection, which takes no other request before
        return Answer(response.status, response.headers, b"".join(chunks)), not response.will_close


def _closed_by_peer(connection: http.client.HTTPConnection) -> bool:
    """Nothing was asked, so what can be read is the end, or nothing we want."""
    if not hasattr(select, "poll"):
        return bool(select.select([connection.sock], [], [], 0)[0])
    poll = select.poll()  # select fails on descriptors above 1023
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
