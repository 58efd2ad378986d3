"""Make an Open-Sora v1.x checkout load its weights from a local Hugging Face cache, and prove it.

>>> from rewriter import rewrite_source
>>> print(rewrite_source('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")', cache_dir="/m").source)
vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b", cache_dir="/m")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewriter.api import Rewritten, check_paths, check_source, needed_repos, rewrite_source
    from rewriter.model import Finding

__version__ = "0.2.0"
__all__ = ["Finding", "Rewritten", "__version__", "check_paths", "check_source", "needed_repos", "rewrite_source"]


def __getattr__(name: str) -> Any:
    """Import the API on first use: the command line starts without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("rewriter.model" if name == "Finding" else "rewriter.api"), name)
