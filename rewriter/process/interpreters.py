"""Finds the Python that a probe runs in: the user's own environment before the one of this tool."""

from __future__ import annotations

import glob
import os
import re
import shutil
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
    executable = shutil.which(os.path.expanduser(named))
    if executable is None:
        raise InterpreterError(f"--python {named}: no such program")
    executable = os.path.abspath(executable)
    code = _run_find(executable, modules)
    if code == _ABSENT:
        wanted = " ".join(modules)
        raise InterpreterError(
            f"--python {named}: {wanted} is not installed there; install it: {named} -m pip install {wanted}"
        )
    if code != 0:
        raise InterpreterError(f"--python {named}: this does not run as a Python interpreter")
    return Interpreter(executable, "--python")


def choose_interpreter(named: str | None, modules: Sequence[str]) -> Interpreter:
    """As :func:`find_interpreter`, but never None and never an error: the probe itself reports what is missing."""
    if named is not None:
        path = os.path.expanduser(named)
        return Interpreter(os.path.abspath(shutil.which(path) or path), "--python")
    return find_interpreter(None, modules) or next(list_candidates())


def list_candidates() -> Iterator[Interpreter]:
    """The active virtual environment's interpreter, the conda environment's, and the one that runs this tool."""
    for variable, origin in (("VIRTUAL_ENV", "active virtual environment"), ("CONDA_PREFIX", "conda environment")):
        prefix = os.environ.get(variable)
        executable = _find_python(prefix) if prefix else None
        if executable is not None:
            yield Interpreter(executable, origin)
    if sys.executable:
        yield Interpreter(sys.executable, "this one")


def site_packages(named: str | None) -> str | None:
    """The site-packages folder of ``named``, else of VIRTUAL_ENV or CONDA_PREFIX, found by files alone.

    No interpreter is started. The environment of this tool is not looked at unless it is named. None: not found.
    """
    if named is not None:
        executable = shutil.which(os.path.expanduser(named))
        if executable is None:
            return None
        executable = os.path.abspath(executable)
        return _find_site_packages(os.path.dirname(os.path.dirname(executable)), executable)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = os.environ.get(variable)
        if prefix and not _same_folder(prefix, sys.prefix):
            found = _find_site_packages(prefix, _find_python(prefix) or "")
            if found is not None:
                return found
    return None


def _find_site_packages(prefix: str, executable: str) -> str | None:
    windows = os.path.join(prefix, "Lib", "site-packages")
    if os.path.isdir(windows):
        return windows
    version = re.search(r"python(3\.\d+)", os.path.realpath(executable))
    names = [f"python{version[1]}"] if version else []
    names += sorted((os.path.basename(path) for path in glob.glob(os.path.join(prefix, "lib", "python3.*"))), key=_age)
    for name in names:
        folder = os.path.join(prefix, "lib", name, "site-packages")
        if os.path.isdir(folder):
            return folder
    return None


def _age(name: str) -> int:
    """Newest first: python3.12 before python3.9."""
    return -int(name.rpartition(".")[2]) if name.rpartition(".")[2].isdigit() else 0


def _same_folder(one: str, other: str) -> bool:
    return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))


def _find_python(prefix: str) -> str | None:
    if _same_folder(prefix, sys.prefix) and sys.executable:
        return sys.executable
    names = ("Scripts\\python.exe", "python.exe") if os.name == "nt" else ("bin/python", "bin/python3")
    return next((path for name in names if os.path.isfile(path := os.path.join(prefix, name))), None)


def _run_find(executable: str, modules: Sequence[str]) -> int:
    """0: ``executable`` has all modules, 3: it does not, anything else: it does not run."""
    if os.path.abspath(executable) == os.path.abspath(sys.executable or os.devnull):
        found = [find_spec(name) for name in modules]
        return 0 if all(spec is not None and spec.origin for spec in found) else _ABSENT
    import subprocess

    try:
        return subprocess.run(
            [executable, "-c", _FIND_MODULES, *modules],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return -1
