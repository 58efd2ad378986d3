"""Compares the tensors that a model has with those in its files, by name, shape and dtype; a part of the load probe."""

from __future__ import annotations

from typing import Any, Dict, Tuple  # noqa: UP035

Tensors = Dict[str, Tuple[Tuple[int, ...], str]]  # noqa: UP006 - name -> shape, and dtype as torch spells it

# AutoencoderKL's attention before diffusers 0.18 (ModelMixin._fix_state_dict_keys_on_load).
OLD_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))


def compare(model: Any, found: Tensors, report: Any) -> None:
    """Every parameter and persistent buffer of the model against what the files hold."""
    report.stage = "parameters"
    expected = model.state_dict(keep_vars=True)
    rename_old_attention(model, found)
    shared = [(name, tensor, *found[name]) for name, tensor in expected.items() if name in found]
    supplied = {id(tensor) for _, tensor, _, _ in shared}  # also under the name of a tensor that they are tied to
    missing = [name for name, tensor in expected.items() if id(tensor) not in supplied]
    mismatched = [
        f"{name}: {list(shape)} in the file, {list(tensor.shape)} in the model"
        for name, tensor, shape, _ in shared
        if shape != tuple(tensor.shape)
    ]
    dtypes = [(name, stored, str(tensor.dtype).replace("torch.", "")) for name, tensor, _, stored in shared]
    mismatched += [
        f"{name}: stored as {stored}, built as {built}"
        for name, stored, built in dtypes
        if ("float" in stored) != ("float" in built)
    ]
    unexpected, foreign = find_unexpected(model, expected, found)
    for kind, names in (("missing", missing), ("shape", mismatched), ("unexpected", unexpected)):
        if names:
            report.list_problem(kind, names)
    report.checked.append(f"{len(shared)} of {len(expected)} tensors of {type(model).__name__} match")
    if foreign:
        parts = ", ".join(sorted({name.split(".")[0] for name in foreign})[:10])
        report.notes.append(f"{len(foreign)} tensors belong to other parts of a larger model ({parts})")
    for pair in sorted({(stored, built) for _, stored, built in dtypes if stored != built}):
        report.notes.append("tensors are stored as {}, built as {} (unless the loader names a dtype)".format(*pair))


def rename_old_attention(model: Any, found: Tensors) -> None:
    """diffusers reads ``query``/``key``/``value``/``proj_attn`` where a block says that it may."""
    for path, module in model.named_modules():
        for old, new in OLD_ATTENTION if getattr(module, "_from_deprecated_attn_block", False) else ():
            for part in ("weight", "bias"):
                if f"{path}.{old}.{part}" in found:
                    found[f"{path}.{new}.{part}"] = found.pop(f"{path}.{old}.{part}")


def find_unexpected(model: Any, expected: dict[str, Any], found: Tensors) -> tuple[list[str], list[str]]:
    """Names that the model has no place for: those below one of its own parts, and those of other parts.

    A checkpoint of a whole CLIP or T5 read into its text half has the second kind; that is as it should be.
    """
    known = {*expected, *(name for name, _buffer in model.named_buffers())}
    parts = {name.split(".")[0] for name in expected}
    extra = [name for name in found if name not in known and not name.endswith(".position_ids")]
    own = [name for name in extra if name.split(".")[0] in parts]
    return own, [name for name in extra if name not in own]
