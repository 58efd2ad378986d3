"""What is registered by the letters of a source is what mmengine registers when it runs."""

from __future__ import annotations

import ast
import re
import sys
import types
from pathlib import Path

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from rewriter.loaders import index
from rewriter.loaders.index import python_files, registered, registered_in

HEAD = """\
import reg
from reg import MODELS, OTHER, deco
from reg import MODELS as M
N = MODELS
P = reg.MODELS  # the same
"""

# Sources that register something, or only look like it; `%` stands for a number that each of them has for itself.
USUAL = [
    "@MODELS.register_module('a%')\nclass C%: pass",
    '@MODELS.register_module("a%/b-c (d)")\nasync def f%(): pass',
    "@MODELS.register_module()\ndef f%(): pass",
    "@MODELS.register_module( )\n\n# class No:\n\n@deco\nasync  def f%(): pass",
    "@M.register_module(name='a%')\nclass C%: pass",
    '@N.register_module(name = "a%" , force = True ,)\nclass C%: pass',
    "@P.register_module('a%',)  # the (first)\nclass C%: pass",
    "@reg.MODELS.register_module(force=True)\nclass C%: pass",
    "@reg.MODELS.register_module('a%', force=True)\nclass C%: pass",
    '@MODELS.register_module("a%")  # "b")\n@deco\nclass C%: pass',
    "@deco\n@MODELS.register_module('a%')\n@deco\nasync def f%(): pass",
    "@MODELS.register_module('a%')\n@MODELS.register_module('b%')\ndef f%(): pass",
    "@OTHER.register_module('a%')\ndef f%(): pass",
    "@reg.OTHER.register_module()\ndef f%(): pass",
    "# @MODELS.register_module('a%')\ndef f%(): pass",
    "class C%: pass",
    "   # MODELS.register_module('a%')",
    "def f%(): reg.MODELS.register_modules('a%')",
    "OTHER.register_module('a%')(deco)",
]
ODD = [
    "@MODELS.register_module(\n    'a%',\n)\ndef f%(): pass",
    "@MODELS.register_module(name=['a%', 'b%'])\ndef f%(): pass",
    "@MODELS.register_module(('a%', 'b%'))\ndef f%(): pass",
    "@MODELS.register_module('a%', True)\ndef f%(): pass",
    "@MODELS.register_module('a' '%')\ndef f%(): pass",
    "@MODELS.register_module('a\\x40%')\ndef f%(): pass",
    "@MODELS.register_module(r'a%')\ndef f%(): pass",
    '@MODELS.register_module("""a%""")\ndef f%(): pass',
    '@MODELS.register_module("\'a%")\ndef f%(): pass',
    "@MODELS.register_module(None)\ndef f%(): pass",
    "@MODELS.register_module(name=None, force=False)\ndef f%(): pass",
    "@reg . MODELS.register_module('a%')\ndef f%(): pass",
    "@ MODELS.register_module('a%')\ndef f%(): pass",
    "if True:\n    @MODELS.register_module('a%')\n    def f%(): pass",
    "def f%(): pass\nMODELS.register_module('a%')(f%)",
    "def f%(): pass\ng% = MODELS.register_module()(f%)",
    "def f%(): pass\nMODELS.register_module('a%', module=f%)",
    "def f%(): pass\nMODELS.register_module('a%', False, f%)",
    "def f%(): pass\nreg.MODELS.register_module(module=f%)",
    "def f%(): pass\nMODELS.register_module(name=['a%', 'b%'])(f%)",
    "def f%(): pass\nMODELS.register_module('a%')",
    "def f%(): pass\nOTHER.register_module('a%')(f%), MODELS.register_module",
    "x% = '''\n    @MODELS.register_module('a%')\n    def f%(): pass\n'''",
    "x% = 'MODELS.register_module()'",
    "def f%(): pass\nx% = '#', MODELS.register_module('a%')(f%)",
    "def f%(): pass\nMODELS.register_module('a%')(f%); MODELS.register_module('b%')(f%)",
    "x% = 1  # as in MODELS.register_module('a%')",
]


class World:
    """Runs sources in which ``MODELS`` is a registry of mmengine."""

    def __init__(self) -> None:
        from mmengine.registry import Registry

        self.module = types.ModuleType("reg")
        self.module.MODELS, self.module.OTHER = Registry("models"), Registry("other")
        self.module.deco = lambda each: each

    def run(self, text: str) -> dict[str, str]:
        """``{registered name: name of what is registered}``."""
        for registry in (self.module.MODELS, self.module.OTHER):
            registry.module_dict.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "reg", self.module)
            exec(compile(text, "loaders.py", "exec"), {"__name__": "loaders"})
        return {name: each.__name__ for name, each in self.module.MODELS.module_dict.items()}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def numbered(pieces: list[str]) -> str:
    """The pieces as one source, each with its number."""
    return HEAD + "\n\n".join(piece.replace("%", str(number)) for number, piece in enumerate(pieces)) + "\n"


@pytest.mark.parametrize("piece", [*USUAL, *ODD])
def test_each_form_registers_what_mmengine_registers(world: World, piece: str) -> None:
    for pieces in ([piece], [piece, *USUAL[:2]], [*USUAL[:2], piece]):
        text = numbered(pieces)
        ran = world.run(text)
        found, odd = registered(text)
        assert odd == (piece in ODD)
        assert dict(found) == ({} if odd else ran)
        assert dict(registered_in(ast.parse(text).body, text)) == ran


@strategies.fuzz
@given(st.lists(st.sampled_from(USUAL), max_size=6), st.sampled_from(["", ODD[0], ODD[-1]]))
def test_generated_modules_register_what_mmengine_registers(world: World, pieces: list[str], last: str) -> None:
    text = numbered([*pieces, last])
    found, odd = registered(text)
    assert odd == (last != "")
    assert dict(registered_in(ast.parse(text).body, text) if odd else found) == world.run(text)


@pytest.mark.parametrize(
    "source",
    [
        "@MODELS.register_module(NAME)\nclass C: pass",
        "@MODELS.register_module(f'a{1}')\nclass C: pass",
        "@MODELS.register_module([NAME])\nclass C: pass",
        "MODELS.register_module(name=NAME, module=C)",
        "MODELS.register_module(1)(C)",
        "@MODELS.register_module('a') if NAME else NAME\nclass C: pass",
        "MODELS.register_module('a')(make())",
        "MODELS.register_module('a', module=make())",
        "MODELS.register_module('a')()",
        "MODELS.register_module('a')(lambda: 1)",
        "make()(C)",
        "make().register_module('a')(C)",
        "register_module('a')(C)",
        "MODELS.register('a')(C)",
    ],
)
def test_what_only_running_would_tell_is_not_registered(source: str) -> None:
    text = HEAD + "from names import NAME\n" + source
    assert registered_in(ast.parse(text).body, text) == []
    assert registered(text)[0] == []


def test_the_usual_forms_are_read_without_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_PLAIN", "(")  # it cannot be compiled
    text = "".join(
        f"@MODELS.register_module({given})\nclass C{number}: pass\n"
        for number, given in enumerate(["", '"a-b"', "'c'", '"d e"', "'f/g'", "'h'"])
    )
    names = ["C0", "a-b", "c", "d e", "f/g", "h"]
    assert registered(text) == ([(name, f"C{number}") for number, name in enumerate(names)], False)
    with pytest.raises(re.error):
        registered("@MODELS.register_module('a',)\nclass C: pass\n")


@pytest.mark.parametrize(
    "imports",
    [
        *("from reg import MODELS as R", "R = MODELS", "R=MODELS", "import reg\nR=reg.MODELS", "R \t = MODELS"),
        *("import reg\nR  =\treg.MODELS # x", "a = 1\nR = MODELS\nb = 2", "from reg import (\n    MODELS as R,\n)"),
    ],
)
def test_each_way_of_naming_the_registry_is_seen(imports: str) -> None:
    for text in (f"{imports}\n@R.register_module('a')\nclass C: pass\n", f"{imports}\nR.register_module('a')(C)\n"):
        found, odd = registered(text)
        assert (registered_in(ast.parse(text).body, text) if odd else found) == [("a", "C")]


def test_all_names_of_the_registry_are_seen_at_once() -> None:
    names = "from reg import MODELS as A\nB = MODELS\nC=MODELS\nD = reg.MODELS\n"
    text = names + "".join(f"{name}.register_module('{name}')({name}{name})\n" for name in "ABCD")
    found, odd = registered(text)
    assert (registered_in(ast.parse(text).body, text) if odd else found) == [(name, name * 2) for name in "ABCD"]


def test_a_decorator_without_a_definition_is_left_to_the_parser() -> None:
    assert registered("@MODELS.register_module('a')\n") == ([], True)
    assert registered("@MODELS.register_module('a')") == ([], True)
    assert registered("@MODELS.register_module('a'") == ([], True)
    assert registered("@MODELS.register_module(") == ([], True)


def test_files_are_those_of_packages_in_order(tmp_path: Path) -> None:
    for name in (
        "b.py", "a/z.py", "a/__init__.py", "a.py", "a/deep/er/x.py", "a/note.txt", "a/x.pyc", "__pycache__/c.py",
        ".hidden/d.py", "py", "a/.py", "c.py/e.py",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "linked").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    (tmp_path / "lost.py").symlink_to(tmp_path / "gone.py")
    found = [Path(path).relative_to(tmp_path).as_posix() for path in python_files(str(tmp_path))]
    assert found == [
        "a/.py", "a/__init__.py", "a/deep/er/x.py", "a/z.py", "a.py", "b.py", "c.py/e.py", "link.py", "lost.py",
    ]  # fmt: skip
    assert list(python_files(str(tmp_path / "gone"))) == []
