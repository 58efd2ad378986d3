"""What is decided about one component: every outcome and code, in the order of the decisions."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import FIXTURES
from deciding import CACHE, checked, codes, decide, messages, outcomes, wanted, write_checkout
from loading import give_values

from rewriter.decide.remedies import did_you_mean, own_weights, suggest_repo
from rewriter.decide.request import Request
from rewriter.locality import is_repo_id, locality
from rewriter.read.loaders import Loaders
from rewriter.read.released import RELEASED, trace_released

LOADERS = """
@MODELS.register_module()
class Takes:
    def __init__(self, from_pretrained=None, cache_dir=None, local_files_only=False, subfolder=None):
        self.model = AutoModel.from_pretrained(
            from_pretrained, cache_dir=cache_dir, local_files_only=local_files_only, subfolder=subfolder
        )


@MODELS.register_module()
class Lacks:
    def __init__(self, from_pretrained=None, size=1):
        self.model = AutoModel.from_pretrained(from_pretrained)


@MODELS.register_module()
class Drops:
    def __init__(self, from_pretrained=None, **kwargs):
        self.model = AutoModel.from_pretrained(from_pretrained)


@MODELS.register_module()
class Nothing:
    def __init__(self, from_pretrained=None, n=1):
        self.n = n


@MODELS.register_module()
class Accepts:
    def __init__(self, n=1, cache_dir=None):
        self.n = n


@MODELS.register_module()
class Hidden:
    def __init__(self, from_pretrained=None, cache_dir=None):
        self.inner = AutoencoderKL.from_pretrained("org/hidden", cache_dir=cache_dir)
        self.model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)


@MODELS.register_module()
class Opaque:
    def __init__(self, from_pretrained=None, name="x"):
        self.model = getattr(nn, name)(from_pretrained)


@MODELS.register_module()
class Strict:
    def __init__(self, from_pretrained, cache_dir=None, size=None):
        assert from_pretrained in ["org/only"]
        assert size is not None
        self.model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)


@MODELS.register_module()
class HardCoded:
    def __init__(self, from_pretrained=None, second=None, cache_dir=None):
        self.vae = AutoencoderKL.from_pretrained("/mnt/x/pixart_sigma_sdxlvae_T5_diffusers", cache_dir=cache_dir)
        self.model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        self.other = AutoModel.from_pretrained(second, cache_dir=cache_dir)
"""
SETS = f', cache_dir="{CACHE}"'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with the loaders above."""
    return write_checkout(tmp_path, LOADERS)


@dataclass(frozen=True, slots=True)
class Case:
    """``before`` is what ``vae = dict(...)`` holds; ``after`` the same after ``rewrite`` (None: nothing is written).

    ``codes``: the findings of ``rewrite``; ``check``: those of ``check``, where they differ. ``options``: of the
    request beside ``--cache-dir /models/hf``. ``why`` it is right.
    """

    why: str
    before: str
    outcome: str
    codes: str = ""
    after: str | None = None
    check: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)


TAKES = 'type="Takes", from_pretrained="org/name"'
CASES = {
    # --- set, already, not needed
    "a loader that takes it": Case("it is set", TAKES, "set", "", TAKES + SETS, "OSR001"),
    "None": Case("None is none", f"{TAKES}, cache_dir=None", "set", "", TAKES + SETS, "OSR001"),
    "relative": Case("OSR002", f'{TAKES}, cache_dir="./hub"', "set", "", TAKES + SETS, "OSR002"),
    "a home": Case("~ is not expanded by the Hub", f'{TAKES}, cache_dir="~/h"', "set", "", TAKES + SETS, "OSR002"),
    "a number": Case("no path at all", f"{TAKES}, cache_dir=3", "set", "", TAKES + SETS, "OSR002"),
    "elsewhere": Case("another directory", f'{TAKES}, cache_dir="/old"', "set", "", TAKES + SETS, "OSR003"),
    "computed": Case("what is overwritten need not be known", f"{TAKES}, cache_dir=made()", "set", "", TAKES + SETS,
        "OSR007"),
    "set as requested": Case("nothing to do; the directory is not here", TAKES + SETS, "already", "", None, "OSR006"),
    "another spelling": Case("the same directory", f'{TAKES}, cache_dir="/models//x/../hf/"', "already", "", None,
        "OSR006"),
    "no hub call": Case("a loader that loads nothing", 'type="Nothing", n=2', "not needed"),
    "useless and rejected": Case("it would be a TypeError", f'type="Nothing", n=2{SETS}', "set", "",
        'type="Nothing", n=2', "OSR009"),
    "useless None": Case("rejected whatever its value", 'type="Nothing", n=2, cache_dir=None', "set", "",
        'type="Nothing", n=2', "OSR009"),
    "useless and accepted": Case("of no effect", f'type="Accepts"{SETS}', "set", "", 'type="Accepts"', "OSR009"),
    "accepted None": Case("as upstream writes it", 'type="Accepts", cache_dir=None', "not needed"),
    "from_pretrained=None": Case("nothing is loaded by name", 'type="Takes", from_pretrained=None', "not needed"),
    # --- a loader that has to be edited
    "a loader that lacks it, alone": Case("the config alone would raise a TypeError",
        'type="Lacks", from_pretrained="org/name"', "cannot", "OSR004", options={"edit_source": False}),
    "a loader that lacks it, forced": Case("--force overrules what concerns the loader, with a warning",
        'type="Lacks", from_pretrained="org/name"', "set", "OSR004", f'type="Lacks", from_pretrained="org/name"{SETS}',
        "OSR004", {"edit_source": False, "force": True}),
    "a keyword that never arrives": Case("the loader takes it and drops it", 'type="Drops", from_pretrained="org/name"',
        "cannot", "OSR005", check="OSR005 OSR001", options={"edit_source": False}),
    # --- missing paths
    "a missing path is all": Case("cache_dir cannot help", 'type="Takes", from_pretrained="/no/such/vae"', "cannot",
        "OSR006"),
    "a missing path, forced": Case("--force sets it all the same", 'type="Takes", from_pretrained="/no/such/vae"',
        "set", "OSR006", f'type="Takes", from_pretrained="/no/such/vae"{SETS}', options={"force": True}),
    "a missing path beside a hub call": Case("set for the other call, and said",
        'type="Hidden", from_pretrained="./ckpts/vae"', "set", "OSR006",
        f'type="Hidden", from_pretrained="./ckpts/vae"{SETS}', "OSR001 OSR006"),
    "an assertion about something else": Case("the path is not at fault", 'type="Strict", from_pretrained="org/only"',
        "cannot", "OSR004"),
    "a path that an assertion refuses": Case("the loader takes one repo id",
        'type="Strict", from_pretrained="org/other", size=1', "cannot", "OSR006"),
    # --- undecidable
    "a loader that cannot be followed": Case("OSR007 with its line", 'type="Opaque", from_pretrained="org/name"',
        "cannot", "OSR007"),
    "not registered": Case("nobody knows what it loads", 'type="Nope", from_pretrained="org/name"', "cannot", "OSR007"),
    "not registered, forced": Case("--force overrules an unknown loader", 'type="Nope", from_pretrained="org/name"',
        "set", "OSR007", f'type="Nope", from_pretrained="org/name"{SETS}', "OSR007", {"force": True}),
    "no type": Case("what reads it is not here", 'from_pretrained="org/name"', "cannot", "OSR007"),
    "no type and no repo": Case("a plain dict", "a=1, b=2", "untouched"),
    "computed type": Case("only running tells", 'type=pick(), from_pretrained="org/name"', "cannot", "OSR007"),
    "a spread": Case("rule 1", f"{TAKES}, **common", "cannot", "OSR007"),
    "a spread, forced": Case("--force overrules nothing of the config", f"{TAKES}, **c", "cannot", "OSR007",
        options={"force": True}),
    "a computed repo": Case("not known", 'type="Takes", from_pretrained=os.environ["X"]', "cannot", "OSR007"),
    # --- keywords beside it
    "a keyword that the loader lacks": Case("upstream's own call fails",
        'type="Lacks", from_pretrained="org/name", colour=1', "cannot", "OSR004"),
    # --- local_files_only
    "local_files_only": Case("threaded like cache_dir", TAKES, "set", "", f"{TAKES}{SETS}, local_files_only=True",
        "OSR001 OSR011", {"local_files_only": True}),
    "local_files_only=False": Case("OSR011", f"{TAKES}{SETS}, local_files_only=False", "set", "",
        f"{TAKES}{SETS}, local_files_only=True", "OSR006 OSR011", {"local_files_only": True}),
    # --- --set and --unset come first
    "--set cures a lost path": Case("the decision is taken on the result",
        'type="Takes", from_pretrained="/no/such/vae"', "set", "", TAKES + SETS,
        options={"sets": (("vae", "from_pretrained", "org/name"),)}),
    "--set of the same value": Case("it is so already", TAKES + SETS, "already",
        options={"sets": (("vae", "from_pretrained", "org/name"),)}),
    "--set of an unknown keyword": Case("it would be a TypeError", TAKES, "cannot", "OSR004",
        options={"sets": (("vae", "colour", "red"),)}),
    "--unset": Case("taken away", f'{TAKES}, subfolder="vae"', "set", "", TAKES + SETS,
        options={"unsets": (("vae", "subfolder"),)}),
    "--unset of what is not there": Case("holds already", TAKES, "set", "", TAKES + SETS,
        options={"unsets": (("vae", "subfolder"),)}),
    "--unset of what the loader requires": Case("building would be a TypeError",
        'type="Strict", from_pretrained="org/only", size=1', "cannot", "OSR004",
        options={"unsets": (("vae", "from_pretrained"),)}),
    "--unset of what an assertion wants": Case("building would fail",
        'type="Strict", from_pretrained="org/only", size=1', "cannot", "OSR004",
        options={"unsets": (("vae", "size"),)}),
    "--unset type": Case("nothing says what builds it", TAKES, "cannot", "OSR007",
        options={"unsets": (("vae", "type"),)}),
    # --- another name
    "a directory for another component": Case("not this run's business", TAKES, "untouched",
        options={"cache_dir": None, "cache_dirs": (("t5", "/c"),)}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_component_is_decided(name: str, root: Path) -> None:
    case = CASES[name]
    before = f"import os\nvae = dict({case.before})\n"
    made = decide(before, root, wanted(**case.options))
    assert (outcomes(made), codes(made)) == ({"vae": case.outcome}, case.codes.split()), case.why
    after = before if case.after is None else f"import os\nvae = dict({case.after})\n"
    assert (made.new or b"").decode() == after, case.why
    assert all(each.line == 2 for each in made.all_findings)
    if not case.options.keys() & {"sets", "unsets", "force"}:
        found = decide(before, root, checked(**case.options))
        assert sorted(codes(found)) == sorted((case.codes if case.check is None else case.check).split()), case.why
        assert found.new == found.old


@pytest.mark.parametrize("must_exist", [False, True])
def test_a_directory_that_is_not_there_is_a_warning_and_an_error_with_must_exist(
    root: Path, tmp_path: Path, must_exist: bool
) -> None:
    missing = str(tmp_path / "hub")
    severity = "error" if must_exist else "warning"
    for text in (f'vae = dict({TAKES}, cache_dir="{missing}")', 'vae = dict(type="Takes", from_pretrained="/no/vae")'):
        found = decide(text, root, checked(cache_dir=missing, must_exist=must_exist))
        assert [(each.code, each.severity) for each in found.all_findings] == [("OSR006", severity)]
    (tmp_path / "hub").mkdir()
    assert codes(decide(f'vae = dict({TAKES}, cache_dir="{missing}")', root, checked(cache_dir=missing))) == []


def test_an_existing_local_folder_needs_no_cache(root: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    for path in (str(tmp_path / "weights"), "./weights", "weights"):
        made = decide(f'vae = dict(type="Takes", from_pretrained="{path}")\n', root, wanted())
        assert outcomes(made) == {"vae": "not needed"}, path
        made = decide(f'vae = dict(type="Hidden", from_pretrained="{path}")\n', root, wanted())
        assert (outcomes(made), codes(made)) == ({"vae": "set"}, []), "the hidden repo is still read"


def test_a_later_statement_that_gives_the_key_another_value_is_osr008(root: Path) -> None:
    for value, outcome, found in (("None", "cannot", ["OSR008"]), (f'"{CACHE}"', "already", [])):
        made = decide(f'vae = dict({TAKES})\nvae["cache_dir"] = {value}\n', root, wanted())
        assert (outcomes(made), codes(made)) == ({"vae": outcome}, found)
    assert "line 2" in decide(f'vae = dict({TAKES})\nvae["cache_dir"] = None\n', root, wanted()).all_findings[0].remedy


def test_another_component_that_loads_from_the_hub_without_it_is_a_warning(root: Path) -> None:
    text = f'vae = dict({TAKES}{SETS})\nmodel = dict(type="Lacks", from_pretrained="org/model")\n'
    (finding,) = decide(text, root, wanted()).all_findings
    assert (finding.code, finding.severity, finding.component) == ("OSR010", "warning", "model")
    assert finding.remedy == f"opensora-rewriter rewrite {{path}} --cache-dir {CACHE} --component model"
    assert codes(decide(text, root, wanted(components=("vae", "model"), edit_source=False))) == ["OSR004"]
    assert codes(decide(text, root, wanted(cache_dir=None, cache_dirs=(("vae", CACHE),)))) == [], (
        "requested of vae only"
    )


def test_only_the_refused_component_is_left_out(root: Path) -> None:
    text = f'text_encoder = dict(type="Opaque", from_pretrained="org/a")\nvae = dict({TAKES})\n'
    made = decide(text, root, wanted())
    assert outcomes(made) == {"text_encoder": "cannot", "vae": "set"}
    assert (made.new or b"").decode() == text.replace(TAKES, TAKES + SETS)


def test_a_directory_for_one_component_wins_over_that_for_all(root: Path) -> None:
    text = f"text_encoder = dict({TAKES})\nvae = dict({TAKES})\n"
    made = decide(text, root, wanted(cache_dirs=(("vae", "/vaes"),)))
    assert [(each.component.name, each.value) for each in made.changes] == [("text_encoder", CACHE), ("vae", "/vaes")]
    only = decide(text, root, Request(cache_dirs=(("vae", "/vaes"),)))
    assert outcomes(only) == {"text_encoder": "untouched", "vae": "set"}


def test_all_components_takes_every_dict_that_loads_and_what_is_nested(root: Path) -> None:
    text = f'model = dict(type="Takes", from_pretrained="org/m", vae=dict({TAKES}), n=dict(type="Nothing"))\n'
    assert outcomes(decide(text, root, wanted())) == {"model.vae": "set"}
    found = outcomes(decide(text, root, wanted(all_components=True, edit_source=False)))
    assert found == {"model": "cannot", "model.vae": "set"}, "Takes has no parameters `vae` and `n`"


@pytest.mark.parametrize("branch", ["if x:\n    {}else:\n    {}", "try:\n    {}except OSError:\n    {}"])
def test_each_binding_of_a_name_is_decided(branch: str, root: Path) -> None:
    text = "x = 1\n" + branch.format(f"vae = dict({TAKES})\n", 'vae = dict(type="Nothing")\n')
    made = decide(text, root, wanted())
    assert [each.outcome for each in made.decisions] == ["set", "not needed"]
    assert (made.new or b"").decode() == text.replace(TAKES, TAKES + SETS)


# --- what can be a repo id -------------------------------------------------------------------------

REFUSED_REPOS = ['"???"', '"your T5 path"', '"a/b/c/d"', "False", "3", '"org/na me"', '"org/--x"', '""']


@pytest.mark.parametrize("written", REFUSED_REPOS)
def test_what_can_be_no_repo_id_is_said_and_not_set(written: str, root: Path) -> None:
    text = f'vae = dict(type="Takes", from_pretrained={written})\n'
    made = decide(text, root, wanted())
    assert (outcomes(made), codes(made)) == ({"vae": "cannot"}, ["OSR007"])
    assert "from_pretrained=" + written.replace('"', "'") in made.all_findings[0].message
    assert codes(decide(text, root, checked())) == ["OSR007"]


def test_a_file_in_a_repo_is_right_for_a_loader_that_splits_it(tmp_path: Path) -> None:
    loader = """
        @MODELS.register_module()
        def Split(from_pretrained=None, cache_dir=None):
            if not os.path.exists(from_pretrained):
                parts = from_pretrained.split("/")
                return hf_hub_download("/".join(parts[:2]), parts[2], cache_dir=cache_dir)
    """
    root = write_checkout(tmp_path, textwrap.dedent(loader))
    made = decide('vae = dict(type="Split", from_pretrained="org/name/model.pth")\n', root, wanted())
    assert (outcomes(made), codes(made)) == ({"vae": "set"}, [])
    (call,) = made.decisions[0].trace.calls  # type: ignore[union-attr]
    assert (call.repo_id, call.filename) == ("org/name", "model.pth")


def test_repo_ids_and_paths_are_distinguished(tmp_path: Path) -> None:
    (tmp_path / "there/vae").mkdir(parents=True)
    root = str(tmp_path)
    for text in ("there/vae", "./there"):
        assert locality(text, root) == "local"
    for text in ("org/name", "gpt2"):
        assert locality(text, root) == "repo"
    for text in ("../x", "~/x/none", "pretrained_models/vae", "/no/such", "ckpts/a"):
        assert locality(text, root) == "missing"
    assert locality("there/vae", None) == "repo", "without a checkout a relative path is looked up nowhere"
    assert [is_repo_id(text) for text in ("a" * 96, "a" * 97, "org/name.v1", "org/..", ".org/x", "a/b/c")] == [
        True, False, True, False, False, False,
    ]  # fmt: skip


# --- remedies --------------------------------------------------------------------------------------

LOST = [
    ("/data/OpenSora-STDiT-v3", "STDiT3-XL/2", "hpcai-tech/OpenSora-STDiT-v3", ""),
    ("/mnt/jfs/sd-vae-ft-ema/", "OpenSoraVAE_V1_2", "stabilityai/sd-vae-ft-ema", ""),
    ("./pretrained_models/deepfloyd/T5-V1_1-XXL", "t5", "DeepFloyd/t5-v1_1-xxl", ""),
    ("/caches/our-org/our-vae", "VideoAutoencoderKL", "our-org/our-vae", ""),
    ("pretrained_models/vae-pipeline", "OpenSoraVAE_V1_2", "hpcai-tech/OpenSora-VAE-v1.2", "own weights for this type"),
    ("/home/x/ckpt", "OpenSoraVAE_V1_3", "hpcai-tech/OpenSora-VAE-v1.3", "own weights for this type"),
    ("/x/epoch1-global_step500", "OpenSoraVAE_V1_2", "hpcai-tech/OpenSora-VAE-v1.2", "own weights for this type"),
    ("/home/x/ckpt", "VideoAutoencoderKL", "ORG/ckpt", "ORG is a placeholder"),
    ("/data/my-vae", "OpenSoraVAE_V1_2", "ORG/my-vae", "ORG is a placeholder"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "kind", "repo", "sureness"), LOST)
def test_a_lost_path_names_its_repo(path: str, kind: str, repo: str, sureness: str) -> None:
    found, why = suggest_repo(path, own_weights(kind, None), ["our-org/our-vae"])
    assert (found, bool(why)) == (repo, bool(sureness))
    assert why.endswith(sureness)


def test_stdit3_has_other_weights_in_each_release(tmp_path: Path) -> None:
    assert own_weights("STDiT3-XL/2", None) is None
    assert own_weights("STDiT3-XL/2", str(tmp_path)) == "hpcai-tech/OpenSora-STDiT-v3"
    (tmp_path / "opensora/models/vae_v1_3").mkdir(parents=True)
    assert own_weights("STDiT3-XL/2", str(tmp_path)) is None, "v1.3 has two"


def test_each_lost_path_is_named_with_the_place_where_it_stands(root: Path) -> None:
    text = 'vae = dict(type="HardCoded", from_pretrained="/d/sd-vae-ft-ema", second="/d/sd-vae-ft-mse")\n'
    made = decide(text, root, checked())
    assert codes(made) == ["OSR006"] * 3
    found = {each.message.split("'")[1]: each.remedy for each in made.all_findings}
    source = found.pop("/mnt/x/pixart_sigma_sdxlvae_T5_diffusers")
    line = LOADERS[: LOADERS.index("/mnt/x")].count("\n") + 1 + 8
    assert f"opensora/loaders.py:{line}" in source
    assert "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers" in source
    assert found["/d/sd-vae-ft-ema"].endswith("--set vae.from_pretrained=stabilityai/sd-vae-ft-ema")
    assert found["/d/sd-vae-ft-mse"].endswith("--set vae.second=stabilityai/sd-vae-ft-mse")


def test_findings_with_one_cause_share_it(root: Path) -> None:
    made = decide(f"text_encoder = dict({TAKES}{SETS})\nvae = dict({TAKES}{SETS})\n", root, checked())
    assert [each.code for each in made.all_findings] == ["OSR006", "OSR006"]
    assert len({each.cause for each in made.all_findings}) == 1


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hpcaitech/OpenSora-VAE-v1.2", "hpcai-tech/OpenSora-VAE-v1.2"),
        ("hpcai-tech/OpenSora-VAE-v1.2", None),
        ("somebody/OpenSora-VAE-v1.2", None),
        ("mee/my-vae", "me/my-vae"),
        ("gpt2", None),
    ],
)
def test_a_typing_error_in_the_organisation_is_recognised(typed: str, meant: str | None) -> None:
    assert did_you_mean(typed, ["me/my-vae"]) == meant


# --- the releases ----------------------------------------------------------------------------------


def test_v1_2_t5_takes_its_repo_id_and_no_path_even_an_existing_one(tmp_path: Path) -> None:
    text = f'text_encoder = dict(type="t5", from_pretrained="{tmp_path}")\n'
    made = decide(text, FIXTURES / "v1.2", wanted())
    assert (outcomes(made), codes(made)) == ({"text_encoder": "cannot"}, ["OSR006"])
    assert made.all_findings[0].remedy.endswith("--set text_encoder.from_pretrained=DeepFloyd/t5-v1_1-xxl")
    assert outcomes(decide(text, FIXTURES / "v1.3", wanted())) == {"text_encoder": "not needed"}


# --- configs that lie in no checkout ---------------------------------------------------------------

LONE = {
    "known to take it": Case("every release with it takes it", 'type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl"',
        "set", "", f'type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl"{SETS}'),
    "an unrelated keyword": Case("the table is a guess", 'type="VideoAutoencoderKL", from_pretrained="a/b", split=8',
        "set", "", f'type="VideoAutoencoderKL", from_pretrained="a/b"{SETS}, split=8'),
    "a type that rejects it": Case("in every release", 'type="clip", from_pretrained="a/b"', "cannot", "OSR004"),
    "V1_2": Case("in every release", 'type="OpenSoraVAE_V1_2", from_pretrained="a/b"', "cannot", "OSR004"),
    "V1_3": Case("in every release", 'type="OpenSoraVAE_V1_3", from_pretrained="a/b"', "cannot", "OSR004"),
    "a type that rejects it, forced": Case("a warning", 'type="clip", from_pretrained="a/b"', "set", "OSR004",
        f'type="clip", from_pretrained="a/b"{SETS}', options={"force": True}),
    "classes": Case("needs none", 'type="classes", num_classes=3', "not needed"),
    "unknown": Case("not in the table", 'type="Wan2_1_T2V_1_3B_VAE", from_pretrained="a/b"', "cannot", "OSR007"),
    "unknown, forced": Case("only the loader is unknown", 'type="Wan2_1_T2V_1_3B_VAE", from_pretrained="a/b"', "set",
        "OSR007", f'type="Wan2_1_T2V_1_3B_VAE", from_pretrained="a/b"{SETS}', options={"force": True}),
    "unknown and computed, forced": Case("the config is unknown, too", 'type="New", from_pretrained="a/b", **x',
        "cannot", "OSR007", options={"force": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", LONE)
def test_a_lone_config_is_decided_by_the_table_of_released_loaders(name: str) -> None:
    case = LONE[name]
    made = decide(f"vae = dict({case.before})\n", None, wanted(**case.options))
    assert (outcomes(made), codes(made)) == ({"vae": case.outcome}, case.codes.split()), case.why
    assert (made.new or b"").decode() == f"vae = dict({case.after or case.before})\n"
    assert "remove" not in messages(made), "a guess is no reason to remove a keyword"


@pytest.mark.parametrize("kind", sorted(RELEASED))
def test_the_table_agrees_with_the_sources_of_v1_3(kind: str) -> None:
    """The same hub calls, and the same answer to whether `cache_dir` reaches them."""
    values = give_values(cache_dir=CACHE, **({"num_classes": 3} if kind == "classes" else {"from_pretrained": "a/b"}))
    table = trace_released(kind, values)
    trace = Loaders().trace(str(FIXTURES / "v1.3"), kind, values)
    if not trace.found:
        pytest.skip(f"the fixture has no {kind}")
    ours = {(call.class_name, call.repo_id, "cache_dir" in call.reached) for call in table.calls}
    theirs = {(call.class_name, call.repo_id, "cache_dir" in call.reached) for call in trace.calls}
    assert ours == theirs
    assert ("cache_dir" in {each.key for each in table.rejections}) == (
        "cache_dir" in {each.key for each in trace.rejections}
    )


def test_all_components_takes_what_naming_it_would(root: Path) -> None:
    text = 'model = dict(type="Takes", from_pretrained="/x/OpenSora-STDiT-v3")\nscheduler = dict(type="iddpm")\n'
    found = {name: decide(text, root, checked(**{name: value})) for name, value in
             (("all_components", True), ("components", ("model",)))}  # fmt: skip
    assert codes(found["all_components"]) == codes(found["components"]) == ["OSR006"]


def test_a_remedy_keeps_the_directory_that_the_config_names(root: Path) -> None:
    text = 'text_encoder = dict(type="Takes", from_pretrained="a/b", cache_dir="/shared")\n'
    text += 'vae = dict(type="Takes", from_pretrained="c/d")\n'
    (finding,) = [each for each in decide(text, root, checked(cache_dir=None)).all_findings if each.code == "OSR001"]
    assert "--cache-dir /shared" in finding.remedy
