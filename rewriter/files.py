"""How files are read and folders listed: nothing but regular files, no loops, without what git ignores."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from rewriter.model import Finding

LIMIT = 20 * 1024 * 1024
GIT_TIMEOUT = 20.0
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

# git must list files and do nothing else: no hook, no monitor, no fetch that the checkout's own .git/config names.
_GIT = (
    *("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"),
    *("-c", "protocol.allow=never", "ls-files", "-co", "--exclude-standard", "-z"),
)
_GIT_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


class Unreadable(Exception):  # noqa: N818 - a state of the file, reported as OSR900
    """A file cannot be read: ``message`` is what was found, ``remedy`` what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


# --- reading a file ----------------------------------------------------------------------------


def outside(path: str, root: str | None) -> bool:
    """Whether links lead ``path`` out of the checkout ``root`` (False where there is no checkout)."""
    if root is None:
        return False
    real, base = os.path.realpath(path), os.path.realpath(root)
    return real != base and not real.startswith(base.rstrip(os.sep) + os.sep)


def read_bytes(path: str, limit: int = LIMIT) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; never waits on a pipe.

    Raises:
        Unreadable: with what is there instead, and what to do about it.
    """
    try:
        descriptor = os.open(path, _READING)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(_kind(status.st_mode))
        pieces: list[bytes] = []
        left = limit + 1  # one more than allowed, so that a file that grows meanwhile is noticed
        while left > 0 and (piece := os.read(descriptor, min(left, max(status.st_size + 1, 1 << 16)))):
            pieces.append(piece)
            left -= len(piece)
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(descriptor)
    if left <= 0:
        size = f"{status.st_size} bytes, more" if status.st_size > limit else "more"
        raise Unreadable(f"{size} than the {limit} bytes that a config may have", "leave it out with --exclude")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def open_regular(path: str) -> BinaryIO:
    """A regular file, opened to be read in binary; never waits on a pipe.

    Raises:
        OSError: also where something else is there.
    """
    descriptor = os.open(path, _READING)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, f"it is {_kind(mode)}, not a file", path)


def _kind(mode: int) -> str:
    for test, name in ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket")):
        if test(mode):
            return name
    return "a device"


def _not_a_file(kind: str) -> Unreadable:
    return Unreadable(f"{kind}, not a file", "remove or rename it, or leave it out with --exclude")


def _unreadable(path: str, error: OSError | ValueError) -> Unreadable:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT and os.path.islink(path):
        return Unreadable("a link to a file that does not exist", "mend or remove the link")
    if code == errno.ELOOP:
        return Unreadable("a link that leads round in a circle", "mend or remove the link")
    if code in (errno.EACCES, errno.EPERM):
        if os.path.isdir(path):
            return _not_a_file("a folder")
        return Unreadable("no permission to read it", "give yourself read permission (chmod u+r)")
    if code == errno.ENXIO:
        return _not_a_file("a socket")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Unreadable(f"cannot be opened: {reason}", "check that the file is there and can be read")


# --- listing folders ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``*.py`` found by the walk. ``odd``: neither a regular file nor a link, so git would not list it."""

    path: str
    odd: bool


def walk(top: str, findings: dict[str, Finding]) -> Iterator[Entry]:
    """Everything below ``top`` that is named ``*.py``; links to folders are not followed, so there are no loops."""
    folders = [top]
    for folder in folders:
        for entry in sorted(scan(folder, findings), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                yield Entry(entry.path, not (entry.is_symlink() or entry.is_file(follow_symlinks=False)))
            elif entry.name not in (".git", "__pycache__") and entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)


def scan(folder: str, findings: dict[str, Finding]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        message = f"the folder cannot be listed: {error.strerror}"
        remedy = "give yourself permission to read it, or leave it out with --exclude"
        findings[folder] = Finding("OSR900", folder, 1, 0, "", message, remedy)
        return []


def relative_path(path: str, base: str) -> str:
    """``path`` below ``base`` with ``/``, as gitignore patterns see it."""
    return path[len(base.rstrip(os.sep)) + 1 :].replace(os.sep, "/")


# --- what git ignores ----------------------------------------------------------------------------


def select_tracked(entries: Sequence[Entry], top: str, base: str) -> list[str]:
    """The paths of ``entries`` that git does not ignore.

    In a work tree git itself lists them (it also knows the user's own excludes); else, or where git is missing or
    refuses (another owner's tree), the ``.gitignore`` files from ``base`` downwards are read.
    """
    if not entries:
        return []
    listed = _list_with_git(top) if _in_work_tree(top) else None
    if listed is not None:
        return [entry.path for entry in entries if entry.odd or relative_path(entry.path, top) in listed]
    ignored = _find_ignored([relative_path(entry.path, base) for entry in entries], base)
    return [entry.path for entry in entries if relative_path(entry.path, base) not in ignored]


def _in_work_tree(folder: str) -> bool:
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return True


def _list_with_git(folder: str) -> frozenset[str] | None:
    """Tracked and untracked files below ``folder`` that git does not ignore, relative to it; None: git cannot tell."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        run = subprocess.run(
            _GIT,
            cwd=folder,
            env={**environment, **_GIT_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=GIT_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return frozenset(os.fsdecode(name) for name in run.stdout.split(b"\0") if name)


def _find_ignored(relatives: Sequence[str], base: str) -> frozenset[str]:
    """Those of ``relatives`` that the ``.gitignore`` files between ``base`` and them ignore."""
    folders = {""}
    for relative in relatives:
        parts = relative.split("/")[:-1]
        folders.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
    rules = {folder: lines for folder in folders if (lines := _read_ignore_lines(os.path.join(base, folder)))}
    specs = {folder: compile_patterns(lines) for folder, lines in rules.items()}
    return frozenset(relative for relative in relatives if specs and _is_ignored(relative, specs))


def _read_ignore_lines(folder: str) -> list[str]:
    try:
        data = read_bytes(os.path.join(folder, ".gitignore"))
    except Unreadable:
        return []
    return data.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()


def _is_ignored(relative: str, specs: dict[str, Callable[[str], bool | None]]) -> bool:
    """gitignore(5): a file in an ignored folder is ignored; else the deepest ``.gitignore`` that matches decides."""
    parts = relative.split("/")
    for depth in range(1, len(parts) + 1):
        path = "/".join(parts[:depth]) + ("/" if depth < len(parts) else "")
        for level in range(depth - 1, -1, -1):
            folder = "/".join(parts[:level])
            spec = specs.get(folder)
            answer = None if spec is None else spec(path[len(folder) + 1 :] if folder else path)
            if answer:
                return True
            if answer is False:
                break
    return False


def compile_patterns(lines: Iterable[str]) -> Callable[[str], bool | None]:
    """True: matched; False: matched by a later ``!`` pattern; None: no pattern matches."""
    import pathspec

    spec = pathspec.GitIgnoreSpec.from_lines(lines)
    return lambda relative: spec.check_file(relative).include
