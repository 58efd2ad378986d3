"""Small caches in the layout that huggingface_hub writes, of files that no library has to read."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zipfile
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "89abcdef0123456789abcdef0123456789abcdef"
T5 = "DeepFloyd/t5-v1_1-xxl"
VAE = "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers"
SHARDS = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")


def safetensors(count: int = 64) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(range(count))


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data.pkl", content)
    return stream.getvalue()


def blob_name(name: str, content: bytes) -> str:
    if name.endswith((".bin", ".safetensors", ".model")):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def make_repo(cache: Path, repo_id: str, files: dict[str, bytes], commit: str = COMMIT, links: bool = True) -> Path:
    repo = cache / ("models--" + repo_id.replace("/", "--"))
    (repo / "blobs").mkdir(parents=True, exist_ok=True)
    (repo / "refs").mkdir(exist_ok=True)
    (repo / "refs" / "main").write_text(commit)
    for name, content in files.items():
        place = repo / "snapshots" / commit / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if links:
            blob = repo / "blobs" / blob_name(name, content)
            blob.write_bytes(content)
            place.symlink_to(os.path.relpath(blob, place.parent))
        else:
            place.write_bytes(content)
    return repo


def t5_files() -> dict[str, bytes]:
    index = {"metadata": {"total_size": 8}, "weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[1]}}
    return {
        "config.json": b'{"model_type": "t5"}',
        "tokenizer_config.json": b'{"tokenizer_class": "T5Tokenizer"}',
        "special_tokens_map.json": b"{}",
        "spiece.model": b"sentencepiece" * 20,
        "pytorch_model.bin.index.json": json.dumps(index).encode(),
        SHARDS[0]: zipped(b"first shard" * 50),
        SHARDS[1]: zipped(b"second shard" * 50),
        "README.md": b"no loader asks for this",
    }


def vae_files() -> dict[str, bytes]:
    return {
        "vae/config.json": b'{"_class_name": "AutoencoderKL"}',
        "vae/diffusion_pytorch_model.safetensors": safetensors(),
    }
