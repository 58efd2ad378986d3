"""Write down which weights a project's configs need, and report later what changed: ``opensora-models.lock`` (TOML)."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rewriter.model import Finding
from rewriter.verify import directories
from rewriter.verify.cache import LOCKABLE, CacheReport, Inspected
from rewriter.verify.directories import COMMIT, SYNTHETIC, CachedRepo, Trouble, list_names

LOCK_NAME = "opensora-models.lock"
_VERSION = 1
_HASH = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}|")


class LockError(ValueError):
    """A lock that cannot be written, or read."""


class LockedFile(NamedTuple):
    """A file that loaders read: posix path below the snapshot, bytes, ``sha256:HEX``, ``git-sha1:HEX`` or ""."""

    path: str
    size: int
    hash: str


class LockedRepo(NamedTuple):
    """A repo at one revision, what is read of it, and the configs (posix paths below the checkout) that need it."""

    repo_id: str
    revision: str
    commit: str
    configs: tuple[str, ...]
    files: tuple[LockedFile, ...]
    line: int


class Lock(NamedTuple):
    """A lock's repos."""

    repos: tuple[LockedRepo, ...] = ()

    def list_hashes(self) -> dict[tuple[str, str], str]:
        """(repo id, file) -> hash, for :func:`rewriter.verify.cache.inspect_cache`."""
        return {(repo.repo_id, file.path): file.hash for repo in self.repos for file in repo.files if file.hash}

    def find_commit(self, repo_id: str, revision: str | None = None) -> str | None:
        """The commit that the lock holds for a repo."""
        found = (repo.commit for repo in self.repos if (repo.repo_id, repo.revision) == (repo_id, revision or "main"))
        return next(found, None)


def write_lock(report: CacheReport, root: str | None = None) -> str:
    """The lock's text: the same for the same needs and weights, wherever the cache and the checkout (``root``) are.

    ``report``: of ``inspect_cache`` with ``hash="unnamed"``, so that every file has a hash. Raises LockError: a need's
    weights are not complete, or two caches hold different commits of one repo.
    """
    blocks = [f"# Written by opensora-rewriter lock; `verify --lock` compares.\nversion = {_VERSION}\n"]
    for (repo_id, revision), group in sorted(_group_by_repo(report.inspected).items()):
        for found in group:
            if not found.sound:
                raise LockError(f"{repo_id} in {found.need.cache_dir} is not complete: run `verify` first")
        if len({found.commit for found in group}) > 1:
            commits = sorted({f"{found.commit} in {found.need.cache_dir}" for found in group})
            raise LockError(f"{repo_id} has two commits, of which a lock can hold one: {', '.join(commits)}")
        head = {"id": repo_id, "revision": revision, "commit": group[0].commit}
        lines = ["[[repo]]", *(f"{key} = {_quote(str(value))}" for key, value in head.items())]
        subfolders = sorted({found.need.subfolder for found in group if found.need.subfolder})
        lines += [f"subfolders = [{', '.join(map(_quote, subfolders))}]"] if subfolders else []
        configs = sorted({_relative_path(place[0], root) for found in group for place in found.need.requested_by})
        lines += ["configs = [", *(f"  {_quote(config)}," for config in configs), "]"]
        for name, file in sorted({file.name: file for found in group for file in found.files}.items()):
            lines += ["", "[[repo.file]]", f"path = {_quote(name)}", f"size = {file.size}"]
            lines += [f"hash = {_quote(file.hash)}"] if file.hash.startswith(LOCKABLE) else []
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _group_by_repo(inspected: Iterable[Inspected]) -> dict[tuple[str, str], list[Inspected]]:
    groups: dict[tuple[str, str], list[Inspected]] = {}
    for found in inspected:
        groups.setdefault((found.need.repo_id, found.need.revision or "main"), []).append(found)
    return groups


def _relative_path(path: str, root: str | None) -> str:
    return (os.path.relpath(path, root) if root is not None else path).replace(os.sep, "/")


def _quote(text: str) -> str:
    """A TOML basic string, which JSON's strings are; undecodable bytes of a file's name as ``?``."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "replace").decode()


def read_lock(text: str) -> Lock:
    """Parse a lock; raises :class:`LockError`, with the line where the mistake is in one repo."""
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        raise LockError(f"not TOML: {error}") from None
    if data.get("version") != _VERSION:
        found = f"this lock says {data.get('version', 'no version')!r}"
        raise LockError(f"{found}; this program reads version = {_VERSION}: upgrade it, or lock again")
    lines = iter([number for number, line in enumerate(text.split("\n"), 1) if line.strip() == "[[repo]]"])
    repos = []
    for table in data.get("repo", []):
        line = next(lines, 1)
        try:
            files = [LockedFile(each["path"], each["size"], each.get("hash", "")) for each in table.get("file", [])]
            head = table["id"], table["revision"], table["commit"], tuple(table["configs"])
            if not COMMIT.fullmatch(head[2]):
                raise ValueError(f"commit {head[2]!r} is not 40 hex digits")
            if wrong := [file.hash for file in files if not _HASH.fullmatch(file.hash)]:
                raise ValueError(f"{wrong[0]!r} is no hash of the kind that is locked")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"this repo is not as `lock` writes it ({type(error).__name__}: {error})"
            raise LockError(f"line {line}: {reason}") from None
        repos.append(LockedRepo(*head, tuple(files), line))
    return Lock(tuple(repos))


def compare_lock(
    lock: Lock,
    report: CacheReport,
    *,
    lock_path: str = LOCK_NAME,
    root: str | None = None,
    partial: bool = False,
    scope: str = ".",
) -> list[Finding]:
    """What changed since the lock was written (codes OSR121 to OSR126); what the report has findings of is left out.

    ``report``: of ``inspect_cache`` for what the configs need now, with ``known=lock.list_hashes()`` and, to compare
    contents, ``hash``. ``partial``: not all of the project's configs were read; what they do not need is no finding.
    ``scope``: PATHs and options of the run; a lock of more configs is to be written for all of them again.
    """
    now = _group_by_repo(report.inspected)
    locked = {(repo.repo_id, repo.revision): repo for repo in lock.repos}
    seen = {_relative_path(place[0], root) for found in report.inspected for place in found.need.requested_by}
    if partial and not seen.issuperset(config for repo in lock.repos for config in repo.configs):
        scope = ". --all-configs"
    again = f"opensora-rewriter lock {scope}"
    findings: list[Finding] = []
    for key, repo in locked.items():
        for trouble in _compare_repo(repo, now.get(key, []), partial, again):
            findings += trouble.at([(lock_path, repo.line, "")])
    for (repo_id, revision), group in now.items():
        known = locked.get((repo_id, revision))
        lacks = "the lock does not have it" if known is None else "the lock has it for other configs only"
        places = {_relative_path(place[0], root): place for found in group for place in found.need.requested_by[::-1]}
        for config in [each for each in places if known is None or each not in known.configs]:
            message = f"{config} needs {repo_id} ({revision}), and {lacks}"
            trouble = Trouble("OSR126", message, again, "error" if known is None else "warning")
            findings += trouble.at([places[config]])
    return findings


def _compare_repo(repo: LockedRepo, group: list[Inspected], partial: bool, again: str) -> Iterator[Trouble]:
    subject = f"{repo.repo_id} ({repo.revision})"
    if not group and not partial:
        yield Trouble("OSR125", f"{subject} is in the lock, but no config needs it any more", again, "warning")
    present = [found for found in group if found.commit is not None]
    for found in present:
        if found.commit != repo.commit:
            cached = CachedRepo(found.need.cache_dir, repo.repo_id, repo.revision)
            remedy = directories.format_ref(repo.commit, cached.ref_path)
            if repo.commit not in list_names(cached.get_snapshot()):  # else no network is needed
                fetch = _format_fetch(repo, cached.cache_dir, [file.path for file in repo.files])
                remedy = fetch if repo.commit.startswith(SYNTHETIC) else f"{fetch} && {remedy}"
            message = f"{subject} is commit {found.commit} in {cached.cache_dir}, the lock says {repo.commit}"
            yield Trouble("OSR121", message, remedy)
            return
    files = {file.name: file for found in present for file in found.files}
    for locked in repo.files if present else ():
        file, name = files.pop(locked.path, None), f"{repo.repo_id}: {locked.path}"
        remedy = _format_fetch(repo, group[0].need.cache_dir, [locked.path])
        if file is not None and not repo.commit.startswith(SYNTHETIC):
            remedy = f"{directories.format_remove([file.path])} && {remedy}"
        if file is None:
            if not partial and all(found.sound for found in present):
                yield Trouble("OSR123", f"{name} is no longer read", remedy)
        elif file.size != locked.size:
            yield Trouble("OSR124", f"{name} has {file.size:,} bytes, the lock says {locked.size:,}", remedy)
        elif file.hash != locked.hash and file.hash.partition(":")[0] == locked.hash.partition(":")[0]:
            yield Trouble("OSR124", f"{name} is {file.hash}, the lock says {locked.hash}", remedy)
    for path in sorted(files):
        message = f"{repo.repo_id}: {path} is read now, but the lock does not have it"
        yield Trouble("OSR122", message, f"if that is wanted: {again}")


def _format_fetch(repo: LockedRepo, cache_dir: str, files: list[str]) -> str:
    """How to get files of the locked commit again; no Hub has a commit that ``adopt`` made up."""
    if repo.commit.startswith(SYNTHETIC):
        again = f"--repo {repo.repo_id} --cache-dir {shlex.quote(cache_dir)} --replace-ref"
        return f"adopt the files again that were locked: opensora-rewriter adopt FOLDER {again}"
    return directories.format_download(repo.repo_id, cache_dir, repo.commit, files)
