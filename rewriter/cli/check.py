"""``opensora-rewriter check``: diagnose, change nothing, execute nothing."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from rewriter.cli import run
from rewriter.cli.options import Options, scripts, shared
from rewriter.cli.output import FOUND, print_lines
from rewriter.cli.progress import counter
from rewriter.model import FileEdit
from rewriter.report import FORMATS, text

EPILOG = """
\b
Examples:
  opensora-rewriter check                                   # the checkout around you
  opensora-rewriter check . --all-configs --cache-dir /models/hf/hub
  opensora-rewriter check configs/opensora-v1-2/inference/sample.py --must-exist
  opensora-rewriter check . --output-format sarif --output-file opensora-rewriter.sarif
"""


@click.command("check", epilog=EPILOG)
@shared(cache=True, formats=FORMATS)
@click.option("--must-exist", is_flag=True, help="A local path that does not exist is an error.")
@scripts
def command(options: Options, must_exist: bool, scripts: bool) -> None:
    """Report the components that do not load from a local cache. Without --cache-dir any absolute directory will do."""
    from rewriter.decide import plan as planning
    from rewriter.decide.installed import report_installed

    request = replace(run.make_request(options), checking=True, must_exist=must_exist)
    selection = run.select_files(options, scripts=scripts)
    loaders = run.make_loaders(options)
    with counter("reading", len(selection.targets), quiet=options.quiet) as tick:
        plan = planning.check(selection.targets, request, loaders, progress=tick)
    run.warn_of_absent_components(options, request, plan.results)
    cwd = os.getcwd()
    found = [*selection.findings, *plan.all_findings, *report_installed(plan, None)]
    if scripts:
        from rewriter.decide.scripts import report_calls

        found += report_calls(run.find_script_calls(options))
    findings = run.hide_findings(options, found, plan.results, report_unused=True)
    notes = [*selection.notes, *plan.notes]
    failed = run.has_errors(findings)
    fixes: tuple[FileEdit, ...] = ()
    if options.output_format == "sarif" and request.keys_possible:
        fixes = planning.rewrite(selection.targets, replace(request, checking=False), run.make_loaders(options)).edits
    if not run.emit_report(
        "check",
        options,
        findings,
        exit_code=int(failed),
        files=len(plan.results),
        notes=notes,
        plan=plan,
        fixes=fixes,
    ):
        print_lines(text.format_full(findings, cwd, verbose=options.verbose, scope=run.describe_scope(options)))
        if options.verbose:
            print_lines(text.format_decisions(plan.results, cwd))
        if not options.quiet:
            print_lines(text.format_notes(notes, cwd), err=True)
            print_lines(text.summarize_check(len(plan.results), findings, cwd, run.describe_scope(options)))
    if failed:
        raise SystemExit(FOUND)
