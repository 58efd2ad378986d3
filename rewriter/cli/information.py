"""The commands that only print what this program knows: ``settings``, ``schema``, ``completion`` and ``rules``."""

from __future__ import annotations

import json
import os
import textwrap

import click
from click.shell_completion import get_completion_class

from rewriter.cli.run import read_settings
from rewriter.report import make_schema
from rewriter.rules import all_rules
from rewriter.settings import explain
from rewriter.words import printable

SETTINGS_EPILOG = """
\b
Examples:
  opensora-rewriter settings
  opensora-rewriter settings ~/Open-Sora --cache-dir /models/hf/hub
"""
COMPLETION_EPILOG = """
\b
Examples:
  opensora-rewriter completion bash >> ~/.bashrc
  opensora-rewriter completion zsh >> ~/.zshrc
  opensora-rewriter completion fish > ~/.config/fish/completions/opensora-rewriter.fish
"""


@click.command("settings", epilog=SETTINGS_EPILOG)
@click.argument("path", required=False)
@click.option("--cache-dir", "cache_dirs", multiple=True, metavar="[COMPONENT=]DIR", help="As for check and rewrite.")
def settings(path: str | None, cache_dirs: tuple[str, ...]) -> None:
    """Print every setting as TOML, with where its value comes from.

    They come from the command line, else OPENSORA_CACHE_DIR, else the nearest opensora-rewriter.toml or
    [tool.opensora-rewriter] of pyproject.toml above PATH (default: here).
    """
    for line in explain(read_settings((path,) if path else (), cache_dirs), os.getcwd()):
        click.echo(printable(line))


@click.command("schema", epilog="\b\nExamples:\n  opensora-rewriter schema > opensora-rewriter.schema.json\n")
def schema() -> None:
    """Print the JSON Schema of the report that `--output-format json` writes."""
    click.echo(json.dumps(make_schema(), indent=2))


@click.command("completion", epilog=COMPLETION_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL."""
    from rewriter.cli import main  # which imports this module to run it

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(main, {}, "opensora-rewriter", "_OPENSORA_REWRITER_COMPLETE").source())


@click.command("rules", epilog="\b\nExamples:\n  opensora-rewriter rules\n  opensora-rewriter rules OSR004\n")
@click.argument("code", required=False)
def rules(code: str | None) -> None:
    """List every finding, or explain CODE with an example before and after."""
    known = all_rules()
    if code is None:
        for rule in known.values():
            click.echo(f"{rule.code}  {rule.meaning}" + (" (warning)" if rule.severity == "warning" else ""))
        return
    if code.upper() not in known:
        raise click.UsageError(f"No such finding {code!r}: `opensora-rewriter rules` lists them.")
    rule = known[code.upper()]
    click.echo(f"{rule.code} {rule.name} ({rule.severity})\n{rule.meaning}\n")
    click.echo(textwrap.fill(rule.explanation, 100))
    for label, source in (("Before", rule.bad), ("After", rule.good)):
        if source:
            click.echo(f"\n{label}:\n\n{textwrap.indent(source, '    ')}")
