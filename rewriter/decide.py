"""Decide, for one component, what is to happen to it and why: DESIGN.md's seven steps, without side effects."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Literal

from rewriter.frozen import Frozen, replace
from rewriter.locality import folded, locality
from rewriter.request import Request, selecting
from rewriter.types import (
    CACHE_DIR,
    LOCAL_FILES_ONLY,
    REMOVE,
    Component,
    ConfigChange,
    Failure,
    Finding,
    HubCall,
    Rejection,
    Severity,
    Trace,
    Value,
)

Outcome = Literal["not needed", "already", "set", "cannot", "untouched", "inherited"]
Tracer = Callable[[str, Mapping[str, Value]], Trace]

# Published repo ids of what upstream's configs name by a path of the authors' machines, by loader type.
KNOWN_REPOS = {
    "t5": "DeepFloyd/t5-v1_1-xxl",
    "OpenSoraVAE_V1_2": "hpcai-tech/OpenSora-VAE-v1.2",
    "OpenSoraVAE_V1_3": "hpcai-tech/OpenSora-VAE-v1.3",
    "STDiT3-XL/2": "hpcai-tech/OpenSora-STDiT-v4",
    "VideoAutoencoderKL": "stabilityai/sd-vae-ft-ema",
    "clip": "openai/clip-vit-base-patch32",
}
SERVED = "cache_dir serves what else it loads"
_PLACEHOLDER = "/cache_dir"  # stands for "some absolute directory" when `check` names none


class Decision(Frozen):
    """What is decided about one component.

    ``findings``: for ``check`` what is wrong with it as it stands; for ``rewrite`` why it is refused, and warnings.
    ``changes``: what ``rewrite`` will do to the config. ``trace``: with the keywords as they will be.
    ``heirs``: types of dicts elsewhere that take the changes over, as their loaders have to.
    ``kept``: keys that are asked for, and have a value already that is as good.
    """

    component: Component
    outcome: Outcome
    type: str | None
    findings: tuple[Finding, ...] = ()
    changes: tuple[ConfigChange, ...] = ()
    trace: Trace | None = None
    heirs: tuple[str, ...] = ()
    kept: tuple[tuple[str, object], ...] = ()


def hub_calls(trace: Trace, root: str | None, *, own: bool = True) -> tuple[list[HubCall], list[HubCall]]:
    """Split a trace's calls into those that read from the Hub and those whose path is missing on this machine.

    Calls on an existing local path, and ``from_pretrained(None)``, are in neither. ``own``: leave out calls that a
    nested component of the config answers for. Repo ids that could not be followed count as the Hub's.
    """
    remote: list[HubCall] = []
    missing: list[HubCall] = []
    for call in trace.calls:
        if own and call.via:
            continue
        if call.repo_id is None:
            if call.repo_text != "None":
                remote.append(call)
            continue
        if not call.repo_id:
            continue
        place = locality(call.repo_id, root)
        if place == "repo":
            remote.append(call)
        elif place == "missing":
            missing.append(call)
    return remote, missing


class Decider(Frozen):
    """The decision for the components of one config file.

    ``path``: of the file. ``root``: of its checkout. ``trace``: what the loaders say (on the sources as they will be).
    ``threadable``: why no source edit would carry a key to the Hub calls of (type, values), or None; for the key
    "to-repo", "to-repo" where one would make the loader read a repo in place of a path.
    ``required``: the parameters of the loader of (type, values) that have no default.
    """

    path: str
    root: str | None
    request: Request
    trace: Tracer
    threadable: Callable[[str, Mapping[str, Value], str], str | None]
    required: Callable[[str, Mapping[str, Value]], frozenset[str]] | None = None

    def decide(self, component: Component, owner: str | None = None) -> Decision:
        """Decide about one selected component (its base files' values merged in).

        ``owner``: the component around it that was asked for by name, where this one is nested (``vae`` of ``vae_2d``).
        """
        return _Case(self, component, owner or component.name).decide()


class _Case:
    """One component on its way through the steps."""

    def __init__(self, decider: Decider, component: Component, owner: str) -> None:
        self.decider = decider
        self.owner = component.name if component.name in decider.request.named else owner
        self.request = decider.request
        self.component = component
        self.dotted = ".".join(component.keys)
        self.values: dict[str, Value] = dict(component.values)
        self.written = {keyword.key for keyword in component.written}
        self.changes: dict[str, object] = {}
        self.kept: dict[str, object] = {}
        self.findings: list[Finding] = []
        self.type: str | None = None

    # --- the steps ---

    def decide(self) -> Decision:
        component = self.component
        if component.replaced_by is not None:
            return self._dead()
        if component.form == "other" and "inherited" not in component.ways:
            return self._undecidable(
                f"`{self.dotted}` is `{component.text}`, not a dict that can be read",
                f"write {self.dotted} as dict(type=..., from_pretrained=...)",
            )
        refusal = self._apply_sets()
        if refusal is not None:
            return refusal
        kind = self.values.get("type")
        if kind is None:
            return self._untyped()
        if not isinstance(kind.value, str):
            return self._undecidable(
                f"its type is `{kind.text}`, which only running the config would tell", "write the type as a string"
            )
        self.type = kind.value
        return self._loads()

    def _loads(self) -> Decision:
        """Steps 2 to 7, with a known type."""
        assert self.type is not None
        asked_keys = {key for key, _ in self.request.keys_asked(self.owner)}
        bare = {
            key: value for key, value in self.values.items()
            if key not in (CACHE_DIR, LOCAL_FILES_ONLY) or (self._is_set(key) and key not in asked_keys)
        }  # fmt: skip
        trace = self.decider.trace(self.type, bare)
        if not trace.found:
            return self._unregistered()
        needed = self._needed(trace, bare)
        if needed is not None:
            return self._cannot("OSR004", needed, self._leave_out_unset(*self._unset()))
        asked = self._asks_for_cache()
        foreign = [r for r in trace.rejections if not r.via and (asked or self._is_set(r.key))]
        if foreign:
            return self._foreign(foreign)
        if not asked:
            return self._close(trace, False)
        remote, missing = hub_calls(trace, self.decider.root)
        if trace.failures:
            return self._path_refused(trace)
        if not remote and not missing:
            return self._loads_nothing(trace, bare)
        return self._wanted()

    def _loads_nothing(self, trace: Trace, bare: Mapping[str, Value]) -> Decision:
        """Step 4: nothing that is known is loaded by name."""
        assert self.type is not None
        if CACHE_DIR in trace.accepts:  # where would it go?
            told = self.decider.trace(self.type, {**bare, CACHE_DIR: Value(True, _PLACEHOLDER, repr(_PLACEHOLDER))})
        else:
            told = trace
        if told.unknown and not trace.calls and self.request.selects(self.owner):
            return self._undecidable(
                f"whether `{self.type}` loads from the Hub cannot be told: {told.unknown[0]}",
                f"look at its loader; to leave `{self.dotted}` out of the run, name the others with --component",
            )
        self._warn_of_the_rest(told)
        return self._not_needed(trace, certain=not told.unknown)

    def _wanted(self) -> Decision:
        """Steps 5 to 7: something is loaded by name."""
        assert self.type is not None
        asked = list(self.request.keys_asked(self.owner))
        if self.request.looks_at_cache_dir(self.owner) and self.request.dir_for(self.owner) is None:
            asked.append((CACHE_DIR, self._present_dir() or _PLACEHOLDER))
        values = {key: value for key, value in self.values.items() if key not in dict(asked)}
        for key, value in asked:
            values[key] = Value(True, value, repr(value))
        trace = self.decider.trace(self.type, values)
        self._warn_of_the_rest(trace)
        remote_after, missing_after = hub_calls(trace, self.decider.root)
        lost = [] if missing_after and not remote_after and self._threads_to_repo(values) else missing_after
        if lost and not remote_after:
            self._path_missing(lost[0], "it is all that this component loads")
            if self.request.checking or not self.request.force:
                outcome: Outcome = "cannot" if self._errors() else "untouched"
                return self._decision(outcome, trace)
        rejected = {r.key: r for r in trace.rejections if not r.via}
        if trace.failures and asked:
            self._object(trace.failures[0], asked[0][0], values)
        for key, wanted in asked:
            if key in rejected:
                self._reject(rejected[key].function, rejected[key].path, rejected[key].line, key, values)
            else:
                self._reach(key, [call for call in remote_after if key not in call.reached], values)
            self._present(key, wanted, rejected=key in rejected)
        if lost and remote_after:
            self._path_missing(lost[0], SERVED, needed=False)
        return self._close(trace, True)

    def _close(self, trace: Trace, asked: bool) -> Decision:
        errors = self._errors()
        if self.request.checking:
            outcome: Outcome = "cannot" if errors else "already"
            return self._decision(outcome, trace)
        if errors:
            return self._decision("cannot", trace)
        if self.changes:
            return self._decision("set", trace)
        return self._decision("already" if asked else "untouched", trace)

    # --- keys ---

    def _apply_sets(self) -> Decision | None:
        """Step 1: ``--set`` and ``--unset`` on what is written; a refusal, or None."""
        name = self.component.name
        for key, value in [(key, value) for component, key, value in self.request.sets if component == name]:
            override = self._override(key, value)
            if override is not None:
                return self._cannot(*override)
            if not _stands(key, self.values.get(key), value):
                refusal = self._uneditable(key)
                if refusal is not None:
                    return refusal
                self.changes[key] = value
                self.values[key] = Value(True, value, repr(value))
            else:
                self.kept[key] = self.values[key].value
        for key in [key for component, key in self.request.unsets if component == name and key in self.values]:
            override = self._override(key, REMOVE)
            if override is not None:
                return self._cannot(*override)
            if key not in self.written:
                return self._elsewhere(key) or self._undecidable(
                    f"`{key}` is not written in `{self.dotted}` itself", f"take `{key}` out of where it comes from"
                )
            self.changes[key] = REMOVE
            del self.values[key]
            if key == "type":
                return self._undecidable(
                    f"without `type` nothing says what builds `{self.dotted}`", self._leave_out_unset(key)
                )
        return None

    def _unset(self) -> list[str]:
        """The keywords that ``--unset`` takes away."""
        return [key for key, value in self.changes.items() if value is REMOVE]

    def _needed(self, trace: Trace, bare: Mapping[str, Value]) -> str | None:
        """What fails without the keywords that ``--unset`` takes away, or None. ``trace``: of what is left."""
        assert self.type is not None
        gone = self._unset()
        if not gone:
            return None
        before = {key: value for key, value in self.component.values if key in gone}
        required = self.decider.required(self.type, bare) if self.decider.required is not None else frozenset()
        lacking = [key for key in gone if key in required]
        if lacking:
            return (f"`{self.type}` has no default for {_listed(lacking)} ({self._where(trace.path, trace.line)}): "
                    f"without a value, building `{self.dotted}` raises a TypeError")  # fmt: skip
        kept = self.decider.trace(self.type, {**bare, **before}).failures if trace.failures else ()
        failures = [failure for failure in trace.failures if failure not in kept]
        if not failures:
            return None
        place = self._where(failures[0].path, failures[0].line)
        return f"`{self.type}` does not do without {_listed(gone)}: `{failures[0].text}` fails ({place})"

    def _leave_out_unset(self, *keys: str) -> str:
        return "leave out " + " ".join(f"--unset {self.component.name}.{key}" for key in keys)

    def _is_set(self, key: str) -> bool:
        """Whether ``--set`` gives ``key``."""
        return self.changes.get(key, REMOVE) is not REMOVE

    def _present(self, key: str, wanted: object, *, rejected: bool) -> None:
        """Compare what stands for ``key`` with what is asked; record the diagnosis or the change."""
        present = self.values.get(key)
        if self.component.unsure and key not in self.written:
            self._add("OSR007", *self._perhaps(key))
            return
        override = self._override(key, wanted)
        if override is not None:
            self._add(*override)
            return
        if self.request.checking:
            if not rejected:
                self._diagnose(key, present)
        elif present is not None and _stands(key, present, wanted):
            self.kept[key] = present.value
        elif self._uneditable(key) is None:  # which adds its own finding
            self.changes[key] = wanted

    def _diagnose(self, key: str, present: Value | None) -> None:
        cure = self._command("--local-files-only" if key == LOCAL_FILES_ONLY else self._cache_option())
        if (twice := self._twice(key)) is not None:
            cure = twice[1]
        if key == LOCAL_FILES_ONLY:
            if present is None or not present.literal or present.value is not True:
                self._add("OSR011", "local_files_only is not True", cure)
            return
        asked = self.request.dir_for(self.owner)
        if present is None or (present.literal and present.value is None):
            what = "has no cache_dir" if present is None else "has cache_dir=None"
            self._add("OSR001", f"`{self.type}` loads from the Hub and {what}", cure)
        elif not present.literal:
            self._add("OSR007", f"cache_dir is `{present.text}`, which only running the config would tell", cure)
        elif not isinstance(present.value, str) or not os.path.isabs(present.value):
            self._add("OSR002", f"cache_dir is {present.text}, not an absolute path", cure)
        elif asked is not None and not _same(key, present.value, asked):
            self._add("OSR003", f"cache_dir is {present.text}, not {asked!r}", cure)
        elif not os.path.isdir(present.value):
            severity: Severity = "error" if self.request.must_exist else "warning"
            self._add("OSR006", f"cache_dir {present.text} is not a directory on this machine",
                      "create it, or mount the shared cache there", severity)  # fmt: skip

    def _elsewhere(self, key: str) -> Decision | None:
        """A refusal where the dict is written in a base file that is not in the run, or None."""
        if "inherited" not in self.component.ways:
            return None
        base = below(str(self.component.origin), self.decider.root)
        return self._undecidable(
            f"`{self.dotted}` is written in {base}, which this run does not cover", self._command(self._option(key))
        )

    def _uneditable(self, key: str) -> Decision | None:
        """A refusal where ``key`` cannot be written into this dict, or None."""
        component = self.component
        twice = self._twice(key)
        if twice is not None:
            return self._undecidable(*twice)
        if component.form != "call" or "spread" not in component.ways or key in self.written:
            return self._elsewhere(key)
        if key in self.values:
            return self._undecidable(
                f"`{key}` comes in through a `**` spread; a second one in the call would be a TypeError",
                f"change `{key}` where the spread dict is written",
            )
        return self._undecidable(*self._perhaps(key)) if component.unsure else None

    def _twice(self, key: str) -> tuple[str, str] | None:
        """Message and remedy where a call that the dict is spread into would get ``key`` twice, or None."""
        for taker in self.component.takers if key not in self.values else ():
            if taker.clashes(key):
                line = taker.span.line
                has, remedy = "may have", f"write out what line {line} spreads"
                if key in taker.given:
                    has, remedy = "has", f"take `{key}` out of line {line}, or leave `{self.dotted}` out of the run"
                return (f"line {line} takes `{self.dotted}` over by `**` and {has} `{key}` besides; twice would be a "
                        "TypeError", remedy)  # fmt: skip
        return None

    def _perhaps(self, key: str) -> tuple[str, str]:
        """Message and remedy where nobody can see whether the dict holds ``key``."""
        return (
            f"`{key}` may be there already: {self.component.unsure}",
            f"write the keywords of {self.dotted} out in the dict",
        )

    def _override(self, key: str, wanted: object) -> tuple[str, str, str] | None:
        """Code, message and remedy where something later takes ``key`` out of the hands of what is written, or None."""
        for override in reversed(self.component.overrides):
            if override.key not in (key, None):
                continue
            if override.why is not None:
                why = f"`{key}` may be changed later: {override.why}"
                return "OSR007", why, f"change nothing in {self.dotted} once it is written"
            sure = override.certain and override.key is not None
            if sure and _stands(key, override.value, wanted):
                return None
            what = "may be changed" if not sure else "is removed" if override.value is None else "is set again"
            return "OSR008", f"`{key}` {what} later, on line {override.line}", f"change or remove line {override.line}"
        return None

    # --- outcomes ---

    def _dead(self) -> Decision:
        """A dict that a later assignment replaces: only worth a word where it carries the key that is asked for."""
        for keyword in self.component.written:
            if keyword.key == CACHE_DIR and keyword.value.value is not None:
                self._add("OSR008", f"`{self.dotted}` is assigned again on line {self.component.replaced_by}; this "
                          f"cache_dir is never used", "remove the first assignment", "warning")  # fmt: skip
        return self._decision("untouched", None)

    def _untyped(self) -> Decision:
        component = self.component
        if component.unsure or "inherited" in component.ways:
            return self._undecidable(
                f"its type is not written here: {component.unsure or 'it is inherited'}", "write the type in the dict"
            )
        return self._decision("set" if self.changes else "untouched", None)  # a dict that builds nothing

    def _unregistered(self) -> Decision:
        assert self.type is not None
        if not self._business():
            return self._decision("untouched", None)
        return self._undecidable(
            f"no loader is registered as `{self.type}` in the sources that were read",
            "name the sources with --opensora-source DIR",
        )

    def _asks_for_cache(self) -> bool:
        return self.request.looks_at_cache_dir(self.owner) or bool(self.request.keys_asked(self.owner))

    def _business(self) -> bool:
        return self._asks_for_cache() or bool(self.changes)

    def _not_needed(self, trace: Trace, *, certain: bool) -> Decision:
        present = self.values.get(CACHE_DIR)
        if certain and present is not None and self.request.looks_at_cache_dir(self.owner):
            useless = not (present.literal and present.value is None) or CACHE_DIR not in trace.accepts
            if useless and (self.request.checking or CACHE_DIR not in self.written):
                self._add("OSR009", f"`{self.type}` loads nothing from the Hub here, so cache_dir="
                          f"{present.text} is not needed", self._command(self._cache_option()))  # fmt: skip
            elif useless:
                self.changes[CACHE_DIR] = REMOVE
        if self.request.checking or not self.changes:
            return self._decision("not needed", trace)
        return self._decision("set", trace)

    def _path_refused(self, trace: Trace) -> Decision:
        failure = trace.failures[0]
        present = self.values.get("from_pretrained")
        return self._cannot(
            "OSR006",
            f"`{self.type}` does not take from_pretrained={present.text if present else None}: "
            f"`{failure.text}` fails ({self._where(failure.path, failure.line)})",
            self._repo_remedy(),
        )

    def _path_missing(self, call: HubCall, tail: str, *, needed: bool = True) -> None:
        request = self.request
        bad = request.must_exist if request.checking else needed and not request.force
        self._add("OSR006", f"{call.repo_id!r} is meant as a local path, and nothing is there; {tail}",
                  self._repo_remedy(), "error" if bad else "warning")  # fmt: skip

    def _warn_of_the_rest(self, trace: Trace) -> None:
        """Beside calls that are known there may be others, of which nothing is."""
        for reason in trace.unknown[:1] if self.request.selects(self.owner) else ():
            message = f"whether `{self.type}` loads anything else from the Hub cannot be told: {reason}"
            remedy = "look at its loader, and try the result offline with `verify --level build`"
            self._add("OSR007", message, remedy, "warning")

    def _foreign(self, rejections: list[Rejection]) -> Decision:
        """Keywords beside those that are asked for, which the loader does not take."""
        names = _listed([rejection.key for rejection in rejections])
        first = rejections[0]
        place = self._where(first.path, first.line)
        if not self._is_set(first.key):
            remedy = f"remove {names} from the dict"
        elif first.key == LOCAL_FILES_ONLY:
            remedy = self._command("--local-files-only")
        elif first.key == CACHE_DIR:
            remedy = self._command("--cache-dir " + shell(f"{self.component.name}={self.changes[CACHE_DIR]}"))
        else:
            remedy = f"leave out --set {self.dotted}.{first.key}"
        return self._cannot(
            "OSR004",
            f"{first.function} ({place}) takes no {names}: building `{self.dotted}` raises a TypeError",
            remedy,
        )

    def _reject(self, function: str, path: str, line: int, key: str, values: Mapping[str, Value]) -> None:
        place = self._where(path, line)
        message = (
            f"`{self.type}` loads from the Hub and its loader rejects {key}: {function} ({place}) has no such parameter"
        )
        self._not_taken(message, key, values)

    def _object(self, failure: Failure, key: str, values: Mapping[str, Value]) -> None:
        """The loader itself has something against what is asked for."""
        place = self._where(failure.path, failure.line)
        message = f"`{self.type}` loads from the Hub, and its loader objects to {key}: `{failure.text}` ({place}) fails"
        self._not_taken(message, key, values)

    def _not_taken(self, message: str, key: str, values: Mapping[str, Value]) -> None:
        severity: Severity = "warning" if self.request.force and not self.request.checking else "error"
        self._add("OSR004", message, self._threading_remedy(key, values), severity)

    def _reach(self, key: str, calls: list[HubCall], values: Mapping[str, Value]) -> None:
        for call in calls:
            if key in call.unseen:
                place = self._where(call.path, call.line)
                message = (
                    f"whether {key} reaches {call.callee} ({place}) cannot be told: not all that it is given is known"
                )
                self._add("OSR007", message, f"write {key} there as it comes, and no `**` beside it that is not known")
                continue
            self._add("OSR005", f"{key} never reaches {call.callee} ({self._where(call.path, call.line)}), which "
                      f"loads {call.repo_id or call.repo_text}", self._threading_remedy(key, values))  # fmt: skip

    def _threading_remedy(self, key: str, values: Mapping[str, Value]) -> str:
        assert self.type is not None
        why_not = self.decider.threadable(self.type, values, key)
        if why_not:
            return f"edit the loader by hand: {why_not}"
        return self._command(self._option(key)) + ("" if self.request.edit_source else " (without --no-source)")

    def _threads_to_repo(self, values: Mapping[str, Value]) -> bool:
        """Whether a source edit would make this loader read a repo where it now reads a missing path (v1.0 ``t5``)."""
        assert self.type is not None
        return self.decider.threadable(self.type, values, "to-repo") == "to-repo"

    def _undecidable(self, message: str, remedy: str) -> Decision:
        if not self._business() and not self._named():
            return self._decision("untouched", None)
        return self._cannot("OSR007", message, remedy)

    def _errors(self) -> bool:
        return any(finding.severity == "error" for finding in self.findings)

    def _named(self) -> bool:
        return self.component.name in self.request.named

    def _cannot(self, code: str, message: str, remedy: str) -> Decision:
        self._add(code, message, remedy)
        return self._decision("cannot", None)

    def _decision(self, outcome: Outcome, trace: Trace | None) -> Decision:
        # each new keyword goes right after from_pretrained, so the last one made stands first
        backwards = reversed(self.changes.items()) if outcome == "set" else ()
        made = tuple(ConfigChange(self.component, key, value) for key, value in backwards)
        kept = tuple(self.kept.items()) if outcome in ("set", "already", "untouched") else ()
        return Decision(self.component, outcome, self.type, tuple(self.findings), made, trace, kept=kept)

    # --- words ---

    def _add(self, code: str, message: str, remedy: str, severity: Severity = "error") -> None:
        span = self.component.span
        finding = Finding(code, self.decider.path, span.line, span.column, self.dotted, message, remedy, severity)
        if finding not in self.findings:
            self.findings.append(finding)

    def _present_dir(self) -> str | None:
        present = self.values.get(CACHE_DIR)
        return present.value if present is not None and isinstance(present.value, str) else None

    def _command(self, option: str) -> str:
        select = selecting(self.component.name)
        inherited = "inherited" in self.component.ways
        path = shell(str(self.component.origin)) if inherited else "{path}"  # where the dict is written
        return f"opensora-rewriter rewrite {path} {option}{select}"

    def _cache_option(self) -> str:
        """``--cache-dir`` as this run was given it, for a remedy that can be pasted; else with a placeholder."""
        return cache_option(self.request, self.owner)

    def _option(self, key: str) -> str:
        """What asks for ``key``, as this run was given it."""
        if key == LOCAL_FILES_ONLY:
            return "--local-files-only"
        for name, set_key, value in self.request.sets:
            if (name, set_key) == (self.component.name, key):
                return "--set " + shell(f"{name}.{key}={value}")
        if (self.component.name, key) in self.request.unsets:
            return f"--unset {self.component.name}.{key}"
        return self._cache_option()

    def _repo_remedy(self) -> str:
        repo = KNOWN_REPOS.get(str(self.type), "ORG/NAME")
        return self._command(f"{self._cache_option()} --set {self.component.name}.from_pretrained={repo}")

    def _where(self, path: str, line: int) -> str:
        return where(path, line, self.decider.root)


def below(path: str, root: str | None) -> str:
    """A path as it lies in the checkout; one that does not lie there as it is."""
    return os.path.relpath(path, root) if root and path.startswith(root + os.sep) else path


def where(path: str, line: int, root: str | None) -> str:
    """The place of a loader, for messages; ``path`` empty: it is known by the built-in table only."""
    return f"{below(path, root)}:{line}" if path else "built-in table"


def _listed(keys: list[str], most: int = 10) -> str:
    """Keywords in words, so many of them at most."""
    names = ", ".join([f"`{key}`" for key in keys[:most]])
    return names if len(keys) <= most else f"{names} and {len(keys) - most} more"


def _stands(key: str, present: Value | None, wanted: object) -> bool:
    return present is not None and present.literal and _same(key, present.value, wanted)


def _same(key: str, present: object, wanted: object) -> bool:
    """Equal as the key means it: paths normalised (see :func:`folded`), everything else by type and value."""
    if key == CACHE_DIR and isinstance(present, str) and isinstance(wanted, str):
        return folded(present) == folded(wanted) if os.path.isabs(present) else present == wanted
    return type(present) is type(wanted) and present == wanted


def shell(text: str) -> str:
    r"""A word that bash and zsh read back as ``text``; control characters and odd bytes as ``$'...'``.

    >>> print(shell("a b"), shell("a\nb"))
    'a b' $'a\nb'
    """
    if not text.isprintable():
        return "$'" + "".join(map(_escaped, _bytes(text))) + "'"
    import shlex  # 3 ms that only a remedy needs

    return shlex.quote(text)


def _bytes(text: str) -> bytes:
    """What the shell is to hand over; a lone surrogate that stands for no byte of a file name is shown all the same."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _escaped(byte: int) -> str:
    if byte == 10:
        return "\\n"
    char = chr(byte)
    if char in "\\'":
        return "\\" + char
    return char if 32 <= byte < 127 else f"\\x{byte:02x}"


def cache_option(request: Request, name: str) -> str:
    """``--cache-dir`` for component ``name`` as the run was given it; ``DIR`` where it was given none."""
    directory = request.dir_for(name)
    if directory is None:
        return "--cache-dir DIR"
    own = f"{name}=" if name in dict(request.cache_dirs) else ""
    return "--cache-dir " + shell(own + directory)


def with_path(finding: Finding, shown: str) -> Finding:
    """Fill the ``{path}`` of a remedy with how the path is shown."""
    word = shell(os.path.join(".", shown) if shown.startswith("-") else shown)
    return replace(finding, remedy=finding.remedy.replace("{path}", word, 1))
