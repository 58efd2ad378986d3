"""Decide, for one component, what is to happen to it and why; nothing is read or written.

The steps: ``--set`` and ``--unset``; what the loader does; whether its path exists; not needed; already; set; cannot.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from rewriter.decide.context import PLACEHOLDER, Context, split_calls
from rewriter.decide.remedies import (
    cache_option,
    cached_repos,
    key_option,
    select_option,
    suggest_asserted_repo,
    suggest_repo,
)
from rewriter.locality import is_path_like, is_repo_id, normalize_path
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
    Rejection,
    Severity,
    Trace,
    Value,
)
from rewriter.words import quote_word


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
        self.written = {keyword.key for keyword in component.keywords}
        self.changes: dict[str, object] = {}
        self.kept: dict[str, object] = {}
        self.findings: list[Finding] = []
        self.type: str | None = None

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

    def _decide_typed(self) -> Decision:
        assert self.type is not None
        requested = {key for key, _ in self.request.requested_keys(self.owner)}
        bare = {
            key: value
            for key, value in self.values.items()
            if key not in (CACHE_DIR, LOCAL_FILES_ONLY) or (self._is_set(key) and key not in requested)
        }
        trace = self.context.trace(self.type, bare)
        if not trace.found:
            return self._decide_unregistered()
        needed = self._find_needed(trace, bare)
        if needed is not None:
            return self._cannot("OSR004", needed, self._leave_out_unsets())
        concerned = self._is_concerned()
        foreign = [each for each in trace.rejections if concerned or self._is_set(each.key)]
        if trace.guessed:
            foreign = [each for each in foreign if self._is_set(each.key)]
        if foreign:
            return self._refuse_keywords(foreign)
        if not concerned:
            return self._close(trace, False)
        remote, missing = split_calls(trace, self.context.root)
        if trace.failures:
            return self._refuse_failure(trace, bare)
        if not remote and not missing:
            return self._decide_without_calls(trace, bare)
        unknown = self._find_unknown_repo([*remote, *missing])
        if unknown is not None:
            return self._undecidable(*unknown)
        return self._decide_loading()

    def _decide_without_calls(self, trace: Trace, bare: Mapping[str, Value]) -> Decision:
        """Nothing that is known is loaded by name."""
        assert self.type is not None
        with_key = self.context.trace(self.type, {**bare, CACHE_DIR: Value.of(PLACEHOLDER)})
        unknown = with_key.unknown if CACHE_DIR in trace.accepts else trace.unknown
        if unknown and not trace.calls and self.request.selects(self.owner):
            message = f"whether `{self.type}` loads from the Hub cannot be known: {self._place_reason(unknown[0])}"
            remedy = f"look at its loader; to leave `{self.component.dotted}` out, name the others with --component"
            return self._undecidable(message, remedy)
        self._warn_unknown(with_key)
        present = self.values.get(CACHE_DIR)
        if not unknown and present is not None and self.request.looks_at_cache_dir(self.owner):
            useless = not (present.known and present.value is None) or CACHE_DIR not in trace.accepts
            if useless and (self.request.checking or CACHE_DIR not in self.written):
                message = f"`{self.type}` loads nothing from the Hub here, so cache_dir={present.text} is not needed"
                self._add("OSR009", message, self._command(cache_option(self.request, self.owner)))
            elif useless:
                self.changes[CACHE_DIR] = REMOVE
        if self.request.checking or not self.changes:
            return self._decision("not needed", trace)
        return self._decision("set", trace)

    def _decide_loading(self) -> Decision:
        """Something is loaded by name."""
        assert self.type is not None
        requested = list(self.request.requested_keys(self.owner))
        if self.request.looks_at_cache_dir(self.owner) and self.request.dir_for(self.owner) is None:
            present = self.values.get(CACHE_DIR)
            known = present.value if present is not None and isinstance(present.value, str) else PLACEHOLDER
            requested.append((CACHE_DIR, known))
        values = {key: value for key, value in self.values.items() if key not in dict(requested)}
        values.update((key, Value.of(value)) for key, value in requested)
        trace = self.context.trace(self.type, values)
        self._warn_unknown(trace)
        remote, missing = split_calls(trace, self.context.root)
        lost = missing
        if missing and not remote and self.context.thread(self.type, values, CACHE_DIR).repos:
            lost = []
        if lost and not remote:
            alone = len({call.repo_id for call in lost}) == 1
            tail = "it is all that this component loads" if alone else "this component loads nothing else from the Hub"
            self._report_missing_paths(lost, tail)
            if self.request.checking or not self.request.force:
                return self._decision("cannot" if self._has_errors() else "untouched", trace)
        rejected = {each.key: each for each in trace.rejections}
        if trace.failures and requested:
            failure = trace.failures[0]
            where = self._place(failure.path, failure.line)
            message = f"`{self.type}` loads from the Hub, and with {requested[0][0]} `{failure.text}` ({where}) fails"
            self._refuse_key(message, requested[0][0], values)
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
        errors = self._has_errors()
        if self.request.checking:
            return self._decision("cannot" if errors else "already", trace)
        if errors:
            return self._decision("cannot", trace)
        if self.changes:
            return self._decision("set", trace)
        return self._decision("already" if concerned else "untouched", trace)

    # --- keys

    def _apply_sets(self) -> Decision | None:
        """``--set`` and ``--unset`` on what is written; a refusal, or None."""
        name = self.component.name
        for key, value in [(key, value) for component, key, value in self.request.sets if component == name]:
            override = self._find_override(key, value)
            if override is not None:
                return self._cannot(*override)
            if _is_value(key, self.values.get(key), value):
                self.kept[key] = self.values[key].value
                continue
            refusal = self._refuse_elsewhere(key)
            if refusal is not None:
                return refusal
            self.changes[key] = value
            self.values[key] = Value.of(value)
        for key in [key for component, key in self.request.unsets if component == name and key in self.values]:
            override = self._find_override(key, REMOVE)
            if override is not None:
                return self._cannot(*override)
            if key not in self.written:
                message, remedy = f"`{key}` is not written in `{self.component.dotted}` itself", "remove it in its base"
                return self._refuse_elsewhere(key) or self._undecidable(message, remedy)
            self.changes[key] = REMOVE
            del self.values[key]
            if key == "type":
                message = f"without `type` nothing says what builds `{self.component.dotted}`"
                return self._undecidable(message, self._leave_out_unsets())
        return None

    def _find_needed(self, trace: Trace, bare: Mapping[str, Value]) -> str | None:
        """What fails without the keywords that ``--unset`` removes, or None. ``trace``: of what is left."""
        assert self.type is not None
        removed = [key for key, value in self.changes.items() if value is REMOVE]
        lacking = [key for key in removed if key in trace.required]
        if lacking:
            where = self._place(trace.path, trace.line)
            return f"`{self.type}` has no default for {list_keys(lacking)} ({where}): building it raises a TypeError"
        if not removed or not trace.failures:
            return None
        before = {key: value for key, value in self.component.values.items() if key in removed}
        kept = self.context.trace(self.type, {**bare, **before}).failures
        for failure in trace.failures:
            if failure not in kept:
                where = self._place(failure.path, failure.line)
                return f"`{self.type}` does not do without {list_keys(removed)}: `{failure.text}` fails ({where})"
        return None

    def _leave_out_unsets(self) -> str:
        removed = [key for key, value in self.changes.items() if value is REMOVE]
        return "leave out " + " ".join(f"--unset {self.component.name}.{key}" for key in removed)

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
        elif self._refuse_elsewhere(key) is None:  # which adds its own finding
            self.changes[key] = wanted

    def _diagnose(self, key: str, present: Value | None) -> None:
        cure = self._command(key_option(self.request, self.component.name, self.owner, key))
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

    def _refuse_elsewhere(self, key: str) -> Decision | None:
        """A refusal where the dict is written in a base file that is not in the run, or None."""
        origin = self.component.origin
        if origin is None:
            return None
        message = f"`{self.component.dotted}` is written in {self._below(origin)}, which this run does not cover"
        remedy = self._command(key_option(self.request, self.component.name, self.owner, key))
        return self._undecidable(message, remedy)

    def _find_override(self, key: str, wanted: object) -> tuple[str, str, str] | None:
        """Code, message and remedy where a later statement gives ``key`` another value, or None."""
        for override in reversed(self.component.overrides):
            if override.key == key:
                if _is_value(key, override.value, wanted):
                    return None
                line = override.line
                return "OSR008", f"`{key}` is set again later, on line {line}", f"change or remove line {line}"
        return None

    # --- outcomes

    def _decide_untyped(self) -> Decision:
        """A dict without ``type`` builds nothing here; one that names a repo is read by something nobody sees."""
        value = self.values.get("from_pretrained")
        if value is None or (value.known and not isinstance(value.value, str)):
            return self._decision("set" if self.changes else "untouched", None)
        if self.changes and not self._is_concerned():
            return self._decision("set", None)
        message = f"it has no `type`, so what reads from_pretrained={value.text} cannot be known"
        return self._undecidable(message, "look at the script that reads it; `trace --scripts` lists its hub calls")

    def _decide_unregistered(self) -> Decision:
        if not self._is_concerned() and not self.changes:
            return self._decision("untouched", None)
        message = f"no loader is registered as `{self.type}` in the sources that were read"
        if self.request.force and not self.request.checking:
            self._add("OSR007", message, "", "warning")
            for key, wanted in self.request.requested_keys(self.owner):
                self._compare(key, wanted, rejected=False)
            return self._close(Trace(str(self.type), False), True)
        return self._undecidable(message, "name the package that registers it with --opensora-source")

    def _is_concerned(self) -> bool:
        return self.request.looks_at_cache_dir(self.owner) or bool(self.request.requested_keys(self.owner))

    def _find_unknown_repo(self, calls: list[HubCall]) -> tuple[str, str] | None:
        """Message and remedy where ``from_pretrained`` names no repo that could be known, or None."""
        value = self.values.get("from_pretrained")
        if value is None or (value.known and value.value is None):
            return None
        remedy = f"write a repo id (ORG/NAME) or a path as a string in `{self.component.dotted}`"
        if not value.known:
            if any(call.repo_id is None for call in calls):
                return f"from_pretrained is `{value.text}`, which only running the config would tell", remedy
        elif not isinstance(value.value, str):
            if any(call.repo_text == repr(value.value) for call in calls):
                return f"from_pretrained={value.text} is no repo id and no path", remedy
        elif not (is_repo_id(value.value) or is_path_like(value.value)) and value.value in {c.repo_id for c in calls}:
            return f"from_pretrained={value.text} can be no repo id, and no such path exists", remedy
        return None

    def _refuse_failure(self, trace: Trace, bare: Mapping[str, Value]) -> Decision:
        """An assertion or ``raise`` that the loader certainly reaches: most often it takes one repo id and no path."""
        assert self.type is not None
        failure = trace.failures[0]
        where = self._place(failure.path, failure.line)
        present = bare.get("from_pretrained", Value.of(None))
        if failure in self.context.trace(self.type, {**bare, "from_pretrained": Value("")}).failures:
            message = f"`{self.type}` cannot be built with these keywords: `{failure.text}` fails ({where})"
            return self._cannot("OSR004", message, "correct the keywords; upstream's own call fails too")
        message = f"`{self.type}` does not take from_pretrained={present.text}: `{failure.text}` fails ({where})"
        repo = suggest_asserted_repo(failure.text, str(present.value), self.type, self.context.root)
        return self._cannot("OSR006", message, self._set_command("from_pretrained", repo))

    def _report_missing_paths(self, calls: list[HubCall], tail: str, *, needed: bool = True) -> None:
        for call in {call.repo_id: call for call in reversed(calls)}.values():
            self._report_missing_path(call, tail, needed=needed)

    def _report_missing_path(self, call: HubCall, tail: str, *, needed: bool) -> None:
        request = self.request
        bad = request.must_exist if request.checking else needed and not request.force
        path = str(call.repo_id)
        key = next((key for key, value in self.values.items() if value.known and value.value == path), None)
        message = f"{path!r} is meant as a local path, and nothing is there; {tail}"
        if call.hard_coded and key is None:
            place = self._place(call.path, call.line)
            repo = suggest_repo(path, None, self.context.root, self._cached())[0]
            remedy = f"the loader's source names it ({place}): write a repo id such as {repo} there"
        else:
            remedy, sureness = self._repo_remedy(key or "from_pretrained", path)
            if sureness == "own weights":
                message += "; the remedy names Open-Sora's own weights for this type"
            elif sureness == "placeholder":
                message += "; ORG is a placeholder"
        self._add("OSR006", message, remedy, "error" if bad else "warning", cause=f"missing {path}")

    def _warn_unknown(self, trace: Trace) -> None:
        """Beside calls that are known there may be others, of which nothing is."""
        for reason in trace.unknown[:1] if self.request.selects(self.owner) else ():
            place = self._place_reason(reason)
            message = f"whether `{self.type}` loads anything else from the Hub cannot be known: {place}"
            remedy = "look at its loader, and try the result offline with `verify --level build`"
            self._add("OSR007", message, remedy, "warning")

    def _refuse_keywords(self, rejections: list[Rejection]) -> Decision:
        """Keywords beside those that are requested, which the loader does not take."""
        names = list_keys([each.key for each in rejections])
        first = rejections[0]
        if not self._is_set(first.key):
            remedy = f"the loader has no parameter {names}; upstream's own call fails too"
        elif first.key == CACHE_DIR:
            remedy = self._command("--cache-dir " + f"{self.component.name}={self.changes[CACHE_DIR]}")
        elif first.key == LOCAL_FILES_ONLY:
            remedy = self._command("--local-files-only")
        else:
            remedy = f"leave out --set {self.component.name}.{first.key}"
        where = self._place(first.path, first.line)
        message = f"{first.function} ({where}) takes no {names}: building `{self.component.dotted}` raises a TypeError"
        return self._cannot("OSR004", message, remedy)

    def _refuse_key(self, message: str, key: str, values: Mapping[str, Value]) -> None:
        severity: Severity = "warning" if self.request.force and not self.request.checking else "error"
        self._add("OSR004", message, self._threading_remedy(key, values), severity)

    def _check_reach(self, key: str, calls: list[HubCall], values: Mapping[str, Value]) -> None:
        for call in calls:
            place = self._place(call.path, call.line)
            if key in call.unseen:
                message = f"whether {key} reaches {call.callee} ({place}) cannot be known"
                self._add("OSR007", message, f"write {key} there, and no `**` beside it that is not known")
            else:
                repo = call.repo_id or call.repo_text or "a repo that is not known"
                message = f"{key} never reaches {call.callee} ({place}), which loads {repo}"
                self._add("OSR005", message, self._threading_remedy(key, values))

    def _threading_remedy(self, key: str, values: Mapping[str, Value]) -> str:
        assert self.type is not None
        refusal = self.context.thread(self.type, values, key).refusal
        if refusal is not None:
            return f"edit the loader by hand: {refusal}"
        option = key_option(self.request, self.component.name, self.owner, key)
        return self._command(option) + ("" if self.request.edit_source else ", without --no-source")

    def _undecidable(self, message: str, remedy: str) -> Decision:
        if not self._is_concerned() and not self.changes and self.component.name not in self.request.named:
            return self._decision("untouched", None)
        return self._cannot("OSR007", message, remedy)

    def _has_errors(self) -> bool:
        return any(finding.severity == "error" for finding in self.findings)

    def _cannot(self, code: str, message: str, remedy: str) -> Decision:
        self._add(code, message, remedy)
        return self._decision("cannot", None)

    def _decision(self, outcome: Outcome, trace: Trace | None) -> Decision:
        # each new keyword goes right after from_pretrained, so the last one made comes first
        backwards = reversed(self.changes.items()) if outcome == "set" else ()
        changes = tuple(ConfigChange(self.component, key, value) for key, value in backwards)
        kept = tuple(self.kept.items()) if outcome in ("set", "already", "untouched") else ()
        return Decision(self.component, outcome, self.type, tuple(self.findings), changes, trace, kept)

    # --- words

    def _add(self, code: str, message: str, remedy: str, severity: Severity = "error", cause: str = "") -> None:
        span = self.component.span
        dotted = self.component.dotted
        finding = Finding(code, self.context.path, span.line, span.column, dotted, message, remedy, severity, cause)
        if finding not in self.findings:
            self.findings.append(finding)

    def _command(self, option: str) -> str:
        path = quote_word(self.component.origin) if self.component.origin is not None else "{path}"
        return f"opensora-rewriter rewrite {path} {option}{select_option(self.component.name)}"

    def _cached(self) -> list[str]:
        return cached_repos(self.request.dir_for(self.owner))

    def _repo_remedy(self, key: str, path: str) -> tuple[str, str]:
        repo, sureness = suggest_repo(path, self.type, self.context.root, self._cached())
        return self._set_command(key, repo), sureness

    def _set_command(self, key: str, repo: str) -> str:
        option = cache_option(self.request, self.owner)
        return self._command(f"{option} --set {self.component.name}.{key}={repo}")

    def _below(self, path: str) -> str:
        root = self.context.root
        return os.path.relpath(path, root) if root and path.startswith(root + os.sep) else path

    def _place(self, path: str, line: int) -> str:
        return f"{self._below(path)}:{line}" if path else "the table of released loaders"

    def _place_reason(self, reason: str) -> str:
        root = self.context.root
        return reason.replace(root + os.sep, "") if root else reason


def list_keys(keys: list[str], most: int = 10) -> str:
    """Keywords in words, so many of them at most."""
    names = ", ".join(f"`{key}`" for key in keys[:most])
    return names if len(keys) <= most else f"{names} and {len(keys) - most} more"


def _is_value(key: str, present: Value | None, wanted: object) -> bool:
    return present is not None and present.known and _same(key, present.value, wanted)


def _same(key: str, present: object, wanted: object) -> bool:
    """Equal as the key means it: paths normalised, everything else by type and value."""
    if key == CACHE_DIR and isinstance(present, str) and isinstance(wanted, str):
        return normalize_path(present) == normalize_path(wanted) if os.path.isabs(present) else present == wanted
    return type(present) is type(wanted) and present == wanted
