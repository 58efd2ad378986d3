"""How files are read and folders listed: nothing but regular files, no loops, without what git ignores."""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from rewriter.model import Finding

LIMIT = 20 * 1024 * 1024

# git must list files and do nothing else: no hook, no monitor, no fetch that the checkout's own .git/config names.
_GIT = (
    *("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"),
    *("-c", "protocol.allow=never", "ls-files", "-co", "--exclude-standard", "-z"),
)
_GIT_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


class Unreadable(Exception):  # noqa: N818 - a state of the file, reported as OSR900
    """A file cannot be read: ``message`` is what was found, ``remedy`` what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def show_path(path: str, base: str) -> str:
    """``path`` relative to the folder ``base`` with ``/``, if it is below; else as it is."""
    prefix = base.rstrip(os.sep) + os.sep
    return path[len(prefix) :].replace(os.sep, "/") if path.startswith(prefix) else path


def outside(path: str, root: str | None) -> bool:
    """Whether links lead ``path`` out of the checkout ``root`` (False where there is no checkout)."""
    real = os.path.realpath(path)
    return root is not None and not os.path.join(real, "").startswith(os.path.join(os.path.realpath(root), ""))


def open_regular(path: str) -> BinaryIO:
    """A regular file, opened to be read in binary; never waits on a pipe. Raises OSError, also for anything else."""
    wait_not = getattr(os, "O_NONBLOCK", 0)
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | wait_not))  # noqa: SIM115 - it is returned
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", path)


def read_bytes(path: str, limit: int = LIMIT) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes. Raises Unreadable."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size <= limit:
                return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unreadable(f"cannot be read: {reason}", "make it a readable file, or leave it out") from None
    raise Unreadable(f"{size} bytes, more than the {limit} that a config may have", "leave it out with --exclude")


def walk(top: str, findings: dict[str, Finding]) -> Iterator[str]:
    """Every file below ``top`` that is named ``*.py``; links to folders are not followed, so there are no loops."""
    folders = [top]
    for folder in folders:
        for entry in scan(folder, findings):
            if entry.is_dir(follow_symlinks=False):
                folders += [entry.path] if entry.name not in (".git", "__pycache__") else []
            elif entry.name.endswith(".py") and (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                yield entry.path


def scan(folder: str, findings: dict[str, Finding]) -> list[os.DirEntry[str]]:
    """The entries of a folder by name; that it cannot be listed goes to ``findings``, by its path."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        message = f"the folder cannot be listed: {error.strerror}"
        remedy = "give yourself permission to read it, or leave it out with --exclude"
        findings[folder] = Finding("OSR900", folder, 1, 0, "", message, remedy)
        return []


def find_repository(start: str) -> str | None:
    """The nearest folder at or above ``start`` that holds ``.git`` (a folder, or a file in a linked work tree)."""
    folder = os.path.abspath(start)
    while not os.path.exists(os.path.join(folder, ".git")):
        if folder == (folder := os.path.dirname(folder)):
            return None
    return folder


def select_tracked(paths: list[str], top: str, base: str) -> list[str]:
    """Those of ``paths`` (below ``top``) that git does not ignore.

    In a work tree git itself lists them (it also knows the user's own excludes); else, or where git is missing or
    refuses (another owner's tree), the ``.gitignore`` files from ``base`` downwards are read.
    """
    if paths and find_repository(top) is not None:
        import subprocess

        plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        options: dict[str, Any] = {"cwd": top, "env": plain | _GIT_ENVIRONMENT, "timeout": 20}
        try:
            listed = subprocess.check_output(_GIT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        except (OSError, subprocess.SubprocessError):
            pass
        else:
            tracked = set(map(os.fsdecode, listed.split(b"\0")))
            return [path for path in paths if show_path(path, top) in tracked]
    is_ignored = _read_ignore_files(base)
    return [path for path in paths if not is_ignored(show_path(path, base))]


def _read_ignore_files(base: str) -> Callable[[str], bool]:
    """gitignore(5): a file in an ignored folder is ignored; else the deepest ``.gitignore`` that matches decides."""

    @functools.cache
    def read_patterns(folder: str) -> Callable[[str], bool | None]:
        try:
            data = read_bytes(os.path.join(base, folder, ".gitignore"))
        except Unreadable:
            return lambda relative: None
        return compile_patterns(data.decode("utf-8-sig", "replace").splitlines())

    @functools.cache
    def is_ignored(path: str) -> bool:  # of a file, or of a folder with a final "/"
        folder = _parent(path)
        if folder and is_ignored(folder):
            return True
        answer = read_patterns(folder)(path[len(folder) :])
        while answer is None and folder:
            folder = _parent(folder)
            answer = read_patterns(folder)(path[len(folder) :])
        return bool(answer)

    return is_ignored


def _parent(path: str) -> str:
    return path[: path.rstrip("/").rfind("/") + 1]


def compile_patterns(lines: Iterable[str]) -> Callable[[str], bool | None]:
    """gitignore-style patterns. True: matched; False: matched by a later ``!`` pattern; None: no pattern matches."""
    import pathspec

    spec = pathspec.GitIgnoreSpec.from_lines(lines)
    return lambda relative: spec.check_file(relative).include
