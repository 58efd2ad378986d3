"""What the probes tell of files and of checkouts, where it takes no library of Open-Sora to see it."""

from __future__ import annotations

import collections
import os
import pickle
import pickletools
import struct
import sys
import textwrap
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from caches import T5, make_repo, safetensors

from rewriter.probes import build, channel, load
from rewriter.types import Finding
from rewriter.weights import BuildTask, LoadResult, LoadTask, build_level, load_level

COLLECTED = collections.OrderedDict(a=1)


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return self.function, ("/nowhere",)


# --- pickles: what they ask for, without running them --------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_functions_that_a_pickle_would_call_are_named_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(pickle.dumps([COLLECTED, Call(os.mkdir), Call(os.rmdir), Call(os.mkdir), COLLECTED], protocol))
    assert load.strange_globals(str(path)) == ["posix mkdir", "posix rmdir"]


STATE = pickle.dumps(COLLECTED, 2)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (STATE * 9, []),
        (STATE * 4 + pickle.dumps(Call(os.mkdir), 2), ["posix mkdir"]),
        (STATE * 5 + pickle.dumps(Call(os.mkdir), 2), []),  # torch reads five; then raw bytes come
        (b"(iposix\nmkdir\n.", ["posix mkdir"]),
        (pickle.dumps(Call(os.mkdir), 2)[:-9] + b"\xff", ["posix mkdir"]),  # damaged behind it
        (b"\x80\x04]\x94)\x94\x93.", ["unknown global"]),  # names that no string gives
        (b"\x80\x02]q\x00h\x00h\x01.", []),
        (b"", []),
    ],
)
def test_what_is_no_pickle_of_torchs_is_read_as_far_as_it_goes(tmp_path: Path, data: bytes, found: list[str]) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(data)
    assert load.strange_globals(str(path)) == found


def test_every_pickle_of_a_zip_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", STATE)
        archive.writestr("archive/data/0", pickle.dumps(Call(os.rmdir), 2))  # a tensor's bytes are never unpickled
        archive.writestr("archive/more.pkl", pickle.dumps(Call(os.mkdir), 2))
    assert load.strange_globals(str(path)) == ["posix mkdir"]


def test_the_pickles_of_these_tests_hold_the_opcodes_that_they_are_about() -> None:
    names = set()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps([Call(os.mkdir), Call(os.mkdir)], protocol)
        names |= {opcode.name for opcode, _, _ in pickletools.genops(data)}
    assert {"GLOBAL", "STACK_GLOBAL", "MEMOIZE", "PUT", "BINPUT", "GET", "BINGET"} <= names


# --- safetensors and indices ---------------------------------------------------------------------


def told(function: Any, path: Path) -> str:
    """The one problem that reading ``path`` ends with."""
    report = load.Report()
    with pytest.raises(load.Stop):
        function(str(path), report)
    (problem,) = report.problems
    assert problem["kind"] == "corrupt"
    return str(problem["message"]).replace(str(path.parent) + os.sep, "")


@pytest.mark.parametrize(
    "header",
    [b"[]", b"{{", b'{"w": {}}', b'{"w": 1}', b'{"w": {"shape": [1], "dtype": "U8", "data_offsets": [0]}}'],
)
def test_a_safetensors_header_that_is_none_is_told(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert told(load.read_safetensors, path).startswith("the safetensors header of x.safetensors does not read (")


def test_a_safetensors_file_that_goes_on_behind_its_tensors_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors() + b"more")
    size = len(safetensors())
    assert told(load.read_safetensors, path) == (
        f"x.safetensors is too long: {size + 4} bytes, its header promises {size}"
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"metadata": {}}', '{"weight_map": []}'])
def test_an_index_that_names_no_shards_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    assert told(load.shards, path).startswith("x.json is not an index of shards (")
    path.write_text('{"weight_map": {}}')
    assert told(load.shards, path) == "x.json lists no shards"


# --- names of parameters --------------------------------------------------------------------------


@pytest.fixture
def _without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table of names is not looked at, which would take seconds to import."""
    monkeypatch.setitem(sys.modules, "transformers", None)


@pytest.mark.usefixtures("_without_transformers")
@pytest.mark.parametrize(
    ("prefix", "expected", "found", "read"),
    [
        ("", ["a.w"], ["a.w"], ["a.w"]),
        ("text", ["text.a.w"], ["text.a.w", "vision.b"], ["text.a.w", "vision.b"]),
        ("text", ["text.a.w", "head.w"], ["a.w", "head.w"], ["text.a.w", "head.w"]),  # a bare model's file
        ("text", ["a.w"], ["text.a.w", "head.w"], ["a.w", "head.w"]),  # read into a bare model
        ("text", ["a.w"], ["a.w"], ["a.w"]),
    ],
)
def test_a_prefix_is_put_on_or_taken_off_as_the_library_does(
    prefix: str, expected: list[str], found: list[str], read: list[str]
) -> None:
    model = SimpleNamespace(base_model_prefix=prefix, named_modules=list)
    assert list(load.renamed(model, dict.fromkeys(expected), dict.fromkeys(found))) == read


@pytest.mark.usefixtures("_without_transformers")
def test_a_class_that_renames_what_it_reads_is_heeded() -> None:
    model = SimpleNamespace(
        _checkpoint_conversion_mapping={"^old": "new", "^new": "never twice"},
        _fix_state_dict_key_on_load=lambda name: (name.replace("gamma", "weight"), True),
        named_modules=list,
    )
    assert list(load.renamed(model, {}, dict.fromkeys(["old.gamma", "other"]))) == ["new.weight", "other"]
    model._fix_state_dict_key_on_load = lambda name: name.replace("gamma", "weight")
    assert list(load.renamed(model, {}, {"old.gamma": None})) == ["new.weight"]


# --- exceptions as data ----------------------------------------------------------------------------


def test_an_exception_that_cannot_say_what_it_is_is_told_all_the_same() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise ValueError

    found = channel.describe(OddError())
    assert found["chain"] == [
        {"type": "OddError", "bases": ["OddError", "Exception"], "message": "(its message cannot be shown: ValueError)"}
    ]
    assert channel.first_line(found) == "OddError: (its message cannot be shown: ValueError)"


def test_a_message_of_many_lines_is_told_in_one_that_is_not_too_long() -> None:
    line = channel.first_line(channel.describe(OSError("first\n   second\n" + "x" * 999)))
    assert line == ("OSError: first second " + "x" * 999)[:300]


def test_versions_of_what_is_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in ("torch", "mmengine"):
            return f"1.0+{name}"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    python = ".".join(map(str, sys.version_info[:3]))
    assert channel.versions() == {"python": python, "torch": "1.0+torch", "mmengine": "1.0+mmengine"}


# --- files that a loader asks for by name ----------------------------------------------------------


def asked(repo_id: str, cache_dir: Path | None, filename: str, **more: str) -> LoadTask:
    folder = None if cache_dir is None else str(cache_dir)
    return LoadTask(repo_id, folder, None, more.get("subfolder"), "hf_hub_download", "huggingface_hub", "", filename)


def test_files_asked_for_by_name_are_looked_at_in_the_cache_or_in_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    files = {"ema.safetensors": safetensors(), "broken.safetensors": b"<html>", "vae/notes.txt": b""}
    make_repo(tmp_path / "hub", T5, files)
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "ema.safetensors").write_bytes(safetensors())
    tasks = [
        asked(T5, tmp_path / "hub", "ema.safetensors"),
        asked(T5, tmp_path / "hub", "notes.txt", subfolder="vae/"),
        asked(T5, tmp_path / "hub", "broken.safetensors"),
        asked(T5, tmp_path / "hub", "absent.bin"),
        asked(str(flat), None, "ema.safetensors"),
        asked(str(flat), None, "absent.safetensors"),
    ]
    results = load_level(tasks, python=sys.executable).results
    blob = Path(os.path.realpath(tmp_path / "hub")) / "models--DeepFloyd--t5-v1_1-xxl"

    def message(result: LoadResult) -> list[tuple[str, str]]:
        return [(finding.code, finding.message.replace(str(blob), "REPO")) for finding in result.findings]

    assert [(result.status, result.checked, [code for code, _ in message(result)]) for result in results] == [
        ("ok", ("ema.safetensors holds 1 tensors",), []),
        ("ok", ("notes.txt is there",), []),
        ("failed", (), ["OSR205"]),
        ("failed", (), ["OSR202"]),
        ("ok", ("ema.safetensors holds 1 tensors",), []),
        ("failed", (), ["OSR202"]),
    ]
    assert results[3].findings[0].message == f"{T5} (hf_hub_download): absent.bin is not there"
    assert (results[0].files, results[0].bytes) == (1, len(safetensors()))


# --- building -------------------------------------------------------------------------------------


def checkout(root: Path, config: str, **files: str) -> BuildTask:
    for name, text in {"opensora/__init__": "", "opensora/registry": "", **files}.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    (root / "config.py").write_text(config)
    return BuildTask(str(root), str(root / "config.py"), ("vae",))


def finding_of(task: BuildTask) -> Finding:
    (finding,) = build_level([task], python=sys.executable).findings
    return finding


def test_an_mmengine_that_knows_no_lazy_import_loads_the_config_too(tmp_path: Path) -> None:
    """mmengine before 0.8; here a package of the checkout stands in for it."""
    fake = """
        class Config(dict):
            @classmethod
            def fromfile(cls, path):
                return cls(vae={"type": path})
    """
    registry = "MODELS = None\ndef build_module(module, builder, **kwargs): raise RuntimeError(module)\n"
    files = {"mmengine/__init__": "", "mmengine/config": fake, "opensora/registry": registry}
    finding = finding_of(checkout(tmp_path, "", **files))
    assert finding.code == "OSR301"
    assert f"RuntimeError: {{'type': '{tmp_path / 'config.py'}'}}" in finding.message


def test_a_type_error_of_the_config_itself_is_told(tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    finding = finding_of(checkout(tmp_path, "vae = dict(type=1 + 'a')\n"))
    assert finding.code == "OSR313"
    assert "loading the config: TypeError: unsupported operand type(s) for +: 'int' and 'str'" in finding.message


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("vae = None\n", "no vae here"),
        ("vae = 3\n", "the config's vae is 3"),
        (f"vae = {list(range(100))}\n", "the config's vae is a list"),
    ],
)
def test_what_is_no_component_is_not_built(tmp_path: Path, config: str, why: str) -> None:
    pytest.importorskip("mmengine")
    (result,) = build_level([checkout(tmp_path, config)], python=sys.executable).results
    assert (result.status, result.message, result.ok) == ("skipped", why, True)


def test_a_component_is_found_by_its_dotted_name() -> None:
    config = {"model": {"vae": {"type": "X"}}, "scale": 3}
    assert build.find(config, "model.vae") == {"type": "X"}
    assert build.find(config, "scale.vae") is None
    assert build.find(config, "absent.vae") is None


def test_an_interrupt_of_the_checkouts_own_is_its_components_failure(tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    registry = "MODELS = None\ndef build_module(module, builder, **kwargs): raise KeyboardInterrupt\n"
    finding = finding_of(checkout(tmp_path, "vae = dict(type='X')\n", **{"opensora/registry": registry}))
    assert (finding.code, finding.message.split(" [")[0]) == ("OSR301", "building vae: KeyboardInterrupt")
