"""The table of findings: its examples show what they say, and codes, names and severities stay as they are."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rewriter import rules
from rewriter.cache_rules import CACHE_RULES
from rewriter.rules import CONFIG_RULES, all_rules
from rewriter.weights_rules import WEIGHTS_RULES

if TYPE_CHECKING:
    from click.testing import Result

CACHE_DIR = ("--cache-dir", "/models/hf/hub")
OPTIONS = {
    "OSR002": CACHE_DIR,
    "OSR003": CACHE_DIR,
    "OSR005": ("--component", "model"),
    "OSR011": (*CACHE_DIR, "--local-files-only"),
}
RELEASES = {"OSR005": "v1.1", "OSR006": "v1.3"}
REWRITTEN = ("OSR001", "OSR002", "OSR003", "OSR004", "OSR009")


@pytest.fixture
def with_configs(checkout: Callable[[str], Path]) -> Callable[..., Path]:
    """``with_configs("v1.2", a="...")``: a checkout that holds these configs alone."""

    def make(tag: str, **configs: str) -> Path:
        root = checkout(tag)
        for path in root.glob("configs/**/*.py"):
            path.unlink()
        for name, text in configs.items():
            (root / "configs" / f"{name}.py").write_text(f"{text}\n")
        return root

    return make


@pytest.mark.parametrize("code", [code for code, rule in CONFIG_RULES.items() if rule.before])
def test_the_example_of_a_rule_has_the_finding_and_its_cure_has_not(
    with_configs: Callable[..., Path], run: Callable[..., Result], code: str
) -> None:
    rule = CONFIG_RULES[code]
    cured = code not in ("OSR004", "OSR005")  # there the cure is an edit of a loader
    root = with_configs(RELEASES.get(code, "v1.2"), before=rule.before, **({"after": rule.after} if cured else {}))
    result = run("check", "configs", *OPTIONS.get(code, ()), "--output-format", "concise", cwd=root)
    found = re.findall(r"^configs/(\w+)\.py:\d+:\d+: (OSR\d+)( warning)?", result.output, re.MULTILINE)
    severities = {severity for name, each, severity in found if (name, each) == ("before", code)}
    assert severities == {" warning" if rule.severity == "warning" or code == "OSR006" else ""}
    assert ("after", code) not in [(name, each) for name, each, _ in found]


def test_rewriting_the_example_of_a_rule_gives_its_cure(
    with_configs: Callable[..., Path], run: Callable[..., Result]
) -> None:
    root = with_configs("v1.2", **{code: CONFIG_RULES[code].before for code in REWRITTEN})
    assert run("rewrite", "configs", *CACHE_DIR, cwd=root).exit_code == 0
    for code in REWRITTEN:
        cure = "".join(line for line in CONFIG_RULES[code].after.splitlines(keepends=True) if line[0] != "#")
        assert (root / "configs" / f"{code}.py").read_text() == f"{cure}\n"


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """The module as it runs when it is imported."""
    return runpy.run_path(rules.__file__, run_name=rules.__name__)


def test_a_rule_says_everything_in_whole_lines(table: dict[str, Any]) -> None:
    assert table["CONFIG_RULES"]["OSR001"] == table["Rule"](
        code="OSR001",
        name="cache-dir-missing",
        title="a Hub-loaded component has no cache_dir",
        severity="error",
        explanation=(
            "The loader registered under this type reads its weights through the Hugging Face Hub and takes cache_dir, "
            "but the config gives none (or None), so the weights come from the default cache or from the network. "
            "`opensora-rewriter rewrite --cache-dir DIR` adds it."
        ),
        before='vae = dict(\n    type="VideoAutoencoderKL",\n    from_pretrained="stabilityai/sd-vae-ft-ema",\n)',
        after=(
            'vae = dict(\n    type="VideoAutoencoderKL",\n    from_pretrained="stabilityai/sd-vae-ft-ema",\n'
            '    cache_dir="/models/hf/hub",\n)'
        ),
    )
    for code, rule in table["CONFIG_RULES"].items():
        assert rule.code == code
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
        assert rule.title.strip() == rule.title != ""
        assert "  " not in rule.explanation
        assert rule.explanation.endswith(".")
        for example in (rule.before, rule.after):
            assert example.strip() == example
            ast.parse(example)
    without = [code for code, rule in table["CONFIG_RULES"].items() if not rule.before]
    assert without == ["OSR900", "OSR901", "OSR902"]
    assert [code for code, rule in table["CONFIG_RULES"].items() if not rule.after] == ["OSR005", *without]


def test_every_code_has_its_name_and_severity() -> None:
    found = all_rules()
    assert list(found) == sorted(found)
    assert list(found) == sorted([*CONFIG_RULES, *CACHE_RULES, *WEIGHTS_RULES])
    assert {code: rule for code, rule in found.items() if code in CONFIG_RULES} == CONFIG_RULES
    assert [rule.code for rule in found.values()] == list(found)
    warnings = {code for code, rule in found.items() if rule.severity == "warning"}
    assert warnings == {"OSR010", "OSR117", "OSR118", "OSR125", "OSR209", "OSR212"}
    assert {rule.severity for rule in found.values()} == {"error", "warning"}


def test_a_rule_of_verify_is_titled_by_its_name() -> None:
    found = all_rules()
    for code, (name, explanation) in {**CACHE_RULES, **WEIGHTS_RULES}.items():
        rule = found[code]
        assert (rule.name, rule.explanation, rule.before, rule.after) == (name, explanation, "", "")
    assert [found[code].title for code in ("OSR101", "OSR104", "OSR106")] == [
        "cache missing", "cache is HF_HOME", "flat download",
    ]  # fmt: skip
    assert {rule.title for rule in found.values() if rule.name == "lfs-pointer"} == {"LFS pointer"}
