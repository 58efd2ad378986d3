"""``download`` against a small Hub on 127.0.0.1: what is fetched, printed and locked."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from caches import safetensors
from cli_support import REPOSITORY, Checkout, Run
from hub import Hub, Repo, serve

pytest.importorskip("huggingface_hub")
KL = "stabilityai/sd-vae-ft-ema"
T5 = "DeepFloyd/t5-v1_1-xxl"
CONFIG = "configs/own.py"
TEXT_ENCODER = f'text_encoder = dict(type="t5", from_pretrained="{T5}")\n'
Fetch = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": safetensors(), "extra.bin": b"x" * 1000}
    with serve({KL: Repo(files)}) as running:
        yield running


def download(hub: Hub, root: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: huggingface_hub reads HF_ENDPOINT when it is imported."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_ENDPOINT": hub.endpoint}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "rewriter", "download", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=False)


@pytest.fixture
def fetch(hub: Hub, root: Path) -> Fetch:
    return functools.partial(download, hub, root, CONFIG)


@pytest.fixture
def root(checkout: Checkout) -> Path:
    root = checkout("v1.1")
    (root / CONFIG).write_text(f'vae = dict(type="VideoAutoencoderKL", from_pretrained="{KL}")\n')
    return root


def test_a_dry_run_prints_files_sizes_and_the_hf_command(fetch: Fetch, root: Path, run: Run, tmp_path: Path) -> None:
    done = fetch("--cache-dir", tmp_path / "hub", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert " B  diffusion_pytorch_model.safetensors" in done.stdout
    assert f"hf download {KL} config.json" in done.stdout
    assert "extra.bin" not in done.stdout
    assert not (tmp_path / "hub").exists()


def test_what_is_fetched_is_locked_and_a_second_run_fetches_nothing(
    fetch: Fetch, root: Path, run: Run, tmp_path: Path
) -> None:
    words = ("--cache-dir", tmp_path / "hub", "--output-format", "json")
    done = fetch(*words, "--write-lock", "a.lock")
    assert done.returncode == 0, done.stdout + done.stderr
    (repo,) = json.loads(done.stdout)["repos"]
    assert (repo["repo_id"], repo["complete"], len(repo["files"])) == (KL, False, 2)
    assert KL in (root / "a.lock").read_text()
    (again,) = json.loads(fetch(*words, "--lock", "a.lock").stdout)["repos"]
    assert (again["complete"], again["commit"]) == (True, repo["commit"])
    rewritten = run("rewrite", CONFIG, "--cache-dir", tmp_path / "hub", "--no-resolve", cwd=root)
    assert rewritten.exit_code == 0
    assert run("verify", CONFIG, "--hash", cwd=root).exit_code == 0


@pytest.mark.torch
def test_what_is_fetched_builds_with_the_hub_gone(
    hub_cache: Path, checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    root, hub = checkout("v1.2"), tmp_path / "hub"
    sample = "configs/opensora-v1-2/inference/sample.py"
    repos = {}
    for folder in sorted(hub_cache.glob("models--*")):
        (snapshot,) = (folder / "snapshots").iterdir()
        files = {path.relative_to(snapshot).as_posix(): path for path in snapshot.rglob("*") if path.is_file()}
        contents = {name: path.read_bytes() for name, path in files.items()}
        repos[folder.name[len("models--") :].replace("--", "/")] = Repo({**contents, "flax_model.msgpack": b"x"})
    with serve(repos) as running:
        done = download(running, root, sample, "--cache-dir", hub)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(hub.rglob("flax_model.msgpack"))

    assert run("rewrite", sample, "--cache-dir", hub, "--no-resolve", "--all-components", cwd=root).exit_code == 0
    hashed = run("verify", sample, "--hash", "--all-components", cwd=root)
    assert hashed.exit_code == 0, hashed.output
    built = run("verify", sample, "--level", "build", "--python", sys.executable, cwd=root)
    assert built.exit_code == 0, built.output


def test_the_printed_remedy_for_missing_weights_fetches_what_the_loader_asks_for(
    fetch: Fetch, root: Path, run: Run, tmp_path: Path
) -> None:
    fetch("--cache-dir", tmp_path / "hub")
    assert run("rewrite", CONFIG, "--cache-dir", tmp_path / "hub", "--no-resolve", cwd=root).exit_code == 0
    (weights,) = (tmp_path / "hub").rglob("diffusion_pytorch_model.safetensors")
    weights.unlink()
    found = run("verify", CONFIG, cwd=root).output
    assert "OSR113" in found
    (words,) = [
        line.split()[4:] for line in found.splitlines() if line.startswith("    -> opensora-rewriter download ")
    ]
    assert fetch(*words).returncode == 0
    assert (weights.exists(), list((tmp_path / "hub").rglob("extra.bin"))) == (True, [])
    assert run("verify", CONFIG, "--hash", cwd=root).exit_code == 0


def test_without_a_network_one_message_names_the_hub(fetch: Fetch, hub: Hub, root: Path, tmp_path: Path) -> None:
    (root / CONFIG).write_text(f'vae = dict(type="VideoAutoencoderKL", from_pretrained="{KL}")\n' + TEXT_ENCODER)
    hub.endpoint = "http://127.0.0.1:9"
    done = fetch("--cache-dir", tmp_path / "hub")
    assert done.returncode == 1
    assert (done.stdout.count("OSR"), done.stdout.count("OSR133"), done.stderr) == (1, 1, "")
    message = " ".join(done.stdout.split())
    assert f"the Hub at {hub.endpoint} cannot be reached, or fails: Connection refused" in message
    assert ("HF_ENDPOINT" in message, "2 errors" in message) == (True, True)


def test_a_component_that_cannot_be_followed_is_reported_with_exit_1(
    fetch: Fetch, root: Path, run: Run, tmp_path: Path
) -> None:
    (root / CONFIG).write_text('vae = dict(type="Nope", from_pretrained="org/b")\n')
    done = fetch("--cache-dir", tmp_path / "hub")
    assert (done.returncode, "OSR007" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("option", "message"),
    [("--revision=no-equals", "is not REPO=SHA"), (f"--revision={KL}=abc", "is not REPO=SHA (40 hex digits)")],
)
def test_a_wrong_revision_is_wrong_usage(fetch: Fetch, option: str, message: str) -> None:
    done = fetch(option, "--cache-dir", "/nowhere")
    assert done.returncode == 2
    assert message in done.stderr
