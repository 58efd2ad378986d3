"""A small abstract interpretation of a loader: which hub calls remain for given keyword values, and what they get."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rewriter.frozen import Frozen
from rewriter.loaders import library
from rewriter.loaders.unit import FunctionNode, Unit, bound, imported
from rewriter.loaders.values import (
    NONE,
    TRACKED,
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
    Sequence,
    Super,
    Unknown,
    Val,
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

NEXT, MAYBE, RETURN, RAISE, LEAVE = range(5)
"""How a statement ends: it goes on; some path returned; every path returned, raised, or left the loop."""

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
        "captured", "cls", "env", "first", "given", "link", "node", "outer", "registered", "returned", "unit", "value"
    )  # fmt: skip

    def __init__(self, unit: Unit, node: FunctionNode | None, outer: Frame | None, cls: Class | None) -> None:
        self.unit = unit
        self.node = node
        self.outer = outer
        self.cls = cls
        self.env: dict[Any, Val] = {}
        self.link: Link | None = None
        self.returned: list[Val] = []
        self.first: Val | None = None
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


_MISSING = Unknown("<missing>")
_Write = tuple[dict[Any, Val], Any, Val]


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
        self._journal: list[_Write] = []
        self._doubt = 0
        self._caught = 0
        self._via: tuple[str, ...] = ()
        self._led: Mapping[str, Val] = {}  # what the loader of a nested dict builds it with, beside its own keywords
        self._built = False
        self._given: dict[str, Val] = {}
        self._left_out: dict[str, Given] = {}  # defaults of the registered function
        self._steps = 0
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
        if link is not None and not self.sources.leads_on(value.unit, value.node.name):
            self._check(value, arguments)
            return Unknown()
        return self._enter_build(value, arguments, link)

    def _enter_build(self, value: Class | Function, arguments: Arguments, link: Link | None) -> Val:
        self._built = True
        try:
            if isinstance(value, Function):
                return self._enter(value, arguments, link)
            return self._instantiate(value, arguments, link)
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
        for star in unit.stars():
            target = self.sources.module(star)
            if target is not None and (name in target.names() or target.stars()):
                value = self.resolve(target, name)
                if not isinstance(value, Unknown):
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
            if isinstance(base, Class):
                found += [each for each in self._lineage(base) if each not in found] if base is not cls else []
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
            node = self._member(owner, name)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return Function(owner.unit, node, owner.frame, owner)
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

    def _instantiate(self, cls: Class, arguments: Arguments, link: Link | None) -> Val:
        instance = Instance(cls)
        new = self._find_method(cls, "__new__")
        if isinstance(new, Function) and _reads_hub(new.node):
            self._note(f"{new.name} in {self._short(new.unit.path)}:{new.node.lineno}: what it makes cannot be told")
        init = self._find_method(cls, "__init__")
        if isinstance(init, Function):
            self._enter(Function(init.unit, init.node, init.frame, init.owner, instance), arguments, link)
        elif (names := self._fields(cls)) is not None:
            self._fill(instance, names, arguments)
        else:
            self._absorb(instance, arguments)
        return instance

    def _fill(self, instance: Instance, names: list[str], arguments: Arguments) -> None:
        """What the ``__init__`` of a dataclass does."""
        for name in names:
            default = self._find_method(instance.kind, name)
            self._write(instance.attributes, name, default or Unknown())
        for name, value in zip(names, arguments.positional, strict=False):
            self._write(instance.attributes, name, value)
        for name, value in arguments.keywords.items():
            if name in names:
                self._write(instance.attributes, name, value)
            else:
                self._reject(name, value, f"{instance.kind.node.name}.__init__", instance.kind.unit, instance.kind.node)

    def _absorb(self, instance: Val, arguments: Arguments) -> None:
        """What a base from outside does with its arguments, as far as matters: a config keeps them as attributes."""
        if not isinstance(instance, Instance):
            return
        for name, value in arguments.keywords.items():
            self._write(instance.attributes, name, value)
        if arguments.positional and "config" not in arguments.keywords:
            self._write(instance.attributes, "config", arguments.positional[0])

    # --- calls of the checkout's functions

    def _enter(self, function: Function, arguments: Arguments, link: Link | None, tolerant: bool = False) -> Val:
        """Evaluate the body of a function with these arguments."""
        if len(self._stack) >= MAX_DEPTH or [each.node for each, _ in self._stack].count(function.node) > 1:
            self._note(f"{function.name} ({self._short(function.unit.path)}:{function.node.lineno}) calls itself")
            return Unknown()
        node = function.unit.full(function.node)
        if node is not function.node:
            function = Function(function.unit, node, function.frame, function.owner, function.bound)
        frame = Frame(function.unit, node, function.frame, function.owner)
        frame.link = link
        frame.value = function
        frame.first = function.bound
        frame.registered, self._built = self._built, False
        self._bind(function, arguments, frame, tolerant)
        self._stack.append((frame, function.node.lineno))
        doubt = self._doubt
        try:
            status = self._body(function.node.body, frame)
        finally:
            self._stack.pop()
            self._doubt = doubt
        if not frame.returned:
            return NONE
        returned = [*frame.returned, NONE] if status in (NEXT, MAYBE) else frame.returned
        return functools.reduce(join, returned)

    def _bind(self, function: Function, arguments: Arguments, frame: Frame, tolerant: bool) -> None:
        spec = self.sources.signature(function.node)
        added = self._added(function)
        positional = arguments.positional if function.bound is None else [function.bound, *arguments.positional]
        env = frame.env
        env.update(dict.fromkeys(spec.required, Unknown()))
        for name, default in spec.defaults:
            env[name] = Const(default.value) if type(default) is ast.Constant else self._default(default, frame)
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
            env[spec.vararg] = Sequence(positional[len(spec.positional) :])
        if spec.kwarg is not None:
            frame.captured = spec.kwarg
            env[spec.kwarg] = Dict(rest, arguments.is_open)

    def _default(self, node: ast.expr, frame: Frame) -> Val:
        return self._quiet(node, frame.outer or self._top(frame.unit))

    def _quiet(self, node: ast.expr, frame: Frame) -> Val:
        """Evaluate what has run when the module was imported: calls in it are none of the loader's."""
        if isinstance(node, ast.Constant):
            return Const(node.value)
        if not isinstance(node, ast.Name) and any(isinstance(each, ast.Call) for each in ast.walk(node)):
            return Unknown()
        return self.eval(node, frame)

    def _reject(self, key: str, value: Val, name: str, unit: Unit, node: ast.stmt) -> None:
        via = () if value is self._led.get(key) else self._via  # not the nested dict's, but what its loader adds
        rejection = Rejection(key, name, unit.path, node.lineno, self._chain(), via)
        caller = self._stack[-1][0] if self._stack else None
        self.refused.append(Refused(rejection, value, caller, self._calling))

    _calling: ast.expr | None = None

    # --- statements

    def _body(self, statements: list[ast.stmt], frame: Frame) -> int:
        maybe = 0
        status = NEXT
        for statement in statements:
            status = self._statement(statement, frame)
            if status == MAYBE:
                maybe += 1
                self._doubt += 1
            elif status != NEXT:
                break
        self._doubt -= maybe
        if status in (NEXT, MAYBE):
            return MAYBE if maybe else NEXT
        return status

    def _statement(self, node: ast.stmt, frame: Frame) -> int:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _TooMuchError
        handler = _STATEMENTS.get(type(node))
        return handler(self, node, frame) if handler else NEXT

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
        right = self.eval(node.value, frame)
        left = self.eval(node.target, frame)
        held = self.force(left)
        if isinstance(node.op, ast.BitOr) and isinstance(held, Dict):  # in place, as ``update`` does it
            self._dict_method(held, "update", Arguments([right], {}))
            return NEXT
        known = isinstance(node.op, ast.Add)
        self._store(node.target, library.add(left, right) if known else Unknown(), frame)
        return NEXT

    def _store(self, target: ast.expr, value: Val, frame: Frame) -> None:
        if isinstance(target, ast.Name):
            self._write(frame.env, target.id, value)
        elif isinstance(target, ast.Attribute):
            for receiver in options(self.force(self.eval(target.value, frame))):
                if isinstance(receiver, Instance):
                    self._write(receiver.attributes, target.attr, value)
        elif isinstance(target, ast.Subscript):
            self._store_item(target, value, frame)
        elif isinstance(target, (ast.Tuple, ast.List)):
            items = value.items if isinstance(value, Sequence) and len(value.items) == len(target.elts) else None
            for place, each in enumerate(target.elts):
                self._store(each, items[place] if items else Unknown(), frame)
        elif isinstance(target, ast.Starred):
            self._store(target.value, Unknown(), frame)

    def _store_item(self, target: ast.Subscript, value: Val, frame: Frame) -> None:
        receiver = self.force(self.eval(target.value, frame))
        index = self.force(self.eval(target.slice, frame))
        for each in options(receiver):
            if isinstance(each, Dict):
                if isinstance(index, Const) and len(options(receiver)) == 1:
                    self._write(each.items, index.value, value)
                elif isinstance(index, Const):
                    self._write(each.items, index.value, join(each.items.get(index.value, Unknown()), value))
                else:
                    each.open = True

    def _write(self, container: dict[Any, Val], name: Any, value: Val) -> None:
        self._journal.append((container, name, container.get(name, _MISSING)))
        if value is _MISSING:
            container.pop(name, None)
        else:
            container[name] = value

    def _delete(self, node: ast.Delete, frame: Frame) -> int:
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id in frame.env:
                self._write(frame.env, target.id, _MISSING)
            elif isinstance(target, ast.Subscript):
                receiver = self.force(self.eval(target.value, frame))
                index = self.force(self.eval(target.slice, frame))
                if isinstance(receiver, Dict) and isinstance(index, Const):
                    self._write(receiver.items, index.value, _MISSING)
        return NEXT

    def _if(self, node: ast.If, frame: Frame) -> int:
        guard = self.virtual.guards.get(place_of(frame.unit.path, node))
        if guard is not None:
            name, assigned = guard
            value = self._name(name, frame)
            if not (isinstance(value, Const) and value.value is None):
                for variable, text in assigned:
                    self._write(frame.env, variable, Const(text))
                return NEXT
        decided = truth(self.force(self.eval(node.test, frame)))
        if decided is not None:
            return self._body(node.body if decided else node.orelse, frame)
        return self._fork(
            lambda: self._body(node.body, frame),
            lambda: self._body(node.orelse, frame),
        )

    def _fork(self, first: Callable[[], int], second: Callable[[], int]) -> int:
        """Go both ways, each from the state before; what they leave different is joined."""
        self._doubt += 1
        mark = len(self._journal)
        one = first()
        left = self._rewind(mark)
        two = second()
        right = self._rewind(mark)
        self._doubt -= 1
        over = (RETURN, RAISE, LEAVE)
        if one in over and two in over:
            return one if one == two else RETURN
        if one in over or two in over:
            for container, name, value in (right if one in over else left).values():
                self._write(container, name, value)
            ended, other = (one, two) if one in over else (two, one)
            return other if ended == RAISE else MAYBE
        self._merge(left, right)
        return MAYBE if MAYBE in (one, two) else NEXT

    def _rewind(self, mark: int) -> dict[tuple[int, Any], _Write]:
        """Undo the writes since ``mark``; returns what they had left."""
        left: dict[tuple[int, Any], _Write] = {}
        for container, name, _ in self._journal[mark:]:
            left[id(container), name] = (container, name, container.get(name, _MISSING))
        for container, name, old in reversed(self._journal[mark:]):
            if old is _MISSING:
                container.pop(name, None)
            else:
                container[name] = old
        del self._journal[mark:]
        return left

    def _merge(self, left: dict[tuple[int, Any], _Write], right: dict[tuple[int, Any], _Write]) -> None:
        for place in {**left, **right}:
            container, name, _ = left.get(place) or right[place]
            now = container.get(name, _MISSING)
            one = left[place][2] if place in left else now
            two = right[place][2] if place in right else now
            self._write(container, name, Unknown() if _MISSING in (one, two) else join(one, two))

    def _return(self, node: ast.Return, frame: Frame) -> int:
        frame.returned.append(self.eval(node.value, frame) if node.value else NONE)
        return RETURN

    def _raise(self, node: ast.Raise, frame: Frame) -> int:
        return RAISE

    def _leave(self, node: ast.stmt, frame: Frame) -> int:
        return LEAVE

    def _assert(self, node: ast.Assert, frame: Frame) -> int:
        if truth(self.force(self.eval(node.test, frame))) is False and not self._doubt and not self._caught:
            self.failures.append(Failure(ast.unparse(node.test), frame.unit.path, node.lineno))
        return NEXT

    def _for(self, node: ast.For | ast.AsyncFor, frame: Frame) -> int:
        items = self.force(self.eval(node.iter, frame))
        if isinstance(items, Sequence) and len(items.items) <= MAX_LOOP:
            return self._rounds(node, items.items, frame)
        self._store(node.target, Unknown(), frame)
        return self._perhaps(node, frame)

    def _rounds(self, node: ast.For | ast.AsyncFor, items: list[Val], frame: Frame) -> int:
        maybe = 0
        status = NEXT
        for item in items:
            self._store(node.target, item, frame)
            status = self._body(node.body, frame)
            if status == MAYBE:
                maybe += 1
                self._doubt += 1
            elif status in (RETURN, RAISE):
                break
        self._doubt -= maybe
        if status in (RETURN, RAISE):
            return status
        last = self._body(node.orelse, frame)
        return MAYBE if maybe and last == NEXT else last

    def _perhaps(self, node: ast.For | ast.AsyncFor | ast.While, frame: Frame) -> int:
        """A body that may run any number of times: once, in doubt."""
        status = self._fork(lambda: self._body(node.body, frame), lambda: NEXT)
        self._body(node.orelse, frame)
        return MAYBE if status in (MAYBE, RETURN) else NEXT

    def _while(self, node: ast.While, frame: Frame) -> int:
        if truth(self.force(self.eval(node.test, frame))) is False:
            return self._body(node.orelse, frame)
        return self._perhaps(node, frame)

    def _with(self, node: ast.With | ast.AsyncWith, frame: Frame) -> int:
        for item in node.items:
            value = self.eval(item.context_expr, frame)
            if item.optional_vars is not None:
                self._store(item.optional_vars, value, frame)
        return self._body(node.body, frame)

    def _try(self, node: Any, frame: Frame) -> int:
        self._caught += 1
        mark = len(self._journal)
        status = self._body(node.body, frame)
        self._caught -= 1
        left = self._rewind(mark)
        self._doubt += 1
        for handler in node.handlers:
            if self._body(handler.body, frame) == RETURN and status != RETURN:
                status = MAYBE
            self._rewind(mark)
        self._doubt -= 1
        for container, name, value in left.values():
            self._write(container, name, value)
        if status in (NEXT, MAYBE):
            after = self._body(node.orelse, frame)
            status = after if after != NEXT else status
        final = self._body(node.finalbody, frame)
        return final if final != NEXT else status

    def _match(self, node: ast.Match, frame: Frame) -> int:
        self.eval(node.subject, frame)
        status = NEXT
        for case in node.cases:
            if self._fork(lambda body=case.body: self._body(body, frame), lambda: NEXT) == MAYBE:  # type: ignore[misc]
                status = MAYBE
        return status

    def _define(self, node: FunctionNode, frame: Frame) -> int:
        self._write(frame.env, node.name, Function(frame.unit, node, frame))
        return NEXT

    def _define_class(self, node: ast.ClassDef, frame: Frame) -> int:
        self._write(frame.env, node.name, Class(frame.unit, node, frame))
        return NEXT

    def _import_here(self, node: ast.Import | ast.ImportFrom, frame: Frame) -> int:
        for local, (module, name) in imported(node, frame.unit.package):
            if local != "*":
                self._write(frame.env, local, self._import(module, name))
        return NEXT

    # --- expressions

    def eval(self, node: ast.expr, frame: Frame) -> Val:
        """The abstract value of an expression; every call in it is looked at."""
        handler = _EXPRESSIONS.get(type(node))
        if handler is not None:
            return handler(self, node, frame)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.eval(child, frame)
        return Unknown()

    def force(self, value: Val) -> Val:
        """Ask for a value that was put off."""
        while isinstance(value, Lazy):
            if value.result is None:
                thunk, value.thunk = value.thunk, None
                value.result = Unknown()
                if thunk is not None:
                    value.result = thunk()
            value = value.result
        return value

    def _constant_node(self, node: ast.Constant, frame: Frame) -> Val:
        return Const(node.value)

    def _name_node(self, node: ast.Name, frame: Frame) -> Val:
        return self._name(node.id, frame)

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Val:
        receiver = self.eval(node.value, frame)
        if isinstance(receiver, Lazy) and receiver.result is None:
            return Lazy(lambda: self.attribute(receiver, node.attr))
        return self.attribute(receiver, node.attr)

    def attribute(self, value: Val, name: str) -> Val:
        """``value.name``."""
        value = self.force(value)
        if isinstance(value, Instance):
            return self._instance_attribute(value, name)
        if isinstance(value, (Unknown, Const, Dict, Sequence)):
            return Method(value, name)
        if isinstance(value, Choice):
            return functools.reduce(join, [self.attribute(option, name) for option in value.options])
        if isinstance(value, Class):
            return self._class_attribute(value, name)
        if isinstance(value, Module):
            return self._import(value.unit.module, name)
        if isinstance(value, External):
            unit = self.sources.module(value.name) if self.sources.inside(value.name) else None
            return self._import(value.name, name) if unit else External(f"{value.name}.{name}")
        if isinstance(value, Super):
            found = (
                self._find_method(value.self_.kind, name, value.owner) if isinstance(value.self_, Instance) else None
            )
            if isinstance(found, Function):
                return Function(found.unit, found.node, found.frame, found.owner, value.self_)
            return Method(value, name)
        return Method(value, name)

    def _instance_attribute(self, value: Instance, name: str) -> Val:
        if name in value.attributes:
            return value.attributes[name]
        if name == "__class__":
            return value.kind
        found = self._find_method(value.kind, name)
        if not isinstance(found, Function):
            return Method(value, name) if found is None else found
        decorators = [ast.unparse(each) for each in found.node.decorator_list]
        if "staticmethod" in decorators:
            return found
        if any(each.endswith("property") for each in decorators):
            return Lazy(
                lambda: self._enter(
                    Function(found.unit, found.node, found.frame, found.owner, value), Arguments([], {}), None
                )
            )
        first: Val = value.kind if "classmethod" in decorators else value
        return Function(found.unit, found.node, found.frame, found.owner, first)

    def _class_attribute(self, value: Class, name: str) -> Val:
        found = self._find_method(value, name)
        if found is None:
            return Method(value, name)
        if isinstance(found, Function) and any(
            ast.unparse(each) == "classmethod" for each in found.node.decorator_list
        ):
            return Function(found.unit, found.node, found.frame, found.owner, value)
        return found

    def _subscript(self, node: ast.Subscript, frame: Frame) -> Val:
        value = self.force(self.eval(node.value, frame))
        if isinstance(node.slice, ast.Slice):
            bounds = [
                self.force(self.eval(each, frame)) if each else NONE
                for each in (node.slice.lower, node.slice.upper, node.slice.step)
            ]
            return library.cut(value, bounds)
        index = self.force(self.eval(node.slice, frame))
        return functools.reduce(join, [library.item(each, index) for each in options(value)])

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
        value = self.force(value)
        if isinstance(value, Dict):
            built.items.update(value.items)
            built.open = built.open or value.open
        else:
            built.open = True

    def _virtual_keywords(self, node: ast.expr, frame: Frame, keywords: dict[Any, Val]) -> None:
        if not self.virtual.keywords:
            return
        added = self.virtual.keywords.get(place_of(frame.unit.path, node))
        if added is not None:
            for keyword, name in added.items():
                keywords[keyword] = self._name(name, frame)

    def _sequence(self, node: ast.List | ast.Tuple | ast.Set, frame: Frame) -> Val:
        if any(isinstance(each, ast.Starred) for each in node.elts):
            for each in node.elts:
                self.eval(each.value if isinstance(each, ast.Starred) else each, frame)
            return Unknown()
        return Sequence([self.eval(each, frame) for each in node.elts])

    def _boolean(self, node: ast.BoolOp, frame: Frame) -> Val:
        """``and``/``or``: the operand that decides; in doubt, any of those that may."""
        wanted = isinstance(node.op, ast.Or)
        result: Val | None = None
        doubts = 0
        for place, each in enumerate(node.values):
            value = self.force(self.eval(each, frame))
            decided = truth(value)
            if decided is not None and decided != wanted and place < len(node.values) - 1:
                continue
            result = value if result is None else join(result, value)
            if decided == wanted:
                break
            doubts += 1
            self._doubt += 1
        self._doubt -= doubts
        return result or Unknown()

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
        self._doubt += 1
        value = join(self.eval(node.body, frame), self.eval(node.orelse, frame))
        self._doubt -= 1
        return value

    def _binary(self, node: ast.BinOp, frame: Frame) -> Val:
        left, right = self.force(self.eval(node.left, frame)), self.force(self.eval(node.right, frame))
        if isinstance(node.op, ast.Add):
            return library.add(left, right)
        if isinstance(node.op, ast.BitOr) and isinstance(left, Dict) and isinstance(right, Dict):
            return Dict({**left.items, **right.items}, left.open or right.open)
        if isinstance(node.op, ast.Div):
            return library.path_join([left, right])
        return Unknown()

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
        self._store(node.target, value, frame)
        return value

    def _comprehension(self, node: Any, frame: Frame) -> Val:
        inner = Frame(frame.unit, frame.node, frame, frame.cls)
        inner.first, inner.captured, inner.link, inner.value = frame.first, frame.captured, frame.link, frame.value
        inner.registered = frame.registered
        first = node.generators[0]
        items = self.force(self.eval(first.iter, inner))
        if self._unrolls(node, items):
            assert isinstance(items, Sequence)
            results: list[Val] = []
            for item in items.items:
                self._store(first.target, item, inner)
                results.append(self.eval(node.elt, inner))
            return Sequence(results)
        for generator in node.generators:
            if generator is not first:
                self.eval(generator.iter, inner)
            self._store(generator.target, Unknown(), inner)
        self._doubt += 1
        for part in ("key", "value", "elt"):
            if (each := getattr(node, part, None)) is not None:
                self.eval(each, inner)
        self._doubt -= 1
        return Dict({}, True) if isinstance(node, ast.DictComp) else Unknown()

    def _unrolls(self, node: Any, items: Val) -> bool:
        """Whether a comprehension is one plain loop over a few known items."""
        plain = len(node.generators) == 1 and not node.generators[0].ifs and not isinstance(node, ast.DictComp)
        return plain and isinstance(items, Sequence) and len(items.items) <= MAX_LOOP

    def _not_called(self, node: ast.expr, frame: Frame) -> Val:
        if _reads_hub(node):
            self._note(f"a lambda in {self._short(frame.unit.path)}:{node.lineno}: when it is called cannot be told")
        return Unknown()

    def _awaited(self, node: Any, frame: Frame) -> Val:
        return self.eval(node.value, frame) if node.value is not None else Unknown()

    # --- calls

    def _call(self, node: ast.Call, frame: Frame) -> Val:
        function = node.func
        if isinstance(function, ast.Name) and function.id == "super" and "super" not in frame.env:
            return self._super(frame)
        if isinstance(function, ast.Attribute) and function.attr != "from_pretrained":
            receiver = self.eval(function.value, frame)
            if isinstance(receiver, Lazy):
                if receiver.kind is not None:  # its methods reach no hub call either
                    self._arguments(node, frame)
                    return receiver if function.attr in library.SAME_OBJECT else Unknown()
                if receiver.result is None and function.attr in library.LOGGING:
                    self._arguments(node, frame)
                    return NONE
            callee = self.force(self.attribute(receiver, function.attr))
        else:
            callee = self.force(self.eval(function, frame))
        arguments = self._arguments(node, frame)
        if self._stack:
            self._stack[-1] = (self._stack[-1][0], node.lineno)
        if not isinstance(callee, Choice):
            return self._apply(callee, node, arguments, frame)
        self._doubt += 1
        results = [self._apply(option, node, arguments, frame) for option in callee.options]
        self._doubt -= 1
        return functools.reduce(join, results)

    def _super(self, frame: Frame) -> Val:
        if frame.cls is None or frame.node is None:
            return Unknown()
        first = next((each.arg for each in (*frame.node.args.posonlyargs, *frame.node.args.args)), "")
        return Super(frame.cls, frame.env.get(first, Unknown()))

    def _arguments(self, node: ast.Call, frame: Frame) -> Arguments:
        found = Arguments([], {})
        for each in node.args:
            if isinstance(each, ast.Starred):
                value = self.force(self.eval(each.value, frame))
                if isinstance(value, Sequence):
                    found.positional += value.items
                else:
                    found.is_open = True
            else:
                found.positional.append(self.eval(each, frame))
        for keyword in node.keywords:
            value = self.eval(keyword.value, frame)
            if keyword.arg is not None:
                found.keywords[keyword.arg] = value
                continue
            value = self.force(value)
            if isinstance(value, Dict):
                found.keywords.update({name: each for name, each in value.items.items() if isinstance(name, str)})
                found.is_open = found.is_open or value.open
            elif not (isinstance(value, Choice) and all(isinstance(each, (Dict, Const)) for each in value.options)):
                found.is_open = True
            else:
                for option in value.options:
                    if isinstance(option, Dict):
                        found.is_open = True
        self._virtual_keywords(node, frame, found.keywords)
        return found

    def _apply(self, callee: Val, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        handler = _CALLED.get(type(callee))
        if handler is not None:
            return handler(self, callee, node, arguments, frame)
        if isinstance(callee, Unknown) and _last(node.func) in library.DOWNLOADS:
            self._note(self._where("what it calls cannot be told", node, frame))
        return Unknown()

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
        outermost = callee.owner.node.name if callee.owner else callee.node.name
        nested = callee.frame is not None or (callee.owner is not None and callee.owner.frame is not None)
        if nested or self.sources.leads_on(callee.unit, outermost):
            return self._enter(callee, arguments, link)
        self._check_function(callee, arguments)
        if callee.owner is not None:
            return Unknown()
        return self._put_off(lambda: self._enter(callee, arguments, link, tolerant=True))

    def _call_class(self, callee: Class, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        link = self._link(node, frame, "call")
        self._calling = node
        if callee.frame is not None or self.sources.leads_on(callee.unit, callee.node.name):
            return self._instantiate(callee, arguments, link)
        self._check(callee, arguments)
        return self._put_off(lambda: self._instantiate_quietly(callee, arguments, link), callee)

    def _instantiate_quietly(self, callee: Class, arguments: Arguments, link: Link) -> Val:
        refused = list(self.refused)
        value = self._instantiate(callee, arguments, link)
        self.refused = refused  # they were told when the call was looked at
        return value

    def _put_off(self, thunk: Callable[[], Val], kind: Class | None = None) -> Val:
        stack = list(self._stack)

        def later() -> Val:
            now, self._stack = self._stack, stack
            failures, self._caught = list(self.failures), self._caught + 1
            try:
                return thunk()
            finally:
                self._stack = now
                self._caught -= 1
                self.failures = failures

        return Lazy(later, kind)

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
            if isinstance(receiver, Class):
                return self._own_model(receiver, node, arguments, frame)
            if isinstance(receiver, Instance):
                return self._own_model(receiver.kind, node, arguments, frame)
            self._note(self._where("whose method it is cannot be told", node, frame))
            return Unknown()
        if isinstance(receiver, Super):
            if callee.name == "__init__":
                self._absorb(receiver.self_, arguments)
            return NONE
        if isinstance(receiver, Dict):
            return self._dict_method(receiver, callee.name, arguments)
        if callee.name == "build" and arguments.positional and self._is_registry(receiver):
            return self._build_from(arguments.positional[0], {}, node, frame)
        if isinstance(receiver, Instance) and callee.name in library.SAME_OBJECT:
            return receiver
        return library.method(receiver, callee.name, [self.force(each) for each in arguments.positional])

    def _is_registry(self, value: Val) -> bool:
        return isinstance(value, Unknown) or (isinstance(value, External) and value.name.endswith("MODELS"))

    def _dict_method(self, receiver: Dict, name: str, arguments: Arguments) -> Val:
        first = self.force(arguments.positional[0]) if arguments.positional else None
        if name in ("get", "pop", "setdefault") and isinstance(first, Const):
            default = arguments.positional[1] if len(arguments.positional) > 1 else NONE
            found = receiver.items.get(first.value)
            if found is None:
                found = join(default, Unknown()) if receiver.open else default
            if name == "pop" and first.value in receiver.items:
                self._write(receiver.items, first.value, _MISSING)
            elif name == "setdefault":
                self._write(receiver.items, first.value, found)
            return found
        if name == "update":
            if isinstance(first, Dict):
                for key, value in first.items.items():
                    self._write(receiver.items, key, value)
                receiver.open = receiver.open or first.open
            elif first is not None:
                receiver.open = True
            for key, value in arguments.keywords.items():
                self._write(receiver.items, key, value)
            return NONE
        if name == "copy":
            return Dict(
                dict(receiver.items), receiver.open, receiver.node, receiver.frame, receiver.given, receiver.path
            )
        if name in ("clear", "popitem"):
            receiver.open = True
        return Unknown()

    def _call_external(self, callee: External, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        name = callee.name
        last = name.rpartition(".")[2]
        if last == "from_pretrained":
            return self._hub(node, arguments, frame, "from_pretrained", name.split(".")[0], name.split(".")[-2])
        if last in library.DOWNLOADS and not name.startswith("builtins."):
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
        if name == "functools.partial":
            return Unknown()
        positional = [self.force(each) for each in arguments.positional]
        return library.function(name, positional, self.sources.root)

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
        results: list[Val] = []
        several = isinstance(value, Choice)
        self._doubt += several
        for option in options(value):
            if isinstance(option, Const) and option.value is None:
                results.append(option)
            elif isinstance(option, Dict):
                results.append(self._build_dict(option, keywords, node, frame))
            elif isinstance(option, Instance):
                results.append(option)
            else:
                self._note(self._where("what it builds cannot be told", node, frame))
        self._doubt -= several
        return functools.reduce(join, results) if results else Unknown()

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
        before = self._via, self._led
        if value.given:
            self._via, self._led = value.path, keywords
        try:
            if isinstance(type_name, Const) and isinstance(type_name.value, str):
                return self._build(type_name.value, arguments, link)
            if isinstance(type_name, (Class, Function)):
                return self._enter_build(type_name, arguments, link)
        finally:
            self._via, self._led = before
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
        function = Function(init.unit, init.node, init.frame, init.owner, instance)
        self._enter(function, inner, link, tolerant=True)
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
        if isinstance(config, Instance):
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
        self._doubt += several
        for option in options(value):
            self._record(option, node, arguments, frame, kind, origin, class_name)
        self._doubt -= several
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
            certain=not self._doubt,
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


def source_of(node: ast.expr) -> str:
    """:func:`ast.unparse`, quick for ``a.b.c``."""
    parts: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    return ".".join([inner.id, *reversed(parts)]) if isinstance(inner, ast.Name) else ast.unparse(node)


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
    ast.Break: _E._leave,
    ast.Continue: _E._leave,
    ast.Assert: _E._assert,
    ast.For: _E._for,
    ast.AsyncFor: _E._for,
    ast.While: _E._while,
    ast.With: _E._with,
    ast.AsyncWith: _E._with,
    ast.Try: _E._try,
    ast.Match: _E._match,
    ast.FunctionDef: _E._define,
    ast.AsyncFunctionDef: _E._define,
    ast.ClassDef: _E._define_class,
    ast.Import: _E._import_here,
    ast.ImportFrom: _E._import_here,
}
if hasattr(ast, "TryStar"):
    _STATEMENTS[ast.TryStar] = _E._try
_CALLED: dict[type, Callable[[Evaluation, Any, ast.Call, Arguments, Frame], Val]] = {
    Function: _E._call_function,
    Class: _E._call_class,
    Method: _E._call_method,
    External: _E._call_external,
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
    ast.Lambda: _E._not_called,
    ast.Await: _E._awaited,
    ast.Call: _E._call,
}
