"""What the probes share: the job on stdin, answers over a pipe of their own, no sockets, exceptions as data."""

from __future__ import annotations

import importlib.util
import json
import linecache
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_LIMIT = 64 * 1024 * 1024

# Names under which frames of the libraries hold the repo (transformers, diffusers, huggingface_hub).
_REPO_NAMES = ("repo_id", "path_or_repo_id", "pretrained_model_name_or_path")


class Channel:
    """The job, and the way back. Each line that is sent starts with the job's secret word.

    Whatever the checkout's code prints goes to standard error: the pipe that was standard output is moved away first.
    Functions are kept here, so that code that patches :mod:`json` or :mod:`os` spoils no answer.
    """

    def __init__(self) -> None:
        self.job: dict[str, Any] = json.loads(sys.stdin.buffer.read().decode("ascii"))
        self._word = self.job.pop("word").encode()
        self._owner = os.getpid()
        self._write, self._getpid, self._encode = os.write, os.getpid, json.JSONEncoder(default=str).encode
        self._descriptor = os.dup(1)
        os.set_inheritable(self._descriptor, False)
        os.dup2(2, 1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        if self.job.get("block_sockets"):
            block_sockets()

    def send(self, **message: Any) -> None:
        """Send one message; a copy of the process (``os.fork`` in a config) sends none."""
        if self._getpid() != self._owner:
            return
        text = self._encode(message).encode("ascii")
        if len(text) > ANSWER_LIMIT:
            limit = {"too_large": len(text), "result": message.get("result")}
            text = self._encode(limit).encode("ascii")
        line = self._word + text + b"\n"
        while line:
            line = line[self._write(self._descriptor, line) :]

    def serve(self, answer: Callable[[Any], dict[str, Any]]) -> None:
        """Answer every task of the job with ``answer``, one after the other."""
        self.send(ready=versions())
        for number, task in self.job["tasks"]:
            self.send(start=number)
            self.send(result=number, **answer(task))
        self.send(end=True)


def block_sockets() -> None:
    """Make every way out to the network raise: only files can supply weights."""
    plain_connect = socket.socket.connect

    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise OSError("the network is blocked while opensora-rewriter verifies")

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse()
        plain_connect(self, address)

    socket.socket.connect = connect  # type: ignore[method-assign, assignment]
    socket.socket.connect_ex = connect  # type: ignore[method-assign, assignment]
    socket.socket.sendto = refuse  # type: ignore[method-assign]
    socket.create_connection = refuse
    socket.getaddrinfo = refuse


def versions() -> dict[str, str]:
    """The versions of what decides how weights load, without importing any of it."""
    from importlib import metadata

    found = {"python": ".".join(str(part) for part in sys.version_info[:3])}
    for name in ("torch", "transformers", "diffusers", "huggingface_hub", "safetensors", "mmengine"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_rss() -> int:
    """The most memory that this process has held so far, in bytes (0 where it cannot be read)."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def import_file(name: str, path: str) -> Any:
    """Import one file as the module ``name``, wherever it lies."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def enter_checkout(root: str, folder: str) -> None:
    """Import as upstream's ``python scripts/inference.py``, run in ``root``, does.

    ``scripts`` comes first, PYTHONPATH and an installed copy follow. ``folder`` (which holds the checkout's package)
    comes last: it serves where nothing is installed.
    """
    os.chdir(root)
    scripts = os.path.join(root, "scripts")
    if os.path.isdir(scripts) and scripts not in sys.path:
        sys.path.insert(0, scripts)
    if folder not in sys.path:
        sys.path.append(folder)


def load_config(path: str, read: Callable[[Any], Any], **keywords: Any) -> tuple[Any, BaseException | None]:
    """Load a config as upstream's scripts do, ``Config.fromfile(path)``; where that fails, with ``lazy_import=False``.

    Returns:
        What ``read`` makes of the config, and what the first attempt raised (None: it worked).
    """
    from mmengine.config import Config

    try:
        return read(Config.fromfile(path, **keywords)), None
    except Exception as error:  # noqa: BLE001 - the config's own code
        first = error
    return read(Config.fromfile(path, lazy_import=False, **keywords)), first


def describe_error(error: BaseException, root: str = "") -> dict[str, Any]:
    """An exception as data: the chain of types and messages, where it arose, and which repo was wanted.

    ``where`` is the innermost frame below ``root`` (the checkout), else the innermost frame; the repo and its
    ``cache_dir`` are read from the frames of the libraries, whose messages do not always name them.
    """
    found: dict[str, Any] = {"chain": [], "where": "", "text": "", "repo": "", "cache_dir": None}
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(found["chain"]) < 8:
        seen.add(id(current))
        names = [cls.__name__ for cls in type(current).__mro__[:-2]]
        found["chain"].append({"type": names[0], "bases": names, "message": _message(current)})
        _add_frames(current, root, found)
        current = current.__cause__ or current.__context__
    return found


def _message(error: BaseException) -> str:
    try:
        return str(error)[:4000]
    except Exception as failure:  # noqa: BLE001 - others' __str__
        return f"(its message cannot be shown: {type(failure).__name__})"


def _add_frames(error: BaseException, root: str, found: dict[str, Any]) -> None:
    """Add what the frames show; what an outer exception of the chain showed already stays."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    prefix = os.path.join(root, "") if root else ""
    inside = [frame for frame in frames if prefix and os.path.abspath(frame[0].f_code.co_filename).startswith(prefix)]
    for frame, line in (inside or frames)[-1:]:
        if not found["where"]:
            file = frame.f_code.co_filename
            found["where"] = f"{file}:{line}, in {frame.f_code.co_name}"
            found["text"] = linecache.getline(file, line).strip()
    for frame, _line in reversed(frames):
        name = next((name for name in _REPO_NAMES if isinstance(frame.f_locals.get(name), str)), None)
        if name and not found["repo"]:
            found["repo"] = frame.f_locals[name]
        if name and found["cache_dir"] is None and frame.f_locals.get("cache_dir"):
            found["cache_dir"] = str(frame.f_locals["cache_dir"])


def first_line(error: dict[str, Any]) -> str:
    """What :func:`describe_error` found, in one line of at most 300 characters."""
    link = error["chain"][0]
    return str(link["type"] + ": " + " ".join(link["message"].split()))[:300]
