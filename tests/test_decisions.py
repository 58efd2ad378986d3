"""What is decided about one component, whole: outcome, changes, trace, and every word of every finding."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loading import sources
from proving import read

from rewriter.builtin import trace_builtin
from rewriter.configs import inherit
from rewriter.decide import Decider, Decision, cache_option, hub_calls, shell, with_path
from rewriter.loaders import Sources
from rewriter.plan import keywords
from rewriter.request import Request
from rewriter.types import REMOVE, Component, Finding, HubCall, Trace, Value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CASES: dict[str, dict[str, Any]] = {
    case["name"]: case
    for case in tomllib.loads(Path(__file__).with_name("decisions.toml").read_text(encoding="utf-8"))["case"]
}
LOADERS = """
from diffusers import AutoencoderKL
from transformers import AutoModel
from opensora.registry import MODELS, build_module

@MODELS.register_module()
def Takes(from_pretrained=None, cache_dir=None, local_files_only=False, width=1):
    return AutoencoderKL.from_pretrained(from_pretrained, cache_dir=cache_dir, local_files_only=local_files_only)

@MODELS.register_module()
def Rejects(from_pretrained=None, width=1):
    return AutoencoderKL.from_pretrained(from_pretrained)

@MODELS.register_module()
def Drops(from_pretrained=None, cache_dir=None, local_files_only=False):
    return AutoencoderKL.from_pretrained(from_pretrained)

@MODELS.register_module()
def DropsTwice(from_pretrained=None, cache_dir=None):
    return AutoencoderKL.from_pretrained(from_pretrained), AutoencoderKL.from_pretrained(from_pretrained)

@MODELS.register_module()
def Hidden(from_pretrained=None, cache_dir=None, local_files_only=False):
    AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir, local_files_only=local_files_only)
    return AutoencoderKL.from_pretrained("org/hidden", cache_dir=cache_dir, local_files_only=local_files_only)

@MODELS.register_module()
def HalfHidden(from_pretrained=None, cache_dir=None):
    AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
    return AutoencoderKL.from_pretrained("org/hidden")

@MODELS.register_module()
def HalfTakes(from_pretrained=None, cache_dir=None):
    AutoModel.from_pretrained(from_pretrained)
    return AutoencoderKL.from_pretrained("org/hidden", cache_dir=cache_dir)

@MODELS.register_module()
def Branches(from_pretrained=None, cache_dir=None):
    if cache_dir is None:
        return AutoencoderKL.from_pretrained(from_pretrained)
    return AutoencoderKL.from_pretrained(from_pretrained, cache_dir=cache_dir)

@MODELS.register_module()
def Asserts(from_pretrained=None, cache_dir=None):
    assert from_pretrained in ("org/only",)
    return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)

@MODELS.register_module()
def Nothing(width=1):
    return width

@MODELS.register_module()
def NothingButTakes(width=1, cache_dir=None):
    return width

@MODELS.register_module()
def Unknown(maker=None, **kwargs):
    return maker(**kwargs)

@MODELS.register_module()
def Around(inner=None, cache_dir=None):
    return build_module(inner, MODELS)

@MODELS.register_module()
def Both(from_pretrained=None, inner=None, cache_dir=None):
    AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
    return build_module(inner, MODELS)
"""


@pytest.fixture(scope="module")
def loaders(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return sources(tmp_path_factory.mktemp("checkout"), loaders=LOADERS)


def component(config: str, base: str, path: str, base_path: str, name: str = "") -> Component:
    """The named component, or the last one that is not replaced, or the first."""
    file = read(("_base_ = 'base.py'\n" if base else "") + config.strip("\n") + "\n", path)
    found = inherit(file, {base_path: read(base + "\n", base_path)}.get).components
    alive = [c for c in found if c.replaced_by is None and name in ("", ".".join(c.keys))]
    return alive[-1] if alive else found[0]


def decided(case: Mapping[str, Any], loaders: Sources) -> Decision:
    path, base_path = (os.path.join(loaders.root, "configs", name) for name in ("sample.py", "base.py"))
    found = component(case["config"], case.get("base", ""), path, base_path, case.get("component", ""))

    def trace(kind: str, given: Mapping[str, Value]) -> Trace:
        return loaders.trace(kind, keywords(given))

    def threadable(kind: str, given: Mapping[str, Value], key: str) -> str | None:
        assert given["type"].value == kind
        wanted = [given[name] for name in ("cache_dir", "local_files_only", "width") if name in given]
        assert all(value == Value(True, value.value, repr(value.value)) for value in wanted)
        assert key in given or key == "to-repo"
        source: str | None = case.get("source")
        return source if (key == "to-repo") == (source == "to-repo") else None

    decider = Decider(path, loaders.root, Request(**_tuples(case["asked"])), trace, threadable)
    return decider.decide(found, case.get("owner"))


def _tuples(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(tuple(part) for part in v) if isinstance(v, list) else v for k, v in asked.items()}


def told(decision: Decision, root: str) -> str:
    """A decision, every part of it, as text."""
    assert all(change.component is decision.component for change in decision.changes)
    changes = ", ".join(f"{c.key} {'removed' if c.value is REMOVE else repr(c.value)}" for c in decision.changes)
    lines = [f"{decision.outcome} {decision.type}{'' if decision.trace else ', untraced'}: {changes}"]
    lines += [f"keeps {key} {value!r}" for key, value in decision.kept]
    if decision.trace is not None:
        assert decision.trace.type == decision.type
        lines += [f"calls {c.callee} of {c.repo_text}: {' '.join(sorted(c.reached))}" for c in decision.trace.calls]
    for f in decision.findings:
        assert (f.path, f.component) == (f"{root}/configs/sample.py", ".".join(decision.component.keys))
        lines.append(f"{f.code} {f.severity} {f.line}:{f.column} {f.message} -> {f.remedy}")
    return "\n".join(line.rstrip() for line in lines).replace(root, "/checkout")


@pytest.mark.parametrize("name", CASES)
def test_a_decision_whole(name: str, loaders: Sources) -> None:
    assert told(decided(CASES[name], loaders), loaders.root) == CASES[name]["told"].strip("\n")


# --- what the loaders of a checkout cannot show -----------------------------------------------------


def alone(config: str, trace: Trace, root: str | None = None, **asked: Any) -> Decision:
    """The decision about a component whose loader does what ``trace`` says, whatever it is given."""
    found = component(config, "", "/x/configs/sample.py", "")
    decider = Decider("/x/configs/sample.py", root, Request(**asked), lambda _kind, _values: trace, lambda *_: None)
    return decider.decide(found)


def call(repo_id: str | None, text: str = "", **more: Any) -> HubCall:
    return HubCall(
        "C.from_pretrained", "from_pretrained", "diffusers", "C", "", 0, 0, repo_id, text or str(repo_id), **more
    )


def test_what_cannot_be_followed_is_refused_where_nothing_else_is_known() -> None:
    unknown = Trace("V", True, unknown=("first reason", "second reason"))
    refused = alone("vae = dict(type='V')", unknown, cache_dir="/hub")
    assert refused.outcome == "cannot"
    assert refused.findings == (
        Finding(
            "OSR007", "/x/configs/sample.py", 1, 6, "vae",
            "whether `V` loads from the Hub cannot be told: first reason",
            "look at its loader; to leave `vae` out of the run, name the others with --component",
        ),
    )  # fmt: skip
    assert alone("other = dict(type='V')", unknown, cache_dir="/hub").outcome == "not needed"


def test_what_a_loader_of_nothing_does_with_a_cache_dir_is_asked_with_one() -> None:
    asked: list[Mapping[str, Value]] = []

    def trace(kind: str, given: Mapping[str, Value]) -> Trace:
        asked.append(given)
        return Trace(kind, True, accepts=frozenset({"cache_dir"}), unknown=("a reason",) * ("cache_dir" in given))

    found = component("vae = dict(type='V')", "", "/x/configs/sample.py", "")
    request = Request(cache_dir="/hub")
    decision = Decider("/x/configs/sample.py", None, request, trace, lambda *_: None).decide(found)
    assert [given.get("cache_dir") for given in asked] == [None, Value(True, "/cache_dir", "'/cache_dir'")]
    assert [finding.code for finding in decision.findings] == ["OSR007"]


def test_each_call_is_told_that_a_keyword_may_not_reach() -> None:
    unseen, other = call("o/n", unseen=frozenset({"cache_dir"})), call("o/other")
    calls = tuple(
        replace(each, path=f"/x/loaders/{name}.py", line=3)
        for each, name in ((unseen, "a"), (other, "c"), (unseen, "b"))
    )
    decision = alone("vae = dict(type='V', cache_dir='/hub')", Trace("V", True, calls=calls), "/x", checking=True)
    told = [(each.code, each.message) for each in decision.findings if each.code in ("OSR005", "OSR007")]
    assert told == [
        ("OSR007", "whether cache_dir reaches C.from_pretrained (loaders/a.py:3) cannot be told: "
                   "not all that it is given is known"),
        ("OSR005", "cache_dir never reaches C.from_pretrained (loaders/c.py:3), which loads o/other"),
        ("OSR007", "whether cache_dir reaches C.from_pretrained (loaders/b.py:3) cannot be told: "
                   "not all that it is given is known"),
    ]  # fmt: skip


@pytest.mark.parametrize(("repo", "outcome"), [("/", "not needed"), ("o/n", "set")])
def test_what_cannot_be_followed_beside_what_is_known_is_a_warning(repo: str, outcome: str) -> None:
    some = Trace("V", True, unknown=("a reason", "another"), calls=(call(repo, reached=frozenset({"cache_dir"})),))
    decision = alone("vae = dict(type='V')", some, cache_dir="/hub")
    assert (decision.outcome, decision.findings) == (outcome, (
        Finding(
            "OSR007", "/x/configs/sample.py", 1, 6, "vae",
            "whether `V` loads anything else from the Hub cannot be told: a reason",
            "look at its loader, and try the result offline with `verify --level build`", "warning",
        ),
    ))  # fmt: skip
    assert alone("other = dict(type='V')", some, cache_dir="/hub").findings == ()


def test_without_a_checkout_places_are_shown_as_they_are_and_the_table_by_name() -> None:
    decision = alone(
        "vae = dict(type='OpenSoraVAE_V1_3', from_pretrained='o/n')",
        trace_builtin(
            "OpenSoraVAE_V1_3", {"from_pretrained": Value(True, "o/n", ""), "cache_dir": Value(True, "/", "")}
        ),
        cache_dir="/hub",
    )
    assert [finding.message for finding in decision.findings] == [
        "OpenSoraVAE_V1_3 (built-in table) takes no `cache_dir`: building `vae` raises a TypeError"
    ]


@pytest.mark.parametrize(("root", "shown"), [(None, "/x/l.py:7"), ("/x", "l.py:7"), ("/y", "/x/l.py:7")])
def test_a_place_is_shown_relative_to_its_checkout(root: str | None, shown: str) -> None:
    from rewriter.types import Failure

    trace = Trace("V", True, failures=(Failure("a is b", "/x/l.py", 7),))
    decision = alone("vae = dict(type='V')", trace, root, cache_dir="/hub")
    assert decision.findings[0].message == f"`V` does not take from_pretrained=None: `a is b` fails ({shown})"


def test_a_known_loader_has_a_known_repo_as_the_remedy() -> None:
    decision = alone("t5 = dict(type='t5')", Trace("t5", True, calls=(call("/no/t5"),)), cache_dir="/hub")
    asked = "--cache-dir /hub --set t5.from_pretrained=DeepFloyd/t5-v1_1-xxl --component t5"
    assert decision.findings[0].remedy == f"opensora-rewriter rewrite {{path}} {asked}"


def test_a_keyword_may_be_set_to_none() -> None:
    trace = Trace("V", True)
    overridden = alone("vae = dict(type='V')\nvae['a'] = 'x'", trace, sets=(("vae", "a", None),))
    assert [finding.code for finding in overridden.findings] == ["OSR008"]
    written = alone("vae = dict(type='V')", trace, sets=(("vae", "a", None),))
    assert [(change.key, change.value) for change in written.changes] == [("a", None)]


def test_calls_are_split_by_where_they_read() -> None:
    hub, computed, nested = call("o/n"), call(None, "f()"), call("o/n", via=("inner",))
    gone, here, none, empty = call("/no/such"), call("/"), call(None, "None"), call("", "''")
    trace = Trace("V", True, calls=(nested, none, empty, hub, here, gone, computed))
    assert hub_calls(trace, None) == ([hub, computed], [gone])
    assert hub_calls(trace, None, own=False) == ([nested, hub, computed], [gone])


def test_what_stands_under_the_checkout_is_local(tmp_path: Path) -> None:
    (tmp_path / "o" / "n").mkdir(parents=True)
    trace = Trace("V", True, calls=(call("o/n"),))
    assert hub_calls(trace, str(tmp_path)) == ([], [])


# --- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("/models/hf", "/models/hf"),
        ("a b", "'a b'"),
        ("it's", "'it'\"'\"'s'"),
        ("a\nb", "$'a\\nb'"),
        ("\t'\\~\x7f", "$'\\x09\\'\\\\~\\x7f'"),
        ("\udcff", "$'\\xff'"),
        ("\ud800", "$'\\xed\\xa0\\x80'"),
        ("é\n", "$'\\xc3\\xa9\\n'"),
        (" X\n", "$' X\\n'"),
        ("模", "'模'"),
    ],
)
def test_a_word_for_the_shell(text: str, word: str) -> None:
    assert shell(text) == word


def test_a_directory_is_asked_for_as_the_run_was() -> None:
    request = Request(cache_dir="/hub", cache_dirs=(("vae", "/my own"),))
    assert cache_option(request, "vae") == "--cache-dir 'vae=/my own'"
    assert cache_option(request, "t5") == "--cache-dir /hub"
    assert cache_option(Request(), "t5") == "--cache-dir DIR"


@pytest.mark.parametrize(("shown", "word"), [("a b.py", "'a b.py'"), ("-x.py", "./-x.py"), ("a.py", "a.py")])
def test_a_remedy_names_the_file_once(shown: str, word: str) -> None:
    finding = Finding("OSR001", "/p", 1, 0, "vae", "m", "rewrite {path} --set a={path}")
    assert with_path(finding, shown) == Finding("OSR001", "/p", 1, 0, "vae", "m", f"rewrite {word} --set a={{path}}")
