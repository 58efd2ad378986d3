"""Loads configs with mmengine, in the user's interpreter, and compares what two of them resolve to."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from rewriter.process.children import Answer, Child, ChildError, run_probe
from rewriter.process.interpreters import InterpreterError

CONFIG_SECONDS = 20.0  # what one config may take; it reads in milliseconds


class ConfigTask(NamedTuple):
    """One config to load. ``root``: the checkout, where relative paths are looked up.

    ``files``: new bytes by absolute path, written first (in a temporary tree, to load it as it is and as it would be).
    """

    path: str
    root: str | None
    files: Mapping[str, bytes] = {}


class Resolved(NamedTuple):
    """What mmengine made of a config: the whole config as JSON values (see ``encode``), or ``error`` in one line.

    ``plain_error``: what upstream's own ``Config.fromfile(path)`` raises, where only ``lazy_import=False`` loads it.
    ``line``: of the config, where the error came from there.
    """

    ok: bool
    value: object = None
    error: str = ""
    line: int | None = None
    plain_error: str = ""


def load_configs(
    executable: str, tasks: Sequence[ConfigTask], started: Child | ChildError | None = None
) -> list[Resolved]:
    """Load every config with ``Config.fromfile`` (custom imports are not followed), in order, in ``started`` first.

    A config that ends its process, or takes more than :data:`CONFIG_SECONDS`, costs itself only. InterpreterError: the
    interpreter does not start, or mmengine does not import.
    """
    results: list[Resolved] = []
    for root, part in itertools.groupby(tasks, lambda task: task.root):  # two checkouts have packages of one name
        requests = []
        for path, _, files in part:
            texts = {name: data.decode("latin-1") for name, data in files.items()}
            requests.append({"path": path, "root": root or os.path.dirname(path), "files": texts})
        answers = run_probe(executable, "resolve", requests, timeout=CONFIG_SECONDS, started=started)
        results, started = [*results, *map(_read_answer, answers)], None
    return results


def _read_answer(answer: Answer | ChildError) -> Resolved:
    if isinstance(answer, ChildError):
        if answer.reason == "start":
            raise InterpreterError(f"{answer.message}; {answer.remedy}")
        return Resolved(False, error=f"while it was loaded: {answer.message}")
    return Resolved(*answer["resolved"])


MISSING: Final = object()


def find_differences(old: object, new: object) -> list[tuple[tuple[object, ...], object, object]]:
    """Where two resolved values differ: ``(path, old, new)``, with :data:`MISSING` for a key that one side lacks.

    Types count (``1`` is neither ``True`` nor ``1.0``, a list no tuple); the order of keys does not. Lists of another
    length differ as a whole.

    >>> find_differences({"vae": {"type": "a"}}, {"vae": {"type": "a", "size": 1}})[0][0]
    ('vae', 'size')
    """
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(key, old.get(key, MISSING), new.get(key, MISSING)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(index, *pair) for index, pair in enumerate(zip(old, new, strict=True))]
    else:
        return [] if type(old) is type(new) and old == new else [((), old, new)]
    found = ((key, find_differences(one, other)) for key, one, other in pairs)
    return [((key, *path), one, other) for key, differences in found for path, one, other in differences]
