"""Small checkouts, written by a test, and keyword values as the config reader gives them."""

from __future__ import annotations

import textwrap
from pathlib import Path

from rewriter.loaders import Sources
from rewriter.types import HubCall, Trace, Value

REGISTRY = """
from mmengine.registry import Registry

def build_module(module, builder, **kwargs):
    return builder.build({**module, **kwargs}) if isinstance(module, dict) else module

MODELS = Registry("model")
DATASETS = Registry("dataset")
"""


def values(**keywords: object) -> dict[str, Value]:
    """Literal keyword values; a :class:`Value` stays as it is."""
    return {
        name: value if isinstance(value, Value) else Value(True, value, repr(value)) for name, value in keywords.items()
    }


def write(root: Path, **files: str) -> Path:
    """Write ``opensora/<name>.py`` for each keyword and the registry."""
    for name, text in {"registry": REGISTRY, **files}.items():
        path = root / "opensora" / (name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def sources(root: Path, **files: str) -> Sources:
    return Sources(str(write(root, **files)))


def trace(root: Path, source: str, type_name: str, **keywords: object) -> Trace:
    """Trace one type of a checkout with one file of loaders."""
    head = "from opensora.registry import MODELS, build_module\n"
    return sources(root, loaders=head + textwrap.dedent(source)).trace(type_name, values(**keywords))


def repos(result: Trace) -> list[str | None]:
    return [call.repo_id for call in result.calls]


def only(result: Trace) -> HubCall:
    assert len(result.calls) == 1, result.calls
    return result.calls[0]
