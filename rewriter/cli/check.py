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
"""


@click.command("check", epilog=EPILOG)
@common.selection_options
@common.cache_options
@click.option("--must-exist", is_flag=True, help="A local path that does not exist is an error.")
def command(
    paths: tuple[str, ...], all_configs: bool, include: tuple[str, ...], exclude: tuple[str, ...],
    components: tuple[str, ...], all_components: bool, opensora_source: str | None, quiet: bool, verbose: bool,
    cache_dirs: tuple[str, ...], local_files_only: bool, must_exist: bool,
) -> None:  # fmt: skip
    """Say which components do not load from a local cache. Without --cache-dir any absolute directory will do."""
    from dataclasses import replace

    from rewriter import plan, report

    directories = common.parse_cache_dirs(cache_dirs)
    request = common.base_request(components, all_components, directories, local_files_only)
    request = replace(request, checking=True, must_exist=must_exist)
    selection = common.select(paths, all_configs, include, exclude)
    result = plan.check(selection.targets, request, common.loaders(opensora_source))
    cwd = os.getcwd()
    findings = [*selection.findings, *result.all_findings]
    for line in report.full(findings, cwd):
        click.echo(line)
    if verbose:
        for line in report.verdicts(result.results, cwd):
            click.echo(line)
    if not quiet:
        for note in result.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(report.check_summary(result))
    if any(finding.severity == "error" for finding in findings):
        raise SystemExit(common.FOUND)
