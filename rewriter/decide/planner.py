"""One run over selected files: reads configs once, selects components and decides about them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from rewriter import files
from rewriter.checkout import Target
from rewriter.decide.decide import Context, decide
from rewriter.decide.loaders import Loaders, split_calls
from rewriter.decide.remedies import cache_option
from rewriter.decide.request import Request
from rewriter.decide.thread import SPECIAL_CASE
from rewriter.locality import is_repo_id, locality, names_weights
from rewriter.model import (
    CACHE_DIR,
    KEYS,
    REMOVE,
    Component,
    Config,
    Decision,
    FileResult,
    Finding,
    Keyword,
    Note,
    Problem,
    Span,
    Trace,
    Value,
)
from rewriter.read.configs import inherit, read_config

Keys = tuple[str, ...]


class Planner:
    """One run over selected files.

    Args:
        overlay: bytes that stand for config files (standard input).
    """

    def __init__(
        self,
        targets: Sequence[Target],
        request: Request,
        loaders: Loaders,
        *,
        overlay: Mapping[str, bytes] | None = None,
    ) -> None:
        self.targets = {target.path: target for target in targets}
        self.request = request
        self.loaders = loaders
        self._overlay = dict(overlay or {})
        self._refused_types: Mapping[tuple[str, str], str] = {}
        self._refused_components: Mapping[tuple[str, Keys], str] = {}
        self._read: dict[str, tuple[bytes | None, Config]] = {}
        self._results: dict[str, FileResult] = {}
        self._active: set[str] = set()
        self._selected = {*request.components, *request.named}
        self._notes: dict[Note, None] = {}

    def retry(
        self, loaders: Loaders, types: Mapping[tuple[str, str], str], components: Mapping[tuple[str, Keys], str]
    ) -> Planner:
        """The same run with other loaders; what has been read is not read again.

        Args:
            types: loaders whose source has to stay as it is, ``(root of the sources, type)``, and why.
            components: dicts that have to stay as they are, ``(path, keys)``, and why.
        """
        other = Planner(tuple(self.targets.values()), self.request, loaders, overlay=self._overlay)
        other._read, other._refused_types, other._refused_components = self._read, types, components
        return other

    # --- reading

    def read(self, path: str) -> tuple[bytes | None, Config]:
        """The bytes and the reading of one config file; unreadable ones carry a problem."""
        if path not in self._read:
            try:
                data = self._overlay[path] if path in self._overlay else files.read_bytes(path)
            except files.Unreadable as error:
                self._read[path] = (None, Config(path, problem=Problem(1, 0, error.message, error.remedy)))
            else:
                self._read[path] = (data, read_config(data, path))
        return self._read[path]

    def present(self, path: str) -> Config:
        """The reading of a file with its ``_base_`` files' values merged in, as they are now."""
        return inherit(self.read(path)[1], lambda base: self.read(base)[1])

    def future(self, path: str) -> Config:
        """The same as it will be when the run is over."""
        return inherit(self._edited(path), self._edited)

    def _edited(self, path: str) -> Config:
        """What one file says when the run is over."""
        config = self.read(path)[1]
        if path not in self.targets or path in self._active:
            return config
        changes: dict[Span, dict[str, object]] = {}
        for change in self.decide_file(path).changes:
            changes.setdefault(change.component.span, {})[change.key] = change.value
        return config._replace(
            components=tuple(_change(each, changes.get(each.span, {})) for each in config.components)
        )

    def bases_of(self, path: str) -> tuple[str, ...]:
        """The files that one inherits from, directly or through others."""
        found: dict[str, None] = {}
        todo = [path]
        for each in todo:
            new = [base for base in self.read(each)[1].bases if base not in found and base != path]
            found.update(dict.fromkeys(new))
            todo += new
        return tuple(found)

    # --- selecting

    def select(self, config: Config, root: str | None) -> list[tuple[Component, str]]:
        """The components that the request selects, each with the name of the component that was requested."""
        owners: dict[Keys, str] = {}
        found: list[tuple[Component, str]] = []
        for component in sorted(config.components, key=lambda each: len(each.keys)):
            around = owners.get(component.keys[:-1])
            if component.name in self._selected:
                owner = component.name
            elif around is not None and self._loads(component, root):
                owner = around
            elif self.request.all_components and self._may_read(component, root):
                owner = component.name
            else:
                continue
            owners[component.keys] = owner
            found.append((component, owner))
        return sorted(found, key=lambda pair: (pair[0].span.line, pair[0].span.column))

    def selected_components(self) -> Iterator[tuple[Component, str, str | None]]:
        """Every selected component of the run, with its owner and its checkout."""
        for target in self.targets.values():
            if self.read(target.path)[1].problem is None:
                for component, owner in self.select(self.present(target.path), target.root):
                    yield component, owner, target.root

    def _trace(self, component: Component, root: str | None) -> Trace | None:
        kind = component.values.get("type")
        if kind is None or not isinstance(kind.value, str) or component.unsure is not None:
            return None
        if not self.loaders.can_load(root, kind.value):
            return None
        trace = self.loaders.trace(root, kind.value, component.values)
        return trace if trace.found else None

    def _loads(self, component: Component, root: str | None) -> bool:
        trace = self._trace(component, root)
        return trace is not None and bool(split_calls(trace, root)[0])

    def _may_read(self, component: Component, root: str | None) -> bool:
        """Whether a component reads weights, would read them where its path existed, or cannot be followed."""
        trace = self._trace(component, root)
        loads = trace is not None and (any(split_calls(trace, root)) or bool(trace.unknown))
        return loads or self._hides_repo(component, root) is not None

    def _hides_repo(self, component: Component, root: str | None) -> str | None:
        """Why a component that names weights cannot be followed, or None."""
        value = component.values.get("from_pretrained")
        if value is None or (value.known and not isinstance(value.value, str)):
            return None
        kind = component.values.get("type")
        if component.unsure is not None or kind is None:
            return component.unsure or "it has no `type`"
        name = str(kind.value)
        if kind.known and self.loaders.is_registered(root, name) and not self.loaders.can_load(root, name):
            return None
        trace = self._trace(component, root)
        if trace is None:
            return f"no loader is registered as `{kind.value if kind.known else kind.text}`"
        if trace.unknown and not trace.calls and not trace.failures:
            return trace.unknown[0]
        if not value.known and trace.calls:
            return f"from_pretrained is `{value.text}`"
        bad = not names_weights(value.value) and any(call.repo_id == value.value for call in trace.calls)
        return f"from_pretrained={value.text} can be no repo id" if bad else None

    # --- deciding

    def decide_all(self, progress: Callable[[], None] | None = None) -> tuple[FileResult, ...]:
        """Decide about every file, in the order of the selection."""
        results = []
        for path in self.targets:
            results.append(self.decide_file(path))
            if progress is not None:
                progress()
        return tuple(results)

    def decide_file(self, path: str) -> FileResult:
        """Decide about one file (its base files first), once."""
        if path not in self._results:
            self._active.add(path)
            self._results[path] = self._decide(self.targets[path])
            self._active.discard(path)
        return self._results[path]

    def _decide(self, target: Target) -> FileResult:
        path, root = target.path, target.root
        data, plain = self.read(path)
        if plain.problem is not None:
            place = path, plain.problem.line, plain.problem.column
            finding = Finding("OSR900", *place, "", plain.problem.message, plain.problem.remedy)
            return FileResult(path, root, (), (finding,), data, data)
        config = inherit(plain, self._edited)
        dirs = [each.values[CACHE_DIR].value for each in config.components if CACHE_DIR in each.values]
        named = next((each for each in dirs if isinstance(each, str) and os.path.isabs(each)), None)
        remedies = self.request if self.request.cache_dir or named is None else replace(self.request, cache_dir=named)
        context = Context(path, root, self.request, self.loaders, remedies, self._refused_types)
        picked = self.select(config, root)
        decisions = tuple(self._decide_component(context, component, owner) for component, owner in picked)
        lines = {component.span.line for component, _ in picked}
        skipped = sorted({component.span.line for component in config.components} - lines)
        keys = {component.keys for component, _ in picked}
        findings = (*self._find_others(target, config, keys, remedies), *self._find_bases(target, config))
        self._note_hidden(target, config, keys)
        bases = self.bases_of(path)
        return FileResult(path, root, decisions, findings, data, data, config.ignores, tuple(skipped), bases)

    def _decide_component(self, context: Context, component: Component, owner: str) -> Decision:
        if component.origin is not None and component.origin in self.targets:
            return Decision(component, "inherited", None)  # its base file's own decision counts
        made = decide(context, component, owner)
        self._note_guess(made)
        made = made._replace(findings=(*made.findings, *_warn_of_other_repo(context, made)))
        why = self._refused_components.get((context.path, component.keys))
        if why is None or not (made.changes or made.outcome == "cannot"):
            return made
        others = tuple(each for each in made.findings if each.code not in ("OSR004", "OSR005"))
        place = context.path, component.span.line, component.span.column, component.dotted
        remedy = "write the dict of the other config with `_delete_=True` and all its keywords"
        return made._replace(outcome="cannot", changes=(), findings=(*others, Finding("OSR004", *place, why, remedy)))

    # --- findings and notes beside the decisions

    def _find_others(
        self, target: Target, config: Config, picked: Collection[Keys], remedies: Request
    ) -> Iterator[Finding]:
        """OSR010: components that nobody selected and that still read from the Hub."""
        if self.request.cache_dir is None and not (self.request.checking and not self.request.cache_dirs):
            return
        for component in config.components:
            if len(component.keys) != 1 or component.keys in picked:
                continue
            trace = self._trace(component, target.root)
            calls = split_calls(trace, target.root)[0] if trace is not None else []
            lacking = {call.repo_id for call in calls if CACHE_DIR not in call.reached and call.repo_id is not None}
            repos = sorted(filter(is_repo_id, lacking))
            if repos:
                name, span = component.name, component.span
                message = f"`{name}` still loads {', '.join(repos)} from the Hub without cache_dir"
                option = cache_option(remedies, name)
                remedy = f"opensora-rewriter rewrite {{path}} {option} --component {name}"
                yield Finding("OSR010", target.path, span.line, span.column, name, message, remedy, "warning")

    def _find_bases(self, target: Target, config: Config) -> Iterator[Finding]:
        """OSR007 where a base cannot be named and a selected component is not bound in the file itself."""
        absent = [name for name in self.request.components if name not in config.bound]
        if config.bases_unknown is not None and absent:
            names = ", ".join(f"`{name}`" for name in absent)
            message = f"{names} may come from a base file that cannot be read: {config.bases_unknown}"
            remedy = "write `_base_` as a plain path to an existing file"
            yield Finding("OSR007", target.path, 1, 0, "", message, remedy)

    def _note_hidden(self, target: Target, config: Config, picked: Collection[Keys]) -> None:
        for component in config.components:
            why = self._hides_repo(component, target.root) if component.keys not in picked else None
            if why is not None:
                message = f"`{component.dotted}` names weights and was not selected; {why}"
                self._notes[Note(message, target.path, component.span.line)] = None

    def _note_guess(self, made: Decision) -> None:
        """What the table of released loaders lacks is a note: it is a guess."""
        rejections = made.trace.rejections if made.trace is not None and made.trace.guessed else ()
        names = ", ".join(f"`{each.key}`" for each in rejections if each.key not in KEYS)
        if names:
            message = f"the released `{made.type}` has no {names}; this config's loader may have"
            self._notes[Note(message)] = None

    def notes(self) -> tuple[Note, ...]:
        """What was passed over or stood in for."""
        found = list(self._notes)
        if self.loaders.used_released_table:
            message = (
                "no package that registers loaders was found: a table of the released loaders stands in, which is a "
                "guess; name the package with --opensora-source DIR"
            )
            found.insert(0, Note(message))
        return tuple(found)


def _warn_of_other_repo(context: Context, made: Decision) -> Iterator[Finding]:
    """That a loader (v1.0's ``t5``) reads one repo of its own, whatever other one the config names."""
    written = made.component.values.get("from_pretrained", Value.of(None)).value
    given = {change.key: change.value for change in made.changes}.get("from_pretrained", written)
    calls = made.trace.calls if made.trace is not None else ()
    functions = {step.function for call in calls if CACHE_DIR in call.reached for step in call.chain}
    repo_id = SPECIAL_CASE.repo_id
    if SPECIAL_CASE.function not in functions or given == repo_id or not isinstance(given, str):
        return
    if is_repo_id(given) and locality(given, context.root) == "repo":
        place = context.path, made.component.span.line, made.component.span.column, made.component.dotted
        message = f"`{made.type}` does not load {given}: its source names {repo_id}, which will be loaded"
        yield Finding("OSR006", *place, message, f"write from_pretrained={repo_id!r} to say so", "warning")


def _change(component: Component, changes: Mapping[str, object]) -> Component:
    """A component as an edit leaves it."""
    if not changes:
        return component
    written = {key: Value.of(value) for key, value in changes.items() if value is not REMOVE}
    kept = {key: value for key, value in component.values.items() if changes.get(key) is not REMOVE}
    keywords = tuple(each for each in component.keywords if each.key not in changes)
    keywords += tuple(Keyword(key, value, component.span) for key, value in written.items())
    return component._replace(values={**kept, **written}, keywords=keywords)
