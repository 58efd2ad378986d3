"""The proof of an edited piece: what it lets pass, what it does not, and that nothing else is ever written."""

from __future__ import annotations

import sys

import pytest
from proving import change_key, prove_config_edit, source_change

from rewriter.decide.plan import edit_configs
from rewriter.edit import loader
from rewriter.edit.literals import EditError
from rewriter.edit.loader import edit_loader
from rewriter.edit.proof import is_proved
from rewriter.model import Decision, FileResult

OLD = 'dict(type="t5", a=dict(b=1), c=(1.0))'
NEW = OLD[:-1] + ', cache_dir="/c")'
HEADER = 'def f(d="cuda", **kw): '

RIGHT = {
    "last": (OLD, NEW, "cache_dir", '"/c"'),
    "first": (OLD, OLD.replace("dict(t", "dict(cache_dir='/c', t"), "cache_dir", '"/c"'),
    "removed": (NEW, OLD, "cache_dir", ""),
    "a key": ("{'a': 1, }", "{'a': 1, u'cache_dir': '/c', }", "cache_dir", '"/c"'),
    "a name": ("f(a)", "f(a, m=m)", "m", "m"),
    "a parameter": ("def f(a): ", "def f(a, k=None): ", "k", "None"),
    "a parameter behind a star": (
        "def f(*a, **kw): ",
        "def f(*a, cache_dir: 'str' = '/c', **kw): ",
        "cache_dir",
        "'/c'",
    ),
}


@pytest.mark.parametrize(("old", "new", "key", "value"), RIGHT.values(), ids=RIGHT)
def test_a_right_edit_passes(old: str, new: str, key: str, value: str) -> None:
    assert is_proved(old, new, key, value)
    assert not is_proved(old, old, key, value)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"/c"', '"/d"'),
        ('"/c"', 'str("/c")'),
        (', cache_dir="/c"', ""),
        ('cache_dir="/c"', '**{"cache_dir": "/c"}'),
        ('cache_dir="/c"', 'cache_dir="/c", d=1'),
        ("b=1", "b=1, cache_dir='/c'"),
        ("b=1", "b=True"),
        ("dict(b=1)", "None"),
        ("dict(b=1)", '{"b": 1}'),
        ('dict(type="t5"', 'dict(b, type="t5"'),
        ('"t5"', 'f"t5"'),
        ('type="t5", a=dict(b=1)', 'a=dict(b=1), type="t5"'),
        ('type="t5"', "x for x in y"),
        ("dict(type", "(dict(type"),
        ("dict(type", "a, dict(type"),
        ('"/c")', '"/c"), 1'),
    ],
)
def test_a_wrong_edit_of_a_dict_does_not_pass(right: str, wrong: str) -> None:
    assert right in NEW
    assert not is_proved(OLD, NEW.replace(right, wrong, 1), "cache_dir", '"/c"')


@pytest.mark.parametrize(
    "wrong",
    [
        'f(cache_dir=None, d="cuda", **kw)',
        'f(d="cuda", cache_dir="/", **kw)',
        'f(d="cuda", cache_dir=d, **kw)',
        'f(d="cuda", *cache_dir, **kw)',
        'f(d="cuda", **kw)',
        'f(cache_dir, d="cuda", **kw)',
        'f(d="cpu", cache_dir=None, **kw)',
    ],
)
def test_a_wrong_parameter_does_not_pass(wrong: str) -> None:
    assert is_proved(HEADER, 'def f(d="cuda", cache_dir=None, **kw): ', "cache_dir", "None")
    assert not is_proved(HEADER, f"def {wrong}: ", "cache_dir", "None")


def test_a_file_whose_edit_is_not_proved_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "is_proved", lambda old, *_: "odd" not in old)
    results = []
    for name in ("odd", "even"):
        old = f"\nvae = dict({name}=1)\n".encode()
        (change,) = change_key("vae", "cache_dir", "/c")(old)
        decision = Decision(change.component, "set", "AE", changes=(change,))
        results.append(FileResult(f"/x/{name}.py", None, (decision,), old=old))
    edited, refused = edit_configs(results, 2)
    assert [each.new for each in edited] == [results[0].old, b'\nvae = dict(even=1, cache_dir="/c")\n']
    assert [(each.code, each.path, each.line) for each in refused.values()] == [("OSR900", "/x/odd.py", 2)]


QUOTES = [] if sys.version_info >= (3, 12) else ['print(f"{build(cfg)}")\n']  # where an f-string takes none of its own


@pytest.mark.parametrize("source", ["build(x for x in y)\n", *QUOTES])
def test_what_would_not_be_python_is_refused(source: str) -> None:
    with pytest.raises(EditError):
        edit_loader(source.encode(), [source_change(source, "keyword", source.count("print"), default="/c")])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vae = {u'cache_dir': None, 'a': 1}\n", "vae = {u'cache_dir': '/c', 'a': 1}\n"),
        ("vae = dict(a=(b := 1))\n", 'vae = dict(a=(b := 1), cache_dir="/c")\n'),
    ],
)
def test_rare_forms_are_edited_rightly(old: str, new: str) -> None:
    assert prove_config_edit(old.encode(), change_key("vae", "cache_dir", "/c")) == new.encode()
