"""Prove an edit by reading it again with ``ast``: what was requested holds, and nothing else differs.

The edits are made by libcst; this reading is one of its own. An edit that it does not confirm is a fault of this
program, and is never written.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rewriter.decoding import Decoded, decode, parse
from rewriter.edit.literals import is_literal
from rewriter.edit.splices import find_lines
from rewriter.model import REMOVE, ConfigChange, Problem, SourceChange, Span

_Place = tuple[int, int, int, int]
_Change = ConfigChange | SourceChange


def prove_config(old: bytes, new: bytes, path: str, changes: Sequence[ConfigChange]) -> str | None:
    """Prove the edit of a config file.

    Holds when every requested key of ``new`` has the requested value, or is gone; the syntax trees are equal without
    those keywords; and every byte outside the changed dicts is the same.

    Args:
        old: the bytes from which the components of ``changes`` were read.
        new: the edited bytes.
        path: of the file, for the message.
        changes: all that was requested.

    Returns:
        None, or a sentence that says what differs.
    """
    problem = _compare(old, new, [(change.component.span, change) for change in changes])
    return f"{path}: {problem}" if problem else None


def prove_loader(old: bytes, new: bytes, changes: Sequence[SourceChange]) -> str | None:
    """Prove the edit of a loader's source: as :func:`prove_config`, for parameters, keywords, values and guards.

    Bytes may differ in the headers, calls, dicts and values that were changed, and in front of the guarded ``if``.
    """
    return _compare(old, new, [(change.span, change) for change in changes])


# --- comparing ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two texts."""

    source: Decoded
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class _Stripped:
    """A node of the new tree without a change. ``gone``: values of the old tree that went. ``old``, ``new``: where
    bytes may differ."""

    node: ast.AST
    gone: Sequence[ast.AST]
    old: _Place
    new: _Place


@dataclass(slots=True)
class _Pending:
    """The changes that have not been found yet, by place, and where those that have been found are in both texts."""

    changes: dict[_Place, list[_Change]] = field(default_factory=dict)
    regions: list[tuple[_Place, _Place]] = field(default_factory=list)

    def strip(self, old: ast.AST, new: ast.AST) -> ast.AST:
        """``new`` without what was requested for ``old``."""
        place = _get_place(old)
        changes = self.changes.get(place, [])
        # Of two new parameters the later one has to go first: only a last one may be new.
        for change in reversed(changes[:]):
            stripped = _strip_change(old, new, change)
            if stripped is not None:
                changes.remove(change)
                self.regions.append((stripped.old, stripped.new))
                new = stripped.node
                for value in stripped.gone:  # what was requested for a dict in it goes with it
                    for node in ast.walk(value):
                        self.changes.pop(_get_place(node), None)
        return new


def _compare(old: bytes, new: bytes, changes: Sequence[tuple[Span, _Change]]) -> str | None:
    was, now = _read(old), _read(new)
    if isinstance(was, Problem):
        return f"line {was.line} cannot be read: {was.message}"
    if isinstance(now, Problem):
        return f"line {now.line} of the edited file cannot be read: {now.message}"
    if (was.source.encoding, was.source.bom) != (now.source.encoding, now.source.bom):
        return "the encoding of the file changed"
    pending = _Pending()
    for span, change in changes:
        requested = pending.changes.setdefault((span.line, span.column, span.end_line, span.end_column), [])
        if change not in requested:
            requested.append(change)
    difference = _compare_trees(was.tree, now.tree, pending.strip)
    missing = [(place, change) for place, requested in pending.changes.items() for change in requested]
    if difference is None and missing:
        place, change = missing[0]
        return f"line {place[0]}: {change.key!r} is not as requested"
    return difference or _compare_bytes(was.source.utf8, now.source.utf8, pending.regions)


def _read(data: bytes) -> _Side | Problem:
    source = decode(data)
    if isinstance(source, Problem):
        return source
    tree = parse(source)
    return tree if isinstance(tree, Problem) else _Side(source, tree)


def _compare_trees(one: ast.AST, other: ast.AST, strip: Callable[[ast.AST, ast.AST], ast.AST]) -> str | None:
    """Where two trees differ, positions apart, once ``strip`` has taken the changes out."""
    pairs: list[tuple[object, object, int]] = [(one, other, 1)]
    while pairs:
        old, new, line = pairs.pop()
        if isinstance(old, ast.AST) and isinstance(new, ast.AST):
            line = getattr(old, "lineno", line)
            new = strip(old, new)
        if type(old) is not type(new):
            return f"line {line}: {type(old).__name__} became {type(new).__name__}"
        if isinstance(old, ast.AST):
            pairs += [(getattr(old, name, None), getattr(new, name, None), line) for name in old._fields]
        elif isinstance(old, list) and isinstance(new, list):
            if len(old) != len(new):
                return f"near line {line}: {len(old)} parts became {len(new)}"
            pairs += [(*pair, line) for pair in zip(old, new, strict=True)]
        elif old != new:
            return f"line {line}: {old!r:.60} became {new!r:.60}"
    return None


def _compare_bytes(old: bytes, new: bytes, regions: Sequence[tuple[_Place, _Place]]) -> str | None:
    """Whether the bytes outside of the regions are the same."""
    lines, new_lines = find_lines(old), find_lines(new)
    pairs = [(_locate(lines, was), _locate(new_lines, now)) for was, now in regions]
    pairs.sort(key=lambda pair: (pair[0][0], -pair[0][1]))  # an outer one before those in it
    done = new_done = 0
    end = (len(old), len(old)), (len(new), len(new))
    for (start, stop), (new_start, new_stop) in [*pairs, end]:
        if start < done:
            continue  # it lies in the one before
        one, other = old[done:start], new[new_done:new_start]
        if one != other:
            same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
            return f"bytes outside the edit changed: {one[same : same + 20]!r} became {other[same : same + 20]!r}"
        done, new_done = stop, new_stop
    return None


def _locate(lines: list[int], place: _Place) -> tuple[int, int]:
    return lines[place[0] - 1] + place[1], lines[place[2] - 1] + place[3]


def _get_place(node: ast.AST) -> _Place:
    line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
    return line, column, getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0)


# --- one change --------------------------------------------------------------------------------


def _strip_change(old: ast.AST, new: ast.AST, change: _Change) -> _Stripped | None:
    """What is left of ``new`` without ``change``; None where it was not made here."""
    target = change.target if isinstance(change, SourceChange) else "keyword"
    if target == "parameter":
        return _strip_parameter(old, new, change)
    if target == "guard":
        return _strip_guard(old, new, change)
    if target == "value":
        made = isinstance(old, ast.expr) and isinstance(new, ast.expr) and _is_value(new, change)
        return _Stripped(old, [old], _get_place(old), _get_place(new)) if made else None
    if not isinstance(old, ast.Call | ast.Dict) or type(old) is not type(new):
        return None
    assert isinstance(new, ast.Call | ast.Dict)
    gone, values = _take_keyword(old, change.key), _take_keyword(new, change.key)
    if isinstance(change, ConfigChange) and change.value is REMOVE:
        made = not values
    else:
        made = len(values) == max(len(gone), 1) and _is_value(values[-1], change)
    return _Stripped(new, gone, _get_place(old), _get_place(new)) if made else None


def _is_value(node: ast.expr, change: _Change) -> bool:
    if isinstance(change, ConfigChange):
        return is_literal(node, change.value)
    return ast.unparse(node) == change.name if change.name else is_literal(node, change.default)


def _take_keyword(node: ast.Call | ast.Dict, key: str) -> list[ast.expr]:
    """Take the values of ``key`` out of a call or a dict."""
    if isinstance(node, ast.Call):
        found = [each.value for each in node.keywords if each.arg == key]
        node.keywords = [each for each in node.keywords if each.arg != key]
        return found
    pairs = list(zip(node.keys, node.values, strict=True))
    kept = [pair for pair in pairs if not (isinstance(pair[0], ast.Constant) and pair[0].value == key)]
    node.keys, node.values = [each for each, _ in kept], [value for _, value in kept]
    return [value for each, value in pairs if isinstance(each, ast.Constant) and each.value == key]


def _strip_parameter(old: ast.AST, new: ast.AST, change: _Change) -> _Stripped | None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    if not isinstance(change, SourceChange) or not isinstance(old, functions) or not isinstance(new, functions):
        return None
    stripped = _Stripped(new, (), _get_header(old), _get_header(new))
    args = new.args
    if any(each.arg == change.name for each in (*old.args.posonlyargs, *old.args.args, *old.args.kwonlyargs)):
        return stripped
    places = [place for place, each in enumerate(args.kwonlyargs) if each.arg == change.name]
    default = args.kw_defaults[places[0]] if places else args.defaults[-1] if args.defaults else None
    if default is None or not is_literal(default, change.default):
        return None
    if places:
        del args.kwonlyargs[places[0]], args.kw_defaults[places[0]]
        return stripped
    if not args.args or args.args[-1].arg != change.name:
        return None
    del args.args[-1], args.defaults[-1]
    return stripped


def _get_header(node: ast.FunctionDef | ast.AsyncFunctionDef) -> _Place:
    """From the ``def`` to the first statement of the body."""
    first = node.body[0]
    decorators: list[ast.expr] = getattr(first, "decorator_list", [])
    return node.lineno, node.col_offset, (decorators[0] if decorators else first).lineno, first.col_offset


def _strip_guard(old: ast.AST, new: ast.AST, change: _Change) -> _Stripped | None:
    if not isinstance(change, SourceChange) or not isinstance(old, ast.If) or not isinstance(new, ast.If):
        return None
    assigned: dict[str, object] = {}
    for statement in new.body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Constant):
            return None
        assigned.update((ast.unparse(target), statement.value.value) for target in statement.targets)
    test = ast.unparse(new.test) == f"{change.name} is not None"
    if not test or assigned != dict(change.assign) or len(new.orelse) != 1:
        return None
    rest = new.orelse[0]
    line, column = old.lineno, old.col_offset
    added = (new.lineno, new.col_offset, rest.lineno, rest.col_offset + len("el"))
    return _Stripped(rest, (), (line, column, line, column), added)
