"""The pages keep pace with the code: generated pages, links, command lines, sizes and codes."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rewriter.cli import main
from rewriter.rules import all_rules

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("generate", Path(__file__).with_name("generate.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_GENERATE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_GENERATE)
PAGES = _GENERATE.PAGES
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
ALL_PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXPECTED = {
    *PAGES,
    *(f"{name}.md" for name in ("offline-guide", "offline-guide.zh-CN", "cache-troubleshooting", "ci")),
    *(f"{name}.md" for name in ("derived-projects", "limits", "how-it-works", "measured")),
}
CODE = re.compile(r"\bOSR\d{3}\b")
every_page = pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)


def find_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and content of every fenced block."""
    yield from re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def remove_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def find_commands(text: str) -> list[str]:
    """The command lines of this tool in bash blocks, and after the prompt of console blocks."""
    found = []
    for language, block in find_blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            if language == "console" and not line.strip().startswith("$ "):
                continue
            if language in ("bash", "console"):
                found.append(line.strip().removeprefix("$ "))
    return [line for line in found if line.startswith("opensora-rewriter ")]


def list_anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", remove_blocks(page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def parse_command(line: str) -> None:
    """Parse one command line; unknown commands, options and choices raise, paths are not looked at."""
    arguments = shlex.split(re.split(r"\s(?:\||>>?)\s", line)[0], comments=True)[1:]
    if arguments[0] in ("--help", "--version", "-h", "-V"):
        return
    with click.Context(main, info_name="opensora-rewriter") as above:
        name, command, rest = main.resolve_command(above, arguments)
        assert command is not None
        if "--help" not in rest:
            command.make_context(name, rest, parent=above)


def test_every_page_is_there() -> None:
    assert {page.name for page in (ROOT / "docs").glob("*.md")} == EXPECTED


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == PAGES[name](), "run: python tests/docs/generate.py"


@every_page
def test_relative_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", remove_blocks(page.read_text("utf-8"))):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in list_anchors(target), link


@every_page
def test_command_lines_parse(page: Path) -> None:
    for line in find_commands(page.read_text("utf-8")):
        try:
            parse_command(line)
        except click.ClickException as error:
            pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize(
    "line",
    [
        "opensora-rewriter chekc .",
        "opensora-rewriter check --no-such-option",
        "opensora-rewriter verify . --level all",
        "opensora-rewriter adopt ./t5-v1_1-xxl",
    ],
)
def test_a_wrong_command_line_is_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse_command(line)


def test_continued_and_prompted_lines_are_found() -> None:
    text = "```bash\nopensora-rewriter check . \\\n  --must-exist\n```\n"
    text += "```console\n$ opensora-rewriter rules\nOSR001\n```\n"
    lines = [" ".join(line.split()) for line in find_commands(text)]
    assert lines == ["opensora-rewriter check . --must-exist", "opensora-rewriter rules"]


@every_page
def test_pages_are_short(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()
    assert len(lines) <= (200 if page in READMES else 300)
    if page in READMES:
        assert [line for line in lines if len(line) > 160 and not line.startswith("|")] == []


@every_page
def test_named_codes_are_known(page: Path) -> None:
    unknown = set(CODE.findall(page.read_text("utf-8"))) - set(all_rules())
    assert not unknown


def test_rules_explains_every_named_code() -> None:
    named = {code for page in ALL_PAGES for code in CODE.findall(page.read_text("utf-8"))}
    assert len(named) > 20
    for code in sorted(named):
        result = CliRunner().invoke(main, ["rules", code])
        assert result.exit_code == 0, code
        assert code in result.output
