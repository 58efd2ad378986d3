"""Compares models, built on the meta device, with the headers of their weights; runs by path, as a child."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Dict, Tuple  # noqa: UP035

if TYPE_CHECKING or __name__ != "__main__":
    from rewriter.process.probes import channel, weights_files
else:
    import channel
    import weights_files

Tensors = Dict[str, Tuple[Tuple[int, ...], str]]  # noqa: UP006 - name -> shape, and dtype as torch spells it
SENTENCE = "a photo of a cat that sleeps on a chair"

# The order in which each library looks for weights (transformers 4.39-5, diffusers 0.27-0.39).
WEIGHTS = {
    "transformers": ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                     "pytorch_model.bin.index.json"),
    "diffusers": ("diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model.safetensors",
                  "diffusion_pytorch_model.bin"),
}  # fmt: skip
# The format's own names (safetensors README) and torch's.
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
# AutoencoderKL's attention before diffusers 0.18 (ModelMixin._fix_state_dict_keys_on_load).
OLD_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))


class Problem(Exception):  # noqa: N818 - one of the weights or the libraries, not of this program
    """Ends the check of one task. ``kind``: a key of the table of problems in ``rewriter.verify.levels``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def answer(task: Any) -> dict[str, Any]:
    """Check one hub call; every failure becomes a problem of the report."""
    began = time.monotonic()
    report: Any = {"stage": "library", "checked": [], "notes": [], "problems": [], "deferred": ""}
    try:
        check_from_pretrained(task, report) if task["kind"] == "from_pretrained" else check_file(task, report)
    except Problem as problem:
        report["problems"].append({"kind": problem.kind, "message": str(problem), "count": 0})
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        found = channel.describe_error(error, task["root"])
        report["problems"].append(dict(found, kind="exception", stage=report["stage"]))
    return dict(report, seconds=time.monotonic() - began)


def check_file(task: Any, report: Any) -> None:
    """``hf_hub_download``: the file is there, and if it holds weights its header reads."""
    name = task["filename"]
    if not name:
        report["deferred"] = task["kind"] + " requests files that only level cache can list"
        return
    path = locate(task, name)
    if path is None:
        raise Problem("no_weights", f"{name} is not there")
    weights = name.endswith((".safetensors", ".bin", ".pt", ".pth", ".ckpt"))
    report["checked"].append(f"{name} holds {len(read_weights(path))} tensors" if weights else f"{name} is there")


def check_from_pretrained(task: Any, report: Any) -> None:
    if task["folder"]:
        check_checkout_class(task, report)
        return
    module = importlib.import_module(task["library"])
    name = task["class_name"]
    cls = getattr(module, name, None)
    if cls is None:
        version = getattr(module, "__version__", "?")
        raise Problem("no_class", "{} {} has no class {}".format(task["library"], version, name))
    places = {key: task[key] for key in ("cache_dir", "revision", "subfolder") if task[key]}
    places["local_files_only"] = True
    report["stage"] = "tokenizer" if "Tokenizer" in name else "config"
    if hasattr(cls, "state_dict") and hasattr(cls, "load_config"):
        compare_model(cls.from_config, cls.load_config(task["repo_id"], **places), "diffusers", task, report)
    elif hasattr(cls, "_model_mapping"):
        config = module.AutoConfig.from_pretrained(task["repo_id"], **places)
        compare_model(cls.from_config, config, "transformers", task, report)
    elif hasattr(cls, "config_class"):
        compare_model(cls, cls.config_class.from_pretrained(task["repo_id"], **places), "transformers", task, report)
    else:
        loaded = cls.from_pretrained(task["repo_id"], **places)
        report["checked"].append(check_tokenizer(loaded) if "Tokenizer" in name else f"{name} loads")


def check_tokenizer(tokenizer: Any) -> str:
    ids = list(tokenizer(SENTENCE)["input_ids"])
    if set(ids) <= set(tokenizer.all_special_ids):
        raise Problem("tokens", f"{SENTENCE!r} becomes {ids[:10]!r}: nothing but special and unknown tokens")
    return f"{type(tokenizer).__name__} encodes a sentence to {len(ids)} tokens (vocabulary {len(tokenizer)})"


def check_checkout_class(task: Any, report: Any) -> None:
    """A ``PreTrainedModel`` of the checkout's own: through its import if that works, else it is left to level build.

    The class is registered under its own name, or a neighbour of the loader that is registered under the type.
    """
    path = locate(task, "config.json")
    if path is None:
        raise Problem("no_weights", "config.json is not there")
    try:
        channel.enter_checkout(task["root"], task["folder"])
        registry = importlib.import_module(task["library"] + ".registry").MODELS
        cls = registry.get(task["class_name"])
        if not hasattr(cls, "config_class"):
            loader = registry.get(task["type_name"])
            cls = getattr(sys.modules[loader.__module__], task["class_name"])
        config = cls.config_class.from_pretrained(os.path.dirname(path))
        skip_nested_weights(task["cache_dir"])
        compare_model(cls, config, "transformers", task, report)
    except Problem:
        raise
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        report["deferred"] = type(error).__name__ + ": " + " ".join(str(error).split())[:300]


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
    shared = [(name, tensor, *found[name]) for name, tensor in expected.items() if name in found]
    supplied = {id(tensor) for _, tensor, _, _ in shared}  # also under the name of a tensor that they are tied to
    mismatched = []
    for name, tensor, shape, stored in shared:
        built = str(tensor.dtype).replace("torch.", "")
        if shape != tuple(tensor.shape):
            mismatched.append(f"{name}: {list(shape)} in the file, {list(tensor.shape)} in the model")
        if ("float" in stored) != ("float" in built):
            mismatched.append(f"{name}: stored as {stored}, built as {built}")
    known = {*expected, *(name for name, _buffer in model.named_buffers())}
    extra = [name for name in found if name not in known and not name.endswith(".position_ids")]
    # Parts that the model lacks (a whole CLIP or T5, read into its text half) are as they should be.
    parts = {name.split(".")[0] for name in expected}
    foreign = sorted({name.split(".")[0] for name in extra} - parts)
    problems = {
        "missing": [name for name, tensor in expected.items() if id(tensor) not in supplied],
        "shape": mismatched,
        "unexpected": [name for name in extra if name.split(".")[0] in parts],
    }
    for kind, names in problems.items():
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            report["problems"].append({"kind": kind, "message": ", ".join(names[:10]) + more, "count": len(names)})
    report["checked"].append(f"{len(shared)} of {len(expected)} tensors of {type(model).__name__} match")
    if foreign:
        report["notes"].append(f"the files hold other parts of a larger model too ({', '.join(foreign[:10])})")


def rename_old_attention(model: Any, found: dict[str, Any]) -> None:
    """diffusers reads ``query``/``key``/``value``/``proj_attn`` where a block says that it may."""
    for path, module in model.named_modules():
        for old, new in OLD_ATTENTION if getattr(module, "_from_deprecated_attn_block", False) else ():
            for part in ("weight", "bias"):
                if f"{path}.{old}.{part}" in found:
                    found[f"{path}.{new}.{part}"] = found.pop(f"{path}.{old}.{part}")


def locate(task: Any, name: str) -> str | None:
    """The path of a file of the repo (in the cache, or in a local folder), or None."""
    if task["subfolder"]:
        name = task["subfolder"].strip("/") + "/" + name
    if os.path.isdir(task["repo_id"]):
        path = os.path.join(task["repo_id"], name)
        return path if os.path.isfile(path) else None
    from huggingface_hub import try_to_load_from_cache

    folder, revision = task["cache_dir"] or None, task["revision"] or None
    found = try_to_load_from_cache(task["repo_id"], name, cache_dir=folder, revision=revision)
    return found if isinstance(found, str) else None


def read_all_weights(task: Any, library: str) -> Tensors:
    """Shape and dtype of every tensor of the weights that ``library`` would read."""
    name = next((name for name in WEIGHTS[library] if locate(task, name) is not None), None)
    if name is None:
        raise Problem("no_weights", f"none of {', '.join(WEIGHTS[library])} is there")
    shards = [name]
    if name.endswith(".json"):
        shards = sorted(set(read_header(weights_files.read_shard_index, str(locate(task, name))).values()))
    paths = {shard: locate(task, shard) for shard in shards}
    absent = [shard for shard in shards if paths[shard] is None]
    if absent:
        message = f"{len(absent)} of {len(shards)} files that {name} lists are not there: {', '.join(absent[:10])}"
        raise Problem("no_weights", message)
    return {name: tensor for path in paths.values() for name, tensor in read_weights(str(path)).items()}


def read_header(read: Any, path: str) -> Any:
    try:
        return read(path)
    except weights_files.WeightsError as error:
        raise Problem("corrupt", f"{path} {error}") from error


def read_weights(path: str) -> Tensors:
    """Shape and dtype of each tensor in one file: by its header, or by torch's restricted unpickler on no device."""
    with open(path, "rb") as file:
        if file.read(64).startswith(b"version https://git-lfs"):
            raise Problem("corrupt", f"{path} is a Git-LFS pointer, not the weights")
    if path.endswith(".safetensors"):
        tensors = read_header(weights_files.read_safetensors_header, path)
        return {name: (shape, DTYPES.get(dtype, dtype)) for name, (dtype, shape) in tensors.items()}
    import torch

    try:
        state = torch.load(path, map_location="meta", weights_only=True)
        items = [(name, value) for name, value in state.items() if isinstance(value, torch.Tensor)]
    except Exception as error:
        text = " ".join(str(error).split())
        place = text.lower().find("unsupported global")  # one that no state dict has a use for
        if place >= 0:
            raise Problem("unsafe", f"{path} is a pickle that would run code: {text[place:][:100]}") from error
        raise Problem("corrupt", f"{path} does not read ({type(error).__name__}: {text[:200]})") from error
    return {name: (tuple(tensor.shape), str(tensor.dtype).replace("torch.", "")) for name, tensor in items}


if __name__ == "__main__":
    channel.Channel().serve(answer)
