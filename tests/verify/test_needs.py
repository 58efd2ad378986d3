"""What a config's components read from a cache: one row for every hub call, what arrives there, and what is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewriter.checkout import Target
from rewriter.decide.loaders import Loaders
from rewriter.verify import needs
from rewriter.verify.directories import TRANSFORMERS_VARIABLES
from rewriter.verify.needs import CallRow, ComponentTrace, collect_needs, format_traces, list_repos, trace_components

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
LOADERS = """
from diffusers import AutoencoderKL
from transformers import T5EncoderModel
from huggingface_hub import hf_hub_download
from opensora.registry import MODELS

@MODELS.register_module()
def takes(path, cache_dir=None):
    return AutoencoderKL.from_pretrained(path, subfolder="vae", revision="fp16", cache_dir=cache_dir)

@MODELS.register_module()
def drops(path, cache_dir=None, local_files_only=False):
    return hf_hub_download(path, "model.pth", local_files_only=local_files_only)

@MODELS.register_module()
class Rejects:
    def __init__(self, path=None):
        self.model = AutoencoderKL.from_pretrained(path or "org/hidden")

@MODELS.register_module()
def several(path, names):
    return [KINDS[name].from_pretrained(path) for name in names]

@MODELS.register_module()
def text(path, cache_dir=None):
    return T5EncoderModel.from_pretrained(path, cache_dir=cache_dir)

@MODELS.register_module()
def nothing(size):
    return size
"""
CONFIG = """\
vae = dict(type="takes", path="org/vae", cache_dir="/models")
text_encoder = dict(type="takes", path="org/text")
model = dict(
    type="drops", path="org/model", cache_dir="/models", local_files_only=True,
    vae=dict(type="Rejects"), t5=dict(type="Rejects", path="./ckpts/t5"),
)
discriminator = dict(type="several", path="org/any", names=NAMES)
scheduler = dict(type="nothing", size=1)
clip = dict(type="takes", path=None)
ae = dict(type="takes", path=PATH)
other = dict(type="unheard-of", path="org/n")
"""


def write_checkout(root: Path, text: str) -> Target:
    (root / "opensora").mkdir(exist_ok=True)
    (root / "opensora" / "__init__.py").touch()
    (root / "opensora" / "registry.py").write_text("from mmengine.registry import Registry\nMODELS = Registry('m')\n")
    (root / "opensora" / "loaders.py").write_text(LOADERS)
    config = root / "configs" / "a.py"
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)
    return Target(str(config), str(root), True)


def trace(root: Path, text: str = CONFIG, names: list[str] | None = None) -> list[ComponentTrace]:
    found, problems = trace_components([write_checkout(root, text)], Loaders(), names)
    assert problems == []
    return found


def collect(root: Path, text: str, environ: dict[str, str] | None = None, **more: object) -> needs.Needs:
    return collect_needs(trace(root, text), {"HOME": "/home/u", **(environ or {})}, **more)  # type: ignore[arg-type]


# --- rows -----------------------------------------------------------------------------------------------


def test_every_hub_call_is_a_row_with_what_arrives_at_it(tmp_path: Path) -> None:
    (one,) = trace(tmp_path, 'vae = dict(type="takes", path="org/vae", cache_dir="/models", local_files_only=True)\n')
    keys = {"cache_dir": "set", "local_files_only": "rejected"}
    config = str(tmp_path / "configs/a.py")
    (row,) = one.rows
    assert row == CallRow(config, 1, "vae", "takes", row.call, "repo", keys, "/models", "path", str(tmp_path))
    (found,) = format_traces([one], str(tmp_path))
    (call,) = found.pop("calls")  # type: ignore[misc]
    assert found == {"config": "configs/a.py", "line": 1, "component": "vae", "type": "takes", "not_followed": []}
    place = {"path": "opensora/loaders.py", "line": 9}
    head = {"callee": "AutoencoderKL.from_pretrained", "library": "diffusers", **place, "column": 12, **keys}
    repo = {"repo_id": "org/vae", "repo_text": "org/vae", "place": "repo", "hard_coded": False, "certain": True}
    files = {"subfolder": "vae", "revision": "fp16", "filename": None}
    assert call == {**head, **repo, **files, "chain": [{"function": "takes", **place}]}
    assert format_traces([one], "/elsewhere")[0]["config"] == config


def test_components_that_load_nothing_or_that_nobody_registered_have_no_rows(tmp_path: Path) -> None:
    found = {
        each.component.dotted: [(row.call.repo_id, row.place, *row.keys.values(), row.cache_dir) for row in each.rows]
        for each in trace(tmp_path)
    }
    assert found == {
        "vae": [("org/vae", "repo", "set", "rejected", "/models")],
        "text_encoder": [("org/text", "repo", "open", "rejected", None)],
        "model": [("org/model", "repo", "dropped", "set", None)],
        "model.vae": [("org/hidden", "repo", "rejected", "rejected", None)],
        "model.t5": [("./ckpts/t5", "missing", "rejected", "rejected", None)],
        "discriminator": [],
        "clip": [],
        "ae": [(None, "unknown", "open", "rejected", None)],
    }


def test_what_cannot_be_followed_is_said_and_the_repos_that_are_needed_are_listed_once_and_no_paths(
    tmp_path: Path,
) -> None:
    (one,) = trace(tmp_path, 'vae = dict(type="several", path="org/any", names=["a"])\n')
    assert one.unknown
    assert format_traces([one], str(tmp_path))[0]["not_followed"] == list(one.unknown)
    plain, in_folder = [("org/hidden", "", ""), ("org/model", "", "")], ("vae", "fp16")
    assert list_repos(trace(tmp_path)) == [*plain, ("org/text", *in_folder), ("org/vae", *in_folder)]


def v1_0_text_encoder() -> list[ComponentTrace]:
    root = FIXTURES / "v1.0"
    sample = root / "configs/opensora/inference/16x256x256.py"
    return trace_components([Target(str(sample), str(root), True)], Loaders(), ["text_encoder"])[0]


def test_the_repo_that_v1_0s_t5_reads_once_it_is_rewritten_is_listed_in_place_of_its_path() -> None:
    found = v1_0_text_encoder()
    assert [each.after_rewrite for each in found] == [("DeepFloyd/t5-v1_1-xxl",)]
    assert {row.place for row in found[0].rows} == {"missing"}
    assert list_repos(found) == [("DeepFloyd/t5-v1_1-xxl", "", "")]


def test_without_sources_the_table_of_released_loaders_serves_and_no_edit_is_foreseen(tmp_path: Path) -> None:
    lone = tmp_path / "a.py"
    lone.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="./pretrained_models/vae")\n')
    loaders = Loaders()
    (one,), problems = trace_components([Target(str(lone), None, True)], loaders)
    assert [(row.place, row.call.repo_id) for row in one.rows] == [("missing", "./pretrained_models/vae")]
    assert (one.after_rewrite, problems, loaders.used_released_table) == ((), [], True)


def test_a_config_that_cannot_be_read_is_a_finding_and_the_rest_goes_on(tmp_path: Path) -> None:
    broken, good, gone = paths = [tmp_path / name for name in ("a.py", "b.py", "c.py")]
    broken.write_text("\nvae = dict(\n")
    good.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="org/vae")\n')
    found, problems = trace_components([Target(str(path), None, True) for path in paths], Loaders())
    assert [each.path for each in found] == [str(good)]
    places = [(each.code, each.path, each.line) for each in problems]
    assert places == [("OSR900", str(broken), 2), ("OSR900", str(gone), 1)]


# --- needs ----------------------------------------------------------------------------------------------


def test_equal_needs_of_several_components_are_one_with_all_who_request_it(tmp_path: Path) -> None:
    text = "".join(f'{name} = dict(type="text", path="org/t5", cache_dir="/hub")\n' for name in ("a", "b"))
    found = collect(tmp_path, text)
    (need,) = found.needs
    assert (need.repo_id, need.cache_dir, need.source) == ("org/t5", "/hub", "config")
    assert (need.class_name, need.library) == ("T5EncoderModel", "transformers")
    assert [place[1:] for place in need.requested_by] == [(1, "a"), (2, "b")]
    assert (found.findings, found.environment, len(found.rows)) == ((), (), 2)


@pytest.mark.parametrize(
    ("line", "code", "directory"),
    [
        ('vae = dict(type="Rejects", cache_dir="/hub")', "OSR004", "/hub"),
        ('vae = dict(type="drops", path="org/n", cache_dir="/hub")', "OSR005", "/home/u/.cache/huggingface/hub"),
        ('vae = dict(type="takes", path="org/n", cache_dir=DIRECTORY)', "OSR007", None),
        ('vae = dict(type="takes", path="./gone/my-vae", cache_dir="/hub")', "OSR006", None),
    ],
)
def test_a_directory_that_does_not_arrive_is_reported_with_what_is_read(
    tmp_path: Path, line: str, code: str, directory: str | None
) -> None:
    found = collect(tmp_path, line + "\n")
    (finding,) = found.findings
    assert (finding.code, finding.line, finding.component) == (code, 1, "vae")
    assert [need.cache_dir for need in found.needs] == ([] if directory is None else [directory])


def test_a_missing_path_is_cured_by_its_own_key(tmp_path: Path) -> None:
    text = 'vae = dict(type="takes", path="./x/OpenSora-STDiT-v3", cache_dir="/hub")\n'
    (finding,) = collect(tmp_path, text).findings
    cure = "--set vae.path=hpcai-tech/OpenSora-STDiT-v3"
    assert finding.remedy == f"opensora-rewriter rewrite {{path}} --cache-dir /hub {cure}"


TEXT = 'vae = dict(type="text", path="org/t5")\n'
VAE = 'vae = dict(type="takes", path="org/vae")\n'


@pytest.mark.parametrize(
    ("text", "environ", "major", "expected"),
    [
        (TEXT, {}, 4, ("/home/u/.cache/huggingface/hub", "default")),
        (TEXT, {"HF_HOME": "/hf", "TRANSFORMERS_CACHE": "/t"}, 4, ("/t", "TRANSFORMERS_CACHE")),
        (TEXT, {"HF_HOME": "/hf", "TRANSFORMERS_CACHE": "/t"}, 5, ("/hf/hub", "HF_HOME")),
        (VAE, {"HF_HOME": "/hf", "TRANSFORMERS_CACHE": "/t"}, 4, ("/hf/hub", "HF_HOME")),
        (TEXT, {"PYTORCH_PRETRAINED_BERT_CACHE": "/b", "HF_HOME": "/h"}, 4, ("/b", "PYTORCH_PRETRAINED_BERT_CACHE")),
    ],
)
def test_without_cache_dir_each_library_reads_the_directory_of_its_own_variables(
    tmp_path: Path, text: str, environ: dict[str, str], major: int, expected: tuple[str, str]
) -> None:
    found = collect(tmp_path, text, environ, transformers_major=major)
    assert [(need.cache_dir, need.source) for need in found.needs] == [expected]
    assert found.environment == (expected,)


def test_a_variable_that_nothing_reads_is_a_note(tmp_path: Path) -> None:
    environ = dict.fromkeys(("DIFFUSERS_CACHE", *TRANSFORMERS_VARIABLES), "/old")
    notes = collect(tmp_path, VAE, environ).notes
    assert [note.message for note in notes] == [
        "DIFFUSERS_CACHE is set, but no library in use reads it: it has no effect"
    ]
    notes = collect(tmp_path, VAE, environ, transformers_major=5).notes
    assert [note.message.partition(" is set")[0] for note in notes] == list(environ)
    assert collect(tmp_path, "x = 1\n", environ).notes == ()


# --- for download ---------------------------------------------------------------------------------------


def test_a_download_goes_where_the_command_line_says_else_the_config_else_the_environment(tmp_path: Path) -> None:
    text = VAE + 'model = dict(type="Rejects", cache_dir="/config")\nclip = dict(type="text", path="org/clip")\n'
    found = collect(tmp_path, text, directory_for=lambda component: "/option" if component.name == "vae" else None)
    assert [(need.repo_id, need.cache_dir, need.source) for need in found.needs] == [
        ("org/vae", "/option", "option"),
        ("org/hidden", "/config", "config"),
        ("org/clip", "/home/u/.cache/huggingface/hub", "default"),
    ]
    assert found.findings == ()


def test_v1_0s_t5_is_downloaded_as_the_repo_that_it_will_read() -> None:
    found = collect_needs(v1_0_text_encoder(), {}, directory_for=lambda component: "/hub")
    assert {need.repo_id for need in found.needs} == {"DeepFloyd/t5-v1_1-xxl"}
    assert {need.class_name for need in found.needs} == {"AutoTokenizer", "T5EncoderModel"}
    assert found.findings == ()
    verified = collect_needs(v1_0_text_encoder(), {})
    assert {finding.code for finding in verified.findings} == {"OSR006"}
    assert verified.needs == ()
