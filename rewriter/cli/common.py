"""What the commands share: options, how they become a request, and how a run ends."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from rewriter.request import DEFAULT_COMPONENTS, Request
from rewriter.types import CACHE_DIR

Command = TypeVar("Command", bound=Callable[..., Any])

FOUND = 1  # exit code: findings
FAILED = 2  # exit code: wrong usage or a failure of the run itself


def fail(message: str, remedy: str = "") -> NoReturn:
    """End the run with exit code 2: what went wrong, and what to do."""
    from rewriter.report import printable

    click.echo(click.style("error: ", fg="red", bold=True) + printable(message), err=True)
    if remedy:
        click.echo("  " + printable(remedy), err=True)
    raise SystemExit(FAILED)


def warn(message: str, remedy: str = "") -> None:
    """A warning on standard error, at once."""
    from rewriter.report import printable

    click.echo(click.style("warning: ", fg="yellow", bold=True) + printable(message), err=True)
    if remedy:
        click.echo("  " + printable(remedy), err=True)


def selection_options(command: Command) -> Command:
    """PATH and the options that say which files and which components."""
    for option in reversed(
        [
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
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def cache_options(command: Command) -> Command:
    """``--cache-dir`` and ``--local-files-only``, the same for ``check`` and ``rewrite``."""
    command = click.option(
        "--local-files-only", is_flag=True, help="Also local_files_only=True, where the loader takes it."
    )(command)
    return click.option(
        "--cache-dir", "cache_dirs", multiple=True, metavar="[COMPONENT=]DIR",
        help="The hub cache, for every component or for one (repeatable).",
    )(command)  # fmt: skip


def parse_cache_dirs(texts: tuple[str, ...]) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """Split ``--cache-dir`` values into the one for all and those for one component; paths made absolute."""
    general: str | None = None
    single: dict[str, str] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if equals and name.isidentifier():
            single[name] = absolute_dir(rest, text)
        elif general is not None and general != absolute_dir(text, text):
            raise click.UsageError(f"--cache-dir is given twice for every component: {general} and {text}")
        else:
            general = absolute_dir(text, text)
    return general, tuple(single.items())


def absolute_dir(path: str, given: str) -> str:
    """``~`` and relative paths made absolute, normalised, links kept."""
    if not path.strip():
        raise click.UsageError(f"--cache-dir {given!r} names no directory")
    if "\0" in path:
        raise click.UsageError("--cache-dir holds a NUL character")
    return os.path.abspath(os.path.expanduser(path))


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
        return name, key, ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if "\0" in value:
            raise click.UsageError(f"--set {name}.{key} holds a NUL character") from None
        return name, key, value


def warn_about(directories: tuple[str | None, tuple[tuple[str, str], ...]]) -> None:
    """Warn at once of a cache_dir that is missing, is HF_HOME, or is a model's own folder."""
    from rewriter.cache.places import check_directory

    general, single = directories
    for directory in dict.fromkeys([general, *(path for _, path in single)]):
        if directory is not None:
            for finding in check_directory(directory):
                warn(finding.message, finding.remedy)


def base_request(
    components: tuple[str, ...], all_components: bool, directories: tuple[str | None, tuple[tuple[str, str], ...]],
    local_files_only: bool, sets: tuple[str, ...] = (), unsets: tuple[str, ...] = (),
) -> Request:  # fmt: skip
    """The part of a request that ``check`` and ``rewrite`` share."""
    for name in components:
        if not name.isidentifier():
            raise click.UsageError(f"--component {name!r} is not an identifier")
    general, single = directories
    return Request(
        components=components or DEFAULT_COMPONENTS,
        all_components=all_components,
        cache_dir=general,
        cache_dirs=single,
        sets=tuple(_absolute_set(*parse_set(text)) for text in sets),
        unsets=tuple(parse_target(text, "--unset") for text in unsets),
        local_files_only=local_files_only,
    )


def _absolute_set(name: str, key: str, value: object) -> tuple[str, str, object]:
    if key == CACHE_DIR and isinstance(value, str):  # the same promise as --cache-dir: absolute when written
        return name, key, absolute_dir(value, value)
    return name, key, value


def select(paths: tuple[str, ...], all_configs: bool, include: tuple[str, ...], exclude: tuple[str, ...]) -> Any:
    """The files of a run; no file found, or a path that is not there, ends it with exit code 2."""
    from rewriter import checkout

    try:
        selection = checkout.select(
            paths or (".",), all_configs=all_configs, include=include, exclude=exclude, cwd=os.getcwd()
        )
    except checkout.NoSuchPath as error:
        fail(str(error))
    if not selection.targets:
        where = ", ".join(paths or (".",))
        fail(
            f"no config file found in {where}",
            "name a checkout that holds configs/ (and --all-configs for more than inference), or config files",
        )
    return selection


def loaders(opensora_source: str | None) -> Any:
    """The loaders of the run; ``--opensora-source`` may name a checkout or the opensora/ folder itself."""
    from rewriter.plan import Loaders

    if opensora_source is None:
        return Loaders()
    place = os.path.abspath(os.path.expanduser(opensora_source))
    root = os.path.dirname(place) if os.path.basename(place) == "opensora" else place
    # configs/ has a folder opensora/ too, which holds no loaders
    if any(os.path.exists(os.path.join(root, "opensora", name)) for name in ("__init__.py", "registry.py", "models")):
        return Loaders(root)
    fail(f"--opensora-source {opensora_source} holds no opensora/ folder", "name the root of an Open-Sora checkout")


def read_lock(path: str) -> Any:
    """The lock at ``path``; one that is missing or broken ends the run with exit code 2."""
    from rewriter.lock import LockError
    from rewriter.lock import read_lock as parse

    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read())
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror or error}", "opensora-rewriter lock writes one")
    except UnicodeDecodeError as error:
        fail(f"{path} is not UTF-8: {error}", "opensora-rewriter lock writes a new one")
    except LockError as error:
        line = f":{error.line}" if error.line else ""
        fail(f"{path}{line}: {error}", "opensora-rewriter lock writes a new one")


def write_text(path: str, text: str) -> bool:
    """Write a report or lock, whole or not at all; False where the file holds just that already."""
    from rewriter import writer
    from rewriter.types import FileEdit

    new = text.encode("utf-8")
    try:
        with open(path, "rb") as file:
            old: bytes | None = file.read()
    except FileNotFoundError:
        old = None
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror or error}")
    if old == new:
        return False
    try:
        if old is None:
            with open(path, "xb") as file:
                file.write(new)
        else:
            writer.commit((FileEdit(path, old, new),))
    except (OSError, writer.WriteError) as error:
        fail(f"{path} cannot be written: {error}")
    return True
