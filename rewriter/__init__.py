"""Make an Open-Sora v1.x checkout load its weights from a local Hugging Face cache, and prove it."""

__version__ = "0.1.0"
