"""Finds the Python that a probe runs in: the user's own environment before the one of this tool."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from rewriter.process.environment import child_environment

_ABSENT = 3
_FIND_MODULE = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; import importlib.util as u; "
    "found = u.find_spec(sys.argv[1]); sys.exit(0 if found and found.origin else 3)"
)


class InterpreterError(Exception):
    """An interpreter cannot serve. The message says why and what to do."""


def find_interpreter(named: str | None, module: str) -> str | None:
    """The executable that has ``module``: ``named``, else the first of :func:`list_candidates` that does.

    Raises:
        InterpreterError: ``named`` is not a Python, or lacks the module.
    """
    if named is None:
        return next((each for each in list_candidates() if _run_find(each, module) == 0), None)
    executable = choose_interpreter(named, module)
    code = _run_find(executable, module)
    if code == _ABSENT:
        remedy = f"install it: {named} -m pip install {module}"
        raise InterpreterError(f"--python {named}: {module} is not installed there; {remedy}")
    if code != 0:
        raise InterpreterError(f"--python {named}: this does not run as a Python interpreter")
    return executable


def choose_interpreter(named: str | None, module: str) -> str:
    """As :func:`find_interpreter`, but never None and never an error: the probe itself reports what is missing."""
    if named is not None:
        path = os.path.expanduser(named)
        return os.path.abspath(shutil.which(path) or path)
    return find_interpreter(None, module) or next(list_candidates())


def list_candidates() -> Iterator[str]:
    """The active virtual environment's interpreter, the conda environment's, and the one that runs this tool."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        names = ("Scripts\\python.exe", "python.exe") if os.name == "nt" else ("bin/python",)
        paths = [os.path.join(os.environ.get(variable, os.devnull), name) for name in names]
        yield from (path for path in paths if os.path.isfile(path))
    yield sys.executable


def site_packages(named: str | None) -> str | None:
    """The site-packages folder of ``named``, else of VIRTUAL_ENV or CONDA_PREFIX, found by files alone.

    No interpreter is started. The environment of this tool is not looked at unless it is named. None: not found.
    """
    prefixes = [os.environ.get(variable, "") for variable in ("VIRTUAL_ENV", "CONDA_PREFIX")]
    prefixes = [each for each in prefixes if each and os.path.realpath(each) != os.path.realpath(sys.prefix)]
    if named is not None:
        prefixes = [os.path.dirname(os.path.dirname(choose_interpreter(named, "")))]
    for prefix in prefixes:
        found = glob.glob(os.path.join(glob.escape(prefix), "lib", "python3.*", "site-packages"))
        found += glob.glob(os.path.join(glob.escape(prefix), "Lib", "site-packages"))
        if found:
            return max(found)
    return None


def _run_find(executable: str, module: str) -> int:
    """0: ``executable`` has the module, 3: it does not, anything else: it does not run."""
    if executable == sys.executable:
        spec = find_spec(module)
        return 0 if spec is not None and spec.origin else _ABSENT
    command = [executable, "-c", _FIND_MODULE, module]
    try:
        return subprocess.run(
            command, env=child_environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return -1


def find_major(site: str | None, package: str) -> int | None:
    """The first number of a package's version in that site-packages, by its ``.dist-info``; None: not installed."""
    names = glob.glob(os.path.join(glob.escape(site), f"{package}-*.dist-info")) if site is not None else []
    found = re.match(rf"{package}-(\d+)", os.path.basename(max(names, default="")))
    return int(found[1]) if found is not None else None
