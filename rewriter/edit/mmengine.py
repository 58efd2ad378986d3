"""Have mmengine load every changed config as it was and as it will be: only what was requested may differ.

The configs are loaded in a child process, in a temporary tree that mirrors the checkout: links to everything, real
copies of the configs and of the changed ones that they inherit from; old and new at the same path, one after the other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from rewriter.model import REMOVE, Component, FileEdit, FileResult, Finding, Note, Plan
from rewriter.process.configs import MISSING, ConfigTask, Resolved, find_differences, load_configs
from rewriter.process.interpreters import InterpreterError, find_interpreter
from rewriter.process.probes.resolve import encode

Mode = Literal["auto", "always", "never"]
Drop = Callable[[Plan, Mapping[str, Finding]], Plan]

_INSTALL = "pip install 'opensora-rewriter[resolve]', or name an interpreter with --python"
_BY_HAND = "change what depends on the dict, or write the keyword by hand; if nothing does, please report this"
_ROUNDS = 20


class MmengineError(Exception):
    """mmengine is required and missing, does not run, or contradicts the edits whatever is left out."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def prove(plan: Plan, *, mode: Mode, python: str | None, drop: Drop) -> Plan:
    """The plan without the files that mmengine cannot load (OSR901), or resolves otherwise than requested (OSR902).

    A file of the second kind takes along those that it inherits from. What is left is proved again.

    Args:
        plan: nothing is loaded where it changes no config.
        mode: "auto" (a note where no interpreter has mmengine), "always" (an error there) or "never".
        python: the interpreter to load with; None: the first that has mmengine.
        drop: refuses files of a plan (``rewriter.decide.plan.drop``).

    Raises:
        MmengineError: with the remedy.
    """
    if mode == "never" or not plan.config_edits:
        return plan
    try:
        interpreter = find_interpreter(python, "mmengine")
        if interpreter is None and mode == "always":
            raise MmengineError("no interpreter with mmengine is found", _INSTALL)
        if interpreter is None:
            note = Note(f"mmengine did not load the configs (no interpreter has it): {_INSTALL}")
            return replace(plan, notes=(*plan.notes, note))
        return _prove(plan, interpreter, drop)
    except InterpreterError as error:
        remedy = "name an interpreter that has mmengine with --python, or --no-resolve"
        raise MmengineError(str(error), remedy) from None
    except OSError as error:
        raise MmengineError(f"no temporary copy of the checkout can be made: {error}", "or use --no-resolve") from None


def _prove(plan: Plan, interpreter: str, drop: Drop) -> Plan:
    refused: dict[str, Finding] = {}
    for _round in range(_ROUNDS):
        found = _judge_all(plan, interpreter, refused)
        fresh = {path: finding for path, finding in found.items() if path not in refused}
        if not fresh:
            break
        refused |= fresh
        plan = drop(plan, fresh)  # what inherits from a refused file has another base now
    for path, finding in found.items():
        if finding.code == "OSR902":
            raise MmengineError(f"OSR902 {path}: {finding.message}", "nothing was written; please report this")
    return plan


# --- loading -----------------------------------------------------------------------------------


def _load_all(plan: Plan, interpreter: str, folder: str) -> Iterator[tuple[FileResult, Resolved, Resolved]]:
    """Each config that an edit reaches, as it is and as it will be. Errors name the files of the checkout."""
    edits = {edit.path: edit for edit in plan.config_edits}
    results = {
        result.path: result
        for result in plan.results
        if result.old is not None and not edits.keys().isdisjoint((result.path, *result.bases))
    }
    mirrors: dict[str, tuple[str, str]] = {}
    tasks = []
    for root in {_get_root(result): None for result in results.values()}:
        part = [result for result in results.values() if _get_root(result) == root]
        files = {path for result in part for path in (result.path, *(set(result.bases) & edits.keys()))}
        top = os.path.commonpath([root, *map(os.path.dirname, files)])
        mirrors[root] = top, os.path.join(folder, str(len(mirrors)))
        _fill_mirror(*mirrors[root], files)
    for result in results.values():
        tasks += [_make_task(result, edits, *mirrors[_get_root(result)], edited=edited) for edited in (False, True)]
    answers = load_configs(interpreter, tasks)
    for number, result in enumerate(results.values()):
        top, place = mirrors[_get_root(result)]
        old, new = (replace(each, error=each.error.replace(place, top)) for each in answers[2 * number :][:2])
        yield result, old, new


def _get_root(result: FileResult) -> str:
    return result.root or os.path.dirname(result.path)


def _map_path(path: str, top: str, place: str) -> str:
    return os.path.normpath(os.path.join(place, os.path.relpath(path, top)))


def _fill_mirror(top: str, place: str, files: set[str]) -> None:
    """Make ``place`` look like ``top``: real folders on the way to ``files``, which are left out; links for else."""
    folders = {top}
    for path in files:
        while (path := os.path.dirname(path)) not in folders:
            folders.add(path)
    for folder in sorted(folders):
        os.makedirs(_map_path(folder, top, place), exist_ok=True)
        with suppress(FileNotFoundError):  # a config from standard input has none
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if path not in files and path not in folders:
                    os.symlink(path, _map_path(path, top, place))


def _make_task(result: FileResult, edits: Mapping[str, FileEdit], top: str, place: str, *, edited: bool) -> ConfigTask:
    files = {base: edits[base].new if edited else edits[base].old for base in result.bases if base in edits}
    files[result.path] = (edited and result.new) or result.old or b""
    root = None if result.root is None else _map_path(result.root, top, place)
    copies = {_map_path(path, top, place): data for path, data in files.items()}
    return ConfigTask(_map_path(result.path, top, place), root, copies)


# --- judging -----------------------------------------------------------------------------------


def _judge_all(plan: Plan, interpreter: str, refused: Mapping[str, Finding]) -> dict[str, Finding]:
    """Which files are to be refused, and why. ``refused``: those that are, of which nothing has to arrive."""
    found: dict[str, Finding] = {}
    with tempfile.TemporaryDirectory(prefix="opensora-rewriter-") as folder:
        for result, old, new in _load_all(plan, interpreter, os.path.realpath(folder)):
            problem = _judge(plan, result, old, new)
            if problem is None or (problem.component and result.path in refused):
                continue
            found[result.path] = problem
            if problem.code == "OSR902" and not problem.component:
                for base in {edit.path for edit in plan.config_edits} & set(result.bases):
                    name = os.path.relpath(result.path, os.path.dirname(base))
                    message = f"{name} inherits from it: {problem.message}"
                    found.setdefault(base, Finding("OSR902", base, 1, 0, "", message, _BY_HAND))
    return found


def _judge(plan: Plan, result: FileResult, old: Resolved, new: Resolved) -> Finding | None:
    if not old.ok:
        message = f"mmengine cannot load it as it is: {old.error}"
        remedy = "correct the config, or rewrite it with --no-resolve"
        if "UnicodeDecodeError" in old.error or "U+FEFF" in old.error:
            remedy = "save it and what it inherits from as UTF-8 without a byte order mark"
        return Finding("OSR901", result.path, old.line or 1, 0, "", message, remedy)
    problem = _find_contradiction(plan, result, old, new)
    if problem is not None:
        return Finding("OSR902", result.path, 1, 0, "", problem, _BY_HAND)
    for decision in result.decisions if result.new != result.old else ():
        component = decision.component
        for change in decision.changes:
            present = _get_value(new.value, (*component.keys, change.key))
            if find_differences(present, _encode_value(change.value)) and _is_present(old, component, change.key):
                message = f"`{component.dotted}.{change.key}` did not arrive: it resolves to {_show(present)}"
                return Finding("OSR902", result.path, component.span.line, 0, component.dotted, message, _BY_HAND)
    return None


def _find_contradiction(plan: Plan, result: FileResult, old: Resolved, new: Resolved) -> str | None:
    """What differs beyond the requested keys; None where nothing does."""
    if not new.ok:
        return f"mmengine loads the old file but not the new one: {new.error}"
    edits = [edit for edit in plan.config_edits if edit.path in (result.path, *result.bases)]
    requested = {
        (*change.component.keys, change.key): _encode_value(change.value) for edit in edits for change in edit.changes
    }
    for path, before, after in find_differences(old.value, new.value):
        keys = next((keys for keys in requested if path[: len(keys)] == keys), None)
        if keys is None or find_differences(_get_value(new.value, keys), requested[keys]):
            return f"`{'.'.join(map(str, path))}` resolves to {_show(after)}, it was {_show(before)}"
    return None


def _is_present(old: Resolved, component: Component, key: str) -> bool:
    """Whether the old config resolves to this dict at all: a branch (``if x: vae = None``) may have replaced it."""
    found = _get_value(old.value, component.keys)
    others = {name: value for name, value in component.values.items() if name != key}
    return isinstance(found, dict) and all(
        name in found and (not value.known or found[name] == encode(value.value)) for name, value in others.items()
    )


def _get_value(value: Any, path: Sequence[object]) -> object:
    """The value at a path of :func:`find_differences`, :data:`MISSING` where there is none."""
    for part in path:
        value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
    return value


def _encode_value(value: object) -> object:
    return MISSING if value is REMOVE else encode(value)


def _show(value: object) -> str:
    return "nothing" if value is MISSING else os.fsdecode(repr(value).encode("utf-8", "replace"))[:200]
