"""What every test may ask for: copies of the fixture checkouts, tiny weights in a cache, and the command line."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import weights

if TYPE_CHECKING:
    from click.testing import Result

pytest.register_assert_rewrite("executing")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the processes of some tests are to be interrupted

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
NEEDED_TO_LOAD = ("torch", "transformers", "diffusers", "safetensors", "sentencepiece", "mmengine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``torch`` are skipped where the ``[load]`` extra is not installed."""
    missing = [name for name in NEEDED_TO_LOAD if importlib.util.find_spec(name) is None]
    if missing:
        skip = pytest.mark.skip(reason=f"needs the [load] extra: {', '.join(missing)} not installed")
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """What one test made the process remember (statements, readings, edits) is not there for the next."""
    from rewriter import configs, proof, statements
    from rewriter.edits import config as edits

    configs._outlines.clear()
    configs._readings.clear()
    statements._kept.__init__()  # type: ignore[misc]
    edits._EDITED.clear()
    proof._alike.clear()


@pytest.fixture(scope="session", autouse=True)
def _children_are_measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With ``--cov``, the scripts that run in another interpreter are measured too, by a variable that only they get.

    (A variable of the whole environment would reach every process, and some tests tell what a process imports.)
    """
    coverage = sys.modules.get("coverage")
    running = coverage.Coverage.current() if coverage is not None else None
    if running is None:
        yield
        return
    from rewriter import interpreters, resolve, weights

    settings = tmp_path_factory.mktemp("coverage") / "rc"
    settings.write_text(
        f"[run]\nbranch = True\nparallel = True\npatch = _exit\nsource = {Path(resolve.__file__).parent}\n"
        f"data_file = {os.path.abspath(running.get_option('run:data_file'))}\n"
    )
    variable = {"COVERAGE_PROCESS_START": str(settings)}
    environment, kill = weights.probe_environment, resolve.Child.kill

    def kill_later(child: resolve.Child) -> None:
        with suppress(OSError, subprocess.TimeoutExpired):
            child._stdin.close()
            child._process.wait(2.0)  # it writes what was measured when it ends by itself
        kill(child)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreters, "_ADDED", interpreters._ADDED | variable)
        patch.setattr(weights, "probe_environment", lambda *args: environment(*args) | variable)
        patch.setattr(resolve.Child, "kill", kill_later)
        yield


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[[str], Path]:
    """``checkout("v1.2")``: a fresh copy of ``fixtures/v1.2`` below ``tmp_path``, whose bytes may be changed."""

    def copy(tag: str) -> Path:
        target = tmp_path / tag
        shutil.copytree(FIXTURES / tag, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        return target

    return copy


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``run("check", "configs", cwd=root)``: the command line in this process, as click's ``Result``.

    The user's own settings are kept out: no variable that names a cache or a colour is inherited.
    """
    from click.testing import CliRunner, Result

    for name in (
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "HF_TOKEN",
        "OPENSORA_CACHE_DIR",
        "NO_COLOR",
        "FORCE_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)

    apart = {}
    if "mix_stderr" in inspect.signature(CliRunner).parameters:  # click < 8.2 has the two streams apart or together
        apart = {"mix_stderr": False}
        monkeypatch.setattr(Result, "output", property(lambda result: result.stdout + result.stderr))

    def invoke(*args: str | Path, cwd: Path | None = None, stdin: str | bytes | None = None) -> Result:
        from rewriter.cli import main

        if cwd is not None:
            monkeypatch.chdir(cwd)
        return CliRunner(**apart).invoke(main, [str(arg) for arg in args], input=stdin)

    return invoke


@pytest.fixture(scope="session")
def hub_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Hugging Face cache with tiny weights for every repository of ``weights.ALL``. Read it; copy it to change it.

    It is kept between runs (below pytest's own cache folder) for as long as neither this project's recipe nor the
    libraries change, and its files are compared with their blob names before each use.
    """
    from filelock import FileLock

    store = request.config.cache.mkdir("tiny-weights") if hasattr(request.config, "cache") else None
    folder = (store or tmp_path_factory.mktemp("tiny-weights")) / _recipe()
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not _intact(folder / "hub"):
            shutil.rmtree(folder / "hub", ignore_errors=True)
            shutil.rmtree(folder / "new", ignore_errors=True)
            shutil.rmtree(folder / "new-flat", ignore_errors=True)
            weights.build_cache(folder / "new").rename(folder / "hub")
    yield folder / "hub"
    assert _intact(folder / "hub"), "a test changed the shared cache: it must work on a copy"


@pytest.fixture
def hub_copy(hub_cache: Path, tmp_path: Path) -> Path:
    """A copy of ``hub_cache`` that a test may corrupt."""
    return Path(shutil.copytree(hub_cache, tmp_path / "hub", symlinks=True))


def _recipe() -> str:
    """A name for everything that decides about the weights' bytes."""
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in NEEDED_TO_LOAD]
    sources = [
        Path(weights.__file__),
        *sorted((FIXTURES / "v1.2").rglob("*.py")),
        *sorted((FIXTURES / "v1.3").rglob("*.py")),
    ]
    return hashlib.sha256(b"\0".join([*map(str.encode, versions), *(p.read_bytes() for p in sources)])).hexdigest()[:16]


def _intact(cache_dir: Path) -> bool:
    """Whether every repository is there and every file has the content that its blob is named for."""
    for repo_id in weights.ALL:
        repo = cache_dir / ("models--" + repo_id.replace("/", "--"))
        if not (repo / "refs" / "main").is_file() or not weights.snapshot_of(cache_dir, repo_id).is_dir():
            return False
        for link in (repo / "snapshots").rglob("*"):
            if not link.is_dir() and not (link.exists() and _named_right(link)):
                return False
    return True


def _named_right(link: Path) -> bool:
    blob = link.resolve()
    return weights.blob_name(blob, like=link.name) == blob.name
