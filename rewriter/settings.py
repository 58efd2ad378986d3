"""Settings of a project: a TOML file and the environment, each value with the place that it comes from.

The nearest ``opensora-rewriter.toml``, or ``pyproject.toml`` with a table ``[tool.opensora-rewriter]``, at or above the
first PATH is used (in one folder the former wins); nothing above it is read. The command line wins over the environment
(``OPENSORA_CACHE_DIR``), the environment over the file. A directory given for every component replaces all that a
weaker place says about directories; one given for a single component replaces that component's only.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rewriter.files import Unreadable, read_bytes
from rewriter.locality import normalize_path

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


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a run. Directories are absolute; patterns and codes are as written.

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
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str | None:
        """The folder that the file's patterns are relative to."""
        return None if self.path is None else os.path.dirname(self.path)


def load(start: str, environ: Mapping[str, str]) -> Settings:
    """The settings for a run on ``start`` (its first PATH, or the working directory), without the command line's.

    Raises SettingsError.
    """
    path = find(start)
    settings = Settings() if path is None else _read_settings(path)
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
        if os.path.lexists(own):  # whatever it is: a file that cannot be read is an error, not passed over
            return own
        pyproject = os.path.join(folder, PYPROJECT)
        if os.path.isfile(pyproject) and _has_table(pyproject):
            return pyproject
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def parse_cache_dirs(items: Iterable[str]) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """``DIR`` and ``COMPONENT=DIR`` items, as ``--cache-dir`` takes them; directories come back absolute.

    In the environment they are separated like ``PATH`` (``/models/hub:vae=/models/vae``). Raises ValueError.
    """
    general: str | None = None
    single: dict[str, str] = {}
    for item in items:
        name, equals, rest = item.partition("=")
        if equals and name.isidentifier():
            single[name] = make_absolute(rest, os.getcwd(), item)
        elif general is not None:
            raise ValueError(f"two directories for every component: {general} and {item}")
        else:
            general = make_absolute(item, os.getcwd())
    return general, tuple(single.items())


def make_absolute(text: str, base: str, given: str | None = None) -> str:
    """An absolute directory, ``~`` expanded, normalised. Raises ValueError with the text that was ``given``."""
    if not text.strip() or "\0" in text:
        raise ValueError(f"{text if given is None else given!r} names no directory")
    return normalize_path(os.path.join(base, os.path.expanduser(text)))


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


def with_options(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """``settings`` overridden by options of the command line; an empty or False value was not given."""
    given = {name: value for name, value in options.items() if value}
    origins = {**settings.origins, **dict.fromkeys(given, COMMAND_LINE)}
    return replace(settings, **given, origins=origins)


def explain(settings: Settings, cwd: str) -> list[str]:
    """One line a setting, as TOML with a comment that says where it comes from."""
    rows: list[tuple[str, str, object]] = [("cache-dir", "cache_dir", settings.cache_dir)]
    rows += [(f"cache-dirs.{name}", f"cache_dirs.{name}", path) for name, path in settings.cache_dirs]
    rows += [(name, name, getattr(settings, name)) for name in ("components", "include", "exclude", "ignore")]
    rows += [
        (f"per-file-ignores.{_to_toml(pattern)}", f"per_file_ignores.{pattern}", codes)
        for pattern, codes in settings.per_file_ignores
    ]
    for name in ("local_files_only", "all_configs", "opensora_source"):
        rows.append((name.replace("_", "-"), name, getattr(settings, name)))
    prefix = cwd.rstrip(os.sep) + os.sep
    return [
        f"{key} = {_to_toml(value)}  # {settings.origins.get(name, 'default').removeprefix(prefix)}"
        for key, name, value in rows
    ]


def _to_toml(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_to_toml, value)) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- the file ------------------------------------------------------------------------------------


def _has_table(path: str) -> bool:
    data = _read(path)
    if TABLE[1].encode() not in data:  # nearly every pyproject.toml: no TOML parser is imported
        return False
    tool = _parse_toml(path, data).get(TABLE[0])
    return isinstance(tool, dict) and TABLE[1] in tool


def _read(path: str) -> bytes:
    try:
        return read_bytes(path)
    except Unreadable as error:
        remedy = "make it a readable file with the settings, or remove it"
        raise SettingsError([f"{path}: {error.message}; {remedy}"]) from None


def _parse_toml(path: str, data: bytes) -> dict[str, object]:
    tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document: dict[str, object] = tomllib.loads(data.decode("utf-8").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError([f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; TOML must be"]) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        number = re.search(r"line (\d+)", str(error))
        place = f"{path}:{number[1]}" if number else path
        raise SettingsError([f"{place}: not TOML: {error}"]) from None
    return document


def _read_settings(path: str) -> Settings:
    data = _read(path)
    table: object = _parse_toml(path, data)
    prefix = TABLE if os.path.basename(path) == PYPROJECT else ()
    for part in prefix:
        table = table[part] if isinstance(table, dict) else None
    lines = dict(_find_keys(data.decode("utf-8")))

    def place(*keys: str) -> str:
        full = [_kebab(key) for key in (*prefix, *keys)]
        while full and tuple(full) not in lines:
            full.pop()
        return f"{path}:{lines.get(tuple(full), 1)}"

    if not isinstance(table, dict):
        raise SettingsError([f"{place()}: `{'.'.join(prefix)}` must be a table"])
    from rewriter.settings_model import validate  # which imports pydantic

    model, problems = validate(table)
    if model is None:
        raise SettingsError(f"{place(*keys)}: {message}" for keys, message in problems)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, value in model.items():
        values[name] = _convert(name, value, os.path.dirname(path))
        if isinstance(value, dict):
            origins.update({f"{name}.{part}": place(name, part) for part in value})
        else:
            origins[name] = place(name)
    return Settings(**values, path=path, origins=origins)


def _convert(name: str, value: object, folder: str) -> object:
    """A validated value as :class:`Settings` holds it: tuples, and directories relative to the file's folder."""
    if name in ("cache_dir", "opensora_source") and isinstance(value, str):
        return make_absolute(value, folder)
    if name == "cache_dirs" and isinstance(value, dict):
        return tuple((part, make_absolute(text, folder)) for part, text in value.items())
    if isinstance(value, dict):
        return tuple((part, tuple(codes)) for part, codes in value.items())
    return tuple(value) if isinstance(value, list) else value


# --- line numbers --------------------------------------------------------------------------------

_KEY = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*\[{{1,2}}[ \t]*({_DOTTED})[ \t]*\]")
_ASSIGNMENT = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")


def _find_keys(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Each key of TOML text, as a path of kebab names, with its line; tables after the keys in them.

    A scan of headers and assignments: lines of a multi-line string may be taken for keys, and then a message may have
    a wrong line number.
    """
    header: tuple[str, ...] = ()
    found: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        table, assigned = _HEADER.match(line), _ASSIGNMENT.match(line)
        if table:
            header = path = _split_key(table[1])
        elif assigned:
            path = header + _split_key(assigned[1])
        else:
            continue
        for length in range(1, len(path) + 1):
            found.setdefault(path[:length], number)
    yield from found.items()


def _split_key(dotted: str) -> tuple[str, ...]:
    return tuple(_kebab(part.strip("\"'")) for part in re.findall(_KEY, dotted))


def _kebab(key: str) -> str:
    return key.replace("_", "-")
