"""Edits of loaders' sources: the style of the neighbours is kept, and every other byte."""

from __future__ import annotations

import pytest
from proving import prove_loader_edit, source_change

from rewriter.edit.literals import EditError
from rewriter.edit.loader import edit_loader
from rewriter.model import SourceChange, Span


def with_parameter(text: str, **more: object) -> str:
    return prove_loader_edit(text, source_change(text, "parameter", **more))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(): pass", "def f(cache_dir=None): pass"),
        ("def f(a):\n    pass\n", "def f(a, cache_dir=None):\n    pass\n"),
        ("def f(a, b=1, *c, d, **e): pass\n", "def f(a, b=1, *c, d, cache_dir=None, **e): pass\n"),
        ("def f(a, *, b, c=2):\n    pass\n", "def f(a, *, b, c=2, cache_dir=None):\n    pass\n"),
        ("def f(*a): pass\n", "def f(*a, cache_dir=None): pass\n"),
        ("def f(**kw): pass\n", "def f(cache_dir=None, **kw): pass\n"),
        ("def f(a,b = 1): pass\n", "def f(a,b = 1,cache_dir = None): pass\n"),
        ("def f( a, b ): pass\n", "def f( a, b, cache_dir=None ): pass\n"),
        ("async def f(a): pass\n", "async def f(a, cache_dir=None): pass\n"),
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
        ("def f( ): pass\n", "def f( cache_dir=None): pass\n"),
        ("def f(a, ): pass\n", "def f(a, cache_dir=None, ): pass\n"),
        ("async  def  f ( a ) : pass\n", "async  def  f ( a, cache_dir=None ) : pass\n"),
        ("def f(\n    *args\n): pass\n", "def f(\n    *args,\n    cache_dir=None\n): pass\n"),
        ("def f(\n    **kw\n): pass\n", "def f(\n    cache_dir=None,\n    **kw\n): pass\n"),
        ("def f(cls, a: int, *b): pass\n", 'def f(cls, a: int, *b, cache_dir: "str | None" = None): pass\n'),
    ],
)
def test_a_parameter_goes_last_in_the_style_of_its_neighbours(before: str, after: str) -> None:
    assert with_parameter(before) == after
    compile(after, "x.py", "exec")


def test_a_flag_defaults_to_false_and_is_annotated_as_such() -> None:
    text = "def f(a: int): pass\n"
    assert with_parameter(text, key="local_files_only", default=False) == (
        "def f(a: int, local_files_only: bool = False): pass\n"
    )


def test_two_parameters_are_in_the_requested_order_and_the_same_one_once() -> None:
    data = b"def f(\n    a,\n):\n    pass\n"
    changes = [
        source_change(data, "parameter"),
        source_change(data, "parameter", key="local_files_only", default=False),
    ]
    assert prove_loader_edit(data, *changes, changes[0]) == (
        "def f(\n    a,\n    cache_dir=None,\n    local_files_only=False,\n):\n    pass\n"
    )


CALLS = [
    ("f(a)\n", "f(a, cache_dir=cache_dir)\n"),
    ("f()\n", "f(cache_dir=cache_dir)\n"),
    ("x = f(a, b=1, **kw)\n", "x = f(a, b=1, cache_dir=cache_dir, **kw)\n"),
    ("f(from_pretrained=a, b=1)\n", "f(from_pretrained=a, b=1, cache_dir=cache_dir)\n"),
    ("f(\n    a,\n    b=1,\n)\n", "f(\n    a,\n    b=1,\n    cache_dir=cache_dir,\n)\n"),
    ("f(\r\n\ta,\r\n\t**kw,\r\n)\r\n", "f(\r\n\ta,\r\n\tcache_dir=cache_dir,\r\n\t**kw,\r\n)\r\n"),
    ("x = [f(\n  a)]\n", "x = [f(\n  a,\n  cache_dir=cache_dir)]\n"),
    ("x = (f\n  (a))\n", "x = (f\n  (a, cache_dir=cache_dir))\n"),
    ("f(g(a), b=h(), c={})\n", "f(g(a), b=h(), c={}, cache_dir=cache_dir)\n"),
    ("f(*a, # c\n  b = 1)\n", "f(*a, # c\n  b = 1,\n  cache_dir = cache_dir)\n"),
]


@pytest.mark.parametrize(("before", "after"), CALLS)
def test_a_call_gets_a_keyword_in_its_style(before: str, after: str) -> None:
    assert prove_loader_edit(before, source_change(before, "keyword")) == after


@pytest.mark.parametrize(
    ("before", "default", "after"),
    [
        ("build(cfg.vae, MODELS)\n", "/m", 'build(cfg.vae, MODELS, cache_dir="/m")\n'),
        ("f(a=1, **kw)\n", True, "f(a=1, cache_dir=True, **kw)\n"),
    ],
)
def test_the_call_of_a_script_gets_a_literal(before: str, default: object, after: str) -> None:
    change = source_change(before, "keyword", default=default)
    assert prove_loader_edit(before, change) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "x = {'type': 'T', 'from_pretrained': 'o/n'}\n",
            "x = {'type': 'T', 'from_pretrained': 'o/n', 'cache_dir': cache_dir}\n",
        ),
        ("x = {}\n", 'x = {"cache_dir": cache_dir}\n'),
        ("x = {\n    'a': 1,\n    **b,\n}\n", "x = {\n    'a': 1,\n    **b,\n    'cache_dir': cache_dir,\n}\n"),
    ],
)
def test_a_dict_display_gets_a_key(before: str, after: str) -> None:
    assert prove_loader_edit(before, source_change(before, "keyword")) == after


@pytest.mark.parametrize(
    ("old", "name", "default", "new"),
    [
        ("None", "d", None, "d"),
        ("None", "", "/d", '"/d"'),
        ("'x'", "", "/d", "'/d'"),
        ('"x"', "", "/d", '"/d"'),
        ('"\'"', "", "/d", '"/d"'),
        ("None", "", False, "False"),
    ],
)
def test_a_value_is_replaced_by_the_name_or_by_the_default(old: str, name: str, default: object, new: str) -> None:
    span = Span(1, 12, 1, 12 + len(old))
    requested = SourceChange("x.py", "value", span, "cache_dir", name, default)
    assert prove_loader_edit(f"f(cache_dir={old}, a=1)\n", requested) == f"f(cache_dir={new}, a=1)\n"


# --- guards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", ["  ", "\t", "    "])
def test_a_guard_is_put_before_an_if_that_becomes_its_elif(newline: str, indent: str) -> None:
    lines = ["def f(hub=None):", ".if local:", "..a, b = 1, 2", ".elif x:", "..a = b = 3", ".return a, b", ""]
    before = newline.join(lines).replace(".", indent)
    lines[1:2] = [".if hub is not None:", '..a = b = "o/n"', ".elif local:"]
    guard = source_change(before, "guard", name="hub", default="o/n", assign=("a", "b"))
    assert prove_loader_edit(before, guard) == newline.join(lines).replace(".", indent)


# --- every other byte, and refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "# coding: utf-8\ndef f(é='ß'): pass  # ü\n".encode(),
        b"x = 1\r\ndef f(a): pass\ny = 2\r\n",
        b"\x0cx = 1; y = '''\n\t'''\ndef f(a): pass",
        b"def f(a): pass \t \n\n\n",
        b"x = 1\rdef f(a): pass\r",
    ],
)
def test_every_other_byte_stays(data: bytes) -> None:
    new = edit_loader(data, [source_change(data, "parameter")])
    assert new.replace(b", cache_dir=None", b"") == data


@pytest.mark.parametrize(
    ("data", "target", "span", "message"),
    [
        (b"\nif a: b = 1\n", "guard", (2, 0, 2, 6), "the new code would not say what was requested"),
        (b"\nif a:\n  b\nelif c:\n  d\n", "guard", (4, 0, 5, 2), "the new code would not say what was requested"),
        (b"\nf(a, kk=1)\n", "keyword", (2, 0, 2, 10), "the new code would not say what was requested"),
        (b"\nf(a-b)\n", "keyword", (2, 2, 2, 4), "libcst cannot edit this code"),
        (b"\nf(" + b"-" * 600 + b"1)\n", "keyword", (2, 0, 2, 604), "libcst cannot edit this code"),
    ],
)
def test_what_cannot_be_edited_is_refused_with_its_line(
    data: bytes, target: str, span: tuple[int, int, int, int], message: str
) -> None:
    with pytest.raises(EditError) as caught:
        edit_loader(data, [SourceChange("x.py", target, Span(*span), "kk", "kk", "x", ("kk",))])
    assert (caught.value.message, caught.value.line) == (message, span[0])
