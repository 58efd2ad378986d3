"""A config reads the same whether its statements have been met before or not."""

from __future__ import annotations

import ast

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from proving import PATH

from rewriter import configs, statements
from rewriter.configs import read_config
from rewriter.decoding import Decoded, decode
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


def test_a_statement_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def parse(source: Decoded) -> ast.Module | Problem:
        parsed.append(source.utf8)
        return ast.parse(source.utf8)

    monkeypatch.setattr(statements, "parse", parse)
    read_config(b"a = 1\nvae = dict(\n    x=a,\n)\n", PATH)
    read_config(b"b = 2\n\na = 1\nvae = dict(\n    x=a,\n)\nc = 3", PATH)
    assert [source.split() for source in parsed[1:]] == [[b"b", b"=", b"2", b"c", b"=", b"3"]]
    read_config(b"vae = dict(\n    x=a,\n)\na = 1\n", PATH)
    assert len(parsed) == 2


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
    for number in range(12):
        read_config(f"x{number} = [{'1, ' * 5000}]\n".encode(), PATH)
        assert statements.pieces(source) == first


def test_no_more_files_are_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "_MOST_READINGS", 3)
    for number in range(8):
        for _ in range(2):
            text = f"vae = dict(a={number})\n".encode()
            assert read_config(text, PATH) == read_alone(text)
            assert len(configs._outlines) <= 3
            assert len(configs._readings) <= 3
    assert configs._readings
