"""The script that loads configs with mmengine in the user's interpreter; :mod:`rewriter.resolve` starts it.

It runs on Python 3.8 and later with the standard library and mmengine. It reads two lines of JSON from standard input,
a greeting upon which it gets mmengine ready and the request, and writes its answers to what was standard output;
whatever a config prints goes to the null device.

Several processes may share the request: this one forks when mmengine is there. An answer is a JSON object, cut into
lines that a pipe takes whole whoever writes to it at the same time: a secret word, four digits that say which process
it is from, "+" where more of it follows or "." where it ends, and a piece of it.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import select
import signal
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH = 100
ANSWER_LIMIT = 64 * 1024 * 1024
ROOM = 48 * 1024 * 1024
"""Bytes that a folder in memory must have left: a config holds 20 MB at the most."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Channel:
    """Standard input and output as they were inherited, moved away from where a config's ``print`` would find them."""

    def __init__(self) -> None:
        self._lines = os.fdopen(os.dup(0), "rb")
        self._descriptor = os.dup(1)
        self.greeting = self.receive() or {}
        self._word = str(self.greeting.get("word")).encode()
        self._owner = os.getpid()
        self.process = 0
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)

    def receive(self) -> Any:
        """The next line; None where the parent has gone."""
        line = self._lines.readline()
        return json.loads(line.decode("ascii")) if line else None

    def belong(self, process: int) -> None:
        """Serve as the process of this number, which has been forked."""
        self._owner = os.getpid()
        self.process = process

    def send(self, answer: dict[str, Any]) -> None:
        if os.getpid() != self._owner:  # a copy that a config made of its process, and that came out of it
            os._exit(0)
        text = json.dumps(answer).encode("ascii")
        if len(text) > ANSWER_LIMIT:
            answer = {"error": "the config resolves to more than 64 MB", "line": None, "index": answer["index"]}
            text = json.dumps(answer).encode("ascii")
        head = self._word + b"%04d" % self.process
        size = getattr(select, "PIPE_BUF", 512) - len(head) - 2
        for start in range(0, len(text), size):
            more = b"+" if start + size < len(text) else b"."
            line = head + more + text[start : start + size] + b"\n"
            while line:
                line = line[os.write(self._descriptor, line) :]


class Overlay:
    """Bytes that stand in the place of files, for every file that mmengine reads as a config."""

    def __init__(self, module: Any) -> None:
        self._exists = getattr(module, "check_file_exist", None)
        self._files: dict[str, bytes] = {}
        self.used: set[str] = set()
        # mmengine opens configs by the plain name ``open``: a module global of that name comes before the builtin, and
        # a config's own ``open`` stays the builtin one.
        module.open = self._open
        module.check_file_exist = self._check

    def set(self, files: dict[str, bytes]) -> None:
        self._files = files
        self.used = set()

    def _find(self, file: Any) -> str | None:
        if not self._files or not isinstance(file, str):
            return None
        path = os.path.abspath(file)
        for name in (path, os.path.realpath(path)):
            if name in self._files:
                return name
        return None

    def _open(self, file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        name = self._find(file) if mode in ("r", "rt") else None
        if name is None:
            return open(file, mode, *rest, **options)
        self.used.add(name)
        return io.TextIOWrapper(io.BytesIO(self._files[name]), encoding=options.get("encoding", "utf-8"))

    def _check(self, filename: Any, *rest: Any, **options: Any) -> None:
        if self._find(filename) is None and self._exists is not None:
            self._exists(filename, *rest, **options)


def encode(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON that tells every type apart; what JSON lacks becomes a dict with one ``$name`` key."""
    if depth > DEPTH:
        return {"$deep": type(value).__name__}
    if value is None or isinstance(value, bool) or type(value) is str:
        return value
    if type(value) is int:
        return value if value.bit_length() < 1024 else {"$int": hex(value)}
    if type(value) is float:
        return value if value - value == 0 else {"$float": repr(value)}
    if isinstance(value, dict):
        pairs = [(key, encode(item, depth + 1)) for key, item in dict.items(value)]
        if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        return {"$dict": [[encode(key, depth + 1), item] for key, item in pairs]}
    if type(value) is list:
        return [encode(item, depth + 1) for item in value]
    if type(value) is tuple:
        return {"$tuple": [encode(item, depth + 1) for item in value]}
    if type(value) in (set, frozenset):
        return {"$set": sorted((encode(item, depth + 1) for item in value), key=json.dumps)}
    if type(value) is bytes:
        return {"$bytes": value.hex()}
    return {"$object": describe(value)}


def describe(value: Any) -> str:
    """A text that is the same for the same thing in two loads of a file: no memory address, a name for code."""
    kind = type(value)
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return "%s %s.%s" % (kind.__name__, getattr(value, "__module__", ""), name)  # noqa: UP031
    try:
        text = _ADDRESS.sub("", repr(value))
    except Exception as error:  # noqa: BLE001 - the config's own code
        text = "repr raised " + type(error).__name__
    return "%s.%s %s" % (kind.__module__, kind.__qualname__, text)  # noqa: UP031


def explain(error: BaseException, path: str) -> dict[str, Any]:
    """What went wrong, in one line, and the line of ``path`` that it came from where that can be told."""
    inner = error.__context__
    if type(error) is SyntaxError and error.lineno is None and isinstance(inner, SyntaxError):
        error = inner  # mmengine's own wraps the parser's
    if isinstance(error, SyntaxError):
        return {"error": type(error).__name__ + ": " + str(error.msg), "line": error.lineno}
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_frame.f_code.co_name, trace.tb_lineno))
        trace = trace.tb_next
    own = [line for name, _, line in frames if name == path]
    if isinstance(error, SystemExit):
        text = "the config ended the program (exit code %r)" % (error.code,)  # noqa: UP031
    else:
        text = (type(error).__name__ + ": " + str(error)).rstrip(": ")
    others = [(name, line) for name, code, line in frames if code == "<module>" and name not in (path, __file__)]
    if not own and others and os.path.isabs(others[-1][0]):
        text += " ({}, line {})".format(*others[-1])
    return {"error": text, "line": own[-1] if own else None}


class Place:
    """Puts every config where the user would load it: in the checkout's root, with its packages importable."""

    def __init__(self) -> None:
        self._path = list(sys.path)
        self._environment = dict(os.environ)
        self._root: str | None = None

    def enter(self, root: str | None, folder: str) -> None:
        if root != self._root:
            if self._root is not None:
                self._forget(self._root)
            self._root = root
        sys.path[:] = [*self._path, root] if root is not None else self._path
        if dict(os.environ) != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        os.chdir(root if root is not None else folder)
        random.seed(0)

    @staticmethod
    def _forget(root: str) -> None:
        """Two checkouts have packages of the same names: those of the one before must not serve the next."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(root + os.sep):
                del sys.modules[name]


def prefer_memory(folder: str = "/dev/shm") -> None:
    """Have temporary files made in a folder that lies in memory, where there is one with room.

    mmengine copies every config that it loads, and removes the copy: a third of its time where that is on a disk.
    """
    if tempfile.tempdir is not None or any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")):
        return
    try:
        room = os.statvfs(folder)
    except (OSError, AttributeError):
        return
    if room.f_bavail * room.f_frsize >= ROOM and os.access(folder, os.W_OK | os.X_OK):
        tempfile.tempdir = folder


def load(config: Any, overlay: Overlay, job: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    path = job["path"]
    overlay.set(files)
    try:
        loaded = config.fromfile(path, lazy_import=False, import_custom_modules=False)
        value = encode({key: loaded[key] for key in loaded})
    except BaseException as error:  # noqa: BLE001 - a config may raise anything, also SystemExit
        return explain(error, path)
    if path in files and path not in overlay.used:
        return {"error": "this version of mmengine reads configs in an unknown way, so nothing is proven", "line": None}
    return {"value": value}


def main() -> None:
    channel = Channel()
    try:
        from mmengine.config import Config

        overlay = Overlay(sys.modules[Config.__module__])
    except Exception as error:  # noqa: BLE001 - an environment may be broken in any way
        channel.send({"fatal": type(error).__name__ + ": " + str(error)})
        return
    sys.dont_write_bytecode = True
    prefer_memory()
    place = Place()
    request = channel.receive()
    if request is None:
        return
    shared = {path: data.encode("latin-1") for path, data in request["overlay"].items()}

    workers: dict[int, int] = {}  # process id -> number

    def serve(jobs: list[dict[str, Any]]) -> None:
        if hasattr(signal, "alarm"):  # pragma: no branch - Windows has none
            signal.alarm(int(request["seconds"]) + 5)  # also where the parent was killed and nobody is left to end us
        for job in jobs:
            channel.send({"start": job["index"]})
            files: dict[str, bytes] = {}
            if job["staged"]:
                files = shared if job["data"] is None else {**shared, job["path"]: job["data"].encode("latin-1")}
            try:
                place.enter(job["root"], os.path.dirname(job["path"]))
                answer = load(Config, overlay, job, files)
            except Exception as error:  # noqa: BLE001 - a folder that is gone, a patched os.environ
                answer = {"error": type(error).__name__ + ": " + str(error), "line": None}
            answer["index"] = job["index"]
            channel.send(answer)
            for worker in list(workers):
                reap(channel, workers, worker, os.WNOHANG)

    if request["alone"]:  # this process, from which the others come, stays as it is
        for jobs in request["jobs"]:
            if not fork(channel, workers, 1, serve, jobs):
                serve(jobs)
                break
            for worker in list(workers):
                reap(channel, workers, worker, 0)
        channel.send({"end": True})
        return
    own, *others = request["jobs"]
    for number, jobs in enumerate(others, 1):
        if not fork(channel, workers, number, serve, jobs):
            own = own + jobs
    serve(own)
    for worker in list(workers):
        reap(channel, workers, worker, 0)
    channel.send({"end": True})


def fork(
    channel: Channel, workers: dict[int, int], number: int, serve: Callable[[list[dict[str, Any]]], None],
    jobs: list[dict[str, Any]],
) -> bool:  # fmt: skip
    """Have another process serve a part of the jobs; False where none is to be had."""
    try:
        worker = os.fork()
    except OSError:
        return False
    if worker == 0:  # pragma: no cover - it ends with os._exit, and nothing that it measured is kept
        try:
            workers.clear()
            channel.belong(number)
            serve(jobs)
        finally:
            os._exit(0)
    workers[worker] = number
    return True


def reap(channel: Channel, workers: dict[int, int], worker: int, options: int) -> None:
    """Tell that a process has ended, if it has. What it was loading then is what ended it."""
    try:
        ended, status = os.waitpid(worker, options)
    except OSError:  # a config was faster
        ended, status = worker, 0
    if ended:
        channel.send({"ended": workers.pop(worker), "signal": status & 127, "code": status >> 8})


if __name__ == "__main__":
    main()
