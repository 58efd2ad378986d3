"""Fetch into the standard cache exactly the files that the loaders will read, by huggingface_hub itself."""

from __future__ import annotations

import glob
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rewriter.model import Finding
from rewriter.process.probes.weights_files import WeightsError, read_shard_index
from rewriter.verify.adopt import write_ref
from rewriter.verify.cache import inspect_cache, report_needs
from rewriter.verify.directories import COMMIT, CachedRepo, Trouble, format_download, format_ref
from rewriter.verify.lock import Lock
from rewriter.verify.needs import Need, select_files

_SLACK_BYTES = 64 << 20
_LISTING_SECONDS = 30.0


class DownloadError(Exception):
    """Nothing can be begun: no huggingface_hub, no space, or a request that contradicts itself. ``remedy`` cures it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class DownloadFile(NamedTuple):
    """One file of the Hub: posix name, bytes, and whether the cache has it already."""

    name: str
    size: int
    present: bool


class RepoDownload(NamedTuple):
    """What is fetched of one repo into one cache.

    ``revision``: what the loaders ask for (None: ``main``). ``requested``: the same, or the commit that a lock or
    ``--revision`` gives. ``commit``: what that is. ``complete``: the cache has all of it; the Hub is asked for nothing.
    """

    repo_id: str
    cache_dir: str
    revision: str | None
    requested: str | None
    needs: tuple[Need, ...]
    commit: str = ""
    files: tuple[DownloadFile, ...] = ()
    complete: bool = False

    @property
    def missing_bytes(self) -> int:
        """Bytes of the files that the cache does not have."""
        return sum(file.size for file in self.files if not file.present)

    @property
    def command(self) -> str:
        """The ``hf download`` command that fetches the same."""
        return format_download(self.repo_id, self.cache_dir, self.requested, [file.name for file in self.files])


class DownloadPlan(NamedTuple):
    """What :func:`fetch` will do. ``findings``: repos that cannot be fetched (OSR126, OSR131 to OSR133)."""

    repos: Sequence[RepoDownload]
    findings: Sequence[Finding]


def plan_download(
    needs: Sequence[Need], *, lock: Lock | None = None, revisions: Mapping[str, str] | None = None
) -> DownloadPlan:
    """Which files of which repos the needs (``cache_dir`` absolute) are, with their sizes. Writes nothing.

    ``lock``: its commits are taken; a repo that it lacks is refused. ``revisions``: repo id -> commit (40 hex digits).
    Raises DownloadError: huggingface_hub is not installed, or a revision contradicts the lock or is no commit.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise DownloadError("huggingface_hub is not installed", "pip install 'opensora-rewriter[cache]'")
    groups: dict[tuple[str, str, str | None], list[Need]] = {}
    for need in needs:
        groups.setdefault((need.repo_id, need.cache_dir, need.revision), []).append(need)
    repos: list[RepoDownload] = []
    findings: list[Finding] = []
    for (repo_id, cache_dir, revision), group in groups.items():
        given = (revisions or {}).get(repo_id)
        locked = lock.find_commit(repo_id, revision) if lock is not None else None
        if given is not None and (not COMMIT.fullmatch(given) or locked not in (None, given)):
            reason = f"not the lock's commit, {locked}" if locked else "not a commit (40 hex digits)"
            raise DownloadError(f"--revision {repo_id}={given} is {reason}", "give the commit, or leave --revision out")
        if lock is not None and not given and not locked:
            message = f"{repo_id} ({revision or 'main'}) is not in the lock, so its commit is not known"
            findings += report_needs(
                Trouble("OSR126", message, "run it with --write-lock in the place of --lock"), group
            )
            continue
        repo = RepoDownload(repo_id, cache_dir, revision, given or locked or revision, tuple(group))
        found = inspect_cache([need._replace(revision=repo.requested) for need in group]).inspected
        if all(each.sound for each in found):
            files = {file.name: DownloadFile(file.name, file.size, True) for each in found for file in each.files}
            repo = repo._replace(commit=str(found[0].commit), files=tuple(files.values()), complete=True)
        repos.append(repo)
    listed, failed = _for_each(repos, _list_files)
    return DownloadPlan(listed, [*findings, *failed])


def _list_files(repo: RepoDownload) -> tuple[RepoDownload | None, Trouble | None]:
    """The repo with its files, or None; and what is wrong, or to be known."""
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    if repo.complete:
        return repo, None
    info = HfApi().model_info(repo.repo_id, revision=repo.requested, files_metadata=True, timeout=_LISTING_SECONDS)
    commit = info.sha or repo.requested or "main"
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or ()}
    with tempfile.TemporaryDirectory() as scratch:

        def read_shards(index: str) -> Iterable[str]:
            path = try_to_load_from_cache(repo.repo_id, index, cache_dir=repo.cache_dir, revision=commit)
            if not isinstance(path, str):
                path = hf_hub_download(repo.repo_id, index, revision=commit, cache_dir=scratch)
            try:
                return dict.fromkeys(read_shard_index(path).values())
            except WeightsError as error:
                raise ValueError(f"{index} {error}") from error

        selected = [select_files(need, sizes.__contains__, lambda: sizes, read_shards) for need in repo.needs]
    missing = dict.fromkeys(words for each in selected for words, _ in each.missing)
    if missing:
        message = f"{repo.repo_id} at {commit} has no {', '.join(missing)}, which a loader asks for"
        return None, Trouble("OSR132", message, f"see https://huggingface.co/{repo.repo_id}/tree/{commit}")
    files = []
    for name in dict.fromkeys(name for each in selected for name in each.files):
        found = try_to_load_from_cache(repo.repo_id, name, cache_dir=repo.cache_dir, revision=commit)
        present = isinstance(found, str) and os.path.getsize(found) == sizes[name]
        files.append(DownloadFile(name, sizes[name], present))
    message = f"{repo.repo_id} is called {info.id} on the Hub now; it is fetched under the name that loaders ask for"
    renamed = Trouble("OSR132", message, f"see https://huggingface.co/{info.id}", "warning")
    return repo._replace(commit=commit, files=tuple(files)), renamed if info.id not in (repo.repo_id, None) else None


def fetch(plan: DownloadPlan) -> list[Finding]:
    """Carry a plan out, repo by repo; the findings of those that failed (the others are fetched all the same).

    Raises DownloadError: there is not enough space; nothing was begun.
    """
    for cache_dir in {repo.cache_dir for repo in plan.repos}:
        size = sum(repo.missing_bytes for repo in plan.repos if repo.cache_dir == cache_dir)
        place = next(folder for folder in (Path(cache_dir), *Path(cache_dir).parents) if folder.is_dir())
        free = shutil.disk_usage(place).free
        if size and free < size + _SLACK_BYTES:
            message = f"not enough space in {place}: {size:,} bytes are to be fetched, {free:,} are free"
            raise DownloadError(message, "free some, or give another directory with --cache-dir")
    return _for_each(plan.repos, _fetch_repo)[1]


def _fetch_repo(repo: RepoDownload) -> tuple[RepoDownload, Trouble | None]:
    """Fetch by ``snapshot_download``: resumed, hashed and linked as the loaders would do it.

    It writes no ref for a commit, so the one that loaders ask for is written here; never against another (OSR135).
    """
    from huggingface_hub import snapshot_download

    if not repo.complete:
        names = [glob.escape(file.name) for file in repo.files]
        folder = snapshot_download(
            repo.repo_id, revision=repo.requested, cache_dir=repo.cache_dir, allow_patterns=names
        )
        # Where the Hub stops answering, snapshot_download is content with what the cache has.
        lacking = [file.name for file in repo.files if not os.path.isfile(os.path.join(folder, file.name))]
        if lacking:
            raise ConnectionError(f"{lacking[0]} was not fetched")
    if repo.requested != repo.revision:
        cached = CachedRepo(repo.cache_dir, repo.repo_id, repo.revision)
        present = cached.read_ref()
        if present and present != repo.commit:
            message = f"{repo.repo_id}: {cached.ref_path} is commit {present.strip()}, and {repo.commit} was requested"
            return repo, Trouble("OSR135", message, format_ref(repo.commit, cached.ref_path))
        write_ref(cached, repo.commit)
    return repo, None


def _for_each(
    repos: Iterable[RepoDownload], act: Callable[[RepoDownload], tuple[RepoDownload | None, Trouble | None]]
) -> tuple[list[RepoDownload], list[Finding]]:
    """What ``act`` makes of each repo, and the findings; a Hub that cannot be reached is one for all that is left."""
    done: list[RepoDownload] = []
    findings: list[Finding] = []
    left: list[Need] = []
    lost: Exception | None = None
    # hub 0.x raises errors of requests (which are OSErrors), 1.x and 2.x those of httpx
    clients = [importlib.import_module(name) for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
    known: tuple[type[Exception], ...] = (OSError, ValueError, *(client.HTTPError for client in clients))
    for repo in repos:
        trouble = None
        try:
            if lost is not None and not repo.files:  # not listed yet: do not wait for the Hub again
                raise lost
            result, trouble = act(repo)
            done += [result] if result is not None else []
        except known as error:
            trouble = _describe_refusal(error, repo)
            if trouble is None:
                lost, left = lost or error, [*left, *repo.needs]
        findings += report_needs(trouble, repo.needs)
    if lost is not None:
        findings += report_needs(_describe_lost(lost, left), [need._replace(source="config") for need in left])
    return done, findings


def _describe_refusal(error: Exception, repo: RepoDownload) -> Trouble | None:
    """What a failed request means, and the page or the setting that cures it; None: the Hub cannot be reached."""
    from huggingface_hub import constants, errors

    repo_id, page = repo.repo_id, f"https://huggingface.co/{repo.repo_id}"
    log_in = f"{page}, then set HF_TOKEN or run: hf auth login"
    status = getattr(getattr(error, "response", None), "status_code", None)
    status = 403 if isinstance(error, errors.GatedRepoError) else status
    answers = {
        401: ("OSR131", f"the Hub does not show {repo_id} without a valid token: it is private, or not there", log_in),
        403: ("OSR131", f"{repo_id} is gated or private, and access is not granted to this token", log_in),
        404: (
            "OSR132",
            f"the Hub has no {repo_id} at {repo.requested or 'main'} (it may have been renamed or removed)",
            page,
        ),
    }
    if status in answers:
        code, message, place = answers[status]
        return Trouble(code, message, f"see {place}")
    if isinstance(error, OSError) and error.filename:
        message = f"{repo_id}: {error.filename}: {error.strerror or error}"
        return Trouble("OSR134", message, "free space, or give another directory with --cache-dir")
    if status is None and (isinstance(error, errors.LocalEntryNotFoundError) or not isinstance(error, ValueError)):
        return None
    message = f"{repo_id} cannot be fetched from {constants.ENDPOINT}: {str(error).strip().partition(chr(10))[0]}"
    return Trouble("OSR133", message, "check HF_ENDPOINT, then run it again: it goes on where it stopped")


def _describe_lost(error: BaseException, left: Iterable[Need]) -> Trouble:
    from huggingface_hub import constants

    repos = ", ".join(dict.fromkeys(need.repo_id for need in left))
    if constants.HF_HUB_OFFLINE:
        message = f"HF_HUB_OFFLINE is set, so the Hub is not asked; left to fetch: {repos}"
        return Trouble("OSR133", message, "unset HF_HUB_OFFLINE, and run it where there is a network")
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    message = f"the Hub at {constants.ENDPOINT} cannot be reached ({reason}); left to fetch: {repos}"
    remedy = "set HF_ENDPOINT to a mirror or HTTPS_PROXY to your proxy, then run it again: it goes on where it stopped"
    return Trouble("OSR133", message, remedy)
