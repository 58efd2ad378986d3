"""Say what lies in a Hugging Face cache and whether the loaders would find their files there: reads only, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewriter.cache.needs import CachedFile, Inspected, Kind, Need, Place, Report
from rewriter.cache.places import check_directory, default_cache

if TYPE_CHECKING:
    from rewriter.cache.inspection import inspect

__all__ = [
    "CachedFile",
    "Inspected",
    "Kind",
    "Need",
    "Place",
    "Report",
    "check_directory",
    "default_cache",
    "inspect",
]


def __getattr__(name: str) -> object:
    """Import what hashes only for those who inspect: ``rewrite`` wants no more than :func:`check_directory`."""
    if name == "inspect":
        from rewriter.cache.inspection import inspect

        return inspect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
