"""What a run prints and writes beside the configs: errors, warnings, progress, reports, locks."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, NoReturn

import click

from rewriter.files import Unreadable, read_bytes
from rewriter.model import FileEdit
from rewriter.words import printable

FOUND = 1
"""Exit code: findings."""


class Failure(click.ClickException):
    """Ends the run with exit code 2: what went wrong, and what to do."""

    exit_code = 2

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on standard error, if that takes anything."""
        with suppress(OSError):
            _print_labelled("error: ", "red", self.message, self.remedy)


def fail(message: str, remedy: str = "") -> NoReturn:
    """End the run with exit code 2."""
    raise Failure(message, remedy) from None


def warn(message: str, remedy: str = "") -> None:
    """A warning on standard error, at once."""
    _print_labelled("warning: ", "yellow", message, remedy)


def _print_labelled(label: str, color: str, message: str, remedy: str) -> None:
    click.echo(click.style(label, fg=color, bold=True) + printable(message), err=True)
    if remedy:
        click.echo("  " + printable(remedy), err=True)


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print many lines at once: an ``echo`` each flushes each."""
    text = "\n".join(lines)
    if text:
        click.echo(text, err=err)


def write_text(path: str, text: str) -> bool:
    """Write a report or lock, whole or not at all; False where the file has this text already. Raises Failure."""
    from rewriter.edit import write

    path, new = os.path.abspath(path), text.encode("utf-8", "backslashreplace")
    try:
        if not os.path.exists(path):
            open(path, "xb").close()
        old = read_bytes(path)
        write.commit((FileEdit(path, old, new),))
    except (OSError, Unreadable, write.WriteError) as error:
        fail(f"{path} cannot be written: {error.strerror if isinstance(error, OSError) else error}")
    return old != new


# --- progress ------------------------------------------------------------------------------------


@contextmanager
def bar(label: str, *, unit: str = "bytes", quiet: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """A callback ``(done, total)`` that draws on standard error, or None where that is no terminal.

    ``unit``: "bytes" shows sizes and a rate; anything else counts.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich
    from rich.console import Console

    counts = (rich.DownloadColumn(), rich.TransferSpeedColumn()) if unit == "bytes" else (rich.MofNCompleteColumn(),)
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), *counts, rich.TimeRemainingColumn())
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task(label, total=None)
        yield lambda done, total: drawn.update(task, completed=done, total=total)


@contextmanager
def counter(label: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """A callback for one more of ``total`` things done."""
    done = itertools.count(1)
    with bar(label, unit="files", quiet=quiet) as tick:
        yield lambda: tick(next(done), total) if tick is not None else None
