"""Turn a flat download or a git clone of a model into the Hugging Face cache's layout; the ref comes last."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from rewriter.locality import is_repo_id
from rewriter.verify.directories import COMMIT, SYNTHETIC, CachedRepo, is_flat_model, is_named_after, list_names
from rewriter.verify.files import HashKind, Progress, check_file, hash_files

Mode = Literal["auto", "copy", "link"]

# What git, huggingface_hub and ModelScope leave beside the files.
_SKIPPED = frozenset({".git", ".cache", "._____temp", ".msc", ".mv", ".mdl"})
# The suffixes that the Hub keeps in LFS, and its size limit.
_LFS_SUFFIXES = (".bin", ".safetensors", ".model", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".npz", ".zip")
_LFS_BYTES = 10 * 1000 * 1000


class AdoptError(Exception):
    """Why it cannot be done, with a remedy. Nothing was changed, or only files were added that no ref leads to."""


class AdoptFile(NamedTuple):
    """One file: where it is, where its content and the snapshot's link to it belong, size in bytes."""

    source: str
    blob: str
    link: str
    size: int

    def is_linked(self) -> bool:
        """Whether the snapshot has the file already."""
        other = os.path.islink(self.link) and os.path.basename(os.readlink(self.link)) != os.path.basename(self.blob)
        return not other and os.path.exists(self.link) and os.path.getsize(self.link) == self.size


class AdoptPlan(NamedTuple):
    """What :func:`run_adopt` will do, and ``notes`` for the user.

    ``origin``: where ``commit`` comes from: "given", "download metadata", "git HEAD", or "synthetic" (made of the
    names and hashes of the files).
    """

    repo: CachedRepo
    commit: str
    origin: str
    files: tuple[AdoptFile, ...]
    mode: Mode
    notes: tuple[str, ...]


class Adopted(NamedTuple):
    """What was done: the snapshot's folder, blobs by how they got there, and whether anything changed at all."""

    snapshot: str
    linked: int = 0
    copied: int = 0
    present: int = 0
    changed: bool = True


def plan_adopt(
    src: str,
    repo_id: str,
    cache_dir: str,
    revision: str | None = None,
    mode: Mode = "auto",
    *,
    replace_ref: bool = False,
    progress: Progress | None = None,
) -> AdoptPlan:
    """Read and hash a model's folder (of git, ``hf download --local-dir``, ModelScope) and decide its place in a cache.

    ``revision``: the commit (40 hex digits) that ``src`` is known to be. ``mode``: "auto" makes hard links where the
    file system allows. ``replace_ref``: let ``refs/main`` move on from another commit. ``progress``: in bytes hashed.
    Raises AdoptError: the folder, the id or the cache is not fit for it; the message says what to do.
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
        paths, notes = _find_files(src)
        blobs = _hash_sources(paths, progress)
        commit, origin = _find_commit(src, revision, blobs)
        present = (repo.read_ref() or "").strip()
        snapshot, folder = repo.get_snapshot(commit), os.path.join(repo.folder, "blobs")
        files = tuple(
            AdoptFile(path, os.path.join(folder, blobs[name]), os.path.join(snapshot, name), os.path.getsize(path))
            for name, path in paths.items()
        )
    except OSError as error:
        raise AdoptError(f"{error.filename or src}: {error.strerror or error}") from error
    if other := next((file.link for file in files if os.path.exists(file.link) and not file.is_linked()), None):
        raise AdoptError(f"{other} has another content; remove {snapshot} if {src} is right")
    if present not in ("", commit) and not replace_ref:
        raise AdoptError(
            f"{repo.ref_path} is commit {present} and not {commit}: {repo_id} is in this cache already; give another "
            f"--cache-dir, or --replace-ref to make {commit} its main (the other stays)"
        )
    if origin == "synthetic":
        notes += (f"the commit is not known; {commit} is used in its place, made of the files' names and hashes",)
    return AdoptPlan(repo, commit, origin, files, mode, notes)


def _refuse_other_folders(src: str, repo_id: str) -> None:
    """Refuse what is no folder, a cache or a part of one, and a folder one level too high that holds models."""
    if not os.path.isdir(src):
        raise AdoptError(f"{src} is not a folder; name the one that holds config.json and the weights")
    names = sorted(list_names(src))
    if {"blobs", "snapshots"} <= {*names} or any(name.startswith("models--") for name in names):
        raise AdoptError(f"{src} is in the cache's layout already; copy it with its links (cp -a) to have it elsewhere")
    if is_flat_model(src) or {".git", ".cache"} & {*names}:
        return
    below = [os.path.join(src, name) for name in names if not name.startswith(".")]
    deeper = [os.path.join(path, name) for path in below for name in sorted(list_names(path))]
    models = [path for path in (*below, *deeper) if is_flat_model(path)]
    named = [path for path in models if is_named_after(path, repo_id)]
    if models and (named or not is_named_after(src, repo_id)):
        listed = ", ".join((named or models)[:5])
        raise AdoptError(f"{src} holds no model's files itself; name the folder that does: {listed}")


def _find_files(src: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Every file to adopt (posix name -> real path), and a note. Links may point inside ``src``, not out of it."""
    root = os.path.realpath(src) + os.sep
    found: dict[str, str] = {}
    unfinished: list[str] = []
    for path in Path(src).rglob("*"):
        parts = path.relative_to(src).parts
        if path.suffix == ".incomplete":
            unfinished.append(path.name)
        elif parts[0] not in _SKIPPED and (path.is_symlink() or not path.is_dir()):
            real = found["/".join(parts)] = os.path.realpath(path)
            if not os.path.isfile(real) or not real.startswith(root):
                raise AdoptError(f"{path} is not a file, or a link that leads out of the folder; put the file there")
    if pointers := [name for name in sorted(found) if check_file(found[name]).state == "pointer"]:
        raise AdoptError(f"{pointers[0]} is a Git-LFS pointer in place of weights; run `git lfs pull` in {src} first")
    if not found:
        raise AdoptError(f"{src} holds no files")
    note = f"an unfinished download is in {src}, and files may be missing: {', '.join(unfinished[:5])}"
    return dict(sorted(found.items())), (note,) if unfinished else ()


def _hash_sources(paths: Mapping[str, str], progress: Progress | None) -> dict[str, str]:
    """Every file's name -> the name that its blob gets: sha256 where the Hub keeps it in LFS, else as git does."""
    wanted: dict[str, tuple[str, HashKind]] = {
        name: (path, "sha256" if name.endswith(_LFS_SUFFIXES) or os.path.getsize(path) > _LFS_BYTES else "git-sha1")
        for name, path in paths.items()
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
        noted = {subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()}
        origin = "git HEAD"
    except (OSError, subprocess.SubprocessError):
        noted, origin = set(), "download metadata"
        folder = Path(src, ".cache", "huggingface", "download")
        for path in folder.rglob("*.metadata"):
            found, etag = [*path.read_text("latin-1").split(), "", ""][:2]
            blob = blobs.get(path.relative_to(folder).as_posix().removesuffix(".metadata"), etag)
            noted.add(found if len(etag) != len(blob) or etag == blob else "")  # "": changed since it was downloaded
    if len(noted) == 1 and COMMIT.fullmatch(min(noted)):
        if revision not in (None, *noted):
            raise AdoptError(
                f"--revision {revision} is not what {origin} says ({min(noted)}); leave it out to take that"
            )
        return min(noted), origin
    listing = os.fsencode("".join(f"{name}\0{blob}\n" for name, blob in blobs.items()))
    synthetic = (SYNTHETIC + hashlib.sha1(listing, usedforsecurity=False).hexdigest())[:40]
    return (synthetic, "synthetic") if revision is None else (revision, "given")


def run_adopt(plan: AdoptPlan, progress: Progress | None = None) -> Adopted:
    """Carry a plan out. What is there already is left as it is; run again, it changes nothing.

    A blob gets its name once it is complete, refs/main is written last: cut off at any moment, no ref leads to what is
    half done, and the next run goes on there. ``progress``: in bytes that are in place.
    Raises AdoptError: no space, no permission, or no hard link (mode "link").
    """
    snapshot = plan.repo.get_snapshot(plan.commit)
    if plan.repo.read_ref() == plan.commit and all(file.is_linked() for file in plan.files):
        return Adopted(snapshot, present=len(plan.files), changed=False)
    arrivals: list[str] = []
    done, total = 0, sum(file.size for file in plan.files)
    try:
        os.makedirs(os.path.join(plan.repo.folder, "blobs"), exist_ok=True)
        for file in plan.files:
            arrivals.append(_place_blob(file, plan.mode))
            if not file.is_linked():
                _link_blob(file)
            done += file.size
            if progress is not None:
                progress(done, total)
        write_ref(plan.repo, plan.commit)
    except OSError as error:
        hint = "; use --copy" if plan.mode == "link" else ""
        raise AdoptError(f"{error.filename2 or error.filename or snapshot}: {error.strerror or error}{hint}") from error
    return Adopted(snapshot, arrivals.count("linked"), arrivals.count("copied"), arrivals.count("present"))


def _place_blob(file: AdoptFile, mode: Mode) -> str:
    if os.path.isfile(file.blob) and os.path.getsize(file.blob) == file.size:
        return "present"
    if mode != "copy":
        try:
            os.link(file.source, file.blob)
            return "linked"
        except OSError:
            if mode == "link":
                raise
    shutil.copyfile(file.source, f"{file.blob}.incomplete")
    os.replace(f"{file.blob}.incomplete", file.blob)
    return "copied"


def _link_blob(file: AdoptFile) -> None:
    """A relative link in the snapshot; a real file where links cannot be made."""
    os.makedirs(os.path.dirname(file.link), exist_ok=True)
    if os.path.islink(file.link):
        os.remove(file.link)
    try:
        os.symlink(os.path.relpath(file.blob, os.path.dirname(file.link)), file.link)
    except (OSError, NotImplementedError):
        shutil.copyfile(file.blob, file.link)


def write_ref(repo: CachedRepo, commit: str) -> None:
    """Write a ref by one rename, without a newline: the Hub library would take it as part of the commit."""
    if repo.read_ref() != commit:
        os.makedirs(os.path.dirname(repo.ref_path), exist_ok=True)
        draft = os.path.join(repo.folder, ".ref")
        Path(draft).write_bytes(commit.encode())
        os.replace(draft, repo.ref_path)
