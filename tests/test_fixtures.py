"""The fixtures are what they claim to be: checkouts in the releases' shapes; odd configs whose bytes survive git."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
import weights

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
ODD = FIXTURES / "odd" / "configs"
TAGS = ("v1.0", "v1.1", "v1.2", "v1.3")
FAMILIES = {
    "v1.0": {"dit", "latte", "opensora", "pixart"},
    "v1.1": {"dit", "latte", "opensora", "opensora-v1-1", "pixart"},
    "v1.2": {"dit", "latte", "opensora", "opensora-v1-1", "opensora-v1-2", "pixart", "vae"},
    "v1.3": {
        "dit",
        "latte",
        "opensora",
        "opensora-v1-1",
        "opensora-v1-2",
        "opensora-v1-3",
        "pixart",
        "vae",
        "vae_v1_3",
    },
}


@pytest.mark.parametrize("tag", TAGS)
def test_a_checkout_has_its_release_s_families_and_parses(tag: str) -> None:
    root = FIXTURES / tag
    assert {path.name for path in (root / "configs").iterdir()} == FAMILIES[tag]
    for path in root.rglob("*.py"):
        compile(path.read_bytes(), str(path), "exec")


def dict_types(tag: str) -> set[tuple[object, object]]:
    """Every (type, from_pretrained) that a release's fixture configs write in a ``dict(...)``."""
    found: set[tuple[object, object]] = set()
    for path in (FIXTURES / tag / "configs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
                keys = {
                    key.arg: ast.literal_eval(key.value) for key in node.keywords if isinstance(key.value, ast.Constant)
                }
                found.add((keys.get("type"), keys.get("from_pretrained")))
    return found


def test_every_kind_of_component_of_the_releases_is_there() -> None:
    kinds = {tag: dict_types(tag) for tag in TAGS}
    for tag in TAGS:
        assert {("classes", None), ("clip", weights.CLIP), ("VideoAutoencoderKL", weights.KL)} <= kinds[tag]
    assert ("t5", "./pretrained_models/t5_ckpts") in kinds["v1.0"]
    for tag in TAGS[1:]:
        assert ("t5", weights.T5) in kinds[tag]
    assert {("OpenSoraVAE_V1_2", weights.VAE_V1_2), ("STDiT3-XL/2", weights.STDIT3)} <= kinds["v1.2"] & kinds["v1.3"]
    local = {str(path).split("/")[1] for kind, path in kinds["v1.3"] if kind in ("t5", "OpenSoraVAE_V1_3") and path}
    assert {"mnt", "home", "t5-v1_1-xxl"} <= local


def test_the_readme_lists_every_odd_config_and_nothing_else() -> None:
    listed = set(re.findall(r"^\| `([^`]+\.py)` \|", (ODD.parent / "README.md").read_text(), re.MULTILINE))
    assert listed == {path.relative_to(ODD).as_posix() for path in ODD.rglob("*.py")}


@pytest.mark.parametrize(
    ("name", "holds", "lacks"),
    [
        ("shapes/inference/crlf.py", b"\r\n", b"\n\n"),
        ("shapes/inference/mixed_line_ends.py", b"\r\n", b"\r\r"),
        ("shapes/inference/cr_in_the_middle.py", b"1\r", b"\r\n"),
        ("shapes/inference/tabs.py", b"\n\t", b"\n    "),
        ("shapes/inference/bom.py", b"\xef\xbb\xbf", b"\r"),
        ("shapes/inference/latin1_cookie.py", b"Mod\xe8les", b"\xc3"),
        ("shapes/inference/gbk_cookie.py", "推理".encode("gbk"), "推理".encode()),
        ("broken/inference/nul_byte.py", b"\0", b"\r"),
    ],
)
def test_the_odd_bytes_survive_git(name: str, holds: bytes, lacks: bytes) -> None:
    content = (ODD / name).read_bytes()
    assert holds in content
    assert lacks not in content


def test_no_final_newline_and_empty_stay_so() -> None:
    assert not (ODD / "shapes/inference/no_final_newline.py").read_bytes().endswith(b"\n")
    assert (ODD / "broken/inference/empty.py").read_bytes() == b""


def compiles(path: Path) -> bool:
    """Whether Python would run the file; ``ast.parse`` alone lets bad bytes in comments and repeated keywords pass."""
    try:
        with tokenize.open(path) as stream:
            compile(stream.read(), str(path), "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def test_only_the_configs_that_are_listed_as_broken_do_not_compile() -> None:
    bad = {path.relative_to(ODD).as_posix() for path in ODD.rglob("*.py") if not compiles(path)}
    good_though_odd = {f"broken/inference/{name}.py" for name in ("empty", "only_comments", "name_error")}
    assert bad == {path.relative_to(ODD).as_posix() for path in (ODD / "broken").rglob("*.py")} - good_though_odd


def test_the_canary_config_leaves_its_mark_when_executed(tmp_path: Path) -> None:
    """Else the tests that look for the mark would prove nothing."""
    subprocess.run([sys.executable, ODD / "hostile/inference/canary.py"], cwd=tmp_path, check=True)
    assert (tmp_path / "opensora-rewriter-canary").read_text() == "executed"


@pytest.mark.torch
def test_the_tiny_weights_are_a_cache_that_the_hub_library_has_no_complaint_about(hub_cache: Path) -> None:
    from huggingface_hub import scan_cache_dir

    report = scan_cache_dir(hub_cache)

    assert not report.warnings
    assert {repo.repo_id for repo in report.repos} == set(weights.ALL)
    assert all(revision.refs == {"main"} for repo in report.repos for revision in repo.revisions)
