"""What the reader says of a config is what running it gives: each source is read, executed, and the two compared.

Where the reader is certain, it must be equal; where it says that it is not, that it is said is asserted too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from proving import read

from rewriter.configs import inherit
from rewriter.frozen import replace
from rewriter.types import Component, ConfigFile

Keys = tuple[str, ...]


def executions(source: str) -> Iterator[dict[str, Any]]:
    """What the names hold after running the source: once for each outcome of its conditions ``x`` and ``y``."""
    for x, y in product((True, False), repeat=2):
        names: dict[str, Any] = {
            "x": x,
            "y": y,
            "copy": copy,
            "deepcopy": copy.deepcopy,
            "f": lambda *_, **__: {"f": 1},
        }
        given = set(names)
        exec(source, names)
        yield {name: value for name, value in names.items() if name not in given and not name.startswith("__")}


def dicts(held: dict[str, Any], keys: Keys = (), around: tuple[int, ...] = ()) -> Iterator[tuple[Keys, dict[str, Any]]]:
    """Every dict that a top-level name or the identifier of a dict leads to; one that holds itself, once."""
    for key, value in held.items():
        if isinstance(value, dict) and isinstance(key, str) and key.isidentifier() and id(value) not in around:
            yield (*keys, key), value
            yield from dicts(value, (*keys, key), (*around, id(value)))


def differs(component: Component, real: dict[str, Any]) -> str | None:
    """Where a component is sure of something that is not so."""
    if component.unsure is not None:
        return None
    said = dict(component.values)
    last = {override.key: override.certain for override in component.overrides}
    open_keys = {key for key, certain in last.items() if not certain}
    for key in said.keys() | {key for key in real if isinstance(key, str)}:
        if key in open_keys:
            continue
        if (key in said) != (key in real):
            return f"{key!r} is {'' if key in said else 'not '}said to be there"
        if said[key].literal and repr(said[key].value) != repr(real[key]):
            return f"{key!r} is said to be {said[key].value!r}, and is {real[key]!r}"
    if all(override.certain for override in component.overrides) and list(said) != [
        key for key in real if isinstance(key, str)
    ]:
        return f"the order is said to be {list(said)}, and is {list(real)}"
    return None


def disagreements(config: ConfigFile, real: dict[str, Any], conditions: bool) -> Iterator[str]:
    said: dict[Keys, list[Component]] = {}
    for component in config.components:
        if component.replaced_by is None:
            said.setdefault(component.keys, []).append(component)
    found = dict(dicts(real))
    doubted = {component.keys for component in config.components if component.replaced_by is None and component.unsure}
    for keys, held in found.items():
        problems = [differs(component, held) for component in said.get(keys, ())]
        if None not in problems and not any(keys[:depth] in doubted for depth in range(1, len(keys))):
            yield f"{'.'.join(keys)}: {problems or 'no component'}; real {held}"
    for keys in said.keys() - found.keys():
        sure = not conditions and not all("conditional" in component.ways for component in said[keys])
        if sure and not any(keys[:depth] in doubted for depth in range(1, len(keys) + 1)):
            yield f"{'.'.join(keys)}: said to be a dict, and is not"


def problems(config: ConfigFile, source: str) -> list[str]:
    """Where the reader and an execution of the source disagree."""
    conditions = any(word in source for word in ("if ", "for ", "while ", "with ", "try", "match ", " or ", ":="))
    return [text for real in executions(source) for text in disagreements(config, real, conditions)]


def unsure(config: ConfigFile) -> set[str]:
    return {".".join(c.keys) for c in config.components if c.replaced_by is None and c.unsure}


CASES = {
    # assignment
    "call": "vae = dict(a=1, b='x')",
    "literal": "vae = {'a': 1, 'b': None, 3: 4}",
    "annotated": "vae: dict = dict(a=1)",
    "annotation only": "vae = dict(a=1)\nvae: dict",
    "again": "vae = dict(a=1)\nvae = dict(b=2)",
    "none": "vae = dict(a=1)\nvae = None",
    "chain": "a = b = dict(x=1)\na['y'] = 2",
    "chain into a dict": "m = dict()\na = m['vae'] = dict(x=1)\na['y'] = 2",
    "alias": "a = dict(x=1)\nvae = a\nvae['x'] = 2",
    "alias of a child": "m = dict(vae=dict(x=1))\nv = m['vae']\nv['x'] = 2",
    "alias of a child by get": "m = dict(vae=dict(x=1))\nv = m.get('vae')\nv['x'] = 2",
    "alias that is bound again": "a = dict(x=1)\nvae = a\na = dict(y=1)\na['x'] = 3",
    "tuple": "a, b = dict(x=1), dict(y=2)",
    "list target": "[a, b] = [dict(x=1), dict(y=2)]",
    "nested tuple": "a, (b, c) = dict(x=1), (2, {'y': 3})",
    "swap": "a = dict(x=1)\nb = dict(y=2)\na, b = b, a",
    "swap constants": "p, q = 'p', 'q'\np, q = q, p\nvae = dict(a=p, b=q)",
    "starred": "a, *b = 1, 2, 3\nvae = dict(x=b)",
    "tuple with items": "vae = dict(a=1)\nvae['a'], vae['b'] = 2, dict(c=3)",
    "tuple of several": "a, b = c = dict(x=1), dict(y=2)",
    "constant": "root = 'a'\nvae = dict(p=root)\nroot = 'b'",
    "tuple of names": "root = 'a'\nt = (root, 1)\nroot = 'b'\nvae = dict(p=t)",
    "tuple of a list": "t = ([1],)\nt[0].append(2)\nvae = dict(p=t)",
    "negative": "n = -1\nvae = dict(p=n, q=(n, 2))",
    "constant of a constant": "a = 'x'\nb = a\na = 'y'\nvae = dict(p=b)",
    "del name": "vae = dict(a=1)\ndel vae",
    "del names": "vae = dict(a=1)\nt5 = dict(b=1)\ndel (vae, t5)",
    "del constant": "n = 1\ndel n\nvae = dict(a=1)",
    "semicolon": "n = 1; vae = dict(a=n); n = 2",
    # items
    "item": "vae = dict(a=1)\nvae['a'] = 2\nvae['b'] = 3",
    "del item": "vae = dict(a=1, b=2)\ndel vae['a']",
    "del items": "vae = dict(a=1, b=2)\ndel vae['a'], vae['b']",
    "del and set": "vae = dict(a=1, b=2)\ndel vae['a']\nvae['a'] = 3",
    "item by a name": "k = 'a'\nvae = dict(a=1)\nvae[k] = 2",
    "item of a number": "vae = dict(a=1)\nvae[3] = 2",
    "augmented item": "vae = dict(a=1)\nvae['a'] += 1",
    "augmented name": "n = 1\nn += 1\nvae = dict(a=n)",
    "nested item": "m = dict(vae=dict(a=1))\nm['vae']['a'] = 2",
    "nested item of an item": "m = dict(a=dict(b=dict(c=1)))\nm['a']['b']['c'] = 2\nm['a']['d'] = 3",
    "del nested item": "m = dict(vae=dict(a=1, b=2))\ndel m['vae']['a']",
    "nested dict set": "m = dict(vae=dict(a=1))\nm['vae'] = dict(b=2)",
    "nested dict set to none": "m = dict(vae=dict(a=1))\nm['vae'] = None",
    "nested dict added": "m = dict()\nm['vae'] = dict(b=2)\nm['vae']['c'] = 3",
    "nested dict deleted": "m = dict(vae=dict(a=1))\ndel m['vae']",
    "nested alias": "a = dict(x=1)\nm = dict(vae=a)\na['x'] = 2",
    "nested alias changed through the parent": "a = dict(x=1)\nm = dict(vae=a)\nm['vae']['x'] = 2",
    "nested alias then bound anew": "a = dict(x=1)\nm = dict(vae=a)\na = dict(y=1)\nm['vae']['x'] = 2",
    "same dict twice": "a = dict(x=1)\nm = dict(vae=a, t5=a)\nm['vae']['x'] = 2",
    "a dict that holds itself": "m = dict(a=1)\nm['m'] = m",
    # methods
    "update keywords": "vae = dict(a=1)\nvae.update(a=2, b=3)",
    "update dict": "vae = dict(a=1)\nvae.update({'a': 2})",
    "update both": "vae = dict(a=1)\nvae.update(dict(a=2, b=2), b=3)",
    "update spread": "more = dict(b=2)\nvae = dict(a=1)\nvae.update(**more)",
    "update by a name": "more = dict(d=dict(z=1))\nvae = dict(a=1)\nvae.update(more)\nmore['d']['z'] = 2",
    "update nested": "m = dict(vae=dict(a=1))\nm['vae'].update(a=2)",
    "update with a dict": "m = dict(vae=dict(a=1))\nm.update(vae=dict(b=1), t5=dict(c=1))",
    "pop": "vae = dict(a=1, b=2)\nvae.pop('a')",
    "pop default": "vae = dict(a=1)\nn = vae.pop('b', None)",
    "pop nested": "m = dict(vae=dict(a=1))\nm.pop('vae')",
    "pop into a name": "m = dict(vae=dict(a=1))\nv = m['vae']\nm.pop('vae')\nv['b'] = 2",
    "setdefault": "vae = dict(a=1)\nvae.setdefault('a', 2)\nvae.setdefault('b', 2)\nvae.setdefault('c')",
    "setdefault dict": "m = dict(vae=dict(a=1))\nm.setdefault('vae', dict(b=1))\nm.setdefault('t5', dict(c=1))",
    "or assign": "vae = dict(a=1)\nvae |= dict(a=2, b=3)",
    "or assign nested": "m = dict(vae=dict(a=1))\nm['vae'] |= dict(b=3)",
    "or assign alias": "a = dict(x=1)\nvae = a\nvae |= {'y': 2}",
    # spreads and unions
    "spread": "c = dict(a=1, b=2)\nvae = dict(**c, d=3)\nc['a'] = 5",
    "spread literal": "c = dict(a=1)\nvae = {'b': 2, **c, 'c': 3}",
    "spread over written": "c = dict(a=1)\nvae = {'a': 2, 'b': 3, **c}",
    "spread under written": "c = dict(a=1)\nvae = {**c, 'a': 2}",
    "spread nested": "c = dict(d=dict(x=1))\nvae = dict(**c)\nc['d']['x'] = 2",
    "spread of a child": "m = dict(vae=dict(a=1))\nvae = dict(**m['vae'], b=2)",
    "positional": "c = dict(a=1)\nvae = dict(c, b=2)",
    "positional items": "c = dict(a=1)\nvae = dict(c.items(), a=2)",
    "positional nested": "c = dict(d=dict(x=1))\nvae = dict(c)\nvae['d']['x'] = 2",
    "union": "c = dict(a=1)\nvae = c | dict(b=2)",
    "union over": "c = dict(a=1, b=1)\nvae = c | dict(a=2)",
    "union of displays": "vae = dict(d=dict(x=1)) | {'d': dict(y=2), 'e': 1}",
    "union of names": "c = dict(a=1)\nd = dict(a=2, b=3)\nvae = c | d\nd['a'] = 4",
    "union of three": "c = dict(a=1)\nd = dict(b=2)\nvae = c | d | dict(c=3)",
    "union nested": "c = dict(d=dict(x=1))\nvae = c | dict(b=2)\nc['d']['x'] = 2",
    "copy": "c = dict(a=1)\nvae = c.copy()\nc['a'] = 2\nvae['b'] = 3",
    "copy nested": "c = dict(d=dict(x=1))\nvae = c.copy()\nvae['d']['x'] = 2",
    "copy.copy": "c = dict(d=dict(x=1))\nvae = copy.copy(c)\nc['d']['x'] = 2",
    "deepcopy": "c = dict(d=dict(x=1))\nvae = deepcopy(c)\nvae['d']['x'] = 2",
    "copy.deepcopy": "c = dict(d=dict(x=1))\nvae = copy.deepcopy(c)\nc['d']['x'] = 2",
    "copy of a child": "m = dict(vae=dict(x=1))\nvae = m['vae'].copy()\nvae['x'] = 2",
    "duplicate keys": "vae = {'a': 1, 'a': 2}",
    "computed key": "k = 'a'\nvae = {k: dict(b=1), 'c': 2}",
    "number of two flags": "flags = 1 | 2\nvae = dict(a=flags)",
    # conditions
    "if": "if x:\n    vae = dict(a=1)\nelse:\n    vae = dict(b=2)",
    "if over": "vae = dict(a=1)\nif x:\n    vae = dict(b=2)",
    "if elif": "if x:\n    vae = dict(a=1)\nelif y:\n    vae = dict(b=2)\nelse:\n    vae = None",
    "if item": "vae = dict(a=1)\nif x:\n    vae['a'] = 2",
    "if del item": "vae = dict(a=1)\nif x:\n    del vae['a']",
    "if update": "vae = dict(a=1)\nif x:\n    vae.update(a=2, b=3)",
    "if setdefault": "vae = dict(a=1)\nif x:\n    vae['b'] = 1\nvae.setdefault('b', 2)",
    "if item then sure": "vae = dict(a=1)\nif x:\n    vae['a'] = 2\nvae['a'] = 3",
    "if item else item": "vae = dict(a=1)\nif x:\n    vae['a'] = 2\nelse:\n    vae['a'] = 3",
    "if constant": "n = 1\nif x:\n    n = 2\nvae = dict(a=n)",
    "if nested dict": "m = dict(vae=dict(a=1))\nif x:\n    m['vae'] = dict(b=2)\nm['vae']['c'] = 3",
    "if nested item": "m = dict(vae=dict(a=1))\nif x:\n    m['vae']['a'] = 2",
    "if none": "vae = dict(a=1)\nif x:\n    vae = None",
    "if then item": "if x:\n    vae = dict(a=1)\nelse:\n    vae = dict(a=2)\nvae['a'] = 3",
    "either of two": "c = dict(a=1)\nd = dict(a=2)\nif x:\n    vae = c\nelse:\n    vae = d\nvae['a'] = 3",
    "either of two nested": "m = dict(c=dict(a=1), d=dict(a=2))\nv = m['c'] if x else m['d']\nv['a'] = 3",
    "maybe an alias": "c = dict(a=1)\nvae = dict(a=2)\nif x:\n    vae = c\nvae['a'] = 3",
    "maybe spread": "c = dict(a=1)\nif x:\n    c['a'] = 2\nvae = dict(**c)",
    "maybe spread, decided": "c = dict(a=1)\nif x:\n    c['a'] = 2\nvae = dict(**c)\nc['a'] = 3",
    "maybe copied": "c = dict(a=1)\nif x:\n    c['a'] = 2\nvae = c.copy()",
    "maybe updated": "c = dict(a=1)\nif x:\n    c['b'] = 2\nvae = dict(a=0)\nvae.update(c)",
    "maybe bound by an import": "c = dict(a=1)\nif x:\n    import os as c\n    c = dict(a=2)\nvae = dict(**c)",
    "maybe bound by a function": "c = dict(a=1)\nif x:\n    def c(): ...\n    c = dict(a=3)\nvae = {**c}",
    "ternary": "vae = dict(a=1) if x else dict(b=2)",
    "ternary none": "vae = dict(a=1) if x else None",
    "or": "vae = (x and dict(a=1)) or dict(b=2)",
    "ternary value": "vae = dict(a=1 if x else 2)",
    "ternary child": "m = dict(vae=dict(a=1) if x else dict(b=1))",
    "ternary item": "vae = dict(a=1)\nvae['a' if x else 'b'] = 2",
    "for": "vae = dict(a=1)\nfor i in range(2):\n    vae['a'] = i",
    "for constant": "n = 1\nfor n in range(3):\n    pass\nvae = dict(a=n)",
    "for later": "n = 1\nfor i in range(2):\n    vae = dict(a=n)\n    n = 2",
    "for over dicts": "vae = dict(a=1)\nt5 = dict(b=1)\nfor c in (vae, t5):\n    c['a'] = 2\ndel c",
    "for over a list of dicts": "vae = dict(a=1)\nt5 = dict(b=1)\nfor c in [vae, t5]:\n    c.update(a=2)\ndel c",
    "for over values": "m = dict(vae=dict(a=1))\nfor c in m.values():\n    c['a'] = 2\ndel c",
    "for over items": "m = dict(vae=dict(a=1))\nfor k, c in m.items():\n    c['a'] = 2\ndel c",
    "for over pairs": "vae = dict(a=1)\nfor c, v in ((vae, 2), (vae, 3)):\n    c['a'] = v\ndel c",
    "for, and a function that binds": "n = 1\nfor i in (1, 2):\n    vae = dict(a=n)\n    def g():\n        global n\n"
    "        n = 2\n    g()",
    "an item of one of two": "vae = dict(a=1)\nt5 = dict(b=1)\nclip = dict(a=1)\n(vae if x else t5)['a'] = 2",
    "changed for sure after a condition": "c = dict(a=1)\nif x:\n    c['a'] = 2\nc['a'] = 3\nvae = dict(**c)",
    "one of several that another name holds": "if x:\n    vae = dict(a=1)\nelse:\n    vae = dict(a=2)\nt5 = vae\n"
    "if y:\n    vae = dict(a=5)\nvae['a'] = 3",
    "a dict of what a method gives": "m = dict(vae=dict(a=1))\nt5 = dict(m.get('vae'), b=1)",
    "two spreads": "c = dict(a=1)\nd = dict(b=2)\nvae = {**c, 'x': 1, **d, **c}",
    "for and else": "vae = dict(a=1)\nfor i in ():\n    pass\nelse:\n    vae['a'] = 2",
    "for over keys": "vae = dict(a=1)\nfor k in list(vae):\n    vae[k] = 2",
    "for over names": "vae = dict(a=1)\nfor k in ('a', 'b'):\n    vae[k] = 2",
    "while": "n = 0\nvae = dict(a=1)\nwhile n < 2:\n    n += 1\n    vae['a'] = n",
    "while later": "vae = dict(a=1)\nn = 0\nwhile n < 2:\n    t5 = dict(**vae)\n    vae = dict(b=1)\n    n += 1",
    "for item later": "vae = dict(a=1)\nfor i in range(2):\n    t5 = dict(**vae)\n    vae['b'] = 2",
    "with": "import contextlib\nwith contextlib.nullcontext() as n:\n    vae = dict(a=n)",
    "with a dict": "import contextlib\nc = dict(a=1)\nwith contextlib.nullcontext(c) as vae:\n    vae['a'] = 2",
    "try": "try:\n    vae = dict(a=1)\nexcept Exception as n:\n    vae = dict(b=1)\nelse:\n    vae['c'] = 1",
    "finally": "try:\n    vae = dict(a=1)\nfinally:\n    t5 = dict(d=1)\n    vae['b'] = 1",
    "try fails": "try:\n    vae = dict(a=1)\n    1 / 0\n    vae['b'] = 1\nexcept Exception as n:\n    vae['c'] = 1",
    "match": "match x:\n    case True:\n        vae = dict(a=1)\n    case n:\n        vae = dict(b=n)",
    "walrus": "(vae := dict(a=1))",
    "walrus in a condition": "if (vae := dict(a=1)) and x:\n    vae['a'] = 2",
    "walrus in a call": "n = 1\nprint(n := 2, end='')\nvae = dict(a=n)",
    "walrus in a value": "n = 1\nvae = dict(a=(n := 2), b=n)\nt5 = dict(a=n)",
    "walrus in a list": "n = 1\nl = [(n := 2)]\nvae = dict(b=n)",
    "walrus in a comprehension": "n = 1\nl = [n := i for i in range(3)]\nvae = dict(b=n)",
    "comprehension": "n = 1\nl = [n for n in range(3)]\nvae = dict(b=n)",
    "dict comprehension": "vae = {k: 1 for k in 'ab'}",
    # functions and classes
    "function": "def g():\n    vae = dict(a=1)\n    return vae\nt5 = g()",
    "function that changes": "vae = dict(a=1)\ndef g():\n    vae['a'] = 2\ng()",
    "function that changes by update": "vae = dict(a=1)\ndef g():\n    vae.update(a=2)\ng()",
    "function that changes its argument": "vae = dict(a=1)\ndef g(c):\n    c['a'] = 2\ng(vae)",
    "function that gets and gives": "vae = dict(a=1)\ndef g(c):\n    c['a'] = 2\n    return c\nt5 = g(vae)",
    "function that gets a child": "m = dict(vae=dict(a=1))\ndef g(c):\n    c['a'] = 2\ng(m['vae'])",
    "function with global": "n = 1\ndef g():\n    global n\n    n = 2\ng()\nvae = dict(a=n)",
    "function with global dict": "a = dict(a=1)\ndef g():\n    global a\n    a = dict(b=1)\ng()\nt5 = dict(**a)",
    "class": "class A:\n    vae = dict(a=1)",
    "class that changes": "vae = dict(a=1)\nclass A:\n    vae['a'] = 2",
    "function named dict": "def dict(**k):\n    return {'z': 1}\nvae = dict(a=1)",
    "dict as a name": "vae = dict(a=1)\ndict = lambda **k: {'z': 1}\nt5 = dict(a=1)",
    "lambda": "vae = dict(a=1)\ng = lambda: vae.update(a=2)\ng()",
    "list of dicts": "vae = dict(a=1)\nall = [vae]\nall[0]['a'] = 2",
    "print": "vae = dict(a=1)\nprint(len(vae), end='')",
    # what is easily overlooked
    "one of two in a dict": "m = dict(p={'a': 1}, q={'a': 2})\nclip = m['p' if x else 'q']\nclip['a'] = 3",
    "a child bound to none and back": "m = {'vae': dict(a=1), 'vae': None}\nm['vae'] = dict(b=1)",
    "a spread over a child": "c = dict(vae=None)\nm = {'vae': dict(a=1), **c}",
    "a union over a child": "m = dict(vae=dict(a=1)) | dict(vae=None)",
    "keys that are numbers": "m = dict(vae={1: 2, 'a': {-1: 3}})\nm['vae']['a'] = 4",
    "a spread of numbers": "c = {1: 2}\nm = dict(vae={**c, 'a': 1})\nm['vae']['a'] = 4",
    "a tuple as a key": "vae = {(1, 2): 3, 'a': 1}",
    "a dict in a list": "vae = dict(a=[dict(b=1)])\nvae['a'][0]['b'] = 2",
    "a call in an argument": "vae = dict(a=1, b=2)\nprint(vae.pop('a'), end='')",
    "a call in a test": "vae = dict(a=1, b=2)\nif vae.pop('a'):\n    vae['c'] = 1",
    "a call in a sum": "n = 1\nvae = dict(a=1, b=2)\nn += vae.pop('a')",
    "a starred argument": "m = dict(vae=dict(a=1))\nf(*m['vae'])",
    "the child of a union": "m = (dict(vae=dict(a=1)) | dict(b=1))\nm['vae']['a'] = 2",
    "two names for two": "a = dict(x=1)\nb = a\nm = dict(p=a, q=b)\nb['x'] = 2",
    "a constant in a tuple of two": "a, b = ('x', 'y')\nvae = dict(p=a, q=b)",
    "a list for a constant": "l = [1]\nl.append(2)\nvae = dict(p=l)",
    "an update of itself": "vae = dict(a=1)\nvae.update(vae)\nvae['b'] = 2",
    "a child that holds its parent": "m = dict(vae=dict(a=1))\nm['vae']['m'] = m\nm['vae']['a'] = 2",
    "a child that is updated with its parent": "m = dict(vae=dict(a=1))\nm['vae'].update(m)\nm['vae']['a'] = 2",
    "a copy that holds itself": "m = dict(a=1)\nm['m'] = m\nn = deepcopy(m)\nn['m']['a'] = 2",
    "del in a branch": "vae = dict(a=1)\nif x:\n    del vae\n    vae = dict(b=1)",
    "a dict that is handed on": "a = dict(x=1)\nt5 = f(a)\nt5['f'] = 2",
    "popped and set": "m = dict(vae=dict(a=1))\nclip = m.pop('vae')\nclip['a'] = 2\nm['vae'] = clip",
    "a default that is there": "m = dict(vae=dict(a=1))\nclip = m.setdefault('vae', dict(b=1))\nclip['c'] = 1",
    "a default that is not there": "m = dict()\nclip = m.setdefault('vae', dict(b=1))\nclip['c'] = 1",
    "a default that may be there": "m = {}\nif x:\n    m['p'] = {'a': 1}\nt5 = m.setdefault('p', {})\nt5['c'] = 1",
}

# Components of these that only running would tell.
UNSURE = {
    "item of a number": "vae",
    "maybe spread": "vae",
    "maybe spread, decided": "vae",
    "maybe copied": "vae",
    "maybe updated": "vae",
    "maybe bound by an import": "vae",
    "maybe bound by a function": "vae",
    "or": "vae",
    "ternary item": "vae",
    "for over dicts": "t5 vae",
    "for over a list of dicts": "t5 vae",
    "for over values": "m.vae",
    "for over items": "m.vae",
    "for over pairs": "vae",
    "for over keys": "vae",
    "for over names": "vae",
    "while later": "t5",
    "for item later": "t5",
    "with a dict": "c vae",
    "dict comprehension": "vae",
    "function": "t5",
    "function that changes": "vae",
    "function that changes by update": "vae",
    "function that changes its argument": "vae",
    "function that gets and gives": "t5 vae",
    "function that gets a child": "m.vae",
    "function with global dict": "a t5",
    "class that changes": "vae",
    "function named dict": "vae",
    "dict as a name": "t5",
    "lambda": "vae",
    "list of dicts": "vae",
    "an item of one of two": "t5 vae",
    "one of two in a dict": "clip m m.p m.q",
    "a dict in a list": "vae",
    "a starred argument": "m.vae",
    "a dict that is handed on": "a t5",
}


@pytest.mark.parametrize("name", CASES)
def test_running_a_config_gives_what_the_reader_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = CASES[name] + "\n"
    config = read(source)
    assert problems(config, source) == []
    assert " ".join(sorted(unsure(config))) == UNSURE.get(name, "")


# --- changes by a part of an expression, by a list, by another name -----------------------------------


def pops(*given: Any, **more: Any) -> Any:
    """Take ``a`` out of every dict that is held by what it is given."""
    for each in (*given, *more.values()):
        if isinstance(each, dict):
            each.pop("a", None)
            pops(*each.values())
        elif isinstance(each, list | tuple | set):
            pops(*each)
        elif callable(each):
            each("a")
    return given


HIDDEN = [
    # a part of an expression
    "z = [vae.pop('a')]", "z = (1, [vae.pop('a')])", "z = {vae.pop('a')}", "z = {1: vae.pop('a')}",
    "z = {vae.pop('a'): 1}", "z = {-vae.pop('a'): 1}", "z = {'a b': vae.pop('a')}", "z = {'z': [vae.pop('a')]}",
    "assert vae.pop('a') == 1", "assert True, vae.pop('a')\nvae.pop('a')", "z = f\"{vae.pop('a')}\"",
    "z = not vae.pop('a')", "z = -vae.pop('a')", "z = 2 + vae.pop('a')", "z = vae.pop('a').real",
    "z = [1, 2][vae.pop('a')]", "z = [1, 2][vae.pop('a'):]", "z = [vae.pop('a')][0]", "z = 1 if vae.pop('a') else 2",
    "z = vae.pop('a') if t else 2", "z = 2 if e else vae.pop('a')", "z = vae.pop('a') or 1", "z = t and vae.pop('a')",
    "z = 0 < vae.pop('a')",
    "z = vae.pop('a').bit_length()", "z = [*[vae.pop('a')]]", "z, q = vae.pop('a'), 1", "[z, q] = (vae.pop('a'), 1)",
    "*z, q = vae.pop('a'), 1", "z = q = vae.pop('a'), 1", "z = dict(z=[vae.pop('a')])", "print([vae.pop('a')])",
    "z = vae.get('z', vae.pop('a'))", "z = vae.pop(vae.pop('a'), 1)", "z = t5.setdefault(vae.pop('a'), 1)",
    "t5[vae.pop('a')] = 1", "del t5[vae.pop('a') + 'x']", "z = lambda: vae.pop('a')\nz()", "z = (q := [vae.pop('a')])",
    "z: int = [vae.pop('a')]", "raise ValueError(vae.pop('a'))", "raise ValueError from pops(vae)",
    "\uff56ae.pop('a').real",
    # a comprehension
    "[m.update(a=2) for m in (vae,)]", "z = {m.pop('a') for m in (vae,)}", "z = {m.pop('a'): 1 for m in (vae,)}",
    "z = {1: m.pop('a') for m in (vae,)}", "z = list(m.pop('a') for m in (vae,))", "[t5.clear() for t5 in (vae,)]",
    "[vae.clear() for vae in (vae,)]", "[k for k in 'a' if vae.pop(k)]", "[m.pop(k) for m in [vae] for k in 'a']",
    "[0 for vae['a'] in (2,)]", "[0 for k in [vae.pop('a')]]", "m = [vae]\n[m[0].clear() for m in (m,)]",
    # a compound statement
    "for vae['a'] in (2,):\n    pass", "with w() as vae['a']:\n    pass",
    "for z, vae['a'] in ((1, 2),):\n    pass", "try:\n    raise ValueError\nexcept pops(vae):\n    pass",
    "match 1:\n    case 1 if vae.pop('a'):\n        pass", "while [vae.pop('a')] == 1:\n    pass",
    # by a method that has a name
    "z = vae.pop\nz('a')", "z = [vae.pop]\nz[0]('a')", "z = dict(q=vae.pop)\nz['q']('a')", "list(map(vae.pop, ['a']))",
    "sorted(['a'], key=vae.pop)", "vae.__delitem__('a')", "dict.pop(vae, 'a')", "partial(vae.pop, 'a')()",
    # by a list and its like
    "pops([vae])", "pops((1, (vae,)))", "pops({'z': [vae]})", "pops({1: vae})", "pops(z=[vae])", "pops(*[vae])",
    "pops(dict(z=[vae]))", "pops([vae] + [])", "pops([[vae]] * 2)", "pops([vae] if t else 1)", "pops(q := [vae])",
    "pops(list([vae]))", "pops(list(dict(z=vae).values()))", "pops(t5.get('z', vae))", "pops({'z': vae} | {})",
    "pops({**{'z': vae}})", "pops(dict({'z': vae}))", "pops([m for m in (vae,)])", "pops(copy.copy([vae]))",
    "pops([vae].copy())", "pops([vae].pop())", "z = [vae]\npops(z)", "z = [vae]\nq = z\npops(q)",
    "z = dict(q=[vae])\npops(z)", "z = dict(q=[vae])\npops(dict(**z))", "z = dict(q=vae)\npops(*z.values())",
    "z = dict(q=vae)\npops(z['q'])", "z = dict(q=vae)\npops(z.get('q'))", "z = []\nz += [vae]\nz[0]['a'] = 2",
    "z = [0]\nz[0] = vae\nz[0]['a'] = 2", "z = []\nz.append(vae)\nvae['a'] = 1\nz[0]['a'] = 2",
    "z = dict()\nz['q'] = [vae]\nz['q'][0]['a'] = 2", "z = dict()\nz.update(q=[vae])\nz['q'][0]['a'] = 2",
    "z = dict()\nz |= {'q': [vae]}\nz['q'][0]['a'] = 2", "z = dict(q=[vae])\nz['q'][0]['a'] = 2",
    "z = dict()\nz.setdefault('q', [vae])[0].clear()", "[vae][0]['a'] = 2", "(vae if t else {})['a'] = 2",
    "z = {3: vae}\nz[3]['a'] = 2", "z = {3: vae}\npops(z)", "z = [vae]\nz.sort(key=pops)",
    "len = pops\nlen(vae)", "match 1:\n    case 1:\n        z = vae\n        q = [z.pop('a')]",
    "[(z := q) for q in [vae]]\nz['a'] = 2", "[[(z := q) for q in p] for p in [[vae]]]\npops(z)",
    "match vae:\n    case q if q.update(a=2):\n        pass", "match [vae]:\n    case [q] if q.pop('a'):\n        pass",
    # by a function
    "z = [vae]\ndef g():\n    z[0].clear()\ng()", "def g():\n    z[0].clear()\nz = [vae]\ng()",
    "def g():\n    z[0].clear()\nz = []\nz += [vae]\nvae['a'] = 1\ng()",
]  # fmt: skip
UNHARMED = [
    "z = [vae['a']]", "pops(vae['a'])", "pops(vae.get('a'))", "pops(vae['a'] + 1)", "pops(f'{vae}')", "pops(not vae)",
    "pops(len(vae))", "pops('%s' % vae)", "z = vae.copy()\nz['a'] = 2", "z = vae.copy()\npops(z)",
    "z = deepcopy(vae)\npops(z)", "z = dict(**vae)\npops(z)", "z = {**vae}\npops(z)", "z = dict(vae, a=2)\npops(z)",
    "z = vae | {}\npops(z)", "pops(list(vae))", "z = [m['a'] for m in (vae, t5)]", "z = {k: v for k, v in vae.items()}",
    "z = [vae]\nz.append(1)", "z = vae['a'] == 1\npops(z)", "pops([1] if vae else 2)", "z = []\nz.append(1)\npops(z)",
    "z = [q for q in vae.values()]", "import os\nos.environ['z'] = str(vae['a'])\nos.environ['q'] = 'x'",
]  # fmt: skip


def ran(statements: str) -> tuple[Component, dict[str, Any]]:
    """What is said of ``vae`` after these statements, and what it is."""
    source = f"vae = dict(a=1)\nt5 = dict(b=1)\nkept = vae\n{statements}\n"
    names: dict[str, Any] = {
        "copy": copy, "deepcopy": copy.deepcopy, "partial": partial, "pops": pops, "t": True, "e": False,
        "w": lambda: nullcontext(2),
    }  # fmt: skip
    with suppress(Exception):
        exec(source, names)
    found = next(component for component in read(source).components if component.keys == ("vae",))
    return found, names["kept"]


@pytest.mark.parametrize("statements", HIDDEN)
def test_whatever_may_change_a_dict_is_seen(statements: str) -> None:
    component, real = ran(statements)
    assert real != {"a": 1}
    last = [override for override in component.overrides if override.key in ("a", None)][-1:]
    assert last, "it is said to stay as it is written"
    if last[0].certain:
        assert last[0].value is None
        assert "a" not in real


@pytest.mark.parametrize("statements", UNHARMED)
def test_what_changes_no_dict_leaves_no_doubt(statements: str) -> None:
    component, real = ran(statements)
    assert real == {"a": 1}
    assert (component.unsure, component.overrides) == (None, ())


# --- generated configs ------------------------------------------------------------------------------

NAMES = st.sampled_from(["vae", "t5", "clip"])
VALUES = st.sampled_from(["1", "2", "'s'", "k", "None", "(k, 1)"])


@st.composite
def expression(draw: strategies.Draw, depth: int = 2) -> str:
    """An expression that gives a dict, mostly."""
    forms = [
        "dict(p={v})", "{{'p': {v}, 'q': 1}}", "dict(**{n}, r={v})", "{{**{n}, 'q': 2}}", "{{'q': 2, **{n}}}",
        "{n}.copy()", "deepcopy({n})", "{n}['vae_2d']", "{n}.get('vae_2d')", "{n}", "dict({n}, p=1)",
    ]  # fmt: skip
    if depth:
        forms += [
            "({e} | {f})", "({e} if x else {f})", "dict(vae_2d={e})", "{{'vae_2d': {e}, 'p': 3}}", "{e}.copy()",
            "dict(**{e})",
        ]  # fmt: skip
    inner = expression(depth=depth - 1)
    form = draw(st.sampled_from(forms))
    return form.format(n=draw(NAMES), v=draw(VALUES), e=draw(inner) if "{e}" in form else "",
                       f=draw(inner) if "{f}" in form else "")  # fmt: skip


@st.composite
def statement(draw: strategies.Draw, depth: int = 2) -> str:
    """A statement that binds or changes a dict."""
    forms = [
        *["{n} = {e}"] * 4, "{n}['p'] = {v}", "{n}['vae_2d'] = {e}", "{n}['vae_2d']['p'] = {v}", "del {n}['p']",
        "{n}.pop('p', None)", "{n}.update(p={v})", "{n}.update({e})", "{n}.update(vae_2d={e})",
        "{n}.setdefault('p', {v})", "{n}.setdefault('vae_2d', {e})", "{n} |= {e}", "{n}['vae_2d'] |= {e}",
        "{n}, {m} = {e}, {f}", "{n} = {m} = {e}", "k = {v}", "{n} = None", "del {n}['vae_2d']",
        "{n}['vae_2d'].update(p={v})", "{n} = {m}['vae_2d'] = {e}", "{n}.pop('vae_2d')", "{n} = f({m})", "del {n}",
        "l = [{n}, {m}]; l[0]['p'] = 4", "l = [{n}.pop('p', 0)]",
        "[c.update(p={v}) for c in ({n}, {m})]", "def g(): {n}['p'] = {v}", "g()",
    ]  # fmt: skip
    if depth:
        forms += [
            *["if x:\n    {s}"] * 2, *["if y:\n    {s}\nelse:\n    {t}"] * 2,
            "for v in ({n}, {m}):\n    v['p'] = {v}\ndel v", "try:\n    {s}\n    {t}\nexcept KeyError:\n    {t}",
        ]  # fmt: skip
    form = draw(st.sampled_from(forms))
    s, t = (draw(statement(depth=depth - 1)).replace("\n", "\n    ") if part in form else "" for part in ("{s}", "{t}"))
    e, f = (draw(expression()) if part in form else "" for part in ("{e}", "{f}"))
    return form.format(n=draw(NAMES), m=draw(NAMES), v=draw(VALUES), e=e, f=f, s=s, t=t)


@settings(strategies.fuzz, derandomize=True)
@given(st.lists(statement(), min_size=1, max_size=6))
def test_running_generated_configs_gives_what_the_reader_says(statements: list[str]) -> None:
    source = "k = 1\nvae = dict(p=1, vae_2d=dict(p=2))\nt5 = {'q': 1}\n"
    for each in statements:
        longer = source + each + "\n"
        with suppress(KeyError, NameError, TypeError, AttributeError):
            if "{...}" not in repr(list(executions(longer))):  # a dict that holds itself
                source = longer
    assert problems(read(source), source) == []


# --- _base_, as mmengine merges it ------------------------------------------------------------------

BASES = {
    "values": ("vae = dict(a=2, c=3)", "vae = dict(a=1, b=1)"),
    "nested": ("m = dict(vae=dict(a=2))", "m = dict(x=1, vae=dict(a=1, b=1), t5=dict(c=1))"),
    "nested deeper": ("m = dict(vae=dict(vae_2d=dict(a=2)))", "m = dict(x=1, vae=dict(q=1, vae_2d=dict(a=1, b=1)))"),
    "delete": ("vae = dict(_delete_=True, a=2)", "vae = dict(b=1, vae_2d=dict(z=1))"),
    "delete nested": ("m = dict(vae=dict(_delete_=True, a=2))", "m = dict(x=1, vae=dict(b=1, vae_2d=dict(z=1)))"),
    "delete around": ("m = dict(_delete_=True, vae=dict(a=2))", "m = dict(x=1, vae=dict(b=1, vae_2d=dict(z=1)))"),
    "delete is false": ("m = dict(vae=dict(_delete_=False, a=2))", "m = dict(vae=dict(b=1))"),
    "delete of nothing": ("vae = dict(_delete_=True, a=2)", "t5 = dict(b=1)"),
    "delete of none": ("m = dict(vae=dict(_delete_=True, a=2))", "m = dict(vae=None)"),
    "delete of what is unknown": ("m = dict(x=dict(_delete_=True, a=2))", "m = dict(x=dict(b=len('')))"),
    "none": ("m = dict(vae=None)\nt5 = None", "m = dict(vae=dict(a=1))\nt5 = dict(b=1)"),
    "none at first": ("m = dict(vae=None)\nm = dict(x=1)", "m = dict(vae=dict(a=1))"),
    "none, two deep": ("m = dict(vae=dict(x=None))", "m = dict(vae=dict(x=dict(a=dict(b=1))))"),
    "only the base": ("x = 1", "m = dict(vae=dict(a=1))\nt5 = dict(b=1)"),
    "changed by the child": ("vae = dict(z=1)\nvae['a'] = 5\ndel vae['z']", "vae = dict(a=1)"),
    "changed in the base": ("vae = dict(z=1)", "vae = dict(a=1)\nvae['b'] = 2\nvae.pop('a')"),
    "changed below in the base": ("m = dict(z=1)", "m = dict(vae=dict(a=1))\nm['vae']['b'] = 2"),
    "changed below in the child": ("m = dict(vae=dict(a=1))\nm['vae']['b'] = 3", "m = dict(vae=dict(a=0, b=0, c=0))"),
    "a copy": ("c = dict(z=1)\nvae = c.copy()", "vae = dict(a=1)"),
    "an alias": ("c = dict(z=1)\nvae = c", "vae = dict(a=1)"),
    "a spread": ("c = dict(a=2)\nvae = dict(**c, z=1)", "vae = dict(a=1, b=1)"),
    "a nested alias": ("c = dict(a=1)\nm = dict(vae=c)", "m = dict(vae=dict(a=0, b=0, c=0))"),
    "bound again": ("vae = dict(z=1)\nvae = dict(y=1)", "vae = dict(a=1)"),
    "bound again to none": ("vae = dict(z=1)\nvae = None", "vae = dict(a=1)"),
    "deleted": ("vae = dict(z=1)\ndel vae", "vae = dict(a=1)"),
    "bound again in the base": ("vae = dict(z=1)", "vae = dict(a=1)\nvae = dict(c=1)"),
    "unknown below": ("m = dict(vae=dict(a=1, b=len('x')))", "m = dict(vae=dict(a=0, b=0, c=0))"),
    "unknown below in the base": ("m = dict(vae=dict(a=1, b=3))", "m = dict(vae=dict(a=0, b=len('x'), c=0))"),
    "a list": ("m = dict(vae=dict(a=[1]))", "m = dict(vae=dict(a=[0, 2], b=0))"),
    "numbers as keys": ("vae = dict(a={1: {2: 3}})", "vae = dict(a={1: {4: 5}, 6: 7})"),
    "a branch that is not taken": ("if ():\n    m = dict(vae=dict(z=1))", "m = dict(vae=dict(a=1))"),
    "a branch that is taken": ("if 1:\n    m = dict(vae=dict(z=1))", "m = dict(vae=dict(a=1))"),
    "a branch of the base": ("vae = dict(z=1)", "if x:\n    vae = dict(a=1)"),
    "a second `_base_`": ("_base_ = '../far.py'\nt5 = dict(z=1)", "vae = dict(a=1)"),
    "the base by another name": ("vae = dict(_base_.vae, z=1)", "vae = dict(a=1)"),
}


@pytest.mark.parametrize("name", BASES)
def test_mmengine_merges_bases_as_the_reader_says(name: str, tmp_path: Path) -> None:
    config = pytest.importorskip("mmengine.config").Config
    child, base = BASES[name]
    texts = {
        "child.py": f"_base_ = 'base.py'\n{child}\n",
        "base.py": f"_base_ = ['far.py']\nx = 1\n{base}\n",
        "far.py": "clip = dict(x=1)\n",
    }
    for file, text in texts.items():
        (tmp_path / file).write_text(text)
    files = {str(tmp_path / file): read(text, str(tmp_path / file)) for file, text in texts.items()}
    real = config.fromfile(str(tmp_path / "child.py"), lazy_import=False)._cfg_dict.to_dict()
    found = inherit(files[str(tmp_path / "child.py")], files.get)
    plain = replace(found, components=tuple([_without_delete(component) for component in found.components]))
    assert list(disagreements(plain, _strip(real), "if " in child)) == []


def _without_delete(component: Component) -> Component:
    return replace(component, values=tuple([pair for pair in component.values if pair[0] != "_delete_"]))


def _strip(real: Any) -> Any:
    """mmengine leaves ``_delete_`` where the base has nothing to delete; loaders never see it."""
    return {k: _strip(v) for k, v in real.items() if k != "_delete_"} if isinstance(real, dict) else real


# --- what a file does to `_base_` ----------------------------------------------------------------

CHANGES_OF_BASES = [
    '_base_.text_encoder["cache_dir"] = "/o"',
    '_base_["text_encoder"]["cache_dir"] = "/o"',
    '_base_.text_encoder.cache_dir = "/o"',
    '_base_.get("text_encoder")["cache_dir"] = "/o"',
    '_base_.text_encoder.update(cache_dir="/o")',
    '_base_.text_encoder.setdefault("cache_dir", "/o")',
    '_base_["text_encoder"] |= dict(cache_dir="/o")',
    '_base_.text_encoder.pop("from_pretrained")',
    'del _base_["text_encoder"]["from_pretrained"]',
    '_base_.text_encoder = dict(type="t5", cache_dir="/o")',
    '_base_["text_" + "encoder"]["cache_dir"] = "/o"',
    '_base_.update(text_encoder=dict(cache_dir="/o"))',
    '_base_.update({"text_encoder": dict(cache_dir="/o")})',
    '_base_ |= {"text_encoder": dict(cache_dir="/o")}',
    'del _base_["text_encoder"]',
    'del _base_.text_encoder',
    '_base_.pop("text_encoder")["cache_dir"] = "/o"',
    '_base_.clear()',
    'setattr(_base_, "text_encoder", dict(cache_dir="/o"))',
    '_base_.text_encoder.__setitem__("cache_dir", "/o")',
    'g = _base_.text_encoder.update\ng(cache_dir="/o")',
    'q = _base_\nq.text_encoder["cache_dir"] = "/o"',
    'q = _base_.text_encoder\nq["cache_dir"] = "/o"',
    'q, r = _base_.text_encoder, 1\nq["cache_dir"] = "/o"',
    'q = [_base_.text_encoder]\nq[0]["cache_dir"] = "/o"',
    'm = dict(te=_base_.text_encoder)\nm["te"]["cache_dir"] = "/o"',
    'm = dict(**_base_)\nm["text_encoder"]["cache_dir"] = "/o"',
    'm = dict(_base_)\nm["text_encoder"]["cache_dir"] = "/o"',
    'for q in _base_.values():\n    if q != 4:\n        q["cache_dir"] = "/o"',
    'for q in [_base_]:\n    q.text_encoder["cache_dir"] = "/o"',
    'for q, r in _base_.items():\n    r == 4 or r.update(cache_dir="/o")',
    '[q.update(cache_dir="/o") for q in _base_.values() if q != 4]',
    'if (q := _base_.text_encoder):\n    q["cache_dir"] = "/o"',
    'f(_base_)',
    'f(_base_.text_encoder)',
    'f(*_base_.values())',
    'def g():\n    _base_.text_encoder["cache_dir"] = "/o"\ng()',
    '(lambda: _base_.text_encoder.update(cache_dir="/o"))()',
    'q = _base_.text_encoder\ndef g():\n    q["cache_dir"] = "/o"\ng()',
    'text_encoder = _base_.text_encoder\ntext_encoder["cache_dir"] = "/o"\ndel text_encoder',
    'if _base_:\n    _base_.text_encoder["cache_dir"] = "/o"',
]  # fmt: skip
READINGS_OF_BASES = [
    "b = _base_.batch_size * 2",
    "vae = dict(type=_base_.vae.type)",
    "vae = dict(_base_.vae, a=1)",
    "vae = dict(**_base_.vae)",
    'vae = {**_base_["vae"], "a": 1}',
    "vae = _base_.vae.copy()",
    "q = copy.deepcopy(_base_.text_encoder)\nq['cache_dir'] = '/o'",
    "q = copy.copy(_base_.text_encoder)\nq['cache_dir'] = '/o'",
    "q = _base_.text_encoder.copy()\nq.update(cache_dir='/o')",
    "q = dict(_base_.text_encoder)\nq['cache_dir'] = '/o'",
    "q = _base_.text_encoder | dict(cache_dir='/o')\nq['cache_dir'] = '/p'",
    "q = _base_.get('batch_size', 1)",
    "b = int(_base_.batch_size)",
    "b = f'{_base_.text_encoder.type} {_base_.batch_size}'",
    "b = str(_base_.text_encoder['from_pretrained']).upper()",
    "b = os.path.join(_base_.text_encoder.from_pretrained, 'x')",
    "for q in _base_.values():\n    print(q)",
    "b = [len(q) for q in _base_.keys()]",
    "b = 1 if _base_.batch_size > 2 else 3",
    "assert 'text_encoder' in _base_",
    "_base_.vae['k'] = 1",
    "_base_.batch_size = 1",
    "_base_.new = dict(cache_dir='/o')",
    "f(_base_.vae)",
    "q = _base_.vae\nq['k'] = 1",
]  # fmt: skip
HELD = 'text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl")\nvae = dict(type="v")\nbatch_size = 4\n'
USED = """
import copy
import os
f = lambda *given: [each.get("text_encoder", each).update(cache_dir="/o") for each in given if each != 4]
"""


def encoder(folder: Path, name: str) -> object:
    """What mmengine makes of the text encoder of a file."""
    config = pytest.importorskip("mmengine.config").Config
    found: object = config.fromfile(str(folder / f"{name}.py"), lazy_import=False).get("text_encoder", {})
    return found


@pytest.mark.parametrize("own", ["", "text_encoder = dict(a=3)\n"])
@pytest.mark.parametrize("statement", CHANGES_OF_BASES + READINGS_OF_BASES)
def test_a_change_of_what_a_base_holds_is_a_doubt_where_mmengine_takes_it_over(
    own: str, statement: str, tmp_path: Path
) -> None:
    texts = {"base": HELD, "child": f"{USED}_base_ = ['./base.py']\n{statement}\n{own}",
             "before": f"{USED}{statement}\n_base_ = ['./base.py']\n{own}", "plain": f"_base_ = 'base.py'\n{own}",
             "heir": "_base_ = 'child.py'\nt5 = dict()\n"}  # fmt: skip
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)

    def lookup(path: str) -> ConfigFile:
        return read(Path(path).read_text(), path)

    meant = encoder(tmp_path, "plain")
    changes = statement in CHANGES_OF_BASES
    for name in ("child", "before", "heir"):
        found = inherit(lookup(str(tmp_path / f"{name}.py")), lookup)
        assert (encoder(tmp_path, name) != meant) is changes
        for each in [c for c in found.components if c.keys == ("text_encoder",) and c.replaced_by is None]:
            assert (each.unsure is not None) is changes
            assert [o.key for o in each.overrides if o.why] == [None] * changes
