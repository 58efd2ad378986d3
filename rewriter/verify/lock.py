"""Write down which weights a project's configs need, and report later what changed: ``opensora-models.lock`` (TOML)."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rewriter.model import Finding
from rewriter.verify.cache import LOCKABLE, CacheReport, Inspected
from rewriter.verify.directories import COMMIT, SYNTHETIC, CachedRepo, format_download, format_ref, list_names

LOCK_NAME = "opensora-models.lock"
_VERSION = 1
_HASH = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}|")


class LockError(ValueError):
    """A lock that cannot be written or read. ``line``: 1-based, 0 where no line is to blame."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message, self.line = message, line


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A file that loaders read: posix path below the snapshot, bytes, ``sha256:HEX``, ``git-sha1:HEX`` or ""."""

    path: str
    size: int
    hash: str = ""


@dataclass(frozen=True, slots=True)
class LockedRepo:
    """A repo at one revision, what is read of it, and the configs (posix paths below the checkout) that need it."""

    repo_id: str
    revision: str
    commit: str
    configs: tuple[str, ...] = ()
    files: tuple[LockedFile, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Lock:
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

    ``report``: of ``inspect_cache`` with ``hash="unnamed"``, so that every file has a hash.

    Raises:
        LockError: a need's weights are not complete, or two caches hold different commits of one repo.
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
    relative = os.path.relpath(path, root) if root is not None and os.path.isabs(path) else path
    return relative.replace(os.sep, "/")


def _quote(text: str) -> str:
    """A TOML basic string, which JSON's strings are; undecodable bytes of a file's name as ``?``."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "replace").decode()


def read_lock(text: str) -> Lock:
    """Parse a lock; raises :class:`LockError` with the line and what is wrong there."""
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise LockError(f"not TOML: {error}", int(place[1]) if place else 0) from None
    if data.get("version") != _VERSION:
        found = f"this lock says {data.get('version', 'no version')!r}"
        raise LockError(f"{found}; this program reads version = {_VERSION}: upgrade it, or lock again", 1)
    lines = iter([number for number, line in enumerate(text.split("\n"), 1) if line.strip() == "[[repo]]"])
    repos = []
    for table in data.get("repo", []):
        line = next(lines, 0)
        try:
            files = [
                LockedFile(each["path"], int(each["size"]), each.get("hash", "")) for each in table.get("file", [])
            ]
            repo = LockedRepo(
                table["id"], table["revision"], table["commit"], tuple(table["configs"]), tuple(files), line
            )
            if not COMMIT.fullmatch(repo.commit):
                raise ValueError(f"commit {repo.commit!r} is not 40 hex digits")
            if wrong := [file.hash for file in files if not _HASH.fullmatch(file.hash)]:
                raise ValueError(f"{wrong[0]!r} is no hash of the kind that is locked")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LockError(f"this repo is not as `lock` writes it ({type(error).__name__}: {error})", line) from None
        repos.append(repo)
    return Lock(tuple(repos))


def compare_lock(
    lock: Lock, report: CacheReport, *, lock_path: str = LOCK_NAME, root: str | None = None, partial: bool = False
) -> list[Finding]:
    """What changed since the lock was written (codes OSR121 to OSR126); what the report has findings of is left out.

    ``report``: of ``inspect_cache`` for what the configs need now, with ``known=lock.list_hashes()`` and, to compare
    contents, ``hash``. ``partial``: not all of the project's configs were read; what they do not need is no finding.
    """
    now = _group_by_repo(report.inspected)
    locked = {(repo.repo_id, repo.revision): repo for repo in lock.repos}
    findings = []
    for key, repo in locked.items():
        for code, message, remedy in _compare_repo(repo, now.get(key, []), partial):
            found = Finding(code, lock_path, repo.line, 0, "", f"{repo.repo_id}{message}", remedy)
            findings.append(found if code != "OSR125" else replace(found, severity="warning"))
    for key, group in now.items():
        findings += _find_new_configs(locked.get(key), group, root)
    return findings


def _compare_repo(repo: LockedRepo, group: list[Inspected], partial: bool) -> Iterator[tuple[str, str, str]]:
    """Code, message after the repo id, remedy."""
    if not group and not partial:
        message = f" ({repo.revision}) is in the lock, but no config needs it any more"
        yield "OSR125", message, "opensora-rewriter lock"
    present = [found for found in group if found.commit is not None]
    for found in present:
        if found.commit != repo.commit:
            cached = CachedRepo(found.need.cache_dir, repo.repo_id, repo.revision)
            remedy = format_ref(repo.commit, cached.ref_path)
            if repo.commit not in list_names(cached.get_snapshot()):  # else no network is needed
                fetch = _format_fetch(repo, cached.cache_dir)
                remedy = fetch if repo.commit.startswith(SYNTHETIC) else f"{fetch} && {remedy}"
            where = f"is commit {found.commit} in {cached.cache_dir}, the lock says {repo.commit}"
            yield "OSR121", f" ({repo.revision}) {where}", remedy
            return
    files = {file.name: file for found in present for file in found.files}
    for locked in repo.files if present else ():
        file = files.pop(locked.path, None)
        remedy = _format_fetch(repo, group[0].need.cache_dir, locked.path, force=file is not None)
        if file is None:
            if not partial and all(found.sound for found in present):
                yield "OSR123", f": {locked.path} is no longer read", remedy
        elif file.size != locked.size:
            change = f"has {file.size:,} bytes, the lock says {locked.size:,}"
            yield "OSR124", f": {locked.path} {change}", remedy
        elif file.hash != locked.hash and file.hash.partition(":")[0] == locked.hash.partition(":")[0]:
            yield "OSR124", f": {locked.path} is {file.hash}, the lock says {locked.hash}", remedy
    for path in sorted(files):
        message = f": {path} is read now, but the lock does not have it"
        yield "OSR122", message, "if that is wanted: opensora-rewriter lock"


def _format_fetch(repo: LockedRepo, cache_dir: str, *files: str, force: bool = False) -> str:
    """How to get files of the locked commit again; no Hub has a commit that ``adopt`` made up."""
    if repo.commit.startswith(SYNTHETIC):
        again = f"--repo {repo.repo_id} --cache-dir {shlex.quote(cache_dir)} --replace-ref"
        return f"adopt the files again that were locked: opensora-rewriter adopt FOLDER {again}"
    return format_download(repo.repo_id, cache_dir, repo.commit, files, force=force)


def _find_new_configs(repo: LockedRepo | None, group: list[Inspected], root: str | None) -> list[Finding]:
    """Configs that the lock does not know to need this repo; one finding for each config."""
    need = group[0].need
    lacks = "the lock does not have it" if repo is None else "the lock has it for other configs only"
    findings: dict[str, Finding] = {}
    for path, line, component in (place for found in group for place in found.need.requested_by):
        config = _relative_path(path, root)
        if repo is None or config not in repo.configs:
            message = f"{config} needs {need.repo_id} ({need.revision or 'main'}), and {lacks}"
            found = Finding("OSR126", path, line, 0, component, message, "opensora-rewriter lock")
            findings.setdefault(config, found if repo is None else replace(found, severity="warning"))
    return list(findings.values())
