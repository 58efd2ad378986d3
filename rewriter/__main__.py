"""``python -m rewriter`` is the command."""

import os
import sys
from contextlib import suppress

from rewriter.cli import main


def replace_closed_streams() -> None:
    """Put something in the place of standard streams that were closed, which Python sets to None.

    Output then fails as on a full disk. And no file that is opened later gets a number that other programs take for
    a standard stream.
    """
    for name, flags, mode in ("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8"))


def run() -> None:
    """Run the command as a process of its own."""
    replace_closed_streams()
    try:
        main(prog_name="opensora-rewriter")
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # it has been reported; left open, Python would exit with 120
                stream.flush()
                continue
            with suppress(OSError):
                stream.close()


if __name__ == "__main__":
    run()
