"""Find a repo's snapshot in a cache: from the repo id and revision to a commit's folder, or the one reason why not."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from rewriter.cache.places import adopt_command, download_command, is_flat, unreadable
from rewriter.checkout import open_regular

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO_ID = re.compile(r"(?:[A-Za-z0-9_][\w.\-]*/)?[A-Za-z0-9_][\w.\-]{0,95}", re.ASCII)
_REF_BYTES = 4096

Trouble = tuple[str, str, str]  # code, message, remedy


def is_repo_id(text: str) -> bool:
    """Whether the Hub takes ``text`` as a repo id (``huggingface_hub.utils.validate_repo_id``)."""
    return (
        _REPO_ID.fullmatch(text) is not None
        and not text.endswith((".git", ".", "-"))
        and "--" not in text
        and ".." not in text
    )


@dataclass(frozen=True)
class Repo:
    """One repo at one revision in one cache. Reads on demand and keeps what it read."""

    cache_dir: str
    repo_id: str
    revision: str | None = None
    hard_coded: bool = False

    @property
    def ref(self) -> str:
        """The asked revision; ``main`` where none is asked for."""
        return self.revision or "main"

    @property
    def folder(self) -> str:
        """``models--ORG--NAME``, as the Hub library names it."""
        return os.path.join(self.cache_dir, "models--" + self.repo_id.replace("/", "--"))

    @cached_property
    def blobs(self) -> frozenset[str]:
        """Names in blobs/, the unfinished ones too."""
        return _names(os.path.join(self.folder, "blobs"))

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
        return _names(os.path.join(self.folder, "snapshots"))

    def snapshot(self, commit: str) -> str:
        """The folder of a commit."""
        return os.path.join(self.folder, "snapshots", commit)

    def download(self, files: Iterable[str] = (), *, force: bool = False, revision: str | None = None) -> str:
        """The command that fetches the repo, or some files of it, into this cache."""
        return download_command(
            self.repo_id, self.cache_dir, revision=revision or self.revision, files=sorted(files), force=force
        )

    def find(self) -> tuple[str, Trouble | None]:
        """The commit that the Hub library would read offline, or ("", why none)."""
        if not is_repo_id(self.repo_id):
            remedy = "give ORG/NAME, as the model's page on the Hub shows it"
            return "", ("OSR107", f"{self.repo_id!r} is not a repo id, so no cache holds it", remedy)
        try:
            _list_folder(self.folder)
            for part in ("refs", "snapshots", "blobs"):
                if os.path.isdir(os.path.join(self.folder, part)):
                    _list_folder(os.path.join(self.folder, part))
            return self._find()
        except (FileNotFoundError, NotADirectoryError):
            return "", self._absent()
        except OSError as error:
            place = (error.filename or self.folder).removesuffix(os.sep + os.curdir)
            return "", unreadable(place, error)

    def _find(self) -> tuple[str, Trouble | None]:
        content = self._read_ref()
        if content is None:
            if self.ref in self.snapshots:
                return self._with_files(self.ref)
            return "", self._no_ref()
        text = _decoded(content)
        if text in self.snapshots:
            return self._with_files(text)
        clean = text.strip(" \t\r\n\ufeff\0\"'")
        if clean != text and clean in self.snapshots:
            return "", self._malformed_ref(content, clean)
        return "", self._no_snapshot(clean or text)

    def _read_ref(self) -> bytes | None:
        if os.pardir in self.ref.split("/") or "\0" in self.ref:
            return None
        try:
            with open_regular(os.path.join(self.folder, "refs", self.ref)) as stream:
                return stream.read(_REF_BYTES)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def _with_files(self, commit: str) -> tuple[str, Trouble | None]:
        """A snapshot without a single file: a copy left its links behind, or a download had only begun."""
        if _has_files(self.snapshot(commit)):
            return commit, None
        if self.unfinished:
            return "", self.unfinished_trouble()
        if self.has_blobs:
            return "", self._links_dropped(self.snapshot(commit))
        return commit, None

    def _absent(self) -> Trouble:
        name = f"{self.repo_id} is not in {self.cache_dir}"
        if self.hard_coded:
            name += "; the loader's own source names this repo, no config does"
        for place in self._flat_places():
            message = f"{name} in the cache's layout, but its files lie flat in {place}"
            return "OSR106", message, adopt_command(place, self.repo_id, self.cache_dir)
        return "OSR107", name, self.download()

    def _flat_places(self) -> Iterable[str]:
        """Where people put a flat download of this repo: NAME, ORG/NAME, ORG_NAME, ORG--NAME below the cache."""
        name = self.repo_id.split("/")[-1]
        joined = (self.repo_id.replace("/", glue) for glue in ("/", "_", "--", "__"))
        for place in dict.fromkeys((name, *joined)):
            folder = os.path.join(self.cache_dir, place)
            try:
                with os.scandir(folder) as entries:
                    names = {entry.name: entry.is_dir() for entry in entries}
            except OSError:
                continue
            if is_flat(names):
                yield folder

    def _no_ref(self) -> Trouble:
        path = os.path.join(self.folder, "refs", self.ref)
        if self.unfinished and not self.snapshots:
            return self.unfinished_trouble()
        if _COMMIT.fullmatch(self.ref):
            return self._no_snapshot(self.ref)
        if not self.snapshots:
            code, message, remedy = self._absent()
            return code, f"{message} (its folder {self.folder} holds no snapshot)", remedy
        if self.revision is not None and self.revision != "main":
            return (
                "OSR108",
                f"{self.repo_id}: {path} is not there, so revision {self.ref!r} is unknown",
                self.download(),
            )
        filled = [commit for commit in self.snapshots if _has_files(self.snapshot(commit))] or self.snapshots
        newest = max(filled, key=lambda commit: (_modified(self.snapshot(commit)), commit))
        message = f"{self.repo_id}: {path} is not there, so nothing says which commit to read"
        if len(self.snapshots) > 1:
            message += f"; {len(self.snapshots)} snapshots are there, {newest} is the newest of those with files"
        folder = shlex.quote(os.path.dirname(path))
        return "OSR108", message, f"mkdir -p {folder} && printf %s {shlex.quote(newest)} > {shlex.quote(path)}"

    def _malformed_ref(self, content: bytes, commit: str) -> Trouble:
        path = os.path.join(self.folder, "refs", self.ref)
        what = "ends with a newline" if content.decode("utf-8", "replace").rstrip("\r\n") == commit else "is malformed"
        message = f"{self.repo_id}: {path} {what} ({content[:80]!r}); the Hub library takes it as part of the commit"
        return "OSR109", message, f"printf %s {shlex.quote(commit)} > {shlex.quote(path)}"

    def _no_snapshot(self, commit: str) -> Trouble:
        if self.unfinished:
            return self.unfinished_trouble()
        folder = os.path.join(self.folder, "snapshots")
        if self.has_blobs and not os.path.isdir(folder):
            return self._links_dropped(folder)
        message = f"{self.repo_id}: {self.ref!r} is commit {commit[:80]!r}, which {folder} does not hold"
        if self.ref == commit:
            message = f"{self.repo_id}: commit {commit} is not in {folder}"
        if self.snapshots:
            message += f" (it holds {', '.join(sorted(self.snapshots)[:3])})"
        return "OSR110", message, self.download()

    def _links_dropped(self, folder: str) -> Trouble:
        message = f"{self.repo_id}: {folder} is empty though blobs/ is not: a copy dropped the symlinks"
        return "OSR111", message, self.recopy()

    def recopy(self, *, force: bool = False) -> str:
        """How to copy a repo's folder with its links; ``force``: a download has to replace what stands there."""
        return (
            f"copy it again with its links: rsync -a SOURCE/{shlex.quote(os.path.basename(self.folder))} "
            f"{shlex.quote(self.cache_dir + '/')} (or cp -a, or tar); or: {self.download(force=force)}"
        )

    def unfinished_trouble(self, wanted: Iterable[str] = ()) -> Trouble:
        """The finding for a download that was interrupted."""
        listed = ", ".join(wanted)
        names = ", ".join(self.unfinished[:3] or self.incomplete[:3])
        message = f"{self.repo_id}: a download did not finish: {names} in {os.path.join(self.folder, 'blobs')}"
        return "OSR116", f"{message}; wanting: {listed}" if listed else message, self.download()


def _decoded(content: bytes) -> str:
    """A ref as text; PowerShell's ``>`` writes UTF-16."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "\ufeff" + content.decode("utf-16", "replace")
    return content.decode("utf-8", "replace")


def _list_folder(path: str) -> None:
    os.stat(os.path.join(path, os.curdir))  # search permission, which a listing does not need
    os.listdir(path)


def _names(path: str) -> frozenset[str]:
    try:
        return frozenset(name for name in os.listdir(path) if name != ".DS_Store")
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _has_files(folder: str) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
