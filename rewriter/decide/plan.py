"""From files and a request to decisions, findings and edits: the middle of every command, with nothing written yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from rewriter.checkout import Target
from rewriter.decide.context import split_calls
from rewriter.decide.harm import Thread, find_harm
from rewriter.decide.loaders import Loaders, keywords
from rewriter.decide.planner import Planner, ProofError, note_empty
from rewriter.decide.request import Request
from rewriter.decide.thread import thread_key
from rewriter.decide.workers import FILES_PER_POOL, check_in_pool
from rewriter.model import FileEdit, FileResult, Finding, Plan, SourceChange, Value

__all__ = ["Loaders", "Planner", "ProofError", "check", "drop", "rewrite"]

Progress = Callable[[], None]


def check(targets: Sequence[Target], request: Request, loaders: Loaders, *, progress: Progress | None = None) -> Plan:
    """Diagnose every file; nothing is executed and nothing changes. Decisions carry no trace where files are many."""
    if len(targets) >= FILES_PER_POOL and not loaders.overlay:
        results, notes, findings = check_in_pool(targets, request, loaders.opensora_source, progress)
        return Plan(results, (), findings, (*notes, *note_empty(results)))
    planner = Planner(targets, request, loaders)
    results = planner.decide_all(progress)
    return Plan(results, (), tuple(loaders.problems()), (*planner.notes(), *note_empty(results)))


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

    Raises:
        ProofError: new bytes do not read as they were meant to (a fault of this program; nothing is written).
    """
    planner = Planner(targets, request, loaders, overlay=overlay)
    threads = _find_threads(planner) if request.edit_source else []
    obstacles: list[Finding] = []
    refused: dict[tuple[str, str], str] = {}
    while True:
        sources, threads = _edit_sources(planner, threads, obstacles)
        trial = planner.with_loaders(loaders.with_overlay({path: edit.new for path, edit in sources.items()}), refused)
        results = trial.decide_all(progress)
        progress = None
        needed = _keep_needed(threads, results)
        if needed != threads:
            threads = needed
            continue
        harm = find_harm(planner, trial, threads, results)
        if not harm.types and not harm.components:
            break
        refused |= harm.types
        planner.refuse_components(harm.components)
        threads = [thread for thread in threads if (thread.root, thread.type) not in refused]
    findings = (*loaders.problems(), *dict.fromkeys(obstacles))
    notes = *trial.notes(), *note_empty(results)
    return Plan(tuple(results), tuple(edit for _, edit in sorted(sources.items())), findings, notes)


def drop(plan: Plan, refused: Mapping[str, Finding]) -> Plan:
    """Refuse whole files (path -> why). Where a base file is refused, so is every file that inherits from it."""
    results = []
    for result in plan.results:
        why = refused.get(result.path) or next((refused[base] for base in result.bases if base in refused), None)
        if why is None:
            results.append(result)
            continue
        finding = replace(why, path=result.path) if result.path not in refused else why
        decisions = tuple(
            replace(each, outcome="cannot" if each.changes or each.outcome in ("set", "already") else each.outcome,
                    changes=(), kept=())
            for each in result.decisions
        )  # fmt: skip
        findings = (*result.findings, finding)
        results.append(replace(result, decisions=decisions, findings=findings, new=result.old))
    served = any(each.outcome in ("set", "already") for result in results for each in result.decisions)
    return replace(plan, results=tuple(results), sources=plan.sources if served else ())


def _find_threads(planner: Planner) -> list[Thread]:
    """The source changes that lead every requested key to every hub call, one entry a loader."""
    found: dict[tuple[str, str], Thread] = {}
    for component, owner, root in planner.selected_components():
        sources = planner.loaders.sources(root)
        requested = planner.request.requested_keys(owner)
        values = planner.requested_values(component)
        kind = values.get("type")
        if sources is None or kind is None or not isinstance(kind.value, str) or not requested:
            continue
        given = {**keywords(values), **{key: Value.of(value) for key, value in requested}}
        trace = sources.trace(kind.value, given)
        if trace.failures or component.unsure is not None:
            continue
        made = [thread_key(trace, key, root, planner.request.default_for(key)) for key, _ in requested]
        loads = planner.request.force or split_calls(trace, root)[0] or any(each.repos for each in made)
        for threading in made if loads else ():  # else its only path is missing, which no directory cures
            place = sources.root, kind.value
            before = found.get(place, Thread(*place))
            changes = dict.fromkeys((*before.changes, *threading.changes))
            found[place] = Thread(*place, tuple(changes), before.functions | threading.functions)
    return [each for each in found.values() if each.changes]


def _keep_needed(threads: Iterable[Thread], results: Iterable[FileResult]) -> list[Thread]:
    """The threads that a component which is set (or was already) needs."""
    served = {
        decision.type for result in results for decision in result.decisions if decision.outcome in ("set", "already")
    }
    return [thread for thread in threads if thread.type in served]


def _edit_sources(
    planner: Planner, threads: list[Thread], obstacles: list[Finding]
) -> tuple[dict[str, FileEdit], list[Thread]]:
    """The edit of every loader source that is to change, proved, and the threads that it serves.

    Where a source cannot be edited, all threads that need it are dropped: half a path would be a TypeError.
    """
    from rewriter.edit.elements import EditError

    while threads:
        by_path: dict[str, dict[SourceChange, None]] = {}
        for thread in threads:
            for change in thread.changes:
                by_path.setdefault(change.path, {})[change] = None
        edited: dict[str, FileEdit] = {}
        failed: str | None = None
        for path, changes in by_path.items():
            try:
                edited[path] = planner.edit_source(path, tuple(changes))
            except EditError as error:
                message = f"this source cannot be edited: {error.message}"
                remedy = "edit the loader by hand"
                obstacles.append(Finding("OSR900", path, error.line or 1, 0, "", message, remedy, "warning"))
                failed = path
                break
        if failed is None:
            return edited, threads
        threads = [each for each in threads if all(change.path != failed for change in each.changes)]
    return {}, []
