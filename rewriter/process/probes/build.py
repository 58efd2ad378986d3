"""Builds components with the checkout's own ``build_module``, as its scripts do."""

from __future__ import annotations

import gc
import importlib
from typing import Any

from . import channel

BUILT: dict[str, dict[str, Any]] = {}  # what equal dicts gave


def main() -> None:
    channel.serve(answer)


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """Build one component of one config; every failure becomes data."""
    found: dict[str, Any] = {"stage": "config", "loader": None}
    try:
        channel.enter_checkout(task["root"], task["folder"])
        value, _first = channel.load_config(task["config"], lambda loaded: loaded.get(task["component"]))
        if not hasattr(value, "items"):
            return dict(found, status="skipped")
        device = {"device": "cpu"} if task["component"] == "text_encoder" else {}
        found.update(stage="build", loader=value.get("type"))
        registry = importlib.import_module(task["package"] + ".registry")
        key = repr((value.to_dict(), device))
        if key in BUILT:
            return dict(BUILT[key])
        gc.collect()  # the model before this one, of many gigabytes, must be gone
        parameters = count_parameters(registry.build_module(value, registry.MODELS, **device))
        BUILT[key] = dict(found, status="ok", parameters=parameters, same_as=task["config"])
        return dict(BUILT[key], same_as="")
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        return dict(found, **channel.describe_error(error, task["root"]), status="failed")


def count_parameters(built: Any, depth: int = 0) -> int:
    """How many numbers the modules in ``built`` hold (v1.x text encoders are no modules, they hold one)."""
    import torch

    if isinstance(built, torch.nn.Module):
        return sum(parameter.numel() for parameter in built.parameters())
    inner = getattr(built, "__dict__", {}).values() if depth < 3 else ()
    return sum(count_parameters(each, depth + 1) for each in inner)
