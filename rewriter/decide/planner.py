"""One run over selected files: reads configs once, selects components and decides about them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence

from rewriter import files, model
from rewriter.checkout import Target
from rewriter.decide.decide import Case, Context, LoaderId, find_unknown_repo, lacks_model
from rewriter.decide.remedies import rewrite_command
from rewriter.decide.request import Request
from rewriter.locality import is_repo_id
from rewriter.model import CACHE_DIR, Component, Config, Decision, FileResult, Finding, Note, Trace, Value
from rewriter.read.configs import inherit, read_config
from rewriter.read.loaders import Loaders, split_calls


class Planner:
    """One run over selected files. ``overlay``: bytes that stand for config files (standard input)."""

    def __init__(
        self, targets: Sequence[Target], request: Request, loaders: Loaders, *, overlay: Mapping[str, bytes] = {}
    ) -> None:
        self.targets = {target.path: target for target in targets}
        self.request, self.loaders = request, loaders
        self._overlay = overlay
        self._refused: Mapping[LoaderId, str] = {}
        self._left: Collection[str] = ()
        self._read: dict[str, tuple[bytes | None, Config]] = {}
        self._results: dict[str, FileResult] = {}
        self._notes: dict[Note, None] = {}

    def retry(self, loaders: Loaders, refused: Mapping[LoaderId, str], left: Collection[str]) -> Planner:
        """The same run with other loaders, some of which, and some files, stay as they are; nothing is read again."""
        other = Planner(tuple(self.targets.values()), self.request, loaders, overlay=self._overlay)
        other._read, other._refused, other._left = self._read, refused, left
        return other

    def forget(self, path: str) -> None:
        """Forget a file that was decided about, and the notes; its base files stay."""
        del self._read[path], self._results[path]
        self._notes.clear()

    # --- reading

    def read(self, path: str) -> tuple[bytes | None, Config]:
        """The bytes and the reading of one config file; unreadable ones carry a problem."""
        if path not in self._read:
            try:
                data = self._overlay[path] if path in self._overlay else files.read_bytes(path)
                self._read[path] = (data, read_config(data, path))
            except files.Unreadable as error:
                self._read[path] = (None, Config(path, problem=error.problem))
        return self._read[path]

    def present(self, path: str) -> Config:
        """The reading of a file with its ``_base_`` files' values merged in, as they are now."""
        return inherit(self.read(path)[1], lambda base: self.read(base)[1])

    def future(self, path: str) -> Config:
        """The same as it will be when the run is over."""
        return inherit(self._edited(path), self._edited)

    def _edited(self, path: str) -> Config:
        """What one file says when the run is over."""
        config, components = self.read(path)[1], []
        changes: dict[object, dict[str, Value]] = {}
        for change in self.decide_file(path).changes if path in self.targets and path not in self._left else ():
            changes.setdefault(change.component.span, {})[change.key] = Value.of(change.value)
        for each in config.components:
            values = {**each.values, **changes.get(each.span, {})}
            kept = {key: value for key, value in values.items() if value.value is not model.REMOVE}
            components.append(each._replace(values=kept))
        return config._replace(components=tuple(components))

    def bases_of(self, path: str) -> tuple[str, ...]:
        """The files that one inherits from, directly or through others."""
        found = [path]
        for each in found:
            found += [base for base in self.read(each)[1].bases if base not in found]
        return tuple(found[1:])

    # --- deciding

    def decide_file(self, path: str) -> FileResult:
        """Decide about one file (its base files first), once."""
        if path not in self._results:
            self._results[path] = FileResult(path, self.targets[path].root)  # for a circle of base files
            self._results[path] = self._decide(self.targets[path])
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
        remedies = self.request._replace(cache_dir=self.request.cache_dir or named)
        context = Context(path, root, self.request, self.loaders, remedies, self._refused)
        picked = self._select(config, root)
        decisions = tuple(self._decide_component(context, component, owner) for component, owner in picked)
        keys = {component.keys for component, _ in picked}
        others = [component for component in config.components if component.keys not in keys]
        skipped = sorted({each.span.line for each in others} - {component.span.line for component, _ in picked})
        found = [finding for component in others for finding in self._judge_other(context, component)]
        found += self._find_bases(path, config)
        bases = self.bases_of(path)
        return FileResult(path, root, decisions, tuple(found), data, data, config.ignores, tuple(skipped), bases)

    def _select(self, config: Config, root: str | None) -> list[tuple[Component, str]]:
        """The components that the request selects, each with the name of the component that was requested."""
        owners: dict[tuple[str, ...], str] = {}
        selected = self.request.selected
        found: list[tuple[Component, str]] = []
        for component in sorted(config.components, key=lambda each: len(each.keys)):
            around = owners.get(component.keys[:-1])
            owner = component.name if component.name in selected else None
            if owner is None and (around is not None or self.request.all_components):
                trace, unclear = self._look(component, root)
                remote, missing = split_calls(trace, root)
                if around is not None and remote:
                    owner = around
                elif self.request.all_components and (
                    remote or missing or trace.unknown or unclear or lacks_model(trace, component.values, root)
                ):
                    owner = component.name
            if owner is not None:
                owners[component.keys] = owner
                found.append((component, owner))
        return sorted(found, key=lambda pair: (pair[0].span.line, pair[0].span.column))

    def _look(self, component: Component, root: str | None) -> tuple[Trace, str | None]:
        """What a component would load, as far as it can; and why it cannot be followed where it names weights."""
        kind, weights = (component.values.get(key) or Value.of(None) for key in ("type", "from_pretrained"))
        name = kind.value if isinstance(kind.value, str) and component.unsure is None else ""
        trace, unclear = Trace(False), component.unsure
        names_weights = isinstance(weights.value, str) or not weights.known
        if unclear is None and "type" not in component.values:
            unclear = "it has no `type`"
        elif name and self.loaders.can_load(root, name):
            trace = self.loaders.trace(root, name, component.values)
            is_unknown = trace.unknown and not trace.calls and not trace.failures
            unclear = trace.unknown[0] if is_unknown else find_unknown_repo(weights, trace.calls)
        elif unclear is None and names_weights and not self.loaders.trace(root, name, component.values).found:
            unclear = f"no loader is registered as `{name or kind.text}`"
        return trace, unclear if names_weights else None

    def _decide_component(self, context: Context, component: Component, owner: str) -> Decision:
        if component.origin in self.targets:
            return Decision(component, "inherited", None)  # its base file's own decision counts
        made = Case(context, component, owner).decide()
        if made.trace is not None and made.trace.guessed:
            names = ", ".join(f"`{each.key}`" for each in made.trace.rejections if each.key not in model.KEYS)
            if names:
                message = f"the released `{made.type}` has no {names}; this config's loader may have"
                self._notes[Note(message)] = None
        return made

    # --- findings and notes beside the decisions

    def _judge_other(self, context: Context, component: Component) -> Iterator[Finding]:
        """OSR010 where a component that nobody selected still reads from the Hub; a note if it cannot be followed."""
        trace, unclear = self._look(component, context.root)
        name, span = component.name, component.span
        if unclear is not None:
            message = f"`{component.dotted}` names weights and was not selected; {unclear}"
            self._notes[Note(message, context.path, span.line)] = None
        calls = split_calls(trace, context.root)[0]
        repos = {call.repo_id for call in calls if CACHE_DIR not in call.reached and is_repo_id(call.repo_id or "")}
        if repos and len(component.keys) == 1 and self.request.looks_at_cache_dir(name):
            message = f"`{name}` still loads {', '.join(sorted(map(str, repos)))} from the Hub without cache_dir"
            remedy = rewrite_command(context.remedies, component, name)
            yield Finding("OSR010", context.path, span.line, span.column, name, message, remedy, "warning")

    def _find_bases(self, path: str, config: Config) -> Iterator[Finding]:
        """OSR007 where a base cannot be named and a selected component is not bound in the file itself."""
        absent = [f"`{name}`" for name in self.request.components if name not in config.bound]
        if config.bases_unknown is not None and absent:
            message = f"{', '.join(absent)} may come from a base file that cannot be read: {config.bases_unknown}"
            yield Finding("OSR007", path, 1, 0, "", message, "write `_base_` as a plain path to an existing file")

    def notes(self) -> tuple[Note, ...]:
        """What was passed over or stood in for."""
        found = "no package that registers loaders was found: a table of the released loaders stands in"
        guess = Note(f"{found}, which is a guess; name the package with --opensora-source DIR")
        return (*[guess] * self.loaders.used_released_table, *self._notes)
