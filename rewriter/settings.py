"""Settings of a project: a TOML file and the environment, read cheaply, told apart by where each value comes from.

The nearest ``opensora-rewriter.toml``, or ``pyproject.toml`` with a table ``[tool.opensora-rewriter]``, at or above the
first PATH holds (in one folder the former wins); nothing above it is read. The command line wins over the environment
(``OPENSORA_CACHE_DIR``), the environment over the file. A directory given for every component replaces whatever a
weaker place says about directories; one given for a single component replaces that component's only.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rewriter.frozen import Frozen, factory, replace
from rewriter.locality import folded

OWN_FILE = "opensora-rewriter.toml"
PYPROJECT = "pyproject.toml"
TABLE = ("tool", "opensora-rewriter")
ENVIRONMENT = "OPENSORA_CACHE_DIR"
COMMAND_LINE = "command line"


class SettingsError(Exception):
    """Settings that cannot be used. ``problems``: one line each, ``FILE:LINE: what was found, what is right``."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Settings(Frozen):
    """What holds. Directories are absolute; patterns and codes are as written.

    ``cache_dir``: for every component. ``cache_dirs``: ``(component, directory)`` that win over it.
    ``per_file_ignores``: ``(gitignore-style pattern relative to the settings file's folder, codes)``.
    ``path``: the settings file, or None. ``origins``: field name (``"cache_dirs.vae"`` for a part) -> "command line",
    "environment OPENSORA_CACHE_DIR" or "PATH:LINE"; a name that is absent has its default.
    """

    cache_dir: str | None = None
    cache_dirs: tuple[tuple[str, str], ...] = ()
    components: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    local_files_only: bool = False
    all_configs: bool = False
    opensora_source: str | None = None
    path: str | None = None
    origins: Mapping[str, str] = factory(dict)

    @property
    def folder(self) -> str | None:
        """The folder that the file's patterns are relative to."""
        return None if self.path is None else os.path.dirname(self.path)


def load(start: str, environ: Mapping[str, str]) -> Settings:
    """The settings for a run on ``start`` (its first PATH, or the working directory), without the command line's.

    Raises SettingsError.
    """
    path = find(start)
    settings = Settings() if path is None else _from_file(path)
    text = environ.get(ENVIRONMENT, "")
    if not text.strip():
        return settings
    origin = f"environment {ENVIRONMENT}"
    try:
        general, single = parse_cache_dirs(filter(str.strip, text.split(os.pathsep)))
    except ValueError as error:
        raise SettingsError([f"{origin}: {error}"]) from None
    return with_cache_dirs(settings, general, single, origin)


def find(start: str) -> str | None:
    """The settings file for ``start``, an existing or missing path; None where there is none up to the top."""
    folder = os.path.abspath(start)
    if not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    while True:
        own = os.path.join(folder, OWN_FILE)
        if os.path.lexists(own):  # whatever it is: what cannot be read is told, not passed over
            return own
        shared = os.path.join(folder, PYPROJECT)
        if os.path.isfile(shared) and _has_table(shared):
            return shared
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def parse_cache_dirs(items: Iterable[str]) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """``DIR`` and ``COMPONENT=DIR`` items, as ``--cache-dir`` takes them; in the environment they are separated like
    ``PATH`` (``/models/hub:vae=/models/vae``). Directories come back absolute. Raises ValueError.
    """
    general: str | None = None
    single: dict[str, str] = {}
    for item in items:
        name, equals, rest = item.partition("=")
        if equals and name.isidentifier():
            single[name] = directory(rest, os.getcwd(), item)
        elif general is not None:
            raise ValueError(f"two directories for every component: {general} and {item}")
        else:
            general = directory(item, os.getcwd())
    return general, tuple(single.items())


def with_cache_dirs(
    settings: Settings, general: str | None, single: Iterable[tuple[str, str]], origin: str = COMMAND_LINE
) -> Settings:
    """``settings`` overridden by directories of a stronger place."""
    origins = dict(settings.origins)
    merged = dict(settings.cache_dirs)
    if general is not None:
        merged = {}
        origins = {name: value for name, value in origins.items() if not name.startswith("cache_dirs.")}
        origins["cache_dir"] = origin
    for name, directory in single:
        merged[name] = directory
        origins[f"cache_dirs.{name}"] = origin
    return replace(
        settings,
        cache_dir=settings.cache_dir if general is None else general,
        cache_dirs=tuple(merged.items()),
        origins=origins,
    )


def with_options(
    settings: Settings, *, components: tuple[str, ...] = (), include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (), local_files_only: bool = False, all_configs: bool = False,
    opensora_source: str | None = None,
) -> Settings:  # fmt: skip
    """``settings`` overridden by what the command line gives; an empty or False value was not given."""
    given = {
        "components": components, "include": include, "exclude": exclude, "local_files_only": local_files_only,
        "all_configs": all_configs, "opensora_source": opensora_source,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value}
    origins = {**settings.origins, **dict.fromkeys(given, COMMAND_LINE)}
    return replace(settings, **given, origins=origins)


def explain(settings: Settings, cwd: str | None = None) -> list[str]:
    """One line a setting, as TOML with a comment that says where it comes from."""
    from rewriter.report import printable, shown

    def line(name: str, value: object) -> str:
        origin = settings.origins.get(name, "default")
        where = shown(origin, cwd) if cwd is not None else origin
        return printable(f"{'.'.join(map(_kebab, name.split('.', 1)))} = {_toml(value)}  # {where}")

    lines = [line("cache_dir", settings.cache_dir)]
    lines += [line(f"cache_dirs.{name}", directory) for name, directory in settings.cache_dirs]
    for name in ("components", "include", "exclude", "ignore"):
        lines.append(line(name, getattr(settings, name)))
    for pattern, codes in settings.per_file_ignores:
        origin = settings.origins.get(f"per_file_ignores.{pattern}", "default")
        where = shown(origin, cwd) if cwd is not None else origin
        lines.append(printable(f"per-file-ignores.{_toml(pattern)} = {_toml(codes)}  # {where}"))
    for name in ("local_files_only", "all_configs", "opensora_source"):
        lines.append(line(name, getattr(settings, name)))
    return lines


# --- the file ------------------------------------------------------------------------------------


def _has_table(path: str) -> bool:
    data = _read(path)
    if b"opensora-rewriter" not in data:  # nearly every pyproject.toml: no TOML parser is imported
        return False
    tool = _toml_of(path, data).get(TABLE[0])
    return isinstance(tool, dict) and TABLE[1] in tool


def _read(path: str) -> bytes:
    from rewriter.checkout import Unreadable, read_bytes  # which never waits on a pipe

    try:
        return read_bytes(path)
    except Unreadable as error:
        remedy = "make it a readable file with the settings, or remove it"
        raise SettingsError([f"{path}: {error.message}; {remedy}"]) from None


def _toml_of(path: str, data: bytes) -> dict[str, object]:
    tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        found: dict[str, object] = tomllib.loads(data.decode("utf-8").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError([f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; TOML must be"]) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        told = re.search(r"line (\d+)", str(error))
        place = f"{path}:{told[1]}" if told else path
        raise SettingsError([f"{place}: not TOML: {error}"]) from None
    return found


def _from_file(path: str) -> Settings:
    data = _read(path)
    document = _toml_of(path, data)
    prefix = TABLE if os.path.basename(path) == PYPROJECT else ()
    table: object = document
    for part in prefix:
        table = table[part] if isinstance(table, dict) else None
    lines = Lines(data.decode("utf-8"), prefix)
    if not isinstance(table, dict):
        raise SettingsError([f"{path}:{lines.of()}: `{'.'.join(prefix)}` must be a table"])
    from rewriter.settings_model import validated

    model, problems = validated(table)
    if model is None:
        raise SettingsError(f"{path}:{lines.of(*where)}: {message}" for where, message in problems)
    return _plain(path, model, lines)


def _plain(path: str, model: Mapping[str, object], lines: Lines) -> Settings:
    """Plain values from the validated ones; ``model`` holds only the keys that the file gives."""
    folder = os.path.dirname(path)
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for name, value in model.items():
        origin = f"{path}:{lines.of(name)}"
        if isinstance(value, dict):
            origins.update({f"{name}.{part}": f"{path}:{lines.of(name, part)}" for part in value})
        else:
            origins[name] = origin
        if name in ("cache_dir", "opensora_source") and isinstance(value, str):
            values[name] = directory(value, folder)
        elif name == "cache_dirs" and isinstance(value, dict):
            values[name] = tuple((part, directory(text, folder)) for part, text in value.items())
        elif isinstance(value, dict):
            values[name] = tuple((part, tuple(codes)) for part, codes in value.items())
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return Settings(**values, path=path, origins=origins)  # type: ignore[arg-type]


def directory(text: str, base: str, given: str | None = None) -> str:
    """Absolute, ``~`` expanded, normalised as :func:`folded` does. Raises ValueError with what was ``given``."""
    if not text.strip() or "\0" in text:
        raise ValueError(f"{text if given is None else given!r} names no directory")
    return folded(os.path.join(base, os.path.expanduser(text)))


def _kebab(name: str) -> str:
    return name.replace("_", "-")


def _toml(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- where a key stands --------------------------------------------------------------------------

_KEY = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = rf"[ \t]*\[{{1,2}}[ \t]*({_DOTTED})[ \t]*\]"
_ASSIGNMENT = rf"[ \t]*({_DOTTED})[ \t]*="


class Lines:
    """The lines at which the keys of a table stand in TOML text, by a scan of headers and assignments.

    A key of an inline table has the line of that table. Lines of a multi-line string may pass for keys; a wrong
    line number in a message is all that could come of it.
    """

    def __init__(self, text: str, prefix: tuple[str, ...] = ()) -> None:
        self.prefix = tuple(map(_normal, prefix))
        self.found: dict[tuple[str, ...], int] = {}
        for path, line in _keys(text):
            for length in range(1, len(path) + 1):
                self.found.setdefault(path[:length], line)

    def of(self, *keys: str) -> int:
        """1-based line of a key below the prefix, or of the nearest table around it."""
        path = self.prefix + tuple(map(_normal, keys))
        for length in range(len(path), 0, -1):
            if path[:length] in self.found:
                return self.found[path[:length]]
        return 1


def _keys(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    header: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        table = re.match(_HEADER, line)
        assigned = None if table else re.match(_ASSIGNMENT, line)
        if table:
            header = _parts(table[1])
            yield header, number
        elif assigned:
            yield header + _parts(assigned[1]), number


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(_normal(part.strip("\"'")) for part in re.findall(_KEY, dotted))


def _normal(key: str) -> str:
    return key.replace("_", "-")
