"""What the evaluation of a loader is made of: frames, the links between them, arguments, and what it finds."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from rewriter.frozen import Frozen
from rewriter.loaders import library
from rewriter.loaders.state import Exits
from rewriter.loaders.unit import FunctionNode, Unit
from rewriter.loaders.values import Cells, Class, Function, Sequence, Val
from rewriter.types import HubCall, Rejection

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

    ``by_object``: the values come by way of an object (``PreTrainedModel.from_pretrained`` builds a config object from
    its keywords).
    ``names``: local variables of ``frame`` that held a tracked key then, ``{key: name}``.
    """

    frame: Frame
    node: ast.expr
    names: Mapping[str, str]
    by_object: bool = False


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
        kinds = {*map(type, self.positional), *map(type, self.keywords.values())}
        if Sequence not in kinds:
            return self
        named = {name: _kept(value) for name, value in self.keywords.items()}
        return Arguments([_kept(value) for value in self.positional], named, self.is_open)


def _kept(value: Val) -> Val:
    if isinstance(value, Sequence) and not value.open:
        return Sequence(list(map(_kept, value.items)), fixed=True)
    return value


def source_of(node: ast.expr) -> str:
    """:func:`ast.unparse`, quick for ``a.b.c``."""
    parts: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    return ".".join([inner.id, *reversed(parts)]) if isinstance(inner, ast.Name) else ast.unparse(node)


def reads_hub(node: ast.AST) -> bool:
    """Whether a Hub call stands anywhere in ``node``."""
    return any(
        last_name(each.func) in ("from_pretrained", *library.DOWNLOADS) for each in ast.walk(node)
        if isinstance(each, ast.Call)
    )  # fmt: skip


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
