"""Level load of `verify`: tokenizers, configs and headers of weights fit together, in the user's own interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rewriter.checkout import find_packages
from rewriter.model import Finding, HubCall, Severity
from rewriter.process.children import Answer, ChildError, run_probe
from rewriter.process.interpreters import choose_interpreter
from rewriter.verify.directories import find_default_cache
from rewriter.verify.explain import explain_death, explain_error, first_line
from rewriter.words import quote_word

Status = Literal["ok", "failed", "skipped"]

LOAD_TIMEOUT = 600.0
"""Seconds that one check may take."""

_LIBRARIES = ("transformers", "diffusers", "huggingface_hub")


@dataclass(frozen=True, slots=True)
class LoadTask:
    """One hub call to check, with the cache directory that reaches it.

    ``cache_dir`` None: no cache at all, or the environment's with ``use_environment_cache``. ``type_name`` and
    ``root`` (the checkout) are needed for classes of the checkout's own packages. ``component``, ``path``, ``line``:
    where a finding points to; they do not make two tasks different.
    """

    call: HubCall
    cache_dir: str | None
    root: str = ""
    type_name: str = ""
    component: str = ""
    path: str = ""
    line: int = 1

    @property
    def own(self) -> bool:
        """Whether the class is one of the checkout's own."""
        library = self.call.library
        if not self.root or library in _LIBRARIES:
            return False
        return library == "opensora" or library in map(os.path.basename, find_packages(self.root))

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it a check of its own."""
        call = self.call
        own = (self.type_name, self.root) if self.own else ("", "")
        place = (call.repo_id, self.cache_dir, call.revision, call.subfolder)
        return (*place, call.kind, call.library, call.class_name, call.filename, *own)

    @property
    def subject(self) -> str:
        """What is loaded, for messages."""
        place = f"/{self.call.subfolder}" if self.call.subfolder else ""
        return f"{self.call.repo_id}{place} ({self.call.class_name or self.call.kind})"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What was checked of one task."""

    task: LoadTask
    status: Status
    checked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Level load of a run: one result for each distinct task; each distinct finding once."""

    results: tuple[LoadResult, ...]
    findings: tuple[Finding, ...]


def load_level(
    tasks: Sequence[LoadTask],
    *,
    python: str | None = None,
    timeout: float = LOAD_TIMEOUT,
    use_environment_cache: bool = False,
    on_result: Callable[[LoadResult], None] = lambda _result: None,
) -> LoadReport:
    """Check tokenizers, configs and weights of ``tasks`` without network and without reading the weights themselves.

    ``python``: the interpreter; None: that of VIRTUAL_ENV or CONDA_PREFIX, else our own, the first that has
    transformers. ``timeout``: seconds for one check. ``on_result`` hears of each distinct check as it ends. Never
    raises for what a cache or a checkout holds: each failure is a finding.
    """
    executable = choose_interpreter(python, "transformers")
    groups: dict[tuple[object, ...], list[LoadTask]] = {}
    for task in tasks:
        groups.setdefault(task.identity, []).append(task)
    results: list[LoadResult] = []
    # The checkouts' classes are imported from their roots: a child for each root, one for all the rest.
    roots = {identity: group[0].root if group[0].own else "" for identity, group in groups.items()}
    for root in sorted(set(roots.values())):
        part = [group for identity, group in groups.items() if roots[identity] == root]
        caches = [_find_cache(group[0], use_environment_cache) for group in part]

        def hear(
            number: int,
            answer: Answer | ChildError,
            part: list[list[LoadTask]] = part,
            caches: list[str | None] = caches,
        ) -> None:
            reader = _Reader(part[number][0], executable, caches[number], len(part[number]) - 1)
            results.append(reader.read(answer))
            on_result(results[-1])

        requests = [_make_request(group[0], root, cache) for group, cache in zip(part, caches, strict=True)]
        run_probe(executable, "load", {}, requests, timeout=timeout, inherit=True, on_answer=hear)
    return LoadReport(tuple(results), tuple(finding for result in results for finding in result.findings))


def find_import(root: str) -> tuple[str, str]:
    """The name of the package that holds the checkout's registry, and the folder from which it is imported."""
    packages = find_packages(root) or (os.path.join(root, "opensora"),)
    with_registry = [each for each in packages if os.path.isfile(os.path.join(each, "registry.py"))]
    folder = (with_registry or packages)[0]
    return os.path.basename(folder), os.path.dirname(folder)


def _find_cache(task: LoadTask, use_environment_cache: bool) -> str | None:
    """The cache directory that the call reads; a relative one as the checkout's scripts, run in its root, read it."""
    if task.cache_dir:
        return os.path.join(os.path.abspath(task.root), task.cache_dir)
    return os.path.abspath(find_default_cache(os.environ, task.call.library)[0]) if use_environment_cache else None


def _make_request(task: LoadTask, root: str, cache_dir: str | None) -> dict[str, Any]:
    call = task.call
    package, folder = find_import(root) if root else (call.library, "")
    fields = {name: getattr(call, name) for name in ("revision", "subfolder", "kind", "class_name", "filename")}
    place = {"repo_id": os.path.expanduser(str(call.repo_id)), "cache_dir": cache_dir, "root": task.root}
    return fields | place | {"library": package, "type_name": task.type_name, "folder": folder}


# --- from answers to findings ---------------------------------------------------------------------

_CHECK_CACHE = "opensora-rewriter verify --level cache says what to fetch; with a network: {download}"
_USE_PINNED = "use the library versions that your Open-Sora release pins, with --python"
_FETCH_CONFIG = "fetch config.json of {repo} again, or use the library versions that your Open-Sora release pins"
_FETCH_AGAIN = "check that the repo is the one that the config means, and fetch it again: {download}"

# A kind of problem of the probe: its code, what cures it, and the words after a count.
_PROBLEMS = {
    "no_weights": ("OSR202", _CHECK_CACHE, ""),
    "tokens": ("OSR203", "fetch the tokenizer files of {repo} again: {download}", ""),
    "no_class": ("OSR213", _USE_PINNED, ""),
    "corrupt": ("OSR205", "delete that file and fetch it again: {download}", ""),
    "unsafe": ("OSR206", "do not load this file; fetch the weights from their author again: {download}", ""),
    "missing": ("OSR207", _FETCH_AGAIN, "parameters of the model are in none of the files"),
    "shape": ("OSR208", _FETCH_AGAIN, "parameters do not fit the model"),
    "unexpected": ("OSR209", "nothing, if the outputs are right", "parameters in the files have no place in the model"),
}

# An exception that is not a known one: what was being done decides the code.
_STAGES = {
    "library": ("OSR213", _USE_PINNED),
    "tokenizer": ("OSR203", "fetch the tokenizer files of {repo} again: {download}"),
    "config": ("OSR204", _FETCH_CONFIG),
    "model": ("OSR204", _FETCH_CONFIG),
}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes the result of one task. ``others``: how many more components request the same."""

    task: LoadTask
    python: str
    cache_dir: str | None
    others: int

    def read(self, answer: Answer | ChildError) -> LoadResult:
        if isinstance(answer, ChildError):
            death = explain_death(answer, "load", f"checking {self.task.call.repo_id}")
            return LoadResult(self.task, "failed", findings=(self._make(death.code, death.cause, death.remedy),))
        findings = [self._read_problem(problem) for problem in answer["problems"]]
        failed = any(finding.severity == "error" for finding in findings)
        if answer["deferred"]:
            message = f"{self.task.subject} is left to level build: {answer['deferred']}"
            findings.append(self._make("OSR212", message, "opensora-rewriter verify --level build", "warning"))
        status: Status = "failed" if failed else "skipped" if answer["deferred"] else "ok"
        lines = tuple(answer["checked"]), tuple(answer["notes"])
        return LoadResult(self.task, status, *lines, answer["seconds"], tuple(findings))

    def _read_problem(self, problem: dict[str, Any]) -> Finding:
        task = self.task
        if problem["kind"] == "exception":
            words = {"repo": str(task.call.repo_id), "cache": self.cache_dir or "", "config": task.path}
            words |= {"python": self.python, "component": task.component}
            known = explain_error(problem, "load", words)
            code, remedy = _STAGES.get(problem["stage"], _PROBLEMS["corrupt"][:2])
            message = f"{task.subject}, {problem['stage']}: {known.cause or first_line(problem)}"
            return self._make(known.code or code, message, known.remedy or self._fill(remedy))
        code, remedy, counted = _PROBLEMS[problem["kind"]]
        message = f"{problem['count']} {counted}: {problem['message']}" if counted else problem["message"]
        severity: Severity = "warning" if problem["kind"] == "unexpected" else "error"
        return self._make(code, f"{task.subject}: {message}", self._fill(remedy), severity)

    def _fill(self, remedy: str) -> str:
        call = self.task.call
        revision = f" --revision {call.revision}" if call.revision else ""
        folder = f" --cache-dir {quote_word(self.cache_dir)}" if self.cache_dir else ""
        return remedy.format(repo=call.repo_id, download=f"hf download {call.repo_id}{revision}{folder}")

    def _make(self, code: str, message: str, remedy: str, severity: Severity = "error") -> Finding:
        task = self.task
        found = Finding(code, task.path, task.line, 0, task.component, message, remedy, severity)
        if not self.others:
            return found
        return replace(found, message=f"{message} (needed in {self.others} more place{'s'[: self.others - 1]})")
