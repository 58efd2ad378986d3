"""Compares the tensors that a model has with those in its files, by name, shape and dtype; a part of the load probe."""

from __future__ import annotations

import re
from typing import Any, Dict, Tuple  # noqa: UP035

Tensors = Dict[str, Tuple[Tuple[int, ...], str]]  # noqa: UP006 - name -> shape, and dtype as torch spells it

NAMES_SHOWN = 10

# AutoencoderKL's attention before diffusers 0.18 (ModelMixin._fix_state_dict_keys_on_load).
OLD_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))


def compare(model: Any, found: Tensors, report: Any) -> None:
    """Every parameter and persistent buffer of the model against what the files hold."""
    report.stage = "parameters"
    expected = model.state_dict(keep_vars=True)
    found = rename(model, expected, found)
    mismatched = [
        f"{name}: {list(found[name][0])} in the file, {list(tensor.shape)} in the model"
        for name, tensor in expected.items()
        if name in found and found[name][0] != tuple(tensor.shape)
    ]
    unexpected, foreign = find_unexpected(model, expected, found)
    missing = find_missing(model, expected, found)
    for kind, names in (("missing", missing), ("shape", mismatched), ("unexpected", unexpected)):
        if names:
            report.list_problem(kind, names)
    report.parameters = sum(name in found for name in expected)
    report.elements = sum({id(tensor): tensor.numel() for name, tensor in expected.items() if name in found}.values())
    matched = report.parameters - len(mismatched)
    report.checked.append(f"{matched} of {len(expected)} tensors of {type(model).__name__} match")
    if foreign:
        parts = ", ".join(sorted({name.split(".")[0] for name in foreign})[:NAMES_SHOWN])
        report.notes.append(f"{len(foreign)} tensors belong to other parts of a larger model ({parts})")
    note_dtypes(expected, found, report)


def note_dtypes(expected: dict[str, Any], found: Tensors, report: Any) -> None:
    """A float of another width is converted on load: a note. A number of another kind is a mismatch."""
    counts: dict[str, int] = {}
    other: list[str] = []
    for name, tensor in expected.items():
        built = str(tensor.dtype).replace("torch.", "")
        stored = found[name][1] if name in found else built
        if stored != built:
            pair = f"stored as {stored}, built as {built}"
            counts[pair] = counts.get(pair, 0) + 1
            if ("float" in stored) != ("float" in built):
                other.append(f"{name}: {pair}")
    if other:
        report.list_problem("shape", other)
    for pair, times in counts.items():
        report.notes.append(f"{times} tensors are {pair} (unless the loader names a dtype)")


def rename(model: Any, expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The files' names as the library reads them into this class."""
    out: dict[str, Any] = {}
    mapping = getattr(model, "_checkpoint_conversion_mapping", None) or {}
    fix = getattr(model, "_fix_state_dict_key_on_load", None)
    transforms = list_version_5_renamings(model)
    for name, each in found.items():
        new = name
        if fix is not None:
            fixed = fix(new)
            new = fixed[0] if isinstance(fixed, tuple) else fixed
        for pattern, replacement in mapping.items():
            new, times = re.subn(pattern, replacement, new)
            if times:
                break
        for transform in transforms:  # pragma: no cover - [load] has transformers below 5
            new = transform.rename_source_key(new)[0]
        out[new] = each
    out = adapt_prefix(getattr(model, "base_model_prefix", ""), expected, out)
    return rename_old_attention(model, expected, out)


def list_version_5_renamings(model: Any) -> list[Any]:
    """transformers 5 keeps its renamings in a table (its CLIPTextModel lost the ``text_model.`` of the files)."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming  # pragma: no cover - transformers 5

        every = get_model_conversion_mapping(model)  # pragma: no cover - transformers 5
        return [each for each in every if isinstance(each, WeightRenaming)]  # pragma: no cover - transformers 5
    except Exception:  # noqa: BLE001 - another version, or a class that it does not know
        return []


def adapt_prefix(prefix: str, expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Weights of a bare model read into one with a head, or the other way round (PreTrainedModel.from_pretrained)."""
    dotted = prefix + "."
    stored = any(name.startswith(dotted) for name in found)
    wanted = any(name.startswith(dotted) for name in expected)
    if prefix and wanted and not stored:
        return {name if name in expected else dotted + name: each for name, each in found.items()}
    if prefix and stored and not wanted:
        return {name[len(dotted) :] if name.startswith(dotted) else name: each for name, each in found.items()}
    return found


def rename_old_attention(model: Any, expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """diffusers reads ``query``/``key``/``value``/``proj_attn`` where a block says that it may."""
    for path, module in model.named_modules():
        if not getattr(module, "_from_deprecated_attn_block", False):
            continue
        for old, new in OLD_ATTENTION:
            for part in ("weight", "bias"):
                name, target = f"{path}.{old}.{part}", f"{path}.{new}.{part}"
                if name in found and target in expected:
                    found[target] = found.pop(name)
    return found


def find_missing(model: Any, expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Names that no file supplies, not even under the name of a tensor that they are tied to."""
    supplied = {id(tensor) for name, tensor in expected.items() if name in found}
    patterns = getattr(model, "_keys_to_ignore_on_load_missing", None) or []
    return [
        name
        for name, tensor in expected.items()
        if id(tensor) not in supplied
        and not any(re.search(pattern, name) for pattern in patterns)
        and not name.endswith("num_batches_tracked")
    ]


def find_unexpected(model: Any, expected: dict[str, Any], found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Names that the model has no place for: those below one of its own parts, and those of other parts.

    A checkpoint of a whole CLIP or T5 read into its text half has the second kind; that is as it should be.
    """
    patterns = list(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or [])
    buffers = {name for name, _buffer in model.named_buffers()}
    parts = {name.split(".")[0] for name in expected}
    own: list[str] = []
    foreign: list[str] = []
    for name in found:
        if name in expected or name in buffers or name.endswith((".position_ids", "rotary_emb.inv_freq")):
            continue
        ignored = any(re.search(pattern, name) for pattern in patterns)
        (foreign if ignored or name.split(".")[0] not in parts else own).append(name)
    return own, foreign
