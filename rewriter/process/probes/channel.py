"""What the probes share: tasks and answers over pipes of their own, no network, exceptions as data."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

MARK = b"opensora-rewriter: "  # so begin the lines that are sent; whatever else comes through the pipe is dropped
# Names under which frames of the libraries hold the repo (transformers, diffusers, huggingface_hub).
_REPO_NAMES = ("repo_id", "path_or_repo_id", "pretrained_model_name_or_path")


def serve(answer: Callable[[Any], dict[str, Any]]) -> None:
    """Say ready, then answer each task that comes. What others' code prints goes to standard error."""
    sys.path[:] = filter(None, sys.path[1:])  # the checkout imports neither from here nor from a working directory
    with os.fdopen(os.dup(0), "rb") as tasks, os.fdopen(os.dup(1), "wb") as pipe:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        block_network()
        pipe.write(MARK + b"{}\n")
        pipe.flush()
        for line in tasks:
            began = time.monotonic()
            found = answer(json.loads(line))
            found["seconds"] = time.monotonic() - began
            pipe.write(MARK + json.dumps(found, default=str).encode("ascii") + b"\n")
            pipe.flush()


def block_network() -> None:
    """Make every connection raise: only files can supply weights."""

    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise OSError("the network is blocked while opensora-rewriter verifies")

    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, refuse)
    socket.getaddrinfo = refuse


def enter_checkout(root: str, folder: str) -> None:
    """Import as upstream's ``python scripts/inference.py``, run in ``root``, does: ``scripts`` comes first.

    ``folder`` (which holds the checkout's package) comes last: it serves where no copy is installed.
    """
    os.chdir(root)
    scripts = os.path.join(root, "scripts")
    if os.path.isdir(scripts) and scripts not in sys.path:
        sys.path.insert(0, scripts)
    if folder not in sys.path:
        sys.path.append(folder)


def load_config(path: str, read: Callable[[Any], Any]) -> tuple[Any, Exception | None]:
    """What ``read`` makes of ``Config.fromfile(path)``, upstream's way, else of the one with ``lazy_import=False``.

    And what the first attempt raised (None: it worked). Custom imports are not followed.
    """
    from mmengine.config import Config

    first = None
    # without one of these words the two are the same, but that the first parses the file twice more
    if re.search(rb"\b(import|with|_base_)\b", Path(path).read_bytes()):
        try:
            return read(Config.fromfile(path, import_custom_modules=False)), None
        except Exception as error:  # noqa: BLE001 - the config's own code
            first = error
    return read(Config.fromfile(path, lazy_import=False, import_custom_modules=False)), first


def describe_error(error: BaseException, root: str) -> dict[str, Any]:
    """An exception as data: the chain of types and messages, where it arose, and which repo was wanted.

    ``where`` is the innermost frame below ``root`` (the checkout), else the innermost one; the repo and its
    ``cache_dir`` are read from the frames of the libraries, whose messages do not always name them.
    """
    found: dict[str, Any] = {"chain": [], "where": "", "text": "", "repo": "", "cache_dir": None}
    current: BaseException | None = error
    while current is not None and len(found["chain"]) < 8:
        names = [cls.__name__ for cls in type(current).__mro__[:-2]]
        found["chain"].append({"type": names[0], "bases": names, "message": str(current)[:4000]})
        frames = traceback.extract_tb(current.__traceback__)
        if frames and not found["where"]:
            inside = [frame for frame in frames if root and frame.filename.startswith(root + os.sep)]
            frame = (inside or frames)[-1]
            found.update(where=f"{frame.filename}:{frame.lineno}, in {frame.name}", text=frame.line)
        for values in reversed([frame.f_locals for frame, _line in traceback.walk_tb(current.__traceback__)]):
            repos = [values[name] for name in _REPO_NAMES if isinstance(values.get(name), str)]
            if repos:
                found["repo"] = found["repo"] or repos[0]
                found["cache_dir"] = found["cache_dir"] or values.get("cache_dir")
        current = current.__cause__ or current.__context__
    return found
