"""Turn a flat download or a git clone of a model into the Hugging Face cache's layout, all of it or nothing."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Literal

from rewriter.cache.content import judge
from rewriter.cache.hashing import HashKind, Progress, hash_files
from rewriter.cache.repo import is_repo_id
from rewriter.checkout import open_regular
from rewriter.writer import lives

Mode = Literal["auto", "copy", "link"]
Origin = Literal["given", "download metadata", "git HEAD", "synthetic"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_METADATA = os.path.join(".cache", "huggingface", "download")
_SKIPPED_FOLDERS = (".git", os.path.join(".cache", "huggingface"))
# Where neither .gitattributes nor download metadata tells: the suffixes that the Hub keeps in LFS, and its size limit.
_LFS_SUFFIXES = (
    ".bin",
    ".safetensors",
    ".model",
    ".pt",
    ".pth",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".onnx",
    ".gguf",
    ".npz",
    ".zip",
)
_LFS_BYTES = 10 * 1000 * 1000
_STAGING = ".adopt-"
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EACCES)


class AdoptError(Exception):
    """What stands in the way, in words with a remedy. Nothing was changed, or only whole blobs were added."""


@dataclass(frozen=True, slots=True)
class AdoptFile:
    """One file: posix name in the repo, where it lies, size in bytes, its blob's name, its mtime when it was hashed."""

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
    repo_id: str
    cache_dir: str
    commit: str
    origin: Origin
    files: tuple[AdoptFile, ...]
    mode: Mode = "auto"
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The repo's folder in the cache."""
        return os.path.join(self.cache_dir, "models--" + self.repo_id.replace("/", "--"))

    @property
    def snapshot(self) -> str:
        """The commit's folder."""
        return os.path.join(self.folder, "snapshots", self.commit)

    @property
    def ref(self) -> str:
        """The file that makes the commit the repo's ``main``."""
        return os.path.join(self.folder, "refs", "main")

    def blob(self, file: AdoptFile) -> str:
        """Where a file's content will lie."""
        return os.path.join(self.folder, "blobs", file.blob)


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was done: the snapshot's folder, blobs by way of arrival, and whether anything changed at all."""

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
    jobs: int | None = None,
    progress: Progress | None = None,
) -> AdoptPlan:
    """Read and hash a model's folder and decide what its place in the cache is.

    Args:
        src: a clone, or a folder of ``hf download --local-dir``.
        repo_id: ``ORG/NAME``.
        cache_dir: the cache, absolute; it need not exist yet.
        revision: the commit (40 hex digits) that ``src`` is known to be.
        mode: "link": hard links only; "copy": copies; "auto": hard links where the file system allows.
        replace_ref: let ``refs/main`` move on from another commit.
        jobs, progress: as for :func:`rewriter.cache.hashing.hash_files`.

    Raises:
        AdoptError: the folder, the id or the cache is not fit for it; the message says what to do.
    """
    try:
        return _plan(src, repo_id, cache_dir, revision, mode, replace_ref, jobs, progress)
    except OSError as error:
        raise AdoptError(f"{error.filename or src}: {error.strerror or error}") from error


def _plan(
    src: str,
    repo_id: str,
    cache_dir: str,
    revision: str | None,
    mode: Mode,
    replace_ref: bool,
    jobs: int | None,
    progress: Progress | None,
) -> AdoptPlan:
    src = os.path.abspath(src)
    _check_request(src, repo_id, cache_dir, revision)
    names = _sources(src)
    etags = {name: _metadata(src, name) for name in names}
    files = _hashed(src, names, etags, jobs, progress)
    commit, origin, notes = _commit(src, revision, etags, files)
    plan = AdoptPlan(src, repo_id, cache_dir, commit, origin, files, mode, notes)
    _check_snapshot(plan)
    _check_ref(plan, replace_ref)
    return plan


def _check_request(src: str, repo_id: str, cache_dir: str, revision: str | None) -> None:
    if "/" not in repo_id or not is_repo_id(repo_id):
        raise AdoptError(f"--repo {repo_id!r} is not ORG/NAME as the Hub writes it")
    if revision is not None and not _COMMIT.fullmatch(revision):
        raise AdoptError(f"--revision {revision!r} is not a commit (40 hex digits); leave it out if you do not know it")
    if not os.path.isabs(cache_dir):
        raise AdoptError(f"cache directory {cache_dir!r} is not absolute")
    if not os.path.isdir(src):
        raise AdoptError(f"{src} is not a folder; name the one that holds config.json and the weights")
    if all(os.path.isdir(os.path.join(src, part)) for part in ("blobs", "snapshots")):
        raise AdoptError(
            f"{src} is in the cache's layout already; copy it with its links (cp -a) to adopt it elsewhere"
        )
    models = sorted(name for name in os.listdir(src) if name.startswith("models--"))
    if models:
        raise AdoptError(f"{src} is a cache itself (it holds {models[0]}); name the folder of one model's files")
    if _inside(os.path.realpath(cache_dir), os.path.realpath(src)):
        raise AdoptError(f"the cache {cache_dir} lies inside {src}; name a cache outside of it")


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _sources(src: str) -> dict[str, str]:
    """Every file to adopt: posix name -> real path. Links may point about inside ``src``, not out of it."""
    root = os.path.realpath(src)
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(src, onerror=_give_up):
        inside = "" if folder == src else os.path.relpath(folder, src)
        kept = []
        for name in folders:
            path = os.path.join(folder, name)
            if os.path.join(inside, name) in _SKIPPED_FOLDERS:
                continue
            if os.path.islink(path):
                raise AdoptError(f"{path} is a link to a folder; replace it by the folder itself")
            kept.append(name)
        folders[:] = kept
        for name in names:
            path = os.path.join(folder, name)
            if os.path.join(inside, name) != ".git":  # a file in a submodule or a work tree
                found[os.path.join(inside, name).replace(os.sep, "/")] = _real(path, root)
    _refuse_pointers(src, found)
    if not found:
        raise AdoptError(f"{src} holds no files")
    return dict(sorted(found.items()))


def _give_up(error: OSError) -> None:
    raise error


def _real(path: str, root: str) -> str:
    real = os.path.realpath(path)
    if not _inside(real, root):
        raise AdoptError(f"{path} is a link that leads out of the folder, to {real}; put the file itself there")
    if not stat.S_ISREG(os.stat(real).st_mode):
        raise AdoptError(f"{path} is not a regular file")
    return real


def _refuse_pointers(src: str, found: Mapping[str, str]) -> None:
    pointers = [name for name, path in found.items() if os.stat(path).st_size < 1024 and judge(path).state == "pointer"]
    if pointers:
        listed = ", ".join(sorted(pointers)[:5])
        raise AdoptError(f"Git-LFS pointers in place of weights: {listed}; run `git lfs pull` in {src} first")


def _metadata(src: str, name: str) -> tuple[str, str]:
    """(commit, hash) that ``hf download --local-dir`` noted for a file, or ("", "")."""
    try:
        path = os.path.join(src, _METADATA, *name.split("/")) + ".metadata"
        with TextIOWrapper(open_regular(path), encoding="utf-8") as stream:
            commit, etag = stream.readline().strip(), stream.readline().strip().strip('"')
    except (OSError, ValueError):
        return "", ""
    return (commit, etag) if _COMMIT.fullmatch(commit) and _HEX.fullmatch(etag) else ("", "")


def _hashed(
    src: str,
    names: Mapping[str, str],
    etags: Mapping[str, tuple[str, str]],
    jobs: int | None,
    progress: Progress | None,
) -> tuple[AdoptFile, ...]:
    patterns = _attributes(src)
    infos = {name: os.stat(path) for name, path in names.items()}
    kinds = {name: _kind(name, infos[name].st_size, etags[name][1], patterns) for name in names}
    hashes = hash_files([(names[name], kinds[name]) for name in names], jobs=jobs, progress=progress)
    files = []
    for name, path in names.items():
        got = hashes[path, kinds[name]]
        if isinstance(got, OSError):
            raise AdoptError(f"{path} cannot be read: {got.strerror or got}") from got
        files.append(AdoptFile(name, path, infos[name].st_size, got, infos[name].st_mtime_ns))
    return tuple(files)


def _kind(name: str, size: int, etag: str, patterns: list[tuple[str, bool]] | None) -> HashKind:
    """How the Hub names this file's blob: by sha256 where it keeps the file in LFS, else as git does."""
    if etag:
        return "sha256" if len(etag) == 64 else "git-sha1"
    if patterns is None:
        return "sha256" if name.endswith(_LFS_SUFFIXES) or size > _LFS_BYTES else "git-sha1"
    lfs = False
    for pattern, on in patterns:
        if _matches(name, pattern):
            lfs = on
    return "sha256" if lfs or size > _LFS_BYTES else "git-sha1"


def _attributes(src: str) -> list[tuple[str, bool]] | None:
    """The patterns of .gitattributes that turn ``filter=lfs`` on or off, in order; None without such a file."""
    try:
        with open(os.path.join(src, ".gitattributes"), encoding="utf-8", errors="replace") as stream:
            rows = [line.split() for line in stream if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        return None
    return [
        (pattern, attribute == "filter=lfs")
        for pattern, *attributes in rows
        for attribute in attributes
        if attribute.lstrip("-!").partition("=")[0] == "filter"
    ]


def _matches(name: str, pattern: str) -> bool:
    """gitattributes' patterns: without a slash they match the last part of the name, else the whole of it."""
    if "/" not in pattern.rstrip("/"):
        return fnmatch.fnmatchcase(name.rsplit("/", 1)[-1], pattern)
    pattern = pattern.removeprefix("/")
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, pattern.replace("**/", ""))


# --- the commit ---------------------------------------------------------------------------------


def _commit(
    src: str, revision: str | None, etags: Mapping[str, tuple[str, str]], files: tuple[AdoptFile, ...]
) -> tuple[str, Origin, tuple[str, ...]]:
    """Which commit these files are, where that is known from, and what to say about it."""
    synthetic = _synthetic(files)
    told, origin, notes = _told_commit(src, etags, files)
    if revision is not None:
        if told and told != revision:
            raise AdoptError(
                f"--revision {revision} is not what {origin} says ({told}); leave --revision out to take that"
            )
        return revision, "given", notes
    if told:
        return told, origin, notes
    notes += (f"the commit is not known; {synthetic} stands for it, made of the files' names and hashes",)
    return synthetic, "synthetic", notes


def _told_commit(
    src: str, etags: Mapping[str, tuple[str, str]], files: tuple[AdoptFile, ...]
) -> tuple[str, Origin, tuple[str, ...]]:
    head = git_head(src)
    if head:
        return (
            head,
            "git HEAD",
            (f"the files are taken to be those of HEAD; `git -C {src} status` says whether they are",),
        )
    commits = {commit for commit, _ in etags.values() if commit}
    altered = [file.name for file in files if etags[file.name][1] not in ("", file.blob)]
    if altered:
        return "", "synthetic", (f"changed since they were downloaded: {', '.join(altered[:5])}",)
    if len(commits) > 1:
        return "", "synthetic", (f"the files were downloaded from {len(commits)} different commits",)
    return "".join(commits), "download metadata", ()


def _synthetic(files: tuple[AdoptFile, ...]) -> str:
    import hashlib

    listing = "".join(f"{file.name}\0{file.blob}\n" for file in files)
    return hashlib.sha1(listing.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def git_head(src: str) -> str:
    """The commit of a clone's HEAD, read from its files without running git, or "" where there is none."""
    folder = os.path.join(src, ".git")
    if os.path.isfile(folder):  # a submodule or a work tree: "gitdir: PATH"
        folder = os.path.join(src, _line(folder).removeprefix("gitdir:").strip())
    head = _line(os.path.join(folder, "HEAD"))
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else ""
    name = head.removeprefix("ref:").strip()
    if os.path.isabs(name) or os.pardir in name.split("/"):
        return ""
    shared = os.path.join(folder, _line(os.path.join(folder, "commondir")))
    for place in (folder, shared):
        found = _line(os.path.join(place, *name.split("/")))
        if _COMMIT.fullmatch(found):
            return found
    return _packed(os.path.join(shared, "packed-refs"), name)


def _line(path: str) -> str:
    try:
        with TextIOWrapper(open_regular(path), encoding="utf-8", errors="replace") as stream:
            return stream.readline(4096).strip()
    except OSError:
        return ""


def _packed(path: str, name: str) -> str:
    try:
        with TextIOWrapper(open_regular(path), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                commit, _, ref = line.strip().partition(" ")
                if ref == name and _COMMIT.fullmatch(commit):
                    return commit
    except OSError:
        pass
    return ""


# --- what is in the cache already -----------------------------------------------------------------


def _check_snapshot(plan: AdoptPlan) -> None:
    """A snapshot that is there may be completed, never contradicted."""
    for file in plan.files:
        path = os.path.join(plan.snapshot, *file.name.split("/"))
        if os.path.islink(path) and os.path.basename(os.readlink(path)) != file.blob:
            raise AdoptError(f"{path} is there with another content; remove {plan.snapshot} if {plan.source} is right")
        if not os.path.islink(path) and os.path.exists(path) and os.stat(path).st_size != file.size:
            raise AdoptError(f"{path} is there with another size; remove {plan.snapshot} if {plan.source} is right")


def _check_ref(plan: AdoptPlan, replace_ref: bool) -> None:
    there = _line(plan.ref)
    if there and there != plan.commit and not replace_ref:
        raise AdoptError(
            f"{plan.ref} is commit {there} and not {plan.commit}: {plan.repo_id} is in this cache already; "
            f"give another --cache-dir, or --replace-ref to make {plan.commit} its main (the other snapshot stays)"
        )


def _blob_done(plan: AdoptPlan, file: AdoptFile) -> bool:
    try:
        return os.stat(plan.blob(file)).st_size == file.size
    except OSError:
        return False


def _file_done(plan: AdoptPlan, file: AdoptFile) -> bool:
    return os.path.exists(os.path.join(plan.snapshot, *file.name.split("/")))


def _ref_done(plan: AdoptPlan) -> bool:
    try:
        with open_regular(plan.ref) as stream:
            return stream.read(64) == plan.commit.encode()
    except OSError:
        return False


# --- running: blobs, then the snapshot, then the ref ----------------------------------------------


def run_adopt(plan: AdoptPlan, progress: Progress | None = None) -> Adopted:
    """Carry a plan out. What is there already is left as it is; run again, it changes nothing.

    Blobs are staged in the repo's folder and renamed, the snapshot is built aside and renamed, refs/main comes last:
    cut off at any moment, the cache holds at most complete blobs that no ref leads to, and the next run goes on there.

    Args:
        plan: of :func:`plan_adopt`.
        progress: called with (bytes in place, bytes in all).

    Raises:
        AdoptError: no room, no permission, no hard link (mode "link"), or a source that changed since it was planned.
    """
    done = [_blob_done(plan, file) for file in plan.files]
    if all(done) and all(_file_done(plan, file) for file in plan.files) and _ref_done(plan):
        return Adopted(plan.snapshot, present=len(done), changed=False)
    staging = os.path.join(plan.folder, f"{_STAGING}{os.getpid()}")
    made = [path for path in (plan.cache_dir, plan.folder) if not os.path.isdir(path)]
    try:
        for part in ("blobs", "refs", "snapshots"):
            os.makedirs(os.path.join(plan.folder, part), exist_ok=True)
        _sweep(plan.folder)
        os.mkdir(staging)
        counts = _place_blobs(plan, staging, progress)
        _place_snapshot(plan, staging)
        _place_ref(plan, staging)
        return Adopted(plan.snapshot, counts["linked"], counts["copied"], counts["present"])
    except OSError as error:
        place = error.filename2 or error.filename or plan.folder  # of a rename, where it was to lead
        raise AdoptError(f"{place}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_empty(plan.folder, made)


def _sweep(folder: str) -> None:
    """Clear what killed runs left behind."""
    for name in os.listdir(folder):
        pid = name.removeprefix(_STAGING)
        if name.startswith(_STAGING) and not (pid.isdecimal() and int(pid) != os.getpid() and lives(int(pid))):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _remove_empty(folder: str, made: list[str]) -> None:
    """A run that failed before its first blob leaves no folders of its own."""
    if not made:
        return
    for path in (*(os.path.join(folder, part) for part in ("blobs", "refs", "snapshots")), *reversed(made)):
        try:
            os.rmdir(path)
        except OSError:
            return


def _place_blobs(plan: AdoptPlan, staging: str, progress: Progress | None) -> dict[str, int]:
    counts = {"linked": 0, "copied": 0, "present": 0}
    total, done = sum(file.size for file in plan.files), 0
    for file in plan.files:
        counts[_place_blob(plan, file, staging)] += 1
        done += file.size
        if progress is not None:
            progress(done, total)
    return counts


def _place_blob(plan: AdoptPlan, file: AdoptFile, staging: str) -> Literal["linked", "copied", "present"]:
    if _blob_done(plan, file):
        return "present"
    draft = os.path.join(staging, file.blob)
    how = _bring(plan, file, draft)
    info = os.stat(draft)
    if info.st_size != file.size or os.stat(file.source).st_mtime_ns != file.modified_ns:
        raise AdoptError(f"{file.source} changed while it was adopted; run adopt again when it is at rest")
    os.replace(draft, plan.blob(file))
    return how


def _bring(plan: AdoptPlan, file: AdoptFile, draft: str) -> Literal["linked", "copied"]:
    if plan.mode != "copy":
        try:
            os.link(file.source, draft)
        except OSError as error:
            if plan.mode == "link" or error.errno not in _NO_LINKS:
                raise AdoptError(f"{file.source} cannot be hard-linked ({error.strerror}); use --copy") from error
        else:
            return "linked"
    free = shutil.disk_usage(plan.folder).free
    if free < file.size:
        raise AdoptError(f"no room in {plan.cache_dir}: {file.name} takes {file.size:,} bytes, {free:,} are free")
    shutil.copyfile(file.source, draft)
    _flush(draft)
    return "copied"


def _flush(path: str) -> None:
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())


def _place_snapshot(plan: AdoptPlan, staging: str) -> None:
    """A new snapshot appears whole, by one rename; one that is there gets what it lacks, file by file."""
    aside = os.path.join(staging, "snapshot")
    lacking = [file for file in plan.files if not _file_done(plan, file)]
    for file in lacking:
        _link_file(plan, file, os.path.join(aside, *file.name.split("/")))
    if lacking and not os.path.isdir(plan.snapshot):
        try:
            os.rename(aside, plan.snapshot)
            lacking = []
        except OSError:
            if not os.path.isdir(plan.snapshot):  # else another run was first
                raise
    for file in lacking:
        target = os.path.join(plan.snapshot, *file.name.split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(os.path.join(aside, *file.name.split("/")), target)


def _link_file(plan: AdoptPlan, file: AdoptFile, path: str) -> None:
    """A relative link, seen from the snapshot's final place; a real file where links cannot be made."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    final = os.path.join(plan.snapshot, *file.name.split("/"))
    try:
        os.symlink(os.path.relpath(plan.blob(file), os.path.dirname(final)), path)
    except (OSError, NotImplementedError):
        try:
            os.link(plan.blob(file), path)
        except OSError:
            shutil.copyfile(plan.blob(file), path)


def _place_ref(plan: AdoptPlan, staging: str) -> None:
    if _ref_done(plan):
        return
    draft = os.path.join(staging, "ref")
    with open(draft, "w", encoding="ascii", newline="") as stream:
        stream.write(plan.commit)  # no newline: the Hub library would take it as part of the commit
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(draft, plan.ref)
