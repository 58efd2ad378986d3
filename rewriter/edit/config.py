"""Set or remove keywords of the dicts of one config file: bytes in, bytes out, nothing else touched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import libcst as cst

from rewriter.edit.elements import Node, edit_expression, find_quote, find_values, remove_keyword, set_keyword
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
    source, _tree = read_source(data)
    lines = find_lines(source.utf8)
    groups: dict[Span, dict[str, object]] = {}  # two names may be bound to one dict
    for change in changes:
        span = change.component.span
        requested = groups.setdefault(span, {})
        if change.key in requested and not same(requested[change.key], change.value):
            raise EditError(span.line, f"one dict cannot get two values of {change.key!r}")
        requested[change.key] = change.value
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
    values = find_values(node, key)
    if values and is_literal(cst.Module([]).code_for_node(values[-1]).strip(), value):
        return node
    if any(map(_binds_name, values)):  # a name would go that may be needed elsewhere
        raise EditError(0, f"the value of {key!r} binds a name besides (`:=`)")
    if value is REMOVE:
        return remove_keyword(node, key)
    old = values[-1] if values else None
    quote = old.quote[0] if isinstance(old, cst.SimpleString) else find_quote(node)
    return set_keyword(node, key, write_literal(value, quote, encoding))


def _binds_name(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.NamedExpr) or any(map(_binds_name, node.children))
