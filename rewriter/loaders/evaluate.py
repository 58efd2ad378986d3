"""A small abstract interpretation of a loader: which hub calls remain for given keyword values, and what they get."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from rewriter.frozen import Frozen
from rewriter.loaders import library
from rewriter.loaders.state import LEFT, MAYBE, MISSING, NEXT, RAISED, Exits, State, Way, goes_on
from rewriter.loaders.unit import FunctionNode, Unit, bound, imported
from rewriter.loaders.values import (
    NONE,
    TRACKED,
    Cells,
    Choice,
    Class,
    Const,
    Dict,
    External,
    Function,
    Given,
    Instance,
    Lazy,
    Method,
    Module,
    Partial,
    Sequence,
    Super,
    Unknown,
    Val,
    elements,
    from_literal,
    join,
    key_of,
    options,
    tracked,
    truth,
)
from rewriter.types import Failure, HubCall, Rejection, Step, Trace, Value

if TYPE_CHECKING:
    from rewriter.loaders.sources import Sources

MAX_DEPTH = 40
MAX_STEPS = 50_000
MAX_LOOP = 16

Place = tuple[str, int, int, int, int]
"""Path, and where a node starts and ends."""


def place_of(path: str, node: ast.expr | ast.stmt) -> Place:
    """The place of a node."""
    return path, node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0


class Virtual:
    """Edits taken as if they were made. Keys are the places of function definitions, calls, dicts and ``if``s."""

    __slots__ = ("guards", "keywords", "parameters")

    def __init__(self) -> None:
        self.parameters: dict[Place, dict[str, object]] = {}  # name -> default
        self.keywords: dict[Place, dict[str, str]] = {}  # keyword -> local name
        self.guards: dict[Place, tuple[str, tuple[tuple[str, str], ...]]] = {}


class Link(Frozen):
    """How a frame was entered: by ``node`` (a call or a dict that is built into an object) in ``frame``.

    ``kind`` "config": the dict stands in the config, so nothing in the sources can give it a keyword. "object": the
    values come by way of an object (``PreTrainedModel.from_pretrained`` builds a config object from its keywords).
    ``names``: local variables of ``frame`` that held a tracked key then, ``{key: name}``.
    """

    frame: Frame
    node: ast.expr
    kind: str  # "call", "dict", "config", "object"
    names: Mapping[str, str]


class Frame:
    """One activation of a function (or the top level of a module: ``node`` None)."""

    __slots__ = (
        "breaks", "captured", "cls", "continues", "env", "forks", "generates", "given", "link", "node", "outer",
        "registered", "returned", "returns", "shared", "unit", "value",
    )  # fmt: skip

    def __init__(self, unit: Unit, node: FunctionNode | None, outer: Frame | None, cls: Class | None) -> None:
        self.unit = unit
        self.node = node
        self.outer = outer
        self.cls = cls
        self.env = Cells()
        self.shared: dict[str, Cells] = {}  # of ``global`` and ``nonlocal``: where a name stands
        self.link: Link | None = None
        self.returned: list[Val] = []
        self.returns = self.breaks = self.continues = Exits(0)
        self.forks = 0  # how many were being gone when it was entered
        self.generates = False
        self.captured: str | None = None  # the name of **kwargs
        self.value: Function | None = None
        self.given: dict[str, Val] = {}  # parameters that the call feeds
        self.registered = False  # the function is built from a config


class Reach(Frozen):
    """A hub call with what :mod:`rewriter.thread` needs to lead a keyword to it."""

    call: HubCall
    frame: Frame
    node: ast.Call
    names: Mapping[str, str]
    given: Mapping[str, Val]  # keywords of the call itself


class Refused(Frozen):
    """A rejection, with the frame whose call was refused."""

    rejection: Rejection
    value: Val
    frame: Frame | None
    node: ast.expr | None


class Arguments:
    """What a call passes. ``is_open``: it has ``*args`` or ``**kwargs`` that could not be told."""

    __slots__ = ("is_open", "keywords", "positional")

    def __init__(self, positional: list[Val], keywords: dict[str, Val], is_open: bool = False) -> None:
        self.positional = positional
        self.keywords = keywords
        self.is_open = is_open

    def values(self) -> list[Val]:
        """Every one of them."""
        return [*self.positional, *self.keywords.values()]

    def kept(self) -> Arguments:
        """The same with each list as it is now, for a call that is put off."""
        if not any(type(value) is Sequence for value in self.values()):
            return self
        named = {name: _kept(value) for name, value in self.keywords.items()}
        return Arguments([_kept(value) for value in self.positional], named, self.is_open)


_Made = list[tuple[Val, Val]]  # keys and elements of a comprehension


class _TooMuchError(Exception):
    """The evaluation went on for too long."""


class Evaluation:
    """One registered name with one set of keyword values."""

    def __init__(self, sources: Sources, virtual: Virtual) -> None:
        self.sources = sources
        self.virtual = virtual
        self.reaches: list[Reach] = []
        self.refused: list[Refused] = []
        self.failures: list[Failure] = []
        self.unknown: list[str] = []
        self.loader: Function | None = None
        self.type_name = ""
        self.found = False
        self.accepts: frozenset[str] = frozenset()
        self.defined: tuple[str, int] = ("", 0)
        self._modules: dict[tuple[str, str], Val] = {}
        self._frames: dict[str, Frame] = {}
        self._stack: list[tuple[Frame, int]] = []  # frame, line of the call that leads on
        self.state = State()
        self._via: tuple[str, ...] = ()
        self._built = False
        self._given: dict[str, Val] = {}
        self._left_out: dict[str, Given] = {}  # defaults of the registered function
        self._attributes: dict[ast.ClassDef, Cells] = {}  # of classes: what is set while the loader runs
        self._steps = 0
        self._aside = 0  # above 0: what is evaluated was put off, its assertions are none of ours
        self._tracks = True  # False: no value of this evaluation is that of a tracked keyword

    # --- from outside

    def run(self, type_name: str, values: Mapping[str, Value]) -> None:
        """Evaluate; the results lie in the attributes."""
        self.type_name = type_name
        given = {name: from_literal(value, tracked(name), (name,)) for name, value in values.items()}
        for name in ("type", "_scope_", "_delete_"):
            given.pop(name, None)
        self._given = dict(given)
        self._tracks = any(name in TRACKED or isinstance(value, Dict) for name, value in given.items())
        try:
            self._build(type_name, Arguments([], given), None)
        except _TooMuchError:
            self._note("the evaluation of this loader was given up: it is too long")
        except RecursionError:
            self._note("the evaluation of this loader was given up: it is nested too deeply")

    def asked(self) -> frozenset[str]:
        """The keywords whose values, or whose being left out, had a part in the result."""
        values = {**self._left_out, **self._given}
        return frozenset(name for name, value in values.items() if not isinstance(value, Given) or value.asked)

    def parameters(self) -> dict[str, bool]:
        """The parameters of the registered function that the config may give: whether the default is a constant."""
        if self.loader is None:
            return {}
        spec = self.loader.node.args
        defaults = {each.arg: default for each, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)}
        late = [*[None] * (len(spec.args) + len(spec.posonlyargs) - len(spec.defaults)), *spec.defaults]
        defaults.update(zip([each.arg for each in spec.args], late[len(spec.posonlyargs) :], strict=True))
        return {name: isinstance(default, ast.Constant) for name, default in defaults.items()}

    def trace(self) -> Trace:
        """The result for others."""
        calls: list[HubCall] = []
        for reach in self.reaches:
            if reach.call not in calls:
                calls.append(reach.call)
        return Trace(
            type=self.type_name,
            found=self.found,
            path=self.defined[0],
            line=self.defined[1],
            accepts=self.accepts,
            calls=tuple(calls),
            rejections=tuple(dict.fromkeys(each.rejection for each in self.refused)),
            failures=tuple(dict.fromkeys(self.failures)),
            unknown=tuple(dict.fromkeys(self.unknown)),
        )

    # --- registered names

    def _build(self, type_name: str, arguments: Arguments, link: Link | None) -> Val:
        """Build a registered name, as ``Registry.build`` does."""
        registration = self.sources.index().get(type_name)
        if registration is None:
            if link is not None:
                self._note(f'"{type_name}" is not registered in the sources')
            return Unknown()
        unit = self.sources.unit(registration.path)
        value = self.resolve(unit, registration.definition) if unit else Unknown()
        if link is None:
            self._describe(value, registration.path)
        if not isinstance(value, (Class, Function)):
            self._note(
                f"the definition of {registration.definition} could not be read in {self._short(registration.path)}"
            )
            return Unknown()
        if link is None:
            return self._enter_build(value, arguments, link)
        return self._now_or_later(value, arguments, lambda told, later: self._enter_build(value, told, link, later))

    def _enter_build(
        self, value: Class | Function, arguments: Arguments, link: Link | None, tolerant: bool = False
    ) -> Val:
        self._built = True
        try:
            if isinstance(value, Function):
                return self._enter(value, arguments, link, tolerant)
            return self._instantiate(value, arguments, link, tolerant)
        finally:
            self._built = False

    def _describe(self, value: Val, path: str) -> None:
        """Fill in what is told about the registered loader itself."""
        if not isinstance(value, (Class, Function)):
            return
        self.found = True
        self.defined = (path, value.node.lineno)
        loader = self._find_method(value, "__init__") if isinstance(value, Class) else value
        if isinstance(loader, Function):
            self.loader = loader
            self.defined = (loader.unit.path, loader.node.lineno)
            self.accepts = frozenset(key for key in TRACKED if self._takes(loader, key))
        elif isinstance(value, Class) and (names := self._fields(value)) is not None:
            self.accepts = frozenset(key for key in TRACKED if key in names)

    def _takes(self, function: Function, key: str) -> bool:
        spec = self.sources.signature(function.node)
        return key in spec.keywords or spec.kwarg is not None or key in self._added(function)

    def _added(self, function: Function) -> dict[str, object]:
        return self.virtual.parameters.get(place_of(function.unit.path, function.node), {})

    # --- names

    def resolve(self, unit: Unit, name: str) -> Val:
        """The value of a top-level name of a file."""
        top = self._frames.get(unit.path)
        if top is not None and name in top.env:
            return top.env[name]
        place = (unit.path, name)
        known = self.sources.resolved.get(place) or self._modules.get(place)
        if known is not None:
            return known
        self._modules[place] = Unknown()  # a cycle tells nothing
        value = self._resolve(unit, name)
        if isinstance(value, (Class, Function, External, Module)):  # nothing that an evaluation could change
            self.sources.resolved[place] = value
        self._modules[place] = value
        return value

    def _resolve(self, unit: Unit, name: str) -> Val:
        nodes = unit.find(name)
        if nodes:
            node = nodes[-1]
            if isinstance(node, ast.ClassDef):
                return Class(unit, node, None)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return Function(unit, node, None)
            return self._constant(unit, nodes)
        if name in unit.imports():
            return self._import(*unit.imports()[name])
        for star in reversed(unit.stars()):
            target = self.sources.module(star)
            if target is not None and (name in target.names() or target.stars()):
                value = self.resolve(target, name)
                if not isinstance(value, Unknown) or name in target.names():
                    return value
        return External(f"builtins.{name}") if name in library.BUILTINS else Unknown()

    def _constant(self, unit: Unit, nodes: list[ast.stmt]) -> Val:
        """A variable of a module that is assigned once, by a plain assignment."""
        node = nodes[-1]
        if len(nodes) > 1 or not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            return Unknown()
        plain = isinstance(node, ast.AnnAssign) or isinstance(node.targets[0], ast.Name)
        return self.eval(node.value, self._top(unit)) if plain else Unknown()

    def _top(self, unit: Unit) -> Frame:
        if unit.path not in self._frames:
            self._frames[unit.path] = Frame(unit, None, None, None)
        return self._frames[unit.path]

    def _import(self, module: str, name: str | None) -> Val:
        if not self.sources.inside(module):
            return External(module if name is None else f"{module}.{name}")
        if name is None:
            unit = self.sources.module(module)
            return Module(unit) if unit else External(module)
        unit = self.sources.module(module)
        if unit is not None and (name in unit.names() or unit.stars()):
            value = self.resolve(unit, name)
            if not isinstance(value, Unknown) or name in unit.names():
                return value
        inner = self.sources.module(f"{module}.{name}")
        return Module(inner) if inner else External(f"{module}.{name}")

    def _name(self, name: str, frame: Frame) -> Val:
        if name in frame.shared:
            return frame.shared[name][name] if name in frame.shared[name] else self.resolve(frame.unit, name)
        scope: Frame | None = frame
        while scope is not None:
            if name in scope.env:
                return scope.env[name]
            scope = scope.outer
        return self.resolve(frame.unit, name)

    # --- classes

    def _bases(self, cls: Class) -> list[Val]:
        if cls.bases is None:
            cls.bases = []
            frame = cls.frame or self._top(cls.unit)
            cls.bases = [self._quiet(base, frame) for base in cls.node.bases]
        return cls.bases

    def _lineage(self, cls: Class) -> list[Class]:
        """The class and its bases in the checkout, nearest first."""
        found = [cls]
        for base in self._bases(cls):
            if isinstance(base, Class) and base is not cls:
                behind = self._lineage(base)
                found = [each for each in found if each not in behind] + behind  # a common base stands last
        return found

    def outside(self, cls: Class) -> list[str]:
        """Dotted names of the bases from outside the checkout that a class leads to."""
        return [base.name for each in self._lineage(cls) for base in self._bases(each) if isinstance(base, External)]

    def _member(self, cls: Class, name: str) -> ast.stmt | None:
        if cls.members is None:
            cls.members = {each: node for node in cls.node.body for each in bound(node)}
        if name not in cls.members and name not in cls.looked:
            cls.looked.add(name)
            found = cls.unit.method(cls.node, name) if f"def {name}" in cls.unit.text_of(cls.node.name) else None
            if found is not None:
                cls.members[name] = found
        return cls.members.get(name)

    def _find_method(self, cls: Class, name: str, after: Class | None = None) -> Val | None:
        """A member of a class or its bases in the checkout; ``after``: only of those behind that class."""
        lineage = self._lineage(cls)
        if after is not None:
            lineage = lineage[lineage.index(after) + 1 :] if after in lineage else []
        for owner in lineage:
            if owner.node in self._attributes and name in self._attributes[owner.node]:
                return self._attributes[owner.node][name]
            node = self._member(owner, name)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return Function(owner.unit, node, owner.frame, owner)
            if isinstance(node, ast.ClassDef):
                return Class(owner.unit, node, owner.frame or self._top(owner.unit))
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                return self.eval(node.value, self._top(owner.unit)) if node.value else Unknown()
            if node is not None:
                return Unknown()
        return None

    def _fields(self, cls: Class) -> list[str] | None:
        """The parameters of a dataclass; None: it is none."""
        if not any("dataclass" in ast.unparse(each) for each in cls.node.decorator_list):
            return None
        names: list[str] = []
        for owner in reversed(self._lineage(cls)):
            for node in owner.node.body:
                if (
                    isinstance(node, ast.AnnAssign)
                    and isinstance(node.target, ast.Name)
                    and node.target.id not in names
                ):
                    names.append(node.target.id)
        return names

    def _instantiate(self, cls: Class, arguments: Arguments, link: Link | None, tolerant: bool = False) -> Instance:
        instance = Instance(cls)
        new = self._find_method(cls, "__new__")
        if isinstance(new, Function) and _reads_hub(new.node):
            self._note(f"{new.name} in {self._short(new.unit.path)}:{new.node.lineno}: what it makes cannot be told")
        init = self._find_method(cls, "__init__")
        if isinstance(init, Function):
            self._enter(init.bind(instance), arguments, link, tolerant)
        elif (names := self._fields(cls)) is not None:
            self._fill(instance, names, arguments, tolerant)
            after = self._find_method(cls, "__post_init__")
            if isinstance(after, Function):
                by_object = Link(link.frame, link.node, "object", link.names) if link else None
                self._enter(after.bind(instance), Arguments([], {}), by_object)
        else:
            self._absorb(instance, arguments)
        return instance

    def _fill(self, instance: Instance, names: list[str], arguments: Arguments, tolerant: bool) -> None:
        """What the ``__init__`` of a dataclass does."""
        for name in names:
            default = self._find_method(instance.kind, name)
            self.state.write(instance.attributes, name, default or Unknown())
        for name, value in zip(names, arguments.positional, strict=False):
            self.state.write(instance.attributes, name, value)
        for name, value in arguments.keywords.items():
            if name in names:
                self.state.write(instance.attributes, name, value)
            elif not tolerant:
                self._reject(name, value, f"{instance.kind.node.name}.__init__", instance.kind.unit, instance.kind.node)

    def _absorb(self, instance: Instance, arguments: Arguments) -> None:
        """What a base from outside does with its arguments, as far as matters: a config keeps them as attributes."""
        for name, value in arguments.keywords.items():
            self.state.write(instance.attributes, name, value)
        if arguments.positional and "config" not in arguments.keywords:
            self.state.write(instance.attributes, "config", arguments.positional[0])

    # --- calls of the checkout's functions

    def _enter(self, function: Function, arguments: Arguments, link: Link | None, tolerant: bool = False) -> Val:
        """Evaluate the body of a function with these arguments."""
        if len(self._stack) >= MAX_DEPTH or [each.node for each, _ in self._stack].count(function.node) > 1:
            self._note(f"{function.name} ({self._short(function.unit.path)}:{function.node.lineno}) calls itself")
            return Unknown()
        node = function.unit.full(function.node)
        if node is not function.node:
            function = function.bind(function.bound, node)
        frame = Frame(function.unit, node, function.frame, function.owner)
        frame.link = link
        frame.value = function
        frame.registered, self._built = self._built, False
        self._bind(function, arguments, frame, tolerant)
        frame.returns = Exits(self.state.mark())
        frame.forks = self.state.forks
        self._stack.append((frame, node.lineno))
        status = self._body(node.body, frame)
        self._stack.pop()
        self.state.gather(frame.returns, goes_on(status))
        if frame.generates:
            return Unknown()
        returned = [*frame.returned, NONE] if goes_on(status) else frame.returned
        return functools.reduce(join, returned) if returned else NONE

    def _bind(self, function: Function, arguments: Arguments, frame: Frame, tolerant: bool) -> None:
        spec = self.sources.signature(function.node)
        added = self._added(function)
        positional = arguments.positional if function.bound is None else [function.bound, *arguments.positional]
        env = frame.env
        env.update(dict.fromkeys(spec.required, Unknown()))
        for name, default in spec.defaults:
            env[name] = self._default(name, default, function)
        for name, value in added.items():
            env[name] = Const(value)
        if not self._stack:
            for name, _ in spec.defaults:
                left = env.get(name)
                if name not in arguments.keywords and type(left) is Const:
                    env[name] = self._left_out[name] = Given(left.value, left.key, left.given)
        if arguments.is_open:  # something unseen may be passed for any of them
            for name in spec.named:
                if name not in arguments.keywords:
                    env[name] = Unknown()
        frame.given = dict(zip(spec.positional, positional, strict=False))
        env.update(frame.given)
        rest: dict[Any, Val] = {}
        for name, given in arguments.keywords.items():
            if name in spec.keywords or name in added:
                env[name] = frame.given[name] = given
            elif spec.kwarg is not None:
                rest[name] = given
            elif not tolerant:
                self._reject(name, given, function.name, function.unit, function.node)
        if spec.vararg is not None:
            env[spec.vararg] = Sequence(positional[len(spec.positional) :], fixed=True)
            if arguments.is_open:
                env[spec.vararg] = Unknown()
        if spec.kwarg is not None:
            frame.captured = spec.kwarg
            env[spec.kwarg] = Dict(rest, arguments.is_open)

    def _default(self, name: str, node: ast.expr, function: Function) -> Val:
        if type(node) is ast.Constant:
            return Const(node.value)
        if function.defaults is not None:
            return function.defaults[name]
        return self._quiet(node, function.frame or self._top(function.unit))

    def _quiet(self, node: ast.expr, frame: Frame) -> Val:
        """Evaluate what has run when the module was imported: calls in it are none of the loader's."""
        if not isinstance(node, ast.Name) and any(isinstance(each, ast.Call) for each in ast.walk(node)):
            return Unknown()
        return self.eval(node, frame)

    def _reject(self, key: str, value: Val, name: str, unit: Unit, node: ast.stmt) -> None:
        rejection = Rejection(key, name, unit.path, node.lineno, self._chain(), self._via)
        caller = self._stack[-1][0] if self._stack else None
        self.refused.append(Refused(rejection, value, caller, self._calling))

    _calling: ast.expr | None = None

    # --- statements

    def _body(self, statements: list[ast.stmt], frame: Frame) -> int:
        maybe = False
        status = NEXT
        for statement in statements:
            status = self._statement(statement, frame)
            if not goes_on(status):
                break
            if status == MAYBE and not maybe:
                maybe = True
                self.state.doubt += 1
        self.state.doubt -= maybe
        if goes_on(status):
            return MAYBE if maybe else NEXT
        return LEFT if maybe else status

    def _statement(self, node: ast.stmt, frame: Frame) -> int:
        self._step()
        handler = _STATEMENTS.get(type(node))
        return handler(self, node, frame) if handler else NEXT

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _TooMuchError

    def _expression(self, node: ast.Expr, frame: Frame) -> int:
        self.eval(node.value, frame)
        return NEXT

    def _assign(self, node: ast.Assign, frame: Frame) -> int:
        value = self.eval(node.value, frame)
        for target in node.targets:
            self._store(target, value, frame)
        return NEXT

    def _annotated(self, node: ast.AnnAssign, frame: Frame) -> int:
        if node.value is not None:
            self._store(node.target, self.eval(node.value, frame), frame)
        return NEXT

    def _augmented(self, node: ast.AugAssign, frame: Frame) -> int:
        left = self.force(self.eval(node.target, frame))
        right = self.force(self.eval(node.value, frame))
        if isinstance(node.op, ast.BitOr) and isinstance(left, Dict):  # in place, as ``update`` does it
            self._dict_method(left, "update", Arguments([right], {}))
        elif isinstance(node.op, ast.Add) and isinstance(left, Sequence) and not left.fixed:
            self._list_method(left, "extend", [right])
        else:
            for each in left.options if isinstance(left, Choice) else ():
                self._put_item(each, Unknown(), right)  # whichever of them it is, it may be changed in place
            known = isinstance(node.op, ast.Add)
            self._store(node.target, library.add(left, right) if known else Unknown(), frame)
        return NEXT

    def _store(self, target: ast.expr, value: Val, frame: Frame) -> None:
        if isinstance(target, ast.Name):
            self.state.write(frame.shared.get(target.id, frame.env), target.id, value)
        elif isinstance(target, ast.Attribute):
            receiver = self.eval(target.value, frame)
            self._change(receiver, value, lambda held: self._put_attribute(held, target.attr, value))
        elif isinstance(target, ast.Subscript):
            self._store_item(target, value, frame)
        elif isinstance(target, ast.Starred):
            self._store(target.value, value, frame)
        elif isinstance(target, (ast.Tuple, ast.List)):  # pragma: no branch - there is no other target
            values = _unpacked(target.elts, elements(self.force(value)))
            for each, item in zip(target.elts, values, strict=True):
                self._store(each, item, frame)

    def _put_attribute(self, receiver: Val, name: str, value: Val) -> None:
        several = isinstance(receiver, Choice)
        for each in options(receiver):
            if isinstance(each, (Instance, Class)):
                cells = self._cells(each)
                self.state.write(cells, name, join(self.attribute(each, name), value) if several else value)

    def _store_item(self, target: ast.Subscript, value: Val, frame: Frame) -> None:
        receiver = self.eval(target.value, frame)
        index = self.force(self.eval(target.slice, frame))
        self._change(receiver, value, lambda held: self._put_item(held, index, value))

    def _put_item(self, receiver: Val, index: Val, value: Val) -> None:
        several = isinstance(receiver, Choice)
        for each in options(receiver):
            if isinstance(each, Sequence):
                each.open = True
            elif isinstance(each, Dict):
                if isinstance(index, Const):
                    old = each.items.get(index.value, Unknown())
                    self.state.write(each.items, index.value, join(old, value) if several else value)
                else:
                    self._blur(each)

    def _blur(self, held: Dict) -> None:
        """Some key of it may be another now, or gone."""
        held.open = True
        for name, value in list(held.items.items()):
            self.state.write(held.items, name, join(value, Unknown()))

    def _delete(self, node: ast.Delete, frame: Frame) -> int:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.state.write(frame.shared.get(target.id, frame.env), target.id, MISSING)
            elif isinstance(target, ast.Subscript):
                receiver = self.force(self.eval(target.value, frame))
                index = self.force(self.eval(target.slice, frame))
                for each in options(receiver):
                    if isinstance(each, Sequence):
                        each.open = True
                    elif isinstance(each, Dict) and isinstance(index, Const) and each is receiver:
                        self.state.write(each.items, index.value, MISSING)
                    elif isinstance(each, Dict):
                        self._blur(each)
        return NEXT

    def _if(self, node: ast.If, frame: Frame) -> int:
        guard = self.virtual.guards.get(place_of(frame.unit.path, node))
        if guard is not None:
            name, assigned = guard
            value = self._name(name, frame)
            if not (isinstance(value, Const) and value.value is None):
                for variable, text in assigned:
                    self.state.write(frame.env, variable, Const(text))
                return NEXT
        decided = truth(self.force(self.eval(node.test, frame)))
        if decided is not None:
            return self._body(node.body if decided else node.orelse, frame)
        return self.state.fork(
            lambda: self._body(node.body, frame),
            lambda: self._body(node.orelse, frame),
        )

    def _return(self, node: ast.Return, frame: Frame) -> int:
        frame.returned.append(self.eval(node.value, frame) if node.value else NONE)
        if frame.returns.ways or self.state.forks > frame.forks:  # otherwise the present is what the function leaves
            self._leave(frame.returns)
        return LEFT

    def _leave(self, exits: Exits) -> int:
        exits.ways.append(self.state.since(exits.mark))
        return LEFT

    def _break(self, node: ast.Break, frame: Frame) -> int:
        return self._leave(frame.breaks)

    def _continue(self, node: ast.Continue, frame: Frame) -> int:
        return self._leave(frame.continues)

    def _left(self, frame: Frame) -> int:
        """How many ways have left what is being evaluated in a function."""
        return len(frame.returned) + len(frame.breaks.ways) + len(frame.continues.ways)

    def _raise(self, node: ast.Raise, frame: Frame) -> int:
        if node.exc is not None:
            self.eval(node.exc, frame)
        self.state.thrown += self.state.caught > 0
        return RAISED

    def _assert(self, node: ast.Assert, frame: Frame) -> int:
        decided = truth(self.force(self.eval(node.test, frame)))
        if decided is False and not (self.state.doubt or self.state.caught or self._aside):
            self.failures.append(Failure(ast.unparse(node.test), frame.unit.path, node.lineno))
        return NEXT

    # --- loops

    def _for(self, node: ast.For | ast.AsyncFor, frame: Frame) -> int:
        items = elements(self.force(self.eval(node.iter, frame)))
        loop = _Loop(self, node, frame)
        if items is None or len(items) > MAX_LOOP:
            loop.repeat(lambda: self._store(node.target, Unknown(), frame), lambda: None)
            return loop.end(True)
        for item in list(items):
            self._store(node.target, item, frame)
            if not loop.round():
                return loop.end(False)
        return loop.end(True)

    def _while(self, node: ast.While, frame: Frame) -> int:
        loop = _Loop(self, node, frame)
        for _ in range(MAX_LOOP):
            decided = truth(self.force(self.eval(node.test, frame)))
            if decided is not True:
                break
            if not loop.round():
                return loop.end(False)
        if decided is not False:
            loop.repeat(lambda: None, lambda: self.eval(node.test, frame))
        return loop.end(True)

    # --- statements around others

    def _with(self, node: ast.With | ast.AsyncWith, frame: Frame) -> int:
        left: list[Function] = []
        swallows = False
        for item in node.items:
            value = self.eval(item.context_expr, frame)
            swallows = swallows or _last(getattr(item.context_expr, "func", item.context_expr)) == "suppress"
            manager = self.force(value)
            if isinstance(manager, Instance):
                self._at(node, frame)
                enter, leave = (self._find_method(manager.kind, name) for name in ("__enter__", "__exit__"))
                if isinstance(enter, Function):
                    value = self._enter(enter.bind(manager), Arguments([], {}), None)
                if isinstance(leave, Function):
                    left.append(leave.bind(manager))
                    swallows = swallows or _returns(leave.unit.full(leave.node))
            if item.optional_vars is not None:
                self._store(item.optional_vars, value, frame)

        def body() -> int:
            return self._body(node.body, frame)

        inner = functools.partial(self._attempt, body, [lambda: NEXT], frame) if swallows else body
        return self._finally(inner, lambda: self._exit(left, node, frame), frame) if left else inner()

    def _exit(self, managers: list[Function], node: ast.With | ast.AsyncWith, frame: Frame) -> int:
        self._at(node, frame)
        for each in reversed(managers):
            self._enter(each, Arguments([NONE, NONE, NONE], {}), None)
        return NEXT

    def _try(self, node: Any, frame: Frame) -> int:
        def body() -> int:
            return self._body(node.body, frame)

        def orelse() -> int:
            return self._body(node.orelse, frame)

        def final() -> int:
            return self._body(node.finalbody, frame)

        def escaping() -> int:
            return LEFT if final() in (LEFT, MAYBE) else RAISED

        handlers: list[Way] = [functools.partial(self._handler, each, frame) for each in node.handlers]
        inner: Way = functools.partial(self._attempt, body, handlers, frame, orelse) if handlers else body
        if not node.finalbody:
            return inner()
        if any(isinstance(each, _LEAVING) for statement in node.finalbody for each in ast.walk(statement)):
            inner = functools.partial(self._attempt, inner, [escaping], frame)  # what was raised may end there
        return self._finally(inner, final, frame)

    def _attempt(self, body: Way, handlers: list[Way], frame: Frame, orelse: Way = lambda: NEXT) -> int:
        return self.state.attempt(body, orelse, handlers, lambda: self._left(frame))

    def _handler(self, node: ast.ExceptHandler, frame: Frame) -> int:
        if node.name is not None:
            self.state.write(frame.env, node.name, Unknown())
        return self._body(node.body, frame)

    def _finally(self, body: Way, final: Way, frame: Frame) -> int:
        """What stands in ``finally`` comes after whatever way the body is left by."""
        exits = (frame.returns, frame.breaks, frame.continues)
        before = [len(each.ways) for each in exits]
        met = Exits(self.state.mark())
        frame.forks -= 1  # what a ``return`` leaves is wanted
        status = body()
        frame.forks += 1
        for each, count in zip(exits, before, strict=True):
            met.ways += each.ways[count:]
        self.state.gather(met, goes_on(status))
        end = final()
        if not goes_on(end):
            return end
        for each, count in zip(exits, before, strict=True):
            if len(each.ways) > count:
                each.ways[count:] = [self.state.since(each.mark)]
        return MAYBE if end == MAYBE and status == NEXT else status

    def _match(self, node: ast.Match, frame: Frame) -> int:
        return self._cases(self.force(self.eval(node.subject, frame)), node.cases, frame)

    def _cases(self, subject: Val, cases: list[ast.match_case], frame: Frame) -> int:
        if not cases:
            return NEXT
        case = cases[0]
        fits = self._fits(subject, case.pattern, frame)
        if fits is False:
            return self._cases(subject, cases[1:], frame)
        self._capture(subject, case.pattern, frame)
        guard = truth(self.force(self.eval(case.guard, frame))) if case.guard else True
        if fits and guard is not None:
            return self._body(case.body, frame) if guard else self._cases(subject, cases[1:], frame)
        return self.state.fork(
            lambda: self._body(case.body, frame) if guard is not False else LEFT,
            lambda: self._cases(subject, cases[1:], frame),
        )

    def _fits(self, subject: Val, pattern: ast.pattern, frame: Frame) -> bool | None:
        """Whether a pattern matches; None: undecided."""
        if isinstance(pattern, ast.MatchValue):
            return library.compare(ast.Eq(), subject, self.force(self.eval(pattern.value, frame)))
        if isinstance(pattern, ast.MatchSingleton):
            return library.compare(ast.Is(), subject, Const(pattern.value))
        if isinstance(pattern, ast.MatchOr):
            answers = [self._fits(subject, each, frame) for each in pattern.patterns]
            return True if True in answers else None if None in answers else False
        if isinstance(pattern, ast.MatchAs):
            return True if pattern.pattern is None else self._fits(subject, pattern.pattern, frame)
        return None

    def _capture(self, subject: Val, pattern: ast.pattern, frame: Frame) -> None:
        for each in ast.walk(pattern):
            name = getattr(each, "name", None) or getattr(each, "rest", None)
            if name is not None:
                self.state.write(frame.env, name, subject if each is pattern else Unknown())

    # --- definitions

    def _define(self, node: FunctionNode, frame: Frame) -> int:
        spec = self.sources.signature(node)
        defaults = {name: self.eval(default, frame) for name, default in spec.defaults}
        self.state.write(frame.env, node.name, Function(frame.unit, node, frame, defaults=defaults))
        return NEXT

    def _define_class(self, node: ast.ClassDef, frame: Frame) -> int:
        attributes = self._attributes[node] = Cells()
        for each in node.body:
            if isinstance(each, ast.Assign):
                value = self.eval(each.value, frame)
                for target in each.targets:
                    if isinstance(target, ast.Name):
                        attributes[target.id] = value
            elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value is not None:
                attributes[each.target.id] = self.eval(each.value, frame)
        self.state.write(frame.env, node.name, Class(frame.unit, node, frame))
        return NEXT

    def _global(self, node: ast.Global, frame: Frame) -> int:
        frame.shared.update(dict.fromkeys(node.names, self._top(frame.unit).env))
        return NEXT

    def _nonlocal(self, node: ast.Nonlocal, frame: Frame) -> int:
        for name in node.names:
            scope = frame.outer
            while scope is not None and name not in scope.env:
                scope = scope.outer
            frame.shared[name] = (scope or frame.outer or frame).env
        return NEXT

    def _import_here(self, node: ast.Import | ast.ImportFrom, frame: Frame) -> int:
        for local, (module, name) in imported(node, frame.unit.package):
            self.state.write(frame.env, local, self._import(module, name))
        return NEXT

    # --- expressions

    def eval(self, node: ast.AST, frame: Frame) -> Val:
        """The abstract value of an expression; every call in it is looked at."""
        handler = _EXPRESSIONS.get(type(node))
        if handler is not None:
            return handler(self, node, frame)
        for child in ast.iter_child_nodes(node):
            self.eval(child, frame)
        return Unknown()

    def force(self, value: Val) -> Val:
        """Ask for a value that was put off."""
        while isinstance(value, Lazy):
            if value.result is None:
                self._catch_up(value.root)
            value = value.result or Unknown()
        return value

    def _catch_up(self, root: Lazy) -> None:
        """Evaluate a value that was put off, and what was done with it meanwhile."""
        while root.queue:
            each = root.queue.pop(0)
            each.result = Unknown()  # a cycle tells nothing
            each.result = self.state.apart(each.thunk, each.born)

    def _of(self, receiver: Val, ask: Callable[[Val], Val]) -> Val:
        """What is asked of a value; put off if the value is."""
        if isinstance(receiver, Lazy) and receiver.result is None:
            return self._put_off(lambda: ask(self.force(receiver)), root=receiver.root)
        return ask(self.force(receiver))

    def _change(self, receiver: Val, value: Val, change: Callable[[Val], None]) -> None:
        """Put ``value`` somewhere into another; put off if that is, and if nobody else knows the value."""

        def go(held: Val) -> Val:
            change(held)
            return NONE

        at_once = self._in_doubt() or isinstance(value, Lazy) or self._changeable(value)
        self._of(self.force(receiver) if at_once else receiver, go)

    def _in_doubt(self) -> bool:
        """Whether what is evaluated may as well not be reached, or be undone: no change is put off then."""
        return self.state.forks > 0 or self.state.doubt > 0

    def _cells(self, value: Instance | Class) -> Cells:
        """The attributes of an object, or those of a class that were set while the loader ran."""
        return value.attributes if isinstance(value, Instance) else self._attributes.setdefault(value.node, Cells())

    def _constant_node(self, node: ast.Constant, frame: Frame) -> Val:
        return Const(node.value)

    def _name_node(self, node: ast.Name, frame: Frame) -> Val:
        return self._name(node.id, frame)

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Val:
        receiver = self.eval(node.value, frame)
        self._at(node, frame)
        return self._of(receiver, lambda value: self.attribute(value, node.attr))

    def attribute(self, value: Val, name: str) -> Val:
        """``value.name``."""
        value = self.force(value)
        if isinstance(value, Instance):
            return self._instance_attribute(value, name)
        if isinstance(value, Choice):
            return self.state.choose(*[functools.partial(self.attribute, option, name) for option in value.options])
        if isinstance(value, Class):
            return self._class_attribute(value, name)
        if isinstance(value, Module):
            return self._import(value.unit.module, name)
        if isinstance(value, External):
            unit = self.sources.module(value.name) if self.sources.inside(value.name) else None
            return self._import(value.name, name) if unit else External(f"{value.name}.{name}")
        if isinstance(value, Super):
            kind = _class_of(value.self_)
            found = self._find_method(kind, name, value.owner) if kind is not None else None
            return found.bind(value.self_) if isinstance(found, Function) else Method(value, name)
        return Method(value, name)

    def _instance_attribute(self, value: Instance, name: str) -> Val:
        attributes = self._cells(value)
        if name in attributes:
            return attributes[name]
        if name == "__class__":
            return value.kind
        if name == "__dict__":
            return Dict(attributes)
        found = self._find_method(value.kind, name)
        if not isinstance(found, Function):
            return Method(value, name) if found is None else found
        decorators = [ast.unparse(each) for each in found.node.decorator_list]
        if "staticmethod" in decorators:
            return found
        if any(each.endswith("property") for each in decorators):
            return self._enter(found.bind(value), Arguments([], {}), None)
        return found.bind(value.kind if "classmethod" in decorators else value)

    def _class_attribute(self, value: Class, name: str) -> Val:
        found = self._find_method(value, name)
        if found is None:
            return Method(value, name)
        if isinstance(found, Function) and any(
            ast.unparse(each) == "classmethod" for each in found.node.decorator_list
        ):
            return found.bind(value)
        return found

    def _subscript(self, node: ast.Subscript, frame: Frame) -> Val:
        receiver = self.eval(node.value, frame)
        if isinstance(node.slice, ast.Slice):
            bounds = [
                self.force(self.eval(each, frame)) if each else NONE
                for each in (node.slice.lower, node.slice.upper, node.slice.step)
            ]
            return self._of(receiver, lambda value: library.cut(value, bounds))
        index = self.force(self.eval(node.slice, frame))
        return self._of(
            receiver, lambda value: functools.reduce(join, [library.item(each, index) for each in options(value)])
        )

    def _dict_node(self, node: ast.Dict, frame: Frame) -> Val:
        built = Dict({}, node=node, frame=frame)
        for name, each in zip(node.keys, node.values, strict=True):
            value = self.eval(each, frame)
            if name is None:
                self._spread(built, value)
                continue
            index = self.force(self.eval(name, frame))
            if isinstance(index, Const):
                built.items[index.value] = value
            else:
                built.open = True
        self._virtual_keywords(node, frame, built.items)
        return built

    def _spread(self, built: Dict, value: Val) -> None:
        entries, is_open = self._entries(value)
        built.items.update(entries)
        built.open = built.open or is_open

    def _entries(self, value: Val) -> tuple[Mapping[Any, Val], bool]:
        """What ``**value`` gives, and whether there may be more; an entry that may be missing may be anything."""
        value = self.force(value)
        if isinstance(value, Dict):
            return value.items, value.open
        dicts = [each for each in options(value) if isinstance(each, Dict)]
        if not all(isinstance(each, (Dict, Const)) for each in options(value)):
            return {}, True
        names = dict.fromkeys(name for each in dicts for name in each.items)
        found = {name: functools.reduce(join, [each.items.get(name, Unknown()) for each in dicts]) for name in names}
        return found, any(each.open for each in dicts)

    def _virtual_keywords(self, node: ast.expr, frame: Frame, keywords: dict[Any, Val]) -> None:
        if not self.virtual.keywords:
            return
        added = self.virtual.keywords.get(place_of(frame.unit.path, node))
        if added is not None:
            for keyword, name in added.items():
                keywords[keyword] = self._name(name, frame)

    def _sequence(self, node: ast.List | ast.Tuple | ast.Set, frame: Frame) -> Val:
        items: list[Val] = []
        known = True
        for each in node.elts:
            if isinstance(each, ast.Starred):
                inner = elements(self.force(self.eval(each.value, frame)))
                known = known and inner is not None
                items += inner or ()
            else:
                items.append(self.eval(each, frame))
        return Sequence(items, isinstance(node, ast.Tuple)) if known else Unknown()

    def _boolean(self, node: ast.BoolOp, frame: Frame) -> Val:
        """``and``/``or``: the operand that decides; in doubt, any of those that may."""
        return self._operands(node.values, isinstance(node.op, ast.Or), frame)

    def _operands(self, nodes: list[ast.expr], wanted: bool, frame: Frame) -> Val:
        value = self.force(self.eval(nodes[0], frame))
        decided = truth(value)
        if len(nodes) == 1 or decided == wanted:
            return value
        if decided is not None:
            return self._operands(nodes[1:], wanted, frame)
        may = functools.reduce(join, [each for each in options(value) if truth(each) in (wanted, None)])
        return self.state.choose(lambda: may, lambda: self._operands(nodes[1:], wanted, frame))

    def _unary(self, node: ast.UnaryOp, frame: Frame) -> Val:
        value = self.force(self.eval(node.operand, frame))
        if isinstance(node.op, ast.Not):
            decided = truth(value)
            return Unknown() if decided is None else Const(not decided)
        if isinstance(node.op, ast.USub) and isinstance(value, Const) and isinstance(value.value, (int, float)):
            return Const(-value.value, value.given)
        return Unknown()

    def _compare(self, node: ast.Compare, frame: Frame) -> Val:
        values = [self.force(self.eval(each, frame)) for each in (node.left, *node.comparators)]
        results = [
            library.compare(operator, values[place], values[place + 1]) for place, operator in enumerate(node.ops)
        ]
        if False in results:
            return Const(False)
        return Unknown() if None in results else Const(True)

    def _conditional(self, node: ast.IfExp, frame: Frame) -> Val:
        decided = truth(self.force(self.eval(node.test, frame)))
        if decided is not None:
            return self.eval(node.body if decided else node.orelse, frame)
        return self.state.choose(lambda: self.eval(node.body, frame), lambda: self.eval(node.orelse, frame))

    def _binary(self, node: ast.BinOp, frame: Frame) -> Val:
        left, right = self.eval(node.left, frame), self.eval(node.right, frame)
        if not isinstance(node.op, (ast.Add, ast.BitOr, ast.Div)):
            return Unknown()
        left, right = self.force(left), self.force(right)
        if isinstance(node.op, ast.Add):
            return library.add(left, right)
        if isinstance(node.op, ast.BitOr) and any(isinstance(each, Dict) for each in options(left)):
            built = Dict({})
            self._spread(built, left)
            self._spread(built, right)
            return built
        return library.path_join([left, right]) if isinstance(node.op, ast.Div) else Unknown()

    def _formatted(self, node: ast.JoinedStr, frame: Frame) -> Val:
        parts: list[Val] = []
        for each in node.values:
            if isinstance(each, ast.FormattedValue):
                value = self.force(self.eval(each.value, frame))
                parts.append(value if each.format_spec is None and each.conversion == -1 else Unknown())
            else:
                parts.append(self.eval(each, frame))
        return library.concatenate(parts)

    def _walrus(self, node: ast.NamedExpr, frame: Frame) -> Val:
        value = self.eval(node.value, frame)
        while frame.outer is not None and frame.outer.node is frame.node:  # a comprehension's
            frame = frame.outer
        self._store(node.target, value, frame)
        return value

    def _comprehension(self, node: Any, frame: Frame) -> Val:
        inner = Frame(frame.unit, frame.node, frame, frame.cls)
        inner.captured, inner.link, inner.value = frame.captured, frame.link, frame.value
        made: _Made = []
        known = self._generate(node, node.generators, inner, made)
        if not isinstance(node, ast.DictComp):
            return Sequence([value for _, value in made]) if known else Unknown()
        built = Dict({}, not known)
        for index, value in made if known else ():
            if isinstance(index, Const):
                built.items[index.value] = value
            else:
                built.open = True
        return built

    def _generate(self, node: Any, generators: list[ast.comprehension], frame: Frame, made: _Made) -> bool:
        """Make the elements of a comprehension; returns whether they are all there is."""
        self._step()
        if not generators:
            index = self.force(self.eval(node.key, frame)) if isinstance(node, ast.DictComp) else NONE
            made.append((index, self.eval(node.value if isinstance(node, ast.DictComp) else node.elt, frame)))
            return True
        items = elements(self.force(self.eval(generators[0].iter, frame)))
        if items is None or len(items) > MAX_LOOP:
            self.state.perhaps(lambda: self._element(node, generators, Unknown(), frame, made))
            return False
        whole = [self._element(node, generators, item, frame, made) for item in items]
        return all(whole)

    def _element(self, node: Any, generators: list[ast.comprehension], item: Val, frame: Frame, made: _Made) -> bool:
        first, *rest = generators
        self._store(first.target, item, frame)
        decided = truth(self._operands(first.ifs, False, frame)) if first.ifs else True
        if decided is None:
            self.state.perhaps(lambda: self._generate(node, rest, frame, made))
            return False
        return not decided or self._generate(node, rest, frame, made)

    def _lambda(self, node: ast.Lambda, frame: Frame) -> Val:
        names = {each.id for each in ast.walk(node.body) if isinstance(each, ast.Name)}
        if _reads_hub(node) or any(self._leads(self._name(name, frame)) for name in sorted(names)):
            self._note(f"a lambda in {self._short(frame.unit.path)}:{node.lineno}: when it is called cannot be told")
        return Unknown()

    def _yielded(self, node: ast.Yield | ast.YieldFrom, frame: Frame) -> Val:
        frame.generates = True
        return self._awaited(node, frame)

    def _awaited(self, node: Any, frame: Frame) -> Val:
        return self.eval(node.value, frame) if node.value is not None else Unknown()

    # --- calls

    def _call(self, node: ast.Call, frame: Frame) -> Val:
        function = node.func
        if isinstance(function, ast.Name) and function.id == "super" and "super" not in frame.env:
            return self._super(node, frame)
        if isinstance(function, ast.Attribute) and function.attr != "from_pretrained":
            receiver = self.eval(function.value, frame)
            if isinstance(receiver, Lazy) and receiver.result is None:
                return self._call_of_lazy(receiver, function.attr, node, frame)
            self._at(node, frame)
            callee = self.force(self.attribute(receiver, function.attr))
        else:
            callee = self.force(self.eval(function, frame))
        return self._invoke(callee, node, self._arguments(node, frame), frame)

    def _call_of_lazy(self, receiver: Lazy, name: str, node: ast.Call, frame: Frame) -> Val:
        """A method of what is not evaluated yet: it waits as well, unless the order of things may matter."""
        arguments = self._arguments(node, frame).kept()
        if receiver.kind is None:
            if name in library.LOGGING:
                return NONE
        elif name in library.SAME_OBJECT:
            return receiver
        else:
            method = self._find_method(receiver.kind, name)
            if method is None:
                return Unknown()
            if isinstance(method, Function) and not (
                self._matters(method, arguments, receiver.root) or self._hands_on(method, arguments)
            ):
                self._check(method, arguments)
                return self._put_off(
                    lambda: self._invoke(self.attribute(receiver, name), node, arguments, frame), root=receiver.root
                )
        return self._invoke(self.force(self.attribute(receiver, name)), node, arguments, frame)

    def _super(self, node: ast.Call, frame: Frame) -> Val:
        if len(node.args) == 2:
            owner, first = (self.force(self.eval(each, frame)) for each in node.args)
            return Super(owner, first) if isinstance(owner, Class) else Unknown()
        if frame.cls is None or frame.node is None:
            return Unknown()
        name = next((each.arg for each in (*frame.node.args.posonlyargs, *frame.node.args.args)), "")
        return Super(frame.cls, self._name(name, frame))

    def _arguments(self, node: ast.Call, frame: Frame) -> Arguments:
        found = Arguments([], {})
        for each in node.args:
            starred = isinstance(each, ast.Starred)
            value = self.eval(each.value if isinstance(each, ast.Starred) else each, frame)
            values = elements(self.force(value)) if starred else [value]
            found.is_open = found.is_open or values is None
            if values is not None and not found.is_open:  # behind an unknown number of them no place is known
                found.positional += values
        for keyword in node.keywords:
            value = self.eval(keyword.value, frame)
            if keyword.arg is not None:
                found.keywords[keyword.arg] = value
                continue
            entries, is_open = self._entries(value)
            found.keywords.update({name: each for name, each in entries.items() if isinstance(name, str)})
            found.is_open = found.is_open or is_open
        self._virtual_keywords(node, frame, found.keywords)
        return found

    def _at(self, node: ast.expr | ast.stmt, frame: Frame) -> None:
        """Note the line that leads on."""
        if self._stack and self._stack[-1][0].node is frame.node:
            self._stack[-1] = (self._stack[-1][0], node.lineno)

    def _invoke(self, callee: Val, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        """Call a value."""
        self._at(node, frame)
        if isinstance(callee, Choice):
            return self.state.choose(
                *[functools.partial(self._apply, option, node, arguments, frame) for option in callee.options]
            )
        return self._apply(callee, node, arguments, frame)

    def _apply(self, callee: Val, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        handler = _CALLED.get(type(callee))
        if handler is not None:
            return handler(self, callee, node, arguments, frame)
        if isinstance(callee, Unknown) and _last(node.func) in library.DOWNLOADS:
            self._note(self._where("what it calls cannot be told", node, frame))
        self._hand_over(arguments, node, frame)
        return Unknown()

    def _hand_over(self, arguments: Arguments, node: ast.Call, frame: Frame) -> None:
        """A function that is handed to something unknown may be called there."""
        for value in arguments.values():
            for each in options(value):
                if type(each) in (Function, Partial, External) and self._leads(each):
                    self._note(self._where("whether it calls what it is given cannot be told", node, frame))

    def _leads(self, value: Val) -> bool:
        """Whether calling a value may reach a hub call."""
        if isinstance(value, Partial):
            return self._leads(value.callee)
        if isinstance(value, External):
            return value.name.rpartition(".")[2] in ("from_pretrained", *library.DOWNLOADS)
        if isinstance(value, Function):
            if _nested(value):
                return _reads_hub(value.node)
            return self.sources.leads_on(value.unit, value.owner.node.name if value.owner else value.node.name)
        if isinstance(value, Class):
            return _nested(value) or self.sources.leads_on(value.unit, value.node.name)
        return False

    def _matters(self, callee: Val, arguments: Arguments, root: Lazy | None = None) -> bool:
        """Whether a call may change or call what it is given, so that it cannot be put off.

        What is put off alone (``root``, and what it is given) can wait together.
        """
        roots = {value.root for value in arguments.values() if _is_put_off(value)} | ({root} if root else set())
        if len(roots) > 1 or (roots and self._in_doubt()):
            return True
        if isinstance(callee, Function) and isinstance(callee.bound, Instance):
            return True
        return any(self._changeable(value) for value in arguments.values() if not _is_put_off(value))

    def _hands_on(self, callee: Class | Function, arguments: Arguments) -> bool:
        """Whether keywords of a call may be rejected further in."""
        function = self._find_method(callee, "__init__") if isinstance(callee, Class) else callee
        if not isinstance(function, Function):
            return False
        spec = self.sources.signature(function.node)
        if spec.kwarg is None or all(name in spec.keywords for name in arguments.keywords):
            return False
        return spec.hands_on(function.unit.full(function.node))

    def _changeable(self, value: Val) -> bool:
        """Whether there is anything about a value that could be another one later."""
        if type(value) in (Const, Given, Unknown):
            return False
        if isinstance(value, Lazy):
            return value.result is None or self._changeable(value.result)
        if isinstance(value, Choice):
            return any(self._changeable(each) for each in value.options)
        if isinstance(value, Sequence):
            return not value.fixed or any(self._changeable(each) for each in value.items)
        if isinstance(value, Function) and (_nested(value) or isinstance(value.bound, Instance)):
            return True
        return isinstance(value, (Dict, Instance, Partial)) or self._leads(value)

    def _asked(self, values: list[Val]) -> list[Val]:
        """Values for a function of a library, to which an object of the checkout tells nothing."""
        return [value if isinstance(value, Lazy) and value.kind is not None else self.force(value) for value in values]

    def _link(self, node: ast.expr, frame: Frame, kind: str) -> Link:
        return Link(frame, node, kind, self._held(frame))

    def _held(self, frame: Frame) -> dict[str, str]:
        """The local variables that hold a tracked keyword, ``{key: name}``; a variable of the key's own name first."""
        held: dict[str, str] = {}
        scope: Frame | None = frame if self._tracks else None
        while scope is not None:
            here: dict[str, str] = {}
            for name, value in scope.env.items():
                key = key_of(value)
                if key is not None and (key not in here or name == key):
                    here[key] = name
            held = {**here, **held}
            scope = scope.outer
        return held

    def _call_function(self, callee: Function, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        if callee.node.name == "build_module" and self.sources.inside(callee.unit.module):
            return self._build_module(node, arguments, frame)
        link = self._link(node, frame, "call")
        self._calling = node
        return self._now_or_later(callee, arguments, lambda told, later: self._enter(callee, told, link, later))

    def _call_class(self, callee: Class, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        link = self._link(node, frame, "call")
        self._calling = node
        return self._now_or_later(callee, arguments, lambda told, later: self._instantiate(callee, told, link, later))

    def _now_or_later(
        self, callee: Class | Function, arguments: Arguments, go: Callable[[Arguments, bool], Val]
    ) -> Val:
        """Evaluate a call at once where that matters; else when somebody asks for what it gives."""
        kept = arguments.kept() if isinstance(callee, Class) or callee.owner is not None else arguments
        if self._leads(callee) or _nested(callee) or self._matters(callee, kept):
            return go(arguments, False)
        root = next((value.root for value in kept.values() if _is_put_off(value)), None)
        kind = callee if isinstance(callee, Class) else None
        if self._hands_on(callee, kept):
            made = go(kept, False)
            return made if root is not None else self._put_off(lambda: made, kind)
        self._check(callee, kept)
        return self._put_off(lambda: go(kept, True), kind, root)

    def _call_object(self, callee: Instance, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        method = self._find_method(callee.kind, "__call__")
        if isinstance(method, Function):
            return self._call_function(method.bind(callee), node, arguments, frame)
        return Unknown()

    def _call_partial(self, callee: Partial, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        before = callee.arguments
        merged = Arguments(
            [*before.positional, *arguments.positional],
            {**before.keywords, **arguments.keywords},
            before.is_open or arguments.is_open,
        )
        return self._invoke(self.force(callee.callee), node, merged, frame)

    def _put_off(self, thunk: Callable[[], Val], kind: Class | None = None, root: Lazy | None = None) -> Val:
        stack = list(self._stack)

        def later() -> Val:
            now, self._stack = self._stack, stack
            state = self.state
            before = state.doubt, state.forks, state.caught
            state.doubt = state.forks = state.caught = 0
            self._aside += 1
            value = thunk()
            self._aside -= 1
            state.doubt, state.forks, state.caught = before
            self._stack = now
            return value

        return Lazy(later, kind, root)

    def _check(self, callee: Class | Function, arguments: Arguments) -> None:
        """Look only whether the signature takes the keywords of a call."""
        if isinstance(callee, Function):
            self._check_function(callee, arguments)
            return
        init = self._find_method(callee, "__init__")
        if isinstance(init, Function):
            self._check_function(init, arguments)
        elif (names := self._fields(callee)) is not None:
            for name, value in arguments.keywords.items():
                if name not in names:
                    self._reject(name, value, f"{callee.node.name}.__init__", callee.unit, callee.node)

    def _check_function(self, callee: Function, arguments: Arguments) -> None:
        spec = self.sources.signature(callee.node)
        if spec.kwarg is None:
            for name, value in arguments.keywords.items():
                if name not in spec.keywords and name not in self._added(callee):
                    self._reject(name, value, callee.name, callee.unit, callee.node)

    def _call_method(self, callee: Method, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        receiver = callee.receiver
        if callee.name == "from_pretrained":
            kind = _class_of(receiver.self_ if isinstance(receiver, Super) else receiver)
            if kind is not None:
                return self._own_model(kind, node, arguments, frame)
            self._note(self._where("whose method it is cannot be told", node, frame))
            return Unknown()
        if isinstance(receiver, Super):
            if callee.name != "__init__":
                return Unknown()
            if isinstance(receiver.self_, Instance):
                self._absorb(receiver.self_, arguments)
            return NONE
        if isinstance(receiver, Dict):
            return self._dict_method(receiver, callee.name, arguments)
        if isinstance(receiver, Sequence):
            return self._list_method(receiver, callee.name, arguments.positional)
        if callee.name == "build" and arguments.positional and isinstance(receiver, Unknown):
            return self._build_from(arguments.positional[0], {}, node, frame)
        if isinstance(receiver, Instance) and callee.name in library.SAME_OBJECT:
            return receiver
        self._hand_over(arguments, node, frame)
        return library.method(receiver, callee.name, self._asked(arguments.positional))

    def _dict_method(self, receiver: Dict, name: str, arguments: Arguments) -> Val:
        first = self.force(arguments.positional[0]) if arguments.positional else None
        if name in ("get", "pop", "setdefault") and isinstance(first, Const):
            default = arguments.positional[1] if len(arguments.positional) > 1 else NONE
            found = receiver.items.get(first.value)
            if found is None:
                found = join(default, Unknown()) if receiver.open else default
            if name == "pop" and first.value in receiver.items:
                self.state.write(receiver.items, first.value, MISSING)
            elif name == "setdefault":
                self.state.write(receiver.items, first.value, found)
            return found
        if name == "update":
            entries, is_open = self._entries(first) if first is not None else ({}, False)
            receiver.open = receiver.open or is_open or arguments.is_open
            for key, value in {**entries, **arguments.keywords}.items():
                self.state.write(receiver.items, key, value)
            return NONE
        if name == "copy":
            return Dict(
                dict(receiver.items), receiver.open, receiver.node, receiver.frame, receiver.given, receiver.path
            )
        if name in _VIEWS and not receiver.open:
            return Sequence([_VIEWS[name](key, value) for key, value in receiver.items.items()])
        if name == "clear":
            for key in list(receiver.items):
                self.state.write(receiver.items, key, MISSING)
        elif name in ("popitem", "pop", "setdefault"):
            self._blur(receiver)
        return Unknown()

    def _list_method(self, receiver: Sequence, name: str, positional: list[Val]) -> Val:
        """A method of a list. Elsewhere than on the way that is certainly gone its elements are not known any more."""
        added: list[Val] | None = None
        if name in ("append", "extend") and len(positional) == 1:
            added = positional if name == "append" else elements(self.force(positional[0]))
        if added is not None and not (self.state.doubt or self.state.forks):
            receiver.items += added
        elif name not in ("copy", "count", "index"):
            receiver.open = True
        return NONE if name in ("append", "extend", "insert") else Unknown()

    def _call_external(self, callee: External, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        name = callee.name
        last = name.rpartition(".")[2]
        if last == "from_pretrained":
            return self._hub(node, arguments, frame, "from_pretrained", name.split(".")[0], name.split(".")[-2])
        if last in library.DOWNLOADS:
            return self._hub(node, arguments, frame, last, name.split(".")[0], "")
        if last == "build" and name.endswith("MODELS.build") and arguments.positional:
            return self._build_from(arguments.positional[0], {}, node, frame)
        if last == "build_module" and not self.sources.inside(name):
            return self._build_module(node, arguments, frame)
        if self.sources.inside(name):
            self._note(self._where(f"{name} is not in the sources", node, frame))
            return Unknown()
        if name == "builtins.dict":
            return self._dict_call(node, arguments, frame)
        if name == "builtins.getattr" and len(arguments.positional) > 1:
            attribute = self.force(arguments.positional[1])
            if isinstance(attribute, Const) and isinstance(attribute.value, str):
                return self.attribute(arguments.positional[0], attribute.value)
            return Unknown()
        if name == "functools.partial" and arguments.positional:
            rest = Arguments(arguments.positional[1:], arguments.keywords, arguments.is_open)
            return Partial(arguments.positional[0], rest)
        if name == "builtins.setattr" and len(arguments.positional) == 3:
            return self._set_attribute(*arguments.positional)
        if name == "builtins.vars" and arguments.positional:
            return self.attribute(arguments.positional[0], "__dict__")
        if not name.startswith("builtins."):
            self._hand_over(arguments, node, frame)
        return library.function(name, self._asked(arguments.positional), self.sources.root)

    def _set_attribute(self, receiver: Val, name: Val, value: Val) -> Val:
        known, receiver = self.force(name), self.force(receiver)
        if isinstance(known, Const) and isinstance(known.value, str):
            self._put_attribute(receiver, known.value, value)
        else:
            for each in options(receiver):
                if isinstance(each, Instance):
                    self._blur(Dict(self._cells(each)))
        return NONE

    def _dict_call(self, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        built = Dict({}, arguments.is_open, node, frame)
        for each in arguments.positional:
            self._spread(built, each)
        built.items.update(arguments.keywords)
        return built

    # --- build_module, and calls of the Hub

    def _build_module(self, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        if not arguments.positional:
            self._note(self._where("what it builds cannot be told", node, frame))
            return Unknown()
        keywords = {name: value for name, value in arguments.keywords.items() if name not in ("module", "builder")}
        return self._build_from(arguments.positional[0], keywords, node, frame)

    def _build_from(self, value: Val, keywords: dict[str, Val], node: ast.Call, frame: Frame) -> Val:
        value = self.force(value)
        if isinstance(value, Choice):
            return self.state.choose(
                *[functools.partial(self._build_from, option, keywords, node, frame) for option in value.options]
            )
        if isinstance(value, Dict):
            return self._build_dict(value, keywords, node, frame)
        if isinstance(value, Instance) or (isinstance(value, Const) and value.value is None):
            return value
        self._note(self._where("what it builds cannot be told", node, frame))
        return Unknown()

    def _build_dict(self, value: Dict, keywords: dict[str, Val], node: ast.Call, frame: Frame) -> Val:
        type_name = self.force(value.items.get("type", Unknown()))
        entries = {**value.items, **keywords}
        for name in ("type", "_scope_", "_delete_"):
            entries.pop(name, None)
        arguments = Arguments([], {name: each for name, each in entries.items() if isinstance(name, str)}, value.open)
        self._calling = value.node or node
        if value.node is not None and value.frame is not None and value.frame.node is not None:
            link = self._link(value.node, value.frame, "dict")
        else:
            link = self._link(node, frame, "config" if value.given else "call")
        before, self._via = self._via, value.path if value.given else self._via
        try:
            if isinstance(type_name, Const) and isinstance(type_name.value, str):
                return self._build(type_name.value, arguments, link)
            if isinstance(type_name, (Class, Function)):
                return self._enter_build(type_name, arguments, link)
        finally:
            self._via = before
        self._note(self._where("the type of what it builds cannot be told", node, frame))
        return Unknown()

    def _own_model(self, cls: Class, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        """``from_pretrained`` of a checkout class that inherits it from a library; its ``__init__`` runs afterwards."""
        origins = [name for name in self.outside(cls) if name.split(".")[0] not in library.NO_HUB]
        if not origins:
            self._note(self._where(f"{cls.node.name} has no from_pretrained that could be found", node, frame))
            return Unknown()
        self._hub(node, arguments, frame, "from_pretrained", self.sources.package, cls.node.name)
        init = self._find_method(cls, "__init__")
        if not isinstance(init, Function) or not self.sources.leads_on(cls.unit, cls.node.name):
            return Instance(cls)
        instance = Instance(cls)
        rest = {name: value for name, value in arguments.keywords.items() if name not in library.HUB_KEYWORDS}
        config = rest.get("config") or self._config_of(cls, rest)
        inner = Arguments([config] if config is not None else [], rest, arguments.is_open)
        link = self._link(node, frame, "object")
        self._enter(init.bind(instance), inner, link, tolerant=True)
        return instance

    def _config_of(self, cls: Class, keywords: dict[str, Val]) -> Val | None:
        """The config object that ``PreTrainedModel.from_pretrained`` makes of the repo's file and the keywords."""
        kind = self._find_method(cls, "config_class")
        kind = self.force(kind) if kind is not None else None
        if not isinstance(kind, Class):
            return None
        refused, failures = list(self.refused), list(self.failures)
        config = self._instantiate(kind, Arguments([], dict(keywords)), None)
        self.refused, self.failures = refused, failures  # the library filters them by the config's attributes
        config.attributes.update(keywords)
        return config

    def _hub(self, node: ast.Call, arguments: Arguments, frame: Frame, kind: str, origin: str, class_name: str) -> Val:
        named = library.HUB_FIRST[kind]
        first = next((arguments.keywords[name] for name in named if name in arguments.keywords), None)
        rest = list(arguments.positional)
        if first is None and rest:
            first = rest.pop(0)
        if kind == "hf_hub_download" and rest and "filename" not in arguments.keywords:
            arguments.keywords["filename"] = rest.pop(0)
        value = self.force(first) if first is not None else Unknown("")
        several = isinstance(value, Choice)
        self.state.doubt += several
        for option in options(value):
            self._record(option, node, arguments, frame, kind, origin, class_name)
        self.state.doubt -= several
        return Unknown()

    def _record(
        self, repo: Val, node: ast.Call, arguments: Arguments, frame: Frame, kind: Any, origin: str, class_name: str
    ) -> None:
        known = repo.value if isinstance(repo, Const) else None
        repo_id = known if isinstance(known, str) else None
        if isinstance(repo, Const):
            text = repo_id if repo_id is not None else repr(known)
        else:
            text = (repo.text if isinstance(repo, Unknown) else "") or self._written(node)
        keywords = arguments.keywords
        call = HubCall(
            callee=source_of(node.func),
            kind=kind,
            library=origin,
            class_name=class_name,
            path=frame.unit.path,
            line=node.lineno,
            column=node.col_offset,
            repo_id=repo_id,
            repo_text=text,
            hard_coded=repo_id is not None and isinstance(repo, Const) and not repo.given,
            subfolder=self._string(keywords.get("subfolder")),
            revision=self._string(keywords.get("revision")),
            filename=self._string(keywords.get("filename")),
            reached=frozenset(key for key in TRACKED if key in keywords and key_of(self.force(keywords[key])) == key),
            certain=not self.state.doubt,
            chain=self._chain(),
            via=self._via,
        )
        self.reaches.append(Reach(call, frame, node, self._held(frame), dict(keywords)))

    def _string(self, value: Val | None) -> str | None:
        value = self.force(value) if value is not None else None
        return value.value if isinstance(value, Const) and isinstance(value.value, str) else None

    def _written(self, node: ast.Call) -> str:
        first = node.args[0] if node.args else next((each.value for each in node.keywords if each.arg), None)
        return ast.unparse(first)[:200] if first is not None else ""

    # --- telling

    def _chain(self) -> tuple[Step, ...]:
        return tuple(
            Step(frame.value.name if frame.value else "", frame.unit.path, line) for frame, line in self._stack
        )

    def _short(self, path: str) -> str:
        return path[len(self.sources.root) :].lstrip("/\\") if path.startswith(self.sources.root) else path

    def _where(self, why: str, node: ast.Call, frame: Frame) -> str:
        return f"{source_of(node.func)}(...) in {self._short(frame.unit.path)}:{node.lineno}: {why}"

    def _note(self, text: str) -> None:
        self.unknown.append(text)


class _Loop:
    """A loop while it is gone."""

    def __init__(self, evaluation: Evaluation, node: ast.For | ast.AsyncFor | ast.While, frame: Frame) -> None:
        self.evaluation = evaluation
        self.state = evaluation.state
        self.node = node
        self.frame = frame
        self.outer = frame.breaks, frame.continues
        self.breaks = frame.breaks = Exits(self.state.mark())
        self.returned = len(frame.returned)
        self.thrown = self.state.thrown
        self.doubtful = False  # some way has left it

    def round(self) -> bool:
        """Go its body once; returns whether the next round, or what follows the last, is reached."""
        self.frame.continues = Exits(self.state.mark())
        status = self.evaluation._body(self.node.body, self.frame)
        reached = self.state.gather(self.frame.continues, goes_on(status))
        if not self.doubtful and (self.breaks.ways or self._is_over_for_some()):
            self.doubtful = True
            self.state.doubt += 1
        return reached

    def repeat(self, start: Callable[[], object], end: Callable[[], object]) -> None:
        """Go it as often as nobody knows, ``start`` before and ``end`` after each round."""
        told: list[list[Any]] = [
            self.evaluation.reaches, self.evaluation.refused, self.evaluation.failures, self.evaluation.unknown,
            self.frame.returned, self.frame.returns.ways, self.breaks.ways,
        ]  # fmt: skip
        counts = [len(each) for each in told]
        thrown = self.state.thrown

        def once() -> int:
            start()
            if not self.round():
                return LEFT
            end()
            return NEXT

        def again() -> None:
            self.state.thrown = thrown
            for each, count in zip(told, counts, strict=True):
                del each[count:]

        self.state.repeat(once, again)

    def end(self, reached: bool) -> int:
        """Leave it; ``reached``: by its end, which its ``else`` follows."""
        self.frame.breaks, self.frame.continues = self.outer
        status = LEFT if self._is_over_for_some() else RAISED
        if reached:
            status = self.evaluation._body(self.node.orelse, self.frame)
        self.state.doubt -= self.doubtful
        if not self.state.gather(self.breaks, goes_on(status)):
            return status
        return MAYBE if status == MAYBE or self._is_over_for_some() else NEXT

    def _is_over_for_some(self) -> bool:
        return len(self.frame.returned) > self.returned or self.state.thrown > self.thrown


def _nested(value: Function | Class) -> bool:
    """Whether a function or a class, or the class of a method, is defined in a function."""
    owner = value.owner if isinstance(value, Function) else None
    return value.frame is not None or (owner is not None and owner.frame is not None)


def _unpacked(targets: list[ast.expr], items: list[Val] | None) -> list[Val]:
    """What each of these targets gets of some elements."""
    star = next((place for place, each in enumerate(targets) if isinstance(each, ast.Starred)), None)
    if items is not None and star is not None and len(items) >= len(targets) - 1:
        end = len(items) - (len(targets) - 1 - star)
        items = [*items[:star], Sequence(items[star:end]), *items[end:]]
    return items if items is not None and len(items) == len(targets) else [Unknown() for _ in targets]


def _is_put_off(value: Val) -> TypeGuard[Lazy]:
    return isinstance(value, Lazy) and value.result is None


def _kept(value: Val) -> Val:
    if isinstance(value, Sequence) and not value.open:
        return Sequence(list(map(_kept, value.items)), fixed=True)
    return value


def _class_of(value: Val) -> Class | None:
    return value if isinstance(value, Class) else value.kind if isinstance(value, Instance) else None


def source_of(node: ast.expr) -> str:
    """:func:`ast.unparse`, quick for ``a.b.c``."""
    parts: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    return ".".join([inner.id, *reversed(parts)]) if isinstance(inner, ast.Name) else ast.unparse(node)


_LEAVING = (ast.Return, ast.Break, ast.Continue)


def _returns(node: FunctionNode) -> bool:
    """Whether a function may return anything that is true."""
    returns = (each for each in ast.walk(node) if isinstance(each, ast.Return))
    return any(each.value is not None and not _is_false(each.value) for each in returns)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def _reads_hub(node: ast.AST) -> bool:
    """Whether a Hub call stands anywhere in ``node``."""
    return any(
        _last(each.func) in ("from_pretrained", *library.DOWNLOADS) for each in ast.walk(node)
        if isinstance(each, ast.Call)
    )  # fmt: skip


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


_E = Evaluation
_Handler = Callable[[Evaluation, Any, Frame], Any]
_STATEMENTS: dict[type, _Handler] = {
    ast.Expr: _E._expression,
    ast.Assign: _E._assign,
    ast.AnnAssign: _E._annotated,
    ast.AugAssign: _E._augmented,
    ast.Delete: _E._delete,
    ast.If: _E._if,
    ast.Return: _E._return,
    ast.Raise: _E._raise,
    ast.Break: _E._break,
    ast.Continue: _E._continue,
    ast.Assert: _E._assert,
    ast.For: _E._for,
    ast.AsyncFor: _E._for,
    ast.While: _E._while,
    ast.With: _E._with,
    ast.AsyncWith: _E._with,
    ast.Try: _E._try,
    getattr(ast, "TryStar", ast.Try): _E._try,
    ast.Match: _E._match,
    ast.FunctionDef: _E._define,
    ast.AsyncFunctionDef: _E._define,
    ast.ClassDef: _E._define_class,
    ast.Global: _E._global,
    ast.Nonlocal: _E._nonlocal,
    ast.Import: _E._import_here,
    ast.ImportFrom: _E._import_here,
}
_CALLED: dict[type, Callable[[Evaluation, Any, ast.Call, Arguments, Frame], Val]] = {
    Function: _E._call_function,
    Class: _E._call_class,
    Method: _E._call_method,
    External: _E._call_external,
    Instance: _E._call_object,
    Partial: _E._call_partial,
}
_VIEWS: dict[str, Callable[[Any, Val], Val]] = {
    "keys": lambda key, _: Const(key),
    "values": lambda _, value: value,
    "items": lambda key, value: Sequence([Const(key), value], fixed=True),
}
_EXPRESSIONS: dict[type, Callable[[Evaluation, Any, Frame], Val]] = {
    ast.Constant: _E._constant_node,
    ast.Name: _E._name_node,
    ast.Attribute: _E._attribute,
    ast.Subscript: _E._subscript,
    ast.Dict: _E._dict_node,
    ast.List: _E._sequence,
    ast.Tuple: _E._sequence,
    ast.Set: _E._sequence,
    ast.BoolOp: _E._boolean,
    ast.UnaryOp: _E._unary,
    ast.Compare: _E._compare,
    ast.IfExp: _E._conditional,
    ast.BinOp: _E._binary,
    ast.JoinedStr: _E._formatted,
    ast.NamedExpr: _E._walrus,
    ast.ListComp: _E._comprehension,
    ast.SetComp: _E._comprehension,
    ast.GeneratorExp: _E._comprehension,
    ast.DictComp: _E._comprehension,
    ast.Lambda: _E._lambda,
    ast.Yield: _E._yielded,
    ast.YieldFrom: _E._yielded,
    ast.Await: _E._awaited,
    ast.Call: _E._call,
}
