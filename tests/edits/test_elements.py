"""A keyword is added, replaced or removed as its neighbours are written, and every other byte stays."""

from __future__ import annotations

import pytest
from proving import change_key, prove_config_edit

from rewriter.edit.literals import EditError
from rewriter.model import REMOVE


def edit(source: str, value: object = "/models/hf", key: str = "cache_dir") -> str:
    """``source`` after a proved edit of its ``vae``."""
    return prove_config_edit(source.encode(), change_key("vae", key, value)).decode()


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
    "literal, the quotes of the file": (
        "vae = {'type': \"x\", 'a': 1}\n",
        "vae = {'type': \"x\", 'cache_dir': '/models/hf', 'a': 1}\n",
    ),
    "lines that begin with a comma": (
        "vae = dict(\n    type='x'  # why\n    , b=2\n)\n",
        "vae = dict(\n    type='x'  # why\n    , cache_dir='/models/hf', b=2\n)\n",
    ),
    "neither type nor path": ("vae = dict(a=1, b=2)\n", 'vae = dict(a=1, b=2, cache_dir="/models/hf")\n'),
    "empty": ("vae = dict()\n", 'vae = dict(cache_dir="/models/hf")\n'),
    "in a branch": (
        "if a:\n    vae = dict(\n        type='x',\n    )\nelse:\n  vae = None\n",
        "if a:\n    vae = dict(\n        type='x',\n        cache_dir='/models/hf',\n    )\nelse:\n  vae = None\n",
    ),
    "nested": (
        "model = dict(\n    vae=dict(type='x'),\n)\n",
        "model = dict(\n    vae=dict(type='x', cache_dir='/models/hf'),\n)\n",
    ),
    "backslashes": (
        "vae = dict(type='x', \\\n  a=1)\n",
        "vae = dict(type='x', \\\n  cache_dir='/models/hf', \\\n  a=1)\n",
    ),
    "hugging, at the end": (
        "vae = dict(a=1,  # c\n         type='x')  # d\n",
        "vae = dict(a=1,  # c\n         type='x',\n         cache_dir='/models/hf')  # d\n",
    ),
    "spaces in brackets": ("vae = dict( type='x' )\n", "vae = dict( type='x', cache_dir='/models/hf' )\n"),
    "no space behind colons": ("vae = {'type':'x','a':1}\n", "vae = {'type':'x','cache_dir':'/models/hf','a':1}\n"),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("old", "new"), STYLES.values(), ids=STYLES)
def test_a_new_keyword_is_written_as_its_neighbours_are(old: str, new: str, newline: str) -> None:
    assert edit(old.replace("\n", newline)) == new.replace("\n", newline)


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
    "a prefix": ("vae = dict(cache_dir=f'{x}')\n", "vae = dict(cache_dir='/models/hf')\n"),
    "spaces": ("vae = dict( cache_dir  =  None )\n", 'vae = dict( cache_dir  =  "/models/hf" )\n'),
}


@pytest.mark.parametrize(("old", "new"), REPLACED.values(), ids=REPLACED)
def test_a_replaced_value_keeps_its_place(old: str, new: str) -> None:
    assert edit(old) == new


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
    "hugging, last": ("vae = dict(a=1, # x\n    # y\n    cache_dir='a')\n", "vae = dict(a=1 # x\n    # y\n    )\n"),
    "backslashes": ("vae = dict(a=1, \\\n    cache_dir='a', \\\n    b=2)\n", "vae = dict(a=1, \\\n    b=2)\n"),
    "last of a literal": (
        "vae = {\n    'a': 1,\n    'cache_dir': 'a'  # c\n    # d\n}\n",
        "vae = {\n    'a': 1\n    # d\n}\n",
    ),
}


@pytest.mark.parametrize(("old", "new"), REMOVED.values(), ids=REMOVED)
def test_a_removed_keyword_takes_its_line_and_its_comment_along(old: str, new: str) -> None:
    assert edit(old, REMOVE) == new


@pytest.mark.parametrize("key", ["if", "no-name"])
def test_what_cannot_be_a_keyword_is_refused_with_its_line(key: str) -> None:
    with pytest.raises(EditError, match=r"requested|libcst cannot edit") as caught:
        edit("# first\nvae = dict(type='x')\n", 1, key)
    assert caught.value.line == 2
    assert edit("vae = {'type': 'x'}\n", 1, key) == f"vae = {{'type': 'x', '{key}': 1}}\n"
