"""A small abstract interpretation of a loader: which hub calls remain for given keyword values, and what they get."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping
from typing import Any

from rewriter.loaders import library
from rewriter.loaders.expressions import MAX_LOOP, Expressions
from rewriter.loaders.frames import Arguments, Frame, last_name, place_of
from rewriter.loaders.names import MAX_STEPS, TooMuchError
from rewriter.loaders.state import LEFT, MAYBE, MISSING, NEXT, RAISED, Exits, Way, Written, goes_on
from rewriter.loaders.unit import FunctionNode, imported
from rewriter.loaders.values import (
    NONE,
    TRACKED,
    Cells,
    Choice,
    Class,
    Const,
    Dict,
    Function,
    Given,
    Instance,
    Sequence,
    Unknown,
    Val,
    elements,
    from_literal,
    options,
    tracked,
    truth,
)
from rewriter.types import Failure, Trace, Value


class Evaluation(Expressions):
    """One registered name with one set of keyword values."""

    def run(self, type_name: str, values: Mapping[str, Value]) -> None:
        """Evaluate; the results lie in the attributes."""
        self.type_name = type_name
        given = {name: from_literal(value, tracked(name), (name,)) for name, value in values.items()}
        self._given = dict(given)
        self._tracks = any(name in TRACKED or isinstance(value, Dict) for name, value in given.items())
        try:
            self._build(type_name, Arguments([], given), None)
        except TooMuchError:
            self._note("the evaluation of this loader was given up: it is too long")
        except RecursionError:
            self._note("the evaluation of this loader was given up: it is nested too deeply")

    def asked(self) -> frozenset[str]:
        """The keywords whose values, or whose being left out, had a part in the result."""
        values = {**self._left_out, **self._given}
        return frozenset(name for name, value in values.items() if not isinstance(value, Given) or value.asked)

    def parameters(self) -> dict[str, bool]:
        """The parameters of the registered function that the config may give: whether the default is a constant."""
        if self.loader is None:
            return {}
        spec = self.loader.node.args
        defaults = {each.arg: default for each, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)}
        late = [*[None] * (len(spec.args) + len(spec.posonlyargs) - len(spec.defaults)), *spec.defaults]
        defaults.update(zip([each.arg for each in spec.args], late[len(spec.posonlyargs) :], strict=True))
        return {name: isinstance(default, ast.Constant) for name, default in defaults.items()}

    def trace(self) -> Trace:
        """The result for others."""
        return Trace(
            type=self.type_name,
            found=self.found,
            path=self.defined[0],
            line=self.defined[1],
            accepts=self.accepts,
            calls=tuple(dict.fromkeys(reach.call for reach in self.reaches)),
            rejections=tuple(dict.fromkeys(each.rejection for each in self.refused)),
            failures=tuple(dict.fromkeys(self.failures)),
            unknown=tuple(dict.fromkeys(self.unknown)),
            files=frozenset(self._files),
            asked=frozenset(name for name in self.asked() if not isinstance(self._given.get(name), Unknown)),
        )

    # --- statements

    def _body(self, statements: list[ast.stmt], frame: Frame) -> int:
        maybe = False
        status = NEXT
        for statement in statements:
            status = self._statement(statement, frame)
            if status > MAYBE:
                break
            if status == MAYBE and not maybe:
                maybe = True
                self.state.doubt += 1
        self.state.doubt -= maybe
        if status <= MAYBE:
            return MAYBE if maybe else NEXT
        return LEFT if maybe else status

    def _statement(self, node: ast.stmt, frame: Frame) -> int:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TooMuchError
        handler = _STATEMENTS.get(type(node))
        return handler(self, node, frame) if handler else NEXT

    def _expression(self, node: ast.Expr, frame: Frame) -> int:
        self.eval(node.value, frame)
        return NEXT

    def _assign(self, node: ast.Assign, frame: Frame) -> int:
        value = self.eval(node.value, frame)
        for target in node.targets:
            self._store(target, value, frame)
        return NEXT

    def _annotated(self, node: ast.AnnAssign, frame: Frame) -> int:
        if node.value is not None:
            self._store(node.target, self.eval(node.value, frame), frame)
        return NEXT

    def _augmented(self, node: ast.AugAssign, frame: Frame) -> int:
        left = self.force(self.eval(node.target, frame))
        right = self.force(self.eval(node.value, frame))
        if isinstance(node.op, ast.BitOr) and isinstance(left, Dict):  # in place, as ``update`` does it
            self._dict_method(left, "update", Arguments([right], {}))
        elif isinstance(node.op, ast.Add) and isinstance(left, Sequence) and not left.fixed:
            self._list_method(left, "extend", [right])
        else:
            for each in left.options if isinstance(left, Choice) else ():
                self._put_item(each, Unknown(), right)  # whichever of them it is, it may be changed in place
            known = isinstance(node.op, ast.Add)
            self._store(node.target, library.add(left, right) if known else Unknown(), frame)
        return NEXT

    def _delete(self, node: ast.Delete, frame: Frame) -> int:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.state.write(frame.shared.get(target.id, frame.env), target.id, MISSING)
            elif isinstance(target, ast.Subscript):
                receiver = self.force(self.eval(target.value, frame))
                index = self.force(self.eval(target.slice, frame))
                for each in options(receiver):
                    if isinstance(each, Sequence):
                        each.open = True
                    elif isinstance(each, Dict) and isinstance(index, Const) and each is receiver:
                        self.state.write(each.items, index.value, MISSING)
                    elif isinstance(each, Dict):
                        self._blur(each)
        return NEXT

    def _if(self, node: ast.If, frame: Frame) -> int:
        guard = self.virtual.guards.get(place_of(frame.unit.path, node))
        if guard is not None:
            name, assigned = guard
            value = self._name(name, frame)
            if not (isinstance(value, Const) and value.value is None):
                for variable, text in assigned:
                    self.state.write(frame.env, variable, Const(text))
                return NEXT
        decided = truth(self.force(self.eval(node.test, frame)))
        if decided is not None:
            return self._body(node.body if decided else node.orelse, frame)
        return self.state.fork(
            lambda: self._body(node.body, frame),
            lambda: self._body(node.orelse, frame),
        )

    def _return(self, node: ast.Return, frame: Frame) -> int:
        frame.returned.append(self.eval(node.value, frame) if node.value else NONE)
        if frame.returns.ways or self.state.forks > frame.forks:  # otherwise the present is what the function leaves
            self._leave(frame.returns)
        return LEFT

    def _leave(self, exits: Exits) -> int:
        exits.ways.append(self.state.since(exits.mark))
        return LEFT

    def _break(self, node: ast.Break, frame: Frame) -> int:
        return self._leave(frame.breaks)

    def _continue(self, node: ast.Continue, frame: Frame) -> int:
        return self._leave(frame.continues)

    def _left(self, frame: Frame) -> int:
        """How many ways have left what is being evaluated in a function."""
        return len(frame.returned) + len(frame.breaks.ways) + len(frame.continues.ways)

    def _raise(self, node: ast.Raise, frame: Frame) -> int:
        if node.exc is not None:
            self.eval(node.exc, frame)
        self._fail(node, frame)
        self.state.thrown += self.state.caught > 0
        return RAISED

    def _assert(self, node: ast.Assert, frame: Frame) -> int:
        decided = truth(self.force(self.eval(node.test, frame)))
        if decided is False:
            self._fail(node.test, frame)
        return NEXT

    def _fail(self, node: ast.expr | ast.Raise, frame: Frame) -> None:
        """What is raised here ends the loader, unless it is not certain to be reached, or is caught."""
        if not (self.state.doubt or self.state.caught or self._aside):
            self.failures.append(Failure(ast.unparse(node), frame.unit.path, node.lineno))

    # --- loops

    def _for(self, node: ast.For | ast.AsyncFor, frame: Frame) -> int:
        items = elements(self.force(self.eval(node.iter, frame)))
        loop = _Loop(self, node, frame)
        if items is None or len(items) > MAX_LOOP:
            loop.repeat(lambda: self._store(node.target, Unknown(), frame), lambda: None)
            return loop.end(True)
        for item in list(items):
            self._store(node.target, item, frame)
            if not loop.round():
                return loop.end(False)
        return loop.end(True)

    def _while(self, node: ast.While, frame: Frame) -> int:
        loop = _Loop(self, node, frame)
        for _ in range(MAX_LOOP):
            decided = truth(self.force(self.eval(node.test, frame)))
            if decided is not True:
                break
            if not loop.round():
                return loop.end(False)
        if decided is not False:
            loop.repeat(lambda: None, lambda: self.eval(node.test, frame))
        return loop.end(True)

    # --- statements around others

    def _with(self, node: ast.With | ast.AsyncWith, frame: Frame) -> int:
        left: list[Function] = []
        swallows = False
        for item in node.items:
            value = self.eval(item.context_expr, frame)
            swallows = swallows or last_name(getattr(item.context_expr, "func", item.context_expr)) == "suppress"
            manager = self.force(value)
            if isinstance(manager, Instance):
                self._at(node, frame)
                enter, leave = (self._find_method(manager.kind, name) for name in ("__enter__", "__exit__"))
                if isinstance(enter, Function):
                    value = self._enter(enter.bind(manager), Arguments([], {}), None)
                if isinstance(leave, Function):
                    left.append(leave.bind(manager))
                    swallows = swallows or _returns(leave.unit.full(leave.node))
            if item.optional_vars is not None:
                self._store(item.optional_vars, value, frame)

        def body() -> int:
            return self._body(node.body, frame)

        inner = functools.partial(self._attempt, body, [lambda: NEXT], frame) if swallows else body
        return self._finally(inner, lambda: self._exit(left, node, frame), frame) if left else inner()

    def _exit(self, managers: list[Function], node: ast.With | ast.AsyncWith, frame: Frame) -> int:
        self._at(node, frame)
        for each in reversed(managers):
            self._enter(each, Arguments([NONE, NONE, NONE], {}), None)
        return NEXT

    def _try(self, node: Any, frame: Frame) -> int:
        def body() -> int:
            return self._body(node.body, frame)

        def orelse() -> int:
            return self._body(node.orelse, frame)

        def final() -> int:
            return self._body(node.finalbody, frame)

        exits = (frame.returns, frame.breaks, frame.continues)
        own: list[list[Written]] = [[], [], []]  # the ways by which ``finally`` itself leaves

        def escaping() -> int:
            before = [len(each.ways) for each in exits]
            end = final()
            for ways, each, count in zip(own, exits, before, strict=True):
                ways += each.ways[count:]
                del each.ways[count:]
            return LEFT if end in (LEFT, MAYBE) else RAISED

        handlers: list[Way] = [functools.partial(self._handler, each, frame) for each in node.handlers]
        inner: Way = functools.partial(self._attempt, body, handlers, frame, orelse) if handlers else body
        if not node.finalbody:
            return inner()
        if any(isinstance(each, _LEAVING) for statement in node.finalbody for each in ast.walk(statement)):
            inner = functools.partial(self._attempt, inner, [escaping], frame)  # what was raised may end there
        status = self._finally(inner, final, frame)
        for ways, each in zip(own, exits, strict=True):
            each.ways += ways
        return status

    def _attempt(self, body: Way, handlers: list[Way], frame: Frame, orelse: Way = lambda: NEXT) -> int:
        return self.state.attempt(body, orelse, handlers, lambda: self._left(frame))

    def _handler(self, node: ast.ExceptHandler, frame: Frame) -> int:
        if node.name is not None:
            self.state.write(frame.env, node.name, Unknown())
        return self._body(node.body, frame)

    def _finally(self, body: Way, final: Way, frame: Frame) -> int:
        """What stands in ``finally`` comes after whatever way the body is left by."""
        exits = (frame.returns, frame.breaks, frame.continues)
        before = [len(each.ways) for each in exits]
        met = Exits(self.state.mark())
        frame.forks -= 1  # what a ``return`` leaves is wanted
        status = body()
        frame.forks += 1
        for each, count in zip(exits, before, strict=True):
            met.ways += each.ways[count:]
        if status == LEFT and not met.ways:
            return status  # what was raised has been there, and nothing else comes
        self.state.gather(met, goes_on(status))
        end = final()
        if not goes_on(end):
            return end
        for each, count in zip(exits, before, strict=True):
            if len(each.ways) > count:
                each.ways[count:] = [self.state.since(each.mark)]
        return MAYBE if end == MAYBE and status == NEXT else status

    def _match(self, node: ast.Match, frame: Frame) -> int:
        return self._cases(self.force(self.eval(node.subject, frame)), node.cases, frame)

    def _cases(self, subject: Val, cases: list[ast.match_case], frame: Frame) -> int:
        if not cases:
            return NEXT
        case = cases[0]
        fits = self._fits(subject, case.pattern, frame)
        if fits is False:
            return self._cases(subject, cases[1:], frame)
        self._capture(subject, case.pattern, frame)
        guard = truth(self.force(self.eval(case.guard, frame))) if case.guard else True
        if fits and guard is not None:
            return self._body(case.body, frame) if guard else self._cases(subject, cases[1:], frame)
        return self.state.fork(
            lambda: self._body(case.body, frame) if guard is not False else LEFT,
            lambda: self._cases(subject, cases[1:], frame),
        )

    def _fits(self, subject: Val, pattern: ast.pattern, frame: Frame) -> bool | None:
        """Whether a pattern matches; None: undecided."""
        if isinstance(pattern, ast.MatchValue):
            return library.compare(ast.Eq(), subject, self.force(self.eval(pattern.value, frame)))
        if isinstance(pattern, ast.MatchSingleton):
            return library.compare(ast.Is(), subject, Const(pattern.value))
        if isinstance(pattern, ast.MatchOr):
            answers = [self._fits(subject, each, frame) for each in pattern.patterns]
            return True if True in answers else None if None in answers else False
        if isinstance(pattern, ast.MatchAs):
            return True if pattern.pattern is None else self._fits(subject, pattern.pattern, frame)
        return None

    def _capture(self, subject: Val, pattern: ast.pattern, frame: Frame) -> None:
        for each in ast.walk(pattern):
            name = getattr(each, "name", None) or getattr(each, "rest", None)
            if name is not None:
                self.state.write(frame.env, name, subject if each is pattern else Unknown())

    # --- definitions

    def _define(self, node: FunctionNode, frame: Frame) -> int:
        spec = self.sources.signature(node)
        defaults = {name: self.eval(default, frame) for name, default in spec.defaults}
        self.state.write(frame.env, node.name, Function(frame.unit, node, frame, defaults=defaults))
        return NEXT

    def _define_class(self, node: ast.ClassDef, frame: Frame) -> int:
        attributes = self._attributes[node] = Cells()
        for each in node.body:
            if isinstance(each, ast.Assign):
                value = self.eval(each.value, frame)
                for target in each.targets:
                    if isinstance(target, ast.Name):
                        attributes[target.id] = value
            elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value is not None:
                attributes[each.target.id] = self.eval(each.value, frame)
        self.state.write(frame.env, node.name, Class(frame.unit, node, frame))
        return NEXT

    def _global(self, node: ast.Global, frame: Frame) -> int:
        frame.shared.update(dict.fromkeys(node.names, self._top(frame.unit).env))
        return NEXT

    def _nonlocal(self, node: ast.Nonlocal, frame: Frame) -> int:
        for name in node.names:
            scope = frame.outer
            while scope is not None and name not in scope.env:
                scope = scope.outer
            frame.shared[name] = (scope or frame.outer or frame).env
        return NEXT

    def _import_here(self, node: ast.Import | ast.ImportFrom, frame: Frame) -> int:
        for local, (module, name) in imported(node, frame.unit.package):
            self.state.write(frame.env, local, self._import(module, name))
        return NEXT


class _Loop:
    """A loop while it is gone."""

    def __init__(self, evaluation: Evaluation, node: ast.For | ast.AsyncFor | ast.While, frame: Frame) -> None:
        self.evaluation = evaluation
        self.state = evaluation.state
        self.node = node
        self.frame = frame
        self.outer = frame.breaks, frame.continues
        self.breaks = frame.breaks = Exits(self.state.mark())
        self.returned = len(frame.returned)
        self.thrown = self.state.thrown
        self.doubtful = False  # some way has left it

    def round(self) -> bool:
        """Go its body once; returns whether the next round, or what follows the last, is reached."""
        self.frame.continues = Exits(self.state.mark())
        status = self.evaluation._body(self.node.body, self.frame)
        reached = self.state.gather(self.frame.continues, goes_on(status))
        if not self.doubtful and (self.breaks.ways or self._is_over_for_some()):
            self.doubtful = True
            self.state.doubt += 1
        return reached

    def repeat(self, start: Callable[[], object], end: Callable[[], object]) -> None:
        """Go it as often as nobody knows, ``start`` before and ``end`` after each round."""
        told: list[list[Any]] = [
            self.evaluation.reaches, self.evaluation.refused, self.evaluation.failures, self.evaluation.unknown,
            self.frame.returned, self.frame.returns.ways, self.breaks.ways,
        ]  # fmt: skip
        counts = [len(each) for each in told]
        thrown = self.state.thrown

        def once() -> int:
            start()
            if not self.round():
                return LEFT
            end()
            return NEXT

        def again() -> None:
            self.state.thrown = thrown
            for each, count in zip(told, counts, strict=True):
                del each[count:]

        self.state.repeat(once, again)

    def end(self, reached: bool) -> int:
        """Leave it; ``reached``: by its end, which its ``else`` follows."""
        self.frame.breaks, self.frame.continues = self.outer
        status = LEFT if self._is_over_for_some() else RAISED
        if reached:
            status = self.evaluation._body(self.node.orelse, self.frame)
        self.state.doubt -= self.doubtful
        if not self.state.gather(self.breaks, goes_on(status)):
            return status
        return MAYBE if status == MAYBE or self._is_over_for_some() else NEXT

    def _is_over_for_some(self) -> bool:
        return len(self.frame.returned) > self.returned or self.state.thrown > self.thrown


_LEAVING = (ast.Return, ast.Break, ast.Continue)


def _returns(node: FunctionNode) -> bool:
    """Whether a function may return anything that is true."""
    returns = (each for each in ast.walk(node) if isinstance(each, ast.Return))
    return any(each.value is not None and not _is_false(each.value) for each in returns)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


_STATEMENTS: dict[type, Callable[[Evaluation, Any, Frame], int]] = {
    ast.Expr: Evaluation._expression,
    ast.Assign: Evaluation._assign,
    ast.AnnAssign: Evaluation._annotated,
    ast.AugAssign: Evaluation._augmented,
    ast.Delete: Evaluation._delete,
    ast.If: Evaluation._if,
    ast.Return: Evaluation._return,
    ast.Raise: Evaluation._raise,
    ast.Break: Evaluation._break,
    ast.Continue: Evaluation._continue,
    ast.Assert: Evaluation._assert,
    ast.For: Evaluation._for,
    ast.AsyncFor: Evaluation._for,
    ast.While: Evaluation._while,
    ast.With: Evaluation._with,
    ast.AsyncWith: Evaluation._with,
    ast.Try: Evaluation._try,
    getattr(ast, "TryStar", ast.Try): Evaluation._try,
    ast.Match: Evaluation._match,
    ast.FunctionDef: Evaluation._define,
    ast.AsyncFunctionDef: Evaluation._define,
    ast.ClassDef: Evaluation._define_class,
    ast.Global: Evaluation._global,
    ast.Nonlocal: Evaluation._nonlocal,
    ast.Import: Evaluation._import_here,
    ast.ImportFrom: Evaluation._import_here,
}
