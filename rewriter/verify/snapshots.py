"""Find a repo's snapshot in a cache: from repo id and revision to a commit's folder, or the one reason why not."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from rewriter.checkout import open_regular
from rewriter.decide.remedies import cached_repos, did_you_mean
from rewriter.locality import is_repo_id
from rewriter.verify.directories import (
    Trouble,
    describe_unreadable,
    format_adopt,
    format_download,
)
from rewriter.verify.flat_models import find_flat_folder, list_names

COMMIT = re.compile(r"[0-9a-f]{40}")
SYNTHETIC = "ad09ed00"
"""How a commit begins that ``adopt`` made of the files' hashes: no Hub knows it."""
_REF_BYTES = 4096


def is_hub_repo_id(text: str) -> bool:
    """Whether the Hub takes ``text`` as a repo id (``huggingface_hub.utils.validate_repo_id``)."""
    return is_repo_id(text) and not text.endswith((".git", ".", "-"))


def get_repo_folder(cache_dir: str, repo_id: str) -> str:
    """``models--ORG--NAME``, as the Hub library names it."""
    return os.path.join(cache_dir, "models--" + repo_id.replace("/", "--"))


def format_ref(commit: str, path: str) -> str:
    """The command that writes a ref: the bare commit, without a newline."""
    return f"printf %s {shlex.quote(commit)} > {shlex.quote(path)}"


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
        """Names in blobs/, the unfinished ones too."""
        return list_names(os.path.join(self.folder, "blobs"))

    @property
    def incomplete(self) -> list[str]:
        """Unfinished downloads: HASH.incomplete, or HASH.RANDOM.incomplete from hub 1.x on."""
        return sorted(name for name in self.blobs if name.endswith(".incomplete"))

    @property
    def unfinished(self) -> list[str]:
        """Those whose complete blob is not there."""
        return [name for name in self.incomplete if name.split(".")[0] not in self.blobs]

    @property
    def has_blobs(self) -> bool:
        """Whether blobs/ holds anything complete."""
        return len(self.blobs) > len(self.incomplete)

    @cached_property
    def snapshots(self) -> frozenset[str]:
        """The commits that snapshots/ holds."""
        return list_names(os.path.join(self.folder, "snapshots"))

    def get_snapshot(self, commit: str) -> str:
        """The folder of a commit."""
        return os.path.join(self.folder, "snapshots", commit)

    def format_download(self, files: Iterable[str] = (), *, force: bool = False, revision: str | None = None) -> str:
        """The command that fetches what the loaders read, or some files of it, into this cache.

        A commit that ``adopt`` made up is never asked for: the Hub then gives another snapshot, so all is fetched.
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

    # --- which commit is read -------------------------------------------------------------------

    def find_commit(self) -> str | Trouble:
        """The commit that the Hub library would read offline, or why none."""
        if not is_hub_repo_id(self.repo_id):
            remedy = "give ORG/NAME, as the model's page on the Hub shows it"
            return Trouble("OSR107", f"{self.repo_id!r} is not a repo id, so no cache holds it", remedy)
        try:
            _check_folder(self.folder)
            for part in ("refs", "snapshots", "blobs"):
                if os.path.isdir(os.path.join(self.folder, part)):
                    _check_folder(os.path.join(self.folder, part))
            return self._read_commit()
        except (FileNotFoundError, NotADirectoryError):
            return self._describe_absent()
        except OSError as error:
            return describe_unreadable((error.filename or self.folder).removesuffix(os.sep + os.curdir), error)

    def _read_commit(self) -> str | Trouble:
        content = self.read_ref()
        if content is None:
            return self._require_files(self.ref) if self.ref in self.snapshots else self._describe_no_ref()
        text = _decode_ref(content)
        if text in self.snapshots:
            return self._require_files(text)
        clean = text.strip(" \t\r\n\ufeff\0\"'")
        if clean != text and clean in self.snapshots:
            return self._describe_malformed_ref(content, clean)
        return self._describe_no_snapshot(clean or text)

    def read_ref(self) -> bytes | None:
        """What the revision's ref holds, or None where there is none."""
        if os.pardir in self.ref.split("/") or "\0" in self.ref:
            return None
        try:
            with open_regular(self.ref_path) as stream:
                return stream.read(_REF_BYTES)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def _require_files(self, commit: str) -> str | Trouble:
        """A snapshot without a single file: a copy left its links behind, or a download had only begun."""
        if _has_files(self.get_snapshot(commit)):
            return commit
        if self.unfinished:
            return self.describe_unfinished()
        if self.has_blobs:
            return self._describe_links_dropped(self.get_snapshot(commit))
        return commit

    # --- why not ----------------------------------------------------------------------------------

    def _describe_absent(self) -> Trouble:
        message = f"{self.repo_id} is not in {self.cache_dir}"
        if self.hard_coded:
            message += "; the loader's own source names this repo, no config does"
        flat = find_flat_folder(self.cache_dir, self.repo_id)
        if flat is not None:
            message = f"{message} in the cache's layout, but its files lie flat in {flat}"
            return Trouble("OSR106", message, format_adopt(flat, self.repo_id, self.cache_dir))
        name = os.path.basename(self.folder)
        for beside in (os.path.dirname(os.path.normpath(self.cache_dir)), os.path.join(self.cache_dir, "hub")):
            other = os.path.join(beside, name)
            is_beside = "hub" in (os.path.basename(os.path.normpath(self.cache_dir)), os.path.basename(beside))
            if is_beside and list_names(os.path.join(other, "snapshots")):
                remedy = shlex.join(["mv", other, self.cache_dir])
                return Trouble("OSR107", f"{message}, but in {beside}", remedy)
        cached = cached_repos(self.cache_dir)
        meant = did_you_mean(self.repo_id, cached)
        if meant is not None and not self.hard_coded:
            where = ", which is in the cache" if meant in cached else ""
            remedy = f"opensora-rewriter rewrite {{path}} --set {{component}}.{self.key}={meant}"
            return Trouble("OSR107", f"{message}; did you mean {meant}{where}?", remedy)
        return Trouble("OSR107", message, self.format_download())

    def _describe_no_ref(self) -> Trouble:
        if self.unfinished and not self.snapshots:
            return self.describe_unfinished()
        if COMMIT.fullmatch(self.ref):
            return self._describe_no_snapshot(self.ref)
        if not self.snapshots:
            absent = self._describe_absent()
            message = f"{absent.message} (its folder {self.folder} holds no snapshot)"
            return Trouble(absent.code, message, absent.remedy)
        path = self.ref_path
        if self.ref != "main":
            message = f"{self.repo_id}: {path} is not there, so revision {self.ref!r} is unknown"
            return Trouble("OSR108", message, self.format_download())
        newest = self.list_snapshots()[0]
        message = f"{self.repo_id}: {path} is not there, so nothing says which commit to read"
        if len(self.snapshots) > 1:
            message += f"; {len(self.snapshots)} snapshots are there, {newest} is the newest of those with files"
        remedy = f"mkdir -p {shlex.quote(os.path.dirname(path))} && {format_ref(newest, path)}"
        return Trouble("OSR108", message, remedy)

    def list_snapshots(self) -> list[str]:
        """The commits that are there, those with files first, the newest first."""
        folders = {commit: self.get_snapshot(commit) for commit in self.snapshots}
        return sorted(folders, key=lambda each: (_has_files(folders[each]), _read_mtime(folders[each]), each))[::-1]

    def _describe_malformed_ref(self, content: bytes, commit: str) -> Trouble:
        only_newline = content.decode("utf-8", "replace").rstrip("\r\n") == commit
        flaw = "ends with a newline" if only_newline else "is malformed"
        message = f"{self.repo_id}: {self.ref_path} {flaw} ({content[:80]!r}); the Hub library takes it as the commit"
        return Trouble("OSR109", message, format_ref(commit, self.ref_path))

    def _describe_no_snapshot(self, commit: str) -> Trouble:
        if self.unfinished:
            return self.describe_unfinished()
        folder = os.path.join(self.folder, "snapshots")
        if self.has_blobs and not os.path.isdir(folder):
            return self._describe_links_dropped(folder)
        message = f"{self.repo_id}: {self.ref!r} is commit {commit[:80]!r}, which {folder} does not hold"
        if self.ref == commit:
            message = f"{self.repo_id}: commit {commit} is not in {folder}"
        if self.snapshots:
            message += f" (it holds {', '.join(sorted(self.snapshots)[:3])})"
        return Trouble("OSR110", message, self.format_download())

    def _describe_links_dropped(self, folder: str) -> Trouble:
        message = f"{self.repo_id}: {folder} is empty though blobs/ is not: a copy dropped the symlinks"
        return Trouble("OSR111", message, self.format_recopy())

    def format_recopy(self, *, force: bool = False) -> str:
        """How to copy a repo's folder with its links; ``force``: a download has to replace the files in their place."""
        return (
            f"copy it again with its links: rsync -a SOURCE/{shlex.quote(os.path.basename(self.folder))} "
            f"{shlex.quote(self.cache_dir + '/')} (or cp -a, or tar); or: {self.format_download(force=force)}"
        )

    def describe_unfinished(self, requested: Iterable[str] = ()) -> Trouble:
        """The trouble of a download that was interrupted."""
        listed = ", ".join(requested)
        names = ", ".join(self.unfinished[:3] or self.incomplete[:3])
        message = f"{self.repo_id}: a download did not finish: {names} in {os.path.join(self.folder, 'blobs')}"
        return Trouble("OSR116", f"{message}; requested: {listed}" if listed else message, self.format_download())


def _decode_ref(content: bytes) -> str:
    """A ref as text; PowerShell's ``>`` writes UTF-16."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "\ufeff" + content.decode("utf-16", "replace")
    return content.decode("utf-8", "replace")


def _check_folder(path: str) -> None:
    os.stat(os.path.join(path, os.curdir))  # search permission, which a listing does not need
    os.listdir(path)


def _has_files(folder: str) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _read_mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
