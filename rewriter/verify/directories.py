"""Which directory a library reads as its Hugging Face cache, and whether a directory can be one at all."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rewriter.model import Finding, Severity
from rewriter.verify.flat_models import has_flat_files, holds_pipeline_part, is_folder, is_named_after, list_names

Place = tuple[str, int, str]
"""Where something is requested: (path of a config, its line, the dotted component)."""
Library = Literal["huggingface_hub", "transformers", "diffusers"]

_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")
_TRANSFORMERS_VARIABLES = ("TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE")
_MODEL_PARTS = ("blobs", "refs", "snapshots")


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
    return [
        Finding(
            trouble.code,
            path,
            line,
            0,
            component,
            message,
            trouble.remedy.replace("{component}", component.rpartition(".")[2]),
            trouble.severity,
            cause=message,
        )
        for path, line, component in dict.fromkeys(places)
    ]


# --- which directory is read ----------------------------------------------------------------------


def find_default_cache(
    environ: Mapping[str, str], library: str = "huggingface_hub", transformers_major: int = 4
) -> tuple[str, str]:
    """The directory that a library reads where it is given no ``cache_dir``, and what names it.

    Computed as ``huggingface_hub.constants`` (0.34 to 2.x) does at import, but for any environment. transformers 4 has
    three variables of its own, which come first (``transformers.utils.hub``); transformers 5 reads none of them.

    Returns:
        (directory, name of the environment variable, or "default").
    """
    if library not in ("huggingface_hub", "diffusers") and transformers_major < 5:
        for name in _TRANSFORMERS_VARIABLES:
            if name in environ:
                return environ[name], name  # as it is: transformers expands nothing
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if name in environ:
            return _expand_path(environ[name], environ), name
    if "HF_HOME" in environ:
        return os.path.join(_expand_path(environ["HF_HOME"], environ), "hub"), "HF_HOME"
    if "XDG_CACHE_HOME" in environ:
        return os.path.join(_expand_path(environ["XDG_CACHE_HOME"], environ), "huggingface", "hub"), "XDG_CACHE_HOME"
    return os.path.join(_expand_path("~", environ), ".cache", "huggingface", "hub"), "default"


def find_unread_variables(environ: Mapping[str, str], transformers_major: int = 4) -> tuple[str, ...]:
    """Variables that are set, look as if they named a cache, and are read by no library in use."""
    names = ("DIFFUSERS_CACHE", *(_TRANSFORMERS_VARIABLES if transformers_major >= 5 else ()))
    return tuple(name for name in names if name in environ)


def _expand_path(text: str, environ: Mapping[str, str]) -> str:
    if text == "~" or text.startswith("~/"):
        text = environ.get("HOME", os.path.expanduser("~")) + text[1:]
    return _VARIABLE.sub(lambda match: environ.get(match[1] or match[2], match[0]), text)


def describe_source(source: str) -> str:
    """How a message says where a cache directory comes from; empty for the config's own."""
    if source == "config":
        return ""
    if source == "option":
        return " (from --cache-dir)"
    return " (the library's default)" if source == "default" else f" (from the environment's {source})"


def suggest_directory(path: str, source: str) -> str:
    """What to write in place of the directory: in the config, or in the environment where that names it."""
    if source == "config":
        return f"cache_dir={path!r}"
    if source == "option":
        return f"--cache-dir {shlex.quote(path)}"
    variable = source if source in _TRANSFORMERS_VARIABLES else "HF_HUB_CACHE"
    return f"export {variable}={shlex.quote(path)}"


# --- what a directory is --------------------------------------------------------------------------


def check_directory(
    path: str,
    *,
    where: Sequence[Place] = (("", 0, ""),),
    source: str = "config",
    severity: Severity = "error",
    repo_ids: Sequence[str] = (),
) -> list[Finding]:
    """Report a directory that cannot be a cache: the root cause alone, once for each place that requests it.

    Args:
        path: what ``cache_dir`` (or the environment) says.
        where: the places that a finding points at.
        source: as in :class:`rewriter.verify.needs.Need`.
        severity: of the finding; ``rewrite`` warns, ``verify`` errs.
        repo_ids: the repos requested of it, for the adopt command of a flat download.
    """
    trouble = find_directory_trouble(path, source, repo_ids)
    if trouble is None:
        return []
    return report_trouble(Trouble(trouble.code, trouble.message, trouble.remedy, severity), where)


def find_directory_trouble(path: str, source: str = "config", repo_ids: Sequence[str] = ()) -> Trouble | None:
    """Why ``path`` cannot be a cache (codes OSR002, OSR101 to OSR106), or None."""
    origin = describe_source(source)
    if not os.path.isabs(path) or "\0" in path:
        message = f"cache_dir {path!r}{origin} is not absolute: it means another directory for every working directory"
        meant = "" if "\0" in path else f"write {os.path.abspath(os.path.expanduser(path))!r} if that is meant"
        return Trouble("OSR002", message, meant)
    if not os.path.lexists(path):
        remedy = f"mkdir -p {shlex.quote(path)}, then download or adopt the repos into it; or correct the path"
        absent = Trouble("OSR101", f"cache directory {path}{origin} does not exist", remedy)
        return _find_models_above(path, source, "does not exist") or absent
    try:
        with os.scandir(path) as entries:
            names = {entry.name: is_folder(entry) for entry in entries}
    except FileNotFoundError:
        message = f"cache directory {path}{origin} is a link that leads nowhere"
        return Trouble("OSR101", message, f"ls -l {shlex.quote(path)}")
    except NotADirectoryError:
        message = f"{path}{origin} is a file, not a cache directory"
        return Trouble("OSR102", message, "name the directory that holds the models--*")
    except OSError as error:
        return describe_unreadable(path, error, origin)
    if not os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return describe_unreadable(path, PermissionError(13, "no search (x) permission"), origin)
    return _find_layout_trouble(path, names, source, repo_ids)


def describe_unreadable(path: str, error: OSError, origin: str = "") -> Trouble:
    """The trouble of something that this user cannot read."""
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"ask its owner for: chmod -R a+rX {shlex.quote(path)}"
    else:
        remedy = f"look at it with `ls -lR {shlex.quote(path)}`, and check the disk"
    return Trouble("OSR103", f"{path}{origin} cannot be read: {error.strerror or error}", remedy)


def _find_layout_trouble(path: str, names: Mapping[str, bool], source: str, repo_ids: Sequence[str]) -> Trouble | None:
    origin = describe_source(source)
    above = _find_cache_above(path, names)
    if above is not None:
        message = f"{path}{origin} is a model's own folder, not the cache that holds it"
        return Trouble("OSR105", message, suggest_directory(above, source))
    if any(name.startswith("models--") for name in names):
        return None
    if names.get("hub"):
        remedy = suggest_directory(os.path.join(path, "hub"), source)
        return Trouble("OSR104", f"{path}{origin} is a HF_HOME; its models lie in hub/", remedy)
    if has_flat_files(names) or holds_pipeline_part(path, names):
        target = os.path.dirname(os.path.normpath(path))
        named = [repo_id for repo_id in repo_ids if is_named_after(path, repo_id)]
        repo_id = repo_ids[0] if len(set(repo_ids)) == 1 else next(iter(named), "ORG/NAME")
        remedy = f"{format_adopt(path, repo_id, target)}, then {suggest_directory(target, source)}"
        return Trouble("OSR106", f"{path}{origin} is a flat download or clone of one model, not a cache", remedy)
    return _find_models_above(path, source, "holds no models--*")


def _find_models_above(path: str, source: str, state: str) -> Trouble | None:
    """The models lie beside ``hub``, in HF_HOME itself (huggingface_hub issue 3394)."""
    home = os.path.dirname(os.path.normpath(path))
    if os.path.basename(os.path.normpath(path)) != "hub" or not any(
        name.startswith("models--") for name in list_names(home)
    ):
        return None
    message = f"cache directory {path}{describe_source(source)} {state}; the models--* lie in {home} itself"
    return Trouble("OSR104", message, suggest_directory(home, source))


def _find_cache_above(path: str, names: Mapping[str, bool]) -> str | None:
    """The cache that a model's folder, or a folder inside it, belongs to."""
    parts = os.path.normpath(path).split(os.sep)
    for index in range(len(parts) - 1, 0, -1):
        inside = parts[index + 1 : index + 2]
        if parts[index].startswith("models--") and (not inside or inside[0] in _MODEL_PARTS):
            return os.sep.join(parts[:index]) or os.sep
    if sum(names.get(part, False) for part in _MODEL_PARTS) >= 2:
        return os.path.dirname(os.path.normpath(path))
    return None


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
    commands = []
    for selection in selections or [[]]:
        words = ["hf", "download", repo_id, *files, *selection]
        if revision is not None:
            words += ["--revision", revision]
        words += ["--cache-dir", cache_dir]
        commands.append(shlex.join([*words, "--force-download"] if force else words))
    return " && ".join(commands)
