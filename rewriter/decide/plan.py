"""From files and a request to decisions, findings and edits: the middle of every command, with nothing written yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rewriter import files
from rewriter.checkout import Target, config_files
from rewriter.decide.loaders import Loaders, keywords, split_calls
from rewriter.decide.planner import Keys, Planner
from rewriter.decide.request import Request
from rewriter.decide.thread import thread_key
from rewriter.edit.literals import EditError
from rewriter.model import KEYS, Component, FileEdit, FileResult, Finding, Note, Plan, SourceChange, Trace, Value
from rewriter.read.loaders import trace_loader

__all__ = ["Loaders", "Planner", "check", "drop", "rewrite"]

FILES_PER_POOL = 400
"""Files from which on starting other processes pays."""
_FILES_PER_TASK = 100
_BY_HAND = "write that line in a plainer way, or edit it by hand"

Progress = Callable[[], None]
Function = tuple[str, str]
"""A function that is edited or walked: its file and its name."""


@dataclass(frozen=True, slots=True)
class Thread:
    """The source changes that lead the requested keys to every hub call of one loader, and the functions they edit."""

    root: str
    type: str
    changes: tuple[SourceChange, ...] = ()
    functions: frozenset[Function] = frozenset()


# --- check -------------------------------------------------------------------------------------


def check(targets: Sequence[Target], request: Request, loaders: Loaders, *, progress: Progress | None = None) -> Plan:
    """Diagnose every file; nothing is executed and nothing changes. Decisions carry no trace where files are many."""
    if len(targets) < FILES_PER_POOL or loaders.overlay:
        return _check_part(targets, request, loaders, progress)
    from concurrent.futures import ProcessPoolExecutor

    parts = [targets[start : start + _FILES_PER_TASK] for start in range(0, len(targets), _FILES_PER_TASK)]
    results: list[FileResult] = []
    notes: dict[Note, None] = {}
    findings: dict[Finding, None] = {}
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        task = partial(_check_in_process, request=request, opensora_source=loaders.opensora_source)
        for part in pool.map(task, parts):
            results += part.results
            notes |= dict.fromkeys(part.notes)
            findings |= dict.fromkeys(part.findings)
            for _ in part.results if progress is not None else ():
                progress()  # type: ignore[misc]
    return Plan(tuple(results), (), tuple(findings), (*notes, *_note_empty(results)))


def _check_part(targets: Sequence[Target], request: Request, loaders: Loaders, progress: Progress | None) -> Plan:
    planner = Planner(targets, request, loaders)
    results = planner.decide_all(progress)
    return Plan(results, (), tuple(loaders.problems()), (*planner.notes(), *_note_empty(results)))


_loaders: dict[str | None, Loaders] = {}
"""Of one process of a pool."""


def _check_in_process(targets: Sequence[Target], request: Request, opensora_source: str | None) -> Plan:
    """One task of the pool; traces and bytes stay behind."""
    made = _check_part(targets, request, _loaders.setdefault(opensora_source, Loaders(opensora_source)), None)
    results = [
        each._replace(decisions=tuple(d._replace(trace=None, changes=()) for d in each.decisions), old=None, new=None)
        for each in made.results
    ]
    notes = [note for note in made.notes if note not in _note_empty(made.results)]
    return made._replace(results=tuple(results), notes=tuple(notes))


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
    *,
    overlay: Mapping[str, bytes] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Decide about every file, edit the configs and the loaders that need it, and prove the new bytes.

    Args:
        overlay: bytes that stand for config files (standard input).
    """
    planner = Planner(targets, request, loaders, overlay=overlay)
    threads = _find_threads(planner) if request.edit_source else []
    obstacles: list[Finding] = []
    types: dict[tuple[str, str], str] = {}
    components: dict[tuple[str, Keys], str] = {}
    while True:
        sources, threads = _edit_sources(planner, threads, obstacles)
        new_loaders = loaders.with_overlay({path: edit.new for path, edit in sources.items()})
        trial = planner.retry(new_loaders, types, components)
        results = trial.decide_all(progress)
        progress = None
        done = [each for result in results for each in result.decisions if each.outcome in ("set", "already")]
        needed = [thread for thread in threads if thread.type in {each.type for each in done}]
        if needed != threads:
            threads = needed
            continue
        bad_types, bad_components = _find_harm(planner, trial, threads, results)
        if not bad_types and not bad_components:
            break
        types |= bad_types
        components |= bad_components
        threads = [thread for thread in threads if (thread.root, thread.type) not in types]
    edited, refused = edit_configs(results)
    findings = (*loaders.problems(), *dict.fromkeys(obstacles))
    notes = *trial.notes(), *_note_empty(results)
    return drop(Plan(edited, tuple(edit for _, edit in sorted(sources.items())), findings, notes), refused)


def drop(plan: Plan, refused: Mapping[str, Finding]) -> Plan:
    """Refuse whole files (path -> why). Where a base file is refused, so is every file that inherits from it."""
    if not refused:
        return plan
    results = []
    for result in plan.results:
        why = refused.get(result.path) or next((refused[base] for base in result.bases if base in refused), None)
        if why is None:
            results.append(result)
            continue
        decisions = tuple(
            each._replace(outcome="cannot", changes=(), kept=())
            if each.changes or each.outcome in ("set", "already")
            else each
            for each in result.decisions
        )
        findings = (*result.findings, why._replace(path=result.path))
        results.append(result._replace(decisions=decisions, findings=findings, new=result.old))
    served = any(each.outcome in ("set", "already") for result in results for each in result.decisions)
    return plan._replace(results=tuple(results), sources=plan.sources if served else ())


def edit_configs(results: Sequence[FileResult]) -> tuple[tuple[FileResult, ...], dict[str, Finding]]:
    """The files with their changes made and proved, and those that cannot be edited, with why."""
    from rewriter.edit.loader import edit_config

    edited: list[FileResult] = []
    refused: dict[str, Finding] = {}
    for result in results:
        new = result.old
        if result.changes and result.old is not None:
            try:
                _refuse_link(result.path, [result.root])
                new = edit_config(result.old, result.changes)
            except EditError as error:
                message = f"it cannot be edited: {error.message}"
                refused[result.path] = Finding("OSR900", result.path, error.line or 1, 0, "", message, _BY_HAND)
        edited.append(result._replace(new=new))
    return tuple(edited), refused


def _refuse_link(path: str, roots: Iterable[str | None]) -> None:
    if all(files.outside(path, root) for root in roots):
        raise EditError(1, f"it is a link that leads out of the checkout, to {os.path.realpath(path)}")


def _find_threads(planner: Planner) -> list[Thread]:
    """The source changes that lead every requested key to every hub call, one entry a loader."""
    found: dict[tuple[str, str], Thread] = {}
    request = planner.request
    for component, owner, root in planner.selected_components():
        sources = planner.loaders.sources(root)
        requested = request.requested_keys(owner)
        sets = {key: Value.of(value) for name, key, value in request.sets if name == component.name}
        values = {**component.values, **sets}
        kind = values.get("type")
        if sources is None or kind is None or not isinstance(kind.value, str) or not requested:
            continue
        given = keywords(values) | {key: Value.of(value) for key, value in requested}
        trace = trace_loader(sources, kind.value, given)
        if trace.failures or component.unsure is not None:
            continue
        made = [thread_key(trace, key, root, request.default_for(key)) for key, _ in requested]
        loads = request.force or split_calls(trace, root)[0] or any(each.repos for each in made)
        for threading in made if loads else ():  # else its only path is missing, which no directory cures
            place = sources.root, kind.value
            before = found.get(place, Thread(*place))
            changes = dict.fromkeys((*before.changes, *threading.changes))
            found[place] = Thread(*place, tuple(changes), before.functions | threading.functions)
    return [each for each in found.values() if each.changes]


def _edit_sources(
    planner: Planner, threads: list[Thread], obstacles: list[Finding]
) -> tuple[dict[str, FileEdit], list[Thread]]:
    """The edit of every loader source that is to change, proved, and the threads that it serves.

    Where a source cannot be edited, all threads that need it are dropped: half a path would be a TypeError.
    """
    from rewriter.edit.loader import edit_loader

    roots = {target.root for target in planner.targets.values()} | {planner.loaders.opensora_source}
    by_path: dict[str, dict[SourceChange, None]] = {}
    for thread in threads:
        for change in thread.changes:
            by_path.setdefault(change.path, {})[change] = None
    edited: dict[str, FileEdit] = {}
    for path, changes in by_path.items():
        try:
            _refuse_link(path, roots - {None})
            old = planner.loaders.read_source(path)
            new = edit_loader(old, tuple(changes))
        except EditError as error:
            message = f"this source cannot be edited: {error.message}"
            place = path, error.line or 1, 0, ""
            obstacles.append(Finding("OSR900", *place, message, "edit the loader by hand", "warning"))
            rest = [each for each in threads if all(change.path != path for change in each.changes)]
            return _edit_sources(planner, rest, obstacles)
        edited[path] = FileEdit(path, old, new, "source")
    return edited, threads


# --- harm --------------------------------------------------------------------------------------


def _find_harm(
    before: Planner, after: Planner, threads: Sequence[Thread], results: Sequence[FileResult]
) -> tuple[dict[tuple[str, str], str], dict[tuple[str, Keys], str]]:
    """What the edits of a run would break: after them, no component of any config may be judged worse than before.

    Every config of the checkouts is traced again, selected or not, with the edited bytes laid over the sources.

    Returns:
        What has to be left alone, and why: loaders by ``(root of the sources, type)``, dicts by ``(path, keys)``.
    """
    edited = {result.path for result in results if result.changes}
    types: dict[tuple[str, str], str] = {}
    components: dict[tuple[str, Keys], str] = {}
    for path, root in _list_configs(before) if threads or edited else ():
        old = {each.keys: each for each in before.present(path).components}
        for component in after.future(path).components:
            known = old.get(component.keys)
            if known is None or component.unsure is not None:
                continue
            found = _new_faults(before, after, root, known, component)
            if not found:
                continue
            where = f"`{component.dotted}` of {path}, where {next(iter(found.values()))[0]}"
            places = {place for _, functions in found.values() for place in functions}
            bad = [each for each in threads if each.functions & places]
            bases = [base for base in before.bases_of(path) if base in edited and not bad]
            components |= {(base, component.keys): f"a change here would break {where}" for base in bases}
            if not bad and not bases and path not in edited:
                bad = list(threads)
            types |= {(each.root, each.type): f"an edit would break {where}" for each in bad}
    return types, components


def _list_configs(planner: Planner) -> Iterator[tuple[str, str | None]]:
    """Every config of the checkouts of a run."""
    found = {target.path: target.root for target in planner.targets.values()}
    for root in {root for root in found.values() if root is not None}:
        found.update((path, root) for path in config_files(root) if path not in found)
    yield from found.items()


def _new_faults(
    before: Planner, after: Planner, root: str | None, old: Component, new: Component
) -> dict[object, tuple[str, frozenset[Function]]]:
    """What is wrong with a component after the edits, and was not before: in words, with the functions on its path."""
    kinds = [each.values["type"].value for each in (old, new) if "type" in each.values]
    if len(kinds) < 2 or not all(isinstance(kind, str) for kind in kinds):
        return {}
    if old.values == new.values and not before.loaders.can_load(root, str(kinds[0])):
        return {}  # the functions that are edited lie on a path to a hub call
    other = after.loaders.trace(root, str(kinds[1]), new.values)
    if old.values == new.values and other.files.isdisjoint(after.loaders.overlay):
        return {}
    one = before.loaders.trace(root, str(kinds[0]), old.values)
    known = _list_faults(one, one, old.values)
    return {fault: words for fault, words in _list_faults(other, one, new.values).items() if fault not in known}


def _list_faults(
    trace: Trace, before: Trace, values: Mapping[str, Value]
) -> dict[object, tuple[str, frozenset[Function]]]:
    """What is wrong with a trace; faults are compared without line numbers. A key is lost that arrived ``before``."""
    found: dict[object, tuple[str, frozenset[Function]]] = {}
    for each in trace.rejections:
        places = frozenset({(each.path, each.function), *((step.path, step.function) for step in each.chain)})
        words = f"{each.function} would be given {each.key} and raise a TypeError"
        found["rejected", each.key, each.function, each.path] = words, places
    every = frozenset((step.path, step.function) for call in trace.calls for step in call.chain)
    for failure in trace.failures:
        found["failure", failure.text, failure.path] = f"`{failure.text}` would fail", every
    arrived = {(key, call.callee, call.path) for call in before.calls for key in call.reached}
    for key in [key for key in KEYS if values.get(key, Value.of(None)).value not in (None, False)]:
        for call in trace.calls:
            if key not in call.reached and (key, call.callee, call.path) in arrived:
                places = frozenset((step.path, step.function) for step in call.chain)
                words = f"{key} would not reach {call.callee} any more"
                found["lost", key, call.callee, call.path, call.repo_id or call.repo_text] = words, places
    return found
