"""``opensora-rewriter lock``: which weights the configs need, with commits, sizes and hashes."""

from __future__ import annotations

import os

import click

from rewriter.cli import common

EPILOG = """
\b
Examples:
  opensora-rewriter lock . --all-configs
  opensora-rewriter verify . --all-configs --lock opensora-models.lock --hash
"""


@click.command("lock", epilog=EPILOG)
@common.shared()
@click.option(
    "--output-file",
    "lock_file",
    metavar="FILE",
    help="Where to write it (default: in the checkout).",
)
def command(chosen: common.Chosen, lock_file: str | None) -> None:
    """Write opensora-models.lock (TOML): each repo needed, its commit, each file's size and hash, and who needs it."""
    from rewriter import report, tracing, verify
    from rewriter.cache import inspect
    from rewriter.cli.progress import bar
    from rewriter.lock import LOCK_NAME, LockError, write_lock

    selection = chosen.select()
    if lock_file is not None:
        chosen.spare(selection, lock_file)
    traced, problems = tracing.trace_configs(selection.targets, chosen.loaders(), chosen.traced)
    wanted = verify.wanted(traced, os.environ)
    roots = {target.root for target in selection.targets}
    root = roots.pop() if len(roots) == 1 else None
    with bar("hashing", quiet=chosen.quiet) as progress:
        inspected = inspect(wanted.needs, hash="unnamed", progress=progress)
    findings = [*selection.findings, *problems, *wanted.findings, *inspected.findings]
    for line in report.full(findings, os.getcwd()):
        click.echo(line, err=True)
    if any(finding.code[:4] == "OSR1" and finding.severity == "error" for finding in findings):
        common.fail("the cache does not hold everything; no lock was written", "mend what is listed, then lock again")
    try:
        text = write_lock(inspected, root)
    except LockError as error:
        common.fail(f"no lock was written: {error}")
    target = os.path.abspath(lock_file or os.path.join(root or os.getcwd(), LOCK_NAME))
    changed = common.write_text(target, text)
    if not chosen.quiet:
        repos = report.counted(len({need.repo_id for need in wanted.needs}), "repo")
        state = "wrote" if changed else "unchanged:"
        click.echo(f"{state} {report.printable(report.shown(target, os.getcwd()))} ({repos})")
    if any(finding.severity == "error" for finding in findings):
        raise SystemExit(common.FOUND)
