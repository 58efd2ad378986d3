"""Make the changes of a config or of a loader's source: bytes in, bytes out, nothing else touched.

Each change replaces one piece of the file: a call, a dict, a value, the header of a function or an ``if``. libcst
parses that piece alone, and it is proved before it is put in the place of the old one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import libcst as cst

from rewriter.decoding import parse
from rewriter.edit.elements import PieceTransformer
from rewriter.edit.literals import EditError, write_literal
from rewriter.edit.proof import is_proved
from rewriter.model import REMOVE, ConfigChange, Problem, SourceChange
from rewriter.read.configs import find_values

_AFTER = ("from_pretrained", "type")
"""A new keyword of a config goes behind the first of these that is there."""
_UNPROVED = "the new code would not say what was requested"


def edit_config(data: bytes, changes: Sequence[ConfigChange]) -> bytes:
    """The config file ``data`` with ``changes`` made; their components were read from it. EditError: with the line.

    A value that is there is replaced; a new keyword goes after ``from_pretrained``, else after ``type``, else last, in
    the style around it. Removing gives back, to the byte, what an earlier call added to.
    """
    requested = []
    find = cache(lambda: find_values(data))
    for component, key, value in changes:
        replaces = key in component.keywords and value is not REMOVE
        span = find()[component.span, key] if replaces else component.span
        requested.append(SourceChange("", "value" if replaces else "keyword", span, key, default=value))
    return edit_loader(data, requested)


def edit_loader(data: bytes, changes: Sequence[SourceChange]) -> bytes:
    """The source file ``data`` with ``changes`` made; every byte between the pieces that they replace stays.

    Their spans are of the old text, also where one lies in another. EditError (with the line) where a change cannot be
    made, or is not proved.
    """
    text = data
    lines = [0, *accumulate(map(len, data.splitlines(keepends=True)))]
    grown: list[tuple[int, int]] = []  # where something was replaced, and by how many bytes it grew
    quote = max('"', "'", key=lambda each: data.count(each.encode()))
    # Later places first, so that earlier ones hold; an inner one before that around it, which then ends further on.
    unique = {(each.span, each.key): each for each in changes}.values()
    for change in sorted(unique, key=lambda each: (-each.span.line, -each.span.column, each.span[2:])):
        line, column, end_line, end_column = change.span
        start, old_end = lines[line - 1] + column, lines[end_line - 1] + end_column
        end = old_end + sum(size for place, size in grown if start <= place < old_end)
        try:
            new = _edit_piece(text[start:end].decode(), change, quote).encode()
        except EditError as error:
            raise EditError(line, error.message) from error
        grown.append((start, len(new) - (end - start)))
        text = text[:start] + new + text[end:]
    if isinstance(parse(text), Problem):
        raise EditError(changes[0].span.line, _UNPROVED)
    return text


def _edit_piece(text: str, change: SourceChange, quote: str) -> str:
    """The new text of a piece."""
    if change.target == "guard":
        return _write_guard(text, change)
    if change.default is REMOVE:
        return _edit_text(text, change.key, "", quote)
    literal = write_literal(change.default, text[0] if text[0] in "'\"" else quote)
    if change.target == "value":
        return change.name or literal
    if change.target == "parameter":
        return _edit_text(text, change.name, literal, quote)
    if change.name:
        return _edit_text(text, change.key, change.name, quote)
    return _edit_text(text, change.key, literal, quote, _AFTER)


@cache
def _edit_text(text: str, key: str, value: str, quote: str, after: tuple[str, ...] = ()) -> str:
    """A call, a dict or the header of a function with ``key=value``, or without ``key`` where ``value`` is ""; proved.

    Many configs share their dicts.
    """
    # The brackets let it run over lines, as it may inside somebody else's brackets.
    opening, closing = ("", "pass") if text.startswith(("def ", "async ")) else ("(", ")")
    try:
        code = cst.parse_module(opening + text + closing).visit(PieceTransformer(key, value, quote, after)).code
    except (cst.ParserSyntaxError, cst.CSTValidationError, RecursionError) as error:
        raise EditError(0, "libcst cannot edit this code") from error
    new = code[len(opening) : len(code) - len(closing)]
    if not is_proved(text, new, key, value):
        raise EditError(0, _UNPROVED)
    return new


def _write_guard(header: str, change: SourceChange) -> str:
    """``if x:`` as the ``elif`` of ``if name is not None:``, which sets variables.

    An ``elif``, or an ``if`` on one line, becomes no Python, and is refused as such.
    """
    newline, indent = re.findall(r"(\r\n|\n|\r|^)([^\r\n]*)", header)[-1]
    body = " = ".join([*change.assign, write_literal(change.default)])
    return f"if {change.name} is not None:{newline}{indent}{body}{newline}{indent[: change.span.column]}el{header}"
