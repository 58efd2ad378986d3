"""From files to edits: configs that inherit from each other, loaders that are shared, and edits that come out wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from conftest import FIXTURES
from loading import write

from rewriter import plan
from rewriter.checkout import Target
from rewriter.frozen import replace
from rewriter.plan import FileResult, Loaders, Plan, ProofError
from rewriter.request import Request
from rewriter.types import Finding

Run = Callable[..., Result]

VAE = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")\n'
SET = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b", cache_dir="/c")\n'
T5 = 'text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl")\n'
ASKED = Request(cache_dir="/c")


def configs(root: Path, **texts: str) -> list[Target]:
    """``configs/NAME.py`` for every text, in their order, in a checkout with v1.2's loaders."""
    folder = root / "configs"
    folder.mkdir(parents=True)
    shutil.copytree(FIXTURES / "v1.2" / "opensora", root / "opensora")
    targets = []
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
        targets.append(Target(str(folder / f"{name}.py"), str(root), True))
    return targets


def outcomes(result: FileResult) -> list[tuple[str, str]]:
    return [(".".join(decision.component.keys), decision.outcome) for decision in result.decisions]


def written(made: Plan) -> dict[str, str]:
    """The new text of every config that is edited, by its name."""
    return {Path(edit.path).stem: edit.new.decode() for edit in made.config_edits}


# --- configs that inherit -----------------------------------------------------------------------


@pytest.mark.parametrize("first", ["base", "heir"])
@pytest.mark.parametrize("fork_from", [48, 1])
def test_a_component_that_is_only_inherited_is_set_where_it_is_written(
    first: str, fork_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FORK_FROM", fork_from)
    texts = {"base": VAE, "heir": "_base_ = './base.py'\n" + T5, "other": "_base_ = 'base.py'\n"}
    order = ("base", "heir", "other") if first == "base" else ("heir", "other", "base")
    made = plan.rewrite(configs(tmp_path, **{name: texts[name] for name in order}), ASKED, Loaders())
    assert written(made) == {"base": SET, "heir": texts["heir"].replace(")\n", ', cache_dir="/c")\n')}
    assert made.all_findings == ()
    assert {Path(result.path).stem: outcomes(result) for result in made.results} == {
        "base": [("vae", "set")],
        "heir": [("vae", "inherited"), ("text_encoder", "set")],
        "other": [("vae", "inherited")],
    }


def test_an_heir_that_changes_a_component_of_its_base_sees_what_the_base_will_say(tmp_path: Path) -> None:
    heir = "_base_ = 'base.py'\nvae = dict(subfolder='x')\n"
    made = plan.rewrite(configs(tmp_path, heir=heir, base=VAE), ASKED, Loaders())
    assert written(made) == {"base": SET}
    assert outcomes(made.results[0]) == [("vae", "already")]


@pytest.mark.parametrize(
    ("heir", "told"),
    [
        ("_base_.text_encoder['cache_dir'] = '/o'\ntext_encoder = dict(model_max_length=3)\n", "text_encoder"),
        ("_base_.text_encoder['cache_dir'] = '/o'\n", "text_encoder"),
        ("_base_.text_encoder.model_max_length = 3\n", "text_encoder"),
        ("for q in _base_.values():\n    q['cache_dir'] = '/o'\n", "vae text_encoder"),
        ("_base_.model.vae = dict(type='VideoAutoencoderKL', from_pretrained='a/b')\n", "model.vae"),
        ("_base_.text_encoder['cache_dir'] = '/o'\ntext_encoder = dict(_delete_=True, type='classes')\n", ""),
        ("vae = dict(micro_batch_size=int(_base_.get('n', 3)))\n", ""),
    ],
)
def test_an_heir_that_changes_what_its_base_holds_is_not_said_to_be_set(heir: str, told: str, tmp_path: Path) -> None:
    texts = {
        "base": VAE + T5 + "model = dict()\n",
        "heir": "_base_ = './base.py'\n" + heir,
        "far": "_base_ = 'heir.py'\n",
    }
    targets = configs(tmp_path, **texts)
    made = plan.rewrite(targets, ASKED, Loaders())
    assert written(made) == {"base": SET + T5.replace('xxl"', 'xxl", cache_dir="/c"') + "model = dict()\n"}
    for result in made.results[1:]:
        assert [(f.code, f.component) for f in result.all_findings] == [("OSR007", name) for name in told.split()]
        assert all("by way of" in f.message or "not a dict" in f.message for f in result.all_findings)
        refused = [decision for decision in result.decisions if decision.outcome == "cannot"]
        assert [".".join(decision.component.keys) for decision in refused] == told.split()


def test_configs_that_inherit_from_each_other_in_a_circle_are_read_once_each(tmp_path: Path) -> None:
    targets = configs(tmp_path, a="_base_ = 'b.py'\n" + VAE, b="_base_ = 'a.py'\n" + T5)
    made = plan.rewrite(targets, ASKED, Loaders())
    assert written(made)["a"] == "_base_ = 'b.py'\n" + SET


def test_what_may_come_from_a_base_that_cannot_be_named_is_told(tmp_path: Path) -> None:
    made = plan.check(configs(tmp_path, a="import os\n_base_ = os.environ['BASE']\n" + T5), Request(), Loaders())
    path = str(tmp_path / "configs/a.py")
    assert [f for f in made.all_findings if f.code == "OSR007"] == [
        Finding(
            "OSR007", path, 1, 0, "",
            "`vae` may come from a base file that cannot be read: line 2: `_base_` says os.environ['BASE'], "
            "which cannot be told without running it",
            "write `_base_` as a plain path to an existing file",
        )
    ]  # fmt: skip


def test_a_base_that_cannot_be_read_is_a_finding_of_its_own_and_not_of_its_heirs(tmp_path: Path) -> None:
    targets = configs(tmp_path, base="vae = dict(\n", heir="_base_ = './base.py'\n" + T5)
    made = plan.rewrite(targets, ASKED, Loaders())
    assert [(finding.code, Path(finding.path).stem) for finding in made.all_findings] == [
        ("OSR900", "base"),
        ("OSR007", "heir"),
    ]
    assert set(written(made)) == {"heir"}


# --- configs that inherit, and would not load any more -------------------------------------------

T5_SET = T5.replace(")\n", ', cache_dir="/c")\n')
CLIP = "text_encoder = dict(type='clip', from_pretrained='openai/clip')\n"
REJECTED = (
    "`text_encoder` of configs/heir.py takes this dict over, and its loader rejects cache_dir: ClipEncoder.__init__ "
    "(opensora/models/text_encoder/clip.py:27) has no such parameter"
)
OWN = "write `text_encoder` of configs/heir.py with `_delete_=True` and all its keywords"
NO_SOURCE = replace(ASKED, edit_source=False)


@pytest.mark.parametrize("covered", [True, False])
@pytest.mark.parametrize("by_way", [True, False])
def test_the_loader_of_a_dict_that_an_heir_makes_of_a_set_one_is_edited_too(
    covered: bool, by_way: bool, tmp_path: Path
) -> None:
    texts = {"base": T5, "heir": f"_base_ = '{'mid' if by_way else 'base'}.py'\n" + CLIP, "mid": "_base_ = 'base.py'\n"}
    targets = configs(tmp_path, **texts)
    made = plan.rewrite(targets if covered else targets[:1], ASKED, Loaders())
    assert written(made) == {"base": T5_SET}
    assert [Path(edit.path).name for edit in made.sources] == ["clip.py"]
    assert made.all_findings == ()
    dropped = plan.drop(made, {targets[0].path: Finding("OSR901", targets[0].path, 1, 0, "", "")})
    assert dropped.edits == () or covered


def test_what_an_heir_outside_of_the_run_has_alone_stays_as_it_is(tmp_path: Path) -> None:
    own = "vae = dict(type='OpenSoraVAE_V1_2', from_pretrained='hpcai-tech/OpenSora-VAE-v1.2')\n"
    targets = configs(tmp_path, base=T5, heir="_base_ = './base.py'\n" + CLIP + own)
    made = plan.rewrite(targets[:1], ASKED, Loaders())
    assert written(made) == {"base": T5_SET}
    assert [Path(edit.path).name for edit in made.sources] == ["clip.py"]


HEIRS = {
    "another loader that rejects it": (CLIP, NO_SOURCE, "OSR004", REJECTED, OWN),
    "an asked key of the same loader": (
        "text_encoder = dict(model_max_length=3)\n", Request(sets=(("text_encoder", "colour", 1),)), "OSR004",
        "`colour`", "leave out",
    ),
    "a loader that loads nothing": (
        "text_encoder = dict(type='classes')\n", ASKED, "OSR004",
        "`text_encoder` of configs/heir.py takes this dict over, and its loader rejects cache_dir: "
        "ClassEncoder.__init__ (opensora/models/text_encoder/classes.py:12) has no such parameter", OWN,
    ),
    "no loader": (
        "text_encoder = dict(type='nobody')\n", ASKED, "OSR007",
        "`text_encoder` of configs/heir.py takes this dict over, and no loader is registered as `nobody` in the",
        OWN,
    ),
    "a type that is computed": (
        "text_encoder = dict(type=str('t5'))\n", ASKED, "OSR007",
        "`text_encoder` of configs/heir.py takes this dict over, and its type is `str('t5')`, which only running the "
        "config would tell", OWN,
    ),
    "a dict that is computed": (
        "text_encoder = make()\n", ASKED, "OSR007",
        "`text_encoder` of configs/heir.py may take this dict over: it is `make()`, which only running the config",
        "write `text_encoder` of configs/heir.py as a dict",
    ),
}  # fmt: skip


@pytest.mark.parametrize("covered", [True, False])
@pytest.mark.parametrize(("heir", "request_", "code", "message", "remedy"), HEIRS.values(), ids=HEIRS)
def test_a_dict_of_which_an_heir_makes_what_would_not_load_any_more_is_refused(
    heir: str, request_: Request, code: str, message: str, remedy: str, covered: bool, tmp_path: Path
) -> None:
    targets = configs(tmp_path, base=VAE + T5, heir="_base_ = './base.py'\n" + heir)
    made = plan.rewrite(targets if covered else targets[:1], request_, Loaders())
    assert "text_encoder" not in [change.component.name for edit in made.config_edits for change in edit.changes]
    (finding,) = made.results[0].all_findings
    assert (finding.code, finding.severity) == (code, "error")
    assert message in finding.message
    assert remedy in finding.remedy
    if request_ is not HEIRS["an asked key of the same loader"][1]:
        assert written(made) == {"base": SET + T5}  # the rest goes on
        assert made.sources == ()


HARMLESS = {
    "everything anew": "text_encoder = dict(_delete_=True, type='clip', from_pretrained='openai/clip')\n",
    "the same loader": "text_encoder = dict(model_max_length=3)\n",
    "replaced": CLIP + "text_encoder = None\n",
    "no dict": "text_encoder = None\n",
    "another": "vae = dict(type='nobody', from_pretrained='a/b')\n",
    "a file that cannot be read": "x = (\n",
}


@pytest.mark.parametrize("heir", HARMLESS.values(), ids=HARMLESS)
def test_an_heir_that_still_loads_does_not_matter(heir: str, tmp_path: Path) -> None:
    targets = configs(tmp_path, base=T5, heir="_base_ = './base.py'\n" + heir)
    os.mkdir(tmp_path / "configs" / "folder.py")
    made = plan.rewrite(targets[:1], NO_SOURCE, Loaders())
    assert (written(made), made.all_findings) == ({"base": T5_SET}, ())


def test_a_type_that_is_set_in_an_heir_of_the_run_counts(tmp_path: Path) -> None:
    targets = configs(tmp_path, base=T5, heir="_base_ = './base.py'\n" + CLIP)
    request = replace(NO_SOURCE, sets=(("text_encoder", "type", "t5"),))
    made = plan.rewrite(targets, request, Loaders())
    assert written(made)["base"] == T5_SET
    assert made.results[0].all_findings == ()


def test_a_type_that_is_set_where_an_heir_brings_keywords_of_another(tmp_path: Path) -> None:
    heir = "_base_ = './base.py'\ntext_encoder = dict(shardformer=True)\n"
    targets = configs(tmp_path, base=T5, heir=heir)
    made = plan.rewrite(targets[:1], Request(sets=(("text_encoder", "type", "clip"),)), Loaders())
    assert written(made) == {}
    (finding,) = made.all_findings
    assert "its loader rejects shardformer: ClipEncoder.__init__" in finding.message


def test_with_force_what_an_heir_makes_of_a_dict_is_a_warning(tmp_path: Path) -> None:
    targets = configs(tmp_path, base=T5, heir="_base_ = './base.py'\n" + CLIP)
    made = plan.rewrite(targets[:1], replace(NO_SOURCE, force=True), Loaders())
    assert written(made) == {"base": T5_SET}
    assert [(f.code, f.severity, f.message, f.remedy) for f in made.all_findings] == [
        ("OSR004", "warning", REJECTED, OWN + ", or let its loader be edited (without --no-source)")
    ]


def test_an_heir_counts_for_a_lone_config_whose_loaders_are_built_in(tmp_path: Path) -> None:
    texts = {"base": T5, "heir": "_base_ = './base.py'\ntext_encoder = dict(type='classes')\n"}
    targets = []
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
        targets.append(Target(str(tmp_path / f"{name}.py"), None, True))
    made = plan.rewrite(targets, ASKED, Loaders())
    assert written(made) == {}
    assert "(built-in table)" in made.results[0].all_findings[0].message


# --- dicts that are spread into others -------------------------------------------------------------

BASE = VAE.replace("vae", "base")
SPREAD = BASE + "vae = dict(**base, micro_batch_size=4)\n"
TWICE = "line 2 takes `base` over by `**` and {} `cache_dir` besides; twice would be a TypeError"
SELECTED = replace(ASKED, components=("base", "vae"))
ALL = replace(ASKED, all_components=True)
ONLY_BASE = replace(ASKED, components=("base",))


def changed(made: Plan) -> list[tuple[str, str]]:
    return [(change.component.name, change.key) for edit in made.config_edits for change in edit.changes]


SPREADS = {
    "not selected": (SPREAD, ASKED, [("vae", "cache_dir")], []),
    "every component": (SPREAD, ALL, [("vae", "cache_dir")], []),
    "both by name": (SPREAD, SELECTED, [("vae", "cache_dir")], [TWICE.format("gets")]),
    "the spread one alone": (
        SPREAD, ONLY_BASE, [("base", "cache_dir")], ["`vae` still loads a/b from the Hub without cache_dir"],
    ),
    "written there": (
        SPREAD.replace("=4", "=4, cache_dir='/c'"), SELECTED, [], [TWICE.format("has")],
    ),
    "written there, every component": (SPREAD.replace("=4", "=4, cache_dir='/c'"), ALL, [], []),
    "written there, not selected": (SPREAD.replace("=4", "=4, cache_dir='/c'"), ASKED, [], []),
    "written in a call that is not looked at": (
        BASE + "first = dict(**base, local_files_only=True)\n", ALL, [("first", "cache_dir")], [],
    ),
    "there already": (
        SPREAD.replace('/b")', '/b", cache_dir="/old")'), ALL, [("base", "cache_dir")],
        ["`cache_dir` comes in through a `**` spread; a second one in the call would be a TypeError"],
    ),
    "a literal": (
        BASE + "vae = {**base, 'cache_dir': None}\n", SELECTED, [("base", "cache_dir"), ("vae", "cache_dir")], [],
    ),
    "by way of another": (
        BASE + "mid = dict(base)\nvae = dict(**mid, cache_dir='/c')\n", SELECTED, [],
        ["line 3 takes `base` over by `**` and has `cache_dir` besides; twice would be a TypeError"],
    ),
    "two in one call": (
        BASE + "more = dict(type='VideoAutoencoderKL', from_pretrained='c/d')\nrest = dict(**dict(x=1), **base)\n"
        "vae = [dict, more]\n", replace(ASKED, components=("base", "more")),
        [("base", "cache_dir"), ("more", "cache_dir")], ["`rest` still loads a/b from the Hub without cache_dir"],
    ),
    "beside what cannot be told": (
        BASE + "rest = dict(**base, **make())\n", ONLY_BASE, [],
        ["`rest` still loads a/b from the Hub without cache_dir",
         "line 2 takes `base` over by `**` and may have `cache_dir` besides; twice would be a TypeError"],
    ),
    "the first key there already, every component": (
        SPREAD.replace('/b")', '/b", cache_dir="/c")'), replace(ALL, local_files_only=True),
        [("vae", "local_files_only")], [],
    ),
    "a key that goes": (
        SPREAD.replace('/b")', '/b", cache_dir="/old")'), Request(unsets=(("base", "cache_dir"),)),
        [("base", "cache_dir")], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "request_", "changes", "messages"), SPREADS.values(), ids=SPREADS)
def test_no_call_gets_a_key_by_itself_and_by_what_is_spread_into_it(
    text: str, request_: Request, changes: list[tuple[str, str]], messages: list[str], tmp_path: Path
) -> None:
    made = plan.rewrite(configs(tmp_path, a=text), request_, Loaders())
    assert (changed(made), [finding.message for finding in made.all_findings]) == (changes, messages)


def test_two_that_are_spread_into_one_call_do_not_both_get_a_key(tmp_path: Path) -> None:
    text = BASE + "more = dict(subfolder='x')\nrest = dict(**base, **more)\n"
    sets = (("base", "micro_batch_size", 1), ("more", "micro_batch_size", 2))
    made = plan.rewrite(configs(tmp_path, a=text), Request(sets=sets), Loaders())
    assert changed(made) == [("base", "micro_batch_size")]
    assert [(f.component, f.message, f.remedy) for f in made.all_findings] == [
        ("more", "line 3 takes `more` over by `**` and gets `micro_batch_size` besides; twice would be a TypeError",
         "leave out either `more` or what stands on line 3")
    ]  # fmt: skip


def test_a_check_does_not_advise_what_would_be_refused(tmp_path: Path) -> None:
    target = configs(tmp_path, a=SPREAD.replace("=4", "=4, cache_dir='/c'"))
    assert plan.check(target, replace(ALL, cache_dir=None), Loaders()).all_findings[1:] == ()
    assert [f.code for f in plan.check(target, ASKED, Loaders()).all_findings] == ["OSR006"]
    found = plan.check(target, ONLY_BASE, Loaders()).all_findings
    assert [(f.code, f.remedy) for f in found] == [
        ("OSR001", "take `cache_dir` out of line 2, or leave `base` out of the run")
    ]


# --- dicts that are made of others ----------------------------------------------------------------

MADE = "`made` on line 2"
NO_LOADER = MADE + " takes this dict over, and no loader is registered as `iddpm` in the sources"
COPIES = {
    "no loader": ("made = dict(vae, type='iddpm')\n", "OSR007", NO_LOADER),
    "made in passing": ("made = {**dict(vae), 'type': 'iddpm'}\n", "OSR007", NO_LOADER),
    "in a literal": ("made = {**vae, 'type': 'iddpm'}\n", "OSR007", NO_LOADER),
    "a union": ("made = vae | {'type': 'iddpm'}\n", "OSR007", NO_LOADER),
    "a loader that rejects it": (
        "made = dict(vae, type='classes')\n", "OSR004",
        MADE + " takes this dict over, and its loader rejects cache_dir: ClassEncoder.__init__ "
        "(opensora/models/text_encoder/classes.py:12) has no such parameter",
    ),
    "a copy that is changed": ("made = vae.copy()\nmade['type'] = 'iddpm'\n", "OSR007", NO_LOADER),
    "updated": (
        "made = dict(type='iddpm')\nmade.update(vae)\nmade.update(type='iddpm')\n", "OSR007", NO_LOADER,
    ),
    "by way of another": ("mid = dict(vae)\nmade = dict(mid, type='iddpm')\n", "OSR007", NO_LOADER.replace("2", "3")),
    "in doubt": ("made = dict(vae, **make(), type='iddpm')\n", "OSR007", NO_LOADER),
    "a copy in doubt": (
        "if f:\n    vae['x'] = 1\nmade = vae.copy()\n", "OSR007",
        "`made` on line 4 may take this dict over: it is `vae.copy()`, which only running the config would tell",
    ),
    "a type that is computed": (
        "made = dict(vae, type=str(1))\n", "OSR007",
        MADE + " takes this dict over, and its type is `str(1)`, which only running the config would tell",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made_of", "code", "message"), COPIES.values(), ids=COPIES)
def test_a_dict_that_goes_into_one_which_would_not_load_any_more_is_refused(
    made_of: str, code: str, message: str, tmp_path: Path
) -> None:
    text = VAE + made_of + T5
    made = plan.rewrite(configs(tmp_path, a=text), ASKED, Loaders())
    findings = [finding for finding in made.all_findings if finding.severity == "error"]
    assert [(f.code, f.component, f.line, f.message) for f in findings] == [(code, "vae", 1, message)]
    assert written(made) == {"a": text.replace(T5, T5_SET)}
    if "may take" not in message:
        line = message.split(" takes")[0]
        assert findings[0].remedy == f"write {line} as a dict of its own"


FINE = {
    "the same loader": "made = dict(vae, micro_batch_size=4)\n",
    "another that takes it": "made = dict(vae, type='t5')\n",
    "taken out": "made = dict(vae, type='iddpm')\nmade.pop('cache_dir', None)\n",
    "replaced": "made = dict(vae, type='iddpm')\nmade = None\n",
    "no type": "made = dict(vae)\ndel made['type']\n",
    "made before": "made = vae.copy()\nmade = dict(type='iddpm')\n",
    "nothing of it": "made = dict(type='iddpm')\n",
}


@pytest.mark.parametrize("made_of", FINE.values(), ids=FINE)
def test_a_dict_may_go_into_others_that_still_load(made_of: str, tmp_path: Path) -> None:
    made = plan.rewrite(configs(tmp_path, a=VAE + made_of), ASKED, Loaders())
    assert written(made) == {"a": SET + made_of}


def test_a_key_that_goes_does_no_harm_to_what_is_made_of_the_dict(tmp_path: Path) -> None:
    text = SET + "made = dict(vae, **make(), type='iddpm')\n"
    made = plan.rewrite(configs(tmp_path, a=text), Request(unsets=(("vae", "cache_dir"),)), Loaders())
    assert written(made) == {"a": text.replace(SET, VAE)}
    assert made.all_findings == ()


def test_what_an_heir_makes_of_a_copy_counts(tmp_path: Path) -> None:
    texts = {"base": VAE + "made = dict(vae)\n", "heir": "_base_ = 'base.py'\nmade = dict(type='iddpm')\n"}
    made = plan.rewrite(configs(tmp_path, **texts), ASKED, Loaders())
    assert written(made) == {}
    assert [(f.code, f.component) for f in made.results[0].all_findings if f.severity == "error"] == [("OSR007", "vae")]


def test_two_keys_that_are_rejected_are_two_findings(tmp_path: Path) -> None:
    targets = configs(tmp_path, a=VAE + "made = dict(vae, type='classes')\n")
    made = plan.rewrite(targets, replace(NO_SOURCE, local_files_only=True), Loaders())
    found = [f for f in made.all_findings if f.component == "vae" and "takes this dict over" in f.message]
    assert sorted(f.message.split(" rejects ")[1].split(":")[0] for f in found) == ["cache_dir", "local_files_only"]


# --- many files ---------------------------------------------------------------------------------


def test_what_is_remembered_of_like_components_is_bounded_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {f"c{number}": VAE.replace("a/b", f"a/b{number % 3}") + T5 for number in range(6)}
    targets = configs(tmp_path, **texts)
    expected = plan.rewrite(targets, ASKED, Loaders())
    monkeypatch.setattr(plan, "MOST_ALIKE", 1)
    assert plan.rewrite(targets, ASKED, Loaders()) == expected
    assert len(written(expected)) == 6


def test_many_lone_configs_are_decided_by_the_built_in_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "FORK_FROM", 2)
    targets = []
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text(VAE)
        targets.append(Target(str(tmp_path / f"{name}.py"), None, True))
    made = plan.rewrite(targets, ASKED, Loaders())
    assert written(made) == dict.fromkeys("abc", SET)
    assert len(made.notes) == 1
    assert "built-in table" in made.notes[0]


def test_a_place_without_sources_is_as_none(tmp_path: Path) -> None:
    loaders = Loaders(str(tmp_path))
    assert loaders.sources(None) is None
    assert loaders.trace(None, "VideoAutoencoderKL", {}).builtin


def test_a_loader_whose_source_is_not_at_hand_cannot_be_edited(tmp_path: Path) -> None:
    lone = tmp_path / "a.py"
    lone.write_text(VAE.replace("VideoAutoencoderKL", "OpenSoraVAE_V1_2") + T5.replace("Deep", "./pretrained_models/"))
    made = plan.rewrite([Target(str(lone), None, True)], ASKED, Loaders())
    assert [(f.code, f.component, f.remedy) for f in made.all_findings] == [
        ("OSR004", "vae", "edit the loader by hand: its source is not at hand; name it with --opensora-source DIR"),
        ("OSR006", "text_encoder", "opensora-rewriter rewrite {path} --cache-dir /c --set text_encoder.from_pretrained="
                                   "DeepFloyd/t5-v1_1-xxl"),
    ]  # fmt: skip


# --- loaders ------------------------------------------------------------------------------------


def test_a_type_that_is_set_in_the_same_run_decides_which_loader_is_edited(tmp_path: Path) -> None:
    targets = configs(tmp_path, a=VAE)
    sets = (("text_encoder", "type", "clip"), ("vae", "type", "OpenSoraVAE_V1_2"))
    request = Request(cache_dir="/c", sets=sets)
    made = plan.rewrite(targets, request, Loaders())
    assert written(made) == {"a": SET.replace("VideoAutoencoderKL", "OpenSoraVAE_V1_2")}
    assert [edit.path for edit in made.sources] == [str(tmp_path / "opensora/models/vae/vae.py")]
    assert [thread.type for thread in made.threads] == ["OpenSoraVAE_V1_2"]


# --- what an edit of a loader would do to other configs -------------------------------------------

HEAD = (
    "from transformers import AutoModel\nfrom opensora.registry import MODELS, build_module\n"
    "class A:\n    def __init__(self, path):\n        self.m = AutoModel.from_pretrained(path)\n"
    "class B:\n    def __init__(self, path):\n        pass\n"
)
CHOICE = HEAD + (
    "@MODELS.register_module()\n"
    "def X(from_pretrained, kind='a'):\n    return {'a': A, 'b': B}.get(kind)(from_pretrained)\n"
)
BY_NAME = HEAD + (
    "MODELS.register_module(module=A)\nMODELS.register_module(module=B)\n"
    "@MODELS.register_module()\n"
    "def X(from_pretrained, kind='A'):\n    return build_module(dict(type=kind, path=from_pretrained), MODELS)\n"
)
OVERRIDDEN = HEAD + (
    "class Base:\n"
    "    def __init__(self, from_pretrained):\n        self.build(from_pretrained)\n"
    "    def build(self, path):\n        self.m = AutoModel.from_pretrained(path)\n"
    "@MODELS.register_module()\nclass X(Base):\n    pass\n"
    "@MODELS.register_module()\nclass Y(Base):\n    def build(self, path):\n        pass\n"
)
ASSERTING = CHOICE.replace("path):\n        pass", "path, **kwargs):\n        assert not kwargs")
FINE = CHOICE.replace("path):\n        pass", "path, **kwargs):\n        pass")
C = 'vae = dict(type="X", from_pretrained="a/b")\n'
SET_C = C.replace(")", ', cache_dir="/c")')
TAKES_NONE = "B.__init__ would be given cache_dir and raise a TypeError"


def checkout_of(root: Path, source: str, **texts: str) -> list[Target]:
    """``configs/NAME.py`` for every text, in a checkout with these loaders."""
    write(root, loaders=source)
    targets = []
    for name, text in texts.items():
        path = root / "configs" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        targets.append(Target(str(path), str(root), True))
    return targets


@pytest.mark.parametrize("fork_from", [48, 1])
@pytest.mark.parametrize(
    ("source", "other", "words"),
    [
        (CHOICE, C.replace(")", ', kind="b")'), TAKES_NONE),
        (CHOICE, "model" + C[3:].replace(")", ', kind="b")'), TAKES_NONE),
        (CHOICE, "model = dict(type='M', vae=dict(type='X', from_pretrained='a/b', kind='b'))\n", TAKES_NONE),
        (CHOICE, "_base_ = 'c.py'\nvae = dict(kind='b')\n", TAKES_NONE),
        (BY_NAME, C.replace(")", ', kind="B")'), TAKES_NONE),
        (OVERRIDDEN, C.replace("X", "Y"), "Y.build would be given cache_dir and raise a TypeError"),
        (ASSERTING, C.replace(")", ', kind="b")'), "`not kwargs` would fail"),
    ],
)
@pytest.mark.parametrize("in_run", [True, False])
def test_an_edit_that_would_break_another_config_is_not_made(
    in_run: bool, source: str, other: str, words: str, fork_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FORK_FROM", fork_from)
    targets = checkout_of(tmp_path, source, c=C, d=other, odd="vae = dict(\n")
    made = plan.rewrite(targets[: 2 if in_run else 1], ASKED, Loaders())
    assert (made.edits, made.threads) == ((), ())
    refused = [f for f in made.all_findings if (f.code, Path(f.path).stem) == ("OSR004", "c")]
    assert [finding.remedy.rpartition("of ")[2] for finding in refused] == [f"configs/d.py, where {words}"]
    assert all("remove" not in finding.remedy for finding in made.all_findings)


def test_a_config_that_git_ignores_is_not_broken_either(tmp_path: Path) -> None:
    targets = checkout_of(tmp_path, CHOICE, c=C, d=C.replace(")", ', kind="b")'))
    (tmp_path / ".gitignore").write_text("d.py\n")
    made = plan.rewrite(targets[:1], ASKED, Loaders())
    assert (made.edits, [finding.code for finding in made.all_findings]) == ((), ["OSR004"])


@pytest.mark.parametrize("other", [C, C.replace(")", ', kind="b")'), "import os\nvae = os\n", "vae = dict(kind=1)\n"])
@pytest.mark.parametrize("in_run", [True, False])
def test_an_edit_that_breaks_no_config_is_made(in_run: bool, other: str, tmp_path: Path) -> None:
    targets = checkout_of(tmp_path, FINE, c=C, d=other)
    made = plan.rewrite(targets[: 1 + in_run], ASKED, Loaders())
    assert written(made)["c"] == SET_C
    assert [Path(edit.path).name for edit in made.sources] == ["loaders.py"]


def test_what_was_broken_before_or_is_never_built_is_no_reason_to_leave_a_loader_alone(tmp_path: Path) -> None:
    wrong = C.replace(")", ', other=1, kind="b")')
    replaced = C.replace(")", ', kind="b")') + C
    made = plan.rewrite(checkout_of(tmp_path, FINE, c=C, d=wrong, e=replaced), ASKED, Loaders())
    assert written(made) == {"c": SET_C, "e": replaced.replace(C, SET_C)}


def test_loaders_of_whose_edits_one_would_break_a_config_are_edited_but_for_that_one(tmp_path: Path) -> None:
    more = (
        "@MODELS.register_module()\n"
        "def Z(from_pretrained):\n    return AutoModel.from_pretrained(from_pretrained)\n"
    )  # fmt: skip
    z = C.replace("X", "Z")
    targets = checkout_of(tmp_path, CHOICE + more, c=C, d=C.replace(")", ', kind="b")'), z=z)
    made = plan.rewrite(targets, ASKED, Loaders())
    assert written(made) == {"z": z.replace(")", ', cache_dir="/c")')}
    assert [thread.type for thread in made.threads] == ["Z"]
    (edit,) = made.sources
    assert edit.new == edit.old.replace(
        b"def Z(from_pretrained):\n    return AutoModel.from_pretrained(from_pretrained)",
        b"def Z(from_pretrained, cache_dir=None):\n"
        b"    return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)",
    )


X = "@MODELS.register_module()\ndef X(from_pretrained, cache_dir=None):\n    {}\n"
LOAD = "AutoModel.from_pretrained(from_pretrained)"
NOT_TAKEN = "has no such parameter"
IN_DOUBT: dict[str, tuple[str, str, str]] = {
    "the key goes into a library": (
        "import outside\n" + X.format("return outside.load(from_pretrained, cache_dir=cache_dir)"),
        "OSR007",
        "outside.load(...) in opensora/loaders.py:6: where cache_dir goes from there cannot be told",
    ),
    "the key goes into a base of a library": (
        "import outside\n@MODELS.register_module()\nclass X(outside.Base):\n"
        "    def __init__(self, from_pretrained, cache_dir=None):\n"
        "        super().__init__(from_pretrained, cache_dir=cache_dir)\n",
        "OSR007",
        "where cache_dir goes from there cannot be told",
    ),
    "a builtin calls what loads": (
        X.format("return sorted([from_pretrained], key=AutoModel.from_pretrained)"),
        "OSR007",
        "whether it calls what it is given cannot be told",
    ),
    "what is spread is not known": (
        "import outside\n" + X.format(LOAD[:-1] + ", **outside.clean(cache_dir))"),
        "OSR007",
        "cannot be told: not all that it is given is known",
    ),
    "what is given is made of it": (
        X.format(LOAD[:-1] + ", cache_dir=cache_dir.strip())"),
        "OSR007",
        "cannot be told: not all that it is given is known",
    ),
    "locals are spread": (
        "def g(from_pretrained):\n    return " + LOAD + "\n"
        "@MODELS.register_module()\ndef X(from_pretrained):\n    return g(**locals())\n",
        "OSR004",
        NOT_TAKEN,
    ),
    "what makes its objects takes none": (
        "@MODELS.register_module()\nclass X:\n"
        "    def __new__(cls, from_pretrained):\n        return super().__new__(cls)\n"
        "    def __init__(self, from_pretrained):\n        self.model = " + LOAD + "\n",
        "OSR004",
        NOT_TAKEN,
    ),
    "what makes a helper's objects takes none": (
        "class A:\n"
        "    def __new__(cls, *given):\n        return super().__new__(cls)\n"
        "    def __init__(self, from_pretrained):\n        self.model = " + LOAD + "\n"
        "@MODELS.register_module()\ndef X(from_pretrained):\n    return A(from_pretrained)\n",
        "OSR004",
        NOT_TAKEN,
    ),
    "it raises where there is one": (
        X.format("if cache_dir:\n        raise ValueError\n    return " + LOAD),
        "OSR004",
        "its loader objects to cache_dir: `raise ValueError` (opensora/loaders.py:6) fails",
    ),
    "a helper that is given it raises": (
        "def check(where):\n    if where:\n        raise ValueError\n"
        + X.format("check(cache_dir)\n    return " + LOAD),
        "OSR004",
        "its loader objects to cache_dir: `raise ValueError` (opensora/loaders.py:5) fails",
    ),
    "it asserts that there is none": (
        X.format("assert cache_dir is None\n    return " + LOAD),
        "OSR004",
        "its loader objects to cache_dir: `cache_dir is None` (opensora/loaders.py:5) fails",
    ),
    "a helper raises where there is one": (
        "def g(path, **kwargs):\n    if kwargs:\n        raise ValueError(kwargs)\n"
        "    return AutoModel.from_pretrained(path)\n"
        "@MODELS.register_module()\ndef X(from_pretrained):\n    return g(from_pretrained)\n",
        "OSR004",
        NOT_TAKEN,
    ),
}


@pytest.mark.parametrize("given", ["", ', cache_dir="/c"'])
@pytest.mark.parametrize(("source", "code", "words"), IN_DOUBT.values(), ids=IN_DOUBT)
def test_what_would_not_build_or_cannot_be_told_is_refused_and_stays_as_it_is(
    source: str, code: str, words: str, given: str, tmp_path: Path
) -> None:
    head = "from transformers import AutoModel\nfrom opensora.registry import MODELS\n"
    targets = checkout_of(tmp_path, head + source, c=C.replace(")", f"{given})"))
    for made in (plan.rewrite(targets, ASKED, Loaders()), plan.check(targets, ASKED, Loaders())):
        found = [each for each in made.all_findings if each.severity == "error"]
        assert {each.code for each in found} <= {code, "OSR001", "OSR005"}, found
        first = next(each for each in found if each.code == code)
        assert words in first.message, first
        assert " rewrite " not in first.remedy
        assert made.edits == ()


def test_what_the_registry_gives_under_a_name_is_followed(tmp_path: Path) -> None:
    source = HEAD + (
        "@MODELS.register_module()\ndef inner(path):\n    return AutoModel.from_pretrained(path)\n"
        "@MODELS.register_module()\ndef X(from_pretrained):\n    return MODELS.get('inner')(from_pretrained)\n"
    )
    made = plan.rewrite(checkout_of(tmp_path, source, c=C), ASKED, Loaders())
    assert written(made)["c"] == SET_C
    assert b"MODELS.get('inner')(from_pretrained, cache_dir=cache_dir)" in made.sources[0].new


@pytest.mark.parametrize("name", ["from_pretrained", "'gone'", "made_elsewhere"])
def test_a_name_that_nothing_is_registered_under_is_not_followed(name: str, tmp_path: Path) -> None:
    source = HEAD + f"@MODELS.register_module()\ndef X(from_pretrained):\n    return MODELS.get({name})\n"
    (decision,) = plan.check(checkout_of(tmp_path, source, c=C), ASKED, Loaders()).results[0].decisions
    assert decision.outcome == "not needed"


def test_a_loader_that_only_a_refused_component_needs_is_not_edited(tmp_path: Path) -> None:
    unsure = "import os\nvae = dict(type='X', from_pretrained='a/b', **os.environ)\n"
    made = plan.rewrite(checkout_of(tmp_path, FINE, d=unsure), ASKED, Loaders())
    assert (made.edits, made.threads) == ((), ())
    assert [f.code for f in made.all_findings] == ["OSR007"]


def test_an_edit_that_is_harmless_only_beside_one_that_is_not_made_is_not_made_either(tmp_path: Path) -> None:
    source = OVERRIDDEN.replace("path):\n        pass\n", "path):\n        self.m = AutoModel.from_pretrained(path)\n")
    unsure = "import os\n" + C.replace("X", "Y").replace(")", ", **os.environ)")
    made = plan.rewrite(checkout_of(tmp_path, source, c=C, d=unsure), ASKED, Loaders())
    assert (made.edits, made.threads) == ((), ())
    both = plan.rewrite(checkout_of(tmp_path, source, c=C, d=C.replace("X", "Y")), ASKED, Loaders())
    assert {thread.type for thread in both.threads} == {"X", "Y"}
    assert set(written(both)) == {"c", "d"}


def test_a_key_that_reached_a_call_on_another_way_still_does_and_a_second_run_finds_nothing_to_do(
    tmp_path: Path,
) -> None:
    source = HEAD + (
        "def load(path, **kw):\n    return AutoModel.from_pretrained(path, **kw)\n"
        "@MODELS.register_module()\n"
        "def X(from_pretrained, kind='a', **kw):\n"
        "    if kind == 'a':\n        return A(from_pretrained), B(from_pretrained, **kw)\n"
        "    return load(from_pretrained, **kw)\n"
    )
    other = C.replace(")", ', kind="b")')
    done = C.replace(")", ', kind="b", cache_dir="/c")')
    targets = checkout_of(tmp_path, source, c=C, d=other, e=done)
    made = plan.rewrite(targets, ASKED, Loaders())
    assert written(made) == {"c": SET_C, "d": other.replace('"a/b"', '"a/b", cache_dir="/c"')}
    assert not [finding for finding in made.all_findings if finding.severity == "error"]
    for edit in made.edits:
        Path(edit.path).write_bytes(edit.new)
    again = plan.rewrite(targets, ASKED, Loaders())
    assert (again.edits, [f for f in again.all_findings if f.severity == "error"]) == ((), [])


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_each_component_is_told_its_own_cure_whichever_comes_first(order: str, tmp_path: Path) -> None:
    source = HEAD + (
        "@MODELS.register_module()\n"
        "def X(from_pretrained, flag=False):\n"
        "    kw = {}\n    if flag:\n        kw['cache_dir'] = '/fixed'\n"
        "    return AutoModel.from_pretrained(from_pretrained, **kw)\n"
    )
    texts = {"a": C, "b": C.replace(")", ", flag=True)")}
    targets = checkout_of(tmp_path, source, **{name: texts[name] for name in order})
    made = plan.check(targets, ASKED, Loaders())
    assert {Path(f.path).stem: f.remedy for f in made.all_findings if f.code == "OSR004"} == {
        "a": "opensora-rewriter rewrite {path} --cache-dir /c",
        "b": "edit the loader by hand: cache_dir is given another value here",
    }


def test_configs_of_the_checkout_that_the_named_sources_belong_to_are_looked_at_too(tmp_path: Path) -> None:
    checkout_of(tmp_path / "checkout", CHOICE, d=C.replace(")", ', kind="b")'))
    lone = tmp_path / "c.py"
    lone.write_text(C)
    made = plan.rewrite([Target(str(lone), None, True)], ASKED, Loaders(str(tmp_path / "checkout")))
    assert made.edits == ()
    assert [f.code for f in made.all_findings] == ["OSR004"]
    (tmp_path / "checkout/configs/d.py").unlink()
    (tmp_path / "checkout/configs").rmdir()
    made = plan.rewrite([Target(str(lone), None, True)], ASKED, Loaders(str(tmp_path / "checkout")))
    assert written(made) == {"c": SET_C}


# --- what cannot be edited ------------------------------------------------------------------------

DEEP = "-" * 600 + "1"


def test_a_dict_that_libcst_cannot_read_is_refused_with_its_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    deep = "# first\n" + VAE.replace(")\n", f", micro_batch_size={DEEP})\n") + T5
    made = plan.rewrite(configs(tmp_path, good=VAE, deep=deep), ASKED, Loaders())
    assert written(made) == {"good": SET}
    assert outcomes(made.results[1]) == [("vae", "cannot"), ("text_encoder", "cannot")]
    path = str(tmp_path / "configs/deep.py")
    assert made.all_findings == (
        Finding("OSR900", path, 2, 0, "", "it cannot be edited: libcst cannot read this dict",
                "write this place in a plainer way, or edit it by hand"),
    )  # fmt: skip


def test_a_loader_that_libcst_cannot_read_is_left_alone_with_a_warning_and_others_are_edited(tmp_path: Path) -> None:
    clip = 'text_encoder = dict(type="clip", from_pretrained="openai/clip")\n'
    targets = configs(tmp_path, a=clip + VAE.replace("VideoAutoencoderKL", "OpenSoraVAE_V1_2"))
    source = tmp_path / "opensora/models/text_encoder/clip.py"
    text = source.read_text()
    line = next(at for at, each in enumerate(text.splitlines(), 1) if "model_max_length=77" in each)
    source.write_text(text.replace("model_max_length=77", f"model_max_length: {DEEP} = 77", 1))
    made = plan.rewrite(targets, ASKED, Loaders())
    assert [edit.path for edit in made.sources] == [str(tmp_path / "opensora/models/vae/vae.py")]
    assert outcomes(made.results[0]) == [("text_encoder", "cannot"), ("vae", "set")]
    assert [(f.code, f.path, f.line, f.message, f.severity) for f in made.findings] == [
        ("OSR900", str(source), line, "it cannot be edited: libcst cannot read what stands here", "warning")
    ]
    assert [f.code for f in made.results[0].all_findings] == ["OSR004"]


# --- edits that come out wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("config", "16x256x256.py: text_encoder.cache_dir is not there"),
        ("source", "clip.py: line 27: the parameter did not get 'cache_dir'"),
    ],
)
def test_an_edit_that_came_out_wrong_ends_the_run_and_nothing_is_written(
    module: str, words: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"rewriter.edits.{module}.edit_{module}", lambda data, _changes: data)
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    before = {path: path.read_bytes() for path in root.rglob("*.py")}
    done = run("rewrite", "configs", "--cache-dir", "/c", "--no-resolve", cwd=root)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split()), done.output
    assert {path: path.read_bytes() for path in root.rglob("*.py")} == before


def test_the_error_names_the_file_and_asks_for_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewriter.edits.config.edit_config", lambda data, _changes: data + b"x = 1\n")
    (target,) = configs(tmp_path, a=VAE)
    with pytest.raises(ProofError) as caught:
        plan.rewrite([target], ASKED, Loaders())
    assert str(caught.value) == f"{target.path}: vae.cache_dir is not there"
    assert (caught.value.path, caught.value.remedy) == (target.path, "please report this together with the file")
