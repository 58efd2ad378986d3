"""Small loaders, one for each kind of statement and expression that a loader may be made of."""

from __future__ import annotations

HEAD = """\
import dataclasses
import contextlib
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
    "a loop in a helper that waits": """
def pick(repo):
    for _ in some(1):
        repo = "o/b"
    return repo


@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(pick(path), cache_dir=cache_dir)
""",
    # --- what a call gets
    "two lists of arguments, the first unknown": """
    max(*some(path), *[path, path])
    AutoModel.from_pretrained(path, cache_dir=cache_dir)
    """,
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
    one = 1
    if one is True:
        AutoModel.from_pretrained("o/never")
    if one == True:
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
    "copies of dicts and lists": """
    import copy
    old = {"local_files_only": False, "inner": {"subfolder": "s"}, "names": ["o/a"]}
    new, deep, own = copy.copy(old), copy.deepcopy(old), old.copy()
    new["cache_dir"] = deep["revision"] = own["subfolder"] = cache_dir
    new["inner"]["subfolder"] = "t"
    deep["inner"]["subfolder"] = "u"
    deep["names"].append("o/b")
    names = old["names"].copy()
    names.append("o/c")
    for each in (old, new, deep, own):
        AutoModel.from_pretrained(path, local_files_only=each["local_files_only"], cache_dir=each.get("cache_dir"))
        AutoModel.from_pretrained(each["names"][-1], **each["inner"])
    [AutoTokenizer.from_pretrained(name) for name in names]
    """,
    "copies of what holds itself, and of one of two": """
    import copy
    old = {"repo": path}
    old["self"] = old
    new = copy.deepcopy(old)
    new["repo"] = "o/new"
    AutoModel.from_pretrained(new["self"]["repo"])
    AutoModel.from_pretrained(old["self"]["repo"])
    one = copy.copy(old if coin() else {"repo": "o/other"})
    one["repo"] = "o/one"
    AutoModel.from_pretrained(old["repo"])
    AutoModel.from_pretrained(copy.copy(path), cache_dir=copy.deepcopy(cache_dir))
    """,
    "copies of lists of dicts": """
    import copy
    old = [{"subfolder": "s"}]
    new, deep, own = copy.copy(old), copy.deepcopy(old), old.copy()
    old[0]["subfolder"] = "t"
    for name, each in (("o/old", old), ("o/new", new), ("o/deep", deep), ("o/own", own)):
        AutoModel.from_pretrained(name, **each[0])
    """,
    "deep copies of dicts of dicts": """
    import copy
    old = {"one": {"two": {"subfolder": "s"}}}
    deep = copy.deepcopy(old)
    old["one"]["two"]["subfolder"] = "t"
    AutoModel.from_pretrained(path, **deep["one"]["two"])
    """,
    "a list that a deep copy holds twice": """
    import copy
    names = ["o/a"]
    deep = copy.deepcopy({"one": names, "two": names})
    deep["one"].append("o/b")
    names.append("o/c")
    AutoModel.from_pretrained(deep["two"][-1])
    """,
    "a tuple that is copied, and gets more": """
    import copy
    one = two = copy.copy(("o/a",))
    two += ("o/b",)
    for repo in one:
        AutoModel.from_pretrained(repo)
    AutoTokenizer.from_pretrained(two[1])
    """,
    "lists of a comprehension, a star and a split that get more": """
    made = also = [name for name in ("o/a",)]
    also += ["o/b"]
    _, *rest = same = "o/c o/d".split()
    more = rest
    more += ["o/e"]
    same += ["o/f"]
    for repo in (*made, *rest, *same):
        AutoModel.from_pretrained(repo)
    """,
    "a tuple of a string's parts that gets more": """
    parts = more = path.partition("/")
    more += ("o/a",)
    AutoModel.from_pretrained(more[-1])
    AutoModel.from_pretrained(parts[-1])
    """,
    "copies of objects": """
import copy

class Settings:
    def __init__(self, repo):
        self.repo = repo
        self.inner = {"revision": "r"}

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    old = Settings(path)
    new, deep = copy.copy(old), copy.deepcopy(old)
    new.repo = "o/new"
    deep.repo = "o/deep"
    new.inner["revision"] = "s"
    deep.inner["revision"] = "t"
    for each in (old, new, deep):
        AutoModel.from_pretrained(each.repo, cache_dir=cache_dir, **each.inner)
    """,
    "sets": """
    for name in {"o/a", path, "o/a"}:
        if len({name, path}) == 1:
            AutoModel.from_pretrained(name)
    AutoModel.from_pretrained(f"o/{len({each for each in ('a', 'b', 'a')})}{len(set(['a', 'a']))}{len({itself(1)})}")
    """,
    "methods of dict itself": """
    dict.pop(kwargs, "local_files_only", None)
    AutoModel.from_pretrained(path, cache_dir=cache_dir, **kwargs)
    """,
    "a cache_dir of which only the truth is handed on": """
    AutoModel.from_pretrained(path, cache_dir=bool(cache_dir))
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
    "a hub call that gets a keyword twice": """
    AutoTokenizer.from_pretrained(path, cache_dir=cache_dir)
    AutoModel.from_pretrained(path, local_files_only=None, **kwargs)
    """,
    "a hub call that gets a keyword twice, and first by **": """
    AutoModel.from_pretrained(path, **kwargs, local_files_only=None)
    """,
    "a hub call that gets a keyword of two dicts": """
    AutoModel.from_pretrained(path, **{"revision": "r"}, **{"revision": "s", 1: 2}.copy())
    """,
    "a dict that gets a keyword twice": """
    AutoModel.from_pretrained(path, **dict(local_files_only=None, **kwargs))
    """,
    "a helper that gets a keyword twice": """
    def load(repo, local_files_only=None):
        return AutoModel.from_pretrained(repo)
    load(path, local_files_only=None, **kwargs)
    """,
    "a helper that gets a parameter by place and by keyword": """
    def load(repo, local_files_only=None):
        return AutoModel.from_pretrained(repo)
    load(path, None, **kwargs)
    """,
    "a parameter that gets its place's value, and a keyword of its name for the rest": """
    def load(repo, local_files_only=None, /, **rest):
        return AutoModel.from_pretrained(repo, **rest)
    load(path, None, **kwargs)
    """,
    "a method that gets a parameter by place and by keyword": """
    class Loader:
        def load(self, repo, local_files_only=None):
            return AutoModel.from_pretrained(repo)
    Loader().load(path, None, **kwargs)
    """,
    "a plain helper that gets a parameter by place and by keyword": """
def note(repo, local_files_only=None, **rest):
    return repo

@MODELS.register_module()
def f(path, **kwargs):
    AutoModel.from_pretrained(path)
    note(path, None, **kwargs)
    """,
    "a plain object that gets a parameter by place and by keyword": """
class Options:
    def __init__(self, repo, local_files_only=None, cache_dir=None):
        self.repo = repo

@MODELS.register_module()
def f(path, **kwargs):
    AutoModel.from_pretrained(path)
    Options(path, None, **kwargs)
    """,
    "methods of a plain object that get a parameter by place": """
class Options:
    def __init__(self):
        self.repo = "o/a"
    def change(self, repo, local_files_only=None):
        self.repo = repo
    @staticmethod
    def named(repo, local_files_only=None):
        return repo

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    options = Options()
    options.named(path, **kwargs)
    options.change(path, **kwargs)
    AutoModel.from_pretrained(options.repo)
    options.change(path, None, **kwargs)
    """,
    "a method of a plain object that gets a parameter by place and by keyword": """
class Options:
    def change(self, repo, local_files_only=None):
        self.repo = repo

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Options().change(path, None, **kwargs)
    """,
    "a static method of a plain object that gets its first parameter by keyword, too": """
class Options:
    @staticmethod
    def named(local_files_only, repo=None):
        return repo

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Options().named(path, **kwargs)
    """,
    "a static method of a plain object that gets a parameter by place and by keyword": """
class Options:
    @staticmethod
    def named(repo, local_files_only=None):
        return repo

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Options().named(path, None, **kwargs)
    """,
    "a dataclass that gets a field by place and by keyword": """
@dataclass
class Options:
    names: list
    local_files_only: bool = False

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Options([], None, **kwargs)
    """,
    "a dataclass that is asked, and gets a field by place and by keyword": """
@dataclass
class Options:
    repo: str
    local_files_only: bool = False

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(Options({"repo": path}, None, **kwargs).repo["repo"])
    """,
    "a keyword that may be gone before it is given": """
    if coin():
        kwargs.pop("local_files_only")
    AutoModel.from_pretrained(path, local_files_only=None, **kwargs)
    """,
    "a partial whose keyword is given anew": """
    functools.partial(AutoModel.from_pretrained, path, local_files_only=None)(**kwargs)
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
    "a module of torch that takes no keywords": """
class Model(torch.nn.Module):
    def __init__(self, path, **kwargs):
        super().__init__(**kwargs)
        self.model = AutoModel.from_pretrained(path, **kwargs)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Model(path, **kwargs)
    """,
    "a module of torch that gets none": """
@MODELS.register_module()
class f(torch.nn.Module):
    def __init__(self, path, **kwargs):
        super().__init__()
        self.model = AutoModel.from_pretrained(path, **kwargs)
    """,
    "a plain module of torch that takes no keywords": """
class Base(torch.nn.Module):
    pass

class Model(Base):
    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Model(1, **kwargs)
    """,
    "a decorated module of torch that takes no keywords": """
@itself
class Model(torch.nn.Module):
    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Model(1, **kwargs)
    """,
    "a module of torch without an __init__": """
class Model(torch.nn.Module):
    pass

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Model(**kwargs)
    """,
    "a base that hands keywords on to a model": """
class Mixed:
    def __init__(self, **kwargs):
        super().__init__(**kwargs)

class Model(Mixed, PreTrainedModel):
    def __init__(self, path, **kwargs):
        super().__init__(**kwargs)
        self.model = AutoModel.from_pretrained(path, **kwargs)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    Model(path, **kwargs)
    """,
    "a dataclass with fields that its __init__ does not take": """
@dataclass
class Options:
    names: dict
    local_files_only: bool = dataclasses.field(default=False, init=False)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Options({}, **kwargs)
    """,
    "a dataclass with an attribute of the class": """
import typing

@dataclass
class Options:
    names: dict
    local_files_only: typing.ClassVar[bool] = False

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Options({}, **kwargs)
    """,
    "a dataclass with a mark before what is keyword-only": """
@dataclass
class Options:
    names: dict
    _: dataclasses.KW_ONLY
    folder: str = "s"

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    options = Options({}, folder="t")
    AutoModel.from_pretrained(path, subfolder=options.folder)
    Options({}, _=1)
    """,
    "a dataclass of something annotated that is none": """
class Base:
    local_files_only: bool = False

@dataclass
class Options(Base):
    names: dict = dataclasses.field(default_factory=dict, init=True)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Options(**kwargs)
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
    "a registered dict whose type is one of two": """
@MODELS.register_module("inner")
class Inner:
    def __init__(self, path, cache_dir=None):
        AutoModel.from_pretrained(path, cache_dir=cache_dir)

def plain(path, cache_dir=None):
    AutoTokenizer.from_pretrained(path, cache_dir=cache_dir)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    build_module({"type": "inner" if coin() else plain, "path": path}, MODELS)
    build_module({"type": Inner if coin() else plain, "path": "o/a"}, MODELS, cache_dir=cache_dir)
    """,
    # --- the rarer forms
    "members of a class that are no methods": """
@MODELS.register_module()
class f:
    repo: str = "o/annotated"
    other: str
    if True:
        third = "o/if"

    class Config:
        repo = "o/config"

        def load(self):
            AutoModel.from_pretrained(self.repo)

    def __init__(self, path, cache_dir=None, local_files_only=None):
        AutoModel.from_pretrained(self.repo)
        AutoModel.from_pretrained(self.Config.repo)
        self.Config().load()
        AutoModel.from_pretrained(self.__class__.repo)
    """,
    "attributes of a class that are set": """
@MODELS.register_module()
class f:
    where = None

    def __init__(self, path, cache_dir=None, local_files_only=None):
        self.prepare(cache_dir)
        AutoModel.from_pretrained(path, cache_dir=self.where)
        f.where = "/other"
        AutoModel.from_pretrained(path, cache_dir=self.where, subfolder="s")

    @classmethod
    def prepare(cls, where):
        cls.where = where
    """,
    "attributes of a class that are set by its type": """
class Settings:
    where = None

    def forget(self):
        type(self).where = None

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    Settings.where = cache_dir
    settings = Settings()
    AutoModel.from_pretrained(path, cache_dir=type(settings).where)
    settings.forget()
    AutoTokenizer.from_pretrained(path, cache_dir=Settings.where)
    type(path)
    """,
    "attributes by name": """
    class Settings:
        pass
    settings = Settings()
    setattr(settings, "repo", path)
    settings.__dict__.update(folder="s", where=cache_dir)
    vars(settings)["revision"] = "r"
    AutoModel.from_pretrained(
        getattr(settings, "repo"), subfolder=settings.folder, revision=settings.revision, cache_dir=settings.where)
    del settings.folder
    """,
    "nonlocal from further out": """
    repo = "o/outer"
    def middle():
        def inner():
            nonlocal repo
            repo = path
            AutoTokenizer.from_pretrained(repo)
        inner()
    middle()
    AutoModel.from_pretrained(repo)
    """,
    "a global that its own function reads": """
current = "o/start"

def use(name):
    global current, fresh
    AutoModel.from_pretrained(current)
    current = fresh = name
    AutoModel.from_pretrained(current)
    AutoModel.from_pretrained(fresh)
    del fresh

@MODELS.register_module()
def f(path, **kwargs):
    use(path)
    """,
    "constants that a module has twice": """
TWICE = "o/a"
TWICE = "o/b"
ONCE: str = "o/once"

@MODELS.register_module()
def f(path, **kwargs):
    AutoModel.from_pretrained(ONCE)
    """,
    "views of a dict": """
    where = {"cache_dir": cache_dir, "subfolder": "s"}
    for name, value in where.items():
        AutoModel.from_pretrained(path, **{name: value})
    for name in where.keys():
        AutoModel.from_pretrained("o/" + name)
    for name in where:
        AutoModel.from_pretrained("o/2" + name)
    one, two = where.values()
    AutoModel.from_pretrained(path, cache_dir=one, subfolder=two, revision="r")
    for name in list(kwargs):
        kwargs.pop(name)
    AutoModel.from_pretrained(path, revision="s", **kwargs)
    """,
    "dicts of comprehensions": """
    where = {name: value for name, value in (("cache_dir", cache_dir), ("subfolder", "s")) if value != "s"}
    AutoModel.from_pretrained(path, **where)
    """,
    "all kinds of sequences": """
    one = list(("o/a",)) + ["o/b"]
    two = tuple(one) + ("o/c",)
    three = {"o/d"}
    if len(two) == 3 and len(one) == 2 and one and not () and "o/d" in three and bool(one):
        AutoModel.from_pretrained(two[-1])
    for repo in one[::-1]:
        AutoModel.from_pretrained(repo)
    """,
    "a list that a method gets": """
class Names:
    def __init__(self, names):
        self.names = names

    def first(self, names):
        return names[0]

@MODELS.register_module()
def f(path, **kwargs):
    repos = ["o/a", "o/b"]
    names = Names(repos)
    first = names.first(repos)
    repos.append("o/c")
    AutoModel.from_pretrained(first)
    AutoModel.from_pretrained(names.names[1])
    """,
    "an object that is changed by what it says": """
class Settings:
    def __init__(self, repo):
        self.repo = repo

    def use(self, repo):
        self.repo = repo

@MODELS.register_module()
def f(path, **kwargs):
    settings = Settings("o/a")
    settings.use(settings.repo + "-x")
    AutoModel.from_pretrained(settings.repo)
    """,
    "an object that is handed on before it is asked": """
class Settings:
    def __init__(self, repo):
        self.repo = repo
        self.options = {"folder": "s"}

class Holder:
    def __init__(self, settings):
        self.settings = settings

def rename(settings, repo):
    settings.repo = repo
    settings.options["folder"] = "t"

@MODELS.register_module()
def f(path, **kwargs):
    settings = Settings("o/a")
    holder = Holder(settings)
    before, folder = settings.repo, settings.options["folder"]
    rename(settings, path)
    settings.options["revision"] = "r"
    AutoModel.from_pretrained(holder.settings.repo, subfolder=settings.options["folder"])
    AutoModel.from_pretrained(before, subfolder=folder, revision=settings.options["revision"])
    """,
    "a helper that gets two objects": """
class Settings:
    def __init__(self, repo):
        self.repo = repo

def copy(one, other):
    one.repo = other.repo

@MODELS.register_module()
def f(path, **kwargs):
    one, two = Settings("o/a"), Settings(path)
    copy(one, two)
    AutoModel.from_pretrained(one.repo)
    """,
    "a helper that only one branch calls": """
class Settings:
    def __init__(self, repo):
        self.repo = repo

def rename(settings, repo):
    settings.repo = repo

@MODELS.register_module()
def f(path, **kwargs):
    settings = Settings("o/a")
    if coin():
        rename(settings, "o/b")
        settings.folder = "s"
    AutoModel.from_pretrained(settings.repo)
    """,
    "what a module calls itself": """
class Model(torch.nn.Module):
    def __init__(self, repo):
        super().__init__()
        self.repo = repo

@MODELS.register_module()
def f(path, **kwargs):
    model = Model(path).to("cpu").eval()
    AutoModel.from_pretrained(model.repo)
    """,
    "a logger that nobody knows": """
import logging

def make_logger(name):
    return logging.getLogger(name)

def name_of(path):
    return path + "/x"

@MODELS.register_module()
def f(path, **kwargs):
    logger = make_logger("x")
    logger.info("loading %s", path)
    name = name_of(path)
    AutoModel.from_pretrained(name.replace("/x", "-x"))
    """,
    "super with its class and its object": """
class Base:
    def load(self, path):
        AutoModel.from_pretrained(path)

@MODELS.register_module()
class f(Base):
    def __init__(self, path, **more):
        def inner():
            super(f, self).load(path)
            [super(f, each).load(name) for each, name in ((self, "o/a"),)]
        inner()

    def load(self, path):
        AutoModel.from_pretrained("o/never")
    """,
    "a helper that calls what it gets": """
class Settings:
    def __init__(self):
        self.repo = "o/a"

    def use(self, repo):
        self.repo = repo

def run(what, name):
    what(name)

@MODELS.register_module()
def f(path, **kwargs):
    def inner(name):
        AutoModel.from_pretrained(name)
    run(inner, path)
    settings = Settings()
    run(settings.use, path)
    AutoModel.from_pretrained(settings.repo)
    run(AutoModel.from_pretrained, "o/b")
    run(functools.partial(AutoModel.from_pretrained, subfolder="s"), "o/c")
    """,
    "a lambda that loads nothing": """
    itself(lambda name: name + path)
    AutoModel.from_pretrained(path)
    """,
    "a model that is called": """
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()

@MODELS.register_module()
def f(path, **kwargs):
    Model()(AutoModel.from_pretrained(path))
    """,
    "a registry from elsewhere": """
from mmengine.registry import MODELS as OTHERS
from outside import build_module as make

@MODELS.register_module()
def inner(path, cache_dir=None):
    AutoModel.from_pretrained(path, cache_dir=cache_dir)

OTHERS.register_module("inner", module=inner)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    part = dict(type="inner", path=path)
    OTHERS.build(part)
    make(part, OTHERS, cache_dir=cache_dir)
    """,
    "keywords that a base says no to": """
class Base:
    def __init__(self, repo):
        self.repo = repo

class Child(Base):
    def __init__(self, **more):
        super().__init__(**more)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path)
    Child(repo=path, cache_dir=cache_dir)
    """,
    "keywords that nobody uses": """
class Child:
    def __init__(self, repo, **more):
        self.repo = repo

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(Child(repo=path, cache_dir=cache_dir).repo)
    """,
    "a dataclass that says no at once": """
@dataclass
class Options:
    names: list

@MODELS.register_module()
def f(path, **kwargs):
    AutoModel.from_pretrained(Options(names={}, **kwargs).names)
    """,
    "a dataclass that is registered": """
@MODELS.register_module()
@dataclass
class f:
    path: str
    cache_dir: str = None
    local_files_only: bool = False

    def __post_init__(self):
        AutoModel.from_pretrained(self.path, cache_dir=self.cache_dir)
    """,
    "an object with only one half of with": """
    class Enters:
        def __enter__(self):
            return "o/enter"
        def __exit__(self, *rest):
            return None
    with Enters() as repo, contextlib.nullcontext():
        AutoModel.from_pretrained(repo)
        if coin():
            return
    AutoModel.from_pretrained(path)
    """,
    "try in try": """
    repo = "o/a"
    try:
        try:
            repo = "o/b"
            fail()
        finally:
            AutoModel.from_pretrained("o/finally")
    except (ValueError, KeyError):
        repo = "o/c"
    AutoModel.from_pretrained(repo)
    """,
    "a raise in except": """
    try:
        fail()
    except ValueError as error:
        raise KeyError("wrong") from error
    AutoModel.from_pretrained(path)
    """,
    "raises in try and in except": """
    AutoModel.from_pretrained(path)
    try:
        raise ValueError
    except ValueError:
        raise
    AutoModel.from_pretrained("o/never")
    """,
    "finally after every way": """
    for repo in ("o/a", "o/b", "o/c", "o/d"):
        try:
            if repo == "o/a":
                continue
            if coin():
                break
            if coin():
                return
        finally:
            last = repo
            AutoTokenizer.from_pretrained(repo)
    AutoModel.from_pretrained(last)
    """,
    "return in finally": """
    try:
        if coin():
            return AutoModel.from_pretrained("o/a")
    finally:
        if coin():
            return AutoModel.from_pretrained("o/b")
    AutoModel.from_pretrained(path)
    """,
    "only return in finally": """
    try:
        AutoModel.from_pretrained(path)
    finally:
        return
    AutoModel.from_pretrained("o/never")
    """,
    "break out of else": """
    for repo in ("o/a", "o/b"):
        for folder in ("x",):
            pass
        else:
            break
        AutoModel.from_pretrained("o/never")
    AutoModel.from_pretrained(repo)
    """,
    "loops that end in raise or return": """
    def first(names):
        for name in names:
            return name
        else:
            raise ValueError
    for name in ():
        pass
    else:
        AutoModel.from_pretrained(first(["o/a"]))
    while True:
        raise ValueError
    """,
    "a loop in which everything is caught": """
    for repo in ("o/a", "o/b"):
        try:
            fail()
            AutoModel.from_pretrained(repo)
        except ValueError:
            continue
    AutoModel.from_pretrained("o/after")
    """,
    "many rounds": """
    count = 0
    for _ in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16):
        count += 1
    AutoModel.from_pretrained(f"o/{count}")
    """,
    "match with guards": """
    match path:
        case "o/n" if coin():
            AutoModel.from_pretrained("o/guarded")
        case "o/n" if path is None:
            AutoModel.from_pretrained("o/never")
        case _:
            AutoModel.from_pretrained("o/other")
    """,
    "match with names": """
    match cache_dir:
        case None as none:
            AutoModel.from_pretrained("o/never")
        case "x" | "y" as letter:
            AutoModel.from_pretrained("o/never")
        case where:
            AutoModel.from_pretrained(path, cache_dir=where)
    """,
    "partial of a partial, and of one of two": """
    def one(name, folder=None):
        AutoModel.from_pretrained(name, subfolder=folder)
    def two(name, folder=None):
        AutoTokenizer.from_pretrained(name, subfolder=folder)
    load = functools.partial(functools.partial(one if coin() else two, folder="s"), *[path])
    load()
    """,
    "one of two functions": """
    def one(name):
        nonlocal repo
        repo = "o/one"
        AutoModel.from_pretrained(name)
    def two(name):
        AutoTokenizer.from_pretrained(name)
    repo = path
    (one if coin() else two)(path)
    AutoModel.from_pretrained(repo, subfolder="after")
    """,
    "one of two dicts that are built": """
@MODELS.register_module()
def inner(path, cache_dir=None):
    AutoModel.from_pretrained(path, cache_dir=cache_dir)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    one = dict(type="inner", path="o/a", cache_dir=cache_dir)
    build_module(one if coin() else dict(type="inner", path="o/b"), MODELS)
    """,
    "a registered part that loads nothing": """
@MODELS.register_module()
class Plain:
    def __init__(self, repo, sizes=()):
        self.repo = repo
        self.sizes = sizes

@MODELS.register_module()
def plain(repo):
    return repo + "-x"

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    part = build_module(dict(type="Plain", repo=path, sizes=["o/s"]), MODELS)
    AutoModel.from_pretrained(part.repo)
    AutoModel.from_pretrained(part.sizes[0])
    AutoModel.from_pretrained(build_module(dict(type="plain", repo=path), MODELS))
    """,
    "a registered part that says no": """
@MODELS.register_module()
class Plain:
    def __init__(self, repo):
        self.repo = repo

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    build_module(dict(type="Plain", repo=path, cache_dir=cache_dir), MODELS)
    """,
    "registered parts in the config are none of ours": """
@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    AutoModel.from_pretrained(path, revision=kwargs.get("revision", "main"), cache_dir=cache_dir)
    AutoModel.from_pretrained(path, revision=str("r"), cache_dir=os.path.expanduser(cache_dir))
    """,
    "paths": """
    folder = os.path.join("a", "b")
    AutoModel.from_pretrained(path, subfolder=folder, revision=os.path.basename(path))
    """,
    "unpacking that does not fit": """
    one, *rest = path, "x", "y"
    AutoModel.from_pretrained(path, subfolder=one and "s")
    """,
    "more options than are told apart": """
    repo = "o/1" if coin() else "o/2"
    repo = repo if coin() else "o/3"
    repo = repo if coin() else "o/4"
    AutoModel.from_pretrained(repo)
    """,
    "the same option twice": """
    repo = ("o/1" if coin() else "o/2") if coin() else "o/1"
    AutoModel.from_pretrained(repo)
    """,
    "a module that imports itself": """
    from opensora.loaders import REPO as again
    AutoModel.from_pretrained(again)
    """,
    "a dataclass of a dataclass": """
@dataclass
class Base:
    path: str
    folder: str = "s"

@dataclass
class Options(Base):
    folder: str = "t"
    revision: str = "r"

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    options = Options(path)
    AutoModel.from_pretrained(options.path, subfolder=options.folder, revision=options.revision)
    """,
    "the line behind a class that is looked up": """
    import torch.nn as nn
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
    def load(
        name,
        model,
    ):
        AutoModel.from_pretrained(name)
    load(path, Model())
    """,
    "a keyword that a method of a plain object rejects": """
class Plain:
    def use(self, repo):
        self.repo = repo

@MODELS.register_module()
def f(path, **kwargs):
    AutoModel.from_pretrained(path)
    Plain().use(repo=path, **kwargs)
    """,
    "a keyword that a method of a plain object hands on": """
class Plain:
    def use(self, **more):
        self.take(**more)

    def take(self, repo):
        self.repo = repo

@MODELS.register_module()
def f(path, **kwargs):
    AutoModel.from_pretrained(path)
    plain = Plain()
    plain.use(repo=path, **kwargs)
    """,
    "a list that a method fills": """
class Names:
    def __init__(self):
        self.names = []
        for letter in ("a", "b"):
            self.names.append("o/" + letter)
        self.names.extend(["o/c"])

@MODELS.register_module()
def f(path, **kwargs):
    for name in Names().names:
        AutoModel.from_pretrained(name)
    """,
    "a plain object that is asked in a loop": """
class Names:
    def __init__(self, name):
        self.name = name
        self.asked = 0

    def next(self):
        self.asked += 1
        return self.name + "-" + str(self.asked) if self.asked == 0 else self.name

@MODELS.register_module()
def f(path, **kwargs):
    names = Names(path)
    for _ in (1, 2):
        AutoModel.from_pretrained(names.next())
    names.name = "o/a"
    AutoModel.from_pretrained(names.name)
    """,
    "objects that know each other": """
class Settings:
    def __init__(self, repo):
        self.repo = repo

class Holder:
    def __init__(self, settings, more=None):
        self.settings = settings
        self.more = more

@MODELS.register_module()
def f(path, **kwargs):
    one, two = Settings("o/one"), Settings("o/two")
    holder = Holder(one)
    holder.settings = two
    before = holder.settings.repo
    two.repo = path
    AutoModel.from_pretrained(holder.settings.repo)
    AutoModel.from_pretrained(before)
    AutoModel.from_pretrained(Holder(one, two).more.repo, subfolder="both")
    """,
    "what is put off is as it was": """
class Settings:
    def __init__(self, repo):
        self.repo = repo
        self.tags = ("x", "y")

def name_of(settings):
    return settings.repo + "-" + settings.tags[0]

@MODELS.register_module()
def f(path, **kwargs):
    settings = Settings(path)
    first, rest = settings.tags[0], settings.tags[1:]
    name = name_of(settings)
    settings.repo, settings.tags = "o/new", ("z",)
    AutoModel.from_pretrained(name, subfolder=first, revision=rest[0])
    """,
    "a raise in a loop in a try": """
    try:
        for repo in ("o/a", "o/b"):
            if coin():
                raise ValueError
            AutoModel.from_pretrained(repo)
        while coin():
            raise KeyError
        AutoModel.from_pretrained("o/else")
    except (ValueError, KeyError):
        pass
    AutoModel.from_pretrained(path)
    """,
    "returns that leave things behind": """
    where = {"cache_dir": cache_dir}
    def change(name):
        if name == "o/a":
            where["subfolder"] = "a"
            return
        where["subfolder"] = "b"
        if coin():
            where["subfolder"] = "c"
            return
        where["subfolder"] = "d"
    change("o/a")
    AutoModel.from_pretrained(path, **where)
    """,
}

# What the evaluation cannot tell as it is: it must cover what happens.
COVERED = {
    "a helper that gets one of two dicts": """
def name_of(options, name):
    options["subfolder"] = "s"
    return name + "-x"

@MODELS.register_module()
def f(path, **kwargs):
    one, two = {"revision": "r"}, {"revision": "s"}
    AutoModel.from_pretrained(name_of(one if coin() else two, path if coin() else "o/a"))
    AutoModel.from_pretrained(path, **one)
    """,
    "exceptions that end in finally": """
    repo = "o/a"
    for _ in (1, 2):
        try:
            fail()
            repo = "o/b"
        finally:
            AutoModel.from_pretrained(repo, subfolder="finally")
            if coin():
                break
    try:
        fail()
        repo = "o/c"
    finally:
        return AutoModel.from_pretrained(repo)
    """,
    "exceptions that a manager swallows": """
    class Quiet:
        def __enter__(self):
            return None
        def __exit__(self, *rest):
            return True
    class Loud:
        def __enter__(self):
            return None
        def __exit__(self, *rest):
            return False
    repo = "o/a"
    with contextlib.suppress(ValueError):
        fail()
        repo = "o/b"
    AutoModel.from_pretrained(repo)
    with Quiet():
        repo = "o/c"
        fail()
        repo = "o/d"
    AutoModel.from_pretrained(repo)
    with Loud():
        fail()
        repo = "o/e"
    AutoModel.from_pretrained(repo)
    """,
    "what a module or a class may have": """
TWICE = "o/a"
TWICE = "o/b"
PAIR, OTHER = "o/c", "o/d"
EMPTY: str

@MODELS.register_module()
class f:
    if True:
        third = "o/if"

    def __init__(self, path, cache_dir=None, local_files_only=None):
        AutoModel.from_pretrained(TWICE)
        AutoModel.from_pretrained(PAIR)
        AutoModel.from_pretrained(self.third)
        torch.extra = path
        itself([1])[0] = 2
        del itself([1])[0]
        setattr(itself(functools), itself("extra"), 1)
    """,
    "methods that are looked up seldom": """
    where, names = {"subfolder": "s"}, ["o/a"]
    where.__contains__("subfolder")
    AutoModel.from_pretrained(path, subfolder=where.get(itself("subfolder")))
    names.count("o/a"), names.index("o/a"), names.copy()
    for name in names:
        AutoModel.from_pretrained(name)
    """,
    "super where there is none": """
    AutoModel.from_pretrained(path)
    super().load()
    """,
    "super of something unknown": """
    AutoModel.from_pretrained(path)
    super(itself(bool), True).__str__()
    """,
    "a nonlocal that has no value yet": """
    def inner():
        nonlocal repo
        repo = path
    inner()
    AutoModel.from_pretrained(repo)
    if coin():
        repo = "o/a"
    AutoModel.from_pretrained(repo)
    """,
    "try in try, both with handlers": """
    repo = "o/a"
    try:
        try:
            fail()
            repo = "o/b"
            fail()
        except ValueError:
            repo = "o/c"
        fail()
    except ValueError:
        AutoModel.from_pretrained(repo, subfolder="outer")
    AutoModel.from_pretrained(repo)
    """,
    "keys that nobody knows": """
    where = {"cache_dir": cache_dir, itself("subfolder"): "s"}
    AutoModel.from_pretrained(path, **where)
    where[itself("cache_dir")] = "/other"
    AutoModel.from_pretrained(path, **where)
    kwargs.pop(itself("local_files_only"))
    AutoModel.from_pretrained(path, **kwargs)
    more = {"subfolder": "s", "revision": "r"}
    del more[itself("revision")]
    AutoModel.from_pretrained(path, **more)
    more.popitem()
    AutoModel.from_pretrained(path, **more)
    """,
    "methods of dict itself, of one of two dicts": """
    where = {"cache_dir": cache_dir}
    dict.pop(where if coin() else {}, "cache_dir", None)
    dict.fromkeys("ab")
    AutoModel.from_pretrained(path, **where)
    """,
    "a set of what may be the same": """
    if len({itself(path), itself(path)}) == 1:
        AutoModel.from_pretrained("o/same")
    """,
    "keys of one of two dicts": """
    one, two = {"subfolder": "1", "revision": "r"}, {"subfolder": "2", "cache_dir": cache_dir}
    which = one if coin() else two
    AutoModel.from_pretrained(path, **which)
    which["revision"] = "s"
    AutoModel.from_pretrained(path, **one)
    del which["subfolder"]
    AutoModel.from_pretrained(path, **one)
    which |= {"subfolder": "3"}
    AutoModel.from_pretrained(path, **one)
    AutoModel.from_pretrained(path, **(which | {"revision": "t"}))
    AutoModel.from_pretrained(path, **(None or which))
    """,
    "elements of one of two lists": """
    one, two = ["o/a", "o/b"], ["o/c"]
    which = one if coin() else two
    which += ["o/d"]
    for repo in one:
        AutoModel.from_pretrained(repo)
    del two[0]
    for repo in two:
        AutoModel.from_pretrained(repo)
    names = ["o/e"]
    names.reverse()
    for repo in [*names, "o/f"]:
        AutoModel.from_pretrained(repo)
    names.extend(itself(["o/g"]))
    AutoModel.from_pretrained(names[-1])
    """,
    "attributes that nobody knows": """
    class Settings:
        pass
    settings = Settings()
    settings.repo, settings.folder = path, "s"
    setattr(settings, itself("repo"), "o/other")
    AutoModel.from_pretrained(settings.repo, subfolder=settings.folder)
    AutoModel.from_pretrained(getattr(settings, itself("repo")))
    """,
    "arguments that nobody knows": """
    def load(*names, subfolder=None, **more):
        for name in names:
            AutoModel.from_pretrained(name, subfolder=subfolder, **more)
    load(*itself((path, "o/a")), "o/b")
    load("o/c", *itself(()), **itself({"subfolder": "s"}))
    AutoModel.from_pretrained(*itself((path,)), "ignored")
    """,
    "functions and objects that nobody knows": """
    known = itself(AutoModel)
    itself(str)(path)
    -itself(1)
    class Any:
        def __getitem__(self, key):
            return key
    itself(Any())[1:2, AutoModel.from_pretrained(path)]
    {name: itself(1) for name in itself(())}
    {itself(name): name for name in ("a", "b")}
    not itself(1)
    itself(1) * 2 | 3
    """,
    "a long loop": """
    repo = "o/start"
    for number in range(40):
        AutoModel.from_pretrained(repo)
        repo = "o/next"
    for _ in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]:
        AutoModel.from_pretrained("o/17")
    count = 0
    while count < 20:
        count += 1
        AutoModel.from_pretrained(f"o/{count}")
    """,
    "variables that follow each other in a loop": """
    one, two, three, four = "o/1", "o/2", "o/3", "o/4"
    while coin():
        AutoModel.from_pretrained(one)
        one, two, three = two, three, four
        four = one + "-x"
    AutoModel.from_pretrained(one)
    """,
    "loops in loops that nobody knows": """
    one, where = "o/1", {"cache_dir": cache_dir}
    for _ in some(1):
        for each in some("o/each"):
            AutoModel.from_pretrained(one, **where)
            if coin():
                one = "o/2"
                break
            where = {"cache_dir": None, "subfolder": "s"}
        if coin():
            continue
        one = one + "-x"
    AutoModel.from_pretrained(one, **where)
    """,
    "an object that is made in a loop": """
    class Settings:
        def __init__(self, repo):
            self.repo = repo
    settings = Settings("o/a")
    for _ in some(1):
        AutoModel.from_pretrained(settings.repo)
        settings = Settings("o/b")
        settings.repo = settings.repo + "-x"
    AutoModel.from_pretrained(settings.repo)
    """,
    "with halves of a manager": """
    class Enters(contextlib.nullcontext):
        def __enter__(self):
            AutoModel.from_pretrained("o/enter")
    class Exits(contextlib.nullcontext):
        def __exit__(self, *rest):
            AutoModel.from_pretrained("o/exit")
    with Enters(), Exits():
        AutoModel.from_pretrained(path)
    """,
    "a class of which only running would tell": """
    class Local:
        one, two = path, "o/b"
        repo: str = path
        where: str
        def first(self):
            AutoModel.from_pretrained(self.one, subfolder=self.repo)
    Local().first()
    """,
    "super in odd places": """
class Base:
    @classmethod
    def load(cls, repo):
        AutoModel.from_pretrained(repo)

class Plain(PretrainedConfig):
    @classmethod
    def make(cls):
        super().__init__(itself)
        return itself(super().__hash__)

@MODELS.register_module()
class f(Base):
    def __init__(self, path, cache_dir=None, local_files_only=None):
        self.load(path)
        if not super().__eq__(1):
            AutoModel.from_pretrained("o/eq")
        AutoModel.from_pretrained("o/plain" if Plain.make() else path)

    @classmethod
    def load(cls, repo):
        super().load(repo + "-x")
    """,
    "an object of which nobody knows whether it is true": """
    class Settings:
        pass
    if Settings():
        AutoModel.from_pretrained(path)
    if itself([]) or itself({}):
        AutoModel.from_pretrained("o/never")
    """,
    "a nonlocal of a comprehension": """
    names = ["o/a", "o/b"]
    def inner():
        nonlocal names
        names = [name + "-x" for name in names if coin()]
    inner()
    for name in names:
        AutoModel.from_pretrained(name)
    """,
    "a list that a helper fills": """
def fill(names):
    names.append("o/b")

@MODELS.register_module()
def f(path, **kwargs):
    names = ["o/a"]
    fill(names)
    for name in names:
        AutoModel.from_pretrained(name)
    """,
    "config objects that are made by hand": """
class Config(PretrainedConfig):
    def __init__(self, repo="o/default", **kwargs):
        super().__init__(**kwargs)
        self.repo = repo

class Model(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        AutoModel.from_pretrained(self.config.repo)

@MODELS.register_module()
def f(path, cache_dir=None, **kwargs):
    Model.from_pretrained(path, config=Config(repo="o/mine"), subfolder="s")
    """,
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

# Files of the package, each below the same head.
CHECKOUTS = {
    "names behind stars": {
        "loaders": "from opensora.first import *\nfrom outside import *\nfrom opensora.second import *\n"
        + BODY
        + "    AutoModel.from_pretrained(one), AutoModel.from_pretrained(two)\n    three(path), four(path), abs(1)\n",
        "first": 'one = "o/1"\ntwo = "o/2"\nfrom opensora.third import *\n',
        "second": 'one = "o/one"\ndef four(path):\n    AutoTokenizer.from_pretrained(path)\n',
        "third": "def three(path):\n    AutoModel.from_pretrained(path, subfolder='three')\n",
    },
    "modules of packages": {
        "loaders": "from opensora.parts import one, two as second\nimport opensora.parts.two\n" + BODY
        + "    one.load(path)\n    second.load(path, cache_dir=cache_dir)\n    opensora.parts.two.load('o/again')\n",
        "parts/__init__": "from .two import *\n",
        "parts/one": "from .two import load\n",
        "parts/two": "def load(path, **more):\n    AutoModel.from_pretrained(path, **more)\n",
    },
    "a cycle of imports": {
        "loaders": "import opensora.other\n" + BODY + "    opensora.other.load(path)\n",
        "other": "import opensora.loaders as l\ndef load(path):\n    AutoModel.from_pretrained(path + l.REPO)\n",
    },
}  # fmt: skip

# Sources of ``f`` or its bodies, and what is said of the line that is marked.
NOTES = {
    "a lambda": (
        "    load = lambda: AutoModel.from_pretrained(path)  # here",
        "a lambda in {here}: when it is called cannot be told",
    ),
    "a lambda that calls a helper": (
        """
def helper(path):
    AutoModel.from_pretrained(path)

@MODELS.register_module()
def f(path, **kwargs):
    itself(lambda: helper(path))  # here
    """,
        "a lambda in {here}: when it is called cannot be told",
    ),
    "a function that is handed on": (
        """
    def load():
        AutoModel.from_pretrained(path)
    itself(load)  # here
    """,
        "itself(...) in {here}: whether it calls what it is given cannot be told",
    ),
    "a helper that is handed to a method": (
        """
def helper(path):
    AutoModel.from_pretrained(path)

class Helper:
    def load(self, path):
        AutoModel.from_pretrained(path)

@MODELS.register_module()
def f(path, **kwargs):
    itself(1).run(path, then=[helper, Helper().load][0] if coin() else None)  # here
    """,
        "itself(1).run(...) in {here}: whether it calls what it is given cannot be told",
    ),
    "a method that is handed to what nobody knows": (
        """
class Helper:
    def load(self, path):
        AutoModel.from_pretrained(path)

@MODELS.register_module()
def f(path, **kwargs):
    itself(1)(Helper().load)  # here
    """,
        "itself(1)(...) in {here}: whether it calls what it is given cannot be told",
    ),
    "a partial that is handed on": (
        "    itself(functools.partial(AutoModel.from_pretrained, path))  # here",
        "itself(...) in {here}: whether it calls what it is given cannot be told",
    ),
    "a download of something unknown": (
        "    snapshot_download = itself(1)\n    snapshot_download(path)  # here",
        "snapshot_download(...) in {here}: what it calls cannot be told",
    ),
    "a method of something unknown": (
        "    itself(1).from_pretrained(path)  # here",
        "itself(1).from_pretrained(...) in {here}: whose method it is cannot be told",
    ),
    "a class without from_pretrained": (
        """
class Plain(torch.nn.Module):
    pass

@MODELS.register_module()
def f(path, **kwargs):
    Plain.from_pretrained(path)  # here
    """,
        "Plain.from_pretrained(...) in {here}: Plain has no from_pretrained that could be found",
    ),
    "a dict that nobody knows": (
        "    build_module(itself({}), MODELS)  # here",
        "build_module(...) in {here}: what it builds cannot be told",
    ),
    "a dict that nobody knows, for a registry from elsewhere": (
        "    from mmengine.registry import MODELS\n    MODELS.build(itself({}))  # here",
        "MODELS.build(...) in {here}: what it builds cannot be told",
    ),
    "a call of a build_module from elsewhere that builds nothing": (
        "    from outside import build_module\n    build_module(module=path, builder=MODELS)  # here",
        "build_module(...) in {here}: what it builds cannot be told",
    ),
    "a call that builds nothing": (
        "    build_module(module=path, builder=MODELS)  # here",
        "build_module(...) in {here}: what it builds cannot be told",
    ),
    "a type that nobody knows": (
        "    build_module(dict(type=itself(1)), MODELS)  # here",
        "build_module(...) in {here}: the type of what it builds cannot be told",
    ),
    "a type from elsewhere": (
        "    MODELS.build(dict(type=AutoModel))  # here",
        "MODELS.build(...) in {here}: the type of what it builds cannot be told",
    ),
    "a type that is not registered": (
        '    MODELS.build(dict(type="nowhere"))  # here',
        '"nowhere" is not registered in the sources',
    ),
    "a module that is not there": (
        "    from opensora.gone import load\n    load(path)  # here",
        "load(...) in {here}: opensora.gone.load is not in the sources",
    ),
    "a function that calls itself": (
        """
@MODELS.register_module()
def f(path, **kwargs):  # here
    AutoModel.from_pretrained(path)
    f(path)
    """,
        "f ({here}) calls itself",
    ),
    "a __new__ that loads": (
        """
@MODELS.register_module()
class f:
    def __new__(cls, path, **kwargs):  # here
        return AutoModel.from_pretrained(path)
    """,
        "f.__new__ in {here}: what it makes cannot be told",
    ),
    "too long": (
        "    for a in [0] * 1 or range(9):\n" + "".join(
            f"    {'  ' * depth}for x{depth} in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16):\n"
            for depth in range(1, 5)
        ) + "              pass",
        "the evaluation of this loader was given up: it is too long",
    ),
    "too many elements": (
        "    some = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)\n"
        "    [1 for a in some for b in some for c in some for d in some]",
        "the evaluation of this loader was given up: it is too long",
    ),
    "nested too deeply": (
        "    path" + " + path" * 900,
        "the evaluation of this loader was given up: it is nested too deeply",
    ),
}  # fmt: skip
