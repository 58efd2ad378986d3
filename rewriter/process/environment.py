"""The environment variables of a child process: offline, and none of the user's tokens, keys or proxies."""

from __future__ import annotations

import os

# What an interpreter needs to start and to find its packages.
_SYSTEM = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP")
_WINDOWS = ("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE")
_PYTHON = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYENV_ROOT", "PYENV_VERSION", "PYTHONPATH")
_NEEDED = frozenset((*_SYSTEM, *_WINDOWS, *_PYTHON, "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"))

_SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY")
_DROPPED = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_", "DIFFUSERS_", "PYTORCH_TRANSFORMERS_",
            "PYTORCH_PRETRAINED_", "AWS_", "WANDB_", "GIT_", "PYTHONSTARTUP", "PYTHONINSPECT")  # fmt: skip

_ADDED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCHDYNAMO_DISABLE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONUNBUFFERED": "1",
}


def child_environment(*, inherit: bool = False) -> dict[str, str]:
    """What a child gets of this process's environment.

    ``inherit`` False: only what an interpreter needs to start (configs of a checkout run with it, unasked). True:
    all but credentials, proxies and what names another cache (loaders may read variables of their own).
    """
    return {name: value for name, value in os.environ.items() if is_passed(name, inherit=inherit)} | _ADDED


def is_passed(name: str, *, inherit: bool = False) -> bool:
    """Whether a child gets the variable ``name``."""
    upper = name.upper()
    if upper.startswith(_DROPPED) or upper.endswith("_PROXY") or any(word in upper for word in _SECRET):
        return False
    return inherit or upper in _NEEDED or upper.startswith("LC_")


def lend_cache(scratch: str, hub_cache: str | None, transformers_cache: str | None = None) -> dict[str, str]:
    """Variables that make a folder below ``scratch`` the Hugging Face home: empty, or with links to ``hub_cache``.

    Libraries that write beside the repos (transformers' version.txt, locks) write there, never into a shared cache.
    ``transformers_cache``: what transformers 4 reads in its place (TRANSFORMERS_CACHE), or None.
    """
    home = os.path.join(scratch, "huggingface")
    variables = {"HF_HOME": home, "HF_HUB_CACHE": _link_repos(os.path.join(home, "hub"), hub_cache)}
    if transformers_cache is not None:
        folder = _link_repos(os.path.join(home, "transformers"), transformers_cache)
        variables["TRANSFORMERS_CACHE"] = folder
    return variables


def _link_repos(folder: str, cache: str | None) -> str:
    os.makedirs(folder)
    try:
        names = sorted(os.listdir(cache)) if cache else []
    except OSError:
        names = []
    for name in names:
        if name.startswith("models--"):
            os.symlink(os.path.join(str(cache), name), os.path.join(folder, name))
    return folder
