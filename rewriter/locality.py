"""Tell a Hub repo id from a local path, as DESIGN.md's third decision does: one place, one list."""

from __future__ import annotations

import os
from typing import Literal

Locality = Literal["repo", "local", "missing"]

# First segments that upstream's own configs and guides use for folders of weights; a repo id never starts with one.
LOCAL_FIRST_SEGMENTS = frozenset(
    {"pretrained_models", "pretrained", "outputs", "output", "checkpoints", "checkpoint", "ckpts", "ckpt", "samples",
     "weights", "models", "logs", "runs", "tmp", "data"}
)  # fmt: skip


def _has_drive(text: str) -> bool:
    """``C:\\...``"""
    return text[1:3] in (":\\", ":/") and text[0].isascii() and text[0].isalpha()


def looks_local(text: str) -> bool:
    """True for what can only be meant as a path: absolute, led by ``.`` or ``~``, or under a well-known folder."""
    if text.startswith(("/", ".", "~", "\\")) or _has_drive(text):
        return True
    return "/" in text and text.split("/", 1)[0] in LOCAL_FIRST_SEGMENTS


def folded(path: str) -> str:
    """An absolute path normalised as text, links kept; ``..`` behind a link leads where it leads on this machine.

    >>> folded("/models//x/../hf/")
    '/models/hf'
    """
    if os.pardir not in path.split(os.sep):
        return os.path.normpath(path)
    drive, rest = os.path.splitdrive(path)
    place = drive + os.sep
    for part in rest.split(os.sep):
        if part == os.pardir:
            place = os.path.dirname(os.path.realpath(place) if os.path.islink(place) else place)
        elif part not in ("", os.curdir):
            place = os.path.join(place, part)
    return place


def locality(text: str, root: str | None) -> Locality:
    """Say what a ``from_pretrained`` string names.

    Args:
        text: the string of the config or of a loader's source.
        root: the checkout root, absolute; relative paths are looked up under it. None: no root is known.

    Returns:
        "local": a path that exists. "missing": meant as a path, but nothing is there. "repo": a Hub repo id.
    """
    expanded = os.path.expanduser(text)
    absolute = os.path.isabs(expanded)
    if absolute or root is not None:
        place = expanded if absolute else os.path.join(root or "", expanded)
        if text and os.path.exists(place):
            return "local"
    return "missing" if looks_local(text) else "repo"
