"""Look for what a walk did not go through: a loader that may load in a way not followed is never "not needed".

In every function that was walked, outside branches that certainly do not run: a hub name or ``getattr`` and its kin
that no followed call explains, ``global``, and the name of a definition that contains a hub call and was not walked.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from rewriter.read import library
from rewriter.read.modules import Module, Sources
from rewriter.read.reach import read_text, read_words, text_may_load
from rewriter.read.syntax import FUNCTIONS
from rewriter.read.values import Definition, Unknown

if TYPE_CHECKING:
    from rewriter.read.walk import Walk

_HUB_NAME = re.compile("|".join(library.HUB_NAMES).encode())
_SUSPICIOUS = library.HUB_NAMES | library.UNFOLLOWED_NAMES | {"partial", "global", "nonlocal"}


def find_unwalked(walk: Walk) -> list[str]:
    """What is left unexplained, in plain words with file and line."""
    methods = _unwalked_loading_methods(walk)
    found = [f"{place}: what `{name}` loads" for name, place in methods.items() if name.startswith("__")]
    for function in list(walk.entered.values()):
        for node, body in _find_suspects(walk.sources, function, frozenset(methods)):
            if node in walk.called or body in walk.entered or node in _dead_nodes(walk):
                continue
            name = node.names[0] if isinstance(node, (ast.Global, ast.Nonlocal)) else ast.unparse(node)
            verb = "loads" if body is not None else "does"
            found.append(f"{function.module.path}:{getattr(node, 'lineno', 1)}: what `{name}` {verb}")
    return found


def _dead_nodes(walk: Walk) -> set[ast.AST]:
    return {inner for node in walk.dead for inner in ast.walk(node)}


def _find_suspects(
    sources: Sources, function: Definition, methods: frozenset[str]
) -> list[tuple[ast.AST, ast.AST | None]]:
    """The names in a function that may load, each with the code of the checkout that it stands for, if any.

    Of a class those of its own body, not of its methods. ``methods``: names of methods that load and were not walked.
    """
    key = function.node, methods
    if key not in sources.suspects:
        words = read_words(read_text(function.module, function.node))
        module = function.module
        imported = [word for word in words if word in module.names and text_may_load(sources, module, word)]
        bodies = {word: _find_loading(module, word) for word in imported}
        bodies = {word: found for word, found in bodies.items() if found and word != "build_module"}
        parts = function.node.body if bodies or not words.isdisjoint(_SUSPICIOUS | methods) else []
        if isinstance(function.node, ast.ClassDef):
            parts = [part for part in parts if not isinstance(part, FUNCTIONS)]
        sources.suspects[key] = [
            (node, body)
            for part in parts
            for node in ast.walk(part)
            for body in (
                bodies[node.id]
                if isinstance(node, ast.Name) and node.id in bodies
                else [None] * _is_suspicious(sources, function, node, methods)
            )
        ]
    return sources.suspects[key]


def _find_loading(module: Module, word: str) -> list[ast.AST]:
    """The code of the checkout that contains a hub call and is meant by a top-level name."""
    found: list[ast.AST] = []
    for value in (*module.names[word], module.find(word)):
        home, body = (value.module, value.node) if isinstance(value, Definition) else (module, value)
        if isinstance(body, ast.AST) and _contains_hub_name(home, body):
            found.append(body)
    return found


def _is_suspicious(sources: Sources, function: Definition, node: ast.AST, methods: frozenset[str]) -> bool:
    """Whether a name means a hub call, or something that nobody can follow, by itself."""
    if isinstance(node, ast.Name):
        return node.id in library.HUB_FUNCTIONS or node.id in library.UNFOLLOWED_NAMES
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        if node.attr in library.HUB_NAMES:
            # `config.from_pretrained` reads a value of an object and is no class method
            is_name = isinstance(node.value, ast.Name)
            return not (is_name and isinstance(sources.find_name(node.value, {}, function), Unknown))
        return node.attr in methods or node.attr == "partial"
    return isinstance(node, (ast.Global, ast.Nonlocal))


def _unwalked_loading_methods(walk: Walk) -> dict[str, str]:
    """The methods that contain a hub call, by name, of the classes that were entered, and were not walked."""
    classes = [each for each in walk.entered.values() if isinstance(each.node, ast.ClassDef)]
    return {
        node.name: f"{base.module.path}:{node.lineno}"
        for cls in classes
        for base in walk.sources.find_lineage(cls)
        for node in base.node.body
        if isinstance(node, FUNCTIONS) and node not in walk.entered and _contains_hub_name(base.module, node)
    }


def _contains_hub_name(module: Module, node: ast.AST) -> bool:
    """Whether some code of a module names a hub call: as an attribute, or as a function."""
    if _HUB_NAME.search(read_text(module, node)) is None:
        return False
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and inner.attr in library.HUB_NAMES and isinstance(inner.ctx, ast.Load):
            return True
        if isinstance(inner, ast.Name) and inner.id in library.HUB_FUNCTIONS:
            return True
    return False
