"""Faults while the whole command writes: whatever stops it, every file is old or new and the checkout still builds.

"Builds" is what the sources say by the ``ast`` reading: no config passes a ``cache_dir`` that its loader rejects.
:mod:`test_write` holds the same against the writer alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewriter.read.configs import read_config
from rewriter.read.loaders import Loaders

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

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
    loaders = Loaders()
    found = []
    for path in sorted((root / "configs").rglob("*.py")):
        for component in read_config(path.read_bytes(), str(path)).components:
            values = dict(component.values)
            kind = values.get("type")
            if "cache_dir" not in values or kind is None or not isinstance(kind.value, str):
                continue
            trace = loaders.trace(str(root), kind.value, values)
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
from rewriter.edit import write
from rewriter.cli import main
fixture, root = sys.argv[1:]
words = ["rewrite", root, "--cache-dir", "/models/hf", "--all-configs", "--no-resolve"]
real = write.commit
stop, seen = 0, []
def hook(step):
    seen.append(step)
    if len(seen) == stop:
        os.kill(os.getpid(), signal.SIGKILL)
write.commit = lambda edits: real(edits, hook=hook)
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


def test_what_a_run_that_was_killed_left_beside_loaders_goes_with_one_that_edits_none(tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    left = root / "opensora" / "models" / "vae" / ".vae.py.opensora-rewriter-4194305-0a1b2c3d.tmp"
    left.write_bytes(b"half")
    rewrite(root, "--set", "vae.from_pretrained=a/b", "--check")
    assert left.exists()
    done = rewrite(root, "--set", "vae.from_pretrained=a/b")
    assert (done.returncode, "(loader source)" in done.stdout, left.exists()) == (0, False, False)


# --- interrupted when everything is written ------------------------------------------------------

INTERRUPTED = """
import os, signal, sys
from rewriter.cli import main
from rewriter.edit import write
from rewriter.report import text
press = lambda: os.kill(os.getpid(), signal.NAME)
commit, summarize = write.commit, text.summarize_rewrite
def hook(step):
    if step == WHEN or WHEN == "renamed" and step.startswith(WHEN): press()
def commit_and_press(edits):
    commit(edits, hook=hook)
    if WHEN == "written": press()
def press_and_summarize(*args, **options):
    if WHEN == "reported": press()
    return summarize(*args, **options)
write.commit, text.summarize_rewrite = commit_and_press, press_and_summarize
main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("when", ["renamed", "done", "written", "reported"])
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


# --- a full disk ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4096k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted by root only (test_write injects the same error)")
    yield place
    subprocess.run(["umount", str(place)], check=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tmpfs")
def test_a_full_disk_writes_everything_or_nothing(small_disk: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / "v1.2", small_disk / "checkout"))
    old = contents(root)
    filler = small_disk / "filler"
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


# --- two at once, and a file edited in between ---------------------------------------------------


CHANGED_MEANWHILE = """
import sys
from rewriter.edit import write
from rewriter.cli import main
victim = VICTIM
real = write.commit
def hook(step):
    if step.startswith(WHEN):
        with open(victim, "ab") as file:
            file.write(b"# mine\\n")
def commit(edits):
    if WHEN == "read":
        hook("read")
    real(edits, hook=hook)
write.commit = commit
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
