"""Let mmengine confirm a plan: it resolves every touched config before and after; only the asked keys may differ."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Sequence

from rewriter import plan as planning
from rewriter.checkout import Unreadable, read_bytes
from rewriter.frozen import replace
from rewriter.interpreters import Interpreter
from rewriter.parallel import processors
from rewriter.plan import FileResult, Plan
from rewriter.resolve import MISSING, Child, Job, Resolved, ResolveError, differences, find_interpreter, resolve
from rewriter.types import REMOVE, Component, ConfigChange, Finding

_BY_HAND = ("change what depends on the dict, or write the keyword by hand; if nothing does, "
            "please report this with the file")  # fmt: skip


class ResolveFailedError(Exception):
    """mmengine cannot be asked, or its answer contradicts what was asked for, whatever is left out."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Prover:
    """Asks mmengine. Entered before the plan is made, it gets mmengine ready meanwhile, and loads nothing yet.

    ``mode``: "auto" (a note where no interpreter has mmengine), "always" (an error there) or "never".
    """

    def __init__(self, mode: str, python: str | None) -> None:
        self._mode = mode
        self._python = python
        self._interpreter: Interpreter | None = None
        self._error: ResolveError | None = None
        self._ready: Child | None = None

    def __enter__(self) -> Prover:
        if self._mode != "never":
            try:
                self._interpreter = find_interpreter(self._python)
                if self._interpreter is not None:
                    self._ready = Child(self._interpreter)
            except ResolveError as error:
                self._error = error  # told where there is something to prove
        return self

    def __exit__(self, *_error: object) -> None:
        if self._ready is not None:
            self._ready.kill()

    def prove(self, plan: Plan) -> Plan:
        """The plan, files refused that mmengine cannot load (OSR901), or of which it makes something else (OSR902).

        With a file of the second kind go those that it inherits from; what is left is proved again. Raises
        :class:`ResolveFailedError` where mmengine cannot be asked, or still contradicts.
        """
        if self._mode == "never" or not plan.config_edits:
            return plan
        if self._error is not None:
            remedy = "pip install 'opensora-rewriter[resolve]', or name another --python"
            raise ResolveFailedError(str(self._error), remedy) from None
        if self._interpreter is None:
            if self._mode == "always":
                raise ResolveFailedError("no interpreter with mmengine is found",
                                    "pip install 'opensora-rewriter[resolve]', or name one with --python")  # fmt: skip
            note = "mmengine was not asked (none found): pip install 'opensora-rewriter[resolve]', or give --python"
            return replace(plan, notes=(*plan.notes, note))
        told: dict[str, Finding] = {}
        touched = _touched(plan)
        while touched:
            answers = self._answers(plan, [job for result in touched for job in _jobs(result)])
            found = self._judge(plan, touched, answers, told)
            if not found:
                break
            fresh = {path: finding for path, finding in found.items() if path not in told}
            if not fresh:
                path, finding = next(iter(found.items()))
                raise ResolveFailedError(f"OSR902 {path}: {finding.message}",
                                         "nothing was written; please report this with the file")  # fmt: skip
            told |= fresh
            plan = planning.drop(plan, fresh)
            # What inherits from a refused file has another base now; and a contradiction has to be gone.
            contradicted = {path for path, finding in fresh.items() if finding.code == "OSR902"}
            touched = [
                result
                for result in plan.results
                if plan.config_edits
                and (
                    result.path in contradicted
                    or (result.path not in told and not fresh.keys().isdisjoint(result.bases))
                )
            ]
        return plan

    def _answers(self, plan: Plan, jobs: list[Job], *, alone: bool = False) -> list[Resolved]:
        assert self._interpreter is not None
        overlay = {edit.path: edit.new for edit in plan.config_edits}
        ready, self._ready = self._ready, None
        try:
            return resolve(self._interpreter, jobs, overlay=overlay, ready=ready, processes=processors(), alone=alone)
        except ResolveError as error:
            remedy = "name an interpreter that has mmengine with --python, or --no-resolve"
            raise ResolveFailedError(str(error), remedy) from None

    def _judge(
        self, plan: Plan, touched: list[FileResult], answers: list[Resolved], told: Container[str]
    ) -> dict[str, Finding]:
        """Which files are refused, and why. ``told``: those that have been before, of which nothing is to arrive."""
        refused: dict[str, Finding] = {}
        edited = {edit.path for edit in plan.config_edits}
        for index, result in enumerate(touched):
            old, new = answers[2 * index], answers[2 * index + 1]
            if not (old.tried and new.tried):
                message = f"mmengine was not asked about it: {(new if old.tried else old).error}"
                remedy = "run again for what is left, or rewrite it with --no-resolve"
                refused[result.path] = Finding("OSR901", result.path, 1, 0, "", message, remedy)
                continue
            if not old.ok:
                message = f"mmengine cannot load it as it is: {old.error}"
                refused[result.path] = Finding("OSR901", result.path, old.line or 1, 0, "", message,
                                               _cure(result, old))  # fmt: skip
                continue
            problem = _contradiction(result, plan, old, new)
            absent = _absent(result, plan, old, new) if result.path not in told else None
            if problem is not None or absent is not None:
                old, new, moving = self._once_more(result, plan, old, new)
                problem = _contradiction(result, plan, old, new, moving)
                absent = _absent(result, plan, old, new) if result.path not in told else None
            if problem is not None:
                refused[result.path] = Finding("OSR902", result.path, 1, 0, "", problem, _BY_HAND)
                for base in edited.intersection(result.bases):
                    message = f"{os.path.relpath(result.path, os.path.dirname(base))} inherits from it, and {problem}"
                    refused.setdefault(base, Finding("OSR902", base, 1, 0, "", message, _BY_HAND))
            elif absent is not None:
                refused[result.path] = Finding("OSR902", result.path, 1, 0, *absent, _BY_HAND)
        return refused

    def _once_more(
        self, result: FileResult, plan: Plan, old: Resolved, new: Resolved
    ) -> tuple[Resolved, Resolved, frozenset[tuple[object, ...]]]:
        """What each load says in a process of its own, which no other config has spoilt, and what moves by itself.

        A config that says another thing at every load (a clock, a process id) is judged by what stays the same.
        """
        jobs = _jobs(result)
        alone = self._answers(plan, [*jobs, jobs[0]], alone=True)
        if not (alone[0].ok and alone[2].ok):
            return old, new, frozenset()
        return alone[0], alone[1], frozenset(path for path, _, _ in differences(alone[0].value, alone[2].value))


def _cure(result: FileResult, old: Resolved) -> str:
    """What to do about a config that mmengine cannot load."""
    from rewriter.remedies import resave

    first = resave(result.old or b"")
    error = str(old.error)
    if first:
        return first
    if (error.startswith("UnicodeDecodeError") and old.line is None) or "U+FEFF" in error:
        return "save its base files as UTF-8 without a byte order mark"
    return "mend the config, or rewrite it with --no-resolve"


def _touched(plan: Plan) -> list[FileResult]:
    """Files that are edited, and files that inherit from one that is."""
    edited = {edit.path for edit in plan.config_edits}
    return [result for result in plan.results if not edited.isdisjoint((result.path, *result.bases))]


def _jobs(result: FileResult) -> tuple[Job, Job]:
    """The file as it is and as it would be; from standard input neither lies on disk."""
    assert result.new is not None
    return Job(result.path, result.root, None if _on_disk(result) else result.old), Job(
        result.path, result.root, result.new
    )


def _on_disk(result: FileResult) -> bool:
    try:
        return read_bytes(result.path) == result.old
    except Unreadable:
        return False


def _contradiction(
    result: FileResult,
    plan: Plan,
    old: Resolved,
    new: Resolved,
    moving: frozenset[tuple[object, ...]] = frozenset(),
) -> str | None:
    """What differs beyond the asked keys; None where nothing does.

    ``moving``: paths whose value differs between two loads of the old file.
    """
    if not new.ok:
        return f"mmengine loads the old file but not the new one: {new.error}"
    heir = result.bases or _inherits(result)
    changes = [change for edit in plan.config_edits for change in edit.changes] if heir else result.changes
    for path, before, after in differences(old.value, new.value):
        if path not in moving and not any(_explains(change, old, path, after) for change in changes):
            dotted = ".".join(str(part) for part in path)
            return f"`{dotted}` resolves to {_word(after)}, it was {_word(before)}"
    return None


def _absent(result: FileResult, plan: Plan, old: Resolved, new: Resolved) -> tuple[str, str] | None:
    """Of the asked keys, set now or before, the first that resolves to something else: its dict, and what is wrong."""
    for component, key, value in _asked(result, plan):
        path = (*component.keys, key)
        present = _at(new.value, path)
        if differences(present, value) and _is_there(old, component, key):
            return ".".join(component.keys), f"`{'.'.join(path)}` did not arrive: it resolves to {_word(present)}"
    return None


def _asked(result: FileResult, plan: Plan) -> Iterator[tuple[Component, str, object]]:
    """The keys that are asked for, with the values that they are to have (:data:`MISSING`: they are to be gone)."""
    for decision in result.decisions:
        if "conditional" in decision.component.ways:
            continue
        made = [decision]
        if decision.outcome == "inherited":
            written = [each for each in plan.results if each.path == decision.component.origin]
            made = [
                each for base in written for each in base.decisions if each.component.keys == decision.component.keys
            ]
        for each in made if len(made) == 1 else ():
            if each.outcome in ("set", "already", "untouched"):
                for change in each.changes:
                    yield each.component, change.key, MISSING if change.value is REMOVE else _plain(change.value)
                for key, value in each.kept:
                    yield each.component, key, _plain(value)


def _inherits(result: FileResult) -> bool:
    return any(decision.outcome == "inherited" or "inherited" in decision.component.ways
               or decision.component.origin for decision in result.decisions)  # fmt: skip


def _explains(change: ConfigChange, old: Resolved, path: Sequence[object], after: object) -> bool:
    """Whether a value changed as was asked: in the dict itself, or in one that is made from it and builds something.

    That one's loader has been found to take the key, or is the same.
    """
    if path[-1:] != (change.key,) or not (change.value is REMOVE or after == _plain(change.value)):
        return False
    holder, component = tuple(path[:-1]), change.component
    shared = [tuple(name.split(".")) for name in component.shared_with]
    if component.name in holder or holder in (component.keys, *shared):
        return True
    own_type = _at(old.value, (*holder, "type"))
    if own_type is not MISSING and any(holder in taker.places for taker in component.takers):
        return True
    kind = dict(component.values).get("type")
    return kind is not None and kind.literal and own_type == _plain(kind.value)


def _is_there(old: Resolved, component: Component, key: str) -> bool:
    """Whether the old config resolves to this dict at all: a branch (``if x: vae = None``) may have replaced it.

    ``key``: of which it may have another value.
    """
    later = {override.key for override in component.overrides}
    found = _at(old.value, component.keys)
    return isinstance(found, dict) and all(
        word.key in found and (found[word.key] == _plain(word.value.value) or not word.value.literal)
        for word in component.written
        if word.key not in (*later, key) and None not in later
    )


def _at(value: object, path: Sequence[object]) -> object:
    """What stands at a path of :func:`differences`, :data:`MISSING` where nothing does."""
    for part in path:
        if isinstance(value, dict) and value.keys() == {"$tuple"}:
            value = value["$tuple"]
        if isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
    return value


def _plain(value: object) -> object:
    """A literal in the form in which the child reports it."""
    from rewriter.resolve_child import encode

    return encode(value)


def _word(value: object) -> str:
    return "nothing" if value is MISSING else os.fsdecode(repr(value).encode("utf-8", "replace"))[:200]
