"""Set or remove keywords of the dicts of one config file: bytes in, bytes out, nothing else touched."""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.edit.elements import AFTER
from rewriter.edit.literals import EditError
from rewriter.edit.loader import edit_loader
from rewriter.edit.sources import write_literals
from rewriter.model import ConfigChange

__all__ = ["EditError", "edit_config"]


def edit_config(data: bytes, changes: Sequence[ConfigChange]) -> bytes:
    """The config file ``data`` with ``changes`` made; their components were read from it. EditError: with the line.

    A keyword that is there keeps its place; a new one goes after ``from_pretrained``, else after ``type``, else last,
    in the style around it. Removing gives back, to the byte, what an earlier call added to.
    """
    return edit_loader(data, write_literals(changes), after=AFTER)
