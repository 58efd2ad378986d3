"""``python -m rewriter`` is the command."""

import atexit
import os
import sys
from contextlib import suppress

from rewriter.cli import main


def stand_in() -> None:
    """Put something in the place of standard streams that were closed, of which Python makes None.

    What is printed cannot be written then, as on a full disk; what is said beside it goes nowhere. And no file that is
    opened later gets a number that other programs take for a standard stream.
    """
    for name, flags, mode in ("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8"))


def run() -> None:
    """Be the command as a process of its own, which ends at once: Python would take every object apart first."""
    stand_in()
    try:
        main(prog_name="opensora-rewriter")
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        for end in (sys.stdout.flush, sys.stderr.flush, atexit._run_exitfuncs):
            with suppress(OSError, KeyboardInterrupt):  # what cannot be written has been told; and it is too late
                end()
        os._exit(ended.code)


if __name__ == "__main__":
    run()
