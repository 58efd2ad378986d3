"""The json format: a pydantic model, so that its JSON Schema can be printed and its shape promised."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from rewriter.decide import with_path
from rewriter.formats import Report
from rewriter.report import ordered, shown
from rewriter.types import REMOVE

SCHEMA_VERSION: Literal[1] = 1

# Allowed raw in JSON, but able to drive a terminal or to turn a line round: DEL, C1, surrogates, separators, bidi.
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
    type: str | None = Field(description="the registered name; null where only running the config would tell")
    outcome: str = Field(description='"set", "already", "not needed", "cannot", "untouched" or "inherited"')
    changes: tuple[JsonChange, ...]


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


def to_json(report: Report) -> JsonReport:
    """The report as a model; what UTF-8 cannot hold (a file name of other bytes) as escapes."""
    findings = ordered(report.findings)
    errors = sum(finding.severity == "error" for finding in findings)
    rows = sorted(report.rows, key=lambda row: (row.path, row.line, row.component))
    return JsonReport(
        schema_version=SCHEMA_VERSION,
        tool="opensora-rewriter",
        version=report.version,
        command=report.command,
        exit_code=report.exit_code,
        summary=JsonSummary(
            files=report.files, rewritten=report.rewritten, unchanged=report.unchanged, errors=errors,
            warnings=len(findings) - errors, components=dict(report.components),
        ),
        findings=tuple(
            JsonFinding(
                code=finding.code, severity=finding.severity, path=_path(finding.path, report), line=finding.line,
                column=finding.column + 1, component=unicode(finding.component) or None,
                message=unicode(finding.message),
                remedy=unicode(with_path(finding, shown(finding.path, report.cwd)).remedy),
            )
            for finding in findings
        ),
        components=tuple(
            JsonComponent(
                path=_path(row.path, report), line=row.line, component=unicode(row.component),
                type=None if row.type is None else unicode(row.type), outcome=row.outcome,
                changes=tuple(
                    JsonChange(key=unicode(key), removed=value is REMOVE, value=_value(value))
                    for key, value in row.changes
                ),
            )
            for row in rows
        ),
        edited=tuple(_path(path, report) for path in report.edited),
    )  # fmt: skip


def render_json(report: Report) -> str:
    """The model as indented JSON; the same report gives the same bytes."""
    return escaped(to_json(report).model_dump_json(indent=2)) + "\n"


def escaped(json: str) -> str:
    """JSON text in which every character that could drive a terminal is written ``\\uXXXX`` (the same value)."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def unicode(text: str) -> str:
    """``text`` with lone surrogates (bytes of a file name that are not UTF-8) as visible escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _path(path: str, report: Report) -> str:
    return unicode(shown(path, report.cwd).replace(os.sep, "/"))


def _value(value: object) -> JsonValue:
    if value is REMOVE or value is None:
        return None
    if isinstance(value, str):
        return unicode(value)
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {unicode(key): _value(item) for key, item in value.items()}
    return unicode(repr(value))
