"""Runs a probe in another interpreter: one child process after the other, offline, timed and without secrets.

A probe reads its job (JSON) from standard input and answers with lines on what was standard output, each a secret word
and a JSON object: ``{"ready": true}`` once, then ``{"start": number}`` and ``{"result": number, ...}`` for each task,
then ``{"end": true}``; or ``{"fatal": text}`` where it can answer no task at all.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, Literal

from rewriter.process.environment import child_environment, lend_caches

_PROBES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probes")
SCRATCH = "opensora-rewriter-probe-"
"""How the names of the folders begin that children get as Hugging Face home."""

Answer = dict[str, Any]
Reason = Literal["start", "time", "memory", "ended"]


class ChildError(Exception):
    """Why a task got no answer, in plain words.

    ``reason``: "start" concerns the interpreter, all others the task; "time": no word for as long as one task may
    take; "memory": killed. ``output``: the last line that the child printed.
    """

    def __init__(self, reason: Reason, message: str, remedy: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
        self.remedy = remedy
        self.output = ""


def run_probe(
    executable: str,
    probe: str,
    job: Mapping[str, object],
    tasks: Sequence[object],
    *,
    timeout: float,
    inherit: bool = False,
    caches: Mapping[str, str] | None = None,
    on_answer: Callable[[int, Answer | ChildError], None] = lambda _number, _answer: None,
) -> list[Answer | ChildError]:
    """Have ``probes/PROBE.py`` answer ``tasks`` in a Python. Nothing is started where there are none.

    A task that ends its process, or takes too long, costs itself alone: another process takes the rest. One that does
    not even get ready fails them all.

    Args:
        timeout: seconds for one task.
        inherit: see :func:`child_environment`.
        caches: Hugging Face caches that calls without ``cache_dir`` read, see :func:`lend_caches`.
        on_answer: hears of each task, by its index, as its answer comes.
    """
    answers: dict[int, Answer | ChildError] = {}

    def add(number: int, answer: Answer | ChildError) -> None:
        answers[number] = answer
        on_answer(number, answer)

    command = [executable, os.path.join(_PROBES, f"{probe}.py")]
    while left := [number for number in range(len(tasks)) if number not in answers]:
        current: int | None = None
        part = {**job, "tasks": [(number, tasks[number]) for number in left]}
        try:
            for message in _talk(command, part, timeout, child_environment(inherit=inherit), caches or {}):
                if "start" in message:
                    current = message["start"]
                elif "result" in message and message["result"] == current and current not in answers:
                    add(message["result"], message)
                    current = None
            if left[0] not in answers:
                raise ChildError("ended", "the child process answered nothing", _look_at(command[0]))
        except ChildError as error:
            if current is not None:
                add(current, error)
            elif left[0] not in answers:  # else: what a task left behind ended the process between two of them
                for number in left:
                    add(number, error)
    return [answers[number] for number in range(len(tasks))]


def _talk(
    command: list[str], job: Answer, timeout: float, environment: dict[str, str], caches: Mapping[str, str]
) -> Iterator[Answer]:
    """Run one child, and yield its messages up to the end. Raises ChildError where that does not come."""
    word = secrets.token_hex(16)
    with (
        tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True) as scratch,
        tempfile.TemporaryFile() as job_file,
        tempfile.TemporaryFile() as output,
    ):
        job_file.write(json.dumps({**job, "word": word}).encode("ascii"))
        job_file.seek(0)
        environment = environment | lend_caches(os.path.join(scratch, "huggingface"), caches)
        try:
            process = subprocess.Popen(
                command, stdin=job_file, stdout=subprocess.PIPE, stderr=output, cwd=scratch, env=environment,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            text = f"{command[0]} cannot be started: {error.strerror or error}"
            raise ChildError("start", text, "name a Python interpreter with --python") from None
        # A thread: Windows cannot wait for a pipe with a time limit.
        lines: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        threading.Thread(target=_read_lines, args=(process.stdout, word.encode(), lines.put), daemon=True).start()
        ready = False
        try:
            while "end" not in (message := _receive(process, lines, timeout, command[0])):
                ready = True
                yield message
        except ChildError as error:
            error.reason = error.reason if ready else "start"
            error.output = _read_last_line(output)
            raise
        finally:
            _end(process)


def _receive(
    process: subprocess.Popen[bytes], lines: queue.SimpleQueue[Answer | None], timeout: float, executable: str
) -> Answer:
    """The next message. Raises ChildError where none will come."""
    limit = time.monotonic() + timeout
    while True:
        ended = process.poll() is not None
        try:
            # Once it has ended: what a large answer takes to be read on a busy machine.
            message = lines.get(timeout=2.0 if ended else min(0.2, timeout))
        except queue.Empty:
            if not ended and time.monotonic() < limit:
                continue
            if not ended:
                text = f"no answer within {timeout:g} s"
                raise ChildError("time", text, "give it more time, or free the machine") from None
            message = None  # a process that it started still holds the pipe
        if message is None:
            raise _explain_end(process, executable)
        if "fatal" in message:
            text = f"{executable}: {message['fatal']}"
            raise ChildError("start", text, "name another interpreter with --python")
        return message


def _explain_end(process: subprocess.Popen[bytes], executable: str) -> ChildError:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
    code = process.returncode
    if code == -9:
        text = "the child process was killed (signal 9), as the kernel does when memory runs out"
        return ChildError("memory", text, "use a machine with more memory")
    text = f"the child process ended with status {code} before it answered"
    if code is None:
        text = "the child process closed its answers"
    elif code < 0:
        name = signal.strsignal(-code) or f"signal {-code}"
        text = f"the child process crashed ({name})"
    return ChildError("ended", text, _look_at(executable))


def _look_at(executable: str) -> str:
    return f"look whether {shlex.quote(executable)} runs Open-Sora at all"


def _read_lines(pipe: IO[bytes], word: bytes, put: Callable[[Answer | None], None]) -> None:
    """Pass on what the lines that begin with the secret word say, then None; nothing else on this pipe counts."""
    with contextlib.suppress(OSError, ValueError), pipe:
        for line in pipe:
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


def _read_last_line(output: IO[bytes]) -> str:
    """The last line that says something, at most 300 characters."""
    output.seek(0)
    lines = output.read().decode("utf-8", "replace").split("\n")
    return next((line.strip()[-300:] for line in reversed(lines) if line.strip()), "")
