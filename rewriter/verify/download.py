"""Fetch into the standard cache exactly the files that the loaders will read, by huggingface_hub itself (issue 18)."""

from __future__ import annotations

import glob
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rewriter.model import Finding
from rewriter.verify.adopt import write_ref
from rewriter.verify.cache import inspect_cache, report_needs
from rewriter.verify.directories import Trouble, format_download
from rewriter.verify.lock import Lock
from rewriter.verify.needs import Need
from rewriter.verify.requested_files import select_from_listing
from rewriter.verify.snapshots import COMMIT, CachedRepo, format_ref
from rewriter.verify.weights_files import WeightsError, read_shard_index

_SLACK_BYTES = 64 << 20


class DownloadError(Exception):
    """Nothing can be begun: no huggingface_hub, no space, or a request that contradicts itself. ``remedy`` cures it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class DownloadFile:
    """One file of the Hub: posix name, bytes, and whether the cache has it already."""

    name: str
    size: int
    present: bool = False


@dataclass(frozen=True, slots=True)
class RepoDownload:
    """What is fetched of one repo into one cache.

    ``revision``: what the loaders ask for (None: ``main``). ``commit``: what that is, or is to be. ``pinned``: the
    commit was given (a lock, ``--revision``), so the ref has to be written here. ``complete``: the cache already has
    all of it, and nothing was requested of the Hub.
    """

    repo_id: str
    cache_dir: str
    revision: str | None
    commit: str
    files: tuple[DownloadFile, ...]
    needs: tuple[Need, ...]
    pinned: bool = False
    complete: bool = False

    @property
    def missing_bytes(self) -> int:
        """Bytes of the files that the cache does not have."""
        return sum(file.size for file in self.files if not file.present)

    @property
    def requested(self) -> str | None:
        """The revision that is requested of the Hub."""
        return self.commit if self.pinned else self.revision

    @property
    def command(self) -> str:
        """The ``hf download`` command that fetches the same."""
        names = [file.name for file in self.files]
        return format_download(self.repo_id, self.cache_dir, revision=self.requested, files=names)


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """What :func:`fetch` will do. ``findings``: repos that cannot be fetched (OSR126, OSR131 to OSR133)."""

    repos: tuple[RepoDownload, ...]
    findings: tuple[Finding, ...] = ()


# --- planning: asks the Hub, writes nothing -----------------------------------------------------------


def plan_download(
    needs: Sequence[Need],
    *,
    lock: Lock | None = None,
    revisions: Mapping[str, str] | None = None,
) -> DownloadPlan:
    """Which files of which repos the needs are, with their sizes.

    Args:
        needs: of :func:`rewriter.verify.needs.collect_needs`; ``cache_dir`` absolute.
        lock: its commits are taken; a repo that it lacks is refused.
        revisions: repo id -> commit (40 hex digits), of the command line.

    Raises:
        DownloadError: huggingface_hub is not installed, or a revision contradicts the lock or is no commit.
    """
    try:
        importlib.import_module("huggingface_hub")
    except ImportError:
        raise DownloadError("huggingface_hub is not installed", "pip install 'opensora-rewriter[cache]'") from None
    groups: dict[tuple[str, str, str | None], list[Need]] = {}
    for need in needs:
        groups.setdefault((need.cache_dir, need.repo_id, need.revision), []).append(need)
    repos: list[RepoDownload] = []
    findings: list[Finding] = []
    for (cache_dir, repo_id, revision), group in groups.items():
        commit = _find_pinned(group[0], lock, revisions or {})
        plan = RepoDownload(repo_id, cache_dir, revision, commit, (), tuple(group), bool(commit))
        trouble = None
        if lock is not None and not commit:
            message = f"{repo_id} ({revision or 'main'}) is not in the lock, so its commit is not known"
            trouble = Trouble("OSR126", message, "opensora-rewriter lock")
        else:
            try:
                done = _find_complete(plan)
                planned, trouble = (done, None) if done is not None else _list_files(plan)
                repos += [planned] if planned is not None else []
            except _list_errors() as error:
                trouble = _describe_error(error, plan)
        findings += report_needs(trouble, group) if trouble is not None else []
    return DownloadPlan(tuple(repos), tuple(findings))


def _find_pinned(need: Need, lock: Lock | None, revisions: Mapping[str, str]) -> str:
    """The commit that the command line or the lock gives, or ""."""
    given = revisions.get(need.repo_id)
    if given is not None and not COMMIT.fullmatch(given):
        raise DownloadError(f"--revision {need.repo_id}={given} is not a commit (40 hex digits)", "give the commit")
    locked = lock.find_commit(need.repo_id, need.revision) if lock is not None else None
    if given and locked and given != locked:
        message = f"--revision {need.repo_id}={given} contradicts the lock, which says {locked}"
        raise DownloadError(message, "leave --revision out, or lock again")
    return given or locked or ""


def _find_complete(plan: RepoDownload) -> RepoDownload | None:
    """The plan as done where the cache has all of it: nothing is requested of the Hub."""
    found = inspect_cache([replace(need, revision=plan.requested) for need in plan.needs]).inspected
    if not all(each.sound for each in found):
        return None
    files = {file.name: DownloadFile(file.name, file.size, True) for each in found for file in each.files}
    return replace(plan, commit=str(found[0].commit), files=tuple(files.values()), complete=True)


def _list_errors() -> tuple[type[Exception], ...]:
    """What a failed request raises: hub 0.x speaks by requests (its errors are OSErrors), 1.x and 2.x by httpx."""
    found: list[type[Exception]] = [OSError, ValueError]
    for name in ("httpx", "httpx2"):
        try:
            found.append(importlib.import_module(name).HTTPError)
        except ImportError:
            continue
    return tuple(found)


def _list_files(plan: RepoDownload) -> tuple[RepoDownload | None, Trouble | None]:
    """The plan with its files, or None; and what is wrong, or to be known."""
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    info = HfApi().model_info(plan.repo_id, revision=plan.requested, files_metadata=True)
    page = f"https://huggingface.co/{plan.repo_id}"
    commit = info.sha or plan.requested or "main"
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or []}
    with tempfile.TemporaryDirectory(prefix="opensora-rewriter-") as scratch:

        def read_shards(index: str) -> Iterable[str]:
            try:
                path = try_to_load_from_cache(plan.repo_id, index, cache_dir=plan.cache_dir, revision=commit)
                if not isinstance(path, str):
                    path = hf_hub_download(plan.repo_id, index, revision=commit, cache_dir=scratch)
                return dict.fromkeys(read_shard_index(path).values())
            except WeightsError as error:
                raise ValueError(f"{index} {error}") from error

        listed = select_from_listing(plan.needs, sizes, read_shards)
    if listed.missing:
        words = ", ".join(name for name, _ in listed.missing)
        message = f"{plan.repo_id} at {commit} has no {words}, which a loader asks for"
        return None, Trouble("OSR132", message, f"see {page}/tree/{commit}")
    files = []
    for name in listed.files:
        found = try_to_load_from_cache(plan.repo_id, name, cache_dir=plan.cache_dir, revision=commit)
        present = isinstance(found, str) and os.path.getsize(found) == sizes[name]
        files.append(DownloadFile(name, sizes[name], present))
    planned = replace(plan, commit=commit, files=tuple(files))
    if info.id in (plan.repo_id, None):
        return planned, None
    message = f"{plan.repo_id} is called {info.id} on the Hub now; it is fetched under the name that loaders ask for"
    return planned, Trouble("OSR132", message, f"see https://huggingface.co/{info.id}", "warning")


def _fetch_repo(plan: RepoDownload) -> None:
    """Fetch by ``snapshot_download``: resumed, hashed and linked as the loaders would do it."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        plan.repo_id,
        revision=plan.requested,
        cache_dir=plan.cache_dir,
        allow_patterns=[glob.escape(file.name) for file in plan.files],
    )
    # Where the Hub stops answering, snapshot_download is content with what the cache has.
    lacking = [file.name for file in plan.files if not os.path.isfile(os.path.join(folder, file.name))]
    if lacking:
        raise ConnectionError(f"{lacking[0]} was not fetched")


def _describe_error(error: Exception, plan: RepoDownload) -> Trouble:
    """What a failed request means, and the page or the setting that cures it."""
    from huggingface_hub import constants, errors

    page = f"https://huggingface.co/{plan.repo_id}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        message = f"{plan.repo_id} is gated or private, and access is not granted to this token"
        return Trouble("OSR131", message, f"ask for access on {page}, then set HF_TOKEN or run: hf auth login")
    if status == 401:
        message = f"the Hub does not show {plan.repo_id} without a valid token: it is private, or not there"
        return Trouble("OSR131", message, f"look at {page}, then set HF_TOKEN or run: hf auth login")
    if status == 404:
        is_revision = isinstance(error, errors.RevisionNotFoundError)
        missing = f"revision {plan.requested}" if is_revision else "such a repo"
        message = f"{plan.repo_id}: the Hub has no {missing} (it may have been renamed or removed)"
        return Trouble("OSR132", message, f"look at {page}, and correct the repo id or the revision")
    if isinstance(error, errors.HFValidationError):
        return Trouble("OSR132", f"{plan.repo_id!r} is not a repo id", "give ORG/NAME, as its page shows it")
    if isinstance(error, OSError) and error.filename and not constants.HF_HUB_OFFLINE:
        message = f"{plan.repo_id}: {error.filename}: {error.strerror or error}"
        return Trouble("OSR134", message, "free space, or give another directory with --cache-dir")
    remedy = "check the network and HF_ENDPOINT, then run it again: it goes on where it stopped"
    if constants.HF_HUB_OFFLINE:
        remedy = "unset HF_HUB_OFFLINE, and run it where there is a network"
    reason = str(error.__cause__ or error).strip().split("\n")[0] or type(error).__name__
    message = f"{plan.repo_id} cannot be fetched from {constants.ENDPOINT}: {reason}"
    return Trouble("OSR133", message, remedy)


# --- fetching -----------------------------------------------------------------------------------------


def fetch(plan: DownloadPlan) -> list[Finding]:
    """Carry a plan out, repo by repo; the findings of those that failed (the others are fetched all the same).

    After a fetch by commit the ref that loaders ask for is written, since huggingface_hub writes none; where another
    commit is there, OSR135.

    Raises:
        DownloadError: there is not enough space; nothing was begun.
    """
    _check_space(plan)
    findings: list[Finding] = []
    for repo in plan.repos:
        try:
            if not repo.complete:
                _fetch_repo(repo)
            trouble = _place_ref(repo) if repo.pinned else None
        except _list_errors() as error:
            trouble = _describe_error(error, repo)
        findings += report_needs(trouble, repo.needs) if trouble is not None else []
    return findings


def _check_space(plan: DownloadPlan) -> None:
    """Raises :class:`DownloadError` where a file system has not the space for what a plan will fetch."""
    wanted: dict[int, tuple[str, int]] = {}  # device -> a folder of it, bytes
    for repo in plan.repos:
        place = repo.cache_dir
        while not os.path.isdir(place) and os.path.dirname(place) != place:
            place = os.path.dirname(place)
        device = os.stat(place).st_dev
        wanted[device] = place, wanted.get(device, ("", 0))[1] + repo.missing_bytes
    for place, size in wanted.values():
        free = shutil.disk_usage(place).free
        if size and free < size + _SLACK_BYTES:
            message = f"not enough space in {place}: {size:,} bytes are to be fetched, {free:,} are free"
            raise DownloadError(message, "free some, or give another directory with --cache-dir")


def _place_ref(plan: RepoDownload) -> Trouble | None:
    """Make the commit what the loaders' revision means, as ``adopt`` does; never against another commit."""
    repo = CachedRepo(plan.cache_dir, plan.repo_id, plan.revision)
    if plan.revision is not None and COMMIT.fullmatch(plan.revision):
        return None  # requested by commit: no ref is read
    present = repo.read_ref()
    if present and present != plan.commit:
        message = f"{plan.repo_id}: {repo.ref_path} is commit {present.strip()}, and {plan.commit} was requested"
        return Trouble("OSR135", message, format_ref(plan.commit, repo.ref_path))
    write_ref(repo, plan.commit)
    return None
