"""``--scripts``: the Hub calls of files that are no configs are listed, reported and edited."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import Run, contents

from rewriter.rules import all_rules

RULE = all_rules()["OSR013"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project without any config."""
    root = tmp_path / "project"
    (root / "tools").mkdir(parents=True)
    (root / "tools/a.py").write_text(RULE.bad + "\n")
    (root / "tools/b.py").write_text("from own import Model\nModel.from_pretrained(name)\n")
    return root


def test_trace_lists_them_by_file_and_line(root: Path, run: Run) -> None:
    done = run("trace", ".", "--scripts", cwd=root)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "tools/a.py:2: AutoTokenizer.from_pretrained reads DeepFloyd/t5-v1_1-xxl, cache_dir open",
        "tools/b.py:2: Model.from_pretrained reads name, cache_dir open",
    ]
    found = json.loads(run("trace", ".", "--scripts", "--output-format", "json", cwd=root).stdout)["scripts"]
    assert [(each["path"], each["editable"]) for each in found] == [("tools/a.py", True), ("tools/b.py", False)]


def test_check_warns_of_those_without_cache_dir(root: Path, run: Run) -> None:
    done = run("check", "--scripts", cwd=root)
    assert done.exit_code == 0
    assert [line.split()[1:3] for line in done.stdout.splitlines() if line.startswith("tools/")] == [
        ["OSR013", "(warning)"],
        ["OSR013", "(warning)"],
    ]
    assert run("check", cwd=root).exit_code == 2, "without the option there is no config to check"


@pytest.mark.parametrize("path", [".", "tools/a.py"])
def test_rewrite_edits_the_sure_ones_and_lists_the_others(root: Path, run: Run, path: str) -> None:
    words = ("rewrite", path, "--scripts", "--cache-dir", "/models/hf/hub", "--no-resolve")
    would = run(*words, "--check", cwd=root)
    assert (would.exit_code, "would rewrite tools/a.py (script)" in would.stdout) == (1, True)
    done = run(*words, cwd=root)
    assert done.exit_code == 0, done.output
    assert (root / "tools/a.py").read_text() == RULE.good + "\n"
    assert (root / "tools/b.py").read_text().endswith("(name)\n")
    assert ("tools/b.py:2:1: OSR013" in done.stdout) == (path == ".")
    before = contents(root)
    assert run(*words, "--check", cwd=root).exit_code == 0
    assert contents(root) == before
