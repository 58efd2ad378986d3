"""Make the changes of a config or of a loader's source: bytes in, bytes out, nothing else touched.

Each change replaces one piece of the file: a call, a dict, a value, the header of a function. libcst parses that piece
alone, and it is proved before it is put in the place of the old one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import libcst as cst

from rewriter.decoding import Decoded, decode, parse
from rewriter.edit.elements import AFTER, PieceTransformer, add_parameter, set_keyword
from rewriter.edit.literals import EditError, write_literal
from rewriter.edit.proof import is_proved
from rewriter.model import ConfigChange, Problem, SourceChange

__all__ = ["EditError", "edit_config", "edit_loader"]

_UNPROVED = "the new code would not say what was requested"
_edited: dict[object, str] = {}


def edit_config(data: bytes, changes: Sequence[ConfigChange]) -> bytes:
    """The config file ``data`` with ``changes`` made; their components were read from it. EditError: with the line.

    A keyword that is there keeps its place; a new one goes after ``from_pretrained``, else after ``type``, else last,
    in the style around it. Removing gives back, to the byte, what an earlier call added to.
    """
    literals = [SourceChange("", "literal", each.component.span, each.key, default=each.value) for each in changes]
    return edit_loader(data, literals, after=AFTER)


def edit_loader(data: bytes, changes: Sequence[SourceChange], *, after: tuple[str, ...] = ()) -> bytes:
    """The source file ``data`` with ``changes`` made; every byte between the pieces that they replace stays.

    Their spans are of the old text, also where one lies in another. A new keyword goes behind the first of ``after``
    that is there, else last. EditError (with the line) where a change cannot be made, or is not proved.
    """
    source = decode(data)
    if isinstance(source, Problem):
        raise EditError(source.line, source.message)
    editor = _Editor(source, after, changes)
    groups: dict[tuple[int, int], list[SourceChange]] = {}
    for change in changes:
        group = groups.setdefault(editor.find_piece(change), [])
        if any(each.key == change.key and each != change for each in group):
            raise EditError(change.span.line, "two changes are requested at one place")
        group += [] if change in group else [change]
    text = source.utf8
    grown: list[tuple[int, int]] = []  # where something was replaced, and by how many bytes it grew
    # Later places first, so that earlier ones hold; an inner one before that around it, which then ends further on.
    for (start, old_end), group in sorted(groups.items(), key=lambda each: (each[0][0], -each[0][1]), reverse=True):
        end = old_end + sum(size for place, size in grown if start <= place < old_end)
        try:
            new = editor.edit_piece(group, text[start:end].decode()).encode()
        except EditError as error:
            raise EditError(error.line or group[0].span.line, error.message) from error
        except (cst.ParserSyntaxError, SyntaxError, RecursionError) as error:
            raise EditError(group[0].span.line, "libcst cannot read this code") from error
        grown.append((start, len(new) - (end - start)))
        text = text[:start] + new + text[end:]
    if text == source.utf8:
        return data
    if source.encode(source.utf8) != data:
        raise EditError(1, f"the file does not survive decoding and encoding as {source.encoding}")
    if isinstance(parse(Decoded(text, source.encoding)), Problem):
        raise EditError(changes[0].span.line, _UNPROVED)
    return source.encode(text)


class _Editor:
    """Finds and edits the pieces of one source."""

    def __init__(self, source: Decoded, after: tuple[str, ...], changes: Sequence[SourceChange]) -> None:
        self.source, self.after = source, after
        self.lines = [0, *accumulate(map(len, source.utf8.splitlines(keepends=True)))]
        self.bodies: dict[tuple[int, ...], ast.stmt] = {}  # what is first in the functions and ``if``s, by their places
        if any(change.target in ("parameter", "guard") for change in changes):
            tree = parse(source)
            if isinstance(tree, Problem):
                raise EditError(tree.line, tree.message)
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.If)
            nodes = (each for each in ast.walk(tree) if isinstance(each, kinds))
            self.bodies = {(each.lineno, each.col_offset): each.body[0] for each in nodes}

    def find_piece(self, change: SourceChange) -> tuple[int, int]:
        """The offsets of what a change replaces."""
        start, end = change.span[:2], change.span[2:]
        if change.target in ("parameter", "guard"):
            if start not in self.bodies:
                raise EditError(change.span.line, "what is to be changed is not here")
            first = self.bodies[start]
            decorators = getattr(first, "decorator_list", [])  # the column is that of the `def` below them
            end = start if change.target == "guard" else ((decorators or [first])[0].lineno, first.col_offset)
        return self.lines[start[0] - 1] + start[1], self.lines[end[0] - 1] + end[1]

    def edit_piece(self, changes: list[SourceChange], text: str) -> str:
        """The new text of a piece, each step proved."""
        for change in changes:
            if change.target == "guard":
                return self._write_guard(change)
            # Many configs share their dicts.
            known = text, self.source.encoding, self.after, change.target, repr(change[3:])
            if known not in _edited:
                new = _edit_text(text, change, self.after, self.source.encoding)
                if not is_proved(text, new, change):
                    raise EditError(0, _UNPROVED)
                _edited[known] = new
            text = _edited[known]
        return text

    def _write_guard(self, change: SourceChange) -> str:
        """What turns ``if x:`` into ``if name is not None: ... elif x:``."""
        first = self.bodies[change.span[:2]]
        lines = self.source.utf8.splitlines(keepends=True)
        line = lines[change.span.line - 1]
        outer, inner = line[: change.span.column].decode(), lines[first.lineno - 1][: first.col_offset].decode()
        if inner.strip() or outer.strip():
            raise EditError(0, "an `if` on one line, or an `elif`, gets no guard")
        variables: dict[str, list[str]] = {}
        for variable, string in change.assign:
            variables.setdefault(string, []).append(variable)
        rows = [f"{inner}{' = '.join([*names, write_literal(string)])}" for string, names in variables.items()]
        newline = line[len(line.rstrip(b"\r\n")) :].decode()
        return newline.join([f"if {change.name} is not None:", *rows, f"{outer}el"])


def _edit_text(text: str, change: SourceChange, after: tuple[str, ...], encoding: str) -> str:
    if change.target == "value":
        return change.name or write_literal(change.default, "'" if text.startswith("'") else '"', encoding)
    if change.target == "parameter":
        header = cst.parse_module(f"{text}pass").visit(PieceTransformer(partial(add_parameter, change=change)))
        return header.code[: -len("pass")]
    # The brackets let it run over lines, as it may inside somebody else's brackets.
    edit = partial(set_keyword, change=change, after=after, encoding=encoding)
    node: Any = cst.parse_expression(f"({text})").visit(PieceTransformer(edit))
    newline = re.search(r"\r\n|\r|\n", text)  # libcst writes the first one for all that are alike
    return cst.Module([], default_newline=newline[0] if newline else "\n").code_for_node(node)[1:-1]
