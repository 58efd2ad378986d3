"""Read a folder of a model's plain files for ``adopt``: which files, their hashes, and which commit they are."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Literal

from rewriter.checkout import open_regular
from rewriter.verify.files import check_file
from rewriter.verify.flat_models import is_flat_model, is_named_after, list_names
from rewriter.verify.hashing import HashKind, Progress, hash_files
from rewriter.verify.snapshots import COMMIT, SYNTHETIC

Origin = Literal["given", "download metadata", "git HEAD", "synthetic"]

_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_METADATA = os.path.join(".cache", "huggingface", "download")
# Notes that git, huggingface_hub and ModelScope leave beside the files.
_SKIPPED_FOLDERS = (".git", os.path.join(".cache", "huggingface"), "._____temp")
_SKIPPED_FILES = (".git", ".msc", ".mv", ".mdl")
# Where neither .gitattributes nor download metadata says it: the suffixes that the Hub keeps in LFS, its size limit.
_LFS_SUFFIXES = (
    *(".bin", ".safetensors", ".model", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".npz", ".zip"),
)
_LFS_BYTES = 10 * 1000 * 1000


class AdoptError(Exception):
    """Why it cannot be done, with a remedy. Nothing was changed, or only complete blobs were added."""


@dataclass(frozen=True, slots=True)
class AdoptFile:
    """One file: posix name in the repo, where it is, size in bytes, its blob's name, its mtime when it was hashed."""

    name: str
    source: str
    size: int
    blob: str
    modified_ns: int


def refuse_folder_of_models(src: str, repo_id: str) -> None:
    """One level too high: the folder holds no model's files, and folders in it do (ORG/NAME is looked for too)."""
    if is_flat_model(src) or any(os.path.exists(os.path.join(src, each)) for each in (".git", ".cache/huggingface")):
        return
    below = [os.path.join(src, name) for name in sorted(list_names(src)) if not name.startswith(".")]
    deeper = [os.path.join(path, name) for path in below for name in sorted(list_names(path))]
    models = [path for path in (*below, *deeper) if is_flat_model(path)]
    named = [path for path in models if is_named_after(path, repo_id)]
    if not models or (is_named_after(src, repo_id) and not named):
        return
    meant = named[0] if named else models[0] if len(models) == 1 else ""
    if meant:
        raise AdoptError(f"{src} holds no model's files itself; name the folder that does: {meant}")
    listed = ", ".join(models[:5])
    raise AdoptError(f"{src} holds several models and none called {repo_id.split('/')[1]}; name one of them: {listed}")


def is_inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or something in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def find_files(src: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Every file to adopt (posix name -> real path), and notes. Links may point inside ``src``, not out of it."""
    root = os.path.realpath(src)
    found: dict[str, str] = {}
    unfinished: list[str] = []
    for folder, folders, names in os.walk(src, onerror=_raise):
        inside = "" if folder == src else os.path.relpath(folder, src)
        if is_inside(inside, _METADATA):
            unfinished += [name for name in names if name.endswith(".incomplete")]
        folders[:] = [name for name in folders if os.path.join(inside, name) not in _SKIPPED_FOLDERS[:1]]
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                raise AdoptError(f"{os.path.join(folder, name)} is a link to a folder; replace it by the folder itself")
        if any(is_inside(inside, skipped) for skipped in _SKIPPED_FOLDERS[1:]):
            continue
        for name in names:
            if name.endswith(".incomplete"):
                unfinished.append(name)
            elif os.path.join(inside, name) not in _SKIPPED_FILES:
                found[os.path.join(inside, name).replace(os.sep, "/")] = _resolve(os.path.join(folder, name), root)
    _refuse_pointers(src, found)
    if not found:
        raise AdoptError(f"{src} holds no files")
    words = f"an unfinished download is in {src}, and files may be missing: {', '.join(unfinished[:5])}"
    return dict(sorted(found.items())), (words,) if unfinished else ()


def _raise(error: OSError) -> None:
    raise error


def _resolve(path: str, root: str) -> str:
    real = os.path.realpath(path)
    if not is_inside(real, root):
        raise AdoptError(f"{path} is a link that leads out of the folder, to {real}; put the file itself there")
    if not stat.S_ISREG(os.stat(real).st_mode):
        raise AdoptError(f"{path} is not a regular file")
    return real


def _refuse_pointers(src: str, found: Mapping[str, str]) -> None:
    small = [name for name, path in found.items() if os.stat(path).st_size < 1024]
    pointers = [name for name in small if check_file(found[name]).state == "pointer"]
    if pointers:
        listed = ", ".join(sorted(pointers)[:5])
        raise AdoptError(f"Git-LFS pointers in place of weights: {listed}; run `git lfs pull` in {src} first")


def read_metadata(src: str, name: str) -> tuple[str, str]:
    """(commit, hash) that ``hf download --local-dir`` noted for a file, or ("", "")."""
    lines = [*_read_lines(os.path.join(src, _METADATA, *name.split("/")) + ".metadata"), "", ""]
    commit, etag = lines[0], lines[1].strip('"')
    return (commit, etag) if COMMIT.fullmatch(commit) and _ETAG.fullmatch(etag) else ("", "")


def hash_sources(
    src: str,
    names: Mapping[str, str],
    etags: Mapping[str, tuple[str, str]],
    jobs: int | None,
    progress: Progress | None,
) -> tuple[AdoptFile, ...]:
    """Every file with the name that its blob gets."""
    infos = {name: os.stat(path) for name, path in names.items()}
    kinds = {name: _choose_kind(name, infos[name].st_size, etags[name][1]) for name in names}
    hashes = hash_files([(names[name], kinds[name]) for name in names], jobs=jobs, progress=progress)
    files = []
    for name, path in names.items():
        got = hashes[path, kinds[name]]
        if isinstance(got, OSError):
            raise AdoptError(f"{path} cannot be read: {got.strerror or got}") from got
        files.append(AdoptFile(name, path, infos[name].st_size, got, infos[name].st_mtime_ns))
    return tuple(files)


def _choose_kind(name: str, size: int, etag: str) -> HashKind:
    """How the Hub names this file's blob: by sha256 where it keeps the file in LFS, else as git does."""
    in_lfs = len(etag) == 64 if etag else name.endswith(_LFS_SUFFIXES) or size > _LFS_BYTES
    return "sha256" if in_lfs else "git-sha1"


# --- the commit ---------------------------------------------------------------------------------


def find_commit(
    src: str, revision: str | None, etags: Mapping[str, tuple[str, str]], files: tuple[AdoptFile, ...]
) -> tuple[str, Origin, tuple[str, ...]]:
    """Which commit these files are, where that is known from, and what to say about it."""
    noted, origin, notes = _read_commit(src, etags, files)
    if revision is not None and noted and noted != revision:
        raise AdoptError(f"--revision {revision} is not what {origin} says ({noted}); leave it out to take that")
    if revision is not None:
        return revision, "given", notes
    if noted:
        return noted, origin, notes
    listing = "".join(f"{file.name}\0{file.blob}\n" for file in files).encode("utf-8", "surrogateescape")
    commit = (SYNTHETIC + hashlib.sha1(listing, usedforsecurity=False).hexdigest())[:40]
    words = f"the commit is not known; {commit} is used in its place, made of the files' names and hashes"
    return commit, "synthetic", (*notes, words)


def _read_commit(
    src: str, etags: Mapping[str, tuple[str, str]], files: tuple[AdoptFile, ...]
) -> tuple[str, Origin, tuple[str, ...]]:
    head = read_git_head(src)
    if head:
        words = f"the files are taken to be those of HEAD; `git -C {src} status` says whether they are"
        return head, "git HEAD", (words,)
    commits = {commit for commit, _ in etags.values() if commit}
    altered = [file.name for file in files if etags[file.name][1] not in ("", file.blob)]
    if altered:
        return "", "synthetic", (f"changed since they were downloaded: {', '.join(altered[:5])}",)
    if len(commits) > 1:
        return "", "synthetic", (f"the files were downloaded from {len(commits)} different commits",)
    return "".join(commits), "download metadata", ()


def read_git_head(src: str) -> str:
    """The commit of a clone's HEAD, read from its files without running git, or "" where there is none."""
    folder = os.path.join(src, ".git")
    if os.path.isfile(folder):  # a submodule or a work tree: "gitdir: PATH"
        folder = os.path.join(src, read_line(folder).removeprefix("gitdir:").strip())
    head = read_line(os.path.join(folder, "HEAD"))
    if not head.startswith("ref:"):
        return head if COMMIT.fullmatch(head) else ""
    name = head.removeprefix("ref:").strip()
    if os.path.isabs(name) or os.pardir in name.split("/"):
        return ""
    shared = os.path.join(folder, read_line(os.path.join(folder, "commondir")))
    for place in (folder, shared):
        found = read_line(os.path.join(place, *name.split("/")))
        if COMMIT.fullmatch(found):
            return found
    packed = (line.partition(" ") for line in _read_lines(os.path.join(shared, "packed-refs")))
    return next((commit for commit, _, ref in packed if ref == name and COMMIT.fullmatch(commit)), "")


def _read_lines(path: str) -> Iterator[str]:
    """The stripped lines of a small text file; none where it cannot be read."""
    try:
        with TextIOWrapper(open_regular(path), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                yield line.strip()
    except OSError:
        return


def read_line(path: str) -> str:
    """The first line of a small text file, stripped; "" where it cannot be read."""
    return next(_read_lines(path), "")
