from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Mapping, Optional, Union

Content = Union[str, bytes]


@dataclass(frozen=True)
class File:
    """One file of a program.

    - `name`: relative path, with `/` between folders: `"pkg/util.py"`.
    - `content`: text, or bytes, which travel as base64.
    """

    name: str
    content: Content


Files = Union[Mapping[str, Content], Iterable[File]]


def encode_request(
    *,
    files: Optional[Files],
    stdin: Optional[Content],
    **fields: Any,
) -> bytes:
    """The JSON body for the arguments of execute, whose names are those of the API. None stands for what is not sent."""
    body: Dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if body.get("args") is not None:
        if isinstance(body["args"], (str, bytes)):
            raise TypeError("args: want a list of strings, not one string")
        body["args"] = list(body["args"])
    if body.get("env") is not None:
        body["env"] = dict(body["env"])
    if files is not None:
        pairs = files.items() if isinstance(files, Mapping) else ((file.name, file.content) for file in files)
        body["files"] = [{"name": name, **_content(content, "content", "encoding")} for name, content in pairs]
    if stdin is not None:
        body.update(_content(stdin, "stdin", "stdin_encoding"))
    # A lone surrogate has no UTF-8 form. Escaped it reaches the server, which says which field has it.
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def _content(content: Content, name: str, encoding: str) -> Dict[str, str]:
    if isinstance(content, str):
        return {name: content}
    return {name: base64.b64encode(content).decode("ascii"), encoding: "base64"}
