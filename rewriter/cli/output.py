"""What a run prints and writes beside the configs: errors, warnings, reports, locks."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO, Any, NoReturn

import click

from rewriter.model import FileEdit
from rewriter.words import printable

FOUND = 1
"""Exit code: findings."""
FAILED = 2
"""Exit code: wrong usage or a failure of the run itself."""


class UnwrittenError(click.ClickException):
    """A report or lock that cannot be written; it ends the run with exit code 2, unless the files were written."""

    exit_code = FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        print_error(self.message)


def fail(message: str, remedy: str = "") -> NoReturn:
    """End the run with exit code 2: what went wrong, and what to do."""
    print_error(message, remedy)
    raise SystemExit(FAILED)


def print_error(message: str, remedy: str = "") -> None:
    """What went wrong, on standard error."""
    with suppress(OSError):  # standard error is closed too
        _print_labelled("error: ", "red", message, remedy)


def warn(message: str, remedy: str = "") -> None:
    """A warning on standard error, at once."""
    _print_labelled("warning: ", "yellow", message, remedy)


def _print_labelled(label: str, color: str, message: str, remedy: str) -> None:
    click.echo(click.style(label, fg=color, bold=True) + printable(message), err=True)
    if remedy:
        click.echo("  " + printable(remedy), err=True)


def is_unwritable(error: OSError) -> bool:
    """Whether a standard stream takes no more: a full disk, or one that was closed."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EBADF) and error.filename is None


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print many lines, some hundreds at a time: an ``echo`` each flushes each."""
    rest = iter(lines)
    while block := list(islice(rest, 500)):
        click.echo("\n".join(block), err=err)


def write_bytes(data: bytes) -> None:
    """Bytes to standard output."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def expect_writable(path: str) -> None:
    """End the run before it does anything, where its report could not be written in the end."""
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        reason = os.strerror(errno.EISDIR)
    elif not os.path.isdir(folder):
        reason = os.strerror(errno.ENOENT)
    elif not os.access(folder, os.W_OK):
        reason = os.strerror(errno.EACCES)
    elif os.path.exists(path) and not os.path.isfile(path):
        fail(f"{path} cannot be written: it is no regular file", "redirect standard output, without --output-file")
    else:
        return
    fail(f"{path} cannot be written: {reason}")


def protect_files(output_file: str, files: Iterable[str], folders: Sequence[str]) -> None:
    """End the run where its report would replace one of ``files``, or a ``*.py`` below one of ``folders``."""
    if not os.path.exists(output_file):
        return
    real = os.path.realpath(output_file)
    real_folders = [os.path.realpath(folder).rstrip(os.sep) + os.sep for folder in folders]
    inside = real.endswith(".py") and any(real.startswith(folder) for folder in real_folders)
    if inside or any(os.path.realpath(path) == real for path in files):
        fail(f"{output_file} is a config or a loader, which a report would replace", "name another --output-file")


def write_text(path: str, text: str) -> bool:
    """Write a report or lock, whole or not at all; False where the file has this text already.

    Raises:
        UnwrittenError: nothing was written.
    """
    from rewriter.checkout import open_regular
    from rewriter.edit import write

    new = text.encode("utf-8", "backslashreplace")
    try:
        try:
            with open_regular(path) as file:
                old = file.read()
        except FileNotFoundError:
            with open(path, "xb") as file:
                file.write(new)
            return True
        if old != new:
            write.commit((FileEdit(path, old, new),))
    except OSError as error:
        raise UnwrittenError(f"{path} cannot be written: {error.strerror or error}") from None
    except write.WriteError as error:
        raise UnwrittenError(str(error)) from None
    return old != new
