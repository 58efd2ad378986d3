"""From options to a run: the selected files, the loaders, the request, and the findings that are to be shown."""

from __future__ import annotations

import ast
import difflib
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rewriter import __version__, checkout, report
from rewriter.cli.options import Options
from rewriter.cli.output import fail, protect_files, warn, write_text
from rewriter.decide.plan import Loaders
from rewriter.decide.request import DEFAULT_COMPONENTS, Request
from rewriter.model import CACHE_DIR, FileEdit, FileResult, Finding, Note, Plan
from rewriter.settings import COMMAND_LINE, make_absolute
from rewriter.words import quote_word

if TYPE_CHECKING:
    from rewriter.read.scripts import ScriptCall
    from rewriter.verify.lock import Lock


def select_files(options: Options, *, scripts: bool = False) -> checkout.Selection:
    """The files of the run; no file found, or a path that does not exist, ends it with exit code 2.

    ``scripts``: a named file outside of config folders is a script, and there may be no config at all.
    """
    settings = options.settings
    try:
        selection = checkout.select(
            options.paths,
            all_configs=settings.all_configs,
            include=settings.include,
            exclude=settings.exclude,
            cwd=os.getcwd(),
        )
    except checkout.NoSuchPath as error:
        fail(str(error))
    if scripts:
        configs = tuple(each for each in selection.targets if not (each.named and _is_script(each.path)))
        selection = replace(selection, targets=configs)
    if not selection.targets and not scripts:
        if selection.findings:
            first = selection.findings[0]
            fail(f"{first.path}: {first.message}", first.remedy)
        fail(
            f"no config file found in {', '.join(options.paths or ('.',))}",
            "name a checkout, one of its config folders (configs/, config/), or config files",
        )
    if options.output_file is not None:
        protect_sources(options, selection, options.output_file)
    return selection


def _is_script(path: str) -> bool:
    return not any(name in path.split(os.sep) for name in checkout.CONFIG_FOLDERS)


def find_script_calls(options: Options) -> list[ScriptCall]:
    """The Hub calls of the files of the run that are no configs."""
    from rewriter.decide import scripts
    from rewriter.read import scripts as reading

    paths = [os.path.abspath(path) for path in options.paths or (".",)]
    calls = scripts.find_calls(path for path in paths if os.path.isdir(path))
    return [*calls, *reading.find_script_calls([path for path in paths if os.path.isfile(path) and _is_script(path)])]


def protect_sources(options: Options, selection: checkout.Selection, output_file: str) -> None:
    """End the run where its report would replace a config or a loader."""
    roots = {target.root for target in selection.targets if target.root is not None}
    folders = [folder for root in roots for folder in checkout.find_config_folders(root)]
    folders += [package for root in roots for package in checkout.find_packages(root)]
    if options.settings.opensora_source is not None:
        folders.append(os.path.expanduser(options.settings.opensora_source))
    protect_files(output_file, [target.path for target in selection.targets], folders)


def make_loaders(options: Options) -> Loaders:
    """The loaders of the run; ``--opensora-source`` names a checkout or a package."""
    source = options.settings.opensora_source
    if source is None:
        return Loaders()
    folder = os.path.abspath(os.path.expanduser(source))
    if not checkout.find_packages(folder):
        fail(f"--opensora-source {source} holds no package with loaders", "name the root of an Open-Sora checkout")
    return Loaders(folder)


def make_request(options: Options, sets: Sequence[str] = (), unsets: Sequence[str] = ()) -> Request:
    """The part of a request that ``check`` and ``rewrite`` share."""
    for name in options.components:
        if not name.isidentifier():
            raise click.UsageError(f"--component {name!r} is not an identifier")
    settings = options.settings
    request = Request(
        components=options.components,
        all_components=options.all_components,
        cache_dir=settings.cache_dir,
        cache_dirs=settings.cache_dirs,
        sets=tuple(parse_set(text) for text in sets),
        unsets=tuple(parse_key(text, "--unset") for text in unsets),
        local_files_only=settings.local_files_only,
    )
    both = {(name, key) for name, key, _ in request.sets} & set(request.unsets)
    if both:
        name, key = min(both)
        raise click.UsageError(f"--set and --unset both name {name}.{key}")
    return request


def parse_key(text: str, option: str) -> tuple[str, str]:
    """``COMPONENT.KEY`` of ``--set`` and ``--unset``."""
    name, dot, key = text.strip().rpartition(".")
    if not dot or not key.isidentifier() or not name.isidentifier():
        raise click.UsageError(f"{option} {text!r} is not COMPONENT.KEY (for example vae.from_pretrained)")
    return name, key


def parse_set(text: str) -> tuple[str, str, object]:
    """``COMPONENT.KEY=VALUE``; VALUE a Python literal, else a string. A ``cache_dir`` is made absolute."""
    target, equals, written = text.partition("=")
    if not equals:
        raise click.UsageError(f"--set {text!r} has no value (COMPONENT.KEY=VALUE)")
    name, key = parse_key(target, "--set")
    value = _parse_value(name, key, written)
    if key == CACHE_DIR and isinstance(value, str):
        value = absolute_directory(value, f"--set {name}.{key}")
    return name, key, value


def _parse_value(name: str, key: str, written: str) -> object:
    try:
        value = ast.literal_eval(written)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if "\0" in written:
            raise click.UsageError(f"--set {name}.{key} holds a NUL character") from None
        word = written.strip().capitalize()
        if word in ("True", "False"):  # any string is true to a loader
            raise click.UsageError(
                f"--set {name}.{key}={written} would write a string: give {word}, or '\"{written.strip()}\"' if the "
                "string is meant"
            ) from None
        return written
    if not isinstance(value, str):
        from rewriter.edit.elements import EditError
        from rewriter.edit.literals import write_literal

        try:
            write_literal(value)
        except EditError as error:
            raise click.UsageError(f"--set {name}.{key}={written}: {error.message}") from None
    return value


def absolute_directory(path: str, option: str) -> str:
    """``~`` and relative paths made absolute, normalised, links kept."""
    try:
        return make_absolute(path, os.getcwd())
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def warn_of_absent_components(options: Options, request: Request, results: Sequence[FileResult]) -> None:
    """Warn of components that the command line names and no config of the run has."""
    present = {decision.component.name for result in results for decision in result.decisions}
    explicit = options.components if options.settings.origins.get("components") == COMMAND_LINE else ()
    for name in sorted({*request.named, *explicit} - present):
        near = difflib.get_close_matches(name, {*present, *DEFAULT_COMPONENTS}, 1)
        warn(f"no component `{name}` in these configs", f"did you mean `{near[0]}`?" if near else "")


def hide_findings(
    options: Options, findings: Iterable[Finding], results: Sequence[FileResult] = (), *, report_unused: bool = False
) -> list[Finding]:
    """The findings that neither a comment nor the settings hide; with ``report_unused``, idle comments too."""
    settings = options.settings
    found = list(findings)
    if not (settings.ignore or settings.per_file_ignores or any(result.ignores for result in results)):
        return found
    from rewriter.decide import ignores

    kept, unused = ignores.hide_findings(
        found,
        results,
        ignores.IgnoreSettings(settings.ignore, settings.per_file_ignores, settings.folder),
        not_requested=ignores.codes_not_requested(
            cache_dir=settings.cache_dir is not None or bool(settings.cache_dirs),
            local_files_only=settings.local_files_only,
        ),
    )
    return [*kept, *unused] if report_unused else kept


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether any finding is an error."""
    return any(finding.severity == "error" for finding in findings)


def emit_report(
    command: str,
    options: Options,
    findings: Iterable[Finding],
    *,
    exit_code: int,
    files: int,
    notes: Iterable[Note] = (),
    plan: Plan = report.NO_PLAN,
    fixes: Sequence[FileEdit] = (),
) -> bool:
    """Print the report, or write it to the requested file; False: the usual text is to be printed (too)."""
    if options.is_text:
        return False
    made = report.Report(
        command, __version__, os.getcwd(), exit_code, files, tuple(findings), tuple(notes), plan, tuple(fixes)
    )
    text = report.render(options.output_format, made, verbose=options.verbose, scope=describe_scope(options))
    if options.output_file is None:
        click.echo(text, nl=False)
        return True
    write_text(os.path.abspath(options.output_file), text)
    return False


def diagnose(
    selection: checkout.Selection, loaders: Loaders, names: Sequence[str] | None, *codes: str
) -> tuple[list[Finding], list[Note], Plan]:
    """The findings of ``codes`` that ``check`` has about the selected components, its notes, and all of it.

    ``names``: the components that are selected, None: all.
    """
    from rewriter.decide import plan as planning

    request = Request(components=tuple(names or DEFAULT_COMPONENTS), all_components=names is None, checking=True)
    plan = planning.check(selection.targets, request, loaders)
    found = [each for each in plan.all_findings if each.code in codes]
    # a path or a directory that is missing is a warning of `check`; the caches are inspected for themselves
    kept = [each for each in found if each.code == "OSR007" or each.severity == "error"]
    return kept, [*selection.notes, *plan.notes], plan


def add_findings(findings: Sequence[Finding], more: Iterable[Finding]) -> list[Finding]:
    """``findings``, and those of ``more`` about another component or of another code."""
    known = {(finding.path, finding.component, finding.code) for finding in findings}
    return [*findings, *(each for each in more if (each.path, each.component, each.code) not in known)]


def describe_scope(options: Options) -> str:
    """PATHs and selection options as a shell has them, for remedies that are about all files of the run."""
    settings = options.settings
    words = [quote_word(path) for path in options.paths] or ["."]
    words += ["--all-configs"] if settings.all_configs else []
    for option, values in (("--include", settings.include), ("--exclude", settings.exclude)):
        words += [f"{option} {quote_word(value)}" for value in values]
    return " ".join(words)


def find_common_root(selection: checkout.Selection) -> str | None:
    """The checkout of all files, or None."""
    roots = {target.root for target in selection.targets}
    return roots.pop() if len(roots) == 1 else None


def read_lock(path: str) -> Lock:
    """The lock at ``path``; one that is missing or broken ends the run with exit code 2."""
    from rewriter.verify import lock

    try:
        with io.TextIOWrapper(checkout.open_regular(path), encoding="utf-8") as file:
            return lock.read_lock(file.read())
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror or error}", "opensora-rewriter lock writes one")
    except UnicodeDecodeError as error:
        fail(f"{path} is not UTF-8: {error}", "opensora-rewriter lock writes a new one")
    except lock.LockError as error:
        line = f":{error.line}" if error.line else ""
        fail(f"{path}{line}: {error.message}", "opensora-rewriter lock writes a new one")
