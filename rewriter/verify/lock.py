"""Write down which weights a project's configs need, and report later what changed: ``opensora-models.lock`` (TOML)."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rewriter.files import parse_toml
from rewriter.model import Finding
from rewriter.verify.cache import CacheReport, Inspected
from rewriter.verify.directories import COMMIT, SYNTHETIC, CachedRepo, Place, Trouble, format_download, format_ref
from rewriter.verify.files import CachedFile

LOCK_NAME = "opensora-models.lock"
_VERSION = 1
_quote = functools.partial(json.dumps, ensure_ascii=False)  # TOML's basic strings are JSON's
_HASH = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}|")


class LockedRepo(NamedTuple):
    """What is read of a repo (files without a ``path``), and the configs, below the checkout, that need it."""

    commit: str
    configs: tuple[str, ...]
    files: tuple[CachedFile, ...]
    line: int


Lock = dict[tuple[str, str], LockedRepo]
"""By repo id and revision."""


def write_lock(report: CacheReport, root: str | None = None) -> str:
    """The lock's text: the same for the same needs and weights, wherever the cache and the checkout (``root``) are.

    ``report``: of ``inspect_cache`` with ``hash="unnamed"``, so that every file has a hash. Raises ValueError: a need's
    weights are not complete, or two caches hold different commits of one repo.
    """
    blocks = [f"# Written by opensora-rewriter lock; `verify --lock` compares.\nversion = {_VERSION}\n"]
    for (repo_id, revision), group in sorted(_group_by_repo(report.inspected).items()):
        if broken := [found.need.cache_dir for found in group if not found.sound]:
            raise ValueError(f"{repo_id} in {broken[0]} is not complete: run `verify` first")
        commits = sorted({f"{found.commit} in {found.need.cache_dir}" for found in group})
        if len({found.commit for found in group}) > 1:
            raise ValueError(f"{repo_id} has two commits, of which a lock can hold one: {', '.join(commits)}")
        head = {"id": repo_id, "revision": revision, "commit": group[0].commit}
        subfolders = sorted({found.need.subfolder for found in group if found.need.subfolder})
        lines = ["[[repo]]", *(f"{key} = {_quote(value)}" for key, value in head.items())]
        lines += [f"subfolders = [{', '.join(map(_quote, subfolders))}]"] if subfolders else []
        lines += ["configs = [", *(f"  {_quote(config)}," for config in sorted(_find_configs(group, root))), "]"]
        for file in sorted({file.name: file for found in group for file in found.files}.values()):
            own = f"path = {_quote(file.name)}", f"size = {file.size}", f"hash = {_quote(file.hash)}"
            lines += ["", "[[repo.file]]", *own]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _group_by_repo(inspected: Iterable[Inspected]) -> dict[tuple[str, str], list[Inspected]]:
    groups: dict[tuple[str, str], list[Inspected]] = {}
    for found in inspected:
        groups.setdefault((found.need.repo_id, found.need.revision or "main"), []).append(found)
    return groups


def _find_configs(inspected: Iterable[Inspected], root: str | None) -> dict[str, Place]:
    """The configs that request something, by their paths below the checkout: the first place in each."""
    places = [place for found in inspected for place in found.need.requested_by]
    return {os.path.relpath(place[0], root) if root else place[0]: place for place in reversed(places)}


def read_lock(text: str) -> Lock:
    """Parse a lock; raises ValueError, with the line where the mistake is in one repo."""
    data = parse_toml(text)
    if data.get("version") != _VERSION:
        found = f"this lock says {data.get('version', 'no version')!r}"
        raise ValueError(f"{found}; this program reads version = {_VERSION}: upgrade it, or lock again")
    lines = [number for number, line in enumerate(text.split("\n"), 1) if line.strip() == "[[repo]]"]
    lock: Lock = {}
    for line, table in zip(lines or [1], data.get("repo", ()), strict=False):
        try:
            files = [CachedFile(f["path"], "", size=f["size"], hash=f.get("hash", "")) for f in table.get("file", ())]
            for kind, value in [(COMMIT, table["commit"]), *((_HASH, file.hash) for file in files)]:
                if not kind.fullmatch(value):
                    raise ValueError(f"{value!r} is not {kind.pattern}")
            repo = LockedRepo(table["commit"], tuple(table["configs"]), tuple(files), line)
            lock[table["id"], table["revision"]] = repo
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"this repo is not as `lock` writes it ({type(error).__name__}: {error})"
            raise ValueError(f"line {line}: {reason}") from None
    return lock


def compare_lock(
    lock: Lock, report: CacheReport, path: str, root: str | None, partial: bool, scope: str
) -> list[Finding]:
    """What changed since the lock was written (OSR121 to OSR126); what the report has findings of is left out.

    ``report``: of ``inspect_cache`` for what the configs need now, with the lock's hashes as ``known`` and, to compare
    contents, ``hash``. ``partial``: not all of the project's configs were read; what they do not need is no finding.
    ``scope``: PATHs and options of the run; a lock of more configs is to be written for all of them again.
    """
    now, seen = _group_by_repo(report.inspected), _find_configs(report.inspected, root)
    if partial and not {config for repo in lock.values() for config in repo.configs} <= seen.keys():
        scope = ". --all-configs"
    again = f"opensora-rewriter lock {scope}"
    findings: list[Finding] = []
    for key, repo in lock.items():
        for trouble in _compare_repo(key, repo, now.get(key, []), again):
            if not (partial and trouble.code in ("OSR123", "OSR125")):
                findings += trouble.at([(path, repo.line, "")])
    for key, group in now.items():
        known = lock.get(key)
        lacks = "the lock has it for other configs only" if known else "the lock does not have it"
        for config, place in _find_configs(group, root).items():
            if known is None or config not in known.configs:
                message = f"{config} needs {key[0]} ({key[1]}), and {lacks}"
                findings += Trouble("OSR126", message, again, "warning" if known else "error").at([place])
    return findings


def _compare_repo(key: tuple[str, str], repo: LockedRepo, group: list[Inspected], again: str) -> Iterator[Trouble]:
    repo_id, revision = key
    subject = f"{repo_id} ({revision})"
    if not group:
        yield Trouble("OSR125", f"{subject} is in the lock, but no config needs it any more", again, "warning")
    present = [found for found in group if found.commit is not None]
    for found in present:
        if found.commit != repo.commit:
            cached = CachedRepo(found.need.cache_dir, repo_id, revision)
            remedy = format_ref(repo.commit, cached.ref_path)
            if not os.path.lexists(cached.get_snapshot(repo.commit)):  # else no network is needed
                fetch = _format_fetch(cached.cache_dir, repo_id, repo.commit, repo.files)
                remedy = fetch if repo.commit.startswith(SYNTHETIC) else f"{fetch} && {remedy}"
            message = f"{subject} is commit {found.commit} in {cached.cache_dir}, the lock says {repo.commit}"
            yield Trouble("OSR121", message, remedy)
            return
    files = {file.name: file for found in present for file in found.files if file.state == "ok"}
    for locked in repo.files if present else ():
        file, name = files.pop(locked.name, None), f"{repo_id}: {locked.name}"
        fetch = _format_fetch(group[0].need.cache_dir, repo_id, repo.commit, [locked])
        kinds = {each.hash.partition(":")[0] for each in (file, locked) if each is not None}
        if file is None:
            if all(found.sound for found in present):
                yield Trouble("OSR123", f"{name} is no longer read", fetch)
        elif file.size != locked.size or (file.hash != locked.hash and len(kinds) == 1):
            blob = shlex.quote(os.path.realpath(file.path))
            remove = "" if repo.commit.startswith(SYNTHETIC) else f"rm {blob} && "
            message = f"{name} has {file.size:,} bytes and is {file.hash}, "
            yield Trouble("OSR124", f"{message}the lock says {locked.size:,} and {locked.hash}", remove + fetch)
    for path in sorted(files):
        message = f"{repo_id}: {path} is read now, but the lock does not have it"
        yield Trouble("OSR122", message, f"if that is wanted: {again}")


def _format_fetch(cache_dir: str, repo_id: str, commit: str, files: Iterable[CachedFile]) -> str:
    """How to get files of the locked commit again; no Hub has a commit that ``adopt`` made up."""
    if commit.startswith(SYNTHETIC):
        again = f"--repo {repo_id} --cache-dir {shlex.quote(cache_dir)} --replace-ref"
        return f"adopt the files again that were locked: opensora-rewriter adopt FOLDER {again}"
    return format_download(repo_id, cache_dir, commit, [file.name for file in files])
