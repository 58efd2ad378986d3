"""How a run ends that could not print: closed and full streams, interrupts, folders that are gone."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from pathlib import Path

import pytest
from cli_support import Checkout, Run, shell
from click.testing import CliRunner

posix = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
WRITES = "rewrite . --cache-dir /models/hf --no-resolve"


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


def test_an_interrupt_ends_with_2_as_1_would_say_that_something_was_found(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rewriter.checkout.select", interrupt)
    done = run("check", cwd=checkout("v1.1"))
    assert (done.exit_code, done.output) == (2, "error: interrupted\n")


def test_a_command_in_a_folder_that_is_gone_is_reported(
    checkout: Checkout, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, gone = checkout("v1.1"), tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = run("check", root)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == ("error: the current folder is gone: it was deleted or moved\n  cd to a folder that exists\n")


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


@posix
@pytest.mark.parametrize("closed", [">&-", pytest.param("> /dev/full", marks=full)])
@pytest.mark.parametrize("code", [0, 1])
def test_files_that_were_written_are_reported_where_the_report_cannot_be(
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
    from rewriter.report import text

    def fail(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(text, "summarize_rewrite", fail)
    root = checkout("v1.1")
    done = run(*WRITES.split(), cwd=root)
    if error.errno == errno.EIO:
        assert done.exception is error
        return
    told = "error: the files were written, but not the report: the output cannot be written: full"
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (0, told)
    done = run(*WRITES.split(), cwd=root)  # nothing to write any more
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, "error: the output cannot be written: full")
