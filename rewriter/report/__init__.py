"""A run's result as text: for people (full, concise), programs (json), GitHub's log (github) and viewers (sarif).

Pure: a :class:`Report` in, text out. Only what a format needs is imported, when that format is requested.
"""

from __future__ import annotations

from typing import NamedTuple

from rewriter.files import find_repository
from rewriter.model import FileEdit, Finding, Note, Plan
from rewriter.report import text

FORMATS = ("full", "concise", "json", "github", "sarif")
NO_PLAN = Plan(())


class Report(NamedTuple):
    """One run, ready to be printed.

    ``cwd``: json, full and concise name paths from there; github and sarif from the repository around it. ``files``:
    how many configs were read. ``fixes``: edits for sarif (for ``check``, those that ``rewrite`` would make).
    """

    command: str
    version: str
    cwd: str
    exit_code: int
    files: int
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()
    plan: Plan = NO_PLAN
    fixes: tuple[FileEdit, ...] = ()

    @property
    def root(self) -> str:
        """Top of the repository around ``cwd``, else ``cwd``."""
        return find_repository(self.cwd) or self.cwd


def render(name: str, report: Report, *, verbose: bool = False, scope: str = "") -> str:
    """The report in the format ``name`` (one of :data:`FORMATS`), with a final newline unless it is empty.

    ``verbose``, ``scope``: of full and concise, see :mod:`rewriter.report.text`.
    """
    if name == "json":
        from rewriter.report.json import render_json

        return render_json(report)
    if name == "sarif":
        from rewriter.report.sarif import render_sarif

        return render_sarif(report)
    if name == "github":
        lines = text.format_github(report.findings, report.cwd, report.root, report.plan)
    elif name == "full":
        lines = text.format_full(report.findings, report.cwd, verbose=verbose, scope=scope)
    else:
        lines = text.format_concise(report.findings, report.cwd, verbose=verbose)
    return "".join(f"{line}\n" for line in lines)
