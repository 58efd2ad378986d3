"""Find the hub calls of a checkout's other files: scripts, demos and tools that load without any config."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rewriter import checkout, files
from rewriter.decoding import decode, parse
from rewriter.locality import is_path_like
from rewriter.model import CACHE_DIR, Problem, Span
from rewriter.read import library
from rewriter.read.syntax import dotted_name, imported_names, package_of, span_of


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """A hub call that is written in a file which is no config.

    ``reads``: its first argument as written. ``state``: "set" (it has a ``cache_dir``), "open" (it has none),
    "unsure" (a ``**`` may give it one), or "unreadable": the file cannot be read, and ``reads`` says why. ``editable``:
    ``cache_dir`` may be written there, since the class or function is imported in that file from a library that is
    known to take it.
    """

    path: str
    span: Span
    callee: str
    reads: str
    state: str
    editable: bool


def list_scripts(folder: str) -> list[str]:
    """The Python files below ``folder`` that are neither configs nor hold registered loaders."""
    root = checkout.find_root(folder)
    configs = set(checkout.config_files(root)) if root is not None else set()
    return [path for path in checkout.python_files(folder) if path not in configs and not checkout.registers(path)]


def find_script_calls(paths: Sequence[str], packages: Sequence[str] = ()) -> list[ScriptCall]:
    """The hub calls of files, in order.

    Args:
        paths: the files, absolute. packages: folders of loaders, whose calls are listed and never editable.
    """
    found: list[ScriptCall] = []
    for path in paths:
        try:
            source = decode(files.read_bytes(path))
            tree = source if isinstance(source, Problem) else parse(source)
        except files.Unreadable as error:
            tree = Problem(1, 0, error.message, error.remedy)
        if isinstance(tree, Problem):
            span = Span(tree.line, tree.column, tree.line, tree.column)
            found.append(ScriptCall(path, span, "", tree.message, "unreadable", False))
            continue
        inside = any(path.startswith(package.rstrip(os.sep) + os.sep) for package in packages)
        found += _find_calls(tree, path, inside)
    return sorted(found, key=lambda each: (each.path, each.span.line, each.span.column))


def _find_calls(tree: ast.Module, path: str, inside_package: bool) -> Iterator[ScriptCall]:
    nodes = list(ast.walk(tree))
    origins: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
            for name, origin in imported_names(node, getattr(node, "module", "")):
                origins.setdefault(name, set()).add(origin)
    bound = {name for node in nodes for name in _names_bound_by(node)}
    for node in nodes:
        dotted = dotted_name(node.func) if isinstance(node, ast.Call) else None
        if not isinstance(node, ast.Call) or dotted is None:
            continue
        first, last = package_of(dotted), dotted.rpartition(".")[2]
        origin = "|".join(origins.get(first, ()))  # imported in two ways: no name of a library
        function = origin.rpartition(".")[2] if first == last else last
        is_function = function in library.HUB_FUNCTIONS
        if last not in library.HUB_METHODS and not is_function:
            continue
        if last in ("from_config", "load_config") and not (node.args and isinstance(node.args[0], ast.Constant)):
            continue
        named = [word.value for word in node.keywords if word.arg in library.REPO_PARAMETERS]
        repo = next(iter([*node.args[:1], *named]), None)
        text = repo.value if isinstance(repo, ast.Constant) else None
        if isinstance(text, str) and is_path_like(text):
            continue  # a folder on this machine
        keywords = {word.arg for word in node.keywords}
        state = "set" if CACHE_DIR in keywords else "unsure" if None in keywords else "open"
        direct = dotted == f"{first}.from_pretrained" and package_of(origin) in ("transformers", "diffusers")
        takes = (direct or (is_function and package_of(origin) == "huggingface_hub")) and "|" not in origin
        reads = str(text) if isinstance(repo, ast.Constant) else ast.unparse(repo) if repo is not None else "?"
        editable = takes and state == "open" and first not in bound and not inside_package
        yield ScriptCall(path, span_of(node), dotted, reads, state, editable)


def _names_bound_by(node: ast.AST) -> Iterator[str]:
    """The names that a node binds otherwise than by an import."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    for attribute in ("arg", "name", "rest") if not isinstance(node, (ast.alias, ast.keyword)) else ():
        name = getattr(node, attribute, None)  # of a parameter, a definition, `except ... as` or a pattern
        if isinstance(name, str):
            yield name
