"""Have mmengine load every changed config as it was and as it will be: only what was requested may differ.

The configs are loaded in a child process, in a temporary tree that mirrors the checkout: links to everything, real
copies of the configs and of the changed ones that they inherit from; old and new at the same path, one after the other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Literal

from rewriter.model import REMOVE, FileEdit, Finding, Note, Plan
from rewriter.process.children import Child, ChildError, find_memory, start_child
from rewriter.process.configs import MISSING, ConfigTask, Resolved, find_differences, load_configs
from rewriter.process.interpreters import InterpreterError, find_interpreter
from rewriter.process.probes.resolve import encode

Mode = Literal["auto", "always", "never"]

_INSTALL = "pip install 'opensora-rewriter[resolve]', or name an interpreter with --python"
_BY_HAND = "change what depends on the dict, or write the keyword by hand; if nothing does, please report this"
_UNREADABLE = "correct the config (mmengine reads UTF-8 without a byte order mark), or rewrite it with --no-resolve"


class MmengineError(Exception):
    """mmengine is required and missing, does not run, or contradicts the edits. ``args``: how, and what to do."""


class Prover:
    """Proves the plan of one run with mmengine.

    ``python``: None for the first interpreter that has mmengine. Where none has it, ``mode`` "auto" gives a note,
    "always" an error. ``drop`` refuses files of a plan (``rewriter.decide.plan.drop``).
    """

    def __init__(self, mode: Mode, python: str | None, drop: Callable[[Plan, Mapping[str, Finding]], Plan]) -> None:
        self.mode, self._python, self._drop = mode, python, drop
        self._child: Child | ChildError | None = None

    @cached_property
    def _interpreter(self) -> str | None:
        return find_interpreter(self._python, "mmengine") if self.mode != "never" else None

    def begin(self) -> None:
        """Have a child import mmengine while the plan is made."""
        if self._child is None and self._interpreter is not None:
            self._child = start_child(self._interpreter, "resolve")

    def close(self) -> None:
        """End the child."""
        if isinstance(self._child, Child):
            self._child.stack.close()

    def prove(self, plan: Plan) -> Plan:
        """The plan without the files that mmengine cannot load (OSR901), or resolves otherwise than requested (OSR902).

        One of the second kind takes along those that it inherits from; the rest is proved again. Raises MmengineError.
        """
        if self.mode == "never" or not plan.config_edits:
            return plan
        refused: set[str] = set()
        try:
            if self._interpreter is None and self.mode == "always":
                raise MmengineError("no interpreter with mmengine is found", _INSTALL)
            if self._interpreter is None:
                note = Note(f"mmengine did not load the configs (no interpreter has it): {_INSTALL}")
                return plan._replace(notes=(*plan.notes, note))
            while (found := _judge_all(plan, self._interpreter, self._child)).keys() - refused:
                self._child = None
                plan = self._drop(plan, {path: each for path, each in found.items() if path not in refused})
                refused |= found.keys()  # what inherits from one of them has another base now
        except InterpreterError as error:
            remedy = "name an interpreter with mmengine (--python), or use --no-resolve"
            raise MmengineError(str(error), remedy) from None
        for path, finding in found.items():
            if finding.code == "OSR902":
                raise MmengineError(f"OSR902 {path}: {finding.message}", "nothing was written; please report this")
        return plan


def _judge_all(plan: Plan, interpreter: str, child: Child | ChildError | None) -> dict[str, Finding]:
    """Which files are to be refused, and why."""
    reached, tasks = list(_find_reached(plan)), []
    with tempfile.TemporaryDirectory(prefix="opensora-rewriter-", dir=find_memory()) as folder:
        mirror = os.path.realpath(folder)
        roots = {root or os.path.dirname(edits[0].path) for root, edits in reached}
        _fill_mirror(mirror, roots, {each.path for _, edits in reached for each in edits})
        for root, edits in reached:
            for files in ({each.path: each.old for each in edits}, {each.path: each.new for each in edits}):
                data = {mirror + path: version for path, version in files.items()}
                tasks.append(ConfigTask(mirror + edits[0].path, mirror + root if root else None, data))
        loaded = load_configs(interpreter, tasks, child)
    answers = [each._replace(error=each.error.replace(mirror, "")) for each in loaded]
    found: dict[str, Finding] = {}
    for (_, edits), old, new in zip(reached, answers[::2], answers[1::2], strict=True):
        problem = _judge(edits, old, new)
        if problem is not None:
            found[problem.path] = problem
        if problem is not None and problem.code == "OSR902" and not problem.component:
            message = f"{os.path.basename(problem.path)} inherits from it: {problem.message}"
            for base in edits[1:]:
                found.setdefault(base.path, problem._replace(path=base.path, message=message))
    return found


def _find_reached(plan: Plan) -> Iterator[tuple[str | None, list[FileEdit]]]:
    """The root of each config that an edit reaches, with its own edit, which may change nothing, and its bases'."""
    edited = {edit.path: edit for edit in plan.config_edits}
    for result in plan.results:
        bases = [edited[path] for path in result.bases if path in edited]
        if result.old is not None and (bases or result.path in edited):
            own = edited.get(result.path, FileEdit(result.path, result.old, result.old))
            yield result.root, [own, *bases]


def _fill_mirror(mirror: str, roots: set[str], files: set[str]) -> None:
    """Make each root, below ``mirror``, look as it does: real folders on the way to ``files``, links to all else."""
    folders = {*roots, os.sep}
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


def _judge(edits: Sequence[FileEdit], old: Resolved, new: Resolved) -> Finding | None:
    """Why a config is to be refused; the first of ``edits`` is its own."""
    place = edits[0].path, 1, 0, ""
    if not old.ok:
        message = f"mmengine cannot load it as it is: {old.error}"
        return Finding("OSR901", edits[0].path, old.line or 1, 0, "", message, _UNREADABLE)
    if not new.ok:
        return Finding("OSR902", *place, f"mmengine loads the old file but not the new one: {new.error}", _BY_HAND)
    requested = {
        (*component.keys, key): MISSING if value is REMOVE else encode(value)
        for edit in edits
        for component, key, value in edit.changes
    }
    for path, before, after in find_differences(old.value, new.value):
        keys = next((keys for keys in requested if path[: len(keys)] == keys), None)
        if keys is None or find_differences(_get_value(new.value, keys), requested[keys]):
            message = f"`{'.'.join(map(str, path))}` resolves to {_show(after)}, it was {_show(before)}"
            return Finding("OSR902", *place, message, _BY_HAND)
    for component, key, _ in edits[0].changes:
        keys, before = (*component.keys, key), _get_value(old.value, component.keys)
        known = [(name, each) for name, each in component.values.items() if each.known and name != key]
        # In a branch that is not taken (``if x: vae = None``) nothing has to arrive.
        taken = isinstance(before, dict) and all(before.get(name) == encode(each.value) for name, each in known)
        if taken and find_differences(_get_value(new.value, keys), requested[keys]):
            place = edits[0].path, component.span.line, 0, component.dotted
            message = f"`{'.'.join(keys)}` did not arrive: it resolves to {_show(_get_value(new.value, keys))}"
            return Finding("OSR902", *place, message, _BY_HAND)
    return None


def _get_value(value: Any, path: Sequence[object]) -> object:
    """The value at a path of :func:`find_differences`, :data:`MISSING` where there is none."""
    for part in path:
        value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
    return value


def _show(value: object) -> str:
    return "nothing" if value is MISSING else repr(value)[:200]
