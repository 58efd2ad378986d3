"""Inspect caches for what loaders request: one cause gives one message for each repo. Reads, never writes."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from rewriter.decide.remedies import cached_repos, did_you_mean
from rewriter.locality import is_repo_id
from rewriter.model import Finding
from rewriter.process.probes.weights_files import WeightsError, read_shard_index
from rewriter.verify import directories
from rewriter.verify.directories import COMMIT, CachedRepo, Trouble, list_names
from rewriter.verify.files import CachedFile, Hashing, HashKind, Progress, check_file, find_blob_name, hash_files
from rewriter.verify.needs import Need, format_fetch, list_subfolders, select_files

_RECOPY = "copy it again with its links (rsync -a, cp -a or tar), or: "
# By the state of files: code and message.
_FLAWS = {
    "missing": ("OSR113", "{names} not in {snapshot}"),
    "broken": ("OSR112", "{names}: a link to {first.detail}, which is not there"),
    "moved": ("OSR112", "{names}: a link to {first.detail}, which is not there; its blob is in the repo"),
    "lost": ("OSR111", "{names}: a copy turned links into text files"),
    "pointer": ("OSR115", "{names}: a Git-LFS pointer of {first.size} bytes, not the weights"),
    "altered": ("OSR114", "{names}"),
}


class Inspected(NamedTuple):
    """What was found for a need: its commit (None where there is none) and the files that are read, by name."""

    need: Need
    commit: str | None = None
    files: tuple[CachedFile, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether ``files`` are all that the loader reads, and nothing is wrong with them."""
        return self.commit is not None and all(file.state == "ok" for file in self.files)


class CacheReport(NamedTuple):
    """The findings of one inspection and, need by need in the order given, what was found."""

    findings: tuple[Finding, ...] = ()
    inspected: tuple[Inspected, ...] = ()


def inspect_cache(
    needs: Sequence[Need],
    *,
    hash: Literal[False, True, "unnamed"] = False,
    progress: Progress | None = None,
    known: Mapping[tuple[str, str], str] = {},
) -> CacheReport:
    """Look for every need's files in its cache, offline and writing nothing (OSR002, OSR101 to OSR118).

    ``hash``: True hashes every file that the loaders read and compares it with its blob's name; "unnamed" hashes only
    files whose hash the layout does not say (for a lock). ``known``: (repo_id, file) -> hash of such files, by a lock.
    """
    findings: list[Finding] = []
    found = {need: Inspected(need) for need in needs}
    repos: dict[CachedRepo, list[Need]] = {}
    for path in dict.fromkeys(need.cache_dir for need in found):
        group = [need for need in found if need.cache_dir == path]
        trouble = directories.check_directory(path, group[0].source, [need.repo_id for need in group])
        findings += report_needs(trouble, group)
        for need in group if trouble is None else ():
            repos.setdefault(CachedRepo(path, need.repo_id, need.revision), []).append(need)
    for repo, group in repos.items():
        commit = _find_commit(repo, group)
        if isinstance(commit, Trouble):
            findings += report_needs(commit, group)
        else:
            found |= zip(group, _read_snapshot(repo, commit, group), strict=True)
    if hash:
        hashed = _hash_files(found.values(), hash is True, progress, known)
        for need, each in found.items():
            found[need] = each._replace(files=tuple(hashed.get(file, file) for file in each.files))
    for repo, group in repos.items():
        findings += _report_repo(repo, [found[need] for need in group], hash is True)
    return CacheReport(tuple(dict.fromkeys(findings)), tuple(found[need] for need in needs))


def report_needs(trouble: Trouble | None, needs: Sequence[Need]) -> list[Finding]:
    """A trouble's findings (None: none), one for each place that requests one of the needs."""
    if trouble is None:
        return []
    trouble = trouble._replace(message=trouble.message + directories.describe_source(needs[0].source))
    return trouble.at(place for need in needs for place in need.requested_by or ((need.cache_dir, 0, ""),))


def _find_commit(repo: CachedRepo, needs: Sequence[Need]) -> str | Trouble:
    """The commit that the Hub library would read offline, or why none."""
    repo_id, snapshots, named = repo.repo_id, repo.get_snapshot(), repo.revision or "main"
    if not is_repo_id(repo_id):
        remedy = "give ORG/NAME, as the model's page on the Hub shows it"
        return Trouble("OSR107", f"{repo_id!r} is not a repo id, so no cache holds it", remedy)
    try:
        ref, commits = repo.read_ref(), os.listdir(snapshots) if os.path.isdir(snapshots) else []
    except OSError as error:
        return directories.describe_unreadable(repo.folder, str(error.strerror))
    commit = named if ref is None else ref
    clean = re.sub("[^0-9a-f]", "", commit)
    has_blobs = bool(list_names(os.path.join(repo.folder, "blobs")))
    fetch = _format_fetch(repo, needs)
    if commit in commits and (not has_blobs or repo.list_files(commit)):
        return commit
    if ref is not None and commit not in commits and clean in commits:
        message = f"{repo_id}: {repo.ref_path} holds {commit[:80]!r}; the Hub library takes all of it as the commit"
        return Trouble("OSR109", message, directories.format_ref(clean, repo.ref_path))
    if repo.find_unfinished():
        return _describe_unfinished(repo, needs)
    if has_blobs and (commit in commits or not commits):
        message = f"{repo_id}: {snapshots} is empty though blobs/ is not: links were dropped"
        return Trouble("OSR111", message, _RECOPY + fetch)
    if ref is None and not commits:
        return _describe_absent(repo, needs)
    # A snapshot that holds all that is requested needs no network; of several the newest.
    others = sorted(filter(COMMIT.fullmatch, commits), key=lambda each: os.path.getmtime(repo.get_snapshot(each)))
    for other in others if named == "main" else ():
        if all(each.sound for each in inspect_cache([need._replace(revision=other) for need in needs]).inspected):
            fetch = directories.format_ref(other, repo.ref_path)
    if ref is None and not COMMIT.fullmatch(commit):
        return Trouble("OSR108", f"{repo_id}: {repo.ref_path} is not there, so no commit is known", fetch)
    return Trouble("OSR110", f"{repo_id}: {named!r} is {commit!r}, which {snapshots} does not hold", fetch)


def _describe_absent(repo: CachedRepo, needs: Sequence[Need]) -> Trouble:
    repo_id, cache_dir, hard_coded = repo.repo_id, repo.cache_dir, all(need.hard_coded for need in needs)
    source = "; the loader's own source names this repo, no config does" if hard_coded else ""
    message = f"{repo_id} is not in {cache_dir}{source}"
    if flat := directories.find_flat_folder(cache_dir, repo_id):
        message = f"{message} in the cache's layout, but its files lie flat in {flat}"
        words = ["opensora-rewriter", "adopt", flat, "--repo", repo_id, "--cache-dir", cache_dir]
        return Trouble("OSR106", message, shlex.join(words))
    above, own = os.path.split(os.path.normpath(cache_dir))
    other = CachedRepo(above, repo_id)
    if own == "hub" and list_names(other.get_snapshot()):
        return Trouble("OSR107", f"{message}, but in {above}", shlex.join(["mv", other.folder, cache_dir]))
    meant = did_you_mean(repo_id, cached := cached_repos(cache_dir))
    if meant is None or hard_coded:
        return Trouble("OSR107", message, _format_fetch(repo, needs))
    where = ", which is in the cache" if meant in cached else ""
    remedy = f"opensora-rewriter rewrite {{path}} --set {{component}}.{needs[0].key}={meant}"
    return Trouble("OSR107", f"{message}; did you mean {meant}{where}?", remedy)


def _describe_unfinished(repo: CachedRepo, needs: Sequence[Need]) -> Trouble:
    names = ", ".join(repo.find_unfinished()[:3])
    message = f"{repo.repo_id}: a download did not finish: {names} in {os.path.join(repo.folder, 'blobs')}"
    return Trouble("OSR116", message, _format_fetch(repo, needs))


def _format_fetch(repo: CachedRepo, needs: Iterable[Need], commit: str = "", files: Iterable[str] = ()) -> str:
    """Fetch ``files`` into the very snapshot that is read, or, where none are named, what the loaders ask for."""
    if commit.startswith(directories.SYNTHETIC):
        commit, files = "", ()
    folders = list_subfolders(needs)
    some = [*files] or (["--include", f"{folders[0]}/*"] if len(folders) == 1 else [])
    if some:
        return directories.format_download(repo.repo_id, repo.cache_dir, repo.revision or commit, some)
    return format_fetch(repo.cache_dir, f"{repo.repo_id}={commit}" if commit and not repo.revision else "")


def _read_snapshot(repo: CachedRepo, commit: str, needs: Iterable[Need]) -> Iterable[Inspected]:
    """What each need's loader reads; of files that are missing, ``detail`` says what lacks, and the name may be ""."""

    @functools.cache
    def check(name: str) -> CachedFile:
        file = check_file(os.path.join(repo.get_snapshot(commit), *name.split("/")), name)
        blob = os.path.join(repo.folder, "blobs", find_blob_name(file.path))
        if file.state == "broken" and os.path.isfile(blob):
            return file._replace(state="moved", path=blob)  # the cache was moved, or its links were copied as they were
        return file

    def shards(name: str) -> Iterable[str]:
        try:
            return dict.fromkeys(read_shard_index(check(name).path).values())
        except (OSError, WeightsError):
            return ()

    for need in needs:
        found = select_files(need, lambda name: check(name).state != "missing", lambda: repo.list_files(commit), shards)
        present, lacking = found
        missing = (CachedFile(name, "", "missing", detail=words) for words, name in lacking.items())
        yield Inspected(need, commit, tuple(sorted([*map(check, present), *missing])))


def _hash_files(
    found: Iterable[Inspected], every: bool, progress: Progress | None, known: Mapping[tuple[str, str], str]
) -> dict[CachedFile, CachedFile]:
    """What hashing makes of the files that are read, or of those only that no blob's name says the hash of."""
    tasks: dict[CachedFile, tuple[Hashing, str]] = {}
    for need, _, files in found:
        for file in files:
            if file.state == "ok" and (every or not file.hash):
                expected = file.hash or known.get((need.repo_id, file.name), "")
                kind: HashKind = "git-sha1" if expected.startswith("git") else "sha256"
                tasks[file] = (os.path.realpath(file.path), kind), expected
    results, hashed = hash_files([key for key, _ in tasks.values()], progress), {}
    for file, ((path, kind), expected) in tasks.items():
        got = results[path, kind]
        if isinstance(got, OSError):
            hashed[file] = file._replace(state="unreadable", detail=str(got.strerror))
        elif file.hash in ("", f"{kind}:{got}"):
            blob = find_blob_name(file.path)  # some mirrors name it by the md5 of the content
            is_md5 = every and len(blob) == 32 and hash_files([(path, "md5")])[path, "md5"] == blob
            hashed[file] = file._replace(hash=f"{kind}:{got}", verified=bool(expected) or is_md5)
        elif f"git-sha1:{hash_files([(path, 'sha1')])[path, 'sha1']}" == file.hash:  # as some mirrors name blobs
            hashed[file] = file._replace(hash=file.hash[4:], verified=True)
        else:
            hashed[file] = file._replace(state="altered", detail=f"hashes to {kind}:{got}, should be {file.hash}")
    return hashed


def _report_repo(repo: CachedRepo, found: Sequence[Inspected], hashed: bool) -> list[Finding]:
    """One finding for each kind of trouble that the repo's files have; warnings where there is none."""
    pairs = [(file, need) for need, _, files in found for file in files]
    findings: list[Finding] = []
    for state in dict.fromkeys(file.state for file, _ in pairs if file.state != "ok"):
        files = dict.fromkeys(file for file, _ in pairs if file.state == state)
        trouble = _describe_files(repo, found, state, [*files])
        findings += report_needs(trouble, [need for file, need in pairs if file.state == state])
    if findings or found[0].commit is None:
        return findings
    needs = [each.need for each in found]
    if all(need.hard_coded for need in needs):
        message = f"{repo.repo_id} is read though no config names it: the loader's own source does"
        remedy = "it is in the cache: keep it when this cache is copied or trimmed"
        findings += report_needs(Trouble("OSR117", message, remedy, "warning"), needs)
    if names := dict.fromkeys(file.name for file, _ in pairs if hashed and not file.verified):
        message = f"{repo.repo_id}: {_shorten([*names])} could not be verified: no link to a blob named by its hash"
        remedy = "opensora-rewriter lock on a cache that is known to be good, then verify --hash --lock FILE"
        findings += report_needs(Trouble("OSR118", message, remedy, "warning"), needs)
    return findings


def _describe_files(repo: CachedRepo, found: Sequence[Inspected], state: str, files: Sequence[CachedFile]) -> Trouble:
    needs, commit, names = [each.need for each in found], str(found[0].commit), [file.name for file in files]
    shown = {"missing": [file.detail for file in files], "altered": [f"{file.name} {file.detail}" for file in files]}
    subject, snapshot = _shorten(shown.get(state, names)), repo.get_snapshot(commit)
    if state == "unreadable":
        return directories.describe_unreadable(repo.folder, f"{subject}: {files[0].detail}")
    if state in ("missing", "broken") and repo.find_unfinished():
        return _describe_unfinished(repo, needs)
    remedy = _format_fetch(repo, needs, commit, names if all(names) else ())
    if state == "moved":
        links = [(os.path.join(snapshot, file.name), file.path) for file in files]
        words = [["ln", "-sfn", os.path.relpath(blob, os.path.dirname(link)), link] for link, blob in links]
        remedy = " && ".join(map(shlex.join, words))
    elif state not in ("missing", "broken"):
        blobs = dict.fromkeys(os.path.realpath(file.path) for file in files)  # hf keeps what is there
        remedy = f"{shlex.join(['rm', *blobs])} && {remedy}"
    code, message = _FLAWS[state]
    message = message.format(names=f"{repo.repo_id}: {subject}", first=files[0], snapshot=snapshot)
    return Trouble(code, message, _RECOPY + remedy if state == "lost" else remedy)


def _shorten(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
