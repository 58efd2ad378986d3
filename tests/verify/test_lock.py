"""A lock says which weights a project was made with; later it says what changed, each change by its own code."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from caches import COMMIT, OTHER, T5, make_repo

from rewriter.model import Finding
from rewriter.verify.cache import inspect_cache
from rewriter.verify.directories import SYNTHETIC
from rewriter.verify.lock import LOCK_NAME, Lock, compare_lock, read_lock, write_lock
from rewriter.verify.needs import Need

VAE = "stabilityai/sd-vae-ft-ema"
T5_FILES = {"config.json": b"{}", "pytorch_model.bin": b"t5 weights"}
VAE_FILES = {"vae/config.json": b"{}", "vae/diffusion_pytorch_model.bin": b"vae weights"}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    make_repo(tmp_path / "hub", T5, T5_FILES)
    make_repo(tmp_path / "hub", VAE, VAE_FILES)
    return tmp_path / "hub"


def needs(cache: Path) -> list[Need]:
    places = (("/project/configs/b.py", 3, "text_encoder"), ("/project/configs/a.py", 7, "text_encoder"))
    return [
        Need(T5, str(cache), class_name="T5EncoderModel", requested_by=places),
        Need(VAE, str(cache), subfolder="vae", library="diffusers", class_name="AutoencoderKL",
             requested_by=(("/project/configs/a.py", 1, "vae"),)),
    ]  # fmt: skip


def lock_text(cache: Path) -> str:
    wanted = needs(cache)
    return write_lock(inspect_cache(wanted, hash="unnamed"), root="/project")


def changed(lock: Lock, wanted: list[Need], partial: bool = False, found: Sequence[str] = ()) -> list[Finding]:
    """What changed; ``found``: the codes of what the cache itself has."""
    hashes = {(repo_id, file.name): file.hash for (repo_id, _), repo in lock.items() for file in repo.files}
    report = inspect_cache(wanted, hash=True, known=hashes)
    assert [finding.code for finding in report.findings] == [*found]
    return compare_lock(lock, report, LOCK_NAME, "/project", partial, ".")


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_lock_says_what_is_needed_and_by_whom(cache: Path) -> None:
    lock = read_lock(lock_text(cache))
    t5, vae = lock.values()
    assert ([*lock], t5.commit) == ([(T5, "main"), (VAE, "main")], COMMIT)
    assert t5.configs == ("configs/a.py", "configs/b.py")
    assert 'subfolders = ["vae"]' in lock_text(cache)
    weights = vae.files[1]
    assert (weights.name, weights.size) == ("vae/diffusion_pytorch_model.bin", len(b"vae weights"))
    assert weights.hash == "sha256:" + hashlib.sha256(b"vae weights").hexdigest()


def test_a_lock_is_the_same_for_any_order_and_place(cache: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(cache, moved, symlinks=True)
    wanted = needs(moved)[::-1]
    assert write_lock(inspect_cache(wanted), root="/project") == lock_text(cache)


def test_the_same_weights_without_symlinks_fit_the_lock(cache: Path, tmp_path: Path) -> None:
    lock = read_lock(lock_text(cache))
    make_repo(tmp_path / "copy", T5, T5_FILES, links=False)
    make_repo(tmp_path / "copy", VAE, VAE_FILES, links=False)
    assert changed(lock, needs(tmp_path / "copy")) == []


def test_another_commit_is_one_finding_and_its_remedy_restores_it(cache: Path) -> None:
    lock = read_lock(lock_text(cache))
    make_repo(cache, T5, {"config.json": b"[]", "model.safetensors": b"x"}, commit=OTHER)
    wanted = [need._replace(class_name="AutoConfig") if need.repo_id == T5 else need for need in needs(cache)]
    finding = only(changed(lock, wanted))
    assert finding.code == "OSR121"
    assert (finding.path, finding.line) == ("opensora-models.lock", lock[T5, "main"].line)
    subprocess.run(["sh", "-c", finding.remedy], check=True)  # the locked snapshot is there: no network
    assert changed(lock, needs(cache)) == []


@pytest.mark.parametrize("made_up", [False, True])
def test_a_locked_commit_that_is_gone_is_fetched_unless_adopt_made_it_up(cache: Path, made_up: bool) -> None:
    commit = SYNTHETIC + "1" * 32 if made_up else OTHER
    lock = read_lock(lock_text(cache).replace(COMMIT, commit, 1))
    remedy = only(changed(lock, needs(cache))).remedy
    if made_up:
        assert remedy.startswith("adopt the files again")
        assert commit not in remedy
    else:
        fetch = remedy.split(" && ")[0]
        assert shlex.split(fetch) == ["hf", "download", T5, *T5_FILES, "--revision", OTHER, "--cache-dir", str(cache)]


def test_a_file_that_the_loader_now_prefers_is_added_and_the_old_one_is_missing(cache: Path) -> None:
    lock = read_lock(lock_text(cache))
    header = b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    make_repo(
        cache, VAE, {"vae/diffusion_pytorch_model.safetensors": len(header).to_bytes(8, "little") + header + b"x"}
    )
    findings = changed(lock, needs(cache))
    assert [finding.code for finding in findings] == ["OSR123", "OSR122"]


@pytest.mark.parametrize("content", [b"shorter", b"vae-weights"])
def test_a_file_with_other_content_is_reported_once(cache: Path, tmp_path: Path, content: bytes) -> None:
    lock = read_lock(lock_text(cache))
    make_repo(tmp_path / "new", T5, T5_FILES)
    make_repo(tmp_path / "new", VAE, VAE_FILES | {"vae/diffusion_pytorch_model.bin": content}, links=False)
    finding = only(changed(lock, needs(tmp_path / "new")))
    assert finding.code == "OSR124"
    assert finding.line == lock[VAE, "main"].line


def test_a_repo_that_no_config_needs_any_more_is_a_warning(cache: Path) -> None:
    lock = read_lock(lock_text(cache))
    finding = only(changed(lock, needs(cache)[:1]))
    assert (finding.code, finding.severity) == ("OSR125", "warning")
    assert changed(lock, needs(cache)[:1], partial=True) == []


def test_a_config_that_newly_needs_a_repo_is_reported_with_its_place(cache: Path) -> None:
    lock = read_lock(write_lock(inspect_cache(needs(cache)[:1]), root="/project"))
    finding = only(changed(lock, needs(cache)))
    assert (finding.code, finding.severity) == ("OSR126", "error")
    assert (finding.path, finding.line) == ("/project/configs/a.py", 1)
    wanted = needs(cache)[:1]
    place = ("/project/configs/new.py", 5, "text_encoder")  # a new config for weights that are locked
    wanted[0] = wanted[0]._replace(requested_by=(*wanted[0].requested_by, place))
    finding = only(changed(lock, wanted))
    assert (finding.code, finding.severity, finding.line) == ("OSR126", "warning", 5)


def test_weights_that_the_cache_report_has_findings_of_are_not_judged_twice(cache: Path) -> None:
    lock = read_lock(lock_text(cache))
    (cache / "models--stabilityai--sd-vae-ft-ema" / "snapshots" / COMMIT / "vae" / "config.json").unlink()
    shutil.rmtree(cache / "models--DeepFloyd--t5-v1_1-xxl")
    assert changed(lock, needs(cache), found=["OSR107", "OSR107", "OSR113"]) == []


def test_broken_weights_and_two_caches_with_two_commits_cannot_be_locked(cache: Path, tmp_path: Path) -> None:
    make_repo(tmp_path / "second", T5, T5_FILES, commit=OTHER)
    with pytest.raises(ValueError, match="two commits, of which a lock can hold one"):
        write_lock(inspect_cache([needs(cache)[0], needs(tmp_path / "second")[0]]))
    (cache / "models--DeepFloyd--t5-v1_1-xxl" / "snapshots" / COMMIT / "config.json").unlink()
    with pytest.raises(ValueError, match=r"DeepFloyd/t5-v1_1-xxl .* is not complete"):
        lock_text(cache)


GOOD = f"""version = 1

[[repo]]
id = "a/b"
revision = "main"
commit = "{COMMIT}"
configs = ["c.py"]

[[repo.file]]
path = "x"
size = 1
hash = "sha256:{"0" * 64}"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 1", "version = 2", "upgrade"),
        ("version = 1", "", "no version"),
        ('id = "a/b"', 'id = "a/b', "line 4"),
        ('id = "a/b"', "", "line 3: this repo is not as `lock` writes it"),
        (COMMIT, "main", "line 3: .*'main' is not"),
        ("sha256:", "md5:", "line 3: .*is not sha256"),
        ("[[repo]]", "[repo]", "not as `lock` writes it"),
    ],
)
def test_a_lock_that_cannot_be_read_is_reported_with_the_line(old: str, new: str, message: str) -> None:
    assert len(read_lock(GOOD)) == 1
    with pytest.raises(ValueError, match=message):
        read_lock(GOOD.replace(old, new, 1))
