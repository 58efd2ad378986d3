"""An installed copy that runs in the place of the checkout is found by files alone, and said (OSR014)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import FIXTURES

from rewriter import checkout
from rewriter.decide.installed import find_installed, report_installed
from rewriter.decide.plan import Loaders, rewrite
from rewriter.decide.request import Request
from rewriter.model import Finding

SAMPLE = "configs/opensora-v1-2/inference/sample.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "Open-Sora"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The site-packages of the environment that VIRTUAL_ENV names."""
    prefix = tmp_path / "env"
    monkeypatch.setenv("VIRTUAL_ENV", str(prefix))
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").touch(mode=0o755)
    folder = prefix / "lib" / "python3.11" / "site-packages"
    folder.mkdir(parents=True)
    return folder


def report(root: Path) -> list[Finding]:
    selection = checkout.select([SAMPLE], cwd=str(root))
    return report_installed(rewrite(selection.targets, Request(cache_dir="/models/hf/hub"), Loaders()), None)


def test_a_copy_made_by_pip_install_is_stale_once_the_loader_is_edited(root: Path, site: Path) -> None:
    shutil.copytree(root / "opensora", site / "opensora")

    (finding,) = report(root)

    assert (finding.code, finding.severity) == ("OSR014", "warning")
    assert str(site / "opensora") in finding.message
    assert "models/vae/vae.py differs" in finding.message
    assert finding.remedy == f"{site.parents[2] / 'bin' / 'python'} -m pip install -e {root}"


def test_an_editable_install_of_this_checkout_is_no_copy(root: Path, site: Path) -> None:
    (site / "__editable__.opensora-1.2.0.pth").write_text(f"{root}\n")

    assert find_installed(str(root / "opensora"), str(site)) == str(root / "opensora")
    assert report(root) == []


def test_an_editable_install_of_another_checkout_is_said(root: Path, site: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "elsewhere"))
    finder = f"MAPPING: dict[str, str] = {{'opensora': '{other / 'opensora'}'}}\n"
    (site / "__editable___opensora_1_2_0_finder.py").write_text(finder)

    (finding,) = report(root)

    assert str(other / "opensora") in finding.message


def test_nothing_is_said_where_nothing_is_installed(root: Path, site: Path) -> None:
    (site / "__editable___other_finder.py").write_text("MAPPING: dict[str, str] = {'other': '/src/other'}\n")
    (site / "other.pth").write_text("import other\n")

    assert report(root) == []
