"""The proof of an edited piece: what it lets pass, what it does not, and that nothing else is ever written."""

from __future__ import annotations

import sys

import pytest
from proving import change_key, prove_config_edit, source_change

from rewriter.decide.plan import edit_configs
from rewriter.edit import loader
from rewriter.edit.loader import EditError, edit_loader
from rewriter.edit.proof import is_proved
from rewriter.model import REMOVE, Decision, FileResult, SourceChange, Span

PLACE = Span(1, 0, 1, 1)
OLD = 'dict(type="t5", a=dict(b=1), c=(1.0), cache_dir=None)'
NEW = OLD.replace("None", '"/c"')


def change(target: str = "literal", key: str = "cache_dir", name: str = "", default: object = "/c") -> SourceChange:
    return SourceChange("/x.py", target, PLACE, key, name, default)  # type: ignore[arg-type]


RIGHT = {
    "replaced": (OLD, NEW, change()),
    "moved": (OLD, 'dict(cache_dir="/c", type="t5", a=dict(b=1), c=(1.0))', change()),
    "removed": (OLD, OLD.replace(", cache_dir=None", ""), change(default=REMOVE)),
    "a u string as key": ("{u'cache_dir': 1}", "{u'cache_dir': '/c'}", change()),
    "a name": ("f(a, m=1)", "f(a, m=m)", change("keyword", "m", "m")),
    "a value": ("None", "hub", change("value", name="hub")),
    "a parameter": ("def f(a): ", "def f(a, k=None): ", change("parameter", "k", "k", None)),
    "a parameter behind a star": (
        "def f(*a, **kw): ",
        "def f(*a, cache_dir: 'str' = '/c', **kw): ",
        change("parameter", name="cache_dir"),
    ),
}


@pytest.mark.parametrize(("old", "new", "requested"), RIGHT.values(), ids=RIGHT)
def test_a_right_edit_passes(old: str, new: str, requested: SourceChange) -> None:
    assert is_proved(old, new, requested)
    assert not is_proved(old, old, requested)


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
    assert not is_proved(OLD, NEW.replace(right, wrong, 1), change())


@pytest.mark.parametrize(
    "wrong",
    [
        'f(cache_dir=None, d="cuda", **kw)',
        'f(d="cuda", cache_dir="/", **kw)',
        'f(d="cuda", cache_dir=d, **kw)',
        'f(d="cuda", *, cache_dir=None, **kw)',
        'f(d="cuda", *cache_dir, **kw)',
        'f(d="cuda", **kw)',
        'f(cache_dir, d="cuda", **kw)',
        'f(d="cpu", cache_dir=None, **kw)',
    ],
)
def test_a_wrong_parameter_does_not_pass(wrong: str) -> None:
    requested = change("parameter", name="cache_dir", default=None)
    assert is_proved('def f(d="cuda", **kw): ', 'def f(d="cuda", cache_dir=None, **kw): ', requested)
    assert not is_proved('def f(d="cuda", **kw): ', f"def {wrong}: ", requested)


def test_a_file_whose_edit_is_not_proved_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    right = loader._edit_text
    monkeypatch.setattr(loader, "_edit_text", lambda text, *more: right(text.replace("odd=1", "odd=2"), *more))
    results = []
    for name in ("odd", "even"):
        old = f"\nvae = dict({name}=1)\n".encode()
        (change,) = change_key("vae", "cache_dir", "/c")(old)
        decision = Decision(change.component, "set", "AE", changes=(change,))
        results.append(FileResult(f"/x/{name}.py", None, (decision,), old=old))
    edited, refused = edit_configs(results)
    assert [each.new for each in edited] == [results[0].old, b'\nvae = dict(even=1, cache_dir="/c")\n']
    assert [(each.code, each.path, each.line) for each in refused.values()] == [("OSR900", "/x/odd.py", 2)]


QUOTES = [] if sys.version_info >= (3, 12) else ['print(f"{build(cfg)}")\n']  # where an f-string takes none of its own


@pytest.mark.parametrize("source", ["build(x for x in y)\n", *QUOTES])
def test_what_would_not_be_python_is_refused(source: str) -> None:
    with pytest.raises(EditError):
        edit_loader(source.encode(), [source_change(source, "literal", source.count("print"), default="/c")])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vae = {u'cache_dir': None, 'a': 1}\n", "vae = {u'cache_dir': '/c', 'a': 1}\n"),
        ("vae = dict(a=(b := 1))\n", 'vae = dict(a=(b := 1), cache_dir="/c")\n'),
        ("vae = dict(cache_dir=(b := 1))\n", 'vae = dict(cache_dir="/c")\n'),
    ],
)
def test_rare_forms_are_edited_rightly(old: str, new: str) -> None:
    assert prove_config_edit(old.encode(), change_key("vae", "cache_dir", "/c")) == new.encode()
