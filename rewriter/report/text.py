"""Findings and plans in words: pure, returns lines; only the command line prints them.

``verbose``: each finding alone, in place of one message a cause. ``scope``: PATHs and selection options of the run as
a shell has them; a remedy for several files names them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rewriter.model import REMOVE, FileResult, Finding, Note, Outcome, Plan
from rewriter.words import counted, is_command, printable, quote_word

WIDTH = 100
PLACES = 4
"""How many places of one cause are shown."""
STEPS = 3
"""How many lines a summary has for what to do next."""
STEP_WIDTH = 240
"""A command that is longer (it names many files) is not repeated in a summary."""


def show_path(path: str, cwd: str) -> str:
    """A path relative to the working directory, if it is below; else as it is."""
    prefix = cwd.rstrip(os.sep) + os.sep
    return path[len(prefix) :] if path.startswith(prefix) else path


def below(path: str, base: str) -> str | None:
    """``path`` below ``base`` with ``/``, or None where it is outside."""
    prefix = base.rstrip(os.sep) + os.sep
    return path[len(prefix) :].replace(os.sep, "/") if path.startswith(prefix) else None


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """By file, line, column, code; one of each."""
    return sorted(dict.fromkeys(findings), key=lambda f: (f.path, f.line, f.column, f.code, f.message))


def fill_remedy(finding: Finding, cwd: str) -> str:
    """The remedy with its ``{path}`` filled, as a shell word."""
    return _fill(finding.remedy, [finding.path], cwd)


def _fill(remedy: str, paths: Sequence[str], cwd: str) -> str:
    if "{path}" not in remedy:
        return remedy
    shown = [show_path(path, cwd) for path in dict.fromkeys(paths)]
    words = [quote_word(os.path.join(".", path) if path.startswith("-") else path) for path in shown]
    return remedy.replace("{path}", " ".join(words), 1)


def group_findings(findings: Iterable[Finding], *, verbose: bool = False) -> list[list[Finding]]:
    """Findings of one cause together, in report order; with ``verbose`` each alone.

    One cause: the same code, severity and remedy, and the same ``cause`` (where there is none, the same message).
    """
    groups: dict[object, list[Finding]] = {}
    for finding in sort_findings(findings):
        key = (finding.code, finding.severity, finding.cause or (finding.message, finding.remedy))
        groups.setdefault(finding if verbose else key, []).append(finding)
    return list(groups.values())


def format_place(finding: Finding, cwd: str) -> str:
    """``path:line:column``, 1-based."""
    return f"{printable(show_path(finding.path, cwd))}:{finding.line}:{finding.column + 1}"


def format_concise(findings: Iterable[Finding], cwd: str, *, verbose: bool = False, scope: str = "") -> Iterator[str]:
    """One line a cause: ``path:line:column: CODE component: message``, and where else it is."""
    for group in group_findings(findings, verbose=verbose):
        first = group[0]
        name = f"{_name_components(group)}: " if first.component else ""
        mark = "" if first.severity == "error" else "warning: "
        line = f"{format_place(first, cwd)}: {first.code} {mark}{printable(name + first.message)}"
        yield line + (f" ({_list_places(group, cwd)})" if len(group) > 1 else "")


def format_full(findings: Iterable[Finding], cwd: str, *, verbose: bool = False, scope: str = "") -> Iterator[str]:
    """Place, code and component on one line, the message wrapped below it, other places, and the remedy."""
    for group in group_findings(findings, verbose=verbose):
        first = group[0]
        mark = "" if first.severity == "error" else " (warning)"
        yield f"{format_place(first, cwd)}: {first.code}{mark} {printable(_name_components(group))}".rstrip()
        yield from _wrap(first.message)
        if len(group) > 1:
            yield from _wrap(_list_places(group, cwd))
        remedy = printable(_fill_group(group, cwd, scope))
        if remedy:
            yield f"    -> {remedy}" if is_command(remedy) else f"    {remedy}"


def _name_components(group: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.component for finding in group if finding.component))


def _list_places(group: Sequence[Finding], cwd: str) -> str:
    shown = ", ".join(format_place(finding, cwd) for finding in group[1:PLACES])
    more = f" and {len(group) - PLACES} more (--verbose lists each)" if len(group) > PLACES else ""
    return f"{len(group)} places: also {shown}{more}"


def _fill_group(group: Sequence[Finding], cwd: str, scope: str) -> str:
    """One remedy for all places: it names each file, or, where that is right for all of them, the whole run."""
    remedy = group[0].remedy
    paths = list(dict.fromkeys(finding.path for finding in group))
    if len(paths) > 1 and scope and " --set " not in remedy:
        return remedy.replace("{path}", scope, 1)
    return _fill(remedy, paths, cwd)


def _wrap(message: str) -> list[str]:
    """The lines of a message, indented."""
    lines: list[str] = []
    for word in printable(message).split(" "):
        if lines and len(lines[-1]) + 1 + len(word) <= WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f"    {word}")
    return lines


def format_notes(notes: Iterable[Note], cwd: str) -> Iterator[str]:
    """One line a note, each once."""
    for note in dict.fromkeys(notes):
        line = f":{note.line}" if note.line else ""
        place = f"{show_path(note.path, cwd)}{line}: " if note.path else ""
        yield printable(f"note: {place}{note.message}")


def count_codes(findings: Iterable[Finding]) -> str:
    """``OSR001 x3, OSR004 x1``."""
    counts = Counter(finding.code for finding in findings)
    return ", ".join(f"{code} x{count}" for code, count in sorted(counts.items()))


def summarize_check(files: int, found: Iterable[Finding], cwd: str, scope: str = "") -> Iterator[str]:
    """The last lines of ``check``: counts, and what to do next."""
    findings = sort_findings(found)
    errors = sum(finding.severity == "error" for finding in findings)
    read = counted(files, "file")
    if not findings:
        yield f"{read} read, nothing found"
        return
    warnings = counted(len(findings) - errors, "warning")
    yield f"{read} read, {counted(errors, 'error')}, {warnings} ({count_codes(findings)})"
    yield from list_next_steps(findings, cwd, scope)


def list_next_steps(findings: Iterable[Finding], cwd: str, scope: str = "") -> Iterator[str]:
    """The commands that cure most errors, at most three; none where there is one cause, just shown with its remedy."""
    groups = group_findings(finding for finding in findings if finding.severity == "error")
    if len(groups) < 2:
        return
    sizes: Counter[str] = Counter()
    for group in groups:
        remedy = _fill_group(group, cwd, scope)
        if is_command(remedy) and len(remedy) <= STEP_WIDTH:
            sizes[remedy] += len(group)
    for remedy, _ in sizes.most_common(STEPS):
        yield f"next: {printable(remedy)}"


def format_decisions(results: Sequence[FileResult], cwd: str) -> Iterator[str]:
    """``--verbose``: a line for every selected component."""
    for result in results:
        for decision in result.decisions:
            changes = ", ".join(f"-{c.key}" if c.value is REMOVE else f"{c.key}={c.value!r}" for c in decision.changes)
            kind = f" ({decision.type})" if decision.type else ""
            place = f"{show_path(result.path, cwd)}:{decision.component.span.line}"
            line = f"{place}: {decision.component.dotted}{kind}: {decision.outcome}"
            yield printable(f"{line} {changes}".rstrip())


def format_edits(plan: Plan, cwd: str, *, would: bool) -> Iterator[str]:
    """One line for every file that was (or would be) written."""
    verb = "would rewrite" if would else "rewrote"
    for edit in plan.edits:
        line = f"{verb} {printable(show_path(edit.path, cwd))}"
        if edit.kind == "config":
            yield f"{line}: {', '.join(dict.fromkeys(change.component.dotted for change in edit.changes))}"
        else:
            yield f"{line} ({'loader source' if edit.kind == 'source' else 'script'})"


def summarize_rewrite(
    plan: Plan, findings: Iterable[Finding], cwd: str, *, would: bool, scope: str = ""
) -> Iterator[str]:
    """The last lines of ``rewrite``: files, components, and what to do next."""
    changed = len(plan.config_edits)
    verb = "to rewrite" if would else "rewritten"
    line = f"{counted(len(plan.results), 'file')} read, {changed} {verb}, {len(plan.results) - changed} unchanged"
    for kind, word in (("source", "loader source"), ("script", "script")):
        count = sum(edit.kind == kind for edit in plan.sources)
        if count:
            line += f"; {counted(count, word)} {'to edit' if would else 'edited'}"
    yield line
    counts = Counter(decision.outcome for result in plan.results for decision in result.decisions)
    words: tuple[tuple[Outcome, str], ...] = (
        ("set", "set"),
        ("already", "already set"),
        ("not needed", "not needed"),
        ("cannot", "refused"),
    )
    parts = [f"{counts[key]} {word}" for key, word in words if counts[key] or key in ("set", "cannot")]
    yield "components: " + ", ".join(parts)
    errors = [finding for finding in sort_findings(findings) if finding.severity == "error"]
    if errors:
        yield f"refused by: {count_codes(errors)}"
        yield from list_next_steps(errors, cwd, scope)
