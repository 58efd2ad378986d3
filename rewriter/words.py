"""Text that is safe to print or to paste: escapes, shell words, counts."""

from __future__ import annotations

import os
import re

_COMMANDS = (
    *("opensora-rewriter", "hf", "pip", "git", "chmod", "chown", "cp", "cat", "export", "unset", "ln", "ls", "mkdir"),
    *("mv", "printf", "python", "python3", "rm", "rsync", "sudo", "tar"),
)
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S* ")
_PROSE = re.compile(r", (?:then|and|or|if|so) |; or[: ]| \(or | or (?:a|another|name|remove|the) ")


def printable(text: str) -> str:
    """Control characters shown as escapes, so that no path or value can control the terminal or forge a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def counted(number: int, word: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {word}" + ("" if number == 1 else "s")


def human_size(size: float) -> str:
    """Bytes in decimal units, as the Hub shows them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def is_command(remedy: str) -> bool:
    """Whether a remedy can be pasted into a shell as it is."""
    first = remedy.split(" ", 1)[0]
    names_program = first in _COMMANDS or (first.startswith("/") and os.path.basename(first).startswith("python"))
    return bool(names_program or _ASSIGNMENT.match(remedy)) and _PROSE.search(remedy) is None
