"""Read what a config file says, with :mod:`ast` alone: nothing of it is executed.

A small abstract run over the module body: every top-level statement is looked at once, in order, with a note of what
each name holds by then (dicts, or an immutable literal). Function and class bodies are not entered: a dict that they
mention is one that they may change. What ``globals()``, ``exec`` and their like do is not seen.

Every ``dict(...)`` and ``{...}`` bound to a top-level name is a component, and so is every such dict that is a value
of one under a key that is an identifier, at any depth; which of them matter is for the rules to say.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rewriter.decoding import Decoded, decode
from rewriter.frozen import replace
from rewriter.statements import Placed, outline, pieces, shape
from rewriter.types import (
    BaseChange,
    Component,
    ConfigFile,
    Form,
    Ignore,
    Keyword,
    Override,
    Problem,
    Span,
    Taker,
    Value,
)

# Names that hold a component even where what is bound to them is not a dict that can be read.
OPAQUE_NAMES = frozenset({"text_encoder", "vae", "t5", "clip", "ae", "model", "vae_2d", "discriminator"})

_TEXT = 200  # characters of source that a Value or a Component carries
_MOST_FOLLOWED = 200  # values of names, on the way to what one expression leads to; more of them may lead anywhere
_MOST_PLACES = 1000  # of one dict: dicts that hold another one twice, and so on, would double them each time
_HARMLESS = frozenset(
    {"print", "pprint", "len", "repr", "str", "bool", "isinstance", "type", "id", "sorted", "list", "set", "tuple",
     "any", "all", "enumerate", "reversed", "zip"}
)  # fmt: skip
_GIVE_ITEMS = frozenset({"list", "set", "tuple", "sorted", "enumerate", "reversed", "zip"})  # of those: what they got
_MUTATORS = frozenset({"update", "pop", "setdefault", "clear", "popitem"})
_GIVE_A_CHILD = frozenset({"get", "pop", "setdefault"})
_READERS = frozenset({"get", "keys", "values", "items", "copy", "append", "extend", "insert", "index", "count"})
_MARKER = b"opensora-rewriter:"
_IGNORE = r"#\s*opensora-rewriter:\s*ignore(?:\[([\w\s,]+)\]|(?!\w|\[))"


_MOST_READINGS = 500
_outlines: set[tuple[Placed, ...]] = set()  # of files that have been read
_readings: dict[tuple[Placed, ...], tuple[tuple[Component, ...], frozenset[str]]] = {}  # by the shape of the file


def read_config(data: bytes, path: str) -> ConfigFile:
    """Read one config file.

    Args:
        data: the bytes of the file.
        path: absolute; ``_base_`` is resolved beside it. The file itself is not opened.

    Returns:
        What it says. Never raises for bad input: then ``problem`` tells, and everything else is empty.
    """
    source = decode(data)
    if isinstance(source, Problem):
        return ConfigFile(path, problem=source)
    found = pieces(source)
    if isinstance(found, Problem):
        return ConfigFile(path, problem=found)
    ignores = _ignores(source) if _MARKER in data else ()
    alike = _alike(found)
    if alike is not None and alike in _readings:
        plain = [piece.plain[0] for piece, _ in found if piece.plain is not None]
        components, assigned = _readings[alike]
        return ConfigFile(path, components, assigned=assigned.union(plain), ignores=ignores)
    reader = _Reader(source, path)
    try:
        reader.run(found)
        components = tuple([place.component() for place in reader.places])
    except RecursionError:
        return ConfigFile(path, problem=Problem(1, 0, "the file nests expressions too deeply", "leave the file out"))
    except _TooMany as stop:
        why = f"one dict stands in more than {_MOST_PLACES} places"
        return ConfigFile(path, problem=Problem(stop.args[0], 0, why, "leave the file out"))
    if reader.problem:
        return ConfigFile(path, problem=reader.problem)
    assigned = frozenset(reader.assigned)
    if alike is not None and reader.base_span is None and reader.bases_unknown is None:
        if len(_readings) >= _MOST_READINGS:
            _readings.clear()
        _readings[alike] = components, assigned - {piece.plain[0] for piece, _ in found if piece.plain}
    return ConfigFile(
        path,
        components=components,
        bases=tuple(reader.bases),
        bases_unknown=reader.bases_unknown,
        assigned=assigned,
        ignores=ignores,
        base_span=reader.base_span,
        base_changes=reader.base_changes() if reader.base_span is not None else (),
    )


def _alike(found: list[Placed]) -> tuple[Placed, ...] | None:
    """The shape of a file, if one of the same make has been read before."""
    parts = outline(found)
    if parts is None or parts in _outlines:
        return None if parts is None else shape(found)
    if len(_outlines) >= _MOST_READINGS:
        _outlines.clear()
    _outlines.add(parts)
    return None


def _ignores(source: Decoded) -> tuple[Ignore, ...]:
    """The ignore comments; strings that look like one are not."""
    import io
    import tokenize

    text = source.utf8.decode().replace("\r\n", "\n").replace("\r", "\n")
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and (match := re.search(_IGNORE, token.string)):
                codes = re.findall(r"\w+", (match.group(1) or "").upper())
                found.append(Ignore(token.start[0], tuple(codes)))
    except (tokenize.TokenError, SyntaxError):  # the tokenizer is stricter in places than the parser
        pass
    return tuple(found)


# --- what the abstract run keeps ------------------------------------------------------------------


class _Dict:
    """One dict object: where it is written, what it holds, who changes it."""

    __slots__ = (
        "children", "form", "odd", "origin", "overrides", "places", "span", "stars", "statement", "text", "touched",
        "unsure", "users", "values", "ways", "written",
    )  # fmt: skip

    def __init__(self, form: Form, span: Span, statement: Span, text: str) -> None:
        self.form = form
        self.span = span
        self.statement = statement
        self.text = text
        self.written: list[Keyword] = []
        self.values: dict[str, Value] = {}  # defaults and what is written, without overrides
        self.children: dict[str, list[_Held]] = {}
        self.origin: ast.AST | None = None  # of one that cannot be seen: what gives it
        self.odd = False  # whether it has keys that are no strings, too
        self.ways: list[str] = []
        self.unsure: str | None = None
        self.touched: Override | None = None  # by a function, whenever that runs
        self.overrides: list[Override] = []
        self.places: list[_Place] = []
        self.users: tuple[_Dict, ...] = ()  # dicts that take over what it holds
        self.stars: tuple[tuple[_Dict, ...], ...] = ()  # of a call: what each `**` in it may be, as far as is known

    def takers(self) -> tuple[Taker, ...]:
        """The dicts that are made from it, and from those."""
        found: dict[_Dict, list[Taker]] = {}
        todo = [self]
        for each in todo:
            for user in each.users:
                if user not in found:
                    todo.append(user)
                stars, given = any(each in spread for spread in user.stars), user.given_beside(each)
                places = tuple([place.keys for place in user.places if place.replaced_by is None])
                found.setdefault(user, []).append(Taker(user.span, places, stars, given if stars else ()))
        return tuple(dict.fromkeys([taker for takers in found.values() for taker in takers]))

    def given_beside(self, spread: _Dict) -> tuple[str | None, ...]:
        """The keys that a call has, but for those of one dict that is spread into it; None: it may have others."""
        keys: list[str | None] = [word.key for word in self.written]
        for given in self.stars:
            for other in given if spread not in given else ():
                keys += [*other.current(), *([None] if other.doubts() else [])]
            keys += [] if given else [None]
        return tuple(dict.fromkeys(keys))

    def doubt(self, why: str) -> None:
        self.unsure = self.unsure or why
        for children in self.children.values():
            for child in children:
                child.conditional = True

    def shake(self, why: str, line: int) -> None:
        """What is written may be changed on ``line``, too."""
        self.doubt(why)
        override = Override(None, None, line, False, why)
        if override not in self.overrides[-1:]:
            self.overrides.append(override)

    def touch(self, why: str, line: int) -> None:
        """A function that stands on ``line`` may change it, before or after whatever else does."""
        self.doubt(why)
        self.touched = self.touched or Override(None, None, line, False, why)

    def within(self) -> list[_Dict]:
        """This dict and all that it leads to."""
        found = [self]
        seen = {self}
        for each in found:
            for children in each.children.values():
                for child in children:
                    if child.dict not in seen:
                        seen.add(child.dict)
                        found.append(child.dict)
        return found

    def holds_more(self) -> bool:
        """Whether lists or dicts stand in it that are not among its children."""
        return any(not _is_scalar(value) for key, value in self.values.items() if key not in self.children)

    def open(self) -> dict[str | None, int]:
        """Keys of which it cannot be said whether they have been changed, and on which line they may have been."""
        lines: dict[str | None, int] = {}
        for override in self.overrides:
            if override.certain:
                lines.pop(override.key, None)
            else:
                lines[override.key] = override.line
        return lines

    def doubts(self) -> str | None:
        """Why a dict that takes over what this one holds by now cannot be told."""
        if self.unsure or not self.overrides:
            return self.unsure
        return next((f"line {line} may change {key!r}" for key, line in self.open().items()), None)

    def current(self) -> dict[str, Value]:
        """The values by now, certain overrides included."""
        values = dict(self.values)
        for override in self.overrides:
            if override.certain and override.key is not None:
                if override.value is None:
                    values.pop(override.key, None)
                else:
                    values[override.key] = override.value
        return values

    def settled(self) -> dict[str, Value]:
        """The values by now, those included that were changed in a dict in it after it was written."""
        values = self.current()
        for key, children in self.children.items():
            value = values.get(key)
            if value is not None and value.literal:
                reached = [each for child in children for each in child.dict.within()]
                if any(each.overrides or each.unsure for each in reached):
                    sure = len(children) == 1 and not children[0].conditional and self not in reached
                    told = children[0].dict.told() if sure else None
                    values[key] = Value(told is not None, told, value.text)
        return values

    def told(self) -> dict[str, object] | None:
        """What it holds by now, where that is a literal."""
        values = self.settled()
        if self.odd or self.doubts() or not all(value.literal for value in values.values()):
            return None
        return {key: value.value for key, value in values.items()}


_ANY = ""  # in the keys of what is inherited: whatever stands there


class _Inherited(_Dict):
    """What the bases hold at ``keys``, of which nothing is known here; it has no place."""

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[str, ...]) -> None:
        nowhere = Span(1, 0, 1, 0)
        super().__init__("other", nowhere, nowhere, "_base_")
        self.unsure = "what a base holds cannot be told without running the file"
        self.keys = keys

    def holds_more(self) -> bool:
        return _ANY not in self.children


class _Held:
    """That some name or key holds a dict: for sure or on a condition, its own or somebody else's."""

    __slots__ = ("alias", "conditional", "dict")

    def __init__(self, held: _Dict, conditional: bool = False, alias: bool = False) -> None:
        self.dict = held
        self.conditional = conditional
        self.alias = alias


class _Place:
    """A key path that holds a dict: what becomes a Component."""

    __slots__ = ("around", "dict", "inner", "keys", "replaced_by", "ways")

    def __init__(self, keys: tuple[str, ...], held: _Dict, ways: tuple[str, ...], around: _Place | None) -> None:
        self.keys = keys
        self.dict = held
        self.ways = ways
        self.around = around
        self.inner: list[_Place] = []  # of the dicts in it
        self.replaced_by: int | None = None
        held.places.append(self)
        if around is not None:
            around.inner.append(self)

    def leads_from(self, held: _Dict) -> bool:
        """Whether ``held`` stands here or around."""
        return self.dict is held or (self.around is not None and self.around.leads_from(held))

    def replace(self, line: int) -> None:
        """Another value is put here on ``line``."""
        if self.replaced_by is None:
            self.replaced_by = line
            for place in self.inner:
                place.replace(line)

    def component(self) -> Component:
        held = self.dict
        values = held.settled()
        delete = values.get("_delete_")
        return Component(
            keys=self.keys,
            span=held.span,
            statement=held.statement,
            form=held.form,
            text=held.text,
            written=tuple(held.written),
            values=tuple(values.items()),
            ways=(*self.ways, *held.ways),
            unsure=held.unsure,
            overrides=(*held.overrides, held.touched) if held.touched else tuple(held.overrides),
            replaced_by=self.replaced_by,
            shared_with=self._shared(),
            delete=delete is not None and delete.value is True,
            takers=held.takers() if held.users else (),
        )

    def _shared(self) -> tuple[str, ...]:
        others = [place.keys for place in self.dict.places if place.replaced_by is None and place.keys != self.keys]
        return tuple(dict.fromkeys([".".join(keys) for keys in others]))


_ABSENT: object = object()  # of a constant: there is none
_UNTOLD: object = object()  # of a constant: no dict, and nothing that can be told


class _Outcome:
    """What an expression gives: the dicts that it may be, and whether it may be something that cannot be seen."""

    __slots__ = ("constant", "dicts", "opaque", "parts")

    def __init__(
        self, dicts: list[_Held], opaque: bool = False, constant: object = _ABSENT,
        parts: list[_Outcome] | None = None,
    ) -> None:  # fmt: skip
        self.dicts = dicts
        self.opaque = opaque
        self.constant = constant
        self.parts = parts  # of a tuple or list, where they have been looked at

    def name_twice(self) -> None:
        """More than one name is given to it."""
        for held in self.dicts:
            held.alias = True
        for part in self.parts or ():
            part.name_twice()

    def only(self) -> _Dict | None:
        """The one dict that it is for sure, or None."""
        if len(self.dicts) == 1 and not self.dicts[0].conditional and not self.opaque:
            return self.dicts[0].dict
        return None


class _NotLiteral(Exception):  # noqa: N818 - a signal inside this module, not an error
    """The expression is not a literal."""


class _TooMany(Exception):  # noqa: N818 - a signal inside this module
    """A dict stands in too many places; the argument is the line."""


_PLAIN = (ast.JoinedStr, ast.ListComp, ast.Lambda, ast.UnaryOp, ast.Compare)
_SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr)  # they bind a dict when all of them has been looked at
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_HOLD_NOTHING = (ast.Constant, ast.JoinedStr, ast.Lambda, ast.UnaryOp, ast.Compare)


class _Reader:
    """One abstract run over one module."""

    def __init__(self, source: Decoded, path: str) -> None:
        self.path = path
        self.utf8 = source.utf8
        self._lines: list[bytes] = source.utf8.splitlines()  # bytes: at \n, \r\n and \r, as ast counts
        self.statement = Span(1, 0, 1, 0)
        self.lack = 0  # what the line numbers of the present statement's nodes lack
        self.mentions: bool | None = None  # whether that statement may mention a dict that is there; None: not looked
        self.conditional = False
        self.looping = False
        self.held: dict[str, list[_Held]] = {}
        self.constants: dict[str, object] = {}
        self.unstable: set[str] = set()  # names that a function may bind anew
        self.touched: dict[str, int] = {}  # names that a function, a lambda or a class mentions, and on which line
        self.origins: dict[str, list[ast.expr]] = {}  # what a name was bound to: dicts may be reached through it
        self.places: list[_Place] = []
        self.by_name: dict[str, list[_Place]] = {}
        self.assigned: set[str] = set()
        self.bases: list[str] = []
        self.bases_unknown: str | None = None
        self.base_span: Span | None = None
        self.inherited: list[_Inherited] = []  # what `_base_` holds, itself first
        self.problem: Problem | None = None

    def run(self, found: list[Placed]) -> None:
        inner = b"lambda" in self.utf8 or b":=" in self.utf8
        if b"_base_" in self.utf8:  # mmengine gives it that name before it runs anything of the file
            self.inherited.append(_Inherited(()))
            self.held["_base_"] = [_Held(self.inherited[0], conditional=True)]
        for piece, self.lack in found:
            if piece.plain is not None:
                self._plain(*piece.plain)
                continue
            for statement in piece.nodes:
                self.statement = self._span(statement)
                self.mentions = None if isinstance(statement, _SIMPLE) and not inner else True
                if inner:
                    self._look_inside(statement)
                self._visit(statement)

    def _look_inside(self, statement: ast.stmt) -> None:
        """Lambdas and ``name := value``, wherever they stand in a statement."""
        self.conditional = True
        for node in ast.walk(statement):
            if isinstance(node, ast.Lambda):
                self._touch(node)
            elif isinstance(node, ast.NamedExpr):
                self._bind(node.target.id, self._evaluate(node.value), (), node.value)
        self.conditional = False

    def _touch(self, node: ast.stmt | ast.expr) -> None:
        """What ``node`` mentions may be changed whenever it runs."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Global):
                self.unstable.update(inner.names)
                for name in inner.names:
                    self.constants.pop(name, None)
            names = inner.names if isinstance(inner, ast.Global) else [inner.id] if isinstance(inner, ast.Name) else []
            for name in names:
                self.touched.setdefault(name, self._line(node))
                reached = self._reached(ast.Name(name, ast.Load()))
                for held in [*[place.dict for place in self.by_name.get(name, ())], *reached]:
                    self._doubt_touched(held, name)

    def _doubt_touched(self, held: _Dict, name: str) -> None:
        why = f"a function, lambda or class of the file mentions `{name}` and may change it"
        held.touch(why, self.touched[name])

    def _line(self, node: ast.stmt | ast.expr | ast.keyword) -> int:
        """Where a node of the present statement stands in the file."""
        return node.lineno + self.lack

    def _span(self, node: ast.stmt | ast.expr) -> Span:
        end: int = node.end_lineno  # type: ignore[assignment]
        return Span(node.lineno + self.lack, node.col_offset, end + self.lack, node.end_col_offset)  # type: ignore[arg-type]

    def _plain(self, name: str, value: ast.Constant) -> None:
        """``dtype = "bf16"``: most statements of a config, done with at once."""
        if name in self.assigned:
            self._rebind(name, self._line(value))
        self.assigned.add(name)
        if name not in self.unstable:
            self.constants[name] = self._constant(value)

    # --- statements ---

    def _visit(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            self._assign(node)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self._bind_target(node.target, node.value, self._evaluate(node.value), ("annotated",))
        elif isinstance(node, ast.Expr):
            self._evaluate(node.value)
        elif isinstance(node, ast.AugAssign):
            self._augmented(node)
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                self._delete(target)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.name == "*":
                    self._bind_any(node)
                else:
                    self._bind((alias.asname or alias.name).split(".")[0], _Outcome([], opaque=True), (), node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._rebind(node.name, self._line(node))
            self._touch(node)
        else:
            self._compound(node)

    def _compound(self, node: ast.stmt) -> None:
        if isinstance(node, ast.With) and any(_is_read_base(item.context_expr) for item in node.items):
            self.bases_unknown = f"line {self._line(node)} reads its bases by `read_base`, which only running can tell"
            return
        outside = self.conditional, self.looping
        self.conditional = True
        if isinstance(node, (ast.For, ast.While)):
            self.looping = True
            for inner in ast.walk(node):  # what a later turn of the loop binds is not what stands before it
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    self.constants.pop(inner.id, None)
                elif isinstance(inner, ast.Global):
                    self.unstable.update(inner.names)
        for header in _headers(node):
            self._evaluate(header)
        for name, value in _bound_by_header(node):
            self._bind(name, _Outcome([], opaque=True), (), value)
        for target, value in _set_by_header(node):
            self._set_one_of(target, value)
        for case in getattr(node, "cases", ()):
            if case.guard is not None:  # which sees what the pattern has bound
                self._evaluate(case.guard)
        for handler in getattr(node, "handlers", ()):
            if handler.name:
                self._rebind(handler.name, self._line(node))
        for body in _bodies(node):
            for statement in body:
                self._visit(statement)
        self.conditional, self.looping = outside

    def _assign(self, node: ast.Assign) -> None:
        outcome = self._evaluate(node.value)
        if len(node.targets) > 1:
            if isinstance(node.value, (ast.Tuple, ast.List)) and outcome.parts is None:
                outcome.parts = [self._evaluate(part) for part in node.value.elts]  # each target is given the same
            outcome.name_twice()
        first = node.targets[0]
        if isinstance(first, ast.Name) and first.id == "_base_":
            if self.base_span is None:
                self._read_bases(node)  # mmengine takes the first such statement
            self.assigned.add("_base_")  # and runs none of them
            return
        for target in node.targets:
            self._bind_target(target, node.value, outcome, ())
        for target in node.targets if len(node.targets) > 1 else ():
            if isinstance(target, (ast.Subscript, ast.Attribute)):
                self._leads(target.value, *[other for other in node.targets if other is not target])

    def _bind_target(self, target: ast.expr, value: ast.expr, outcome: _Outcome, ways: tuple[str, ...]) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, outcome, ways, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._bind_many(target.elts, value, outcome, ways)
        elif isinstance(target, (ast.Subscript, ast.Attribute)):
            self._set_item(target, value, outcome)
        else:
            assert isinstance(target, ast.Starred)
            self._bind_target(target.value, value, _Outcome([]), ways)

    def _bind_many(
        self, targets: list[ast.expr], value: ast.expr, outcome: _Outcome, ways: tuple[str, ...]
    ) -> None:  # fmt: skip
        """``a, b = dict(), dict()``: pair by pair where both sides can be counted."""
        starred = any(isinstance(t, ast.Starred) for t in targets)
        if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(targets) and not starred:
            parts = outcome.parts or [self._evaluate(v) for v in value.elts]  # all of them before the first is bound
            for target, part, found in zip(targets, value.elts, parts, strict=True):
                self._bind_target(target, part, found, ways)
        else:
            for target in targets:
                self._bind_target(target, value, _Outcome([], opaque=True), ways)

    def _bind(self, name: str, outcome: _Outcome, ways: tuple[str, ...], value: ast.stmt | ast.expr) -> None:
        self._rebind(name, self._line(value))
        dicts = self._candidates(name, outcome, value)
        held = [_Held(h.dict, h.conditional or self.conditional or outcome.opaque, h.alias) for h in dicts]
        self.held.setdefault(name, []).extend(held)
        if isinstance(value, ast.expr):
            self._holds(name, [value])
        if outcome.constant is not _ABSENT and not self.conditional and name not in self.unstable:
            self.constants[name] = outcome.constant
        for h in dicts:
            self._place((name,), h.dict, ways, h.alias, h.conditional or self.conditional)

    def _place(
        self, keys: tuple[str, ...], held: _Dict, ways: tuple[str, ...], alias: bool, conditional: bool,
        around: _Place | None = None,
    ) -> None:  # fmt: skip
        if isinstance(held, _Inherited) or (around is not None and around.leads_from(held)):
            return  # it is another file's, or holds itself
        if keys[0] in self.touched:
            self._doubt_touched(held, keys[0])
        own = (("alias",) if alias else ()) + (("conditional",) if conditional else ())
        place = _Place(keys, held, ways + own + (("nested",) if around is not None else ()), around)
        self.places.append(place)
        if len(held.places) > _MOST_PLACES:
            raise _TooMany(self.statement.line)
        self.by_name.setdefault(keys[0], []).append(place)
        for key, children in held.children.items():
            for child in children:
                self._place(
                    (*keys, key), child.dict, ways, alias or child.alias, conditional or child.conditional, place
                )

    def _rebind(self, name: str, line: int) -> None:
        """``name`` is bound anew: what it held before is replaced, unless that depends on a condition."""
        self.assigned.add(name)
        self.constants.pop(name, None)
        if self.conditional:
            for held in self.held.get(name, ()):
                held.conditional = True
            return
        self.held.pop(name, None)
        self.origins.pop(name, None)
        for place in self.by_name.get(name, ()):
            place.replace(line)

    def _bind_any(self, node: ast.Import | ast.ImportFrom) -> None:
        """``from m import *``: any name may be another one's by now."""
        line = self._line(node)
        self.constants.clear()
        for name, held in self.held.items():
            if name != "_base_":
                self._doubt(held, f"line {line} may bind its name to something else: {self._text(node)}", line)

    def _read_bases(self, node: ast.Assign) -> None:
        self.base_span = self._span(node)
        value = node.value
        parts = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
        for part in parts:
            base = part.value if isinstance(part, ast.Constant) else None
            if not isinstance(base, str) or "{{" in base or "::" in base or self.conditional:
                text = self._text(part)
                self.bases_unknown = self.bases_unknown or (
                    f"line {self._line(node)}: `_base_` says {text}, which cannot be told without running it"
                )
            else:
                self.bases.append(os.path.normpath(os.path.join(os.path.dirname(self.path), base)))

    # --- changes to dicts that are already there ---

    def _augmented(self, node: ast.AugAssign) -> None:
        line = self._line(node)
        targets = self._changed(node.target, line) if isinstance(node.op, ast.BitOr) else []
        if targets:
            self._update(targets, node.value, line)
            self._leads(node.target, node.value)
            return
        self._evaluate(node.value)
        if isinstance(node.target, ast.Name):
            before = self.origins.get(node.target.id, [])
            self._rebind(node.target.id, line)
            self._holds(node.target.id, [*before, node.value])
        else:
            self._set_item(node.target, node, _Outcome([]))

    def _delete(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._rebind(target.id, self._line(target))
            if not self.conditional:
                self.assigned.discard(target.id)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for inner in target.elts:
                self._delete(inner)
        else:
            assert isinstance(target, (ast.Subscript, ast.Attribute))
            self._set_item(target, None, _Outcome([]))

    def _set_item(self, target: ast.Subscript | ast.Attribute, value: ast.AST | None, outcome: _Outcome) -> None:
        parents = self._changed(target.value, self._line(target))
        self._inner(target.value, *([target.slice] if isinstance(target, ast.Subscript) else ()))
        if isinstance(value, ast.expr):
            self._leads(target.value, value)
        if not parents:
            return
        key = target.attr if isinstance(target, ast.Attribute) else self._key(target.slice)
        known = self._value(value) if isinstance(value, ast.expr) else None
        if value is not None and known is None:
            known = Value(False, None, self._text(value))
        dicts = self._candidates(key, outcome, value) if isinstance(value, ast.expr) else []
        self._set_key(parents, key, known, dicts, self._line(target))

    def _set_one_of(self, target: ast.Subscript | ast.Attribute, values: ast.expr) -> None:
        """``for vae["k"] in values``: nobody knows which of them it is."""
        one = ast.copy_location(ast.Starred(values, ast.Load()), values)
        self._set_item(target, one, _Outcome([], opaque=True))

    def _set_key(
        self, parents: list[_Held], key: str | None, value: Value | None, dicts: list[_Held], line: int,
        certain: bool = True,
    ) -> None:  # fmt: skip
        """A key of ``parents`` gets ``value`` (None: it goes away) at ``line``; ``dicts``: what it then holds."""
        for held in parents:
            parent = held.dict
            # one of several that a name may hold is changed for sure as far as that name is concerned
            live = [place for place in parent.places if place.replaced_by is None]
            sole = not held.conditional or (not held.alias and len(live) == 1)
            sure = certain and not self.conditional and sole
            parent.overrides.append(Override(key, value if key is not None else None, line, sure))
            if key is None:
                parent.doubt(f"line {line} changes keys that cannot be told without running it")
                continue
            for place in live:
                for old in place.inner if sure else ():
                    if old.keys[-1] == key:
                        old.replace(line)
                for given in dicts:
                    keys = (*place.keys, key)
                    self._place(keys, given.dict, (), given.alias, given.conditional or not sure, place)
            earlier = [] if sure else parent.children.get(key, [])
            for child in earlier:
                child.conditional = True
            children = [*earlier, *[_Held(h.dict, h.conditional or not sure, h.alias) for h in dicts]]
            parent.children[key] = children
            if not children:
                del parent.children[key]

    def _method(self, function: ast.Attribute, node: ast.Call) -> bool:
        """``vae.update(...)`` and its like. True where it was one, on a dict that is known."""
        if function.attr not in _MUTATORS:
            return False
        name, args, line = function.attr, node.args, self._line(node)
        targets = self._changed(function.value, line)
        if not targets:
            return False
        if name == "update":
            for argument in args:
                self._update(targets, argument, line)
            for k in node.keywords:
                if k.arg is None:
                    self._update(targets, k.value, line)
                else:
                    dicts = self._candidates(k.arg, self._evaluate(k.value), k.value)
                    self._set_key(targets, k.arg, self._value(k.value), dicts, line)
        elif name == "pop" and args:
            self._set_key(targets, self._key(args[0]), None, [], line)
        elif name == "setdefault" and args:
            key = self._key(args[0])
            value, dicts = Value(True, None, "None"), []
            if len(args) > 1:
                value, dicts = self._value(args[1]), self._candidates(key, self._evaluate(args[1]), args[1])
            for target in targets:
                maybe = target.dict.unsure is not None or key in target.dict.open()
                if maybe or key not in target.dict.current():
                    self._set_key([target], key, value, dicts, line, certain=not maybe)
        else:
            self._set_key(targets, None, None, [], line)
        return True

    def _update(self, targets: list[_Held], argument: ast.expr, line: int) -> None:
        outcome = self._evaluate(argument)
        given = outcome.only()
        for target in targets:
            _hand_over(target.dict, outcome)
        if given is None or given.doubts():
            self._set_key(targets, None, None, [], line)
        if given is not None:
            for key, value in given.current().items():
                children = given.children.get(key, [])
                self._set_key(targets, key, value, _aliases(children) if outcome.dicts[0].alias else children, line)

    def _target(self, node: ast.expr) -> list[_Held]:
        """The dicts that ``name``, ``name["key"]``, ``name.key`` may be."""
        if isinstance(node, ast.Name):
            return self.held.get(node.id, [])
        if isinstance(node, (ast.Subscript, ast.Attribute)):
            return self._children(node.value, node.attr if isinstance(node, ast.Attribute) else self._key(node.slice))
        return []

    def _changed(self, node: ast.expr, line: int) -> list[_Held]:
        """The dicts that ``node`` may be, which are changed on ``line``; where that is not all, others are in doubt."""
        targets = self._target(node)
        unseen = not targets or any(held.dict.form == "other" and held.dict.unsure for held in targets)
        if unseen and not (isinstance(node, ast.Name) and node.id == "_base_" and len(targets) == 1):
            self._stray(node, line)
        return targets

    def _children(self, node: ast.expr, key: str | None) -> list[_Held]:
        """The dicts that stand for ``key`` in what ``node`` may be."""
        if key is None:
            return []
        parents = self._target(node)
        for parent in parents if self.inherited else ():
            self._make_up(parent.dict, key)
        return [
            _Held(child.dict, parent.conditional or child.conditional, child.alias)
            for parent in parents
            for child in parent.dict.children.get(key, ())
        ]

    def _make_up(self, held: _Dict, key: str) -> None:
        """What the bases hold under ``key``, if ``held`` is theirs; but for names of methods."""
        if not isinstance(held, _Inherited) or key in held.children or hasattr(dict, key):
            return
        if len(self.inherited) < _MOST_FOLLOWED:
            made = _Inherited((*held.keys, key))
            self.inherited.append(made)
            held.children[key] = [_Held(made)]

    def base_changes(self) -> tuple[BaseChange, ...]:
        """What of the bases is changed, or may be."""
        found: dict[tuple[tuple[str, ...], str | None], BaseChange] = {}
        for held in self.inherited:
            for each in (*held.overrides, *([held.touched] if held.touched else [])):
                why = each.why or f"line {each.line} changes it by way of `_base_`"
                text = each.value.text if each.value else ""
                found.setdefault((held.keys, each.key), BaseChange(held.keys, each.key, each.line, why, text))
        return tuple(found.values())

    def _stray(self, node: ast.expr, line: int) -> None:
        """Something that cannot be followed is changed: it may be any dict that ``node`` leads to."""
        for each in self._reached(node):
            each.shake(f"line {line} may change it by way of {self._text(node)}", line)

    def _leads(self, node: ast.expr, *values: ast.expr) -> None:
        """What ``node`` gives holds ``values`` from now on."""
        held = [value for value in values if type(value) is not ast.Constant]
        for inner in ast.walk(node) if held else ():
            if isinstance(inner, ast.Name):
                self._holds(inner.id, held)

    def _holds(self, name: str, values: Iterable[ast.expr]) -> None:
        """``name`` leads to ``values`` from now on."""
        self.origins.setdefault(name, []).extend(values)
        for value in values if name in self.touched else ():
            for each in self._reached(value):
                self._doubt_touched(each, name)

    def _reached(self, node: ast.expr) -> list[_Dict]:
        """The dicts that whoever is given what ``node`` gives may change."""
        found: dict[_Dict, None] = {}
        seen: set[tuple[str, bool]] = set()
        followed = 0
        todo: list[tuple[ast.AST, bool]] = [(node, True)]  # and whether the very dict is held, or only what is in it
        for each, itself in todo:
            held: list[_Held] | None = None
            if isinstance(each, ast.Name):
                if (each.id, itself) not in seen:
                    seen.add((each.id, itself))
                    held = self.held.get(each.id)
                    origins = self.origins.get(each.id, [])
                    followed += len(origins)
                    if followed > _MOST_FOLLOWED:
                        return [d for held in self.held.values() for h in held for d in h.dict.within()]
                    todo += [(origin, itself) for origin in origins]
            elif isinstance(each, (ast.Subscript, ast.Attribute)):
                held = self._items(each.value, each.attr if isinstance(each, ast.Attribute) else self._key(each.slice))
                todo += [(each.value, True)] if held is None else []
            elif isinstance(each, ast.Call):
                todo += self._given_by(each)
            elif isinstance(each, ast.Dict):
                todo += [(value, key is not None) for key, value in zip(each.keys, each.values, strict=True)]
            elif isinstance(each, ast.BinOp):
                if isinstance(each.op, ast.Mult) or not (_is_text(each.left) or _is_text(each.right)):
                    todo += [(side, not isinstance(each.op, ast.BitOr)) for side in (each.left, each.right)]
            elif isinstance(each, ast.IfExp):
                todo += [(each.body, itself), (each.orelse, itself)]
            elif not isinstance(each, _HOLD_NOTHING):
                todo += [(child, not isinstance(each, ast.Starred)) for child in ast.iter_child_nodes(each)]
            for h in held or ():
                if not itself:
                    self._make_up(h.dict, _ANY)
                whole = itself or h.dict.holds_more()
                for d in h.dict.within():
                    if d not in found and (whole or d is not h.dict):
                        found[d] = None
                        todo += [(d.origin, True)] if d.origin is not None else []
        return list(found)

    def _items(self, node: ast.expr, key: str | None) -> list[_Held] | None:
        """The dicts that stand for ``key`` in what ``node`` gives; None: that cannot be told."""
        parents, children = self._target(node), self._children(node, key)
        values = [parent.dict.current().get(str(key)) for parent in parents]
        if children:
            told = [isinstance(parent.dict, _Inherited) or not parent.dict.unsure for parent in parents]
            return children if all(told) else None
        return [] if values and all(value is not None and _is_scalar(value) for value in values) else None

    def _given_by(self, node: ast.Call) -> list[tuple[ast.expr, bool]]:
        """The parts of a call that its result may hold, and whether themselves or only what is in them."""
        function, name = node.func, _last_name(node.func)
        arguments = [*node.args, *[k.value for k in node.keywords]]
        if isinstance(function, ast.Name) and function.id not in self.assigned:
            if name == "dict":
                return [(k, False) for k in node.args] + [(k.value, k.arg is not None) for k in node.keywords]
            if name in _HARMLESS:
                return [(each, False) for each in arguments] if name in _GIVE_ITEMS else []
        if name == "deepcopy":
            return []
        if isinstance(function, ast.Attribute) and name in _GIVE_A_CHILD and node.args:
            held = self._items(function.value, self._key(node.args[0]))
            if held is not None:
                return [(ast.Subscript(function.value, node.args[0]), True), *[(each, True) for each in node.args[1:]]]
        if name in ("copy", "values", "items"):
            receiver = [function.value] if isinstance(function, ast.Attribute) else []
            return [(each, False) for each in (*arguments, *receiver)]
        return [(each, True) for each in (function, *arguments)]

    def _doubt(self, dicts: list[_Held], why: str, line: int) -> None:
        for held in dicts:
            for each in held.dict.within():
                each.shake(why, line)

    def _key(self, node: ast.expr) -> str | None:
        try:
            key = self._literal(node)
        except _NotLiteral:
            return None
        return key if isinstance(key, str) else None

    # --- expressions ---

    def _mentioned(self) -> bool:
        """Whether the present statement may mention a name that leads to a dict; if not, no part of it changes one."""
        if self.mentions is None:
            text = b"\n".join(self._lines[self.statement.line - 1 : self.statement.end_line])
            words = set(re.findall(r"\w+", text.decode())) if text.isascii() else None  # é is written in two ways
            self.mentions = words is None or not (words.isdisjoint(self.held) and words.isdisjoint(self.origins))
        return self.mentions

    def _inner(self, *nodes: ast.AST) -> None:
        """Look at parts of an expression for what they change."""
        if self._mentioned():
            for node in nodes:
                if isinstance(node, ast.expr):
                    self._evaluate(node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        """Its parts run any number of times, with names of their own."""
        outside = self.conditional, self.looping
        self.conditional = self.looping = True
        own: list[tuple[dict[str, Any], str, Any]] = []
        for generator in node.generators:
            self._evaluate(generator.iter)
            for target in ast.walk(generator.target):
                if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                    if target.id in self.held:
                        self._stray(generator.iter, self._line(target))
                    own += [(names, target.id, names.pop(target.id, None)) for names in (self.constants, self.origins)]
                    self.origins[target.id] = [generator.iter, *(own[-1][2] or ())]
                elif isinstance(target, (ast.Subscript, ast.Attribute)) and isinstance(target.ctx, ast.Store):
                    self._set_one_of(target, generator.iter)
            self._inner(*generator.ifs)
        for inner in ast.walk(node) if b":=" in self.utf8 else ():
            if isinstance(inner, ast.NamedExpr):
                self._holds(inner.target.id, [generator.iter for generator in node.generators])
        self._inner(*ast.iter_child_nodes(node))
        for names, name, value in reversed(own):
            names.pop(name, None)
            if value is not None:
                names[name] = value
        self.conditional, self.looping = outside

    def _evaluate(self, node: ast.expr) -> _Outcome:
        if isinstance(node, ast.Constant):
            return _Outcome([], constant=self._constant(node))
        if isinstance(node, ast.Dict):
            return _Outcome([_Held(self._literal_dict(node))])
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Subscript):
            self._inner(node.value, node.slice)
            return self._child(node.value, self._children(node.value, self._key(node.slice)))
        if isinstance(node, ast.Attribute):
            self._inner(node.value)
            return self._child(node.value, self._children(node.value, node.attr))
        if isinstance(node, ast.IfExp):
            self._inner(node.test)
            return self._either(node.body, node.orelse)
        if isinstance(node, ast.BoolOp):
            return self._either(*node.values)
        if isinstance(node, ast.NamedExpr):
            return self._name(node.target)
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        if isinstance(node, (ast.Tuple, ast.List)):
            parts = [self._evaluate(part) for part in node.elts] if self._mentioned() else None
            return _Outcome([], constant=self._immutable(node), parts=parts)
        if isinstance(node, _COMPREHENSIONS):
            if self._mentioned():
                self._comprehension(node)
        elif not isinstance(node, ast.Lambda):
            self._inner(*ast.iter_child_nodes(node))
        if isinstance(node, _PLAIN):
            return _Outcome([], constant=self._immutable(node))
        return _Outcome([], opaque=True)

    def _immutable(self, node: ast.expr) -> object:
        if isinstance(node, (ast.Tuple, ast.UnaryOp)):
            try:
                value = self._literal(node)
                hash(value)
            except (_NotLiteral, TypeError):  # a list in it may be changed
                return _UNTOLD
            return value
        return _UNTOLD

    def _either(self, *nodes: ast.expr) -> _Outcome:
        outside, self.conditional = self.conditional, True
        outcomes = [self._evaluate(node) for node in nodes]
        self.conditional = outside
        dicts = [_Held(h.dict, True, h.alias) for outcome in outcomes for h in outcome.dicts]
        return _Outcome(dicts, opaque=any(outcome.opaque for outcome in outcomes))

    def _name(self, node: ast.Name) -> _Outcome:
        constant = self.constants.get(node.id, _ABSENT)
        held = self.held.get(node.id, [])
        return _Outcome(_aliases(held), opaque=self.looping if held else constant is _ABSENT, constant=constant)

    def _child(self, node: ast.expr, held: list[_Held]) -> _Outcome:
        """What stands for a key in what ``node`` gives: ``held``, unless that cannot be told for sure."""
        unsure = self.looping or not held or any(parent.dict.unsure for parent in self._target(node))
        return _Outcome(_aliases(held), opaque=unsure)

    def _binary(self, node: ast.BinOp) -> _Outcome:
        if not isinstance(node.op, ast.BitOr):
            self._inner(node.left, node.right)
            return _Outcome([], opaque=not _is_text(node.left) and not _is_text(node.right))
        left, right = self._evaluate(node.left), self._evaluate(node.right)
        if all(isinstance(held.dict, _Inherited) for held in (*left.dicts, *right.dicts)):
            return _Outcome([], opaque=True)
        base, top = left.only(), right.only()
        if top is None or right.dicts[0].alias:  # nothing is written here that an edit could change for this name alone
            held = self._opaque(node)
            held.unsure = None
            _hand_over(held, left, right)
            self._default(held, base, node.left)
            self._default(held, top, node.right)
            return _Outcome([_Held(held)])
        _hand_over(top, left)
        values, children = top.values, top.children
        top.values, top.children = {}, {}
        self._default(top, base, node.left)
        top.values.update(values)
        top.children = {key: held for key, held in top.children.items() if key not in values} | children
        top.ways.append("positional")
        return right

    def _call(self, node: ast.Call) -> _Outcome:
        function = node.func
        if isinstance(function, ast.Name) and function.id == "dict" and "dict" not in self.assigned:
            return _Outcome([_Held(self._call_dict(node))])
        original: ast.expr | None = None
        self._inner(function)
        if isinstance(function, ast.Attribute):
            key = self._key(node.args[0]) if function.attr in _GIVE_A_CHILD and node.args else None
            given = self._children(function.value, key)
            known = self._method(function, node)
            if function.attr == "setdefault":
                given = self._children(function.value, key)
            if known or given:
                if function.attr != "update":  # whose arguments have been looked at
                    self._inner(*node.args)
                self._leads(function.value, *node.args, *[k.value for k in node.keywords])
                return self._child(function.value, given)
            if function.attr == "copy" and not node.args:
                original = function.value
        if original is None and _last_name(function) in ("deepcopy", "copy") and len(node.args) == 1:
            original = node.args[0]
        outcome = self._evaluate(original) if original is not None else _Outcome([])
        if outcome.dicts and all(isinstance(held.dict, _Inherited) for held in outcome.dicts):
            return _Outcome([], opaque=True)
        copied = outcome.only()
        if copied is not None:
            return _Outcome([_Held(self._copied(copied, node, {} if _last_name(function) == "deepcopy" else None))])
        harmless = isinstance(function, ast.Name) and function.id in _HARMLESS and function.id not in self.assigned
        arguments = [*node.args, *[k.value for k in node.keywords]]
        why = f"line {self._line(node)} hands it to {self._text(function)}, which may change it"
        for argument in arguments:
            dicts = self._evaluate(argument.value if isinstance(argument, ast.Starred) else argument).dicts
            if not harmless:
                self._doubt(dicts, why, self._line(node))
        if not harmless or any(k.arg == "key" for k in node.keywords):
            self._hand_on(node, arguments, why)
        return _Outcome([], opaque=True)

    def _hand_on(self, node: ast.Call, arguments: list[ast.expr], why: str) -> None:
        """What the function leads to, and what it is given, may be changed by it."""
        function = node.func
        parts = arguments if self._mentioned() else []
        if isinstance(function, ast.Attribute):
            self._leads(function.value, *parts)
            reads = function.attr in _MUTATORS or (function.attr in _READERS and not node.keywords)
            parts = parts if reads else [*parts, function.value]
        else:
            parts = [*parts, function]
        for part in parts:
            for each in self._reached(part):
                each.shake(why, self._line(node))

    def _copied(self, held: _Dict, node: ast.expr, deep: dict[_Dict, _Dict] | None) -> _Dict:
        """A copy; ``deep``: what has been copied already, where the dicts in it are copied too."""
        made = self._opaque(node)
        made.values, made.unsure, made.odd = held.settled(), held.doubts(), held.odd
        held.users += (made,)
        if deep is not None:
            deep[held] = made
        for key, children in held.children.items():
            made.children[key] = [
                _Held(h.dict, h.conditional, True) if deep is None
                else _Held(deep.get(h.dict) or self._copied(h.dict, node, deep), h.conditional)
                for h in children
            ]  # fmt: skip
        return made

    def _call_dict(self, node: ast.Call) -> _Dict:
        held = self._new("call", node)
        if node.args:
            held.ways.append("positional")
        for argument in node.args:
            given = _without_items(argument)
            outcome = self._evaluate(given)
            _hand_over(held, outcome)
            self._default(held, outcome.only(), given)
        seen = set()
        for k in node.keywords:
            if k.arg is None:
                self._spread(held, k.value)
                continue
            if k.arg in seen and self.problem is None:
                found = f"the keyword {k.arg!r} is repeated in a call, which Python does not compile"
                self.problem = Problem(self._line(k), k.col_offset, found, "remove one of the two")
            seen.add(k.arg)
            self._write(held, k.arg, k.value)
        return held

    def _literal_dict(self, node: ast.Dict) -> _Dict:
        held = self._new("literal", node)
        mentions = self._mentioned()
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self._spread_over(held, value)
                continue
            if isinstance(key, ast.Constant):
                if isinstance(key.value, str):
                    self._write(held, key.value, value)
                    continue
                held.odd = True
            if mentions:
                self._inner(key, value)
            if isinstance(key, ast.Constant):
                continue
            if (name := self._key(key)) is not None:
                self._give(held, name, value, self._value(value))
                held.overrides.append(Override(name, held.values[name], self._line(key), True))
            elif isinstance(key, (ast.Tuple, ast.UnaryOp)):
                held.odd = True
            else:
                held.doubt(f"line {self._line(key)}: the key {self._text(key)} cannot be told without running the file")
                unknown = Value(False, None, self._text(value))
                held.overrides += [Override(word.key, unknown, self._line(key), False) for word in held.written]
        return held

    def _spread_over(self, held: _Dict, node: ast.expr) -> None:
        """A spread in ``{...}``, which wins over what is written before it."""
        given = self._spread(held, node)
        unknown = given is None or given.doubts() is not None
        keys = given.current() if given is not None else {}
        for word in held.written:
            if word.key in keys or unknown:
                value = keys.get(word.key) or Value(False, None, self._text(node))
                held.overrides.append(Override(word.key, value, self._line(node), not unknown))

    def _write(self, held: _Dict, key: str, node: ast.expr) -> None:
        value = self._value(node)
        if held.overrides:
            held.overrides = [override for override in held.overrides if override.key != key]
        held.written.append(Keyword(key, value, self._span(node)))
        self._give(held, key, node, value)

    def _give(self, held: _Dict, key: str, node: ast.expr, value: Value) -> None:
        held.values[key] = value
        if key in held.children:
            del held.children[key]
        if type(node) is ast.Constant:
            return
        if not key.isidentifier():
            self._inner(node)
        else:
            dicts = self._candidates(key, self._evaluate(node), node)
            if dicts:
                held.children[key] = dicts

    def _candidates(self, name: str | None, outcome: _Outcome, node: ast.stmt | ast.expr) -> list[_Held]:
        """The dicts that ``name`` may hold then; what cannot be seen is one of them if the name is a component's."""
        if name in OPAQUE_NAMES:
            seen = [held for held in outcome.dicts if not isinstance(held.dict, _Inherited)]
            if outcome.opaque or len(seen) < len(outcome.dicts):
                unseen = self._opaque(node)
                unseen.origin = node
                return [*outcome.dicts, _Held(unseen, bool(seen))]
        return outcome.dicts

    def _spread(self, held: _Dict, node: ast.expr) -> _Dict | None:
        if "spread" not in held.ways:
            held.ways.append("spread")
        outcome = self._evaluate(node)
        given = outcome.only()
        _hand_over(held, outcome)
        if held.form == "call":
            held.stars += (tuple([each.dict for each in outcome.dicts]),)
        self._default(held, given, node)
        return given

    def _default(self, held: _Dict, given: _Dict | None, node: ast.expr) -> None:
        if given is None:
            held.doubt(
                f"line {self._line(node)}: what {self._text(node)} holds cannot be told without running the file"
            )
            return
        doubts = given.doubts()
        if doubts:
            held.doubt(doubts)
        for key, value in given.current().items():
            held.values[key] = value
            held.children.pop(key, None)
        for key, children in given.children.items():
            held.children[key] = _aliases(children)

    def _new(self, form: Form, node: ast.stmt | ast.expr) -> _Dict:
        return _Dict(form, self._span(node), self.statement, self._text(node))

    def _opaque(self, node: ast.stmt | ast.expr) -> _Dict:
        held = self._new("other", node)
        held.unsure = f"what {held.text} gives cannot be told without running the file"
        return held

    # --- values ---

    def _value(self, node: ast.expr) -> Value:
        text = self._text(node)
        try:
            return Value(True, self._literal(node), text)
        except _NotLiteral:
            return Value(False, None, text)

    def _literal(self, node: ast.expr) -> object:
        """What ``ast.literal_eval`` gives, with ``dict(a=1)`` and names of constants; raises _NotLiteral."""
        if isinstance(node, ast.Constant):
            if (value := self._constant(node)) is not _UNTOLD:
                return value
        elif isinstance(node, (ast.Tuple, ast.List)):
            # numbers by the thousand stand in buckets of resolutions: spare them a call each
            items = [
                e.value if type(e) is ast.Constant and type(e.value) is not str else self._literal(e) for e in node.elts
            ]
            return items if isinstance(node, ast.List) else tuple(items)
        elif isinstance(node, ast.Name):
            if (value := self.constants.get(node.id, _UNTOLD)) is not _UNTOLD:
                return value
        elif isinstance(node, ast.Dict):
            return self._pairs(node)
        elif isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) and not node.args else None
            if called == "dict" and "dict" not in self.assigned:
                return {_named(k.arg): self._literal(k.value) for k in node.keywords}
        elif isinstance(node, (ast.UnaryOp, ast.BinOp, ast.Set)):
            try:
                return ast.literal_eval(node)
            except (ValueError, TypeError):
                pass
        raise _NotLiteral

    def _pairs(self, node: ast.Dict) -> dict[object, object]:
        literal = self._literal
        try:
            return {
                (k.value if type(k) is ast.Constant and type(k.value) is int else literal(_known(k))): literal(v)
                for k, v in zip(node.keys, node.values, strict=True)
            }
        except TypeError:  # an unhashable key
            raise _NotLiteral from None

    def _constant(self, node: ast.Constant) -> object:
        value = node.value
        return _UNTOLD if type(value) is str and "{{" in value and self._templated(node) else value

    def _templated(self, node: ast.Constant) -> bool:
        """Whether ``{{`` stands in the source itself: mmengine puts something in its place before it runs the file."""
        first = self._line(node)
        lines = self._lines[first - 1 : first + (node.end_lineno or node.lineno) - node.lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return any(b"{{" in line for line in lines)

    def _text(self, node: ast.AST) -> str:
        """The source of ``node`` on one line, shortened."""
        first: int = node.lineno + self.lack  # type: ignore[attr-defined]
        last: int = node.end_lineno + self.lack  # type: ignore[attr-defined]
        column: int = node.col_offset  # type: ignore[attr-defined]
        end: int = node.end_col_offset  # type: ignore[attr-defined]
        line = self._lines[first - 1]
        if first == last and end - column <= _TEXT:  # most of them: quicker, and the same
            return line[column:end].decode()
        if first == last:
            lines = [line[column:end]]
        else:
            lines = [line[column:], *self._lines[first : last - 1][:_TEXT], self._lines[last - 1][:end]]
        text = b" ".join([part[: 4 * _TEXT].strip() for part in lines]).decode(errors="ignore")
        return text if len(text) <= _TEXT else text[: _TEXT - 3] + "..."


# --- small questions about nodes --------------------------------------------------------------------


def _named(name: str | None) -> str:
    if name is None:
        raise _NotLiteral
    return name


def _known(key: ast.expr | None) -> ast.expr:
    if key is None:
        raise _NotLiteral
    return key


def _is_scalar(value: Value) -> bool:
    """Whether nothing can be changed in it."""
    return value.literal and not isinstance(value.value, (list, dict, tuple, set))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, (ast.JoinedStr, ast.Constant))


def _hand_over(user: _Dict, *outcomes: _Outcome) -> None:
    """``user`` takes over what the dicts hold that the outcomes may be."""
    for outcome in outcomes:
        for each in outcome.dicts:
            each.dict.users += (user,)


def _aliases(held: list[_Held]) -> list[_Held]:
    return [_Held(h.dict, h.conditional, alias=True) for h in held]


def _without_items(node: ast.expr) -> ast.expr:
    """``c`` of ``c.items()``."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return node
    return node.func.value if node.func.attr == "items" and not node.args else node


def _last_name(node: ast.expr) -> object:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)


def _is_read_base(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _last_name(node.func) == "read_base"


def _set_by_header(node: ast.stmt) -> Iterator[tuple[ast.Subscript | ast.Attribute, ast.expr]]:
    """Items and attributes that a ``for`` or ``with`` sets, and to what."""
    for header, value in _targets(node):
        for part in ast.walk(header):
            if isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, ast.Store):
                yield part, value


def _targets(node: ast.stmt) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What stands behind ``for`` and ``as``, and what is given to it."""
    if isinstance(node, ast.For):
        yield node.target, node.iter
    for item in getattr(node, "items", ()):
        if item.optional_vars is not None:
            yield item.optional_vars, item.context_expr


def _bodies(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The bodies of a compound statement, in the order in which they are written."""
    yield getattr(node, "body", [])
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body
    yield getattr(node, "orelse", [])
    yield getattr(node, "finalbody", [])


def _headers(node: ast.stmt) -> Iterator[ast.expr]:
    """What a compound statement tests, goes through, opens, matches, raises, or says where a test fails; no guards."""
    for field in ("test", "iter", "subject", "msg", "exc", "cause"):
        if (header := getattr(node, field, None)) is not None:
            yield header
    yield from [part.type for part in getattr(node, "handlers", ()) if part.type is not None]
    for item in getattr(node, "items", ()):
        yield item.context_expr


def _bound_by_header(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Names that a compound statement binds itself (``for``, ``with``, ``case``), and to what."""
    patterns = [(case.pattern, node.subject) for case in getattr(node, "cases", ())]  # type: ignore[attr-defined]
    for header, value in (*_targets(node), *patterns):
        for part in ast.walk(header):
            name = getattr(part, "id", None) or getattr(part, "name", None) or getattr(part, "rest", None)
            if isinstance(name, str) and not isinstance(getattr(part, "ctx", None), ast.Load):
                yield name, value


# --- _base_ -----------------------------------------------------------------------------------------


def inherit(config: ConfigFile, lookup: Callable[[str], ConfigFile | None]) -> ConfigFile:
    """Complete the components of ``config`` by what its ``_base_`` files write, as mmengine merges them.

    A dict of the child gets the base's values first, unless ``_delete_=True`` stands in it or in a dict around it. What
    only a base writes, or the child only on a condition, becomes a component of form "other", way "inherited", at the
    span of the ``_base_`` assignment, with the base's values and its path in ``origin``: it can be edited there, not
    here. What the child changes of ``_base_`` itself puts the components in doubt that it reaches.

    Args:
        config: what :func:`read_config` gave.
        lookup: gives the config file at an absolute path, or None where there is none to read.

    Returns:
        The completed file; ``config`` itself where it has no bases.
    """
    return _inherit(config, lookup, (config.path,))


def _inherit(config: ConfigFile, lookup: Callable[[str], ConfigFile | None], chain: tuple[str, ...]) -> ConfigFile:
    if not config.bases:
        return config
    unknown = config.bases_unknown
    assigned = set(config.assigned)
    changes = list(config.base_changes)
    inherited: dict[tuple[str, ...], list[Component]] = {}
    for path in config.bases:
        base = None if path in chain else lookup(path)
        if base is None or base.problem:
            why = "includes itself" if path in chain else "cannot be read" if base else "is not there to be read"
            unknown = unknown or f"its base {path} {why}"
            continue
        base = _inherit(base, lookup, (*chain, path))
        unknown = unknown or base.bases_unknown
        assigned |= base.assigned
        changes += [replace(change, why=_in_base(path, change.why)) for change in base.base_changes]
        for component in base.components:
            if component.replaced_by is None:
                origin = component.origin or path
                inherited.setdefault(component.keys, []).append(replace(component, origin=origin))
    living = [c for c in config.components if c.replaced_by is None]
    own = {c.keys for c in living}
    cut = {c.keys for c in living if c.delete}
    components = [_merged(c, inherited.get(c.keys, [])) if not _is_cut(c.keys, cut) else c for c in config.components]
    span = config.base_span
    assert span is not None
    sure = {c.keys for c in living if "conditional" not in c.ways}
    for keys, candidates in inherited.items():
        if not (keys in sure or _is_cut(keys, cut) or _hides(living, config.assigned, keys)):
            components += [_only_inherited(c, span, keys in own) for c in candidates]
    if changes:
        theirs = {keys for keys in inherited if not _is_cut(keys, cut)}
        components = [_in_doubt(c, changes, theirs) if not _is_cut(c.keys, cut) else c for c in components]
        components += _made_of_bases(changes, {c.keys for c in components}, span)
        whys = {change.why for change in changes}
        changes = [BaseChange(c.keys, None, o.line, o.why)
                   for c in components for o in c.overrides if o.why in whys and o.why is not None]  # fmt: skip
    return replace(config, components=tuple(components), assigned=frozenset(assigned), bases_unknown=unknown,
                   base_changes=tuple(changes))  # fmt: skip


def _in_base(path: str, why: str) -> str:
    return why if why.startswith("its base ") else f"its base {path}: {why}"


def _in_doubt(component: Component, changes: list[BaseChange], theirs: set[tuple[str, ...]]) -> Component:
    """The component, in doubt where something is changed that the bases have for it."""
    change = next((each for each in changes if _concerns(each, component, component.keys in theirs)), None)
    if change is None or component.replaced_by is not None:
        return component
    override = Override(None, None, change.line, False, change.why)
    overrides = component.overrides if override in component.overrides else (*component.overrides, override)
    own = component.unsure is not None and not change.why.endswith(component.unsure)
    return replace(component, unsure=component.unsure if own else change.why, overrides=overrides)


def _concerns(change: BaseChange, component: Component, inherits: bool) -> bool:
    """Whether a change of what the bases hold is one of a component; ``inherits``: they have a part in it as it is."""
    keys = component.keys
    place = change.keys if change.key is None else (*change.keys, change.key)
    if not all(one in (other, _ANY) for one, other in zip(place, keys, strict=False)):
        return False
    if len(place) <= len(keys):
        return inherits or change.key is not None
    values = dict(component.values)
    below = place[len(keys)]
    found = [values.get(below)] if below != _ANY else [*values.values()]
    return inherits and (change.keys == keys or any(value is None or not _is_scalar(value) for value in found))


def _made_of_bases(changes: list[BaseChange], known: set[tuple[str, ...]], span: Span) -> Iterator[Component]:
    """What is put among the bases' names in the place of a component that none of them has."""
    for change in changes:
        if not change.text or change.key not in OPAQUE_NAMES:
            continue
        keys = (*change.keys, change.key)
        if keys not in known:
            known.add(keys)
            override = Override(None, None, change.line, False, change.why)
            yield Component(keys, span, span, "other", change.text, unsure=change.why, overrides=(override,))


def _is_cut(keys: tuple[str, ...], cut: set[tuple[str, ...]]) -> bool:
    return any(keys[: len(c)] == c for c in cut)


def _hides(living: list[Component], assigned: frozenset[str], keys: tuple[str, ...]) -> bool:
    """Whether the child puts something that is no dict where the base has the dict at ``keys``."""
    own = {component.keys for component in living}
    if keys[:1] not in own:
        return keys[0] in assigned
    return any(
        component.keys == keys[:depth] and keys[depth] in dict(component.values) and keys[: depth + 1] not in own
        for depth in range(len(keys))
        for component in living
    )


def _merged(child: Component, bases: list[Component]) -> Component:
    if not bases or (child.form == "other" and child.unsure):
        return child
    base = bases[-1]
    values = dict(base.values)
    for key, value in child.values:
        values[key] = _over(values[key], value) if key in values else value
    unsure = child.unsure or base.unsure
    if len(bases) > 1:
        unsure = unsure or f"its base {base.origin} writes it in more than one place"
    return replace(child, values=tuple(values.items()), unsure=unsure)


def _over(base: Value, child: Value) -> Value:
    """What mmengine makes of a value of the child where the base has one too."""
    if not isinstance(child.value, dict):
        return child
    if base.literal or child.value.get("_delete_"):
        return Value(True, _merge(base.value, child.value), child.text)
    return Value(False, None, child.text)


def _merge(base: object, child: dict[object, object]) -> dict[object, object]:
    deleted = child.get("_delete_")
    merged = dict(base) if isinstance(base, dict) and not deleted else {}
    for key, value in child.items():
        if key != "_delete_":
            merged[key] = _merge(merged[key], value) if isinstance(value, dict) and key in merged else value
    return merged


def _only_inherited(base: Component, span: Span, conditional: bool) -> Component:
    ways = [way for way in ("conditional", "nested") if way in base.ways or (conditional and way == "conditional")]
    return Component(
        keys=base.keys,
        span=span,
        statement=span,
        form="other",
        text=base.text,
        values=base.values,
        ways=("inherited", *ways),
        unsure=base.unsure,
        delete=base.delete,
        origin=base.origin,
    )
