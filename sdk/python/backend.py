"""Builds the package for pip, by the one hook of PEP 517 that an installation calls; there is no source distribution. It needs nothing but Python, so that `pip install` of this folder works without a network."""

import base64
import hashlib
import pathlib
import re
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
VERSION = re.search(r'VERSION = "(.+)"', (HERE / "runtools/version.py").read_text(encoding="utf-8")).group(1)
METADATA = f"""\
Metadata-Version: 2.1
Name: runtools
Version: {VERSION}
Summary: Client of the runtools Code Execution API: run untrusted code in 11 languages, each program in a sandbox of its own.
License: Apache-2.0
Keywords: code execution,sandbox,code interpreter,runtools
Requires-Python: >=3.9
Description-Content-Type: text/markdown

"""
WHEEL = "Wheel-Version: 1.0\nGenerator: runtools\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Writes the wheel, a zip of the modules and of what says what they are, and returns its name."""
    info = f"runtools-{VERSION}.dist-info"
    package = HERE / "runtools"
    files = {f"runtools/{path.name}": path.read_bytes() for path in sorted(package.iterdir()) if path.suffix == ".py" or path.name == "py.typed"}
    files[f"{info}/METADATA"] = (METADATA + (HERE / "README.md").read_text(encoding="utf-8")).encode()
    files[f"{info}/WHEEL"] = WHEEL.encode()
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    name = f"runtools-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
    return name


def _digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
