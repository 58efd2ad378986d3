"""``verify``'s levels as data: which configs load, which directories serve, what is to be loaded and built."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rewriter.checkout import Target
from rewriter.model import Component, Finding
from rewriter.process.configs import ConfigTask, load_configs
from rewriter.process.interpreters import InterpreterError, find_interpreter
from rewriter.verify.build import BuildTask
from rewriter.verify.cache import check_directories
from rewriter.verify.load import LoadTask
from rewriter.verify.needs import CallRow, ComponentTrace

__all__ = ["LEVELS", "check_directories", "make_build_tasks", "make_load_tasks", "resolve_configs"]

LEVELS = ("resolve", "cache", "load", "build")
"""Each includes those before it."""


def resolve_configs(targets: Sequence[Target], python: str | None, *, required: bool) -> tuple[list[Finding], str]:
    """Let mmengine load every config. Returns findings (OSR901) and a note (empty where mmengine loaded them).

    A config that upstream's own ``Config.fromfile(path)`` cannot load, only ``lazy_import=False``, is a warning.

    Raises:
        InterpreterError: no interpreter has mmengine and ``required``, or the one that was named does not run.
    """
    interpreter = find_interpreter(python, "mmengine")
    if interpreter is None:
        if required:
            raise InterpreterError("no interpreter with mmengine is found")
        return [], "mmengine did not load the configs (none found): pip install 'opensora-rewriter[resolve]'"
    findings = []
    loaded = load_configs(interpreter, [ConfigTask(target.path, target.root) for target in targets])
    for target, result in zip(targets, loaded, strict=True):
        line = result.line or 1
        if not result.ok:
            message = f"mmengine cannot load it: {result.error}"
            findings.append(Finding("OSR901", target.path, line, 0, "", message, "correct the config"))
        elif result.plain_error:
            message = f"upstream's `Config.fromfile(path)` cannot load it: {result.plain_error}"
            remedy = "remove the import, or load it with Config.fromfile(path, lazy_import=False)"
            findings.append(Finding("OSR901", target.path, line, 0, "", message, remedy, "warning"))
    return findings, ""


def make_load_tasks(
    rows: Sequence[CallRow], traced: Sequence[ComponentTrace], is_broken: Callable[[CallRow], bool]
) -> list[LoadTask]:
    """The calls that level load checks; not those whose repo is known to be incomplete."""
    roots = {component.path: component.root or "" for component in traced}
    return [
        LoadTask(row.call, row.cache_dir, roots[row.path], row.type, row.component, row.path, row.line)
        for row in rows
        if row.call.repo_id is not None and not is_broken(row)
    ]


def make_build_tasks(traced: Sequence[ComponentTrace]) -> tuple[list[BuildTask], list[ComponentTrace]]:
    """What level build builds, a task a config; and the components that belong to no checkout, which it cannot."""
    places: dict[tuple[str, str], list[Component]] = {}
    homeless = []
    for component in traced:
        if len(component.component.keys) > 1:
            continue  # a part of the component around it
        if component.root is None:
            homeless.append(component)
        else:
            places.setdefault((component.root, component.path), []).append(component.component)
    tasks = [
        BuildTask(root, path, tuple(each.name for each in parts), tuple(each.span.line for each in parts))
        for (root, path), parts in places.items()
    ]
    return tasks, homeless
