"""Runs the user's own interpreter: mmengine, transformers and the checkout's code live there, never in this process."""
