"""Loads configs with mmengine and reports what they resolve to."""

from __future__ import annotations

import re
import traceback
import types
from typing import Any

from . import channel


def main() -> None:
    import mmengine.config  # noqa: F401 - the interpreter is to blame where it does not import, no config

    channel.serve(answer)


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """Load one config, after its files are written: the fields of ``rewriter.process.configs.Resolved``."""
    try:
        for name, data in task["files"].items():
            with open(name, "wb") as stream:
                stream.write(data.encode("latin-1"))
        channel.enter_checkout(task["root"], task["root"])
        value, first = channel.load_config(task["path"], read_all)
    except BaseException as error:  # noqa: BLE001 - a config may raise anything, also SystemExit
        return {"resolved": (False, None, *explain(error, task["path"]))}
    return {"resolved": (True, value, "", None, "" if first is None else explain(first, task["path"])[0])}


def read_all(config: Any) -> Any:
    # What mmengine loads lazily keeps an imported module; it loads so by itself where no name of it is used.
    return encode({key: value for key, value in config.items() if not isinstance(value, types.ModuleType)})


def encode(value: Any) -> Any:
    """``value`` as JSON that keeps types apart: what JSON lacks becomes a dict with one key, ``$tuple`` or ``$object``.

    An object is a text that is the same for the same thing in two loads of a file: no memory address, a name for code.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        pairs = [(key, encode(item)) for key, item in dict.items(value)]
        if all(type(key) is str for key, _ in pairs):
            return dict(pairs)
        return {"$dict": [[encode(key), item] for key, item in pairs]}
    if type(value) is list:
        return [encode(item) for item in value]
    if type(value) is tuple:
        return {"$tuple": [encode(item) for item in value]}
    name = getattr(value, "__qualname__", None)
    text = f"{getattr(value, '__module__', '')}.{name}" if isinstance(name, str) else repr(value)
    return {"$object": type(value).__qualname__ + " " + re.sub(r" at 0x[0-9a-fA-F]+", "", text)}


def explain(error: BaseException, path: str) -> tuple[str, int | None]:
    """What went wrong, in one line, and the line of ``path`` that it came from where that can be known."""
    if isinstance(error.__context__, SyntaxError):
        error = error.__context__  # mmengine's own wraps the parser's
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}", error.lineno
    places = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__) if f.name == "<module>"]
    own = [line for name, line in places if name == path]
    text = " ".join(f"{type(error).__name__}: {error}".split())[:500].rstrip(":")
    if places and not own:
        text += f" ({places[-1][0]}, line {places[-1][1]})"
    return text, own[-1] if own else None
