"""Runs a probe in another interpreter: one child process after the other, offline, timed and without secrets.

A probe reads its job (JSON) from standard input and answers with lines on what was standard output, each a secret word
and a JSON object: ``{"ready": versions}`` once, then ``{"start": number}`` and ``{"result": number, ...}`` for each
task, then ``{"end": true}``; or ``{"fatal": text}`` where it can answer no task at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from rewriter.process.environment import child_environment, lend_cache
from rewriter.process.interpreters import Interpreter

_PROBES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probes")
SCRATCH = "opensora-rewriter-probe-"
"""How the names of the folders begin that children get as Hugging Face home."""

Answer = dict[str, Any]
Reason = Literal["no start", "fatal", "too large", "silence", "time limit", "memory", "signal", "exit"]


class ChildError(Exception):
    """Why a task got no answer, in plain words.

    ``reason``: "no start" and "fatal" concern the interpreter, all others the task. "silence": no word for as long as
    one task may take. "time limit": the whole run was over before this task was tried. ``output``: the last line that
    the child printed. ``status``: "exit code 3" or "SIGABRT", where it ended by itself. ``ready``: whether the probe
    had begun to work (False: the interpreter is at fault).
    """

    def __init__(self, reason: Reason, message: str, remedy: str, *, output: str = "", status: str = "") -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
        self.remedy = remedy
        self.output = output
        self.status = status
        self.ready = True


@dataclass(frozen=True, slots=True)
class ProbeRun:
    """An answer or its absence for each task, in their order, and the versions of the interpreter's libraries."""

    answers: tuple[Answer | ChildError, ...]
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How a probe runs. ``timeout``: seconds for one task; ``total``: for all of them, or None.

    ``one_each``: every task gets a process of its own. ``inherit``: see :func:`child_environment`. ``hub_cache``: the
    Hugging Face cache that calls without ``cache_dir`` read; None: an empty one. ``transformers_cache``: another one,
    for transformers 4. ``block_sockets``: no network.
    """

    timeout: float
    total: float | None = None
    one_each: bool = False
    inherit: bool = False
    hub_cache: str | None = None
    transformers_cache: str | None = None
    block_sockets: bool = False


def run_probe(
    interpreter: Interpreter,
    probe: str,
    job: Mapping[str, object],
    tasks: Sequence[object],
    settings: ProbeSettings,
    *,
    on_answer: Callable[[int, Answer | ChildError], None] | None = None,
) -> ProbeRun:
    """Have ``probes/PROBE.py`` answer ``tasks`` in ``interpreter``. Nothing is started where there are none.

    A task that ends its process, or takes too long, costs itself alone: another process takes the rest. One that does
    not even get ready fails them all. ``on_answer`` hears of each task, by its index, as its answer comes.
    """
    answers: dict[int, Answer | ChildError] = {}
    versions: dict[str, str] = {}
    deadline = time.monotonic() + settings.total if settings.total is not None else float("inf")

    def add(number: int, answer: Answer | ChildError) -> None:
        if number not in answers:
            answers[number] = answer
            if on_answer is not None:
                on_answer(number, answer)

    while left := [number for number in range(len(tasks)) if number not in answers]:
        if time.monotonic() >= deadline:
            message = f"the time limit of {settings.total:g} s for all of them was reached"
            for number in left:
                add(number, ChildError("time limit", message, "run again for what is left"))
            break
        part = [(number, tasks[number]) for number in (left[:1] if settings.one_each else left)]
        child = _Child(interpreter, settings, deadline)
        error = child.run(probe, {**job, "tasks": part}, add)
        versions |= child.versions
        if error is not None:
            for number in left if child.current is None else [child.current]:
                add(number, error)
    return ProbeRun(tuple(answers[number] for number in range(len(tasks))), versions)


class _Child:
    """One child process, from its start to its end."""

    def __init__(self, interpreter: Interpreter, settings: ProbeSettings, deadline: float) -> None:
        self.versions: dict[str, str] = {}
        self.current: int | None = None
        self._ready = False
        self._answered = 0
        self._executable = interpreter.executable
        self._settings = settings
        self._deadline = deadline
        self._lines: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()

    def run(
        self, probe: str, job: dict[str, object], add: Callable[[int, Answer | ChildError], None]
    ) -> ChildError | None:
        """Run the job to its end. Returns why it ended before, or None where other tasks may go on in another child."""
        word = secrets.token_hex(16)
        text = json.dumps({**job, "word": word, "block_sockets": self._settings.block_sockets}).encode("ascii")
        with (
            tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True) as scratch,
            tempfile.TemporaryFile() as output,
        ):
            environment = child_environment(inherit=self._settings.inherit)
            environment |= lend_cache(scratch, self._settings.hub_cache, self._settings.transformers_cache)
            try:
                process = subprocess.Popen(
                    [self._executable, os.path.join(_PROBES, f"{probe}.py")],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    cwd=scratch,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                message = f"{self._executable} cannot be started: {error.strerror or error}"
                return ChildError("no start", message, "name a Python interpreter with --python")
            assert process.stdin is not None
            assert process.stdout is not None
            # Threads: a pipe that nobody reads must not hold us, and Windows cannot wait for a pipe with a time limit.
            threading.Thread(target=_feed, args=(process.stdin, text), daemon=True).start()
            reader = (process.stdout, word.encode(), self._lines.put)
            threading.Thread(target=_read_lines, args=reader, daemon=True).start()
            try:
                failure = self._listen(process, add)
            finally:
                _end(process)
            if failure is not None:
                failure.output = _last_line(output)
            return failure

    def _listen(
        self, process: subprocess.Popen[bytes], add: Callable[[int, Answer | ChildError], None]
    ) -> ChildError | None:
        while True:
            message = self._receive(process)
            if isinstance(message, ChildError):
                message.ready = self._ready
                # What the tasks before left behind may end the process between two tasks: nobody's fault.
                return None if self.current is None and self._answered else message
            if "fatal" in message:
                text = f"{self._executable}: {message['fatal']}"
                return ChildError("fatal", text, "name another interpreter with --python")
            if "end" in message and self._answered:
                return None
            if "ready" in message:
                self._ready, self.versions = True, message["ready"]
            elif "start" in message:
                self.current = message["start"]
            elif message.get("result") == self.current and self.current is not None:
                number, self.current = self.current, None
                self._answered += 1
                add(number, _too_large(message) if "too_large" in message else message)

    def _receive(self, process: subprocess.Popen[bytes]) -> Answer | ChildError:
        """The next message, or why none will come."""
        limit = min(time.monotonic() + self._settings.timeout, self._deadline)
        ended = False
        while True:
            # Once it has ended: what a large answer takes to be read on a busy machine.
            wait = min(2.0 if ended else 0.2, max(0.0, limit - time.monotonic()))
            try:
                message = self._lines.get(timeout=wait)
            except queue.Empty:
                if ended:  # a process that it started still holds the pipe
                    return self._explain_end(process)
                ended = process.poll() is not None
                if not ended and time.monotonic() >= limit:
                    text = f"no answer within {self._settings.timeout:g} s"
                    return ChildError("silence", text, "give it more time, or free the machine")
                continue
            return message if message is not None else self._explain_end(process)

    def _explain_end(self, process: subprocess.Popen[bytes]) -> ChildError:
        remedy = f"look whether {shlex.quote(self._executable)} runs Open-Sora at all"
        try:
            code = process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return ChildError("exit", "the child process closed its answers", remedy, status="its answers were closed")
        if code == -9:
            text = "the child process was killed (signal 9), as the kernel does when memory runs out"
            return ChildError("memory", text, "use a machine with more memory", status="signal 9")
        if code < 0:
            name = _signal_name(-code)
            return ChildError("signal", f"the child process crashed ({name})", remedy, status=name)
        text = f"the child process ended with status {code} before it answered"
        return ChildError("exit", text, remedy, status=f"exit code {code}")


def _too_large(message: Answer) -> ChildError:
    size = message["too_large"] // 1_000_000
    return ChildError(
        "too large", f"the answer is too large ({size} MB)", "make it smaller: more than 64 MB is not read"
    )


def _feed(pipe: IO[bytes], text: bytes) -> None:
    with contextlib.suppress(OSError, ValueError), pipe:  # the child ended early: the answers, or none, say so
        pipe.write(text)


def _read_lines(pipe: IO[bytes], word: bytes, put: Callable[[Answer | None], None]) -> None:
    """Pass on what the lines that begin with the secret word say, then None; nothing else on this pipe counts."""
    with contextlib.suppress(OSError, ValueError), pipe:
        for line in pipe:
            message = None
            if line.startswith(word):
                with contextlib.suppress(ValueError):
                    message = json.loads(line[len(word) :])
            if isinstance(message, dict):
                put(message)
    put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child and all that it started; one that is about to end by itself may do so."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    with contextlib.suppress(OSError):
        if os.name == "nt":  # pragma: no cover - Windows
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(output: IO[bytes]) -> str:
    """The last line that says something, at most 300 characters."""
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - 4000))
    text = output.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][-300:] if lines else ""
