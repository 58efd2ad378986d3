"""From files and a request to decisions, findings and edits: the middle of every command, with nothing written yet."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rewriter import configs
from rewriter.checkout import Target, Unreadable, config_files, find_root, outside, read_bytes
from rewriter.decide import Decider, Decision, below, cache_option, hub_calls, where
from rewriter.frozen import Frozen, replace
from rewriter.loaders import Sources
from rewriter.locality import locality
from rewriter.request import Request
from rewriter.types import (
    CACHE_DIR,
    LOCAL_FILES_ONLY,
    NO_KEYWORDS,
    REMOVE,
    Component,
    ConfigChange,
    ConfigFile,
    FileEdit,
    Finding,
    Ignore,
    Problem,
    Severity,
    SourceChange,
    Span,
    Trace,
    Value,
)

if TYPE_CHECKING:
    from rewriter.thread import Threading

FORK_FROM = 48
"""Files from which on a second process pays (of the time with one: 24: 1.02, 48: 0.95, 73: 0.86, 200: 0.77)."""
MOST_ALIKE = 2000
"""Contents of components that are remembered at a time."""

_Result = TypeVar("_Result")


def keywords(values: Mapping[str, Value]) -> dict[str, Value]:
    """What of a component's dict its loader is called with."""
    return {key: value for key, value in values.items() if key not in NO_KEYWORDS}


class FileResult(Frozen):
    """What one config file came to: picklable, one a file.

    ``old`` is what was read (None: it could not be); ``new`` is what ``rewrite`` would write, equal to ``old`` where
    nothing changes. ``ignores``: its ignore comments. ``passed_over``: lines of components that nobody selected.
    ``bases``: what it inherits from, straight or by way of others.
    """

    path: str
    root: str | None
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()
    old: bytes | None = None
    new: bytes | None = None
    ignores: tuple[Ignore, ...] = ()
    passed_over: tuple[int, ...] = ()
    bases: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[ConfigChange, ...]:
        """What is to change in the file, component by component."""
        return tuple(change for decision in self.decisions for change in decision.changes)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """The findings of the file, and of each of its decisions."""
        return (*self.findings, *(finding for decision in self.decisions for finding in decision.findings))


class Thread(Frozen):
    """The source changes that let the asked keys reach every Hub call of one loader, and where it is registered."""

    root: str
    type: str
    changes: tuple[SourceChange, ...]


class Plan(Frozen):
    """All edits and findings of one run.

    ``notes`` are for the reader: what was passed over or stood in for. ``threads``: what the source edits are made of.
    """

    results: tuple[FileResult, ...]
    sources: tuple[FileEdit, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    threads: tuple[Thread, ...] = ()

    @property
    def config_edits(self) -> tuple[FileEdit, ...]:
        """The edits of the configs that are to change."""
        return tuple(
            FileEdit(result.path, result.old, result.new, "config", result.changes)
            for result in self.results
            if result.old is not None and result.new is not None and result.new != result.old
        )

    @property
    def edits(self) -> tuple[FileEdit, ...]:
        """Loader sources first, configs last: the order in which they are renamed into place."""
        return (*self.sources, *self.config_edits)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """The findings of the run, and of each of its files."""
        return (*self.findings, *(finding for result in self.results for finding in result.all_findings))


class Loaders:
    """The loaders of every checkout in a run, read once; the built-in table where there are no sources."""

    def __init__(self, opensora_source: str | None = None, overlay: Mapping[str, bytes] | None = None) -> None:
        self.opensora_source = opensora_source
        self.overlay = dict(overlay or {})
        self._sources: dict[str, Sources] = {}
        self.used_builtin = False

    def edited(self, overlay: Mapping[str, bytes]) -> Loaders:
        """The same loaders with other bytes for some of their files."""
        other = Loaders(self.opensora_source, {**self.overlay, **overlay})
        other._sources = {place: sources.edited(overlay) for place, sources in self._sources.items()}
        return other

    def sources(self, root: str | None) -> Sources | None:
        """The sources of the checkout at ``root`` (or of ``--opensora-source``), or None where there are none."""
        place = self.opensora_source or root
        if place is None:
            return None
        if place not in self._sources:
            if not os.path.isdir(os.path.join(place, "opensora")):
                return None
            self._sources[place] = Sources(place, overlay=self.overlay)
        return self._sources[place]

    def source(self, path: str) -> bytes:
        """The bytes of a loader source, as they were read."""
        known = (sources.files() for sources in self._sources.values())
        return next(files[path] for files in known if path in files)

    def folders(self) -> set[str]:
        """The folders of the loader sources that were read."""
        return {os.path.dirname(path) for sources in self._sources.values() for path in sources.files()}

    def trace(self, root: str | None, type_name: str, values: Mapping[str, Value]) -> Trace:
        """What building ``type_name`` with ``values`` (all that the dict holds, ``type`` or not) would do."""
        sources = self.sources(root)
        values = keywords(values)
        if sources is not None:
            return sources.trace(type_name, values)
        from rewriter.builtin import trace_builtin

        self.used_builtin = True
        return trace_builtin(type_name, values)

    def required(self, root: str | None, type_name: str, values: Mapping[str, Value]) -> frozenset[str]:
        """The parameters of a loader that have no default, as far as its source is at hand."""
        sources = self.sources(root)
        loader = sources.evaluate(type_name, keywords(values)).loader if sources is not None else None
        return frozenset(sources.signature(loader.node).required if sources is not None and loader is not None else ())

    def learned(self) -> tuple[bool, tuple[tuple[str, str, int, str], ...]]:
        """What has come to light on the way: whether the built-in table was used, and problems by checkout."""
        problems = [(root, *problem) for root, sources in self._sources.items() for problem in sources.problems]
        return self.used_builtin, tuple(problems)

    def learn(self, used_builtin: bool, problems: Iterable[tuple[str, str, int, str]]) -> None:
        """Take over what another process :meth:`learned`."""
        self.used_builtin = self.used_builtin or used_builtin
        for root, path, line, message in problems:
            self._sources.setdefault(root, Sources(root, overlay=self.overlay)).problem(path, line, message)

    def problems(self) -> Iterable[Finding]:
        """Source files that could not be read, as warnings."""
        for sources in self._sources.values():
            for path, line, message in sources.problems:
                yield Finding(
                    "OSR900", path, line, 0, "", f"{message}; passed over", "a loader in it cannot be traced", "warning"
                )


class Planner:
    """One run over selected files. ``overlay`` bytes stand in for files on disk (standard input, edited sources)."""

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
        self.overlay = dict(overlay or {})
        self._read: dict[str, tuple[bytes | None, ConfigFile]] = {}
        self._results: dict[str, FileResult] = {}
        self._after: dict[str, ConfigFile] = {}
        self._active: set[str] = set()
        self._bases: set[str] = set()  # files of the run that others inherit from
        self._texts: dict[str, str] = {}
        self._outside: dict[tuple[str, str | None], bool] = {}
        self._selected = {*request.components, *request.named}
        self._dropped: Mapping[tuple[str, str], str] = {}  # (root of the sources, type) -> why its source stays
        self._cures: dict[tuple[object, ...], Threading] = {}
        self._heirs: dict[str | None, dict[str, list[str]]] = {}  # of each checkout, by the base that they name
        self._alike: dict[tuple[object, ...], Any] = {}  # what was found for components of the same content

    # --- reading ---

    def read(self, path: str) -> tuple[bytes | None, ConfigFile]:
        """The bytes and the reading of one config file; unreadable ones carry a problem."""
        if path not in self._read:
            try:
                data = self.overlay[path] if path in self.overlay else read_bytes(path)
            except Unreadable as error:
                self._read[path] = (None, ConfigFile(path, problem=Problem(1, 0, error.message, error.remedy)))
            else:
                self._read[path] = (data, configs.read_config(data, path))
        return self._read[path]

    def present(self, path: str) -> ConfigFile:
        """The reading of a file with its ``_base_`` files' values merged in, as they are now."""
        _, config = self.read(path)
        return configs.inherit(config, lambda base: self.read(base)[1]) if config.bases else config

    def complete(self, path: str, config: ConfigFile | None = None) -> ConfigFile:
        """The reading of a file with its ``_base_`` files' values merged in, as they will be after this run.

        ``config``: its own reading, where that is another than :meth:`read` gives.
        """
        config = config or self.read(path)[1]
        if not config.bases:
            return config

        def lookup(base: str) -> ConfigFile | None:
            if base in self.targets and base not in self._active:
                self._bases.add(base)
                return self._afterwards(base)
            _, found = self.read(base)
            return None if found.problem is not None else found

        return configs.inherit(config, lookup)

    def heirs(self, path: str, root: str | None) -> tuple[str, ...]:
        """The configs of the checkout, in the run or not, that inherit from ``path``: straight, or by way of others."""
        if root not in self._heirs:
            self._heirs[root] = self._named_bases(root)
        return _reached(path, lambda base: self._heirs[root].get(base, ()))

    def _all_bases(self, path: str) -> tuple[str, ...]:
        return _reached(path, lambda each: self.read(each)[1].bases)

    def _named_bases(self, root: str | None) -> dict[str, list[str]]:
        """The configs that name each base: few have one, so the text of each is searched before it is read."""
        by_base: dict[str, list[str]] = {}
        own = [target.path for target in self.targets.values() if target.root == root]
        for path in dict.fromkeys([*own, *(config_files(root) if root is not None else ())]):
            try:
                data = self.overlay[path] if path in self.overlay else read_bytes(path)
            except Unreadable:
                continue
            for base in self.read(path)[1].bases if b"_base_" in data else ():
                by_base.setdefault(base, []).append(path)
        return by_base

    # --- deciding ---

    def chosen(self, config: ConfigFile, root: str | None) -> list[tuple[Component, str]]:
        """The components that the request selects, each with the name of the component that was asked for."""
        owners: dict[tuple[str, ...], str] = {}
        picked: list[tuple[Component, str]] = []
        for component in sorted(config.components, key=lambda c: len(c.keys)):
            around = owners.get(component.keys[:-1])
            if component.name in self._selected:
                owner = component.name
            elif (around is not None or self.request.all_components) and self._loads(component, root):
                owner = around or component.name
            else:
                continue
            owners[component.keys] = owner
            picked.append((component, owner))
        picked.sort(key=lambda pair: (pair[0].span.line, pair[0].span.column))
        spans = {component.span for component, _ in picked}
        return [pair for pair in picked if pair[0].name in self._selected or not _goes_on(pair[0], spans)]

    def _trace(self, component: Component, root: str | None) -> Trace | None:
        values = dict(component.values)
        kind = values.get("type")
        if kind is None or not isinstance(kind.value, str) or component.replaced_by is not None:
            return None
        trace = self.loaders.trace(root, kind.value, values)
        return trace if trace.found else None

    def _loads(self, component: Component, root: str | None) -> bool:
        trace = self._trace(component, root)
        return trace is not None and bool(hub_calls(trace, root)[0])

    def result(self, path: str) -> FileResult:
        """Decide about one file (its base files first), once."""
        if path in self._results:
            return self._results[path]
        self._active.add(path)
        target = self.targets[path]
        data, plain = self.read(path)
        if data is None or plain.problem is not None:
            result = FileResult(path, target.root, (), (_unreadable(plain),), data, data)
        else:
            result = self._decide(target, data, self.complete(path))
            leads_out = self._leads_out(target)
            if result.new != result.old and leads_out:
                result = _refuse(result, _leads_out(path))
            if leads_out or not data.isascii() or sum(f.code == "OSR006" for f in result.all_findings) > 1:
                from rewriter import remedies

                result = remedies.of_file(result, data, leads_out=leads_out)
        self._active.discard(path)
        self._results[path] = result
        return result

    def _leads_out(self, target: Target) -> bool:
        """Whether a link leads out of the checkout, to the file or to its folder."""
        if os.path.islink(target.path):
            return outside(target.path, target.root)
        place = os.path.dirname(target.path), target.root
        if place not in self._outside:
            self._outside[place] = outside(*place)
        return self._outside[place]

    def _afterwards(self, path: str) -> ConfigFile:
        """What a file of the run says when the run is over."""
        if path not in self._after:
            result, (data, after) = self.result(path), self.read(path)
            if result.new is not None and result.new != data:
                after = configs.read_config(result.new, path)
            self._after[path] = configs.inherit(after, lambda base: self.read(base)[1]) if after.bases else after
        return self._after[path]

    def _decide(self, target: Target, data: bytes, config: ConfigFile) -> FileResult:
        root = target.root
        decider = Decider(
            target.path, root, self.request, lambda kind, values: self.loaders.trace(root, kind, values),
            lambda kind, values, key: self._threadable(root, kind, values, key),
            lambda kind, values: self.loaders.required(root, kind, values),
        )  # fmt: skip
        decisions: list[Decision] = []
        picked = self.chosen(config, root)
        for component, owner in picked:
            origin = component.origin
            changed = component.overrides  # by way of `_base_`, after the base has said it
            if "inherited" in component.ways and origin is not None and origin in self.targets and not changed:
                decisions.append(Decision(component, "inherited", None))  # its base file's own decision serves
                continue
            known = self._remember((root, owner), component, lambda: decider.decide(component, owner))  # noqa: B023
            decisions.append(_moved(known, component, target.path))
        findings = self._others(target, config, [component for component, _ in picked])
        findings += self._unknown_bases(target, config)
        decisions = _apart(decisions, target.path, self._selected)
        looked_at = {component.span.line for component, _ in picked}
        passed_over = {component.span.line for component in config.components} - looked_at
        result = FileResult(target.path, root, tuple(decisions), tuple(findings), data, data, config.ignores,
                            tuple(sorted(passed_over)), self._all_bases(target.path))  # fmt: skip
        if self.request.checking or not result.changes:
            return result
        edited = self._edited(result, data)
        return self._spared(edited, data) if edited.new != data else edited

    def _spared(self, result: FileResult, data: bytes) -> FileResult:
        """The result without the changes that would break what else is made of a changed dict."""
        found = list(self._taken_over(result))
        decisions = tuple([
            _taken(decision, result.path, [taken for taken in found if taken.touches(decision)])
            for decision in result.decisions
        ])  # fmt: skip
        spared = replace(result, decisions=decisions, new=data)
        if spared.changes == result.changes:
            return replace(spared, new=result.new)
        return self._edited(spared, data) if spared.changes else spared

    def _taken_over(self, result: FileResult) -> Iterator[_Taken]:
        """What the file itself and its heirs make of the dicts that they take over from it."""
        assert result.new is not None
        path, plain = result.path, self.read(result.path)[1]
        takers = {taker.span for change in result.changes for taker in change.component.takers}
        heirs = self.heirs(path, result.root)
        if not takers and not heirs:
            return
        after = configs.read_config(result.new, path)
        for one, other in _twins(self.complete(path, plain), self.complete(path, after)) if takers else ():
            if one.replaced_by is None and one.span in takers:
                told, remedy = f"`{'.'.join(one.keys)}` on line {one.span.line}", "write {} as a dict of its own"
                yield from self._taker(result, path, frozenset([one.span]), told, remedy, one, other)
        changed = {change.component.span for change in result.changes} | takers
        places = {component.keys for component in plain.components if component.span in changed}
        for heir in heirs:
            config = self.read(heir)[1]
            before = configs.inherit(config, lambda base: self.read(base)[1])
            now = configs.inherit(config, lambda base: after if base == path else self.read(base)[1])
            for one, other in _twins(before, now):
                if one.replaced_by is None and "inherited" not in one.ways and one.keys in places:
                    told = f"`{'.'.join(one.keys)}` of {below(heir, result.root)}"
                    remedy = "write {} with `_delete_=True` and all its keywords"
                    spans = frozenset(component.span for component in plain.components if component.keys == one.keys)
                    yield from self._taker(result, heir, spans, told, remedy, one, other)

    def _taker(
        self, result: FileResult, path: str, spans: frozenset[Span], told: str, remedy: str, before: Component,
        after: Component,
    ) -> Iterator[_Taken]:  # fmt: skip
        """What becomes of one dict of ``path``, ``before`` and ``after`` those at ``spans`` are changed."""
        remedy = remedy.format(told)
        if after.form == "other" and after.unsure:
            why = f"{told} may take this dict over: it is `{after.text}`, which only running the config would tell"
            yield _Taken(spans, "", "OSR007", why, f"write {told} as a dict")
            return
        was, values = dict(before.values), dict(after.values)
        for change in result.changes if after.unsure and not after.delete else ():
            if change.value is not REMOVE:  # it may have come here, too
                values.setdefault(change.key, _known(change.value))
        if path in self.targets:
            values.update(_set(self.request, after.name))
        kind = values.get("type")
        fresh = values.keys() - was.keys()
        moved = kind is not None and (kind.literal, kind.value) != ((k := was.get("type", kind)).literal, k.value)
        if kind is None or not (fresh or moved):
            return  # it builds nothing, or as before
        if not isinstance(kind.value, str):
            why = (
                f"{told} takes this dict over, and its type is `{kind.text}`, which only running the config would tell"
            )
            yield _Taken(spans, "", "OSR007", why, remedy)
            return
        trace = self.loaders.trace(result.root, kind.value, values)
        if not trace.found:
            why = f"{told} takes this dict over, and no loader is registered as `{kind.value}` in the sources"
            yield _Taken(spans, "", "OSR007", why, remedy)
        rejections = [each for each in trace.rejections if not each.via and (moved or each.key in fresh)]
        for each in rejections:
            place = where(each.path, each.line, result.root)
            why = f"{told} takes this dict over, and its loader rejects {each.key}: {each.function} ({place}) has no " \
                  "such parameter"  # fmt: skip
            curable = not self.request.edit_source and not self._threadable(result.root, kind.value, values, each.key)
            cure = remedy + ", or let its loader be edited (without --no-source)" * curable
            severity: Severity = "warning" if self.request.force else "error"
            yield _Taken(spans, kind.value, "OSR004", why, cure, severity)
        if trace.found and not rejections:
            yield _Taken(spans, kind.value)

    def _edited(self, result: FileResult, data: bytes) -> FileResult:
        """The file with its changes made and proved; as it was, with a finding, where they cannot be made."""
        from rewriter.edits.config import EditError, edit_config
        from rewriter.proof import compare

        path, changes = result.path, result.changes
        try:
            new = edit_config(data, changes)
        except EditError as error:
            return _refuse(result, _uneditable(path, error.line, error.message))
        problem = compare(data, new, path, changes, self.read(path)[1])
        if problem is not None:
            raise ProofError(path, problem)
        return replace(result, new=new)

    def _threadable(self, root: str | None, kind: str, values: Mapping[str, Value], key: str) -> str | None:
        """Why no source edit would cure this loader, or None; for the key "to-repo" see :mod:`rewriter.decide`."""
        sources = self.loaders.sources(root)
        if sources is None:
            return None if key == "to-repo" else "its source is not at hand; name it with --opensora-source DIR"
        given = keywords(values)
        why = self._dropped.get((sources.root, kind))
        if why is not None:
            return None if key == "to-repo" else why
        wanted = CACHE_DIR if key == "to-repo" else key
        trace = sources.trace(kind, given)
        repos = {call.repo_id for call in trace.calls if not call.hard_coded}
        read = {name for name, value in given.items() if isinstance(value.value, str) and value.value in repos}
        told = [(name, repr(given.get(name))) for name in sorted(trace.asked - read)]
        # Components that lead to the same calls in the same way, with like values, are cured alike, whatever the repo.
        alike = (sources.root, kind, wanted, trace.rejections, tuple(told), *[
            (call.path, call.line, call.column, call.chain, call.via, call.reached, call.certain,
             call.repo_id is None or locality(call.repo_id, sources.root)) for call in trace.calls
        ])  # fmt: skip
        if alike not in self._cures:
            from rewriter.thread import thread

            self._cures[alike] = thread(sources, kind, given, wanted)
        found = self._cures[alike]
        if key == "to-repo":
            return "to-repo" if found.to_repo else None
        return found.refusal

    def _others(self, target: Target, config: ConfigFile, picked: Sequence[Component]) -> list[Finding]:
        """OSR010: components that nobody selected and that still read from the Hub."""
        if self.request.cache_dir is None and not (self.request.checking and not self.request.cache_dirs):
            return []
        keys = {component.keys for component in picked}
        keys |= {
            tuple(other.split(".")) for component in picked for other in component.shared_with
        }  # the same dict by another name
        found: list[Finding] = []
        for component in config.components:
            if len(component.keys) != 1 or component.keys in keys or component.form == "other":
                continue
            if _goes_on(component, {each.span for each in picked}):
                continue
            repos = self._remember((target.root,), component, lambda: self._open_repos(component, target.root))  # noqa: B023
            if repos:
                message = f"`{component.name}` still loads {repos} from the Hub without cache_dir"
                option = cache_option(self.request, component.name)
                remedy = f"opensora-rewriter rewrite {{path}} {option} --component {component.name}"
                span = component.span
                found.append(
                    Finding("OSR010", target.path, span.line, span.column, component.name, message, remedy, "warning")
                )
        return found

    def _open_repos(self, component: Component, root: str | None) -> str:
        """What a component reads from the Hub without cache_dir, in words; empty: nothing."""
        trace = self._trace(component, root)
        calls = hub_calls(trace, root)[0] if trace is not None else []
        return ", ".join(sorted({c.repo_id for c in calls if CACHE_DIR not in c.reached and c.repo_id}))

    def _remember(self, purpose: tuple[object, ...], component: Component, make: Callable[[], _Result]) -> _Result:
        """What ``make`` gives, or gave for a component that differs in nothing but its place and its file."""
        content = _content(component)
        if content is None:
            return make()
        if len(self._alike) > MOST_ALIKE:
            self._alike.clear()
        key = (*purpose, *content)
        if key not in self._alike:
            self._alike[key] = make()
        found: _Result = self._alike[key]
        return found

    def _unknown_bases(self, target: Target, config: ConfigFile) -> list[Finding]:
        """OSR007 where a base cannot be named and a selected component is not bound in the file itself."""
        absent = [name for name in self.request.components if name not in config.assigned]
        if config.bases_unknown is None or not absent:
            return []
        names = ", ".join(f"`{name}`" for name in absent)
        message = f"{names} may come from a base file that cannot be read: {config.bases_unknown}"
        return [Finding("OSR007", target.path, 1, 0, "", message, "write `_base_` as a plain path to an existing file")]

    def results(
        self, progress: Callable[[], None] = lambda: None, *, processes: int = 1, brief: bool = False
    ) -> tuple[FileResult, ...]:
        """Decide about every file, in the order of the selection.

        ``brief``: the findings only. ``processes``: how many may share the work.
        """
        decide = (lambda path: self._brief(self.result(path))) if brief else self.result
        return tuple(self.shared(decide, progress, processes))

    def shared(
        self, work: Callable[[str], _Result], progress: Callable[[], None] = lambda: None, processes: int = 1,
        others: Sequence[str] | None = None, meanwhile: Callable[[], object] | None = None,
    ) -> list[_Result]:  # fmt: skip
        """``work`` done for the path of every file (or of these others), by several processes where there are many.

        ``meanwhile``: see :func:`rewriter.parallel.spread`.
        """
        from rewriter.parallel import spread

        paths = list(self.targets) if others is None else others
        many = len(paths) >= FORK_FROM

        def one(path: str) -> tuple[_Result, Any]:
            before = self.loaders.learned()
            result = work(path)
            after = self.loaders.learned()
            if many:
                self._forget(path)
            return result, None if after == before else after

        if many:  # every process is to see the same loaders, whoever else writes them meanwhile
            for root in {target.root for target in self.targets.values()}:
                sources = self.loaders.sources(root)
                if sources is not None:
                    sources.files()
        out = spread(paths, one, processes if many else 1, progress, meanwhile, _family)
        for _, learned in out:
            if learned is not None:
                self.loaders.learn(*learned)
        return [result for result, _ in out]

    def again(self, loaders: Loaders, dropped: Mapping[tuple[str, str], str]) -> Planner:
        """The same run with other loaders; what has been read need not be read again.

        ``dropped``: of which loaders (root of the sources, type) the source has to stay, and why.
        """
        other = Planner(tuple(self.targets.values()), self.request, loaders, overlay=self.overlay)
        other._read, other._heirs = self._read, self._heirs
        other._dropped = dropped
        return other

    def _forget(self, path: str) -> None:
        """Drop what is kept of a file, so that memory does not grow with the run; other files' bases stay."""
        if path not in self._bases:
            for kept in (self._read, self._results, self._after):
                kept.pop(path, None)

    def _brief(self, result: FileResult) -> FileResult:
        """The findings alone, their texts shared: thousands of them are alike."""
        share = self._texts.setdefault
        found = tuple([
            Finding(f.code, result.path, f.line, f.column, share(f.component, f.component),
                    share(f.message, f.message), share(f.remedy, f.remedy), f.severity)
            for f in result.all_findings
        ])  # fmt: skip
        ignores, passed_over = (result.ignores, result.passed_over) if result.ignores else ((), ())
        return FileResult(result.path, result.root, (), found, None, None, ignores, passed_over)


def _reached(path: str, following: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """The files that a file leads to: straight, or by way of others."""
    found: dict[str, None] = {}
    for each in (todo := [path]):
        fresh = [other for other in dict.fromkeys(following(each)) if other not in found and other != path]
        found.update(dict.fromkeys(fresh))
        todo += fresh
    return tuple(found)


class _Taken(Frozen):
    """That a dict takes over what is changed: it is at ``spans``, or goes in there (in an heir: by the same keys).

    ``code`` and what follows: why that must not be.
    """

    spans: frozenset[Span]
    type: str
    code: str = ""
    message: str = ""
    remedy: str = ""
    severity: Severity = "error"

    def touches(self, decision: Decision) -> bool:
        """Whether it takes over what is decided there."""
        component = decision.component
        places = {component.span, *(taker.span for taker in component.takers)}
        return bool(decision.changes) and not places.isdisjoint(self.spans)


def _twins(before: ConfigFile, after: ConfigFile) -> list[tuple[Component, Component]]:
    """The components of a file as it was, each with what has become of it."""
    places: dict[tuple[str, ...], list[Component]] = {}
    for component in after.components:
        places.setdefault(component.keys, []).append(component)
    found = [(component, places.get(component.keys)) for component in before.components]
    return [(component, others.pop(0)) for component, others in found if others]


def _taken(decision: Decision, path: str, found: list[_Taken]) -> Decision:
    """The decision, refused where a dict that takes over its changes would not load any more."""
    if not found:
        return decision
    component, span = decision.component, decision.component.span
    told = [
        Finding(each.code, path, span.line, span.column, ".".join(component.keys), each.message, each.remedy,
                each.severity)
        for each in found if each.code
    ]  # fmt: skip
    refused = any(finding.severity == "error" for finding in told)
    return replace(
        decision,
        outcome="cannot" if refused else decision.outcome,
        changes=() if refused else decision.changes,
        findings=(*decision.findings, *dict.fromkeys(told)),
        heirs=tuple(dict.fromkeys(each.type for each in found)),
    )


def _goes_on(component: Component, spans: Container[Span]) -> bool:
    """Whether a dict is spread into a call that has the keys for it, or will: the component of that call counts."""
    if not component.takers or CACHE_DIR in dict(component.values):
        return False
    return any(
        taker.stars and (taker.span in spans or CACHE_DIR in taker.given or LOCAL_FILES_ONLY in taker.given)
        for taker in component.takers
    )


def _apart(decisions: list[Decision], path: str, selected: Container[str]) -> list[Decision]:
    """The decisions without keys that a call would get twice: by its own change, and by what is spread into it."""
    if not any(decision.component.takers and decision.changes for decision in decisions):
        return decisions
    given: dict[tuple[Span, str], Span] = {}  # call and key -> the dict that gives it
    for decision in decisions:
        span = decision.component.span
        given.update({(span, change.key): span for change in decision.changes if change.value is not REMOVE})
    apart = []
    for decision in decisions:
        component, present = decision.component, dict(decision.component.values)
        fresh = [change.key for change in decision.changes if change.value is not REMOVE and change.key not in present]
        calls = [(taker.span, key) for taker in component.takers if taker.stars for key in fresh]
        twice = next((call for call in calls if given.setdefault(call, component.span) != component.span), None)
        if twice is None:
            apart.append(decision)
        elif component.name not in selected:
            apart.append(replace(decision, outcome="untouched", changes=()))
        else:
            dotted, line, span = ".".join(component.keys), twice[0].line, component.span
            message = f"line {line} takes `{dotted}` over by `**` and gets `{twice[1]}` besides; twice would be a " \
                      "TypeError"  # fmt: skip
            finding = Finding("OSR007", path, span.line, span.column, dotted, message,
                              f"leave out either `{dotted}` or what stands on line {line}")  # fmt: skip
            apart.append(replace(decision, outcome="cannot", changes=(), findings=(*decision.findings, finding)))
    return apart


def _content(component: Component) -> tuple[object, ...] | None:
    """All that a decision can depend on, or None where that includes places in the file."""
    c = component
    if c.overrides or c.unsure or c.origin or c.takers or c.replaced_by is not None or c.form == "other":
        return None
    values = [
        (key, value.literal, type(value.value), value.text,
         value.value if isinstance(value.value, (str, bool, int, type(None))) else repr(value.value))
        for key, value in c.values
    ]  # fmt: skip
    return c.keys, c.form, c.ways, c.shared_with, c.delete, tuple([word.key for word in c.written]), *values


def _moved(decision: Decision, component: Component, path: str) -> Decision:
    """The decision about a component that is like the one it was made for."""
    if decision.component is component and all(f.path == path for f in decision.findings):
        return decision
    span = component.span
    findings = tuple([
        Finding(f.code, path, span.line, span.column, f.component, f.message, f.remedy, f.severity)
        for f in decision.findings
    ])  # fmt: skip
    changes = tuple([ConfigChange(component, change.key, change.value) for change in decision.changes])
    return Decision(component, decision.outcome, decision.type, findings, changes, decision.trace, kept=decision.kept)


class ProofError(Exception):
    """The new bytes of a file do not read as they were meant to: the run stops and nothing is written."""

    def __init__(self, path: str, message: str, remedy: str = "please report this together with the file") -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message
        self.remedy = remedy


class _ObstacleError(Exception):
    """A loader source that is to change and cannot be edited."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def _refuse(result: FileResult, why: Finding) -> FileResult:
    """The file as it was, its decisions taken back, with the reason, which may be one component's."""
    decisions = tuple(
        replace(d, outcome="cannot", changes=()) if d.changes or ".".join(d.component.keys) == why.component else d
        for d in result.decisions
    )
    return replace(result, decisions=decisions, findings=(*result.findings, why), new=result.old)


def _bereft(result: FileResult, keys: set[tuple[str, ...]]) -> FileResult:
    """The file without what it would have had from a base that is left as it was, by ``keys``."""
    decisions = tuple(
        replace(d, outcome="cannot") if d.component.keys in keys and d.outcome in ("inherited", "already") else d
        for d in result.decisions
    )
    return replace(result, decisions=decisions) if keys else result


def _leads_out(path: str) -> Finding:
    message = f"it is a link to {os.path.realpath(path)}, out of the checkout; nothing is written through it"
    return Finding("OSR900", path, 1, 0, "", message, "rewrite the file that it leads to, or copy it here")


def _uneditable(path: str, line: int | None, message: str, severity: Severity = "error") -> Finding:
    return Finding("OSR900", path, line or 1, 0, "", f"it cannot be edited: {message}",
                   "write this place in a plainer way, or edit it by hand", severity)  # fmt: skip


def _unreadable(config: ConfigFile) -> Finding:
    problem = config.problem
    assert problem is not None
    return Finding("OSR900", config.path, problem.line, problem.column, "", problem.message, problem.remedy)


# --- the two plans -----------------------------------------------------------------------------


def check(
    targets: Sequence[Target], request: Request, loaders: Loaders, progress: Callable[[], None] = lambda: None,
    *, processes: int = 1, brief: bool = False,
) -> Plan:  # fmt: skip
    """Diagnose every selected component as it stands; nothing is edited. ``brief``: no decisions, findings only."""
    planner = Planner(targets, replace(request, checking=True), loaders)
    results = planner.results(progress, processes=processes, brief=brief)
    return Plan(results, (), tuple(loaders.problems()), _notes(loaders))


def rewrite(
    targets: Sequence[Target],
    request: Request,
    loaders: Loaders,
    *,
    overlay: Mapping[str, bytes] | None = None,
    progress: Callable[[], None] = lambda: None,
    processes: int = 1,
) -> Plan:
    """Decide, thread the loaders' sources where that cures a refusal, and make the new bytes of every file.

    ``processes``: how many may share the work.
    """
    threads: tuple[Thread, ...] = ()
    planner = Planner(targets, request, loaders, overlay=overlay)
    if request.edit_source and request.keys_possible:
        threads = _threads(planner, processes)
    obstacles: list[Finding] = []
    dropped: dict[tuple[str, str], str] = {}
    others: list[str] | None = None
    while True:
        threads, edited, stuck = _edited_threads(threads, loaders.source)
        obstacles += stuck
        after = _after(loaders, edited)
        deciding = planner.again(after, dropped)
        if edited and others is None:
            others = _others(planner, threads)
        decided = deciding.shared(
            lambda path: (deciding.result(path), _touched(planner, deciding, path, edited) if edited else []),  # noqa: B023
            progress, processes,
        )  # fmt: skip
        plan = Plan(
            tuple(result for result, _ in decided), (), (*loaders.problems(), *obstacles), _notes(after), threads
        )
        done = _with_sources(plan, edited)
        if not edited:
            return done
        touched = [each for _, of_one in decided for each in of_one]
        harmed = [each for each, harm in touched if harm]
        bad = _harmful(planner, deciding, threads, edited, harmed, others or (), processes)
        if not bad and done.threads != threads:
            fewer = {edit.path: edit for edit in done.sources}
            trial = planner.again(_after(loaders, fewer), {})
            harmed = [each for each, _ in touched if each.damage(loaders, trial.loaders, fewer) is not None]
            bad = _harmful(planner, trial, done.threads, fewer, harmed, others or (), processes)
        if not bad:
            return done
        dropped |= bad
        threads = tuple(thread for thread in threads if (thread.root, thread.type) not in dropped)
        progress = _quiet


def drop(plan: Plan, refused: Mapping[str, Finding]) -> Plan:
    """Refuse whole files (path -> why): their edits go, and the source edits that only they needed."""
    lost = {each.path: {change.component.keys for change in each.changes} for each in plan.results}
    results = tuple(
        _bereft(
            _refuse(result, refused[result.path]) if result.path in refused else result,
            {keys for base in result.bases if base in refused for keys in lost.get(base, ())},
        )
        for result in plan.results
    )
    return _with_sources(replace(plan, results=results), {edit.path: edit for edit in plan.sources})


def _with_sources(plan: Plan, edited: Mapping[str, FileEdit]) -> Plan:
    """Keep the source edits that a component which is set (or was already) needs, and no other."""
    served = {
        kind for result in plan.results for decision in result.decisions
        if decision.outcome in ("set", "already") for kind in (decision.type, *decision.heirs)
    }  # fmt: skip
    kept = tuple(thread for thread in plan.threads if thread.type in served)
    before, now = _by_path(plan.threads), _by_path(kept)
    needed = {path: edited[path] for path in now if now[path] == before[path]}
    needed |= _edit_sources({path: now[path] for path in now if path not in needed}, lambda path: edited[path].old)
    return replace(plan, sources=tuple(edit for _, edit in sorted(needed.items())), threads=kept)


def _family(path: str) -> str:
    """The configs of one folder, mostly of one release, have the same loaders."""
    return os.path.dirname(os.path.dirname(path))


def _libcst() -> None:
    """Import the editor, of which most runs have need after the threads."""
    importlib.import_module("rewriter.edits.source")


def _quiet() -> None:
    """No progress is told."""


def _notes(loaders: Loaders) -> tuple[str, ...]:
    if loaders.used_builtin:
        return ("no opensora/ sources beside the configs: the built-in table of v1.3's loaders stands in; "
                "name the sources with --opensora-source DIR",)  # fmt: skip
    return ()


def _threads(planner: Planner, processes: int) -> tuple[Thread, ...]:
    """The source changes that would let every asked key reach every Hub call, one entry a loader."""

    roots = {target.path: target.root for target in planner.targets.values()}
    elsewhere: dict[str, set[tuple[str, ...]]] = {}  # heirs that are not in the run, and what they may take over
    for base, root in list(roots.items()):
        for heir in planner.heirs(base, root):
            if heir not in planner.targets:
                roots[heir] = root
                elsewhere.setdefault(heir, set()).update(c.keys for c in planner.read(base)[1].components)

    def of_file(path: str) -> list[_Changes]:
        root = roots[path]
        if planner.loaders.sources(root) is None or planner.read(path)[1].problem is not None:
            return []
        found = []
        for component, owner in planner.chosen(planner.complete(path), root):
            if path in elsewhere and component.keys not in elsewhere[path]:
                continue
            found += planner._remember(
                ("threads", root, owner),
                component,
                lambda: _threads_of(planner, component, owner, root),  # noqa: B023
            )
        return found

    slots: dict[tuple[str, str], dict[SourceChange, None]] = {}
    for found in (*planner.shared(of_file, processes=processes, meanwhile=_libcst), *map(of_file, elsewhere)):
        for place, kind, changes in found:
            slots.setdefault((place, kind), {}).update(dict.fromkeys(changes))
    return tuple(Thread(place, kind, tuple(changes)) for (place, kind), changes in slots.items() if changes)


def _asked(request: Request, component: Component, owner: str) -> tuple[dict[str, Value], dict[str, Value]]:
    """The values of a component with what ``--set`` gives, and the keys that are asked for beside them."""
    values = {**dict(component.values), **_set(request, component.name)}
    return values, {key: _known(value) for key, value in request.keys_asked(owner)}


def _set(request: Request, component: str) -> dict[str, Value]:
    """What ``--set`` gives a component."""
    return {key: _known(value) for name, key, value in request.sets if name == component}


def _known(value: object) -> Value:
    return Value(True, value, repr(value))


def _type_of(values: Mapping[str, Value]) -> str | None:
    kind = values.get("type")
    return kind.value if kind is not None and isinstance(kind.value, str) else None


_Changes = tuple[str, str, tuple[SourceChange, ...]]
"""Root of the sources, registered type, what is to change for it."""


def _threads_of(planner: Planner, component: Component, owner: str, root: str | None) -> list[_Changes]:
    """What is to change for one component."""
    request, sources = planner.request, planner.loaders.sources(root)
    values, asked = _asked(request, component, owner)
    type_name = _type_of(values)
    if sources is None or type_name is None or not asked:
        return []
    bare = keywords(values)
    trace = sources.trace(type_name, {key: value for key, value in bare.items() if key not in asked})
    if trace.failures or not any(hub_calls(trace, root)):
        return []
    given = {**bare, **asked}
    changes: dict[SourceChange, None] = {}
    for key in asked:

        def threaded(key: str = key) -> Threading:
            from rewriter.thread import thread

            return thread(sources, type_name, given, key, default=request.default_for(key))

        purpose = f"thread {key} {request.default_for(key)!r}"
        changes.update(dict.fromkeys(sources.remembered(purpose, type_name, given, threaded).changes))
    return [(sources.root, type_name, tuple(changes))]


def _by_path(threads: Sequence[Thread]) -> dict[str, tuple[SourceChange, ...]]:
    """The changes of each loader source, once each."""
    by_path: dict[str, dict[SourceChange, None]] = {}
    for thread in threads:
        for change in thread.changes:
            by_path.setdefault(change.path, {})[change] = None
    return {path: tuple(unique) for path, unique in by_path.items()}


# --- what an edit of the sources may not do ------------------------------------------------------


class _Built(Frozen):
    """A component as it is built. ``present``: its values stand in a config; else it is as it is asked for."""

    root: str | None
    type: str
    values: tuple[tuple[str, Value], ...]
    where: str
    present: bool

    def touches(self, loaders: Loaders, paths: Collection[str]) -> bool:
        """Whether functions of these sources run for it."""
        return not loaders.trace(self.root, self.type, dict(self.values)).files.isdisjoint(paths)

    def damage(self, before: Loaders, after: Loaders, edited: Collection[str]) -> str | None:
        """What goes wrong with edited sources (their paths) and did not before, in words; None: nothing.

        Where something was wrong before with what is only asked for, no more can go wrong.
        """
        if not self.touches(after, edited):
            return None
        given = dict(self.values)
        now = after.trace(self.root, self.type, given)
        old = _faults(before.trace(self.root, self.type, given), given)
        new = _faults(now, given) if self.present or not old else {}
        return next((words for fault, words in new.items() if fault not in old), None)


def _after(loaders: Loaders, edited: Mapping[str, FileEdit]) -> Loaders:
    return loaders.edited({path: edit.new for path, edit in edited.items()}) if edited else loaders


def _others(planner: Planner, threads: Sequence[Thread]) -> list[str]:
    """The configs that the loaders serve which are to change, beside those of the run."""
    edited = {thread.root for thread in threads}
    roots = {target.root for target in planner.targets.values() if target.root is not None
             and (sources := planner.loaders.sources(target.root)) is not None and sources.root in edited}  # fmt: skip
    return [path for root in sorted(roots | edited) for path in config_files(root) if path not in planner.targets]


def _harmful(
    planner: Planner, trial: Planner, threads: Sequence[Thread], edited: Collection[str], harmed: list[_Built],
    others: Sequence[str], processes: int,
) -> dict[tuple[str, str], str]:  # fmt: skip
    """Of which loaders (root of the sources, type) the edit would do harm, and why.

    ``trial``: with the sources ``edited``. ``harmed``: what they do harm to in the run; ``others`` are looked at here.
    """
    loaders = planner.loaders
    found = trial.shared(lambda path: _touched(planner, trial, path, edited), processes=processes, others=others)
    harmed = [*harmed, *(each for of_one in found for each, harm in of_one if harm)]
    bad: dict[tuple[str, str], str] = {}
    kept: tuple[Thread, ...] = ()
    for thread in threads if harmed else ():
        tried = (*kept, thread)
        made = _edit_sources(_by_path(tried), loaders.source)
        after = _after(loaders, made)
        told = ((each, each.damage(loaders, after, made)) for each in harmed)
        first = next(((each, what) for each, what in told if what is not None), None)
        if first is None:
            kept = tried
        else:
            bad[thread.root, thread.type] = f"an edit would break {first[0].where}, where {first[1]}"
    return bad


def _touched(planner: Planner, trial: Planner, path: str, edited: Collection[str]) -> list[tuple[_Built, bool]]:
    """The components of a config, selected or not, for which sources ``edited`` run, and whether that does harm."""
    config = planner.present(path)
    if config.problem is not None:
        return []
    target = planner.targets.get(path)
    root = find_root(os.path.dirname(path)) if target is None else target.root
    owners = {} if target is None else {component.keys: owner for component, owner in planner.chosen(config, root)}
    shown = below(path, root)
    found: list[tuple[_Built, bool]] = []
    for component in config.components:
        owner = owners.get(component.keys)
        found += trial._remember(
            ("touched", root, owner),
            component,
            lambda: [(each, each.damage(planner.loaders, trial.loaders, edited) is not None)
                     for each in _built(planner.request, component, owner, root, shown)  # noqa: B023
                     if each.touches(trial.loaders, edited)],
        )  # fmt: skip
    return found


def _built(request: Request, component: Component, owner: str | None, root: str | None, shown: str) -> list[_Built]:
    """A component as it stands, and as it is asked for (``owner``: on behalf of whom; None: it is not selected)."""
    ways = [(dict(component.values), True)]
    if owner is not None:
        values, asked = _asked(request, component, owner)
        ways.append(({**values, **asked}, False))
    where = f"`{'.'.join(component.keys)}` of {shown}"
    return [
        _Built(root, kind, tuple(keywords(values).items()), where, present) for values, present in ways
        if component.replaced_by is None and (kind := _type_of(values)) is not None
    ]  # fmt: skip


def _faults(trace: Trace, given: Mapping[str, Value]) -> dict[tuple[object, ...], str]:
    """What is wrong with a trace, told apart without line numbers: in words."""
    found: dict[tuple[object, ...], str] = {}
    for rejection in trace.rejections:
        fault = ("rejected", rejection.key, rejection.function, rejection.path, rejection.via)
        found[fault] = f"{rejection.function} would be given {rejection.key} and raise a TypeError"
    for failure in trace.failures:
        found["failure", failure.text, failure.path] = f"`{failure.text}` would fail"
    for key in (CACHE_DIR, LOCAL_FILES_ONLY):
        for call in trace.calls if key in given else ():
            if key not in call.reached:
                lost = ("lost", key, call.callee, call.path, call.repo_id or call.repo_text, call.filename, call.via)
                found[lost] = f"{key} would not reach {call.callee} any more"
    return found


def _edited_threads(
    threads: tuple[Thread, ...], read: Callable[[str], bytes]
) -> tuple[tuple[Thread, ...], dict[str, FileEdit], list[Finding]]:
    """The threads whose sources can be edited, all of them: half a way would be a TypeError. Warnings of the others."""
    obstacles: list[Finding] = []
    while threads:
        try:
            return threads, _edit_sources(_by_path(threads), read), obstacles
        except _ObstacleError as error:
            obstacles.append(error.finding)
            threads = tuple(t for t in threads if all(change.path != error.finding.path for change in t.changes))
    return (), {}, obstacles


def _edit_sources(by_path: Mapping[str, tuple[SourceChange, ...]], read: Callable[[str], bytes]) -> dict[str, FileEdit]:
    """The edit of every loader source that is to change, proved.

    ``read`` gives the bytes that the changes were found in, and not those of now: that another program has written a
    file since is noticed by the commit.
    """
    if not by_path:
        return {}
    from rewriter.edits.source import EditError, edit_source
    from rewriter.proof import compare_source

    edited: dict[str, FileEdit] = {}
    for path, changes in by_path.items():
        old = read(path)
        try:
            new = edit_source(old, changes)
        except EditError as error:
            raise _ObstacleError(_uneditable(path, error.line, error.message, "warning")) from error
        problem = compare_source(old, new, changes)
        if problem is not None:
            raise ProofError(path, problem)
        edited[path] = FileEdit(path, old, new, "source")
    return edited
