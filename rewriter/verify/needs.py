"""What the components of a config read through the Hugging Face cache: each hub call, and what it asks a cache for."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rewriter.checkout import Target
from rewriter.decide.loaders import Loaders
from rewriter.decide.remedies import cached_repos, select_option, suggest_repo
from rewriter.decide.thread import thread_key
from rewriter.files import Unreadable, read_bytes
from rewriter.locality import is_repo_id, locality
from rewriter.model import CACHE_DIR, LOCAL_FILES_ONLY, Component, Config, Finding, HubCall, Problem, Trace, Value
from rewriter.model import Place as Locality
from rewriter.read.configs import inherit, read_config
from rewriter.verify.directories import Place, find_default_cache


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
    that arrives (in :class:`Needs`: the one that is read). ``key``: the keyword that the repo id is the value of.
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
    root: str | None = None


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
    rows: tuple[CallRow, ...]
    unknown: tuple[str, ...] = ()
    after_rewrite: tuple[str, ...] = ()


def trace_components(
    targets: Sequence[Target], loaders: Loaders, names: Iterable[str] | None = None
) -> tuple[list[ComponentTrace], list[Finding]]:
    """Trace every component (or those called ``names``, and dicts nested in them) of the configs.

    Returns the components whose loader is registered and loads (or may load) by name, in the order of the files; and
    OSR900 for files that cannot be read.
    """

    @functools.cache
    def read(path: str) -> Config:
        try:
            return read_config(read_bytes(path), path)
        except Unreadable as error:
            return Config(path, problem=Problem(1, 0, error.message, error.remedy))

    wanted = None if names is None else frozenset(names)
    traced: list[ComponentTrace] = []
    problems: list[Finding] = []
    for target in targets:
        config = read(target.path)
        bad = config.problem
        if bad is not None:
            problems.append(Finding("OSR900", target.path, bad.line, bad.column, "", bad.message, bad.remedy))
            continue
        components = inherit(config, read).components
        selected = [each for each in components if wanted is None or wanted & set(each.keys)]
        traced += filter(None, (_trace_component(target, component, loaders) for component in selected))
    return traced, problems


def _trace_component(target: Target, component: Component, loaders: Loaders) -> ComponentTrace | None:
    values = component.values
    kind = values["type"].value if "type" in values else None
    if not isinstance(kind, str):
        return None
    trace = loaders.trace(target.root, kind, values)
    if not trace.found or not (trace.calls or trace.unknown):
        return None
    given = {
        key: loaders.trace(target.root, kind, {**values, key: Value.of(value)})
        for key, value in ((CACHE_DIR, "/"), (LOCAL_FILES_ONLY, True))
    }
    rows = []
    for call in trace.calls:
        if call.repo_text == "None":
            continue
        place: Locality = "unknown" if call.repo_id is None else locality(call.repo_id, target.root)
        keys = {key: _find_arrival(key, call, values, with_key) for key, with_key in given.items()}
        directory = values[CACHE_DIR].value if keys[CACHE_DIR] == "set" else None
        named_by = (key for key, value in values.items() if value.known and value.value == call.repo_id)
        key = "" if call.repo_id is None or call.hard_coded else next(named_by, "")
        where = target.path, component.span.line, component.dotted, kind
        cache_dir = directory if isinstance(directory, str) else None
        rows.append(CallRow(*where, call, place, keys, cache_dir, key, target.root))
    reads_paths = any(row.place == "missing" or not is_repo_id(row.call.repo_id or "a") for row in rows)
    later = reads_paths and not trace.guessed and thread_key(given[CACHE_DIR], CACHE_DIR, target.root).repos
    return ComponentTrace(target.path, target.root, component, kind, tuple(rows), trace.unknown, later or ())


def _find_arrival(key: str, call: HubCall, values: Mapping[str, Value], given: Trace) -> str:
    if any(rejection.key == key for rejection in given.rejections):
        return "rejected"
    place = call.path, call.line, call.column, call.callee
    same = [each for each in given.calls if (each.path, each.line, each.column, each.callee) == place]
    if any(key in each.reached for each in same):
        return "set" if key in values and values[key].value not in (None, False) else "open"
    return "unsure" if any(key in each.unseen for each in same) else "dropped"


def list_repos(traced: Sequence[ComponentTrace]) -> list[tuple[str, str, str]]:
    """``(repo_id, subfolder, revision)`` of every Hub repository that is needed, sorted; local paths never."""
    found = {(repo_id, "", "") for component in traced for repo_id in component.after_rewrite}
    for call in [row.call for component in traced for row in component.rows if row.place == "repo"]:
        if call.repo_id and is_repo_id(call.repo_id):
            found.add((call.repo_id, call.subfolder or "", call.revision or ""))
    return sorted(found)


# --- from hub calls to needs --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needs:
    """What the selected components ask for: one need a hub call, equal ones merged.

    ``rows``: the calls that are needs, each with the directory that it reads. ``findings``: missing paths (OSR006),
    and a ``cache_dir`` that is not known or not read (OSR004, OSR005, OSR007). ``environment``: the directories that
    serve calls which no ``cache_dir`` reaches, each with the variable that names it.
    """

    rows: tuple[CallRow, ...]
    needs: tuple[Need, ...]
    findings: tuple[Finding, ...]
    environment: tuple[tuple[str, str], ...]


def collect_needs(
    traced: Sequence[ComponentTrace],
    environ: Mapping[str, str],
    *,
    transformers_major: int = 4,
    directory_for: Callable[[Component], str | None] | None = None,
) -> Needs:
    """Turn traces into what a cache has to hold; equal needs of several configs are one, with all who request it.

    ``environ``, ``transformers_major``: of the interpreter that will run the loaders. ``directory_for``: for
    ``download``: the directory that the command line gives to a component, or None. The config is then not blamed for a
    ``cache_dir`` that does not arrive (``rewrite`` makes it arrive), and the repos of ``after_rewrite`` are needs.
    """
    rows: list[CallRow] = []
    needs: dict[Need, list[Place]] = {}
    findings: list[Finding] = []
    environment: dict[tuple[str, str], None] = {}
    for component, row in [(each, row) for each in traced for row in each.rows]:
        call, given, later = row.call, component.component.values.get(CACHE_DIR), component.after_rewrite
        repo_ids: tuple[str, ...] = (call.repo_id or "",) if row.place == "repo" else ()
        if directory_for is not None:
            repo_ids = later if row.place == "missing" else repo_ids
            option = directory_for(component.component)
            directory: object = given.value if option is None and given is not None else option
        else:
            option = None
            directory = given.value if given is not None and row.keys[CACHE_DIR] == "rejected" else row.cache_dir
        if directory_for is None or not repo_ids:
            findings += _check_row(row, given, later)
        if directory_for is None and given is not None and not given.known:
            continue
        source = "config" if option is None else "option"
        for repo_id in repo_ids:
            if not isinstance(directory, str):
                directory, source = find_default_cache(environ, call.library, transformers_major)
                environment[directory, source] = None
            files = call.revision, call.subfolder, call.kind, call.library, call.class_name, call.filename
            need = Need(repo_id, directory, *files, call.hard_coded, (), source, row.key or "from_pretrained")
            needs.setdefault(need, []).append((row.path, row.line, row.component))
            rows.append(replace(row, cache_dir=directory))
    merged = tuple(replace(need, requested_by=tuple(dict.fromkeys(places))) for need, places in needs.items())
    return Needs(tuple(rows), merged, tuple(findings), tuple(environment))


def _check_row(row: CallRow, given: Value | None, after_rewrite: tuple[str, ...]) -> list[Finding]:
    """What is wrong with a call: its path is missing, or it does not read the ``cache_dir`` that is given."""
    call, select, state = row.call, select_option(row.component), row.keys[CACHE_DIR]
    directory = given.value if given is not None and given.known else None
    word = shlex.quote(directory) if isinstance(directory, str) else "DIR"
    rewrite = f"opensora-rewriter rewrite {{path}} --cache-dir {word}"
    loads = f"{call.callee}, which loads {call.repo_id}"
    if row.place == "missing":
        code, message = "OSR006", f"{call.repo_id!r} is meant as a local path, and nothing is there"
        if not after_rewrite:  # v1.0's t5 names its repo itself, once rewrite has given it a cache_dir
            repo_id = suggest_repo(str(call.repo_id), row.type, row.root, cached_repos(row.cache_dir))[0]
            select = f" --set {row.component.rpartition('.')[2]}.{row.key or 'from_pretrained'}={repo_id}"
        place = f"correct it in the loader's source, {call.path}:{call.line}"
        remedy = place if call.hard_coded else rewrite + select
    elif row.place == "repo" and given is not None and not given.known:
        code, message = "OSR007", f"cache_dir is `{given.text}`, which only running the config would tell"
        remedy = "verify it by level build, or write the directory as a string"
    elif row.place == "repo" and isinstance(directory, str) and state in ("rejected", "dropped", "unsure"):
        code, message, remedy = {
            "rejected": ("OSR004", f"the loader of `{row.type}` rejects cache_dir: building raises TypeError", rewrite),
            "dropped": ("OSR005", f"cache_dir never reaches {loads}", rewrite),
            "unsure": ("OSR007", f"whether cache_dir reaches {loads}, is not known", "opensora-rewriter check {path}"),
        }[state]
        remedy += select
    else:
        return []
    return [Finding(code, row.path, row.line, 0, row.component, message, remedy, cause=message)]


def format_traces(traced: Iterable[ComponentTrace], cwd: str) -> list[dict[str, object]]:
    """The JSON of ``trace``: plain values, paths relative to ``cwd`` where they are below it."""
    prefix = cwd.rstrip(os.sep) + os.sep

    def format_call(row: CallRow) -> dict[str, object]:
        call = row.call
        place = {"path": call.path.removeprefix(prefix), "line": call.line, "column": call.column + 1}
        repo = {"repo_id": call.repo_id, "repo_text": call.repo_text, "place": row.place}
        more = {name: getattr(call, name) for name in ("hard_coded", "subfolder", "revision", "filename", "certain")}
        chain = [{"function": s.function, "path": s.path.removeprefix(prefix), "line": s.line} for s in call.chain]
        return {"callee": call.callee, "library": call.library, **place, **repo, **more, **row.keys, "chain": chain}

    return [
        {
            "config": component.path.removeprefix(prefix),
            "line": component.component.span.line,
            "component": component.component.dotted,
            "type": component.type,
            "calls": [format_call(row) for row in component.rows],
            "not_followed": list(component.unknown),
        }
        for component in traced
    ]
