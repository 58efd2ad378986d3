"""What every test may use: copies of the fixture checkouts, tiny weights in a cache, and the command line."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import weights

if TYPE_CHECKING:
    from click.testing import Result

pytest.register_assert_rewrite("loading", "proving")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell sets this for background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)  # some tests interrupt their child processes

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
NEEDED_TO_LOAD = ("torch", "transformers", "diffusers", "safetensors", "sentencepiece", "mmengine")
Become = Callable[[], AbstractContextManager[None]]
USER_VARIABLES = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "OPENSORA_CACHE_DIR",
    "NO_COLOR",
    "FORCE_COLOR",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``torch`` are skipped where the ``[load]`` extra is not installed."""
    missing = [name for name in NEEDED_TO_LOAD if importlib.util.find_spec(name) is None]
    if missing:
        skip = pytest.mark.skip(reason=f"needs the [load] extra: {', '.join(missing)} not installed")
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(skip)


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[[str], Path]:
    """``checkout("v1.2")``: a fresh copy of ``fixtures/v1.2`` below ``tmp_path`` that may be changed."""

    def copy(tag: str) -> Path:
        target = tmp_path / tag
        shutil.copytree(FIXTURES / tag, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        return target

    return copy


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``run("check", "configs", cwd=root)``: the command line in this process, as click's ``Result``.

    Variables of the user's that name a cache or a colour are removed first.
    """
    from click.testing import CliRunner, Result

    for name in USER_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    options = {}
    if "mix_stderr" in inspect.signature(CliRunner).parameters:  # click < 8.2 separates the streams on request only
        options = {"mix_stderr": False}
        monkeypatch.setattr(Result, "output", property(lambda result: result.stdout + result.stderr))

    def invoke(*args: str | Path, cwd: Path | None = None, stdin: str | bytes | None = None) -> Result:
        from rewriter.cli import main

        if cwd is not None:
            monkeypatch.chdir(cwd)
        return CliRunner(**options).invoke(main, [str(arg) for arg in args], input=stdin)

    return invoke


@pytest.fixture
def as_nobody(tmp_path: Path) -> Become:
    """``with as_nobody():`` for root, who reads everything: another user, who can pass through the temporary folders.

    Import all that is needed before: nobody may not read Python's own library.
    """

    @contextmanager
    def become() -> Iterator[None]:
        is_root = os.geteuid() == 0
        for folder in (tmp_path, *tmp_path.parents) if is_root else ():
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)  # passable, for other workers' tests at the same time
        try:
            if is_root:
                os.seteuid(65534)
            yield
        finally:
            if is_root:
                os.seteuid(0)

    return become


@pytest.fixture(scope="session")
def hub_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Hugging Face cache with tiny weights for every repo of ``weights.ALL``. Read it; copy it to change it.

    It is kept between runs in pytest's cache folder until this project's recipe or a library changes, and its files are
    compared with their blob names before and after use.
    """
    from filelock import FileLock

    store = request.config.cache.mkdir("tiny-weights") if hasattr(request.config, "cache") else None
    folder = (store or tmp_path_factory.mktemp("tiny-weights")) / _name_recipe()
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not _is_intact(folder / "hub"):
            for name in ("hub", "new", "new-flat"):
                shutil.rmtree(folder / name, ignore_errors=True)
            weights.build_cache(folder / "new").rename(folder / "hub")
    yield folder / "hub"
    assert _is_intact(folder / "hub"), "a test changed the shared cache: it must work on a copy"


@pytest.fixture
def hub_copy(hub_cache: Path, tmp_path: Path) -> Path:
    """A copy of ``hub_cache`` that a test may corrupt."""
    return Path(shutil.copytree(hub_cache, tmp_path / "hub", symlinks=True))


def _name_recipe() -> str:
    """A name for everything that decides the bytes of the weights."""
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in NEEDED_TO_LOAD]
    checkouts = [FIXTURES / tag / "opensora" for tag in sorted(set(weights.MADE_IN.values()))]
    sources = [Path(weights.__file__), *(path for folder in checkouts for path in sorted(folder.rglob("*.py")))]
    return hashlib.sha256(b"\0".join([*map(str.encode, versions), *(p.read_bytes() for p in sources)])).hexdigest()[:16]


def _is_intact(cache_dir: Path) -> bool:
    """Whether every repo is there and every file has the content that its blob is named after."""
    for repo_id in weights.ALL:
        repo = cache_dir / ("models--" + repo_id.replace("/", "--"))
        if not (repo / "refs" / "main").is_file() or not weights.snapshot_of(cache_dir, repo_id).is_dir():
            return False
        links = [path for path in (repo / "snapshots").rglob("*") if not path.is_dir()]
        if not all(link.exists() and weights.blob_name(link, link.name) == link.resolve().name for link in links):
            return False
    return True
