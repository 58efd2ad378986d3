"""What a decision is made in, and what of a trace it looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rewriter.decide.request import Request
from rewriter.decide.thread import Threading
from rewriter.locality import locality
from rewriter.model import HubCall, Trace, Value

Tracer = Callable[[str, Mapping[str, Value]], Trace]
PLACEHOLDER = "/cache_dir"
"""The directory that is traced where ``check`` names none: any absolute one will do."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision is made in.

    ``path``: of the config. ``root``: of its checkout. ``trace``: what the loaders do (on the sources as they will be).
    ``thread``: which source edits would lead a key to the hub calls of (type, values).
    """

    path: str
    root: str | None
    request: Request
    trace: Tracer
    thread: Callable[[str, Mapping[str, Value], str], Threading]


def split_calls(trace: Trace, root: str | None) -> tuple[list[HubCall], list[HubCall]]:
    """The calls of a trace that read from the Hub, and those whose path is missing on this machine.

    Calls on an existing path, and ``from_pretrained(None)``, are in neither. Repo ids that could not be followed count
    as the Hub's.
    """
    remote: list[HubCall] = []
    missing: list[HubCall] = []
    for call in trace.calls:
        if call.repo_text == "None":
            continue
        place = "repo" if call.repo_id is None else locality(call.repo_id, root)
        if place == "repo":
            remote.append(call)
        elif place == "missing":
            missing.append(call)
    return remote, missing
