"""What the walk through a loader knows of a value; everything else is :data:`UNKNOWN`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rewriter.read.modules import Module


class Known(NamedTuple):
    """A constant. ``given``: the config has a part in it. ``key``: it is the loader's own keyword of that name."""

    value: object
    given: bool = False
    key: str | None = None


class Unknown(NamedTuple):
    """A value that nobody knows. ``text``: of the config, where it has a part in it. ``key``: as for :class:`Known`."""

    text: str = ""
    key: str | None = None


class Items(NamedTuple):
    """A dict as it was made. ``complete``: it holds no other keys."""

    items: Mapping[str, Val]
    complete: bool = True

    def __hash__(self) -> int:
        return hash(frozenset(self.items.items()))


class Definition(NamedTuple):
    """A function or class of the checkout; ``owner``: the class of a method."""

    module: Module
    node: ast.FunctionDef | ast.ClassDef
    owner: Definition | None = None

    @property
    def name(self) -> str:
        """As messages show it: "T5Encoder.__init__"."""
        return f"{self.owner.name}.{self.node.name}" if self.owner else self.node.name


class External(NamedTuple):
    """A dotted name from outside the checkout."""

    name: str


Val = Known | Unknown | Items | Definition | External
Env = dict[str, Val]
UNKNOWN = Unknown()

OPERATORS: Mapping[type[ast.AST], Callable[..., object]] = {
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda part, whole: part in whole,
    ast.NotIn: lambda part, whole: part not in whole,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
}


def apply(function: Callable[..., object], *values: Val) -> Val:
    """What a function without effects gives for constants; unknown where it raises, or where one is not known."""
    known = [each for each in values if isinstance(each, Known)]
    if len(known) < len(values):
        return Unknown(next((each.text for each in values if isinstance(each, Unknown) and each.text), ""))
    try:
        return Known(function(*(each.value for each in known)), any(each.given for each in known))
    except (TypeError, ValueError, LookupError):
        return UNKNOWN


def truth(value: Val) -> bool | None:
    """What ``if value:`` does, or None where that is not known."""
    if isinstance(value, Items):
        return True if value.items else (False if value.complete else None)
    return bool(value.value) if isinstance(value, Known) else None


def matters(value: Val) -> bool:
    """Whether a value is one of the keys that are followed, or a string of the config."""
    if isinstance(value, Items):
        return any(map(matters, value.items.values()))
    is_text = isinstance(value, Known) and value.given and isinstance(value.value, str)
    return is_text or getattr(value, "key", None) is not None
