"""Findings and plans in words: pure, returns lines; only the command line prints them.

``verbose``: each finding alone, in place of one message a cause. ``scope``: PATHs and selection options of the run as
a shell has them; a remedy for several files names them.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from textwrap import TextWrapper
from typing import NamedTuple

from rewriter.files import find_repository, read_or_empty, show_path
from rewriter.model import REMOVE, FileEdit, FileResult, Finding, Note, Plan
from rewriter.words import counted, is_command, printable

WIDTH = 100
PLACES = 4  # shown of one cause
NO_PLAN = Plan(())


class Report(NamedTuple):
    """One run, ready to be printed.

    ``cwd``: paths are shown from there, by github and sarif from the repository around it. ``files``: how many configs
    were read. ``fixes``: edits for sarif (for ``check``, those that ``rewrite`` would make).
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


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """By file, line, column, code; one of each."""
    return sorted(dict.fromkeys(findings), key=lambda f: (f.path, f.line, f.column, f.code, f.message))


def show_finding(finding: Finding, cwd: str, base: str = "") -> Finding:
    """As reports show it: paths relative to ``cwd`` (its own to ``base``), a 1-based column, ``{path}`` filled in."""
    path, column, message = show_path(finding.path, base or cwd), finding.column + 1, _show_paths(finding.message, cwd)
    return finding._replace(path=path, column=column, message=message, remedy=fill_remedy([finding], cwd))


def count_columns(findings: Iterable[Finding], plan: Plan) -> Iterator[tuple[Finding, int]]:
    """The findings, sorted, each with its 1-based column in characters."""
    read = {each.path: each.old for each in plan.results} | {each.path: each.old for each in plan.sources}
    for path, group in groupby(sort_findings(findings), key=lambda each: each.path):
        data = read.get(path)
        lines = (read_or_empty(path) if data is None else data).splitlines()
        for finding in group:
            before = b"".join(lines[max(finding.line, 1) - 1 : finding.line])[: finding.column]
            yield finding, 1 + (len(before.decode(errors="ignore")) if before else finding.column)


def _show_paths(words: str, cwd: str) -> str:
    """A message or command with the Python files that it names relative to the working directory, if below."""
    start = re.escape(os.path.join(cwd, ""))
    return re.sub(rf"(?<![^\s(]){start}(?=[^\s'\"-][^\s'\"]*\.py\b)", "", words)


def fill_remedy(group: Sequence[Finding], cwd: str, scope: str = "") -> str:
    """One remedy for all places: it names each file, or, where that is right for all of them, the whole run."""
    remedy = _show_paths(group[0].remedy, cwd)
    paths = dict.fromkeys(show_path(finding.path, cwd) for finding in group)
    named = " ".join(shlex.quote(os.path.join(".", path) if path.startswith("-") else path) for path in paths)
    is_wide = scope and len(scope) < len(named) and " --set " not in remedy
    return remedy.replace("{path}", scope if is_wide and len(paths) > 1 else named, 1)


def _group(findings: Iterable[Finding], *, verbose: bool = False) -> list[list[Finding]]:
    """Findings of one code, severity and ``cause`` (else message and remedy) together; with ``verbose`` each alone."""
    groups: dict[object, list[Finding]] = {}
    for finding in sort_findings(findings):
        key = (finding.code, finding.severity, finding.cause or (finding.message, finding.remedy))
        groups.setdefault(finding if verbose else key, []).append(finding)
    return list(groups.values())


def format_concise(findings: Iterable[Finding], cwd: str, *, verbose: bool = False) -> Iterator[str]:
    """One line a cause: ``path:line:column: CODE component: message``, and where else it is."""
    for group in _group(findings, verbose=verbose):
        names, mark = _name_components(group), "" if group[0].severity == "error" else "warning: "
        message = printable(f"{names}: " * bool(names) + _show_paths(group[0].message, cwd))
        yield f"{_format_place(group[0], cwd)}: {group[0].code} {mark}{message}{_list_others(group, cwd, ' ({})')}"


def format_full(findings: Iterable[Finding], cwd: str, *, verbose: bool = False, scope: str = "") -> Iterator[str]:
    """Place, code and component on one line, the message wrapped below it, other places, and the remedy."""
    wrapper = TextWrapper(WIDTH, "    ", "    ", break_long_words=False, break_on_hyphens=False)
    previous = ""
    for group in _group(findings, verbose=verbose):
        mark = "" if group[0].severity == "error" else " (warning)"
        yield f"{_format_place(group[0], cwd)}: {group[0].code}{mark} {printable(_name_components(group))}".rstrip()
        yield from wrapper.wrap(printable(_show_paths(group[0].message, cwd)))
        yield from wrapper.wrap(_list_others(group, cwd, "{}"))
        remedy = printable(fill_remedy(group, cwd, scope))
        if remedy and remedy == previous and is_command(remedy):
            yield "    the same command cures it"
        elif remedy:
            yield f"    -> {remedy}" if is_command(remedy) else f"    {remedy}"
        previous = remedy


def _format_place(finding: Finding, cwd: str) -> str:
    return f"{printable(show_path(finding.path, cwd))}:{finding.line}:{finding.column + 1}"


def _name_components(group: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.component for finding in group if finding.component))


def _list_others(group: Sequence[Finding], cwd: str, form: str) -> str:
    """How many places there are and the first of them, in ``form``; nothing where there is one."""
    shown = ", ".join(_format_place(finding, cwd) for finding in group[1:PLACES])
    more = f" and {len(group) - PLACES} more (--verbose lists each)" if len(group) > PLACES else ""
    return form.format(f"{len(group)} places: also {shown}{more}") if shown else ""


def format_github(findings: Iterable[Finding], cwd: str, root: str, plan: Plan) -> Iterator[str]:
    """A workflow command for each finding, which GitHub shows in a pull request (command.ts of ``@actions/core``)."""

    def escape(words: str) -> str:
        return printable(words).replace("%", "%25")  # CR and LF have become printable escapes

    for finding, column in count_columns(findings, plan):
        shown = show_finding(finding, cwd, root)
        file = escape(shown.path).replace(":", "%3A").replace(",", "%2C")
        place = f"file={file},line={max(finding.line, 1)},col={column},title={finding.code}"
        message = escape(f"{finding.component}: " * bool(finding.component) + shown.message)
        yield f"::{finding.severity} {place}::{message}" + (f"%0A-> {escape(shown.remedy)}" if shown.remedy else "")


def format_notes(notes: Iterable[Note], cwd: str) -> Iterator[str]:
    """One line a note, each once."""
    for note in dict.fromkeys(notes):
        place = f"{show_path(note.path, cwd)}:{note.line or ''}".rstrip(":") + ": "
        yield printable(f"note: {place if note.path else ''}{note.message}")


def summarize_check(files: int, found: Iterable[Finding]) -> Iterator[str]:
    """The last line of ``check``."""
    findings = sort_findings(found)
    errors = sum(finding.severity == "error" for finding in findings)
    counts = f"{counted(errors, 'error')}, {counted(len(findings) - errors, 'warning')} ({_count_codes(findings)})"
    yield f"{counted(files, 'file')} read, {counts if findings else 'nothing found'}"


def _count_codes(findings: Iterable[Finding]) -> str:
    counts = Counter(finding.code for finding in findings)
    return ", ".join(f"{code} x{count}" for code, count in sorted(counts.items()))


def list_next_steps(findings: Iterable[Finding]) -> Iterator[str]:
    """What is left to do by hand, as no command that was printed with a finding cures it; nothing for one cause."""
    errors = [finding for finding in sort_findings(findings) if finding.severity == "error"]
    by_hand = [finding for finding in errors if not is_command(finding.remedy)]
    if by_hand and len(_group(errors)) > 1:
        yield f"next: {len(by_hand)} of {counted(len(errors), 'error')} to cure by hand ({_count_codes(by_hand)})"


def format_decisions(results: Sequence[FileResult], cwd: str) -> Iterator[str]:
    """``--verbose``: a line for every selected component."""
    for result, decision in [(each, decision) for each in results for decision in each.decisions]:
        changes = ", ".join(f"-{c.key}" if c.value is REMOVE else f"{c.key}={c.value!r}" for c in decision.changes)
        kind = f" ({decision.type})" if decision.type else ""
        place = f"{show_path(result.path, cwd)}:{decision.component.span.line}"
        yield printable(f"{place}: {decision.component.dotted}{kind}: {decision.outcome} {changes}".rstrip())


def format_edits(plan: Plan, cwd: str, *, would: bool) -> Iterator[str]:
    """One line for every file that was (or would be) written."""
    for edit in plan.edits:
        names = ", ".join(dict.fromkeys(change.component.dotted for change in edit.changes))
        what = {"config": f": {names}", "source": " (loader source)", "script": " (script)"}[edit.kind]
        yield f"{'would rewrite' if would else 'rewrote'} {printable(show_path(edit.path, cwd))}{what}"


def summarize_rewrite(plan: Plan, *, would: bool) -> Iterator[str]:
    """The last lines of ``rewrite``: files and components."""
    read, changed, done = len(plan.results), len(plan.config_edits), "to rewrite" if would else "rewritten"
    line = f"{counted(read, 'file')} read, {changed} {done}, {read - changed} unchanged"
    for kind, number in Counter(edit.kind for edit in plan.sources).items():
        line += f"; {counted(number, 'loader source' if kind == 'source' else kind)} {'to edit' if would else 'edited'}"
    yield line
    decided = [(result, decision) for result in plan.results for decision in result.decisions]
    counts: Counter[str] = Counter(decision.outcome for _, decision in decided)
    states = (("set", "set"), ("already", "already set"), ("not needed", "not needed"))
    parts = [f"{counts[outcome]} {words}" for outcome, words in states if counts[outcome] or outcome == "set"]
    # each refused component once, by the first error that it, or else its file, has
    refused = [(*decision.findings, *result.findings) for result, decision in decided if decision.outcome == "cannot"]
    errors = [[each for each in found if each.severity == "error"][:1] for found in refused]
    codes = _count_codes(each for found in errors for each in found)
    yield f"components: {', '.join(parts)}, {counts['cannot']} refused" + (f" ({codes})" if codes else "")
