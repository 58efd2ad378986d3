"""What runs in another interpreter: Python 3.8 syntax, relative imports, at the top the standard library alone."""
