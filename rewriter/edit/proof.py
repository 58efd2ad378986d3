"""Prove the edit of a piece of source by reading it again with ``ast``: it says what was requested, and nothing else.

The edits are made by libcst; this reading is one of its own. What it does not confirm is never written.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from rewriter.decoding import Decoded, parse
from rewriter.edit.literals import is_literal
from rewriter.model import REMOVE, Problem, SourceChange


def is_proved(old: str, new: str, change: SourceChange) -> bool:
    """Whether ``new`` is ``old`` with ``change`` made; a new key may be anywhere in its call or dict.

    A piece is a call, a dict, an expression that is replaced, or the header of a function up to its body. Where
    something is added, every letter of the old text is in the new one, where it is removed, the other way round.
    """
    node, new_node = _parse(old, change.target), _parse(new, change.target)
    if node is None or new_node is None:
        return False
    if change.target == "value":
        return _is_requested([new_node], change)
    if change.target == "parameter":
        return _take_parameter(node, new_node, change) and _is_within(old, new) and ast.dump(node) == ast.dump(new_node)
    old_values, values = _pop_values(node, change.key), _pop_values(new_node, change.key)
    within = _is_within(new, old) if not values else bool(old_values) or _is_within(old, new)
    return within and _is_requested(values, change) and ast.dump(node) == ast.dump(new_node)


def _is_within(some: str, others: str) -> bool:
    rest = iter(others)
    return all(letter in rest for letter in some)


def _parse(text: str, target: str) -> Any:
    """The one node of a piece; None where it is not one of its kind."""
    tree = parse(Decoded((f"{text}pass" if target == "parameter" else f"({text})").encode(), "utf-8"))
    if isinstance(tree, Problem) or len(tree.body) != 1:
        return None
    node: Any = tree.body[0]
    if target == "parameter":
        return node
    kinds = ast.expr if target == "value" else (ast.Call, ast.Dict)
    return node.value if isinstance(node.value, kinds) and node.value.col_offset == 1 else None


def _is_requested(values: Sequence[ast.expr], change: SourceChange) -> bool:
    if change.default is REMOVE or len(values) != 1:
        return change.default is REMOVE and not values
    if change.name:
        return isinstance(values[0], ast.Name) and values[0].id == change.name
    return is_literal(values[0], change.default)


def _pop_values(node: Any, key: str) -> list[ast.expr]:
    if isinstance(node, ast.Call):
        values = [each.value for each in node.keywords if each.arg == key]
        node.keywords = [each for each in node.keywords if each.arg != key]
        return values
    found = [i for i, each in enumerate(node.keys) if isinstance(each, ast.Constant) and each.value == key]
    return [(node.keys.pop(i), node.values.pop(i))[1] for i in reversed(found)]


def _take_parameter(node: Any, new_node: Any, change: SourceChange) -> bool:
    """Take the new parameter, the last one, out of the new function; whether it has its default."""
    args, behind_star = node.args, bool(node.args.vararg or node.args.kwonlyargs)
    if any(each.arg == change.name for each in (*args.posonlyargs, *args.args, *args.kwonlyargs)):
        return True
    args = new_node.args
    names, defaults = (args.kwonlyargs, args.kw_defaults) if behind_star else (args.args, args.defaults)
    if not names or names.pop().arg != change.name or not defaults:
        return False
    default = defaults.pop()
    return default is not None and is_literal(default, change.default)
