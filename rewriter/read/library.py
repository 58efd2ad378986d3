"""What is known of the libraries that loaders call: which calls read through the Hugging Face cache, and how."""

from __future__ import annotations

import sys
from collections.abc import Iterable

HUB_FUNCTIONS = frozenset({"hf_hub_download", "snapshot_download"})
"""Functions of huggingface_hub that download."""
HUB_METHODS = frozenset({"from_pretrained", "from_config", "load_config"})
"""Class methods that take a repo id; the last two do so only where they are given a string."""
HUB_NAMES = HUB_FUNCTIONS | {"from_pretrained"}
"""Names that mean a hub call wherever they are used."""
CACHE_DIR_LIBRARIES = frozenset({"transformers", "diffusers", "huggingface_hub"})
"""Libraries whose hub calls take ``cache_dir`` and ``local_files_only``."""
OTHER_LIBRARIES = {
    **dict.fromkeys(("open_clip", "timm", "modelscope", "peft"), ""),
    "sentence_transformers": ": sentence_transformers takes `cache_folder`, not `cache_dir`",
}
"""Libraries that read from the Hub in another way, and what to say of it."""
_LOCAL_LIBRARIES = frozenset(
    {"torch", "torchvision", "numpy", "safetensors", "mmengine", "mmcv", "einops", "colossalai", "omegaconf"}
)
"""Libraries that read nothing from the Hub whatever they are given."""
REPO_PARAMETERS = ("pretrained_model_name_or_path", "pretrained_model_or_path", "repo_id")
TEXT_METHODS = frozenset({"endswith", "startswith", "split", "join"})
"""Methods of strings by which loaders tell paths apart and take them to pieces."""
UNFOLLOWED_NAMES = frozenset({"getattr", "partial", "exec", "eval", "globals", "locals", "vars"})
"""Names by which a function reaches what no reader sees."""
HARMLESS_DECORATORS = (
    *("staticmethod", "classmethod", "property", "abstractmethod", "register_module"),
    *("no_grad", "inference_mode", "register_to_config", "add_start_docstrings"),
)


def may_load(package: str, given: Iterable[str]) -> bool:
    """Whether a function of a package might read a repo: one of the strings that it is given."""
    is_local = package in _LOCAL_LIBRARIES or package in sys.stdlib_module_names
    return not is_local and (package in OTHER_LIBRARIES or any("/" in text for text in given))
