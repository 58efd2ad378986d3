"""Add, replace or remove one keyword of a libcst call or dict, written as its neighbours are; all else stays.

A call, a dict and a list of parameters are looked at in one way, as a :class:`Row`. What follows a comma up to the next
element is the gap between the two. Removing what was added gives the old row back, whatever its style.
"""

from __future__ import annotations

import keyword
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst

from rewriter.edit.literals import EditError, is_literal, write_literal
from rewriter.model import REMOVE

__all__ = ["EditError"]

Gap = cst.BaseParenthesizableWhitespace

AFTER = ("from_pretrained", "type")
"""A new keyword of a config goes behind the first of these that is there, in the quotes of that one."""
NOTHING = cst.SimpleWhitespace("")
_SPACE = cst.SimpleWhitespace(" ")
_INNER_GAPS: dict[type, str] = {cst.Arg: "whitespace_after_arg", cst.Param: "whitespace_after_param"}


_EDITED: dict[tuple[str, str, tuple[str, ...], str], str] = {}


class StatementTransformer(cst.CSTTransformer):
    """Changes the one node of ``kinds`` that a statement consists of, by ``edit``; nothing inside it is visited."""

    kinds: tuple[type[cst.CSTNode], ...]

    def edit(self, node: Any) -> Any:
        """The node as it is to be. Raises EditError."""
        raise NotImplementedError

    def on_visit(self, node: cst.CSTNode) -> bool:
        return not isinstance(node, self.kinds)

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode) -> Any:
        return self.edit(updated_node) if isinstance(original_node, self.kinds) else updated_node


# --- keywords ----------------------------------------------------------------------------------


class KeywordTransformer(StatementTransformer):
    """Sets or removes keywords of a call or a dict, in a file of that ``encoding``.

    ``requested``: keys and their values: for literals, an expression of libcst, or REMOVE. A new keyword goes behind
    the first of ``after`` that is there, else last, before ``**``.
    """

    kinds = (cst.Call, cst.Dict)

    def __init__(self, requested: Sequence[tuple[str, object]], after: Sequence[str], encoding: str) -> None:
        super().__init__()
        self.requested, self.after, self.encoding = requested, after, encoding

    def edit(self, node: Any) -> Any:
        row = _read_row(node)
        for key, value in self.requested:
            keys = [_read_key(element) for element in row.elements]
            if keys.count(key) > 1 or keyword.iskeyword(key):
                raise EditError(0, f"{key!r} cannot be set or removed: it is there twice, or a word of Python")
            if value is REMOVE:
                row = remove(row, keys.index(key)) if key in keys else row
            elif key in keys:
                place = keys.index(key)
                if is_literal(cst.Module([]).code_for_node(row.elements[place].value), value):
                    continue  # as it is written
                new = row.elements[place].with_changes(value=self._make_value(row, keys, key, value))
                row = Row((*row.elements[:place], new, *row.elements[place + 1 :]), row.gaps, row.trailing)
            else:
                stars = [*(getattr(element, "star", "") for element in row.elements), "**"]
                place = next((keys.index(each) for each in self.after if each in keys), stars.index("**") - 1)
                near = [row.elements[i] for i in sorted(range(len(keys)), key=lambda i: abs(i - place))]
                make = _make_argument if isinstance(node, cst.Call) else _make_item
                row = insert(row, place, make(near, key, self._make_value(row, keys, key, value)))
        return _write_row(node, row)

    def _make_value(self, row: Row, keys: Sequence[str | None], key: str, value: object) -> cst.BaseExpression:
        """In the quotes of the old value, of the path, the type, any value, any key, else in ``"``."""
        if isinstance(value, cst.BaseExpression):
            return value
        order = [key, *AFTER, *keys]
        ranked = [row.elements[i] for i in sorted(range(len(keys)), key=lambda i: order.index(keys[i]))]
        strings = [*(each.value for each in ranked), *(getattr(each, "key", None) for each in ranked)]
        quote = next((each.quote[0] for each in strings if isinstance(each, cst.SimpleString)), '"')
        return cst.parse_expression(write_literal(value, quote, self.encoding))


def edit_keywords(text: str, requested: Sequence[tuple[str, object]], after: tuple[str, ...], encoding: str) -> str:
    """The source of a call or a dict, edited by :class:`KeywordTransformer`; many configs share their dicts."""
    known = (text, repr(requested), after, encoding)
    if known not in _EDITED:
        # The brackets let it run over lines, as it may inside somebody else's brackets.
        module = cst.parse_module(f"({text})").visit(KeywordTransformer(requested, after, encoding))
        _EDITED[known] = module.code[1:-1]
    return _EDITED[known]


def _read_key(element: Any) -> str | None:
    if isinstance(element, cst.Arg):
        return element.keyword.value if element.keyword is not None else None
    found = getattr(getattr(element, "key", None), "evaluated_value", None)
    return found if isinstance(found, str) else None


def _make_argument(near: Sequence[cst.Arg], key: str, value: cst.BaseExpression) -> cst.Arg:
    signs = (each.equal for each in near if isinstance(each.equal, cst.AssignEqual))
    equal = next(signs, cst.AssignEqual(NOTHING, NOTHING))
    sign = cst.AssignEqual(_copy_space(equal.whitespace_before), _copy_space(equal.whitespace_after))
    return cst.Arg(value, cst.Name(key), sign)


def _make_item(near: Sequence[cst.BaseDictElement], key: str, value: cst.BaseExpression) -> cst.DictElement:
    items = [each for each in near if isinstance(each, cst.DictElement)]
    model = items[0] if items else cst.DictElement(value, value)
    quote = next((each.key.quote[0] for each in items if isinstance(each.key, cst.SimpleString)), '"')
    before, after = _copy_space(model.whitespace_before_colon), _copy_space(model.whitespace_after_colon)
    name = cst.SimpleString(write_literal(key, quote))
    return cst.DictElement(name, value, cst.MaybeSentinel.DEFAULT, before, after)


def _copy_space(gap: Gap) -> Gap:
    """The space at the sign of a neighbour; one space where signs are lined up by several, none for a line break."""
    value = getattr(gap, "value", "")
    return cst.SimpleWhitespace("" if "\\" in value else value[:1])


# --- rows --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What is between two brackets. ``gaps``: the white space in front of each element, and behind the last one.

    ``trailing``: whether a comma follows the last element.
    """

    elements: tuple[Any, ...]
    gaps: tuple[Gap, ...]
    trailing: bool


def make_row(opening: Gap, elements: Sequence[Any], closing: Gap) -> Row:
    """A row of elements with their commas; ``closing`` counts where no comma follows the last one."""
    commas = [each.comma if isinstance(each.comma, cst.Comma) else None for each in elements]
    if any(comma is not None and _is_line_break(comma.whitespace_before) for comma in commas):
        raise EditError(0, "a line that begins with a comma is not edited")
    behind = [closing if comma is None else comma.whitespace_after for comma in commas]
    return Row(tuple(elements), (opening, *behind), bool(commas) and commas[-1] is not None)


def write_elements(row: Row) -> list[Any]:
    """The elements, each with its comma and the gap behind it (but for that of a dict without a trailing comma)."""
    written = []
    for element, gap in zip(row.elements, row.gaps[1:], strict=True):
        changes: dict[str, Any] = {"comma": cst.MaybeSentinel.DEFAULT}
        if row.trailing or element is not row.elements[-1]:
            comma = element.comma if isinstance(element.comma, cst.Comma) else cst.Comma()
            changes["comma"], gap = comma.with_changes(whitespace_after=gap), NOTHING
        if type(element) in _INNER_GAPS:
            changes[_INNER_GAPS[type(element)]] = gap
        written.append(element.with_changes(**changes))
    return written


def _read_row(node: cst.Call | cst.Dict) -> Row:
    if isinstance(node, cst.Call):
        closing = node.args[-1].whitespace_after_arg if node.args else NOTHING
        return make_row(node.whitespace_before_args, node.args, closing)
    row = make_row(node.lbrace.whitespace_after, node.elements, NOTHING)
    return Row(row.elements, (*row.gaps[:-1], node.rbrace.whitespace_before), row.trailing) if node.elements else row


def _write_row(node: cst.Call | cst.Dict, row: Row) -> cst.Call | cst.Dict:
    written = write_elements(row)
    if isinstance(node, cst.Call):
        return node.with_changes(args=written, whitespace_before_args=row.gaps[0])
    lbrace, closing = cst.LeftCurlyBrace(row.gaps[0]), NOTHING if row.trailing or not written else row.gaps[-1]
    return node.with_changes(elements=written, lbrace=lbrace, rbrace=cst.RightCurlyBrace(closing))


def insert(row: Row, place: int, element: Any) -> Row:
    """Put ``element`` after the one at ``place`` (-1: first), on a line of its own where that one has one."""
    if not row.elements:
        return Row((element,), (row.gaps[0], NOTHING), trailing=False)
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
