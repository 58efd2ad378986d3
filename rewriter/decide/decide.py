"""Decide, for one component, what is to happen to it and why; nothing is read or written.

The steps: ``--set`` and ``--unset``; what the loader does; whether its path exists; not needed; already; set; cannot.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rewriter import model
from rewriter.decide.remedies import cached_repos, own_weights, rewrite_command, suggest_repo
from rewriter.decide.request import Request
from rewriter.decide.thread import SPECIAL_FUNCTION, SPECIAL_REPO, Threading, thread_key
from rewriter.locality import is_repo_id, locality, names_weights
from rewriter.model import CACHE_DIR, LOCAL_FILES_ONLY, REMOVE, Component, Decision, Finding, HubCall, Trace, Value
from rewriter.read.loaders import Loaders, split_calls

_OPTIONS = {CACHE_DIR: "", LOCAL_FILES_ONLY: "--local-files-only"}  # beside the directory of the run
_LOAD_CHECKPOINT = os.path.join("utils", "ckpt_utils.py")  # its load_checkpoint reads model/ in a folder (from v1.1 on)

LoaderId = tuple[str | None, str]  # of a loader: its root and type


class Context(NamedTuple):
    """What a decision is made in.

    ``path``: of the config. ``root``: of its checkout. ``loaders``: as they will be. ``remedies``: the request that
    remedies repeat, with the cache_dir that the config names already where the run names none. ``refused``: loaders
    whose source has to stay as it is, and why.
    """

    path: str
    root: str | None
    request: Request
    loaders: Loaders
    remedies: Request
    refused: Mapping[LoaderId, str]


class Case:
    """One selected component (the values of its base files merged in) on its way through the steps.

    ``owner``: the component around it that was requested by name, where this one is nested (``vae`` of ``vae_2d``).
    ``wanted``: the followed keys that the run is about, with the value that each is to have; none: it only sets others.
    ``future``: the values with them.
    """

    def __init__(self, context: Context, component: Component, owner: str) -> None:
        self.context, self.request, self.component = context, context.request, component
        self.owner = component.name if component.name in self.request.named else owner
        self.values: dict[str, Value] = dict(component.values)
        self.changes: dict[str, object] = {}
        self.edits: dict[model.SourceChange, None] = {}
        self.findings: dict[Finding, None] = {}
        self.type = ""
        self.wanted: dict[str, object] = {}
        if self.request.looks_at_cache_dir(self.owner):
            present = self.values.get(CACHE_DIR, Value("")).value
            any_directory = present if isinstance(present, str) else "/any"  # is traced where ``check`` names none
            self.wanted[CACHE_DIR] = self.request.dir_for(self.owner) or any_directory
        if self.request.local_files_only:
            self.wanted[LOCAL_FILES_ONLY] = True

    # --- the steps

    def decide(self) -> Decision:
        """All steps, in order."""
        component = self.component
        if component.unsure is not None:
            remedy = f"write `{component.dotted}` as one dict(...) with literal keys, and change nothing of it later"
            return self._undecidable(f"`{component.dotted}` cannot be decided: {component.unsure}", remedy)
        if (refusal := self._apply_sets()) is not None:
            return refusal
        kind, weights = self.values.get("type"), self._weights
        if kind is None:
            if (weights.known and not isinstance(weights.value, str)) or (self.changes and not self.wanted):
                return self._decision("untouched")
            message = f"it has no `type`, so what reads from_pretrained={weights.text} cannot be known"
            return self._undecidable(message, "look at the script that reads it; `trace --scripts` lists its hub calls")
        if not isinstance(kind.value, str):
            message = f"its type is `{kind.text}`, which only running the config would tell"
            return self._undecidable(message, "write the type as a string")
        self.type = kind.value
        self.future = {**self.values, **{key: Value.of(value) for key, value in self.wanted.items()}}
        trace = self._trace(self.future)
        if trace.found:
            return self._decide_registered(trace)
        if self.wanted or self.changes:
            message = f"no loader is registered as `{self.type}` in the sources that were read"
            if not self.request.force:
                return self._undecidable(message, "name the package that registers it with --opensora-source")
            self._add("OSR007", message, "", "warning")
            for key in self.wanted:
                self._compare(key)
        return self._decision("already" if self.wanted else "untouched", trace)

    def _apply_sets(self) -> Decision | None:
        """``--set`` and ``--unset`` on what is written; a refusal, or None."""
        name = self.component.name
        wanted: list[tuple[str, object]] = [(key, value) for each, key, value in self.request.sets if each == name]
        wanted += [(key, REMOVE) for each, key in self.request.unsets if each == name and key in self.values]
        for key, value in wanted:
            if self._is_overridden(key, value):
                return self._decision("cannot")
            if _is_value(key, self.values.get(key), value):
                continue
            if self.component.origin is not None:
                option = f"--unset {name}.{key}" if value is REMOVE else f"--set {shlex.quote(f'{name}.{key}={value}')}"
                return self._refuse_elsewhere(option)
            if value is not REMOVE:
                self.values[key] = Value.of(value)
            elif key in self.component.keywords:
                del self.values[key]
            else:
                message = f"`{key}` is not written in `{self.component.dotted}` itself"
                return self._undecidable(message, "remove it in its base")
            self.changes[key] = value
        return None

    def _decide_registered(self, trace: Trace) -> Decision:
        name = self.component.name
        lacking = [key for key in self.changes if key in trace.lacking]
        if lacking:
            remedy = "leave out " + " ".join(f"--unset {name}.{key}" for key in lacking)
            return self._refuse_keywords(f"`{self.type}` ({self._place(trace)}) has no default for", lacking, remedy)
        foreign = [each for each in trace.rejections if each.key not in self.wanted]
        foreign = [each for each in foreign if each.key in self.changes or (self.wanted and not trace.guessed)]
        if foreign:
            first, keys = foreign[0], [each.key for each in foreign]
            own = f"the loader has no parameter {_list_keys(keys)}; upstream's own call fails too"
            remedy = f"leave out --set {name}.{first.key}" if first.key in self.changes else own
            return self._refuse_keywords(f"{first.function} ({self._place(first)}) takes no", keys, remedy)
        if not self.wanted:
            return self._decision("already" if self.request.checking else "untouched", trace)
        if trace.failures:
            return self._refuse_failure(trace.failures[0])
        if lacks_model(trace, self.values, self.context.root):
            path = str(self._weights.value)
            repo, guess = self._suggest_repo(path, self.type)
            message = f"{path!r} holds no folder model/, which `{self.type}` reads there{guess}"
            return self._cannot("OSR006", message, self._repo_command(repo))
        remote, missing = split_calls(trace, self.context.root)
        if trace.calls and not any(call.repo_id for call in remote if not call.hard_coded):
            before = self._trace({key: value for key, value in self.values.items() if key not in self.wanted})
            if not any(split_calls(before, self.context.root)):  # v1.0's t5: the key leads it away from its folder
                return self._decide_without_calls(before)
        if not remote and not missing:
            return self._decide_without_calls(trace)
        if unknown := find_unknown_repo(self._weights, [*remote, *missing]):
            remedy = f"write a repo id (ORG/NAME) or a path as a string in `{self.component.dotted}`"
            return self._undecidable(unknown, remedy)
        return self._decide_loading(trace, remote, missing)

    def _decide_without_calls(self, trace: Trace) -> Decision:
        """Nothing that is known is loaded by name."""
        self._report_unknown(trace)
        present, is_asked = self.values.get(CACHE_DIR), self.request.looks_at_cache_dir(self.owner)
        if present is not None and is_asked and not trace.unknown:
            is_none = present.known and present.value is None
            if is_none and all(each.key != CACHE_DIR for each in trace.rejections):
                pass  # the loader takes it, and it says nothing
            elif self.request.checking or CACHE_DIR not in self.component.keywords:
                message = f"`{self.type}` loads nothing from the Hub here, so cache_dir={present.text} is not needed"
                self._add("OSR009", message, self._command())
            else:
                self.changes[CACHE_DIR] = REMOVE
        return self._decision("not needed", trace)

    def _decide_loading(self, trace: Trace, remote: list[HubCall], lost: list[HubCall]) -> Decision:
        """Something is loaded by name."""
        self._report_unknown(trace)
        if lost and not remote and self._thread(CACHE_DIR).repos:
            lost = []
        self._report_missing_paths(lost, serves_others=bool(remote))
        if lost and not remote and not self.request.force:
            return self._decision("untouched", trace)
        for key in self.wanted:
            rejected = next((each for each in trace.rejections if each.key == key), None)
            if rejected is None:
                self._report_unreached(key, remote)
            else:
                what = f"{rejected.function} ({self._place(rejected)}) has no such parameter"
                message = f"`{self.type}` loads from the Hub and its loader rejects {key}: {what}"
                self._add("OSR004", message, self._threading_remedy(key), "warning" if self.request.force else "error")
            self._compare(key, rejected=rejected is not None)
            if self.request.edit_source and not self.request.checking:
                self.edits |= dict.fromkeys(self._thread(key).changes)
        self._warn_of_other_repo(remote)
        return self._decision("already", trace)

    # --- keys

    def _is_overridden(self, key: str, wanted: object) -> bool:
        """Whether a later statement gives ``key`` another value, which is said."""
        line = self.component.overrides.get(key)
        if line is None or _is_value(key, self.component.values[key], wanted):
            return False
        where = f"line {line}"
        self._add("OSR008", f"`{key}` is set again later, on {where}", f"change or remove {where}")
        return True

    def _compare(self, key: str, *, rejected: bool = False) -> None:
        """Compare the value of ``key`` with the wanted one; record the diagnosis or the change."""
        present, wanted = self.values.get(key), self.wanted[key]
        if self._is_overridden(key, wanted) or (rejected and self.request.checking):
            return
        if self.request.checking:
            self._diagnose(key, present)
        elif not _is_value(key, present, wanted):
            if self.component.origin is not None:
                self._refuse_elsewhere(_OPTIONS[key])
            else:
                self.changes[key] = wanted

    def _diagnose(self, key: str, present: Value | None) -> None:
        cure = self._command(_OPTIONS[key])
        if key == LOCAL_FILES_ONLY:
            if not _is_value(key, present, True):
                self._add("OSR011", "local_files_only is not True", cure)
            return
        requested = self.request.dir_for(self.owner)
        if present is None or (present.known and present.value is None):
            what = "has no cache_dir" if present is None else "has cache_dir=None"
            self._add("OSR001", f"`{self.type}` loads from the Hub and {what}", cure)
        elif not present.known:
            self._add("OSR007", f"cache_dir is `{present.text}`, which only running the config would tell", cure)
        elif not isinstance(present.value, str) or not os.path.isabs(present.value):
            self._add("OSR002", f"cache_dir is {present.text}, not an absolute path", cure)
        elif requested is not None and not _is_value(key, present, requested):
            self._add("OSR003", f"cache_dir is {present.text}, not {requested!r}", cure)
        elif not os.path.isdir(present.value):
            message = f"cache_dir {present.text} is not a directory on this machine"
            severity: model.Severity = "error" if self.request.must_exist else "warning"
            remedy = "create it, or mount the shared cache there"
            self._add("OSR006", message, remedy, severity, cause=f"cache_dir {present.value}")

    def _report_unreached(self, key: str, calls: Sequence[HubCall]) -> None:
        for call in [each for each in calls if key not in each.reached]:
            callee = f"{call.callee} ({self._place(call)})"
            if key in call.unseen:
                remedy = f"write {key} there, and no `**` beside it that is not known"
                self._add("OSR007", f"whether {key} reaches {callee} cannot be known", remedy)
            else:
                message = f"{key} never reaches {callee}, which loads {call.repo_id or call.repo_text}"
                self._add("OSR005", message, self._threading_remedy(key))

    # --- what stops a component

    def _refuse_elsewhere(self, option: str) -> Decision:
        """The dict is written in a base file that is not in the run."""
        base = self._shorten(str(self.component.origin))
        message = f"`{self.component.dotted}` is written in {base}, which this run does not cover"
        return self._undecidable(message, self._command(option))

    def _refuse_keywords(self, what: str, keys: Sequence[str], remedy: str) -> Decision:
        message = f"{what} {_list_keys(keys)}: building `{self.component.dotted}` raises a TypeError"
        return self._cannot("OSR004", message, remedy)

    def _refuse_failure(self, failure: model.Failure) -> Decision:
        """An assertion or ``raise`` that the loader certainly reaches: most often it takes one repo id and no path."""
        fails = f"`{failure.text}` fails ({self._place(failure)})"
        if failure in self._trace({**self.future, "from_pretrained": Value("")}).failures:
            message = f"`{self.type}` cannot be built with these keywords: {fails}"
            return self._cannot("OSR004", message, "correct the keywords; upstream's own call fails too")
        repo, _ = self._suggest_repo(str(self._weights.value), self.type, failure.text)
        message = f"`{self.type}` does not take from_pretrained={self._weights.text}: {fails}"
        return self._cannot("OSR006", message, self._repo_command(repo))

    def _report_missing_paths(self, calls: Sequence[HubCall], *, serves_others: bool) -> None:
        bad = self.request.must_exist if self.request.checking else not (serves_others or self.request.force)
        tail = "cache_dir serves what else it loads" if serves_others else "nothing else is loaded from the Hub"
        for call in {call.repo_id: call for call in reversed(calls)}.values():
            path = str(call.repo_id)
            key = next((key for key, value in self.values.items() if value.known and value.value == path), None)
            message = f"{path!r} is meant as a local path, and nothing is there; {tail}"
            if call.hard_coded and key is None:
                repo, _ = self._suggest_repo(path, None)
                remedy = f"the loader's source names it ({self._place(call)}): write a repo id such as {repo} there"
            else:
                repo, guess = self._suggest_repo(path, self.type)
                remedy, message = self._command(sets={key or "from_pretrained": repo}), message + guess
            self._add("OSR006", message, remedy, "error" if bad else "warning", cause=f"missing {path}")

    def _report_unknown(self, trace: Trace) -> None:
        """What else a loader may load than the calls that are known: an error where none is."""
        if not trace.unknown or self.owner not in self.request.selected:
            return
        what = "anything else " if trace.calls else ""
        message = f"whether `{self.type}` loads {what}from the Hub cannot be known: {self._shorten(trace.unknown[0])}"
        if trace.calls:
            remedy = "look at its loader, and try the result offline with `verify --level build`"
        else:
            remedy = f"look at its loader; to leave `{self.component.dotted}` out, name the others with --component"
        self._add("OSR007", message, remedy, "warning" if trace.calls else "error")

    def _warn_of_other_repo(self, calls: Sequence[HubCall]) -> None:
        """That a loader (v1.0's ``t5``) reads one repo of its own, whatever other one the config names."""
        given = str(self._weights.value or SPECIAL_REPO)
        functions = {step.function for call in calls if CACHE_DIR in call.reached for step in call.chain}
        if SPECIAL_FUNCTION not in functions or given == SPECIAL_REPO:
            return
        if is_repo_id(given) and locality(given, self.context.root) == "repo":
            message = f"`{self.type}` does not load {given}: its source names {SPECIAL_REPO}, which will be loaded"
            self._add("OSR006", message, f"write from_pretrained={SPECIAL_REPO!r} to say so", "warning")

    # --- outcomes

    def _undecidable(self, message: str, remedy: str) -> Decision:
        if self.wanted or self.changes or self.component.name in self.request.named:
            self._add("OSR007", message, remedy)
        return self._decision("untouched")

    def _cannot(self, code: str, message: str, remedy: str) -> Decision:
        self._add(code, message, remedy)
        return self._decision("cannot")

    def _decision(self, otherwise: model.Outcome, trace: Trace | None = None) -> Decision:
        """Refused where an error was found, set where there are changes, else ``otherwise``."""
        failed = any(finding.severity == "error" for finding in self.findings)
        outcome: model.Outcome = "cannot" if failed else "set" if self.changes else otherwise
        # each new keyword goes right after from_pretrained, so the last one made comes first
        backwards = reversed(self.changes.items()) if outcome == "set" else ()
        changes = tuple(model.ConfigChange(self.component, key, value) for key, value in backwards)
        return Decision(
            self.component, outcome, self.type or None, tuple(self.findings), changes, trace, tuple(self.edits)
        )

    def _add(self, code: str, message: str, remedy: str, severity: model.Severity = "error", cause: str = "") -> None:
        place = self.context.path, self.component.span.line, self.component.span.column, self.component.dotted
        self.findings[Finding(code, *place, message, remedy, severity, cause)] = None

    # --- traces, remedies and words

    @property
    def _weights(self) -> Value:
        return self.values.get("from_pretrained") or Value.of(None)

    def _trace(self, values: Mapping[str, Value]) -> Trace:
        """What building the component with these values would do."""
        return self.context.loaders.trace(self.context.root, self.type, values)

    def _thread(self, key: str) -> Threading:
        """Which source edits would lead ``key`` to the hub calls of the component."""
        root, loaders = self.context.root, self.context.loaders
        refusal = self.context.refused.get((root, self.type))
        if loaders.sources(root) is None:
            refusal = "its source is not at hand; name it with --opensora-source DIR"
        if refusal is not None:
            return Threading(refusal=refusal)
        default = False if key == LOCAL_FILES_ONLY else self.request.source_default
        return thread_key(self._trace({key: Value.of("/"), **self.future}), key, root, default)

    def _threading_remedy(self, key: str) -> str:
        refusal = self._thread(key).refusal
        if refusal is None and self.request.edit_source and not self.request.checking:  # this run was that command
            refusal = f"no edit that rewrite can make leads {key} there"
        if refusal is not None:
            return f"edit the loader by hand: {self._shorten(refusal)}"
        command = self._command(_OPTIONS[key])
        return command if self.request.edit_source else f"let rewrite edit the loader, from files: {command}"

    def _command(self, option: str = "", sets: Mapping[str, str] = {}) -> str:
        return rewrite_command(self.context.remedies, self.component, self.owner, sets, option)

    def _repo_command(self, repo: str) -> str:
        """What has the loader read ``repo`` from the Hub, in the place of a path that it does not take."""
        sets = {} if repo == self._weights.value else {"from_pretrained": repo}
        trial = {key: value for key, value in self.values.items() if key not in self.wanted}
        trial["from_pretrained"] = Value.of(repo)
        forced = self._trace({**trial, "force_huggingface": Value.of(True)})
        if self._trace(trial).failures and not forced.failures and not forced.rejections:
            sets["force_huggingface"] = "True"  # the loader reads from the Hub only where it is given this
        return self._command(sets=sets)

    def _suggest_repo(self, path: str, kind: str | None, refusal: str = "") -> tuple[str, str]:
        """The repo that a lost path names, and what a message adds where that is a guess."""
        own = own_weights(kind, self.context.root)
        repo, guess = suggest_repo(path, own, cached_repos(self.request.dir_for(self.owner)), refusal)
        return repo, f"; {guess}" if guess else ""

    def _shorten(self, text: str) -> str:
        """A text with its paths relative to the checkout."""
        return text.replace(self.context.root + os.sep, "") if self.context.root is not None else text

    def _place(self, at: Trace | HubCall | model.Rejection | model.Failure) -> str:
        return f"{self._shorten(at.path)}:{at.line}" if at.path else "the table of released loaders"


def lacks_model(trace: Trace, values: Mapping[str, Value], root: str | None) -> bool:
    """Whether ``load_checkpoint`` reads a local folder that has no ``model/``."""
    if not any(each.endswith(_LOAD_CHECKPOINT) for each in trace.files):
        return False
    weights = values.get("from_pretrained", Value.of(None)).value
    folder = os.path.join(root or "", os.path.expanduser(str(weights)))
    return os.path.isdir(folder) and not os.path.isdir(os.path.join(folder, "model"))


def find_unknown_repo(weights: Value, calls: Iterable[HubCall]) -> str | None:
    """Why it cannot be known what calls read by the ``from_pretrained`` of a config, or None."""
    value, read = weights.value, [text for call in calls for text in (call.repo_id, call.repo_text)]
    if not weights.known and None in read:
        return f"from_pretrained is `{weights.text}`, which only running the config would tell"
    if value is not None and not names_weights(value) and (value in read or repr(value) in read):
        return f"from_pretrained={weights.text} can be no repo id, and no such path exists"
    return None


def _list_keys(keys: Sequence[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _is_value(key: str, present: Value | None, wanted: object) -> bool:
    """Whether a keyword has that value: directories normalised, everything else by type and value."""
    if present is None or not present.known:
        return False
    value = present.value
    if key == CACHE_DIR and isinstance(value, str) and isinstance(wanted, str) and os.path.isabs(value):
        return os.path.normpath(value) == os.path.normpath(wanted)
    return type(value) is type(wanted) and value == wanted
