"""Whole processes side by side on one tree: this command, and what it is compared with.

    python tests/benchmarks/bench.py [--tree CHECKOUT] [--files 10000] [--peers BIN]

Each pair runs in turn, A B A B ...; the ratio is the median of the ratios run by run, so that a machine whose speed
drifts moves both alike. Without ``--tree`` the small tree is ``fixtures/v1.3``. With 10,000 files all of it takes about
five minutes. Exit code 1: a bar does not hold.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rewriter.process.children import find_memory

ROOT = Path(__file__).resolve().parents[2]
TOOL = [sys.executable, "-m", "rewriter"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as users have
READ = (
    "import os, sys\nfiles = [os.path.join(d, f) for d, _, fs in os.walk(sys.argv[1]) for f in fs if f[-3:] == '.py']\n"
)
PARSE = READ + "import ast\nfor path in files:\n    ast.parse(open(path, 'rb').read())\n"
LIBCST = READ + "import libcst\nfor path in files:\n    libcst.parse_module(open(path, 'rb').read()).code\n"
MMENGINE = """
import glob, sys
from mmengine.config import Config
for tree in sys.argv[1:]:
    for path in sorted(glob.glob(tree + "/configs/**/*.py", recursive=True)):
        Config.fromfile(path, import_custom_modules=False, lazy_import=False)
"""
RULE = """
id: cache-dir
language: python
rule: {kind: call, pattern: dict($$$A), not: {has: {kind: keyword_argument, regex: ^cache_dir}}}
"""


@dataclass(frozen=True)
class Pair:
    """``command`` is to take at most ``limit`` times what ``other`` takes.

    ``writes``: every run gets a fresh tree. ``runs``: where there are more than two, the first is a warm-up.
    """

    name: str
    command: Sequence[str]
    against: str
    other: Sequence[str]
    limit: float
    tree: Path
    writes: bool = False
    runs: int = 6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=ROOT / "fixtures" / "v1.3", help="an Open-Sora checkout")
    parser.add_argument("--files", type=int, default=10_000, help="configs of the large tree (0: none)")
    parser.add_argument("--peers", default="", help="a folder with ast-grep")
    parser.add_argument("--folder", default=find_memory(), help="where trees are made, by default in memory if it can")
    options = parser.parse_args()
    tempfile.tempdir = options.folder
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        small = Path(folder, "small")
        shutil.copytree(options.tree, small, ignore=shutil.ignore_patterns(".git"))
        pairs = make_small_pairs(small, Path(folder))
        if options.files:
            pairs += make_large_pairs(make_large(small, Path(folder, "large"), options.files), options.peers, folder)
        good = [measure(pair) for pair in pairs]
        if options.files:
            good.append(measure_memory(Path(folder, "large")))
    return 0 if all(good) else 1


def make_small_pairs(tree: Path, folder: Path) -> list[Pair]:
    """The bars on one checkout, as a user feels them."""
    libcst = [sys.executable, "-c", "import libcst"]
    rewrite = [*TOOL, "rewrite", ".", "--all-configs", "--cache-dir", "/models/hf/hub", "--quiet"]
    after = folder / "after"
    shutil.copytree(tree, after)
    subprocess.run([*rewrite, "--no-resolve"], cwd=after, capture_output=True, check=False)
    one = sorted(tree.glob("configs/**/inference/*.py"))[0].relative_to(tree)
    check = [*TOOL, "check", ".", "--all-configs", "--quiet"]
    mmengine = [sys.executable, "-c", MMENGINE, str(tree), str(after)]
    click = [sys.executable, "-c", "import click"]
    return [
        Pair("check, all configs", check, "import libcst", libcst, 2.0, tree),
        Pair("rewrite --no-resolve", [*rewrite, "--no-resolve"], "import libcst", libcst, 3.5, tree, True),
        Pair("rewrite with mmengine", rewrite, "mmengine, old and new", mmengine, 1.5, tree, True),
        Pair("check, one file", [*TOOL, "check", str(one), "--quiet"], "import click", click, 3.5, tree),
    ]


def make_large_pairs(tree: Path, peers: str, folder: str) -> list[Pair]:
    """The bars on many configs."""
    check = [*TOOL, "check", ".", "--all-configs", "--quiet"]
    rewrite = [*TOOL, "rewrite", ".", "--all-configs", "--no-resolve", "--cache-dir", "/models/hf/hub", "--quiet"]
    parse, libcst = ([sys.executable, "-c", script, str(tree)] for script in (PARSE, LIBCST))
    pairs = [
        Pair("check, many", check, "ast.parse of all", parse, 2.0, tree, runs=2),
        Pair("rewrite, many", rewrite, "libcst's parse and code of all", libcst, 0.5, tree, True, runs=1),
    ]
    ast_grep = shutil.which("ast-grep", path=os.pathsep.join((os.path.abspath(peers), os.environ.get("PATH", ""))))
    if ast_grep is None:
        print("ast-grep is not installed: its pair is left out")
        return pairs
    rule = Path(folder, "rule.yml")
    rule.write_text(RULE, encoding="utf-8")
    scan = [ast_grep, "scan", "--rule", str(rule), str(tree)]
    return [*pairs, Pair("check, many", check, "ast-grep", scan, 2.5, tree, runs=2)]


def make_large(small: Path, large: Path, files: int) -> Path:
    """A checkout with many configs: copies of the small one's, each with other integers and of upstream's size."""
    shutil.copytree(small, large)
    models = [split_at_integers(path.read_bytes()) for path in sorted(small.glob("configs/**/*.py"))]
    shutil.rmtree(large / "configs")
    notes = "".join(f"# note {line}: a line as long as those that real configs have\n" for line in range(8))
    for number in range(files):
        pieces = models[number % len(models)]
        text = "".join(each if isinstance(each, str) else str(each + number) for each in pieces) + notes
        path = large / "configs" / f"group{number // 100}" / "inference" / f"config{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return large


def split_at_integers(source: bytes) -> list[str | int]:
    """A source in pieces: its decimal integers, and the text between them."""
    lines = source.decode("utf-8").splitlines(keepends=True)
    pieces: list[str | int] = []
    row, column = 1, 0
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.NUMBER and token.string.isdecimal():
            before = [*lines[row - 1 : token.start[0] - 1], lines[token.start[0] - 1][: token.start[1]]]
            pieces += ["".join(before)[column:], int(token.string)]
            row, column = token.end
    return [*pieces, "".join(lines[row - 1 :])[column:]]


def measure(pair: Pair) -> bool:
    """Time a pair in turn, print the row, and say whether its bar holds."""
    times = [
        (time_command(pair.command, pair.tree, pair.writes), time_command(pair.other, pair.tree, False))
        for _ in range(pair.runs)
    ][pair.runs > 2 :]
    own, others = zip(*times, strict=True)
    ratio = statistics.median(first / second for first, second in times)
    good = ratio <= pair.limit
    seconds = f"{statistics.median(own):6.2f} s / {statistics.median(others):6.2f} s"
    verdict = f"(bar {pair.limit}) {'ok' if good else 'MISSED'}"
    print(f"{pair.name:24} {seconds} = {ratio:5.2f} of {pair.against} {verdict}", flush=True)
    return good


def time_command(command: Sequence[str], tree: Path, writes: bool) -> float:
    with tempfile.TemporaryDirectory(prefix="bench-run-") as folder:
        place = tree
        if writes:
            place = Path(folder, "tree")
            shutil.copytree(tree, place)
        start = time.perf_counter()
        silent = subprocess.DEVNULL
        subprocess.run(command, cwd=place, env=ENVIRONMENT, stdout=silent, stderr=silent, check=False)
        return time.perf_counter() - start


def measure_memory(tree: Path) -> bool:
    """The peak of the largest process of `check` on the large tree."""
    code = "import resource, subprocess, sys\nsubprocess.run(sys.argv[1:], stdout=-3, stderr=-3)\n"
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    command = [sys.executable, "-c", code, *TOOL, "check", ".", "--all-configs", "--quiet"]
    peak = int(subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True).stdout) / 1024
    print(f"{'check, many':24} peaks at {peak:.0f} MB (bar 120) {'ok' if peak < 120 else 'MISSED'}")
    return peak < 120


if __name__ == "__main__":
    sys.exit(main())
