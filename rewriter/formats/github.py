"""Findings as GitHub workflow commands, which the runner shows as annotations on the files of a pull request.

Source of the syntax and its escapes: GitHub's "Workflow commands" and the ``@actions/core`` package, command.ts.
"""

from __future__ import annotations

from collections.abc import Iterator

from rewriter.decide import with_path
from rewriter.formats import Report, from_base
from rewriter.formats.positions import before_column, lines_of
from rewriter.report import ordered, printable, shown
from rewriter.types import Finding


def commands(report: Report) -> Iterator[str]:
    """One command a finding. A line starts with ``::`` and holds no control character, whatever the values hold."""
    lines: dict[str, list[str] | None] = {}
    for finding in ordered(report.findings):
        if finding.path not in lines:
            data = report.texts.get(finding.path)
            lines[finding.path] = None if data is None else lines_of(data)
        properties = ",".join(
            f"{key}={_property(value)}" for key, value in _properties(finding, report, lines[finding.path])
        )
        yield f"::{finding.severity} {properties}::{_message(finding, report)}"


def _properties(finding: Finding, report: Report, lines: list[str] | None) -> Iterator[tuple[str, str]]:
    yield "file", from_base(finding.path, report.root or report.cwd) or finding.path
    before = before_column(lines, finding.line, finding.column)
    yield "line", str(max(finding.line, 1))
    yield "col", str((finding.column if before is None else len(before)) + 1)
    yield "title", finding.code


def _message(finding: Finding, report: Report) -> str:
    filled = with_path(finding, shown(finding.path, report.cwd))
    name = f"{finding.component}: " if finding.component else ""
    text = _data(name + finding.message)
    return f"{text}%0A-> {_data(filled.remedy)}" if filled.remedy else text


def _data(text: str) -> str:
    return printable(text).replace("%", "%25")  # CR and LF have become printable escapes


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
