"""What ``--scripts`` adds to a run: the hub calls of files that are no configs, as findings and as edits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rewriter import checkout
from rewriter.files import outside, read_bytes
from rewriter.model import CACHE_DIR, FileEdit, Finding, SourceChange
from rewriter.read.scripts import ScriptCall, find_script_calls, list_scripts


def find_calls(folders: Iterable[str]) -> list[ScriptCall]:
    """The hub calls of the scripts below folders (absolute), each once."""
    found: dict[ScriptCall, None] = {}
    for folder in folders:
        root = checkout.find_root(folder)
        packages = checkout.find_packages(root) if root is not None else ()
        for call in find_script_calls(list_scripts(folder), packages):
            inside = not outside(call.path, root or folder)
            found[replace(call, editable=call.editable and inside)] = None
    return list(found)


def report_calls(calls: Sequence[ScriptCall]) -> list[Finding]:
    """A warning for each call without ``cache_dir``, and for each script that cannot be read."""
    findings = []
    for call in calls:
        if call.state == "unreadable":
            message, remedy = f"{call.reads}; its hub calls are not known", "correct it, or look at it by hand"
            place = call.span.line, call.span.column
            findings.append(Finding("OSR900", call.path, *place, "", message, remedy, "warning"))
        if call.state != "open":
            continue
        message = f"{call.callee}({call.reads}) reads through the Hugging Face cache without cache_dir"
        remedy = "opensora-rewriter rewrite --scripts {path} --cache-dir DIR" if call.editable else "edit it by hand"
        span = call.span
        findings.append(Finding("OSR013", call.path, span.line, span.column, "", message, remedy, "warning"))
    return findings


def edit_calls(calls: Sequence[ScriptCall], directory: str) -> list[FileEdit]:
    """The files with ``cache_dir="DIR"`` in their editable calls, each proved."""
    from rewriter.edit.loader import EditError, edit_loader

    changes: dict[str, list[SourceChange]] = {}
    for call in calls:
        if call.editable and not outside(call.path, checkout.find_root(call.path)):
            change = SourceChange(call.path, "literal", call.span, CACHE_DIR, default=directory)
            changes.setdefault(call.path, []).append(change)
    edits = []
    for path, requested in changes.items():
        old = read_bytes(path)
        try:
            new = edit_loader(old, requested)
        except EditError:
            continue  # it stays in the list of calls without cache_dir
        edits.append(FileEdit(path, old, new, "script"))
    return edits
