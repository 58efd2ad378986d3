"""Editing the dicts of a config file: values, several changes, refusals, and generated sources."""

from __future__ import annotations

from pathlib import Path

import pytest
import strategies
from hypothesis import given
from proving import Request, change_key, find_dicts, prove_config_edit

from rewriter.edit.literals import EditError, write_literal
from rewriter.edit.loader import edit_config
from rewriter.model import REMOVE, Component, ConfigChange, Span
from rewriter.read.configs import find_values


def edit(source: str, value: object = "/models/hf", key: str = "cache_dir", resolve_in: Path | None = None) -> str:
    """``source`` after a proved edit of its ``vae``."""
    return prove_config_edit(source.encode(), change_key("vae", key, value), resolve_in=resolve_in).decode()


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("/a b", '"/a b"'),
        ("/'\"\\", '"/\'\\"\\\\"'),
        ("C:\\x", '"C:\\\\x"'),
        ("a\nb\x1b\u2028\ud800", '"a\\nb\\x1b\\u2028\\ud800"'),
        ("模型", '"模型"'),
        ("\x7f\x80\xff\u200b\uffff\U000e0001\U0001f600", '"\\x7f\\x80ÿ\\u200b\\uffff\\U000e0001😀"'),
        ("{{$X:y}}{{{", '"{\\x7b$X:y}}{\\x7b{"'),
        (["{{a}}", {"b": ()}, (1,)], "['{\\x7ba}}', {'b': ()}, (1,)]"),
        (True, "True"),
        (-1.5, "-1.5"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_values_are_plain_literals(value: object, text: str) -> None:
    assert write_literal(value) == text


@pytest.mark.parametrize("value", [float("nan"), object(), [len], REMOVE, frozenset({1})])
def test_what_has_no_literal_is_refused(value: object) -> None:
    with pytest.raises(EditError) as caught:
        write_literal(value)
    assert caught.value.message == f"{value!r} cannot be written as a Python literal"


def test_letters_of_two_and_more_bytes() -> None:
    old = "# coding: utf8\n模 = 1; vae = dict(type='模')  # 型\n"
    new = prove_config_edit(old.encode(), change_key("vae", "cache_dir", "/缓存"))
    assert new.decode() == old.replace("'模')", "'模', cache_dir='/缓存')")


# --- several changes ----------------------------------------------------------------------------


def test_several_dicts_one_in_the_other() -> None:
    old = b"model = dict(\n    type='m',\n    vae=dict(type='v', vae_2d={'type': 'd'}),\n)\nt5 = dict(type='t')\n"
    new = prove_config_edit(old, change_all("cache_dir", "/c"))
    assert new == (
        b"model = dict(\n    type='m',\n    cache_dir='/c',\n    vae=dict(type='v', cache_dir='/c', "
        b"vae_2d={'type': 'd', 'cache_dir': '/c'}),\n)\nt5 = dict(type='t', cache_dir='/c')\n"
    )


# --- refusals ----------------------------------------------------------------------------------


def test_what_libcst_cannot_parse_is_refused() -> None:
    old = b"\nvae = dict(type='x', b=" + b"-" * 600 + b"1)\n"
    vae = Component(("vae",), Span(2, 6, 2, len(old) - 2))
    with pytest.raises(EditError, match="libcst cannot edit this code") as caught:
        edit_config(old, [ConfigChange(vae, "cache_dir", "/c")])
    assert caught.value.line == 2


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

REFUSED = ("the new code would not say", "libcst cannot edit")


def change_all(key: str, value: object) -> Request:
    """``key`` of every dict gets ``value``, but for dicts in a value that goes."""

    def request(data: bytes) -> list[ConfigChange]:
        dicts = find_dicts(data)
        gone = [find_values(data)[each.span, key] for each in dicts if key in each.keywords]
        within = {each.span for each in dicts for span in gone if _holds(span, each.span)}
        return [ConfigChange(each, key, value) for each in dicts if each.span not in within]

    return request


def _holds(outer: Span, inner: Span) -> bool:
    start, end = (outer.line, outer.column), (outer.end_line, outer.end_column)
    return start <= (inner.line, inner.column) and (inner.end_line, inner.end_column) <= end


def prove_or_refuse(data: bytes, request: Request) -> None:
    """The edit is right, or refused for one of the known reasons with its line."""
    try:
        prove_config_edit(data, request)
    except EditError as error:
        if not error.message.startswith(REFUSED) or error.line == 0:
            raise


@strategies.fuzz
@given(strategies.config_source(), strategies.values)
def test_generated_sources_keep_every_other_byte(data: bytes, value: object) -> None:
    prove_or_refuse(data, change_all("cache_dir", value))


@strategies.fuzz
@given(strategies.config_source())
def test_generated_sources_with_a_key_removed(data: bytes) -> None:
    prove_or_refuse(data, change_all("type", REMOVE))
    prove_or_refuse(data, change_all("from_pretrained", REMOVE))
