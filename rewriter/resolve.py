"""What mmengine makes of configs, old and new: loaded in one child process, offline, timed and without secrets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from rewriter.interpreters import Interpreter, InterpreterError, environment, find
from rewriter.parallel import can_fork

if TYPE_CHECKING:
    import subprocess

CONFIG_SECONDS = 20.0
"""What one config may take; a config reads in milliseconds."""

A_PROCESS = 24
"""Jobs for which a further process pays: it is there in some milliseconds, and a job takes one or two."""

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "resolve_child.py")
# Not by path: Python would put this package's folder first on sys.path, where its types.py hides the library's. Nor may
# a json.py in the folder where the user stands be imported; the checkout's root is appended for each config instead.
_START = (
    "import os, sys; sys.path[:] = [p for p in sys.path if p not in ('', os.getcwd())]; "
    "exec(compile(open(sys.argv[1], encoding='utf-8').read(), sys.argv[1], 'exec'), "
    "{'__name__': '__main__', '__file__': sys.argv[1]})"
)


_Answer = tuple[int, dict[str, Any]]


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
    ``line``: of the config, where the error came from there. ``tried``: False where the time was over before.
    """

    ok: bool
    value: object = None
    error: str = ""
    line: int | None = None
    tried: bool = True


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
    ready: Child | None = None,
    processes: int = 1,
    alone: bool = False,
) -> list[Resolved]:
    """Load every job's config with ``Config.fromfile(lazy_import=False, import_custom_modules=False)``, in order.

    ``overlay``: the run's new bytes by absolute path; a job with ``data`` sees them in the place of its bases.
    ``timeout``: seconds for all of them, default 60, one more for each config, and what those took that were stopped.
    ``ready``: a child process that was started before. ``processes``: how many may share the jobs: the child forks when
    it has mmengine. A config that ends its process, or takes more than ``CONFIG_SECONDS``, costs itself only (its other
    bytes may not be loaded), and another child takes the rest. What fails in a process that loaded others before, which
    may have spoilt it, is loaded again in one of its own. ``alone``: every job is.

    Raises:
        ResolveError: the child does not start, or mmengine does not import.
    """
    import time

    seconds = 60.0 + len(jobs) if timeout is None else timeout
    deadline = time.monotonic() + seconds
    staged = {path: data.decode("latin-1") for path, data in (overlay or {}).items()}
    requests = [_request_of(index, job, staged) for index, job in enumerate(jobs)]
    results: dict[int, Resolved] = {}
    after_others: set[int] = set()  # jobs that were not the first of their process
    before: dict[int, Resolved] = {}  # what those came to that are loaded again
    while True:
        pending = [request for index, request in enumerate(requests) if index not in results]
        if not pending and not alone:
            before = {index: results[index] for index in after_others if not results[index].ok}
            results = {index: result for index, result in results.items() if index not in before}
            alone, pending = True, [requests[index] for index in sorted(before)]
        if not pending:
            return [results[index] for index in range(len(jobs))]
        if deadline <= time.monotonic():
            late = Resolved(False, error=f"the time limit of {seconds:g} s for all configs was reached", tried=False)
            results = {**before, **results}
            return [results.get(index, late) for index in range(len(jobs))]
        child, ready = ready or Child(interpreter), None
        try:
            if not alone:
                child.ask(_parts(pending, processes), staged, deadline)
            elif can_fork():
                child.ask([[request] for request in pending], staged, deadline, alone=True)
            else:
                child.ask([pending[:1]], staged, deadline)
            lost = _collect(child, deadline, results, after_others)
        finally:
            child.kill()
        for index in lost:
            deadline += CONFIG_SECONDS if timeout is None else 0
            for twin, job in enumerate(jobs):
                if job.path == jobs[index].path and twin not in results:
                    results[twin] = results[index]
                    if index in after_others:
                        after_others.add(twin)


def _parts(requests: list[dict[str, object]], processes: int) -> list[list[dict[str, object]]]:
    """A part for each process: neighbours, of which two are the old and the new bytes of a file mostly."""
    size = max(A_PROCESS, -(-len(requests) // processes))
    size += size % 2
    return [requests[start : start + size] for start in range(0, len(requests), size)]


def _collect(child: Child, deadline: float, results: dict[int, Resolved], after_others: set[int]) -> list[int]:
    """Add the results of one child: at least one, or an error is raised. Returns the jobs that cost it a process.

    ``after_others`` gets those that were not the first of their process.
    """
    import time

    lost: list[int] = []
    served: set[int | None] = set()  # processes
    running: dict[int | None, tuple[int, float]] = {}  # process -> job, and since when
    while True:
        limit = min([deadline, *(started + CONFIG_SECONDS for _, started in running.values())])
        process, answer = child.answer(limit)
        if isinstance(answer, str):
            if not running and served:  # what it loaded before has ended it, between two others
                return lost
            if not running:
                raise ResolveError(f"{child.executable} could not load mmengine: {answer}")
            # Its first process, if that has ended; the slowest, if the time is over.
            process = min(running, key=lambda each: (each != process, running[each][1]))
            results[running[process][0]] = Resolved(False, error=f"the config {answer}")
            return [*lost, running[process][0]]
        if "fatal" in answer:
            raise ResolveError(f"{child.executable} could not load mmengine: {_plain(str(answer['fatal']))}")
        if "end" in answer:
            return lost
        if "start" in answer:
            running[process] = answer["start"], time.monotonic()
            if process in served:
                after_others.add(answer["start"])
            served.add(process)
        elif "ended" in answer and answer["ended"] in running:
            index, _ = running.pop(answer["ended"])
            status = _status(-answer["signal"] or answer["code"])
            results[index] = Resolved(False, error=f"the config ended the process that loads it ({status})")
            lost.append(index)
        elif process in running and answer.get("index") == running[process][0]:
            results[running.pop(process)[0]] = _resolved(answer)


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


class Child:
    """A child process, which gets mmengine ready as soon as it is made, and its answers as they come."""

    def __init__(self, interpreter: Interpreter) -> None:
        import json
        import queue
        import secrets
        import subprocess

        self.executable = interpreter.executable
        self._word = secrets.token_hex(16)
        self._asked = False
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
        self._answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        _feed(self._stdin, json.dumps({"word": self._word}).encode("ascii") + b"\n")

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def ask(
        self, parts: list[list[dict[str, object]]], staged: Mapping[str, str], deadline: float, *, alone: bool = False
    ) -> None:
        """Hand over the jobs, a part for each process; their answers can be fetched from now on.

        ``alone``: one process after the other, and none that will load what is in another part.
        """
        import json
        import threading
        import time

        self._asked = True
        request = {"seconds": max(1.0, deadline - time.monotonic()), "overlay": staged, "jobs": parts, "alone": alone}
        text = json.dumps(request).encode("ascii") + b"\n"
        assert self._process.stdout is not None
        # Threads: a pipe that nobody reads must not hold us, and Windows cannot wait for a pipe with a time limit.
        threading.Thread(target=_feed, args=(self._stdin, text), daemon=True).start()
        lines = _answers(self._process.stdout, self._word.encode())
        threading.Thread(target=_pass_on, args=(lines, self._answers.put), daemon=True).start()

    def answer(self, limit: float) -> _Answer | tuple[int | None, str]:
        """The next answer, with the number of the process that it is from; or why none will come.

        Its first process ended (0), or ``limit`` (``time.monotonic``) was reached (None).
        """
        import queue
        import time

        ended = False
        while True:
            try:
                # once it has ended: what a large answer takes to be put together on a busy machine
                longest = 2.0 if ended else 0.2
                answer = self._answers.get(timeout=max(0.0, min(longest, limit - time.monotonic())))
            except queue.Empty:
                if ended:  # a grandchild still holds the pipe
                    answer = None
                elif time.monotonic() >= limit:
                    return None, "took too long and was stopped"
                else:
                    ended = self._process.poll() is not None
                    continue
            if answer is not None:
                return answer
            return 0, f"ended the process that loads it ({self._status()})"

    def _status(self) -> str:
        import subprocess

        try:
            return _status(self._process.wait(timeout=1.0))
        except subprocess.TimeoutExpired:
            return "its answers were closed"

    def kill(self) -> None:
        """End the child and what it started (its process group; on Windows itself only)."""
        import signal

        with suppress(OSError):  # it has ended already
            if os.name == "nt":  # pragma: no cover - Windows
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, None if self._asked else self._process.stdout):
            with suppress(OSError, ValueError):  # what was not written has no reader any more
                if pipe is not None:
                    pipe.close()


def _feed(pipe: IO[bytes], text: bytes) -> None:
    try:
        pipe.write(text)
        pipe.flush()
    except (OSError, ValueError):
        pass  # the child ended early, or has been ended: the answers, or their absence, tell


def _answers(pipe: IO[bytes], word: bytes) -> Iterator[_Answer]:
    """What the lines that begin with the secret word say, put together; nothing else on this pipe is ours."""
    import json

    begun: dict[bytes, list[bytes]] = {}
    for line in pipe:
        if line.startswith(word):
            process, more, piece = line[len(word) :][:4], line[len(word) + 4 :][:1], line[len(word) + 5 : -1]
            begun.setdefault(process, []).append(piece)
            if more == b"+":
                continue
            try:
                number, answer = int(process), json.loads(b"".join(begun.pop(process)))
            except ValueError:
                continue
            if isinstance(answer, dict):
                yield number, answer


def _pass_on(answers: Iterator[_Answer], put: Callable[[_Answer | None], None]) -> None:
    for answer in answers:
        put(answer)
    put(None)


def _status(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


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
