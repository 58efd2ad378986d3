"""A run's result as text: for people (full, concise), programs (json), GitHub's log (github) and viewers (sarif).

Pure: a :class:`Report` in, text out. Only what a format needs is imported, when that format is requested.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from rewriter.model import FileEdit, Finding, Note, Plan
from rewriter.report import text

FORMATS = ("full", "concise", "json", "github", "sarif")
NO_PLAN = Plan(())


@dataclass(frozen=True, slots=True)
class Report:
    """One run, ready to be printed.

    ``cwd``: json, full and concise name paths from there; github and sarif from the repository around it. Paths are
    absolute. ``findings``, ``notes``: those to be shown. ``files``: how many configs were read. ``plan``: decisions and
    edits of ``check`` and ``rewrite``. ``fixes``: edits for sarif (for ``check``, those that ``rewrite`` would make).
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

    @property
    def texts(self) -> dict[str, bytes]:
        """Configs as read: with them github and sarif count columns in characters, without them in bytes."""
        return {result.path: result.old for result in self.plan.results if result.old is not None}


def render(name: str, report: Report, *, verbose: bool = False, scope: str = "") -> str:
    """The report in the format ``name`` (one of :data:`FORMATS`), with a final newline unless it is empty.

    ``verbose``, ``scope``: of full and concise, see :mod:`rewriter.report.text`. Raises ValueError for another name.
    """
    if name == "json":
        from rewriter.report.json import render_json

        return render_json(report)
    if name == "sarif":
        from rewriter.report.sarif import render_sarif

        return render_sarif(report)
    if name == "github":
        from rewriter.report.github import format_commands

        return _join(format_commands(report))
    if name == "full":
        return _join(text.format_full(report.findings, report.cwd, verbose=verbose, scope=scope))
    if name == "concise":
        return _join(text.format_concise(report.findings, report.cwd, verbose=verbose, scope=scope))
    raise ValueError(f"unknown format {name!r}; one of {', '.join(FORMATS)}")


def make_schema() -> dict[str, object]:
    """The JSON Schema of the json format."""
    from rewriter.report.json import JsonReport

    return JsonReport.model_json_schema(mode="serialization")


def find_repository(start: str) -> str | None:
    """The nearest folder at or above ``start`` that holds ``.git`` (a folder, or a file in a linked work tree)."""
    folder = os.path.abspath(start)
    while not os.path.exists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return folder


def _join(lines: Iterable[str]) -> str:
    return "".join(line + "\n" for line in lines)
