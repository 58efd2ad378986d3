"""Turn a flat download or a git clone of a model into the Hugging Face cache's layout, all of it or nothing."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from typing import Literal

from rewriter.checkout import open_regular
from rewriter.verify.adopt_source import AdoptError as AdoptError
from rewriter.verify.adopt_source import (
    AdoptFile,
    Origin,
    find_commit,
    find_files,
    hash_sources,
    is_inside,
    read_line,
    read_metadata,
    refuse_folder_of_models,
)
from rewriter.verify.hashing import Progress
from rewriter.verify.snapshots import COMMIT, get_repo_folder, is_hub_repo_id

Mode = Literal["auto", "copy", "link"]
Arrival = Literal["linked", "copied", "present"]

_STAGING = ".adopt-"
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EACCES)


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
        return get_repo_folder(self.cache_dir, self.repo_id)

    @property
    def snapshot(self) -> str:
        """The commit's folder."""
        return os.path.join(self.folder, "snapshots", self.commit)

    @property
    def ref(self) -> str:
        """The file that makes the commit the repo's ``main``."""
        return os.path.join(self.folder, "refs", "main")

    def get_blob(self, file: AdoptFile) -> str:
        """Where a file's content will be."""
        return os.path.join(self.folder, "blobs", file.blob)

    def get_link(self, file: AdoptFile) -> str:
        """Where the snapshot has the file."""
        return os.path.join(self.snapshot, *file.name.split("/"))


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
    jobs: int | None = None,
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
        jobs, progress: as for :func:`rewriter.verify.hashing.hash_files`.

    Raises:
        AdoptError: the folder, the id or the cache is not fit for it; the message says what to do.
    """
    src = os.path.abspath(src)
    try:
        _check_request(src, repo_id, cache_dir, revision)
        names, notes = find_files(src)
        etags = {name: read_metadata(src, name) for name in names}
        files = hash_sources(src, names, etags, jobs, progress)
        commit, origin, more = find_commit(src, revision, etags, files)
        plan = AdoptPlan(src, repo_id, cache_dir, commit, origin, files, mode, (*notes, *more))
        _check_snapshot(plan)
        _check_ref(plan, replace_ref)
    except OSError as error:
        raise AdoptError(f"{error.filename or src}: {error.strerror or error}") from error
    return plan


def _check_request(src: str, repo_id: str, cache_dir: str, revision: str | None) -> None:
    if "/" not in repo_id or not is_hub_repo_id(repo_id):
        raise AdoptError(f"--repo {repo_id!r} is not ORG/NAME as the Hub writes it")
    if revision is not None and not COMMIT.fullmatch(revision):
        raise AdoptError(f"--revision {revision!r} is not a commit (40 hex digits); leave it out if you do not know it")
    if not os.path.isabs(cache_dir):
        raise AdoptError(f"cache directory {cache_dir!r} is not absolute")
    if not os.path.isdir(src):
        raise AdoptError(f"{src} is not a folder; name the one that holds config.json and the weights")
    if all(os.path.isdir(os.path.join(src, part)) for part in ("blobs", "snapshots")):
        raise AdoptError(
            f"{src} is in the cache's layout already; to have it elsewhere, copy it with its links (cp -a)"
        )
    models = sorted(name for name in os.listdir(src) if name.startswith("models--"))
    if models:
        raise AdoptError(f"{src} is a cache itself (it holds {models[0]}); name the folder of one model's files")
    if is_inside(os.path.realpath(cache_dir), os.path.realpath(src)):
        raise AdoptError(f"the cache {cache_dir} is inside {src}; name a cache outside of it")
    refuse_folder_of_models(src, repo_id)


# --- what is in the cache already -----------------------------------------------------------------


def _check_snapshot(plan: AdoptPlan) -> None:
    """A snapshot that is there may be completed, never contradicted."""
    for file in plan.files:
        path = plan.get_link(file)
        differs = ""
        if os.path.islink(path):
            differs = "content" if os.path.basename(os.readlink(path)) != file.blob else ""
        elif os.path.exists(path) and os.stat(path).st_size != file.size:
            differs = "size"
        if differs:
            raise AdoptError(f"{path} has another {differs}; remove {plan.snapshot} if {plan.source} is right")


def _check_ref(plan: AdoptPlan, replace_ref: bool) -> None:
    present = read_line(plan.ref)
    if present and present != plan.commit and not replace_ref:
        raise AdoptError(
            f"{plan.ref} is commit {present} and not {plan.commit}: {plan.repo_id} is in this cache already; "
            f"give another --cache-dir, or --replace-ref to make {plan.commit} its main (the other snapshot stays)"
        )


def _has_blob(plan: AdoptPlan, file: AdoptFile) -> bool:
    try:
        return os.stat(plan.get_blob(file)).st_size == file.size
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
        AdoptError: no space, no permission, no hard link (mode "link"), or a source that changed since it was planned.
    """
    complete = all(_has_blob(plan, file) and os.path.exists(plan.get_link(file)) for file in plan.files)
    if complete and has_ref(plan.ref, plan.commit):
        return Adopted(plan.snapshot, present=len(plan.files), changed=False)
    staging = os.path.join(plan.folder, f"{_STAGING}{os.getpid()}")
    made = [path for path in (plan.cache_dir, plan.folder) if not os.path.isdir(path)]
    try:
        for part in ("blobs", "refs", "snapshots"):
            os.makedirs(os.path.join(plan.folder, part), exist_ok=True)
        _remove_leftovers(plan.folder)
        os.mkdir(staging)
        counts = _place_blobs(plan, staging, progress)
        _place_snapshot(plan, staging)
        write_ref(plan.ref, plan.commit, staging)
        return Adopted(plan.snapshot, counts["linked"], counts["copied"], counts["present"])
    except OSError as error:
        place = error.filename2 or error.filename or plan.folder  # of a rename, where it was to lead
        raise AdoptError(f"{place}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_empty(plan.folder, made)


def _remove_leftovers(folder: str) -> None:
    """Clear what killed runs left behind."""
    for name in os.listdir(folder):
        pid = name.removeprefix(_STAGING)
        if name.startswith(_STAGING) and not (pid.isdecimal() and int(pid) != os.getpid() and _is_running(int(pid))):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # pragma: no cover - Windows, where os.kill would end it
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # another user's
    return True


def _remove_empty(folder: str, made: list[str]) -> None:
    """A run that failed before its first blob leaves no folders of its own."""
    if not made:
        return
    for path in (*(os.path.join(folder, part) for part in ("blobs", "refs", "snapshots")), *reversed(made)):
        try:
            os.rmdir(path)
        except OSError:
            return


def _place_blobs(plan: AdoptPlan, staging: str, progress: Progress | None) -> dict[Arrival, int]:
    counts: dict[Arrival, int] = {"linked": 0, "copied": 0, "present": 0}
    total, done = sum(file.size for file in plan.files), 0
    for file in plan.files:
        counts[_place_blob(plan, file, staging)] += 1
        done += file.size
        if progress is not None:
            progress(done, total)
    return counts


def _place_blob(plan: AdoptPlan, file: AdoptFile, staging: str) -> Arrival:
    if _has_blob(plan, file):
        return "present"
    draft = os.path.join(staging, file.blob)
    arrival = _bring_blob(plan, file, draft)
    if os.stat(draft).st_size != file.size or os.stat(file.source).st_mtime_ns != file.modified_ns:
        raise AdoptError(f"{file.source} changed while it was adopted; run adopt again when it is at rest")
    os.replace(draft, plan.get_blob(file))
    return arrival


def _bring_blob(plan: AdoptPlan, file: AdoptFile, draft: str) -> Arrival:
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
        raise AdoptError(f"no space in {plan.cache_dir}: {file.name} takes {file.size:,} bytes, {free:,} are free")
    shutil.copyfile(file.source, draft)
    with open(draft, "rb+") as stream:
        os.fsync(stream.fileno())
    return "copied"


def _place_snapshot(plan: AdoptPlan, staging: str) -> None:
    """A new snapshot appears complete, by one rename; one that is there gets what it lacks, file by file."""
    aside = os.path.join(staging, "snapshot")
    lacking = [file for file in plan.files if not os.path.exists(plan.get_link(file))]
    drafts = {file.name: os.path.join(aside, *file.name.split("/")) for file in lacking}
    for file in lacking:
        _link_file(plan, file, drafts[file.name])
    if lacking and not os.path.isdir(plan.snapshot):
        try:
            os.rename(aside, plan.snapshot)
            return
        except OSError:
            if not os.path.isdir(plan.snapshot):  # else another run was first
                raise
    for file in lacking:
        os.makedirs(os.path.dirname(plan.get_link(file)), exist_ok=True)
        os.replace(drafts[file.name], plan.get_link(file))


def _link_file(plan: AdoptPlan, file: AdoptFile, path: str) -> None:
    """A relative link, as seen from the snapshot's final place; a real file where links cannot be made."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    blob = plan.get_blob(file)
    try:
        os.symlink(os.path.relpath(blob, os.path.dirname(plan.get_link(file))), path)
    except (OSError, NotImplementedError):
        try:
            os.link(blob, path)
        except OSError:
            shutil.copyfile(blob, path)


def has_ref(path: str, commit: str) -> bool:
    """Whether a ref is there and holds the bare commit."""
    try:
        with open_regular(path) as stream:
            return stream.read(64) == commit.encode()
    except OSError:
        return False


def write_ref(path: str, commit: str, staging: str) -> None:
    """Write a ref by one rename, without a newline: the Hub library would take it as part of the commit."""
    if has_ref(path, commit):
        return
    draft = os.path.join(staging, "ref")
    with open(draft, "w", encoding="ascii", newline="") as stream:
        stream.write(commit)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(draft, path)
