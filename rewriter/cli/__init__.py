"""The command line: one click group, whose commands are imported when they are called."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import Any

import click

from rewriter import __version__
from rewriter.cli.output import fail, is_unwritable

# name -> its line in `--help`; the module rewriter.cli.NAME holds a command called `command`.
COMMANDS = {
    "rewrite": "Make configs (and loaders) read their weights from a local cache.",
    "check": "Report the components that do not; changes and executes nothing.",
    "trace": "Show every Hub call that the components reach, and the repos they need.",
    "download": "Fetch exactly what the loaders will read into the cache.",
    "verify": "Prove that the weights in cache_dir are whole, load, and build, offline.",
    "lock": "Write down which weights the configs need, with their hashes.",
    "adopt": "Turn a flat download or clone into the standard cache layout.",
    "settings": "Print the settings in use and where each comes from.",
    "schema": "Print the JSON Schema of the json output format.",
    "completion": "Print the shell completion of bash, zsh or fish.",
    "rules": "List the findings, or explain one of them.",
}

EPILOG = """
\b
Examples:
  opensora-rewriter rewrite ~/Open-Sora --cache-dir ~/.cache/huggingface/hub
  opensora-rewriter check ~/Open-Sora --cache-dir /models/hf/hub
  opensora-rewriter verify ~/Open-Sora
  opensora-rewriter rules OSR004
"""


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"rewriter.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().main(*args, **extra)
        except OSError as error:  # of click itself: a help text, a version, wrong usage
            _fail_if_unwritable(error)
            raise

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would exit with 1, which means "findings" here
            fail("interrupted")
        except OSError as error:
            _fail_if_unwritable(error)
            try:
                os.getcwd()
            except OSError:
                fail("the current folder is gone: it was deleted or moved", "cd to a folder that exists")
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # while a shell completes (resilient), nothing that is typed so far may end in an error
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Commands: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


def _fail_if_unwritable(error: OSError) -> None:
    if is_unwritable(error):
        fail(f"the output cannot be written: {error.strerror}")


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="opensora-rewriter")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make an Open-Sora v1.x checkout load its weights from a local Hugging Face cache, and prove it.

    Exit codes: 0 all is well, 1 findings (or a refused component), 2 wrong usage or a failed run.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a path that the terminal's encoding cannot show must not end the run
            reconfigure(errors="backslashreplace")
