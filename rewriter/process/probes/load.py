"""Compares models, built on the meta device, with the headers of their weights; runs by path, as a child."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickletools
import re
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __name__ != "__main__":
    from rewriter.process.probes import channel, parameters
else:
    import channel
    import parameters

    # Neither this folder nor these names may stand in the way of what the checkout imports.
    del sys.path[0], sys.modules["channel"], sys.modules["parameters"]

Tensors = parameters.Tensors
NAMES_SHOWN = parameters.NAMES_SHOWN

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

# What a state dict consists of (torch/_weights_only_unpickler.py); everything else could be a call of anything.
SAFE_GLOBALS = re.compile(
    r"collections (OrderedDict|Counter|defaultdict)|torch \w*(Storage|Size|dtype|device|float|int|bool|half)\w*"
    r"|torch\._utils _rebuild_(tensor|parameter|sparse|meta|wrapper|qtensor)\w*|torch\.nn\.parameter (Parameter|Buffer)"
    r"|torch\.storage (Untyped|Typed)Storage|torch\.serialization _get_layout|torch\._tensor _rebuild_from_type_v2"
    r"|torch Tensor|_codecs encode"
)


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

    def list_problem(self, kind: str, names: list[str], message: str | None = None) -> None:
        """Note a problem with all its names: the first ten of them are shown."""
        shown = names[:NAMES_SHOWN]
        self.problem(kind, ", ".join(shown) if message is None else message, names=shown, count=len(names))

    def stop(self, kind: str, message: str) -> Stop:
        self.problem(kind, message)
        return Stop(message)

    def exception(self, error: BaseException, root: str) -> None:
        self.problems.append(dict(channel.describe_error(error, root), kind="exception", stage=self.stage))


def main() -> None:
    link = channel.Channel()
    link.serve(lambda task: answer(task, link.job["reader"]))


def answer(task: dict[str, Any], reader: str) -> dict[str, Any]:
    """Check one hub call; every failure becomes a problem of the report. ``reader``: path of ``weights_files.py``."""
    began = time.monotonic()
    report = Report()
    try:
        files = Files(task, reader, report)
        check_from_pretrained(task, files, report) if task["kind"] == "from_pretrained" else check_file(files, report)
    except Stop:
        pass
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        report.exception(error, task["root"])
    return dict(vars(report), seconds=time.monotonic() - began, peak_rss=channel.peak_rss())


def check_file(files: Files, report: Report) -> None:
    """``hf_hub_download``: the file is there, and if it holds weights its header reads."""
    name = files.task["filename"]
    if not name:
        report.deferred = "{} requests files that only level cache can list".format(files.task["kind"])
        return
    report.stage = "weights"
    path = files.locate(name)
    if path is None:
        raise report.stop("no_weights", f"{name} is not there")
    if name.endswith((".safetensors", ".bin", ".pt", ".pth", ".ckpt")):
        report.checked.append(f"{name} holds {len(files.read(path))} tensors")
    else:
        report.checked.append(f"{name} is there")


def check_from_pretrained(task: dict[str, Any], files: Files, report: Report) -> None:
    if task["folder"]:
        check_checkout_class(task, files, report)
        return
    module = importlib.import_module(task["library"])
    cls = getattr(module, task["class_name"], None)
    if cls is None:
        version = getattr(module, "__version__", "?")
        raise report.stop("no_class", "{} {} has no class {}".format(task["library"], version, task["class_name"]))
    if hasattr(cls, "load_config"):
        check_diffusers(cls, task, files, report)
    elif hasattr(cls, "config_class") or hasattr(cls, "_model_mapping"):
        check_transformers(cls, task, files, report)
    elif "Tokenizer" in task["class_name"]:
        check_tokenizer(cls, task, report)
    else:
        report.stage = "config"
        cls.from_pretrained(task["repo_id"], **list_places(task))
        report.checked.append("{} loads".format(task["class_name"]))


def list_places(task: dict[str, Any]) -> dict[str, Any]:
    """The keywords of ``from_pretrained`` that say where to read."""
    given = {key: task[key] for key in ("cache_dir", "revision", "subfolder") if task[key]}
    return dict(given, local_files_only=True)


# --- tokenizers and models -------------------------------------------------------------------------


def check_tokenizer(cls: Any, task: dict[str, Any], report: Report) -> None:
    report.stage = "tokenizer"
    tokenizer = cls.from_pretrained(task["repo_id"], **list_places(task))
    ids = list(tokenizer(SENTENCE)["input_ids"])
    special = set(tokenizer.all_special_ids)
    if all(token in special for token in ids):
        text = f"{SENTENCE!r} becomes {ids[:NAMES_SHOWN]!r}: nothing but special and unknown tokens"
        raise report.stop("tokens", text)
    size = f"{len(ids)} tokens (vocabulary {len(tokenizer)})"
    report.checked.append(f"{type(tokenizer).__name__} encodes a sentence to {size}")


def check_transformers(cls: Any, task: dict[str, Any], files: Files, report: Report) -> None:
    import torch
    import transformers

    report.stage = "config"
    auto = hasattr(cls, "_model_mapping")
    config_class = transformers.AutoConfig if auto else cls.config_class
    config = config_class.from_pretrained(task["repo_id"], **list_places(task))
    report.stage = "model"
    with torch.device("meta"):
        model = cls.from_config(config) if auto else cls(config)
    tie(model)
    parameters.compare(model, files.read_all("transformers"), report)


def check_diffusers(cls: Any, task: dict[str, Any], files: Files, report: Report) -> None:
    import torch

    report.stage = "config"
    config = cls.load_config(task["repo_id"], **list_places(task))
    if not hasattr(cls, "state_dict"):  # a scheduler or a processor: it has no weights
        cls.from_config(config)
        report.checked.append("{} loads".format(task["class_name"]))
        return
    report.stage = "model"
    with torch.device("meta"):
        model = cls.from_config(config)
    parameters.compare(model, files.read_all("diffusers"), report)


def check_checkout_class(task: dict[str, Any], files: Files, report: Report) -> None:
    """A ``PreTrainedModel`` of the checkout's own: through its import if that works, else it is left to level build."""
    try:
        import torch

        cls = import_checkout_class(task)
        config = cls.config_class.from_pretrained(task["repo_id"], **list_places(task))
        skip_nested_weights(task)
        with torch.device("meta"):
            model = cls(config)
        require_post_init(model)
        tie(model)
    except BaseException as error:  # noqa: BLE001 - others' code: sys.exit and worse
        found = channel.describe_error(error, task["root"])
        absent = found["repo"] and found["chain"][-1]["type"] != "ModuleNotFoundError"
        if "all_tied_weights_keys" in found["chain"][0]["message"]:
            report.stage = "model"
            report.exception(error, task["root"])
        elif absent and not files.locate("config.json"):
            report.stage = "config"
            report.exception(error, task["root"])
        else:
            report.deferred = channel.first_line(found)
        return
    parameters.compare(model, files.read_all("transformers"), report)


def import_checkout_class(task: dict[str, Any]) -> Any:
    """The class: registered under its own name, or a neighbour of the loader that is registered under the type."""
    channel.enter_checkout(task["root"], task["folder"])
    registry = importlib.import_module(task["library"] + ".registry").MODELS
    cls = registry.get(task["class_name"])
    if not hasattr(cls, "config_class"):
        loader = registry.get(task["type_name"])
        cls = getattr(sys.modules[loader.__module__], task["class_name"])
    return cls


def require_post_init(model: Any) -> None:
    """transformers 5 reads ``all_tied_weights_keys``, which ``post_init`` sets and these classes never call."""
    import transformers

    version = int(transformers.__version__.split(".")[0])
    if version >= 5 and hasattr(model, "tie_weights"):  # pragma: no cover - [load] has transformers below 5
        model.all_tied_weights_keys  # noqa: B018 - its AttributeError is what from_pretrained would raise


def skip_nested_weights(task: dict[str, Any]) -> None:
    """Nested ``from_pretrained`` of diffusers give the structure alone: their weights are tasks of their own."""
    import diffusers

    def from_pretrained(cls: Any, name: Any, **keywords: Any) -> Any:
        known = {key: keywords[key] for key in ("subfolder", "revision") if keywords.get(key)}
        folder = keywords.get("cache_dir") or task["cache_dir"]
        return cls.from_config(cls.load_config(name, cache_dir=folder, local_files_only=True, **known))

    diffusers.ModelMixin.from_pretrained = classmethod(from_pretrained)  # type: ignore[arg-type, method-assign, assignment, unused-ignore]


def tie(model: Any) -> None:
    """Tie what the class ties, where it can; a name that stays alone is then reported as missing."""
    with contextlib.suppress(Exception):
        model.tie_weights()


# --- weights: files --------------------------------------------------------------------------------


class Files:
    """The files of the repo (in the cache, or in a local folder) that one task is about."""

    def __init__(self, task: dict[str, Any], reader: str, report: Report) -> None:
        self.task = task
        self.report = report
        self._reader = channel.import_file("opensora_rewriter_weights_files", reader)

    def locate(self, name: str) -> str | None:
        """The path of a file, or None."""
        task = self.task
        if task["subfolder"]:
            name = task["subfolder"].strip("/") + "/" + name
        if os.path.isdir(task["repo_id"]):
            path = os.path.join(task["repo_id"], name)
            return path if os.path.isfile(path) else None
        from huggingface_hub import try_to_load_from_cache

        folder, revision = task["cache_dir"] or None, task["revision"] or None
        found = try_to_load_from_cache(task["repo_id"], name, cache_dir=folder, revision=revision)
        return found if isinstance(found, str) else None

    def read_all(self, library: str) -> Tensors:
        """Shape and dtype of every tensor of the weights that ``library`` would read."""
        self.report.stage = "weights"
        located = ((name, self.locate(name)) for name in WEIGHTS[library])
        name, path = next((pair for pair in located if pair[1] is not None), ("", None))
        if path is None:
            names = ", ".join(name for name in WEIGHTS[library] if not name.endswith(".json"))
            raise self.report.stop("no_weights", f"none of {names} is there")
        shards = self._list_shards(path) if name.endswith(".json") else [name]
        if shards[0].endswith(".bin") and library == "transformers":
            refuse_old_torch()
        found: Tensors = {}
        absent = []
        for shard in shards:
            place = self.locate(shard)
            if place is None:
                absent.append(shard)
            else:
                found.update(self.read(place))
        if absent:
            text = f"{len(absent)} of {len(shards)} files that {name} lists are not there"
            self.report.list_problem("missing_shard", absent, text)
            raise Stop
        return found

    def _list_shards(self, path: str) -> list[str]:
        try:
            return sorted(set(self._reader.read_shard_index(path).values()))
        except self._reader.WeightsError as error:
            raise self.report.stop("corrupt", f"{path} {error}") from error

    def read(self, path: str) -> Tensors:
        """Shape and dtype of each tensor in one file, by its header alone."""
        self.report.files += 1
        self.report.bytes += os.path.getsize(path)
        with open(path, "rb") as file:
            head = file.read(64)
        if head.startswith(b"version https://git-lfs"):
            raise self.report.stop("corrupt", f"{path} is a Git-LFS pointer, not the weights")
        if not path.endswith(".safetensors"):
            return read_pickle(path, self.report)
        try:
            tensors = self._reader.read_safetensors_header(path).tensors
        except self._reader.WeightsError as error:
            raise self.report.stop("corrupt", f"{path} {error}") from error
        return {name: (shape, DTYPES.get(dtype, dtype)) for name, (dtype, shape) in tensors.items()}


def refuse_old_torch() -> None:
    """transformers' own check (4.50 and later): pickles only with torch >= 2.6."""
    try:
        from transformers.utils.import_utils import check_torch_load_is_safe
    except ImportError:  # pragma: no cover - transformers before 4.50
        return
    check_torch_load_is_safe()


def read_pickle(path: str, report: Report) -> Tensors:
    """A ``.bin``: torch's restricted unpickler, tensors on the meta device; what it refuses is looked at, never run."""
    import torch

    try:
        try:
            state = torch.load(path, map_location="meta", weights_only=True, mmap=True)
        except (TypeError, RuntimeError):  # torch < 2.1, or a file of before torch 1.6
            state = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:
        names = [name.replace(" ", ".") for name in list_strange_globals(path)]
        if names:
            shown = ", ".join(names[:NAMES_SHOWN])
            raise report.stop("unsafe", f"{path} is a pickle that would run code: {shown}") from error
        cause = (str(error).splitlines() or [""])[0][:200]
        raise report.stop("corrupt", f"{path} does not read ({type(error).__name__}: {cause})") from error
    if not isinstance(state, dict):
        raise report.stop("corrupt", f"{path} holds a {type(state).__name__}, not a state dict")
    return {
        name: (tuple(tensor.shape), str(tensor.dtype).replace("torch.", ""))
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor)
    }


def list_strange_globals(path: str) -> list[str]:
    """Globals ("module name") that the pickles in a ``.bin`` name and a state dict has no use for; nothing is run."""
    found: list[str] = []
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".pkl"):
                        with archive.open(name) as stream:
                            found.extend(iter_globals(stream))
        else:  # torch before 1.6: a magic number, a version, system facts, the state dict, keys; then raw bytes
            with open(path, "rb") as stream:
                for _pickle in range(5):
                    found.extend(iter_globals(stream))
    except Exception:  # noqa: BLE001 - damaged: what was seen until there counts
        pass
    return sorted({name for name in found if not SAFE_GLOBALS.fullmatch(name)})


def iter_globals(stream: Any) -> Any:
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


if __name__ == "__main__":
    main()
