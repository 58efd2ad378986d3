"""``trace`` as a user meets it: tables, JSON, and the repos that are needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import SAMPLE, Checkout, Run
from loading import write_package


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


def test_a_repo_of_which_two_subfolders_are_needed_is_named_once(run: Run, tmp_path: Path) -> None:
    config = 'vae = dict(type="takes", path="org/all")\nae = dict(type="other", path="org/all")\n'
    loaders = (
        f"{LOADERS}\n@MODELS.register_module()\ndef other(path):\n    return AutoencoderKL.from_pretrained(path)\n"
    )
    write_package(tmp_path, {"loaders.py": loaders, "../configs/a.py": config})
    assert run("trace", "--repos", cwd=tmp_path).stdout == "org/all\n"
    shown = run("trace", "--repos", "--verbose", cwd=tmp_path).stdout.splitlines()
    assert shown[:2] == ["org/all", "org/all subfolder=vae revision=fp16"]


@pytest.mark.parametrize(("path", "code"), [('"/gone/vae"', 0), ("make()", 1)])
def test_a_path_that_is_missing_and_a_repo_that_is_not_known_are_said(
    path: str, code: int, run: Run, tmp_path: Path
) -> None:
    write_package(tmp_path, {"loaders.py": LOADERS, "../configs/a.py": f'vae = dict(type="takes", path={path})\n'})
    done = run("trace", "--repos", cwd=tmp_path)
    assert (done.stdout, done.exit_code) == ("", code)
    assert "note: 1 Hub call on a path that is missing, or on a repo that is not known" in done.stderr


def test_trace_names_the_repo_that_v1_0s_t5_reads_once_it_is_rewritten(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.0")
    sample = "configs/opensora/inference/16x256x256.py"
    before = run("trace", sample, "--repos", cwd=root).stdout.split()
    assert before == ["DeepFloyd/t5-v1_1-xxl", "stabilityai/sd-vae-ft-ema"]
    run("rewrite", sample, "--cache-dir", "/models/hf", "--no-resolve", cwd=root)
    assert run("trace", sample, "--repos", cwd=root).stdout.split() == before


def test_trace_as_json_shows_the_repo_that_only_the_source_names(checkout: Checkout, run: Run) -> None:
    report = json.loads(run("trace", SAMPLE, "--output-format", "json", cwd=checkout("v1.2")).stdout)
    calls = [call for component in report["components"] for call in component["calls"]]
    (hidden,) = [call for call in calls if call["hard_coded"]]
    assert (hidden["repo_id"], hidden["subfolder"]) == ("PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers", "vae")
    assert (hidden["cache_dir"], hidden["local_files_only"]) == ("rejected", "open")


LOADERS = """\
from diffusers import AutoencoderKL
from opensora.registry import MODELS

@MODELS.register_module()
def takes(path, cache_dir=None):
    return AutoencoderKL.from_pretrained(path, subfolder="vae", revision="fp16", cache_dir=cache_dir)

@MODELS.register_module()
def several(path, names):
    return [KINDS[name].from_pretrained(path) for name in names]
"""


def test_json_and_table_show_each_call_and_the_path_to_it(run: Run, tmp_path: Path) -> None:
    config = (
        'vae = dict(type="takes", path="org/vae", cache_dir="/models")\nae = dict(type="several", path="org/any")\n'
    )
    write_package(tmp_path, {"loaders.py": LOADERS, "../configs/a.py": config})
    vae, several = json.loads(run("trace", "--output-format", "json", cwd=tmp_path).stdout)["components"]
    (call,) = vae.pop("calls")
    assert vae == {"config": "configs/a.py", "line": 1, "component": "vae", "type": "takes", "not_followed": []}
    place = {"path": "opensora/loaders.py", "line": 6}
    head = {"callee": "AutoencoderKL.from_pretrained", "library": "diffusers", **place, "column": 12}
    repo = {"repo_id": "org/vae", "repo_text": "org/vae", "place": "repo", "hard_coded": False, "certain": True}
    files = {"subfolder": "vae", "revision": "fp16", "filename": None}
    keys = {"cache_dir": "set", "local_files_only": "rejected"}
    assert call == {**head, **repo, **files, **keys, "chain": [{"function": "takes", **place}]}
    (unknown,) = several["not_followed"]
    assert run("trace", cwd=tmp_path).stdout.splitlines() == [
        "configs/a.py",
        "component            cache_dir local_files_only repo",
        "vae                  set       rejected         org/vae, subfolder vae, revision fp16",
        "  takes: takes:6 -> AutoencoderKL.from_pretrained  opensora/loaders.py:6",
        f"ae                   not followed: {unknown}",
    ]


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
