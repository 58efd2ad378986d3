"""Runs a probe in another interpreter: one child process after the other, offline, timed and without secrets.

A child says that it is ready, then answers each task. Tasks and answers are lines of JSON; those of the child begin
with a mark, since a config or a loader may write to any descriptor.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Literal, NamedTuple

from rewriter.process.interpreters import child_environment
from rewriter.process.probes.channel import MARK

SCRATCH = "opensora-rewriter-probe-"  # how the folders are named that children get as Hugging Face home

_START = "import sys; sys.path.insert(0, sys.argv.pop()); from probes import {probe}; {probe}.main()"

Task = Mapping[str, object]
Answer = dict[str, Any]
Caches = Mapping[str, str] | None


class ChildError(NamedTuple):
    """Why a task got no answer, in plain words. ``reason``: "start" concerns the interpreter, all others the task."""

    reason: Literal["start", "time", "memory", "ended"]
    message: str
    remedy: str


class Child(NamedTuple):
    """A process that runs a probe. ``stack``: ends it with all that it started, and removes its folder."""

    process: subprocess.Popen[bytes]
    pipe: socket.socket
    output: IO[bytes]
    stack: contextlib.ExitStack


def find_memory() -> str | None:
    """A file system in memory with room, for small files that are gone soon; None: there is none."""
    place = "/dev/shm"
    return place if os.access(place, os.W_OK) and shutil.disk_usage(place).free > 2**30 else None


def start_child(executable: str, probe: str, caches: Caches = None) -> Child | ChildError:
    """Start ``probes/PROBE.py`` in a Python; :func:`run_probe` talks to it, and ends it.

    ``caches``: to be lent (:func:`lend_caches`), with the user's own variables; None: neither, as code needs that
    nobody asked to run.
    """
    command = [executable, "-c", _START.format(probe=probe), os.path.dirname(os.path.abspath(__file__))]
    with contextlib.ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=find_memory(), ignore_cleanup_errors=True)
        scratch = stack.enter_context(folder)
        output = stack.enter_context(tempfile.TemporaryFile())
        pipe, other = map(stack.enter_context, socket.socketpair())
        environment = child_environment(inherit=caches is not None) | lend_caches(scratch, caches or {})
        environment["TMPDIR"] = scratch
        files: dict[str, Any] = {"stdin": other.fileno(), "stdout": other.fileno(), "stderr": output}
        try:
            process = subprocess.Popen(command, **files, cwd=scratch, env=environment, start_new_session=True)
        except OSError as error:
            message = f"{executable} cannot be started: {error.strerror}"
            return ChildError("start", message, "name another interpreter with --python")
        stack.callback(_end, process)
        other.close()
        return Child(process, pipe, output, stack.pop_all())


def run_probe(
    executable: str,
    probe: str,
    tasks: Sequence[Task],
    timeout: float,
    caches: Caches = None,
    tick: Callable[[], None] = lambda: None,
    started: Child | ChildError | None = None,
) -> list[Answer | ChildError]:
    """Have a probe answer every task in a Python, ``started`` first. Nothing else is started where there are none.

    A task that ends its process, or takes more than ``timeout`` seconds, costs itself alone: another process takes the
    rest. One that does not even get ready fails them all. ``tick`` is called as an answer comes.
    """
    answers: list[Answer | ChildError] = []
    while left := tasks[len(answers) :]:
        child, started = started or start_child(executable, probe, caches), None
        for answer in _talk(child, executable, left, timeout):
            failed = isinstance(answer, ChildError) and answer.reason == "start"
            answers += [answer] * (len(left) if failed else 1)
            tick()
    return answers


def _talk(
    child: Child | ChildError, executable: str, tasks: Sequence[Task], timeout: float
) -> Iterator[Answer | ChildError]:
    """The answers of one child, up to the first error; it is then ended."""
    if isinstance(child, ChildError):
        yield child
        return
    with child.stack:
        stream, ready = child.pipe.makefile("rb"), False
        try:
            _receive(child.pipe, stream, timeout)
            ready = True
            sent = (json.dumps(task).encode("ascii") + b"\n" for task in tasks)
            child.pipe.sendall(next(sent))
            for following in itertools.chain(sent, [b""]):  # so that it is there when the child is done
                early = len(following) < 2**12  # it fits into every system's pipe, whatever the child is doing
                child.pipe.sendall(following if early else b"")
                yield _receive(child.pipe, stream, timeout)
                child.pipe.sendall(b"" if early else following)
            return
        except TimeoutError:
            failure = ChildError("time", f"no answer within {timeout:g} s", "give it more time, or free the machine")
        except ConnectionError:
            failure = _explain_end(child.process, executable)
        child.output.seek(0)
        lines = child.output.read().decode("utf-8", "replace").split("\n")
        printed = [line.strip() for line in lines if line.strip()]
        message = failure.message + (f"; its last output: {printed[-1][-300:]}" if printed else "")
        yield failure._replace(reason=failure.reason if ready else "start", message=message)


def _receive(pipe: socket.socket, lines: Iterable[bytes], timeout: float) -> Answer:
    """The next answer; whatever else is written to the pipe does not extend the time. Raises OSError."""
    end = time.monotonic() + timeout
    pipe.settimeout(timeout)
    for line in lines:
        with contextlib.suppress(ValueError):  # no line of ours
            if MARK in line:
                return dict(json.loads(line.rpartition(MARK)[2]))
        pipe.settimeout(max(end - time.monotonic(), 0.001))
    raise ConnectionError


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _explain_end(process: subprocess.Popen[bytes], executable: str) -> ChildError:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
    code = process.returncode or 0
    if code == -signal.SIGKILL:
        text = "the child process was killed (signal 9), as the kernel does when memory runs out"
        return ChildError("memory", text, "use a machine with more memory")
    text = f"the child process ended with status {code} before it answered"
    if code < 0:
        text = f"the child process crashed ({signal.strsignal(-code)})"
    return ChildError("ended", text, f"look whether {shlex.quote(executable)} runs Open-Sora at all")


def lend_caches(scratch: str, caches: Mapping[str, str]) -> dict[str, str]:
    """Variables that make a folder below ``scratch`` the Hugging Face home, with links to the repos of ``caches``.

    Libraries that write beside the repos (transformers' version.txt, locks) write there, never into a shared cache.
    ``caches``: variable (HF_HUB_CACHE, TRANSFORMERS_CACHE) -> the cache that it is to name; none: an empty home.
    """
    variables = {"HF_HOME": scratch}
    for variable, cache in caches.items():
        variables[variable] = folder = os.path.join(scratch, variable.lower())
        os.makedirs(folder)
        for repo in glob.glob(os.path.join(glob.escape(cache), "models--*")):
            os.symlink(repo, os.path.join(folder, os.path.basename(repo)))
    return variables
