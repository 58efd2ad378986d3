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

from rewriter.verify.adopt import AdoptError, AdoptPlan, plan_adopt, run_adopt
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


def adopt(flat: Path, hub: Path, **more: object) -> Path:
    return Path(run_adopt(plan_adopt(str(flat), REPO, str(hub), **more)).snapshot)  # type: ignore[arg-type]


def tree(folder: Path) -> list[tuple[str, int, int]]:
    found = [folder, *folder.rglob("*")]
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_ino) for path in found)


def names(plan: AdoptPlan) -> set[str]:
    """The files that a plan places, as the snapshot names them."""
    return {Path(file.link).relative_to(plan.repo.get_snapshot(plan.commit)).as_posix() for file in plan.files}


def needs(hub: Path) -> list[Need]:
    return [Need(REPO, str(hub), class_name=name) for name in ("AutoTokenizer", "T5EncoderModel")]


def test_a_flat_download_becomes_a_cache_that_verifies(flat: Path, hub: Path) -> None:
    before = tree(flat)
    plan_adopt(str(flat), REPO, str(hub))
    assert not hub.exists()
    snapshot = adopt(flat, hub)
    assert tree(flat) == before
    assert inspect_cache(needs(hub), hash=True).findings == ()
    assert {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()} == set(FILES)
    for name, content in FILES.items():
        assert (snapshot / name).read_bytes() == content
        assert not os.path.isabs(os.readlink(snapshot / name))
    blobs = {path.name for path in (snapshot.parent.parent / "blobs").iterdir()}
    assert blobs == {blob_name(name, content) for name, content in FILES.items()}


def test_the_hub_library_finds_what_was_adopted(flat: Path, hub: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    snapshot = adopt(flat, hub)
    assert huggingface_hub.snapshot_download(REPO, cache_dir=hub, local_files_only=True) == str(snapshot)
    for name in FILES:
        assert huggingface_hub.try_to_load_from_cache(REPO, name, cache_dir=hub) == str(snapshot / name)
    scanned = huggingface_hub.scan_cache_dir(hub)
    assert list(scanned.warnings) == []
    assert [repo.repo_id for repo in scanned.repos] == [REPO]


def test_run_again_it_changes_nothing(flat: Path, hub: Path) -> None:
    adopt(flat, hub)
    before = tree(hub)
    again = run_adopt(plan_adopt(str(flat), REPO, str(hub)))
    assert not again.changed
    assert tree(hub) == before


def refuse_links(*_: object, **__: object) -> None:
    raise OSError(18, "Invalid cross-device link")


def test_files_are_hard_linked_and_without_hard_links_auto_copies_and_link_refuses(
    flat: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_adopt(plan_adopt(str(flat), REPO, str(hub / "linked")))
    assert (done.linked, done.copied) == (4, 0)  # the two "{}" share a blob
    assert (Path(done.snapshot) / "pytorch_model.bin").stat().st_ino == (flat / "pytorch_model.bin").stat().st_ino
    monkeypatch.setattr(os, "link", refuse_links)
    with pytest.raises(AdoptError, match=r"Invalid cross-device link; use --copy"):
        adopt(flat, hub, mode="link")
    assert not list((hub / "models--DeepFloyd--t5-v1_1-xxl").rglob("config.json"))
    assert run_adopt(plan_adopt(str(flat), REPO, str(hub))).copied == 4


def test_without_symlinks_the_snapshot_holds_real_files(flat: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "symlink", refuse_links)
    snapshot = adopt(flat, hub)
    assert not (snapshot / "config.json").is_symlink()
    assert inspect_cache(needs(hub)).findings == ()


def test_a_snapshot_that_lacks_files_and_a_ref_with_a_newline_are_completed(flat: Path, hub: Path) -> None:
    snapshot = adopt(flat, hub, revision=COMMIT)
    (snapshot / "pytorch_model.bin").unlink()
    shutil.rmtree(snapshot / "vae")
    (snapshot.parent.parent / "refs" / "main").write_text(COMMIT + "\n")
    adopt(flat, hub, revision=COMMIT)
    assert inspect_cache(needs(hub), hash=True).findings == ()
    assert (snapshot / "vae" / "config.json").read_bytes() == b"{}"


def test_an_unknown_commit_is_made_of_the_files_and_said_so(flat: Path, hub: Path) -> None:
    plan = plan_adopt(str(flat), REPO, str(hub))
    assert plan.origin == "synthetic"
    assert "not known" in plan.notes[0]
    assert len(plan.commit) == 40
    assert plan.commit.startswith(SYNTHETIC)
    (flat / "config.json").write_text("{}")
    assert plan_adopt(str(flat), REPO, str(hub)).commit != plan.commit


def test_the_commit_of_download_metadata_is_taken_and_they_are_not_adopted(flat: Path, hub: Path) -> None:
    note_download(flat)
    plan = plan_adopt(str(flat), REPO, str(hub))
    assert (plan.commit, plan.origin) == (COMMIT, "download metadata")
    assert names(plan) == set(FILES)
    with pytest.raises(AdoptError, match=f"download metadata says .{COMMIT}"):
        plan_adopt(str(flat), REPO, str(hub), revision=OTHER)
    (flat / "config.json").write_text('{"changed": true}')  # so it is not that commit any more
    assert plan_adopt(str(flat), REPO, str(hub)).origin == "synthetic"


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
    with pytest.raises(AdoptError, match=r"git HEAD says .[0-9a-f]{40}"):
        plan_adopt(str(flat), REPO, str(hub), revision=OTHER)
    snapshot = adopt(flat, hub)
    assert snapshot.name == git("rev-parse", "HEAD")
    for line in git("ls-tree", "-r", "HEAD").splitlines():
        hash, name = line.split()[2], line.split("\t")[1]
        blob = os.path.basename(os.readlink(snapshot / name))
        assert blob == (blob_name(name, FILES[name]) if name.endswith((".bin", ".model")) else hash)


def test_notes_of_modelscope_are_left_out(flat: Path, hub: Path) -> None:
    (flat / ".msc").write_bytes(b"index")
    (flat / ".mv").write_text("master")
    (flat / "._____temp").mkdir()
    (flat / "._____temp" / "pytorch_model.bin").write_bytes(b"half")
    assert names(plan_adopt(str(flat), REPO, str(hub))) == set(FILES)


@pytest.mark.parametrize("place", ["model.safetensors.incomplete", ".cache/huggingface/download/x.incomplete"])
def test_an_unfinished_download_is_a_warning(flat: Path, hub: Path, place: str) -> None:
    (flat / place).parent.mkdir(parents=True, exist_ok=True)
    (flat / place).write_bytes(b"half")
    plan = plan_adopt(str(flat), REPO, str(hub))
    assert names(plan) == set(FILES)
    assert "unfinished download" in plan.notes[0]
    assert os.path.basename(place) in plan.notes[0]


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
        plan_adopt(str(flat), REPO, str(hub))
    assert not hub.exists()


@pytest.mark.parametrize("place", ["t5-v1_1-xxl", "DeepFloyd/t5-v1_1-xxl", "any"])
def test_one_level_too_high_is_refused_with_the_folder_that_is_meant(tmp_path: Path, hub: Path, place: str) -> None:
    folder = tmp_path / "downloads" / place
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (tmp_path / "downloads" / "README.txt").write_text("")
    with pytest.raises(AdoptError) as caught:
        plan_adopt(str(tmp_path / "downloads"), REPO, str(hub))
    assert str(caught.value).endswith(f"name the folder that does: {folder}")
    other = tmp_path / "downloads" / "other-model"
    other.mkdir()
    (other / "config.json").write_text("{}")
    listed = f"{folder}, {other}" if place == "any" else str(folder)
    with pytest.raises(AdoptError, match=f"name the folder that does: {listed}$"):
        plan_adopt(str(tmp_path / "downloads"), REPO, str(hub))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *(({"repo_id": each}, "not ORG/NAME") for each in ("t5", "../x", "a/b/c", "a--b/c", "a b/c", "/a", "")),
        *(({"revision": each}, "40 hex digits") for each in ("main", "0123abc", COMMIT.upper(), COMMIT + "\n")),
        ({"cache_dir": "{flat}/hub"}, "is inside"),
    ],
)
def test_options_that_cannot_be_right_are_refused(flat: Path, hub: Path, given: dict[str, str], message: str) -> None:
    options = {"repo_id": REPO, "cache_dir": str(hub), **given}
    with pytest.raises(AdoptError, match=message):
        plan_adopt(str(flat), **{name: value.replace("{flat}", str(flat)) for name, value in options.items()})  # type: ignore[arg-type]


def test_another_commit_in_the_cache_is_kept_unless_asked(flat: Path, hub: Path) -> None:
    adopt(flat, hub, revision=OTHER)
    before = tree(hub)
    with pytest.raises(AdoptError, match=f"is commit {OTHER} and not {COMMIT}"):
        plan_adopt(str(flat), REPO, str(hub), revision=COMMIT)
    assert tree(hub) == before
    snapshot = adopt(flat, hub, revision=COMMIT, replace_ref=True)
    assert (snapshot.parent.parent / "refs" / "main").read_text() == COMMIT
    assert (snapshot.parent / OTHER).is_dir()


def test_a_snapshot_of_other_content_is_never_overwritten(flat: Path, hub: Path) -> None:
    adopt(flat, hub, revision=COMMIT, mode="copy")
    (flat / "config.json").write_text("{ }")
    with pytest.raises(AdoptError, match="has another content"):
        plan_adopt(str(flat), REPO, str(hub), revision=COMMIT)


class Cut(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("mode", ["auto", "copy"])
@pytest.mark.parametrize("step", range(24))
def test_cut_off_at_any_step_no_ref_leads_to_what_is_half_done(flat: Path, hub: Path, mode: str, step: int) -> None:
    plan = plan_adopt(str(flat), REPO, str(hub), mode=mode)  # type: ignore[arg-type]
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
        run_adopt(plan)
    half = inspect_cache(needs(hub), hash=True)
    assert half.inspected[0].commit is None or half.findings == ()
    run_adopt(plan)
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
