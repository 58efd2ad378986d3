"""What the components of a config read through the Hugging Face cache: each hub call, and what it asks a cache for."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rewriter.checkout import Target, Unreadable, read_bytes
from rewriter.decide.loaders import Loaders
from rewriter.decide.remedies import cached_repos, select_option, suggest_repo
from rewriter.decide.thread import thread_key
from rewriter.locality import is_repo_id, locality
from rewriter.model import (
    CACHE_DIR,
    LOCAL_FILES_ONLY,
    Component,
    Config,
    Finding,
    HubCall,
    Note,
    Problem,
    Trace,
    Value,
)
from rewriter.model import Place as Locality
from rewriter.read.configs import inherit, read_config
from rewriter.verify.directories import Place, find_default_cache, find_unread_variables


@dataclass(frozen=True, slots=True)
class Need:
    """What one hub call asks a cache for.

    ``revision``: None means ``main``. ``kind``, ``library``, ``class_name``: as in :class:`rewriter.model.HubCall`.
    ``hard_coded``: the loader's source names ``repo_id``, no config does; else ``key`` is the keyword that does.
    ``requested_by``: the components that lead here. ``source``: where ``cache_dir`` comes from: "config", "option", or
    what :func:`rewriter.verify.directories.find_default_cache` names.
    """

    repo_id: str
    cache_dir: str
    revision: str | None = None
    subfolder: str | None = None
    kind: str = "from_pretrained"
    library: str = "transformers"
    class_name: str = ""
    filename: str | None = None
    hard_coded: bool = False
    requested_by: tuple[Place, ...] = ()
    source: str = "config"
    key: str = "from_pretrained"


@dataclass(frozen=True, slots=True)
class CallRow:
    """One hub call of one component of one config.

    ``place``: where its repo id leads: "repo", "local" (an existing path), "missing", or "unknown" where it could not
    be followed. ``keys``: for ``cache_dir`` and ``local_files_only`` what arrives at the call: "set" (the config gives
    it and it arrives), "open" (it would arrive, the config gives none), "dropped" (given or not, it never arrives),
    "unsure" (whether it arrives is not known) or "rejected" (giving it is a TypeError). ``cache_dir``: the directory
    that arrives, or None. ``key``: the keyword of the component whose value the repo id is, or "".
    """

    path: str
    line: int
    component: str
    type: str
    call: HubCall
    place: Locality
    keys: Mapping[str, str]
    cache_dir: str | None
    key: str = ""


@dataclass(frozen=True, slots=True)
class ComponentTrace:
    """One component with its rows, and what could not be followed, in plain words.

    ``after_rewrite``: repos that it reads once ``rewrite`` has edited its loader, where it now reads a path (v1.0's
    ``t5``).
    """

    path: str
    root: str | None
    component: Component
    type: str
    trace: Trace
    rows: tuple[CallRow, ...]
    after_rewrite: tuple[str, ...] = ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """What could not be followed."""
        return self.trace.unknown


def trace_components(
    targets: Sequence[Target], loaders: Loaders, names: Iterable[str] | None = None
) -> tuple[list[ComponentTrace], list[Finding]]:
    """Trace every component (or those called ``names``, and dicts nested in them) of the configs.

    Args:
        targets: the configs.
        loaders: what a registered type does.
        names: components to trace; None: all.

    Returns:
        The components whose loader is registered and loads (or may load) by name, in the order of the files; and
        OSR900 for files that cannot be read.
    """

    @functools.cache
    def read(path: str) -> Config:
        try:
            return read_config(read_bytes(path), path)
        except Unreadable as error:
            return Config(path, problem=Problem(1, 0, error.message, error.remedy))

    wanted = None if names is None else frozenset(names)
    traced: list[ComponentTrace | None] = []
    problems: list[Finding] = []
    for target in targets:
        config = read(target.path)
        bad = config.problem
        if bad is not None:
            problems.append(Finding("OSR900", target.path, bad.line, bad.column, "", bad.message, bad.remedy))
        else:
            components = inherit(config, read).components
            selected = [each for each in components if wanted is None or wanted & set(each.keys)]
            traced += [_trace_component(target, component, loaders) for component in selected]
    return [found for found in traced if found is not None], problems


def _trace_component(target: Target, component: Component, loaders: Loaders) -> ComponentTrace | None:
    values = component.values
    kind = values.get("type")
    if kind is None or not kind.known or not isinstance(kind.value, str):
        return None
    as_is = loaders.trace(target.root, kind.value, values)
    if not as_is.found or not (as_is.calls or as_is.unknown):
        return None
    given = {
        key: loaders.trace(target.root, kind.value, {**values, key: Value.of(value)})
        for key, value in ((CACHE_DIR, "/"), (LOCAL_FILES_ONLY, True))
    }
    own = [call for call in as_is.calls if call.repo_text != "None"]
    rows = tuple(_make_row(target, component, kind.value, call, given) for call in own)
    paths = [row.call.repo_id for row in rows if row.place == "missing" or not is_repo_id(row.call.repo_id or "a")]
    missing = bool(paths) and not as_is.guessed
    later = thread_key(given[CACHE_DIR], CACHE_DIR, target.root).repos if missing else ()
    return ComponentTrace(target.path, target.root, component, kind.value, as_is, rows, later)


def _make_row(target: Target, component: Component, kind: str, call: HubCall, given: Mapping[str, Trace]) -> CallRow:
    place = "unknown" if call.repo_id is None else locality(call.repo_id, target.root)
    keys = {key: _find_arrival(key, call, component.values, trace) for key, trace in given.items()}
    present = component.values.get(CACHE_DIR)
    directory = present.value if keys[CACHE_DIR] == "set" and present is not None else None
    named_by = (key for key, value in component.values.items() if value.known and value.value == call.repo_id)
    key = "" if call.repo_id is None or call.hard_coded else next(named_by, "")
    found = place, keys, directory if isinstance(directory, str) else None, key
    return CallRow(target.path, component.span.line, component.dotted, kind, call, *found)


def _find_arrival(key: str, call: HubCall, values: Mapping[str, Value], given: Trace) -> str:
    if any(rejection.key == key for rejection in given.rejections):
        return "rejected"
    position = call.path, call.line, call.column, call.callee
    same = [other for other in given.calls if (other.path, other.line, other.column, other.callee) == position]
    if not any(key in other.reached for other in same):
        return "unsure" if any(key in other.unseen for other in same) else "dropped"
    present = values.get(key)
    return "set" if present is not None and present.value not in (None, False) else "open"


def list_repos(traced: Iterable[ComponentTrace]) -> list[tuple[str, str, str]]:
    """``(repo_id, subfolder, revision)`` of every Hub repository that is needed, sorted; local paths never."""
    traced = list(traced)
    reached = {
        (row.call.repo_id, row.call.subfolder or "", row.call.revision or "")
        for component in traced
        for row in component.rows
        if row.place == "repo" and row.call.repo_id and is_repo_id(row.call.repo_id)
    }
    return sorted(reached | {(repo_id, "", "") for component in traced for repo_id in component.after_rewrite})


# --- from hub calls to needs --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needs:
    """What the selected components ask for: one need a hub call, equal ones merged.

    ``rows``: the calls that are needs, each with the directory that it reads (None: the environment's). ``findings``:
    missing paths (OSR006), and a ``cache_dir`` that is not known or not read (OSR004, OSR005, OSR007); a repo that is
    not known is ``check``'s OSR007. ``environment``: the directories that serve calls which no ``cache_dir`` reaches,
    each with the variable that names it. ``notes``: variables that have no effect.
    """

    rows: tuple[CallRow, ...] = ()
    needs: tuple[Need, ...] = ()
    findings: tuple[Finding, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    notes: tuple[Note, ...] = ()


def collect_needs(
    traced: Sequence[ComponentTrace],
    environ: Mapping[str, str],
    *,
    transformers_major: int = 4,
    directory_for: Callable[[Component], str | None] | None = None,
) -> Needs:
    """Turn traces into what a cache has to hold; equal needs of several configs are one, with all who request it.

    Args:
        traced: of :func:`trace_components`.
        environ: the environment that the loaders will run in.
        transformers_major: version of transformers in the interpreter that will run them.
        directory_for: for ``download``: the directory that the command line gives to a component, or None. The config
            is then not blamed for a ``cache_dir`` that does not arrive (``rewrite`` makes it arrive), and the repos of
            ``after_rewrite`` are needs.
    """
    rows: list[CallRow] = []
    needs: dict[Need, list[Place]] = {}
    findings: list[Finding] = []
    environment: dict[tuple[str, str], None] = {}
    for component, row in [(each, row) for each in traced for row in each.rows]:
        given = component.component.values.get(CACHE_DIR)
        repo_ids: tuple[str, ...] = (row.call.repo_id or "",) if row.place == "repo" else ()
        if row.place == "missing" and directory_for is not None:
            repo_ids = component.after_rewrite
        if row.place == "missing" and not repo_ids:
            findings.append(_report_missing_path(row, component))
        if not repo_ids:
            continue
        directory, source = given.value if given is not None else None, "config"
        if directory_for is None:
            problem, directory = _check_arrival(row, given)
            findings += [problem] if problem is not None else []
            if given is not None and not given.known:
                continue
        else:
            chosen = directory_for(component.component)
            directory, source = (directory, "config") if chosen is None else (chosen, "option")
        if not isinstance(directory, str):
            directory, source = find_default_cache(environ, row.call.library, transformers_major)
            environment[directory, source] = None
        rows.append(replace(row, cache_dir=directory if source in ("config", "option") else None))
        for repo_id in repo_ids:
            needs.setdefault(_make_need(row, repo_id, directory, source), []).append(
                (row.path, row.line, row.component)
            )
    names = find_unread_variables(environ, transformers_major) if traced else ()
    notes = tuple(Note(f"{name} is set, but no library in use reads it: it has no effect") for name in names)
    merged = tuple(replace(need, requested_by=tuple(dict.fromkeys(places))) for need, places in needs.items())
    return Needs(tuple(rows), merged, tuple(findings), tuple(environment), notes)


def _make_need(row: CallRow, repo_id: str, directory: str, source: str) -> Need:
    call = row.call
    files = call.revision, call.subfolder, call.kind, call.library, call.class_name, call.filename
    return Need(repo_id, directory, *files, call.hard_coded, (), source, row.key or "from_pretrained")


def _report_missing_path(row: CallRow, traced: ComponentTrace) -> Finding:
    path = row.call.repo_id or ""
    message = f"{path!r} is meant as a local path, and nothing is there"
    if row.call.hard_coded:
        place = f"{row.call.path}:{row.call.line}"
        return _report_row(row, "OSR006", f"{message} (the loader's source names it)", f"correct it in {place}")
    directory = shlex.quote(row.cache_dir) if row.cache_dir is not None else "DIR"
    cure = select_option(row.component)
    if not traced.after_rewrite:  # v1.0's t5 names its repo itself, once rewrite has given it a cache_dir
        repo_id = suggest_repo(path, row.type, traced.root, cached_repos(row.cache_dir))[0]
        cure = f" --set {row.component.rpartition('.')[2]}.{row.key or 'from_pretrained'}={repo_id}"
    return _report_row(row, "OSR006", message, f"opensora-rewriter rewrite {{path}} --cache-dir {directory}{cure}")


def _check_arrival(row: CallRow, given: Value | None) -> tuple[Finding | None, str | None]:
    """Why the cache_dir given is not what this call reads, and the directory (None: the environment's).

    Where the loader rejects the keyword, that directory is looked at all the same: ``rewrite`` makes it arrive.
    """
    select = select_option(row.component)
    if given is not None and not given.known:
        message = f"cache_dir is `{given.text}`, which only running the config would tell"
        remedy = "verify it by level build, or write the directory as a string"
        return _report_row(row, "OSR007", message, remedy), None
    if given is None or not isinstance(given.value, str):
        return None, row.cache_dir
    remedy = f"opensora-rewriter rewrite {{path}} --cache-dir {shlex.quote(given.value)}{select}"
    state, loads = row.keys[CACHE_DIR], f"{row.call.callee}, which loads {row.call.repo_id}"
    if state == "rejected":
        message = f"the loader of `{row.type}` rejects cache_dir: building raises a TypeError"
        return _report_row(row, "OSR004", message, remedy), given.value
    if state == "dropped":
        return _report_row(row, "OSR005", f"cache_dir never reaches {loads}", remedy), None
    if state == "unsure":
        message = f"whether cache_dir reaches {loads}, is not known"
        return _report_row(row, "OSR007", message, "opensora-rewriter check {path}" + select), None
    return None, row.cache_dir


def _report_row(row: CallRow, code: str, message: str, remedy: str) -> Finding:
    return Finding(code, row.path, row.line, 0, row.component, message, remedy, cause=message)


# --- for programs ---------------------------------------------------------------------------------------


def format_traces(traced: Iterable[ComponentTrace], cwd: str) -> list[dict[str, object]]:
    """The JSON of ``trace``: plain values, paths relative to ``cwd`` where they are below it."""
    return [
        {
            "config": _shorten_path(component.path, cwd),
            "line": component.component.span.line,
            "component": component.component.dotted,
            "type": component.type,
            "calls": [_format_row(row, cwd) for row in component.rows],
            "not_followed": list(component.unknown),
        }
        for component in traced
    ]


def _format_row(row: CallRow, cwd: str) -> dict[str, object]:
    call = row.call
    chain = [{"function": s.function, "path": _shorten_path(s.path, cwd), "line": s.line} for s in call.chain]
    place = {"path": _shorten_path(call.path, cwd), "line": call.line, "column": call.column + 1}
    repo = {"repo_id": call.repo_id, "repo_text": call.repo_text, "place": row.place, "hard_coded": call.hard_coded}
    files = {"subfolder": call.subfolder, "revision": call.revision, "filename": call.filename}
    head = {"callee": call.callee, "library": call.library, **place}
    return {**head, **repo, **files, "certain": call.certain, **row.keys, "chain": chain}


def _shorten_path(path: str, cwd: str) -> str:
    prefix = cwd.rstrip(os.sep) + os.sep
    return path[len(prefix) :] if path.startswith(prefix) else path
