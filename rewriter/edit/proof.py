"""Prove an edit by reading it again with ``ast``: the new text says what the old one does with the changes made.

The edits are made by libcst; this reading is one of its own. An edit that it does not confirm is a fault of this
program, and is never written.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from rewriter.edit.literals import EditError, is_literal, write_literal
from rewriter.edit.splices import find_header, find_lines, find_region, read_source
from rewriter.model import REMOVE, ConfigChange, SourceChange, Span

_Change = ConfigChange | SourceChange
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def prove_config(old: bytes, new: bytes, path: str, changes: Sequence[ConfigChange]) -> str | None:
    """Prove the edit of a config file.

    Holds when the syntax tree of ``new`` is that of ``old`` with the changes made (a new key may be anywhere in its
    dict), and every byte outside the changed dicts is the same.

    Args:
        old: the bytes from which the components of ``changes`` were read.
        new: the edited bytes.
        path: of the file, for the message.
        changes: all that was requested.

    Returns:
        None, or a sentence that says what differs.
    """
    problem = _compare(old, new, [(change.component.span, change) for change in changes])
    return f"{path}: {problem}" if problem else None


def prove_loader(old: bytes, new: bytes, changes: Sequence[SourceChange]) -> str | None:
    """Prove the edit of a loader's source: as :func:`prove_config`, for parameters, keywords, values and guards.

    Bytes may differ in the headers, calls, dicts and values that were changed, and in front of the guarded ``if``.
    """
    return _compare(old, new, [(change.span, change) for change in changes])


def _compare(old: bytes, new: bytes, changes: Sequence[tuple[Span, _Change]]) -> str | None:
    try:
        (source, tree), (new_source, new_tree) = read_source(old), read_source(new)
    except EditError as error:
        return f"line {error.line} cannot be read: {error.message}"
    if (source.encoding, source.bom) != (new_source.encoding, new_source.bom):
        return "the encoding of the file changed"
    making = _Making(changes)
    expected = making.visit(tree)
    if making.left:
        return f"line {making.left[0][0].line}: {making.left[0][1].key!r} cannot be set there"
    regions: list[tuple[Span, Span]] = []
    return _compare_trees(expected, new_tree, making.changed, regions) or _compare_bytes(
        source.utf8, new_source.utf8, regions
    )


# --- what is expected --------------------------------------------------------------------------


class _Making(ast.NodeTransformer):
    """Makes the changes in the old tree. ``left``: those not made yet. ``changed``: node -> its old place, and keys."""

    def __init__(self, changes: Sequence[tuple[Span, _Change]]) -> None:
        self.left = [each for number, each in enumerate(changes) if each not in changes[:number]]
        self.changed: dict[ast.AST, tuple[Span, frozenset[str]]] = {}

    def visit(self, node: ast.AST) -> Any:
        span = _get_span(node)
        region = find_header(node) if isinstance(node, _FUNCTIONS) else span  # before a change below it
        node = self.generic_visit(node)
        keys: frozenset[str] = frozenset()
        for place, change in [each for each in self.left if each[0] == span]:
            made = _make_change(node, change)
            if made is not None:
                node, keys = made, keys | {getattr(change, "name", "") or change.key, change.key}
                self.left.remove((place, change))
                self.changed[node] = region, keys
        return node


def _make_change(node: ast.AST, change: _Change) -> ast.AST | None:
    """``node`` with the change made; None where it is of another kind."""
    target = change.target if isinstance(change, SourceChange) else "keyword"
    if target in ("keyword", "literal") and isinstance(node, ast.Call | ast.Dict):
        _set_keyword(node, change)
        return node
    if target == "value" and isinstance(node, ast.expr):
        return _make_value(change)
    if target == "parameter" and isinstance(node, _FUNCTIONS) and isinstance(change, SourceChange):
        args = node.args
        if all(each.arg != change.name for each in (*args.posonlyargs, *args.args, *args.kwonlyargs)):
            behind_star = bool(args.vararg or args.kwonlyargs)
            (args.kwonlyargs if behind_star else args.args).append(ast.arg(change.name))
            (args.kw_defaults if behind_star else args.defaults).append(_make_value(change, literal=True))
        return node
    if target == "guard" and isinstance(node, ast.If) and isinstance(change, SourceChange):
        guard = ast.parse(f"if {change.name} is not None: pass").body[0]
        assert isinstance(guard, ast.If)
        strings = dict.fromkeys(string for _, string in change.assign)
        guard.body = []
        for string in strings:
            names = [ast.Name(name, ast.Store()) for name, each in change.assign if each == string]
            guard.body.append(ast.Assign([*names], ast.Constant(string)))
        guard.orelse = [node]
        return guard
    return None


def _set_keyword(node: ast.Call | ast.Dict, change: _Change) -> None:
    """Replace the last keyword of that key, or add one; or remove them all."""
    if isinstance(node, ast.Call):
        pairs: list[tuple[Any, Any]] = [(each.arg, each.value) for each in node.keywords]
    else:
        pairs = [*zip(node.keys, node.values, strict=True)]
    places = [place for place, (key, _) in enumerate(pairs) if change.key in (key, getattr(key, "value", None))]
    if isinstance(change, ConfigChange) and change.value is REMOVE:
        pairs = [pair for place, pair in enumerate(pairs) if place not in places]
    elif not places:
        pairs.append((change.key if isinstance(node, ast.Call) else ast.Constant(change.key), _make_value(change)))
    elif not (isinstance(change, ConfigChange) and is_literal(pairs[places[-1]][1], change.value)):
        pairs[places[-1]] = pairs[places[-1]][0], _make_value(change)
    if isinstance(node, ast.Call):
        node.keywords = [ast.keyword(key, value) for key, value in pairs]
    else:
        node.keys, node.values = [key for key, _ in pairs], [value for _, value in pairs]


def _make_value(change: _Change, *, literal: bool = False) -> ast.expr:
    if isinstance(change, SourceChange):
        text = change.name if change.name and not literal else write_literal(change.default)
    else:
        text = write_literal(change.value)
    return ast.parse(text, mode="eval").body


# --- comparing ---------------------------------------------------------------------------------


def _compare_trees(
    expected: ast.AST,
    new: ast.AST,
    changed: dict[ast.AST, tuple[Span, frozenset[str]]],
    regions: list[tuple[Span, Span]],
) -> str | None:
    """Where two trees differ, positions apart. The places of changed nodes, old and new, are added to ``regions``."""
    pairs: list[tuple[object, object, int]] = [(expected, new, 1)]
    while pairs:
        one, other, line = pairs.pop()
        if type(one) is not type(other):
            return f"line {line}: {type(one).__name__} became {type(other).__name__}"
        if isinstance(one, ast.AST) and isinstance(other, ast.AST):
            line = getattr(other, "lineno", line)
            if one in changed:
                span, keys = changed[one]
                regions.append(_find_changed(one, span, other))
                _sort_keys(one, keys)
                _sort_keys(other, keys)
            pairs += [(getattr(one, name, None), getattr(other, name, None), line) for name in one._fields]
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return f"near line {line}: {len(one)} parts became {len(other)}"
            pairs += [(*pair, line) for pair in zip(one, other, strict=True)]
        elif one != other:
            return f"line {line}: {one!r:.60} became {other!r:.60}"
    return None


def _find_changed(expected: ast.AST, span: Span, new: ast.AST) -> tuple[Span, Span]:
    """Where a changed node was and is: bytes may differ there."""
    place = _get_span(new)
    if isinstance(expected, _FUNCTIONS) and isinstance(new, _FUNCTIONS):
        return span, find_header(new)
    if isinstance(new, ast.If) and new.orelse:  # what is in front of the old `if`, which is an `elif` now
        rest = _get_span(new.orelse[0])
        start = Span(span.line, span.column, span.line, span.column)
        return start, Span(place.line, place.column, rest.line, rest.column + len("el"))
    return span, place


def _sort_keys(node: ast.AST, keys: frozenset[str]) -> None:
    """Bring changed keys behind all others: where they are written does not count. Nor do annotations of parameters."""
    if isinstance(node, ast.Call):
        node.keywords.sort(key=lambda each: each.arg if each.arg in keys and each.arg else "")
    elif isinstance(node, ast.Dict):
        names = [key.value if isinstance(key, ast.Constant) and key.value in keys else "" for key in node.keys]
        order = sorted(range(len(names)), key=lambda i: str(names[i]))
        node.keys, node.values = [node.keys[i] for i in order], [node.values[i] for i in order]
    elif isinstance(node, _FUNCTIONS):
        for each in (*node.args.args, *node.args.kwonlyargs):
            each.annotation = None if each.arg in keys else each.annotation


def _compare_bytes(old: bytes, new: bytes, regions: Sequence[tuple[Span, Span]]) -> str | None:
    """Whether the bytes outside of the regions are the same."""
    lines, new_lines = find_lines(old), find_lines(new)
    pairs = [(find_region(lines, was), find_region(new_lines, now)) for was, now in regions]
    pairs.sort(key=lambda pair: (pair[0][0], -pair[0][1]))  # an outer one before those in it
    done = new_done = 0
    for (start, stop), (new_start, new_stop) in [*pairs, ((len(old),) * 2, (len(new),) * 2)]:
        if start < done:
            continue  # it lies in the one before
        if old[done:start] != new[new_done:new_start]:
            return f"bytes outside the edit changed, in {old[done:start][:60]!r}"
        done, new_done = stop, new_stop
    return None


def _get_span(node: Any) -> Span:
    return Span(
        getattr(node, "lineno", 0),
        getattr(node, "col_offset", 0),
        getattr(node, "end_lineno", 0),
        getattr(node, "end_col_offset", 0),
    )
