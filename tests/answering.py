"""A program that stands for an interpreter: it answers the tasks of levels load and build as a test has it answer."""

from __future__ import annotations

import sys
from pathlib import Path

ANSWERS = """\
#!{python}
import json, os, sys
job = json.loads(sys.stdin.read())
def send(**message):
    os.write(job["fd"], json.dumps(dict(message, nonce=job["nonce"])).encode() + b"\\n")
send(event="ready", versions={{}})
for number, task in job["tasks"]:
    send(event="start", task=number)
    {answer}
send(event="end")
"""
# What both levels' probes answer where all is well.
WELL = {
    "event": "result", "status": "ok", "problems": [], "checked": ["all"], "notes": [], "deferred": "", "elements": 0,
    "files": 2, "bytes": 9, "parameters": 12345, "seconds": 0.26, "peak_rss": 0, "same_as": "",
}  # fmt: skip


def interpreter(folder: Path, answer: str) -> str:
    """A program that ``verify`` takes for the Open-Sora environment's Python: it runs ``answer`` for every task."""
    program = folder / "python"
    program.write_text(ANSWERS.format(python=sys.executable, answer=answer))
    program.chmod(0o755)
    return str(program)


def well(**more: object) -> str:
    """An answer: all is well, but for keys whose values are expressions of ``task``."""
    given = "".join(f", {key}={value}" for key, value in more.items())
    return f"send(**dict({WELL!r}, task=number{given}))"
