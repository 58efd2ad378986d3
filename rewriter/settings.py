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
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from rewriter.files import Unreadable, read_bytes
from rewriter.rules import NEVER_IGNORED, all_rules

OWN_FILE = "opensora-rewriter.toml"
PYPROJECT = "pyproject.toml"
TABLE = "opensora-rewriter"  # below [tool] in pyproject.toml
ENVIRONMENT = "OPENSORA_CACHE_DIR"
COMMAND_LINE = "command line"


class SettingsError(Exception):
    """Settings that cannot be used: one line a problem, ``FILE:LINE: what was found, what is right``."""


class Settings(NamedTuple):
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
    origins: Mapping[str, str] = MappingProxyType({})

    @property
    def folder(self) -> str | None:
        """The folder that the file's patterns are relative to."""
        return None if self.path is None else os.path.dirname(self.path)


_NAMES = tuple(name for name in Settings._fields if name not in ("path", "origins"))


def load(start: str, environ: Mapping[str, str]) -> Settings:
    """The settings for a run on ``start`` (its first PATH, or the working directory), without the command line's.

    Raises SettingsError.
    """
    settings, origin = _read_nearest(start), f"environment {ENVIRONMENT}"
    try:
        return with_cache_dirs(settings, filter(str.strip, environ.get(ENVIRONMENT, "").split(os.pathsep)), origin)
    except ValueError as error:
        raise SettingsError(f"{origin}: {error}") from None


def with_cache_dirs(settings: Settings, items: Iterable[str], origin: str = COMMAND_LINE) -> Settings:
    """``settings`` overridden by ``DIR`` and ``COMPONENT=DIR`` items of a stronger place. Raises ValueError.

    In the environment they are separated like ``PATH`` (``/models/hub:vae=/models/vae``).
    """
    general: str | None = None
    single: dict[str, str] = {}
    for item in items:
        name, equals, rest = item.partition("=")
        if equals and name.isidentifier():
            single[name] = make_absolute(rest, os.getcwd())
        elif general is not None:
            raise ValueError(f"two directories for every component: {general} and {item}")
        else:
            general = make_absolute(item, os.getcwd())
    directories, origins = dict(settings.cache_dirs), dict(settings.origins)
    if general is not None:
        directories = {}
        origins = {name: value for name, value in origins.items() if not name.startswith("cache_dirs.")}
        origins["cache_dir"] = origin
    directories |= single
    origins |= {f"cache_dirs.{name}": origin for name in single}
    cache_dir = general or settings.cache_dir
    return settings._replace(cache_dir=cache_dir, cache_dirs=tuple(directories.items()), origins=origins)


def make_absolute(text: str, base: str) -> str:
    """An absolute directory, ``~`` expanded, normalised. Raises ValueError."""
    if not text.strip():
        raise ValueError(f"{text!r} names no directory")
    return os.path.normpath(os.path.join(base, os.path.expanduser(text)))


def with_options(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """``settings`` overridden by options of the command line; an empty or False value was not given."""
    given = {name: value for name, value in options.items() if value}
    return settings._replace(**given, origins={**settings.origins, **dict.fromkeys(given, COMMAND_LINE)})


def explain(settings: Settings, cwd: str) -> list[str]:
    """One line a setting, as TOML with a comment that says where it comes from."""
    import json  # JSON's strings, lists and booleans are TOML's

    lines = []
    for name in _NAMES:
        value = getattr(settings, name)
        for part, each in value if name in ("cache_dirs", "per_file_ignores") else [("", value)]:
            key = name.replace("_", "-") + (f".{part if part.isidentifier() else json.dumps(part)}" if part else "")
            origin = settings.origins.get(f"{name}.{part}" if part else name, "default")
            shown = json.dumps("" if each is None else each, ensure_ascii=False)
            lines.append(f"{key} = {shown}  # {origin.removeprefix(cwd.rstrip(os.sep) + os.sep)}")
    return lines


def _read_nearest(start: str) -> Settings:
    folder = os.path.abspath(start)
    while True:
        for name, keys in (OWN_FILE, ()), (PYPROJECT, ("tool", TABLE)):
            path = os.path.join(folder, name)
            found = _read_settings(path, keys) if os.path.isfile(path) else None
            if found is not None:
                return found
        if folder == (folder := os.path.dirname(folder)):
            return Settings()


def _read_settings(path: str, keys: tuple[str, ...]) -> Settings | None:
    """The settings of one file, in the table that ``keys`` lead to; None: there is no such table."""
    try:
        text = read_bytes(path).decode("utf-8").replace("\r\n", "\n")
        if keys and TABLE not in text:  # as in nearly every pyproject.toml: then no TOML parser is imported
            return None
        tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
        table: Any = tomllib.loads(text)
    except Unreadable as error:
        raise SettingsError(f"{path}: {error.message}; {error.remedy}") from None
    except ValueError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return None
    start = text.find(TABLE) if keys else 0
    values, problems = _validate(table, os.path.dirname(path))
    if problems:
        found = (f"{path}:{_find_line(text, start, names)}: {problem}" for names, problem in problems)
        raise SettingsError("\n".join(found))
    origins = {}
    for name in values:
        given = table.get(name.replace("_", "-"), table.get(name))
        for part in given if isinstance(given, dict) else [""]:
            line = _find_line(text, start, (name, part) if part else (name,))
            origins[f"{name}.{part}" if part else name] = f"{path}:{line}"
    return Settings(**values, path=path, origins=origins)


def _find_line(text: str, start: int, keys: Iterable[str]) -> int:
    """The line after the offset ``start`` that names the last of ``keys`` that is found, in a header or assignment."""
    for key in keys:
        name = re.sub("[-_]", "[-_]", re.escape(key).replace("\\-", "-"))
        found = re.compile(rf"""^[ \t]*(?:\[.*|.*\.)?["']?{name}["']?[ \t]*[]=.]""", re.M).search(text, start)
        start = found.start() if found else start
    return text.count("\n", 0, start) + 1


def _validate(table: Mapping[str, object], folder: str) -> tuple[dict[str, Any], list[tuple[list[str], str]]]:
    """The given settings by field name, and what is wrong: the keys that lead to a value, and a message."""
    from pydantic import AfterValidator, ConfigDict, Field, StrictBool, ValidationError, create_model

    component = Annotated[str, Field(pattern=r"^[^\W\d]\w*$")]
    directory = Annotated[str, AfterValidator(lambda text: make_absolute(text, folder))]
    codes = list[Annotated[str, AfterValidator(_check_code)]]
    types: dict[str, Any] = {
        "cache_dir": directory,
        "cache_dirs": dict[component, directory],
        "components": list[component],
        "include": list[str],
        "exclude": list[str],
        "ignore": codes,
        "per_file_ignores": dict[str, codes],
        "local_files_only": StrictBool,
        "all_configs": StrictBool,
        "opensora_source": directory,
    }
    config = ConfigDict(extra="forbid", alias_generator=lambda name: name.replace("_", "-"), populate_by_name=True)
    optional: dict[str, Any] = {name: (kind, None) for name, kind in types.items()}
    model = create_model("Table", __config__=config, **optional)
    try:
        made = model.model_validate(table)
    except ValidationError as error:
        return {}, [_describe(each["loc"], each["type"], each["msg"]) for each in error.errors()]
    return {name: _freeze(getattr(made, name)) for name in made.model_fields_set}, []


def _freeze(value: Any) -> Any:
    """Tuples for lists, and for a dict the tuple of its items."""
    if isinstance(value, dict):
        return tuple((key, _freeze(each)) for key, each in value.items())
    return tuple(value) if isinstance(value, list) else value


def _describe(loc: tuple[str | int, ...], kind: str, message: str) -> tuple[list[str], str]:
    keys = [part for part in loc if isinstance(part, str) and part != "[key]"]
    if kind == "extra_forbidden":
        return keys, f"unknown key `{keys[0]}`{_hint(keys[0], [each.replace('_', '-') for each in _NAMES])}"
    return keys, f"`{'.'.join(keys)}`: {message.removeprefix('Value error, ')}"


def _check_code(value: str) -> str:
    known = all_rules().keys() - NEVER_IGNORED
    if value not in known:
        raise ValueError(f"no finding {value!r} that can be ignored{_hint(value.upper(), sorted(known))}")
    return value


def _hint(word: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, known, 1)
    return f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(known)}"
