"""Findings that someone has chosen to hide: by a comment on the component's line, or in the settings.

Pure. A comment that hides nothing is a finding of its own (OSR012), so that it cannot outlive its reason.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rewriter.files import compile_patterns
from rewriter.model import FileResult, Finding, Ignore
from rewriter.rules import NEVER_IGNORED, all_rules


@dataclass(frozen=True, slots=True)
class IgnoreSettings:
    """What the settings hide. ``per_file``: ``(gitignore-style pattern relative to folder, codes)``."""

    codes: Collection[str] = ()
    per_file: Sequence[tuple[str, Collection[str]]] = ()
    folder: str | None = None

    def hides(self, finding: Finding) -> bool:
        """Whether ``finding`` is hidden."""
        if finding.code in NEVER_IGNORED or finding.code in self.codes:
            return finding.code not in NEVER_IGNORED
        prefix = (self.folder or "").rstrip(os.sep) + os.sep
        if self.folder is None or not finding.path.startswith(prefix):
            return False
        relative = finding.path[len(prefix) :].replace(os.sep, "/")
        return any(finding.code in codes and compile_patterns([pattern])(relative) for pattern, codes in self.per_file)


def hide_findings(
    findings: Iterable[Finding],
    results: Sequence[FileResult],
    settings: IgnoreSettings,
    *,
    not_requested: Collection[str] = (),
) -> tuple[list[Finding], list[Finding]]:
    """What remains to be reported, and the comments that hide nothing (OSR012).

    A comment hides findings of its own line. Comments on the lines of components that were not selected are left
    alone, and so are codes that this run could not have found (``not_requested``: OSR003 without a cache_dir).
    """
    comments = {result.path: result.ignores for result in results if result.ignores}
    used: set[tuple[str, int, str]] = set()
    kept: list[Finding] = []
    for finding in findings:
        near = [comment for comment in comments.get(finding.path, ()) if comment.line == finding.line]
        # a comment that names the code comes before one that names none
        hiding = [each for each in near if finding.code in each.codes] or [each for each in near if not each.codes]
        if not hiding or finding.code in NEVER_IGNORED:
            kept.append(finding)
        else:
            used.add((finding.path, finding.line, finding.code if hiding[0].codes else ""))
    skipped = {result.path: result.skipped_lines for result in results}
    unused = dict.fromkeys(
        _report_unused(path, comment, code)
        for path, found in comments.items()
        for comment in found
        if comment.line not in skipped[path]
        for code in (comment.codes or ("",))
        if code not in not_requested and (path, comment.line, code) not in used
    )
    return [f for f in kept if not settings.hides(f)], [f for f in unused if not settings.hides(f)]


def codes_not_requested(cache_dir: bool, local_files_only: bool) -> frozenset[str]:
    """Codes that ``check`` or ``rewrite`` cannot find with these options."""
    codes = {rule.code for rule in all_rules().values() if not rule.about_configs}
    codes |= set() if cache_dir else {"OSR003"}
    return frozenset(codes if local_files_only else codes | {"OSR011"})


def _report_unused(path: str, comment: Ignore, code: str) -> Finding:
    written = f"ignore[{code}]" if code else "ignore"
    if code in NEVER_IGNORED:
        message = f"`{written}`: {code} cannot be ignored"
    elif code and not (code in all_rules() and all_rules()[code].about_configs):
        message = f"`{written}`: there is no finding {code}"
    else:
        message = f"`{written}` hides nothing on this line"
    comment_text = f"the comment on line {comment.line}"
    remedy = f"take {code} out of {comment_text}" if len(comment.codes) > 1 else f"remove {comment_text}"
    return Finding("OSR012", path, comment.line, 0, "", message, remedy, all_rules()["OSR012"].severity)
