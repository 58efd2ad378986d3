"""Reads the headers of weights files: safetensors headers and indexes of shards, never the tensors themselves.

The load probe imports this file by its path in the user's interpreter: the standard library alone, Python 3.8 syntax.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Dict, Tuple  # noqa: UP035


class WeightsError(Exception):
    """A file is not what it should be. The message continues the file's name: "is cut short: ..."."""


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself: ``tensors``: name -> (dtype as the format spells it, "F32"; shape)."""

    tensors: Dict[str, Tuple[str, Tuple[int, ...]]]  # noqa: UP006 - Python 3.8


def read_safetensors_header(path: str) -> Header:
    """Read the header of a safetensors file: 8 bytes of length (little-endian), then JSON.

    Raises:
        WeightsError: there is no header, it does not read, or the file is not as long as it says.
        OSError: the file cannot be read.
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
        data_size = max([int(entry["data_offsets"][1]) for entry in entries.values()], default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise WeightsError(f"has a safetensors header that cannot be read ({error})") from error
    expected = 8 + length + data_size
    if size != expected:
        state = "is cut short" if size < expected else "is too long"
        raise WeightsError(f"{state}: {size:,} bytes, its safetensors header says {expected:,}")
    return Header(tensors)


def read_shard_index(path: str) -> Dict[str, str]:  # noqa: UP006 - Python 3.8
    """Read an index of shards (``*.index.json``): parameter name -> file name, relative to the index.

    Raises:
        WeightsError: it is no such index, or lists no shards.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        text = stream.read()
    try:
        shards = {str(name): str(shard) for name, shard in json.loads(text)["weight_map"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"is not an index of shards ({type(error).__name__}: {error})") from error
    if not shards:
        raise WeightsError("lists no shards")
    return shards
