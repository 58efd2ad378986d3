"""Every mistake that a cache can have is told by its own code and by nothing else; an intact cache by none."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from caches import COMMIT, OTHER, SHARDS, T5, VAE, blob_name, make_repo, safetensors, t5_files, vae_files

from rewriter.cache import Need, Report, check_directory, default_cache, inspect
from rewriter.cache.hashing import BUFFER_BYTES, HashKind, StoppedError, hash_file, hash_files
from rewriter.cache_rules import CACHE_RULES
from rewriter.types import Finding


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    hub = tmp_path / "hub"
    make_repo(hub, T5, t5_files())
    make_repo(hub, VAE, vae_files())
    return hub


def needs(cache: Path | str, **changes: object) -> list[Need]:
    at = (("configs/sample.py", 12, "text_encoder"),)
    made = [
        Need(T5, str(cache), class_name="AutoTokenizer", wanted_by=at),
        Need(T5, str(cache), class_name="T5EncoderModel", wanted_by=at),
        Need(VAE, str(cache), subfolder="vae", library="diffusers", class_name="AutoencoderKL",
             wanted_by=(("configs/sample.py", 20, "vae"),)),
    ]  # fmt: skip
    return [replace(need, **changes) for need in made]  # type: ignore[arg-type]


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


def only(report: Report) -> Finding:
    assert len(report.findings) == 1, report.findings
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


# --- an intact cache ------------------------------------------------------------------------------


@pytest.mark.parametrize("hash", [False, True])
def test_an_intact_cache_has_no_findings_and_is_not_touched(cache: Path, hash: bool) -> None:
    before = tree(cache)
    report = inspect(needs(cache), hash=hash)
    assert report.findings == ()
    assert tree(cache) == before


def test_the_report_says_what_each_loader_reads(cache: Path) -> None:
    tokenizer, model, vae = inspect(needs(cache), hash=True).inspected
    assert tokenizer.commit == model.commit == vae.commit == COMMIT
    assert [file.name for file in tokenizer.files] == [
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer_config.json",
    ]
    assert [file.name for file in model.files] == ["config.json", *SHARDS, "pytorch_model.bin.index.json"]
    weights = vae.files[1]
    assert weights.size == len(safetensors())
    assert weights.hash == "sha256:" + hashlib.sha256(safetensors()).hexdigest()
    assert weights.verified


def test_a_cache_without_symlinks_is_intact_too(tmp_path: Path) -> None:
    make_repo(tmp_path / "hub", T5, t5_files(), links=False)
    assert inspect(needs(tmp_path / "hub")[:2]).findings == ()


def test_hashing_a_cache_without_symlinks_says_that_nothing_was_verified(tmp_path: Path) -> None:
    make_repo(tmp_path / "hub", T5, t5_files(), links=False)
    report = inspect(needs(tmp_path / "hub")[:2], hash=True)
    assert (only(report).code, only(report).severity) == ("OSR118", "warning")
    assert report.inspected[1].files[1].hash.startswith("sha256:")


def test_the_listing_of_newer_hubs_verifies_a_cache_without_symlinks(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "hub", VAE, vae_files(), links=False)
    entries = {}
    for name, content in vae_files().items():
        digest = blob_name(name, content)
        lfs = {"lfs_sha256": digest, "lfs_size": len(content)} if len(digest) == 64 else {}
        entries[name] = {"size": len(content), "blob_id": digest if not lfs else "0" * 40, **lfs}
    (repo / "trees").mkdir()
    (repo / "trees" / f"{COMMIT}.json").write_text(json.dumps({"format_version": 1, "files": entries}))
    wanted = needs(tmp_path / "hub")[2:]
    assert inspect(wanted, hash=True).findings == ()
    weights = repo / "snapshots" / COMMIT / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(safetensors()[:-1] + b"!")
    assert only(inspect(wanted, hash=True)).code == "OSR114"


def test_a_listing_of_a_format_to_come_is_passed_over(cache: Path) -> None:
    (t5(cache) / "trees").mkdir()
    entries = {SHARDS[0]: {"size": 130, "blob_id": "0" * 40, "lfs_sha256": "0" * 64, "lfs_size": 12345}}
    (t5(cache) / "trees" / f"{COMMIT}.json").write_text(json.dumps({"format_version": 2, "files": entries}))
    assert inspect(needs(cache), hash=True).findings == ()


@pytest.mark.parametrize(("links", "verified"), [(2, True), (16, True), (17, False)])
def test_a_file_behind_a_chain_of_links_is_verified_by_the_first_blob_on_its_way(
    cache: Path, links: int, verified: bool
) -> None:
    place = in_snapshot(cache, SHARDS[0])
    for number in range(1, links):
        place.rename(place.with_name(f"{number}.link"))
        place.symlink_to(f"{number}.link")
    assert codes(inspect(needs(cache), hash=True)) == ([] if verified else ["OSR118"])


def test_a_json_file_too_large_to_be_one_is_not_read(cache: Path) -> None:
    blob(cache, "config.json").write_bytes(b"not json")
    assert only(inspect(needs(cache))).code == "OSR114"
    os.truncate(blob(cache, "config.json"), (64 << 20) + 1)
    assert inspect(needs(cache)).findings == ()


def test_a_blob_store_shared_between_repos_is_intact(cache: Path) -> None:
    store = cache / "blobs"
    for name in os.listdir(t5(cache) / "blobs"):
        home = store / name[:2] / name
        home.parent.mkdir(parents=True, exist_ok=True)
        source = t5(cache) / "blobs" / name
        source.rename(home)
        source.symlink_to(os.path.relpath(home, source.parent))
    assert inspect(needs(cache), hash=True).findings == ()
    blob(cache, SHARDS[0]).unlink()
    assert only(inspect(needs(cache), hash=True)).code == "OSR112"


def test_another_revision_is_looked_up_by_its_own_ref(cache: Path) -> None:
    (t5(cache) / "refs" / "v1").write_text(COMMIT)
    assert inspect(needs(cache, revision="v1")[:2]).findings == ()
    assert inspect(needs(cache, revision=COMMIT)).findings == ()
    assert only(inspect(needs(cache, revision="v2")[:2])).code == "OSR108"


def test_it_works_where_huggingface_hub_is_not_installed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert inspect(needs(cache), hash=True).findings == ()
    in_snapshot(cache, SHARDS[0]).unlink()
    assert codes(inspect(needs(cache))) == ["OSR113"]


# --- one mistake each -----------------------------------------------------------------------------

Break = Callable[[Path], None]
MISTAKES: dict[str, tuple[str, Break]] = {}


def mistake(code: str) -> Callable[[Break], Break]:
    def keep(function: Break) -> Break:
        MISTAKES[function.__name__] = (code, function)
        return function

    return keep


@mistake("OSR107")
def repo_absent(cache: Path) -> None:
    shutil.rmtree(t5(cache))


@mistake("OSR107")
def repo_folder_empty(cache: Path) -> None:
    shutil.rmtree(t5(cache))
    t5(cache).mkdir()


@mistake("OSR108")
def no_ref(cache: Path) -> None:
    (t5(cache) / "refs" / "main").unlink()


@mistake("OSR108")
def no_refs_folder(cache: Path) -> None:
    shutil.rmtree(t5(cache) / "refs")


@mistake("OSR108")
def no_ref_and_two_snapshots(cache: Path) -> None:
    no_ref(cache)
    (t5(cache) / "snapshots" / OTHER).mkdir()


@mistake("OSR108")
def no_ref_and_a_snapshot_that_leads_nowhere(cache: Path) -> None:
    shutil.rmtree(t5(cache))
    (t5(cache) / "snapshots" / COMMIT).mkdir(parents=True)
    (t5(cache) / "snapshots" / OTHER).symlink_to("unmounted")


@mistake("OSR109")
def ref_with_newline(cache: Path) -> None:
    (t5(cache) / "refs" / "main").write_text(COMMIT + "\n")


@mistake("OSR109")
def ref_written_by_powershell(cache: Path) -> None:
    (t5(cache) / "refs" / "main").write_bytes((COMMIT + "\r\n").encode("utf-16"))


@mistake("OSR110")
def ref_to_missing_snapshot(cache: Path) -> None:
    (t5(cache) / "refs" / "main").write_text(OTHER)


@mistake("OSR110")
def snapshot_deleted(cache: Path) -> None:
    shutil.rmtree(t5(cache) / "snapshots" / COMMIT)


@mistake("OSR111")
def links_dropped_by_a_copy(cache: Path) -> None:
    for path in (t5(cache) / "snapshots").rglob("*"):
        if path.is_symlink():
            path.unlink()


@mistake("OSR111")
def links_dropped_by_object_storage(cache: Path) -> None:
    shutil.rmtree(t5(cache) / "snapshots")


@mistake("OSR111")
def links_written_as_smb_does(cache: Path) -> None:
    path = in_snapshot(cache, SHARDS[0])
    target = os.readlink(path)
    path.unlink()
    path.write_text(f"XSym\n{len(target):04}\n{'0' * 32}\n{target}\n".ljust(1067))


@mistake("OSR111")
def links_written_as_text(cache: Path) -> None:
    for path in list((t5(cache) / "snapshots").rglob("*")):
        if path.is_symlink():
            target = os.readlink(path)
            path.unlink()
            path.write_text(target)


@mistake("OSR112")
def broken_symlink(cache: Path) -> None:
    blob(cache, SHARDS[1]).unlink()


@mistake("OSR112")
def blobs_not_copied(cache: Path) -> None:
    shutil.rmtree(t5(cache) / "blobs")


@mistake("OSR113")
def missing_file(cache: Path) -> None:
    in_snapshot(cache, "config.json").unlink()


@mistake("OSR113")
def snapshot_of_a_download_that_had_only_begun(cache: Path) -> None:
    for part in ("blobs", "snapshots"):
        shutil.rmtree(t5(cache) / part)
    (t5(cache) / "snapshots" / COMMIT).mkdir(parents=True)


@mistake("OSR113")
def missing_tokenizer(cache: Path) -> None:
    in_snapshot(cache, "spiece.model").unlink()


@mistake("OSR113")
def missing_shard(cache: Path) -> None:
    in_snapshot(cache, SHARDS[1]).unlink()


@mistake("OSR113")
def missing_weights(cache: Path) -> None:
    in_snapshot(cache, "pytorch_model.bin.index.json").unlink()


@mistake("OSR114")
def truncated_shard(cache: Path) -> None:
    os.truncate(blob(cache, SHARDS[1]), 40)


@mistake("OSR112")
def one_shard_broken_and_one_missing(cache: Path) -> None:
    broken_symlink(cache)
    in_snapshot(cache, SHARDS[0]).unlink()


@mistake("OSR103")
def link_that_leads_to_itself(cache: Path) -> None:
    in_snapshot(cache, "config.json").unlink()
    in_snapshot(cache, "config.json").symlink_to("config.json")


@mistake("OSR114")
def folder_in_place_of_a_file(cache: Path) -> None:
    in_snapshot(cache, "config.json").unlink()
    in_snapshot(cache, "config.json").mkdir()


@mistake("OSR114")
def size_other_than_in_the_listing(cache: Path) -> None:
    (t5(cache) / "trees").mkdir()
    entries = {SHARDS[0]: {"size": 130, "blob_id": "0" * 40, "lfs_sha256": "0" * 64, "lfs_size": 12345}}
    (t5(cache) / "trees" / f"{COMMIT}.json").write_text(json.dumps({"format_version": 1, "files": entries}))


@mistake("OSR114")
def truncated_config(cache: Path) -> None:
    os.truncate(blob(cache, "config.json"), 5)


@mistake("OSR114")
def index_without_weight_map(cache: Path) -> None:
    blob(cache, "pytorch_model.bin.index.json").write_text('{"metadata": {}}')


@mistake("OSR114")
def index_with_an_empty_weight_map(cache: Path) -> None:
    blob(cache, "pytorch_model.bin.index.json").write_text('{"weight_map": {}}')


@mistake("OSR114")
def index_that_leads_out(cache: Path) -> None:
    blob(cache, "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../../../etc/hostname"}}')


@mistake("OSR115")
def lfs_pointer(cache: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 9989150328\n"
    blob(cache, SHARDS[0]).write_text(pointer)


@mistake("OSR116")
def unfinished_blob(cache: Path) -> None:
    whole = blob(cache, SHARDS[0])
    whole.rename(whole.with_name(whole.name + ".incomplete"))


@mistake("OSR116")
def unfinished_before_the_link(cache: Path) -> None:
    whole = blob(cache, SHARDS[0])
    whole.rename(whole.with_name(whole.name + ".1a2b3c4d.incomplete"))
    in_snapshot(cache, SHARDS[0]).unlink()


@mistake("OSR116")
def unfinished_with_an_empty_snapshot(cache: Path) -> None:
    links_dropped_by_a_copy(cache)
    unfinished_blobs(cache)


@mistake("OSR116")
def unfinished_before_any_ref(cache: Path) -> None:
    unfinished_from_the_start(cache)
    no_ref(cache)


def unfinished_blobs(cache: Path) -> None:
    for path in (t5(cache) / "blobs").iterdir():
        path.rename(path.with_name(path.name + ".incomplete"))


@mistake("OSR116")
def unfinished_from_the_start(cache: Path) -> None:
    shutil.rmtree(t5(cache) / "snapshots")
    unfinished_blobs(cache)


@pytest.mark.parametrize("name", list(MISTAKES))
def test_one_mistake_gives_its_code_and_nothing_else(cache: Path, name: str) -> None:
    code, corrupt = MISTAKES[name]
    corrupt(cache)
    before = tree(cache)
    for hash in (False, True):
        finding = only(inspect(needs(cache), hash=hash))
        assert finding.code == code
        assert (finding.path, finding.line, finding.severity) == ("configs/sample.py", 12, "error")
        assert T5 in finding.message
        assert finding.remedy
    assert tree(cache) == before


def test_every_code_that_a_cache_can_give_is_explained() -> None:
    for code, _ in MISTAKES.values():
        title, explanation = CACHE_RULES[code]
        assert title == title.lower()
        assert " " not in title
        assert explanation.endswith(".")


@pytest.mark.parametrize(("revision", "code"), [(OTHER, "OSR110"), ("../../secret", "OSR108"), ("v9", "OSR108")])
def test_a_revision_that_is_not_in_the_cache(cache: Path, revision: str, code: str) -> None:
    (cache / "secret").write_text(COMMIT)
    finding = only(inspect(needs(cache, revision=revision)[:2]))
    assert finding.code == code
    assert shlex.split(finding.remedy)[:5] == ["hf", "download", T5, "--revision", revision]


@pytest.mark.parametrize("header", [b"[]", b"{", b'{"w": {}}', b'{"w": {"data_offsets": [0, "x"]}}', b"\xff"])
def test_a_safetensors_header_that_is_none(tmp_path: Path, header: bytes) -> None:
    content = struct.pack("<Q", len(header)) + header
    make_repo(tmp_path, T5, {"config.json": b"{}", "model.safetensors": content})
    assert only(inspect([Need(T5, str(tmp_path), class_name="T5EncoderModel")])).code == "OSR114"


def test_a_disk_that_fails_while_hashing_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rewriter.cache import hashing

    bad, whole = str(blob(cache, SHARDS[0])), hashing.hash_file

    def failing(path: str, *rest: object) -> str:
        if path == bad:
            raise OSError(5, "Input/output error")
        return whole(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(hashing, "hash_file", failing)
    finding = only(inspect(needs(cache), hash=True))
    assert finding.code == "OSR103"
    assert "Input/output error" in finding.message
    assert "chmod" not in finding.remedy


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX links and pipes")
def test_a_ref_or_a_listing_that_is_a_pipe_is_not_waited_for(cache: Path) -> None:
    tree = t5(cache) / "trees" / f"{COMMIT}.json"
    tree.parent.mkdir(exist_ok=True)
    tree.unlink(missing_ok=True)
    os.mkfifo(tree)
    assert inspect(needs(cache)).findings == ()
    ref = t5(cache) / "refs" / "main"
    ref.unlink()
    os.mkfifo(ref)
    finding = only(inspect(needs(cache)))
    assert (finding.code, finding.message) == ("OSR103", f"{ref} cannot be read: it is a named pipe, not a file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX links and pipes")
def test_a_repo_that_is_a_link_to_itself_is_that_repos_trouble(cache: Path) -> None:
    shutil.rmtree(t5(cache))
    t5(cache).symlink_to(t5(cache).name)
    report = inspect(needs(cache))
    finding = only(report)
    assert (finding.code, finding.message.split(" cannot")[0]) == ("OSR103", str(t5(cache)))
    assert [found.commit for found in report.inspected][-1] == COMMIT


def test_an_index_that_leads_out_of_its_repo_is_told_as_that(cache: Path) -> None:
    index_that_leads_out(cache)
    message = only(inspect(needs(cache))).message
    assert "names a shard outside of its repo ('../../../etc/hostname')" in message
    assert "weight_map" not in message


def test_a_repo_in_trouble_does_not_hide_the_others(cache: Path) -> None:
    shutil.rmtree(t5(cache))
    weights = cache / "models--PixArt-alpha--pixart_sigma_sdxlvae_T5_diffusers" / "snapshots" / COMMIT / "vae"
    (weights / "config.json").unlink()
    report = inspect(needs(cache))
    assert codes(report) == ["OSR107", "OSR113"]
    assert [found.commit for found in report.inspected] == [None, None, COMMIT]


def test_two_root_causes_in_one_repo_give_two_findings(cache: Path) -> None:
    lfs_pointer(cache)
    missing_file(cache)
    assert sorted(codes(inspect(needs(cache)))) == ["OSR113", "OSR115"]


def test_a_changed_byte_is_found_by_hashing_only(cache: Path) -> None:
    with open(blob(cache, SHARDS[0]), "r+b") as stream:
        stream.seek(70)
        stream.write(b"?")
    assert inspect(needs(cache)).findings == ()
    finding = only(inspect(needs(cache), hash=True))
    assert finding.code == "OSR114"
    assert blob(cache, SHARDS[0]).name in finding.message
    assert "--force-download" in finding.remedy


@pytest.mark.parametrize("length", [0, 4, 30, len(safetensors()) - 1])
def test_a_safetensors_file_cut_anywhere_is_found_without_hashing(cache: Path, length: int) -> None:
    folder = cache / "models--PixArt-alpha--pixart_sigma_sdxlvae_T5_diffusers" / "snapshots" / COMMIT / "vae"
    os.truncate((folder / "diffusion_pytorch_model.safetensors").resolve(), length)
    finding = only(inspect(needs(cache)))
    assert (finding.code, finding.component) == ("OSR114", "vae")


def test_a_leftover_beside_a_complete_blob_is_only_a_warning(cache: Path) -> None:
    whole = blob(cache, SHARDS[0])
    whole.with_name(whole.name + ".incomplete").write_bytes(b"half")
    finding = only(inspect(needs(cache)))
    assert (finding.code, finding.severity) == ("OSR116", "warning")


def test_an_unfinished_download_of_something_nobody_asks_for_is_no_finding(cache: Path) -> None:
    (t5(cache) / "blobs" / ("f" * 64 + ".incomplete")).write_bytes(b"half")
    assert inspect(needs(cache)).findings == ()


def test_files_that_no_loader_reads_may_be_broken(cache: Path) -> None:
    blob(cache, "README.md").unlink()
    assert inspect(needs(cache), hash=True).findings == ()
    everything = [replace(needs(cache)[0], kind="snapshot_download")]
    assert only(inspect(everything)).code == "OSR112"


def test_a_file_that_the_hub_library_takes_for_absent_is_told(cache: Path) -> None:
    pytest.importorskip("huggingface_hub")
    marker = t5(cache) / ".no_exist" / COMMIT / "config.json"
    marker.parent.mkdir(parents=True)
    marker.touch()
    assert ".no_exist" in only(inspect(needs(cache))).message


def test_a_repo_that_only_the_source_names_is_a_warning_when_it_is_there(cache: Path) -> None:
    wanted = needs(cache)
    wanted[2] = replace(wanted[2], hard_coded=True)
    finding = only(inspect(wanted))
    assert (finding.code, finding.severity) == ("OSR117", "warning")
    assert VAE in finding.message


def test_a_repo_that_only_the_source_names_is_said_so_when_it_is_absent(cache: Path) -> None:
    shutil.rmtree(cache / "models--PixArt-alpha--pixart_sigma_sdxlvae_T5_diffusers")
    finding = only(inspect([replace(need, hard_coded=need.repo_id == VAE) for need in needs(cache)]))
    assert (finding.code, finding.severity) == ("OSR107", "error")
    assert "source names" in finding.message


# --- remedies -------------------------------------------------------------------------------------


def test_the_remedy_for_an_absent_repo_is_a_command_to_paste(tmp_path: Path) -> None:
    odd = tmp_path / "a dir; $(touch x)'\""
    odd.mkdir()
    finding = only(inspect([Need(T5, str(odd))]))
    assert shlex.split(finding.remedy) == ["hf", "download", T5, "--cache-dir", str(odd)]


def test_the_remedy_for_a_missing_shard_fetches_just_that_into_the_same_snapshot(cache: Path) -> None:
    missing_shard(cache)
    words = shlex.split(only(inspect(needs(cache))).remedy)
    assert words == ["hf", "download", T5, SHARDS[1], "--revision", COMMIT, "--cache-dir", str(cache)]


@pytest.mark.parametrize(
    "name", ["no_ref", "no_refs_folder", "no_ref_and_two_snapshots", "ref_with_newline", "ref_written_by_powershell"]
)
def test_the_remedy_for_a_ref_cures_it(cache: Path, name: str) -> None:
    MISTAKES[name][1](cache)
    subprocess.run(["sh", "-c", only(inspect(needs(cache))).remedy], check=True)
    assert inspect(needs(cache)).findings == ()


@pytest.mark.parametrize("place", ["t5-v1_1-xxl", "DeepFloyd/t5-v1_1-xxl", "DeepFloyd_t5-v1_1-xxl"])
def test_a_flat_download_inside_the_cache_gets_the_adopt_command(cache: Path, place: str) -> None:
    shutil.rmtree(t5(cache))
    (cache / place).mkdir(parents=True)
    (cache / place / "config.json").write_text("{}")
    finding = only(inspect(needs(cache)))
    assert finding.code == "OSR106"
    source = str(cache / place)
    assert shlex.split(finding.remedy) == [
        "opensora-rewriter",
        "adopt",
        source,
        "--repo",
        T5,
        "--cache-dir",
        str(cache),
    ]


def test_a_folder_of_the_repos_name_that_holds_no_model_is_no_flat_download(cache: Path) -> None:
    shutil.rmtree(t5(cache))
    (cache / "t5-v1_1-xxl").mkdir()
    (cache / "t5-v1_1-xxl" / "notes.txt").write_text("")
    finding = only(inspect(needs(cache)[:1]))
    assert (finding.code, finding.message) == ("OSR107", f"{T5} is not in {cache}")


@pytest.mark.parametrize("repo_id", ["../../etc", "a/b/c", "a--b/c", "x/..", "a b/c", "\0", "", "/etc", "a/b\n", "é/x"])
def test_what_is_no_repo_id_is_said_so_and_never_becomes_a_path(cache: Path, repo_id: str) -> None:
    finding = only(inspect([Need(repo_id, str(cache))]))
    assert finding.code == "OSR107"
    assert "not a repo id" in finding.message


# --- the directory itself -------------------------------------------------------------------------


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert only(inspect(needs(tmp_path / "nowhere"))).code == "OSR101"
    assert not (tmp_path / "nowhere").exists()


def test_a_dangling_link_for_a_directory(tmp_path: Path) -> None:
    (tmp_path / "hub").symlink_to(tmp_path / "unmounted")
    assert only(inspect(needs(tmp_path / "hub"))).code == "OSR101"


def test_a_file_for_a_directory(tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("")
    assert only(inspect(needs(tmp_path / "hub"))).code == "OSR102"


def test_hf_home_for_its_hub(cache: Path) -> None:
    finding = only(inspect(needs(cache.parent)))
    assert finding.code == "OSR104"
    assert finding.remedy == f"cache_dir={str(cache)!r}"


@pytest.mark.parametrize("inside", [".", "snapshots", f"snapshots/{COMMIT}"])
def test_a_models_own_folder_for_the_cache(cache: Path, inside: str) -> None:
    finding = only(inspect(needs(os.path.normpath(t5(cache) / inside))))
    assert finding.code == "OSR105"
    assert finding.remedy == f"cache_dir={str(cache)!r}"


def test_a_model_folder_under_another_name(cache: Path) -> None:
    renamed = cache / "t5"
    t5(cache).rename(renamed)
    assert only(inspect(needs(renamed))).code == "OSR105"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "pytorch_model.bin.index.json"])
def test_a_flat_download_for_the_cache(tmp_path: Path, name: str) -> None:
    flat = tmp_path / "t5-v1_1-xxl"
    flat.mkdir()
    (flat / name).write_text("{}")
    finding = only(inspect(needs(flat)))
    assert finding.code == "OSR106"
    command = shlex.join(["opensora-rewriter", "adopt", str(flat), "--repo", T5, "--cache-dir", str(tmp_path)])
    assert finding.remedy == f"{command}, then cache_dir={str(tmp_path)!r}"


@pytest.mark.parametrize("path", ["hub", "./hub", "~/hub"])
def test_a_relative_cache_dir(path: str) -> None:
    assert only(inspect(needs(path))).code == "OSR002"


def test_an_empty_directory_is_no_mistake_of_its_own(tmp_path: Path) -> None:
    assert check_directory(str(tmp_path)) == []
    assert codes(inspect(needs(tmp_path))) == ["OSR107", "OSR107"]


def test_the_environments_cache_is_named_in_the_message_and_in_the_remedy(cache: Path) -> None:
    (finding,) = check_directory(str(cache.parent), source="HF_HOME", severity="warning")
    assert "environment's HF_HOME" in finding.message
    assert finding.remedy == f"export HF_HUB_CACHE={cache}"
    assert finding.severity == "warning"


@pytest.fixture
def as_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Root reads everything: act as another user, who can pass through the temporary folders of this run.

    They stay passable (not listable): another worker's tests may stand in them at the same time.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    for folder in (base, *base.parents):
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o011)
    yield
    os.seteuid(0)


def become_nobody(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        inspect(needs(tmp_path), hash=True)  # imports all it needs: nobody may not read Python's own library
        import huggingface_hub.file_download  # noqa: F401

        tmp_path.chmod(0o755)
        os.seteuid(65534)


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX users")
@pytest.mark.parametrize("mode", [0o700, 0o711, 0o744], ids=["neither", "no r", "no x"])
@pytest.mark.parametrize("where", ["cache", "repo", "refs"])
def test_a_folder_that_this_user_cannot_read(cache: Path, tmp_path: Path, mode: int, where: str) -> None:
    folder = {"cache": cache, "repo": t5(cache), "refs": t5(cache) / "refs"}[where]
    folder.chmod(mode if os.geteuid() == 0 else mode << 6 & 0o700)
    try:
        become_nobody(tmp_path)
        finding = only(inspect(needs(cache)))
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        folder.chmod(0o755)
    assert finding.code == "OSR103"


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX users")
def test_a_blob_that_this_user_cannot_read(cache: Path, tmp_path: Path) -> None:
    blob(cache, SHARDS[0]).chmod(0o000)
    become_nobody(tmp_path)
    assert only(inspect(needs(cache), hash=True)).code == "OSR103"


@pytest.mark.usefixtures("as_nobody")
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX users")
def test_a_read_only_cache_of_another_user_is_intact(cache: Path, tmp_path: Path) -> None:
    for path in [cache, *cache.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    become_nobody(tmp_path)
    assert inspect(needs(cache), hash=True).findings == ()


# --- which files a loader asks for ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "class_name", "files", "read"),
    [
        ("transformers", "CLIPTokenizer", ["vocab.json", "merges.txt"], ["merges.txt", "vocab.json"]),
        ("transformers", "CLIPTokenizer", ["tokenizer.json"], ["tokenizer.json"]),
        ("transformers", "T5Tokenizer", ["spiece.model"], ["spiece.model"]),
        ("transformers", "AutoTokenizer", ["config.json", "tokenizer.json"], ["config.json", "tokenizer.json"]),
        ("transformers", "AutoConfig", ["config.json"], ["config.json"]),
        ("transformers", "T5EncoderModel", ["config.json", "model.safetensors", "pytorch_model.bin"],
         ["config.json", "model.safetensors"]),
        ("transformers", "BertTokenizer", ["vocab.txt"], ["vocab.txt"]),
        ("transformers", "AutoProcessor", ["preprocessor_config.json"], ["preprocessor_config.json"]),
        ("diffusers", "DDIMScheduler", ["scheduler_config.json"], ["scheduler_config.json"]),
        ("opensora", "VideoAutoencoderPipeline", ["config.json", "model.safetensors"],
         ["config.json", "model.safetensors"]),
        ("diffusers", "AutoencoderKL", ["config.json", "diffusion_pytorch_model.bin"],
         ["config.json", "diffusion_pytorch_model.bin"]),
        ("diffusers", "AutoencoderKL",
         ["config.json", "diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"],
         ["config.json", "diffusion_pytorch_model.safetensors"]),
    ],
)  # fmt: skip
def test_a_loader_reads_its_files_in_the_librarys_order(
    tmp_path: Path, library: str, class_name: str, files: list[str], read: list[str]
) -> None:
    contents = {name: safetensors() if name.endswith(".safetensors") else b"{}" for name in files}
    make_repo(tmp_path, "org/name", contents)
    report = inspect([Need("org/name", str(tmp_path), library=library, class_name=class_name)])
    assert report.findings == ()
    assert [file.name for file in report.inspected[0].files] == read


@pytest.mark.parametrize(
    ("library", "class_name", "files", "missing"),
    [
        ("transformers", "CLIPTokenizer", ["vocab.json"], "merges.txt"),
        ("transformers", "T5EncoderModel", ["config.json", "diffusion_pytorch_model.bin"], "pytorch_model.bin"),
        ("diffusers", "AutoencoderKL", ["config.json", "model.safetensors"], "diffusion_pytorch_model.safetensors"),
        ("diffusers", "AutoencoderKL", ["diffusion_pytorch_model.bin"], "config.json"),
        ("transformers", "AutoTokenizer", ["tokenizer.json"], "tokenizer_config.json"),
    ],
)
def test_what_a_loader_misses_is_named(
    tmp_path: Path, library: str, class_name: str, files: list[str], missing: str
) -> None:
    make_repo(tmp_path, "org/name", {name: safetensors() if "safetensors" in name else b"{}" for name in files})
    finding = only(inspect([Need("org/name", str(tmp_path), library=library, class_name=class_name)]))
    assert finding.code == "OSR113"
    assert missing in finding.message


def test_one_file_asked_for_by_name(cache: Path) -> None:
    wanted = [Need(T5, str(cache), kind="hf_hub_download", filename="spiece.model", library="huggingface_hub")]
    assert [file.name for file in inspect(wanted).inspected[0].files] == ["spiece.model"]
    in_snapshot(cache, "spiece.model").unlink()
    assert only(inspect(wanted)).code == "OSR113"


@pytest.mark.parametrize("name", ["../../../../outside.json", "/etc/hostname", "a\0b"])
def test_a_file_name_that_leads_out_of_the_repo_is_never_read(cache: Path, name: str) -> None:
    (cache.parent / "outside.json").write_text("{}")
    wanted = Need(T5, str(cache), kind="hf_hub_download", filename=name, library="huggingface_hub")
    report = inspect([wanted], hash=True)
    assert only(report).code == "OSR113"
    assert report.inspected[0].files == ()


# --- hashing --------------------------------------------------------------------------------------


def test_a_file_that_is_gone_has_its_error_for_a_hash_and_the_others_theirs(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"content")
    wanted: list[tuple[str, HashKind]] = [(str(tmp_path / name), "sha256") for name in ("gone", "there")]
    seen: list[tuple[int, int]] = []
    found = hash_files(wanted, progress=lambda done, total: seen.append((done, total)))
    assert isinstance(found.pop(wanted[0]), FileNotFoundError)
    assert found == {wanted[1]: hashlib.sha256(b"content").hexdigest()}
    assert seen == [(7, 7)]


def test_a_run_that_was_stopped_gives_no_hash(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    stop = threading.Event()
    assert hash_file(str(tmp_path / "x"), "sha256", stop=stop) == hashlib.sha256(b"content").hexdigest()
    stop.set()
    with pytest.raises(StoppedError):
        hash_file(str(tmp_path / "x"), "sha256", stop=stop)


def test_progress_counts_every_byte_once(cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = inspect(needs(cache), hash=True, jobs=2, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (report.hashed_bytes, report.hashed_bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    read = {file.path: file.size for found in report.inspected for file in found.files}
    assert report.hashed_bytes == sum(read.values())


def test_hashes_are_those_of_git_and_sha256sum(tmp_path: Path) -> None:
    content = os.urandom(BUFFER_BYTES + 17)
    (tmp_path / "x").write_bytes(content)
    assert hash_file(str(tmp_path / "x"), "sha256") == hashlib.sha256(content).hexdigest()
    expected = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    assert hash_file(str(tmp_path / "x"), "git-sha1") == expected
    (tmp_path / "empty").touch()
    assert hash_file(str(tmp_path / "empty"), "git-sha1") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_the_package_has_what_it_promises_and_nothing_else() -> None:
    from rewriter import cache

    assert all(hasattr(cache, name) for name in cache.__all__)
    assert not hasattr(cache, "download")


def test_judging_a_directory_needs_nothing_that_hashes() -> None:
    code = "import sys; from rewriter.cache import check_directory; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"hashlib", "json", "huggingface_hub", "rewriter.cache.hashing"} & set(run.stdout.split())


def test_ctrl_c_while_hashing_stops_every_thread(cache: Path) -> None:
    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        inspect(needs(cache), hash=True, jobs=3, progress=interrupted)
    assert threading.active_count() == before


# --- where the library looks without a cache_dir --------------------------------------------------


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
    environ: dict[str, str], expected: tuple[str, str]
) -> None:
    environ = {"HOME": "/home/u", **environ}
    assert default_cache(environ) == expected
    pytest.importorskip("huggingface_hub")
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == expected[0]


# --- the real thing: tiny weights, written by transformers and diffusers themselves ---------------

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
    report = inspect([real_need(hub_cache, *row) for row in REAL], hash=True)
    assert report.findings == ()
    assert all(file.verified for found in report.inspected for file in found.files)
    assert all(len(found.files) >= 2 for found in report.inspected)


@pytest.mark.torch
@pytest.mark.parametrize("row", REAL, ids=lambda row: f"{row[2]}-{row[0].split('/')[1]}")
def test_every_file_of_real_weights_is_missed_when_its_blob_or_its_bytes_are_gone(
    hub_copy: Path, row: tuple[str, str, str, str | None]
) -> None:
    (found,) = inspect([real_need(hub_copy, *row)]).inspected
    for file in found.files:
        target = Path(file.path).resolve()
        content = target.read_bytes()
        target.write_bytes(content[: len(content) // 2])
        assert codes(inspect([real_need(hub_copy, *row)], hash=True)) == ["OSR114"], file.name
        target.unlink()
        assert codes(inspect([real_need(hub_copy, *row)])) == ["OSR112"], file.name
        target.write_bytes(content)
    assert inspect([real_need(hub_copy, *row)], hash=True).findings == ()
