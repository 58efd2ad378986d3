"""Loads configs with mmengine and reports what they resolve to; runs by path, as a child."""

from __future__ import annotations

import json
import os
import random
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __name__ != "__main__":
    from rewriter.process.probes import channel
else:
    import channel

    # Neither this folder nor that name may stand in the way of what a config imports.
    del sys.path[0], sys.modules["channel"]

DEPTH = 100
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Surroundings:
    """Puts every config where the user would load it: in the checkout's root, with its packages importable."""

    def __init__(self) -> None:
        self._path = list(sys.path)
        self._environment = dict(os.environ)
        self._root: str | None = None

    def enter(self, root: str | None, folder: str) -> None:
        if root != self._root:
            if self._root is not None:
                self._forget(self._root)
            self._root = root
        sys.path[:] = [*self._path, root] if root is not None else self._path
        if dict(os.environ) != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        os.chdir(root if root is not None else folder)
        random.seed(0)

    @staticmethod
    def _forget(root: str) -> None:
        """Two checkouts have packages of the same names: those of the one before must not serve the next."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(root + os.sep):
                del sys.modules[name]


def main() -> None:
    link = channel.Channel()
    try:
        import mmengine.config  # noqa: F401 - the interpreter may be broken in any way
    except Exception as error:  # noqa: BLE001
        link.send(fatal="mmengine does not import: " + type(error).__name__ + ": " + str(error))
        return
    surroundings = Surroundings()

    def answer(task: dict[str, Any]) -> dict[str, Any]:
        try:
            for name, data in (task.get("files") or {}).items():
                with open(name, "wb") as stream:
                    stream.write(data.encode("latin-1"))
            surroundings.enter(task["root"], os.path.dirname(task["path"]))
            return resolve(task["path"])
        except Exception as error:  # noqa: BLE001 - a folder that is gone, a patched os.environ
            return {"error": type(error).__name__ + ": " + str(error), "line": None}

    link.serve(answer)


def resolve(path: str) -> dict[str, Any]:
    """The whole config as JSON values, or its error; ``plain_error``: what upstream's own way of loading raised."""
    try:
        value, first = channel.load_config(path, read_all, import_custom_modules=False)
    except BaseException as error:  # noqa: BLE001 - a config may raise anything, also SystemExit
        return explain(error, path)
    return {"value": value, "plain_error": None if first is None else explain(first, path)["error"]}


def read_all(config: Any) -> Any:
    return encode({key: config[key] for key in config})


def encode(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON that keeps every type apart; what JSON lacks becomes a dict with one ``$name`` key."""
    if depth > DEPTH:
        return {"$deep": type(value).__name__}
    if value is None or isinstance(value, bool) or type(value) is str:
        return value
    if type(value) is int:
        return value if value.bit_length() < 1024 else {"$int": hex(value)}
    if type(value) is float:
        return value if value - value == 0 else {"$float": repr(value)}
    if isinstance(value, dict):
        pairs = [(key, encode(item, depth + 1)) for key, item in dict.items(value)]
        if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        return {"$dict": [[encode(key, depth + 1), item] for key, item in pairs]}
    if type(value) is list:
        return [encode(item, depth + 1) for item in value]
    if type(value) is tuple:
        return {"$tuple": [encode(item, depth + 1) for item in value]}
    if type(value) in (set, frozenset):
        return {"$set": sorted((encode(item, depth + 1) for item in value), key=json.dumps)}
    if type(value) is bytes:
        return {"$bytes": value.hex()}
    return {"$object": describe(value)}


def describe(value: Any) -> str:
    """A text that is the same for the same thing in two loads of a file: no memory address, a name for code."""
    kind = type(value)
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return f"{kind.__name__} {getattr(value, '__module__', '')}.{name}"
    try:
        text = _ADDRESS.sub("", repr(value))
    except Exception as error:  # noqa: BLE001 - the config's own code
        text = "repr raised " + type(error).__name__
    return f"{kind.__module__}.{kind.__qualname__} {text}"


def explain(error: BaseException, path: str) -> dict[str, Any]:
    """What went wrong, in one line, and the line of ``path`` that it came from where that can be known."""
    inner = error.__context__
    if type(error) is SyntaxError and error.lineno is None and isinstance(inner, SyntaxError):
        error = inner  # mmengine's own wraps the parser's
    if isinstance(error, SyntaxError):
        return {"error": type(error).__name__ + ": " + str(error.msg), "line": error.lineno}
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_frame.f_code.co_name, trace.tb_lineno))
        trace = trace.tb_next
    own = [line for name, _, line in frames if name == path]
    if isinstance(error, SystemExit):
        text = f"the config ended the program (exit code {error.code!r})"
    else:
        text = (type(error).__name__ + ": " + str(error)).rstrip(": ")
    others = [(name, line) for name, code, line in frames if code == "<module>" and name not in (path, __file__)]
    if not own and others and os.path.isabs(others[-1][0]):
        text += f" ({others[-1][0]}, line {others[-1][1]})"
    return {"error": text, "line": own[-1] if own else None}


if __name__ == "__main__":
    main()
