"""What keeps the command quick: cheap imports, shared work that changes no result, and memory that stays flat."""

from __future__ import annotations

import dataclasses
import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import FIXTURES

from rewriter import parallel, plan
from rewriter.frozen import Frozen, factory, replace
from rewriter.types import REMOVE, Finding, Span

HEAVY = ("libcst", "mmengine", "torch", "rich", "sarif_pydantic", "pydantic", "huggingface_hub", "rewriter.proof",
         "rewriter.writer", "asyncio", "multiprocessing")  # fmt: skip


def imported(*args: str | Path) -> set[str]:
    """The modules that are loaded when a command line has run, in a process of its own."""
    code = (
        "import sys\nfrom rewriter.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def many(folder: Path, files: int) -> Path:
    """A checkout with ``files`` configs, variants of v1.3's."""
    os.symlink(FIXTURES / "v1.3" / "opensora", folder / "opensora")
    originals = sorted((FIXTURES / "v1.3" / "configs").rglob("*.py"))
    for number in range(files):
        original = originals[number % len(originals)]
        place = folder / "configs" / f"g{number // 100}" / "inference" / f"{original.stem}_{number}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(original.read_bytes() + b"\nseed_of_variant = %d\n" % number)
    return folder


@pytest.mark.parametrize("args", [["check", FIXTURES / "v1.3", "--all-configs"], ["--version"], ["--help"]])
def test_what_check_and_help_do_not_import(args: list[str | Path]) -> None:
    found = imported(*args)
    assert "click" in found
    assert found.isdisjoint(HEAVY)


def test_rewrite_imports_no_tool_that_it_does_not_use(tmp_path: Path) -> None:
    root = many(tmp_path, 1)
    found = imported("rewrite", root, "--all-configs", "--no-resolve", "--cache-dir", tmp_path)
    assert "libcst" in found
    assert found.isdisjoint({"mmengine", "torch", "sarif_pydantic", "libcst.matchers", "libcst.codemod"})


# --- shared work -----------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 1000])
def test_results_come_in_the_order_of_the_items_whoever_made_them(processes: int, count: int) -> None:
    assert parallel.spread(range(count), lambda item: item * item, processes) == [i * i for i in range(count)]


def test_items_that_are_all_unlike_are_shared_too() -> None:
    items = range(20_000)
    assert parallel.spread(items, str, 2, like=lambda item: item) == [str(item) for item in items]


def test_the_work_of_a_worker_that_dies_is_done_again() -> None:
    parent = os.getpid()

    def work(item: int) -> int:
        if os.getpid() != parent:
            os._exit(9)
        return item + 1

    assert parallel.spread(range(200), work, 3) == list(range(1, 201))


def test_an_error_in_a_worker_is_raised_as_without_workers() -> None:
    def work(item: int) -> int:
        if item == 150:
            raise ValueError(f"item {item}")
        return item

    with pytest.raises(ValueError, match="item 150"):
        parallel.spread(range(200), work, 3)


def served(work: Callable[[int], object]) -> tuple[dict[int, list[object]], bytes]:
    """What a worker brings home of chunks 2 and 0 of three, called in this process; and which numbers it left."""
    taken, put = os.pipe()
    os.write(put, b"\2\0\0\0\0\0\0\0")
    os.close(put)
    results, answer = os.pipe()
    parallel.serve(taken, [[1, 2], [3, 4], [5]], work, answer)
    left = os.read(taken, 100)
    os.close(taken)
    return parallel.gathered(results), left


def test_a_worker_brings_home_what_it_took_or_nothing() -> None:
    assert served(lambda item: item * 10) == ({2: [50], 0: [10, 20]}, b"")
    assert served(lambda item: 1 // (item - 5)) == ({}, b"\0\0\0\0")  # raises at once: the rest is left to others
    assert served(lambda _: lambda: None) == ({}, b"")  # cannot be pickled


@pytest.mark.parametrize("processes", [1, 3])
def test_every_item_is_counted_once_whoever_did_it(processes: int) -> None:
    counted: list[int] = []
    parallel.spread(range(200), str, processes, lambda: counted.append(os.getpid()))
    assert counted == [os.getpid()] * 200


def test_where_no_further_process_is_allowed_those_that_there_are_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, allowed = os.fork, iter([True, False])

    def limited() -> int:
        if next(allowed):
            return fork()
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", limited)
    assert parallel.spread(range(200), str, 4) == [str(item) for item in range(200)]
    with pytest.raises(StopIteration):
        next(allowed)


def test_where_forking_is_not_safe_one_process_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert parallel.processors() == 1


def test_no_process_is_left_behind() -> None:
    parallel.spread(range(200), str, 3)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("command", [["check"], ["rewrite", "--no-resolve", "--cache-dir", "/models/hf/hub"]])
def test_several_processes_say_and_write_what_one_does(
    command: list[str], tmp_path: Path, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FORK_FROM", 40)
    monkeypatch.setattr(parallel, "CHUNK", 7)
    told = []
    for processes in (1, 3):
        monkeypatch.setattr(parallel, "processors", lambda count=processes: count)
        root = tmp_path / str(processes)
        root.mkdir()
        many(root, 60)
        (root / "configs" / "g0" / "inference" / "zz_broken.py").write_text("vae = dict(\n")
        result = run(*command, ".", "--all-configs", "--no-source" if command[0] == "rewrite" else "-v", cwd=root)
        configs = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("configs/**/*.py"))}
        told.append((result.exit_code, result.stdout, configs))  # type: ignore[attr-defined]
    assert told[0] == told[1]
    assert "zz_broken.py:1" in told[0][1]


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    peaks = []
    for files in (100, 1500):
        root = tmp_path / str(files)
        root.mkdir()
        command = [sys.executable, "-m", "rewriter", "check", str(many(root, files)), "--all-configs"]
        measured = (
            "import resource, subprocess, sys\n"
            "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        out = subprocess.run([sys.executable, "-c", measured, *command], capture_output=True, text=True, check=True)
        peaks.append(int(out.stdout))
    assert peaks[1] - peaks[0] < 10 * 1024  # KiB


# --- values ----------------------------------------------------------------------------------------


class Point(Frozen):
    """A value of every kind of field."""

    x: int
    y: int = 2
    names: dict[str, str] = factory(dict)


def test_a_value_is_what_a_frozen_dataclass_is() -> None:
    point = Point(1)
    assert point == Point(x=1, y=2)
    assert point != Point(1, 3)
    assert Point(1).names is not Point(1).names
    assert repr(point) == "Point(x=1, y=2, names={})"
    assert pickle.loads(pickle.dumps(point)) == point
    assert replace(point, y=5) == dataclasses.replace(point, y=5) == Point(1, 5)
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y", "names"]  # type: ignore[arg-type]
    assert hash(Span(1, 2, 3, 4)) == hash(Span(1, 2, 3, 4))
    assert len({Span(1, 2, 3, 4), Span(1, 2, 3, 4)}) == 1
    assert Span(1, 2, 3, 4) != Finding("OSR001", "", 1, 0, "", "")
    for change in (lambda: setattr(point, "x", 3), lambda: delattr(point, "x"), lambda: setattr(point, "z", 3)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]


def test_the_mark_for_a_removed_keyword_survives_the_way_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(REMOVE)) is REMOVE
