"""``opensora-rewriter trace``: from every component to every Hub call that it reaches."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import click

from rewriter.cli import run
from rewriter.cli.options import Options, scripts, shared
from rewriter.cli.output import FOUND, print_lines
from rewriter.read.scripts import ScriptCall
from rewriter.report import text
from rewriter.verify.needs import CallRow, ComponentTrace, format_traces, list_repos, trace_components
from rewriter.words import printable

EPILOG = """
\b
Examples:
  opensora-rewriter trace configs/opensora-v1-2/inference/sample.py
  opensora-rewriter trace . --all-configs --output-format json
  opensora-rewriter trace . --repos --verbose
"""


@click.command("trace", epilog=EPILOG)
@shared(formats=("table", "json"))
@click.option("--repos", is_flag=True, help="Only the repo ids that are needed, one a line (-v: subfolder, revision).")
@scripts
def command(options: Options, repos: bool, scripts: bool) -> None:
    """Show the path from each component's type to every Hub call that it reaches. Executes nothing.

    Every component of a config is traced (--component narrows it): text_encoder, vae, model, discriminator, t5 ...
    With --repos, exit code 1 says that some repo cannot be known.
    """
    selection = run.select_files(options, scripts=scripts)
    names = options.components if "components" in options.settings.origins and not options.all_components else None
    loaders = run.make_loaders(options)
    traced, problems = trace_components(selection.targets, loaders, names)
    cwd = os.getcwd()
    calls = run.find_script_calls(options) if scripts else []
    if repos:
        _print_repos(traced, options.verbose)
    elif options.output_format == "json":
        document: dict[str, object] = {"schema_version": 1, "components": format_traces(traced, cwd)}
        if scripts:
            document["scripts"] = [_make_call(call, cwd) for call in calls]
        click.echo(json.dumps(document, indent=2))
    else:
        _print_tables(traced, cwd, options.verbose)
        for call in calls:
            place = f"{text.show_path(call.path, cwd)}:{call.span.line}"
            known = f"{call.callee} reads {call.reads}, cache_dir {call.state}"
            click.echo(printable(f"{place}: {call.reads if call.state == 'unreadable' else known}"))
    undecided, notes, _ = run.diagnose(selection, loaders, names, "OSR007")
    findings = [*selection.findings, *problems, *loaders.problems(), *undecided]
    print_lines(text.format_full(findings, cwd, verbose=options.verbose), err=True)
    if not options.quiet:
        print_lines(text.format_notes(notes, cwd), err=True)
    if problems or (repos and undecided):
        raise SystemExit(FOUND)


def _make_call(call: ScriptCall, cwd: str) -> dict[str, object]:
    place = {"path": text.show_path(call.path, cwd), "line": call.span.line, "column": call.span.column + 1}
    return {**place, "callee": call.callee, "reads": call.reads, "cache_dir": call.state, "editable": call.editable}


def _print_repos(traced: Sequence[ComponentTrace], verbose: bool) -> None:
    for repo_id, subfolder, revision in list_repos(traced):
        extra = "".join(f" {k}={v}" for k, v in (("subfolder", subfolder), ("revision", revision)) if v)
        click.echo(printable(repo_id + (extra if verbose else "")))


def _print_tables(traced: Sequence[ComponentTrace], cwd: str, verbose: bool) -> None:
    """One block a config; a line a Hub call, then the path to it."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, soft_wrap=False)
    by_path: dict[str, list[ComponentTrace]] = {}
    for component in traced:
        by_path.setdefault(component.path, []).append(component)
    for path, group in by_path.items():
        title = Text(printable(text.show_path(path, cwd)), "bold")
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
        for heading in ("component", "repo", "Hub call, and the path to it", "cache_dir", "local_files_only"):
            table.add_column(heading, overflow="fold")
        for component in group:
            name = f"{component.component.dotted}\n{component.type}"
            cells = [_make_cells(row, cwd) for row in component.rows]
            if verbose or not cells:
                cells += [("", f"not followed: {unknown}", "", "") for unknown in component.unknown]
            for number, row in enumerate(cells):
                table.add_row(*(Text(_printable_lines(cell)) for cell in ("" if number else name, *row)))
        console.print(table)


def _make_cells(row: CallRow, cwd: str) -> tuple[str, str, str, str]:
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
    steps = " -> ".join(f"{step.function}:{step.line}" for step in call.chain)
    place = f"{call.callee}  {text.show_path(call.path, cwd)}:{call.line}" + (f"\n{steps}" if steps else "")
    return "\n".join([repo, *filter(None, marks)]), place, row.keys["cache_dir"], row.keys["local_files_only"]


def _printable_lines(cell: str) -> str:
    return "\n".join(printable(line) for line in cell.split("\n"))
