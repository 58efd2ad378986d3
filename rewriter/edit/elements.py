"""Add, replace or remove one keyword of a libcst call or dict, written as its neighbours are; all else stays.

A call, a dict and a list of parameters are looked at in one way, as a :class:`Row`. What follows a comma up to the next
element is the gap between the two. Removing what was added gives the old row back, whatever its style.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst

from rewriter.edit.literals import EditError, write_literal

__all__ = ["EditError"]

Node = cst.Call | cst.Dict
Gap = cst.BaseParenthesizableWhitespace

AFTER = ("from_pretrained", "type")
"""A new keyword of a config goes behind the first of these that is there."""
NOTHING = cst.SimpleWhitespace("")
_SPACE = cst.SimpleWhitespace(" ")


@dataclass(frozen=True, slots=True)
class Row:
    """What is between two brackets.

    ``gaps``: the white space in front of each element, and behind the last one. ``trailing``: whether a comma follows
    the last one.
    """

    elements: tuple[Any, ...]
    gaps: tuple[Gap, ...]
    trailing: bool


def edit_expression(text: str, edit: Callable[[Node], Node]) -> str:
    """The source of a call or a dict after ``edit``. Raises EditError where it is none."""
    # The brackets let it run over lines, as it may inside somebody else's brackets.
    module = cst.parse_module("(" + text + ")")
    statement = module.body[0]
    value = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
    node = value.value if isinstance(value, cst.Expr) else None
    if not isinstance(node, cst.Call | cst.Dict) or module.code != "(" + text + ")":
        raise EditError(0, "this is no call or dict that can be edited")
    changed = module.deep_replace(node, edit(node))
    assert isinstance(changed, cst.Module)
    return changed.code[1:-1]


# --- keywords ----------------------------------------------------------------------------------


def set_keyword(node: Node, key: str, text: str, after: Sequence[str] = AFTER) -> Node:
    """Give ``node`` the keyword ``key`` with the value ``text``: in its place where it is there (the last one counts).

    A new one goes after the first of ``after`` that is there, else last, before ``**``.

    Raises:
        EditError: the key cannot be written here, or the call holds a bare generator.
    """
    values, value, row = find_values(node, key), cst.parse_expression(text), read_row(node)
    if values:
        changed = node.deep_replace(values[-1], value)
        assert isinstance(changed, cst.Call | cst.Dict)
        return changed
    if isinstance(node, cst.Call):
        if not key.isidentifier() or keyword.iskeyword(key):
            raise EditError(0, f"{key!r} cannot be a keyword argument of a call")
        if any(isinstance(arg.value, cst.GeneratorExp) and not arg.value.lpar for arg in node.args):
            raise EditError(0, "a call with a bare generator takes no further argument")
    keys = [_read_key(element) for element in row.elements]
    stars = [*(getattr(element, "star", "") for element in row.elements), "**"]
    place = next((keys.index(each) for each in after if each in keys), stars.index("**") - 1)
    make = _make_argument if isinstance(node, cst.Call) else _make_item
    return _write_row(node, insert(row, place, make(row, place, key, value)))


def remove_keyword(node: Node, key: str) -> Node:
    """Take every ``key`` away, each with the comment on its line."""
    row = read_row(node)
    for place in reversed(range(len(row.elements))):
        if _read_key(row.elements[place]) == key:
            row = remove(row, place)
    return _write_row(node, row)


def find_values(node: Node, key: str) -> list[cst.BaseExpression]:
    """The values of that key; the last one wins."""
    return [element.value for element in read_row(node).elements if _read_key(element) == key]


def find_quote(node: Node) -> str:
    """The quote character of the strings of ``node``: of its path, its type, any value, any key, else ``"``."""
    ranked = sorted(read_row(node).elements, key=lambda each: [*AFTER, _read_key(each)].index(_read_key(each)))
    strings = [each.value for each in ranked] + [getattr(each, "key", None) for each in ranked]
    return next((each.quote[0] for each in strings if isinstance(each, cst.SimpleString)), '"')


def _read_key(element: Any) -> str | None:
    if isinstance(element, cst.Arg):
        return element.keyword.value if element.keyword is not None else None
    found = getattr(getattr(element, "key", None), "evaluated_value", None)
    return found if isinstance(found, str) else None


def _make_argument(row: Row, place: int, key: str, value: cst.BaseExpression) -> cst.Arg:
    signs = (near.equal for near in _sort_by_distance(row, place) if isinstance(near, cst.Arg))
    equal = next((sign for sign in signs if isinstance(sign, cst.AssignEqual)), cst.AssignEqual(NOTHING, NOTHING))
    sign = cst.AssignEqual(_copy_space(equal.whitespace_before), _copy_space(equal.whitespace_after))
    return cst.Arg(value, cst.Name(key), sign)


def _make_item(row: Row, place: int, key: str, value: cst.BaseExpression) -> cst.DictElement:
    items = [near for near in _sort_by_distance(row, place) if isinstance(near, cst.DictElement)]
    quote = next((near.key.quote[0] for near in items if isinstance(near.key, cst.SimpleString)), '"')
    before = _copy_space(items[0].whitespace_before_colon if items else NOTHING)
    after = _copy_space(items[0].whitespace_after_colon if items else _SPACE)
    name = cst.SimpleString(write_literal(key, quote))
    return cst.DictElement(name, value, cst.MaybeSentinel.DEFAULT, before, after)


def _sort_by_distance(row: Row, place: int) -> list[cst.CSTNode]:
    return [row.elements[i] for i in sorted(range(len(row.elements)), key=lambda i: abs(i - place))]


def _copy_space(gap: Gap) -> Gap:
    """The space at the sign of a neighbour; one space where signs are lined up by several."""
    plain = isinstance(gap, cst.SimpleWhitespace) and "\\" not in gap.value
    return cst.SimpleWhitespace(gap.value[:1]) if plain and isinstance(gap, cst.SimpleWhitespace) else NOTHING


# --- rows --------------------------------------------------------------------------------------


def read_row(node: Node) -> Row:
    """The row of a call's arguments or of a dict's items."""
    if isinstance(node, cst.Call):
        last = node.args[-1].whitespace_after_arg if node.args else NOTHING
        return make_row(node.whitespace_before_args, node.args, last)
    row = make_row(node.lbrace.whitespace_after, node.elements, NOTHING)
    return Row(row.elements, (*row.gaps[:-1], node.rbrace.whitespace_before), row.trailing) if node.elements else row


def make_row(opening: Gap, elements: Sequence[Any], closing: Gap) -> Row:
    """A row of elements with their commas; ``closing`` counts where no comma follows the last one."""
    commas = [each.comma if isinstance(each.comma, cst.Comma) else None for each in elements]
    if any(comma is not None and _is_line_break(comma.whitespace_before) for comma in commas):
        raise EditError(0, "a line that begins with a comma is not edited")
    behind = [closing if comma is None else comma.whitespace_after for comma in commas]
    return Row(tuple(elements), (opening, *behind), bool(commas) and commas[-1] is not None)


def set_commas(row: Row) -> list[Any]:
    """The elements, each with its comma and the gap behind it; a last one without a comma is left to the caller."""
    written = []
    for element, gap in zip(row.elements, row.gaps[1:], strict=True):
        comma: cst.Comma | cst.MaybeSentinel = cst.MaybeSentinel.DEFAULT
        if row.trailing or element is not row.elements[-1]:
            comma = element.comma if isinstance(element.comma, cst.Comma) else cst.Comma()
            comma = comma.with_changes(whitespace_after=gap)
        written.append(element.with_changes(comma=comma))
    return written


def _write_row(node: Node, row: Row) -> Node:
    written, closing = set_commas(row), row.gaps[-1]
    if isinstance(node, cst.Call):
        inner = [NOTHING if isinstance(each.comma, cst.Comma) else closing for each in written]
        args = [each.with_changes(whitespace_after_arg=gap) for each, gap in zip(written, inner, strict=True)]
        return node.with_changes(args=args, whitespace_before_args=row.gaps[0])
    if row.trailing:
        written[-1] = written[-1].with_deep_changes(written[-1].comma, whitespace_after=NOTHING)
    return node.with_changes(
        elements=written,
        lbrace=node.lbrace.with_changes(whitespace_after=row.gaps[0]),
        rbrace=node.rbrace.with_changes(whitespace_before=closing if written else NOTHING),
    )


def insert(row: Row, place: int, element: Any) -> Row:
    """Put ``element`` after the one at ``place`` (-1: first), on a line of its own where that one has one."""
    if not row.elements:
        opening = row.gaps[0]
        if not isinstance(opening, cst.ParenthesizedWhitespace):
            return Row((element,), (opening, NOTHING), trailing=False)
        inner = opening.with_changes(last_line=cst.SimpleWhitespace(opening.last_line.value + "    "))
        return Row((element,), (inner, _end_line(opening).with_changes(empty_lines=())), trailing=True)
    last, gap = place == len(row.elements) - 1, row.gaps[place + 1]
    style = row.gaps[1 if place == 0 and not last else max(place, 0)]
    if isinstance(style, cst.ParenthesizedWhitespace) and (place < 0 or last or _is_line_break(gap)):
        ahead, behind = _split_gap(style, gap)
    elif place < 0:
        ahead, behind = gap, _SPACE
    else:
        ahead, behind = _find_separator(row, place), gap
    element = element.with_changes(comma=row.elements[max(place, 0)].comma)  # with the space before it
    elements = (*row.elements[: place + 1], element, *row.elements[place + 1 :])
    return Row(elements, (*row.gaps[: place + 1], ahead, behind, *row.gaps[place + 2 :]), row.trailing)


def remove(row: Row, place: int) -> Row:
    """Take an element away: what :func:`insert` does, undone."""
    ahead, behind = row.gaps[place], row.gaps[place + 1]
    first, last = place == 0, place == len(row.elements) - 1
    if first and not (_is_line_break(behind) and (last or _is_line_break(ahead))):
        gap = ahead
        if isinstance(behind, cst.ParenthesizedWhitespace) and behind.empty_lines:
            gap = _end_line(behind)  # comments on lines of their own stay
    elif last or _is_line_break(behind) or not _is_line_break(ahead):
        gap = _join_gaps(ahead, behind)
    else:
        gap = ahead  # the next one moves up to its place
    elements = (*row.elements[:place], *row.elements[place + 1 :])
    return Row(elements, (*row.gaps[:place], gap, *row.gaps[place + 2 :]), row.trailing and bool(elements))


# --- white space -------------------------------------------------------------------------------


def _is_line_break(gap: Gap) -> bool:
    return isinstance(gap, cst.ParenthesizedWhitespace)


def _end_line(gap: cst.ParenthesizedWhitespace) -> cst.ParenthesizedWhitespace:
    """``gap`` without the comment and the spaces at the end of its first line."""
    return gap.with_changes(first_line=cst.TrailingWhitespace(newline=gap.first_line.newline))


def _find_separator(row: Row, place: int) -> Gap:
    """The space behind a comma on the same line, as near as possible as written elsewhere."""
    gaps = (*reversed(row.gaps[1 : place + 1]), *row.gaps[place + 1 : -1])
    return next((gap for gap in gaps if isinstance(gap, cst.SimpleWhitespace) and "\\" not in gap.value), _SPACE)


def _split_gap(style: cst.ParenthesizedWhitespace, gap: Gap) -> tuple[Gap, Gap]:
    """Cut ``gap`` for a new line in it that is indented as ``style`` is; comments on lines of their own stay behind."""
    if isinstance(gap, cst.ParenthesizedWhitespace):
        return gap.with_changes(empty_lines=(), last_line=style.last_line), _end_line(gap)
    return _end_line(style).with_changes(empty_lines=()), gap


def _join_gaps(ahead: Gap, behind: Gap) -> Gap:
    """Undo :func:`_split_gap`: what is left when the line between the two goes, with the comment at its end."""
    if not isinstance(ahead, cst.ParenthesizedWhitespace):
        return behind
    if isinstance(behind, cst.ParenthesizedWhitespace):
        lines = (*ahead.empty_lines, *behind.empty_lines)
        return ahead.with_changes(empty_lines=lines, last_line=behind.last_line)
    return ahead if ahead.first_line.comment or ahead.empty_lines else behind
