"""The loaders of every checkout in a run, and from a registered name to the hub calls that its loader makes.

Nothing of a checkout is executed. Where there are no sources the table of released loaders stands in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rewriter.locality import locality
from rewriter.model import KEYS, RESERVED_KEYS, Finding, HubCall, Trace, Value
from rewriter.read.modules import Sources, Texts
from rewriter.read.reach import can_load
from rewriter.read.released import RELEASED, trace_released
from rewriter.read.values import Items, Known, Unknown, Val
from rewriter.read.walk import Walk


class Loaders:
    """The loaders of a run, each checkout's read once.

    ``opensora_source``: a package, or a root that holds one, whose loaders are meant in place of the checkout's own.
    ``overlay``: bytes that stand for sources, by absolute path.
    """

    def __init__(self, opensora_source: str | None = None) -> None:
        self.opensora_source = opensora_source
        self.overlay: dict[str, bytes] = {}
        self.used_released_table = False
        self.texts = Texts()
        self._sources: dict[str, Sources | None] = {}

    def with_overlay(self, overlay: Mapping[str, bytes]) -> Loaders:
        """The same loaders with other bytes for some of their files."""
        if not overlay:
            return self
        other = Loaders(self.opensora_source)
        other.overlay, other.texts = {**self.overlay, **overlay}, self.texts.with_overlay(overlay)
        for place, each in self._sources.items():
            other._sources[place] = each and each.with_overlay(other.texts, overlay)
        return other

    def sources(self, root: str | None) -> Sources | None:
        """The sources of the checkout at ``root`` (or of ``--opensora-source``), or None where there are none."""
        place = self.opensora_source or root
        if place is None:
            return None
        if place not in self._sources:
            sources = Sources(place, self.texts)
            self._sources[place] = sources if sources.packages else None
        return self._sources[place]

    def trace(self, root: str | None, type_name: str, values: Mapping[str, Value]) -> Trace:
        """What building ``type_name`` with ``values`` (all that the dict holds, ``type`` or not) would do."""
        sources = self.sources(root)
        if sources is None:
            self.used_released_table = True
            return trace_released(type_name, values)
        given = {key: _make_value(value, key) for key, value in values.items() if key not in RESERVED_KEYS}
        request = type_name, frozenset(given.items())
        if request not in sources.traces:
            sources.traces[request] = _trace(sources, type_name, given)
        return sources.traces[request]

    def can_load(self, root: str | None, type_name: str) -> bool:
        """Whether the loader of a type can reach a hub call at all; a type that is not registered cannot."""
        sources = self.sources(root)
        if sources is None:
            return type_name in RELEASED
        may = any(map(can_load, sources.find_registering(type_name)))  # so that most files are not parsed
        return may and any(can_load(each.module, each.node) for each in sources.find_loaders(type_name))

    def problems(self) -> Iterator[Finding]:
        """Sources that could not be read, as warnings."""
        for path, problem in self.texts.problems.items():
            message, remedy = f"{problem.message}; passed over", "a loader in it cannot be traced"
            yield Finding("OSR900", path, problem.line, problem.column, "", message, remedy, "warning")


def split_calls(trace: Trace, root: str | None) -> tuple[list[HubCall], list[HubCall]]:
    """The calls of a trace that read from the Hub, and those whose path is missing on this machine.

    Calls on an existing path, and ``from_pretrained(None)``, are in neither. Repo ids that could not be followed count
    as the Hub's.
    """
    if not trace.calls:
        return [], []
    calls = [call for call in trace.calls if call.repo_text != "None"]
    places = {repo: "repo" if repo is None else locality(repo, root) for repo in {call.repo_id for call in calls}}
    remote, missing = ([call for call in calls if places[call.repo_id] == place] for place in ("repo", "missing"))
    return remote, missing


def _make_value(value: object, key: str = "") -> Val:
    """A keyword of the config as the walk sees it; numbers and lists of them decide nothing about what is loaded."""
    own = key if key in KEYS else None
    if isinstance(value, Value):
        if not value.known:
            return Unknown(value.text, own)
        value = value.value
    if value is None or isinstance(value, (str, bool)):
        return Known(value, True, own)
    if isinstance(value, dict):
        return Items({str(name): _make_value(inner) for name, inner in value.items()})
    return Unknown(repr(value) if key == "from_pretrained" else "", own)


def _trace(sources: Sources, type_name: str, given: Mapping[str, Val]) -> Trace:
    loaders = sources.find_loaders(type_name)
    if not loaders:
        return Trace(False)
    loader = loaders[0]
    path, line = loader.module.path, loader.node.lineno
    if len(loaders) > 1:
        places = " and ".join(f"{each.module.path}:{each.node.lineno}" for each in loaders)
        reason = f"`{type_name}` is registered in {places}, and which of them the package imports cannot be known"
        return Trace(True, path=path, line=line, unknown=(reason,), files=frozenset({path}))
    walk = Walk(sources, given)
    walk.enter(loader, [], Items(given), (), True)
    rejections = tuple(each for each in walk.rejections if each.key in given)
    unknown = tuple(dict.fromkeys([*walk.unknown, *walk.find_unwalked()]))
    used = frozenset(each.module.path for each in walk.entered.values())
    found = walk.lacking, tuple(walk.calls), rejections, tuple(walk.failures), unknown, used
    return Trace(True, False, path, line, *found)
