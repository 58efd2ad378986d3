"""Say what lies in a Hugging Face cache and whether the loaders would find their files there: reads only, offline."""

from __future__ import annotations

from rewriter.cache.inspection import inspect
from rewriter.cache.needs import CachedFile, Inspected, Kind, Need, Place, Report
from rewriter.cache.places import check_directory, default_cache

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
