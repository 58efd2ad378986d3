"""The text and the syntax tree of a file that is edited, and where its pieces are."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

from rewriter.decoding import Decoded, decode, parse
from rewriter.edit.literals import EditError
from rewriter.model import ConfigChange, Problem, SourceChange, Span

_T = TypeVar("_T")


def decode_source(data: bytes) -> Decoded:
    """The text of a file. Raises EditError where it cannot be read."""
    return _check(decode(data))


def parse_source(source: Decoded) -> ast.Module:
    """Its syntax tree. Raises EditError where it is no Python."""
    return _check(parse(source))


def _check(found: _T | Problem) -> _T:
    if isinstance(found, Problem):
        raise EditError(found.line, found.message)
    return found


def write_literals(changes: Sequence[ConfigChange]) -> list[SourceChange]:
    """Changes of a config as changes of its source: each sets or removes a literal."""
    return [SourceChange("", "literal", each.component.span, each.key, default=each.value) for each in changes]


def find_lines(utf8: bytes) -> list[int]:
    """Where each line starts."""
    return [0, *accumulate(map(len, utf8.splitlines(keepends=True)))]


def find_region(lines: list[int], span: Span) -> tuple[int, int]:
    """The offsets of a span."""
    return lines[span.line - 1] + span.column, lines[span.end_line - 1] + span.end_column


def find_header(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Span:
    """From the ``def`` to the first statement of the body, its decorators included."""
    first = node.body[0]
    decorators: list[ast.expr] = getattr(first, "decorator_list", [])  # the column is that of the `def` below them
    return Span(node.lineno, node.col_offset, (decorators[0] if decorators else first).lineno, first.col_offset)
