"""``opensora-rewriter rules``: the table of findings."""

from __future__ import annotations

import click


@click.command("rules", epilog="\b\nExamples:\n  opensora-rewriter rules\n  opensora-rewriter rules OSR004\n")
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """List every finding, or explain CODE with an example before and after."""
    import textwrap

    from rewriter.rules import all_rules

    rules = all_rules()

    if code is None:
        for rule in rules.values():
            click.echo(f"{rule.code}  {rule.title}" + (" (warning)" if rule.severity == "warning" else ""))
        return
    rule_or_none = rules.get(code.upper())
    if rule_or_none is None:
        from difflib import get_close_matches

        near = get_close_matches(code.upper(), rules, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise click.UsageError(f"No such finding {code!r}.{hint} `opensora-rewriter rules` lists them.")
    rule = rule_or_none
    click.echo(f"{rule.code} {rule.name} ({rule.severity})\n{rule.title}\n")
    click.echo(textwrap.fill(rule.explanation, 100))
    for label, source in (("Before", rule.before), ("After", rule.after)):
        if source:
            click.echo(f"\n{label}:\n\n{textwrap.indent(source, '    ')}")
