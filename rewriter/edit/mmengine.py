"""Have mmengine load every changed config as it was and as it will be: only what was requested may differ.

The configs are loaded in a child process, in a temporary tree that mirrors the checkout: links to everything, real
copies of the configs and of the changed ones that they inherit from; old and new at the same path, one after the other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from rewriter.model import REMOVE, FileEdit, FileResult, Finding, Note, Plan
from rewriter.process.configs import MISSING, ConfigTask, Resolved, find_differences, load_configs
from rewriter.process.interpreters import InterpreterError, find_interpreter
from rewriter.process.probes.resolve import encode

Mode = Literal["auto", "always", "never"]

_INSTALL = "pip install 'opensora-rewriter[resolve]', or name an interpreter with --python"
_BY_HAND = "change what depends on the dict, or write the keyword by hand; if nothing does, please report this"
_UNREADABLE = "correct the config (mmengine reads UTF-8 without a byte order mark), or rewrite it with --no-resolve"


class MmengineError(Exception):
    """mmengine is required and missing, does not run, or contradicts the edits whatever is left out."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def prove(plan: Plan, *, mode: Mode, python: str | None, drop: Callable[[Plan, Mapping[str, Finding]], Plan]) -> Plan:
    """The plan without the files that mmengine cannot load (OSR901), or resolves otherwise than requested (OSR902).

    A file of the second kind takes along those that it inherits from; what is left is proved again by ``python`` (None:
    the first interpreter that has mmengine). Where none has it, "auto" gives a note, "always" an error. ``drop``
    refuses files of a plan (``rewriter.decide.plan.drop``). Raises MmengineError, with the remedy.
    """
    if mode == "never" or not plan.config_edits:
        return plan
    refused: set[str] = set()
    try:
        interpreter = find_interpreter(python, "mmengine")
        if interpreter is None and mode == "always":
            raise MmengineError("no interpreter with mmengine is found", _INSTALL)
        if interpreter is None:
            note = Note(f"mmengine did not load the configs (no interpreter has it): {_INSTALL}")
            return plan._replace(notes=(*plan.notes, note))
        while (found := _judge_all(plan, interpreter)).keys() - refused:
            plan = drop(plan, {path: each for path, each in found.items() if path not in refused})
            refused |= found.keys()  # what inherits from one of them has another base now
    except InterpreterError as error:
        remedy = "name an interpreter that has mmengine with --python, or --no-resolve"
        raise MmengineError(str(error), remedy) from None
    for path, finding in found.items():
        if finding.code == "OSR902":
            raise MmengineError(f"OSR902 {path}: {finding.message}", "nothing was written; please report this")
    return plan


def _judge_all(plan: Plan, interpreter: str) -> dict[str, Finding]:
    """Which files are to be refused, and why."""
    found: dict[str, Finding] = {}
    edits = {edit.path: edit for edit in plan.config_edits}
    with tempfile.TemporaryDirectory(prefix="opensora-rewriter-") as folder:
        for result, old, new in _load_all(plan, edits, interpreter, os.path.realpath(folder)):
            problem = _judge(edits, result, old, new)
            if problem is None:
                continue
            found[result.path] = problem
            if problem.code == "OSR902" and not problem.component:
                for base in edits.keys() & set(result.bases):
                    name = os.path.relpath(result.path, os.path.dirname(base))
                    message = f"{name} inherits from it: {problem.message}"
                    found.setdefault(base, problem._replace(path=base, message=message))
    return found


def _load_all(
    plan: Plan, edits: Mapping[str, FileEdit], interpreter: str, mirror: str
) -> Iterator[tuple[FileResult, Resolved, Resolved]]:
    """Each config that an edit reaches, as it is and as it will be. Errors name the files of the checkout."""
    reached = (each for each in plan.results if not edits.keys().isdisjoint((each.path, *each.bases)))
    results = [each for each in reached if each.old is not None]
    paths = {each.path for each in results}
    _fill_mirror(mirror, {each.root or os.path.dirname(each.path) for each in results}, paths | edits.keys())
    tasks = []
    for result in results:
        root = None if result.root is None else mirror + result.root
        files = {path: (edits[path].old, edits[path].new) for path in result.bases if path in edits}
        files[result.path] = result.old or b"", result.new or result.old or b""
        for side in range(2):
            data = {mirror + path: versions[side] for path, versions in files.items()}
            tasks.append(ConfigTask(mirror + result.path, root, data))
    answers = [each._replace(error=each.error.replace(mirror, "")) for each in load_configs(interpreter, tasks)]
    yield from zip(results, answers[::2], answers[1::2], strict=True)


def _fill_mirror(mirror: str, roots: set[str], files: set[str]) -> None:
    """Make each root, below ``mirror``, look as it does: real folders on the way to ``files``, links to all else."""
    folders = {*roots, os.path.abspath(os.sep)}
    for path in files:
        while (path := os.path.dirname(path)) not in folders:
            folders.add(path)
    for folder in sorted(folders)[1:]:
        os.makedirs(mirror + folder, exist_ok=True)
        with suppress(FileNotFoundError):  # a config from standard input has none
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if path not in files and path not in folders:
                    os.symlink(path, mirror + path)


def _judge(edits: Mapping[str, FileEdit], result: FileResult, old: Resolved, new: Resolved) -> Finding | None:
    if not old.ok:
        message = f"mmengine cannot load it as it is: {old.error}"
        return Finding("OSR901", result.path, old.line or 1, 0, "", message, _UNREADABLE)
    problem = _find_contradiction(edits, result, old, new)
    if problem is not None:
        return Finding("OSR902", result.path, 1, 0, "", problem, _BY_HAND)
    for decision in result.decisions if result.new != result.old else ():
        component = decision.component
        before = _get_value(old.value, component.keys)
        for change in decision.changes:
            known = [(name, each) for name, each in component.values.items() if each.known and name != change.key]
            # In a branch that is not taken (``if x: vae = None``) nothing has to arrive.
            taken = isinstance(before, dict) and all(before.get(name) == encode(each.value) for name, each in known)
            present = _get_value(new.value, (*component.keys, change.key))
            if taken and find_differences(present, _encode_value(change.value)):
                message = f"`{component.dotted}.{change.key}` did not arrive: it resolves to {_show(present)}"
                return Finding("OSR902", result.path, component.span.line, 0, component.dotted, message, _BY_HAND)
    return None


def _find_contradiction(edits: Mapping[str, FileEdit], result: FileResult, old: Resolved, new: Resolved) -> str | None:
    """What differs beyond the requested keys; None where nothing does."""
    if not new.ok:
        return f"mmengine loads the old file but not the new one: {new.error}"
    changes = [change for path in (result.path, *result.bases) if path in edits for change in edits[path].changes]
    requested = {(*change.component.keys, change.key): _encode_value(change.value) for change in changes}
    for path, before, after in find_differences(old.value, new.value):
        keys = next((keys for keys in requested if path[: len(keys)] == keys), None)
        if keys is None or find_differences(_get_value(new.value, keys), requested[keys]):
            return f"`{'.'.join(map(str, path))}` resolves to {_show(after)}, it was {_show(before)}"
    return None


def _get_value(value: Any, path: Sequence[object]) -> object:
    """The value at a path of :func:`find_differences`, :data:`MISSING` where there is none."""
    for part in path:
        value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
    return value


def _encode_value(value: object) -> object:
    return MISSING if value is REMOVE else encode(value)


def _show(value: object) -> str:
    return "nothing" if value is MISSING else os.fsdecode(repr(value).encode("utf-8", "replace"))[:200]
