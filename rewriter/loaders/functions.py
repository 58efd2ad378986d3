"""Functions and classes of the checkout that are called: what their parameters hold, and when bodies are evaluated."""

from __future__ import annotations

import ast
import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from rewriter.loaders import library
from rewriter.loaders.frames import Arguments, Frame, Link, Refused, place_of, reads_hub
from rewriter.loaders.names import Names
from rewriter.loaders.state import Exits, goes_on
from rewriter.loaders.unit import Unit
from rewriter.loaders.values import (
    NONE,
    PLAIN,
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
    Partial,
    Sequence,
    Unknown,
    Val,
    is_sure,
    join,
    key_of,
)
from rewriter.types import Rejection

MAX_DEPTH = 40


class Functions(Names):
    """Calls of what the checkout defines."""

    @abstractmethod
    def _body(self, statements: list[ast.stmt], frame: Frame) -> int:
        """Evaluate statements; returns how they end."""

    # --- bodies

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
        self._files.add(function.unit.path)
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
            env[name] = (
                Const(default.value) if type(default) is ast.Constant else self._default(name, default, function)
            )
        for name, value in added.items():
            env[name] = Const(value)
        if not self._stack:
            for name, _ in spec.defaults:
                left = env.get(name)
                if name not in arguments.keywords and type(left) is Const:
                    env[name] = self._left_out[name] = Given(left.value, given=False)
        if arguments.is_open:  # something unseen may be passed for any of them
            for name in spec.named:
                if name not in arguments.keywords:
                    env[name] = Unknown()
        frame.given = dict(zip(spec.positional, positional, strict=False))
        env.update(frame.given)
        rest: dict[Any, Val] = {}
        for name, given in arguments.keywords.items():
            if name in spec.keywords or name in added:
                if name in frame.given and not tolerant:
                    self._reject_twice(name, frame.given[name], given, function.name, function.unit, function.node)
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
        if function.defaults is not None:
            return function.defaults[name]
        return self._quiet(node, function.frame or self._top(function.unit))

    def _takes(self, function: Function, key: str) -> bool:
        spec = self.sources.signature(function.node)
        return key in spec.keywords or spec.kwarg is not None or key in self._added(function)

    def _added(self, function: Function) -> dict[str, object]:
        return self.virtual.parameters.get(place_of(function.unit.path, function.node), {})

    def _reject_twice(self, key: str, one: Val, other: Val, name: str, unit: Unit, node: ast.stmt | ast.expr) -> None:
        """Two values for a keyword; one that may be missing is only minded where the keyword is followed."""
        if key in TRACKED or (is_sure(one) and is_sure(other)):
            self._reject(key, one if key_of(one) == key else other, name, unit, node)

    def _reject(self, key: str, value: Val, name: str, unit: Unit, node: ast.stmt | ast.expr) -> None:
        via = () if value is self._led.get(key) else self._via  # not the nested dict's, but what its loader adds
        rejection = Rejection(key, name, unit.path, node.lineno, self._chain(), via)
        caller = self._stack[-1][0] if self._stack else None
        self.refused.append(Refused(rejection, value, caller, self._calling))

    # --- classes

    def _instantiate(self, cls: Class, arguments: Arguments, link: Link | None, tolerant: bool = False) -> Instance:
        instance = Instance(cls)
        new = self._find_method(cls, "__new__")
        if isinstance(new, Function) and reads_hub(new.node):
            self._note(f"{new.name} in {self._short(new.unit.path)}:{new.node.lineno}: what it makes cannot be told")
        if not tolerant:
            self._check_new(new, arguments)
        init = self._find_method(cls, "__init__")
        if isinstance(init, Function):
            self._enter(init.bind(instance), arguments, link, tolerant)
        elif (names := self._fields(cls)) is not None:
            self._fill(instance, names, arguments, tolerant)
            after = self._find_method(cls, "__post_init__")
            if isinstance(after, Function):
                by_object = Link(link.frame, link.node, link.names, True) if link else None
                self._enter(after.bind(instance), Arguments([], {}), by_object)
        else:
            if not tolerant:
                self._check_outside(cls, arguments)
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
        if not tolerant:
            self._check_fields(instance.kind, names, arguments)

    def _absorb(self, instance: Instance, arguments: Arguments) -> None:
        """What a base from outside does with its arguments, as far as matters: a config keeps them as attributes."""
        for name, value in arguments.keywords.items():
            self.state.write(instance.attributes, name, value)
        if arguments.positional and "config" not in arguments.keywords:
            self.state.write(instance.attributes, "config", arguments.positional[0])

    # --- now or later

    def _now_or_later(
        self, callee: Class | Function, arguments: Arguments, go: Callable[[Arguments, bool], Val]
    ) -> Val:
        """Evaluate a call at once where that matters; else when somebody asks for what it gives."""
        kept = arguments.kept() if isinstance(callee, Class) or callee.owner is not None else arguments
        if self._leads(callee) or is_nested(callee) or self._matters(callee, kept):
            return go(arguments, False)
        if self._hands_on(callee, kept) or _may_object(callee, kept):
            return go(kept, False)
        self._check(callee, kept)
        kind = callee if isinstance(callee, Class) else None
        return self._put_off(lambda: go(kept, True), kind, *_roots(kept.values()))

    def _check(self, callee: Class | Function, arguments: Arguments) -> None:
        """Look only whether the signature takes the keywords of a call."""
        if isinstance(callee, Function):
            self._check_function(callee, arguments)
            return
        self._check_new(self._find_method(callee, "__new__"), arguments)
        init = self._find_method(callee, "__init__")
        if isinstance(init, Function):
            self._check_function(init.bind(NONE), arguments)
        elif (names := self._fields(callee)) is not None:
            self._check_fields(callee, names, arguments)
        else:
            self._check_outside(callee, arguments)

    def _check_new(self, new: Val | None, arguments: Arguments) -> None:
        """The same for the ``__new__`` that a class may have."""
        if isinstance(new, Function):
            self._check_function(new.bind(NONE), arguments)

    def _check_outside(self, cls: Class, arguments: Arguments, after: Class | None = None) -> None:
        """The same for a class without an ``__init__``, or for what stands behind its base ``after``."""
        for name, value in arguments.keywords.items():
            if not self._takes_outside(cls, name, after):
                self._reject(name, value, f"{cls.node.name}.__init__", cls.unit, cls.node)

    def _check_fields(self, cls: Class, names: list[str], arguments: Arguments) -> None:
        """The same for a dataclass."""
        function = f"{cls.node.name}.__init__"
        by_place = dict(zip(names, arguments.positional, strict=False))
        for name, value in arguments.keywords.items():
            if name not in names:
                self._reject(name, value, function, cls.unit, cls.node)
            elif name in by_place:
                self._reject_twice(name, by_place[name], value, function, cls.unit, cls.node)

    def _check_function(self, callee: Function, arguments: Arguments) -> None:
        spec = self.sources.signature(callee.node)
        by_place = dict(zip(spec.positional[callee.bound is not None :], arguments.positional, strict=False))
        for name, value in arguments.keywords.items():
            if name in by_place and name in spec.keywords:
                self._reject_twice(name, by_place[name], value, callee.name, callee.unit, callee.node)
            elif spec.kwarg is None and name not in spec.keywords and name not in self._added(callee):
                self._reject(name, value, callee.name, callee.unit, callee.node)

    def _leads(self, value: Val) -> bool:
        """Whether calling a value may reach a hub call."""
        if isinstance(value, Partial):
            return self._leads(value.callee)
        if isinstance(value, External):
            return value.name.rpartition(".")[2] in ("from_pretrained", *library.DOWNLOADS)
        if isinstance(value, Function):
            if is_nested(value):
                return reads_hub(value.node)
            return self.sources.leads_on(value.unit, value.owner.node.name if value.owner else value.node.name)
        if isinstance(value, Class):
            return is_nested(value) or self.sources.leads_on(value.unit, value.node.name)
        return False

    def _matters(self, callee: Val, arguments: Arguments, root: Lazy | None = None) -> bool:
        """Whether a call may change or call what it is given, so that it cannot be put off.

        What is put off alone (``root``, and what it is given) can wait together.
        """
        roots = {root} if root is not None else set()
        known: list[Val] = []
        for each in arguments.values():
            if isinstance(each, Lazy) and each.result is None:
                roots.add(each.root)
            elif type(each) not in PLAIN:
                known.append(each)
        if len(roots) > 1 or (roots and self._in_doubt()):
            return True
        if isinstance(callee, Function) and isinstance(callee.bound, Instance):
            return True
        return any(map(self._changeable, known))

    def _hands_on(self, callee: Class | Function, arguments: Arguments) -> bool:
        """Whether keywords of a call may be rejected further in."""
        function = self._find_method(callee, "__init__") if isinstance(callee, Class) else callee
        if not isinstance(function, Function):
            return False
        spec = self.sources.signature(function.node)
        if spec.kwarg is None or not (rest := arguments.keywords.keys() - spec.keywords):
            return False
        hands_on, elsewhere = spec.hands_on(function.unit.full(function.node))
        if elsewhere or not isinstance(callee, Class) or arguments.positional:
            return hands_on
        behind = self._find_method(callee, "__init__", function.owner)
        if isinstance(behind, Function):
            return not rest <= self.sources.signature(behind.node).keywords
        return hands_on and not all(self._takes_outside(callee, name, function.owner) for name in rest)

    def _changeable(self, value: Val) -> bool:
        """Whether there is anything about a value that could be another one later."""
        if type(value) in PLAIN:
            return False
        if isinstance(value, Lazy):
            return value.result is None or self._changeable(value.result)
        if isinstance(value, Choice):
            return any(self._changeable(each) for each in value.options)
        if isinstance(value, Sequence):
            return not value.fixed or any(self._changeable(each) for each in value.items)
        if isinstance(value, Function) and (is_nested(value) or isinstance(value.bound, Instance)):
            return True
        return isinstance(value, (Dict, Instance, Partial)) or self._leads(value)


def _may_object(callee: Class | Function, arguments: Arguments) -> bool:
    """Whether a function that is given a tracked keyword may raise because of it."""
    if isinstance(callee, Class) or not any(key_of(value) is not None for value in arguments.values()):
        return False
    return any(isinstance(each, (ast.Raise, ast.Assert)) for each in ast.walk(callee.node))


def is_nested(value: Function | Class) -> bool:
    """Whether a function or a class, or the class of a method, is defined in a function."""
    return value.frame is not None  # a method has that of its class


def _roots(values: list[Val]) -> list[Lazy]:
    """What those of these values that are put off wait for."""
    return list(dict.fromkeys(each.root for each in values if isinstance(each, Lazy) and each.result is None))
