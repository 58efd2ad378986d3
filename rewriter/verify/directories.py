"""Which directory a library reads as its Hugging Face cache, and whether a directory can be one at all."""

from __future__ import annotations

import os
import shlex
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rewriter.model import Finding, Severity

Place = tuple[str, int, str]
"""Where something is requested: (path of a config, its line, the dotted component)."""

_TRANSFORMERS_VARIABLES = ("TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE")
_CACHE_PARTS = ("blobs", "refs", "snapshots")
_MODEL_SUFFIXES = (".safetensors", ".bin", ".index.json", ".ckpt", ".pth", "config.json", ".model", "tokenizer.json")
_MODEL_NAMES = ("model_index.json", "vocab.json")
_PIPELINE_PARTS = frozenset(
    {"vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "transformer", "unet", "scheduler", "model"}
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong, without its places. ``{component}`` in ``remedy``: the last key of each place's."""

    code: str
    message: str
    remedy: str
    severity: Severity = "error"


def report_trouble(trouble: Trouble, places: Iterable[Place], origin: str = "") -> list[Finding]:
    """The findings of one trouble: one for each place, all with one cause, so that a report can count them."""
    message = trouble.message + origin
    blank = Finding(trouble.code, "", 0, 0, "", message, trouble.remedy, trouble.severity, cause=message)
    findings = []
    for path, line, component in dict.fromkeys(places):
        remedy = trouble.remedy.replace("{component}", component.rpartition(".")[2])
        findings.append(replace(blank, path=path, line=line, component=component, remedy=remedy))
    return findings


# --- which directory is read ----------------------------------------------------------------------


def find_default_cache(
    environ: Mapping[str, str], library: str = "huggingface_hub", transformers_major: int = 4
) -> tuple[str, str]:
    """The directory that a library reads where it is given no ``cache_dir``, and the variable that names it.

    As ``huggingface_hub.constants`` (0.34 to 2.x) computes it at import. transformers 4 has three variables of its own,
    which come first (``transformers.utils.hub``) and are not expanded; transformers 5 reads none of them.
    Where no variable is set, "default" is named.
    """
    if library not in ("huggingface_hub", "diffusers") and transformers_major < 5:
        for name in _TRANSFORMERS_VARIABLES:
            if name in environ:
                return environ[name], name
    below = {"HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "", "HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}
    name = next((name for name in below if name in environ), "default")
    path = string.Template(environ.get(name, "~/.cache")).safe_substitute(environ)
    if path == "~" or path.startswith("~/"):
        path = environ.get("HOME", os.path.expanduser("~")) + path[1:]
    return os.path.join(path, below.get(name, "huggingface/hub")).rstrip("/"), name


def find_unread_variables(environ: Mapping[str, str], transformers_major: int = 4) -> tuple[str, ...]:
    """Variables that are set, look as if they named a cache, and are read by no library in use."""
    names = ("DIFFUSERS_CACHE", *(_TRANSFORMERS_VARIABLES if transformers_major >= 5 else ()))
    return tuple(name for name in names if name in environ)


def describe_source(source: str) -> str:
    """How a message says where a cache directory comes from; empty for the config's own."""
    fixed = {"config": "", "option": " (from --cache-dir)", "default": " (the library's default)"}
    return fixed.get(source, f" (from the environment's {source})")


def suggest_directory(path: str, source: str) -> str:
    """What to write in place of the directory: in the config, or in the environment where that names it."""
    if source == "config":
        return f"cache_dir={path!r}"
    if source == "option":
        return f"--cache-dir {shlex.quote(path)}"
    return f"export {source if source in _TRANSFORMERS_VARIABLES else 'HF_HUB_CACHE'}={shlex.quote(path)}"


# --- what a directory is --------------------------------------------------------------------------


def check_directory(
    path: str, *, where: Iterable[Place] = (("", 0, ""),), source: str = "config", repo_ids: Sequence[str] = ()
) -> list[Finding]:
    """Report a directory that cannot be a cache (OSR002, OSR101 to OSR106): the root cause alone, once for each place.

    Args:
        path: what ``cache_dir`` (or the environment) says.
        where: the places that a finding points at.
        source: as in :class:`rewriter.verify.needs.Need`.
        repo_ids: the repos requested of it, for the adopt command of a flat download.
    """
    trouble = _find_trouble(path, source, repo_ids)
    return report_trouble(trouble, where) if trouble is not None else []


def _find_trouble(path: str, source: str, repo_ids: Sequence[str]) -> Trouble | None:
    shown = path + describe_source(source)
    if not os.path.isabs(path) or "\0" in path:
        message = f"cache_dir {path!r}{describe_source(source)} is not absolute: it depends on the working directory"
        meant = os.path.abspath(os.path.expanduser(path.replace("\0", "")))
        return Trouble("OSR002", message, f"write {meant!r} if that is meant")
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        state = "is a link that leads nowhere" if os.path.islink(path) else "does not exist"
        remedy = f"mkdir -p {shlex.quote(path)}, then download or adopt the repos into it; or correct the path"
        missing = Trouble("OSR101", f"cache directory {shown} {state}", remedy)
        return _find_models_above(path, source, state) or missing
    except NotADirectoryError:
        return Trouble("OSR102", f"{shown} is a file, not a cache directory", "name the directory of the models--*")
    except OSError as error:
        return describe_unreadable(path, error)
    above = _find_cache_above(path, names)
    if above is not None:
        remedy = suggest_directory(above, source)
        return Trouble("OSR105", f"{shown} is a model's own folder, not the cache that holds it", remedy)
    if any(name.startswith("models--") for name in names):
        return None
    if os.path.isdir(os.path.join(path, "hub")):
        remedy = suggest_directory(os.path.join(path, "hub"), source)
        return Trouble("OSR104", f"{shown} is a HF_HOME; its models lie in hub/", remedy)
    if is_flat_model(path):
        target = os.path.dirname(os.path.normpath(path))
        named = [repo_id for repo_id in repo_ids if is_named_after(path, repo_id)]
        repo_id = repo_ids[0] if len(set(repo_ids)) == 1 else next(iter(named), "ORG/NAME")
        remedy = f"{format_adopt(path, repo_id, target)}, then {suggest_directory(target, source)}"
        return Trouble("OSR106", f"{shown} is a flat download or clone of one model, not a cache", remedy)
    return _find_models_above(path, source, "holds no models--*")


def describe_unreadable(path: str, error: OSError) -> Trouble:
    """The trouble of something that this user cannot read."""
    remedy = f"look at it with `ls -lR {shlex.quote(path)}`, and check the disk"
    if isinstance(error, PermissionError):
        remedy = f"ask its owner for: chmod -R a+rX {shlex.quote(path)}"
    return Trouble("OSR103", f"{path} cannot be read: {error.strerror or error}", remedy)


def _find_models_above(path: str, source: str, state: str) -> Trouble | None:
    """The models lie beside ``hub``, in HF_HOME itself (huggingface_hub issue 3394)."""
    home, name = os.path.split(os.path.normpath(path))
    if name != "hub" or not any(name.startswith("models--") for name in list_names(home)):
        return None
    message = f"cache directory {path}{describe_source(source)} {state}; the models--* lie in {home} itself"
    return Trouble("OSR104", message, suggest_directory(home, source))


def _find_cache_above(path: str, names: Iterable[str]) -> str | None:
    """The cache that a model's folder, or a folder inside it, belongs to."""
    before, models, inside = os.path.normpath(path).rpartition("/models--")
    if models and inside.split("/")[1:2] in ([], *([part] for part in _CACHE_PARTS)):
        return before or os.sep
    return os.path.dirname(os.path.normpath(path)) if len({*_CACHE_PARTS} & {*names}) >= 2 else None


# --- a model's plain files, as a clone, a flat download or ModelScope leave them --------------------------------


def is_flat_model(path: str) -> bool:
    """Whether a folder holds a model's plain files, in itself or in nothing but the folders of a pipeline."""
    names = list_names(path)
    folders = {name for name in names if not name.startswith(".") and os.path.isdir(os.path.join(path, name))}
    if _hold_model_file(names - folders) or {".git", ".gitattributes"} <= names:
        return True
    below = (list_names(os.path.join(path, folder)) for folder in folders)
    return folders <= _PIPELINE_PARTS and any(map(_hold_model_file, below))


def _hold_model_file(names: Iterable[str]) -> bool:
    return any(name in _MODEL_NAMES or name.endswith(_MODEL_SUFFIXES) for name in names)


def is_named_after(path: str, repo_id: str) -> bool:
    """Whether a folder has a repo's NAME; ModelScope writes dots as ``___``."""
    return os.path.basename(os.path.normpath(path)).replace("___", ".") == repo_id.split("/")[-1]


def find_flat_folder(cache_dir: str, repo_id: str) -> str | None:
    """Where a flat download of a repo lies below a directory: as people name such folders, and as ModelScope does."""
    organisation, _, name = repo_id.rpartition("/")
    places = [name, *(repo_id.replace("/", glue) for glue in ("/", "_", "--", "__"))]
    for part in (name, name.replace(".", "___")):
        places += [f"{organisation}/{part}", f"models/{organisation}/{part}"]
        places.append(f"models/{organisation}--{part}/snapshots/master")
    return next((path for place in places if is_flat_model(path := os.path.join(cache_dir, place))), None)


def list_names(path: str) -> frozenset[str]:
    """The names in a folder; none where it is not there or cannot be read."""
    try:
        return frozenset(os.listdir(path))
    except OSError:
        return frozenset()


# --- commands for remedies --------------------------------------------------------------------------


def format_adopt(source: str, repo_id: str, cache_dir: str) -> str:
    """The command that turns a flat download into the cache's layout."""
    return shlex.join(["opensora-rewriter", "adopt", source, "--repo", repo_id, "--cache-dir", cache_dir])


def format_download(
    repo_id: str,
    cache_dir: str,
    *,
    revision: str | None = None,
    files: Iterable[str] = (),
    subfolders: Iterable[str] = (),
    force: bool = False,
) -> str:
    """The ``hf download`` command (huggingface_hub 0.34 to 2.x) that fetches a repo, or some of it, into a cache.

    One command a subfolder: hub 0.x and 1.x disagree on how several ``--include`` are given.
    """
    selections = [["--include", f"{folder}/*"] for folder in subfolders] if not files else []
    end = [*(["--revision", revision] if revision else []), "--cache-dir", cache_dir]
    end += ["--force-download"] if force else []
    return " && ".join(shlex.join(["hf", "download", repo_id, *files, *some, *end]) for some in selections or [[]])
