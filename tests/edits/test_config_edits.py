"""Editing the dicts of a config file: values, encodings, several changes, refusals, and generated sources."""

from __future__ import annotations

from pathlib import Path

import pytest
import strategies
from hypothesis import given
from proving import Request, change_key, find_dicts, prove_config_edit

from rewriter.edit.literals import is_literal, write_literal
from rewriter.edit.loader import EditError, edit_config
from rewriter.model import REMOVE, Component, ConfigChange, Span


def edit(source: str, value: object = "/models/hf", key: str = "cache_dir", resolve_in: Path | None = None) -> str:
    """``source`` after a proved edit of its ``vae``."""
    return prove_config_edit(source.encode(), change_key("vae", key, value), resolve_in=resolve_in).decode()


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("/a b", '"/a b"'),
        ('/a"b', "'/a\"b'"),
        ("/'\"", '"/\'\\""'),
        ("C:\\x", '"C:\\\\x"'),
        ("a\nb\x1b\u2028\ud800", '"a\\nb\\x1b\\u2028\\ud800"'),
        ("模型", '"模型"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("{{$X:y}}", '"{\\x7b$X:y}}"'),
        (True, "True"),
        (-1.5, "-1.5"),
        (("a",), '("a",)'),
        ((1, "a"), '(1, "a")'),
        ([1, {"a": ()}], '[1, {"a": ()}]'),
        ({"a": 1, 2: ["b"], (3,): None}, '{"a": 1, 2: ["b"], (3,): None}'),
        (b"x'", 'b"x\'"'),
        (10**30, "1" + "0" * 30),
        ("\x7f\x80\xff\u0100\u200b\uffff\U00010000\U0001f600", '"\\x7f\\x80ÿĀ\\u200b\\uffff𐀀😀"'),
        ("a{{{{{b}}", '"a{\\x7b{\\x7b{b}}"'),
    ],
)
def test_values_are_plain_literals(value: object, text: str) -> None:
    assert write_literal(value) == text
    assert is_literal(text, value)


@pytest.mark.parametrize("value", [float("nan"), object(), [len], REMOVE, frozenset({1})])
def test_what_has_no_literal_is_refused(value: object) -> None:
    with pytest.raises(EditError) as caught:
        write_literal(value)
    assert caught.value.message == f"{value!r} cannot be written as a Python literal"


def test_letters_that_the_file_cannot_hold_are_escaped() -> None:
    old = "# coding: latin-1\nvae = dict(type='é')\n".encode("latin-1")
    new = prove_config_edit(old, change_key("vae", "cache_dir", "/é/模"))
    assert new == "# coding: latin-1\nvae = dict(type='é', cache_dir='/é/\\u6a21')\n".encode("latin-1")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gbk", "utf-8"])
def test_encodings_stay(encoding: str) -> None:
    cookie = "# coding: gbk\n" if encoding == "gbk" else ""
    old = f"{cookie}模 = 1; vae = dict(type='模')  # 型\n"
    new = prove_config_edit(old.encode(encoding), change_key("vae", "cache_dir", "/缓存"))
    assert new == old.replace("'模')", "'模', cache_dir='/缓存')").encode(encoding)


@pytest.mark.parametrize(
    ("one", "other"), [(True, 1), ([1.0], [1]), ([1], (1,)), ({"a": 1}, {"a": True}), (None, False)]
)
def test_values_that_a_build_could_tell_apart_are_not_the_same(one: object, other: object) -> None:
    assert not is_literal(repr(one), other)
    assert is_literal(repr(one), one)


# --- several changes ----------------------------------------------------------------------------


def test_several_dicts_one_in_the_other() -> None:
    old = b"model = dict(\n    type='m',\n    vae=dict(type='v', vae_2d={'type': 'd'}),\n)\nt5 = dict(type='t')\n"
    new = prove_config_edit(old, change_all("cache_dir", "/c"))
    assert new == (
        b"model = dict(\n    type='m',\n    cache_dir='/c',\n    vae=dict(type='v', cache_dir='/c', "
        b"vae_2d={'type': 'd', 'cache_dir': '/c'}),\n)\nt5 = dict(type='t', cache_dir='/c')\n"
    )


def test_a_dict_of_two_names_cannot_get_two_values() -> None:
    old = b"\nvae = text_encoder = dict(type='x')\n"
    (vae,) = find_dicts(old)
    other = Component(("text_encoder",), vae.span, "")
    with pytest.raises(EditError) as caught:
        edit_config(old, [ConfigChange(vae, "a", 1), ConfigChange(other, "a", 2)])
    assert (caught.value.message, caught.value.line) == ("two changes are requested at one place", 2)
    assert edit_config(old, [ConfigChange(vae, "a", 1), ConfigChange(other, "a", 1)]) == old.replace(b"')", b"', a=1)")


# --- refusals ----------------------------------------------------------------------------------


def test_what_libcst_cannot_parse_is_refused() -> None:
    with pytest.raises(EditError, match="libcst cannot read this code") as caught:
        edit("\nvae = dict(type='x', b=" + "-" * 600 + "1)\n")
    assert caught.value.line == 2


def test_a_file_that_cannot_be_read_is_not_edited() -> None:
    with pytest.raises(EditError) as caught:
        edit_config(b"x\n\0", [])
    assert (caught.value.message, caught.value.line) == ("the file holds a NUL byte", 2)


# --- with mmengine -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        'vae = dict(type="x", from_pretrained="y", a=1)\n',
        "vae = dict(  # vae\n    type='x',\n    from_pretrained='y',  # path\n    # b=2,\n)\n",
        "vae = {'type': \"x\", 'a': 1}\n",
        "model = dict(\n    vae=dict(type='x'),\n)\nother = dict(cache_dir='/o')\n",
        "vae = dict(cache_dir=None,  # no\n  a=1)\n",
    ],
)
def test_mmengine_resolves_what_was_requested(source: str, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    for value in ("/models/hf", "{{$HOME:x}}/'\"\\"):
        edit(source, value, resolve_in=tmp_path)
    edit(source, REMOVE, resolve_in=tmp_path)


# --- anything ----------------------------------------------------------------------------------

REFUSED = ("a line that begins with a comma", "libcst cannot read")


def change_all(key: str, value: object) -> Request:
    """``key`` of every dict gets ``value``, but for dicts in a value that goes."""

    def request(data: bytes) -> list[ConfigChange]:
        dicts = find_dicts(data)
        gone = [word.span for each in dicts for word in each.keywords if word.key == key]
        within = {each.span for each in dicts for span in gone if _holds(span, each.span)}
        return [ConfigChange(each, key, value) for each in dicts if each.span not in within]

    return request


def _holds(outer: Span, inner: Span) -> bool:
    start, end = (outer.line, outer.column), (outer.end_line, outer.end_column)
    return start <= (inner.line, inner.column) and (inner.end_line, inner.end_column) <= end


def prove_or_refuse(data: bytes, request: Request) -> None:
    """The edit is right, or refused for one of the known reasons with its line."""
    try:
        edit_config(data, request(data))
    except EditError as error:
        if error.message.startswith(REFUSED) and error.line > 0:
            return
        raise
    prove_config_edit(data, request)


@strategies.fuzz
@given(strategies.config_source(), strategies.values)
def test_generated_sources_keep_every_other_byte(data: bytes, value: object) -> None:
    prove_or_refuse(data, change_all("cache_dir", value))


@strategies.fuzz
@given(strategies.config_source())
def test_generated_sources_with_a_key_removed(data: bytes) -> None:
    prove_or_refuse(data, change_all("type", REMOVE))
    prove_or_refuse(data, change_all("from_pretrained", REMOVE))
