from __future__ import annotations

import base64
import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Literal, Mapping, Optional, Sequence, Union

Content = Union[str, bytes]


@dataclass(frozen=True)
class File:
    """One file of a program.

    - `name`: relative path, with `/` between folders: `"pkg/util.py"`.
    - `content`: text, or bytes, which travel as base64.
    """

    name: str
    content: Content


@dataclass(frozen=True)
class Test:
    """An input of a program, and what it is to answer.

    - `stdin`: text or bytes. Default: empty.
    - `args`: instead of the request's.
    - `files`: added to the request's; one of the same name replaces it.
    - `expected_stdout`: without it a program that ends well is accepted.
    - `checker`: `"tokens"`, the same words whatever space is between them, which is the default; `"exact"`; or `"floats"`, tokens where two
      numbers may differ by `tolerance`.
    - `tolerance`: absolute, or relative to the expected number. Default 0.000001.
    """

    __test__ = False  # no test case of pytest's

    stdin: Optional[Content] = None
    args: Optional[Sequence[str]] = None
    files: Optional[Files] = None
    expected_stdout: Optional[str] = None
    checker: Optional[Literal["tokens", "exact", "floats"]] = None
    tolerance: Optional[float] = None


@dataclass(frozen=True)
class Webhook:
    """Where the server sends the result of an execution, signed as Standard Webhooks says, if its operator allows the host of `url`.

    - `secret`: `whsec_` and 24 to 64 random bytes in base64.
    """

    url: str
    secret: str = field(repr=False)


Files = Union[Mapping[str, Content], Iterable[File]]


def encode_request(*, tests: Optional[Iterable[Test]] = None, **fields: Any) -> bytes:
    """The JSON body for the arguments of execute, whose names are those of the API. None stands for what is not sent."""
    body = _program(fields)
    if body.get("env") is not None:
        body["env"] = dict(body["env"])
    if body.get("pty") is not None:
        body["pty"] = dict(zip(("cols", "rows"), body["pty"]))
    if body.get("webhook") is not None:
        body["webhook"] = dataclasses.asdict(body["webhook"])
    if tests is not None:
        body["tests"] = [_program({part.name: getattr(test, part.name) for part in dataclasses.fields(test)}) for test in tests]
    # A lone surrogate has no UTF-8 form. Escaped it reaches the server, which says which field has it.
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def _program(fields: Dict[str, Any]) -> Dict[str, Any]:
    """What a request and a test have alike: arguments, files, input."""
    body: Dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    for name in ("args", "artifacts"):
        if name in body:
            if isinstance(body[name], (str, bytes)):
                raise TypeError(f"{name}: want a list of strings, not one string")
            body[name] = list(body[name])
    files = body.get("files")
    if files is not None:
        pairs = files.items() if isinstance(files, Mapping) else ((file.name, file.content) for file in files)
        body["files"] = [{"name": name, **_content(content, "content", "encoding")} for name, content in pairs]
    if "stdin" in body:
        body.update(_content(body["stdin"], "stdin", "stdin_encoding"))
    return body


def _content(content: Content, name: str, encoding: str) -> Dict[str, str]:
    if isinstance(content, str):
        return {name: content}
    return {name: base64.b64encode(content).decode("ascii"), encoding: "base64"}
