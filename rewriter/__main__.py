"""``python -m rewriter`` is the command."""

import atexit
import os
import sys

from rewriter.cli import main


def run() -> None:
    """Be the command as a process of its own, which ends at once: Python would take every object apart first."""
    try:
        main(prog_name="opensora-rewriter")
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            atexit._run_exitfuncs()
        except OSError:  # nobody reads any more: Python's own end deals with that
            raise ended from None
        except KeyboardInterrupt:  # too late
            pass
        os._exit(ended.code)


if __name__ == "__main__":
    run()
