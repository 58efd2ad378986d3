"""Names that the tests of the command line share."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Checkout = Callable[[str], Path]
Run = Callable[..., Result]
TAGS = ("v1.0", "v1.1", "v1.2", "v1.3")
SAMPLE = "configs/opensora-v1-2/inference/sample.py"
REPOSITORY = Path(__file__).resolve().parents[2]


def contents(root: Path) -> dict[str, bytes]:
    """Every file below ``root``."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def everything(cache: str | Path) -> tuple[str, ...]:
    """Options for all configs and one cache."""
    return ("--all-configs", "--cache-dir", str(cache))


def remedies(output: str) -> list[str]:
    """The commands that a report gives."""
    return [line.removeprefix("    -> ") for line in output.splitlines() if line.startswith("    -> ")]


def shell(root: Path, words: str) -> tuple[int, str]:
    """The exit code of the command under a shell, and its standard error."""
    script = f"exec {shlex.quote(sys.executable)} -m rewriter {words}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, cwd=root)
    return done.returncode, done.stderr
