"""A program that stands for an interpreter: it answers the tasks of levels load and build as a test has it answer."""

from __future__ import annotations

import sys
from pathlib import Path

from rewriter.process.probes.channel import MARK

ANSWERS = """\
#!{python}
import json, os, sys
def send(**message):
    os.write(1, {mark!r} + json.dumps(message).encode() + b"\\n")
send()
for line in sys.stdin:
    task = json.loads(line)
    {answer}
"""
# What both levels' probes answer where all is well.
WELL = {"status": "ok", "problems": [], "checked": ["all"], "deferred": "", "parameters": 12345,
        "seconds": 0.26, "same_as": ""}  # fmt: skip


def interpreter(folder: Path, answer: str) -> str:
    """A program that ``verify`` takes for the Open-Sora environment's Python: it runs ``answer`` for every task."""
    return script(folder / "python", ANSWERS.format(python=sys.executable, mark=MARK, answer=answer))


def script(path: Path, text: str) -> str:
    """A program with this text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def well(**more: object) -> str:
    """An answer: all is well, but for keys whose values are expressions of ``task``."""
    given = "".join(f", {key}={value}" for key, value in more.items())
    return f"send(**dict({WELL!r}{given}))"
