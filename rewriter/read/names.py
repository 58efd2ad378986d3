"""What a name in the checkout's sources stands for: a definition, a constant, or something outside."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from rewriter.read import library
from rewriter.read.modules import Sources
from rewriter.read.values import Definition, Env, External, Known, Unknown, Val, is_given


def dotted_name(node: ast.expr) -> str | None:
    """``a.b.c`` as text, or None for any other expression."""
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


def stored_names(nodes: Iterable[ast.AST], context: type[ast.expr_context] = ast.Store) -> set[str]:
    """The names, plain and dotted, that nodes bind."""
    targets = [each for node in nodes for each in ast.walk(node) if isinstance(getattr(each, "ctx", None), context)]
    return {name for each in targets if isinstance(each, ast.expr) and (name := dotted_name(each)) is not None}


def find_name(sources: Sources, node: ast.expr, env: Env, definition: Definition) -> Val:
    """What a dotted name stands for in ``definition``, where ``env`` holds its local names."""
    dotted = dotted_name(node)
    if dotted is None:
        return Unknown()
    if dotted in env:
        return env[dotted]
    first, _, rest = dotted.partition(".")
    found = env[first] if first in env else definition.module.find(first)
    if not rest:
        return found
    if isinstance(found, External):
        return sources.find(f"{found.name}.{rest}")
    if isinstance(found, Definition):
        return find_attribute(sources, found, rest)
    return Unknown(dotted, is_given(found))


def find_attribute(sources: Sources, owner: Definition, name: str) -> Val:
    """A method or a constant of a class of the checkout."""
    for cls in find_lineage(sources, owner):
        for node in cls.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return Definition(cls.module, node, cls)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
                try:
                    return Known(ast.literal_eval(node.value))
                except (ValueError, TypeError):
                    return Unknown()
    outside = find_outside_bases(sources, owner) or []
    if name in library.HUB_METHODS and any(package_of(base.name) in library.CACHE_DIR_LIBRARIES for base in outside):
        return External(f"{package_of(owner.module.name)}.{owner.node.name}.{name}")
    return Unknown()


def find_method(sources: Sources, cls: Definition, name: str) -> Definition | None:
    """A method of a class of the checkout, by lineage."""
    found = find_attribute(sources, cls, name)
    return found if isinstance(found, Definition) else None


def find_init(sources: Sources, definition: Definition) -> Definition | None:
    """The function that runs when ``definition`` is called: itself, or ``__init__`` by lineage."""
    is_class = isinstance(definition.node, ast.ClassDef)
    return find_method(sources, definition, "__init__") if is_class else definition


def find_lineage(sources: Sources, cls: Definition, seen: tuple[Definition, ...] = ()) -> Iterator[Definition]:
    """A class and its base classes that the checkout defines."""
    if isinstance(cls.node, ast.ClassDef) and cls not in seen:
        yield cls
        for base in cls.node.bases:
            found = find_name(sources, base, {}, cls)
            if isinstance(found, Definition):
                yield from find_lineage(sources, found, (*seen, cls))


def find_outside_bases(sources: Sources, cls: Definition) -> list[External] | None:
    """The base classes from outside the checkout; None where one is not known."""
    found = [
        find_name(sources, base, {}, each)
        for each in find_lineage(sources, cls)
        if isinstance(each.node, ast.ClassDef)
        for base in each.node.bases
    ]
    if any(isinstance(base, (Unknown, Known)) for base in found):
        return None
    return [base for base in found if isinstance(base, External)]
