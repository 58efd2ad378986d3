"""The loaders of every checkout in a run: its sources, or the table of released loaders where there are none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from rewriter.checkout import find_packages
from rewriter.locality import locality
from rewriter.model import RESERVED_KEYS, Finding, HubCall, Trace, Value
from rewriter.read.loaders import trace_loader
from rewriter.read.modules import Sources
from rewriter.read.reach import type_can_load
from rewriter.read.released import RELEASED, trace_released


def keywords(values: Mapping[str, Value]) -> dict[str, Value]:
    """What of a component's dict its loader is called with."""
    return {key: value for key, value in values.items() if key not in RESERVED_KEYS}


def split_calls(trace: Trace, root: str | None) -> tuple[list[HubCall], list[HubCall]]:
    """The calls of a trace that read from the Hub, and those whose path is missing on this machine.

    Calls on an existing path, and ``from_pretrained(None)``, are in neither. Repo ids that could not be followed count
    as the Hub's.
    """
    places = [
        (call, "repo" if call.repo_id is None else locality(call.repo_id, root))
        for call in trace.calls
        if call.repo_text != "None"
    ]
    return [call for call, place in places if place == "repo"], [call for call, place in places if place == "missing"]


class Loaders:
    """The loaders of a run, each checkout's read once.

    Args:
        opensora_source: a package, or a root that holds one, whose loaders are meant in place of the checkout's own.
        overlay: bytes that stand for sources, by absolute path.
    """

    def __init__(self, opensora_source: str | None = None, overlay: Mapping[str, bytes] | None = None) -> None:
        self.opensora_source = opensora_source
        self.overlay = dict(overlay or {})
        self.used_released_table = False
        self._sources: dict[str, Sources | None] = {}

    def with_overlay(self, overlay: Mapping[str, bytes]) -> Loaders:
        """The same loaders with other bytes for some of their files."""
        if not overlay:
            return self
        other = Loaders(self.opensora_source, {**self.overlay, **overlay})
        other._sources = {place: each.with_overlay(overlay) if each else None for place, each in self._sources.items()}
        return other

    def sources(self, root: str | None) -> Sources | None:
        """The sources of the checkout at ``root`` (or of ``--opensora-source``), or None where there are none."""
        place = self.opensora_source or root
        if place is None:
            return None
        if place not in self._sources:
            packages = find_packages(place) or ((place,) if os.path.isfile(os.path.join(place, "__init__.py")) else ())
            self._sources[place] = Sources(place, self.overlay, packages) if packages else None
        return self._sources[place]

    def trace(self, root: str | None, type_name: str, values: Mapping[str, Value]) -> Trace:
        """What building ``type_name`` with ``values`` (all that the dict holds, ``type`` or not) would do."""
        sources = self.sources(root)
        if sources is not None:
            return trace_loader(sources, type_name, keywords(values))
        self.used_released_table = True
        return trace_released(type_name, keywords(values))

    def is_registered(self, root: str | None, type_name: str) -> bool:
        """Whether a type is registered in the sources, or in the table where there are none."""
        sources = self.sources(root)
        return bool(sources.find_loaders(type_name)) if sources is not None else type_name in RELEASED

    def can_load(self, root: str | None, type_name: str) -> bool:
        """Whether the loader of a type can reach a hub call at all; a type that is not registered cannot."""
        sources = self.sources(root)
        return type_name in RELEASED if sources is None else type_can_load(sources, type_name)

    def read_source(self, path: str) -> bytes:
        """The bytes of a source, as they were read when it was traced."""
        known = [each for each in self._sources.values() if each is not None]
        return next((each for each in known if each.has_read(path)), known[0]).read_file(path)

    def folders(self) -> set[str]:
        """The folders of the sources that were read."""
        return {folder for each in self._sources.values() if each is not None for folder in each.read_folders()}

    def problems(self) -> Iterator[Finding]:
        """Sources that could not be read, as warnings."""
        for sources in self._sources.values():
            for path, problem in sources.problems.items() if sources is not None else ():
                message, remedy = f"{problem.message}; passed over", "a loader in it cannot be traced"
                yield Finding("OSR900", path, problem.line, problem.column, "", message, remedy, "warning")
