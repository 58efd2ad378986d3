"""Findings that someone has chosen not to hear: by a comment on the component's line, or in the settings.

Pure. A comment that hides nothing is a finding of its own (OSR012), so that it cannot outlive its reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from rewriter.rules import CONFIG_RULES
from rewriter.types import Finding, Ignore

# A file that cannot be read or a run that cannot be proved is not a matter of taste.
NEVER_IGNORED = frozenset({"OSR900", "OSR901", "OSR902"})

PerFile = Sequence[tuple[str, Collection[str]]]


def apply(
    findings: Iterable[Finding], ignores_by_path: Mapping[str, Sequence[Ignore]], *,
    component_lines: Mapping[tuple[str, str], int] | None = None,
    not_looked_at: Mapping[str, Collection[int]] | None = None, not_asked: Collection[str] = (),
    ignore: Collection[str] = (), per_file: PerFile = (), folder: str | None = None,
) -> tuple[list[Finding], list[Finding]]:  # fmt: skip
    """What remains to be told, and the comments that hide nothing (findings OSR012).

    ``ignores_by_path``: the comments of every file that was read. A comment hides findings of its own line; with
    ``component_lines`` ((path, dotted component) -> first line of its dict) also those of that component elsewhere.
    ``not_looked_at``: lines of components that this run did not select: their comments may well be of use.
    ``not_asked``: codes that this run could not have found (OSR003 without a cache_dir).
    ``ignore``, ``per_file``, ``folder``: of the settings; patterns are gitignore-style, relative to ``folder``.
    """
    lines = component_lines or {}
    used: set[tuple[str, int, str]] = set()
    told: list[Finding] = []
    for finding in findings:
        by = None if finding.code in NEVER_IGNORED else _comment(finding, ignores_by_path.get(finding.path, ()), lines)
        if by is None:
            told.append(finding)
        else:
            used.add((finding.path, by.line, finding.code if by.codes else ""))
    unused = [
        _unused(path, comment, code)
        for path, comments in ignores_by_path.items()
        for comment in comments
        if comment.line not in (not_looked_at or {}).get(path, ())
        for code in (comment.codes or ("",))
        if code not in not_asked and (path, comment.line, code) not in used
    ]
    hidden = _by_settings(frozenset(ignore), per_file, folder)
    return [f for f in told if not hidden(f)], [f for f in dict.fromkeys(unused) if not hidden(f)]


def _comment(finding: Finding, comments: Sequence[Ignore], lines: Mapping[tuple[str, str], int]) -> Ignore | None:
    """The comment that hides ``finding``: one that names its code before one that names none."""
    places = {finding.line, lines.get((finding.path, finding.component), finding.line)}
    near = [comment for comment in comments if comment.line in places]
    named = [comment for comment in near if finding.code in comment.codes]
    return next(iter(named or [comment for comment in near if not comment.codes]), None)


def _unused(path: str, comment: Ignore, code: str) -> Finding:
    written = f"ignore[{code}]" if code else "ignore"
    if code in NEVER_IGNORED:
        message = f"`{written}`: {code} cannot be ignored"
    elif code and code not in CONFIG_RULES:
        message = f"`{written}`: there is no finding {code}"
    else:
        message = f"`{written}` hides nothing on this line"
    remedy = f"take {code} out of the comment on line {comment.line}" if len(comment.codes) > 1 else (
        f"remove the comment on line {comment.line}"
    )  # fmt: skip
    return Finding("OSR012", path, comment.line, 0, "", message, remedy, CONFIG_RULES["OSR012"].severity)


def _by_settings(ignore: frozenset[str], per_file: PerFile, folder: str | None) -> Callable[[Finding], bool]:
    tests = [(_matcher(pattern), frozenset(codes)) for pattern, codes in per_file] if folder is not None else []

    def hidden(finding: Finding) -> bool:
        if finding.code in NEVER_IGNORED:
            return False
        if finding.code in ignore:
            return True
        relative = _below(finding.path, folder) if tests and folder is not None else None
        return relative is not None and any(finding.code in codes and match(relative) for match, codes in tests)

    return hidden


def _matcher(pattern: str) -> Callable[[str], bool]:
    import pathspec  # 40 ms: only where the settings hold patterns

    return pathspec.GitIgnoreSpec.from_lines([pattern]).match_file


def _below(path: str, folder: str) -> str | None:
    prefix = folder.rstrip(os.sep) + os.sep
    return path[len(prefix) :].replace(os.sep, "/") if path.startswith(prefix) else None
