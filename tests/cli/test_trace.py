"""``trace`` as a user meets it: tables, JSON, and the repos that are needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import SAMPLE, Checkout, Run


def test_trace_names_the_four_repos_of_v1_2s_sample(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    done = run("trace", SAMPLE, "--repos", cwd=root)
    assert done.stdout.split() == [
        "DeepFloyd/t5-v1_1-xxl",
        "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers",
        "hpcai-tech/OpenSora-STDiT-v3",
        "hpcai-tech/OpenSora-VAE-v1.2",
    ]
    assert "subfolder=vae" in run("trace", SAMPLE, "--repos", "--verbose", cwd=root).stdout


def test_trace_names_the_repo_that_v1_0s_t5_reads_once_it_is_rewritten(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.0")
    sample = "configs/opensora/inference/16x256x256.py"
    before = run("trace", sample, "--repos", cwd=root).stdout.split()
    assert before == ["DeepFloyd/t5-v1_1-xxl", "stabilityai/sd-vae-ft-ema"]
    run("rewrite", sample, "--cache-dir", "/models/hf", "--no-resolve", cwd=root)
    assert run("trace", sample, "--repos", cwd=root).stdout.split() == before


def test_trace_as_json_says_which_keys_arrive(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    report = json.loads(run("trace", SAMPLE, "--output-format", "json", cwd=root).stdout)
    found = {
        (component["component"], call["repo_id"]): call
        for component in report["components"]
        for call in component["calls"]
    }
    t5 = found["text_encoder", "DeepFloyd/t5-v1_1-xxl"]
    assert (t5["cache_dir"], t5["local_files_only"]) == ("open", "open")
    hidden = found["vae", "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers"]
    assert (hidden["hard_coded"], hidden["subfolder"], hidden["cache_dir"]) == (True, "vae", "rejected")
    source = (root / hidden["path"]).read_text().splitlines()
    assert "from_pretrained(" in source[hidden["line"] - 1]


def test_a_table_in_a_pipe_has_every_value_whole_and_no_blanks_at_the_end(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    lines = run("trace", SAMPLE, cwd=checkout("v1.2")).stdout.splitlines()
    steps = " -> VideoAutoencoderKL.__init__:"
    for word in ("PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers", "AutoencoderKL.from_pretrained", "rejected", steps):
        assert any(word in line for line in lines)
    assert not [line for line in lines if line != line.rstrip() or "\u2026" in line]


def test_trace_tells_what_it_could_not_read_and_what_stands_in(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.2")
    broken = root / "configs/broken.py"
    broken.write_text("vae = dict(\n")
    (root / "opensora/models/broken.py").write_text('@MODELS.register_module("t5"\ndef f(:\n')
    done = run("trace", broken, SAMPLE, "--repos", cwd=root)
    assert done.exit_code == 1
    assert "DeepFloyd/t5-v1_1-xxl" in done.stdout.split()
    places = [line.split(": ")[0] for line in done.stderr.splitlines() if ": OSR900" in line]
    assert [place.split(":")[0] for place in places] == ["configs/broken.py", "opensora/models/broken.py"]
    lone = tmp_path / "sample.py"
    lone.write_text('text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl")\n')
    shown = run("trace", lone, "--repos")
    assert shown.stderr.startswith("note: no package that registers loaders was found: a table of the released loaders")
    assert run("trace", lone, "--repos", "--quiet").stderr == ""
    assert shown.exit_code == 0
