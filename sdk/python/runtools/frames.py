"""The client's side of a WebSocket, without any I/O: https://www.rfc-editor.org/rfc/rfc6455. As much of it as the API needs: whole text messages to
the server, and no extensions."""

from __future__ import annotations

import base64
import email.message
import hashlib
import os
from typing import Dict, Iterator, List

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Frames:
    """One connection. `answers` are frames that are to be sent because of what came."""

    def __init__(self) -> None:
        self._key = base64.b64encode(os.urandom(16)).decode()
        self._came = bytearray()  # of a frame that is not complete
        self._parts: List[bytes] = []  # of a message that is not
        self.answers = bytearray()

    def headers(self) -> Dict[str, str]:
        """Of the request that opens it."""
        return {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": self._key}

    def check(self, headers: email.message.Message) -> None:
        """Of the answer 101: it comes from a server that understood."""
        want = base64.b64encode(hashlib.sha1((self._key + GUID).encode()).digest()).decode()
        if headers.get("Sec-WebSocket-Accept") != want:
            raise ConnectionError("the answer is no WebSocket's: Sec-WebSocket-Accept is wrong")

    def push(self, chunk: bytes) -> Iterator[str]:
        """Takes the bytes as they come and gives the messages. Raises ConnectionError for a close, and for what no server sends."""
        self._came += chunk
        while True:
            first, payload = self._frame()
            if first < 0:
                return
            final, kind = bool(first & 0x80), first & 0x7F  # a bit of an extension makes it an unknown kind
            if kind == PING:
                self.answers += frame(PONG, payload)
            elif kind == CLOSE:
                code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
                raise ConnectionError(f"the server closed the WebSocket: {code} {reason}".rstrip())
            elif kind == (0 if self._parts else TEXT):
                self._parts.append(payload)
                if final:
                    text, self._parts = b"".join(self._parts).decode("utf-8", "replace"), []
                    yield text
            elif kind != PONG:
                raise ConnectionError(f"the server sent a frame that is out of place: {first:#x}")

    def _frame(self) -> tuple[int, bytes]:
        """The next whole frame: its first byte and its payload; -1 if it is not there yet."""
        came = self._came
        if len(came) < 2:
            return -1, b""
        begin, length = 2, came[1]
        if length == 126:
            begin, length = 4, int.from_bytes(came[2:4], "big")
        elif length == 127:
            begin, length = 10, int.from_bytes(came[2:10], "big")
        elif length > 127:
            raise ConnectionError("the server sent a masked frame")
        if len(came) < begin + length:
            return -1, b""
        first, payload = came[0], bytes(came[begin : begin + length])
        del came[: begin + length]
        return first, payload


def frame(kind: int, payload: bytes) -> bytes:
    """A final frame. Clients mask what they send, so that no page can make a browser write what a proxy takes for a request."""
    length, mask = len(payload), os.urandom(4)
    if length < 126:
        head = bytes([0x80 | kind, 0x80 | length])
    elif length < 1 << 16:
        head = bytes([0x80 | kind, 0x80 | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([0x80 | kind, 0x80 | 127]) + length.to_bytes(8, "big")
    masked = int.from_bytes(payload, "big") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return head + mask + masked.to_bytes(length, "big")
