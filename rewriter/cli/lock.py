"""``opensora-rewriter lock``: which weights the configs need, with commits, sizes and hashes."""

from __future__ import annotations

import os

import click

from rewriter.cli import run
from rewriter.cli.options import Options, shared
from rewriter.cli.output import FOUND, expect_writable, fail, print_lines, write_text
from rewriter.cli.progress import bar
from rewriter.report import text
from rewriter.words import counted, printable

EPILOG = """
\b
Examples:
  opensora-rewriter lock . --all-configs
  opensora-rewriter verify . --all-configs --lock opensora-models.lock --hash
"""


@click.command("lock", epilog=EPILOG)
@shared()
@click.option("--output-file", "lock_file", metavar="FILE", help="The lock to write (default: in the checkout).")
def command(options: Options, lock_file: str | None) -> None:
    """Write opensora-models.lock (TOML): each repo needed, its commit, each file's size and hash, and who needs it."""
    from rewriter.verify import cache, lock, needs

    if lock_file is not None:
        expect_writable(os.path.abspath(lock_file))
    selection = run.select_files(options)
    if lock_file is not None:
        run.protect_sources(options, selection, lock_file)
    names = None if options.all_components else options.components
    loaders = run.make_loaders(options)
    traced, problems = needs.trace_components(selection.targets, loaders, names)
    needed = needs.collect_needs(traced, os.environ)
    root = run.find_common_root(selection)
    with bar("hashing", quiet=options.quiet) as progress:
        inspected = cache.inspect_cache(needed.needs, hash="unnamed", progress=progress)
    undecided, notes, _ = run.diagnose(selection, loaders, names, "OSR006", "OSR007")
    findings = run.add_findings([*selection.findings, *problems, *needed.findings], undecided)
    findings += inspected.findings
    cwd = os.getcwd()
    print_lines(text.format_full(findings, cwd, verbose=options.verbose), err=True)
    if any(finding.code[:4] == "OSR1" and finding.severity == "error" for finding in findings):
        fail("the cache does not hold everything; no lock was written", "cure the findings above, then lock again")
    try:
        content = lock.write_lock(inspected, root)
    except lock.LockError as error:
        fail(f"no lock was written: {error}")
    target = os.path.abspath(lock_file or os.path.join(root or cwd, lock.LOCK_NAME))
    changed = write_text(target, content)
    if not options.quiet:
        print_lines(text.format_notes([*notes, *needed.notes], cwd), err=True)
        repos = counted(len({need.repo_id for need in needed.needs}), "repo")
        state = "wrote" if changed else "unchanged:"
        click.echo(f"{state} {printable(text.show_path(target, cwd))} ({repos})")
    if any(finding.code == "OSR007" for finding in findings) or run.has_errors(findings):
        raise SystemExit(FOUND)
