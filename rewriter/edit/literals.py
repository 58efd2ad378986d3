"""Values as the source of a literal, the comparison of two literals, and the error of an edit that cannot be made."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ERRORS = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)


class EditError(Exception):
    """An edit that cannot be made. ``line`` is 1-based in the file; 0 where only the caller knows it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def write_literal(value: object, quote: str = '"', encoding: str = "utf-8") -> str:
    """The source of a literal: one line, no prefix, nothing in it that Python, mmengine or a terminal would act upon.

    Args:
        value: str, bool, int, float, None, or a list, tuple or dict of these.
        quote: the quote character to prefer; the other is taken where that saves escapes.
        encoding: of the file; letters that it lacks are escaped.

    Raises:
        EditError: the value has no literal (a nan, an object).
    """
    try:
        text = _write_value(value, quote, encoding)
    except _ERRORS:
        text = ""
    if not is_literal(text, value):
        raise EditError(0, f"{value!r:.100} cannot be written as a Python literal")
    return text


def is_literal(source: str | ast.expr, value: object) -> bool:
    """Whether ``source`` is a literal of ``value``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return same(ast.literal_eval(source), value)
    except _ERRORS:
        return False


def same(one: object, other: object) -> bool:
    """Whether two literals are the same to a build: equal, and of equal types all the way down (True is not 1)."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return same([*one.items()], [*other.items()])
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def _write_value(value: object, quote: str, encoding: str) -> str:
    def join(values: Iterable[object]) -> str:
        return ", ".join(_write_value(each, quote, encoding) for each in values)

    if isinstance(value, str):
        return _write_string(value, quote, encoding)
    if isinstance(value, list):
        return f"[{join(value)}]"
    if isinstance(value, tuple):
        return f"({join(value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{join([key])}: {join([each])}" for key, each in value.items()) + "}"
    return repr(value)


def _write_string(value: str, quote: str, encoding: str) -> str:
    other = "'" if quote == '"' else '"'
    if quote in value and other not in value:
        quote = other
    body = "".join(_write_letter(letter, quote, encoding) for letter in value)
    # mmengine replaces {{ ... }} in the text of a config before it runs it.
    return quote + body.replace("{{", "{\\x7b") + quote


def _write_letter(letter: str, quote: str, encoding: str) -> str:
    if letter == quote:
        return "\\" + quote
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    # An encoding may take a letter and give another one back.
    if letter.isprintable() and letter.encode(encoding, "ignore").decode(encoding, "ignore") == letter:
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
