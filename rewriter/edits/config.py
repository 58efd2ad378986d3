"""Set or remove keywords of the dicts of one config file: bytes in, bytes out, nothing else touched.

libcst parses the expressions that hold the dicts and nothing around them; the result is spliced back. So every other
byte stays by construction, and an edit costs what it changes, not what the file holds.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Sequence

import libcst as cst

from rewriter.decoding import decode
from rewriter.edits.keywords import (
    EditError,
    Node,
    add_keyword,
    keyword_value,
    keyword_values,
    quote_near,
    remove_keyword,
    replace_keyword,
)
from rewriter.types import REMOVE, ConfigChange, Problem, Span

__all__ = ["EditError", "edit_config", "same", "write_literal"]

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NEWLINE = re.compile(rb"\r\n|\r|\n")


def edit_config(data: bytes, changes: Sequence[ConfigChange]) -> bytes:
    """Make ``changes`` in the config file ``data``.

    A keyword that is there keeps its place; a new one goes after ``from_pretrained``, else after ``type``, else last,
    in the style around it. A value that is already the one asked for is not written again. Removing gives back, to the
    byte, what an earlier call added to.

    Args:
        data: the bytes of the file, from which the components of ``changes`` were read.
        changes: values are str, bool, int, float, None and lists, tuples, dicts of these, or :data:`REMOVE`.

    Raises:
        EditError: with the line, where a change cannot be made; then nothing is changed.
    """
    source = decode(data)
    if isinstance(source, Problem):
        raise EditError(source.message, source.line)
    text, starts = source.utf8, _line_starts(source.utf8)
    grown: list[tuple[int, int]] = []  # where a dict was edited, and by how many bytes it grew
    # Later dicts first, so that the places of earlier ones hold; one around an edited one ends where that one grew to.
    for span, asked in sorted(_by_dict(changes).items(), key=lambda item: _order(item[0]), reverse=True):
        start, end = starts[span.line - 1] + span.column, starts[span.end_line - 1] + span.end_column
        end += sum(size for place, size in grown if place < end)
        try:
            new = _edit_dict(text[start:end], asked, source.encoding)
        except EditError as error:
            raise EditError(error.message, error.line or span.line) from error
        grown.append((start, len(new) - (end - start)))
        text = text[:start] + new + text[end:]
    if text == source.utf8:
        return data
    try:
        if source.encode(source.utf8) != data:
            raise EditError(f"the file does not survive decoding and encoding as {source.encoding}", 1)
        return source.encode(text)
    except UnicodeError as error:
        raise EditError(f"the file cannot be written as {source.encoding}: {error}", 1) from error


def write_literal(value: object, quote: str = '"', encoding: str = "utf-8") -> str:
    """The source of a literal: one line, no prefix, nothing in it that Python, mmengine or a terminal would act upon.

    Args:
        value: str, bytes, bool, int, float, None, or a list, tuple, dict or set of these.
        quote: the quote character to prefer; the other is taken where that saves escapes.
        encoding: of the file; letters that it lacks are escaped.

    Raises:
        EditError: the value has no literal (a nan, an object).
    """
    try:
        text = _literal(value, quote, encoding)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise EditError(f"{value!r:.100} cannot be written as a Python literal") from error
    if not same(again, value):
        raise EditError(f"{value!r:.100} cannot be written as a Python literal")
    return text


def same(one: object, other: object) -> bool:
    """Whether two literals are the same to a build: equal, and of equal types all the way down (True is not 1)."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return len(one) == len(other) and all(map(same, one, other)) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


# --- one dict ----------------------------------------------------------------------------------


class _DictEdit(cst.CSTTransformer):
    """Makes the changes in the outermost call or dict of an expression; visits no deeper than that."""

    def __init__(self, changes: Sequence[ConfigChange], encoding: str) -> None:
        super().__init__()
        self.changes = changes
        self.encoding = encoding
        self.found = False

    def visit_Call(self, node: cst.Call) -> bool:  # noqa: N802 - libcst's name
        return False

    def visit_Dict(self, node: cst.Dict) -> bool:  # noqa: N802
        return False

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:  # noqa: N802
        if not isinstance(original_node.func, cst.Name) or original_node.func.value != "dict":
            return updated_node
        for change in self.changes:
            updated_node = _apply(updated_node, change, self.encoding)
        self.found = True
        return updated_node

    def leave_Dict(self, original_node: cst.Dict, updated_node: cst.Dict) -> cst.Dict:  # noqa: N802
        for change in self.changes:
            updated_node = _apply(updated_node, change, self.encoding)
        self.found = True
        return updated_node


_Key = tuple[bytes, str, tuple[tuple[str, str], ...]]
_EDITED: dict[_Key, bytes] = {}
_MOST_EDITED = 500


def _edit_dict(expression: bytes, changes: Sequence[ConfigChange], encoding: str) -> bytes:
    """The edited expression. Many configs hold the same dict to the byte: libcst reads it once."""
    if any("spread" in change.component.ways for change in changes):
        return _edit_anew(expression, changes, encoding)  # what is around the dict counts too
    key = expression, encoding, tuple([(change.key, repr(change.value)) for change in changes])
    if key not in _EDITED:
        if len(_EDITED) >= _MOST_EDITED:
            _EDITED.clear()
        _EDITED[key] = _edit_anew(expression, changes, encoding)
    return _EDITED[key]


def _edit_anew(expression: bytes, changes: Sequence[ConfigChange], encoding: str) -> bytes:
    # The brackets let a bare `dict` and its `(` stand on two lines, as they may inside somebody else's brackets.
    text = "(" + expression.decode() + ")"
    edit = _DictEdit(changes, encoding)
    try:
        module = cst.parse_module(text)
        edited = module.visit(edit).code
        kept = module.code == text
    except (cst.ParserSyntaxError, RecursionError) as error:
        raise EditError("libcst cannot read this dict") from error
    if not edit.found or not kept:
        raise EditError("no dict that can be edited stands here")
    return edited[1:-1].encode()


def _apply(node: Node, change: ConfigChange, encoding: str) -> Node:
    key = change.key
    old = keyword_value(node, key)
    if change.value is REMOVE:
        for value in keyword_values(node, key):
            _refuse_to_unbind(key, value)
        return remove_keyword(node, key)
    if old is not None and _stands_already(old, change.value):
        return node
    if old is None:
        _refuse_repetition(node, change)
        quote = quote_near(node)
        return add_keyword(node, key, cst.parse_expression(write_literal(change.value, quote, encoding)))
    _refuse_to_unbind(key, old)
    quote = old.quote[0] if isinstance(old, cst.SimpleString) else quote_near(node)
    return replace_keyword(node, key, cst.parse_expression(write_literal(change.value, quote, encoding)))


def _stands_already(old: cst.BaseExpression, value: object) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return same(ast.literal_eval(cst.Module([]).code_for_node(old).strip()), value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False


def _refuse_to_unbind(key: str, value: cst.BaseExpression) -> None:
    """With ``key=(name := ...)`` a name goes that may be needed elsewhere."""
    todo: list[cst.CSTNode] = [value]
    for node in todo:
        if isinstance(node, cst.NamedExpr) and isinstance(node.target, cst.Name):
            raise EditError(f"the value of {key!r} binds the name {node.target.value!r} besides")
        todo += node.children


def _refuse_repetition(node: cst.Call | cst.Dict, change: ConfigChange) -> None:
    """``dict(**common, key=...)`` is a TypeError where ``common`` holds the key already."""
    component, key = change.component, change.key
    if isinstance(node, cst.Dict) or "spread" not in component.ways or any(o.key == key for o in component.overrides):
        return
    if key in dict(component.values):
        raise EditError(f"{key!r} arrives here by `**` already; a second one would be a TypeError")


# --- literals ----------------------------------------------------------------------------------


def _literal(value: object, quote: str, encoding: str) -> str:
    if isinstance(value, str):
        return _string(value, quote, encoding)
    if isinstance(value, list):
        return "[" + _list(value, quote, encoding) + "]"
    if isinstance(value, tuple):
        return "(" + _list(value, quote, encoding) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, set) and value:
        return "{" + _list(sorted(value, key=repr), quote, encoding) + "}"
    if isinstance(value, dict):
        pairs = (f"{_literal(k, quote, encoding)}: {_literal(v, quote, encoding)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    return repr(value)


def _list(values: Iterable[object], quote: str, encoding: str) -> str:
    return ", ".join(_literal(v, quote, encoding) for v in values)


def _string(value: str, quote: str, encoding: str) -> str:
    other = "'" if quote == '"' else '"'
    if quote in value and other not in value:
        quote = other
    body = "".join(_letter(c, quote, encoding) for c in value)
    # mmengine replaces {{ ... }} in the text of a config before it runs it.
    return quote + body.replace("{{", "{\\x7b") + quote


def _letter(letter: str, quote: str, encoding: str) -> str:
    if letter == quote:
        return "\\" + quote
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable():
        try:
            if letter.isascii() or letter.encode(encoding).decode(encoding) == letter:
                return letter
        except UnicodeError:
            pass
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# --- places ------------------------------------------------------------------------------------


def _line_starts(utf8: bytes) -> list[int]:
    return [0, *(match.end() for match in _NEWLINE.finditer(utf8))]


def _order(span: Span) -> tuple[int, int]:
    return span.line, span.column


def _by_dict(changes: Sequence[ConfigChange]) -> dict[Span, list[ConfigChange]]:
    """Changes of each dict; the same change of one dict that has several names counts once."""
    found: dict[Span, list[ConfigChange]] = {}
    for change in changes:
        component = change.component
        if component.form == "other":
            where = f"`{component.text}`"
            raise EditError(f"{'.'.join(component.keys)} is {where}, not a dict written here", component.span.line)
        asked = found.setdefault(component.span, [])
        earlier = [c for c in asked if c.key == change.key]
        if not earlier:
            asked.append(change)
        elif not same(earlier[0].value, change.value):
            names = f"{'.'.join(earlier[0].component.keys)} and {'.'.join(component.keys)}"
            raise EditError(f"{names} are one dict and cannot get two values of {change.key!r}", component.span.line)
    return found
