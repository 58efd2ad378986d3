"""Find a repo's snapshot in a cache: from repo id and revision to a commit's folder, or the one reason why not."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from rewriter.decide.remedies import cached_repos, did_you_mean
from rewriter.locality import is_repo_id
from rewriter.verify.directories import (
    Trouble,
    describe_unreadable,
    find_flat_folder,
    format_adopt,
    format_download,
    list_names,
)

COMMIT = re.compile(r"[0-9a-f]{40}")
SYNTHETIC = "ad09ed00"
"""How a commit begins that ``adopt`` made of the files' hashes: no Hub knows it."""


def is_hub_repo_id(text: str) -> bool:
    """Whether the Hub takes ``text`` as a repo id (``huggingface_hub.utils.validate_repo_id``)."""
    return is_repo_id(text) and not text.endswith((".git", ".", "-"))


def get_repo_folder(cache_dir: str, repo_id: str) -> str:
    """``models--ORG--NAME``, as the Hub library names it."""
    return os.path.join(cache_dir, "models--" + repo_id.replace("/", "--"))


def format_ref(commit: str, path: str) -> str:
    """The command that writes a ref: the bare commit, without a newline."""
    return f"mkdir -p {shlex.quote(os.path.dirname(path))} && printf %s {shlex.quote(commit)} > {shlex.quote(path)}"


@dataclass(frozen=True)
class CachedRepo:
    """One repo at one revision in one cache. Reads on demand and keeps what it read.

    ``subfolders``: what a download command is to be limited to. ``key``: the keyword of the config that names the repo.
    """

    cache_dir: str
    repo_id: str
    revision: str | None = None
    hard_coded: bool = False
    subfolders: tuple[str, ...] = ()
    key: str = "from_pretrained"

    @property
    def ref(self) -> str:
        """The revision that is read; ``main`` where none is requested."""
        return self.revision or "main"

    @property
    def folder(self) -> str:
        """The repo's folder in the cache."""
        return get_repo_folder(self.cache_dir, self.repo_id)

    @property
    def ref_path(self) -> str:
        """The file that says which commit the revision is."""
        return os.path.join(self.folder, "refs", self.ref)

    @cached_property
    def blobs(self) -> frozenset[str]:
        """Names in blobs/, the unfinished ones (HASH.incomplete, HASH.RANDOM.incomplete) too."""
        return list_names(os.path.join(self.folder, "blobs"))

    @property
    def unfinished(self) -> list[str]:
        """Downloads of which the complete blob is not there."""
        return sorted(n for n in self.blobs if n.endswith(".incomplete") and n.split(".")[0] not in self.blobs)

    @cached_property
    def snapshots(self) -> frozenset[str]:
        """The commits that snapshots/ holds."""
        return list_names(os.path.join(self.folder, "snapshots"))

    def get_snapshot(self, *commit: str) -> str:
        """The folder of a commit; without one, the folder of all."""
        return os.path.join(self.folder, "snapshots", *commit)

    def has_files(self, commit: str) -> bool:
        """Whether a snapshot holds any file."""
        return any(files for _, _, files in os.walk(self.get_snapshot(commit)))

    def list_snapshots(self) -> list[str]:
        """The commits whose snapshots hold files, the newest first."""
        filled = [commit for commit in sorted(self.snapshots) if self.has_files(commit)]
        return sorted(filled, key=lambda commit: os.stat(self.get_snapshot(commit)).st_mtime, reverse=True)

    def format_download(self, files: Iterable[str] = (), *, force: bool = False, revision: str | None = None) -> str:
        """The command that fetches what the loaders read, or some files of it, into this cache.

        A commit that ``adopt`` made up is never requested: the Hub then gives another snapshot, so all is fetched.
        """
        revision = revision or self.revision
        if revision is not None and revision.startswith(SYNTHETIC):
            revision, files = None, ()
        return format_download(
            self.repo_id,
            self.cache_dir,
            revision=revision,
            files=sorted(files),
            subfolders=self.subfolders,
            force=force,
        )

    def read_ref(self) -> str | None:
        """What the revision's ref holds, byte for byte, or None where there is none."""
        if os.pardir in self.ref.split("/") or "\0" in self.ref:
            return None
        try:
            with open(self.ref_path, encoding="latin-1", newline="") as stream:
                return stream.read(4096)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def find_commit(self) -> str | Trouble:
        """The commit that the Hub library would read offline, or why none."""
        if not is_hub_repo_id(self.repo_id):
            remedy = "give ORG/NAME, as the model's page on the Hub shows it"
            return Trouble("OSR107", f"{self.repo_id!r} is not a repo id, so no cache holds it", remedy)
        try:
            if "snapshots" in os.listdir(self.folder):
                os.listdir(self.get_snapshot())
            ref = self.read_ref()
        except (FileNotFoundError, NotADirectoryError):
            return self._describe_absent()
        except OSError as error:
            return describe_unreadable(self.folder, error)
        commit = self.ref if ref is None else ref
        clean = re.sub("[^0-9a-f]", "", commit)
        if commit in self.snapshots and (self.has_files(commit) or not self.blobs):
            return commit
        if commit not in self.snapshots and clean in self.snapshots:
            message = f"{self.repo_id}: {self.ref_path} holds {commit[:80]!r}; the Hub library takes all of it"
            return Trouble("OSR109", f"{message} as the commit", format_ref(clean, self.ref_path))
        if self.unfinished:
            return self.describe_unfinished()
        if self.blobs and (commit in self.snapshots or not os.path.isdir(self.get_snapshot())):
            message = f"{self.repo_id}: {self.get_snapshot()} is empty though blobs/ is not: links were dropped"
            return Trouble("OSR111", message, self.format_recopy())
        if ref is None and not COMMIT.fullmatch(self.ref):
            return self._describe_no_ref()
        holds = f" (it holds {', '.join(sorted(self.snapshots)[:3])})" if self.snapshots else ""
        message = f"{self.repo_id}: {self.ref!r} is commit {clean[:80]!r}, which {self.get_snapshot()} does not hold"
        return Trouble("OSR110", message + holds, self.format_download())

    # --- why not ----------------------------------------------------------------------------------

    def _describe_absent(self) -> Trouble:
        message = f"{self.repo_id} is not in {self.cache_dir}"
        if self.hard_coded:
            message += "; the loader's own source names this repo, no config does"
        flat = find_flat_folder(self.cache_dir, self.repo_id)
        if flat is not None:
            message = f"{message} in the cache's layout, but its files lie flat in {flat}"
            return Trouble("OSR106", message, format_adopt(flat, self.repo_id, self.cache_dir))
        above, own = os.path.split(os.path.normpath(self.cache_dir))
        for beside in (*([above] if own == "hub" else []), os.path.join(self.cache_dir, "hub")):
            other = get_repo_folder(beside, self.repo_id)
            if list_names(os.path.join(other, "snapshots")):
                return Trouble("OSR107", f"{message}, but in {beside}", shlex.join(["mv", other, self.cache_dir]))
        cached = cached_repos(self.cache_dir)
        meant = did_you_mean(self.repo_id, cached)
        if meant is not None and not self.hard_coded:
            where = ", which is in the cache" if meant in cached else ""
            remedy = f"opensora-rewriter rewrite {{path}} --set {{component}}.{self.key}={meant}"
            return Trouble("OSR107", f"{message}; did you mean {meant}{where}?", remedy)
        return Trouble("OSR107", message, self.format_download())

    def _describe_no_ref(self) -> Trouble:
        message = f"{self.repo_id}: {self.ref_path} is not there, so nothing says which commit to read"
        if not self.snapshots:
            absent = self._describe_absent()
            message = f"{absent.message} (its folder {self.folder} holds no snapshot)"
            return Trouble(absent.code, message, absent.remedy)
        commits = self.list_snapshots() if self.ref == "main" else []
        return Trouble("OSR108", message, format_ref(commits[0], self.ref_path) if commits else self.format_download())

    def format_recopy(self, *, force: bool = False) -> str:
        """How to copy a repo's folder with its links; ``force``: a download has to replace the files in their place."""
        return (
            f"copy it again with its links: rsync -a SOURCE/{shlex.quote(os.path.basename(self.folder))} "
            f"{shlex.quote(self.cache_dir + '/')} (or cp -a, or tar); or: {self.format_download(force=force)}"
        )

    def describe_unfinished(self, requested: Iterable[str] = ()) -> Trouble:
        """The trouble of a download that was interrupted."""
        listed = ", ".join(requested)
        names = ", ".join(self.unfinished[:3])
        message = f"{self.repo_id}: a download did not finish: {names} in {os.path.join(self.folder, 'blobs')}"
        return Trouble("OSR116", f"{message}; requested: {listed}" if listed else message, self.format_download())
