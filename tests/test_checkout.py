"""Which files a run takes, and how a file is read: behaviours of issue 2's PATH, --include, --exclude and odd files."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rewriter.checkout import NoSuchPath, Unreadable, find_root, outside, read_bytes, select

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX file types")
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

FILES = (
    "configs/opensora/inference/16x256.py",
    "configs/opensora/inference/deep/64x512.py",
    "configs/opensora/train/16x256.py",
    "configs/opensora/train/notes.txt",
    "configs/vae/inference/image.py",
    "opensora/registry.py",
)


def put(root: Path, *names: str, text: str = "x = 1\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    put(root, *FILES)
    return root


def chosen(root: Path, *paths: str, cwd: Path | None = None, **options: object) -> list[str]:
    selection = select(paths, cwd=str(cwd or root), **options)  # type: ignore[arg-type]
    return [os.path.relpath(target.path, root).replace(os.sep, "/") for target in selection.targets]


def git(root: Path, *words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True, env=environment)


# --- which files -------------------------------------------------------------------------------


def test_a_checkout_gives_its_inference_configs(checkout: Path) -> None:
    assert chosen(checkout) == ["configs/opensora/inference/16x256.py", "configs/vae/inference/image.py"]


def test_all_configs_gives_every_python_file_below_configs(checkout: Path) -> None:
    assert chosen(checkout, all_configs=True) == [
        "configs/opensora/inference/16x256.py",
        "configs/opensora/inference/deep/64x512.py",
        "configs/opensora/train/16x256.py",
        "configs/vae/inference/image.py",
    ]


@pytest.mark.parametrize("folder", ["configs/opensora", "configs/opensora/"])
def test_a_folder_inside_configs_gives_every_python_file_below_it(checkout: Path, folder: str) -> None:
    assert len(chosen(checkout, folder)) == 3


def test_configs_itself_gives_everything_also_from_within(checkout: Path) -> None:
    assert len(chosen(checkout, "configs")) == 4
    assert len(chosen(checkout, cwd=checkout / "configs")) == 4


def test_a_folder_without_sources_still_gives_its_configs(tmp_path: Path) -> None:
    put(tmp_path, "configs/a/inference/x.py", "configs/a/train/y.py")
    selection = select(["."], cwd=str(tmp_path))
    assert [(target.root, target.named) for target in selection.targets] == [(None, False)]
    assert len(chosen(tmp_path, "configs/a")) == 2


def test_a_folder_of_checkouts_gives_the_configs_of_each(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/{file}" for name in ("one", "sub/two") for file in FILES))
    targets = select(["."], cwd=str(tmp_path)).targets
    assert [target.root for target in targets] == [str(tmp_path / "one")] * 2 + [str(tmp_path / "sub/two")] * 2


def test_checkouts_in_hidden_folders_and_behind_links_are_not_looked_for(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/{file}" for name in ("one", ".trash/two", "sub/.cache/three") for file in FILES))
    put(tmp_path, "notes.txt")
    (tmp_path / "link").symlink_to("one")
    assert {target.root for target in select(["."], cwd=str(tmp_path)).targets} == {str(tmp_path / "one")}


def test_a_folder_without_a_config_gives_none(tmp_path: Path) -> None:
    put(tmp_path, "configs/notes.txt", "configs/train/a.py")
    assert chosen(tmp_path) == chosen(tmp_path, "configs", exclude=["*.py"]) == []


def test_a_folder_elsewhere_in_the_checkout_stands_for_the_checkout(checkout: Path) -> None:
    assert chosen(checkout, "opensora") == chosen(checkout, ".")


def test_a_named_file_is_taken_whatever_its_suffix_or_the_patterns(checkout: Path) -> None:
    put(checkout, ".gitignore", text="*.txt\n")
    selection = select(["configs/opensora/train/notes.txt"], exclude=["*.txt"], include=["*.py"], cwd=str(checkout))
    assert [(target.named, target.root) for target in selection.targets] == [(True, str(checkout))]


def test_a_file_reached_twice_is_there_once_and_named(checkout: Path) -> None:
    selection = select([".", "configs/vae/../vae/inference/image.py", "configs"], cwd=str(checkout))
    assert [target.named for target in selection.targets if target.path.endswith("image.py")] == [True]


def test_a_path_that_is_not_there_is_wrong_usage(checkout: Path) -> None:
    with pytest.raises(NoSuchPath, match="confgis: no such file or folder"):
        select(["confgis"], cwd=str(checkout))


def test_include_replaces_the_pattern_relative_to_the_checkout(checkout: Path) -> None:
    assert chosen(checkout, include=["configs/**/train/*.py"]) == ["configs/opensora/train/16x256.py"]
    assert chosen(checkout, include=["/opensora"]) == ["opensora/registry.py"]
    assert chosen(checkout, "configs/opensora", include=["train/"]) == ["configs/opensora/train/16x256.py"]
    assert chosen(checkout, "opensora", include=["*.py"]) == ["opensora/registry.py"]


def test_a_later_negated_include_takes_back(checkout: Path) -> None:
    assert chosen(checkout, include=["*.py", "!/opensora/**", "!configs/opensora/**"]) == [
        "configs/vae/inference/image.py"
    ]


def test_exclude_takes_away(checkout: Path) -> None:
    assert chosen(checkout, exclude=["configs/vae"]) == ["configs/opensora/inference/16x256.py"]


def test_the_root_is_the_nearest_folder_with_configs_and_sources(checkout: Path) -> None:
    inner = checkout / "configs/opensora/inference"
    assert find_root(str(inner)) == str(checkout)
    assert find_root(str(checkout.parent)) is None


# --- what git ignores --------------------------------------------------------------------------


def ignoring_checkout(root: Path) -> None:
    put(root, ".gitignore", text="image.py\n/configs/opensora/inference/my_*.py\n# 16x256.py\n!keep.py\nscratch/\n")
    put(root, "configs/opensora/.gitignore", text="*.tmp.py\n!inference/my_best.py\n")
    extra = ("my_own.py", "my_best.py", "a.tmp.py", "scratch/inference/x.py", "16x256.py")
    put(root, *(f"configs/opensora/inference/{name}" for name in extra))


IGNORING = ["configs/opensora/inference/16x256.py", "configs/opensora/inference/my_best.py"]


def test_ignored_files_are_left_out_without_git(checkout: Path) -> None:
    ignoring_checkout(checkout)
    assert chosen(checkout) == IGNORING
    assert "configs/opensora/inference/scratch/inference/x.py" not in chosen(checkout, all_configs=True)


@needs_git
def test_ignored_files_are_left_out_with_git(checkout: Path) -> None:
    ignoring_checkout(checkout)
    git(checkout, "init", "-q")
    assert chosen(checkout) == IGNORING
    git(checkout, "add", "-f", "configs/vae/inference/image.py")
    assert "configs/vae/inference/image.py" in chosen(checkout), "git does not ignore what it tracks"


GITIGNORE_LINES = (
    "image.py", "*.py", "16x*.py", "*age.py", "*x[0-9]*.py", "?mage.py", "[i]mage.py", "[!i]*.py", "[^i]*.py",
    "\\image.py", "IMAGE.PY", "image", "deep", "deep/", "deep/*", "/configs", "/image.py", "**/vae",
    "configs/**/inference/*.py", "inference/*.py", "vae/inference", "*", "*/", "#image.py", "!image.py", "  ", "/",
    "image.py ", "image.py\\ ", "*.py\n!image.py", "vae/\n!vae/inference/image.py", "deep\n!*.py",
)  # fmt: skip


@needs_git
@pytest.mark.parametrize("lines", GITIGNORE_LINES)
def test_the_ignore_files_are_read_as_git_reads_them(
    checkout: Path, lines: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(checkout.parent))  # nobody's own excludes
    monkeypatch.setenv("XDG_CONFIG_HOME", str(checkout.parent))
    put(checkout, ".gitignore", text=lines + "\n")
    without_git = chosen(checkout, all_configs=True)
    git(checkout, "init", "-q")
    assert without_git == chosen(checkout, all_configs=True)


@needs_git
def test_git_knows_the_excludes_that_no_gitignore_holds(checkout: Path) -> None:
    git(checkout, "init", "-q")
    put(checkout, ".git/info/exclude", text="image.py\n")
    assert chosen(checkout) == ["configs/opensora/inference/16x256.py"]


@needs_git
def test_a_file_deleted_but_still_tracked_is_not_taken(checkout: Path) -> None:
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    (checkout / "configs/vae/inference/image.py").unlink()
    assert chosen(checkout) == ["configs/opensora/inference/16x256.py"]


def test_a_broken_repository_falls_back_to_the_ignore_files(checkout: Path) -> None:
    ignoring_checkout(checkout)
    put(checkout, ".git", text="gitdir: /nowhere\n")
    assert chosen(checkout) == IGNORING


def test_without_a_git_program_the_ignore_files_are_read(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignoring_checkout(checkout)
    (checkout / ".git").mkdir()
    monkeypatch.setenv("PATH", str(checkout))
    assert chosen(checkout) == IGNORING


@needs_git
@posix
def test_a_hostile_git_config_runs_nothing(checkout: Path) -> None:
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    canary = checkout.parent / "canary"
    script = checkout / "run"
    script.write_text(f"#!/bin/sh\ntouch '{canary}'\n")
    script.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "pager.ls-files", "core.sshCommand", "alias.ls-files"):
        git(checkout, "config", key, f"!{script}" if key.startswith("alias") else str(script))
    hooks = checkout / "hooks"
    hooks.mkdir()
    shutil.copy(script, hooks / "post-index-change")
    git(checkout, "config", "core.hooksPath", str(hooks))
    assert len(chosen(checkout)) == 2
    assert not canary.exists()


@needs_git
def test_git_variables_of_a_running_hook_do_not_lead_astray(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(checkout, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(checkout / "no-index"))
    assert len(chosen(checkout)) == 2


def test_pathspec_is_imported_only_where_an_ignore_line_could_matter(checkout: Path) -> None:
    put(checkout, ".gitignore", text="*.so\nbuild/\n__pycache__/\ndocs/_build/\n*.py[cod]\n")
    code = (
        "import sys\nfrom rewriter.checkout import select\n"
        f"assert len(select((), cwd={str(checkout)!r}).targets) == 2\n"
        "print([name for name in ('pathspec', 'subprocess', 'libcst', 'click') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# --- odd files ---------------------------------------------------------------------------------


@posix
def test_odd_entries_stay_in_the_selection_and_fail_when_read(checkout: Path) -> None:
    folder = checkout / "configs/opensora/inference"
    (folder / "folder.py").mkdir()
    put(folder, "folder.py/inference/inner.py")
    os.mkfifo(folder / "pipe.py")
    (folder / "dangling.py").symlink_to("nowhere.py")
    (folder / "loop.py").symlink_to("loop.py")
    (folder / "around").symlink_to(folder)
    odd = ("dangling.py", "folder.py", "loop.py", "pipe.py")
    assert chosen(checkout, "configs/opensora/inference") == [
        f"configs/opensora/inference/{name}" for name in sorted((*odd, "16x256.py", "deep/64x512.py"))
    ]
    messages = {}
    for name in odd:
        with pytest.raises(Unreadable) as caught:
            read_bytes(str(folder / name))
        messages[name] = caught.value.message
        assert caught.value.remedy
    assert messages == {
        "folder.py": "a folder, not a file",
        "pipe.py": "a named pipe, not a file",
        "dangling.py": "a link to a file that does not exist",
        "loop.py": "a link that leads round in a circle",
    }


@needs_git
@posix
def test_odd_entries_stay_in_the_selection_under_git_too(checkout: Path) -> None:
    git(checkout, "init", "-q")
    folder = checkout / "configs/vae/inference"
    (folder / "folder.py").mkdir()
    os.mkfifo(folder / "pipe.py")
    (folder / "dangling.py").symlink_to("nowhere.py")
    assert len(chosen(checkout, "configs/vae")) == 4


@posix
def test_a_name_with_a_newline_is_a_name(checkout: Path) -> None:
    put(checkout, "configs/vae/inference/two\nlines.py")
    assert "configs/vae/inference/two\nlines.py" in chosen(checkout)


@posix
def test_a_socket_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.py")
        with pytest.raises(Unreadable, match="socket"):
            read_bytes(str(tmp_path / "s.py"))


@posix
def test_a_device_is_not_read() -> None:
    with pytest.raises(Unreadable, match=r"^a device, not a file$"):
        read_bytes(os.devnull)


@pytest.mark.parametrize(
    ("name", "message"),
    [("image.py", "no permission to read it"), (".", "a folder, not a file")],
)
def test_what_may_not_be_opened_is_told_for_what_it_is(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    def refuse(path: str, _flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Unreadable) as caught:
        read_bytes(str(checkout / "configs/vae/inference" / name))
    assert caught.value.message == message


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files of /proc")
def test_a_file_that_grows_is_read_no_further_than_the_limit() -> None:
    status = "/proc/self/status"  # a regular file of 0 bytes, by its own account
    assert read_bytes(status).startswith(b"Name:")
    with pytest.raises(Unreadable, match=r"^more than the 100 bytes that a config may have$"):
        read_bytes(status, limit=100)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files of /proc")
def test_a_file_that_the_disk_does_not_give_is_told() -> None:
    with pytest.raises(Unreadable, match=r"^cannot be opened: Input/output error$"):
        read_bytes("/proc/self/mem")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told(checkout: Path) -> None:
    (checkout / "configs/vae/inference/image.py").chmod(0)
    with pytest.raises(Unreadable, match="no permission"):
        read_bytes(str(checkout / "configs/vae/inference/image.py"))
    (checkout / "configs/opensora").chmod(0)
    try:
        selection = select((), cwd=str(checkout))
    finally:
        (checkout / "configs/opensora").chmod(0o755)
    assert [finding.code for finding in selection.findings] == ["OSR900"]
    assert len(selection.targets) == 1


def test_a_folder_that_cannot_be_listed_is_a_finding(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("vae"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    selection = select((), cwd=str(checkout))
    assert [(finding.code, finding.path) for finding in selection.findings] == [
        ("OSR900", str(checkout / "configs/vae"))
    ]
    assert len(selection.targets) == 1


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    put(tmp_path, "big.py", text="#" * 100)
    assert len(read_bytes(str(tmp_path / "big.py"), limit=100)) == 100
    with pytest.raises(Unreadable, match="100 bytes, more than the 99"):
        read_bytes(str(tmp_path / "big.py"), limit=99)


def test_a_path_no_system_call_takes_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be opened"):
        read_bytes(str(tmp_path / "a\0b.py"))


@posix
def test_only_links_that_leave_the_checkout_are_outside(checkout: Path, tmp_path: Path) -> None:
    put(tmp_path, "shared.py", "checkout-2/x.py")
    inside, out, sibling = (checkout / f"configs/{name}.py" for name in ("inside", "out", "sibling"))
    inside.symlink_to(checkout / "opensora/registry.py")
    out.symlink_to("../../shared.py")
    sibling.symlink_to(tmp_path / "checkout-2/x.py")
    assert [outside(str(path), str(checkout)) for path in (inside, out, sibling)] == [False, True, True]
    assert not outside(str(out), None)
