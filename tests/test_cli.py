"""The commands as a user meets them, on copies of the fixture checkouts: what is printed, written and returned."""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

Checkout = Callable[[str], Path]
Run = Callable[..., Result]
TAGS = ("v1.0", "v1.1", "v1.2", "v1.3")
SAMPLE = "configs/opensora-v1-2/inference/sample.py"


def contents(root: Path) -> dict[str, bytes]:
    """Every file below ``root``."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def asked(cache: str | Path) -> tuple[str, ...]:
    return ("--all-configs", "--cache-dir", str(cache))


# --- rewrite -----------------------------------------------------------------------------------


def test_a_dict_that_another_holds_under_a_key_of_its_own_is_rewritten(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    config = root / "configs" / "shared.py"
    config.write_text(
        'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")\nmodel = dict(type="X", first=vae)\n'
    )
    result = run("rewrite", config, "--cache-dir", "/models/hf", "--resolve", "always", cwd=root)
    assert result.exit_code == 0, result.output
    assert 'from_pretrained="a/b", cache_dir="/models/hf")' in config.read_text()


@pytest.mark.parametrize("tag", TAGS)
def test_rewrite_then_check_finds_nothing_that_rewrite_could_cure(
    tag: str, checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "hub").mkdir()
    root = checkout(tag)
    done = run("rewrite", *asked(tmp_path / "hub"), "--resolve", "always", cwd=root)
    assert done.exit_code in (0, 1), done.output
    checked = run("check", *asked(tmp_path / "hub"), cwd=root)
    for code in ("OSR001", "OSR002", "OSR003", "OSR004", "OSR005", "OSR009"):
        assert code not in checked.output
    compiled = subprocess.run([sys.executable, "-m", "compileall", "-q", str(root)], check=False)
    assert compiled.returncode == 0


@pytest.mark.parametrize("tag", TAGS)
def test_a_second_rewrite_changes_nothing(tag: str, checkout: Checkout, run: Run) -> None:
    root = checkout(tag)
    run("rewrite", *asked("/models/hf"), "--local-files-only", "--no-resolve", cwd=root)
    before = contents(root)
    again = run("rewrite", *asked("/models/hf"), "--local-files-only", "--no-resolve", "--check", cwd=root)
    assert "would rewrite" not in again.output
    run("rewrite", *asked("/models/hf"), "--local-files-only", "--no-resolve", cwd=root)
    assert contents(root) == before


@pytest.mark.parametrize("tag", TAGS)
def test_unset_brings_configs_back_to_the_byte(tag: str, checkout: Checkout, run: Run) -> None:
    root = checkout(tag)
    before = {name: data for name, data in contents(root).items() if name.startswith("configs")}
    had_one = {name for name, data in before.items() if b"cache_dir" in data}
    run("rewrite", *asked("/models/hf"), "--no-resolve", cwd=root)
    changed = {name for name, data in contents(root).items() if before.get(name, data) != data}
    assert changed
    undone = run("rewrite", "--all-configs", "--unset", "vae.cache_dir", "--unset", "text_encoder.cache_dir",
                 "--no-resolve", cwd=root)  # fmt: skip
    assert undone.exit_code == 0, undone.output
    after = contents(root)
    assert {name for name in before if after[name] != before[name]} <= had_one


@pytest.mark.parametrize("option", ["--diff", "--check"])
def test_diff_and_check_write_nothing_and_exit_1(option: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    before = contents(root)
    done = run("rewrite", *asked("/models/hf"), "--no-resolve", option, cwd=root)
    assert done.exit_code == 1
    assert contents(root) == before
    expected = '+    cache_dir="/models/hf",' if option == "--diff" else f"would rewrite {SAMPLE}"
    assert expected in done.output


def test_the_diff_is_a_patch_that_gives_what_rewrite_writes(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    patch = run("rewrite", *asked("/models/hf"), "--no-resolve", "--diff", "--quiet", cwd=root).stdout
    before = contents(root)
    run("rewrite", *asked("/models/hf"), "--no-resolve", cwd=root)
    written = contents(root)
    for name, data in before.items():
        (root / name).write_bytes(data)
    subprocess.run(["git", "apply", "-p0", "-"], input=patch.encode(), cwd=root, check=True)
    assert contents(root) == written


def test_no_source_leaves_loaders_alone_and_refuses_what_needs_them(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    done = run("rewrite", SAMPLE, "--cache-dir", "/models/hf", "--no-source", "--no-resolve", cwd=root)
    assert done.exit_code == 1
    assert "OSR004" in done.output
    assert "opensora/models/vae/vae.py:" in done.output
    text = (root / SAMPLE).read_text()
    assert text.count('cache_dir="/models/hf"') == 1
    assert "components: 1 set, 1 refused" in done.output


def test_rewrite_with_nothing_to_do_is_wrong_usage(checkout: Checkout, run: Run) -> None:
    done = run("rewrite", cwd=checkout("v1.2"))
    assert done.exit_code == 2
    assert "--cache-dir" in done.output


@pytest.mark.parametrize(
    "args",
    [
        ("--cache-dir", ""),
        ("--cache-dir", "/a", "--cache-dir", "/b"),
        ("--set", "vae"),
        ("--set", "vae.from_pretrained"),
        ("--unset", "from_pretrained"),
        ("--cache-dir", "/a", "--component", "a-b"),
        ("--cache-dir", "/a", "--stdin-filename", "x.py"),
        ("-", "--cache-dir", "/a"),
        ("no-such-folder", "--cache-dir", "/a"),
        (".", "--cache-dir", "/a", "--include", "nothing-like-this/*.py"),
        (".", "--cache-dir", "/a", "--opensora-source", "configs"),
        (".", "--cache-dir", "/a", "--python", "/no/such/python"),
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


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--cache-dir", "vae= "), "--cache-dir: 'vae= ' names no directory"),
        (("--cache-dir", "/a\0b"), "--cache-dir: '/a\\x00b' names no directory"),
        (("--cache-dir", "/a", "--source-default", ""), "--source-default: '' names no directory"),
        (("--set", "vae.cache_dir="), "--set vae.cache_dir: '' names no directory"),
        (("--set", "vae.x=\0"), "--set vae.x holds a NUL character"),
        (("--cache-dir", "/a", "--component", "a-b"), "--component 'a-b' is not an identifier"),
    ],
)
def test_a_value_that_cannot_be_meant_is_told_by_its_option(
    args: tuple[str, ...], told: str, checkout: Checkout, run: Run
) -> None:
    assert run("rewrite", *args, cwd=checkout("v1.2")).stderr.splitlines()[-1] == f"Error: {told}"


def test_a_relative_directory_and_a_tilde_are_made_absolute(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = checkout("v1.1")
    monkeypatch.setenv("HOME", "/home/somebody")
    run("rewrite", "--cache-dir", "vae=./hub", "--cache-dir", "text_encoder=~/hub", "--no-resolve", cwd=root)
    text = (root / "configs/opensora-v1-1/inference/sample.py").read_text()
    assert f'cache_dir="{root}/hub"' in text
    assert 'cache_dir="/home/somebody/hub"' in text


def test_a_directory_behind_a_link_and_two_dots_is_the_one_that_the_system_finds(
    checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "far" / "target").mkdir(parents=True)
    (tmp_path / "far" / "hub").mkdir()
    (tmp_path / "lnk").symlink_to("far/target")
    root = checkout("v1.1")
    given = f"{tmp_path}/lnk/../hub"
    done = run("rewrite", f"--cache-dir={given}", "--no-resolve", cwd=root)
    assert (done.exit_code, done.stderr) == (0, "")
    sample = root / "configs/opensora-v1-1/inference/sample.py"
    text = sample.read_text()
    assert f'cache_dir="{tmp_path}/far/hub"' in text
    # another spelling of it is no other directory; what the letters alone say is another one
    sample.write_text(text.replace(f"{tmp_path}/far/hub", given))
    assert run("check", f"--cache-dir={tmp_path}/far/hub", cwd=root).stdout.count("OSR003") == 0
    assert run("check", f"--cache-dir={tmp_path}/hub", cwd=root).stdout.count("OSR003 ") > 0


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


@pytest.mark.parametrize(
    "option", ["--cache-dir={}", "--cache-dir=vae={}", "--set=vae.cache_dir={}", "--cache-dir=/m --source-default={}"]
)
def test_a_cache_dir_that_is_a_file_ends_the_run_with_nothing_written(
    option: str, checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    root = checkout("v1.2")
    before = contents(root)
    done = run("rewrite", *option.format(file).split(), "--no-resolve", cwd=root)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (f"error: {file} is a file, not a cache directory\n  nothing was written; name a directory\n")
    assert contents(root) == before


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


def test_a_file_that_cannot_be_replaced_ends_the_run_with_nothing_written(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = checkout("v1.2")
    before = contents(root)

    def refuse(_old: str, new: str) -> None:
        raise PermissionError(13, "Permission denied", new)

    monkeypatch.setattr(os, "replace", refuse)
    done = run("rewrite", SAMPLE, "--cache-dir", "/", "--no-resolve", cwd=root)
    path = root / "opensora/models/vae/vae.py"
    told = f"error: {path}: cannot be replaced: Permission denied; nothing was written\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", told)
    assert contents(root) == before


def test_a_report_that_could_not_be_written_ends_the_run_before_anything_else_is(
    checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    root, target = checkout("v1.1"), tmp_path / "nowhere" / "report.json"
    before = contents(root)
    done = run("rewrite", *asked("/models/hf"), "--no-resolve", "--output-file", target, cwd=root)
    told = f"error: {target} cannot be written: No such file or directory\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", told)
    assert contents(root) == before


def test_stdin_to_stdout(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    source = (root / "configs/opensora-v1-1/inference/sample.py").read_bytes()
    before = contents(root)
    done = run("rewrite", "-", "--stdin-filename", root / "configs/opensora-v1-1/inference/sample.py", "--cache-dir",
               "/models/hf", "--no-resolve", cwd=root, stdin=source)  # fmt: skip
    assert done.exit_code == 0
    assert done.stdout.encode() == source.replace(b"cache_dir=None", b'cache_dir="/models/hf"')
    assert contents(root) == before


def test_stdin_of_a_file_that_is_not_there_yet_is_proved_by_mmengine_too(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    place = root / "configs/opensora-v1-1/inference/new.py"
    source = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")\n'
    done = run("rewrite", "-", "--stdin-filename", place, "--cache-dir", "/m", "--resolve", "always", stdin=source)
    assert done.exit_code == 0, done.output
    assert 'cache_dir="/m"' in done.stdout
    assert not place.exists()


def test_a_link_out_of_the_checkout_is_not_written_through(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.1")
    outside = tmp_path / "elsewhere.py"
    outside.write_bytes((root / "configs/opensora-v1-1/inference/sample.py").read_bytes())
    before = outside.read_bytes()
    (root / "configs/opensora-v1-1/inference/linked.py").symlink_to(outside)
    done = run("rewrite", "--cache-dir", "/models/hf", "--no-resolve", cwd=root)
    assert done.exit_code == 1
    assert "out of the checkout" in " ".join(done.output.split())
    assert outside.read_bytes() == before


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_the_remedy_for_a_link_out_of_the_checkout_rewrites_what_it_leads_to(
    linked: str, checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    root = checkout("v1.1")
    outside = tmp_path / "else where" / "sample.py"
    outside.parent.mkdir()
    sample = root / "configs/opensora-v1-1/inference/sample.py"
    outside.write_bytes(sample.read_bytes())
    link = root / "configs/opensora-v1-1/inference" / ("linked.py" if linked == "file" else "linked")
    link.symlink_to(outside if linked == "file" else outside.parent)
    remedies = _remedies(run("check", link, "--cache-dir", tmp_path, cwd=root).stdout)
    assert {remedy.split(" --cache-dir")[0] for remedy in remedies} == {
        f"opensora-rewriter rewrite '{outside}' --opensora-source {root}"
    }
    for remedy in remedies:
        assert run(*shlex.split(remedy)[1:]).exit_code == 0
    assert run("check", link, "--cache-dir", tmp_path, "--all-components", cwd=root).exit_code == 0
    assert f'cache_dir="{tmp_path}"' in outside.read_text()


def _remedies(output: str) -> list[str]:
    return [line.removeprefix("    -> ") for line in output.splitlines() if line.startswith("    -> ")]


@pytest.mark.parametrize(
    ("head", "encoding", "told"),
    [
        ("", "utf-8-sig", "save it as UTF-8 without a byte order mark"),
        ("# coding: gbk\n", "gbk", "save it as UTF-8 without a coding cookie"),
        ("# coding: latin-1\n", "gbk", "save it as UTF-8 without a coding cookie"),
    ],
)
def test_an_encoding_that_mmengine_does_not_read_is_to_be_changed_first(
    head: str, encoding: str, told: str, checkout: Checkout, run: Run
) -> None:
    root = checkout("v1.1")
    odd, heir = root / "configs/odd.py", root / "configs/heir.py"
    body = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")\nname = "模型"\n'
    odd.write_bytes((head + body).encode(encoding))
    heir.write_text("_base_ = './odd.py'\nvae = dict(micro_batch_size=1)\n")
    (remedy,) = _remedies(run("check", odd, "--cache-dir", root, cwd=root).stdout)
    command = f"opensora-rewriter rewrite configs/odd.py --cache-dir {root}"
    assert remedy == f"{told}, then {command}"
    done = run(*shlex.split(command)[1:], "--resolve=always", cwd=root)
    assert (done.exit_code, _remedies(done.stdout)) == (1, [told])
    assert "OSR901" in done.stdout
    done = run("rewrite", heir, "--set", "vae.from_pretrained=a/c", "--resolve=always", cwd=root)
    assert (done.exit_code, _remedies(done.stdout)) == (1, ["save its base files as UTF-8 without a byte order mark"])
    odd.write_text(body, encoding="utf-8")
    assert run(*shlex.split(command)[1:], "--resolve=always", cwd=root).exit_code == 0
    assert run("check", odd, "--cache-dir", root, cwd=root).exit_code == 0


def test_one_command_cures_all_that_the_paths_of_a_config_lack(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.3")
    config = "configs/opensora-v1-3/inference/t2v.py"
    checked = run("check", config, "--cache-dir", root, cwd=root).stdout
    found = {finding for finding in _remedies(checked) if "--set" in finding}
    assert found == {
        f"opensora-rewriter rewrite {config} --cache-dir {root} "
        "--set text_encoder.from_pretrained=DeepFloyd/t5-v1_1-xxl "
        "--set vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3"
    }
    refused = run("rewrite", config, "--cache-dir", root, "--no-resolve", cwd=root)
    assert (refused.exit_code, refused.stdout.count("OSR006 ")) == (1, 3)  # two of them, and how many there were
    (remedy,) = found
    assert remedy in _remedies(refused.stdout)
    assert run(*shlex.split(remedy)[1:], cwd=root).exit_code == 0


@pytest.mark.parametrize(
    ("text", "cache_dirs", "options"),
    [
        (  # a directory each
            'vae = dict(type="VideoAutoencoderKL", from_pretrained="/no/a")\n'
            'text_encoder = dict(type="t5", from_pretrained="/no/b")\n',
            ["vae=/m/v", "text_encoder=/m/t"],
            ["--cache-dir vae=/m/v --cache-dir text_encoder=/m/t --set vae.from_pretrained=stabilityai/sd-vae-ft-ema "
             "--set text_encoder.from_pretrained=DeepFloyd/t5-v1_1-xxl"],
        ),
        (  # the same from both
            'vae = dict(type="VideoAutoencoderKL", from_pretrained="/no/a")\n'
            'x = dict(vae=dict(type="VideoAutoencoderKL", from_pretrained="/no/b"))\n',
            ["/m"],
            ["--cache-dir /m --set vae.from_pretrained=stabilityai/sd-vae-ft-ema"],
        ),
        (  # one name, two types: --set gives both the same
            'vae = dict(type="VideoAutoencoderKL", from_pretrained="/no/a")\n'
            'x = dict(vae=dict(type="OpenSoraVAE_V1_3", from_pretrained="/no/b"))\n',
            ["/m"],
            ["--cache-dir /m --set vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3",
             "--cache-dir /m --set vae.from_pretrained=stabilityai/sd-vae-ft-ema"],
        ),
        (  # one of them is set all the same
            'vae = dict(type="OpenSoraVAE_V1_2", from_pretrained="/no/a")\n'
            'text_encoder = dict(type="t5", from_pretrained="/no/b")\n',
            ["/m"],
            ["--cache-dir /m --set text_encoder.from_pretrained=DeepFloyd/t5-v1_1-xxl",
             "--cache-dir /m --set vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.2"],
        ),
    ],
)  # fmt: skip
def test_commands_are_joined_only_where_both_are_needed_and_can_be_given_together(
    text: str, cache_dirs: list[str], options: list[str], checkout: Checkout, run: Run
) -> None:
    root = checkout("v1.3")
    (root / "configs/a.py").write_text(text)
    asked = [f"--cache-dir={each}" for each in cache_dirs]
    remedies = _remedies(run("rewrite", "configs/a.py", *asked, "--no-resolve", cwd=root).stdout)
    assert sorted(set(remedies)) == [f"opensora-rewriter rewrite configs/a.py {each}" for each in options]


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


def test_broken_sources_are_reported_and_passed_over(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    (root / "opensora/models/broken.py").write_text('@MODELS.register_module("x"\ndef f(:\n')
    done = run("check", SAMPLE, "--cache-dir", "/models/hf", cwd=root)
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert "`t5` loads from the Hub and has no cache_dir" in " ".join(done.output.split())


def test_a_lone_config_is_decided_by_the_built_in_table_which_is_said(run: Run, tmp_path: Path) -> None:
    lone = tmp_path / "sample.py"
    lone.write_text('text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl")\n')
    done = run("rewrite", lone, "--cache-dir", "/models/hf", "--no-resolve")
    assert done.exit_code == 0, done.output
    assert "built-in table" in done.stderr
    assert 'cache_dir="/models/hf"' in lone.read_text()


def test_sources_may_lie_elsewhere(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.0")
    lone = tmp_path / "sample.py"
    lone.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema")\n')
    for place in (root, root / "opensora"):
        done = run("check", lone, "--opensora-source", place, "--cache-dir", "/models/hf")
        assert "OSR004" in done.output  # v1.0's loader; the built-in table is v1.3's


def test_help_has_an_example_for_every_command(run: Run) -> None:
    from rewriter.cli import COMMANDS

    for name in COMMANDS:
        done = run(name, "--help")
        assert done.exit_code == 0
        assert f"opensora-rewriter {name}" in done.output.split("Examples:")[1]
    listed = run("--help").output
    assert all(f"  {name}  " in listed for name in COMMANDS)
    assert run("--version").output.startswith("opensora-rewriter, version ")
    assert "Did you mean 'rewrite'" in run("rewrit").output
    assert "Commands: rewrite, check, trace," in run("zzz").output


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        ([], "re", ["rewrite"]),
        (["check"], "--must", ["--must-exist"]),
        (["verify", "--level"], "l", ["load"]),
        (["nonsense"], "--", ["--version", "--help"]),
        (["nonsense"], "x", []),
    ],
)
def test_a_shell_completes_commands_options_and_values(words: list[str], begun: str, offered: list[str]) -> None:
    from click.shell_completion import ShellComplete

    from rewriter.cli import main

    complete = ShellComplete(main, {}, "opensora-rewriter", "_OPENSORA_REWRITER_COMPLETE")
    assert [item.value for item in complete.get_completions(words, begun)] == offered


class _LeftError(Exception):
    """The process would have ended."""


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """With what exit codes a process would have ended at once."""
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise _LeftError

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: None)
    return codes


def test_the_module_is_the_command_and_only_when_it_is_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, left: list[int]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rewriter", "--version"])
    with pytest.raises(_LeftError):
        runpy.run_module("rewriter", run_name="__main__")
    assert left == [0]
    assert capsys.readouterr().out.startswith("opensora-rewriter, version ")
    runpy.run_module("rewriter.__main__", run_name="__mp_main__")  # as multiprocessing does where it cannot fork
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("fault", [BrokenPipeError, KeyboardInterrupt, None])
def test_however_the_end_goes_the_exit_code_is_that_of_the_command(
    fault: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch, left: list[int]
) -> None:
    from rewriter.__main__ import run

    def end() -> None:
        if fault is not None:
            raise fault

    monkeypatch.setattr(sys, "argv", ["rewriter", "rules", "OSR999"])
    monkeypatch.setattr(atexit, "_run_exitfuncs", end)
    with pytest.raises((SystemExit, _LeftError)) as ended:
        run()
    assert (left or [ended.value.code]) == [2]  # type: ignore[attr-defined]
    monkeypatch.setattr("rewriter.__main__.main", lambda **_: sys.exit("words"))
    with pytest.raises(SystemExit, match="words"):
        run()


def test_a_program_may_collect_what_is_printed() -> None:
    from rewriter.cli import main

    with contextlib.redirect_stdout(io.StringIO()) as out:
        main(["rules", "OSR001"], standalone_mode=False)
    assert out.getvalue().startswith("OSR001 ")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_takes_the_colours_away(checkout: Checkout, monkeypatch: pytest.MonkeyPatch, no_color: str) -> None:
    from rewriter.cli import main

    root = checkout("v1.1")
    monkeypatch.setenv("NO_COLOR", no_color)
    words = ["rewrite", str(root), "--cache-dir", "/models/hf", "--no-resolve", "--diff"]
    done = CliRunner().invoke(main, words, color=True)
    assert ("\x1b[32m+" in done.output) != bool(no_color)
    assert ("\x1b" in done.output) != bool(no_color)


# --- check -------------------------------------------------------------------------------------


def test_check_executes_nothing_and_writes_nothing(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.2")
    canary = tmp_path / "canary"
    config = root / "configs/opensora-v1-2/inference/hostile.py"
    config.write_text(f"open({str(canary)!r}, 'w')\nvae = dict(type='VideoAutoencoderKL', from_pretrained='a/b')\n")
    before = contents(root)
    for args in (("check", *asked("/x")), ("trace", "--all-configs"), ("rewrite", *asked("/x"), "--no-resolve",
                 "--check")):  # fmt: skip
        assert "Traceback" not in run(*args, cwd=root).output
    assert not canary.exists()
    assert contents(root) == before


def test_check_of_a_folder_takes_inference_and_all_configs_takes_all(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    some = run("check", cwd=root).output
    every = run("check", "--all-configs", cwd=root).output
    assert "/train/" not in some
    assert "/train/" in every


def test_from_any_folder_of_a_checkout_the_checkout_is_found(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    expected = run("check", cwd=root).output.splitlines()[-1]
    for folder in ("opensora", "opensora/models", "docs"):
        (root / folder).mkdir(exist_ok=True)
        assert run("check", cwd=root / folder).output.splitlines()[-1] == expected


def test_a_component_that_no_config_has_is_warned_of(checkout: Checkout, run: Run) -> None:
    done = run("rewrite", "--cache-dir", "vay=/models/hf", "--no-resolve", "--check", cwd=checkout("v1.2"))
    assert "no component `vay`" in done.stderr
    assert "`vae`" in done.stderr
    done = run("check", "--component", "zzz", cwd=checkout("v1.1"))
    assert done.stderr == "warning: no component `zzz` in these configs\n"


def test_a_computed_repo_id_is_set_with_a_note(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    config = root / "configs/computed.py"
    config.write_text('import os\nvae = dict(type="VideoAutoencoderKL", from_pretrained=os.environ["VAE"])\n')
    done = run("rewrite", config, "--cache-dir", "/models/hf", "--no-resolve", cwd=root)
    assert done.exit_code == 0
    assert 'cache_dir="/models/hf"' in config.read_text()
    assert """configs/computed.py:2: vae loads `os.environ["VAE"]`, taken as a repo id""" in done.stderr


def test_set_and_unset_of_one_keyword_is_wrong_usage(checkout: Checkout, run: Run) -> None:
    done = run("rewrite", "--set", "vae.x=1", "--unset", "vae.x", cwd=checkout("v1.2"))
    assert done.exit_code == 2
    assert "vae.x" in done.output


@pytest.mark.parametrize("value", ["1e999", "-1e999", "[1, 1e999]", "{'a': (1e999,)}", "..."])
def test_a_set_value_that_has_no_literal_is_wrong_usage(checkout: Checkout, run: Run, value: str) -> None:
    done = run("rewrite", "--set", f"text_encoder.from_pretrained={value}", cwd=checkout("v1.2"))
    assert done.exit_code == 2
    told = " ".join(done.stderr.split())
    assert f"Error: --set text_encoder.from_pretrained={value}: " in told
    assert "cannot be written as a Python literal" in told


@pytest.mark.parametrize("value", ["true", "false", "TRUE", " fALSE"])
def test_a_set_value_that_is_nearly_true_or_false_is_wrong_usage(checkout: Checkout, run: Run, value: str) -> None:
    done = run("rewrite", "--set", f"vae.local_files_only={value}", cwd=checkout("v1.2"))
    assert done.exit_code == 2
    right, word = value.strip().capitalize(), value.strip()
    assert f"""would write a string: give {right}, or '"{word}"' if the string is meant""" in done.stderr


@pytest.mark.parametrize(("value", "written"), [("False", "False"), (" True", "True"), ('"false"', '"false"')])
def test_true_and_false_and_the_quoted_string_are_set_as_they_are(
    checkout: Checkout, run: Run, value: str, written: str
) -> None:
    root = checkout("v1.2")
    config = root / "configs/options.py"
    config.write_text("options = dict(a=1)\n")
    done = run("rewrite", config, "--set", f"options.b={value}", "--no-resolve", cwd=root)
    assert done.exit_code == 0, done.output
    assert config.read_text() == f"options = dict(a=1, b={written})\n"


def test_output_cannot_drive_the_terminal(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    config = root / "configs/opensora-v1-2/inference/escape.py"
    config.write_text('vae = dict(type="\\x1b[31mX\\n::error::forged", from_pretrained="a/b")\n')
    output = run("check", config, cwd=root).output
    assert "\x1b" not in output
    assert not any(line.startswith("::error") for line in output.splitlines())


def test_odd_files_are_one_finding_each_and_the_rest_goes_on(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    folder = root / "configs/opensora-v1-2/inference"
    (folder / "nul.py").write_bytes(b"vae = 1\0\n")
    (folder / "bytes.py").write_bytes(b"vae = '\xff'\n")
    (folder / "folder.py").mkdir()
    (folder / "dangling.py").symlink_to(folder / "nowhere.py")
    (folder / "loop.py").symlink_to(folder / "loop.py")
    (folder / "new\nline.py").write_bytes(b"vae = (\n")
    os.mkfifo(folder / "fifo.py")
    done = run("check", "configs/opensora-v1-2/inference", "--cache-dir", "/x", cwd=root)
    assert done.exit_code == 1
    assert done.output.count(": OSR900") == 7, done.output
    assert f"{SAMPLE}:" in done.output


# --- trace, rules ------------------------------------------------------------------------------


def test_trace_names_the_four_repos_of_v1_2s_sample(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    done = run("trace", SAMPLE, "--repos", cwd=root)
    assert done.stdout.split() == [
        "DeepFloyd/t5-v1_1-xxl",
        "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers",
        "hpcai-tech/OpenSora-STDiT-v3",
        "hpcai-tech/OpenSora-VAE-v1.2",
    ]
    assert "subfolder=vae" in run("trace", SAMPLE, "--repos", "--verbose", cwd=root).stdout


def test_trace_names_the_repo_that_v1_0s_t5_reads_once_it_is_rewritten(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.0")
    sample = "configs/opensora/inference/16x256x256.py"
    before = run("trace", sample, "--repos", cwd=root).stdout.split()
    assert before == ["DeepFloyd/t5-v1_1-xxl", "stabilityai/sd-vae-ft-ema"]
    run("rewrite", sample, "--cache-dir", "/models/hf", "--no-resolve", cwd=root)
    assert run("trace", sample, "--repos", cwd=root).stdout.split() == before


def test_trace_as_json_says_which_keys_arrive(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    report = json.loads(run("trace", SAMPLE, "--output-format", "json", cwd=root).stdout)
    found = {
        (component["component"], call["repo_id"]): call
        for component in report["components"]
        for call in component["calls"]
    }
    t5 = found["text_encoder", "DeepFloyd/t5-v1_1-xxl"]
    assert (t5["cache_dir"], t5["local_files_only"]) == ("open", "open")
    hidden = found["vae", "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers"]
    assert (hidden["hard_coded"], hidden["subfolder"], hidden["cache_dir"]) == (True, "vae", "rejected")
    source = (root / hidden["path"]).read_text().splitlines()
    assert "from_pretrained(" in source[hidden["line"] - 1]


def test_trace_table_shows_the_way(checkout: Checkout, run: Run) -> None:
    output = run("trace", SAMPLE, cwd=checkout("v1.2")).stdout
    for words in ("OpenSoraVAE_V1_2", "AutoencoderKL.from_pretrained", "rejected", "STDiT3-XL/2"):
        assert words in output


def test_trace_passes_over_what_is_built_by_no_loader(run: Run, tmp_path: Path) -> None:
    lone = tmp_path / "sample.py"
    lone.write_text(
        'vae = dict(type="VideoAutoencoderKL", from_pretrained="org/replaced")\n'
        'vae = dict(type="VideoAutoencoderKL", from_pretrained="./absent")\nmodel = dict(depth=3)\n'
    )
    told = json.loads(run("trace", lone, "--output-format", "json").stdout)
    assert [(one["component"], one["line"]) for one in told["components"]] == [("vae", 2)]
    assert [call["place"] for call in told["components"][0]["calls"]] == ["missing"]
    assert run("trace", lone, "--repos", "--quiet").output == ""


def test_trace_tells_what_it_could_not_read_and_what_stands_in(checkout: Checkout, run: Run, tmp_path: Path) -> None:
    root = checkout("v1.2")
    broken = root / "configs/broken.py"
    broken.write_text("vae = dict(\n")
    (root / "opensora/models/broken.py").write_text('@MODELS.register_module("x"\ndef f(:\n')
    done = run("trace", broken, SAMPLE, "--repos", cwd=root)
    assert done.exit_code == 1
    assert "DeepFloyd/t5-v1_1-xxl" in done.stdout.split()
    places = [line.split(": ")[0] for line in done.stderr.splitlines() if ": OSR900" in line]
    assert [place.split(":")[0] for place in places] == ["configs/broken.py", "opensora/models/broken.py"]
    lone = tmp_path / "sample.py"
    lone.write_text('text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl")\n')
    told = run("trace", lone, "--repos")
    assert told.stderr == "note: no opensora/ sources: the built-in table of v1.3's loaders stands in\n"
    assert run("trace", lone, "--repos", "--quiet").stderr == ""
    assert told.exit_code == 0


def test_rules_lists_every_code_and_explains_each(run: Run) -> None:
    listed = run("rules").output
    codes = [line.split()[0] for line in listed.splitlines()]
    assert codes == sorted(codes)
    assert {"OSR001", "OSR010", "OSR101", "OSR201", "OSR301", "OSR902"} <= set(codes)
    for code in codes:
        explained = run("rules", code.lower())
        assert explained.exit_code == 0
        assert len(explained.output.splitlines()) > 3
    assert "cache_dir=" in run("rules", "OSR001").output
    assert run("rules", "OSR999").exit_code == 2


# --- ends that are not the program's own ----------------------------------------------------------


def test_a_loader_that_cannot_be_followed_is_not_called_free_of_the_hub(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "inference"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text('vae = dict(type="f", path="o/n")\n')
    (tmp_path / "opensora").mkdir()
    (tmp_path / "opensora" / "registry.py").write_text(
        "from mmengine.registry import Registry\nfrom diffusers import AutoencoderKL\n\nMODELS = Registry('model')\n"
        "@MODELS.register_module()\ndef f(path):\n    return {n: c.from_pretrained(path) for n, c in KINDS.items()}\n"
    )
    result = run("rewrite", *asked("/models/hf"), "--no-resolve", cwd=tmp_path)
    assert result.exit_code == 1
    assert "OSR007 vae" in result.output
    assert "1 refused" in result.output


def test_a_remedy_names_the_directory_of_the_run_and_can_be_pasted(
    checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    cache = tmp_path / "a hub"
    cache.mkdir()
    root = checkout("v1.2")
    odd = root / SAMPLE.replace("sample.py", "my\nsample.py")
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


@pytest.mark.parametrize(("option", "shown"), [("--diff", "+++"), ("--check", "")])
def test_diff_and_check_hold_for_stdin_too(option: str, shown: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    name = "configs/opensora-v1-1/inference/sample.py"
    result = run("rewrite", "-", "--stdin-filename", name, "--cache-dir", "/models/hf", "--no-resolve", option,
                 cwd=root, stdin=(root / name).read_bytes())  # fmt: skip
    assert result.exit_code == 1
    assert shown in result.stdout
    assert "num_frames" not in result.stdout


def test_a_form_feed_or_a_carriage_return_ends_no_line_of_the_diff(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "a.py"
    config.write_bytes(b"# a\x0cb\nx = 1\ry = 2\nvae = dict(type='VideoAutoencoderKL', from_pretrained='o/n')\n")
    diff = run("rewrite", config, "--cache-dir", "/models/hf", "--no-resolve", "--diff", cwd=tmp_path).stdout
    assert "No newline" not in diff
    assert "@@ -1,3 +1,3 @@\n # a\x0cb\n x = 1\ry = 2\n-vae" in diff


def test_an_interpreter_that_is_no_python_ends_the_run_with_a_message(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.1")
    before = contents(root)
    result = run("rewrite", "--cache-dir", "/models/hf", "--python", "/bin/true", cwd=root)
    assert result.exit_code == 2
    assert "could not load mmengine" in result.output
    assert contents(root) == before


def test_an_interrupt_ends_with_2_as_1_would_say_that_something_was_found(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rewriter.checkout.select", interrupt)
    done = run("check", cwd=checkout("v1.1"))
    assert (done.exit_code, done.output) == (2, "error: interrupted\n")


def test_the_process_of_the_command_is_deaf_to_ctrl_c_once_everything_is_written(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rewriter import report
    from rewriter.cli import main

    root = checkout("v1.2")
    summary = report.rewrite_summary

    def pressed(*args: object, **options: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return summary(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(report, "rewrite_summary", pressed)
    words = ["rewrite", str(root), "--cache-dir", str(root), "--no-resolve"]
    monkeypatch.setattr(sys, "argv", ["opensora-rewriter", *words])
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, handler)
    told = capsys.readouterr().out
    assert (ended.value.code, told.splitlines()[-1]) == (0, "components: 16 set, 2 not needed, 0 refused")
    with pytest.raises(SystemExit) as ended:  # where it is a part of another program, that one goes on to hear it
        main([*words, "--unset=vae.cache_dir"])
    assert (ended.value.code, signal.getsignal(signal.SIGINT)) == (0, handler)


def test_a_folder_that_may_not_be_listed_is_the_reason_that_no_config_is_found(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = checkout("v1.2")
    scandir = os.scandir

    def locked(path: str) -> object:
        if path == str(root / "configs"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    done = run("check", cwd=root)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {root}/configs: the folder cannot be listed: Permission denied\n"
        "  give yourself permission to read it, or leave it out with --exclude\n"
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the output cannot be written: No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the output cannot be written: Disk quota exceeded"),
        (OSError(errno.EBADF, "Bad file descriptor"), "the output cannot be written: Bad file descriptor"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/file"), None),
        (OSError(errno.EIO, "Input/output error"), None),
    ],
)
def test_an_output_that_is_full_is_told_and_no_other_error_passed_off_as_that(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch, error: OSError, told: str | None
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("rewriter.cli.common.echo_lines", fail)
    done = run("check", cwd=checkout("v1.1"))
    if told is None:
        assert done.exception is error
    else:
        assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"error: {told}\n")


def test_a_command_in_a_folder_that_is_gone_is_told_so(
    checkout: Checkout, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, gone = checkout("v1.1"), tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = run("check", root)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == ("error: the current folder is gone: it was deleted or moved\n  cd to a folder that exists\n")


def test_a_current_folder_that_is_gone_and_a_full_disk_get_a_message(checkout: Checkout, tmp_path: Path) -> None:
    def shell(script: str) -> subprocess.CompletedProcess[str]:
        command = f"{sys.executable} -m rewriter"
        path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        return subprocess.run(
            ["bash", "-c", script.format(command)], capture_output=True, text=True, env=path, check=False
        )

    root = checkout("v1.1")
    gone = shell(f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir ../gone && {{}} check {root}")
    assert gone.returncode == 2
    assert "the current folder is gone" in gone.stderr
    if os.path.exists("/dev/full"):
        full = shell(f"{{}} check {root} > /dev/full")
        assert full.returncode != 0
        assert "error: the output cannot be written" in full.stderr
        assert "Traceback" not in full.stderr


# --- streams that are closed or full -------------------------------------------------------------

posix = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
WRITES = "rewrite . --cache-dir /models/hf --no-resolve"


def shell(root: Path, words: str) -> tuple[int, str]:
    """What the command comes to under a shell, and what it says on standard error."""
    script = f"exec {shlex.quote(sys.executable)} -m rewriter {words}"
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=path, cwd=root, check=False)
    return done.returncode, done.stderr


@posix
@pytest.mark.parametrize("words", ["check .", "trace .", "rules", "--version", "check --help", WRITES + " --diff"])
def test_a_standard_output_that_is_closed_is_one_that_cannot_be_written(checkout: Checkout, words: str) -> None:
    root = checkout("v1.1")
    code, told = shell(root, f"{words} >&-")
    assert (code, told.splitlines()[-1]) == (2, "error: the output cannot be written: Bad file descriptor")
    assert "Traceback" not in told
    assert shell(root, f"{words} >&- 2>&-") == (2, "")


@posix
def test_a_standard_error_that_is_closed_takes_nothing_away(checkout: Checkout) -> None:
    root = checkout("v1.1")
    assert shell(root, "check . --cache-dir /no/such > out 2>&-") == (1, "")
    assert "errors" in (root / "out").read_text()
    assert shell(root, "check --no-such-option 2>&-") == (2, "")


@full
def test_a_standard_error_that_is_full_leaves_the_exit_code(checkout: Checkout) -> None:
    assert shell(checkout("v1.1"), "check --no-such-option 2> /dev/full") == (2, "")


@posix
def test_streams_that_are_closed_are_stood_in_for(monkeypatch: pytest.MonkeyPatch, left: list[int]) -> None:
    from rewriter.__main__ import run

    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    monkeypatch.setattr(sys, "argv", ["rewriter", "rules", "OSR001"])
    with pytest.raises(_LeftError):
        run()
    assert left == [2]
    assert sys.stdin.read() == ""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.close()


@posix
@pytest.mark.parametrize("closed", [">&-", pytest.param("> /dev/full", marks=full)])
@pytest.mark.parametrize("code", [0, 1])
def test_files_that_were_written_are_told_where_the_report_cannot_be(
    checkout: Checkout, closed: str, code: int
) -> None:
    root = checkout("v1.1")
    if code:
        (root / "configs/opensora/inference/own.py").write_text("vae = dict(\n")
    old = {path: path.read_bytes() for path in root.rglob("*.py")}
    done, told = shell(root, f"{WRITES} {closed}")
    assert done == code, told
    reason = "Bad file descriptor" if closed == ">&-" else "No space left on device"
    words = f"error: the files were written, but not the report: the output cannot be written: {reason}"
    assert told.splitlines()[-1] == words
    assert "Traceback" not in told
    assert any(path.read_bytes() != data for path, data in old.items())
    done, told = shell(root, f"{WRITES} {closed}")  # nothing to write any more
    assert (done, told.splitlines()[-1]) == (2, f"error: the output cannot be written: {reason}")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken")])
def test_an_output_that_fails_after_the_files_were_written_is_no_other_error(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    from rewriter import report

    def fail(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(report, "rewrite_summary", fail)
    root = checkout("v1.1")
    done = run(*WRITES.split(), cwd=root)
    if error.errno == errno.EIO:
        assert done.exception is error
        return
    told = "error: the files were written, but not the report: the output cannot be written: full"
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (0, told)
    done = run(*WRITES.split(), cwd=root)  # nothing to write any more
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, "error: the output cannot be written: full")


def test_files_that_were_written_are_told_where_the_report_file_cannot_be(
    checkout: Checkout, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rewriter import writer
    from rewriter.types import FileEdit

    root, target, real = checkout("v1.1"), tmp_path / "report.json", writer.commit

    def commit(edits: tuple[FileEdit, ...]) -> None:
        real(edits)
        target.mkdir()

    monkeypatch.setattr(writer, "commit", commit)
    old = {path: path.read_bytes() for path in root.rglob("*.py")}
    done = run(*WRITES.split(), "--output-file", target, cwd=root)
    assert done.exit_code == 0, done.output
    words = f"error: the files were written, but not the report: {target} cannot be written: Is a directory"
    assert done.stderr.splitlines()[-1] == words
    assert any(path.read_bytes() != data for path, data in old.items())
