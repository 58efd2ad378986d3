"""Editing the dicts of a config file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import libcst as cst
import pytest
import strategies
from hypothesis import given
from proving import changes_for, component, prove_config_edit, read

from rewriter.edits import config as config_edits
from rewriter.edits.config import EditError, edit_config, same, write_literal
from rewriter.proof import compare
from rewriter.types import REMOVE, ConfigChange, ConfigFile

NAMES = ("text_encoder", "vae")
ALL = (*NAMES, "model", "vae_2d", "other", "é")


def added(source: str, value: object = "/models/hf", key: str = "cache_dir", **options: Path) -> str:
    """``source`` after a proved edit of its ``vae``."""
    return prove_config_edit(source.encode(), (["vae"], key, value), resolve_in=options.get("resolve_in")).decode()


def one_each(config: ConfigFile, value: object, key: str) -> list[ConfigChange]:
    """One change for each dict: one that has two names counts once.

    Where `type` gets another value, dicts that are spread, or spread others, are left out: what one of them then says
    depends on the others, and many such edits are refused. So are dicts that stand for a `type` themselves, and those
    whose `type` names others: without it these stand for none.
    """
    changes = changes_for(config, ALL, key, value)
    names = {each.keys[0]: each.span for each in config.components if len(each.keys) == 1}
    mixed = {
        c.component.span for c in changes
        if value is not REMOVE and key == "type"
        and ("type" in c.component.keys or c.component.takers
             or any(each == key and names.get(word, c.component.span) != c.component.span
                    for each, held in c.component.values for word in re.findall(r"\w+", held.text))
             or (c.component.form == "literal" and "spread" in c.component.ways))
    }  # fmt: skip
    return list({c.component.span: c for c in changes if c.component.span not in mixed}.values())


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
    "only a spread": ("vae = dict(**b)\n", 'vae = dict(cache_dir="/models/hf", **b)\n'),
    "only a spread, on a line": (
        "vae = dict(  # c\n\n    # d\n    **b\n)\n",
        'vae = dict(  # c\n\n    # d\n    cache_dir="/models/hf",\n    **b\n)\n',
    ),
    "only spreads, on one line": (
        "vae = dict(\n    **b, **c,\n)\n",
        'vae = dict(\n    cache_dir="/models/hf", **b, **c,\n)\n',
    ),
    "only spreads, on lines": (
        "vae = dict(  # c\n    # d\n    **b,  # e\n    **c,\n)\n",
        'vae = dict(  # c\n    # d\n    cache_dir="/models/hf",\n    **b,  # e\n    **c,\n)\n',
    ),
    "only spreads, hugging": ("vae = dict(**b,\n    **c)\n", 'vae = dict(cache_dir="/models/hf", **b,\n    **c)\n'),
    "only a spread in a literal": ("vae = {**a}\n", 'vae = {**a, "cache_dir": "/models/hf"}\n'),
    "a spread before type in a literal": (
        "vae = {**a, 'type': 'x', 'b': 1}\n",
        "vae = {**a, 'type': 'x', 'cache_dir': '/models/hf', 'b': 1}\n",
    ),
    "a spread behind from_pretrained in a literal": (
        "vae = {'from_pretrained': 'x', **a, 'type': 'y'}\n",
        "vae = {'from_pretrained': 'x', **a, 'type': 'y', 'cache_dir': '/models/hf'}\n",
    ),
    "type twice in a literal": (
        "vae = {'type': 'x', 'type': 'y', 'b': 1}\n",
        "vae = {'type': 'x', 'type': 'y', 'cache_dir': '/models/hf', 'b': 1}\n",
    ),
    "type behind from_pretrained": (
        "vae = dict(from_pretrained='y', a=1, type='x')\n",
        "vae = dict(from_pretrained='y', cache_dir='/models/hf', a=1, type='x')\n",
    ),
    "a positional base": ("vae = dict(common)\n", 'vae = dict(common, cache_dir="/models/hf")\n'),
    "empty, with comments": (
        "vae = {  # c\n    # d\n\n  }\n",
        'vae = {  # c\n    # d\n\n      "cache_dir": "/models/hf",\n  }\n',
    ),
    "empty, with a space": ("vae = dict( )\n", 'vae = dict( cache_dir="/models/hf")\n'),
    "commas on lines of their own": (
        "vae = dict(\n    a=1  # c\n    ,  # d\n    type='x'  # e\n    ,\n    b=1\n)\n",
        "vae = dict(\n    a=1  # c\n    ,  # d\n    type='x'  # e\n    ,\n    cache_dir='/models/hf',\n    b=1\n)\n",
    ),
    "commas on lines of their own, at the end": (
        "vae = dict(\n    a=1  # c\n    ,  # d\n    type='x'  # e\n    # f\n)\n",
        "vae = dict(\n    a=1  # c\n    ,  # d\n    type='x',  # e\n    cache_dir='/models/hf'\n    # f\n)\n",
    ),
    "comma first, at the end": (
        "vae = dict(\n      a=1  # c\n    # d\n    , type='x'  # e\n    # f\n)\n",
        "vae = dict(\n      a=1  # c\n    # d\n    , type='x'  # e\n    , cache_dir='/models/hf'\n    # f\n)\n",
    ),
    "comma first, comma at the end": (
        "vae = dict(\n      a=1\n    , type='x'\n    , )\n",
        "vae = dict(\n      a=1\n    , type='x'\n    , cache_dir='/models/hf'\n    , )\n",
    ),
    "comma first, with comments": (
        "vae = dict(\n      type='x'  # c\n    # d\n    , a=1\n)\n",
        "vae = dict(\n      type='x'  # c\n    , cache_dir='/models/hf'\n    # d\n    , a=1\n)\n",
    ),
    "hugging, at the end": (
        "vae = dict(a=1,  # c\n         type='x')  # d\n",
        "vae = dict(a=1,  # c\n         type='x',\n         cache_dir='/models/hf')  # d\n",
    ),
    "hugging, two on the first line": (
        "vae = dict(type='x', a=1,\n         b=2)\n",
        "vae = dict(type='x', cache_dir='/models/hf', a=1,\n         b=2)\n",
    ),
    "hugging, two on the last line": (
        "vae = dict(type='x',\n         a=1, b=2)\n",
        "vae = dict(type='x',\n         cache_dir='/models/hf',\n         a=1, b=2)\n",
    ),
    "hugging, last on the first line": (
        "vae = dict(a=1, type='x',\n         b=2)\n",
        "vae = dict(a=1, type='x', cache_dir='/models/hf',\n         b=2)\n",
    ),
    "hugging, with comments": (
        "vae = dict(a=1,\n\n         # why\n\n         type='x',\n         b=2)\n",
        "vae = dict(a=1,\n\n         # why\n\n         type='x',\n         cache_dir='/models/hf',\n         b=2)\n",
    ),
    "one line of its own": (
        "vae = dict(\n    a=1, type='x'\n)\n",
        "vae = dict(\n    a=1, type='x', cache_dir='/models/hf'\n)\n",
    ),
    "one alone, bracket behind it": (
        "vae = dict(\n    type='x')\n",
        "vae = dict(\n    type='x',\n    cache_dir='/models/hf')\n",
    ),
    "one alone, comma and bracket behind it": (
        "vae = dict(\n    type='x', )\n",
        "vae = dict(\n    type='x',\n    cache_dir='/models/hf', )\n",
    ),
    "one alone, bracket below it": (
        "vae = dict(type='x',\n)\n",
        "vae = dict(type='x', cache_dir='/models/hf',\n)\n",
    ),
    "space before commas": (
        "vae = dict(a=1 ,type='x' ,b=2 )\n",
        "vae = dict(a=1 ,type='x' ,cache_dir='/models/hf' ,b=2 )\n",
    ),
    "spaces round commas": ("vae = dict(a=1 , type='x')\n", "vae = dict(a=1 , type='x' , cache_dir='/models/hf')\n"),
    "spaces in brackets": ("vae = dict( type='x' )\n", "vae = dict( type='x', cache_dir='/models/hf' )\n"),
    "space before the last comma": (
        "vae = dict(type='x' , )\n",
        "vae = dict(type='x', cache_dir='/models/hf' , )\n",
    ),
    "a backslash between others": (
        "vae = dict(a=1,b=2, \\\n  type='x', \\\n  c=3)\n",
        "vae = dict(a=1,b=2, \\\n  type='x',cache_dir='/models/hf', \\\n  c=3)\n",
    ),
    "only backslashes": (
        "vae = dict(a=1, \\\n  type='x')\n",
        "vae = dict(a=1, \\\n  type='x', cache_dir='/models/hf')\n",
    ),
    "signs lined up, key too long": (
        "vae = dict(\n    type = 'x',\n    a    = 1,\n)\n",
        "vae = dict(\n    type = 'x',\n    cache_dir = '/models/hf',\n    a    = 1,\n)\n",
    ),
    "signs not lined up": (
        "vae = dict(\n    type  = 'x',\n    a  = 1,\n)\n",
        "vae = dict(\n    type  = 'x',\n    cache_dir = '/models/hf',\n    a  = 1,\n)\n",
    ),
    "signs of the neighbour": (
        "vae = dict(type = 'x', a=1)\n",
        "vae = dict(type = 'x', cache_dir = '/models/hf', a=1)\n",
    ),
    "sign on a line of its own": (
        "vae = dict(type=\\\n  'x', a=1)\n",
        "vae = dict(type=\\\n  'x', cache_dir='/models/hf', a=1)\n",
    ),
    "space before colons": (
        "vae = {'type' : 'x', 'a' : 1}\n",
        "vae = {'type' : 'x', 'cache_dir' : '/models/hf', 'a' : 1}\n",
    ),
    "no space behind colons": ("vae = {'type':'x','a':1}\n", "vae = {'type':'x','cache_dir':'/models/hf','a':1}\n"),
    "keys that are no strings": ("vae = {1: 2}\n", 'vae = {1: 2, "cache_dir": "/models/hf"}\n'),
    "quotes of the path": (
        'vae = dict(type="x", from_pretrained=\'y\', a="z")\n',
        "vae = dict(type=\"x\", from_pretrained='y', cache_dir='/models/hf', a=\"z\")\n",
    ),
    "quotes of type": (
        "vae = dict(a=\"z\", type='y')\n",
        "vae = dict(a=\"z\", type='y', cache_dir='/models/hf')\n",
    ),
    "quotes of any value": (
        "vae = dict(type=kind, a='z')\n",
        "vae = dict(type=kind, cache_dir='/models/hf', a='z')\n",
    ),
    "quotes of any key": (
        "vae = {'type': kind, \"a\": 1}\n",
        "vae = {'type': kind, 'cache_dir': '/models/hf', \"a\": 1}\n",
    ),
    "space before commas, on lines": (
        "vae = dict(a=1 ,\n           type='x')\n",
        "vae = dict(a=1 ,\n           type='x' ,\n           cache_dir='/models/hf')\n",
    ),
    "one alone, a comment above": (
        "vae = dict(\n    # c\n    type='x')\n",
        "vae = dict(\n    # c\n    type='x',\n    cache_dir='/models/hf')\n",
    ),
    "sign of the nearest": ("vae = dict(a=1, type = 'x')\n", "vae = dict(a=1, type = 'x', cache_dir = '/models/hf')\n"),
    "signs lined up by one only": (
        "vae = dict(\n    type  = 'x',\n    a=1,\n)\n",
        "vae = dict(\n    type  = 'x',\n    cache_dir = '/models/hf',\n    a=1,\n)\n",
    ),
    "quotes of three": ("vae = dict(type='''x''')\n", "vae = dict(type='''x''', cache_dir='/models/hf')\n"),
    "quotes with a prefix": ("vae = dict(type=r'x')\n", "vae = dict(type=r'x', cache_dir='/models/hf')\n"),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("old", "new"), STYLES.values(), ids=STYLES)
def test_a_new_keyword_is_written_as_its_neighbours_are(old: str, new: str, newline: str) -> None:
    assert added(old.replace("\n", newline)) == new.replace("\n", newline)


def test_signs_that_are_not_lined_up_are_not_lined_up_with() -> None:
    old = "vae = dict(\n    type  = 'x',\n    a  = 1,\n)\n"
    assert added(old, 2, "b") == "vae = dict(\n    type  = 'x',\n    b = 2,\n    a  = 1,\n)\n"


def test_a_name_is_found_as_python_reads_it() -> None:
    assert added("vae = dict(\ufb01=1)\n", 2, "fi") == "vae = dict(\ufb01=2)\n"
    assert added("vae = dict(\ufb01=1, a=1)\n", REMOVE, "fi") == "vae = dict(a=1)\n"


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
    "last of comma first": (
        "vae = dict(\n    a=1  # a\n    # b\n    , cache_dir='a'  # c\n    # d\n)\n",
        "vae = dict(\n    a=1  # a\n    # b\n    # d\n)\n",
    ),
    "last of comma first, with a comma": (
        "vae = dict(\n    a=1  # a\n    # b\n    , cache_dir='a'  # c\n    # d\n    ,)\n",
        "vae = dict(\n    a=1  # a\n    # b\n    # d\n    ,)\n",
    ),
    "between of comma first": (
        "vae = dict(\n    a=1  # a\n    # b\n    , cache_dir='a'  # c\n    # d\n    , b=2\n)\n",
        "vae = dict(\n    a=1  # a\n    # b\n    # d\n    , b=2\n)\n",
    ),
    "comma first, hugging": ("vae = dict(\n    a=1\n    , cache_dir='a')\n", "vae = dict(\n    a=1)\n"),
    "last of commas on lines": (
        "vae = dict(\n    a=1  # a\n    # b\n    ,  # c\n    # d\n    cache_dir='a'  # e\n    # f\n)\n",
        "vae = dict(\n    a=1  # a\n    # b\n    # d\n    # f\n)\n",
    ),
    "between of commas on lines": (
        "vae = dict(\n    a=1\n    ,  # x\n    cache_dir='a'  # c\n    # d\n    ,  # e\n    # f\n    b=2)\n",
        "vae = dict(\n    a=1\n    ,  # x\n    # d\n    # f\n    b=2)\n",
    ),
    "comments before its comma": (
        "vae = dict(\n    a=1,  # a\n    cache_dir='a'  # c\n    # d\n    ,  # e\n    # f\n    b=2)\n",
        "vae = dict(\n    a=1,  # a\n    # d\n    # f\n    b=2)\n",
    ),
    "comma first behind it": (
        "vae = dict(\n    a=1,\n    cache_dir='a'\n    , b=2)\n",
        "vae = dict(\n    a=1, b=2)\n",
    ),
    "comma first behind it, with comments": (
        "vae = dict(\n    a=1,\n    cache_dir='a'  # c\n    # d\n    , b=2)\n",
        "vae = dict(\n    a=1,\n    # d\n    b=2)\n",
    ),
    "last on its line, comments before its comma": (
        "vae = dict(\n    a=1, cache_dir='a'  # c\n    # d\n    , b=2)\n",
        "vae = dict(\n    a=1  # c\n    # d\n    , b=2)\n",
    ),
    "last of all on its line": (
        "vae = dict(\n    a=1,\n    b=1, cache_dir='a' # c\n)\n",
        "vae = dict(\n    a=1,\n    b=1 # c\n)\n",
    ),
    "last of all on its line, with a comma": ("vae = dict(a=1, cache_dir='a' , )\n", "vae = dict(a=1 , )\n"),
    "its comment and its neighbour's": (
        "vae = dict(a=1, # x\n    cache_dir='a',  # y\n    b=1)\n",
        "vae = dict(a=1, # x\n    b=1)\n",
    ),
    "hugging, last": ("vae = dict(a=1, # x\n    # y\n    cache_dir='a')\n", "vae = dict(a=1 # x\n    # y\n    )\n"),
    "hugging, last, with a comma": ("vae = dict(a=1, # x\n    cache_dir='a',)\n", "vae = dict(a=1, # x\n    )\n"),
    "a space behind the last comma": ("vae = dict(a=1,\n    cache_dir='a', )\n", "vae = dict(a=1, )\n"),
    "blank lines": (
        "vae = dict(\n    a=1,\n\n    cache_dir='a',\n\n    b=1,\n)\n",
        "vae = dict(\n    a=1,\n\n\n    b=1,\n)\n",
    ),
    "backslashes": ("vae = dict(a=1, \\\n    cache_dir='a', \\\n    b=2)\n", "vae = dict(a=1, \\\n    b=2)\n"),
    "first, spaces": ("vae = dict( cache_dir='a' , a=1)\n", "vae = dict( a=1)\n"),
    "first, comment behind": ("vae = dict(cache_dir='a',  # c\n    a=1)\n", "vae = dict(a=1)\n"),
    "first, comments before its comma": (
        "vae = dict(cache_dir='a'  # c\n    # d\n    , # e\n    # f\n    a=1\n)\n",
        "vae = dict(\n    # d\n    # f\n    a=1\n)\n",
    ),
    "first on its line, comments before its comma": (
        "vae = dict(  # o\n    # p\n    cache_dir='a'  # c\n    # d\n    , a=1\n)\n",
        "vae = dict(  # o\n    # p\n    # d\n    a=1\n)\n",
    ),
    "first of a line of two": (
        "vae = dict(\n    # of it\n    cache_dir='a', a=1,\n)\n",
        "vae = dict(\n    # of it\n    a=1,\n)\n",
    ),
    "first of comma first": ("vae = dict(cache_dir='a'\n    , a=1\n)\n", "vae = dict(a=1\n)\n"),
    "the only one, spaces": ("vae = dict( cache_dir='a', )\n", "vae = dict(  )\n"),
    "the only one, comments": (
        "vae = dict( # o\n    # p\n    cache_dir='a' # c\n    # d\n    , # e\n  # f\n)\n",
        "vae = dict( # o\n    # p\n    # d\n  # f\n)\n",
    ),
    "the only one, bracket behind": ("vae = dict( # o\n    cache_dir='a')\n", "vae = dict( # o\n    )\n"),
    "the only one, bracket below": ("vae = dict(cache_dir='a', # c\n  # d\n)\n", "vae = dict( # c\n  # d\n)\n"),
    "last of a literal": (
        "vae = {\n    'a': 1,\n    'cache_dir': 'a'  # c\n    # d\n}\n",
        "vae = {\n    'a': 1\n    # d\n}\n",
    ),
    "last of a literal, with a comma": (
        "vae = {\n    'a': 1,\n    'cache_dir': 'a',  # c\n    # d\n}\n",
        "vae = {\n    'a': 1,\n    # d\n}\n",
    ),
    "first of a literal, a comma at the end": ("vae = { 'cache_dir': 'a', 'a': 1, }\n", "vae = { 'a': 1, }\n"),
    "all of three on lines": (
        "vae = {\n    'cache_dir': 'a',\n    'cache_dir': 'b',\n    'cache_dir': 'c'\n}\n",
        "vae = {\n}\n",
    ),
    "three among others": (
        "vae = {\n    'cache_dir': 'a', 'a': 1, 'cache_dir': 'b',\n    'cache_dir': 'c'\n}\n",
        "vae = {\n    'a': 1\n}\n",
    ),
    "of several strings": ("vae = {'a': 1,'cache' \"_dir\":'a'}\n", "vae = {'a': 1}\n"),
    "of several strings, in brackets": ("vae = {('cache' '_' 'dir'): 'a', 'a': 1}\n", "vae = {'a': 1}\n"),
    "of several strings with a comment": (
        "vae = {\n    'a': 1,\n    'cache'  # gone\n    '_dir': 'a',\n    # stays\n    'b': 1,\n}\n",
        "vae = {\n    'a': 1,\n    # stays\n    'b': 1,\n}\n",
    ),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("old", "new"), REMOVED.values(), ids=REMOVED)
def test_a_keyword_goes_with_its_line_and_every_other_comment_stays(old: str, new: str, newline: str) -> None:
    assert added(old.replace("\n", newline), REMOVE) == new.replace("\n", newline)


@pytest.mark.parametrize("value", ["(y := 'a')", "f((y := 'a'), 1)", "[(y := q) for q in 'ab']"])
@pytest.mark.parametrize("wanted", ["/c", REMOVE])
@pytest.mark.parametrize("form", ["dict(type='x', cache_dir={})", "{{'type': 'x', 'cache_dir': {}, 'cache_dir': {}}}"])
def test_a_value_that_binds_a_name_besides_does_not_go(value: str, wanted: object, form: str) -> None:
    with pytest.raises(EditError, match="the value of 'cache_dir' binds the name 'y' besides"):
        added(f"vae = {form.format(value, value)}\nz = y\n", wanted)
    kept = form.replace("'x'", "(y := 'x')", 1).format("'a'", "'b'")
    assert "y := 'x'" in added(f"vae = {kept}\nz = y\n", wanted)


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
        ((1, "a"), '(1, "a")'),
        ((), "()"),
        ([1, {"a": ()}], '[1, {"a": ()}]'),
        ({"a": 1, 2: ["b"], (3,): None}, '{"a": 1, 2: ["b"], (3,): None}'),
        ({"b", "a", 1}, '{"a", "b", 1}'),
        (set(), "set()"),
        (b"x'", 'b"x\'"'),
        (10**30, "1" + "0" * 30),
        ("\x7f\x80\xff\u0100\u200b\uffff\U00010000\U0001f600", '"\\x7f\\x80ÿĀ\\u200b\\uffff𐀀😀"'),
        ("\t\r", '"\\t\\r"'),
        ("a{{{{{b}}", '"a{\\x7b{\\x7b{b}}"'),
    ],
)
def test_values_are_plain_literals(value: object, text: str) -> None:
    assert write_literal(value) == text
    assert same(ast.literal_eval(text), value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a"b', "'a\"b'"),
        ("a'b", '"a\'b"'),
        ("'\"", "'\\'\"'"),
        ([("a", {"b": "c"})], "[('a', {'b': 'c'})]"),
        ({"b", "a"}, "{'a', 'b'}"),
    ],
)
def test_the_other_quote_is_taken_where_that_saves_escapes(value: object, text: str) -> None:
    assert write_literal(value, "'") == text


class Name(str):
    """A string that is more than a string."""

    __slots__ = ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), [len], REMOVE, Name("a"), frozenset({1}), ...])
def test_what_has_no_literal_is_refused(value: object) -> None:
    with pytest.raises(EditError) as caught:
        write_literal(value)
    assert (caught.value.message, caught.value.line) == (f"{value!r} cannot be written as a Python literal", None)


def test_what_nests_too_deeply_or_is_long_is_refused_in_one_short_line() -> None:
    with pytest.raises(EditError) as caught:
        write_literal([object(), "a" * 1000])
    assert len(caught.value.message) == 100 + len(" cannot be written as a Python literal")
    nested: list[object] = []
    for _ in range(500):
        nested = [nested]
    with pytest.raises(EditError) as caught:
        write_literal(nested)
    assert caught.value.message == "[" * 100 + " cannot be written as a Python literal"


def test_letters_that_the_file_cannot_hold_are_escaped() -> None:
    old = "# coding: latin-1\nvae = dict(type='é')\n".encode("latin-1")
    new = prove_config_edit(old, (["vae"], "cache_dir", "/é/模"))
    assert new == "# coding: latin-1\nvae = dict(type='é', cache_dir='/é/\\u6a21')\n".encode("latin-1")
    assert write_literal(["é模", {"模": ("é",)}], encoding="latin-1") == '["é\\u6a21", {"\\u6a21": ("é",)}]'
    assert write_literal("\u0100\U00010000", encoding="latin-1") == '"\\u0100\\U00010000"'
    old = "# coding: latin-1\nvae = dict(a='é')\n".encode("latin-1")
    assert prove_config_edit(old, (["vae"], "a", "模")) == b"# coding: latin-1\nvae = dict(a='\\u6a21')\n"
    # An encoding may take a letter and give another one back.
    assert write_literal("¥~", encoding="shift_jis") == '"\\xa5~"'


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gbk", "utf-8"])
def test_encodings_stay(encoding: str) -> None:
    cookie = "# coding: gbk\n" if encoding == "gbk" else ""
    old = f"{cookie}模 = 1; vae = dict(type='模')  # 型\n"
    new = prove_config_edit(old.encode(encoding), (["vae"], "cache_dir", "/缓存"))
    assert new == old.replace("'模')", "'模', cache_dir='/缓存')").encode(encoding)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        ([1.0], [1]),
        ([1], (1,)),
        ([1], [1, 2]),
        ((1, [2]), (1, [3])),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": True}),
        ({1: "a"}, {True: "a"}),
        ({"a": 1}, {"b": 1}),
        ({1}, {2}),
        ("a", b"a"),
        (None, False),
    ],
)
def test_values_that_a_build_could_tell_apart_are_not_the_same(one: object, other: object) -> None:
    assert not same(one, other)
    assert not same(other, one)
    assert same(one, one)


def test_true_is_not_one() -> None:
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
    old = b"\nvae = text_encoder = dict(type='x', vae_2d=dict())\n"
    changes = [ConfigChange(c, "a", value) for value, c in enumerate(read(old).components)]
    assert [change.component.keys for change in changes] == [
        ("vae",), ("vae", "vae_2d"), ("text_encoder",), ("text_encoder", "vae_2d")
    ]  # fmt: skip
    with pytest.raises(EditError) as caught:
        edit_config(old, changes[::2])
    message = "vae and text_encoder are one dict and cannot get two values of 'a'"
    assert (caught.value.message, caught.value.line) == (message, 2)
    with pytest.raises(EditError) as caught:
        edit_config(old, changes[1::2])
    message = "vae.vae_2d and text_encoder.vae_2d are one dict and cannot get two values of 'a'"
    assert (caught.value.message, caught.value.line) == (message, 2)
    same_value = [ConfigChange(change.component, "a", 1) for change in changes[::2]]
    assert edit_config(old, same_value) == old.replace(b"'x',", b"'x', a=1,")


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "key", "message"),
    [
        ("vae = make()\n", "a", "vae is `make()`, not a dict written here"),
        ("model = dict(vae=make(x))\n", "a", "model.vae is `make(x)`, not a dict written here"),
        ("vae = dict(x for x in y)\n", "a", "a call with a bare generator takes no further argument"),
        ("vae = dict(type='x')\n", "no-name", "'no-name' cannot be a keyword argument of a call"),
        ("vae = dict(type='x')\n", "class", "'class' cannot be a keyword argument of a call"),
        ("vae = {'type': 'x'}\n", "a\n", "'a\\n' cannot be written as a key"),
        ("c = dict(a=1)\nvae = dict(type='x', **c)\n", "a", "'a' arrives here by `**` already; a second one would be a "
                                                            "TypeError"),
        ("vae = dict(type='x', b=" + "-" * 600 + "1)\n", "a", "libcst cannot read this dict"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_so_with_its_line(source: str, key: str, message: str) -> None:
    source = "# first\n" + source
    (vae,) = (c for c in read(source).components if c.name == "vae")
    with pytest.raises(EditError) as caught:
        edit_config(source.encode(), [ConfigChange(vae, key, 1)])
    assert (caught.value.message, caught.value.line, str(caught.value)) == (message, vae.span.line, message)


def test_a_key_that_comes_in_by_a_spread_can_be_written_into_a_literal_or_where_only_a_later_line_sets_it() -> None:
    assert added("c = dict(a=1)\nvae = {'type': 'x', **c}\n", 2, "a") == (
        "c = dict(a=1)\nvae = {'type': 'x', **c, 'a': 2}\n"
    )
    old = "c = dict(b=1)\nvae = dict(type='x', **c)\nvae['a'] = 1\n"
    assert added(old, 2, "a") == old.replace("'x', ", "'x', a=2, ")


def test_a_generator_in_brackets_is_an_argument_like_others() -> None:
    assert added("vae = dict((x for x in y))\n") == 'vae = dict((x for x in y), cache_dir="/models/hf")\n'


def test_a_value_without_a_literal_is_refused_with_the_line_of_its_dict() -> None:
    old = b"t5 = dict(a=1)\n\nvae = dict(\n    a=1,\n)\n"
    with pytest.raises(EditError, match=r"^nan cannot be written as a Python literal$") as caught:
        edit_config(old, changes_for(read(old), ["t5", "vae"], "a", float("nan")))
    assert caught.value.line == 3


@pytest.mark.parametrize("other", ["make(a=12345)", "x.dict(a=123)", "dict_(a)(b=1)", "(1, 2, 3, 4)"])
def test_bytes_that_do_not_hold_the_dict_any_more_are_not_edited(other: str) -> None:
    changes = changes_for(read("vae = dict(a=12345)\n"), ["vae"], "b", 1)
    with pytest.raises(EditError) as caught:
        edit_config(f"vae = {other}\n".encode(), changes)
    assert (caught.value.message, caught.value.line) == ("no dict that can be edited stands here", 1)


def test_a_file_that_cannot_be_read_is_not_edited() -> None:
    with pytest.raises(EditError) as caught:
        edit_config(b"x\n\0", [])
    assert (caught.value.message, caught.value.line) == ("the file holds a NUL byte", 2)


def test_a_file_that_its_encoding_would_write_otherwise_is_not_edited() -> None:
    old = b"# coding: utf-7\nvae = dict(type='+AGE-')\n"  # decodes to 'a', which is written as a
    with pytest.raises(EditError) as caught:
        edit_config(old, changes_for(read(old), ["vae"], "a", 1))
    assert (caught.value.message, caught.value.line) == (
        "the file does not survive decoding and encoding as utf-7", 1
    )  # fmt: skip
    assert edit_config(old, changes_for(read(old), ["vae"], "type", "a")) == old
    assert edit_config(old, []) == old


def test_a_key_that_the_encoding_lacks_is_refused() -> None:
    old = b"# coding: ascii\nvae = {'type': 'a'}\n"
    with pytest.raises(EditError) as caught:
        edit_config(old, changes_for(read(old), ["vae"], "模", 1))
    assert caught.value.line == 1
    assert caught.value.message.startswith("the file cannot be written as ascii: 'ascii' codec can't encode character")


def test_what_libcst_does_not_give_back_to_the_byte_is_not_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = cst.parse_module
    monkeypatch.setattr(cst, "parse_module", lambda text: parse(text.replace("# note", "# nte")))
    with pytest.raises(EditError, match="no dict that can be edited stands here"):
        added("vae = dict(\n    a=1,  # note\n)\n")
    added("vae = dict(\n    a=1,  # other\n)\n")


def test_a_key_with_quotes_and_backslashes_in_a_literal() -> None:
    assert added("vae = {'type': 'x'}\n", 1, "it's \\ \"") == "vae = {'type': 'x', 'it\\'s \\\\ \"': 1}\n"
    assert added("vae = {}\n", 1, "it's \\ \"") == 'vae = {"it\'s \\\\ \\"": 1}\n'


# --- what is remembered --------------------------------------------------------------------------


@pytest.mark.parametrize("most", [0, 1, 500])
def test_dicts_that_are_alike_to_the_byte_are_edited_alike_and_others_are_not(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_edits, "_MOST_EDITED", most)
    for _ in range(2):
        assert added("vae = dict(a=1)\n") == 'vae = dict(a=1, cache_dir="/models/hf")\n'
        assert added("vae = dict(a=1)\n", "/é") == 'vae = dict(a=1, cache_dir="/é")\n'
        assert added("# coding: ascii\nvae = dict(a=1)\n", "/é") == (
            '# coding: ascii\nvae = dict(a=1, cache_dir="/\\xe9")\n'
        )
        assert added("vae = dict(a=1)\n", "/é", "b") == 'vae = dict(a=1, b="/é")\n'
        assert added("vae = dict(a=1)\n", 1) == "vae = dict(a=1, cache_dir=1)\n"
        assert added("vae = dict(a=1)\n", True) == "vae = dict(a=1, cache_dir=True)\n"
        assert added("vae = dict(type=1, **c)\n", 1, "b") == "vae = dict(type=1, b=1, **c)\n"
        with pytest.raises(EditError, match="arrives here"):
            added("c = dict(b=1)\nvae = dict(type=1, **c)\n", 1, "b")
    assert len(config_edits._EDITED) <= max(most, 1)


# --- with mmengine -----------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["one line", "several lines", "hugging", "comments", "literal", "nested"])
def test_mmengine_resolves_what_was_asked_for(style: str, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    for value in ("/models/hf", "{{$HOME:x}}/'\"\\"):
        added(STYLES[style][0], value, resolve_in=tmp_path)


# --- anything ----------------------------------------------------------------------------------


def test_a_replaced_value_that_mentions_the_dict_takes_its_doubts_along() -> None:
    old = b"a = text_encoder = dict(b={1: 2}, type=(lambda: a))\n"
    new = prove_config_edit(old, lambda config: one_each(config, "t5", "type"))
    assert new == b'a = text_encoder = dict(b={1: 2}, type="t5")\n'


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
