"""What happens while a program runs, from server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Iterator, List, Literal, Optional, Tuple, Union

from .errors import RunToolsError, told_error
from .result import ExecuteResult, Stage, Status, TestResult, decode_result, decode_stage, decode_test


@dataclass(frozen=True)
class CompileEvent:
    """The compilation has ended; its output comes with it."""

    compile: Stage
    type: Literal["compile"] = "compile"


@dataclass(frozen=True)
class OutputEvent:
    """What the program wrote since the last one: `text`, no character cut in two, and `data`, the exact bytes."""

    type: Literal["stdout", "stderr"]
    text: str
    data: bytes


@dataclass(frozen=True)
class ExitEvent:
    """The program has ended: `code` or `signal`, the other one None, and `status` as in `Stage`."""

    code: Optional[int]
    signal: Optional[str]
    status: Status
    type: Literal["exit"] = "exit"


@dataclass(frozen=True)
class TestEvent:
    """A test has ended; in the order in which they end. `index` counts from 0."""

    __test__ = False  # no test case of pytest's

    index: int
    test: TestResult
    type: Literal["test"] = "test"


@dataclass(frozen=True)
class ResultEvent:
    """The last one: all that `execute` returns."""

    result: ExecuteResult
    type: Literal["result"] = "result"


Event = Union[CompileEvent, OutputEvent, ExitEvent, TestEvent, ResultEvent]


class EventParser:
    """Takes the bytes as they come. The server writes one line of data an event."""

    def __init__(self) -> None:
        self._rest: List[bytes] = []  # parts of a line that has not ended: the last event may come in hundreds
        self._name = self._data = ""

    def push(self, chunk: bytes) -> Iterator[Tuple[str, str]]:
        if b"\n" not in chunk:
            self._rest.append(chunk)
            return
        *lines, rest = b"".join([*self._rest, chunk]).split(b"\n")
        self._rest = [rest]
        for line in lines:
            field, _, value = line.rstrip(b"\r").decode("utf-8", "replace").partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "event":
                self._name = value
            elif field == "data":
                self._data = value
            elif not line.strip() and self._data:
                yield self._name, self._data
                self._name = self._data = ""


def decode_event(name: str, data: str, begun: bool) -> Optional[Event]:
    """None for a kind that the server learned later. Raises what an error event says. begun: there were events before, so that some of it ran."""
    try:
        values: Any = json.loads(data)
    except ValueError as error:
        raise RunToolsError("an event is not JSON (check base_url)", code="unexpected_answer", status=200, may_have_run=True) from error
    return _event(name, values, begun)


def decode_message(text: str, begun: bool) -> Optional[Event]:
    """The same for a message of a WebSocket, which has name and data in it."""
    try:
        message = json.loads(text)
        name, values = message["type"], message["data"]
    except (ValueError, TypeError, KeyError) as error:
        raise RunToolsError("a message is not the API's (check base_url)", code="unexpected_answer", may_have_run=True) from error
    return _event(name, values, begun)


def _event(name: str, values: Any, begun: bool) -> Optional[Event]:
    if name == "compile":
        return CompileEvent(decode_stage(values))
    if name == "stdout" or name == "stderr":
        text, encoded = values["text"], values.get("text_base64")
        return OutputEvent(name, text, text.encode() if encoded is None else base64.b64decode(encoded))
    if name == "exit":
        return ExitEvent(values["code"], values["signal"], values["status"])
    if name == "test":
        return TestEvent(values["index"], decode_test(values["test"]))
    if name == "result":
        return ResultEvent(decode_result(values))
    if name == "error":
        error = values["error"]
        raise told_error(error, may_have_run=begun or error["code"] not in ("overloaded", "rate_limited"))
    return None
