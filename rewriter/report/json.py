"""The json format: a pydantic model, so that its JSON Schema can be printed and its shape promised."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from rewriter.model import REMOVE, Decision, Finding
from rewriter.report import Report
from rewriter.report.text import fill_remedy, show_path, show_paths, sort_findings

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


def render_json(report: Report) -> str:
    """The report as indented JSON; the same report gives the same bytes."""
    findings, cwd = sort_findings(report.findings), report.cwd
    errors = sum(finding.severity == "error" for finding in findings)
    decisions = [(result.path, decision) for result in report.plan.results for decision in result.decisions]
    decisions.sort(key=lambda pair: (pair[0], pair[1].component.span.line, pair[1].component.dotted))
    rewritten = len(report.plan.config_edits)
    document = {
        "schema_version": 1,
        "tool": "opensora-rewriter",
        "version": report.version,
        "command": report.command,
        "exit_code": report.exit_code,
        "summary": {
            "files": report.files,
            "rewritten": rewritten,
            "unchanged": report.files - rewritten,
            "errors": errors,
            "warnings": len(findings) - errors,
            "components": dict(sorted(Counter(decision.outcome for _, decision in decisions).items())),
        },
        "findings": [_describe_finding(finding, cwd) for finding in findings],
        "components": [_describe_component(show_path(path, cwd), decision) for path, decision in decisions],
        "edited": [show_path(edit.path, cwd) for edit in report.plan.edits],
        "notes": [
            {
                "message": note.message,
                "path": show_path(note.path, cwd) if note.path else None,
                "line": note.line or None,
            }
            for note in dict.fromkeys(report.notes)
        ],
    }
    return escape_unsafe(JsonReport.model_validate(_make_value(document)).model_dump_json(indent=2)) + "\n"


def _describe_finding(finding: Finding, cwd: str) -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "path": show_path(finding.path, cwd),
        "line": finding.line,
        "column": finding.column + 1,
        "component": finding.component or None,
        "message": show_paths(finding.message, cwd),
        "remedy": fill_remedy(finding, cwd),
    }


def _describe_component(path: str, decision: Decision) -> dict[str, object]:
    return {
        "path": path,
        "line": decision.component.span.line,
        "component": decision.component.dotted,
        "type": decision.type,
        "outcome": decision.outcome,
        "changes": [
            {"key": key, "removed": value == REMOVE, "value": None if value == REMOVE else value}
            for key, value in ((change.key, change.value) for change in decision.changes)
        ],
    }


def escape_unsafe(json: str) -> str:
    """JSON text in which every character that could control a terminal is written ``\\uXXXX`` (the same value)."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def escape_surrogates(text: str) -> str:
    """``text`` with lone surrogates (bytes of a file name that are not UTF-8) as visible escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _make_value(value: object) -> JsonValue:
    """``value`` as JSON has it; Python's repr where JSON has no such value."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list):
        return [_make_value(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {escape_surrogates(key): _make_value(item) for key, item in value.items()}
    return escape_surrogates(value if isinstance(value, str) else repr(value))
