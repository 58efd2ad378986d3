"""Set or remove keywords of the dicts of one config file: bytes in, bytes out, nothing else touched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import libcst as cst

from rewriter.edit.elements import (
    EditError,
    Node,
    add_keyword,
    edit_expression,
    find_places,
    find_quote,
    read_row,
    remove_keyword,
    replace_keyword,
)
from rewriter.edit.literals import is_literal, same, write_literal
from rewriter.edit.splices import Splice, apply_splices, find_lines, find_region, read_source
from rewriter.model import REMOVE, ConfigChange, Span

__all__ = ["EditError", "edit_config"]


def edit_config(data: bytes, changes: Sequence[ConfigChange]) -> bytes:
    """Make ``changes`` in the config file ``data``.

    A keyword that is there keeps its place; a new one goes after ``from_pretrained``, else after ``type``, else last,
    in the style around it. A value that is already the one requested is not written again. Removing gives back, to the
    byte, what an earlier call added to.

    Args:
        data: the bytes of the file, from which the components of ``changes`` were read.
        changes: values are str, bool, int, float, None and lists, tuples, dicts of these, or :data:`REMOVE`.

    Raises:
        EditError: with the line, where a change cannot be made; then nothing is changed.
    """
    source = read_source(data)
    lines = find_lines(source.utf8)
    splices = [
        Splice(*find_region(lines, span), span.line, partial(_edit_dict, requested, source.encoding))
        for span, requested in _group_by_dict(changes).items()
    ]
    return apply_splices(data, source, splices)


def _group_by_dict(changes: Sequence[ConfigChange]) -> dict[Span, list[ConfigChange]]:
    found: dict[Span, list[ConfigChange]] = {}
    for change in changes:
        requested = found.setdefault(change.component.span, [])
        earlier = next((each for each in requested if each.key == change.key), None)
        if earlier is None:
            requested.append(change)
        elif not same(earlier.value, change.value):
            names = f"{earlier.component.dotted} and {change.component.dotted}"
            message = f"{names} are one dict and cannot get two values of {change.key!r}"
            raise EditError(change.component.span.line, message)
    return found


def _edit_dict(changes: Sequence[ConfigChange], encoding: str, text: str) -> str:
    def edit(node: Node) -> Node:
        if isinstance(node, cst.Call) and not (isinstance(node.func, cst.Name) and node.func.value == "dict"):
            raise EditError(0, "this is no dict that can be edited")
        for change in changes:
            node = _change_keyword(node, change, encoding)
        return node

    return edit_expression(text, edit)


def _change_keyword(node: Node, change: ConfigChange, encoding: str) -> Node:
    key, elements = change.key, read_row(node).elements
    values: list[cst.BaseExpression] = [elements[place].value for place in find_places(node, key)]
    if values and is_literal(cst.Module([]).code_for_node(values[-1]).strip(), change.value):
        return node
    for value in values:
        _refuse_walrus(key, value)
    if change.value is REMOVE:
        return remove_keyword(node, key)
    old = values[-1] if values else None
    quote = old.quote[0] if isinstance(old, cst.SimpleString) else find_quote(node)
    new = cst.parse_expression(write_literal(change.value, quote, encoding))
    return add_keyword(node, key, new) if old is None else replace_keyword(node, key, new)


def _refuse_walrus(key: str, value: cst.BaseExpression) -> None:
    """With ``key=(name := ...)`` a name would go that may be needed elsewhere."""
    nodes: list[cst.CSTNode] = [value]
    for node in nodes:
        if isinstance(node, cst.NamedExpr):
            raise EditError(0, f"the value of {key!r} binds a name besides (`:=`)")
        nodes += node.children
