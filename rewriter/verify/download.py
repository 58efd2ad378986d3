"""Fetch into the standard cache exactly the files that the loaders will read, by huggingface_hub itself (issue 18)."""

from __future__ import annotations

import errno
import glob
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rewriter.model import Finding
from rewriter.verify.adopt import write_ref
from rewriter.verify.cache import inspect_cache
from rewriter.verify.directories import Trouble, describe_source, format_download, report_trouble
from rewriter.verify.lock import Lock
from rewriter.verify.needs import Need
from rewriter.verify.requested_files import select_from_listing
from rewriter.verify.snapshots import COMMIT, CachedRepo, format_ref, get_repo_folder
from rewriter.verify.weights_files import WeightsError, read_shard_index

_SLACK_BYTES = 64 << 20
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


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
    all of it, and the Hub was not asked.
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
    def command(self) -> str:
        """The ``hf download`` command that fetches the same."""
        revision = self.commit if self.pinned else self.revision
        names = [file.name for file in self.files]
        return format_download(self.repo_id, self.cache_dir, revision=revision, files=names)


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
    endpoint: str | None = None,
    token: str | None = None,
) -> DownloadPlan:
    """Which files of which repos the needs are, with their sizes.

    Args:
        needs: of :func:`rewriter.verify.needs.collect_needs`; ``cache_dir`` absolute.
        lock: its commits are taken; a repo that it lacks is refused.
        revisions: repo id -> commit (40 hex digits), of the command line.
        endpoint, token: None: what huggingface_hub takes from the environment (``HF_ENDPOINT``, ``HF_TOKEN``).

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
    hub = _Hub(endpoint, token)
    repos: list[RepoDownload] = []
    findings: list[Finding] = []
    for group in groups.values():
        planned = _plan_repo(hub, group, lock, revisions or {})
        if isinstance(planned, Trouble):
            findings += _report(planned, group)
        else:
            repos.append(planned[0])
            findings += planned[1]
    return DownloadPlan(tuple(repos), tuple(findings))


def _report(trouble: Trouble, needs: Iterable[Need]) -> list[Finding]:
    needs = list(needs)
    places = [place for need in needs for place in need.requested_by or ((need.cache_dir, 0, ""),)]
    return report_trouble(trouble, places, describe_source(needs[0].source))


def _plan_repo(
    hub: _Hub, needs: list[Need], lock: Lock | None, revisions: Mapping[str, str]
) -> tuple[RepoDownload, list[Finding]] | Trouble:
    first = needs[0]
    pinned = _find_pinned(first, lock, revisions)
    if pinned == "":
        message = f"{first.repo_id} ({first.revision or 'main'}) is not in the lock, so its commit is not known"
        return Trouble("OSR126", message, "opensora-rewriter lock")
    plan = RepoDownload(
        first.repo_id, first.cache_dir, first.revision, pinned or "", (), tuple(needs), pinned is not None
    )
    done = _find_complete(plan)
    if done is not None:
        return done, []
    try:
        return hub.list_files(plan)
    except hub.errors as error:
        return hub.describe_error(error, plan)


def _find_pinned(need: Need, lock: Lock | None, revisions: Mapping[str, str]) -> str | None:
    """The commit that the command line or the lock gives; "" where a lock lacks the repo; None where none is asked."""
    given = revisions.get(need.repo_id)
    if given is not None and not COMMIT.fullmatch(given):
        raise DownloadError(f"--revision {need.repo_id}={given} is not a commit (40 hex digits)", "give the commit")
    locked = lock.find_commit(need.repo_id, need.revision) if lock is not None else None
    if given and locked and given != locked:
        message = f"--revision {need.repo_id}={given} contradicts the lock, which says {locked}"
        raise DownloadError(message, "leave --revision out, or lock again")
    return given or locked or ("" if lock is not None else None)


def _find_complete(plan: RepoDownload) -> RepoDownload | None:
    """The plan as done where the cache has all of it: the Hub need not be asked."""
    if plan.pinned and not os.path.isdir(os.path.join(get_repo_folder(plan.cache_dir, plan.repo_id), "snapshots")):
        return None
    wanted = [replace(need, revision=plan.commit) for need in plan.needs] if plan.pinned else plan.needs
    report = inspect_cache(wanted)
    if not report.inspected or not all(found.sound for found in report.inspected):
        return None
    files = {file.name: DownloadFile(file.name, file.size, True) for each in report.inspected for file in each.files}
    return replace(plan, commit=str(report.inspected[0].commit), files=tuple(files.values()), complete=True)


@dataclass(frozen=True)
class _Hub:
    """The Hub as huggingface_hub reaches it."""

    endpoint: str | None
    token: str | None

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What a failed request raises: hub 0.x speaks by requests (its errors are OSErrors), 1.x and 2.x by httpx."""
        found: list[type[Exception]] = [OSError, ValueError]
        for name in ("httpx", "httpx2"):
            try:
                found.append(importlib.import_module(name).HTTPError)
            except ImportError:
                continue
        return tuple(found)

    def list_files(self, plan: RepoDownload) -> tuple[RepoDownload, list[Finding]] | Trouble:
        from huggingface_hub import HfApi, try_to_load_from_cache

        revision = plan.commit if plan.pinned else plan.revision
        info = HfApi(endpoint=self.endpoint, token=self.token).model_info(
            plan.repo_id, revision=revision, files_metadata=True
        )
        commit = info.sha or revision or "main"
        sizes = {each.rfilename: each.size or 0 for each in info.siblings or []}
        with tempfile.TemporaryDirectory(prefix="opensora-rewriter-") as scratch:
            listed = select_from_listing(
                plan.needs, sizes, lambda index: self._read_shards(plan, index, commit, scratch)
            )
        if listed.missing:
            words = ", ".join(name for name, _ in listed.missing)
            message = f"{plan.repo_id} at {commit} has no {words}, which a loader asks for"
            return Trouble("OSR132", message, f"see https://huggingface.co/{plan.repo_id}/tree/{commit}")
        files = []
        for name in listed.files:
            found = try_to_load_from_cache(plan.repo_id, name, cache_dir=plan.cache_dir, revision=commit)
            present = isinstance(found, str) and os.path.getsize(found) == sizes[name]
            files.append(DownloadFile(name, sizes[name], present))
        planned = replace(plan, commit=commit, files=tuple(files))
        if info.id in (plan.repo_id, None):
            return planned, []
        message = (
            f"{plan.repo_id} is called {info.id} on the Hub now; it is fetched under the name that loaders ask for"
        )
        page = f"see https://huggingface.co/{info.id}"
        return planned, _report(Trouble("OSR132", message, page, "warning"), plan.needs)

    def _read_shards(self, plan: RepoDownload, index: str, commit: str, scratch: str) -> Iterable[str]:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        path = try_to_load_from_cache(plan.repo_id, index, cache_dir=plan.cache_dir, revision=commit)
        if not isinstance(path, str):
            path = hf_hub_download(
                plan.repo_id, index, revision=commit, cache_dir=scratch, endpoint=self.endpoint, token=self.token
            )
        try:
            return dict.fromkeys(read_shard_index(path).values())
        except WeightsError as error:
            raise ValueError(f"{index} {error}") from error

    def fetch(self, plan: RepoDownload) -> None:
        """Fetch by ``snapshot_download``: resumed, hashed and linked as the loaders would do it."""
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            plan.repo_id,
            revision=plan.commit if plan.pinned else plan.revision,
            cache_dir=plan.cache_dir,
            allow_patterns=[glob.escape(file.name) for file in plan.files],
            endpoint=self.endpoint,
            token=self.token,
        )
        # Where the Hub stops answering, snapshot_download is content with what the cache has.
        lacking = [file.name for file in plan.files if not os.path.isfile(os.path.join(folder, file.name))]
        if lacking:
            raise ConnectionError(f"{lacking[0]} was not fetched")

    def describe_error(self, error: Exception, plan: RepoDownload) -> Trouble:
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
            missing = f"revision {plan.commit or plan.revision}" if _is_revision_error(error) else "such a repo"
            message = f"{plan.repo_id}: the Hub has no {missing} (it may have been renamed or removed)"
            return Trouble("OSR132", message, f"look at {page}, and correct the repo id or the revision")
        if isinstance(error, errors.HFValidationError):
            return Trouble("OSR132", f"{plan.repo_id!r} is not a repo id", "give ORG/NAME, as its page shows it")
        endpoint = self.endpoint or constants.ENDPOINT
        reason = str(error.__cause__ or error).strip().split("\n")[0] or type(error).__name__
        if constants.HF_HUB_OFFLINE:
            remedy = "unset HF_HUB_OFFLINE, and run it where there is a network"
        elif isinstance(error, OSError) and (error.filename or error.errno in _DISK_ERRORS):
            message = f"{plan.repo_id}: {error.filename or plan.cache_dir}: {error.strerror or error}"
            return Trouble("OSR134", message, "free space, or give another directory with --cache-dir")
        else:
            remedy = "check the network and HF_ENDPOINT, then run it again: it goes on where it stopped"
        return Trouble("OSR133", f"{plan.repo_id} cannot be fetched from {endpoint}: {reason}", remedy)


def _is_revision_error(error: Exception) -> bool:
    from huggingface_hub import errors

    return isinstance(error, errors.RevisionNotFoundError)


# --- fetching -----------------------------------------------------------------------------------------


def fetch(plan: DownloadPlan, *, endpoint: str | None = None, token: str | None = None) -> list[Finding]:
    """Carry a plan out, repo by repo; the findings of those that failed (the others are fetched all the same).

    After a fetch by commit the ref that loaders ask for is written, since huggingface_hub writes none; where another
    commit is there, OSR135.

    Raises:
        DownloadError: there is not enough space; nothing was begun.
    """
    check_space(plan)
    hub = _Hub(endpoint, token)
    findings: list[Finding] = []
    for repo in plan.repos:
        try:
            if not repo.complete:
                hub.fetch(repo)
            trouble = _place_ref(repo) if repo.pinned else None
        except hub.errors as error:
            trouble = hub.describe_error(error, repo)
        if trouble is not None:
            findings += _report(trouble, repo.needs)
    return findings


def check_space(plan: DownloadPlan) -> None:
    """Raises :class:`DownloadError` where a file system has not the space for what a plan will fetch."""
    wanted: dict[tuple[int, str], int] = {}
    for repo in plan.repos:
        place = repo.cache_dir
        while not os.path.isdir(place) and os.path.dirname(place) != place:
            place = os.path.dirname(place)
        key = os.stat(place).st_dev, next((path for device, path in wanted if device == os.stat(place).st_dev), place)
        wanted[key] = wanted.get(key, 0) + repo.missing_bytes
    for (_, place), size in wanted.items():
        free = shutil.disk_usage(place).free
        if size and free < size + _SLACK_BYTES:
            message = f"not enough space in {place}: {size:,} bytes are to be fetched, {free:,} are free"
            raise DownloadError(message, "free some, or give another directory with --cache-dir")


def _place_ref(plan: RepoDownload) -> Trouble | None:
    """Make the commit what the loaders' revision means, as ``adopt`` does; never against another commit."""
    repo = CachedRepo(plan.cache_dir, plan.repo_id, plan.revision)
    if plan.revision is not None and COMMIT.fullmatch(plan.revision):
        return None  # asked for by commit: no ref is read
    present = repo.read_ref()
    if present and present != plan.commit.encode():
        shown = present.decode("utf-8", "replace").strip()
        message = f"{plan.repo_id}: {repo.ref_path} is commit {shown}, and {plan.commit} was asked for"
        return Trouble("OSR135", message, format_ref(plan.commit, repo.ref_path))
    os.makedirs(os.path.dirname(repo.ref_path), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=repo.folder, prefix=".adopt-") as staging:
        write_ref(repo.ref_path, plan.commit, staging)
    return None
