"""A run from command line to exit code: its options and settings, files and loaders, findings and report."""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from rewriter import __version__, checkout
from rewriter import settings as configured
from rewriter.cli.output import FOUND, fail, print_lines, write_text
from rewriter.decide import ignores
from rewriter.decide import plan as planning
from rewriter.decide.request import DEFAULT_COMPONENTS, Request
from rewriter.files import show_path
from rewriter.model import FileEdit, FileResult, Finding, Note, Plan
from rewriter.report import FORMATS, Report, render, text
from rewriter.words import printable

if TYPE_CHECKING:
    from rewriter.read.scripts import ScriptCall


class Run:
    """A run: its shared options; once files are selected these; the findings and notes so far."""

    def __init__(self, command: str, options: dict[str, Any]) -> None:
        """Take the shared options out of ``options``; mistakes in settings end the run with exit code 2."""
        self.command, self.cwd = command, os.getcwd()
        self.paths: tuple[str, ...] = options.pop("paths")
        settings = read_settings(self.paths, options.pop("cache_dirs", ()), unset=bool(options.get("unsets")))
        own = {name: options.pop(name) for name in settings._fields if name in options}
        self.settings = configured.with_options(settings, own)
        self.all_components, self.quiet, self.verbose = map(options.pop, ("all_components", "quiet", "verbose"))
        self.output_format: str = options.pop("output_format", "full")
        self.output_file: str | None = options.pop("output_file", None)
        self.selection = checkout.Selection(())
        self.scripts: list[str] = []
        self.findings: list[Finding] = []
        self.notes: list[Note] = []
        self.would_change = False

    def make_request(self, **more: Any) -> Request:
        """What the shared options request, and ``more``."""
        given, components = self.settings, self.settings.components or DEFAULT_COMPONENTS
        more["local_files_only"] = given.local_files_only
        return Request(components, self.all_components, given.cache_dir, given.cache_dirs, **more)

    @functools.cached_property
    def loaders(self) -> planning.Loaders:
        """The loaders of the run; ``--opensora-source`` names a checkout or a package."""
        folder = self.settings.opensora_source
        if folder is not None and not checkout.find_packages(folder):
            fail(f"--opensora-source {folder} holds no package with loaders", "name the root of an Open-Sora checkout")
        return planning.Loaders(folder)

    @property
    def root(self) -> str | None:
        """The checkout of all files, or None."""
        roots = {target.root for target in self.selection.targets}
        return roots.pop() if len(roots) == 1 else None

    def select(self, *, scripts: bool = False) -> None:
        """Select the files, or end the run with exit code 2. ``scripts``: those named may be scripts."""
        options = {name: getattr(self.settings, name) for name in ("all_configs", "include", "exclude")}
        selection = checkout.select(self.paths, **options, cwd=self.cwd)
        if scripts:
            outside = set(checkout.CONFIG_FOLDERS).isdisjoint
            targets = selection.targets
            found = [t for t in targets if t.named and outside(show_path(t.path, t.root or self.cwd).split(os.sep))]
            self.scripts = [each.path for each in found]
            selection = selection._replace(targets=tuple(each for each in targets if each not in found))
        elif not (selection.targets or selection.findings):
            remedy = "name a checkout, one of its config folders (configs/, config/), or config files"
            fail(f"no config file found in {', '.join(self.paths or ('.',))}", remedy)
        self.selection = selection
        self.findings += selection.findings
        self.notes += selection.notes

    def find_script_calls(self) -> list[ScriptCall]:
        """The Hub calls of the files of the run that are no configs."""
        from rewriter.read.scripts import find_calls

        return find_calls([*filter(os.path.isdir, map(os.path.abspath, self.paths or (".",))), *self.scripts])

    def hide_ignored(self, results: Sequence[FileResult] = (), *, report_unused: bool = False) -> None:
        """Drop the findings that a comment or the settings hide; with ``report_unused``, report idle comments."""
        self.findings = ignores.hide_findings(self.findings, results, self.settings, report_unused=report_unused)

    def count_errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity == "error" for finding in dict.fromkeys(self.findings))

    @property
    def curable(self) -> tuple[Finding, ...]:
        """The findings; a command that is to cure one names the loaders that the run was given."""
        if (folder := self.settings.opensora_source) is None:
            return tuple(self.findings)
        option = f" --opensora-source {shlex.quote(folder)}"
        command = re.compile(r"\bopensora-rewriter (rewrite|trace|download|verify|lock)\b")
        return tuple(f._replace(remedy=command.sub(lambda m: m[0] + option, f.remedy)) for f in self.findings)

    @property
    def exit_code(self) -> int:
        """FOUND where any finding is an error, or ``rewrite`` would change something; else 0."""
        return FOUND if self.would_change or self.count_errors() else 0

    @property
    def shows_text(self) -> bool:
        """Whether the usual text is wanted on standard output."""
        return self.output_format == "full" or self.output_file is not None

    def say(self, *lines: str) -> None:
        """Print lines of the usual text that are no findings."""
        if self.shows_text and not self.quiet:
            print_lines(map(printable, lines))

    def print_findings(self, plan: Plan = text.NO_PLAN, *, err: bool = False) -> None:
        """Print findings (with ``--verbose`` decisions too), and notes on standard error."""
        if self.verbose:
            print_lines(text.format_decisions(plan.results, self.cwd), err=err)
        print_lines(text.format_full(self.curable, self.cwd, verbose=self.verbose, scope=self.scope), err=err)
        print_lines(() if self.quiet else text.format_notes(self.notes, self.cwd), err=True)

    def finish(
        self, summary: Iterable[str], plan: Plan = text.NO_PLAN, fixes: Sequence[FileEdit] = (), *, err: bool = False
    ) -> NoReturn:
        """Report in the requested format, or to a file and as text (``err``: on standard error), and end the run."""
        if not self.shows_text or self.output_file is not None:
            given = len(self.selection.targets), self.curable, tuple(self.notes), plan, tuple(fixes)
            report = Report(self.command, __version__, self.cwd, self.exit_code, *given)
            content = render(self.output_format, report, verbose=self.verbose, scope=self.scope)
            if self.output_file is None:
                click.echo(content, nl=False)
            else:
                write_text(self.output_file, content)
        if self.shows_text:
            self.print_findings(plan, err=err)
            print_lines(() if self.quiet else [*summary, *text.list_next_steps(self.findings)], err=err)
        raise SystemExit(self.exit_code)

    @property
    def scope(self) -> str:
        """PATHs and selection options as a shell has them, for remedies that are about all files of the run."""
        given = self.settings
        patterns = [("--include", each) for each in given.include] + [("--exclude", each) for each in given.exclude]
        options = ["--all-configs"] * given.all_configs + [word for pair in patterns for word in pair]
        return shlex.join([*(self.paths or "."), *options])


def choice(name: str, values: tuple[str, ...], **more: Any) -> Callable[..., Any]:
    """An option that takes one of ``values``, by default the first."""
    return click.option(name, type=click.Choice(values), default=values[0], show_default=True, **more)


directory_option = functools.partial(click.option, metavar="DIR", type=configured.make_absolute)
flag = functools.partial(click.option, is_flag=True)
repeatable = functools.partial(click.option, multiple=True)


def _refuse_source(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and value.endswith(".py"):  # a config, which a forgotten word would put here
        raise click.BadParameter(f"{value} is Python source, and would be written over")
    return value


_OUTPUT = click.Path(dir_okay=False, writable=True)
file_option = functools.partial(click.option, metavar="FILE", type=_OUTPUT, callback=_refuse_source)
scripts_option = flag("--scripts", help="Also the Hub calls of files that are no configs.")
_NAMES_HELP = f"Component to select (repeatable; default {', '.join(DEFAULT_COMPONENTS)}; trace and download: all)."


def shared(*, cache: bool = False, formats: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Give a command PATH, the selection options, and a :class:`Run` made of them as its first argument.

    ``cache``: also --cache-dir and --local-files-only. ``formats``: also --output-format; of all: also --output-file.
    """
    shown: list[Callable[..., Any]] = [
        click.argument("paths", nargs=-1, metavar="[PATH]..."),
        flag("--all-configs", help="Every config of a checkout, not only **/inference/*.py."),
        repeatable("--include", metavar="GLOB", help="Files to take instead (repeatable)."),
        repeatable("--exclude", metavar="GLOB", help="Files to leave out (repeatable)."),
        repeatable("--component", "components", metavar="NAME", help=_NAMES_HELP),
        flag("--all-components", help="Every component that loads from the Hub."),
        directory_option("--opensora-source", help="Checkout or package of loaders."),
        flag("-q", "--quiet", help="Only findings and errors."),
        flag("-v", "--verbose", help="Every component, and every place of a finding."),
    ]
    if cache:
        help_text = "The hub cache, for every component or for one (repeatable)."
        shown.append(repeatable("--cache-dir", "cache_dirs", metavar="[COMPONENT=]DIR", help=help_text))
        shown.append(flag("--local-files-only", help="Also local_files_only=True, where the loader takes it."))
    if formats:
        shown.append(choice("--output-format", formats, help="The form of the report."))
    if formats == FORMATS:
        shown.append(file_option("--output-file", help="Write the report there; the usual text is printed too."))

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**options: Any) -> Any:
            return command(Run(command.__name__, options), **options)

        return functools.reduce(lambda made, option: option(made), reversed(shown), run)

    return decorate


def read_settings(paths: Sequence[str], cache_dirs: Sequence[str], *, unset: bool = False) -> configured.Settings:
    """File, environment and ``--cache-dir`` merged; ``unset``: no directory counts but the latter's."""
    try:
        settings = configured.load(next((path for path in paths if path != "-"), os.getcwd()), os.environ)
        if unset:
            settings = settings._replace(cache_dir=None, cache_dirs=(), local_files_only=False)
        return configured.with_cache_dirs(settings, cache_dirs)
    except ValueError as error:
        fail(str(error).replace("\n", "; "))
