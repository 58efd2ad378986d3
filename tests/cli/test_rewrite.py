"""``rewrite`` as a user meets it: the files that are written, the messages, the exit codes."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import SAMPLE, TAGS, Checkout, Run, contents, everything, remedies


@pytest.mark.parametrize("tag", TAGS)
def test_rewrite_then_check_finds_nothing_that_rewrite_could_cure(
    tag: str, checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "hub").mkdir()
    root = checkout(tag)
    done = run("rewrite", *everything(tmp_path / "hub"), "--resolve", "always", cwd=root)
    assert done.exit_code in (0, 1), done.output
    checked = run("check", *everything(tmp_path / "hub"), cwd=root)
    for code in ("OSR001", "OSR002", "OSR003", "OSR004", "OSR005", "OSR009"):
        assert code not in checked.output
    compiled = subprocess.run([sys.executable, "-m", "compileall", "-q", str(root)], check=False)
    assert compiled.returncode == 0


@pytest.mark.parametrize("option", ["--diff", "--check"])
def test_diff_and_check_write_nothing_and_exit_1(option: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    before = contents(root)
    done = run("rewrite", *everything("/models/hf"), "--no-resolve", option, cwd=root)
    assert done.exit_code == 1
    assert contents(root) == before
    expected = '+    cache_dir="/models/hf",' if option == "--diff" else f"would rewrite {SAMPLE}"
    assert expected in done.output


def test_the_diff_is_a_patch_that_gives_what_rewrite_writes(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    patch = run("rewrite", *everything("/models/hf"), "--no-resolve", "--diff", "--quiet", cwd=root).stdout
    before = contents(root)
    run("rewrite", *everything("/models/hf"), "--no-resolve", cwd=root)
    written = contents(root)
    for name, data in before.items():
        (root / name).write_bytes(data)
    subprocess.run(["git", "apply", "-p0", "-"], input=patch.encode(), cwd=root, check=True)
    assert contents(root) == written


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--set", "text_encoder.shardformer=false"),
        ("--cache-dir", ""),
        ("--cache-dir", "/a", "--cache-dir", "/b"),
        ("--set", "vae"),
        ("--set", "vae.from_pretrained"),
        ("--unset", "from_pretrained"),
        ("--cache-dir", "/a", "--stdin-filename", "x.py"),
        ("-", "--cache-dir", "/a"),
        ("no-such-folder", "--cache-dir", "/a"),
        (".", "--cache-dir", "/a", "--include", "nothing-like-this/*.py"),
        (".", "--cache-dir", "/a", "--opensora-source", "configs"),
        (".", "--cache-dir", "/a", "--python", "/no/such/python"),
        (".", "--cache-dir", "/a", "--output-file", "configs"),
    ],
)
def test_wrong_usage_exits_2_with_a_message_and_writes_nothing(
    args: tuple[str, ...], checkout: Checkout, run: Run
) -> None:
    root = checkout("v1.2")
    before = contents(root)
    done = run("rewrite", *args, cwd=root)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert contents(root) == before


def test_a_relative_directory_and_a_tilde_are_made_absolute(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = checkout("v1.1")
    monkeypatch.setenv("HOME", "/home/somebody")
    run("rewrite", "--cache-dir", "vae=./hub", "--cache-dir", "text_encoder=~/hub", "--no-resolve", cwd=root)
    text = (root / "configs/opensora-v1-1/inference/sample.py").read_text()
    assert f'cache_dir="{root}/hub"' in text
    assert 'cache_dir="/home/somebody/hub"' in text


def test_a_directory_that_cannot_be_a_cache_is_warned_of_at_once(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    home = tmp_path / "hf"
    model = home / "hub" / "models--DeepFloyd--t5-v1_1-xxl"
    (model / "snapshots").mkdir(parents=True)
    root = checkout("v1.1")
    for directory, words in ((tmp_path / "absent", "does not exist"), (home, "hub"), (model, "models--")):
        done = run("rewrite", "--cache-dir", directory, "--no-resolve", "--check", cwd=root)
        assert "warning: " in done.stderr
        assert words in done.stderr
    assert "warning: " not in run("rewrite", "--cache-dir", home / "hub", "--no-resolve", "--check", cwd=root).stderr


def test_quiet_tells_findings_only(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    config = root / "configs/own.py"
    config.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")\n')
    found = run("check", config, "--quiet", cwd=root)
    assert (found.exit_code, found.stderr) == (1, "")
    assert found.stdout.splitlines()[0] == "configs/own.py:1:7: OSR001 vae"
    assert len(found.stdout.splitlines()) == 3  # place, message, remedy
    done = run("rewrite", config, "--cache-dir", "/", "--no-resolve", "--quiet", cwd=root)
    assert (done.exit_code, done.output) == (0, "")
    again = run("check", config, "--quiet", cwd=root)
    assert (again.exit_code, again.output) == (0, "")


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--diff",), 1), (("--check",), 1)])
def test_stdin_to_stdout(options: tuple[str, ...], code: int, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    name = "configs/opensora-v1-1/inference/sample.py"
    source = (root / name).read_bytes()
    before = contents(root)
    words = ("rewrite", "-", "--stdin-filename", name, "--cache-dir", "/models/hf", "--no-resolve")
    done = run(*words, *options, cwd=root, stdin=source)
    assert done.exit_code == code
    if options:
        assert ("+++" in done.stdout, "num_frames" in done.stdout) == ("--diff" in options, False)
    else:
        assert done.stdout.encode() == source.replace(b"cache_dir=None", b'cache_dir="/models/hf"')
    assert contents(root) == before


def test_a_link_out_of_the_checkout_is_not_written_through(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.1")
    outside = tmp_path / "elsewhere.py"
    outside.write_bytes((root / "configs/opensora-v1-1/inference/sample.py").read_bytes())
    before = outside.read_bytes()
    link = root / "configs/opensora-v1-1/inference/linked.py"
    link.symlink_to(outside)
    words = ("--cache-dir", tmp_path, "--no-resolve")
    done = run("rewrite", *words, cwd=root)
    assert done.exit_code == 1
    assert "out of the checkout" in " ".join(done.output.split())
    assert outside.read_bytes() == before
    named = run("rewrite", outside, "--opensora-source", root, *words, "--all-components")
    assert (named.exit_code, run("check", link, "--cache-dir", tmp_path, cwd=root).exit_code) == (0, 0)


def test_the_commands_that_are_printed_cure_all_that_the_paths_of_a_config_lack(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.3")
    config = "configs/opensora-v1-3/inference/t2v.py"
    found = set(remedies(run("check", config, "--cache-dir", root, cwd=root).stdout))
    refused = run("rewrite", config, "--cache-dir", root, "--no-resolve", cwd=root)
    assert "components: 0 set, 2 refused (OSR006 x2)\n" in refused.stdout
    assert found == set(remedies(refused.stdout))
    for each in (
        "text_encoder.from_pretrained=DeepFloyd/t5-v1_1-xxl",
        "vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3",
    ):
        assert f" --set {each}" in " ".join(found)
    for command in sorted(found):
        run(*shlex.split(command)[1:], cwd=root)
    assert run("check", config, "--cache-dir", root, cwd=root).exit_code == 0


LOADER = """\
from diffusers import AutoencoderKL
from opensora.registry import MODELS
@MODELS.register_module()
def two_paths(from_pretrained, second, **more):
    return AutoencoderKL.from_pretrained(from_pretrained), AutoencoderKL.from_pretrained(second)
@MODELS.register_module()
def odd(from_pretrained, cache_dir=None):
    return AutoencoderKL.from_pretrained(from_pretrained, **{"a" + from_pretrained: cache_dir})
"""


def test_a_placeholder_is_no_value(checkout: Checkout, run: Run) -> None:
    done = run("rewrite", "--set", "model.from_pretrained=ORG/vae_stage1", cwd=checkout("v1.2"))
    assert (done.exit_code, "'--set'" in done.output) == (2, True)


def test_the_summary_counts_a_component_once_and_names_no_command_that_was_just_run(
    checkout: Checkout, run: Run
) -> None:
    """VIRES: "4 refused" beside "refused by: OSR006 x6", and one command three times."""
    root = checkout("v1.1")
    (root / "opensora/models/own.py").write_text(LOADER)
    (root / "opensora/models/__init__.py").open("a").write("from .own import *\n")
    config = root / "configs/own.py"
    config.write_text(
        'vae = dict(type="two_paths", from_pretrained="./a/b", second="./a/c")\n'
        'text_encoder = dict(type="odd", from_pretrained="org/name")\n'
    )
    words = ("rewrite", config, "--cache-dir", root, "--no-resolve")
    done = run(*words, cwd=root)
    summary = done.stdout.splitlines()[-2:]
    assert summary[0] == "components: 0 set, 2 refused (OSR006 x1, OSR007 x1)", done.stdout
    assert summary[1].startswith("next: 1 of ")
    assert summary[1].endswith(" errors to cure by hand (OSR007 x1)")
    assert f"-> opensora-rewriter rewrite configs/own.py --cache-dir {root}\n" not in done.stdout


def test_a_config_that_mmengine_cannot_load_is_refused_alone(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    bad = root / "configs/opensora-v1-1/inference/bad.py"
    bad.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")\nundefined_name\n')
    done = run("rewrite", "configs/opensora-v1-1", "--cache-dir", "/models/hf", "--resolve", "always", cwd=root)
    assert done.exit_code == 1
    assert "OSR901" in done.output
    assert "undefined_name" in done.output
    assert b"cache_dir" not in bad.read_bytes()
    assert '"/models/hf"' in (root / "configs/opensora-v1-1/inference/sample.py").read_text()


def test_a_remedy_names_the_directory_of_the_run_and_can_be_pasted(
    checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    cache = tmp_path / "a hub"
    cache.mkdir()
    root = checkout("v1.2")
    odd = root / SAMPLE.replace("sample.py", "my sample.py")
    (root / SAMPLE).rename(odd)
    done = run("rewrite", odd, "--cache-dir", cache, "--no-resolve", cwd=root)
    remedy = next(line for line in done.output.splitlines() if "--component model" in line).strip()
    assert f"--cache-dir '{cache}'" in remedy
    command = remedy.removeprefix("-> opensora-rewriter ") + " --no-resolve"
    words = subprocess.run(["bash", "-c", f'printf "%s\\0" {command}'], capture_output=True, text=True, check=True)
    again = run(*words.stdout.split("\0")[:-1], cwd=root)
    assert again.exit_code == 0, again.output
    assert "OSR010" not in again.output


def test_the_remedy_for_an_inherited_component_rewrites_its_base_from_anywhere(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "configs" / "inference").mkdir(parents=True)
    (root / "configs" / "base.py").write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="o/n")\n')
    heir = root / "configs" / "inference" / "heir.py"
    heir.write_text('_base_ = ["../base.py"]\n')
    (tmp_path / "hub").mkdir()
    refused = run("rewrite", heir, "--cache-dir", tmp_path / "hub", "--no-resolve", cwd=tmp_path)
    remedy = next(line for line in refused.output.splitlines() if "->" in line).strip()
    cured = run(*remedy.removeprefix("-> opensora-rewriter ").split(), "--no-resolve", cwd=tmp_path)
    assert cured.exit_code == 0, cured.output
    assert run("check", heir, "--cache-dir", tmp_path / "hub", cwd=tmp_path).exit_code == 0


def test_an_interpreter_that_is_no_python_ends_the_run_with_a_message(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    before = contents(root)
    result = run("rewrite", "--cache-dir", "/models/hf", "--python", "/bin/true", cwd=root)
    assert result.exit_code == 2
    assert "name an interpreter with mmengine (--python)" in result.output
    assert contents(root) == before
