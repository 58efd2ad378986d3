"""Write docs/commands.md from the click commands and docs/rules.md from rewriter/rules.toml.

``python tests/docs/generate.py`` brings both up to date; tests/docs/test_docs.py fails while they are not.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":  # started as a script, the package need not be installed
    sys.path.insert(0, str(ROOT))

import click  # noqa: E402

from rewriter.cli import COMMANDS, main  # noqa: E402
from rewriter.rules import NEVER_IGNORED, Rule, all_rules  # noqa: E402

NOTE = "<!-- Generated: python tests/docs/generate.py -->\n"
COMMANDS_HEAD = """# Commands

PATH is a checkout, a folder or a config file; several may be named, and without one it is the current directory.
[How files are selected](how-it-works.md#what-is-selected) tells which configs a PATH gives.

| Exit code | Meaning |
|---|---|
| 0 | all is well; warnings are allowed. For `rewrite`: everything requested holds now |
| 1 | findings. For `rewrite`: a component was refused. For `rewrite --check` and `--diff`: something would change |
| 2 | wrong usage, no file found, or a failure of the run itself; `rewrite` has then written nothing |

"""
OPTIONS_HEAD = """## Shared options

Every command has `--help`. These options mean the same wherever a command has them.

| Option | Meaning |
|---|---|
"""
SHARED_BY = 4
"""An option that this many commands have is explained once."""
RULES_HEAD = """# Findings

`opensora-rewriter rules CODE` explains each, with an example before and after where an edit cures. A code keeps its
meaning. An error makes the exit code 1, a warning leaves it alone. A comment `# opensora-rewriter: ignore[CODE]` on the
first line of a component's dict hides CODE there; {never} cannot be hidden.

"""
GROUPS = (
    ("OSR00 OSR01", "Configs, loaders and scripts"),
    ("OSR10 OSR11", "The cache"),
    ("OSR12", "Locks"),
    ("OSR13", "Downloads"),
    ("OSR20 OSR21", "Loading (`verify --level load`)"),
    ("OSR30 OSR31", "Building (`verify --level build`)"),
    ("OSR90", "Files and the proof"),
)


def make_commands() -> str:
    """The page of all commands, each with its arguments, options and examples."""
    rows = {name: _list_options(name) for name in COMMANDS}
    counts = Counter(row for each in rows.values() for row in each)
    shared = [row for row, number in counts.items() if number >= SHARED_BY]
    text = NOTE + COMMANDS_HEAD + OPTIONS_HEAD + "".join(shared) + "\n"
    return text + "\n".join(_make_command(name, rows[name], shared) for name in COMMANDS)


def make_rules() -> str:
    """The page of all findings, by group."""
    text = NOTE + RULES_HEAD.format(never=", ".join(sorted(NEVER_IGNORED)))
    left = dict(all_rules())
    for prefixes, title in GROUPS:
        rules = [left.pop(code) for code in list(left) if code.startswith(tuple(prefixes.split()))]
        text += f"## {title}\n\n| Code | Name | Severity | Meaning |\n|---|---|---|---|\n"
        text += "".join(_make_row(rule) for rule in rules) + "\n"
    assert not left, f"no group for {', '.join(left)}"
    return text.rstrip("\n") + "\n"


def _make_row(rule: Rule) -> str:
    return _row(rule.code, f"`{rule.name}`", rule.severity, f"{rule.meaning}. {rule.explanation}")


def _make_command(name: str, options: list[str], shared: list[str]) -> str:
    with click.Context(main, info_name="opensora-rewriter") as above:
        command = main.get_command(above, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=above)
        usage = f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"
    description, _, blocks = inspect.cleandoc(command.help or "").partition("\b\n")
    text = f"## {name}\n\n`{usage}`\n\n{_unwrap(description)}\n\n"
    own = [row for row in options if row not in shared]
    common = [row.split("`")[1] for row in options if row in shared]
    if common:
        text += _wrap("Shared options: " + ", ".join(f"`{name}`" for name in common) + ".") + "\n\n"
    if own:
        text += "| Option | Meaning |\n|---|---|\n" + "".join(own) + "\n"
    return text + "\n".join(_make_blocks(blocks))


def _list_options(name: str) -> list[str]:
    """The table rows of a command's options, without --help."""
    with click.Context(main) as above:
        command = main.get_command(above, name)
    assert command is not None
    return [_row(*_describe(option)) for option in command.params if isinstance(option, click.Option)]


def _describe(option: click.Option) -> tuple[str, str]:
    """The spelling of an option with its value, and its help."""
    value = "" if option.is_flag or option.count else option.metavar or ""
    if isinstance(option.type, click.Choice):
        value = "|".join(map(str, option.type.choices))
    names = ", ".join(f"`{name} {value}`" if value else f"`{name}`" for name in option.opts)
    default = f" Default: `{option.default}`." if option.show_default and option.default is not None else ""
    return names, re.sub(r"(\*\*\S*?)(?=\.?$|,|\s)", r"`\1`", option.help or "") + default


def _make_blocks(blocks: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", blocks.replace("\b\n", "").strip()):
        title, _, rest = block.partition("\n")
        if not rest:
            continue
        body = "\n".join(line.removeprefix("  ") for line in rest.splitlines())
        if title.strip() == "Examples:":
            yield f"```bash\n{body}\n```\n"
        else:
            yield f"{title.strip()}\n\n```text\n{body}\n```\n"


def _unwrap(text: str) -> str:
    """Paragraphs of a page's width."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(_wrap(" ".join(paragraph.split())) for paragraph in paragraphs)


def _wrap(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"


PAGES = {"commands.md": make_commands, "rules.md": make_rules}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (ROOT / "docs" / name).write_text(make(), "utf-8", newline="\n")
