"""Faults while the whole command writes: whatever stops it, every file is old or new and the checkout still builds.

"Builds" is what the sources say by the ``ast`` reading: no config passes a ``cache_dir`` that its loader rejects.
:mod:`test_writer` holds the same against the writer alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import FIXTURES

from rewriter import checkout, plan
from rewriter.configs import read_config
from rewriter.loaders import Sources
from rewriter.plan import keywords
from rewriter.request import Request
from rewriter.types import Finding
from rewriter.writer import WriteError, commit

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and file systems")

SAMPLE = "configs/opensora-v1-2/inference/sample.py"
CLEAN = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")}


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def rejected(root: Path) -> list[str]:
    """Components whose ``cache_dir`` would be a TypeError when the checkout builds them."""
    sources = Sources(str(root))
    found = []
    for path in sorted((root / "configs").rglob("*.py")):
        for component in read_config(path.read_bytes(), str(path)).components:
            values = dict(component.values)
            kind = values.get("type")
            if "cache_dir" not in values or kind is None or not isinstance(kind.value, str):
                continue
            trace = sources.trace(kind.value, keywords(values))
            if trace.found and any(rejection.key == "cache_dir" for rejection in trace.rejections):
                found.append(f"{path.relative_to(root)}: {'.'.join(component.keys)}")
    return found


def command(root: Path, *words: str, code: str | None = None) -> list[str]:
    start = [sys.executable, "-m", "rewriter"] if code is None else [sys.executable, "-c", code]
    return [*start, "rewrite", str(root), "--all-configs", "--no-resolve", *words]


def rewrite(root: Path, *words: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(root, *words, code=code), capture_output=True, text=True, env=CLEAN, cwd=FIXTURES.parent, check=False
    )


# --- killed at every step ------------------------------------------------------------------------

# One process: it imports the command once and forks a run for every step, which kills itself there.
KILLED_AT_EVERY_STEP = """
import contextlib, io, json, os, shutil, signal, sys
from rewriter import writer
from rewriter.cli import main
fixture, root = sys.argv[1:]
words = ["rewrite", root, "--cache-dir", "/models/hf", "--all-configs", "--no-resolve"]
real = writer.commit
stop, seen = 0, []
def hook(step):
    seen.append(step)
    if len(seen) == stop:
        os.kill(os.getpid(), signal.SIGKILL)
writer.commit = lambda edits: real(edits, hook=hook)
def run():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(words)
        except SystemExit:
            pass
shutil.copytree(fixture, f"{root}.new")
words[1] = f"{root}.new"
run()
words[1] = root
print(json.dumps(seen))
for stop in range(1, len(seen) + 1):
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(fixture, root)
    child = os.fork()
    if child == 0:
        seen.clear()
        run()
        os._exit(0)
    print(json.dumps([stop, os.WTERMSIG(os.waitpid(child, 0)[1])]), flush=True)
    sys.stdin.readline()  # the test looks at what is left
"""


@posix
@pytest.mark.parametrize("tag", ["v1.0", "v1.2"])
def test_killed_at_every_step_of_the_command_the_checkout_still_builds(tag: str, tmp_path: Path) -> None:
    """Few files, so that every step can be tried; sources and configs among them."""
    fixture = Path(shutil.copytree(FIXTURES / tag, tmp_path / "fixture"))
    for path in (fixture / "configs").rglob("*.py"):
        if path.parent.name != "inference" or path.parent.parent.name not in ("opensora", "opensora-v1-2", "dit"):
            path.unlink()
    old = contents(fixture)
    root = tmp_path / "checkout"
    driver = subprocess.Popen(
        [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(fixture), str(root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=CLEAN, cwd=FIXTURES.parent,
    )  # fmt: skip
    assert driver.stdin is not None
    assert driver.stdout is not None
    with driver:
        steps = json.loads(driver.stdout.readline())
        new = contents(tmp_path / "checkout.new")
        changed = {name for name in old if old[name] != new[name]}
        assert {name.split("/")[0] for name in changed} == {"configs", "opensora"}
        assert len(steps) == 3 + 3 * len(changed)  # locked, checked, done; staged, renaming, renamed
        mixed = 0
        for stop in range(1, len(steps) + 1):
            assert json.loads(driver.stdout.readline()) == [stop, signal.SIGKILL]
            now = contents(root)
            assert all(now[name] in (old[name], new[name]) for name in old), steps[stop - 1]
            assert rejected(root) == [], steps[stop - 1]
            mixed += any(now[name] != old[name] for name in old) and any(now[name] != new[name] for name in old)
            if stop in (2, len(steps) // 2, len(steps) - 1):
                rewrite(root, "--cache-dir", "/models/hf")
                assert contents(root) == new, "the next run does not mend it"  # and no leftover remains
            driver.stdin.write("\n")
            driver.stdin.flush()
        assert mixed >= len(changed) - 1
        print(f"{tag}: killed at {len(steps)} steps, {mixed} left old and new files side by side, all of them build")


@posix
def test_what_a_run_that_was_killed_left_beside_loaders_goes_with_one_that_edits_none(tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    left = root / "opensora" / "models" / "vae" / ".vae.py.opensora-rewriter-4194305-0a1b2c3d.tmp"
    left.write_bytes(b"half")
    for words in (["--check"], []):
        assert left.exists()
        done = rewrite(root, "--set", "vae.from_pretrained=a/b", *words)
        assert done.returncode == len(words), done.stdout
        assert "(loader source)" not in done.stdout
    assert not left.exists()


# --- interrupted when everything is written ------------------------------------------------------

INTERRUPTED = """
import os, signal, sys, threading
from rewriter import report, writer
from rewriter.cli import main
press = lambda *_: os.kill(os.getpid(), signal.NAME)
commit, summary = writer.commit, report.rewrite_summary
def hook(step):
    if step == WHEN or WHEN == "renamed" and step.startswith(WHEN): press()
def committed(edits):
    commit(edits, hook=hook)
    if WHEN == "written": press()
def told(*args, **options):
    if WHEN == "told": press()
    return summary(*args, **options)
writer.commit, report.rewrite_summary = committed, told
if WHEN == "ended":
    threading._register_atexit(press)
main()
"""


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("when", ["renamed", "done", "written", "told", "ended"])
def test_interrupted_when_everything_is_written_it_says_so_all_the_same(name: str, when: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    old = contents(root)
    code = INTERRUPTED.replace("WHEN", repr(when)).replace("NAME", name)
    done = rewrite(root, "--cache-dir", "/models/hf", code=code)
    assert done.returncode == (0 if name == "SIGINT" else -signal.SIGTERM)
    assert done.stderr.startswith("warning: cache directory /models/hf does not exist\n")
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert done.stdout.splitlines()[-1].startswith("components: "), done.stdout
    assert all(f"rewrote {name}" in done.stdout.replace(f"{root}/", "") for name in old
               if (root / name).read_bytes() != old[name])  # fmt: skip
    assert contents(root) != old
    assert rejected(root) == []


@posix
@pytest.mark.parametrize("when", ["locked", "checked"])
def test_interrupted_when_nothing_is_written_it_says_no_more_than_that(when: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    old = contents(root)
    code = INTERRUPTED.replace("WHEN", repr(when)).replace("NAME", "SIGINT")
    done = rewrite(root, "--cache-dir", "/models/hf", code=code)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: interrupted\n")
    assert contents(root) == old


# --- a full disk ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """``small_disk(free)``: an empty file system of the fixture's size, made so that ``free`` KiB are left over."""
    mounted: list[Path] = []

    def make(kilobytes: int) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
        try:
            done = subprocess.run(mount, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no mount program")
        if done.returncode != 0:
            pytest.skip("a small file system can be mounted by root only (test_writer injects the same error)")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", str(place)], check=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tmpfs")
def test_a_full_disk_writes_everything_or_nothing(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(4096)
    root = Path(shutil.copytree(FIXTURES / "v1.2", disk / "checkout"))
    old = contents(root)
    filler = disk / "filler"
    outcomes = []
    for free in (0, 4, 16, 64, 128):  # KiB; staging every file of this fixture takes about 150
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        os.truncate(filler, filler.stat().st_size - free * 1024)
        done = rewrite(root, "--cache-dir", "/models/hf")
        filler.unlink()
        outcomes.append(done.returncode)
        if done.returncode == 2:
            assert "No space left on device" in done.stderr
            assert "nothing was written" in done.stderr
            assert "Traceback" not in done.stderr
            assert contents(root) == old, f"{free} KiB free"
    assert outcomes[:3] == [2, 2, 2], outcomes
    done = rewrite(root, "--cache-dir", "/models/hf")
    assert done.returncode in (0, 1), done.stderr
    assert contents(root).keys() == old.keys()
    assert contents(root) != old
    assert rejected(root) == []


def test_a_report_on_a_full_disk_is_an_error_message(small_disk: Callable[[int], Path], tmp_path: Path) -> None:
    disk = small_disk(64)
    (disk / "filler").write_bytes(b"\0" * 60 * 1024)
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    words = ["check", str(root), "--all-configs", "--output-format", "sarif", "--output-file", str(disk / "report")]
    done = subprocess.run([sys.executable, "-m", "rewriter", *words], capture_output=True, text=True, env=CLEAN,
                          cwd=FIXTURES.parent, check=False)  # fmt: skip
    assert done.returncode == 2, done.stdout[-500:]
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


# --- two at once, and a file edited in between ---------------------------------------------------


def test_two_runs_at_once_leave_what_one_of_them_alone_would_have(tmp_path: Path) -> None:
    expected = []
    for name in ("a", "b"):
        root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / f"only {name}" / "checkout"))
        rewrite(root, "--cache-dir", f"/models/{name}")
        expected.append(contents(root))
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "both" / "checkout"))
    runs = [
        subprocess.Popen(command(root, "--cache-dir", f"/models/{name}"), stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True, env=CLEAN, cwd=FIXTURES.parent)
        for name in ("a", "b")
    ]  # fmt: skip
    errors = [run.communicate(timeout=120)[1] for run in runs]
    assert contents(root) in expected
    assert all(run.returncode in (0, 1, 2) for run in runs)
    assert any(run.returncode in (0, 1) for run in runs), errors
    for run, error in zip(runs, errors, strict=True):
        assert "Traceback" not in error
        assert (run.returncode == 2) == ("changed by another program" in error)


CHANGED_MEANWHILE = """
import sys
from rewriter import plan, writer
from rewriter.cli import main
victim = VICTIM
real = writer.commit
def hook(step):
    if step.startswith(WHEN):
        with open(victim, "ab") as file:
            file.write(b"# mine\\n")
def commit(edits):
    if WHEN == "read":
        hook("read")
    real(edits, hook=hook)
writer.commit = commit
main(sys.argv[1:])
"""


@pytest.mark.parametrize("when", ["read", "locked"])
@pytest.mark.parametrize("victim", [SAMPLE, "opensora/models/text_encoder/clip.py"])
def test_a_file_edited_by_another_after_it_was_read_stops_the_run(when: str, victim: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    old = contents(root)
    code = CHANGED_MEANWHILE.replace("VICTIM", repr(str(root / victim))).replace("WHEN", repr(when))
    done = rewrite(root, "--cache-dir", "/models/hf", code=code)
    assert done.returncode == 2, done.stdout
    assert "changed by another program" in done.stderr
    assert victim in done.stderr
    assert contents(root) == {**old, victim: old[victim] + b"# mine\n"}


def test_a_file_that_could_not_be_put_back_is_named_and_nothing_else_is_claimed(tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    code = """
import os, sys
from rewriter.cli import main
real, calls = os.replace, []
def replace(old, new):
    calls.append(new)
    if len(calls) > 1:
        raise PermissionError(13, "Permission denied")
    real(old, new)
os.replace = replace
main(sys.argv[1:])
"""
    old = contents(root)
    done = rewrite(root, "--cache-dir", "/models/hf", code=code)
    assert done.returncode == 2, done.stdout
    (first,) = (name for name, data in contents(root).items() if data != old[name])
    told = done.stderr.splitlines()[-1]
    assert told.endswith(f"cannot be replaced: Permission denied; written, and could not be put back: {root / first}")
    assert "nothing was written" not in done.stderr
    assert rejected(root) == []


def test_a_source_edited_while_mmengine_reads_the_configs_is_not_overwritten(tmp_path: Path) -> None:
    """A refused config makes the source edits anew (``plan.drop``), of the bytes that the plan read."""
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    targets = checkout.select([str(root)], all_configs=True, cwd=str(root)).targets
    made = plan.rewrite(targets, Request(cache_dir="/models/hf"), plan.Loaders())
    assert len(made.sources) > 1
    for edit in made.sources:
        Path(edit.path).write_bytes(edit.old + b"# mine\n")
    needs_clip = {
        result.path: Finding("OSR901", result.path, 1, 0, "", "refused") for result in made.results
        if any(decision.type == "clip" for decision in result.decisions)
    }  # fmt: skip
    left = plan.drop(made, needs_clip)
    assert 0 < len(left.sources) < len(made.sources)
    with pytest.raises(WriteError, match="changed by another program"):
        commit(left.edits)
    assert all(Path(edit.path).read_bytes().endswith(b"# mine\n") for edit in made.sources)


def test_a_source_that_vanishes_after_it_was_read_is_a_message(tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    code = """
import os, sys
from rewriter import plan
from rewriter.cli import main
real = plan._edit_sources
def vanish(changes, read):
    for path in changes: os.unlink(path)
    return real(changes, read)
plan._edit_sources = vanish
main(sys.argv[1:])
"""
    configs = {name: data for name, data in contents(root).items() if name.startswith("configs")}
    done = rewrite(root, "--cache-dir", "/models/hf", code=code)
    assert done.returncode == 2
    assert "No such file or directory; nothing was written" in done.stderr
    assert "Traceback" not in done.stderr, done.stderr[-500:]
    assert {name: data for name, data in contents(root).items() if name.startswith("configs")} == configs
