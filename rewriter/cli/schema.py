"""``opensora-rewriter schema``: the JSON Schema of the json report."""

from __future__ import annotations

import click


@click.command("schema", epilog="\b\nExamples:\n  opensora-rewriter schema > opensora-rewriter.schema.json\n")
def command() -> None:
    """Print the JSON Schema of what `--output-format json` writes."""
    import json

    from rewriter.formats import schema

    click.echo(json.dumps(schema(), indent=2))
