"""Progress is drawn on a terminal and leaves nothing behind; elsewhere nothing is drawn."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr

import pytest

from rewriter.cli import output


class Terminal(io.StringIO):
    """Keeps all that is drawn, as a terminal would be sent it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 100 columns."""
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100"), ("LINES", "25")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def test_files_are_counted_and_the_bar_is_gone_in_the_end(terminal: Terminal) -> None:
    with redirect_stderr(terminal), output.counter("reading", 3) as tick:
        tick()
        tick()
    assert re.search(r"reading .* 67% ", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()))
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is cleared
    drawn = terminal.getvalue()
    with redirect_stderr(terminal), output.counter("reading", 3, quiet=True) as tick:
        tick()
    assert terminal.getvalue() == drawn
