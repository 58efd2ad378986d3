"""What cures a finding about a component: the commands that findings carry, and the repo that a lost path names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches

from rewriter.decide.request import DEFAULT_COMPONENTS, Request
from rewriter.model import CACHE_DIR, LOCAL_FILES_ONLY
from rewriter.words import quote_word

RELEASED_REPOS = (
    "DeepFloyd/t5-v1_1-xxl",
    "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers",
    "hpcai-tech/OpenSora-STDiT-v1-HQ-16x256x256",
    "hpcai-tech/OpenSora-STDiT-v2-stage2",
    "hpcai-tech/OpenSora-STDiT-v2-stage3",
    "hpcai-tech/OpenSora-STDiT-v3",
    "hpcai-tech/OpenSora-STDiT-v4",
    "hpcai-tech/OpenSora-VAE-v1.2",
    "hpcai-tech/OpenSora-VAE-v1.3",
    "hpcai-tech/Open-Sora",
    "openai/clip-vit-base-patch32",
    "stabilityai/sd-vae-ft-ema",
    "stabilityai/sd-vae-ft-mse",
)
"""Repos that the configs, the READMEs and the loaders of the four releases name."""
_OWN_WEIGHTS = {
    "t5": "DeepFloyd/t5-v1_1-xxl",
    "OpenSoraVAE_V1_2": "hpcai-tech/OpenSora-VAE-v1.2",
    "OpenSoraVAE_V1_3": "hpcai-tech/OpenSora-VAE-v1.3",
    "clip": "openai/clip-vit-base-patch32",
}
"""Types with one released repo, whatever the tag. STDiT3 has two: see :func:`suggest_repo`."""
_NO_NAMES = frozenset(
    {
        *("vae", "vae-pipeline", "vae_pipeline", "t5", "t5_ckpts", "clip", "text_encoder", "stdit", "model", "ema"),
        *(
            "ckpt",
            "ckpts",
            "checkpoint",
            "checkpoints",
            "pretrained",
            "pretrained_models",
            "weights",
            "models",
            "latest",
        ),
    }
)
_STEP = re.compile(r"(?:epoch|global_step|step|iter)[\w-]*\d|\d+|v?\d+(?:\.\d+)*")


def select_option(component: str) -> str:
    """The option that has ``rewrite`` take a component (dotted) that it would not select by itself, or nothing."""
    name = component.rpartition(".")[2]
    return "" if name in DEFAULT_COMPONENTS else f" --component {name}"


def cache_option(request: Request, name: str) -> str:
    """``--cache-dir`` for component ``name`` as the run was given it; ``DIR`` where it was given none."""
    directory = request.dir_for(name)
    if directory is None:
        return "--cache-dir DIR"
    own = f"{name}=" if name in dict(request.cache_dirs) else ""
    return "--cache-dir " + quote_word(own + directory)


def key_option(request: Request, component: str, owner: str, key: str) -> str:
    """The option that requests ``key``, as this run was given it."""
    if key == LOCAL_FILES_ONLY:
        return "--local-files-only"
    for name, set_key, value in request.sets:
        if (name, set_key) == (component, key):
            return "--set " + quote_word(f"{name}.{key}={value}")
    if (component, key) in request.unsets:
        return f"--unset {component}.{key}"
    return cache_option(request, owner) if key == CACHE_DIR else f"--set {component}.{key}=VALUE"


def cached_repos(cache_dir: str | None) -> list[str]:
    """The repos of a Hugging Face cache, by the names of its folders; none where there is no such directory."""
    try:
        names = os.listdir(cache_dir) if cache_dir is not None else []
    except OSError:
        return []
    return sorted(name[len("models--") :].replace("--", "/") for name in names if name.startswith("models--"))


def suggest_repo(path: str, type_name: str | None, root: str | None, cached: Iterable[str] = ()) -> tuple[str, str]:
    """The repo that a lost path names, and how sure that is: "", "own weights" or "placeholder".

    In this order: its last part is the NAME of a known or cached repo; its last two parts are one; its last part names
    no model and the type has one released repo; else ORG/LAST-PART.

    >>> suggest_repo("/mnt/x/OpenSora-STDiT-v3", "STDiT3-XL/2", None)
    ('hpcai-tech/OpenSora-STDiT-v3', '')
    >>> suggest_repo("pretrained_models/vae-pipeline", "OpenSoraVAE_V1_2", None)
    ('hpcai-tech/OpenSora-VAE-v1.2', 'own weights')
    >>> suggest_repo("/data/my-vae", "OpenSoraVAE_V1_2", None)
    ('ORG/my-vae', 'placeholder')
    """
    known = [*RELEASED_REPOS, *cached]
    parts = [part for part in path.rstrip("/").split("/") if part not in ("", ".", "..", "~")]
    last = parts[-1] if parts else ""
    for repo_id in known:
        if last and repo_id.rpartition("/")[2].lower() == last.lower():
            return repo_id, ""
    pair = "/".join(parts[-2:])
    for repo_id in known:
        if repo_id.lower() == pair.lower():
            return repo_id, ""
    stem = last.rpartition(".")[0] if last.endswith((".pt", ".pth", ".bin", ".safetensors")) else last
    if not stem or stem.lower() in _NO_NAMES or _STEP.fullmatch(stem) or stem != last:
        own = own_weights(type_name, root)
        if own is not None:
            return own, "own weights"
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-.")
    return f"ORG/{name or 'NAME'}", "placeholder"


def suggest_asserted_repo(text: str, path: str, type_name: str | None, root: str | None) -> str:
    """The repo for a loader whose assertion refuses ``path``: the one that it names, else the released one.

    >>> suggest_asserted_repo("from_pretrained in ['DeepFloyd/t5-v1_1-xxl']", "/x", None, None)
    'DeepFloyd/t5-v1_1-xxl'
    >>> suggest_asserted_repo("from_pretrained in self.available_models", "/x/mine", "t5", None)
    'DeepFloyd/t5-v1_1-xxl'
    """
    named = re.findall(r"['\"]([\w.-]+/[\w.-]+)['\"]", text)
    if len(named) == 1:
        return str(named[0])
    repo, sureness = suggest_repo(path, type_name, root)
    return own_weights(type_name, root) or repo if sureness == "placeholder" else repo


def own_weights(type_name: str | None, root: str | None) -> str | None:
    """The one released repo for a type, in the release that the checkout is."""
    if type_name in ("STDiT3-XL/2", "STDiT3-3B/2") and root is not None:
        newer = os.path.isdir(os.path.join(root, "opensora", "models", "vae_v1_3"))
        return None if newer or type_name == "STDiT3-3B/2" else "hpcai-tech/OpenSora-STDiT-v3"
    return _OWN_WEIGHTS.get(type_name or "")


def did_you_mean(repo_id: str, cached: Iterable[str] = ()) -> str | None:
    """A known or cached repo of the same name whose organisation is spelled nearly like this one.

    >>> did_you_mean("hpcaitech/OpenSora-VAE-v1.2")
    'hpcai-tech/OpenSora-VAE-v1.2'
    """
    org, _, name = repo_id.partition("/")
    known = {each for each in (*RELEASED_REPOS, *cached) if each.partition("/")[2].lower() == name.lower()}
    if repo_id in known or not name:
        return None
    near = get_close_matches(org.lower(), [each.partition("/")[0].lower() for each in known], 1, 0.7)
    return next((each for each in sorted(known) if near and each.partition("/")[0].lower() == near[0]), None)
