"""All files of a run, or none: staged beside their targets, then renamed over them, loader sources before configs.

The guarantee, for a stop at any point (``kill -9``, power cut, full disk): every file is the old one or the new one,
whole; no config is new while a loader source of the same run is still old. As a parameter ``cache_dir=None`` changes
nothing by itself, such a checkout still builds.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any

from rewriter.checkout import LIMIT, Unreadable, find_root, read_bytes
from rewriter.types import FileEdit

LOCK_SECONDS = 30.0
MANY_FILES = 64
"""From here on one ``os.sync`` is cheaper than an ``fsync`` for each file (ext4: 0.05 s against 0.5 s for 1,000)."""

_LEFTOVER = re.compile(r"\..*\.opensora-rewriter-(\d+)-[0-9a-f]{8}\.tmp", re.DOTALL)

Hook = Callable[[str], None]


class WriteError(Exception):
    """Not written. ``path`` is the file at fault; ``message`` says why, and what holds now."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@dataclass(slots=True)
class _Staged:
    """An edit under way. ``target`` is the real file, behind any link; ``temporary`` the staged one, until renamed."""

    edit: FileEdit
    target: str
    temporary: str | None = None


def commit(edits: Sequence[FileEdit], *, hook: Hook | None = None) -> None:
    """Write every edit, or none.

    Mode bits stay, the owner where the system permits; a link stays a link and its file is written; a file with other
    hard links is detached from them. Interrupts (Ctrl-C, SIGTERM) are held back: before the first rename they end the
    commit with nothing written, after it they wait until all is written; then they take their course.

    Args:
        edits: each file at most once (or twice with the same bytes, by two links); those that change nothing are passed
            over.
        hook: called with the name of every step, for tests.

    Raises:
        WriteError: nothing was written (or, where a rename failed, what was written has been put back; the message
            names any file for which that failed too).
    """
    step = hook or _no_hook
    staged = _targets(edits)
    if not staged:
        return
    with held_signals() as interrupted, _locked({find_root(_folder(file)) or _folder(file) for file in staged}):
        step("locked")
        clean_leftovers({_folder(file) for file in staged})
        try:
            for file in staged:
                _stage(file, file.edit.new)
                step(f"staged {file.target}")
                _stop_if(interrupted, file)
            _make_durable(staged)
            for file in staged:
                _check_unchanged(file)
            step("checked")
            _stop_if(interrupted, staged[0])
            _rename_all(staged, step)
        finally:
            for file in staged:
                _discard(file)
        step("done")


def clean_leftovers(folders: Iterable[str]) -> list[str]:
    """Remove what runs that were killed left staged in ``folders``; the sorted paths of what was removed.

    Staged files of a process that lives are left alone.
    """
    removed = []
    for folder in sorted(set(folders)):
        try:
            with os.scandir(folder) as entries:
                found = [(entry.path, match[1]) for entry in entries if (match := _LEFTOVER.fullmatch(entry.name))]
        except OSError:
            continue
        for path, process in found:
            if not lives(int(process)) and not os.path.isdir(path):
                with suppress(OSError):
                    os.unlink(path)
                    removed.append(path)
    return sorted(removed)


def lives(process: int) -> bool:
    """Whether a process of this number runs, whoever's it is."""
    if os.name == "nt":  # pragma: no cover - Windows, where os.kill would end it
        return process == os.getpid()
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # another user's
    return True


# --- before the first rename ---------------------------------------------------------------------


def _no_hook(_step: str) -> None:
    pass


def _folder(file: _Staged) -> str:
    return os.path.dirname(file.target)


def _targets(edits: Sequence[FileEdit]) -> list[_Staged]:
    """The edits that change something, sources first, each real file once."""
    by_target: dict[str, _Staged] = {}
    folders: dict[str, str] = {}
    for edit in sorted(edits, key=lambda edit: (edit.kind != "source", edit.path)):
        if edit.new == edit.old:
            continue
        target = _real(edit.path, folders)
        other = by_target.setdefault(target, _Staged(edit, target))
        if (other.edit.old, other.edit.new) != (edit.old, edit.new):
            raise WriteError(edit.path, f"the same file as {other.edit.path}, with another edit; nothing was written")
    return list(by_target.values())


def _real(path: str, folders: dict[str, str]) -> str:
    """``os.path.realpath``, which asks for every part of a path; ``folders`` remembers those already asked for."""
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = os.path.split(os.path.abspath(path))
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return os.path.join(folders[folder], name)


def _stage(file: _Staged, data: bytes) -> None:
    """Write ``data`` beside the target, with its mode and owner."""
    try:
        about = os.stat(file.target)
        if not os.access(file.target, os.W_OK):
            raise PermissionError(errno.EACCES, "no write permission")
        folder, name = os.path.split(file.target)
        # Short enough for any file system, hidden, and no suffix that anything imports or checks.
        name = f".{name[:40]}.opensora-rewriter-{os.getpid()}-{os.urandom(4).hex()}.tmp"
        temporary = os.path.join(folder, name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o600)
        file.temporary = temporary
        try:
            _write_all(descriptor, data)
            _keep_owner_and_mode(descriptor, temporary, about)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise WriteError(file.edit.path, f"cannot be written: {error.strerror}; nothing was written") from None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _keep_owner_and_mode(descriptor: int, path: str, about: os.stat_result) -> None:
    if hasattr(os, "fchown"):  # pragma: no branch - Windows has none
        mine = os.fstat(descriptor)
        if (mine.st_uid, mine.st_gid) != (about.st_uid, about.st_gid):
            try:
                os.fchown(descriptor, about.st_uid, about.st_gid)
            except OSError:  # only root gives files away; the group may still be ours
                with suppress(OSError):
                    os.fchown(descriptor, -1, about.st_gid)
    os.chmod(path, about.st_mode & 0o7777)  # last: a change of owner clears set-id bits


def _make_durable(staged: Sequence[_Staged]) -> None:
    """The bytes reach the disk before any name points to them."""
    if len(staged) > MANY_FILES and sys.platform == "linux":  # elsewhere sync() does not wait
        os.sync()
        return
    for file in staged:
        assert file.temporary is not None
        try:
            descriptor = os.open(file.temporary, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except PermissionError:  # a mode that shuts out its own owner
            continue
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise WriteError(file.edit.path, f"cannot be written: {error.strerror}; nothing was written") from None
        finally:
            os.close(descriptor)


def _check_unchanged(file: _Staged) -> None:
    try:
        same = read_bytes(file.target, max(LIMIT, len(file.edit.old))) == file.edit.old
    except Unreadable as problem:
        raise WriteError(file.edit.path, f"{problem.message}; nothing was written") from None
    if not same or os.path.islink(file.target) or (os.path.islink(file.edit.path) and not _leads_there(file)):
        raise WriteError(file.edit.path, "changed by another program meanwhile; nothing was written, run again")


def _leads_there(file: _Staged) -> bool:
    return os.path.realpath(file.edit.path) == file.target


def _stop_if(interrupted: list[int], file: _Staged) -> None:
    if interrupted:
        raise WriteError(file.edit.path, "interrupted; nothing was written")


# --- the renames ---------------------------------------------------------------------------------


def _rename_all(staged: Sequence[_Staged], step: Hook) -> None:
    """Sources, then configs; the sources' new names are on the disk before a config's can be."""
    done: list[_Staged] = []
    try:
        for kind in ("source", "config"):
            files = [file for file in staged if file.edit.kind == kind]
            for file in files:
                step(f"renaming {file.target}")
                assert file.temporary is not None
                os.replace(file.temporary, file.target)
                file.temporary = None
                done.append(file)
                step(f"renamed {file.target}")
            _sync_folders({_folder(file) for file in files})
    except BaseException as error:
        failed = next((file for file in staged if file.temporary is not None), staged[-1])
        kept = _put_back(done)
        state = "nothing was written" if not kept else "written, and could not be put back: " + ", ".join(kept)
        if isinstance(error, OSError):
            raise WriteError(failed.edit.path, f"cannot be replaced: {error.strerror}; {state}") from None
        raise


def _put_back(done: Sequence[_Staged]) -> list[str]:
    """Give renamed files their old bytes again, configs first; the paths of those that stay new.

    Where a config stays new, so do the sources: that checkout builds, the other way round it might not.
    """
    kept: list[_Staged] = []
    for file in reversed(done):
        must_stay = file.edit.kind == "source" and any(other.edit.kind == "config" for other in kept)
        if must_stay or not _restored(file):
            kept.append(file)
    _sync_folders({_folder(file) for file in done})
    return [file.edit.path for file in kept]


def _restored(file: _Staged) -> bool:
    try:
        if read_bytes(file.target, max(LIMIT, len(file.edit.new))) != file.edit.new:
            return False  # another program wrote since: its bytes stay
        _stage(file, file.edit.old)
        _make_durable([file])
        assert file.temporary is not None
        os.replace(file.temporary, file.target)
    except (OSError, WriteError, Unreadable):
        return False
    file.temporary = None
    return True


def _discard(file: _Staged) -> None:
    if file.temporary is not None:
        with suppress(OSError):
            os.unlink(file.temporary)


def _sync_folders(folders: Iterable[str]) -> None:
    if os.name == "nt":  # pragma: no cover - Windows opens no folder
        return
    for folder in folders:
        with suppress(OSError):  # a folder that cannot be opened or synced (some network file systems) is no failure
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


# --- other runs, and signals -----------------------------------------------------------------------


@contextmanager
def _locked(folders: Iterable[str]) -> Iterator[None]:
    """Hold the folders against other runs. The lock is on the folder itself, so it leaves nothing behind.

    Raises:
        WriteError: another run holds one for more than ``LOCK_SECONDS``.
    """
    descriptors: list[int] = []
    try:
        for folder in sorted(folders):  # in one order everywhere, or two runs could wait for each other
            descriptor = _lock(folder)
            if descriptor is not None:
                descriptors.append(descriptor)
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _lock(folder: str) -> int | None:
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        while not _try_lock(fcntl, descriptor):
            if time.monotonic() >= deadline:
                message = "another run of opensora-rewriter is writing here; nothing was written"
                raise WriteError(folder, message)
            time.sleep(0.02)
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    except WriteError:
        os.close(descriptor)
        raise
    return descriptor


def _try_lock(fcntl: ModuleType, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def held_signals() -> Iterator[list[int]]:
    """Collect interrupts instead of obeying them; on the way out they are raised again, for their own handlers.

    What is taken out of the list is not raised; a handler that is set meanwhile stays; may be nested.
    Python lets only the main thread set handlers; elsewhere signals arrive in the main thread and disturb nothing here.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, _frame: FrameType | None) -> None:
        caught.append(number)

    previous: dict[int, Any] = {}
    try:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # None: a handler that Python did not set; an ignored signal (nohup) stays ignored
            if number is not None and signal.getsignal(number) not in (None, signal.SIG_IGN):
                previous[number] = signal.signal(number, note)
        yield caught
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
        for number in dict.fromkeys(caught):
            signal.raise_signal(number)
