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

DICT = f"dict(type='VideoAutoencoderKL', from_pretrained='{KL}')"
READ = {
    "arithmetic": ("vae = dict(type='t5', size=512 // 8, scale=1 / 2)", {"type": "t5", "size": 64, "scale": 0.5}),
    "as released": (f"vae = dict(\n    type='VideoAutoencoderKL',\n    from_pretrained='{KL}',\n)\n", VAE),
    "a display": (f"vae = {{'type': 'VideoAutoencoderKL', 'from_pretrained': '{KL}'}}", VAE),
    "annotated": (f"vae: dict = {DICT}", VAE),
    "in parentheses": (f"vae = ({DICT})", VAE),
    "two on a line": (f"seed = 1; vae = {DICT}", VAE),
    "after a backslash": (f"vae = \\\n {DICT}", VAE),
    "under if": (f"if True:\n vae = {DICT}", VAE),
    "under try": ("try:\n vae = dict(type='t5')\nexcept OSError:\n pass", {"type": "t5"}),
    "under except": ("try:\n x = 1\nexcept OSError:\n vae = dict(type='t5')", {"type": "t5"}),
    "under finally": ("try:\n x = 1\nfinally:\n vae = dict(type='t5')", {"type": "t5"}),
    "under with": ("with open('x') as file:\n vae = dict(type='t5')", {"type": "t5"}),
    "a constant by name": ("repo = 'org/name'\nvae = dict(from_pretrained=repo)", {"from_pretrained": "org/name"}),
    "a name of a name": ("a = 'org/name'\nb = a\nvae = dict(from_pretrained=b)", {"from_pretrained": "org/name"}),
    "a sum": ("ROOT = './models'\nvae = dict(from_pretrained=ROOT + '/t5')", {"from_pretrained": "./models/t5"}),
    "a sum of three": ("vae = dict(from_pretrained='a' + '/' + 'b')", {"from_pretrained": "a/b"}),
    "an f-string": ("org = 'o'\nvae = dict(from_pretrained=f'{org}/vae')", {"from_pretrained": "o/vae"}),
    "an f-string with a number": ("step = 3\nvae = dict(from_pretrained=f'c/{step}')", {"from_pretrained": "c/3"}),
    "joined literals": ("vae = dict(from_pretrained='stabilityai/' 'vae')", {"from_pretrained": "stabilityai/vae"}),
    "a raw string": ("vae = dict(from_pretrained=r'C:\\models')", {"from_pretrained": "C:\\models"}),
    "numbers and tuples": (
        "vae = dict(scale=-1.5, shift=(1, 2), sizes=[1, None])",
        {"scale": -1.5, "shift": (1, 2), "sizes": [1, None]},
    ),
    "cache_dir=None": ("vae = dict(type='t5', cache_dir=None)", {"type": "t5", "cache_dir": None}),
    "set later": ("vae = dict(type='t5')\nvae['cache_dir'] = '/x'", {"type": "t5", "cache_dir": "/x"}),
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


def test_an_override_is_kept_apart_from_the_keywords_and_wins() -> None:
    component = read_one("vae = dict(type='t5', split=8)\nvae['split'] = 4\nvae['cache_dir'] = '/x'\n")
    assert list(component.keywords) == ["type", "split"]
    assert component.overrides == {"split": 2, "cache_dir": 3}
    assert known(component) == {"type": "t5", "split": 4, "cache_dir": "/x"}


@pytest.mark.parametrize("text", ["if small:\n vae = {}\nelse:\n vae = {}\n", "vae = {}\nvae = {}\n"])
def test_each_binding_is_a_component(text: str) -> None:
    found = read_all(text.format("dict(type='a')", "dict(type='b')"))["vae"]
    assert [(known(each), each.unsure) for each in found] == [({"type": "a"}, None), ({"type": "b"}, None)]


def test_nested_dicts_are_components_of_their_own_and_values_of_the_outer_one() -> None:
    found = read_all("model = dict(type='P', vae_2d=dict(type='K', split=4), text={'type': 't5'}, sizes=[1])\n")
    assert [(name, each.keys, each.name) for name, (each,) in found.items()] == [
        ("model", ("model",), "model"),
        ("model.vae_2d", ("model", "vae_2d"), "vae_2d"),
        ("model.text", ("model", "text"), "text"),
    ]
    assert known(found["model"][0])["vae_2d"] == known(found["model.vae_2d"][0]) == {"type": "K", "split": 4}


@pytest.mark.parametrize(
    "source",
    [
        *(f"vae = {each}\n" for each in ("None", "'org/vae'", "1", "[dict(type='t5')]", "('a', 'b')", "f'x'")),
        "def make():\n    vae = dict(type='t5')\n    return vae\n",
    ],
)
def test_what_is_no_dict_or_in_a_function_is_no_component(source: str) -> None:
    assert "vae" not in read_all(source)


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
    "|=": ("vae = dict(type='t5')\nvae |= dict(split=4)\n", 2),
    "an argument of another call": ("vae = dict(type='t5')\nprepare(vae)\n", 2),
    "the second argument of print": ("vae = dict(type='t5')\nprint(1, vae)\n", 2),
    "a method called print": ("vae = dict(type='t5')\nlog.print(vae)\n", 2),
    "a value of a dict with numbers as keys": ("vae = dict(type='t5')\nx = {1: prepare(vae)}\n", 2),
    "a value of another dict": ("vae = dict(type='t5')\nmodel = dict(vae=vae)\n", 2),
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
    "global in a function": ("vae = dict(type='t5')\ndef change():\n    global vae\n    vae = None\n", 4),
    "a loop variable": ("vae = dict(type='t5')\nfor vae in others:\n    pass\n", 2),
    "a with target": ("vae = dict(type='t5')\nwith open('x') as vae:\n    pass\n", 2),
    "a tuple target": ("vae = dict(type='t5')\nvae, x = other\n", 2),
    "a walrus": ("vae = dict(type='t5')\nprint(vae := None)\n", 2),
    "a comprehension over it": ("vae = dict(type='t5')\nkeys = [k for k in vae]\n", 2),
    "import *": ("from opensora.base import *\nvae = dict(type='t5')\n", 1),
    "dict rebound": ("from collections import OrderedDict as dict\nvae = dict(type='t5')\n", 1),
    "dict defined": ("def dict(**k):\n    return k\nvae = dict(type='t5')\n", 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_use_of_the_name_makes_it_undecidable(name: str) -> None:
    source, line = REFUSED[name]
    assert f"line {line}" in str(read_all(source)["vae"][0].unsure)


STRANGE_KEYS = [
    "common = dict(a=1)\nvae = dict(type='t5', **common)\n",
    "common = dict(a=1)\nvae = {'type': 't5', **common}\n",
    "vae = dict(type='t5', **make())\n",
    "base = dict(a=1)\nvae = dict(base, type='t5')\n",
    "vae = dict([('type', 't5')])\n",
    "key = 'type'\nvae = {key: 't5'}\n",
    "vae = {f'type': 't5'}\n",
    "vae = dict(type='t5', type='clip')\n",
    "vae = {'type': 't5', 'type': 'clip'}\n",
]


@pytest.mark.parametrize("source", STRANGE_KEYS)
def test_a_key_that_is_not_written_or_written_twice_makes_it_undecidable(source: str) -> None:
    assert read_one(source).unsure == "a key of it is computed, spread (`**`) or given twice"


OPAQUE = {
    "an alias": ("common = dict(type='t5')\nvae = common\n", 2),
    "a call": ("vae = make_vae()\n", 1),
    "a union": ("vae = common | dict(type='t5')\n", 1),
    "a conditional expression": ("vae = dict(type='a') if small else dict(type='b')\n", 1),
    "chained": ("vae = teacher = dict(type='t5')\n", 1),
    "a tuple": ("vae, text_encoder = dict(type='a'), dict(type='b')\n", 1),
    "a walrus": ("(vae := dict(type='t5'))\n", 1),
    "an element": ("models = [dict(type='t5')]\nvae = models[0]\n", 2),
    "a comprehension": ("vae = {key: 1 for key in ('type',)}\n", 1),
    "a loop": ("for name in ('a', 'b'):\n    vae = dict(type=name)\n", 1),
    "while": ("while True:\n    vae = dict(type='t5')\n    break\n", 1),
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
    assert [each.span.line for each in found] == [line]


@pytest.mark.parametrize("value", ["make()", "base", "a | b", "dict(b=1) if c else None"])
def test_a_nested_value_that_is_no_plain_dict_is_undecidable(value: str) -> None:
    component = read_one(f"model = dict(type='P',\n vae={value})\n", "model.vae")
    assert (component.unsure is not None, component.span.line) == (True, 2)


def test_what_is_in_an_undecidable_one_is_undecidable_and_no_other() -> None:
    found = read_all("model = dict(vae=dict(type='a'))\ntext_encoder = dict(type='b')\nprepare(model)\n")
    assert [name for name, (each,) in found.items() if each.unsure is not None] == ["model", "model.vae"]


def test_a_nested_dict_that_a_later_line_replaces_is_no_component() -> None:
    component = read_one("model = dict(vae=dict(type='a'))\nmodel['vae'] = dict(type='b')\n", "model.vae")
    assert (known(component), component.unsure) == ({"type": "b"}, None)


# --- values that only running tells ---------------------------------------------------------------

UNKNOWN_VALUES = [
    "os.environ['REPO']",
    "os.environ.get('REPO', 'org/name')",
    "os.path.join('a', 'b')",
    "repo",
    "f'{make()}/x'",
    "f'{1.5:.1f}'",
    "f'{1!r}'",
    "'a' if small else 'b'",
    "'a/%s' % 'b'",
    "'a' + make()",
    "'a' + 1",
    "'a' * 9",
    "1 / 0",
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
    "source",
    [
        "# -*- coding: utf-8 -*-\nvae = dict(a='模型')",
        "vae = dict(\r\n    a='模型',\r\n)\r\n",
        "\x0cvae = dict(\n\ta='模型',\n)",
    ],
    ids=["UTF-8 cookie, no final newline", "CRLF", "tabs and form feed"],
)
def test_encodings_and_line_ends_are_read(source: str) -> None:
    (component,) = read(source.encode()).components
    assert known(component) == {"a": "模型"}


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"vae = dict(type='t5'\n", 1, "the file is not Python: '(' was never closed"),
        (b"\nprint 'x'\n", 2, "the file is not Python: "),
        (b"<<<<<<< HEAD\nvae = dict()\n", 1, "the file is not Python: invalid syntax"),
        (b"if x:\n\ty = 1\n        z = 2\n", 3, "the file is not Python: "),
        (b"# coding: no-such\nvae = dict()\n", 1, "the file is not Python: unknown encoding: no-such"),
        (b"\nvae = dict(a='\xff')\n", 2, "byte 0xff is not UTF-8"),
        (b"# coding: gbk\nvae = dict()\n", 1, "the file is gbk, not plain UTF-8"),
        (b"\xef\xbb\xbfvae = dict()\n", 1, "the file is utf-8-sig, not plain UTF-8"),
        (b"vae = dict()\0\n", 1, "the file holds a NUL byte, not plain UTF-8"),
    ],
)
def test_what_is_no_python_or_no_utf8_is_a_problem(data: bytes, line: int, message: str) -> None:
    config = read(data)
    assert config.problem is not None
    assert config.problem.line == line
    assert config.problem.message.startswith(message)
    assert config.problem.remedy == ("save the file as UTF-8" if "UTF-8" in message else "correct it, or leave it out")
    assert config.components == ()


@pytest.mark.parametrize(
    "source", ["x = " + "(" * 5000 + ")" * 5000, "x = " + "-" * 100_000 + "1", "a = b" + ".c" * 50_000]
)
def test_a_file_that_nests_too_deeply_ends_in_a_problem_or_a_reading(source: str) -> None:
    assert read(source).path == PATH


def test_ignore_comments_are_read() -> None:
    source = """\
        vae = dict(  # opensora-rewriter: ignore[OSR001, OSR004]
        )
        # opensora-rewriter: ignore
        # opensora-rewriter: ignored by nobody
        """
    assert read(source).ignores == (Ignore(1, ("OSR001", "OSR004")), Ignore(3, ()))


# --- _base_ ---------------------------------------------------------------------------------------


def load(files: dict[str, str], name: str = "sample.py") -> Config:
    """Read one of several configs of a folder with what it inherits."""

    def read_file(path: str) -> Config:
        return read_config(textwrap.dedent(files[Path(path).name]).encode(), path)

    reader: Callable[[str], Config] = read_file
    return inherit(reader(f"/checkout/configs/{name}"), reader)


def inherited(files: dict[str, str]) -> dict[str, Component]:
    return {each.dotted: each for each in load(files).components}


VAE_OF_BASE = {"type": "K", "from_pretrained": "org/a", "split": 8}
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
    assert list(vae.keywords) == ["split"]
    assert vae.origin is None


def test_delete_drops_what_the_base_says() -> None:
    vae = inherited({"base.py": BASE, "sample.py": "_base_ = 'base.py'\nvae = dict(_delete_=True, type='L')\n"})["vae"]
    assert {key: value for key, value in known(vae).items() if key != "_delete_"} == {"type": "L"}


@pytest.mark.parametrize(("own", "names"), [("seed = 1", {"vae", "text_encoder"}), ("vae = None", {"text_encoder"})])
def test_what_is_only_inherited_names_its_origin(own: str, names: set[str]) -> None:
    found = inherited({"base.py": BASE, "sample.py": f"_base_ = 'base.py'\n{own}\n"})
    assert {name: each.origin for name, each in found.items()} == dict.fromkeys(names, "/checkout/configs/base.py")


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


@pytest.mark.parametrize(
    ("own", "names"),
    [
        ("model = dict(vae=dict(split=4))", ["model", "model.vae", "model.vae.inner"]),
        ("model = dict(split=4)", ["model", "model.vae", "model.vae.inner"]),
        ("model = dict(vae=None)", ["model"]),
        ("model = dict(_delete_=True)", ["model"]),
        ("model = dict(vae=dict(_delete_=True))", ["model", "model.vae"]),
        ("model = None", []),
    ],
)
def test_nested_dicts_are_merged_too(own: str, names: list[str]) -> None:
    base = "model = dict(type='M', vae=dict(type='K', split=8, inner=dict(type='I')))\n"
    found = inherited({"base.py": base, "sample.py": f"_base_ = 'base.py'\n{own}\n"})
    assert list(found) == names
    if "model.vae.inner" in names:
        assert known(found["model.vae"])["type"] == "K"


def test_both_branches_of_an_if_inherit() -> None:
    own = "_base_ = 'base.py'\nif small:\n vae = dict(split=1)\nelse:\n vae = dict(split=2)\n"
    found = [each for each in load({"base.py": BASE, "sample.py": own}).components if each.name == "vae"]
    assert [known(each) for each in found] == [dict(VAE_OF_BASE, split=1), dict(VAE_OF_BASE, split=2)]


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


ODD = sorted(
    path for kind in ("refused", "shapes", "broken") for path in (FIXTURES / "odd/configs" / kind).rglob("*.py")
)


@pytest.mark.parametrize("path", ODD, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_the_odd_configs_are_refused_or_read(path: Path) -> None:
    config = read_config(path.read_bytes(), str(path))
    doubts = [each.unsure is not None for each in config.components if each.name in ("vae", "text_encoder")]
    if path.parts[-3] == "shapes":
        assert (config.problem, any(doubts)) == (None, False)
    else:
        assert any(doubts) or config.problem is not None or path.stem == "empty"


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
