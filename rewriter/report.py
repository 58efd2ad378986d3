"""Findings and plans in words: pure, returns lines; only the command line prints them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rewriter.decide import Outcome, with_path
from rewriter.plan import FileResult, Plan
from rewriter.types import REMOVE, Finding

WIDTH = 100


def printable(text: str) -> str:
    """Control characters shown as escapes, so that no path or value can drive the terminal or forge a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown(path: str, cwd: str) -> str:
    """A path relative to where the user stands, if it is below; else as it is."""
    prefix = cwd.rstrip(os.sep) + os.sep
    return path[len(prefix) :] if path.startswith(prefix) else path


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """By file, line, column, code; one of each."""
    return sorted(dict.fromkeys(findings), key=lambda f: (f.path, f.line, f.column, f.code, f.message))


def place(finding: Finding, cwd: str) -> str:
    """``path:line:column``, 1-based."""
    return f"{printable(shown(finding.path, cwd))}:{finding.line}:{finding.column + 1}"


def concise(findings: Iterable[Finding], cwd: str) -> Iterator[str]:
    """One line a finding: ``path:line:column: CODE component: message``."""
    for finding in ordered(findings):
        name = f"{finding.component}: " if finding.component else ""
        mark = "" if finding.severity == "error" else "warning: "
        yield f"{place(finding, cwd)}: {finding.code} {mark}{printable(name + finding.message)}"


def full(findings: Iterable[Finding], cwd: str) -> Iterator[str]:
    """Place, code and component on one line, the message wrapped below it, the remedy on a line of its own."""
    wrapped: dict[str, list[str]] = {}  # thousands of findings say the same of their files
    for finding in ordered(findings):
        mark = "" if finding.severity == "error" else " (warning)"
        yield f"{place(finding, cwd)}: {finding.code}{mark} {printable(finding.component)}".rstrip()
        if finding.message not in wrapped:
            wrapped[finding.message] = _wrapped(finding.message)
        yield from wrapped[finding.message]
        if finding.remedy:
            yield f"    -> {printable(with_path(finding, shown(finding.path, cwd)).remedy)}"


def _wrapped(message: str) -> list[str]:
    """The lines of a message. (:mod:`textwrap` takes longer to import than all of them to wrap.)"""
    lines: list[str] = []
    for word in printable(message).split(" "):
        if lines and len(lines[-1]) + 1 + len(word) <= WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f"    {word}")
    return lines


def counted(number: int, word: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {word}" + ("" if number == 1 else "s")


def check_summary(files: int, found: Iterable[Finding]) -> str:
    """The last line of ``check``."""
    findings = ordered(found)
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    read = counted(files, "file")
    if not findings:
        return f"{read} read, nothing found"
    by_code = Counter(finding.code for finding in findings)
    codes = ", ".join(f"{code} x{count}" for code, count in sorted(by_code.items()))
    return f"{read} read, {counted(errors, 'error')}, {counted(warnings, 'warning')} ({codes})"


def verdicts(results: Sequence[FileResult], cwd: str) -> Iterator[str]:
    """``--verbose``: a line for every component that was looked at."""
    for result in results:
        for decision in result.decisions:
            name = ".".join(decision.component.keys)
            changes = ", ".join(f"-{c.key}" if c.value is REMOVE else f"{c.key}={c.value!r}" for c in decision.changes)
            kind = f" ({decision.type})" if decision.type else ""
            line = f"{shown(result.path, cwd)}:{decision.component.span.line}: {name}{kind}: {decision.outcome}"
            yield printable(f"{line} {changes}".rstrip())


def notes(plan: Plan, cwd: str) -> Iterator[str]:
    """What a reader should know beside the findings: also each repo id that only running the config would tell."""
    yield from plan.notes
    for result in plan.results:
        for decision in result.decisions:
            calls = decision.trace.calls if decision.trace is not None else ()
            texts = {
                call.repo_text for call in calls if call.repo_id is None and call.repo_text != "None" and not call.via
            }
            for text in sorted(texts):
                place = f"{shown(result.path, cwd)}:{decision.component.span.line}"
                name = ".".join(decision.component.keys)
                yield printable(f"{place}: {name} loads `{text}`, taken as a repo id")


def rewritten(plan: Plan, cwd: str, *, would: bool) -> Iterator[str]:
    """One line for every file that was (or would be) written."""
    verb = "would rewrite" if would else "rewrote"
    for edit in plan.edits:
        if edit.kind == "source":
            yield f"{verb} {printable(shown(edit.path, cwd))} (loader source)"
        else:
            names = ", ".join(dict.fromkeys(".".join(change.component.keys) for change in edit.changes))
            yield f"{verb} {printable(shown(edit.path, cwd))}: {names}"


def rewrite_summary(plan: Plan, findings: Iterable[Finding], *, would: bool) -> Iterator[str]:
    """The last two lines of ``rewrite``: files, then components."""
    changed = len(plan.config_edits)
    verb = "to rewrite" if would else "rewritten"
    line = f"{counted(len(plan.results), 'file')} read, {changed} {verb}, {len(plan.results) - changed} unchanged"
    if plan.sources:
        line += f"; {counted(len(plan.sources), 'loader source')} {'to edit' if would else 'edited'}"
    yield line
    counts = Counter(decision.outcome for result in plan.results for decision in result.decisions)
    words: tuple[tuple[Outcome, str], ...] = (
        ("set", "set"), ("already", "already set"), ("not needed", "not needed"), ("cannot", "refused"),
    )  # fmt: skip
    parts = [f"{counts[key]} {word}" for key, word in words if counts[key] or key in ("set", "cannot")]
    yield "components: " + ", ".join(parts)
    refused = Counter(finding.code for finding in ordered(findings) if finding.severity == "error")
    if refused:
        yield "refused by: " + ", ".join(f"{code} x{count}" for code, count in sorted(refused.items()))
