"""``opensora-rewriter completion``: shell completion of commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

EPILOG = """
\b
Examples:
  opensora-rewriter completion bash >> ~/.bashrc
  opensora-rewriter completion zsh >> ~/.zshrc
  opensora-rewriter completion fish > ~/.config/fish/completions/opensora-rewriter.fish
"""


@click.command("completion", epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL."""
    from rewriter.cli import main  # which imports this module to run it

    completion = get_completion_class(shell)
    assert completion is not None
    name = "opensora-rewriter"
    click.echo(completion(main, {}, name, "_OPENSORA_REWRITER_COMPLETE").source())
