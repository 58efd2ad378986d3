"""Parse a config by its top-level statements: the text of one that has been seen is not parsed again.

The configs of a checkout are variations of each other: half of the text of v1.3's stands in another file too. Whether a
cut was a good one is never guessed: where a piece does not parse alone, the whole file is parsed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from rewriter.decoding import Decoded, parse, parse_text
from rewriter.types import Problem

MOST_BYTES = 100_000
"""Text whose statements are kept at a time; a parsed statement takes some 50 times its text."""
LONGEST = 20_000
"""Bytes of a text that is kept."""

_BETWEEN = re.compile(rb"\n(?=[^ \t\f\n#)\]}])")
_JOINED = re.compile(rb"(?:else|elif|except|finally)\b")  # such a line belongs to the statement before it
_UNFIT = (b'"""', b"'''", b"\\\n", b"\r", b"\v")  # strings and lines that may go on after a cut


class Piece:
    """What one text of a config parses to. Shared between files: its nodes must not be changed.

    ``plain``: the name and the value of ``name = constant``, which is what most pieces are.
    """

    __slots__ = ("_words", "kept", "line", "nodes", "plain")

    def __init__(self, nodes: list[ast.stmt], line: int) -> None:
        self.nodes = nodes
        self.line = line  # where the text stood when it was parsed
        self.kept = False
        self.plain: tuple[str, ast.Constant] | None = None
        self._words: frozenset[str] | None = None
        node = nodes[0] if len(nodes) == 1 else None
        if type(node) is ast.Assign and type(node.value) is ast.Constant and len(node.targets) == 1:
            target = node.targets[0]
            if type(target) is ast.Name and target.id != "_base_":
                self.plain = (target.id, node.value)

    @property
    def words(self) -> frozenset[str]:
        """Every name that stands in it, whatever for."""
        if self._words is None:
            self._words = frozenset(_words(self.nodes))
        return self._words


Placed = tuple[Piece, int]
"""A piece, and what the line numbers of its nodes lack to be those of the file."""


def pieces(source: Decoded) -> list[Placed] | Problem:
    """The pieces of a file in order; never raises."""
    data = source.utf8
    whole = source.encoding != "utf-8" or any(unfit in data for unfit in _UNFIT)
    found = None if whole else _known_pieces(data)
    if found is not None:
        return found
    tree = parse(source)
    return tree if isinstance(tree, Problem) else [(Piece([node], node.lineno), 0) for node in tree.body]


def outline(found: Sequence[Placed]) -> tuple[Placed, ...] | None:
    """What is not plain, which tells files of different make apart; None: something in it is not kept."""
    parts = tuple([placed for placed in found if placed[0].plain is None])
    return parts if all(piece.kept for piece, _ in parts) else None


def shape(found: Sequence[Placed]) -> tuple[Placed, ...]:
    """Equal for two files that differ only in ``name = constant`` statements whose name stands nowhere else."""
    used: set[str] = set().union(*[piece.words for piece, _ in found if piece.plain is None])
    return tuple([placed for placed in found if placed[0].plain is None or placed[0].plain[0] in used])


class _Kept:
    """Pieces by their text: the young, and the old that are dropped when the young have grown too many."""

    def __init__(self) -> None:
        self.young: dict[bytes, Piece] = {}
        self.old: dict[bytes, Piece] = {}
        self.size = 0

    def find(self, texts: list[bytes]) -> list[Piece | None]:
        found = list(map(self.young.get, texts))
        if None in found:
            for place, text in enumerate(texts):
                if found[place] is None and (piece := self.old.get(text)) is not None:
                    found[place] = piece
                    self.keep(text, piece)
        return found

    def keep(self, text: bytes, piece: Piece) -> None:
        if len(text) > LONGEST:
            return
        self.size += len(text)
        if self.size > MOST_BYTES:
            self.old, self.young, self.size = self.young, {}, len(text)
        self.young[text] = piece
        piece.kept = True


_kept = _Kept()


def _known_pieces(data: bytes) -> list[Placed] | None:
    """The pieces, those that are known from memory; None: they cannot be read one by one."""
    texts = _cut(data)
    lines = list(accumulate([text.count(b"\n") + 1 for text in texts], initial=1))
    texts = [text.rstrip() for text in texts]
    known = _kept.find(texts)
    if None in known and not _learn(texts, lines, known):
        return None
    return [(piece, lines[place] - piece.line) for place, piece in enumerate(known) if piece is not None]


def _cut(data: bytes) -> list[bytes]:
    """The text of each top-level statement, with the comments behind it and without its last line feed."""
    texts = _BETWEEN.split(data)
    joined = texts[:1]
    for before, text in pairwise(texts):
        if before[:1] == b"@" or _JOINED.match(text):
            joined[-1] += b"\n" + text
        else:
            joined.append(text)
    return joined


def _learn(texts: list[bytes], lines: list[int], known: list[Piece | None]) -> bool:
    """Parse what is not known, at its place among empty lines; False: it does not parse alone."""
    shown: list[bytes] = []
    for place, text in enumerate(texts):
        own = text if known[place] is None else b""
        shown += [own, b"\n" * (lines[place + 1] - lines[place] - own.count(b"\n"))]
    tree = parse_text(b"".join(shown))
    if isinstance(tree, Problem):
        return False
    nodes = tree.body
    done = 0
    fresh: list[tuple[int, Piece]] = []
    for place, piece in enumerate(known):
        if piece is not None:
            continue
        end = lines[place + 1]
        first = done
        while done < len(nodes) and nodes[done].lineno < end:
            if (nodes[done].end_lineno or end) >= end:
                return False  # it goes on where a known piece has been cut out
            done += 1
        fresh.append((place, Piece(nodes[first:done], lines[place])))
    for place, piece in fresh:
        known[place] = piece
        _kept.keep(texts[place], piece)
    return True


def _words(nodes: Iterable[ast.AST]) -> Iterable[str]:
    for node in nodes:
        for inner in ast.walk(node):
            for field, value in ast.iter_fields(inner):
                if isinstance(value, str) and field != "value":
                    yield value
                elif isinstance(value, list):
                    yield from (each for each in value if isinstance(each, str))
