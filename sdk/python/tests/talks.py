"""A server of WebSockets, with frames of its own making."""

import base64
import hashlib
import json
import socket
import struct
import threading

from .fake import HANG


class Talk:
    """One connection, as the server sees it."""

    def __init__(self, sock):
        self._sock = sock
        self._file = sock.makefile("rb")
        self.hung_up = threading.Event()
        head = []
        while line := self._file.readline().strip():
            head.append(line.decode())
        self.request = head[0] if head else ""
        fields = [field.split(": ", 1) for field in head[1:]]
        self.headers = {name.lower(): value for name, value in fields}

    def accept(self, key=None):
        key = (key or self.headers["sec-websocket-key"]) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accepted = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accepted}\r\n\r\n"
        self._sock.sendall(head.encode())

    def refuse(self, status, body):
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        self._sock.sendall(head.encode() + data)

    def frame(self, first, payload):
        n = len(payload)
        length = bytes([n]) if n < 126 else struct.pack(">BH", 126, n) if n < 1 << 16 else struct.pack(">BQ", 127, n)
        self._sock.sendall(bytes([first]) + length + payload)

    def send(self, kind, data):
        self.frame(0x81, json.dumps({"type": kind, "data": data}).encode())

    def read(self):
        """A frame: opcode and payload."""
        head = self._file.read(2)
        if not head:
            raise ConnectionError("the client has hung up")
        first, second = head
        assert first & 0x70 == 0 and first & 0x80 and second & 0x80, "not final, or not masked"
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(self._file.read(2 if length == 126 else 8), "big")
        mask, payload = self._file.read(4), bytearray(self._file.read(length))
        for i in range(4):
            payload[i::4] = payload[i::4].translate(bytes(byte ^ mask[i] for byte in range(256)))
        return first & 15, bytes(payload)

    def next(self):
        """A message."""
        kind, payload = self.read()
        assert kind == 1, kind
        return json.loads(payload)

    def input(self):
        return base64.b64decode(self.next()["data"])


class Talks:
    """Each connection takes the next of talks, the last one for ever. When it returns, the connection is read to its end, and then closed."""

    def __init__(self, *talks):
        self.talks = talks
        self.seen = []
        self.failures = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d/prefix" % self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        try:
            self._server.shutdown(socket.SHUT_RDWR)  # wakes accept
        except OSError:
            pass
        self._server.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            sock.settimeout(HANG)
            talk = Talk(sock)
            self.seen.append(talk)
            try:
                if self.talks[min(len(self.seen), len(self.talks)) - 1](talk) != "hang up":
                    while talk._file.read(1 << 16):
                        pass
            except ConnectionError:
                pass
            except Exception as failure:
                self.failures.append(failure)
            talk._file.close()
            talk.hung_up.set()
