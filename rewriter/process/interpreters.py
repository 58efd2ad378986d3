"""Finds the Python that a probe runs in: the user's own environment before the one of this tool."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from rewriter.process.environment import child_environment

_ABSENT = 3
_FIND_MODULES = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; import importlib.util as u; "
    "found = [u.find_spec(name) for name in sys.argv[1:]]; sys.exit(0 if all(s and s.origin for s in found) else 3)"
)


class InterpreterError(Exception):
    """The interpreter that was named cannot serve. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python. ``origin`` says where it comes from, for messages: "--python", "active virtual environment", ..."""

    executable: str
    origin: str


def find_interpreter(named: str | None, modules: Sequence[str]) -> Interpreter | None:
    """The interpreter that has all ``modules``: ``named``, else the first of :func:`list_candidates` that does.

    Raises:
        InterpreterError: ``named`` is not a Python, or lacks one of the modules.
    """
    if named is None:
        return next((each for each in list_candidates() if _run_find(each.executable, modules) == 0), None)
    code = _run_find(choose_interpreter(named, modules).executable, modules)
    if code == _ABSENT:
        wanted = " ".join(modules)
        raise InterpreterError(
            f"--python {named}: {wanted} is not installed there; install it: {named} -m pip install {wanted}"
        )
    if code != 0:
        raise InterpreterError(f"--python {named}: this does not run as a Python interpreter")
    return choose_interpreter(named, modules)


def choose_interpreter(named: str | None, modules: Sequence[str]) -> Interpreter:
    """As :func:`find_interpreter`, but never None and never an error: the probe itself reports what is missing."""
    if named is not None:
        path = os.path.expanduser(named)
        return Interpreter(os.path.abspath(shutil.which(path) or path), "--python")
    return find_interpreter(None, modules) or next(list_candidates())


def list_candidates() -> Iterator[Interpreter]:
    """The active virtual environment's interpreter, the conda environment's, and the one that runs this tool."""
    for variable, origin in (("VIRTUAL_ENV", "active virtual environment"), ("CONDA_PREFIX", "conda environment")):
        name = (
            ("Scripts/python.exe" if variable == "VIRTUAL_ENV" else "python.exe") if os.name == "nt" else "bin/python"
        )
        executable = os.path.join(os.environ.get(variable, ""), name)
        if os.environ.get(variable) and os.path.isfile(executable):
            yield Interpreter(executable, origin)
    yield Interpreter(sys.executable, "this one")


def site_packages(named: str | None) -> str | None:
    """The site-packages folder of ``named``, else of VIRTUAL_ENV or CONDA_PREFIX, found by files alone.

    No interpreter is started. The environment of this tool is not looked at unless it is named. None: not found.
    """
    prefixes = [os.environ.get(variable, "") for variable in ("VIRTUAL_ENV", "CONDA_PREFIX")]
    prefixes = [each for each in prefixes if each and os.path.realpath(each) != os.path.realpath(sys.prefix)]
    if named is not None:
        prefixes = [os.path.dirname(os.path.dirname(choose_interpreter(named, ()).executable))]
    for prefix in prefixes:
        found = glob.glob(os.path.join(glob.escape(prefix), "lib", "python3.*", "site-packages"))
        found += glob.glob(os.path.join(glob.escape(prefix), "Lib", "site-packages"))
        if found:
            return max(found)
    return None


def _run_find(executable: str, modules: Sequence[str]) -> int:
    """0: ``executable`` has all modules, 3: it does not, anything else: it does not run."""
    if executable == sys.executable:
        found = [find_spec(name) for name in modules]
        return 0 if all(spec is not None and spec.origin for spec in found) else _ABSENT
    command = [executable, "-c", _FIND_MODULES, *modules]
    try:
        return subprocess.run(
            command, env=child_environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return -1
