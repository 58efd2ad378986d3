"""``opensora-rewriter rewrite``: decide, edit, prove, commit, report."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from rewriter.cli import common, unwritable

if TYPE_CHECKING:
    from rewriter.checkout import Target
    from rewriter.plan import Plan
    from rewriter.request import Request
    from rewriter.types import FileEdit, Finding

EPILOG = """
\b
Examples:
  opensora-rewriter rewrite . --cache-dir ~/.cache/huggingface/hub
  opensora-rewriter rewrite . --all-configs --cache-dir /models/hf/hub --local-files-only
  opensora-rewriter rewrite configs/opensora-v1-2/inference/sample.py --cache-dir /models/hf/hub --diff
  opensora-rewriter rewrite configs/opensora-v1-3 --set vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3
  opensora-rewriter rewrite . --all-configs --unset vae.cache_dir --unset text_encoder.cache_dir
"""


@click.command("rewrite", epilog=EPILOG)
@common.shared(cache=True, output=True)
@click.option("--set", "sets", multiple=True, metavar="COMPONENT.KEY=VALUE", help="Another keyword (repeatable).")
@click.option("--unset", "unsets", multiple=True, metavar="COMPONENT.KEY", help="Take a keyword away (repeatable).")
@click.option("--diff", is_flag=True, help="Print a unified diff, write nothing.")
@click.option("--check", "only_check", is_flag=True, help="Say what would change, write nothing.")
@click.option("--force", is_flag=True, help="Set OSR004 and OSR006 components too, with a warning.")
@click.option("--no-source", is_flag=True, help="Never edit loaders; refuse what would need it.")
@click.option("--source-default", metavar="DIR", help="Default of the cache_dir parameter that loaders get.")
@click.option(
    "--resolve",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Let mmengine load every config before and after.",
)
@click.option("--no-resolve", is_flag=True, help="The same as --resolve never.")
@click.option("--python", metavar="EXE", help="Interpreter that has mmengine.")
@click.option("--stdin-filename", metavar="PATH", help="Where the config of standard input (PATH -) belongs.")
def command(
    chosen: common.Chosen, sets: tuple[str, ...], unsets: tuple[str, ...], diff: bool, only_check: bool, force: bool,
    no_source: bool, source_default: str | None, resolve: str, no_resolve: bool, python: str | None,
    stdin_filename: str | None,
) -> None:  # fmt: skip
    """Add or replace cache_dir= (and other keywords) in configs, and thread it through the loaders.

    Nothing is written unless the whole result is proved: the new files are read again, and mmengine (where it is
    found) resolves old and new to dicts that differ in the asked keys only.
    """
    gc.set_threshold(400_000, 50, 50)  # libcst alone makes a hundred thousand objects that stay
    from rewriter.frozen import replace

    request = replace(
        chosen.request(sets, unsets),
        force=force, edit_source=not no_source,
        source_default=common.absolute_dir(source_default, "--source-default") if source_default is not None else None,
    )  # fmt: skip
    if not (request.keys_possible or request.sets or request.unsets):
        raise click.UsageError("nothing to do: give --cache-dir, --local-files-only, --set or --unset")
    common.warn_about(request)
    run = _Run(request, chosen, "never" if no_resolve else resolve, python)
    if "-" in chosen.paths:
        _filter(run, stdin_filename, diff=diff, only_check=only_check)
        return
    if stdin_filename is not None:
        raise click.UsageError("--stdin-filename goes with PATH -")
    selection = chosen.select()
    would = diff or only_check
    plan = run.plan(selection.targets)
    chosen.warn_of_strangers(request, plan.results)
    findings = chosen.kept([*selection.findings, *plan.all_findings], plan.results)
    refused = any(finding.severity == "error" for finding in findings)
    code = common.FOUND if refused or (would and plan.edits) else 0

    def tell() -> None:
        if not _formatted(chosen, plan, findings, code):
            _report(chosen, plan, findings, would=would, diff=diff)

    if would:
        tell()
    else:
        _commit(plan, run.loaders.folders(), tell)
    raise SystemExit(code)


class _Run:
    """One run: from targets to a proved plan."""

    def __init__(self, request: Request, chosen: common.Chosen, resolve: str, python: str | None) -> None:
        self.request = request
        self.chosen = chosen
        self.resolve = resolve
        self.python = python
        self.loaders = chosen.loaders()

    def plan(self, targets: Sequence[Target], overlay: dict[str, bytes] | None = None) -> Plan:
        """Everything up to the proof; a failed one ends the run."""
        from rewriter import plan, prove
        from rewriter.cli.progress import counter
        from rewriter.parallel import processors

        try:
            with prove.Prover(self.resolve, self.python) as prover:
                with counter("reading and editing", len(targets), quiet=self.chosen.quiet) as tick:
                    made = plan.rewrite(
                        targets, self.request, self.loaders, overlay=overlay, progress=tick, processes=processors()
                    )
                return prover.prove(made)
        except plan.ProofError as error:
            common.fail(f"{error.path}: {error.message}", f"nothing was written; {error.remedy}")
        except prove.ResolveFailedError as error:
            common.fail(str(error), error.remedy)


def _commit(plan: Plan, read: set[str], tell: Callable[[], None]) -> None:
    """Clean up after a run that was cut off, write everything or nothing, and tell it.

    ``read``: folders of loader sources. That run may have edited more of them than this one.

    Once everything is written an interrupt would undo nothing, only keep the user from knowing: it counts no more.
    """
    from rewriter import writer

    places = [result.path for result in plan.results] + [edit.path for edit in plan.edits]
    writer.clean_leftovers(read | {os.path.dirname(path) for path in places})
    with writer.held_signals() as held:
        try:
            writer.commit(plan.edits)
        except writer.WriteError as error:
            common.fail(str(error))
        try:
            tell()
        except (OSError, common.UnwrittenError) as error:
            _untold(plan, error)
        finally:
            common.hear_no_interrupt()
            held[:] = [number for number in held if number != signal.SIGINT]


def _untold(plan: Plan, error: OSError | common.UnwrittenError) -> None:
    """The report could not be written, but the files are: that does not make it a failed run."""
    if (isinstance(error, OSError) and not unwritable(error)) or not plan.edits:
        raise error
    reason = f"the output cannot be written: {error.strerror}" if isinstance(error, OSError) else error.message
    common.tell_error(f"the files were written, but not the report: {reason}")


def _formatted(chosen: common.Chosen, plan: Plan, findings: Sequence[Finding], code: int) -> bool:
    """Tell the run in the format that was asked for; False: in the usual text."""
    if chosen.output_format == "full" and chosen.output_file is None:
        return False
    from rewriter import __version__, formats

    told = formats.of_plan("rewrite", plan, version=__version__, cwd=os.getcwd(), exit_code=code, findings=findings)
    return chosen.emit(told)


def _report(chosen: common.Chosen, plan: Plan, findings: Sequence[Finding], *, would: bool, diff: bool) -> None:
    """What was (or would be) written, what was refused, and a summary. Beside a diff it goes to standard error."""
    from rewriter import report

    cwd = os.getcwd()
    if diff:
        for line in _diff(plan.edits, cwd):
            click.echo(_coloured(line), nl=False)
    elif not chosen.quiet:
        for line in report.rewritten(plan, cwd, would=would):
            click.echo(line)
    if chosen.verbose:
        for line in report.verdicts(plan.results, cwd):
            click.echo(line, err=diff)
    for line in report.full(findings, cwd):
        click.echo(line, err=diff)
    if not chosen.quiet:
        for note in report.notes(plan, cwd):
            click.echo(f"note: {note}", err=True)
        for line in report.rewrite_summary(plan, findings, would=would):
            click.echo(line, err=diff)


def _diff(edits: tuple[FileEdit, ...], cwd: str) -> Iterator[str]:
    """A unified diff that `patch -p0` and `git apply -p0` take, line ends kept."""
    from difflib import unified_diff

    from rewriter.report import printable, shown

    for edit in edits:
        name = printable(shown(edit.path, cwd))
        # at line feeds only, as patch and git do: a form feed, or a lone carriage return, ends no line of theirs
        old, new = (_lines(data) for data in (edit.old, edit.new))
        for line in unified_diff(old, new, name, name):
            yield line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"


def _lines(data: bytes) -> list[str]:
    lines = [line + "\n" for line in data.decode("utf-8", "surrogateescape").split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _coloured(line: str) -> str:
    if line.startswith(("+++", "---")):
        return click.style(line, bold=True)
    if line.startswith("@@"):
        return click.style(line, fg="cyan")
    if line.startswith("+"):
        return click.style(line, fg="green")
    return click.style(line, fg="red") if line.startswith("-") else line


def _filter(run: _Run, stdin_filename: str | None, *, diff: bool, only_check: bool) -> None:
    """Standard input to standard output; loaders are read, never edited.

    With ``diff`` the difference goes there in place of the text, with ``only_check`` nothing; both exit 1 for a change.
    """
    from rewriter.checkout import Target, find_root
    from rewriter.frozen import replace

    if run.chosen.paths != ("-",) or stdin_filename is None:
        raise click.UsageError("PATH - stands alone and needs --stdin-filename PATH")
    path = os.path.abspath(stdin_filename)
    run.request = replace(run.request, edit_source=False)
    data = sys.stdin.buffer.read()
    plan = run.plan([Target(path, find_root(path), True)], overlay={path: data})
    result = plan.results[0]
    if diff:
        for line in _diff(plan.config_edits, os.getcwd()):
            click.echo(_coloured(line), nl=False)
    elif not only_check:
        sys.stdout.buffer.write(result.new if result.new is not None else data)
        sys.stdout.buffer.flush()
    from rewriter import report

    for line in report.full(plan.all_findings, os.getcwd()):
        click.echo(line, err=True)
    changes = (diff or only_check) and plan.config_edits
    if changes or any(finding.severity == "error" for finding in plan.all_findings):
        raise SystemExit(common.FOUND)
