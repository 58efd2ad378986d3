"""Recognise a model's plain files, as a clone, a flat download or ModelScope leave them."""

from __future__ import annotations

import os
from collections.abc import Mapping

_FLAT_NAMES = frozenset(
    {
        *("config.json", "model_index.json", "spiece.model", "tokenizer.json", "tokenizer_config.json", "vocab.json"),
        *("scheduler_config.json", "preprocessor_config.json"),
    }
)
_FLAT_SUFFIXES = (".safetensors", ".bin", ".safetensors.index.json", ".bin.index.json", ".ckpt", ".pth")
PIPELINE_PARTS = frozenset(
    {"vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "transformer", "unet", "scheduler", "model"}
)
"""Names of the folders of a pipeline's repo: a flat download may hold nothing but one of them."""


def has_flat_files(names: Mapping[str, bool]) -> bool:
    """Whether these entries (name: is it a directory) are those of a cloned or flatly downloaded model."""
    return any(
        not folder and (name in _FLAT_NAMES or name.endswith(_FLAT_SUFFIXES)) for name, folder in names.items()
    ) or (names.get(".git", False) and ".gitattributes" in names)


def is_flat_model(path: str) -> bool:
    """Whether a folder holds a model's plain files, in itself or in nothing but the folders of a pipeline."""
    try:
        with os.scandir(path) as entries:
            names = {entry.name: is_folder(entry) for entry in entries}
    except OSError:
        return False
    return has_flat_files(names) or holds_pipeline_part(path, names)


def holds_pipeline_part(path: str, names: Mapping[str, bool]) -> bool:
    """Whether a folder with these entries holds nothing but the folders of a pipeline, with files in one."""
    folders = [name for name, folder in names.items() if folder and not name.startswith(".")]
    if not folders or not PIPELINE_PARTS.issuperset(folders):
        return False
    return any(
        name in _FLAT_NAMES or name.endswith(_FLAT_SUFFIXES)
        for part in folders
        for name in list_names(os.path.join(path, part))
    )


def is_named_after(path: str, repo_id: str) -> bool:
    """Whether a folder has a repo's NAME; ModelScope writes dots as ``___``."""
    return os.path.basename(os.path.normpath(path)).replace("___", ".") == repo_id.split("/")[-1]


def find_flat_folder(cache_dir: str, repo_id: str) -> str | None:
    """Where a flat download of a repo lies below a directory: as people name such folders, and as ModelScope does."""
    organisation, _, name = repo_id.rpartition("/")
    escaped = name.replace(".", "___")
    joined = [repo_id.replace("/", glue) for glue in ("/", "_", "--", "__")]
    modelscope = [f"{organisation}/{escaped}", f"models/{organisation}/{escaped}", f"models/{organisation}/{name}"]
    snapshots = [f"models/{organisation}--{part}/snapshots/master" for part in (name, escaped)]
    for words in dict.fromkeys([name, *joined, *modelscope, *snapshots]):
        place = os.path.join(cache_dir, *words.split("/"))
        if is_flat_model(place):
            return place
    return None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself is the trouble of that repo alone
        return False


def list_names(path: str) -> frozenset[str]:
    """The names in a folder; none where it is not there or cannot be read."""
    try:
        return frozenset(name for name in os.listdir(path) if name != ".DS_Store")
    except OSError:
        return frozenset()
