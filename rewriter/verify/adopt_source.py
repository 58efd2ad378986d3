"""Read a folder of a model's plain files for ``adopt``: which files, their hashes, and which commit they are."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rewriter.verify.directories import is_flat_model, is_named_after, list_names
from rewriter.verify.files import HashKind, Progress, check_file, format_hash, hash_files
from rewriter.verify.snapshots import COMMIT, SYNTHETIC

Origin = Literal["given", "download metadata", "git HEAD", "synthetic"]

_METADATA = ".cache/huggingface/download"
# What git, huggingface_hub and ModelScope leave beside the files.
_SKIPPED = (".git", ".cache/huggingface", "._____temp", ".msc", ".mv", ".mdl")
# Where no download metadata says it: the suffixes that the Hub keeps in LFS, and its size limit.
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


def refuse_other_folders(src: str, repo_id: str) -> None:
    """Refuse what is no folder, a cache or a part of one, and a folder one level too high that holds models."""
    if not os.path.isdir(src):
        raise AdoptError(f"{src} is not a folder; name the one that holds config.json and the weights")
    names = sorted(list_names(src))
    if {"blobs", "snapshots"} <= {*names}:
        raise AdoptError(
            f"{src} is in the cache's layout already; to have it elsewhere, copy it with its links (cp -a)"
        )
    models = [name for name in names if name.startswith("models--")]
    if models:
        raise AdoptError(f"{src} is a cache itself (it holds {models[0]}); name the folder of one model's files")
    if is_flat_model(src) or {".git", ".cache"} & {*names}:
        return
    below = [os.path.join(src, name) for name in names if not name.startswith(".")]
    deeper = [os.path.join(path, name) for path in below for name in sorted(list_names(path))]
    models = [path for path in (*below, *deeper) if is_flat_model(path)]
    named = [path for path in models if is_named_after(path, repo_id)]
    if not models or (is_named_after(src, repo_id) and not named):
        return
    if named or len(models) == 1:
        raise AdoptError(f"{src} holds no model's files itself; name the folder that does: {(named or models)[0]}")
    listed = ", ".join(models[:5])
    raise AdoptError(f"{src} holds several models and none called {repo_id.split('/')[1]}; name one of them: {listed}")


def find_files(src: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Every file to adopt (posix name -> real path), and notes. Links may point inside ``src``, not out of it."""
    root = os.path.realpath(src) + os.sep
    found: dict[str, str] = {}
    unfinished: list[str] = []
    for folder, folders, names in os.walk(src):
        for name in (*names, *(each for each in folders if os.path.islink(os.path.join(folder, each)))):
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, src).replace(os.sep, "/")
            if name.endswith(".incomplete"):
                unfinished.append(name)
            elif not any(inside == skipped or inside.startswith(skipped + "/") for skipped in _SKIPPED):
                real = found[inside] = os.path.realpath(path)
                if not real.startswith(root):
                    raise AdoptError(f"{path} is a link that leads out of the folder, to {real}; put the file there")
                if not os.path.isfile(real):
                    raise AdoptError(f"{path} is not a file, or a link that leads to none; replace or remove it")
    pointers = [name for name in sorted(found) if check_file(found[name]).state == "pointer"]
    if pointers:
        listed = ", ".join(pointers[:5])
        raise AdoptError(f"Git-LFS pointers in place of weights: {listed}; run `git lfs pull` in {src} first")
    if not found:
        raise AdoptError(f"{src} holds no files")
    words = f"an unfinished download is in {src}, and files may be missing: {', '.join(unfinished[:5])}"
    return dict(sorted(found.items())), (words,) if unfinished else ()


def read_metadata(src: str, name: str) -> tuple[str, str]:
    """(commit, hash) that ``hf download --local-dir`` noted for a file, or ("", "")."""
    try:
        with open(os.path.join(src, _METADATA, name + ".metadata"), encoding="utf-8") as stream:
            commit, etag = stream.readline().strip(), stream.readline().strip().strip('"')
    except (OSError, UnicodeDecodeError):
        return "", ""
    return (commit, etag) if COMMIT.fullmatch(commit) and format_hash(etag) else ("", "")


def hash_sources(
    names: Mapping[str, str], etags: Mapping[str, tuple[str, str]], progress: Progress | None
) -> tuple[AdoptFile, ...]:
    """Every file with the name that its blob gets: sha256 where the Hub keeps it in LFS, else as git does."""
    infos = {name: os.stat(path) for name, path in names.items()}
    kinds: dict[str, HashKind] = {}
    for name, (_, etag) in etags.items():
        in_lfs = len(etag) == 64 if etag else name.endswith(_LFS_SUFFIXES) or infos[name].st_size > _LFS_BYTES
        kinds[name] = "sha256" if in_lfs else "git-sha1"
    hashes = hash_files([(path, kinds[name]) for name, path in names.items()], progress)
    files = []
    for name, path in names.items():
        got = hashes[path, kinds[name]]
        if isinstance(got, OSError):
            raise AdoptError(f"{path} cannot be read: {got.strerror or got}") from got
        files.append(AdoptFile(name, path, infos[name].st_size, got, infos[name].st_mtime_ns))
    return tuple(files)


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
    """The commit of a clone's HEAD, or "" where there is none or no git."""
    command = ["git", "--git-dir", os.path.join(src, ".git"), "rev-parse", "--verify", "HEAD"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return run.stdout.strip()
