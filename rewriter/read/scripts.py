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
from rewriter.read.names import dotted_name, package_of


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
        tree = _read_tree(path)
        if isinstance(tree, Problem):
            span = Span(tree.line, tree.column, tree.line, tree.column)
            found.append(ScriptCall(path, span, "", tree.message, "unreadable", False))
            continue
        inside = any(path.startswith(package.rstrip(os.sep) + os.sep) for package in packages)
        found += _find_calls(tree, path, inside)
    return sorted(found, key=lambda each: (each.path, each.span.line, each.span.column))


def _read_tree(path: str) -> ast.Module | Problem:
    try:
        source = decode(files.read_bytes(path))
    except files.Unreadable as error:
        return Problem(1, 0, error.message, error.remedy)
    return source if isinstance(source, Problem) else parse(source)


def _find_calls(tree: ast.Module, path: str, inside_package: bool) -> Iterator[ScriptCall]:
    origins = _find_imports(tree)
    bound = {name for node in ast.walk(tree) for name in _names_bound_by(node)}
    for node in ast.walk(tree):
        dotted = dotted_name(node.func) if isinstance(node, ast.Call) else None
        if not isinstance(node, ast.Call) or dotted is None:
            continue
        first, _, last = dotted.partition(".")
        last = last.rpartition(".")[2] or first
        origin = origins.get(first, "")
        names_function = origin.rpartition(".")[2] if first == last else last
        if last not in library.HUB_METHODS and names_function not in library.HUB_FUNCTIONS:
            continue
        if last in ("from_config", "load_config") and not (node.args and isinstance(node.args[0], ast.Constant)):
            continue
        reads = _find_repo(node)
        if isinstance(reads, ast.Constant) and isinstance(reads.value, str) and is_path_like(reads.value):
            continue  # a folder on this machine
        keywords = {word.arg for word in node.keywords}
        state = "set" if CACHE_DIR in keywords else "unsure" if None in keywords else "open"
        direct = dotted == f"{first}.from_pretrained" and package_of(origin) in ("transformers", "diffusers")
        function = names_function in library.HUB_FUNCTIONS and package_of(origin) == "huggingface_hub"
        editable = (direct or function) and state == "open" and first not in bound and not inside_package
        end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        span = Span(node.lineno, node.col_offset, *end)
        yield ScriptCall(path, span, dotted, _describe(reads), state, editable)


def _names_bound_by(node: ast.AST) -> Iterator[str]:
    """The names that a node binds otherwise than by an import."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    for attribute in ("arg", "name", "rest") if not isinstance(node, (ast.alias, ast.keyword)) else ():
        name = getattr(node, attribute, None)  # of a parameter, a definition, `except ... as` or a pattern
        if isinstance(name, str):
            yield name


def _find_imports(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for, dotted; a name that is imported twice in different ways is left out."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else package_of(alias.name)
                found.setdefault(alias.asname or whole, set()).add(whole)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                found.setdefault(alias.asname or alias.name, set()).add(f"{node.module}.{alias.name}")
    return {name: next(iter(origins)) for name, origins in found.items() if len(origins) == 1}


def _find_repo(node: ast.Call) -> ast.expr | None:
    """What names the repo: the first argument, or the keyword for it."""
    named = [word.value for word in node.keywords if word.arg in library.REPO_PARAMETERS]
    return next(iter([*node.args[:1], *named]), None)


def _describe(value: ast.expr | None) -> str:
    if isinstance(value, ast.Constant):
        return str(value.value)
    return ast.unparse(value) if value is not None else "?"
