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
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import weights as tiny
from answering import script
from caches import make_repo, safetensors

from rewriter import rules
from rewriter.model import Finding, HubCall
from rewriter.verify.explain import KNOWN_FAILURES, explain_error
from rewriter.verify.load import LoadReport, LoadResult, LoadTask, load_level

posix = pytest.mark.skipif(os.name == "nt", reason="an interpreter that is a shell script")


def codes(findings: Sequence[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def make_task(
    repo_id: str, cache_dir: Path | str | None, class_name: str, library: str = "transformers", **more: Any
) -> LoadTask:
    folder = None if cache_dir is None else str(cache_dir)
    named = {name: more.pop(name) for name in ("subfolder", "filename") if name in more}
    kind = more.pop("kind", "from_pretrained")
    call = HubCall(f"A.{kind}", kind, library, class_name, "a.py", 3, 4, repo_id, "", **named)
    return LoadTask(call, folder, **{"path": "config.py", **more})


# --- an intact cache -------------------------------------------------------------------------------

SCHEDULER = "example-org/scheduler"


@pytest.fixture(scope="module")
def intact(hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadReport:
    others = tmp_path_factory.mktemp("others")
    make_repo(others, SCHEDULER, {"scheduler_config.json": b'{"_class_name": "DDPMScheduler"}'})
    v1_2 = {"library": "opensora", "root": str(tiny.FIXTURES / "v1.2")}
    v1_3 = {"library": "opensora", "root": str(tiny.FIXTURES / "v1.3")}
    return load_level(
        [
            make_task(tiny.T5, hub_cache, "AutoTokenizer"),
            make_task(tiny.T5, hub_cache, "T5EncoderModel"),
            make_task(tiny.CLIP, hub_cache, "CLIPTokenizer"),
            make_task(tiny.CLIP, hub_cache, "CLIPTextModel"),
            make_task(tiny.KL, hub_cache, "AutoencoderKL", "diffusers"),
            make_task(tiny.TEMPORAL_DECODER, hub_cache, "AutoencoderKLTemporalDecoder", "diffusers"),
            make_task(tiny.PIXART, hub_cache, "AutoencoderKL", "diffusers", subfolder="vae"),
            make_task(tiny.VAE_V1_2, hub_cache, "VideoAutoencoderPipeline", type_name="OpenSoraVAE_V1_2", **v1_2),
            make_task(tiny.STDIT3, hub_cache, "STDiT3", type_name="STDiT3-XL/2", **v1_2),
            make_task(tiny.VAE_V1_3, hub_cache, "OpenSoraVAE_V1_3_Pipline", type_name="OpenSoraVAE_V1_3", **v1_3),
            make_task(tiny.T5, hub_cache, "", "huggingface_hub", kind="hf_hub_download", filename="spiece.model"),
            make_task(tiny.T5, hub_cache, "", "huggingface_hub", kind="snapshot_download"),
            make_task(tiny.T5, hub_cache, "AutoConfig"),
            make_task(SCHEDULER, others, "DDPMScheduler", "diffusers"),
        ],
        python=sys.executable,
    )


@pytest.mark.torch
def test_intact_weights_of_every_kind_are_found_to_match(intact: LoadReport) -> None:
    found = {(result.task.call.repo_id, result.task.call.class_name): result for result in intact.results}
    assert [finding for finding in intact.findings if finding.severity == "error"] == []
    assert {key for key, result in found.items() if result.status != "ok"} == {(tiny.T5, "")}
    assert found[tiny.T5, "AutoTokenizer"].checked[0].startswith("T5Tokenizer")
    assert found[tiny.T5, "T5EncoderModel"].checked == ("22 of 22 tensors of T5EncoderModel match",)
    pipeline = "VideoAutoencoderPipeline"  # temporal half, spatial half, buffers
    assert found[tiny.VAE_V1_2, pipeline].checked == (f"98 of 98 tensors of {pipeline} match",)


@pytest.mark.torch
def test_the_vision_half_of_a_clip_is_a_note_and_no_finding(intact: LoadReport) -> None:
    (clip,) = [result for result in intact.results if result.task.call.class_name == "CLIPTextModel"]
    assert clip.findings == ()
    assert "vision_model" in clip.notes[0]


@pytest.mark.torch
def test_what_has_no_weights_is_loaded(intact: LoadReport) -> None:
    found = {result.task.call.class_name: result.checked for result in intact.results}
    assert (found["AutoConfig"], found["DDPMScheduler"]) == (("AutoConfig loads",), ("DDPMScheduler loads",))


@pytest.mark.torch
def test_a_whole_snapshot_is_left_to_the_other_levels_and_that_is_said(intact: LoadReport) -> None:
    assert [(finding.code, finding.severity) for finding in intact.findings] == [("OSR212", "warning")]
    assert "snapshot_download" in intact.findings[0].message


# --- damaged caches --------------------------------------------------------------------------------


class Call:
    """Unpickling it calls a function, of an attacker's choice if an attacker made the pickle."""

    def __init__(self, function: Any, argument: str = "/nowhere") -> None:
        self.function, self.argument = function, argument

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return self.function, (self.argument,)


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


Damaged = dict[str, tuple[list[str], LoadResult]]


@pytest.fixture(scope="module")
def damaged(hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    """One repo for each kind of damage, all looked at by one child: name -> (its finding's codes, its result)."""
    base = tmp_path_factory.mktemp("damaged")
    tasks: dict[str, LoadTask] = {}

    def prepare(name: str, repo_id: str, class_name: str, library: str = "transformers") -> Path:
        folder = "models--" + repo_id.replace("/", "--")
        shutil.copytree(hub_cache / folder, base / name / folder, symlinks=True)
        tasks[name] = make_task(repo_id, base / name, class_name, library, component=name)
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
    replace_file(kl("pointer"), b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    kl("no weights").unlink()
    replace_file(kl("broken config").parent / "config.json", b"{")
    t5("no shard").unlink()
    path = t5("cut pickle")
    replace_file(path, path.read_bytes()[:-100])
    evil = {"shared.weight": Call(os.mkdir, str(base / "evil-was-run"))}
    pickle_file(t5("evil"), evil)
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
        tasks[name] = make_task(tiny.T5, base / name, "T5EncoderModel", component=name)
    tasks["absent"] = make_task("example-org/absent", base / "big", "T5EncoderModel", component="absent")
    tasks["no class"] = make_task(tiny.T5, base / "big", "T6EncoderModel", component="no class")
    report = load_level(list(tasks.values()), python=sys.executable)
    assert not (base / "evil-was-run").exists(), "the pickle's code was run"
    return {result.task.component: (codes(result.findings), result) for result in report.results}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        ("missing", "OSR207", "1 parameters of the model are in none of the files: decoder.conv_in.weight"),
        ("many missing", "OSR207", "and 30 more"),
        ("shape", "OSR208", "decoder.conv_in.bias: [2, 2] in the file, [4] in the model"),
        ("integers", "OSR208", "stored as int32, built as float32"),
        ("unexpected", "OSR209", "decoder.extra"),
        ("cut short", "OSR205", "is cut short"),
        ("no header", "OSR205", "has no safetensors header"),
        ("pointer", "OSR205", "is a Git-LFS pointer"),
        ("no weights", "OSR202", "diffusion_pytorch_model.safetensors"),
        ("broken config", "OSR204", "config"),
        ("no shard", "OSR202", "1 of 2 files that pytorch_model.bin.index.json lists are not there"),
        ("cut pickle", "OSR205", "pytorch_model-00001-of-00002.bin does not read"),
        ("evil", "OSR206", "would run code: unsupported GLOBAL posix.mkdir"),
        ("tokenizer", "OSR203", "tokenizer"),
        ("no words", "OSR203", "nothing but special and unknown tokens"),
        ("a list", "OSR205", "pytorch_model-00001-of-00002.bin does not read"),
        ("absent", "OSR202", "example-org/absent"),
        ("no class", "OSR213", "has no class T6EncoderModel"),
    ],
)
def test_each_damage_has_its_own_code(damaged: Damaged, damage: str, code: str, words: str) -> None:
    found, result = damaged[damage]
    assert found == [code], result.findings
    assert words in result.findings[0].message
    assert result.findings[0].remedy
    assert "Traceback" not in result.findings[0].message
    assert result.status == ("ok" if code == "OSR209" else "failed")


@pytest.mark.torch
def test_what_differs_and_is_read_all_the_same_is_a_note_or_nothing(damaged: Damaged) -> None:
    """Half precision; attention as diffusers named it before 0.18; a whole T5 with its embedding under either name."""
    assert damaged["old attention"][0] == []
    found, result = damaged["half"]
    assert found == []
    assert "tensors are stored as float16, built as float32" in result.notes[0]
    found, result = damaged["full"]
    assert found == []
    assert "2 tensors belong to other parts of a larger model (decoder, lm_head)" in result.notes


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

class Old:
    config_class = Config
    def __init__(self, config): raise AttributeError("'Old' object has no attribute 'all_tied_weights_keys'")

MODELS = {"Needy": Needy, "Old": Old}  # a registry has register_module
"""


@pytest.mark.torch
@pytest.mark.parametrize("package", ["opensora", "javisdit"])
def test_a_class_of_the_checkout_that_cannot_be_made_is_explained_or_left_to_level_build(
    tmp_path: Path, package: str
) -> None:
    root = tmp_path / "checkout"
    (root / package).mkdir(parents=True)
    (root / package / "__init__.py").write_text("")
    (root / package / "registry.py").write_text(CHECKOUT)
    make_repo(tmp_path / "hub", "org/own", {"config.json": b'{"model_type": "own"}'})
    own = {"library": package, "root": str(root)}
    tasks = [make_task("org/own", tmp_path / "hub", name, type_name=name, **own) for name in ("Needy", "Gone")]
    tasks.append(make_task("org/absent", tmp_path / "hub", "Needy", type_name="Needy", **own))
    results = load_level(tasks, python=sys.executable).results
    assert [result.status for result in results] == ["skipped", "skipped", "failed"]
    assert [codes(result.findings) for result in results] == [["OSR212"], ["OSR212"], ["OSR202"]]
    needy, _gone, absent = (result.findings[0].message for result in results)
    assert needy == "org/own (Needy) is left to level build: RuntimeError: needs a kernel"
    assert absent == "org/absent (Needy): config.json is not there"


@pytest.mark.torch
@pytest.mark.parametrize(("class_name", "code"), [("CLIPTokenizer", "OSR203"), ("CLIPTextModel", "OSR202")])
def test_an_absent_repo_is_fetched_into_the_environments_cache_by_the_pasted_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_name: str, code: str
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    report = load_level([make_task(tiny.CLIP, None, class_name)], python=sys.executable, use_environment_cache=True)
    assert codes(report.findings) == [code]
    assert report.findings[0].remedy.endswith(f"hf download {tiny.CLIP} --cache-dir {tmp_path / 'empty'}")


# --- files that a loader names ---------------------------------------------------------------------


def request_file(repo_id: str, cache_dir: Path | None, filename: str, **more: str) -> LoadTask:
    task = {"kind": "hf_hub_download", "filename": filename, **more}
    return make_task(repo_id, cache_dir, "", "huggingface_hub", **task)


def test_files_requested_by_name_are_looked_at_in_the_cache_or_in_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    files = {"ema.safetensors": safetensors(), "broken.safetensors": b"<html>", "vae/notes.txt": b""}
    make_repo(tmp_path / "hub", tiny.T5, files)
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "ema.safetensors").write_bytes(safetensors())
    tasks = [
        request_file(tiny.T5, tmp_path / "hub", "ema.safetensors"),
        request_file(tiny.T5, tmp_path / "hub", "notes.txt", subfolder="vae/"),
        request_file(tiny.T5, tmp_path / "hub", "broken.safetensors"),
        request_file(tiny.T5, tmp_path / "hub", "absent.bin"),
        request_file(str(flat), None, "ema.safetensors"),
        request_file(str(flat), None, "absent.safetensors"),
    ]
    results = load_level(tasks, python=sys.executable).results
    assert [(result.status, result.checked, codes(result.findings)) for result in results] == [
        ("ok", ("ema.safetensors holds 1 tensors",), []),
        ("ok", ("notes.txt is there",), []),
        ("failed", (), ["OSR205"]),
        ("failed", (), ["OSR202"]),
        ("ok", ("ema.safetensors holds 1 tensors",), []),
        ("failed", (), ["OSR202"]),
    ]
    assert results[3].findings[0].message == f"{tiny.T5} (hf_hub_download): absent.bin is not there"


# --- interpreters that do not serve ----------------------------------------------------------------


def encoders(count: int, path: str = "a.py") -> list[LoadTask]:
    return [make_task(f"org/name{number}", None, "T5EncoderModel", path=path) for number in range(count)]


@posix
def test_a_failed_check_says_in_how_many_more_places_it_is_needed(tmp_path: Path) -> None:
    tasks = [*encoders(2, "a.py"), *encoders(1, "b.py")]
    report = load_level(tasks, python=str(tmp_path / "absent"))
    assert codes(report.findings) == ["OSR201", "OSR201"]
    assert [finding.message.partition("(needed")[2] for finding in report.findings] == [" in 1 more place)", ""]
    assert [result.findings[0].path for result in report.results] == ["a.py", "a.py"]
    report = load_level([*tasks, *encoders(1, "c.py")], python=str(tmp_path / "absent"))
    assert report.findings[0].message.endswith(" (needed in 2 more places)")


@posix
@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("exit 3", 1),
        ("exec 0<&-; exit 3", 2000),  # more than a pipe holds, to one that does not listen
        ("sleep 60 & exit 3", 1),  # its own child holds the pipe that answers come through
    ],
    ids=["at once", "deaf", "survived by its own child"],
)
def test_an_interpreter_that_ends_before_it_answers_is_reported_for_every_check(
    tmp_path: Path, text: str, count: int
) -> None:
    program = script(tmp_path / "python", f"#!/bin/sh\necho goodbye >&2\n{text}\n")
    began = time.monotonic()
    report = load_level(encoders(count), python=program)
    assert time.monotonic() - began < 30
    assert codes(report.findings) == ["OSR201"] * count
    assert report.findings[-1].message == (
        f"checking org/name{count - 1}: the child process ended with status 3 before it answered; "
        "its last output: goodbye"
    )
    assert report.findings[-1].remedy == f"look whether {program} runs Open-Sora at all"


# --- explanations ----------------------------------------------------------------------------------

WORDS = {"repo": "", "cache": "/models/hf hub", "config": "c.py", "component": "vae", "python": "python", "known": ""}


def make_error(kind: str, message: str, text: str = "", repo: str = "org/name") -> dict[str, Any]:
    return {"chain": [{"type": kind, "bases": [kind], "message": message}], "text": text, "repo": repo}


@pytest.mark.parametrize(
    ("kind", "message", "build", "load_code"),
    [
        ("AttributeError", "'STDiT3' object has no attribute 'all_tied_weights_keys'", "OSR308", "OSR213"),
        ("ValueError", "Due to a serious issue, please upgrade torch to at least v2.6 to use it", "OSR309", "OSR210"),
        ("ImportError", "cannot import name 'cached_download' from 'huggingface_hub' (x)", "OSR310", "OSR213"),
        ("ModuleNotFoundError", "No module named 'colossalai'", "OSR307", "OSR201"),
        ("HFValidationError", "Repo id must be in the form 'repo_name'", "OSR305", "OSR202"),
        ("ValueError", "Invalid checkpoint path: /x/model. Expected a file or a directory", "OSR306", "OSR204"),
        ("LocalEntryNotFoundError", "Cannot find an appropriate cached snapshot folder", "OSR304", "OSR202"),
        ("OSError", "We couldn't connect to the Hub to load the files", "OSR304", "OSR202"),
        ("AssertionError", "Torch not compiled with CUDA enabled", "OSR314", "OSR204"),
        ("RuntimeError", "DefaultCPUAllocator: can't allocate memory: you tried to allocate", "OSR311", "OSR211"),
        ("UnpicklingError", "invalid load key, 'v'.", "OSR316", "OSR205"),
        ("ZeroDivisionError", "division by zero", "", ""),
    ],
)
def test_known_messages_have_a_cause_and_a_remedy(kind: str, message: str, build: str, load_code: str) -> None:
    error = make_error(kind, message)
    for found, code in (
        (explain_error(error, "build", WORDS), build),
        (explain_error(error, "load", WORDS), load_code),
    ):
        assert found.code == code
        assert bool(found.cause) == bool(found.remedy) == bool(code)
        assert "{" not in found.cause + found.remedy
        assert "hf hub" not in found.remedy or "'/models/hf hub'" in found.remedy, "a remedy is pasted into a shell"


@pytest.mark.parametrize(
    "text", ["self.tokenizer = CLIPTokenizer.from_pretrained(path)", "with open(vocab_file) as f:"]
)
def test_a_tokenizer_without_its_vocabulary_is_an_absent_repo_and_not_a_riddle(text: str) -> None:
    message = "expected str, bytes or os.PathLike object, not NoneType"
    error, words = make_error("TypeError", message, text), WORDS | {"cache": "/models/hub"}
    found = explain_error(error, "build", words)
    assert (found.code, found.remedy) == (
        "OSR304", "fetch it where there is a network: hf download org/name --cache-dir /models/hub"
    )  # fmt: skip
    assert explain_error(error, "load", words).code == "OSR203"
    assert explain_error(error, "load", words | {"cache": ""}).remedy.endswith(": hf download org/name")
    assert explain_error(make_error("TypeError", message, "os.path.join(config.root, name)"), "build", words).code == ""


@pytest.mark.parametrize(
    ("keyword", "options"), [("cache_dir", "--cache-dir DIR"), ("local_files_only", "--local-files-only")]
)
def test_the_remedy_of_a_rejected_keyword_has_rewrite_set_that_keyword(keyword: str, options: str) -> None:
    error = make_error("TypeError", f"OpenSoraVAE_V1_2() got an unexpected keyword argument '{keyword}'")
    found = explain_error(error, "build", WORDS)
    assert (found.code, found.remedy) == ("OSR302", f"opensora-rewriter rewrite {options} c.py")
    named = explain_error(error, "build", WORDS | {"component": "stages.model"})
    assert named.remedy == f"opensora-rewriter rewrite {options} --component model c.py"


def test_every_code_of_a_known_failure_is_in_the_table_of_rules() -> None:
    assert {code for known in KNOWN_FAILURES for code in (known.build, known.load) if code} <= set(rules.all_rules())
