"""Each library asks a repo for its files in an order of its own; a repo's listing is enough to say which it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from caches import SHARDS, T5, make_repo, safetensors, t5_files

from rewriter.verify.cache import inspect_cache
from rewriter.verify.needs import Need
from rewriter.verify.requested_files import list_subfolders, select_from_listing


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
    report = inspect_cache([Need("org/name", str(tmp_path), library=library, class_name=class_name)])
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
    (finding,) = inspect_cache([Need("org/name", str(tmp_path), library=library, class_name=class_name)]).findings
    assert finding.code == "OSR113"
    assert missing in finding.message


# --- from a listing of the Hub ------------------------------------------------------------------------


def read(names: list[str], *needs: Need) -> tuple[list[str], list[str]]:
    selected = select_from_listing(needs, names, lambda index: SHARDS)
    return sorted(selected.files), [words for words, _ in selected.missing]


def need(class_name: str, library: str = "transformers", **more: str) -> Need:
    return Need(T5, "/hub", class_name=class_name, library=library, **more)  # type: ignore[arg-type]


def test_of_the_t5_the_shards_and_the_tokenizer_are_read_and_nothing_of_flax_or_tensorflow() -> None:
    names = [*t5_files(), "flax_model.msgpack", "tf_model.h5", "generation_config.json", ".gitattributes"]
    files, missing = read(names, need("AutoTokenizer"), need("T5EncoderModel"))
    assert files == sorted(set(t5_files()) - {"README.md"})
    assert missing == []


def test_of_a_pipelines_repo_only_the_subfolder_is_read() -> None:
    names = ["model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "unet/config.json"]
    assert read(names, need("AutoencoderKL", "diffusers", subfolder="vae")) == (names[1:3], [])


def test_what_a_listing_lacks_is_said() -> None:
    names = ["config.json", "pytorch_model.bin.index.json", SHARDS[0]]
    assert read(names, need("T5EncoderModel")) == (
        sorted(names), [f"{SHARDS[1]} (named by pytorch_model.bin.index.json)"]
    )  # fmt: skip
    assert read(["config.json"], need("AutoencoderKL", "diffusers"))[1] == [
        "diffusion_pytorch_model.safetensors.index.json or diffusion_pytorch_model.safetensors or "
        "diffusion_pytorch_model.bin"
    ]


def test_a_snapshot_is_read_whole_and_one_file_alone() -> None:
    assert read(["a", "b/c"], need("", kind="snapshot_download")) == (["a", "b/c"], [])
    assert read(["a", "b/c"], need("", kind="hf_hub_download", filename="b/c")) == (["b/c"], [])
    assert read(["a"], need("StableDiffusionPipeline", "diffusers")) == (["a"], [])


def test_the_folders_that_hold_all_that_is_read() -> None:
    vae, one = need("AutoencoderKL", "diffusers", subfolder="vae"), need("", kind="hf_hub_download", filename="m/x.pt")
    assert list_subfolders([vae, vae, one]) == ("vae", "m")
    assert list_subfolders([vae, need("T5EncoderModel")]) == ()
    assert list_subfolders([vae, need("", kind="snapshot_download", subfolder="x")]) == ()
