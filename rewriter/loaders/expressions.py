"""Expressions of a loader's source, and what is assigned to."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from typing import Any

from rewriter.loaders import library
from rewriter.loaders.calls import Calls
from rewriter.loaders.frames import Arguments, Frame, place_of, reads_hub, source_of
from rewriter.loaders.names import MAX_STEPS, TooMuchError, is_static
from rewriter.loaders.values import (
    NONE,
    Class,
    Const,
    Dict,
    Function,
    Instance,
    Lazy,
    Sequence,
    Super,
    Unknown,
    Val,
    elements,
    join,
    options,
    truth,
)

MAX_LOOP = 16

_Made = list[tuple[Val, Val]]
"""Keys and elements of a comprehension."""


class Expressions(Calls):
    """The value of every kind of expression."""

    def eval(self, node: ast.AST, frame: Frame) -> Val:
        """The abstract value of an expression; every call in it is looked at."""
        handler = _EXPRESSIONS.get(type(node))
        if handler is not None:
            return handler(self, node, frame)
        for child in ast.iter_child_nodes(node):
            self.eval(child, frame)
        return Unknown()

    def _constant_node(self, node: ast.Constant, frame: Frame) -> Val:
        return Const(node.value)

    def _name_node(self, node: ast.Name, frame: Frame) -> Val:
        return self._name(node.id, frame)

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Val:
        receiver = self.eval(node.value, frame)
        if type(receiver) is Lazy:
            return self._of(receiver, lambda value: self.attribute(value, node.attr))
        if type(receiver) is Instance:
            self._at(node, frame)
        return self.attribute(receiver, node.attr)

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
        if known and isinstance(node, ast.Set):
            return library.as_set(items)
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

    def _lambda(self, node: ast.Lambda, frame: Frame) -> Val:
        names = {each.id for each in ast.walk(node.body) if isinstance(each, ast.Name)}
        if reads_hub(node) or any(self._leads(self._name(name, frame)) for name in sorted(names)):
            self._note(f"a lambda in {self._short(frame.unit.path)}:{node.lineno}: when it is called cannot be told")
        return Unknown()

    def _yielded(self, node: ast.Yield | ast.YieldFrom, frame: Frame) -> Val:
        frame.generates = True
        return self._awaited(node, frame)

    def _awaited(self, node: Any, frame: Frame) -> Val:
        return self.eval(node.value, frame) if node.value is not None else Unknown()

    # --- comprehensions

    def _walrus(self, node: ast.NamedExpr, frame: Frame) -> Val:
        value = self.eval(node.value, frame)
        while frame.outer is not None and frame.outer.node is frame.node:  # a comprehension's
            frame = frame.outer
        self._store(node.target, value, frame)
        return value

    def _comprehension(self, node: Any, frame: Frame) -> Val:
        inner = Frame(frame.unit, frame.node, frame, frame.cls)
        inner.captured, inner.link, inner.value = frame.captured, frame.link, frame.value
        inner.registered = frame.registered
        made: _Made = []
        known = self._generate(node, node.generators, inner, made)
        if known and isinstance(node, ast.SetComp):
            return library.as_set([value for _, value in made])
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
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TooMuchError
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

    # --- calls

    def _call(self, node: ast.Call, frame: Frame) -> Val:
        function = node.func
        if isinstance(function, ast.Name) and function.id == "super" and "super" not in frame.env:
            return self._super(node, frame)
        if isinstance(function, ast.Attribute) and function.attr != "from_pretrained":
            receiver = self.eval(function.value, frame)
            if isinstance(receiver, Lazy) and receiver.result is None:
                return self._call_of_lazy(receiver, function.attr, node, frame)
            if type(receiver) is Instance:
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
            waits = receiver.result is None and not self._matters(method, arguments, receiver.root)
            if isinstance(method, Function) and waits and not self._hands_on(method, arguments):
                self._check(method if is_static(method) else method.bind(receiver), arguments)
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
        for argument in node.args:
            if not isinstance(argument, ast.Starred):
                value = self.eval(argument, frame)
                if not found.is_open:
                    found.positional.append(value)
                continue
            values = elements(self.force(self.eval(argument.value, frame)))
            if values is None:
                found.is_open = True
            elif not found.is_open:  # behind an unknown number of them no place is known
                found.positional += values
        for keyword in node.keywords:
            value = self.eval(keyword.value, frame)
            if keyword.arg is not None:
                self._give(found, keyword.arg, value, node, frame)
                continue
            entries, is_open = self._entries(value)
            for name, each in entries.items():
                if isinstance(name, str):
                    self._give(found, name, each, node, frame)
            if is_open:
                found.is_open = True
                self.unseen.add(place_of(frame.unit.path, node))
        self._virtual_keywords(node, frame, found.keywords)
        return found

    def _give(self, found: Arguments, name: str, value: Val, node: ast.Call, frame: Frame) -> None:
        """One more keyword of a call."""
        if name in found.keywords:
            self._calling = node
            self._reject_twice(name, found.keywords[name], value, source_of(node.func), frame.unit, node)
        found.keywords[name] = value

    # --- targets

    def _store(self, target: ast.expr, value: Val, frame: Frame) -> None:
        if isinstance(target, ast.Name):
            self.state.write(frame.shared.get(target.id, frame.env), target.id, value)
        elif isinstance(target, ast.Attribute):
            receiver = self.eval(target.value, frame)
            if type(receiver) is Lazy:
                self._change(receiver, value, lambda held: self._put_attribute(held, target.attr, value))
            else:
                self._put_attribute(receiver, target.attr, value)
        elif isinstance(target, ast.Subscript):
            self._store_item(target, value, frame)
        elif isinstance(target, ast.Starred):
            self._store(target.value, value, frame)
        elif isinstance(target, (ast.Tuple, ast.List)):  # pragma: no branch - there is no other target
            values = _unpacked(target.elts, elements(self.force(value)))
            for each, item in zip(target.elts, values, strict=True):
                self._store(each, item, frame)

    def _store_item(self, target: ast.Subscript, value: Val, frame: Frame) -> None:
        receiver = self.eval(target.value, frame)
        index = self.force(self.eval(target.slice, frame))
        if type(receiver) is Lazy:
            self._change(receiver, value, lambda held: self._put_item(held, index, value))
        else:
            self._put_item(receiver, index, value)

    def _change(self, receiver: Lazy, value: Val, change: Callable[[Val], None]) -> None:
        """Put ``value`` somewhere into another; put off if that is, and if nobody else knows the value."""

        def go(held: Val) -> Val:
            change(held)
            return NONE

        at_once = self._in_doubt() or isinstance(value, Lazy) or self._changeable(value)
        self._of(self.force(receiver) if at_once else receiver, go)


def _unpacked(targets: list[ast.expr], items: list[Val] | None) -> list[Val]:
    """What each of these targets gets of some elements."""
    star = next((place for place, each in enumerate(targets) if isinstance(each, ast.Starred)), None)
    if items is not None and star is not None and len(items) >= len(targets) - 1:
        end = len(items) - (len(targets) - 1 - star)
        items = [*items[:star], Sequence(items[star:end]), *items[end:]]
    return items if items is not None and len(items) == len(targets) else [Unknown() for _ in targets]


_EXPRESSIONS: dict[type, Callable[[Expressions, Any, Frame], Val]] = {
    ast.Constant: Expressions._constant_node,
    ast.Name: Expressions._name_node,
    ast.Attribute: Expressions._attribute,
    ast.Subscript: Expressions._subscript,
    ast.Dict: Expressions._dict_node,
    ast.List: Expressions._sequence,
    ast.Tuple: Expressions._sequence,
    ast.Set: Expressions._sequence,
    ast.BoolOp: Expressions._boolean,
    ast.UnaryOp: Expressions._unary,
    ast.Compare: Expressions._compare,
    ast.IfExp: Expressions._conditional,
    ast.BinOp: Expressions._binary,
    ast.JoinedStr: Expressions._formatted,
    ast.NamedExpr: Expressions._walrus,
    ast.ListComp: Expressions._comprehension,
    ast.SetComp: Expressions._comprehension,
    ast.GeneratorExp: Expressions._comprehension,
    ast.DictComp: Expressions._comprehension,
    ast.Lambda: Expressions._lambda,
    ast.Yield: Expressions._yielded,
    ast.YieldFrom: Expressions._yielded,
    ast.Await: Expressions._awaited,
    ast.Call: Expressions._call,
}
