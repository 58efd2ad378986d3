"""Walk the statements of a loader with what is known of its keywords.

Known are constants, the config's values, ``**kwargs`` and paths that exist. Both branches of an undecided ``if`` are
walked, and what differs after them is unknown; objects, closures, containers that change and library code are never
known. A dict with a registered ``type`` in a function that is walked is a component that this loader builds.

A loader that may load in a way that is not followed is never "not needed": each name of a hub call, of ``getattr`` and
its kin, or of a definition that contains a hub call, that is used otherwise than in a call that is followed, is noted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rewriter.model import Failure, HubCall, Rejection, Step, Value
from rewriter.read import calls, library
from rewriter.read.modules import Sources
from rewriter.read.reach import contains_hub_call
from rewriter.read.syntax import FUNCTIONS, dotted_name, imported_names, last_name, stored_names
from rewriter.read.values import (
    Definition,
    Env,
    External,
    Items,
    Known,
    Unknown,
    Val,
    compare,
    join,
    replace_held,
    truth,
)

MOST_CALLS = 2000
"""Calls of the checkout's functions that are followed for one component."""

Chain = tuple[Step, ...]


@dataclass(slots=True)
class Frame:
    """One function that is walked: its definition, its local names, the path to it, and what it returns."""

    definition: Definition
    env: Env
    chain: Chain
    returned: list[Val] = field(default_factory=list)


class Walk:
    """One walk, and what it found.

    ``lacking``: parameters of the loader that get no value. ``entered``: functions and classes that were gone through.
    ``made_keys``: keys under which a component was made, or given by the config. ``doubt``: undecided conditions around
    the statement that is walked. ``attributes``: names of methods that are called, or read, of what is not known.
    """

    def __init__(self, sources: Sources, values: Mapping[str, Value]) -> None:
        self.sources, self.config = sources, values
        self.calls: list[HubCall] = []
        self.rejections: list[Rejection] = []
        self.failures: list[Failure] = []
        self.lacking: frozenset[str] = frozenset()
        self.unknown: list[str] = []
        self.entered: dict[ast.AST, Definition] = {}
        self.made_keys = {key for key, value in values.items() if value.known and isinstance(value.value, dict)}
        self.doubt = 0
        self.attributes: set[str] = set()
        self._mentioned: list[tuple[str, ast.AST]] = []
        self._count = 0

    def note_unknown(self, definition: Definition, node: ast.AST, text: str) -> None:
        """Note what could not be followed, with its file and line."""
        self.unknown.append(f"{definition.module.path}:{getattr(node, 'lineno', definition.node.lineno)}: {text}")

    # --- functions

    def enter(self, callee: Definition, positional: Sequence[Val], given: Items, chain: Chain) -> Val:
        """Walk the body of a function, or of the ``__init__`` of a class, that is called with these arguments."""
        for decorator in callee.node.decorator_list:
            if (name := last_name(decorator)) not in library.HARMLESS_DECORATORS:
                self.note_unknown(callee, decorator, f"the decorator `{name}` may change what `{callee.name}` does")
        if isinstance(callee.node, ast.ClassDef):
            self.enter_class(callee)
            init = self.sources.find_method(callee, "__init__")
            if init is None:
                self._call_plain_class(callee, given, chain)
                return Unknown()
            callee, positional = init, [callee, *positional]
        self.entered.setdefault(callee.node, callee)
        node = callee.node
        assert isinstance(node, ast.FunctionDef)
        self._count += 1
        if self._count > MOST_CALLS or any(step.definition is node for step in chain):
            self.note_unknown(callee, node, f"`{callee.name}` calls itself, or more than can be followed")
            return Unknown()
        frame = Frame(callee, {}, chain)
        frame.env, rejected = self._bind_arguments(node.args, positional, given, frame)
        self.rejections += [Rejection(key, callee.name, callee.module.path, node.lineno, chain) for key in rejected]
        before = self.doubt
        self.walk_block(node.body, frame)
        self.doubt = before
        if len(frame.returned) == 1 and isinstance(frame.returned[0], Known):
            return frame.returned[0]
        return join([*positional, *given.items.values()])

    def _bind_arguments(
        self, arguments: ast.arguments, positional: Sequence[Val], given: Items, outer: Frame
    ) -> tuple[Env, list[str]]:
        """The local names of a call, and the keywords that the function does not take."""
        plain = [*arguments.posonlyargs, *arguments.args]
        first = len(plain) - len(arguments.defaults)
        defaults = [*[None] * first, *arguments.defaults, *arguments.kw_defaults]
        names = [each.arg for each in (*plain, *arguments.kwonlyargs)]
        env: Env = {}
        for name, default in zip(names, defaults, strict=True):
            env[name] = self.evaluate(default, outer) if default is not None and given.complete else Unknown()
        env.update(zip(names[: len(plain)], positional, strict=False))
        takes = {*names[len(arguments.posonlyargs) :]}
        env |= {key: value for key, value in given.items.items() if key in takes}
        rest = {key: value for key, value in given.items.items() if key not in takes}
        if not outer.chain:
            needed = {name for name, default in zip(names, defaults, strict=True) if default is None}
            self.lacking = frozenset(needed - {*names[: len(positional)], *given.items})
        if arguments.vararg is not None:
            env[arguments.vararg.arg] = Unknown()
        if arguments.kwarg is not None:
            env[arguments.kwarg.arg] = Items(rest, given.complete)
        return env, [] if arguments.kwarg is not None else list(rest)

    def enter_class(self, callee: Definition) -> None:
        """Look at the body of a class; one that makes its objects in a way of its own cannot be followed."""
        if callee.node in self.entered:
            return
        self.entered[callee.node] = callee
        for cls in self.sources.find_lineage(callee):
            assert isinstance(cls.node, ast.ClassDef)
            names = {getattr(each, "name", "") for each in cls.node.body}
            if "__new__" in names or any(word.arg == "metaclass" for word in cls.node.keywords):
                self.note_unknown(cls, cls.node, f"how `{cls.name}` makes its objects")
        for part in callee.node.body:
            if not isinstance(part, FUNCTIONS):
                self._look_at(part, callee)

    def _call_plain_class(self, callee: Definition, given: Items, chain: Chain) -> None:
        """A class without an ``__init__`` in the checkout."""
        outside = self.sources.find_outside_bases(callee)
        if outside is None:
            self.note_unknown(callee, callee.node, f"the base classes of `{callee.name}` are not known")
        elif all(base.name.startswith("torch.nn.") for base in outside):
            where = callee.module.path, callee.node.lineno
            self.rejections += [Rejection(key, callee.name, *where, chain) for key in given.items]
        elif given.items:
            self.note_unknown(callee, callee.node, f"what `{outside[0].name}` does with its keywords")

    # --- names that may load, and are not called

    def _note_mention(self, node: ast.Name | ast.Attribute, value: Val, definition: Definition) -> None:
        """Note a name that stands for something that loads, or for a way to reach it."""
        module, name = definition.module, getattr(node, "id", "")
        self.attributes.update((dotted_name(node) or "").split(".")[1:])
        if isinstance(value, External) and value.name.rpartition(".")[2] in library.HUB_NAMES:
            self.note_unknown(definition, node, f"what `{ast.unparse(node)}` loads")
        elif isinstance(value, Definition):
            if contains_hub_call(value.module, value.node) and value.node.name != "build_module":
                self._mentioned.append((f"{module.path}:{node.lineno}: what `{ast.unparse(node)}` loads", value.node))
        elif name in library.UNFOLLOWED_NAMES:
            self.note_unknown(definition, node, f"what `{name}` does")
        elif name in module.names:
            bodies = [each for each in module.names[name] if isinstance(each, ast.AST)]
            if any(contains_hub_call(module, each) for each in bodies):
                self.note_unknown(definition, node, f"what `{name}` loads")

    def _look_at(self, part: ast.AST, definition: Definition) -> None:
        """Code that runs at another time, or not: a nested function, the body of a class."""
        for node in ast.walk(part):
            if isinstance(node, (ast.Name, ast.Attribute)) and dotted_name(node) and isinstance(node.ctx, ast.Load):
                self._note_mention(node, self.sources.find_name(node, {}, definition), definition)
            elif isinstance(node, ast.Call) and last_name(node) in library.HUB_NAMES:
                self.note_unknown(definition, node, f"what `{ast.unparse(node.func)}` loads")
            elif isinstance(node, (ast.Global, ast.Nonlocal)):
                self.note_unknown(definition, node, f"what `{node.names[0]}` does")

    def find_unwalked(self) -> Iterator[str]:
        """What may load and was not walked in the end, in words with file and line."""
        yield from (text for text, body in self._mentioned if body not in self.entered)
        for cls in [each for each in self.entered.values() if isinstance(each.node, ast.ClassDef)]:
            for base in self.sources.find_lineage(cls):
                for node in base.node.body:
                    is_method = isinstance(node, FUNCTIONS) and node not in self.entered
                    name = getattr(node, "name", "")
                    may_run = is_method and (name.startswith("__") or name in self.attributes)
                    if may_run and contains_hub_call(base.module, node):
                        yield f"{base.module.path}:{node.lineno}: what `{name}` loads"

    # --- statements

    def walk_block(self, body: Iterable[ast.stmt], frame: Frame) -> bool:
        """Walk statements; True where they certainly leave the function. What follows then is dead."""
        return any(self._walk_statement(node, frame) for node in body)

    def _walk_statement(self, node: ast.stmt, frame: Frame) -> bool:
        """Walk one statement; True where it certainly leaves the function."""
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            value = self.evaluate(node.value, frame) if node.value is not None else Unknown()
            value = join([value]) if isinstance(node, ast.AugAssign) else value
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self._bind(target, value, node.value, frame)
        elif isinstance(node, ast.Expr):
            self.evaluate(node.value, frame)
        elif isinstance(node, ast.If):
            decided = truth(self.evaluate(node.test, frame))
            if decided is None:
                return self._walk_either([node.body, node.orelse], frame)
            return self.walk_block(node.body if decided else node.orelse, frame)
        elif isinstance(node, ast.Return):
            frame.returned.append(self.evaluate(node.value, frame) if node.value is not None else Known(None))
            return True
        elif isinstance(node, (ast.Raise, ast.Assert)):
            fails = isinstance(node, ast.Raise) or truth(self.evaluate(node.test, frame)) is False
            if fails and not self.doubt:
                text = ast.unparse(node.test if isinstance(node, ast.Assert) else node)
                self.failures.append(Failure(text, frame.definition.module.path, node.lineno))
            return isinstance(node, ast.Raise)
        elif isinstance(node, ast.Try):
            # the body may stop anywhere: what it binds is not known to a handler
            bodies = [[*node.body, *node.orelse], *(handler.body for handler in node.handlers)]
            self._walk_either(bodies, frame, forgotten=stored_names(node.body))
            return self.walk_block(node.finalbody, frame)
        elif isinstance(node, ast.With):
            return self._walk_with(node, frame)
        elif isinstance(node, (ast.For, ast.While)):
            self._walk_loop(node, frame)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            origin = frame.definition.module.find_origin(node)
            frame.env.update((name, self.sources.find(found)) for name, found in imported_names(node, origin))
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Global, ast.Nonlocal)):
            self._look_at(node, frame.definition)
            frame.env.update([(node.name, Unknown())] if isinstance(node, (*FUNCTIONS, ast.ClassDef)) else [])
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                self._bind(target, Unknown(), None, frame)
        elif not isinstance(node, (ast.Pass, ast.Break, ast.Continue)):
            self.note_unknown(frame.definition, node, f"a `{type(node).__name__.lower()}` statement")
        return False

    def _bind(self, target: ast.expr, value: Val, node: ast.expr | None, frame: Frame) -> None:
        """Give a target a value; ``node`` is the expression that it comes from."""
        dotted = dotted_name(target)
        if dotted is not None:
            frame.env[dotted] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            parts: Sequence[ast.expr | None] = [None] * len(target.elts)
            if isinstance(node, (ast.Tuple, ast.List)) and len(node.elts) == len(target.elts):
                parts = node.elts
            for each, part in zip(target.elts, parts, strict=True):
                self._bind(each, self.evaluate(part, frame) if part is not None else join([value]), part, frame)
        elif isinstance(target, ast.Subscript) and (name := dotted_name(target.value)) in frame.env:
            held, key = frame.env[str(name)], getattr(target.slice, "value", None)
            changed: Val = Unknown()
            if isinstance(target.ctx, ast.Store) and isinstance(held, Items) and isinstance(key, str):
                changed = Items({**held.items, key: value}, held.complete)
            replace_held(frame.env, held, changed)

    def _walk_with(self, node: ast.With, frame: Frame) -> bool:
        """A context manager that is not known may end its body early."""
        for item in node.items:
            self.evaluate(item.context_expr, frame)
            if item.optional_vars is not None:
                self._bind(item.optional_vars, Unknown(), None, frame)
        plain = all(last_name(item.context_expr) in library.HARMLESS_DECORATORS for item in node.items)
        return self._walk_either([node.body] if plain else [node.body, []], frame)

    def _walk_loop(self, node: ast.For | ast.While, frame: Frame) -> None:
        """A loop's body, once, with all that it binds or may change unknown: any round is like that."""
        env = frame.env
        self.evaluate(node.iter if isinstance(node, ast.For) else node.test, frame)
        env.update((name, join([env.get(name, Unknown())])) for name in stored_names([node]))
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        env.update((name, Unknown()) for name in used if isinstance(env.get(name), Items))
        self._walk_either([node.body, node.orelse], frame)

    def _walk_either(self, bodies: list[list[ast.stmt]], frame: Frame, forgotten: Iterable[str] = ()) -> bool:
        """Walk each of several bodies, of which nobody knows which one runs; what they leave different is unknown.

        ``forgotten``: names that the first body may have bound before another one runs.
        """
        self.doubt += 1
        ends: list[Env] = []
        for body in bodies:
            branch = Frame(frame.definition, dict(frame.env), frame.chain, frame.returned)
            if body is not bodies[0]:
                branch.env.update((name, Unknown()) for name in forgotten)
            if not self.walk_block(body, branch):
                ends.append(branch.env)
        if len(ends) == len(bodies):
            self.doubt -= 1  # else what follows runs only where none has left, until `enter` takes that back
        for name in {name for env in ends for name in env}:
            values = [env.get(name, Unknown()) for env in ends]
            same = all(value is values[0] or value == values[0] for value in values)
            frame.env[name] = values[0] if same else join(values)
        return not ends

    # --- expressions

    def evaluate(self, node: ast.AST, frame: Frame) -> Val:
        """What an expression gives; every call in it is followed."""
        if isinstance(node, ast.Constant):
            return Known(node.value)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._evaluate_name(node, frame)
        if isinstance(node, ast.Call):
            return calls.follow_call(self, node, frame)
        if isinstance(node, ast.Dict):
            made = calls.collect(self, zip(node.keys, node.values, strict=True), frame)
            return calls.make_dict(self, node, made, frame)
        if isinstance(node, ast.BoolOp):
            return self._evaluate_boolean(node, frame)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            decided = truth(self.evaluate(node.operand, frame))
            return Unknown() if decided is None else Known(not decided)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return compare(node.ops[0], self.evaluate(node.left, frame), self.evaluate(node.comparators[0], frame))
        if isinstance(node, ast.IfExp):
            return self._evaluate_condition(node, frame)
        if isinstance(node, ast.Subscript):
            held, key = self.evaluate(node.value, frame), self.evaluate(node.slice, frame)
            found = held.items.get(str(key.value)) if isinstance(held, Items) and isinstance(key, Known) else None
            return found if found is not None else join([held])
        if isinstance(node, (ast.List, ast.Tuple)):
            values = [self.evaluate(each, frame) for each in node.elts]
            known = [each.value for each in values if isinstance(each, Known)]
            return Known(known) if len(known) == len(values) else join(values)
        if isinstance(node, ast.Lambda):
            self._look_at(node, frame.definition)
            return Unknown()
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            local = dict.fromkeys(stored_names([node]), Unknown())
            frame = Frame(frame.definition, {**frame.env, **local}, frame.chain)
        parts = [self.evaluate(child, frame) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.NamedExpr):
            frame.env[node.target.id] = Unknown()
        return join(parts)

    def _evaluate_name(self, node: ast.Name | ast.Attribute, frame: Frame) -> Val:
        if dotted_name(node) is None:
            assert isinstance(node, ast.Attribute)
            self.attributes.add(node.attr)
            return join([self.evaluate(node.value, frame)])
        value = self.sources.find_name(node, frame.env, frame.definition)
        if not isinstance(value, (Known, Items)) and getattr(node, "id", "") not in frame.env:
            self._note_mention(node, value, frame.definition)
        return value

    def _evaluate_condition(self, node: ast.IfExp, frame: Frame) -> Val:
        decided = truth(self.evaluate(node.test, frame))
        if decided is not None:
            return self.evaluate(node.body if decided else node.orelse, frame)
        self.doubt += 1
        values = [self.evaluate(node.body, frame), self.evaluate(node.orelse, frame)]
        self.doubt -= 1
        return values[0] if values[0] == values[1] else join(values)

    def _evaluate_boolean(self, node: ast.BoolOp, frame: Frame) -> Val:
        """``and``, ``or``: what decides them is returned; parts that are not reached are not evaluated."""
        wanted, unsure, values = isinstance(node.op, ast.Or), False, list[Val]()
        for each in node.values:
            values.append(self.evaluate(each, frame))
            decided = truth(values[-1])
            if decided == wanted:
                return Known(wanted, join(values).given) if unsure else values[-1]
            unsure = unsure or decided is None
        return join(values) if unsure else values[-1]
