"""Bytes to bytes: the libcst edits of config files and of loader sources."""
