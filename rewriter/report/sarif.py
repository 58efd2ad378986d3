"""The sarif format: SARIF 2.1.0 for code-scanning viewers, with rules, fingerprints and fixes.

Source of the format: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0" (errata 01).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from typing import Any
from urllib.parse import quote

from sarif_pydantic.sarif import Sarif  # type: ignore[import-untyped]

from rewriter.model import FileEdit, Finding
from rewriter.report import Report
from rewriter.report.json import escape_surrogates, escape_unsafe
from rewriter.report.text import fill_remedy, show_path, show_paths, sort_findings, split_lines, text_before
from rewriter.rules import Rule, all_rules
from rewriter.words import printable

Json = dict[str, Any]
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
BASE = "SRCROOT"
FINGERPRINT = "opensoraRewriter/v1"

# What an edit of the component's own dict cures, and what needs its loader's source edited in the same step.
_CURED_BY_SOURCE = frozenset({"OSR004", "OSR005"})
_CURED = _CURED_BY_SOURCE | {"OSR001", "OSR002", "OSR003", "OSR009", "OSR011"}
# Numbers of lines in a message move when lines above are added; a fingerprint must not.
_LINE_NUMBER = re.compile(r"(?<=:)\d+|(?<=\bline )\d+")


def render_sarif(report: Report) -> str:
    """One SARIF log with one run, as indented JSON; the same report gives the same bytes.

    URIs are relative to the repository's top, which ``originalUriBaseIds`` names.
    """
    findings = sort_findings(report.findings)
    rules = _select_rules({finding.code for finding in findings})
    driver = {
        "name": "opensora-rewriter",
        "version": report.version,
        "semanticVersion": report.version,
        "rules": [_describe_rule(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": report.exit_code < 2, "exitCode": report.exit_code}],
        "originalUriBaseIds": {BASE: {"uri": _make_file_uri(report.root).rstrip("/") + "/"}},
        "results": list(_make_results(report, findings, [rule.code for rule in rules])),
        "newlineSequences": ["\r\n", "\n", "\r"],
        "columnKind": "utf16CodeUnits",
    }
    log = Sarif.model_validate({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})
    return escape_unsafe(log.model_dump_json(indent=2, by_alias=True, exclude_none=True)) + "\n"


def _make_results(report: Report, findings: Iterable[Finding], codes: list[str]) -> Iterator[Json]:
    base, lines = report.root, report.lines
    changes = _find_changes(report.fixes, base)
    seen: Counter[str] = Counter()
    for finding in findings:
        remedy = fill_remedy(finding, report.cwd)
        message = show_paths(finding.message, report.cwd) + (f"\n{remedy}" if remedy else "")
        name = escape_surrogates(finding.component)
        logical = {"fullyQualifiedName": name, "name": name.rpartition(".")[2], "kind": "variable"}
        column = _count_utf16(text_before(finding, lines)) + 1
        physical = {
            "artifactLocation": _locate(finding.path, base),
            "region": {"startLine": max(finding.line, 1), "startColumn": column},
        }
        digest = _make_digest(finding, base)
        seen[digest] += 1
        fixed = _select_changes(finding, changes)
        fix = {"description": {"text": _escape_links(f"Rewrite {name or 'the component'}")}, "artifactChanges": fixed}
        yield {
            "ruleId": finding.code,
            "ruleIndex": codes.index(finding.code),
            "level": finding.severity,
            "message": {"text": _escape_links(message)},
            "locations": [{"physicalLocation": physical, "logicalLocations": [logical] if name else None}],
            "partialFingerprints": {FINGERPRINT: digest if seen[digest] == 1 else f"{digest}:{seen[digest]}"},
            "fixes": [fix] if fixed else None,
        }


def _make_digest(finding: Finding, base: str) -> str:
    """A fingerprint that stays the same while lines above come and go."""
    message = _LINE_NUMBER.sub("#", finding.message)
    parts = "\0".join((finding.code, show_path(finding.path, base), finding.component, message))
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _find_changes(fixes: Iterable[FileEdit], base: str) -> dict[tuple[str, int], Json]:
    """``artifactChange`` objects by path and line of the component that they are for; the line of a loader's is 0."""
    found: dict[tuple[str, int], Json] = {}
    for fix in fixes:
        lines = sorted({change.component.span.line for change in fix.changes})
        for anchor, replacement in _find_replacements(fix.old, fix.new):
            owner = max((line for line in lines if line <= anchor), default=min(lines, default=0))
            empty = {"artifactLocation": _locate(fix.path, base), "replacements": []}
            found.setdefault((fix.path, owner), empty)["replacements"].append(replacement)
    return found


def _find_replacements(old: bytes, new: bytes) -> Iterator[tuple[int, Json]]:
    """Whole lines that differ, each with the last old line that it touches or follows; none of undecodable bytes."""
    before, after = split_lines(old), split_lines(new)
    for tag, start, stop, first, last in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal" or not before or not after:
            continue
        end, column = stop + 1, 1
        if start < stop == len(before) and not before[-1].endswith(("\r", "\n")):
            end, column = stop, _count_utf16(before[-1]) + 1
        text = "".join(after[first:last])
        region = {"startLine": start + 1, "startColumn": 1, "endLine": end, "endColumn": column}
        anchor = max(start if tag == "insert" else start + 1, 1)
        yield anchor, {"deletedRegion": region, "insertedContent": {"text": text} if text else None}


def _select_changes(finding: Finding, changes: dict[tuple[str, int], Json]) -> list[Json]:
    own = [changes[key] for key in ((finding.path, finding.line),) if key in changes and finding.code in _CURED]
    sources = [change for (_, line), change in changes.items() if line == 0]
    return own + (sources if finding.code in _CURED_BY_SOURCE else [])


def _select_rules(codes: set[str]) -> list[Rule]:
    """Every rule of ``check`` and ``rewrite``; all rules where another command's are among the findings."""
    rules = [rule for rule in all_rules().values() if rule.about_configs]
    return rules if codes <= {rule.code for rule in rules} else list(all_rules().values())


def _describe_rule(rule: Rule) -> Json:
    examples = [(label, code) for label, code in (("Before", rule.bad), ("After", rule.good)) if code]
    parts = [rule.explanation, *(f"{label}:\n\n```python\n{code}\n```" for label, code in examples)]
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.meaning},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": f"{rule.meaning}. {rule.explanation}", "markdown": "\n\n".join(parts)},
        "defaultConfiguration": {"level": rule.severity},
    }


def _count_utf16(text: str) -> int:
    """How many UTF-16 code units ``text`` takes: SARIF's default measure of a column."""
    return len(text) + sum(character > "\uffff" for character in text)


def _escape_links(text: str) -> str:
    """Plain text for a viewer: no control characters, and no ``[text](target)``, which SARIF would make a link."""
    clean = "\n".join(printable(line) for line in text.split("\n"))
    return clean.replace("[", "\\[").replace("]", "\\]") if "](" in clean else clean


def _locate(path: str, base: str) -> Json:
    # Every segment percent-encoded: `:` would read as a scheme, and file names may be bytes that are no UTF-8.
    relative = show_path(path, base)
    if relative == path:
        return {"uri": _make_file_uri(path)}
    return {"uri": quote(os.fsencode(relative), safe="/"), "uriBaseId": BASE}


def _make_file_uri(path: str) -> str:
    posix = path.replace(os.sep, "/")
    return "file://" + quote(os.fsencode(posix if posix.startswith("/") else "/" + posix), safe="/")
