"""A config reads the same whether its statements have been met before or not."""

from __future__ import annotations

import ast
import copy

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from proving import PATH

from rewriter import configs, statements
from rewriter.configs import read_config
from rewriter.decoding import Decoded, decode, parse
from rewriter.types import ConfigFile, Problem

STATEMENTS = [
    "\uff56ae = dict(type='wide')\n", "dtype = \"bf16\"\n", "seed = 42\n", "seed = 7\n", "REPO = \"org/name\"\n",
    "REPO = \"{{$HOME:x}}\"\n", "dict = 3\n", "vae = dict(type=\"V\", from_pretrained=REPO)\n",
    "vae = dict(\n    type=\"V\",\n    seed=seed,\n)\n", "vae = None\n", "vae.update(seed=seed)\n",
    "common = dict(a=1)\n", "vae = dict(type='t', **common)\n", "model = {'type': vae}\n",
    "if seed:\n    vae[\"x\"] = 1\nelse:\n    del vae[\"x\"]\n", "else:\n    pass\n",
    "@wraps\ndef vae(): global seed\n", "# only a comment\n", "\n", "  # indented\n", "x = (\n", "y = 2\n", "z)\n",
    ")\n", "1,\n", "seed = 1; vae.pop('a')\n", "text = '''\nvae = 1\n'''\n", "a = 'x\\\ny'\n", "  b = 1\n",
    "\u00e9 = vae\n", "_base_ = 'b.py'\n", "from x import seed\n", "vae, seed = dict(), 1\n",
    "vae = seed = dict(type='x')\n", "x = [i for seed in ()]\n", "x:int=1", "vae = dict(type=(vae := 'x'))\n",
    "try:\n    pass\nexcept E as vae:\n    pass\nfinally:\n    seed = 2\n", "\fseed = 3\n",
]  # fmt: skip


def read_alone(data: bytes) -> ConfigFile:
    """What the file says to a process that reads it whole and has read no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statements, "_known_pieces", lambda _data: None)
        return read_config(data, PATH)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_kept", statements._Kept())
    monkeypatch.setattr(configs, "_outlines", set())
    monkeypatch.setattr(configs, "_readings", {})


many_files = st.lists(st.lists(st.sampled_from(STATEMENTS), max_size=7).map("".join), min_size=2, max_size=8)


@strategies.fuzz
@given(many_files)
def test_generated_files_read_the_same_after_others(files: list[str]) -> None:
    for text in [*files, *files]:
        data = text.encode()
        assert read_config(data, PATH) == read_alone(data), text


@strategies.fuzz
@given(strategies.config_source(), st.sampled_from(STATEMENTS), st.sampled_from(STATEMENTS))
def test_generated_variants_read_the_same(source: bytes, first: str, second: str) -> None:
    one, two = first.encode(), second.encode()
    for data in (source, one + source, source + b"\n" + one, two + source + b"\n" + one, one + source):
        assert read_config(data, PATH) == read_alone(data), data


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[list[bytes]]:
    """The words of each text that is parsed."""
    found: list[list[bytes]] = []
    real = statements.parse_text

    def parse_text(text: bytes) -> ast.Module | Problem:
        found.append(text.split())
        return real(text)

    monkeypatch.setattr(statements, "parse_text", parse_text)
    monkeypatch.setattr(statements, "parse", lambda source: parse_text(source.utf8))
    return found


def test_a_statement_is_parsed_once(parsed: list[list[bytes]]) -> None:
    read_config(b"a = 1\nvae = dict(\n    x=a,\n)\n", PATH)
    read_config(b"b = 2\n\na = 1\nvae = dict(\n    x=a,\n)\nc = 3", PATH)
    assert parsed[1:] == [b"b = 2 c = 3".split()]
    read_config(b"vae = dict(\n    x=a,\n)\na = 1\n", PATH)
    assert len(parsed) == 2


# Statements that are read from memory the second time, whatever stands around them.
WHOLE = [
    "a = 1", "A = X", "a = (\n)", "a = [\n    1,\n]", "a = f(\n\tb,\n\n# note\n)", "@d\ndef f(): pass", "a = '@d'",
    "@d\n@e\nclass C:\n  x = 1", "@d(\n    1\n)\n# note\nasync def f():\n    return 1", "a: int = 1", "a = 1 \t",
    "if a:\n    b = 1\nelse:\n    b = 2", "if a:\n    b = 1\nelif c:\n    b = 2\n# note\nelse: b = 3",
    "try:\n    a = 1\nexcept E:\n    b = 2\nfinally:\n    c = 3", "for a in b:\n    c\nelse: d", "elsewhere = 1",
    "exceptional = finally_ = 2", "a = 1; b = 2", "import a.b", "a = 1\n# X",
    "with a as b: pass", "\u00e9 = '\u00e8'", "a = 1\n  # deep",
]  # fmt: skip


@pytest.mark.parametrize("text", WHOLE)
def test_each_form_of_a_statement_is_known_again_at_another_place(parsed: list[list[bytes]], text: str) -> None:
    around = [("first = 0\n", ""), ("", "\nlast = 0"), ("\n\nnew = 0\n\n", "\n\n\nend = 0\n"), ("", "\n\n")]
    read_config(text.encode(), PATH)
    parsed.clear()
    for before, behind in around:
        read_config(f"{before}{text}{behind}".encode(), PATH)
    assert parsed == [b"first = 0".split(), b"last = 0".split(), b"new = 0 end = 0".split()]
    for before, behind in around:
        assert_as_parsed(f"{before}{text}{behind}".encode())


def assert_as_parsed(data: bytes) -> None:
    """The pieces hold the nodes that Python finds, at their lines."""
    source = decode(data)
    assert isinstance(source, Decoded)
    found = statements.pieces(source)
    whole = parse(source)
    if isinstance(whole, Problem):
        assert found == whole
        return
    assert not isinstance(found, Problem)
    nodes: list[str] = []
    for piece, delta in found:
        for node in piece.nodes:
            moved = ast.increment_lineno(copy.deepcopy(node), delta)
            nodes.append(ast.dump(moved, include_attributes=True))
    assert nodes == [ast.dump(node, include_attributes=True) for node in whole.body]


@strategies.fuzz
@given(many_files)
def test_generated_files_are_cut_into_what_python_finds(files: list[str]) -> None:
    for text in [*files, *files]:
        assert_as_parsed(text.encode())


# Files in the order in which they are read; what one taught must not make another read otherwise.
ODD = [
    ["x = (\ny)\n", "y)\n"], ["x = (\ny = 2\nz)\n", "y = 2\n", "x = (\ny = 2\nz)\n", "x = (\n", "z)\n"],
    ["y = 2\n", "x = (\ny = 2\nz)\n"], ["@d\n", "@d\ndef f(): pass\n", "def f(): pass\n", "@d\nx = 1\n"],
    ["else:\n    x = 1\n", "if a: b\n", "if a: b\nelse:\n    x = 1\n"], ["if a:\n    b\n  # c\nelse: d\n"],
    ["x = [\n1,\n2\n]\n", "1,\n", "x = [\n1,\n2\n]\n"], ["x = 1\n)\n", ")\n", "x = 1\n"], ["x = 1 X\n", "x = 1\n"],
    ["  x = 1\n", "x = 1\n", "\n  x = 1\n"], ["x = '''\ny = 1\n'''\n", "y = 1\n"], ["x = \\\ny\n", "y\n"],
    ["x = 1\r\ny = 2\r\n", "y = 2\n", "x = 1\ry = 2"], ["", "\n", "# c", "\f"], ["x = 'a\vb'\n", "x = 1\v"],
    ["x = 1\f\n", "x = 1\n\fy = 2\n", "\fx = 1\n"], ['x = """\n"""\n'], ["x = 1;\ny = 2;\n", "y = 2; x = 1\n"],
    ["def f():\n    x\n\ny = 1\n", "y = 1\ndef f():\n    x\n"], ["# c\n\n\nx = 1\n", "x = 1\n# c\n\n\n", "# c\n"],
    ["\ufeffx = 1\n", "x = 1\n"], ["# coding: latin-1\nx = 1\n", "x = 1\n"], ["x = 1\n# coding: latin-1\n", "x = 1\n"],
    ["@d\n\n@e\nx = 1\ny = 1\n", "y = 1\n"], ["if a:\n    b\nexcept:\n    c\n", "if a:\n    b\n"],
    ["class C:\n    x = 1\n\n    y = 2\nz = 3\n", "z = 3\n"], ["x\n@d\ndef f(): pass\ny\n", "y\nx\n"],
]  # fmt: skip


@pytest.mark.parametrize("files", ODD)
def test_odd_files_are_cut_into_what_python_finds(files: list[str]) -> None:
    for text in [*files, *files[::-1], *files]:
        assert_as_parsed(text.encode())


def test_a_variant_in_plain_settings_alone_is_not_evaluated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [
        f'steps = {n}\nREPO = "o/{n % 2}"\nvae = dict(type="V", from_pretrained=REPO)\n'.encode() for n in range(6)
    ]
    for source in sources[:4]:
        read_config(source, PATH)
    ran: list[bytes] = []
    real = configs._Reader.run
    monkeypatch.setattr(configs._Reader, "run", lambda self, found: (ran.append(self.utf8), real(self, found)))
    found = [
        read_config(source, PATH) for source in (*sources, b'steps = 9\nREPO = "o/9"\n' + sources[0].split(b"\n", 2)[2])
    ]
    assert len(ran) == 1
    monkeypatch.undo()
    assert [dict(each.components[0].values)["from_pretrained"].value for each in found] == [*["o/0", "o/1"] * 3, "o/9"]
    assert found[0].assigned == {"steps", "REPO", "vae"}


def test_a_broken_file_stays_broken_where_what_breaks_it_is_known() -> None:
    assert read_config(b"y = 2\n", PATH).problem is None
    broken = read_config(b"x = (\ny = 2\nz)\n", PATH)
    assert broken.problem is not None
    assert broken == read_alone(b"x = (\ny = 2\nz)\n")


def test_a_cookie_says_how_the_statements_are_read() -> None:
    source = '# coding: gbk\nvae = dict(type="V", from_pretrained="模型")\n'
    read_config(source.encode(), PATH)
    found = read_config(source.encode("gbk"), PATH)
    assert dict(found.components[0].values)["from_pretrained"].value == "模型"


def test_what_is_kept_is_bounded() -> None:
    for number in range(40):
        read_config(f"x{number} = [{'1, ' * 4000}]\n".encode(), PATH)
    kept = statements._kept
    assert kept.size <= statements.MOST_BYTES
    assert sum(map(len, [*kept.young, *kept.old])) <= 2 * statements.MOST_BYTES
    large = f"x = '{'a' * statements.LONGEST}'\n".encode()
    read_config(large, PATH)
    assert large not in kept.young
    for number in range(2 * configs._MOST_READINGS + 1):
        read_config(f"vae = dict(a={number % (configs._MOST_READINGS + 1)})\n".encode(), PATH)
    assert len(configs._outlines) <= configs._MOST_READINGS
    assert len(configs._readings) <= configs._MOST_READINGS


def test_old_statements_are_found_again_before_they_are_dropped() -> None:
    source = decode(b"vae = dict(a=1)\n")
    assert isinstance(source, Decoded)
    first = statements.pieces(source)
    for number in range(40):
        read_config(f"x{number} = [{'1, ' * 5000}]\n".encode(), PATH)
        assert statements.pieces(source) == first
    assert statements._kept.old


def test_no_more_files_are_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "_MOST_READINGS", 3)
    for number in range(8):
        for _ in range(2):
            text = f"vae = dict(a={number})\n".encode()
            assert read_config(text, PATH) == read_alone(text)
            assert len(configs._outlines) <= 3
            assert len(configs._readings) <= 3
    assert configs._readings


def placed(data: bytes) -> list[statements.Placed]:
    """The pieces of a file that can be read."""
    source = decode(data)
    assert isinstance(source, Decoded)
    found = statements.pieces(source)
    assert not isinstance(found, Problem)
    return found


def test_texts_are_kept_up_to_their_limits() -> None:
    kept = statements._kept
    longest = b"x = '" + b"a" * (statements.LONGEST - 6) + b"'"
    assert len(longest) == statements.LONGEST
    assert placed(longest)[0][0] is placed(longest)[0][0]
    longer = b"y" + longest
    assert placed(longer)[0][0] is not placed(longer)[0][0]
    assert kept.size == statements.LONGEST
    most = statements.MOST_BYTES // statements.LONGEST
    for number in range(1, most):
        placed(longest.replace(b"x", bytes([97 + number])))
    assert (kept.size, len(kept.young), len(kept.old)) == (statements.MOST_BYTES, most, 0)
    placed(b"z=1")
    assert (kept.size, list(kept.young), len(kept.old)) == (3, [b"z=1"], most)
    first = placed(longest)
    assert (kept.size, list(kept.young), len(kept.old)) == (statements.LONGEST + 3, [b"z=1", longest], most)
    assert placed(longest) == first


def test_what_is_not_kept_has_no_outline() -> None:
    assert statements.outline(placed(b"a = 1\nvae = dict()\n")) == ((placed(b"vae = dict()")[0][0], 0),)
    assert statements.outline(placed(b"a = 1\n")) == ()
    assert statements.outline(placed(b"a = 1\rvae = dict()\r")) is None
    assert statements.outline(placed(b"a = 1\r")) == ()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("seed = 1\nvae = dict(a=1)", "seed = 2\nvae = dict(a=1)", True),
        ("seed = 1\nvae = dict(a=1)", "vae = dict(a=1)", False),  # on another line
        ("seed = 1\nvae = dict(type='seed')", "seed = 2\nvae = dict(type='seed')", True),
        ("seed = 1\nvae = dict(a=seed)", "seed = 2\nvae = dict(a=seed)", False),
        ("seed = 1\nvae = dict(seed=1)", "seed = 2\nvae = dict(seed=1)", False),
        ("seed = 1\nvae.seed = {}", "seed = 2\nvae.seed = {}", False),
        ("seed = 1\ndef f(): global seed", "seed = 2\ndef f(): global seed", False),
        ("seed = 1\nimport seed", "seed = 2\nimport seed", False),
        ("seed = 1\ndef f(seed): pass", "seed = 2\ndef f(seed): pass", False),
        ("_base_ = 'a'\nvae = {}", "_base_ = 'b'\nvae = {}", False),
        ("a = b = 1\nvae = {}", "a = b = 2\nvae = {}", False),
        ("a.b = 1\nvae = {}", "a.b = 2\nvae = {}", False),
        ("a = -1\nvae = {}", "a = -2\nvae = {}", False),
        ("a = 1; b = 2\nvae = {}", "a = 1; b = 3\nvae = {}", False),
        ("a: int = 1\nvae = {}", "a: int = 2\nvae = {}", False),
    ],
)
def test_files_are_of_one_shape_where_only_plain_settings_differ(first: str, second: str, same: bool) -> None:
    one, two = (statements.shape(placed(text.encode())) for text in (first, second))
    assert (one == two) == same
