"""Scripts that run by path in another interpreter: Python 3.8 syntax, and at the top the standard library alone."""
