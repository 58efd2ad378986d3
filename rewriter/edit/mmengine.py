"""Have mmengine load every changed config as it was and as it will be: only what was requested may differ.

The configs are loaded in a child process, in a temporary tree that mirrors the checkout: links to everything, real
copies of the configs and of the changed ones that they inherit from; old and new at the same path, one after the other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from rewriter.model import REMOVE, Component, FileResult, Finding, Note, Plan
from rewriter.process.configs import MISSING, ConfigTask, Resolved, ResolveError, find_differences, load_configs
from rewriter.process.interpreters import Interpreter, InterpreterError, find_interpreter
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
        interpreter = find_interpreter(python, ["mmengine"])
        if interpreter is None and mode == "always":
            raise MmengineError("no interpreter with mmengine is found", _INSTALL)
        if interpreter is None:
            note = Note(f"mmengine did not load the configs (no interpreter has it): {_INSTALL}")
            return replace(plan, notes=(*plan.notes, note))
        return _prove(plan, interpreter, drop)
    except InterpreterError as error:
        raise MmengineError(str(error), _INSTALL) from None
    except ResolveError as error:
        raise MmengineError(
            str(error), "name an interpreter that has mmengine with --python, or --no-resolve"
        ) from None
    except OSError as error:
        raise MmengineError(f"no temporary copy of the checkout can be made: {error}", "or use --no-resolve") from None


def _prove(plan: Plan, interpreter: Interpreter, drop: Drop) -> Plan:
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


@dataclass(frozen=True, slots=True)
class _Mirror:
    """A temporary tree ``folder`` that looks like ``top``."""

    top: str
    folder: str

    def map_path(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.folder, os.path.relpath(path, self.top)))

    def fill(self, files: Iterable[str]) -> None:
        """Real folders on the way to ``files``, which are left out; links for all else."""
        real = set(files)
        folders = {self.top}
        for path in files:
            while (path := os.path.dirname(path)) not in folders:
                folders.add(path)
        for folder in sorted(folders):
            os.makedirs(self.map_path(folder), exist_ok=True)
            with suppress(FileNotFoundError), os.scandir(folder) as entries:  # a config from standard input has none
                for entry in entries:
                    if entry.path not in real and entry.path not in folders:
                        os.symlink(entry.path, self.map_path(entry.path))


class _Loading:
    """Loads configs of a plan, each where its checkout's mirror has it."""

    def __init__(self, plan: Plan, interpreter: Interpreter, folder: str) -> None:
        self.interpreter = interpreter
        self.edits = {edit.path: edit for edit in plan.config_edits}
        self.results = [
            result
            for result in plan.results
            if result.old is not None and not self.edits.keys().isdisjoint((result.path, *result.bases))
        ]
        self._mirrors: dict[str, _Mirror] = {}
        by_root: dict[str, set[str]] = {}
        for result in self.results:
            by_root.setdefault(_get_root(result), set()).update([result.path, *self._edited_bases(result)])
        for number, (root, files) in enumerate(by_root.items()):
            mirror = _Mirror(
                os.path.commonpath([root, *map(os.path.dirname, files)]), os.path.join(folder, str(number))
            )
            mirror.fill(sorted(files))
            self._mirrors[root] = mirror

    def load(self, pairs: Sequence[tuple[FileResult, bool]], *, one_each: bool = False) -> list[Resolved]:
        """What each config resolves to; True: as it will be. Errors name the files of the checkout."""
        tasks = [self._make_task(result, edited=edited) for result, edited in pairs]
        answers = load_configs(self.interpreter, tasks, one_each=one_each)
        mirrors = [self._mirrors[_get_root(result)] for result, _ in pairs]
        return [
            replace(answer, error=answer.error.replace(mirror.folder, mirror.top))
            for answer, mirror in zip(answers, mirrors, strict=True)
        ]

    def _edited_bases(self, result: FileResult) -> list[str]:
        return [base for base in result.bases if base in self.edits and base != result.path]

    def _make_task(self, result: FileResult, *, edited: bool) -> ConfigTask:
        mirror = self._mirrors[_get_root(result)]
        assert result.old is not None
        files = {base: self.edits[base].new if edited else self.edits[base].old for base in self._edited_bases(result)}
        files[result.path] = result.new if edited and result.new is not None else result.old
        root = None if result.root is None else mirror.map_path(result.root)
        copies = {mirror.map_path(path): data for path, data in files.items()}
        return ConfigTask(mirror.map_path(result.path), root, copies)


def _get_root(result: FileResult) -> str:
    return result.root or os.path.dirname(result.path)


# --- judging -----------------------------------------------------------------------------------


def _judge_all(plan: Plan, interpreter: Interpreter, refused: Mapping[str, Finding]) -> dict[str, Finding]:
    """Which files are to be refused, and why. ``refused``: those that are, of which nothing has to arrive."""
    found: dict[str, Finding] = {}
    with tempfile.TemporaryDirectory(prefix="opensora-rewriter-") as folder:
        loading = _Loading(plan, interpreter, os.path.realpath(folder))
        answers = loading.load([(result, edited) for result in loading.results for edited in (False, True)])
        for number, result in enumerate(loading.results):
            old, new = answers[2 * number : 2 * number + 2]
            problem = _judge(plan, result, old, new)
            if problem is not None and problem.code == "OSR902":
                # Alone, in a process that no other config has spoilt; what moves by itself (a clock) is no difference.
                old, new, again = loading.load([(result, False), (result, True), (result, False)], one_each=True)
                moving = frozenset(path for path, _, _ in find_differences(old.value, again.value))
                problem = _judge(plan, result, old, new, moving)
            if problem is None or (problem.component and result.path in refused):
                continue
            found[result.path] = problem
            if problem.code == "OSR902" and not problem.component:
                for base in loading.edits.keys() & set(result.bases):
                    message = (
                        f"{os.path.relpath(result.path, os.path.dirname(base))} inherits from it: {problem.message}"
                    )
                    found.setdefault(base, Finding("OSR902", base, 1, 0, "", message, _BY_HAND))
    return found


def _judge(
    plan: Plan, result: FileResult, old: Resolved, new: Resolved, moving: frozenset[tuple[object, ...]] = frozenset()
) -> Finding | None:
    if not (old.tried and new.tried):
        message = f"mmengine did not load it: {(new if old.tried else old).error}"
        remedy = "run again for what is left, or rewrite it with --no-resolve"
        return Finding("OSR901", result.path, 1, 0, "", message, remedy)
    if not old.ok:
        message = f"mmengine cannot load it as it is: {old.error}"
        remedy = "correct the config, or rewrite it with --no-resolve"
        if "UnicodeDecodeError" in old.error or "U+FEFF" in old.error:
            remedy = "save it and what it inherits from as UTF-8 without a byte order mark"
        return Finding("OSR901", result.path, old.line or 1, 0, "", message, remedy)
    problem = _find_contradiction(plan, result, old, new, moving)
    if problem is not None:
        return Finding("OSR902", result.path, 1, 0, "", problem, _BY_HAND)
    for component, key, value in _list_requested(plan, result):
        present = _get_value(new.value, (*component.keys, key))
        if find_differences(present, value) and _is_present(old, component, key):
            message = f"`{component.dotted}.{key}` did not arrive: it resolves to {_show(present)}"
            return Finding("OSR902", result.path, component.span.line, 0, component.dotted, message, _BY_HAND)
    return None


def _find_contradiction(
    plan: Plan, result: FileResult, old: Resolved, new: Resolved, moving: frozenset[tuple[object, ...]]
) -> str | None:
    """What differs beyond the requested keys; None where nothing does."""
    if not new.ok:
        return f"mmengine loads the old file but not the new one: {new.error}"
    if new.plain_error and not old.plain_error:
        return f"`Config.fromfile` loads the old file but not the new one: {new.plain_error}"
    edits = [edit for edit in plan.config_edits if edit.path in (result.path, *result.bases)]
    requested = {
        (*change.component.keys, change.key): _encode_value(change.value) for edit in edits for change in edit.changes
    }
    for path, before, after in find_differences(old.value, new.value):
        keys = next((keys for keys in requested if path[: len(keys)] == keys), None)
        explained = keys is not None and not find_differences(_get_value(new.value, keys), requested[keys])
        if path not in moving and not explained:
            return f"`{'.'.join(map(str, path))}` resolves to {_show(after)}, it was {_show(before)}"
    return None


def _list_requested(plan: Plan, result: FileResult) -> Iterator[tuple[Component, str, object]]:
    """The keys that are set, now or before, with their values as mmengine has them (:data:`MISSING`: gone)."""
    for decision in result.decisions:
        made = [decision]
        if decision.outcome == "inherited":
            written = [base for base in plan.results if base.path == decision.component.origin]
            made = [one for base in written for one in base.decisions if one.component.keys == decision.component.keys]
        for one in made if len(made) == 1 else ():
            if one.outcome in ("set", "already", "untouched"):
                for change in one.changes:
                    yield decision.component, change.key, _encode_value(change.value)
                for key, value in one.kept:
                    yield decision.component, key, _encode_value(value)


def _is_present(old: Resolved, component: Component, key: str) -> bool:
    """Whether the old config resolves to this dict at all: a branch (``if x: vae = None``) may have replaced it."""
    found = _get_value(old.value, component.keys)
    others = [(name, value) for name, value in component.values.items() if name != key]
    return isinstance(found, dict) and all(
        name in found and (not value.known or found[name] == encode(value.value)) for name, value in others
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
