"""Which directory a library reads as its Hugging Face cache, what a directory is, and where a repo lies in it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rewriter.decide.remedies import cached_repos
from rewriter.model import Finding, Severity

Place = tuple[str, int, str]
"""Where something is requested: (path of a config, its line, the dotted component)."""

COMMIT = re.compile(r"[0-9a-f]{40}")
SYNTHETIC = "ad09ed00"
"""How a commit begins that ``adopt`` made of the files' hashes: no Hub knows it."""

TRANSFORMERS_VARIABLES = ("TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE")
"""transformers 4 reads the first that is set, before all others and for its own calls; transformers 5 reads none."""
_MODEL_FILE = re.compile(r".*(\.(safetensors|bin|ckpt|pth|model)|(config|tokenizer|index|vocab)\.json)")
_PIPELINE_PARTS = frozenset({"vae", "text_encoder", "tokenizer", "transformer", "unet", "scheduler", "model"})
# As people name the folders of a flat download, and as ModelScope does (which also writes dots as ___).
_FLAT_FOLDERS = (
    *("{name}", "{org}/{name}", "{org}_{name}", "{org}--{name}", "{org}__{name}"),
    *("models/{org}/{name}", "models/{org}--{name}/snapshots/master"),
)


class Trouble(NamedTuple):
    """One thing that is wrong, without its places. ``{component}`` in ``remedy``: the last key of each place's."""

    code: str
    message: str
    remedy: str
    severity: Severity = "error"

    def at(self, places: Iterable[Place]) -> list[Finding]:
        """Its findings, one for each place, all with one cause, so that a report can count them."""
        found = []
        for path, line, component in dict.fromkeys(places):
            remedy = self.remedy.replace("{component}", component.rpartition(".")[2])
            what = self.message, remedy, self.severity, self.message
            found.append(Finding(self.code, path, line, 0, component, *what))
        return found


def list_names(path: str) -> frozenset[str]:
    """The names in a folder; none where it is not there or cannot be read."""
    try:
        return frozenset(os.listdir(path))
    except OSError:
        return frozenset()


def find_default_cache(library: str = "huggingface_hub", transformers_major: int = 4) -> tuple[str, str]:
    """The directory that a library reads without a ``cache_dir``, and the variable that names it, or "default".

    As ``huggingface_hub.constants`` (0.34 to 2.x) computes it; transformers 4 does not expand its own variables.
    """
    if library not in ("huggingface_hub", "diffusers") and transformers_major < 5:
        for name in filter(os.environ.__contains__, TRANSFORMERS_VARIABLES):
            return os.environ[name], name
    below = {"HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "", "HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}
    name = next(filter(os.environ.__contains__, below), "default")
    path = os.path.expanduser(os.path.expandvars(os.environ.get(name, "~/.cache")))
    return os.path.join(path, below.get(name, "huggingface/hub")).rstrip("/"), name


def describe_source(source: str) -> str:
    """How a message says where a cache directory comes from; empty for the config's own."""
    reader = ", which transformers 4 reads first" if source in TRANSFORMERS_VARIABLES else ""
    fixed = {"config": "", "option": " (from --cache-dir)", "default": " (the library's default)"}
    return fixed.get(source, f" (from the environment's {source}{reader})")


def check_directory(path: str, source: str = "config", repo_ids: Sequence[str] = ()) -> Trouble | None:
    """Why a directory cannot be a cache (OSR002, OSR101 to OSR106), or None.

    ``source``: as in :class:`rewriter.verify.needs.Need`. ``repo_ids``: what is requested of it, for the adopt command.
    """
    if not os.path.isabs(path) or "\0" in path:
        message = f"cache_dir {path!r} is not absolute: it depends on the working directory"
        return Trouble("OSR002", message, f"write {os.path.abspath(os.path.expanduser(path))!r} if that is meant")
    above, own = os.path.split(os.path.normpath(path))
    places = [path, os.path.join(path, "hub"), path.partition("/models--")[0] or "/"]
    places += [above] if own == "hub" else []  # huggingface_hub issue 3394
    right = next(filter(cached_repos, places), "")
    if right == path:
        return None
    if right:
        code = "OSR105" if "/models--" in path else "OSR104"
        return Trouble(code, f"{path} holds no models--*; they lie in {right}", _suggest_directory(right, source))
    try:
        os.listdir(path)
    except FileNotFoundError:
        remedy = f"mkdir -p {shlex.quote(path)}, then download or adopt the repos into it; or correct the path"
        if source not in ("config", "option"):  # no cache_dir reaches the loader, so the environment's cache is read
            remedy = f"have the config name the cache you have: rewrite --cache-dir DIR; or {remedy}"
        return Trouble("OSR101", f"cache directory {path} does not exist", remedy)
    except NotADirectoryError:
        return Trouble("OSR102", f"{path} is a file, not a cache directory", "name the directory of the models--*")
    except OSError as error:
        return describe_unreadable(path, str(error.strerror))
    if not is_flat_model(path):
        return None
    meant = {repo_id for repo_id in repo_ids if is_named_after(path, repo_id)} or {*repo_ids}
    repo_id = meant.pop() if len(meant) == 1 else "ORG/NAME"
    adopt = shlex.join(["opensora-rewriter", "adopt", path, "--repo", repo_id, "--cache-dir", above])
    message = f"{path} is a flat download or clone of one model, not a cache"
    return Trouble("OSR106", message, f"{adopt}, then {_suggest_directory(above, source)}")


def _suggest_directory(path: str, source: str) -> str:
    """How the config, the command line or the environment names a directory."""
    variable = source if source in TRANSFORMERS_VARIABLES else "HF_HUB_CACHE"
    written = {"config": f"cache_dir={path!r}", "option": f"--cache-dir {shlex.quote(path)}"}
    return written.get(source, f"export {variable}={shlex.quote(path)}")


def describe_unreadable(path: str, reason: str) -> Trouble:
    """The trouble of something that this user cannot read."""
    return Trouble("OSR103", f"{path} cannot be read: {reason}", f"ask its owner: chmod -R a+rX {shlex.quote(path)}")


def is_flat_model(path: str) -> bool:
    """Whether a folder holds a model's plain files, in itself or in nothing but the folders of a pipeline."""
    names = list_names(path)
    folders = {name for name in names if not name.startswith(".") and os.path.isdir(os.path.join(path, name))}
    if any(map(_MODEL_FILE.fullmatch, names - folders)) or {".git", ".gitattributes"} <= names:
        return True
    below = (name for folder in folders for name in list_names(os.path.join(path, folder)))
    return folders <= _PIPELINE_PARTS and any(map(_MODEL_FILE.fullmatch, below))


def is_named_after(path: str, repo_id: str) -> bool:
    """Whether a folder has a repo's NAME; ModelScope writes dots as ``___``."""
    return os.path.basename(os.path.normpath(path)).replace("___", ".") == repo_id.split("/")[-1]


def find_flat_folder(cache_dir: str, repo_id: str) -> str | None:
    """Where a flat download of a repo lies below a directory."""
    org, _, name = repo_id.rpartition("/")
    names = (name, name.replace(".", "___"))
    places = (f"{cache_dir}/{each.format(org=org, name=part)}" for each in _FLAT_FOLDERS for part in names)
    return next(filter(is_flat_model, places), None)


class CachedRepo(NamedTuple):
    """One repo at one revision in one cache, read by its files alone: ``models--ORG--NAME/{blobs,refs,snapshots}``."""

    cache_dir: str
    repo_id: str
    revision: str | None = None

    @property
    def folder(self) -> str:
        """The repo's folder in the cache."""
        return os.path.join(self.cache_dir, "models--" + self.repo_id.replace("/", "--"))

    @property
    def ref_path(self) -> str:
        """The file that says which commit the revision is; that of ``main`` where none is requested."""
        return os.path.join(self.folder, "refs", self.revision or "main")

    def get_snapshot(self, *commit: str) -> str:
        """The folder of a commit; without one, the folder of all."""
        return os.path.join(self.folder, "snapshots", *commit)

    def list_files(self, commit: str) -> list[str]:
        """The files of a snapshot, as posix paths below it."""
        snapshot = Path(self.get_snapshot(commit))
        return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if not path.is_dir()]

    def find_unfinished(self) -> list[str]:
        """Names in blobs/ (HASH.incomplete, HASH.RANDOM.incomplete) of which the complete blob is not there."""
        blobs = list_names(os.path.join(self.folder, "blobs"))
        return sorted(name for name in blobs if name.endswith(".incomplete") and name.split(".")[0] not in blobs)

    def read_ref(self) -> str | None:
        """What the revision's ref holds, byte for byte, or None where there is none; OSError if it cannot be read."""
        try:
            return Path(self.ref_path).read_bytes()[:4096].decode("latin-1")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return None


def format_ref(commit: str, path: str) -> str:
    """The command that writes a ref: the bare commit, without a newline."""
    return f"mkdir -p {shlex.quote(os.path.dirname(path))} && printf %s {shlex.quote(commit)} > {shlex.quote(path)}"


def format_download(repo_id: str, cache_dir: str, revision: str | None = None, some: Iterable[str] = ()) -> str:
    """The ``hf download`` command (huggingface_hub 0.34 to 2.x) that fetches a repo, or some of it, into a cache.

    ``some``: names of files, or ``--include`` and one pattern (hub 0.x and 1.x disagree on how several are given).
    """
    pin = ["--revision", revision] if revision and not revision.startswith(SYNTHETIC) else []
    return shlex.join(["hf", "download", repo_id, *some, *pin, "--cache-dir", cache_dir])
