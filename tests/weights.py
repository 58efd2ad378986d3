"""Tiny real weights in a real Hugging Face cache layout, made by transformers and diffusers themselves.

Run as a script it is the child process that makes the models (the package of every fixture checkout is ``opensora``, so
a process can import only one of them); imported it needs nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

T5 = "DeepFloyd/t5-v1_1-xxl"
CLIP = "openai/clip-vit-base-patch32"
KL = "stabilityai/sd-vae-ft-ema"
TEMPORAL_DECODER = "example-org/temporal-decoder-vae"
PIXART = "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers"
VAE_V1_2 = "hpcai-tech/OpenSora-VAE-v1.2"
VAE_V1_3 = "hpcai-tech/OpenSora-VAE-v1.3"
STDIT2 = "hpcai-tech/OpenSora-STDiT-v2-stage3"
STDIT3 = "hpcai-tech/OpenSora-STDiT-v3"
STDIT4 = "hpcai-tech/OpenSora-STDiT-v4"
AUDIO = "cvssp/audioldm2"

#: The fixture checkout in which the model of each repo is made.
MADE_IN = {
    T5: "v1.2",
    CLIP: "v1.2",
    KL: "v1.2",
    TEMPORAL_DECODER: "v1.2",
    PIXART: "v1.2",
    VAE_V1_2: "v1.2",
    STDIT2: "v1.2",
    STDIT3: "v1.2",
    AUDIO: "v1.2",
    VAE_V1_3: "v1.3",
    STDIT4: "v1.3",
}
ALL = tuple(MADE_IN)

#: Files that the Hub stores in LFS: the cache names their blobs by sha256, all others by git-sha1.
LFS_SUFFIXES = (".bin", ".safetensors", ".model", ".pt", ".pth")


def build_cache(dest: Path, repos: Iterable[str] = ALL) -> Path:
    """Fill ``dest`` (what a ``cache_dir`` points to) with the repositories ``repos``; returns ``dest``."""
    repos = tuple(repos)
    flat = build_flat(dest.parent / f"{dest.name}-flat", repos)
    for repo_id in repos:
        lay_out(flat / repo_id, dest, repo_id)
    return dest


def build_flat(dest: Path, repos: Iterable[str] = ALL) -> Path:
    """Write each repository as a plain download ``dest/ORG/NAME/...``, one child process per checkout; returns it."""
    children = []
    for tag in sorted(set(MADE_IN.values())):
        wanted = [repo_id for repo_id in repos if MADE_IN[repo_id] == tag]
        if wanted:
            command = [sys.executable, __file__, str(dest), *wanted]
            children.append(subprocess.Popen(command, cwd=FIXTURES / tag, env=_child_environment(), text=True))
    codes = [child.wait(timeout=300) for child in children]
    if any(codes):
        raise RuntimeError("the child process that makes the tiny weights failed; its output is above")
    return dest


def lay_out(source: Path, cache_dir: Path, repo_id: str) -> Path:
    """Store the files below ``source`` as ``models--ORG--NAME`` in ``cache_dir``; returns the snapshot folder."""
    files = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()}
    names = {name: blob_name(path) for name, path in files.items()}
    commit = hashlib.sha1(repr([repo_id, sorted(names.items())]).encode()).hexdigest()
    repo = cache_dir / ("models--" + repo_id.replace("/", "--"))
    snapshot = repo / "snapshots" / commit
    for name, path in files.items():
        blob = repo / "blobs" / names[name]
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(path.read_bytes())
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    return snapshot


def blob_name(path: Path, like: str = "") -> str:
    """The name of a file's blob in the cache: sha256 for LFS files, else the sha1 of git.

    ``like``: the file's name in its repo, where ``path`` is called otherwise.
    """
    content = path.read_bytes()
    if (like or path.name).endswith(LFS_SUFFIXES):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def snapshot_of(cache_dir: Path, repo_id: str) -> Path:
    """The folder that ``refs/main`` of ``repo_id`` points to."""
    repo = cache_dir / ("models--" + repo_id.replace("/", "--"))
    return repo / "snapshots" / (repo / "refs" / "main").read_text()


def _child_environment() -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return env | {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "."}


# --- below here: the child process, where torch may be imported ------------------------------------------------


def _save_t5(dest: Path) -> None:
    """As upstream keeps it: a sentencepiece tokenizer and two pickled shards with an index."""
    import torch
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    T5Tokenizer(str(_train_sentencepiece(dest)), legacy=True).save_pretrained(dest)
    config = T5Config(
        vocab_size=256, d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    model = T5EncoderModel(config)
    model.config.architectures = ["T5EncoderModel"]
    model.config.save_pretrained(dest)
    state = model.state_dict()
    keys = list(state)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((keys[: len(keys) // 2], keys[len(keys) // 2 :]), start=1):
        name = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({key: state[key].clone() for key in part}, dest / name)
        weight_map |= dict.fromkeys(part, name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (dest / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _train_sentencepiece(dest: Path) -> Path:
    """A unigram model of a few dozen pieces, with T5's ids for padding, end and unknown."""
    import sentencepiece

    sentences = (
        "a cat plays the piano in a quiet room",
        "waves roll onto an empty beach at dawn",
        "a drone flies slowly over a green forest",
        "the city at night seen from far above",
    )
    path = dest / "spiece.model"
    with path.open("wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=stream,
            vocab_size=64,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    return path


def _save_clip(dest: Path) -> None:
    """Both towers, as upstream's repository holds them; the loaders read the text tower alone."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    vocab, merges = dest / "vocab.json", dest / "merges.txt"
    vocab.write_text(json.dumps(vocabulary))
    merges.write_text("#version: 0.2\n")
    CLIPTokenizer(str(vocab), str(merges), model_max_length=77).save_pretrained(dest)
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = tower | {"vocab_size": len(pieces), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = tower | {"image_size": 8, "patch_size": 4}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(dest)


def _save_kl(dest: Path) -> None:
    _autoencoder_kl().save_pretrained(dest)


def _autoencoder_kl() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(block_out_channels=(4,), latent_channels=4, norm_num_groups=2, sample_size=8)


def _save_pixart(dest: Path) -> None:
    """The autoencoder in its subfolder; no loader reads the rest of the pipeline."""
    _autoencoder_kl().save_pretrained(dest / "vae")
    (dest / "model_index.json").write_text(json.dumps({"vae": ["diffusers", "AutoencoderKL"]}, indent=2) + "\n")


def _save_temporal_decoder(dest: Path) -> None:
    from diffusers import AutoencoderKLTemporalDecoder

    # 32 channels: its decoder always normalises in 32 groups.
    AutoencoderKLTemporalDecoder(block_out_channels=(32,), latent_channels=4, sample_size=8).save_pretrained(dest)


def _save_vae_v1_2(dest: Path) -> None:
    """The checkout's own pipeline; its spatial half is read from a scratch folder."""
    import tempfile

    from opensora.models.vae.vae import VideoAutoencoderPipeline, VideoAutoencoderPipelineConfig

    vae_2d = {"type": "VideoAutoencoderKL", "from_pretrained": PIXART, "subfolder": "vae"}
    with tempfile.TemporaryDirectory() as scratch:
        _autoencoder_kl().save_pretrained(scratch)
        config = VideoAutoencoderPipelineConfig(
            vae_2d={"type": "VideoAutoencoderKL", "from_pretrained": scratch},
            vae_temporal={"type": "VAE_Temporal_SD", "from_pretrained": None},
            micro_frame_size=17,
            shift=(-0.10, 0.34, 0.27, 0.98),
            scale=(3.85, 2.32, 2.33, 3.06),
        )
        model = VideoAutoencoderPipeline(config)
    model.config.vae_2d = vae_2d  # as upstream saved it
    model.save_pretrained(dest)


def _save_vae_v1_3(dest: Path) -> None:
    from opensora.models.vae_v1_3.vae import OpenSoraVAE_V1_3

    OpenSoraVAE_V1_3(dtype="fp32").save_pretrained(dest)


def _save_stdit2(dest: Path) -> None:
    from opensora.models.stdit.stdit2 import STDiT2, STDiT2Config

    STDiT2(STDiT2Config()).save_pretrained(dest)


def _save_stdit3(dest: Path) -> None:
    from opensora.models.stdit.stdit3 import STDiT3, STDiT3Config

    STDiT3(STDiT3Config()).save_pretrained(dest)


SAVERS: dict[str, Callable[[Path], None]] = {
    T5: _save_t5,
    CLIP: _save_clip,
    KL: _save_kl,
    TEMPORAL_DECODER: _save_temporal_decoder,
    PIXART: _save_pixart,
    VAE_V1_2: _save_vae_v1_2,
    VAE_V1_3: _save_vae_v1_3,
    STDIT2: _save_stdit2,
    STDIT3: _save_stdit3,
    STDIT4: _save_stdit3,
    AUDIO: _save_pixart,
}


def _child(dest: Path, repos: list[str]) -> None:
    import torch

    torch.set_num_threads(1)
    for repo_id in repos:
        torch.manual_seed(int.from_bytes(hashlib.sha256(repo_id.encode()).digest()[:4], "big"))
        folder = dest / repo_id
        folder.mkdir(parents=True)
        SAVERS[repo_id](folder)


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2:])
