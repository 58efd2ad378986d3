"""Tell a Hub repo id from a local path: one place, one list of folder names."""

from __future__ import annotations

import os
import re
from typing import Literal

# First segments that upstream's own configs and guides use for folders of weights; a repo id never starts with one.
LOCAL_FIRST_SEGMENTS = frozenset(
    {
        *("pretrained_models", "pretrained", "outputs", "output", "checkpoints", "checkpoint", "ckpts", "ckpt"),
        *("samples", "weights", "models", "logs", "runs", "tmp", "data"),
    }
)
_REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)?", re.ASCII)  # huggingface_hub's validate_repo_id


def is_path_like(text: str) -> bool:
    """Whether ``text`` can only be meant as a path: absolute, led by ``.`` or ``~``, or under a well-known folder."""
    first, slash, _ = text.partition("/")
    return text.startswith(("/", ".", "~")) or bool(slash and first in LOCAL_FIRST_SEGMENTS)


def is_repo_id(text: str) -> bool:
    """Whether the Hub could have a repo of that name (``validate_repo_id`` of huggingface_hub)."""
    return len(text) <= 96 and _REPO_ID.fullmatch(text) is not None and "--" not in text and ".." not in text


def names_weights(value: object) -> bool:
    """Whether ``from_pretrained`` can be a repo id or a path."""
    return isinstance(value, str) and (is_repo_id(value) or is_path_like(value))


def locality(text: str, root: str | None) -> Literal["repo", "local", "missing"]:
    """Whether a ``from_pretrained`` string is a path that exists ("local"), one that does not ("missing"), or a repo.

    Relative paths are looked up under ``root``, the absolute root of a checkout, if there is one.
    """
    path = os.path.join(root or "", os.path.expanduser(text))
    if text and os.path.isabs(path) and os.path.exists(path):
        return "local"
    return "missing" if is_path_like(text) else "repo"
