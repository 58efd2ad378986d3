"""Find an installed copy of a checkout's package, by files alone: it runs in the place of the edited sources.

``pip install .`` copies the package into site-packages, and upstream's scripts (``python scripts/inference.py``) import
it from there. An editable install leads back to a checkout: a ``.pth`` file, or a finder with a table of folders.
"""

from __future__ import annotations

import ast
import glob
import os
import re

from rewriter.checkout import find_packages
from rewriter.files import Unreadable, read_bytes
from rewriter.model import Finding, Plan
from rewriter.process.interpreters import site_packages
from rewriter.words import quote_word


def find_installed(package: str, site: str) -> str | None:
    """The folder that ``import`` would take for a package of a checkout in that site-packages, or None.

    Args:
        package: its folder in the checkout, absolute. site: the site-packages, absolute.
    """
    name = os.path.basename(package)
    places = [os.path.join(site, name)]
    for path in sorted(glob.glob(os.path.join(glob.escape(site), "*.pth"))):
        places += [os.path.join(site, line, name) for line in _read_lines(path) if not line.startswith(("#", "import"))]
    for path in sorted(glob.glob(os.path.join(glob.escape(site), "__editable__*finder.py"))):
        for line in _read_lines(path):  # setuptools writes `MAPPING: dict[str, str] = {...}`
            found = re.match(r"MAPPING\b[^=]*=\s*(\{.*\})$", line)
            try:
                mapping = ast.literal_eval(found[1]) if found is not None else {}
            except (ValueError, SyntaxError):
                continue
            places += [str(folder) for key, folder in mapping.items() if key == name]
    return next((place for place in places if os.path.isdir(place)), None)


def report_installed(plan: Plan, python: str | None) -> list[Finding]:
    """A warning (OSR014) for each checkout of a run whose installed copy differs in a loader source that matters."""
    site = site_packages(python)
    if site is None:
        return []
    new = {edit.path: edit.new for edit in plan.sources}
    used: dict[str, set[str]] = {}
    for result in plan.results:
        traces = [decision.trace for decision in result.decisions if decision.trace is not None]
        if result.root is not None:
            used.setdefault(result.root, set()).update(path for trace in traces for path in trace.files)
    findings = []
    for root, package in [(each, package) for each in sorted(used) for package in find_packages(each)]:
        other = find_installed(package, site)
        if other is None or os.path.realpath(other) == os.path.realpath(package):
            continue
        stale = next((path for path in sorted(used[root]) if _differs(path, package, other, new)), None)
        if stale is not None:
            own = os.path.normpath(os.path.join(site, *[os.pardir] * 3, "bin", "python"))
            interpreter = python or (own if os.path.exists(own) else "python")
            message = (
                f"an installed copy of {os.path.basename(package)} runs in the place of this checkout: {other}; "
                f"its {os.path.relpath(stale, package)} differs"
            )
            remedy = f"{quote_word(interpreter)} -m pip install -e {quote_word(root)}"
            findings.append(Finding("OSR014", stale, 1, 0, "", message, remedy, "warning"))
    return findings


def _differs(path: str, package: str, other: str, new: dict[str, bytes]) -> bool:
    """Whether the installed file is another one than the checkout's (as it will be after the run)."""
    prefix = package.rstrip(os.sep) + os.sep
    if not path.startswith(prefix):
        return False
    try:
        return read_bytes(os.path.join(other, path[len(prefix) :])) != (new.get(path) or read_bytes(path))
    except Unreadable:
        return True


def _read_lines(path: str) -> list[str]:
    try:
        text = read_bytes(path).decode("utf-8", "replace")
    except Unreadable:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]
