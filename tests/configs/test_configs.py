"""Which components a config has, with which values, and what makes one undecidable (OSR007)."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewriter.model import Component, Config, Ignore
from rewriter.read.configs import inherit, read_config

PATH = "/checkout/configs/inference/sample.py"
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
KL = "stabilityai/sd-vae-ft-ema"
VAE = {"type": "VideoAutoencoderKL", "from_pretrained": KL}


def read(source: str | bytes) -> Config:
    data = source if isinstance(source, bytes) else textwrap.dedent(source).encode()
    return read_config(data, PATH)


def read_all(source: str) -> dict[str, list[Component]]:
    """The components by their dotted name, in the order of the file."""
    config = read(source)
    assert config.problem is None, config.problem
    found: dict[str, list[Component]] = {}
    for each in config.components:
        found.setdefault(each.dotted, []).append(each)
    return found


def read_one(source: str, name: str = "vae") -> Component:
    (component,) = read_all(source)[name]
    return component


def known(component: Component) -> dict[str, Any]:
    """The values that are known."""
    return {key: value.value for key, value in component.values.items() if value.known}


# --- what is read ---------------------------------------------------------------------------------

READ = {
    "as released": (
        "vae = dict(\n    type='VideoAutoencoderKL',\n    from_pretrained='stabilityai/sd-vae-ft-ema',\n)\n",
        VAE,
    ),
    "a display": ("vae = {'type': 'VideoAutoencoderKL', 'from_pretrained': 'stabilityai/sd-vae-ft-ema'}", VAE),
    "annotated": ("vae: dict = dict(type='VideoAutoencoderKL', from_pretrained='stabilityai/sd-vae-ft-ema')", VAE),
    "in parentheses": ("vae = (dict(type='VideoAutoencoderKL', from_pretrained='stabilityai/sd-vae-ft-ema'))", VAE),
    "two on a line": (
        "seed = 1; vae = dict(type='VideoAutoencoderKL', from_pretrained='stabilityai/sd-vae-ft-ema')",
        VAE,
    ),
    "after a backslash": (
        "vae = \\\n dict(type='VideoAutoencoderKL', from_pretrained='stabilityai/sd-vae-ft-ema')",
        VAE,
    ),
    "under if": ("if True:\n vae = dict(type='VideoAutoencoderKL', from_pretrained='stabilityai/sd-vae-ft-ema')", VAE),
    "under try": ("try:\n vae = dict(type='t5')\nexcept OSError:\n pass", {"type": "t5"}),
    "under except": ("try:\n x = 1\nexcept OSError:\n vae = dict(type='t5')", {"type": "t5"}),
    "under finally": ("try:\n x = 1\nfinally:\n vae = dict(type='t5')", {"type": "t5"}),
    "under with": ("with open('x') as file:\n vae = dict(type='t5')", {"type": "t5"}),
    "a constant by name": (
        "repo = 'org/name'\nvae = dict(type='t5', from_pretrained=repo)",
        {"type": "t5", "from_pretrained": "org/name"},
    ),
    "a name of a name": ("a = 'org/name'\nb = a\nvae = dict(from_pretrained=b)", {"from_pretrained": "org/name"}),
    "a sum": ("ROOT = './models'\nvae = dict(from_pretrained=ROOT + '/t5')", {"from_pretrained": "./models/t5"}),
    "a sum of three": ("vae = dict(from_pretrained='a' + '/' + 'b')", {"from_pretrained": "a/b"}),
    "an f-string": (
        "org = 'stabilityai'\nvae = dict(from_pretrained=f'{org}/sd-vae')",
        {"from_pretrained": "stabilityai/sd-vae"},
    ),
    "an f-string with a number": (
        "step = 3\nvae = dict(from_pretrained=f'ckpt/{step}')",
        {"from_pretrained": "ckpt/3"},
    ),
    "joined literals": (
        "vae = dict(from_pretrained='stabilityai/' 'sd-vae')",
        {"from_pretrained": "stabilityai/sd-vae"},
    ),
    "a raw string": ("vae = dict(from_pretrained=r'C:\\models')", {"from_pretrained": "C:\\models"}),
    "numbers and tuples": (
        "vae = dict(scale=-1.5, shift=(1, 2), sizes=[1, None])",
        {"scale": -1.5, "shift": (1, 2), "sizes": [1, None]},
    ),
    "cache_dir=None": ("vae = dict(type='t5', cache_dir=None)", {"type": "t5", "cache_dir": None}),
    "set later": (
        "vae = dict(type='t5')\nvae['from_pretrained'] = 'org/name'",
        {"type": "t5", "from_pretrained": "org/name"},
    ),
    "changed later": ("vae = dict(type='t5', split=8)\nvae['split'] = 4", {"type": "t5", "split": 4}),
    "empty": ("vae = dict()", {}),
    "a key that is a number": ("vae = {'type': 't5', 1: 2}", {"type": "t5"}),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_plain_dict_is_read_with_its_values(name: str) -> None:
    source, values = READ[name]

    component = read_one(source)

    assert component.unsure is None
    assert known(component) == values
    assert all(value.known for value in component.values.values())


def test_the_span_is_that_of_the_dict_in_bytes() -> None:
    component = read_one("seed = 1; é = 'ü'; vae = dict(type='t5')\n")

    span = component.span
    assert (span.line, span.end_line) == (1, 1)
    assert "seed = 1; é = 'ü'; vae = dict(type='t5')".encode()[span.column : span.end_column] == b"dict(type='t5')"
    assert component.text == "dict(type='t5')"


def test_an_override_is_kept_apart_from_the_keywords_and_wins() -> None:
    component = read_one("vae = dict(type='t5', split=8)\nvae['split'] = 4\nvae['cache_dir'] = '/x'\n")

    assert [each.key for each in component.keywords] == ["type", "split"]
    assert [(each.key, each.value.value, each.span.line) for each in component.overrides] == [
        ("split", 4, 2),
        ("cache_dir", "/x", 3),
    ]
    assert known(component) == {"type": "t5", "split": 4, "cache_dir": "/x"}


def test_both_branches_of_an_if_are_components() -> None:
    first, second = read_all("if small:\n vae = dict(type='a')\nelse:\n vae = dict(type='b')\n")["vae"]

    assert [known(each)["type"] for each in (first, second)] == ["a", "b"]
    assert (first.unsure, second.unsure) == (None, None)


def test_two_bindings_are_two_components() -> None:
    assert [known(each) for each in read_all("vae = dict(type='a')\nvae = dict(type='b')\n")["vae"]] == [
        {"type": "a"},
        {"type": "b"},
    ]


def test_nested_dicts_are_components_of_their_own() -> None:
    source = """
        model = dict(type="Pipeline", vae_2d=dict(type="VideoAutoencoderKL"), text={"type": "t5"}, sizes=[1])
        """

    found = read_all(source)

    assert list(found) == ["model", "model.vae_2d", "model.text"]
    assert known(found["model.vae_2d"][0]) == {"type": "VideoAutoencoderKL"}
    assert found["model.vae_2d"][0].name == "vae_2d"
    assert found["model.text"][0].keys == ("model", "text")


def test_a_nested_dict_belongs_to_the_values_of_the_outer_one() -> None:
    component = read_one("vae = dict(type='P', vae_2d=dict(type='K', split=4))")

    assert known(component)["vae_2d"] == {"type": "K", "split": 4}


@pytest.mark.parametrize(
    "value", ["None", "'stabilityai/sd-vae-ft-ema'", "1", "[dict(type='t5')]", "('a', 'b')", "f'x'"]
)
def test_what_is_no_dict_is_no_component(value: str) -> None:
    assert read_all(f"vae = {value}\n") == {}


def test_a_dict_in_a_function_is_no_component() -> None:
    assert "vae" not in read_all("def make():\n    vae = dict(type='t5')\n    return vae\n")


# --- uses that change nothing ---------------------------------------------------------------------

HARMLESS = [
    "print(vae)",
    "build_module(vae, MODELS)",
    "x = build_module(vae, MODELS, device='cpu')",
    "MODELS.build(vae)",
    "x = vae['type']",
    "x = vae.type",
    "x = vae.get('type')",
    "if vae['type'] == 't5':\n    seed = 1",
    "def run():\n    print(vae)\n    return build_module(vae, MODELS)",
    "def run():\n    return vae['from_pretrained']",
    "class Runner:\n    kind = vae.get('type')",
]


@pytest.mark.parametrize("use", HARMLESS)
def test_a_use_that_only_reads_leaves_the_component_decidable(use: str) -> None:
    assert read_one(f"vae = dict(type='t5', from_pretrained='org/name')\n{use}\n").unsure is None


# --- what is refused ------------------------------------------------------------------------------

REFUSED = {
    "an alias of it": ("vae = dict(type='t5')\nteacher = vae\n", 2),
    "del": ("vae = dict(type='t5')\ndel vae\n", 2),
    "del of a key": ("vae = dict(type='t5', split=8)\ndel vae['split']\n", 2),
    "update": ("vae = dict(type='t5')\nvae.update(split=4)\n", 2),
    "pop": ("vae = dict(type='t5', split=4)\nvae.pop('split')\n", 2),
    "setdefault": ("vae = dict(type='t5')\nvae.setdefault('split', 4)\n", 2),
    "|=": ("vae = dict(type='t5')\nvae |= dict(split=4)\n", 2),
    "+=": ("vae = dict(type='t5')\nvae += 1\n", 2),
    "an argument of another call": ("vae = dict(type='t5')\nprepare(vae)\n", 2),
    "the second argument of print": ("vae = dict(type='t5')\nprint(1, vae)\n", 2),
    "a method called print": ("vae = dict(type='t5')\nlog.print(vae)\n", 2),
    "an element of a list": ("vae = dict(type='t5')\nparts = [vae]\n", 2),
    "a value of another dict": ("vae = dict(type='t5')\nmodel = dict(vae=vae)\n", 2),
    "spread into another dict": ("vae = dict(type='t5')\nother = dict(**vae)\n", 2),
    "set later under if": ("vae = dict(type='t5')\nif small:\n    vae['split'] = 4\n", 3),
    "set later in a loop": ("vae = dict(type='t5')\nfor n in (1, 2):\n    vae['split'] = n\n", 3),
    "set later in a function": ("vae = dict(type='t5')\ndef change():\n    vae['split'] = 4\n", 3),
    "a computed key set later": ("vae = dict(type='t5')\nvae[key] = 4\n", 2),
    "a nested key set later": ("vae = dict(type='t5', inner=dict(a=1))\nvae['inner']['a'] = 4\n", 2),
    "a nested dict handed on": ("vae = dict(type='t5', inner=dict(a=1))\nx = vae['inner']\n", 2),
    "a nested dict by get": ("vae = dict(type='t5', inner=dict(a=1))\nvae.get('inner').update(a=2)\n", 2),
    "a nested dict by attribute": ("vae = dict(type='t5', inner=dict(a=1))\nvae.inner.update(a=2)\n", 2),
    "an attribute set": ("vae = dict(type='t5')\nvae.split = 4\n", 2),
    "used in a function": ("vae = dict(type='t5')\ndef change():\n    return prepare(vae)\n", 3),
    "returned by a lambda": ("vae = dict(type='t5')\nget = lambda: vae\n", 2),
    "global in a function": ("vae = dict(type='t5')\ndef change():\n    global vae\n    vae = None\n", 3),
    "a loop variable": ("vae = dict(type='t5')\nfor vae in others:\n    pass\n", 2),
    "a with target": ("vae = dict(type='t5')\nwith open('x') as vae:\n    pass\n", 2),
    "a tuple target": ("vae = dict(type='t5')\nvae, x = other\n", 2),
    "a walrus": ("vae = dict(type='t5')\nprint(vae := None)\n", 2),
    "a comprehension over it": ("vae = dict(type='t5')\nkeys = [k for k in vae]\n", 2),
    "a match": ("vae = dict(type='t5')\nmatch vae:\n    case _:\n        pass\n", 2),
    "import *": ("from opensora.base import *\nvae = dict(type='t5')\n", 1),
    "dict rebound": ("from collections import OrderedDict as dict\nvae = dict(type='t5')\n", 1),
    "dict defined": ("def dict(**k):\n    return k\nvae = dict(type='t5')\n", 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_use_of_the_name_makes_it_undecidable(name: str) -> None:
    source, line = REFUSED[name]

    found = read_all(source)["vae"]

    assert found[0].unsure is not None
    assert f"line {line}" in found[0].unsure


REFUSED_DICTS = {
    "**common": ("common = dict(a=1)\nvae = dict(type='t5', **common)\n", 2),
    "** in a display": ("common = dict(a=1)\nvae = {'type': 't5', **common}\n", 2),
    "** of a call": ("vae = dict(type='t5', **make())\n", 1),
    "a positional dict": ("base = dict(a=1)\nvae = dict(base, type='t5')\n", 2),
    "positional pairs": ("vae = dict([('type', 't5')])\n", 1),
    "a computed key": ("key = make()\nvae = {key: 't5'}\n", 2),
    "a key by name": ("key = 'type'\nvae = {key: 't5'}\n", 2),
    "an f-string key": ("vae = {f'type': 't5'}\n", 1),
    "a keyword twice": ("vae = dict(type='t5', type='clip')\n", 1),
    "a key twice in a display": ("vae = {'type': 't5', 'type': 'clip'}\n", 1),
}


@pytest.mark.parametrize("name", REFUSED_DICTS)
def test_a_dict_whose_keys_are_not_all_written_is_undecidable(name: str) -> None:
    source, line = REFUSED_DICTS[name]

    component = read_one(source)

    assert component.unsure is not None
    assert f"line {line}" in component.unsure


OPAQUE = {
    "an alias": ("common = dict(type='t5')\nvae = common\n", 2),
    "a call": ("vae = make_vae()\n", 1),
    "a method": ("common = dict(type='t5')\nvae = common.copy()\n", 2),
    "a union": ("vae = common | dict(type='t5')\n", 1),
    "a conditional expression": ("vae = dict(type='a') if small else dict(type='b')\n", 1),
    "or": ("vae = given or dict(type='t5')\n", 1),
    "chained": ("vae = teacher = dict(type='t5')\n", 1),
    "a tuple": ("vae, text_encoder = dict(type='a'), dict(type='b')\n", 1),
    "a walrus": ("(vae := dict(type='t5'))\n", 1),
    "an element": ("models = [dict(type='t5')]\nvae = models[0]\n", 2),
    "a comprehension": ("vae = {key: 1 for key in ('type',)}\n", 1),
    "a loop": ("for name in ('a', 'b'):\n    vae = dict(type=name)\n", 2),
    "while": ("while True:\n    vae = dict(type='t5')\n    break\n", 2),
    "an import": ("from other import vae\n", 1),
    "a function of that name": ("def vae():\n    pass\n", 1),
    "a class of that name": ("class vae:\n    type = 't5'\n", 1),
    "another mapping": ("vae = OrderedDict(type='t5')\n", 1),
    "a base's own reference": ("_base_ = ['./a.py']\nvae = _base_.vae\n", 2),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_a_name_that_is_bound_in_another_way_is_never_silently_nothing(name: str) -> None:
    source, line = OPAQUE[name]

    found = read_all(source)["vae"]

    assert all(each.unsure is not None for each in found), found
    assert any(f"line {line} " in str(each.unsure) or each.span.line == line for each in found)


@pytest.mark.parametrize("value", ["make()", "base", "a | b", "dict(b=1) if c else None"])
def test_a_nested_value_that_is_no_plain_dict_is_undecidable(value: str) -> None:
    component = read_one(f"model = dict(type='P',\n vae={value})\n", "model.vae")

    assert (component.unsure is not None, component.span.line) == (True, 2)


def test_a_refusal_of_one_name_leaves_the_others_alone() -> None:
    found = read_all("vae = dict(type='a')\ntext_encoder = dict(type='b')\nvae.update(x=1)\n")

    assert found["vae"][0].unsure is not None
    assert found["text_encoder"][0].unsure is None


def test_a_nested_component_of_an_undecidable_one_is_undecidable() -> None:
    assert read_one("model = dict(vae=dict(type='a'))\nprepare(model)\n", "model.vae").unsure is not None


def test_a_nested_dict_that_a_later_line_replaces_is_undecidable() -> None:
    found = read_all("model = dict(vae=dict(type='a'))\nmodel['vae'] = dict(type='b')\n")["model.vae"]

    assert found[0].unsure is not None
    assert [known(each)["type"] for each in found] == ["a", "b"]
    assert found[1].unsure is None


# --- values that only running tells ---------------------------------------------------------------

UNKNOWN_VALUES = [
    "os.environ['REPO']",
    "os.environ.get('REPO', 'org/name')",
    "os.path.join('a', 'b')",
    "str(Path('a') / 'b')",
    "repo",
    "config.repo",
    "f'{make()}/x'",
    "f'{1.5:.1f}'",
    "f'{\"a\"!r}'",
    "'a' if small else 'b'",
    "'a' * 3",
    "'a/%s' % 'b'",
    "'{}/b'.format('a')",
    "'a' + make()",
    "'a' + 1",
    "'{{$REPO:org/name}}'",
    "'{{fileDirname}}/x'",
    "[make()]",
]


@pytest.mark.parametrize("value", UNKNOWN_VALUES)
def test_a_value_that_only_running_tells_is_not_known_and_its_text_is_kept(value: str) -> None:
    component = read_one(f"vae = dict(type='t5', from_pretrained={value})")

    assert component.unsure is None
    assert not component.values["from_pretrained"].known
    assert component.values["from_pretrained"].text == value
    assert component.values["type"].value == "t5"


@pytest.mark.parametrize(
    "source",
    [
        "a = 'x'\na = 'y'\nvae = dict(from_pretrained=a)",  # bound twice
        "vae = dict(from_pretrained=a)\na = 'x'",  # bound later
        "a = ['x']\nvae = dict(from_pretrained=a)",  # may be changed
        "for a in ('x', 'y'):\n    pass\nvae = dict(from_pretrained=a)",
        "import a\nvae = dict(from_pretrained=a)",
    ],
)
def test_a_name_that_is_no_constant_is_not_known(source: str) -> None:
    assert not read_one(source).values["from_pretrained"].known


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\xef\xbb\xbfvae = dict(a='x')", "x"),
        ("# -*- coding: latin-1 -*-\nvae = dict(a='é')".encode("latin-1"), "é"),
        ("# coding: gbk\nvae = dict(a='模型')".encode("gbk"), "模型"),
        (b"vae = dict(\r\n    a='x',\r\n)\r\n", "x"),
        (b"vae = dict(a='x')", "x"),
        (b"\x0cvae = dict(\n\ta='x',\n)", "x"),
    ],
    ids=["BOM", "latin-1", "GBK", "CRLF", "no final newline", "tabs and form feed"],
)
def test_encodings_and_line_ends_are_read(data: bytes, value: str) -> None:
    (component,) = read(data).components

    assert known(component) == {"a": value}


@pytest.mark.parametrize(
    "data",
    [
        b"vae = dict(type='t5'\n",
        b"print 'x'\n",
        b"<<<<<<< HEAD\nvae = dict()\n",
        b"vae = dict(a='\xff')\n",
        b"# coding: no-such\nvae = dict()\n",
        b"vae = dict()\0\n",
        b"if x:\n\ty = 1\n        z = 2\n",
    ],
)
def test_what_python_cannot_read_is_a_problem_with_line_and_remedy(data: bytes) -> None:
    config = read(data)

    assert config.problem is not None
    assert config.problem.line >= 1
    assert config.problem.message
    assert config.problem.remedy
    assert config.components == ()


@pytest.mark.parametrize(
    "source", ["x = " + "(" * 5000 + ")" * 5000, "x = " + "-" * 100_000 + "1", "a = b" + ".c" * 50_000]
)
def test_a_file_that_nests_too_deeply_ends_in_a_problem_or_a_reading(source: str) -> None:
    assert read(source).path == PATH


def test_ignore_comments_are_read_and_strings_that_look_like_one_are_not() -> None:
    source = """\
        vae = dict(  # opensora-rewriter: ignore[OSR001, OSR004]
            type="# opensora-rewriter: ignore",
        )
        # opensora-rewriter: ignore
        # opensora-rewriter: ignored by nobody
        """

    assert read(source).ignores == (Ignore(1, ("OSR001", "OSR004")), Ignore(4, ()))


# --- _base_ ---------------------------------------------------------------------------------------


def load(files: dict[str, str], name: str = "sample.py") -> Config:
    """Read one of several configs of a folder with what it inherits."""

    def read_file(path: str) -> Config:
        return read_config(textwrap.dedent(files[Path(path).name]).encode(), path)

    reader: Callable[[str], Config] = read_file
    return inherit(reader(f"/checkout/configs/{name}"), reader)


def inherited(files: dict[str, str]) -> dict[str, Component]:
    return {each.dotted: each for each in load(files).components}


BASE = "vae = dict(type='K', from_pretrained='org/a', split=8)\ntext_encoder = dict(type='t5')\n"


@pytest.mark.parametrize("bases", ["'base.py'", "'./base.py'", "['base.py']", "('../configs/base.py',)"])
def test_bases_are_found_beside_the_file(bases: str) -> None:
    assert read_config(f"_base_ = {bases}\n".encode(), "/checkout/configs/x.py").bases == ("/checkout/configs/base.py",)


@pytest.mark.parametrize(
    "bases", ["make()", "[name()]", "'a.py' if x else 'b.py'", "1", "['a.py', 1]", "{'a.py'}", "'{{fileDirname}}/a.py'"]
)
def test_a_computed_base_is_unknown_and_reported(bases: str) -> None:
    config = read(f"_base_ = {bases}\n")

    assert config.bases == ()
    assert config.bases_unknown is not None
    assert "line 1" in config.bases_unknown


def test_a_dict_is_merged_into_that_of_the_base() -> None:
    vae = inherited({"base.py": BASE, "sample.py": "_base_ = 'base.py'\nvae = dict(split=4)\n"})["vae"]

    assert known(vae) == {"type": "K", "from_pretrained": "org/a", "split": 4}
    assert [each.key for each in vae.keywords] == ["split"]
    assert vae.origin is None


def test_delete_drops_what_the_base_says() -> None:
    vae = inherited({"base.py": BASE, "sample.py": "_base_ = 'base.py'\nvae = dict(_delete_=True, type='L')\n"})["vae"]

    assert {key: value for key, value in known(vae).items() if key != "_delete_"} == {"type": "L"}


def test_what_is_only_inherited_names_its_origin() -> None:
    found = inherited({"base.py": BASE, "sample.py": "_base_ = 'base.py'\nseed = 1\n"})

    assert {name: each.origin for name, each in found.items()} == {
        "vae": "/checkout/configs/base.py",
        "text_encoder": "/checkout/configs/base.py",
    }


def test_none_replaces_the_dict_of_the_base() -> None:
    assert set(inherited({"base.py": BASE, "sample.py": "_base_ = 'base.py'\nvae = None\n"})) == {"text_encoder"}


def test_a_base_of_a_base_is_followed_and_the_last_of_two_counts() -> None:
    files = {
        "low.py": BASE,
        "base.py": "_base_ = 'low.py'\nvae = dict(split=2)\n",
        "other.py": "text_encoder = dict(type='clip')\n",
        "sample.py": "_base_ = ['base.py', 'other.py']\n",
    }

    found = inherited(files)

    assert known(found["vae"]) == {"type": "K", "from_pretrained": "org/a", "split": 2}
    assert found["vae"].origin == "/checkout/configs/base.py"
    assert known(found["text_encoder"])["type"] == "clip"


def test_nested_dicts_are_merged_too() -> None:
    files = {
        "base.py": "model = dict(type='M', vae=dict(type='K', split=8))\n",
        "sample.py": "_base_ = 'base.py'\nmodel = dict(vae=dict(split=4))\n",
    }

    assert known(inherited(files)["model.vae"]) == {"type": "K", "split": 4}


def test_a_base_that_cannot_be_read_or_a_circle_is_reported() -> None:
    broken = load({"base.py": "vae = (\n", "sample.py": "_base_ = 'base.py'\nvae = dict(type='t5')\n"})
    circle = load({"base.py": "_base_ = 'sample.py'\n", "sample.py": "_base_ = 'base.py'\nvae = dict(type='t5')\n"})

    assert "base.py" in (broken.bases_unknown or "")
    assert circle.bases_unknown is not None


def test_a_dict_that_cannot_be_decided_in_the_base_cannot_be_where_it_is_inherited() -> None:
    files = {"base.py": BASE + "vae.update(split=1)\n", "sample.py": "_base_ = 'base.py'\nvae = dict(split=4)\n"}

    assert inherited(files)["vae"].unsure is not None
    assert inherited(files)["text_encoder"].unsure is None


# --- all fixtures ---------------------------------------------------------------------------------

RELEASED = sorted(
    path for tag in ("v1.0", "v1.1", "v1.2", "v1.3", "derived") for path in (FIXTURES / tag).rglob("*.py")
)
CONFIGS = [path for path in RELEASED if {"configs", "config"} & set(path.relative_to(FIXTURES).parts)]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(FIXTURES).as_posix())
def test_every_component_of_a_release_is_decidable(path: Path) -> None:
    config = read_config(path.read_bytes(), str(path))

    assert config.problem is None
    assert {each.name for each in config.components} & {"vae", "text_encoder", "model"}
    assert [each.unsure for each in config.components if each.unsure is not None] == []


@pytest.mark.parametrize("path", sorted((FIXTURES / "odd/configs/refused").rglob("*.py")), ids=lambda path: path.stem)
def test_each_refused_shape_of_the_odd_configs_is_refused(path: Path) -> None:
    components = read_config(path.read_bytes(), str(path)).components

    assert any(each.unsure is not None for each in components if each.name in ("vae", "text_encoder"))


@pytest.mark.parametrize("path", sorted((FIXTURES / "odd/configs/shapes").rglob("*.py")), ids=lambda path: path.stem)
def test_each_read_shape_of_the_odd_configs_is_decidable(path: Path) -> None:
    config = read_config(path.read_bytes(), str(path))

    assert config.problem is None
    assert [each.unsure for each in config.components if each.name in ("vae", "text_encoder") and each.unsure] == []


@pytest.mark.parametrize("path", sorted((FIXTURES / "odd/configs/broken").rglob("*.py")), ids=lambda path: path.stem)
def test_a_broken_odd_config_gives_a_problem_or_nothing_that_is_decidable(path: Path) -> None:
    config = read_config(path.read_bytes(), str(path))

    assert config.problem is not None or all(
        each.unsure is not None for each in config.components if each.name == "vae"
    )


def test_reading_executes_nothing_and_imports_nothing_heavy(tmp_path: Path) -> None:
    script = """
        import sys, pathlib
        from rewriter.read.configs import read_config
        for path in pathlib.Path(sys.argv[1]).rglob("*.py"):
            read_config(path.read_bytes(), str(path))
        print(sorted({"libcst", "mmengine", "torch", "rich", "pydantic"} & set(sys.modules)))
        """
    command = [sys.executable, "-c", textwrap.dedent(script), str(FIXTURES / "odd/configs/hostile")]

    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)

    assert result.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []
