"""The proof of an edit: what it lets pass, and what it does not."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest
from proving import PATH, changes_for, component, read

from rewriter.edits.config import edit_config
from rewriter.edits.source import edit_source
from rewriter.proof import compare, compare_source
from rewriter.types import REMOVE, ConfigChange, SourceChange, SourceTarget, Span

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


def asked(value: object = "/c") -> list[ConfigChange]:
    return changes_for(read(OLD), ["text_encoder", "vae"], "cache_dir", value)


NEW = OLD.replace(b'xxl")', b'xxl", cache_dir="/c")').replace(b"cache_dir=None", b'cache_dir="/c"')
GONE = OLD.replace(b"    cache_dir=None,  # old\n", b"")


def test_a_right_edit_passes() -> None:
    assert edit_config(OLD, asked()) == NEW
    assert compare(OLD, NEW, PATH, asked()) is None
    assert compare(OLD, NEW, PATH, asked(), was=read(OLD)) is None
    assert edit_config(OLD, asked(REMOVE)) == GONE
    assert compare(OLD, GONE, PATH, asked(REMOVE)) is None
    assert compare(OLD, OLD, PATH, []) is None


def refused(new: bytes, changes: list[ConfigChange], old: bytes = OLD) -> str | None:
    return compare(old, new, PATH, changes)


# --- one wrong thing after the other ------------------------------------------------------------

WRONG = {
    # round the dicts
    "a comment outside": (b"# T5", b"# T6", "bytes outside the edit changed: b'5\\nvae = ' became b'6\\nvae = '"),
    "the last line end": (b"= 42\n", b"= 42", "bytes outside the edit changed: b'\\n' became b''"),
    "one line end": (
        b"import os\n",
        b"import os\r\n",
        "bytes outside the edit changed: b'\\n\\ntext_encoder = ' became b'\\r\\n\\ntext_encoder = '",
    ),
    "another statement": (b"= 42", b"= 43", "bytes outside the edit changed: b'2\\n' became b'3\\n'"),
    "a blank line": (b"\nvae", b"\n\nvae", "bytes outside the edit changed: b'vae = ' became b'\\nvae = '"),
    "a component more": (b"42\n", b"42\nclip = dict()\n", "3 components became 4"),
    "a component less": (b"vae_2d=dict(a=1)", b"vae_2d=None", "3 components became 2"),
    "another name": (b"text_encoder =", b"t5 =", "keys of text_encoder became ('t5',)"),
    "an annotation": (b"vae = dict", b"vae: dict = dict", "bytes outside the edit changed: b' = ' became b': dict = '"),
    "a positional base": (b'dict(type="t5"', b'dict(b, type="t5"', "near line 3: 0 parts became 1"),
    "a literal for a call": (b"vae_2d=dict(a=1)", b'vae_2d={"a": 1}', "form of vae.vae_2d became literal"),
    "a broken file": (
        b"(1.0),\n)",
        b"(1.0),\n",
        "line 4 of the edited file cannot be read: the file is not Python: '(' was never closed",
    ),
    "a broken encoding": (b"# T5", b"# \xff", "line 3 of the edited file cannot be read: byte 0xff is not utf-8"),
    "another encoding": (b"import os", b"\xef\xbb\xbfimport os", "the encoding of the file changed"),
    # the asked key
    "another value": (b'"/c",  # old', b'"/d",  # old', "vae.cache_dir is \"/d\", not '/c'"),
    "a computed value": (b'"/c",  # old', b'str("/c"),  # old', "vae.cache_dir is str(\"/c\"), not '/c'"),
    "the old value": (b'"/c")  # T5', b"None)  # T5", "text_encoder.cache_dir is None, not '/c'"),
    "no key": (b'cache_dir="/c",  # old', b"# old", "vae.cache_dir is not there"),
    "a key by a spread": (b'cache_dir="/c")', b'**{"cache_dir": "/c"})', "text_encoder.cache_dir is not there"),
    # what else the dicts say
    "a nested dict's key": (b"a=1)", b"a=1, cache_dir='/c')", "near line 8: 1 parts became 2"),
    "a nested dict's value": (b"a=1", b"a=True", "line 8: int became bool"),
    "a nested dict's keys": (b"a=1", b"", "near line 8: 1 parts became 0"),
    "another keyword": (b'"t5",', b'"t5", a=1,', "near line 3: 2 parts became 3"),
    "another keyword's value": (b'type="t5"', b'type="t6"', "line 3: 't5' became 't6'"),
    "another keyword's kind": (b'"VideoAutoencoderKL"', b'f"VideoAutoencoderKL"', "line 5: Constant became JoinedStr"),
    "another order": (
        b'type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl"',
        b'from_pretrained="DeepFloyd/t5-v1_1-xxl", type="t5"',
        "line 3: 'DeepFloyd/t5-v1_1-xxl' became 't5'",
    ),
    # how they are written
    "other quotes": (b'"t5"', b"'t5'", "near line 3: '\"t5\"' is gone, or the space before it is another"),
    "brackets": (b'"t5"', b'("t5")', "near line 3: 6 tokens are new, and 4 were asked for"),
    "no brackets": (b"(1.0)", b"1.0", "near line 4: '(' is gone, or the space before it is another"),
    "another spelling": (b"1.0", b"1.00", "near line 4: '1.0' is gone, or the space before it is another"),
    "a comma more": (b'"/c")', b'"/c" ,)', "near line 3: 5 tokens are new, and 4 were asked for"),
    "a comma less": (b"(1.0),", b"(1.0)", "near line 4: ',' is gone, or the space before it is another"),
    "a space more": (b'"t5",', b'"t5" ,', "near line 3: 'from_pretrained' is gone, or the space before it is another"),
    "a space less": (b"    scale", b"   scale", "near line 4: 'scale' is gone, or the space before it is another"),
    "a line end of another kind": (b"(1.0),\n)", b"(1.0),\r\n)", "near line 4: its line ends changed"),
    "a comment less": (b"  # AE", b"", "near line 4: its comments changed"),
    "a comment of its own line less": (b"    # below\n", b"", "near line 4: its comments changed"),
    "a comment more": (b"vae = dict(\n", b"vae = dict(  # a\n", "near line 4: its comments changed"),
    "another comment": (b"# AE", b"# EA", "near line 4: its comments changed"),
    "the comment of the replaced value": (b",  # old", b",", "near line 4: its comments changed"),
    "a comment on another line": (
        b"    # below\n    vae_2d=dict(a=1),\n",
        b"    vae_2d=dict(a=1),\n    # below\n",
        "near line 4: 'vae_2d' is gone, or the space before it is another",
    ),
    "comments in another order": (
        b'# AE\n    cache_dir="/c",  # old\n',
        b'# old\n    cache_dir="/c",  # AE\n',
        "near line 4: its comments changed",
    ),
}


@pytest.mark.parametrize(("right", "wrong", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_edit_does_not_pass(right: bytes, wrong: bytes, words: str) -> None:
    assert NEW.count(right) == 1
    assert refused(NEW.replace(right, wrong), asked()) == words


BEHIND = {
    "a spread": ('**{"cache_dir": "/o"}', 2),
    "a name that is spread": ("**common", 2),
    "a spread that is unknown": ("**f()", 2),
    "a computed key": ("f(): 1", 2),
    "a computed key that is known": ("k: '/o'", 2),
    "a spread of nothing": ("**{}", None),
    "a spread that gives the same": ('**dict(cache_dir="/c")', None),
    "a spread on another line": ("\n    **common", 3),
}


@pytest.mark.parametrize(("last", "line"), BEHIND.values(), ids=BEHIND)
def test_a_key_counts_only_behind_what_would_give_it_another_value(last: str, line: int | None) -> None:
    old = f'common, k = dict(cache_dir="/o"), "cache_dir"\nvae = {{"type": "x", "from_pretrained": "a/b", {last}}}\n'
    changes = changes_for(read(old.encode()), ["vae"], "cache_dir", "/c")
    before = old.replace('"a/b"', '"a/b", "cache_dir": "/c"')
    behind = old.replace(last, last + ', "cache_dir": "/c"')
    told = f"vae.cache_dir does not stay '/c': line {line} of the dict may give another" if line else None
    assert refused(before.encode(), changes, old.encode()) == told
    assert refused(behind.encode(), changes, old.encode()) is None
    later = behind + "vae['cache_dir'] = None\n"  # which is not the dict's
    assert refused(later.encode(), changes, later.replace(', "cache_dir": "/c"', "").encode()) is None


WRONG_REMOVAL = {
    "still there": (b"scale", b'cache_dir="/c",\n    scale', "vae.cache_dir is still there"),
    "a comment of its own line": (b"    # below\n", b"", "near line 4: its comments changed"),
    "the comment above": (b"  # AE", b"", "near line 4: its comments changed"),
    "another comment": (b"# below", b"# above", "near line 4: its comments changed"),
    "brackets": (b"(1.0)", b"1.0", "near line 4: 6 tokens are gone, and 4 were asked for"),
    "a comma": (b"(1.0),", b"(1.0)", "near line 4: 5 tokens are gone, and 4 were asked for"),
    "a new comma": (b'xxl")', b'xxl", )', "near line 3: ',' is new, or the space before it is another"),
    "other quotes": (b'"t5"', b"'t5'", "near line 3: '\"t5\"' is gone, or the space before it is another"),
    "a tab": (b"    scale", b"\tscale", "near line 4: 'scale' is new, or the space before it is another"),
    "a line end": (b"(1.0),\n)", b"(1.0),\r\n)", "near line 4: its line ends changed"),
    "a space": (b'"t5", ', b'"t5",  ', "near line 3: 'from_pretrained' is gone, or the space before it is another"),
}


@pytest.mark.parametrize(("right", "wrong", "words"), WRONG_REMOVAL.values(), ids=WRONG_REMOVAL)
def test_a_wrong_removal_does_not_pass(right: bytes, wrong: bytes, words: str) -> None:
    assert GONE.count(right) == 1
    assert refused(GONE.replace(right, wrong), asked(REMOVE)) == words


def passing(new: bytes, prove: Callable[[bytes], str | None]) -> Iterator[tuple[int, bytes]]:
    """Which bytes can be dropped from a text, or put in, without the proof noticing: places and what was put in."""
    for place in range(len(new)):
        if prove(new[:place] + new[place + 1 :]) is None:
            yield place, b""
    for place in range(len(new) + 1):
        for byte in (b" ", b"\n", b"\t", b"#", b",", b"x", b"(", b'"', b"\\"):
            if prove(new[:place] + byte + new[place:]) is None:
                yield place, byte


def test_no_byte_can_be_lost_or_come_but_space_round_the_new_keyword() -> None:
    def prove(new: bytes) -> str | None:
        return refused(new, asked()) if new != NEW else "nothing was changed"

    place = NEW.index(b', cache_dir="/c")')
    found = list(passing(NEW, prove))
    assert {at for at, byte in found if byte == b""} == {place + 1}
    assert {at for at, byte in found if byte} == {place + at for at in (0, 1, 2, 11, 12, 16)}
    assert {byte for _, byte in found if byte} == {b" ", b"\n", b"\t"}


def test_no_byte_can_be_lost_or_come_but_space_where_a_keyword_was_removed() -> None:
    def prove(new: bytes) -> str | None:
        return refused(new, asked(REMOVE)) if new not in (GONE, OLD) else "nothing was changed"

    place = GONE.index(b"\n    # below")
    found = list(passing(GONE, prove))
    assert {at for at, byte in found if byte == b""} == {place + at for at in (1, 2, 3, 4)}
    assert {at for at, byte in found if byte} == {place + at for at in (0, 1, 2, 3, 4, 5)}
    assert {byte for _, byte in found if byte} == {b" ", b"\n", b"\t"}


# --- what else is asked -------------------------------------------------------------------------


def test_nothing_done_is_not_what_was_asked_for() -> None:
    assert compare(OLD, OLD, PATH, asked()) == "text_encoder.cache_dir is not there"
    assert compare(OLD, OLD, PATH, asked(REMOVE)) == "vae.cache_dir is still there"
    assert compare(NEW, NEW, PATH, changes_for(read(NEW), ["vae"], "cache_dir", "/c")) is None


def test_a_change_of_a_dict_that_is_not_there() -> None:
    other = component(read("\n\nvae = dict(type='far away')\n"), "vae")
    change = ConfigChange(other, "a", 1)
    assert compare(OLD, NEW, PATH, [*asked(), change]) == "vae.a: no dict stands at line 3"
    assert compare(OLD, OLD, PATH, [change]) == "vae.a: no dict stands at line 3"


def test_a_file_that_could_not_be_read_before() -> None:
    assert compare(b"vae = (", b"vae = 1", PATH, []) == (
        "line 1 of the edited file cannot be read: the file is not Python: '(' was never closed"
    )


@pytest.mark.parametrize(
    ("asked_for", "written"),
    [
        (1, "True"),
        (1, "1.0"),
        ([1], "(1,)"),
        ([1, 2], "[1]"),
        ([1], "[2]"),
        ((1, [2]), "(1, [True])"),
        (({"a": 1},), "({'b': 1},)"),
        (({"a": 1},), "({'a': 1, 'b': 2},)"),
        (({"a": 1, "b": 2},), "({'b': 2, 'a': 1},)"),
        (({"a": 1},), "({'a': True},)"),
        (({1: 1},), "({True: 1},)"),
        (None, "'None'"),
        ("1", "1"),
    ],
)
def test_values_that_a_build_could_tell_apart_are_not_the_same(asked_for: object, written: str) -> None:
    old = b"vae = dict(type='x')\n"
    change = changes_for(read(old), ["vae"], "a", asked_for)
    new = old.replace(b")", f", a={written})".encode())
    assert compare(old, new, PATH, change) == f"vae.a is {written}, not {asked_for!r}"
    right = edit_config(old, change)
    assert compare(old, right, PATH, change) is None


def test_a_dict_at_the_very_beginning_of_a_line() -> None:
    old = b"vae = (\ndict(a=1  # b\n))\n"
    change = changes_for(read(old), ["vae"], "b", 2)
    new = b"vae = (\ndict(a=1, b=2  # b\n))\n"
    assert compare(old, new, PATH, change) is None
    assert compare(old, new.replace(b"a=1", b"a=2"), PATH, change) == "line 2: 1 became 2"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vae = dict(a=('x'\n  'y'  # c\n  ), b=1)\n", "vae = dict(a=2, b=1)\n"),
        ("vae = dict(a=  # c\n  'x', b=1)\n", "vae = dict(a=2, b=1)\n"),
        ("vae = {'a' : ('x'), 'b': 1}\n", "vae = {'a' : 2, 'b': 1}\n"),
    ],
)
def test_brackets_and_comments_round_a_value_may_go_with_it(old: str, new: str) -> None:
    change = changes_for(read(old), ["vae"], "a", 2)
    assert compare(old.encode(), new.encode(), PATH, change) is None
    assert "1 became 3" in (compare(old.encode(), new.replace("1", "3").encode(), PATH, change) or "")


def test_one_key_goes_and_another_comes() -> None:
    old = b"vae = dict(\n    a=1,  # a\n    # b\n    c=3,\n)\n"
    (vae,) = read(old).components
    changes = [ConfigChange(vae, "a", REMOVE), ConfigChange(vae, "b", 2)]
    new = edit_config(old, changes)
    assert compare(old, new, PATH, changes) is None
    assert compare(old, new.replace(b"    # b\n", b""), PATH, changes) == "near line 1: its comments changed"
    assert compare(old, new.replace(b"c=3", b"c=4"), PATH, changes) == "line 4: 3 became 4"


def test_what_goes_from_between_two_kinds_of_line_ends() -> None:
    old = b"vae = dict(\r    a=1,\n\n    b=2,\n)\n"
    change = changes_for(read(old), ["vae"], "a", REMOVE)
    new = edit_config(old, change)
    assert new == b"vae = dict(\r\n    b=2,\n)\n"
    assert compare(old, new, PATH, change) is None
    assert compare(old, new.replace(b"\n)", b"\r\n)"), PATH, change) == "near line 1: its line ends changed"


def test_all_of_several_keys_of_one_name_go() -> None:
    old = b"vae = {'a': 1, 'a': 2, 'b': 3}\n"
    change = changes_for(read(old), ["vae"], "a", REMOVE)
    assert compare(old, b"vae = {'b': 3}\n", PATH, change) is None
    assert compare(old, b"vae = {'a': 1, 'b': 3}\n", PATH, change) == "vae.a is still there"


def test_a_key_of_several_strings_goes_and_nothing_else_with_it() -> None:
    old = b"vae = {'b': (3), 'c' 'd': {'a' 'x': 4}, 'a'  # a\n 'x': 1}\n"
    change = changes_for(read(old), ["vae"], "ax", REMOVE)
    new = edit_config(old, change)
    assert new == b"vae = {'b': (3), 'c' 'd': {'a' 'x': 4}}\n"
    assert compare(old, new, PATH, change) is None
    assert (
        compare(old, new.replace(b"(3)", b"3"), PATH, change) == "near line 1: 6 tokens are gone, and 4 were asked for"
    )
    assert compare(old, new.replace(b"'c' 'd'", b"'cd'"), PATH, change) is not None


def test_a_dict_of_two_names_and_one_in_another() -> None:
    old = b"a = vae = dict(x=1, vae_2d={'y': 2})\n"
    changes = [ConfigChange(each, "b", 2) for each in read(old).components]
    new = edit_config(old, changes)
    assert new == b"a = vae = dict(x=1, vae_2d={'y': 2, 'b': 2}, b=2)\n"
    assert compare(old, new, PATH, changes) is None
    assert compare(old, new.replace(b"'y'", b'"y"'), PATH, changes) == (
        "near line 1: \"'y'\" is gone, or the space before it is another"
    )


@pytest.mark.parametrize(
    ("old", "names", "new", "words"),
    [
        ("b = dict(a=1)\nvae = dict(**b)\n", ["b"], "b = dict(a=1, c=2)\nvae = dict(**b)\n", None),
        (
            "b = dict(a=1)\nvae = dict(**b)\n", ["b", "vae"], "b = dict(a=1, c=2)\nvae = dict(c=2, **b)\n",
            "line 2 gets c twice",
        ),
        ("b = dict(a=1)\nvae = dict(**b, c=1)\n", ["b"], "b = dict(a=1, c=2)\nvae = dict(**b, c=1)\n",
         "line 2 gets c twice"),
        ("b = dict(c=1)\nvae = dict(**b, c=1)\n", ["b"], "b = dict(c=2)\nvae = dict(**b, c=1)\n", None),
        ("b = dict(a=1)\nvae = {**b, 'c': 1}\n", ["b"], "b = dict(a=1, c=2)\nvae = {**b, 'c': 1}\n", None),
    ],
)  # fmt: skip
def test_no_new_key_comes_to_a_call_twice(old: str, names: list[str], new: str, words: str | None) -> None:
    changes = [ConfigChange(c, "c", 2) for c in read(old).components if c.name in names]
    assert edit_config(old.encode(), changes).decode() == new
    assert compare(old.encode(), new.encode(), PATH, changes) == words


def test_what_was_asked_of_a_dict_that_another_change_takes_away_is_left_out() -> None:
    old = b"vae = dict(vae_2d=dict(a=1), b=2)\n"
    outer, inner = read(old).components
    changes = [ConfigChange(outer, "vae_2d", None), ConfigChange(inner, "a", 2)]
    assert compare(old, b"vae = dict(vae_2d=None, b=2)\n", PATH, changes) is None
    assert compare(old, b"vae = dict(vae_2d=None, b=3)\n", PATH, changes) == "line 1: 2 became 3"


def test_tokens_that_only_look_like_the_end_of_a_line_are_none() -> None:
    old = b"vae = dict(a='#', b=f\"{'x'}#\", c='''\n# no comment\n''')\r\n"
    change = changes_for(read(old), ["vae"], "d", 1)
    new = edit_config(old, change)
    assert compare(old, new, PATH, change) is None
    assert compare(old, new.replace(b"# no", b"#  no"), PATH, change) == (
        "line 1: '\\n# no comment\\n' became '\\n#  no comment\\n'"
    )


# --- sources -----------------------------------------------------------------------------------

SOURCE = b"""class Encoder(nn.Module):
    def __init__(self, path, device="cuda", **kwargs):  # init
        '''Load.
        path: it
        '''
        if local:
            path = "x"  # local
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = load(path, hub=None)
        self.vae = build(dict(type="x"), {"a": 1})
"""
THREADED = b"""class Encoder(nn.Module):
    def __init__(self, path, device="cuda", cache_dir=None, **kwargs):  # init
        '''Load.
        path: it
        cache_dir: Hugging Face cache directory to load from.
        '''
        if cache_dir is not None:
            path = "o/n"
        elif local:
            path = "x"  # local
        self.tokenizer = AutoTokenizer.from_pretrained(path, cache_dir=cache_dir)
        self.model = load(path, hub=cache_dir)
        self.vae = build(dict(type="x", cache_dir=cache_dir), {"a": 1, "cache_dir": cache_dir})
"""


def span_of(node: ast.AST) -> Span:
    return Span(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]


def threads() -> list[SourceChange]:
    """A change of every kind in SOURCE."""
    wanted: dict[str, tuple[SourceTarget, str]] = {
        "AutoTokenizer.from_pretrained(path)": ("call", "cache_dir"),
        "dict(type='x')": ("dict", "cache_dir"),
        "{'a': 1}": ("dict", "cache_dir"),
        "None": ("value", "hub"),
    }
    found = []
    for node in ast.walk(ast.parse(SOURCE)):
        target, key = wanted.get(ast.unparse(node), ("", "")) if isinstance(node, ast.expr) else ("", "")
        assign: tuple[tuple[str, str], ...] = ()
        if isinstance(node, ast.FunctionDef):
            target, key = "parameter", "cache_dir"
        elif isinstance(node, ast.If):
            target, key, assign = "guard", "cache_dir", (("path", "o/n"),)
        elif isinstance(node, ast.Constant) and "Load." in str(node.value):
            target, key, assign = "docstring", "cache_dir", (("path", ""),)
        if target:
            found.append(SourceChange("/x.py", target, span_of(node), key, "cache_dir", None, assign))  # type: ignore[arg-type]
    assert len(found) == 7
    return found


def test_a_threaded_source_passes() -> None:
    assert edit_source(SOURCE, threads()) == THREADED
    assert compare_source(SOURCE, THREADED, threads()) is None


WRONGLY_THREADED = {
    # the parameter
    "not the last parameter": (
        b'device="cuda", cache_dir=None',
        b'cache_dir=None, device="cuda"',
        "near line 2: 1 parts became 2",
    ),
    "no default": (b'device="cuda", cache_dir=None', b'cache_dir, device="cuda"', "near line 2: 3 parts became 4"),
    "another default": (
        b'device="cuda", cache_dir=None',
        b'device="cuda", cache_dir="/"',
        "near line 2: 1 parts became 2",
    ),
    "a computed default": (b"cache_dir=None,", b"cache_dir=path,", "near line 2: 1 parts became 2"),
    "no parameter": (b", cache_dir=None", b"", "line 2: the parameter did not get 'cache_dir'"),
    "the comment of the header": (b"# init", b"# new", "near line 2: its comments changed"),
    "a space in the header": (
        b"self, path",
        b"self,path",
        "near line 2: 'path' is gone, or the space before it is another",
    ),
    # calls and dicts
    "no keyword": (b"(path, cache_dir=cache_dir)", b"(path)", "line 8: the call did not get 'cache_dir'"),
    "another name": (b"(path, cache_dir=cache_dir)", b"(path, cache_dir=path)", "near line 8: 0 parts became 1"),
    "another argument": (b"(path, cache_dir", b"(device, cache_dir", "line 8: 'path' became 'device'"),
    "two keywords": (
        b"(path, cache_dir=cache_dir)",
        b"(path, cache_dir=cache_dir, x=1)",
        "near line 8: 0 parts became 1",
    ),
    "no key": (b', "cache_dir": cache_dir}', b"}", "line 10: the dict did not get 'cache_dir'"),
    "another key's name": (b'"cache_dir": cache_dir}', b'"cache_dir": path}', "near line 10: 1 parts became 2"),
    "another quote": (b'"a"', b"'a'", "near line 10: '\"a\"' is gone, or the space before it is another"),
    "another callee": (b"build(", b"make(", "line 10: 'build' became 'make'"),
    "another key": (b"{", b"{1: 2, ", "near line 10: 1 parts became 2"),
    "a statement for a call": (
        b'dict(type="x", cache_dir=cache_dir)',
        b"[cache_dir]",
        "line 10: Call became List",
    ),
    # the value
    "the old value": (b"hub=cache_dir", b"hub=None", "line 9: the value did not get 'hub'"),
    "another value": (b"hub=cache_dir", b"hub=path", "line 9: Constant became Name"),
    # the guard
    "another test": (b"if cache_dir is not None", b"if cache_dir", "near line 6: 0 parts became 1"),
    "another variable": (b'path = "o/n"', b'paths = "o/n"', "near line 6: 0 parts became 1"),
    "another repo": (b'path = "o/n"', b'path = "o/m"', "near line 6: 0 parts became 1"),
    "more than a string": (b'path = "o/n"', b'path = "o/n".lower()', "near line 6: 0 parts became 1"),
    "more than that": (b'path = "o/n"', b'path = "o/n"\n            os.remove(path)', "near line 6: 0 parts became 1"),
    "an else": (
        b"elif local",
        b"else:\n          if local",
        "bytes outside the edit changed: b'if local:\\n          ' became b' local:\\n            '",
    ),
    "another branch": (b"elif local", b"elif remote", "line 6: 'local' became 'remote'"),
    "no guard": (
        b'if cache_dir is not None:\n            path = "o/n"\n        elif',
        b"if",
        "line 6: the guard did not get 'cache_dir'",
    ),
    # the docstring
    "another docstring": (
        b"Load.",
        b"Leave.",
        "line 3: 'Load.\\n        path: it\\n        ' became 'Leave.\\n"
        "        path: it\\n        cache_dir: Hugging Face c",
    ),
    "a line of another": (
        b"cache_dir: Hugging",
        b"hub: Hugging",
        "line 3: 'Load.\\n        path: it\\n        ' became 'Load.\\n "
        "       path: it\\n        hub: Hugging Face cache di",
    ),
    "no string": (b"'''Load.", b"f'''Load.", "line 3: Constant became JoinedStr"),
    # everything else
    "another attribute": (b"self.vae", b"self.vea", "line 10: 'vae' became 'vea'"),
    "a comment elsewhere": (
        b"# local",
        b"# there",
        "bytes outside the edit changed: b'local\\n        self.t' became b'there\\n        self.t'",
    ),
    "a space elsewhere": (
        b"self.vae =",
        b"self.vae  =",
        "bytes outside the edit changed: b'= build(' became b' = build('",
    ),
    "a line end elsewhere": (
        b"Module):\n",
        b"Module):\r\n",
        "bytes outside the edit changed: b'\\n    ' became b'\\r\\n    '",
    ),
    "a broken line": (
        b"**kwargs):",
        b"**kwargs)",
        "line 2 of the edited source cannot be read: the file is not Python: expected ':'",
    ),
    "a broken byte": (b"# local", b"# \xff", "line 10 of the edited source cannot be read: byte 0xff is not utf-8"),
    "another encoding": (b"class E", b"\xef\xbb\xbfclass E", "the encoding of the source changed"),
}


@pytest.mark.parametrize(("right", "wrong", "words"), WRONGLY_THREADED.values(), ids=WRONGLY_THREADED)
def test_a_wrongly_threaded_source_does_not_pass(right: bytes, wrong: bytes, words: str) -> None:
    assert THREADED.count(right) == 1
    assert compare_source(SOURCE, THREADED.replace(right, wrong), threads()) == words


def test_no_byte_of_a_source_can_be_lost_or_come_but_space_round_what_is_new() -> None:
    def prove(new: bytes) -> str | None:
        return compare_source(SOURCE, new, threads()) if new != THREADED else "nothing was changed"

    new = [b", cache_dir=None, ", b", cache_dir=cache_dir)\n", b", cache_dir=cache_dir),", b', "cache_dir": cache_dir}']
    inside = {THREADED.index(text) + at for text in new for at in range(len(text) + 1)}
    guard, documented = THREADED.index(b"if cache_dir"), THREADED.index(b"        cache_dir: Hugging")
    inside |= set(range(guard, THREADED.index(b"if local")))
    inside |= set(range(documented - 1, THREADED.index(b"'''\n        if") + 1))
    for place, byte in passing(THREADED, prove):
        assert place in inside, (place, byte, THREADED[place - 20 : place + 20])


def put(text: str, after: str, target: SourceTarget, old: str, **more: object) -> str | None:
    """What the proof says of an edit of one statement, with ``old`` where the change is."""
    place = text.index(old)
    change = SourceChange("/x.py", target, Span(1, place, 1, place + len(old)), "k", "k", **more)  # type: ignore[arg-type]
    return compare_source(text.encode(), after.encode(), [change])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(a): pass", "def f(a, k=None): pass"),
        ("def f(): pass", "def f(k=None): pass"),
        ("def f(a, *, b): pass", "def f(a, *, b, k=None): pass"),
        ("def f(a, *b, c=1, **d): pass", "def f(a, *b, c=1, k=None, **d): pass"),
        ("def f(a=1, /): pass", "def f(a=1, /, k=None): pass"),
        ("async def f(a: int): pass", "async def f(a: int, k: str = None): pass"),
        ("def f(k, a): pass", "def f(k, a): pass"),
        ("def f(k, /, a): pass", "def f(k, /, a): pass"),
        ("def f(*, k): pass", "def f(*, k): pass"),
    ],
)
def test_a_parameter_that_is_the_last_or_was_there(before: str, after: str) -> None:
    assert put(before, after, "parameter", before) is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("def f(a): pass", "def f(a, *, k=None): pass", "near line 1: 6 tokens are new, and 4 were asked for"),
        ("def f(a): pass", "def f(a, k=None,): pass", "near line 1: 5 tokens are new, and 4 were asked for"),
        ("def f(a, *, b): pass", "def f(a, *, b, k): pass", "near line 1: 1 parts became 2"),
        ("def f(a, *, b): pass", "def f(a, *, b, k=1): pass", "near line 1: 1 parts became 2"),
        ("def f(a, *, b): pass", "def f(a, k=None, *, b): pass", ""),
        ("def f(a): pass", "def f(a, k): pass", "near line 1: 1 parts became 2"),
        ("def f(a): pass", "def f(a, k={}): pass", "near line 1: 0 parts became 1"),
        ("def f(a): pass", "def f(a, k=[{1: []}.x]): pass", "near line 1: 0 parts became 1"),
        ("def f(a): pass", "def f(a, k={[]: 1}): pass", "near line 1: 0 parts became 1"),
        ("def f(a): pass", "async def f(a, k=None): pass", "line 1: FunctionDef became AsyncFunctionDef"),
        ("def f(a): pass", "class f: pass", "line 1: FunctionDef became ClassDef"),
    ],
)
def test_a_parameter_that_would_shift_others_or_has_no_plain_default(before: str, after: str, words: str) -> None:
    assert put(before, after, "parameter", before) == (words or None)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("f(k=k)", "f(k=k)", None),
        ("f({'k': k})", "f({'k': k})", None),
        ("f(k=a)", "f(k=a)", "line 1: the call did not get 'k'"),
        ("f(k=a)", "f(k=k)", "line 1: 'a' became 'k'"),
        ("f(a)", "f(a, **{'k': k})", "near line 1: 0 parts became 1"),
        ("f(a)", "f(a, k)", "near line 1: 1 parts became 2"),
        ("f(a)", "f(k=k)", "near line 1: 1 parts became 0"),
        ("f(a)", "f[a]", "line 1: Call became Subscript"),
        ("f(a)", "{'k': k}", "line 1: Call became Dict"),
    ],
)
def test_a_keyword_that_is_there_as_asked_or_not(before: str, after: str, words: str | None) -> None:
    old = "{'k': k}" if "{" in before else before
    assert put(before, after, "dict" if "{" in before else "call", old) == words


def test_two_changes_of_one_call_of_which_one_is_made_already() -> None:
    changes = [SourceChange("/x.py", "call", Span(1, 0, 1, 6), key, "k") for key in ("k", "b")]
    assert compare_source(b"f(k=k)", b"f(k=k, b=k)", changes) is None
    assert compare_source(b"f(k=k)", b"f(b=k)", changes) == "near line 1: 1 parts became 0"


@pytest.mark.parametrize(
    ("after", "default", "words"),
    [
        ("f(k=k)", None, None),
        ("f(k=self.k)", None, "line 1: Constant became Attribute"),
        ("f(k=[k])", None, "line 1: Constant became List"),
    ],
)
def test_a_value_is_the_one_asked_for(after: str, default: object, words: str | None) -> None:
    assert put("f(k=None)", after, "value", "None", default=default) == words
    change = SourceChange("/x.py", "value", Span(1, 4, 1, 8), "k", "", "/d")
    assert compare_source(b"f(k=None)", b"f(k='/d')", [change]) is None
    assert compare_source(b"f(k=None)", b"f(k='/e')", [change]) == "line 1: NoneType became str"


def test_sources_that_cannot_be_read() -> None:
    assert compare_source(b"x = (", b"x = 1", []) == (
        "line 1 of the source cannot be read: the file is not Python: '(' was never closed"
    )
    assert compare_source(b"\n\0", b"x = 1", []) == "line 2 of the source cannot be read: the file holds a NUL byte"
    assert compare_source(b"x = 1", b"x = 1", []) is None
    change = SourceChange("/x.py", "call", Span(3, 0, 3, 4), "k", "k")
    assert compare_source(b"x = 1", b"x = 1", [change]) == "line 3: the call did not get 'k'"
