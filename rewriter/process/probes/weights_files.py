"""Reads the headers of weights files: safetensors headers and indexes of shards, never the tensors themselves."""

from __future__ import annotations

import json
import os

# The order in which each library looks for weights: transformers 4.39-5 (_get_resolved_checkpoint_files); diffusers
# 0.27-0.39 (ModelMixin.from_pretrained), which takes a sharded .bin only with use_safetensors=False.
WEIGHTS = {
    "transformers": tuple(
        name + end for name in ("model.safetensors", "pytorch_model.bin") for end in ("", ".index.json")
    ),
    "diffusers": tuple(f"diffusion_pytorch_model.{end}" for end in ("safetensors.index.json", "safetensors", "bin")),
}
_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


class WeightsError(Exception):
    """A file is not what it should be. The message continues the file's name: "is cut short: ..."."""


def read_safetensors_header(path: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Read a safetensors file's header: name -> (dtype as the format spells it, "F32"; shape).

    WeightsError: there is none (8 bytes of length, little-endian, then JSON), or the file is not as long as it says.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= size - 8:
            raise WeightsError(f"has no safetensors header, or is cut short ({size:,} bytes)" if size else "is empty")
        text = stream.read(length)
    try:
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        tensors = {name: (str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()}
        expected = 8 + length + max([int(entry["data_offsets"][1]) for entry in entries.values()], default=0)
    except _ERRORS as error:
        raise WeightsError(f"has a safetensors header that cannot be read ({error})") from error
    if size != expected:
        state = "is cut short" if size < expected else "is too long"
        raise WeightsError(f"{state}: {size:,} bytes, its safetensors header says {expected:,}")
    return tensors


def read_shard_index(path: str) -> dict[str, str]:
    """Read an index of shards (``*.index.json``): parameter name -> file name, relative to the index.

    WeightsError: it is no such index, or lists no shards.
    """
    try:
        with open(path, "rb") as stream:
            shards = {str(name): str(shard) for name, shard in json.loads(stream.read())["weight_map"].items()}
    except _ERRORS as error:
        raise WeightsError(f"is not an index of shards ({type(error).__name__}: {error})") from error
    if not shards:
        raise WeightsError("lists no shards")
    return shards
