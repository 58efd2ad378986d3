"""A run's result as text: for people (full, concise), programs (json), GitHub's log (github) and viewers (sarif)."""

from __future__ import annotations

from rewriter.report import text
from rewriter.report.text import Report

__all__ = ["FORMATS", "Report", "render"]

FORMATS = ("full", "concise", "json", "github", "sarif")


def render(name: str, report: Report, *, verbose: bool = False, scope: str = "") -> str:
    """The report in one of :data:`FORMATS`; ``verbose``, ``scope``: see :mod:`rewriter.report.text`."""
    if name == "json":  # pydantic and SARIF's models are imported for those who want them
        from rewriter.report.json import render_json

        return render_json(report)
    if name == "sarif":
        from rewriter.report.sarif import render_sarif

        return render_sarif(report)
    if name == "github":
        lines = text.format_github(report.findings, report.cwd, report.root, report.plan)
    elif name == "concise":
        lines = text.format_concise(report.findings, report.cwd, verbose=verbose)
    else:
        lines = text.format_full(report.findings, report.cwd, verbose=verbose, scope=scope)
    return "".join(f"{line}\n" for line in lines)
