"""Walk the statements of a loader with what is known of its keywords.

Known are constants, the config's values, ``**kwargs`` and paths that exist. Both branches of an undecided ``if`` are
walked, and what differs after them is unknown; objects, closures, what functions return, containers that change and
library code are never known. A dict with a registered ``type`` in a function that is walked is a component that this
loader builds.

A loader that may load in a way that is not followed is never "not needed": each name of a hub call, of ``getattr`` and
its kin, or of a definition that contains a hub call, that is used otherwise than in a call that is followed, is noted.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rewriter.model import KEYS, Failure, HubCall, Rejection, Step
from rewriter.read import calls, library
from rewriter.read.modules import Sources
from rewriter.read.reach import can_load, names_hub_call, read_words
from rewriter.read.syntax import FUNCTIONS, dotted_name, last_name, stored_names
from rewriter.read.values import OPERATORS, UNKNOWN, Definition, Env, External, Items, Known, Val, apply, truth

MOST_CALLS = 2000
"""Calls of the checkout's functions that are followed for one component."""

Chain = tuple[Step, ...]


class Walk:
    """One walk, and what it found.

    ``lacking``: parameters of the loader that get no value. ``entered``: functions and classes that were gone through.
    ``made_keys``: keys under which a component was made, or given by the config. ``mentioned``: names of definitions
    that load, in words, with their nodes.
    """

    def __init__(self, sources: Sources, given: Mapping[str, Val]) -> None:
        self.sources, self.given = sources, given
        self.calls: list[HubCall] = []
        self.rejections: list[Rejection] = []
        self.failures: list[Failure] = []
        self.lacking: frozenset[str] = frozenset()
        self.unknown: list[str] = []
        self.entered: dict[ast.AST, Definition] = {}
        self.made_keys = {key for key, value in given.items() if isinstance(value, Items)}
        self.mentioned: list[tuple[str, ast.AST]] = []
        self._count = 0

    def enter(self, callee: Definition, positional: Sequence[Val], given: Items, chain: Chain, sure: bool) -> None:
        """Walk the body of a function, or of the ``__init__`` of a class, that is called with these arguments."""
        frame, node = Frame(self, callee, chain, sure), callee.node
        for decorator in node.decorator_list:
            if (name := last_name(decorator)) not in library.HARMLESS_DECORATORS:
                frame.note(decorator, f"the decorator `{name}` may change what `{callee.name}` does")
        self.entered.setdefault(node, callee)
        if isinstance(node, ast.ClassDef):
            frame.walk_later(node)
            for base in self.sources.find_lineage(callee):
                odd = [each.value for each in getattr(base.node, "keywords", ()) if last_name(each.value) != "ABCMeta"]
                for each in (*odd, *(each for each in base.node.body if getattr(each, "name", "") == "__new__")):
                    replace(frame, definition=base).note(each, f"how `{base.name}` is made")
            init = self.sources.find_attribute(callee, "__init__")
            if isinstance(init, Definition):
                self.enter(init, [callee, *positional], given, chain, sure)
            else:
                frame.call_outside_init(callee, node, given)
            return
        self._count += 1
        if self._count > MOST_CALLS or any(step.definition is node for step in chain):
            frame.note(node, f"`{callee.name}` calls itself, or more than can be followed")
            return
        frame.bind_arguments(node.args, positional, given)
        frame.walk_block(node.body)

    def find_unwalked(self) -> Iterator[str]:
        """What may load and was not walked in the end, in words with file and line."""
        yield from (text for text, node in self.mentioned if node not in self.entered)
        walked = [each for each in self.entered.values() if isinstance(each.node, ast.FunctionDef)]
        words = {word for each in walked for word in read_words(each.module.read_text(each.node))}
        for entered in self.entered.values():
            for base in self.sources.find_lineage(entered):
                for node in [each for each in base.node.body if isinstance(each, FUNCTIONS)]:
                    may_run = node not in self.entered and (node.name.startswith("__") or node.name in words)
                    if may_run and can_load(base.module, node):
                        yield f"{base.module.path}:{node.lineno}: what `{node.name}` loads"


@dataclass(slots=True)
class Frame:
    """One function that is walked, the path to it, and its local names.

    ``sure``: no condition around the statement that is walked is undecided.
    """

    walk: Walk
    definition: Definition
    chain: Chain
    sure: bool
    env: Env = field(default_factory=dict)

    def note(self, node: ast.stmt | ast.expr, text: str) -> None:
        """Note what could not be followed, with its file and line."""
        self.walk.unknown.append(f"{self.definition.module.path}:{node.lineno}: {text}")

    def _reject(self, node: ast.stmt | ast.expr, keys: Iterable[str]) -> None:
        place = self.definition.name, self.definition.module.path, node.lineno
        self.walk.rejections += [Rejection(key, *place) for key in keys]

    def call_outside_init(self, cls: Definition, node: ast.stmt | ast.expr, given: Items) -> None:
        """``__init__`` of the base classes of ``cls`` outside the checkout: torch's own takes no keywords."""
        if all(base.startswith("torch.nn.") for base in self.walk.sources.find_outside_bases(cls)):
            self._reject(node, given.items)
        elif given.items and isinstance(node, ast.ClassDef):
            self.note(node, f"what the base classes of `{cls.name}` do with its keywords")

    def find(self, node: ast.expr) -> Val:
        """What a dotted name stands for here; unknown where it is none."""
        return self.walk.sources.find_name(node, self.env, self.definition)

    def extend(self, node: ast.expr, given: Items) -> Chain:
        """The path to what ``node``, a call or dict that holds ``given``, leads to."""
        held = {key: name for name, value in reversed(self.env.items()) if (key := getattr(value, "key", None))}
        held |= {key: key for key in held if getattr(self.env.get(key), "key", None) == key}
        passed = frozenset(key for key in KEYS if getattr(given.items.get(key), "key", None) == key)
        own = self.definition
        return (*self.chain, Step(own.name, own.module.path, own.node, node, held, passed))

    def bind_arguments(self, arguments: ast.arguments, positional: Sequence[Val], given: Items) -> None:
        """Make the local names of a call; keywords that the function does not take are rejected."""
        plain = [*arguments.posonlyargs, *arguments.args]
        names = [each.arg for each in (*plain, *arguments.kwonlyargs)]
        defaults = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults, *arguments.kw_defaults]
        for name, default in zip(names, defaults, strict=True):
            self.env[name] = self.evaluate(default) if default is not None and given.complete else UNKNOWN
        self.env.update(zip(names[: len(plain)], positional, strict=False))
        self.env |= {name: value for name, value in given.items.items() if name in names}
        rest = {name: value for name, value in given.items.items() if name not in names}
        if not self.chain:
            needed = {name for name, default in zip(names, defaults, strict=True) if default is None}
            self.walk.lacking = frozenset(needed - {*names[: len(positional)], *given.items})
        if arguments.vararg is not None:
            self.env[arguments.vararg.arg] = UNKNOWN
        if arguments.kwarg is not None:
            self.env[arguments.kwarg.arg] = Items(rest, given.complete)
        else:
            self._reject(self.definition.node, rest)

    # --- statements

    def walk_block(self, body: Iterable[ast.stmt]) -> bool:
        """Walk statements; True where they certainly leave the function. What follows then is dead."""
        return any(map(self._walk_statement, body))

    def _walk_statement(self, node: ast.stmt) -> bool:
        """Walk one statement; True where it certainly leaves the function."""
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            if node.value is not None:
                self._assign(node.targets if isinstance(node, ast.Assign) else [node.target], node.value)
        elif isinstance(node, ast.AugAssign):
            self.evaluate(node.value)
            self.change(self.find(node.target))
            self._bind(node.target, UNKNOWN)
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                self._bind(target, UNKNOWN)
        elif isinstance(node, ast.Expr):
            self.evaluate(node.value)
        elif isinstance(node, ast.If):
            decided = truth(self.evaluate(node.test))
            if decided is None:
                return self._walk_either(node.body, node.orelse)
            return self.walk_block(node.body if decided else node.orelse)
        elif isinstance(node, ast.Return):
            self.evaluate(node.value or ast.Constant(None))
            return True
        elif isinstance(node, (ast.Raise, ast.Assert)):
            fails = isinstance(node, ast.Raise) or truth(self.evaluate(node.test)) is False
            if fails and self.sure:
                text = ast.unparse(node.test if isinstance(node, ast.Assert) else node)
                self.walk.failures.append(Failure(text, self.definition.module.path, node.lineno))
            return isinstance(node, ast.Raise)
        elif isinstance(node, ast.Try):
            self._walk_either([*node.body, *node.orelse], [])  # the body may stop anywhere
            self._walk_either([], *(handler.body for handler in node.handlers))
            return self.walk_block(node.finalbody)
        elif isinstance(node, ast.With):
            for item in node.items:
                self.evaluate(item.context_expr)
            self.forget(stored_names(node.items))
            self._walk_either(node.body, [])  # it may end its body early
        elif isinstance(node, (ast.For, ast.While)):
            used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            self.forget(name for name in used if isinstance(self.env.get(name), Items))
            self.forget(stored_names([node]))  # any round is like that
            self.evaluate(node.iter if isinstance(node, ast.For) else node.test)
            self._walk_either(node.body, node.orelse)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            imported = self.definition.module.list_imported(node)
            self.env.update((name, self.walk.sources.find(found)) for name, found in imported)
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            self.walk_later(node)
            self.forget([node.name])
        elif not isinstance(node, (ast.Pass, ast.Break, ast.Continue)):
            self.note(node, f"a `{type(node).__name__.lower()}` statement")
        return False

    def _walk_either(self, *bodies: Iterable[ast.stmt]) -> bool:
        """Walk each of several bodies, of which nobody knows which one runs; what they leave different is unknown."""
        ends: list[Env] = []
        for body in bodies:
            branch = replace(self, env=dict(self.env), sure=False)
            if not branch.walk_block(body):
                ends.append(branch.env)
        self.sure = self.sure and len(ends) == len(bodies)  # else what follows runs only where none has left
        for name in {name for env in ends for name in env}:
            values = [env.get(name, UNKNOWN) for env in ends]
            self.env[name] = values[0] if values.count(values[0]) == len(values) else UNKNOWN
        return not ends

    def walk_later(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda) -> None:
        """Look at what runs at another time, or not: a nested function, the body of a class that is entered."""
        inner = [] if isinstance(node, ast.ClassDef) else ast.walk(node.args)
        names: Env = {name: value if isinstance(value, Definition) else UNKNOWN for name, value in self.env.items()}
        names |= {each.arg: UNKNOWN for each in inner if isinstance(each, ast.arg)}
        body = [ast.Expr(node.body)] if isinstance(node, ast.Lambda) else node.body
        methods = FUNCTIONS if node is self.definition.node else ()
        before = len(self.walk.calls)
        replace(self, env=names, sure=False).walk_block(each for each in body if not isinstance(each, methods))
        for call in self.walk.calls[before:]:
            self.note(node, f"what `{call.callee}` loads")
        del self.walk.calls[before:]

    def _assign(self, targets: Iterable[ast.expr], node: ast.expr) -> None:
        parts = node.elts if isinstance(node, (ast.Tuple, ast.List)) else []
        values = [self.evaluate(each) for each in parts]
        value = apply(lambda *each: each, *values) if parts else self.evaluate(node)
        for target in targets:
            if isinstance(target, (ast.Tuple, ast.List)) and len(target.elts) == len(values):
                for each, part in zip(target.elts, values, strict=True):
                    self._bind(each, part)
            else:
                self._bind(target, value)

    def _bind(self, target: ast.expr, value: Val) -> None:
        """Give a target a value."""
        dotted = dotted_name(target)
        if dotted is not None:
            self.env[dotted] = value
        elif isinstance(target, ast.Subscript):
            held, key = self.find(target.value), getattr(target.slice, "value", None)
            changed: Val = UNKNOWN
            if isinstance(target.ctx, ast.Store) and isinstance(held, Items) and isinstance(key, str):
                changed = Items({**held.items, key: value}, held.complete)
            self.change(held, changed)
        else:
            self.forget(stored_names([target]))

    def forget(self, names: Iterable[str]) -> None:
        """Nothing is known of these names any more."""
        self.env |= dict.fromkeys(names, UNKNOWN)

    def change(self, held: Val, changed: Val = UNKNOWN) -> None:
        """Give every name of a container that may have changed another value."""
        self.env.update([(name, changed) for name, value in self.env.items() if value is held])

    # --- expressions

    def evaluate(self, node: ast.AST) -> Val:
        """What an expression gives; every call in it is followed."""
        if isinstance(node, ast.Constant):
            return Known(node.value)
        if isinstance(node, (ast.Name, ast.Attribute)) and (dotted := dotted_name(node)) is not None:
            return self._evaluate_name(node, dotted)
        if isinstance(node, ast.Call):
            return calls.follow_call(self, node)
        if isinstance(node, ast.Dict):
            return calls.make_dict(self, node, calls.collect(self.evaluate, zip(node.keys, node.values, strict=True)))
        if isinstance(node, ast.BoolOp):
            return self._evaluate_boolean(node)
        if isinstance(node, ast.IfExp):
            decided = truth(self.evaluate(node.test))
            if decided is not None:
                return self.evaluate(node.body if decided else node.orelse)
            return replace(self, sure=False).evaluate(ast.Set([node.body, node.orelse]))
        if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
            return apply(OPERATORS[type(node.op)], self.evaluate(node.operand))
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPERATORS:
            left, right = self.evaluate(node.left), self.evaluate(node.comparators[0])
            is_dict = isinstance(left, Items) and isinstance(node.ops[0], (ast.Is, ast.IsNot))
            return apply(OPERATORS[type(node.ops[0])], Known(left) if is_dict else left, right)
        if isinstance(node, ast.Subscript):
            held, key = self.evaluate(node.value), self.evaluate(node.slice)
            if isinstance(held, Items) and isinstance(key, Known):
                return held.items.get(str(key.value), UNKNOWN)
            return apply(operator.getitem, held, key)
        if isinstance(node, ast.Slice):
            return apply(slice, *(self.evaluate(each) if each else Known(None) for each in (node.lower, node.upper)))
        if isinstance(node, (ast.List, ast.Tuple)):
            return apply(lambda *values: values, *map(self.evaluate, node.elts))
        if isinstance(node, ast.NamedExpr):
            self.env[node.target.id] = self.evaluate(node.value)
            return self.env[node.target.id]
        if isinstance(node, ast.Lambda):
            self.walk_later(node)
            return UNKNOWN
        frame = self
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            frame = replace(self, env={**self.env, **dict.fromkeys(stored_names([node]), UNKNOWN)}, sure=False)
        for child in ast.iter_child_nodes(node):
            frame.evaluate(child)
        return UNKNOWN

    def _evaluate_name(self, node: ast.Name | ast.Attribute, dotted: str) -> Val:
        """What a name stands for; one that stands for something that loads, or for a way to reach it, is noted."""
        value, module = self.find(node), self.definition.module
        if dotted in self.env:
            return value
        texts = [each for each in module.names.get(dotted, ()) if isinstance(each, ast.expr)]
        is_hub = isinstance(value, External) and value.name.rpartition(".")[2] in library.HUB_NAMES
        if isinstance(value, Definition) and names_hub_call(value.module, value.node):
            self.walk.mentioned.append((f"{module.path}:{node.lineno}: what `{dotted}` loads", value.node))
        elif is_hub or dotted in library.UNFOLLOWED_NAMES or any(names_hub_call(module, each) for each in texts):
            self.note(node, f"what `{dotted}` loads")
        return value

    def _evaluate_boolean(self, node: ast.BoolOp) -> Val:
        """``and``, ``or``: what decides them is returned; parts that are not reached are not evaluated."""
        wanted, frame = isinstance(node.op, ast.Or), self
        value: Val = UNKNOWN
        for each in node.values:
            value = frame.evaluate(each)
            decided = truth(value)
            if decided == wanted:
                return value if frame is self else Known(wanted)
            if decided is None:
                frame = replace(self, sure=False)
        return value if frame is self else UNKNOWN
