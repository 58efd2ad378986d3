"""The sarif format for code-scanning viewers: OASIS' SARIF 2.1.0 (errata 01), with rules, fingerprints and fixes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sarif_pydantic.sarif import Sarif  # type: ignore[import-untyped]

from rewriter.files import show_path
from rewriter.model import FileEdit
from rewriter.report.text import Report, count_columns, show_finding
from rewriter.rules import all_rules
from rewriter.words import printable

Json = dict[str, Any]
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
BASE = "SRCROOT"

# What an edit of the component's own dict cures, and what needs its loader's source edited in the same step.
_CURED_BY_SOURCE = frozenset({"OSR004", "OSR005"})
_CURED = _CURED_BY_SOURCE | {"OSR001", "OSR002", "OSR003", "OSR009", "OSR011"}
# Numbers of lines in a message move when lines above are added; a fingerprint must not.
_LINE_NUMBER = re.compile(r"(?<=:)\d+|(?<=\bline )\d+")


def render_sarif(report: Report) -> str:
    """One SARIF log with one run, as indented JSON; the same report gives the same bytes."""
    rules = [
        {
            "id": rule.code,
            "name": "".join(word.capitalize() for word in rule.name.split("-")),
            "shortDescription": {"text": rule.meaning},
            "fullDescription": {"text": rule.explanation},
            "help": {"text": f"{rule.meaning}. {rule.explanation}"},
            "defaultConfiguration": {"level": rule.severity},
        }
        for rule in all_rules().values()
    ]
    driver = {"name": "opensora-rewriter", "version": report.version, "semanticVersion": report.version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "exitCode": report.exit_code}],
        "originalUriBaseIds": {BASE: {"uri": Path(report.root).as_uri().rstrip("/") + "/"}},
        "results": list(_make_results(report)),
        "newlineSequences": ["\r\n", "\n", "\r"],
        "columnKind": "unicodeCodePoints",
    }
    log = Sarif.model_validate({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})
    return json.dumps(log.model_dump(mode="json", by_alias=True, exclude_none=True), indent=2) + "\n"


def _make_results(report: Report) -> Iterator[Json]:
    base, codes = report.root, list(all_rules())
    changes = {edit.path: _describe_edit(edit, base) for edit in report.fixes}
    sources = [changes[edit.path] for edit in report.fixes if edit.kind == "source"]
    seen: Counter[str] = Counter()
    for finding, column in count_columns(report.findings, report.plan):
        shown = show_finding(finding, report.cwd)
        message = f"{finding.component}: " * bool(finding.component) + f"{shown.message}\n{shown.remedy}".rstrip()
        message = "\n".join(map(printable, message.split("\n"))).replace("](", "] (")  # which would be a link
        region = {"startLine": max(finding.line, 1), "startColumn": column}
        place = show_path(finding.path, base), finding.component, _LINE_NUMBER.sub("#", finding.message)
        digest = hashlib.sha256("\0".join((finding.code, *place)).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        seen[digest] += 1
        own = [changes[finding.path]] if finding.path in changes else []
        fixed = own * (finding.code in _CURED) + sources * (finding.code in _CURED_BY_SOURCE)
        fix = {"description": {"text": "opensora-rewriter rewrite"}, "artifactChanges": fixed}
        yield {
            "ruleId": finding.code,
            "ruleIndex": codes.index(finding.code),
            "level": finding.severity,
            "message": {"text": message},
            "locations": [{"physicalLocation": {"artifactLocation": _locate(finding.path, base), "region": region}}],
            "partialFingerprints": {"opensoraRewriter/v1": digest if seen[digest] == 1 else f"{digest}:{seen[digest]}"},
            "fixes": [fix] if fixed else None,
        }


def _describe_edit(edit: FileEdit, base: str) -> Json:
    """An ``artifactChange``: the whole lines of a file that differ."""
    # bytes end a line where `ast` does: at \r\n, \n and a lone \r, and at nothing else
    before, after = ([line.decode() for line in data.splitlines(keepends=True)] for data in (edit.old, edit.new))
    replacements = []
    for tag, start, stop, first, last in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        end, column = stop + 1, 1
        if start < stop == len(before) and not before[-1].endswith(("\r", "\n")):
            end, column = stop, len(before[-1]) + 1
        region = {"startLine": start + 1, "startColumn": 1, "endLine": end, "endColumn": column}
        replacements.append({"deletedRegion": region, "insertedContent": {"text": "".join(after[first:last])}})
    return {"artifactLocation": _locate(edit.path, base), "replacements": replacements}


def _locate(path: str, base: str) -> Json:
    relative = show_path(path, base)
    if relative == path:
        return {"uri": Path(path).as_uri()}
    return {"uri": quote(os.fsencode(relative), safe="/"), "uriBaseId": BASE}
