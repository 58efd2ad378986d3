"""Prove an edit by reading it again with ``ast``: the new text says what the old one does with the changes made.

The edits are made by libcst; this reading is one of its own. An edit that it does not confirm is a fault of this
program, and is never written.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rewriter.edit.literals import EditError, write_literal
from rewriter.edit.sources import decode_source, find_header, find_lines, find_region, parse_source, write_literals
from rewriter.model import REMOVE, ConfigChange, SourceChange, Span

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def prove_config(old: bytes, new: bytes, path: str, changes: Sequence[ConfigChange]) -> str | None:
    """Prove the edit of the config at ``path``, from ``old`` to ``new`` bytes, as :func:`prove_loader` does."""
    problem = prove_loader(old, new, write_literals(changes))
    return f"{path}: {problem}" if problem else None


def prove_loader(old: bytes, new: bytes, changes: Sequence[SourceChange]) -> str | None:
    """Prove an edit. Returns None, or a sentence that says what differs.

    It holds when the syntax tree of ``new`` is that of ``old`` with the changes made (a new key may be anywhere in its
    call or dict), and all bytes but those of the changed headers, calls, dicts and values, and of the guards, are the
    same. Statements without a change are compared by their bytes alone.
    """
    try:
        source, new_source = decode_source(old), decode_source(new)
        tree, new_tree = parse_source(source), parse_source(new_source)
    except EditError as error:
        return f"line {error.line} cannot be read: {error.message}"
    if (source.encoding, len(tree.body)) != (new_source.encoding, len(new_tree.body)):
        return "its encoding or the number of its statements changed"
    making = _Making(changes)
    keys = {name for change in changes for name in (change.key, change.name)}
    places: list[Span] = []
    new_places: list[Span] = []
    pairs: list[tuple[Any, Any]] = [(tree, new_tree)]
    for statement, new_statement in pairs:
        if isinstance(statement, ast.Module | ast.ClassDef) and isinstance(new_statement, type(statement)):
            if len(statement.body) != len(new_statement.body):
                return "the number of statements changed"
            pairs += zip(statement.body, new_statement.body, strict=True)  # their headers have to be the same bytes
        elif any(statement.lineno <= change.span.line <= statement.end_lineno for change in changes):
            expected = making.visit(statement)
            if _dump(expected, keys) != _dump(new_statement, keys):
                return f"line {new_statement.lineno}: the statement does not say what was requested"
            for node, new_node in zip(ast.walk(expected), ast.walk(new_statement), strict=True):
                if node in making.changed:
                    places.append(making.changed[node])
                    new_places.append(_find_place(new_node))
    if making.left:
        return f"line {making.left[0].span.line}: {making.left[0].key!r} cannot be set there"
    same = _cut_out(source.utf8, places) == _cut_out(new_source.utf8, new_places)
    return None if same else "bytes outside of the edit changed"


def _dump(tree: ast.AST, keys: set[str]) -> str:
    """The tree as text. Where in a dict one of ``keys`` is written does not count, nor how a parameter is annotated."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords.sort(key=lambda each: each.arg if each.arg in keys and each.arg else "")
        elif isinstance(node, ast.Dict):
            names = [str(getattr(key, "value", "")) for key in node.keys]
            order = sorted(range(len(names)), key=lambda i: names[i] if names[i] in keys else "")
            node.keys, node.values = [node.keys[i] for i in order], [node.values[i] for i in order]
        elif isinstance(node, ast.arg) and node.arg in keys:
            node.annotation = None
    return ast.dump(tree)


def _find_place(node: Any, *, old: bool = False) -> Span:
    """Where bytes may differ: a header, a call, a dict, a value; of a guard what is in front of the ``if`` it was."""
    if isinstance(node, _FUNCTIONS):
        return find_header(node)
    if isinstance(node, ast.If):
        rest, length = (node, 0) if old else (node.orelse[0], len("el"))
        return Span(node.lineno, node.col_offset, rest.lineno, rest.col_offset + length)
    return _get_span(node)


def _cut_out(text: bytes, spans: Sequence[Span]) -> list[bytes]:
    """What is between the spans; one that lies in another one counts with that."""
    lines, done, pieces = find_lines(text), 0, []
    for start, end in sorted((find_region(lines, span) for span in spans), key=lambda each: (each[0], -each[1])):
        if start >= done:
            pieces.append(text[done:start])
            done = end
    return [*pieces, text[done:]]


# --- what is expected --------------------------------------------------------------------------


class _Making(ast.NodeTransformer):
    """Makes the changes in old statements. ``left``: those not made yet. ``changed``: node -> where it was."""

    def __init__(self, changes: Sequence[SourceChange]) -> None:
        self.left = [change for number, change in enumerate(changes) if change not in changes[:number]]
        self.changed: dict[ast.AST, Span] = {}

    def visit(self, node: Any) -> Any:
        located = isinstance(node, ast.stmt | ast.expr)
        found = [change for change in self.left if located and change.span == _get_span(node)]
        place = _find_place(node, old=True) if found else None  # before a change below it
        node = self.generic_visit(node)
        for change in found:
            made = _make_change(node, change)
            if made is not None and place is not None:
                node = made
                self.left.remove(change)
                self.changed[node] = place
        return node


def _get_span(node: Any) -> Span:
    return Span(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)


def _make_change(node: Any, change: SourceChange) -> ast.AST | None:
    """``node`` with the change made; None where it is of another kind."""
    if change.target in ("keyword", "literal") and isinstance(node, ast.Call):
        node.keywords = [each for each in node.keywords if each.arg != change.key]
        node.keywords += [ast.keyword(change.key, value) for value in _make_value(change)]
    elif change.target in ("keyword", "literal") and isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        items = [pair for pair in pairs if getattr(pair[0], "value", None) != change.key]
        items += [(ast.Constant(change.key), value) for value in _make_value(change)]
        node.keys, node.values = [key for key, _ in items], [value for _, value in items]
    elif change.target == "value" and isinstance(node, ast.expr):
        return _make_value(change)[0]
    elif change.target == "parameter" and isinstance(node, _FUNCTIONS):
        args = node.args
        if all(each.arg != change.name for each in (*args.posonlyargs, *args.args, *args.kwonlyargs)):
            behind_star = bool(args.vararg or args.kwonlyargs)
            (args.kwonlyargs if behind_star else args.args).append(ast.arg(change.name))
            defaults: list[Any] = args.kw_defaults if behind_star else args.defaults
            defaults += _make_value(replace(change, name=""))
    elif change.target == "guard" and isinstance(node, ast.If):
        lines = [f"if {change.name} is not None:"]
        for string in dict.fromkeys(string for _, string in change.assign):
            names = [name for name, each in change.assign if each == string]
            lines.append(f" {' = '.join(names)} = {string!r}")
        guard: Any = ast.parse("\n".join(lines)).body[0]
        guard.orelse, node = [node], guard
    else:
        return None
    return node  # type: ignore[no-any-return]


def _make_value(change: SourceChange) -> list[ast.expr]:
    """The new value; none where it is to be removed."""
    text = change.name or ("" if change.default is REMOVE else write_literal(change.default))
    return [ast.parse(text, mode="eval").body] if text else []
