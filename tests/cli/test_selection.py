"""Which files a run takes, which packages a checkout has, and how a file is read."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rewriter.checkout import config_files, find_packages, find_root, select
from rewriter.files import Unreadable, outside, read_bytes

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

FILES = (
    "configs/opensora/inference/16x256.py",
    "configs/opensora/inference/deep/64x512.py",
    "configs/opensora/train/16x256.py",
    "configs/opensora/train/notes.txt",
    "configs/vae/inference/image.py",
    "opensora/registry.py",
)


REGISTRATION = "@MODELS.register_module()\ndef f(): pass\n"


def put(root: Path, *names: str, text: str = "x = 1\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(REGISTRATION if name.endswith("registry.py") else text)


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


def test_a_checkout_gives_its_inference_configs_and_a_config_folder_all_below_it(checkout: Path) -> None:
    both = ["configs/opensora/inference/16x256.py", "configs/vae/inference/image.py"]
    every = sorted(name for name in FILES if name.startswith("configs") and name.endswith(".py"))
    assert chosen(checkout) == both
    assert chosen(checkout, all_configs=True) == chosen(checkout, "configs") == every
    assert chosen(checkout, cwd=checkout / "configs") == every
    assert chosen(checkout, "configs/opensora") == chosen(checkout, "configs/opensora/") == every[:3]


def test_a_folder_without_sources_still_gives_its_configs(tmp_path: Path) -> None:
    put(tmp_path, "configs/a/inference/x.py", "configs/a/train/y.py")
    selection = select(["."], cwd=str(tmp_path))
    assert [(target.root, target.named) for target in selection.targets] == [(None, False)] * 2
    assert len(chosen(tmp_path, "configs/a")) == 2


def test_a_folder_elsewhere_in_the_checkout_gives_nothing_of_the_checkout(checkout: Path) -> None:
    """Issue 15: `check scripts` read the root's configs."""
    put(checkout, "scripts/run.py")
    assert chosen(checkout, "opensora") == chosen(checkout, "scripts") == []
    assert chosen(checkout, cwd=checkout / "scripts") == chosen(checkout, "."), "without a PATH it is the checkout"


def test_a_named_folder_beside_configs_gives_its_own_config_folders_only(checkout: Path) -> None:
    """Issue 15: `rewrite pavdm/configs` rewrote 20 files of ./configs and none of its own."""
    put(checkout, "pavdm/configs/inference/a.py", "pavdm/configs/train/b.py", "pavdm/models/c.py")
    both = ["pavdm/configs/inference/a.py", "pavdm/configs/train/b.py"]
    assert chosen(checkout, "pavdm/configs") == chosen(checkout, "pavdm") == both
    assert chosen(checkout, "pavdm/configs/train") == ["pavdm/configs/train/b.py"]
    assert set(both) < set(config_files(str(checkout)) and chosen(checkout, all_configs=True))
    assert both[0] in chosen(checkout)
    assert both[1] not in chosen(checkout)


@pytest.mark.parametrize("name", ["config/a.py", "configs/a.py", "configs/deep/a.py", "opensora/configs/a.py"])
def test_a_root_without_inference_folders_gives_every_config(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, "opensora/registry.py", "opensora/__init__.py")
    (target,) = select([], cwd=str(tmp_path)).targets
    assert (target.path, target.root) == (str(tmp_path / name), str(tmp_path))


def test_passed_over_configs_are_one_note_with_their_count(checkout: Path) -> None:
    (note,) = select([], cwd=str(checkout)).notes
    assert note.message == "2 more configs: --all-configs"
    assert select([], all_configs=True, cwd=str(checkout)).notes == ()
    assert select(["configs"], cwd=str(checkout)).notes == ()


def test_checkouts_are_found_three_levels_below_and_said(tmp_path: Path) -> None:
    put(tmp_path, *(f"{folder}/{file}" for folder in ("a/b/c", "d", "e/f/g/h") for file in FILES))
    selection = select([], cwd=str(tmp_path))
    assert {target.root for target in selection.targets} == {str(tmp_path / "a/b/c"), str(tmp_path / "d")}
    assert selection.notes[0].message == "checkouts found below this folder: a/b/c, d"


# --- packages ------------------------------------------------------------------------------------


def packages(root: Path) -> list[str]:
    return [os.path.relpath(path, root).replace(os.sep, "/") for path in find_packages(str(root))]


def make_package(root: Path, name: str) -> None:
    put(root, f"{name}/__init__.py", f"{name}/models/vae/registry.py")


@pytest.mark.parametrize("name", ["javisdit", "src/magicdrivedit", "opensora/opensora", "opensora"])
def test_a_package_of_any_name_makes_a_checkout(tmp_path: Path, name: str) -> None:
    put(tmp_path, "configs/a.py")
    assert find_root(str(tmp_path / "configs")) is None
    make_package(tmp_path, name)
    assert packages(tmp_path) == [name]
    assert find_root(str(tmp_path / "configs")) == str(tmp_path)


def test_opensora_comes_first_and_siblings_follow(tmp_path: Path) -> None:
    for name in ("models", "opensora", "zoo"):
        make_package(tmp_path, name)
    put(tmp_path, "docs/__init__.py", "docs/a.py", "scripts/registry.py", ".hidden/__init__.py", ".hidden/registry.py")
    assert packages(tmp_path) == ["opensora", "models", "zoo"]
    put(tmp_path / "fork", "opensora/registry.py", "vidgen/registry.py")
    assert packages(tmp_path / "fork") == ["opensora"], "which needs no __init__.py"


def test_a_package_that_is_named_is_its_own_package(tmp_path: Path) -> None:
    for name in ("vidgen", "vidgen/sub"):
        make_package(tmp_path, name)
    assert packages(tmp_path / "vidgen") == ["."]


def test_configs_of_a_submodule_belong_to_the_submodule(tmp_path: Path) -> None:
    make_package(tmp_path, "opensora/opensora")
    put(tmp_path, "configs/own.py", "opensora/configs/inference/a.py")
    assert find_root(str(tmp_path / "opensora/configs/inference")) == str(tmp_path / "opensora")
    assert chosen(tmp_path) == ["configs/own.py"]
    assert config_files(str(tmp_path)) == [str(tmp_path / "configs/own.py")]


def test_a_named_file_is_taken_whatever_its_suffix_or_the_patterns(checkout: Path) -> None:
    put(checkout, ".gitignore", text="*.txt\n")
    selection = select(["configs/opensora/train/notes.txt"], exclude=["*.txt"], include=["*.py"], cwd=str(checkout))
    assert [(target.named, target.root) for target in selection.targets] == [(True, str(checkout))]


def test_a_path_that_is_not_there_is_wrong_usage(checkout: Path) -> None:
    with pytest.raises(FileNotFoundError, match="confgis: no such file or folder"):
        select(["confgis"], cwd=str(checkout))


def test_include_replaces_the_pattern_relative_to_the_checkout(checkout: Path) -> None:
    assert chosen(checkout, include=["configs/**/train/*.py"]) == ["configs/opensora/train/16x256.py"]
    assert chosen(checkout, include=["/opensora"]) == ["opensora/registry.py"]
    assert chosen(checkout, "configs/opensora", include=["train/"]) == ["configs/opensora/train/16x256.py"]
    assert chosen(checkout, "opensora", include=["*.py"]) == ["opensora/registry.py"]
    assert chosen(checkout, exclude=["configs/vae"]) == ["configs/opensora/inference/16x256.py"]


# --- what git ignores --------------------------------------------------------------------------


@needs_git
def test_ignored_files_are_left_out_in_a_work_tree(checkout: Path) -> None:
    put(checkout, ".gitignore", text="image.py\n/configs/opensora/inference/my_*.py\n!keep.py\nscratch/\n")
    put(checkout, "configs/opensora/.gitignore", text="*.tmp.py\n!inference/my_best.py\n")
    extra = ("my_own.py", "my_best.py", "a.tmp.py", "scratch/inference/x.py", "16x256.py")
    put(checkout, *(f"configs/opensora/inference/{name}" for name in extra))
    assert len(chosen(checkout)) == 6, "only git says what is ignored"
    git(checkout, "init", "-q")
    assert chosen(checkout) == [f"configs/opensora/inference/{name}" for name in ("16x256.py", "my_best.py")]
    git(checkout, "add", "-f", "configs/vae/inference/image.py")
    assert "configs/vae/inference/image.py" in chosen(checkout), "git does not ignore what it tracks"


# --- odd files ---------------------------------------------------------------------------------


def test_links_to_nowhere_and_what_is_no_file_stay_in_the_selection(checkout: Path) -> None:
    folder = checkout / "configs/opensora/inference"
    put(folder, "folder.py/inference/inner.py")
    os.mkfifo(folder / "pipe.py")
    (folder / "dangling.py").symlink_to("nowhere.py")
    (folder / "loop.py").symlink_to("loop.py")
    (folder / "around").symlink_to(folder)
    assert chosen(checkout, "configs/opensora/inference") == [
        f"configs/opensora/inference/{name}"
        for name in ("16x256.py", "dangling.py", "deep/64x512.py", "folder.py/inference/inner.py", "loop.py", "pipe.py")
    ]
    reasons = {
        "dangling.py": "No such file",
        "loop.py": "Too many levels",
        "folder.py": "Is a directory",
        "pipe.py": "pipe",
    }
    for name, reason in reasons.items():
        with pytest.raises(Unreadable, match=f"cannot be read: .*{reason}"):
            read_bytes(str(folder / name))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_reported(checkout: Path) -> None:
    (checkout / "configs/vae/inference/image.py").chmod(0)
    with pytest.raises(Unreadable, match="Permission denied"):
        read_bytes(str(checkout / "configs/vae/inference/image.py"))
    (checkout / "configs/opensora").chmod(0)
    try:
        selection = select((), cwd=str(checkout))
    finally:
        (checkout / "configs/opensora").chmod(0o755)
    assert [finding.code for finding in selection.findings] == ["OSR900"]
    assert len(selection.targets) == 1


def test_only_links_that_leave_the_checkout_are_outside(checkout: Path, tmp_path: Path) -> None:
    put(tmp_path, "shared.py", "checkout-2/x.py")
    inside, out, sibling = (checkout / f"configs/{name}.py" for name in ("inside", "out", "sibling"))
    inside.symlink_to(checkout / "opensora/registry.py")
    out.symlink_to("../../shared.py")
    sibling.symlink_to(tmp_path / "checkout-2/x.py")
    assert [outside(str(path), str(checkout)) for path in (inside, out, sibling)] == [False, True, True]
    assert not outside(str(out), None)
