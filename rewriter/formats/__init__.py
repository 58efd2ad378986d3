"""A run's result as text: for people (full, concise), programs (json), GitHub's log (github) and viewers (sarif).

Pure: a :class:`Report` in, text out. Only what a format needs is imported, when that format is asked for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rewriter.types import Finding

if TYPE_CHECKING:
    from rewriter.plan import Plan

FORMATS = ("full", "concise", "json", "github", "sarif")


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """What was decided about one component. ``changes``: key -> new value, :data:`rewriter.types.REMOVE` to drop it.

    ``line`` is 1-based; ``component`` is dotted ("model.vae"); ``type`` is None where it could not be told.
    """

    path: str
    line: int
    component: str
    type: str | None
    outcome: str
    changes: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Fix:
    """What an edit makes of one file. ``lines``: first lines of the components it changes; empty: a loader's source."""

    path: str
    old: bytes
    new: bytes
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """One run, ready to be printed.

    ``cwd``: where the user stands: json, full and concise name paths from there. ``root``: top of the repository:
    github and sarif name paths from there (None: from ``cwd``). Paths are absolute.
    ``files``/``rewritten``/``unchanged``: counts of config files. ``components``: outcome -> count, in report order.
    ``edited``: paths that were, or would be, written. ``fixes``: for sarif. ``texts``: path -> bytes as read, where at
    hand: with them github and sarif count columns in characters, without them in bytes.
    """

    command: str
    version: str
    cwd: str
    root: str | None = None
    findings: tuple[Finding, ...] = ()
    files: int = 0
    rewritten: int = 0
    unchanged: int = 0
    components: tuple[tuple[str, int], ...] = ()
    rows: tuple[ComponentRow, ...] = ()
    exit_code: int = 0
    edited: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    texts: Mapping[str, bytes] = field(default_factory=dict)


def render(name: str, report: Report) -> str:
    """The report in the format ``name`` (one of :data:`FORMATS`), with a final newline unless it is empty.

    Raises ValueError for another name.
    """
    if name == "json":
        from rewriter.formats.json_report import render_json

        return render_json(report)
    if name == "sarif":
        from rewriter.formats.sarif import render_sarif

        return render_sarif(report)
    if name == "github":
        from rewriter.formats.github import commands

        return _joined(commands(report))
    if name in ("full", "concise"):
        from rewriter import report as text

        lines = text.full if name == "full" else text.concise
        return _joined(lines(report.findings, report.cwd))
    raise ValueError(f"unknown format {name!r}; one of {', '.join(FORMATS)}")


def schema() -> dict[str, object]:
    """The JSON Schema of the json format."""
    from rewriter.formats.json_report import JsonReport

    return JsonReport.model_json_schema(mode="serialization")


def of_plan(
    command: str, plan: Plan, *, version: str, cwd: str, exit_code: int, findings: Iterable[Finding] | None = None,
    root: str | None = None, cure: Plan | None = None,
) -> Report:  # fmt: skip
    """The report of a run.

    ``findings``: what is to be shown where that is not ``plan.all_findings`` (some were ignored, others were added).
    ``root``: top of the repository; found by itself where not given. ``cure``: for ``check``, the plan that
    ``rewrite`` would make of the same files: the fixes of sarif come from it (else from ``plan`` itself).
    """
    rows = tuple(
        ComponentRow(result.path, decision.component.span.line, ".".join(decision.component.keys), decision.type,
                     decision.outcome, tuple((change.key, change.value) for change in decision.changes))
        for result in plan.results for decision in result.decisions
    )  # fmt: skip
    counts = Counter(row.outcome for row in rows)
    rewritten = len(plan.config_edits)
    edits = (cure or plan).edits
    return Report(
        command=command, version=version, cwd=cwd, root=root or repository(cwd),
        findings=tuple(plan.all_findings if findings is None else findings),
        files=len(plan.results), rewritten=rewritten, unchanged=len(plan.results) - rewritten,
        components=tuple(sorted(counts.items())), rows=rows, exit_code=exit_code,
        edited=tuple(edit.path for edit in plan.edits),
        fixes=tuple(
            Fix(edit.path, edit.old, edit.new,
                tuple(sorted({change.component.span.line for change in edit.changes})))
            for edit in edits
        ),
        texts={result.path: result.old for result in plan.results if result.old is not None},
    )  # fmt: skip


def repository(start: str) -> str | None:
    """The nearest folder at or above ``start`` that holds ``.git`` (a folder, or a file in a linked work tree)."""
    folder = os.path.abspath(start)
    while True:
        if os.path.exists(os.path.join(folder, ".git")):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def from_base(path: str, base: str) -> str | None:
    """``path`` below ``base`` with ``/``, or None where it lies outside."""
    prefix = base.rstrip(os.sep) + os.sep
    return path[len(prefix) :].replace(os.sep, "/") if path.startswith(prefix) else None


def _joined(lines: Iterable[str]) -> str:
    return "".join(line + "\n" for line in lines)
