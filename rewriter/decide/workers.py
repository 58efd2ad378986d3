"""Check many files with a pool of processes; each reads the loaders for itself and sends back findings only."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from rewriter.checkout import Target
from rewriter.decide.loaders import Loaders
from rewriter.decide.planner import Planner
from rewriter.decide.request import Request
from rewriter.model import FileResult, Finding, Note

FILES_PER_POOL = 400
"""Files from which on starting other processes pays."""
_FILES_PER_TASK = 100

Answer = tuple[list[FileResult], tuple[Note, ...], tuple[Finding, ...]]


def check_in_pool(
    targets: Sequence[Target], request: Request, opensora_source: str | None, progress: Callable[[], None] | None
) -> tuple[tuple[FileResult, ...], tuple[Note, ...], tuple[Finding, ...]]:
    """The results, notes and problems of ``check``, by as many processes as there are cores."""
    from concurrent.futures import ProcessPoolExecutor

    parts = [targets[start : start + _FILES_PER_TASK] for start in range(0, len(targets), _FILES_PER_TASK)]
    results: list[FileResult] = []
    notes: dict[Note, None] = {}
    findings: dict[Finding, None] = {}
    check_part = partial(_check_part, request=request, opensora_source=opensora_source)
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        for found, noted, problems in pool.map(check_part, parts):
            results += found
            notes |= dict.fromkeys(noted)
            findings |= dict.fromkeys(problems)
            for _ in found if progress is not None else ():
                assert progress is not None
                progress()
    return tuple(results), tuple(notes), tuple(findings)


_loaders: dict[str | None, Loaders] = {}


def _check_part(targets: Sequence[Target], request: Request, opensora_source: str | None) -> Answer:
    """One task of the pool."""
    loaders = _loaders.setdefault(opensora_source, Loaders(opensora_source))
    planner = Planner(targets, request, loaders)
    results = [_without_trace(result) for result in planner.decide_all()]
    return results, planner.notes(), tuple(loaders.problems())


def _without_trace(result: FileResult) -> FileResult:
    decisions = tuple(replace(each, trace=None, changes=()) for each in result.decisions)
    return replace(result, decisions=decisions, old=None, new=None)
