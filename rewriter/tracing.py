"""Every Hub call that the components of a config reach, as rows: what ``trace`` prints and ``verify`` looks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rewriter.checkout import Target
from rewriter.locality import locality
from rewriter.plan import Loaders, Planner, keywords
from rewriter.request import Request
from rewriter.types import CACHE_DIR, LOCAL_FILES_ONLY, Component, Finding, HubCall, Trace, Value


@dataclass(frozen=True, slots=True)
class Row:
    """One Hub call of one component of one config.

    ``place``: where its repo id leads: "repo", "local" (an existing path), "missing", or "unknown" where it could not
    be followed. ``keys``: for ``cache_dir`` and ``local_files_only`` what arrives at the call: "set" (the config gives
    it and it arrives), "open" (it would arrive, the config gives none), "dropped" (given or not, it never arrives),
    "unsure" (whether it arrives cannot be told) or "rejected" (giving it is a TypeError). ``cache_dir``: the directory
    that arrives, or None.
    """

    path: str
    line: int
    component: str
    type: str
    call: HubCall
    place: str
    keys: tuple[tuple[str, str], ...]
    cache_dir: str | None


@dataclass(frozen=True, slots=True)
class ComponentTrace:
    """One component with its rows, and what could not be followed in plain words.

    ``instead``: repos that it reads once ``rewrite`` has edited its loader, where it now reads a path (v1.0's ``t5``).
    """

    path: str
    root: str | None
    component: Component
    type: str
    rows: tuple[Row, ...]
    unknown: tuple[str, ...]
    instead: tuple[str, ...] = ()


def trace_configs(
    targets: Sequence[Target],
    loaders: Loaders,
    names: Iterable[str] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> tuple[list[ComponentTrace], list[Finding]]:
    """Trace every component (or those called ``names``, and dicts nested in them) of the configs.

    Returns the components whose type is a registered loader, in the order of the files, and OSR900 for files that
    cannot be read.
    """
    planner = Planner(targets, Request(all_components=True, edit_source=False, checking=True), loaders)
    wanted = None if names is None else frozenset(names)
    traced: list[ComponentTrace] = []
    problems: list[Finding] = []
    for target in targets:
        problem = planner.read(target.path)[1].problem
        if problem is not None:
            problems.append(Finding("OSR900", target.path, problem.line, problem.column, "",
                                    problem.message, problem.remedy))  # fmt: skip
        else:
            for component in planner.complete(target.path).components:
                if wanted is None or wanted & set(component.keys):
                    found = _component(target, component, loaders)
                    traced += [found] if found is not None else []
        progress()
    return traced, problems


def _component(target: Target, component: Component, loaders: Loaders) -> ComponentTrace | None:
    values = dict(component.values)
    kind = values.get("type")
    if component.replaced_by is not None or kind is None or not isinstance(kind.value, str):
        return None

    def trace(given: Mapping[str, Value]) -> Trace:
        assert kind is not None
        return loaders.trace(target.root, str(kind.value), given)

    as_is = trace(values)
    if not as_is.found or not (as_is.calls or as_is.unknown):
        return None
    given = {key: trace({**values, key: Value(True, value, repr(value))})
             for key, value in ((CACHE_DIR, "/"), (LOCAL_FILES_ONLY, True))}  # fmt: skip
    rows = tuple(
        _row(target, component, str(kind.value), call, values, given) for call in as_is.calls
        if not call.via and call.repo_text != "None"
    )  # fmt: skip
    instead = _instead(target, loaders, str(kind.value), values) if any(r.place == "missing" for r in rows) else ()
    return ComponentTrace(target.path, target.root, component, str(kind.value), rows, as_is.unknown, instead)


def _instead(target: Target, loaders: Loaders, kind: str, values: Mapping[str, Value]) -> tuple[str, ...]:
    sources = loaders.sources(target.root)
    if sources is None:
        return ()
    from rewriter.thread import thread

    changes = thread(sources, kind, keywords(values), CACHE_DIR).changes
    return tuple(sorted({repo_id for c in changes if c.target == "guard" for _, repo_id in c.assign}))


def _row(target: Target, component: Component, kind: str, call: HubCall, values: Mapping[str, Value],
         given: Mapping[str, Trace]) -> Row:  # fmt: skip
    place = "unknown" if call.repo_id is None else locality(call.repo_id, target.root)
    keys = tuple((key, _arrival(key, call, values, trace)) for key, trace in given.items())
    present = values.get(CACHE_DIR)
    arrives = dict(keys)[CACHE_DIR] == "set" and present is not None and isinstance(present.value, str)
    directory = str(present.value) if arrives and present is not None else None
    return Row(target.path, component.span.line, ".".join(component.keys), kind, call, place, keys, directory)


def _arrival(key: str, call: HubCall, values: Mapping[str, Value], given: Trace) -> str:
    if any(rejection.key == key for rejection in given.rejections):
        return "rejected"
    here = call.path, call.line, call.column, call.callee
    there = [other for other in given.calls if (other.path, other.line, other.column, other.callee) == here]
    if not any(key in other.reached for other in there):
        return "unsure" if any(key in other.unseen for other in there) else "dropped"
    present = values.get(key)
    return "set" if present is not None and present.value not in (None, False) else "open"


def repos(traced: Iterable[ComponentTrace]) -> list[tuple[str, str, str]]:
    """``(repo_id, subfolder, revision)`` of every Hub repository that is needed, sorted; local paths never."""
    traced = list(traced)
    reached = {
        (row.call.repo_id or "", row.call.subfolder or "", row.call.revision or "")
        for component in traced for row in component.rows if row.place == "repo" and row.call.repo_id
    }  # fmt: skip
    return sorted(reached | {(repo_id, "", "") for component in traced for repo_id in component.instead})


def as_json(traced: Iterable[ComponentTrace], cwd: str) -> list[dict[str, object]]:
    """Rows for programs: plain values, paths relative to ``cwd`` where they are below it."""
    return [
        {
            "config": _shown(component.path, cwd),
            "line": component.component.span.line,
            "component": ".".join(component.component.keys),
            "type": component.type,
            "calls": [_call_json(row, cwd) for row in component.rows],
            "not_followed": list(component.unknown),
        }
        for component in traced
    ]


def _call_json(row: Row, cwd: str) -> dict[str, object]:
    call = row.call
    return {
        "callee": call.callee,
        "library": call.library,
        "path": _shown(call.path, cwd),
        "line": call.line,
        "column": call.column + 1,
        "repo_id": call.repo_id,
        "repo_text": call.repo_text,
        "place": row.place,
        "hard_coded": call.hard_coded,
        "subfolder": call.subfolder,
        "revision": call.revision,
        "filename": call.filename,
        "certain": call.certain,
        **dict(row.keys),
        "chain": [{"function": s.function, "path": _shown(s.path, cwd), "line": s.line} for s in call.chain],
    }


def _shown(path: str, cwd: str) -> str:
    prefix = cwd.rstrip(os.sep) + os.sep
    return path[len(prefix) :] if path.startswith(prefix) else path
