"""Writes the client without asyncio: each runtools/async_NAME.py is the source of runtools/NAME.py. `make docs` runs it.

The two differ in nothing but words: what waits, and the module that does the I/O.
"""

import pathlib
import re
import sys

WORDS = (
    (r"async (with|for|def)\b", r"\1"),
    (r"\bawait ", ""),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
    (r"__aiter__", "__iter__"),
    (r"__anext__", "__next__"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\benter_async_context\b", "enter_context"),
    (r"\bpush_async_callback\b", "callback"),
    (r"\baclose\b", "close"),
    (r"\bAsync(RunTools|Session|SessionFiles|Executor|Generator|Interactive|ExitStack)\b", r"\1"),
    (r"\bGenerator\[Event, None\]", "Generator[Event, None, None]"),
    (r"\basync_(client|session|executor|interactive)\b", r"\1"),
    (r"\bStreams\b", "Connections"),
    (r"\b(_?)streams\b", r"\1connections"),
)


def sync_twin(source):
    for pattern, replacement in WORDS:
        source = re.sub(pattern, replacement, source)
    return source


for path in sorted((pathlib.Path(__file__).parent / "runtools").glob("async_*.py")):
    source = path.read_text(encoding="utf-8")
    twin = path.with_name(path.name[len("async_") :])
    made = f"# Made of {path.name} by unasync.py: change that.\n" + sync_twin(source)
    if sys.argv[1:] == ["--check"]:
        if twin.read_text(encoding="utf-8") != made:
            sys.exit(f"{twin.name} is not what unasync.py makes of {path.name}: run `make docs`")
    else:
        twin.write_text(made, encoding="utf-8")
