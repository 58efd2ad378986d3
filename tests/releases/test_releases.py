"""Each release's fixture from `check` to `--unset`: what is decided for each type, what is written, what is left."""

from __future__ import annotations

import difflib
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import weights
from weights import FIXTURES

if TYPE_CHECKING:
    from click.testing import Result

Run = Callable[..., "Result"]
Checkout = Callable[[str], Path]

CACHE = "/models/hf/hub"
TAGS = ("v1.0", "v1.1", "v1.2", "v1.3")

#: Type -> the outcomes and codes of its components after `rewrite --all-configs` (the table of FACTS.md section 1).
DECISIONS: dict[str, dict[str, set[tuple[str, ...]]]] = {
    "v1.0": {
        "classes": {("not needed",)},
        "clip": {("set",)},
        "t5": {("set",)},
        "VideoAutoencoderKL": {("set",)},
        "VideoAutoencoderKLTemporalDecoder": {("set",)},
    },
}
DECISIONS["v1.1"] = DECISIONS["v1.0"]
DECISIONS["v1.2"] = DECISIONS["v1.1"] | {"OpenSoraVAE_V1_2": {("set",), ("set", "OSR006")}}
DECISIONS["v1.3"] = DECISIONS["v1.1"] | {
    "t5": {("set",), ("cannot", "OSR006")},
    "OpenSoraVAE_V1_2": {("set",)},
    "OpenSoraVAE_V1_3": {("cannot", "OSR006")},
}
#: The same where no source may be edited.
WITHOUT_SOURCES: dict[str, dict[str, set[tuple[str, ...]]]] = {
    "v1.0": {name: {("cannot", "OSR004")} for name in DECISIONS["v1.0"]} | {"classes": {("not needed",)}},
    "v1.1": DECISIONS["v1.1"] | {"clip": {("cannot", "OSR004")}},
    "v1.2": DECISIONS["v1.2"]
    | {"clip": {("cannot", "OSR004")}, "OpenSoraVAE_V1_2": {("cannot", "OSR004"), ("cannot", "OSR004", "OSR006")}},
    "v1.3": DECISIONS["v1.3"] | {name: {("cannot", "OSR004")} for name in ("clip", "OpenSoraVAE_V1_2")},
}
#: The sources that a rewrite of all configs edits, with the lines that it adds.
EDITED: dict[str, dict[str, int]] = {
    "v1.0": {"text_encoder/clip.py": 5, "text_encoder/t5.py": 0, "vae/vae.py": 4},
    "v1.1": {"text_encoder/clip.py": 5},
    "v1.2": {"text_encoder/clip.py": 5, "vae/vae.py": 3},
    "v1.3": {"text_encoder/clip.py": 5, "vae/vae.py": 3},
}


def read_report(result: Result) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def list_decisions(report: dict[str, Any]) -> dict[str, set[tuple[str, ...]]]:
    """Type -> outcome and codes of each of its components."""
    codes = defaultdict(list)
    for finding in report["findings"]:
        codes[finding["path"], finding["component"]].append(finding["code"])
    found = defaultdict(set)
    for each in report["components"]:
        found[each["type"]].add((each["outcome"], *sorted(codes[each["path"], each["component"]])))
    return dict(found)


def read_tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def changed_lines(old: bytes, new: bytes) -> tuple[list[str], list[str]]:
    """The lines that are gone and those that are new."""
    diff = list(difflib.ndiff(old.decode().splitlines(), new.decode().splitlines()))
    return [line[2:] for line in diff if line[0] == "-"], [line[2:] for line in diff if line[0] == "+"]


def rewrite(run: Run, root: Path, *options: str | Path) -> Result:
    return run("rewrite", ".", "--all-configs", "--no-resolve", "--cache-dir", CACHE, *options, cwd=root)


@pytest.mark.parametrize("tag", TAGS)
def test_each_type_is_decided_as_in_the_release(tag: str, checkout: Checkout, run: Run) -> None:
    result = rewrite(run, checkout(tag), "--output-format", "json")

    assert list_decisions(read_report(result)) == DECISIONS[tag]
    refused = any(outcome[0] == "cannot" for found in DECISIONS[tag].values() for outcome in found)
    assert result.exit_code == int(refused)


@pytest.mark.parametrize("tag", TAGS)
def test_without_source_edits_only_loaders_that_take_the_key_get_it(tag: str, checkout: Checkout, run: Run) -> None:
    root = checkout(tag)
    before = read_tree(root / "opensora")

    result = rewrite(run, root, "--no-source", "--output-format", "json")

    assert list_decisions(read_report(result)) == WITHOUT_SOURCES[tag]
    assert read_tree(root / "opensora") == before


@pytest.mark.parametrize("tag", TAGS)
def test_a_config_changes_in_its_cache_dir_lines_only(tag: str, checkout: Checkout, run: Run) -> None:
    root = checkout(tag)
    before = read_tree(root / "configs")

    rewrite(run, root)

    after = read_tree(root / "configs")
    assert set(after) == set(before)
    changed = [name for name in before if after[name] != before[name]]
    assert changed
    for name in changed:
        gone, new = changed_lines(before[name], after[name])
        assert all(line.strip().startswith(f'cache_dir="{CACHE}",') for line in new)
        assert all(line.strip().startswith("cache_dir=None,") for line in gone)
    comment = b'cache_dir="/models/hf/hub",  # "/mnt/hdd/cached_models",'
    assert (tag == "v1.0") == (not any(comment in data for data in after.values()))


@pytest.mark.parametrize("tag", TAGS)
def test_only_the_loaders_on_the_way_to_the_hub_are_edited(tag: str, checkout: Checkout, run: Run) -> None:
    root = checkout(tag)
    before = read_tree(root / "opensora/models")

    rewrite(run, root)

    after = read_tree(root / "opensora/models")
    assert {name for name in before if after[name] != before[name]} == set(EDITED[tag])
    for name, count in EDITED[tag].items():
        gone, new = changed_lines(before[name], after[name])
        assert all("cache_dir" in line or "local_cache" in line or "path" in line for line in new), new
        assert not count or len(new) == count, new
        assert len(gone) <= len(new)


def test_v1_2_gets_the_three_edits_of_its_vae(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    path = root / "opensora/models/vae/vae.py"
    before = path.read_bytes()

    run("rewrite", "configs/opensora-v1-2/inference/sample.py", "--no-resolve", "--cache-dir", CACHE, cwd=root)

    gone, new = changed_lines(before, path.read_bytes())
    assert new == [
        "    cache_dir=None,",
        "        cache_dir=cache_dir,",
        "        return VideoAutoencoderPipeline.from_pretrained(from_pretrained, cache_dir=cache_dir, **kwargs)",
    ]
    assert gone == ["        return VideoAutoencoderPipeline.from_pretrained(from_pretrained, **kwargs)"]


@pytest.mark.parametrize("tag", [*TAGS, "derived"])
def test_a_second_rewrite_changes_nothing(tag: str, checkout: Checkout, run: Run) -> None:
    root = checkout(tag)
    first = rewrite(run, root)
    after = read_tree(root)

    second = rewrite(run, root, "--output-format", "json")

    assert read_tree(root) == after
    assert second.exit_code == first.exit_code
    assert read_report(second)["edited"] == []
    assert {outcome[0] for found in list_decisions(read_report(second)).values() for outcome in found} <= {
        "already",
        "not needed",
        "cannot",
        "untouched",
    }


@pytest.mark.parametrize("tag", TAGS)
def test_unset_gives_back_the_bytes(tag: str, checkout: Checkout, run: Run) -> None:
    root = checkout(tag)
    before = read_tree(root / "configs")
    rewrite(run, root)

    run("rewrite", ".", "--all-configs", "--no-resolve", "--unset", "vae.cache_dir", "--unset",
        "text_encoder.cache_dir", cwd=root)  # fmt: skip

    for name, data in read_tree(root / "configs").items():
        if b"cache_dir=None" not in before[name]:
            assert data == before[name], name


@pytest.mark.parametrize("tag", TAGS)
def test_all_components_of_a_release_are_set_or_have_a_reason(tag: str, checkout: Checkout, run: Run) -> None:
    root = checkout(tag)

    report = read_report(rewrite(run, root, "--all-components", "--output-format", "json"))

    codes = {finding["code"] for finding in report["findings"] if finding["severity"] == "error"}
    assert codes <= {"OSR006", "OSR007"}
    found = list_decisions(report)
    if tag != "v1.0":
        assert ("set",) in found["STDiT2-XL/2"]
    if tag in ("v1.2", "v1.3"):
        assert ("set",) in found["STDiT3-XL/2"]


def test_v1_0_needs_nothing_where_the_flat_folder_exists(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.0")
    (root / "pretrained_models/t5_ckpts/t5-v1_1-xxl").mkdir(parents=True)

    report = read_report(rewrite(run, root, "--output-format", "json"))

    assert list_decisions(report)["t5"] == {("not needed",)}


# --- a project built on Open-Sora ------------------------------------------------------------------


def test_a_derived_project_is_rewritten_under_its_own_name(checkout: Checkout, run: Run) -> None:
    root = checkout("derived")
    before = read_tree(root)
    components = ("--component", "vae", "--component", "text_encoder", "--component", "audio_vae")

    result = rewrite(run, root, *components, "--output-format", "json")

    assert result.exit_code == 0, result.output
    assert list_decisions(read_report(result)) == {
        name: {("set",)} for name in ("t5", "VideoAutoencoderKL", "AudioVAE")
    }
    after = read_tree(root)
    assert {name for name in before if after[name] != before[name]} == {
        "config/inference/sounding_video.py",
        "config/silent.py",
        "src/audio_models/audio_vae.py",
        "src/audio_models/loading.py",
        "src/clipvidgen/models/vae.py",
    }


@pytest.mark.torch
def test_a_derived_project_builds_offline_after_a_rewrite(hub_cache: Path, tmp_path: Path, run: Run) -> None:
    root = tmp_path / "derived"
    shutil.copytree(FIXTURES / "derived", root, ignore=shutil.ignore_patterns("__pycache__"))
    config = "config/inference/sounding_video.py"
    components = ("--component", "vae", "--component", "text_encoder", "--component", "audio_vae")
    made = run("rewrite", config, *components, "--no-resolve", "--cache-dir", hub_cache,
               "--set", f"text_encoder.from_pretrained={weights.T5}", cwd=root)  # fmt: skip
    assert made.exit_code == 0, made.output

    result = run("verify", config, *components, "--level", "build", "--python", sys.executable, cwd=root)

    assert result.exit_code == 0, result.output


# --- v1.x builds for real: tests/verify/test_build.py ----------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize(
    ("tag", "config"), [("v1.0", "opensora"), ("v1.1", "opensora-v1-1"), ("v1.2", "opensora-v1-2")]
)
def test_verify_build_passes_after_a_rewrite(
    tag: str, config: str, hub_cache: Path, checkout: Checkout, run: Run
) -> None:
    root = checkout(tag)
    path = next((root / "configs" / config / "inference").glob("*.py")).relative_to(root)
    assert run("rewrite", path, "--no-resolve", "--cache-dir", hub_cache, cwd=root).exit_code == 0

    result = run("verify", path, "--level", "build", "--python", sys.executable, cwd=root)

    assert result.exit_code == 0, result.output
