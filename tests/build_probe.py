"""Child process: builds components with a checkout's own ``build_module``, without a network, and says how it went.

Read from stdin as JSON: ``{"cache": folder, "builds": [{"label", "config" and "component", or "dict"; "repo"}]}``.
Written to stdout as JSON: ``{label: {"outcome", "message"}}``; the outcome is "loads" (every tensor equals the
cached one of ``repo``), "builds" (no ``repo`` to compare with), "differs", "rejects cache_dir" (the TypeError of a
signature without it), or the name of any other exception ("OSError" for its kinds too).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    socket.socket.connect = _refuse  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = _refuse  # type: ignore[assignment]
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        sys.path.insert(0, os.getcwd())
        answers = {task["label"]: _answer(task, Path(request["cache"])) for task in request["builds"]}
    json.dump(answers, sys.stdout)


def _refuse(*args: object, **kwargs: object) -> None:
    raise OSError("the network is not there (blocked by the test)")


def _answer(task: dict[str, Any], cache_dir: Path) -> dict[str, str]:
    try:
        module = _build(task)
        outcome = _compare(module, cache_dir, task["repo"]) if task.get("repo") else "builds"
        return {"outcome": outcome, "message": ""}
    except Exception as error:  # noqa: BLE001  # whatever a loader raises is the answer
        name = "OSError" if isinstance(error, OSError) else type(error).__name__
        if isinstance(error, TypeError) and "unexpected keyword argument 'cache_dir'" in str(error):
            name = "rejects cache_dir"
        return {"outcome": name, "message": str(error)[:2000]}


def _build(task: dict[str, Any]) -> Any:
    import opensora.models  # noqa: F401  # fills the registry
    from mmengine.config import Config
    from opensora.registry import MODELS, build_module

    cfg = task.get("dict") or Config.fromfile(task["config"], lazy_import=False)[task["component"]]
    # As Open-Sora's scripts do: the text encoder is given its device, everything else is moved later.
    options = {"device": "cpu"} if cfg["type"] in ("t5", "clip", "classes") else {}
    return build_module(cfg, MODELS, **options)


def _compare(built: Any, cache_dir: Path, repo_id: str) -> str:
    import torch

    sys.path.insert(0, str(Path(__file__).parent))
    import weights

    cached: dict[str, Any] = {}
    for path in weights.snapshot_of(cache_dir, repo_id).rglob("*"):
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            cached |= load_file(path)
        elif path.suffix == ".bin":
            cached |= torch.load(path, weights_only=True)
    modules = _list_modules(built)
    whole = max((len(module.state_dict()) for module in modules), default=0)
    same = any(_is_cached(module.state_dict(), cached) for module in modules if len(module.state_dict()) == whole)
    return "loads" if whole and same else "differs"


def _is_cached(state: dict[str, Any], cached: dict[str, Any]) -> bool:
    import torch

    return all(
        key in cached and torch.equal(tensor.float(), cached[key].to(tensor.dtype).float())
        for key, tensor in state.items()
    )


def _list_modules(built: Any, depth: int = 3) -> list[Any]:
    """The modules in an object, those inside others too: loaders wrap the one whose weights the repository holds."""
    import torch

    if isinstance(built, torch.nn.Module):
        return list(built.modules())
    values = getattr(built, "__dict__", {}).values() if depth else ()
    return [module for value in values for module in _list_modules(value, depth - 1)]


if __name__ == "__main__":
    main()
