"""Compares models, built on the meta device, with the headers of their weights; runs by path, as a child."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __name__ != "__main__":
    from rewriter.process.probes import channel, parameters
    from rewriter.verify import weights_files
else:
    import channel
    import parameters

    sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "verify")
    import weights_files

    # Neither these folders nor these names may stand in the way of what the checkout imports.
    del sys.path[0], sys.modules["channel"], sys.modules["parameters"], sys.modules["weights_files"]

SENTENCE = "a photo of a cat that sleeps on a chair"

# The order in which each library looks for weights (transformers 4.39-5, diffusers 0.27-0.39).
WEIGHTS = {
    "transformers": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
    "diffusers": (
        "diffusion_pytorch_model.safetensors.index.json",
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.bin",
    ),
}
# The format's own names (safetensors README) and torch's.
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


class Stop(Exception):  # noqa: N818 - no error: the problem is noted already
    """Ends the check of one task after its problem was noted."""


class Report:
    """What is known so far of one task: filled in while it is checked, sent when it ends."""

    def __init__(self) -> None:
        self.stage = "library"
        self.checked: list[str] = []
        self.notes: list[str] = []
        self.problems: list[dict[str, Any]] = []
        self.deferred = ""

    def list_problem(self, kind: str, names: list[str]) -> None:
        """Note a problem with all its names: the first ten of them are shown."""
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        self.problems.append({"kind": kind, "message": ", ".join(names[:10]) + more, "count": len(names)})

    def stop(self, kind: str, message: str) -> Stop:
        self.problems.append({"kind": kind, "message": message, "count": 0})
        return Stop(message)


def main() -> None:
    channel.Channel().serve(answer)


def answer(task: Any) -> dict[str, Any]:
    """Check one hub call; every failure becomes a problem of the report."""
    began = time.monotonic()
    report = Report()
    try:
        check_from_pretrained(task, report) if task["kind"] == "from_pretrained" else check_file(task, report)
    except Stop:
        pass
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        found = channel.describe_error(error, task["root"])
        report.problems.append(dict(found, kind="exception", stage=report.stage))
    return dict(vars(report), seconds=time.monotonic() - began)


def check_file(task: Any, report: Report) -> None:
    """``hf_hub_download``: the file is there, and if it holds weights its header reads."""
    name = task["filename"]
    if not name:
        report.deferred = task["kind"] + " requests files that only level cache can list"
        return
    path = locate(task, name)
    if path is None:
        raise report.stop("no_weights", f"{name} is not there")
    if name.endswith((".safetensors", ".bin", ".pt", ".pth", ".ckpt")):
        report.checked.append(f"{name} holds {len(read_weights(path, report))} tensors")
    else:
        report.checked.append(f"{name} is there")


def check_from_pretrained(task: Any, report: Report) -> None:
    if task["folder"]:
        check_checkout_class(task, report)
        return
    module = importlib.import_module(task["library"])
    name = task["class_name"]
    cls = getattr(module, name, None)
    if cls is None:
        version = getattr(module, "__version__", "?")
        raise report.stop("no_class", "{} {} has no class {}".format(task["library"], version, name))
    places = {key: task[key] for key in ("cache_dir", "revision", "subfolder") if task[key]}
    places["local_files_only"] = True
    if hasattr(cls, "state_dict") and hasattr(cls, "load_config"):
        report.stage = "config"
        config = cls.load_config(task["repo_id"], **places)
        compare_model(cls.from_config, config, "diffusers", task, report)
    elif hasattr(cls, "config_class") or hasattr(cls, "_model_mapping"):
        report.stage = "config"
        auto = hasattr(cls, "_model_mapping")
        config = (module.AutoConfig if auto else cls.config_class).from_pretrained(task["repo_id"], **places)
        compare_model(cls.from_config if auto else cls, config, "transformers", task, report)
    else:
        report.stage = "tokenizer" if "Tokenizer" in name else "config"
        loaded = cls.from_pretrained(task["repo_id"], **places)
        report.checked.append(check_tokenizer(loaded, report) if "Tokenizer" in name else f"{name} loads")


def check_tokenizer(tokenizer: Any, report: Report) -> str:
    ids = list(tokenizer(SENTENCE)["input_ids"])
    special = set(tokenizer.all_special_ids)
    if all(token in special for token in ids):
        text = f"{SENTENCE!r} becomes {ids[:10]!r}: nothing but special and unknown tokens"
        raise report.stop("tokens", text)
    return f"{type(tokenizer).__name__} encodes a sentence to {len(ids)} tokens (vocabulary {len(tokenizer)})"


def compare_model(build: Any, config: Any, library: str, task: Any, report: Report) -> None:
    """Build the model on the meta device, and compare it with the weights that ``library`` would read."""
    import torch

    report.stage = "model"
    with torch.device("meta"):
        model = build(config)
    with contextlib.suppress(Exception):  # a name that stays alone is then reported as missing
        model.tie_weights()
    report.stage = "weights"
    parameters.compare(model, read_all_weights(task, library, report), report)


def check_checkout_class(task: Any, report: Report) -> None:
    """A ``PreTrainedModel`` of the checkout's own: through its import if that works, else it is left to level build.

    The class is registered under its own name, or a neighbour of the loader that is registered under the type.
    """
    if locate(task, "config.json") is None:
        raise report.stop("no_weights", "config.json is not there")
    try:
        channel.enter_checkout(task["root"], task["folder"])
        registry = importlib.import_module(task["library"] + ".registry").MODELS
        cls = registry.get(task["class_name"])
        if not hasattr(cls, "config_class"):
            loader = registry.get(task["type_name"])
            cls = getattr(sys.modules[loader.__module__], task["class_name"])
        config = cls.config_class.from_pretrained(os.path.dirname(str(locate(task, "config.json"))))
        skip_nested_weights(task["cache_dir"])
        compare_model(cls, config, "transformers", task, report)
    except Stop:
        raise
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        report.deferred = type(error).__name__ + ": " + " ".join(str(error).split())[:300]


def skip_nested_weights(cache_dir: str) -> None:
    """Nested ``from_pretrained`` of diffusers give the structure alone: their weights are tasks of their own."""
    import diffusers

    def from_pretrained(cls: Any, name: Any, **keywords: Any) -> Any:
        known = {key: keywords[key] for key in ("subfolder", "revision") if keywords.get(key)}
        folder = keywords.get("cache_dir") or cache_dir
        return cls.from_config(cls.load_config(name, cache_dir=folder, local_files_only=True, **known))

    diffusers.ModelMixin.from_pretrained = classmethod(from_pretrained)  # type: ignore[arg-type, method-assign, assignment, unused-ignore]


# --- weights: files --------------------------------------------------------------------------------


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


def read_all_weights(task: Any, library: str, report: Report) -> parameters.Tensors:
    """Shape and dtype of every tensor of the weights that ``library`` would read."""
    name = next((name for name in WEIGHTS[library] if locate(task, name) is not None), None)
    if name is None:
        names = ", ".join(name for name in WEIGHTS[library] if not name.endswith(".json"))
        raise report.stop("no_weights", f"none of {names} is there")
    shards = [name]
    if name.endswith(".json"):
        path = str(locate(task, name))
        try:
            shards = sorted(set(weights_files.read_shard_index(path).values()))
        except weights_files.WeightsError as error:
            raise report.stop("corrupt", f"{path} {error}") from error
    absent = [shard for shard in shards if locate(task, shard) is None]
    if absent:
        text = f"{len(absent)} of {len(shards)} files that {name} lists are not there: {', '.join(absent[:10])}"
        raise report.stop("no_weights", text)
    found: parameters.Tensors = {}
    for shard in shards:
        found.update(read_weights(str(locate(task, shard)), report))
    return found


def read_weights(path: str, report: Report) -> parameters.Tensors:
    """Shape and dtype of each tensor in one file: by its header, or by torch's restricted unpickler on no device."""
    with open(path, "rb") as file:
        if file.read(64).startswith(b"version https://git-lfs"):
            raise report.stop("corrupt", f"{path} is a Git-LFS pointer, not the weights")
    if path.endswith(".safetensors"):
        try:
            tensors = weights_files.read_safetensors_header(path).tensors
        except weights_files.WeightsError as error:
            raise report.stop("corrupt", f"{path} {error}") from error
        return {name: (shape, DTYPES.get(dtype, dtype)) for name, (dtype, shape) in tensors.items()}
    import torch

    try:
        state = torch.load(path, map_location="meta", weights_only=True)
        items = [(name, value) for name, value in state.items() if isinstance(value, torch.Tensor)]
    except Exception as error:
        text = " ".join(str(error).split())
        place = text.lower().find("unsupported global")  # one that no state dict has a use for
        if place >= 0:
            raise report.stop("unsafe", f"{path} is a pickle that would run code: {text[place:][:100]}") from error
        raise report.stop("corrupt", f"{path} does not read ({type(error).__name__}: {text[:200]})") from error
    return {name: (tuple(tensor.shape), str(tensor.dtype).replace("torch.", "")) for name, tensor in items}


if __name__ == "__main__":
    main()
