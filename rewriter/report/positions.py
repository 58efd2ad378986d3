"""From ``ast``'s numbers to what viewers count: columns in characters or UTF-16 units, and edits as line ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from rewriter.decoding import Decoded, decode

# `ast` ends a line at \r\n, \n and a lone \r, and at nothing else (str.splitlines knows eight more).
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


def split_lines(data: bytes | None) -> list[str] | None:
    """The lines of a Python file, ends kept, as ``ast`` counts them; None where the bytes cannot be decoded."""
    decoded = None if data is None else decode(data)
    return _LINE.findall(decoded.utf8.decode("utf-8")) if isinstance(decoded, Decoded) else None


def count_utf16(text: str) -> int:
    """How many UTF-16 code units ``text`` takes: SARIF's default measure of a column."""
    return len(text) + sum(character > "\uffff" for character in text)


def text_before(lines: list[str] | None, line: int, column: int) -> str | None:
    """The text of ``line`` (1-based) before the byte offset ``column``, or None where that is not known."""
    if lines is None or not 1 <= line <= len(lines):
        return None
    return lines[line - 1].encode("utf-8")[:column].decode("utf-8", "ignore")


@dataclass(frozen=True, slots=True)
class Hunk:
    """Whole lines of a file replaced by ``text``.

    ``first`` is the first line replaced, ``end_line``/``end_column`` (1-based, UTF-16, exclusive) where the old text
    ends; an insertion ends where it starts. ``anchor`` is the last old line that the edit touches or follows.
    """

    first: int
    end_line: int
    end_column: int
    text: str
    anchor: int


def find_hunks(old: bytes, new: bytes) -> Iterator[Hunk]:
    """The line ranges in which ``new`` differs from ``old``; none where either cannot be decoded."""
    before, after = split_lines(old), split_lines(new)
    if before is None or after is None:
        return
    for tag, start, stop, new_start, new_stop in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        text = "".join(after[new_start:new_stop])
        anchor = max(start if tag == "insert" else start + 1, 1)
        if stop and stop == len(before) and stop > start and not before[-1].endswith(("\r", "\n")):
            yield Hunk(start + 1, stop, count_utf16(before[-1]) + 1, text, anchor)
        else:
            yield Hunk(start + 1, stop + 1, 1, text, anchor)
