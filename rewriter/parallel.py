"""Share the files of a run among processes, by fork: what was read and remembered before is there at once in each.

Forked and not spawned, since a spawned pool takes 0.4 s to start and a forked worker some milliseconds. Results come
back in the order of the items, whoever made them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

CHUNK = 16
"""Items that a worker takes at a time."""
_MOST_CHUNKS = 8192  # their numbers have to fit into a pipe

_T = TypeVar("_T")
_R = TypeVar("_R")


def can_fork() -> bool:
    """Whether a fork is possible and safe here (not on Windows and macOS)."""
    return hasattr(os, "fork") and sys.platform != "darwin"


def processors() -> int:
    """How many processes can run at once here; 1 where none can be forked."""
    if not can_fork():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    items: Sequence[_T], work: Callable[[_T], _R], processes: int, done: Callable[[], None] = lambda: None,
    meanwhile: Callable[[], object] | None = None, like: Callable[[_T], object] = lambda _: None,
) -> list[_R]:  # fmt: skip
    """``[work(item) for item in items]``, shared among ``processes`` (this one among them).

    ``work`` may remember what it likes: nothing of that is shared. Its results must be picklable. What a worker did
    not bring home (it was killed, ``work`` raised) is done again here, so an error is raised here, as without workers.
    ``done`` is called once for each item; for those of a worker when the next chunk is taken here. ``meanwhile``: what
    this process does first where others have begun. ``like``: neighbours for which it gives the same go to one process
    rather than to two, since what is remembered of one may serve the next.
    """
    size = max(CHUNK, -(-len(items) // _MOST_CHUNKS))
    chunks = list(_cut(items, size, like))
    if len(chunks) > _MOST_CHUNKS:
        chunks = list(_cut(items, size, lambda _: None))
    if processes < 2 or len(chunks) < 2:
        return [_one(item, work, done) for item in items]
    taken, put = os.pipe()
    os.write(put, b"".join(number.to_bytes(4, "little") for number in range(len(chunks))))
    os.close(put)
    results: dict[int, list[_R]] = {}
    workers: list[tuple[int, int]] = []
    told = 0
    try:
        with suppress(OSError):  # no more processes are allowed: those that there are do the work
            while len(workers) < min(processes, len(chunks)) - 1:
                workers.append(_start(taken, chunks, work))
        if workers and meanwhile is not None:
            meanwhile()
        for place in _places(taken):
            _tell(chunks[told:place], done)
            told = place + 1
            results[place] = [_one(item, work, done) for item in chunks[place]]
        _tell(chunks[told:], done)
    finally:
        os.close(taken)
        for worker, brought in workers:
            results.update(gathered(brought))
            os.waitpid(worker, 0)
    for place, chunk in enumerate(chunks):
        if place not in results:
            results[place] = [work(item) for item in chunk]
    return [result for place in range(len(chunks)) for result in results[place]]


def _cut(items: Sequence[_T], size: int, like: Callable[[_T], object]) -> Iterator[Sequence[_T]]:
    """Pieces of at most ``size`` items that are alike."""
    start = 0
    for end in range(1, len(items) + 1):
        if end == len(items) or end - start == size or like(items[end]) != like(items[end - 1]):
            yield items[start:end]
            start = end


def _one(item: _T, work: Callable[[_T], _R], done: Callable[[], None]) -> _R:
    result = work(item)
    done()
    return result


def _tell(chunks: Sequence[Sequence[object]], done: Callable[[], None]) -> None:
    for chunk in chunks:
        for _ in chunk:
            done()


def _places(taken: int) -> Iterator[int]:
    """Which chunks nobody has taken yet, one by one: each is taken by whoever reads its number."""
    while number := os.read(taken, 4):
        yield int.from_bytes(number, "little")


def _start(taken: int, chunks: list[Sequence[_T]], work: Callable[[_T], _R]) -> tuple[int, int]:
    """A worker that takes chunks until none is left: its process id, and where its results can be read."""
    results, answer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        worker = os.fork()
    except OSError:
        os.close(results)
        os.close(answer)
        raise
    if worker == 0:  # pragma: no cover - the child ends with os._exit, and nothing that it measured is kept
        try:
            os.close(results)
            serve(taken, chunks, work, answer)
        finally:
            os._exit(0)
    os.close(answer)
    return worker, results


def serve(taken: int, chunks: Sequence[Sequence[_T]], work: Callable[[_T], _R], answer: int) -> None:
    """What a worker does: chunks, until none is left, and then their results by their places to ``answer``.

    Nothing, or a part that cannot be read, arrives there where anything goes wrong: the parent does the work again and
    meets the same error.
    """
    import pickle

    with open(answer, "wb") as stream, suppress(BaseException):
        found = {place: [work(item) for item in chunks[place]] for place in _places(taken)}
        pickle.dump(found, stream, pickle.HIGHEST_PROTOCOL)


def gathered(results: int) -> dict[int, list[_R]]:
    """What a worker brought home; nothing where it failed."""
    import pickle

    try:
        with open(results, "rb") as stream:
            found: dict[int, list[_R]] = pickle.load(stream)
    except (EOFError, pickle.UnpicklingError):
        return {}
    return found
