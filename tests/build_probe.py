"""Child process: builds components with a checkout's own ``build_module``, without a network, and says how it went.

Read from stdin as JSON: ``{"cache": folder, "asked": [{"label", "config" and "component", or "dict"; "repo"}]}``.
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
        answers = {asked["label"]: _answer(asked, Path(request["cache"])) for asked in request["asked"]}
    json.dump(answers, sys.stdout)


def _refuse(*args: object, **kwargs: object) -> None:
    raise OSError("the network is not there (blocked by the test)")


def _answer(asked: dict[str, Any], cache_dir: Path) -> dict[str, str]:
    try:
        module = _build(asked)
        outcome = _compare(module, cache_dir, asked["repo"]) if asked.get("repo") else "builds"
        return {"outcome": outcome, "message": ""}
    except Exception as error:  # noqa: BLE001  # whatever a loader raises is the answer
        name = "OSError" if isinstance(error, OSError) else type(error).__name__
        if isinstance(error, TypeError) and "unexpected keyword argument 'cache_dir'" in str(error):
            name = "rejects cache_dir"
        return {"outcome": name, "message": str(error)[:2000]}


def _build(asked: dict[str, Any]) -> Any:
    import opensora.models  # noqa: F401  # fills the registry
    from mmengine.config import Config
    from opensora.registry import MODELS, build_module

    cfg = asked.get("dict") or Config.fromfile(asked["config"], lazy_import=False)[asked["component"]]
    # As Open-Sora's scripts do: the text encoder is told its device, everything else is moved later.
    told = {"device": "cpu"} if cfg["type"] in ("t5", "clip", "classes") else {}
    return build_module(cfg, MODELS, **told)


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
    state = _inner(built).state_dict()
    same = state and all(
        key in cached and torch.equal(tensor.float(), cached[key].to(tensor.dtype).float())
        for key, tensor in state.items()
    )
    return "loads" if same else "differs"


def _inner(built: Any) -> Any:
    """The module whose weights the repository holds: loaders wrap it."""
    for path in (("embedder", "encoder"), ("frozen", "tower"), ("image_model",)):
        inner = built
        for name in path:
            inner = getattr(inner, name, None)
        if inner is not None:
            return inner
    return built


if __name__ == "__main__":
    main()
