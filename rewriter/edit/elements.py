"""Add or remove one keyword, key or parameter with libcst, written as its neighbours are; all else stays.

A call, a dict and the parameters of a function are looked at in one way, as a row: elements, and gaps of white space
and comments in front of each and behind the last one. Removing what was added gives the old row back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import libcst as cst

from rewriter.edit.literals import write_literal

Gap = cst.BaseParenthesizableWhitespace
LineBreak = cst.ParenthesizedWhitespace

_PIECES = (cst.Call, cst.Dict, cst.FunctionDef)
_NOTHING, _SPACE = cst.SimpleWhitespace(""), cst.SimpleWhitespace(" ")
_INNER_GAPS: dict[type, str] = {cst.Arg: "whitespace_after_arg", cst.Param: "whitespace_after_param"}
_parse = cache(cst.parse_expression)


class PieceTransformer(cst.CSTTransformer):
    """Gives the call, dict or function that a piece of source consists of ``key=value``, or takes ``key`` away.

    ``value``: the source of an expression; "" removes. ``quote``: for the key of a dict. ``after``: it goes behind the
    first of these that is there, else last, before ``**``.
    """

    def __init__(self, key: str, value: str, quote: str, after: Sequence[str]) -> None:
        super().__init__()
        self.key, self.value, self.quote, self.after = key, value, quote, after

    def on_visit(self, node: cst.CSTNode) -> bool:
        return not isinstance(node, _PIECES)

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode) -> Any:
        return updated_node if self.on_visit(original_node) else self._edit(updated_node)

    def _edit(self, node: Any) -> Any:
        elements, gaps = _read_row(node)
        ends_with_comma = bool(elements) and isinstance(elements[-1].comma, cst.Comma)
        keys = [_read_key(element) for element in elements]
        if not self.value:
            _remove(elements, gaps, keys.index(self.key))
        else:
            last = [*(getattr(element, "star", "") for element in elements), "**"].index("**") - 1
            place = next((keys.index(each) for each in self.after if each in keys), last)
            near = [*reversed(elements[: place + 1]), *elements[place + 1 :]]
            _insert(elements, gaps, place, self._make_element(node, near))
        return _write_row(node, elements, gaps, ends_with_comma)

    def _make_element(self, node: Any, near: Sequence[Any]) -> Any:
        """The new element, with the sign of the nearest one."""
        value = _parse(self.value)
        if isinstance(node, cst.Dict):
            item = next((each for each in near if isinstance(each, cst.DictElement)), cst.DictElement(value, value))
            key = cst.SimpleString(write_literal(self.key, self.quote))
            return item.with_changes(key=key, value=value, comma=cst.MaybeSentinel.DEFAULT)
        name = cst.Name(self.key)
        params = [each for each in near if isinstance(each, cst.Param) and not each.star]
        typed = [each.annotation is not None for each in params if each.name.value not in ("self", "cls")]
        if typed and all(typed):
            kind = _parse("bool" if self.value == "False" else '"str | None"')
            return cst.Param(name, cst.Annotation(kind), cst.AssignEqual(), value, star="")
        bare = (getattr(each, "equal", None) for each in near if getattr(each, "annotation", None) is None)
        sign = next((each for each in bare if isinstance(each, cst.AssignEqual)), cst.AssignEqual(_NOTHING, _NOTHING))
        return cst.Arg(value, name, sign) if isinstance(node, cst.Call) else cst.Param(name, None, sign, value, star="")


def _read_key(element: Any) -> object:
    keyword = getattr(element, "keyword", None)
    return keyword.value if keyword is not None else getattr(getattr(element, "key", None), "evaluated_value", None)


def _read_row(node: Any) -> tuple[list[Any], list[Gap]]:
    """The elements, and the gaps: one more, from bracket to bracket."""
    elements: list[Any]
    if isinstance(node, cst.Call):
        elements, opening = [*node.args], node.whitespace_before_args
    elif isinstance(node, cst.Dict):
        elements, opening = [*node.elements], node.lbrace.whitespace_after
    else:
        params, opening = node.params, node.whitespace_before_params
        star = [params.star_arg] if isinstance(params.star_arg, cst.Param | cst.ParamStar) else []
        elements = [*params.params, *star, *params.kwonly_params, *filter(None, [params.star_kwarg])]
    gaps = [opening]
    for element in elements:
        has_comma = isinstance(element.comma, cst.Comma)
        inner = getattr(element, _INNER_GAPS.get(type(element), ""), _NOTHING)
        gaps.append(element.comma.whitespace_after if has_comma else inner)
    if isinstance(node, cst.Dict) and elements:
        gaps[-1] = node.rbrace.whitespace_before
    return elements, gaps


def _write_row(node: Any, elements: list[Any], gaps: list[Gap], ends_with_comma: bool) -> Any:
    """``node`` with these elements, each with its comma and the gap behind it."""
    written = []
    for element, gap in zip(elements, gaps[1:], strict=True):
        changes: dict[str, Any] = {"comma": cst.MaybeSentinel.DEFAULT}
        if ends_with_comma or element is not elements[-1]:
            comma = element.comma if isinstance(element.comma, cst.Comma) else cst.Comma()
            changes["comma"], gap = comma.with_changes(whitespace_after=gap), _NOTHING
        if type(element) in _INNER_GAPS:
            changes[_INNER_GAPS[type(element)]] = gap
        written.append(element.with_changes(**changes))
    if isinstance(node, cst.Call):
        return node.with_changes(args=written, whitespace_before_args=gaps[0])
    if isinstance(node, cst.Dict):
        closing = _NOTHING if ends_with_comma or not written else gaps[-1]
        braces = cst.LeftCurlyBrace(gaps[0]), cst.RightCurlyBrace(closing)
        return node.with_changes(elements=written, lbrace=braces[0], rbrace=braces[1])
    kwarg = written.pop() if node.params.star_kwarg is not None else None
    count = len(node.params.params)
    parts = {"params": written}
    if isinstance(node.params.star_arg, cst.Param | cst.ParamStar):
        parts = {"params": written[:count], "star_arg": written[count], "kwonly_params": written[count + 1 :]}
    params = node.params.with_changes(**parts, star_kwarg=kwarg)
    return node.with_changes(params=params, whitespace_before_params=gaps[0])


def _insert(elements: list[Any], gaps: list[Gap], place: int, element: Any) -> None:
    """Put ``element`` behind the one at ``place`` (-1: first), on a line of its own where that one has one."""
    at = max(place, 0)
    if elements:
        last = at == len(elements) - 1
        gap, style = gaps[at + 1], gaps[1 if at == 0 and not last else at]
        if not isinstance(style, LineBreak):
            gaps.insert(at + 1, style if len(elements) > 1 else _SPACE)
        elif isinstance(gap, LineBreak):  # comments on lines of their own stay behind
            gaps[at + 1 : at + 2] = gap.with_changes(empty_lines=(), last_line=style.last_line), _end_line(gap)
        else:
            gaps.insert(at + 1, _end_line(style).with_changes(empty_lines=()) if last else _SPACE)
    else:
        gaps.append(_NOTHING)
    elements.insert(place + 1, element)


def _remove(elements: list[Any], gaps: list[Gap], place: int) -> None:
    """Take an element away: what :func:`_insert` does, undone; with it goes the comment at the end of its own line."""
    ahead, behind = gaps[place], gaps[place + 1]
    gap = behind
    if isinstance(ahead, LineBreak) and isinstance(behind, LineBreak):
        lines = (*ahead.empty_lines, *behind.empty_lines)
        gap = ahead.with_changes(empty_lines=lines, last_line=behind.last_line)
    elif place == 0:
        gap = behind if _holds_lines(behind) else ahead
    elif isinstance(ahead, LineBreak) and (place < len(elements) - 1 or _holds_lines(ahead)):
        gap = ahead
    gaps[place : place + 2] = [gap]
    del elements[place]


def _end_line(gap: LineBreak) -> LineBreak:
    """A line break without the comment and the spaces at the end of its first line."""
    return gap.with_changes(first_line=cst.TrailingWhitespace(newline=gap.first_line.newline))


def _holds_lines(gap: Gap) -> bool:
    """Whether more is in it than white space on one line, or a line break."""
    return isinstance(gap, LineBreak) and bool(gap.first_line.comment or gap.empty_lines)
