"""Read configs and loaders with ``ast``: nothing of the checkout is executed."""
