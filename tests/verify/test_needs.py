"""What a config's components read from a cache: one row for every hub call, what arrives there, and what is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from loading import write_package

from rewriter.checkout import Target
from rewriter.read.loaders import Loaders
from rewriter.verify.needs import CallRow, ComponentTrace, Need, collect_needs, list_repos, trace_components

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
LOADERS = """
from diffusers import AutoencoderKL
from transformers import T5EncoderModel
from huggingface_hub import hf_hub_download
from opensora.registry import MODELS

@MODELS.register_module()
def takes(path, cache_dir=None):
    return AutoencoderKL.from_pretrained(path, subfolder="vae", revision="fp16", cache_dir=cache_dir)

@MODELS.register_module()
def drops(path, cache_dir=None, local_files_only=False):
    return hf_hub_download(path, "model.pth", local_files_only=local_files_only)

@MODELS.register_module()
class Rejects:
    def __init__(self, path=None):
        self.model = AutoencoderKL.from_pretrained(path or "org/hidden")

@MODELS.register_module()
def several(path, names):
    return [KINDS[name].from_pretrained(path) for name in names]

@MODELS.register_module()
def text(path, cache_dir=None):
    return T5EncoderModel.from_pretrained(path, cache_dir=cache_dir)

@MODELS.register_module()
def nothing(size):
    return size
"""
CONFIG = """\
vae = dict(type="takes", path="org/vae", cache_dir="/models")
text_encoder = dict(type="takes", path="org/text")
model = dict(
    type="drops", path="org/model", cache_dir="/models", local_files_only=True,
    vae=dict(type="Rejects"), t5=dict(type="Rejects", path="./ckpts/t5"),
)
discriminator = dict(type="several", path="org/any", names=NAMES)
scheduler = dict(type="nothing", size=1)
clip = dict(type="takes", path=None)
ae = dict(type="takes", path=PATH)
other = dict(type="unheard-of", path="org/n")
"""


def trace(root: Path, text: str = CONFIG, names: list[str] | None = None) -> list[ComponentTrace]:
    write_package(root, {"loaders.py": LOADERS, "../configs/a.py": text})
    return trace_components([Target(str(root / "configs/a.py"), str(root), True)], Loaders(), names)


# --- rows -----------------------------------------------------------------------------------------------


def test_every_hub_call_is_a_row_with_what_arrives_at_it(tmp_path: Path) -> None:
    (one,) = trace(tmp_path, 'vae = dict(type="takes", path="org/vae", cache_dir="/models", local_files_only=True)\n')
    assert one.rows == (CallRow(one.rows[0].call, "repo", {"cache_dir": "set", "local_files_only": "rejected"}),)
    assert (one.path, one.root, one.type) == (str(tmp_path / "configs/a.py"), str(tmp_path), "takes")


def test_components_that_load_nothing_or_that_nobody_registered_have_no_rows(tmp_path: Path) -> None:
    traced = trace(tmp_path)
    found = {
        each.component.dotted: [(row.call.repo_id, row.place, *row.keys.values()) for row in each.rows]
        for each in traced
    }
    assert found == {
        "vae": [("org/vae", "repo", "set", "rejected")],
        "text_encoder": [("org/text", "repo", "open", "rejected")],
        "model": [("org/model", "repo", "dropped", "set")],
        "model.vae": [("org/hidden", "repo", "rejected", "rejected")],
        "model.t5": [("./ckpts/t5", "missing", "rejected", "rejected")],
        "discriminator": [],
        "clip": [],
        "ae": [(None, "unknown", "open", "rejected")],
    }
    assert {each.component.dotted for each in traced if each.unknown} == {"discriminator"}
    plain, in_folder = [("org/hidden", "", ""), ("org/model", "", "")], ("vae", "fp16")
    assert list_repos(traced) == [*plain, ("org/text", *in_folder), ("org/vae", *in_folder)]
    assert [each.component.dotted for each in trace(tmp_path, names=["model"])] == ["model", "model.vae", "model.t5"]


def v1_0_text_encoder() -> list[ComponentTrace]:
    root = FIXTURES / "v1.0"
    sample = root / "configs/opensora/inference/16x256x256.py"
    return trace_components([Target(str(sample), str(root), True)], Loaders(), ["text_encoder"])


def test_the_repo_that_v1_0s_t5_reads_once_it_is_rewritten_is_listed_in_place_of_its_path() -> None:
    found = v1_0_text_encoder()
    assert [each.after_rewrite for each in found] == [("DeepFloyd/t5-v1_1-xxl",)]
    assert {row.place for row in found[0].rows} == {"missing"}
    assert list_repos(found) == [("DeepFloyd/t5-v1_1-xxl", "", "")]


def test_without_sources_the_table_of_released_loaders_serves_and_no_edit_is_foreseen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="./pretrained_models/vae")\n')
    (tmp_path / "broken.py").write_text("\nvae = dict(\n")
    loaders = Loaders()
    targets = [Target(str(tmp_path / name), None, True) for name in ("broken.py", "a.py", "gone.py")]
    (one,) = trace_components(targets, loaders)
    assert [(row.place, row.call.repo_id) for row in one.rows] == [("missing", "./pretrained_models/vae")]
    assert (one.after_rewrite, loaders.used_released_table) == ((), True)


# --- needs ----------------------------------------------------------------------------------------------

TEXT = 'vae = dict(type="text", path="org/t5")\n'
VAE = 'vae = dict(type="takes", path="org/vae")\n'


def collect(
    monkeypatch: pytest.MonkeyPatch, traced: list[ComponentTrace], environ: dict[str, str], *how: Any
) -> list[Need]:
    monkeypatch.setattr(os, "environ", {"HOME": "/home/u", **environ})
    return collect_needs(traced, *how)


def test_equal_needs_of_several_components_are_one_with_all_who_request_it(tmp_path: Path) -> None:
    text = "".join(f'{name} = dict(type="text", path="org/t5", cache_dir="/hub")\n' for name in ("a", "b"))
    (need,) = collect_needs(trace(tmp_path, text))
    assert (need.repo_id, need.cache_dir, need.source, need.key) == ("org/t5", "/hub", "config", "path")
    assert (need.class_name, need.library, need.type) == ("T5EncoderModel", "transformers", "text")
    assert [place[1:] for place in need.requested_by] == [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    ("line", "directory"),
    [
        ('vae = dict(type="Rejects", cache_dir="/hub")', "/hub"),
        ('vae = dict(type="drops", path="org/n", cache_dir="/hub")', "/home/u/.cache/huggingface/hub"),
        ('vae = dict(type="takes", path="org/n", cache_dir=DIRECTORY)', None),
        ('vae = dict(type="takes", path="./gone/my-vae", cache_dir="/hub")', None),
    ],
)
def test_the_directory_that_is_read_is_the_one_that_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, directory: str | None
) -> None:
    found = collect(monkeypatch, trace(tmp_path, line + "\n"), {})
    assert [need.cache_dir for need in found] == ([] if directory is None else [directory])


@pytest.mark.parametrize(
    ("text", "environ", "major", "expected"),
    [
        (TEXT, {}, 4, ("/home/u/.cache/huggingface/hub", "default")),
        (TEXT, {"HF_HOME": "/hf", "TRANSFORMERS_CACHE": "/t"}, 4, ("/t", "TRANSFORMERS_CACHE")),
        (TEXT, {"HF_HOME": "/hf", "TRANSFORMERS_CACHE": "/t"}, 5, ("/hf/hub", "HF_HOME")),
        (VAE, {"HF_HOME": "/hf", "TRANSFORMERS_CACHE": "/t"}, 4, ("/hf/hub", "HF_HOME")),
        (TEXT, {"PYTORCH_PRETRAINED_BERT_CACHE": "/b", "HF_HOME": "/h"}, 4, ("/b", "PYTORCH_PRETRAINED_BERT_CACHE")),
    ],
)
def test_without_cache_dir_each_library_reads_the_directory_of_its_own_variables(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    environ: dict[str, str],
    major: int,
    expected: tuple[str, str],
) -> None:
    found = collect(monkeypatch, trace(tmp_path, text), environ, major)
    assert [(need.cache_dir, need.source) for need in found] == [expected]


def test_a_download_goes_where_the_command_line_says_else_the_config_else_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = VAE + 'model = dict(type="Rejects", cache_dir="/config")\nclip = dict(type="text", path="org/clip")\n'
    traced = trace(tmp_path, text)
    found = collect(monkeypatch, traced, {}, 4, lambda each: "/option" if each.name == "vae" else None)
    assert [(need.repo_id, need.cache_dir, need.source) for need in found] == [
        ("org/vae", "/option", "option"),
        ("org/hidden", "/config", "config"),
        ("org/clip", "/home/u/.cache/huggingface/hub", "default"),
    ]


def test_v1_0s_t5_is_downloaded_as_the_repo_that_it_will_read() -> None:
    found = collect_needs(v1_0_text_encoder(), choose=lambda component: "/hub")
    assert {need.repo_id for need in found} == {"DeepFloyd/t5-v1_1-xxl"}
    assert {need.class_name for need in found} == {"AutoTokenizer", "T5EncoderModel"}
    assert collect_needs(v1_0_text_encoder()) == []
