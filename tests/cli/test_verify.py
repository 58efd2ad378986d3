"""``verify``, ``lock`` and ``adopt`` on caches of a few bytes, which no library has to read: what each of them prints.

:mod:`test_real_caches` holds the same commands against weights that libraries read.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from answering import interpreter, well
from caches import COMMIT, OTHER, SHARDS, T5, make_repo, safetensors, t5_files
from click.testing import Result

from rewriter.verify.levels import resolve_configs

Run = Callable[..., Result]
Checkout = Callable[[str], Path]
KL = "stabilityai/sd-vae-ft-ema"
STDIT = "hpcai-tech/OpenSora-STDiT-v2-stage3"


@pytest.fixture(autouse=True)
def _without_mmengine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Level resolve is passed over, which is quicker."""
    monkeypatch.setattr("rewriter.cli.verify.resolve_configs", lambda targets, python: [])


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    place = tmp_path / "hub"
    make_repo(place, T5, t5_files())
    make_repo(place, KL, {"config.json": b"{}", "diffusion_pytorch_model.safetensors": safetensors()})
    return place


@pytest.fixture
def root(checkout: Checkout) -> Path:
    return checkout("v1.1")


def config(root: Path, hub: Path | None, *lines: str, name: str = "own") -> str:
    """A config of ``root`` whose text_encoder and vae load from ``hub``, and more lines; its path from there."""
    given = "" if hub is None else f", cache_dir={str(hub)!r}"
    text = (
        f'text_encoder = dict(type="t5", from_pretrained="{T5}"{given})\n'
        f'vae = dict(type="VideoAutoencoderKL", from_pretrained="{KL}"{given})\n'
    )
    (root / f"configs/{name}.py").write_text(text + "".join(f"{line}\n" for line in lines))
    return f"configs/{name}.py"


def snapshot(hub: Path, repo_id: str) -> Path:
    return hub / ("models--" + repo_id.replace("/", "--")) / "snapshots" / COMMIT


# --- verify: what lies in the cache --------------------------------------------------------------


def test_what_is_there_is_reported_line_by_line(run: Run, root: Path, hub: Path) -> None:
    done = run("verify", config(root, hub), "--hash", cwd=root)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        "resolve  1 of 1 config load\n"
        f"cache    ok: {T5} at 0123456789ab in {hub}: 7 files, 1.9 kB, 7 hashed\n"
        f"cache    ok: {KL} at 0123456789ab in {hub}: 2 files, 136 B, 2 hashed\n"
        "verify   level cache: 1 config, 2 repos: everything that the loaders request is there\n"
    )
    quiet = run("verify", config(root, hub), "--quiet", cwd=root)
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_what_is_not_there_or_not_whole_is_reported_apart(run: Run, root: Path, hub: Path) -> None:
    shutil.rmtree(snapshot(hub, KL).parent.parent)
    (snapshot(hub, T5) / "config.json").unlink()
    done = run("verify", config(root, hub), cwd=root)
    lines = done.stdout.splitlines()
    assert done.exit_code == 1
    assert lines[1:3] == [f"cache    not whole: {T5} in {hub}", f"cache    not found: {KL} in {hub}"]
    assert [line.split(": ")[1].split()[0] for line in lines if line.startswith("configs/")] == ["OSR113", "OSR107"]
    assert "verify   level cache: 1 config, 2 repos: 2 errors found" in lines
    assert lines[-1].startswith("verify   level cache: ")


def test_what_was_not_selected_is_said(run: Run, root: Path, hub: Path) -> None:
    """A green `verify` without --all-components while the model's path was lost."""
    path = config(root, hub, 'model = dict(type="STDiT2-XL/2", from_pretrained="/lost/OpenSora-STDiT-v2-stage3")')
    done = run("verify", path, cwd=root)
    assert (done.exit_code, "not verified, since not selected: model (--all-components)" in done.stderr) == (0, True)
    assert "not selected" not in run("verify", path, "--all-components", cwd=root).stderr


def test_a_directory_that_never_arrives_is_cured_by_the_pasted_remedy(run: Run, root: Path, hub: Path) -> None:
    make_repo(hub, STDIT, {"config.json": b"{}", "model.safetensors": safetensors()})
    path = config(root, hub, f'model = dict(type="STDiT2-XL/2", from_pretrained="{STDIT}", cache_dir={str(hub)!r})')
    words = ("verify", path, "--all-components", "--output-format", "json")
    finding = json.loads(run(*words, cwd=root).stdout)["findings"][-1]
    assert (finding["code"], finding["component"]) == ("OSR005", "model")
    assert finding["message"].startswith("cache_dir never reaches STDiT2.from_pretrained")
    assert run(*shlex.split(finding["remedy"])[1:], "--no-resolve", cwd=root).exit_code == 0
    shown = json.loads(run(*words, cwd=root).stdout)
    assert (shown["exit_code"], shown["findings"]) == (0, [])


@pytest.mark.parametrize(
    ("major", "place"), [(4, "TRANSFORMERS_CACHE, which transformers 4 reads first"), (5, "HF_HUB_CACHE")]
)
def test_without_cache_dir_the_directory_of_the_interpreters_transformers_is_read(
    run: Run, root: Path, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, major: int, place: str
) -> None:
    site = tmp_path / "env/lib/python3.11/site-packages" / f"transformers-{major}.1.0.dist-info"
    site.mkdir(parents=True)
    monkeypatch.setenv("TRANSFORMERS_CACHE", str(hub))
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    words = ("verify", config(root, None), "--python", tmp_path / "env/bin/python", "--component", "text_encoder")
    done = run(*words, cwd=root)
    line = f"cache    where no cache_dir reaches the loader: {hub} (from the environment's {place})\n"
    assert (done.exit_code, line in done.stdout) == (0, True)
    assert ("TRANSFORMERS_CACHE is set, but no library in use reads it" in done.stderr) == (major == 5)


# --- verify: mmengine ----------------------------------------------------------------------------


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("rewriter.cli.verify.resolve_configs", resolve_configs)
    return monkeypatch


def test_level_resolve_insists_on_mmengine_and_later_levels_do_not(
    run: Run, root: Path, hub: Path, resolves: pytest.MonkeyPatch
) -> None:
    resolves.setattr("rewriter.verify.levels.find_interpreter", lambda python, modules: None)
    done = run("verify", config(root, hub), "--level", "resolve", cwd=root)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: no interpreter with mmengine is found\n"
        "  pip install 'opensora-rewriter[resolve]', or name one that has it with --python\n"
    )
    done = run("verify", config(root, hub), cwd=root)
    assert done.exit_code == 0
    assert done.stdout.startswith(
        "resolve  mmengine did not load the configs (no interpreter with mmengine is found): "
    )


def test_level_resolve_loads_the_configs(run: Run, root: Path, hub: Path, resolves: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mmengine")
    resolves.setattr("rewriter.verify.levels.find_interpreter", lambda python, modules: sys.executable)
    path = config(root, hub)
    done = run("verify", path, "--level", "resolve", cwd=root)
    assert (done.exit_code, done.stdout) == (
        0,
        "resolve  1 of 1 config load\nverify   level resolve: 1 config, 2 repos: they resolve; no repo was inspected\n",
    )
    bad = config(root, hub, "undefined_name", name="bad")
    (root / "configs/broken.py").write_text("vae = (\n")
    done = run("verify", path, bad, "configs/broken.py", cwd=root)
    assert done.exit_code == 1
    assert done.stdout.startswith("resolve  1 of 2 configs load\n")
    shown = [line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("configs/")]
    assert shown == ["OSR901", "OSR900"]
    assert "    mmengine cannot load it: NameError: name 'undefined_name' is not defined\n" in done.stdout


# --- verify: an interpreter that answers ---------------------------------------------------------


def lines_of(done: Result, level: str) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith(level + " ")]


def test_what_level_load_compared_is_reported_check_by_check(run: Run, root: Path, hub: Path, tmp_path: Path) -> None:
    checked = "['9 of 9 tensors match'] if 'KL' in task['class_name'] else []"
    python = interpreter(tmp_path, well(checked=checked))
    done = run("verify", config(root, hub), "--level", "load", "--python", python, cwd=root)
    assert done.exit_code == 0, done.output
    assert lines_of(done, "load") == [
        f"load     ok: {T5} (AutoTokenizer): nothing could be compared (0.3 s)",
        f"load     ok: {T5} (T5EncoderModel): nothing could be compared (0.3 s)",
        f"load     ok: {KL} (AutoencoderKL): 9 of 9 tensors match (0.3 s)",
    ]
    assert done.stdout.endswith(
        "verify   level load: 1 config, 2 repos: everything that the loaders request is there\n"
    )


def test_level_build_lists_equal_dicts_once(run: Run, root: Path, hub: Path, tmp_path: Path) -> None:
    first = config(root, hub, name="a")
    second = config(root, hub, "ae = dict(vae=vae)", name="b")  # what is within is built with what is around it
    python = interpreter(tmp_path, well(same_as="'a.py' if task.get('config', '').endswith('b.py') else ''"))
    words = ("verify", first, second, "--level", "build", "--python", python)
    done = run(*words, cwd=root)
    assert done.exit_code == 0, done.output
    built = [f"build    ok: {first} {name}: built, 12,345 parameters (0.3 s)" for name in ("text_encoder", "vae")]
    assert lines_of(done, "build") == built
    assert lines_of(run(*words, "--verbose", cwd=root), "build") == built + [
        line.replace("a.py", "b.py") for line in built
    ]


def test_what_level_load_leaves_is_said_until_it_is_built(run: Run, root: Path, hub: Path, tmp_path: Path) -> None:
    python = interpreter(tmp_path, well(deferred="'its own code' if 'KL' in task.get('class_name', '') else ''"))
    words = ("verify", path := config(root, hub), "--python", python, "--level")
    left = run(*words, "load", cwd=root).stdout
    assert f"-> opensora-rewriter verify {path} --component vae --level build\n" in left
    assert left.endswith("is there; 1 model could not be compared\n")
    assert "OSR212" not in run(*words, "build", cwd=root).stdout


# --- lock ----------------------------------------------------------------------------------------


def test_a_lock_is_written_compared_and_left_alone(run: Run, root: Path, hub: Path) -> None:
    path = config(root, hub)
    done = run("lock", path, cwd=root)
    assert (done.exit_code, done.output) == (0, "wrote opensora-models.lock (2 repos)\n")
    assert run("lock", path, cwd=root).output == "unchanged: opensora-models.lock (2 repos)\n"
    assert run("lock", path, "--quiet", cwd=root).output == ""
    words = ("verify", path, "--lock", "opensora-models.lock", "--quiet")
    assert run(*words, cwd=root).output == ""
    (snapshot(hub, KL).parent.parent / "refs/main").write_text(OTHER)
    snapshot(hub, KL).rename(snapshot(hub, KL).with_name(OTHER))
    changed = run(*words, cwd=root)
    assert changed.exit_code == 1
    assert changed.stdout.startswith("opensora-models.lock:47:1: OSR121\n")


def test_a_lock_of_weights_that_are_not_whole_is_not_written(run: Run, root: Path, hub: Path) -> None:
    (snapshot(hub, T5) / SHARDS[1]).unlink()
    done = run("lock", config(root, hub), cwd=root)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("configs/own.py:1:1: OSR113 text_encoder\n")
    assert done.stderr.endswith(
        "error: the cache does not hold everything; no lock was written\n  cure the findings above, then lock again\n"
    )
    assert not (root / "opensora-models.lock").exists()


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"version = 2\n", "this lock says 2; this program reads version = 1: upgrade it, or lock again"),
    ],
)
def test_a_lock_that_cannot_be_used_is_reported(
    run: Run, root: Path, hub: Path, tmp_path: Path, content: bytes | None, shown: str
) -> None:
    lock = tmp_path / "models.lock"
    if content is not None:
        lock.write_bytes(content)
    done = run("verify", config(root, hub), "--lock", lock, cwd=root)
    remedy = "opensora-rewriter lock writes a new one"
    assert (done.exit_code, done.stderr) == (2, f"error: {lock}: {shown}\n  {remedy}\n")


# --- adopt ---------------------------------------------------------------------------------------


def test_a_flat_download_is_adopted_once(run: Run, root: Path, hub: Path, tmp_path: Path) -> None:
    flat = tmp_path / "sd-vae"
    shutil.copytree(snapshot(hub, KL), flat)
    shutil.rmtree(snapshot(hub, KL).parent.parent)
    words = ("adopt", flat, "--repo", KL, "--cache-dir", hub)
    for options, counts in (("--copy",), "0 files linked, 2 copied, 0"), ((), "0 files linked, 0 copied, 2"):
        done = run(*words, *options)
        (place,) = snapshot(hub, KL).parent.iterdir()
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout == (
            f"adopted {KL} as {place.name} (a synthetic commit, made of the files' hashes)\n"
            f"  {counts} there already\n  {place}\n"
        )
    assert run(*words, "--quiet").output == ""
    assert run("verify", config(root, hub), "--quiet", "--hash", cwd=root).exit_code == 0


def test_what_cannot_be_adopted_is_reported(run: Run, tmp_path: Path) -> None:
    done = run("adopt", tmp_path / "gone", "--repo", KL, "--cache-dir", tmp_path / "hub")
    shown = f"error: {tmp_path / 'gone'} is not a folder; name the one that holds config.json and the weights\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", shown)
