"""Which files each library asks a repo for, in its own order (read in transformers 4.57 and diffusers 0.39)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rewriter.verify.needs import Need
from rewriter.words import quote_word

Files = tuple[str, ...]
Group = tuple[Files, ...]
"""Alternatives, of which one must be there in full; the loader takes the first that is."""

_CONFIG: Group = (("config.json",),)
# transformers.modeling_utils._get_resolved_checkpoint_files: safetensors before .bin, whole before sharded.
_TRANSFORMERS_WEIGHTS: Group = (
    *(("model.safetensors",), ("model.safetensors.index.json",)),
    *(("pytorch_model.bin",), ("pytorch_model.bin.index.json",)),
)
# diffusers.ModelMixin.from_pretrained: the safetensors index first; a sharded .bin only with use_safetensors=False.
_DIFFUSERS = "diffusion_pytorch_model"
_DIFFUSERS_WEIGHTS: Group = (
    *((f"{_DIFFUSERS}.safetensors.index.json",), (f"{_DIFFUSERS}.safetensors",), (f"{_DIFFUSERS}.bin",)),
)
_T5: Group = (("spiece.model",), ("tokenizer.json",))
_CLIP: Group = (("vocab.json", "merges.txt"), ("tokenizer.json",))
_ANY: Group = (*reversed(_T5), _CLIP[0], ("vocab.txt",), ("tokenizer.model",), ("sentencepiece.bpe.model",))
_TOKENIZER_EXTRAS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
_PROCESSOR: Group = (("preprocessor_config.json",), ("processor_config.json",), ("tokenizer_config.json",))


class SelectedFiles(NamedTuple):
    """What loaders read of the files that there are. ``missing``: (what lacks in words, the file to fetch or "")."""

    files: Files
    missing: tuple[tuple[str, str], ...]


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


def select_files(
    need: Need,
    exists: Callable[[str], bool],
    list_all: Callable[[], Iterable[str]],
    read_shards: Callable[[str], Iterable[str]],
) -> SelectedFiles:
    """What the need's loader reads of a repo, be it a snapshot on disk or a listing of the Hub (posix paths).

    ``list_all``: every file, for a loader that takes them all. ``read_shards``: what an index names, beside it.
    """
    requested = _list_groups(need)
    if requested is None:
        return SelectedFiles(tuple(sorted(list_all())), ())
    folder = (need.subfolder or "").strip("/")
    names: dict[str, None] = {}
    missing: dict[str, str] = {}
    for alternatives in requested[0]:
        group = [[posixpath.join(folder, name) for name in files] for files in alternatives]
        whole = (files for files in group if all(map(exists, files)))
        chosen = next(whole, None) or next((files for files in group if any(map(exists, files))), None)
        if chosen is None:
            words = " or ".join(" with ".join(files) for files in group)
            missing.setdefault(words, group[0][0] if len(group) == 1 else "")
        for name in chosen or ():
            if not exists(name):
                missing[name] = name
                continue
            names[name] = None
            for shard in read_shards(name) if name.endswith(".index.json") else ():
                path = posixpath.join(posixpath.dirname(name), shard)
                if exists(path):
                    names[path] = None
                else:
                    missing[f"{path} (named by {posixpath.basename(name)})"] = path
    optional = (posixpath.join(folder, name) for name in requested[1])
    return SelectedFiles(tuple(names | dict.fromkeys(filter(exists, optional))), tuple(missing.items()))


def list_subfolders(needs: Iterable[Need]) -> Files:
    """The subfolders that hold all that these needs read of a repo; none where one of them reads beside them."""
    needs = list(needs)
    folders = [(need.subfolder or "").strip("/") or posixpath.dirname(need.filename or "") for need in needs]
    return tuple(dict.fromkeys(folders)) if all(folders) and None not in map(_list_groups, needs) else ()


def format_fetch(cache_dir: str, pin: str = "") -> str:
    """The command that fetches what a component's loader asks for; reports fill in its file and component.

    ``cache_dir``: "" for the one that the config or the environment names. ``pin``: "REPO=COMMIT" to fetch, or "".
    """
    options = {"--cache-dir": cache_dir, "--revision": pin}
    words = [f" {option} {quote_word(value)}" for option, value in options.items() if value]
    return "opensora-rewriter download {path} --component {component}" + "".join(words)
