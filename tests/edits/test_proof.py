"""The proof of an edit: what it lets pass, and what it does not."""

from __future__ import annotations

import ast

import pytest
from proving import PATH, change_key, find_dicts, span_of

from rewriter.edit.config import edit_config
from rewriter.edit.loader import edit_loader
from rewriter.edit.proof import prove_config, prove_loader
from rewriter.model import REMOVE, ConfigChange, SourceChange, Span

OLD = b"""import os

text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl")  # T5
vae = dict(
    type="VideoAutoencoderKL",  # AE
    cache_dir=None,  # old
    # below
    vae_2d=dict(a=1),
    scale=(1.0),
)
seed = 42
"""
NEW = OLD.replace(b'xxl")', b'xxl", cache_dir="/c")').replace(b"cache_dir=None", b'cache_dir="/c"')


def requested(value: object = "/c") -> list[ConfigChange]:
    return [change for name in ("text_encoder", "vae") for change in change_key(name, "cache_dir", value)(OLD)]


def test_a_right_edit_passes() -> None:
    assert edit_config(OLD, requested()) == NEW
    assert prove_config(OLD, NEW, PATH, requested()) is None
    gone = OLD.replace(b"    cache_dir=None,  # old\n", b"")
    assert edit_config(OLD, requested(REMOVE)) == gone
    assert prove_config(OLD, gone, PATH, requested(REMOVE)) is None
    assert prove_config(OLD, OLD, PATH, []) is None


WRONG = {
    # outside of the dicts
    "a comment": (b"# T5", b"# T6"),
    "the last line end": (b"= 42\n", b"= 42"),
    "one line end": (b"import os\n", b"import os\r\n"),
    "another statement": (b"= 42", b"= 43"),
    "a component more": (b"42\n", b"42\nclip = dict()\n"),
    "another name": (b"text_encoder =", b"t5 ="),
    "a broken file": (b"(1.0),\n)", b"(1.0),\n"),
    "a broken encoding": (b"# T5", b"# \xff"),
    "another encoding": (b"import os", b"\xef\xbb\xbfimport os"),
    # the requested key
    "another value": (b'"/c",  # old', b'"/d",  # old'),
    "a computed value": (b'"/c",  # old', b'str("/c"),  # old'),
    "the old value": (b'"/c")  # T5', b"None)  # T5"),
    "no key": (b'cache_dir="/c",  # old', b"# old"),
    "a key by a spread": (b'cache_dir="/c")', b'**{"cache_dir": "/c"})'),
    # what else the dicts say
    "a nested dict's key": (b"a=1)", b"a=1, cache_dir='/c')"),
    "a nested dict's value": (b"a=1", b"a=True"),
    "a nested dict": (b"vae_2d=dict(a=1)", b"vae_2d=None"),
    "a literal for a call": (b"vae_2d=dict(a=1)", b'vae_2d={"a": 1}'),
    "a positional base": (b'dict(type="t5"', b'dict(b, type="t5"'),
    "another keyword": (b'"t5",', b'"t5", a=1,'),
    "another keyword's kind": (b'"VideoAutoencoderKL"', b'f"VideoAutoencoderKL"'),
    "another order": (
        b'type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl"',
        b'from_pretrained="DeepFloyd/t5-v1_1-xxl", type="t5"',
    ),
}


@pytest.mark.parametrize(("right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_edit_does_not_pass(right: bytes, wrong: bytes) -> None:
    assert NEW.count(right) == 1
    found = prove_config(OLD, NEW.replace(right, wrong), PATH, requested())
    assert found is not None
    assert found.startswith(f"{PATH}: ")


def test_no_byte_outside_the_dicts_can_be_lost_or_come() -> None:
    dicts = [(NEW.index(b"dict(type"), NEW.index(b"  # T5")), (NEW.index(b"dict(\n"), NEW.index(b"\nseed"))]
    for place in range(len(NEW) + 1):
        if not any(start < place < end for start, end in dicts):
            for piece in (b" ", b"#", b"\n", b"\r"):
                assert prove_config(OLD, NEW[:place] + piece + NEW[place:], PATH, requested()), (place, piece)
            inside = any(start <= place < end for start, end in dicts)
            assert inside or place == len(NEW) or prove_config(OLD, NEW[:place] + NEW[place + 1 :], PATH, requested())


def test_what_was_requested_for_a_dict_that_another_change_takes_away_is_left_out() -> None:
    old = b"vae = dict(vae_2d=dict(a=1), b=2)\n"
    outer, inner = find_dicts(old)
    changes = [ConfigChange(outer, "vae_2d", None), ConfigChange(inner, "a", 2)]
    assert prove_config(old, b"vae = dict(vae_2d=None, b=2)\n", PATH, changes) is None
    assert prove_config(old, b"vae = dict(vae_2d=None, b=3)\n", PATH, changes) is not None


# --- sources -----------------------------------------------------------------------------------

SOURCE = b"""class Encoder(nn.Module):
    def __init__(self, path, device="cuda", **kwargs):  # init
        if local:
            path = "x"  # local
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = load(path, hub=None)
        self.vae = build(dict(type="x"), {"a": 1})
"""
THREADED = b"""class Encoder(nn.Module):
    def __init__(self, path, device="cuda", cache_dir=None, **kwargs):  # init
        if cache_dir is not None:
            path = "o/n"
        elif local:
            path = "x"  # local
        self.tokenizer = AutoTokenizer.from_pretrained(path, cache_dir=cache_dir)
        self.model = load(path, hub=cache_dir)
        self.vae = build(dict(type="x", cache_dir=cache_dir), {"a": 1, "cache_dir": cache_dir})
"""


def thread() -> list[SourceChange]:
    """A change of every kind in SOURCE."""
    wanted: dict[str, tuple[str, str]] = {
        "AutoTokenizer.from_pretrained(path)": ("keyword", "cache_dir"),
        "dict(type='x')": ("keyword", "cache_dir"),
        "{'a': 1}": ("keyword", "cache_dir"),
        "None": ("value", "hub"),
    }
    found = []
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.FunctionDef):
            found.append(SourceChange("/x.py", "parameter", span_of(node), "cache_dir", "cache_dir"))
        elif isinstance(node, ast.If):
            assign = (("path", "o/n"),)
            found.append(SourceChange("/x.py", "guard", span_of(node), "cache_dir", "cache_dir", assign=assign))
        elif isinstance(node, ast.expr) and ast.unparse(node) in wanted:
            target, key = wanted[ast.unparse(node)]
            found.append(SourceChange("/x.py", target, span_of(node), key, "cache_dir"))
    assert len(found) == 6
    return found


def test_a_threaded_source_passes() -> None:
    assert edit_loader(SOURCE, thread()) == THREADED
    assert prove_loader(SOURCE, THREADED, thread()) is None


WRONGLY_THREADED = {
    # the parameter
    "not the last parameter": (b'device="cuda", cache_dir=None', b'cache_dir=None, device="cuda"'),
    "no default": (b'device="cuda", cache_dir=None', b'cache_dir, device="cuda"'),
    "another default": (b"cache_dir=None,", b'cache_dir="/",'),
    "a computed default": (b"cache_dir=None,", b"cache_dir=path,"),
    "no parameter": (b", cache_dir=None", b""),
    # calls and dicts
    "no keyword": (b"(path, cache_dir=cache_dir)", b"(path)"),
    "another name": (b"(path, cache_dir=cache_dir)", b"(path, cache_dir=path)"),
    "two keywords": (b"(path, cache_dir=cache_dir)", b"(path, cache_dir=cache_dir, x=1)"),
    "no key": (b', "cache_dir": cache_dir}', b"}"),
    "another callee": (b"build(", b"make("),
    "a list for a call": (b'dict(type="x", cache_dir=cache_dir)', b"[cache_dir]"),
    # the value
    "the old value": (b"hub=cache_dir", b"hub=None"),
    "another value": (b"hub=cache_dir", b"hub=path"),
    # the guard
    "another test": (b"if cache_dir is not None", b"if cache_dir"),
    "another variable": (b'path = "o/n"', b'paths = "o/n"'),
    "another repo": (b'path = "o/n"', b'path = "o/m"'),
    "more than that": (b'path = "o/n"', b'path = "o/n"\n            os.remove(path)'),
    "an else": (b"elif local", b"else:\n          if local"),
    "another branch": (b"elif local", b"elif remote"),
    "no guard": (b'if cache_dir is not None:\n            path = "o/n"\n        elif', b"if"),
    # everything else
    "another attribute": (b"self.vae", b"self.vea"),
    "a comment elsewhere": (b"# local", b"# there"),
    "a space elsewhere": (b"self.vae =", b"self.vae  ="),
    "a line end elsewhere": (b"Module):\n", b"Module):\r\n"),
    "a broken line": (b"**kwargs):", b"**kwargs)"),
    "another encoding": (b"class E", b"\xef\xbb\xbfclass E"),
}


@pytest.mark.parametrize(("right", "wrong"), WRONGLY_THREADED.values(), ids=WRONGLY_THREADED)
def test_a_wrongly_threaded_source_does_not_pass(right: bytes, wrong: bytes) -> None:
    assert THREADED.count(right) == 1
    assert prove_loader(SOURCE, THREADED.replace(right, wrong), thread())


def test_the_literal_of_a_script_counts_with_its_type() -> None:
    change = SourceChange("/x.py", "literal", Span(1, 0, 1, 4), "k", default=True)
    assert prove_loader(b"f(a)", b"f(a, k=True)", [change]) is None
    message = "line 1: the statement does not say what was requested"
    assert prove_loader(b"f(a)", b"f(a, k=1)", [change]) == message


def test_sources_that_cannot_be_read() -> None:
    assert prove_loader(b"x = (", b"x = 1", []) == "line 1 cannot be read: the file is not Python: '(' was never closed"
    assert prove_loader(b"\n\0", b"x = 1", []) == "line 2 cannot be read: the file holds a NUL byte"
    assert prove_loader(b"x = 1", b"x = 1", []) is None
    change = SourceChange("/x.py", "keyword", Span(3, 0, 3, 4), "k", "k")
    assert prove_loader(b"x = 1", b"x = 1", [change]) == "line 3: 'k' cannot be set there"
