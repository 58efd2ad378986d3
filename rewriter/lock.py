"""Write down which weights a project's configs need, and say later what changed: ``opensora-models.lock`` (TOML)."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from rewriter.cache.needs import CachedFile, Inspected, Need, Report
from rewriter.cache.places import download_command
from rewriter.types import Finding, Severity

LOCK_NAME = "opensora-models.lock"
_VERSION = 1
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}")
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029]')
_RELOCK = "if that is wanted: opensora-rewriter lock"


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

    def known(self) -> dict[tuple[str, str], str]:
        """(repo id, file) -> hash, for :func:`rewriter.cache.inspect`, which then hashes files without a name alike."""
        return {(repo.repo_id, file.path): file.hash for repo in self.repos for file in repo.files if file.hash}


# --- writing ------------------------------------------------------------------------------------


def write_lock(report: Report, root: str | None = None) -> str:
    """The lock's text: the same for the same needs and weights, wherever the cache and the checkout lie.

    Args:
        report: of :func:`rewriter.cache.inspect` for what the configs need; with ``hash="unnamed"`` or True every file
            has a hash, without it those have that the cache's own layout tells.
        root: the checkout; configs are written relative to it.

    Raises:
        LockError: a need's weights are not whole, or two caches hold different commits of one repo.
    """
    repos = _locked(report.inspected, root)
    blocks = [f"# Written by opensora-rewriter lock; `verify --lock` compares.\nversion = {_VERSION}\n"]
    blocks += [_repo_block(repo) for repo in repos]
    return "\n".join(blocks)


def _locked(inspected: Sequence[Inspected], root: str | None) -> list[LockedRepo]:
    groups: dict[tuple[str, str], list[Inspected]] = {}
    for found in inspected:
        if found.commit is None or not found.sound:
            raise LockError(f"{found.need.repo_id} in {found.need.cache_dir} is not whole: run `verify` first")
        groups.setdefault(_key(found.need), []).append(found)
    return [_locked_repo(key, group, root) for key, group in sorted(groups.items())]


def _key(need: Need) -> tuple[str, str]:
    return need.repo_id, need.revision or "main"


def _locked_repo(key: tuple[str, str], group: list[Inspected], root: str | None) -> LockedRepo:
    commits = {found.commit: found.need.cache_dir for found in group}
    if len(commits) > 1:
        told = ", ".join(f"{commit} in {folder}" for commit, folder in sorted(commits.items(), key=str))
        raise LockError(f"{key[0]} has two commits in two caches, of which a lock can hold one: {told}")
    files = {file.name: LockedFile(file.name, file.size, file.hash) for found in group for file in found.files}
    return LockedRepo(
        key[0],
        key[1],
        str(group[0].commit),
        tuple(sorted({found.need.subfolder for found in group if found.need.subfolder})),
        tuple(sorted({_relative(place[0], root) for found in group for place in found.need.wanted_by})),
        tuple(files[name] for name in sorted(files)),
    )


def _relative(path: str, root: str | None) -> str:
    told = os.path.relpath(path, root) if root is not None and os.path.isabs(path) else path
    return told.replace(os.sep, "/")


def _repo_block(repo: LockedRepo) -> str:
    lines = [
        "[[repo]]",
        f"id = {quoted(repo.repo_id)}",
        f"revision = {quoted(repo.revision)}",
        f"commit = {quoted(repo.commit)}",
    ]
    if repo.subfolders:
        lines.append(f"subfolders = [{', '.join(map(quoted, repo.subfolders))}]")
    lines += ["configs = [", *(f"  {quoted(config)}," for config in repo.configs), "]"]
    for file in repo.files:
        lines += ["", "[[repo.file]]", f"path = {quoted(file.path)}", f"size = {file.size}"]
        if file.hash:
            lines.append(f"hash = {quoted(file.hash)}")
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    r"""A TOML basic string (toml.io, v1.0).

    >>> print(quoted('a"b\\c'))
    "a\"b\\c"

    Raises:
        LockError: the text cannot be UTF-8 (a file name of undecodable bytes).
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise LockError(f"{text!r} is not valid UTF-8, so TOML cannot hold it") from None
    return '"' + _ESCAPED.sub(lambda match: _escape(match[0]), text) + '"'


def _escape(character: str) -> str:
    return f"\\{character}" if character in '"\\' else f"\\u{ord(character):04X}"


# --- reading ------------------------------------------------------------------------------------


def read_lock(text: str) -> Lock:
    """Parse a lock.

    Raises:
        LockError: with the line and what is wrong there.
    """
    import importlib

    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        told = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise LockError(f"not TOML: {error}", int(told[1]) if told else 0) from None
    if data.get("version") != _VERSION:
        found = data.get("version", "no version")
        raise LockError(
            f"this lock says {found!r}; this program reads version = {_VERSION}: upgrade it, or lock again", 1
        )
    reader = _Reader(text)
    reader.only(data, {"version", "repo"}, 1)
    repos = data.get("repo", [])
    if not isinstance(repos, list) or not all(isinstance(repo, dict) for repo in repos):
        raise LockError("`repo` must be an array of tables: [[repo]]", 1)
    lock = Lock(tuple(sorted((reader.repo(repo) for repo in repos), key=lambda repo: (repo.repo_id, repo.revision))))
    _no_twice([(repo.repo_id, repo.revision) for repo in lock.repos], [repo.line for repo in lock.repos])
    return lock


def _no_twice(keys: Sequence[object], lines: Sequence[int]) -> None:
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise LockError(f"{key!r} stands there twice", lines[index])


class _Reader:
    """Checks a lock's tables one after the other, each with the line of its header."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.split("\n")]
        self._repos = iter([number for number, line in enumerate(lines, 1) if line == "[[repo]]"])
        self._files = iter([number for number, line in enumerate(lines, 1) if line == "[[repo.file]]"])

    def repo(self, table: dict[str, Any]) -> LockedRepo:
        line = next(self._repos, 0)
        self.only(table, {"id", "revision", "commit", "subfolders", "configs", "file"}, line)
        commit = self.text(table, "commit", line)
        if not _COMMIT.fullmatch(commit):
            raise LockError(f"commit = {commit!r} is not 40 hex digits", line)
        files = table.get("file", [])
        if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
            raise LockError("`file` must be an array of tables: [[repo.file]]", line)
        read = tuple(self.file(file) for file in files)
        _no_twice([file.path for file in read], [file.line for file in read])
        subfolders, configs = self.texts(table, "subfolders", line), self.texts(table, "configs", line)
        revision = self.text(table, "revision", line)
        return LockedRepo(self.text(table, "id", line), revision, commit, subfolders, configs, read, line)

    def file(self, table: dict[str, Any]) -> LockedFile:
        line = next(self._files, 0)
        self.only(table, {"path", "size", "hash"}, line)
        path, size = self.text(table, "path", line), table.get("size")
        if type(size) is not int or size < 0:
            raise LockError(f"size = {size!r} is not a number of bytes", line)
        hash = self.text(table, "hash", line) if "hash" in table else ""
        if hash and not _HASH.fullmatch(hash):
            raise LockError(f"hash = {hash!r} is neither sha256:(64 hex digits) nor git-sha1:(40 hex digits)", line)
        return LockedFile(path, size, hash, line)

    @staticmethod
    def only(table: Mapping[str, Any], keys: set[str], line: int) -> None:
        for key in table:
            if key not in keys:
                raise LockError(f"unknown key {key!r}; known: {', '.join(sorted(keys))}", line)

    @staticmethod
    def text(table: Mapping[str, Any], key: str, line: int) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value:
            _wrong(key, value, "a string", line)
        return value

    @staticmethod
    def texts(table: Mapping[str, Any], key: str, line: int) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            _wrong(key, value, "a list of strings", line)
        return tuple(value)


def _wrong(key: str, value: object, what: str, line: int) -> NoReturn:
    raise LockError(f"{key} is missing" if value is None else f"{key} = {value!r} is not {what}", line)


# --- comparing ----------------------------------------------------------------------------------


def compare_lock(
    lock: Lock,
    report: Report,
    *,
    lock_path: str = LOCK_NAME,
    root: str | None = None,
    partial: bool = False,
) -> list[Finding]:
    """Say what changed since the lock was written (codes OSR121 to OSR126), one root cause by one.

    Args:
        lock: of :func:`read_lock`.
        report: of :func:`rewriter.cache.inspect` for what the configs need now, with ``known=lock.known()`` and, to
            compare contents, ``hash``.
        lock_path: for the findings.
        root: the checkout, as for :func:`write_lock`.
        partial: only some of the project's configs were read, so what they do not need is no finding.

    Weights that the report has findings of are not judged again.
    """
    now: dict[tuple[str, str], list[Inspected]] = {}
    for found in report.inspected:
        now.setdefault(_key(found.need), []).append(found)
    compare = _Compare(lock_path, root, partial)
    locked = {(repo.repo_id, repo.revision): repo for repo in lock.repos}
    findings = [finding for key, repo in locked.items() for finding in compare.repo(repo, now.get(key, []))]
    return findings + [finding for key, group in now.items() for finding in compare.newly(locked.get(key), group)]


@dataclass(frozen=True, slots=True)
class _Compare:
    lock_path: str
    root: str | None
    partial: bool

    def repo(self, repo: LockedRepo, group: list[Inspected]) -> list[Finding]:
        if not group:
            message = f"{repo.repo_id} ({repo.revision}) is in the lock, but no config needs it any more"
            unneeded = self._at(repo.line, "OSR125", message, "opensora-rewriter lock", "warning")
            return [] if self.partial else [unneeded]
        there = [found for found in group if found.commit is not None]
        for found in there:
            if found.commit != repo.commit:
                return [self._at(repo.line, "OSR121", *_other_commit(repo, found))]
        return self._files(repo, there) if there else []

    def _files(self, repo: LockedRepo, group: list[Inspected]) -> list[Finding]:
        files = {file.name: file for found in group for file in found.files}
        locked = {file.path: file for file in repo.files}
        cache_dir = group[0].need.cache_dir
        findings = []
        for path, file in locked.items():
            if path in files:
                told = _difference(file, files[path])
                if told:
                    remedy = download_command(repo.repo_id, cache_dir, revision=repo.commit, files=[path], force=True)
                    findings.append(self._at(file.line, "OSR124", f"{repo.repo_id}: {path} {told}", remedy))
            elif not self.partial and all(found.sound for found in group):
                remedy = download_command(repo.repo_id, cache_dir, revision=repo.commit, files=[path])
                findings.append(self._at(file.line, "OSR123", f"{repo.repo_id}: {path} is no longer read", remedy))
        for path in sorted(files.keys() - locked.keys()):
            message = f"{repo.repo_id}: {path} is read now, but the lock does not have it"
            findings.append(self._at(repo.line, "OSR122", message, _RELOCK))
        return findings

    def newly(self, repo: LockedRepo | None, group: list[Inspected]) -> list[Finding]:
        """Configs that the lock does not know to need this repo; one finding for each config."""
        known = set(repo.configs) if repo is not None else set()
        findings: dict[str, Finding] = {}
        for path, line, component in (place for found in group for place in found.need.wanted_by):
            config = _relative(path, self.root)
            if config in known or config in findings:
                continue
            need = group[0].need
            lacks = "the lock does not have it" if repo is None else "the lock has it for other configs only"
            message = f"{config} needs {need.repo_id} ({need.revision or 'main'}), and {lacks}"
            severity: Severity = "error" if repo is None else "warning"
            findings[config] = Finding("OSR126", path, line, 0, component, message, "opensora-rewriter lock", severity)
        return list(findings.values())

    def _at(self, line: int, code: str, message: str, remedy: str, severity: Severity = "error") -> Finding:
        return Finding(code, self.lock_path, line, 0, "", message, remedy, severity)


def _other_commit(repo: LockedRepo, found: Inspected) -> tuple[str, str]:
    cache_dir = found.need.cache_dir
    ref = os.path.join(cache_dir, "models--" + repo.repo_id.replace("/", "--"), "refs", repo.revision)
    message = f"{repo.repo_id} ({repo.revision}) is commit {found.commit} in {cache_dir}, the lock says {repo.commit}"
    fetch = download_command(repo.repo_id, cache_dir, revision=repo.commit)
    return message, f"{fetch} && printf %s {repo.commit} > {shlex.quote(ref)}"


def _difference(locked: LockedFile, file: CachedFile) -> str:
    if file.size != locked.size:
        return f"has {file.size:,} bytes, the lock says {locked.size:,}"
    same_kind = file.hash.partition(":")[0] == locked.hash.partition(":")[0]
    if same_kind and file.hash != locked.hash:
        return f"is {file.hash}, the lock says {locked.hash}"
    return ""
