"""Level build of `verify`: the checkouts' own loaders, built for real, and what is said of each failure."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import weights as tiny

from rewriter.model import Component, Finding, Span
from rewriter.verify import levels
from rewriter.verify.levels import Result, list_builds, run_level
from rewriter.verify.needs import ComponentTrace

needs_mmengine = pytest.mark.skipif(importlib.util.find_spec("mmengine") is None, reason="needs mmengine")

# --- checkouts that need no torch ------------------------------------------------------------------

REGISTRY = """
MODELS = None  # with register_module

def build_module(module, builder, **kwargs):
{body}
"""
CONFIG = 'vae = dict(type="X")\ntext_encoder = None\n'


def write_checkout(
    root: Path, body: str, config: str = CONFIG, package: str = "opensora", **files: str
) -> ComponentTrace:
    """A checkout whose build_module is ``body``; returns the task of its ``vae``."""
    registry = REGISTRY.format(body=textwrap.indent(textwrap.dedent(body), "    "))
    for name, text in {f"{package}/__init__": "", f"{package}/registry": registry, **files}.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    (root / "config.py").write_text(config)
    return make_task(root, root / "config.py", "vae", 7)


def make_task(root: Path, config: Path, name: str, line: int = 1) -> ComponentTrace:
    return ComponentTrace(str(config), str(root), Component((name,), Span(line, 0, line, 0)), "X", ())


def build(*tasks: ComponentTrace, python: str = sys.executable) -> list[Result]:
    return run_level("build", list_builds(tasks), python, lambda: None)


def finding_of(task: ComponentTrace) -> Finding:
    (finding,) = build(task)[0].findings
    return finding


@needs_mmengine
@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("import os; os._exit(3)", "OSR312", "ended with status 3"),
        ("import sys; sys.exit('bye')", "OSR301", "SystemExit: bye"),
        ("raise KeyboardInterrupt", "OSR301", "KeyboardInterrupt"),
        ("import os; print('almost'); os.kill(os.getpid(), 9)", "OSR311", "its last output: almost"),
        ("import os; os.abort()", "OSR312", "crashed (Aborted)"),
        ("raise MemoryError", "OSR311", "not enough memory"),
        ("raise RuntimeError('odd')", "OSR301", "RuntimeError: odd"),
        ("(lambda: None)(cache_dir='/x')", "OSR302", "no parameter cache_dir"),
        ("from_pretrained = 'x'; assert from_pretrained in ['y']", "OSR303", "accepts only its own repo id"),
        ("import colossalai_absent", "OSR307", "has no colossalai_absent"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "OSR301", "fetches a file by itself"),
        ("import socket; socket.socket().connect(('127.0.0.1', 9))", "OSR301", "fetches a file by itself"),
    ],
)
def test_whatever_the_checkout_does_becomes_one_finding(tmp_path: Path, body: str, code: str, words: str) -> None:
    root = tmp_path / "checkout"
    task = write_checkout(root, body)
    results = build(task, make_task(root, root / "config.py", "text_encoder"))
    assert [result.status for result in results] == ["failed", "skipped"], "a dead child takes only its own with it"
    (finding,) = results[0].findings
    assert finding.code == code, finding
    assert words in finding.message
    assert (finding.path, finding.line, finding.component) == (task.path, 7, "vae")
    assert finding.remedy


@needs_mmengine
def test_a_build_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(levels.SECONDS, "build", 3)
    finding = finding_of(write_checkout(tmp_path, "import time; time.sleep(60)"))
    assert (finding.code, "no answer within 3 s" in finding.message) == ("OSR312", True)


@needs_mmengine
def test_the_child_gets_no_credentials_and_an_empty_hugging_face_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "https_proxy", "HF_ENDPOINT"):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("HF_HUB_CACHE", "/of/the/user")
    monkeypatch.setenv("WEIGHTS_OF_MINE", "/mnt/weights")
    body = """
        import os
        leaked = [name for name, value in os.environ.items() if value == "leaked"]
        home = os.environ["HF_HOME"]
        inside = [files for _, folders, files in os.walk(home)]
        inherited = [os.environ[name] for name in ("HF_HUB_OFFLINE", "WEIGHTS_OF_MINE")]
        raise RuntimeError(leaked + sum(inside, inherited) + [os.environ["HF_HUB_CACHE"].startswith(home)])
    """
    message = finding_of(write_checkout(tmp_path / "checkout", body)).message
    assert "RuntimeError: ['1', '/mnt/weights', True]" in message


@needs_mmengine
def test_the_environments_caches_are_lent_each_to_the_library_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, repo in (("HF_HUB_CACHE", "models--o--hub"), ("TRANSFORMERS_CACHE", "models--o--transformers")):
        (tmp_path / name / repo).mkdir(parents=True)
        monkeypatch.setenv(name, str(tmp_path / name))
    body = """
        import os
        names = [os.listdir(os.environ[name]) for name in ("HF_HUB_CACHE", "TRANSFORMERS_CACHE")]
        raise RuntimeError(names)
    """
    task = write_checkout(tmp_path / "checkout", body)
    message = finding_of(task).message
    assert ": RuntimeError: [['models--o--hub'], ['models--o--transformers']] [/" in message


@needs_mmengine
def test_a_config_that_does_not_load_is_said_to_be_that(tmp_path: Path) -> None:
    finding = finding_of(write_checkout(tmp_path, "pass", "vae = dict(type=1 + 'a')\n"))
    assert finding.code == "OSR313"
    assert "vae, config: TypeError: unsupported operand type(s) for +" in finding.message


def test_nothing_to_build_starts_no_interpreter_and_one_that_does_not_exist_is_a_finding(tmp_path: Path) -> None:
    assert build(python="/absent") == []
    absent = str(tmp_path / "python")
    (result,) = build(write_checkout(tmp_path / "checkout", "pass"), python=absent)
    assert [finding.code for finding in result.findings] == ["OSR307"]
    assert absent in result.findings[0].message


# --- what is imported is what upstream's scripts would import -------------------------------------

SAYS_WHERE = "raise RuntimeError(__file__)"


@needs_mmengine
def test_an_installed_copy_is_built_as_upstreams_scripts_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python scripts/inference.py` has scripts/ on its path, not the checkout: `pip install .` decides what runs."""
    task = write_checkout(tmp_path / "checkout", SAYS_WHERE)
    assert str(tmp_path / "checkout" / "opensora" / "registry.py") in finding_of(task).message
    write_checkout(tmp_path / "installed", SAYS_WHERE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    assert str(tmp_path / "installed" / "opensora" / "registry.py") in finding_of(task).message


@needs_mmengine
def test_modules_beside_the_scripts_come_first_and_the_working_directory_is_the_checkout(tmp_path: Path) -> None:
    body = "import os, helper; raise RuntimeError(helper.NAME + ' ' + os.getcwd())"
    files = {"scripts/helper": "NAME = 'of the scripts'", "helper": "NAME = 'of the root'"}
    task = write_checkout(tmp_path, body, **files)
    assert f"RuntimeError: of the scripts {os.path.realpath(tmp_path)}" in finding_of(task).message


@needs_mmengine
@pytest.mark.parametrize("package", ["javisdit", "src/javisdit", "opensora/opensora"])
def test_the_package_of_a_derived_project_is_imported_by_its_own_name(tmp_path: Path, package: str) -> None:
    task = write_checkout(tmp_path, SAYS_WHERE, package=package)
    assert str(tmp_path / package / "registry.py") in finding_of(task).message


# --- the fixture checkouts, as level build builds them --------------------------------------------


@pytest.fixture(scope="module")
def built(hub_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Components of the v1.2 fixture, in one child: name -> result."""
    root = tmp_path_factory.mktemp("built") / "v1.2"
    shutil.copytree(tiny.FIXTURES / "v1.2", root, ignore=shutil.ignore_patterns("__pycache__"))
    cache = f"cache_dir={str(hub_cache)!r}"
    dicts = {
        "kl": f"dict(type='VideoAutoencoderKL', from_pretrained={tiny.KL!r}, {cache})",
        "again": f"dict(type='VideoAutoencoderKL', from_pretrained={tiny.KL!r}, {cache})",
        "rejected": f"dict(type='OpenSoraVAE_V1_2', from_pretrained={tiny.VAE_V1_2!r}, {cache})",
        "unreached": f"dict(type='OpenSoraVAE_V1_2', from_pretrained={tiny.VAE_V1_2!r})",
        "absent": f"dict(type='VideoAutoencoderKL', from_pretrained='example-org/absent', {cache})",
        "local": f"dict(type='t5', from_pretrained='./pretrained_models/t5', {cache})",
        "path": "dict(type='VideoAutoencoderKL', from_pretrained='./pretrained_models/vae')",
        "moved": "dict(type='OpenSoraVAE_V1_2', from_pretrained='/absent/OpenSora-VAE-v1.2')",
        "unknown": "dict(type='NoSuchType')",
        "text_encoder": f"dict(type='t5', from_pretrained={tiny.T5!r}, {cache})",
    }
    config = root / "configs" / "made.py"
    config.write_text("".join(f"{name} = {value}\n" for name, value in dicts.items()))
    tasks = [make_task(root, config, name) for name in dicts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(root.parent / "empty"))
        return {result.task.subject: result for result in build(*tasks)}


@pytest.mark.torch
def test_components_that_cache_dir_reaches_are_built_and_equal_dicts_once(built: dict[str, Result]) -> None:
    assert (built["kl"].status, built["kl"].outcome) == ("ok", "built, 3,135 parameters")
    assert built["text_encoder"].status == "ok"
    assert not built["text_encoder"].outcome.startswith("built, 0 "), "a text encoder is no module, but it holds one"
    assert built["again"].same_as
    assert not built["kl"].same_as


@pytest.mark.torch
@pytest.mark.parametrize(
    ("component", "code", "words"),
    [
        ("rejected", "OSR302", "OpenSoraVAE_V1_2() got an unexpected keyword argument 'cache_dir'"),
        ("unreached", "OSR304", f"{tiny.VAE_V1_2} is not complete in"),
        ("absent", "OSR304", "example-org/absent is not complete in"),
        ("local", "OSR303", "accepts only its own repo id"),
        ("path", "OSR305", "./pretrained_models/vae is a path that does not exist"),
        ("moved", "OSR305", "/absent/OpenSora-VAE-v1.2 is a path that does not exist"),
        ("unknown", "OSR315", "NoSuchType"),
    ],
)
def test_failures_of_a_real_loader_are_explained(
    built: dict[str, Result], component: str, code: str, words: str
) -> None:
    (finding,) = built[component].findings
    assert finding.code == code, finding
    assert words in finding.message
    assert finding.remedy
    if component == "moved":
        assert finding.remedy.endswith(f"--set moved.from_pretrained={tiny.VAE_V1_2}")


# --- every loader of the releases, before and after `rewrite`, compared with the cached tensors ------

PROBE = Path(tiny.__file__).with_name("build_probe.py")


def build_and_compare(root: Path, hub_cache: Path, builds: list[dict[str, object]]) -> dict[str, str]:
    """Build every component of ``builds`` in one child process in ``root``; returns each one's outcome by its label.

    The child sees no network, an empty HF_HOME and HF_HUB_OFFLINE=1, so that only ``cache_dir`` can supply weights.
    """
    home = str(root.parent / "empty-home")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    env |= {"HF_HOME": home, "HOME": home, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    job = json.dumps({"cache": str(hub_cache), "builds": builds})
    how: dict[str, Any] = {"input": job, "cwd": root, "env": env, "capture_output": True, "text": True, "timeout": 300}
    child = subprocess.run([sys.executable, str(PROBE)], **how, check=False)
    assert child.returncode == 0, child.stderr
    answers: dict[str, dict[str, str]] = json.loads(child.stdout)
    return {label: answer["outcome"] for label, answer in answers.items()}


#: One config for each component that a release registers: config, component, and the repository that holds it.
CLASSES = ("configs/dit/inference/1x256x256-class.py", "text_encoder", None)
CLIP = ("configs/dit/inference/16x256x256.py", "text_encoder", tiny.CLIP)
T5 = ("configs/opensora/inference/16x256x256.py", "text_encoder", tiny.T5)
KL = ("configs/opensora/inference/16x256x256.py", "vae", tiny.KL)
TEMPORAL = ("configs/latte/inference/16x256x256-temporal.py", "vae", tiny.TEMPORAL_DECODER)
T5_NONE = ("configs/opensora-v1-1/inference/sample.py", "text_encoder", tiny.T5)
STDIT2 = ("configs/opensora-v1-1/inference/sample.py", "model", tiny.STDIT2)
VAE_V1_2 = ("configs/opensora-v1-2/inference/sample.py", "vae", tiny.VAE_V1_2)
STDIT3 = ("configs/opensora-v1-2/inference/sample.py", "model", tiny.STDIT3)
VAE_V1_3 = ("configs/opensora-v1-3/inference/t2v.py", "vae", tiny.VAE_V1_3)

#: The components of each release.
COMPONENTS: dict[str, tuple[tuple[str, str, str | None], ...]] = {"v1.0": (CLASSES, CLIP, T5, KL, TEMPORAL)}
COMPONENTS["v1.1"] = (*COMPONENTS["v1.0"], T5_NONE, STDIT2)
COMPONENTS["v1.2"] = (*COMPONENTS["v1.1"], VAE_V1_2, STDIT3)
COMPONENTS["v1.3"] = (*COMPONENTS["v1.2"], VAE_V1_3)


def rewrite(path: Path, *args: str | Path) -> None:
    """Run ``opensora-rewriter rewrite``; a refused component (exit 1) is no failure of the run."""
    from click.testing import CliRunner

    from rewriter.cli import main

    result = CliRunner().invoke(main, ["rewrite", str(path), "--no-resolve", *map(str, args)])
    assert result.exit_code in (0, 1), result.output


@pytest.fixture(scope="module", params=tuple(COMPONENTS))
def rewritten(
    request: pytest.FixtureRequest, hub_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """A checkout after ``rewrite``: how its configs ("own") and those "released" build, and t5 from a parent folder."""
    tag = request.param
    root = tmp_path_factory.mktemp("rewritten") / tag
    shutil.copytree(tiny.FIXTURES / tag, root, ignore=shutil.ignore_patterns("__pycache__"))
    rewrite(root, "--all-configs", "--all-components", "--cache-dir", hub_cache)
    if tag == "v1.3":  # the authors' own path, cured as the refusal says
        rewrite(root / VAE_V1_3[0], "--cache-dir", hub_cache, "--set", f"vae.from_pretrained={tiny.VAE_V1_3}")
    (root.parent / "t5-v1_1-xxl").symlink_to(tiny.snapshot_of(hub_cache, tiny.T5))
    parent = {"type": "t5", "from_pretrained": str(root.parent)}
    builds: list[dict[str, object]] = [{"label": f"{tag} parent", "dict": parent, "repo": tiny.T5}]
    for config, component, repo in COMPONENTS[tag]:
        for label, folder in (("own", root), ("released", tiny.FIXTURES / tag)):
            where = {"config": str(folder / config), "component": component, "repo": repo}
            builds.append({"label": f"{label} {config} {component}", **where})
    return build_and_compare(root, hub_cache, builds)


@pytest.mark.torch
def test_a_rewritten_checkout_loads_the_cached_weights_and_without_cache_dir_behaves_as_before(
    rewritten: dict[str, str],
) -> None:
    assert {rewritten.pop(f"{label} {CLASSES[0]} {CLASSES[1]}") for label in ("own", "released")} == {"builds"}
    for label, outcome in rewritten.items():
        if label.startswith("released "):  # with whatever exception is the library's own
            assert outcome not in ("loads", "builds", "differs", "rejects cache_dir"), label
        else:
            assert (outcome == "loads") == (label.startswith("own ") or label == "v1.0 parent"), label
