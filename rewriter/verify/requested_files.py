"""Which files each library asks a repo for, in its own order (read in transformers 4.57 and diffusers 0.39)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from rewriter.verify.needs import Need

Files = tuple[str, ...]
Group = tuple[Files, ...]
"""Alternatives, of which one must be there in full; the loader takes the first that is."""
ShardReader = Callable[[str], Iterable[str]]
"""Given the name of an index, the names of its shards, relative to the index's folder."""

_CONFIG: Group = (("config.json",),)
# transformers.modeling_utils._get_resolved_checkpoint_files: safetensors before .bin, whole before sharded.
_TRANSFORMERS_WEIGHTS: Group = (
    ("model.safetensors",),
    ("model.safetensors.index.json",),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json",),
)
# diffusers.ModelMixin.from_pretrained: the safetensors index first; a sharded .bin only with use_safetensors=False.
_DIFFUSERS_WEIGHTS: Group = (
    ("diffusion_pytorch_model.safetensors.index.json",),
    ("diffusion_pytorch_model.safetensors",),
    ("diffusion_pytorch_model.bin",),
)
_T5: Group = (("spiece.model",), ("tokenizer.json",))
_CLIP: Group = (("vocab.json", "merges.txt"), ("tokenizer.json",))
_ANY: Group = (
    *(("tokenizer.json",), ("spiece.model",), ("vocab.json", "merges.txt")),
    *(("vocab.txt",), ("tokenizer.model",), ("sentencepiece.bpe.model",)),
)
_TOKENIZER_EXTRAS: Files = (
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
)
_PROCESSOR: Group = (("preprocessor_config.json",), ("processor_config.json",), ("tokenizer_config.json",))


@dataclass(frozen=True, slots=True)
class SelectedFiles:
    """What loaders read of the files that there are. ``missing``: (what lacks in words, the file to fetch or "")."""

    files: Files = ()
    missing: tuple[tuple[str, str], ...] = ()


def _list_groups(need: Need) -> tuple[tuple[Group, ...], Files] | None:
    """The groups of files that a hub call asks for, and files that it reads where present; None: the whole repo."""
    name = need.class_name
    if need.kind == "snapshot_download" or (name.endswith("Pipeline") and need.library == "diffusers"):
        return None
    if need.kind == "hf_hub_download":
        return (() if need.filename is None else (((need.filename,),),)), ()
    if need.library == "diffusers":
        return ((("scheduler_config.json",),),) if name.endswith("Scheduler") else (_CONFIG, _DIFFUSERS_WEIGHTS), ()
    if name.endswith(("Tokenizer", "TokenizerFast")):
        vocabulary = _T5 if name.startswith("T5") else _CLIP if name.startswith("CLIP") else _ANY
        # AutoTokenizer learns the class from tokenizer_config.json, else from the model's config.json.
        first = ((("tokenizer_config.json",), ("config.json",)),) if name.startswith("Auto") else ()
        return (*first, vocabulary), (*_TOKENIZER_EXTRAS, *(file for files in vocabulary for file in files))
    if name.endswith("Config"):
        return (_CONFIG,), ()
    return ((_PROCESSOR,) if name.endswith(("Processor", "FeatureExtractor")) else (_CONFIG, _TRANSFORMERS_WEIGHTS)), ()


def _choose_files(group: Group, exists: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Which alternative of a group the loader takes: (its files that are there, those that are missing).

    Where none is complete, the one that is begun; where none is begun, ([], []).
    """
    begun: tuple[list[str], list[str]] = ([], [])
    for files in group:
        there = [name for name in files if exists(name)]
        if len(there) == len(files):
            return there, []
        if there and not begun[0]:
            begun = there, [name for name in files if name not in there]
    return begun


def select_files(
    need: Need, exists: Callable[[str], bool], list_all: Callable[[], Iterable[str]], read_shards: ShardReader
) -> SelectedFiles:
    """What the need's loader reads of a repo, be it a snapshot on disk or a listing of the Hub.

    Args:
        need: the hub call.
        exists: whether the repo holds a file (posix path).
        list_all: every file of the repo; called only for a loader that takes them all.
        read_shards: the shards of an index that exists.
    """
    requested = _list_groups(need)
    if requested is None:
        return SelectedFiles(tuple(sorted(list_all())))
    folder = (need.subfolder or "").strip("/")
    names: dict[str, None] = {}
    missing: dict[str, str] = {}
    for alternatives in requested[0]:
        group = tuple(tuple(posixpath.join(folder, name) for name in files) for files in alternatives)
        present, lacking = _choose_files(group, exists)
        names |= dict.fromkeys(present)
        if not present:
            words = " or ".join(" with ".join(files) for files in group)
            missing.setdefault(words, group[0][0] if len(group) == 1 else "")
        missing |= {name: name for name in lacking}
        for index in present:
            for shard in read_shards(index) if index.endswith(".index.json") else ():
                name = posixpath.join(posixpath.dirname(index), shard)
                if exists(name):
                    names[name] = None
                else:
                    missing[f"{name} (named by {posixpath.basename(index)})"] = name
    optional = (posixpath.join(folder, name) for name in requested[1])
    names |= dict.fromkeys(name for name in optional if exists(name))
    return SelectedFiles(tuple(names), tuple(missing.items()))


def select_from_listing(needs: Iterable[Need], names: Collection[str], read_shards: ShardReader) -> SelectedFiles:
    """What several needs read of one repo, given the names of all its files (of the Hub's listing, say)."""
    selected = [select_files(need, names.__contains__, lambda: names, read_shards) for need in needs]
    files = dict.fromkeys(name for each in selected for name in each.files)
    return SelectedFiles(tuple(files), tuple(dict.fromkeys(lack for each in selected for lack in each.missing)))


def list_subfolders(needs: Iterable[Need]) -> tuple[str, ...]:
    """The subfolders that hold all that these needs read of a repo; none where one of them reads beside them."""
    folders: dict[str, None] = {}
    for need in needs:
        folder = (need.subfolder or "").strip("/") or posixpath.dirname(need.filename or "")
        if not folder or _list_groups(need) is None:
            return ()
        folders[folder] = None
    return tuple(folders)
