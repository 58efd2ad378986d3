"""The command line: one click group, whose commands are imported when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from io import TextIOWrapper
from typing import Any

import click

from rewriter import __version__
from rewriter.cli.output import fail

# name -> the module of rewriter.cli that holds the command of that name, and its line in `--help`
COMMANDS = {
    "rewrite": ("configs", "Make configs (and loaders) read their weights from a local cache."),
    "check": ("configs", "Report the components that do not; changes and executes nothing."),
    "trace": ("trace", "Show every Hub call that the components reach, and the repos they need."),
    "download": ("cache", "Fetch exactly what the loaders will read into the cache."),
    "verify": ("verify", "Prove that the weights in cache_dir are whole, load, and build, offline."),
    "lock": ("cache", "Write down which weights the configs need, with their hashes."),
    "adopt": ("cache", "Turn a flat download or clone into the standard cache layout."),
    "settings": ("information", "Print the settings in use and where each comes from."),
    "schema": ("information", "Print the JSON Schema of the json output format."),
    "completion": ("information", "Print the shell completion of bash, zsh or fish."),
    "rules": ("information", "List the findings, or explain one of them."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f"rewriter.cli.{COMMANDS[cmd_name][0]}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would exit with 1, which means "findings" here
            fail("interrupted")
        except BrokenPipeError:  # of `| head`: click ends it in silence
            raise
        except OSError as error:  # a PATH that is not there, an output that takes no more
            fail(str(error))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="opensora-rewriter")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make an Open-Sora v1.x checkout load its weights from a local Hugging Face cache, and prove it.

    Exit codes: 0 all is well, 1 findings (or a refused component), 2 wrong usage or a failed run.

    \b
    Examples:
      opensora-rewriter rewrite ~/Open-Sora --cache-dir ~/.cache/huggingface/hub
      opensora-rewriter check ~/Open-Sora --cache-dir /models/hf/hub
      opensora-rewriter verify ~/Open-Sora
      opensora-rewriter rules OSR004
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a path that its encoding cannot show must not end the run
            stream.reconfigure(errors="backslashreplace")
