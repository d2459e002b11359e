"""What a call is and what each outcome means: shared by both clients, without any I/O."""

from __future__ import annotations

import base64
import email.message
import email.utils
import json
import os
import random
import ssl
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from .errors import RunToolsConnectionError, RunToolsError, RunToolsTimeoutError
from .request import Content, encode_request
from .version import VERSION

DEFAULT_URL = "http://127.0.0.1:8080"
# A compile, a run and a wait in the queue may each take minutes. Seconds.
DEFAULT_TIMEOUT = 600.0
# A busy server refuses for seconds, not for minutes: these waits make about four seconds together.
DEFAULT_RETRIES = 3

# The first wait, seconds. Each further one is twice as long, up to the longest.
FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0
# Who is told to wait longer than this is better off with the error. Seconds.
LONGEST_RETRY_AFTER = 60.0
# How much of an answer that is not the API's is quoted: an HTML page can be long.
MAX_EXCERPT = 200
# A kept connection is used again until it has been idle so long, seconds. The server closes its side after two minutes, and a
# request that meets the close may not be sent twice.
MAX_IDLE = 60.0
# A WebSocket that is silent for so long, seconds, is dead: the server sends a ping every three.
SILENCE = 60.0
# How much input goes into one message, bytes. The server takes more, but a signal waits behind it.
MOST_INPUT = 64 << 10


JSON = "application/json"
BYTES = "application/octet-stream"
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Call:
    """One request. idempotent: carrying it out twice is the same as once. accept: what a success is."""

    method: str
    path: str
    body: Optional[bytes]
    idempotent: bool
    request_id: Optional[str]
    content_type: str = JSON
    accept: str = JSON
    byte_range: Optional[str] = None
    headers: Mapping[str, str] = field(default_factory=dict)  # besides those of every call


@dataclass(frozen=True)
class CallOptions:
    """What each call can be told: instead of the client's, for this one. None is the client's."""

    timeout: Optional[float]
    max_retries: Optional[int]
    request_id: Optional[str]


def split(arguments: Dict[str, Any]) -> Tuple[Dict[str, Any], CallOptions]:
    """The arguments of a method of many, locals() at its beginning, as what is sent and what is ours."""
    fields = {name: value for name, value in arguments.items() if name != "self"}
    return fields, CallOptions(fields.pop("timeout", None), fields.pop("max_retries", None), fields.pop("request_id"))


def execute_call(fields: Dict[str, Any], request_id: Optional[str], accept: str = JSON) -> Call:
    return Call("POST", "/v1/execute", encode_request(**fields), idempotent=False, request_id=request_id, accept=accept)


def start_call(fields: Dict[str, Any], request_id: Optional[str]) -> Call:
    return Call("POST", "/v1/executions", encode_request(**fields), idempotent=False, request_id=request_id)


def socket_call(headers: Mapping[str, str], request_id: Optional[str]) -> Call:
    """Opening a WebSocket runs nothing yet."""
    return Call("GET", "/v1/execute/ws", None, idempotent=True, request_id=request_id, headers=headers)


def input_messages(data: Content) -> Iterator[str]:
    raw = data.encode() if isinstance(data, str) else bytes(data)
    for i in range(0, len(raw), MOST_INPUT):
        encoded = base64.b64encode(raw[i : i + MOST_INPUT]).decode("ascii")
        yield json.dumps({"type": "stdin", "data": encoded, "encoding": "base64"})


def execution_path(id: str) -> str:
    return "/v1/executions/" + urllib.parse.quote(id, safe="")


def runtimes_call(request_id: Optional[str]) -> Call:
    return Call("GET", "/v1/execute/runtimes", None, idempotent=True, request_id=request_id)


def session_path(id: str) -> str:
    return "/v1/sessions/" + urllib.parse.quote(id, safe="")


def file_path(id: str, path: str) -> str:
    """What stands between resolves `..` in a URL: it would lead from the file to the session itself."""
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"path {path!r}: want a relative one without empty parts, '.' and '..'")
    return f"{session_path(id)}/files/{urllib.parse.quote(path)}"


def get_file_call(id: str, path: str, offset: int, length: Optional[int], request_id: Optional[str]) -> Call:
    if not 0 <= offset < 1 << 62 or (length is not None and not 1 <= length < 1 << 62):  # a range that is no number the server would ignore
        raise ValueError(f"part of {path!r}: want an offset of at least 0 and a length of at least 1, each below 2**62")
    byte_range = None
    if offset > 0 or length is not None:
        byte_range = f"bytes={offset}-" if length is None else f"bytes={offset}-{offset + length - 1}"
    return Call("GET", file_path(id, path), None, idempotent=True, request_id=request_id, accept=BYTES, byte_range=byte_range)


def new_session_id() -> str:
    """The server names a session only when a program ran. An id belongs to its key: it need not be secret, only another each time."""
    return f"py-{uuid.uuid4()}"


def refuse_session_fields(fields: Dict[str, Any]) -> None:
    for name in ("session_id", "ephemeral", "tests", "stop_on_failure", "repeat"):
        if fields.get(name) is not None:
            raise TypeError(f"{name}: a session has its own, and tests and repeated runs have none; use the client's execute")


def not_begun() -> RunToolsError:
    return RunToolsError("the session has not begun: execute a program in it, or put a file", code="not_found")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: email.message.Message
    body: bytes


class Settings:
    """Where the server is, how to identify to it, and what every call is told unless it says otherwise."""

    def __init__(
        self,
        api_key: Optional[str],
        base_url: Optional[str],
        timeout: Optional[float],
        max_retries: int,
        ssl_context: Optional[ssl.SSLContext],
    ) -> None:
        # An empty variable counts as not set.
        api_key = api_key or os.environ.get("RUNTOOLS_API_KEY")
        if not api_key:
            raise RunToolsError("no API key: pass api_key, or set RUNTOOLS_API_KEY", code="unauthorized")
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ValueError("api_key must be ASCII without white space")
        self.api_key = api_key
        self.base_url = (base_url or os.environ.get("RUNTOOLS_URL") or DEFAULT_URL).rstrip("/")
        url = urllib.parse.urlsplit(self.base_url)
        try:
            port = url.port
        except ValueError:
            port = -1
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or url.username is not None or port == -1:
            raise ValueError(f"base_url {self.base_url!r}: want http://host:port or https://host:port, without query, fragment and user")
        self.host = url.hostname
        self.tls = url.scheme == "https"
        self.port = port or (443 if self.tls else 80)
        self.host_header = url.netloc
        self.prefix = url.path
        self.ssl_context = (ssl_context or ssl.create_default_context()) if self.tls else None
        self.timeout = timeout
        self.max_retries = max_retries

    def headers(self, call: Call) -> Dict[str, str]:
        headers = {
            "Host": self.host_header,
            "Accept": call.accept,
            "Authorization": f"Bearer {self.api_key}",
            "User-Agent": f"runtools-python/{VERSION}",
        }
        if call.body is not None:
            headers["Content-Type"] = call.content_type
            headers["Content-Length"] = str(len(call.body))
        if call.byte_range is not None:
            headers["Range"] = call.byte_range
        if call.request_id is not None:
            headers["X-Request-Id"] = call.request_id
        headers.update(call.headers)
        return headers


class Attempts:
    """Counts the attempts of one call and decides what follows each."""

    def __init__(self, settings: Settings, call: Call, options: CallOptions) -> None:
        if call.request_id is not None and not (call.request_id.isascii() and call.request_id.isprintable()):
            raise ValueError(f"request_id {call.request_id!r}: want 1 to 64 of A-Z a-z 0-9 . _ -")
        self.settings = settings
        self.call = call
        self.timeout = settings.timeout if options.timeout is None else options.timeout
        self.give_up = None if self.timeout is None else time.monotonic() + self.timeout
        self.left = settings.max_retries if options.max_retries is None else options.max_retries
        self.wait = FIRST_WAIT

    def remaining(self) -> Optional[float]:
        """Seconds until the call is given up, or None for never. Raises when they are over."""
        if self.give_up is None:
            return None
        seconds = self.give_up - time.monotonic()
        if seconds <= 0:
            raise self.timed_out()
        return seconds

    def wait_before_next(self, error: RunToolsError) -> float:
        """Seconds to wait before the next attempt. Raises the error if there must be none.

        A request is sent again only if it is certain that nothing ran, for the program may have had effects; or if it makes
        no difference.
        """
        passing = isinstance(error, RunToolsConnectionError) or error.status in (429, 502, 503, 504)
        asked = error.retry_after or 0.0
        if error.may_have_run or not passing or self.left <= 0 or asked > LONGEST_RETRY_AFTER:
            raise error
        # Never earlier than asked; and not all at one moment, or they would be refused together again.
        wait = max(asked, min(self.wait, LONGEST_WAIT)) * (1 + random.random() / 4)
        if self.give_up is not None and time.monotonic() + wait > self.give_up:
            raise error
        self.left -= 1
        self.wait *= 2
        return wait

    def timed_out(self) -> RunToolsTimeoutError:
        return RunToolsTimeoutError(
            f"no answer within {self.timeout} s; the program, if it ran, was killed (argument: timeout)",
            code="timeout",
            request_id=self.call.request_id,
            may_have_run=not self.call.idempotent,
        )

    def not_connected(self, error: Exception) -> RunToolsConnectionError:
        return RunToolsConnectionError(
            f"cannot reach {self.settings.base_url}: {error} (is the server running? argument: base_url, or RUNTOOLS_URL)",
            code="connection_failed",
            request_id=self.call.request_id,
        )

    def lost(self, error: Exception) -> RunToolsConnectionError:
        return RunToolsConnectionError(
            f"the connection to {self.settings.base_url} failed before the answer was there: {error or type(error).__name__}",
            code="connection_failed",
            request_id=self.call.request_id,
            may_have_run=not self.call.idempotent,
        )

    def understand(self, answer: Answer) -> Any:
        """The JSON or the bytes of a success, or None if it has no content. Raises what the answer says otherwise."""
        if answer.status == 204:
            return None
        if self.call.accept != JSON and answer.status in (200, 206) and answer.headers.get_content_type() == self.call.accept:
            return answer.body
        if self.call.byte_range is not None and answer.status == 416:  # behind the end
            return b""
        try:
            body = json.loads(answer.body)
        except ValueError:
            body = None
        if self.call.accept == JSON and answer.status in (200, 202) and isinstance(body, (dict, list)):
            return body
        error = body.get("error") if isinstance(body, dict) else None
        if isinstance(error, dict) and "code" in error and "message" in error:
            raise self._refused(answer, error)
        raise self._unexpected(answer)

    def no_socket(self, answer: Answer) -> RunToolsError:
        """What an answer says that opens no WebSocket. Raises it, mostly."""
        self.understand(answer)
        return self._unexpected(answer)

    def begun(self) -> None:
        """From here on the program may have run."""
        self.call = replace(self.call, idempotent=False)

    def _refused(self, answer: Answer, error: Dict[str, str]) -> RunToolsError:
        code, request_id = error["code"], error.get("request_id")
        return RunToolsError(
            f"{error['message']} ({code}, request {request_id})",
            code=code,
            status=answer.status,
            field=error.get("field"),
            request_id=request_id,
            retry_after=_retry_after(answer),
            may_have_run=not self.call.idempotent and answer.status > 499 and code != "overloaded",
        )

    def _unexpected(self, answer: Answer) -> RunToolsError:
        location = answer.headers.get("Location")
        redirect = f" (redirect to {location})" if location else ""
        text = answer.body[: MAX_EXCERPT + 1].decode("utf-8", "replace")
        excerpt = ascii(text if len(text) <= MAX_EXCERPT else text[:MAX_EXCERPT] + "...")
        return RunToolsError(
            f"{self.settings.base_url}{self.call.path} answered {answer.status}{redirect}, and not as the API does (check base_url): {excerpt}",
            code="unexpected_answer",
            status=answer.status,
            request_id=answer.headers.get("X-Request-Id"),
            retry_after=_retry_after(answer),
            may_have_run=not self.call.idempotent and (answer.status == 200 or answer.status > 499),
        )


def _retry_after(answer: Answer) -> Optional[float]:
    """Retry-After in seconds: it is seconds, or a date."""
    header = answer.headers.get("Retry-After")
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max(email.utils.parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None
