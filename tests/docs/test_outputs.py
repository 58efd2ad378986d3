"""What the pages show is what the tool prints: console blocks, Python examples, and one text in two languages."""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from click.testing import Result

ROOT = Path(__file__).resolve().parents[2]
README, CHINESE_README = ROOT / "README.md", ROOT / "README.zh-CN.md"
GUIDE, CHINESE_GUIDE = ROOT / "docs/offline-guide.md", ROOT / "docs/offline-guide.zh-CN.md"
WITH_CONSOLE = [README, CHINESE_README, GUIDE, CHINESE_GUIDE]


def find_blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def find_steps(page: Path) -> Iterator[tuple[str, str]]:
    """Each command after a prompt, and the output shown below it."""
    for block in find_blocks(page.read_text("utf-8"), "console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            yield command, output


@pytest.mark.parametrize("page", WITH_CONSOLE, ids=lambda page: page.name)
def test_console_blocks_are_what_the_tool_prints(
    page: Path, checkout: Callable[[str], Path], run: Callable[..., Result]
) -> None:
    """On a copy of fixtures/v1.2, one command after the other; warnings go to standard error and are not shown."""
    root = checkout("v1.2")
    steps = list(find_steps(page))
    assert steps
    for command, shown in steps:
        words = shlex.split(command)
        assert words[0] == "opensora-rewriter"
        assert run(*words[1:], cwd=root).stdout == shown, command


def test_the_readme_shows_the_diff_of_a_config_and_of_its_loader() -> None:
    (diff,) = [shown for command, shown in find_steps(README) if "--diff" in command]
    assert "+++ configs/opensora-v1-2/inference/sample.py" in diff
    assert "+++ opensora/models/vae/vae.py" in diff


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_python_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    source = "\n".join(find_blocks(page.read_text("utf-8"), "pycon"))
    example = doctest.DocTestParser().get_doctest(source, {}, page.name, str(page), 0)
    printed: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=printed.append)
    assert not printed, "".join(printed)


@pytest.mark.parametrize(
    ("english", "chinese"), [(README, CHINESE_README), (GUIDE, CHINESE_GUIDE)], ids=["readme", "offline-guide"]
)
def test_both_languages_show_the_same(english: Path, chinese: Path) -> None:
    """The same headings by level, and the same blocks but for their comments, which are translated."""

    def outline(page: Path) -> list[str]:
        prose = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        return re.findall(r"^(#+) ", prose, re.MULTILINE)

    def blocks(page: Path) -> list[str]:
        return [re.sub(r" *# .*", "", block) for block in find_blocks(page.read_text("utf-8"), r"\w*")]

    assert outline(english) == outline(chinese)
    assert blocks(english) == blocks(chinese)


def test_the_changelog_has_this_version() -> None:
    from rewriter import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
