"""Small checkouts that a test writes, and traces of their loaders."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from rewriter.model import Trace, Value
from rewriter.read.loaders import Loaders

REGISTRY = """
from mmengine.registry import Registry

MODELS = Registry("model")
DATASETS = Registry("dataset")

def build_module(module, builder, **kwargs):
    return builder.build({**module, **kwargs}) if isinstance(module, dict) else module
"""


def write_files(root: Path, files: Mapping[str, str]) -> Path:
    """Write each text under its path below ``root``, without its common indentation."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def write_package(root: Path, files: Mapping[str, str], package: str = "opensora") -> Path:
    """A checkout: ``package`` with the registry and these files (paths below the package)."""
    inside = {"__init__.py": "", "registry.py": REGISTRY, **files}
    return write_files(root, {f"{package}/{name}": text for name, text in inside.items()})


def give_values(**keywords: object) -> dict[str, Value]:
    """Keyword values as a config gives them; a :class:`Value` stays as it is."""
    return {name: value if isinstance(value, Value) else Value.of(value) for name, value in keywords.items()}


def trace(root: Path, type_name: str, **keywords: object) -> Trace:
    """Trace one type of a checkout."""
    return Loaders().trace(str(root), type_name, give_values(**keywords))
