"""``opensora-rewriter download``: fetch exactly what the loaders will read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import click

from rewriter.checkout import Selection
from rewriter.cli import run
from rewriter.cli.options import Options, shared
from rewriter.cli.output import FOUND, expect_writable, fail, print_lines, write_text
from rewriter.decide.plan import Loaders
from rewriter.decide.request import Request
from rewriter.model import Component, Finding, Note
from rewriter.report import text
from rewriter.verify import cache, download, lock, needs
from rewriter.words import counted, human_size, printable

EPILOG = """
\b
Examples:
  opensora-rewriter download . --cache-dir /models/hf/hub --dry-run
  opensora-rewriter download . --component vae --component text_encoder --cache-dir /models/hf/hub
  opensora-rewriter download . --lock opensora-models.lock
"""


@click.command("download", epilog=EPILOG)
@shared(cache=True, formats=("full", "json"))
@click.option("--revision", "revisions", multiple=True, metavar="REPO=SHA", help="The commit to fetch (repeatable).")
@click.option("--dry-run", is_flag=True, help="Print files, sizes and the `hf download` commands; fetch nothing.")
@click.option("--lock", "lock_path", metavar="FILE", help="Fetch the commits of this lock, and no others.")
@click.option("--write-lock", metavar="FILE", help="Write a lock of what the cache holds afterwards.")
def command(
    options: Options, revisions: tuple[str, ...], dry_run: bool, lock_path: str | None, write_lock: str | None
) -> None:
    """Fetch into the cache the files that the selected components (default: all) will request, and nothing else.

    The directory is that of --cache-dir, else of the config, else of the environment. Needs a network and the extra
    [cache]; HF_TOKEN and HF_ENDPOINT are used. Interrupted, the next run goes on.
    """
    if write_lock is not None:
        expect_writable(os.path.abspath(write_lock))
    pinned = dict(_parse_revision(each) for each in revisions)
    known = run.read_lock(lock_path) if lock_path is not None else None
    selection = run.select_files(options)
    loaders = run.make_loaders(options)
    named = "components" in options.settings.origins and not options.all_components
    names = options.components if named else None
    needed, findings, notes = _collect(options, selection, loaders, names)
    try:
        plan = download.plan_download(needed.needs, lock=known, revisions=pinned)
        findings += plan.findings
        if not dry_run:
            _print_plan(options, plan)
            findings += download.fetch(plan)
    except download.DownloadError as error:
        fail(str(error), error.remedy)
    inspected = None
    if not dry_run:
        inspected = cache.inspect_cache(needed.needs, hash="unnamed" if write_lock is not None else False)
        findings = run.add_findings(findings, inspected.findings)
    _print_result(options, plan, findings, dry_run=dry_run)
    if not options.quiet:
        print_lines(text.format_notes([*notes, *needed.notes], os.getcwd()), err=True)
    if inspected is not None and write_lock is not None and not run.has_errors(findings):
        try:
            content = lock.write_lock(inspected, run.find_common_root(selection))
        except lock.LockError as error:
            fail(f"no lock was written: {error}")
        write_text(os.path.abspath(write_lock), content)
    if run.has_errors(findings):
        raise SystemExit(FOUND)


def _parse_revision(given: str) -> tuple[str, str]:
    repo_id, equals, commit = given.partition("=")
    if not equals or not repo_id or not commit:
        raise click.UsageError(f"--revision {given!r} is not REPO=SHA")
    return repo_id, commit


def _collect(
    options: Options, selection: Selection, loaders: Loaders, names: Sequence[str] | None
) -> tuple[needs.Needs, list[Finding], list[Note]]:
    """What is to be fetched, and the components of which that is not known."""
    settings = options.settings
    request = Request(cache_dir=settings.cache_dir, cache_dirs=settings.cache_dirs)

    def choose_directory(component: Component) -> str | None:
        return next((found for key in reversed(component.keys) if (found := request.dir_for(key))), None)

    traced, problems = needs.trace_components(selection.targets, loaders, names)
    needed = needs.collect_needs(traced, os.environ, directory_for=choose_directory)
    undecided, notes, _ = run.diagnose(selection, loaders, names, "OSR007")
    findings = run.add_findings([*selection.findings, *problems, *needed.findings], undecided)
    return needed, findings, notes


def _print_plan(options: Options, plan: download.DownloadPlan) -> None:
    if options.quiet or options.output_format == "json":
        return
    for repo in plan.repos:
        state = "is there already" if repo.complete else f"{human_size(repo.missing_bytes)} to fetch"
        files = counted(len(repo.files), "file")
        click.echo(printable(f"{repo.repo_id} ({files}) into {repo.cache_dir}: {state}"))


def _print_result(options: Options, plan: download.DownloadPlan, findings: Sequence[Finding], *, dry_run: bool) -> None:
    cwd = os.getcwd()
    if options.output_format == "json":
        click.echo(json.dumps(_make_json(plan, findings, cwd), indent=2))
        return
    if dry_run:
        for repo in plan.repos:
            size = human_size(sum(file.size for file in repo.files))
            click.echo(printable(f"{repo.repo_id} at {repo.commit} into {repo.cache_dir}: {size}"))
            for file in repo.files:
                mark = "  (there already)" if file.present else ""
                click.echo(printable(f"  {human_size(file.size):>9}  {file.name}{mark}"))
        for repo in plan.repos:
            click.echo(printable(repo.command))
    print_lines(text.format_full(findings, cwd, verbose=options.verbose, scope=run.describe_scope(options)))
    if not options.quiet:
        missing = sum(repo.missing_bytes for repo in plan.repos)
        errors = counted(sum(finding.severity == "error" for finding in findings), "error")
        verb = "to fetch" if dry_run else "needed"
        click.echo(f"download {counted(len(plan.repos), 'repo')}, {human_size(missing)} {verb}: {errors}")


def _make_json(plan: download.DownloadPlan, findings: Sequence[Finding], cwd: str) -> dict[str, object]:
    return {
        "schema_version": 1,
        "repos": [
            {
                "repo_id": repo.repo_id,
                "revision": repo.revision or "main",
                "commit": repo.commit,
                "cache_dir": repo.cache_dir,
                "complete": repo.complete,
                "command": repo.command,
                "files": [{"name": file.name, "size": file.size, "present": file.present} for file in repo.files],
            }
            for repo in plan.repos
        ],
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity,
                "path": text.show_path(finding.path, cwd),
                "line": finding.line,
                "component": finding.component or None,
                "message": finding.message,
                "remedy": text.fill_remedy(finding, cwd),
            }
            for finding in text.sort_findings(findings)
        ],
    }
