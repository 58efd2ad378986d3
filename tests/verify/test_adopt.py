"""A flat download or a clone becomes a cache that every loader reads; cut off anywhere, nothing half-made is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from caches import COMMIT, OTHER, blob_name
from caches import T5 as REPO

from rewriter.verify.adopt import Adopted, AdoptError, Mode, adopt_folder
from rewriter.verify.cache import inspect_cache
from rewriter.verify.directories import SYNTHETIC, CachedRepo
from rewriter.verify.needs import Need

FILES = {
    "config.json": b'{"model_type": "t5"}',
    "spiece.model": b"pieces",
    "tokenizer_config.json": b"{}",
    "pytorch_model.bin": b"weights" * 100,
    "vae/config.json": b"{}",
}


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    folder = tmp_path / "flat" / "t5-v1_1-xxl"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hub"


def note_download(flat: Path, commit: str = COMMIT) -> None:
    """What ``hf download --local-dir`` leaves beside the files."""
    for name, content in FILES.items():
        path = flat / ".cache" / "huggingface" / "download" / (name + ".metadata")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{commit}\n{blob_name(name, content)}\n1700000000.0\n")
    (flat / ".cache" / "huggingface" / ".gitignore").write_text("*")


def adopt(flat: Path, hub: Path, revision: str | None = None, mode: Mode = "auto", replace: bool = False) -> Adopted:
    return adopt_folder(str(flat), REPO, str(hub), revision, mode, replace, None)


def tree(folder: Path) -> list[tuple[str, int, int]]:
    found = [folder, *folder.rglob("*")]
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_ino) for path in found)


def names(done: Adopted) -> set[str]:
    """The files of the snapshot."""
    snapshot = Path(done.snapshot)
    return {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()}


def needs(hub: Path) -> list[Need]:
    return [Need(REPO, str(hub), class_name=name) for name in ("AutoTokenizer", "T5EncoderModel")]


def test_a_flat_download_becomes_a_cache_that_verifies_and_that_the_hub_library_reads(flat: Path, hub: Path) -> None:
    before = tree(flat)
    done = adopt(flat, hub)
    snapshot = Path(done.snapshot)
    assert tree(flat) == before
    assert inspect_cache(needs(hub), hash=True).findings == ()
    assert names(done) == set(FILES)
    for name, content in FILES.items():
        assert (snapshot / name).read_bytes() == content
        assert not os.path.isabs(os.readlink(snapshot / name))
    blobs = {path.name for path in (snapshot.parent.parent / "blobs").iterdir()}
    assert blobs == {blob_name(name, content) for name, content in FILES.items()}
    huggingface_hub = pytest.importorskip("huggingface_hub")
    assert huggingface_hub.snapshot_download(REPO, cache_dir=hub, local_files_only=True) == str(snapshot)
    for name in FILES:
        assert huggingface_hub.try_to_load_from_cache(REPO, name, cache_dir=hub) == str(snapshot / name)
    scanned = huggingface_hub.scan_cache_dir(hub)
    assert (list(scanned.warnings), [repo.repo_id for repo in scanned.repos]) == ([], [REPO])


def test_run_again_it_changes_nothing(flat: Path, hub: Path) -> None:
    adopt(flat, hub)
    before = tree(hub)
    again = adopt(flat, hub)
    assert (again.linked, again.copied, again.present) == (0, 0, len(FILES))
    assert tree(hub) == before


def refuse_links(*_: object, **__: object) -> None:
    raise OSError(18, "Invalid cross-device link")


def test_files_are_hard_linked_else_copied_and_symlinks_are_needed(
    flat: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = adopt(flat, hub / "linked")
    assert (done.linked, done.copied) == (4, 0)  # the two "{}" share a blob
    assert (Path(done.snapshot) / "pytorch_model.bin").stat().st_ino == (flat / "pytorch_model.bin").stat().st_ino
    monkeypatch.setattr(os, "link", refuse_links)
    with pytest.raises(AdoptError, match=r"Invalid cross-device link; use --copy"):
        adopt(flat, hub, mode="link")
    assert not list((hub / "models--DeepFloyd--t5-v1_1-xxl").rglob("config.json"))
    assert adopt(flat, hub).copied == 4
    monkeypatch.setattr(os, "symlink", refuse_links)
    with pytest.raises(AdoptError, match="Invalid cross-device link"):
        adopt(flat, hub / "other")


def test_a_snapshot_that_lacks_files_and_a_ref_with_a_newline_are_completed(flat: Path, hub: Path) -> None:
    snapshot = Path(adopt(flat, hub, revision=COMMIT).snapshot)
    (snapshot / "pytorch_model.bin").unlink()
    shutil.rmtree(snapshot / "vae")
    (snapshot.parent.parent / "refs" / "main").write_text(COMMIT + "\n")
    adopt(flat, hub, revision=COMMIT)
    assert inspect_cache(needs(hub), hash=True).findings == ()
    assert (snapshot / "vae" / "config.json").read_bytes() == b"{}"


def test_an_unknown_commit_is_made_of_the_files(flat: Path, hub: Path) -> None:
    done = adopt(flat, hub)
    assert (done.commit, done.origin) == (
        "ad09ed00ec96cf4b31527c53eb2860fd8cc1cdf7",
        "a synthetic commit, made of the files' hashes",
    )
    (flat / "config.json").write_text("{}")
    assert adopt(flat, hub / "other").commit not in (done.commit, COMMIT)


def test_the_commit_of_download_metadata_is_taken_and_no_notes_of_tools_are_adopted(flat: Path, hub: Path) -> None:
    note_download(flat)
    (flat / "._____temp").mkdir()  # ModelScope's
    for name in (".msc", ".mv", "._____temp/pytorch_model.bin"):
        (flat / name).write_bytes(b"half")
    done = adopt(flat, hub)
    assert (done.commit, done.origin, names(done)) == (COMMIT, "from download metadata", set(FILES))
    with pytest.raises(AdoptError, match=f"{OTHER} is not {COMMIT}, from download metadata"):
        adopt(flat, hub, revision=OTHER)
    (flat / "config.json").write_text('{"changed": true}')  # so it is not that commit any more
    assert adopt(flat, hub / "other").commit.startswith(SYNTHETIC)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_what_is_not_kept_in_lfs_gets_the_names_that_git_itself_gives(flat: Path, hub: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        settings = [*identity, "-c", "filter.lfs.clean=cat", "-c", "core.autocrlf=false"]
        run = subprocess.run(["git", "-C", str(flat), *settings, *words], check=True, capture_output=True, text=True)
        return run.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "weights")
    with pytest.raises(AdoptError, match=r"is not [0-9a-f]{40}, from git HEAD"):
        adopt(flat, hub, revision=OTHER)
    snapshot = Path(adopt(flat, hub).snapshot)
    assert snapshot.name == git("rev-parse", "HEAD")
    for line in git("ls-tree", "-r", "HEAD").splitlines():
        hash, name = line.split()[2], line.split("\t")[1]
        blob = os.path.basename(os.readlink(snapshot / name))
        assert blob == (blob_name(name, FILES[name]) if name.endswith((".bin", ".model")) else hash)


@pytest.mark.parametrize("place", ["model.safetensors.incomplete", ".cache/huggingface/download/x.incomplete"])
def test_an_unfinished_download_is_a_warning(flat: Path, hub: Path, place: str) -> None:
    (flat / place).parent.mkdir(parents=True, exist_ok=True)
    (flat / place).write_text("half")
    done = adopt(flat, hub)
    assert done.unfinished == (os.path.basename(place),)
    assert not list(Path(done.snapshot).rglob("*.incomplete"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("printf 'version https://git-lfs.github.com/spec/v1\\nsize 123\\n' > pytorch_model.bin", "git lfs pull"),
        ("echo secret > ../secret; ln -s ../secret extra.json", "leads out of the folder"),
        ("ln -s vae more", "not a file, or a link"),
        ("ln -s nowhere.json extra.json", "extra.json|nowhere.json"),
        ("mkfifo pipe", "not a file"),
        ("rm -r *", "holds no files"),
        ("rm -r ../t5-v1_1-xxl; touch ../t5-v1_1-xxl", "not a folder"),
        ("mkdir blobs snapshots", "in the cache's layout already"),
        ("mkdir models--org--name", "in the cache's layout already"),
    ],
)
def test_a_source_that_cannot_be_adopted_is_refused_in_words(flat: Path, hub: Path, script: str, message: str) -> None:
    subprocess.run(["sh", "-c", script], cwd=flat, check=True)
    with pytest.raises(AdoptError, match=message):
        adopt(flat, hub)
    assert not hub.exists()


@pytest.mark.parametrize("place", ["t5-v1_1-xxl", "DeepFloyd/t5-v1_1-xxl", "any"])
def test_one_level_too_high_is_refused_with_the_folder_that_is_meant(tmp_path: Path, hub: Path, place: str) -> None:
    folder = tmp_path / "downloads" / place
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (tmp_path / "downloads" / "README.txt").write_text("")
    with pytest.raises(AdoptError, match=f"name the folder that does: {folder}$"):
        adopt(tmp_path / "downloads", hub)
    other = tmp_path / "downloads" / "other-model"
    other.mkdir()
    (other / "config.json").write_text("{}")
    with pytest.raises(AdoptError, match=f"name the folder that does: {folder}, {other}$"):
        adopt(tmp_path / "downloads", hub)


def test_options_that_cannot_be_right_are_refused(flat: Path, hub: Path) -> None:
    for repo_id in ("t5", "../x", "a/b/c", "a--b/c", "a b/c", "/a", ""):
        with pytest.raises(AdoptError, match="not ORG/NAME"):
            adopt_folder(str(flat), repo_id, str(hub), None, "auto", False, None)
    for revision in ("main", "0123abc", COMMIT.upper(), COMMIT + "\n"):
        with pytest.raises(AdoptError, match="40 hex digits"):
            adopt(flat, hub, revision)
    with pytest.raises(AdoptError, match="is inside"):
        adopt(flat, flat / "hub")


def test_another_commit_in_the_cache_is_kept_unless_asked_and_other_content_always(flat: Path, hub: Path) -> None:
    adopt(flat, hub, OTHER)
    before = tree(hub)
    with pytest.raises(AdoptError, match=f"is {OTHER}, not {COMMIT}"):
        adopt(flat, hub, COMMIT)
    assert tree(hub) == before
    snapshot = Path(adopt(flat, hub, COMMIT, replace=True).snapshot)
    assert (snapshot.parent.parent / "refs" / "main").read_text() == COMMIT
    assert (snapshot.parent / OTHER).is_dir()
    (flat / "config.json").unlink()
    (flat / "config.json").write_text("{ }")
    with pytest.raises(AdoptError, match="has another content"):
        adopt(flat, hub, COMMIT, replace=True)


class Cut(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("mode", ["auto", "copy"])
@pytest.mark.parametrize("step", range(24))
def test_cut_off_at_any_step_no_ref_leads_to_what_is_half_done(flat: Path, hub: Path, mode: Mode, step: int) -> None:
    steps = iter(range(step))

    def hinder(original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **more: object) -> object:
            if next(steps, None) is None:
                raise Cut
            return original(*args, **more)

        return call

    with pytest.MonkeyPatch.context() as patched, contextlib.suppress(Cut):
        for name in ("link", "replace", "symlink", "mkdir"):
            patched.setattr(os, name, hinder(getattr(os, name)))
        adopt(flat, hub, mode=mode)
    half = inspect_cache(needs(hub), hash=True)
    assert half.inspected[0].commit is None or half.findings == ()
    adopt(flat, hub, mode=mode)
    assert inspect_cache(needs(hub), hash=True).findings == ()
    assert not list(hub.rglob("*.incomplete"))


@pytest.mark.torch
def test_transformers_loads_adopted_weights(hub_cache: Path, hub: Path, tmp_path: Path) -> None:
    import transformers

    (found,) = inspect_cache([Need(REPO, str(hub_cache), class_name="T5EncoderModel")]).inspected
    flat = tmp_path / "t5"
    shutil.copytree(CachedRepo(str(hub_cache), REPO).get_snapshot(str(found.commit)), flat, symlinks=False)
    adopt(flat, hub)
    assert inspect_cache(needs(hub), hash=True).findings == ()
    options = {"cache_dir": str(hub), "local_files_only": True}
    ours = transformers.T5EncoderModel.from_pretrained(REPO, **options).state_dict()
    theirs = transformers.T5EncoderModel.from_pretrained(str(flat)).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(bool((ours[name] == theirs[name]).all()) for name in ours)
    assert transformers.AutoTokenizer.from_pretrained(REPO, **options)("a cat").input_ids
