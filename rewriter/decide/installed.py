"""Find an installed copy of a checkout's package, by files alone: it runs in the place of the edited sources.

``pip install .`` copies the package into site-packages, and upstream's scripts (``python scripts/inference.py``) import
it from there. An editable install leads back to a checkout: a ``.pth`` file, or a finder with a table of folders.
"""

from __future__ import annotations

import glob
import os
import re
import shlex

from rewriter.checkout import find_packages
from rewriter.files import read_or_empty
from rewriter.model import Finding, Plan
from rewriter.process.interpreters import site_packages


def find_installed(package: str, site: str) -> str | None:
    """The folder that ``import`` takes, in that site-packages, for the package of a checkout, a folder too; or None."""
    name = os.path.basename(package)
    places = [os.path.join(site, name)]
    for pattern in ("*.pth", "__editable__*finder.py"):
        for path in sorted(glob.glob(os.path.join(glob.escape(site), pattern))):
            text = read_or_empty(path).decode(errors="replace")
            places += [os.path.join(site, line.strip(), name) for line in text.splitlines()]
            places += re.findall(rf"'{re.escape(name)}': '(.+?)'", text)  # of MAPPING, as setuptools writes it
    return next((place for place in places if os.path.isdir(place)), None)


def report_installed(plan: Plan, python: str | None) -> list[Finding]:
    """A warning (OSR014) for each checkout of a run whose installed copy differs in a loader source that matters."""
    if (site := site_packages(python)) is None:
        return []
    interpreter = python or os.path.normpath(os.path.join(site, *[os.pardir] * 3, "bin", "python"))
    new = {edit.path: edit.new for edit in plan.sources}
    traces = [decision.trace for result in plan.results for decision in result.decisions]
    used = sorted({path for trace in traces if trace is not None for path in trace.files})
    roots = sorted({result.root for result in plan.results if result.root is not None})
    findings = []
    for root, package in [(each, package) for each in roots for package in find_packages(each)]:
        other = find_installed(package, site)
        if other is None or os.path.realpath(other) == os.path.realpath(package):
            continue
        for path in used:
            name, own = os.path.relpath(path, package), new.get(path) or read_or_empty(path)
            if not name.startswith(os.pardir) and read_or_empty(os.path.join(other, name)) != own:
                what = f"an installed copy of {os.path.basename(package)} runs in the place of this checkout"
                message = f"{what}: {other}; its {name} differs"
                remedy = f"{shlex.quote(interpreter)} -m pip install -e {shlex.quote(root)}"
                findings.append(Finding("OSR014", path, 1, 0, "", message, remedy, "warning"))
                break
    return findings
