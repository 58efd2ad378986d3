"""Inspect caches for what loaders request: one cause gives one message for each repo. Reads, never writes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from rewriter.model import Finding
from rewriter.verify.directories import Trouble, check_directory, describe_source, describe_unreadable, report_trouble
from rewriter.verify.files import (
    CachedFile,
    HashKind,
    Progress,
    State,
    check_file,
    find_blob_name,
    format_hash,
    hash_file,
    hash_files,
)
from rewriter.verify.needs import Need
from rewriter.verify.requested_files import list_subfolders, select_files
from rewriter.verify.snapshots import CachedRepo, format_ref
from rewriter.verify.weights_files import WeightsError, read_shard_index

Known = Mapping[tuple[str, str], str]
"""(repo_id, file name) -> "sha256:HEX" or "git-sha1:HEX"."""
Hashing = Literal[False, True, "unnamed"]
_LOCKABLE = ("sha256:", "git-sha1:")


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found for a need: its commit and snapshot (None where there is none) and the files that are read.

    ``sound``: no error was found in the repo, so ``files`` are all that there should be.
    """

    need: Need
    commit: str | None = None
    snapshot: str | None = None
    files: tuple[CachedFile, ...] = ()
    sound: bool = False


@dataclass(frozen=True, slots=True)
class CacheReport:
    """The findings of one inspection and, need by need in the order given, what was found."""

    findings: tuple[Finding, ...] = ()
    inspected: tuple[Inspected, ...] = ()


def inspect_cache(
    needs: Sequence[Need], *, hash: Hashing = False, progress: Progress | None = None, known: Known | None = None
) -> CacheReport:
    """Look for every need's files in its cache, offline and without writing anything.

    Args:
        needs: what the loaders request; ``cache_dir`` absolute.
        hash: True hashes every file that the loaders read and compares it with the blob's own name; "unnamed" hashes
            only files whose hash the layout does not say (for a lock).
        progress: called with (bytes hashed, bytes in all).
        known: hashes from a lock, which stand for names in a layout without symlinks.

    Returns:
        Findings (codes OSR002, OSR101 to OSR118) in the order of the needs, and what was found for each need.
    """
    caches = _check_caches(needs)
    groups: dict[tuple[str, str, str], list[Need]] = {}
    for need in needs:
        if not caches[need.cache_dir]:
            groups.setdefault(_get_key(need), []).append(need)
    states = {key: _open_repo(group) for key, group in groups.items()}
    _hash_states(states.values(), hash, progress, known or {})
    findings = [finding for cache in caches.values() for finding in cache]
    findings += [finding for state in states.values() for finding in _report_state(state)]
    inspected = tuple(_collect(need, states.get(_get_key(need))) for need in needs)
    return CacheReport(tuple(dict.fromkeys(findings)), inspected)


def check_directories(needs: Sequence[Need]) -> list[Finding]:
    """What is wrong with the cache directories themselves: not absolute, missing, not readable, not a cache."""
    return [finding for findings in _check_caches(needs).values() for finding in findings]


def report_needs(trouble: Trouble, needs: Iterable[Need]) -> list[Finding]:
    """A trouble's findings, one for each place that requests one of the needs."""
    needs = list(needs)
    places = [place for need in needs for place in need.requested_by or ((need.cache_dir, 0, ""),)]
    return report_trouble(trouble, places, describe_source(needs[0].source))


@dataclass
class _RepoState:
    """One repo while it is inspected.

    ``files``: all that were looked at. ``missing``: what is missing, in words -> the file to fetch, or "".
    ``requested``: for each file, or what lacks in words, the needs that read it. ``unverified``: file -> why its hash
    proves nothing.
    """

    repo: CachedRepo
    needs: list[Need]
    commit: str = ""
    trouble: Trouble | None = None
    files: dict[str, CachedFile] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    requested: dict[str, list[Need]] = field(default_factory=dict)
    unverified: dict[str, str] = field(default_factory=dict)


def _get_key(need: Need) -> tuple[str, str, str]:
    return need.cache_dir, need.repo_id, need.revision or "main"


def _check_caches(needs: Sequence[Need]) -> dict[str, list[Finding]]:
    caches: dict[str, list[Need]] = {}
    for need in needs:
        caches.setdefault(need.cache_dir, []).append(need)
    return {
        path: check_directory(
            path,
            where=[place for need in group for place in need.requested_by or ((path, 0, ""),)],
            source=group[0].source,
            repo_ids=[need.repo_id for need in group],
        )
        for path, group in caches.items()
    }


def _open_repo(needs: list[Need]) -> _RepoState:
    first = needs[0]
    hard_coded = all(need.hard_coded for need in needs)
    repo = CachedRepo(first.cache_dir, first.repo_id, first.revision, hard_coded, list_subfolders(needs), first.key)
    commit = repo.find_commit()
    if isinstance(commit, Trouble):
        return _RepoState(repo, needs, trouble=_prefer_snapshot(repo, commit, needs))
    state = _RepoState(repo, needs, commit)
    for need in needs:
        _read_need(state, need)
    return state


def _prefer_snapshot(repo: CachedRepo, trouble: Trouble, needs: list[Need]) -> Trouble:
    """Where the ref's snapshot is missing and another one holds all that is requested, take that: no network."""
    if trouble.code == "OSR110" and repo.ref == "main":
        for commit in repo.list_snapshots():
            if all(
                found.sound for found in inspect_cache([replace(need, revision=commit) for need in needs]).inspected
            ):
                return replace(trouble, remedy=format_ref(commit, repo.ref_path))
    return trouble


# --- which files --------------------------------------------------------------------------------


def _read_need(state: _RepoState, need: Need) -> None:
    """Check the files that one need's loader reads."""

    def exists(name: str) -> bool:
        return _check(state, name).state != "missing"

    selected = select_files(need, exists, lambda: _list_snapshot(state), lambda index: _read_index(state, index))
    for name in selected.files:
        _check(state, name)
    for name in (*selected.files, *(words for words, _ in selected.missing)):
        state.requested.setdefault(name, []).append(need)
    state.missing |= dict(selected.missing)


def _list_snapshot(state: _RepoState) -> list[str]:
    snapshot = state.repo.get_snapshot(state.commit)
    found = (os.path.join(folder, name) for folder, _, names in os.walk(snapshot) for name in names)
    return [os.path.relpath(path, snapshot).replace(os.sep, "/") for path in found]


def _read_index(state: _RepoState, index: str) -> Iterable[str]:
    checked = _check(state, index)
    if checked.state == "ok":
        try:
            return dict.fromkeys(read_shard_index(checked.path).values())
        except (OSError, WeightsError) as error:
            state.files[index] = replace(checked, state="altered", detail=str(error))
    return ()


def _check(state: _RepoState, name: str) -> CachedFile:
    if name not in state.files:
        path = os.path.join(state.repo.get_snapshot(state.commit), *name.split("/"))
        leads_out = os.pardir in name.split("/") or name.startswith("/") or "\0" in name  # the Hub library refuses it
        state.files[name] = CachedFile(name, path, "missing") if leads_out else check_file(path, name)
    return state.files[name]


# --- hashes -------------------------------------------------------------------------------------


def _hash_states(states: Iterable[_RepoState], hash: Hashing, progress: Progress | None, known: Known) -> None:
    """Fill in each state's files, hashed as requested."""
    tasks: list[tuple[_RepoState, str, str, tuple[str, HashKind]]] = []
    for state in states:
        for name in state.requested:
            file = state.files.get(name)
            if name in state.missing or file is None or file.state != "ok":
                continue
            named, locked = format_hash(find_blob_name(file.path)), known.get((state.repo.repo_id, name), "")
            lockable = named if named.startswith(_LOCKABLE) else ""
            state.files[name] = replace(file, hash=lockable)
            if hash is True and not named and not locked:
                state.unverified[name] = _explain_unnamed(find_blob_name(file.path))
            if hash is True or (hash and not lockable):
                expected = named if hash is True else ""
                kind = (expected or locked or "sha256").partition(":")[0]
                tasks.append((state, name, expected, (os.path.realpath(file.path), cast("HashKind", kind))))
    results = hash_files([task[3] for task in tasks], progress)
    for state, name, expected, item in tasks:
        _settle_hash(state, name, expected, item, results[item])


def _explain_unnamed(blob: str) -> str:
    if not blob:
        return "this cache has no symlinks, so no name says the hash"
    return f"its blob is named by a mirror's ETag ({blob[:70]!r}), which is no hash"


def _settle_hash(state: _RepoState, name: str, expected: str, item: tuple[str, HashKind], got: str | OSError) -> None:
    """Compare one computed hash with the name that it should be.

    Mirrors name blobs by ETags of their own: plain sha1 or md5 of the content. Such a name proves the content where
    it fits; an md5 that does not fit proves nothing, since object stores make 32 digits of other things too.
    """
    path, kind = item
    file = state.files[name]
    hash = f"{kind}:{got}"
    if isinstance(got, OSError):
        file = replace(file, state="unreadable", error=got)
    elif expected in ("", hash):
        file = replace(file, hash=hash if hash.startswith(_LOCKABLE) else "", verified=bool(expected))
    elif kind == "md5":
        state.unverified[name] = _explain_unnamed(expected.partition(":")[2])
    elif kind == "git-sha1" and hash_file(path, "sha1") == expected.partition(":")[2]:
        file = replace(file, hash="", verified=True)
    else:
        file = replace(file, state="altered", detail=f"hashes to {hash}, should be {expected}")
    state.files[name] = file


# --- findings -----------------------------------------------------------------------------------


def _report_state(state: _RepoState) -> list[Finding]:
    if state.trouble is not None:
        return report_needs(state.trouble, state.needs)
    errors = _report_files(state)
    if errors:
        return errors
    warnings: list[Finding] = []
    repo_id = state.repo.repo_id
    if state.repo.hard_coded:
        message = f"{repo_id} is read though no config names it: the loader's own source does; it is in the cache"
        remedy = "keep it when this cache is copied or trimmed"
        warnings += report_needs(Trouble("OSR117", message, remedy, "warning"), state.needs)
    for why in dict.fromkeys(state.unverified.values()):
        names = [name for name, reason in state.unverified.items() if reason == why]
        message = f"{repo_id}: {_shorten(names)} could not be verified: {why}"
        remedy = "opensora-rewriter lock on a cache that is known to be good, then verify --hash --lock FILE"
        warnings += report_needs(Trouble("OSR118", message, remedy, "warning"), state.requested[names[0]])
    return warnings


def _report_files(state: _RepoState) -> list[Finding]:
    """The files' troubles, gathered: one for each kind of trouble that the repo has."""
    by_state: dict[State, list[str]] = {}
    for name in state.requested:
        if name not in state.missing and state.files[name].state != "ok":
            by_state.setdefault(state.files[name].state, []).append(name)
    broken = by_state.pop("broken", [])
    blobs = {} if state.repo.unfinished else {name: _find_blob(state, name) for name in broken}
    movable = [name for name in broken if blobs.get(name)]
    absent = [*(name for name in broken if name not in movable), *state.missing]
    found = [(movable, _describe_relink(state, {name: blobs[name] for name in movable}))] if movable else []
    found += [(absent, _describe_absent_files(state, absent))] if absent else []
    found += [(names, _describe_flawed(state, kind, names)) for kind, names in by_state.items()]
    findings: list[Finding] = []
    for names, trouble in found:
        findings += report_needs(trouble, [need for name in names for need in state.requested[name]])
    return findings


def _find_blob(state: _RepoState, name: str) -> str:
    """Where the blob of a broken link is after all: the cache was moved, or its links were copied as they were."""
    blob = os.path.join(state.repo.folder, "blobs", find_blob_name(state.files[name].path))
    return blob if os.path.isfile(blob) else ""


def _describe_relink(state: _RepoState, blobs: Mapping[str, str]) -> Trouble:
    first = next(iter(blobs))
    message = (
        f"{state.repo.repo_id}: {_shorten(list(blobs))}: a link to {state.files[first].detail}, which is not there; "
        "its blob is, so it can be linked again"
    )
    commands = []
    for name, blob in blobs.items():
        link = state.files[name].path
        commands.append(shlex.join(["ln", "-sfn", os.path.relpath(blob, os.path.dirname(link)), link]))
    return Trouble("OSR112", message, " && ".join(commands))


def _describe_absent_files(state: _RepoState, absent: list[str]) -> Trouble:
    """Files that are not there, for one of three reasons: not finished, their blobs gone, never fetched."""
    repo, missing = state.repo, state.missing
    if repo.unfinished:
        return repo.describe_unfinished(absent)
    broken = [name for name in absent if name not in missing]
    if broken:
        message = f"{repo.repo_id}: {_shorten(broken)}: a link to {state.files[broken[0]].detail}, which is not there"
        return Trouble("OSR112", message, repo.format_download(revision=_get_revision(state)))
    message = f"{repo.repo_id}: {_shorten(list(missing))} not in {repo.get_snapshot(state.commit)}"
    files = missing.values() if all(missing.values()) else ()
    return Trouble("OSR113", message, repo.format_download(files, revision=_get_revision(state)))


def _get_revision(state: _RepoState) -> str:
    """Fetch into the very snapshot that is read, even if the Hub's main has moved on."""
    return state.repo.revision or state.commit


def _describe_flawed(state: _RepoState, kind: State, names: list[str]) -> Trouble:
    """Files that are there and are not what they should be, all in the same way."""
    repo, first = state.repo, state.files[names[0]]
    listed = f"{repo.repo_id}: {_shorten(names)}: "
    remedy = repo.format_download(names, force=True, revision=_get_revision(state))
    if kind == "lost":
        message = f"{listed}a copy turned links into text files that hold the link's path"
        return Trouble("OSR111", message, repo.format_recopy(force=True))
    if kind == "unreadable":
        trouble = describe_unreadable(repo.folder, first.error or OSError(0, "unknown error"))
        return replace(trouble, message=listed + trouble.message)
    if kind == "pointer":
        return Trouble("OSR115", f"{listed}a Git-LFS pointer of {first.size} bytes, not the weights", remedy)
    details = "; ".join(f"{name} {state.files[name].detail}" for name in names[:5])
    more = f" (and {len(names) - 5} more)" if len(names) > 5 else ""
    return Trouble("OSR114", f"{repo.repo_id}: {details}{more}", remedy)


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _collect(need: Need, state: _RepoState | None) -> Inspected:
    if state is None or not state.commit:
        return Inspected(need)
    read = [state.files.get(name) for name, needs in sorted(state.requested.items()) if need in needs]
    sound = not state.missing and all(state.files[name].state == "ok" for name in state.requested)
    files = tuple(file for file in read if file is not None and file.state == "ok")
    return Inspected(need, state.commit, state.repo.get_snapshot(state.commit), files, sound)
