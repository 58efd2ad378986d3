"""Decide, for one component, what is to happen to it and why; nothing is read or written.

The steps: ``--set`` and ``--unset``; what the loader does; whether its path exists; not needed; already; set; cannot.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from rewriter.decide.loaders import Loaders, keywords, split_calls
from rewriter.decide.remedies import (
    cache_option,
    cached_repos,
    key_option,
    select_option,
    suggest_asserted_repo,
    suggest_repo,
)
from rewriter.decide.request import Request
from rewriter.decide.thread import Threading, thread_key
from rewriter.locality import names_weights
from rewriter.model import (
    CACHE_DIR,
    LOCAL_FILES_ONLY,
    REMOVE,
    Component,
    ConfigChange,
    Decision,
    Finding,
    HubCall,
    Outcome,
    Severity,
    Trace,
    Value,
)
from rewriter.read.loaders import trace_loader
from rewriter.words import quote_word

PLACEHOLDER = "/cache_dir"
"""The directory that is traced where ``check`` names none: any absolute one will do."""
_LOAD_CHECKPOINT = os.path.join("utils", "ckpt_utils.py")
"""Home of ``load_checkpoint``, which reads ``model/`` in a folder (v1.1 to v1.3 and what is derived from them)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision is made in.

    ``path``: of the config. ``root``: of its checkout. ``loaders``: as they will be. ``remedies``: the request that
    remedies repeat, with the cache_dir that the config names already where the run names none. ``refused``: loaders
    whose source has to stay as it is, ``(root of the sources, type)``, and why.
    """

    path: str
    root: str | None
    request: Request
    loaders: Loaders
    remedies: Request
    refused: Mapping[tuple[str, str], str]

    def trace(self, kind: str, values: Mapping[str, Value]) -> Trace:
        """What building ``kind`` with these values would do."""
        return self.loaders.trace(self.root, kind, values)

    def thread(self, kind: str, values: Mapping[str, Value], key: str) -> Threading:
        """Which source edits would lead ``key`` to the hub calls of a component."""
        sources = self.loaders.sources(self.root)
        if sources is None:
            return Threading(refusal="its source is not at hand; name it with --opensora-source DIR")
        why = self.refused.get((sources.root, kind))
        if why is not None:
            return Threading(refusal=why)
        trace = trace_loader(sources, kind, {**keywords(values), key: values.get(key, Value.of("/"))})
        return thread_key(trace, key, self.root, self.request.default_for(key))


def decide(context: Context, component: Component, owner: str | None = None) -> Decision:
    """Decide about one selected component (the values of its base files merged in).

    ``owner``: the component around it that was requested by name, where this one is nested (``vae`` of ``vae_2d``).
    """
    return _Case(context, component, owner or component.name).decide()


class _Case:
    """One component on its way through the steps."""

    def __init__(self, context: Context, component: Component, owner: str) -> None:
        self.context = context
        self.request = context.request
        self.component = component
        self.owner = component.name if component.name in self.request.named else owner
        self.values: dict[str, Value] = dict(component.values)
        self.changes: dict[str, object] = {}
        self.kept: dict[str, object] = {}
        self.findings: list[Finding] = []
        self.type = ""
        self.is_concerned = self.request.looks_at_cache_dir(self.owner) or bool(self.request.requested_keys(self.owner))

    # --- the steps

    def decide(self) -> Decision:
        """All steps, in order."""
        component = self.component
        if component.unsure is not None:
            remedy = f"write `{component.dotted}` as one dict(...) with literal keys, and change nothing of it later"
            return self._undecidable(f"`{component.dotted}` cannot be decided: {component.unsure}", remedy)
        refusal = self._apply_sets()
        if refusal is not None:
            return refusal
        kind = self.values.get("type")
        if kind is None:
            return self._decide_untyped()
        if not isinstance(kind.value, str):
            message = f"its type is `{kind.text}`, which only running the config would tell"
            return self._undecidable(message, "write the type as a string")
        self.type = kind.value
        return self._decide_typed()

    def _apply_sets(self) -> Decision | None:
        """``--set`` and ``--unset`` on what is written; a refusal, or None."""
        name, dotted = self.component.name, self.component.dotted
        wanted: list[tuple[str, object]] = [(key, value) for each, key, value in self.request.sets if each == name]
        wanted += [(key, REMOVE) for each, key in self.request.unsets if each == name and key in self.values]
        for key, value in wanted:
            override = self._find_override(key, value)
            if override is not None:
                return self._cannot(*override)
            if _is_value(key, self.values.get(key), value):
                self.kept[key] = self.values[key].value
                continue
            if self.component.origin is not None:
                return self._refuse_elsewhere(key)
            if value is not REMOVE:
                self.values[key] = Value.of(value)
            elif key not in {keyword.key for keyword in self.component.keywords}:
                return self._undecidable(f"`{key}` is not written in `{dotted}` itself", "remove it in its base")
            else:
                del self.values[key]
            self.changes[key] = value
        if self.changes.get("type") is REMOVE:
            return self._undecidable(f"without `type` nothing says what builds `{dotted}`", self._leave_out_unsets())
        return None

    def _decide_untyped(self) -> Decision:
        """A dict without ``type`` builds nothing here; one that names a repo is read by something nobody sees."""
        value = self.values.get("from_pretrained")
        if value is None or (value.known and not isinstance(value.value, str)):
            return self._decision("set" if self.changes else "untouched")
        if self.changes and not self.is_concerned:
            return self._decision("set")
        message = f"it has no `type`, so what reads from_pretrained={value.text} cannot be known"
        return self._undecidable(message, "look at the script that reads it; `trace --scripts` lists its hub calls")

    def _decide_typed(self) -> Decision:
        requested = {key for key, _ in self.request.requested_keys(self.owner)}
        bare = {
            key: value
            for key, value in self.values.items()
            if key not in (CACHE_DIR, LOCAL_FILES_ONLY) or (self._is_set(key) and key not in requested)
        }
        trace = self.context.trace(self.type, bare)
        if not trace.found:
            return self._decide_unregistered()
        lacking = [key for key, value in self.changes.items() if value is REMOVE and key in trace.required]
        if lacking:
            place = self._place(trace.path, trace.line)
            message = f"`{self.type}` has no default for {list_keys(lacking)} ({place}): building it raises a TypeError"
            return self._cannot("OSR004", message, self._leave_out_unsets())
        foreign = [
            each for each in trace.rejections if self._is_set(each.key) or (self.is_concerned and not trace.guessed)
        ]
        if foreign:
            return self._refuse_keywords(trace, [each.key for each in foreign])
        if not self.is_concerned:
            return self._close(trace, False)
        remote, missing = split_calls(trace, self.context.root)
        if trace.failures:
            return self._refuse_failure(trace, bare)
        if not remote and not missing:
            return self._decide_without_calls(trace, bare)
        unknown = self._find_unknown_repo([*remote, *missing])
        return self._undecidable(*unknown) if unknown is not None else self._decide_loading()

    def _decide_unregistered(self) -> Decision:
        if not self.is_concerned and not self.changes:
            return self._decision("untouched")
        message = f"no loader is registered as `{self.type}` in the sources that were read"
        if self.request.force and not self.request.checking:
            self._add("OSR007", message, "", "warning")
            for key, wanted in self.request.requested_keys(self.owner):
                self._compare(key, wanted, rejected=False)
            return self._close(Trace(self.type, False), True)
        return self._undecidable(message, "name the package that registers it with --opensora-source")

    def _decide_without_calls(self, trace: Trace, bare: Mapping[str, Value]) -> Decision:
        """Nothing that is known is loaded by name."""
        path = str(bare.get("from_pretrained", Value.of(None)).value)
        folder = os.path.join(self.context.root or "", os.path.expanduser(path))
        reads_model = any(each.endswith(_LOAD_CHECKPOINT) for each in trace.files) and os.path.isdir(folder)
        if reads_model and not os.path.isdir(os.path.join(folder, "model")):
            repo, guess = self._suggest_repo(path, self.type)
            message = f"{path!r} holds no folder model/, which `{self.type}` reads there{guess}"
            return self._cannot("OSR006", message, self._repo_command(repo, bare))
        with_key = self.context.trace(self.type, {**bare, CACHE_DIR: Value.of(PLACEHOLDER)})
        unknown = with_key.unknown if CACHE_DIR in trace.accepts else trace.unknown
        if unknown and not trace.calls and self.request.selects(self.owner):
            message = f"whether `{self.type}` loads from the Hub cannot be known: {self._shorten(unknown[0])}"
            remedy = f"look at its loader; to leave `{self.component.dotted}` out, name the others with --component"
            return self._undecidable(message, remedy)
        self._warn_unknown(with_key)
        present = self.values.get(CACHE_DIR)
        if not unknown and present is not None and self.request.looks_at_cache_dir(self.owner):
            useless = not (present.known and present.value is None) or CACHE_DIR not in trace.accepts
            is_written = CACHE_DIR in {keyword.key for keyword in self.component.keywords}
            if useless and (self.request.checking or not is_written):
                message = f"`{self.type}` loads nothing from the Hub here, so cache_dir={present.text} is not needed"
                self._add("OSR009", message, self._command(cache_option(self.context.remedies, self.owner)))
            elif useless:
                self.changes[CACHE_DIR] = REMOVE
        return self._decision("not needed" if self.request.checking or not self.changes else "set", trace)

    def _decide_loading(self) -> Decision:
        """Something is loaded by name."""
        requested = list(self.request.requested_keys(self.owner))
        if self.request.looks_at_cache_dir(self.owner) and self.request.dir_for(self.owner) is None:
            present = self.values.get(CACHE_DIR)
            known = present.value if present is not None and isinstance(present.value, str) else PLACEHOLDER
            requested.append((CACHE_DIR, known))
        values = {key: value for key, value in self.values.items() if key not in dict(requested)}
        values |= {key: Value.of(value) for key, value in requested}
        trace = self.context.trace(self.type, values)
        self._warn_unknown(trace)
        remote, lost = split_calls(trace, self.context.root)
        if lost and not remote and self.context.thread(self.type, values, CACHE_DIR).repos:
            lost = []
        if lost and not remote:
            alone = len({call.repo_id for call in lost}) == 1
            tail = "it is all that this component loads" if alone else "this component loads nothing else from the Hub"
            self._report_missing_paths(lost, tail)
            if self.request.checking or not self.request.force:
                return self._decision("cannot" if self._has_errors() else "untouched", trace)
        rejected = {each.key: each for each in trace.rejections}
        if trace.failures and requested:
            failure, key = trace.failures[0], requested[0][0]
            where = self._place(failure.path, failure.line)
            message = f"`{self.type}` loads from the Hub, and with {key} `{failure.text}` ({where}) fails"
            self._refuse_key(message, key, values)
        for key, wanted in requested:
            if key in rejected:
                each = rejected[key]
                where = self._place(each.path, each.line)
                message = f"its loader rejects {key}: {each.function} ({where}) has no such parameter"
                self._refuse_key(f"`{self.type}` loads from the Hub and {message}", key, values)
            else:
                self._check_reach(key, [call for call in remote if key not in call.reached], values)
            self._compare(key, wanted, rejected=key in rejected)
        if lost and remote:
            self._report_missing_paths(lost, "cache_dir serves what else it loads", needed=False)
        return self._close(trace, True)

    def _close(self, trace: Trace, concerned: bool) -> Decision:
        if self._has_errors():
            return self._decision("cannot", trace)
        if self.request.checking:
            return self._decision("already", trace)
        return self._decision("set" if self.changes else "already" if concerned else "untouched", trace)

    # --- keys

    def _is_set(self, key: str) -> bool:
        """Whether ``--set`` gives ``key``."""
        return self.changes.get(key, REMOVE) is not REMOVE

    def _compare(self, key: str, wanted: object, *, rejected: bool) -> None:
        """Compare the value of ``key`` with the one requested; record the diagnosis or the change."""
        present = self.values.get(key)
        override = self._find_override(key, wanted)
        if override is not None:
            self._add(*override)
        elif self.request.checking:
            if not rejected:
                self._diagnose(key, present)
        elif _is_value(key, present, wanted):
            assert present is not None
            self.kept[key] = present.value
        elif self.component.origin is not None:
            self._refuse_elsewhere(key)
        else:
            self.changes[key] = wanted

    def _diagnose(self, key: str, present: Value | None) -> None:
        cure = self._command(key_option(self.context.remedies, self.component.name, self.owner, key))
        if key == LOCAL_FILES_ONLY:
            if present is None or not present.known or present.value is not True:
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
        elif requested is not None and not _same(key, present.value, requested):
            self._add("OSR003", f"cache_dir is {present.text}, not {requested!r}", cure)
        elif not os.path.isdir(present.value):
            severity: Severity = "error" if self.request.must_exist else "warning"
            message = f"cache_dir {present.text} is not a directory on this machine"
            remedy = "create it, or mount the shared cache there"
            self._add("OSR006", message, remedy, severity, cause=f"cache_dir {present.value}")

    def _refuse_elsewhere(self, key: str) -> Decision:
        """The dict is written in a base file that is not in the run."""
        base = self._shorten(str(self.component.origin))
        message = f"`{self.component.dotted}` is written in {base}, which this run does not cover"
        return self._undecidable(
            message, self._command(key_option(self.context.remedies, self.component.name, self.owner, key))
        )

    def _find_override(self, key: str, wanted: object) -> tuple[str, str, str] | None:
        """Code, message and remedy where a later statement gives ``key`` another value, or None."""
        last = next((each for each in reversed(self.component.overrides) if each.key == key), None)
        if last is None or _is_value(key, last.value, wanted):
            return None
        line = last.span.line
        return "OSR008", f"`{key}` is set again later, on line {line}", f"change or remove line {line}"

    def _check_reach(self, key: str, calls: list[HubCall], values: Mapping[str, Value]) -> None:
        for call in calls:
            place = self._place(call.path, call.line)
            if key in call.unseen:
                message = f"whether {key} reaches {call.callee} ({place}) cannot be known"
                self._add("OSR007", message, f"write {key} there, and no `**` beside it that is not known")
            else:
                message = f"{key} never reaches {call.callee} ({place}), which loads {call.repo_id or call.repo_text}"
                self._add("OSR005", message, self._threading_remedy(key, values))

    # --- what stops a component

    def _find_unknown_repo(self, calls: list[HubCall]) -> tuple[str, str] | None:
        """Message and remedy where ``from_pretrained`` names no repo that could be known, or None."""
        value = self.values.get("from_pretrained", Value.of(None))
        remedy = f"write a repo id (ORG/NAME) or a path as a string in `{self.component.dotted}`"
        if not value.known:
            if any(call.repo_id is None for call in calls):
                return f"from_pretrained is `{value.text}`, which only running the config would tell", remedy
        elif value.value is not None and not names_weights(value.value):
            read = [text for call in calls for text in (call.repo_id, call.repo_text)]
            if value.value in read or repr(value.value) in read:
                return f"from_pretrained={value.text} can be no repo id, and no such path exists", remedy
        return None

    def _refuse_failure(self, trace: Trace, bare: Mapping[str, Value]) -> Decision:
        """An assertion or ``raise`` that the loader certainly reaches: most often it takes one repo id and no path."""
        failure = trace.failures[0]
        where = self._place(failure.path, failure.line)
        present = bare.get("from_pretrained", Value.of(None))
        if failure in self.context.trace(self.type, {**bare, "from_pretrained": Value("")}).failures:
            message = f"`{self.type}` cannot be built with these keywords: `{failure.text}` fails ({where})"
            return self._cannot("OSR004", message, "correct the keywords; upstream's own call fails too")
        message = f"`{self.type}` does not take from_pretrained={present.text}: `{failure.text}` fails ({where})"
        repo = suggest_asserted_repo(failure.text, str(present.value), self.type, self.context.root)
        return self._cannot("OSR006", message, self._repo_command(repo, bare))

    def _repo_command(self, repo: str, bare: Mapping[str, Value]) -> str:
        """What has the loader read ``repo`` from the Hub, in the place of a path that it does not take."""
        sets = {} if repo == bare.get("from_pretrained", Value.of(None)).value else {"from_pretrained": repo}
        trial = {**bare, "from_pretrained": Value.of(repo)}
        forced = self.context.trace(self.type, {**trial, "force_huggingface": Value.of(True)})
        if self.context.trace(self.type, trial).failures and not forced.failures and not forced.rejections:
            sets["force_huggingface"] = "True"  # the loader reads from the Hub only where it is given this
        return self._set_command(sets)

    def _report_missing_paths(self, calls: list[HubCall], tail: str, *, needed: bool = True) -> None:
        request = self.request
        bad = request.must_exist if request.checking else needed and not request.force
        for call in {call.repo_id: call for call in reversed(calls)}.values():
            path = str(call.repo_id)
            key = next((key for key, value in self.values.items() if value.known and value.value == path), None)
            message = f"{path!r} is meant as a local path, and nothing is there; {tail}"
            kind = None if call.hard_coded and key is None else self.type
            repo, guess = self._suggest_repo(path, kind)
            if kind is None:
                place = self._place(call.path, call.line)
                remedy = f"the loader's source names it ({place}): write a repo id such as {repo} there"
            else:
                remedy = self._set_command({key or "from_pretrained": repo})
                message += guess
            self._add("OSR006", message, remedy, "error" if bad else "warning", cause=f"missing {path}")

    def _warn_unknown(self, trace: Trace) -> None:
        """Beside calls that are known there may be others, of which nothing is."""
        if trace.unknown and self.request.selects(self.owner):
            place = self._shorten(trace.unknown[0])
            message = f"whether `{self.type}` loads anything else from the Hub cannot be known: {place}"
            remedy = "look at its loader, and try the result offline with `verify --level build`"
            self._add("OSR007", message, remedy, "warning")

    def _refuse_keywords(self, trace: Trace, keys: list[str]) -> Decision:
        """Keywords beside those that are requested, which the loader does not take."""
        first = next(each for each in trace.rejections if each.key == keys[0])
        if not self._is_set(first.key):
            remedy = f"the loader has no parameter {list_keys(keys)}; upstream's own call fails too"
        elif first.key == CACHE_DIR:
            remedy = self._command(f"--cache-dir {self.component.name}={self.changes[CACHE_DIR]}")
        else:
            remedy = f"leave out --set {self.component.name}.{first.key}"
        where = f"{first.function} ({self._place(first.path, first.line)})"
        message = f"{where} takes no {list_keys(keys)}: building `{self.component.dotted}` raises a TypeError"
        return self._cannot("OSR004", message, remedy)

    def _refuse_key(self, message: str, key: str, values: Mapping[str, Value]) -> None:
        severity: Severity = "warning" if self.request.force and not self.request.checking else "error"
        self._add("OSR004", message, self._threading_remedy(key, values), severity)

    def _undecidable(self, message: str, remedy: str) -> Decision:
        if not self.is_concerned and not self.changes and self.component.name not in self.request.named:
            return self._decision("untouched")
        return self._cannot("OSR007", message, remedy)

    # --- outcomes

    def _has_errors(self) -> bool:
        return any(finding.severity == "error" for finding in self.findings)

    def _cannot(self, code: str, message: str, remedy: str) -> Decision:
        self._add(code, message, remedy)
        return self._decision("cannot")

    def _decision(self, outcome: Outcome, trace: Trace | None = None) -> Decision:
        # each new keyword goes right after from_pretrained, so the last one made comes first
        backwards = reversed(self.changes.items()) if outcome == "set" else ()
        changes = tuple(ConfigChange(self.component, key, value) for key, value in backwards)
        kept = tuple(self.kept.items()) if outcome in ("set", "already", "untouched") else ()
        return Decision(self.component, outcome, self.type or None, tuple(self.findings), changes, trace, kept)

    def _add(self, code: str, message: str, remedy: str, severity: Severity = "error", cause: str = "") -> None:
        place = self.context.path, self.component.span.line, self.component.span.column, self.component.dotted
        finding = Finding(code, *place, message, remedy, severity, cause)
        if finding not in self.findings:
            self.findings.append(finding)

    # --- remedies and words

    def _command(self, option: str) -> str:
        path = quote_word(self.component.origin) if self.component.origin is not None else "{path}"
        return f"opensora-rewriter rewrite {path} {option}{select_option(self.component.name)}"

    def _suggest_repo(self, path: str, kind: str | None) -> tuple[str, str]:
        """The repo that a lost path names, and what a message adds where that is a guess."""
        repo, guess = suggest_repo(path, kind, self.context.root, cached_repos(self.request.dir_for(self.owner)))
        return repo, f"; {guess}" if guess else ""

    def _set_command(self, sets: Mapping[str, str]) -> str:
        words = [f" --set {quote_word(f'{self.component.name}.{key}={value}')}" for key, value in sets.items()]
        return self._command(cache_option(self.context.remedies, self.owner) + "".join(words))

    def _leave_out_unsets(self) -> str:
        removed = [key for key, value in self.changes.items() if value is REMOVE]
        return "leave out " + " ".join(f"--unset {self.component.name}.{key}" for key in removed)

    def _threading_remedy(self, key: str, values: Mapping[str, Value]) -> str:
        refusal = self.context.thread(self.type, values, key).refusal
        if refusal is not None:
            return f"edit the loader by hand: {self._shorten(refusal)}"
        if self.request.edit_source and not self.request.checking:  # this run was that command
            return f"edit the loader by hand: no edit that rewrite can make leads {key} there"
        option = key_option(self.context.remedies, self.component.name, self.owner, key)
        return self._command(option) + ("" if self.request.edit_source else ", without --no-source")

    def _shorten(self, text: str) -> str:
        """A text with its paths relative to the checkout."""
        return text.replace(self.context.root + os.sep, "") if self.context.root is not None else text

    def _place(self, path: str, line: int) -> str:
        return f"{self._shorten(path)}:{line}" if path else "the table of released loaders"


def list_keys(keys: list[str], most: int = 10) -> str:
    """Keywords in words, so many of them at most."""
    names = ", ".join(f"`{key}`" for key in keys[:most])
    return names if len(keys) <= most else f"{names} and {len(keys) - most} more"


def _is_value(key: str, present: Value | None, wanted: object) -> bool:
    return present is not None and present.known and _same(key, present.value, wanted)


def _same(key: str, present: object, wanted: object) -> bool:
    """Equal as the key means it: paths normalised, everything else by type and value."""
    if key == CACHE_DIR and isinstance(present, str) and isinstance(wanted, str):
        return os.path.normpath(present) == os.path.normpath(wanted) if os.path.isabs(present) else present == wanted
    return type(present) is type(wanted) and present == wanted
