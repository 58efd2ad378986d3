"""One run over selected files: reads configs once, selects components, decides about them and edits the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from rewriter import files
from rewriter.checkout import Target
from rewriter.decide.context import Context, split_calls
from rewriter.decide.decide import decide
from rewriter.decide.loaders import Loaders, keywords
from rewriter.decide.remedies import cache_option
from rewriter.decide.request import Request
from rewriter.decide.thread import SPECIAL_CASES, Threading, thread_key
from rewriter.locality import is_path_like, is_repo_id, locality
from rewriter.model import (
    CACHE_DIR,
    KEYS,
    REMOVE,
    Component,
    Config,
    Decision,
    FileEdit,
    FileResult,
    Finding,
    Keyword,
    Note,
    Problem,
    SourceChange,
    Span,
    Trace,
    Value,
)
from rewriter.read.configs import inherit, read_config
from rewriter.words import quote_word

_SET_OPTION = " --set "


class ProofError(Exception):
    """The new bytes of a file do not read as they were meant to: the run stops and nothing is written."""

    def __init__(self, path: str, message: str, remedy: str = "please report this together with the file") -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message
        self.remedy = remedy


class Planner:
    """One run over selected files.

    Args:
        overlay: bytes that stand for config files (standard input).
        refused: loaders whose source has to stay as it is, ``(root of the sources, type)``, and why.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        request: Request,
        loaders: Loaders,
        *,
        overlay: Mapping[str, bytes] | None = None,
        refused: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self.targets = {target.path: target for target in targets}
        self.request = request
        self.loaders = loaders
        self._overlay = dict(overlay or {})
        self._refused = dict(refused or {})
        self._refused_components: dict[tuple[str, tuple[str, ...]], str] = {}
        self._read: dict[str, tuple[bytes | None, Config]] = {}
        self._results: dict[str, FileResult] = {}
        self._active: set[str] = set()
        self._selected = {*request.components, *request.named}
        self._notes: dict[Note, None] = {}
        self._edits: dict[tuple[str, str], bytes] = {}

    def with_loaders(self, loaders: Loaders, refused: Mapping[tuple[str, str], str]) -> Planner:
        """The same run with other loaders; what has been read is not read again."""
        targets = tuple(self.targets.values())
        other = Planner(targets, self.request, loaders, overlay=self._overlay, refused=refused)
        other._read, other._refused_components, other._edits = self._read, self._refused_components, self._edits
        return other

    def refuse_components(self, components: Mapping[tuple[str, tuple[str, ...]], str]) -> None:
        """Have the dicts at ``(path, keys)`` left as they are."""
        self._refused_components |= components

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
        config = self.read(path)[1]
        return inherit(config, lambda base: self.read(base)[1]) if config.bases or config.bases_unknown else config

    def future(self, path: str) -> Config:
        """The same as it will be when the run is over."""
        config = self._edited(path) if path in self.targets else self.read(path)[1]
        return inherit(config, self._edited) if config.bases or config.bases_unknown else config

    def _edited(self, path: str) -> Config:
        """What one file says when the run is over."""
        if path not in self.targets or path in self._active:
            return self.read(path)[1]
        changes: dict[Span, dict[str, object]] = {}
        for change in self.decide_file(path).changes:
            changes.setdefault(change.component.span, {})[change.key] = change.value
        config = self.read(path)[1]
        return replace(
            config, components=tuple(_change(each, changes.get(each.span, {})) for each in config.components)
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
        owners: dict[tuple[str, ...], str] = {}
        found: list[tuple[Component, str]] = []
        for component in sorted(config.components, key=lambda each: len(each.keys)):
            around = owners.get(component.keys[:-1])
            if component.name in self._selected:
                owner = component.name
            elif around is not None and self._loads(component, root):
                owner = around
            elif self.request.all_components and (self._loads(component, root) or self._hides_repo(component, root)):
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

    def requested_values(self, component: Component) -> dict[str, Value]:
        """The values of a component with what ``--set`` gives it."""
        sets = {key: Value.of(value) for name, key, value in self.request.sets if name == component.name}
        return {**component.values, **sets}

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

    def _hides_repo(self, component: Component, root: str | None) -> str | None:
        """Why a component that names weights cannot be followed, or None."""
        value = component.values.get("from_pretrained")
        if value is None or (value.known and not isinstance(value.value, str)):
            return None
        kind = component.values.get("type")
        if component.unsure is not None:
            return component.unsure
        if kind is None:
            return "it has no `type`"
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
        text = str(value.value)
        bad = not is_repo_id(text) and not is_path_like(text) and any(call.repo_id == text for call in trace.calls)
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
            target = self.targets[path]
            data, config = self.read(path)
            if data is None or config.problem is not None:
                problem = config.problem or Problem(1, 0, "it cannot be read", "")
                finding = Finding("OSR900", path, problem.line, problem.column, "", problem.message, problem.remedy)
                result = FileResult(path, target.root, (), (finding,), data, data)
            else:
                result = self._decide(target, data, config)
            self._active.discard(path)
            self._results[path] = result
        return self._results[path]

    def _decide(self, target: Target, data: bytes, plain: Config) -> FileResult:
        path, root = target.path, target.root
        config = inherit(plain, self._edited) if plain.bases or plain.bases_unknown else plain
        context = Context(
            path,
            root,
            self.request,
            lambda kind, values: self.loaders.trace(root, kind, values),
            lambda kind, values, key: self._thread(root, kind, values, key),
        )
        picked = self.select(config, root)
        decisions = [self._decide_component(context, component, owner) for component, owner in picked]
        findings = [*self._find_others(target, config, [each for each, _ in picked]), *self._find_bases(target, config)]
        lines = {component.span.line for component, _ in picked}
        skipped = {component.span.line for component in config.components} - lines
        self._note_hidden(path, root, config, {component.keys for component, _ in picked})
        result = FileResult(
            path,
            root,
            tuple(join_commands(decisions)),
            tuple(findings),
            data,
            data,
            config.ignores,
            tuple(sorted(skipped)),
            self.bases_of(path),
        )
        if files.outside(path, root):
            result = _name_real_file(result)
        return result if self.request.checking or not result.changes else self._edit(result, data)

    def _decide_component(self, context: Context, component: Component, owner: str) -> Decision:
        origin = component.origin
        if origin is not None and origin in self.targets:
            return Decision(component, "inherited", None)  # its base file's own decision counts
        made = decide(context, component, owner)
        self._note_guess(made)
        made = replace(made, findings=(*made.findings, *warn_of_other_repo(context, made)))
        why = self._refused_components.get((context.path, component.keys))
        if why is None or not (made.changes or made.outcome == "cannot"):
            return made
        others = tuple(each for each in made.findings if each.code not in ("OSR004", "OSR005"))
        span = component.span
        remedy = "write the dict of the other config with `_delete_=True` and all its keywords"
        finding = Finding("OSR004", context.path, span.line, span.column, component.dotted, why, remedy)
        return replace(made, outcome="cannot", changes=(), findings=(*others, finding))

    def _edit(self, result: FileResult, data: bytes) -> FileResult:
        """The file with its changes made and proved; as it was, with a finding, where they cannot be made."""
        from rewriter.edit.config import EditError, edit_config
        from rewriter.edit.proof import prove_config

        path = result.path
        if files.outside(path, result.root):
            message = f"it is a link that leads out of the checkout, to {os.path.realpath(path)}"
            return _refuse(result, "OSR900", 1, message, "run on the file itself, with --opensora-source ROOT")
        known = (path, repr([(each.component.keys, each.key, each.value) for each in result.changes]))
        if known in self._edits:
            return replace(result, new=self._edits[known])
        try:
            new = edit_config(data, result.changes)
        except EditError as error:
            remedy = "write that line in a plainer way, or edit it by hand"
            return _refuse(result, "OSR900", error.line or 1, f"it cannot be edited: {error.message}", remedy)
        problem = prove_config(data, new, path, result.changes)
        if problem is not None:
            raise ProofError(path, problem)
        self._edits[known] = new
        return replace(result, new=new)

    def edit_source(self, path: str, changes: tuple[SourceChange, ...]) -> FileEdit:
        """One loader source with its changes made and proved. Raises :class:`rewriter.edit.elements.EditError`."""
        from rewriter.edit.elements import EditError
        from rewriter.edit.loader import edit_loader
        from rewriter.edit.proof import prove_loader

        roots = {target.root for target in self.targets.values()} | {self.loaders.opensora_source}
        if all(files.outside(path, root) for root in roots if root is not None):
            raise EditError(1, f"it is a link that leads out of the checkout, to {os.path.realpath(path)}")
        old = self.loaders.read_source(path)
        new = edit_loader(old, changes)
        problem = prove_loader(old, new, changes)
        if problem is not None:
            raise ProofError(path, problem)
        return FileEdit(path, old, new, "source")

    def _thread(self, root: str | None, kind: str, values: Mapping[str, Value], key: str) -> Threading:
        sources = self.loaders.sources(root)
        if sources is None:
            return Threading(refusal="its source is not at hand; name it with --opensora-source DIR")
        why = self._refused.get((sources.root, kind))
        if why is not None:
            return Threading(refusal=why)
        trace = sources.trace(kind, {**keywords(values), key: values.get(key, Value.of("/"))})
        return thread_key(trace, key, root, self.request.default_for(key))

    # --- findings and notes beside the decisions

    def _find_others(self, target: Target, config: Config, picked: Sequence[Component]) -> Iterator[Finding]:
        """OSR010: components that nobody selected and that still read from the Hub."""
        if self.request.cache_dir is None and not (self.request.checking and not self.request.cache_dirs):
            return
        keys = {component.keys for component in picked}
        for component in config.components:
            if len(component.keys) != 1 or component.keys in keys:
                continue
            trace = self._trace(component, target.root)
            calls = split_calls(trace, target.root)[0] if trace is not None else []
            lacking = [call.repo_id for call in calls if CACHE_DIR not in call.reached]
            repos = sorted({repo_id for repo_id in lacking if repo_id is not None and is_repo_id(repo_id)})
            if repos:
                name, span = component.name, component.span
                message = f"`{name}` still loads {', '.join(repos)} from the Hub without cache_dir"
                option = cache_option(self.request, name)
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

    def _note_hidden(self, path: str, root: str | None, config: Config, picked: Collection[tuple[str, ...]]) -> None:
        for component in config.components:
            why = self._hides_repo(component, root) if component.keys not in picked else None
            if why is not None:
                message = f"`{component.dotted}` names weights and was not selected; {why}"
                self._notes[Note(message, path, component.span.line)] = None

    def _note_guess(self, made: Decision) -> None:
        """What the table of released loaders lacks is a note: it is a guess."""
        unrelated = [
            each.key
            for each in (made.trace.rejections if made.trace is not None and made.trace.guessed else ())
            if each.key not in KEYS
        ]
        if unrelated:
            names = ", ".join(f"`{key}`" for key in unrelated)
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


def warn_of_other_repo(context: Context, made: Decision) -> Iterator[Finding]:
    """That a loader (v1.0's ``t5``) reads one repo of its own, whatever other one the config names."""
    written = made.component.values.get("from_pretrained", Value.of(None)).value
    given = {change.key: change.value for change in made.changes}.get("from_pretrained", written)
    calls = made.trace.calls if made.trace is not None else ()
    functions = {step.function for call in calls if CACHE_DIR in call.reached for step in call.chain}
    repo_id = next((case.repo_id for case in SPECIAL_CASES if case.function in functions), None)
    if repo_id in (None, given) or not isinstance(given, str) or not is_repo_id(given):
        return
    if locality(given, context.root) == "repo":
        span, dotted = made.component.span, made.component.dotted
        message = f"`{made.type}` does not load {given}: its source names {repo_id}, which will be loaded"
        place = context.path, span.line, span.column, dotted
        yield Finding("OSR006", *place, message, f"write from_pretrained={repo_id!r} to say so", "warning")


def note_empty(results: Sequence[FileResult]) -> Iterator[Note]:
    """That no file of a run has a component, lest that is taken for a good result."""
    if results and not any(result.decisions or result.findings for result in results):
        yield Note(f"no component in {'this file' if len(results) == 1 else f'these {len(results)} files'}")


def _change(component: Component, changes: Mapping[str, object]) -> Component:
    """A component as an edit leaves it."""
    if not changes:
        return component
    removed = {key for key, value in changes.items() if value is REMOVE}
    written = {key: Value.of(value) for key, value in changes.items() if value is not REMOVE}
    kept = {key: value for key, value in component.values.items() if key not in removed}
    keywords = tuple(each for each in component.keywords if each.key not in changes)
    keywords += tuple(Keyword(key, value, component.span) for key, value in written.items())
    return replace(component, values={**kept, **written}, keywords=keywords)


def join_commands(decisions: Sequence[Decision]) -> list[Decision]:
    """Where several components of a file need ``--set``, one command with all of them: one alone would exit with 1."""
    found = [f for made in decisions for f in made.findings if _sets_path(f)]
    pieces = [finding.remedy.rpartition(_SET_OPTION)[::2] for finding in found]
    sets = dict.fromkeys(last for _, last in pieces)
    if len(sets) < 2 or len({word.partition("=")[0] for word in sets}) < len(sets):
        return list(decisions)
    first = max((first for first, _ in pieces), key=len)
    remedy = _SET_OPTION.join([first, *sets])
    return [
        replace(made, findings=tuple(replace(f, remedy=remedy) if _sets_path(f) else f for f in made.findings))
        for made in decisions
    ]


def _sets_path(finding: Finding) -> bool:
    return finding.code == "OSR006" and _SET_OPTION in finding.remedy and finding.remedy.startswith("opensora-rewriter")


def _name_real_file(result: FileResult) -> FileResult:
    """Commands name the file that a link out of the checkout leads to, and the checkout's loaders."""
    old = "opensora-rewriter rewrite {path} "
    new = f"opensora-rewriter rewrite {quote_word(os.path.realpath(result.path))} "
    new += f"--opensora-source {quote_word(str(result.root))} "

    def change(findings: Sequence[Finding]) -> tuple[Finding, ...]:
        return tuple(replace(each, remedy=each.remedy.replace(old, new)) for each in findings)

    decisions = tuple(replace(each, findings=change(each.findings)) for each in result.decisions)
    return replace(result, decisions=decisions, findings=change(result.findings))


def _refuse(result: FileResult, code: str, line: int, message: str, remedy: str) -> FileResult:
    """The file as it was, with the reason."""
    finding = Finding(code, result.path, line, 0, "", message, remedy)
    decisions = tuple(
        replace(each, outcome="cannot", changes=()) if each.changes else each for each in result.decisions
    )
    return replace(result, decisions=decisions, findings=(*result.findings, finding), new=result.old)
