"""``trace`` as a user meets it: tables, JSON, and the repos that are needed."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_trace_table_shows_the_way(checkout: Checkout, run: Run) -> None:
    output = run("trace", SAMPLE, cwd=checkout("v1.2")).stdout
    for words in ("OpenSoraVAE_V1_2", "AutoencoderKL.from_pretrained", "rejected", "STDiT3-XL/2"):
        assert words in output


def test_trace_passes_over_what_is_built_by_no_loader(run: Run, tmp_path: Path) -> None:
    lone = tmp_path / "sample.py"
    lone.write_text(
        'vae = dict(type="VideoAutoencoderKL", from_pretrained="org/replaced")\n'
        'vae = dict(type="VideoAutoencoderKL", from_pretrained="./absent")\nmodel = dict(depth=3)\n'
    )
    told = json.loads(run("trace", lone, "--output-format", "json").stdout)
    assert [(one["component"], one["line"]) for one in told["components"]] == [("vae", 1), ("vae", 2)]
    assert [call["place"] for call in told["components"][1]["calls"]] == ["missing"]
    assert run("trace", lone, "--repos", "--quiet").output == "org/replaced\n"


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
    told = run("trace", lone, "--repos")
    assert told.stderr.startswith("note: no package that registers loaders was found: a table of the released loaders")
    assert run("trace", lone, "--repos", "--quiet").stderr == ""
    assert told.exit_code == 0
