"""Find the hub calls of a checkout's other files: scripts, demos and tools that load without any config."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rewriter import checkout, files
from rewriter.decoding import parse
from rewriter.locality import is_path_like
from rewriter.model import CACHE_DIR, Problem, Span
from rewriter.read import library
from rewriter.read.syntax import dotted_name, imported_names, package_of, span_of


class ScriptCall(NamedTuple):
    """A hub call that is written in a file which is no config.

    ``reads``: its first argument as written. ``state``: "set" (it has a ``cache_dir``), "open" (it has none),
    "unsure" (a ``**`` may give it one), or "unreadable": the file cannot be read, and ``reads`` says why. ``editable``:
    ``cache_dir`` may be written there, as the file imports the class or function from a library that takes it.
    """

    path: str
    span: Span
    callee: str
    reads: str
    state: str
    editable: bool


def find_calls(paths: Iterable[str]) -> list[ScriptCall]:
    """The hub calls of files (absolute) and of the scripts below folders, each once.

    Configs and files with registered loaders are no scripts; the calls of other files in a package of loaders, and
    behind links that lead out, are not editable.
    """
    found: dict[ScriptCall, None] = {}
    for given in paths:
        root, is_folder = checkout.find_root(given), os.path.isdir(given)
        packages = checkout.find_packages(root) if root is not None and is_folder else ()
        for path in _list_scripts(given, root) if is_folder else [given]:
            in_package = any(files.show_path(path, package) != path for package in packages)
            barred = in_package or files.outside(path, root or given)
            for call in _read_calls(path):
                found[call._replace(editable=call.editable and not barred)] = None
    return list(found)


def _list_scripts(folder: str, root: str | None) -> list[str]:
    configs = set(checkout.config_files(root) if root is not None else ())
    listed = sorted(files.drop_ignored([*files.walk(folder)], folder))
    return [path for path in listed if path not in configs and not checkout.registers(path)]


def _read_calls(path: str) -> list[ScriptCall]:
    try:
        tree = parse(files.read_bytes(path))
    except files.Unreadable as error:
        tree = error.problem
    if isinstance(tree, Problem):
        span = Span(tree.line, tree.column, tree.line, tree.column)
        return [ScriptCall(path, span, "", tree.message, "unreadable", False)]
    return sorted(_find_calls(tree, path))


def _find_calls(tree: ast.Module, path: str) -> Iterator[ScriptCall]:
    nodes = list(ast.walk(tree))
    origins: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = "." * node.level + (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            for name, origin in imported_names(node, module):
                origins[name] = origin if origins.get(name, origin) == origin else ""
    # bound otherwise than by an import: a variable, a parameter, a definition, `except ... as`, a pattern
    others = [node for node in nodes if not isinstance(node, (ast.alias, ast.keyword))]
    bound = {getattr(node, "arg", getattr(node, "name", None)) for node in others}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if not isinstance(node, ast.Call) or (dotted := dotted_name(node.func)) is None:
            continue
        first, last = package_of(dotted), dotted.rpartition(".")[2]
        origin = origins.get(first, "")
        is_function = (origin.rpartition(".")[2] if first == last else last) in library.HUB_FUNCTIONS
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
        takes = dotted == f"{first}.from_pretrained" and package_of(origin) in ("transformers", "diffusers")
        takes = takes or (is_function and package_of(origin) == "huggingface_hub")
        reads = str(text) if isinstance(repo, ast.Constant) else ast.unparse(repo) if repo is not None else "?"
        yield ScriptCall(path, span_of(node), dotted, reads, state, takes and state == "open" and first not in bound)
