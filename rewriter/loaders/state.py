"""What stands where while a loader is evaluated: every write is noted, so that each of several ways can be gone alone.

A *way* is a piece of evaluation, told by how it ends. What it wrote is held as :data:`Written`, relative to a mark.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from rewriter.loaders.values import Cells, Unknown, Val, clock, join, options, same

NEXT, MAYBE, LEFT, RAISED = range(4)
"""How a way ends: it goes on; some path of it does; every path was left (return, break, continue); all raised."""

MISSING = Unknown("<missing>")
Written = dict[tuple[int, Any], tuple[Cells, Any, Val]]
Way = Callable[[], int]


def goes_on(status: int) -> bool:
    """Whether what follows a way is reached."""
    return status in (NEXT, MAYBE)


class Exits:
    """Where ``return``, ``break`` or ``continue`` lead to: what had been written since ``mark`` on each way there."""

    __slots__ = ("mark", "ways")

    def __init__(self, mark: int) -> None:
        self.mark = mark
        self.ways: list[Written] = []


class State:
    """The writes of one evaluation.

    ``doubt``: above 0 where it is not certain that what is evaluated is reached. ``forks``: how many forks are being
    gone. ``caught``: how many ``try`` with handlers stand around. ``thrown``: how often one of their bodies raised.
    """

    __slots__ = ("_journal", "_tried", "caught", "doubt", "forks", "thrown")

    def __init__(self) -> None:
        self.doubt = 0
        self.forks = 0
        self.caught = 0
        self.thrown = 0
        self._journal: list[tuple[Cells, Any, Val]] = []  # with what stood there before
        self._tried: list[tuple[Cells, Any, Val]] | None = None  # everything that is written in a ``try``

    def mark(self) -> int:
        """The present, to come back to."""
        return len(self._journal)

    def write(self, cells: Cells, name: Any, value: Val) -> None:
        """Put a value in its place; :data:`MISSING` takes the name away."""
        self._journal.append((cells, name, cells.get(name, MISSING)))
        if self._tried is not None:
            self._tried.append((cells, name, value))
        if value is MISSING:
            cells.pop(name, None)
        else:
            cells[name] = value

    def since(self, mark: int) -> Written:
        """What was written since ``mark``, as it stands now."""
        return {(id(cells), name): (cells, name, cells.get(name, MISSING)) for cells, name, _ in self._journal[mark:]}

    def rewind(self, mark: int) -> Written:
        """Undo the writes since ``mark``; returns what they had left."""
        written = self.since(mark)
        for cells, name, old in reversed(self._journal[mark:]):
            if old is MISSING:
                cells.pop(name, None)
            else:
                cells[name] = old
        del self._journal[mark:]
        return written

    def apart(self, make: Callable[[], Val], born: int) -> Val:
        """What ``make`` gives as of an earlier time, where its writes belong: no way from the present undoes them."""
        mark, tried, self._tried = self.mark(), self._tried, None
        past, clock.past = clock.past, born
        try:
            value = make()
        finally:
            clock.past = past
        del self._journal[mark:]
        self._tried = tried
        return value

    def settle(self, ways: list[Written]) -> None:
        """Write what stands when one of these ways was gone, and nobody knows which."""
        for place, (cells, name, _) in {place: each for way in ways for place, each in way.items()}.items():
            now = cells.get(name, MISSING)
            self.write(cells, name, _either([way[place][2] if place in way else now for way in ways]))

    def gather(self, exits: Exits, reached: bool) -> bool:
        """Let the ways to an exit meet the present one, if that is reached; returns whether any leads here."""
        if exits.ways:
            now = self.rewind(exits.mark)
            self.settle([*exits.ways, now] if reached else exits.ways)
        return reached or bool(exits.ways)

    def fork(self, *ways: Way) -> int:
        """Go each way from the state before; what they leave different is joined."""
        mark = self.mark()
        ends: list[Written] = []
        statuses: set[int] = set()
        for way in ways:
            status, written = self._go(way, mark)
            statuses.add(status)
            if goes_on(status):
                ends.append(written)
        self.settle(ends)
        if not ends:
            return RAISED if statuses == {RAISED} else LEFT
        return MAYBE if MAYBE in statuses or LEFT in statuses or (self.caught and RAISED in statuses) else NEXT

    def _go(self, way: Way, mark: int) -> tuple[int, Written]:
        """Go a way in doubt, and come back."""
        self.doubt += 1
        self.forks += 1
        status = way()
        self.doubt -= 1
        self.forks -= 1
        return status, self.rewind(mark)

    def choose(self, *ways: Callable[[], Val]) -> Val:
        """The value of one of several ways, nobody knows which."""
        found: list[Val] = []

        def go(way: Callable[[], Val]) -> int:
            found.append(way())
            return NEXT

        self.fork(*[functools.partial(go, way) for way in ways])
        return functools.reduce(join, found)

    def perhaps(self, way: Callable[[], object]) -> None:
        """Go a way that may as well not be gone."""

        def go() -> int:
            way()
            return NEXT

        self.fork(go, lambda: NEXT)

    def repeat(self, once: Way, again: Callable[[], None]) -> None:
        """Go a way any number of times, also never: until what stands before it holds whatever it leaves behind.

        ``again`` is called before it is gone anew.
        """
        widened = False
        while True:
            before = clock.tick()
            status, written = self._go(once, self.mark())
            new = [
                (cells, name, value) for cells, name, value in written.values()
                if cells.born <= before and not _holds(cells.get(name, MISSING), value)
            ]  # fmt: skip
            if not new or not goes_on(status):
                return
            again()
            for cells, name, value in new:
                self.write(cells, name, Unknown() if widened else _either([cells.get(name, MISSING), value]))
            widened = True

    def attempt(self, body: Way, orelse: Way, handlers: list[Way], left: Callable[[], int]) -> int:
        """Go a ``try`` that has handlers. ``left``: how many ways have left what stands around it so far."""
        mark, before, thrown = self.mark(), left(), self.thrown
        outer, self._tried = self._tried, []
        self.forks += 1
        self.caught += 1
        status = body()
        self.caught -= 1
        self.thrown = thrown
        tried, self._tried = self._tried, outer
        if goes_on(status):
            doubtful = status == MAYBE
            self.doubt += doubtful
            status = orelse()
            self.doubt -= doubtful
        self.forks -= 1
        statuses = {status}
        written = self.rewind(mark)
        ends = [written] if goes_on(status) else []
        raised = _anywhere(tried)
        for handler in handlers:
            status, written = self._go(functools.partial(self._handle, handler, raised), mark)
            statuses.add(status)
            if goes_on(status):
                ends.append(written)
        self.settle(ends)
        if not ends:
            return RAISED if statuses == {RAISED} else LEFT
        return MAYBE if left() > before or self.thrown > thrown else NEXT

    def _handle(self, handler: Way, raised: Written) -> int:
        for cells, name, value in raised.values():
            self.write(cells, name, value)
        return handler()


def _either(values: list[Val]) -> Val:
    """One of these values; what may be missing may be anything."""
    if all(value is values[0] for value in values):
        return values[0]
    return Unknown() if MISSING in values else functools.reduce(join, values)


def _holds(now: Val, value: Val) -> bool:
    """Whether what stands somewhere says already that ``value`` may."""
    if now is value or (isinstance(now, Unknown) and now.key is None and now is not MISSING):
        return True
    if MISSING in (now, value):
        return False
    return all(any(same(each, one) for one in options(now)) for each in options(value))


def _anywhere(tried: list[tuple[Cells, Any, Val]]) -> Written:
    """What may stand where, if any of these writes may have been the last one."""
    found: Written = {}
    for cells, name, value in tried:
        place = id(cells), name
        known = found[place][2] if place in found else cells.get(name, MISSING)
        found[place] = cells, name, _either([known, value])
    return found
