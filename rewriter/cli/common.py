"""What the commands share: options, how they become a request, and how a run ends."""

from __future__ import annotations

import ast
import errno
import functools
import io
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

from rewriter.cli import OWN_PROCESS
from rewriter.frozen import Frozen, replace
from rewriter.request import DEFAULT_COMPONENTS, Request
from rewriter.settings import COMMAND_LINE, Settings, SettingsError, directory, load, with_cache_dirs, with_options
from rewriter.types import CACHE_DIR, Finding

if TYPE_CHECKING:
    from rewriter.checkout import Selection
    from rewriter.formats import Report
    from rewriter.lock import Lock
    from rewriter.plan import FileResult, Loaders

Command = Callable[..., Any]

FOUND = 1  # exit code: findings
FAILED = 2  # exit code: wrong usage or a failure of the run itself

OUTPUT_FORMATS = ("full", "concise", "json", "github", "sarif")


def fail(message: str, remedy: str = "") -> NoReturn:
    """End the run with exit code 2: what went wrong, and what to do."""
    tell_error(message, remedy)
    raise SystemExit(FAILED)


def tell_error(message: str, remedy: str = "") -> None:
    """What went wrong, on standard error."""
    from rewriter.report import printable

    with suppress(OSError):  # nobody can be told
        click.echo(click.style("error: ", fg="red", bold=True) + printable(message), err=True)
        if remedy:
            click.echo("  " + printable(remedy), err=True)


class UnwrittenError(click.ClickException):
    """A report or lock that cannot be written; it ends the run with exit code 2, unless there is more to say."""

    exit_code = FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        tell_error(self.message)


def hear_no_interrupt() -> None:
    """What the command was for is done. Ctrl-C would only spoil the end of the process, if that is our own."""
    if click.get_current_context().obj == OWN_PROCESS:
        with suppress(ValueError):  # not the main thread's
            import signal

            signal.signal(signal.SIGINT, signal.SIG_IGN)


def warn(message: str, remedy: str = "") -> None:
    """A warning on standard error, at once."""
    from rewriter.report import printable

    click.echo(click.style("warning: ", fg="yellow", bold=True) + printable(message), err=True)
    if remedy:
        click.echo("  " + printable(remedy), err=True)


# --- options -----------------------------------------------------------------------------------


class Chosen(Frozen):
    """What the shared options say, the settings of file and environment merged in."""

    paths: tuple[str, ...]
    settings: Settings
    all_components: bool
    quiet: bool
    verbose: bool
    output_format: str
    output_file: str | None

    @property
    def components(self) -> tuple[str, ...]:
        """The names to select."""
        return self.settings.components or DEFAULT_COMPONENTS

    @property
    def traced(self) -> tuple[str, ...] | None:
        """The names to trace; None: every component."""
        return None if self.all_components else self.components

    def select(self) -> Selection:
        """The files of the run; no file found, or a path that is not there, ends it with exit code 2."""
        from rewriter import checkout

        settings = self.settings
        paths = self.paths or (".",)
        try:
            selection = checkout.select(
                paths, all_configs=settings.all_configs, include=settings.include,
                exclude=settings.exclude, cwd=os.getcwd(),
            )  # fmt: skip
        except checkout.NoSuchPath as error:
            fail(str(error))
        if not selection.targets and selection.findings:
            first = selection.findings[0]
            fail(f"{first.path}: {first.message}", first.remedy)
        if not selection.targets:
            fail(
                f"no config file found in {', '.join(paths)}",
                "name a checkout that holds configs/ (and --all-configs for more than inference), or config files",
            )
        if self.output_file is not None:
            self.spare(selection, self.output_file)
        return selection

    def spare(self, selection: Selection, output_file: str) -> None:
        """End the run where its report would replace a config or a loader."""
        from rewriter import checkout

        if not os.path.exists(output_file):
            return
        real = os.path.realpath(output_file)
        roots = {target.root for target in selection.targets if target.root is not None}
        folders = [os.path.join(root, name) for root in roots for name in (checkout.CONFIGS, checkout.SOURCES)]
        if self.settings.opensora_source is not None:
            folders.append(os.path.expanduser(self.settings.opensora_source))
        inside = real.endswith(".py") and not all(checkout.outside(real, folder) for folder in folders)
        if inside or any(os.path.realpath(target.path) == real for target in selection.targets):
            fail(f"{output_file} is a config or a loader, which a report would replace", "name another --output-file")

    def loaders(self) -> Loaders:
        """The loaders of the run; ``--opensora-source`` may name a checkout or the opensora/ folder itself."""
        from rewriter.plan import Loaders

        source = self.settings.opensora_source
        if source is None:
            return Loaders()
        place = os.path.abspath(os.path.expanduser(source))
        root = os.path.dirname(place) if os.path.basename(place) == "opensora" else place
        # configs/ has a folder opensora/ too, which holds no loaders
        if any(
            os.path.exists(os.path.join(root, "opensora", name)) for name in ("__init__.py", "registry.py", "models")
        ):
            return Loaders(root)
        fail(f"--opensora-source {source} holds no opensora/ package", "name the root of an Open-Sora checkout")

    def request(self, sets: Sequence[str] = (), unsets: Sequence[str] = ()) -> Request:
        """The part of a request that ``check`` and ``rewrite`` share."""
        for name in self.components:
            if not name.isidentifier():
                raise click.UsageError(f"--component {name!r} is not an identifier")
        request = Request(
            components=self.components,
            all_components=self.all_components,
            cache_dir=self.settings.cache_dir,
            cache_dirs=self.settings.cache_dirs,
            sets=tuple(_absolute_set(*parse_set(text)) for text in sets),
            unsets=tuple(parse_target(text, "--unset") for text in unsets),
            local_files_only=self.settings.local_files_only,
        )
        both = {(name, key) for name, key, _ in request.sets} & set(request.unsets)
        if both:
            name, key = sorted(both)[0]
            raise click.UsageError(f"--set and --unset both name {name}.{key}")
        return request

    def warn_of_strangers(self, request: Request, results: Sequence[FileResult]) -> None:
        """Warn of components that the command line names and no config of the run has."""
        present = {decision.component.name for result in results for decision in result.decisions}
        explicit = self.components if self.settings.origins.get("components") == COMMAND_LINE else ()
        for name in sorted({*request.named, *explicit} - present):
            from difflib import get_close_matches

            near = get_close_matches(name, {*present, *DEFAULT_COMPONENTS}, 1)
            warn(f"no component `{name}` in these configs", f"did you mean `{near[0]}`?" if near else "")

    def kept(self, findings: Iterable[Finding], results: Sequence[FileResult] = (), *,
             unused: bool = False) -> list[Finding]:  # fmt: skip
        """The findings that neither a comment nor the settings ignore; with ``unused``, idle comments too."""
        settings = self.settings
        ignores = {result.path: result.ignores for result in results if result.ignores}
        found = list(findings)
        if not (ignores or settings.ignore or settings.per_file_ignores):
            return found
        from rewriter import ignores as ignoring
        from rewriter.rules import all_rules

        not_asked = {code for code in all_rules() if "OSR1" <= code[:4] < "OSR9"}
        if settings.cache_dir is None and not settings.cache_dirs:
            not_asked.add("OSR003")
        if not settings.local_files_only:
            not_asked.add("OSR011")
        kept, idle = ignoring.apply(
            found, ignores, not_looked_at={result.path: result.passed_over for result in results},
            not_asked=not_asked, ignore=settings.ignore, per_file=settings.per_file_ignores,
            folder=settings.folder,
        )  # fmt: skip
        return [*kept, *idle] if unused else kept

    def emit(self, report: Report) -> bool:
        """Print the report, or write it to the file that is asked for; False: the usual text is to be shown beside."""
        from rewriter import formats

        text = formats.render(self.output_format, report)
        if self.output_file is None:
            click.echo(text, nl=False)
            return True
        write_text(os.path.abspath(self.output_file), text)
        return False


def shared(*, cache: bool = False, output: bool = False) -> Callable[[Command], Command]:
    """Give a command PATH, the selection options, and a :class:`Chosen` made of them as its first argument."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(
            paths: tuple[str, ...], all_configs: bool, include: tuple[str, ...], exclude: tuple[str, ...],
            components: tuple[str, ...], all_components: bool, opensora_source: str | None, quiet: bool,
            verbose: bool, cache_dirs: tuple[str, ...] = (), local_files_only: bool = False,
            output_format: str = "full", output_file: str | None = None, **own: Any,
        ) -> Any:  # fmt: skip
            if output_file is not None:
                _expect_writable(os.path.abspath(output_file))
            settings = read_settings(paths, cache_dirs, idle=bool(own.get("unsets")))
            settings = with_options(
                settings, components=components, include=include, exclude=exclude, all_configs=all_configs,
                local_files_only=local_files_only, opensora_source=opensora_source,
            )  # fmt: skip
            chosen = Chosen(paths, settings, all_components, quiet, verbose, output_format, output_file)
            return command(chosen, **own)

        made: Command = wrapped
        options = [*_SELECTION, *(_CACHE if cache else ()), *(_OUTPUT if output else ())]
        for option in reversed(options):
            made = option(made)
        return made

    return decorate


_SELECTION = (
    click.argument("paths", nargs=-1, metavar="[PATH]..."),
    click.option("--all-configs", is_flag=True, help="Every configs/**/*.py, not only **/inference/*.py."),
    click.option("--include", multiple=True, metavar="GLOB", help="Files to take instead (repeatable)."),
    click.option("--exclude", multiple=True, metavar="GLOB", help="Files to leave out (repeatable)."),
    click.option("--component", "components", multiple=True, metavar="NAME",
                 help=f"Component to look at (repeatable; default {', '.join(DEFAULT_COMPONENTS)})."),
    click.option("--all-components", is_flag=True, help="Every component that loads from the Hub."),
    click.option("--opensora-source", metavar="DIR", help="Checkout whose opensora/ holds the loaders."),
    click.option("-q", "--quiet", is_flag=True, help="Only findings and errors."),
    click.option("-v", "--verbose", is_flag=True, help="Every component and every note."),
)  # fmt: skip
_CACHE = (
    click.option("--cache-dir", "cache_dirs", multiple=True, metavar="[COMPONENT=]DIR",
                 help="The hub cache, for every component or for one (repeatable)."),
    click.option("--local-files-only", is_flag=True, help="Also local_files_only=True, where the loader takes it."),
)  # fmt: skip
_OUTPUT = (
    click.option("--output-format", type=click.Choice(OUTPUT_FORMATS), default="full", show_default=True,
                 help="How findings are told."),
    click.option("--output-file", metavar="FILE", help="Write the report there; the usual text is printed."),
)  # fmt: skip


def read_settings(paths: tuple[str, ...], cache_dirs: tuple[str, ...] = (), *, idle: bool = False) -> Settings:
    """File, environment and ``--cache-dir`` merged; mistakes in any end the run with exit code 2.

    ``idle``: the command line undoes keywords, so that a directory of weaker places is not asked for.
    """
    general, single = parse_cache_dirs(cache_dirs)
    try:
        settings = load(next((path for path in paths if path != "-"), os.getcwd()), os.environ)
    except SettingsError as error:
        fail("the settings cannot be used:\n".rstrip() + " " + "; ".join(error.problems))
    if idle:
        settings = replace(settings, cache_dir=None, cache_dirs=(), local_files_only=False)
    return with_cache_dirs(settings, general, single)


def parse_cache_dirs(texts: tuple[str, ...]) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """Split ``--cache-dir`` values into the one for all and those for one component; paths made absolute."""
    from rewriter import settings

    try:
        return settings.parse_cache_dirs(texts)
    except ValueError as error:
        raise click.UsageError(f"--cache-dir: {error}") from None


def absolute_dir(path: str, option: str) -> str:
    """``~`` and relative paths made absolute, normalised, links kept."""
    try:
        return directory(path, os.getcwd())
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def parse_target(text: str, option: str) -> tuple[str, str]:
    """``COMPONENT.KEY`` of ``--set`` and ``--unset``."""
    name, dot, key = text.strip().rpartition(".")
    if not dot or not key.isidentifier() or not name.isidentifier():
        raise click.UsageError(f"{option} {text!r} is not COMPONENT.KEY (for example vae.from_pretrained)")
    return name, key


def parse_set(text: str) -> tuple[str, str, object]:
    """``COMPONENT.KEY=VALUE``; VALUE a Python literal, else a string."""
    target, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--set {text!r} has no value (COMPONENT.KEY=VALUE)")
    name, key = parse_target(target, "--set")
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if "\0" in value:
            raise click.UsageError(f"--set {name}.{key} holds a NUL character") from None
        word = value.strip().capitalize()
        if word in ("True", "False"):  # any string is true to a loader
            raise click.UsageError(
                f"--set {name}.{key}={value} would write a string: give {word}, or '\"{value.strip()}\"' if the string "
                "is meant"
            ) from None
        return name, key, value
    if not isinstance(parsed, str):
        from rewriter.edits.config import EditError, write_literal

        try:
            write_literal(parsed)
        except EditError as error:
            raise click.UsageError(f"--set {name}.{key}={value}: {error}") from None
    return name, key, parsed


def _absolute_set(name: str, key: str, value: object) -> tuple[str, str, object]:
    if key == CACHE_DIR and isinstance(value, str):  # the same promise as --cache-dir: absolute when written
        return name, key, absolute_dir(value, f"--set {name}.{key}")
    return name, key, value


def warn_about(request: Request) -> None:
    """Warn at once of a cache_dir that is missing, is HF_HOME, or is a model's own folder.

    One that is no directory ends the run: nothing could ever be read from there.
    """
    from rewriter.cache.places import check_directory

    places = [request.cache_dir, *(path for _, path in request.cache_dirs)]
    sets = [value for _, key, value in request.sets if key == CACHE_DIR and isinstance(value, str)]
    for place in [*places, request.source_default, *sets]:
        if place is not None and os.path.exists(place) and not os.path.isdir(place):
            fail(f"{place} is a file, not a cache directory", "nothing was written; name a directory")
    for place in dict.fromkeys(places):
        if place is not None:
            for finding in check_directory(place):
                warn(finding.message, finding.remedy)


def echo_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print many lines, some hundreds at a time: an ``echo`` each flushes each."""
    from itertools import islice

    rest = iter(lines)
    while block := list(islice(rest, 500)):
        click.echo("\n".join(block), err=err)


# --- files -------------------------------------------------------------------------------------


def read_lock(path: str) -> Lock:
    """The lock at ``path``; one that is missing or broken ends the run with exit code 2."""
    from rewriter.checkout import open_regular
    from rewriter.lock import LockError
    from rewriter.lock import read_lock as parse

    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8") as file:
            return parse(file.read())
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror or error}", "opensora-rewriter lock writes one")
    except UnicodeDecodeError as error:
        fail(f"{path} is not UTF-8: {error}", "opensora-rewriter lock writes a new one")
    except LockError as error:
        line = f":{error.line}" if error.line else ""
        fail(f"{path}{line}: {error.message}", "opensora-rewriter lock writes a new one")


def _expect_writable(path: str) -> None:
    """End the run before it does anything, where its report could not be written in the end."""
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        reason = errno.EISDIR
    elif not os.path.isdir(folder):
        reason = errno.ENOENT
    elif not os.access(folder, os.W_OK):
        reason = errno.EACCES
    elif os.path.exists(path) and not os.path.isfile(path):
        fail(f"{path} cannot be written: it is no regular file", "redirect standard output, without --output-file")
    else:
        return
    fail(f"{path} cannot be written: {os.strerror(reason)}")


def write_text(path: str, text: str) -> bool:
    """Write a report or lock, whole or not at all; False where the file holds just that already.

    Raises:
        UnwrittenError: nothing was written.
    """
    from rewriter import writer
    from rewriter.checkout import open_regular
    from rewriter.types import FileEdit

    new = text.encode("utf-8", "backslashreplace")
    try:
        with open_regular(path) as file:
            old: bytes | None = file.read()
    except FileNotFoundError:
        old = None
    except OSError as error:
        raise UnwrittenError(f"{path} cannot be written: {error.strerror or error}") from None
    if old == new:
        return False
    try:
        if old is None:
            with open(path, "xb") as file:
                file.write(new)
        else:
            writer.commit((FileEdit(path, old, new),))
    except OSError as error:
        raise UnwrittenError(f"{path} cannot be written: {error.strerror or error}") from None
    except writer.WriteError as error:
        raise UnwrittenError(str(error)) from None
    return True
