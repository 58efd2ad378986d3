"""The files of a run in parts, which several processes take where files are many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from rewriter.checkout import Target
from rewriter.decide.decide import LoaderId
from rewriter.decide.planner import Planner
from rewriter.decide.request import Request
from rewriter.model import Component, Decision, FileResult, Finding, Note, SourceChange, Trace
from rewriter.read.loaders import Loaders

_FILES_PER_POOL = 400  # from which on starting other processes pays
_FILES_PER_PART = 25


Threads = dict[LoaderId, tuple[SourceChange, ...]]
"""The source changes that lead the requested keys to the hub calls of each loader."""


class Part(NamedTuple):
    """What some files of a run came to.

    ``threads``: what loaders lack yet. ``refused``: loaders whose edits would break a component. ``unfit``: configs
    whose own would, or that cannot be edited, by path.
    """

    results: tuple[FileResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()
    threads: Mapping[LoaderId, tuple[SourceChange, ...]] = {}
    refused: Mapping[LoaderId, str] = {}
    unfit: Mapping[str, Finding] = {}


Do = Callable[[Planner, Planner, Sequence[str]], Part]


def run_parts(do: Do, before: Planner, after: Planner, progress: Callable[[], object] = lambda: None) -> list[Part]:
    """What ``do`` makes of each part of the files, in order. From another process decisions bring only their names.

    Args:
        before: the run with the loaders as they are. after: with their edits (the same one where there are none).
    """
    paths = list(before.targets)
    tasks = [paths[start : start + _FILES_PER_PART] for start in range(0, len(paths), _FILES_PER_PART)]
    with ExitStack() as stack:
        parts: Iterable[Part] = map(functools.partial(do, before, after), tasks)
        if len(paths) >= _FILES_PER_POOL:
            from concurrent.futures import ProcessPoolExecutor

            loaders = before.loaders.opensora_source, after.loaders.overlay
            given = tuple(before.targets.values()), before.request, *loaders, after.refused, after.left
            pool = stack.enter_context(ProcessPoolExecutor(None, None, _start_process, given))
            parts = pool.map(functools.partial(_run_in_process, do), tasks)
        made = []
        for task, part in zip(tasks, parts, strict=True):
            made.append(part)
            for _ in task:
                progress()
        return made


_planners: list[Planner] = []  # before and after, in a process of the pool


def _start_process(
    targets: Sequence[Target], request: Request, source: str | None, overlay: Mapping[str, bytes], *stay: Any
) -> None:
    before = Planner(targets, request, Loaders(source))
    _planners[:] = before, before.retry(before.loaders.with_overlay(overlay), *stay)


def _run_in_process(do: Do, paths: Sequence[str]) -> Part:
    before, after = _planners
    part = do(before, after, paths)
    before.forget()
    after.forget()
    unused: dict[str, Any] = {"old": None, "new": None} if before.request.checking else {}
    results = [each._replace(decisions=tuple(map(_name_only, each.decisions)), **unused) for each in part.results]
    return part._replace(results=tuple(results))


def _name_only(decision: Decision) -> Decision:
    """What reports and the proof by mmengine need of a decision."""
    component, trace = decision.component, decision.trace
    if trace is not None:
        trace = Trace(trace.type, trace.found, files=trace.files)
    named = Component(component.keys, component.span, values=component.values if decision.changes else {})
    changes = tuple(each._replace(component=named) for each in decision.changes)
    return decision._replace(component=named, changes=changes, trace=trace, edits=())
