"""What the evaluation of a loader knows about Python and its libraries is what Python computes."""

from __future__ import annotations

import ast
import copy
import functools
import os
import pathlib
import re
from pathlib import Path

import pytest
from loading import repos, trace

from rewriter.types import HubCall, Trace, Value

HEAD = """
import copy, functools, json, math, os, pathlib, posixpath, torch
from os.path import join as put_together
from transformers import AutoModel

class C:
    def same(self):
        return self

class D(C):
    pass

def g(x):
    return x

def h(x):
    return x

obj = C()
"""


class C:
    pass


class D(C):
    pass


def g(x: object) -> object:
    return x


def h(x: object) -> object:
    return x


PARAMETERS = (
    "path, n=3, flag=True, names=('a', 'b'), nothing=None, options={}, other=None, here='weights', cache_dir=None"
)
GIVEN = {"path": "o/n", "options": {"a": "x", "b": 1}, "other": Value(False, None, "OTHER")}
NAMES = {
    "path": "o/n",
    "n": 3,
    "flag": True,
    "names": ("a", "b"),
    "nothing": None,
    "options": {"a": "x", "b": 1},
    "os": os,
    "copy": copy,
    "functools": functools,
    "pathlib": pathlib,
    "put_together": os.path.join,
    "posixpath": os.path,
    "here": "weights",
    "C": C,
    "D": D,
    "g": g,
    "h": h,
    "obj": C(),
    "x": "o/n",
}


def table(text: str) -> list[str]:
    """Sources that stand two spaces or a line apart."""
    return re.split(r"\s{2,}", text.strip())


def run(root: Path, line: str, **more: object) -> Trace:
    """A loader with one line of its own."""
    source = f"{HEAD}\n@MODELS.register_module()\ndef f({PARAMETERS}):\n    {line}\n"
    return trace(root, source, "f", **{**GIVEN, **more})


def asked(root: Path, expression: str, **more: object) -> HubCall:
    """The call that has ``expression`` as its repository."""
    (call,) = run(root, f"AutoModel.from_pretrained({expression}, cache_dir=cache_dir)", **more).calls
    return call


def from_config(expression: str) -> bool:
    """Whether a value of the config stands in an expression."""
    return re.search(r"(?<![.\w])(?:path|options)\b", expression) is not None


KNOWN = table(
    r"""
    path  'a'  'a' + 'b'  path + '/x'  path + '/' + path  f'{path}'  f'{path}/{n}'  f'{n}{flag}'  path.split('/')[0]
    path.rsplit('/', 1)[-1]  '/'.join(['a', path])  '-'.join(names)  path.lower()  path.replace('o', 'x')  path.upper()
    path.title()  path.strip('o')  path.lstrip('o/')  ' '.strip()  path.rstrip('n')  path.partition('/')[2]
    path.rpartition('/')[0]  path.removeprefix('o')  path.removesuffix('n')  path.splitlines()[0]
    '{}-{}'.format(path, n)
    '{}'.format('a')  '{x'.lower()  os.path.join(path, 'a')  os.path.join('a', 'b')  put_together('a', path)
    posixpath.join('a', path)  os.path.basename(path)  os.path.dirname(path)  os.path.normpath('a//b/../c')
    os.path.expanduser('~/a')  os.path.expanduser(path)  str(path)  str('a')  path[1:]  path[:-1]  path[::2]  path[-1:]
    names[0]  names[-1]  names[-2]  names[1]  names[1:][0]  names[::-1][0]  ['a', path][1]  'ab'[1:]  {'a': path}['a']
    {'a': 'b'}['a']  {**{'a': path}}['a']  options['a']  dict(a=path)['a']  {1: 'a'}[1]  list(names)[1]
    tuple([path, 'b'])[0]  (['a'] + [path])[1]  (('a',) + ('b',))[1]  copy.copy(path)  copy.deepcopy(path)
    copy.copy(names)[0]  pathlib.Path(path)  pathlib.Path('a')  path[0:][0:]  str(pathlib.Path(path) / 'x' / 'y')
    f'{len(names)}'  f'{len(path)}'  f'{len([1, 2, 3])}{bool(path)}'  f'{bool(0)}'  f'{-n}'  'a' 'b'  'a b'.split()[1]
    ''.join(['a', 'b'])  path.split('/', 1)[1]  copy.copy({'a': path})['a']  pathlib.Path(path) / 'x'  n  nothing  flag
    len(path)  options['b']  len(names)  len([])  bool(path)  bool('')  bool(n)  ''  '{0}{0}'.format(path)
    names[0][0:1]
    f'{nothing}'  f'{options["b"]}'  [['a'], ['b']][1][0]  (list(names) + ['c'])[2]  path.split('o')[0]
    len(list(names))
    len(tuple(names) + ('c',))  'a' if [] else 'b'  path[0]  path[-1]  len(options)  functools.partial(g)(path)
    f'{options["b"] + n}'  f'{n + options["b"]}'  f'{n + n}'  n + 4  1.5 + n  flag + 1  -n + 2
    [1, 2][0] + n  f'{n + 1}'  options['b'] + 1
    isinstance(path, int)  isinstance(path, str)  path in names  'o' not in path
    """
)


@pytest.mark.parametrize("expression", KNOWN)
def test_an_expression_of_known_values_is_what_python_computes(tmp_path: Path, expression: str) -> None:
    call = asked(tmp_path, expression)
    computed = eval(expression, dict(NAMES))
    computed = str(computed) if isinstance(computed, Path) else computed
    assert (call.repo_id, call.repo_text) == (
        (computed, computed) if isinstance(computed, str) else (None, repr(computed))
    )
    assert call.hard_coded == (isinstance(computed, str) and not from_config(expression))
    assert call.certain


OPEN = table(
    r"""
    other  path + other  f'{other}'  f'{path!r}'  f'{path:>9}'  path.split(other)[0]  str(n)  names[9]  names[2]
    names[-3]  names['a']  names[other]  options['z']  options[other]  path.join(n)  path.split('')[0]  path.encode()
    '{x}'.format(path)  '{0.x}'.format(path)  '{'.format()  '{1}'.format(path)  path.lower('a')  other.lower()  path * 2
    path % 1  os.getcwd()  os.path.join()  math.sqrt(n)  os.path.join(path, n)  os.path.join(path, other)
    sorted(names)[0]  max(names)  json.loads(path)  path[::0]  names[::0][0]  path[other:]  path['a':]  names[:other][0]
    f'{names}'  path + n - 1  names + path  str(path, 'utf-8')  os.path.normpath(path, path)
    posixpath.dirname('a', 'b')
    copy.copy()  n[0]  pathlib.Path()  pathlib.Path(path, 'a')  pathlib.Path(other)  pathlib.Path(other) / 'a'
    names.lower()  str()  os.path.exists()  options[1:]  len()  n.lower()  path.casefold()  path.swapcase()
    os.path.abspath('a')  os.path.realpath(path)  os.fspath(path)  list(path)[0]  list(n)[0]  len(n)
    bool(other)  path + n  n + path  len(path, path)  isinstance(path)  (names + other)[0]  (other + names)[0]
    '-'.join(other)
    '-'.join([other])  '-'.join([['a']])  options[0:1]  n[0:1]  copy.copy(other)  put_together()  posixpath.getcwd()
    functools.partial(other)(path)  str(names)
    """
)


@pytest.mark.parametrize("expression", OPEN)
def test_what_only_running_would_tell_is_shown_as_written(tmp_path: Path, expression: str) -> None:
    call = asked(tmp_path, expression)
    assert (call.repo_id, call.hard_coded) == (None, False)
    assert call.repo_text in (ast.unparse(ast.parse(expression)), "OTHER")
    assert (call.repo_text == "OTHER") == (expression in ("other", "copy.copy(other)"))


def test_texts_grow_to_a_limit(tmp_path: Path) -> None:
    text = "a" * 4096
    assert asked(tmp_path, f"'{text}'.upper()").repo_id == text.upper()
    assert asked(tmp_path, f"'{text[1:]}' + 'a'").repo_id == text
    assert asked(tmp_path, f"'{text}a'.upper()").repo_id is None
    assert asked(tmp_path, f"'{text}' + 'a'").repo_id is None


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        *((f"{name}(cache_dir)", True) for name in (
            "str", "pathlib.Path", "copy.copy", "copy.deepcopy", "os.fspath", "os.path.expanduser",
            "os.path.expandvars", "os.path.abspath", "os.path.realpath", "os.path.normpath", "posixpath.normpath",
        )),
        *((f"{name}(cache_dir)", False) for name in (
            "bool", "len", "repr", "os.path.dirname", "os.path.basename", "os.path.exists",
            "os.path.join", "json.loads",
        )),
        *((each, False) for each in (
            "os.path.expanduser(path)", "os.path.join(cache_dir, 'x')", "cache_dir + ''", "f'{cache_dir}'",
            "cache_dir[0:]", "cache_dir.strip()", "os.path.normpath(cache_dir, 1)", "pathlib.Path(cache_dir, 'x')",
        )),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["/c", Value(False, None, "WHERE")])
def test_only_a_function_that_gives_the_same_path_back_leaves_it_a_cache_dir(
    tmp_path: Path, expression: str, same: bool, value: object
) -> None:
    line = f"AutoModel.from_pretrained(path, cache_dir={expression})"
    (call,) = run(tmp_path, line, cache_dir=value).calls
    assert call.reached == ({"cache_dir"} if same else set())


DECIDED = table(
    r"""
    path is None  path is not None  path == 'o/n'  path != 'o/n'  n < 3  n <= 3  n > 2  n >= 4  n > 3  n >= 3  n < 4
    n <= 2  3 < n < 9  2 < n < 9  2 < n > 9  n == 3.0  flag == 1  0 == ''  'o' in path  'x' in path  'x' not in path
    'a' in names  'z' in names  'z' not in names  n in (1, 3)  'a' in options  'z' in options  'z' not in options
    n in []
    nothing == 0  0 == nothing  flag > 0  nothing == None  nothing in [0]  nothing in [None]  nothing != path  not names
    not []  bool(path)  bool('')  len(names) == 2  C is C  C == C  D is D  g is g  g == g  C is not C  obj is obj
    obj == None  None == obj  [] == None  None is names  options is None  None != C  g is None  path.endswith('n')
    path.startswith(('o', 'x'))  isinstance(path, str)  isinstance(path, int)  isinstance(n, (str, int))
    isinstance(n, (str, list))  isinstance(n, bool)  isinstance(flag, int)  isinstance(flag, float)
    isinstance(nothing, str)  isinstance(nothing, C)  isinstance(options, dict)  isinstance(options, str)
    isinstance(names, str)  isinstance(names, (int, float))  isinstance(n, dict)
    isinstance(options, (list, dict)) or flag  isinstance(path, list)  isinstance(path, pathlib.Path)
    isinstance(1.5, float)  isinstance([], bool)  path in [path]  path in ['x', 'o/n']  {} == None
    n is n  options['b'] is flag  options['b'] == flag  flag is flag  nothing is nothing  path is path
    bool(names)  bool(options)  bool([])  bool({})  bool(())  bool(C)  bool(list(names))  1 < 2 <= 2
    1 in [2, 3]  (1 in [2]) == False
    """
)


@pytest.mark.parametrize("condition", DECIDED)
def test_a_condition_on_known_values_is_decided_as_python_decides_it(tmp_path: Path, condition: str) -> None:
    result = run(tmp_path, f"AutoModel.from_pretrained('o/yes' if {condition} else 'o/no')")
    decided = "o/yes" if eval(condition, dict(NAMES)) else "o/no"
    assert [(call.repo_id, call.certain) for call in result.calls] == [(decided, True)]


UNDECIDED = table(
    r"""
    other == path  path == other  other is None  other < 3  3 < other  n < path  path < 'x'  n < names  other in path
    path in other  other in names  path in [other]  path in [other, 'x']  other not in names  n in path  path in n
    n in 'a3'  other in options  path in {**other}  C in C  C == g  C == D  C is not D  g is h  obj == C()
    isinstance(other, str)  isinstance(obj, C)  isinstance(path, other)  isinstance(options, list)
    isinstance(names, list)  isinstance(names, tuple)  isinstance(path, C)  isinstance(names, C)
    isinstance(path, (other, int))  isinstance(options, (list, C))  isinstance([], set)  isinstance(path, str, 1)
    torch.x() == torch.x()  C is obj  g(1) < 2 < other  names < 3  path == torch.x()  options == {}  [1] == [1]
    """
)


@pytest.mark.parametrize("condition", UNDECIDED)
def test_a_condition_on_what_is_not_known_is_left_open(tmp_path: Path, condition: str) -> None:
    result = run(tmp_path, f"AutoModel.from_pretrained('o/yes' if {condition} else 'o/no')")
    assert [(call.repo_id, call.certain) for call in result.calls] == [("o/yes", False), ("o/no", False)]


ON_DISK = {
    True: table(
        """
        os.path.exists(here)  os.path.isdir(here)  os.path.lexists(here)  os.path.isfile('weights/a.bin')
        os.path.lexists('outputs/link')  os.path.exists('~/mine')  os.path.isdir('.')  os.path.isdir('opensora')
        posixpath.exists(here)  os.path.exists(pathlib.Path(here) / 'a.bin')
        os.path.exists(here if torch.x() else 'opensora')
        """
    ),
    False: table(
        """
        os.path.isfile(here)  os.path.isdir('weights/a.bin')  os.path.exists('outputs/link')  os.path.exists('~/gone')
        os.path.exists(path)  os.path.exists('/no/where')  os.path.exists('')  os.path.isdir('')  os.path.exists('\\0')
        os.path.exists(os.path.join(here, 'b.bin'))  os.path.exists('/gone' if torch.x() else './gone')
        os.path.lexists('gone')
        """
    ),
    None: table(
        """
        os.path.exists(nothing)  os.path.exists(other)  os.path.exists(n)  os.path.exists(here, n)  os.path.isdir()
        os.path.exists(here if torch.x() else '/gone')  os.path.exists(here if torch.x() else other)
        os.path.exists(other if torch.x() else torch.y())  os.path.ismount(here)
        """
    ),
}


@pytest.mark.parametrize(
    ("condition", "decided"), [(each, decided) for decided in ON_DISK for each in ON_DISK[decided]]
)
def test_the_disk_is_asked_from_the_root_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str, decided: bool | None
) -> None:
    for name in ("weights/a.bin", "home/mine", "outputs/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")
    (tmp_path / "outputs" / "link").symlink_to("gone")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home")
    result = run(tmp_path, f"AutoModel.from_pretrained('o/yes' if {condition} else 'o/no')")
    assert repos(result) == (["o/yes", "o/no"] if decided is None else ["o/yes" if decided else "o/no"])


FEW = {
    True: table("one in ('a', 'b')  one != 'c'  three > 0  one not in ['c']  one is not None"),
    False: table("one == 'c'  'c' == one  one is None  three < 1  one in ['c']"),
    None: table("one == 'a'  one == two  two == two  one < 3  three >= 2  one in ['a']  one in other  one == other"),
}


@pytest.mark.parametrize(("condition", "decided"), [(each, decided) for decided in FEW for each in FEW[decided]])
def test_one_of_a_few_values_is_compared_as_each_of_them(tmp_path: Path, condition: str, decided: bool | None) -> None:
    choices = "one, two, three = ('a' if torch.x() else 'b'), ('b' if torch.y() else 'c'), (1 if torch.z() else 2)"
    result = run(tmp_path, f"{choices}; AutoModel.from_pretrained('o/yes' if {condition} else 'o/no')")
    assert repos(result) == (["o/yes", "o/no"] if decided is None else ["o/yes" if decided else "o/no"])


@pytest.mark.parametrize(
    "expression",
    table(
        "(items + ['b'])[0]  (['b'] + items)[0]  items[0]  items[0:1][0]  '-'.join(items)  len(items)  list(items)[0]"
    ),
)
def test_a_list_that_may_have_grown_is_not_known(tmp_path: Path, expression: str) -> None:
    line = "items = ['a']\n    for each in other:\n        items.insert(0, each)\n"
    (call,) = run(tmp_path, f"{line}    AutoModel.from_pretrained({expression})").calls
    assert (call.repo_id, call.repo_text) == (None, ast.unparse(ast.parse(expression)))
    for condition, found in (("'a' in items", ["o/yes"]), ("'z' in items", ["o/yes", "o/no"])):
        assert repos(run(tmp_path, f"{line}    AutoModel.from_pretrained('o/yes' if {condition} else 'o/no')")) == found


@pytest.mark.parametrize(
    "expression",
    table(
        """
        tuple(['a'])  names + ('c',)  (names + ('c',))[0:1]  ('a',)[0:]  names  list(['a'])  list(names)  ['a'] + ['b']
        ['a', 'b'][0:1]  ['a']  tuple(['a'])[0:]  list(names)[1:]
        """
    ),
)
def test_a_list_grows_under_each_of_its_names_and_a_tuple_does_not(tmp_path: Path, expression: str) -> None:
    lines = [f"made = {expression}", "alias = made", "made += ('z',)"]
    known = dict(NAMES)
    exec("\n".join(lines), known)
    (call,) = run(tmp_path, "\n    ".join([*lines, "AutoModel.from_pretrained(f'{len(alias)}{len(made)}')"])).calls
    assert call.repo_id == f"{len(known['alias'])}{len(known['made'])}"


@pytest.mark.parametrize(
    ("function", "certain"),
    [
        ("other.log.info", True),
        ("other.warning", True),
        ("outside.log.info", True),
        ("os.path.join", True),
        ("put_together", True),
        ("torch.load", True),
        ("outside.load", False),
        ("outside.info.load", False),
        ("other.os.load", False),
    ],
)
def test_what_is_told_a_cache_dir_may_load_with_it(tmp_path: Path, function: str, certain: bool) -> None:
    unknown = run(tmp_path, f"import outside; {function}(cache_dir)", cache_dir="/hub").unknown
    told = f"{function}(...) in opensora/loaders.py:{{}}: where cache_dir goes from there cannot be told"
    assert [re.sub(r"py:\d+", "py:{}", each) for each in unknown] == [told] * (not certain)


def test_what_is_one_of_two_cache_dirs_is_a_cache_dir(tmp_path: Path) -> None:
    line = "import outside; outside.load(options['cache_dir'] if torch.x() else cache_dir)"
    unknown = run(tmp_path, line, cache_dir="/one", options={"type": "other", "cache_dir": "/two"}).unknown
    assert [each.partition(": ")[2] for each in unknown] == ["where cache_dir goes from there cannot be told"]
