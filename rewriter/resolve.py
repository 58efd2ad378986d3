"""What mmengine makes of configs, old and new: loaded in one child process, offline, timed and without secrets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from rewriter.interpreters import Interpreter, InterpreterError, environment, find

if TYPE_CHECKING:
    import subprocess

CONFIG_SECONDS = 20.0
"""What one config may take; a config reads in milliseconds."""

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "resolve_child.py")
# Not by path: Python would put this package's folder first on sys.path, where its types.py hides the library's. Nor may
# a json.py in the folder where the user stands be imported; the checkout's root is appended for each config instead.
_START = (
    "import os, sys; sys.path[:] = [p for p in sys.path if p not in ('', os.getcwd())]; "
    "exec(compile(open(sys.argv[1], encoding='utf-8').read(), sys.argv[1], 'exec'), "
    "{'__name__': '__main__', '__file__': sys.argv[1]})"
)


class ResolveError(Exception):
    """No config could be loaded: the interpreter, not a config, is at fault. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Job:
    """One config to load. ``data`` None: the file as it is on disk, and so its bases; else these bytes in its place,
    with the run's overlay in the place of its bases. ``root``: the checkout, where relative paths are looked up."""

    path: str
    root: str | None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What mmengine made of a config: the whole config as JSON values, or ``error`` in one line.

    What JSON cannot say is a dict with one key: ``{"$tuple": [...]}``, ``{"$dict": [[key, value], ...]}`` (keys that
    are not strings), ``{"$set": [...]}``, ``{"$bytes": hex}``, ``{"$float": "nan"}``, ``{"$object": description}``.
    ``line``: of the config, where the error came from there.
    """

    ok: bool
    value: object = None
    error: str = ""
    line: int | None = None


def find_interpreter(python: str | None = None) -> Interpreter | None:
    """The interpreter to load configs with: the first that has mmengine; see :func:`rewriter.interpreters.find`.

    Raises:
        ResolveError: ``python`` is not a Python, or lacks mmengine.
    """
    try:
        return find(python, "mmengine")
    except InterpreterError as error:
        raise ResolveError(str(error)) from None


# --- loading -------------------------------------------------------------------------------------


def resolve(
    interpreter: Interpreter,
    jobs: Sequence[Job],
    *,
    overlay: Mapping[str, bytes] | None = None,
    timeout: float | None = None,
) -> list[Resolved]:
    """Load every job's config with ``Config.fromfile(lazy_import=False, import_custom_modules=False)``, in order.

    ``overlay``: the run's new bytes by absolute path; a job with ``data`` sees them in the place of its bases.
    ``timeout``: seconds for all of them, default 60 and one more for each config. One child process serves all; a
    config that ends it, or takes more than ``CONFIG_SECONDS``, costs itself only, and another child takes the rest.

    Raises:
        ResolveError: the child does not start, or mmengine does not import.
    """
    import time

    seconds = 60.0 + len(jobs) if timeout is None else timeout
    deadline = time.monotonic() + seconds
    results: dict[int, Resolved] = {}
    staged = {path: data.decode("latin-1") for path, data in (overlay or {}).items()}
    while len(results) < len(jobs):
        pending = [index for index in range(len(jobs)) if index not in results]
        if deadline <= time.monotonic():
            late = Resolved(False, error=f"not loaded: the time limit of {seconds:g} s for all configs was reached")
            results.update((index, late) for index in pending)
            break
        _one_child(interpreter, jobs, pending, staged, deadline, results)
    return [results[index] for index in range(len(jobs))]


def _one_child(
    interpreter: Interpreter,
    jobs: Sequence[Job],
    pending: list[int],
    staged: Mapping[str, str],
    deadline: float,
    results: dict[int, Resolved],
) -> None:
    """Add the results of one child process; at least one, or an error is raised."""
    import time

    child = _Child(interpreter, [_request_of(index, jobs[index], staged) for index in pending], staged, deadline)
    running: int | None = None
    started = time.monotonic()
    try:
        while True:
            limit = deadline if running is None else min(deadline, started + CONFIG_SECONDS)
            answer = child.answer(limit)
            if isinstance(answer, str):
                if running is None:
                    raise ResolveError(f"{interpreter.executable} could not load mmengine: {answer}")
                results[running] = Resolved(False, error=f"the config {answer}")
                return
            if "fatal" in answer:
                raise ResolveError(f"{interpreter.executable} could not load mmengine: {_plain(str(answer['fatal']))}")
            if "end" in answer:
                return
            if "start" in answer:
                running, started = answer["start"], time.monotonic()
            elif answer.get("index") == running and running is not None:
                results[running] = _resolved(answer)
    finally:
        child.kill()


def _request_of(index: int, job: Job, staged: Mapping[str, str]) -> dict[str, object]:
    data = None if job.data is None else job.data.decode("latin-1")
    if data is not None and staged.get(job.path) == data:
        return {"index": index, "path": job.path, "root": job.root, "staged": True, "data": None}
    return {"index": index, "path": job.path, "root": job.root, "staged": data is not None, "data": data}


def _resolved(answer: Mapping[str, Any]) -> Resolved:
    if "value" in answer:
        return Resolved(True, answer["value"])
    error, line = _plain(str(answer.get("error"))), answer.get("line")
    name = error.removeprefix("KeyError: ").strip("'\"")
    if error.startswith("KeyError: ") and name in os.environ and name not in environment():
        error += " (an environment variable that is not handed to configs here)"
    return Resolved(False, error=error, line=line if isinstance(line, int) else None)


def _plain(text: str) -> str:
    """One line of at most 500 characters without control characters: it goes to terminals and reports."""
    line = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return line if len(line) <= 500 else line[:497] + "..."


class _Child:
    """The child process, and its answers as they come."""

    def __init__(
        self, interpreter: Interpreter, jobs: list[dict[str, object]], staged: Mapping[str, str], deadline: float
    ) -> None:
        import json
        import queue
        import secrets
        import subprocess
        import threading
        import time

        self._word = secrets.token_hex(16)
        request = {
            "word": self._word,
            "seconds": max(1.0, deadline - time.monotonic()),
            "overlay": staged,
            "jobs": jobs,
        }
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [interpreter.executable, "-c", _START, _CHILD],
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ResolveError(f"{interpreter.executable} cannot be started: {error.strerror}") from None
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        text = json.dumps(request).encode("ascii")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Threads: a pipe that nobody reads must not hold us, and Windows cannot wait for a pipe with a time limit.
        threading.Thread(target=_feed, args=(self._process.stdin, text), daemon=True).start()
        lines = _answers(self._process.stdout, self._word.encode())
        threading.Thread(target=_collect, args=(lines, self._answers.put), daemon=True).start()

    def answer(self, limit: float) -> dict[str, Any] | str:
        """The next answer; or why none will come: the process ended, or ``limit`` (``time.monotonic``) was reached."""
        import queue
        import time

        ended = False
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, min(0.2, limit - time.monotonic())))
            except queue.Empty:
                if ended:  # a grandchild still holds the pipe
                    answer = None
                elif time.monotonic() >= limit:
                    return "took too long and was stopped"
                else:
                    ended = self._process.poll() is not None
                    continue
            if answer is not None:
                return answer
            return f"ended the process that loads it ({self._status()})"

    def _status(self) -> str:
        import subprocess

        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "its answers were closed"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End the child and what it started (its process group; on Windows itself only)."""
        import signal

        try:
            if os.name == "nt":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        except (OSError, ProcessLookupError):
            pass
        self._process.wait()


def _feed(pipe: IO[bytes], text: bytes) -> None:
    try:
        with pipe:
            pipe.write(text)
    except OSError:
        pass  # the child ended early: the answers, or their absence, tell


def _answers(pipe: IO[bytes], word: bytes) -> Iterator[dict[str, Any]]:
    """The lines that begin with the secret word; nothing else on this pipe is ours."""
    import json

    for line in pipe:
        if line.startswith(word):
            try:
                answer = json.loads(line[len(word) :])
            except ValueError:
                continue
            if isinstance(answer, dict):
                yield answer


def _collect(answers: Iterator[dict[str, Any]], put: Callable[[dict[str, Any] | None], None]) -> None:
    try:
        for answer in answers:
            put(answer)
    except (OSError, ValueError):
        pass
    put(None)


# --- comparing -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Missing:
    """The one value of :data:`MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()

Difference = tuple[tuple[object, ...], object, object]


def differences(old: object, new: object) -> list[Difference]:
    """Where two resolved values differ: ``(path, old, new)``, with :data:`MISSING` for a key that one side lacks.

    Types count (``1`` is neither ``True`` nor ``1.0``, a list no tuple); the order of keys does not. Lists and tuples
    of another length differ as a whole.

    >>> differences({"vae": {"type": "a"}}, {"vae": {"type": "a", "cache_dir": "/m"}})
    [(('vae', 'cache_dir'), MISSING, '/m')]
    """
    return list(_differences((), old, new))


def _differences(path: tuple[object, ...], old: object, new: object) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        if old.keys() == new.keys() == {"$tuple"}:
            yield from _differences(path, old["$tuple"], new["$tuple"])
            return
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences((*path, key), old.get(key, MISSING), new.get(key, MISSING))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences((*path, index), one, other)
    elif type(old) is not type(new) or old != new:
        yield path, old, new
