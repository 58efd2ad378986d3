"""The READMEs keep pace with the code: rule tables, command lines, links, and one structure in both languages.

``python tests/test_docs.py --write`` brings the rule tables up to date.
"""

from __future__ import annotations

import doctest
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # started as a script: the checkout need not be installed
    sys.path.insert(0, str(ROOT))

from rewriter.rules import CONFIG_RULES, all_rules  # noqa: E402

ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"
BOTH = pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=["en", "zh-CN"])

BEGIN, END = "<!-- rules:begin -->\n", "<!-- rules:end -->"
UNTRANSLATED = "(未翻译)"
_SENTENCE = re.compile(r"(?<=[.:])\s")
_CODE = re.compile(r"`([^`\n]*)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ROW = re.compile(r"^\| (OSR\d{3}) \| (.*) \|$", re.MULTILINE)


def rules_table(text: str, *, chinese: bool) -> str:
    """The table for the README ``text``. The last column of the Chinese one is written by hand, and kept by code."""
    meanings = {code: rest.rsplit(" | ", 1)[-1] for code, rest in _ROW.findall(_table_of(text))} if chinese else {}
    lines = ["| 代码 | 名称 | 含义 |"] if chinese else ["| Code | Name | Meaning |"]
    lines.append("|---|---|---|")
    for code, rule in all_rules().items():
        # The rules about caches, weights and builds have no title beside their name: their first sentence serves.
        plain = rule.title if code in CONFIG_RULES else _first_sentence(rule.explanation)
        meaning = meanings.get(code, UNTRANSLATED) if chinese else plain.replace("|", "\\|")
        lines.append(f"| {code} | `{rule.name}` | {meaning} |")
    return "\n".join(lines) + "\n"


def _first_sentence(text: str) -> str:
    text = re.sub(r"^A warning(?: of (--\w+))?: ", lambda found: f"{found[1]}: " if found[1] else "", text)
    first = _SENTENCE.split(text, maxsplit=1)[0] if not text.startswith("--") else text.split(". ")[0]
    return first.split("; as a warning")[0].rstrip(".:")


def _table_of(text: str) -> str:
    return text.split(BEGIN, 1)[1].split(END, 1)[0]


def _with_table(text: str, *, chinese: bool) -> str:
    before, rest = text.split(BEGIN, 1)
    return before + BEGIN + rules_table(text, chinese=chinese) + END + rest.split(END, 1)[1]


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and content of every fenced block."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _commands(text: str) -> list[str]:
    """Every command line of this tool: in shell blocks, after a console's prompt, in CI files, and in the prose."""
    lines: list[str] = []
    for language, block in _blocks(text):
        for line in block.splitlines():
            line = line.strip().removeprefix("- ")
            if language == "console" and not line.startswith("$ "):
                continue
            lines.append(line.removeprefix("$ "))
    lines += _CODE.findall(_prose(text))
    return [line for line in lines if line.startswith("opensora-rewriter ")]


@BOTH
def test_the_table_of_findings_is_the_codes_own(readme: Path) -> None:
    text = readme.read_text("utf-8")
    assert _with_table(text, chinese=readme == CHINESE) == text, "run: python tests/test_docs.py --write"
    assert UNTRANSLATED not in text


@BOTH
def test_every_command_line_parses(readme: Path) -> None:
    """Unknown commands, options and choices fail; paths are not looked at."""
    import click

    from rewriter.cli import main

    commands = _commands(readme.read_text("utf-8"))
    assert len(commands) > 40
    for line in commands:
        arguments = shlex.split(re.split(r"\s[|>]\s", line)[0])[1:]
        with click.Context(main, info_name="opensora-rewriter") as above:
            name, command, rest = main.resolve_command(above, arguments)
            assert command is not None, line
            try:
                command.make_context(name, rest, parent=above)
            except click.exceptions.ClickException as error:
                pytest.fail(f"{line}: {error.format_message()}")


@BOTH
def test_links_lead_somewhere(readme: Path) -> None:
    text = _prose(readme.read_text("utf-8"))
    for target in _LINK.findall(text):
        if not target.startswith("https://"):
            assert (ROOT / target.split("#", 1)[0]).exists(), target


@BOTH
def test_the_python_examples_run(readme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    source = "\n".join(block for language, block in _blocks(readme.read_text("utf-8")) if language == "pycon")
    examples = doctest.DocTestParser().get_doctest(source, {}, readme.name, str(readme), 0)
    assert len(examples.examples) > 5
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(examples, out=told.append)
    assert not told, "".join(told)


def test_both_languages_have_one_structure() -> None:
    english, chinese = (path.read_text("utf-8") for path in (ENGLISH, CHINESE))

    def levels(text: str) -> list[int]:
        return [len(marks) for marks in re.findall(r"^(#+) ", _prose(text), re.MULTILINE)]

    assert levels(english) == levels(chinese)
    assert _commands(english) == _commands(chinese)

    def code(text: str) -> list[tuple[str, str]]:
        """Blocks without their comments, which are translated."""
        return [(language, re.sub(r" *# .*", "", block)) for language, block in _blocks(text)]

    assert code(english) == code(chinese)


def test_the_changelog_has_this_version() -> None:
    from rewriter import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_a_changed_rule_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    text = ENGLISH.read_text("utf-8")
    changed = {code: replace(rule, title=f"{rule.title}!") for code, rule in all_rules().items()}
    monkeypatch.setattr(sys.modules[__name__], "all_rules", lambda: changed)
    assert _with_table(text, chinese=False) != text


def write() -> None:
    for path in (ENGLISH, CHINESE):
        text = path.read_text("utf-8")
        path.write_text(_with_table(text, chinese=path == CHINESE), "utf-8", newline="\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_docs.py --write")
    write()
