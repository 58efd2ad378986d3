"""Writing is all or nothing: every file old or new, whole, whatever happens in between."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from rewriter.edit.write import WriteError, clean_leftovers, commit
from rewriter.model import FileEdit

Kind = Literal["source", "script", "config"]
OLD, NEW = b"x = 'old'\n" * 50, b"x = 'new, and longer'\r\n" * 60


def put(path: Path, data: bytes = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def edit(path: Path, kind: Kind = "config", old: bytes = OLD, new: bytes = NEW) -> FileEdit:
    return FileEdit(str(path), old, new, kind)


def checkout(root: Path) -> list[FileEdit]:
    """Two configs and two loader sources, all old; the edits are deliberately not in the order of writing."""
    configs = [put(root / "configs/b/inference/b.py"), put(root / "configs/a.py")]
    sources = [put(root / "opensora/models/vae.py"), put(root / "opensora/models/t5.py")]
    return [*(edit(path) for path in configs), *(edit(path, "source") for path in sources)]


def content(edits: list[FileEdit], kind: Kind) -> set[bytes]:
    return {Path(one.path).read_bytes() for one in edits if one.kind == kind}


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


# --- what is kept --------------------------------------------------------------------------------


def test_every_file_holds_its_new_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    edits = checkout(tmp_path)
    commit(edits)
    assert content(edits, "config") | content(edits, "source") == {NEW}
    assert len(files_below(tmp_path)) == len(edits)


def test_sources_are_renamed_first_and_configs_last(tmp_path: Path) -> None:
    edits = [edit(put(tmp_path / f"a{index}.py")) for index in range(3)]
    edits += [edit(put(tmp_path / "y.py"), "script"), edit(put(tmp_path / "z.py"), "source")]
    steps: list[str] = []
    commit(edits, hook=steps.append)
    renamed = [step for step in steps if step.startswith("renamed")]
    assert [step[-4:] for step in renamed] == ["z.py", "y.py", "0.py", "1.py", "2.py"]
    assert max(index for index, step in enumerate(steps) if step.startswith("staged")) < steps.index("checked")


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755, 0o664])
def test_mode_bits_stay(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "a.py")
    path.chmod(mode)
    commit([edit(path)])
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (NEW, mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays_where_the_system_permits(tmp_path: Path) -> None:
    path = put(tmp_path / "a.py")
    os.chown(path, 12345, 23456)
    path.chmod(0o6755)
    commit([edit(path)])
    about = path.stat()
    assert (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == (12345, 23456, 0o6755)


def test_a_link_stays_a_link_and_its_file_is_written(tmp_path: Path) -> None:
    real = put(tmp_path / "real.py")
    link = tmp_path / "configs" / "link.py"
    link.parent.mkdir()
    link.symlink_to("../real.py")
    commit([edit(link)])
    assert (os.readlink(link), real.read_bytes()) == ("../real.py", NEW)


def test_one_file_by_two_links_is_written_once_and_never_two_ways(tmp_path: Path) -> None:
    real, link = put(tmp_path / "real.py"), tmp_path / "link.py"
    link.symlink_to(real)
    with pytest.raises(WriteError, match="the same file"):
        commit([edit(real), edit(link, new=b"other\n")])
    assert real.read_bytes() == OLD
    commit([edit(real), edit(link)])
    assert real.read_bytes() == NEW


def test_an_edit_that_changes_nothing_touches_nothing(tmp_path: Path) -> None:
    path = put(tmp_path / "a.py")
    before = path.stat().st_ino
    commit([edit(path, new=OLD)])
    assert path.stat().st_ino == before


# --- nothing is written --------------------------------------------------------------------------


def nothing_written(edits: list[FileEdit], root: Path) -> None:
    assert content(edits, "config") | content(edits, "source") == {OLD}
    assert len(files_below(root)) == len(edits)


@pytest.mark.parametrize("meanwhile", ["edited", "a link to another file", "a link bent to another file"])
def test_a_file_that_changes_while_others_are_staged_is_not_overwritten(tmp_path: Path, meanwhile: str) -> None:
    named, real, other = tmp_path / "a.py", put(tmp_path / "real.py"), put(tmp_path / "other.py")
    if meanwhile.startswith("a link bent"):
        named.symlink_to(real)
    else:
        put(named)

    def change(step: str) -> None:
        if step.startswith("staged") and meanwhile == "edited":
            named.write_bytes(b"mine\n")
        elif step.startswith("staged"):
            named.unlink()
            named.symlink_to(other)

    source = edit(put(tmp_path / "vae.py"), "source")
    with pytest.raises(WriteError, match="changed by another program"):
        commit([source, edit(named)], hook=change)
    assert named.read_bytes() == (b"mine\n" if meanwhile == "edited" else OLD)
    assert {path.read_bytes() for path in (real, other, Path(source.path))} == {OLD}


@pytest.mark.parametrize("call", ["fsync", "open"])
def test_a_full_disk_stops_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    edits = checkout(tmp_path)
    real = getattr(os, call)
    calls = []

    def full(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) > 2 and (call != "open" or str(args[0]).endswith(".tmp")):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(os, call, full)
    with pytest.raises(WriteError, match="No space left on device"):
        commit(edits)
    monkeypatch.undo()
    nothing_written(edits, tmp_path)


def test_a_file_without_write_permission_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits = checkout(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("b.py"))
    with pytest.raises(WriteError, match="no write permission; nothing was written"):
        commit(edits)
    nothing_written(edits, tmp_path)


# --- a rename that fails -------------------------------------------------------------------------


def failing_replace(monkeypatch: pytest.MonkeyPatch, failing: set[int]) -> None:
    real, calls = os.replace, []

    def replace(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) in failing:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_rename_that_fails_midway_takes_the_others_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    edits = checkout(tmp_path)
    failing_replace(monkeypatch, {number})
    with pytest.raises(WriteError, match="cannot be replaced: Permission denied; nothing was written"):
        commit(edits)
    nothing_written(edits, tmp_path)


@pytest.mark.parametrize(
    ("failing", "named", "sources", "configs"),
    [
        ({3, 4}, r"t5\.py, .*vae\.py$", {NEW}, {OLD}),  # the first config; then putting back the second source
        ({4, 5}, r"t5\.py, .*vae\.py, .*a\.py$", {NEW}, {OLD, NEW}),  # the second config; then putting back the first
    ],
)
def test_what_cannot_be_put_back_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: set[int],
    named: str,
    sources: set[bytes],
    configs: set[bytes],
) -> None:
    edits = checkout(tmp_path)
    failing_replace(monkeypatch, failing)
    with pytest.raises(WriteError, match=f"could not be put back: .*{named}"):
        commit(edits)
    assert (content(edits, "source"), content(edits, "config")) == (sources, configs)
    assert len(files_below(tmp_path)) == 4


def test_a_file_that_another_wrote_after_us_is_not_put_back_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = checkout(tmp_path)
    source = tmp_path / "opensora/models/t5.py"
    failing_replace(monkeypatch, {3})

    def change(step: str) -> None:
        if step.startswith("renaming") and step.endswith("a.py"):
            source.write_bytes(b"mine\n")

    with pytest.raises(WriteError, match=r"could not be put back: .*t5\.py$"):
        commit(edits, hook=change)
    assert source.read_bytes() == b"mine\n"


# --- killed, interrupted, two at once --------------------------------------------------------------

CODE = """
import os, signal, sys
from pathlib import Path
from rewriter.model import FileEdit
from rewriter.edit.write import WriteError, commit
old, new = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes()
edits = [FileEdit(path, old, new, "source" if "opensora" in path else "config") for path in sys.argv[3:]]
steps = 0
def hook(step):
    global steps
    steps += 1
    if steps == STOP: ACTION
try:
    commit(edits, hook=hook)
except WriteError as error:
    print("WriteError", error)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""


def command(edits: list[FileEdit], stop: int = 0, action: str = "pass") -> list[str]:
    root = Path(os.path.commonpath([one.path for one in edits]))
    old, new = put(root.parent / "old", OLD), put(root.parent / "new", NEW)
    code = CODE.replace("STOP", str(stop)).replace("ACTION", action)
    names = [one.path.replace("/opensora/", "/./opensora/") for one in edits]
    return [sys.executable, "-c", code, str(old), str(new), *names]


def in_a_process(edits: list[FileEdit], stop: int, action: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(edits, stop, action), capture_output=True, text=True, check=False)


STEPS = 1 + 4 + 1 + 8 + 1  # locked, staged, checked, renaming and renamed, done


@pytest.mark.parametrize("stop", range(1, STEPS + 1))
def test_killed_at_any_step_every_file_is_whole_and_the_next_run_mends_it(tmp_path: Path, stop: int) -> None:
    root = tmp_path / "checkout"
    edits = checkout(root)
    run = in_a_process(edits, stop, "os.kill(os.getpid(), signal.SIGKILL)")
    assert run.returncode == -signal.SIGKILL  # so STEPS are as many as there are
    configs, sources = content(edits, "config"), content(edits, "source")
    assert configs | sources <= {OLD, NEW}
    assert not (NEW in configs and OLD in sources)
    again = [FileEdit(one.path, held, NEW, one.kind) for one in edits if (held := Path(one.path).read_bytes()) != NEW]
    commit(again)
    clean_leftovers(str(Path(one.path).parent) for one in edits)
    assert content(edits, "config") | content(edits, "source") == {NEW}
    assert len(files_below(root)) == 4


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("stop", [1, 3, 6, 7, 9, STEPS])
def test_interrupted_at_any_step_it_is_all_or_nothing_and_clean(tmp_path: Path, name: str, stop: int) -> None:
    root = tmp_path / "checkout"
    edits = checkout(root)
    run = in_a_process(edits, stop, f"os.kill(os.getpid(), signal.{name})")
    if name == "SIGINT":
        assert run.stdout == "KeyboardInterrupt\n"
    else:
        assert run.returncode == -signal.SIGTERM
    expected = OLD if stop <= 6 else NEW  # step 6 is "checked", the last before the first rename
    assert content(edits, "config") | content(edits, "source") == {expected}
    assert len(files_below(root)) == 4


def test_two_runs_at_once_do_not_mix(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    edits = checkout(root)
    quick = command(edits)
    slow = [part.replace("if steps == 0: pass", "import time; time.sleep(0.05)") for part in quick]
    assert slow != quick
    runs = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for words in (slow, quick)]
    output = [run.communicate(timeout=60)[0] for run in runs]
    assert sorted("changed by another program" in text for text in output) == [False, True], output
    assert content(edits, "config") | content(edits, "source") == {NEW}
    assert len(files_below(root)) == 4


def test_leftovers_of_a_dead_run_go_and_those_of_a_live_one_stay(tmp_path: Path) -> None:
    dead_process = subprocess.Popen([sys.executable, "-c", "pass"])
    dead_process.wait()
    put(tmp_path / f".a.py.opensora-rewriter-{dead_process.pid}-0123abcd.tmp")
    put(tmp_path / f".a.py.opensora-rewriter-{10**20}-0123abcd.tmp")  # no process has such a number
    live = put(tmp_path / f".a.py.opensora-rewriter-{os.getppid()}-0123abcd.tmp")
    other = put(tmp_path / ".a.py.opensora-rewriter-notes.tmp")
    clean_leftovers([str(tmp_path), str(tmp_path / "gone")])
    assert files_below(tmp_path) == sorted([live.name, other.name])
