"""``opensora-rewriter rewrite``: decide, edit, prove, commit, report."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import unified_diff
from typing import TYPE_CHECKING, Literal

import click

from rewriter.checkout import Target, find_root
from rewriter.cli import run
from rewriter.cli.options import Options, scripts, shared
from rewriter.cli.output import (
    FOUND,
    UnwrittenError,
    fail,
    is_unwritable,
    print_error,
    print_lines,
    warn,
    write_bytes,
)
from rewriter.cli.progress import counter
from rewriter.decide.installed import report_installed
from rewriter.model import CACHE_DIR, FileEdit, Finding, Note, Plan
from rewriter.report import FORMATS, text
from rewriter.words import printable

if TYPE_CHECKING:
    from rewriter.decide.plan import Loaders
    from rewriter.decide.request import Request

EPILOG = """
\b
Examples:
  opensora-rewriter rewrite . --cache-dir ~/.cache/huggingface/hub
  opensora-rewriter rewrite . --all-configs --cache-dir /models/hf/hub --local-files-only
  opensora-rewriter rewrite configs/opensora-v1-2/inference/sample.py --cache-dir /models/hf/hub --diff
  opensora-rewriter rewrite configs/opensora-v1-3 --set vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3
  opensora-rewriter rewrite . --all-configs --unset vae.cache_dir --unset text_encoder.cache_dir
"""

Resolve = Literal["auto", "always", "never"]


@click.command("rewrite", epilog=EPILOG)
@shared(cache=True, formats=FORMATS)
@click.option("--set", "sets", multiple=True, metavar="COMPONENT.KEY=VALUE", help="Another keyword (repeatable).")
@click.option("--unset", "unsets", multiple=True, metavar="COMPONENT.KEY", help="Take a keyword away (repeatable).")
@click.option("--diff", is_flag=True, help="Print a unified diff, write nothing.")
@click.option("--check", "only_check", is_flag=True, help="Say what would change, write nothing.")
@click.option("--force", is_flag=True, help="Set components whose loader is in the way too, with a warning.")
@click.option("--no-source", is_flag=True, help="Never edit loaders; refuse components that need it.")
@scripts
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
@click.option("--stdin-filename", metavar="PATH", help="The path of the config on standard input (PATH -).")
def command(
    options: Options,
    sets: tuple[str, ...],
    unsets: tuple[str, ...],
    diff: bool,
    only_check: bool,
    force: bool,
    no_source: bool,
    scripts: bool,
    source_default: str | None,
    resolve: Resolve,
    no_resolve: bool,
    python: str | None,
    stdin_filename: str | None,
) -> None:
    """Add or replace cache_dir= (and other keywords) in configs, and thread it through the loaders.

    Nothing is written unless the whole result is proved: the new files are read again, and mmengine (where it is
    found) resolves old and new to dicts that differ in the requested keys only.
    """
    request = replace(
        run.make_request(options, sets, unsets),
        force=force,
        edit_source=not no_source,
        source_default=None if source_default is None else run.absolute_directory(source_default, "--source-default"),
    )
    if not (request.keys_possible or request.sets or request.unsets):
        raise click.UsageError("nothing to do: give --cache-dir, --local-files-only, --set or --unset")
    _check_directories(request)
    planner = _Planner(options, "never" if no_resolve else resolve, python)
    if "-" in options.paths:
        _filter(planner, request, stdin_filename, diff=diff, only_check=only_check)
        return
    if stdin_filename is not None:
        raise click.UsageError("--stdin-filename goes with PATH -")
    selection = run.select_files(options, scripts=scripts)
    plan = planner.make_plan(selection.targets, request)
    run.warn_of_absent_components(options, request, plan.results)
    plan = planner.add_scripts(plan, request) if scripts else plan
    found = [*selection.findings, *plan.all_findings, *report_installed(plan, python)]
    findings = run.hide_findings(options, found, plan.results)
    notes = [*selection.notes, *plan.notes]
    would = diff or only_check
    code = FOUND if run.has_errors(findings) or (would and plan.edits) else 0

    def report() -> None:
        emitted = run.emit_report(
            "rewrite",
            options,
            findings,
            exit_code=code,
            files=len(plan.results),
            notes=notes,
            plan=plan,
            fixes=plan.edits,
        )
        if not emitted:
            _print_report(options, plan, findings, notes, would=would, diff=diff)

    if would:
        report()
    else:
        _commit(plan, planner.loaders.folders(), report)
    raise SystemExit(code)


def _check_directories(request: Request) -> None:
    """Warn of a cache_dir that is missing, is HF_HOME, or is a model's own folder; one that is a file ends the run."""
    from rewriter.verify.directories import check_directory

    places = [request.cache_dir, *(path for _, path in request.cache_dirs)]
    sets = [value for _, key, value in request.sets if key == CACHE_DIR and isinstance(value, str)]
    for place in [*places, request.source_default, *sets]:
        if place is not None and os.path.exists(place) and not os.path.isdir(place):
            fail(f"{place} is a file, not a cache directory", "nothing was written; name a directory")
    for place in dict.fromkeys(places):
        for finding in check_directory(place) if place is not None else ():
            warn(finding.message, finding.remedy)


class _Planner:
    """From targets to a proved plan."""

    def __init__(self, options: Options, resolve: Resolve, python: str | None) -> None:
        self.options = options
        self.resolve: Resolve = resolve
        self.python = python
        self.loaders: Loaders = run.make_loaders(options)

    def make_plan(
        self, targets: Sequence[Target], request: Request, overlay: Mapping[str, bytes] | None = None
    ) -> Plan:
        """Everything up to the proof; a failed one ends the run."""
        from rewriter.decide import plan as planning
        from rewriter.edit import mmengine

        try:
            with counter("reading and editing", len(targets), quiet=self.options.quiet) as tick:
                plan = planning.rewrite(targets, request, self.loaders, overlay=overlay, progress=tick)
            return mmengine.prove(plan, mode=self.resolve, python=self.python, drop=planning.drop)
        except planning.ProofError as error:
            fail(f"{error.path}: {error.message}", f"nothing was written; {error.remedy}")
        except mmengine.MmengineError as error:
            fail(error.message, error.remedy)

    def add_scripts(self, plan: Plan, request: Request) -> Plan:
        """The plan with the edits of scripts, and warnings of the calls that are never edited."""
        from rewriter.decide import plan as planning
        from rewriter.decide import scripts

        if request.cache_dir is None:
            raise click.UsageError("--scripts needs --cache-dir DIR")
        calls = run.find_script_calls(self.options)
        try:
            edits = scripts.edit_calls(calls, request.cache_dir)
        except planning.ProofError as error:
            fail(f"{error.path}: {error.message}", f"nothing was written; {error.remedy}")
        left = scripts.report_calls([call for call in calls if call.path not in {edit.path for edit in edits}])
        left += scripts.report_calls([call for call in calls if not call.editable])
        return replace(plan, sources=(*plan.sources, *edits), findings=(*plan.findings, *dict.fromkeys(left)))


def _commit(plan: Plan, folders: set[str], report: Callable[[], None]) -> None:
    """Clean up after a run that was cut off, write everything or nothing, and report it.

    ``folders``: of loader sources. That run may have edited more of them than this one. Once everything is written an
    interrupt would undo nothing, only hide the result from the user: it is ignored.
    """
    from rewriter.edit import write

    paths = [result.path for result in plan.results] + [edit.path for edit in plan.edits]
    write.clean_leftovers(folders | {os.path.dirname(path) for path in paths})
    with write.held_signals() as held:
        try:
            write.commit(plan.edits)
        except write.WriteError as error:
            fail(str(error))
        try:
            report()
        except (OSError, UnwrittenError) as error:
            _explain_unreported(plan, error)
        finally:
            held[:] = [number for number in held if number != signal.SIGINT]


def _explain_unreported(plan: Plan, error: OSError | UnwrittenError) -> None:
    """The report could not be written, but the files are: that does not make it a failed run."""
    if (isinstance(error, OSError) and not is_unwritable(error)) or not plan.edits:
        raise error
    reason = f"the output cannot be written: {error.strerror}" if isinstance(error, OSError) else error.message
    print_error(f"the files were written, but not the report: {reason}")


def _print_report(
    options: Options, plan: Plan, findings: Sequence[Finding], notes: Sequence[Note], *, would: bool, diff: bool
) -> None:
    """The files that were (or would be) written, what was refused, a summary. With a diff it goes to standard error."""
    cwd = os.getcwd()
    if diff:
        _print_diff(plan.edits, cwd)
    elif not options.quiet:
        print_lines(text.format_edits(plan, cwd, would=would))
    if options.verbose:
        print_lines(text.format_decisions(plan.results, cwd), err=diff)
    print_lines(text.format_full(findings, cwd, verbose=options.verbose, scope=run.describe_scope(options)), err=diff)
    if not options.quiet:
        print_lines(text.format_notes(notes, cwd), err=True)
        print_lines(
            text.summarize_rewrite(plan, findings, cwd, would=would, scope=run.describe_scope(options)), err=diff
        )


def _filter(planner: _Planner, request: Request, stdin_filename: str | None, *, diff: bool, only_check: bool) -> None:
    """Standard input to standard output; loaders are read, never edited.

    With ``diff`` the difference is printed in place of the text, with ``only_check`` nothing; both exit 1 for a change.
    """
    if planner.options.paths != ("-",) or stdin_filename is None:
        raise click.UsageError("PATH - must be the only PATH and needs --stdin-filename PATH")
    path = os.path.abspath(stdin_filename)
    data = sys.stdin.buffer.read()
    target = Target(path, find_root(os.path.dirname(path)), True)
    plan = planner.make_plan([target], replace(request, edit_source=False), {path: data})
    new = plan.results[0].new
    if diff:
        _print_diff(plan.config_edits, os.getcwd())
    elif not only_check:
        write_bytes(data if new is None else new)
    print_lines(text.format_full(plan.all_findings, os.getcwd()), err=True)
    if run.has_errors(plan.all_findings) or ((diff or only_check) and plan.config_edits):
        raise SystemExit(FOUND)


# --- the diff ------------------------------------------------------------------------------------


def _print_diff(edits: Sequence[FileEdit], cwd: str) -> None:
    for line in _format_diff(edits, cwd):
        click.echo(_color_line(line), nl=False)


def _format_diff(edits: Sequence[FileEdit], cwd: str) -> Iterator[str]:
    """A unified diff that `patch -p0` and `git apply -p0` take, line ends kept."""
    for edit in edits:
        name = printable(text.show_path(edit.path, cwd))
        old, new = (_split_lines(data) for data in (edit.old, edit.new))
        for line in unified_diff(old, new, name, name):
            yield line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"


def _split_lines(data: bytes) -> list[str]:
    """Lines as patch and git split them: at line feeds only, not at a form feed or a lone carriage return."""
    lines = [line + "\n" for line in data.decode("utf-8", "surrogateescape").split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _color_line(line: str) -> str:
    if line.startswith(("+++", "---")):
        return click.style(line, bold=True)
    color = {"@": "cyan", "+": "green", "-": "red"}.get(line[0])
    return click.style(line, fg=color) if color else line
