"""Find the edits of a loader's source that lead a keyword to every hub call. Nothing is edited here.

One rule: on the path from the registered function to a hub call every function has a parameter for the key, and every
call and component dict passes it on. What is missing is added, from the registered function downwards.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from rewriter.locality import locality
from rewriter.model import CACHE_DIR, HubCall, SourceChange, Step, Trace
from rewriter.read.syntax import span_of


@dataclass(frozen=True, slots=True)
class Threading:
    """The changes that lead a key to the hub calls of a trace. ``refusal``: why none do, or None.

    ``functions``: ``(path, function)`` that are edited. ``repos``: repo ids that are read once the edits are made,
    where a missing path was read before (v1.0's ``t5``).
    """

    changes: tuple[SourceChange, ...] = ()
    refusal: str | None = None
    functions: frozenset[tuple[str, str]] = frozenset()
    repos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SpecialCase:
    """A function whose own parameter ``key`` means something else.

    ``test``: the name that its ``if`` tests. ``variables``: what that ``if`` sets; where the new parameter
    ``parameter`` is given, ``repo_id`` is put into them.
    """

    function: str
    key: str
    test: str
    variables: tuple[str, ...]
    repo_id: str
    parameter: str


SPECIAL_CASE = SpecialCase(
    "T5Embedder.__init__",
    CACHE_DIR,
    "local_cache",
    ("tokenizer_path", "path"),
    "DeepFloyd/t5-v1_1-xxl",
    "hub_cache_dir",
)
"""v1.0.0's T5Embedder: its ``cache_dir`` is the parent folder of a flat download, and it joins a path where a repo id
is needed (opensora/models/text_encoder/t5.py of that tag)."""


class _RefusalError(Exception):
    """Why no edit leads the key there."""


def thread_key(trace: Trace, key: str, root: str | None, default: object = None) -> Threading:
    """The edits that lead ``key`` to every call of a trace that was made with it.

    Args:
        trace: of a component that has the key. root: of its checkout. default: of the parameters that are added.
    """
    changes: dict[SourceChange, None] = {}
    functions: set[tuple[str, str]] = set()
    grown: set[tuple[str, str]] = set()
    try:
        for call in trace.calls:
            if not _needs_key(call, key, root) or _is_behind_guard(call, key):
                continue
            if key in call.unseen:
                raise _RefusalError(f"what `**` gives {call.callee} cannot be known, line {call.line} of {call.path}")
            for step, change in _thread_call(call, key, default):
                changes[change] = None
                functions.add((step.path, step.function))
                if change.target == "parameter":
                    grown.add((step.path, step.function))
        for step in [step for call in trace.calls if key in call.reached for step in call.chain]:
            if (step.path, step.function) in grown and key in step.passes:
                further = _pass_on(step, key, key, key)  # a `**` gave it so far; the parameter takes it out of there
                changes |= {further: None} if further is not None else {}
    except _RefusalError as refusal:
        return Threading(refusal=str(refusal))
    repos = sorted({repo_id for change in changes for _, repo_id in change.assign})
    return Threading(tuple(changes), None, frozenset(functions), tuple(repos))


def _needs_key(call: HubCall, key: str, root: str | None) -> bool:
    """Whether a hub call reads from the Hub and lacks the key."""
    if key in call.reached or call.repo_text == "None":
        return False
    is_special = any(_find_guarded_if(step, key) is not None for step in call.chain)
    return call.repo_id is None or locality(call.repo_id, root) != "local" or is_special


def _find_guarded_if(step: Step, key: str) -> ast.If | None:
    """The ``if`` of the special case, which sets its variables; None where the step is another function."""
    case = SPECIAL_CASE
    for node in step.definition.body if (step.function, key) == (case.function, case.key) else ():
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == case.test:
            names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            return node if names.issuperset(case.variables) else None
    return None


def _is_behind_guard(call: HubCall, key: str) -> bool:
    """Whether the special case's new branch takes the place of the one that makes this call."""
    guarded = _find_guarded_if(call.chain[-1], key) if call.chain else None
    return guarded is not None and any(node is call.chain[-1].node for node in ast.walk(guarded))


def _thread_call(call: HubCall, key: str, default: object) -> Iterator[tuple[Step, SourceChange]]:
    """The changes along one path, each with the step whose function it edits."""
    case, name = SPECIAL_CASE, key
    for place, step in enumerate(call.chain):
        guard = _find_guarded_if(step, key)
        if guard is not None:
            name = case.parameter
            assign = tuple((variable, case.repo_id) for variable in case.variables)
            yield step, SourceChange(step.path, "guard", span_of(guard), key, name, assign=assign)
        held = step.held.get(key) if name == key else None
        if held is None and name not in _parameter_names(step.definition):
            if place and any(getattr(each, "id", None) == name for each in ast.walk(step.definition)):
                raise _RefusalError(f"{step.function} uses the name {name} for something else")
            yield step, SourceChange(step.path, "parameter", span_of(step.definition), key, name, default)
        name = held or name
        following = call.chain[place + 1] if place + 1 < len(call.chain) else None
        if following is not None and getattr(getattr(step.node, "func", None), "attr", "") == "from_pretrained":
            # the library makes the object, and hands none of its own keywords on to __init__
            where = f"line {following.line} of {following.path}"
            raise _RefusalError(f"{ast.unparse(step.node.func)} passes no {key} on to {following.function}, {where}")  # type: ignore[attr-defined]
        is_special = following is not None and _find_guarded_if(following, key) is not None
        parameter = case.parameter if is_special else key
        if not (key in step.passes and parameter == key):
            change = _pass_on(step, parameter, name, key)
            if change is not None:
                yield step, change
        name = parameter


def _pass_on(step: Step, parameter: str, name: str, key: str) -> SourceChange | None:
    """The change that gives the call or dict of a step ``parameter=name``; None where it has it."""
    written = _find_keyword(step.node, parameter)
    if written is None:
        return SourceChange(step.path, "keyword", span_of(step.node), parameter, name)
    if isinstance(written, ast.Name) and written.id == name:
        return None
    if isinstance(written, ast.Constant) and written.value in (None, False):
        return SourceChange(step.path, "value", span_of(written), parameter, name)
    where = f"line {step.line} of {step.path}"
    raise _RefusalError(f"{key} is given another value there: `{ast.unparse(written)}`, {where}")


def _find_keyword(node: ast.expr, name: str) -> ast.expr | None:
    """The value written for a keyword of a call or a key of a dict display."""
    if isinstance(node, ast.Call):
        return next((each.value for each in node.keywords if each.arg == name), None)
    assert isinstance(node, ast.Dict)
    pairs = zip(node.keys, node.values, strict=True)
    return next((value for key, value in pairs if isinstance(key, ast.Constant) and key.value == name), None)


def _parameter_names(node: ast.FunctionDef | ast.ClassDef) -> frozenset[str]:
    assert isinstance(node, ast.FunctionDef)
    return frozenset(each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs))
