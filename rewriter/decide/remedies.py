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
"""Types with one released repo, whatever the tag. STDiT3 has two: see :func:`own_weights`."""
_NO_NAMES = re.compile(
    r"vae|vae[-_]pipeline|t5|t5_ckpts|clip|text_encoder|stdit|models?|ema|ckpts?|checkpoints?|pretrained(_models)?"
    r"|weights|latest|(epoch|global_step|step|iter)[\w-]*\d|\d+|v?\d+(\.\d+)*|.*\.(pt|pth|bin|safetensors)",
    re.IGNORECASE,
)
"""Last parts of a path that name no model."""


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
    """The repo that a lost path names, and what to say of it where that is a guess.

    In this order: its last part is the NAME of a known or cached repo; its last two parts are one; its last part names
    no model and the type has one released repo; else ORG/LAST-PART.

    >>> suggest_repo("/mnt/x/OpenSora-STDiT-v3", "STDiT3-XL/2", None)
    ('hpcai-tech/OpenSora-STDiT-v3', '')
    >>> suggest_repo("pretrained_models/vae-pipeline", "OpenSoraVAE_V1_2", None)[0]
    'hpcai-tech/OpenSora-VAE-v1.2'
    >>> suggest_repo("/data/my-vae", "OpenSoraVAE_V1_2", None)
    ('ORG/my-vae', 'ORG is a placeholder')
    """
    parts = [part for part in path.rstrip("/").split("/") if part not in ("", ".", "..", "~")]
    last, pair = "".join(parts[-1:]), "/".join(parts[-2:])
    known = [*RELEASED_REPOS, *cached]
    by_name = [repo_id for repo_id in known if repo_id.rpartition("/")[2].lower() == last.lower()]
    found = [*by_name, *(repo_id for repo_id in known if repo_id.lower() == pair.lower())]
    if found:
        return found[0], ""
    own = own_weights(type_name, root) if not last or _NO_NAMES.fullmatch(last) else None
    if own is not None:
        return own, "the remedy names Open-Sora's own weights for this type"
    stem = re.sub(r"\.(pt|pth|bin|safetensors)$", "", last)
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-.")
    return f"ORG/{name or 'NAME'}", "ORG is a placeholder"


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
    repo, _ = suggest_repo(path, type_name, root)
    return own_weights(type_name, root) or repo if repo.startswith("ORG/") else repo


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
    known = {
        each.partition("/")[0].lower(): each
        for each in sorted({*RELEASED_REPOS, *cached}, reverse=True)
        if each.partition("/")[2].lower() == name.lower()
    }
    near = get_close_matches(org.lower(), known, 1, 0.7)
    return known[near[0]] if near and name and repo_id not in known.values() else None
