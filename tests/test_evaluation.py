"""What the evaluation of a loader says, to the letter: each call, how sure it is, which keywords reach it, what fails.

``tests/test_execution.py`` compares with what happens; here it is also asserted how much is told where not all can be.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from executing import CACHE_DIR, covers, runs
from loading import sources, values
from small_loaders import BODY, HEAD

from rewriter.loaders.evaluate import Evaluation
from rewriter.loaders.frames import Virtual
from rewriter.types import HubCall, Trace


def evaluated(root: Path, source: str, **keywords: object) -> Trace:
    """The trace of ``f(path="o/n", cache_dir=...)``: ``source`` is its body, or the whole file behind the imports."""
    text = HEAD + (source if "register_module()" in source else BODY + source)
    return sources(root, loaders=text).trace("f", values(path="o/n", cache_dir=CACHE_DIR, **keywords))


def said(call: HubCall) -> str:
    """The repo, or ``<what is written>`` where it is not known; ``?``: it may not be reached; the keywords it gets."""
    repo = call.repo_id if call.repo_id is not None else f"<{call.repo_text}>"
    return " +".join([repo + "?" * (not call.certain), *sorted(call.reached)])


# Bodies of ``f``, or sources that register it, with the calls that are told.
CASES: dict[str, tuple[str, list[str]]] = {
    # --- dicts
    "a key that is not known may be any": (
        """
    options = {"folder": "s"}
    options[itself("repo")] = "o/a"
    AutoModel.from_pretrained(options.get("repo", "o/default"))
    """,
        ["o/default?", "<options.get('repo', 'o/default')>?"],
    ),
    "popitem may take any key": (
        """
    options = {"repo": "o/a", "folder": "s"}
    options.popitem()
    AutoModel.from_pretrained(options.get("repo", "o/default"))
    """,
        ["o/a?", "<options.get('repo', 'o/default')>?"],
    ),
    "setdefault of a key that is not known": (
        """
    options = {"repo": "o/a"}
    options.setdefault(itself("folder"), "s")
    AutoModel.from_pretrained(options["repo"])
    """,
        ["o/a?", "<options['repo']>?"],
    ),
    "an update that is not known": (
        """
    options = {"folder": "s"}
    options.update(itself({"repo": path}))
    AutoModel.from_pretrained(options.get("repo", "o/default"))
    """,
        ["o/default?", "<options.get('repo', 'o/default')>?"],
    ),
    "a key of one of two dicts": (
        """
    one, two = {"repo": "o/a"}, {"repo": "o/b"}
    held = one if coin() else two
    held["repo"] = path
    AutoModel.from_pretrained(one["repo"])
    """,
        ["o/a?", "o/n?"],
    ),
    "one dict, whichever way": (
        """
    options = {"repo": "o/a"}
    held = options if coin() else options
    held["repo"] = "o/b"
    AutoModel.from_pretrained(options["repo"])
    """,
        ["o/b"],
    ),
    "a key that is gone on both branches": (
        """
    options = {"repo": "o/a"}
    if coin():
        del options["repo"]
    else:
        del options["repo"]
    AutoModel.from_pretrained(options.get("repo", "o/default"))
    """,
        ["o/default"],
    ),
    "a key that a loop may set": (
        """
    options = {}
    for _ in some(1):
        options["repo"] = "o/a"
    AutoModel.from_pretrained(options.get("repo", "o/default"))
    """,
        ["<options.get('repo', 'o/default')>"],
    ),
    "keys of a comprehension over what is not known": (
        """
    AutoModel.from_pretrained({"repo": path for _ in some(1)}.get("repo", "o/default"))
    """,
        ["o/default?", "<{'repo': path for _ in some(1)}.get('repo', 'o/default')>?"],
    ),
    "keys of a comprehension that are not known": (
        """
    options = {itself(name): "o/a" for name in ("repo",)}
    AutoModel.from_pretrained(options.get("repo", "o/default"))
    """,
        ["o/default?", "<options.get('repo', 'o/default')>?"],
    ),
    "a set is joined, and nothing is known of it": (
        """
    bits = 1 | 2
    if bits:
        AutoModel.from_pretrained(path)
    """,
        ["o/n?"],
    ),
    "a key of a display that is not known": (
        """
    options = {itself("repo"): "o/a"}
    AutoModel.from_pretrained(options.get("repo", "o/default"))
    """,
        ["o/default?", "<options.get('repo', 'o/default')>?"],
    ),
    "a key that was never there": (
        """
    options = {"repo": "o/a"}
    if coin():
        del options["folder"]
    AutoModel.from_pretrained(options["repo"])
    """,
        ["o/a"],
    ),
    "two dicts that a branch sets the same key of": (
        """
    one, two = {"repo": "o/a"}, {"repo": "o/b"}
    if coin():
        one["repo"] = "o/c"
        two["repo"] = "o/d"
    AutoModel.from_pretrained(one["repo"])
    AutoModel.from_pretrained(two["repo"])
    """,
        ["o/c?", "o/a?", "o/d?", "o/b?"],
    ),
    # --- lists
    "what is removed is not known": (
        """
    parts = [("o/a",), ("o/b",)]
    parts.remove(("o/a",))
    AutoModel.from_pretrained(parts[0][0])
    """,
        ["<parts[0][0]>"],
    ),
    "a list that a function may change": (
        """
    def add(repos):
        if coin():
            return
        repos.append("o/b")
    repos = ["o/a"]
    add(repos)
    for repo in repos:
        AutoModel.from_pretrained(repo)
    """,
        ["<repo>?"],
    ),
    "methods that only look": (
        """
    repos = ["o/a", "o/b"]
    repos.copy(), repos.count("o/a"), repos.index("o/b")
    for repo in repos:
        AutoModel.from_pretrained(repo)
    """,
        ["o/a", "o/b"],
    ),
    "what changes a list gives None": (
        """
    repos = ["o/a"]
    if repos.append("o/b") is None and repos.extend(["o/c"]) is None and repos.insert(0, "o/d") is None:
        AutoModel.from_pretrained(path)
    """,
        ["o/n"],
    ),
    "an element that is taken out": (
        """
    repos = ["o/a"]
    if repos.pop():
        AutoModel.from_pretrained(path)
    """,
        ["o/n?"],
    ),
    "a list of which not all is known is handed over": (
        """
class Box:
    def __init__(self, repos):
        self.repos = repos

@MODELS.register_module()
def f(path, cache_dir=None):
    repos = ["o/a"]
    repos.insert(0, "o/b")
    box = Box(repos)
    AutoModel.from_pretrained(box.repos[0])
    """,
        ["<box.repos[0]>"],
    ),
    "how many a comprehension makes": (
        """
    if len([each for each in some(1)]) == 1:
        AutoModel.from_pretrained("o/a")
    if len([each for each in (1, 2) if coin()]) == 2:
        AutoModel.from_pretrained("o/b")
    """,
        ["o/a?", "o/b?"],
    ),
    "which ones a comprehension takes": (
        """
    [AutoModel.from_pretrained(repo) for repo in ("o/a", "o/b") if repo == "o/a" if path is None]
    [AutoModel.from_pretrained(repo) for repo in ("o/c",) if coin()]
    """,
        ["o/c?"],
    ),
    "what a comprehension may set": (
        """
    repo = "o/a"
    [repo := "o/b" for _ in some(1)]
    AutoModel.from_pretrained(repo)
    """,
        ["o/b?", "o/a?"],
    ),
    "what a star takes": (
        """
    first, *rest = ["o/a"]
    AutoModel.from_pretrained(first, subfolder=str(len(rest)))
    *before, last = ["o/b", "o/c", "o/d"]
    AutoModel.from_pretrained(last)
    AutoModel.from_pretrained(before[-1])
    one, *middle, two = ["o/e", "o/f", "o/g", "o/h"]
    AutoModel.from_pretrained(two)
    for repo in middle:
        AutoModel.from_pretrained(repo)
    """,
        ["o/a", "o/d", "o/c", "o/h", "o/f", "o/g"],
    ),
    "too few for a star": (
        """
    try:
        first, *rest, last = ["o/a"]
    except ValueError:
        first = "o/b"
    AutoModel.from_pretrained(first)
    """,
        ["<first>?", "o/b?"],
    ),
    # --- what may stand
    "one of five": (
        """
    repo = "o/a" if coin() else "o/b" if coin() else "o/c" if coin() else "o/d" if coin() else "o/e"
    AutoModel.from_pretrained(repo)
    """,
        ["<repo>"],
    ),
    "one of four": (
        """
    repo = "o/a" if coin() else "o/b" if coin() else "o/c" if coin() else "o/d"
    AutoModel.from_pretrained(repo)
    """,
        ["o/a?", "o/b?", "o/c?", "o/d?"],
    ),
    "one that is not known, or another that is not": (
        """
    repo = itself("o/a") if coin() else itself("o/b")
    AutoModel.from_pretrained(repo)
    """,
        ["<repo>"],
    ),
    "names that change in turn": (
        """
    one, two, three = "o/a", "o/b", "o/c"
    for _ in some(1):
        one, two, three = two, three, "o/d"
    AutoModel.from_pretrained(one)
    AutoModel.from_pretrained(three)
    """,
        ["<one>", "o/c?", "o/d?"],
    ),
    "arithmetic": (
        """
    size = 1
    size *= 2
    AutoModel.from_pretrained(f"o/{size}")
    """,
        ["<f'o/{size}'>"],
    ),
    "a repo that is written at length": (
        f"""
    AutoModel.from_pretrained(itself("{"x" * 300}"))
    AutoModel.from_pretrained(pretrained_model_name_or_path=itself(path))
    """,
        [f"<itself('{'x' * 192}>", "<itself(path)>"],
    ),
    # --- functions and classes
    "keywords that are not known are bound before": (
        """
    def load(repo="o/default"):
        AutoModel.from_pretrained(repo)
    functools.partial(load, **itself({"repo": path}))()
    functools.partial(load)(**itself({"repo": path}))
    """,
        ["<repo>", "<repo>"],
    ),
    "a property": (
        """
class Box:
    def __init__(self, repo):
        self._repo = repo
    @property
    def repo(self):
        return self._repo

@MODELS.register_module()
def f(path, cache_dir=None):
    AutoModel.from_pretrained(Box(path).repo)
    """,
        ["o/n"],
    ),
    "what a generator does before it gives anything": (
        """
    def make():
        AutoModel.from_pretrained(path)
        yield
    for _ in make():
        pass
    """,
        ["o/n"],
    ),
    "the config of a model": (
        """
class Settings(PretrainedConfig):
    def __init__(self, repo=None, **kwargs):
        super().__init__(**kwargs)
        self.repo = repo

class Model(PreTrainedModel):
    def load(self):
        AutoModel.from_pretrained(self.config.repo)

class Other(PreTrainedModel):
    def __init__(self, settings):
        super().__init__(settings)
        AutoTokenizer.from_pretrained(self.config.repo)

@MODELS.register_module()
def f(path, cache_dir=None):
    Model(Settings(path)).load()
    Other(Settings("o/other"))
    """,
        ["o/n", "o/other"],
    ),
    "a config that is given to from_pretrained": (
        """
class Settings(PretrainedConfig):
    def __init__(self, repo=None, **kwargs):
        super().__init__(**kwargs)
        self.repo = repo

class Own(PreTrainedModel):
    def __init__(self, settings):
        super().__init__(settings)
        AutoModel.from_pretrained(settings.repo)

@MODELS.register_module()
def f(path, cache_dir=None):
    Own.from_pretrained(path, config=Settings("o/inner"))
    """,
        ["o/n", "o/inner"],
    ),
    "keywords that are not known are given to from_pretrained": (
        """
class Own(PreTrainedModel):
    def __init__(self, repo="o/default"):
        super().__init__()
        AutoModel.from_pretrained(repo)

@MODELS.register_module()
def f(path, cache_dir=None):
    Own.from_pretrained(path, **itself({"repo": "o/inner"}))
    """,
        ["o/n", "<repo>"],
    ),
    "fields of a dataclass that keep their defaults": (
        """
@dataclass
class Settings:
    repo: str = "o/default"
    folder: str = "s"

@MODELS.register_module()
def f(path, cache_dir=None):
    settings = Settings()
    AutoModel.from_pretrained(settings.repo)
    setattr(settings, itself("repo"), path)
    AutoTokenizer.from_pretrained(settings.repo)
    """,
        ["o/default", "o/default?", "<settings.repo>?"],
    ),
    "a function that becomes a method keeps its defaults": (
        """
    class Box:
        pass
    name = path
    def load(self, repo=name):
        AutoModel.from_pretrained(repo)
    name = "o/later"
    Box.load = load
    Box().load()
    """,
        ["o/n"],
    ),
    "a static method of a class of its own": (
        """
    repo = "o/a"
    class Box:
        @staticmethod
        def put():
            nonlocal repo
            repo = "o/b"
    Box.put()
    AutoModel.from_pretrained(repo)
    """,
        ["o/b"],
    ),
    "keywords that are not known, beside a list": (
        """
class Box:
    def __init__(self, names, repo="o/default"):
        self.repo = repo

@MODELS.register_module()
def f(path, cache_dir=None):
    AutoModel.from_pretrained(Box(["o/a"], **itself({"repo": path})).repo)
    """,
        ["<Box(['o/a'], **itself({'repo': path})).repo>"],
    ),
    # --- what is put off
    "an object changes a dict that it is given": (
        """
class Box:
    def put(self, options):
        options["repo"] = "o/b"
    def info(self, options):
        options["repo"] = "o/c"

@MODELS.register_module()
def f(path, cache_dir=None):
    options = {"repo": "o/a"}
    Box().put(options)
    AutoModel.from_pretrained(options["repo"])
    Box().info(options)
    AutoModel.from_pretrained(options["repo"])
    """,
        ["o/b", "o/c"],
    ),
    "an object with any keywords changes a dict": (
        """
class Box:
    def __init__(self, **kwargs):
        self.kwargs = dict(**kwargs)
    def info(self, options):
        options["repo"] = "o/b"

@MODELS.register_module()
def f(path, cache_dir=None):
    options = {"repo": "o/a"}
    Box(size=1).info(options)
    AutoModel.from_pretrained(options["repo"])
    """,
        ["o/b"],
    ),
    "a function changes an object that was asked before": (
        """
class Box:
    def __init__(self, repo):
        self.repo = repo

def change(box):
    box.repo = "o/b"

@MODELS.register_module()
def f(path, cache_dir=None):
    box = Box("o/a")
    AutoModel.from_pretrained(box.repo)
    change(box)
    AutoModel.from_pretrained(box.repo)
    """,
        ["o/a", "o/b"],
    ),
    "an object changes another": (
        """
class Box:
    def __init__(self, repo):
        self.repo = repo
    def put(self, other):
        other.repo = self.repo

@MODELS.register_module()
def f(path, cache_dir=None):
    one, two = Box("o/a"), Box("o/b")
    one.put(two)
    AutoModel.from_pretrained(two.repo)
    """,
        ["o/a"],
    ),
    "a dict that an object holds as well": (
        """
class Box:
    pass

@MODELS.register_module()
def f(path, cache_dir=None):
    box, options = Box(), {"repo": "o/a"}
    box.options = options
    box.options["repo"] = "o/b"
    AutoModel.from_pretrained(options["repo"])
    """,
        ["o/b"],
    ),
    "an object is changed in a try": (
        """
class Box:
    def __init__(self, repo):
        self.repo = repo

@MODELS.register_module()
def f(path, cache_dir=None):
    box = Box("o/a")
    try:
        fail()
        box.repo = "o/b"
    except ValueError:
        pass
    AutoModel.from_pretrained(box.repo)
    """,
        ["o/b?", "o/a?"],
    ),
    "an object is changed after a possible return": (
        """
class Box:
    def __init__(self, repo):
        self.repo = repo

@MODELS.register_module()
def f(path, cache_dir=None):
    def change(box):
        if coin():
            return
        box.repo = "o/b"
    box = Box("o/a")
    change(box)
    AutoModel.from_pretrained(box.repo)
    """,
        ["o/a?", "o/b?"],
    ),
    "a function that is given a method, or a function of its own": (
        """
class Box:
    def __init__(self, repo):
        self.repo = repo
    def put(self):
        self.repo = "o/b"

def call(it):
    it()

@MODELS.register_module()
def f(path, cache_dir=None):
    box = Box("o/a")
    AutoModel.from_pretrained(box.repo)
    call(box.put)
    AutoModel.from_pretrained(box.repo)
    repo = "o/c"
    def other():
        nonlocal repo
        repo = "o/d"
    call(other)
    AutoModel.from_pretrained(repo)
    """,
        ["o/a", "o/b", "o/d"],
    ),
    "what is asked for in a loop was made before it": (
        """
class Small:
    def __init__(self, repo):
        self.repo = repo

class Box:
    def __init__(self, path):
        if Small(path).repo == path:
            self.options = {"repo": "o/a"}

@MODELS.register_module()
def f(path, cache_dir=None):
    box = Box(path)
    for _ in some(1):
        AutoModel.from_pretrained(box.options["repo"])
        box.options["repo"] = "o/b"
    """,
        ["o/a?", "o/b?"],
    ),
    "what is asked for in a try": (
        """
class Box:
    def __init__(self, repo):
        self.repo = repo

@MODELS.register_module()
def f(path, cache_dir=None):
    box = Box("o/box")
    repo = "o/a"
    try:
        AutoModel.from_pretrained(box.repo)
        repo = "o/b"
        fail()
        repo = "o/c"
    except ValueError:
        AutoModel.from_pretrained(repo)
    """,
        ["o/box", "o/a?", "o/b?", "o/c?"],
    ),
    # --- modules
    "names of a module that several statements set": (
        """
FIRST, *REST = ["o/a", "o/b"]
OWNER = "o/c"
OWNER = "o/d"

@MODELS.register_module()
def f(path, cache_dir=None):
    AutoModel.from_pretrained(REST[0])
    AutoModel.from_pretrained(OWNER)
    """,
        ["<REST[0]>", "<OWNER>"],
    ),
    # --- match
    "match, names of what is not known": (
        """
    rest = "o/rest"
    match itself({"a": 1, "b": 2}):
        case {"a": 1, **rest}:
            pass
    AutoModel.from_pretrained(rest)
    """,
        ["<rest>"],
    ),
    "match, a part of what is known": (
        """
    match path:
        case [repo]:
            AutoModel.from_pretrained(repo)
    """,
        ["<repo>?"],
    ),
    "match, a condition that is known": (
        """
    match itself([path]):
        case [_] if path is None:
            AutoModel.from_pretrained("o/never")
        case [_] if path:
            AutoModel.from_pretrained("o/may")
    """,
        ["o/may?"],
    ),
    "match, single values": (
        """
    match cache_dir is None:
        case True:
            AutoModel.from_pretrained("o/true")
        case False:
            AutoModel.from_pretrained("o/false")
    match path is None, 1:
        case [] | 1:
            AutoModel.from_pretrained("o/may")
    """,
        ["o/false", "o/may?"],
    ),
    # --- for
    "for, over a name that has a value": (
        """
    repo = "o/a"
    for repo in some(path):
        AutoModel.from_pretrained(repo)
    """,
        ["<repo>?"],
    ),
    "for, an error on one branch": (
        """
    if coin():
        for _ in (1, 2):
            raise ValueError
    AutoModel.from_pretrained(path)
    """,
        ["o/n"],
    ),
    "for, a return on one branch": (
        """
    if coin():
        for _ in (1, 2):
            return
    AutoModel.from_pretrained(path)
    """,
        ["o/n?"],
    ),
    "an error either way, on one branch": (
        """
    if coin():
        if coin():
            raise ValueError
        else:
            raise KeyError
    AutoModel.from_pretrained(path)
    """,
        ["o/n"],
    ),
    # --- while, with
    "while, a test that loads": (
        """
    repo = "o/a"
    while AutoModel.from_pretrained(repo) and coin():
        repo = "o/b"
    """,
        ["o/a", "o/b?"],
    ),
    "with an object that is loaded from when it is left": (
        """
    class Session:
        def __init__(self, repo):
            self.repo = repo
        def __enter__(self):
            return self
        def __exit__(self, *_):
            AutoTokenizer.from_pretrained(self.repo)
    nothing = contextlib.nullcontext()
    with Session(path), nothing:
        AutoModel.from_pretrained("o/inner")
    """,
        ["o/inner", "o/n"],
    ),
    # --- try
    "an error that got a name": (
        """
    error = "o/error"
    try:
        fail()
    except ValueError as error:
        AutoModel.from_pretrained(error)
    """,
        ["<error>?"],
    ),
    "two dicts that a try sets the same key of": (
        """
    one, two = {"repo": "o/a"}, {"repo": "o/b"}
    try:
        one["repo"] = "o/c"
        two["repo"] = "o/d"
        fail()
    except ValueError:
        AutoModel.from_pretrained(one["repo"])
        AutoModel.from_pretrained(two["repo"])
    """,
        ["o/a?", "o/c?", "o/b?", "o/d?"],
    ),
    "what an inner try had set when the outer one ended": (
        """
    repo = "o/a"
    try:
        try:
            repo = "o/b"
            fail()
            repo = "o/c"
        except KeyError:
            return
        fail()
    except ValueError:
        AutoModel.from_pretrained(repo)
    """,
        ["o/a?", "o/b?", "o/c?"],
    ),
    "else of a try that may not be reached": (
        """
    if coin():
        try:
            pass
        except ValueError:
            pass
        else:
            AutoModel.from_pretrained(path)
    """,
        ["o/n?"],
    ),
    "a list that grows behind a try": (
        """
    repos = ["o/a"]
    try:
        try:
            pass
        except KeyError:
            pass
    except ValueError:
        pass
    repos.append("o/b")
    for repo in repos:
        AutoModel.from_pretrained(repo)
    """,
        ["o/a", "o/b"],
    ),
    "a list that may grow in a try": (
        """
    repos = ["o/a"]
    try:
        try:
            pass
        except KeyError:
            pass
        fail()
        repos.append("o/b")
    except ValueError:
        pass
    for repo in repos:
        AutoModel.from_pretrained(repo)
    """,
        ["<repo>?"],
    ),
    "a possible return out of a try": (
        """
    try:
        if coin():
            return
    except ValueError:
        pass
    AutoModel.from_pretrained(path)
    """,
        ["o/n?"],
    ),
    "a possible continue out of a try": (
        """
    for repo in ("o/a", "o/b"):
        try:
            if coin():
                continue
        except ValueError:
            pass
        AutoModel.from_pretrained(repo)
    """,
        ["o/a?", "o/b?"],
    ),
    "a possible break out of a try": (
        """
    for repo in ("o/a", "o/b"):
        try:
            if coin():
                break
        except ValueError:
            pass
        AutoModel.from_pretrained(repo)
    """,
        ["o/a?", "o/b?"],
    ),
    "a try that always raises, on one branch": (
        """
    if coin():
        try:
            raise ValueError
        except ValueError:
            raise KeyError
    AutoModel.from_pretrained(path)
    """,
        ["o/n"],
    ),
    "a try that is always left, on one branch": (
        """
    if coin():
        try:
            raise ValueError
        except ValueError:
            return
    AutoModel.from_pretrained(path)
    """,
        ["o/n?"],
    ),
    "a return or an error, on one branch": (
        """
    if coin():
        if coin():
            return
        else:
            raise ValueError
    AutoModel.from_pretrained(path)
    """,
        ["o/n?"],
    ),
    "an error in a loop, after one before it": (
        """
    def check():
        if coin():
            raise ValueError
    try:
        check()
        for turn in (1, 2):
            if turn == 2:
                AutoModel.from_pretrained(path)
            check()
    except ValueError:
        pass
    """,
        ["o/n?"],
    ),
    "finally may return": (
        """
    if coin():
        try:
            raise ValueError
        finally:
            if coin():
                return
    AutoModel.from_pretrained(path)
    """,
        ["o/n?"],
    ),
    "finally changes what it returns": (
        """
    one, two = "o/a", "o/b"
    try:
        raise ValueError
    finally:
        one, two = two, one
        return AutoModel.from_pretrained(one)
    """,
        ["o/b?"],
    ),
    "finally changes what it returns, whichever way it is reached": (
        """
    one, two = "o/a", "o/b"
    try:
        if coin():
            raise ValueError
    finally:
        one, two = two, one
        if coin():
            return AutoModel.from_pretrained(one)
    AutoTokenizer.from_pretrained(one)
    """,
        ["o/b?", "o/b?"],
    ),
    "finally has a loop that is left": (
        """
    if coin():
        try:
            raise ValueError
        finally:
            for each in (1, 2):
                break
    AutoModel.from_pretrained(path)
    """,
        ["o/n"],
    ),
    "finally may raise": (
        """
    try:
        try:
            pass
        finally:
            if coin():
                raise ValueError
        AutoModel.from_pretrained(path)
    except ValueError:
        pass
    AutoTokenizer.from_pretrained(path)
    """,
        ["o/n?", "o/n"],
    ),
    "what is set before a return behind a finally": (
        """
    class Holder:
        def __init__(self):
            self.repo = "o/before"
            self.choose()
            AutoModel.from_pretrained(self.repo)
        def choose(self):
            try:
                pass
            finally:
                pass
            if coin():
                self.repo = "o/early"
                return
            self.repo = "o/late"
    Holder()
    """,
        ["o/early?", "o/late?"],
    ),
    "a helper that may give nothing": (
        """
def pick(repo):
    if coin():
        return repo

@MODELS.register_module()
def f(path, cache_dir=None):
    AutoModel.from_pretrained(pick(path))
    """,
        ["o/n?", "<None>?"],
    ),
    "a tuple of arguments never grows": (
        """
def load(*names):
    before = names
    names += ("z",)
    AutoModel.from_pretrained(f"o/{len(before)}{len(names)}")

@MODELS.register_module()
def f(path, cache_dir=None):
    load(path)
    """,
        ["o/12"],
    ),
    "keywords that are not all known": (
        """
def load(**options):
    AutoModel.from_pretrained(options.get("repo", "o/default"))

@MODELS.register_module()
def f(path, cache_dir=None):
    load(**itself({}))
    """,
        ["o/default?", "<options.get('repo', 'o/default')>?"],
    ),
    "a helper that calls itself once": (
        """
def load(repo, again):
    if again:
        return load(repo, False)
    AutoModel.from_pretrained(repo)

@MODELS.register_module()
def f(path, cache_dir=None):
    load(path, True)
    """,
        ["o/n"],
    ),
    "a function of its own that is called super": (
        """
    def super(repo):
        AutoModel.from_pretrained(repo)
    super(path)
    """,
        ["o/n"],
    ),
    "the last round of a loop that ends otherwise": (
        """
    while True:
        if coin():
            repo = "o/a"
            break
        repo = "o/b"
        return
    AutoModel.from_pretrained(repo)
    """,
        ["o/a?"],
    ),
    "a class of the checkout, asked through one of its objects": (
        """
class Own(PreTrainedModel):
    def __init__(self, repo=None):
        self.repo = repo

@MODELS.register_module()
def f(path, cache_dir=None):
    Own(path).from_pretrained(path)
    """,
        ["o/n"],
    ),
}


@pytest.mark.parametrize(("source", "calls"), CASES.values(), ids=CASES)
def test_calls_are_told_to_the_letter(tmp_path: Path, source: str, calls: list[str]) -> None:
    trace = evaluated(tmp_path, source)
    assert [said(call) for call in trace.calls] == calls
    assert (trace.unknown, trace.rejections, trace.failures) == ((), (), ())
    covers(trace, runs(tmp_path, "f", {"path": "o/n", "cache_dir": CACHE_DIR}))


# The same, of what no test runs: it ends by an error, or needs a newer Python.
NOT_RUN: dict[str, tuple[str, list[str]]] = {
    "what fails or ends on one way is passed on the other": (
        """
    if coin():
        if coin():
            return
        raise ValueError
    AutoModel.from_pretrained(path)
    """,
        ["o/n?"],
    ),
    "a name that is set on one branch only": (
        """
    if coin():
        repo = "o/a"
    AutoModel.from_pretrained(repo)
    """,
        ["<repo>"],
    ),
    "a name that may be deleted": (
        """
    repo = "o/a"
    if coin():
        del repo
    AutoModel.from_pretrained(repo)
    """,
        ["<repo>"],
    ),
    "super in a comprehension, which Python 3.12 allows": (
        """
class Base:
    def load(self, repo):
        AutoModel.from_pretrained(repo)

@MODELS.register_module()
class f(Base):
    def __init__(self, path, cache_dir=None):
        [super().load(repo) for repo in ("o/a", path)]
    """,
        ["o/a", "o/n"],
    ),
    "super without anything before it": (
        """
class Base:
    def __init__(self, *args, **kwargs):
        pass

@MODELS.register_module()
class f(Base):
    def __init__(*args, path, cache_dir=None):
        super().__init__()
        AutoModel.from_pretrained(path)
    """,
        ["o/n"],
    ),
    "what was loaded when the module was imported": (
        """
def load(repo, model=AutoModel.from_pretrained("o/import")):
    return model, AutoTokenizer.from_pretrained(repo)

@MODELS.register_module()
def f(path, cache_dir=None):
    load(path)
    """,
        ["o/n"],
    ),
    "another build than that of a registry": (
        """
@MODELS.register_module("inner")
def inner(path):
    AutoModel.from_pretrained(path)

@MODELS.register_module()
def f(path, cache_dir=None):
    torch.build({"type": "inner", "path": "o/inner"})
    AutoModel.from_pretrained(path)
    """,
        ["o/n"],
    ),
    "super of a class that is no base": (
        """
class Other:
    pass

@MODELS.register_module()
class f:
    def __init__(self, path, cache_dir=None):
        super(Other, self).__init__()
        AutoModel.from_pretrained(path)
    """,
        ["o/n"],
    ),
    "a class whose base is its own": (
        """
@MODELS.register_module()
class f(f.Base):
    def __init__(self, path, cache_dir=None):
        AutoModel.from_pretrained(path)
    """,
        ["o/n"],
    ),
    "methods of a library's class": (
        """
class Model(PreTrainedModel):
    def __init__(self, repo):
        super().__init__()
        self.repo = repo

@MODELS.register_module()
def f(path, cache_dir=None):
    model = Model(path)
    AutoModel.from_pretrained(model.repo)
    AutoTokenizer.from_pretrained(model.to("cpu").repo)
    AutoModel.from_pretrained(model.described().repo)
    """,
        ["o/n", "o/n", "<model.described().repo>"],
    ),
    "a repo that is not named": (
        """
    AutoModel.from_pretrained()
    AutoTokenizer.from_pretrained(**itself({}))
    """,
        ["<>", "<>"],
    ),
    "a config by name beside another value": (
        """
class Settings:
    def __init__(self, repo):
        self.repo = repo

class Model(PreTrainedModel):
    def __init__(self, name, settings):
        super().__init__(name, config=settings)
        AutoModel.from_pretrained(self.config.repo)

@MODELS.register_module()
def f(path, cache_dir=None):
    Model("o/name", Settings(path))
    """,
        ["o/n"],
    ),
}


@pytest.mark.parametrize(("source", "calls"), NOT_RUN.values(), ids=NOT_RUN)
def test_calls_of_what_cannot_be_run_are_told_to_the_letter(tmp_path: Path, source: str, calls: list[str]) -> None:
    assert [said(call) for call in evaluated(tmp_path, source).calls] == calls


# Bodies of ``f``, or sources that register it, with the assertions that certainly fail.
FAILURES: dict[str, tuple[str, list[str]]] = {
    "a false assertion": ("    assert path is None\n", ["path is None"]),
    "one that may not be reached": ("    if coin():\n        assert path is None\n", []),
    "one in a try with a handler": (
        """
    try:
        assert path is None
    except AssertionError:
        pass
    """,
        [],
    ),
    "one behind an inner try": (
        """
    try:
        try:
            pass
        except KeyError:
            pass
        assert path is None
    except AssertionError:
        pass
    """,
        [],
    ),
    "one behind a try": (
        """
    try:
        pass
    except KeyError:
        pass
    assert path is None
    """,
        ["path is None"],
    ),
    "one in a try that only has a finally": (
        """
    try:
        assert path is None
    finally:
        pass
    """,
        ["path is None"],
    ),
    "one in a with": (
        """
    with contextlib.nullcontext(1):
        assert path is None
    """,
        ["path is None"],
    ),
    "one in a helper that loads nothing, and one behind it": (
        """
def inner(repo):
    return repo

def helper(repo):
    found = inner(repo)
    if found:
        assert repo is None, "the helper's own"
    return found

@MODELS.register_module()
def f(path, cache_dir=None):
    AutoModel.from_pretrained(helper(path))
    assert path is None
    """,
        ["path is None"],
    ),
    "those in helpers whose result nobody asks for": (
        """
@dataclass
class Plain:
    size: int
    def __post_init__(self):
        assert self.size is None

class Holder:
    def check(self, repo):
        assert repo is None
        return self

class Base:
    def __init__(self, /, size):
        self.size = size

class Child(Base):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        assert self.size is None

def helper(names, **kwargs):
    assert not names

def look(it):
    assert it is None

class Tools:
    @staticmethod
    def check(repo):
        assert repo is None

@MODELS.register_module()
def f(path, cache_dir=None):
    Holder().check(path)
    look(Holder())
    Tools.check(path)
    helper(("o/a", "o/b"), size=1)
    Plain(size=1)
    Child(size=1)
    """,
        [],
    ),
}


@pytest.mark.parametrize(("source", "failures"), FAILURES.values(), ids=FAILURES)
def test_assertions_that_certainly_fail_are_told(tmp_path: Path, source: str, failures: list[str]) -> None:
    trace = evaluated(tmp_path, source)
    assert [failure.text for failure in trace.failures] == failures
    assert not trace.unknown


# --- what is built from dicts ---------------------------------------------------------------------

INNER = """
@MODELS.register_module("inner")
def inner(repo="o/default", cache_dir=None):
    AutoModel.from_pretrained(repo, cache_dir=cache_dir)

class Settings:
    def __init__(self, repo):
        self.repo = repo

@MODELS.register_module("with_settings")
def with_settings(settings, cache_dir=None):
    AutoModel.from_pretrained(settings.repo)

@MODELS.register_module()
def f(path, part=None, size=1, cache_dir=None):
"""


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        ('build_module({"type": "inner", "_scope_": "x", "_delete_": True, "repo": path}, MODELS)', ["o/n"]),
        ('build_module({"type": "inner", **itself({})}, MODELS)', ["<repo>"]),
        ('build_module({"type": "inner", "repo": path}, builder=MODELS, cache_dir=cache_dir)', ["o/n +cache_dir"]),
        ('build_module({"type": inner, "repo": path}, MODELS)', ["o/n"]),
        ('d = {"type": inner}; dict.update(d, **some(1)); build_module(d, MODELS)', ["<repo>"]),
        ('getattr(path, *some(1)); build_module({"type": inner, "repo": path}, MODELS)', ["o/n"]),
        ('callable(inner); build_module({"type": inner, "repo": path}, MODELS)', ["o/n"]),
    ],
)
def test_a_dict_that_is_built_gives_its_keywords(tmp_path: Path, body: str, calls: list[str]) -> None:
    trace = evaluated(tmp_path, f"{INNER}    {body}\n")
    assert [said(call) for call in trace.calls] == calls
    assert (trace.unknown, trace.rejections) == ((), ())


def test_a_copy_of_a_dict_of_the_config_is_still_the_config_s(tmp_path: Path) -> None:
    body = f"{INNER}    build_module(part.copy(), MODELS)\n"
    trace = evaluated(tmp_path, body, part={"type": "inner", "repo": "o/a"})
    assert [(call.repo_id, call.via, call.hard_coded) for call in trace.calls] == [("o/a", ("part",), False)]


def test_a_number_of_the_config_stays_the_config_s(tmp_path: Path) -> None:
    trace = evaluated(tmp_path, f'{INNER}    AutoModel.from_pretrained(f"o/{{-size}}")\n', size=3)
    assert [(call.repo_id, call.hard_coded) for call in trace.calls] == [("o/-3", False)]


def test_what_an_object_rejects_is_told_once_whenever_it_is_asked_for(tmp_path: Path) -> None:
    body = """
    settings = Settings(path, cache_dir=cache_dir)
    build_module(part, MODELS, settings=settings)
    """
    trace = evaluated(tmp_path, INNER + body, part={"type": "with_settings"})
    assert [(each.key, each.function, each.via) for each in trace.rejections] == [
        ("cache_dir", "Settings.__init__", ())
    ]  # fmt: skip
    assert [call.repo_id for call in trace.calls] == ["o/n"]


def test_what_a_helper_rejects_is_told_once_whenever_it_is_asked_for(tmp_path: Path) -> None:
    source = INNER.replace("class Settings", "def same(repo):\n    return repo\n\nclass Settings")
    body = "    build_module(part, MODELS, repo=same(path, cache_dir=cache_dir))\n"
    trace = evaluated(tmp_path, source + body, part={"type": "inner"})
    assert [(each.key, each.function, each.via) for each in trace.rejections] == [("cache_dir", "same", ())]
    assert [call.repo_id for call in trace.calls] == ["o/n"]


def test_what_is_rejected_where_keywords_are_handed_on_is_told_though_nobody_asks_for_it(tmp_path: Path) -> None:
    source = """
def helper(size=1):
    return size

class Plain:
    def __init__(self, **kwargs):
        helper(**kwargs)

@MODELS.register_module()
def f(path, **kwargs):
    Plain(**kwargs)
    """
    rejections = evaluated(tmp_path, source).rejections
    assert [(each.key, each.function) for each in rejections] == [("cache_dir", "helper")]


REFUSING = INNER.replace(
    "class Settings",
    "def same(repo):\n    return repo\n\n"
    "class Own(torch.nn.Module):\n"
    "    def __init__(self, cache_dir):\n        same(1)\n        super().__init__(cache_dir=cache_dir)\n"
    "        self.model = AutoModel.from_pretrained('o/own')\n\n"
    "@MODELS.register_module()\ndef plain(repo):\n    return repo\n\n"
    "@MODELS.register_module()\nclass Plain:\n    def __init__(self, repo):\n        self.repo = repo\n\n"
    "class Late:\n    def __new__(cls, repo):\n        return super().__new__(cls)\n\n"
    "    def __init__(self, repo, x=1):\n        self.repo = repo\n\n"
    "class Soon:\n    def __new__(cls, repo):\n        return super().__new__(cls)\n\n"
    "    def __init__(self, repo, x=1):\n        AutoModel.from_pretrained(repo)\n\n"
    "class Settings",
)


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ("same(path, cache_dir=cache_dir)", "same(path, cache_dir=cache_dir)"),
        ("Settings(path, cache_dir=cache_dir)", "Settings(path, cache_dir=cache_dir)"),
        ("same(**{'repo': path}, **{'repo': 'o/b'})", "same(**{'repo': path}, **{'repo': 'o/b'})"),
        ("Own(cache_dir)", "super().__init__(cache_dir=cache_dir)"),
        ("AutoModel.from_pretrained(Late('o/b', x=2).repo)", "Late('o/b', x=2)"),
        ("Soon('o/b', x=2)", "Soon('o/b', x=2)"),
        ("build_module({'type': Settings, 'repo': 1, 'x': 2}, MODELS)", "{'type': Settings, 'repo': 1, 'x': 2}"),
        (
            "AutoModel.from_pretrained(build_module({'type': 'plain', 'repo': 'o/b', 'x': 2}, MODELS))",
            "{'type': 'plain', 'repo': 'o/b', 'x': 2}",
        ),
        (
            "AutoModel.from_pretrained(build_module({'type': 'Plain', 'repo': 'o/b', 'x': 2}, MODELS).repo)",
            "{'type': 'Plain', 'repo': 'o/b', 'x': 2}",
        ),
    ],
)
def test_what_is_refused_is_told_with_the_call_or_dict_that_gives_it(tmp_path: Path, body: str, call: str) -> None:
    text = f"{HEAD}{REFUSING}    same(path)\n    {body}\n"
    evaluation = Evaluation(sources(tmp_path, loaders=text), Virtual())
    evaluation.run("f", values(path="o/n", cache_dir=CACHE_DIR))
    assert [ast.unparse(each.node) for each in evaluation.refused if each.node is not None] == [call]


@pytest.mark.parametrize(
    "body",
    [
        "some(1).build()",
        "some(1).get('inner')(path)",
        "itself({}).MODEL.get('inner')(path)",
    ],
)
def test_what_is_no_registry_builds_nothing(tmp_path: Path, body: str) -> None:
    trace = evaluated(tmp_path, f"{INNER}    {body}\n")
    assert trace.calls == ()


def test_what_calls_itself_twice_is_not_followed(tmp_path: Path) -> None:
    source = """
def load(repo, once, twice):
    if once:
        return load(repo, twice, False)
    AutoModel.from_pretrained(repo)

@MODELS.register_module()
def f(path, cache_dir=None):
    load(path, True, True)
    """
    trace = evaluated(tmp_path, source)
    line = f"{HEAD}{source}".split("\n").index("def load(repo, once, twice):") + 1
    assert (trace.calls, trace.unknown) == ((), (f"load (opensora/loaders.py:{line}) calls itself",))


@pytest.mark.parametrize(("most", "followed"), [(2, False), (3, True)])
def test_functions_are_followed_down_to_a_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, followed: bool
) -> None:
    monkeypatch.setattr("rewriter.loaders.functions.MAX_DEPTH", most)
    source = """
def low(repo):
    AutoModel.from_pretrained(repo)

def middle(repo):
    low(repo)

@MODELS.register_module()
def f(path, cache_dir=None):
    middle(path)
    """
    trace = evaluated(tmp_path, source)
    assert ([call.repo_id for call in trace.calls], len(trace.unknown)) == ((["o/n"], 0) if followed else ([], 1))


@pytest.mark.parametrize(("most", "followed"), [(3, False), (4, True)])
def test_statements_are_followed_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, followed: bool
) -> None:
    monkeypatch.setattr("rewriter.loaders.evaluate.MAX_STEPS", most)
    trace = evaluated(tmp_path, "    a = 1\n    b = 2\n    c = 3\n    AutoModel.from_pretrained(path)\n")
    assert ([call.repo_id for call in trace.calls], len(trace.unknown)) == ((["o/n"], 0) if followed else ([], 1))


def test_a_dataclass_takes_its_fields(tmp_path: Path) -> None:
    source = """
@MODELS.register_module()
@dataclass
class f:
    path: str
    cache_dir: str = None
    """
    assert evaluated(tmp_path, source).accepts == {"cache_dir"}


def test_a_dict_within_a_dict_of_the_config_is_told_with_its_keys(tmp_path: Path) -> None:
    source = f"{INNER}    build_module(part['sub'], MODELS)\n"
    (call,) = evaluated(tmp_path, source, part={"sub": {"type": "inner", "repo": "o/a"}}).calls
    assert (call.repo_id, call.via) == ("o/a", ("part", "sub"))


def test_a_tuple_of_the_config_never_grows(tmp_path: Path) -> None:
    body = "    before = part\n    part += ('z',)\n    AutoModel.from_pretrained(f'o/{len(before)}{len(part)}')\n"
    assert [call.repo_id for call in evaluated(tmp_path, INNER + body, part=("a",)).calls] == ["o/12"]


def test_what_an_object_gives_is_reached_from_the_line_that_asks_for_it(tmp_path: Path) -> None:
    source = """
class Box:
    @property
    def load(self):
        AutoModel.from_pretrained("o/property")
        return print

@MODELS.register_module()
def f(path):
    box = itself(Box())
    kept = Box()
    kept.load(path)
"""
    (call,) = evaluated(tmp_path, source).calls
    assert [step.line for step in call.chain][:1] == [f"{HEAD}{source}".split("\n").index("    kept.load(path)") + 1]


def test_a_call_of_a_module_is_reached_from_the_line_of_the_loader(tmp_path: Path) -> None:
    source = """
MODEL = AutoModel.from_pretrained("o/import")

@MODELS.register_module()
def f(path):
    return MODEL
"""
    lines = f"{HEAD}{source}".split("\n")
    (call,) = evaluated(tmp_path, source).calls
    assert (call.line, [step.line for step in call.chain]) == (
        lines.index('MODEL = AutoModel.from_pretrained("o/import")') + 1, [lines.index("def f(path):") + 1]
    )  # fmt: skip
