"""Builds components with the checkout's own ``build_module``, as its scripts do; runs by path, as a child."""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __name__ != "__main__":
    from rewriter.probes import channel
else:
    import channel

    # Neither this folder nor that name may stand in the way of what the checkout imports.
    del sys.path[0], sys.modules["channel"]


def main() -> None:
    send, job = channel.open_channel()
    channel.block_sockets()
    root = job["root"]
    os.chdir(root)
    sys.path.insert(0, root)
    send({"event": "ready", "versions": channel.versions()})
    built: dict[str, dict[str, Any]] = {}
    for number, task in job["tasks"]:
        send({"event": "start", "task": number})
        began = time.monotonic()
        told = build(root, task["config"], task["component"], built)
        gc.collect()
        seconds = time.monotonic() - began
        send(dict(told, event="result", task=number, seconds=seconds, peak_rss=channel.peak_rss()))
    send({"event": "end"})
    # Threads and exit handlers of a half-broken environment must not hold up or spoil what has been told.
    os._exit(0)


def build(root: str, config: str, component: str, built: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Builds one component of one config; ``built`` remembers what equal dicts gave."""
    stage, loader = "config", None
    try:
        value = find(load(config), component)
        if not hasattr(value, "items"):
            why = f"the config's {component} is {shown(value)}"
            return {"status": "skipped", "stage": stage, "why": why if value is not None else f"no {component} here"}
        device = {"device": "cpu"} if component.split(".")[-1] == "text_encoder" else {}
        loader = value.get("type")
        key = repr((plain(value), device))
        if key not in built:
            stage = "build"
            from opensora.registry import MODELS, build_module  # type: ignore[import-not-found]

            parameters = count(build_module(value, MODELS, **device))
            built[key] = {"status": "ok", "parameters": parameters, "same_as": config}
            return dict(built[key], same_as="")
        return built[key]
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        return dict(channel.describe(error, root), status="failed", stage=stage, loader=loader)


def load(config: str) -> Any:
    from mmengine.config import Config

    try:
        return Config.fromfile(config, lazy_import=False)
    except TypeError as error:
        if "lazy_import" not in str(error):
            raise
        return Config.fromfile(config)  # mmengine before 0.8


def find(config: Any, component: str) -> Any:
    value = config
    for key in component.split("."):
        value = value.get(key) if hasattr(value, "get") else None
    return value


def plain(value: Any) -> Any:
    return value.to_dict() if hasattr(value, "to_dict") else value


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else "a " + type(value).__name__


def count(built: Any) -> int:
    """How many numbers the modules in ``built`` hold (v1.x text encoders are no modules, they hold one)."""
    import torch

    total, seen, left = 0, set(), [(built, 0)]
    while left:
        one, depth = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, torch.nn.Module):
            total += sum(parameter.numel() for parameter in one.parameters())
        elif depth < 3:
            left.extend((inner, depth + 1) for inner in getattr(one, "__dict__", {}).values())
    return total


if __name__ == "__main__":
    main()
