"""Set or remove keywords of the dicts of one config file: bytes in, bytes out, nothing else touched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import libcst as cst
import libcst.matchers as m

from rewriter.edit.elements import (
    Node,
    add_keyword,
    edit_expression,
    find_places,
    find_quote,
    read_row,
    remove_keyword,
    replace_keyword,
)
from rewriter.edit.literals import EditError, is_literal, same, write_literal
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
    groups: dict[Span, dict[str, object]] = {}  # two names may be bound to one dict
    for change in changes:
        span = change.component.span
        if not same(groups.setdefault(span, {}).setdefault(change.key, change.value), change.value):
            raise EditError(span.line, f"one dict cannot get two values of {change.key!r}")
    splices = [
        Splice(*find_region(lines, span), span.line, partial(_edit_dict, requested, source.encoding))
        for span, requested in groups.items()
    ]
    return apply_splices(data, source, splices)


def _edit_dict(requested: dict[str, object], encoding: str, text: str) -> str:
    def edit(node: Node) -> Node:
        for key, value in requested.items():
            node = _change_keyword(node, key, value, encoding)
        return node

    return edit_expression(text, edit)


def _change_keyword(node: Node, key: str, value: object, encoding: str) -> Node:
    elements = read_row(node).elements
    values: list[cst.BaseExpression] = [elements[place].value for place in find_places(node, key)]
    if values and is_literal(cst.Module([]).code_for_node(values[-1]).strip(), value):
        return node
    if any(m.findall(each, m.NamedExpr()) for each in values):  # a name would go that may be needed elsewhere
        raise EditError(0, f"the value of {key!r} binds a name besides (`:=`)")
    if value is REMOVE:
        return remove_keyword(node, key)
    old = values[-1] if values else None
    quote = old.quote[0] if isinstance(old, cst.SimpleString) else find_quote(node)
    new = cst.parse_expression(write_literal(value, quote, encoding))
    return add_keyword(node, key, new) if old is None else replace_keyword(node, key, new)
