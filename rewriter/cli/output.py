"""What a run prints and writes beside the configs: errors, warnings, progress, reports, locks."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, NoReturn

import click

from rewriter.files import Unreadable, read_bytes
from rewriter.model import FileEdit
from rewriter.words import printable

FOUND = 1  # exit code: findings


class Failure(click.ClickException):
    """Ends the run with exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on standard error, if that takes anything."""
        with suppress(OSError):
            click.echo(click.style("error: ", fg="red", bold=True) + self.message, err=True)


def fail(message: str, remedy: str = "") -> NoReturn:
    """End the run with exit code 2: what went wrong, and what to do."""
    raise Failure(_join(message, remedy)) from None


def warn(message: str, remedy: str = "") -> None:
    """A warning on standard error, at once."""
    click.echo(click.style("warning: ", fg="yellow", bold=True) + _join(message, remedy), err=True)


def _join(message: str, remedy: str) -> str:
    return "\n  ".join(printable(each) for each in (message, remedy) if each)


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print many lines at once: an ``echo`` each flushes each."""
    if text := "\n".join(lines):
        click.echo(text, err=err)


def write_text(path: str, text: str) -> bool:
    """Write a report or lock, whole or not at all; False where the file has this text already. Raises Failure."""
    from rewriter.edit import write

    new = text.encode("utf-8", "backslashreplace")
    try:
        open(path, "ab").close()  # it need not be there yet
        old = read_bytes(path)
        write.commit((FileEdit(path, old, new),))
    except (OSError, Unreadable, write.WriteError) as error:
        fail(f"{path} cannot be written: {error}")
    return old != new


@contextmanager
def bar(label: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """A callback ``(done, total)`` that draws on standard error, or None where that is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task(label, total=None)
        yield lambda done, total: drawn.update(task, completed=done, total=total)


@contextmanager
def counter(label: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """A callback for one more of ``total`` things done."""
    done = itertools.count(1)
    with bar(label, quiet=quiet) as tick:
        yield lambda: tick(next(done), total) if tick is not None else None
