"""Which Python a child process runs in: the user's own environment before ours, and nothing of our secrets in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

# What an interpreter needs to start and to find its packages. Everything else stays here: tokens, keys, proxies.
_SYSTEM = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP")
_WINDOWS = ("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE")
_PYTHON = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYENV_ROOT", "PYENV_VERSION", "PYTHONPATH")
_KEPT = frozenset((*_SYSTEM, *_WINDOWS, *_PYTHON, "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"))
_ADDED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

_ABSENT = 3
_PROBE = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; import importlib.util as u; "
    "s = u.find_spec(sys.argv[1]); sys.exit(0 if s is not None and s.origin else 3)"
)


class InterpreterError(Exception):
    """An interpreter that was asked for cannot serve. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python. ``origin`` is told to the user: "--python", "active virtual environment", ..."""

    executable: str
    origin: str


def find(python: str | None, module: str) -> Interpreter | None:
    """The interpreter that has ``module``: ``--python``, else the first of :func:`candidates`; None where none has it.

    Raises:
        InterpreterError: ``python`` is not a Python, or lacks the module.
    """
    if python is not None:
        return _asked_for(python, module)
    return next((one for one in candidates() if _has(one.executable, module)), None)


def candidates() -> Iterator[Interpreter]:
    """The active virtual environment's interpreter, the conda environment's, and our own."""
    for variable, origin in (("VIRTUAL_ENV", "active virtual environment"), ("CONDA_PREFIX", "conda environment")):
        prefix = os.environ.get(variable)
        executable = _python_of(prefix) if prefix else None
        if executable is not None:
            yield Interpreter(executable, origin)
    if sys.executable:
        yield Interpreter(sys.executable, "this one")


def _asked_for(python: str, module: str) -> Interpreter:
    import shutil

    executable = shutil.which(os.path.expanduser(python))
    if executable is None:
        raise InterpreterError(f"--python {python}: no such program")
    code = (
        (0 if _has(sys.executable, module) else _ABSENT)
        if _is_ours(executable)
        else _probe(os.path.abspath(executable), module)
    )
    if code == _ABSENT:
        raise InterpreterError(
            f"--python {python}: {module} is not installed there; install it: {python} -m pip install {module}"
        )
    if code != 0:
        raise InterpreterError(f"--python {python}: this does not run as a Python interpreter")
    return Interpreter(os.path.abspath(executable), "--python")


def _is_ours(executable: str) -> bool:
    return bool(sys.executable) and os.path.abspath(executable) == os.path.abspath(sys.executable)


def _python_of(prefix: str) -> str | None:
    if os.path.normcase(os.path.abspath(prefix)) == os.path.normcase(sys.prefix) and sys.executable:
        return sys.executable
    names = ("Scripts\\python.exe", "python.exe") if os.name == "nt" else ("bin/python", "bin/python3")
    return next((path for name in names if os.path.isfile(path := os.path.join(prefix, name))), None)


def _has(executable: str, module: str) -> bool:
    if executable != sys.executable:
        return _probe(executable, module) == 0
    from importlib.util import find_spec

    spec = find_spec(module)
    return spec is not None and spec.origin is not None


def _probe(executable: str, module: str) -> int:
    import subprocess

    try:
        run = subprocess.run(
            [executable, "-c", _PROBE, module],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return -1
    return run.returncode


def environment() -> dict[str, str]:
    """The environment of a child: what it needs to start, offline, and none of our tokens, keys or proxies."""
    kept = {name: value for name, value in os.environ.items() if name.upper() in _KEPT or name.startswith("LC_")}
    return {**kept, **_ADDED}
