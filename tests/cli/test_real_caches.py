"""``verify``, ``lock`` and ``adopt`` as a user meets them: caches that libraries wrote, and that they read."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from weights import PIXART, T5, VAE_V1_2, VAE_V1_3, snapshot_of

from rewriter.cli import main

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SAMPLE = "configs/opensora-v1-2/inference/sample.py"
RELEASES = {
    "v1.0": "configs/opensora/inference/16x256x256.py",
    "v1.1": "configs/opensora-v1-1/inference/sample.py",
    "v1.2": SAMPLE,
    "v1.3": "configs/opensora-v1-3/inference/t2v.py",
}
Run = Callable[..., Result]
Checkout = Callable[[str], Path]

pytestmark = pytest.mark.torch


# --- a rewritten checkout and the cache that it names ------------------------------------------------


@dataclass(frozen=True)
class Place:
    """``root``: v1.2, rewritten to load from ``hub``, which is made anew for each test."""

    root: Path
    hub: Path


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> Place:
    base = tmp_path_factory.mktemp("verify")
    place = Place(base / "v1.2", base / "hub")
    place.hub.mkdir()
    shutil.copytree(FIXTURES / "v1.2", place.root)
    done = CliRunner().invoke(main, ["rewrite", str(place.root), "--cache-dir", str(place.hub), "--no-resolve"])
    assert done.exit_code == 0, done.output
    return place


@pytest.fixture
def place(rewritten: Place, hub_cache: Path) -> Place:
    shutil.rmtree(rewritten.hub)
    shutil.copytree(hub_cache, rewritten.hub, symlinks=True)
    return rewritten


def find_codes(done: Result) -> list[str]:
    """The codes of the findings of a report, in its order; a warning's with a mark."""
    assert done.exit_code in (0, 1), (done.output, done.exception)
    return re.findall(r"^\S.*:\d+:\d+: (OSR\d+(?: \(warning\))?)", done.stdout, re.MULTILINE)


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Every name below ``folder``: what it is or leads to, and when it was changed."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        info = path.lstat()
        content = os.readlink(path) if path.is_symlink() else "folder"
        if path.is_file() and not path.is_symlink():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = content, info.st_mtime_ns
    return found


@pytest.mark.parametrize("options", [(), ("--hash",)], ids=["plain", "hash"])
def test_an_intact_cache_is_whole_and_stays_untouched(place: Place, run: Run, options: tuple[str, ...]) -> None:
    before = tree(place.hub)
    done = run("verify", SAMPLE, *options, cwd=place.root)
    assert find_codes(done) == ["OSR117 (warning)"]  # PixArt's VAE, which the loader's source alone names
    assert set(re.findall(r"ok: (\S+) at", done.stdout)) == {T5, VAE_V1_2, PIXART}
    assert "everything that the loaders request is there" in done.stdout
    assert ("hashed" in done.stdout) == bool(options)
    assert tree(place.hub) == before


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, hub_cache: Path) -> Result:
    """``verify --level build`` of all four releases at once, the first from a cache that ``adopt`` made."""
    base = tmp_path_factory.mktemp("levels")
    runner = CliRunner()
    adopted = base / "adopted"
    shutil.copytree(hub_cache, adopted, symlinks=True)
    shutil.copytree(snapshot_of(adopted, T5), base / "flat")
    shutil.rmtree(adopted / ("models--" + T5.replace("/", "--")))
    done = runner.invoke(main, ["adopt", str(base / "flat"), "--repo", T5, "--cache-dir", str(adopted)])
    assert done.exit_code == 0, done.output
    for tag, config in RELEASES.items():
        shutil.copytree(FIXTURES / tag, base / tag)
        hub = adopted if tag == "v1.0" else hub_cache
        sets = ("--set", f"vae.from_pretrained={VAE_V1_3}", "--set", f"text_encoder.from_pretrained={T5}")
        options = ("--cache-dir", str(hub), "--no-resolve", *(sets if tag == "v1.3" else ()))
        done = runner.invoke(main, ["rewrite", str(base / tag / config), *options])
        assert done.exit_code == 0, done.output
    before = tree(hub_cache)
    result = runner.invoke(
        main, ["verify", *(str(base / tag / config) for tag, config in RELEASES.items()), "--level", "build"]
    )
    assert tree(hub_cache) == before
    return result


def test_every_release_loads_and_builds_what_its_configs_ask_for(built: Result) -> None:
    assert built.exit_code == 0
    assert not [code for code in find_codes(built) if "warning" not in code]
    assert "load     failed" not in built.stdout
    assert len(re.findall(r"^load     ok", built.stdout, re.MULTILINE)) >= 8
    for tag in RELEASES:
        for component in ("text_encoder", "vae"):
            assert re.search(rf"^build    ok: \S*/{tag}/configs/\S+ {component}: built", built.stdout, re.MULTILINE)
    assert re.search(r"^cache    ok: DeepFloyd/\S+ at \w+ in \S*/adopted:", built.stdout, re.MULTILINE)
