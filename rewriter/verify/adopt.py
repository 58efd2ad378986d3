"""Turn a flat download or a git clone of a model into the Hugging Face cache's layout, all of it or nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rewriter.verify.directories import is_flat_model, is_named_after, list_names
from rewriter.verify.files import HashKind, Progress, check_file, format_hash, hash_files
from rewriter.verify.snapshots import COMMIT, SYNTHETIC, CachedRepo, is_hub_repo_id

Mode = Literal["auto", "copy", "link"]
Origin = Literal["given", "download metadata", "git HEAD", "synthetic"]

_METADATA = ".cache/huggingface/download"
# What git, huggingface_hub and ModelScope leave beside the files.
_SKIPPED = (".git", ".cache/huggingface", "._____temp", ".msc", ".mv", ".mdl")
# Where no download metadata says it: the suffixes that the Hub keeps in LFS, and its size limit.
_LFS_SUFFIXES = (
    *(".bin", ".safetensors", ".model", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".npz", ".zip"),
)
_LFS_BYTES = 10 * 1000 * 1000

_STAGING = ".adopt"
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EACCES)


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


@dataclass(frozen=True, slots=True)
class AdoptPlan:
    """What :func:`run_adopt` will do.

    ``origin``: where ``commit`` comes from; a "synthetic" one is made of the files' names and hashes.
    ``notes``: what a user should know, in plain words.
    """

    source: str
    repo: CachedRepo
    commit: str
    origin: Origin
    files: tuple[AdoptFile, ...]
    mode: Mode = "auto"
    notes: tuple[str, ...] = ()

    @property
    def snapshot(self) -> str:
        """The commit's folder."""
        return self.repo.get_snapshot(self.commit)

    def get_blob(self, file: AdoptFile) -> str:
        """Where a file's content will be."""
        return os.path.join(self.repo.folder, "blobs", file.blob)

    def get_link(self, file: AdoptFile) -> str:
        """Where the snapshot has the file."""
        return os.path.join(self.snapshot, *file.name.split("/"))

    def has_blob(self, file: AdoptFile) -> bool:
        """Whether the content is there already."""
        return os.path.isfile(self.get_blob(file)) and os.path.getsize(self.get_blob(file)) == file.size


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was done: the snapshot's folder, blobs by how they got there, and whether anything changed at all."""

    snapshot: str
    linked: int = 0
    copied: int = 0
    present: int = 0
    changed: bool = True


# --- planning: reads and hashes, writes nothing ---------------------------------------------------


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
    """Read and hash a model's folder and decide what its place in the cache is.

    Args:
        src: a clone, or a folder of ``hf download --local-dir``, of ModelScope, or of a browser.
        repo_id: ``ORG/NAME``.
        cache_dir: the cache, absolute; it need not exist yet.
        revision: the commit (40 hex digits) that ``src`` is known to be.
        mode: "link": hard links only; "copy": copies; "auto": hard links where the file system allows.
        replace_ref: let ``refs/main`` move on from another commit.
        progress: called with (bytes hashed, bytes in all).

    Raises:
        AdoptError: the folder, the id or the cache is not fit for it; the message says what to do.
    """
    src = os.path.abspath(src)
    if "/" not in repo_id or not is_hub_repo_id(repo_id):
        raise AdoptError(f"--repo {repo_id!r} is not ORG/NAME as the Hub writes it")
    if revision is not None and not COMMIT.fullmatch(revision):
        raise AdoptError(f"--revision {revision!r} is not a commit (40 hex digits); leave it out if you do not know it")
    if not os.path.isabs(cache_dir):
        raise AdoptError(f"cache directory {cache_dir!r} is not absolute")
    if (os.path.realpath(cache_dir) + os.sep).startswith(os.path.realpath(src) + os.sep):
        raise AdoptError(f"the cache {cache_dir} is inside {src}; name a cache outside of it")
    try:
        _refuse_other_folders(src, repo_id)
        names, notes = _find_files(src)
        etags = {name: _read_metadata(src, name) for name in names}
        files = _hash_sources(names, etags, progress)
        commit, origin, more = _find_commit(src, revision, etags, files)
        plan = AdoptPlan(src, CachedRepo(cache_dir, repo_id), commit, origin, files, mode, (*notes, *more))
        _check_cache(plan, replace_ref)
    except OSError as error:
        raise AdoptError(f"{error.filename or src}: {error.strerror or error}") from error
    return plan


def _check_cache(plan: AdoptPlan, replace_ref: bool) -> None:
    """A snapshot that is there may be completed, never contradicted; so may a ref."""
    for file in plan.files:
        path = plan.get_link(file)
        linked = os.path.basename(os.readlink(path)) if os.path.islink(path) else file.blob
        if linked != file.blob or (os.path.exists(path) and os.stat(path).st_size != file.size):
            raise AdoptError(f"{path} has another content; remove {plan.snapshot} if {plan.source} is right")
    present = (plan.repo.read_ref() or "").strip()
    if present not in ("", plan.commit) and not replace_ref:
        raise AdoptError(
            f"{plan.repo.ref_path} is commit {present} and not {plan.commit}: {plan.repo.repo_id} is in this cache "
            f"already; give another --cache-dir, or --replace-ref to make {plan.commit} its main (the other stays)"
        )


# --- the source: which files, their hashes, which commit they are ----------------------------------


def _refuse_other_folders(src: str, repo_id: str) -> None:
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


def _find_files(src: str) -> tuple[dict[str, str], tuple[str, ...]]:
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


def _read_metadata(src: str, name: str) -> tuple[str, str]:
    """(commit, hash) that ``hf download --local-dir`` noted for a file, or ("", "")."""
    try:
        with open(os.path.join(src, _METADATA, name + ".metadata"), encoding="utf-8") as stream:
            commit, etag = stream.readline().strip(), stream.readline().strip().strip('"')
    except (OSError, UnicodeDecodeError):
        return "", ""
    return (commit, etag) if COMMIT.fullmatch(commit) and format_hash(etag) else ("", "")


def _hash_sources(
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


def _find_commit(
    src: str, revision: str | None, etags: Mapping[str, tuple[str, str]], files: tuple[AdoptFile, ...]
) -> tuple[str, Origin, tuple[str, ...]]:
    """Which commit these files are, where that is known from, and what to say about it."""
    notes: tuple[str, ...] = ()
    origin: Origin = "git HEAD"
    noted = _read_git_head(src)
    commits = {commit for commit, _ in etags.values() if commit}
    altered = [file.name for file in files if etags[file.name][1] not in ("", file.blob)]
    if noted:
        notes = (f"the files are taken to be those of HEAD; `git -C {src} status` says whether they are",)
    elif altered:
        notes = (f"changed since they were downloaded: {', '.join(altered[:5])}",)
    elif len(commits) > 1:
        notes = (f"the files were downloaded from {len(commits)} different commits",)
    else:
        noted, origin = "".join(commits), "download metadata"
    if revision is not None and noted not in ("", revision):
        raise AdoptError(f"--revision {revision} is not what {origin} says ({noted}); leave it out to take that")
    if revision is not None or noted:
        return revision or noted, "given" if revision is not None else origin, notes
    listing = "".join(f"{file.name}\0{file.blob}\n" for file in files).encode("utf-8", "surrogateescape")
    commit = (SYNTHETIC + hashlib.sha1(listing, usedforsecurity=False).hexdigest())[:40]
    words = f"the commit is not known; {commit} is used in its place, made of the files' names and hashes"
    return commit, "synthetic", (*notes, words)


def _read_git_head(src: str) -> str:
    """The commit of a clone's HEAD, or "" where there is none or no git."""
    command = ["git", "--git-dir", os.path.join(src, ".git"), "rev-parse", "--verify", "HEAD"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return run.stdout.strip()


# --- running: blobs, then the snapshot, then the ref ----------------------------------------------


def run_adopt(plan: AdoptPlan, progress: Progress | None = None) -> Adopted:
    """Carry a plan out. What is there already is left as it is; run again, it changes nothing.

    Blobs are staged in the repo's folder and renamed, the snapshot is built aside and renamed, refs/main comes last:
    cut off at any moment, the cache holds at most complete blobs that no ref leads to, and the next run goes on there.

    Args:
        plan: of :func:`plan_adopt`.
        progress: called with (bytes in place, bytes in all).

    Raises:
        AdoptError: no space, no permission, no hard link (mode "link"), or a source that changed since it was planned.
    """
    complete = all(plan.has_blob(file) and os.path.exists(plan.get_link(file)) for file in plan.files)
    if complete and plan.repo.read_ref() == plan.commit:
        return Adopted(plan.snapshot, present=len(plan.files), changed=False)
    folder = plan.repo.folder
    staging = os.path.join(folder, _STAGING)
    is_new = not os.path.exists(folder)
    try:
        shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
        for part in ("blobs", "snapshots", _STAGING):
            os.makedirs(os.path.join(folder, part), exist_ok=True)
        arrivals: list[str] = []
        done, total = 0, sum(file.size for file in plan.files)
        for file in plan.files:
            arrivals.append(_place_blob(plan, file, os.path.join(staging, file.blob)))
            done += file.size
            if progress is not None:
                progress(done, total)
        _place_snapshot(plan, os.path.join(staging, "snapshot"))
        write_ref(plan.repo, plan.commit)
        return Adopted(plan.snapshot, arrivals.count("linked"), arrivals.count("copied"), arrivals.count("present"))
    except OSError as error:
        place = error.filename2 or error.filename or folder  # of a rename, where it was to lead
        raise AdoptError(f"{place}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new and not list_names(os.path.join(folder, "blobs")):  # failed before the first blob
            shutil.rmtree(folder, ignore_errors=True)


def _place_blob(plan: AdoptPlan, file: AdoptFile, draft: str) -> str:
    if plan.has_blob(file):
        return "present"
    linked = False
    if plan.mode != "copy":
        try:
            os.link(file.source, draft)
            linked = True
        except OSError as error:
            if plan.mode == "link" or error.errno not in _NO_LINKS:
                raise AdoptError(f"{file.source} cannot be hard-linked ({error.strerror}); use --copy") from error
    if not linked:
        shutil.copyfile(file.source, draft)
    if os.stat(draft).st_size != file.size or os.stat(file.source).st_mtime_ns != file.modified_ns:
        raise AdoptError(f"{file.source} changed while it was adopted; run adopt again when it is at rest")
    os.replace(draft, plan.get_blob(file))
    return "linked" if linked else "copied"


def _place_snapshot(plan: AdoptPlan, aside: str) -> None:
    """A new snapshot appears complete, by one rename; one that is there gets what it lacks, file by file."""
    lacking = [file for file in plan.files if not os.path.exists(plan.get_link(file))]
    if not os.path.isdir(plan.snapshot):
        for file in lacking:
            _link_file(plan, file, os.path.join(aside, *file.name.split("/")))
        os.rename(aside, plan.snapshot)
        return
    for file in lacking:
        if os.path.islink(plan.get_link(file)):
            os.remove(plan.get_link(file))
        _link_file(plan, file, plan.get_link(file))


def _link_file(plan: AdoptPlan, file: AdoptFile, path: str) -> None:
    """A relative link, as seen from the snapshot's final place; a real file where links cannot be made."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    blob = plan.get_blob(file)
    try:
        os.symlink(os.path.relpath(blob, os.path.dirname(plan.get_link(file))), path)
    except (OSError, NotImplementedError):
        shutil.copyfile(blob, path)


def write_ref(repo: CachedRepo, commit: str) -> None:
    """Write a ref by one rename, without a newline: the Hub library would take it as part of the commit."""
    if repo.read_ref() != commit:
        os.makedirs(os.path.dirname(repo.ref_path), exist_ok=True)
        draft = os.path.join(repo.folder, ".ref")
        with open(draft, "w", encoding="ascii", newline="") as stream:
            stream.write(commit)
        os.replace(draft, repo.ref_path)
