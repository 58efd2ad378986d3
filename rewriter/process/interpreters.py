"""Finds the Python that a probe runs in, the user's own environment before the one of this tool, and its environment.

A child gets none of the user's tokens, keys or proxies, and is offline.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec

_ABSENT = 3
_FIND_MODULE = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; import importlib.util as u; "
    "found = u.find_spec(sys.argv[1]); sys.exit(0 if found and found.origin else 3)"
)
# What an interpreter needs to start and to find its packages.
_NEEDED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "SYSTEMDRIVE",
    "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYENV_ROOT",
    "PYENV_VERSION", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
)  # fmt: skip
_SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY")
_DROPPED = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_", "DIFFUSERS_", "PYTORCH_TRANSFORMERS_",
            "PYTORCH_PRETRAINED_", "AWS_", "WANDB_", "GIT_", "PYTHONSTARTUP", "PYTHONINSPECT")  # fmt: skip
_SWITCHES = (
    "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DISABLE_PROGRESS_BARS", "TORCHDYNAMO_DISABLE", "PYTHONDONTWRITEBYTECODE",
    "PYTHONUNBUFFERED",
)  # fmt: skip
_ADDED = {"TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"}


class InterpreterError(Exception):
    """An interpreter cannot serve. The message says why and what to do."""


def find_interpreter(named: str | None, module: str) -> str | None:
    """The executable that has ``module``: ``named``, else the first of :func:`list_candidates` that does.

    InterpreterError: ``named`` is not a Python, or lacks the module.
    """
    if named is None:
        return next((each for each in list_candidates() if _run_find(each, module) == 0), None)
    executable = choose_interpreter(named, module)
    code = _run_find(executable, module)
    if code == 0:
        return executable
    text = f"{module} is not installed there; install it: {named} -m pip install {module}"
    raise InterpreterError(
        f"--python {named}: {text if code == _ABSENT else 'this does not run as a Python interpreter'}"
    )


def choose_interpreter(named: str | None, module: str) -> str:
    """As :func:`find_interpreter`, but never None and never an error: the probe itself reports what is missing."""
    if named is not None:
        import shutil

        path = os.path.expanduser(named)
        return os.path.abspath(shutil.which(path) or path)
    return find_interpreter(None, module) or next(list_candidates())


def list_candidates() -> Iterator[str]:
    """The active virtual environment's interpreter, the conda environment's, and the one that runs this tool."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        path = os.path.join(os.environ.get(variable, os.devnull), "bin", "python")
        if os.path.isfile(path):
            yield path
    yield sys.executable


def site_packages(named: str | None) -> str | None:
    """The site-packages folder of ``named``, else of VIRTUAL_ENV or CONDA_PREFIX, found by files alone.

    No interpreter is started. The environment of this tool is not looked at unless it is named. None: not found.
    """
    prefixes = [os.environ.get(variable, "") for variable in ("VIRTUAL_ENV", "CONDA_PREFIX")]
    prefixes = [each for each in prefixes if each and os.path.realpath(each) != os.path.realpath(sys.prefix)]
    if named is not None:
        prefixes = [os.path.dirname(os.path.dirname(choose_interpreter(named, "")))]
    patterns = (os.path.join(glob.escape(prefix), "lib", "python3.*", "site-packages") for prefix in prefixes)
    return next((max(found) for found in map(glob.glob, patterns) if found), None)


def _run_find(executable: str, module: str) -> int:
    """0: ``executable`` has the module, 3: it does not, anything else: it does not run."""
    if executable == sys.executable:
        spec = find_spec(module)
        return 0 if spec is not None and spec.origin else _ABSENT
    import subprocess

    command, environment = [executable, "-c", _FIND_MODULE, module], child_environment()
    try:
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return -1


def find_major(site: str | None, package: str) -> int | None:
    """The first number of a package's version in that site-packages, by its ``.dist-info``; None: not installed."""
    names = glob.glob(os.path.join(glob.escape(site), f"{package}-*.dist-info")) if site is not None else []
    found = re.match(rf"{package}-(\d+)", os.path.basename(max(names, default="")))
    return int(found[1]) if found is not None else None


def child_environment(*, inherit: bool = False) -> dict[str, str]:
    """What a child gets of this process's environment.

    ``inherit`` False: only what an interpreter needs to start (configs of a checkout run with it, unasked). True:
    all but credentials, proxies and what names another cache (loaders may read variables of their own).
    """

    def is_passed(name: str) -> bool:
        if name.startswith(_DROPPED) or name.endswith("_PROXY") or any(word in name for word in _SECRET):
            return False
        return inherit or name in _NEEDED or name.startswith("LC_")

    passed = {name: value for name, value in os.environ.items() if is_passed(name.upper())}
    return passed | _ADDED | dict.fromkeys(_SWITCHES, "1")
