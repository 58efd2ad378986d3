"""Seconds and peak memory of `verify --level load` on a large T5: sparse shards that take no room on the disk.

    python tests/benchmarks/load_level.py [--gigabytes 8] [--format safetensors|bin] [--shards 4] [--python EXE]

The shards are a full T5-v1.1-XXL encoder in shape (4096 wide; the layers are as many as fit the size), their data is
a hole in a sparse file. Needs the [load] extra.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

REPO = "DeepFloyd/t5-v1_1-xxl"
SHAPE = {"d_model": 4096, "d_kv": 64, "num_heads": 64, "d_ff": 10240, "vocab_size": 32128}


def shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a T5 encoder's parameters."""
    wide, inner, heads = SHAPE["d_model"], SHAPE["d_ff"], SHAPE["num_heads"]
    out: dict[str, tuple[int, ...]] = {"shared.weight": (SHAPE["vocab_size"], wide)}
    for layer in range(layers):
        block = f"encoder.block.{layer}.layer"
        for letter in "qkvo":
            out[f"{block}.0.SelfAttention.{letter}.weight"] = (wide, wide)
        if not layer:
            out[f"{block}.0.SelfAttention.relative_attention_bias.weight"] = (32, heads)
        out[f"{block}.0.layer_norm.weight"] = out[f"{block}.1.layer_norm.weight"] = (wide,)
        for name in ("wi_0", "wi_1"):
            out[f"{block}.1.DenseReluDense.{name}.weight"] = (inner, wide)
        out[f"{block}.1.DenseReluDense.wo.weight"] = (wide, inner)
    out["encoder.final_layer_norm.weight"] = (wide,)
    return out


def numel(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def write_safetensors(path: Path, part: dict[str, tuple[int, ...]]) -> None:
    header: dict[str, Any] = {}
    end = 0
    for name, shape in part.items():
        begin, end = end, end + 4 * numel(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)


def write_bin(path: Path, part: dict[str, tuple[int, ...]]) -> None:
    import torch
    from torch.serialization import skip_data

    with skip_data():  # the memory is never touched, the file has holes
        torch.save({name: torch.empty(shape) for name, shape in part.items()}, path)


def make(cache_dir: Path, gigabytes: float, kind: str, count: int) -> int:
    """Fills ``cache_dir``; returns the size of all shards in bytes."""
    outside, inside = (4 * sum(map(numel, shapes(layers).values())) for layers in (0, 1))
    layers = max(1, round((gigabytes * 1e9 - outside) / (inside - outside)))
    parameters = shapes(layers)
    repo = cache_dir / ("models--" + REPO.replace("/", "--"))
    snapshot = repo / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    config = SHAPE | {"model_type": "t5", "feed_forward_proj": "gated-gelu", "num_layers": layers}
    (snapshot / "config.json").write_text(json.dumps(config | {"architectures": ["T5EncoderModel"]}))
    stem, suffix = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    names = [f"{stem}-{number + 1:05}-of-{count:05}.{suffix}" for number in range(count)]
    weight_map = {name: names[number * count // len(parameters)] for number, name in enumerate(parameters)}
    (snapshot / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    write = write_safetensors if kind == "safetensors" else write_bin
    for shard in names:
        write(snapshot / shard, {name: parameters[name] for name in parameters if weight_map[name] == shard})
    return sum((snapshot / shard).stat().st_size for shard in names)


def main() -> None:
    from rewriter.verify.load import LoadTask, load_level

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--format", choices=("safetensors", "bin"), default="safetensors")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--python")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = make(Path(folder), chosen.gigabytes, chosen.format, chosen.shards)
        task = LoadTask(REPO, folder, None, None, "from_pretrained", "transformers", "T5EncoderModel")
        report = load_level([task], python=chosen.python)
    result = report.results[0]
    print(
        f"{result.status}: {size / 1e9:.1f} GB of {chosen.format} in {result.files} shards, "
        f"{result.parameters} tensors, {result.elements / 1e9:.2f} billion numbers; "
        f"{result.seconds:.2f} s (imports of the libraries included), peak {result.peak_rss / 1e9:.2f} GB resident"
    )
    for finding in report.findings:
        print(finding.code, finding.message)


if __name__ == "__main__":
    main()
