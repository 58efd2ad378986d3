"""Add, replace or remove one keyword, key or parameter with libcst, written as its neighbours are; all else stays.

A call, a dict and the parameters of a function are looked at in one way, as a :class:`Row`. What follows a comma up to
the next element is the gap between the two. Removing what was added gives the old row back, whatever its style.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import libcst as cst

from rewriter.edit.literals import EditError, is_literal, write_literal
from rewriter.model import CACHE_DIR, REMOVE, SourceChange

Gap = cst.BaseParenthesizableWhitespace
LineBreak = cst.ParenthesizedWhitespace

AFTER = ("from_pretrained", "type")
"""A new keyword of a config goes behind the first of these that is there, in the quotes of that one."""

_NOTHING, _SPACE = cst.SimpleWhitespace(""), cst.SimpleWhitespace(" ")
_INNER_GAPS: dict[type, str] = {cst.Arg: "whitespace_after_arg", cst.Param: "whitespace_after_param"}
_parse = cache(cst.parse_expression)


class PieceTransformer(cst.CSTTransformer):
    """Changes the call, dict or function that a piece of source consists of by ``edit``, and visits nothing in it."""

    def __init__(self, edit: Callable[[Any], Any]) -> None:
        super().__init__()
        self.edit = edit

    def on_visit(self, node: cst.CSTNode) -> bool:
        return not isinstance(node, cst.Call | cst.Dict | cst.FunctionDef)

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode) -> Any:
        return updated_node if self.on_visit(original_node) else self.edit(updated_node)


def set_keyword(node: Any, change: SourceChange, after: Sequence[str], encoding: str) -> Any:
    """Set or remove a keyword of a call or a dict, in a file of that ``encoding``.

    A new keyword goes behind the first of ``after`` that is there, else last, before ``**``. Raises EditError.
    """
    row, key = read_row(node), change.key
    keys = [_read_key(element) for element in row.elements]
    if keys.count(key) > 1 or keyword.iskeyword(key):
        raise EditError(0, f"{key!r} cannot be set or removed: it is there twice, or a word of Python")
    if change.default is REMOVE:
        return write_row(node, remove(row, keys.index(key))) if key in keys else node
    if key not in keys:
        place = next((keys.index(each) for each in after if each in keys), _find_end(row))
        near = [row.elements[i] for i in sorted(range(len(keys)), key=lambda i: abs(i - place))]
        make = _make_argument if isinstance(node, cst.Call) else _make_item
        return write_row(node, insert(row, place, make(near, key, _make_value(row, keys, change, encoding))))
    place = keys.index(key)
    if not change.name and is_literal(cst.Module([]).code_for_node(row.elements[place].value), change.default):
        return node  # as it is written
    new = row.elements[place].with_changes(value=_make_value(row, keys, change, encoding))
    return write_row(node, row._replace(elements=(*row.elements[:place], new, *row.elements[place + 1 :])))


def add_parameter(node: Any, change: SourceChange) -> Any:
    """Add a parameter to a function: after every other, before ``**kwargs``; keyword-only behind a ``*``."""
    row = read_row(node)
    known = [each for each in (*node.params.posonly_params, *row.elements) if isinstance(each, cst.Param)]
    if any(each.name.value == change.name for each in known):
        return node
    return write_row(node, insert(row, _find_end(row), _make_parameter(known, change)))


def _find_end(row: Row) -> int:
    """The place of the last element, before ``**``."""
    return [*(getattr(element, "star", "") for element in row.elements), "**"].index("**") - 1


def _read_key(element: Any) -> str | None:
    if isinstance(element, cst.Arg):
        return element.keyword.value if element.keyword is not None else None
    found = getattr(getattr(element, "key", None), "evaluated_value", None)
    return found if isinstance(found, str) else None


def _make_value(row: Row, keys: Sequence[str | None], change: SourceChange, encoding: str) -> cst.BaseExpression:
    """A name, or a literal in the quotes of the old value, of the path, the type, any value, any key, else in ``"``."""
    order = [change.key, *AFTER, *keys]
    ranked = [row.elements[i] for i in sorted(range(len(keys)), key=lambda i: order.index(keys[i]))]
    strings = [*(each.value for each in ranked), *(getattr(each, "key", None) for each in ranked)]
    quote = next((each.quote[0] for each in strings if isinstance(each, cst.SimpleString)), '"')
    return _parse(change.name or write_literal(change.default, quote, encoding))


def _make_argument(near: Sequence[cst.Arg], key: str, value: cst.BaseExpression) -> cst.Arg:
    signs = (each.equal for each in near if isinstance(each.equal, cst.AssignEqual))
    equal = next(signs, cst.AssignEqual(_NOTHING, _NOTHING))
    sign = cst.AssignEqual(_copy_space(equal.whitespace_before), _copy_space(equal.whitespace_after))
    return cst.Arg(value, cst.Name(key), sign)


def _make_item(near: Sequence[cst.BaseDictElement], key: str, value: cst.BaseExpression) -> cst.DictElement:
    items = [each for each in near if isinstance(each, cst.DictElement)]
    model = items[0] if items else cst.DictElement(value, value)
    quote = next((each.key.quote[0] for each in items if isinstance(each.key, cst.SimpleString)), '"')
    before, after = _copy_space(model.whitespace_before_colon), _copy_space(model.whitespace_after_colon)
    return cst.DictElement(_parse(write_literal(key, quote)), value, cst.MaybeSentinel.DEFAULT, before, after)


def _make_parameter(known: Sequence[cst.Param], change: SourceChange) -> cst.Param:
    """``name=default``, annotated where all others are."""
    plain = [each for each in known if not each.star and each.name.value not in ("self", "cls")]
    name, default = cst.Name(change.name), _parse(write_literal(change.default))
    if plain and all(each.annotation is not None for each in plain):
        annotation = cst.Annotation(_parse('"str | None"' if change.key == CACHE_DIR else "bool"))
        return cst.Param(name, annotation, cst.AssignEqual(), default, star="")
    signs = (each.equal for each in reversed(plain) if each.annotation is None)
    equal = next((sign for sign in signs if isinstance(sign, cst.AssignEqual)), cst.AssignEqual(_NOTHING, _NOTHING))
    return cst.Param(name, None, equal, default, star="")


def _copy_space(gap: Gap) -> Gap:
    """The space at the sign of a neighbour; one space where signs are lined up by several, none for a line break."""
    value = getattr(gap, "value", "")
    return cst.SimpleWhitespace("" if "\\" in value else value[:1])


# --- rows --------------------------------------------------------------------------------------


class Row(NamedTuple):
    """What is between two brackets. ``gaps``: the white space in front of each element, and behind the last one.

    ``trailing``: whether a comma follows the last element.
    """

    elements: tuple[Any, ...]
    gaps: tuple[Gap, ...]
    trailing: bool


def read_row(node: Any) -> Row:
    """The row of a call, a dict or a function (without its positional-only parameters). Raises EditError."""
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
        if isinstance(element.comma, cst.Comma):
            if isinstance(element.comma.whitespace_before, LineBreak):
                raise EditError(0, "a line that begins with a comma is not edited")
            gaps.append(element.comma.whitespace_after)
        else:
            gaps.append(getattr(element, _INNER_GAPS.get(type(element), ""), _NOTHING))
    if isinstance(node, cst.Dict) and elements:
        gaps[-1] = node.rbrace.whitespace_before
    return Row(tuple(elements), tuple(gaps), bool(elements) and isinstance(elements[-1].comma, cst.Comma))


def write_row(node: Any, row: Row) -> Any:
    """``node`` with the elements of ``row``, each with its comma and the gap behind it."""
    written = []
    for element, gap in zip(row.elements, row.gaps[1:], strict=True):
        changes: dict[str, Any] = {"comma": cst.MaybeSentinel.DEFAULT}
        if row.trailing or element is not row.elements[-1]:
            comma = element.comma if isinstance(element.comma, cst.Comma) else cst.Comma()
            changes["comma"], gap = comma.with_changes(whitespace_after=gap), _NOTHING
        if type(element) in _INNER_GAPS:
            changes[_INNER_GAPS[type(element)]] = gap
        written.append(element.with_changes(**changes))
    if isinstance(node, cst.Call):
        return node.with_changes(args=written, whitespace_before_args=row.gaps[0])
    if isinstance(node, cst.Dict):
        closing = _NOTHING if row.trailing or not written else row.gaps[-1]
        braces = cst.LeftCurlyBrace(row.gaps[0]), cst.RightCurlyBrace(closing)
        return node.with_changes(elements=written, lbrace=braces[0], rbrace=braces[1])
    last = [written.pop()] if node.params.star_kwarg is not None else []
    plain = len(node.params.params)
    if isinstance(node.params.star_arg, cst.Param | cst.ParamStar):
        parts = {"params": written[:plain], "star_arg": written[plain], "kwonly_params": written[plain + 1 :]}
    else:
        parts = {"params": written}
    params = node.params.with_changes(**parts, star_kwarg=last[0] if last else None)
    return node.with_changes(params=params, whitespace_before_params=row.gaps[0])


def insert(row: Row, place: int, element: Any) -> Row:
    """Put ``element`` after the one at ``place`` (-1: first), on a line of its own where that one has one."""
    if not row.elements:
        return Row((element,), (row.gaps[0], _NOTHING), trailing=False)
    last, gap = place == len(row.elements) - 1, row.gaps[place + 1]
    style = row.gaps[1 if place == 0 and not last else max(place, 0)]
    if isinstance(style, LineBreak) and (place < 0 or last or isinstance(gap, LineBreak)):
        ahead, behind = _split_gap(style, gap)
    elif place < 0:
        ahead, behind = gap, _SPACE
    else:
        # The space behind a comma on the same line, as near as possible as written elsewhere.
        others = (*reversed(row.gaps[1 : place + 1]), *row.gaps[place + 1 : -1])
        spaces = (each for each in others if isinstance(each, cst.SimpleWhitespace) and "\\" not in each.value)
        ahead, behind = next(spaces, _SPACE), gap
    element = element.with_changes(comma=row.elements[max(place, 0)].comma)  # with the space before it
    elements = (*row.elements[: place + 1], element, *row.elements[place + 1 :])
    return Row(elements, (*row.gaps[: place + 1], ahead, behind, *row.gaps[place + 2 :]), row.trailing)


def remove(row: Row, place: int) -> Row:
    """Take an element away: what :func:`insert` does, undone."""
    ahead, behind = row.gaps[place], row.gaps[place + 1]
    first, last = place == 0, place == len(row.elements) - 1
    breaks = isinstance(ahead, LineBreak), isinstance(behind, LineBreak)
    if first and not (breaks[1] and (last or breaks[0])):
        # comments on lines of their own stay
        gap = _end_line(behind) if isinstance(behind, LineBreak) and behind.empty_lines else ahead
    elif last or breaks[1] or not breaks[0]:
        gap = _join_gaps(ahead, behind)
    else:
        gap = ahead  # the next one moves up to its place
    elements = (*row.elements[:place], *row.elements[place + 1 :])
    return Row(elements, (*row.gaps[:place], gap, *row.gaps[place + 2 :]), row.trailing and bool(elements))


def _end_line(gap: LineBreak) -> LineBreak:
    """A line break without the comment and the spaces at the end of its first line."""
    return gap.with_changes(first_line=cst.TrailingWhitespace(newline=gap.first_line.newline))


def _split_gap(style: LineBreak, gap: Gap) -> tuple[Gap, Gap]:
    """Cut ``gap`` for a new line in it that is indented as ``style`` is; comments on lines of their own stay behind."""
    if isinstance(gap, LineBreak):
        return gap.with_changes(empty_lines=(), last_line=style.last_line), _end_line(gap)
    return _end_line(style).with_changes(empty_lines=()), gap


def _join_gaps(ahead: Gap, behind: Gap) -> Gap:
    """Undo :func:`_split_gap`: what is left when the line between the two goes, with the comment at its end."""
    if not isinstance(ahead, LineBreak):
        return behind
    if isinstance(behind, LineBreak):
        lines = (*ahead.empty_lines, *behind.empty_lines)
        return ahead.with_changes(empty_lines=lines, last_line=behind.last_line)
    return ahead if ahead.first_line.comment or ahead.empty_lines else behind
