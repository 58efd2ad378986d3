"""``opensora-rewriter trace``: from every component to every Hub call that it reaches."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rewriter.cli import common

if TYPE_CHECKING:
    from rewriter.tracing import ComponentTrace

EPILOG = """
\b
Examples:
  opensora-rewriter trace configs/opensora-v1-2/inference/sample.py
  opensora-rewriter trace . --all-configs --output-format json
  opensora-rewriter trace . --repos | xargs -n1 hf download
"""


@click.command("trace", epilog=EPILOG)
@common.shared()
@click.option("--repos", is_flag=True, help="Only the repo ids that are needed, one a line (-v: subfolder, revision).")
@click.option("--output-format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(chosen: common.Chosen, repos: bool, form: str) -> None:
    """Show the way from each component's type to every Hub call that it reaches. Executes nothing.

    Every component of a config is traced (--component narrows it): text_encoder, vae, model, discriminator, t5 ...
    """
    from rewriter import report, tracing

    selection = chosen.select()
    named = "components" in chosen.settings.origins and not chosen.all_components
    names = chosen.components if named else None
    loaders = chosen.loaders()
    traced, problems = tracing.trace_configs(selection.targets, loaders, names)
    cwd = os.getcwd()
    if repos:
        for repo_id, subfolder, revision in tracing.repos(traced):
            extra = "".join(f" {k}={v}" for k, v in (("subfolder", subfolder), ("revision", revision)) if v)
            click.echo(report.printable(repo_id + (extra if chosen.verbose else "")))
    elif form == "json":
        import json

        click.echo(json.dumps({"schema_version": 1, "components": tracing.as_json(traced, cwd)}, indent=2))
    else:
        _table(traced, cwd, chosen.verbose)
    for line in report.full([*selection.findings, *problems, *loaders.problems()], cwd):
        click.echo(line, err=True)
    if loaders.used_builtin and not chosen.quiet:
        click.echo("note: no opensora/ sources: the built-in table of v1.3's loaders stands in", err=True)
    if problems:
        raise SystemExit(common.FOUND)


def _table(traced: Sequence[ComponentTrace], cwd: str, verbose: bool) -> None:
    """One block a config; a line a Hub call, then the way to it."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from rewriter.report import printable, shown

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, soft_wrap=False)
    by_path: dict[str, list[ComponentTrace]] = {}
    for component in traced:
        by_path.setdefault(component.path, []).append(component)
    for path, group in by_path.items():
        table = Table(box=SIMPLE_HEAD, title=Text(printable(shown(path, cwd)), "bold"), title_justify="left")
        for heading in ("component", "repo", "Hub call, and the way to it", "cache_dir", "local_files_only"):
            table.add_column(heading, overflow="fold")
        for component in group:
            name = f"{'.'.join(component.component.keys)}\n{component.type}"
            for row in component.rows:
                table.add_row(*(Text(printable_lines(cell)) for cell in (name, *_cells(row, cwd))))
                name = ""
            for unknown in component.unknown if verbose or not component.rows else ():
                table.add_row(Text(printable_lines(name)), "", Text("not followed: " + printable(unknown)), "", "")
                name = ""
        console.print(table)


def _cells(row: object, cwd: str) -> tuple[str, str, str, str]:
    from rewriter.report import shown
    from rewriter.tracing import Row

    assert isinstance(row, Row)
    call = row.call
    repo = call.repo_id if call.repo_id is not None else f"? {call.repo_text}"
    marks = [
        f"subfolder {call.subfolder}" if call.subfolder else "",
        f"revision {call.revision}" if call.revision else "",
        f"file {call.filename}" if call.filename else "",
        {"local": "(local path)", "missing": "(local path, missing)"}.get(row.place, ""),
        "(only the source names it)" if call.hard_coded else "",
        "" if call.certain else "(on some branch)",
    ]
    way = " -> ".join(f"{step.function}:{step.line}" for step in call.chain)
    text = f"{call.callee}  {shown(call.path, cwd)}:{call.line}" + (f"\n{way}" if way else "")
    keys = dict(row.keys)
    return "\n".join([repo, *filter(None, marks)]), text, keys["cache_dir"], keys["local_files_only"]


def printable_lines(text: str) -> str:
    """:func:`rewriter.report.printable`, line by line."""
    from rewriter.report import printable

    return "\n".join(printable(line) for line in text.split("\n"))
