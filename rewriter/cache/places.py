"""Say which directory the Hub library reads, and whether a directory can be a cache at all: standard library only."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Mapping, Sequence

from rewriter.cache.needs import Place
from rewriter.types import Finding, Severity

_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")
_MODEL_PARTS = ("blobs", "refs", "snapshots")
# What lies at the top of a cloned or flatly downloaded model, and never at the top of a cache.
_FLAT_NAMES = frozenset(
    {"config.json", "model_index.json", "spiece.model", "tokenizer.json", "tokenizer_config.json", "vocab.json"}
)
_FLAT_SUFFIXES = (".safetensors", ".bin", ".safetensors.index.json", ".bin.index.json", ".ckpt", ".pth")


def default_cache(environ: Mapping[str, str]) -> tuple[str, str]:
    """The directory that huggingface_hub reads where no ``cache_dir`` arrives, and what named it.

    Computed as ``huggingface_hub.constants`` (0.34 to 2.x) does at import, but for any environment.

    Returns:
        (directory, one of "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "default").
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if name in environ:
            return _expand(environ[name], environ), name
    if "HF_HOME" in environ:
        return os.path.join(_expand(environ["HF_HOME"], environ), "hub"), "HF_HOME"
    if "XDG_CACHE_HOME" in environ:
        return os.path.join(_expand(environ["XDG_CACHE_HOME"], environ), "huggingface", "hub"), "XDG_CACHE_HOME"
    return os.path.join(_expand("~", environ), ".cache", "huggingface", "hub"), "default"


def _expand(text: str, environ: Mapping[str, str]) -> str:
    if text == "~" or text.startswith("~/"):
        text = environ.get("HOME", os.path.expanduser("~")) + text[1:]
    return _VARIABLE.sub(lambda match: environ.get(match[1] or match[2], match[0]), text)


def origin(source: str) -> str:
    """How a message says where a cache directory came from."""
    if source == "config":
        return ""
    return " (the library's default)" if source == "default" else f" (from the environment's {source})"


def check_directory(
    path: str,
    *,
    where: Place = ("", 0, ""),
    source: str = "config",
    severity: Severity = "error",
    repo_ids: Sequence[str] = (),
) -> list[Finding]:
    """Tell a directory that cannot be a cache: at most one finding, the root cause.

    Args:
        path: what ``cache_dir`` (or the environment) says.
        where: the config, line and component that a finding points at.
        source: as in :class:`rewriter.cache.Need`.
        severity: of the finding; ``rewrite`` warns, ``verify`` errs.
        repo_ids: the repos wanted of it, for the adopt command of a flat download.
    """
    told = _directory_trouble(path, origin(source), repo_ids)
    if told is None:
        return []
    code, message, remedy = told
    return [Finding(code, where[0], where[1], 0, where[2], message, remedy, severity)]


def _directory_trouble(path: str, of: str, repo_ids: Sequence[str]) -> tuple[str, str, str] | None:
    if not os.path.isabs(path) or "\0" in path:
        return (
            "OSR002",
            f"cache_dir {path!r}{of} is not absolute: it means another directory for every working directory",
            f"write {os.path.abspath(os.path.expanduser(path))!r} if that is meant" if "\0" not in path else "",
        )
    if not os.path.lexists(path):
        remedy = f"mkdir -p {shlex.quote(path)}, then download or adopt the repos into it; or correct the path"
        return "OSR101", f"cache directory {path}{of} does not exist", remedy
    try:
        with os.scandir(path) as entries:
            names = {entry.name: _is_folder(entry) for entry in entries}
    except FileNotFoundError:
        return "OSR101", f"cache directory {path}{of} is a link that leads nowhere", f"ls -l {shlex.quote(path)}"
    except NotADirectoryError:
        return "OSR102", f"{path}{of} is a file, not a cache directory", "name the directory that holds the models--*"
    except OSError as error:
        return unreadable(path, error, of)
    if not os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return unreadable(path, PermissionError(13, "no search (x) permission"), of)
    return _layout_trouble(path, names, of, repo_ids)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle: the trouble of that repo alone
        return False


def unreadable(path: str, error: OSError, of: str = "") -> tuple[str, str, str]:
    """The finding's code, message and remedy for something that this user cannot read."""
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"ask its owner for: chmod -R a+rX {shlex.quote(path)}"
    else:
        remedy = f"see what stands there (ls -lR {shlex.quote(path)}) and whether the disk is sound"
    return "OSR103", f"{path}{of} cannot be read: {error.strerror or error}", remedy


def _layout_trouble(
    path: str, names: Mapping[str, bool], of: str, repo_ids: Sequence[str]
) -> tuple[str, str, str] | None:
    above = _cache_above(path, names)
    if above is not None:
        return "OSR105", f"{path}{of} is a model's own folder, not the cache that holds it", _set_to(above, of)
    if any(name.startswith("models--") for name in names):
        return None
    if names.get("hub"):
        hub = os.path.join(path, "hub")
        return "OSR104", f"{path}{of} is a HF_HOME; its models lie in hub/", _set_to(hub, of)
    if is_flat(names):
        target = os.path.dirname(os.path.normpath(path))
        told = repo_ids[0] if len(set(repo_ids)) == 1 else next(iter(named_like(path, repo_ids)), "ORG/NAME")
        remedy = f"{adopt_command(path, told, target)}, then {_set_to(target, of)}"
        return "OSR106", f"{path}{of} is a flat download or clone of one model, not a cache", remedy
    return None


def _set_to(path: str, of: str) -> str:
    """What to write instead: in the config, or in the environment where that named the directory."""
    return f"export HF_HUB_CACHE={shlex.quote(path)}" if of else f"cache_dir={path!r}"


def _cache_above(path: str, names: Mapping[str, bool]) -> str | None:
    """The cache that a model's folder, or a folder inside it, belongs to."""
    parts = os.path.normpath(path).split(os.sep)
    for index in range(len(parts) - 1, 0, -1):
        inside = parts[index + 1 : index + 2]
        if parts[index].startswith("models--") and (not inside or inside[0] in _MODEL_PARTS):
            return os.sep.join(parts[:index]) or os.sep
    if sum(names.get(part, False) for part in _MODEL_PARTS) >= 2:
        return os.path.dirname(os.path.normpath(path))
    return None


def is_flat(names: Mapping[str, bool]) -> bool:
    """Whether these entries (name: is it a directory) are those of a cloned or flatly downloaded model."""
    return any(
        not folder and (name in _FLAT_NAMES or name.endswith(_FLAT_SUFFIXES)) for name, folder in names.items()
    ) or (names.get(".git", False) and ".gitattributes" in names)


def named_like(path: str, repo_ids: Sequence[str]) -> list[str]:
    """The repo ids whose NAME is the folder's name."""
    return [repo_id for repo_id in repo_ids if repo_id.split("/")[-1] == os.path.basename(os.path.normpath(path))]


def adopt_command(source: str, repo_id: str, cache_dir: str) -> str:
    """The command that turns a flat download into the cache's layout."""
    return shlex.join(["opensora-rewriter", "adopt", source, "--repo", repo_id, "--cache-dir", cache_dir])


def download_command(
    repo_id: str, cache_dir: str, *, revision: str | None = None, files: Sequence[str] = (), force: bool = False
) -> str:
    """The ``hf download`` command (huggingface_hub 0.34 to 2.x) that fetches a repo or some files into a cache."""
    words = ["hf", "download", repo_id, *files]
    if revision is not None:
        words += ["--revision", revision]
    words += ["--cache-dir", cache_dir]
    return shlex.join([*words, "--force-download"] if force else words)
