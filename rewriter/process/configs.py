"""Loads configs with mmengine, in the user's interpreter, and compares what two of them resolve to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rewriter.process.children import Answer, ChildError, ProbeSettings, run_probe
from rewriter.process.environment import is_passed
from rewriter.process.interpreters import Interpreter

CONFIG_SECONDS = 20.0
"""What one config may take; a config reads in milliseconds."""


class ResolveError(Exception):
    """No config could be loaded: the interpreter, not a config, is at fault. The message says what to do."""


@dataclass(frozen=True, slots=True)
class ConfigTask:
    """One config to load. ``root``: the checkout, where relative paths are looked up.

    ``files``: new bytes by absolute path, written before the config is loaded (for a temporary tree, to load a config
    as it is and as it would be at the same path). A task whose process ends is not repeated, and what it wrote stays.
    """

    path: str
    root: str | None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What mmengine made of a config: the whole config as JSON values, or ``error`` in one line.

    What JSON cannot say is a dict with one key: ``{"$tuple": [...]}``, ``{"$dict": [[key, value], ...]}`` (keys that
    are not strings), ``{"$set": [...]}``, ``{"$bytes": hex}``, ``{"$float": "nan"}``, ``{"$object": description}``.
    ``plain_error``: what upstream's own ``Config.fromfile(path)`` raises, where only ``lazy_import=False`` loads it.
    ``line``: of the config, where the error came from there. ``tried``: False where the time was over before.
    """

    ok: bool
    value: object = None
    error: str = ""
    line: int | None = None
    plain_error: str = ""
    tried: bool = True


def load_configs(
    interpreter: Interpreter,
    tasks: Sequence[ConfigTask],
    *,
    timeout: float | None = None,
    one_each: bool = False,
) -> list[Resolved]:
    """Load every config with ``Config.fromfile`` (custom imports are not followed), in order.

    ``timeout``: seconds for all of them, default 60 and one more for each config. A config that ends its process, or
    takes more than :data:`CONFIG_SECONDS`, costs itself only. What fails in a process that loaded others before, which
    may have spoilt it, is loaded again in one of its own. ``one_each``: every config is.

    Raises:
        ResolveError: the interpreter does not start, or mmengine does not import.
    """
    seconds = 60.0 + len(tasks) if timeout is None else timeout
    results = _load(interpreter, tasks, seconds, one_each=one_each)
    again = [number for number, result in enumerate(results) if result.tried and not result.ok and number]
    if again and not one_each:
        alone = _load(interpreter, [_with_files_before(tasks, number) for number in again], seconds, one_each=True)
        for number, result in zip(again, alone, strict=True):
            results[number] = result if result.tried else results[number]
    return results


def _with_files_before(tasks: Sequence[ConfigTask], number: int) -> ConfigTask:
    """The task with the files as all tasks up to it have written them."""
    files: dict[str, bytes] = {}
    for task in tasks[: number + 1]:
        files |= task.files
    return replace(tasks[number], files=files)


def _load(interpreter: Interpreter, tasks: Sequence[ConfigTask], seconds: float, *, one_each: bool) -> list[Resolved]:
    requests = [
        {
            "path": task.path,
            "root": task.root,
            "files": {name: data.decode("latin-1") for name, data in task.files.items()},
        }
        for task in tasks
    ]
    settings = ProbeSettings(timeout=CONFIG_SECONDS, total=seconds, one_each=one_each)
    run = run_probe(interpreter, "resolve", {}, requests, settings)
    return [_read_answer(answer, interpreter) for answer in run.answers]


def _read_answer(answer: Answer | ChildError, interpreter: Interpreter) -> Resolved:
    if not isinstance(answer, ChildError):
        if "value" in answer:
            return Resolved(True, answer["value"], plain_error=_one_line(answer["plain_error"] or ""))
        return Resolved(False, error=_explain_key(_one_line(str(answer["error"]))), line=answer["line"])
    if answer.reason in ("no start", "fatal"):
        raise ResolveError(_one_line(answer.message))
    if not answer.ready:
        raise ResolveError(_one_line(f"{interpreter.executable}: {answer.message}"))
    if answer.reason == "time limit":
        return Resolved(False, error=answer.message, tried=False)
    if answer.reason == "too large":
        return Resolved(False, error="the config resolves to more than 64 MB")
    if answer.reason == "silence":
        return Resolved(False, error="the config took too long and was stopped")
    return Resolved(False, error=f"the config ended the process that loads it ({answer.status})")


def _explain_key(error: str) -> str:
    name = error.removeprefix("KeyError: ").strip("'\"")
    if error.startswith("KeyError: ") and name in os.environ and not is_passed(name):
        return error + " (an environment variable that is not handed to configs here)"
    return error


def _one_line(text: str) -> str:
    """One line of at most 500 characters without control characters: it goes to terminals and reports."""
    line = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return line if len(line) <= 500 else line[:497] + "..."


# --- comparing -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Missing:
    """The one value of :data:`MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()

Difference = tuple[tuple[object, ...], object, object]


def find_differences(old: object, new: object) -> list[Difference]:
    """Where two resolved values differ: ``(path, old, new)``, with :data:`MISSING` for a key that one side lacks.

    Types count (``1`` is neither ``True`` nor ``1.0``, a list no tuple); the order of keys does not. Lists and tuples
    of another length differ as a whole.

    >>> find_differences({"vae": {"type": "a"}}, {"vae": {"type": "a", "cache_dir": "/m"}})
    [(('vae', 'cache_dir'), MISSING, '/m')]
    """
    return list(_iter_differences((), old, new))


def _iter_differences(path: tuple[object, ...], old: Any, new: Any) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        if old.keys() == new.keys() == {"$tuple"}:
            yield from _iter_differences(path, old["$tuple"], new["$tuple"])
            return
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _iter_differences((*path, key), old.get(key, MISSING), new.get(key, MISSING))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _iter_differences((*path, index), one, other)
    elif type(old) is not type(new) or old != new:
        yield path, old, new
