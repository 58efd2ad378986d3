"""What the components of a config read through the Hugging Face cache: each hub call, and what it asks a cache for."""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from rewriter.checkout import Target
from rewriter.decide.loaders import Loaders
from rewriter.decide.remedies import cached_repos, select_option, suggest_repo
from rewriter.decide.thread import thread_key
from rewriter.files import Unreadable, read_bytes
from rewriter.locality import is_repo_id, locality
from rewriter.model import CACHE_DIR, LOCAL_FILES_ONLY, Component, Config, Finding, HubCall, Note, Problem, Trace, Value
from rewriter.model import Place as Locality
from rewriter.read.configs import inherit, read_config
from rewriter.verify.directories import TRANSFORMERS_VARIABLES, Place, Trouble, find_default_cache
from rewriter.words import quote_word


class Need(NamedTuple):
    """What one hub call asks a cache for, see :class:`rewriter.model.HubCall`; ``requested_by`` the components there.

    ``source``: where ``cache_dir`` comes from: "config", "option", or what :func:`find_default_cache` names. ``key``:
    the keyword that names ``repo_id``, where the loader's source does not (``hard_coded``).
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


class CallRow(NamedTuple):
    """One hub call of one component of one config. ``key``: the keyword that the repo id is the value of.

    ``keys``: what arrives of ``cache_dir`` and ``local_files_only``: "set" (given by the config), "open" (would, were
    it given), "dropped" (never), "unsure" (not known) or "rejected" (giving it is a TypeError). ``cache_dir``: the
    directory that arrives (in :class:`Needs`: the one that is read).
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
) -> tuple[list[ComponentTrace], list[Finding]]:
    """Trace every component (or those called ``names``, and dicts nested in them) of the configs.

    Returns those whose loader is registered and loads (or may load), in order; and OSR900 for unreadable files.
    """

    @functools.cache
    def read(path: str) -> Config:
        try:
            return read_config(read_bytes(path), path)
        except Unreadable as error:
            return Config(path, problem=Problem(1, 0, error.message, error.remedy))

    wanted = frozenset(names or ())
    traced: list[ComponentTrace] = []
    problems: list[Finding] = []
    for target in targets:
        config = read(target.path)
        if bad := config.problem:
            problems.append(Finding("OSR900", target.path, bad.line, bad.column, "", bad.message, bad.remedy))
            continue
        for component in inherit(config, read).components:
            if names is None or wanted & set(component.keys):
                traced += _trace_component(target, component, loaders)
    return traced, problems


def _trace_component(target: Target, component: Component, loaders: Loaders) -> list[ComponentTrace]:
    values = component.values
    kind = values["type"].value if "type" in values else None
    if not isinstance(kind, str):
        return []
    trace = loaders.trace(target.root, kind, values)
    if not trace.found or not (trace.calls or trace.unknown):
        return []
    given = {
        key: loaders.trace(target.root, kind, {**values, key: Value.of(value)})
        for key, value in ((CACHE_DIR, "/"), (LOCAL_FILES_ONLY, True))
    }
    rows = []
    for call in [each for each in trace.calls if each.repo_text != "None"]:
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
    return [ComponentTrace(target.path, target.root, component, kind, tuple(rows), trace.unknown, later or ())]


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
    calls = [row.call for component in traced for row in component.rows if row.place == "repo"]
    found = {(call.repo_id or "", call.subfolder or "", call.revision or "") for call in calls}
    found |= {(repo_id, "", "") for component in traced for repo_id in component.after_rewrite}
    return sorted(each for each in found if is_repo_id(each[0]))


# --- from hub calls to needs --------------------------------------------------------------------------


class Needs(NamedTuple):
    """What the selected components ask for: one need a hub call, equal ones merged; ``rows``: the calls that are needs.

    ``findings``: missing paths (OSR006), and a ``cache_dir`` that is not known or not read (OSR004, OSR005, OSR007).
    ``environment``: the directories that serve calls which no ``cache_dir`` reaches, each with the variable that names
    it. ``notes``: variables that are set and that nothing reads.
    """

    rows: tuple[CallRow, ...]
    needs: tuple[Need, ...]
    findings: tuple[Finding, ...]
    environment: tuple[tuple[str, str], ...]
    notes: tuple[Note, ...]


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
            rows.append(row._replace(cache_dir=directory))
    merged = tuple(need._replace(requested_by=tuple(dict.fromkeys(places))) for need, places in needs.items())
    unread = ("DIFFUSERS_CACHE", *(TRANSFORMERS_VARIABLES if transformers_major >= 5 else ()))
    notes = (
        Note(f"{name} is set, but no library in use reads it: it has no effect") for name in unread if name in environ
    )
    return Needs(tuple(rows), merged, tuple(findings), tuple(environment), tuple(notes) if traced else ())


_WRITE_IT = "write cache_dir there, and no `**` beside it that is not known"


def _check_row(row: CallRow, given: Value | None, after_rewrite: tuple[str, ...]) -> list[Finding]:
    """What is wrong with a call: its path is missing, or it does not read the ``cache_dir`` that is given."""
    call, select, state = row.call, select_option(row.component), row.keys[CACHE_DIR]
    directory = given.value if given is not None and given.known else None
    word = quote_word(directory) if isinstance(directory, str) else "DIR"
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
            "unsure": ("OSR007", f"whether cache_dir reaches {loads}, is not known", _WRITE_IT),
        }[state]
        remedy += select if remedy == rewrite else ""
    else:
        return []
    return Trouble(code, message, remedy).at([(row.path, row.line, row.component)])


def format_traces(traced: Iterable[ComponentTrace], cwd: str) -> list[dict[str, object]]:
    """The JSON of ``trace``: plain values, paths relative to ``cwd`` where they are below it."""

    def format_call(row: CallRow) -> dict[str, object]:
        call = row.call
        place = {"path": call.path.removeprefix(prefix), "line": call.line, "column": call.column + 1}
        repo = {"repo_id": call.repo_id, "repo_text": call.repo_text, "place": row.place}
        more = {name: getattr(call, name) for name in ("hard_coded", "subfolder", "revision", "filename", "certain")}
        chain = [{"function": s.function, "path": s.path.removeprefix(prefix), "line": s.line} for s in call.chain]
        return {"callee": call.callee, "library": call.library, **place, **repo, **more, **row.keys, "chain": chain}

    prefix = cwd.rstrip(os.sep) + os.sep
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


# --- from needs to files, in each library's own order (read in transformers 4.57 and diffusers 0.39) ----------

Files = tuple[str, ...]
Group = tuple[Files, ...]
"""Alternatives, of which one must be there in full; the loader takes the first that is."""

_CONFIG: Group = (("config.json",),)
# transformers.modeling_utils._get_resolved_checkpoint_files: safetensors before .bin, whole before sharded.
_TRANSFORMERS_WEIGHTS: Group = (
    *(("model.safetensors",), ("model.safetensors.index.json",)),
    *(("pytorch_model.bin",), ("pytorch_model.bin.index.json",)),
)
# diffusers.ModelMixin.from_pretrained: the safetensors index first; a sharded .bin only with use_safetensors=False.
_DIFFUSERS = "diffusion_pytorch_model"
_DIFFUSERS_WEIGHTS: Group = (
    *((f"{_DIFFUSERS}.safetensors.index.json",), (f"{_DIFFUSERS}.safetensors",), (f"{_DIFFUSERS}.bin",)),
)
_T5: Group = (("spiece.model",), ("tokenizer.json",))
_CLIP: Group = (("vocab.json", "merges.txt"), ("tokenizer.json",))
_ANY: Group = (*reversed(_T5), _CLIP[0], ("vocab.txt",), ("tokenizer.model",), ("sentencepiece.bpe.model",))
_TOKENIZER_EXTRAS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
_PROCESSOR: Group = (("preprocessor_config.json",), ("processor_config.json",), ("tokenizer_config.json",))


class SelectedFiles(NamedTuple):
    """What loaders read of the files that there are. ``missing``: (what lacks in words, the file to fetch or "")."""

    files: Files
    missing: tuple[tuple[str, str], ...]


def _list_groups(need: Need) -> tuple[tuple[Group, ...], Files] | None:
    """The groups of files that a hub call asks for, and files that it reads where present; None: the whole repo."""
    name = need.class_name
    if need.kind == "snapshot_download" or (name.endswith("Pipeline") and need.library == "diffusers"):
        return None
    if need.kind == "hf_hub_download":
        return (() if need.filename is None else (((need.filename,),),)), ()
    if need.library == "diffusers":
        return ((("scheduler_config.json",),),) if name.endswith("Scheduler") else (_CONFIG, _DIFFUSERS_WEIGHTS), ()
    if name.endswith(("Tokenizer", "TokenizerFast")):
        vocabulary = _T5 if name.startswith("T5") else _CLIP if name.startswith("CLIP") else _ANY
        # AutoTokenizer learns the class from tokenizer_config.json, else from the model's config.json.
        first = ((("tokenizer_config.json",), ("config.json",)),) if name.startswith("Auto") else ()
        return (*first, vocabulary), (*_TOKENIZER_EXTRAS, *(file for files in vocabulary for file in files))
    if name.endswith("Config"):
        return (_CONFIG,), ()
    return ((_PROCESSOR,) if name.endswith(("Processor", "FeatureExtractor")) else (_CONFIG, _TRANSFORMERS_WEIGHTS)), ()


def select_files(
    need: Need,
    exists: Callable[[str], bool],
    list_all: Callable[[], Iterable[str]],
    read_shards: Callable[[str], Iterable[str]],
) -> SelectedFiles:
    """What the need's loader reads of a repo, be it a snapshot on disk or a listing of the Hub (posix paths).

    ``list_all``: every file, for a loader that takes them all. ``read_shards``: what an index names, beside it.
    """
    requested = _list_groups(need)
    if requested is None:
        return SelectedFiles(tuple(sorted(list_all())), ())
    folder = (need.subfolder or "").strip("/")
    names: dict[str, None] = {}
    missing: dict[str, str] = {}
    for alternatives in requested[0]:
        group = [[posixpath.join(folder, name) for name in files] for files in alternatives]
        whole = (files for files in group if all(map(exists, files)))
        chosen = next(whole, None) or next((files for files in group if any(map(exists, files))), None)
        if chosen is None:
            words = " or ".join(" with ".join(files) for files in group)
            missing.setdefault(words, group[0][0] if len(group) == 1 else "")
        for name in chosen or ():
            if not exists(name):
                missing[name] = name
                continue
            names[name] = None
            for shard in read_shards(name) if name.endswith(".index.json") else ():
                path = posixpath.join(posixpath.dirname(name), shard)
                if exists(path):
                    names[path] = None
                else:
                    missing[f"{path} (named by {posixpath.basename(name)})"] = path
    optional = (posixpath.join(folder, name) for name in requested[1])
    return SelectedFiles(tuple(names | dict.fromkeys(filter(exists, optional))), tuple(missing.items()))


def list_subfolders(needs: Iterable[Need]) -> Files:
    """The subfolders that hold all that these needs read of a repo; none where one of them reads beside them."""
    needs = list(needs)
    folders = [(need.subfolder or "").strip("/") or posixpath.dirname(need.filename or "") for need in needs]
    return tuple(dict.fromkeys(folders)) if all(folders) and None not in map(_list_groups, needs) else ()


def format_fetch(cache_dir: str, pin: str = "") -> str:
    """The command that fetches what a component's loader asks for; reports fill in its file and component.

    ``cache_dir``: "" for the one that the config or the environment names. ``pin``: "REPO=COMMIT" to fetch, or "".
    """
    options = {"--cache-dir": cache_dir, "--revision": pin}
    words = [f" {option} {quote_word(value)}" for option, value in options.items() if value]
    return "opensora-rewriter download {path} --component {component}" + "".join(words)
