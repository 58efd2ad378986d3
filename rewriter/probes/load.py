"""Compares models, built on the meta device, with the headers of their weights; runs by path, as a child."""

from __future__ import annotations

import contextlib
import json
import os
import pickletools
import re
import struct
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __name__ != "__main__":
    from rewriter.probes import channel
else:
    import channel

    # Neither this folder nor that name may stand in the way of what the checkout imports.
    del sys.path[0], sys.modules["channel"]

SENTENCE = "a photo of a cat that sleeps on a chair"
NAMES_TOLD = 10

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
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}

# What a state dict consists of (torch/_weights_only_unpickler.py); everything else could be a call of anything.
SAFE_GLOBALS = re.compile(
    r"collections (OrderedDict|Counter|defaultdict)|torch \w*(Storage|Size|dtype|device|float|int|bool|half)\w*"
    r"|torch\._utils _rebuild_(tensor|parameter|sparse|meta|wrapper|qtensor)\w*|torch\.nn\.parameter (Parameter|Buffer)"
    r"|torch\.storage (Untyped|Typed)Storage|torch\.serialization _get_layout|torch\._tensor _rebuild_from_type_v2"
    r"|torch Tensor|_codecs encode"
)

# AutoencoderKL's attention before diffusers 0.18 (ModelMixin._fix_state_dict_keys_on_load).
OLD_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))


class Stop(Exception):  # noqa: N818 - no error: the problem is noted already
    """Ends the check of one task after its problem was noted."""


class Report:
    """What is known so far of one task: filled in while it is checked, sent when it ends."""

    def __init__(self) -> None:
        self.stage = "library"
        self.checked: list[str] = []
        self.notes: list[str] = []
        self.problems: list[dict[str, Any]] = []
        self.parameters = 0
        self.elements = 0
        self.files = 0
        self.bytes = 0
        self.deferred = ""

    def problem(self, kind: str, message: str, **more: Any) -> None:
        self.problems.append(dict(more, kind=kind, message=message, stage=self.stage))

    def stop(self, kind: str, message: str, **more: Any) -> Stop:
        self.problem(kind, message, **more)
        return Stop(message)


def main() -> None:
    send, job = channel.open_channel()
    channel.block_sockets()
    send({"event": "ready", "versions": channel.versions()})
    for number, task in job["tasks"]:
        send({"event": "start", "task": number})
        began = time.monotonic()
        report = check(task)
        told = dict(vars(report), seconds=time.monotonic() - began, peak_rss=channel.peak_rss())
        send(dict(told, event="result", task=number))
    send({"event": "end"})
    # Threads and exit handlers of a half-broken environment must not hold up or spoil what has been told.
    os._exit(0)


def check(task: dict[str, Any]) -> Report:
    """Checks one hub call; every failure becomes a problem of the report."""
    report = Report()
    try:
        if task["kind"] == "from_pretrained":
            check_from_pretrained(task, report)
        else:
            check_file(task, report)
    except Stop:
        pass
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        report.problems.append(dict(channel.describe(error, task["root"]), kind="exception", stage=report.stage))
    return report


def check_file(task: dict[str, Any], report: Report) -> None:
    """``hf_hub_download``: the file is there, and if it holds weights its header reads."""
    name = task["filename"]
    if not name:
        report.deferred = "{} asks for files that only level cache can list".format(task["kind"])
        return
    report.stage = "weights"
    path = locate(task, name)
    if path is None:
        raise report.stop("no_weights", f"{name} is not there", repo=task["repo_id"])
    if name.endswith((".safetensors", ".bin", ".pt", ".pth", ".ckpt")):
        tensors = read_weights(path, report)
        report.checked.append(f"{name} holds {len(tensors)} tensors")
    else:
        report.checked.append(f"{name} is there")


def check_from_pretrained(task: dict[str, Any], report: Report) -> None:
    if task["library"] == "opensora":
        check_checkout_class(task, report)
        return
    module = __import__(task["library"])
    cls = getattr(module, task["class_name"], None)
    if cls is None:
        text = "{} {} has no class {}".format(task["library"], getattr(module, "__version__", "?"), task["class_name"])
        raise report.stop("no_class", text)
    if hasattr(cls, "load_config"):
        check_diffusers(cls, task, report)
    elif hasattr(cls, "config_class") or hasattr(cls, "_model_mapping"):
        check_transformers(cls, task, report)
    elif "Tokenizer" in task["class_name"]:
        check_tokenizer(cls, task, report)
    else:
        report.stage = "config"
        cls.from_pretrained(task["repo_id"], **where(task))
        report.checked.append("{} loads".format(task["class_name"]))


def where(task: dict[str, Any]) -> dict[str, Any]:
    """The keywords of ``from_pretrained`` that say where to read."""
    given = {"cache_dir": task["cache_dir"], "revision": task["revision"], "subfolder": task["subfolder"]}
    return dict({key: value for key, value in given.items() if value}, local_files_only=True)


# --- tokenizers ------------------------------------------------------------------------------------


def check_tokenizer(cls: Any, task: dict[str, Any], report: Report) -> None:
    report.stage = "tokenizer"
    tokenizer = cls.from_pretrained(task["repo_id"], **where(task))
    ids = list(tokenizer(SENTENCE)["input_ids"])
    special = set(tokenizer.all_special_ids)
    words = [token for token in ids if token not in special]
    if not words:
        text = f"{SENTENCE!r} becomes {ids[:NAMES_TOLD]!r}: nothing but special and unknown tokens"
        raise report.stop("tokens", text)
    report.checked.append(
        f"{type(tokenizer).__name__} encodes a sentence to {len(ids)} tokens (vocabulary {len(tokenizer)})"
    )


# --- models ----------------------------------------------------------------------------------------


def check_transformers(cls: Any, task: dict[str, Any], report: Report) -> None:
    import torch
    import transformers

    report.stage = "config"
    auto = hasattr(cls, "_model_mapping")
    config_class = transformers.AutoConfig if auto else cls.config_class
    config = config_class.from_pretrained(task["repo_id"], **where(task))
    report.stage = "model"
    with torch.device("meta"):
        model = cls.from_config(config) if auto else cls(config)
    tie(model)
    compare(model, read_all(task, "transformers", report), report)


def check_diffusers(cls: Any, task: dict[str, Any], report: Report) -> None:
    import torch

    report.stage = "config"
    config = cls.load_config(task["repo_id"], **where(task))
    if not hasattr(cls, "state_dict"):  # a scheduler or a processor: it has no weights
        cls.from_config(config)
        report.checked.append("{} loads".format(task["class_name"]))
        return
    report.stage = "model"
    with torch.device("meta"):
        model = cls.from_config(config)
    compare(model, read_all(task, "diffusers", report), report)


def check_checkout_class(task: dict[str, Any], report: Report) -> None:
    """A ``PreTrainedModel`` of the checkout's own: through its import if that works, else it is left to level build."""
    try:
        import torch

        cls = checkout_class(task)
        config = cls.config_class.from_pretrained(task["repo_id"], **where(task))
        structure_only(task)
        with torch.device("meta"):
            model = cls(config)
        refuse_version_5(model)
        tie(model)
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        told = channel.describe(error, task["root"])
        if "all_tied_weights_keys" in told["chain"][0]["message"]:
            report.problems.append(dict(told, kind="exception", stage="model"))
            return
        if told["repo"] and told["chain"][-1]["type"] != "ModuleNotFoundError" and not locate(task, "config.json"):
            report.stage = "config"
            report.problems.append(dict(told, kind="exception", stage="config"))
            return
        report.deferred = channel.first_line(told)
        return
    compare(model, read_all(task, "transformers", report), report)


def refuse_version_5(model: Any) -> None:
    """transformers 5 reads ``all_tied_weights_keys``, which ``post_init`` sets and these classes never call."""
    import transformers

    version = int(transformers.__version__.split(".")[0])
    if version >= 5 and hasattr(model, "tie_weights"):  # pragma: no cover - [load] has transformers below 5
        model.all_tied_weights_keys  # noqa: B018 - its AttributeError is what from_pretrained would raise


def checkout_class(task: dict[str, Any]) -> Any:
    """The class: registered under its own name, or a neighbour of the loader that is registered under the type."""
    os.chdir(task["root"])
    if task["root"] not in sys.path:
        sys.path.insert(0, task["root"])
    import importlib

    registry = importlib.import_module("opensora.registry").MODELS
    cls = registry.get(task["class_name"])
    if not hasattr(cls, "config_class"):
        loader = registry.get(task["type_name"])
        cls = getattr(sys.modules[loader.__module__], task["class_name"])
    return cls


def structure_only(task: dict[str, Any]) -> None:
    """Nested ``from_pretrained`` of diffusers give the structure alone: their weights are tasks of their own."""
    import diffusers

    def from_pretrained(cls: Any, name: str, **keywords: Any) -> Any:
        known = {key: keywords[key] for key in ("subfolder", "revision") if keywords.get(key)}
        folder = keywords.get("cache_dir") or task["cache_dir"]
        return cls.from_config(cls.load_config(name, cache_dir=folder, local_files_only=True, **known))

    diffusers.ModelMixin.from_pretrained = classmethod(from_pretrained)  # type: ignore


def tie(model: Any) -> None:
    """Ties what the class ties, where it can; a name that stays alone is then reported as missing."""
    with contextlib.suppress(Exception):
        model.tie_weights()


# --- weights: files --------------------------------------------------------------------------------


def locate(task: dict[str, Any], name: str) -> str | None:
    """The path of a file of the repo in the cache (or in a local folder), or None."""
    if task["subfolder"]:
        name = task["subfolder"].strip("/") + "/" + name
    if os.path.isdir(task["repo_id"]):
        path = os.path.join(task["repo_id"], name)
        return path if os.path.isfile(path) else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        task["repo_id"], name, cache_dir=task["cache_dir"] or None, revision=task["revision"] or None
    )
    return found if isinstance(found, str) else None


def read_all(task: dict[str, Any], library: str, report: Report) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of every tensor of the weights that ``library`` would read."""
    report.stage = "weights"
    for name in WEIGHTS[library]:
        path = locate(task, name)
        if path is not None:
            break
    else:
        text = "none of {} is there".format(", ".join(name for name in WEIGHTS[library] if not name.endswith(".json")))
        raise report.stop("no_weights", text, repo=task["repo_id"])
    names = shards(path, report) if name.endswith(".json") else [name]
    if names[0].endswith(".bin") and library == "transformers":
        refuse_old_torch()
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    absent = []
    for shard in names:
        place = locate(task, shard)
        if place is None:
            absent.append(shard)
        else:
            found.update(read_weights(place, report))
    if absent:
        text = f"{len(absent)} of {len(names)} files that {name} lists are not there"
        raise report.stop("missing_shard", text, names=absent[:NAMES_TOLD], count=len(absent), repo=task["repo_id"])
    return found


def shards(index: str, report: Report) -> list[str]:
    try:
        with open(index, encoding="utf-8") as file:
            names = sorted(set(json.load(file)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise report.stop("corrupt", f"{index} is not an index of shards ({error})") from error
    if not names:
        raise report.stop("corrupt", f"{index} lists no shards")
    return names


def refuse_old_torch() -> None:
    """transformers' own check (4.50 and later): pickles only with torch >= 2.6."""
    try:
        from transformers.utils.import_utils import check_torch_load_is_safe
    except ImportError:  # pragma: no cover - transformers before 4.50
        return
    check_torch_load_is_safe()


def read_weights(path: str, report: Report) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of each tensor in one file, by its header alone."""
    report.files += 1
    report.bytes += os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise report.stop("corrupt", f"{path} is a Git-LFS pointer, not the weights")
    if path.endswith(".safetensors"):
        return read_safetensors(path, report)
    return read_pickle(path, report)


def read_safetensors(path: str, report: Report) -> dict[str, tuple[tuple[int, ...], str]]:
    """The header of a safetensors file: 8 bytes of length (little-endian), then JSON; and the size that it promises."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        first = file.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else -1
        if not 2 <= length <= min(size - 8, 100_000_000):
            raise report.stop("corrupt", f"{path} ({size} bytes) has no safetensors header")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        found = {name: (tuple(one["shape"]), DTYPES.get(one["dtype"], one["dtype"])) for name, one in header.items()}
        promised = 8 + length + max([one["data_offsets"][1] for one in header.values()] or [0])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise report.stop("corrupt", f"the safetensors header of {path} does not read ({error})") from error
    if promised != size:
        how = "cut short" if size < promised else "too long"
        raise report.stop("corrupt", f"{path} is {how}: {size} bytes, its header promises {promised}")
    return found


def read_pickle(path: str, report: Report) -> dict[str, tuple[tuple[int, ...], str]]:
    """A ``.bin``: torch's restricted unpickler, tensors on the meta device; what it refuses is looked at, never run."""
    import torch

    try:
        try:
            state = torch.load(path, map_location="meta", weights_only=True, mmap=True)
        except (TypeError, RuntimeError):  # torch < 2.1, or a file of before torch 1.6
            state = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:
        strange = strange_globals(path)
        if strange:
            names = [name.replace(" ", ".") for name in strange]
            text = "{} is a pickle that would run code: {}".format(path, ", ".join(names[:NAMES_TOLD]))
            raise report.stop("unsafe", text, names=names[:NAMES_TOLD], count=len(names)) from error
        cause = str(error).splitlines()[0:1] or [""]
        text = f"{path} does not read ({type(error).__name__}: {cause[0][:200]})"
        raise report.stop("corrupt", text) from error
    if not isinstance(state, dict):
        raise report.stop("corrupt", f"{path} holds a {type(state).__name__}, not a state dict")
    return {
        name: (tuple(tensor.shape), str(tensor.dtype).replace("torch.", ""))
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor)
    }


def strange_globals(path: str) -> list[str]:
    """Globals ("module name") that the pickles in a ``.bin`` name and a state dict has no use for; nothing is run."""
    found: list[str] = []
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".pkl"):
                        with archive.open(name) as stream:
                            found.extend(globals_of(stream))
        else:  # torch before 1.6: a magic number, a version, system facts, the state dict, keys; then raw bytes
            with open(path, "rb") as stream:
                for _pickle in range(5):
                    found.extend(globals_of(stream))
    except Exception:  # noqa: BLE001 - damaged: what was seen until there counts
        pass
    return sorted({name for name in found if not SAFE_GLOBALS.fullmatch(name)})


def globals_of(stream: Any) -> Any:
    """Yields "module name" for each global that one pickle asks for."""
    strings: list[str] = []
    memo: dict[int, str] = {}
    for opcode, argument, _position in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield argument
        elif opcode.name == "STACK_GLOBAL":
            yield " ".join(strings[-2:]) if len(strings) > 1 else "unknown global"
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument or 0)] = strings[-1] if strings else ""
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            strings.append(memo.get(int(argument or 0), ""))
        elif isinstance(argument, str):
            strings.append(argument)


# --- weights: names, shapes, dtypes ----------------------------------------------------------------


def compare(model: Any, found: dict[str, tuple[tuple[int, ...], str]], report: Report) -> None:
    """Every parameter and persistent buffer of the model against what the files hold."""
    report.stage = "parameters"
    expected = model.state_dict(keep_vars=True)
    found = renamed(model, expected, found)
    missing = find_missing(model, expected, found)
    mismatched = [
        f"{name}: {list(found[name][0])} in the file, {list(tensor.shape)} in the model"
        for name, tensor in expected.items()
        if name in found and found[name][0] != tuple(tensor.shape)
    ]
    unexpected, foreign = find_unexpected(model, expected, found)
    for kind, names in (("missing", missing), ("shape", mismatched), ("unexpected", unexpected)):
        if names:
            report.problem(kind, ", ".join(names[:NAMES_TOLD]), names=names[:NAMES_TOLD], count=len(names))
    report.parameters = sum(name in found for name in expected)
    matched_once = {id(tensor): tensor.numel() for name, tensor in expected.items() if name in found}
    report.elements = sum(matched_once.values())
    matched = report.parameters - len(mismatched)
    report.checked.append(f"{matched} of {len(expected)} tensors of {type(model).__name__} match")
    if foreign:
        parts = ", ".join(sorted({name.split(".")[0] for name in foreign})[:NAMES_TOLD])
        report.notes.append(f"{len(foreign)} tensors belong to other parts of a larger model ({parts})")
    note_dtypes(expected, found, report)


def note_dtypes(expected: dict[str, Any], found: dict[str, tuple[tuple[int, ...], str]], report: Report) -> None:
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
        report.problem("shape", ", ".join(other[:NAMES_TOLD]), names=other[:NAMES_TOLD], count=len(other))
    report.notes.extend(
        f"{times} tensors are {pair} (unless the loader names a dtype)" for pair, times in counts.items()
    )


def renamed(model: Any, expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The files' names as the library reads them into this class."""
    out: dict[str, Any] = {}
    mapping = getattr(model, "_checkpoint_conversion_mapping", None) or {}
    fix = getattr(model, "_fix_state_dict_key_on_load", None)
    transforms = version_5_renamings(model)
    for name, one in found.items():
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
        out[new] = one
    out = with_prefix(getattr(model, "base_model_prefix", ""), expected, out)
    return with_old_attention(model, expected, out)


def version_5_renamings(model: Any) -> list[Any]:
    """transformers 5 keeps its renamings in a table (its CLIPTextModel lost the ``text_model.`` of the files)."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming  # pragma: no cover - transformers 5

        every = get_model_conversion_mapping(model)  # pragma: no cover - transformers 5
        return [one for one in every if isinstance(one, WeightRenaming)]  # pragma: no cover - transformers 5
    except Exception:  # noqa: BLE001 - another version, or a class that it does not know
        return []


def with_prefix(prefix: str, expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Weights of a bare model read into one with a head, or the other way round (PreTrainedModel.from_pretrained)."""
    if not prefix:
        return found
    dotted = prefix + "."
    stored = any(name.startswith(dotted) for name in found)
    asked = any(name.startswith(dotted) for name in expected)
    if asked and not stored:
        return {name if name in expected else dotted + name: one for name, one in found.items()}
    if stored and not asked:
        return {name[len(dotted) :] if name.startswith(dotted) else name: one for name, one in found.items()}
    return found


def with_old_attention(model: Any, expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
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
    twins: dict[int, list[str]] = {}
    for name, tensor in expected.items():
        twins.setdefault(id(tensor), []).append(name)
    patterns = getattr(model, "_keys_to_ignore_on_load_missing", None) or []
    return [
        name
        for name, tensor in expected.items()
        if not any(twin in found for twin in twins[id(tensor)])
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


if __name__ == "__main__":
    main()
