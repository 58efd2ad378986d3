"""Replace pieces of a source by what an edit makes of them; every byte between the pieces stays by construction."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import libcst as cst

from rewriter.decoding import Decoded, decode, parse
from rewriter.edit.literals import EditError
from rewriter.model import Problem, Span

NEWLINE = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Splice:
    """UTF-8 bytes ``start`` to ``end`` of the text become what ``edit`` makes of them. ``line``: for messages."""

    start: int
    end: int
    line: int
    edit: Callable[[str], str]


def read_source(data: bytes) -> tuple[Decoded, ast.Module]:
    """The text of a file and its syntax tree. Raises EditError where it cannot be read."""
    source = decode(data)
    tree = source if isinstance(source, Problem) else parse(source)
    if isinstance(source, Problem) or isinstance(tree, Problem):
        problem = source if isinstance(source, Problem) else tree
        assert isinstance(problem, Problem)
        raise EditError(problem.line, problem.message)
    return source, tree


def find_lines(utf8: bytes) -> list[int]:
    """Where each line starts."""
    return [0, *(match.end() for match in NEWLINE.finditer(utf8))]


def find_region(lines: list[int], span: Span) -> tuple[int, int]:
    """The offsets of a span."""
    return lines[span.line - 1] + span.column, lines[span.end_line - 1] + span.end_column


def find_header(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Span:
    """From the ``def`` to the first statement of the body, its decorators included."""
    first = node.body[0]
    decorators: list[ast.expr] = getattr(first, "decorator_list", [])  # the column is that of the `def` below them
    return Span(node.lineno, node.col_offset, (decorators[0] if decorators else first).lineno, first.col_offset)


def apply_splices(data: bytes, source: Decoded, splices: Iterable[Splice]) -> bytes:
    """``data`` with every piece replaced; a piece may lie in another one.

    Raises:
        EditError: with the line, where an edit cannot be made, or its result cannot be written in the file's encoding.
    """
    text = source.utf8
    grown: list[tuple[int, int]] = []  # where something was replaced, and by how many bytes it grew
    # Later places first, so that earlier ones hold; an inner one before that around it, which then ends further on.
    for splice in sorted(splices, key=lambda each: (each.start, -each.end), reverse=True):
        end = splice.end + sum(size for place, size in grown if splice.start <= place < splice.end)
        try:
            new = splice.edit(text[splice.start : end].decode()).encode()
        except EditError as error:
            raise EditError(error.line or splice.line, error.message) from error
        except (cst.ParserSyntaxError, RecursionError) as error:
            raise EditError(splice.line, "libcst cannot read this code") from error
        grown.append((splice.start, len(new) - (end - splice.start)))
        text = text[: splice.start] + new + text[end:]
    if text == source.utf8:
        return data
    if source.encode(source.utf8) != data:
        raise EditError(1, f"the file does not survive decoding and encoding as {source.encoding}")
    return source.encode(text)
