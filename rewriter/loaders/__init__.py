"""What the loaders of a checkout do with their keywords, read from its sources without running them."""

from rewriter.loaders.sources import Sources

__all__ = ["Sources"]
