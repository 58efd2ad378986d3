"""Help and completion, and how a run ends that could not print: full streams, interrupts."""

from __future__ import annotations

import os

import pytest
from cli_support import Checkout, Run, shell
from click.testing import CliRunner

from rewriter.cli import COMMANDS, main

WRITES = "rewrite . --cache-dir /models/hf --no-resolve"
FULL = "[Errno 28] No space left on device"


def test_help_has_an_example_for_every_command(run: Run) -> None:
    listed = run("--help").output
    for name in COMMANDS:
        done = run(name, "--help")
        assert done.exit_code == 0
        assert f"opensora-rewriter {name}" in done.output.split("Examples:")[1]
        assert f"  {name}  " in listed
    assert run("--version").output.startswith("opensora-rewriter, version ")
    assert run("rewrit").exit_code == 2


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        ([], "re", ["rewrite"]),
        (["check"], "--must", ["--must-exist"]),
        (["verify", "--level"], "l", ["load"]),
        (["nonsense"], "--", ["--version", "--help"]),
    ],
)
def test_a_shell_completes_commands_options_and_values(words: list[str], begun: str, offered: list[str]) -> None:
    from click.shell_completion import ShellComplete

    complete = ShellComplete(main, {}, "opensora-rewriter", "_OPENSORA_REWRITER_COMPLETE")
    assert [item.value for item in complete.get_completions(words, begun)] == offered


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_takes_the_colours_away(checkout: Checkout, monkeypatch: pytest.MonkeyPatch, no_color: str) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    words = ["rewrite", str(checkout("v1.1")), "--cache-dir", "/models/hf", "--no-resolve", "--diff"]
    done = CliRunner().invoke(main, words, color=True)
    assert ("\x1b[32m+" in done.output) != bool(no_color)
    assert ("\x1b" in done.output) != bool(no_color)


def test_an_interrupt_ends_with_2_as_1_would_say_that_something_was_found(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rewriter.checkout.select", interrupt)
    done = run("check", cwd=checkout("v1.1"))
    assert (done.exit_code, done.output) == (2, "error: interrupted\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_an_output_that_takes_no_more_is_exit_code_2_unless_files_were_written(checkout: Checkout) -> None:
    root = checkout("v1.1")
    for words in ("check .", "rules", f"{WRITES} --diff"):
        code, shown = shell(root, f"{words} > /dev/full")
        assert (code, shown.splitlines()[-1]) == (2, f"error: {FULL}")
        assert shell(root, f"{words} &> /dev/full") == (2, "")
    (root / "configs/opensora/inference/own.py").write_text("vae = dict(\n")
    for number in (7, 0):
        code, shown = shell(root, f"{WRITES} > /dev/full")
        reported = f"warning: {number} files written, but not the report: {FULL}"
        assert (code, shown.splitlines()[-1]) == (1, reported), "1 since a config is refused"


def test_a_reader_that_leaves_ends_the_run_in_silence(checkout: Checkout) -> None:
    assert shell(checkout("v1.1"), "rules | true; exit ${PIPESTATUS[0]}") == (1, "")
