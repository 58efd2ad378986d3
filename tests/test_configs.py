"""Reading what a config file says."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from proving import PATH, component, read

import rewriter
from rewriter.configs import inherit, read_config
from rewriter.types import Component, ConfigFile, Ignore

T5 = 'text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl", model_max_length=300)\n'


def literals(found: Component) -> dict[str, object]:
    return {key: value.value for key, value in dict(found.values).items() if value.literal}


def ways(source: str, *keys: str) -> set[str]:
    return set(component(read(source), *keys).ways)


# --- what is a component ------------------------------------------------------------------------


def test_a_top_level_dict_call_is_a_component() -> None:
    found = component(read(T5), "text_encoder")
    assert found.form == "call"
    assert found.name == "text_encoder"
    assert literals(found) == {"type": "t5", "from_pretrained": "DeepFloyd/t5-v1_1-xxl", "model_max_length": 300}
    assert (found.span.line, found.span.column, found.span.end_line, found.span.end_column) == (1, 15, 1, len(T5) - 1)
    assert found.statement.column == 0


def test_a_dict_literal_is_a_component() -> None:
    found = component(read("vae = {'type': 'VideoAutoencoderKL', \"subfolder\": None}\n"), "vae")
    assert found.form == "literal"
    assert literals(found) == {"type": "VideoAutoencoderKL", "subfolder": None}


def test_nested_dicts_are_found_by_their_path() -> None:
    config = read("model = dict(vae=dict(vae_2d={'a': 1}), text_encoder={'type': 't5'}, size=1)\n")
    assert [c.keys for c in config.components] == [
        ("model",),
        ("model", "vae"),
        ("model", "vae", "vae_2d"),
        ("model", "text_encoder"),
    ]
    assert "nested" in component(config, "model", "vae").ways
    assert dict(component(config, "model").values)["vae"].value == {"vae_2d": {"a": 1}}


def test_a_dict_that_holds_an_expression_is_not_a_literal_value() -> None:
    values = dict(component(read("model = dict(vae=dict(path=f()), b=[1, {'x': -2}])\n"), "model").values)
    assert not values["vae"].literal
    assert values["vae"].text == "dict(path=f())"
    assert values["b"].value == [1, {"x": -2}]


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    vae = dict()\n",
        "class A:\n    vae = dict()\n",
        "vaes = [dict(type='x')]\n",
        "f(dict(type='x'))\n",
        "buckets = {1: dict(a=1), '144p': {'a': 2}}\n",
        "vae = 'path'\n",
        "vae = None\n",
        "vae = 3\n",
        "vae = f'{1}'\n",
        "vae = [1]\n",
        "vae = 'a' + suffix\n",
    ],
)
def test_what_is_no_component(source: str) -> None:
    assert [c.keys for c in read(source).components if c.keys != ("buckets",)] == []


@pytest.mark.parametrize("value", ["make_vae()", "module.vae", "table['vae']", "{{_base_.vae}}", "unknown"])
def test_a_component_that_cannot_be_seen(value: str) -> None:
    found = component(read(f"vae = {value}\n"), "vae")
    assert found.form == "other"
    assert found.unsure is not None
    assert component(read(f"model = dict(vae={value})\n"), "model", "vae").form == "other"
    assert read(f"dataset = {value}\n").components == ()


def test_names_that_are_bound_at_all() -> None:
    config = read("import os\nvae = None\na, (b, *c) = f()\nfor d in e: pass\ndef g(): pass\nwith h() as i: pass\n")
    assert config.assigned == {"os", "vae", "a", "b", "c", "d", "g", "i"}


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a' \"b\"", "ab"),
        ("-1", -1),
        ("(1, 2)", (1, 2)),
        ("1e-4", 1e-4),
        ("b'x'", b"x"),
        ("{1, 2}", {1, 2}),
        ("(None)", None),
        ("dict(a=dict())", {"a": {}}),
        ('r"\\d"', "\\d"),
    ],
)
def test_literal_values(text: str, value: object) -> None:
    found = dict(component(read(f"vae = dict(x={text})\n"), "vae").values)["x"]
    assert found.literal
    assert found.value == value


@pytest.mark.parametrize(
    "text",
    ["os.environ['X']", "f'{root}'", "os.path.join('a', 'b')", "name", "not 1", "{[]: 1}", "{**a}", '"{{$HOME:x}}"'],
)
def test_values_that_only_running_would_tell(text: str) -> None:
    found = dict(component(read(f"vae = dict(x={text})\n"), "vae").values)["x"]
    assert not found.literal
    assert found.value is None
    assert found.text == text


def test_braces_that_mmengine_does_not_see_are_literal() -> None:
    assert literals(component(read("vae = dict(x='{\\x7b$HOME}}')\n"), "vae")) == {"x": "{{$HOME}}"}


def test_a_name_of_a_constant_is_its_value() -> None:
    config = read("root = 'a'\nvae = dict(from_pretrained=root)\nroot = 'b'\n")
    assert literals(component(config, "vae")) == {"from_pretrained": "a"}
    assert dict(component(config, "vae").values)["from_pretrained"].text == "root"


@pytest.mark.parametrize(
    "source",
    [
        "if x:\n    root = 'a'\nvae = dict(p=root)\n",
        "root = 'a'\nif x:\n    root = 'b'\nvae = dict(p=root)\n",
        "root = 'a'\nroot += 'b'\nvae = dict(p=root)\n",
        "root = 'a'\nfor root in x:\n    pass\nvae = dict(p=root)\n",
        "root = 'a'\nfrom x import root\nvae = dict(p=root)\n",
        "root = 'a'\nfor i in x:\n    vae = dict(p=root)\n    root = 'b'\n",
        "root = 'a'\ndef f():\n    global root\n    root = 'b'\nf()\nvae = dict(p=root)\n",
    ],
)
def test_a_name_that_may_hold_something_else_is_not(source: str) -> None:
    assert not dict(component(read(source), "vae").values)["p"].literal


def test_text_is_one_short_line() -> None:
    found = component(read("vae = dict(\n    a=1,\n    b=[\n" + "        1,\n" * 500 + "    ],\n)\n"), "vae")
    assert found.text.startswith("dict( a=1, b=[ 1, 1,")
    assert len(found.text) == 200
    assert all("\n" not in value.text for value in dict(found.values).values())


# --- how it is written --------------------------------------------------------------------------


def test_annotated() -> None:
    assert ways("vae: dict = dict(type='x')\n", "vae") == {"annotated"}


@pytest.mark.parametrize(
    "source",
    [
        "if x:\n    vae = dict()\n",
        "if x:\n    pass\nelse:\n    vae = dict()\n",
        "try:\n    vae = dict()\nfinally:\n    pass\n",
        "try:\n    pass\nexcept E:\n    vae = dict()\n",
        "for i in x:\n    vae = dict()\n",
        "while x:\n    vae = dict()\n",
        "with x:\n    vae = dict()\n",
        "match x:\n    case 1:\n        vae = dict()\n",
        "vae = dict() if x else None\n",
        "vae = x or dict()\n",
        "(vae := dict())\n",
        "if (vae := dict()):\n    pass\n",
    ],
)
def test_conditional(source: str) -> None:
    assert all("conditional" in found.ways for found in read(source).components)
    assert read(source).components


def test_both_branches_are_components() -> None:
    config = read("if x:\n    vae = dict(a=1)\nelse:\n    vae = dict(a=2)\nb = dict() if x else dict(c=1)\n")
    assert [c.keys[0] for c in config.components] == ["vae", "vae", "b", "b"]


def test_a_later_assignment_replaces() -> None:
    config = read("vae = dict(a=1)\nif x:\n    vae = dict(a=2)\nvae = dict(a=3)\n")
    assert [c.replaced_by for c in config.components] == [4, 4, None]
    assert read("vae = dict()\nvae = None\n").components[0].replaced_by == 2
    assert read("vae = dict()\nif x:\n    vae = None\n").components[0].replaced_by is None
    assert read("vae = dict()\ndel vae\n").components[0].replaced_by == 2
    assert [c.replaced_by for c in read("m = dict(vae={})\nm = 1\n").components] == [2, 2]


def test_an_alias_has_the_place_of_the_dict_itself() -> None:
    config = read("common = dict(type='t5')\ntext_encoder = common\n")
    own, alias = component(config, "common"), component(config, "text_encoder")
    assert alias.span == own.span
    assert alias.statement == own.statement
    assert alias.ways == ("alias",)
    assert alias.shared_with == ("common",)
    assert own.shared_with == ("text_encoder",)
    assert literals(alias) == {"type": "t5"}


def test_one_dict_of_several_names() -> None:
    config = read("a = b = dict(x=1)\nmodel = dict(vae=a)\n")
    assert component(config, "b").shared_with == ("a", "model.vae")
    assert "alias" in component(config, "a").ways
    assert component(config, "model", "vae").span == component(config, "a").span
    assert set(component(config, "model", "vae").ways) == {"alias", "nested"}


def test_tuples_are_unpacked() -> None:
    config = read("a, (b, c) = dict(x=1), (2, {'x': 3})\nd, vae = f()\n")
    assert literals(component(config, "a")) == {"x": 1}
    assert literals(component(config, "c")) == {"x": 3}
    assert component(config, "vae").form == "other"


@pytest.mark.parametrize(
    "expression",
    [
        "dict(**common, b=2)",
        "{**common, 'b': 2}",
        "dict(common, b=2)",
        "dict(common.items(), b=2)",
        "dict(**{'a': 1}, b=2)",
        "common | dict(b=2)",
        "dict(dict(a=1), b=2)",
        "dict(a=1) | {'b': 2}",
    ],
)
def test_defaults_from_another_dict(expression: str) -> None:
    found = component(read(f"common = dict(a=1)\nvae = {expression}\n"), "vae")
    assert literals(found) == {"a": 1, "b": 2}
    assert [k.key for k in found.written] == ["b"]
    assert set(found.ways) & {"spread", "positional"}
    assert found.unsure is None


@pytest.mark.parametrize("expression", ["common.copy()", "copy.deepcopy(common)", "deepcopy(common)", "common | other"])
def test_copies_can_be_read_but_not_edited(expression: str) -> None:
    found = component(read(f"common = dict(a=1)\nother = dict(b=2)\nvae = {expression}\n"), "vae")
    assert found.form == "other"
    assert literals(found)["a"] == 1
    assert found.unsure is None


@pytest.mark.parametrize(
    "expression",
    [
        "dict(**unknown)",
        "{**f()}",
        "dict(unknown)",
        "dict(zip(a, b))",
        "{key: 1}",
        "unknown | dict(b=2)",
        "dict(**maybe)",
    ],
)
def test_what_cannot_be_told_says_why(expression: str) -> None:
    found = component(read(f"maybe = dict(a=1) if x else dict()\nvae = {expression}\n"), "vae")
    assert found.unsure is not None
    assert "line 2" in found.unsure or "cannot be told" in found.unsure


def test_later_changes_of_a_spread_dict_do_not_count() -> None:
    config = read("common = dict(a=1)\nvae = dict(**common)\ncommon['a'] = 2\n")
    assert literals(component(config, "vae")) == {"a": 1}
    assert literals(component(config, "common")) == {"a": 2}


# --- overrides ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("vae['a'] = 2", {"a": 2}),
        ("vae.a = 2", {"a": 2}),
        ("vae.update(b=2)", {"a": 1, "b": 2}),
        ("vae.update({'a': 2})", {"a": 2}),
        ("vae.update(dict(a=2), b=3)", {"a": 2, "b": 3}),
        ("del vae['a']", {}),
        ("vae.pop('a')", {}),
        ("x = vae.pop('a', None)", {}),
        ("vae.setdefault('a', 2)", {"a": 1}),
        ("vae.setdefault('b', 2)", {"a": 1, "b": 2}),
        ("vae |= {'a': 2}", {"a": 2}),
        ("vae |= dict(b=2)", {"a": 1, "b": 2}),
        ("k = 'a'\nvae[k] = 2", {"a": 2}),
        ("more = dict(a=5)\nvae.update(more)", {"a": 5}),
        ("alias = vae\nalias['a'] = 2", {"a": 2}),
        ("vae['a'], b = 2, 3", {"a": 2}),
    ],
)
def test_later_statements_change_keys(statement: str, values: dict[str, object]) -> None:
    found = component(read(f"vae = dict(a=1)\n{statement}\n"), "vae")
    assert literals(found) == values
    assert [k.key for k in found.written] == ["a"]
    assert all(o.certain and o.key for o in found.overrides)


def test_an_override_says_where_and_what() -> None:
    found = component(read("vae = dict(a=1)\n\nvae['a'] = f()\n"), "vae").overrides[0]
    assert (found.key, found.line, found.certain) == ("a", 3, True)
    assert found.value is not None
    assert (found.value.literal, found.value.text) == (False, "f()")


@pytest.mark.parametrize(
    "statement", ["vae[k] = 2", "vae.update(more)", "vae.update(**more)", "vae.clear()", "vae |= more", "fix(vae)"]
)
def test_changes_of_unknown_keys_are_told(statement: str) -> None:
    assert component(read(f"vae = dict(a=1)\n{statement}\n"), "vae").unsure is not None


def test_a_conditional_override_is_not_certain() -> None:
    found = component(read("vae = dict(a=1)\nif x:\n    vae['a'] = 2\n"), "vae")
    assert literals(found) == {"a": 1}
    assert [(o.key, o.certain) for o in found.overrides] == [("a", False)]


def test_an_override_reaches_a_nested_dict() -> None:
    config = read("model = dict(vae=dict(a=1))\nmodel['vae']['a'] = 2\nmodel.vae.update(b=3)\n")
    assert literals(component(config, "model", "vae")) == {"a": 2, "b": 3}


def test_a_nested_dict_can_be_set_later() -> None:
    config = read("model = dict(vae=dict(a=1))\nmodel['vae'] = dict(a=2)\nmodel.update(t5=dict(c=3))\n")
    first, second = (c for c in config.components if c.keys == ("model", "vae"))
    assert first.replaced_by == 2
    assert literals(second) == {"a": 2}
    assert literals(component(config, "model", "t5")) == {"c": 3}


def test_printing_a_dict_does_not_change_it() -> None:
    assert component(read("vae = dict(a=1)\nprint(vae)\n"), "vae").unsure is None


# --- files that cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a = 1\nvae = dict(\n", 2, "not Python"),
        (b"a = 1\n\0", 2, "NUL"),
        (b"a = 1\nb = '\xff'\n", 2, "0xff"),
        (b"# coding: klingon\na = 1\n", 1, "klingon"),
        ("vae = 'x'".encode("utf-16"), 1, "UTF-16"),
        (b"# coding: ascii\nx = '\xc3\xa9'\n", 2, "ascii"),
        (b"\xef\xbb\xbf# coding: latin-1\n", 1, "byte order mark"),
        ("# 模型\n".encode("gbk"), 1, "not utf-8"),
        (b"x = " + b"(" * 5000, 1, "not Python"),
        (b"x = " + b"-" * 100_000 + b"1\n", 1, "too deeply"),
        (b"vae = dict(\n    a=1,\n    a=2)\n", 3, "'a' is repeated"),
        (b"#" * 20_000_001, 1, "20 MB"),
        (b"# coding: rot13\n", 1, "rot13"),
        (b"# coding: utf-16\n", 1, "utf-16"),
        (b"# coding: unicode_escape\nx = '\\ud800'\n", 1, "what unicode_escape decodes to is not text"),
        (b"# coding: unicode_escape\nx = '\\x00'\n", 1, "not Python"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(data: bytes, line: int, words: str) -> None:
    config = read_config(data, PATH)
    assert config.problem is not None
    assert words in config.problem.message
    assert config.problem.line == line
    assert config.problem.remedy
    assert config.components == ()


@pytest.mark.parametrize("data", [b"", b"\n", b"# only a comment", b"\xef\xbb\xbf", b"\r", b"\x0c\n"])
def test_an_empty_file_says_nothing(data: bytes) -> None:
    assert read_config(data, PATH) == ConfigFile(PATH)


def test_columns_count_bytes_of_utf8() -> None:
    found = component(read("名 = 'é'; vae = dict(a='模', b=1)\n"), "vae")
    assert found.span.column == len("名 = 'é'; vae = ".encode())
    assert found.written[1].value.text == "1"


@pytest.mark.parametrize("encoding", ["gbk", "utf-8", "gb18030", "utf-8-sig"])
def test_other_encodings_are_read_by_their_cookie(encoding: str) -> None:
    cookie = "" if encoding == "utf-8-sig" else f"# -*- coding: {encoding} -*-\n"
    found = component(read(f"{cookie}路 = 1; vae = dict(a='模型', b='é')\n".encode(encoding)), "vae")
    assert literals(found) == {"a": "模型", "b": "é"}
    assert dict(found.values)["a"].text == "'模型'"


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n"])
def test_lines_are_counted_at_every_kind_of_line_end(newline: str) -> None:
    found = component(read("# coding: utf-8\n\nx = 1\x0c\nvae = dict(\n    a='\\n',\n)".replace("\n", newline)), "vae")
    assert (found.span.line, found.span.end_line) == (4, 6)
    assert found.written[0].value.text == "'\\n'"


def test_reading_prints_no_warnings(recwarn: pytest.WarningsRecorder) -> None:
    assert literals(component(read(b"vae = dict(a='\\d')\n"), "vae")) == {"a": "\\d"}
    assert list(recwarn) == []


def test_nothing_is_executed_and_nothing_heavy_imported() -> None:
    code = (
        "import sys; from rewriter.configs import read_config; c = read_config(b'import nothing_there; 1/0', '/x.py');"
        "heavy = {'libcst', 'mmengine', 'json', 'pathlib', 'typing_extensions'} & set(sys.modules);"
        "assert not heavy and c.problem is None, (heavy, c)"
    )
    root = str(Path(rewriter.__file__).parent.parent)
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env={"PYTHONPATH": root})


# --- ignore comments ----------------------------------------------------------------------------


def test_ignore_comments() -> None:
    config = read(
        "vae = dict(  # opensora-rewriter: ignore[OSR001, osr004]\n"
        "    a='# opensora-rewriter: ignore',\n"
        ")\n"
        "x = 1  # why  # opensora-rewriter:ignore\n"
        "y = 1  # opensora-rewriter: ignored\n"
        "z = 1  # opensora-rewriter: ignore[]\n"
    )
    assert config.ignores == (Ignore(1, ("OSR001", "OSR004")), Ignore(4, ()))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_ignore_comments_stand_on_lines_of_any_kind(newline: str) -> None:
    text = "x = 1\nvae = {}  # opensora-rewriter: ignore\ny = (1,\n)  # opensora-rewriter: ignore\n"
    config = read(text.replace("\n", newline))
    assert config.ignores == (Ignore(2, ()), Ignore(4, ()))


def test_names_of_a_file_like_others_are_its_own() -> None:
    texts = [f"own{number} = 1\nwidth = 2\nvae = dict(a=width)\n" for number in range(5)]
    found = [read(text).assigned for text in texts]
    assert found == [{f"own{number}", "width", "vae"} for number in range(5)]


def test_ignores_of_a_file_like_others_are_its_own() -> None:
    texts = [f"number = {n}\nvae = dict(a=1)" + "  # opensora-rewriter: ignore[OSR001]\n" * (n > 1) for n in range(5)]
    found = [read(text).ignores for text in texts]
    assert found == [(), (), *[(Ignore(2, ("OSR001",)),)] * 3]


def test_ignore_comments_before_what_the_tokenizer_does_not_take() -> None:
    config = read_config(b"vae = {}  # opensora-rewriter: ignore[OSR001]\r\nx = 1\\\r\n", PATH)
    assert config.problem is not None or config.ignores == (Ignore(1, ("OSR001",)),)


@pytest.mark.parametrize(
    "source",
    [
        "z = [0]\nz[0] = vae = dict(a=1)\nz[0]['a'] = 2\n",
        "z = [0]\nvae = z[0] = {'a': 1}\nz[0]['a'] = 2\n",
        "z = z.q = vae = dict(a=1)\nz.q['a'] = 2\n",
        "z = [0]\nz[0] = t5 = vae = dict(a=1)\nf(z)\n",
        "(z, y) = vae, x = dict(a=1), 1\nz['a'] = 2\n",
        "[z, y] = z, vae = [1, dict(a=1)]\ny['a'] = 2\n",
    ],
)
def test_what_one_statement_gives_to_several_is_one_dict(source: str) -> None:
    assert component(read(source), "vae").overrides != ()


# --- _base_ ------------------------------------------------------------------------------------

BASE = "/checkout/configs/base.py"


def inherited(child: str, **bases: str) -> ConfigFile:
    files = {f"/checkout/configs/{name}.py": read(text, f"/checkout/configs/{name}.py") for name, text in bases.items()}
    return inherit(read(child, "/checkout/configs/inference/child.py"), files.get)


def test_bases_are_paths_beside_the_file() -> None:
    config = read("_base_ = ['../base.py', './a/b.py', '/abs.py']\n")
    assert config.bases == (BASE, "/checkout/configs/inference/a/b.py", "/abs.py")
    assert read("_base_ = '../base.py'\n").bases == (BASE,)
    assert config.base_span is not None
    assert config.base_span.line == 1


@pytest.mark.parametrize(
    "source",
    [
        "_base_ = [name]\n",
        "_base_ = 'mmdet::x.py'\n",
        "_base_ = '{{$X:a}}'\n",
        "_base_ = f'{x}'\n",
        "with read_base():\n    from .x import *\n",
        "if x:\n    _base_ = 'a.py'\n",
    ],
)
def test_bases_that_cannot_be_told(source: str) -> None:
    assert read(source).bases_unknown is not None


def test_a_dict_gets_the_values_of_its_base_first() -> None:
    config = inherited("_base_ = '../base.py'\nvae = dict(a=2, c=3)\n", base="vae = dict(a=1, b=1)\n")
    found = component(config, "vae")
    assert literals(found) == {"a": 2, "b": 1, "c": 3}
    assert found.ways == ()
    assert [k.key for k in found.written] == ["a", "c"]


def test_delete_keeps_the_base_out() -> None:
    config = inherited("_base_ = '../base.py'\nvae = dict(_delete_=True, a=2)\n", base="vae = dict(b=1, vae_2d={})\n")
    assert component(config, "vae").delete
    assert literals(component(config, "vae")) == {"_delete_": True, "a": 2}
    assert [c.keys for c in config.components] == [("vae",)]


def test_what_only_the_base_writes_is_inherited() -> None:
    config = inherited("x = 1\n_base_ = '../base.py'\n", base=T5 + "model = dict(vae=dict(a=1))\n")
    found = component(config, "text_encoder")
    assert found.ways == ("inherited",)
    assert found.form == "other"
    assert found.origin == BASE
    assert found.span.line == 2
    assert literals(found)["type"] == "t5"
    assert set(component(config, "model", "vae").ways) == {"inherited", "nested"}


def test_what_the_child_sets_to_none_is_not_inherited() -> None:
    config = inherited(
        "_base_ = '../base.py'\nvae = None\nmodel = dict(vae=None)\n", base="vae = {}\nmodel = dict(vae={})\n"
    )
    assert [c.keys for c in config.components] == [("model",)]


def test_what_a_base_writes_in_two_places_is_in_doubt() -> None:
    config = inherited(
        "_base_ = '../base.py'\nvae = dict(z=1)\n", base="if x:\n    vae = dict(a=1)\nelse:\n    vae = {}\n"
    )
    assert component(config, "vae").unsure == f"its base {BASE} writes it in more than one place"
    doubted = inherited("_base_ = '../base.py'\nvae = dict(**z())\n", base="if x:\n    vae = {}\nelse:\n    vae = {}\n")
    assert component(doubted, "vae").unsure == "line 2: what z() holds cannot be told without running the file"


def test_bases_of_bases_and_circles() -> None:
    config = inherited(
        "_base_ = '../base.py'\n",
        base="_base_ = 'far.py'\nvae = dict(b=1)\n",
        far="_base_ = 'base.py'\nvae = dict(a=1)\n",
    )
    assert literals(component(config, "vae")) == {"a": 1, "b": 1}
    assert config.bases_unknown is not None
    assert "includes itself" in config.bases_unknown


def test_a_base_that_is_not_there() -> None:
    config = inherited("_base_ = '../gone.py'\nvae = dict(a=1)\n")
    assert config.bases_unknown is not None
    assert "gone.py" in config.bases_unknown
    assert literals(component(config, "vae")) == {"a": 1}


# --- anything ----------------------------------------------------------------------------------


@strategies.fuzz
@given(
    st.one_of(
        strategies.config_source(),
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda t: t.encode(errors="ignore")),
    )
)
def test_no_input_makes_the_reader_raise(data: bytes) -> None:
    config = read_config(data, PATH)
    assert pickle.loads(pickle.dumps(config)) == config


def test_doubts_about_the_base_are_doubts_about_the_dict_that_merges_it() -> None:
    config = inherited("_base_ = '../base.py'\nvae = dict(a=2)\n", base="vae = dict(b=1, **make())\n")
    assert component(config, "vae").unsure is not None


@pytest.mark.parametrize(("names", "doubted"), [(198, ["vae"]), (199, ["vae", "t5"])])
def test_a_file_that_changes_too_many_names_of_its_bases_may_change_any(names: int, doubted: list[str]) -> None:
    text = "_base_ = '../base.py'\n" + "".join(f"_base_.a{i}['k'] = 1\n" for i in range(names))
    config = inherited(f"{text}_base_.vae['k'] = 1\n", base="vae = dict()\nt5 = dict()\n")
    assert [c.name for c in config.components if c.unsure] == doubted


def test_a_doubt_of_a_base_names_the_file_that_changes_what_it_inherits() -> None:
    config = inherited(
        "_base_ = '../base.py'\nvae = dict(z=1)\n", base="_base_ = 'far.py'\nf(_base_.vae)\n", far="vae = dict(a=1)\n"
    )
    why = f"its base {BASE}: line 2 hands it to f, which may change it"
    assert component(config, "vae").unsure == why
    assert [override.why for override in component(config, "vae").overrides] == [why]


def test_a_doubt_of_a_base_of_a_base_names_one_file() -> None:
    config = inherited(
        "_base_ = '../base.py'\n",
        base="_base_ = 'far.py'\n",
        far="_base_ = 'further.py'\nf(_base_.vae)\n",
        further="vae = dict(a=1)\n",
    )
    assert component(config, "vae").unsure == (
        "its base /checkout/configs/far.py: line 2 hands it to f, which may change it"
    )
