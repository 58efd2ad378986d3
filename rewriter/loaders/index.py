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
_USUAL = f"@{REGISTRY}"
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
    for use in re.finditer(r"\.register_module\b", text):
        before = text[: use.start()].rpartition("\n")[2]
        after = text[use.end() :].partition("\n")[0]
        target = _NEXT.search(text, use.end())
        name = _usual_name(after) if before == _USUAL else None
        if name is not None and target is not None:
            found.append((name or target[1], target[1]))
            continue
        registry = re.findall(r"[\w.]*$", before)[0]
        if before.lstrip()[:1] == "#" or (registry and registry.rpartition(".")[2] not in aliases):
            continue
        plain = re.match(_PLAIN, after)
        if before != f"@{registry}" or not registry or plain is None or target is None:
            return [], True
        found.append((plain["name"] or target[1], target[1]))
    return found, False


def _usual_name(given: str) -> str | None:
    """The name in ``("name")``, or ``""`` where there is none; None: it is written otherwise."""
    name = given[2:-2]
    if name and given in (f'("{name}")', f"('{name}')") and not any(mark in name for mark in "\"'\\"):
        return name
    return "" if given == "()" else None


def _aliases(text: str) -> set[str]:
    """Names that stand for ``MODELS`` in a text."""
    names = {REGISTRY}
    if f"{REGISTRY} as " in text:
        names.update(re.findall(rf"{REGISTRY} as (\w+)", text))
    if any(f"{sign}{REGISTRY}" in text for sign in ("= ", "=", ".")):
        names.update(re.findall(rf"^(\w+)\s*=\s*(?:[\w.]+\.)?{REGISTRY}\s*(?:#.*)?$", text, re.MULTILINE))
    return names


def registered_in(tree: list[ast.stmt], text: str) -> list[tuple[str, str]]:
    """The same as :func:`registered`, from the parsed file: decorators and calls in any form."""
    aliases = _aliases(text)
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.Module(body=tree, type_ignores=[])):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in node.decorator_list:
                found += [(name, node.name) for name in _names(decorator, aliases, node.name)]
        elif isinstance(node, ast.Call):
            found += _called(node, aliases)
    return found


def _called(node: ast.Call, aliases: set[str]) -> list[tuple[str, str]]:
    """``MODELS.register_module(name="x", module=Cls)`` and ``MODELS.register_module("x")(Cls)``."""
    if isinstance(node.func, ast.Call):
        call, target = node.func, node.args[0] if node.args else None
    else:
        call, target = node, _argument(node, "module", 2)
    if not isinstance(target, ast.Name):
        return []
    return [(name, target.id) for name in _names(call, aliases, target.id)]


def _names(node: ast.expr, aliases: set[str], own: str) -> list[str]:
    """What ``MODELS.register_module(...)`` registers a definition of the name ``own`` as; empty: no such call."""
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "register_module"
    ):
        return []
    if ast.unparse(node.func.value).rpartition(".")[2] not in aliases:
        return []
    given = _argument(node, "name", 0)
    if given is None or (isinstance(given, ast.Constant) and given.value is None):
        return [own]
    given_all = given.elts if isinstance(given, (ast.List, ast.Tuple)) else [given]
    return [each.value for each in given_all if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def _argument(call: ast.Call, name: str, place: int) -> ast.expr | None:
    given = [*(each.value for each in call.keywords if each.arg == name), *call.args[place:]]
    return given[0] if given else None


def read_bytes(path: str, overlay: Mapping[str, bytes]) -> bytes:
    """The bytes of a file, or those that stand for it. Raises Unreadable; a named pipe is not waited for."""
    return overlay[path] if path in overlay else checkout.read_bytes(path)
