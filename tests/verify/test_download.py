"""`download` fetches what the loaders will read and nothing else, from a small Hub on 127.0.0.1."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from caches import COMMIT, OTHER, SHARDS, T5, VAE, safetensors, t5_files, vae_files
from hub import Hub, Repo, serve

from rewriter.verify.cache import inspect_cache, report_needs
from rewriter.verify.download import DownloadError, RepoDownload, fetch, plan_download
from rewriter.verify.lock import Lock, read_lock, write_lock
from rewriter.verify.needs import Need

pytest.importorskip("huggingface_hub")
constants = importlib.import_module("huggingface_hub.constants")

KL = "stabilityai/sd-vae-ft-ema"
PLACE = (("configs/sample.py", 12, "text_encoder"),)
OFF = {"flax_model.msgpack": b"flax" * 9, "tf_model.h5": b"tf" * 9, "rust_model.ot": b"rust"}


@pytest.fixture(autouse=True)
def _plain_transfers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture
def hub() -> Iterator[Hub]:
    pipeline = {"model_index.json": b"{}", "transformer/diffusion_pytorch_model.safetensors": safetensors(200)}
    both = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": safetensors(),
            "diffusion_pytorch_model.bin": b"pickle" * 50}  # fmt: skip
    repos = {T5: Repo({**t5_files(), **OFF}), VAE: Repo({**vae_files(), **pipeline}), KL: Repo(both)}
    with serve(repos) as server:
        yield server


def needs(cache: Path, *repo_ids: str) -> list[Need]:
    made = [
        Need(T5, str(cache), class_name="AutoTokenizer"),
        Need(T5, str(cache), class_name="T5EncoderModel"),
        Need(VAE, str(cache), subfolder="vae", library="diffusers", class_name="AutoencoderKL", hard_coded=True),
        Need(KL, str(cache), library="diffusers", class_name="AutoencoderKL"),
    ]
    return [need._replace(requested_by=PLACE) for need in made if not repo_ids or need.repo_id in repo_ids]


@contextmanager
def reach(endpoint: str) -> Iterator[None]:
    """What ``HF_ENDPOINT`` does, which huggingface_hub reads once, at import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", endpoint)
        for module in (constants, importlib.import_module("huggingface_hub.file_download")):
            template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
            patch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        yield


def download(
    hub: Hub, wanted: list[Need], lock: Lock | None = None, kl: str = ""
) -> tuple[list[RepoDownload], list[str]]:
    """``kl``: the commit that is requested of KL."""
    with reach(hub.endpoint):
        repos = fetch(plan_download(wanted, lock, {KL: kl} if kl else {}))
    findings = [finding for repo in repos for finding in report_needs(repo.trouble, repo.needs)]
    return repos, [f"{finding.code} {finding.severity}: {finding.message} -> {finding.remedy}" for finding in findings]


def cached_files(cache: Path, repo_id: str) -> set[str]:
    snapshot = cache / ("models--" + repo_id.replace("/", "--")) / "snapshots" / COMMIT
    return {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if not path.is_dir()}


T5_READ = {*SHARDS, "config.json", "pytorch_model.bin.index.json", "spiece.model", "special_tokens_map.json",
           "tokenizer_config.json"}  # fmt: skip


def test_the_files_of_each_loader_are_fetched_and_no_others_and_a_second_run_asks_for_nothing(
    hub: Hub, tmp_path: Path
) -> None:
    repos, findings = download(hub, needs(tmp_path))
    assert (findings, [repo.commit for repo in repos]) == ([], [COMMIT] * 3)
    assert cached_files(tmp_path, T5) == T5_READ
    assert cached_files(tmp_path, VAE) == set(vae_files())
    assert cached_files(tmp_path, KL) == {"config.json", "diffusion_pytorch_model.safetensors"}
    report = inspect_cache(needs(tmp_path), hash=True)
    assert [finding.code for finding in report.findings] == ["OSR117"]
    hub.requests.clear()
    repos, findings = download(hub, needs(tmp_path))
    assert (findings, hub.requests) == ([], [])
    assert all(repo.complete and repo.missing_bytes == 0 for repo in repos)


def test_planning_says_files_sizes_and_commands_and_writes_nothing(hub: Hub, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    with reach(hub.endpoint):
        t5, vae, _ = plan_download(needs(cache), None, {})
    assert {file.name: file.size for file in t5.files} == {
        name: len(content) for name, content in t5_files().items() if name in T5_READ
    }
    assert t5.missing_bytes == sum(file.size for file in t5.files)
    assert vae.command == (
        f"hf download {VAE} vae/config.json vae/diffusion_pytorch_model.safetensors --cache-dir {cache}"
    )
    assert not cache.exists()
    assert set(hub.fetched) == {"pytorch_model.bin.index.json"}


def test_an_interrupted_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.repos[T5].files[SHARDS[0]] = b"PK\3\4" + b"x" * (12 << 20) + b"PK\5\6" + bytes(18)
    hub.cut[SHARDS[0]] = 11 << 20  # huggingface_hub writes pieces of 10 MB
    code = (
        "import sys; from rewriter.verify.download import *; from rewriter.verify.needs import Need\n"
        "from huggingface_hub import file_download as module; real = module.http_get\n"
        "module.http_get = lambda *args, **more: real(*args, **{**more, '_nb_retries': 0})\n"
        f"need = Need({T5!r}, sys.argv[1], class_name='T5EncoderModel')\n"
        "(repo,) = fetch(plan_download([need], None, {})); print(repo.trouble and repo.trouble.code)\n"
    )
    env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    words = [sys.executable, "-c", code, str(tmp_path)]
    first = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert first.stdout == "OSR133\n", first.stderr
    begun = list(tmp_path.rglob("*.incomplete"))  # hub 2.x keeps none: it goes on file by file
    hub.requests.clear()
    hub.ranges.clear()
    hub.cut.clear()
    assert subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout == "None\n"
    assert hub.fetched == ["pytorch_model.bin.index.json", SHARDS[0]]  # the index to plan with
    assert hub.ranges == [f"{SHARDS[0]} from {10 << 20}"] * len(begun)
    assert inspect_cache(needs(tmp_path, T5)[1:], hash=True).findings == ()


def test_a_mirror_with_a_path_serves_as_well(tmp_path: Path) -> None:
    with serve({VAE: Repo(vae_files())}, prefix="/mirror/hf") as hub:
        assert download(hub, needs(tmp_path, VAE))[1] == []
    assert cached_files(tmp_path, VAE) == set(vae_files())


# --- what cannot be fetched ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "gated", "code", "words"),
    [
        (401, False, "OSR131", f"the Hub does not give {KL} to this token"),
        (403, False, "OSR131", f"the Hub does not give {KL} to this token"),
        (200, True, "OSR131", "gated"),
        (404, False, "OSR132", f"the Hub has no {KL} at main"),
        (500, False, "OSR133", "500"),
    ],
)
def test_a_repo_that_is_refused_is_reported_and_the_others_are_fetched(
    hub: Hub, tmp_path: Path, status: int, gated: bool, code: str, words: str
) -> None:
    hub.repos[KL].status, hub.repos[KL].gated = status, gated
    _, (finding,) = download(hub, needs(tmp_path))
    assert finding.startswith(f"{code} error: ")
    assert words in finding
    assert (f"see https://huggingface.co/{KL}" in finding) == (status != 500)
    assert cached_files(tmp_path, T5) == T5_READ


def test_a_token_opens_what_is_closed(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    assert download(hub, needs(tmp_path, VAE))[1][0].startswith("OSR131")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert download(hub, needs(tmp_path, VAE))[1] == []


def test_a_renamed_repo_is_fetched_under_the_name_that_loaders_ask_for_and_reported(hub: Hub, tmp_path: Path) -> None:
    hub.repos[KL].renamed = "new-org/sd-vae"
    _, (finding,) = download(hub, needs(tmp_path, KL))
    assert finding.startswith(f"OSR132 warning: {KL} is called new-org/sd-vae on the Hub now")
    assert cached_files(tmp_path, KL)


def test_a_repo_without_the_weights_of_a_loader_or_without_the_commit_is_reported(hub: Hub, tmp_path: Path) -> None:
    _, (finding,) = download(hub, needs(tmp_path, KL), kl=OTHER)
    assert finding.startswith(f"OSR132 error: the Hub has no {KL} at {OTHER}")
    del hub.repos[T5].files[SHARDS[1]]
    _, (finding,) = download(hub, needs(tmp_path, T5))
    assert finding.startswith(f"OSR132 error: {T5} at {COMMIT} has no {SHARDS[1]}")


def test_offline_mode_is_named(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (repo,) = plan_download(needs(tmp_path, VAE), None, {})
    assert repo.trouble is not None
    assert repo.trouble.remedy.startswith("unset HF_HUB_OFFLINE")


def test_without_space_nothing_is_begun(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DownloadError, match=r"not enough space in .* are to be fetched, 1,000 are free"):
        download(hub, needs(tmp_path / "hub"))
    assert not (tmp_path / "hub").exists()


def test_it_says_so_where_huggingface_hub_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match="not installed") as caught:
        plan_download(needs(tmp_path), None, {})
    assert caught.value.args[1] == "pip install 'opensora-rewriter[cache]'"


# --- by commit ----------------------------------------------------------------------------------------


def lock_for(hub: Hub, folder: Path, *repo_ids: str) -> str:
    download(hub, needs(folder, *repo_ids))
    return write_lock(inspect_cache(needs(folder, *repo_ids)))


def test_a_locked_commit_becomes_what_loaders_ask_for(hub: Hub, tmp_path: Path) -> None:
    lock = read_lock(lock_for(hub, tmp_path / "first", T5))
    _, findings = download(hub, needs(tmp_path / "hub", T5), lock)
    assert findings == []
    ref = tmp_path / "hub" / "models--DeepFloyd--t5-v1_1-xxl" / "refs" / "main"
    assert ref.read_text() == COMMIT
    assert inspect_cache(needs(tmp_path / "hub", T5), hash=True).findings == ()
    assert not list(tmp_path.rglob(".adopt-*"))


def test_another_commit_in_the_ref_is_kept_and_reported(hub: Hub, tmp_path: Path) -> None:
    ref = tmp_path / "models--stabilityai--sd-vae-ft-ema" / "refs" / "main"
    ref.parent.mkdir(parents=True)
    ref.write_text(OTHER)
    _, (finding,) = download(hub, needs(tmp_path, KL), kl=COMMIT)
    assert finding.startswith("OSR135 error: ")
    assert ref.read_text() == OTHER
    subprocess.run(["sh", "-c", finding.partition(" -> ")[2]], check=True)
    assert inspect_cache(needs(tmp_path, KL), hash=True).findings == ()
    assert download(hub, needs(tmp_path, KL), kl=COMMIT)[1] == []


def test_a_repo_that_the_lock_lacks_is_refused(hub: Hub, tmp_path: Path) -> None:
    lock = read_lock(lock_for(hub, tmp_path / "first", KL))
    _, (finding,) = download(hub, needs(tmp_path / "hub", KL, VAE), lock)
    assert finding.startswith(f"OSR126 error: {VAE} at main is not in the lock")
    assert cached_files(tmp_path / "hub", KL)
    _, (finding,) = download(hub, needs(tmp_path, KL), lock, kl=OTHER)
    assert finding.startswith(f"OSR126 error: {KL} at {OTHER} is not in the lock")


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="needs diffusers")
def test_a_loader_finds_offline_what_was_fetched_by_commit(tmp_path: Path, hub_cache: Path) -> None:
    import diffusers

    snapshot = next((hub_cache / "models--stabilityai--sd-vae-ft-ema" / "snapshots").iterdir())
    files = {path.name: path.read_bytes() for path in snapshot.iterdir()}
    with serve({KL: Repo(files)}) as hub:
        assert download(hub, needs(tmp_path, KL), kl=COMMIT)[1] == []
    assert diffusers.AutoencoderKL.from_pretrained(KL, cache_dir=tmp_path, local_files_only=True)
