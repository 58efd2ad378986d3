"""Write all files of a run, or none: staged beside their targets, then renamed over them, sources before configs.

The guarantee, for a stop at any point (``kill -9``, power cut, full disk): every file is the old one or the new one,
whole; no config is new while a loader source of the same run is still old. As a parameter ``cache_dir=None`` changes
nothing by itself, such a checkout still builds.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rewriter.files import LIMIT, Unreadable, read_bytes
from rewriter.model import FileEdit

_ORDER = ("source", "script", "config")
_LEFTOVER = re.compile(r"\..*\.opensora-rewriter-(\d+)-[0-9a-f]{8}\.tmp", re.DOTALL)
_LOCK_TRIES, _LOCK_PAUSE = 1500, 0.02


class WriteError(Exception):
    """Not written: the message names the file at fault, why, and what holds now."""

    def __init__(self, path: str, message: str, state: str = "nothing was written") -> None:
        super().__init__(f"{path}: {message}; {state}")


@dataclass(slots=True)
class _Staged:
    """An edit under way. ``target``: the real file, behind any link. ``temporary``: the staged one, until renamed."""

    edit: FileEdit
    target: str
    folder: str
    temporary: str = ""

    def holds(self, data: bytes) -> bool:
        with suppress(Unreadable):
            return read_bytes(self.target, max(LIMIT, len(data))) == data
        return False

    def stage(self, data: bytes) -> None:
        """Write beside the target, with its mode and owner, and onto the disk before any name points to it."""
        try:
            status = os.stat(self.target)
            if not os.access(self.target, os.W_OK):
                raise WriteError(self.edit.path, "cannot be written: no write permission")
            # Short enough for any file system, hidden, and no suffix that anything imports or checks.
            name = f".{os.path.basename(self.target)[:40]}.opensora-rewriter-{os.getpid()}-{os.urandom(4).hex()}.tmp"
            temporary = os.path.join(self.folder, name)
            with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
                self.temporary = temporary
                stream.write(data)
                stream.flush()
                with suppress(OSError):  # only root gives files away
                    os.chown(temporary, status.st_uid, status.st_gid)
                os.chmod(temporary, status.st_mode & 0o7777)  # last: a change of owner clears set-id bits
                os.fsync(stream.fileno())
        except OSError as error:
            raise WriteError(self.edit.path, f"cannot be written: {error.strerror}") from None

    def rename(self) -> None:
        os.replace(self.temporary, self.target)
        self.temporary = ""


def commit(edits: Sequence[FileEdit], *, hook: Callable[[str], None] = lambda _step: None) -> None:
    """Write every edit, or none; those that change nothing are passed over. ``hook`` hears the name of every step.

    Mode bits stay, the owner where the system permits; a link stays a link (that none leads out of the checkout is
    checked by the caller); other hard links are detached. Ctrl-C and SIGTERM are held back: before the first rename
    they end the commit with nothing written, after it they wait until all is written; then they take their course.

    Raises WriteError: nothing was written; or, where a rename failed, all was put back but for the files it names.
    """
    staged = _find_targets(edits)
    if not staged:
        return
    with held_signals() as interrupts, _lock_folders({file.folder for file in staged}) as folders:
        hook("locked")
        clean_leftovers(file.folder for file in staged)
        try:
            for file in staged:
                file.stage(file.edit.new)
                hook(f"staged {file.target}")
            for file in staged:  # a link may lead elsewhere now
                if not file.holds(file.edit.old) or os.path.realpath(file.edit.path) != file.target:
                    raise WriteError(file.edit.path, "changed by another program meanwhile, run again")
            hook("checked")
            if interrupts:
                raise WriteError(staged[0].edit.path, "interrupted")
            _rename_all(staged, folders, hook)
        finally:
            for file in staged:
                with suppress(OSError):
                    os.unlink(file.temporary)
        hook("done")


def clean_leftovers(folders: Iterable[str]) -> None:
    """Remove what runs that were killed left staged in ``folders``; what a running process staged is left alone."""
    for folder in set(folders):
        with suppress(OSError):
            for name in os.listdir(folder):
                if (match := _LEFTOVER.fullmatch(name)) and not _is_running(int(match[1])):
                    os.unlink(os.path.join(folder, name))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, PermissionError)  # another user's
    return True


def _find_targets(edits: Sequence[FileEdit]) -> list[_Staged]:
    """The edits that change something, sources first, each real file once."""
    by_target: dict[str, _Staged] = {}
    for edit in sorted(edits, key=lambda edit: (_ORDER.index(edit.kind), edit.path)):
        if edit.new != edit.old:
            target = os.path.realpath(edit.path)
            other = by_target.setdefault(target, _Staged(edit, target, os.path.dirname(target))).edit
            if (other.old, other.new) != (edit.old, edit.new):
                raise WriteError(edit.path, f"the same file as {other.path}, with another edit")
    return list(by_target.values())


def _rename_all(staged: Sequence[_Staged], folders: Mapping[str, int], hook: Callable[[str], None]) -> None:
    """Sources, then configs; the sources' new names are on the disk before a config's can be."""
    done: list[_Staged] = []
    try:
        for kind in _ORDER:
            files = [file for file in staged if file.edit.kind == kind]
            for file in files:
                hook(f"renaming {file.target}")
                file.rename()
                done.append(file)
                hook(f"renamed {file.target}")
            _sync(files, folders)
    except OSError as error:
        kept = _put_back(done)
        _sync(done, folders)
        failed = next(file for file in staged if file.temporary)
        state = f"written, and could not be put back: {', '.join(kept)}" if kept else "nothing was written"
        raise WriteError(failed.edit.path, f"cannot be replaced: {error.strerror}", state) from None


def _put_back(done: Sequence[_Staged]) -> list[str]:
    """Give renamed files their old bytes again, configs first; the paths of those that stay new.

    The first that cannot be put back ends it: where a config stays new, so do the sources that it needs.
    """
    kept = [file.edit.path for file in done]
    with suppress(OSError, WriteError):
        for file in reversed(done):
            if not file.holds(file.edit.new):
                break  # what another program wrote since stays
            file.stage(file.edit.old)
            file.rename()
            kept.pop()
    return kept


def _sync(files: Iterable[_Staged], folders: Mapping[str, int]) -> None:
    for folder in {file.folder for file in files} & folders.keys():
        with suppress(OSError):  # some network file systems sync no folder
            os.fsync(folders[folder])


@contextmanager
def _lock_folders(folders: Iterable[str]) -> Iterator[Mapping[str, int]]:
    """Hold the folders against other runs; their descriptors. The locks are on themselves, so nothing is left behind.

    WriteError where another run holds one for half a minute.
    """
    descriptors: dict[str, int] = {}
    with ExitStack() as stack:
        for folder in sorted(folders):  # in one order everywhere, or two runs could wait for each other
            with suppress(OSError):  # a file system without locks, a folder that may not be read
                descriptors[folder] = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptors[folder])
                for _ in range(_LOCK_TRIES):
                    with suppress(BlockingIOError):
                        fcntl.flock(descriptors[folder], fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    time.sleep(_LOCK_PAUSE)
                else:
                    raise WriteError(folder, "another run of opensora-rewriter is writing here")
        yield descriptors


@contextmanager
def held_signals() -> Iterator[list[int]]:
    """Collect interrupts instead of obeying them; on the way out they are raised again, for their own handlers.

    What is taken out of the list is not raised. May be nested; for the main thread only.
    """
    caught: list[int] = []
    previous: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # None: a handler that Python did not set; an ignored signal (nohup) stays ignored
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                previous[number] = signal.signal(number, lambda caught_number, _frame: caught.append(caught_number))
        yield caught
    finally:
        for held, handler in previous.items():
            signal.signal(held, handler)
        for arrived in dict.fromkeys(caught):
            signal.raise_signal(arrived)
