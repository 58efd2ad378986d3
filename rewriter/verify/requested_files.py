"""Which files each library asks a repo for, in its own order (read in transformers 4.57 and diffusers 0.39)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from rewriter.verify.needs import Need

Files = tuple[str, ...]
ShardReader = Callable[[str], Iterable[str]]
"""Given the name of an index, the names of its shards, relative to the index's folder."""

INDEX_SUFFIX = ".index.json"
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
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
)
_PROCESSORS = ("Processor", "FeatureExtractor")


@dataclass(frozen=True, slots=True)
class RequestedFiles:
    """``groups``: of each one alternative must be there in full; the loader takes the first that is.

    ``optional``: read where present. ``everything``: the loader takes whatever the repo holds.
    """

    groups: tuple[tuple[Files, ...], ...] = ()
    optional: Files = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class SelectedFiles:
    """What a loader reads of the files that there are. ``missing``: (what lacks in words, the file to fetch or "")."""

    files: Files = ()
    missing: tuple[tuple[str, str], ...] = ()


def list_requested_files(need: Need) -> RequestedFiles:
    """The files that the need's hub call asks for, as posix paths below the snapshot."""
    if need.kind == "snapshot_download" or (need.class_name.endswith("Pipeline") and need.library == "diffusers"):
        return RequestedFiles(everything=True)
    if need.kind == "hf_hub_download":
        requested = RequestedFiles() if need.filename is None else RequestedFiles((((need.filename,),),))
    elif need.library == "diffusers":
        requested = _list_for_diffusers(need.class_name)
    else:
        requested = _list_for_transformers(need.class_name)
    return _prefix_files(requested, need.subfolder)


def _list_for_diffusers(class_name: str) -> RequestedFiles:
    if class_name.endswith("Scheduler"):
        return RequestedFiles(((("scheduler_config.json",),),))
    return RequestedFiles(((("config.json",),), _DIFFUSERS_WEIGHTS))


def _list_for_transformers(class_name: str) -> RequestedFiles:
    if class_name.endswith(("Tokenizer", "TokenizerFast")):
        return _list_for_tokenizer(class_name)
    if class_name.endswith("Config"):
        return RequestedFiles(((("config.json",),),))
    if class_name.endswith(_PROCESSORS):
        names = (("preprocessor_config.json",), ("processor_config.json",), ("tokenizer_config.json",))
        return RequestedFiles((names,))
    return RequestedFiles(((("config.json",),), _TRANSFORMERS_WEIGHTS))


def _list_for_tokenizer(class_name: str) -> RequestedFiles:
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
    return RequestedFiles(groups, (*_TOKENIZER_EXTRAS, *vocabulary))


def _prefix_files(requested: RequestedFiles, subfolder: str | None) -> RequestedFiles:
    prefix = (subfolder or "").strip("/")
    if not prefix:
        return requested
    groups = tuple(tuple(tuple(f"{prefix}/{name}" for name in files) for files in group) for group in requested.groups)
    return RequestedFiles(groups, tuple(f"{prefix}/{name}" for name in requested.optional), requested.everything)


def choose_files(group: Sequence[Files], exists: Callable[[str], bool]) -> tuple[Files, Files]:
    """Which alternative of a group the loader takes: (its files that are there, those that are missing).

    Where none is complete, the one that is begun; where none is begun, ((), ()).
    """
    begun: tuple[Files, Files] = ((), ())
    for files in group:
        there = tuple(name for name in files if exists(name))
        if len(there) == len(files):
            return there, ()
        if there and not begun[0]:
            begun = there, tuple(name for name in files if name not in there)
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
    requested = list_requested_files(need)
    if requested.everything:
        return SelectedFiles(tuple(sorted(list_all())))
    names: dict[str, None] = {}
    missing: dict[str, str] = {}
    for group in requested.groups:
        present, lacking = choose_files(group, exists)
        names |= dict.fromkeys(present)
        if not present:
            words = " or ".join(" with ".join(files) for files in group)
            missing.setdefault(words, group[0][0] if len(group) == 1 else "")
        missing |= {name: name for name in lacking}
        for index in present:
            if index.endswith(INDEX_SUFFIX):
                for shard in read_shards(index):
                    name = posixpath.join(posixpath.dirname(index), shard)
                    if exists(name):
                        names[name] = None
                    else:
                        missing[f"{name} (named by {posixpath.basename(index)})"] = name
    names |= dict.fromkeys(name for name in requested.optional if exists(name))
    return SelectedFiles(tuple(names), tuple(missing.items()))


def select_from_listing(needs: Iterable[Need], names: Collection[str], read_shards: ShardReader) -> SelectedFiles:
    """What several needs read of one repo, given the names of all its files (of the Hub's listing, say)."""
    files: dict[str, None] = {}
    missing: dict[str, str] = {}
    for need in needs:
        selected = select_files(need, names.__contains__, lambda: names, read_shards)
        files |= dict.fromkeys(selected.files)
        missing |= dict(selected.missing)
    return SelectedFiles(tuple(files), tuple(missing.items()))


def list_subfolders(needs: Iterable[Need]) -> tuple[str, ...]:
    """The subfolders that hold all that these needs read of a repo; none where one of them reads beside them."""
    folders: dict[str, None] = {}
    for need in needs:
        requested = list_requested_files(need)
        folder = (need.subfolder or "").strip("/") or posixpath.dirname(need.filename or "")
        if not folder or requested.everything:
            return ()
        folders[folder] = None
    return tuple(folders)
