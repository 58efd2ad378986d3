"""Turn the bytes of a Python file into the UTF-8 text that :mod:`ast` counts in, by Python's own rules.

``ast`` gives columns in bytes of the UTF-8 form of the decoded source, without a byte order mark. For a UTF-8 file
that is the file itself; for one with another coding cookie (PEP 263) it is the decoded text encoded anew.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from typing import NamedTuple

from rewriter.model import Problem

_NEWLINE = re.compile(rb"\r\n|\r|\n")
_TEXT_REMEDY = "save the file as UTF-8, or name its encoding in a coding cookie"


class Decoded(NamedTuple):
    """Source as ``ast`` sees it. ``utf8``: without byte order mark. ``encoding``: "utf-8-sig" where there is one."""

    utf8: bytes
    encoding: str

    def encode(self, utf8: bytes) -> bytes:
        """Turn edited ``utf8`` into bytes for the file. Raises UnicodeEncodeError where its encoding lacks a letter."""
        return utf8 if self.encoding == "utf-8" else utf8.decode("utf-8").encode(self.encoding)


def decode(data: bytes) -> Decoded | Problem:
    """Decode the bytes of a Python file by :func:`tokenize.detect_encoding`; never raises."""
    if b"\0" in data:
        line = _count_lines(data, data.index(b"\0"))
        return Problem(line, 0, "the file holds a NUL byte", "remove it, or save the file as UTF-8 if it is UTF-16")
    try:
        lines = io.BytesIO(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))  # detect_encoding knows no lone \r
        encoding = tokenize.detect_encoding(lines.readline)[0]
        return Decoded(data if encoding == "utf-8" and data.isascii() else data.decode(encoding).encode(), encoding)
    except UnicodeDecodeError as error:
        found = f"byte 0x{data[error.start]:02x} is not {error.encoding}"
        return Problem(_count_lines(data, error.start), 0, found, _TEXT_REMEDY)
    except (SyntaxError, LookupError, ValueError) as error:
        return Problem(1, 0, f"the file cannot be decoded: {error}", _TEXT_REMEDY)


def parse(source: Decoded) -> ast.Module | Problem:
    """``ast.parse`` that neither raises nor prints warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes: none of our business
            # A str is parsed whatever its cookie says; bytes are read by it, and are the cheaper of the two.
            return ast.parse(source.utf8 if source.encoding == "utf-8" else source.utf8.decode("utf-8"))
    except SyntaxError as error:
        found = f"the file is not Python: {error.msg}"
        column = max((error.offset or 1) - 1, 0)
        return Problem(error.lineno or 1, column, found, "correct the syntax, or leave the file out")
    except (RecursionError, MemoryError, ValueError):
        return Problem(1, 0, "the file nests brackets or operators too deeply to be read", "leave the file out")


def _count_lines(data: bytes, offset: int) -> int:
    return len(_NEWLINE.findall(data, 0, offset)) + 1
