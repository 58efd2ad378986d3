"""``opensora-rewriter schema``: the JSON Schema of the json report."""

from __future__ import annotations

import json

import click

from rewriter.report import make_schema


@click.command("schema", epilog="\b\nExamples:\n  opensora-rewriter schema > opensora-rewriter.schema.json\n")
def command() -> None:
    """Print the JSON Schema of the report that `--output-format json` writes."""
    click.echo(json.dumps(make_schema(), indent=2))
