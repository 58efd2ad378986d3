"""``opensora-rewriter trace``: from every component to every Hub call that it reaches."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from rewriter.cli.output import FOUND, print_lines
from rewriter.cli.run import Run, flag, scripts_option, shared
from rewriter.decide import plan as planning
from rewriter.decide.request import DEFAULT_COMPONENTS, Request
from rewriter.files import show_path
from rewriter.model import Finding, Plan
from rewriter.verify import needs as needing
from rewriter.verify.directories import find_transformers_major
from rewriter.verify.needs import CallRow, ComponentTrace, Needs
from rewriter.words import printable

HEADINGS = ("component", "repo", "Hub call, and the path to it", "cache_dir", "local_files_only")
UNWRAPPED = 10_000
"""Columns of a table that no terminal shows."""


def trace_run(run: Run, *, every: bool = False) -> tuple[list[ComponentTrace], list[Finding], Plan]:
    """Trace the selected components, or, with ``every``, all where none is named.

    Returns them, what ``check`` knows of them that leaves their repos unknown, and all that it says.
    """
    everything = run.all_components or (every and not run.settings.components)
    request = Request(run.settings.components or DEFAULT_COMPONENTS, everything, checking=True)
    names = None if everything else request.components
    traced, problems = needing.trace_components(run.selection.targets, run.loaders, names)
    plan = planning.check(run.selection.targets, request, run.loaders)
    run.findings += [*problems, *run.loaders.problems()]
    run.notes += plan.notes
    found = [each for each in plan.all_findings if each.code in ("OSR006", "OSR007")]
    # a path or a directory that is missing is a warning of `check`; the caches are inspected for themselves
    return traced, [each for each in found if each.code == "OSR007" or each.severity == "error"], plan


def collect_needs(
    run: Run, *, every: bool = False, python: str | None = None, **how: Any
) -> tuple[list[ComponentTrace], Needs, Plan]:
    """Trace as :func:`trace_run` does, and collect what is needed of a cache, and the findings about that."""
    traced, undecided, plan = trace_run(run, every=every)
    needed = needing.collect_needs(traced, os.environ, transformers_major=find_transformers_major(python), **how)
    run.findings += needed.findings
    run.notes += needed.notes
    known = {(finding.path, finding.component, finding.code) for finding in run.findings}
    run.findings += [each for each in undecided if (each.path, each.component, each.code) not in known]
    return traced, needed, plan


@click.command()
@shared(formats=("table", "json"))
@flag("--repos", help="Only the repo ids that are needed, one a line (-v: subfolder, revision).")
@scripts_option
def trace(run: Run, repos: bool, scripts: bool) -> None:
    """Show the path from each component's type to every Hub call that it reaches. Executes nothing.

    Every component of a config is traced (--component narrows it): text_encoder, vae, model, discriminator, t5 ...
    With --repos, exit code 1 says that some repo cannot be known.

    \b
    Examples:
      opensora-rewriter trace configs/opensora-v1-2/inference/sample.py
      opensora-rewriter trace . --repos --verbose
    """
    run.select(scripts=scripts)
    traced, undecided, _ = trace_run(run, every=True)
    calls = run.find_script_calls() if scripts else []
    if repos:
        for repo_id, *names in needing.list_repos(traced):
            extra = [f" {key}={value}" for key, value in zip(("subfolder", "revision"), names, strict=True) if value]
            click.echo(printable(repo_id + "".join(extra if run.verbose else [])))
    elif run.output_format == "json":
        document: dict[str, object] = {"schema_version": 1, "components": needing.format_traces(traced, run.cwd)}
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
    """One table a config, as lines; a row a Hub call, and below it the path to it. In a pipe nothing is wrapped."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else UNWRAPPED)
    for path, group in itertools.groupby(traced, key=lambda each: each.path):
        title = Text(printable(show_path(path, run.cwd)), "bold")
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
        for heading in HEADINGS:
            table.add_column(heading, overflow="fold")
        for row in itertools.chain.from_iterable(_make_rows(component, run) for component in group):
            table.add_row(*(Text("\n".join(map(printable, cell.split("\n")))) for cell in row))
        with console.capture() as capture:
            console.print(table)
        yield from (line.rstrip() for line in capture.get().splitlines())


def _make_rows(component: ComponentTrace, run: Run) -> Iterator[tuple[str, ...]]:
    rows = [_make_cells(row, run.cwd) for row in component.rows]
    if run.verbose or not rows:
        rows += [("", f"not followed: {unknown}", "", "") for unknown in component.unknown]
    for number, row in enumerate(rows):
        yield ("" if number else f"{component.component.dotted}\n{component.type}", *row)


def _make_cells(row: CallRow, cwd: str) -> tuple[str, ...]:
    call = row.call
    more = ("subfolder", call.subfolder), ("revision", call.revision), ("file", call.filename)
    marks = [
        f"? {call.repo_text}" if call.repo_id is None else call.repo_id,
        *(f"{name} {value}" for name, value in more if value),
        {"local": "(local path)", "missing": "(local path, missing)"}.get(row.place, ""),
        "(only the source names it)" if call.hard_coded else "",
        "" if call.certain else "(on some branch)",
    ]
    place = f"{call.callee}  {show_path(call.path, cwd)}:{call.line}"
    steps = " -> ".join(f"{step.function}:{step.line}" for step in call.chain)
    return "\n".join(filter(None, marks)), f"{place}\n{steps}".rstrip(), *row.keys.values()
