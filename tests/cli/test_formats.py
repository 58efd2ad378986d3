"""Formats: what programs, GitHub and viewers get, and that no value can inject anything into them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest

from rewriter import checkout as selecting
from rewriter.decide import plan as planning
from rewriter.decide.request import Request
from rewriter.files import find_repository
from rewriter.model import REMOVE, Component, ConfigChange, Decision, FileEdit, FileResult, Finding, Note, Plan, Span
from rewriter.report import FORMATS, Report, render
from rewriter.report import text as reporting
from rewriter.report.json import JsonReport
from rewriter.report.text import format_concise, format_full, list_next_steps
from rewriter.rules import all_rules
from rewriter.words import human_size, is_command

SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "sarif-schema-2.1.0.json").read_bytes())
EVIL = "a\x1b[31m\x9b2J\r\n::set-output name=x::y\u202e%0A,:"


def finding(code: str = "OSR001", path: str = "/r/configs/a.py", line: int = 2, **more: object) -> Finding:
    remedy = "opensora-rewriter rewrite {path} --cache-dir DIR"
    values: dict[str, object] = {"column": 6, "component": "vae", "message": "no cache_dir", "remedy": remedy}
    return Finding(code, path, line, **{**values, **more})  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository of reports that are about files that do not exist is /r."""
    monkeypatch.setattr(
        reporting, "find_repository", lambda cwd: "/r" if cwd.startswith("/r") else find_repository(cwd)
    )


def report(*findings: Finding, **more: object) -> Report:
    values: dict[str, object] = {"command": "check", "version": "0.1.0", "cwd": "/r", "exit_code": 1, "files": 1}
    return Report(findings=findings, **{**values, **more})  # type: ignore[arg-type]


def read(path: str, data: bytes) -> Plan:
    """A plan of one file that was read."""
    return Plan((FileResult(path, "/r", old=data, new=data),))


def decide(path: str, line: int, name: str, type_name: str, *changes: tuple[str, object]) -> Plan:
    """A plan of one file with one component that is set."""
    component = Component((name,), Span(line, 0, line, 1))
    made = tuple(ConfigChange(component, key, value) for key, value in changes)
    decision = Decision(component, "set", type_name, changes=made)
    return Plan((FileResult(path, "/r", (decision,), old=b"", new=b""),), notes=())


def fix(path: str, old: bytes, new: bytes, *lines: int) -> FileEdit:
    """The edit of a config whose components on ``lines`` change; without lines of a loader's source."""
    components = [Component(("vae",), Span(line, 0, line, 1)) for line in lines]
    changes = tuple(ConfigChange(component, "b", 1) for component in components)
    return FileEdit(path, old, new, "config" if lines else "source", changes)


def sarif(given: Report) -> dict:
    log = json.loads(render("sarif", given))
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    return log["runs"][0]


@pytest.fixture
def real(checkout: Callable[[str], Path]) -> Report:
    """`check` of the fixture v1.2 with the edits that `rewrite` would make."""
    root = checkout("v1.2")
    (root / "configs/own.py").write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")\n')
    targets = selecting.select((str(root),), all_configs=True, include=(), exclude=(), cwd=str(root)).targets
    request = Request(cache_dir="/models/hf/hub")
    checked = planning.check(targets, request._replace(checking=True), planning.Loaders())
    fixes = planning.rewrite(targets, request, planning.Loaders()).edits
    findings = tuple(checked.all_findings)
    return Report("check", "0.1.0", str(root), 1, len(targets), findings, checked.notes, checked, fixes)


# --- all of them ---


@pytest.mark.parametrize("name", FORMATS)
def test_no_value_can_drive_the_terminal_or_forge_a_line(name: str) -> None:
    evil = finding(path=f"/r/{EVIL}.py", component=EVIL, message=EVIL, remedy=EVIL)
    plan = decide(evil.path, 2, EVIL, EVIL, ("cache_dir", EVIL), (EVIL, [EVIL]))
    text = render(name, report(evil, evil, plan=plan, notes=(Note(EVIL, evil.path, 1),)))
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::set-output")]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_report_gives_the_same_bytes_whatever_the_order_of_its_findings(name: str) -> None:
    one, two = finding(line=9), finding(line=3, code="OSR004")
    assert render(name, report(one, two)) == render(name, report(two, one))


def test_a_finding_without_a_remedy_is_reported_without_an_arrow() -> None:
    head = "configs/a.py:2:7: OSR001 vae\n    no cache_dir\n"
    assert render("full", report(finding(remedy=""))) == head
    command = "    -> opensora-rewriter rewrite configs/a.py --cache-dir DIR\n"
    assert render("full", report(finding())) == head + command
    assert render("full", report(finding(remedy="correct it"))) == head + "    correct it\n", "no command: no arrow"


def test_a_file_name_that_is_not_utf8_is_shown_not_fatal() -> None:
    odd = finding(path="/r/configs/\udcff.py")
    for name in FORMATS:
        render(name, report(odd)).encode("utf-8")
    uri = sarif(report(odd))["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "configs/%FF.py"


def test_commands_are_told_from_advice_and_sizes_are_decimal() -> None:
    remedies = ("hf download a/b", "HF_HOME=/x ls", "mkdir -p x, then fill it", "correct it")
    assert [is_command(remedy) for remedy in remedies] == [True, True, False, False]
    assert [human_size(size) for size in (999, 41_234_567_890, 1_500_000_000_000)] == ["999 B", "41.2 GB", "1.5 TB"]


# --- one cause, one message ---

SAME = tuple(finding(path=f"/r/configs/{name}.py", line=number) for number, name in enumerate("abcdef", 1))


def test_one_cause_is_one_message_with_a_count_and_the_first_places() -> None:
    """Issue 16: thirty-six times "not a directory" for one missing cache directory."""
    assert list(format_full(SAME, "/r", scope=". --all-configs")) == [
        "configs/a.py:1:7: OSR001 vae",
        "    no cache_dir",
        "    6 places: also configs/b.py:2:7, configs/c.py:3:7, configs/d.py:4:7 and 2 more (--verbose lists",
        "    each)",
        "    -> opensora-rewriter rewrite . --all-configs --cache-dir DIR",
    ]
    assert list(format_concise(SAME[:2], "/r")) == [
        "configs/a.py:1:7: OSR001 vae: no cache_dir (2 places: also configs/b.py:2:7)"
    ]


def test_a_remedy_that_sets_a_value_names_the_files_it_is_for() -> None:
    remedy = "opensora-rewriter rewrite {path} --set vae.from_pretrained=a/b"
    two = [each._replace(remedy=remedy) for each in SAME[:2]]
    expected = "    -> opensora-rewriter rewrite configs/a.py configs/b.py --set vae.from_pretrained=a/b"
    assert list(format_full(two, "/r", scope="."))[-1] == expected


@pytest.mark.parametrize("name", FORMATS)
def test_python_files_that_a_message_or_remedy_names_are_relative_to_the_working_directory(name: str) -> None:
    message = (
        "it comes from a base file that cannot be read: /r/configs/base.py: no such file (/r/opensora/a.py:3), /o/x.py"
    )
    remedy = "opensora-rewriter rewrite /r/configs/base.py --cache-dir /r/hub --set vae.cache_dir=/r/hub"
    text = render(name, report(finding(message=message, remedy=remedy)))
    shown = " ".join(text.split())
    assert "read: configs/base.py: no such file (opensora/a.py:3), /o/x.py" in shown
    assert name == "concise" or remedy.replace("/r/configs", "configs") in shown, "a directory stays absolute"


def test_verbose_json_github_and_sarif_keep_each_place() -> None:
    assert sum("OSR001" in line for line in format_full(SAME, "/r", verbose=True)) == 6
    assert sum("OSR001" in line for line in format_concise(SAME, "/r", verbose=True)) == 6
    assert len(json.loads(render("json", report(*SAME)))["findings"]) == 6
    assert len(render("github", report(*SAME)).splitlines()) == 6
    assert len(sarif(report(*SAME))["results"]) == 6


def test_a_summary_names_what_is_left_to_do_by_hand_and_repeats_no_command() -> None:
    by_hand = [finding("OSR007", line=n, message=str(n), remedy="look at the script") for n in (1, 2)]
    assert list(list_next_steps(by_hand[:1])) == [], "one cause: its remedy has just been printed"
    assert list(list_next_steps((*SAME, finding("OSR002", message="b")))) == [], "commands cure all of them"
    assert list(list_next_steps((*SAME, *by_hand))) == ["next: 2 of 8 errors to cure by hand (OSR007 x2)"]


def test_a_remedy_names_the_files_that_it_is_for_where_that_is_shorter_than_all() -> None:
    given = "configs/a.py configs/b.py configs/c.py"
    found = tuple(finding(path=f"/r/configs/{name}.py") for name in "ab")
    for scope, command in (
        (given, "rewrite configs/a.py configs/b.py "),
        (". --all-configs", "rewrite . --all-configs "),
    ):
        assert any(command in line for line in format_full(found, "/r", scope=scope)), scope


def test_a_command_that_was_just_printed_is_not_printed_again() -> None:
    lines = list(format_full((finding(message="a"), finding(message="b")), "/r"))
    assert lines[2] == "    -> opensora-rewriter rewrite configs/a.py --cache-dir DIR"
    assert lines[5] == "    the same command cures it"


# --- json ---


def test_json_has_a_list_of_notes() -> None:
    notes = (Note("52 more configs: --all-configs"), Note("it is v2", "/r/a.py", 3))
    assert json.loads(render("json", report(notes=(*notes, notes[0]))))["notes"] == [
        {"message": "52 more configs: --all-configs", "path": None, "line": None},
        {"message": "it is v2", "path": "a.py", "line": 3},
    ]


def test_json_is_what_its_schema_says(real: Report) -> None:
    document = json.loads(render("json", real))
    jsonschema.validate(document, JsonReport.model_json_schema(mode="serialization"))
    assert document["summary"]["files"] == real.files > 0
    assert document["summary"]["errors"] == sum(f["severity"] == "error" for f in document["findings"]) > 0
    assert {f["path"] for f in document["findings"]} >= {"configs/opensora-v1-2/inference/sample.py"}


def test_json_tells_changes_as_values_where_json_has_them() -> None:
    changes = (("cache_dir", "/x"), ("scale", 0.5), ("shape", (1, 2)), ("opts", {"a": [True, None]}), ("old", REMOVE))
    plan = decide("/r/a.py", 1, "vae", "T", *changes, ("nan", float("nan")))
    (component,) = json.loads(render("json", report(plan=plan)))["components"]
    assert {c["key"]: (c["removed"], c["value"]) for c in component["changes"]} == {
        "cache_dir": (False, "/x"), "scale": (False, 0.5), "shape": (False, "(1, 2)"),
        "opts": (False, {"a": [True, None]}), "old": (True, None), "nan": (False, "nan"),
    }  # fmt: skip


# --- github ---


def test_github_gives_one_annotation_a_finding() -> None:
    assert render("github", report(finding(), finding("OSR010", line=4, severity="warning", remedy=""))) == (
        "::error file=configs/a.py,line=2,col=7,title=OSR001::"
        "vae: no cache_dir%0A-> opensora-rewriter rewrite configs/a.py --cache-dir DIR\n"
        "::warning file=configs/a.py,line=4,col=7,title=OSR010::vae: no cache_dir\n"
    )


def test_github_paths_start_at_the_repository_and_add_no_property() -> None:
    assert "file=configs/a.py," in render("github", report(finding(), cwd="/r/configs"))
    text = render("github", report(finding(path="/r/a,line=1::b%0A.py")))
    assert text.startswith("::error file=a%2Cline=1%3A%3Ab%250A.py,line=2,")


def test_github_and_sarif_count_columns_in_characters() -> None:
    data = 'x = "\U0001f600\u6a21"; vae = dict()\r\n'.encode()
    given = report(finding(line=1, column=data.index(b"dict")), plan=read("/r/configs/a.py", data))
    column = data.decode().index("dict") + 1
    assert f"col={column}," in render("github", given)
    run = sarif(given)
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"]["startColumn"] == column


def test_of_a_file_that_the_plan_has_not_kept_columns_are_counted_too(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes('x = "\u6a21"; vae = dict()\n'.encode())
    shown = render("github", report(finding(path=str(path), line=1, column=18), finding(path="/r/gone.py")))
    assert re.findall(r"col=(\d+)", shown) == ["7", "17"]


# --- sarif ---


def test_sarif_of_a_checkout_is_valid_and_complete(real: Report) -> None:
    run = sarif(real)
    assert len(run["results"]) == len(real.findings) > 0
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(all_rules())
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert place["uriBaseId"] in run["originalUriBaseIds"]
        assert (Path(real.root) / unquote(place["uri"])).is_file()


def test_sarif_uris_are_percent_encoded_and_absolute_outside_of_the_repository() -> None:
    run = sarif(report(finding(path="/r/a b/\u6a21:\u578b#?.py"), finding(path="/other/x.py")))
    places = [r["locations"][0]["physicalLocation"]["artifactLocation"] for r in run["results"]]
    assert places == [
        {"uri": "file:///other/x.py"},
        {"uri": "a%20b/%E6%A8%A1%3A%E5%9E%8B%23%3F.py", "uriBaseId": "SRCROOT"},
    ]
    assert run["originalUriBaseIds"]["SRCROOT"]["uri"] == "file:///r/"


def test_sarif_fingerprints_stay_when_lines_are_added_above() -> None:
    def prints(first: int) -> list[str]:
        findings = (
            finding(line=first, message=f"set again on line {first + 5}"),
            finding(line=first + 9, message=f"see opensora/x.py:{first}"),
            finding(line=first + 20, message=f"see opensora/x.py:{first + 1}"),
        )
        return [r["partialFingerprints"]["opensoraRewriter/v1"] for r in sarif(report(*findings))["results"]]

    assert prints(1) == prints(40)
    assert len(set(prints(1))) == 3


def _applied(old: bytes, replacements: list[dict]) -> bytes:
    """What a viewer makes of a file by one fix."""
    text = old.decode()
    starts = [0, *(found.end() for found in re.finditer(r"\r\n|\r|\n", text)), len(text)]

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + column - 1

    for change in sorted(replacements, key=lambda c: c["deletedRegion"]["startLine"], reverse=True):
        region = change["deletedRegion"]
        start, end = (offset(region[f"{side}Line"], region[f"{side}Column"]) for side in ("start", "end"))
        text = text[:start] + change.get("insertedContent", {"text": ""})["text"] + text[end:]
    return text.encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"vae = dict(\n    a=1,\n)\n", b"vae = dict(\n    a=1,\n    b=2,\n)\n"),
        (b"vae = dict(\r\n    a=1,\r\n)\r\n", b"vae = dict(\r\n    a=1,\r\n    b=2,\r\n)\r\n"),
        (b"vae = dict(a=1)", b"vae = dict(a=1, b=2)"),
        (
            b"#\xe6\xa8\xa1\nvae = dict(a=1) # \xf0\x9f\x98\x80",
            b"#\xe6\xa8\xa1\nvae = dict(a=1, b=2) # \xf0\x9f\x98\x80",
        ),
        (b"vae = dict(\r    a=1,\r    b=2\r)", b"vae = dict(\r    a=1,\r)"),
        (b"vae = dict(a=1,\n  b=2)", b"vae = dict(a=1)"),
        (b"vae = 1\n", b"vae = 1\nx = 2\n"),
        (b"vae = 1", b"vae = 1\nx = 2"),
        (b"vae = '\x0c'\nx = 1\n", b"vae = '\x0c'\nx = 2\n"),
    ],
)
def test_sarif_fixes_make_the_new_file_of_the_old(old: bytes, new: bytes) -> None:
    given = report(finding(line=1), fixes=(fix("/r/configs/a.py", old, new, 1),))
    (result,) = sarif(given)["results"]
    (change,) = result["fixes"][0]["artifactChanges"]
    assert _applied(old, change["replacements"]) == new


def test_sarif_mends_a_rejecting_loader_together_with_its_config() -> None:
    config = fix("/r/configs/a.py", b"vae = dict()\n", b"vae = dict(b=1)\n", 1)
    source = fix("/r/opensora/vae.py", b"def f(): pass\n", b"def f(b=None): pass\n")
    (result,) = sarif(report(finding("OSR004", line=1), fixes=(source, config)))["results"]
    (made,) = result["fixes"]
    uris = [change["artifactLocation"]["uri"] for change in made["artifactChanges"]]
    assert uris == ["configs/a.py", "opensora/vae.py"]


def test_sarif_fixes_of_a_checkout_apply_to_its_files(real: Report) -> None:
    mine = next(f for f in real.findings if f.code == "OSR001" and f.path.endswith("own.py"))
    edit = next(each for each in real.fixes if each.path == mine.path)
    (result,) = sarif(real._replace(findings=(mine,)))["results"]
    assert _applied(edit.old, result["fixes"][0]["artifactChanges"][0]["replacements"]) == edit.new
