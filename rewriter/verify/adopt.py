"""Turn a flat download or a git clone of a model into the Hugging Face cache's layout, all of it or nothing."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from typing import Literal

from rewriter.verify.adopt_source import (
    AdoptError,
    AdoptFile,
    Origin,
    find_commit,
    find_files,
    hash_sources,
    read_metadata,
    refuse_other_folders,
)
from rewriter.verify.directories import list_names
from rewriter.verify.files import Progress
from rewriter.verify.snapshots import COMMIT, CachedRepo, is_hub_repo_id

__all__ = ["AdoptError", "AdoptPlan", "Adopted", "plan_adopt", "run_adopt", "write_ref"]

Mode = Literal["auto", "copy", "link"]

_STAGING = ".adopt"
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EACCES)


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
        refuse_other_folders(src, repo_id)
        names, notes = find_files(src)
        etags = {name: read_metadata(src, name) for name in names}
        files = hash_sources(names, etags, progress)
        commit, origin, more = find_commit(src, revision, etags, files)
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
        arrivals = []
        done, total = 0, sum(file.size for file in plan.files)
        for file in plan.files:
            arrivals.append(_place_blob(plan, file, os.path.join(staging, file.blob)))
            done += file.size
            if progress is not None:
                progress(done, total)
        _place_snapshot(plan, os.path.join(staging, "snapshot"))
        write_ref(plan.repo, plan.commit)
        return Adopted(plan.snapshot, *(arrivals.count(way) for way in ("linked", "copied", "present")))
    except OSError as error:
        place = error.filename2 or error.filename or folder  # of a rename, where it was to lead
        raise AdoptError(f"{place}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new and not list_names(os.path.join(folder, "blobs")):  # failed before the first blob
            shutil.rmtree(folder, ignore_errors=True)


def _place_blob(plan: AdoptPlan, file: AdoptFile, draft: str) -> Literal["linked", "copied", "present"]:
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
        free = shutil.disk_usage(plan.repo.folder).free
        if free < file.size:
            space = f"{file.name} takes {file.size:,} bytes, {free:,} are free"
            raise AdoptError(f"no space in {plan.repo.cache_dir}: {space}")
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
