"""``opensora-rewriter check``: diagnose, change nothing, execute nothing."""

from __future__ import annotations

import os

import click

from rewriter.cli import common

EPILOG = """
\b
Examples:
  opensora-rewriter check                                   # the checkout around you
  opensora-rewriter check . --all-configs --cache-dir /models/hf/hub
  opensora-rewriter check configs/opensora-v1-2/inference/sample.py --must-exist
  opensora-rewriter check . --output-format sarif --output-file opensora-rewriter.sarif
"""


@click.command("check", epilog=EPILOG)
@common.shared(cache=True, output=True)
@click.option("--must-exist", is_flag=True, help="A local path that does not exist is an error.")
def command(chosen: common.Chosen, must_exist: bool) -> None:
    """Say which components do not load from a local cache. Without --cache-dir any absolute directory will do."""
    from rewriter import plan, report
    from rewriter.cli.progress import counter
    from rewriter.frozen import replace
    from rewriter.parallel import processors

    request = replace(chosen.request(), checking=True, must_exist=must_exist)
    selection = chosen.select()
    with counter("reading", len(selection.targets), quiet=chosen.quiet) as tick:
        brief = chosen.output_format == "full" and chosen.output_file is None and not chosen.verbose
        result = plan.check(selection.targets, request, chosen.loaders(), tick, processes=processors(), brief=brief)
    chosen.warn_of_strangers(request, result.results)
    cwd = os.getcwd()
    findings = chosen.kept([*selection.findings, *result.all_findings], result.results, unused=True)
    failed = any(finding.severity == "error" for finding in findings)
    if chosen.output_format != "full" or chosen.output_file:
        from rewriter import __version__, formats

        cure = None
        if chosen.output_format == "sarif" and request.keys_possible:
            cure = plan.rewrite(selection.targets, replace(request, checking=False), chosen.loaders())
        told = formats.of_plan("check", result, version=__version__, cwd=cwd, exit_code=int(failed),
                               findings=findings, cure=cure)  # fmt: skip
        if chosen.emit(told):
            raise SystemExit(common.FOUND if failed else 0)
    common.echo_lines(report.full(findings, cwd))
    if chosen.verbose:
        common.echo_lines(report.verdicts(result.results, cwd))
    if not chosen.quiet:
        for note in result.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(report.check_summary(len(result.results), findings))
    if failed:
        raise SystemExit(common.FOUND)
