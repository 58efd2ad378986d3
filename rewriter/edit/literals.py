"""Values as the source of a literal, and the comparison of two literals."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable

from rewriter.edit.elements import EditError

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def write_literal(value: object, quote: str = '"', encoding: str = "utf-8") -> str:
    """The source of a literal: one line, no prefix, nothing in it that Python, mmengine or a terminal would act upon.

    Args:
        value: str, bytes, bool, int, float, None, or a list, tuple, dict or set of these.
        quote: the quote character to prefer; the other is taken where that saves escapes.
        encoding: of the file; letters that it lacks are escaped.

    Raises:
        EditError: the value has no literal (a nan, an object).
    """
    try:
        text = _write_value(value, quote, encoding)
        again = _read_literal(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise EditError(0, f"{value!r:.100} cannot be written as a Python literal") from error
    if not same(again, value):
        raise EditError(0, f"{value!r:.100} cannot be written as a Python literal")
    return text


def is_literal(source: str | ast.expr, value: object) -> bool:
    """Whether ``source`` is a literal of ``value``."""
    try:
        return same(_read_literal(source), value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False


def same(one: object, other: object) -> bool:
    """Whether two literals are the same to a build: equal, and of equal types all the way down (True is not 1)."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return len(one) == len(other) and all(map(same, one, other)) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def _read_literal(source: str | ast.expr) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.literal_eval(source)


def _write_value(value: object, quote: str, encoding: str) -> str:
    if isinstance(value, str):
        return _write_string(value, quote, encoding)
    if isinstance(value, list):
        return "[" + _write_values(value, quote, encoding) + "]"
    if isinstance(value, tuple):
        return "(" + _write_values(value, quote, encoding) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, set) and value:
        return "{" + _write_values(sorted(value, key=repr), quote, encoding) + "}"
    if isinstance(value, dict):
        pairs = (f"{_write_value(k, quote, encoding)}: {_write_value(v, quote, encoding)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    return repr(value)


def _write_values(values: Iterable[object], quote: str, encoding: str) -> str:
    return ", ".join(_write_value(value, quote, encoding) for value in values)


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
    if letter.isprintable():
        try:
            if letter.isascii() or letter.encode(encoding).decode(encoding) == letter:
                return letter
        except UnicodeError:
            pass
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
