"""What cures a finding about a component: the command that it carries, and the repo that a lost path names."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from glob import glob

from rewriter.decide.request import DEFAULT_COMPONENTS, Request
from rewriter.model import Component

_OWN_WEIGHTS = {
    "t5": "DeepFloyd/t5-v1_1-xxl",
    "OpenSoraVAE_V1_2": "hpcai-tech/OpenSora-VAE-v1.2",
    "OpenSoraVAE_V1_3": "hpcai-tech/OpenSora-VAE-v1.3",
    "clip": "openai/clip-vit-base-patch32",
}
"""Types with one released repo, whatever the tag. STDiT3-XL/2 has one for each of v1.2 and v1.3."""
RELEASED_REPOS = (
    *_OWN_WEIGHTS.values(),
    "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers",
    "hpcai-tech/OpenSora-STDiT-v1-HQ-16x256x256",
    "hpcai-tech/OpenSora-STDiT-v2-stage2",
    "hpcai-tech/OpenSora-STDiT-v2-stage3",
    "hpcai-tech/OpenSora-STDiT-v3",
    "hpcai-tech/OpenSora-STDiT-v4",
    "hpcai-tech/Open-Sora",
    "stabilityai/sd-vae-ft-ema",
    "stabilityai/sd-vae-ft-mse",
)
"""Repos that the configs, the READMEs and the loaders of the four releases name."""
_NO_NAMES = (
    r"(?i)vae|vae[-_]pipeline|t5|t5_ckpts|clip|text_encoder|stdit|models?|ema|ckpts?|checkpoints?|pretrained(_models)?"
    r"|weights|latest|(epoch|global_step|step|iter)[\w-]*\d|\d+|v?\d+(\.\d+)*|.*\.(pt|pth|bin|safetensors)"
)
"""Last parts of a path that name no model."""


def rewrite_command(
    request: Request, component: Component, owner: str, sets: Mapping[str, str] = {}, option: str = ""
) -> str:
    """``rewrite`` of the file that writes a component, with ``option`` or else the ``--cache-dir`` of the run.

    ``owner``: the component by whose name the run selects it. ``sets``: values by key, for ``--set``.
    """
    path = shlex.quote(component.origin) if component.origin is not None else "{path}"
    directory = request.dir_for(owner)
    own = f"{owner}=" if owner in dict(request.cache_dirs) else ""
    words = [option or f"--cache-dir {shlex.quote(own + directory) if directory is not None else 'DIR'}"]
    words += ["--local-files-only"] * (request.local_files_only and not option)
    words += [f"--set {shlex.quote(f'{component.name}.{key}={value}')}" for key, value in sets.items()]
    if component.name not in DEFAULT_COMPONENTS or component.name not in request.components:
        words.append(f"--component {component.name}")
    return " ".join(["opensora-rewriter rewrite", path, *words])


def cached_repos(cache_dir: str | None) -> list[str]:
    """The repos of a Hugging Face cache, by the names of its folders; none where there is no such directory."""
    folders = glob("models--*", root_dir=cache_dir) if cache_dir is not None else []
    return sorted(name.removeprefix("models--").replace("--", "/") for name in folders)


def own_weights(type_name: str | None, root: str | None) -> str | None:
    """Open-Sora's own weights for a type, in the release that the checkout is."""
    if type_name == "STDiT3-XL/2" and root is not None:
        return None if os.path.isdir(f"{root}/opensora/models/vae_v1_3") else "hpcai-tech/OpenSora-STDiT-v3"
    return _OWN_WEIGHTS.get(type_name or "")


def suggest_repo(path: str, own: str | None, cached: Iterable[str] = (), refusal: str = "") -> tuple[str, str]:
    """The repo that a lost path names, and what to say of it where that is a guess. ``own``: :func:`own_weights`.

    In this order: ``refusal``, the loader's own assertion, names it; the last part of the path is the NAME of a known
    or cached repo; that part names no model (or there is a refusal) and the type has one released repo; ORG/LAST-PART.

    >>> suggest_repo("/mnt/x/OpenSora-STDiT-v3", None)
    ('hpcai-tech/OpenSora-STDiT-v3', '')
    >>> suggest_repo("pretrained_models/vae-pipeline", own_weights("OpenSoraVAE_V1_2", None))[0]
    'hpcai-tech/OpenSora-VAE-v1.2'
    >>> suggest_repo("/data/my-vae", own_weights("OpenSoraVAE_V1_2", None))
    ('ORG/my-vae', 'ORG is a placeholder')
    >>> suggest_repo("/x", None, refusal="from_pretrained in ['DeepFloyd/t5-v1_1-xxl']")[0]
    'DeepFloyd/t5-v1_1-xxl'
    """
    last = path.rstrip("/").rpartition("/")[2].strip("~.")
    found = re.findall(r"['\"]([\w.-]+/[\w.-]+)['\"]", refusal)
    found += [each for each in (*RELEASED_REPOS, *cached) if each.rpartition("/")[2].lower() == last.lower()]
    if found:
        return found[0], ""
    if own is not None and (refusal or not last or re.fullmatch(_NO_NAMES, last)):
        return own, "the remedy names Open-Sora's own weights for this type"
    name = re.sub(r"[^\w.-]+", "-", re.sub(r"\.(pt|pth|bin|safetensors)$", "", last)).strip("-.")
    return f"ORG/{name or 'NAME'}", "ORG is a placeholder"


def did_you_mean(repo_id: str, cached: Iterable[str] = ()) -> str | None:
    """A known or cached repo of the same name whose organisation is spelled nearly like this one.

    >>> did_you_mean("hpcaitech/OpenSora-VAE-v1.2")
    'hpcai-tech/OpenSora-VAE-v1.2'
    """
    org, _, name = repo_id.partition("/")
    orgs = [each.removesuffix(f"/{name}") for each in (*RELEASED_REPOS, *cached) if each.endswith(f"/{name}")]
    near = get_close_matches(org, orgs, 1, 0.7)
    return f"{near[0]}/{name}" if near and org not in orgs else None
