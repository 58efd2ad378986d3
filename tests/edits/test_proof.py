"""The proof of an edit: what it lets pass, and what it does not."""

from __future__ import annotations

import ast

import pytest
from proving import PATH, change_key, find_dicts, span_of

from rewriter.edit.config import edit_config
from rewriter.edit.loader import edit_loader
from rewriter.edit.proof import prove_config, prove_loader
from rewriter.model import REMOVE, ConfigChange, SourceChange, SourceTarget, Span

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
    "a comment": (b"# T5", b"# T6", "bytes outside the edit changed: b'5\\nvae = ' became b'6\\nvae = '"),
    "the last line end": (b"= 42\n", b"= 42", "bytes outside the edit changed"),
    "one line end": (b"import os\n", b"import os\r\n", "bytes outside the edit changed"),
    "another statement": (b"= 42", b"= 43", "line 11: 42 became 43"),
    "a component more": (b"42\n", b"42\nclip = dict()\n", "near line 1: 4 parts became 5"),
    "another name": (b"text_encoder =", b"t5 =", "line 3: 'text_encoder' became 't5'"),
    "a broken file": (b"(1.0),\n)", b"(1.0),\n", "line 4 of the edited file cannot be read: the file is not Python"),
    "a broken encoding": (b"# T5", b"# \xff", "line 3 of the edited file cannot be read: byte 0xff is not utf-8"),
    "another encoding": (b"import os", b"\xef\xbb\xbfimport os", "the encoding of the file changed"),
    # the requested key
    "another value": (b'"/c",  # old', b'"/d",  # old', "line 4: 'cache_dir' is not as requested"),
    "a computed value": (b'"/c",  # old', b'str("/c"),  # old', "line 4: 'cache_dir' is not as requested"),
    "the old value": (b'"/c")  # T5', b"None)  # T5", "line 3: 'cache_dir' is not as requested"),
    "no key": (b'cache_dir="/c",  # old', b"# old", "line 4: 'cache_dir' is not as requested"),
    "a key by a spread": (b'cache_dir="/c")', b'**{"cache_dir": "/c"})', "near line 3: 2 parts became 3"),
    # what else the dicts say
    "a nested dict's key": (b"a=1)", b"a=1, cache_dir='/c')", "near line 8: 1 parts became 2"),
    "a nested dict's value": (b"a=1", b"a=True", "line 8: int became bool"),
    "a nested dict": (b"vae_2d=dict(a=1)", b"vae_2d=None", "line 8: Call became Constant"),
    "a literal for a call": (b"vae_2d=dict(a=1)", b'vae_2d={"a": 1}', "line 8: Call became Dict"),
    "a positional base": (b'dict(type="t5"', b'dict(b, type="t5"', "near line 3: 0 parts became 1"),
    "another keyword": (b'"t5",', b'"t5", a=1,', "near line 3: 2 parts became 3"),
    "another keyword's kind": (b'"VideoAutoencoderKL"', b'f"VideoAutoencoderKL"', "line 5: Constant became JoinedStr"),
    "another order": (
        b'type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl"',
        b'from_pretrained="DeepFloyd/t5-v1_1-xxl", type="t5"',
        "line 3: ",
    ),
}


@pytest.mark.parametrize(("right", "wrong", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_edit_does_not_pass(right: bytes, wrong: bytes, words: str) -> None:
    assert NEW.count(right) == 1
    found = prove_config(OLD, NEW.replace(right, wrong), PATH, requested())
    assert found is not None
    assert found.startswith(f"{PATH}: {words}")


def test_no_byte_outside_the_dicts_can_be_lost_or_come() -> None:
    dicts = [(NEW.index(b"dict(type"), NEW.index(b"  # T5")), (NEW.index(b"dict(\n"), NEW.index(b"\nseed"))]
    for place in range(len(NEW) + 1):
        if not any(start < place < end for start, end in dicts):
            for piece in (b" ", b"#", b"\n", b"\r"):
                assert prove_config(OLD, NEW[:place] + piece + NEW[place:], PATH, requested()), (place, piece)
            inside = any(start <= place < end for start, end in dicts)
            assert inside or place == len(NEW) or prove_config(OLD, NEW[:place] + NEW[place + 1 :], PATH, requested())


def test_of_a_key_that_is_there_twice_the_last_one_counts() -> None:
    old = b"vae = {'a': 1, 'a': 2, 'b': 3}\n"
    change = change_key("vae", "a", 4)(old)
    assert prove_config(old, b"vae = {'a': 1, 'a': 4, 'b': 3}\n", PATH, change) is None
    assert prove_config(old, b"vae = {'a': 4, 'a': 2, 'b': 3}\n", PATH, change) is not None
    change = change_key("vae", "a", REMOVE)(old)
    assert prove_config(old, b"vae = {'b': 3}\n", PATH, change) is None
    assert prove_config(old, b"vae = {'a': 1, 'b': 3}\n", PATH, change) is not None


def test_what_was_requested_for_a_dict_that_another_change_takes_away_is_left_out() -> None:
    old = b"vae = dict(vae_2d=dict(a=1), b=2)\n"
    outer, inner = find_dicts(old)
    changes = [ConfigChange(outer, "vae_2d", None), ConfigChange(inner, "a", 2)]
    assert prove_config(old, b"vae = dict(vae_2d=None, b=2)\n", PATH, changes) is None
    assert prove_config(old, b"vae = dict(vae_2d=None, b=3)\n", PATH, changes) == f"{PATH}: line 1: 2 became 3"


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
    wanted: dict[str, tuple[SourceTarget, str]] = {
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
    "not the last parameter": (b'device="cuda", cache_dir=None', b'cache_dir=None, device="cuda"', "near line 2: "),
    "no default": (b'device="cuda", cache_dir=None', b'cache_dir, device="cuda"', "near line 2: 3 parts became 4"),
    "another default": (b"cache_dir=None,", b'cache_dir="/",', "near line 2: 1 parts became 2"),
    "a computed default": (b"cache_dir=None,", b"cache_dir=path,", "near line 2: 1 parts became 2"),
    "no parameter": (b", cache_dir=None", b"", "line 2: 'cache_dir' is not as requested"),
    # calls and dicts
    "no keyword": (b"(path, cache_dir=cache_dir)", b"(path)", "line 5: 'cache_dir' is not as requested"),
    "another name": (b"(path, cache_dir=cache_dir)", b"(path, cache_dir=path)", "line 5: 'cache_dir' is not as"),
    "two keywords": (b"(path, cache_dir=cache_dir)", b"(path, cache_dir=cache_dir, x=1)", "near line 5: 0 parts"),
    "no key": (b', "cache_dir": cache_dir}', b"}", "line 7: 'cache_dir' is not as requested"),
    "another callee": (b"build(", b"make(", "line 7: 'build' became 'make'"),
    "a list for a call": (b'dict(type="x", cache_dir=cache_dir)', b"[cache_dir]", "line 7: Call became List"),
    # the value
    "the old value": (b"hub=cache_dir", b"hub=None", "line 6: 'hub' is not as requested"),
    "another value": (b"hub=cache_dir", b"hub=path", "line 6: Constant became Name"),
    # the guard
    "another test": (b"if cache_dir is not None", b"if cache_dir", "near line 3: 0 parts became 1"),
    "another variable": (b'path = "o/n"', b'paths = "o/n"', "near line 3: 0 parts became 1"),
    "another repo": (b'path = "o/n"', b'path = "o/m"', "near line 3: 0 parts became 1"),
    "more than that": (b'path = "o/n"', b'path = "o/n"\n            os.remove(path)', "near line 3: 0 parts"),
    "an else": (b"elif local", b"else:\n          if local", "bytes outside the edit changed"),
    "another branch": (b"elif local", b"elif remote", "line 3: 'local' became 'remote'"),
    "no guard": (b'if cache_dir is not None:\n            path = "o/n"\n        elif', b"if", "line 3: 'cache_dir' is"),
    # everything else
    "another attribute": (b"self.vae", b"self.vea", "line 7: 'vae' became 'vea'"),
    "a comment elsewhere": (b"# local", b"# there", "bytes outside the edit changed"),
    "a space elsewhere": (b"self.vae =", b"self.vae  =", "bytes outside the edit changed"),
    "a line end elsewhere": (b"Module):\n", b"Module):\r\n", "bytes outside the edit changed"),
    "a broken line": (b"**kwargs):", b"**kwargs)", "line 2 of the edited file cannot be read"),
    "another encoding": (b"class E", b"\xef\xbb\xbfclass E", "the encoding of the file changed"),
}


@pytest.mark.parametrize(("right", "wrong", "words"), WRONGLY_THREADED.values(), ids=WRONGLY_THREADED)
def test_a_wrongly_threaded_source_does_not_pass(right: bytes, wrong: bytes, words: str) -> None:
    assert THREADED.count(right) == 1
    found = prove_loader(SOURCE, THREADED.replace(right, wrong), thread())
    assert found is not None
    assert found.startswith(words)


def prove_statement(before: str, after: str, target: SourceTarget, place: str = "", **more: object) -> str | None:
    """What the proof says of an edit of one statement, with the change at ``place`` (the whole of it)."""
    start = before.index(place)
    span = Span(1, start, 1, start + len(place or before))
    change = SourceChange("/x.py", target, span, "k", "k", **more)  # type: ignore[arg-type]
    return prove_loader(before.encode(), after.encode(), [change])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(a, *, b): pass", "def f(a, *, b, k): pass"),
        ("def f(a, *, b): pass", "def f(a, *, b, k=1): pass"),
        ("def f(a): pass", "def f(a, k): pass"),
        ("def f(a): pass", "def f(k=None, a=None): pass"),
        ("def f(a): pass", "def f(a, k={}): pass"),
        ("def f(a): pass", "def f(a, k=[{1: []}.x]): pass"),
        ("def f(a): pass", "async def f(a, k=None): pass"),
        ("def f(a): pass", "class f: pass"),
    ],
)
def test_a_parameter_that_would_shift_others_or_has_no_plain_default_does_not(before: str, after: str) -> None:
    assert prove_statement(before, after, "parameter") is not None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("f(k=k)", "f(k=k)", None),
        ("f(k=a)", "f(k=k)", None),
        ("f(k=a)", "f(k=a)", "line 1: 'k' is not as requested"),
        ("f(a)", "f(a, **{'k': k})", "near line 1: 0 parts became 1"),
        ("f(a)", "f(a, k)", "near line 1: 1 parts became 2"),
        ("f(a)", "f(k=k)", "near line 1: 1 parts became 0"),
        ("f(a)", "f[a]", "line 1: Call became Subscript"),
        ("f(a)", "{'k': k}", "line 1: Call became Dict"),
    ],
)
def test_a_keyword_is_there_as_requested_or_not(before: str, after: str, words: str | None) -> None:
    assert prove_statement(before, after, "keyword") == words


def test_the_literal_of_a_script_counts_with_its_type() -> None:
    change = SourceChange("/x.py", "literal", Span(1, 0, 1, 4), "k", default=True)
    assert prove_loader(b"f(a)", b"f(a, k=True)", [change]) is None
    assert prove_loader(b"f(a)", b"f(a, k=1)", [change]) == "line 1: 'k' is not as requested"


def test_sources_that_cannot_be_read() -> None:
    assert prove_loader(b"x = (", b"x = 1", []) == "line 1 cannot be read: the file is not Python: '(' was never closed"
    assert prove_loader(b"\n\0", b"x = 1", []) == "line 2 cannot be read: the file holds a NUL byte"
    assert prove_loader(b"x = 1", b"x = 1", []) is None
    change = SourceChange("/x.py", "keyword", Span(3, 0, 3, 4), "k", "k")
    assert prove_loader(b"x = 1", b"x = 1", [change]) == "line 3: 'k' is not as requested"
