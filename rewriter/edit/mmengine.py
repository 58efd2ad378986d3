"""Have mmengine load every changed config as it was and as it will be: only what was requested may differ.

The configs are loaded in a child process, in a temporary tree that mirrors the checkout: links to everything, real
copies of the configs and of those that they inherit from; old and new at the same path, one after the other. The old
ones are loaded while the plan is made.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from functools import cached_property
from typing import Any, Literal

from rewriter.model import REMOVE, FileResult, Finding, Note, Plan
from rewriter.process.children import Child, find_memory, send, start_child
from rewriter.process.configs import MISSING, ConfigTask, Resolved, find_differences, load_configs, make_request
from rewriter.process.interpreters import InterpreterError, find_interpreter
from rewriter.process.probes.resolve import encode

Mode = Literal["auto", "always", "never"]
Drop = Callable[[Plan, Mapping[str, Finding]], Plan]
Roots = Mapping[str, str | None]

_INSTALL = "pip install 'opensora-rewriter[resolve]', or name an interpreter with --python"
_BY_HAND = "change what depends on the dict, or write the keyword by hand; if nothing does, please report this"
_UNREADABLE = "correct the config (mmengine reads UTF-8 without a byte order mark), or rewrite it with --no-resolve"


class MmengineError(Exception):
    """mmengine is required and missing, does not run, or contradicts the edits whatever is left out."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class Prover:
    """Proves the plan of one run with mmengine.

    ``python``: None for the first interpreter that has mmengine. Where none has it, ``mode`` "auto" gives a note,
    "always" an error. ``drop`` refuses files of a plan (``rewriter.decide.plan.drop``). ``roots``: the checkout of each
    config of the run, by path.
    """

    def __init__(self, mode: Mode, python: str | None, drop: Drop, roots: Roots) -> None:
        self.mode, self._python, self._drop, self._roots = mode, python, drop, roots
        self._session: _Session | None = None

    @cached_property
    def _interpreter(self) -> str | None:
        return find_interpreter(self._python, "mmengine")

    def begin(self, result: FileResult) -> None:
        """Load a config as it is, while the plan is made."""
        if self.mode != "never" and self._interpreter is not None:
            self._session = self._session or _Session(self._interpreter, self._roots)
            self._session.load_early(result.path)

    def close(self) -> None:
        """End what was begun and is not needed."""
        if self._session is not None:
            self._session.close()

    def prove(self, plan: Plan) -> Plan:
        """The plan without the files that mmengine cannot load (OSR901), or resolves otherwise than requested (OSR902).

        A file of the second kind takes along those that it inherits from; what is left is proved again. Raises
        MmengineError, with the remedy.
        """
        if self.mode == "never" or not plan.config_edits:
            return plan
        refused: set[str] = set()
        if self._interpreter is None and self.mode == "always":
            raise MmengineError("no interpreter with mmengine is found", _INSTALL)
        if self._interpreter is None:
            note = Note(f"mmengine did not load the configs (no interpreter has it): {_INSTALL}")
            return plan._replace(notes=(*plan.notes, note))
        try:
            while (found := self._judge_all(plan, self._interpreter)).keys() - refused:
                plan = self._drop(plan, {path: each for path, each in found.items() if path not in refused})
                refused |= found.keys()  # what inherits from one of them has another base now
        except InterpreterError as error:
            remedy = "name an interpreter with mmengine (--python), or use --no-resolve"
            raise MmengineError(str(error), remedy) from None
        for path, finding in found.items():
            if finding.code == "OSR902":
                raise MmengineError(f"OSR902 {path}: {finding.message}", "nothing was written; please report this")
        return plan

    def _judge_all(self, plan: Plan, interpreter: str) -> dict[str, Finding]:
        """Which files are to be refused, and why."""
        session, self._session = self._session or _Session(interpreter, self._roots), None
        results = {result.path: result for result in plan.results}
        chains = [[result, *(results[base] for base in result.bases if base in results)] for result in plan.results]
        changed = [chain for chain in chains if chain[0].old is not None and any(r.new != r.old for r in chain)]
        with closing(session):
            loaded = session.load(changed)
        found: dict[str, Finding] = {}
        for chain in changed:
            problem = _judge(chain, loaded[chain[0].path, "old"], loaded[chain[0].path, "new"])
            if problem is not None:
                found[problem.path] = problem
            if problem is not None and problem.code == "OSR902" and not problem.component:
                message = f"{os.path.basename(problem.path)} inherits from it: {problem.message}"
                for base in [each for each in chain[1:] if each.new != each.old]:
                    found.setdefault(base.path, problem._replace(path=base.path, message=message))
        return found


class _Session:
    """A child that loads configs, in a mirror of their checkouts; it begins while this process goes on."""

    def __init__(self, interpreter: str, roots: Roots) -> None:
        self._interpreter, self._roots = interpreter, roots
        self._folder = tempfile.TemporaryDirectory(prefix="opensora-rewriter-", dir=find_memory())
        self._mirror = os.path.realpath(self._folder.name)
        _fill_mirror(self._mirror, {root or os.path.dirname(path) for path, root in roots.items()}, roots)
        self._tasks: dict[tuple[str, str], ConfigTask] = {}
        self._child = start_child(interpreter, "resolve")

    def _make_task(self, path: str, files: Mapping[str, bytes]) -> ConfigTask:
        root = self._roots[path]
        return ConfigTask(self._mirror + path, self._mirror + root if root else None, files)

    def load_early(self, path: str) -> None:
        """Begin to load a config as it is, if the child can take it."""
        task = self._make_task(path, {})
        first = next(iter(self._tasks.values()), task)
        if isinstance(self._child, Child) and task.root == first.root and send(self._child, make_request(task)):
            self._tasks[path, "old"] = task

    def load(self, chains: Iterable[Sequence[FileResult]]) -> dict[tuple[str, str], Resolved]:
        """What configs resolve to, "old" and "new"; a chain: the result of a config, and those of its bases."""
        for chain in chains:
            for version in ("old", "new"):
                files = {self._mirror + each.path: getattr(each, version) for each in chain if each.old is not None}
                self._tasks.setdefault((chain[0].path, version), self._make_task(chain[0].path, files))
        answers = load_configs(self._interpreter, list(self._tasks.values()), self._child)
        plain = [each._replace(error=each.error.replace(self._mirror, "")) for each in answers]
        return dict(zip(self._tasks, plain, strict=True))

    def close(self) -> None:
        """End the child, whatever it is at, and remove the mirror."""
        if isinstance(self._child, Child):
            self._child.stack.close()
        self._folder.cleanup()


def _fill_mirror(mirror: str, roots: set[str], configs: Iterable[str]) -> None:
    """Make each root, below ``mirror``, look as it does: real folders on the way to configs, links to all else.

    The child puts real files in the place of the links to configs.
    """
    folders = {*roots, os.sep}
    for path in configs:
        while (path := os.path.dirname(path)) not in folders:
            folders.add(path)
    for folder in sorted(folders)[1:]:
        os.makedirs(mirror + folder, exist_ok=True)
        with suppress(FileNotFoundError):  # a config from standard input has none
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if path not in folders:
                    os.symlink(path, mirror + path)


def _judge(chain: Sequence[FileResult], old: Resolved, new: Resolved) -> Finding | None:
    """Why a config, the first of ``chain``, is to be refused."""
    place = chain[0].path, 1, 0, ""
    if not old.ok:
        message = f"mmengine cannot load it as it is: {old.error}"
        return Finding("OSR901", chain[0].path, old.line or 1, 0, "", message, _UNREADABLE)
    if not new.ok:
        return Finding("OSR902", *place, f"mmengine loads the old file but not the new one: {new.error}", _BY_HAND)
    requested = {
        (*component.keys, key): MISSING if value is REMOVE else encode(value)
        for each in chain
        for component, key, value in each.changes
    }
    for path, before, after in find_differences(old.value, new.value):
        keys = next((keys for keys in requested if path[: len(keys)] == keys), None)
        if keys is None or find_differences(_get_value(new.value, keys), requested[keys]):
            message = f"`{'.'.join(map(str, path))}` resolves to {_show(after)}, it was {_show(before)}"
            return Finding("OSR902", *place, message, _BY_HAND)
    for component, key, _ in chain[0].changes:
        keys, before = (*component.keys, key), _get_value(old.value, component.keys)
        known = [(name, each) for name, each in component.values.items() if each.known and name != key]
        # In a branch that is not taken (``if x: vae = None``) nothing has to arrive.
        taken = isinstance(before, dict) and all(before.get(name) == encode(each.value) for name, each in known)
        if taken and find_differences(_get_value(new.value, keys), requested[keys]):
            place = chain[0].path, component.span.line, 0, component.dotted
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
