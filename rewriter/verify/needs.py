"""What the components of a config read through the Hugging Face cache: each hub call, and what it asks a cache for."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from rewriter.checkout import Target
from rewriter.decide.planner import Planner
from rewriter.decide.request import Request
from rewriter.decide.thread import thread_key
from rewriter.locality import is_repo_id, locality
from rewriter.model import CACHE_DIR, KEYS, LOCAL_FILES_ONLY, Component, HubCall, Trace, Value
from rewriter.process.probes.weights_files import WEIGHTS
from rewriter.read.loaders import Loaders
from rewriter.verify.directories import Place, find_default_cache

Choose = Callable[[Component], str | None]
"""Gives the directory of a component's cache, or None."""


class Need(NamedTuple):
    """What one hub call asks a cache for, see :class:`rewriter.model.HubCall`; ``requested_by`` the components there.

    ``source``: of ``cache_dir``: "config", "option", or what :func:`find_default_cache` names. ``key``: the keyword
    that names ``repo_id``, unless it is ``hard_coded``. ``type``: of the component, ``root``: of its checkout.
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
    type: str = ""
    root: str | None = None


class CallRow(NamedTuple):
    """One hub call of a component. ``place``: of its repo, as :func:`locality` says, or "unknown".

    ``keys``: what arrives of ``cache_dir`` and ``local_files_only``: "set" (given by the config), "open" (would, were
    it given), "dropped" (never), "unsure" (not known) or "rejected" (giving it is a TypeError).
    """

    call: HubCall
    place: str
    keys: Mapping[str, str]


class ComponentTrace(NamedTuple):
    """One component with its rows; ``unknown``: what could not be followed, in plain words.

    ``after_rewrite``: repos that it reads once its loader is edited, where it now reads a path (v1.0's ``t5``).
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
) -> list[ComponentTrace]:
    """Trace every component (or those called ``names``, and dicts nested in them) whose loader loads, or may load."""
    planner, wanted = Planner(targets, Request(), loaders), frozenset(names or ())
    traced = []
    for path, root, _ in targets:
        for component in planner.present(path).components:
            values, kind = component.values, component.values.get("type", Value.of(None)).value
            if not isinstance(kind, str) or (names is not None and wanted.isdisjoint(component.keys)):
                continue
            trace = loaders.trace(root, kind, values)
            if not (trace.calls or trace.unknown):
                continue
            given = loaders.trace(root, kind, {**values, CACHE_DIR: Value.of("/"), LOCAL_FILES_ONLY: Value.of(True)})
            rows = []
            for call in [each for each in trace.calls if each.repo_text != "None"]:
                place = "unknown" if call.repo_id is None else locality(call.repo_id, root)
                rows.append(CallRow(call, place, {key: _find_arrival(key, call, values, given) for key in KEYS}))
            later = thread_key(given, CACHE_DIR, root).repos if any(row.place != "local" for row in rows) else ()
            traced.append(ComponentTrace(path, root, component, kind, tuple(rows), trace.unknown, later))
    return traced


def _find_arrival(key: str, call: HubCall, values: Mapping[str, Value], given: Trace) -> str:
    if any(rejection.key == key for rejection in given.rejections):
        return "rejected"
    place = call.path, call.line, call.column, call.callee
    same = [each for each in given.calls if (each.path, each.line, each.column, each.callee) == place]
    if any(key in each.reached for each in same):
        return "set" if key in values and values[key].value not in (None, False) else "open"
    return "unsure" if any(key in each.unseen for each in same) else "dropped"


def list_repos(traced: Iterable[ComponentTrace]) -> list[tuple[str, str, str]]:
    """``(repo_id, subfolder, revision)`` of every Hub repository that is needed, sorted; local paths never."""
    calls = [row.call for component in traced for row in component.rows if row.place == "repo"]
    found = {(call.repo_id or "", call.subfolder or "", call.revision or "") for call in calls}
    found |= {(repo_id, "", "") for component in traced for repo_id in component.after_rewrite}
    return sorted(each for each in found if is_repo_id(each[0]))


def collect_needs(traced: Iterable[ComponentTrace], major: int = 4, choose: Choose | None = None) -> list[Need]:
    """What a cache has to hold: one need a hub call, equal ones merged, with all who request it.

    ``major``: of the transformers that will run. ``choose``, for ``download``: the directory that the command line
    gives to a component, or None; as after ``rewrite``, a ``cache_dir`` then arrives, and what is read then is needed.
    """
    needs: dict[Need, list[Place]] = {}
    for path, root, component, kind, rows, _, later in traced:
        given = component.values.get(CACHE_DIR, Value.of(None))
        if choose is None and not given.known:
            continue  # it is not decided which cache is read (OSR007)
        option = choose(component) if choose is not None else None
        for call, place, keys in rows:
            arrives = choose is not None or keys[CACHE_DIR] in ("set", "rejected")
            directory, source = (given.value if arrives else None, "config") if option is None else (option, "option")
            if not isinstance(directory, str):
                directory, source = find_default_cache(call.library, major)
            repo_ids = {"repo": (str(call.repo_id),), "missing": later if choose is not None else ()}
            for repo_id in repo_ids.get(place, ()):
                named_by = (key for key, value in component.values.items() if value.known and value.value == repo_id)
                files = call.revision, call.subfolder, call.kind, call.library, call.class_name, call.filename
                more = call.hard_coded, (), source, next(named_by, "from_pretrained"), kind, root
                requesters = needs.setdefault(Need(repo_id, directory, *files, *more), [])
                requesters.append((path, component.span.line, component.dotted))
    return [need._replace(requested_by=tuple(dict.fromkeys(places))) for need, places in needs.items()]


# --- from needs to files, in each library's own order (read in transformers 4.57 and diffusers 0.39) ----------

_CONFIG = ("config.json",)
_VOCABULARY = ("tokenizer.json", "spiece.model", "vocab.json", "vocab.txt", "tokenizer.model")
_TOKENIZER_EXTRAS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")


def _list_groups(need: Need) -> list[tuple[str, ...]] | None:
    """The files that a hub call asks for, each as alternatives, of which the first that is there is read; None: all."""
    name, is_diffusers = need.class_name, need.library == "diffusers"
    if need.kind == "snapshot_download" or (is_diffusers and name.endswith("Pipeline")):
        return None
    if need.kind == "hf_hub_download":
        return [] if need.filename is None else [(need.filename,)]
    if name.endswith(("Tokenizer", "TokenizerFast")):
        # AutoTokenizer learns the class from tokenizer_config.json, else from the model's config.json.
        return [("tokenizer_config.json", "config.json"), _VOCABULARY] if name.startswith("Auto") else [_VOCABULARY]
    if name.endswith(("Processor", "FeatureExtractor")):
        return [("preprocessor_config.json", "processor_config.json", "tokenizer_config.json")]
    if name.endswith("Scheduler"):
        return [("scheduler_config.json",)]
    return [_CONFIG] if name.endswith("Config") else [_CONFIG, WEIGHTS["diffusers" if is_diffusers else "transformers"]]


def select_files(
    need: Need,
    exists: Callable[[str], bool],
    list_all: Callable[[], Iterable[str]],
    read_shards: Callable[[str], Iterable[str]],
) -> tuple[list[str], dict[str, str]]:
    """What the need's loader reads of a repo, be it a snapshot on disk or a listing of the Hub (posix paths).

    ``list_all``: every file, for a loader that takes them all. ``read_shards``: what an index names, beside it.
    Returns the files that are there, and what lacks: in words -> the file to fetch, or "" where one of several is.
    """
    groups, folder = _list_groups(need), (need.subfolder or "").strip("/")
    if groups is None:
        return sorted(list_all()), {}
    present: dict[str, None] = {}
    missing: dict[str, str] = {}
    for group in groups:
        names = [posixpath.join(folder, name) for name in group]
        found = next(filter(exists, names), None)
        if found is None:
            missing[" or ".join(names)] = names[0] if len(names) == 1 else ""
            continue
        present[found] = None
        shards = read_shards(found) if found.endswith(".index.json") else ()
        for shard in ("merges.txt",) if posixpath.basename(found) == "vocab.json" else shards:
            path = posixpath.join(posixpath.dirname(found), shard)
            if exists(path):
                present[path] = None
            else:
                missing[f"{path} (needed by {posixpath.basename(found)})"] = path
    optional = (*_TOKENIZER_EXTRAS, *_VOCABULARY, "merges.txt") if _VOCABULARY in groups else ()
    present |= dict.fromkeys(filter(exists, (posixpath.join(folder, name) for name in optional)))
    return list(present), missing


def list_subfolders(needs: Iterable[Need]) -> list[str]:
    """The subfolders that hold all that these needs read of a repo; none where one of them reads beside them."""
    needs = list(needs)
    folders = [(need.subfolder or "").strip("/") or posixpath.dirname(need.filename or "") for need in needs]
    return list(dict.fromkeys(folders)) if all(folders) and None not in map(_list_groups, needs) else []


def format_fetch(cache_dir: str, pin: str = "") -> str:
    """The command that fetches what a component's loader asks for, of which reports fill in the braces.

    ``cache_dir``: "" for the one that the config or the environment names. ``pin``: "REPO=COMMIT" to fetch, or "".
    """
    where = f" --cache-dir {shlex.quote(cache_dir)}" if cache_dir else ""
    which = f" --revision {shlex.quote(pin)}" if pin else ""
    return f"opensora-rewriter download {{path}} --component {{component}}{where}{which}"
