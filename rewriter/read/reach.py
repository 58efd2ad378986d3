"""Tell from their text which definitions cannot load, so that only the others are parsed and walked.

A definition can load where its text holds a word of a hub call or of a component that is built, or names a definition
that can. A file from which, and from all that it imports, no such word can be reached is not even parsed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from rewriter.read import library
from rewriter.read.modules import Module
from rewriter.read.values import Definition, External

_HUB_CALL = re.compile(rb"\.from_pretrained\b(?! =)|" + "|".join(library.HUB_FUNCTIONS).encode())
_MARKED = [mark + name for mark in (".", "'", '"') for name in library.HUB_METHODS]
_LOADING = [word.encode() for word in (*library.HUB_FUNCTIONS, *_MARKED, "'type'", '"type"')]
_TYPE = re.compile(rb"type(?<!\wtype)\s*=\s*['\"]")  # `\b` in front of it would take ten times as long
_WORD = re.compile(rb"[^\W\d]\w*")


def can_load(module: Module, node: ast.AST | None = None) -> bool:
    """Whether a hub call, or a component that is built, can be reached from a piece of a module, or from all of it.

    A definition from which none can be reached, and that is given neither a followed key nor a string of the config,
    need not be walked.
    """
    known, start = module.sources.can_load, node or module.path
    todo = [(module, node)] if start not in known else []
    for home, part in todo:
        text = home.read_text(part)
        if known.get(part or home.path) or any(word in text for word in _LOADING) or _TYPE.search(text):
            known[start] = True
            return True
        found = _find_named(home, part, text)
        todo += [each for each in found if each not in todo and known.get(each[1] or each[0].path, True)]
    known |= {part or home.path: False for home, part in todo}
    return known[start]


def _find_named(module: Module, node: ast.AST | None, text: bytes) -> Iterator[tuple[Module, ast.AST | None]]:
    """What a piece of a module names; of a whole file only the files that it imports, so that it is not parsed."""
    sources, names = module.sources, [*module.read_imports(text)]
    for word in read_words(text) | {"*"} if node is not None else ():
        for value in module.names.get(word, ()):
            if isinstance(value, External):
                names.append(value.name)
            else:
                yield module, value.node if isinstance(value, Definition) else value
    for name in names:
        whole = sources.find_module(name)
        home = whole or sources.find_module(name.rpartition(".")[0])
        if home is not None and (whole or node is None):
            yield home, None
        elif home is not None and can_load(home) and isinstance(found := sources.find(name), Definition):
            yield found.module, found.node


def read_words(text: bytes) -> set[str]:
    """The words of a source, comments and strings included."""
    return set(map(bytes.decode, _WORD.findall(text)))


def names_hub_call(module: Module, node: ast.AST) -> bool:
    """Whether the text of a piece of a module holds the name of a hub call."""
    return _HUB_CALL.search(module.read_text(node)) is not None
