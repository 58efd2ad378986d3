"""Inspect caches for what loaders ask of them: one root cause gives one finding for each repo. Reads, never writes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from rewriter.cache.asked import Asked, asked, choose
from rewriter.cache.content import Judged, State, blob_name, judge, named_hash
from rewriter.cache.hashing import HashKind, Progress, hash_files
from rewriter.cache.needs import CachedFile, Inspected, Need, Place, Report
from rewriter.cache.places import check_directory, origin, unreadable
from rewriter.cache.repo import Repo, Trouble
from rewriter.checkout import open_regular
from rewriter.types import Finding, Severity

Known = Mapping[tuple[str, str], str]  # (repo_id, file name) -> "sha256:HEX" or "git-sha1:HEX"
Hashing = Literal[False, True, "unnamed"]
_INDEX_SUFFIX = ".index.json"


def inspect(
    needs: Sequence[Need],
    *,
    hash: Hashing = False,
    jobs: int | None = None,
    progress: Progress | None = None,
    known: Known | None = None,
) -> Report:
    """Look for every need's files in its cache, offline and without writing anything.

    File by file it asks ``huggingface_hub.try_to_load_from_cache`` (where huggingface_hub is installed), the function
    that the loaders' own look-up rests on. Not used: ``scan_cache_dir``, which walks every repo of a shared cache and
    stops at a repo's first fault; ``get_cached_repo_tree``, which leaves out the sha256 of LFS files;
    ``are_symlinks_supported``, which writes.

    Args:
        needs: what the loaders ask for; ``cache_dir`` absolute.
        hash: True hashes every file that the loaders read and compares it with the blob's own name; "unnamed" hashes
            only files whose hash the layout does not tell (for a lock).
        jobs: threads that hash; None: one per core.
        progress: called with (bytes hashed, bytes in all).
        known: hashes from a lock, which stand in for names in a layout without symlinks.

    Returns:
        Findings (codes OSR002, OSR101 to OSR118) in the order of the needs, and what each need meets.
    """
    caches: dict[str, list[Finding]] = {}
    states: dict[tuple[str, str, str], _State] = {}
    for need in needs:
        if need.cache_dir not in caches:
            caches[need.cache_dir] = _check_cache(need, needs)
        key = _key(need)
        if not caches[need.cache_dir] and key not in states:
            states[key] = _state_of([other for other in needs if _key(other) == key])
    reads = {id(need): _read_need(states[_key(need)], need) for need in needs if _key(need) in states}
    hashed = _hash_states(states.values(), hash, jobs, progress, known or {})
    findings = [finding for cache in caches.values() for finding in cache]
    for state in states.values():
        findings += _findings(state, hash is True)
    inspected = tuple(_inspected(need, states.get(_key(need)), reads.get(id(need), ())) for need in needs)
    return Report(tuple(dict.fromkeys(findings)), inspected, hashed)


@dataclass
class _State:
    """One repo while it is looked at. ``places``: for each file or lack, who wanted it first."""

    repo: Repo
    needs: list[Need]
    commit: str = ""
    trouble: Trouble | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    judged: dict[str, Judged] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)  # what is missing, in words -> the file to fetch, or ""
    wanted: dict[str, Need] = field(default_factory=dict)
    files: dict[str, CachedFile] = field(default_factory=dict)
    unverified: list[str] = field(default_factory=list)


def _key(need: Need) -> tuple[str, str, str]:
    return need.cache_dir, need.repo_id, need.revision or "main"


def _place(need: Need) -> Place:
    return need.wanted_by[0] if need.wanted_by else (need.cache_dir, 0, "")


def _check_cache(need: Need, needs: Sequence[Need]) -> list[Finding]:
    repo_ids = [other.repo_id for other in needs if other.cache_dir == need.cache_dir]
    return check_directory(need.cache_dir, where=_place(need), source=need.source, repo_ids=repo_ids)


def _state_of(needs: list[Need]) -> _State:
    first = needs[0]
    hard_coded = all(need.hard_coded for need in needs)
    repo = Repo(first.cache_dir, first.repo_id, first.revision, hard_coded)
    commit, trouble = repo.find()
    state = _State(repo, needs, commit, trouble)
    if commit:
        state.sizes, state.hashes = _listing(repo, commit)
    return state


def _listing(repo: Repo, commit: str) -> tuple[dict[str, int], dict[str, str]]:
    """Sizes and hashes from trees/COMMIT.json (hub 1.29 on), which ``snapshot_download`` leaves in the cache."""
    import json

    try:
        with open_regular(os.path.join(repo.folder, "trees", f"{commit}.json")) as stream:
            data = json.load(stream)
        if data["format_version"] != 1:
            return {}, {}
        entries = data["files"].items()
        sizes = {name: int(entry.get("lfs_size") or entry["size"]) for name, entry in entries}
        return sizes, {name: named_hash(str(entry.get("lfs_sha256") or entry["blob_id"])) for name, entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}


# --- which files --------------------------------------------------------------------------------


def _read_need(state: _State, need: Need) -> tuple[str, ...]:
    """Judge the files that one need's loader reads; their names, those in trouble too."""
    if state.trouble is not None:
        return ()
    told = asked(need)
    names = _everything(state) if told.everything else _chosen(state, need, told)
    for name in names:
        state.wanted.setdefault(name, need)
    return names


def _everything(state: _State) -> tuple[str, ...]:
    snapshot = state.repo.snapshot(state.commit)
    found = []
    for folder, _, names in os.walk(snapshot):
        found += [os.path.relpath(os.path.join(folder, name), snapshot).replace(os.sep, "/") for name in names]
    for name in found:
        _judge(state, name)
    return tuple(sorted(found))


def _chosen(state: _State, need: Need, told: Asked) -> tuple[str, ...]:
    def there(name: str) -> bool:
        return _judge(state, name).state != "missing"

    names: dict[str, None] = {}
    for group in told.groups:
        present, missing = choose(group, there)
        names.update(dict.fromkeys(present))
        if not present:
            _lack(
                state,
                need,
                " or ".join(" with ".join(files) for files in group),
                group[0][0] if len(group) == 1 else "",
            )
        for name in missing:
            _lack(state, need, name, name)
        for name in present:
            if name.endswith(_INDEX_SUFFIX):
                names.update(dict.fromkeys(_shards(state, need, name)))
    names.update(dict.fromkeys(name for name in told.optional if there(name)))
    return tuple(names)


def _lack(state: _State, need: Need, words: str, name: str) -> None:
    state.lacks.setdefault(words, name)
    state.wanted.setdefault(words, need)


def _shards(state: _State, need: Need, index: str) -> Iterable[str]:
    """The shards that an index's weight_map names; the missing ones are noted as lacks."""
    import json

    judged = _judge(state, index)
    if judged.state != "ok":
        return []
    try:
        with open(judged.path, encoding="utf-8") as stream:
            names = sorted(set(json.load(stream)["weight_map"].values()))
        if not names:
            raise ValueError
        outside = [name for name in names if os.pardir in name.split("/") or name.startswith("/") or "\0" in name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        state.judged[index] = replace(judged, state="altered", detail="has no weight_map that names its shards")
        return []
    if outside:
        detail = f"names a shard outside of its repo ({outside[0]!r})"
        state.judged[index] = replace(judged, state="altered", detail=detail)
        return []
    found = []
    for name in names:
        shard = f"{os.path.dirname(index)}/{name}".lstrip("/")
        if _judge(state, shard).state == "missing":
            _lack(state, need, f"{shard} (named by {os.path.basename(index)})", shard)
        else:
            found.append(shard)
    return found


def _judge(state: _State, name: str) -> Judged:
    if name not in state.judged:
        if os.pardir in name.split("/") or name.startswith("/") or "\0" in name:
            return state.judged.setdefault(name, Judged("missing", name))  # the Hub library refuses such names
        judged = judge(os.path.join(state.repo.snapshot(state.commit), *name.split("/")))
        if judged.state == "ok" and not _library_finds(state, name):
            judged = replace(judged, state="altered", detail="is marked as absent in .no_exist/, so the Hub skips it")
        size = state.sizes.get(name, judged.size)
        if judged.state == "ok" and size != judged.size:
            judged = replace(
                judged, state="altered", detail=f"has {judged.size:,} bytes, the cached listing says {size:,}"
            )
        state.judged[name] = judged
    return state.judged[name]


def _library_finds(state: _State, name: str) -> bool:
    lookup = _lookup()
    if lookup is None:
        return True  # without huggingface_hub the file's being there must do
    found = lookup(state.repo.repo_id, name, cache_dir=state.repo.cache_dir, revision=state.commit)
    return isinstance(found, str)


def _lookup() -> Callable[..., object] | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    return cast("Callable[..., object]", try_to_load_from_cache)


# --- hashes -------------------------------------------------------------------------------------


def _hash_states(
    states: Iterable[_State], hash: Hashing, jobs: int | None, progress: Progress | None, known: Known
) -> int:
    """Fill in each state's files, hashed as asked; the bytes that were hashed."""
    plan: list[tuple[_State, str, str, HashKind]] = []  # state, file, the hash it should have, the kind to compute
    for state in states:
        for name in state.wanted:
            judged = state.judged.get(name)
            if judged is None or judged.state != "ok":
                continue
            named = named_hash(blob_name(judged.path)) or state.hashes.get(name, "")
            state.files[name] = CachedFile(name, judged.path, judged.size, named)
            should = named or known.get((state.repo.repo_id, name), "")
            if hash is True or (hash == "unnamed" and not named):
                plan.append((state, name, named, "git-sha1" if should.startswith("git-sha1:") else "sha256"))
                if not should:
                    state.unverified.append(name)
    real = {(id(state), name): os.path.realpath(state.judged[name].path) for state, name, _, _ in plan}
    got = hash_files([(real[id(state), name], kind) for state, name, _, kind in plan], jobs=jobs, progress=progress)
    for state, name, named, kind in plan:
        _settle(state, name, named, kind, got[real[id(state), name], kind])
    return sum(size for size in {real[id(state), name]: state.judged[name].size for state, name, _, _ in plan}.values())


def _settle(state: _State, name: str, named: str, kind: HashKind, got: str | OSError) -> None:
    """Compare one computed hash with the name it should have."""
    if isinstance(got, OSError):
        state.judged[name] = replace(state.judged[name], state="unreadable", error=got)
        del state.files[name]
        return
    found = f"{kind}:{got}"
    if named and found != named:
        detail = f"hashes to {found}, should be {named}"
        state.judged[name] = replace(state.judged[name], state="altered", detail=detail)
        del state.files[name]
        return
    state.files[name] = replace(state.files[name], hash=found, verified=bool(named))


# --- findings -----------------------------------------------------------------------------------


def _findings(state: _State, hashed: bool) -> list[Finding]:
    if state.trouble is not None:
        code, message, remedy = state.trouble
        return [_finding(state.needs[0], code, message, remedy)]
    errors = _file_findings(state)
    if errors:
        return errors
    warnings = _leftovers(state)
    if state.repo.hard_coded:
        message = (
            f"{state.repo.repo_id} is read though no config names it: the loader's own source does; it is in the cache"
        )
        remedy = "keep it when this cache is copied or trimmed"
        warnings.append(_finding(state.needs[0], "OSR117", message, remedy, "warning"))
    if hashed and state.unverified:
        message = (
            f"{state.repo.repo_id}: {_listed(state.unverified)} could not be verified: this cache has no symlinks, "
        )
        remedy = "opensora-rewriter lock on a cache that is known to be good, then verify --hash --lock FILE"
        warnings.append(_finding(state.needs[0], "OSR118", message + "so no name tells the hash", remedy, "warning"))
    return warnings


def _finding(need: Need, code: str, message: str, remedy: str, severity: Severity = "error") -> Finding:
    path, line, component = _place(need)
    return Finding(code, path, line, 0, component, message + origin(need.source), remedy, severity)


def _file_findings(state: _State) -> list[Finding]:
    """The files' troubles, gathered: one finding for each kind of trouble that the repo has."""
    by_state: dict[State, list[str]] = {}
    for name in state.wanted:
        judged = state.judged.get(name)
        if judged is not None and judged.state not in ("ok", "missing"):
            by_state.setdefault(judged.state, []).append(name)
    absent = [*by_state.pop("broken", []), *state.lacks]
    found = []
    if absent:
        found.append((absent[0], _absence(state, absent)))
    for kind, names in by_state.items():
        found.append((names[0], _TROUBLES[kind](state, names)))
    return [_finding(state.wanted[name], *trouble) for name, trouble in found]


def _absence(state: _State, absent: list[str]) -> Trouble:
    """Files that are not there, for one of three reasons: not finished, their blobs gone, never fetched."""
    if state.repo.unfinished:
        return state.repo.unfinished_trouble(absent)
    broken = [name for name in absent if name not in state.lacks]
    if broken:
        first = state.judged[broken[0]]
        message = f"{state.repo.repo_id}: {_listed(broken)}: a link to {first.target}, which is not there"
        if state.lacks:
            message += f"; missing as well: {_listed(list(state.lacks))}"
        return "OSR112", message, state.repo.download(revision=_revision(state))
    files = [name for name in state.lacks.values() if name]
    whole = len(files) < len(state.lacks)
    message = f"{state.repo.repo_id}: {_listed(list(state.lacks))} not in {state.repo.snapshot(state.commit)}"
    return "OSR113", message, state.repo.download(() if whole else files, revision=_revision(state))


def _revision(state: _State) -> str:
    """Fetch into the very snapshot that is read, even if the Hub's main has moved on."""
    return state.repo.revision or state.commit


def _of_lost(state: _State, names: list[str]) -> Trouble:
    message = f"{state.repo.repo_id}: {_listed(names)}: a copy turned links into text files that hold the link's path"
    return "OSR111", message, state.repo.recopy(force=True)


def _of_pointers(state: _State, names: list[str]) -> Trouble:
    first = state.judged[names[0]]
    message = f"{state.repo.repo_id}: {_listed(names)}: a Git-LFS pointer {first.detail}".rstrip()
    return "OSR115", f"{message}, not the weights", state.repo.download(names, force=True, revision=_revision(state))


def _of_altered(state: _State, names: list[str]) -> Trouble:
    told = "; ".join(f"{name} {state.judged[name].detail}" for name in names[:5])
    more = f" (and {len(names) - 5} more)" if len(names) > 5 else ""
    remedy = state.repo.download(names, force=True, revision=_revision(state))
    return "OSR114", f"{state.repo.repo_id}: {told}{more}", remedy


def _of_unreadable(state: _State, names: list[str]) -> Trouble:
    first = state.judged[names[0]]
    error = first.error or OSError(0, "unknown error")
    code, message, remedy = unreadable(state.repo.folder, error)
    return code, f"{state.repo.repo_id}: {_listed(names)}: {message}", remedy


_TROUBLES: dict[State, Callable[[_State, list[str]], Trouble]] = {
    "lost": _of_lost,
    "pointer": _of_pointers,
    "altered": _of_altered,
    "unreadable": _of_unreadable,
}


def _leftovers(state: _State) -> list[Finding]:
    """Unfinished files beside complete ones that the loader reads: harmless, but a sign."""
    blobs = {blob_name(file.path): name for name, file in state.files.items()}
    left = [name for name in state.repo.incomplete if name.split(".")[0] in blobs]
    if not left:
        return []
    paths = [os.path.join(state.repo.folder, "blobs", name) for name in left]
    message = f"{state.repo.repo_id}: {_listed(left)} lies beside the complete blob: another download runs, or left it"
    need = state.wanted[blobs[left[0].split(".")[0]]]
    return [_finding(need, "OSR116", message, "when no download runs: " + shlex.join(["rm", *paths]), "warning")]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _inspected(need: Need, state: _State | None, names: tuple[str, ...]) -> Inspected:
    if state is None or not state.commit:
        return Inspected(need)
    files = tuple(state.files[name] for name in sorted(names) if name in state.files)
    return Inspected(need, state.commit, state.repo.snapshot(state.commit), files, _sound(state))


def _sound(state: _State) -> bool:
    return not state.lacks and all(state.judged[name].state == "ok" for name in state.wanted)
