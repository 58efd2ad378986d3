"""Make the changes of a loader's source file: bytes in, bytes out, nothing else touched.

libcst parses the header of a function, or a call or a dict, alone; white space is copied from the neighbours.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import partial
from typing import Any

import libcst as cst

from rewriter.decoding import Decoded
from rewriter.edit.elements import NOTHING, Node, edit_expression, find_quote, insert, make_row, set_commas, set_keyword
from rewriter.edit.literals import EditError, write_literal
from rewriter.edit.splices import NEWLINE, Splice, apply_splices, find_header, find_lines, find_region, read_source
from rewriter.model import CACHE_DIR, SourceChange, Span

__all__ = ["EditError", "edit_loader"]

_ANNOTATIONS = {CACHE_DIR: '"str | None"'}
_Group = list[SourceChange]


def edit_loader(data: bytes, changes: Sequence[SourceChange]) -> bytes:
    """Make ``changes`` in the source file ``data``. What is there already as requested is not written again.

    Args:
        data: the bytes of the file, from which the spans of ``changes`` were read.
        changes: those of this file; the spans are of the old text, also where one lies in another.

    Raises:
        EditError: with the line, where a change cannot be made; then nothing is changed.
    """
    source, tree = read_source(data)
    groups: dict[tuple[str, Span], _Group] = {}
    for change in dict.fromkeys(changes):
        kind = "keyword" if change.target == "literal" else change.target
        groups.setdefault((kind, change.span), []).append(change)
    lines = find_lines(source.utf8)
    return apply_splices(
        data, source, [_make_splice(source, tree, lines, kind, group) for (kind, _), group in groups.items()]
    )


def _make_splice(source: Decoded, tree: ast.Module, lines: list[int], kind: str, group: _Group) -> Splice:
    span = group[0].span
    start, end = find_region(lines, span)
    if kind == "keyword":
        return Splice(start, end, span.line, partial(_set_keywords, group, source.encoding))
    if kind == "parameter":
        end = find_region(lines, find_header(_find_node(tree, span, (ast.FunctionDef, ast.AsyncFunctionDef))))[1]
        return Splice(start, end, span.line, partial(_add_parameters, group))
    if len(group) > 1:
        raise EditError(span.line, "two changes are requested at one place")
    if kind == "value":
        return Splice(start, end, span.line, lambda text: _write_value(group[0], text[:1], source.encoding))
    first = _find_node(tree, span, ast.If).body[0]
    outer = source.utf8[lines[span.line - 1] : start].decode()
    inner = source.utf8[lines[first.lineno - 1] : lines[first.lineno - 1] + first.col_offset].decode()
    if inner.strip() or outer.strip():
        raise EditError(span.line, "an `if` on one line, or an `elif`, gets no guard")
    newline = NEWLINE.search(source.utf8, start)
    assert newline is not None
    guard = _write_guard(group[0], outer, inner, newline[0].decode())
    return Splice(start, start, span.line, lambda _text: guard)


def _find_node(tree: ast.Module, span: Span, kinds: type[ast.stmt] | tuple[type[ast.stmt], ...]) -> Any:
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (node.lineno, node.col_offset) == (span.line, span.column):
            return node
    raise EditError(span.line, "what is to be changed is not here")


def _write_value(change: SourceChange, quote: str, encoding: str) -> str:
    return change.name or write_literal(change.default, quote if quote == "'" else '"', encoding)


def _set_keywords(changes: _Group, encoding: str, text: str) -> str:
    def edit(node: Node) -> Node:
        for change in changes:
            node = set_keyword(node, change.key, _write_value(change, find_quote(node), encoding), after=())
        return node

    return edit_expression(text, edit)


def _write_guard(change: SourceChange, outer: str, inner: str, newline: str) -> str:
    """What turns ``if x:`` into ``if name is not None: ... elif x:``. ``inner``: the indent of its body."""
    variables: dict[str, list[str]] = {}
    for variable, string in change.assign:
        variables.setdefault(string, []).append(variable)
    rows = [f"{inner}{' = '.join([*names, write_literal(string)])}" for string, names in variables.items()]
    return newline.join([f"if {change.name} is not None:", *rows, f"{outer}el"])


# --- parameters --------------------------------------------------------------------------------


def _add_parameters(changes: _Group, text: str) -> str:
    module = cst.parse_module(text + "pass")
    node = module.body[0]
    if not isinstance(node, cst.FunctionDef) or module.code != text + "pass":
        raise EditError(0, "this is no function that can be edited")
    edited = node
    for change in changes:
        if all(each.name.value != change.name for each in _list_parameters(edited.params)):
            edited = _add_parameter(edited, change)
    changed = module.deep_replace(node, edited)
    assert isinstance(changed, cst.Module)
    return changed.code[: -len("pass")]


def _add_parameter(node: cst.FunctionDef, change: SourceChange) -> cst.FunctionDef:
    """The function with one more parameter: after every other, before ``**kwargs``; keyword-only behind a ``*``."""
    params = node.params
    if params.posonly_params:
        raise EditError(0, "a function with positional-only parameters is not edited")
    star = [params.star_arg] if isinstance(params.star_arg, (cst.Param, cst.ParamStar)) else []
    last = [params.star_kwarg] if params.star_kwarg is not None else []
    elements: list[Any] = [*params.params, *star, *params.kwonly_params, *last]
    closing = elements[-1].whitespace_after_param if elements else NOTHING
    place = len(elements) - len(last) - 1
    row = insert(make_row(node.whitespace_before_params, elements, closing), place, _make_parameter(params, change))
    written = set_commas(row)
    for i, element in enumerate(written):
        if isinstance(element, cst.Param):
            gap = NOTHING if isinstance(element.comma, cst.Comma) else row.gaps[-1]
            written[i] = element.with_changes(whitespace_after_param=gap)
    plain = len(params.params)
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
