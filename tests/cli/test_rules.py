"""The table of findings: its examples show what they say, and codes, names and severities stay as they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rewriter
from rewriter.rules import all_rules

if TYPE_CHECKING:
    from click.testing import Result

CONFIG_RULES = {code: rule for code, rule in all_rules().items() if not "OSR1" <= code < "OSR9"}
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


@pytest.mark.parametrize("code", [code for code, rule in CONFIG_RULES.items() if rule.bad and code != "OSR013"])
def test_the_example_of_a_rule_has_the_finding_and_its_cure_has_not(
    with_configs: Callable[..., Path], run: Callable[..., Result], code: str
) -> None:
    rule = CONFIG_RULES[code]
    cured = code not in ("OSR004", "OSR005")  # there the cure is an edit of a loader
    root = with_configs(RELEASES.get(code, "v1.2"), before=rule.bad, **({"after": rule.good} if cured else {}))
    result = run("check", "configs", *OPTIONS.get(code, ()), "--output-format", "concise", cwd=root)
    found = re.findall(r"^configs/(\w+)\.py:\d+:\d+: (OSR\d+)( warning)?", result.output, re.MULTILINE)
    severities = {severity for name, each, severity in found if (name, each) == ("before", code)}
    assert severities == {" warning" if rule.severity == "warning" or code == "OSR006" else ""}
    assert ("after", code) not in [(name, each) for name, each, _ in found]


def test_rewriting_the_example_of_a_rule_gives_its_cure(
    with_configs: Callable[..., Path], run: Callable[..., Result]
) -> None:
    root = with_configs("v1.2", **{code: CONFIG_RULES[code].bad for code in REWRITTEN})
    assert run("rewrite", "configs", *CACHE_DIR, cwd=root).exit_code == 0
    for code in REWRITTEN:
        cure = "".join(line for line in CONFIG_RULES[code].good.splitlines(keepends=True) if line[0] != "#")
        assert (root / "configs" / f"{code}.py").read_text() == f"{cure}\n"


def test_a_rule_says_everything_in_whole_lines() -> None:
    for code, rule in all_rules().items():
        assert rule.code == code
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", rule.name)
        assert rule.meaning.strip() == rule.meaning != ""
        assert "  " not in rule.explanation
        assert rule.explanation.endswith(".")
        for example in (rule.bad, rule.good):
            assert example.strip() == example
            ast.parse(example)
    assert [code for code, rule in CONFIG_RULES.items() if not rule.bad and code < "OSR013"] == []


def test_every_code_that_the_sources_name_has_a_rule() -> None:
    sources = Path(rewriter.__file__ or "").parent.rglob("*.py")
    codes = {code for source in sources for code in re.findall(r"\bOSR\d{3}\b", source.read_text())}
    assert codes <= all_rules().keys()


def test_rules_lists_every_code_and_explains_each(run: Callable[..., Result]) -> None:
    listed = run("rules")
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == list(all_rules())
    for code in all_rules():
        explained = run("rules", code.lower())
        assert explained.exit_code == 0
        assert len(explained.output.splitlines()) > 3
    assert "cache_dir=" in run("rules", "OSR001").output
    unknown = run("rules", "OSR99")
    assert unknown.exit_code == 2
    assert "No such finding 'OSR99'" in unknown.output
