"""The shape of a settings file, as a pydantic model: imported only where a settings file exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from rewriter.rules import NEVER_IGNORED, all_rules

Problem = tuple[tuple[str, ...], str]
"""The keys that lead to a value, and what is wrong with it."""


def _check_code(value: str) -> str:
    if value in NEVER_IGNORED:
        raise ValueError(f"{value} cannot be ignored")
    known = all_rules().keys() - NEVER_IGNORED
    if value not in known:
        raise ValueError(f"no such finding {value!r}{_hint(value.upper(), sorted(known))}")
    return value


def _check_component(value: str) -> str:
    if not value.isidentifier():
        raise ValueError(f"{value!r} is not a component's name (an identifier)")
    return value


def _check_directory(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError(f"{value!r} names no directory")
    return value


Code = Annotated[str, AfterValidator(_check_code)]
Component = Annotated[str, AfterValidator(_check_component)]
Directory = Annotated[str, AfterValidator(_check_directory)]


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
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "a list of strings",
    "dict_type": "a table",
}


def validate(table: Mapping[str, object]) -> tuple[dict[str, object] | None, list[Problem]]:
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
            problems.append((keys, _describe(keys, detail["type"], detail["input"], detail["msg"])))
    return (None, problems) if problems else (model.model_dump(exclude_unset=True), [])


def _describe(keys: tuple[str, ...], kind: str, found: object, message: str) -> str:
    name = ".".join([keys[0].replace("_", "-"), *keys[1:]])
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
