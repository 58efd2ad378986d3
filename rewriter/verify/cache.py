"""Inspect caches for what loaders request: one cause gives one message for each repo. Reads, never writes."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from rewriter.decide.remedies import cached_repos, did_you_mean
from rewriter.locality import is_repo_id
from rewriter.model import Finding
from rewriter.process.probes.weights_files import WeightsError, read_shard_index
from rewriter.verify import directories
from rewriter.verify.directories import COMMIT, CachedRepo, Trouble, list_names
from rewriter.verify.files import CachedFile, HashKind, Progress, check_file, find_blob_name, hash_files
from rewriter.verify.needs import Need, format_fetch, list_subfolders, select_files

LOCKABLE = ("sha256:", "git-sha1:")
"""The hashes that mean the same wherever a repo comes from."""
_RECOPY = "copy it again with its links (rsync -a, cp -a or tar), or: "


class Inspected(NamedTuple):
    """What was found for a need: its commit (None where there is none) and the files that are read.

    ``sound``: no error was found in the repo, so ``files`` are all that there should be.
    """

    need: Need
    commit: str | None = None
    files: tuple[CachedFile, ...] = ()
    sound: bool = False


class CacheReport(NamedTuple):
    """The findings of one inspection and, need by need in the order given, what was found."""

    findings: tuple[Finding, ...] = ()
    inspected: tuple[Inspected, ...] = ()


def inspect_cache(
    needs: Sequence[Need],
    *,
    hash: Literal[False, True, "unnamed"] = False,
    progress: Progress | None = None,
    known: Mapping[tuple[str, str], str] | None = None,
) -> CacheReport:
    """Look for every need's files in its cache, offline and writing nothing (OSR002, OSR101 to OSR118).

    ``hash``: True hashes every file that the loaders read and compares it with its blob's name; "unnamed" hashes only
    files whose hash the layout does not say (for a lock). ``progress``: called with (bytes hashed, bytes in all).
    ``known``: (repo_id, file) -> hash, from a lock; they stand for the names in a layout without symlinks.
    """
    caches = check_directories(needs)
    groups: dict[tuple[str, str, str], list[Need]] = {}
    for need in needs:
        if not caches[need.cache_dir]:
            groups.setdefault((need.cache_dir, need.repo_id, need.revision or "main"), []).append(need)
    states = [_open_repo(group) for group in groups.values()]
    if hash:
        _hash_files(states, hash is True, progress, known or {})
    findings = itertools.chain(*caches.values(), *map(_report_state, states))
    found: dict[Need, Inspected] = {}
    for state in states:
        sound = all(state.files[name].state == "ok" for name in state.requested)
        for need in state.needs if state.commit else ():
            files = [state.files[name] for name, requesters in sorted(state.requested.items()) if need in requesters]
            found[need] = Inspected(need, state.commit, tuple(file for file in files if file.state == "ok"), sound)
    return CacheReport(tuple(dict.fromkeys(findings)), tuple(found.get(need, Inspected(need)) for need in needs))


def check_directories(needs: Sequence[Need]) -> dict[str, list[Finding]]:
    """Each cache directory, and what is wrong with itself: not absolute, missing, not readable, not a cache."""
    found = {}
    for path in dict.fromkeys(need.cache_dir for need in needs):
        group = [need for need in needs if need.cache_dir == path]
        trouble = directories.check_directory(path, group[0].source, [need.repo_id for need in group])
        found[path] = report_needs(trouble, group)
    return found


def report_needs(trouble: Trouble | None, needs: Sequence[Need]) -> list[Finding]:
    """A trouble's findings (None: none), one for each place that requests one of the needs."""
    if trouble is None:
        return []
    trouble = trouble._replace(message=trouble.message + directories.describe_source(needs[0].source))
    return trouble.at(place for need in needs for place in need.requested_by or ((need.cache_dir, 0, ""),))


@dataclass
class _RepoState:
    """One repo while it is inspected.

    ``files``: all that were looked at; of what is missing, in words, ``detail`` is the file to fetch, or "".
    ``requested``: for each of them, the needs that read it. ``unverified``: files whose blob's name proves nothing.
    """

    repo: CachedRepo
    needs: list[Need]
    commit: str = ""
    trouble: Trouble | None = None
    files: dict[str, CachedFile] = field(default_factory=dict)
    requested: dict[str, list[Need]] = field(default_factory=dict)
    unverified: list[str] = field(default_factory=list)

    @property
    def hard_coded(self) -> bool:
        return all(need.hard_coded for need in self.needs)

    def format_fetch(self, files: Iterable[str] = ()) -> str:
        """Fetch ``files`` into the very snapshot that is read, or, where none are named, what the loaders ask for."""
        folders, revision = list_subfolders(self.needs), self.repo.revision or self.commit
        synthetic = self.commit.startswith(directories.SYNTHETIC)
        known = [] if synthetic else sorted(files)
        some = known or (["--include", f"{folders[0]}/*"] if len(folders) == 1 else [])
        if some:
            return directories.format_download(self.repo.repo_id, self.repo.cache_dir, revision, some)
        pin = "" if synthetic or self.repo.revision or not self.commit else f"{self.repo.repo_id}={self.commit}"
        return format_fetch(self.repo.cache_dir, pin)

    def check(self, name: str) -> CachedFile:
        """The file ``name`` of the snapshot; each is looked at once."""
        if name not in self.files:
            file = check_file(os.path.join(self.repo.get_snapshot(self.commit), *name.split("/")), name)
            if file.state == "broken" and os.path.isfile(self.find_blob(file)):
                file = file._replace(state="moved")  # the cache was moved, or its links were copied as they were
            self.files[name] = file
        return self.files[name]

    def has(self, name: str) -> bool:
        return self.check(name).state != "missing"

    def find_blob(self, file: CachedFile) -> str:
        return os.path.join(self.repo.folder, "blobs", find_blob_name(file.path))

    def read_index(self, name: str) -> Iterable[str]:
        file = self.check(name)
        path = self.find_blob(file) if file.state == "moved" else file.path
        try:
            return dict.fromkeys(read_shard_index(path).values()) if file.state in ("ok", "moved") else ()
        except WeightsError as error:
            self.files[name] = file._replace(state="altered", detail=str(error))
            return ()


def _open_repo(needs: list[Need]) -> _RepoState:
    repo = CachedRepo(needs[0].cache_dir, needs[0].repo_id, needs[0].revision)
    state = _RepoState(repo, needs)
    found = _find_commit(state)
    if isinstance(found, Trouble):
        state.trouble = found
        return state
    state.commit = found
    for need in needs:
        selected = select_files(need, state.has, lambda: repo.list_files(found), state.read_index)
        state.files |= {words: CachedFile(words, "", "missing", detail=file) for words, file in selected.missing}
        for name in (*selected.files, *dict(selected.missing)):
            state.requested.setdefault(name, []).append(need)
            state.check(name)
    return state


def _find_commit(state: _RepoState) -> str | Trouble:
    """The commit that the Hub library would read offline, or why none."""
    repo, snapshots, named = state.repo, state.repo.get_snapshot(), state.repo.revision or "main"
    if not is_repo_id(repo.repo_id):
        remedy = "give ORG/NAME, as the model's page on the Hub shows it"
        return Trouble("OSR107", f"{repo.repo_id!r} is not a repo id, so no cache holds it", remedy)
    try:
        ref, names = repo.read_ref(), os.listdir(repo.folder)
        commits = os.listdir(snapshots) if "snapshots" in names else []
    except (FileNotFoundError, NotADirectoryError):
        return _describe_absent(state)
    except OSError as error:
        return directories.describe_unreadable(repo.folder, str(error.strerror))
    commit = named if ref is None else ref
    clean = re.sub("[^0-9a-f]", "", commit)
    has_blobs = bool(list_names(os.path.join(repo.folder, "blobs")))
    if commit in commits and (not has_blobs or repo.list_files(commit)):
        return commit
    if commit not in commits and clean in commits:
        message = f"{repo.repo_id}: {repo.ref_path} holds {commit[:80]!r}; the Hub library takes all of it"
        return Trouble("OSR109", f"{message} as the commit", directories.format_ref(clean, repo.ref_path))
    if repo.find_unfinished():
        return _describe_unfinished(state)
    if has_blobs and (commit in commits or "snapshots" not in names):
        message = f"{repo.repo_id}: {snapshots} is empty though blobs/ is not: links were dropped"
        return Trouble("OSR111", message, _RECOPY + state.format_fetch())
    if ref is None and not commits:
        return _describe_absent(state)
    remedy = state.format_fetch()
    # A snapshot that holds all that is requested needs no network; of several the newest.
    others = sorted(filter(COMMIT.fullmatch, commits), key=lambda each: os.path.getmtime(repo.get_snapshot(each)))
    for other in others if named == "main" else ():
        if all(each.sound for each in inspect_cache([need._replace(revision=other) for need in state.needs]).inspected):
            remedy = directories.format_ref(other, repo.ref_path)
    if ref is None and not COMMIT.fullmatch(commit):
        message = f"{repo.repo_id}: {repo.ref_path} is not there, so nothing says which commit to read"
        return Trouble("OSR108", message, remedy)
    return Trouble("OSR110", f"{repo.repo_id}: {named!r} is {commit!r}, which {snapshots} does not hold", remedy)


def _describe_absent(state: _RepoState) -> Trouble:
    repo_id, cache_dir = state.repo.repo_id, state.repo.cache_dir
    message = f"{repo_id} is not in {cache_dir}"
    if state.hard_coded:
        message += "; the loader's own source names this repo, no config does"
    flat = directories.find_flat_folder(cache_dir, repo_id)
    if flat is not None:
        message = f"{message} in the cache's layout, but its files lie flat in {flat}"
        return Trouble("OSR106", message, directories.format_adopt(flat, repo_id, cache_dir))
    above, own = os.path.split(os.path.normpath(cache_dir))
    other = CachedRepo(above, repo_id)
    if own == "hub" and list_names(other.get_snapshot()):
        return Trouble("OSR107", f"{message}, but in {above}", shlex.join(["mv", other.folder, cache_dir]))
    cached = cached_repos(cache_dir)
    meant = did_you_mean(repo_id, cached)
    if meant is not None and not state.hard_coded:
        where = ", which is in the cache" if meant in cached else ""
        remedy = f"opensora-rewriter rewrite {{path}} --set {{component}}.{state.needs[0].key}={meant}"
        return Trouble("OSR107", f"{message}; did you mean {meant}{where}?", remedy)
    return Trouble("OSR107", message, state.format_fetch())


def _describe_unfinished(state: _RepoState) -> Trouble:
    names = ", ".join(state.repo.find_unfinished()[:3])
    message = f"{state.repo.repo_id}: a download did not finish: {names} in {os.path.join(state.repo.folder, 'blobs')}"
    return Trouble("OSR116", message, state.format_fetch())


def _hash_files(
    states: Iterable[_RepoState], every: bool, progress: Progress | None, known: Mapping[tuple[str, str], str]
) -> None:
    """Hash the requested files (or those only that no blob's name can be locked for) and compare them with their names.

    Mirrors name blobs by ETags of their own: plain sha1 or md5 of the content. Such a name proves the content where
    it fits; an md5 that does not fit proves nothing, since object stores make 32 digits of other things too.
    """
    tasks: list[tuple[_RepoState, CachedFile, str, tuple[str, HashKind]]] = []
    for state in states:
        for file in [state.files[name] for name in state.requested]:
            if file.state == "ok" and (every or not file.hash.startswith(LOCKABLE)):
                locked = known.get((state.repo.repo_id, file.name), "")
                kind = (every and file.hash) or locked or "sha256:"
                tasks.append((state, file, locked, (os.path.realpath(file.path), cast("HashKind", kind.split(":")[0]))))
    results = hash_files([task[3] for task in tasks], progress)
    for state, file, locked, (path, kind) in tasks:
        got = results[path, kind]
        hash, expected = f"{kind}:{got}", file.hash if every else ""
        if isinstance(got, OSError):
            file = file._replace(state="unreadable", detail=str(got.strerror))
        elif expected in ("", hash):
            file = file._replace(hash=hash, verified=bool(expected))
        elif kind == "git-sha1" and hash_files([(path, "sha1")])[path, "sha1"] == expected.split(":")[1]:
            file = file._replace(hash="sha1" + expected[8:], verified=True)
        elif kind != "md5":
            file = file._replace(state="altered", detail=f"hashes to {hash}, should be {expected}")
        state.files[file.name] = file
        if every and file.state == "ok" and not file.verified and (expected or not locked):
            state.unverified.append(file.name)


def _report_state(state: _RepoState) -> list[Finding]:
    """One finding for each kind of trouble that the repo's files have; warnings where there is none."""
    kinds: dict[str, list[str]] = {}
    for name in state.requested:
        kind: str = state.files[name].state
        kinds.setdefault("missing" if kind == "broken" else kind, []).append(name)
    kinds.pop("ok", None)
    findings = report_needs(state.trouble, state.needs)
    for kind, names in kinds.items():
        wanted = [need for name in names for need in state.requested[name]]
        findings += report_needs(_describe_files(state, kind, names), wanted)
    if not findings and state.hard_coded:
        message = f"{state.repo.repo_id} is read though no config names it: the loader's own source does"
        remedy = "it is in the cache: keep it when this cache is copied or trimmed"
        findings += report_needs(Trouble("OSR117", message, remedy, "warning"), state.needs)
    if state.unverified and not state.trouble and not kinds:
        message = f"{state.repo.repo_id}: {_shorten(state.unverified)} could not be verified: not a symlink to a blob"
        message += " that is named by its hash (mirrors name blobs by an ETag of their own)"
        remedy = "opensora-rewriter lock on a cache that is known to be good, then verify --hash --lock FILE"
        needs = state.requested[state.unverified[0]]
        findings += report_needs(Trouble("OSR118", message, remedy, "warning"), needs)
    return findings


def _describe_files(state: _RepoState, kind: str, names: list[str]) -> Trouble:
    files = [state.files[name] for name in names]
    first, subject = files[0], f"{state.repo.repo_id}: {_shorten(names)}"
    if kind == "missing" and state.repo.find_unfinished():
        return _describe_unfinished(state)
    if kind == "missing":
        wanted = {file.name if file.state == "broken" else file.detail for file in files}
        fetch = state.format_fetch(() if "" in wanted else wanted)
        if broken := [file.detail for file in files if file.state == "broken"]:
            return Trouble("OSR112", f"{subject}: a link to {broken[0]}, which is not there", fetch)
        return Trouble("OSR113", f"{subject} not in {state.repo.get_snapshot(state.commit)}", fetch)
    if kind == "moved":
        links = [(os.path.relpath(state.find_blob(file), os.path.dirname(file.path)), file.path) for file in files]
        message = f"{subject}: a link to {first.detail}, which is not there; its blob is, so it can be linked again"
        return Trouble("OSR112", message, " && ".join(shlex.join(["ln", "-sfn", *link]) for link in links))
    if kind == "unreadable":
        return directories.describe_unreadable(state.repo.folder, f"{_shorten(names)}: {first.detail}")
    fetch = f"{directories.format_remove(file.path for file in files)} && {state.format_fetch(names)}"
    if kind == "lost":
        return Trouble("OSR111", f"{subject}: a copy turned links into text files", _RECOPY + fetch)
    if kind == "pointer":
        return Trouble("OSR115", f"{subject}: a Git-LFS pointer of {first.size} bytes, not the weights", fetch)
    details = [f"{file.name} {file.detail}" for file in files]
    return Trouble("OSR114", f"{state.repo.repo_id}: {_shorten(details)}", fetch)


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
