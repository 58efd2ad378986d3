"""How files are read and folders listed: nothing but regular files, no loops, without what git ignores."""

from __future__ import annotations

import errno
import importlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rewriter.model import Problem

LIMIT = 20 * 1024 * 1024

# git must list files and do nothing else: no hook, no monitor, no fetch that the checkout's own .git/config names.
_GIT_SETTINGS = f"-c core.fsmonitor=false -c core.hooksPath={os.devnull} -c protocol.allow=never"
_GIT = f"git --no-pager {_GIT_SETTINGS} ls-files -co --exclude-standard -z".split()
_GIT_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}


class Unreadable(Exception):  # noqa: N818 - a state of the file, reported as OSR900
    """A file cannot be read: ``problem`` says why, and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.problem = Problem(1, 0, message, remedy)


def show_path(path: str, base: str) -> str:
    """``path`` relative to the folder ``base``, if it is below; else as it is."""
    return path.removeprefix(os.path.join(base, ""))


def list_above(path: str) -> list[str]:
    """``path`` (absolute) and the folders above it, nearest first."""
    found = [path]
    while (above := os.path.dirname(found[-1])) != found[-1]:
        found.append(above)
    return found


def outside(path: str, root: str | None) -> bool:
    """Whether links lead ``path`` out of the checkout ``root`` (False where there is no checkout)."""
    return root is not None and os.path.realpath(root) not in list_above(os.path.realpath(path))


def read_bytes(path: str, limit: int = LIMIT) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; never waits on a pipe. Raises Unreadable."""
    try:
        with open(path, "rb", 0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
            if status.st_size <= limit:
                return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unreadable(f"cannot be read: {reason}", "make it a readable file, or leave it out") from None
    raise Unreadable(f"{status.st_size} bytes, more than the {limit} that are read", "leave it out")


def read_or_empty(path: str) -> bytes:
    """The bytes of a file; none where it cannot be read."""
    try:
        return read_bytes(path)
    except Unreadable:
        return b""


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML document. Raises ValueError."""
    return dict(importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli").loads(text))


def walk(top: str, on_error: Callable[[OSError], object] | None = None) -> Iterator[str]:
    """Every file named ``*.py`` below ``top``; links to folders are not followed. ``on_error``: of one not listed."""
    for folder, folders, names in os.walk(top, onerror=on_error):
        folders[:] = [name for name in folders if name not in (".git", "__pycache__")]
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def find_repository(start: str) -> str | None:
    """The nearest folder at or above ``start`` that holds ``.git`` (a folder, or a file in a linked work tree)."""
    return next((folder for folder in list_above(start) if os.path.exists(os.path.join(folder, ".git"))), None)


def drop_ignored(paths: list[str], top: str) -> list[str]:
    """Those of ``paths`` (below ``top``) that git does not ignore; all of them where git knows no work tree there."""
    if not paths or find_repository(top) is None:
        return paths
    import subprocess

    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _GIT_ENVIRONMENT
    try:
        run = subprocess.run(_GIT, cwd=top, env=environment, timeout=20, check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        return paths
    kept = set(map(os.fsdecode, run.stdout.split(b"\0")))
    return [path for path in paths if show_path(path, top) in kept]


def compile_patterns(lines: Iterable[str]) -> Callable[[str], bool]:
    """Whether a relative path matches gitignore-style patterns, of which a later ``!pattern`` takes back."""
    import pathspec

    return pathspec.GitIgnoreSpec.from_lines(lines).match_file
