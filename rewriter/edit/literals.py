"""Values as the source of a literal, and the error of an edit that cannot be made."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable

_ERRORS = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)


class EditError(Exception):
    """An edit that cannot be made. ``line`` is 1-based in the file; 0 where only the caller knows it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def write_literal(value: object, quote: str = '"', encoding: str = "utf-8") -> str:
    """The source of a literal: one line, no prefix, nothing in it that Python, mmengine or a terminal would act upon.

    ``value``: str, bool, int, float, None, or a list, tuple or dict of these; else EditError. ``quote`` is preferred,
    the other one is taken where that saves escapes. Letters that the file's ``encoding`` lacks are escaped.
    """
    try:
        text = _write_value(value, quote, encoding)
    except _ERRORS:
        text = ""
    if not is_literal(text, value):
        raise EditError(0, f"{value!r:.100} cannot be written as a Python literal")
    return text


def is_literal(source: str | ast.expr, value: object) -> bool:
    """Whether ``source`` is a literal of ``value``, types included (True is not 1)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return repr(ast.literal_eval(source)) == repr(value)
    except _ERRORS:
        return False


def _write_value(value: object, quote: str, encoding: str) -> str:
    def join(values: Iterable[object]) -> str:
        return ", ".join(_write_value(each, quote, encoding) for each in values)

    if isinstance(value, str):
        other = "'" if quote == '"' else '"'
        quote = other if quote in value and other not in value else quote
        body = repr('"' + value)[2:-1].replace("\\'", "'").replace(quote, "\\" + quote)  # repr of both escapes the '
        body = body.encode(encoding, "backslashreplace").decode(encoding)
        return quote + body.replace("{{", "{\\x7b") + quote  # mmengine replaces {{ ... }} in the text of a config
    if isinstance(value, list):
        return f"[{join(value)}]"
    if isinstance(value, tuple):
        return f"({join(value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{join([key])}: {join([each])}" for key, each in value.items()) + "}"
    return repr(value)
