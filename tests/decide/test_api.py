"""The Python API: plain values in and out, and nothing printed or written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import FIXTURES
from deciding import write_checkout

from rewriter import check_paths, check_source, needed_repos, rewrite_source
from rewriter.model import Finding

VAE = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")\n'
T5 = 'text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl")\n'
SAMPLE = FIXTURES / "v1.2" / "configs/opensora-v1-2/inference/sample.py"


def test_one_directory_or_one_for_each_component() -> None:
    def found(**options: object) -> list[tuple[str, int]]:
        return [(each.code, each.line) for each in check_source(VAE + T5, **options)]  # type: ignore[arg-type]

    assert found() == found(cache_dir="/models/hf") == [("OSR001", 1), ("OSR001", 2)]
    assert found(cache_dir={"vae": "/models/hf"}) == [("OSR001", 1)]
    assert found(cache_dir="/models/hf", components=["text_encoder"]) == [("OSR010", 1), ("OSR001", 2)]
    assert found(local_files_only=True) == [("OSR001", 1), ("OSR011", 1), ("OSR001", 2), ("OSR011", 2)]


def test_a_remedy_is_a_command_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my config.py"
    assert check_source("x = 1\n" + VAE, str(path), cache_dir="/models/hf") == (
        Finding("OSR001", str(path), 2, 6, "vae", "`VideoAutoencoderKL` loads from the Hub and has no cache_dir",
                f"opensora-rewriter rewrite '{path}' --cache-dir /models/hf"),
    )  # fmt: skip
    path.write_text("x = 1\n")
    rewrite_source(VAE, str(path), cache_dir="/c")
    assert (os.listdir(tmp_path), path.read_text()) == ([path.name], "x = 1\n"), "nothing is written"


def test_directories_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    result = rewrite_source(VAE + T5, cache_dir={"vae": "hub", "text_encoder": "~/hub"})
    assert result.ok
    assert result.source == VAE.replace(")\n", f', cache_dir="{os.getcwd()}/hub")\n') + T5.replace(
        ")\n", ', cache_dir="/home/somebody/hub")\n'
    )


def test_keywords_are_set_and_taken_away_by_name() -> None:
    result = rewrite_source(VAE + T5, sets={"vae.from_pretrained": "c/d", "vae.subfolder": "vae"}, unsets=["vae.x"])
    assert result.source == ('vae = dict(type="VideoAutoencoderKL", from_pretrained="c/d", subfolder="vae")\n' + T5)
    assert rewrite_source(result.source, unsets=["vae.subfolder"]).source == result.source.replace(
        ', subfolder="vae"', ""
    )
    assert rewrite_source(VAE, local_files_only=True).source == VAE.replace(")\n", ", local_files_only=True)\n")


@pytest.mark.parametrize("name", ["vae", ".a", "vae.", ""])
def test_a_name_without_component_or_keyword_is_wrong_usage(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not COMPONENT\.KEY"):
        rewrite_source(VAE, unsets=[name])
    with pytest.raises(ValueError, match=r"is not COMPONENT\.KEY"):
        rewrite_source(VAE, sets={name: 1})


@pytest.mark.parametrize("source", ["vae = dict(\n", "a = '\udcff'\n", ""])
def test_what_cannot_be_read_comes_back_with_the_reason(source: str) -> None:
    result = rewrite_source(source, cache_dir="/models/hf")
    assert result.source == source
    assert [finding.code for finding in result.findings] == (["OSR900"] if source else [])
    assert result.ok == (not source)


def test_the_checkout_around_the_name_or_the_one_that_is_named_holds_the_loaders(tmp_path: Path) -> None:
    inside = FIXTURES / "v1.0" / "configs/new.py"  # v1.0's loader rejects the key, that of the table does not
    assert [f.code for f in rewrite_source(VAE, str(inside), cache_dir="/c").findings] == ["OSR004"]
    assert rewrite_source(VAE, str(tmp_path / "new.py"), cache_dir="/c").findings == ()
    elsewhere = rewrite_source(VAE, str(tmp_path / "new.py"), cache_dir="/c", opensora_source=str(FIXTURES / "v1.0"))
    assert [f.code for f in elsewhere.findings] == ["OSR004"]


def test_paths_are_checked_and_traced_as_on_the_command_line(tmp_path: Path) -> None:
    assert [(f.code, f.component) for f in check_paths([str(SAMPLE)])] == [
        ("OSR001", "text_encoder"),
        ("OSR004", "vae"),
        ("OSR010", "model"),
    ]
    assert needed_repos([str(SAMPLE)]) == (
        "DeepFloyd/t5-v1_1-xxl",
        "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers",
        "hpcai-tech/OpenSora-STDiT-v3",
        "hpcai-tech/OpenSora-VAE-v1.2",
    )
    assert needed_repos([str(SAMPLE)], components=["text_encoder"]) == ("DeepFloyd/t5-v1_1-xxl",)
    broken = tmp_path / "a.py"
    broken.write_text("vae = dict(")
    assert [f.code for f in check_paths([str(broken)])] == ["OSR900"]
    with pytest.raises(FileNotFoundError):
        check_paths([str(tmp_path / "nowhere")])


def test_a_lone_source_is_decided_by_the_table_and_a_derived_package_by_its_loaders(tmp_path: Path) -> None:
    odd = VAE.replace(")", ", split=8)")
    assert rewrite_source(odd, str(tmp_path / "a.py"), cache_dir="/c").source == odd.replace(
        '"a/b"', '"a/b", cache_dir="/c"'
    )
    body = "def mine(from_pretrained):\n    AutoModel.from_pretrained(from_pretrained)\n"
    root = write_checkout(tmp_path, "@MODELS.register_module('Mine')\n" + body, {"a.py": ""}, package="vidgen")
    refused = rewrite_source(VAE.replace("VideoAutoencoderKL", "Mine"), str(root / "configs/b.py"), cache_dir="/c")
    assert (refused.ok, [finding.code for finding in refused.findings]) == (False, ["OSR004"])
