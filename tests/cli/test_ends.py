"""Help and completion, and how a run ends that could not print: closed and full streams, interrupts."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from cli_support import Checkout, Run, shell
from click.testing import CliRunner

from rewriter.cli import COMMANDS, main

posix = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
WRITES = "rewrite . --cache-dir /models/hf --no-resolve"
CLOSED = "error: the output cannot be used: Bad file descriptor"
UNREPORTED = "error: the files were written, but not the report: "


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


@posix
@pytest.mark.parametrize("words", ["check .", "rules", "--version", WRITES + " --diff"])
def test_a_standard_output_that_is_closed_is_one_that_cannot_be_written(checkout: Checkout, words: str) -> None:
    root = checkout("v1.1")
    code, shown = shell(root, f"{words} >&-")
    assert (code, shown.splitlines()[-1]) == (2, CLOSED)
    assert "Traceback" not in shown
    assert shell(root, f"{words} >&- 2>&-") == (2, "")


@posix
@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), pytest.param("> /dev/full", 1, marks=full)])
def test_files_that_were_written_are_reported_where_the_report_cannot_be(
    checkout: Checkout, closed: str, code: int
) -> None:
    root = checkout("v1.1")
    if code:
        (root / "configs/opensora/inference/own.py").write_text("vae = dict(\n")
    old = {path: path.read_bytes() for path in root.rglob("*.py")}
    done, shown = shell(root, f"{WRITES} {closed}")
    assert done == code, shown
    reason = "Bad file descriptor" if closed == ">&-" else "No space left on device"
    assert shown.splitlines()[-1] == UNREPORTED + reason
    assert any(path.read_bytes() != data for path, data in old.items())
    done, shown = shell(root, f"{WRITES} {closed}")  # nothing to write any more
    assert (done, shown.splitlines()[-1]) == (2, f"error: the output cannot be used: {reason}")


def test_a_report_file_that_fails_after_the_files_were_written_is_no_failed_run(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("rewriter.report.text.summarize_rewrite", fail)
    root = checkout("v1.1")
    done = run(*WRITES.split(), cwd=root)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (0, UNREPORTED + "full")
    done = run(*WRITES.split(), cwd=root)  # nothing to write any more
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, "error: the output cannot be used: full")
