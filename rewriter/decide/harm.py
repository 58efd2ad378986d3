"""Find what an edit would break: after the edits, no component of any config may be judged worse than before.

The edited bytes are laid over the sources, and every config of the checkout is traced again, selected or not. A new
fault drops every source edit on its path, or the change of the base file that it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rewriter.checkout import config_files
from rewriter.decide.loaders import keywords
from rewriter.model import KEYS, Component, FileResult, SourceChange, Trace, Value

if TYPE_CHECKING:
    from rewriter.decide.planner import Planner


@dataclass(frozen=True, slots=True)
class Thread:
    """The source changes that lead the requested keys to every hub call of one loader, and where it is registered.

    ``functions``: ``(path, function)`` that they edit.
    """

    root: str
    type: str
    changes: tuple[SourceChange, ...] = ()
    functions: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Harm:
    """What has to be left alone, and why: loaders by ``(root of the sources, type)``, dicts by ``(path, keys)``."""

    types: Mapping[tuple[str, str], str] = field(default_factory=dict)
    components: Mapping[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)


Fault = tuple[object, ...]


def find_harm(before: Planner, after: Planner, threads: Sequence[Thread], results: Sequence[FileResult]) -> Harm:
    """What the edits of a run would break.

    Args:
        before: reads everything as it is. after: with the edited sources; its configs are those of ``results``.
    """
    edited = {result.path for result in results if result.new != result.old}
    types: dict[tuple[str, str], str] = {}
    components: dict[tuple[str, tuple[str, ...]], str] = {}
    for path, root in _concerned_configs(before, edited) if threads or edited else ():
        old = {each.keys: each for each in before.present(path).components}
        for component in after.future(path).components if path in before.targets or edited else ():
            known = old.get(component.keys)
            if known is None or component.unsure is not None:
                continue
            found = _new_faults(before, after, root, known, component)
            if not found:
                continue
            where = f"`{component.dotted}` of {path}, where {next(iter(found.values()))[0]}"
            concerned = {place for _, places in found.values() for place in places}
            bad = [each for each in threads if each.functions & concerned]
            types |= {(each.root, each.type): f"an edit would break {where}" for each in bad}
            for base in before.bases_of(path) if not bad else ():
                if base in edited:
                    components[base, component.keys] = f"a change here would break {where}"
            if not bad and not components and path not in edited:
                types |= {(each.root, each.type): f"an edit would break {where}" for each in threads}
    return Harm(types, components)


def _concerned_configs(planner: Planner, edited: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Every config of the checkouts of a run."""
    found = {target.path: target.root for target in planner.targets.values()}
    for root in {root for root in found.values() if root is not None}:
        found.update((path, root) for path in config_files(root) if path not in found)
    yield from found.items()


def _new_faults(
    before: Planner, after: Planner, root: str | None, old: Component, new: Component
) -> dict[Fault, tuple[str, frozenset[tuple[str, str]]]]:
    """What is wrong with a component after the edits, and was not before: in words, with the functions on its path."""
    kinds = [each.values["type"].value for each in (old, new) if "type" in each.values]
    if len(kinds) < 2 or not all(isinstance(kind, str) for kind in kinds):
        return {}
    one = before.loaders.trace(root, str(kinds[0]), old.values)
    if old.values == new.values and one.files.isdisjoint(after.loaders.overlay):
        return {}
    other = after.loaders.trace(root, str(kinds[1]), new.values)
    known = _faults(one, old.values)
    return {fault: words for fault, words in _faults(other, new.values).items() if fault not in known}


def _faults(trace: Trace, values: Mapping[str, Value]) -> dict[Fault, tuple[str, frozenset[tuple[str, str]]]]:
    """What is wrong with a trace; faults are compared without line numbers."""
    found: dict[Fault, tuple[str, frozenset[tuple[str, str]]]] = {}
    given = keywords(values)
    for rejection in trace.rejections:
        places = frozenset({(rejection.path, rejection.function), *((s.path, s.function) for s in rejection.chain)})
        words = f"{rejection.function} would be given {rejection.key} and raise a TypeError"
        found["rejected", rejection.key, rejection.function, rejection.path] = words, places
    every = frozenset((step.path, step.function) for call in trace.calls for step in call.chain)
    for failure in trace.failures:
        found["failure", failure.text, failure.path] = f"`{failure.text}` would fail", every
    for key in KEYS:
        for call in trace.calls if key in given and given[key].value not in (None, False) else ():
            if key not in call.reached:
                places = frozenset((step.path, step.function) for step in call.chain)
                words = f"{key} would not reach {call.callee} any more"
                found["lost", key, call.callee, call.path, call.repo_id or call.repo_text] = words, places
    return found
