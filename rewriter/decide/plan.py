"""From files and a request to decisions, findings and edits: the middle of every command, with nothing written yet."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from rewriter import files, model
from rewriter.checkout import Target, config_files
from rewriter.decide.decide import LoaderId
from rewriter.decide.parts import Part, Threads, run_parts
from rewriter.decide.planner import Planner
from rewriter.decide.request import Request
from rewriter.edit.literals import EditError
from rewriter.model import Component, FileEdit, FileResult, Finding, Note, Plan, SourceChange, Trace
from rewriter.read.loaders import Loaders

__all__ = ["Loaders", "Planner", "check", "drop", "rewrite"]

_SAMPLE = 400  # files whose decisions name the edits of loaders first

Progress = Callable[[], object]


def check(targets: Sequence[Target], request: Request, loaders: Loaders, *, progress: Progress = lambda: None) -> Plan:
    """Diagnose every file; nothing is executed and nothing changes. Of many files, traces keep only ``files``."""
    planner = Planner(targets, request, loaders)
    return _join(run_parts(_check_part, planner, planner, progress))


def _check_part(before: Planner, _after: Planner, paths: Sequence[str]) -> Part:
    return Part(tuple(map(before.decide_file, paths)), tuple(before.loaders.problems()), before.notes())


def _join(parts: Sequence[Part], sources: tuple[FileEdit, ...] = ()) -> Plan:
    """The plan of all parts, each finding and note once."""
    results = tuple(result for part in parts for result in part.results)
    findings = dict.fromkeys(finding for part in parts for finding in part.findings)
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    if results and not any(result.decisions or result.findings for result in results):  # no good result
        where = "this file" if len(results) == 1 else f"these {len(results)} files"
        notes[Note(f"no component in {where}")] = None
    return Plan(results, sources, tuple(findings), tuple(notes))


# --- rewrite -----------------------------------------------------------------------------------


def rewrite(
    targets: Sequence[Target],
    request: Request,
    loaders: Loaders,
    *,
    overlay: Mapping[str, bytes] = {},
    begin: Callable[[], object] = lambda: None,
    progress: Progress = lambda: None,
) -> Plan:
    """Decide about every file, edit the configs and the loaders that need it, and prove the new bytes.

    Args:
        overlay: bytes that stand for config files (standard input). begin: is called early where something may change.
    """
    planner = Planner(targets, request, loaders, overlay=overlay)
    paths = list(planner.targets)
    sample = []
    for path in paths[:: 1 + len(paths) // _SAMPLE]:
        sample.append(planner.decide_file(path))
        if any(each.changes or each.edits for each in sample[-1].decisions):
            begin()
    threads = _find_threads(sample)
    refused: dict[LoaderId, str] = {}
    unfit: dict[str, Finding] = {}
    stay: set[LoaderId] = set()
    while True:
        threads = {place: changes for place, changes in threads.items() if place not in stay}
        sources, bad = _edit_sources(planner, threads)
        broken: dict[str, Finding] = {}
        if not bad:
            overlaid = loaders.with_overlay({path: edit.new for path, edit in sources.items()})
            trial = planner.retry(overlaid, refused, unfit)
            parts = run_parts(functools.partial(_try_part, threads), planner, trial, progress)
            asked = [pair for part in parts for pair in part.threads.items() if pair[0] not in stay]
            more = _merge([*threads.items(), *asked])
            if more != threads:
                threads = more
                continue
            fit = [result for part in parts for result in part.results if result.path not in unfit]
            done = {(r.root, d.type) for r in fit for d in r.decisions if d.outcome in ("set", "already")}
            if threads.keys() - done:
                stay |= threads.keys() - done
                continue
            roots = {root for _, root, _ in targets if root is not None}
            others = {path: root for root in roots for path in config_files(root) if path not in planner.targets}
            parts.append(_find_harm(threads, planner, trial, others))
            bad = {place: why for part in parts for place, why in part.refused.items()}
            broken = {path: why for part in parts for path, why in part.unfit.items()}
            if not (bad or broken):
                break
        refused, unfit, stay = refused | bad, unfit | broken, stay | bad.keys()
    return drop(_join(parts, tuple(sources.values())), unfit)


def _find_threads(results: Iterable[FileResult]) -> Threads:
    """The source changes that decisions ask for."""
    return _merge(((r.root, str(each.type)), each.edits) for r in results for each in r.decisions if each.edits)


def _merge(asked: Iterable[tuple[LoaderId, tuple[SourceChange, ...]]]) -> Threads:
    threads: Threads = {}
    for place, changes in asked:
        threads[place] = tuple(dict.fromkeys((*threads.get(place, ()), *changes)))
    return threads


def _try_part(threads: Threads, before: Planner, after: Planner, paths: Sequence[str]) -> Part:
    """Decide with the edited loaders, edit the configs, and look for harm."""
    results, failed = edit_configs(list(map(after.decide_file, paths)), after.left)
    asking = [before.decide_file(result.path) for result in results if any(each.edits for each in result.decisions)]
    harm = _find_harm(threads, before, after, {path: before.targets[path].root for path in paths})
    findings, unfit = tuple(after.loaders.problems()), {**harm.unfit, **failed}
    return Part(results, findings, after.notes(), _find_threads(asking), harm.refused, unfit)


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
    results: Sequence[FileResult], left: Collection[str] = ()
) -> tuple[tuple[FileResult, ...], dict[str, Finding]]:
    """The files with their changes made and proved (not those in ``left``); those that cannot be edited, with why."""
    from rewriter.edit.loader import edit_config

    edited: list[FileResult] = []
    refused: dict[str, Finding] = {}
    outside = functools.cache(files.outside)  # most files share a folder
    for result in results:
        new = result.old
        if result.changes and result.old is not None and result.path not in left:
            try:
                _refuse_link(result.path, [result.root], outside)
                new = edit_config(result.old, result.changes)
            except EditError as error:
                words = f"it cannot be edited: {error.message}", "write that line in a plainer way, or edit it by hand"
                refused[result.path] = Finding("OSR900", result.path, error.line or 1, 0, "", *words)
        edited.append(result._replace(new=new))
    return tuple(edited), refused


def _refuse_link(
    path: str, roots: Iterable[str | None], outside: Callable[[str, str | None], bool] = files.outside
) -> None:
    place = path if os.path.islink(path) else os.path.dirname(path)
    if all(outside(place, root) for root in roots):
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
            old = planner.loaders.read_source(path)
            edits[path] = FileEdit(path, old, edit_loader(old, tuple(changes)), "source")
        except EditError as error:
            refused |= dict.fromkeys(places, f"{path}:{error.line or 1} cannot be edited: {error.message}")
    return edits, refused


# --- harm --------------------------------------------------------------------------------------


def _find_harm(threads: Threads, before: Planner, after: Planner, configs: Mapping[str, str | None]) -> Part:
    """The loaders and the configs whose edits would break a component of some configs (path -> root), and why."""
    refused: dict[LoaderId, str] = {}
    unfit: dict[str, Finding] = {}
    for path, component, fault, used in _find_broken(before, after, configs):
        where = f"break `{component.dotted}` of {path}, where {fault}"
        bad = [place for place, changes in threads.items() if any(change.path in used for change in changes)]
        refused |= dict.fromkeys(bad, f"an edit would {where}")
        for base in before.bases_of(path):
            if after.changes_of(base) and not bad:
                remedy = "write the dict of the other config with `_delete_=True` and all its keywords"
                unfit[base] = Finding(
                    "OSR004", base, 1, 0, component.dotted, f"a change of {base} would {where}", remedy
                )
    return Part(refused=refused, unfit=unfit)


def _find_broken(
    before: Planner, after: Planner, configs: Mapping[str, str | None]
) -> Iterator[tuple[str, Component, str, frozenset[str]]]:
    """Every component that is judged worse after the edits, selected or not.

    Yields the config, the component, what is wrong with it, and the sources whose functions run for it.
    """
    for path, root in configs.items():
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
