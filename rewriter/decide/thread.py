"""Find the edits of a loader's source that lead a keyword to every hub call. Nothing is edited here.

One rule: on the path from the registered function to a hub call every function has a parameter for the key, and every
call and component dict passes it on. What is missing is added, from the registered function downwards.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from typing import NamedTuple

from rewriter.locality import locality
from rewriter.model import CACHE_DIR, HubCall, SourceChange, Step, Trace
from rewriter.read.syntax import header_of, span_of

# The one special case, v1.0.0's opensora/models/text_encoder/t5.py: cache_dir of this function is the parent folder of
# a flat download, and `if local_cache:` joins a path where a repo id is needed. It gets a parameter of another name;
# where that is given, the repo is put into the variables that the `if` sets.
SPECIAL_FUNCTION, SPECIAL_REPO = "T5Embedder.__init__", "DeepFloyd/t5-v1_1-xxl"
_TEST, _VARIABLES, _PARAMETER = "local_cache", ("tokenizer_path", "path"), "hub_cache_dir"


class Threading(NamedTuple):
    """The changes that lead a key to the hub calls of a trace. ``refusal``: why none do, or None."""

    changes: tuple[SourceChange, ...] = ()
    refusal: str | None = None

    @property
    def repos(self) -> tuple[str, ...]:
        """Repo ids that are read once the changes are made, where a path was read before (v1.0's ``t5``)."""
        return tuple(sorted({str(change.default) for change in self.changes if change.target == "guard"}))


class _RefusalError(Exception):
    """Why no edit leads the key there."""


def thread_key(trace: Trace, key: str, root: str | None, default: object = None) -> Threading:
    """The edits that lead ``key`` to every call of a trace that was made with it.

    ``trace``: of a component that has the key. ``root``: of its checkout. ``default``: of parameters that are added.
    """
    changes: dict[SourceChange, None] = {}
    try:
        for call in [call for call in trace.calls if _needs_key(call, key, root)]:
            if key in call.unseen:
                raise _RefusalError(f"what `**` gives {call.callee} cannot be known, line {call.line} of {call.path}")
            changes |= dict.fromkeys(_thread_call(call, key, default))
        grown = {(change.path, change.function) for change in changes if change.target == "parameter"}
        for step in [step for call in trace.calls if key in call.reached for step in call.chain]:
            if (step.path, step.function) in grown and key in step.passes:
                # a `**` gave it so far; the parameter takes it out of there
                changes |= dict.fromkeys(_pass_on(step, key, key, key))
    except _RefusalError as refusal:
        return Threading(refusal=str(refusal))
    return Threading(tuple(changes))


def _needs_key(call: HubCall, key: str, root: str | None) -> bool:
    """Whether a hub call reads from the Hub, lacks the key, and is not what the special case's new branch replaces."""
    if key in call.reached or call.repo_text == "None":
        return False
    guarded = list(filter(None, (_find_guarded_if(step, key) for step in call.chain)))
    if any(node is call.chain[-1].node for each in guarded for node in ast.walk(each)):
        return False
    return bool(guarded) or call.repo_id is None or locality(call.repo_id, root) != "local"


def _find_guarded_if(step: Step | None, key: str) -> ast.If | None:
    """The ``if`` of the special case, which sets its variables; None where the step is another function."""
    for node in step.definition.body if step and (step.function, key) == (SPECIAL_FUNCTION, CACHE_DIR) else ():
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == _TEST:
            names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            return node if names.issuperset(_VARIABLES) else None
    return None


def _thread_call(call: HubCall, key: str, default: object) -> Iterator[SourceChange]:
    """The changes along one path."""
    name = key
    for step, following in zip(call.chain, (*call.chain[1:], None), strict=True):
        function, definition = step.function, step.definition
        guard = _find_guarded_if(step, key)
        if guard is not None:
            name, span = _PARAMETER, header_of(guard)
            yield SourceChange(step.path, "guard", span, key, name, SPECIAL_REPO, _VARIABLES, function)
        assert isinstance(definition, ast.FunctionDef)
        held = step.held.get(key) if name == key else None
        if held is None and name not in _list_names(definition.args, ast.arg):
            if name in _list_names(definition, ast.Name):
                raise _RefusalError(f"{function} uses the name {name} for something else")
            span = header_of(definition)
            yield SourceChange(step.path, "parameter", span, key, name, default, function=function)
        name = held or name
        # a library makes the object of such a call, and hands none of its own keywords on to `__init__`
        called = step.node.func if isinstance(step.node, ast.Call) else None
        if following is not None and isinstance(called, ast.Attribute) and called.attr == "from_pretrained":
            where = f"line {following.node.lineno} of {following.path}"
            raise _RefusalError(f"{ast.unparse(called)} passes no {key} on to {following.function}, {where}")
        parameter = key if _find_guarded_if(following, key) is None else _PARAMETER
        if parameter != key or key not in step.passes:
            yield from _pass_on(step, parameter, name, key)
        name = parameter


@functools.cache
def _list_names(node: ast.AST, kind: type[ast.arg] | type[ast.Name]) -> frozenset[str]:
    found = [each for each in ast.walk(node) if isinstance(each, kind)]
    return frozenset(each.arg if isinstance(each, ast.arg) else each.id for each in found)


def _pass_on(step: Step, parameter: str, name: str, key: str) -> Iterator[SourceChange]:
    """The change that gives the call or dict of a step ``parameter=name``; none where it has it."""
    node = step.node
    if isinstance(node, ast.Call):
        values = {each.arg: each.value for each in node.keywords}
    else:
        assert isinstance(node, ast.Dict)
        values = {getattr(each, "value", None): value for each, value in zip(node.keys, node.values, strict=True)}
    written = values.get(parameter)
    if written is None:
        yield SourceChange(step.path, "keyword", span_of(node), parameter, name, function=step.function)
    elif isinstance(written, ast.Constant) and written.value in (None, False):
        yield SourceChange(step.path, "value", span_of(written), parameter, name, function=step.function)
    elif not (isinstance(written, ast.Name) and written.id == name):
        where = f"line {node.lineno} of {step.path}"
        raise _RefusalError(f"{key} is given another value there: `{ast.unparse(written)}`, {where}")
