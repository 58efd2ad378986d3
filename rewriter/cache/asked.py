"""Say which files a loader asks a repo for, in its order (read in transformers 4.57 and diffusers 0.39)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rewriter.cache.needs import Need

Files = tuple[str, ...]

# transformers.modeling_utils._get_resolved_checkpoint_files: safetensors before .bin, whole before sharded.
_TRANSFORMERS_WEIGHTS: tuple[Files, ...] = (
    ("model.safetensors",),
    ("model.safetensors.index.json",),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json",),
)
# diffusers.ModelMixin.from_pretrained: the safetensors index first; a sharded .bin only with use_safetensors=False.
_DIFFUSERS_WEIGHTS: tuple[Files, ...] = (
    ("diffusion_pytorch_model.safetensors.index.json",),
    ("diffusion_pytorch_model.safetensors",),
    ("diffusion_pytorch_model.bin",),
)
_T5: tuple[Files, ...] = (("spiece.model",), ("tokenizer.json",))
_CLIP: tuple[Files, ...] = (("vocab.json", "merges.txt"), ("tokenizer.json",))
_OTHER_VOCABULARIES: tuple[Files, ...] = (("vocab.txt",), ("tokenizer.model",), ("sentencepiece.bpe.model",))
_ANY: tuple[Files, ...] = (("tokenizer.json",), ("spiece.model",), ("vocab.json", "merges.txt"), *_OTHER_VOCABULARIES)
_TOKENIZER_EXTRAS: Files = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_PROCESSORS = ("Processor", "FeatureExtractor")


@dataclass(frozen=True, slots=True)
class Asked:
    """``groups``: of each one alternative must be there whole; the loader takes the first that is.

    ``optional``: read where present. ``everything``: the loader takes whatever the snapshot holds.
    """

    groups: tuple[tuple[Files, ...], ...] = ()
    optional: Files = ()
    everything: bool = False


def asked(need: Need) -> Asked:
    """The files that the need's Hub call asks for, as posix paths below the snapshot."""
    if need.kind == "snapshot_download" or (need.class_name.endswith("Pipeline") and need.library == "diffusers"):
        return Asked(everything=True)
    if need.kind == "hf_hub_download":
        told = Asked() if need.filename is None else Asked(((((need.filename,),)),))
    elif need.library == "diffusers":
        told = _asked_by_diffusers(need.class_name)
    else:
        told = _asked_by_transformers(need.class_name)
    return _below(told, need.subfolder)


def _asked_by_diffusers(class_name: str) -> Asked:
    if class_name.endswith("Scheduler"):
        return Asked(((("scheduler_config.json",),),))
    return Asked(((("config.json",),), _DIFFUSERS_WEIGHTS))


def _asked_by_transformers(class_name: str) -> Asked:
    if class_name.endswith(("Tokenizer", "TokenizerFast")):
        return _asked_by_tokenizer(class_name)
    if class_name.endswith("Config"):
        return Asked(((("config.json",),),))
    if class_name.endswith(_PROCESSORS):
        return Asked(((("preprocessor_config.json",), ("processor_config.json",), ("tokenizer_config.json",)),))
    return Asked(((("config.json",),), _TRANSFORMERS_WEIGHTS))


def _asked_by_tokenizer(class_name: str) -> Asked:
    if class_name.startswith("Auto"):
        # AutoTokenizer learns the class from tokenizer_config.json, else from the model's config.json.
        groups: tuple[tuple[Files, ...], ...] = ((("tokenizer_config.json",), ("config.json",)), _ANY)
    elif class_name.startswith("T5"):
        groups = (_T5,)
    elif class_name.startswith("CLIP"):
        groups = (_CLIP,)
    else:
        groups = (_ANY,)
    vocabulary = tuple(name for files in groups[-1] for name in files)
    return Asked(groups, (*_TOKENIZER_EXTRAS, *vocabulary))


def _below(told: Asked, subfolder: str | None) -> Asked:
    prefix = (subfolder or "").strip("/")
    if not prefix:
        return told
    groups = tuple(tuple(tuple(f"{prefix}/{name}" for name in files) for files in group) for group in told.groups)
    return Asked(groups, tuple(f"{prefix}/{name}" for name in told.optional), told.everything)


def choose(group: Sequence[Files], exists: Callable[[str], bool]) -> tuple[Files, Files]:
    """Which alternative of a group the loader takes: (its files that are there, those that are missing).

    Where none is whole, the one that is begun; where none is begun, ((), ()).
    """
    begun: tuple[Files, Files] = ((), ())
    for files in group:
        there = tuple(name for name in files if exists(name))
        if len(there) == len(files):
            return there, ()
        if there and not begun[0]:
            begun = there, tuple(name for name in files if name not in there)
    return begun
