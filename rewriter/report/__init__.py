"""A run's result as text: for people (full, concise), programs (json), GitHub's log (github) and viewers (sarif).

Pure: a :class:`Report` in, text out. Only what a format needs is imported, when that format is requested.
"""

from __future__ import annotations

from dataclasses import dataclass

from rewriter.files import find_repository
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
    def lines(self) -> dict[str, list[str]]:
        """The configs as read, by path, in lines: with them github and sarif count columns in characters."""
        return {result.path: text.split_lines(result.old) for result in self.plan.results if result.old is not None}


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
        lines = text.format_github(report.findings, report.cwd, report.root, report.lines)
    elif name == "full":
        lines = text.format_full(report.findings, report.cwd, verbose=verbose, scope=scope)
    elif name == "concise":
        lines = text.format_concise(report.findings, report.cwd, verbose=verbose)
    else:
        raise ValueError(f"unknown format {name!r}; one of {', '.join(FORMATS)}")
    return "".join(f"{line}\n" for line in lines)


def make_schema() -> dict[str, object]:
    """The JSON Schema of the json format."""
    from rewriter.report.json import JsonReport

    return JsonReport.model_json_schema(mode="serialization")
