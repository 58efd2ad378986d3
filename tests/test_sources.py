"""The sources of a checkout: which definitions lead to the Hub, and that one answer does not change the next."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from loading import only, repos, sources, trace, values, write

from rewriter.frozen import replace
from rewriter.loaders import Sources
from rewriter.loaders.evaluate import Evaluation
from rewriter.loaders.frames import Virtual
from rewriter.loaders.index import Registration
from rewriter.types import Value

HUB = "AutoModel.from_pretrained(path)"
HELPERS = """
import torch
from transformers import AutoModel
import opensora.helpers

def plain(path):
    return path

def get(path):
    return AutoModel.from_pretrained(path)

class Getter:
    def __call__(self, path):
        return get(path)

getter = Getter()
first, second = get, plain
one = two = get
three = 1; four = get
if torch.cuda.is_available():
    def five(path): return get(path)
with torch.no_grad():
    from huggingface_hub import snapshot_download as six
seven: object = get
eight = {}
eight["x"] = get
try:
    from fast import either
except ImportError:
    either = get
loop_a = lambda path: loop_b(path)
loop_b = lambda path: loop_a(path)
loop_c = lambda path: loop_d(path)
loop_d = lambda path: loop_c(get(path))
"""
USES = [
    # what a definition says, and whether it may lead to a hub call
    ("from opensora.helpers import get", "get(path)", True),
    ("from opensora.helpers import get as fetch", "fetch(path)", True),
    ("from .helpers import get as fetch", "fetch(path)", True),
    ("from opensora.helpers import plain as get", "get(path)", False),
    ("from opensora.helpers import plain", "plain(path)", False),
    ("from opensora.helpers import getter", "getter(path)", True),
    ("from opensora.helpers import first", "first(path)", True),
    ("from opensora.helpers import two", "two(path)", True),
    ("from opensora.helpers import four", "four(path)", True),
    ("from opensora.helpers import five", "five(path)", True),
    ("from opensora.helpers import six", "six(path)", True),
    ("from opensora.helpers import seven", "seven(path)", True),
    ("from opensora.helpers import eight", "eight['x'](path)", True),
    ("from opensora.helpers import loop_a", "loop_a(path)", False),
    ("from opensora.helpers import loop_c", "loop_c(path)", True),
    ("from opensora.helpers import loop_d", "loop_d(path)", True),
    ("from opensora.helpers import gone", "gone(path)", False),
    ("from opensora.lost import get", "get(path)", False),
    ("from elsewhere import get", "get(path)", False),
    ("import opensora.helpers", "opensora.helpers.get(path)", True),
    ("import opensora.helpers as h", "h.get(path)", True),
    ("import opensora.helpers as h", "h.plain(path)", False),
    ("import opensora.helpers as h", "h . get(path)", True),
    ("from opensora import helpers", "helpers.get(path)", True),
    ("from . import helpers as h", "h.get(path)", True),
    ("import opensora.helpers as h", "h.forget(path)", False),
    ("import opensora.ring_a as h", "h.get(path)", True),
    ("import opensora.ring_a as h", "h.plain(path)", False),
    ("from . import helpers as h", "h.plain(path)", False),
    ("import opensora.lost as h", "h.get(path)", False),
    ("import elsewhere.helpers as h", "h.get(path)", False),
    ("import opensorax.helpers as h", "h.get(path)", False),
    ("from opensora.package import get", "get(path)", True),
    ("from opensora.package import plain", "plain(path)", False),
    ("from opensora.package import circle", "circle(path)", False),
    ("from opensora import package", "package.get(path)", True),
    ("from opensora.package import inner", "inner.get(path)", True),
    ("from opensora.star import *", "plain(path)", True),
    ("from elsewhere import *", "plain(path)", False),
    ("from opensora.star import get", "get(path)", True),
    ("from opensora import star", "star.get(path)", True),
    ("from opensora import star", "star.plain(path)", False),
    ("from opensora.package import deep", "deep.get(path)", True),
    ("from opensora.package import deep", "deep.plain(path)", False),
    ("from opensora import package", "package.deep.get(path)", True),
    ("from opensora import package", "package.inner.get(path)", True),
    ("from opensora import package", "package.unnamed.part.fetch(path)", True),
    ("from opensora import package", "package.unnamed.part.plain(path)", False),
    ("from opensora import package as p", "p.unnamed.below.fetch(path)", True),
    ("import opensora.package.unnamed.below", "opensora.package.unnamed.below.fetch(path)", True),
    ("import opensora", "opensora.package.unnamed.below.fetch(path)", True),
    ("import opensora", "opensora.package.unnamed.below.plain(path)", False),
    ("from opensora.helpers import either", "either(path)", True),
    ("try:\n    from fast import get\nexcept ImportError:\n    def get(path): return " + HUB, "get(path)", True),
    ("", "AutoModel.from_pretrained(path)", True),
    ("", "AutoModel . from_pretrained(path)", True),
    ("", "AutoModel.from_pretrained_x(path)", False),
    ("", "getattr(AutoModel, 'from_pretrained')(path)", True),
    ("", "getattr(AutoModel, \"from_pretrained\" )(path)", True),
    ("", "getattr(models[path], 'from_pretrained', None)(path)", True),
    ("", "getattr(\n        AutoModel,\n        'from_pretrained'\n    )(path)", True),
    ("", "config.pop('from_pretrained', None)", False),
    ("", "config.get('from_pretrained')", False),
    ("", "dict(from_pretrained=path)", False),
    ("", "config['from_pretrained']", False),
    ("", "hf_hub_download(path)", True),
    ("", "huggingface_hub.snapshot_download(path)", True),
    ("", "my_hf_hub_download_of(path)", False),
    ("", "build_module(path, MODELS)", True),
    ("", "MODELS.build(path)", True),
    ("", "global found\n    found = path", True),
    ("", "rebuild_module(path)", False),
    ("", "MODELS.builder(path)", False),
    ("from opensora.registry import build_module as make", "make(path, MODELS)", True),
    ("from huggingface_hub import hf_hub_download as fetch", "fetch(path)", True),
    ("", "print(path)\n    from opensora.helpers import get\n    get(path)", True),
    ("", "print(path)\n    from .helpers import get\n    get(path)", True),
    ("", "print(path)\n    import opensora.helpers\n    opensora.helpers.get(path)", True),
    ("", "print(path); from .helpers import get; get(path)", True),
    ("", "if path: import elsewhere, opensora.helpers; opensora.helpers.get(path)", True),
    ("", "print(path)\n    import elsewhere\n    elsewhere.get(path)", False),
    ("", "print(path)\n    from opensorax import get\n    get(path)", False),
    ("from opensora.helpers import get", "forget(path)", False),
    ("from opensora.helpers import get", "get_all(path)", False),
    ("from opensora.helpers import get", "_get(path)", False),
    ("from opensora.helpers import get", "get2(path)", False),
    ("from opensora.helpers import get", "get_all(widget, target) or get(path)", True),
    ("from opensora.helpers import get", "2and get(path)", True),
    ("def get(path): return path", "get(path)", False),
    ("def get(path): return " + HUB, "get(path)", True),
    ("", "f(path)", False),
    ("", "", False),
]  # fmt: skip


def leading(root: Path, **files: str) -> Sources:
    rings = {"ring_a": "from .ring_b import *", "ring_b": "from .ring_a import *\nfrom .helpers import get, plain"}
    files = {"helpers": HELPERS, "star": "from .helpers import *", **rings, **files}
    return sources(
        root,
        **files,
        **{
            "package/__init__": (
                "from .inner import get, plain\nfrom .other import circle\n"
                "from . import inner\nfrom . import inner as deep\n"
            ),
            "package/inner": "from ..helpers import get\nfrom ..helpers import plain\n",
            "package/other": "from . import circle\n",
            "package/unnamed/part": "from ...helpers import get as fetch\nfrom ...helpers import plain",
            "package/unnamed/below": "from opensora.helpers import get as fetch, plain",
        },
    )


@pytest.mark.parametrize(("imports", "use", "leads"), USES)
def test_whether_a_definition_may_lead_to_the_hub(tmp_path: Path, imports: str, use: str, leads: bool) -> None:
    loaders = leading(tmp_path, loaders=f"{imports}\n\ndef f(path):\n    {use}\n    return path\n")
    unit = loaders.module("opensora.loaders")
    assert unit is not None
    assert loaders.leads_on(unit, "f") == leads
    assert loaders.leads_on(unit, "f") == leads


MANY = """
import os
from opensora.registry import MODELS, build_module
from transformers import AutoModel

DEFAULT = "x"

def helper(path, extra=1):
    return path

@MODELS.register_module()
class Inner:
    def __init__(self, path, cache_dir=None, big=True):
        if big:
            AutoModel.from_pretrained(path, cache_dir=cache_dir)

@MODELS.register_module()
def f(
    path, size=1, /, name=DEFAULT, big=False, unused=2, inner=None, flags=(1,), *, cache_dir=None, only, late=3, **rest
):
    helper(path, extra=unused)
    if big:
        AutoModel.from_pretrained(path, cache_dir=cache_dir)
    if name == "y":
        AutoModel.from_pretrained("o/y", subfolder=name)
    if size != 1:
        AutoModel.from_pretrained("o/size")
    if late > 3:
        AutoModel.from_pretrained(f"o/{late}", **rest)
    if only:
        AutoModel.from_pretrained(only)
    if 2 in flags:
        AutoModel.from_pretrained("o/flags")
    if inner is not None:
        build_module(inner, MODELS)
    assert path != "o/bad"

@MODELS.register_module()
def strict(path, big=False):
    if big:
        AutoModel.from_pretrained(path)
"""
OPEN = Value(False, None, "os.environ['X']")
GIVEN = {
    "path": ["o/n", "o/bad", "/there", None, OPEN],
    "size": [1, 2, True],
    "name": ["x", "y", OPEN],
    "big": [True, False, 0, 1, None],
    "unused": [2, 3, "2", OPEN, [1], {"a": 1}],
    "inner": [None, {"type": "Inner", "path": "o/i"}, {"type": "Inner", "path": "o/i", "cache_dir": "/c"}, OPEN],
    "flags": [(1,), [2], (1, 2), None, {2}],
    "cache_dir": ["/c", "/d", None, OPEN],
    "only": ["o/only", "", None],
    "late": [3, 4, 4.0, "4"],
    "revision": ["a", "b"],
    "wrong": [1],
    "type": ["f"],
}
some = st.fixed_dictionaries({}, optional={name: st.sampled_from(each) for name, each in GIVEN.items()})


def as_read(given: dict[str, object]) -> dict[str, object]:
    """Keyword values as the config reader gives them: a dict of the config is a mapping."""
    return {
        name: values(**each) if isinstance(each, dict) and "type" in each else values(**{name: each})[name]
        for name, each in given.items()
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("many"), loaders=MANY)


@strategies.fuzz
@given(st.lists(st.tuples(st.sampled_from(["f", "strict", "Inner", "none"]), some), min_size=2, max_size=6))
def test_generated_values_give_the_same_trace_whatever_was_asked_before(
    many: Path, asked: list[tuple[str, dict[str, object]]]
) -> None:
    together = Sources(str(many))
    for type_name, given_values in [*asked, *asked[:1]]:
        alone = Sources(str(many)).trace(type_name, as_read(given_values))
        found = together.trace(type_name, as_read(given_values))
        assert replace(found, asked=alone.asked) == alone
        assert found.asked <= alone.asked  # what was asked for another value may be less: the rest decided nothing


def test_every_value_gives_the_same_trace_after_every_other(many: Path) -> None:
    base = {"path": "o/n", "only": "o/only", "big": True, "cache_dir": "/c"}
    for name, each in GIVEN.items():
        together = Sources(str(many))
        for value in [*each, *each, None]:
            given_values = {**base, name: value} if value is not None else {k: v for k, v in base.items() if k != name}
            alone = Sources(str(many)).trace("f", as_read(given_values))
            assert together.trace("f", as_read(given_values)) == alone, (name, value)


@pytest.mark.parametrize(
    ("first", "second", "runs"),
    [
        ({"unused": 2}, {"unused": 3}, 1),
        ({"unused": 2}, {}, 1),
        ({"unused": 2}, {"unused": "x"}, 1),
        ({"unused": 2}, {"unused": [1]}, 2),  # it might be a component
        ({"unused": [1]}, {"unused": [2]}, 2),
        ({"big": True}, {"big": True}, 1),
        ({"big": True}, {"big": False}, 2),
        ({"big": True}, {"big": 1}, 2),
        ({"big": True}, {}, 2),
        ({"name": "x"}, {}, 2),  # its default is no constant
        ({"cache_dir": "/c"}, {}, 2),
        ({"cache_dir": "/c"}, {"cache_dir": "/c"}, 1),
        ({"inner": {"type": "Inner", "path": "o/n"}}, {"inner": {"type": "Inner", "path": "o/n"}}, 1),
        ({"inner": {"type": "Inner", "path": "o/n"}}, {"inner": {"type": "Inner", "path": "o/m"}}, 2),
        ({"only": OPEN}, {"only": Value(False, None, "other")}, 2),
        ({"only": OPEN}, {"only": OPEN}, 1),
        ({"only": Value(True, "o/x", "'o/x'")}, {"only": Value(True, "o/x", '"o/x"')}, 1),
        ({"only": OPEN}, {"only": "os.environ['X']"}, 2),
    ],
)
def test_what_has_no_part_in_a_result_is_not_evaluated_again(
    many: Path, monkeypatch: pytest.MonkeyPatch, first: dict[str, object], second: dict[str, object], runs: int
) -> None:
    ran: list[str] = []
    real = Evaluation.run
    monkeypatch.setattr(Evaluation, "run", lambda self, *args: (ran.append(args[0]), real(self, *args)))
    loaders = Sources(str(many))
    for given_values in (first, second, first, second):
        loaders.trace("f", as_read({"path": "o/n", **given_values}))
    assert ran == ["f"] * runs


def test_a_result_is_remembered_for_its_purpose(many: Path) -> None:
    loaders = Sources(str(many))
    given_values = values(path="o/n", big=True)
    assert loaders.remembered("one", "strict", given_values, lambda: loaders.evaluate("strict", given_values).found)
    assert loaders.remembered("two", "strict", given_values, lambda: "two") == "two"
    assert loaders.remembered("one", "strict", given_values, lambda: "new") is True
    assert loaders.remembered("two", "strict", given_values, lambda: "new") == "two"
    with pytest.raises(KeyError):
        loaders.remembered("three", "strict", given_values, lambda: {}["x"])
    inner = values(path="o/m", big=True)
    outer = loaders.remembered("four", "strict", {}, lambda: loaders.trace("strict", inner).calls)
    assert [call.repo_id for call in outer] == ["o/m"]
    assert loaders.remembered("four", "strict", {}, lambda: "new") == outer


# --- files ------------------------------------------------------------------------------------


def test_modules_are_found_by_their_names(tmp_path: Path) -> None:
    loaders = sources(tmp_path, **{"a": "", "b/__init__": "", "b/c": "", "__init__": ""})
    assert loaders.package == "opensora"
    for name, path in (
        ("opensora", "__init__.py"),
        ("opensora.a", "a.py"),
        ("opensora.b", "b/__init__.py"),
        ("opensora.b.c", "b/c.py"),
    ):
        unit = loaders.module(name)
        assert unit is not None
        assert (unit.path, unit.module) == (os.path.join(str(tmp_path), "opensora", *path.split("/")), name)
        assert unit.package == (name if path.endswith("__init__.py") else name.rpartition(".")[0])
        assert loaders.unit(unit.path) is unit
    assert loaders.module("opensora.b.gone") is None
    assert loaders.unit(str(tmp_path / "opensora" / "gone.py")) is None
    assert sorted(loaders.files()) == [
        str(tmp_path / "opensora" / name) for name in ("__init__.py", "a.py", "b/__init__.py", "b/c.py", "registry.py")
    ]
    assert [name for name in ("opensora", "opensora.a", "opensorax", "x.opensora", "") if loaders.inside(name)] == [
        "opensora",
        "opensora.a",
    ]


def test_another_package_may_hold_the_loaders(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.py").write_text(
        "from mine.b import get\nfrom reg import MODELS\n@MODELS.register_module()\ndef f(path):\n    h(path)\n"
        "def h(path):\n    from mine.b import get as g\n    g(path)\n"
    )
    (tmp_path / "mine" / "b.py").write_text("import x\ndef get(path):\n    x.AutoModel.from_pretrained(path)\n")
    assert repos(Sources(str(tmp_path), "mine").trace("f", values(path="o/n"))) == ["o/n"]
    assert Sources(str(tmp_path)).files() == {}


def test_a_file_that_cannot_be_read_is_a_problem_told_once(tmp_path: Path) -> None:
    loaders = sources(tmp_path, good="from reg import MODELS\n@MODELS.register_module()\ndef f(): pass\n")
    lost = tmp_path / "opensora" / "lost.py"
    lost.symlink_to("gone.py")
    assert sorted(loaders.index()) == ["f"]
    assert str(lost) not in loaders.files()
    (problem,) = loaders.problems
    assert problem[:2] == (str(lost), 1)
    assert problem[2].startswith("it cannot be read: ")
    loaders.problem(str(lost), 2, "again")
    loaders.problem("other", 3, "too")
    assert loaders.problems == [problem, ("other", 3, "too")]


def test_the_first_file_that_registers_a_name_counts(tmp_path: Path) -> None:
    text = (
        "from reg import MODELS\n@MODELS.register_module('x')\ndef {0}(): pass\n@MODELS.register_module('{0}')\n"
        "class C: pass\n"
    )
    loaders = sources(tmp_path, b=text.format("two"), a=text.format("one"), c="def register_module(): pass\n")
    assert sorted(loaders.index()) == ["one", "two", "x"]
    path = str(tmp_path / "opensora" / "a.py")
    assert loaders.index()["x"] == Registration("x", path, "one")
    assert loaders.trace("x", {}).path == path


def test_edited_sources_read_the_new_bytes_and_keep_what_is_registered(tmp_path: Path) -> None:
    text = (
        "from reg import MODELS\nfrom t import AutoModel\n@MODELS.register_module()\ndef {}(path{}):\n"
        "    AutoModel.from_pretrained(path{})\n"
    )
    before = sources(tmp_path, a=text.format("a", "", ""), b=text.format("b", "", ""))
    (tmp_path / "opensora" / "lost.py").symlink_to("gone.py")
    given_values = values(path="o/n", cache_dir="/c")
    assert [bool(before.trace(name, given_values).rejections) for name in "ab"] == [True, True]
    path = {name: str(tmp_path / "opensora" / f"{name}.py") for name in "ab"}
    new = text.format("a", ", cache_dir=None", ", cache_dir=cache_dir").encode()
    new += b"@MODELS.register_module()\ndef late(): pass\n"
    before.index()
    (tmp_path / "opensora" / "b.py").unlink()
    after = before.edited({path["a"]: new})
    assert [only(after.trace(name, given_values)).reached for name in "ab"] == [{"cache_dir"}, set()]
    assert [bool(after.trace(name, given_values).rejections) for name in "ab"] == [False, True]
    assert after.unit(path["b"]) is before.unit(path["b"])
    assert after.unit(path["a"]) is not before.unit(path["a"])
    assert after.files()[path["a"]] == new
    assert after.index() == before.index()
    assert after.problems == before.problems != []
    assert after.problems is not before.problems
    again = after.edited({path["b"]: new.replace(b"def a", b"def b")})
    assert [only(again.trace(name, given_values)).reached for name in "ab"] == [{"cache_dir"}] * 2
    assert again.overlay == {path["a"]: new, path["b"]: new.replace(b"def a", b"def b")}
    assert (again.root, again.package) == (before.root, before.package)


def test_a_problem_of_an_edited_file_leaves_the_sources_before_alone(tmp_path: Path) -> None:
    before = sources(tmp_path, a="from reg import MODELS\n@MODELS.register_module()\ndef a(): pass\n")
    path = str(tmp_path / "opensora" / "a.py")
    after = before.edited({path: b"from reg import MODELS\n@MODELS.register_module()\ndef a(: pass\n"})
    assert not after.trace("a", {}).found
    assert [problem[:2] for problem in after.problems] == [(path, 3)]
    assert before.problems == []
    assert before.trace("a", {}).found


# --- what stands at the top of a file ----------------------------------------------------------


@pytest.mark.parametrize(
    "top",
    [
        'import os\nos.environ["X"] = "1"',
        "import os, torch\ntorch.backends.cudnn.benchmark = True\nos.x, os.y = 1, 2",
        "import os\nos.x += 1\nos.environ: dict = {}",
        "with warnings.catch_warnings():\n    import os",
        "for _ in ():\n    import os\nmatch 1:\n    case 2:\n        import json",
    ],
)
def test_what_the_top_of_a_file_sets_hides_no_import(tmp_path: Path, top: str) -> None:
    source = f"""
from transformers import AutoModel
{top}
@MODELS.register_module()
class f:
    def __init__(self, path):
        if os.path.basename(path) == "n":
            AutoModel.from_pretrained(path)
f.size = 1
f.table["x"]: int = 2
"""
    assert only(trace(tmp_path, source, "f", path="o/n")).certain


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ("if torch.a():\n    def get(path): AutoModel.from_pretrained(path)", [("o/n", True)]),
        (
            "if torch.a():\n    def get(path): AutoModel.from_pretrained(path)\n"
            "else:\n    def get(path): AutoModel.from_pretrained('o/b')",
            [("o/n", False), ("o/b", False)],
        ),
        (
            "def get(path): AutoModel.from_pretrained(path)\nwith torch.b():\n    get = plain",
            [("o/n", False)],
        ),
        ("if torch.a():\n    get = plain\ndef get(path): AutoModel.from_pretrained(path)", [("o/n", True)]),
        (
            "try:\n    from opensora.helpers import get\nexcept ImportError:\n"
            "    def get(path): AutoModel.from_pretrained('o/b')",
            [("o/n", False), ("o/b", False)],
        ),
        ("try:\n    from fast import get\nexcept ImportError:\n    from opensora.helpers import get", [("o/n", True)]),
        (
            "if torch.a():\n    class get:\n        def __init__(self, path): AutoModel.from_pretrained(path)",
            [("o/n", True)],
        ),
        ("if torch.a():\n    other = 1\n    def get(path): AutoModel.from_pretrained(path)", [("o/n", True)]),
        ("if torch.a():\n    get, other = plain, plain", []),
        ("for _ in range(2):\n    while torch.a():\n        get = one_of_them = fetch", [("o/n", True)]),
    ],
)
def test_a_definition_under_a_condition_is_one_of_those_that_may_run(
    tmp_path: Path, top: str, expected: list[tuple[str, bool]]
) -> None:
    loaders = leading(
        tmp_path,
        loaders="import torch\nfrom transformers import AutoModel\nfrom opensora.registry import MODELS\n"
        f"from opensora.helpers import get as fetch, plain\n{top}\ndef through(path):\n    get(path)\n"
        "@MODELS.register_module()\ndef f(path):\n    through(path)\n"
        "if True:\n    @MODELS.register_module()\n    class g:\n"
        "        def __init__(self, path): f(path)\n",
    )
    for name in "fg":
        result = loaders.trace(name, values(path="o/n"))
        assert [(call.repo_id, call.certain) for call in result.calls] == expected
        assert result.found


def test_a_name_may_be_the_first_word_of_a_statement(tmp_path: Path) -> None:
    loaders = leading(tmp_path, a="from .helpers import get\nget.table, f = {}, 1\n", b="get[0], f = 1, 2\n")
    for name, leads in (("opensora.a", True), ("opensora.b", False)):
        unit = loaders.module(name)
        assert unit is not None
        assert loaders.leads_on(unit, "f") == leads


def test_threading_starts_from_the_evaluation_that_decided(many: Path) -> None:
    loaders = Sources(str(many))
    first = loaders.evaluate("f", values(path="o/n"))
    assert loaders.evaluate("f", values(path="o/n")) is first
    virtual = loaders.evaluate("f", values(path="o/n"), Virtual())
    assert virtual is not first
    assert loaders.evaluate("f", values(path="o/n")) is first
    assert loaders.evaluate("f", values(path="o/m")) is not first
    assert loaders.evaluate("f", values(path="o/n")) is not first


def test_what_is_known_of_a_function_is_read_once(many: Path) -> None:
    loaders = Sources(str(many))
    unit = loaders.module("opensora.loaders")
    assert unit is not None
    (node,) = unit.find("f")
    assert isinstance(node, ast.FunctionDef)
    assert loaders.signature(node) is loaders.signature(node)
    assert loaders.names_in(node) is loaders.names_in(node)
    assert {"unused", "AutoModel", "late"} < loaders.names_in(node)


def test_the_bodies_of_a_class_that_leads_nowhere_are_not_parsed(tmp_path: Path) -> None:
    text = "class C:\n    def __init__(self):\n        {}\n        self.b = 2\n"
    loaders = sources(tmp_path, a=text.format("self.a = 1"), b=text.format("build_module(1)"))
    for name, parsed in (("opensora.a", False), ("opensora.b", True)):
        unit = loaders.module(name)
        assert unit is not None
        assert ("self.b = 2" in ast.unparse(unit.find("C")[0])) == parsed
