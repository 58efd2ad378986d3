"""Scripts that run in a child process of the user's Open-Sora interpreter.

They are started by path, import nothing of this package, and keep to the standard library of Python 3.8 and what that
interpreter has installed.
"""
