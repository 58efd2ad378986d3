"""Small questions about a syntax tree, without any meaning of names."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from rewriter.model import Span

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def dotted_name(node: ast.expr) -> str | None:
    """``a.b.c`` as text, or None for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def last_name(node: ast.expr) -> str:
    """``c`` of ``a.b.c`` and of ``a.b.c(...)``."""
    target = node.func if isinstance(node, ast.Call) else node
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def package_of(dotted: str) -> str:
    """The first part of a dotted name."""
    return dotted.partition(".")[0]


def stored_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names, plain and dotted, that nodes bind."""
    targets = [each for node in nodes for each in ast.walk(node) if isinstance(getattr(each, "ctx", None), ast.Store)]
    return {name for each in targets if isinstance(each, ast.expr) and (name := dotted_name(each)) is not None}


def statements_run_once(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that a module runs at most once: those in ``if``, ``try`` and ``with`` too, loops as a whole."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for part in ("body", "orelse", "finalbody"):
                yield from statements_run_once(getattr(node, part, []))
            for handler in getattr(node, "handlers", ()):
                yield from statements_run_once(handler.body)
        else:
            yield node


def imported_names(node: ast.Import | ast.ImportFrom, origin: str = "") -> Iterator[tuple[str, str]]:
    """``(name, what it stands for)`` of an import, dotted; ``origin``: the absolute module that ``from`` names."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield alias.asname or alias.name, origin if alias.name == "*" else f"{origin}.{alias.name}"
        else:
            whole = alias.name if alias.asname else package_of(alias.name)
            yield alias.asname or whole, whole


def span_of(node: ast.expr | ast.stmt) -> Span:
    """Where a node is written."""
    return Span(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)


def header_of(node: ast.FunctionDef | ast.ClassDef | ast.If) -> Span:
    """Where a function or an ``if`` is written, up to the first statement of its body."""
    first = node.body[0]
    return Span(node.lineno, node.col_offset, first.lineno, first.col_offset)
