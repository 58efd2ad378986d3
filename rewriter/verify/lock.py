"""Write down which weights a project's configs need, and report later what changed: ``opensora-models.lock`` (TOML)."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rewriter.model import Finding, Severity
from rewriter.verify.cache import CacheReport, Inspected
from rewriter.verify.directories import format_download
from rewriter.verify.files import CachedFile
from rewriter.verify.snapshots import COMMIT, SYNTHETIC, CachedRepo, format_ref

LOCK_NAME = "opensora-models.lock"
_VERSION = 1
_HASH = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}|")


class LockError(ValueError):
    """A lock that cannot be written or read. ``line``: 1-based, 0 where no line is to blame."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A file that loaders read: posix path below the snapshot, bytes, ``sha256:HEX``, ``git-sha1:HEX`` or ""."""

    path: str
    size: int
    hash: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class LockedRepo:
    """A repo at one revision, with what is read of it and the configs (posix paths below the checkout) that need it."""

    repo_id: str
    revision: str
    commit: str
    subfolders: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    files: tuple[LockedFile, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock's repos, sorted by id and revision."""

    repos: tuple[LockedRepo, ...] = ()

    def list_hashes(self) -> dict[tuple[str, str], str]:
        """(repo id, file) -> hash, for :func:`rewriter.verify.cache.inspect_cache`."""
        return {(repo.repo_id, file.path): file.hash for repo in self.repos for file in repo.files if file.hash}

    def find_commit(self, repo_id: str, revision: str | None = None) -> str | None:
        """The commit that the lock holds for a repo."""
        found = (repo.commit for repo in self.repos if (repo.repo_id, repo.revision) == (repo_id, revision or "main"))
        return next(found, None)


# --- writing ------------------------------------------------------------------------------------


def write_lock(report: CacheReport, root: str | None = None) -> str:
    """The lock's text: the same for the same needs and weights, wherever the cache and the checkout are.

    Args:
        report: of :func:`rewriter.verify.cache.inspect_cache` for what the configs need; with ``hash="unnamed"`` or
            True every file has a hash, without it those have that the cache's own layout says.
        root: the checkout; configs are written relative to it.

    Raises:
        LockError: a need's weights are not complete, or two caches hold different commits of one repo.
    """
    blocks = [f"# Written by opensora-rewriter lock; `verify --lock` compares.\nversion = {_VERSION}\n"]
    for key, group in sorted(_group_by_repo(report.inspected).items()):
        for found in group:
            if found.commit is None or not found.sound:
                raise LockError(f"{found.need.repo_id} in {found.need.cache_dir} is not complete: run `verify` first")
        commits = sorted({f"{found.commit} in {found.need.cache_dir}" for found in group})
        if len({found.commit for found in group}) > 1:
            raise LockError(f"{key[0]} has two commits, of which a lock can hold one: {', '.join(commits)}")
        files = {file.name: LockedFile(file.name, file.size, file.hash) for found in group for file in found.files}
        subfolders = sorted({found.need.subfolder for found in group if found.need.subfolder})
        configs = sorted({_relative_path(place[0], root) for found in group for place in found.need.requested_by})
        locked = tuple(files[name] for name in sorted(files))
        blocks.append(_format_repo(LockedRepo(*key, str(group[0].commit), tuple(subfolders), tuple(configs), locked)))
    return "\n".join(blocks)


def _group_by_repo(inspected: Iterable[Inspected]) -> dict[tuple[str, str], list[Inspected]]:
    groups: dict[tuple[str, str], list[Inspected]] = {}
    for found in inspected:
        groups.setdefault((found.need.repo_id, found.need.revision or "main"), []).append(found)
    return groups


def _relative_path(path: str, root: str | None) -> str:
    relative = os.path.relpath(path, root) if root is not None and os.path.isabs(path) else path
    return relative.replace(os.sep, "/")


def _format_repo(repo: LockedRepo) -> str:
    lines = ["[[repo]]", f"id = {quote_toml(repo.repo_id)}", f"revision = {quote_toml(repo.revision)}"]
    lines.append(f"commit = {quote_toml(repo.commit)}")
    if repo.subfolders:
        lines.append(f"subfolders = [{', '.join(map(quote_toml, repo.subfolders))}]")
    lines += ["configs = [", *(f"  {quote_toml(config)}," for config in repo.configs), "]"]
    for file in repo.files:
        lines += ["", "[[repo.file]]", f"path = {quote_toml(file.path)}", f"size = {file.size}"]
        if file.hash:
            lines.append(f"hash = {quote_toml(file.hash)}")
    return "\n".join(lines) + "\n"


def quote_toml(text: str) -> str:
    r"""A TOML basic string (toml.io, v1.0), which JSON's strings are, but for the delete character.

    >>> print(quote_toml('a"b\\c'))
    "a\"b\\c"

    Raises:
        LockError: the text cannot be UTF-8 (a file name of undecodable bytes).
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise LockError(f"{text!r} is not valid UTF-8, so TOML cannot hold it") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


# --- reading ------------------------------------------------------------------------------------


def read_lock(text: str) -> Lock:
    """Parse a lock.

    Raises:
        LockError: with the line and what is wrong there.
    """
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise LockError(f"not TOML: {error}", int(place[1]) if place else 0) from None
    if data.get("version") != _VERSION:
        found = f"this lock says {data.get('version', 'no version')!r}"
        raise LockError(f"{found}; this program reads version = {_VERSION}: upgrade it, or lock again", 1)
    starts = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    repo_lines = iter([number for number, line in starts if line == "[[repo]]"])
    file_lines = iter([number for number, line in starts if line == "[[repo.file]]"])
    repos = []
    for table in data.get("repo", []):
        line = next(repo_lines, 0)
        try:
            repos.append(_read_repo(table, line, file_lines))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LockError(f"this repo is not as `lock` writes it ({type(error).__name__}: {error})", line) from None
    return Lock(tuple(sorted(repos, key=lambda repo: (repo.repo_id, repo.revision))))


def _read_repo(table: dict[str, Any], line: int, file_lines: Iterator[int]) -> LockedRepo:
    files = []
    for each in table.get("file", []):
        files.append(LockedFile(str(each["path"]), int(each["size"]), str(each.get("hash", "")), next(file_lines, 0)))
        if not _HASH.fullmatch(files[-1].hash):
            raise ValueError(f"{files[-1].hash!r} is no hash of the kind that is locked")
    if not COMMIT.fullmatch(table["commit"]):
        raise ValueError(f"commit {table['commit']!r} is not 40 hex digits")
    lists = tuple(map(str, table.get("subfolders", []))), tuple(map(str, table.get("configs", [])))
    return LockedRepo(str(table["id"]), str(table["revision"]), table["commit"], *lists, tuple(files), line)


# --- comparing ----------------------------------------------------------------------------------


def compare_lock(
    lock: Lock, report: CacheReport, *, lock_path: str = LOCK_NAME, root: str | None = None, partial: bool = False
) -> list[Finding]:
    """What changed since the lock was written (codes OSR121 to OSR126), one cause by one.

    Args:
        lock: of :func:`read_lock`.
        report: of :func:`rewriter.verify.cache.inspect_cache` for what the configs need now, with
            ``known=lock.list_hashes()`` and, to compare contents, ``hash``.
        lock_path: for the findings.
        root: the checkout, as for :func:`write_lock`.
        partial: only some of the project's configs were read, so what they do not need is no finding.

    Weights that the report has findings of are not judged again.
    """
    now = _group_by_repo(report.inspected)
    locked = {(repo.repo_id, repo.revision): repo for repo in lock.repos}
    changes = [change for key, repo in locked.items() for change in _compare_repo(repo, now.get(key, []), partial)]
    findings = [
        Finding(code, lock_path, line, 0, "", message, remedy, severity)
        for code, line, message, remedy, severity in changes
    ]
    return findings + [each for key, group in now.items() for each in _find_new_configs(locked.get(key), group, root)]


_Change = tuple[str, int, str, str, Severity]
"""Code, line of the lock, message, remedy, severity."""


def _compare_repo(repo: LockedRepo, group: list[Inspected], partial: bool) -> list[_Change]:
    if not group:
        message = f"{repo.repo_id} ({repo.revision}) is in the lock, but no config needs it any more"
        return [] if partial else [("OSR125", repo.line, message, "opensora-rewriter lock", "warning")]
    present = [found for found in group if found.commit is not None]
    for found in present:
        if found.commit != repo.commit:
            return [("OSR121", repo.line, *_describe_other_commit(repo, found), "error")]
    files = {file.name: file for found in present for file in found.files}
    changes: list[_Change] = []
    for file in repo.files if present else ():
        remedy = _format_fetch(repo, group[0].need.cache_dir, file.path, force=file.path in files)
        change = _describe_change(file, files[file.path]) if file.path in files else ""
        if change:
            changes.append(("OSR124", file.line, f"{repo.repo_id}: {file.path} {change}", remedy, "error"))
        elif file.path not in files and not partial and all(found.sound for found in present):
            changes.append(("OSR123", file.line, f"{repo.repo_id}: {file.path} is no longer read", remedy, "error"))
    for path in sorted(files.keys() - {file.path for file in repo.files}):
        message = f"{repo.repo_id}: {path} is read now, but the lock does not have it"
        changes.append(("OSR122", repo.line, message, "if that is wanted: opensora-rewriter lock", "error"))
    return changes


def _find_new_configs(repo: LockedRepo | None, group: list[Inspected], root: str | None) -> list[Finding]:
    """Configs that the lock does not know to need this repo; one finding for each config."""
    need = group[0].need
    lacks = "the lock does not have it" if repo is None else "the lock has it for other configs only"
    severity: Severity = "error" if repo is None else "warning"
    findings: dict[str, Finding] = {}
    for path, line, component in (place for found in group for place in found.need.requested_by):
        config = _relative_path(path, root)
        if repo is None or config not in repo.configs:
            message = f"{config} needs {need.repo_id} ({need.revision or 'main'}), and {lacks}"
            found = Finding("OSR126", path, line, 0, component, message, "opensora-rewriter lock", severity)
            findings.setdefault(config, found)
    return list(findings.values())


def _describe_other_commit(repo: LockedRepo, found: Inspected) -> tuple[str, str]:
    cached = CachedRepo(found.need.cache_dir, repo.repo_id, repo.revision)
    where = f"is commit {found.commit} in {cached.cache_dir}, the lock says {repo.commit}"
    message = f"{repo.repo_id} ({repo.revision}) {where}"
    restore = format_ref(repo.commit, cached.ref_path)
    if repo.commit in cached.snapshots:
        return message, restore  # no network
    fetch = _format_fetch(repo, cached.cache_dir)
    return message, fetch if repo.commit.startswith(SYNTHETIC) else f"{fetch} && {restore}"


def _format_fetch(repo: LockedRepo, cache_dir: str, *files: str, force: bool = False) -> str:
    """How to get files of the locked commit again; no Hub has a commit that ``adopt`` made up."""
    if repo.commit.startswith(SYNTHETIC):
        again = f"--repo {repo.repo_id} --cache-dir {shlex.quote(cache_dir)} --replace-ref"
        return f"adopt the files again that were locked: opensora-rewriter adopt FOLDER {again}"
    return format_download(repo.repo_id, cache_dir, revision=repo.commit, files=files, force=force)


def _describe_change(locked: LockedFile, file: CachedFile) -> str:
    if file.size != locked.size:
        return f"has {file.size:,} bytes, the lock says {locked.size:,}"
    same_kind = file.hash.partition(":")[0] == locked.hash.partition(":")[0]
    if same_kind and file.hash != locked.hash:
        return f"is {file.hash}, the lock says {locked.hash}"
    return ""
