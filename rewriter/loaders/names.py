"""What a name, an attribute or a member of a class stands for in a checkout's sources."""

from __future__ import annotations

import ast
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rewriter.loaders import library
from rewriter.loaders.frames import Arguments, Frame, Link, Place, Reach, Refused, Virtual, last_name, source_of
from rewriter.loaders.state import State
from rewriter.loaders.unit import PLAIN, Unit, definitions
from rewriter.loaders.values import (
    Cells,
    Choice,
    Class,
    Dict,
    External,
    Function,
    Given,
    Instance,
    Lazy,
    Method,
    Module,
    Super,
    Unknown,
    Val,
    join,
    key_of,
)
from rewriter.types import Failure, Step

if TYPE_CHECKING:
    from rewriter.loaders.sources import Sources

MAX_STEPS = 50_000


class TooMuchError(Exception):
    """The evaluation went on for too long."""


class Names(ABC):
    """The ground of an evaluation: what was found, what is put off, and what names stand for."""

    def __init__(self, sources: Sources, virtual: Virtual) -> None:
        self.sources = sources
        self.virtual = virtual
        self.reaches: list[Reach] = []
        self.refused: list[Refused] = []
        self.failures: list[Failure] = []
        self.unknown: list[str] = []
        self.unseen: set[Place] = set()  # calls that get a ``**`` of which not all is known
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
        self._files: set[str] = set()
        self._led: Mapping[str, Val] = {}  # what the loader of a nested dict builds it with, beside its own keywords
        self._built = False
        self._given: dict[str, Val] = {}
        self._left_out: dict[str, Given] = {}  # defaults of the registered function
        self._attributes: dict[ast.ClassDef, Cells] = {}  # of classes: what is set while the loader runs
        self._steps = 0
        self._calling: ast.expr | None = None  # the call or dict that is being looked at
        self._aside = 0  # above 0: what is evaluated was put off, its assertions are none of ours
        self._tracks = True  # False: no value of this evaluation is that of a tracked keyword

    @abstractmethod
    def eval(self, node: ast.AST, frame: Frame) -> Val:
        """The abstract value of an expression; every call in it is looked at."""

    @abstractmethod
    def _enter(self, function: Function, arguments: Arguments, link: Link | None, tolerant: bool = False) -> Val:
        """Evaluate the body of a function with these arguments."""

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
        if nodes and isinstance(nodes[-1], PLAIN):
            return self._defined(unit, nodes)
        inner = [each for node in nodes for each in definitions(node, name)]
        if inner:  # one of them: a condition stands before each
            found = [self._defined(unit, [each]) for each in inner]
            imports = [self._import(*unit.imports()[name])] if name in unit.imports() else []
            return functools.reduce(join, [*imports, *found])
        if name in unit.imports():
            return self._import(*unit.imports()[name])
        for star in reversed(unit.stars()):
            target = self.sources.module(star)
            if target is not None and (name in target.names() or target.stars()):
                value = self.resolve(target, name)
                if not isinstance(value, Unknown) or name in target.names():
                    return value
        return External(f"builtins.{name}") if name in library.BUILTINS else Unknown()

    def _defined(self, unit: Unit, nodes: list[ast.stmt]) -> Val:
        """What a name is after the statements that bind it, none of which holds others."""
        node = nodes[-1]
        if isinstance(node, ast.ClassDef):
            return Class(unit, node, None)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return Function(unit, node, None)
        return self._constant(unit, nodes)

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
        if unit is not None and (name in unit.names() or unit.stars()) and not _is_its_own(unit, module, name):
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

    def _quiet(self, node: ast.expr, frame: Frame) -> Val:
        """Evaluate what has run when the module was imported: calls in it are none of the loader's."""
        if not isinstance(node, ast.Name) and any(isinstance(each, ast.Call) for each in ast.walk(node)):
            return Unknown()
        return self.eval(node, frame)

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

    def _takes_outside(self, cls: Class, key: str, after: Class | None = None) -> bool:
        """Whether the ``__init__`` of what stands behind a class, or behind its base ``after``, may take a keyword."""
        lineage = self._lineage(cls)
        if after is None:
            behind = lineage
            if self._find_method(cls, "__new__") is not None:
                return True
        elif after in lineage:
            behind = lineage[lineage.index(after) + 1 :]
        else:
            return True
        if self._find_method(cls, "__init__", after) is not None or any(map(_is_remade, behind)):
            return True
        bases = [base for each in lineage for base in self._bases(each) if not isinstance(base, Class)]
        return not all(isinstance(base, External) and library.refuses(base.name, key) for base in bases)

    def _find_method(self, cls: Class, name: str, after: Class | None = None) -> Val | None:
        """A member of a class or its bases in the checkout; ``after``: only of those behind that class."""
        lineage = self._lineage(cls)
        if after is not None:
            lineage = lineage[lineage.index(after) + 1 :] if after in lineage else []
        for owner in lineage:
            if owner.node in self._attributes and name in self._attributes[owner.node]:
                return self._attributes[owner.node][name]
            node = owner.unit.member(owner.node, name)
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
        if not _is_dataclass(cls):
            return None
        fields: dict[str, bool] = {}
        for owner in filter(_is_dataclass, reversed(self._lineage(cls))):
            for node in owner.node.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    fields[node.target.id] = _is_parameter(node)
        return [name for name, is_parameter in fields.items() if is_parameter]

    # --- attributes

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
            kind = class_of(value.self_)
            found = self._find_method(kind, name, value.owner) if kind is not None else None
            return found.bind(value.self_) if isinstance(found, Function) else Method(value, name)
        return Method(value, name)

    def _instance_attribute(self, value: Instance, name: str) -> Val:
        if name in value.attributes:
            return value.attributes[name]
        if name == "__class__":
            return value.kind
        if name == "__dict__":
            return Dict(value.attributes)
        found = self._find_method(value.kind, name)
        if not isinstance(found, Function):
            return Method(value, name) if found is None else found
        if is_static(found):
            return found
        decorators = [ast.unparse(each) for each in found.node.decorator_list]
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

    # --- what is put off

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

    def _in_doubt(self) -> bool:
        """Whether what is evaluated may as well not be reached, or be undone: no change is put off then."""
        return self.state.forks > 0 or self.state.doubt > 0

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

    # --- telling

    def _at(self, node: ast.expr | ast.stmt, frame: Frame) -> None:
        """Note the line that leads on."""
        if self._stack and self._stack[-1][0].node is frame.node:
            self._stack[-1] = (self._stack[-1][0], node.lineno)

    def _link(self, node: ast.expr, frame: Frame, *, by_object: bool = False) -> Link:
        return Link(frame, node, self._held(frame), by_object)

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


def _is_its_own(unit: Unit, module: str, name: str) -> bool:
    """Whether a package imports the name from itself (``from . import name``): it is the module in it then."""
    return unit.imports().get(name) == (module, name) and not unit.find(name)


def _is_remade(cls: Class) -> bool:
    """Whether a class may be made into something else by a decorator, such as a dataclass, or by its metaclass."""
    decorators = {last_name(getattr(each, "func", each)) for each in cls.node.decorator_list}
    return bool(cls.node.keywords) or not decorators <= {"register_module"}


def _is_dataclass(cls: Class) -> bool:
    return any("dataclass" in ast.unparse(each) for each in cls.node.decorator_list)


def _is_parameter(field: ast.AnnAssign) -> bool:
    """Whether the ``__init__`` of a dataclass takes a field."""
    kind = ast.unparse(field.annotation).strip("'\"").partition("[")[0].rpartition(".")[2]
    if kind in ("ClassVar", "KW_ONLY"):
        return False
    given = field.value.keywords if isinstance(field.value, ast.Call) else []
    return not any(each.arg == "init" and ast.unparse(each.value) == "False" for each in given)


def is_static(function: Function) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.node.decorator_list)


def class_of(value: Val) -> Class | None:
    return value if isinstance(value, Class) else value.kind if isinstance(value, Instance) else None
