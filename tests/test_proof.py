"""The proof of an edit: what it lets pass, and what it does not."""

from __future__ import annotations

import ast

import pytest
from proving import PATH, changes_for, component, read

from rewriter.edits.config import edit_config
from rewriter.proof import compare, compare_source
from rewriter.types import REMOVE, ConfigChange, SourceChange, Span

OLD = b"""import os

text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl")  # T5
vae = dict(
    type="VideoAutoencoderKL",
    cache_dir=None,  # old
    vae_2d=dict(a=1),
)
seed = 42
"""


def asked(value: object = "/c") -> list[ConfigChange]:
    return changes_for(read(OLD), ["text_encoder", "vae"], "cache_dir", value)


NEW = edit_config(OLD, asked())


def test_a_right_edit_passes() -> None:
    assert compare(OLD, NEW, PATH, asked()) is None
    assert compare(OLD, NEW, PATH, asked(), was=read(OLD)) is None
    assert compare(OLD, edit_config(OLD, asked(REMOVE)), PATH, asked(REMOVE)) is None
    assert compare(OLD, OLD, PATH, []) is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"# T5", b"# T6", "outside"),
        (b"seed = 42\n", b"seed = 42", "outside"),
        (b"import os\n", b"import os\r\n", "outside"),
        (b"seed = 42", b"seed = 43", "outside"),
        (b"42\n", b"42\nclip = dict()\n", "components became"),
        (b"text_encoder =", b"t5 =", "keys of text_encoder"),
        (b"vae = dict", b"vae: dict = dict", "ways of vae"),
        (b'type="t5"', b'type="t6"', "'t5' became 't6'"),
        (b'"t5",', b'"t5", a=1,', "parts"),
        (b'"VideoAutoencoderKL"', b'f"VideoAutoencoderKL"', "Constant became JoinedStr"),
        (b"a=1", b"a=True", "int became bool"),
        (b'cache_dir="/c",  # old', b'cache_dir="/d",  # old', "vae.cache_dir is \"/d\", not '/c'"),
        (b'cache_dir="/c",  # old', b'cache_dir=str("/c"),  # old', "vae.cache_dir"),
        (b'cache_dir="/c",  # old', b"# old", "vae.cache_dir is not there"),
        (b"vae_2d=dict(a=1)", b"vae_2d=dict(a=1, cache_dir='/c')", "parts"),
        (b"dict(a=1),\n)", b"dict(a=1),\n", "cannot be"),
        (b"# T5", b"# \xff", "cannot be read"),
    ],
)
def test_a_wrong_edit_does_not(old: bytes, new: bytes, words: str) -> None:
    assert NEW.count(old) == 1
    found = compare(OLD, NEW.replace(old, new), PATH, asked())
    assert found is not None
    assert words in found


def test_a_changed_encoding_does_not_pass() -> None:
    assert compare(OLD, b"\xef\xbb\xbf" + NEW, PATH, asked()) == "the encoding of the file changed"


def test_nothing_done_is_not_what_was_asked_for() -> None:
    assert compare(OLD, OLD, PATH, asked()) == "text_encoder.cache_dir is not there"
    assert compare(OLD, OLD, PATH, asked(REMOVE)) == "vae.cache_dir is still there"


def test_a_change_of_a_dict_that_is_not_there() -> None:
    other = component(read("\n\nvae = dict(type='far away')\n"), "vae")
    found = compare(OLD, NEW, PATH, [*asked(), ConfigChange(other, "a", 1)])
    assert found == "vae.a: no dict stands at line 3"


# --- sources -----------------------------------------------------------------------------------

SOURCE = b"""class Encoder(nn.Module):
    def __init__(self, path, device="cuda", **kwargs):
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.vae = build(dict(type="x"), {"a": 1})
"""
THREADED = b"""class Encoder(nn.Module):
    def __init__(self, path, device="cuda", cache_dir=None, **kwargs):
        self.tokenizer = AutoTokenizer.from_pretrained(path, cache_dir=cache_dir)
        self.vae = build(dict(type="x", cache_dir=cache_dir), {"a": 1, "cache_dir": cache_dir})
"""


def threads() -> list[SourceChange]:
    """A change for the parameter, the hub call, and both dicts of SOURCE."""
    found = []
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.FunctionDef | ast.Call | ast.Dict) and "build" not in ast.unparse(node)[:5]:
            span = Span(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)
            target = (
                "parameter" if isinstance(node, ast.FunctionDef) else "dict" if "type" in ast.unparse(node) else "call"
            )
            target = "dict" if isinstance(node, ast.Dict) else target
            found.append(SourceChange("/x.py", target, span, "cache_dir", "cache_dir"))  # type: ignore[arg-type]
    assert len(found) == 4
    return found


def test_a_threaded_source_passes() -> None:
    assert compare_source(SOURCE, THREADED, threads()) is None


def test_a_keyword_only_parameter_passes() -> None:
    old, new = b"def f(a, *, b=1): pass\n", b"def f(a, *, b=1, cache_dir=None): pass\n"
    change = SourceChange("/x.py", "parameter", Span(1, 0, 1, 22), "cache_dir", "cache_dir")
    assert compare_source(old, new, [change]) is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'device="cuda", cache_dir=None', b'cache_dir=None, device="cuda"', "parts became"),
        (b"cache_dir=None", b"cache_dir", "line 2 of the edited source cannot be read"),
        (b"cache_dir=None", b"cache_dir=path", "parts became"),
        (b"(path, cache_dir=cache_dir)", b"(path)", "line 3: the call did not get 'cache_dir'"),
        (b"(path, cache_dir=cache_dir)", b"(path, cache_dir=path)", "parts became"),
        (b"(path, cache_dir", b"(device, cache_dir", "'path' became 'device'"),
        (b', "cache_dir": cache_dir}', b"}", "line 4: the dict did not get 'cache_dir'"),
        (b"self.vae", b"self.vea", "'vae' became 'vea'"),
        (b"build(", b"make(", "'build' became 'make'"),
        (b"**kwargs):", b"**kwargs)", "line 2 of the edited source cannot be read"),
        (b"{", b"{1: 2, ", "parts became"),
    ],
)
def test_a_wrongly_threaded_source_does_not(old: bytes, new: bytes, words: str) -> None:
    assert THREADED.count(old) == 1
    found = compare_source(SOURCE, THREADED.replace(old, new), threads())
    assert found is not None
    assert words in found


def test_a_source_that_could_not_be_read_before() -> None:
    assert (
        compare_source(b"def", b"def", [])
        == "line 1 of the source cannot be read: the file is not Python: invalid syntax"
    )
