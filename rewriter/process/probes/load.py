"""Compares models, built on the meta device, with the headers of their weights."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from typing import Any

from . import channel
from .weights_files import WEIGHTS, WeightsError, read_safetensors_header, read_shard_index

# AutoencoderKL's attention before diffusers 0.18 (ModelMixin._fix_state_dict_keys_on_load).
OLD_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))


class Problem(Exception):  # noqa: N818 - one of the weights or the libraries, not of this program
    """Ends the check of one task. Its ``args``: a key of the table in ``rewriter.verify.explain``, and why."""


def main() -> None:
    channel.serve(answer)


def answer(task: Any) -> dict[str, Any]:
    """Check one hub call; every failure becomes a problem of the report."""
    report: dict[str, Any] = {"stage": "library", "checked": [], "problems": [], "deferred": ""}
    try:
        check_from_pretrained(task, report) if task["kind"] == "from_pretrained" else check_file(task, report)
    except Problem as problem:
        kind, message = problem.args
        report["problems"].append({"kind": kind, "message": message})
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        if task["root"]:  # the checkout's own class may need what only level build gives it
            report["deferred"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        else:
            found = channel.describe_error(error, task["root"])
            report["problems"].append(dict(found, kind="exception", stage=report["stage"]))
    return report


def check_file(task: Any, report: Any) -> None:
    """``hf_hub_download``: the file is there, and if it holds weights its header reads."""
    name = task["filename"]
    if not name:
        report["deferred"] = task["kind"] + " requests files that only level cache can list"
        return
    if (path := locate(task, name)) is None:
        raise Problem("no_weights", f"{name} is not there")
    weights = name.endswith((".safetensors", ".bin", ".pt", ".pth", ".ckpt"))
    report["checked"].append(f"{name} holds {len(read_weights(path))} tensors" if weights else f"{name} is there")


def check_from_pretrained(task: Any, report: Any) -> None:
    cls, name = find_class(task), task["class_name"]
    places = {key: task[key] for key in ("cache_dir", "revision", "subfolder") if task[key]}
    places["local_files_only"] = True
    report["stage"] = "tokenizer" if "Tokenizer" in name else "config"
    if hasattr(cls, "state_dict") and hasattr(cls, "load_config"):
        compare_model(cls.from_config, cls.load_config(task["repo_id"], **places), "diffusers", task, report)
    elif hasattr(cls, "_model_mapping"):
        config = sys.modules["transformers"].AutoConfig.from_pretrained(task["repo_id"], **places)
        compare_model(cls.from_config, config, "transformers", task, report)
    elif hasattr(cls, "config_class"):
        compare_model(cls, cls.config_class.from_pretrained(task["repo_id"], **places), "transformers", task, report)
    else:
        loaded = cls.from_pretrained(task["repo_id"], **places)
        report["checked"].append(check_tokenizer(loaded) if "Tokenizer" in name else f"{name} loads")


def check_tokenizer(tokenizer: Any) -> str:
    sentence = "a photo of a cat that sleeps on a chair"
    ids = list(tokenizer(sentence)["input_ids"])
    if set(ids) <= set(tokenizer.all_special_ids):
        raise Problem("load tokenizer", f"{sentence!r} becomes {ids[:10]!r}: nothing but special and unknown tokens")
    return f"{type(tokenizer).__name__} encodes a sentence to {len(ids)} tokens (vocabulary {len(tokenizer)})"


def find_class(task: Any) -> Any:
    """The library's class; or the checkout's, registered by its own name or a neighbour of its type's loader."""
    if not task["root"]:
        return getattr(importlib.import_module(task["library"]), task["class_name"])
    channel.enter_checkout(task["root"], task["folder"])
    registry = importlib.import_module(task["package"] + ".registry").MODELS
    cls = registry.get(task["class_name"])
    if not hasattr(cls, "config_class"):
        cls = getattr(sys.modules[registry.get(task["type_name"]).__module__], task["class_name"])
    skip_nested_weights(task["cache_dir"])
    return cls


def skip_nested_weights(cache_dir: str) -> None:
    """Nested ``from_pretrained`` of diffusers give the structure alone: their weights are tasks of their own."""
    import diffusers

    def from_pretrained(cls: Any, name: Any, **keywords: Any) -> Any:
        known = {key: keywords[key] for key in ("subfolder", "revision") if keywords.get(key)}
        folder = keywords.get("cache_dir") or cache_dir
        return cls.from_config(cls.load_config(name, cache_dir=folder, local_files_only=True, **known))

    diffusers.ModelMixin.from_pretrained = classmethod(from_pretrained)  # type: ignore[arg-type, method-assign, assignment, unused-ignore]


def compare_model(build: Any, config: Any, library: str, task: Any, report: Any) -> None:
    """Build the model on the meta device, and compare it with the weights that ``library`` would read.

    Every parameter and persistent buffer is compared by name, shape and kind of number.
    """
    import torch

    report["stage"] = "model"
    with torch.device("meta"):
        model = build(config)
    with contextlib.suppress(Exception):  # a name that stays alone is then reported as missing
        model.tie_weights()
    report["stage"] = "weights"
    found = read_all_weights(task, library)
    report["stage"] = "parameters"
    expected = model.state_dict(keep_vars=True)
    rename_old_attention(model, found)
    shared = [name for name in expected if name in found]
    supplied = {id(expected[name]) for name in shared}  # also under the name of a tensor that they are tied to
    mismatched = []
    for name in shared:
        (stored, shape), tensor = found[name], expected[name]
        if shape != tuple(tensor.shape):
            mismatched.append(f"{name}: {list(shape)} in the file, {list(tensor.shape)} in the model")
        if ("f" in stored.lower()) != tensor.is_floating_point():  # BF16 and torch.float32, not I64 or BOOL
            mismatched.append(f"{name}: stored as {stored}, built as {tensor.dtype}")
    known = {*expected, *(name for name, _buffer in model.named_buffers())}
    extra = [name for name in found if name not in known and not name.endswith(".position_ids")]
    parts = {name.split(".")[0] for name in expected}  # of a whole CLIP or T5, the model may be the text half
    missing = [name for name, tensor in expected.items() if id(tensor) not in supplied]
    unexpected = [name for name in extra if name.split(".")[0] in parts]
    for kind, names, words in (
        ("missing", missing, "of the model are in none of the files"),
        ("shape", mismatched, "do not fit the model"),
        ("unexpected", unexpected, "in the files are not in the model"),
    ):
        if names:
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            report["problems"].append({"kind": kind, "message": f"{len(names)} parameters {words}: {shown}"})
    report["checked"].append(f"{len(shared)} of {len(expected)} tensors of {type(model).__name__} match")


def rename_old_attention(model: Any, found: dict[str, Any]) -> None:
    """diffusers reads ``query``/``key``/``value``/``proj_attn`` where a block says that it may."""
    for path, module in model.named_modules():
        for old, new in OLD_ATTENTION if getattr(module, "_from_deprecated_attn_block", False) else ():
            for part in ("weight", "bias"):
                if f"{path}.{old}.{part}" in found:
                    found[f"{path}.{new}.{part}"] = found.pop(f"{path}.{old}.{part}")


def locate(task: Any, name: str) -> str | None:
    """The path of a file of the repo in the cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    name = os.path.join(task["subfolder"].strip("/"), name)
    folder, revision = task["cache_dir"] or None, task["revision"] or None
    found = try_to_load_from_cache(task["repo_id"], name, cache_dir=folder, revision=revision)
    return found if isinstance(found, str) else None


def read_all_weights(task: Any, library: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of every tensor of the weights that ``library`` would read."""
    name = next((name for name in WEIGHTS[library] if locate(task, name) is not None), None)
    if name is None:
        raise Problem("no_weights", f"none of {', '.join(WEIGHTS[library])} is there")
    shards = read_shard_index(str(locate(task, name))).values() if name.endswith(".json") else [name]
    found = {}
    for shard in sorted(set(shards)):
        if (path := locate(task, shard)) is None:
            raise Problem("no_weights", f"{shard}, which {name} lists, is not there")
        found.update(read_weights(path))
    return found


def read_weights(path: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of each tensor in one file: by its header, or by torch's restricted unpickler on no device."""
    try:
        if path.endswith(".safetensors"):
            return read_safetensors_header(path)
        import torch

        state = torch.load(path, map_location="meta", weights_only=True)
        tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    except WeightsError as error:
        raise Problem("load weights", f"{path} {error}") from error
    except Exception as error:
        text = " ".join(str(error).split())
        code = re.search("unsupported global.{,80}", text, re.IGNORECASE)  # one that no state dict has a use for
        if code is not None:
            raise Problem("unsafe", f"{path} is a pickle that would run code: {code[0]}") from error
        raise Problem("load weights", f"{path} does not read ({type(error).__name__}: {text[:200]})") from error
    return {name: (str(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items()}
