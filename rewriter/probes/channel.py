"""What the probe scripts share: the job on stdin, messages over their own pipe, no sockets, exceptions as data."""

from __future__ import annotations

import json
import linecache
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

# Names under which the libraries' own frames hold what they were asked for (transformers, diffusers, huggingface_hub).
_REPO_NAMES = ("repo_id", "path_or_repo_id", "pretrained_model_name_or_path")


def open_channel() -> tuple[Callable[[dict[str, Any]], None], dict[str, Any]]:
    """Reads the job from stdin and returns how to send messages, and the job.

    Messages carry the nonce of the job, so that nothing that a checkout writes to a stray descriptor is taken for one.
    """
    job: dict[str, Any] = json.loads(sys.stdin.read())
    descriptor, nonce = job.pop("fd"), job.pop("nonce")
    os.set_inheritable(descriptor, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def send(message: dict[str, Any]) -> None:
        data = json.dumps(dict(message, nonce=nonce), default=str).encode("utf-8", "backslashreplace") + b"\n"
        while data:
            data = data[os.write(descriptor, data) :]

    return send, job


def block_sockets() -> None:
    """Makes every way out to the network raise: only files can supply weights."""
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
    """The most memory that this process has held so far, in bytes (0 where nobody tells)."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def describe(error: BaseException, root: str = "") -> dict[str, Any]:
    """An exception as data: the chain of types and messages, where it arose, and which repo was asked for.

    ``where`` is the innermost frame below ``root`` (the checkout), else the innermost frame; the repo and its
    ``cache_dir`` are read from the frames of the libraries, whose messages do not always name them.
    """
    told: dict[str, Any] = {"chain": [], "where": "", "text": "", "repo": "", "cache_dir": None}
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(told["chain"]) < 8:
        seen.add(id(current))
        names = [cls.__name__ for cls in type(current).__mro__[:-2]]
        told["chain"].append({"type": names[0], "bases": names, "message": _message(current)})
        _walk(current, root, told)
        current = current.__cause__ or current.__context__
    return told


def _message(error: BaseException) -> str:
    try:
        return str(error)[:4000]
    except Exception as failure:  # noqa: BLE001 - others' __str__
        return f"(its message cannot be shown: {type(failure).__name__})"


def _walk(error: BaseException, root: str, told: dict[str, Any]) -> None:
    """Fills in what the frames tell; the outermost exception of the chain that knows a thing has the word."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    prefix = os.path.join(root, "") if root else ""
    inside = [frame for frame in frames if prefix and os.path.abspath(frame[0].f_code.co_filename).startswith(prefix)]
    for frame, line in (inside or frames)[-1:]:
        if not told["where"]:
            file = frame.f_code.co_filename
            told["where"] = f"{file}:{line}, in {frame.f_code.co_name}"
            told["text"] = linecache.getline(file, line).strip()
    for frame, _line in reversed(frames):
        name = next((name for name in _REPO_NAMES if isinstance(frame.f_locals.get(name), str)), None)
        if name and not told["repo"]:
            told["repo"] = frame.f_locals[name]
        if name and told["cache_dir"] is None and frame.f_locals.get("cache_dir"):
            told["cache_dir"] = str(frame.f_locals["cache_dir"])


def first_line(told: dict[str, Any]) -> str:
    """What :func:`describe` told, in one line of at most 300 characters."""
    link = told["chain"][0]
    text: str = link["type"] + ": " + " ".join(link["message"].split())
    return text[:300]
