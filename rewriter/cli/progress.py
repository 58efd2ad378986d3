"""A progress bar on a terminal once something takes long; nothing in a pipe, and rich is imported only to draw."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

PATIENCE = 0.5
"""Seconds before anything is drawn."""

Tick = Callable[[int, int], None]


@contextmanager
def bar(label: str, *, unit: str = "bytes", quiet: bool = False) -> Iterator[Tick | None]:
    """A callback ``(done, total)`` that draws on standard error, or None where nothing is to be drawn.

    ``unit``: "bytes" shows sizes and a rate; anything else counts.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    start = time.monotonic()
    draw: Tick | None = None
    with ExitStack() as stack:

        def tick(done: int, total: int) -> None:
            nonlocal draw
            if draw is None and time.monotonic() - start >= PATIENCE:
                draw = _start_bar(stack, label, unit)
            if draw is not None:
                draw(done, total)

        yield tick


def _start_bar(stack: ExitStack, label: str, unit: str) -> Tick:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Rate

    columns = (DownloadColumn(), Rate()) if unit == "bytes" else (MofNCompleteColumn(),)
    progress = stack.enter_context(
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *columns,
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
    )
    task = progress.add_task(label, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def counter(label: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """A callback for one more of ``total`` things done."""
    with bar(label, unit="files", quiet=quiet) as tick:
        done = 0

        def one_more() -> None:
            nonlocal done
            done += 1
            if tick is not None:
                tick(done, total)

        yield one_more
