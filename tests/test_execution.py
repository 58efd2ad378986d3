"""What the evaluation of a loader says is what Python does: each source is evaluated, run for real, and compared."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from executing import CACHE_DIR, LOCAL_FILES_ONLY, covers, runs, same
from loading import values, write

from rewriter.loaders import Sources

HEAD = """\
import dataclasses
import functools
import os
import torch
from dataclasses import dataclass
from huggingface_hub import hf_hub_download, snapshot_download
from outside import coin, fail, itself, some
from opensora.registry import MODELS, build_module
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PretrainedConfig

REPO = "o/constant"
FOLDERS: dict = {"folder": "s"}
"""

BODY = """
@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
"""

# Bodies of ``f(path="o/n", cache_dir=..., local_files_only=...)``, or whole sources that register ``f``.
CASES = {
    # --- what a call gets
    "a call": """
    AutoModel.from_pretrained(path, cache_dir=cache_dir)
    """,
    "keywords that are handed on": """
    AutoModel.from_pretrained(path, cache_dir=cache_dir, **kwargs)
    """,
    "another value": """
    AutoModel.from_pretrained(path, cache_dir=path, local_files_only=False)
    """,
    "downloads": """
    hf_hub_download(path, "a.bin", cache_dir=cache_dir)
    hf_hub_download(repo_id=path, filename="b.bin", revision="r", **kwargs)
    snapshot_download(path, revision="main")
    hf_hub_download("o/c", filename="c.bin", subfolder="s")
    """,
    "a repo by keyword": """
    AutoModel.from_pretrained(pretrained_model_name_or_path=path, subfolder="s", revision="r")
    """,
    "a method that got a name": """
    load = AutoModel.from_pretrained
    load(path, cache_dir=cache_dir)
    """,
    "getattr with a known name": """
    getattr(AutoModel, "from_pretrained")(path)
    """,
    # --- if
    "if, known": """
    if path == "o/n":
        AutoModel.from_pretrained("o/yes")
    elif cache_dir:
        AutoModel.from_pretrained("o/no")
    else:
        AutoModel.from_pretrained("o/else")
    """,
    "elif, known": """
    if path is None:
        AutoModel.from_pretrained("o/yes")
    elif cache_dir:
        AutoModel.from_pretrained("o/no")
    else:
        AutoModel.from_pretrained("o/else")
    """,
    "if, not known": """
    if coin():
        AutoModel.from_pretrained("o/yes", cache_dir=cache_dir)
        repo = "o/a"
    elif coin():
        repo = "o/b"
    else:
        AutoTokenizer.from_pretrained("o/else")
        repo = "o/c"
    AutoModel.from_pretrained(repo, cache_dir=cache_dir)
    """,
    "a variable that is set on one branch only": """
    repo = path
    if coin():
        repo = "o/a"
    AutoModel.from_pretrained(repo)
    """,
    "the same on both branches": """
    if coin():
        repo = "o/a"
    else:
        repo = "o/a"
    AutoModel.from_pretrained(repo)
    """,
    "a key that is lost on one branch": """
    where = {"cache_dir": cache_dir}
    if coin():
        where["cache_dir"] = "/other"
    AutoModel.from_pretrained(path, **where)
    """,
    # --- return
    "an early return": """
    if path == "o/n":
        return AutoModel.from_pretrained(path)
    AutoModel.from_pretrained("o/never")
    """,
    "a possible return": """
    if coin():
        return None
    AutoModel.from_pretrained(path)
    """,
    "a return on every branch": """
    if coin():
        return AutoModel.from_pretrained("o/a")
    else:
        return AutoModel.from_pretrained("o/b")
    AutoModel.from_pretrained("o/never")
    """,
    "nested returns": """
    if coin():
        if coin():
            return
        AutoModel.from_pretrained("o/a")
    else:
        AutoModel.from_pretrained("o/b")
    AutoModel.from_pretrained("o/c")
    """,
    "what a function returns": """
    def repo_of(name):
        if name == "none":
            return
        if coin():
            return "o/" + name
        return name
    AutoModel.from_pretrained(repo_of("x"))
    AutoModel.from_pretrained(repo_of(path))
    if repo_of("none") is None:
        AutoModel.from_pretrained("o/last")
    """,
    "what is set before a return": """
    class Holder:
        def __init__(self):
            self.repo = "o/before"
            self.choose()
            AutoModel.from_pretrained(self.repo)
        def choose(self):
            if coin():
                self.repo = "o/early"
                return
            self.repo = "o/late"
    Holder()
    """,
    # --- raise
    "a raise": """
    if path is None:
        raise ValueError("no path")
    AutoModel.from_pretrained(path)
    """,
    "a raise on both branches": """
    AutoModel.from_pretrained(path)
    if coin():
        raise ValueError
    else:
        raise KeyError
    AutoModel.from_pretrained("o/never")
    """,
    # --- assert
    "an assertion that holds": """
    assert path, "no path"
    AutoModel.from_pretrained(path)
    """,
    "an assertion that is false": """
    assert path in ("o/a", "o/b")
    AutoModel.from_pretrained(path)
    """,
    "an assertion that nobody reaches": """
    if coin():
        return AutoModel.from_pretrained(path)
    if path == "o/other":
        assert False
    """,
    # --- for
    "for": """
    for repo in ("o/a", "o/b", path):
        AutoModel.from_pretrained(repo)
    else:
        AutoModel.from_pretrained("o/else")
    AutoModel.from_pretrained(repo, subfolder="last")
    """,
    "for over nothing": """
    for repo in ():
        AutoModel.from_pretrained(repo)
    else:
        AutoModel.from_pretrained("o/else")
    """,
    "for with pairs": """
    for repo, folder in [("o/a", "x"), ("o/b", "y")]:
        AutoModel.from_pretrained(repo, subfolder=folder)
    """,
    "break": """
    for repo in ("o/a", "o/b"):
        AutoModel.from_pretrained(repo)
        break
    else:
        AutoModel.from_pretrained("o/else")
    AutoModel.from_pretrained(repo, subfolder="last")
    """,
    "break on a condition": """
    for repo in ("o/a", "o/b", "o/c"):
        if repo == "o/b":
            break
        AutoModel.from_pretrained(repo)
    else:
        AutoModel.from_pretrained("o/else")
    AutoModel.from_pretrained(repo, subfolder="last")
    """,
    "a possible break": """
    found = "o/none"
    for repo in ("o/a", "o/b"):
        AutoModel.from_pretrained(repo)
        if coin():
            found = repo
            break
        AutoTokenizer.from_pretrained(repo)
    else:
        AutoModel.from_pretrained("o/else")
    AutoModel.from_pretrained(found, subfolder="last")
    """,
    "continue": """
    for repo in ("o/a", "o/b", "o/c"):
        if repo == "o/b":
            continue
        AutoModel.from_pretrained(repo)
    """,
    "a possible continue": """
    last = "o/none"
    for repo in ("o/a", "o/b"):
        AutoModel.from_pretrained(repo)
        if coin():
            last = repo
            continue
        AutoTokenizer.from_pretrained(repo)
    else:
        AutoModel.from_pretrained("o/else")
    AutoModel.from_pretrained(last, subfolder="last")
    """,
    "a return out of a loop": """
    for repo in ("o/a", "o/b"):
        if repo == "o/b":
            return AutoModel.from_pretrained(repo)
    AutoModel.from_pretrained("o/never")
    """,
    "a possible return out of a loop": """
    for repo in ("o/a", "o/b"):
        if coin():
            return AutoModel.from_pretrained(repo)
    AutoModel.from_pretrained("o/none")
    """,
    "nested loops": """
    for repo in ("o/a", "o/b"):
        for folder in ("x", "y"):
            if folder == "y":
                break
            AutoModel.from_pretrained(repo, subfolder=folder)
        else:
            AutoModel.from_pretrained("o/else")
        AutoTokenizer.from_pretrained(repo)
    """,
    "for as often as nobody knows": """
    repo = path
    for _ in some(1):
        AutoModel.from_pretrained(repo)
    AutoTokenizer.from_pretrained(repo)
    """,
    "a variable that changes in a loop": """
    repo = "o/a"
    for _ in some(1):
        AutoModel.from_pretrained(repo)
        repo = "o/b"
    AutoTokenizer.from_pretrained(repo)
    """,
    "a key that is lost in a loop": """
    where = {"cache_dir": cache_dir}
    for _ in some(1):
        AutoModel.from_pretrained(path, **where)
        where["cache_dir"] = None
    """,
    "a possible break out of an endless loop": """
    repo = "o/a"
    for _ in some(1):
        if coin():
            repo = "o/b"
            break
        AutoModel.from_pretrained("o/in")
    else:
        AutoModel.from_pretrained("o/else")
    AutoModel.from_pretrained(repo)
    """,
    # --- while
    "while, never": """
    while path is None:
        AutoModel.from_pretrained("o/never")
    else:
        AutoModel.from_pretrained("o/else")
    """,
    "while, counted": """
    count = 0
    while count < 2:
        AutoModel.from_pretrained(f"o/{count}")
        count += 1
    else:
        AutoModel.from_pretrained("o/else")
    AutoModel.from_pretrained("o/after")
    """,
    "while true": """
    while True:
        AutoModel.from_pretrained(path)
        break
    else:
        AutoModel.from_pretrained("o/else")
    AutoModel.from_pretrained("o/after")
    """,
    "while, not known": """
    repo = "o/a"
    while coin():
        AutoModel.from_pretrained(repo)
        repo = "o/b"
    AutoTokenizer.from_pretrained(repo)
    """,
    # --- with
    "with": """
    with open(os.devnull) as one, itself(one) as two:
        AutoModel.from_pretrained(path, cache_dir=cache_dir)
    """,
    "with an object of the checkout": """
    class Session:
        def __init__(self, repo):
            self.repo = repo
        def __enter__(self):
            AutoModel.from_pretrained(self.repo)
            return self.repo + "-inner"
        def __exit__(self, *_):
            AutoModel.from_pretrained("o/exit")
    with Session(path) as repo:
        AutoModel.from_pretrained(repo, cache_dir=cache_dir)
    """,
    # --- try
    "try": """
    try:
        AutoModel.from_pretrained(path)
    finally:
        AutoModel.from_pretrained("o/finally")
    AutoModel.from_pretrained("o/after")
    """,
    "try, and another repo": """
    try:
        fail()
        repo = "o/a"
    except ValueError:
        repo = "o/b"
        AutoModel.from_pretrained("o/except")
    AutoModel.from_pretrained(repo)
    """,
    "return out of try": """
    try:
        return AutoModel.from_pretrained(path)
    finally:
        AutoModel.from_pretrained("o/finally")
    AutoModel.from_pretrained("o/never")
    """,
    "return out of except": """
    try:
        fail()
    except ValueError:
        return
    AutoModel.from_pretrained(path)
    """,
    # --- match
    "match": """
    match path:
        case "o/x":
            AutoModel.from_pretrained("o/no")
        case "o/a" | "o/n":
            AutoModel.from_pretrained("o/yes")
        case _:
            AutoModel.from_pretrained("o/never")
    """,
    "match, all else": """
    match path:
        case None | True:
            AutoModel.from_pretrained("o/no")
        case other if other == "x":
            AutoModel.from_pretrained("o/no")
        case other:
            AutoModel.from_pretrained(other)
    """,
    "match, not known": """
    repo = "o/start"
    match itself(path):
        case "o/x":
            repo = "o/a"
        case "o/n":
            repo = "o/b"
        case [repo, *_]:
            pass
        case {"repo": repo, **rest}:
            pass
    """,
    # --- names
    "walrus": """
    if (repo := path + "-x") != path:
        AutoModel.from_pretrained(repo)
    [last := each for each in ("o/a", "o/b")]
    AutoModel.from_pretrained(last)
    """,
    "annotated, augmented and tuple assignment": """
    repo: str = "o/a"
    later: str
    later = path
    repo += "-b"
    one, (two, *three) = "o/1", ("o/2", "o/3")
    [four, five] = one, two
    for each in (repo, later, one, two, four, five):
        AutoModel.from_pretrained(each)
    """,
    "numbers": """
    count = 1 + 1
    count += 1
    if count + 1 == 4 and -count < 0 and not count > 3 and count >= 3 and count != 2 and count <= 3:
        AutoModel.from_pretrained(path)
    else:
        AutoModel.from_pretrained("o/never")
    """,
    "del": """
    where = {"cache_dir": cache_dir, "subfolder": "s"}
    del where["cache_dir"]
    repo, other = path, 1
    del other
    AutoModel.from_pretrained(repo, **where)
    """,
    "constants of the module": """
    AutoModel.from_pretrained(REPO, subfolder=FOLDERS["folder"])
    """,
    "imports in the function": """
    import opensora.registry as registry
    from diffusers import AutoencoderKL as Vae
    Vae.from_pretrained(path)
    registry.build_module(None, registry.MODELS)
    """,
    # --- expressions
    "f-strings": """
    AutoModel.from_pretrained(f"o/{path}-{1}-{None}", subfolder=f"{cache_dir}")
    """,
    "conditional expressions": """
    AutoModel.from_pretrained("o/a" if path else "o/b")
    AutoModel.from_pretrained("o/c" if coin() else path, cache_dir=cache_dir if path else None)
    """,
    "and, or, not": """
    AutoModel.from_pretrained(path and "o/a")
    AutoModel.from_pretrained(None or "o/b")
    AutoModel.from_pretrained("" or None or path, cache_dir=cache_dir or "x")
    if not (path and not cache_dir):
        AutoModel.from_pretrained("o/not")
    coin() and AutoModel.from_pretrained("o/and")
    coin() or AutoModel.from_pretrained("o/or")
    path or AutoModel.from_pretrained("o/never")
    """,
    "what is only set on the way": """
    repo = "o/a"
    coin() and (repo := "o/b")
    other = (where := "o/c") if coin() else (where := "o/d")
    AutoModel.from_pretrained(repo)
    AutoModel.from_pretrained(where)
    """,
    "comparisons": """
    if 1 > 2 or 1 < 2 < 3:
        AutoModel.from_pretrained("o/chain")
    if 1 < 2 > 3:
        AutoModel.from_pretrained("o/never")
    if path is not None and kwargs.get("x") is None and "zz" not in path and "local_files_only" in kwargs:
        AutoModel.from_pretrained("o/is")
    if 1 is True:
        AutoModel.from_pretrained("o/never")
    if 1 == True:
        AutoModel.from_pretrained("o/equal")
    """,
    "slices and indices": """
    repos = ["o/a", "o/b", "o/c"]
    AutoModel.from_pretrained(repos[-1])
    AutoModel.from_pretrained(path[0] + path[1:])
    for repo in repos[:2]:
        AutoModel.from_pretrained(repo)
    """,
    "starred": """
    repos = [*("o/a", "o/b"), path]
    def load(*names, **keywords):
        for name in names:
            AutoModel.from_pretrained(name, **keywords)
    load(*repos, "o/last", cache_dir=cache_dir, **kwargs)
    """,
    "comprehensions": """
    [AutoModel.from_pretrained(repo) for repo in ("o/a", path)]
    [AutoModel.from_pretrained(repo, subfolder="if") for repo in ("o/a", "o/b") if repo != "o/a"]
    {repo: AutoModel.from_pretrained(repo, subfolder="dict") for repo in ("o/a", "o/b")}
    {AutoModel.from_pretrained(repo + folder, subfolder="set") for repo in ("o/a", "o/b") for folder in ("x", "y")}
    """,
    "a comprehension of a comprehension": """
    repos = [name for name in ["o/" + letter for letter in ("a", "b")]]
    for repo in repos:
        AutoModel.from_pretrained(repo)
    """,
    # --- dicts
    "dict methods": """
    options = dict(kwargs, subfolder="s")
    revision = options.pop("revision", "r")
    options.setdefault("revision", revision)
    options.setdefault("subfolder", "other")
    options.update(cache_dir=cache_dir)
    options.update({"x": 1})
    options.pop("x")
    if options.get("none") is None and options.get("none", 1) == 1:
        AutoModel.from_pretrained(path, **options)
    """,
    "a dict that is merged": """
    one = {"subfolder": "s", "cache_dir": None}
    two = {**one, "cache_dir": cache_dir}
    three = two | {"revision": "r"}
    four = three.copy()
    three |= {"subfolder": "t"}
    AutoModel.from_pretrained(path, **one)
    AutoModel.from_pretrained(path, **two)
    AutoModel.from_pretrained(path, **three)
    AutoModel.from_pretrained(path, **four)
    """,
    "dict of a dict": """
    one = dict(a=path)
    two = dict(**one, b=cache_dir)
    three = dict(one, c="o/c")
    AutoModel.from_pretrained(two["a"], cache_dir=two["b"])
    AutoModel.from_pretrained(three["c"], cache_dir=three.get("b"))
    """,
    "a dict that is emptied": """
    kwargs.clear()
    AutoModel.from_pretrained(path, **kwargs)
    """,
    "a key that may be taken out": """
    if coin():
        kwargs.pop("local_files_only")
    AutoModel.from_pretrained(path, **kwargs)
    """,
    "one of two dicts": """
    one, two = {"cache_dir": cache_dir, "subfolder": "1"}, {"cache_dir": cache_dir, "subfolder": "1"}
    which = one if coin() else two
    AutoModel.from_pretrained(path, **which)
    """,
    # --- functions
    "a function in the function": """
    repo = path
    def load(name=repo, *, folder=None):
        AutoModel.from_pretrained(name, subfolder=folder, cache_dir=cache_dir)
    repo = "o/other"
    load()
    load("o/a")
    load(folder="s", name="o/b")
    """,
    "a function that says no": """
    def load(name, folder="x"):
        AutoModel.from_pretrained(name, subfolder=folder)
    load(path, cache_dir=cache_dir)
    """,
    "positional only": """
    def load(name, /, folder="x", **rest):
        AutoModel.from_pretrained(name, subfolder=folder, **rest)
    load(path, "y", cache_dir=cache_dir)
    """,
    "partial": """
    load = functools.partial(AutoModel.from_pretrained, cache_dir=cache_dir, subfolder="s")
    load(path)
    load("o/a", subfolder="t")
    """,
    "partial of a function": """
    def load(name, folder, cache_dir=None):
        AutoModel.from_pretrained(name, subfolder=folder, cache_dir=cache_dir)
    functools.partial(load, path)("s", cache_dir=cache_dir)
    """,
    "an async function": """
    async def load(name):
        return AutoModel.from_pretrained(name)
    async def both():
        async with itself(1) as one:
            await load("o/in")
        async for each in some(1):
            pass
        return await load("o/never run")
    AutoModel.from_pretrained(path)
    """,
    # --- classes
    "a class": """
@MODELS.register_module()
class f:
    folder = "s"

    def __init__(self, path, cache_dir=None, local_files_only=False):
        self.path, self.options = path, {"cache_dir": cache_dir}
        self.load(path)
        self.prepare("o/static")
        self.make("o/class")
        self.model

    def load(self, name, **more):
        self.model_ = AutoModel.from_pretrained(name, subfolder=self.folder, **self.options, **more)

    @staticmethod
    def prepare(name):
        AutoModel.from_pretrained(name)

    @classmethod
    def make(cls, name):
        AutoModel.from_pretrained(name, subfolder=cls.folder)

    @property
    def model(self):
        return AutoModel.from_pretrained("o/property")
    """,
    "super": """
class Base:
    def __init__(self, path, **more):
        self.path = path
        self.more = more

    def load(self):
        AutoModel.from_pretrained(self.path, **self.more)

@MODELS.register_module()
class f(Base):
    def __init__(self, path, **more):
        super().__init__(path, **more)
        self.load()

    def load(self):
        super().load()
        AutoModel.from_pretrained("o/more")
    """,
    "a base that leads nowhere": """
class Base:
    def __init__(self, path):
        self.path = path
        self.rename(path)

    def rename(self, path):
        self.other = path + "-x"

@MODELS.register_module()
class f(Base):
    def __init__(self, path, **more):
        super().__init__(path)
        AutoModel.from_pretrained(self.path, **more)
        AutoModel.from_pretrained(self.other)
        self.rename("o/a")
        AutoModel.from_pretrained(self.other)
    """,
    "a base of two classes": """
class Root:
    def load(self, path):
        AutoModel.from_pretrained("o/root")

class Left(Root):
    def load(self, path):
        super().load(path)
        AutoModel.from_pretrained("o/left")

class Right(Root):
    def load(self, path):
        super().load(path)
        AutoModel.from_pretrained("o/right")

@MODELS.register_module()
class f(Left, Right):
    def __init__(self, path, **more):
        self.load(path)
    """,
    "a dataclass": """
@dataclass
class Options:
    path: str
    folder: str = "s"
    cache_dir: str = None

    def __post_init__(self):
        self.revision = self.folder + "-r"
        AutoModel.from_pretrained("o/post")

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    options = Options(path, cache_dir=cache_dir)
    AutoModel.from_pretrained(
        options.path, subfolder=options.folder, cache_dir=options.cache_dir, revision=options.revision)
    """,
    "a dataclass that says no": """
@dataclass
class Options:
    path: str

@MODELS.register_module()
def f(path, **kwargs):
    AutoModel.from_pretrained(Options(path=path, **kwargs).path)
    """,
    "an object that is called": """
    class Loader:
        def __init__(self, **options):
            self.options = options
        def __call__(self, name):
            return AutoModel.from_pretrained(name, **self.options)
    Loader(cache_dir=cache_dir)(path)
    """,
    "a class in the function": """
    class Local:
        repo = path
        def __init__(self):
            AutoModel.from_pretrained(self.repo, cache_dir=cache_dir)
    Local()
    """,
    "an object that is changed": """
class Settings:
    def __init__(self, repo):
        self.repo = repo

    def use(self, repo):
        self.repo = repo

@MODELS.register_module()
def f(path, **kwargs):
    settings = Settings("o/a")
    before = settings.repo
    settings.use("o/b")
    AutoModel.from_pretrained(settings.repo)
    settings.repo = "o/c"
    AutoModel.from_pretrained(settings.repo)
    AutoModel.from_pretrained(before)
    if coin():
        settings.use("o/d")
    AutoModel.from_pretrained(settings.repo)
    """,
    "an object that is asked on one branch": """
class Settings:
    def __init__(self, repo):
        self.repo = repo

@MODELS.register_module()
def f(path, **kwargs):
    settings = Settings("o/a")
    if coin():
        AutoModel.from_pretrained(settings.repo, subfolder="if")
    AutoModel.from_pretrained(settings.repo)
    """,
    "helpers that change what they get": """
def fill(options, name):
    options["subfolder"] = "s"
    options.pop("local_files_only", None)
    return name + "-x"

def first(options):
    return options["repo"]

@MODELS.register_module()
def f(path, **kwargs):
    repo = fill(kwargs, path)
    AutoModel.from_pretrained(repo, **kwargs)
    options = {"repo": "o/a"}
    before = first(options)
    options["repo"] = "o/b"
    AutoModel.from_pretrained(before)
    """,
    "lists that grow": """
    repos = ["o/a"]
    repos.append(path)
    repos += ["o/b"]
    repos.extend(("o/c",))
    for repo in repos:
        AutoModel.from_pretrained(repo)
    """,
    "global and nonlocal": """
current = "o/start"

def use(name):
    global current
    current = name

@MODELS.register_module()
def f(path, **kwargs):
    AutoModel.from_pretrained(current)
    use(path)
    AutoModel.from_pretrained(current)
    inner = "o/inner"
    def change():
        nonlocal inner
        inner = "o/changed"
    change()
    AutoModel.from_pretrained(inner)
    """,
    # --- models of the checkout
    "a model of the checkout": """
class Config(PretrainedConfig):
    def __init__(self, repo="o/default", **kwargs):
        super().__init__(**kwargs)
        self.repo = repo

class Model(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        AutoModel.from_pretrained(config.repo)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    Model.from_pretrained(path, cache_dir=cache_dir, repo="o/inner")
    Model(Config(repo="o/direct"))
    """,
    "a model with a from_pretrained of its own": """
class Model(PreTrainedModel):
    def __init__(self, config=None):
        super().__init__(config)
        AutoTokenizer.from_pretrained("o/init")

    @classmethod
    def from_pretrained(cls, path, **kwargs):
        return super().from_pretrained(path, subfolder="s", **kwargs)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    Model.from_pretrained(path, cache_dir=cache_dir)
    """,
    # --- registered dicts
    "a registered dict": """
@MODELS.register_module("inner")
class Inner:
    def __init__(self, path, cache_dir=None, folder=None):
        AutoModel.from_pretrained(path, cache_dir=cache_dir, subfolder=folder)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    part = dict(type="inner", path=path, cache_dir=cache_dir)
    build_module(part, MODELS)
    build_module(dict(type=Inner, path="o/a"), MODELS, folder="s")
    MODELS.build({"type": "inner", "path": "o/b", "folder": "t"})
    for each in (None, part):
        build_module(each, MODELS)
    """,
}

# What the evaluation cannot tell as it is: it must cover what happens.
COVERED = {
    "a raise or a return": """
    if coin():
        raise ValueError
    else:
        return AutoModel.from_pretrained(path)
    AutoModel.from_pretrained("o/never")
    """,
    "a raise that is caught": """
    try:
        raise ValueError
    except ValueError:
        AutoModel.from_pretrained("o/except")
    AutoModel.from_pretrained(path)
    """,
    "a possible raise that is caught": """
    repo = "o/a"
    try:
        repo = "o/b"
        if coin():
            raise ValueError
        repo = "o/c"
    except ValueError as error:
        AutoModel.from_pretrained("o/except")
    else:
        AutoModel.from_pretrained("o/else")
    finally:
        AutoModel.from_pretrained("o/finally")
    AutoModel.from_pretrained(repo)
    """,
    "one of two objects": """
    class Settings:
        def __init__(self, repo):
            self.repo = repo
    one, two = Settings("o/a"), Settings("o/b")
    which = one if coin() else two
    which.repo = "o/c"
    AutoModel.from_pretrained(one.repo)
    AutoModel.from_pretrained(which.repo)
    """,
    "a list that is changed": """
    repos = ["o/a", "o/b"]
    repos.insert(0, path)
    for repo in repos:
        AutoModel.from_pretrained(repo)
    others = ["o/x", "o/y"]
    others[0] = "o/z"
    if coin():
        others.append(path)
    for repo in others:
        AutoModel.from_pretrained(repo)
    """,
    "a yield": """
    def repos():
        yield "o/a"
        yield AutoModel.from_pretrained("o/b")
    for repo in repos():
        AutoModel.from_pretrained(repo)
    if repos() is not None:
        AutoModel.from_pretrained("o/some")
    """,
}


def checked(tmp_path: Path, source: str) -> tuple[object, object]:
    text = HEAD + (
        textwrap.dedent(source)
        if "register_module" in source.split("build_module")[0] and not source.startswith("\n    ")
        else BODY + source
    )
    write(tmp_path, loaders=text)
    keywords = {"path": "o/n", "cache_dir": CACHE_DIR, "local_files_only": LOCAL_FILES_ONLY}
    return Sources(str(tmp_path)).trace("f", values(**keywords)), runs(tmp_path, "f", keywords)


@pytest.mark.parametrize("source", CASES.values(), ids=CASES)
def test_the_evaluation_says_what_happens(tmp_path: Path, source: str) -> None:
    same(*checked(tmp_path, source))  # type: ignore[arg-type]


@pytest.mark.parametrize("source", COVERED.values(), ids=COVERED)
def test_what_happens_is_among_what_the_evaluation_says(tmp_path: Path, source: str) -> None:
    covers(*checked(tmp_path, source))  # type: ignore[arg-type]
