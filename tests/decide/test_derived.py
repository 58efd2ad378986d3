"""Derived projects: a package of another name, configs elsewhere, loaders that nobody knows; a small checkout each."""

from __future__ import annotations

import os
import shutil
import textwrap
from pathlib import Path

import pytest
from conftest import FIXTURES
from deciding import (
    CACHE,
    HEAD,
    check,
    checked,
    choose,
    codes,
    decide,
    messages,
    outcomes,
    plan_rewrite,
    rewrite,
    wanted,
    write_checkout,
)
from loading import REGISTRY, write_files, write_package

from rewriter.api import check_paths, needed_repos
from rewriter.checkout import Selection, find_root, select
from rewriter.decide import plan
from rewriter.decide.plan import Loaders
from rewriter.model import Plan

VAE = 'vae = dict(type="loader", from_pretrained="org/name")\n'
SET = f'vae = dict(type="loader", from_pretrained="org/name", cache_dir="{CACHE}")\n'
LACKS = """
@MODELS.register_module("loader")
def loader(from_pretrained=None):
    return AutoModel.from_pretrained(from_pretrained)
"""
TAKES = LACKS.replace("=None)", "=None, cache_dir=None)").replace(
    "_pretrained(from_pretrained)", "_pretrained(from_pretrained, cache_dir=cache_dir)"
)


def edited(made: Plan, root: Path) -> set[str]:
    """The files that are edited, relative to the root."""
    return {os.path.relpath(edit.path, root) for edit in made.edits}


def chosen(root: Path, *paths: str, all_configs: bool = False) -> list[str]:
    """The files of a selection, relative to the root."""
    return [os.path.relpath(t.path, root) for t in selection(root, *paths, all_configs=all_configs).targets]


def selection(root: Path, *paths: str, all_configs: bool = False) -> Selection:
    return select(paths, all_configs=all_configs, cwd=str(root))


# --- 1. the package --------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["javisdit", "src/vidgen", "opensora/opensora", "magicdrivedit/magicdrivedit"])
@pytest.mark.parametrize("folder", ["configs", "config"])
def test_a_package_of_any_name_is_read_and_edited_in_its_place(package: str, folder: str, tmp_path: Path) -> None:
    name = package.rpartition("/")[2]
    write_checkout(tmp_path / package.rpartition("/")[0], LACKS, package=name)
    write_files(tmp_path, {f"{folder}/inference/a.py": VAE})
    made = rewrite(tmp_path)
    assert (outcomes(made), codes(made)) == ({"vae": "set"}, [])
    assert edited(made, tmp_path) == {f"{folder}/inference/a.py", f"{package}/loaders.py"}


def test_imports_of_the_package_and_of_its_siblings_are_followed_and_edited(tmp_path: Path) -> None:
    """`audio_vae`, registered in a sibling package, loads through a helper of a third that registers nothing."""
    write_package(tmp_path, {"models/__init__.py": "import audio.vae\n"}, "javisdit")
    write_files(
        tmp_path,
        {
            "audio/__init__.py": "",
            "audio/vae.py": """
                from common.loading import load
                from javisdit.registry import MODELS

                @MODELS.register_module("AudioVAE")
                class AudioVAE:
                    def __init__(self, from_pretrained=None):
                        self.model = load(from_pretrained)
            """,
            "common/__init__.py": "",
            "common/loading.py": """
                from diffusers import AutoencoderKL

                def load(path):
                    return AutoencoderKL.from_pretrained(path)
            """,
            "configs/inference/a.py": 'audio_vae = dict(type="AudioVAE", from_pretrained="org/audio")\n',
        },
    )
    made = rewrite(tmp_path, request=wanted(all_components=True))
    assert outcomes(made) == {"audio_vae": "set"}
    assert edited(made, tmp_path) == {"configs/inference/a.py", "audio/vae.py", "common/loading.py"}


@pytest.mark.parametrize("source", [".", "javisdit"])
def test_opensora_source_takes_a_package_of_any_name_or_its_root(source: str, tmp_path: Path) -> None:
    root = write_checkout(tmp_path / "project", LACKS, package="javisdit")
    write_files(tmp_path, {"lone/a.py": VAE})
    made = plan_rewrite(tmp_path / "lone", "a.py", source=str(root / source))
    assert outcomes(made) == {"vae": "set"}
    assert [os.path.relpath(edit.path, root) for edit in made.sources] == ["javisdit/loaders.py"]
    assert not [note for note in made.notes if "table of the released loaders" in note.message]


def test_a_renamed_v1_0_is_not_decided_by_the_table(tmp_path: Path) -> None:
    """Its VAE takes no cache_dir, whatever v1.1's does: written alone it would be a TypeError."""
    write_checkout(tmp_path, LACKS.replace("loader", "VideoAutoencoderKL"), package="vidgen")
    write_files(tmp_path, {"configs/a.py": VAE.replace("loader", "VideoAutoencoderKL")})
    made = plan_rewrite(tmp_path, request=wanted(edit_source=False))
    assert (outcomes(made), codes(made)) == ({"vae": "cannot"}, ["OSR004"])


# --- 2. the selection ------------------------------------------------------------------------------


@pytest.fixture
def pavdm(tmp_path: Path) -> Path:
    """A checkout with configs beside the root's, as pa_vdm has them."""
    write_checkout(tmp_path, LACKS)
    names = (
        *("configs/v1/inference/a.py", "configs/v1/train/b.py", "configs/c.py"),
        *("pavdm/configs/inference/d.py", "pavdm/configs/e.py", "scripts/run.py"),
    )
    return write_files(tmp_path, dict.fromkeys(names, VAE) | {"pavdm/__init__.py": ""})


def test_a_named_folder_is_what_is_rewritten(pavdm: Path) -> None:
    before = (pavdm / "configs/v1/inference/a.py").read_text()
    made = rewrite(pavdm, "pavdm/configs")
    assert edited(made, pavdm) == {"opensora/loaders.py", "pavdm/configs/e.py", "pavdm/configs/inference/d.py"}
    assert (pavdm / "configs/v1/inference/a.py").read_text() == before


@pytest.fixture
def vidit(tmp_path: Path) -> Path:
    """Two projects in one: a package that holds configs of its own, and a true checkout (ViDiT-Q)."""
    own = {"configs/alpha.py": "seed = 1\n", "diffusion/registry.py": REGISTRY, "model.py": LACKS}
    write_package(tmp_path, own, "t2i")
    write_checkout(tmp_path / "t2v", LACKS, {"dit/inference/a.py": VAE, "dit/train/b.py": VAE})
    return tmp_path


def test_a_root_without_configs_of_its_own_gives_the_checkouts_inside_it_too(vidit: Path) -> None:
    found = selection(vidit)
    assert {os.path.relpath(t.path, vidit): os.path.relpath(str(t.root), vidit) for t in found.targets} == {
        "t2i/configs/alpha.py": ".",
        "t2v/configs/dit/inference/a.py": "t2v",
    }
    assert [note.message for note in found.notes] == [
        "checkouts found below this folder: t2v",
        "1 more config: --all-configs",
    ]
    made = rewrite(vidit)
    assert edited(made, vidit) == {
        "t2v/configs/dit/inference/a.py",
        "t2v/configs/dit/train/b.py",
        "t2v/opensora/loaders.py",
    }


# --- 3. never silent -------------------------------------------------------------------------------

SILENT = {
    "a type that nobody registers": (
        'audio_vae = dict(type="Nope", from_pretrained="org/b")\n',
        "registered as `Nope`",
    ),
    "no type": ('audio_vae = dict(from_pretrained="org/b", dim=3)\n', "no `type`"),
    "a repo that only running tells": ('audio_vae = dict(type="loader", from_pretrained=pick())\n', "`pick()`"),
    "no repo id": ('audio_vae = dict(type="loader", from_pretrained="???")\n', "can be no repo id"),
    "nested": ('model = dict(type="loader", audio=dict(type="Nope", from_pretrained="org/b"))\n', "`Nope`"),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_dict_that_names_weights_and_cannot_be_followed_is_said(name: str, tmp_path: Path) -> None:
    text, words = SILENT[name]
    root = write_checkout(tmp_path, TAKES.replace("cache_dir=None", "audio=None, cache_dir=None"), {"a.py": text})
    selected = check(root, all_components=True)
    found = [each for each in selected.all_findings if each.code == "OSR007"]
    assert [(each.code, each.severity) for each in found] == [("OSR007", "error")]
    assert words in found[0].message
    left_out = check(root)
    assert codes(left_out) == []
    (note,) = [note for note in left_out.notes if "was not selected" in note.message]
    assert words in note.message
    assert (note.path, note.line) == (str(root / "configs/a.py"), 1)


@pytest.mark.parametrize("name", ["a type that nobody registers", "no type", "no repo id"])
def test_a_repo_that_cannot_be_known_is_never_printed_as_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_checkout(tmp_path, TAKES, {"a.py": SILENT[name][0]}))
    assert needed_repos(["."]) == ()
    assert [each.code for each in check_paths(["."], components=["audio_vae"])] == ["OSR007"]


@pytest.mark.parametrize(("count", "words"), [(1, "this file"), (3, "these 3 files")])
def test_files_without_any_component_are_said(count: int, words: str, tmp_path: Path) -> None:
    texts = {f"{number}.py": f"seed = {number}\nscheduler = dict(steps=3)\n" for number in range(count)}
    root = write_checkout(tmp_path, TAKES, texts)
    assert [note.message for note in check(root).notes] == [f"no component in {words}"]
    (root / "configs/0.py").write_text(VAE)
    assert check(root).notes == ()


def test_several_processes_decide_as_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that inherit from one of another part, loaders that need an edit, a file that cannot be decided."""
    texts = {f"{number:02}.py": f'_base_ = "./base.py"\nseed = {number}\n' for number in range(30)}
    texts |= {"base.py": VAE, "own.py": VAE.replace("vae", "text_encoder"), "sum.py": "vae = make()\n"}
    root = write_checkout(tmp_path, LACKS, texts)
    selected = choose(root).targets
    made = {}
    for number in (400, 2):
        monkeypatch.setattr(plan, "_FILES_PER_POOL", number)
        monkeypatch.setattr(plan, "_FILES_PER_TASK", 7)
        for request in (checked(), wanted()):
            run = plan.check if request.checking else plan.rewrite
            found = run(selected, request, Loaders())
            rows = [(r.path, d.component.keys, d.outcome, d.findings) for r in found.results for d in r.decisions]
            edits = [(edit.path, edit.new) for edit in found.edits]
            made[number, request.checking] = rows, edits, found.all_findings, found.notes
    assert made[400, True] == made[2, True]
    assert made[400, False] == made[2, False]
    assert len(made[2, False][1]) == 3


def test_many_files_are_counted_together(tmp_path: Path) -> None:
    """From 400 files on they are read by several processes."""
    texts = {f"{number:03}.py": "seed = 1\n" for number in range(401)}
    root = write_checkout(tmp_path, TAKES, texts)
    assert [note.message for note in check(root).notes] == ["no component in these 401 files"]
    (root / "configs/400.py").write_text(VAE)
    assert (check(root).notes, codes(check(root))) == ((), ["OSR001"])


# --- 4. two registrations of one name --------------------------------------------------------------

REJECTS = LACKS


def register_twice(root: Path, init: str) -> Path:
    head = HEAD.replace("os\n", "os\n", 1)
    files = {"enc.py": head + TAKES, "enc_new.py": head + REJECTS, "models/__init__.py": init}
    return write_files(write_package(root, files), {"configs/a.py": VAE})


@pytest.mark.parametrize(
    ("init", "source"),
    [("from opensora.enc_new import loader\n", "enc_new.py"), ("from ..enc import loader\n", None)],
)
def test_the_registration_that_the_package_imports_counts(init: str, source: str | None, tmp_path: Path) -> None:
    made = rewrite(register_twice(tmp_path, init))
    assert outcomes(made) == {"vae": "set"}
    assert {Path(edit.path).name for edit in made.sources} == ({source} if source else set())


@pytest.mark.parametrize("init", ["", "import opensora.enc, opensora.enc_new\n"], ids=["neither", "both"])
def test_where_that_cannot_be_known_it_is_osr007(init: str, tmp_path: Path) -> None:
    made = plan_rewrite(register_twice(tmp_path, init))
    assert (outcomes(made), codes(made), made.edits) == ({"vae": "cannot"}, ["OSR007"], ())
    assert "enc.py" in messages(made)
    assert "enc_new.py" in messages(made)


# --- 5. loaders across packages --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "statement", "call"),
    [
        ("common/helper", "import common.helper", "common.helper.load"),
        ("common/helper", "from common import helper", "helper.load"),
        ("common/helper", "from common.helper import load as fetch", "fetch"),
        ("opensora/deep/er/helper", "import opensora.deep.er.helper", "opensora.deep.er.helper.load"),
        ("opensora/helper", "from . import helper", "helper.load"),
        ("hub/pipelines/helper", "import hub.pipelines.helper as h", "h.load"),
    ],
)
def test_a_helper_of_another_package_is_followed(module: str, statement: str, call: str, tmp_path: Path) -> None:
    loader = LACKS.replace("AutoModel.from_pretrained", call).replace("=None", "")
    root = write_checkout(tmp_path, f"{statement}\n{loader}", {"a.py": VAE})
    helper = "from diffusers import AutoencoderKL\n\ndef load(path):\n    return AutoencoderKL.from_pretrained(path)\n"
    parents = {f"{parent}/__init__.py": "" for parent in map(str, Path(module).parents) if parent != "."}
    write_files(root, parents | {f"{module}.py": helper})
    made = rewrite(root)
    assert outcomes(made) == {"vae": "set"}
    assert edited(made, root) == {"configs/a.py", "opensora/loaders.py", f"{module}.py"}


def test_a_helper_that_is_nowhere_is_never_not_needed(tmp_path: Path) -> None:
    loader = LACKS.replace("AutoModel.from_pretrained(", "missing.helper.load(")
    for statement in ("import missing.helper", "from opensora import missing"):
        root = write_checkout(tmp_path, f"{statement}\n{loader}", {"a.py": VAE})
        made = plan_rewrite(root)
        assert (outcomes(made), codes(made)) == ({"vae": "cannot"}, ["OSR007"]), statement


# --- 7. computed repos (what can be a repo id: test_decisions) --------------------------------------


@pytest.mark.parametrize("written", ['ROOT + "/name"', 'f"{ROOT}/name"'])
def test_sums_of_constants_are_known_and_the_environment_is_not(written: str, tmp_path: Path) -> None:
    text = f'ROOT = "org"\nvae = dict(type="loader", from_pretrained={written})\n'
    made = rewrite(write_checkout(tmp_path, TAKES, {"a.py": text}))
    assert made.results[0].decisions[0].trace.calls[0].repo_id == "org/name"  # type: ignore[union-attr]
    asks = 'import os\nROOT = os.environ.get("W", "../w")\n' + text.partition("\n")[2]
    refused = plan_rewrite(write_checkout(tmp_path / "2", TAKES, {"a.py": asks}))
    assert (outcomes(refused), codes(refused)) == ({"vae": "cannot"}, ["OSR007"])


# --- 8. hub calls of other names -------------------------------------------------------------------

OTHER_CALLS = {
    "AutoConfig": ("from transformers import AutoConfig", "AutoConfig.from_pretrained({})", "set"),
    "from_config with a repo": ("from diffusers import UNet2DModel", "UNet2DModel.from_config({})", "set"),
    "load_config": ("from diffusers import UNet2DModel", "UNet2DModel.load_config({})", "set"),
    "snapshot_download": ("from huggingface_hub import snapshot_download", "snapshot_download({})", "set"),
    "sentence_transformers": (
        "from sentence_transformers import SentenceTransformer",
        "SentenceTransformer({})",
        "sentence_transformers takes `cache_folder`",
    ),
    "sentence_transformers by from_pretrained": (
        "from sentence_transformers import SentenceTransformer",
        "SentenceTransformer.from_pretrained({})",
        "sentence_transformers takes `cache_folder`",
    ),
    "open_clip": ("import open_clip", "open_clip.create_model_from_pretrained({})", "open_clip"),
    "open_clip by from_pretrained": ("from open_clip import CLIPModel", "CLIPModel.from_pretrained({})", "open_clip"),
    "a library that is not known": (
        "from newlib import Net",
        "Net.from_pretrained({})",
        "`newlib.Net.from_pretrained` loads",
    ),
}


@pytest.mark.parametrize("name", OTHER_CALLS)
def test_a_hub_call_of_another_name_is_threaded_where_that_is_known_or_refused(name: str, tmp_path: Path) -> None:
    statement, call, answer = OTHER_CALLS[name]
    text = call.format("from_pretrained")
    loader = f"{statement}\n\n@MODELS.register_module('loader')\ndef loader(from_pretrained):\n    return {text}\n"
    root = write_checkout(tmp_path, loader, {"a.py": VAE})
    if answer == "set":
        made = rewrite(root)
        assert outcomes(made) == {"vae": "set"}
        assert call.format("from_pretrained, cache_dir=cache_dir") in (root / "opensora/loaders.py").read_text()
    else:
        made = plan_rewrite(root)
        assert (outcomes(made), made.edits) == ({"vae": "cannot"}, ())
        assert codes(made) == ["OSR007"]
        assert answer in messages(made)


def test_a_call_that_cannot_be_known_beside_one_that_is_is_said(tmp_path: Path) -> None:
    loader = LACKS.replace(
        "    return", "    from newlib import Net\n    Net.from_pretrained(from_pretrained)\n    return"
    )
    made = plan_rewrite(write_checkout(tmp_path, loader, {"a.py": VAE}))
    assert outcomes(made) == {"vae": "set"}
    assert [(each.code, each.severity) for each in made.all_findings] == [("OSR007", "warning")]


def test_from_config_with_an_object_reads_nothing(tmp_path: Path) -> None:
    loader = LACKS.replace("AutoModel.from_pretrained(from_pretrained)", "AutoModel.from_config(nn.Module())")
    made = plan_rewrite(write_checkout(tmp_path, loader, {"a.py": VAE}))
    assert outcomes(made) == {"vae": "not needed"}


# --- 9. lone configs (the table: test_decisions) ---------------------------------------------------


def test_a_lone_config_says_that_a_table_stands_in(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.py": 'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b", split=8)\n'})
    made = rewrite(tmp_path, "a.py")
    assert (outcomes(made), codes(made)) == ({"vae": "set"}, [])
    assert [note.message.partition(";")[0] for note in made.notes] == [
        "no package that registers loaders was found: a table of the released loaders stands in, which is a guess",
        "the released `VideoAutoencoderKL` has no `split`",
    ]


# --- 10. a checkout inside -------------------------------------------------------------------------


def test_a_submodule_beside_own_configs_is_edited_whole(tmp_path: Path) -> None:
    """`opensora/` is a clone of upstream; the own configs build a loader that builds another one."""
    loaders = """
        @MODELS.register_module()
        class Inner:
            def __init__(self, from_pretrained):
                self.model = AutoencoderKL.from_pretrained(from_pretrained)

        @MODELS.register_module("loader")
        def loader(from_pretrained=None):
            inner = build_module(dict(type="Inner", from_pretrained="org/hidden"), MODELS)
            return inner, AutoModel.from_pretrained(from_pretrained)
    """
    write_checkout(tmp_path / "opensora", textwrap.dedent(loaders), {"inference/theirs.py": VAE})
    write_files(tmp_path, {"configs/own.py": VAE})
    assert chosen(tmp_path) == ["configs/own.py"]
    assert find_root(str(tmp_path / "configs")) == str(tmp_path)
    made = rewrite(tmp_path)
    assert edited(made, tmp_path) == {"configs/own.py", "opensora/opensora/loaders.py"}
    assert (tmp_path / "opensora/opensora/loaders.py").read_text().count("cache_dir=cache_dir") == 3


# --- 12. v2 ----------------------------------------------------------------------------------------


def test_v2_is_named_and_what_is_not_covered_is_said(tmp_path: Path) -> None:
    files = {"models/mmdit/model.py": "", "models/text/conditioner.py": HEAD + LACKS.replace("loader", "text_embedder")}
    write_package(tmp_path, files)
    write_files(
        tmp_path,
        {
            "configs/diffusion/inference/256px.py": 'model = dict(type="flux", from_pretrained="./ckpts/x")\n',
            "configs/diffusion/train/a.py": 't5 = dict(type="text_embedder", from_pretrained="google/t5-v1_1-xxl")\n',
        },
    )
    found = selection(tmp_path)
    assert [note.message.partition(":")[0] for note in found.notes if "v2" in note.message] == ["this is Open-Sora v2"]
    assert "not covered" in messages(Plan((), notes=found.notes))
    made = rewrite(tmp_path, request=wanted(components=("t5",)))
    assert outcomes(made) == {"a:t5": "set"}
    write_files(tmp_path, {"opensora/models/text_encoder/t5.py": ""})
    assert not [note for note in selection(tmp_path).notes if "v2" in note.message], "a v1 with a model of v2's"


# --- every tree, twice -----------------------------------------------------------------------------


def test_the_derived_fixture_is_whole(tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / "derived", tmp_path / "derived"))
    made = rewrite(root, request=wanted(all_components=True))
    assert {"cannot"}.isdisjoint(outcomes(made).values())
    assert len(choose(root).targets) == 2
    assert decide("vae = None\n", root, wanted()).decisions == ()


def test_a_folder_without_the_model_that_load_checkpoint_reads_is_said(tmp_path: Path) -> None:
    loaders = """
    from opensora.utils.ckpt_utils import load_checkpoint

    @MODELS.register_module("loader")
    def loader(from_pretrained=None, cache_dir=None):
        if from_pretrained is not None and not os.path.exists(from_pretrained):
            return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        load_checkpoint(None, from_pretrained)

    @MODELS.register_module("pair")
    def pair(from_pretrained=None, cache_dir=None):
        AutoModel.from_pretrained("PixArt-alpha/vae", cache_dir=cache_dir)
        load_checkpoint(None, from_pretrained)
    """
    root = write_checkout(tmp_path / "checkout", textwrap.dedent(loaders))
    reads = "import os\n\n\ndef load_checkpoint(model, path):\n    if os.path.isdir(path):\n        model.load(path)\n"
    write_files(root, {"opensora/utils/__init__.py": "", "opensora/utils/ckpt_utils.py": reads})
    folder = tmp_path / "OpenSora-STDiT-v3"
    folder.mkdir()
    text = f"vae = dict(type='loader', from_pretrained='{folder}')\n"
    (finding,) = decide(text, root, checked()).all_findings
    assert (finding.code, finding.severity) == ("OSR006", "error")
    assert "holds no folder model/" in finding.message
    assert finding.remedy.endswith("--set vae.from_pretrained=hpcai-tech/OpenSora-STDiT-v3")
    (other,) = decide(text.replace("vae", "model"), root, checked(all_components=True)).all_findings
    assert (other.code, other.message) == (finding.code, finding.message)
    twice = text + text.replace("vae", "other").replace("'loader'", "'pair'")
    (own, pair) = decide(twice, root, checked(all_components=True)).all_findings
    assert (own.message, pair.code) == (finding.message, "OSR006")  # though it reads from the Hub, too
    (folder / "model").mkdir()
    assert not decide(text, root, checked()).all_findings
