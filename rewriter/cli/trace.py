"""``opensora-rewriter trace``: from every component to every Hub call that it reaches."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence

import click

from rewriter.cli.output import FOUND, print_lines
from rewriter.cli.run import Run, flag, scripts_option, shared
from rewriter.report.text import show_path
from rewriter.verify.needs import CallRow, ComponentTrace, format_traces, list_repos
from rewriter.words import printable

EPILOG = """
\b
Examples:
  opensora-rewriter trace configs/opensora-v1-2/inference/sample.py
  opensora-rewriter trace . --all-configs --output-format json
  opensora-rewriter trace . --repos --verbose
"""
WIDTH = 160
"""Columns of a table where neither COLUMNS nor a terminal gives a number."""
HEADINGS = ("component", "repo", "Hub call, and the path to it", "cache_dir", "local_files_only")


@click.command(epilog=EPILOG)
@shared(formats=("table", "json"))
@flag("--repos", help="Only the repo ids that are needed, one a line (-v: subfolder, revision).")
@scripts_option
def trace(run: Run, repos: bool, scripts: bool) -> None:
    """Show the path from each component's type to every Hub call that it reaches. Executes nothing.

    Every component of a config is traced (--component narrows it): text_encoder, vae, model, discriminator, t5 ...
    With --repos, exit code 1 says that some repo cannot be known.
    """
    run.select(scripts=scripts)
    traced, undecided, _ = run.trace("OSR007", every=True)
    calls = run.find_script_calls() if scripts else []
    if repos:
        for repo_id, *names in list_repos(traced):
            extra = [f" {key}={value}" for key, value in zip(("subfolder", "revision"), names, strict=True) if value]
            click.echo(printable(repo_id + "".join(extra if run.verbose else [])))
    elif run.output_format == "json":
        document: dict[str, object] = {"schema_version": 1, "components": format_traces(traced, run.cwd)}
        if scripts:
            document["scripts"] = [
                {"path": show_path(call.path, run.cwd), "line": call.span.line, "column": call.span.column + 1}
                | {"callee": call.callee, "reads": call.reads, "cache_dir": call.state, "editable": call.editable}
                for call in calls
            ]
        click.echo(json.dumps(document, indent=2))
    else:
        print_lines(_format_tables(traced, run))
        for call in calls:
            known = f"{call.callee} reads {call.reads}, cache_dir {call.state}"
            found = call.reads if call.state == "unreadable" else known
            click.echo(printable(f"{show_path(call.path, run.cwd)}:{call.span.line}: {found}"))
    failed = run.exit_code or (FOUND if repos and undecided else 0)
    run.findings += undecided
    run.print_findings(err=True)
    raise SystemExit(failed)


def _format_tables(traced: Sequence[ComponentTrace], run: Run) -> Iterator[str]:
    """One table a config, as lines; a row a Hub call, and below it the path to it. In a pipe no word is broken."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    width = shutil.get_terminal_size((WIDTH, 0)).columns
    for path, group in itertools.groupby(traced, key=lambda each: each.path):
        rows = list(itertools.chain.from_iterable(_make_rows(component, run) for component in group))
        title = Text(printable(show_path(path, run.cwd)), "bold")
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
        for heading, *cells in zip(HEADINGS, *rows, strict=True):
            longest = max(len(word) for cell in (heading, *cells) for word in cell.split())
            table.add_column(heading, overflow="fold", min_width=None if console.is_terminal else longest)
        for row in rows:
            table.add_row(*map(Text, row))
        console.width = 10 * WIDTH
        console.width = width if console.is_terminal else max(width, console.measure(table).minimum)
        with console.capture() as capture:
            console.print(table)
        yield from (line.rstrip() for line in capture.get().splitlines())


def _make_rows(component: ComponentTrace, run: Run) -> Iterator[list[str]]:
    rows = [_make_cells(row, run.cwd) for row in component.rows]
    if run.verbose or not rows:
        rows += [("", f"not followed: {unknown}", "", "") for unknown in component.unknown]
    for number, row in enumerate(rows):
        name = "" if number else f"{component.component.dotted}\n{component.type}"
        yield ["\n".join(map(printable, cell.split("\n"))) for cell in (name, *row)]


def _make_cells(row: CallRow, cwd: str) -> tuple[str, str, str, str]:
    call = row.call
    marks = [
        call.repo_id if call.repo_id is not None else f"? {call.repo_text}",
        f"subfolder {call.subfolder}" if call.subfolder else "",
        f"revision {call.revision}" if call.revision else "",
        f"file {call.filename}" if call.filename else "",
        {"local": "(local path)", "missing": "(local path, missing)"}.get(row.place, ""),
        "(only the source names it)" if call.hard_coded else "",
        "" if call.certain else "(on some branch)",
    ]
    place = f"{call.callee}  {show_path(call.path, cwd)}:{call.line}"
    steps = " -> ".join(f"{step.function}:{step.line}" for step in call.chain)
    return (
        "\n".join(filter(None, marks)),
        f"{place}\n{steps}".rstrip(),
        row.keys["cache_dir"],
        row.keys["local_files_only"],
    )
