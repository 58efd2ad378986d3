"""The options that commands share, and the settings of file and environment merged with them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click

from rewriter.cli.output import expect_writable, fail
from rewriter.decide.request import DEFAULT_COMPONENTS
from rewriter.report import FORMATS
from rewriter.settings import Settings, SettingsError, load, parse_cache_dirs, with_cache_dirs, with_options

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


@dataclass(frozen=True, slots=True)
class Options:
    """The shared options of one run."""

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
    def is_text(self) -> bool:
        """Whether the usual text is all that is printed."""
        return self.output_format == "full" and self.output_file is None


_SELECTION = (
    click.argument("paths", nargs=-1, metavar="[PATH]..."),
    click.option("--all-configs", is_flag=True, help="Every config of a checkout, not only **/inference/*.py."),
    click.option("--include", multiple=True, metavar="GLOB", help="Files to take instead (repeatable)."),
    click.option("--exclude", multiple=True, metavar="GLOB", help="Files to leave out (repeatable)."),
    click.option(
        "--component",
        "components",
        multiple=True,
        metavar="NAME",
        help=f"Component to select (repeatable; default {', '.join(DEFAULT_COMPONENTS)}).",
    ),
    click.option("--all-components", is_flag=True, help="Every component that loads from the Hub."),
    click.option("--opensora-source", metavar="DIR", help="Checkout, or package, that holds the loaders."),
    click.option("-q", "--quiet", is_flag=True, help="Only findings and errors."),
    click.option("-v", "--verbose", is_flag=True, help="Every component, and every place of a finding."),
)
_CACHE = (
    click.option(
        "--cache-dir",
        "cache_dirs",
        multiple=True,
        metavar="[COMPONENT=]DIR",
        help="The hub cache, for every component or for one (repeatable).",
    ),
    click.option("--local-files-only", is_flag=True, help="Also local_files_only=True, where the loader takes it."),
)
_OUTPUT_FILE = click.option(
    "--output-file", metavar="FILE", help="Write the report there; the usual text is printed too."
)


scripts = click.option("--scripts", is_flag=True, help="Also the Hub calls of files that are no configs.")


def _format_option(formats: tuple[str, ...]) -> Decorator:
    return click.option(
        "--output-format",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="The form of the report.",
    )


def shared(*, cache: bool = False, formats: tuple[str, ...] = ()) -> Decorator:
    """Give a command PATH, the selection options, and an :class:`Options` made of them as its first argument.

    ``cache``: also --cache-dir and --local-files-only. ``formats``: also --output-format (the first is the default),
    and --output-file where all formats are taken.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(
            paths: tuple[str, ...],
            components: tuple[str, ...],
            all_components: bool,
            quiet: bool,
            verbose: bool,
            cache_dirs: tuple[str, ...] = (),
            output_format: str = "full",
            output_file: str | None = None,
            **own: Any,
        ) -> Any:
            if output_file is not None:
                expect_writable(os.path.abspath(output_file))
            names = ("all_configs", "include", "exclude", "opensora_source", "local_files_only")
            given = {name: own.pop(name) for name in names if name in own}
            settings = read_settings(paths, cache_dirs, only_command_line=bool(own.get("unsets")))
            settings = with_options(settings, {**given, "components": components})
            options = Options(paths, settings, all_components, quiet, verbose, output_format, output_file)
            return command(options, **own)

        decorated: Command = run
        output = [_format_option(formats)] if formats else []
        output += [_OUTPUT_FILE] if formats == FORMATS else []
        for option in reversed([*_SELECTION, *(_CACHE if cache else ()), *output]):
            decorated = option(decorated)
        return decorated

    return decorate


def read_settings(
    paths: tuple[str, ...], cache_dirs: tuple[str, ...] = (), *, only_command_line: bool = False
) -> Settings:
    """File, environment and ``--cache-dir`` merged; mistakes in any end the run with exit code 2.

    ``only_command_line``: keywords are taken away, so that directories of weaker places are not requested.
    """
    try:
        general, single = parse_cache_dirs(cache_dirs)
    except ValueError as error:
        raise click.UsageError(f"--cache-dir: {error}") from None
    try:
        settings = load(next((path for path in paths if path != "-"), os.getcwd()), os.environ)
    except SettingsError as error:
        fail("the settings cannot be used: " + "; ".join(error.problems))
    if only_command_line:
        settings = replace(settings, cache_dir=None, cache_dirs=(), local_files_only=False)
    return with_cache_dirs(settings, general, single)
