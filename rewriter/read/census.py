"""Look for what a walk did not go through: a loader that may load in a way not followed is never "not needed".

In every function that was walked, outside branches that certainly do not run: a hub name or ``getattr`` and its kin
that no followed call explains, ``global``, and the name of a definition that contains a hub call and was not walked.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from rewriter.read import library
from rewriter.read.modules import Sources
from rewriter.read.names import find_lineage, find_name
from rewriter.read.values import Definition, External, Unknown

if TYPE_CHECKING:
    from rewriter.read.walk import Walk


_LOADING = re.compile(
    rb"""[.'"]\s*(?:from_pretrained|from_config|load_config)\b|\b(?:hf_hub_download|snapshot_download|build_module)\b"""
    rb"""|\btype\s*=\s*['"]|['"]type['"]"""
)
"""What the text of a definition that loads, or builds a component, holds."""


def find_unwalked(walk: Walk) -> list[str]:
    """What is left unexplained, in plain words with file and line."""
    dead = {inner for node in walk.dead for inner in ast.walk(node)}
    loading_methods = _unwalked_loading_methods(walk)
    found = [f"{place}: what `{name}` loads" for name, place in loading_methods.items() if name.startswith("__")]
    for function in list(walk.entered.values()):
        for node in _find_names(function.node):
            reason = _explain(walk, function, node, loading_methods) if node not in dead else None
            if reason is not None:
                found.append(f"{function.module.path}:{getattr(node, 'lineno', 1)}: {reason}")
    return found


@functools.cache
def _find_names(node: ast.FunctionDef | ast.ClassDef) -> list[ast.AST]:
    """Every name in a function; of a class those of its own body, not of its methods."""
    parts: list[ast.AST] = [*node.body]
    if isinstance(node, ast.ClassDef):
        parts = [part for part in parts if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))]
    kinds = (ast.Name, ast.Attribute, ast.Global, ast.Nonlocal)
    return [each for part in parts for each in ast.walk(part) if isinstance(each, kinds)]


def _explain(walk: Walk, function: Definition, node: ast.AST, loading_methods: Collection[str]) -> str | None:
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        return f"what it does to `{node.names[0]}`"
    if not isinstance(node, (ast.Name, ast.Attribute)) or node in walk.called:
        return None
    word = node.id if isinstance(node, ast.Name) else node.attr
    if isinstance(node, ast.Attribute):
        if not isinstance(node.ctx, ast.Load):
            return None
        reads = word in library.HUB_NAMES and not _is_value(walk, function, node)
        hidden = reads or word in loading_methods or word == "partial"
        return f"what `{ast.unparse(node)}` does" if hidden else None
    if word in library.HUB_FUNCTIONS or word in library.UNFOLLOWED_NAMES:
        return f"what `{word}` does"
    named = function.module.names.get(word, ())
    values = [function.module.find(word)] if named else []
    for value in (*named, *values):
        body = value.node if isinstance(value, Definition) else value
        walked = isinstance(value, Definition) and (value.node in walk.entered or word == "build_module")
        if isinstance(body, ast.AST) and not walked and _contains_hub_name(body):
            return f"what `{word}` loads"
    return None


def _is_value(walk: Walk, function: Definition, node: ast.Attribute) -> bool:
    """Whether ``name.from_pretrained`` reads a value of an object (``config.from_pretrained``) and no class method."""
    return isinstance(node.value, ast.Name) and isinstance(find_name(walk.sources, node.value, {}, function), Unknown)


def _unwalked_loading_methods(walk: Walk) -> dict[str, str]:
    """The methods that contain a hub call, by name, of the classes that were entered, and were not walked."""
    classes = [each for each in walk.entered.values() if isinstance(each.node, ast.ClassDef)]
    return {
        node.name: f"{base.module.path}:{node.lineno}"
        for cls in classes
        for base in find_lineage(walk.sources, cls)
        for node in base.node.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node not in walk.entered
        and _contains_hub_name(node)
    }


@functools.cache
def _contains_hub_name(node: ast.AST) -> bool:
    """Whether some code names a hub call: as an attribute, or as a function."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and inner.attr in library.HUB_NAMES and isinstance(inner.ctx, ast.Load):
            return True
        if isinstance(inner, ast.Name) and inner.id in library.HUB_FUNCTIONS:
            return True
    return False


def can_load(sources: Sources, definition: Definition) -> bool:
    """Whether a hub call, or a component that is built, can be reached from a definition by the words of its text.

    A definition from which none can be reached, and that is handed neither a followed key nor a string of the config,
    need not be walked.
    """
    known = sources.can_load
    if definition.node in known:
        return known[definition.node]
    seen = {definition.node: definition.owner or definition}
    for each in (todo := list(seen.values())):
        text = _read_text(each)
        names = each.module.names
        found = [each.module.find(word) for word in _read_words(text) if word in names or "*" in names]
        # a module of the checkout that is named as a whole may do whatever is in it
        modules = [other for other in found if isinstance(other, External) and sources.find_module(other.name)]
        others = [other for other in found if isinstance(other, Definition)]
        if modules or _holds_loading(text) or any(known.get(other.node, False) for other in others):
            known[definition.node] = True
            return True
        for other in others:
            if other.node not in seen and other.node not in known:
                seen[other.node] = other
                todo.append(other)
    known.update(dict.fromkeys(seen, False))
    return False


@functools.cache
def _holds_loading(text: bytes) -> bool:
    return _LOADING.search(text) is not None


def _read_text(definition: Definition) -> bytes:
    node = definition.node
    return b"\n".join(definition.module.lines[node.lineno - 1 : node.end_lineno])


@functools.cache
def _read_words(text: bytes) -> frozenset[str]:
    """The words of a source, comments and strings included."""
    return frozenset(re.findall(r"[^\W\d]\w*", text.decode("utf-8", "replace")))
