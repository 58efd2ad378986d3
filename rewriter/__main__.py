"""``python -m rewriter`` is the command."""

import sys
from contextlib import suppress

from rewriter.cli import main


def run() -> None:
    """Run the command as a process of its own."""
    try:
        main(prog_name="opensora-rewriter")
    except SystemExit:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, AttributeError):  # what it did not take was said; left to Python, the code is 120
                stream.close()
        raise


if __name__ == "__main__":
    run()
