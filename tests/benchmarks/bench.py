"""Whole processes side by side on one tree: this command, what is used instead, and the floors below all of them.

    python tests/benchmarks/bench.py [--runs 7] [--tree CHECKOUT] [--files 10000] [--peers BIN] [--slow] [--json FILE]

Prints a table of medians and of ratios taken run by run (every command of a table runs once, then all run again: a
machine whose speed drifts moves them alike), then the bars of the project with pass or fail. Nothing is installed:
peers are measured where they are on PATH or in ``--peers``. Without ``--tree`` the trees are made of
``fixtures/v1.3``, grown to the size of upstream's configs. Exit code 1: a bar does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import peers as others

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = 73  # of Open-Sora v1.3
SIZE = 1200  # bytes of a config of Open-Sora v1.3, on average
READ = (
    "import os, sys\npaths = [os.path.join(d, f) for d, _, fs in os.walk(sys.argv[1]) for f in fs if f[-3:] == '.py']\n"
)
PARSE = READ + "import ast\nfor path in paths:\n    ast.parse(open(path, 'rb').read())\n"
PARSE_CODE = READ + "import libcst\nfor path in paths:\n    libcst.parse_module(open(path, 'rb').read()).code\n"
_NUMBER = re.compile(r"(?<![\w.\"'])\d+(?![\w.\"'])")
CROSSING = (24, 48, 96, 200)
SHARED = """
from rewriter import plan
from rewriter.cli import main
plan.FORK_FROM = {start}
main()
"""
MMENGINE = """
import glob, sys
from mmengine.config import Config
for tree in sys.argv[1:]:
    for path in sorted(glob.glob(tree + "/configs/**/*.py", recursive=True)):
        Config.fromfile(path, import_custom_modules=False, lazy_import=False)
"""


@dataclass
class Row:
    """One command. ``fresh``: it writes, so every run gets a copy of its tree."""

    name: str
    command: Callable[[Path], Sequence[str]]
    fresh: bool = False
    slow: bool = False  # minutes: one run, and only with --slow
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # seconds, children included
    peaks: list[int] = field(default_factory=list)  # KiB

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass
class Bar:
    """``row`` is to take at most ``limit`` times what ``against`` takes."""

    row: str
    against: str
    limit: float


@dataclass
class Table:
    """Rows that run on one tree."""

    title: str
    tree: Path
    rows: list[Row]
    bars: list[Bar] = field(default_factory=list)
    large: bool = False  # a third of the runs, and no warm-up


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        tables = make_tables(options, Path(folder))
        for table in tables:
            measure(table, options, Path(folder))
            show(table)
        memory = peak_memory(tables)
        good = [judge(table, bar) for table in tables for bar in table.bars] + memory
        if options.json:
            Path(options.json).write_text(json.dumps(as_json(tables), indent=1), encoding="utf-8")
        return 0 if all(good) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="of the small tables; the large ones get a third")
    parser.add_argument("--tree", type=Path, help="an Open-Sora checkout to measure instead of the made one")
    parser.add_argument("--files", type=int, default=10_000, help="configs of the large tree (0: none)")
    parser.add_argument("--peers", default="", help="a folder with ast-grep, semgrep and fixit")
    parser.add_argument("--slow", action="store_true", help="peers that take minutes on the large tree, too")
    parser.add_argument("--only", default="", help="tables whose title holds this")
    parser.add_argument("--json", help="write the figures there")
    return parser.parse_args()


# --- trees -----------------------------------------------------------------------------------------


def make_tree(folder: Path, files: int, *, apart: bool = False) -> Path:
    """A checkout with ``files`` configs, variants of those of ``fixtures/v1.3``, none equal to another.

    ``apart``: every number in one of them is another in the others.
    """
    shutil.copytree(ROOT / "fixtures" / "v1.3" / "opensora", folder / "opensora")
    originals = sorted((ROOT / "fixtures" / "v1.3" / "configs").rglob("*.py"))
    for number in range(files):
        original = originals[number % len(originals)]
        text = original.read_text(encoding="utf-8") + f"\nseed_of_variant = {number}\n"
        text += _filler(max(SIZE - len(text), 0), number)
        if apart:
            text = _NUMBER.sub(lambda match, number=number: str(int(match[0]) + number), text)
        name = f"{original.parts[-3]}-{number // 1000}"
        others.write(folder / "configs" / name / original.parts[-2] / f"{original.stem}_{number}.py", text)
    return folder


def _filler(size: int, number: int) -> str:
    """Settings as they stand in real configs: buckets of resolutions, and plain numbers."""
    lines = ["bucket_config = {"]
    step = 0
    while sum(map(len, lines)) + len(lines) < size - 40:
        lines.append(f'    "{144 + 16 * step}p": {{1: (1.0, {475 - step}), 51: ((0.4, 0.3), {51 + number % 7})}},')
        step += 1
    return "\n".join([*lines, "}", f"warmup_steps = {1000 + number}", ""])


# --- tables ----------------------------------------------------------------------------------------


def make_tables(options: argparse.Namespace, folder: Path) -> list[Table]:
    small = options.tree.absolute() if options.tree else make_tree(folder / "small", CONFIGS)
    count = len(list((small / "configs").rglob("*.py")))
    ours = shutil.which("opensora-rewriter", path=str(Path(sys.executable).parent)) or "opensora-rewriter"
    tools = others.available(folder / "rules", sys.executable, options.peers)
    tables = [_start(folder, ours), _check(count, small, ours, tools), _rewrite(count, small, ours, tools),
              _resolve(small, ours), *[_crossing(folder, number) for number in CROSSING]]  # fmt: skip
    if options.files:
        tables += _large(make_tree(folder / "large", options.files), options.files, ours, tools)
        if options.slow:
            apart = make_tree(folder / "apart", options.files, apart=True)
            tables += _apart(apart, options.files, ours)
        tables.append(Table("memory", make_tree(folder / "hundred", 100), [
            Row("check of 100", lambda tree: [ours, "check", str(tree), "--all-configs"])]))  # fmt: skip
    return [table for table in tables if options.only in table.title]


def _python(name: str, code: str, *args: str) -> Row:
    return Row(name, lambda tree: [sys.executable, "-c", code, *(args or (str(tree / "configs"),))])


def _start(folder: Path, ours: str) -> Table:
    rows = [_python("python -c pass", "pass"), _python("import click", "import click"),
            Row("--help", lambda _: [ours, "--help"]), Row("--version", lambda _: [ours, "--version"])]  # fmt: skip
    return Table("start", folder, rows, [Bar("--help", "import click", 2.5), Bar("--version", "import click", 2.5)])


def _check(count: int, tree: Path, ours: str, tools: dict[str, tuple[others.Command, others.Command]]) -> Table:
    rows = [
        Row("check", lambda tree: [ours, "check", str(tree), "--all-configs"]),
        _python("import libcst", "import libcst"),
        _python("python -c pass", "pass"),
        _python("ast.parse of all", PARSE),
        *(Row(name, check) for name, (check, _) in tools.items()),
    ]
    return Table(f"check of {count} configs", tree, rows, [Bar("check", "import libcst", 0.75)])


def _rewrite(count: int, tree: Path, ours: str, tools: dict[str, tuple[others.Command, others.Command]]) -> Table:
    rows = [
        Row("rewrite --no-resolve", lambda tree: _rewriting(ours, tree, "--no-resolve"), fresh=True),
        _python("import libcst", "import libcst"),
        _python("libcst parse and code of all", PARSE_CODE),
        *(Row(name, rewrite, fresh=True) for name, (_, rewrite) in tools.items()),
    ]
    return Table(f"rewrite of {count} configs", tree, rows, [Bar("rewrite --no-resolve", "import libcst", 2.5)])


def _resolve(tree: Path, ours: str) -> Table:
    rows = [
        Row("rewrite", lambda tree: _rewriting(ours, tree, "--resolve", "always", "--python", sys.executable), True),
        Row("mmengine loads old and new", lambda tree: [sys.executable, "-c", MMENGINE, str(tree), str(tree)]),
    ]
    return Table("rewrite with mmengine", tree, rows, [Bar("rewrite", "mmengine loads old and new", 1.3)])


def _crossing(folder: Path, files: int) -> Table:
    """From how many files on a second process pays: ``rewriter.plan.FORK_FROM``."""
    tree = make_tree(folder / f"crossing-{files}", files)
    rows = [
        Row(name, lambda tree, start=start: [sys.executable, "-c", SHARED.format(start=start), "check", str(tree),
                                             "--all-configs"])
        for name, start in (("one process", files + 1), ("every processor", 2))
    ]  # fmt: skip
    return Table(f"shared work, {files} configs", tree, rows)


def _large(tree: Path, count: int, ours: str, tools: dict[str, tuple[others.Command, others.Command]]) -> list[Table]:
    rows = [
        Row("check", lambda tree: [ours, "check", str(tree), "--all-configs"]),
        _python("ast.parse of all", PARSE),
        *(Row(name, check, slow=name != "ast-grep") for name, (check, _) in tools.items()),
    ]
    bars = [Bar("check", "ast.parse of all", 1.25)] + ([Bar("check", "ast-grep", 1.0)] if "ast-grep" in tools else [])
    writing = [
        Row("rewrite --no-resolve", lambda tree: _rewriting(ours, tree, "--no-resolve"), fresh=True),
        _python("libcst parse and code of all", PARSE_CODE),
        *(Row(name, rewrite, True, name != "ast-grep") for name, (_, rewrite) in tools.items()),
    ]
    limit = Bar("rewrite --no-resolve", "libcst parse and code of all", 0.25)
    return [Table(f"check of {count} configs", tree, rows, bars, large=True),
            Table(f"rewrite of {count} configs", tree, writing, [limit], large=True)]  # fmt: skip


def _apart(tree: Path, count: int, ours: str) -> list[Table]:
    """The worst case: nothing that was read of one config serves for another."""
    check = [_python("ast.parse of all", PARSE), Row("check", lambda tree: [ours, "check", str(tree), "--all-configs"])]
    rewrite = [
        _python("libcst parse and code of all", PARSE_CODE),
        Row("rewrite --no-resolve", lambda tree: _rewriting(ours, tree, "--no-resolve"), fresh=True),
    ]
    return [Table(f"check of {count} configs, no number alike", tree, check, large=True),
            Table(f"rewrite of {count} configs, no number alike", tree, rewrite, large=True)]  # fmt: skip


def _rewriting(ours: str, tree: Path, *more: str) -> list[str]:
    return [ours, "rewrite", str(tree), "--all-configs", "--cache-dir", others.HUB, *more]


# --- measuring -------------------------------------------------------------------------------------


def measure(table: Table, options: argparse.Namespace, folder: Path) -> None:
    """Every row once as a warm-up, then in turn."""
    runs = max(options.runs // 3, 1) if table.large else options.runs
    table.rows = [row for row in table.rows if options.slow or not row.slow]
    for turn in range(runs + (not table.large)):
        for row in table.rows:
            if row.slow and turn:
                continue
            seconds, cpu, peak = run_once(row, table.tree, folder)
            if turn or table.large:
                row.seconds.append(seconds)
                row.cpu.append(cpu)
                row.peaks.append(peak)


def run_once(row: Row, tree: Path, folder: Path) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds and peak KiB (of the largest process) of one run."""
    needs_rules = row.name in ("Fixit", "libcst.tool codemod")
    copied = row.fresh or needs_rules
    place = folder / "copy" / tree.name if copied else tree
    if copied:
        shutil.copytree(tree, place, symlinks=True)
    if needs_rules:
        others.prepare(place)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(folder / "rules"), "NO_COLOR": "1"}
    with open(folder / "output", "wb") as output:
        start = time.perf_counter()
        child = subprocess.Popen(row.command(place), cwd=place if place.is_dir() else folder, env=environment,
                                 stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)  # fmt: skip
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if copied:
        shutil.rmtree(place)
    with open(folder / "output", "rb") as output:  # its end alone: a child's peak starts at what this process holds
        output.seek(max(output.seek(0, os.SEEK_END) - 4000, 0))
        told = output.read().decode("utf-8", "replace")
    if child.returncode not in (0, 1) or "Traceback (most" in told:
        print(f"  {row.name}: exit {child.returncode}: {told[-400:]}", file=sys.stderr)
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


# --- telling ---------------------------------------------------------------------------------------


def show(table: Table) -> None:
    yardstick = table.bars[0].against if table.bars else table.rows[0].name
    base = next(row for row in table.rows if row.name == yardstick)
    print(f"\n{table.title}\n  {'':32}{'median s':>10}{'CPU s':>8}{'peak MB':>9}  of `{yardstick}`")
    for row in sorted(table.rows, key=lambda row: row.median):
        peak = statistics.median(row.peaks) / 1024
        cpu = statistics.median(row.cpu)
        figures = f"{row.median:10.3f}{cpu:8.3f}{peak:9.0f}{ratio(row, base):10.2f}"
        print(f"  {row.name:32}{figures}   ({len(row.seconds)} runs)")


def ratio(row: Row, base: Row) -> float:
    """The median of the ratios run by run."""
    return statistics.median(a / b for a, b in zip(row.seconds, base.seconds, strict=False))


def judge(table: Table, bar: Bar) -> bool:
    rows = {row.name: row for row in table.rows}
    found = ratio(rows[bar.row], rows[bar.against])
    told = f"{table.title}: {bar.row} at most {bar.limit} of {bar.against}"
    print(f"{'pass' if found <= bar.limit else 'FAIL'}  {told}: {found:.2f}")
    return found <= bar.limit


def peak_memory(tables: list[Table]) -> list[bool]:
    """Peak of ``check`` on the large tree within 30 MB of its peak on 100 files."""
    hundred = next((table.rows[0] for table in tables if table.title == "memory"), None)
    large = next((table.rows[0] for table in tables if table.large and table.rows[0].name == "check"), None)
    print()
    if hundred is None or large is None:
        return []
    grown = (statistics.median(large.peaks) - statistics.median(hundred.peaks)) / 1024
    print(
        f"{'pass' if grown <= 30 else 'FAIL'}  memory: check of the large tree within 30 MB of 100 files: {grown:.0f}"
    )
    return [grown <= 30]


def as_json(tables: list[Table]) -> dict[str, dict[str, dict[str, list[float] | list[int]]]]:
    return {
        table.title: {row.name: {"seconds": row.seconds, "cpu": row.cpu, "peak_kib": row.peaks} for row in table.rows}
        for table in tables
    }


if __name__ == "__main__":
    sys.exit(main())
