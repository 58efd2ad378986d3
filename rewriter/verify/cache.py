"""Inspect caches for what loaders request: one cause gives one message for each repo. Reads, never writes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from rewriter.checkout import open_regular
from rewriter.model import Finding
from rewriter.verify.directories import (
    Place,
    Trouble,
    check_directory,
    describe_source,
    describe_unreadable,
    report_trouble,
)
from rewriter.verify.files import CheckedFile, State, check_file, find_blob_name, format_hash, get_hash_kind
from rewriter.verify.hashing import HashKind, Progress, hash_files
from rewriter.verify.needs import Need
from rewriter.verify.requested_files import list_subfolders, select_files
from rewriter.verify.snapshots import CachedRepo, format_ref
from rewriter.verify.weights_files import WeightsError, read_shard_index

Known = Mapping[tuple[str, str], str]
"""(repo_id, file name) -> "sha256:HEX" or "git-sha1:HEX"."""
Hashing = Literal[False, True, "unnamed"]


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file that a loader reads. ``size`` in bytes.

    ``name``: posix path below the snapshot. ``hash``: ``sha256:HEX`` or ``git-sha1:HEX``, or "" where neither the
    cache's layout nor hashing says it. ``verified``: the content was hashed and is what it should be.
    """

    name: str
    path: str
    size: int
    hash: str = ""
    verified: bool = False


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
    hashed_bytes: int = 0


def inspect_cache(
    needs: Sequence[Need],
    *,
    hash: Hashing = False,
    jobs: int | None = None,
    progress: Progress | None = None,
    known: Known | None = None,
) -> CacheReport:
    """Look for every need's files in its cache, offline and without writing anything.

    File by file it asks ``huggingface_hub.try_to_load_from_cache`` (where huggingface_hub is installed), on which the
    loaders' own look-up rests. Not used: ``scan_cache_dir``, which walks every repo of a shared cache and stops at a
    repo's first fault; ``get_cached_repo_tree``, which leaves out the sha256 of LFS files.

    Args:
        needs: what the loaders request; ``cache_dir`` absolute.
        hash: True hashes every file that the loaders read and compares it with the blob's own name; "unnamed" hashes
            only files whose hash the layout does not say (for a lock).
        jobs: threads that hash; None: one for each core.
        progress: called with (bytes hashed, bytes in all).
        known: hashes from a lock, which serve as names in a layout without symlinks.

    Returns:
        Findings (codes OSR002, OSR101 to OSR118) in the order of the needs, and what was found for each need.
    """
    caches: dict[str, list[Finding]] = {}
    states: dict[tuple[str, str, str], _RepoState] = {}
    for need in needs:
        if need.cache_dir not in caches:
            caches[need.cache_dir] = _check_cache(need, needs)
        key = _get_key(need)
        if not caches[need.cache_dir] and key not in states:
            states[key] = _open_repo([other for other in needs if _get_key(other) == key])
    read = {id(need): _read_need(states[_get_key(need)], need) for need in needs if _get_key(need) in states}
    hashed = _hash_states(list(states.values()), hash, jobs, progress, known or {})
    findings = [finding for cache in caches.values() for finding in cache]
    for state in states.values():
        findings += _report_state(state, hash is True)
    inspected = tuple(_collect(need, states.get(_get_key(need)), read.get(id(need), ())) for need in needs)
    return CacheReport(tuple(dict.fromkeys(findings)), inspected, hashed)


@dataclass
class _RepoState:
    """One repo while it is inspected. ``requested``: for each file, or what lacks in words, the needs that read it."""

    repo: CachedRepo
    needs: list[Need]
    commit: str = ""
    trouble: Trouble | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    checked: dict[str, CheckedFile] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # what is missing, in words -> the file to fetch, or ""
    requested: dict[str, list[Need]] = field(default_factory=dict)
    files: dict[str, CachedFile] = field(default_factory=dict)
    unverified: dict[str, str] = field(default_factory=dict)  # file -> why its hash proves nothing


def _get_key(need: Need) -> tuple[str, str, str]:
    return need.cache_dir, need.repo_id, need.revision or "main"


def _list_places(needs: Iterable[Need]) -> list[Place]:
    return [place for need in needs for place in need.requested_by or ((need.cache_dir, 0, ""),)]


def _check_cache(need: Need, needs: Sequence[Need]) -> list[Finding]:
    same = [other for other in needs if other.cache_dir == need.cache_dir]
    repo_ids = [other.repo_id for other in same]
    return check_directory(need.cache_dir, where=_list_places(same), source=need.source, repo_ids=repo_ids)


def _open_repo(needs: list[Need]) -> _RepoState:
    first = needs[0]
    hard_coded = all(need.hard_coded for need in needs)
    subfolders = list_subfolders(needs)
    repo = CachedRepo(first.cache_dir, first.repo_id, first.revision, hard_coded, subfolders, first.key)
    commit = repo.find_commit()
    if isinstance(commit, Trouble):
        return _RepoState(repo, needs, trouble=_prefer_snapshot(repo, commit, needs))
    sizes, hashes = _read_listing(repo, commit)
    return _RepoState(repo, needs, commit, sizes=sizes, hashes=hashes)


def _prefer_snapshot(repo: CachedRepo, trouble: Trouble, needs: list[Need]) -> Trouble:
    """Where the ref's snapshot is missing and another one holds all that is requested, take that: no network."""
    if trouble.code != "OSR110" or repo.ref != "main":
        return trouble
    for commit in repo.list_snapshots():
        report = inspect_cache([replace(need, revision=commit) for need in needs])
        if all(finding.severity != "error" for finding in report.findings):
            return replace(trouble, remedy=format_ref(commit, repo.ref_path))
    return trouble


def _read_listing(repo: CachedRepo, commit: str) -> tuple[dict[str, int], dict[str, str]]:
    """Sizes and hashes from trees/COMMIT.json (hub 1.29 on), which ``snapshot_download`` leaves in the cache."""
    import json

    try:
        with open_regular(os.path.join(repo.folder, "trees", f"{commit}.json")) as stream:
            data = json.load(stream)
        if data["format_version"] != 1:
            return {}, {}
        entries = data["files"].items()
        sizes = {name: int(entry.get("lfs_size") or entry["size"]) for name, entry in entries}
        return sizes, {name: format_hash(str(entry.get("lfs_sha256") or entry["blob_id"])) for name, entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}


# --- which files --------------------------------------------------------------------------------


def _read_need(state: _RepoState, need: Need) -> tuple[str, ...]:
    """Check the files that one need's loader reads; their names, those in trouble too."""
    if state.trouble is not None:
        return ()

    def exists(name: str) -> bool:
        return _check(state, name).state != "missing"

    selected = select_files(need, exists, lambda: _list_snapshot(state), lambda index: _read_index(state, index))
    for name in (*selected.files, *(words for words, _ in selected.missing)):
        state.requested.setdefault(name, []).append(need)
    state.missing |= dict(selected.missing)
    for name in selected.files:
        _check(state, name)
    return selected.files


def _list_snapshot(state: _RepoState) -> list[str]:
    snapshot = state.repo.get_snapshot(state.commit)
    return [
        os.path.relpath(os.path.join(folder, name), snapshot).replace(os.sep, "/")
        for folder, _, names in os.walk(snapshot)
        for name in names
    ]


def _read_index(state: _RepoState, index: str) -> tuple[str, ...]:
    checked = _check(state, index)
    if checked.state != "ok":
        return ()
    try:
        shards = tuple(dict.fromkeys(read_shard_index(checked.path).values()))
    except (OSError, WeightsError) as error:
        state.checked[index] = replace(checked, state="altered", detail=str(error))
        return ()
    outside = next((shard for shard in shards if _leads_out(shard)), None)
    if outside is None:
        return shards
    detail = f"names a shard outside of its repo ({outside!r})"
    state.checked[index] = replace(checked, state="altered", detail=detail)
    return ()


def _leads_out(name: str) -> bool:
    return os.pardir in name.split("/") or name.startswith("/") or "\0" in name


def _check(state: _RepoState, name: str) -> CheckedFile:
    if name not in state.checked:
        if _leads_out(name):
            return state.checked.setdefault(name, CheckedFile("missing", name))  # the Hub library refuses such names
        checked = check_file(os.path.join(state.repo.get_snapshot(state.commit), *name.split("/")))
        size = state.sizes.get(name, checked.size)
        if checked.state == "ok" and not _library_finds(state, name):
            detail = "is marked as absent in .no_exist/, so the Hub library skips it"
            checked = replace(checked, state="altered", detail=detail)
        elif checked.state == "ok" and size != checked.size:
            detail = f"has {checked.size:,} bytes, the cached listing says {size:,}"
            checked = replace(checked, state="altered", detail=detail)
        state.checked[name] = checked
    return state.checked[name]


def _library_finds(state: _RepoState, name: str) -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return True  # without it, that the file is there has to do
    look_up = cast("Callable[..., object]", try_to_load_from_cache)
    found = look_up(state.repo.repo_id, name, cache_dir=state.repo.cache_dir, revision=state.commit)
    return isinstance(found, str)


# --- hashes -------------------------------------------------------------------------------------


def _hash_states(
    states: list[_RepoState], hash: Hashing, jobs: int | None, progress: Progress | None, known: Known
) -> int:
    """Fill in each state's files, hashed as requested; the bytes that were hashed."""
    plan: list[tuple[_RepoState, str, str, HashKind]] = []  # state, file, the name that its hash should be, the kind
    for state in states:
        for name in [each for each in state.requested if each not in state.missing]:
            checked = state.checked[name]
            if checked.state != "ok":
                continue
            blob = find_blob_name(checked.path)
            named = format_hash(blob) or state.hashes.get(name, "")
            state.files[name] = CachedFile(name, checked.path, checked.size, named)
            should = named or known.get((state.repo.repo_id, name), "")
            kind: HashKind = "git-sha1" if should.startswith("git-sha1:") else "sha256"
            if hash is True:
                named_kind = get_hash_kind(blob)
                plan.append((state, name, blob if named_kind else named.rpartition(":")[2], named_kind or kind))
                if not should and named_kind is None:
                    state.unverified[name] = _explain_unnamed(blob)
            elif hash == "unnamed" and not named:
                plan.append((state, name, "", kind))
    real = {(id(state), name): os.path.realpath(state.checked[name].path) for state, name, _, _ in plan}
    got = hash_files([(real[id(state), name], kind) for state, name, _, kind in plan], jobs=jobs, progress=progress)
    for state, name, named, kind in plan:
        _settle_hash(state, name, named, kind, got[real[id(state), name], kind])
    sizes = {real[id(state), name]: state.checked[name].size for state, name, _, _ in plan}
    return sum(sizes.values())


def _explain_unnamed(blob: str) -> str:
    if not blob:
        return "this cache has no symlinks, so no name says the hash"
    return f"its blob is named by a mirror's ETag ({blob[:70]!r}), which is no hash"


def _settle_hash(state: _RepoState, name: str, named: str, kind: HashKind, got: str | OSError) -> None:
    """Compare one computed hash with the name that it should be.

    Mirrors name blobs by ETags of their own: plain sha1 or md5 of the content. Such a name proves the content where
    it fits; an md5 that does not fit proves nothing, since object stores make 32 digits of other things too.
    """
    checked = state.checked[name]
    if isinstance(got, str) and named and got != named and kind == "git-sha1":
        path = os.path.realpath(checked.path)
        plain = hash_files([(path, "sha1")])[path, "sha1"]
        if plain == named:
            got, kind = named, "sha1"
    if isinstance(got, OSError):
        state.checked[name] = replace(checked, state="unreadable", error=got)
        del state.files[name]
    elif named and got != named and kind == "md5":
        state.unverified[name] = _explain_unnamed(named)
    elif named and got != named:
        detail = f"hashes to {kind}:{got}, should be {kind}:{named}"
        state.checked[name] = replace(checked, state="altered", detail=detail)
        del state.files[name]
    else:
        hash = f"{kind}:{got}" if kind in ("sha256", "git-sha1") else ""
        state.files[name] = replace(state.files[name], hash=hash, verified=bool(named))


# --- findings -----------------------------------------------------------------------------------


def _report_state(state: _RepoState, hashed: bool) -> list[Finding]:
    if state.trouble is not None:
        return _report(state.needs, state.trouble)
    errors = _report_files(state)
    if errors:
        return errors
    warnings = _report_leftovers(state)
    repo_id = state.repo.repo_id
    if state.repo.hard_coded:
        message = f"{repo_id} is read though no config names it: the loader's own source does; it is in the cache"
        remedy = "keep it when this cache is copied or trimmed"
        warnings += _report(state.needs, Trouble("OSR117", message, remedy, "warning"))
    for why in dict.fromkeys(state.unverified.values()) if hashed else ():
        names = [name for name, reason in state.unverified.items() if reason == why]
        message = f"{repo_id}: {_shorten(names)} could not be verified: {why}"
        remedy = "opensora-rewriter lock on a cache that is known to be good, then verify --hash --lock FILE"
        warnings += _report(state.requested[names[0]], Trouble("OSR118", message, remedy, "warning"))
    return warnings


def _report(needs: Iterable[Need], trouble: Trouble) -> list[Finding]:
    needs = list(needs)
    return report_trouble(trouble, _list_places(needs), describe_source(needs[0].source))


def _report_files(state: _RepoState) -> list[Finding]:
    """The files' troubles, gathered: one for each kind of trouble that the repo has."""
    by_state: dict[State, list[str]] = {}
    for name in state.requested:
        checked = state.checked.get(name)
        if checked is not None and checked.state not in ("ok", "missing"):
            by_state.setdefault(checked.state, []).append(name)
    broken = by_state.pop("broken", [])
    relinked = {} if state.repo.unfinished else {name: _find_blob(state, name) for name in broken}
    found: list[tuple[list[str], Trouble]] = []
    movable = [name for name in broken if relinked.get(name)]
    if movable:
        found.append((movable, _describe_relink(state, {name: relinked[name] for name in movable})))
    absent = [*(name for name in broken if name not in movable), *state.missing]
    if absent:
        found.append((absent, _describe_absent_files(state, absent)))
    for kind, names in by_state.items():
        found.append((names, _describe_flawed(state, kind, names)))
    return [
        finding
        for names, trouble in found
        for finding in _report([need for name in names for need in state.requested[name]], trouble)
    ]


def _find_blob(state: _RepoState, name: str) -> str:
    """Where the blob of a broken link lies: in the repo's blobs/, or in the store that repos share."""
    digest = os.path.basename(state.checked[name].target)
    shared = os.path.join(state.repo.cache_dir, "blobs", digest[:2], digest)
    for path in (os.path.join(state.repo.folder, "blobs", digest), shared):
        if os.path.isfile(path):
            return path
    return ""


def _describe_relink(state: _RepoState, blobs: Mapping[str, str]) -> Trouble:
    commands = []
    for name, blob in blobs.items():
        path = state.checked[name].path
        commands.append(shlex.join(["ln", "-sfn", os.path.relpath(blob, os.path.dirname(path)), path]))
    first = state.checked[next(iter(blobs))]
    message = f"{state.repo.repo_id}: {_shorten(list(blobs))}: a link to {first.target}, which is not there; "
    message += f"its blob is in {os.path.dirname(next(iter(blobs.values())))}"
    return Trouble("OSR112", message, " && ".join(commands))


def _describe_absent_files(state: _RepoState, absent: list[str]) -> Trouble:
    """Files that are not there, for one of three reasons: not finished, their blobs gone, never fetched."""
    repo, missing = state.repo, state.missing
    if repo.unfinished:
        return repo.describe_unfinished(absent)
    broken = [name for name in absent if name not in missing]
    if broken:
        first = state.checked[broken[0]]
        message = f"{repo.repo_id}: {_shorten(broken)}: a link to {first.target}, which is not there"
        if missing:
            message += f"; missing as well: {_shorten(list(missing))}"
        return Trouble("OSR112", message, repo.format_download(revision=_get_revision(state)))
    files = [name for name in missing.values() if name]
    message = f"{repo.repo_id}: {_shorten(list(missing))} not in {repo.get_snapshot(state.commit)}"
    some = files if len(files) == len(missing) else ()
    return Trouble("OSR113", message, repo.format_download(some, revision=_get_revision(state)))


def _get_revision(state: _RepoState) -> str:
    """Fetch into the very snapshot that is read, even if the Hub's main has moved on."""
    return state.repo.revision or state.commit


def _describe_flawed(state: _RepoState, kind: State, names: list[str]) -> Trouble:
    """Files that are there and are not what they should be, all in the same way."""
    repo, first = state.repo, state.checked[names[0]]
    listed = f"{repo.repo_id}: {_shorten(names)}: "
    if kind == "lost":
        message = f"{listed}a copy turned links into text files that hold the link's path"
        return Trouble("OSR111", message, repo.format_recopy(force=True))
    if kind == "unreadable":
        trouble = describe_unreadable(repo.folder, first.error or OSError(0, "unknown error"))
        return replace(trouble, message=listed + trouble.message)
    remedy = repo.format_download(names, force=True, revision=_get_revision(state))
    if kind == "pointer":
        pointer = f"a Git-LFS pointer {first.detail}".rstrip()
        return Trouble("OSR115", f"{listed}{pointer}, not the weights", remedy)
    details = "; ".join(f"{name} {state.checked[name].detail}" for name in names[:5])
    more = f" (and {len(names) - 5} more)" if len(names) > 5 else ""
    return Trouble("OSR114", f"{repo.repo_id}: {details}{more}", remedy)


def _report_leftovers(state: _RepoState) -> list[Finding]:
    """Unfinished files beside complete ones that the loader reads: harmless, but a sign."""
    blobs = {find_blob_name(file.path): name for name, file in state.files.items()}
    left = [name for name in state.repo.incomplete if name.split(".")[0] in blobs]
    if not left:
        return []
    paths = [os.path.join(state.repo.folder, "blobs", name) for name in left]
    message = f"{state.repo.repo_id}: {_shorten(left)} lies beside the complete blob: another download runs, or left it"
    remedy = "when no download runs: " + shlex.join(["rm", *paths])
    return _report(state.requested[blobs[left[0].split(".")[0]]], Trouble("OSR116", message, remedy, "warning"))


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _collect(need: Need, state: _RepoState | None, names: tuple[str, ...]) -> Inspected:
    if state is None or not state.commit:
        return Inspected(need)
    files = tuple(state.files[name] for name in sorted(names) if name in state.files)
    sound = not state.missing and all(state.checked[name].state == "ok" for name in state.requested)
    return Inspected(need, state.commit, state.repo.get_snapshot(state.commit), files, sound)
