"""What ``--scripts`` adds to a run: the hub calls of files that are no configs, as findings and as edits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby

from rewriter.edit.literals import EditError
from rewriter.files import read_bytes
from rewriter.model import CACHE_DIR, FileEdit, Finding, SourceChange
from rewriter.read.scripts import ScriptCall


def report_calls(calls: Sequence[ScriptCall]) -> list[Finding]:
    """A warning for each call without ``cache_dir``, and for each script that cannot be read."""
    findings = []
    for path, span, callee, reads, state, editable in calls:
        if state == "unreadable":
            code, message = "OSR900", f"{reads}; its hub calls are not known"
            remedy = "correct it, or look at it by hand"
        elif state == "open":
            code, message = "OSR013", f"{callee}({reads}) reads through the Hugging Face cache without cache_dir"
            remedy = "opensora-rewriter rewrite --scripts {path} --cache-dir DIR" if editable else "edit it by hand"
        else:
            continue
        findings.append(Finding(code, path, span.line, span.column, "", message, remedy, "warning"))
    return findings


def edit_calls(calls: Sequence[ScriptCall], directory: str) -> list[FileEdit]:
    """The files with ``cache_dir="DIR"`` in their editable calls, each proved."""
    from rewriter.edit.loader import edit_loader

    edits = []
    for path, group in groupby([call for call in calls if call.editable], key=lambda call: call.path):
        old = read_bytes(path)
        changes = [SourceChange(path, "keyword", call.span, CACHE_DIR, default=directory) for call in group]
        with suppress(EditError):  # it stays in the list of calls without cache_dir
            edits.append(FileEdit(path, old, edit_loader(old, changes), "script"))
    return edits
