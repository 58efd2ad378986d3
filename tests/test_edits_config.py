"""Editing the dicts of a config file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import strategies
from hypothesis import given
from proving import changes_for, component, prove_config_edit, read

from rewriter.edits.config import EditError, edit_config, same, write_literal
from rewriter.proof import compare
from rewriter.types import REMOVE, ConfigChange, ConfigFile

NAMES = ("text_encoder", "vae")
ALL = (*NAMES, "model", "vae_2d", "other", "é")


def added(source: str, value: object = "/models/hf", key: str = "cache_dir", **options: Path) -> str:
    """``source`` after a proved edit of its ``vae``."""
    return prove_config_edit(source.encode(), (["vae"], key, value), resolve_in=options.get("resolve_in")).decode()


def one_each(config: ConfigFile, value: object, key: str) -> list[ConfigChange]:
    """One change for each dict: one that has two names counts once."""
    return list({c.component.span: c for c in changes_for(config, ALL, key, value)}.values())


STYLES = {
    "one line": (
        'vae = dict(type="x", from_pretrained="y", a=1)\n',
        'vae = dict(type="x", from_pretrained="y", cache_dir="/models/hf", a=1)\n',
    ),
    "one line, tight, trailing comma": (
        "vae = dict(type='x',from_pretrained='y',)",
        "vae = dict(type='x',from_pretrained='y',cache_dir='/models/hf',)",
    ),
    "several lines": (
        'vae = dict(\n    type="x",\n    from_pretrained="y",\n    a=1,\n)\n',
        'vae = dict(\n    type="x",\n    from_pretrained="y",\n    cache_dir="/models/hf",\n    a=1,\n)\n',
    ),
    "no trailing comma": (
        'vae = dict(\n\ttype="x",\n\tfrom_pretrained="y"\n)\n',
        'vae = dict(\n\ttype="x",\n\tfrom_pretrained="y",\n\tcache_dir="/models/hf"\n)\n',
    ),
    "hugging": (
        "vae = dict(type='x',\n           from_pretrained='y')\n",
        "vae = dict(type='x',\n           from_pretrained='y',\n           cache_dir='/models/hf')\n",
    ),
    "comments": (
        'vae = dict(  # vae\n    type="x",\n    from_pretrained="y",  # path\n    # b=2,\n\n    a=1,\n)\n',
        'vae = dict(  # vae\n    type="x",\n    from_pretrained="y",  # path\n    cache_dir="/models/hf",\n'
        "    # b=2,\n\n    a=1,\n)\n",
    ),
    "comment behind the last one": (
        'vae = dict(\n    type="x"  # the type\n    # end\n)\n',
        'vae = dict(\n    type="x",  # the type\n    cache_dir="/models/hf"\n    # end\n)\n',
    ),
    "spaces round the sign": (
        'vae = dict(\n    type = "x",\n)\n',
        'vae = dict(\n    type = "x",\n    cache_dir = "/models/hf",\n)\n',
    ),
    "signs lined up": (
        "vae = dict(\n    type            = 'x',\n    from_pretrained = 'y',\n)\n",
        "vae = dict(\n    type            = 'x',\n    from_pretrained = 'y',\n    cache_dir       = '/models/hf',\n)\n",
    ),
    "values lined up": (
        "vae = {\n    'type':      'x',\n    'subfolder': 'y',\n}\n",
        "vae = {\n    'type':      'x',\n    'cache_dir': '/models/hf',\n    'subfolder': 'y',\n}\n",
    ),
    "literal": (
        "vae = {'type': \"x\", 'a': 1}\n",
        "vae = {'type': \"x\", 'cache_dir': \"/models/hf\", 'a': 1}\n",
    ),
    "literal before a spread": (
        'vae = {"type": "x", **common}\n',
        'vae = {"type": "x", **common, "cache_dir": "/models/hf"}\n',
    ),
    "comma first": (
        'vae = dict(\n      type="x"\n    , from_pretrained="y" # p\n    , a=1\n)\n',
        'vae = dict(\n      type="x"\n    , from_pretrained="y" # p\n    , cache_dir="/models/hf"\n    , a=1\n)\n',
    ),
    "neither type nor path": ("vae = dict(a=1, b=2)\n", 'vae = dict(a=1, b=2, cache_dir="/models/hf")\n'),
    "no type before **": ("vae = dict(a=1, **b)\n", 'vae = dict(a=1, cache_dir="/models/hf", **b)\n'),
    "empty": ("vae = dict()\n", 'vae = dict(cache_dir="/models/hf")\n'),
    "empty, on lines": ("vae = {\n}\n", 'vae = {\n    "cache_dir": "/models/hf",\n}\n'),
    "two on a line": (
        'vae = dict(\n    type="x", from_pretrained="y", a=1,\n    b=2,\n)\n',
        'vae = dict(\n    type="x", from_pretrained="y", cache_dir="/models/hf", a=1,\n    b=2,\n)\n',
    ),
    "two statements on a line": (
        "a = 1; vae = dict(type='x'); b = 2  # dict(type='x')\n",
        "a = 1; vae = dict(type='x', cache_dir='/models/hf'); b = 2  # dict(type='x')\n",
    ),
    "in a branch": (
        "if a:\n    vae = dict(\n        type='x',\n    )\nelse:\n  vae = None\n",
        "if a:\n    vae = dict(\n        type='x',\n        cache_dir='/models/hf',\n    )\nelse:\n  vae = None\n",
    ),
    "bracket on a line of its own": (
        "vae = (dict\n  (type='x'))\n",
        "vae = (dict\n  (type='x', cache_dir='/models/hf'))\n",
    ),
    "after a form feed": ("\x0cvae = dict(type='x')\n", "\x0cvae = dict(type='x', cache_dir='/models/hf')\n"),
    "letters before it": ("é, vae = '模', dict(type='é')\n", "é, vae = '模', dict(type='é', cache_dir='/models/hf')\n"),
    "nested": (
        "model = dict(\n    vae=dict(type='x'),\n)\n",
        "model = dict(\n    vae=dict(type='x', cache_dir='/models/hf'),\n)\n",
    ),
    "both of a ternary": (
        "vae = dict(type='x') if a else {}\n",
        "vae = dict(type='x', cache_dir='/models/hf') if a else {\"cache_dir\": \"/models/hf\"}\n",
    ),
    "backslashes": (
        "vae = dict(type='x', \\\n  a=1)\n",
        "vae = dict(type='x', cache_dir='/models/hf', \\\n  a=1)\n",
    ),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("old", "new"), STYLES.values(), ids=STYLES)
def test_a_new_keyword_is_written_as_its_neighbours_are(old: str, new: str, newline: str) -> None:
    assert added(old.replace("\n", newline)) == new.replace("\n", newline)


def test_mixed_line_ends_stay_mixed() -> None:
    old = "a = 1\r\nvae = dict(\n    type='x',\r\n    a=1,\n)\r\n"
    assert added(old) == "a = 1\r\nvae = dict(\n    type='x',\r\n    cache_dir='/models/hf',\r\n    a=1,\n)\r\n"


REPLACED = {
    "trailing comment stays": (
        'vae = dict(\n    cache_dir=None,  # "/mnt/hdd/cached_models",\n    type="x",\n)\n',
        'vae = dict(\n    cache_dir="/models/hf",  # "/mnt/hdd/cached_models",\n    type="x",\n)\n',
    ),
    "its own quotes": ("vae = dict(type=\"x\", cache_dir='a')\n", "vae = dict(type=\"x\", cache_dir='/models/hf')\n"),
    "an expression": (
        "vae = dict(cache_dir=os.environ['X'], type='x')\n",
        "vae = dict(cache_dir='/models/hf', type='x')\n",
    ),
    "an implicit concatenation": ("vae = {'cache_dir': ('a'\n  'b')}\n", "vae = {'cache_dir': '/models/hf'}\n"),
    "a prefix": ("vae = dict(cache_dir=f'{x}')\n", 'vae = dict(cache_dir="/models/hf")\n'),
    "spaces": ("vae = dict( cache_dir  =  None )\n", 'vae = dict( cache_dir  =  "/models/hf" )\n'),
    "a key in pieces": ("vae = {'cache' '_dir': 'a'}\n", "vae = {'cache' '_dir': '/models/hf'}\n"),
    "the one that wins": (
        "vae = {'cache_dir': 'a', 'cache_dir': 'b'}\n",
        "vae = {'cache_dir': 'a', 'cache_dir': '/models/hf'}\n",
    ),
    "already so": ("vae = dict(cache_dir=r'/models' \"/hf\")\n", "vae = dict(cache_dir=r'/models' \"/hf\")\n"),
}


@pytest.mark.parametrize(("old", "new"), REPLACED.values(), ids=REPLACED)
def test_a_replaced_value_keeps_its_place(old: str, new: str) -> None:
    assert added(old) == new


REMOVED = {
    "own line, with its comment": (
        "vae = dict(\n    type='x',\n    cache_dir='a',  # gone\n    # stays\n    b=1,\n)\n",
        "vae = dict(\n    type='x',\n    # stays\n    b=1,\n)\n",
    ),
    "last without a comma": ("vae = dict(\n  type='x',\n  cache_dir='a'\n)\n", "vae = dict(\n  type='x'\n)\n"),
    "one line": ("vae = dict(type='x', cache_dir='a', b=1)  # c\n", "vae = dict(type='x', b=1)  # c\n"),
    "first": ("vae = dict(cache_dir='a', b=1)\n", "vae = dict(b=1)\n"),
    "first on its line": (
        "vae = dict(\n  a=1,\n  cache_dir='a', b=1,  # b\n)\n",
        "vae = dict(\n  a=1,\n  b=1,  # b\n)\n",
    ),
    "last on its line": (
        "vae = dict(\n  a=1, cache_dir='a',  # a\n  b=1,\n)\n",
        "vae = dict(\n  a=1,  # a\n  b=1,\n)\n",
    ),
    "first of all, own line": ("vae = dict(\n  cache_dir='a',  # gone\n  b=1,\n)\n", "vae = dict(\n  b=1,\n)\n"),
    "first, hugging": ("vae = dict(cache_dir='a',\n  # about b\n  b=1)\n", "vae = dict(\n  # about b\n  b=1)\n"),
    "the only one": ("vae = dict(cache_dir='a')\n", "vae = dict()\n"),
    "the only one, on lines": ("vae = {\n  'cache_dir': 'a',\n}\n", "vae = {\n}\n"),
    "twice": ("vae = {'cache_dir': 'a', 'b': 1, 'cache_dir': 'c'}\n", "vae = {'b': 1}\n"),
    "absent": ("vae = dict(b=1)\n", "vae = dict(b=1)\n"),
}


@pytest.mark.parametrize(("old", "new"), REMOVED.values(), ids=REMOVED)
def test_removing(old: str, new: str) -> None:
    assert added(old, REMOVE) == new


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
        ("", '""'),
        (None, "None"),
        (True, "True"),
        (-1.5, "-1.5"),
        (("a",), '("a",)'),
        ([1, {"a": ()}], '[1, {"a": ()}]'),
    ],
)
def test_values_are_plain_literals(value: object, text: str) -> None:
    assert write_literal(value) == text
    assert same(ast.literal_eval(text), value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), [len], REMOVE])
def test_what_has_no_literal_is_refused(value: object) -> None:
    with pytest.raises(EditError, match="cannot be written"):
        write_literal(value)


def test_letters_that_the_file_cannot_hold_are_escaped() -> None:
    old = "# coding: latin-1\nvae = dict(type='é')\n".encode("latin-1")
    new = prove_config_edit(old, (["vae"], "cache_dir", "/é/模"))
    assert new == "# coding: latin-1\nvae = dict(type='é', cache_dir='/é/\\u6a21')\n".encode("latin-1")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gbk", "utf-8"])
def test_encodings_stay(encoding: str) -> None:
    cookie = "# coding: gbk\n" if encoding == "gbk" else ""
    old = f"{cookie}模 = 1; vae = dict(type='模')  # 型\n"
    new = prove_config_edit(old.encode(encoding), (["vae"], "cache_dir", "/缓存"))
    assert new == old.replace("'模')", "'模', cache_dir='/缓存')").encode(encoding)


def test_true_is_not_one() -> None:
    assert not same(True, 1)
    assert not same([1.0], [1])
    assert not same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert added("vae = dict(a=1)\n", True, "a") == "vae = dict(a=True)\n"


# --- several changes ----------------------------------------------------------------------------


def test_several_dicts_one_in_the_other() -> None:
    old = b"model = dict(\n    type='m',\n    vae=dict(type='v', vae_2d={'type': 'd'}),\n)\nt5 = dict(type='t')\n"
    new = prove_config_edit(old, lambda config: [ConfigChange(c, "cache_dir", "/c") for c in config.components])
    assert new == (
        b"model = dict(\n    type='m',\n    cache_dir='/c',\n    vae=dict(type='v', cache_dir='/c', "
        b"vae_2d={'type': 'd', 'cache_dir': '/c'}),\n)\nt5 = dict(type='t', cache_dir='/c')\n"
    )


def test_a_value_may_be_a_dict() -> None:
    old = b"common = dict(a=1)\nvae = dict(a=dict(b=1), **common)\nt5 = {**vae}\n"
    changes = changes_for(read(old), ["vae"], "a", {"c": {}})
    new = edit_config(old, changes)
    assert new == old.replace(b"dict(b=1)", b'{"c": {}}')
    assert compare(old, new, "/x.py", changes) is None


def test_several_keys_of_one_dict() -> None:
    def asked(config: ConfigFile) -> list[ConfigChange]:
        vae = component(config, "vae")
        changes = {"cache_dir": "/c", "local_files_only": True, "b": 3, "a": REMOVE}
        return [ConfigChange(vae, key, value) for key, value in changes.items()]

    new = prove_config_edit(b"vae = dict(from_pretrained='y', a=1, b=2)\n", asked)
    assert new == b"vae = dict(from_pretrained='y', local_files_only=True, cache_dir='/c', b=3)\n"


def test_a_dict_of_two_names_is_edited_once() -> None:
    new = prove_config_edit(
        b"common = dict(type='x')\nvae = common\ntext_encoder = common\n", (NAMES, "cache_dir", "/c")
    )
    assert new == b"common = dict(type='x', cache_dir='/c')\nvae = common\ntext_encoder = common\n"


def test_a_dict_of_two_names_cannot_get_two_values() -> None:
    old = b"vae = text_encoder = dict(type='x')\n"
    first, second = read(old).components
    with pytest.raises(EditError, match=r"vae and text_encoder are one dict"):
        edit_config(old, [ConfigChange(first, "a", 1), ConfigChange(second, "a", 2)])


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "key", "words"),
    [
        ("vae = make()\n", "a", "not a dict written here"),
        ("vae = dict(x for x in y)\n", "a", "generator"),
        ("vae = dict(type='x')\n", "no-name", "cannot be a keyword"),
        ("vae = dict(type='x')\n", "class", "cannot be a keyword"),
        ("vae = {'type': 'x'}\n", "a\n", "cannot be written as a key"),
        ("c = dict(a=1)\nvae = dict(type='x', **c)\n", "a", "arrives here"),
    ],
)
def test_what_cannot_be_done_says_so_with_its_line(source: str, key: str, words: str) -> None:
    source = "# first\n" + source
    vae = component(read(source), "vae")
    with pytest.raises(EditError, match=words) as caught:
        edit_config(source.encode(), [ConfigChange(vae, key, 1)])
    assert caught.value.line == vae.span.line


def test_a_file_that_cannot_be_read_is_not_edited() -> None:
    with pytest.raises(EditError, match="NUL"):
        edit_config(b"\0", [])


def test_a_key_with_quotes_in_a_literal() -> None:
    assert added("vae = {'type': 'x'}\n", 1, "it's") == "vae = {'type': 'x', 'it\\'s': 1}\n"


# --- with mmengine -----------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["one line", "several lines", "hugging", "comments", "literal", "nested"])
def test_mmengine_resolves_what_was_asked_for(style: str, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    for value in ("/models/hf", "{{$HOME:x}}/'\"\\"):
        added(STYLES[style][0], value, resolve_in=tmp_path)


# --- anything ----------------------------------------------------------------------------------


@strategies.fuzz
@given(strategies.config_source(), strategies.values)
def test_generated_sources_keep_every_other_byte(data: bytes, value: object) -> None:
    prove_config_edit(data, lambda config: one_each(config, value, "cache_dir"))


@strategies.fuzz
@given(strategies.config_source(), strategies.values)
def test_generated_sources_with_a_value_replaced(data: bytes, value: object) -> None:
    prove_config_edit(data, lambda config: one_each(config, value, "type"))


@strategies.fuzz
@given(strategies.config_source())
def test_generated_sources_with_a_key_removed(data: bytes) -> None:
    prove_config_edit(data, lambda config: one_each(config, REMOVE, "type"))
    prove_config_edit(data, lambda config: one_each(config, REMOVE, "from_pretrained"))
