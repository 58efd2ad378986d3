"""Loads configs with mmengine and reports what they resolve to; runs by path, as a child."""

from __future__ import annotations

import os
import random
import re
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __name__ != "__main__":
    from rewriter.process.probes import channel
else:
    import channel

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def main() -> None:
    link = channel.Channel()
    try:
        import mmengine.config  # noqa: F401 - the interpreter may be broken in any way
    except Exception as error:  # noqa: BLE001
        link.send(fatal="mmengine does not import: " + type(error).__name__ + ": " + str(error))
        return
    root = link.job["root"]
    plain_path = [*sys.path] if root is None else [*sys.path, root]

    def answer(task: dict[str, Any]) -> dict[str, Any]:
        try:
            for name, data in task["files"].items():
                with open(name, "wb") as stream:
                    stream.write(data.encode("latin-1"))
            sys.path[:] = plain_path
            os.chdir(root or os.path.dirname(task["path"]))
            random.seed(0)
            value, first = channel.load_config(task["path"], read_all, import_custom_modules=False)
        except BaseException as error:  # noqa: BLE001 - a config may raise anything, also SystemExit
            return explain(error, task["path"])
        return {"value": value, "plain_error": "" if first is None else explain(first, task["path"])["error"]}

    link.serve(answer)


def read_all(config: Any) -> Any:
    # An imported module stays in what mmengine loads lazily (as it does by itself where no name of it is used).
    return encode({key: config[key] for key in config if not isinstance(config[key], types.ModuleType)})


def encode(value: Any) -> Any:
    """``value`` as JSON that keeps types apart: what JSON lacks becomes a dict with one key, ``$tuple`` or ``$object``.

    An object is a text that is the same for the same thing in two loads of a file: no memory address, a name for code.
    """
    if value is None or type(value) in (bool, int, str) or (type(value) is float and value - value == 0):
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
    text = str(getattr(value, "__module__", "")) + "." + name if isinstance(name, str) else repr(value)
    return {"$object": type(value).__qualname__ + " " + _ADDRESS.sub("", text)}


def explain(error: BaseException, path: str) -> dict[str, Any]:
    """What went wrong, in one line, and the line of ``path`` that it came from where that can be known."""
    inner = error.__context__
    if type(error) is SyntaxError and error.lineno is None and isinstance(inner, SyntaxError):
        error = inner  # mmengine's own wraps the parser's
    if isinstance(error, SyntaxError):
        return {"error": type(error).__name__ + ": " + str(error.msg), "line": error.lineno}
    places = [
        (frame.f_code.co_filename, frame.f_code.co_name, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [line for name, _, line in places if name == path]
    others = [(name, line) for name, code, line in places if code == "<module>" and name not in (path, __file__)]
    text = (type(error).__name__ + ": " + str(error)).rstrip(": ")
    if others and not own:
        text += f" ({others[-1][0]}, line {others[-1][1]})"
    return {"error": text, "line": own[-1] if own else None}


if __name__ == "__main__":
    main()
