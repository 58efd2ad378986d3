"""Parse the bytes of a Python file: plain UTF-8, so that :mod:`ast` counts its columns in the bytes of the file."""

from __future__ import annotations

import ast
import codecs
import io
import tokenize
import warnings

from rewriter.model import Problem


def parse(data: bytes) -> ast.Module | Problem:
    """The tree of a file, or why there is none; neither raises nor prints warnings."""
    try:
        data.decode()
        encoding = "utf-8"
        if b"coding" in data or data.startswith(codecs.BOM_UTF8):  # else nothing can name another one
            encoding = codecs.lookup(tokenize.detect_encoding(io.BytesIO(data).readline)[0]).name
        if encoding != "utf-8" or b"\0" in data:
            found = "holds a NUL byte" if b"\0" in data else f"is {encoding}"
            return Problem(1, 0, f"the file {found}, not plain UTF-8", "save the file as UTF-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes: none of our business
            return ast.parse(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Problem(line, 0, f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8")
    except SyntaxError as error:
        column = max((error.offset or 1) - 1, 0)
        return Problem(error.lineno or 1, column, f"the file is not Python: {error.msg}", "correct it, or leave it out")
    except (RecursionError, MemoryError, ValueError):
        return Problem(1, 0, "the file nests brackets or operators too deeply to be read", "leave the file out")
