"""Findings as GitHub workflow commands, which the runner shows as annotations on the files of a pull request.

Source of the syntax and its escapes: GitHub's "Workflow commands" and the ``@actions/core`` package, command.ts.
"""

from __future__ import annotations

from collections.abc import Iterator

from rewriter.model import Finding
from rewriter.report import Report
from rewriter.report.positions import split_lines, text_before
from rewriter.report.text import below, fill_remedy, sort_findings
from rewriter.words import printable


def format_commands(report: Report) -> Iterator[str]:
    """One command a finding. A line starts with ``::`` and holds no control character, whatever the values hold."""
    root, texts = report.root, report.texts
    lines: dict[str, list[str] | None] = {}
    for finding in sort_findings(report.findings):
        if finding.path not in lines:
            lines[finding.path] = split_lines(texts.get(finding.path))
        before = text_before(lines[finding.path], finding.line, finding.column)
        properties = {
            "file": below(finding.path, root) or finding.path,
            "line": str(max(finding.line, 1)),
            "col": str((finding.column if before is None else len(before)) + 1),
            "title": finding.code,
        }
        joined = ",".join(f"{key}={_escape_property(value)}" for key, value in properties.items())
        yield f"::{finding.severity} {joined}::{_format_message(finding, report)}"


def _format_message(finding: Finding, report: Report) -> str:
    name = f"{finding.component}: " if finding.component else ""
    remedy = fill_remedy(finding, report.cwd)
    text = _escape_data(name + finding.message)
    return f"{text}%0A-> {_escape_data(remedy)}" if remedy else text


def _escape_data(text: str) -> str:
    return printable(text).replace("%", "%25")  # CR and LF have become printable escapes


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
