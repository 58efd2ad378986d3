"""``python -m rewriter`` is the command."""

from rewriter.cli import main

if __name__ == "__main__":
    main(prog_name="opensora-rewriter")
