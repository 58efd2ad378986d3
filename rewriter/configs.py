"""Read what a config file says, with :mod:`ast` alone: nothing of it is executed.

A small abstract run over the module body: every top-level statement is looked at once, in order, with a note of what
each name holds by then (dicts, or an immutable literal). Function and class bodies are not entered.

Every ``dict(...)`` and ``{...}`` bound to a top-level name is a component, and so is every such dict that is a value
of one under a key that is an identifier, at any depth; which of them matter is for the rules to say.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator

from rewriter.decoding import Decoded, decode
from rewriter.frozen import replace
from rewriter.statements import Placed, outline, pieces, shape
from rewriter.types import Component, ConfigFile, Form, Ignore, Keyword, Override, Problem, Span, Value

# Names that hold a component even where what is bound to them is not a dict that can be read.
OPAQUE_NAMES = frozenset({"text_encoder", "vae", "t5", "clip", "ae", "model", "vae_2d", "discriminator"})

_TEXT = 200  # characters of source that a Value or a Component carries
_DEEPEST = 16  # of nested components: a dict that holds itself must not be followed for ever
_HARMLESS = frozenset({"print", "pprint", "len", "repr", "str", "isinstance", "type", "id", "sorted", "list"})
_MUTATORS = frozenset({"update", "pop", "setdefault", "clear", "popitem"})
_GLOBAL = rb"[\r\n;:][ \t\f]*global[ \t\f\\]"
_MARKER = b"opensora-rewriter:"
_IGNORE = r"#\s*opensora-rewriter:\s*ignore(?:\[([\w\s,]+)\]|(?!\w|\[))"


_MOST_READINGS = 500
_outlines: set[tuple[Placed, ...]] = set()  # of files that have been read
_readings: dict[tuple[Placed, ...], tuple[tuple[Component, ...], frozenset[str]]] = {}  # by the shape of the file


def effective(component: Component) -> dict[str, Value]:
    """What a build would see, by key: defaults, then what is written, then certain later overrides."""
    return dict(component.values)


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
    except RecursionError:
        return ConfigFile(path, problem=Problem(1, 0, "the file nests expressions too deeply", "leave the file out"))
    if reader.problem:
        return ConfigFile(path, problem=reader.problem)
    components = tuple([place.component() for place in reader.places])
    assigned = frozenset(reader.assigned)
    if alike is not None and reader.base_span is None and reader.bases_unknown is None:
        if len(_readings) >= _MOST_READINGS:
            _readings.clear()
        own = {piece.plain[0] for piece, _ in found if piece.plain} - {
            piece.plain[0] for piece, _ in alike if piece.plain
        }
        _readings[alike] = components, assigned - own
    return ConfigFile(
        path,
        components=components,
        bases=tuple(reader.bases),
        bases_unknown=reader.bases_unknown,
        assigned=assigned,
        ignores=ignores,
        base_span=reader.base_span,
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

    text = source.utf8.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
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
        "children", "form", "names", "overrides", "span", "statement", "text", "unsure", "values", "ways", "written"
    )  # fmt: skip

    def __init__(self, form: Form, span: Span, statement: Span, text: str) -> None:
        self.form = form
        self.span = span
        self.statement = statement
        self.text = text
        self.written: list[Keyword] = []
        self.values: dict[str, Value] = {}  # defaults and what is written, without overrides
        self.children: dict[str, list[_Held]] = {}
        self.ways: list[str] = []
        self.unsure: str | None = None
        self.overrides: list[Override] = []
        self.names: list[str] = []

    def doubt(self, why: str) -> None:
        self.unsure = self.unsure or why

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


class _Held:
    """That some name or key holds a dict: for sure or on a condition, its own or somebody else's."""

    __slots__ = ("alias", "conditional", "dict")

    def __init__(self, held: _Dict, conditional: bool = False, alias: bool = False) -> None:
        self.dict = held
        self.conditional = conditional
        self.alias = alias


class _Place:
    """A key path that holds a dict: what becomes a Component."""

    __slots__ = ("dict", "keys", "replaced_by", "ways")

    def __init__(self, keys: tuple[str, ...], held: _Dict, ways: tuple[str, ...]) -> None:
        self.keys = keys
        self.dict = held
        self.ways = ways
        self.replaced_by: int | None = None

    def component(self) -> Component:
        held = self.dict
        values = held.current()
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
            overrides=tuple(held.overrides),
            replaced_by=self.replaced_by,
            shared_with=tuple(n for n in held.names if n != self.keys[0]) if len(held.names) > 1 else (),
            delete=delete is not None and delete.value is True,
        )


_Constant = tuple[ast.expr, int]  # the node, and what its line numbers lack


class _Outcome:
    """What an expression gives: the dicts that it may be, and whether it may be something that cannot be seen."""

    __slots__ = ("conditional", "constant", "dicts", "opaque")

    def __init__(self, dicts: list[_Held], opaque: bool = False, constant: _Constant | None = None) -> None:
        self.dicts = dicts
        self.opaque = opaque
        self.constant = constant
        self.conditional = False

    def only(self) -> _Dict | None:
        """The one dict that it is for sure, or None."""
        if len(self.dicts) == 1 and not self.dicts[0].conditional and not self.opaque:
            return self.dicts[0].dict
        return None


class _NotLiteral(Exception):  # noqa: N818 - a signal inside this module, not an error
    """The expression is not a literal."""


_NONE = _Outcome([])
_PLAIN = (ast.Constant, ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp, ast.Lambda, ast.UnaryOp, ast.Compare)


class _Reader:
    """One abstract run over one module."""

    def __init__(self, source: Decoded, path: str) -> None:
        self.path = path
        self.utf8 = source.utf8
        self._lines: list[bytes] = source.utf8.splitlines()  # bytes: at \n, \r\n and \r, as ast counts
        self.statement = Span(1, 0, 1, 0)
        self.lack = 0  # what the line numbers of the present statement's nodes lack
        self.conditional = False
        self.held: dict[str, list[_Held]] = {}
        self.constants: dict[str, _Constant] = {}
        self.unstable: set[str] = set()  # names that a function may bind anew
        self.places: list[_Place] = []
        self.by_name: dict[str, list[_Place]] = {}
        self.assigned: set[str] = set()
        self.bases: list[str] = []
        self.bases_unknown: str | None = None
        self.base_span: Span | None = None
        self.problem: Problem | None = None

    def run(self, found: list[Placed]) -> None:
        if b"global" in self.utf8 and re.search(_GLOBAL, self.utf8):
            inner = (node for piece, _ in found for statement in piece.nodes for node in ast.walk(statement))
            self.unstable = {n for node in inner if isinstance(node, ast.Global) for n in node.names}
        for piece, self.lack in found:
            if piece.plain is not None:
                self._plain(*piece.plain)
                continue
            for statement in piece.nodes:
                self.statement = self._span(statement)
                self._visit(statement)

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
            self.constants[name] = (value, self.lack)

    # --- statements ---

    def _visit(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            self._assign(node)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self._bind_target(node.target, node.value, self._evaluate(node.value), ("annotated",))
        elif isinstance(node, ast.Expr):
            self._expression(node.value)
        elif isinstance(node, ast.AugAssign):
            self._augmented(node)
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                self._delete(target)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                self._rebind((alias.asname or alias.name).split(".")[0], self._line(node))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._rebind(node.name, self._line(node))
        else:
            self._compound(node)

    def _compound(self, node: ast.stmt) -> None:
        if isinstance(node, ast.With) and any(_is_read_base(item.context_expr) for item in node.items):
            self.bases_unknown = f"line {self._line(node)} reads its bases by `read_base`, which only running can tell"
            return
        outside, self.conditional = self.conditional, True
        if isinstance(node, (ast.For, ast.While)):
            for inner in ast.walk(node):  # what a later turn of the loop binds is not what stands before it
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    self._forget(inner.id)
        for name in _bound_by_header(node):
            self._rebind(name, self._line(node))
        test = getattr(node, "test", None)
        if isinstance(test, ast.NamedExpr):
            self._expression(test)
        for body in _bodies(node):
            for statement in body:
                self._visit(statement)
        self.conditional = outside

    def _assign(self, node: ast.Assign) -> None:
        if isinstance(node.value, ast.Call):
            self._method(node.value)
        outcome = self._evaluate(node.value)
        if len(node.targets) > 1:
            for held in outcome.dicts:
                held.alias = True
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == "_base_":
                self._read_bases(node)
            self._bind_target(target, node.value, outcome, ())

    def _bind_target(self, target: ast.expr, value: ast.expr, outcome: _Outcome, ways: tuple[str, ...]) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, outcome, ways, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._bind_many(target.elts, value, ways)
        elif isinstance(target, (ast.Subscript, ast.Attribute)):
            self._set_item(target, value, outcome)
        elif isinstance(target, ast.Starred):
            self._bind_target(target.value, value, _NONE, ways)

    def _bind_many(self, targets: list[ast.expr], value: ast.expr, ways: tuple[str, ...]) -> None:
        """``a, b = dict(), dict()``: pair by pair where both sides can be counted."""
        starred = any(isinstance(t, ast.Starred) for t in targets)
        if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(targets) and not starred:
            outcomes = [self._evaluate(v) for v in value.elts]  # all of them before the first is bound
            for target, part, outcome in zip(targets, value.elts, outcomes, strict=True):
                self._bind_target(target, part, outcome, ways)
        else:
            for target in targets:
                self._bind_target(target, value, _Outcome([], opaque=True), ways)

    def _bind(self, name: str, outcome: _Outcome, ways: tuple[str, ...], value: ast.expr) -> None:
        self._rebind(name, self._line(value))
        dicts = outcome.dicts
        if outcome.opaque and name in OPAQUE_NAMES and not dicts:
            dicts = [_Held(self._opaque(value))]
        held = [_Held(h.dict, h.conditional or self.conditional or outcome.opaque, h.alias) for h in dicts]
        if self.conditional:
            for earlier in self.held.get(name, ()):
                earlier.conditional = True
            self.held[name] = [*self.held.get(name, ()), *held]
        else:
            self.held[name] = held
            if outcome.constant is not None and name not in self.unstable:
                self.constants[name] = outcome.constant
        if name in self.unstable:
            for h in self.held[name]:
                h.conditional = True
        for h, given in zip(held, dicts, strict=True):
            conditional = given.conditional or self.conditional
            self._place((name,), h.dict, ways, given.alias, conditional)

    def _place(self, keys: tuple[str, ...], held: _Dict, ways: tuple[str, ...], alias: bool, conditional: bool) -> None:
        if len(keys) > _DEEPEST:
            return
        if keys[0] not in held.names:
            held.names.append(keys[0])
        own = (("alias",) if alias else ()) + (("conditional",) if conditional else ())
        place = _Place(keys, held, ways + own + (("nested",) if len(keys) > 1 else ()))
        self.places.append(place)
        self.by_name.setdefault(keys[0], []).append(place)
        for key, children in held.children.items():
            for child in children:
                self._place((*keys, key), child.dict, ways, alias or child.alias, conditional or child.conditional)

    def _rebind(self, name: str, line: int) -> None:
        """``name`` is bound anew: what it held before is replaced, unless that depends on a condition."""
        self.assigned.add(name)
        self.constants.pop(name, None)
        if self.conditional:
            return
        self.held.pop(name, None)
        for place in self.by_name.get(name, ()):
            if place.replaced_by is None:
                place.replaced_by = line

    def _forget(self, name: str) -> None:
        self.constants.pop(name, None)
        for held in self.held.get(name, ()):
            held.conditional = True

    def _read_bases(self, node: ast.Assign) -> None:
        self.base_span = self._span(node)
        value = node.value
        parts = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
        for part in parts:
            base = part.value if isinstance(part, ast.Constant) else None
            if not isinstance(base, str) or "{{" in base or "::" in base or self.conditional:
                text = self._text(part)
                self.bases_unknown = (
                    f"line {self._line(node)}: `_base_` says {text}, which cannot be told without running it"
                )
            else:
                self.bases.append(os.path.normpath(os.path.join(os.path.dirname(self.path), base)))

    # --- changes to dicts that are already there ---

    def _expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.NamedExpr):
            outcome = self._evaluate(node.value)
            for held in outcome.dicts:
                held.conditional = True
            self._bind(node.target.id, outcome, (), node.value)
        elif isinstance(node, ast.Call) and not self._method(node):
            function = node.func
            if isinstance(function, ast.Name) and function.id in _HARMLESS:
                return
            for argument in (*node.args, *(k.value for k in node.keywords)):
                for given in self._target(argument) if isinstance(argument, ast.Name) else ():
                    given.doubt(f"line {self._line(node)} hands it to {self._text(function)}, which may change it")

    def _augmented(self, node: ast.AugAssign) -> None:
        targets = self._target(node.target)
        if targets and isinstance(node.op, ast.BitOr):
            self._update(targets, node.value, self._line(node))
        elif isinstance(node.target, (ast.Subscript, ast.Attribute)):
            self._set_item(node.target, node, _NONE)
        elif isinstance(node.target, ast.Name):
            self._rebind(node.target.id, self._line(node))

    def _delete(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._rebind(target.id, self._line(target))
        elif isinstance(target, (ast.Tuple, ast.List)):
            for inner in target.elts:
                self._delete(inner)
        elif isinstance(target, (ast.Subscript, ast.Attribute)):
            self._set_item(target, None, _NONE)

    def _set_item(self, target: ast.Subscript | ast.Attribute, value: ast.AST | None, outcome: _Outcome) -> None:
        parents = self._target(target.value)
        if not parents:
            return
        key = target.attr if isinstance(target, ast.Attribute) else self._key(target.slice)
        known = self._value(value) if isinstance(value, ast.expr) else None
        if value is not None and known is None:
            known = Value(False, None, self._text(value))
        self._set_key(parents, key, known, outcome.dicts, self._line(target))

    def _set_key(
        self, parents: list[_Dict], key: str | None, value: Value | None, dicts: list[_Held], line: int
    ) -> None:
        """A key of ``parents`` gets ``value`` (None: it goes away) at ``line``; ``dicts``: what it then holds."""
        certain = not self.conditional
        for parent in parents:
            parent.overrides.append(Override(key, value if key is not None else None, line, certain))
            if key is None:
                parent.doubt(f"line {line} changes keys that cannot be told without running it")
                continue
            for place in [p for p in self.places if p.dict is parent]:
                keys = (*place.keys, key)
                if certain:
                    for old in self.by_name[keys[0]]:
                        if old.keys[: len(keys)] == keys and old.replaced_by is None:
                            old.replaced_by = line
                for held in dicts:
                    self._place(keys, held.dict, (), held.alias, held.conditional or self.conditional)
            if certain:
                parent.children[key] = dicts
            else:
                parent.children.setdefault(key, []).extend(dicts)

    def _method(self, node: ast.Call) -> bool:
        """``vae.update(...)`` and its like. True where it was one, on a dict that is known."""
        function = node.func
        if not isinstance(function, ast.Attribute) or function.attr not in _MUTATORS:
            return False
        targets = self._target(function.value)
        if not targets:
            return False
        name, args, line = function.attr, node.args, self._line(node)
        if name == "update":
            for argument in args:
                self._update(targets, argument, line)
            for k in node.keywords:
                if k.arg is None:
                    self._update(targets, k.value, line)
                else:
                    self._set_key(targets, k.arg, self._value(k.value), self._evaluate(k.value).dicts, line)
        elif name == "pop" and args:
            self._set_key(targets, self._key(args[0]), None, [], line)
        elif name == "setdefault" and args:
            key = self._key(args[0])
            lacking = [t for t in targets if key is None or key not in t.current()]
            if lacking:
                value = self._value(args[1]) if len(args) > 1 else Value(True, None, "None")
                self._set_key(lacking, key, value, self._evaluate(args[1]).dicts if len(args) > 1 else [], line)
        else:
            self._set_key(targets, None, None, [], line)
        return True

    def _update(self, targets: list[_Dict], argument: ast.expr, line: int) -> None:
        given = self._evaluate(argument).only()
        if given is None or given.unsure:
            self._set_key(targets, None, None, [], line)
        if given is not None:
            for key, value in given.current().items():
                self._set_key(targets, key, value, given.children.get(key, []), line)

    def _target(self, node: ast.expr) -> list[_Dict]:
        """The dicts that ``name``, ``name["key"]``, ``name.key`` may be."""
        if isinstance(node, ast.Name):
            return [h.dict for h in self.held.get(node.id, ())]
        if isinstance(node, (ast.Subscript, ast.Attribute)):
            key = node.attr if isinstance(node, ast.Attribute) else self._key(node.slice)
            parents = self._target(node.value)
            return [h.dict for p in parents for h in p.children.get(key, ())] if key is not None else []
        return []

    def _key(self, node: ast.expr) -> str | None:
        try:
            key = self._literal(node)
        except _NotLiteral:
            return None
        return key if isinstance(key, str) else None

    # --- expressions ---

    def _evaluate(self, node: ast.expr) -> _Outcome:
        if isinstance(node, ast.Constant):
            return _Outcome([], constant=(node, self.lack))
        if isinstance(node, ast.Dict):
            return _Outcome([_Held(self._literal_dict(node))])
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.IfExp):
            return self._either(node.body, node.orelse)
        if isinstance(node, ast.BoolOp):
            return self._either(*node.values)
        if isinstance(node, ast.NamedExpr):
            self._expression(node)
            return self._name(node.target)
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        if isinstance(node, _PLAIN):
            return _Outcome([], constant=(node, self.lack) if isinstance(node, (ast.Tuple, ast.UnaryOp)) else None)
        return _Outcome([], opaque=True)

    def _either(self, *nodes: ast.expr) -> _Outcome:
        outcomes = [self._evaluate(node) for node in nodes]
        dicts = [_Held(h.dict, True, h.alias) for outcome in outcomes for h in outcome.dicts]
        return _Outcome(dicts, opaque=any(outcome.opaque for outcome in outcomes))

    def _name(self, node: ast.Name) -> _Outcome:
        dicts = [_Held(h.dict, h.conditional, alias=True) for h in self.held.get(node.id, ())]
        constant = self.constants.get(node.id)
        return _Outcome(dicts, opaque=not dicts and constant is None, constant=constant)

    def _binary(self, node: ast.BinOp) -> _Outcome:
        if not isinstance(node.op, ast.BitOr):
            return _Outcome([], opaque=not _is_text(node.left) and not _is_text(node.right))
        left, right = self._evaluate(node.left), self._evaluate(node.right)
        base, top = left.only(), right.only()
        if top is None or right.dicts[0].alias:  # nothing is written here that an edit could change for this name alone
            held = self._opaque(node)
            held.unsure = None
            self._default(held, base, node.left)
            self._default(held, top, node.right)
            return _Outcome([_Held(held)])
        values, top.values = top.values, {}
        self._default(top, base, node.left)
        top.values.update(values)
        top.ways.append("positional")
        return right

    def _call(self, node: ast.Call) -> _Outcome:
        function = node.func
        if isinstance(function, ast.Name) and function.id == "dict" and "dict" not in self.assigned:
            return _Outcome([_Held(self._call_dict(node))])
        original: ast.expr | None = None
        if isinstance(function, ast.Attribute) and function.attr == "copy" and not node.args:
            original = function.value
        elif _last_name(function) in ("deepcopy", "copy") and len(node.args) == 1:
            original = node.args[0]
        copied = self._evaluate(original).only() if isinstance(original, ast.Name) else None
        if copied is None:
            return _Outcome([], opaque=True)
        held = self._opaque(node)
        held.values, held.unsure = copied.current(), copied.unsure
        return _Outcome([_Held(held)])

    def _call_dict(self, node: ast.Call) -> _Dict:
        held = self._new("call", node)
        for argument in node.args:
            if isinstance(argument, ast.Call) and _last_name(argument.func) == "items" and not argument.args:
                argument = argument.func.value if isinstance(argument.func, ast.Attribute) else argument
            if "positional" not in held.ways:
                held.ways.append("positional")
            self._default(held, self._evaluate(argument).only(), argument)
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
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self._spread(held, value)
            elif isinstance(key, ast.Constant):
                if isinstance(key.value, str):
                    self._write(held, key.value, value)
            elif (name := self._key(key)) is not None:
                held.values[name] = self._value(value)
            elif not isinstance(key, (ast.Tuple, ast.UnaryOp)):
                held.doubt(f"line {self._line(key)}: the key {self._text(key)} cannot be told without running the file")
        return held

    def _write(self, held: _Dict, key: str, node: ast.expr) -> None:
        value = self._value(node)
        held.written.append(Keyword(key, value, self._span(node)))
        held.values[key] = value
        if type(node) is ast.Constant:
            return
        if key.isidentifier():
            outcome = self._evaluate(node)
            dicts = outcome.dicts
            if not dicts and outcome.opaque and key in OPAQUE_NAMES:
                dicts = [_Held(self._opaque(node))]
            if dicts:
                held.children[key] = dicts

    def _spread(self, held: _Dict, node: ast.expr) -> None:
        if "spread" not in held.ways:
            held.ways.append("spread")
        self._default(held, self._evaluate(node).only(), node)

    def _default(self, held: _Dict, given: _Dict | None, node: ast.expr) -> None:
        if given is None:
            held.doubt(
                f"line {self._line(node)}: what {self._text(node)} holds cannot be told without running the file"
            )
            return
        if given.unsure:
            held.doubt(given.unsure)
        held.values.update(given.current())
        for key, children in given.children.items():
            held.children[key] = [_Held(h.dict, h.conditional, alias=True) for h in children]

    def _new(self, form: Form, node: ast.expr) -> _Dict:
        return _Dict(form, self._span(node), self.statement, self._text(node))

    def _opaque(self, node: ast.expr) -> _Dict:
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
            value = node.value
            if type(value) is str and "{{" in value and self._templated(node):
                raise _NotLiteral
            return value
        if isinstance(node, (ast.Tuple, ast.List)):
            # numbers by the thousand stand in buckets of resolutions: spare them a call each
            items = [
                e.value if type(e) is ast.Constant and type(e.value) is not str else self._literal(e) for e in node.elts
            ]
            return items if isinstance(node, ast.List) else tuple(items)
        if isinstance(node, ast.Name):
            if (constant := self.constants.get(node.id)) is not None:
                here = self.lack
                definition, self.lack = constant
                try:
                    return self._literal(definition)
                finally:
                    self.lack = here
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
        if first == last:
            if end - column <= _TEXT:
                return line[column:end].decode("utf-8")
            text = line[column : min(end, column + 4 * _TEXT)].decode("utf-8", "ignore")
        else:
            lines = [line[column:], *self._lines[first : min(last - 1, first + _TEXT)]]
            if last - 1 <= first + _TEXT:
                lines.append(self._lines[last - 1][:end])
            text = b" ".join([part[: 4 * _TEXT].strip() for part in lines]).decode("utf-8", "ignore")
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


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, (ast.JoinedStr, ast.Constant))


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_read_base(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _last_name(node.func) == "read_base"


def _bodies(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The bodies of a compound statement, in the order in which they are written."""
    yield getattr(node, "body", [])
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body
    yield getattr(node, "orelse", [])
    yield getattr(node, "finalbody", [])


def _bound_by_header(node: ast.stmt) -> Iterator[str]:
    """Names that a compound statement binds itself: targets of ``for``, ``with``, ``except``, ``case``."""
    headers: list[ast.AST | None] = [getattr(node, "target", None)]
    headers += [item.optional_vars for item in getattr(node, "items", ())]
    headers += [case.pattern for case in getattr(node, "cases", ())]
    for header in headers:
        for part in ast.walk(header) if header is not None else ():
            name = getattr(part, "id", None) or getattr(part, "name", None) or getattr(part, "rest", None)
            if isinstance(name, str) and not isinstance(getattr(part, "ctx", None), ast.Load):
                yield name
    for handler in getattr(node, "handlers", ()):
        if handler.name:
            yield handler.name


# --- _base_ -----------------------------------------------------------------------------------------


def inherit(config: ConfigFile, lookup: Callable[[str], ConfigFile | None]) -> ConfigFile:
    """Complete the components of ``config`` by what its ``_base_`` files write, as mmengine merges them.

    A dict of the child gets the base's values first, unless ``_delete_=True`` stands in it or in a dict around it. What
    only a base writes becomes a component of form "other", way "inherited", at the span of the ``_base_`` assignment,
    with the base's values and its path in ``origin``: it can be edited there, not here.

    Args:
        config: what :func:`read_config` gave.
        lookup: gives the config file at an absolute path, or None where there is none to read.

    Returns:
        The completed file; ``config`` itself where it has no bases.
    """
    return _inherit(config, lookup, (config.path,))


def _inherit(config: ConfigFile, lookup: Callable[[str], ConfigFile | None], chain: tuple[str, ...]) -> ConfigFile:
    if config.problem or not config.bases:
        return config
    unknown = config.bases_unknown
    assigned = set(config.assigned)
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
        for component in base.components:
            if component.replaced_by is None:
                origin = component.origin or path
                inherited.setdefault(component.keys, []).append(replace(component, origin=origin))
    own = {c.keys for c in config.components}
    cut = {c.keys for c in config.components if c.delete}
    components = [_merged(c, inherited.get(c.keys, [])) if not _is_cut(c.keys, cut) else c for c in config.components]
    span = config.base_span or Span(1, 0, 1, 0)
    for keys, candidates in inherited.items():
        if keys in own or _is_cut(keys, cut) or _hides(config, keys, own):
            continue
        components += [_only_inherited(c, span) for c in candidates]
    return replace(config, components=tuple(components), assigned=frozenset(assigned), bases_unknown=unknown)


def _is_cut(keys: tuple[str, ...], cut: set[tuple[str, ...]]) -> bool:
    return any(keys[: len(c)] == c for c in cut)


def _hides(config: ConfigFile, keys: tuple[str, ...], own: set[tuple[str, ...]]) -> bool:
    """Whether the child puts something that is no dict where the base has the dict at ``keys``."""
    if (keys[0],) not in own:
        return keys[0] in config.assigned
    for depth in range(len(keys) - 1, 0, -1):
        for component in config.components:
            if component.keys == keys[:depth] and keys[depth] in dict(component.values):
                return keys[: depth + 1] not in own
    return False


def _merged(child: Component, bases: list[Component]) -> Component:
    if not bases or child.form == "other":
        return child
    base = bases[-1]
    values = {**dict(base.values), **dict(child.values)}
    unsure = child.unsure or base.unsure
    if len(bases) > 1:
        unsure = unsure or f"its base {base.origin} writes it in more than one place"
    return replace(child, values=tuple(values.items()), unsure=unsure)


def _only_inherited(base: Component, span: Span) -> Component:
    return Component(
        keys=base.keys,
        span=span,
        statement=span,
        form="other",
        text=base.text,
        values=base.values,
        ways=("inherited", *(w for w in base.ways if w in ("conditional", "nested"))),
        unsure=base.unsure,
        overrides=(),
        delete=base.delete,
        origin=base.origin,
    )
