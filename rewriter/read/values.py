"""What the walk through a loader knows of a value; everything else is :class:`Unknown`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewriter.read.modules import Module


@dataclass(frozen=True, slots=True)
class Known:
    """A constant. ``given``: the config has a part in it. ``key``: it is the loader's own keyword of that name."""

    value: object
    given: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that nobody knows. ``given``: the config has a part in it. ``key``: as for :class:`Known`."""

    text: str = ""
    given: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A dict as it was made. ``complete``: it holds no other keys."""

    items: Mapping[str, Val]
    complete: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A function or class of the checkout; ``owner``: the class of a method."""

    module: Module
    node: ast.FunctionDef | ast.ClassDef
    owner: Definition | None = None

    @property
    def name(self) -> str:
        """As messages show it: "T5Encoder.__init__"."""
        return f"{self.owner.name}.{self.node.name}" if self.owner else self.node.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Definition) and other.node is self.node

    def __hash__(self) -> int:
        return hash(self.node)


@dataclass(frozen=True, slots=True)
class External:
    """A dotted name from outside the checkout."""

    name: str


Val = Known | Unknown | Items | Definition | External
Env = dict[str, Val]


def truth(value: Val) -> bool | None:
    """What ``if value:`` does, or None where that is not known."""
    if isinstance(value, Known):
        return bool(value.value)
    if isinstance(value, Items):
        return True if value.items else (False if value.complete else None)
    return None


def is_given(value: Val) -> bool:
    """Whether the config has a part in a value."""
    if isinstance(value, Items):
        return any(map(is_given, value.items.values()))
    return isinstance(value, (Known, Unknown)) and value.given


def join(values: Iterable[Val]) -> Unknown:
    """What is made of several values, of which nothing is known but whether the config has a part in it."""
    return Unknown(given=any(map(is_given, values)))


def read_literal(node: ast.expr) -> Val:
    """The value of a literal."""
    try:
        return Known(ast.literal_eval(node))
    except (ValueError, TypeError):
        return Unknown()


def matters(value: Val) -> bool:
    """Whether a value is one of the keys that are followed, or a string of the config."""
    if isinstance(value, Items):
        return any(map(matters, value.items.values()))
    is_text = isinstance(value, Known) and value.given and isinstance(value.value, str)
    return is_text or getattr(value, "key", None) is not None


def compare(operator: ast.cmpop, left: Val, right: Val) -> Val:
    """``is``, ``in`` and ``==`` of known values."""
    if isinstance(operator, (ast.Is, ast.IsNot)) and isinstance(left, (Items, Known)) and isinstance(right, Known):
        same = isinstance(left, Known) and left.value is right.value
        return Known(same == isinstance(operator, ast.Is))
    if isinstance(left, Known) and isinstance(right, Known):
        try:
            if isinstance(operator, (ast.In, ast.NotIn)):
                return Known((left.value in right.value) == isinstance(operator, ast.In))  # type: ignore[operator]
            if isinstance(operator, (ast.Eq, ast.NotEq)):
                return Known((left.value == right.value) == isinstance(operator, ast.Eq))
        except TypeError:
            pass
    return Unknown()


def replace_held(env: Env, held: Val, changed: Val) -> None:
    """Give every name of a container that may have changed another value."""
    env.update([(name, changed) for name, value in env.items() if value is held])
