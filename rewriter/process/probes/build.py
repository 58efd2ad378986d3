"""Builds components with the checkout's own ``build_module``, as its scripts do; runs by path, as a child."""

from __future__ import annotations

import gc
import importlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __name__ != "__main__":
    from rewriter.process.probes import channel
else:
    import channel


def main() -> None:
    link = channel.Channel()
    job = link.job
    built: dict[str, dict[str, Any]] = {}

    def answer(task: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        found = build(job["root"], job["package"], task["config"], task["component"], built)
        gc.collect()  # a model of many gigabytes must be gone before the next is built
        return dict(found, seconds=time.monotonic() - began)

    channel.enter_checkout(job["root"], job["folder"])
    link.serve(answer)


def build(root: str, package: str, config: str, component: str, built: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Build one component of one config; ``built`` remembers what equal dicts gave."""
    found: dict[str, Any] = {"stage": "config", "loader": None}
    try:
        value, _first = channel.load_config(config, lambda loaded: loaded.get(component))
        if not hasattr(value, "items"):
            return dict(found, status="skipped")
        device = {"device": "cpu"} if component == "text_encoder" else {}
        found.update(stage="build", loader=value.get("type"))
        registry = importlib.import_module(package + ".registry")
        key = repr((value.to_dict() if hasattr(value, "to_dict") else value, device))
        if key not in built:
            parameters = count_parameters(registry.build_module(value, registry.MODELS, **device))
            built[key] = dict(found, status="ok", parameters=parameters, same_as=config)
            return dict(built[key], same_as="")
        return built[key]
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        return dict(found, **channel.describe_error(error, root), status="failed")


def count_parameters(built: Any) -> int:
    """How many numbers the modules in ``built`` hold (v1.x text encoders are no modules, they hold one)."""
    import torch

    total, seen, left = 0, set(), [(built, 0)]
    while left:
        each, depth = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, torch.nn.Module):
            total += sum(parameter.numel() for parameter in each.parameters())
        elif depth < 3:
            left.extend((inner, depth + 1) for inner in getattr(each, "__dict__", {}).values())
    return total


if __name__ == "__main__":
    main()
