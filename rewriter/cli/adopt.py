"""``opensora-rewriter adopt``: a flat download or clone becomes part of a standard cache."""

from __future__ import annotations

import os
from typing import Literal

import click

from rewriter.cli import run
from rewriter.cli.output import fail
from rewriter.cli.progress import bar
from rewriter.words import counted, printable

EPILOG = """
\b
Examples:
  opensora-rewriter adopt ~/downloads/t5-v1_1-xxl --repo DeepFloyd/t5-v1_1-xxl --cache-dir /models/hf/hub
  opensora-rewriter adopt ./OpenSora-VAE-v1.2 --repo hpcai-tech/OpenSora-VAE-v1.2 --cache-dir /models/hf/hub --copy
"""


@click.command("adopt", epilog=EPILOG)
@click.argument("source", metavar="SRC")
@click.option("--repo", required=True, metavar="ORG/NAME", help="The repo id that loaders request.")
@click.option("--cache-dir", required=True, metavar="DIR", help="The hub cache to put it in.")
@click.option("--revision", metavar="SHA", help="The commit (40 hex digits) that SRC is known to be.")
@click.option("--copy", "mode", flag_value="copy", help="Copy the files.")
@click.option("--link", "mode", flag_value="link", help="Hard links only; fail where the file system allows none.")
@click.option("--replace-ref", is_flag=True, help="Let refs/main move on from another commit.")
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
def command(
    source: str,
    repo: str,
    cache_dir: str,
    revision: str | None,
    mode: Literal["copy", "link"] | None,
    replace_ref: bool,
    quiet: bool,
) -> None:
    """Put SRC, a flat download or a git clone, into the cache DIR as models--ORG--NAME.

    Files are hard-linked where possible, else copied. The commit is that of the clone's HEAD or of the download's own
    metadata, else a synthetic one made of the files' hashes. Run again, it changes nothing.
    """
    from rewriter.verify.adopt import AdoptError, plan_adopt, run_adopt

    folder = os.path.abspath(os.path.expanduser(source))
    directory = run.absolute_directory(cache_dir, "--cache-dir")
    try:
        with bar("hashing", quiet=quiet) as progress:
            plan = plan_adopt(
                folder, repo, directory, revision, mode or "auto", replace_ref=replace_ref, progress=progress
            )
        with bar("adopting", quiet=quiet) as progress:
            done = run_adopt(plan, progress)
    except AdoptError as error:
        fail(str(error))
    if quiet:
        return
    for note in plan.notes:
        click.echo(printable(f"note: {note}"), err=True)
    if not done.changed:
        click.echo(printable(f"{repo} is there already, as {done.snapshot}"))
        return
    origin = "a synthetic commit, made of the files' hashes" if plan.origin == "synthetic" else f"from {plan.origin}"
    click.echo(printable(f"adopted {repo} as {plan.commit} ({origin})"))
    click.echo(f"  {counted(done.linked, 'file')} linked, {done.copied} copied, {done.present} there already")
    click.echo(printable(f"  {done.snapshot}"))
