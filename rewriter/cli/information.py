"""The commands that only print what this program knows: ``settings``, ``schema``, ``completion`` and ``rules``."""

from __future__ import annotations

import json
import os
import textwrap

import click
from click.shell_completion import shell_complete

from rewriter.cli.run import read_settings
from rewriter.rules import all_rules
from rewriter.settings import explain
from rewriter.words import printable


@click.command()
@click.argument("path", required=False)
@click.option("--cache-dir", "cache_dirs", multiple=True, metavar="[COMPONENT=]DIR", help="As for check and rewrite.")
def settings(path: str | None, cache_dirs: tuple[str, ...]) -> None:
    """Print every setting as TOML, with where its value comes from.

    They come from the command line, else OPENSORA_CACHE_DIR, else the nearest opensora-rewriter.toml or
    [tool.opensora-rewriter] of pyproject.toml above PATH (default: here).

    \b
    Examples:
      opensora-rewriter settings ~/Open-Sora --cache-dir /models/hf/hub
    """
    for line in explain(read_settings((path,) if path else (), cache_dirs), os.getcwd()):
        click.echo(printable(line))


@click.command()
def schema() -> None:
    """Print the JSON Schema of the report that `--output-format json` writes.

    \b
    Examples:
      opensora-rewriter schema > opensora-rewriter.schema.json
    """
    from rewriter.report.json import JsonReport

    click.echo(json.dumps(JsonReport.model_json_schema(mode="serialization"), indent=2))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    Examples:
      opensora-rewriter completion bash >> ~/.bashrc
      opensora-rewriter completion zsh >> ~/.zshrc
      opensora-rewriter completion fish > ~/.config/fish/completions/opensora-rewriter.fish
    """
    from rewriter.cli import main  # which imports this module to run it

    shell_complete(main, {}, "opensora-rewriter", "_OPENSORA_REWRITER_COMPLETE", f"{shell}_source")


@click.command()
@click.argument("code", required=False, metavar="[CODE]", type=str.upper)
def rules(code: str | None) -> None:
    """List every finding, or explain CODE with an example before and after.

    \b
    Examples:
      opensora-rewriter rules OSR004
    """
    if code is None:
        for rule in all_rules().values():
            click.echo(f"{rule.code}  {rule.meaning}" + (" (warning)" if rule.severity == "warning" else ""))
        return
    if code not in all_rules():
        raise click.UsageError(f"No such finding {code!r}: `opensora-rewriter rules` lists them.")
    rule = all_rules()[code]
    click.echo(f"{rule.code} {rule.name} ({rule.severity})\n{rule.meaning}\n\n{textwrap.fill(rule.explanation, 100)}")
    for label, source in (("Before", rule.bad), ("After", rule.good)):
        if source:
            click.echo(f"\n{label}:\n\n{textwrap.indent(source, '    ')}")
