"""``opensora-rewriter settings``: the settings in use, and from where."""

from __future__ import annotations

import os

import click

from rewriter.cli.options import read_settings
from rewriter.settings import explain
from rewriter.words import printable

EPILOG = """
\b
Examples:
  opensora-rewriter settings
  opensora-rewriter settings ~/Open-Sora --cache-dir /models/hf/hub
"""


@click.command("settings", epilog=EPILOG)
@click.argument("path", required=False)
@click.option("--cache-dir", "cache_dirs", multiple=True, metavar="[COMPONENT=]DIR", help="As for check and rewrite.")
def command(path: str | None, cache_dirs: tuple[str, ...]) -> None:
    """Print every setting as TOML, with where its value comes from.

    They come from the command line, else OPENSORA_CACHE_DIR, else the nearest opensora-rewriter.toml or
    [tool.opensora-rewriter] of pyproject.toml above PATH (default: here).
    """
    for line in explain(read_settings((path,) if path else (), cache_dirs), os.getcwd()):
        click.echo(printable(line))
