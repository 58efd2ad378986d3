"""The shape of a settings file, as a pydantic model: imported only where a settings file exists."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from rewriter.ignores import NEVER_IGNORED
from rewriter.rules import all_rules
from rewriter.settings import directory

Problem = tuple[tuple[str, ...], str]  # the keys that lead to it, and what is wrong there


def _code(value: str) -> str:
    if value in NEVER_IGNORED:
        raise ValueError(f"{value} cannot be ignored")
    known = all_rules().keys() - NEVER_IGNORED
    if value not in known:
        raise ValueError(f"no such finding {value!r}{_hint(value.upper(), sorted(known))}")
    return value


def _component(value: str) -> str:
    if not value.isidentifier():
        raise ValueError(f"{value!r} is not a component's name (an identifier)")
    return value


def _directory(value: str) -> str:
    directory(value, os.curdir)
    return value


Code = Annotated[str, AfterValidator(_code)]
Component = Annotated[str, AfterValidator(_component)]
Directory = Annotated[str, AfterValidator(_directory)]


class Model(BaseModel):
    """``[tool.opensora-rewriter]``: see :class:`rewriter.settings.Settings` for what each key means."""

    model_config = ConfigDict(extra="forbid", strict=True)

    cache_dir: Directory | None = None
    cache_dirs: dict[Component, Directory] = {}
    components: list[Component] = []
    include: list[str] = []
    exclude: list[str] = []
    ignore: list[Code] = []
    per_file_ignores: dict[str, list[Code]] = {}
    local_files_only: bool = False
    all_configs: bool = False
    opensora_source: Directory | None = None


_EXPECTED = {
    "string_type": "a string", "bool_type": "true or false", "list_type": "a list of strings", "dict_type": "a table",
}  # fmt: skip


def validated(table: Mapping[str, object]) -> tuple[dict[str, object] | None, list[Problem]]:
    """The keys that ``table`` gives, snake case, checked; or None and what is wrong with each."""
    problems: list[Problem] = []
    renamed: dict[str, object] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in renamed:
            problems.append(((key,), f"`{key}` is given twice, with - and with _"))
        renamed[name] = value
    try:
        model = Model.model_validate(renamed)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            keys = tuple(str(part) for part in detail["loc"] if isinstance(part, str) and part != "[key]")
            problems.append((keys, _words(keys, detail["type"], detail["input"], detail["msg"])))
        return None, problems
    return (None, problems) if problems else (model.model_dump(exclude_unset=True), [])


def _words(keys: tuple[str, ...], kind: str, found: object, message: str) -> str:
    name = ".".join(key.replace("_", "-") if place == 0 else key for place, key in enumerate(keys))
    if kind == "extra_forbidden":
        return f"unknown key `{name}`{_hint(name, [field.replace('_', '-') for field in Model.model_fields])}"
    if kind in _EXPECTED:
        return f"`{name}` must be {_EXPECTED[kind]}, not {found!r}"
    return f"`{name}`: {message.removeprefix('Value error, ')}"


def _hint(word: str, known: Iterable[str]) -> str:
    """The nearest right name, or all of them."""
    names = list(known)
    near = get_close_matches(word, names, 1)
    return f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(names)}"
