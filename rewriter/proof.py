"""Prove an edit by reading it again with the standard library: what was asked for holds, and nothing else differs.

The edits are made by libcst; this reading shares no code with them. A proof that fails is a fault of ours, so it is
told in one sentence, and whoever called writes nothing.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from rewriter.configs import read_config
from rewriter.decoding import Decoded, decode, parse
from rewriter.types import REMOVE, Component, ConfigChange, ConfigFile, Override, Problem, SourceChange, Span

_NEWLINE = re.compile(rb"\r\n|\r|\n")
_HALF_NEWLINE = re.compile(rb"[\r\n]")  # what goes from between a CR and an LF makes one line end of two
_KEY_AND_SIGN = re.compile(rb"[\w'\"\x80-\xff][ \t]*[=:][ \t]*\Z")
_VALUE, _GONE, _KEY = "_value_", "_gone_", "_key_"
_KEYWORD = 4
"""Tokens of a keyword with its comma."""
_SHAPE = ("keys", "form")

_MOST_ALIKE = 256
_alike: set[object] = set()  # dicts before and after that have been found alike: many configs hold the same ones

Place = tuple[int, int, int, int]
"""Line, column, end line, end column, as ``ast`` has them."""
Pairs = Sequence[tuple[Component, Component]]
Blanks = dict[Place, set[str]]


class Twin(NamedTuple):
    """One place in the old text and in the new one."""

    old: Place
    new: Place


# --- configs -----------------------------------------------------------------------------------


def compare(
    old: bytes, new: bytes, path: str, changes: Sequence[ConfigChange], was: ConfigFile | None = None
) -> str | None:
    """Prove the edit of a config file.

    Holds when ``new`` has the components of ``old`` in the same order, every asked key has the asked value (or is
    gone) and nothing behind it in its dict gives it another, every byte outside the edited dicts is the same, the
    syntax trees of those dicts are equal but for the asked keywords, and the rest of them is spelled, commented and
    spaced as it was. (The same bytes round one expression in place of another are the same syntax tree round it.)

    Args:
        old: the bytes from which the components of ``changes`` were read.
        new: the edited bytes.
        path: of the file, for :func:`rewriter.configs.read_config`.
        changes: all that was asked for.
        was: what ``old`` says, where it has been read already.

    Returns:
        None, or a sentence that says what differs.
    """
    was = was or read_config(old, path)
    if old == new:
        return _unmade(was, changes)
    now = read_config(new, path)
    problem = was.problem or now.problem
    if problem is not None:
        return f"line {problem.line} of the edited file cannot be read: {problem.message}"
    before, after = decode(old), decode(new)
    assert isinstance(before, Decoded)  # or there were a problem
    assert isinstance(after, Decoded)
    if (before.encoding, before.bom) != (after.encoding, after.bom):
        return "the encoding of the file changed"
    replaced = {(*c.component.keys, c.key) for c in _everywhere(was, changes)}
    kept, kept_now = _kept(was, replaced), _kept(now, replaced)
    pairs = list(zip(kept, kept_now, strict=False))
    return (
        _components_differ(kept, kept_now)
        or _unmade(now, carried := _carried(was, pairs, changes))
        or _given_twice(pairs, carried)
        or _dicts_differ(_Text(before.utf8), _Text(after.utf8), pairs, changes)
    )


def _everywhere(config: ConfigFile, changes: Sequence[ConfigChange]) -> list[ConfigChange]:
    """The changes, once for every name of the dict that they change."""
    return [
        ConfigChange(component, change.key, change.value)
        for change in changes
        for component in config.components
        if component.span == change.component.span
    ]


def _kept(config: ConfigFile, replaced: set[tuple[str, ...]]) -> list[Component]:
    """The components of ``config`` but those that come or go with a value that is asked for.

    They stand at or below a key of ``replaced``, or, where another dict holds them by ``**``, in its value's span.
    """
    values = [
        _place_of(keyword.span)
        for component in config.components
        for keyword in component.written
        if (*component.keys, keyword.key) in replaced
    ]
    return [
        component
        for component in config.components
        if not any(component.keys[: len(keys)] == keys for keys in replaced)
        and not any(_holds(value, _place_of(component.span)) for value in values)
    ]


def _holds(outer: Place, inner: Place) -> bool:
    return outer[:2] <= inner[:2] and inner[2:] <= outer[2:]


def _components_differ(was: Sequence[Component], now: Sequence[Component]) -> str | None:
    if len(was) != len(now):
        return f"{len(was)} components became {len(now)}"
    for one, other in zip(was, now, strict=True):
        for name in _SHAPE:
            if getattr(one, name) != getattr(other, name):
                return f"{name} of {'.'.join(one.keys)} became {getattr(other, name)}"
    return None


def _carried(was: ConfigFile, pairs: Pairs, changes: Iterable[ConfigChange]) -> list[ConfigChange]:
    """The changes, with the components of the new file in place of those of the old.

    What was asked for a dict that another change takes away is left out.
    """
    twin = {a.span: b for a, b in pairs}
    gone = {component.span for component in was.components} - twin.keys()
    return [
        ConfigChange(twin.get(c.component.span, c.component), c.key, c.value)
        for c in changes
        if c.component.span not in gone
    ]


def _unmade(config: ConfigFile, changes: Iterable[ConfigChange]) -> str | None:
    """What of ``changes`` does not hold in ``config``, which their components were read from."""
    known = {component.span: component for component in config.components}
    for change in changes:
        name = f"{'.'.join(change.component.keys)}.{change.key}"
        component = known.get(change.component.span)
        if component is None:
            return f"{name}: no dict stands at line {change.component.span.line}"
        found = [keyword.value for keyword in component.written if keyword.key == change.key]
        if change.value is REMOVE:
            if found:
                return f"{name} is still there"
        elif not found:
            return f"{name} is not there"
        elif not found[-1].literal or not _same(found[-1].value, change.value):
            return f"{name} is {found[-1].text}, not {change.value!r}"
        else:
            behind = [each for each in component.overrides if each.key == change.key and _is_in(component, each)][-1:]
            for override in behind:
                value = override.value
                if not (override.certain and value and value.literal and _same(value.value, change.value)):
                    return f"{name} does not stay {change.value!r}: line {override.line} of the dict may give another"
    return None


def _is_in(component: Component, override: Override) -> bool:
    """Whether a part of the dict itself (a spread, a computed key) sets the key again."""
    return component.form == "literal" and component.span.line <= override.line <= component.span.end_line


def _given_twice(pairs: Pairs, changes: Iterable[ConfigChange]) -> str | None:
    """Which of the new keys a call gets twice: by itself, and from the dict that is spread into it."""
    before = {now.span: was for was, now in pairs if now.takers}
    for change in changes:
        was = before.get(change.component.span)
        if was is not None and change.key not in dict(was.values):
            for taker in change.component.takers:
                if change.key in taker.given:
                    return f"line {taker.span.line} gets {change.key} twice"
    return None


def _dicts_differ(old: _Text, new: _Text, pairs: Pairs, changes: Sequence[ConfigChange]) -> str | None:
    """Compare as bytes what stands round the edited dicts, and as syntax and as tokens what stands in them."""
    asked: dict[Span, set[str]] = {}
    for change in changes:
        asked.setdefault(change.component.span, set()).add(change.key)
    edited = [(one, other, asked[one.span]) for one, other in pairs if one.span in asked]
    dicts = _outermost(Twin(_place_of(one.span), _place_of(other.span)) for one, other, _ in edited)
    blanks = {_place_of(span): keys for span, keys in asked.items()}
    blanks_now = {_place_of(other.span): keys for _, other, keys in edited}
    difference = _outside_differs(old, new, dicts)
    for twin in dicts:
        alike = old.at(twin.old), new.at(twin.new), _within(twin.old, blanks), _within(twin.new, blanks_now)
        if difference is None and alike not in _alike:
            difference = _difference(
                _blank(old.expression(twin.old), blanks), _blank(new.expression(twin.new), blanks_now)
            )
            if difference is None:
                if len(_alike) == _MOST_ALIKE:
                    _alike.clear()
                _alike.add(alike)
    for twin in dicts:
        difference = difference or _rest_differs(old, new, twin, edited)
    return difference


def _within(outer: Place, asked: Blanks) -> frozenset[tuple[Place, frozenset[str]]]:
    """The blanks in a place, as they lie from where it begins."""
    line, column = outer[:2]

    def shifted(place: Place) -> Place:
        rows = place[0] - line, place[2] - line
        return rows[0], place[1] - (0 if rows[0] else column), rows[1], place[3] - (0 if rows[1] else column)

    return frozenset((shifted(place), frozenset(keys)) for place, keys in asked.items() if _holds(outer, place))


def _blank(tree: ast.AST, asked: Blanks) -> ast.AST:
    """Take the asked keywords out of the dicts at their places."""
    for node in ast.walk(tree):
        keys = asked.get(_place(node)) if isinstance(node, ast.Call | ast.Dict) else None
        if keys and isinstance(node, ast.Call):
            node.keywords = [k for k in node.keywords if k.arg not in keys]
        elif keys and isinstance(node, ast.Dict):
            pairs = [(k, v) for k, v in zip(node.keys, node.values, strict=True) if _text_key(k) not in keys]
            node.keys, node.values = [k for k, _ in pairs], [v for _, v in pairs]
    return tree


def _rest_differs(
    old: _Text, new: _Text, twin: Twin, edited: Iterable[tuple[Component, Component, set[str]]]
) -> str | None:
    """Compare how an edited dict is written, apart from the asked values."""
    was: dict[Place, str] = {}  # what stands for the values
    now: dict[Place, str] = {}
    names: dict[Place, str] = {}  # what stands for the keys that go, which may be several strings side by side
    adds = removes = 0
    for one, other, keys in edited:
        if not _holds(twin.old, _place_of(one.span)):
            continue
        for key in keys:
            before, after = (
                [_place_of(word.span) for word in component.written if word.key == key] for component in (one, other)
            )
            now.update((place, _VALUE) for place in after[-1:])
            was.update((place, _VALUE) for place in before[-1:] if after)
            was.update((place, _GONE) for place in before if not after)
            adds += 0 if before else len(after)
            removes += 0 if after else len(before)
            if before and not after and one.form == "literal":
                names.update((place, _KEY) for place in _keys_at(old.expression(twin.old), _place_of(one.span), key))
    if not all(map(old.follows_its_key, was)):
        return None  # brackets and comments round a value go with it
    found = _written_differs(
        old.cut(twin.old, was | names), new.cut(twin.new, now), adds=_KEYWORD * adds, removes=_KEYWORD * removes
    )
    return f"near line {twin.old[0]}: {found}" if found else None


def _keys_at(tree: ast.AST, place: Place, key: str) -> list[Place]:
    """Where ``key`` stands as a key of the dict at ``place``."""
    dicts = [node for node in ast.walk(tree) if isinstance(node, ast.Dict) and _place(node) == place]
    return [_place(name) for node in dicts for name in node.keys if name is not None and _text_key(name) == key]


# --- sources -----------------------------------------------------------------------------------

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def compare_source(old: bytes, new: bytes, changes: Sequence[SourceChange]) -> str | None:
    """Prove the edit of a loader's source.

    Holds when every parameter, keyword, value, branch and line of a docstring that was asked for is there as asked, the
    syntax tree of ``new`` without them is that of ``old``, every byte outside the edited places is the same, and the
    rest of them is spelled, commented and spaced as it was.

    Args:
        old: the bytes in which the spans of ``changes`` stand.
        new: the edited bytes.
        changes: all that was asked for in this file.

    Returns:
        None, or a sentence that says what differs.
    """
    before, after = decode(old), decode(new)
    if isinstance(before, Problem):
        return f"line {before.line} of the source cannot be read: {before.message}"
    if isinstance(after, Problem):
        return f"line {after.line} of the edited source cannot be read: {after.message}"
    one, other = parse(before), parse(after)
    if isinstance(one, Problem):
        return f"line {one.line} of the source cannot be read: {one.message}"
    if isinstance(other, Problem):
        return f"line {other.line} of the edited source cannot be read: {other.message}"
    if (before.encoding, before.bom) != (after.encoding, after.bom):
        return "the encoding of the source changed"
    made = _Made(_Text(before.utf8), _Text(after.utf8), changes)
    return _difference(one, other, made.without) or made.difference()


class _Made:
    """What of the changes has been found in the new source, and where."""

    def __init__(self, old: _Text, new: _Text, changes: Sequence[SourceChange]) -> None:
        self.old = old
        self.new = new
        self.changes = changes
        self.asked: dict[Place, list[SourceChange]] = {}
        for change in changes:
            self.asked.setdefault(_place_of(change.span), []).append(change)
        self.done: set[SourceChange] = set()
        self.grown: dict[Twin, int] = {}  # where something is put in, and how many tokens
        self.other: list[Twin] = []  # where something else stands

    def without(self, old: ast.AST, new: ast.AST) -> ast.AST:
        """``new`` without what was asked for at the place of ``old``."""
        changes, rest = self.asked.get(_place(old), ()), new
        # Of two new parameters the later one has to go first: only a last one may be new.
        for change in (*changes, *reversed(changes)):
            if change not in self.done:
                found = self._taken(old, new, rest, change)
                if found is not None:
                    self.done.add(change)
                    rest = found
        return rest

    def _taken(self, old: ast.AST, new: ast.AST, rest: ast.AST, change: SourceChange) -> ast.AST | None:
        """What is left of ``new`` without ``change``; ``rest``: without those before it. None where it is not there."""
        twin, target = Twin(_place(old), _place(new)), change.target
        added: int | None = None
        if target == "parameter" and isinstance(old, _Function) and isinstance(rest, _Function):
            twin, added = Twin(_header(old), _header(rest)), _strip_parameter(old.args, rest.args, change)
        elif target in ("call", "dict"):
            added = _strip_keyword(old, rest, change)
        elif target == "value" and isinstance(new, ast.expr) and _is_value(new, change):
            self.other.append(twin)
            return old
        elif target == "docstring" and isinstance(old, ast.Constant) and isinstance(new, ast.Constant):
            self.other.append(twin)
            return old if _documents(self.old.at(twin.old), self.new.at(twin.new), change.name.encode()) else None
        elif target == "guard" and isinstance(old, ast.If) and isinstance(new, ast.If) and _guards(new, change):
            line, column = twin.old[:2]
            end_line, end_column = _place(new.orelse[0])[:2]
            twin = Twin((line, column, line, column), (*twin.new[:2], end_line, end_column + len("el")))
            rest, added = new.orelse[0], len(self.new.at(twin.new))
        if added is None:
            return None
        self.grown[twin] = self.grown.get(twin, 0) + added
        return rest

    def difference(self) -> str | None:
        """What is missing, or differs though the trees are alike."""
        for change in self.changes:
            if change not in self.done:
                return f"line {change.span.line}: the {change.target} did not get {change.key!r}"
        outer = _outermost([*self.grown, *self.other])
        difference = _outside_differs(self.old, self.new, outer)
        for twin in outer:
            if twin not in self.other:
                was = self.old.cut(twin.old, {other.old: _VALUE for other in self.other})
                now = self.new.cut(twin.new, {other.new: _VALUE for other in self.other})
                adds = sum(added for inner, added in self.grown.items() if _holds(twin.old, inner.old))
                found = _written_differs(was, now, adds=adds, removes=0)
                difference = difference or (f"near line {twin.old[0]}: {found}" if found else None)
        return difference


def _strip_keyword(old: ast.AST, new: ast.AST, change: SourceChange) -> int | None:
    """Take what ``change`` adds to ``old`` out of ``new``: how many tokens; None where it is not there as asked."""
    size = _KEYWORD + 2 * change.name.count(".")
    if isinstance(new, ast.Call) and isinstance(old, ast.Call):
        found = [k for k in new.keywords if k.arg == change.key and _is_name(k.value, change.name)]
        if any(k.arg == change.key for k in old.keywords):
            return 0 if found else None
        new.keywords = [k for k in new.keywords if k not in found]
        return size if found else None
    if isinstance(new, ast.Dict) and isinstance(old, ast.Dict):
        pairs = list(zip(new.keys, new.values, strict=True))
        rest = [(k, v) for k, v in pairs if _text_key(k) != change.key or not _is_name(v, change.name)]
        if any(_text_key(k) == change.key for k in old.keys):
            return 0 if len(rest) < len(pairs) else None
        new.keys, new.values = [k for k, _ in rest], [v for _, v in rest]
        return size if len(rest) < len(pairs) else None
    return None


def _strip_parameter(old: ast.arguments, new: ast.arguments, change: SourceChange) -> int | None:
    """Take the parameter of ``change`` out of ``new``, the last or a keyword-only one, if it has the default asked."""
    if any(each.arg == change.name for each in (*old.posonlyargs, *old.args, *old.kwonlyargs)):
        return 0
    for names, defaults in ((new.args[-1:], new.defaults[-1:]), (new.kwonlyargs, new.kw_defaults)):
        for each, default in zip(names, defaults, strict=False):
            if each.arg == change.name and default is not None and _is_literal(default, change.default):
                new.args = [other for other in new.args if other is not each]
                new.kwonlyargs = [other for other in new.kwonlyargs if other is not each]
                new.defaults = [other for other in new.defaults if other is not default]
                new.kw_defaults = [other for other in new.kw_defaults if other is not default]
                return _KEYWORD + (2 if each.annotation else 0)
    return None


def _is_value(new: ast.expr, change: SourceChange) -> bool:
    return _is_name(new, change.name) if change.name else _is_literal(new, change.default)


def _documents(old: bytes, new: bytes, name: bytes) -> bool:
    """Whether a docstring says what it said: as it stands, or with one piece put in that names the parameter."""
    same = _common(old, new)
    put_in = new[same : len(new) - len(old[same:])]
    return new == old[:same] + put_in + old[same:] and (new == old or new.count(name) > old.count(name))


def _guards(new: ast.If, change: SourceChange) -> bool:
    """Whether an ``if`` is the guard that was asked for, with one branch behind it."""
    assigned: dict[str, object] = {}
    for statement in new.body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Constant):
            return False
        assigned.update((ast.unparse(target), statement.value.value) for target in statement.targets)
    return (
        ast.unparse(new.test) == f"{change.name} is not None"
        and assigned == dict(change.assign)
        and len(new.orelse) == 1
    )


def _header(node: _Function) -> Place:
    """From the ``def`` to the first statement of the body."""
    first = node.body[0]
    decorators: list[ast.expr] = getattr(first, "decorator_list", [])
    return node.lineno, node.col_offset, decorators[0].lineno if decorators else first.lineno, first.col_offset


# --- texts -------------------------------------------------------------------------------------


class _Text:
    """A source as UTF-8, and the places in it."""

    def __init__(self, utf8: bytes) -> None:
        self.utf8 = utf8
        self._starts = [0, *(match.end() for match in _NEWLINE.finditer(utf8))]

    def region(self, place: Place) -> tuple[int, int]:
        """The offsets of a place."""
        line, column, end_line, end_column = place
        return self._starts[line - 1] + column, self._starts[end_line - 1] + end_column

    def at(self, place: Place) -> bytes:
        """What stands at a place."""
        start, end = self.region(place)
        return self.utf8[start:end]

    def cut(self, place: Place, holes: Mapping[Place, str]) -> bytes:
        """What stands at a place, with something else in the place of holes in it."""
        start, end = self.region(place)
        kept = b""
        for (hole_start, hole_end), filling in sorted((self.region(hole), filling) for hole, filling in holes.items()):
            if start <= hole_start and hole_end <= end:
                kept += self.utf8[start:hole_start] + filling.encode()
                start = hole_end
        return kept + self.utf8[start:end]

    def follows_its_key(self, place: Place) -> bool:
        """Whether a value stands right behind its key and ``=`` or ``:``, without a bracket or comment between them."""
        start, _ = self.region(place)
        return _KEY_AND_SIGN.search(self.utf8, 0, start) is not None

    def expression(self, place: Place) -> ast.AST:
        """The syntax tree of the expression at a place, read alone, with the positions of its file."""
        line, column = place[:2]
        ahead = b"\n" * (line - 1) + b"(" + b" " * (column - 1)
        if column == 0:
            ahead = b"\n" * (line - 2) + b"(\n"
        tree = parse(Decoded(ahead + self.at(place) + b")", "utf-8", bom=False))
        assert isinstance(tree, ast.Module)  # its file could be read
        return tree


def _outermost(twins: Iterable[Twin]) -> list[Twin]:
    """Those that lie in no other, in order."""
    found: list[Twin] = []
    for twin in sorted(set(twins), key=lambda twin: (twin.old[:2], [-number for number in twin.old[2:]])):
        if not found or found[-1].old[2:] <= twin.old[:2]:
            found.append(twin)
    return found


def _outside_differs(old: _Text, new: _Text, twins: Iterable[Twin]) -> str | None:
    """Compare to the byte what stands outside of the places."""
    done = done_now = 0
    end = (len(old.utf8),) * 2, (len(new.utf8),) * 2
    for region, region_now in [*((old.region(twin.old), new.region(twin.new)) for twin in twins), end]:
        one, other = old.utf8[done : region[0]], new.utf8[done_now : region_now[0]]
        if one != other:
            at = _common(one, other)
            return f"bytes outside the edit changed: {one[at : at + 20]!r} became {other[at : at + 20]!r}"
        done, done_now = region[1], region_now[1]
    return None


def _common(one: bytes, other: bytes) -> int:
    """How many bytes two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


class _Token(NamedTuple):
    """A token (or comment) with the white space before it. ``firm``: it may not go with a value that goes."""

    space: str
    text: str
    comment: bool
    firm: bool


@lru_cache(maxsize=256)
def _written_differs(was: bytes, now: bytes, *, adds: int, removes: int) -> str | None:
    """Compare tokens, comments and spaces. ``adds``: how many tokens may be new; ``removes``: how many may be gone.

    Comments come never; those behind a value that goes, or behind a comma on a line of its own, may go with it.
    """
    old, new = _tokens(was), _tokens(now)
    comments, firm, comments_now = (
        [token.text for token in tokens if token.comment and (token.firm or not only_firm)]
        for tokens, only_firm in ((old, False), (old, True), (new, False))
    )
    more = len(new) - len(comments_now) - (len(old) - len(comments))
    if not _is_within(firm, comments_now) or not _is_within(comments_now, comments):
        return "its comments changed"
    if not removes and (lost := _missing(old, new)) is not None:
        return f"{lost.text!r:.60} is gone, or the space before it is another"
    if not adds and (lost := _missing(new, old)) is not None:
        return f"{lost.text!r:.60} is new, or the space before it is another"
    if (not removes and more > adds) or (not adds and -more > removes):
        return f"{abs(more)} tokens are {'new' if more > 0 else 'gone'}, and {max(adds, removes)} were asked for"
    if not removes and not _is_within(_NEWLINE.findall(was), _NEWLINE.findall(now)):
        return "its line ends changed"
    if not adds and not _is_within(_HALF_NEWLINE.findall(now), _HALF_NEWLINE.findall(was)):
        return "its line ends changed"
    return None


def _missing(some: Sequence[_Token], among: Sequence[_Token]) -> _Token | None:
    """The first of ``some`` that is not there in its order, with the space before it where nothing comes between."""
    place = -1
    for token in some:
        following = range(place + 1, len(among))
        found = (
            at for at in following if among[at].text == token.text and (at > place + 1 or among[at][0] == token[0])
        )
        place = next(found, -1)
        if place < 0:
            return token
    return None


def _is_within(some: Iterable[object], others: Iterable[object]) -> bool:
    """Whether ``some`` are among the others, in their order."""
    rest = iter(others)
    return all(each in rest for each in some)


@lru_cache(maxsize=256)
def _tokens(text: bytes) -> list[_Token]:
    """The tokens of a piece of source."""
    found: list[_Token] = []
    loose, end = False, 0
    source = "(" + _NEWLINE.sub(b"\n", text).decode() + "\n)"  # in brackets no line is too deep or unfinished
    starts = [0, *(match.end() for match in re.finditer("\n", source))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.string.strip():
                start = starts[token.start[0] - 1] + token.start[1]
                first = not token.line[: token.start[1]].strip()  # on its line
                comment = token.type == tokenize.COMMENT
                found.append(_Token(source[end:start], token.string, comment, first or not loose))
                loose = loose if comment else token.string == _GONE or (token.string == "," and (loose or first))
                end = start + len(token.string)
    return found


# --- trees -------------------------------------------------------------------------------------


def _difference(
    one: ast.AST, other: ast.AST, without: Callable[[ast.AST, ast.AST], ast.AST] = lambda _, new: new
) -> str | None:
    """Where two trees differ, positions apart; ``without`` takes out of a node of ``other`` what was asked for."""
    stack: list[tuple[object, object, int]] = [(one, other, 1)]
    while stack:
        a, b, line = stack.pop()
        if isinstance(a, ast.AST) and isinstance(b, ast.AST):
            line = getattr(a, "lineno", line)
            b = without(a, b)
        if type(a) is not type(b):
            return f"line {line}: {_kind(a)} became {_kind(b)}"
        if isinstance(a, ast.AST):
            stack.extend((getattr(a, f, None), getattr(b, f, None), line) for f in a._fields)
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return f"near line {line}: {len(a)} parts became {len(b)}"
            stack.extend((x, y, line) for x, y in zip(a, b, strict=True))
        elif a != b:
            return f"line {line}: {a!r:.60} became {b!r:.60}"
    return None


def _kind(node: object) -> str:
    return type(node).__name__


def _place(node: ast.AST) -> Place:
    return (
        getattr(node, "lineno", 0),
        getattr(node, "col_offset", 0),
        getattr(node, "end_lineno", 0) or 0,
        getattr(node, "end_col_offset", 0) or 0,
    )


def _place_of(span: Span) -> Place:
    return span.line, span.column, span.end_line, span.end_column


def _is_name(node: ast.expr, name: str) -> bool:
    return ast.unparse(node) == name  # a plain name mostly; `self.cache_dir` where that is what holds it


def _is_literal(node: ast.expr, value: object) -> bool:
    try:
        return _same(ast.literal_eval(node), value)
    except (ValueError, TypeError):
        return False


def _text_key(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _same(one: object, other: object) -> bool:
    """Equal, and of equal types all the way down: True is not 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return list(map(_typed, one)) == list(map(_typed, other)) and all(_same(v, other[k]) for k, v in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def _typed(key: object) -> tuple[type, object]:
    return type(key), key
