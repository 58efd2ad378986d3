"""The checkouts' own loaders, built for real: cut off from the network, with a cache of tiny weights to load from."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import weights

pytestmark = pytest.mark.torch

PROBE = Path(__file__).with_name("build_probe.py")

FIXTURES = PROBE.parent.parent / "fixtures"

Asked = Mapping[str, Any]


def build(root: Path, hub_cache: Path, asked: Mapping[str, Asked], home: Path | None = None) -> dict[str, str]:
    """Build every component of ``asked`` in one child process in ``root``; returns each one's outcome by its label.

    The child sees no network, an empty HF_HOME and HF_HUB_OFFLINE=1, so that only ``cache_dir`` can supply weights.
    """
    home = home or root.parent / "empty-home"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    env |= {"HF_HOME": str(home), "HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    request = {"cache": str(hub_cache), "asked": [{"label": label, **one} for label, one in asked.items()]}
    child = subprocess.run(
        [sys.executable, str(PROBE)],
        input=json.dumps(request),
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    answers: dict[str, dict[str, str]] = json.loads(child.stdout)
    return {label: answer["outcome"] for label, answer in answers.items()}


#: One config for each component that a release registers: config, component, and the repository that holds it.
CLASSES = ("configs/dit/inference/1x256x256-class.py", "text_encoder", None)
CLIP = ("configs/dit/inference/16x256x256.py", "text_encoder", weights.CLIP)
T5 = ("configs/opensora/inference/16x256x256.py", "text_encoder", weights.T5)
KL = ("configs/opensora/inference/16x256x256.py", "vae", weights.KL)
TEMPORAL = ("configs/latte/inference/16x256x256-temporal.py", "vae", weights.TEMPORAL_DECODER)
T5_NONE = ("configs/opensora-v1-1/inference/sample.py", "text_encoder", weights.T5)
STDIT2 = ("configs/opensora-v1-1/inference/sample.py", "model", weights.STDIT2)
VAE_V1_2 = ("configs/opensora-v1-2/inference/sample.py", "vae", weights.VAE_V1_2)
STDIT3 = ("configs/opensora-v1-2/inference/sample.py", "model", weights.STDIT3)
VAE_V1_3 = ("configs/opensora-v1-3/inference/t2v.py", "vae", weights.VAE_V1_3)

REJECTS = "rejects cache_dir"

#: What a build says once `cache_dir` stands in the config and nothing else was changed, release by release.
WITH_CACHE_DIR = {
    "v1.0": {CLASSES: REJECTS, CLIP: REJECTS, T5: REJECTS, KL: REJECTS, TEMPORAL: REJECTS},
    "v1.1": {
        CLASSES: REJECTS,
        CLIP: REJECTS,
        T5: "loads",
        KL: "loads",
        TEMPORAL: "loads",
        T5_NONE: "loads",
        STDIT2: "OSError",
    },
}
WITH_CACHE_DIR["v1.2"] = WITH_CACHE_DIR["v1.1"] | {VAE_V1_2: REJECTS, STDIT3: "loads"}
WITH_CACHE_DIR["v1.3"] = WITH_CACHE_DIR["v1.2"] | {VAE_V1_3: REJECTS}


@dataclass(frozen=True)
class Outcomes:
    """How a checkout with untouched sources builds: its configs as released, with `cache_dir` written into them, and
    `t5` from local folders."""

    released: dict[str, str]
    with_cache_dir: dict[str, str]
    local_t5: str
    parent_of_flat_t5: str


@pytest.fixture(scope="module", params=tuple(WITH_CACHE_DIR))
def untouched(request: pytest.FixtureRequest, hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Everything that is asked of one release, in one child process: importing torch and transformers takes seconds."""
    tag: str = request.param
    scratch = tmp_path_factory.mktemp(tag)
    root, edited = (Path(shutil.copytree(FIXTURES / tag, scratch / name)) for name in ("released", "edited"))
    write_cache_dir(edited, tag, hub_cache)
    snapshot = weights.snapshot_of(hub_cache, weights.T5)
    (scratch / "t5-v1_1-xxl").symlink_to(snapshot)
    asked: dict[str, Asked] = {}
    for config, component, repo in WITH_CACHE_DIR[tag]:
        one = {"component": component, "repo": repo}
        asked[f"released:{config}:{component}"] = {"config": str(root / config), **one}
        asked[f"edited:{config}:{component}"] = {"config": str(edited / config), **one}
    for label, path in (("local", snapshot), ("parent", scratch)):
        asked[label] = {"dict": {"type": "t5", "from_pretrained": str(path)}, "repo": weights.T5}

    said = build(root, hub_cache, asked)

    def part(prefix: str) -> dict[str, str]:
        return {label.removeprefix(prefix): says for label, says in said.items() if label.startswith(prefix)}

    return Outcomes(part("released:"), part("edited:"), said["local"], said["parent"])


def write_cache_dir(root: Path, tag: str, cache_dir: Path) -> None:
    """Add the keyword by plain text replacement, so that these tests lean on nothing of the rewriter."""
    keyword = f'    cache_dir="{cache_dir}",\n'
    for config in {config for config, _, _ in WITH_CACHE_DIR[tag]}:
        path = root / config
        text = re.sub(r'"/home/[^"]*OpenSora-VAE-v1.3"', f'"{weights.VAE_V1_3}"', path.read_text())
        text = re.sub(r"    cache_dir=None,.*\n", "", text)
        text = re.sub(r'    (?:from_pretrained="[^"]+/[^"]+"|type="classes"),\n', rf"\g<0>{keyword}", text)
        path.write_text(text)


def test_released_configs_find_no_weights_offline(untouched: Outcomes) -> None:
    released = dict(untouched.released)

    assert released.pop(":".join(CLASSES[:2])) == "builds"
    # Which exception it is, is each library's own: transformers' CLIPTokenizer opens a vocabulary named None.
    assert not {"loads", "builds", "differs", REJECTS} & set(released.values()), released


def test_cache_dir_in_the_config_alone_helps_only_the_loaders_that_take_it(untouched: Outcomes, tag: str) -> None:
    expected = {f"{config}:{component}": says for (config, component, _), says in WITH_CACHE_DIR[tag].items()}

    assert untouched.with_cache_dir == expected


def test_a_local_t5_folder_is_loaded_by_v1_3_alone(untouched: Outcomes, tag: str) -> None:
    if tag == "v1.0":  # it joins "t5-v1_1-xxl" to the folder
        assert untouched.local_t5 not in ("loads", "differs")
    else:
        assert untouched.local_t5 == ("loads" if tag == "v1.3" else "AssertionError")


def test_the_parent_of_a_flat_t5_folder_is_loaded_by_v1_0_alone(untouched: Outcomes, tag: str) -> None:
    assert (untouched.parent_of_flat_t5 == "loads") == (tag == "v1.0")


@pytest.fixture
def tag(request: pytest.FixtureRequest) -> str:
    """The release that ``untouched`` is about."""
    name: str = request.node.callspec.params["untouched"]
    return name


# --- after a rewrite --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rewritten:
    """How a checkout builds after ``rewrite``: its own configs; the configs as released; ``t5`` as v1.0 reads it."""

    own: dict[str, str]
    released: dict[str, str]
    parent_of_flat_t5: str


@pytest.fixture(scope="module", params=tuple(WITH_CACHE_DIR))
def rewritten(request: pytest.FixtureRequest, hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Rewritten:
    """Rewrite a copy of one release by the command line, then build everything in one child process."""
    tag: str = request.param
    scratch = tmp_path_factory.mktemp(f"{tag}-rewritten")
    root = Path(shutil.copytree(FIXTURES / tag, scratch / tag))
    rewrite(root, "--all-configs", "--all-components", "--cache-dir", hub_cache)
    if tag == "v1.3":  # the authors' own path, cured as the refusal says
        rewrite(root / VAE_V1_3[0], "--cache-dir", hub_cache, "--set", f"vae.from_pretrained={weights.VAE_V1_3}")
    (scratch / "t5-v1_1-xxl").symlink_to(weights.snapshot_of(hub_cache, weights.T5))
    asked: dict[str, Asked] = {"parent": {"dict": {"type": "t5", "from_pretrained": str(scratch)}, "repo": weights.T5}}
    for config, component, repo in WITH_CACHE_DIR[tag]:
        one = {"component": component, "repo": repo}
        asked[f"own:{config}:{component}"] = {"config": str(root / config), **one}
        asked[f"released:{config}:{component}"] = {"config": str(FIXTURES / tag / config), **one}

    said = build(root, hub_cache, asked)

    def part(prefix: str) -> dict[str, str]:
        return {label.removeprefix(prefix): says for label, says in said.items() if label.startswith(prefix)}

    return Rewritten(part("own:"), part("released:"), said["parent"])


def rewrite(path: Path, *args: str | Path) -> None:
    """Run ``opensora-rewriter rewrite``; a refused component (exit 1) is no failure of the run."""
    from click.testing import CliRunner

    from rewriter.cli import main

    result = CliRunner().invoke(main, ["rewrite", str(path), "--no-resolve", *map(str, args)])
    assert result.exit_code in (0, 1), result.output


def test_after_a_rewrite_every_component_loads_the_cached_weights(rewritten: Rewritten) -> None:
    own = dict(rewritten.own)

    assert own.pop(":".join(CLASSES[:2])) == "builds"
    assert set(own.values()) == {"loads"}, own


def test_rewritten_loaders_find_nothing_without_cache_dir_as_before(rewritten: Rewritten) -> None:
    released = dict(rewritten.released)

    assert released.pop(":".join(CLASSES[:2])) == "builds"
    assert not {"loads", "builds", "differs", REJECTS} & set(released.values()), released


def test_rewritten_v1_0_still_reads_t5_from_a_flat_folder(rewritten: Rewritten, rewritten_tag: str) -> None:
    assert (rewritten.parent_of_flat_t5 == "loads") == (rewritten_tag == "v1.0")


@pytest.fixture
def rewritten_tag(request: pytest.FixtureRequest) -> str:
    """The release that ``rewritten`` is about."""
    name: str = request.node.callspec.params["rewritten"]
    return name
