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

from rewriter.decide import with_path
from rewriter.formats import Fix, Report, from_base
from rewriter.formats.json_report import escaped, unicode
from rewriter.formats.positions import Hunk, before_column, hunks, lines_of, utf16_units
from rewriter.report import ordered, printable, shown
from rewriter.rules import CONFIG_RULES, Rule, all_rules
from rewriter.types import Finding

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
    return escaped(to_sarif(report).model_dump_json(indent=2, by_alias=True, exclude_none=True)) + "\n"


def to_sarif(report: Report) -> Sarif:
    """The report as a SARIF log. URIs are relative to the repository's top, named in ``originalUriBaseIds``."""
    return _Log(report).sarif()


@dataclass(frozen=True, slots=True)
class _Cure:
    """The hunks of one file that belong to the component at one line."""

    path: str
    hunks: tuple[Hunk, ...]


class _Log:
    """One log in the making."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.base = report.root or report.cwd
        self.findings = ordered(report.findings)
        self.rules = _rules({finding.code for finding in self.findings})
        self.index = {rule.code: number for number, rule in enumerate(self.rules)}
        self.lines: dict[str, list[str] | None] = {}
        self.seen: dict[str, int] = {}
        self.cures = {(fix.path, line): cure for fix in report.fixes for line, cure in _by_component(fix)}
        self.sources = [_Cure(fix.path, tuple(hunks(fix.old, fix.new))) for fix in report.fixes if not fix.lines]

    def sarif(self) -> Sarif:
        driver = ToolDriver(
            name="opensora-rewriter", version=self.report.version, semantic_version=self.report.version,
            rules=[_descriptor(rule) for rule in self.rules],
        )  # fmt: skip
        run = Run(
            tool=Tool(driver=driver),
            invocations=[Invocation.model_validate(
                {"executionSuccessful": self.report.exit_code < 2, "exitCode": self.report.exit_code}
            )],
            original_uri_base_ids={BASE: ArtifactLocation(uri=_file_uri(self.base).rstrip("/") + "/")},
            results=[self.result(finding) for finding in self.findings],
            newline_sequences=["\r\n", "\n", "\r"],
            columnKind="utf16CodeUnits",
        )  # fmt: skip
        return Sarif.model_validate({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})

    def result(self, finding: Finding) -> Result:
        remedy = with_path(finding, shown(finding.path, self.report.cwd)).remedy
        text = finding.message + (f"\n{remedy}" if remedy else "")
        fixes = self.fixes(finding)
        return Result(
            rule_id=finding.code,
            rule_index=self.index[finding.code],
            level=Level(finding.severity),
            message=Message(text=_message(text)),
            locations=self.locations(finding),
            partial_fingerprints={FINGERPRINT: self.fingerprint(finding)},
            fixes=fixes or None,
        )

    def locations(self, finding: Finding) -> list[Location]:
        if finding.path not in self.lines:
            data = self.report.texts.get(finding.path)
            self.lines[finding.path] = None if data is None else lines_of(data)
        before = before_column(self.lines[finding.path], finding.line, finding.column)
        column = finding.column if before is None else utf16_units(before)
        name = unicode(finding.component)
        logical = [LogicalLocation(fully_qualified_name=name, name=name.rpartition(".")[2], kind="variable")]
        return [
            Location(
                physical_location=PhysicalLocation(
                    artifact_location=self.artifact(finding.path),
                    region=Region(start_line=max(finding.line, 1), start_column=column + 1),
                ),
                logical_locations=logical if name else None,
            )
        ]

    def artifact(self, path: str) -> ArtifactLocation:
        below = from_base(path, self.base)
        if below is None:
            return ArtifactLocation(uri=_file_uri(path))
        return ArtifactLocation(uri=_relative_uri(below), uri_base_id=BASE)

    def fingerprint(self, finding: Finding) -> str:
        """Stable while lines above come and go; a second finding of the same words gets a number."""
        below = from_base(finding.path, self.base) or finding.path
        message = _LINE_NUMBER.sub("#", finding.message)
        parts = "\0".join((finding.code, below, finding.component, message))
        digest = hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self.seen[digest] = self.seen.get(digest, 0) + 1
        return digest if self.seen[digest] == 1 else f"{digest}:{self.seen[digest]}"

    def fixes(self, finding: Finding) -> list[SarifFix]:
        if finding.code not in _CURED:
            return []
        own = self.cures.get((finding.path, finding.line))
        cures = [own] if own is not None else []
        if finding.code in _CURED_BY_SOURCE:
            cures += self.sources
        changes = [self.change(cure) for cure in cures if cure.hunks]
        if not changes:
            return []
        name = unicode(finding.component) or "the component"
        return [SarifFix(description=Message(text=_message(f"Rewrite {name}")), artifact_changes=changes)]

    def change(self, cure: _Cure) -> ArtifactChange:
        return ArtifactChange(
            artifact_location=self.artifact(cure.path),
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


def _by_component(fix: Fix) -> Iterable[tuple[int, _Cure]]:
    """Each changed component's line with the hunks from there to the next one."""
    found: dict[int, list[Hunk]] = {}
    for hunk in hunks(fix.old, fix.new) if fix.lines else ():
        owner = max((line for line in fix.lines if line <= hunk.anchor), default=min(fix.lines))
        found.setdefault(owner, []).append(hunk)
    return [(line, _Cure(fix.path, tuple(parts))) for line, parts in found.items()]


def _rules(codes: set[str]) -> Sequence[Rule]:
    """Every rule of ``check`` and ``rewrite``, and those of ``verify`` where it was the one that spoke."""
    rules = CONFIG_RULES if codes <= CONFIG_RULES.keys() else all_rules()
    return [rules[code] for code in sorted(rules)]


def _descriptor(rule: Rule) -> ReportingDescriptor:
    parts = [rule.explanation]
    parts += [f"{label}:\n\n```python\n{code}\n```" for label, code in
              (("Before", rule.before), ("After", rule.after)) if code]  # fmt: skip
    return ReportingDescriptor(
        id=rule.code,
        name="".join(word.capitalize() for word in rule.name.split("-")),
        short_description=Message(text=rule.title),
        full_description=Message(text=rule.explanation),
        help=Message(text=f"{rule.title}. {rule.explanation}", markdown="\n\n".join(parts)),
        default_configuration=ReportingConfiguration(level=rule.severity),
    )


def _message(text: str) -> str:
    """Plain text for a viewer: no control characters, and no ``[text](target)``, which SARIF would make a link."""
    clean = "\n".join(printable(line) for line in text.split("\n"))
    return clean.replace("[", "\\[").replace("]", "\\]") if "](" in clean else clean


def _relative_uri(below: str) -> str:
    # Every segment percent-encoded: `:` would read as a scheme, and file names may be bytes that are no UTF-8.
    return quote(os.fsencode(below), safe="/")


def _file_uri(path: str) -> str:
    posix = path.replace(os.sep, "/")
    return "file://" + quote(os.fsencode(posix if posix.startswith("/") else "/" + posix), safe="/")
