"""Values as the source of a literal, and the error of an edit that cannot be made."""

from __future__ import annotations

import ast
from contextlib import suppress


class EditError(Exception):
    """An edit that cannot be made. ``line`` is 1-based in the file; 0 where only the caller knows it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


def write_literal(value: object, quote: str = '"') -> str:
    """The source of a literal: one line, no prefix, nothing in it that Python, mmengine or a terminal would act upon.

    ``value``: a string, which gets ``quote``, or anything else that :func:`ast.literal_eval` reads; else EditError.
    """
    with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        text = repr(value)
        if isinstance(value, str):
            body = repr('"' + value)[2:-1].replace("\\'", "'")  # repr escapes ' where there is a "
            text = quote + body.replace(quote, "\\" + quote) + quote
        text = text.replace("{{", "{\\x7b")  # mmengine replaces {{ ... }} in the text of a config
        if repr(ast.literal_eval(text)) == repr(value):
            return text
    raise EditError(0, f"{value!r:.100} cannot be written as a Python literal")
