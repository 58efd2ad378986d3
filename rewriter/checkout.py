"""Which files a run is about: checkouts, folders and config files from the command line, git-ignored ones left out."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rewriter.frozen import Frozen
from rewriter.types import Finding

if TYPE_CHECKING:
    from typing import BinaryIO

CONFIGS = "configs"
SOURCES = "opensora"
LIMIT = 20 * 1024 * 1024
GIT_TIMEOUT = 20.0
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

# git must list files and do nothing else: no hook, no monitor, no fetch that the checkout's own .git/config asks for.
_GIT = (
    "git",
    "--no-pager",
    "-c",
    "core.fsmonitor=false",
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "protocol.allow=never",
)
_GIT_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


class NoSuchPath(Exception):  # noqa: N818 - it is the user's path that is at fault
    """A path of the command line does not exist: wrong usage."""


class Unreadable(Exception):  # noqa: N818 - a state of the file, reported as OSR900
    """A file cannot be read: ``message`` is what was found, ``remedy`` what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class Target(Frozen):
    """A config file of the run. ``named``: it stood on the command line itself, so no pattern takes it away."""

    path: str
    root: str | None
    named: bool


class Selection(Frozen):
    """The files of a run, sorted by path, each once; ``findings``: folders that could not be listed (OSR900)."""

    targets: tuple[Target, ...]
    findings: tuple[Finding, ...] = ()


class _Entry(Frozen):
    """One ``*.py`` found by the walk. ``odd``: neither a regular file nor a link, so git would not list it."""

    path: str
    odd: bool


def find_root(path: str) -> str | None:
    """The checkout of ``path`` (absolute): the nearest folder, itself or above, with ``configs/`` and ``opensora/``."""
    folder = path
    while True:
        if os.path.isdir(os.path.join(folder, CONFIGS)) and os.path.isdir(os.path.join(folder, SOURCES)):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


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
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable(
                f"{_kind(about.st_mode)}, not a file", "remove or rename it, or leave it out with --exclude"
            )
        if about.st_size > limit:
            raise Unreadable(
                f"{about.st_size} bytes, more than the {limit} that a config may have", "leave it out with --exclude"
            )
        return _read_all(descriptor, about.st_size, limit)
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(descriptor)


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


def _read_all(descriptor: int, size: int, limit: int) -> bytes:
    pieces: list[bytes] = []
    left = limit + 1  # one more than allowed: a file that grows meanwhile is noticed, not read for ever
    wanted = min(size + 1, left)  # one more than there is: a regular file that gives less has been read to its end
    while left > 0:
        piece = os.read(descriptor, wanted)
        pieces.append(piece)
        left -= len(piece)
        if len(piece) < wanted:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        wanted = min(left, 1 << 20)
    raise Unreadable(f"more than the {limit} bytes that a config may have", "leave it out with --exclude")


def _kind(mode: int) -> str:
    for test, name in ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket")):
        if test(mode):
            return name
    return "a device"


def _unreadable(path: str, error: OSError | ValueError) -> Unreadable:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT and os.path.islink(path):
        return Unreadable("a link to a file that does not exist", "mend or remove the link")
    if code == errno.ELOOP:
        return Unreadable("a link that leads round in a circle", "mend or remove the link")
    if code in (errno.EACCES, errno.EPERM):
        if os.path.isdir(path):  # that it may not be opened either is not what matters
            return Unreadable("a folder, not a file", "remove or rename it, or leave it out with --exclude")
        return Unreadable("no permission to read it", "give yourself read permission (chmod u+r)")
    if code == errno.ENXIO:
        return Unreadable("a socket, not a file", "remove or rename it, or leave it out with --exclude")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Unreadable(f"cannot be opened: {reason}", "check that the file is there and can be read")


def select(
    paths: Sequence[str],
    *,
    all_configs: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    cwd: str,
) -> Selection:
    """The config files that ``paths`` (relative to ``cwd``; none: ``cwd`` itself) stand for.

    A folder that holds ``configs/`` gives ``configs/**/inference/*.py``, with ``all_configs`` every
    ``configs/**/*.py``; ``configs`` itself or a folder inside it gives every ``*.py`` below; any other folder gives
    what the checkouts below it give. A file is taken as it is. ``include`` (gitignore-style patterns, relative to the
    checkout, or to the folder where there is no checkout) replaces these patterns, ``exclude`` takes away.
    Git-ignored files are left out, also without a git work tree (issue 2).

    Raises:
        NoSuchPath: a path does not exist.
    """
    named: dict[str, Target] = {}
    found: dict[str, Target] = {}
    findings: dict[str, Finding] = {}
    wanted = _matcher(include)
    unwanted = _matcher(exclude)
    for given in paths or (".",):
        path = os.path.abspath(os.path.join(cwd, given))
        if not os.path.lexists(path):
            raise NoSuchPath(f"{given}: no such file or folder")
        if not os.path.isdir(path):
            named[path] = Target(path, find_root(os.path.dirname(path)), True)
            continue
        for target in _of_folder(path, all_configs, wanted, unwanted, findings):
            found[target.path] = target
    targets = {**found, **named}
    return Selection(
        tuple(targets[path] for path in sorted(targets)), tuple(findings[path] for path in sorted(findings))
    )


def config_files(root: str) -> list[str]:
    """Every ``*.py`` below the ``configs/`` of a checkout, sorted, git-ignored or not."""
    return sorted(entry.path for entry in _walk(os.path.join(root, CONFIGS), {}))


_Match = Callable[[str], bool]


def _matcher(patterns: Sequence[str]) -> _Match | None:
    """gitignore-style patterns as a test of a relative path with ``/``; None where there are no patterns."""
    if not patterns:
        return None
    spec = _pathspec(patterns)
    return lambda relative: spec(relative) is True


def _pathspec(lines: Iterable[str]) -> Callable[[str], bool | None]:
    """True: matched; False: matched by a later ``!`` pattern; None: no pattern says anything."""
    import pathspec  # 40 ms: only where patterns are asked for, or an ignore file could matter

    spec = pathspec.GitIgnoreSpec.from_lines(lines)
    return lambda relative: spec.check_file(relative).include


def _of_folder(
    folder: str, all_configs: bool, wanted: _Match | None, unwanted: _Match | None, findings: dict[str, Finding]
) -> Iterator[Target]:
    """The targets of one folder of the command line."""
    root = find_root(folder)
    base = root or folder
    inside = _inside_configs(folder, root)
    if wanted is None and not inside and not os.path.isdir(os.path.join(folder, CONFIGS)):
        # docs/ or opensora/ of a checkout stands for the checkout; a folder of checkouts for each of them
        for checkout in [root] if root is not None else _checkouts_below(folder, findings):
            yield from _of_folder(checkout, all_configs, None, unwanted, findings)
        return
    top = folder if inside or wanted is not None else os.path.join(folder, CONFIGS)
    entries = list(_walk(top, findings))
    if wanted is not None:
        entries = [entry for entry in entries if wanted(_relative(entry.path, base))]
    elif not inside and not all_configs:
        entries = [entry for entry in entries if os.path.basename(os.path.dirname(entry.path)) == "inference"]
    if unwanted is not None:
        entries = [entry for entry in entries if not unwanted(_relative(entry.path, base))]
    for path in _not_ignored(entries, top, base):
        yield Target(path, root, False)


def _inside_configs(folder: str, root: str | None) -> bool:
    """Whether ``folder`` is ``configs`` or lies in it: of its checkout, or of any name above where there is none."""
    below = os.path.relpath(folder, root) if root is not None else folder
    parts = below.split(os.sep)
    return parts[0] == CONFIGS if root is not None else CONFIGS in parts


def _checkouts_below(folder: str, findings: dict[str, Finding]) -> Iterator[str]:
    """Folders below that hold ``configs/``; hidden folders and links are not looked into, nor is a found one.

    That ``folder`` itself cannot be listed is a finding; some folder on the way need not be one that matters.
    """
    for entry in _scan(folder, findings):
        if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
            continue
        if os.path.isdir(os.path.join(entry.path, CONFIGS)):
            yield entry.path
        else:
            yield from _checkouts_below(entry.path, {})


def _walk(top: str, findings: dict[str, Finding]) -> Iterator[_Entry]:
    """Everything below ``top`` that is named ``*.py``; links to folders are not followed, so there are no loops."""
    folders = [top]
    while folders:
        for entry in _scan(folders.pop(), findings):
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name.endswith(".py"):
                odd = not (entry.is_symlink() or entry.is_file(follow_symlinks=False))
                yield _Entry(entry.path, odd)
            elif is_folder and entry.name not in (".git", "__pycache__"):
                folders.append(entry.path)


def _scan(folder: str, findings: dict[str, Finding]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        message = f"the folder cannot be listed: {error.strerror}"
        remedy = "give yourself permission to read it, or leave it out with --exclude"
        findings[folder] = Finding("OSR900", folder, 1, 0, "", message, remedy)
        return []


def _relative(path: str, base: str) -> str:
    """``path`` below ``base`` with ``/``, as gitignore patterns see it. Cheaper than ``os.path.relpath``."""
    return path[len(base.rstrip(os.sep)) + 1 :].replace(os.sep, "/")


# --- what git ignores ----------------------------------------------------------------------------


def _not_ignored(entries: list[_Entry], top: str, base: str) -> list[str]:
    """The paths of ``entries`` that git does not ignore.

    In a work tree git itself is asked (5 ms; it also knows the user's own excludes); else, or where git is missing or
    refuses (another owner's tree), the ``.gitignore`` files from ``base`` downwards are read.
    """
    if not entries:
        return []
    listed = _git_files(top) if _in_work_tree(top) else None
    if listed is not None:
        return [entry.path for entry in entries if entry.odd or _relative(entry.path, top) in listed]
    ignored = _ignored_by_files([_relative(entry.path, base) for entry in entries], base)
    return [entry.path for entry in entries if _relative(entry.path, base) not in ignored]


def _in_work_tree(folder: str) -> bool:
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return True


def _git_files(folder: str) -> frozenset[str] | None:
    """Tracked and untracked files below ``folder`` that git does not ignore, relative to it; None: git cannot tell."""
    import subprocess

    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = [*_GIT, "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        run = subprocess.run(
            command,
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


def _ignored_by_files(relatives: list[str], base: str) -> frozenset[str]:
    """Those of ``relatives`` that the ``.gitignore`` files between ``base`` and them ignore."""
    folders = {""}
    for relative in relatives:
        parts = relative.split("/")[:-1]
        folders.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
    rules = {folder: lines for folder in folders if (lines := _ignore_lines(os.path.join(base, folder)))}
    names = {name for relative in relatives for name in relative.split("/")}
    if not any(_could_match(line, names) for lines in rules.values() for line in lines):
        return frozenset()
    specs = {folder: _pathspec(lines) for folder, lines in rules.items()}
    return frozenset(relative for relative in relatives if _is_ignored(relative, specs))


def _ignore_lines(folder: str) -> list[str]:
    try:
        data = read_bytes(os.path.join(folder, ".gitignore"))
    except Unreadable:
        return []
    return data.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()


def _could_match(line: str, names: set[str]) -> bool:
    """False only where a ``.gitignore`` line can match no path made of ``names``: spares the import of pathspec."""
    segment = line.strip().rstrip("/").rpartition("/")[2]
    if not segment or line.startswith(("#", "!")):
        return False  # a comment, or a line that only ever takes back
    if not set(segment) & set("*?[\\"):
        return segment in names
    suffix = segment[1:]
    if segment[0] == "*" and not set(suffix) & set("*?[\\"):
        return any(name.endswith(suffix) for name in names)
    if "[^" in segment or "\\" in segment:
        return True
    import fnmatch

    return any(fnmatch.fnmatchcase(name, segment) for name in names)


def _is_ignored(relative: str, specs: dict[str, Callable[[str], bool | None]]) -> bool:
    """gitignore(5): a file in an ignored folder is ignored; else the deepest ``.gitignore`` that speaks decides."""
    parts = relative.split("/")
    for depth in range(1, len(parts) + 1):
        path = "/".join(parts[:depth]) + ("/" if depth < len(parts) else "")
        for level in range(depth - 1, -1, -1):
            folder = "/".join(parts[:level])
            spec = specs.get(folder)
            answer = None if spec is None else spec(path[len(folder) + 1 :] if folder else path)
            if answer is not None:
                if answer:
                    return True
                break
    return False
