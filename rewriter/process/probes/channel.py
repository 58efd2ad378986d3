"""What the probes share: the job on stdin, answers over a pipe of their own, no sockets, exceptions as data."""

from __future__ import annotations

import json
import linecache
import os
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

# Names under which frames of the libraries hold the repo (transformers, diffusers, huggingface_hub).
_REPO_NAMES = ("repo_id", "path_or_repo_id", "pretrained_model_name_or_path")


class Channel:
    """The job, and the way back. Each line that is sent starts with the job's secret word.

    Whatever the checkout's code prints goes to standard error: the pipe that was standard output is moved away first.
    Functions are kept here, so that code that patches :mod:`json` or :mod:`os` spoils no answer.
    """

    def __init__(self) -> None:
        # Neither this folder nor these names may stand in the way of what a config or the checkout imports.
        del sys.path[0]
        for name in ("channel", "weights_files"):
            sys.modules.pop(name, None)
        self.job: dict[str, Any] = json.loads(sys.stdin.buffer.read().decode("ascii"))
        self._word = self.job.pop("word").encode()
        self._owner = os.getpid()
        self._write, self._getpid, self._encode = os.write, os.getpid, json.JSONEncoder(default=str).encode
        self._descriptor = os.dup(1)
        os.set_inheritable(self._descriptor, False)
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        block_sockets()

    def send(self, **message: Any) -> None:
        """Send one message; a copy of the process (``os.fork`` in a config) sends none."""
        if self._getpid() == self._owner:
            line = self._word + self._encode(message).encode("ascii") + b"\n"
            while line:
                line = line[self._write(self._descriptor, line) :]

    def serve(self, answer: Callable[[Any], dict[str, Any]]) -> None:
        """Answer every task of the job with ``answer``, one after the other."""
        self.send(ready=True)
        for number, task in self.job["tasks"]:
            self.send(start=number)
            self.send(result=number, **answer(task))
        self.send(end=True)


def block_sockets() -> None:
    """Make every connection to the network raise: only files can supply weights."""
    plain_connect = socket.socket.connect

    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise OSError("the network is blocked while opensora-rewriter verifies")

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse()
        plain_connect(self, address)

    classes: Any = socket.socket
    classes.connect, classes.connect_ex, classes.sendto, socket.getaddrinfo = connect, connect, refuse, refuse


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
    """What ``read`` makes of ``Config.fromfile(path)``, upstream's way, else of the one with ``lazy_import=False``.

    And what the first attempt raised (None: it worked).
    """
    from mmengine.config import Config

    try:
        return read(Config.fromfile(path, **keywords)), None
    except Exception as error:  # noqa: BLE001 - the config's own code
        first = error
    return read(Config.fromfile(path, lazy_import=False, **keywords)), first


def describe_error(error: BaseException, root: str = "") -> dict[str, Any]:
    """An exception as data: the chain of types and messages, where it arose, and which repo was wanted.

    ``where`` is the innermost frame below ``root`` (the checkout), else the innermost one; the repo and its
    ``cache_dir`` are read from the frames of the libraries, whose messages do not always name them.
    """
    found: dict[str, Any] = {"chain": [], "where": "", "text": "", "repo": "", "cache_dir": None}
    current: BaseException | None = error
    while current is not None and len(found["chain"]) < 8:
        names = [cls.__name__ for cls in type(current).__mro__[:-2]]
        found["chain"].append({"type": names[0], "bases": names, "message": str(current)[:4000]})
        frames = [*traceback.walk_tb(current.__traceback__)]
        inside = [frame for frame in frames if root and frame[0].f_code.co_filename.startswith(root + os.sep)]
        if frames and not found["where"]:
            frame, line = (inside or frames)[-1]
            file = frame.f_code.co_filename
            found.update(where=f"{file}:{line}, in {frame.f_code.co_name}", text=linecache.getline(file, line).strip())
        for frame, _line in reversed(frames):
            names = [name for name in _REPO_NAMES if isinstance(frame.f_locals.get(name), str)]
            if names:
                found["repo"] = found["repo"] or frame.f_locals[names[0]]
                found["cache_dir"] = found["cache_dir"] or frame.f_locals.get("cache_dir")
        current = current.__cause__ or current.__context__
    return dict(found, cache_dir=str(found["cache_dir"]) if found["cache_dir"] else None)
