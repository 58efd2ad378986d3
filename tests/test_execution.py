"""What the evaluation of a loader says is what Python does: each source is evaluated, run for real, and compared."""

from __future__ import annotations

import itertools
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from executing import CACHE_DIR, LOCAL_FILES_ONLY, Run, covers, runs, same
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import values, write
from small_loaders import BODY, CASES, CHECKOUTS, COVERED, HEAD, NOTES
from strategies import MAX_EXAMPLES, fuzz

from rewriter.loaders import Sources
from rewriter.types import Trace


def loader(source: str) -> str:
    """A whole file that registers ``f``."""
    return HEAD + (source if "register_module()" in source else BODY + source)


def checked(folder: Path, source: str) -> tuple[Trace, list[Run]]:
    """What the evaluation says of ``f(path="o/n", ...)``, and what happened."""
    write(folder, loaders=loader(source))
    keywords = {"path": "o/n", "cache_dir": CACHE_DIR, "local_files_only": LOCAL_FILES_ONLY}
    return Sources(str(folder)).trace("f", values(**keywords)), runs(folder, "f", keywords)


@pytest.mark.parametrize("source", CASES.values(), ids=CASES)
def test_the_evaluation_says_what_happens(tmp_path: Path, source: str) -> None:
    same(*checked(tmp_path, source))


@pytest.mark.parametrize("source", COVERED.values(), ids=COVERED)
def test_what_happens_is_among_what_the_evaluation_says(tmp_path: Path, source: str) -> None:
    covers(*checked(tmp_path, source))


# --- several files, and values of the config ------------------------------------------------------


@pytest.mark.parametrize("files", CHECKOUTS.values(), ids=CHECKOUTS)
def test_names_are_taken_from_where_python_takes_them(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, **{name: HEAD + text for name, text in files.items()})
    keywords = {"path": "o/n", "cache_dir": CACHE_DIR}
    covers(Sources(str(tmp_path)).trace("f", values(**keywords)), runs(tmp_path, "f", keywords))
    same(Sources(str(tmp_path)).trace("f", values(**keywords)), runs(tmp_path, "f", keywords))


def test_values_of_the_config_are_what_they_are(tmp_path: Path) -> None:
    body = """
@MODELS.register_module("inner")
class Inner:
    def __init__(self, names, pair, options, cache_dir=None):
        for name in names:
            AutoModel.from_pretrained(name, subfolder=pair[1], cache_dir=cache_dir)
        names.append("o/new")
        AutoModel.from_pretrained(names[-1], **options)

@MODELS.register_module()
def f(part, parts):
    build_module(part, MODELS)
    for each in parts:
        build_module(each, MODELS, options={})
    """
    write(tmp_path, loaders=HEAD + body)
    part = {"type": "inner", "pair": (1, "s"), "options": {"revision": "r"}}
    first = {**part, "names": ["o/a", "o/b"], "cache_dir": CACHE_DIR}
    keywords = {"part": first, "parts": [{**part, "names": ["o/c"]}, {**part, "names": []}]}
    trace = Sources(str(tmp_path)).trace("f", values(**keywords))
    same(trace, runs(tmp_path, "f", keywords))
    assert [call.via for call in trace.calls] == [("part",)] * 3 + [("parts",)] * 2
    assert [call.hard_coded for call in trace.calls] == [False, False, True, False, True]


# --- what cannot be followed is said --------------------------------------------------------------


@pytest.mark.parametrize(("source", "note"), NOTES.values(), ids=NOTES)
def test_what_cannot_be_followed_is_said(tmp_path: Path, source: str, note: str) -> None:
    text = loader(source)
    line = next((place for place, each in enumerate(text.splitlines(), 1) if each.endswith("# here")), 0)
    write(tmp_path, loaders=text)
    result = Sources(str(tmp_path)).trace("f", values(path="o/n"))
    assert result.unknown == (note.format(here=f"opensora/loaders.py:{line}"),)


# --- generated loaders ----------------------------------------------------------------------------

few = settings(fuzz, max_examples=max(MAX_EXAMPLES // 3, 1))  # each is run up to 64 times

WORLD = """
class Settings:
    def __init__(self, repo):
        self.repo = repo

    def use(self, repo):
        if coin():
            self.repo = repo
            return self.repo
        return repo

class Loader:
    def __init__(self, settings):
        self.settings = settings

    def load(self, repo=None):
        if repo is None:
            repo = self.settings.repo
        return AutoModel.from_pretrained(repo)

def set_in(options, repo):
    options["repo"] = repo
    return options.get("folder", repo)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    a, b = "o/a", path
    options = {"repo": "o/options", "cache_dir": cache_dir}
    settings = Settings("o/settings")
    loader = Loader(settings)
    repos = ["o/first"]
    def inner(repo):
        nonlocal b
        AutoTokenizer.from_pretrained(repo, cache_dir=options.get("cache_dir"))
        if coin():
            b = repo
            return "o/inner"
        return a
"""

REPOS = [
    *("a", "b", "path", '"o/new"', 'options["repo"]', "settings.repo", "loader.settings.repo", 'a + "-x"', 'f"{b}-y"'),
    *("(a if coin() else b)", "(a or b)", "(coin() and a) or b", "repos[0]", 'options.get("none", a)', "(a := b)"),
    *("inner(a)", "settings.use(b)", "set_in(options, a)", "dict(options)['repo']", "[b, a][0]", "repos[-1:][0]"),
]
TESTS = [
    "coin()",
    "coin()",
    'a == "o/a"',
    "a == b",
    "not coin()",
    "coin() or b is None",
    "b in repos",
    "len(repos) < 2",
]
SIMPLE = [
    *("a = {repo}", "b = {repo}", 'options["repo"] = {repo}', "settings.repo = {repo}", "a, b = b, {repo}"),
    *("options.update(repo={repo})", "options = dict(options, repo={repo})", "repos.append({repo})", "b += '-z'"),
    *("AutoModel.from_pretrained({repo}, cache_dir=options.get('cache_dir'))", "loader.load()", "loader.load({repo})"),
    *("options['cache_dir'] = None", "options.pop('cache_dir', None)", "loader.settings = Settings({repo})", "fail()"),
    *("repos += [{repo}]", "[AutoModel.from_pretrained(repo) for repo in (a, b) if coin()]", "a = inner(b)"),
    *("settings.use({repo})", "set_in(options, {repo})", "del options['repo']; options['repo'] = {repo}"),
]
LEAVING = ["return", "return AutoModel.from_pretrained({repo})", "raise ValueError"]
LEAVING_LOOPS = ["break", "continue"]
HEADS = {
    "if {test}:": ["else:", "elif {test}:", None],
    "for each in (a, {repo}):": ["else:", None],
    "for each in some({repo}):": ["else:", None],
    "for a in list(repos):": [None],
    "while coin():": ["else:", None],
    "try:": ["except ValueError:", "finally:"],
    "with contextlib.nullcontext(1):": [None],
    "match {repo}:": [None],
}


@st.composite
def block(draw: Any, indent: str = "    ", depth: int = 2, looping: bool = False) -> str:
    """A few statements, one of which may leave what stands around it."""
    lines = [draw(statement(indent, depth, looping)) for _ in range(draw(st.integers(1, 3)))]
    if depth < 2 and draw(st.integers(0, 3)) == 0:
        leaving = draw(st.sampled_from([*LEAVING, *(LEAVING_LOOPS * 2 if looping else [])]))
        lines.append(indent + leaving.format(repo=draw(st.sampled_from(REPOS))))
    return "\n".join(lines)


@st.composite
def statement(draw: Any, indent: str, depth: int, looping: bool) -> str:
    repo, test = draw(st.sampled_from(REPOS)), draw(st.sampled_from(TESTS))
    if not depth or draw(st.booleans()):
        return indent + draw(st.sampled_from(SIMPLE)).format(repo=repo)
    head = draw(st.sampled_from(list(HEADS)))
    inside = looping or head.startswith(("for", "while"))
    deeper = indent + "    "
    if head.startswith("match"):
        cases = ['case "o/a":', "case None:", "case other if coin():", "case _:"]
        bodies = [f"{deeper}{case}\n{draw(block(deeper + '    ', depth - 1, inside))}" for case in cases]
        return "\n".join([indent + head.format(repo=repo), *bodies])
    lines = [indent + head.format(repo=repo, test=test), draw(block(deeper, depth - 1, inside))]
    second = draw(st.sampled_from(HEADS[head]))
    if second is not None:
        after = looping if second == "else:" and head.startswith(("for", "while")) else inside
        lines += [indent + second.format(test=test), draw(block(deeper, depth - 1, after))]
    return "\n".join(lines)


def whole(body: str) -> str:
    """A loader with this body that loads whatever there is in the end."""
    source = f"{WORLD}{body}\n    AutoModel.from_pretrained(a)\n    AutoModel.from_pretrained(settings.repo)\n"
    return (
        source
        + """
    AutoModel.from_pretrained(options["repo"], cache_dir=options.get("cache_dir"))
    loader.load(b)
"""
    )


@few
@given(body=block())
def test_what_generated_loaders_do_is_among_what_the_evaluation_says(body: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        covers(*checked(Path(folder), whole(body)))


@few
@given(body=block(), tosses=st.lists(st.booleans(), min_size=1, max_size=5))
def test_generated_loaders_with_nothing_unknown_do_what_the_evaluation_says(body: str, tosses: list[bool]) -> None:
    known = {"while coin()": "while a is None", "fail()": "pass", "try:": "if True:", "except ValueError:": "else:",
             "finally:": "if True:"}  # fmt: skip
    for text, other in known.items():
        body = body.replace(text, other)
    body = re.sub(r"\bsome\((.*)\):", r"[\1]:", body)
    tossed = itertools.cycle(map(str, tosses))
    source = re.sub(r"coin\(\)", lambda _: next(tossed), whole(body))
    with tempfile.TemporaryDirectory() as folder:
        trace, happened = checked(Path(folder), source)
        if happened[0].is_whole:
            same(trace, happened)
        else:
            covers(trace, happened)
