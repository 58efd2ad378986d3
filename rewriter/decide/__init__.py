"""Decide what happens to each component, thread keywords through loaders, and plan all edits of a run."""
