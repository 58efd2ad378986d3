"""The sarif format: SARIF 2.1.0 for code-scanning viewers, with rules, fingerprints and fixes.

Source of the format: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0" (errata 01).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from sarif_pydantic.sarif import (  # type: ignore[import-untyped]
    ArtifactChange,
    ArtifactContent,
    ArtifactLocation,
    Invocation,
    Level,
    Location,
    LogicalLocation,
    Message,
    PhysicalLocation,
    Region,
    Replacement,
    ReportingConfiguration,
    ReportingDescriptor,
    Result,
    Run,
    Sarif,
    Tool,
    ToolDriver,
)
from sarif_pydantic.sarif import Fix as SarifFix

from rewriter.model import FileEdit, Finding
from rewriter.report import Report
from rewriter.report.json import escape_surrogates, escape_unsafe
from rewriter.report.positions import Hunk, count_utf16, find_hunks, split_lines, text_before
from rewriter.report.text import below, fill_remedy, sort_findings
from rewriter.rules import Rule, all_rules
from rewriter.words import printable

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
BASE = "SRCROOT"
FINGERPRINT = "opensoraRewriter/v1"

# What an edit of the component's own dict cures, and what needs its loader's source edited in the same step.
_CURED_BY_SOURCE = frozenset({"OSR004", "OSR005"})
_CURED = _CURED_BY_SOURCE | {"OSR001", "OSR002", "OSR003", "OSR009", "OSR011"}
# Numbers of lines in a message move when lines above are added; a fingerprint must not.
_LINE_NUMBER = re.compile(r"(?<=:)\d+|(?<=\bline )\d+")


def render_sarif(report: Report) -> str:
    """One SARIF log with one run, as indented JSON; the same report gives the same bytes."""
    return escape_unsafe(make_sarif(report).model_dump_json(indent=2, by_alias=True, exclude_none=True)) + "\n"


def make_sarif(report: Report) -> Sarif:
    """The report as a SARIF log. URIs are relative to the repository's top, named in ``originalUriBaseIds``."""
    return _Log(report).make_log()


@dataclass(frozen=True, slots=True)
class _Cure:
    """The hunks of one file that belong to the component at one line."""

    path: str
    hunks: tuple[Hunk, ...]


class _Log:
    """One log under construction."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.base = report.root
        self.texts = report.texts
        self.findings = sort_findings(report.findings)
        self.rules = _select_rules({finding.code for finding in self.findings})
        self.index = {rule.code: number for number, rule in enumerate(self.rules)}
        self.lines: dict[str, list[str] | None] = {}
        self.seen: dict[str, int] = {}
        self.cures = {(fix.path, line): cure for fix in report.fixes for line, cure in _split_by_component(fix)}
        self.sources = [_Cure(fix.path, tuple(find_hunks(fix.old, fix.new))) for fix in report.fixes if not fix.changes]

    def make_log(self) -> Sarif:
        driver = ToolDriver(
            name="opensora-rewriter",
            version=self.report.version,
            semantic_version=self.report.version,
            rules=[_describe_rule(rule) for rule in self.rules],
        )
        run = Run(
            tool=Tool(driver=driver),
            invocations=[
                Invocation.model_validate(
                    {"executionSuccessful": self.report.exit_code < 2, "exitCode": self.report.exit_code}
                )
            ],
            original_uri_base_ids={BASE: ArtifactLocation(uri=_make_file_uri(self.base).rstrip("/") + "/")},
            results=[self.make_result(finding) for finding in self.findings],
            newline_sequences=["\r\n", "\n", "\r"],
            columnKind="utf16CodeUnits",
        )
        return Sarif.model_validate({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})

    def make_result(self, finding: Finding) -> Result:
        remedy = fill_remedy(finding, self.report.cwd)
        text = finding.message + (f"\n{remedy}" if remedy else "")
        fixes = self.find_fixes(finding)
        return Result(
            rule_id=finding.code,
            rule_index=self.index[finding.code],
            level=Level(finding.severity),
            message=Message(text=_escape_links(text)),
            locations=self.find_locations(finding),
            partial_fingerprints={FINGERPRINT: self.make_fingerprint(finding)},
            fixes=fixes or None,
        )

    def find_locations(self, finding: Finding) -> list[Location]:
        if finding.path not in self.lines:
            self.lines[finding.path] = split_lines(self.texts.get(finding.path))
        before = text_before(self.lines[finding.path], finding.line, finding.column)
        column = finding.column if before is None else count_utf16(before)
        name = escape_surrogates(finding.component)
        logical = [LogicalLocation(fully_qualified_name=name, name=name.rpartition(".")[2], kind="variable")]
        return [
            Location(
                physical_location=PhysicalLocation(
                    artifact_location=self.locate(finding.path),
                    region=Region(start_line=max(finding.line, 1), start_column=column + 1),
                ),
                logical_locations=logical if name else None,
            )
        ]

    def locate(self, path: str) -> ArtifactLocation:
        relative = below(path, self.base)
        if relative is None:
            return ArtifactLocation(uri=_make_file_uri(path))
        return ArtifactLocation(uri=_make_relative_uri(relative), uri_base_id=BASE)

    def make_fingerprint(self, finding: Finding) -> str:
        """Stable while lines above come and go; a second finding of the same words gets a number."""
        path = below(finding.path, self.base) or finding.path
        message = _LINE_NUMBER.sub("#", finding.message)
        parts = "\0".join((finding.code, path, finding.component, message))
        digest = hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self.seen[digest] = self.seen.get(digest, 0) + 1
        return digest if self.seen[digest] == 1 else f"{digest}:{self.seen[digest]}"

    def find_fixes(self, finding: Finding) -> list[SarifFix]:
        if finding.code not in _CURED:
            return []
        own = self.cures.get((finding.path, finding.line))
        cures = [own] if own is not None else []
        if finding.code in _CURED_BY_SOURCE:
            cures += self.sources
        changes = [self.make_change(cure) for cure in cures if cure.hunks]
        if not changes:
            return []
        name = escape_surrogates(finding.component) or "the component"
        return [SarifFix(description=Message(text=_escape_links(f"Rewrite {name}")), artifact_changes=changes)]

    def make_change(self, cure: _Cure) -> ArtifactChange:
        return ArtifactChange(
            artifact_location=self.locate(cure.path),
            replacements=[
                Replacement(
                    deleted_region=Region(
                        start_line=hunk.first, start_column=1, end_line=hunk.end_line, end_column=hunk.end_column
                    ),
                    inserted_content=ArtifactContent(text=hunk.text) if hunk.text else None,
                )
                for hunk in cure.hunks
            ],
        )


def _split_by_component(fix: FileEdit) -> Iterable[tuple[int, _Cure]]:
    """The line of each changed component, with the hunks from there to the next one."""
    lines = sorted({change.component.span.line for change in fix.changes})
    found: dict[int, list[Hunk]] = {}
    for hunk in find_hunks(fix.old, fix.new) if lines else ():
        owner = max((line for line in lines if line <= hunk.anchor), default=lines[0])
        found.setdefault(owner, []).append(hunk)
    return [(line, _Cure(fix.path, tuple(parts))) for line, parts in found.items()]


def _select_rules(codes: set[str]) -> Sequence[Rule]:
    """Every rule of ``check`` and ``rewrite``; all rules where another command's are among the findings."""
    rules = [rule for rule in all_rules().values() if rule.about_configs]
    return rules if codes <= {rule.code for rule in rules} else list(all_rules().values())


def _describe_rule(rule: Rule) -> ReportingDescriptor:
    parts = [rule.explanation]
    parts += [
        f"{label}:\n\n```python\n{code}\n```" for label, code in (("Before", rule.bad), ("After", rule.good)) if code
    ]
    return ReportingDescriptor(
        id=rule.code,
        name="".join(word.capitalize() for word in rule.name.split("-")),
        short_description=Message(text=rule.meaning),
        full_description=Message(text=rule.explanation),
        help=Message(text=f"{rule.meaning}. {rule.explanation}", markdown="\n\n".join(parts)),
        default_configuration=ReportingConfiguration(level=rule.severity),
    )


def _escape_links(text: str) -> str:
    """Plain text for a viewer: no control characters, and no ``[text](target)``, which SARIF would make a link."""
    clean = "\n".join(printable(line) for line in text.split("\n"))
    return clean.replace("[", "\\[").replace("]", "\\]") if "](" in clean else clean


def _make_relative_uri(below: str) -> str:
    # Every segment percent-encoded: `:` would read as a scheme, and file names may be bytes that are no UTF-8.
    return quote(os.fsencode(below), safe="/")


def _make_file_uri(path: str) -> str:
    posix = path.replace(os.sep, "/")
    return "file://" + quote(os.fsencode(posix if posix.startswith("/") else "/" + posix), safe="/")
