"""Measure how fast `verify --hash` hashes a cache against `xargs -P sha256sum` on the same blobs and cores.

    python tests/benchmarks/hash_rate.py [--size GB] [--shards N] [--jobs N] [--rounds N] [--folder DIR]

It makes N safetensors shards in a cache's layout, lets both sides hash them in turn (the files are in the page cache
after the first, uncounted pass, where they fit), and prints both medians and the ratio of the rates. Exit 1 below 0.9.
`openssl dgst` is shown too, where there is one: some builds of sha256sum do not use the processor's SHA instructions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rewriter.cache import Need, inspect
from rewriter.cache.hashing import cores

COMMIT = "0" * 40
BAR = 0.9
CHUNK = os.urandom(1 << 20)


def make_cache(folder: Path, size: int, shards: int) -> list[Path]:
    """A repo of ``shards`` safetensors files with ``size`` bytes of data in all; the blobs' paths."""
    repo = folder / "models--bench--shards"
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    names = [f"model-{number:05d}-of-{shards:05d}.safetensors" for number in range(1, shards + 1)]
    blobs = [_shard(repo / "blobs", snapshot / name, size // shards) for name in names]
    for name, content in {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps({"weight_map": {name: name for name in names}}).encode(),
    }.items():
        blob = repo / "blobs" / hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))
    return blobs


def _shard(blobs: Path, link: Path, size: int) -> Path:
    """One shard of ``size`` bytes of data, each other than the next, stored under its own hash."""
    header = json.dumps({link.name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    digest = hashlib.sha256()
    draft = blobs / "draft"
    with open(draft, "wb") as stream:
        for piece in (len(header).to_bytes(8, "little"), header):
            stream.write(piece)
            digest.update(piece)
        for start in range(0, size, len(CHUNK)):
            piece = CHUNK[: size - start]
            stream.write(piece)
            digest.update(piece)
    blob = draft.rename(blobs / digest.hexdigest())
    link.symlink_to(os.path.relpath(blob, link.parent))
    return blob


def ours(folder: Path, jobs: int) -> float:
    """Seconds that one inspection with ``hash=True`` takes, progress reports included."""
    need = Need("bench/shards", str(folder), class_name="T5EncoderModel")
    start = time.perf_counter()
    report = inspect([need], hash=True, jobs=jobs, progress=lambda done, total: None)
    seconds = time.perf_counter() - start
    assert report.findings == (), report.findings
    return seconds


def theirs(blobs: list[Path], jobs: int, *tool: str) -> float:
    """Seconds that ``xargs -P JOBS -n 1 TOOL`` takes for the same blobs."""
    names = "\0".join(map(str, blobs))
    start = time.perf_counter()
    command = ["xargs", "-0", "-P", str(jobs), "-n", "1", *tool]
    subprocess.run(command, input=names, text=True, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Run both sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=8.0, help="bytes of data in all, in GB (10**9)")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where to make the shards (default: a temporary one)")
    args = parser.parse_args()
    jobs = args.jobs
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        folder = Path(temporary)
        blobs = make_cache(folder, int(args.size * 1e9), args.shards)
        ours(folder, jobs)
        tools = [("sha256sum",), *([("openssl", "dgst", "-sha256")] if shutil.which("openssl") else [])]
        rounds = [(ours(folder, jobs), *(theirs(blobs, jobs, *tool) for tool in tools)) for _ in range(args.rounds)]
    mine, *others = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{args.size:g} GB in {args.shards} shards, {jobs} jobs, median of {args.rounds} rounds")
    print(f"{'verify --hash':<24}{mine:7.2f} s{args.size / mine:7.2f} GB/s")
    for tool, seconds in zip(tools, others, strict=True):
        name = f"xargs -P {' '.join(tool[:2])}"
        print(f"{name:<24}{seconds:7.2f} s{args.size / seconds:7.2f} GB/s   our rate / its rate: {seconds / mine:.2f}")
    print(f"bar: {BAR} of sha256sum")
    return 0 if others[0] / mine >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
