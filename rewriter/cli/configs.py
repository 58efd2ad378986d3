"""The commands about configs: ``check`` diagnoses and changes nothing, ``rewrite`` edits, proves and writes."""

from __future__ import annotations

import ast
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from difflib import unified_diff
from io import StringIO
from typing import Any, Literal, get_args

import click

from rewriter.checkout import Selection, Target, find_root
from rewriter.cli.output import FOUND, Failure, counter, fail, print_lines, warn
from rewriter.cli.run import Run, absolute_directory, convert_each, flag, repeatable, scripts_option, shared
from rewriter.decide import plan as planning
from rewriter.decide.request import Request
from rewriter.edit.literals import EditError, write_literal
from rewriter.files import show_path
from rewriter.model import CACHE_DIR, FileEdit, Plan
from rewriter.report import FORMATS, text
from rewriter.words import printable


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
    run.add_plan(plan, request, checking=True)
    fixes: tuple[FileEdit, ...] = ()
    if run.output_format == "sarif" and request.keys_possible:
        loaders = planning.Loaders(run.loaders.opensora_source)
        fixes = planning.rewrite(targets, replace(request, checking=False), loaders).edits
    run.finish(text.summarize_check(len(targets), run.findings), plan=plan, fixes=fixes)


# --- rewrite ---------------------------------------------------------------------------------------

Resolve = Literal["auto", "always", "never"]


def _parse_keyword(given: str) -> tuple[str, str]:
    """``COMPONENT.KEY``."""
    name, _, key = given.strip().rpartition(".")
    if not (key.isidentifier() and name.isidentifier()):
        raise click.BadParameter(f"{given!r} is not COMPONENT.KEY (for example vae.from_pretrained)")
    return name, key


def _parse_assignment(given: str) -> tuple[str, str, object]:
    """``COMPONENT.KEY=VALUE``; VALUE a Python literal, else a string. A ``cache_dir`` is made absolute."""
    target, equals, written = given.partition("=")
    if not equals:
        raise click.BadParameter(f"{given!r} has no value (COMPONENT.KEY=VALUE)")
    name, key = _parse_keyword(target)
    value: object = written
    try:
        value = ast.literal_eval(written)
        write_literal(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        word = written.strip()
        if word.lower() in ("true", "false"):  # any string is true to a loader
            message = f"{word} would be a string: give {word.capitalize()}, or '\"{word}\"' if the string is meant"
            raise click.BadParameter(message) from None
    except EditError as error:
        raise click.BadParameter(f"{given}: {error.message}") from None
    is_directory = key == CACHE_DIR and isinstance(value, str)
    return name, key, absolute_directory(None, None, str(value)) if is_directory else value


_SET: dict[str, Any] = {"metavar": "COMPONENT.KEY=VALUE", "help": "Another keyword (repeatable)."}
_UNSET: dict[str, Any] = {"metavar": "COMPONENT.KEY", "help": "Take a keyword away (repeatable)."}
_DEFAULT: dict[str, Any] = {"metavar": "DIR", "help": "Default of the cache_dir parameter that loaders get."}
_RESOLVE: dict[str, Any] = {"type": click.Choice(get_args(Resolve)), "default": "auto", "show_default": True}


@click.command()
@shared(cache=True, formats=FORMATS)
@repeatable("--set", "sets", callback=convert_each(_parse_assignment), **_SET)
@repeatable("--unset", "unsets", callback=convert_each(_parse_keyword), **_UNSET)
@flag("--diff", help="Print a unified diff, write nothing.")
@flag("--check", "only_check", help="Say what would change, write nothing.")
@flag("--force", help="Set components whose loader is in the way too, with a warning.")
@flag("--no-source", help="Never edit loaders; refuse components that need it.")
@scripts_option
@click.option("--source-default", callback=absolute_directory, **_DEFAULT)
@click.option("--resolve", help="Let mmengine load every config before and after.", **_RESOLVE)
@flag("--no-resolve", help="The same as --resolve never.")
@click.option("--python", metavar="EXE", help="Interpreter that has mmengine.")
@click.option("--stdin-filename", metavar="PATH", help="The path of the config on standard input (PATH -).")
def rewrite(
    run: Run, diff: bool, only_check: bool, scripts: bool, python: str | None, stdin_filename: str | None, **given: Any
) -> None:
    """Add or replace cache_dir= (and other keywords) in configs, and thread it through the loaders.

    Nothing is written unless the whole result is proved: the new files are read again, and mmengine (where it is
    found) resolves old and new to dicts that differ in the requested keys only.

    \b
    Examples:
      opensora-rewriter rewrite . --cache-dir ~/.cache/huggingface/hub
      opensora-rewriter rewrite . --all-configs --cache-dir /models/hf/hub --local-files-only
      opensora-rewriter rewrite configs/opensora-v1-3 --set vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3
      opensora-rewriter rewrite . --all-configs --unset vae.cache_dir --unset text_encoder.cache_dir
    """
    stdin, would = "-" in run.paths, diff or only_check
    resolve, no_resolve, no_source = (given.pop(name) for name in ("resolve", "no_resolve", "no_source"))
    request = run.make_request(edit_source=not (no_source or stdin), **given)
    _check_request(request, scripts)
    overlay = _read_stdin(run, stdin_filename) if stdin or stdin_filename is not None else {}
    if not stdin:
        run.select(scripts=scripts)
    plan = _make_plan(run, request, "never" if no_resolve else resolve, python, overlay, scripts=scripts)
    run.add_plan(plan, request, python)
    code = FOUND if would and plan.edits else run.exit_code
    changes = _format_diff(plan.edits, run.cwd) if diff else text.format_edits(plan, run.cwd, would=would)
    if stdin:
        print_lines(changes if diff else ())
        click.echo(b"" if would else plan.results[0].new or overlay[plan.results[0].path], nl=False)
        run.print_findings(err=True)
        raise SystemExit(code)
    with nullcontext() if would else _commit(plan, run.loaders.folders(), code):
        summary = text.summarize_rewrite(plan, run.findings, would=would)
        before = changes if diff or not run.quiet else ()
        run.finish(summary, code=code, plan=plan, fixes=plan.edits, before=before, err=diff)


def _check_request(request: Request, scripts: bool) -> None:
    """Refuse a request for nothing or for opposites; warn of a directory that is missing or is no cache."""
    from rewriter.verify.directories import check_directory

    if not (request.keys_possible or request.sets or request.unsets):
        raise click.UsageError("nothing to do: give --cache-dir, --local-files-only, --set or --unset")
    if scripts and request.cache_dir is None:
        raise click.UsageError("--scripts needs --cache-dir DIR")
    for name, key in {(name, key) for name, key, _ in request.sets} & set(request.unsets):
        raise click.UsageError(f"--set and --unset both name {name}.{key}")
    places = [request.cache_dir, *(path for _, path in request.cache_dirs)]
    for place in filter(None, dict.fromkeys(places)):
        if os.path.isfile(place):
            fail(f"{place} is a file, not a cache directory", "nothing was written; name a directory")
        if trouble := check_directory(place):
            warn(trouble.message, trouble.remedy)


def _read_stdin(run: Run, filename: str | None) -> dict[str, bytes]:
    """Standard input as the bytes of the only config of the run."""
    if run.paths != ("-",) or filename is None:
        raise click.UsageError("PATH - must be the only PATH and goes with --stdin-filename PATH")
    path = os.path.abspath(filename)
    run.selection = Selection((Target(path, find_root(os.path.dirname(path)), True),))
    return {path: sys.stdin.buffer.read()}


def _make_plan(
    run: Run, request: Request, resolve: Resolve, python: str | None, overlay: dict[str, bytes], *, scripts: bool
) -> Plan:
    """Everything up to the proof by mmengine, scripts included; a failed one ends the run."""
    from rewriter.decide.scripts import edit_calls, report_calls
    from rewriter.edit import mmengine

    targets = run.selection.targets
    try:
        with counter("reading and editing", len(targets), quiet=run.quiet) as tick:
            plan = planning.rewrite(targets, request, run.loaders, overlay=overlay, progress=tick)
        plan = mmengine.prove(plan, mode=resolve, python=python, drop=planning.drop)
    except mmengine.MmengineError as error:
        fail(error.message, error.remedy)
    calls = run.find_script_calls() if scripts else []
    edits = edit_calls(calls, request.cache_dir or "")
    edited = {edit.path for edit in edits}
    left = report_calls([call for call in calls if call.path not in edited or not call.editable])
    return plan._replace(sources=(*plan.sources, *edits), findings=(*plan.findings, *left))


@contextmanager
def _commit(plan: Plan, folders: set[str], code: int) -> Iterator[None]:
    """Clean up after a run that was cut off, write everything or nothing, and let it be reported.

    ``folders``: of loader sources. That run may have edited more of them than this one. Once everything is written an
    interrupt would undo nothing, only hide the result from the user: it is ignored. ``code``: see :meth:`Run.finish`.
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
            yield
        except (OSError, Failure) as error:
            if not plan.edits or isinstance(error, BrokenPipeError):
                raise
            reason = error.strerror if isinstance(error, OSError) else error.message
            Failure(f"the files were written, but not the report: {reason}").show()
            raise SystemExit(code) from None
        finally:
            held[:] = [number for number in held if number != signal.SIGINT]


def _format_diff(edits: Iterable[FileEdit], cwd: str) -> Iterator[str]:
    """A unified diff that `patch -p0` and `git apply -p0` take, line ends kept."""
    colors = {"@": "cyan", "+": "green", "-": "red"}
    for edit in edits:
        name = printable(show_path(edit.path, cwd))
        # lines as patch and git split them: at line feeds only, not at a form feed or a lone carriage return
        old, new = (list(StringIO(each.decode(errors="surrogateescape"), "\n")) for each in (edit.old, edit.new))
        for line in unified_diff(old, new, name, name):
            shown = line[:-1] if line.endswith("\n") else line + "\n\\ No newline at end of file"
            color = None if line.startswith(("+++", "---")) else colors.get(line[0])
            yield click.style(shown, fg=color) if color else shown
