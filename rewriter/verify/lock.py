"""Write down which weights a project's configs need, and report later what changed: ``opensora-models.lock`` (TOML)."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewriter.model import Finding, Severity
from rewriter.verify.cache import CachedFile, CacheReport, Inspected
from rewriter.verify.directories import format_download
from rewriter.verify.needs import Need
from rewriter.verify.snapshots import COMMIT, SYNTHETIC, format_ref, get_repo_folder

LOCK_NAME = "opensora-models.lock"
_VERSION = 1
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
    groups: dict[tuple[str, str], list[Inspected]] = {}
    for found in report.inspected:
        if found.commit is None or not found.sound:
            raise LockError(f"{found.need.repo_id} in {found.need.cache_dir} is not complete: run `verify` first")
        groups.setdefault(_get_key(found.need), []).append(found)
    blocks = [f"# Written by opensora-rewriter lock; `verify --lock` compares.\nversion = {_VERSION}\n"]
    blocks += [_format_repo(_lock_repo(key, group, root)) for key, group in sorted(groups.items())]
    return "\n".join(blocks)


def _get_key(need: Need) -> tuple[str, str]:
    return need.repo_id, need.revision or "main"


def _lock_repo(key: tuple[str, str], group: list[Inspected], root: str | None) -> LockedRepo:
    commits = {found.commit: found.need.cache_dir for found in group}
    if len(commits) > 1:
        listed = ", ".join(f"{commit} in {folder}" for commit, folder in sorted(commits.items(), key=str))
        raise LockError(f"{key[0]} has two commits in two caches, of which a lock can hold one: {listed}")
    files = {file.name: LockedFile(file.name, file.size, file.hash) for found in group for file in found.files}
    subfolders = sorted({found.need.subfolder for found in group if found.need.subfolder})
    configs = sorted({_relative_path(place[0], root) for found in group for place in found.need.requested_by})
    locked = tuple(files[name] for name in sorted(files))
    return LockedRepo(*key, str(group[0].commit), tuple(subfolders), tuple(configs), locked)


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
    r"""A TOML basic string (toml.io, v1.0).

    >>> print(quote_toml('a"b\\c'))
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
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise LockError(f"not TOML: {error}", int(place[1]) if place else 0) from None
    if data.get("version") != _VERSION:
        found = f"this lock says {data.get('version', 'no version')!r}"
        raise LockError(f"{found}; this program reads version = {_VERSION}: upgrade it, or lock again", 1)
    reader = _Reader(text)
    reader.check_keys(data, {"version", "repo"}, 1)
    repos = [reader.read_repo(table) for table in reader.get_tables(data, "repo", "[[repo]]", 1)]
    _refuse_repeated([(repo.repo_id, repo.revision) for repo in repos], [repo.line for repo in repos])
    return Lock(tuple(sorted(repos, key=lambda repo: (repo.repo_id, repo.revision))))


def _refuse_repeated(keys: Sequence[object], lines: Sequence[int]) -> None:
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise LockError(f"{key!r} is there twice", lines[index])


class _Reader:
    """Checks a lock's tables one after the other, each with the line of its header."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.split("\n")]
        self._repos = iter([number for number, line in enumerate(lines, 1) if line == "[[repo]]"])
        self._files = iter([number for number, line in enumerate(lines, 1) if line == "[[repo.file]]"])

    def read_repo(self, table: dict[str, Any]) -> LockedRepo:
        line = next(self._repos, 0)
        self.check_keys(table, {"id", "revision", "commit", "subfolders", "configs", "file"}, line)
        commit = self.get_text(table, "commit", line)
        if not COMMIT.fullmatch(commit):
            raise LockError(f"commit = {commit!r} is not 40 hex digits", line)
        files = tuple(self.read_file(file) for file in self.get_tables(table, "file", "[[repo.file]]", line))
        _refuse_repeated([file.path for file in files], [file.line for file in files])
        subfolders, configs = self.get_texts(table, "subfolders", line), self.get_texts(table, "configs", line)
        names = self.get_text(table, "id", line), self.get_text(table, "revision", line)
        return LockedRepo(*names, commit, subfolders, configs, files, line)

    def read_file(self, table: dict[str, Any]) -> LockedFile:
        line = next(self._files, 0)
        self.check_keys(table, {"path", "size", "hash"}, line)
        path, size = self.get_text(table, "path", line), table.get("size")
        if type(size) is not int or size < 0:
            raise LockError(f"size = {size!r} is not a number of bytes", line)
        hash = self.get_text(table, "hash", line) if "hash" in table else ""
        if hash and not _HASH.fullmatch(hash):
            raise LockError(f"hash = {hash!r} is neither sha256:(64 hex digits) nor git-sha1:(40 hex digits)", line)
        return LockedFile(path, size, hash, line)

    @staticmethod
    def get_tables(table: Mapping[str, Any], key: str, spelled: str, line: int) -> list[dict[str, Any]]:
        found = table.get(key, [])
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise LockError(f"`{key}` must be an array of tables: {spelled}", line)
        return found

    @staticmethod
    def check_keys(table: Mapping[str, Any], keys: set[str], line: int) -> None:
        for key in table:
            if key not in keys:
                raise LockError(f"unknown key {key!r}; known: {', '.join(sorted(keys))}", line)

    @staticmethod
    def get_text(table: Mapping[str, Any], key: str, line: int) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value:
            raise LockError(f"{key} is missing" if value is None else f"{key} = {value!r} is not a string", line)
        return value

    @staticmethod
    def get_texts(table: Mapping[str, Any], key: str, line: int) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise LockError(f"{key} = {value!r} is not a list of strings", line)
        return tuple(value)


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
    now: dict[tuple[str, str], list[Inspected]] = {}
    for found in report.inspected:
        now.setdefault(_get_key(found.need), []).append(found)
    compare = _Comparison(lock_path, root, partial)
    locked = {(repo.repo_id, repo.revision): repo for repo in lock.repos}
    findings = [finding for key, repo in locked.items() for finding in compare.compare_repo(repo, now.get(key, []))]
    return findings + [f for key, group in now.items() for f in compare.find_new_configs(locked.get(key), group)]


@dataclass(frozen=True, slots=True)
class _Comparison:
    lock_path: str
    root: str | None
    partial: bool

    def compare_repo(self, repo: LockedRepo, group: list[Inspected]) -> list[Finding]:
        if not group:
            message = f"{repo.repo_id} ({repo.revision}) is in the lock, but no config needs it any more"
            unneeded = self._report(repo.line, "OSR125", message, "opensora-rewriter lock", "warning")
            return [] if self.partial else [unneeded]
        present = [found for found in group if found.commit is not None]
        for found in present:
            if found.commit != repo.commit:
                return [self._report(repo.line, "OSR121", *_describe_other_commit(repo, found))]
        return self._compare_files(repo, present) if present else []

    def _compare_files(self, repo: LockedRepo, group: list[Inspected]) -> list[Finding]:
        files = {file.name: file for found in group for file in found.files}
        locked = {file.path: file for file in repo.files}
        findings = []
        for path, file in locked.items():
            remedy = _format_fetch(repo, group[0].need.cache_dir, path, force=path in files)
            change = _describe_change(file, files[path]) if path in files else ""
            if change:
                findings.append(self._report(file.line, "OSR124", f"{repo.repo_id}: {path} {change}", remedy))
            elif path not in files and not self.partial and all(found.sound for found in group):
                message = f"{repo.repo_id}: {path} is no longer read"
                findings.append(self._report(file.line, "OSR123", message, remedy))
        for path in sorted(files.keys() - locked.keys()):
            message = f"{repo.repo_id}: {path} is read now, but the lock does not have it"
            findings.append(self._report(repo.line, "OSR122", message, _RELOCK))
        return findings

    def find_new_configs(self, repo: LockedRepo | None, group: list[Inspected]) -> list[Finding]:
        """Configs that the lock does not know to need this repo; one finding for each config."""
        known = set(repo.configs) if repo is not None else set()
        need = group[0].need
        lacks = "the lock does not have it" if repo is None else "the lock has it for other configs only"
        severity: Severity = "error" if repo is None else "warning"
        findings: dict[str, Finding] = {}
        for path, line, component in (place for found in group for place in found.need.requested_by):
            config = _relative_path(path, self.root)
            if config not in known and config not in findings:
                message = f"{config} needs {need.repo_id} ({need.revision or 'main'}), and {lacks}"
                remedy = "opensora-rewriter lock"
                findings[config] = Finding("OSR126", path, line, 0, component, message, remedy, severity)
        return list(findings.values())

    def _report(self, line: int, code: str, message: str, remedy: str, severity: Severity = "error") -> Finding:
        return Finding(code, self.lock_path, line, 0, "", message, remedy, severity)


def _describe_other_commit(repo: LockedRepo, found: Inspected) -> tuple[str, str]:
    cache_dir = found.need.cache_dir
    folder = get_repo_folder(cache_dir, repo.repo_id)
    message = f"{repo.repo_id} ({repo.revision}) is commit {found.commit} in {cache_dir}, the lock says {repo.commit}"
    restore = format_ref(repo.commit, os.path.join(folder, "refs", repo.revision))
    if os.path.isdir(os.path.join(folder, "snapshots", repo.commit)):
        return message, restore  # no network
    if repo.commit.startswith(SYNTHETIC):
        return message, _format_fetch(repo, cache_dir, "")
    return message, f"{format_download(repo.repo_id, cache_dir, revision=repo.commit)} && {restore}"


def _format_fetch(repo: LockedRepo, cache_dir: str, path: str, *, force: bool = False) -> str:
    """How to get a file of the locked commit again; no Hub has a commit that ``adopt`` made up."""
    if repo.commit.startswith(SYNTHETIC):
        again = f"--repo {repo.repo_id} --cache-dir {shlex.quote(cache_dir)} --replace-ref"
        return f"adopt the files again that were locked: opensora-rewriter adopt FOLDER {again}"
    return format_download(repo.repo_id, cache_dir, revision=repo.commit, files=[path], force=force)


def _describe_change(locked: LockedFile, file: CachedFile) -> str:
    if file.size != locked.size:
        return f"has {file.size:,} bytes, the lock says {locked.size:,}"
    same_kind = file.hash.partition(":")[0] == locked.hash.partition(":")[0]
    if same_kind and file.hash != locked.hash:
        return f"is {file.hash}, the lock says {locked.hash}"
    return ""
