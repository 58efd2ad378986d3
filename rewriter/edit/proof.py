"""Prove the edit of a piece of source by reading it again with ``ast``: it says what was requested, and nothing else.

The edits are made by libcst; this reading is one of its own. What it does not confirm is never written.
"""

from __future__ import annotations

import ast
from typing import Any

from rewriter.decoding import parse
from rewriter.model import Problem


def is_proved(old: str, new: str, key: str, value: str) -> bool:
    """Whether ``new`` is ``old`` with ``key=value`` added, or with ``key`` taken away where ``value`` is "".

    Each is a call, a dict, or the header of a function, whose new parameter is the last one. Every letter of the
    shorter one, comments included, is in the longer one.
    """
    less, more = (old, new) if value else (new, old)
    rest = iter(more)
    node, other = _parse(less), _parse(more)
    if node is None or type(node) is not type(other) or not all(letter in rest for letter in less):
        return False
    taken = [ast.dump(each) for each in _take(other, key)]
    is_requested = len(taken) == 1 if not value else taken == [ast.dump(_parse(value))]
    return is_requested and ast.dump(node) == ast.dump(other)


def _parse(text: str) -> Any:
    """The one node of a piece; None where it is not one."""
    tree = parse((f"{text}pass" if text.startswith(("def ", "async ")) else f"({text})").encode())
    if isinstance(tree, Problem) or len(tree.body) != 1:
        return None
    return getattr(tree.body[0], "value", tree.body[0])


def _take(node: Any, key: str) -> list[ast.expr]:
    """Take ``key`` out of a call, a dict, or the end of the parameters of a function; its values."""
    if isinstance(node, ast.Call):
        values = [each.value for each in node.keywords if each.arg == key]
        node.keywords = [each for each in node.keywords if each.arg != key]
        return values
    if isinstance(node, ast.Dict):
        found = [i for i, each in enumerate(node.keys) if isinstance(each, ast.Constant) and each.value == key]
        return [(node.keys.pop(i), node.values.pop(i))[1] for i in reversed(found)]
    args = node.args
    own = args.vararg or args.kwonlyargs
    names, defaults = (args.kwonlyargs, args.kw_defaults) if own else (args.args, args.defaults)
    if not names or not defaults:
        return []
    last, default = names.pop(), defaults.pop()
    return [default] if default is not None and last.arg == key else []
