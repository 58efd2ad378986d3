"""The environment variables of a child process: offline, and none of the user's tokens, keys or proxies."""

from __future__ import annotations

import os
from collections.abc import Mapping

# What an interpreter needs to start and to find its packages.
_NEEDED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "SYSTEMDRIVE",
    "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYENV_ROOT",
    "PYENV_VERSION", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
)  # fmt: skip
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
    "PYTHONHASHSEED": "0",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONUNBUFFERED": "1",
}


def child_environment(*, inherit: bool = False) -> dict[str, str]:
    """What a child gets of this process's environment.

    ``inherit`` False: only what an interpreter needs to start (configs of a checkout run with it, unasked). True:
    all but credentials, proxies and what names another cache (loaders may read variables of their own).
    """
    return {name: value for name, value in os.environ.items() if _is_passed(name.upper(), inherit)} | _ADDED


def _is_passed(name: str, inherit: bool) -> bool:
    if name.startswith(_DROPPED) or name.endswith("_PROXY") or any(word in name for word in _SECRET):
        return False
    return inherit or name in _NEEDED or name.startswith("LC_")


def lend_caches(scratch: str, caches: Mapping[str, str]) -> dict[str, str]:
    """Variables that make a folder below ``scratch`` the Hugging Face home, with links to the repos of ``caches``.

    Libraries that write beside the repos (transformers' version.txt, locks) write there, never into a shared cache.
    ``caches``: variable (HF_HUB_CACHE, TRANSFORMERS_CACHE) -> the cache that it is to name; none: an empty home.
    """
    variables = {"HF_HOME": scratch}
    for variable, cache in ({"HF_HUB_CACHE": ""} | dict(caches)).items():
        variables[variable] = folder = os.path.join(scratch, variable.lower())
        os.makedirs(folder)
        for name in os.listdir(cache) if os.path.isdir(cache) else ():
            if name.startswith("models--"):
                os.symlink(os.path.join(cache, name), os.path.join(folder, name))
    return variables
