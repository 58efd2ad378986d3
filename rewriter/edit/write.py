"""Write all files of a run, or none: staged beside their targets, then renamed over them, sources before configs.

The guarantee, for a stop at any point (``kill -9``, power cut, full disk): every file is the old one or the new one,
whole; no config is new while a loader source of the same run is still old. As a parameter ``cache_dir=None`` changes
nothing by itself, such a checkout still builds.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from rewriter.files import LIMIT, Unreadable, read_bytes
from rewriter.model import FileEdit

LOCK_SECONDS = 30.0

_ORDER = ("source", "script", "config")
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

    @property
    def folder(self) -> str:
        return os.path.dirname(self.target)


def commit(edits: Sequence[FileEdit], *, hook: Hook = lambda _step: None) -> None:
    """Write every edit, or none.

    Mode bits stay, the owner where the system permits; a link stays a link and its file is written; a file with other
    hard links is detached from them. Interrupts (Ctrl-C, SIGTERM) are held back: before the first rename they end the
    commit with nothing written, after it they wait until all is written; then they take their course.

    Args:
        edits: each file at most once (or twice with the same bytes, by two links); those that change nothing are passed
            over. That no link leads out of the checkout is checked by the caller.
        hook: called with the name of every step, for tests.

    Raises:
        WriteError: nothing was written (or, where a rename failed, what was written has been put back; the message
            names any file for which that failed too).
    """
    staged = _find_targets(edits)
    if not staged:
        return
    with held_signals() as interrupts, _lock_folders({file.folder for file in staged}):
        hook("locked")
        clean_leftovers(file.folder for file in staged)
        try:
            for file in staged:
                _stage(file, file.edit.new)
                hook(f"staged {file.target}")
            for file in staged:
                _check_unchanged(file)
            hook("checked")
            if interrupts:
                raise WriteError(staged[0].edit.path, "interrupted; nothing was written")
            _rename_all(staged, hook)
        finally:
            for file in staged:
                if file.temporary is not None:
                    with suppress(OSError):
                        os.unlink(file.temporary)
        hook("done")


def clean_leftovers(folders: Iterable[str]) -> list[str]:
    """Remove what runs that were killed left staged in ``folders``; the sorted paths of what was removed.

    Staged files of a process that is running are left alone.
    """
    removed = []
    for folder in set(folders):
        with suppress(OSError):
            for name in os.listdir(folder):
                match = _LEFTOVER.fullmatch(name)
                if match is not None and not _is_running(int(match[1])):
                    os.unlink(os.path.join(folder, name))
                    removed.append(os.path.join(folder, name))
    return sorted(removed)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # pragma: no cover - Windows, where os.kill would end it
        return process == os.getpid()
    try:
        os.kill(process, 0)
    except PermissionError:
        return True  # another user's
    except (OSError, OverflowError):
        return False
    return True


# --- before the first rename ---------------------------------------------------------------------


def _find_targets(edits: Sequence[FileEdit]) -> list[_Staged]:
    """The edits that change something, sources first, each real file once."""
    by_target: dict[str, _Staged] = {}
    for edit in sorted(edits, key=lambda edit: (_ORDER.index(edit.kind), edit.path)):
        if edit.new != edit.old:
            target = os.path.realpath(edit.path)
            other = by_target.setdefault(target, _Staged(edit, target)).edit
            if (other.old, other.new) != (edit.old, edit.new):
                message = f"the same file as {other.path}, with another edit; nothing was written"
                raise WriteError(edit.path, message)
    return list(by_target.values())


def _stage(file: _Staged, data: bytes) -> None:
    """Write ``data`` beside the target, with its mode and owner, and onto the disk before any name points to it."""
    if not os.access(file.target, os.W_OK) and os.path.exists(file.target):
        raise WriteError(file.edit.path, "cannot be written: no write permission; nothing was written")
    try:
        status = os.stat(file.target)
        # Short enough for any file system, hidden, and no suffix that anything imports or checks.
        name = f".{os.path.basename(file.target)[:40]}.opensora-rewriter-{os.getpid()}-{os.urandom(4).hex()}.tmp"
        temporary = os.path.join(file.folder, name)
        with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
            file.temporary = temporary
            stream.write(data)
            stream.flush()
            if hasattr(os, "chown"):  # pragma: no branch - Windows has none
                with suppress(OSError):  # only root gives files away
                    os.chown(temporary, status.st_uid, status.st_gid)
            os.chmod(temporary, status.st_mode & 0o7777)  # last: a change of owner clears set-id bits
            os.fsync(stream.fileno())
    except OSError as error:
        raise WriteError(file.edit.path, f"cannot be written: {error.strerror}; nothing was written") from None


def _check_unchanged(file: _Staged) -> None:
    try:
        same = read_bytes(file.target, max(LIMIT, len(file.edit.old))) == file.edit.old
    except Unreadable as problem:
        raise WriteError(file.edit.path, f"{problem.message}; nothing was written") from None
    if not same or os.path.realpath(file.edit.path) != file.target:  # or a link leads elsewhere now
        raise WriteError(file.edit.path, "changed by another program meanwhile; nothing was written, run again")


# --- the renames ---------------------------------------------------------------------------------


def _rename_all(staged: Sequence[_Staged], hook: Hook) -> None:
    """Sources, then configs; the sources' new names are on the disk before a config's can be."""
    done: list[_Staged] = []
    try:
        for kind in _ORDER:
            files = [file for file in staged if file.edit.kind == kind]
            for file in files:
                hook(f"renaming {file.target}")
                _rename(file)
                done.append(file)
                hook(f"renamed {file.target}")
            _sync_folders({file.folder for file in files})
    except BaseException as error:
        failed = next((file for file in staged if file.temporary is not None), staged[-1])
        kept = _put_back(done)
        state = "nothing was written" if not kept else "written, and could not be put back: " + ", ".join(kept)
        if isinstance(error, OSError):
            raise WriteError(failed.edit.path, f"cannot be replaced: {error.strerror}; {state}") from None
        raise


def _rename(file: _Staged) -> None:
    assert file.temporary is not None
    os.replace(file.temporary, file.target)
    file.temporary = None


def _put_back(done: Sequence[_Staged]) -> list[str]:
    """Give renamed files their old bytes again, configs first; the paths of those that stay new.

    Where a config stays new, so do the sources: that checkout builds, the other way round it might not.
    """
    kept: list[_Staged] = []
    for file in reversed(done):
        needed = file.edit.kind == "source" and any(other.edit.kind != "source" for other in kept)
        try:
            # What another program wrote since stays.
            if needed or read_bytes(file.target, max(LIMIT, len(file.edit.new))) != file.edit.new:
                kept.append(file)
                continue
            _stage(file, file.edit.old)
            _rename(file)
        except (OSError, WriteError, Unreadable):
            kept.append(file)
    _sync_folders({file.folder for file in done})
    return [file.edit.path for file in kept]


def _sync_folders(folders: Iterable[str]) -> None:
    for folder in folders:
        with suppress(OSError):  # Windows opens no folder, and some network file systems sync none
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


# --- other runs, and signals -----------------------------------------------------------------------


@contextmanager
def _lock_folders(folders: Iterable[str]) -> Iterator[None]:
    """Hold the folders against other runs. The lock is on the folder itself, so it leaves nothing behind.

    Raises:
        WriteError: another run holds one for more than ``LOCK_SECONDS``.
    """
    descriptors: list[int] = []
    try:
        for folder in sorted(folders):  # in one order everywhere, or two runs could wait for each other
            with suppress(OSError, ImportError):  # a file system without locks, a folder that may not be read, Windows
                import fcntl

                descriptors.append(os.open(folder, os.O_RDONLY))
                deadline = time.monotonic() + LOCK_SECONDS
                while True:
                    try:
                        fcntl.flock(descriptors[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        if time.monotonic() >= deadline:
                            message = "another run of opensora-rewriter is writing here; nothing was written"
                            raise WriteError(folder, message) from None
                        time.sleep(0.02)
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextmanager
def held_signals() -> Iterator[list[int]]:
    """Collect interrupts instead of obeying them; on the way out they are raised again, for their own handlers.

    What is taken out of the list is not raised; a handler that is set meanwhile stays; may be nested.
    Python lets only the main thread set handlers; elsewhere signals arrive in the main thread and disturb nothing here.
    """
    caught: list[int] = []
    previous: dict[int, Any] = {}

    def note(number: int, _frame: FrameType | None) -> None:
        caught.append(number)

    try:
        if threading.current_thread() is threading.main_thread():
            for number in {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGINT)}:
                # None: a handler that Python did not set; an ignored signal (nohup) stays ignored
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    previous[number] = signal.signal(number, note)
        yield caught
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
        for number in dict.fromkeys(caught):
            signal.raise_signal(number)
