"""The commands about configs: ``check`` diagnoses and changes nothing, ``rewrite`` edits, proves and writes."""

from __future__ import annotations

import ast
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from difflib import get_close_matches, unified_diff
from io import StringIO
from typing import Any

import click

from rewriter.checkout import Selection, Target, find_root
from rewriter.cli.output import Failure, counter, fail, print_lines, warn
from rewriter.cli.run import Run, choice, directory_option, flag, repeatable, scripts_option, shared
from rewriter.decide import plan as planning
from rewriter.decide.installed import report_installed
from rewriter.decide.request import DEFAULT_COMPONENTS, Request, split_keyword
from rewriter.files import show_path
from rewriter.model import CACHE_DIR, FileEdit, Plan
from rewriter.report import FORMATS, text
from rewriter.settings import COMMAND_LINE, make_absolute
from rewriter.words import counted, printable


@click.command()
@shared(cache=True, formats=FORMATS)
@flag("--must-exist", help="A local path that does not exist is an error.")
@scripts_option
def check(run: Run, must_exist: bool, scripts: bool) -> None:
    """Report the components that do not load from a local cache. Without --cache-dir any absolute directory will do.

    \b
    Examples:
      opensora-rewriter check                                   # the checkout around you
      opensora-rewriter check . --all-configs --cache-dir /models/hf/hub
      opensora-rewriter check . --output-format sarif --output-file opensora-rewriter.sarif
    """
    request = run.make_request(checking=True, must_exist=must_exist)
    run.select(scripts=scripts)
    targets = run.selection.targets
    with counter("reading", len(targets), quiet=run.quiet) as tick:
        plan = planning.check(targets, request, run.loaders, progress=tick)
    if scripts:
        from rewriter.decide.scripts import report_calls

        run.findings += report_calls(run.find_script_calls())
    _add_plan(run, plan, request)
    fixable = run.output_format == "sarif" and request.keys_possible
    fixes = planning.rewrite(targets, run.make_request(), run.loaders).edits if fixable else ()
    run.finish(text.summarize_check(len(targets), run.findings), plan, fixes)


def _add_plan(run: Run, plan: Plan, request: Request, python: str | None = None) -> None:
    """Add what a plan has to the run, and warn of components that the command line names and no config has."""
    present = {decision.component.name for result in plan.results for decision in result.decisions}
    given = run.settings.components if run.settings.origins.get("components") == COMMAND_LINE else ()
    for name in sorted({*request.named, *given} - present):
        near = get_close_matches(name, {*present, *DEFAULT_COMPONENTS}, 1)
        warn(f"no component `{name}` in these configs", f"did you mean `{near[0]}`?" if near else "")
    run.findings += [*plan.all_findings, *report_installed(plan, python)]
    run.notes += plan.notes
    run.hide_ignored(plan.results, report_unused=request.checking)


def _parse_value(given: str) -> tuple[str, str, object]:
    """``COMPONENT.KEY=VALUE``; VALUE a Python literal, else a string. A ``cache_dir`` is made absolute."""
    target, equals, written = given.partition("=")
    if not equals:
        raise ValueError(f"{given!r} has no value (COMPONENT.KEY=VALUE)")
    name, key = split_keyword(target)
    try:
        value = ast.literal_eval(written)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = written
        if written.strip().lower() in ("true", "false"):  # any string is true to a loader
            raise ValueError(f"{given!r}: write True or False, or quote it twice if a string is meant") from None
    if isinstance(value, str) and value.startswith("ORG/"):
        raise ValueError(f"{given!r}: ORG stands for the organisation of the repo; write its name")
    return name, key, make_absolute(value) if key == CACHE_DIR and isinstance(value, str) else value


@click.command()
@shared(cache=True, formats=FORMATS)
@repeatable("--set", "sets", metavar="COMPONENT.KEY=VALUE", type=_parse_value, help="Another keyword (repeatable).")
@repeatable("--unset", "unsets", metavar="COMPONENT.KEY", type=split_keyword, help="Take a keyword away (repeatable).")
@flag("--diff", help="Print a unified diff, write nothing.")
@flag("--check", "only_check", help="Say what would change, write nothing.")
@flag("--force", help="Set keywords in spite of the loader, with a warning.")
@flag("--no-source", help="Never edit loaders; refuse components that need it.")
@scripts_option
@directory_option("--source-default", help="Default of a loader's new cache_dir.")
@choice("--resolve", ("auto", "always", "never"), help="Let mmengine load every config before and after.")
@flag("--no-resolve", help="The same as --resolve never.")
@click.option("--python", metavar="EXE", help="Interpreter that has mmengine.")
@click.option("--stdin-filename", metavar="PATH", help="The path of the config on standard input (PATH -).")
def rewrite(
    run: Run, diff: bool, only_check: bool, scripts: bool, python: str | None, stdin_filename: str | None, **given: Any
) -> None:
    """Add or replace cache_dir= (and other keywords) in configs, and make loaders pass it on to their Hub calls.

    Nothing is written unless the whole result is proved: the new files are read again, and mmengine (where it is
    found) resolves old and new to dicts that differ in the requested keys only.

    \b
    Examples:
      opensora-rewriter rewrite . --cache-dir ~/.cache/huggingface/hub
      opensora-rewriter rewrite . --all-configs --cache-dir /models/hf/hub --local-files-only
      opensora-rewriter rewrite configs/opensora-v1-3 --set vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3
      opensora-rewriter rewrite . --all-configs --unset vae.cache_dir --unset text_encoder.cache_dir
    """
    from rewriter.edit import write
    from rewriter.verify.directories import check_directory

    stdin, would = "-" in run.paths, diff or only_check
    resolve, no_resolve, no_source = (given.pop(name) for name in ("resolve", "no_resolve", "no_source"))
    request = run.make_request(edit_source=not (no_source or stdin), **given)
    if not (request.keys_possible or request.sets or request.unsets):
        raise click.UsageError("nothing to do: give --cache-dir, --local-files-only, --set or --unset")
    for name, key in {(name, key) for name, key, _ in request.sets} & set(request.unsets):
        raise click.UsageError(f"--set and --unset both name {name}.{key}")
    for place in filter(None, dict.fromkeys([request.cache_dir, *(path for _, path in request.cache_dirs)])):
        if os.path.isfile(place):
            fail(f"{place} is a file, not a cache directory", "nothing was written; name a directory")
        if trouble := check_directory(place):
            warn(trouble.message, trouble.remedy)
    plan = _make_plan(run, request, stdin_filename, scripts, mode="never" if no_resolve else resolve, python=python)
    _add_plan(run, plan, request, python)
    run.would_change = bool(would and plan.edits)
    with write.held_signals() as held:
        if not (would or stdin):
            # a run that was cut off may have edited more loaders than this one
            traces = [each.trace for result in plan.results for each in result.decisions if each.trace is not None]
            paths = {result.path for result in plan.results}.union(*(trace.files for trace in traces))
            write.clean_leftovers(map(os.path.dirname, paths))
            try:
                write.commit(plan.edits)
            except write.WriteError as error:
                fail(str(error))
        try:
            if diff and run.shows_text:
                print_lines(_format_diff(plan.edits, run.cwd))
            elif stdin and run.shows_text:
                click.echo(b"" if would else plan.results[0].new or plan.results[0].old, nl=False)
            elif not (diff or stdin):
                run.say(*text.format_edits(plan, run.cwd, would=would))
            run.finish(() if stdin else text.summarize_rewrite(plan, would=would), plan, plan.edits, err=diff or stdin)
        except (OSError, Failure) as error:
            if would or stdin:
                raise
            warn(f"{counted(len(plan.edits), 'file')} written, but not the report: {error}")
            raise SystemExit(run.exit_code) from None
        finally:  # an interrupt would undo nothing now, only hide the result from the user
            held[:] = [number for number in held if number != signal.SIGINT]


def _make_plan(run: Run, request: Request, stdin_filename: str | None, scripts: bool, **how: Any) -> Plan:
    """Everything from the files to the proof by mmengine (which takes ``how``); a failed one ends the run."""
    from rewriter.decide.scripts import edit_calls, report_calls
    from rewriter.edit import mmengine

    overlay = {}
    if "-" not in run.paths and stdin_filename is None:
        run.select(scripts=scripts)
    elif run.paths != ("-",) or stdin_filename is None:
        raise click.UsageError("PATH - must be the only PATH and goes with --stdin-filename PATH")
    else:
        path = os.path.abspath(stdin_filename)
        run.selection = Selection((Target(path, find_root(os.path.dirname(path)), True),))
        overlay[path] = sys.stdin.buffer.read()
    targets = run.selection.targets
    try:
        with closing(mmengine.Prover(drop=planning.drop, **how)) as prover:
            with counter("reading and editing", len(targets), quiet=run.quiet) as tick:
                plan = planning.rewrite(targets, request, run.loaders, overlay, begin=prover.begin, progress=tick)
            plan = prover.prove(plan)
    except mmengine.MmengineError as error:
        fail(*error.args)
    calls = run.find_script_calls() if scripts else []
    edits = edit_calls(calls, request.cache_dir) if request.cache_dir else []
    edited = {edit.path for edit in edits}
    left = report_calls([call for call in calls if call.path not in edited or not call.editable])
    return plan._replace(sources=(*plan.sources, *edits), findings=(*plan.findings, *left))


def _format_diff(edits: Iterable[FileEdit], cwd: str) -> Iterator[str]:
    """A unified diff that `patch -p0` and `git apply -p0` take, line ends kept."""
    for edit in edits:
        name = printable(show_path(edit.path, cwd))
        # lines as patch and git split them: at line feeds only, not at a form feed
        old, new = (list(StringIO(each.decode(), "\n")) for each in (edit.old, edit.new))
        for line in unified_diff(old, new, name, name):
            shown = line[:-1] if line.endswith("\n") else line + "\n\\ No newline at end of file"
            yield click.style(shown, fg={"@": "cyan", "+": "green", "-": "red"}.get(line[0]))
