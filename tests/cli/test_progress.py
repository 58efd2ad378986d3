"""Progress is drawn on a terminal, once something takes long, and leaves nothing behind; elsewhere nothing is drawn."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from contextlib import redirect_stderr

import pytest

from rewriter.cli import progress


class Terminal(io.StringIO):
    """Keeps all that is drawn, as a terminal would be sent it."""

    def isatty(self) -> bool:
        return True

    @property
    def words(self) -> str:
        """What a person reads of it."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 100 columns, before which nobody is patient."""
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100"), ("LINES", "25")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    return Terminal()


def test_files_are_counted_and_the_bar_is_gone_in_the_end(terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress.counter("reading", 3) as tick:
        tick()
        tick()
    assert re.search(r"reading .* 2/3 ", terminal.words)
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is cleared


def test_quiet_draws_nothing(terminal: Terminal) -> None:
    with (
        redirect_stderr(terminal),
        progress.bar("hashing", quiet=True) as tick,
        progress.counter("reading", 3, quiet=True) as one_more,
    ):
        assert tick is None
        one_more()
    assert terminal.getvalue() == ""


def test_in_a_pipe_nothing_is_drawn_and_nothing_imported_to_draw() -> None:
    code = (
        "import sys; from rewriter.cli import progress; progress.PATIENCE = 0\n"
        "with progress.counter('reading', 1) as tick: tick()\n"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
