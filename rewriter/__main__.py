"""``python -m rewriter`` is the command."""

import os
import sys
from contextlib import suppress

from rewriter.cli import main


def run() -> None:
    """Run the command as a process of its own."""
    # A standard stream that was closed is None in Python. Then output is to fail as on a full disk, and no file that
    # is opened later may get a number that other programs take for a standard stream.
    for name, flags, mode in ("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8"))
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
