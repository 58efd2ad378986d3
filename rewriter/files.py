"""How files are read and folders listed: nothing but regular files, no loops, without what git ignores."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from rewriter.model import Finding

LIMIT = 20 * 1024 * 1024
GIT_TIMEOUT = 20.0

Match = Callable[[str], bool | None]

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


# --- paths and bytes ---------------------------------------------------------------------------


def show_path(path: str, base: str) -> str:
    """``path`` relative to the folder ``base`` with ``/``, if it is below; else as it is."""
    prefix = base.rstrip(os.sep) + os.sep
    return path[len(prefix) :].replace(os.sep, "/") if path.startswith(prefix) else path


def outside(path: str, root: str | None) -> bool:
    """Whether links lead ``path`` out of the checkout ``root`` (False where there is no checkout)."""
    if root is None:
        return False
    real, base = os.path.realpath(path), os.path.realpath(root)
    return real != base and show_path(real, base) == real


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
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise Unreadable(f"cannot be read: {reason}", "make it a readable file, or leave it out") from None
    raise Unreadable(f"{size} bytes, more than the {limit} that a config may have", "leave it out with --exclude")


# --- listing folders ----------------------------------------------------------------------------


def walk(top: str, findings: dict[str, Finding]) -> Iterator[str]:
    """Every file below ``top`` that is named ``*.py``; links to folders are not followed, so there are no loops."""
    folders = [top]
    for folder in folders:
        for entry in sorted(scan(folder, findings), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                folders += [entry.path] if entry.name not in (".git", "__pycache__") else []
            elif entry.name.endswith(".py") and (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                yield entry.path


def scan(folder: str, findings: dict[str, Finding]) -> list[os.DirEntry[str]]:
    """The entries of a folder; that it cannot be listed goes to ``findings``, by its path."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
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


# --- what git ignores ----------------------------------------------------------------------------


def select_tracked(paths: list[str], top: str, base: str) -> list[str]:
    """Those of ``paths`` (below ``top``) that git does not ignore.

    In a work tree git itself lists them (it also knows the user's own excludes); else, or where git is missing or
    refuses (another owner's tree), the ``.gitignore`` files from ``base`` downwards are read.
    """
    listed = _list_with_git(top) if paths and find_repository(top) is not None else None
    if listed is not None:
        return [path for path in paths if show_path(path, top) in listed]
    matches: dict[str, Match] = {}
    return [path for path in paths if not _is_ignored(show_path(path, base), base, matches)]


def _list_with_git(folder: str) -> frozenset[str] | None:
    """Tracked and untracked files below ``folder`` that git does not ignore, relative to it; None: git cannot tell."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment.update(_GIT_ENVIRONMENT)
    try:
        run = subprocess.run(
            _GIT,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return frozenset(map(os.fsdecode, run.stdout.split(b"\0")))


def _is_ignored(relative: str, base: str, matches: dict[str, Match]) -> bool:
    """gitignore(5): a file in an ignored folder is ignored; else the deepest ``.gitignore`` that matches decides."""
    parts = relative.split("/")
    for depth in range(1, len(parts) + 1):
        path = "/".join(parts[:depth]) + ("/" if depth < len(parts) else "")
        for level in range(depth - 1, -1, -1):
            folder = "".join(f"{part}/" for part in parts[:level])
            if folder not in matches:
                matches[folder] = _read_ignore_file(os.path.join(base, folder, ".gitignore"))
            answer = matches[folder](path[len(folder) :])
            if answer:
                return True
            if answer is False:
                break
    return False


def _read_ignore_file(path: str) -> Match:
    try:
        return compile_patterns(read_bytes(path).decode("utf-8-sig", "replace").splitlines())
    except Unreadable:
        return lambda relative: None


def compile_patterns(lines: Iterable[str]) -> Match:
    """True: matched; False: matched by a later ``!`` pattern; None: no pattern matches."""
    import pathspec

    spec = pathspec.GitIgnoreSpec.from_lines(lines)
    return lambda relative: spec.check_file(relative).include
