"""Levels load and build of `verify`: what a user is told of weights that load, and of each way in which they do not."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import struct
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import weights as tiny
from answering import interpreter, well
from caches import make_repo

from rewriter.types import Finding, HubCall
from rewriter.weights import (
    BuildReport,
    BuildTask,
    LoadReport,
    LoadResult,
    LoadTask,
    build_level,
    explain,
    find_python,
    load_level,
    load_task,
    probe_environment,
)
from rewriter.weights_rules import EXPLANATIONS, WEIGHTS_RULES

posix = pytest.mark.skipif(os.name == "nt", reason="an interpreter that is a shell script")

HERE = Path(__file__).resolve().parent
PROBES = HERE.parent / "rewriter" / "probes"


def codes(findings: Sequence[Finding]) -> list[str]:
    return [finding.code for finding in findings]


# --- level load: an intact cache -------------------------------------------------------------------

SCHEDULER = "example-org/scheduler"


def of(
    repo_id: str, cache_dir: Path | str | None, class_name: str, library: str = "transformers", **more: Any
) -> LoadTask:
    folder = None if cache_dir is None else str(cache_dir)
    given = {"revision": None, "subfolder": None, "kind": "from_pretrained", "path": "config.py", **more}
    return LoadTask(repo_id, folder, library=library, class_name=class_name, **given)


@pytest.fixture(scope="module")
def intact(hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadReport:
    others = tmp_path_factory.mktemp("others")
    make_repo(others, SCHEDULER, {"scheduler_config.json": b'{"_class_name": "DDPMScheduler"}'})
    v1_2 = {"library": "opensora", "root": str(tiny.FIXTURES / "v1.2")}
    v1_3 = {"library": "opensora", "root": str(tiny.FIXTURES / "v1.3")}
    return load_level(
        [
            of(tiny.T5, hub_cache, "AutoTokenizer"),
            of(tiny.T5, hub_cache, "T5EncoderModel"),
            of(tiny.CLIP, hub_cache, "CLIPTokenizer"),
            of(tiny.CLIP, hub_cache, "CLIPTextModel"),
            of(tiny.KL, hub_cache, "AutoencoderKL", "diffusers"),
            of(tiny.TEMPORAL_DECODER, hub_cache, "AutoencoderKLTemporalDecoder", "diffusers"),
            of(tiny.PIXART, hub_cache, "AutoencoderKL", "diffusers", subfolder="vae"),
            of(tiny.VAE_V1_2, hub_cache, "VideoAutoencoderPipeline", type_name="OpenSoraVAE_V1_2", **v1_2),
            of(tiny.STDIT3, hub_cache, "STDiT3", type_name="STDiT3-XL/2", **v1_2),
            of(tiny.VAE_V1_3, hub_cache, "OpenSoraVAE_V1_3_Pipline", type_name="OpenSoraVAE_V1_3", **v1_3),
            of(tiny.T5, hub_cache, "T5EncoderModel", path="another.py"),
            of(tiny.T5, hub_cache, "", "huggingface_hub", kind="hf_hub_download", filename="spiece.model"),
            of(tiny.T5, hub_cache, "", "huggingface_hub", kind="snapshot_download"),
            of(tiny.T5, hub_cache, "AutoConfig"),
            of(SCHEDULER, others, "DDPMScheduler", "diffusers"),
        ],
        python=sys.executable,
    )


@pytest.mark.torch
def test_intact_weights_of_every_kind_are_found_to_match(intact: LoadReport) -> None:
    told = {(result.task.repo_id, result.task.class_name): result for result in intact.results}
    assert [finding for finding in intact.findings if finding.severity == "error"] == []
    assert [key for key, result in told.items() if result.status != "ok"] == [(tiny.T5, "")]
    assert told[tiny.T5, "AutoTokenizer"].checked[0].startswith("T5Tokenizer")
    assert told[tiny.T5, "T5EncoderModel"].checked == ("22 of 22 tensors of T5EncoderModel match",)
    assert told[tiny.T5, "T5EncoderModel"].files == 2, "both pickled shards"
    assert told[tiny.PIXART, "AutoencoderKL"].elements == told[tiny.KL, "AutoencoderKL"].elements > 0
    assert told[tiny.VAE_V1_2, "VideoAutoencoderPipeline"].parameters == 98, "temporal half, spatial half, buffers"
    assert intact.versions["torch"]


@pytest.mark.torch
def test_the_vision_half_of_a_clip_is_a_note_and_no_finding(intact: LoadReport) -> None:
    (clip,) = [result for result in intact.results if result.task.class_name == "CLIPTextModel"]
    assert clip.findings == ()
    assert "vision_model" in clip.notes[0]


@pytest.mark.torch
def test_what_has_no_weights_is_loaded(intact: LoadReport) -> None:
    told = {result.task.class_name: result.checked for result in intact.results}
    assert (told["AutoConfig"], told["DDPMScheduler"]) == (("AutoConfig loads",), ("DDPMScheduler loads",))


@pytest.mark.torch
def test_what_two_configs_ask_for_is_checked_once_and_told_for_both(intact: LoadReport) -> None:
    first, second = [result for result in intact.results if result.task.class_name == "T5EncoderModel"]
    assert (first.task.path, second.task.path) == ("config.py", "another.py")
    assert first.seconds == second.seconds


@pytest.mark.torch
def test_a_whole_snapshot_is_left_to_the_other_levels_and_says_so(intact: LoadReport) -> None:
    assert [(finding.code, finding.severity) for finding in intact.findings] == [("OSR212", "warning")]
    assert "snapshot_download" in intact.findings[0].message


# --- level load: damaged caches --------------------------------------------------------------------


class Evil:
    """What an attacker would pickle: unpickling it calls a function of the attacker's choice."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def edit_tensors(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
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
    replace(path, struct.pack("<Q", len(head)) + head + body)


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


@pytest.fixture(scope="module")
def damaged(hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One repo for each kind of damage, all looked at by one child: name -> (its finding's codes, its result)."""
    base = tmp_path_factory.mktemp("damaged")
    tasks: dict[str, LoadTask] = {}

    def prepare(name: str, repo_id: str, class_name: str, library: str = "transformers") -> Path:
        folder = "models--" + repo_id.replace("/", "--")
        shutil.copytree(hub_cache / folder, base / name / folder, symlinks=True)
        tasks[name] = of(repo_id, base / name, class_name, library, component=name)
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
    replace(path, path.read_bytes()[:-100])
    replace(kl("no header"), b"<html>not found</html>")
    replace(kl("pointer"), b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    kl("no weights").unlink()
    replace(kl("broken config").parent / "config.json", b"{")
    t5("no shard").unlink()
    path = t5("cut pickle")
    replace(path, path.read_bytes()[:-100])
    evil(t5("evil"), base / "evil-was-run")
    evil(t5("evil, old format"), base / "evil-was-run", zipped=False)
    (prepare("tokenizer", tiny.CLIP, "CLIPTokenizer") / "vocab.json").unlink()
    snapshot = prepare("no words", tiny.CLIP, "CLIPTokenizer")
    replace(snapshot / "vocab.json", b'{"<|startoftext|>": 0, "<|endoftext|>": 1}')
    replace(snapshot / "merges.txt", b"#version: 0.2\n")
    pickled(t5("a list"), [1, 2, 3])
    prepare("another model", tiny.CLIP, "T5EncoderModel")
    bench = load_benchmark()
    big = bench.make(base / "big", 20, "safetensors", 4)
    tasks["big"] = of(tiny.T5, base / "big", "T5EncoderModel", component="big")
    full = {"decoder.block.0.layer.0.SelfAttention.q.weight": (8, 8), "lm_head.weight": (8, 8), **bench.shapes(1)}
    full["encoder.embed_tokens.weight"] = full.pop("shared.weight")
    bench.make(base / "full", 1, "safetensors", 1)
    bench.write_safetensors(tiny.snapshot_of(base / "full", tiny.T5) / "model-00001-of-00001.safetensors", full)
    tasks["full"] = of(tiny.T5, base / "full", "T5EncoderModel", component="full")
    tasks["absent"] = of("example-org/absent", base / "big", "T5EncoderModel", component="absent")
    tasks["no class"] = of(tiny.T5, base / "big", "T6EncoderModel", component="no class")
    report = load_level(list(tasks.values()), python=sys.executable)
    assert big > 19e9
    assert not (base / "evil-was-run").exists(), "the pickle's code was run"
    return {result.task.component: (codes(result.findings), result) for result in report.results}


def rename_attention(tensors: dict[str, Any]) -> None:
    """As autoencoders were saved before diffusers 0.18."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for name in list(tensors):
        for new, before in old.items():
            if f".attentions.0.{new}." in name:
                tensors[name.replace(new, before)] = tensors.pop(name)


def evil(path: Path, marker: Path, zipped: bool = True) -> None:
    pickled(path, {"shared.weight": Evil(marker)}, zipped)


def pickled(path: Path, content: object, zipped: bool = True) -> None:
    import pickle

    payload = pickle.dumps(content, protocol=2 if zipped else 4)
    path.unlink()
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", payload)
            archive.writestr("archive/version", "3\n")
    else:
        path.write_bytes(payload)


def load_benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("load_level", HERE / "benchmarks" / "load_level.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
        ("evil", "OSR206", "would run code: posix.mkdir"),
        ("evil, old format", "OSR206", "would run code: posix.mkdir"),
        ("tokenizer", "OSR203", "tokenizer"),
        ("no words", "OSR203", "nothing but special and unknown tokens"),
        ("a list", "OSR205", "pytorch_model-00001-of-00002.bin holds a list, not a state dict"),
        ("absent", "OSR202", "example-org/absent"),
        ("no class", "OSR213", "has no class T6EncoderModel"),
    ],
)
def test_each_damage_has_its_own_code(damaged: dict[str, Any], damage: str, code: str, words: str) -> None:
    found, result = damaged[damage]
    assert found == [code], result.findings
    assert words in result.findings[0].message
    assert result.findings[0].remedy
    assert "Traceback" not in result.findings[0].message
    assert result.status == ("ok" if code == "OSR209" else "failed")


@pytest.mark.torch
def test_weights_of_another_model_are_missing_parameters_not_a_crash(damaged: dict[str, Any]) -> None:
    found, _result = damaged["another model"]
    assert found
    assert set(found) <= {"OSR204", "OSR207"}


@pytest.mark.torch
def test_half_precision_is_a_note_and_no_finding(damaged: dict[str, Any]) -> None:
    found, result = damaged["half"]
    assert found == []
    assert "stored as float16, built as float32" in result.notes[0]


@pytest.mark.torch
def test_attention_names_of_old_autoencoders_are_accepted(damaged: dict[str, Any]) -> None:
    assert damaged["old attention"][0] == []


@pytest.mark.torch
def test_an_encoder_reads_a_whole_t5_and_its_tied_embedding_under_either_name(damaged: dict[str, Any]) -> None:
    found, result = damaged["full"]
    assert found == []
    assert "2 tensors belong to other parts of a larger model (decoder, lm_head)" in result.notes


@pytest.mark.torch
def test_twenty_gigabytes_are_checked_in_less_than_two_of_memory(damaged: dict[str, Any]) -> None:
    found, result = damaged["big"]
    assert found == []
    assert result.bytes > 19e9
    assert 0 < result.peak_rss < 2e9


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

MODELS = {"Needy": Needy, "Old": Old}
"""


@pytest.mark.torch
def test_a_class_of_the_checkout_that_cannot_be_made_is_explained_or_left_to_level_build(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    (root / "opensora").mkdir(parents=True)
    (root / "opensora" / "__init__.py").write_text("")
    (root / "opensora" / "registry.py").write_text(CHECKOUT)
    make_repo(tmp_path / "hub", "org/own", {"config.json": b'{"model_type": "own"}'})
    own = {"library": "opensora", "root": str(root)}
    tasks = [of("org/own", tmp_path / "hub", name, type_name=name, **own) for name in ("Needy", "Old", "Gone")]
    tasks.append(of("org/absent", tmp_path / "hub", "Needy", type_name="Needy", **own))
    results = load_level(tasks, python=sys.executable).results
    assert [result.status for result in results] == ["skipped", "failed", "skipped", "failed"]
    assert [codes(result.findings) for result in results] == [["OSR212"], ["OSR213"], ["OSR212"], ["OSR202"]]
    needy, old, _gone, absent = (result.findings[0].message for result in results)
    assert needy == "org/own (Needy) is left to level build: RuntimeError: needs a kernel"
    assert old == "org/own (Old), model: transformers 5 cannot build this class of Open-Sora v1.2 or v1.3"
    assert absent.startswith("org/absent (Needy), config: org/absent is not complete in ")


# --- level build: checkouts that need no torch -----------------------------------------------------

REGISTRY = """
MODELS = None

def build_module(module, builder, **kwargs):
{body}
"""


def small_checkout(root: Path, body: str, config: str = 'vae = dict(type="X")\ntext_encoder = None\n') -> BuildTask:
    (root / "opensora").mkdir(parents=True)
    (root / "opensora" / "__init__.py").write_text("")
    (root / "opensora" / "registry.py").write_text(REGISTRY.format(body=textwrap.indent(textwrap.dedent(body), "    ")))
    (root / "config.py").write_text(config)
    return BuildTask(str(root), str(root / "config.py"), ("vae", "text_encoder"), (7, 8))


needs_mmengine = pytest.mark.skipif(importlib.util.find_spec("mmengine") is None, reason="needs mmengine")


@needs_mmengine
@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("import os; os._exit(3)", "OSR312", "ended with status 3"),
        ("import sys; sys.exit('bye')", "OSR301", "SystemExit: bye"),
        ("import os; print('almost'); os.kill(os.getpid(), 9)", "OSR311", "its last words: almost"),
        ("import os; os.abort()", "OSR312", "SIGABRT"),
        pytest.param(
            "import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 5)",
            "OSR312",
            "crashed (signal ",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="a signal without a name"),
        ),
        ("raise MemoryError", "OSR311", "not enough memory"),
        ("raise RuntimeError('odd')", "OSR301", "RuntimeError: odd"),
        ("(lambda: None)(cache_dir='/x')", "OSR302", "no parameter cache_dir"),
        ("from_pretrained = 'x'; assert from_pretrained in ['y']", "OSR303", "accepts only its own repo id"),
        ("import colossalai_absent", "OSR307", "has no colossalai_absent"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "OSR304", "the network is blocked"),
        ("import socket; socket.socket().connect(('127.0.0.1', 9))", "OSR304", "the network is blocked"),
        ("import socket; socket.socket(socket.AF_UNIX).connect('/nowhere')", "OSR301", "FileNotFoundError"),
    ],
)
def test_whatever_the_checkout_does_becomes_one_finding(tmp_path: Path, body: str, code: str, words: str) -> None:
    task = small_checkout(tmp_path / "checkout", body)
    report = build_level([task], python=sys.executable)
    assert [(result.component, result.status) for result in report.results] == [
        ("vae", "failed"),
        ("text_encoder", "skipped"),
    ], "a dead child takes only its own component with it"
    (finding,) = report.findings
    assert finding.code == code, finding
    assert words in finding.message
    assert (finding.path, finding.line, finding.component) == (task.config, 7, "vae")
    assert finding.remedy


@needs_mmengine
def test_a_build_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    body = f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        time.sleep(60)
    """
    report = build_level([small_checkout(tmp_path / "checkout", body)], python=sys.executable, timeout=3)
    assert codes(report.findings) == ["OSR312"]
    assert "no answer within 3 s" in report.findings[0].message
    started = Path("/proc") / (tmp_path / "pid").read_text() / "stat"
    assert not started.exists() or ") Z " in started.read_text()


@needs_mmengine
def test_a_checkout_cannot_forge_an_answer(tmp_path: Path) -> None:
    body = """
        import json, os
        for number in range(3, 64):
            try:
                os.write(number, json.dumps({"event": "result", "task": 0, "status": "ok"}).encode() + b"\\n")
            except OSError:
                pass
        raise RuntimeError("real")
    """
    report = build_level([small_checkout(tmp_path / "checkout", body)], python=sys.executable)
    assert "RuntimeError: real" in report.findings[0].message


@needs_mmengine
def test_the_child_gets_no_credentials_and_an_empty_hugging_face_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "https_proxy", "HF_ENDPOINT"):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("HF_HUB_CACHE", "/of/the/user")
    body = """
        import os
        leaked = [name for name, value in os.environ.items() if value == "leaked"]
        home = os.environ["HF_HOME"]
        inside = [files for _, folders, files in os.walk(home)]
        cache, offline = os.environ["HF_HUB_CACHE"], os.environ["HF_HUB_OFFLINE"]
        raise RuntimeError(f"{leaked} {inside} {cache.startswith(home)} {offline}")
    """
    report = build_level([small_checkout(tmp_path / "checkout", body)], python=sys.executable)
    assert "RuntimeError: [] [[], []] True 1" in report.findings[0].message


def test_the_environments_cache_is_lent_without_being_written_to(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--org--name" / "refs"
    repo.mkdir(parents=True)
    (repo / "main").write_text("0" * 40)
    environment = probe_environment(str(tmp_path / "scratch"), str(tmp_path / "hub"))
    lent = Path(environment["HF_HUB_CACHE"])
    (lent / "version.txt").write_text("1")  # as transformers 4 does
    assert (lent / "models--org--name" / "refs" / "main").read_text() == "0" * 40
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["models--org--name"]


@pytest.mark.parametrize("cache", [None, "nowhere"])
def test_an_environment_without_a_cache_lends_an_empty_one(tmp_path: Path, cache: str | None) -> None:
    environment = probe_environment(str(tmp_path / "scratch"), None if cache is None else str(tmp_path / cache))
    assert list(Path(environment["HF_HUB_CACHE"]).iterdir()) == []


# --- what children do that are no probes of ours ---------------------------------------------------


def encoders(count: int, path: str = "a.py") -> list[LoadTask]:
    return [of(f"org/name{number}", None, "T5EncoderModel", path=path) for number in range(count)]


def test_nothing_to_check_and_nothing_to_build_start_no_interpreter() -> None:
    assert load_level([], python="/absent").results == ()
    assert build_level([], python="/absent").results == ()


@posix
def test_a_failed_check_says_in_how_many_more_places_it_is_needed(tmp_path: Path) -> None:
    tasks = [*encoders(2, "a.py"), *encoders(1, "b.py")]
    report = load_level(tasks, python=str(tmp_path / "absent"))
    assert [finding.message.partition("(needed")[2] for finding in report.findings] == [" in 1 more place)", ""]
    report = load_level([*tasks, *encoders(1, "c.py")], python=str(tmp_path / "absent"))
    assert report.findings[0].message.endswith(" (needed in 2 more places)")


@posix
def test_the_first_answer_to_a_check_counts(tmp_path: Path) -> None:
    python = interpreter(tmp_path, f"{well(checked=['first'])}; {well(checked=['second'])}")
    heard: list[LoadResult] = []
    report = load_level(encoders(2), python=python, on_result=heard.append)
    assert [result.checked for result in report.results] == [("first",), ("first",)]
    assert [result.task.repo_id for result in heard] == ["org/name0", "org/name1"]


@posix
@pytest.mark.parametrize(
    ("script", "count"),
    [
        ("exit 3", 1),
        ("exec 0<&-; exit 3", 2000),  # more than a pipe holds, to one that does not listen
        ("sleep 60 & exit 3", 1),  # its own child holds the pipe that answers come through
    ],
    ids=["at once", "deaf", "survived by its own child"],
)
def test_an_interpreter_that_ends_before_it_answers_is_told_for_every_check(
    tmp_path: Path, script: str, count: int
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho goodbye\n{script}\n")
    program.chmod(0o755)
    began = time.monotonic()
    report = load_level(encoders(count), python=str(program))
    assert time.monotonic() - began < 30
    assert codes(report.findings) == ["OSR211"] * count
    assert report.findings[-1].message == (
        f"checking org/name{count - 1}: the child process ended with status 3 before it answered; "
        "its last words: goodbye"
    )
    assert report.findings[-1].remedy == f"look whether {program} runs Open-Sora at all"


@needs_mmengine
def test_a_config_that_does_not_load_is_said_to_be_that(tmp_path: Path) -> None:
    task = small_checkout(tmp_path / "checkout", "pass", config="vae = dict(type=undefined_name)\n")
    report = build_level([task], python=sys.executable)
    assert codes(report.findings) == ["OSR313", "OSR313"]
    assert "undefined_name" in report.findings[0].message


def test_an_interpreter_that_does_not_exist_is_a_finding(tmp_path: Path) -> None:
    absent = str(tmp_path / "python")
    built = build_level([small_checkout(tmp_path / "checkout", "pass")], python=absent)
    loaded = load_level([of("org/name", None, "T5EncoderModel")], python=absent)
    assert codes(built.findings) == ["OSR307", "OSR307"]
    assert codes(loaded.findings) == ["OSR201"]
    assert absent in loaded.findings[0].message


def test_an_interpreter_without_the_libraries_is_a_finding(tmp_path: Path) -> None:
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    bare = str(tmp_path / "bare" / "bin" / "python")
    report = load_level([of("org/name", None, "T5EncoderModel")], python=bare)
    assert codes(report.findings) == ["OSR201"]
    assert "has no transformers" in report.findings[0].message
    assert "--python" in report.findings[0].remedy


def test_the_active_environment_is_preferred_if_it_has_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "bare"))
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    assert find_python(None, "json") == str(tmp_path / "bare" / "bin" / "python")
    assert find_python(None, "pytest") == sys.executable


# --- level build: the fixture checkouts ------------------------------------------------------------


@pytest.fixture(scope="module")
def built(hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Components of the v1.2 fixture, in one child: name -> result."""
    root = tmp_path_factory.mktemp("built") / "v1.2"
    shutil.copytree(tiny.FIXTURES / "v1.2", root, ignore=shutil.ignore_patterns("__pycache__"))
    cache = f"cache_dir={str(hub_cache)!r}"
    dicts = {
        "kl": f"dict(type='VideoAutoencoderKL', from_pretrained={tiny.KL!r}, {cache})",
        "again": f"dict(type='VideoAutoencoderKL', from_pretrained={tiny.KL!r}, {cache})",
        "rejected": f"dict(type='OpenSoraVAE_V1_2', from_pretrained={tiny.VAE_V1_2!r}, {cache})",
        "unreached": f"dict(type='OpenSoraVAE_V1_2', from_pretrained={tiny.VAE_V1_2!r})",
        "absent": f"dict(type='VideoAutoencoderKL', from_pretrained='example-org/absent', {cache})",
        "local": f"dict(type='t5', from_pretrained='./pretrained_models/t5', {cache})",
        "path": "dict(type='VideoAutoencoderKL', from_pretrained='./pretrained_models/vae')",
        "moved": "dict(type='OpenSoraVAE_V1_2', from_pretrained='/absent/OpenSora-VAE-v1.2')",
        "unknown": "dict(type='NoSuchType')",
        "text_encoder": f"dict(type='t5', from_pretrained={tiny.T5!r}, {cache})",
    }
    config = root / "configs" / "made.py"
    config.write_text("".join(f"{name} = {value}\n" for name, value in dicts.items()))
    report: BuildReport = build_level([BuildTask(str(root), str(config), tuple(dicts))], python=sys.executable)
    return {result.component: result for result in report.results}


@pytest.mark.torch
def test_components_that_cache_dir_reaches_build(built: dict[str, Any]) -> None:
    assert built["kl"].status == "ok"
    assert built["kl"].parameters == 3135
    assert built["text_encoder"].status == "ok"
    assert built["text_encoder"].parameters > 0, "a text encoder is no module, but it holds one"


@pytest.mark.torch
def test_an_equal_dict_is_not_built_twice(built: dict[str, Any]) -> None:
    assert built["again"].same_as
    assert not built["kl"].same_as


@pytest.mark.torch
@pytest.mark.parametrize(
    ("component", "code", "words"),
    [
        ("rejected", "OSR302", "OpenSoraVAE_V1_2() got an unexpected keyword argument 'cache_dir'"),
        ("unreached", "OSR304", f"{tiny.VAE_V1_2} was looked for in the default cache: no cache_dir reaches this call"),
        ("absent", "OSR304", "example-org/absent is not complete in"),
        ("local", "OSR303", "accepts only its own repo id"),
        ("path", "OSR305", "./pretrained_models/vae is a path that does not exist"),
        ("moved", "OSR305", "/absent/OpenSora-VAE-v1.2 is a path that does not exist"),
        ("unknown", "OSR315", "NoSuchType"),
    ],
)
def test_failures_of_a_real_loader_are_explained(built: dict[str, Any], component: str, code: str, words: str) -> None:
    (finding,) = built[component].findings
    assert finding.code == code, finding
    assert words in finding.message
    assert finding.remedy


@pytest.mark.torch
def test_a_moved_path_is_cured_with_the_repo_id_of_its_type(built: dict[str, Any]) -> None:
    assert f"--set moved.from_pretrained={tiny.VAE_V1_2}" in built["moved"].findings[0].remedy


# --- explanations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "message", "build", "load"),
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
def test_known_messages_have_a_cause_and_a_remedy(kind: str, message: str, build: str, load: str) -> None:
    told = {"chain": [{"type": kind, "bases": [kind], "message": message}], "text": "", "repo": "org/name"}
    words = {"repo": "", "cache": "/models/hf hub", "config": "c.py", "component": "vae", "python": "python"}
    for level, code in (("build", build), ("load", load)):
        found, cause, remedy = explain(told, level, words)  # type: ignore[arg-type]
        assert found == code
        assert bool(cause) == bool(remedy) == bool(code)
        assert "{" not in cause + remedy
        assert "hf hub" not in remedy or "'/models/hf hub'" in remedy, "a pasted remedy must survive the shell"


@pytest.mark.parametrize(
    "text", ["self.tokenizer = CLIPTokenizer.from_pretrained(path)", "with open(vocab_file) as f:"]
)
def test_a_tokenizer_without_its_vocabulary_is_an_absent_repo_and_not_a_riddle(text: str) -> None:
    link = {"type": "TypeError", "bases": ["TypeError"]}
    link["message"] = "expected str, bytes or os.PathLike object, not NoneType"
    words = {"repo": "", "cache": "/models/hub", "config": "c.py", "component": "vae", "python": "python"}
    told = {"chain": [link], "text": text, "repo": "org/name"}
    assert explain(told, "build", words)[::2] == (
        "OSR304", "fetch it where there is a network: hf download org/name --cache-dir /models/hub"
    )  # fmt: skip
    assert explain(told, "load", words)[0] == "OSR203"
    assert explain(told, "load", words | {"cache": ""})[2].endswith(": hf download org/name")
    elsewhere = dict(told, text="os.path.join(config.root, name)")
    assert explain(elsewhere, "build", words)[0] == ""


@pytest.mark.torch
@pytest.mark.parametrize(("class_name", "code"), [("CLIPTokenizer", "OSR203"), ("CLIPTextModel", "OSR202")])
def test_an_absent_repo_is_fetched_into_the_environments_cache_by_the_pasted_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_name: str, code: str
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    report = load_level([of(tiny.CLIP, None, class_name)], python=sys.executable, use_environment_cache=True)
    assert codes(report.findings) == [code]
    assert report.findings[0].remedy.endswith(f"hf download {tiny.CLIP} --cache-dir {tmp_path / 'empty'}")


@pytest.mark.parametrize(
    ("keyword", "options"), [("cache_dir", "--cache-dir DIR"), ("local_files_only", "--local-files-only")]
)
def test_the_remedy_of_a_rejected_keyword_asks_rewrite_for_that_keyword(keyword: str, options: str) -> None:
    message = f"OpenSoraVAE_V1_2() got an unexpected keyword argument '{keyword}'"
    told = {"chain": [{"type": "TypeError", "bases": ["TypeError"], "message": message}], "text": "", "repo": ""}
    words = {"repo": "", "cache": "", "config": "c.py", "component": "vae", "python": "python"}
    assert explain(told, "build", words)[::2] == ("OSR302", f"opensora-rewriter rewrite {options} c.py")
    named = words | {"component": "stages.model"}
    assert explain(told, "build", named)[2] == f"opensora-rewriter rewrite {options} --component model c.py"


def test_the_cause_below_a_wrapping_exception_is_found() -> None:
    outer = {"type": "OSError", "bases": ["OSError"], "message": "something failed"}
    inner = {"type": "ModuleNotFoundError", "bases": ["ModuleNotFoundError"], "message": "No module named 'timm'"}
    words = {"repo": "", "cache": "", "config": "", "component": "", "python": "python"}
    assert explain({"chain": [outer, inner], "text": "", "repo": ""}, "build", words)[0] == "OSR307"


def test_every_code_of_an_explanation_is_in_the_table() -> None:
    used = {code for known in EXPLANATIONS for code in (known.build, known.load) if code}
    assert used <= set(WEIGHTS_RULES)


@pytest.mark.parametrize("probe", sorted(PROBES.glob("*.py")), ids=lambda path: path.name)
def test_probes_keep_to_python_3_8_and_import_nothing_of_ours_in_the_child(probe: Path) -> None:
    tree = ast.parse(probe.read_text(), feature_version=(3, 8))
    standard = {"__future__", *sys.stdlib_module_names}
    at_top = {name.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for name in node.names}
    at_top |= {str(node.module).split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert at_top <= standard


def test_a_hub_call_whose_repo_is_unknown_gives_no_task() -> None:
    call = HubCall("A.from_pretrained", "from_pretrained", "transformers", "A", "a.py", 3, 4, None, "name")
    known = HubCall("A.from_pretrained", "from_pretrained", "transformers", "A", "a.py", 3, 4, "o/n", "'o/n'")
    assert load_task(call, "/hub") is None
    task = load_task(known, "/hub", component="vae")
    assert task is not None
    assert (task.repo_id, task.cache_dir, task.path, task.line, task.column) == ("o/n", "/hub", "a.py", 3, 4)
