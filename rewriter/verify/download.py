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

from rewriter.process.probes.weights_files import read_shard_index
from rewriter.verify.adopt import write_ref
from rewriter.verify.cache import inspect_cache
from rewriter.verify.directories import CachedRepo, Trouble, format_download, format_ref
from rewriter.verify.lock import Lock
from rewriter.verify.needs import Need, select_files


class DownloadError(Exception):
    """Nothing can be begun. ``args``: why (no huggingface_hub, or no space), and what to do."""


class DownloadFile(NamedTuple):
    """One file of the Hub: posix name, bytes, and whether the cache has it already."""

    name: str
    size: int
    present: bool


class RepoDownload(NamedTuple):
    """What is fetched of one repo into one cache.

    ``revision``: what loaders ask for (None: ``main``). ``requested``: that, or what a lock or ``--revision`` gives.
    ``commit``: of that, or "" if it cannot be fetched (``trouble``). ``complete``: it is all there, no Hub is asked.
    """

    repo_id: str
    cache_dir: str
    revision: str | None
    requested: str | None
    needs: Sequence[Need]
    commit: str = ""
    files: Sequence[DownloadFile] = ()
    complete: bool = False
    trouble: Trouble | None = None

    @property
    def missing_bytes(self) -> int:
        """Bytes of the files that the cache does not have."""
        return sum(file.size for file in self.files if not file.present)

    @property
    def command(self) -> str:
        """The ``hf download`` command that fetches the same."""
        return format_download(self.repo_id, self.cache_dir, self.requested, [file.name for file in self.files])


def plan_download(needs: Iterable[Need], lock: Lock | None, revisions: Mapping[str, str]) -> list[RepoDownload]:
    """Which files of which repos the needs are, with their sizes. Writes nothing.

    ``lock``: its commits are taken, and what it lacks is refused (OSR126). ``revisions``: repo id -> commit.
    Raises DownloadError: huggingface_hub is not installed.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise DownloadError("huggingface_hub is not installed", "pip install 'opensora-rewriter[cache]'")
    groups: dict[tuple[str, str, str | None], list[Need]] = {}
    for need in needs:  # where the directory comes from has nothing to do with the Hub's answers
        groups.setdefault((need.repo_id, need.cache_dir, need.revision), []).append(need._replace(source="config"))
    repos = []
    for (repo_id, cache_dir, revision), group in groups.items():
        locked = (lock or {}).get((repo_id, revision or "main"))
        requested = revisions.get(repo_id) or (locked.commit if locked else revision)
        repo, trouble = RepoDownload(repo_id, cache_dir, revision, requested, group), None
        if lock is not None and (locked is None or locked.commit != requested):
            message = f"{repo_id} at {requested or 'main'} is not in the lock"
            trouble = Trouble("OSR126", message, "run it with --write-lock in the place of --lock")
        repos.append(repo._replace(trouble=trouble) if trouble else _attempt(_list_files, repo))
    return repos


def fetch(repos: Sequence[RepoDownload]) -> list[RepoDownload]:
    """Fetch what is planned; a repo that fails has its ``trouble``, and the others are fetched all the same.

    Raises DownloadError: there is not enough space; nothing was begun.
    """
    for cache_dir in {repo.cache_dir for repo in repos}:
        size = sum(repo.missing_bytes for repo in repos if repo.cache_dir == cache_dir)
        place = next(folder for folder in (Path(cache_dir), *Path(cache_dir).parents) if folder.is_dir())
        if (free := shutil.disk_usage(place).free) < size:
            message = f"not enough space in {place}: {size:,} bytes are to be fetched, {free:,} are free"
            raise DownloadError(message, "free some, or give another directory with --cache-dir")
    return [_attempt(_fetch_files, repo) if repo.commit else repo for repo in repos]


def _attempt(act: Callable[[RepoDownload], RepoDownload], repo: RepoDownload) -> RepoDownload:
    try:
        return act(repo)
    except Exception as error:  # noqa: BLE001 - requests, httpx, httpx2 and hf_xet each raise their own
        return repo._replace(trouble=_explain(error, repo))


def _list_files(repo: RepoDownload) -> RepoDownload:
    """The repo with its files, as the cache has them all, or as the Hub lists them."""
    from huggingface_hub import HfApi, constants, hf_hub_download

    found = inspect_cache([need._replace(revision=repo.requested) for need in repo.needs]).inspected
    if all(each.sound for each in found):
        cached = {file.name: DownloadFile(file.name, file.size, True) for each in found for file in each.files}
        return repo._replace(commit=str(found[0].commit), files=list(cached.values()), complete=True)
    timeout = constants.HF_HUB_ETAG_TIMEOUT
    info = HfApi().model_info(repo.repo_id, revision=repo.requested, files_metadata=True, timeout=timeout)
    commit, page = str(info.sha), f"see https://huggingface.co/{info.id}"
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or ()}
    with tempfile.TemporaryDirectory() as scratch:

        def read_shards(index: str) -> Iterable[str]:
            return read_shard_index(hf_hub_download(repo.repo_id, index, revision=commit, cache_dir=scratch)).values()

        selected = [select_files(need, sizes.__contains__, lambda: sizes, read_shards) for need in repo.needs]
    if missing := dict.fromkeys(words for _, lacking in selected for words in lacking):
        message = f"{repo.repo_id} at {commit} has no {', '.join(missing)}, which a loader asks for"
        return repo._replace(trouble=Trouble("OSR132", message, f"{page}/tree/{commit}"))
    snapshot = CachedRepo(repo.cache_dir, repo.repo_id).get_snapshot(commit)
    names = dict.fromkeys(name for present, _ in selected for name in present)
    files = [DownloadFile(name, sizes[name], os.path.isfile(os.path.join(snapshot, name))) for name in names]
    message = f"{repo.repo_id} is called {info.id} on the Hub now; it is fetched under the name that loaders ask for"
    renamed = Trouble("OSR132", message, page, "warning") if info.id != repo.repo_id else None
    return repo._replace(commit=commit, files=files, trouble=renamed)


def _fetch_files(repo: RepoDownload) -> RepoDownload:
    """Fetch by ``snapshot_download``: resumed, hashed and linked as the loaders would do it.

    It writes no ref for a commit, so the one that loaders ask for is written here; never against another (OSR135).
    """
    from huggingface_hub import snapshot_download

    if not repo.complete:
        names = [glob.escape(file.name) for file in repo.files]
        snapshot_download(repo.repo_id, revision=repo.requested, cache_dir=repo.cache_dir, allow_patterns=names)
    if repo.requested != repo.revision:
        cached = CachedRepo(repo.cache_dir, repo.repo_id, repo.revision)
        if (present := cached.read_ref()) not in (None, "", repo.commit):
            message = f"{repo.repo_id}: {cached.ref_path} is commit {present}, and {repo.commit} was requested"
            return repo._replace(trouble=Trouble("OSR135", message, format_ref(repo.commit, cached.ref_path)))
        write_ref(cached, repo.commit)
    return repo


def _explain(error: BaseException, repo: RepoDownload) -> Trouble:
    """What a failed request means, and the page or the setting that cures it."""
    from huggingface_hub import constants

    page = f"see https://huggingface.co/{repo.repo_id}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        message = f"the Hub does not give {repo.repo_id} to this token, or to none: it is gated, private or not there"
        return Trouble("OSR131", message, f"{page}, then set HF_TOKEN or run: hf auth login")
    if status == 404:
        message = f"the Hub has no {repo.repo_id} at {repo.requested or 'main'} (renamed, removed or misspelled)"
        return Trouble("OSR132", message, page)
    if isinstance(error, OSError) and error.filename:
        message = f"{repo.repo_id}: {error.filename}: {error.strerror or error}"
        return Trouble("OSR134", message, "free space, or give another directory with --cache-dir")
    if constants.HF_HUB_OFFLINE:
        message = "HF_HUB_OFFLINE is set, so the Hub is not asked"
        return Trouble("OSR133", message, "unset HF_HUB_OFFLINE, and run it where there is a network")
    while inner := error.__cause__ or error.__context__:
        error = inner
    reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0] or type(error).__name__
    message = f"the Hub at {constants.ENDPOINT} cannot be reached, or fails: {reason}"
    remedy = "set HF_ENDPOINT to a mirror or HTTPS_PROXY to your proxy, then run it again: it goes on where it stopped"
    return Trouble("OSR133", message, remedy)
