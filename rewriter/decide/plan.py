"""From files and a request to decisions, findings and edits: the middle of every command, with nothing written yet."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rewriter import files, model
from rewriter.checkout import Target, config_files
from rewriter.decide.decide import LoaderId
from rewriter.decide.planner import Planner
from rewriter.decide.request import Request
from rewriter.edit.literals import EditError
from rewriter.model import Component, Decision, FileEdit, FileResult, Finding, Note, Plan, SourceChange, Trace
from rewriter.read.loaders import Loaders

__all__ = ["Loaders", "Planner", "check", "drop", "rewrite"]

_FILES_PER_POOL = 400  # from which on starting other processes pays
_FILES_PER_TASK = 25

Progress = Callable[[], object]
Threads = dict[LoaderId, tuple[SourceChange, ...]]
"""The source changes that lead the requested keys to the hub calls of each loader."""


# --- check -------------------------------------------------------------------------------------


def check(targets: Sequence[Target], request: Request, loaders: Loaders, *, progress: Progress = lambda: None) -> Plan:
    """Diagnose every file; nothing is executed and nothing changes. Of many files, traces keep only ``files``."""
    planner, parts = Planner(targets, request, loaders), []
    made: Iterable[Plan] = map(functools.partial(_check_file, planner), planner.targets)
    if len(planner.targets) >= _FILES_PER_POOL:
        given = targets, request, loaders.opensora_source
        made = _map_in_pool(_check_in_process, planner.targets, _start_process, *given)
    for part in made:
        parts.append(part)
        progress()
    results = tuple(result for part in parts for result in part.results)
    findings = dict.fromkeys(finding for part in parts for finding in part.findings)
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return Plan(results, (), tuple(findings), (*notes, *_note_empty(results)))


def _map_in_pool(function: Callable[..., Any], items: Iterable[Any], start: Any = None, *given: Any) -> Iterator[Any]:
    """What other processes make of the items, in order; each calls ``start(*given)`` first."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(None, None, start, given) as pool:
        yield from pool.map(function, items, chunksize=_FILES_PER_TASK)


def _check_file(planner: Planner, path: str) -> Plan:
    return Plan((planner.decide_file(path),), (), tuple(planner.loaders.problems()), planner.notes())


_planners: list[Planner] = []  # one, in a process of the pool


def _start_process(targets: Sequence[Target], request: Request, opensora_source: str | None) -> None:
    _planners[:] = [Planner(targets, request, Loaders(opensora_source))]


def _check_in_process(path: str) -> Plan:
    """One file in a process of the pool; what a report does not name stays behind."""
    part = _check_file(_planners[0], path)
    _planners[0].forget(path)
    named = tuple(map(_name_only, part.results[0].decisions))
    return part._replace(results=(part.results[0]._replace(decisions=named, old=None, new=None),))


def _name_only(decision: Decision) -> Decision:
    trace = decision.trace and Trace(decision.trace.found, files=decision.trace.files)
    return decision._replace(component=Component(decision.component.keys, decision.component.span), trace=trace)


def _note_empty(results: Sequence[FileResult]) -> list[Note]:
    """That no file of a run has a component, lest that is taken for a good result."""
    if not results or any(result.decisions or result.findings for result in results):
        return []
    return [Note(f"no component in {'this file' if len(results) == 1 else f'these {len(results)} files'}")]


# --- rewrite -----------------------------------------------------------------------------------


def rewrite(
    targets: Sequence[Target],
    request: Request,
    loaders: Loaders,
    overlay: Mapping[str, bytes] = {},
    *,
    begin: Callable[[], object] = lambda: None,
    progress: Progress = lambda: None,
) -> Plan:
    """Decide about every file, edit the configs and the loaders that need it, and prove the new bytes.

    ``overlay``: bytes that stand for config files (standard input). ``begin``: is called early where one may change.
    """
    planner = Planner(targets, request, loaders, overlay=overlay)
    paths, asking = list(planner.targets), []
    for path in paths[:: 1 + len(paths) // _FILES_PER_POOL]:
        asking.append(planner.decide_file(path))
        if any(each.changes or each.edits for each in asking[-1].decisions):
            begin()
    refused: dict[LoaderId, str] = {}
    unfit: dict[str, Finding] = {}
    stay: set[LoaderId] = set()  # loaders that no edit is to change
    while True:
        threads = _find_threads(asking, stay)
        sources, bad = _edit_sources(planner, threads)
        broken: dict[str, Finding] = {}
        if not bad:
            overlaid = loaders.with_overlay({path: edit.new for path, edit in sources.items()})
            trial = planner.retry(overlaid, refused, unfit)
            results, failed = edit_configs(map(trial.decide_file, paths), len(paths), progress)
            more = [planner.decide_file(r.path) for r in results if any(each.edits for each in r.decisions)]
            if _find_threads([*asking, *more], stay) != threads:
                asking += more
                continue
            fit = [result for result in results if result.path not in unfit]
            done = {(r.root, d.type) for r in fit for d in r.decisions if d.outcome in ("set", "already")}
            if threads.keys() - done:
                stay |= threads.keys() - done
                continue
            bad, broken = _find_harm(planner, trial, threads, {result.path for result in fit if result.changes})
            if not (bad or broken):
                break
        refused, unfit, stay = refused | bad, unfit | broken, stay | bad.keys()
    notes = *trial.notes(), *_note_empty(results)
    return drop(Plan(results, tuple(sources.values()), tuple(loaders.problems()), notes), unfit | failed)


def _find_threads(results: Iterable[FileResult], stay: Collection[LoaderId]) -> Threads:
    """The source changes that decisions ask for, but for those of some loaders."""
    threads: Threads = {}
    for root, decision in [(result.root, each) for result in results for each in result.decisions if each.edits]:
        place = root, str(decision.type)
        if place not in stay:
            threads[place] = tuple(dict.fromkeys((*threads.get(place, ()), *decision.edits)))
    return threads


def drop(plan: Plan, refused: Mapping[str, Finding]) -> Plan:
    """Refuse whole files (path -> why). Where a base file is refused, so is every file that inherits from it."""
    results = []
    for result in plan.results:
        why = next((refused[path] for path in (result.path, *result.bases) if path in refused), None)
        if why is not None:
            decisions = tuple(
                each._replace(outcome="cannot", changes=()) if each.outcome in ("set", "already") else each
                for each in result.decisions
            )
            findings = (*result.findings, why._replace(path=result.path))
            result = result._replace(decisions=decisions, findings=findings, new=result.old)
        results.append(result)
    served = any(each.outcome in ("set", "already") for result in results for each in result.decisions)
    return plan._replace(results=tuple(results), sources=plan.sources if served or not refused else ())


def edit_configs(
    results: Iterable[FileResult], count: int, progress: Progress = lambda: None
) -> tuple[tuple[FileResult, ...], dict[str, Finding]]:
    """The ``count`` files with their changes made and proved, and those that cannot be edited, with why."""
    decided: list[FileResult] = []

    def find_changed() -> Iterator[FileResult]:  # without traces, whose syntax trees are not sent to others
        for result in results:
            decided.append(result)
            progress()
            if result.changes and result.old is not None:
                yield result._replace(decisions=tuple(each._replace(trace=None) for each in result.decisions))

    in_turn = count < _FILES_PER_POOL  # else others edit while this process decides
    made = dict(map(_edit_config, find_changed()) if in_turn else _map_in_pool(_edit_config, find_changed()))
    refused = {path: new for path, new in made.items() if isinstance(new, Finding)}
    edited = {path: new for path, new in made.items() if isinstance(new, bytes)}
    return tuple(each._replace(new=edited.get(each.path, each.old)) for each in decided), refused


def _edit_config(result: FileResult) -> tuple[str, bytes | Finding]:
    from rewriter.edit.loader import edit_config

    assert result.old is not None
    try:
        _refuse_link(result.path, [result.root])
        return result.path, edit_config(result.old, result.changes)
    except EditError as error:
        words = f"it cannot be edited: {error.message}", "write that line in a plainer way, or edit it by hand"
        return result.path, Finding("OSR900", result.path, error.line or 1, 0, "", *words)


def _refuse_link(path: str, roots: Iterable[str | None]) -> None:
    if all(files.outside(path, root) for root in roots):
        raise EditError(1, f"it is a link that leads out of the checkout, to {os.path.realpath(path)}")


def _edit_sources(planner: Planner, threads: Threads) -> tuple[dict[str, FileEdit], dict[LoaderId, str]]:
    """The edit of every loader source that is to change, proved; and the loaders that need one which cannot be."""
    from rewriter.edit.loader import edit_loader

    roots = {target.root for target in planner.targets.values()} | {planner.loaders.opensora_source}
    edits: dict[str, FileEdit] = {}
    refused: dict[LoaderId, str] = {}
    for path in sorted({change.path for changes in threads.values() for change in changes}):
        places = [place for place, changes in threads.items() if any(change.path == path for change in changes)]
        changes = dict.fromkeys(change for place in places for change in threads[place] if change.path == path)
        try:
            _refuse_link(path, roots - {None})
            old = planner.loaders.texts.read(path)
            edits[path] = FileEdit(path, old, edit_loader(old, tuple(changes)), "source")
        except EditError as error:
            refused |= dict.fromkeys(places, f"{path}:{error.line or 1} cannot be edited: {error.message}")
    return edits, refused


# --- harm --------------------------------------------------------------------------------------


def _find_harm(
    before: Planner, after: Planner, threads: Threads, edited: Collection[str]
) -> tuple[dict[LoaderId, str], dict[str, Finding]]:
    """The loaders and the ``edited`` configs whose edits would break a component of any config, and why."""
    refused: dict[LoaderId, str] = {}
    unfit: dict[str, Finding] = {}
    for path, component, fault, used in _find_broken(before, after) if threads or edited else ():
        where = f"break `{component.dotted}` of {path}, where {fault}"
        bad = [place for place, changes in threads.items() if any(change.path in used for change in changes)]
        refused |= dict.fromkeys(bad, f"an edit would {where}")
        for base in before.bases_of(path):
            if base in edited and not bad:
                remedy = "write the dict of the other config with `_delete_=True` and all its keywords"
                unfit[base] = Finding(
                    "OSR004", base, 1, 0, component.dotted, f"a change of {base} would {where}", remedy
                )
    return refused, unfit


def _find_broken(before: Planner, after: Planner) -> Iterator[tuple[str, Component, str, frozenset[str]]]:
    """Every component that is judged worse after the edits, in all configs of the checkouts, selected or not.

    Yields the config, the component, what is wrong with it, and the sources whose functions run for it.
    """
    tops = {root for _, root, _ in before.targets.values() if root is not None}
    configs: dict[str, str | None] = {path: top for top in tops for path in config_files(top)}
    for path, root in (configs | {path: root for path, root, _ in before.targets.values()}).items():
        old = {(each.keys, each.span): each for each in before.present(path).components}
        for component in after.future(path).components:
            known, kind = old.get((component.keys, component.span)), _type_of(component)
            is_same = known is None or known.values == component.values
            if known is None or (is_same and not (after.loaders.overlay and before.loaders.can_load(root, kind))):
                continue  # the functions that are edited lie on a path to a hub call
            trace = after.loaders.trace(root, kind, component.values)
            if is_same and trace.files.isdisjoint(after.loaders.overlay):
                continue
            was = before.loaders.trace(root, _type_of(known), known.values)
            kept = {(key, call.callee) for call in was.calls for key in call.reached if key in component.values}
            worse = _list_faults(trace, kept) - _list_faults(was, kept)
            if worse:
                yield path, component, min(worse), trace.files


def _type_of(component: Component) -> str:
    return str(component.values.get("type", model.Value.of(None)).value)


def _list_faults(trace: Trace, kept: Collection[tuple[str, str]]) -> set[str]:
    """What is wrong with a trace, without line numbers; ``kept``: the keys that have to reach a call, and its name."""
    faults = {f"{each.function} would be given {each.key} and raise a TypeError" for each in trace.rejections}
    faults |= {f"`{failure.text}` would fail" for failure in trace.failures}
    lost = [(key, call.callee) for call in trace.calls for key in model.KEYS if key not in call.reached]
    return faults | {f"{key} would not reach {callee} any more" for key, callee in lost if (key, callee) in kept}
