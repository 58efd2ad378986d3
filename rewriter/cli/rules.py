"""``opensora-rewriter rules``: the table of findings."""

from __future__ import annotations

import difflib
import textwrap

import click

from rewriter.rules import all_rules


@click.command("rules", epilog="\b\nExamples:\n  opensora-rewriter rules\n  opensora-rewriter rules OSR004\n")
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """List every finding, or explain CODE with an example before and after."""
    rules = all_rules()
    if code is None:
        for rule in rules.values():
            click.echo(f"{rule.code}  {rule.meaning}" + (" (warning)" if rule.severity == "warning" else ""))
        return
    if code.upper() not in rules:
        near = difflib.get_close_matches(code.upper(), rules, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise click.UsageError(f"No such finding {code!r}.{hint} `opensora-rewriter rules` lists them.")
    rule = rules[code.upper()]
    click.echo(f"{rule.code} {rule.name} ({rule.severity})\n{rule.meaning}\n")
    click.echo(textwrap.fill(rule.explanation, 100))
    for label, source in (("Before", rule.bad), ("After", rule.good)):
        if source:
            click.echo(f"\n{label}:\n\n{textwrap.indent(source, '    ')}")
