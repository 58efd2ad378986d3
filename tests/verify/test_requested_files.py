"""Each library asks a repo for its files in an order of its own; a repo's listing is enough to say which it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from caches import COMMIT, SHARDS, T5, VAE, make_repo, safetensors, t5_files

from rewriter.verify.cache import inspect_cache
from rewriter.verify.needs import Need, list_subfolders, select_files

KL = "diffusion_pytorch_model"


@pytest.mark.parametrize(
    ("library", "class_name", "read", "others"),
    [
        ("transformers", "CLIPTokenizer", "merges.txt vocab.json", ""),
        ("transformers", "CLIPTokenizer", "tokenizer.json", ""),
        ("transformers", "T5Tokenizer", "spiece.model", ""),
        ("transformers", "AutoTokenizer", "config.json tokenizer.json", ""),
        ("transformers", "AutoConfig", "config.json", ""),
        ("transformers", "T5EncoderModel", "config.json model.safetensors", "pytorch_model.bin"),
        ("transformers", "BertTokenizer", "vocab.txt", ""),
        ("transformers", "AutoProcessor", "preprocessor_config.json", ""),
        ("diffusers", "DDIMScheduler", "scheduler_config.json", ""),
        ("opensora", "VideoAutoencoderPipeline", "config.json model.safetensors", ""),
        ("diffusers", "AutoencoderKL", f"config.json {KL}.bin", ""),
        ("diffusers", "AutoencoderKL", f"config.json {KL}.safetensors", f"{KL}.bin"),
    ],
)
def test_a_loader_reads_its_files_in_the_librarys_order(
    tmp_path: Path, library: str, class_name: str, read: str, others: str
) -> None:
    names = [*read.split(), *others.split()]
    make_repo(tmp_path, "org/name", {name: safetensors() if "safetensors" in name else b"{}" for name in names})
    report = inspect_cache([Need("org/name", str(tmp_path), library=library, class_name=class_name)])
    assert report.findings == ()
    assert [file.name for file in report.inspected[0].files] == read.split()


@pytest.mark.parametrize(
    ("library", "class_name", "files", "missing"),
    [
        ("transformers", "CLIPTokenizer", "vocab.json", "merges.txt"),
        ("transformers", "T5EncoderModel", f"config.json {KL}.bin", "pytorch_model.bin"),
        ("diffusers", "AutoencoderKL", "config.json model.safetensors", f"{KL}.safetensors"),
        ("diffusers", "AutoencoderKL", f"{KL}.bin", "config.json"),
        ("transformers", "AutoTokenizer", "tokenizer.json", "tokenizer_config.json"),
    ],
)
def test_what_a_loader_misses_is_named(tmp_path: Path, library: str, class_name: str, files: str, missing: str) -> None:
    make_repo(tmp_path, "org/name", {name: safetensors() if "safetensors" in name else b"{}" for name in files.split()})
    (finding,) = inspect_cache([Need("org/name", str(tmp_path), library=library, class_name=class_name)]).findings
    assert (finding.code, missing in finding.message) == ("OSR113", True)


def test_the_remedy_for_a_missing_file_asks_for_what_the_loader_asks_for_and_not_for_the_repo(tmp_path: Path) -> None:
    make_repo(tmp_path, VAE, {"vae/config.json": b"{}"})
    hidden = Need(VAE, str(tmp_path), subfolder="vae", library="diffusers", class_name="AutoencoderKL", hard_coded=True)
    (finding,) = inspect_cache([hidden]).findings
    assert finding.remedy == f"hf download {VAE} --include 'vae/*' --revision {COMMIT} --cache-dir {tmp_path}"


# --- from a listing of the Hub ------------------------------------------------------------------------


def read(names: list[str], *needs: Need) -> tuple[list[str], list[str]]:
    selected = [select_files(need, names.__contains__, lambda: names, lambda index: SHARDS) for need in needs]
    return sorted({name for files, _ in selected for name in files}), [
        words for _, lacks in selected for words in lacks
    ]


def need(class_name: str, library: str = "transformers", **more: str) -> Need:
    return Need(T5, "/hub", class_name=class_name, library=library, **more)  # type: ignore[arg-type]


def test_of_the_t5_the_shards_and_the_tokenizer_are_read_and_nothing_of_flax_or_tensorflow() -> None:
    names = [*t5_files(), "flax_model.msgpack", "tf_model.h5", "generation_config.json", ".gitattributes"]
    files, missing = read(names, need("AutoTokenizer"), need("T5EncoderModel"))
    assert files == sorted(set(t5_files()) - {"README.md"})
    assert missing == []


def test_of_a_pipelines_repo_only_the_subfolder_is_read_and_what_a_listing_lacks_is_said() -> None:
    names = ["model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "unet/config.json"]
    assert read(names, need("AutoencoderKL", "diffusers", subfolder="vae")) == (names[1:3], [])
    names = ["config.json", "pytorch_model.bin.index.json", SHARDS[0]]
    lacking = f"{SHARDS[1]} (needed by pytorch_model.bin.index.json)"
    assert read(names, need("T5EncoderModel")) == (sorted(names), [lacking])
    lacking = f"{KL}.safetensors.index.json or {KL}.safetensors or {KL}.bin"
    assert read(["config.json"], need("AutoencoderKL", "diffusers"))[1] == [lacking]


def test_a_snapshot_is_read_whole_and_one_file_alone() -> None:
    assert read(["a", "b/c"], need("", kind="snapshot_download")) == (["a", "b/c"], [])
    assert read(["a", "b/c"], need("", kind="hf_hub_download", filename="b/c")) == (["b/c"], [])
    assert read(["a"], need("StableDiffusionPipeline", "diffusers")) == (["a"], [])


def test_the_folders_that_hold_all_that_is_read() -> None:
    vae, one = need("AutoencoderKL", "diffusers", subfolder="vae"), need("", kind="hf_hub_download", filename="m/x.pt")
    assert list_subfolders([vae, vae, one]) == ["vae", "m"]
    assert list_subfolders([vae, need("T5EncoderModel")]) == []
    assert list_subfolders([vae, need("", kind="snapshot_download", subfolder="x")]) == []
