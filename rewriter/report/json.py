"""The json format: a pydantic model, so that its JSON Schema can be printed and its shape promised."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from rewriter.model import Decision, Finding, Note, Remove
from rewriter.report import Report
from rewriter.report.text import fill_remedy, show_path, sort_findings

SCHEMA_VERSION: Literal[1] = 1

# Allowed raw in JSON, but able to control a terminal or to reverse a line: DEL, C1, surrogates, separators, bidi.
_UNSAFE = re.compile(r"[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JsonFinding(_Model):
    """One diagnosis."""

    code: str = Field(description="OSR and three digits; `opensora-rewriter rules CODE` explains it")
    severity: Literal["error", "warning"]
    path: str = Field(description="with /, relative to the working directory where below it, else absolute")
    line: int = Field(description="1-based")
    column: int = Field(description="1-based, in bytes of the UTF-8 form of the line")
    component: str | None = Field(description='dotted ("model.vae"); null where the finding is about the file')
    message: str
    remedy: str = Field(description="what to do, mostly a command to paste; empty where there is none")


class JsonChange(_Model):
    """One keyword that is given a value, or taken away."""

    key: str
    removed: bool
    value: JsonValue = Field(description="null where removed; Python's repr where JSON has no such value")


class JsonComponent(_Model):
    """What was decided about one component."""

    path: str
    line: int = Field(description="1-based")
    component: str
    type: str | None = Field(description="the registered name; null where it is not known without running the config")
    outcome: str = Field(description='"set", "already", "not needed", "cannot", "untouched" or "inherited"')
    changes: tuple[JsonChange, ...]


class JsonNote(_Model):
    """A fact for the reader that is no finding and leaves the exit code alone."""

    message: str
    path: str | None = Field(description="as for a finding; null where the note is about the run")
    line: int | None = Field(description="1-based; null where there is none")


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
    edited: tuple[str, ...] = Field(description="files that were written, or would be, loader sources first")
    notes: tuple[JsonNote, ...] = Field(description="facts that are no findings, in the order of the run")


def make_json(report: Report) -> JsonReport:
    """The report as its model. Text that UTF-8 cannot hold (a file name of other bytes) as escapes."""
    findings = sort_findings(report.findings)
    errors = sum(finding.severity == "error" for finding in findings)
    decisions = [(result.path, decision) for result in report.plan.results for decision in result.decisions]
    decisions.sort(key=lambda pair: (pair[0], pair[1].component.span.line, pair[1].component.dotted))
    rewritten = len(report.plan.config_edits)
    summary = JsonSummary(
        files=report.files,
        rewritten=rewritten,
        unchanged=report.files - rewritten,
        errors=errors,
        warnings=len(findings) - errors,
        components=dict(sorted(Counter(decision.outcome for _, decision in decisions).items())),
    )
    return JsonReport(
        schema_version=SCHEMA_VERSION,
        tool="opensora-rewriter",
        version=report.version,
        command=report.command,
        exit_code=report.exit_code,
        summary=summary,
        findings=tuple(_make_finding(finding, report) for finding in findings),
        components=tuple(_make_component(path, decision, report) for path, decision in decisions),
        edited=tuple(_make_path(edit.path, report) for edit in report.plan.edits),
        notes=tuple(_make_note(note, report) for note in dict.fromkeys(report.notes)),
    )


def _make_finding(finding: Finding, report: Report) -> JsonFinding:
    return JsonFinding(
        code=finding.code,
        severity=finding.severity,
        path=_make_path(finding.path, report),
        line=finding.line,
        column=finding.column + 1,
        component=escape_surrogates(finding.component) or None,
        message=escape_surrogates(finding.message),
        remedy=escape_surrogates(fill_remedy(finding, report.cwd)),
    )


def _make_component(path: str, decision: Decision, report: Report) -> JsonComponent:
    return JsonComponent(
        path=_make_path(path, report),
        line=decision.component.span.line,
        component=escape_surrogates(decision.component.dotted),
        type=None if decision.type is None else escape_surrogates(decision.type),
        outcome=decision.outcome,
        changes=tuple(
            JsonChange(
                key=escape_surrogates(change.key),
                removed=isinstance(change.value, Remove),
                value=_make_value(change.value),
            )
            for change in decision.changes
        ),
    )


def _make_note(note: Note, report: Report) -> JsonNote:
    path = _make_path(note.path, report) if note.path else None
    return JsonNote(message=escape_surrogates(note.message), path=path, line=note.line or None)


def render_json(report: Report) -> str:
    """The model as indented JSON; the same report gives the same bytes."""
    return escape_unsafe(make_json(report).model_dump_json(indent=2)) + "\n"


def escape_unsafe(json: str) -> str:
    """JSON text in which every character that could control a terminal is written ``\\uXXXX`` (the same value)."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def escape_surrogates(text: str) -> str:
    """``text`` with lone surrogates (bytes of a file name that are not UTF-8) as visible escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _make_path(path: str, report: Report) -> str:
    return escape_surrogates(show_path(path, report.cwd).replace(os.sep, "/"))


def _make_value(value: object) -> JsonValue:
    if isinstance(value, Remove) or value is None:
        return None
    if isinstance(value, str):
        return escape_surrogates(value)
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list):
        return [_make_value(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {escape_surrogates(key): _make_value(item) for key, item in value.items()}
    return escape_surrogates(repr(value))
