"""Turn a flat download or a git clone of a model into the Hugging Face cache's layout; the ref comes last."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from rewriter.decide.remedies import cached_repos
from rewriter.locality import is_repo_id
from rewriter.verify.directories import COMMIT, SYNTHETIC, CachedRepo, is_flat_model, is_named_after, list_names
from rewriter.verify.files import Hashing, Progress, check_file, find_blob_name, hash_files

Mode = Literal["auto", "copy", "link"]

# What git, huggingface_hub and ModelScope leave beside the files.
_SKIPPED = frozenset({".git", ".cache", "._____temp", ".msc", ".mv", ".mdl"})
# The suffixes that the Hub keeps in LFS, and its size limit.
_LFS_SUFFIXES = (".bin", ".safetensors", ".model", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".npz", ".zip")
_LFS_BYTES = 10 * 1000 * 1000


class AdoptError(Exception):
    """Why it cannot be done, with a remedy. Nothing was changed, or only files were added that no ref leads to."""


class Adopted(NamedTuple):
    """What was done. ``origin``: where the commit is known from. ``unfinished``: of a cut off download, left out."""

    snapshot: str
    commit: str
    origin: str
    linked: int
    copied: int
    present: int
    unfinished: tuple[str, ...]


def adopt_folder(
    src: str, repo_id: str, cache_dir: str, revision: str | None, mode: Mode, replace: bool, progress: Progress | None
) -> Adopted:
    """Lay a model's folder (of git, ``hf download --local-dir``, ModelScope) out in a cache; run again, it goes on.

    A blob gets its name once it is complete, refs/main is written last: cut off anywhere, no ref leads to what is half
    done. ``revision``: the commit (40 hex digits) that ``src`` is known to be. ``mode``: "auto" makes hard links where
    the file system allows. ``replace``: let refs/main move on from another commit. ``progress``: in bytes hashed, then
    in bytes that are in place. Raises AdoptError.
    """
    if "/" not in repo_id or not is_repo_id(repo_id):
        raise AdoptError(f"--repo {repo_id!r} is not ORG/NAME as the Hub writes it")
    if revision is not None and not COMMIT.fullmatch(revision):
        raise AdoptError(f"--revision {revision!r} is not a commit (40 hex digits); leave it out if you do not know it")
    if Path(cache_dir).is_relative_to(src):
        raise AdoptError(f"the cache {cache_dir} is inside {src}; name a cache outside of it")
    _refuse_other_folders(src, repo_id)
    repo = CachedRepo(cache_dir, repo_id)
    try:
        sources = _find_files(src)
        blobs = _hash_files(sources, progress)
        commit, origin = _find_commit(src, revision, blobs)
        snapshot = repo.get_snapshot(commit)
        links = {name: os.path.join(snapshot, name) for name in sources}
        for name, link in links.items():
            if os.path.lexists(link) and find_blob_name(link) != blobs[name]:
                raise AdoptError(f"{link} has another content; remove {snapshot} if {src} is right")
        current = (repo.read_ref() or "").strip()
        if current not in ("", commit) and not replace:
            raise AdoptError(f"{repo.ref_path} is {current}, not {commit}; give another --cache-dir, or --replace-ref")
        arrivals: list[str] = []
        done, total = 0, sum(map(os.path.getsize, sources.values()))
        for name, link in links.items():
            blob = os.path.join(repo.folder, "blobs", blobs[name])
            arrivals.append(_place_blob(sources[name], blob, mode))
            if not os.path.islink(link):
                os.makedirs(os.path.dirname(link), exist_ok=True)
                os.symlink(os.path.relpath(blob, os.path.dirname(link)), link)
            done += os.path.getsize(blob)
            if progress is not None:
                progress(done, total)
        write_ref(repo, commit)
    except OSError as error:
        raise AdoptError(f"{error.filename2 or error.filename or src}: {error.strerror or error}") from error
    linked, copied, present = map(arrivals.count, ("linked", "copied", "present"))
    unfinished = tuple(sorted(path.name for path in Path(src).rglob("*.incomplete")))
    return Adopted(snapshot, commit, origin, linked, copied, present, unfinished)


def _refuse_other_folders(src: str, repo_id: str) -> None:
    """Refuse what is no folder, a cache or a part of one, and a folder one level too high that holds models."""
    if not os.path.isdir(src):
        raise AdoptError(f"{src} is not a folder; name the one that holds config.json and the weights")
    names = list_names(src)
    if {"blobs", "snapshots"} <= names or cached_repos(src):
        raise AdoptError(f"{src} is in the cache's layout already; copy it with its links (cp -a) to have it elsewhere")
    if is_flat_model(src) or _SKIPPED & names:
        return
    below = sorted(map(str, [*Path(src).glob("*"), *Path(src).glob("*/*")]))
    models = sorted(filter(is_flat_model, below), key=lambda path: not is_named_after(path, repo_id))
    if models and (is_named_after(models[0], repo_id) or not is_named_after(src, repo_id)):
        raise AdoptError(f"{src} holds no model's files itself; name the folder that does: {', '.join(models[:5])}")


def _find_files(src: str) -> dict[str, str]:
    """Every file to adopt (posix name -> real path), by name. Links may point inside ``src``, not out of it."""
    root = os.path.realpath(src) + os.sep
    found: dict[str, str] = {}
    for path in Path(src).rglob("*"):
        name = path.relative_to(src).as_posix()
        left_out = name.split("/")[0] in _SKIPPED or path.suffix == ".incomplete"
        if not left_out and (path.is_symlink() or not path.is_dir()):
            real = found[name] = os.path.realpath(path)
            if not os.path.isfile(real) or not real.startswith(root):
                raise AdoptError(f"{path} is not a file, or a link that leads out of the folder; put the file there")
            if check_file(real).state == "pointer":
                raise AdoptError(f"{name} is a Git-LFS pointer in place of weights; run `git lfs pull` in {src} first")
    if not found:
        raise AdoptError(f"{src} holds no files")
    return dict(sorted(found.items()))


def _hash_files(sources: Mapping[str, str], progress: Progress | None) -> dict[str, str]:
    """Every file's name -> the name that its blob gets: sha256 where the Hub keeps it in LFS, else as git does."""
    wanted: dict[str, Hashing] = {
        name: (path, "sha256" if name.endswith(_LFS_SUFFIXES) or os.path.getsize(path) > _LFS_BYTES else "git-sha1")
        for name, path in sources.items()
    }
    hashes = hash_files(wanted.values(), progress)
    for error in hashes.values():
        if isinstance(error, OSError):
            raise error
    return {name: str(hashes[item]) for name, item in wanted.items()}


def _find_commit(src: str, revision: str | None, blobs: Mapping[str, str]) -> tuple[str, str]:
    """Which commit these files are, and where that is known from."""
    command = ["git", "--git-dir", os.path.join(src, ".git"), "rev-parse", "--verify", "HEAD"]
    try:
        noted = {subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=20).strip()}
        origin = "from git HEAD"
    except (OSError, subprocess.SubprocessError):
        noted, origin = set(), "from download metadata"
        folder = Path(src, ".cache", "huggingface", "download")
        for path in folder.rglob("*.metadata"):
            commit, etag, *_ = [*path.read_text("latin-1").split(), "", ""]
            name = path.relative_to(folder).as_posix().removesuffix(".metadata")
            blob = blobs.get(name, etag)  # of another length: the Hub keeps the file in the other way
            noted.add(commit if len(blob) != len(etag) or blob == etag else "")  # "": changed since
    if len(noted) == 1 and COMMIT.fullmatch(found := noted.pop()):
        if revision not in (None, found):
            raise AdoptError(f"--revision {revision} is not {found}, {origin}; leave it out to take that")
        return found, origin
    if revision is not None:
        return revision, "from --revision"
    listing = os.fsencode("".join(f"{name}\0{blob}\n" for name, blob in blobs.items()))
    digest = hashlib.sha1(listing, usedforsecurity=False).hexdigest()
    return (SYNTHETIC + digest)[:40], "a synthetic commit, made of the files' hashes"


def _place_blob(source: str, blob: str, mode: Mode) -> str:
    """How the blob got there."""
    if os.path.isfile(blob) and os.path.getsize(blob) == os.path.getsize(source):
        return "present"
    os.makedirs(os.path.dirname(blob), exist_ok=True)
    if mode != "copy":
        try:
            os.link(source, blob)
            return "linked"
        except OSError as error:
            if mode == "link":
                raise AdoptError(f"{blob}: {error.strerror}; use --copy") from error
    shutil.copyfile(source, f"{blob}.incomplete")
    os.replace(f"{blob}.incomplete", blob)
    return "copied"


def write_ref(repo: CachedRepo, commit: str) -> None:
    """Write a ref by one rename, without a newline: the Hub library would take it as part of the commit."""
    if repo.read_ref() != commit:
        os.makedirs(os.path.dirname(repo.ref_path), exist_ok=True)
        draft = os.path.join(repo.folder, ".ref")
        Path(draft).write_bytes(commit.encode())
        os.replace(draft, repo.ref_path)
