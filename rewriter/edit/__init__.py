"""Edits of config files and loader sources, their proofs, and writing all of them or none."""
