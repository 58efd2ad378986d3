"""Values that cost microseconds to define: what ``dataclass(frozen=True, slots=True)`` gives, made when it is used.

A dataclass compiles its methods when its module is imported, 0.5 to 1 ms each: the forty on the way of ``check`` took
longer to define than a checkout takes to read. Here ``__init__`` is compiled for the first instance, and what
:mod:`dataclasses` wants to know of a class is put together when it asks.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

if TYPE_CHECKING:
    from dataclasses import Field

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


_T = TypeVar("_T")


class _Factory:
    """A default that is made anew for each instance."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def factory(make: Callable[[], _T]) -> _T:
    """``origins: dict[str, str] = factory(dict)``: a default that is made anew for each instance."""
    default: Any = _Factory(make)
    return default  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True)
class _FrozenType(type):
    """Turns the annotated names of a class body into slots, before the class is made."""

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> _FrozenType:
        names = tuple(body.get("__annotations__", ()))
        defaults = {field: body.pop(field) for field in names if field in body}
        body.update(__slots__=names, __match_args__=names, _fields=names, _defaults=defaults)
        body["_values"] = operator.attrgetter(*names) if names else type
        if names:
            body["__init__"] = _first_init
        return super().__new__(mcs, name, bases, body)


def _first_init(self: Any, *args: Any, **kwargs: Any) -> None:
    """Stands for ``__init__`` until the first instance is made."""
    cls = type(self)
    cls.__init__ = _compiled(cls)
    cls.__init__(self, *args, **kwargs)


def _compiled(cls: Any) -> Callable[..., None]:
    """The ``__init__`` of a class: ``setattr`` is forbidden, so it calls the slots' own setters."""
    names: dict[str, Any] = {}
    signature, lines = ["self"], []
    for name in cls._fields:
        names[f"_set_{name}"] = cls.__dict__[name].__set__
        value = name
        if name in cls._defaults:
            default = names[f"_default_{name}"] = cls._defaults[name]
            signature.append(f"{name}=_default_{name}")
            if isinstance(default, _Factory):
                value = f"{name}.make() if {name} is _default_{name} else {name}"
        else:
            signature.append(name)
        lines.append(f"    _set_{name}(self, {value})")
    exec(f"def __init__({', '.join(signature)}):\n" + "\n".join(lines), names)
    made: Callable[..., None] = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__ = cls.__module__
    return made


class _Fields:
    """``__dataclass_fields__``, made when :mod:`dataclasses` asks: its ``replace`` and ``fields`` work as ever."""

    def __get__(self, instance: object, owner: Any) -> dict[str, Field[Any]]:
        from dataclasses import field, make_dataclass

        shape: list[Any] = []
        for name in owner._fields:
            default = owner._defaults.get(name, self)
            if isinstance(default, _Factory):
                shape.append((name, owner.__annotations__[name], field(default_factory=default.make)))
            elif default is self:
                shape.append((name, owner.__annotations__[name]))
            else:
                shape.append((name, owner.__annotations__[name], field(default=default)))
        found: dict[str, Field[Any]] = make_dataclass(owner.__name__, shape).__dict__["__dataclass_fields__"]
        owner.__dataclass_fields__ = found
        return found


class Frozen(metaclass=_FrozenType):
    """Base of a value: annotate its fields, give defaults. No subclass of a subclass.

    Instances cannot be changed, are equal where type and fields are, are hashed and pickled by their fields, and
    :func:`dataclasses.replace`, :func:`dataclasses.fields` and ``match`` take them for the dataclasses that they are.
    """

    if TYPE_CHECKING:
        _fields: ClassVar[tuple[str, ...]]
        _values: ClassVar[Any]  # an attrgetter of the fields
    else:
        __dataclass_fields__ = _Fields()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._values(self) == self._values(other))

    def __hash__(self) -> int:
        return hash(self._values(self))

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__qualname__}({told})"

    def __reduce__(self) -> Any:
        return type(self), tuple([getattr(self, name) for name in self._fields])

    def __setattr__(self, name: str, value: object) -> NoReturn:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")


_V = TypeVar("_V", bound=Frozen)


def replace(value: _V, **changes: Any) -> _V:
    """:func:`dataclasses.replace`, without its import: a copy with some fields changed."""
    return type(value)(**{**{name: getattr(value, name) for name in value._fields}, **changes})
