"""Formats, settings, ignore comments and report files, as the commands use them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from cli_support import SAMPLE, Checkout, Run

SARIF = Path(__file__).parents[1] / "data" / "sarif-schema-2.1.0.json"


def test_json_of_check_and_rewrite_fits_the_printed_schema(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    schema = json.loads(run("schema").stdout)
    for args in (("check",), ("rewrite", "--check", "--cache-dir", "/models/hf", "--no-resolve"), ("verify",)):
        done = run(*args, "--output-format", "json", cwd=root)
        assert done.exit_code == 1
        report = json.loads(done.stdout)
        jsonschema.validate(report, schema)
        assert report["exit_code"] == 1
        assert report["command"] == args[0]


def test_sarif_of_check_is_valid_and_carries_the_fix(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.2")
    target = tmp_path / "out.sarif"
    done = run(
        "check", SAMPLE, "--cache-dir", "/models/hf", "--output-format", "sarif", "--output-file", target, cwd=root
    )
    assert done.exit_code == 1
    assert "OSR004" in done.stdout  # the usual text beside the file
    log = json.loads(target.read_text())
    jsonschema.validate(log, json.loads(SARIF.read_text()))
    results = log["runs"][0]["results"]
    assert {result["ruleId"] for result in results} == {"OSR001", "OSR004", "OSR010"}
    fixed = [result for result in results if result["ruleId"] == "OSR001"]
    assert 'cache_dir="/models/hf"' in json.dumps(fixed[0]["fixes"]).replace('\\"', '"')


def test_settings_of_the_project_are_used_and_explained(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    (root / "pyproject.toml").write_text(
        '[tool.opensora-rewriter]\ncache-dir = "/models/hf"\nall-configs = true\nignore = ["OSR010"]\n'
    )
    done = run("rewrite", "--no-resolve", cwd=root)
    assert done.exit_code == 0, done.output
    assert '"/models/hf"' in (root / "configs/opensora-v1-1/train/stage1.py").read_text()
    checked = run("check", cwd=root)
    assert "OSR010" not in checked.output
    explained = run("settings", cwd=root).output
    assert 'cache-dir = "/models/hf"  # pyproject.toml:2' in explained
    over = run("settings", "--cache-dir", "/other", cwd=root).output
    assert 'cache-dir = "/other"  # command line' in over


def test_unset_is_not_undone_by_the_settings(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    (root / "opensora-rewriter.toml").write_text('cache-dir = "/models/hf"\n')
    run("rewrite", "--no-resolve", cwd=root)
    done = run("rewrite", "--unset", "vae.cache_dir", "--unset", "text_encoder.cache_dir", "--no-resolve", cwd=root)
    assert done.exit_code == 0
    assert "cache_dir" not in (root / "configs/opensora/inference/16x256x256.py").read_text()


def test_an_ignore_comment_hides_its_finding_and_an_idle_one_is_a_finding(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    config = root / "configs/opensora/inference/own.py"
    text = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")  # opensora-rewriter: ignore[OSR001]\n'
    config.write_text(text)
    assert run("check", config, cwd=root).exit_code == 0
    config.write_text(text.replace(")", ', cache_dir="/")'))
    done = run("check", config, cwd=root)
    assert (done.exit_code, "OSR012" in done.output) == (1, True)


def test_a_report_that_cannot_be_written_ends_the_run_with_2(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.1")
    for place in (tmp_path, tmp_path / "nowhere/report.json"):
        done = run("check", "--output-format", "json", "--output-file", place, cwd=root)
        assert (done.exit_code, done.stdout) == (2, "")
        assert str(place) in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, run: Run) -> None:
    done = run("completion", shell)
    assert done.exit_code == 0
    assert "_OPENSORA_REWRITER_COMPLETE" in done.output
