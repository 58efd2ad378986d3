"""Make the changes of a loader's source file: bytes in, bytes out, nothing else touched.

libcst parses the header of a function, or a call or a dict, alone; white space is copied from the neighbours.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import libcst as cst

from rewriter.decoding import Decoded
from rewriter.edit.elements import NOTHING, StatementTransformer, edit_keywords, insert, make_row, write_elements
from rewriter.edit.literals import EditError, write_literal
from rewriter.edit.sources import decode_source, find_header, find_lines, find_region, parse_source
from rewriter.model import CACHE_DIR, SourceChange, Span

__all__ = ["EditError", "edit_loader"]

_ANNOTATIONS = {CACHE_DIR: '"str | None"'}


def edit_loader(data: bytes, changes: Sequence[SourceChange], *, after: tuple[str, ...] = ()) -> bytes:
    """The source file ``data`` with ``changes`` made; every byte between the pieces that they replace stays.

    Their spans are of the old text, also where one lies in another. A new keyword goes behind the first of ``after``
    that is there, else last. EditError (with the line) where a change cannot be made.
    """
    source = decode_source(data)
    editor = _Editor(source, after)
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
        except (cst.ParserSyntaxError, RecursionError) as error:
            raise EditError(group[0].span.line, "libcst cannot read this code") from error
        grown.append((start, len(new) - (end - start)))
        text = text[:start] + new + text[end:]
    if text != source.utf8 and source.encode(source.utf8) != data:
        raise EditError(1, f"the file does not survive decoding and encoding as {source.encoding}")
    return data if text == source.utf8 else source.encode(text)


class _Editor:
    """Edits the pieces of one source."""

    def __init__(self, source: Decoded, after: tuple[str, ...]) -> None:
        self.source, self.after = source, after
        self.lines = find_lines(source.utf8)

    @cached_property
    def tree(self) -> ast.Module:
        return parse_source(self.source)

    def find_piece(self, change: SourceChange) -> tuple[int, int]:
        """The offsets of what a change replaces."""
        start, end = find_region(self.lines, change.span)
        if change.target == "parameter":
            return start, find_region(self.lines, find_header(self._find_node(change.span)))[1]
        return start, start if change.target == "guard" else end

    def edit_piece(self, changes: list[SourceChange], text: str) -> str:
        """The new text of a piece."""
        change, encoding = changes[0], self.source.encoding
        if change.target == "parameter":
            return cst.parse_module(f"{text}pass").visit(ParameterTransformer(changes)).code[: -len("pass")]
        if change.target == "value":
            return change.name or write_literal(change.default, "'" if text.startswith("'") else '"', encoding)
        if change.target == "guard":
            return self._write_guard(change)
        requested = [(each.key, cst.Name(each.name) if each.name else each.default) for each in changes]
        return edit_keywords(text, requested, self.after, encoding)

    def _write_guard(self, change: SourceChange) -> str:
        """What turns ``if x:`` into ``if name is not None: ... elif x:``."""
        first = self._find_node(change.span).body[0]
        outer = self._read_indent(change.span.line, change.span.column)
        inner = self._read_indent(first.lineno, first.col_offset)
        if inner.strip() or outer.strip():
            raise EditError(0, "an `if` on one line, or an `elif`, gets no guard")
        variables: dict[str, list[str]] = {}
        for variable, string in change.assign:
            variables.setdefault(string, []).append(variable)
        rows = [f"{inner}{' = '.join([*names, write_literal(string)])}" for string, names in variables.items()]
        line = self.source.utf8[self.lines[change.span.line - 1] : self.lines[change.span.line]].decode()
        return line[len(line.rstrip("\r\n")) :].join([f"if {change.name} is not None:", *rows, f"{outer}el"])

    def _read_indent(self, line: int, column: int) -> str:
        return self.source.utf8[self.lines[line - 1] : self.lines[line - 1] + column].decode()

    def _find_node(self, span: Span) -> Any:
        """The function or ``if`` at a place."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.If)
        for node in ast.walk(self.tree):
            if isinstance(node, kinds) and (node.lineno, node.col_offset) == (span.line, span.column):
                return node
        raise EditError(span.line, "what is to be changed is not here")


# --- parameters --------------------------------------------------------------------------------


class ParameterTransformer(StatementTransformer):
    """Adds parameters to the function that a statement defines."""

    kinds = (cst.FunctionDef,)

    def __init__(self, changes: Sequence[SourceChange]) -> None:
        super().__init__()
        self.changes = changes

    def edit(self, node: Any) -> Any:
        for change in self.changes:
            if all(each.name.value != change.name for each in _list_parameters(node.params)):
                node = _add_parameter(node, change)
        return node


def _add_parameter(node: cst.FunctionDef, change: SourceChange) -> cst.FunctionDef:
    """The function with one more parameter: after every other, before ``**kwargs``; keyword-only behind a ``*``."""
    params = node.params
    star = [params.star_arg] if isinstance(params.star_arg, (cst.Param, cst.ParamStar)) else []
    last = [params.star_kwarg] if params.star_kwarg is not None else []
    elements: list[Any] = [*params.params, *star, *params.kwonly_params, *last]
    closing = elements[-1].whitespace_after_param if elements else NOTHING
    place = len(elements) - len(last) - 1
    row = insert(make_row(node.whitespace_before_params, elements, closing), place, _make_parameter(params, change))
    written, plain = write_elements(row), len(params.params)
    changed = params.with_changes(
        params=written[: plain if star else place + 2],
        star_arg=written[plain] if star else params.star_arg,
        kwonly_params=written[plain + 1 : place + 2] if star else (),
        star_kwarg=written[-1] if last else None,
    )
    return node.with_changes(params=changed, whitespace_before_params=row.gaps[0])


def _make_parameter(params: cst.Parameters, change: SourceChange) -> cst.Param:
    """``name=default``, annotated where all others are."""
    plain = [each for each in _list_parameters(params) if not each.star and each.name.value not in ("self", "cls")]
    default = cst.parse_expression(write_literal(change.default))
    if plain and all(each.annotation is not None for each in plain):
        annotation = cst.Annotation(cst.parse_expression(_ANNOTATIONS.get(change.key, "bool")))
        return cst.Param(cst.Name(change.name), annotation, cst.AssignEqual(), default)
    signs = (each.equal for each in reversed(plain) if each.annotation is None)
    equal = next((sign for sign in signs if isinstance(sign, cst.AssignEqual)), cst.AssignEqual(NOTHING, NOTHING))
    return cst.Param(cst.Name(change.name), None, equal, default)


def _list_parameters(params: cst.Parameters) -> list[cst.Param]:
    """Every parameter that has a name, in order."""
    star = [each for each in (params.star_arg, params.star_kwarg) if isinstance(each, cst.Param)]
    return [*params.posonly_params, *params.params, *params.kwonly_params, *star]
