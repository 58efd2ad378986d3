"""Add, replace or remove one keyword of a libcst ``f(...)`` call or ``{...}`` dict, in the style that stands there.

A call and a dict are looked at in the same way, as a row: an opening gap, then items, each with the white space before
and after its comma; the white space after the last item is the closing gap. Adding and removing are each other's
inverse, to the byte, whatever the style.
"""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Sequence
from typing import TypeVar, cast

import libcst as cst

from rewriter.frozen import Frozen, replace

Node = TypeVar("Node", cst.Call, cst.Dict)
Element = cst.Arg | cst.DictElement | cst.StarredDictElement
Gap = cst.BaseParenthesizableWhitespace

AFTER = ("from_pretrained", "type")
_NOTHING = cst.SimpleWhitespace("")
_SPACE = cst.SimpleWhitespace(" ")


class EditError(Exception):
    """An edit that cannot be made. ``line`` is 1-based in the file, or None where the caller knows it."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class _Item(Frozen):
    node: Element
    before: Gap  # before the comma
    after: Gap  # after the comma; of the last item: the closing gap


class _Row(Frozen):
    opening: Gap
    items: tuple[_Item, ...]
    trailing: bool  # a comma after the last item


# --- the three edits ---------------------------------------------------------------------------


def add_keyword(node: Node, key: str, value: cst.BaseExpression, after: Sequence[str] = AFTER) -> Node:
    """Give ``node`` a keyword that it lacks.

    It goes after the first of ``after`` that is there, else last; in a call without any of them before ``**kwargs``,
    in a dict with a ``**spread`` behind that place last, so that it wins.

    Raises:
        EditError: the key cannot be a keyword argument, or the call holds a bare generator.
    """
    row = _read(node)
    if isinstance(node, cst.Call):
        if not key.isidentifier() or keyword.iskeyword(key):
            raise EditError(f"{key!r} cannot be a keyword argument of a call")
        if any(isinstance(a.value, cst.GeneratorExp) and not a.value.lpar for a in node.args):
            raise EditError("a call with a bare generator takes no further argument")
        place = _place_in_call(node, after)
        element: Element = _new_arg(row, place, key, value)
    else:
        place = _place_in_dict(node, after)
        element = _new_dict_element(row, place, key, value)
    return _write(node, _insert(row, place, element))


def replace_keyword(node: Node, key: str, value: cst.BaseExpression) -> Node:
    """Give the keyword that wins under ``key``, which is there, another value in its place."""
    row = _read(node)
    items = list(row.items)
    place = max(i for i, item in enumerate(items) if _key_of(item.node) == key)
    items[place] = replace(items[place], node=items[place].node.with_changes(value=value))
    return _write(node, replace(row, items=tuple(items)))


def remove_keyword(node: Node, key: str) -> Node:
    """Take every ``key`` away; the exact inverse of :func:`add_keyword`. Without such a key ``node`` comes back."""
    row = _read(node)
    for index in reversed([i for i, item in enumerate(row.items) if _key_of(item.node) == key]):
        row = _delete(row, index)
    return _write(node, row)


def keyword_value(node: cst.Call | cst.Dict, key: str) -> cst.BaseExpression | None:
    """The value expression that wins under ``key``, or None."""
    return next(reversed(keyword_values(node, key)), None)


def keyword_values(node: cst.Call | cst.Dict, key: str) -> list[cst.BaseExpression]:
    """The value expressions under ``key``, of which the last one wins."""
    return [element.value for element in _elements(node) if _key_of(element) == key]


def quote_near(node: cst.Call | cst.Dict) -> str:
    """The quote character of the strings of ``node``: of its path, its type, any value, any key, else ``"``."""
    order: dict[str | None, int] = {key: i for i, key in enumerate(AFTER)}
    elements = sorted(_elements(node), key=lambda e: order.get(_key_of(e), len(AFTER)))
    for element in elements:
        if isinstance(element.value, cst.SimpleString):
            return element.value.quote[0]
    for element in elements:
        if isinstance(element, cst.DictElement) and isinstance(element.key, cst.SimpleString):
            return element.key.quote[0]
    return '"'


# --- rows --------------------------------------------------------------------------------------


def _elements(node: cst.Call | cst.Dict) -> list[Element]:
    return cast("list[Element]", list(node.args if isinstance(node, cst.Call) else node.elements))


def _read(node: cst.Call | cst.Dict) -> _Row:
    elements = _elements(node)
    opening = node.whitespace_before_args if isinstance(node, cst.Call) else node.lbrace.whitespace_after
    items = []
    for element in elements:
        comma = element.comma
        if isinstance(comma, cst.Comma):
            items.append(_Item(element, comma.whitespace_before, comma.whitespace_after))
        else:
            items.append(_Item(element, _NOTHING, _NOTHING))
    trailing = bool(elements) and isinstance(elements[-1].comma, cst.Comma)
    if items and isinstance(node, cst.Dict):
        items[-1] = replace(items[-1], after=node.rbrace.whitespace_before)
    elif items and not trailing:
        items[-1] = replace(items[-1], after=cast(cst.Arg, elements[-1]).whitespace_after_arg)
    return _Row(opening, tuple(items), trailing)


def _write(node: Node, row: _Row) -> Node:
    last = len(row.items) - 1
    if isinstance(node, cst.Dict):
        elements = [
            item.node.with_changes(
                comma=cst.MaybeSentinel.DEFAULT
                if i == last and not row.trailing
                else cst.Comma(item.before, _NOTHING if i == last else item.after)
            )
            for i, item in enumerate(row.items)
        ]
        closing = row.items[-1].after if row.items else _NOTHING
        return node.with_changes(
            elements=elements,
            lbrace=node.lbrace.with_changes(whitespace_after=row.opening),
            rbrace=node.rbrace.with_changes(whitespace_before=closing),
        )
    args = [
        item.node.with_changes(comma=cst.MaybeSentinel.DEFAULT, whitespace_after_arg=item.after)
        if i == last and not row.trailing
        else item.node.with_changes(comma=cst.Comma(item.before, item.after), whitespace_after_arg=_NOTHING)
        for i, item in enumerate(row.items)
    ]
    return node.with_changes(args=args, whitespace_before_args=row.opening)


def _insert(row: _Row, place: int, element: Element) -> _Row:
    """Put ``element`` after the item at ``place`` (-1: first)."""
    if not row.items:
        return _insert_into_empty(row, element)
    if place < 0:
        return _insert_first(row, element)
    item, last = row.items[place], place == len(row.items) - 1
    bare_end = last and not row.trailing
    style = _line_style(row, place)
    if style is None:
        before, after = _inline_separator(row, place)
        pair = (replace(item, before=before, after=after), _Item(element, item.before, item.after))
    elif bare_end and _comma_first(style):
        ahead, behind = _split(style.before, item.after)
        pair = (replace(item, before=ahead, after=style.after), _Item(element, _NOTHING, behind))
    elif _comma_first(item):
        ahead, behind = _split(_line_break(style), item.before)
        pair = (replace(item, before=ahead), _Item(element, behind, item.after))
    else:
        ahead, behind = _split(_line_break(style), item.after)
        before = _plain(style.before) if bare_end else item.before
        pair = (replace(item, before=before, after=ahead), _Item(element, _plain(item.before), behind))
    return replace(row, items=(*row.items[:place], *pair, *row.items[place + 1 :]))


def _insert_into_empty(row: _Row, element: Element) -> _Row:
    gap = row.opening
    if not isinstance(gap, cst.ParenthesizedWhitespace):
        return _Row(gap, (_Item(element, _NOTHING, _NOTHING),), trailing=False)
    inner = gap.with_changes(last_line=cst.SimpleWhitespace(gap.last_line.value + "    "))
    closing = gap.with_changes(first_line=_bare_line(gap), empty_lines=())
    return _Row(inner, (_Item(element, _NOTHING, closing),), trailing=True)


def _insert_first(row: _Row, element: Element) -> _Row:
    gap, first = row.opening, row.items[0]
    own_line = isinstance(gap, cst.ParenthesizedWhitespace) and (len(row.items) == 1 or _breaks(first))
    after: Gap = _SPACE
    if own_line:
        after = cast(cst.ParenthesizedWhitespace, gap)
        after = after.with_changes(first_line=_bare_line(after), empty_lines=())
    return _Row(gap, (_Item(element, _NOTHING, after), *row.items), row.trailing)


def _delete(row: _Row, index: int) -> _Row:
    items, item = row.items, row.items[index]
    if index == 0:
        return _delete_first(row)
    previous, last = items[index - 1], index == len(items) - 1
    bare_end = last and not row.trailing
    if not _breaks(previous):
        merged = replace(previous, before=item.before, after=item.after)
    elif not last and not _breaks(item):
        merged = previous  # the next item moves up to this one's place
    elif _comma_first(previous):
        if bare_end:
            merged = replace(previous, after=_join(previous.before, item.after))
        else:
            merged = replace(previous, before=_join(previous.before, item.before), after=item.after)
    else:
        after = _join(previous.after, _join(item.before, item.after))
        if bare_end and _has_newline(previous.before):
            after = _join(previous.before, after)
        merged = replace(previous, after=after)
    return replace(row, items=(*items[: index - 1], merged, *items[index + 1 :]))


def _delete_first(row: _Row) -> _Row:
    item, rest, opening = row.items[0], row.items[1:], row.opening
    gap = _join(item.before, item.after)
    if not rest:
        if isinstance(opening, cst.SimpleWhitespace) and isinstance(gap, cst.SimpleWhitespace):
            return replace(row, opening=cst.SimpleWhitespace(opening.value + gap.value), items=())
        return replace(row, opening=_join(opening, gap), items=())
    if isinstance(gap, cst.ParenthesizedWhitespace):
        if _has_newline(opening):
            opening = _join(opening, gap)
        elif gap.empty_lines:
            opening = gap.with_changes(first_line=_bare_line(gap))  # own-line comments stay
    return replace(row, opening=opening, items=rest)


# --- white space -------------------------------------------------------------------------------


def _has_newline(gap: Gap) -> bool:
    return isinstance(gap, cst.ParenthesizedWhitespace)


def _breaks(item: _Item) -> bool:
    return _has_newline(item.before) or _has_newline(item.after)


def _comma_first(item: _Item) -> bool:
    return _has_newline(item.before) and not _has_newline(item.after)


def _line_break(item: _Item) -> Gap:
    return item.after if _has_newline(item.after) else item.before


def _plain(gap: Gap) -> Gap:
    return _NOTHING if _has_newline(gap) else gap


def _bare_line(gap: cst.ParenthesizedWhitespace) -> cst.TrailingWhitespace:
    """The end of a line, without comment or spaces, in the line ends of ``gap``."""
    return cst.TrailingWhitespace(newline=gap.first_line.newline)


def _line_style(row: _Row, place: int) -> _Item | None:
    """The separator to copy for an item on a line of its own after ``place``, or None for one on the same line."""
    item, last = row.items[place], place == len(row.items) - 1
    if not last and not _breaks(item):
        return None
    if place == 0:
        if not last:
            return item
        return _Item(item.node, _NOTHING, row.opening) if _has_newline(row.opening) else None
    previous = row.items[place - 1]
    return previous if _breaks(previous) else None


def _inline_separator(row: _Row, place: int) -> tuple[Gap, Gap]:
    """White space round the comma before a new item on the same line, as near as possible as written elsewhere."""
    separators = row.items[:-1]
    for item in (*reversed(separators[:place]), *separators[place:]):
        if all(isinstance(g, cst.SimpleWhitespace) and "\\" not in g.value for g in (item.before, item.after)):
            return item.before, item.after
    return _NOTHING, _SPACE


def _split(style: Gap, gap: Gap) -> tuple[Gap, Gap]:
    """Cut ``gap`` for a new line in it, indented as ``style`` says: what stands before the new item, and after."""
    lines = cast(cst.ParenthesizedWhitespace, style)
    if isinstance(gap, cst.ParenthesizedWhitespace):
        ahead = gap.with_changes(empty_lines=(), last_line=lines.last_line)
        return ahead, gap.with_changes(first_line=_bare_line(gap))
    return lines.with_changes(first_line=_bare_line(lines), empty_lines=()), gap


def _join(ahead: Gap, behind: Gap) -> Gap:
    """Undo :func:`_split`: the gap that is left when the line between the two goes, its trailing comment with it."""
    if not isinstance(ahead, cst.ParenthesizedWhitespace):
        return behind
    if isinstance(behind, cst.ParenthesizedWhitespace):
        lines = (*ahead.empty_lines, *behind.empty_lines)
        return ahead.with_changes(empty_lines=lines, last_line=behind.last_line)
    return ahead if ahead.first_line.comment or ahead.empty_lines else behind


# --- elements ----------------------------------------------------------------------------------


def _key_of(element: Element) -> str | None:
    if isinstance(element, cst.Arg):
        if element.keyword is None:
            return None
        return unicodedata.normalize("NFKC", element.keyword.value)  # as Python itself reads names
    if isinstance(element, cst.DictElement) and isinstance(element.key, cst.SimpleString | cst.ConcatenatedString):
        value = element.key.evaluated_value
        return value if isinstance(value, str) else None
    return None


def _place_in_call(node: cst.Call, after: Sequence[str]) -> int:
    keys = [_key_of(a) for a in node.args]
    for key in after:
        if key in keys:
            return keys.index(key)
    stars = [i for i, a in enumerate(node.args) if a.star == "**"]
    return stars[0] - 1 if stars else len(keys) - 1


def _place_in_dict(node: cst.Dict, after: Sequence[str]) -> int:
    keys = [_key_of(e) for e in _elements(node)]
    place = len(keys) - 1
    for key in after:
        if key in keys:
            place = len(keys) - 1 - keys[::-1].index(key)
            break
    spread_behind = any(isinstance(e, cst.StarredDictElement) for e in node.elements[place + 1 :])
    return len(keys) - 1 if spread_behind else place


def _nearest(row: _Row, place: int) -> list[Element]:
    order = sorted(range(len(row.items)), key=lambda i: abs(i - place))
    return [row.items[i].node for i in order]


def _sign_gap(gaps: list[tuple[int, Gap]], size: int, default: Gap) -> Gap:
    """The space before a sign (``=``, ``:``, the value) behind a key of ``size`` letters, as its neighbours have it.

    ``gaps``: size of the key and space of each neighbour, nearest first. Signs that are lined up stay lined up.
    """
    plain = [(n, g.value) for n, g in gaps if isinstance(g, cst.SimpleWhitespace) and "\\" not in g.value]
    if not plain:
        return default
    if any(len(space) > 1 for _, space in plain):
        columns = {n + len(space) for n, space in plain}
        return cst.SimpleWhitespace(" " * max(1, columns.pop() - size) if len(columns) == 1 else plain[0][1][:1])
    return cst.SimpleWhitespace(plain[0][1])


def _new_arg(row: _Row, place: int, key: str, value: cst.BaseExpression) -> cst.Arg:
    signs = [
        (len(near.keyword.value), near.equal)
        for near in _nearest(row, place)
        if isinstance(near, cst.Arg) and near.keyword and isinstance(near.equal, cst.AssignEqual)
    ]
    before = _sign_gap([(n, sign.whitespace_before) for n, sign in signs], len(key), _NOTHING)
    after = _sign_gap([(n, sign.whitespace_after) for n, sign in signs], len(key), _NOTHING)
    return cst.Arg(keyword=cst.Name(key), value=value, equal=cst.AssignEqual(before, after))


def _new_dict_element(row: _Row, place: int, key: str, value: cst.BaseExpression) -> cst.DictElement:
    if not key.isprintable():
        raise EditError(f"{key!r} cannot be written as a key")
    keyed = [
        (near.key, near)
        for near in _nearest(row, place)
        if isinstance(near, cst.DictElement) and isinstance(near.key, cst.SimpleString)
    ]
    quote = keyed[0][0].quote[0] if keyed else '"'
    before = _sign_gap([(len(k.raw_value), e.whitespace_before_colon) for k, e in keyed], len(key), _NOTHING)
    after = _sign_gap([(len(k.raw_value), e.whitespace_after_colon) for k, e in keyed], len(key), _SPACE)
    body = key.replace("\\", "\\\\").replace(quote, "\\" + quote)
    return cst.DictElement(cst.SimpleString(quote + body + quote), value, cst.MaybeSentinel.DEFAULT, before, after)
