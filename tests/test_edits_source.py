"""Edits of loaders' sources: the style of the neighbours is kept, and every other byte."""

from __future__ import annotations

import ast

import pytest

from rewriter.edits.source import EditError, edit_source
from rewriter.types import SourceChange, SourceTarget, Span

KINDS = {"parameter": (ast.FunctionDef, ast.AsyncFunctionDef), "call": (ast.Call,), "dict": (ast.Dict,)}


def span_of(node: ast.AST) -> Span:
    return Span(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]


def change(data: bytes, target: SourceTarget, which: int = 0, key: str = "cache_dir", **more: object) -> SourceChange:
    """A change of the ``which``-th function, call or dict of a source, outermost first."""
    nodes = [node for node in ast.walk(ast.parse(data)) if isinstance(node, KINDS[target])]
    name = str(more.pop("name", key))
    return SourceChange("x.py", target, span_of(nodes[which]), key, name, **more)  # type: ignore[arg-type]


def with_parameter(text: str, **more: object) -> str:
    return edit_source(text.encode(), [change(text.encode(), "parameter", **more)]).decode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(): pass", "def f(cache_dir=None): pass"),
        ("def f(a):\n    pass\n", "def f(a, cache_dir=None):\n    pass\n"),
        ("def f(a, b=1, *c, d, **e): pass\n", "def f(a, b=1, *c, d, cache_dir=None, **e): pass\n"),
        ("def f(a, *, b, c=2):\n    pass\n", "def f(a, *, b, c=2, cache_dir=None):\n    pass\n"),
        ("def f(*a): pass\n", "def f(*a, cache_dir=None): pass\n"),
        ("def f(a, /): pass\n", "def f(a, /, cache_dir=None): pass\n"),
        ("def f(a, /, b): pass\n", "def f(a, /, b, cache_dir=None): pass\n"),
        ("def f(a, /, *, b): pass\n", "def f(a, /, *, b, cache_dir=None): pass\n"),
        ("def f(**kw): pass\n", "def f(cache_dir=None, **kw): pass\n"),
        ("def f(a=1, **kw): pass\n", "def f(a=1, cache_dir=None, **kw): pass\n"),
        ("def f(a,b = 1): pass\n", "def f(a,b = 1,cache_dir = None): pass\n"),
        ("def f( a, b ): pass\n", "def f( a, b, cache_dir=None ): pass\n"),
        ("async def f(a): pass\n", "async def f(a, cache_dir=None): pass\n"),
        (
            "def f(\n    a,\n    b=1,\n):\n    pass\n",
            "def f(\n    a,\n    b=1,\n    cache_dir=None,\n):\n    pass\n",
        ),
        (
            "def f(\n    a,\n    b=1,  # why\n):\n    pass\n",
            "def f(\n    a,\n    b=1,  # why\n    cache_dir=None,\n):\n    pass\n",
        ),
        ("def f(\n    a,\n    b=1\n):\n    pass\n", "def f(\n    a,\n    b=1,\n    cache_dir=None\n):\n    pass\n"),
        (
            "def f(\n    a,\n    **kw,\n):\n    pass\n",
            "def f(\n    a,\n    cache_dir=None,\n    **kw,\n):\n    pass\n",
        ),
        (
            "def f(\n    self, a, b=1\n):\n    pass\n",
            "def f(\n    self, a, b=1, cache_dir=None\n):\n    pass\n",
        ),
        ("def f(a,\n      b):\n    pass\n", "def f(a,\n      b,\n      cache_dir=None):\n    pass\n"),
        (
            "def f(\r\n\ta,\r\n\tb,\r\n):\r\n\tpass\r\n",
            "def f(\r\n\ta,\r\n\tb,\r\n\tcache_dir=None,\r\n):\r\n\tpass\r\n",
        ),
        (
            "def f(self, a: int, b: str = 'x') -> None:\n    pass\n",
            "def f(self, a: int, b: str = 'x', cache_dir: \"str | None\" = None) -> None:\n    pass\n",
        ),
        ("def f(a: int, b=1): pass\n", "def f(a: int, b=1, cache_dir=None): pass\n"),
        (
            "class C:\n    @deco(1)\n    def f(self):  # note\n        # more\n        '''Doc.'''\n",
            "class C:\n    @deco(1)\n    def f(self, cache_dir=None):  # note\n        # more\n        '''Doc.'''\n",
        ),
        ("def f(a):\n    @deco\n    def g(): pass\n", "def f(a, cache_dir=None):\n    @deco\n    def g(): pass\n"),
    ],
)
def test_a_parameter_goes_last_in_the_style_of_its_neighbours(before: str, after: str) -> None:
    assert with_parameter(before) == after
    again = with_parameter(after)
    assert again == after
    compile(after, "x.py", "exec")


def test_a_flag_defaults_to_false_and_is_annotated_as_such() -> None:
    text = "def f(a: int): pass\n"
    assert with_parameter(text, key="local_files_only", default=False) == (
        "def f(a: int, local_files_only: bool = False): pass\n"
    )


def test_a_default_is_written_safely() -> None:
    text = with_parameter("def f(a='x'): pass\n", default='/a "b" \n\\')
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert ast.literal_eval(node.args.defaults[1]) == '/a "b" \n\\'


def test_two_parameters_stand_in_the_order_asked_for() -> None:
    data = b"def f(\n    a,\n):\n    pass\n"
    changes = [change(data, "parameter"), change(data, "parameter", key="local_files_only", default=False)]
    assert edit_source(data, changes) == (
        b"def f(\n    a,\n    cache_dir=None,\n    local_files_only=False,\n):\n    pass\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("f(a)\n", "f(a, cache_dir=cache_dir)\n"),
        ("f()\n", "f(cache_dir=cache_dir)\n"),
        ("x = f(a, b=1, **kw)\n", "x = f(a, b=1, cache_dir=cache_dir, **kw)\n"),
        ("f(from_pretrained=a, b=1)\n", "f(from_pretrained=a, b=1, cache_dir=cache_dir)\n"),
        ("f(\n    a,\n    b=1,\n)\n", "f(\n    a,\n    b=1,\n    cache_dir=cache_dir,\n)\n"),
        ("f(\r\n\ta,\r\n\t**kw,\r\n)\r\n", "f(\r\n\ta,\r\n\tcache_dir=cache_dir,\r\n\t**kw,\r\n)\r\n"),
        ("f(a, cache_dir=cache_dir)\n", "f(a, cache_dir=cache_dir)\n"),
        ("f(\n    a, b=1\n)\n", "f(\n    a, b=1, cache_dir=cache_dir\n)\n"),
    ],
)
def test_a_call_gets_a_keyword_in_its_style(before: str, after: str) -> None:
    assert edit_source(before.encode(), [change(before.encode(), "call")]).decode() == after


def test_of_calls_that_start_at_one_place_the_right_one_is_changed() -> None:
    data = b"x = a.load(p).eval()\n"
    assert edit_source(data, [change(data, "call", 1)]) == b"x = a.load(p, cache_dir=cache_dir).eval()\n"


def test_a_call_within_a_call_is_changed_together_with_it() -> None:
    data = "é = outer('ß', inner(p)).to(inner(q))\n".encode()
    calls = sorted((n for n in ast.walk(ast.parse(data)) if isinstance(n, ast.Call)), key=lambda n: n.col_offset)
    changes = [SourceChange("x.py", "call", span_of(node), "k", "v") for node in calls]
    assert edit_source(data, changes).decode() == "é = outer('ß', inner(p, k=v), k=v).to(inner(q, k=v), k=v)\n"


def test_a_dict_display_gets_a_key() -> None:
    data = b"x = {'type': 'T', 'from_pretrained': 'o/n'}\n"
    assert edit_source(data, [change(data, "dict")]) == (
        b"x = {'type': 'T', 'from_pretrained': 'o/n', 'cache_dir': cache_dir}\n"
    )


def test_a_value_is_replaced_by_the_name_or_by_the_default() -> None:
    data = b"f(cache_dir=None)\n"
    assert edit_source(data, [SourceChange("x.py", "value", Span(1, 12, 1, 16), "cache_dir", "d")]) == (
        b"f(cache_dir=d)\n"
    )
    assert edit_source(data, [SourceChange("x.py", "value", Span(1, 12, 1, 16), "cache_dir", "", "/d")]) == (
        b'f(cache_dir="/d")\n'
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_guard_is_put_before_an_if_that_becomes_its_elif(newline: str) -> None:
    lines = ["def f(hub=None):", "  if local:", "    a, b = 1, 2", "  elif x:", "    a = b = 3", "  return a, b", ""]
    data = newline.join(lines).encode()
    node = next(each for each in ast.walk(ast.parse(data)) if isinstance(each, ast.If))
    assign = (("a", "o/n"), ("b", "o/n"), ("c", "o/m"))
    guard = SourceChange("x.py", "guard", span_of(node), "cache_dir", "hub", assign=assign)
    lines[1:2] = ["  if hub is not None:", '    a = b = "o/n"', '    c = "o/m"', "  elif local:"]
    assert edit_source(data, [guard]).decode() == newline.join(lines)


GOOGLE = '''def f(a, b=1):
    """Do it.

    Args:
        a (int): first,
            goes on here.
        b (int): second.

    Returns:
        nothing
    """
'''
NUMPY = '''def f(a, b=1):
    """Do it.

    Parameters
    ----------
    a : int
        first
    b : int
        second
    """
'''
DASHES = '''def f(a, b=1):
    """Do it
    Parameters:
        a (int)  -- first
        b        -- second
    """
'''


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (GOOGLE, ["        cache_dir (str, optional): Hugging Face cache directory to load from."]),
        (NUMPY, ["    cache_dir : str, optional", "        Hugging Face cache directory to load from."]),
        (DASHES, ["        cache_dir        -- Hugging Face cache directory to load from."]),
    ],
)
def test_a_docstring_that_lists_the_parameters_gets_a_line_behind_the_last(text: str, lines: list[str]) -> None:
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    documentation = SourceChange(
        "x.py", "docstring", span_of(function.body[0]), "cache_dir", "cache_dir", assign=(("a", ""), ("b", ""))
    )
    after = edit_source(text.encode(), [documentation]).decode().splitlines()
    before = text.splitlines()
    place = next(at for at, line in enumerate(after) if line == lines[0])
    assert after[place : place + len(lines)] == lines
    assert after[:place] + after[place + len(lines) :] == before
    assert "second" in after[place - 1]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfdef f(a): pass\n",
        "# coding: latin-1\ndef f(é='ß'): pass  # ü\n".encode("latin-1"),
        b"x = 1\r\ndef f(a): pass\ny = 2\r\n",
        b"\x0cx = 1; y = '''\n\t'''\ndef f(a): pass",
        b"def f(a): pass \t \n\n\n",
        b"x = 1\rdef f(a): pass\r",
    ],
)
def test_every_other_byte_stays(data: bytes) -> None:
    functions = [node for node in ast.walk(ast.parse(data)) if isinstance(node, ast.FunctionDef)]
    asked = SourceChange("x.py", "parameter", span_of(functions[0]), "cache_dir", "cache_dir")
    assert edit_source(data, [asked]).replace(b", cache_dir=None", b"") == data
    assert edit_source(data, []) == data


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        (b"def f(:\n", SourceChange("x.py", "parameter", Span(1, 0, 1, 5), "k", "k")),
        (b"x = 1\n", SourceChange("x.py", "parameter", Span(1, 0, 1, 5), "k", "k")),
        (b"x = 1\n", SourceChange("x.py", "call", Span(1, 4, 1, 5), "k", "k")),
        (b"x = 1\n", SourceChange("x.py", "call", Span(9, 4, 9, 5), "k", "k")),
        (b"f(k=1)\n", SourceChange("x.py", "call", Span(1, 0, 1, 6), "k", "k")),
        (b"f(x for x in y)\n", SourceChange("x.py", "call", Span(1, 0, 1, 15), "k", "k")),
        (b"y = 1\n", SourceChange("x.py", "guard", Span(1, 0, 1, 5), "k", "k")),
    ],
)
def test_what_cannot_be_edited_is_refused_with_its_line(data: bytes, asked: SourceChange) -> None:
    with pytest.raises(EditError) as caught:
        edit_source(data, [asked])
    assert caught.value.line == asked.span.line
