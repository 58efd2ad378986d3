"""Find the files of a package and the names that they register with ``MODELS``, by their bytes."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping

from rewriter import checkout
from rewriter.frozen import Frozen

REGISTRY = "MODELS"

# Patterns for :mod:`re` to compile when they are needed: the usual forms need none.
_PLAIN = (
    r"""\(\s*(?:(?:name\s*=\s*)?(?P<quote>["'])(?P<name>[^"'\\]+)(?P=quote)\s*)?"""
    r"""(?:,?\s*force\s*=\s*\w+\s*)?,?\s*\)\s*(?:\#.*)?$"""
)
_USE = r"^(?P<lead>.*?)(?<![\w.])(?P<registry>[\w.]*)\.register_module\b(?P<rest>.*)$"
_USUAL = f"@{REGISTRY}.register_module("
_NEXT = re.compile(r"\n(?:async\s+def|def|class)\s+(\w+)")


class Registration(Frozen):
    """``name`` is registered for the top-level definition ``definition`` of the file at ``path``."""

    name: str
    path: str
    definition: str


def python_files(folder: str) -> Iterator[str]:
    """Absolute paths of the ``*.py`` files below ``folder``, sorted; links to folders are not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != "__pycache__" and not entry.name.startswith("."):
                yield from python_files(entry.path)
        elif entry.name.endswith(".py"):
            yield entry.path


def registered(text: str) -> tuple[list[tuple[str, str]], bool]:
    """``[(registered name, definition)]`` of a source text by regular expressions, and whether a form is odd.

    A text with an odd form must be read by :func:`registered_in` instead.
    """
    found: list[tuple[str, str]] = []
    aliases = _aliases(text)
    place = -1
    while (place := text.find(".register_module", place + 1)) >= 0:
        start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
        end = len(text) if end < 0 else end
        line = text[start:end]
        name = _usual_name(line)
        if name is not None and (target := _NEXT.search(text, end)) is not None:
            found.append((name or target[1], target[1]))
            continue
        use = re.match(_USE, line)
        if use is None or "#" in use["lead"]:
            continue
        if use["registry"] and use["registry"].rpartition(".")[2] not in aliases:
            continue
        plain = re.match(_PLAIN, use["rest"])
        target = _NEXT.search(text, end)
        if use["lead"] != "@" or not use["registry"] or plain is None or target is None:
            return [], True
        found.append((plain["name"] or target[1], target[1]))
    return found, False


def _usual_name(line: str) -> str | None:
    """The name in ``@MODELS.register_module("name")``, or ``""`` where there is none; None: it is written otherwise."""
    given = line[len(_USUAL) : -1]
    if not line.startswith(_USUAL) or line[-1] != ")":
        return None
    if not given:
        return ""
    quote = given[0]
    name = given[1:-1]
    usual = quote in "\"'" and given[-1] == quote and name and not any(mark in name for mark in "\"'\\")
    return name if usual else None


def _aliases(text: str) -> set[str]:
    """Names that stand for ``MODELS`` in a text."""
    names = {REGISTRY}
    if f"{REGISTRY} as " in text:
        names.update(re.findall(rf"{REGISTRY} as (\w+)", text))
    if f"= {REGISTRY}" in text or f".{REGISTRY}" in text:
        names.update(re.findall(rf"^(\w+)\s*=\s*(?:[\w.]+\.)?{REGISTRY}\s*$", text, re.MULTILINE))
    return names


def registered_in(tree: list[ast.stmt], text: str) -> list[tuple[str, str]]:
    """The same as :func:`registered`, from the parsed file: decorators and calls in any form."""
    aliases = _aliases(text)
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.Module(body=tree, type_ignores=[])):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in node.decorator_list:
                if (names := _names(decorator, aliases)) is not None:
                    found += [(name, node.name) for name in names or [node.name]]
        elif isinstance(node, ast.Call):
            found += _called(node, aliases)
    return found


def _called(node: ast.Call, aliases: set[str]) -> list[tuple[str, str]]:
    """``MODELS.register_module(name="x", module=Cls)`` and ``MODELS.register_module("x")(Cls)``."""
    names = _names(node, aliases)
    target = next((each.value for each in node.keywords if each.arg == "module"), None)
    if names is None and isinstance(node.func, ast.Call):
        names = _names(node.func, aliases)
        target = node.args[0] if node.args else None
    if names is None or not isinstance(target, ast.Name):
        return []
    return [(name, target.id) for name in names or [target.id]]


def _names(node: ast.expr, aliases: set[str]) -> list[str] | None:
    """The names that ``<MODELS>.register_module(...)`` is given; empty: none given; None: no such call."""
    if isinstance(node, ast.Attribute) and node.attr == "register_module":
        return [] if ast.unparse(node.value).rpartition(".")[2] in aliases else None
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    if _names(node.func, aliases) is None:
        return None
    given = next((each.value for each in node.keywords if each.arg == "name"), node.args[0] if node.args else None)
    given_all = given.elts if isinstance(given, (ast.List, ast.Tuple)) else [given]
    return [each.value for each in given_all if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def read_bytes(path: str, overlay: Mapping[str, bytes]) -> bytes:
    """The bytes of a file, or those that stand for it. Raises Unreadable; a named pipe is not waited for."""
    return overlay[path] if path in overlay else checkout.read_bytes(path)
