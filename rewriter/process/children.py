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
from typing import Any, Literal

from rewriter.process.interpreters import child_environment

_PROBES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probes")
SCRATCH = "opensora-rewriter-probe-"
"""How the names of the folders begin that children get as Hugging Face home."""

_ANOTHER = "name another interpreter with --python"

Answer = dict[str, Any]
Reason = Literal["start", "time", "memory", "ended"]


class ChildError(Exception):
    """Why a task got no answer, in plain words. ``output``: the last line that the child printed.

    ``reason``: "start" concerns the interpreter, all others the task; "time": no word for as long as one may take.
    """

    def __init__(self, reason: Reason, message: str, remedy: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message, self.remedy, self.output = message, remedy, ""


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

    A task that ends its process, or takes more than ``timeout`` seconds, costs itself alone: another process takes the
    rest. One that does not even get ready fails them all. ``inherit``: see :func:`child_environment`; ``caches``: see
    :func:`lend_caches`. ``on_answer`` hears of each task, by its index, as its answer comes.
    """
    answers: dict[int, Answer | ChildError] = {}
    command = [executable, os.path.join(_PROBES, f"{probe}.py")]
    while left := [number for number in range(len(tasks)) if number not in answers]:
        current: int | None = None
        part = {**job, "tasks": [(number, tasks[number]) for number in left]}
        try:
            for message in _talk(command, part, timeout, child_environment(inherit=inherit), caches or {}):
                if "start" in message:
                    current = message["start"]
                elif current is not None and message.get("result") == current and current not in answers:
                    answers[current] = message
                    on_answer(current, message)
                    current = None
            if left[0] not in answers:
                raise ChildError("ended", "the child process answered nothing", _ANOTHER)
        except ChildError as error:
            # With an answer and no current task, what a task left behind ended the process between two of them.
            failed = [current] if current is not None else left if left[0] not in answers else []
            for number in failed:
                answers[number] = error
                on_answer(number, error)
    return [answers[number] for number in range(len(tasks))]


def lend_caches(scratch: str, caches: Mapping[str, str]) -> dict[str, str]:
    """Variables that make a folder below ``scratch`` the Hugging Face home, with links to the repos of ``caches``.

    Libraries that write beside the repos (transformers' version.txt, locks) write there, never into a shared cache.
    ``caches``: variable (HF_HUB_CACHE, TRANSFORMERS_CACHE) -> the cache that it is to name; none: an empty home.
    """
    variables = {"HF_HOME": scratch}
    for variable, cache in ({"HF_HUB_CACHE": ""} | dict(caches)).items():
        variables[variable] = folder = os.path.join(scratch, variable.lower())
        os.makedirs(folder)
        for name in os.listdir(cache) if os.path.isdir(cache) else ():
            if name.startswith("models--"):
                os.symlink(os.path.join(cache, name), os.path.join(folder, name))
    return variables


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
        files: dict[str, Any] = {"stdin": job_file, "stdout": subprocess.PIPE, "stderr": output}
        try:
            process = subprocess.Popen(command, **files, cwd=scratch, env=environment, start_new_session=True)
        except OSError as error:
            raise ChildError("start", f"{command[0]} cannot be started: {error.strerror}", _ANOTHER) from None
        lines: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        for run in (_read_lines, _await):
            threading.Thread(target=run, args=(process, word.encode(), lines.put), daemon=True).start()
        ready = False
        try:
            while "end" not in (message := _receive(process, lines, timeout, command[0])):
                ready = True
                yield message
        except ChildError as error:
            error.reason = error.reason if ready else "start"
            output.seek(0)
            printed = output.read().decode("utf-8", "replace").split("\n")
            error.output = next((line.strip()[-300:] for line in reversed(printed) if line.strip()), "")
            raise
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):  # one that is about to end by itself may do so
                process.wait(0.5)
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            process.wait()


def _read_lines(process: subprocess.Popen[bytes], word: bytes, put: Callable[[Answer | None], None]) -> None:
    """Pass on what the lines that begin with the secret word say, then None; nothing else on this pipe counts."""
    for line in process.stdout or ():
        if line.startswith(word):
            with contextlib.suppress(ValueError):
                put(json.loads(line[len(word) :]))
    put(None)


def _await(process: subprocess.Popen[bytes], _word: bytes, put: Callable[[Answer | None], None]) -> None:
    """Say that a child has ended whose pipe another process may still hold; its last answer may take a moment."""
    process.wait()
    time.sleep(2.0)
    put(None)


def _receive(
    process: subprocess.Popen[bytes], lines: queue.SimpleQueue[Answer | None], timeout: float, executable: str
) -> Answer:
    """The next message. Raises ChildError where none will come."""
    try:
        message = lines.get(timeout=timeout)
    except queue.Empty:
        raise ChildError("time", f"no answer within {timeout:g} s", "give it more time, or free the machine") from None
    if message is not None and "fatal" in message:
        raise ChildError("start", f"{executable}: {message['fatal']}", _ANOTHER)
    if message is not None:
        return message
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
    code = process.returncode or 0
    if code == -signal.SIGKILL:
        text = "the child process was killed (signal 9), as the kernel does when memory runs out"
        raise ChildError("memory", text, "use a machine with more memory")
    text = f"the child process ended with status {code} before it answered"
    if code < 0:
        text = f"the child process crashed ({signal.strsignal(-code) or f'signal {-code}'})"
    raise ChildError("ended", text, f"look whether {shlex.quote(executable)} runs Open-Sora at all")
