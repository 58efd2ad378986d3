"""Hash many large files at once: sha256 as Git-LFS names blobs, sha1 as git does, and what mirrors use instead."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from typing import Literal

HashKind = Literal["sha256", "git-sha1", "sha1", "md5"]
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all), from one thread at a time."""

# Large enough that the GIL and the system calls cost nothing, small enough to stay in a core's cache.
BUFFER_BYTES = 1 << 20


class StoppedError(Exception):
    """The run was cancelled; the hash is not known."""


def hash_file(
    path: str, kind: HashKind, on_bytes: Callable[[int], None] | None = None, stop: threading.Event | None = None
) -> str:
    """The hash of a file's content, as lower-case hex.

    Args:
        path: a readable file.
        kind: of the hash; "git-sha1" is sha1 over ``blob SIZE\\0`` and the content.
        on_bytes: called after every buffer with the number of bytes read.
        stop: when set, the run ends with :class:`StoppedError`.

    Raises:
        OSError: it cannot be opened or read.
    """
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with open(path, "rb", buffering=0) as stream:
        digest = hashlib.new(kind.removeprefix("git-"), usedforsecurity=False)
        if kind == "git-sha1":
            digest.update(b"blob %d\0" % os.fstat(stream.fileno()).st_size)
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
            if on_bytes is not None:
                on_bytes(count)
            if stop is not None and stop.is_set():
                raise StoppedError
    return digest.hexdigest()


def hash_files(
    wanted: Iterable[tuple[str, HashKind]], *, jobs: int | None = None, progress: Progress | None = None
) -> dict[tuple[str, HashKind], str | OSError]:
    """Hash files on several threads (:mod:`hashlib` releases the GIL), the largest first.

    Args:
        wanted: (path, kind) pairs; repeated ones are hashed once.
        jobs: threads; None: one for each core.
        progress: called after every buffer.

    Returns:
        For each pair the hex hash, or the error that reading met. Ctrl-C stops every thread and is raised again.
    """
    from concurrent.futures import ThreadPoolExecutor

    sizes = {item: _get_size(item[0]) for item in dict.fromkeys(wanted)}
    total, done = sum(sizes.values()), 0
    lock, stop = threading.Lock(), threading.Event()

    def advance(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            if progress is not None:
                progress(done, total)

    def hash_one(item: tuple[str, HashKind]) -> str | OSError:
        try:
            return hash_file(*item, advance, stop)
        except OSError as error:
            return error

    ordered = sorted(sizes, key=lambda item: (-sizes[item], item))
    pool = ThreadPoolExecutor(max_workers=max(1, jobs or count_cores()))
    try:
        return dict(zip(ordered, pool.map(hash_one, ordered), strict=True))
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def count_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _get_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
