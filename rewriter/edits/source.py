"""Make the changes of a loader's source file: bytes in, bytes out, nothing else touched.

libcst parses the header of a function, a call or a dict alone, and the result is spliced back: every other byte stays
by construction. White space and line ends are copied from the neighbours.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import libcst as cst

from rewriter.decoding import decode, parse
from rewriter.edits import keywords as rows
from rewriter.edits.config import write_literal
from rewriter.edits.keywords import EditError, add_keyword, keyword_value
from rewriter.frozen import Frozen
from rewriter.types import CACHE_DIR, Problem, SourceChange, Span

__all__ = ["EditError", "edit_source"]

_NEWLINE = re.compile(rb"\r\n|\r|\n")
_ANNOTATIONS = {CACHE_DIR: '"str | None"'}
_DOCS = {CACHE_DIR: ("str", "Hugging Face cache directory to load from.")}
_DOC_FLAG = ("bool", "Load from the cache only, never from the network.")


class _Splice(Frozen):
    """Bytes ``start`` to ``end`` of the text become what ``new`` makes of them."""

    start: int
    end: int
    line: int
    new: Callable[[str], str]


def edit_source(data: bytes, changes: Sequence[SourceChange]) -> bytes:
    """Make ``changes`` in the source file ``data``. What stands already as asked is not written again.

    Args:
        data: the bytes of the file, from which the spans of ``changes`` were read.
        changes: those of this file; the spans are of the old text, also where one lies in another.

    Raises:
        EditError: with the line, where a change cannot be made; then nothing is changed.
    """
    source = decode(data)
    tree = source if isinstance(source, Problem) else parse(source)
    if isinstance(source, Problem) or isinstance(tree, Problem):
        problem = cast(Problem, tree)
        raise EditError(problem.message, problem.line)
    text = source.utf8
    starts = [0, *(match.end() for match in _NEWLINE.finditer(text))]
    grown: list[tuple[int, int]] = []  # where something was put in, and by how many bytes it grew
    for splice in _splices(text, starts, tree, changes, source.encoding):
        end = splice.end + sum(size for place, size in grown if splice.start <= place < splice.end)
        try:
            new = splice.new(text[splice.start : end].decode()).encode()
        except EditError as error:
            raise EditError(error.message, error.line or splice.line) from error
        except (cst.ParserSyntaxError, RecursionError) as error:
            raise EditError("libcst cannot read what stands here", splice.line) from error
        grown.append((splice.start, len(new) - (end - splice.start)))
        text = text[: splice.start] + new + text[end:]
    if text == source.utf8:
        return data
    try:
        if source.encode(source.utf8) != data:
            raise EditError(f"the file does not survive decoding and encoding as {source.encoding}", 1)
        return source.encode(text)
    except UnicodeError as error:
        raise EditError(f"the file cannot be written as {source.encoding}: {error}", 1) from error


def _splices(
    text: bytes, starts: list[int], tree: ast.Module, changes: Sequence[SourceChange], encoding: str
) -> list[_Splice]:
    """What is to be replaced; later places first, inner ones before those around them."""
    places: dict[tuple[str, Span], list[SourceChange]] = {}
    for change in dict.fromkeys(changes):
        kind: str = "call" if change.target == "dict" else change.target
        places.setdefault((kind, change.span), []).append(change)
    found: list[_Splice] = []
    for (kind, span), asked in places.items():
        if span.end_line > len(starts):
            raise EditError("the file ends before the place of a change", span.line)
        start, end = starts[span.line - 1] + span.column, starts[span.end_line - 1] + span.end_column
        if kind == "parameter":
            end = _body_of(tree, span, starts)
            found.append(_Splice(start, end, span.line, _bind(_add_parameters, asked, encoding)))
        elif kind == "call":
            found.append(_Splice(start, end, span.line, _bind(_add_keywords, asked, encoding)))
        elif kind == "value":
            found.append(_Splice(start, end, span.line, _bind(_replace_value, asked, encoding)))
        elif kind == "docstring":
            found.append(_Splice(start, end, span.line, _bind(_add_documentation, asked, encoding)))
        else:
            if len(asked) > 1:
                raise EditError("two guards are asked for at one place", span.line)
            indent = text[starts[span.line - 1] : start].decode()
            guard = _Guard(asked[0], indent, _step_within(text, starts, tree, span), _line_end(text, start), encoding)
            found.append(_Splice(start, start + 2, span.line, guard.put))
    return sorted(found, key=lambda each: (each.start, -each.end), reverse=True)


def _bind(
    function: Callable[[str, list[SourceChange], str], str], changes: list[SourceChange], encoding: str
) -> Callable[[str], str]:
    return lambda text: function(text, changes, encoding)


# --- calls, dicts and values -------------------------------------------------------------------


class _KeywordEdit(cst.CSTTransformer):
    """Gives the outermost call or dict of an expression its new keywords; visits no deeper than that."""

    def __init__(self, changes: Sequence[SourceChange]) -> None:
        super().__init__()
        self.changes = changes
        self.found = False

    def visit_Call(self, node: cst.Call) -> bool:  # noqa: N802 - libcst's name
        return False

    def visit_Dict(self, node: cst.Dict) -> bool:  # noqa: N802
        return False

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:  # noqa: N802
        return self._add(updated_node)

    def leave_Dict(self, original_node: cst.Dict, updated_node: cst.Dict) -> cst.Dict:  # noqa: N802
        return self._add(updated_node)

    def _add(self, node: rows.Node) -> rows.Node:
        self.found = True
        for change in self.changes:
            old = keyword_value(node, change.key)
            if old is None:
                node = add_keyword(node, change.key, cst.parse_expression(change.name), after=())
            elif cst.Module([]).code_for_node(old) != change.name:
                raise EditError(f"{change.key} is given another value here")
        return node


def _add_keywords(text: str, changes: list[SourceChange], encoding: str) -> str:
    # The brackets let the expression run over lines, as it may inside somebody else's brackets.
    module = cst.parse_module("(" + text + ")")
    edit = _KeywordEdit(changes)
    edited = module.visit(edit)
    if not edit.found or module.code != "(" + text + ")":
        raise EditError("no call or dict that can be edited stands here")
    return edited.code[1:-1]


def _replace_value(text: str, changes: list[SourceChange], encoding: str) -> str:
    wanted = {change.name or write_literal(change.default, _quote(text), encoding) for change in changes}
    if len(wanted) > 1:
        raise EditError(f"two values are asked for at one place: {', '.join(sorted(wanted))}")
    return wanted.pop()


def _quote(text: str) -> str:
    return "'" if "'" in text and '"' not in text else '"'


# --- parameters --------------------------------------------------------------------------------


class _ParameterEdit(cst.CSTTransformer):
    """Gives a function its new parameters; visits no deeper than its header."""

    def __init__(self, changes: Sequence[SourceChange], encoding: str) -> None:
        super().__init__()
        self.changes = changes
        self.encoding = encoding

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:  # noqa: N802 - libcst's name
        return False

    def leave_FunctionDef(  # noqa: N802
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        for change in self.changes:
            if not any(each.name.value == change.name for each in _named(updated_node.params)):
                updated_node = _with_parameter(updated_node, change, self.encoding)
        return updated_node


def _add_parameters(text: str, changes: list[SourceChange], encoding: str) -> str:
    module = cst.parse_module(text + "pass")
    edited = module.visit(_ParameterEdit(changes, encoding)).code
    if module.code != text + "pass":
        raise EditError("no function that can be edited stands here")
    return edited[: -len("pass")]


def _with_parameter(node: cst.FunctionDef, change: SourceChange, encoding: str) -> cst.FunctionDef:
    """The function with one more parameter: after every other, before ``**kwargs``; keyword-only behind a ``*``."""
    params = node.params
    ahead: list[Any] = [*params.posonly_params]
    if isinstance(params.posonly_ind, cst.ParamSlash):
        ahead.append(params.posonly_ind)
    ahead += params.params
    starred = isinstance(params.star_arg, (cst.Param, cst.ParamStar))
    behind: list[Any] = [params.star_arg, *params.kwonly_params] if starred else []
    last: list[Any] = [params.star_kwarg] if params.star_kwarg is not None else []
    place = len(ahead) + len(behind) - 1
    new = _new(node, change, encoding)
    opening, elements = _insert(node.whitespace_before_params, [*ahead, *behind, *last], place, new)
    first = len(params.posonly_params)
    slash = isinstance(params.posonly_ind, cst.ParamSlash)
    middle = elements[first + slash : len(ahead) + (0 if starred else 1)]
    keyword_only = elements[len(ahead) + 1 : place + 2] if starred else params.kwonly_params
    changed = params.with_changes(
        posonly_ind=elements[first] if slash else params.posonly_ind,
        params=middle,
        star_arg=elements[len(ahead)] if starred else params.star_arg,
        kwonly_params=keyword_only,
    )
    return node.with_changes(params=changed, whitespace_before_params=opening)


def _insert(opening: Any, elements: list[Any], place: int, new: cst.Param) -> tuple[Any, list[Any]]:
    """Put a parameter after the one at ``place`` (-1: first), in the style of the others."""
    items = [_item(each) for each in elements]
    trailing = bool(elements) and isinstance(elements[-1].comma, cst.Comma)
    if items and not trailing:
        gap = (
            elements[-1].whitespace_after_param
            if isinstance(elements[-1], cst.Param)
            else elements[-1].whitespace_after
        )
        items[-1] = rows._Item(items[-1].node, items[-1].before, gap)
    row = rows._insert(rows._Row(opening, tuple(items), trailing), place, cast(Any, new))
    end = len(row.items) - 1
    return row.opening, [_element(item, at == end and not row.trailing) for at, item in enumerate(row.items)]


def _item(element: Any) -> rows._Item:
    comma = element.comma
    if isinstance(comma, cst.Comma):
        return rows._Item(element, comma.whitespace_before, comma.whitespace_after)
    return rows._Item(element, cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def _element(item: rows._Item, bare: bool) -> Any:
    node: Any = item.node
    if bare:
        return node.with_changes(comma=cst.MaybeSentinel.DEFAULT, whitespace_after_param=item.after)
    node = node.with_changes(comma=cst.Comma(item.before, item.after))
    if isinstance(node, cst.Param):
        return node.with_changes(whitespace_after_param=cst.SimpleWhitespace(""))
    return node.with_changes(whitespace_after=cst.SimpleWhitespace("")) if isinstance(node, cst.ParamSlash) else node


def _new(node: cst.FunctionDef, change: SourceChange, encoding: str) -> cst.Param:
    """``name=default``, annotated where all neighbours are."""
    others = [each for each in _named(node.params) if each.name.value not in ("self", "cls")]
    default = cst.parse_expression(write_literal(change.default, _quote_in(others), encoding))
    plain = [each for each in others if not each.star]
    if plain and all(each.annotation is not None for each in plain):
        annotation = cst.Annotation(cst.parse_expression(_ANNOTATIONS.get(change.key, "bool")))
        return cst.Param(cst.Name(change.name), annotation, cst.AssignEqual(), default)
    near = [each.equal for each in reversed(plain) if each.annotation is None and each.default is not None]
    equal = near[0] if near and isinstance(near[0], cst.AssignEqual) else None
    tight = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    return cst.Param(cst.Name(change.name), None, equal or tight, default)


def _named(params: cst.Parameters) -> list[cst.Param]:
    """Every parameter that has a name, in order."""
    star = [each for each in (params.star_arg, params.star_kwarg) if isinstance(each, cst.Param)]
    return [*params.posonly_params, *params.params, *params.kwonly_params, *star]


def _quote_in(params: Sequence[cst.Param]) -> str:
    for each in params:
        if isinstance(each.default, cst.SimpleString):
            return each.default.quote[0]
    return '"'


# --- docstrings --------------------------------------------------------------------------------

_OPENING = re.compile(r"""[a-zA-Z]*("{3}|'{3})""")
_ENTRY = re.compile(
    r"(?P<indent>[ \t]*)(?P<name>\w+)(?P<type>[ ]*\([^)\n]*\))?(?P<before>[ ]*)(?P<sign>:|--)(?P<after>[ ]*)"
)


def _add_documentation(text: str, changes: list[SourceChange], encoding: str) -> str:
    for change in reversed(changes):  # each goes right behind the last that is listed
        text = _documented(text, change)
    return text


def _documented(text: str, change: SourceChange) -> str:
    """A docstring with one more line, after the entry of the last parameter that it lists (``assign``: the others)."""
    opening = _OPENING.match(text)
    if opening is None or text.count(opening[1]) != 2:
        return text  # a string of one line, or several side by side
    lines = text[:-3].splitlines(keepends=True)
    names = {name for name, _ in change.assign}
    entries = [(at, found) for at, line in enumerate(lines) if (found := _ENTRY.match(line))]
    listed = [(at, found) for at, found in entries if found["name"] in names]
    if not listed or any(found["name"] == change.name for _, found in entries):
        return text
    at, found = listed[-1]
    end = at + 1
    while end < len(lines) and _is_deeper(lines[end], found["indent"]):
        end += 1
    below = lines[at + 1] if end > at + 1 else found["indent"] + "    ."
    new = _entry(found, change, below[: len(below) - len(below.lstrip())])
    line_end = lines[0][len(lines[0].rstrip("\r\n")) :]
    # Behind the last line of all stand the quotes.
    put_in = "".join(each + line_end for each in new) if end < len(lines) else "".join(line_end + each for each in new)
    return "".join([*lines[:end], put_in, *lines[end:], opening[1]])


def _entry(like: re.Match[str], change: SourceChange, deeper: str) -> list[str]:
    """The lines of a new entry in the style of another. ``deeper``: how lines below an entry are indented."""
    kind, meaning = _DOCS.get(change.key, _DOC_FLAG)
    indent, name, sign = like["indent"], change.name, like["sign"].strip()
    if not like["type"] and sign == ":" and like["before"]:  # as NumPy has it: `name : type`, and the meaning below
        return [f"{indent}{name}{like['before']}: {kind}, optional", f"{deeper}{meaning}"]
    word = f"{name} ({kind}, optional)" if like["type"] else name
    before = like["before"]
    if len(before) > 1:  # signs that are lined up
        before = " " * max(1, len(like["name"]) + len(like["type"] or "") + len(before) - len(word))
    return [f"{indent}{word}{before}{sign}{like['after']}{meaning}"]


def _is_deeper(line: str, indent: str) -> bool:
    """Whether a line goes on with the entry above it."""
    return bool(line.strip()) and line.startswith((indent + " ", indent + "\t"))


# --- guards ------------------------------------------------------------------------------------


class _Guard(Frozen):
    """Turns ``if x:`` into ``if name is not None: ... elif x:``, by what is put before it."""

    change: SourceChange
    indent: str
    step: str
    line_end: str
    encoding: str

    def put(self, text: str) -> str:
        if text != "if":
            raise EditError("no `if` that can be edited stands here")
        strings: dict[str, list[str]] = {}
        for variable, string in self.change.assign:
            strings.setdefault(string, []).append(variable)
        ahead = f"if {self.change.name} is not None:{self.line_end}"
        for string, variables in strings.items():
            chain = " = ".join([*variables, write_literal(string, '"', self.encoding)])
            ahead += f"{self.indent}{self.step}{chain}{self.line_end}"
        return f"{ahead}{self.indent}el{text}"


def _step_within(text: bytes, starts: list[int], tree: ast.Module, span: Span) -> str:
    """What the body of the ``if`` at ``span`` is indented by, more than itself."""
    first: ast.stmt = _node_at(tree, span, ast.If).body[0]
    if first.lineno == span.line:
        return "    "
    start = starts[first.lineno - 1]
    return text[start + span.column : start + first.col_offset].decode()


def _line_end(text: bytes, place: int) -> str:
    found = _NEWLINE.search(text, place)
    return found[0].decode() if found else "\n"


# --- places ------------------------------------------------------------------------------------


def _body_of(tree: ast.Module, span: Span, starts: list[int]) -> int:
    """Where the first statement of the function at ``span`` starts (its decorators included)."""
    first: ast.stmt = _node_at(tree, span, (ast.FunctionDef, ast.AsyncFunctionDef)).body[0]
    decorators: list[ast.expr] = getattr(first, "decorator_list", [])
    if decorators:  # its own column is that of the `def` below it
        return starts[decorators[0].lineno - 1] + first.col_offset
    return starts[first.lineno - 1] + first.col_offset


def _node_at(tree: ast.Module, span: Span, kinds: Any) -> Any:
    for node in ast.walk(tree):
        if isinstance(node, kinds):
            place = (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
            if place == (span.line, span.column, span.end_line, span.end_column):
                return node
    raise EditError("what is to be changed does not stand here", span.line)
