"""Prove an edit by reading it again with :mod:`ast`: what was asked for holds, and nothing else differs.

The edits are made by libcst; this reading shares no code with them. A proof that fails is a fault of ours, so it is
told in one sentence, and whoever called writes nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

from rewriter.configs import read_config
from rewriter.decoding import Decoded, decode, parse
from rewriter.types import REMOVE, Component, ConfigChange, ConfigFile, Problem, SourceChange, Span

_NEWLINE = re.compile(rb"\r\n|\r|\n")
_SHAPE = ("keys", "form", "ways")

Place = tuple[int, int, int, int]
Pairs = Sequence[tuple[Component, Component]]
Blanks = dict[Place, set[str]]


# --- configs -----------------------------------------------------------------------------------


def compare(
    old: bytes, new: bytes, path: str, changes: Sequence[ConfigChange], was: ConfigFile | None = None
) -> str | None:
    """Prove the edit of a config file.

    Holds when ``new`` has the components of ``old`` in the same order, every asked key has the asked value (or is
    gone), every byte outside the edited dicts is the same, and the syntax trees of those dicts are equal but for the
    asked keywords. (The same bytes round one expression in place of another are the same syntax tree round it.)

    Args:
        old: the bytes from which the components of ``changes`` were read.
        new: the edited bytes.
        path: of the file, for :func:`rewriter.configs.read_config`.
        changes: all that was asked for.
        was: what ``old`` says, where it has been read already.

    Returns:
        None, or a sentence that says what differs.
    """
    was = was or read_config(old, path)
    if old == new:
        return _unmade(was, changes)
    before, after = decode(old), decode(new)
    if isinstance(before, Problem) or isinstance(after, Problem):
        problem = before if isinstance(before, Problem) else after
        return f"the file cannot be read: {problem.message}" if isinstance(problem, Problem) else None
    if (before.encoding, before.bom) != (after.encoding, after.bom):
        return "the encoding of the file changed"
    now = read_config(new, path)
    if was.problem or now.problem:
        found = was.problem or now.problem
        return f"line {found.line} of the edited file cannot be read: {found.message}" if found else None
    replaced = {(*c.component.keys, c.key) for c in _everywhere(was, changes)}
    pairs = list(zip(_kept(was, replaced), _kept(now, replaced), strict=False))
    return (
        _components_differ(_kept(was, replaced), _kept(now, replaced))
        or _unmade(now, _carried(was, pairs, changes))
        or _dicts_differ(before, after, pairs, changes)
    )


def _everywhere(config: ConfigFile, changes: Sequence[ConfigChange]) -> list[ConfigChange]:
    """The changes, once for every name of the dict that they change."""
    return [
        ConfigChange(component, change.key, change.value)
        for change in changes
        for component in config.components
        if component.span == change.component.span
    ]


def _kept(config: ConfigFile, replaced: set[tuple[str, ...]]) -> list[Component]:
    """The components of ``config`` but those that come or go with a value that is asked for.

    They stand at or below a key of ``replaced``, or, where another dict holds them by ``**``, in its value's span.
    """
    values = [
        keyword.span
        for component in config.components
        for keyword in component.written
        if (*component.keys, keyword.key) in replaced
    ]
    return [
        component
        for component in config.components
        if not any(component.keys[: len(keys)] == keys for keys in replaced)
        and not any(_holds(value, component.span) for value in values)
    ]


def _holds(outer: Span, inner: Span) -> bool:
    return (outer.line, outer.column) <= (inner.line, inner.column) and (inner.end_line, inner.end_column) <= (
        outer.end_line,
        outer.end_column,
    )


def _components_differ(was: Sequence[Component], now: Sequence[Component]) -> str | None:
    if len(was) != len(now):
        return f"{len(was)} components became {len(now)}"
    for one, other in zip(was, now, strict=True):
        for name in _SHAPE:
            if getattr(one, name) != getattr(other, name):
                return f"{name} of {'.'.join(one.keys)} became {getattr(other, name)}"
    return None


def _carried(was: ConfigFile, pairs: Pairs, changes: Iterable[ConfigChange]) -> list[ConfigChange]:
    """The changes, with the components of the new file in place of those of the old.

    What was asked for a dict that another change takes away is left out.
    """
    twin = {a.span: b for a, b in pairs}
    gone = {component.span for component in was.components} - twin.keys()
    return [
        ConfigChange(twin.get(c.component.span, c.component), c.key, c.value)
        for c in changes
        if c.component.span not in gone
    ]


def _unmade(config: ConfigFile, changes: Iterable[ConfigChange]) -> str | None:
    """What of ``changes`` does not hold in ``config``, which their components were read from."""
    known = {component.span: component for component in config.components}
    for change in changes:
        name = f"{'.'.join(change.component.keys)}.{change.key}"
        component = known.get(change.component.span)
        if component is None:
            return f"{name}: no dict stands at line {change.component.span.line}"
        found = [keyword.value for keyword in component.written if keyword.key == change.key]
        if change.value is REMOVE:
            if found:
                return f"{name} is still there"
        elif not found:
            return f"{name} is not there"
        elif not found[-1].literal or not _same(found[-1].value, change.value):
            return f"{name} is {found[-1].text}, not {change.value!r}"
    return None


def _dicts_differ(before: Decoded, after: Decoded, pairs: Pairs, changes: Sequence[ConfigChange]) -> str | None:
    """Compare as bytes what stands round the edited dicts, and as syntax what stands in them."""
    asked: dict[Span, set[str]] = {}
    for change in changes:
        asked.setdefault(change.component.span, set()).add(change.key)
    moved = {a.span: b.span for a, b in pairs if a.span in asked}
    blanks = {_place_of(span): keys for span, keys in asked.items()}
    blanks_now = {_place_of(moved[span]): keys for span, keys in asked.items() if span in moved}
    outside, dicts = _cut(before.utf8, moved.keys())
    outside_now, dicts_now = _cut(after.utf8, moved.values())
    if [moved[span] for span, _ in dicts] != [span for span, _ in dicts_now]:
        return "the edited dicts do not stand where they stood"
    for one, other in zip(outside, outside_now, strict=True):
        if one != other:
            return f"bytes outside the edited dicts changed: {_first_difference(one, other)}"
    for (span, text), (span_now, text_now) in zip(dicts, dicts_now, strict=True):
        was, now = _expression(span, text), _expression(span_now, text_now)
        if was is None or now is None:
            return f"line {span_now.line}: no expression stands in the place of the edited dict"
        _blank(was, blanks)
        _blank(now, blanks_now)
        if (difference := _difference(was, now)) is not None:
            return difference
    return None


def _cut(utf8: bytes, spans: Iterable[Span]) -> tuple[list[bytes], list[tuple[Span, bytes]]]:
    """Cut a file at the outermost of ``spans``: the pieces round them (one more than of these), and they themselves."""
    starts = [0, *(match.end() for match in _NEWLINE.finditer(utf8))]
    outside, inside, done = [], [], 0
    for span in sorted(spans, key=lambda s: (s.line, s.column, -s.end_line, -s.end_column)):
        start, end = starts[span.line - 1] + span.column, starts[span.end_line - 1] + span.end_column
        if start >= done:
            outside.append(utf8[done:start])
            inside.append((span, utf8[start:end]))
            done = end
    return [*outside, utf8[done:]], inside


def _expression(span: Span, text: bytes) -> ast.Expression | None:
    """The syntax tree of one expression alone, at the place where it stands in its file."""
    ahead = b"\n" * (span.line - 1) + b"(" + b" " * (span.column - 1)
    if span.column == 0:
        ahead = b"\n" * (span.line - 2) + b"(\n"
    tree = parse(Decoded(ahead + text + b")", "utf-8", bom=False))
    if isinstance(tree, Problem) or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return None
    expression = tree.body[0].value
    return ast.Expression(expression) if _place(expression) == _place_of(span) else None


def _blank(tree: ast.AST, asked: Blanks) -> None:
    """Take the asked keywords out of the dicts at their places."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call | ast.Dict):
            continue
        keys = asked.get(_place(node))
        if not keys:
            continue
        if isinstance(node, ast.Call):
            node.keywords = [k for k in node.keywords if k.arg not in keys]
        else:
            pairs = [(k, v) for k, v in zip(node.keys, node.values, strict=True) if _text_key(k) not in keys]
            node.keys, node.values = [k for k, _ in pairs], [v for _, v in pairs]


def _first_difference(one: bytes, other: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"{one[at : at + 20]!r} became {other[at : at + 20]!r}"


# --- sources -----------------------------------------------------------------------------------


def compare_source(old: bytes, new: bytes, changes: Sequence[SourceChange]) -> str | None:
    """Prove the edit of a loader's source.

    Holds when the syntax tree of ``new``, without the parameters and keywords asked for, is that of ``old``, and every
    one of them is there. What stands at the span of a change with any other target than "parameter", "call" and "dict"
    is not compared.

    Args:
        old: the bytes in which the spans of ``changes`` stand.
        new: the edited bytes.
        changes: all that was asked for in this file.

    Returns:
        None, or a sentence that says what differs.
    """
    before, after = decode(old), decode(new)
    one = before if isinstance(before, Problem) else parse(before)
    other = after if isinstance(after, Problem) else parse(after)
    if isinstance(one, Problem):
        return f"line {one.line} of the source cannot be read: {one.message}"
    if isinstance(other, Problem):
        return f"line {other.line} of the edited source cannot be read: {other.message}"
    asked: dict[Place, list[SourceChange]] = {}
    for change in changes:
        asked.setdefault(_place_of(change.span), []).append(change)
    done: set[SourceChange] = set()
    difference = _difference(one, other, asked, done)
    if difference is not None:
        return difference
    for change in changes:
        if change not in done:
            return f"line {change.span.line}: the {change.target} did not get {change.key!r}"
    return None


def _strip(old: ast.AST, new: ast.AST, change: SourceChange) -> bool:
    """Take what ``change`` adds to ``old`` out of ``new``. True where it was found, or was there before."""
    if change.target == "parameter" and isinstance(new, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        before = old.args if isinstance(old, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else None
        return before is not None and _strip_parameter(before, new.args, change.name)
    if isinstance(new, ast.Call) and isinstance(old, ast.Call):
        found = [k for k in new.keywords if k.arg == change.key and _is_name(k.value, change.name)]
        if len(new.keywords) > len(old.keywords):
            new.keywords = [k for k in new.keywords if k not in found]
        return bool(found)
    if isinstance(new, ast.Dict) and isinstance(old, ast.Dict):
        pairs = list(zip(new.keys, new.values, strict=True))
        rest = [(k, v) for k, v in pairs if _text_key(k) != change.key or not _is_name(v, change.name)]
        if len(pairs) > len(old.keys):
            new.keys, new.values = [k for k, _ in rest], [v for _, v in rest]
        return len(rest) < len(pairs)
    return False


def _strip_parameter(old: ast.arguments, new: ast.arguments, name: str) -> bool:
    if any(a.arg == name for a in (*old.posonlyargs, *old.args, *old.kwonlyargs)):
        return True
    names = [a.arg for a in new.args]
    if name in names:
        place = names.index(name)
        default = place - (len(new.args) - len(new.defaults))
        if place != len(names) - 1 or default < 0 or not isinstance(new.defaults[default], ast.Constant):
            return False  # not the last one, so a positional call would shift; or without a plain default
        del new.args[place], new.defaults[default]
        return True
    names = [a.arg for a in new.kwonlyargs]
    if name not in names or not isinstance(new.kw_defaults[names.index(name)], ast.Constant):
        return False
    del new.kw_defaults[names.index(name)], new.kwonlyargs[names.index(name)]
    return True


# --- trees -------------------------------------------------------------------------------------


def _difference(
    one: ast.AST,
    other: ast.AST,
    asked: dict[Place, list[SourceChange]] | None = None,
    done: set[SourceChange] | None = None,
) -> str | None:
    """Where two trees differ, positions apart; what is asked for at a place of ``one`` is taken out of ``other``."""
    stack: list[tuple[object, object, int]] = [(one, other, 1)]
    while stack:
        a, b, line = stack.pop()
        if type(a) is not type(b):
            return f"line {line}: {_kind(a)} became {_kind(b)}"
        if isinstance(a, ast.AST) and isinstance(b, ast.AST):
            line = getattr(a, "lineno", line)
            changes = asked.get(_place(a), ()) if asked and hasattr(a, "lineno") else ()
            free = False
            # of two new parameters the later one has to go first: only a last one may be new
            for change in (*changes, *reversed(changes)):
                if done is not None and change in done:
                    continue
                free = free or change.target not in ("parameter", "call", "dict")
                if done is not None and (free or _fits(a, change)) and (free or _strip(a, b, change)):
                    done.add(change)
            if not free:
                stack.extend((getattr(a, f, None), getattr(b, f, None), line) for f in a._fields)
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return f"near line {line}: {len(a)} parts became {len(b)}"
            stack.extend((x, y, line) for x, y in zip(a, b, strict=True))
        elif a != b:
            return f"line {line}: {a!r:.60} became {b!r:.60}"
    return None


def _fits(node: ast.AST, change: SourceChange) -> bool:
    """Whether ``node`` is what ``change`` means: a statement, and the expression that it consists of, share a place."""
    if change.target == "parameter":
        return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    return isinstance(node, ast.Call | ast.Dict)


def _kind(node: object) -> str:
    return type(node).__name__


def _place(node: ast.AST) -> Place:
    return (
        getattr(node, "lineno", 0),
        getattr(node, "col_offset", 0),
        getattr(node, "end_lineno", 0) or 0,
        getattr(node, "end_col_offset", 0) or 0,
    )


def _place_of(span: Span) -> Place:
    return span.line, span.column, span.end_line, span.end_column


def _is_name(node: ast.expr, name: str) -> bool:
    return ast.unparse(node) == name  # a plain name mostly; `self.cache_dir` where that is what holds it


def _text_key(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _same(one: object, other: object) -> bool:
    """Equal, and of equal types all the way down: True is not 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return list(map(_typed, one)) == list(map(_typed, other)) and all(_same(v, other[k]) for k, v in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def _typed(key: object) -> tuple[type, object]:
    return type(key), key
