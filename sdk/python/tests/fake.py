"""A server that answers as each test tells it, and remembers what it was asked."""

import http.server
import json
import sys
import threading

# A hang guard, seconds.
HANG = 180.0

# The answer of a program that printed 42.
PRINTED_42 = {
    "language": "python",
    "version": "3.13.5",
    "session_id": "s-1",
    "run": {
        "stdout": "42\n",
        "stderr": "",
        "code": 0,
        "signal": None,
        "time_ms": 12.1,
        "cpu_time_ms": 11,
        "memory_kb": 9088,
        "status": "OK",
        "message": None,
        "limit": None,
    },
}

HANG_UP = "close"  # the connection, without a word
WAIT = "wait"  # until the client hangs up


def answer(body, status=200, **headers):
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


def events(*pairs, cut=False):
    """An answer of events, each a name and what is JSON. cut: it ends too early."""
    text = b": a comment\n\n" + b"".join(b"event: %s\ndata: %s\n\n" % (name.encode(), json.dumps(data).encode()) for name, data in pairs)
    return answer(text, Content_Type="text/event-stream", **{"Content-Length": "9999"} if cut else {"Transfer-Encoding": "chunked"})


def refusal(status, code, field=None, **headers):
    error = {"code": code, "message": f"this is {code}", "request_id": "r-1"}
    if field:
        error["field"] = field
    return answer({"error": error}, status, **headers)


class Request:
    def __init__(self, handler, body):
        self.method = handler.command
        self.path = handler.path
        self.headers = handler.headers
        self.raw = body
        self.body = json.loads(body) if body and handler.headers["Content-Type"] == "application/json" else None
        self.port = handler.client_address[1]  # tells connections apart
        self.hung_up = threading.Event()


class Fake:
    """Each request takes the next of answers, the last one for ever; one that can be called is given the request."""

    def __init__(self, *answers):
        self.answers = answers
        self.requests = []
        self.closed = []  # connections
        self._arrived = threading.Condition()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                fake._serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def shutdown_request(self, connection):
                super().shutdown_request(connection)
                with fake._arrived:
                    fake.closed.append(connection)
                    fake._arrived.notify_all()

            def handle_error(self, connection, address):
                if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may hang up without ceremony
                    super().handle_error(connection, address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, n, what="requests"):
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(getattr(self, what)) >= n, HANG):
                raise AssertionError(f"{what}: {len(getattr(self, what))}, want {n}")

    def _serve(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        request = Request(handler, body)
        with self._arrived:
            self.requests.append(request)
            reply = self.answers[min(len(self.requests), len(self.answers)) - 1]
            self._arrived.notify_all()
        if callable(reply):
            reply = reply(request)
        if reply == WAIT:
            handler.rfile.read(1)  # returns when the client has closed
            request.hung_up.set()
        if reply in (WAIT, HANG_UP):
            handler.close_connection = True
            return
        status, headers, content = reply
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status == 204:
            handler.end_headers()
        elif headers.get("Transfer-Encoding") == "chunked":
            handler.end_headers()
            for part in (data[:3], data[3:]):
                handler.wfile.write(b"%x;x=y\r\n%s\r\n" % (len(part), part))
            handler.wfile.write(b"0\r\nTrailer: t\r\n\r\n")
        else:
            if "Content-Length" not in headers and headers.get("Connection") != "close":
                handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
            handler.close_connection = headers.get("Connection") == "close" or "Content-Length" in headers
