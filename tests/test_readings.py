"""What the reader says of a config, whole: every position, value, way and word."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rewriter.configs import inherit, read_config
from rewriter.types import ConfigFile, Problem, Span, Value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PATH = "/c/configs/x.py"
READINGS = tomllib.loads(Path(__file__).with_name("readings.toml").read_text(encoding="utf-8"))
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in READINGS["case"]}
INHERITED: dict[str, dict[str, Any]] = {case["name"]: case for case in READINGS["inherited"]}


def shown(config: ConfigFile) -> str:
    """All that was read of a config, as text."""
    if config.problem is not None:
        p = config.problem
        assert config == ConfigFile(PATH, problem=p)
        return f"problem {p.line}:{p.column} {p.message} -> {p.remedy}"
    lines = []
    for c in config.components:
        lines.append(" ".join([".".join(c.keys), c.form, place(c.span), "in", place(c.statement), *c.ways]))
        lines.append(f"  text {c.text}")
        lines += [f"  written {k.key} {place(k.span)} {value(k.value)}" for k in c.written]
        lines += [f"  has {key} {value(v)}" for key, v in c.values]
        for o in c.overrides:
            how = "sets" if o.certain else "may set"
            what = f"any key: {o.why}" if o.why else f"{o.key} {value(o.value) if o.value else 'to nothing'}"
            lines.append(f"  line {o.line} {how} {what}")
        lines += [f"  unsure {c.unsure}"] * (c.unsure is not None)
        lines += [f"  replaced by line {c.replaced_by}"] * (c.replaced_by is not None)
        lines += [f"  also {other}" for other in c.shared_with]
        for taker in c.takers:
            made = f"  made into {' and '.join(map('.'.join, taker.places)) or 'nothing'} {place(taker.span)}"
            lines.append(made + f" by ** beside {' '.join(map(str, taker.given))}".rstrip() * taker.stars)
        lines += ["  deletes"] * c.delete
        lines += [f"  from {c.origin}"] * (c.origin is not None)
    lines += [f"base {base}" for base in config.bases]
    lines += [f"bases {config.bases_unknown}"] * (config.bases_unknown is not None)
    lines += [f"bases at {place(config.base_span)}"] if config.base_span else []
    for b in config.base_changes:
        lines.append(f"line {b.line} changes {'.'.join(['_base_', *b.keys])} {b.key} {b.text}".rstrip() + f": {b.why}")
    lines.append("binds " + " ".join(sorted(config.assigned)))
    return "\n".join(lines)


def place(span: Span) -> str:
    return f"{span.line}:{span.column}-{span.end_line}:{span.end_column}"


def value(given: Value) -> str:
    return f"= {given.value!r} | {given.text}" if given.literal else f"? {given.text}"


@pytest.mark.parametrize("name", CASES)
def test_a_reading_whole(name: str) -> None:
    assert shown(read_config(CASES[name]["config"].encode(), PATH)) == CASES[name]["read"]


@pytest.mark.parametrize("name", CASES)
def test_a_reading_is_moved_with_its_lines(name: str) -> None:
    """What has been read before is read anew further down, after other statements, and with other line ends."""
    text = CASES[name]["config"]
    read_config(text.encode(), PATH)
    alone = read_config(f"x0 = 1\n\n# a comment\n{text}".encode(), PATH)
    again = read_config(f"x0 = 2\n\n# a comment\n{text}".encode(), PATH)
    whole = read_config(
        f"x0 = 1\r\n\r\n# a comment\r\n{text}".replace("\r\n", "\n").replace("\n", "\r\n").encode(), PATH
    )
    assert shown(alone) == shown(again) == shown(whole)


@pytest.mark.parametrize("name", INHERITED)
def test_a_reading_whole_with_what_it_inherits(name: str) -> None:
    texts = {"x": INHERITED[name]["config"], **{k: INHERITED[name][k] for k in ("base", "far") if k in INHERITED[name]}}
    paths = {f"/c/configs/{file}.py": text for file, text in texts.items()}
    files = {path: read_config(text.encode(), path) for path, text in paths.items()}
    assert shown(inherit(files[PATH], files.get)) == INHERITED[name]["read"]


# --- what is too long or too much -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("'" + "x" * 198 + "'", "'" + "x" * 198 + "'"),
        ("'" + "x" * 199 + "'", "'" + "x" * 196 + "..."),
        ("'" + "模" * 198 + "'", "'" + "模" * 198 + "'"),
        ("'" + "模" * 199 + "'", "'" + "模" * 196 + "..."),
        ("'" + "模" * 400 + "'", "'" + "模" * 196 + "..."),
        ("['" + "模" * 400 + "',\n1]", "['" + "模" * 195 + "..."),
        ("(1,\n" + "\n" * 300 + "2)", "(1," + " " * 194 + "..."),
        ("[\n" + "1,\n" * 64 + "1]", "[ " + "1, " * 64 + "1]"),
        ("[\n" + "1,\n" * 66 + "1]", "[ " + "1, " * 65 + "..."),
        ("[\n" + "1,\n" * 500 + "1]", "[ " + "1, " * 65 + "..."),
        ("['" + "y" * 300 + "',\n 1]", "['" + "y" * 195 + "..."),
        ("[1,\n'" + "y" * 2000 + "',\n 1]", "[1, '" + "y" * 192 + "..."),
        ("(1,\n\t# why\n\n  2  )", "(1, # why  2  )"),
    ],
)
def test_a_text_is_one_line_of_200_characters(written: str, text: str) -> None:
    found = dict(read_config(f"x = 1\nvae = dict(a=1, b={written}, c=2)\n".encode(), PATH).components[0].values)
    assert found["b"].text == text
    assert len(text) <= 200
    assert (found["a"].text, found["c"].text) == ("1", "2")


def test_dicts_that_hold_each_other_twice_again_and_again_are_a_problem() -> None:
    lines = ["d0 = dict(a=1)\n", *[f"d{i + 1} = dict(l=d{i}, r=d{i})\n" for i in range(12)]]
    assert len(read_config("".join(lines[:9]).encode(), PATH).components) == sum(2 ** (i + 1) - 1 for i in range(9))
    assert read_config("".join(lines).encode(), PATH) == ConfigFile(
        PATH, problem=Problem(10, 0, "one dict stands in more than 1000 places", "leave the file out")
    )


@pytest.mark.parametrize(("places", "readable"), [(1000, True), (1001, False)])
def test_a_dict_may_stand_in_a_thousand_places(places: int, readable: bool) -> None:
    others = ", ".join(f"a{i}=d" for i in range(places - 1))
    assert (read_config(f"d = dict()\nm = dict({others})\n".encode(), PATH).problem is None) is readable


@pytest.mark.parametrize(("names", "doubted"), [(199, ["vae"]), (200, ["vae", "t5"])])
def test_a_name_that_leads_through_too_many_may_lead_anywhere(names: int, doubted: list[str]) -> None:
    text = "vae = dict()\nt5 = dict()\nx0 = [vae]\n" + "".join(f"x{i} = [x{i - 1}]\n" for i in range(1, names))
    found = read_config(f"{text}f(x{names - 1})\n".encode(), PATH).components
    assert [c.name for c in found if c.unsure] == doubted


def test_a_union_of_too_many_is_a_problem() -> None:
    problem = read_config(b"vae = " + b" | ".join([b"{}"] * 900) + b"\n", PATH).problem
    assert problem is not None
    assert (problem.line, problem.column, problem.remedy) == (1, 0, "leave the file out")
    assert problem.message.startswith("the file nests ")
