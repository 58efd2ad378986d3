"""A source file of a checkout says the same, piece by piece, as :func:`ast.parse` of all of it."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from rewriter.loaders import unit as units
from rewriter.loaders.unit import FunctionNode, Signature, Unit, UnreadableError, changes, names_in, text_of

PATH = "/checkout/opensora/models/loaders.py"
MODULE = "opensora.models.loaders"

# Statements, alone or few, in every layout that a search by letters might take for another. No code binds "hidden".
PIECES = [
    # imports
    "import os", "import os.path", "import os.path as p", "import  a , b  as c, d.e", "import a . b", "import a;",
    "from . import x", "from .. import y as z", "from .m import (a, b as c,)", "from ..pkg.m import a",
    "from .import a", "from ... import a", "from m import(a)", "from m import a, b as c  # from x import y",
    "from m import a; b = 1", "from m import *", "from .m import *", "from . import*", "from .m import a # *",
    "import m; n = 2", "from m import \\\n    a, b", "from m import a\\\n  , b",
    "from m import (\n    a,  # why, not\n    b as c,\n)", "from m import (  # all\n    a\n    as b\n)",
    "from m import (\na,\nb)", "import os as\\\n path", "import \uff4f", "from m \\\nimport a", "from m import \ufb01",
    "import a.\ufb01", "import ab as \ufb01", "from importlib import imports", "import a as b, c.d as e, f.g",
    "from m import a; import b as c", "from m import (a); f(b)", "from m import X", "from m import (aX, X)",
    "from m import a as aX  # X", "from . m import a", "from . . import a", "from.m import a", "from m.n import a",
    "from X import Xa", "import X as Y, aX", "from m import (\n    a\n)", "from m import ( a , b , )",
    "from ...a.b import c",
    # inside others
    "try:\n    from m import a\nexcept ImportError:\n    a = None", "with x:\n    import b\n    c: int = 1",
    "try:\n    import a\nexcept E:\n    from b import a\nelse:\n    import c\nfinally:\n    d = 1",
    "try: a = 1\nfinally: b = 2", "if x: a = 1",
    "if x: pass\nelif y: a = 1\n# between\n\nelse:\n    import a.b", "if x:\n    def f(): pass\nelse:\n    f = 2",
    "while x:\n    a = 1\nelse:\n    b = 2", "for i in x:\n    a = i\n    class C:\n        b = 1",
    "match x:\n    case 1:\n        import a\n        b = 1", "if x:\n    class C:\n        import a\n        b = 1",
    "if x:\n    def f():\n        import a\n        b = 1", "with x as y: from .m import *",
    "async def f():\n    async with x: import a", "if 1:\n    if 2:\n        a = 3", "try:\n    a = 1\nexcept: b = 2",
    # assignments
    "a = 1", "a=b=1", "a = b, c = 1, 2", "a, b = 1, 2", "a, *b = 1, 2", "(a) = 1", "(a, (b, c)) = 1", "[a, b] = 1",
    "a = 1; b = 2", "a += 1", "a: int", "a: int = 3", "a: 'x=1' = 3", "a: D[str, int] = 3", "a: L[\n    int] = 1",
    "a = 1,", "a \\\n= 1", "a.b = 1", "a[0] = 1", "a[0][1] = b[0] = 2", "a.b[0] = 1", "f(a)[b] = c", "a.b, c = 1, 2",
    "a = b.c = 1", "a[0] += 1", "a.b += 1", "a[0]: int = 1", "a = x == y", "a = x <= y", "a = '=;'", "a = f(b=1)",
    "a = (b := 1)", "print((b := 1))", "a = lambda b=1: b", "a = 1  # = ; b = 2", "iffy = 1", "import1 = 1",
    "fromage = 1", "importlib = 2", "trying = 1", "classy = 1", "asyncx = 1", "elsewhere = 1", "match = 1",
    "match: int = 1", "tri: int = 1", "\u00e9 = 1", "\ufb01 = 1", "a = {\n    'k': 1,\n}", "a = [\n1,\n2\n]",
    "a = {\n'k': 1,\nb: 2}", "a = dict(\nb=1,\nc=2,\n)", "a = dict(b=0,\nc=1,\n)", "a = \\\nb = 2", "a = \\\n1",
    "a = (\n)", "a = b; import c", "a == 1", "a", "del a", "global a", "assert a, b", "a < b", "# a = 1",
    "a = 1 # a note\n# b = 1\n  # c = 2", "f(\n    a=1)", "a: int; b: int = 1", "a = b = c = d", "definition = 1",
    "a = [b for b in c]", "a: int = b = 1".replace(": int", ""), "a = 1\n\n\n  # deep\n", "async_ = 1",
    "X = 1", "X, b = 1, 2", "\\\na = 1", 'b = """x""" + """\nhidden = 2\n"""',
    '# """\na = 1\nb = """\nhidden = 2\n"""\n# """ too\nd = 1',
    # definitions
    "def f(): pass", "def f(a,\nb): pass", "def f(): pass; a = 1", "async  def f(): pass", "def \u00fc(): pass",
    "def \ufb01(): pass", "@d\ndef f(): pass", "@d\n\n# c\n@e\nasync def f(): pass", "@d(\n1\n)\nclass C: pass",
    "class C: a = 1; b = 2", "@d(\n    1,\n    a=2\n)\ndef f():\n    return 1",
    "@d(a=1)\n@e(\nb\n)\n@f\nclass C(A, B):\n    pass", "class C(A): pass",
    "def f():\n    def g(): pass\n    a = 1", "def f():\n    return 1\n\n\n# behind",
    "class C(\n    A,\n    metaclass=M,\n):\n    a = 1", "\fdef f(): pass", "a = 1\n\f\ndef f(): pass",
    "class C[T]: pass" if sys.version_info >= (3, 12) else "class C: pass",
    "def f(x): return 1\ndef f(x, y): return 2", "if x:\n    def f(): pass\ndef f(): return 1\nf = f",
    # strings
    '"""doc"""', "'''doc\n\nhidden = 1\n'''", '"""\ndef hidden(): pass\n"""',
    "r'''\nhidden = 1\n'''", "if x:\n    a = '''\nhidden = 1\n'''", "a = \"'''\"", "a = 'x\\\nhidden = 1'",
    'def f():\n    """doc\n\ndef hidden(): pass\n    """\n    return 1', "# it's '''",
    "# it's '''\na = 1\ndef f():\n    'x'\nb = 2", "a = \"'''\"\nb = 1\n'''c'''\nc = 2", "def f():\n    '''a'''\n    b",
]  # fmt: skip

# What may stand in a class, indented by four.
MEMBERS = [
    "def __init__(self, a, b=1, *args, c: int = 2, **kwargs) -> None:\n        self.a = a\n\n        self.b = b",
    "def __init__(\n        self,\n        a,  # (why\n        b=(1, 2),\n    ):\n        super()\n        b",
    "def __init__(self): pass", "def __init__(self): self.a = 1; self.b = 2",
    "def __init__(self, a=')', b=1):\n        x = 1\n        y = 2", "def __init__(self):\n        a",
    "def __init__(self, a={\n    'b': 1}):\n        x = 1\n        y = 2",
    "def __init__(self):  # a: b\n        x = 1\n        y = 2",
    "def __init__(self, a: int = 1, b: str = '#'):\n        x = 1\n        y = 2",
    "def __init__(self): return (\n        1\n    )", "def __new__(cls):\n        return 1\n",
    "def __post_init__(self):\n        # first\n        '''doc'''\n        self.x = 1",
    "@classmethod\n    def from_pretrained(cls, path):\n        return cls(path)",
    "def forward(self, x):\n        return x",
    "@property\n    def size(self):\n        return 1\n\n    @size.setter\n    def size(self, x):\n        self.x = x",
    "@size.deleter\n    def size(self):\n        pass",
    "@overload\n    def two(self): ...\n    def two(self):\n        2",
    "@staticmethod\n    @other(\n        1\n    )\n    def make():\n        return 2",
    "@a.b.c\n    # note\n    def noted(self): return 1", "async def wait(self):\n        await self", "a = 1",
    "b: int = 2", "c: str", "'''doc'''", "def  spaced(self): pass",
    '"""a doc\n\n    def shown(self):\n        pass\n    """', "undef = 1", "a[0] = 1", "import os",
    "class Inner:\n        def deep(self):\n            pass\n        x = 1",
    "class Inner:\n        def __init__(self):\n            x = 1\n            y = 2",
    "if x:\n        def maybe(self):\n            pass\n    else:\n        maybe = None",
    "# def commented(self):\n    #     pass\n    ...",
    "def text(self):\n        return '''\nat the left\n    def inside(self): ...\n'''",
    'def text(self):\n        return """\n    in between\n    """',
    "def loads(self):\n        # a note\n  # left\n        return 1",
    "def joined(self):\n        x = (\n    1,\n    )\n        return x", "one = two = None",
    "def call(self): return (\n        1\n    )", "def cont(self):\n        return 1 + \\\n    2",
    "x = 'def quoted(self):'", "def nest(self):\n        def inner():\n            pass\n        return inner",
    "def odd(self): pass; a = 1", "def empty(self):\n\n\n        return 1", "lambda_ = lambda self: self",
    "def closing(self):\n        x = [\n            1,\n    ]\n        y = {\n    }\n        return x, y",
    "x = {\n        'def': 1,\n    }", "def tail(self):\n        return 1  # def tail",
    "X = 1", "def __init__(self, a):\n        a = 1\n    X = 2", "def late(self):\n        1\n    X = 2",
    "def __init__(self): # (\n        a = 1\n        b = 2",
    "def __init__(self, a=(\n        # (\n        1)):\n        a = 1",
]  # fmt: skip
HEADS = [
    "class C:",
    "class C(A, metaclass=M):",
    "class C(\n    A,\n    B,\n):",
    "@deco(1)\nclass C:",
    "class  C :  # why",
]


class Whole:
    """What :func:`ast.parse` of the whole file says."""

    def __init__(self, text: str, package: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.nodes = ast.parse(text).body
        self.binds: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}
        self.stars: list[str] = []
        for node in self.nodes:
            for name in dict.fromkeys(_bound(node)):
                self.binds.setdefault(name, []).append(node)
            for local, target in _imported(node, package):
                if local == "*":
                    self.stars.append(target[0])
                else:
                    self.imports[local] = target


def _now(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and those in it, but for the insides of functions and classes."""
    yield node
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.expr)):
        for inner in ast.iter_child_nodes(node):
            yield from _now(inner)


def _bound(node: ast.stmt) -> Iterator[str]:
    for each in _now(node):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield each.name
        elif isinstance(each, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            for target in each.targets if isinstance(each, ast.Assign) else [each.target]:
                yield from _stored(target)


def _stored(target: ast.expr) -> Iterator[str]:
    """What is assigned, or changed by an assignment to one of its items."""
    while isinstance(target, (ast.Subscript, ast.Starred)):
        target = target.value
    if isinstance(target, ast.Name):
        yield target.id
    for each in getattr(target, "elts", ()):
        yield from _stored(each)


def _imported(node: ast.stmt, package: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
    for each in _now(node):
        if isinstance(each, ast.Import):
            for alias in each.names:
                top = alias.name.split(".")[0]
                yield (alias.asname, (alias.name, None)) if alias.asname else (top, (top, None))
        elif isinstance(each, ast.ImportFrom):
            parts = package.split(".")
            parts = [*parts[: len(parts) + 1 - each.level]] if each.level else []
            module = ".".join([*parts, *([each.module] if each.module else [])])
            for alias in each.names:
                yield alias.asname or alias.name, (module, alias.name)


def unit_of(text: str, leads_on: bool = True, is_package: bool = False) -> tuple[Unit, list[tuple[str, int, str]]]:
    """A file, and the problems that it reports."""
    told: list[tuple[str, int, str]] = []

    def report(path: str, line: int, message: str) -> None:
        told.append((path, line, message))

    return Unit(PATH, MODULE, is_package, text.encode(), report, lambda _unit, _name: leads_on), told


def dump(nodes: Sequence[ast.AST | None]) -> list[str]:
    return [ast.dump(node, include_attributes=True) if node else "" for node in nodes]


def member(unit: Unit, cls: ast.ClassDef, name: str) -> ast.stmt | None:
    """A member of a class, with its body."""
    found = unit.member(cls, name)
    return unit.full(found) if isinstance(found, FunctionNode) else found


def assert_found(unit: Unit, name: str, expected: list[ast.stmt]) -> None:
    found = unit.find(name)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if not isinstance(one, ast.ClassDef) or not isinstance(other, ast.ClassDef):
            assert dump([one]) == dump([other])
            continue
        assert (one.name, one.lineno, one.col_offset) == (other.name, other.lineno, other.col_offset)
        for field in ("bases", "keywords", "decorator_list"):
            assert dump(getattr(one, field)) == dump(getattr(other, field))
        own: dict[str, ast.stmt] = {}
        for node in other.body:
            decorators = [ast.unparse(each) for each in getattr(node, "decorator_list", ())]
            if not any(each.endswith((".setter", ".deleter")) for each in decorators):
                own.update(dict.fromkeys(_bound(node), node))
        for each, node in own.items():
            assert dump([member(unit, one, each)]) == dump([node]), each
        assert member(unit, one, "not_there") is None


def assert_same(text: str, leads_on: bool = True, is_package: bool = False) -> None:
    """Whatever is asked first, the answers are those of :class:`Whole`."""
    whole = Whole(text, MODULE if is_package else MODULE.rpartition(".")[0])

    def found(name: str) -> Callable[[Unit], None]:
        return lambda unit: assert_found(unit, name, whole.binds.get(name, []))

    def written(unit: Unit) -> None:
        for name, nodes in whole.binds.items():
            for node in nodes:
                for each in (node, *getattr(node, "decorator_list", ())):
                    assert (ast.get_source_segment(unit.text, each) or "") in unit.text_of(name)
        assert unit.text_of("not_there") == ""

    def named(unit: Unit) -> None:
        assert unit.names() == {*whole.binds, *whole.imports}

    def imports(unit: Unit) -> None:
        assert unit.imports() == whole.imports
        assert unit.stars() == whole.stars

    def tree(unit: Unit) -> None:
        assert dump(unit.tree()) == dump(whole.nodes)

    asked = [named, imports, written, *map(found, [*whole.binds, "not_there", "hidden"]), tree]
    for questions in (asked, asked[::-1], *[[each] for each in asked]):
        unit, told = unit_of(text, leads_on, is_package)
        for ask in questions:
            ask(unit)
        assert not told


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("behind", ["", "\n", "\n\n\nlast = 1\ndef f(): return last\nfrom m import other\n"])
def test_each_layout_reads_as_python_reads_it(piece: str, behind: str) -> None:
    assert_same(piece + behind)
    assert_same("first = 1\n" + piece + behind, is_package=True)


@pytest.mark.parametrize("leads_on", [True, False])
@pytest.mark.parametrize("place", range(len(MEMBERS)))
def test_each_class_has_the_members_that_python_sees(place: int, leads_on: bool) -> None:
    alone, *several = MEMBERS[place], MEMBERS[place - 1], "def last(self):\n        return 1", MEMBERS[place - 2]
    head = HEADS[place % len(HEADS)]
    for body in ([alone], [alone, *several], [*several, alone]):
        text = "\n".join([head, *[f"    {each}" for each in body]])
        assert_same(f"first = 1\n{text}\n\n\ndef f(): return 1\n", leads_on)
        assert_same(text, leads_on)
    assert_same(text.replace("    ", "\t"), leads_on)


@strategies.fuzz
@given(
    st.lists(st.sampled_from(PIECES), max_size=6),
    st.sampled_from(["\n", "\n\n", "\n# note\n", "\n\n\n"]),
    st.booleans(),
)
def test_generated_modules_read_as_python_reads_them(pieces: list[str], between: str, is_package: bool) -> None:
    assert_same(between.join(pieces), is_package=is_package)


@strategies.fuzz
@given(st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=6), st.sampled_from(HEADS), st.booleans(), st.booleans())
def test_generated_classes_have_the_members_that_python_sees(
    body: list[str], head: str, leads_on: bool, apart: bool
) -> None:
    text = ("\n\n" if apart else "\n").join([head, *[f"    {each}" for each in body]])
    assert_same(f"import os\n\n{text}\n\n\n@d\n{text}\n", leads_on)


# --- files that are no Python, or that have odd bytes -------------------------------------------


def ask_everything(unit: Unit, name: str) -> None:
    unit.names()
    unit.imports()
    unit.stars()
    unit.text_of(name)
    for node in unit.find(name):
        if isinstance(node, ast.ClassDef):
            member(unit, node, "f")
    unit.tree()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = (\n", 1),
        ("a = 1\ndef f(:\n    pass\n", 2),
        ("class C:\n    def __init__(self):\n        a\n    def f(self):\n        return (\n\na = 1\n", 5),
        ("import a\nfrom b import (\n    a\nc = 1\n", 2),
        ("import a\nimport b from c\n", 2),
        ("x = 1\n\n\nif y\n    a = 2\n", 4),
        ("@d\na = 1\n", 2),
        ("@d\n", 1),
        ("a = 1\n  b = 2\n", 2),
        ("a = '''\nb = 1\n", 1),
        ("  a = 1\n", 1),
        (")\na = 1\n", 1),
        ("\f)", 1),
        ("a = " + "(" * 300 + ")" * 300, 1),
    ],
)
def test_a_broken_file_is_told_once_with_its_line(text: str, line: int) -> None:
    for name in ("a", "C", "none"):
        unit, told = unit_of(text)
        ask_everything(unit, name)
        ask_everything(unit, "a")
        (problem,) = told
        assert problem[:2] == (PATH, line)
        assert problem[2].startswith("the file is not Python: ")
        unit, _ = unit_of(text)
        assert (unit.tree(), unit.find("a"), unit.names(), unit.imports()) == ([], [], set(), {})


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a = 1\nb = '\xff'\n", 2, "byte 0xff is not utf-8"),
        (b"a = 1\n\0", 2, "the file holds a NUL byte"),
        (b"# coding: none-such\na = 1\n", 1, "the encoding 'none-such' is unknown"),
    ],
)
def test_bytes_that_are_no_text_are_told_and_hold_nothing(data: bytes, line: int, message: str) -> None:
    told: list[tuple[str, int, str]] = []
    unit = Unit(PATH, MODULE, False, data, lambda *each: told.append(each), lambda *_: True)
    ask_everything(unit, "a")
    assert told == [(PATH, line, message)]
    assert (unit.text, unit.names(), unit.find("a"), unit.tree()) == ("", set(), [], [])
    with pytest.raises(UnreadableError, match=re.escape(message)) as raised:
        text_of(data)
    assert (raised.value.line, raised.value.message) == (line, message)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfa = 1\r\nb = 2\r\n", "a = 1\nb = 2\n"),
        (b"a = 1\rb = 2\n\rc", "a = 1\nb = 2\n\nc"),
        (b"# coding: latin-1\na = '\xe9'", "# coding: latin-1\na = '\u00e9'"),
        ("a = '\u2028\u0085\x0b\x1c'\n".encode(), "a = '\u2028\u0085\x0b\x1c'\n"),
    ],
)
def test_bytes_are_read_as_the_interpreter_reads_them(data: bytes, text: str) -> None:
    assert text_of(data) == text
    unit = Unit(PATH, MODULE, False, data, lambda *_: None, lambda *_: True)
    assert (unit.text, dump(unit.tree())) == (text, dump(ast.parse(text).body))


def test_a_class_is_parsed_without_what_building_it_seldom_runs() -> None:
    text = (
        "class C:\n    def __init__(self):\n        a\n        b\n    def f(self):\n        return 1\n    g = 1\n"
        "    def __post_init__(self):\n        c\n"
    )
    unit, _ = unit_of(text)
    (cls,) = unit.find("C")
    init, post = "def __init__(self):", "def __post_init__(self):"
    assert ast.unparse(cls).split("\n    ") == [
        *("class C:\n", init, "    a", "    b", "pass", "g = 1\n", post, "    c"),
    ]
    unit, _ = unit_of(text, leads_on=False)
    (cls,) = unit.find("C")
    assert ast.unparse(cls).split("\n    ") == ["class C:\n", init, "    pass", "pass", "g = 1\n", post, "    pass"]
    assert isinstance(cls, ast.ClassDef)
    made, f = unit.member(cls, "__init__"), unit.member(cls, "f")
    assert isinstance(made, ast.FunctionDef)
    assert isinstance(f, ast.FunctionDef)
    assert [ast.unparse(unit.full(each)).splitlines()[1:] for each in (made, f)] == [
        ["    a", "    b"],
        ["    return 1"],
    ]
    assert unit.full(f) is f
    assert unit.member(cls, "f") is f


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        ("def __init__(self):", True),
        ("def __init__(self):  # (", True),
        ("def __init__(self):   ", True),
        ("def __init__(self) -> dict[str, int]:", True),
        (
            "def __init__(\n        self,  # )\n        a=(1, [2]),\n        *,\n        b: int = {},\n    ) -> None:",
            True,
        ),
        ("def __init__(self, a={\n        'b': 1,\n    }, c=[\n    ]):", True),
        ("async def __init__(self, a=')('):", True),
        ("@d\n    @e(1)\n    def __init__(self):", True),
        ("def __init__(self, a='('):", False),
        ("def __init__(self, a='#'):", False),
        ("def __init__(self, a=lambda:\n            0):", True),
    ],
)
def test_the_body_of_a_method_is_left_out_where_its_signature_ends(signature: str, told: bool) -> None:
    text = f"class C:\n    {signature}\n        a\n        b\n    x = 1\n    def __new__(self):\n        c\n"
    unit, _ = unit_of(text, leads_on=False)
    (cls,), (whole,) = unit.find("C"), ast.parse(text).body
    assert isinstance(cls, ast.ClassDef)
    assert isinstance(whole, ast.ClassDef)
    for one, other in zip(cls.body, whole.body, strict=True):
        assert one.lineno == other.lineno
        if isinstance(one, FunctionNode) and isinstance(other, FunctionNode):
            assert dump([one.args, *one.decorator_list]) == dump([other.args, *other.decorator_list])
            assert (ast.unparse(one.body[0]) == "pass") == (told or one.name == "__new__")
            assert dump([unit.full(one)]) == dump([other])


def test_only_what_is_asked_for_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    real = units.parse
    monkeypatch.setattr(units, "parse", lambda text: (parsed.append(text.strip()), real(text))[1])
    unit, _ = unit_of(
        '"""Doc\n\na = 1\n"""\nimport a, b.c\nfrom x import (  # y\n    y,\n    z as w,\n)\nfrom . import *\na = f(1)\n'
        "def f():\n    pass\n\n\n@d\nclass C:\n    x = 1\n\ng: int = 1\n# note\nif a:\n    h = 1\nelse:\n    h = 2\n"
    )
    assert sorted(unit.names()) == ["C", "a", "b", "f", "g", "h", "w", "y"]
    assert unit.imports()["w"] == ("x", "z")
    assert unit.stars() == ["opensora.models"]
    assert parsed == ["if a:\n    h = 1\nelse:\n    h = 2"]
    assert unit.text_of("f") == "def f():\n    pass\n\n\n"
    for _ in range(2):
        unit.find("f")
        unit.find("C")
        unit.find("none")
    assert parsed[1:] == ["def f():\n    pass", "@d\nclass C:\n    x = 1"]
    unit.tree()
    unit.tree()
    assert parsed[3:] == [unit.text.strip()]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(a, /, b, *c, d, **e): pass", "f a b c d e"),
        ("def f():\n    x = y.z(w=v)\n    del u", "f x y v u"),
        ("async def f():\n    global g, h\n    nonlocal i", "f g h i"),
        ("def f():\n    import a.b, c.d as e\n    from m import n, o as p", "f a e n p"),
        ("def f():\n    def g(): pass\n    class H: pass\n    async def i(): pass", "f g H i"),
        ("def f():\n    try: pass\n    except E as e: pass\n    except: pass", "f E e"),
        ("def f():\n    match a:\n        case [b, *c]: pass\n        case [*_]: pass", "f a b c"),
        ("def f():\n    match a:\n        case {'d': e, **g}: pass\n        case {}: pass", "f a e g"),
        ("def f():\n    match a:\n        case K(x=y) as z: pass\n        case _: pass", "f a K y z"),
        ("f = lambda a: [b for c in d]", "f a b c d"),
    ],
)  # fmt: skip
def test_every_name_that_a_function_uses_is_told(source: str, names: str) -> None:
    assert names_in(ast.parse(source).body[0]) == set(names.split())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("(a, b, /, c, d=1, *e, g, h=2, **i)", (
            ("a", "b", "c", "d"), {"d": 1, "h": 2}, ("a", "b", "c", "d", "g", "h"), {"a", "b", "c", "g"},
            {"c", "d", "g", "h"}, "e", "i",
        )),
        ("()", ((), {}, (), set(), set(), None, None)),
        ("(a=1, /, b=2)", (("a", "b"), {"a": 1, "b": 2}, ("a", "b"), set(), {"b"}, None, None)),
        ("(a, b, c=1)", (("a", "b", "c"), {"c": 1}, ("a", "b", "c"), {"a", "b"}, {"a", "b", "c"}, None, None)),
        ("(*, a=1, b)", ((), {"a": 1}, ("a", "b"), {"b"}, {"a", "b"}, None, None)),
    ],
)  # fmt: skip
def test_a_signature_tells_how_arguments_are_bound(source: str, expected: tuple[object, ...]) -> None:
    node = ast.parse(f"def f{source}: pass").body[0]
    assert isinstance(node, ast.FunctionDef)
    found = Signature(node)
    defaults = {name: ast.literal_eval(value) for name, value in found.defaults}
    assert len(found.required) == len(set(found.required))
    assert expected == (
        found.positional, defaults, found.named, set(found.required), found.keywords, found.vararg, found.kwarg,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "uses"),
    [
        ("pass", (False, False)),
        ("super().__init__(**kw)", (True, False)),
        ("super().__init__(*args, **kw)", (True, False)),
        ("super().__init__(**kw, size=1)", (True, True)),
        ("super().__init__(size=1, **kw)", (True, True)),
        ("super().__init__(**kw); kw.pop('size')", (True, True)),
        ("AutoModel.from_pretrained(path, **kw)", (True, True)),
    ],
)
def test_what_a_function_does_with_its_keywords(body: str, uses: tuple[bool, bool]) -> None:
    node = ast.parse(f"def f(path, *args, **kw): {body}").body[0]
    assert isinstance(node, ast.FunctionDef)
    assert Signature(node).hands_on(node) == uses


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("S.x = 1\nclass C:\n    S.x = 2", False),
        ("def f(): setattr()", False),
        ("def f(): vars(S)['x'] = 1", True),
        ("def f(self): self.__class__.x = 1", True),
        ("def f(self): type(self).x = 1", True),
        ("def f(:\n    S", True),
        ("def f(): other.x = 1", False),
        ("def f(): vars(other)['x'] = 1", False),
        ("def f(): setattr(S, x, 1)", True),
        ("def f(): delattr(S, x)", True),
        ("def f(): getattr(S, x)", False),
        ("def f(cls): cls.x = 1", True),
        ("def f(S): S.x = 1", False),
        ("def f():\n    S = 1\n    S.x = 1", False),
        ("def f():\n    here = S\n    here.x = 1", True),
        ("def f():\n    here = other\n    here.x = 1", False),
    ],
)
def test_only_functions_change_what_stands_outside_and_what_is_no_python_may(source: str, changed: bool) -> None:
    assert changes(source, frozenset({"S", "cls"})) == changed


def test_the_strings_of_a_file_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []

    class Searching:
        def finditer(self, pattern: str, text: str) -> Iterator[re.Match[str]]:
            for match in re.finditer(pattern, text):
                searched.append(match.start())
                yield match

        def __getattr__(self, name: str) -> object:
            return getattr(re, name)

    monkeypatch.setattr(units, "re", Searching())
    functions = "".join(f'def f{each}():\n    """A docstring\nat the margin.\nStill.\n"""\n' for each in range(50))
    unit = Unit("x.py", "x", False, functions.encode(), lambda *problem: None, lambda unit, name: True)
    assert len(unit.names()) == 50
    assert len(searched) == len(set(searched)) == 50


def test_a_line_before_the_next_string_is_in_none() -> None:
    text = "a = 1\nb = 2\nx = '''\nc\nd'''\ne = 3\n"
    strings = units._Strings(text)
    places = [place for place, before in enumerate(text) if text[place - 1 : place] == "\n"]
    end = text.index("\ne = 3")
    assert [strings.end(place) for place in places] == [*places[:2], end, end, places[4]]
