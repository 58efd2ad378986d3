"""Settings of a project: a TOML file and the environment, each value with the place that it comes from.

The nearest ``opensora-rewriter.toml``, or ``pyproject.toml`` with a table ``[tool.opensora-rewriter]``, at or above the
first PATH is used (in one folder the former wins); nothing above it is read. The command line wins over the environment
(``OPENSORA_CACHE_DIR``), the environment over the file. A directory given for every component replaces all that a
weaker place says about directories; one given for a single component replaces that component's only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, NamedTuple

from rewriter.files import Unreadable, list_above, parse_toml, read_bytes
from rewriter.rules import NEVER_IGNORED, all_rules

TABLE = "opensora-rewriter"  # below [tool] in pyproject.toml
ENVIRONMENT = "OPENSORA_CACHE_DIR"
COMMAND_LINE = "command line"


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
    origins: Mapping[str, str] = {}


_NAMES = tuple(name for name in Settings._fields if name not in ("path", "origins"))


def load(start: str, environ: Mapping[str, str]) -> Settings:
    """What files and the environment set for a run on ``start``. ValueError: ``FILE:LINE: ...``, a line a problem."""
    files = ((f"{TABLE}.toml", ()), ("pyproject.toml", ("tool", TABLE)))
    above = list_above(os.path.abspath(start))
    found = (_read_settings(os.path.join(folder, name), keys) for folder in above for name, keys in files)
    # separated like ``PATH``: ``/models/hub:vae=/models/vae``
    items = filter(str.strip, environ.get(ENVIRONMENT, "").split(os.pathsep))
    return with_cache_dirs(next(filter(None, found), Settings()), items, f"environment {ENVIRONMENT}")


def with_cache_dirs(settings: Settings, items: Iterable[str], origin: str = COMMAND_LINE) -> Settings:
    """``settings`` overridden by ``DIR`` and ``COMPONENT=DIR`` items of a stronger place. Raises ValueError."""
    given: dict[str, str] = {}  # "": for every component
    for item in items:
        name, equals, rest = item.partition("=")
        if not (equals and name.isidentifier()):
            name, rest = "", item
        if rest == "DIR":
            raise ValueError(f"{origin}: DIR stands for a directory; write its path")
        if not name and "" in given:
            raise ValueError(f"{origin}: two directories for every component: {given['']} and {item}")
        given[name] = make_absolute(rest)
    origins = {f"cache_dirs.{name}" if name else "cache_dir": origin for name in given}
    if "" in given:
        kept = {name: place for name, place in settings.origins.items() if not name.startswith("cache_dirs.")}
        settings = settings._replace(cache_dir=given.pop(""), cache_dirs=(), origins=kept)
    cache_dirs = tuple((dict(settings.cache_dirs) | given).items())
    return settings._replace(cache_dirs=cache_dirs, origins={**settings.origins, **origins})


def make_absolute(text: str, base: str = "") -> str:
    """An absolute directory, ``~`` expanded, normalised, links kept; ``base`` "": where we are. Raises ValueError."""
    if not text.strip():
        raise ValueError(f"{text!r} names no directory")
    return os.path.abspath(os.path.join(base, os.path.expanduser(text)))


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
            lines.append(f"{key} = {shown}  # {origin.removeprefix(os.path.join(cwd, ''))}")
    return lines


def _read_settings(path: str, keys: tuple[str, ...]) -> Settings | None:
    """The settings of one file, in the table that ``keys`` lead to; None: there is no such file or table."""
    if not os.path.isfile(path):
        return None
    try:
        text = read_bytes(path).decode().replace("\r\n", "\n")
        # Nearly every pyproject.toml does not name the table: then no TOML parser is imported.
        table: Any = parse_toml(text) if not keys or TABLE in text else None
    except (Unreadable, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return None
    from pydantic import ValidationError

    start = text.find(TABLE) if keys else 0
    try:
        values = _validate(table, os.path.dirname(path))
    except ValidationError as error:
        problems = (_describe(each["loc"], each["type"], each["msg"]) for each in error.errors())
        found = (f"{path}:{_find_line(text, start, names)}: {problem}" for names, problem in problems)
        raise ValueError("\n".join(found)) from None
    origins = {}
    for key, given in table.items():
        name = key.replace("-", "_")
        for part in given if isinstance(given, dict) else [""]:
            origins[f"{name}.{part}" if part else name] = f"{path}:{_find_line(text, start, (key, part))}"
    return Settings(**values, path=path, origins=origins)


def _find_line(text: str, start: int, keys: Iterable[str]) -> int:
    """The line after the offset ``start`` that names the last of ``keys`` that is found, in a header or assignment."""
    for key in filter(None, keys):
        found = re.compile(rf"""^[ \t]*(?:\[.*|.*\.)?["']?{re.escape(key)}["']?[ \t]*[]=.]""", re.M).search(text, start)
        start = found.start() if found else start
    return text.count("\n", 0, start) + 1


def _validate(table: Mapping[str, object], folder: str) -> dict[str, Any]:
    """The given settings by field name. Raises pydantic's ValidationError."""
    from pydantic import AfterValidator, ConfigDict, Field, StrictBool, create_model

    component = Annotated[str, Field(pattern=r"^[^\W\d]\w*$")]
    directory = Annotated[str, AfterValidator(lambda text: make_absolute(text, folder))]
    codes = tuple[Annotated[str, AfterValidator(_check_code)], ...]
    types: dict[str, Any] = {
        **dict.fromkeys(("cache_dir", "opensora_source"), directory),
        **dict.fromkeys(("include", "exclude"), tuple[str, ...]),
        **dict.fromkeys(("local_files_only", "all_configs"), StrictBool),
        "cache_dirs": dict[component, directory],
        "components": tuple[component, ...],
        "ignore": codes,
        "per_file_ignores": dict[str, codes],
    }
    config = ConfigDict(extra="forbid", alias_generator=lambda name: name.replace("_", "-"), populate_by_name=True)
    fields: dict[str, Any] = {name: (kind, None) for name, kind in types.items()}
    given = create_model("Table", __config__=config, **fields).model_validate(table).model_dump(exclude_unset=True)
    return {name: tuple(each.items()) if isinstance(each, dict) else each for name, each in given.items()}


def _describe(loc: tuple[str | int, ...], kind: str, message: str) -> tuple[list[str], str]:
    """The keys that lead to a wrong value, and what is wrong with it."""
    keys = [part for part in loc if isinstance(part, str) and part != "[key]"]
    if kind == "extra_forbidden":
        return keys, f"unknown key `{keys[0]}`{_suggest(keys[0], [name.replace('_', '-') for name in _NAMES])}"
    return keys, f"`{'.'.join(keys)}`: {message.removeprefix('Value error, ')}"


def _check_code(value: str) -> str:
    known = all_rules().keys() - NEVER_IGNORED
    if value not in known:
        raise ValueError(f"no finding {value!r} that can be ignored{_suggest(value.upper(), sorted(known))}")
    return value


def _suggest(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, 1)
    return f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(known)}"
