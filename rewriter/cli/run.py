"""A run from command line to exit code: its options and settings, files and loaders, findings and report."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NoReturn

import click

from rewriter import __version__, checkout
from rewriter import settings as configured
from rewriter.cli.output import FOUND, fail, print_lines, warn, write_text
from rewriter.decide import ignores
from rewriter.decide import plan as planning
from rewriter.decide.installed import report_installed
from rewriter.decide.request import DEFAULT_COMPONENTS, Request
from rewriter.model import FileEdit, FileResult, Finding, Note, Plan
from rewriter.report import FORMATS, Report, render, text
from rewriter.report.text import NO_PLAN
from rewriter.words import printable, quote_word

if TYPE_CHECKING:
    from rewriter.read.scripts import ScriptCall

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(eq=False, repr=False)
class Run:
    """A run: its shared options; once started its files and loaders; the findings and notes so far."""

    command: str
    paths: tuple[str, ...]
    settings: configured.Settings
    all_components: bool
    quiet: bool
    verbose: bool
    output_format: str = "full"
    output_file: str | None = None
    selection: checkout.Selection = field(default_factory=lambda: checkout.Selection(()))
    findings: list[Finding] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    cwd: str = field(default_factory=os.getcwd)

    # --- what is requested and selected ---

    def make_request(self, **more: Any) -> Request:
        """What the shared options request, and ``more``."""
        given, components = self.settings, self.settings.components or DEFAULT_COMPONENTS
        more["local_files_only"] = given.local_files_only
        return Request(components, self.all_components, given.cache_dir, given.cache_dirs, **more)

    @functools.cached_property
    def loaders(self) -> planning.Loaders:
        """The loaders of the run; ``--opensora-source`` names a checkout or a package."""
        source = self.settings.opensora_source
        folder = None if source is None else os.path.abspath(os.path.expanduser(source))
        if folder is not None and not checkout.find_packages(folder):
            fail(f"--opensora-source {source} holds no package with loaders", "name the root of an Open-Sora checkout")
        return planning.Loaders(folder)

    @property
    def root(self) -> str | None:
        """The checkout of all files, or None."""
        roots = {target.root for target in self.selection.targets}
        return roots.pop() if len(roots) == 1 else None

    def select(self, *, scripts: bool = False) -> None:
        """Select the files; no file found, or a path that does not exist, ends the run with exit code 2.

        ``scripts``: a named file outside of config folders is a script, and there may be no config at all.
        """
        settings = self.settings
        patterns = {"include": settings.include, "exclude": settings.exclude}
        try:
            selection = checkout.select(self.paths, all_configs=settings.all_configs, cwd=self.cwd, **patterns)
        except checkout.NoSuchPath as error:
            fail(str(error))
        if scripts:
            configs = tuple(each for each in selection.targets if not (each.named and _is_script(each.path)))
            selection = selection._replace(targets=configs)
        elif not selection.targets:
            for finding in selection.findings:
                fail(f"{finding.path}: {finding.message}", finding.remedy)
            remedy = "name a checkout, one of its config folders (configs/, config/), or config files"
            fail(f"no config file found in {', '.join(self.paths or ('.',))}", remedy)
        self.selection = selection
        self.findings += selection.findings
        self.notes += selection.notes

    def find_script_calls(self) -> list[ScriptCall]:
        """The Hub calls of the files of the run that are no configs."""
        from rewriter.decide.scripts import find_calls
        from rewriter.read.scripts import find_script_calls

        paths = [os.path.abspath(path) for path in self.paths or (".",)]
        files = [path for path in paths if os.path.isfile(path) and _is_script(path)]
        return [*find_calls(filter(os.path.isdir, paths)), *find_script_calls(files)]

    # --- findings ---

    @property
    def exit_code(self) -> int:
        """FOUND where any finding is an error, else 0."""
        return FOUND if self.count_errors() else 0

    def count_errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    def add_plan(self, plan: Plan, request: Request, python: str | None = None, *, checking: bool = False) -> None:
        """Add what a plan has, but for what a comment or the settings hide; ``checking``: idle comments, too.

        Components that the command line names and no config has are warned of.
        """
        settings = self.settings
        present = {decision.component.name for result in plan.results for decision in result.decisions}
        named = settings.components if settings.origins.get("components") == configured.COMMAND_LINE else ()
        for name in sorted({*request.named, *named} - present):
            near = difflib.get_close_matches(name, {*present, *DEFAULT_COMPONENTS}, 1)
            warn(f"no component `{name}` in these configs", f"did you mean `{near[0]}`?" if near else "")
        self.findings += [*plan.all_findings, *report_installed(plan, python)]
        self.notes += plan.notes
        self.hide_ignored(plan.results, report_unused=checking)

    def hide_ignored(self, results: Sequence[FileResult] = (), *, report_unused: bool = False) -> None:
        """Drop the findings that a comment or the settings hide; with ``report_unused``, report idle comments."""
        settings = self.settings
        rules = ignores.IgnoreSettings(settings.ignore, settings.per_file_ignores, settings.folder)
        idle: frozenset[str] = frozenset()
        if any(result.ignores for result in results):  # else the table of rules need not be read
            has_directory = settings.cache_dir is not None or bool(settings.cache_dirs)
            idle = ignores.codes_not_requested(has_directory, settings.local_files_only)
        self.findings, unused = ignores.hide_findings(self.findings, results, rules, not_requested=idle)
        self.findings += unused if report_unused else []

    # --- the report ---

    def finish(
        self,
        summary: Iterable[str],
        *,
        code: int | None = None,
        plan: Plan = NO_PLAN,
        fixes: Sequence[FileEdit] = (),
        before: Iterable[str] = (),
        err: bool = False,
    ) -> NoReturn:
        """Report in the requested format, or to the requested file and as the usual text, and end the run.

        ``code``: the exit code, where not that of the findings. ``before``: lines above the findings. ``err``: findings
        and summary go to standard error.
        """
        code = self.exit_code if code is None else code
        if (self.output_format, self.output_file) != ("full", None):
            given = len(self.selection.targets), tuple(self.findings), tuple(self.notes), plan, tuple(fixes)
            made = Report(self.command, __version__, self.cwd, code, *given)
            content = render(self.output_format, made, verbose=self.verbose, scope=self.scope)
            if self.output_file is None:
                click.echo(content, nl=False)
                raise SystemExit(code)
            write_text(self.output_file, content)
        print_lines(before)
        self.print_findings(plan, err=err)
        print_lines(() if self.quiet else summary, err=err)
        raise SystemExit(code)

    def say(self, *lines: str) -> None:
        """Print lines of the usual text, where that is wanted on standard output."""
        if not self.quiet and (self.output_format == "full" or self.output_file is not None):
            print_lines(map(printable, lines))

    def print_findings(self, plan: Plan = NO_PLAN, *, err: bool = False) -> None:
        """Print findings (with ``--verbose`` decisions too), and notes on standard error."""
        if self.verbose:
            print_lines(text.format_decisions(plan.results, self.cwd), err=err)
        print_lines(text.format_full(self.findings, self.cwd, verbose=self.verbose, scope=self.scope), err=err)
        print_lines(() if self.quiet else text.format_notes(self.notes, self.cwd), err=True)

    @property
    def scope(self) -> str:
        """PATHs and selection options as a shell has them, for remedies that are about all files of the run."""
        words = [quote_word(path) for path in self.paths] or ["."]
        words += ["--all-configs"] if self.settings.all_configs else []
        for option, values in (("--include", self.settings.include), ("--exclude", self.settings.exclude)):
            words += [f"{option} {quote_word(value)}" for value in values]
        return " ".join(words)


def _is_script(path: str) -> bool:
    return not any(name in path.split(os.sep) for name in checkout.CONFIG_FOLDERS)


# --- options -------------------------------------------------------------------------------------


def absolute_directory(_context: object, _option: object, path: str | None) -> str | None:
    """A callback of click: ``~`` and relative paths made absolute, normalised, links kept."""
    try:
        return None if path is None else configured.make_absolute(path, os.getcwd())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def convert_each(convert: Callable[[str], object]) -> Callable[[object, object, tuple[str, ...]], object]:
    """A callback of click for a repeatable option; ``convert`` raises BadParameter."""
    return lambda _context, _option, values: tuple(map(convert, values))


flag = functools.partial(click.option, is_flag=True)
repeatable = functools.partial(click.option, multiple=True)


def _refuse_source(_context: click.Context, _option: click.Parameter, path: str | None) -> str | None:
    if path is not None and path.endswith(".py"):
        raise click.BadParameter(f"{path} is Python source, and would be written over")
    return path


_FILE: dict[str, Any] = {"type": click.Path(dir_okay=False, writable=True), "callback": _refuse_source}
file_option = functools.partial(click.option, metavar="FILE", **_FILE)
scripts_option = flag("--scripts", help="Also the Hub calls of files that are no configs.")
_NAMES_HELP = f"Component to select (repeatable; default {', '.join(DEFAULT_COMPONENTS)}; trace and download: all)."
_SELECTION: tuple[Decorator, ...] = (
    click.argument("paths", nargs=-1, metavar="[PATH]..."),
    flag("--all-configs", help="Every config of a checkout, not only **/inference/*.py."),
    repeatable("--include", metavar="GLOB", help="Files to take instead (repeatable)."),
    repeatable("--exclude", metavar="GLOB", help="Files to leave out (repeatable)."),
    repeatable("--component", "components", metavar="NAME", help=_NAMES_HELP),
    flag("--all-components", help="Every component that loads from the Hub."),
    click.option("--opensora-source", metavar="DIR", help="Checkout, or package, that holds the loaders."),
    flag("-q", "--quiet", help="Only findings and errors."),
    flag("-v", "--verbose", help="Every component, and every place of a finding."),
)
_CACHE_HELP = "The hub cache, for every component or for one (repeatable)."
_CACHE: tuple[Decorator, ...] = (
    repeatable("--cache-dir", "cache_dirs", metavar="[COMPONENT=]DIR", help=_CACHE_HELP),
    flag("--local-files-only", help="Also local_files_only=True, where the loader takes it."),
)


def shared(*, cache: bool = False, formats: tuple[str, ...] = ()) -> Decorator:
    """Give a command PATH, the selection options, and a :class:`Run` made of them as its first argument.

    ``cache``: also --cache-dir and --local-files-only. ``formats``: also --output-format (the first is the default),
    and --output-file where all formats are taken.
    """
    options = [*_SELECTION, *(_CACHE if cache else ())]
    if formats:
        form: dict[str, Any] = {"type": click.Choice(formats), "default": formats[0], "show_default": True}
        options.append(click.option("--output-format", help="The form of the report.", **form))
    if formats == FORMATS:
        options.append(file_option("--output-file", help="Write the report there; the usual text is printed too."))

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(paths: tuple[str, ...], cache_dirs: tuple[str, ...] = (), **given: Any) -> Any:
            names = ("all_configs", "include", "exclude", "components", "opensora_source", "local_files_only")
            own = {name: given.pop(name, None) for name in names}
            settings = read_settings(paths, cache_dirs, only_command_line=bool(given.get("unsets")))
            shown = {each.name: given.pop(each.name) for each in fields(Run) if each.name in given}
            return command(Run(command.__name__, paths, configured.with_options(settings, own), **shown), **given)

        made: Callable[..., Any] = run
        for option in reversed(options):
            made = option(made)
        return made

    return decorate


def read_settings(
    paths: tuple[str, ...], cache_dirs: tuple[str, ...] = (), *, only_command_line: bool = False
) -> configured.Settings:
    """File, environment and ``--cache-dir`` merged; mistakes in any end the run with exit code 2.

    ``only_command_line``: keywords are taken away, so that directories of weaker places are not requested.
    """
    try:
        settings = configured.load(next((path for path in paths if path != "-"), os.getcwd()), os.environ)
        if only_command_line:
            settings = settings._replace(cache_dir=None, cache_dirs=(), local_files_only=False)
        return configured.with_cache_dirs(settings, cache_dirs)
    except configured.SettingsError as error:
        fail("the settings cannot be used: " + str(error).replace("\n", "; "))
    except ValueError as error:
        raise click.UsageError(f"--cache-dir: {error}") from None
