"""Which Python runs a probe, which site-packages it would import from, and what the environment passes on to it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from answering import script

from rewriter.process.children import lend_caches
from rewriter.process.interpreters import child_environment, choose_interpreter, find_interpreter, site_packages


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)


def python(path: Path, status: int) -> str:
    return script(path, f"#!/bin/sh\nexit {status}\n")


# --- which interpreter ----------------------------------------------------------------------------


def test_the_active_environment_comes_before_our_own_and_only_with_the_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_it = python(tmp_path / "with/bin/python", 0)
    python(tmp_path / "without/bin/python", 3)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "without"))
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "with"))
    assert find_interpreter(None, "json") == with_it
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "with"))
    assert find_interpreter(None, "json") == with_it
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "gone"))
    monkeypatch.delenv("CONDA_PREFIX")
    assert find_interpreter(None, "json") == sys.executable


def test_a_real_environment_without_the_module_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "bare"))
    bare = str(tmp_path / "bare" / "bin" / "python")
    assert find_interpreter(None, "json") == bare
    assert find_interpreter(None, "pytest") == sys.executable
    assert site_packages(None) == str(next((tmp_path / "bare" / "lib").glob("python3*/site-packages")))


def test_the_probe_itself_reports_what_a_named_interpreter_lacks(tmp_path: Path) -> None:
    absent = str(tmp_path / "python")
    assert choose_interpreter(absent, "torch") == find_interpreter(absent, "torch") == absent
    assert find_interpreter(None, "no_such_module") is None
    assert choose_interpreter(None, "no_such_module") == sys.executable


# --- site-packages, by files alone ----------------------------------------------------------------


def environment(prefix: Path, *versions: str) -> str:
    """An environment whose interpreter would fail the test if it were started; returns its site-packages."""
    script(prefix / "bin" / "python", "#!/bin/sh\ntouch started\n")
    folders = [prefix / "lib" / f"python{version}" / "site-packages" for version in versions]
    for folder in folders:
        folder.mkdir(parents=True)
    return str(folders[0])


def test_site_packages_are_those_of_the_named_interpreter_else_of_the_active_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named, active, conda = (environment(tmp_path / name, "3.10") for name in ("named", "active", "conda"))
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    assert site_packages(None) == conda
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    assert site_packages(None) == active
    assert site_packages(str(tmp_path / "named/bin/python")) == named
    assert not (tmp_path / "started").exists()


def test_the_environment_of_this_tool_is_looked_at_only_if_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site_packages(None) is None
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert site_packages(None) is None
    assert site_packages(str(tmp_path / "missing")) is None
    assert site_packages(sys.executable) == os.path.dirname(os.path.dirname(pytest.__file__))


# --- what a child gets of the environment ---------------------------------------------------------


def test_credentials_proxies_and_other_caches_are_never_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "https_proxy", "HF_ENDPOINT", "TRANSFORMERS_CACHE",
             "PYTORCH_TRANSFORMERS_CACHE", "DIFFUSERS_CACHE", "WANDB_API_KEY", "MY_PASSWORD")  # fmt: skip
    for name in (*names, "MY_DATA"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in child_environment().values()
    assert [name for name, value in child_environment(inherit=True).items() if value == "secret"] == ["MY_DATA"]
    assert "PATH" in child_environment()
    for inherit in (False, True):
        assert child_environment(inherit=inherit)["HF_HUB_OFFLINE"] == "1"


def test_a_cache_is_lent_without_being_written_to(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--org--name" / "refs"
    repo.mkdir(parents=True)
    (repo / "main").write_text("0" * 40)
    lent = Path(lend_caches(str(tmp_path / "scratch"), {"HF_HUB_CACHE": str(tmp_path / "hub")})["HF_HUB_CACHE"])
    (lent / "version.txt").write_text("1")  # as transformers 4 does
    assert (lent / "models--org--name" / "refs" / "main").read_text() == "0" * 40
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["models--org--name"]
