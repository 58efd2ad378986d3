"""Findings and plans in words: pure, returns lines; only the command line prints them.

``verbose``: each finding alone, in place of one message a cause. ``scope``: PATHs and selection options of the run as
a shell has them; a remedy for several files names them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rewriter.decoding import Decoded, decode
from rewriter.files import show_path as show_path
from rewriter.model import REMOVE, FileResult, Finding, Note, Plan
from rewriter.words import counted, is_command, printable, quote_word

WIDTH = 100
PLACES = 4  # shown of one cause
# `ast` ends a line at \r\n, \n and a lone \r, and at nothing else (str.splitlines knows eight more).
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


def show_paths(words: str, cwd: str) -> str:
    """A message or command with the Python files that it names relative to the working directory, if below."""
    start = re.escape(cwd.rstrip(os.sep) + os.sep)
    return re.sub(rf"(?<![^\s(]){start}(?=[^\s'\"-][^\s'\"]*\.py\b)", "", words)


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """By file, line, column, code; one of each."""
    return sorted(dict.fromkeys(findings), key=lambda f: (f.path, f.line, f.column, f.code, f.message))


def fill_remedy(finding: Finding, cwd: str) -> str:
    """The remedy with its ``{path}`` filled, as a shell word."""
    return _fill_group([finding], cwd, "")


def _fill_group(group: Sequence[Finding], cwd: str, scope: str) -> str:
    """One remedy for all places: it names each file, or, where that is right for all of them, the whole run."""
    remedy = show_paths(group[0].remedy, cwd)
    paths = dict.fromkeys(show_path(finding.path, cwd) for finding in group)
    if len(paths) == 1 or not scope or " --set " in remedy:
        scope = " ".join(quote_word(os.path.join(".", path) if path.startswith("-") else path) for path in paths)
    return remedy.replace("{path}", scope, 1)


def group_findings(findings: Iterable[Finding], *, verbose: bool = False) -> list[list[Finding]]:
    """Findings of one cause together, in report order; with ``verbose`` each alone.

    One cause: the same code, severity and remedy, and the same ``cause`` (where there is none, the same message).
    """
    groups: dict[object, list[Finding]] = {}
    for finding in sort_findings(findings):
        key = (finding.code, finding.severity, finding.cause or (finding.message, finding.remedy))
        groups.setdefault(finding if verbose else key, []).append(finding)
    return list(groups.values())


def _format_place(finding: Finding, cwd: str) -> str:
    return f"{printable(show_path(finding.path, cwd))}:{finding.line}:{finding.column + 1}"


def format_concise(findings: Iterable[Finding], cwd: str, *, verbose: bool = False) -> Iterator[str]:
    """One line a cause: ``path:line:column: CODE component: message``, and where else it is."""
    for group in group_findings(findings, verbose=verbose):
        first = group[0]
        name = f"{_name_components(group)}: " if first.component else ""
        mark = "" if first.severity == "error" else "warning: "
        line = f"{_format_place(first, cwd)}: {first.code} {mark}{printable(name + show_paths(first.message, cwd))}"
        yield line + (f" ({_list_places(group, cwd)})" if len(group) > 1 else "")


def format_full(findings: Iterable[Finding], cwd: str, *, verbose: bool = False, scope: str = "") -> Iterator[str]:
    """Place, code and component on one line, the message wrapped below it, other places, and the remedy."""
    previous = ""
    for group in group_findings(findings, verbose=verbose):
        first = group[0]
        mark = "" if first.severity == "error" else " (warning)"
        yield f"{_format_place(first, cwd)}: {first.code}{mark} {printable(_name_components(group))}".rstrip()
        yield from _wrap(show_paths(first.message, cwd))
        if len(group) > 1:
            yield from _wrap(_list_places(group, cwd))
        remedy = printable(_fill_group(group, cwd, scope))
        if remedy and remedy == previous and is_command(remedy):
            yield "    the same command cures it"
        elif remedy:
            yield f"    -> {remedy}" if is_command(remedy) else f"    {remedy}"
        previous = remedy


def format_github(findings: Iterable[Finding], cwd: str, root: str, lines: Mapping[str, list[str]]) -> Iterator[str]:
    """A workflow command a finding, which GitHub shows as an annotation on the files of a pull request.

    Each starts with ``::`` and holds no control character, whatever the values hold. Source of the syntax: GitHub's
    "Workflow commands", and command.ts of the package ``@actions/core``. ``lines``: for :func:`text_before`.
    """
    for finding in sort_findings(findings):
        place = {"file": show_path(finding.path, root), "line": str(max(finding.line, 1))}
        place |= {"col": str(len(text_before(finding, lines)) + 1), "title": finding.code}
        escaped = {key: _escape(value).replace(":", "%3A").replace(",", "%2C") for key, value in place.items()}
        message = f"{finding.component}: " if finding.component else ""
        message = _escape(message + show_paths(finding.message, cwd))
        remedy = fill_remedy(finding, cwd)
        message += f"%0A-> {_escape(remedy)}" if remedy else ""
        yield f"::{finding.severity} {','.join(f'{key}={value}' for key, value in escaped.items())}::{message}"


def _escape(words: str) -> str:
    return printable(words).replace("%", "%25")  # CR and LF have become printable escapes


def split_lines(data: bytes) -> list[str]:
    """The lines of a Python file, ends kept, as ``ast`` counts them; none where the bytes cannot be decoded."""
    decoded = decode(data)
    return _LINE.findall(decoded.utf8.decode()) if isinstance(decoded, Decoded) else []


def text_before(finding: Finding, lines: Mapping[str, list[str]]) -> str:
    """The text of the line before a finding; of a file that is not among ``lines`` as many letters as bytes."""
    found = lines.get(finding.path, [])[max(finding.line, 1) - 1 : max(finding.line, 1)]
    return found[0].encode()[: finding.column].decode(errors="ignore") if found else " " * finding.column


def _name_components(group: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.component for finding in group if finding.component))


def _list_places(group: Sequence[Finding], cwd: str) -> str:
    shown = ", ".join(_format_place(finding, cwd) for finding in group[1:PLACES])
    more = f" and {len(group) - PLACES} more (--verbose lists each)" if len(group) > PLACES else ""
    return f"{len(group)} places: also {shown}{more}"


def _wrap(message: str) -> list[str]:
    from textwrap import TextWrapper

    wrapper = TextWrapper(WIDTH, "    ", "    ", break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(printable(message))


def format_notes(notes: Iterable[Note], cwd: str) -> Iterator[str]:
    """One line a note, each once."""
    for note in dict.fromkeys(notes):
        line = f":{note.line}" if note.line else ""
        place = f"{show_path(note.path, cwd)}{line}: " if note.path else ""
        yield printable(f"note: {place}{note.message}")


def _count_codes(findings: Iterable[Finding]) -> str:
    counts = Counter(finding.code for finding in findings)
    return ", ".join(f"{code} x{count}" for code, count in sorted(counts.items()))


def summarize_check(files: int, found: Iterable[Finding]) -> Iterator[str]:
    """The last lines of ``check``: counts, and what to do next."""
    findings = sort_findings(found)
    errors = sum(finding.severity == "error" for finding in findings)
    read = counted(files, "file")
    if not findings:
        yield f"{read} read, nothing found"
        return
    warnings = counted(len(findings) - errors, "warning")
    yield f"{read} read, {counted(errors, 'error')}, {warnings} ({_count_codes(findings)})"
    yield from list_next_steps(findings)


def list_next_steps(findings: Iterable[Finding]) -> Iterator[str]:
    """What is left to do by hand, as no command that was printed with a finding cures it; nothing for one cause."""
    errors = [finding for finding in sort_findings(findings) if finding.severity == "error"]
    by_hand = [finding for finding in errors if not is_command(finding.remedy)]
    if by_hand and len(group_findings(errors)) > 1:
        yield f"next: {len(by_hand)} of {counted(len(errors), 'error')} to cure by hand ({_count_codes(by_hand)})"


def format_decisions(results: Sequence[FileResult], cwd: str) -> Iterator[str]:
    """``--verbose``: a line for every selected component."""
    for result in results:
        for decision in result.decisions:
            changes = ", ".join(f"-{c.key}" if c.value == REMOVE else f"{c.key}={c.value!r}" for c in decision.changes)
            kind = f" ({decision.type})" if decision.type else ""
            place = f"{show_path(result.path, cwd)}:{decision.component.span.line}"
            line = f"{place}: {decision.component.dotted}{kind}: {decision.outcome}"
            yield printable(f"{line} {changes}".rstrip())


def format_edits(plan: Plan, cwd: str, *, would: bool) -> Iterator[str]:
    """One line for every file that was (or would be) written."""
    verb = "would rewrite" if would else "rewrote"
    for edit in plan.edits:
        names = ", ".join(dict.fromkeys(change.component.dotted for change in edit.changes))
        what = {"config": f": {names}", "source": " (loader source)", "script": " (script)"}[edit.kind]
        yield f"{verb} {printable(show_path(edit.path, cwd))}{what}"


def summarize_rewrite(plan: Plan, findings: Iterable[Finding], *, would: bool) -> Iterator[str]:
    """The last lines of ``rewrite``: files, components, and what to do next."""
    changed = len(plan.config_edits)
    verb = "to rewrite" if would else "rewritten"
    line = f"{counted(len(plan.results), 'file')} read, {changed} {verb}, {len(plan.results) - changed} unchanged"
    for kind, word in (("source", "loader source"), ("script", "script")):
        count = sum(edit.kind == kind for edit in plan.sources)
        if count:
            line += f"; {counted(count, word)} {'to edit' if would else 'edited'}"
    yield line
    decided = [(result, decision) for result in plan.results for decision in result.decisions]
    counts = Counter(decision.outcome for _, decision in decided)
    parts = [f"{counts['set']} set"]
    parts += [f"{counts['already']} already set"] if counts["already"] else []
    parts += [f"{counts['not needed']} not needed"] if counts["not needed"] else []
    # each refused component once, by the first error that it, or else its file, has
    refused = [(*decision.findings, *result.findings) for result, decision in decided if decision.outcome == "cannot"]
    errors = [[each for each in found if each.severity == "error"][:1] for found in refused]
    codes = _count_codes(each for found in errors for each in found)
    yield f"components: {', '.join(parts)}, {counts['cannot']} refused" + (f" ({codes})" if codes else "")
    yield from list_next_steps(findings)
