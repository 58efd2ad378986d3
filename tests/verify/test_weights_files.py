"""Headers of weights files: what a good one says, and what is said of a bad one."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from caches import safetensors

from rewriter.process.probes.weights_files import WeightsError, read_safetensors_header, read_shard_index


def test_a_header_gives_names_dtypes_and_shapes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors())
    assert read_safetensors_header(str(path)) == {"w": ("U8", (64,))}
    text = json.dumps({"__metadata__": {"format": "pt"}}).encode()  # no tensor; a file may hold none
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    assert read_safetensors_header(str(path)) == {}


@pytest.mark.parametrize(
    "header",
    [
        *(b"[]", b"{{", b'{"w": {}}', b'{"w": 1}', b'"' + b"x" * 9, b"\xff\xff", b"[" * 100_000),
        b'{"w": {"shape": [1], "dtype": "U8", "data_offsets": [0]}}',
        b'{"w": {"shape": 1, "dtype": "U8", "data_offsets": [0, 1]}}',
    ],
    ids=lambda header: repr(header[:30]),
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(WeightsError, match="has a safetensors header that cannot be read"):
        read_safetensors_header(str(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"<html>", r"has no safetensors header, or is cut short \(6 bytes\)"),
        (b"<html>not found</html>", "has no safetensors header"),
        (safetensors()[:20], "has no safetensors header, or is cut short"),
        (safetensors()[:-10], "is cut short: 124 bytes, its safetensors header says 134"),
        (safetensors() + b"more", "is too long: 138 bytes, its safetensors header says 134"),
    ],
)
def test_a_file_of_another_size_than_its_header_says_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        read_safetensors_header(str(path))


def test_an_index_of_shards_says_which_file_holds_which_parameter(tmp_path: Path) -> None:
    path = tmp_path / "x.index.json"
    path.write_text('{"metadata": {"total_size": 8}, "weight_map": {"a": "1.bin", "b": "2.bin", "c": "2.bin"}}')
    assert read_shard_index(str(path)) == {"a": "1.bin", "b": "2.bin", "c": "2.bin"}


@pytest.mark.parametrize("text", ["{", "[]", '{"metadata": {}}', '{"weight_map": []}', "", "[" * 100_000])
def test_an_index_that_names_no_shards_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.index.json"
    path.write_text(text)
    with pytest.raises(WeightsError, match="is not an index of shards"):
        read_shard_index(str(path))
    path.write_text('{"weight_map": {}}')
    with pytest.raises(WeightsError, match="lists no shards"):
        read_shard_index(str(path))
