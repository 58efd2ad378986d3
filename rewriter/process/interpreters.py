"""Finds the Python that a probe runs in, the user's own environment before the one of this tool, and its environment.

A child gets none of the user's tokens, keys or proxies, and is offline.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import shutil
import sys

_FIND_MODULE = "import importlib.util as u, sys; spec = u.find_spec(sys.argv[1]); sys.exit(not (spec and spec.origin))"
# What an interpreter needs to start and to find its packages.
_NEEDED = re.compile(
    "PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|TEMP|TMP|VIRTUAL_ENV|CONDA_PREFIX|CONDA_DEFAULT_ENV|"
    "PYENV_ROOT|PYENV_VERSION|PYTHONPATH|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH"
)
_DROPPED = re.compile(
    "(HF_|HUGGING_?FACE_|TRANSFORMERS_|DIFFUSERS_|PYTORCH_TRANSFORMERS_|PYTORCH_PRETRAINED_|AWS_|WANDB_|GIT_).*|"
    "PYTHONSTARTUP|PYTHONINSPECT|.*_PROXY|.*(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(API|ACCESS|PRIVATE)_KEY).*",
    re.IGNORECASE,
)
_ADDED = {"TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"} | dict.fromkeys(
    ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY",
     "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DISABLE_PROGRESS_BARS", "TORCHDYNAMO_DISABLE", "PYTHONDONTWRITEBYTECODE",
     "PYTHONUNBUFFERED"), "1",
)  # fmt: skip


class InterpreterError(Exception):
    """An interpreter cannot serve. The message says why and what to do."""


def find_interpreter(named: str | None, module: str) -> str | None:
    """The executable of ``named`` as it is, else the first of :func:`list_candidates` that has ``module``, or None."""
    if named is None:
        return next((each for each in list_candidates() if _has_module(each, module)), None)
    path = os.path.expanduser(named)
    return os.path.abspath(shutil.which(path) or path)


def choose_interpreter(named: str | None, module: str) -> str:
    """As :func:`find_interpreter`, but never None: the probe itself reports what is missing."""
    return find_interpreter(named, module) or list_candidates()[0]


def list_candidates() -> list[str]:
    """The active virtual environment's interpreter, the conda environment's, and the one that runs this tool."""
    paths = [os.path.join(prefix, "bin", "python") for prefix in _list_prefixes()]
    return [*filter(os.path.isfile, paths), sys.executable]


def _list_prefixes() -> list[str]:
    return list(filter(None, map(os.environ.get, ("VIRTUAL_ENV", "CONDA_PREFIX"))))


def _has_module(executable: str, module: str) -> bool:
    if executable == sys.executable:
        spec = importlib.util.find_spec(module)
        return spec is not None and spec.origin is not None
    import subprocess

    command = [executable, "-c", _FIND_MODULE, module]
    try:  # a module below the working directory is not installed
        done = subprocess.run(command, env=child_environment(), cwd="/", capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def site_packages(named: str | None) -> str | None:
    """The site-packages of ``named``, else of an active environment but this tool's, by files alone; or None."""
    prefixes = [each for each in _list_prefixes() if os.path.realpath(each) != os.path.realpath(sys.prefix)]
    if named is not None:
        prefixes = [os.path.dirname(os.path.dirname(choose_interpreter(named, "")))]
    patterns = (os.path.join(glob.escape(prefix), "lib", "python3.*", "site-packages") for prefix in prefixes)
    return next((max(found) for found in map(glob.glob, patterns) if found), None)


def find_major(site: str, package: str) -> int | None:
    """The first number of a package's version in that site-packages, by its ``.dist-info``; None: not installed."""
    names = glob.glob(os.path.join(glob.escape(site), f"{package}-*.dist-info"))
    found = re.search(rf"{package}-(\d+)[^/]*$", max(names, default=""))
    return int(found[1]) if found is not None else None


def child_environment(*, inherit: bool = False) -> dict[str, str]:
    """What a child gets of the environment: what an interpreter needs to start (configs run with it, unasked).

    ``inherit``: all but credentials, proxies and what names another cache (loaders may read variables of their own).
    """
    names = [name for name in os.environ if (not _DROPPED.fullmatch(name) if inherit else _NEEDED.fullmatch(name))]
    return {name: os.environ[name] for name in names} | _ADDED
