"""The abstract values of the evaluation: what is known about an object without running anything.

``key`` of a value: the tracked keyword ("cache_dir", ...) of the registered loader that this value is, or None.
``given`` of a constant or dict: it comes from the config, not from the loader's source.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rewriter.types import Value

if TYPE_CHECKING:
    from rewriter.loaders.frames import Arguments, Frame
    from rewriter.loaders.unit import FunctionNode, Unit


class _Clock:
    """Counts what is made. ``past``: a former count, while something is made that belongs there."""

    def __init__(self) -> None:
        self.count = 0
        self.past: int | None = None

    def tick(self) -> int:
        """The count for one thing more."""
        if self.past is not None:
            return self.past
        self.count += 1
        return self.count


clock = _Clock()


class Cells(dict[Any, "Val"]):
    """What stands behind some names, attributes or keys. ``born``: the clock then, to tell older ones from younger."""

    __slots__ = ("born",)

    def __init__(self, *items: Any) -> None:
        super().__init__(*items)
        self.born = clock.tick()


class Val:
    """Any abstract value."""

    __slots__ = ("key",)
    key: str | None


class Unknown(Val):
    """Something that only running would tell; ``text`` is how the config writes it, where it comes from there."""

    __slots__ = ("text",)

    def __init__(self, text: str = "", key: str | None = None) -> None:
        self.key = key
        self.text = text


class Const(Val):
    """A known string, number, bool or None."""

    __slots__ = ("given", "value")

    def __init__(self, value: object, given: bool = False, key: str | None = None) -> None:
        self.key = key
        self.value = value
        self.given = given


class Given(Const):
    """A constant that notes whether anything asked for it: what was not asked for decided nothing.

    ``given``: False for the default of a parameter that the config leaves out.
    """

    __slots__ = ("_value", "asked")

    def __init__(self, value: object, key: str | None = None, given: bool = True) -> None:
        self._value = value
        self.asked = False
        self.key = key
        self.given = given

    @property
    def value(self) -> object:  # type: ignore[override]
        """The constant itself."""
        self.asked = True
        return self._value


class Sequence(Val):
    """A list, tuple or set. ``fixed``: a tuple, which nothing changes. ``open``: its elements are no longer known."""

    __slots__ = ("fixed", "items", "open")

    def __init__(self, items: list[Val], fixed: bool = False) -> None:
        self.key = None
        self.items = items
        self.fixed = fixed
        self.open = False


class Dict(Val):
    """A dict. ``open``: it may hold more keys than ``items``. ``node``/``frame``: where the source builds it.

    ``path``: the keys that lead to it in the config's values.
    """

    __slots__ = ("frame", "given", "items", "node", "open", "path")

    def __init__(
        self,
        items: dict[Any, Val],
        is_open: bool = False,
        node: ast.expr | None = None,
        frame: Frame | None = None,
        given: bool = False,
        path: tuple[str, ...] = (),
    ) -> None:
        self.key = None
        self.path = path
        self.items = items if isinstance(items, Cells) else Cells(items)
        self.open = is_open
        self.node = node
        self.frame = frame
        self.given = given


class External(Val):
    """A name from outside the checkout: ``transformers.AutoTokenizer``, ``builtins.len``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.key = None
        self.name = name


class Module(Val):
    """A module of the checkout."""

    __slots__ = ("unit",)

    def __init__(self, unit: Unit) -> None:
        self.key = None
        self.unit = unit


class Class(Val):
    """A class of the checkout."""

    __slots__ = ("bases", "frame", "node", "unit")

    def __init__(self, unit: Unit, node: ast.ClassDef, frame: Frame | None) -> None:
        self.key = None
        self.unit = unit
        self.node = node
        self.frame = frame
        self.bases: list[Val] | None = None


class Function(Val):
    """A function of the checkout; ``owner``: the class that it is defined in; ``bound``: its first argument.

    ``defaults``: values of parameters, where they are not those of a module's top level.
    """

    __slots__ = ("bound", "defaults", "frame", "node", "owner", "unit")

    def __init__(
        self,
        unit: Unit,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        frame: Frame | None,
        owner: Class | None = None,
        bound: Val | None = None,
        defaults: Mapping[str, Val] | None = None,
    ) -> None:
        self.key = None
        self.unit = unit
        self.node = node
        self.frame = frame
        self.owner = owner
        self.bound = bound
        self.defaults = defaults

    def bind(self, first: Val | None, node: FunctionNode | None = None) -> Function:
        """The same function with its first argument; ``node``: with the body that was left out."""
        return Function(self.unit, node or self.node, self.frame, self.owner, first, self.defaults)

    @property
    def name(self) -> str:
        """``Class.method``, or the function's name."""
        return f"{self.owner.node.name}.{self.node.name}" if self.owner else self.node.name


class Instance(Val):
    """An object of a checkout class."""

    __slots__ = ("attributes", "kind")

    def __init__(self, kind: Class) -> None:
        self.key = None
        self.kind = kind
        self.attributes = Cells()


class Method(Val):
    """``receiver.name`` where ``receiver`` is no object of the checkout: a method of a string, a dict, a library."""

    __slots__ = ("name", "receiver")

    def __init__(self, receiver: Val, name: str) -> None:
        self.key = None
        self.receiver = receiver
        self.name = name


class Super(Val):
    """``super()`` in a method of ``owner``."""

    __slots__ = ("owner", "self_")

    def __init__(self, owner: Class, self_: Val) -> None:
        self.key = None
        self.owner = owner
        self.self_ = self_


class Partial(Val):
    """``functools.partial(callee, ...)``."""

    __slots__ = ("arguments", "callee")

    def __init__(self, callee: Val, arguments: Arguments) -> None:
        self.key = None
        self.callee = callee
        self.arguments = arguments


class Lazy(Val):
    """The result of a call that reaches no hub call: evaluated only if somebody asks for it. ``kind``: its class.

    What is done with it meanwhile is put off as well, as results with the same ``root``; that one's ``queue`` says in
    which order. Nobody else knows what hangs together like this.
    """

    __slots__ = ("born", "kind", "queue", "result", "root", "thunk")

    def __init__(self, thunk: Callable[[], Val], kind: Class | None = None, root: Lazy | None = None) -> None:
        self.key = None
        self.kind = kind
        self.thunk = thunk
        self.result: Val | None = None
        self.born = clock.tick()
        self.root = root or self
        self.queue: list[Lazy] = []
        self.root.queue.append(self)


class Choice(Val):
    """One of a few values: an undecided condition stands before it."""

    __slots__ = ("options",)

    def __init__(self, options: list[Val]) -> None:
        self.key = None
        self.options = options


NONE = Const(None)
PLAIN = (Const, Given, Unknown)  # what nothing can change
MAX_OPTIONS = 4


def key_of(value: Val) -> str | None:
    """The tracked keyword that ``value`` is; of a choice: only if every option is it."""
    if isinstance(value, Choice):
        keys = {key_of(option) for option in value.options}
        return keys.pop() if len(keys) == 1 else None
    return value.key


def is_sure(value: Val) -> bool:
    """False for what may as well be missing."""
    return not any(isinstance(each, Unknown) and each.key is None and not each.text for each in options(value))


def options(value: Val) -> list[Val]:
    """What ``value`` may be."""
    return value.options if isinstance(value, Choice) else [value]


def elements(value: Val) -> list[Val] | None:
    """The elements of a sequence, or the keys of a dict, one by one; None: they are not known."""
    if isinstance(value, Sequence) and not value.open:
        return value.items
    if isinstance(value, Dict) and not value.open:
        return [Const(name, value.given) for name in value.items]
    return None


def same(left: Val, right: Val) -> bool:
    """True if both are the same object or constant, or as unknown as each other."""
    if left is right or (isinstance(left, Unknown) and isinstance(right, Unknown) and left.key == right.key):
        return True
    if isinstance(left, Const) and isinstance(right, Const):
        return type(left.value) is type(right.value) and left.value == right.value and left.key == right.key
    return False


def join(left: Val, right: Val) -> Val:
    """What is known when it is not known which of two values stands."""
    merged: list[Val] = []
    for option in (*options(left), *options(right)):
        if not any(same(option, other) for other in merged):
            merged.append(option)
    if len(merged) == 1:
        return merged[0]
    return Choice(merged) if len(merged) <= MAX_OPTIONS else Unknown()


def from_literal(value: object, key: str | None = None, path: tuple[str, ...] = ()) -> Val:
    """A value of the config; ``path``: the keys that lead to it."""
    if isinstance(value, Value):
        return from_literal(value.value, key, path) if value.literal else Unknown(value.text, key)
    if isinstance(value, dict):
        built = "type" in value  # a component, which answers for itself; other dicts may be for anything
        items = {
            name: from_literal(each, tracked(name) if built else None, (*path, str(name)))
            for name, each in value.items()
        }
        return Dict(items, given=True, path=path)
    if isinstance(value, (list, tuple, set, frozenset)):
        return Sequence([from_literal(each, None, path) for each in value], isinstance(value, tuple))
    return Given(value, key) if len(path) == 1 else Const(value, True, key)


TRACKED = ("cache_dir", "local_files_only")


def tracked(name: object) -> str | None:
    """``name`` if it is a keyword whose way is followed."""
    return name if isinstance(name, str) and name in TRACKED else None


def truth(value: Val) -> bool | None:
    """Truth value; None: undecided."""
    if isinstance(value, Const):
        return bool(value.value)
    if isinstance(value, Choice):
        truths = {truth(option) for option in value.options}
        return truths.pop() if len(truths) == 1 else None
    if isinstance(value, Dict):
        return True if value.items else (None if value.open else False)
    if isinstance(value, Sequence):
        return None if value.open else bool(value.items)
    return True if isinstance(value, (Class, Function, Module, External, Partial)) else None
