"""Findings that someone has chosen to hide: by a comment on the component's line, or in the settings.

A comment that hides nothing is a finding of its own (OSR012), so that it cannot outlive its reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rewriter.files import compile_patterns, show_path
from rewriter.model import FileResult, Finding, Ignore
from rewriter.rules import NEVER_IGNORED, all_rules
from rewriter.settings import Settings


def hide_findings(
    findings: Iterable[Finding], results: Sequence[FileResult], settings: Settings, *, report_unused: bool = False
) -> list[Finding]:
    """What remains to be reported; with ``report_unused`` also the comments that hide nothing.

    Comments on components that were not selected are left alone, and codes that this run does not look for.
    """
    comments = {
        (result.path, comment.line, code): comment
        for result in results
        for comment in result.ignores
        for code in comment.codes or ("",)
    }
    kept = []
    used = set()
    for finding in findings:
        # a comment that names the code comes before one that names none
        keys = [(finding.path, finding.line, code) for code in (finding.code, "")]
        hiding = next((key for key in keys if key in comments), None)
        if hiding is None or finding.code in NEVER_IGNORED:
            kept.append(finding)
        else:
            used.add(hiding)
    if report_unused and comments:  # else the table of rules need not be read
        skipped = {(result.path, line) for result in results for line in result.skipped_lines}
        sought = {"OSR003": bool(settings.cache_dir or settings.cache_dirs), "OSR011": settings.local_files_only}
        # OSR101 to OSR8xx are found by `verify`, `lock` and `download` only
        passed = {code for code in all_rules() if "OSR1" <= code < "OSR9" or not sought.get(code, True)}
        for (path, line, code), comment in comments.items():
            if (path, line, code) not in used and (path, line) not in skipped and code not in passed:
                kept.append(_report_unused(path, comment, code))
    return [finding for finding in kept if not _is_hidden(finding, settings)]


def _is_hidden(finding: Finding, settings: Settings) -> bool:
    """Whether the settings hide it: everywhere, or in files that match a pattern relative to the settings file."""
    if finding.code in settings.ignore:
        return True
    patterns = [pattern for pattern, codes in settings.per_file_ignores if finding.code in codes]
    name = show_path(finding.path, os.path.dirname(settings.path or ""))
    return name != finding.path and any(compile_patterns([pattern])(name) for pattern in patterns)


def _report_unused(path: str, comment: Ignore, code: str) -> Finding:
    written = f"`ignore[{code}]`" if code else "`ignore`"
    if code in NEVER_IGNORED:
        message = f"{written}: {code} cannot be ignored"
    elif code and code not in all_rules():
        message = f"{written}: there is no finding {code}"
    else:
        message = f"{written} hides nothing on this line"
    what = "remove the comment" if len(comment.codes) < 2 else f"take {code} out of the comment"
    return Finding("OSR012", path, comment.line, 0, "", message, f"{what} on line {comment.line}")
