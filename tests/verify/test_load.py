"""Level load of `verify`: what a user is told of weights that load, and of each way in which they do not."""

from __future__ import annotations

import json
import math
import os
import pickle
import resource
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import weights as tiny
from answering import script
from caches import make_repo, safetensors

from rewriter import rules
from rewriter.model import Finding
from rewriter.verify.directories import Trouble
from rewriter.verify.explain import KNOWN_FAILURES, Level, explain_error
from rewriter.verify.levels import Result, list_checks, run_level
from rewriter.verify.needs import Need


def codes(findings: Sequence[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def make_need(
    repo_id: str, cache_dir: Path | str, class_name: str, library: str = "transformers", place: str = "vae", **more: Any
) -> Need:
    where = (more.pop("path", "config.py"), 1, place)
    return Need(repo_id, str(cache_dir), class_name=class_name, library=library, requested_by=(where,), **more)


def load(needs: Sequence[Need], python: str = sys.executable) -> list[Result]:
    return run_level("load", list_checks(needs), python, lambda: None)


# --- an intact cache -------------------------------------------------------------------------------

SCHEDULER = "example-org/scheduler"


@pytest.fixture(scope="module")
def intact(hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Each kind of call on caches that are whole: class name or file -> result."""
    others = tmp_path_factory.mktemp("others")
    make_repo(others, SCHEDULER, {"scheduler_config.json": b'{"_class_name": "DDPMScheduler"}'})
    v1_2 = {"library": "opensora", "root": str(tiny.FIXTURES / "v1.2")}
    v1_3 = {"library": "opensora", "root": str(tiny.FIXTURES / "v1.3")}
    rows = [
        make_need(tiny.T5, hub_cache, "AutoTokenizer"),
        make_need(tiny.T5, hub_cache, "T5EncoderModel"),
        make_need(tiny.CLIP, hub_cache, "CLIPTokenizer"),
        make_need(tiny.CLIP, hub_cache, "CLIPTextModel"),
        make_need(tiny.KL, hub_cache, "AutoencoderKL", "diffusers"),
        make_need(tiny.TEMPORAL_DECODER, hub_cache, "AutoencoderKLTemporalDecoder", "diffusers"),
        make_need(tiny.PIXART, hub_cache, "AutoencoderKL", "diffusers", subfolder="vae"),
        make_need(tiny.VAE_V1_2, hub_cache, "VideoAutoencoderPipeline", type="OpenSoraVAE_V1_2", **v1_2),
        make_need(tiny.STDIT3, hub_cache, "STDiT3", type="STDiT3-XL/2", **v1_2),
        make_need(tiny.VAE_V1_3, hub_cache, "OpenSoraVAE_V1_3_Pipline", type="OpenSoraVAE_V1_3", **v1_3),
        make_need(tiny.T5, hub_cache, "", "huggingface_hub", kind="hf_hub_download", filename="spiece.model"),
        make_need(tiny.T5, hub_cache, "", "huggingface_hub", kind="snapshot_download"),
        make_need(tiny.T5, hub_cache, "AutoConfig"),
        make_need(SCHEDULER, others, "DDPMScheduler", "diffusers"),
    ]
    return {result.task.subject.partition(" (")[2].strip(")"): result for result in load(rows)}


@pytest.mark.torch
def test_intact_weights_of_every_kind_are_found_to_match_but_for_whole_snapshots(intact: dict[str, Result]) -> None:
    assert len(intact) == 13, "the two AutoencoderKL are of one class"
    assert {name for name, result in intact.items() if result.status != "ok"} == {"snapshot_download"}
    assert {name for name, result in intact.items() if result.findings} == {"snapshot_download"}
    assert intact["AutoTokenizer"].outcome.startswith("T5Tokenizer")
    assert intact["T5EncoderModel"].outcome == "22 of 22 tensors of T5EncoderModel match"
    pipeline = "VideoAutoencoderPipeline"  # temporal half, spatial half, buffers
    assert intact[pipeline].outcome == f"98 of 98 tensors of {pipeline} match"
    assert intact["AutoConfig"].outcome == "AutoConfig loads"
    assert intact["DDPMScheduler"].outcome == "DDPMScheduler loads"
    (finding,) = intact["snapshot_download"].findings
    assert (finding.code, finding.severity, "snapshot_download" in finding.message) == ("OSR212", "warning", True)


# --- damaged caches --------------------------------------------------------------------------------


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


def edit_tensors(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrites a safetensors file: ``change`` gets name -> [dtype, shape, bytes]."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    header.pop("__metadata__", None)
    tensors = {name: [one["dtype"], one["shape"], data[slice(*one["data_offsets"])]] for name, one in header.items()}
    change(tensors)
    out, body = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        out[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    head = json.dumps(out).encode()
    replace_file(path, struct.pack("<Q", len(head)) + head + body)


def replace_file(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def rename_attention(tensors: dict[str, Any]) -> None:
    """As autoencoders were saved before diffusers 0.18."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for name in list(tensors):
        for new, before in old.items():
            if f".attentions.0.{new}." in name:
                tensors[name.replace(new, before)] = tensors.pop(name)


def pickle_file(path: Path, content: object) -> None:
    path.unlink()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("archive/version", "3\n")


def make_t5(cache_dir: Path, layers: int, more: dict[str, tuple[int, ...]], embedding: str = "shared.weight") -> int:
    """A T5-v1.1-XXL encoder of so many layers, whose data is a hole in a sparse file; returns the size of its file."""
    shape = {"d_model": 4096, "d_kv": 64, "num_heads": 64, "d_ff": 10240, "vocab_size": 32128}
    shapes: dict[str, tuple[int, ...]] = {embedding: (32128, 4096), "encoder.final_layer_norm.weight": (4096,), **more}
    for layer in range(layers):
        block = f"encoder.block.{layer}.layer"
        shapes |= {f"{block}.0.SelfAttention.{letter}.weight": (4096, 4096) for letter in "qkvo"}
        shapes |= {f"{block}.{number}.layer_norm.weight": (4096,) for number in (0, 1)}
        shapes |= {f"{block}.1.DenseReluDense.{name}.weight": (10240, 4096) for name in ("wi_0", "wi_1")}
        shapes[f"{block}.1.DenseReluDense.wo.weight"] = (4096, 10240)
    shapes["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = (32, 64)
    header, end = {}, 0
    for name, size in shapes.items():
        begin, end = end, end + 4 * math.prod(size)
        header[name] = {"dtype": "F32", "shape": size, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    config = shape | {"model_type": "t5", "feed_forward_proj": "gated-gelu", "num_layers": layers}
    make_repo(cache_dir, tiny.T5, {"config.json": json.dumps(config).encode(), "model.safetensors": b""})
    with (tiny.snapshot_of(cache_dir, tiny.T5) / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        return file.truncate(8 + len(raw) + end)


Damaged = dict[str, tuple[list[str], Result]]


@pytest.fixture(scope="module")
def damaged(hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    """One repo for each kind of damage, all looked at by one child: name -> (its finding's codes, its result)."""
    base = tmp_path_factory.mktemp("damaged")
    rows: dict[str, Need] = {}

    def prepare(name: str, repo_id: str, class_name: str, library: str = "transformers") -> Path:
        folder = "models--" + repo_id.replace("/", "--")
        shutil.copytree(hub_cache / folder, base / name / folder, symlinks=True)
        rows[name] = make_need(repo_id, base / name, class_name, library, place=name)
        return tiny.snapshot_of(base / name, repo_id)

    def kl(name: str) -> Path:
        return prepare(name, tiny.KL, "AutoencoderKL", "diffusers") / "diffusion_pytorch_model.safetensors"

    def t5(name: str) -> Path:
        return prepare(name, tiny.T5, "T5EncoderModel") / "pytorch_model-00001-of-00002.bin"

    edit_tensors(kl("missing"), lambda tensors: tensors.pop("decoder.conv_in.weight"))
    edit_tensors(kl("many missing"), lambda tensors: [tensors.pop(name) for name in list(tensors)[:40]])
    edit_tensors(kl("shape"), lambda tensors: tensors["decoder.conv_in.bias"].__setitem__(1, [2, 2]))
    edit_tensors(kl("integers"), lambda tensors: tensors["decoder.conv_in.bias"].__setitem__(0, "I32"))
    edit_tensors(kl("unexpected"), lambda tensors: tensors.update({"decoder.extra": ["F32", [1], b"0000"]}))
    edit_tensors(kl("half"), lambda tensors: tensors.update(
        {name: ["F16", shape, data[: len(data) // 2]] for name, (_, shape, data) in tensors.items()}))  # fmt: skip
    edit_tensors(kl("old attention"), rename_attention)
    path = kl("cut short")
    replace_file(path, path.read_bytes()[:-100])
    replace_file(kl("no header"), b"<html>not found</html>")
    kl("no weights").unlink()
    replace_file(kl("broken config").parent / "config.json", b"{")
    t5("no shard").unlink()
    path = t5("cut pickle")
    replace_file(path, path.read_bytes()[:-100])
    pickle_file(t5("evil"), {"shared.weight": Evil(base / "evil-was-run")})
    (prepare("tokenizer", tiny.CLIP, "CLIPTokenizer") / "vocab.json").unlink()
    snapshot = prepare("no words", tiny.CLIP, "CLIPTokenizer")
    replace_file(snapshot / "vocab.json", b'{"<|startoftext|>": 0, "<|endoftext|>": 1}')
    replace_file(snapshot / "merges.txt", b"#version: 0.2\n")
    pickle_file(t5("a list"), [1, 2, 3])
    prepare("another model", tiny.CLIP, "T5EncoderModel")
    assert make_t5(base / "big", 24, {}) > 19e9
    other = ("decoder.block.0.layer.0.SelfAttention.q.weight", "lm_head.weight")
    make_t5(base / "full", 1, dict.fromkeys(other, (8, 8)), embedding="encoder.embed_tokens.weight")
    for name in ("big", "full"):
        rows[name] = make_need(tiny.T5, base / name, "T5EncoderModel", place=name)
    rows["absent"] = make_need("example-org/absent", base / "big", "T5EncoderModel", place="absent")
    rows["no class"] = make_need(tiny.T5, base / "big", "T6EncoderModel", place="no class")
    results = load(list(rows.values()))
    assert not (base / "evil-was-run").exists(), "the pickle's code was run"
    return {name: (codes(result.findings), result) for name, result in zip(rows, results, strict=True)}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        ("missing", "OSR207", "1 parameters of the model are in none of the files: decoder.conv_in.weight"),
        ("many missing", "OSR207", "40 parameters of the model are in none of the files: "),
        ("shape", "OSR208", "decoder.conv_in.bias: [2, 2] in the file, [4] in the model"),
        ("integers", "OSR208", "stored as I32, built as torch.float32"),
        ("unexpected", "OSR209", "decoder.extra"),
        ("cut short", "OSR205", "is cut short"),
        ("no header", "OSR205", "has no safetensors header"),
        ("no weights", "OSR202", "diffusion_pytorch_model.safetensors"),
        ("broken config", "OSR204", "config"),
        ("no shard", "OSR202", "-00001-of-00002.bin, which pytorch_model.bin.index.json lists, is not there"),
        ("cut pickle", "OSR205", "pytorch_model-00001-of-00002.bin does not read"),
        ("evil", "OSR206", "would run code: unsupported GLOBAL posix.mkdir"),
        ("tokenizer", "OSR203", "tokenizer"),
        ("no words", "OSR203", "nothing but special and unknown tokens"),
        ("a list", "OSR205", "pytorch_model-00001-of-00002.bin does not read"),
        ("absent", "OSR202", "example-org/absent"),
        ("no class", "OSR213", "has no attribute T6EncoderModel"),
    ],
)
def test_each_damage_has_its_own_code(damaged: Damaged, damage: str, code: str, words: str) -> None:
    found, result = damaged[damage]
    assert found == [code], result.findings
    assert words in result.findings[0].message
    assert result.findings[0].remedy
    assert result.status == ("ok" if code == "OSR209" else "failed")


@pytest.mark.torch
def test_what_differs_and_is_read_all_the_same_is_no_finding(damaged: Damaged) -> None:
    """Half precision; attention as diffusers named it before 0.18; a whole T5 with its embedding under either name."""
    assert damaged["old attention"][0] == []
    assert damaged["half"][0] == []
    assert damaged["full"][0] == []


@pytest.mark.torch
def test_twenty_gigabytes_are_checked_in_less_than_two_of_memory(damaged: Damaged) -> None:
    assert damaged["big"][0] == []
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 2e9


# --- classes of the checkout -----------------------------------------------------------------------

CHECKOUT = """
import transformers

class Config(transformers.PretrainedConfig):
    model_type = "own"

class Needy:
    config_class = Config
    def __init__(self, config): raise RuntimeError("needs a kernel")

MODELS = {"Needy": Needy}  # a registry has register_module
"""


@pytest.mark.torch
@pytest.mark.parametrize("package", ["opensora", "javisdit"])
def test_a_class_of_the_checkout_that_cannot_be_made_is_left_to_level_build(tmp_path: Path, package: str) -> None:
    root = tmp_path / "checkout"
    (root / package).mkdir(parents=True)
    (root / package / "__init__.py").write_text("")
    (root / package / "registry.py").write_text(CHECKOUT)
    make_repo(tmp_path / "hub", "org/own", {"config.json": b'{"model_type": "own"}'})
    own = {"library": package, "root": str(root)}
    rows = [make_need("org/own", tmp_path / "hub", name, type=name, **own) for name in ("Needy", "Gone")]
    results = load(rows)
    assert [result.status for result in results] == ["skipped", "skipped"]
    assert [codes(result.findings) for result in results] == [["OSR212"], ["OSR212"]]
    assert results[0].findings[0].message == "org/own (Needy) is left to level build: RuntimeError: needs a kernel"


# --- files that a loader names ---------------------------------------------------------------------


def request_file(cache_dir: Path, filename: str, **more: str) -> Need:
    more |= {"kind": "hf_hub_download", "filename": filename}
    return make_need(tiny.T5, cache_dir, "", "huggingface_hub", **more)


def test_files_requested_by_name_are_looked_at_in_the_cache(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    files = {"ema.safetensors": safetensors(), "broken.safetensors": b"<html>", "vae/notes.txt": b""}
    make_repo(tmp_path / "hub", tiny.T5, files)
    rows = [
        request_file(tmp_path / "hub", "ema.safetensors"),
        request_file(tmp_path / "hub", "notes.txt", subfolder="vae/"),
        request_file(tmp_path / "hub", "broken.safetensors"),
        request_file(tmp_path / "hub", "absent.bin"),
    ]
    results = load(rows)
    nothing = "nothing could be compared"
    assert [(result.status, result.outcome, codes(result.findings)) for result in results] == [
        ("ok", "ema.safetensors holds 1 tensors", []),
        ("ok", "notes.txt is there", []),
        ("failed", nothing, ["OSR205"]),
        ("failed", nothing, ["OSR202"]),
    ]
    assert results[3].findings[0].message == f"{tiny.T5} (hf_hub_download): absent.bin is not there"


# --- interpreters that do not serve ----------------------------------------------------------------


@pytest.mark.parametrize("ends", [True, False])
def test_an_interpreter_that_does_not_serve_is_one_cause_at_each_place_that_needs_it(
    tmp_path: Path, ends: bool
) -> None:
    program = str(tmp_path / "python")
    if ends:
        script(tmp_path / "python", "#!/bin/sh\necho goodbye >&2\nexit 3\n")
    names = [("org/name0", "a.py"), ("org/name1", "a.py"), ("org/name0", "b.py")]
    results = load([make_need(name, "", "T5EncoderModel", path=path) for name, path in names], program)
    assert [codes(result.findings) for result in results] == [["OSR201", "OSR201"], ["OSR201"]]
    assert [finding.path for finding in results[0].findings] == ["a.py", "b.py"]
    assert len({finding.cause for finding in results[0].findings}) == 1
    (finding,) = results[1].findings
    death = "the child process ended with status 3 before it answered; its last output: goodbye"
    assert not ends or finding.message == f"org/name1 (T5EncoderModel): {death}"
    assert not ends or finding.remedy == f"look whether {program} runs Open-Sora at all"


# --- explanations ----------------------------------------------------------------------------------

FETCH = "opensora-rewriter download {path} --component {component}"


def explain(level: Level, kind: str, message: str, text: str = "", cache: str = "/models/hf hub") -> Trouble:
    chain = [{"type": kind, "bases": [kind], "message": message}]
    error = {"chain": chain, "text": text, "repo": "org/name", "stage": "model", "where": ""}
    return explain_error(error, level, "vae", cache, "python")


@pytest.mark.parametrize(
    ("kind", "message", "build", "load_code"),
    [
        ("AttributeError", "'STDiT3' object has no attribute 'all_tied_weights_keys'", "OSR308", "OSR213"),
        ("ValueError", "Due to a serious issue, please upgrade torch to at least v2.6 to use it", "OSR309", "OSR210"),
        ("ImportError", "cannot import name 'cached_download' from 'huggingface_hub' (x)", "OSR310", "OSR213"),
        ("ModuleNotFoundError", "No module named 'colossalai'", "OSR307", "OSR201"),
        ("ImportError", "T5Tokenizer requires the SentencePiece library but it was not found", "OSR307", "OSR201"),
        ("HFValidationError", "Repo id must be in the form 'repo_name'", "OSR305", "OSR202"),
        ("ValueError", "Invalid checkpoint path: /x/model. Expected a file or a directory", "OSR306", "OSR204"),
        ("LocalEntryNotFoundError", "Cannot find an appropriate cached snapshot folder", "OSR304", "OSR202"),
        ("OSError", "We couldn't connect to the Hub to load the files", "OSR304", "OSR202"),
        ("AssertionError", "Torch not compiled with CUDA enabled", "OSR314", "OSR204"),
        ("RuntimeError", "DefaultCPUAllocator: can't allocate memory: you tried to allocate", "OSR311", "OSR211"),
        ("UnpicklingError", "invalid load key, 'v'.", "OSR316", "OSR205"),
        ("ZeroDivisionError", "division by zero", "OSR301", "OSR204"),
    ],
)
def test_known_messages_have_a_cause_and_a_remedy(kind: str, message: str, build: str, load_code: str) -> None:
    for found, code in ((explain("build", kind, message), build), (explain("load", kind, message), load_code)):
        assert found.code == code
        assert found.message
        assert "{" not in found.message + found.remedy.replace("{path}", "").replace("{component}", "")
        assert "hf hub" not in found.remedy or "'/models/hf hub'" in found.remedy, "a remedy is pasted into a shell"


@pytest.mark.parametrize("text", ["CLIPTokenizer.from_pretrained(path)", "with open(vocab_file) as f:"])
def test_a_tokenizer_without_its_vocabulary_is_an_absent_repo_and_not_a_riddle(text: str) -> None:
    error = ("TypeError", "expected str, bytes or os.PathLike object, not NoneType")
    assert explain("build", *error, text, "/models/hub")[:3:2] == ("OSR304", f"{FETCH} --cache-dir /models/hub")
    assert explain("load", *error, text, "")[:3:2] == ("OSR203", FETCH)
    assert explain("build", *error, "os.path.join(config.root, name)").code == "OSR301"


def test_the_remedy_of_a_rejected_keyword_has_rewrite_set_that_keyword() -> None:
    for keyword, options in (("cache_dir", "--cache-dir DIR"), ("local_files_only", "--local-files-only")):
        found = explain("build", "TypeError", f"OpenSoraVAE_V1_2() got an unexpected keyword argument '{keyword}'")
        rewrite = f"opensora-rewriter rewrite {{path}} --component {{component}} {options}"
        assert (found.code, found.remedy) == ("OSR302", rewrite)
        assert f"the loader has no parameter {keyword}" in found.message


def test_every_code_of_a_known_failure_is_in_the_table_of_rules() -> None:
    assert {code for known in KNOWN_FAILURES for code in known[:2] if code} <= set(rules.all_rules())
