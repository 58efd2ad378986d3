"""Find the edits of a loader's source that lead a keyword to every hub call. Nothing is edited here.

One rule: on the path from the registered function to a hub call every function has a parameter for the key, and every
call and component dict passes it on. What is missing is added, from the registered function downwards.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from rewriter.locality import locality
from rewriter.model import CACHE_DIR, HubCall, SourceChange, Span, Step, Trace

_NEUTRAL = (None, False)


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


# v1.0.0's T5Embedder: its `cache_dir` is the parent folder of a flat download, and it joins a path where a repo id is
# needed (opensora/models/text_encoder/t5.py of that tag).
SPECIAL_CASES = (
    SpecialCase(
        "T5Embedder.__init__",
        CACHE_DIR,
        "local_cache",
        ("tokenizer_path", "path"),
        "DeepFloyd/t5-v1_1-xxl",
        "hub_cache_dir",
    ),
)


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
            if not needs_key(call, key, root) or _is_behind_guard(call, key):
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


def needs_key(call: HubCall, key: str, root: str | None) -> bool:
    """Whether a hub call reads from the Hub and lacks the key."""
    if key in call.reached or call.repo_text == "None":
        return False
    return call.repo_id is None or locality(call.repo_id, root) != "local" or bool(_find_case(call.chain, key))


def _find_case(chain: tuple[Step, ...], key: str) -> SpecialCase | None:
    for step in chain:
        for case in SPECIAL_CASES:
            if step.function == case.function and key == case.key and _find_guarded_if(step, case) is not None:
                return case
    return None


def _find_guarded_if(step: Step, case: SpecialCase) -> ast.If | None:
    """The ``if`` of a special case, which sets its variables."""
    body = step.definition.body
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == case.test:
            names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            return node if names.issuperset(case.variables) else None
    return None


def _is_behind_guard(call: HubCall, key: str) -> bool:
    """Whether a special case's new branch takes the place of the one that makes this call."""
    last = call.chain[-1] if call.chain else None
    case = _case_of(last, key) if last is not None else None
    guarded = _find_guarded_if(last, case) if last is not None and case is not None else None
    return guarded is not None and any(node is call.chain[-1].node for node in ast.walk(guarded))


def _case_of(step: Step, key: str) -> SpecialCase | None:
    return next((case for case in SPECIAL_CASES if _find_case((step,), key) is case), None)


def _thread_call(call: HubCall, key: str, default: object) -> Iterator[tuple[Step, SourceChange]]:
    """The changes along one path, each with the step whose function it edits."""
    name = key
    for place, step in enumerate(call.chain):
        case = _case_of(step, key)
        if case is not None:
            name = case.parameter
            guard = _find_guarded_if(step, case)
            assert guard is not None
            assign = tuple((variable, case.repo_id) for variable in case.variables)
            yield step, SourceChange(step.path, "guard", _span(guard), key, name, assign=assign)
        held = step.held.get(key) if name == key else None
        if held is None and name not in _parameter_names(step.definition):
            if place and _uses_name(step.definition, name):
                raise _RefusalError(f"{step.function} uses the name {name} for something else")
            yield step, SourceChange(step.path, "parameter", _span(step.definition), key, name, default)
        name = held or name
        following = call.chain[place + 1] if place + 1 < len(call.chain) else None
        next_case = _case_of(following, key) if following is not None else None
        parameter = next_case.parameter if next_case is not None else key
        if not (key in step.passes and parameter == key):
            change = _pass_on(step, parameter, name, key)
            if change is not None:
                yield step, change
        name = parameter


def _pass_on(step: Step, parameter: str, name: str, key: str) -> SourceChange | None:
    """The change that gives the call or dict of a step ``parameter=name``; None where it has it."""
    written = _find_keyword(step.node, parameter)
    if written is None:
        return SourceChange(step.path, "keyword", _span(step.node), parameter, name)
    if isinstance(written, ast.Name) and written.id == name:
        return None
    if isinstance(written, ast.Constant) and written.value in _NEUTRAL:
        return SourceChange(step.path, "value", _span(written), parameter, name)
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


def _uses_name(node: ast.AST, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))


def _span(node: ast.expr | ast.stmt) -> Span:
    return Span(node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
