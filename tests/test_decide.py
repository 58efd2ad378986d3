"""What is decided about a component: every outcome, from a config's text and the fixture checkouts' loaders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rewriter.checkout import Target, find_root
from rewriter.plan import FileResult, Loaders, Planner
from rewriter.request import Request

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
ASKED = Request(cache_dir="/models/hf", edit_source=False)
CHECK = Request(cache_dir="/models/hf", checking=True)
KL = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema"{})\n'
T5 = 'text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl"{})\n'


def decide(text: str, request: Request = ASKED, tag: str = "v1.2", **change: object) -> FileResult:
    """Decide about one config text as if it stood in the fixture checkout ``tag``."""
    path = str(FIXTURES / tag / "configs" / "x" / "inference" / "made_up.py")
    request = replace(request, **change)  # type: ignore[arg-type]
    planner = Planner([Target(path, find_root(path), True)], request, Loaders(), overlay={path: text.encode()})
    return planner.result(path)


def outcome(result: FileResult) -> list[tuple[str, str]]:
    return [(".".join(d.component.keys), d.outcome) for d in result.decisions]


def codes(result: FileResult) -> list[str]:
    return [finding.code for finding in result.all_findings]


def test_a_hub_loaded_component_is_set() -> None:
    result = decide(KL.format("") + T5.format(""))
    assert outcome(result) == [("vae", "set"), ("text_encoder", "set")]
    assert [(c.key, c.value) for c in result.changes] == [("cache_dir", "/models/hf")] * 2
    assert codes(result) == []


def test_what_is_set_as_asked_is_left_alone_also_with_another_spelling() -> None:
    result = decide(KL.format(', cache_dir="/models//x/../hf/"'))
    assert outcome(result) == [("vae", "already")]
    assert result.new == result.old


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("", "OSR001"),
        (", cache_dir=None", "OSR001"),
        (', cache_dir="./hub"', "OSR002"),
        (', cache_dir="a/../models/hf"', "OSR002"),
        (', cache_dir="~/hub"', "OSR002"),
        (", cache_dir=3", "OSR002"),
        (', cache_dir="/elsewhere"', "OSR003"),
        (', cache_dir=__import__("os").environ["HUB"]', "OSR007"),
    ],
)
def test_check_names_what_is_wrong_and_rewrite_cures_it(written: str, code: str) -> None:
    assert codes(decide(KL.format(written), CHECK)) == [code]
    result = decide(KL.format(written))
    assert outcome(result) == [("vae", "set")]
    assert b'cache_dir="/models/hf"' in (result.new or b"")


def test_a_cache_dir_that_is_not_there_is_a_warning_and_an_error_with_must_exist(tmp_path: Path) -> None:
    missing = str(tmp_path / "hub")
    text = KL.format(f', cache_dir="{missing}"')
    for must_exist, severity in ((False, "warning"), (True, "error")):
        result = decide(text, CHECK, cache_dir=missing, must_exist=must_exist)
        assert [(f.code, f.severity) for f in result.all_findings] == [("OSR006", severity)]
    (tmp_path / "hub").mkdir()
    assert codes(decide(text, CHECK, cache_dir=missing, must_exist=True)) == []


def test_a_loader_that_rejects_cache_dir_is_refused_whether_it_is_set_or_not() -> None:
    for written in ("", ', cache_dir="/models/hf"'):
        text = f'vae = dict(type="OpenSoraVAE_V1_2", from_pretrained="hpcai-tech/OpenSora-VAE-v1.2"{written})\n'
        assert "OSR004" in codes(decide(text, CHECK))
        refused = decide(text)
        assert outcome(refused) == [("vae", "cannot")]
        assert refused.new == refused.old


def test_force_sets_what_the_loader_rejects_and_warns() -> None:
    text = 'vae = dict(type="OpenSoraVAE_V1_2", from_pretrained="hpcai-tech/OpenSora-VAE-v1.2")\n'
    result = decide(text, force=True)
    assert outcome(result) == [("vae", "set")]
    assert [(f.code, f.severity) for f in result.all_findings] == [("OSR004", "warning")]
    assert b"cache_dir" in (result.new or b"")


def test_classes_needs_none_and_loses_one_that_would_be_a_type_error() -> None:
    assert outcome(decide('text_encoder = dict(type="classes", num_classes=10)\n')) == [("text_encoder", "not needed")]
    for value in ('"/models/hf"', "None"):
        text = f'text_encoder = dict(type="classes", num_classes=10, cache_dir={value})\n'
        assert codes(decide(text, CHECK)) == ["OSR009"]
        result = decide(text)
        assert result.new == b'text_encoder = dict(type="classes", num_classes=10)\n'


def test_an_existing_local_folder_needs_no_cache(tmp_path: Path) -> None:
    text = f'vae = dict(type="VideoAutoencoderKL", from_pretrained="{tmp_path}", cache_dir=None)\n'
    result = decide(text)
    assert outcome(result) == [("vae", "not needed")]
    assert result.new == result.old


def test_a_missing_local_path_that_is_all_that_is_loaded_is_refused() -> None:
    text = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="/no/such/vae")\n'
    checked = decide(text, CHECK)
    assert [(f.code, f.severity) for f in checked.all_findings] == [("OSR006", "warning")]
    assert [f.severity for f in decide(text, CHECK, must_exist=True).all_findings] == ["error"]
    result = decide(text)
    assert (outcome(result), codes(result)) == ([("vae", "cannot")], ["OSR006"])
    forced = decide(text, force=True)
    assert (outcome(forced), codes(forced)) == ([("vae", "set")], ["OSR006"])


def test_set_cures_a_missing_path() -> None:
    text = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="/no/such/vae")\n'
    result = decide(text, sets=(("vae", "from_pretrained", "stabilityai/sd-vae-ft-ema"),))
    assert result.new == KL.format(', cache_dir="/models/hf"').encode()


def test_v1_2_t5_takes_its_repo_id_and_no_path_even_an_existing_one(tmp_path: Path) -> None:
    result = decide(f'text_encoder = dict(type="t5", from_pretrained="{tmp_path}")\n')
    assert (outcome(result), codes(result)) == ([("text_encoder", "cannot")], ["OSR006"])
    assert "text_encoder.from_pretrained=DeepFloyd/t5-v1_1-xxl" in result.all_findings[0].remedy
    assert outcome(decide(f'text_encoder = dict(type="t5", from_pretrained="{tmp_path}")\n', tag="v1.3")) == [
        ("text_encoder", "not needed")
    ]


def test_set_refuses_a_keyword_that_the_loader_does_not_take() -> None:
    result = decide(KL.format(""), Request(sets=(("vae", "colour", "red"),)))
    assert (outcome(result), codes(result)) == ([("vae", "cannot")], ["OSR004"])
    assert "`colour`" in result.all_findings[0].message


def test_of_many_keywords_that_the_loader_does_not_take_ten_are_named() -> None:
    text = KL.format("".join(f", k{number}=1" for number in range(3000)))
    (finding,) = decide(text).all_findings
    names = ", ".join(f"`k{number}`" for number in range(10)) + " and 2990 more"
    assert f" takes no {names}: building" in finding.message
    assert finding.remedy == f"remove {names} from the dict"
    (finding,) = decide(KL.format("".join(f", k{number}=1" for number in range(10)))).all_findings
    assert f" takes no {names.removesuffix(' and 2990 more')}: building" in finding.message


def test_a_key_that_is_there_already_is_given_to_no_call_anew() -> None:
    spread = "x = dict(**vae, **made_elsewhere())\n"
    assert outcome(decide(KL.format("") + spread))[0] == ("vae", "cannot")
    assert outcome(decide(KL.format(', cache_dir="/elsewhere"') + spread))[0] == ("vae", "set")


def test_unset_takes_away_what_is_written_and_asks_nothing_else() -> None:
    result = decide(KL.format(', cache_dir="/models/hf"') + T5.format(""), Request(unsets=(("vae", "cache_dir"),)))
    assert result.new == (KL.format("") + T5.format("")).encode()


LOADER = """\
from mmengine.registry import Registry
from diffusers import AutoencoderKL
MODELS = Registry("model")
@MODELS.register_module()
class KL:
    def __init__(self, path, from_pretrained=None, *, size, colour="red", device=None):
        assert from_pretrained is not None, "give one"
        assert colour in ("red", None)
        AutoencoderKL.from_pretrained(from_pretrained)
@MODELS.register_module()
class Bare:
    pass
"""


@pytest.mark.parametrize(
    ("unset", "sets", "told"),
    [
        ("type", (), "OSR007 without `type` nothing says what builds `vae`"),
        ("from_pretrained", (), "OSR004 `KL` does not do without `from_pretrained`: `from_pretrained is not None` fails"
                                " (opensora/registry.py:7)"),
        ("size", (), "OSR004 `KL` has no default for `size` (opensora/registry.py:6): without a value, building `vae` "
                     "raises a TypeError"),
        ("path", (), "OSR004 `KL` has no default for `path` (opensora/registry.py:6): without a value, building `vae` "
                     "raises a TypeError"),
        ("device", (), None),
        ("colour", (), None),
        ("device", ((("colour", "blue")),), None),  # it is the other option that does not build
        ("cache_dir", (), None),  # not there
    ],
)  # fmt: skip
@pytest.mark.parametrize("cache_dir", [None, "/models/hf"])
def test_unset_of_what_the_loader_needs_is_refused(
    unset: str, sets: tuple[tuple[str, str], ...], told: str | None, cache_dir: str | None, tmp_path: Path
) -> None:
    (tmp_path / "opensora").mkdir()
    (tmp_path / "opensora/registry.py").write_text(LOADER)
    (tmp_path / "configs").mkdir()
    text = 'vae = dict(type="KL", path="p", from_pretrained="a/b", size=1, colour=None, device="cpu")\n'
    request = Request(unsets=(("vae", unset),), sets=tuple(("vae", *pair) for pair in sets), cache_dir=cache_dir)
    path = str(tmp_path / "configs/a.py")
    target = Target(path, find_root(path), True)
    result = Planner([target], request, Loaders(), overlay={path: text.encode()}).result(path)
    found = [f"{f.code} {f.message}" for f in result.all_findings if f.severity == "error"]
    if told is None:
        assert not any("does not do without" in message or "no default" in message for message in found)
    else:
        assert found == [told]
        assert result.all_findings[0].remedy == f"leave out --unset vae.{unset}"
        assert result.new == text.encode()
    if told is None and cache_dir is None and unset != "cache_dir":
        assert f"{unset}=" not in (result.new or b"").decode()


def test_each_of_the_keywords_that_must_not_go_is_named_in_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "opensora").mkdir()
    (tmp_path / "opensora/registry.py").write_text(LOADER)
    (tmp_path / "configs").mkdir()
    path = str(tmp_path / "configs/a.py")
    text = 'vae = dict(type="KL", path="p", from_pretrained="a/b", size=1)\n'
    request = Request(unsets=(("vae", "size"), ("vae", "path")))
    planner = Planner([Target(path, find_root(path), True)], request, Loaders(), overlay={path: text.encode()})
    (finding,) = planner.result(path).all_findings
    assert finding.message.startswith("`KL` has no default for `size`, `path` ")
    assert finding.remedy == "leave out --unset vae.size --unset vae.path"


def test_unset_of_a_keyword_of_a_class_without_a_constructor_asks_nothing(tmp_path: Path) -> None:
    (tmp_path / "opensora").mkdir()
    (tmp_path / "opensora/registry.py").write_text(LOADER)
    path = str(tmp_path / "configs/a.py")
    for root in (str(tmp_path), None):  # None: no source at hand
        target = Target(path, root, True)
        for kind in ("Bare", "classes"):
            text = f'vae = dict(type="{kind}", num_classes=1)\n'.encode()
            request = Request(unsets=(("vae", "num_classes"),))
            result = Planner([target], request, Loaders(), overlay={path: text}).result(path)
            registered = (kind == "Bare") == (root is not None)
            assert codes(result) == ([] if registered else ["OSR007"])


def test_a_directory_for_one_component_leaves_the_others_untouched() -> None:
    text = KL.format("") + T5.format("")
    result = decide(text, Request(cache_dirs=(("vae", "/models/vae"),)))
    assert outcome(result) == [("vae", "set"), ("text_encoder", "untouched")]
    assert codes(decide(text, Request(cache_dirs=(("vae", "/models/vae"),), checking=True))) == ["OSR001"]


def test_a_general_directory_and_one_for_a_component() -> None:
    result = decide(KL.format("") + T5.format(""), ASKED, cache_dirs=(("vae", "/models/vae"),))
    assert [(c.component.name, c.value) for c in result.changes] == [
        ("vae", "/models/vae"),
        ("text_encoder", "/models/hf"),
    ]


def test_components_nested_in_model_are_found() -> None:
    text = "model = dict(type='X', " + KL.format("").replace("vae = ", "vae=").strip() + ")\n"
    assert ("model.vae", "set") in outcome(decide(text))


def test_local_files_only_is_set_where_the_loader_takes_it() -> None:
    result = decide(KL.format(""), local_files_only=True)
    assert {(c.key, c.value) for c in result.changes} == {("local_files_only", True), ("cache_dir", "/models/hf")}
    checked = codes(decide(KL.format(', cache_dir="/models/hf"'), CHECK, local_files_only=True))
    assert sorted(checked) == ["OSR006", "OSR011"]


@pytest.mark.parametrize(
    "text",
    [
        "vae = make()\n",
        'kind = pick()\nvae = dict(type=kind, from_pretrained="a/b")\n',
        'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b", **unknown())\n',
        'vae = dict(type="NobodysVAE", from_pretrained="a/b")\n',
        'common = dict(cache_dir="/old")\nvae = dict(type="VideoAutoencoderKL", from_pretrained="a/b", **common)\n',
    ],
)
def test_what_only_running_would_tell_is_refused_and_never_written(text: str) -> None:
    result = decide(text)
    assert (outcome(result), codes(result)) == ([("vae", "cannot")], ["OSR007"])
    assert result.new == result.old


def test_a_later_statement_that_takes_the_key_away_is_osr008() -> None:
    later = KL.format("") + 'vae["cache_dir"] = None\n'
    result = decide(later)
    assert (outcome(result), codes(result)) == ([("vae", "cannot")], ["OSR008"])
    assert "line 2" in result.all_findings[0].remedy
    assert codes(decide(KL.format("") + 'vae["cache_dir"] = "/models/hf"\n')) == []
    dead = decide(KL.format(', cache_dir="/models/hf"') + KL.format(""), CHECK)
    assert sorted(codes(dead)) == ["OSR001", "OSR008"]


def test_another_component_that_still_loads_from_the_hub_is_a_warning() -> None:
    model = 'model = dict(type="STDiT3-XL/2", from_pretrained="hpcai-tech/OpenSora-STDiT-v3")\n'
    result = decide(KL.format("") + model)
    assert [(f.code, f.severity, f.component) for f in result.all_findings] == [("OSR010", "warning", "model")]
    assert "--component model" in result.all_findings[0].remedy
    both = decide(KL.format("") + model, components=("vae", "model"))
    assert outcome(both) == [("vae", "set"), ("model", "set")]
    every = decide(KL.format("") + model, all_components=True)
    assert outcome(every) == [("vae", "set"), ("model", "set")]


def test_a_broken_file_is_one_finding_with_its_line() -> None:
    result = decide("vae = dict(\n  type=\n")
    assert [(f.code, f.line > 0, bool(f.remedy)) for f in result.all_findings] == [("OSR900", True, True)]


def test_none_and_strings_are_no_components() -> None:
    result = decide('vae = None\ntext_encoder = "t5"\n')
    assert (outcome(result), codes(result)) == ([], [])
