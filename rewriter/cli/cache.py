"""The commands about whole caches: ``download``, ``lock`` and ``adopt``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

import click

from rewriter.cli.output import FOUND, bar, fail, print_lines, warn, write_text
from rewriter.cli.run import Run, directory_option, file_option, flag, repeatable, shared
from rewriter.cli.trace import collect_needs
from rewriter.files import Unreadable, read_bytes, show_path
from rewriter.model import Component
from rewriter.settings import make_absolute
from rewriter.verify import adopt as adopting
from rewriter.verify import download as downloading
from rewriter.verify import lock as locking
from rewriter.verify.cache import CacheReport, inspect_cache, report_needs
from rewriter.verify.directories import COMMIT
from rewriter.words import counted, human_size, printable


def read_lock(path: str | None) -> locking.Lock | None:
    """The lock at ``path`` (None: there is none); one that is missing or broken ends the run with exit code 2."""
    try:
        return None if path is None else locking.read_lock(read_bytes(path).decode())
    except (Unreadable, ValueError) as error:
        fail(f"{path}: {error}", "opensora-rewriter lock writes a new one")


def _parse_revision(given: str) -> tuple[str, str]:
    repo_id, _, commit = given.partition("=")
    if not (repo_id and COMMIT.fullmatch(commit)):
        raise click.BadParameter(f"{given!r} is not REPO=SHA (40 hex digits)")
    return repo_id, commit


@click.command()
@shared(cache=True, formats=("full", "json"))
@repeatable("--revision", "revisions", type=_parse_revision, metavar="REPO=SHA", help="A commit to fetch (repeatable).")
@flag("--dry-run", help="Print files, sizes and the `hf download` commands; fetch nothing.")
@click.option("--lock", "lock_path", metavar="FILE", help="Fetch the commits of this lock, and no others.")
@file_option("--write-lock", "new_lock", help="Write a lock of what the cache holds afterwards.")
def download(
    run: Run, revisions: tuple[tuple[str, str], ...], dry_run: bool, lock_path: str | None, new_lock: str | None
) -> None:
    """Fetch into the cache the files that the selected components (default: all) will request, and nothing else.

    The directory is that of --cache-dir, else of the config, else of the environment. Needs a network and the extra
    [cache]; HF_TOKEN and HF_ENDPOINT are used. Interrupted, the next run goes on.

    \b
    Examples:
      opensora-rewriter download . --cache-dir /models/hf/hub --dry-run
      opensora-rewriter download . --component vae --component text_encoder --cache-dir /models/hf/hub
      opensora-rewriter download . --lock opensora-models.lock
    """
    known = read_lock(lock_path)
    run.select()
    request = run.make_request()

    def choose_directory(component: Component) -> str | None:
        return next((found for key in reversed(component.keys) if (found := request.dir_for(key))), None)

    _, needs, _ = collect_needs(run, choose=choose_directory)
    try:
        repos = downloading.plan_download(needs, known, dict(revisions))
        run.say(*_describe_plan([repo for repo in repos if repo.commit], dry_run=dry_run))
        repos = repos if dry_run else downloading.fetch(repos)
    except downloading.DownloadError as error:
        fail(*error.args)
    run.findings += [finding for repo in repos for finding in report_needs(repo.trouble, repo.needs)]
    found = [repo for repo in repos if repo.commit]
    if not dry_run:
        fetched = [need for repo in found for need in repo.needs]
        inspected = inspect_cache(fetched, hash="unnamed" if new_lock is not None else False)
        run.findings += inspected.findings
        if new_lock is not None and not run.exit_code:
            _write_lock(new_lock, inspected, run.root)
    if run.output_format == "json":
        click.echo(json.dumps(_make_json(run, found), indent=2))
        raise SystemExit(run.exit_code)
    size = f"{human_size(sum(repo.missing_bytes for repo in found))} {'to fetch' if dry_run else 'needed'}"
    run.finish([f"download {counted(len(found), 'repo')}, {size}: {counted(run.count_errors(), 'error')}"])


def _describe_plan(repos: Sequence[downloading.RepoDownload], *, dry_run: bool) -> Iterator[str]:
    """A line a repo; for a dry run its files, and the commands that fetch the same."""
    for repo in repos:
        state = "is there already" if repo.complete else f"{human_size(repo.missing_bytes)} to fetch"
        yield f"{repo.repo_id} at {repo.commit} ({counted(len(repo.files), 'file')}) into {repo.cache_dir}: {state}"
        for file in repo.files if dry_run else ():
            yield f"  {human_size(file.size):>9}  {file.name}{'  (there already)' if file.present else ''}"
    yield from (repo.command for repo in repos if dry_run)


def _make_json(run: Run, repos: Sequence[downloading.RepoDownload]) -> dict[str, object]:
    from rewriter.report.json import describe_findings

    listed = [
        {name: getattr(repo, name) for name in ("repo_id", "commit", "cache_dir", "complete", "command")}
        | {"revision": repo.revision or "main", "files": [file._asdict() for file in repo.files]}
        for repo in repos
    ]
    findings = [each.model_dump(exclude={"column"}) for each in describe_findings(run.findings, run.cwd)]
    return {"schema_version": 1, "repos": listed, "findings": findings}


@click.command()
@shared()
@file_option("--output-file", "lock_path", help="The lock to write (default: in the checkout).")
def lock(run: Run, lock_path: str | None) -> None:
    """Write opensora-models.lock (TOML): each repo needed, its commit, each file's size and hash, and who needs it.

    \b
    Examples:
      opensora-rewriter lock . --all-configs
      opensora-rewriter verify . --all-configs --lock opensora-models.lock --hash
    """
    run.select()
    _, needs, _ = collect_needs(run)
    with bar("hashing", quiet=run.quiet) as progress:
        inspected = inspect_cache(needs, hash="unnamed", progress=progress)
    run.findings += inspected.findings
    run.print_findings(err=True)
    if any(finding.code[:4] == "OSR1" and finding.severity == "error" for finding in run.findings):
        fail("the cache does not hold everything; no lock was written", "cure the findings above, then lock again")
    path = os.path.abspath(lock_path or os.path.join(run.root or run.cwd, locking.LOCK_NAME))
    state = "wrote" if _write_lock(path, inspected, run.root) else "unchanged:"
    run.say(f"{state} {show_path(path, run.cwd)} ({counted(len({need.repo_id for need in needs}), 'repo')})")
    unsure = any(finding.code == "OSR007" for finding in run.findings)  # as a warning, too
    if unsure:
        warn("the lock may lack repos, since a loader could not be followed (OSR007)")
    raise SystemExit(FOUND if unsure else run.exit_code)


def _write_lock(path: str, inspected: CacheReport, root: str | None) -> bool:
    """Write a lock; False where the file has this text already. Weights that no lock can hold end the run."""
    try:
        return write_text(path, locking.write_lock(inspected, root))
    except ValueError as error:
        fail(f"no lock was written: {error}")


@click.command()
@click.argument("source", metavar="SRC", type=make_absolute)
@click.option("--repo", required=True, metavar="ORG/NAME", help="The repo id that loaders request.")
@directory_option("--cache-dir", required=True, help="The hub cache to put it in.")
@click.option("--revision", metavar="SHA", help="The commit (40 hex digits) that SRC is known to be.")
@click.option("--copy", "mode", flag_value="copy", help="Copy the files.")
@click.option("--link", "mode", flag_value="link", help="Hard links only; fail where the file system allows none.")
@flag("--replace-ref", "replace", help="Let refs/main move on from another commit.")
@flag("-q", "--quiet", help="Only errors.")
def adopt(
    source: str, repo: str, cache_dir: str, revision: str | None, mode: adopting.Mode | None, replace: bool, quiet: bool
) -> None:
    """Put SRC, a flat download or a git clone, into the cache DIR as models--ORG--NAME.

    Files are hard-linked where possible, else copied. The commit is that of the clone's HEAD or of the download's own
    metadata, else a synthetic one made of the files' hashes. Run again, it changes nothing.

    \b
    Examples:
      opensora-rewriter adopt ~/downloads/t5-v1_1-xxl --repo DeepFloyd/t5-v1_1-xxl --cache-dir /models/hf/hub
      opensora-rewriter adopt ./OpenSora-VAE-v1.2 --repo hpcai-tech/OpenSora-VAE-v1.2 --cache-dir /models/hf/hub --copy
    """
    try:
        with bar("adopting", quiet=quiet) as tick:
            done = adopting.adopt_folder(source, repo, cache_dir, revision, mode or "auto", replace, tick)
    except adopting.AdoptError as error:
        fail(str(error))
    if done.unfinished:
        warn(f"an unfinished download is in {source}, and files may be missing: {', '.join(done.unfinished[:5])}")
    adopted = f"adopted {repo} as {done.commit} ({done.origin})"
    placed = f"{counted(done.linked, 'file')} linked, {done.copied} copied, {done.present} there already"
    print_lines(map(printable, () if quiet else (adopted, f"  {placed}", f"  {done.snapshot}")))
