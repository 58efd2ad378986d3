"""What ``trace`` knows of a config: one row for every Hub call, and what arrives at it."""

from __future__ import annotations

from pathlib import Path

from conftest import FIXTURES
from loading import write

from rewriter import tracing
from rewriter.checkout import Target
from rewriter.plan import Loaders
from rewriter.tracing import Row
from rewriter.types import Finding, HubCall, Step

LOADERS = """
from diffusers import AutoencoderKL
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
old = dict(type="takes", path="org/old")
old = dict(type=KIND, path="org/old")
"""


def traced(root: Path, text: str = CONFIG, names: list[str] | None = None) -> list[tracing.ComponentTrace]:
    config = write(root, loaders=LOADERS) / "configs" / "a.py"
    config.parent.mkdir()
    config.write_text(text)
    found, problems = tracing.trace_configs([Target(str(config), str(root), True)], Loaders(), names)
    assert problems == []
    return found


def test_every_hub_call_is_a_row_with_what_arrives_at_it(tmp_path: Path) -> None:
    (one,) = traced(tmp_path, 'vae = dict(type="takes", path="org/vae", cache_dir="/models", local_files_only=True)\n')
    loaders = str(tmp_path / "opensora/loaders.py")
    call = HubCall(
        "AutoencoderKL.from_pretrained", "from_pretrained", "diffusers", "AutoencoderKL", loaders, 8, 11, "org/vae",
        "org/vae", subfolder="vae", revision="fp16", reached=frozenset({"cache_dir"}),
        chain=(Step("takes", loaders, 8),),
    )  # fmt: skip
    keys = (("cache_dir", "set"), ("local_files_only", "rejected"))
    config = str(tmp_path / "configs/a.py")
    assert one.rows == (Row(config, 1, "vae", "takes", call, "repo", keys, "/models"),)
    assert (one.path, one.root, one.type, one.unknown, one.instead) == (config, str(tmp_path), "takes", (), ())
    assert tracing.as_json([one], str(tmp_path)) == [
        {
            "config": "configs/a.py",
            "line": 1,
            "component": "vae",
            "type": "takes",
            "calls": [
                {
                    "callee": "AutoencoderKL.from_pretrained",
                    "library": "diffusers",
                    "path": "opensora/loaders.py",
                    "line": 8,
                    "column": 12,
                    "repo_id": "org/vae",
                    "repo_text": "org/vae",
                    "place": "repo",
                    "hard_coded": False,
                    "subfolder": "vae",
                    "revision": "fp16",
                    "filename": None,
                    "certain": True,
                    "cache_dir": "set",
                    "local_files_only": "rejected",
                    "chain": [{"function": "takes", "path": "opensora/loaders.py", "line": 8}],
                }
            ],
            "not_followed": [],
        }
    ]
    assert tracing.as_json([one], "/elsewhere")[0]["config"] == config


def test_components_that_load_nothing_or_that_nobody_registered_have_no_rows(tmp_path: Path) -> None:
    found = {
        ".".join(each.component.keys): [
            (row.call.repo_id, row.place, *dict(row.keys).values(), row.cache_dir) for row in each.rows
        ]
        for each in traced(tmp_path)
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


def test_it_may_be_unsure_whether_a_keyword_arrives(tmp_path: Path) -> None:
    config = write(tmp_path, loaders=LOADERS.replace("cache_dir=cache_dir)", "**outside(cache_dir))")) / "configs/a.py"
    config.parent.mkdir()
    config.write_text('vae = dict(type="takes", path="org/vae", cache_dir="/models")\n')
    ((one,), _) = tracing.trace_configs([Target(str(config), str(tmp_path), True)], Loaders(), None)
    assert [(dict(row.keys), row.cache_dir) for row in one.rows] == [
        ({"cache_dir": "unsure", "local_files_only": "rejected"}, None)
    ]


def test_what_cannot_be_followed_is_told(tmp_path: Path) -> None:
    (one,) = traced(tmp_path, 'vae = dict(type="several", path="org/any", names=["a"])\n')
    assert one.unknown
    assert tracing.as_json([one], str(tmp_path))[0]["not_followed"] == list(one.unknown)


def test_names_select_components_and_what_is_nested_in_them(tmp_path: Path) -> None:
    found = traced(tmp_path, names=["model", "text_encoder"])
    assert [".".join(each.component.keys) for each in found] == ["text_encoder", "model", "model.vae", "model.t5"]


def test_the_repos_that_are_needed_are_listed_once_and_no_paths(tmp_path: Path) -> None:
    assert tracing.repos(traced(tmp_path)) == [
        ("org/hidden", "", ""),
        ("org/model", "", ""),
        ("org/text", "vae", "fp16"),
        ("org/vae", "vae", "fp16"),
    ]


def test_the_repo_that_v1_0s_t5_reads_once_it_is_rewritten_stands_for_its_path() -> None:
    root = FIXTURES / "v1.0"
    sample = root / "configs/opensora/inference/16x256x256.py"
    found, _ = tracing.trace_configs([Target(str(sample), str(root), True)], Loaders(), ["text_encoder"])
    assert [each.instead for each in found] == [("DeepFloyd/t5-v1_1-xxl",)]
    assert {row.place for row in found[0].rows} == {"missing"}
    assert tracing.repos(found) == [("DeepFloyd/t5-v1_1-xxl", "", "")]


def test_without_sources_the_built_in_table_serves_and_no_edit_is_foreseen(tmp_path: Path) -> None:
    lone = tmp_path / "a.py"
    lone.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="./pretrained_models/vae")\n')
    loaders = Loaders()
    (one,), problems = tracing.trace_configs([Target(str(lone), None, True)], loaders)
    assert [(row.place, row.call.repo_id) for row in one.rows] == [("missing", "./pretrained_models/vae")]
    assert (one.instead, problems, loaders.used_builtin) == ((), [], True)


def test_a_config_that_cannot_be_read_is_a_finding_and_the_rest_goes_on(tmp_path: Path) -> None:
    broken, good = tmp_path / "a.py", tmp_path / "b.py"
    broken.write_text("\nvae = dict(\n")
    good.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="org/vae")\n')
    seen: list[None] = []
    targets = [Target(str(path), None, True) for path in (broken, good)]
    found, problems = tracing.trace_configs(targets, Loaders(), progress=lambda: seen.append(None))
    assert [each.path for each in found] == [str(good)]
    assert problems == [
        Finding("OSR900", str(broken), 2, 10, "", "the file is not Python: '(' was never closed",
                "correct the syntax, or leave the file out")
    ]  # fmt: skip
    assert len(seen) == 2
