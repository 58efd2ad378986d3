"""Make the changes of a loader's source file: bytes in, bytes out, nothing else touched.

libcst parses the header of a function, or a call or a dict, alone; white space is copied from the neighbours.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import libcst as cst

from rewriter.decoding import Decoded, parse
from rewriter.edit.elements import (
    NOTHING,
    EditError,
    Node,
    add_keyword,
    edit_expression,
    find_places,
    find_quote,
    insert,
    make_row,
    read_row,
    replace_keyword,
    set_commas,
)
from rewriter.edit.literals import write_literal
from rewriter.edit.splices import NEWLINE, Splice, apply_splices, find_lines, find_region, read_source
from rewriter.model import CACHE_DIR, Problem, SourceChange, Span

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
    source = read_source(data)
    tree = parse(source)
    if isinstance(tree, Problem):
        raise EditError(tree.line, tree.message)
    lines = find_lines(source.utf8)
    groups: dict[tuple[str, Span], _Group] = {}
    for change in dict.fromkeys(changes):
        kind = "keyword" if change.target == "literal" else change.target
        groups.setdefault((kind, change.span), []).append(change)
    splices = [_make_splice(source, tree, lines, kind, group) for (kind, _), group in groups.items()]
    return apply_splices(data, source, splices)


def _make_splice(source: Decoded, tree: ast.Module, lines: list[int], kind: str, group: _Group) -> Splice:
    span, encoding = group[0].span, source.encoding
    start, end = find_region(lines, span)
    edits: dict[str, Callable[[_Group, str, str], str]] = {
        "parameter": _add_parameters,
        "keyword": _set_keywords,
        "value": _replace_value,
    }
    if kind in edits:
        if kind == "parameter":
            end = _find_header_end(_find_node(tree, span, (ast.FunctionDef, ast.AsyncFunctionDef)), lines)
        return Splice(start, end, span.line, partial(edits[kind], group, encoding))
    if len(group) > 1:
        raise EditError(span.line, "two guards are requested for one `if`")
    node = _find_node(tree, span, ast.If)
    first = node.body[0]
    outer = source.utf8[lines[span.line - 1] : start].decode()
    inner = outer + "    "
    if first.lineno != span.line:
        inner = source.utf8[lines[first.lineno - 1] : lines[first.lineno - 1] + first.col_offset].decode()
    newline = NEWLINE.search(source.utf8, start)
    guard = _Guard(group[0], outer, inner, newline[0].decode() if newline else "\n", encoding)
    return Splice(start, start + len("if"), span.line, guard.write)


def _find_header_end(node: Any, lines: list[int]) -> int:
    """Where the first statement of a function's body starts, its decorators included."""
    first: ast.stmt = node.body[0]
    decorators: list[ast.expr] = getattr(first, "decorator_list", [])  # the column is that of the `def` below them
    return lines[(decorators[0] if decorators else first).lineno - 1] + first.col_offset


def _find_node(tree: ast.Module, span: Span, kinds: type[ast.stmt] | tuple[type[ast.stmt], ...]) -> Any:
    place = (span.line, span.column, span.end_line, span.end_column)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and place == (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset):
            return node
    raise EditError(span.line, "what is to be changed is not here")


# --- calls, dicts and values -------------------------------------------------------------------


def _set_keywords(changes: _Group, encoding: str, text: str) -> str:
    def edit(node: Node) -> Node:
        for change in changes:
            places = find_places(node, change.key)
            old = cst.Module([]).code_for_node(read_row(node).elements[places[-1]].value) if places else None
            new = _write_value(change, find_quote(node), encoding)
            if old is None:
                node = add_keyword(node, change.key, cst.parse_expression(new), after=())
            elif old != new:
                node = replace_keyword(node, change.key, cst.parse_expression(new))
        return node

    return edit_expression(text, edit)


def _replace_value(changes: _Group, encoding: str, text: str) -> str:
    quote = "'" if "'" in text and '"' not in text else '"'
    wanted = {_write_value(change, quote, encoding) for change in changes}
    if len(wanted) > 1:
        raise EditError(0, f"two values are requested at one place: {', '.join(sorted(wanted))}")
    return wanted.pop()


def _write_value(change: SourceChange, quote: str, encoding: str) -> str:
    return change.name or write_literal(change.default, quote, encoding)


# --- parameters --------------------------------------------------------------------------------


class _ParameterEdit(cst.CSTTransformer):
    """Gives a function its new parameters; visits no deeper than its header."""

    def __init__(self, changes: _Group, encoding: str) -> None:
        super().__init__()
        self.changes = changes
        self.encoding = encoding

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:  # noqa: N802 - libcst's name
        return False

    def leave_FunctionDef(  # noqa: N802
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        for change in self.changes:
            if all(each.name.value != change.name for each in _list_parameters(updated_node.params)):
                updated_node = _add_parameter(updated_node, change, self.encoding)
        return updated_node


def _add_parameters(changes: _Group, encoding: str, text: str) -> str:
    module = cst.parse_module(text + "pass")
    edited = module.visit(_ParameterEdit(changes, encoding)).code
    if module.code != text + "pass":
        raise EditError(0, "this is no function that can be edited")
    return edited[: -len("pass")]


def _add_parameter(node: cst.FunctionDef, change: SourceChange, encoding: str) -> cst.FunctionDef:
    """The function with one more parameter: after every other, before ``**kwargs``; keyword-only behind a ``*``."""
    params = node.params
    slash = [params.posonly_ind] if isinstance(params.posonly_ind, cst.ParamSlash) else []
    star = [params.star_arg] if isinstance(params.star_arg, (cst.Param, cst.ParamStar)) else []
    last = [params.star_kwarg] if params.star_kwarg is not None else []
    elements: list[Any] = [*params.posonly_params, *slash, *params.params, *star, *params.kwonly_params, *last]
    end = elements[-1] if elements else None
    closing = end.whitespace_after_param if isinstance(end, cst.Param) else getattr(end, "whitespace_after", NOTHING)
    place = len(elements) - len(last) - 1
    new = _make_parameter(params, change, encoding)
    row = insert(make_row(node.whitespace_before_params, elements, closing), place, new)
    written = set_commas(row)
    for i, element in enumerate(written):
        if not isinstance(element, cst.ParamStar):
            space = "whitespace_after_param" if isinstance(element, cst.Param) else "whitespace_after"
            gap = NOTHING if isinstance(element.comma, cst.Comma) else row.gaps[-1]
            written[i] = element.with_changes(**{space: gap})
    first = len(params.posonly_params)
    behind = first + len(slash) + len(params.params)
    changed = params.with_changes(
        posonly_ind=written[first] if slash else params.posonly_ind,
        params=written[first + len(slash) : behind if star else place + 2],
        star_arg=written[behind] if star else params.star_arg,
        kwonly_params=written[behind + 1 : place + 2] if star else params.kwonly_params,
        star_kwarg=written[-1] if last else None,
        posonly_params=written[:first],
    )
    return node.with_changes(params=changed, whitespace_before_params=row.gaps[0])


def _make_parameter(params: cst.Parameters, change: SourceChange, encoding: str) -> cst.Param:
    """``name=default``, annotated where all others are."""
    others = [each for each in _list_parameters(params) if each.name.value not in ("self", "cls")]
    quotes = (each.default.quote[0] for each in others if isinstance(each.default, cst.SimpleString))
    default = cst.parse_expression(write_literal(change.default, next(quotes, '"'), encoding))
    plain = [each for each in others if not each.star]
    if plain and all(each.annotation is not None for each in plain):
        annotation = cst.Annotation(cst.parse_expression(_ANNOTATIONS.get(change.key, "bool")))
        return cst.Param(cst.Name(change.name), annotation, cst.AssignEqual(), default)
    signs = (each.equal for each in reversed(plain) if each.annotation is None and each.default is not None)
    equal = next((sign for sign in signs if isinstance(sign, cst.AssignEqual)), cst.AssignEqual(NOTHING, NOTHING))
    return cst.Param(cst.Name(change.name), None, equal, default)


def _list_parameters(params: cst.Parameters) -> list[cst.Param]:
    """Every parameter that has a name, in order."""
    star = [each for each in (params.star_arg, params.star_kwarg) if isinstance(each, cst.Param)]
    return [*params.posonly_params, *params.params, *params.kwonly_params, *star]


# --- guards ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Guard:
    """Turns ``if x:`` into ``if name is not None: ... elif x:``. ``outer``, ``inner``: indents of it and its body."""

    change: SourceChange
    outer: str
    inner: str
    newline: str
    encoding: str

    def write(self, text: str) -> str:
        """What replaces the word ``if``."""
        if text != "if":
            raise EditError(0, "this is no `if` that can be edited")
        variables: dict[str, list[str]] = {}
        for variable, string in self.change.assign:
            variables.setdefault(string, []).append(variable)
        ahead = f"if {self.change.name} is not None:{self.newline}"
        for string, names in variables.items():
            chain = " = ".join([*names, write_literal(string, '"', self.encoding)])
            ahead += f"{self.inner}{chain}{self.newline}"
        return f"{ahead}{self.outer}el{text}"
