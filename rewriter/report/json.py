"""The json format: pydantic models of it, so that its JSON Schema can be printed and its shape promised."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from rewriter.files import show_path
from rewriter.model import REMOVE, Finding
from rewriter.report.text import Report, show_finding, sort_findings


def _make_value(value: object) -> object:
    """``value`` as JSON has it, null for REMOVE; Python's repr where JSON has no such value."""
    try:
        same = json.loads(json.dumps(value, ensure_ascii=False).encode()) == value
    except (TypeError, ValueError):
        same = False
    return value if same else None if value is REMOVE else repr(value)


def _escape(text: str | None) -> str | None:
    """Bytes of a path that are no UTF-8 as escapes (no JSON document may hold them); null for nothing."""
    return text.encode("utf-8", "backslashreplace").decode() if text else text


_Text = Annotated[str, BeforeValidator(_escape)]
_Name = Annotated[str | None, BeforeValidator(lambda text: _escape(text) or None)]
_Value = Annotated[JsonValue, BeforeValidator(_make_value)]
_Line = Annotated[int | None, BeforeValidator(lambda line: line or None)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class JsonFinding(_Model):
    """One diagnosis."""

    code: str = Field(description="OSR and three digits; `opensora-rewriter rules CODE` explains it")
    severity: Literal["error", "warning"]
    path: _Text = Field(description="with /, relative to the working directory where below it, else absolute")
    line: int = Field(description="1-based")
    column: int = Field(description="1-based, in bytes of the UTF-8 form of the line")
    component: _Name = Field(description='dotted ("model.vae"); null where the finding is about the file')
    message: _Text
    remedy: _Text = Field(description="what to do, mostly a command to paste; empty where there is none")


class JsonChange(_Model):
    """One keyword that is given a value, or taken away."""

    key: _Text
    removed: bool
    value: _Value = Field(description="null where removed; Python's repr where JSON has no such value")


class JsonComponent(_Model):
    """What was decided about one component."""

    path: _Text
    line: int = Field(description="1-based")
    component: _Text
    type: _Name = Field(description="the registered name; null where it is not known without running the config")
    outcome: str = Field(description='"set", "already", "not needed", "cannot", "untouched" or "inherited"')
    changes: tuple[JsonChange, ...]


class JsonNote(_Model):
    """A fact for the reader that is no finding and leaves the exit code alone."""

    message: _Text
    path: _Name = Field(description="as for a finding; null where the note is about the run")
    line: _Line = Field(description="1-based; null where there is none")


class JsonSummary(_Model):
    """Counts. ``components``: outcome -> number."""

    files: int
    rewritten: int
    unchanged: int
    errors: int
    warnings: int
    components: dict[str, int]


class JsonReport(_Model):
    """The result of one run of opensora-rewriter. A change that could break a reader raises ``schema_version``."""

    schema_version: Literal[1]
    tool: Literal["opensora-rewriter"]
    version: str
    command: str
    exit_code: int = Field(description="0 all is well, 1 findings, 2 wrong usage or a failed run")
    summary: JsonSummary
    findings: tuple[JsonFinding, ...] = Field(description="by path, line, column, code")
    components: tuple[JsonComponent, ...] = Field(description="by path, line, component")
    edited: tuple[_Text, ...] = Field(description="files that were written, or would be, loader sources first")
    notes: tuple[JsonNote, ...] = Field(description="facts that are no findings, in the order of the run")


def render_json(report: Report) -> str:
    """The report as indented JSON; the same report gives the same bytes."""
    findings, rewritten = describe_findings(report.findings, report.cwd), len(report.plan.config_edits)
    errors = sum(finding.severity == "error" for finding in findings)
    components: list[dict[str, Any]] = [
        {"path": show_path(result.path, report.cwd), "line": each.component.span.line}
        | {"component": each.component.dotted, "type": each.type, "outcome": each.outcome}
        | {"changes": [{"key": c.key, "removed": c.value is REMOVE, "value": c.value} for c in each.changes]}
        for result in report.plan.results
        for each in result.decisions
    ]
    counts = {"files": report.files, "rewritten": rewritten, "unchanged": report.files - rewritten}
    counts |= {"errors": errors, "warnings": len(findings) - errors}
    document: dict[str, Any] = {"version": report.version, "command": report.command, "exit_code": report.exit_code}
    document |= {
        "schema_version": 1,
        "tool": "opensora-rewriter",
        "summary": {**counts, "components": dict(sorted(Counter(each["outcome"] for each in components).items()))},
        "findings": findings,
        "components": sorted(components, key=lambda each: (each["path"], each["line"], each["component"])),
        "edited": [show_path(edit.path, report.cwd) for edit in report.plan.edits],
        "notes": [note._replace(path=show_path(note.path, report.cwd)) for note in dict.fromkeys(report.notes)],
    }
    return json.dumps(JsonReport.model_validate(document).model_dump(), indent=2) + "\n"


def describe_findings(findings: Iterable[Finding], cwd: str) -> list[JsonFinding]:
    """Findings in order, as reports have them."""
    return [JsonFinding.model_validate(show_finding(each, cwd)) for each in sort_findings(findings)]
