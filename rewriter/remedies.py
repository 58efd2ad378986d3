"""Remedies that depend on the whole file: on its other findings, on where it lies, on how it is encoded."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rewriter.decide import SERVED, shell
from rewriter.frozen import replace
from rewriter.types import Finding

if TYPE_CHECKING:
    from rewriter.plan import FileResult

_COMMAND = "opensora-rewriter rewrite {path} "
_SET = " --set "


def resave(data: bytes) -> str:
    """What to do before mmengine, which reads UTF-8 and nothing else, can read this file; empty: nothing."""
    if data.startswith(codecs.BOM_UTF8):
        return "save it as UTF-8 without a byte order mark"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "save it as UTF-8 without a coding cookie"
    return ""


def joined(result: FileResult) -> FileResult:
    """Where several components lack their weights, one command for the file: while one is refused, it ends with 1."""
    together = _together(
        finding.remedy.removeprefix(_COMMAND)
        for finding in result.all_findings
        if _is_set(finding)
    )  # fmt: skip
    if not together:
        return result
    return _changed(result, lambda f: replace(f, remedy=_COMMAND + together) if _is_set(f) else f)


def _is_set(finding: Finding) -> bool:
    remedy = finding.remedy
    return finding.code == "OSR006" and remedy.startswith(_COMMAND) and _SET in remedy and SERVED not in finding.message


def _together(options: Iterable[str]) -> str:
    """The options of several commands as those of one; empty where there are no several, or where they cannot be."""
    pairs = [option.rpartition(_SET)[::2] for option in options]
    sets = dict.fromkeys(last for _, last in pairs)
    if len(sets) < 2 or len({word.partition(".")[0] for word in sets}) < len(sets):
        return ""
    return _SET.join([" ".join(dict.fromkeys(first for first, _ in pairs)), *sets])


def for_another_place(result: FileResult, place: str) -> FileResult:
    """The commands name the file at ``place``, out of the checkout, behind a link, and the checkout's loaders."""
    words = f"opensora-rewriter rewrite {shell(place)} --opensora-source {shell(str(result.root))} "
    return _changed(result, lambda f: replace(f, remedy=f.remedy.replace(_COMMAND, words, 1)))


def after(result: FileResult, first: str) -> FileResult:
    """Something comes before every command."""

    def preceded(finding: Finding) -> Finding:
        is_command = finding.remedy.startswith("opensora-rewriter rewrite ")
        return replace(finding, remedy=f"{first}, then {finding.remedy}") if is_command else finding

    return _changed(result, preceded)


def of_file(result: FileResult, data: bytes, *, leads_out: bool) -> FileResult:
    """The result with the remedies that hold for this file."""
    result = joined(result)
    if leads_out:
        result = for_another_place(result, os.path.realpath(result.path))
    first = "" if data.isascii() else resave(data)
    return after(result, first) if first else result


def _changed(result: FileResult, change: Callable[[Finding], Finding]) -> FileResult:
    decisions = tuple([replace(d, findings=tuple(map(change, d.findings))) for d in result.decisions])
    return replace(result, decisions=decisions, findings=tuple(map(change, result.findings)))
