"""Turn the bytes of a Python file into the UTF-8 text that :mod:`ast` counts in, by Python's own rules.

``ast`` gives columns in bytes of the UTF-8 form of the decoded source, without a byte order mark. For a UTF-8 file
that is the file itself; for one with another coding cookie (PEP 263) it is the decoded text encoded anew.
"""

from __future__ import annotations

import ast
import codecs
import re
import warnings
from dataclasses import dataclass

from rewriter.model import Problem

MAX_BYTES = 20_000_000

# A coding cookie stands in a comment on line 1, or on line 2 below a blank or comment line (PEP 263).
_COOKIE = rb"(?:[ \t\f]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))??[ \t\f]*#[^\r\n]*?coding[:=][ \t]*([-\w.]+)"
_NEWLINE = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Decoded:
    """Source as ``ast`` sees it. ``utf8``: without byte order mark. ``encoding``: of the file; "utf-8" mostly."""

    utf8: bytes
    encoding: str
    bom: bool

    def encode(self, utf8: bytes) -> bytes:
        """Turn edited ``utf8`` into bytes for the file. Raises UnicodeEncodeError where its encoding lacks a letter."""
        if self.encoding != "utf-8":
            return utf8.decode("utf-8").encode(self.encoding)
        return codecs.BOM_UTF8 + utf8 if self.bom else utf8


def decode(data: bytes) -> Decoded | Problem:
    """Decode the bytes of a Python file; never raises.

    Source of the rules: the language reference, section 2.1.4, and :func:`tokenize.detect_encoding`.
    """
    if len(data) > MAX_BYTES:
        size = len(data) // 1_000_000
        return Problem(
            1, 0, f"the file holds {size} MB", f"leave it out of the run; no more than {MAX_BYTES // 10**6} MB"
        )
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Problem(1, 0, "the file is UTF-16, which Python does not read", "save it as UTF-8")
    if b"\0" in data:
        return Problem(_line(data, data.index(b"\0")), 0, "the file holds a NUL byte", "remove it, or save it as UTF-8")
    bom = data.startswith(codecs.BOM_UTF8)
    if bom:
        data = data[len(codecs.BOM_UTF8) :]
    cookie = re.match(_COOKIE, data) if b"coding" in data else None
    name = cookie.group(1).decode("ascii", "replace") if cookie else "utf-8"
    encoding = _normal(name)
    if bom and encoding != "utf-8":
        return Problem(1, 0, f"a UTF-8 byte order mark stands before the cookie {name!r}", "remove one of the two")
    try:
        if not data.isascii() or encoding != "utf-8":
            text = data.decode(encoding)
            if encoding != "utf-8":
                data = text.encode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{data[error.start]:02x} is not {name}"
        return Problem(_line(data, error.start), 0, found, "save the file as UTF-8, or name its encoding in a cookie")
    except UnicodeEncodeError:
        return Problem(1, 0, f"what {name} decodes to is not text", "save the file as UTF-8")
    except (LookupError, ValueError):
        return Problem(
            1, 0, f"the encoding {name!r} is unknown", "correct the coding cookie, or save the file as UTF-8"
        )
    return Decoded(data, encoding, bom)


def parse(source: Decoded) -> ast.Module | Problem:
    """``ast.parse`` that neither raises nor prints warnings."""
    # A str is parsed whatever its cookie says; bytes are read by it, and are the cheaper of the two.
    return parse_text(source.utf8 if source.encoding == "utf-8" else source.utf8.decode("utf-8"))


def parse_text(text: bytes | str) -> ast.Module | Problem:
    """The same for what has been decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes: none of our business
            return ast.parse(text)
    except (SyntaxError, ValueError) as error:  # ValueError: a NUL, in older Pythons
        line, offset = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        found = f"the file is not Python: {getattr(error, 'msg', error)}"
        return Problem(line, max(offset - 1, 0), found, "correct the syntax, or leave the file out")
    except (RecursionError, MemoryError):
        return Problem(1, 0, "the file nests brackets or operators too deeply to be read", "leave the file out")


def _normal(name: str) -> str:
    start = name[:12].lower().replace("_", "-")
    if start == "utf-8" or start.startswith("utf-8-"):
        return "utf-8"
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return name
    return "utf-8" if found == "utf-8" else name


def _line(data: bytes, offset: int) -> int:
    return len(_NEWLINE.findall(data, 0, offset)) + 1
