"""``check`` as a user meets it: the findings, and that nothing is executed or written."""

from __future__ import annotations

from pathlib import Path

from cli_support import SAMPLE, Checkout, Run, contents, everything


def test_sources_may_lie_elsewhere(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.0")
    lone = tmp_path / "sample.py"
    lone.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema")\n')
    for place in (root, root / "opensora"):
        done = run("check", lone, "--opensora-source", place, "--cache-dir", "/models/hf")
        assert "OSR004" in done.output  # v1.0's loader; the table of the released loaders is v1.3's


def test_a_remedy_names_the_same_loaders_as_the_run(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.2").rename(tmp_path / "my loaders")
    lone = tmp_path / "sample.py"
    lone.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema")\n')
    words = ("check", lone, "--opensora-source", root, "--cache-dir", "/models/hf")
    command = f"opensora-rewriter rewrite --opensora-source '{root}' sample.py --cache-dir /models/hf"
    assert f"-> {command}\n" in run(*words, cwd=tmp_path).output
    assert command in run(*words, "--output-format", "github", cwd=tmp_path).output
    hub = tmp_path / "hub"
    hub.mkdir()
    assert not run("rewrite", *words[1:-1], hub, "--no-resolve", cwd=tmp_path).exit_code
    fetch = f"opensora-rewriter download --opensora-source '{root}' sample.py --component vae"
    assert fetch in run("verify", lone, "--opensora-source", root, cwd=tmp_path).output


def test_check_executes_nothing_and_writes_nothing(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.2")
    canary = tmp_path / "canary"
    config = root / "configs/opensora-v1-2/inference/hostile.py"
    config.write_text(f"open({str(canary)!r}, 'w')\nvae = dict(type='VideoAutoencoderKL', from_pretrained='a/b')\n")
    before = contents(root)
    rewrite = ("rewrite", *everything("/x"), "--no-resolve", "--check")
    for args in (("check", *everything("/x")), ("trace", "--all-configs"), rewrite):
        assert "Traceback" not in run(*args, cwd=root).output
    assert not canary.exists()
    assert contents(root) == before


def test_from_any_folder_of_a_checkout_the_checkout_is_found(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    (expected,) = [line for line in run("check", cwd=root).output.splitlines() if " read, " in line]
    for folder in ("opensora", "opensora/models", "docs"):
        (root / folder).mkdir(exist_ok=True)
        assert expected in run("check", cwd=root / folder).output


def test_only_a_component_that_no_config_has_is_warned_of(checkout: Checkout, run: Run) -> None:
    """Issue 14: `check --component vae` warned "no component `vae` in these configs"."""
    root = checkout("v1.2")
    done = run("rewrite", "--cache-dir", "vay=/models/hf", "--no-resolve", "--check", cwd=root)
    assert "warning: no component `vay` in these configs\n  did you mean `vae`?\n" in done.stderr
    done = run("check", "--component", "vae", cwd=root)
    assert (done.exit_code, "no component" in done.output) == (1, False)
    assert " vae" in done.stdout


def test_odd_files_are_one_finding_each_and_the_rest_goes_on(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    folder = root / "configs/opensora-v1-2/inference"
    (folder / "nul.py").write_bytes(b"vae = 1\0\n")
    (folder / "bytes.py").write_bytes(b"vae = '\xff'\n")
    (folder / "dangling.py").symlink_to(folder / "nowhere.py")
    (folder / "loop.py").symlink_to(folder / "loop.py")
    (folder / "new\nline.py").write_bytes(b"vae = (\n")
    done = run("check", "configs/opensora-v1-2/inference", "--cache-dir", "/x", cwd=root)
    assert done.exit_code == 1
    assert done.output.count(": OSR900") == 5, done.output
    assert f"{SAMPLE}:" in done.output
