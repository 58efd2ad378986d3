"""Tell a Hub repo id from a local path: one place, one list of folder names."""

from __future__ import annotations

import os
import re

from rewriter.model import Place

# First segments that upstream's own configs and guides use for folders of weights; a repo id never starts with one.
LOCAL_FIRST_SEGMENTS = frozenset(
    {
        *("pretrained_models", "pretrained", "outputs", "output", "checkpoints", "checkpoint", "ckpts", "ckpt"),
        *("samples", "weights", "models", "logs", "runs", "tmp", "data"),
    }
)
_REPO_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)?", re.ASCII)  # huggingface_hub's validate_repo_id
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def is_path_like(text: str) -> bool:
    """Whether ``text`` can only be meant as a path: absolute, led by ``.`` or ``~``, or under a well-known folder."""
    if text.startswith(("/", ".", "~", "\\")) or _DRIVE.match(text):
        return True
    return "/" in text and text.split("/", 1)[0] in LOCAL_FIRST_SEGMENTS


def is_repo_id(text: str) -> bool:
    """Whether the Hub could have a repo of that name (``validate_repo_id`` of huggingface_hub).

    >>> [is_repo_id(text) for text in ("org/name", "gpt2", "???", "a/b/c", "your T5 path")]
    [True, True, False, False, False]
    """
    return len(text) <= 96 and _REPO_ID.fullmatch(text) is not None and "--" not in text and ".." not in text


def locality(text: str, root: str | None) -> Place:
    """Say what a ``from_pretrained`` string names.

    Args:
        text: the string of the config or of a loader's source.
        root: the checkout root, absolute; relative paths are looked up under it. None: no root is known.

    Returns:
        "local": a path that exists. "missing": meant as a path, but nothing is there. "repo": anything else.
    """
    expanded = os.path.expanduser(text)
    absolute = os.path.isabs(expanded)
    if text and (absolute or root is not None) and os.path.exists(os.path.join(root or "", expanded)):
        return "local"
    return "missing" if is_path_like(text) else "repo"


def normalize_path(path: str) -> str:
    """An absolute path normalised as text, links kept; ``..`` behind a link leads where the system takes it.

    >>> normalize_path("/models//x/../hf/")
    '/models/hf'
    """
    parts = path.split(os.sep)
    if os.pardir in parts:
        place = parts.index(os.pardir)
        ahead = os.sep.join(parts[:place]) or os.sep
        if os.path.islink(ahead):
            path = os.sep.join([os.path.realpath(ahead), *parts[place:]])
    return os.path.normpath(path)
