"""Every mistake that a cache can have is told by its own code and by nothing else; an intact cache by none."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from caches import COMMIT, OTHER, SHARDS, T5, VAE, make_repo, safetensors, t5_files, vae_files
from conftest import Become

from rewriter.model import Finding
from rewriter.verify.cache import CacheReport, inspect_cache
from rewriter.verify.directories import find_default_cache
from rewriter.verify.needs import Need


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    hub = tmp_path / "hub"
    make_repo(hub, T5, t5_files())
    make_repo(hub, VAE, vae_files())
    return hub


def needs(cache: Path | str, **changes: object) -> list[Need]:
    at = (("configs/sample.py", 12, "text_encoder"),)
    made = [
        Need(T5, str(cache), class_name="AutoTokenizer", requested_by=at),
        Need(T5, str(cache), class_name="T5EncoderModel", requested_by=at),
        Need(VAE, str(cache), subfolder="vae", library="diffusers", class_name="AutoencoderKL",
             requested_by=(("configs/sample.py", 20, "vae"),)),
    ]  # fmt: skip
    return [need._replace(**changes) for need in made]  # type: ignore[arg-type]


def causes(report: CacheReport) -> list[Finding]:
    """The first finding of each cause: what a report prints once, with a count."""
    return list({(finding.code, finding.cause): finding for finding in reversed(report.findings)}.values())[::-1]


def codes(report: CacheReport) -> list[str]:
    return [finding.code for finding in causes(report)]


def only(report: CacheReport) -> Finding:
    assert len(causes(report)) == 1, report.findings
    return report.findings[0]


def tree(folder: Path) -> list[tuple[str, int, int]]:
    found = [folder, *folder.rglob("*")]
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_ino) for path in found)


def t5(cache: Path) -> Path:
    return cache / "models--DeepFloyd--t5-v1_1-xxl"


def in_snapshot(cache: Path, name: str) -> Path:
    return t5(cache) / "snapshots" / COMMIT / name


def blob(cache: Path, name: str) -> Path:
    return in_snapshot(cache, name).resolve()


@pytest.mark.parametrize("hash", [False, True])
def test_an_intact_cache_has_no_findings_and_is_not_touched(cache: Path, hash: bool) -> None:
    before = tree(cache)
    report = inspect_cache(needs(cache), hash=hash)
    assert report.findings == ()
    assert tree(cache) == before


def test_the_report_says_what_each_loader_reads(cache: Path) -> None:
    tokenizer, model, vae = inspect_cache(needs(cache), hash=True).inspected
    assert tokenizer.commit == model.commit == vae.commit == COMMIT
    names = {file.name for file in tokenizer.files}
    assert names == {"special_tokens_map.json", "spiece.model", "tokenizer_config.json"}
    assert [file.name for file in model.files] == ["config.json", *SHARDS, "pytorch_model.bin.index.json"]
    weights = vae.files[1]
    assert weights.size == len(safetensors())
    assert weights.hash == "sha256:" + hashlib.sha256(safetensors()).hexdigest()
    assert weights.verified


def test_hashing_a_cache_without_symlinks_says_that_nothing_was_verified(tmp_path: Path) -> None:
    make_repo(tmp_path / "hub", T5, t5_files(), links=False)
    report = inspect_cache(needs(tmp_path / "hub")[:2], hash=True)
    assert (only(report).code, only(report).severity) == ("OSR118", "warning")
    assert report.inspected[1].files[1].hash.startswith("sha256:")


def test_another_revision_is_looked_up_by_its_own_ref(cache: Path) -> None:
    (t5(cache) / "refs" / "v1").write_text(COMMIT)
    assert inspect_cache(needs(cache, revision="v1")[:2]).findings == ()
    assert inspect_cache(needs(cache, revision=COMMIT)).findings == ()
    assert only(inspect_cache(needs(cache, revision="v2")[:2])).code == "OSR108"


# name -> (code, what is done in the folder of the T5's repo: $s is its snapshot, $a and $b are the shards' blobs)
MISTAKES = {
    "repo absent": ("OSR107", 'rm -r "$PWD"'),
    "repo folder empty": ("OSR107", "rm -r *"),
    "no ref": ("OSR108", "rm refs/main"),
    "no ref and two snapshots": ("OSR108", "rm refs/main; mkdir snapshots/$other"),
    "ref with newline": ("OSR109", "echo >> refs/main"),
    "ref written by powershell": ("OSR109", r"printf '\377\376' > r; sed 's/./&\x00/g' refs/main >> r; mv r refs/main"),
    "ref to a missing snapshot": ("OSR110", "printf %s $other > refs/main"),
    "ref to a missing snapshot, and the other is not whole": ("OSR110", "printf %s $other > refs/main; rm $1"),
    "snapshot deleted": ("OSR111", "rm -r $s"),
    "links dropped by a copy": ("OSR111", "find snapshots -type l -delete"),
    "links dropped by object storage": ("OSR111", "rm -r snapshots"),
    "links written as text": ("OSR111", "for f in $s/*; do t=$(readlink $f); rm $f; printf %s $t > $f; done"),
    "broken link": ("OSR112", "rm $b"),
    "links to another cache": ("OSR112", "for f in $s/*; do ln -sfn /old/blobs/$(basename $(readlink $f)) $f; done"),
    "links to another depth": ("OSR112", "for f in $s/*; do ln -sfn ../blobs/$(basename $(readlink $f)) $f; done"),
    "blobs not copied": ("OSR112", "rm -r blobs"),
    "missing file": ("OSR113", "rm $s/config.json"),
    "snapshot of a download that had only begun": ("OSR113", "rm -r blobs snapshots; mkdir -p $s"),
    "missing tokenizer": ("OSR113", "rm $s/spiece.model"),
    "missing shard": ("OSR113", "rm $2"),
    "missing weights": ("OSR113", "rm $s/pytorch_model.bin.index.json"),
    "folder in place of a file": ("OSR114", "rm $s/config.json; mkdir $s/config.json"),
    "truncated shard": ("OSR114", "truncate -s 40 $b"),
    "index without weight_map": ("OSR114", """echo '{"metadata": {}}' > $i"""),
    "LFS pointer": (
        "OSR115",
        r"printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 9989150328\n' 0 > $a",
    ),
    "unfinished blob": ("OSR116", "mv $a $a.incomplete"),
    "unfinished before the link": ("OSR116", "mv $a $a.1a2b3c4d.incomplete; rm $1"),
    "unfinished from the start": ("OSR116", "rm -r snapshots; for f in blobs/*; do mv $f $f.incomplete; done"),
}
CURED_OFFLINE = (
    *("no ref", "no ref and two snapshots", "ref with newline", "ref written by powershell"),
    *("ref to a missing snapshot", "links to another cache", "links to another depth"),
)


@pytest.mark.parametrize("name", list(MISTAKES))
def test_one_mistake_gives_its_code_alone_and_a_cure_that_needs_no_network_if_possible(cache: Path, name: str) -> None:
    code, script = MISTAKES[name]
    shards = [f"snapshots/{COMMIT}/{shard}" for shard in SHARDS]
    names = {"s": f"snapshots/{COMMIT}", "other": OTHER, "i": str(blob(cache, "pytorch_model.bin.index.json"))}
    names |= {"a": str(blob(cache, SHARDS[0])), "b": str(blob(cache, SHARDS[1]))}
    subprocess.run(["sh", "-c", script, "sh", *shards], check=True, cwd=t5(cache), env={**os.environ, **names})
    before = tree(cache)
    for hash in (False, True):
        finding = only(inspect_cache(needs(cache), hash=hash))
        assert (finding.path, finding.line, finding.severity) == ("configs/sample.py", 12, "error")
        assert (finding.code, T5 in finding.message, bool(finding.remedy)) == (code, True, True)
    assert tree(cache) == before
    assert "download" in finding.remedy or name in CURED_OFFLINE
    if name in CURED_OFFLINE:
        subprocess.run(["sh", "-c", finding.remedy], check=True)
        assert inspect_cache(needs(cache), hash=True).findings == ()


def test_a_repo_in_trouble_does_not_hide_the_others(cache: Path) -> None:
    shutil.rmtree(t5(cache))
    next(cache.rglob("vae/config.json")).unlink()
    report = inspect_cache(needs(cache))
    assert codes(report) == ["OSR107", "OSR113"]
    assert [found.commit for found in report.inspected] == [None, None, COMMIT]


def test_a_changed_byte_is_found_by_hashing_only(cache: Path) -> None:
    with open(blob(cache, SHARDS[0]), "r+b") as stream:
        stream.seek(70)
        stream.write(b"?")
    assert inspect_cache(needs(cache)).findings == ()
    finding = only(inspect_cache(needs(cache), hash=True))
    assert finding.code == "OSR114"
    assert blob(cache, SHARDS[0]).name in finding.message


@pytest.mark.parametrize("length", [0, 4, 30, len(safetensors()) - 1])
def test_a_safetensors_file_cut_anywhere_is_found_without_hashing(cache: Path, length: int) -> None:
    os.truncate(next(cache.rglob("vae/diffusion_pytorch_model.safetensors")).resolve(), length)
    finding = only(inspect_cache(needs(cache)))
    assert (finding.code, finding.component) == ("OSR114", "vae")


def test_files_that_no_loader_reads_may_be_broken(cache: Path) -> None:
    blob(cache, "README.md").unlink()
    assert inspect_cache(needs(cache), hash=True).findings == ()
    everything = [needs(cache)[0]._replace(kind="snapshot_download")]
    assert only(inspect_cache(everything)).code == "OSR112"


def test_a_repo_that_only_the_source_names_is_a_warning_when_it_is_there(cache: Path) -> None:
    wanted = needs(cache)
    wanted[2] = wanted[2]._replace(hard_coded=True)
    finding = only(inspect_cache(wanted))
    assert (finding.code, finding.severity) == ("OSR117", "warning")
    assert VAE in finding.message


@pytest.mark.parametrize(
    "place",
    [
        *("OpenSora-VAE-v1.2", "hpcai-tech/OpenSora-VAE-v1.2", "hpcai-tech_OpenSora-VAE-v1.2"),
        *("hpcai-tech/OpenSora-VAE-v1___2", "models/hpcai-tech/OpenSora-VAE-v1___2"),  # ModelScope's
        "models/hpcai-tech--OpenSora-VAE-v1.2/snapshots/master",
        "models/hpcai-tech--OpenSora-VAE-v1___2/snapshots/master",
    ],
)
def test_a_flat_download_inside_the_cache_gets_the_adopt_command(cache: Path, place: str) -> None:
    folder, repo_id = cache / place, "hpcai-tech/OpenSora-VAE-v1.2"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    finding = only(inspect_cache([Need(repo_id, str(cache), library="opensora")]))
    assert finding.code == "OSR106"
    assert shlex.split(finding.remedy)[1:] == ["adopt", str(folder), "--repo", repo_id, "--cache-dir", str(cache)]


@pytest.mark.parametrize("repo_id", ["../../etc", "a/b/c", "a--b/c", "a b/c", "", "/etc"])
def test_what_is_no_repo_id_is_said_so_and_never_becomes_a_path(cache: Path, repo_id: str) -> None:
    finding = only(inspect_cache([Need(repo_id, str(cache))]))
    assert (finding.code, "not a repo id" in finding.message) == ("OSR107", True)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nowhere", "OSR101"),
        ("link", "OSR101"),
        ("file", "OSR102"),
        (".", "OSR104"),
        ("hub/models--DeepFloyd--t5-v1_1-xxl", "OSR105"),
        ("hub/models--DeepFloyd--t5-v1_1-xxl/snapshots", "OSR105"),
        (f"hub/models--DeepFloyd--t5-v1_1-xxl/snapshots/{COMMIT}", "OSR105"),
    ],
)
def test_a_directory_that_is_no_cache(cache: Path, tmp_path: Path, path: str, code: str) -> None:
    (tmp_path / "link").symlink_to("unmounted")
    (tmp_path / "file").touch()
    finding = only(inspect_cache(needs(tmp_path / path)))
    assert finding.code == code
    assert code in ("OSR101", "OSR102") or finding.remedy == f"cache_dir={str(cache)!r}"
    assert only(inspect_cache(needs(path))).code == "OSR002"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("where", [".", "models--DeepFloyd--t5-v1_1-xxl", "models--DeepFloyd--t5-v1_1-xxl/refs"])
def test_a_folder_that_this_user_cannot_read(cache: Path, as_nobody: Become, where: str) -> None:
    folder = cache / where
    inspect_cache(needs(cache), hash=True)
    folder.chmod(0o700 if os.geteuid() == 0 else 0)
    with as_nobody():
        finding = only(inspect_cache(needs(cache)))
    folder.chmod(0o755)
    assert finding.code == "OSR103"


def test_a_read_only_cache_of_another_user_is_intact(cache: Path, as_nobody: Become) -> None:
    for path in [cache, *cache.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    inspect_cache(needs(cache), hash=True)
    with as_nobody():
        assert inspect_cache(needs(cache), hash=True).findings == ()


def test_models_in_hf_home_itself_are_found_without_a_network(tmp_path: Path) -> None:
    make_repo(tmp_path, T5, t5_files())
    for make in (lambda: None, (tmp_path / "hub").mkdir):
        make()
        finding = only(inspect_cache(needs(tmp_path / "hub", source="HF_HOME")[:2]))
        assert (finding.code, finding.remedy) == ("OSR104", f"export HF_HUB_CACHE={tmp_path}")
        assert "(from the environment's HF_HOME)" in finding.message


def test_a_flat_folder_that_holds_only_its_vae_gets_the_adopt_command(tmp_path: Path) -> None:
    folder = tmp_path / "pixart_sigma_sdxlvae_T5_diffusers"
    for name, content in vae_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    wanted = needs(folder)[2:]
    assert only(inspect_cache(wanted)).code == "OSR106"
    finding = only(inspect_cache(needs(tmp_path)[2:]))
    assert (finding.code, shlex.split(finding.remedy)[2]) == ("OSR106", str(folder))
    (tmp_path / "models").mkdir()
    for name in ("t5", "vae"):
        shutil.copytree(folder / "vae", tmp_path / "models" / name)
    assert codes(inspect_cache(needs(tmp_path / "models")[:1])) == ["OSR107"]


@pytest.mark.parametrize(("kind", "named"), [("sha1", True), ("md5", True), ("size-time", False)])
def test_a_mirrors_etag_as_a_blobs_name_is_never_called_altered(cache: Path, kind: str, named: bool) -> None:
    whole = blob(cache, SHARDS[0])
    name = "5d3b-61f2" if kind == "size-time" else hashlib.new(kind, whole.read_bytes()).hexdigest()
    whole.rename(whole.with_name(name))
    in_snapshot(cache, SHARDS[0]).unlink()
    in_snapshot(cache, SHARDS[0]).symlink_to(f"../../blobs/{name}")
    report = inspect_cache(needs(cache), hash=True)
    assert [(each.code, each.severity) for each in causes(report)] == ([] if named else [("OSR118", "warning")])
    lockable = inspect_cache(needs(cache), hash="unnamed").inspected[1].files
    assert all(file.hash for file in lockable)


@pytest.mark.parametrize(
    ("wrong", "right", "cached"),
    [
        ("mylab/my-vae", "my-lab/my-vae", True),
        ("hpcaitech/OpenSora-VAE-v1.2", "hpcai-tech/OpenSora-VAE-v1.2", False),
    ],
)
def test_a_misspelt_organisation_gets_the_one_that_is_meant(cache: Path, wrong: str, right: str, cached: bool) -> None:
    make_repo(cache, "my-lab/my-vae", vae_files())
    finding = only(inspect_cache([needs(cache)[2]._replace(repo_id=wrong)]))
    assert finding.code == "OSR107"
    assert f"did you mean {right}" in finding.message
    assert ("which is in the cache" in finding.message) == cached
    assert finding.remedy == f"opensora-rewriter rewrite {{path}} --set vae.from_pretrained={right}"
    other = only(inspect_cache([Need("someone-else/t5-v1_1-xxl", str(cache))]))
    assert other.remedy.startswith("opensora-rewriter download ")


def test_a_download_command_asks_for_the_files_of_the_loader(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = Need("org/name", str(tmp_path), kind="hf_hub_download", filename="model/ema.pt", library="huggingface_hub")
    assert "--include 'model/*'" in only(inspect_cache([one])).remedy
    both = [*needs(tmp_path)[2:], needs(tmp_path)[2]._replace(subfolder=None)]
    assert "--include" not in only(inspect_cache(both)).remedy


def test_each_place_that_requests_it_is_kept(cache: Path) -> None:
    wanted = [
        need._replace(requested_by=((f"configs/{n}.py", 1, "vae"),)) for n in range(36) for need in needs(cache)[2:]
    ]
    report = inspect_cache([need._replace(cache_dir=str(cache / "nowhere")) for need in wanted])
    assert only(report).code == "OSR101"
    assert len({finding.path for finding in report.findings}) == len(report.findings) == 36


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("/home/u/.cache/huggingface/hub", "default")),
        ({"XDG_CACHE_HOME": "/xdg"}, ("/xdg/huggingface/hub", "XDG_CACHE_HOME")),
        ({"HF_HOME": "~/hf", "XDG_CACHE_HOME": "/xdg"}, ("/home/u/hf/hub", "HF_HOME")),
        ({"HF_HOME": "$DATA/hf", "DATA": "/data"}, ("/data/hf/hub", "HF_HOME")),
        ({"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/hf"}, ("/old", "HUGGINGFACE_HUB_CACHE")),
        ({"HF_HUB_CACHE": "${DATA}/new", "DATA": "/d", "HUGGINGFACE_HUB_CACHE": "/old"}, ("/d/new", "HF_HUB_CACHE")),
    ],
)
def test_the_default_cache_is_the_one_that_huggingface_hub_computes(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: tuple[str, str]
) -> None:
    pytest.importorskip("huggingface_hub")
    environ = {"HOME": "/home/u", **environ}
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    monkeypatch.setattr(os, "environ", environ)
    assert (find_default_cache(), run.stdout.strip()) == (expected, expected[0])


REAL = [
    (T5, "transformers", "AutoTokenizer", None),
    (T5, "transformers", "T5EncoderModel", None),
    ("openai/clip-vit-base-patch32", "transformers", "CLIPTokenizer", None),
    ("openai/clip-vit-base-patch32", "transformers", "CLIPTextModel", None),
    ("stabilityai/sd-vae-ft-ema", "diffusers", "AutoencoderKL", None),
    (VAE, "diffusers", "AutoencoderKL", "vae"),
    ("hpcai-tech/OpenSora-VAE-v1.2", "opensora", "VideoAutoencoderPipeline", None),
    ("hpcai-tech/OpenSora-STDiT-v3", "opensora", "STDiT3", None),
]


def real_need(cache: Path, repo_id: str, library: str, class_name: str, subfolder: str | None) -> Need:
    return Need(repo_id, str(cache), subfolder=subfolder, library=library, class_name=class_name)


@pytest.mark.torch
def test_real_weights_are_intact(hub_cache: Path) -> None:
    report = inspect_cache([real_need(hub_cache, *row) for row in REAL], hash=True)
    assert report.findings == ()
    assert all(file.verified for found in report.inspected for file in found.files)
    assert all(len(found.files) >= 2 for found in report.inspected)


@pytest.mark.torch
@pytest.mark.parametrize("row", REAL, ids=lambda row: f"{row[2]}-{row[0].split('/')[1]}")
def test_every_file_of_real_weights_is_missed_when_its_blob_or_its_bytes_are_gone(
    hub_copy: Path, row: tuple[str, str, str, str | None]
) -> None:
    (found,) = inspect_cache([real_need(hub_copy, *row)]).inspected
    for file in found.files:
        target = Path(file.path).resolve()
        content = target.read_bytes()
        target.write_bytes(content[: len(content) // 2])
        assert codes(inspect_cache([real_need(hub_copy, *row)], hash=True)) == ["OSR114"], file.name
        target.unlink()
        assert codes(inspect_cache([real_need(hub_copy, *row)])) == ["OSR112"], file.name
        target.write_bytes(content)
    assert inspect_cache([real_need(hub_copy, *row)], hash=True).findings == ()
