"""Tell from their text which definitions cannot load, so that only the others are parsed and walked.

A definition can load where a word of its text, or of a definition that its text names, is that of a hub call or of a
component that is built. A file from whose text, and that of all files that it imports, no such word can be reached is
not even parsed.
"""

from __future__ import annotations

import ast
import functools
import re

from rewriter.read import library
from rewriter.read.modules import Module, Sources
from rewriter.read.values import Definition, External

_LOADING = re.compile(
    rb"""[.'"]\s*(?:from_pretrained|from_config|load_config)\b|\b(?:hf_hub_download|snapshot_download)\b"""
    rb"""|(?<!def )\bbuild_module\b|\btype\s*=\s*['"]|['"]type['"]"""
)
"""What the text of a definition that loads, or builds a component, holds."""
_TYPE = re.compile(rb"\btype\s*=\s*['\"]")
_WORDS = [name.encode() for name in ("'type'", '"type"', *library.HUB_METHODS, *library.HUB_FUNCTIONS)]
_HUB_NAME = re.compile("|".join(library.HUB_NAMES).encode())
_IMPORT = re.compile(rb"^\s*(?:from|import)\s+(\.*)([\w.]*)", re.MULTILINE)
_IMPORTS_MANY = re.compile(rb"^\s*import[^#\n]*,", re.MULTILINE)


def type_can_load(sources: Sources, type_name: str) -> bool:
    """Whether the loader of a type can reach a hub call at all; a type that is not registered cannot."""
    if not any(_file_may_load(sources, module) for module in sources.find_registering(type_name)):
        return False
    return any(can_load(sources, each) for each in sources.find_loaders(type_name))


def can_load(sources: Sources, definition: Definition) -> bool:
    """Whether a hub call, or a component that is built, can be reached from a definition by the words of its text.

    One from which none can be reached, and that is given neither a followed key nor a string of the config, need not be
    walked.
    """
    known = sources.can_load
    if definition.node in known:
        return known[definition.node]
    todo: list[Definition | Module] = [definition, *([definition.owner] if definition.owner is not None else [])]
    for each in todo:
        module, node = (each.module, each.node) if isinstance(each, Definition) else (each, each.tree)
        text = read_text(module, node)
        words = read_words(text) if isinstance(each, Definition) else module.names
        found = [module.find(word) for word in words if _may_load(sources, module, word)]
        # of a module of the checkout that is named as a whole, anything in it may run
        whole = [sources.find_module(other.name) for other in found if isinstance(other, External)]
        others = [other for other in (*found, *whole) if isinstance(other, (Definition, Module))]
        if _LOADING.search(text) or any(known.get(_key(other)) for other in others):
            known[definition.node] = True
            return True
        todo += [other for other in others if _key(other) not in known and other not in todo]
    known.update(dict.fromkeys(map(_key, todo), False))
    return False


def _key(each: Definition | Module) -> object:
    return each.node if isinstance(each, Definition) else each


def _may_load(sources: Sources, module: Module, word: str) -> bool:
    """False where a name is imported from a file which, like all that it imports, holds no word that loads."""
    for value in module.names.get(word, [None] if "*" in module.names else []):
        names = [value.name, value.name.rpartition(".")[0]] if isinstance(value, External) else []
        home = next((home for name in names if (home := sources.find_module(name)) is not None), None)
        if home is None or _file_may_load(sources, home):
            return True
    return False


def _file_may_load(sources: Sources, module: Module) -> bool:
    if module in sources.can_load:
        return sources.can_load[module]
    todo = [module]
    for each in todo:
        text = sources.read_file(each.path)
        if each.path.endswith("__init__.py") or _names_loading(text) or _IMPORTS_MANY.search(text):
            sources.can_load[module] = True
            return True
        origins = (ast.ImportFrom(name.decode(), [], len(dots)) for dots, name in _IMPORT.findall(text))
        homes = [sources.find_module(each.find_origin(origin)) for origin in origins]
        todo += [home for home in homes if home is not None and home not in todo]
    sources.can_load |= dict.fromkeys(todo, False)
    return False


@functools.cache
def _names_loading(text: bytes) -> bool:
    """Whether a file holds what ``_LOADING`` looks for, or something near it: plain words are found much faster."""
    builds = text.count(b"build_module") > text.count(b"def build_module") + text.count(b"import build_module")
    return builds or any(word in text for word in _WORDS) or _TYPE.search(text) is not None


def contains_hub_call(module: Module, node: ast.AST) -> bool:
    """Whether some code of a module names a hub call: as an attribute, or as a function."""
    if _HUB_NAME.search(read_text(module, node)) is None:
        return False
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and inner.attr in library.HUB_NAMES and isinstance(inner.ctx, ast.Load):
            return True
        if isinstance(inner, ast.Name) and inner.id in library.HUB_FUNCTIONS:
            return True
    return False


def read_text(module: Module, node: ast.AST) -> bytes:
    """The lines on which a node of a module is written."""
    first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", None)
    return b"\n".join(module.lines[first - 1 : last])


@functools.cache
def read_words(text: bytes) -> frozenset[str]:
    """The words of a source, comments and strings included."""
    return frozenset(re.findall(r"[^\W\d]\w*", text.decode("utf-8", "replace")))
