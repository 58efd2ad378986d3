"""Level load of `verify`: tokenizers, configs and headers of weights fit together, in the user's own interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rewriter.checkout import find_packages
from rewriter.model import Finding, HubCall, Severity
from rewriter.process.children import Answer, ChildError, ProbeSettings, run_probe
from rewriter.process.interpreters import choose_interpreter
from rewriter.verify import weights_files
from rewriter.verify.directories import find_default_cache
from rewriter.verify.explain import explain_death, explain_error, first_line
from rewriter.words import quote_word

Status = Literal["ok", "failed", "skipped"]

LOAD_TIMEOUT = 600.0
"""Seconds that one check may take."""

_LIBRARIES = ("transformers", "diffusers", "huggingface_hub")


@dataclass(frozen=True, slots=True)
class LoadTask:
    """One hub call to check: a :class:`~rewriter.model.HubCall` with the cache directory that reaches it.

    ``cache_dir`` None: no cache at all, or the environment's with ``use_environment_cache``. ``type_name`` and
    ``root`` (the checkout) are needed for classes of the checkout's own packages. ``component``, ``path``, ``line``,
    ``column``: where a finding points to; they do not make two tasks different.
    """

    repo_id: str
    cache_dir: str | None
    revision: str | None
    subfolder: str | None
    kind: str
    library: str
    class_name: str
    filename: str | None = None
    type_name: str = ""
    root: str = ""
    component: str = ""
    path: str = ""
    line: int = 1
    column: int = 0

    @property
    def own(self) -> bool:
        """Whether the class is one of the checkout's own."""
        return bool(self.root) and self.library not in _LIBRARIES and is_own_library(self.root, self.library)

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it a check of its own."""
        own = (self.type_name, self.root) if self.root and self.library not in _LIBRARIES else ("", "")
        place = (self.repo_id, self.cache_dir, self.revision, self.subfolder)
        return (*place, self.kind, self.library, self.class_name, self.filename, *own)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What was checked of one task. ``elements``: numbers in the matched tensors; ``bytes``: of the weights' files.

    ``peak_rss``: the most memory that the child had held when the check ended, in bytes (libraries included).
    """

    task: LoadTask
    status: Status
    checked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    parameters: int = 0
    elements: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    peak_rss: int = 0
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Level load of a run: one result a task, in the order given; each distinct finding once.

    ``python``: the interpreter. ``versions``: of Python and the libraries in it.
    """

    python: str
    versions: Mapping[str, str] = field(default_factory=dict)
    results: tuple[LoadResult, ...] = ()
    findings: tuple[Finding, ...] = ()


def load_task(
    call: HubCall,
    cache_dir: str | None,
    *,
    root: str = "",
    type_name: str = "",
    component: str = "",
    path: str = "",
    line: int = 0,
    column: int = 0,
) -> LoadTask | None:
    """The task for a hub call; None where the repo id is unknown. Without ``path`` findings point to the call."""
    if call.repo_id is None:
        return None
    place = (path, line, column) if path else (call.path, call.line, call.column)
    where = (call.repo_id, cache_dir, call.revision, call.subfolder)
    what = (call.kind, call.library, call.class_name, call.filename)
    return LoadTask(*where, *what, type_name, root, component, *place)


def load_level(
    tasks: Sequence[LoadTask],
    *,
    python: str | None = None,
    timeout: float = LOAD_TIMEOUT,
    use_environment_cache: bool = False,
    on_result: Callable[[LoadResult], None] | None = None,
) -> LoadReport:
    """Check tokenizers, configs and weights of ``tasks`` without network and without reading the weights themselves.

    ``python``: the interpreter; None: that of VIRTUAL_ENV or CONDA_PREFIX, else our own, the first that has
    transformers. ``timeout``: seconds for one check. ``on_result`` hears of each distinct check as it ends. Never
    raises for what a cache or a checkout holds: each failure is a finding.
    """
    interpreter = choose_interpreter(python, ["transformers"])
    counts: dict[tuple[object, ...], int] = {}
    distinct: dict[tuple[object, ...], LoadTask] = {}
    for task in tasks:
        counts[task.identity] = counts.get(task.identity, 0) + 1
        distinct.setdefault(task.identity, task)
    answers: dict[tuple[object, ...], Answer | ChildError] = {}
    caches = {task.identity: _find_cache(task, use_environment_cache) for task in distinct.values()}
    versions: dict[str, str] = {}

    def read(task: LoadTask, others: int = 0) -> LoadResult:
        reader = _Reader(task, interpreter.executable, caches[task.identity], others)
        return reader.read(answers[task.identity])

    # The checkouts' classes are imported from their roots: a child for each root, one for all the rest.
    roots = {identity: task.root if task.own else "" for identity, task in distinct.items()}
    for root in sorted(set(roots.values())):
        part = [task for identity, task in distinct.items() if roots[identity] == root]

        def hear(number: int, answer: Answer | ChildError, part: list[LoadTask] = part) -> None:
            answers[part[number].identity] = answer
            if on_result is not None:
                on_result(read(part[number]))

        job = {"reader": os.path.abspath(weights_files.__file__)}
        wanted = [_make_request(task, root, caches[task.identity]) for task in part]
        settings = ProbeSettings(timeout=timeout, inherit=True, block_sockets=True)
        versions |= run_probe(interpreter, "load", job, wanted, settings, on_answer=hear).versions
    findings = [found for task in distinct.values() for found in read(task, counts[task.identity] - 1).findings]
    results = tuple(_replace_task(read(distinct[task.identity]), task) for task in tasks)
    return LoadReport(interpreter.executable, versions, results, tuple(findings))


def _replace_task(result: LoadResult, task: LoadTask) -> LoadResult:
    findings = tuple(
        replace(found, path=task.path, line=task.line, column=task.column, component=task.component)
        for found in result.findings
    )
    return replace(result, task=task, findings=findings)


def is_own_library(root: str, library: str) -> bool:
    """Whether an import of ``library`` is one of a checkout's package."""
    return library == "opensora" or any(os.path.basename(folder) == library for folder in find_packages(root))


def find_import(root: str) -> tuple[str, str]:
    """The name of the package that holds the checkout's registry, and the folder from which it is imported."""
    packages = find_packages(root)
    folder = packages[0] if packages else os.path.join(root, "opensora")
    return os.path.basename(folder), os.path.dirname(folder)


def _find_cache(task: LoadTask, use_environment_cache: bool) -> str | None:
    """The cache directory that the call reads; a relative one as the checkout's scripts, run in its root, read it."""
    if task.cache_dir:
        return os.path.join(os.path.abspath(task.root), task.cache_dir)
    return os.path.abspath(find_default_cache(os.environ, task.library)[0]) if use_environment_cache else None


def _make_request(task: LoadTask, root: str, cache_dir: str | None) -> dict[str, Any]:
    package, folder = find_import(root) if root else (task.library, "")
    return {
        "repo_id": os.path.expanduser(task.repo_id) if task.repo_id.startswith("~") else task.repo_id,
        "cache_dir": cache_dir,
        "revision": task.revision,
        "subfolder": task.subfolder,
        "kind": task.kind,
        "library": package,
        "class_name": task.class_name,
        "filename": task.filename,
        "type_name": task.type_name,
        "root": task.root,
        "folder": folder,
    }


# --- from answers to findings ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Problem:
    """What a kind of problem of the probe is: its code, and what cures it. ``counted``: the words after a count."""

    code: str
    remedy: str
    counted: str = ""
    severity: Severity = "error"


_CHECK_CACHE = "opensora-rewriter verify --level cache says what to fetch; with a network: {download}"
_USE_PINNED = "use the library versions that your Open-Sora release pins, with --python"
_PROBLEMS = {
    "no_weights": _Problem("OSR202", _CHECK_CACHE),
    "missing_shard": _Problem("OSR202", _CHECK_CACHE),
    "tokens": _Problem("OSR203", "fetch the tokenizer files of {repo} again: {download}"),
    "no_class": _Problem("OSR213", _USE_PINNED),
    "corrupt": _Problem("OSR205", "delete that file and fetch it again: {download}"),
    "unsafe": _Problem("OSR206", "do not load this file; fetch the weights from their author again: {download}"),
    "missing": _Problem(
        "OSR207",
        "check that the repo is the one that the config means, and fetch it again: {download}",
        "parameters of the model are in none of the files",
    ),
    "shape": _Problem(
        "OSR208",
        "config.json and weights are of different models: fetch the repo again: {download}",
        "parameters do not fit the model",
    ),
    "unexpected": _Problem(
        "OSR209",
        "nothing, if the outputs are right; else check that the repo is the one that the config means",
        "parameters in the files have no place in the model",
        "warning",
    ),
}
_FETCH_CONFIG = "fetch config.json of {repo} again, or use the library versions that your Open-Sora release pins"
_LEFT_TO_BUILD = "opensora-rewriter verify --level build"

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
        task = self.task
        if isinstance(answer, ChildError):
            death = explain_death(answer, "load", f"checking {task.repo_id}")
            return LoadResult(task, "failed", findings=(self._finding(death.code, death.cause, death.remedy),))
        findings = [self._read_problem(problem) for problem in answer["problems"]]
        if answer["deferred"]:
            message = f"{self._subject} is left to level build: {answer['deferred']}"
            findings.append(self._finding("OSR212", message, _LEFT_TO_BUILD, "warning"))
        failed = any(finding.severity == "error" for finding in findings)
        numbers = {key: answer[key] for key in ("parameters", "elements", "files", "bytes", "seconds", "peak_rss")}
        return LoadResult(
            task,
            "failed" if failed else "skipped" if answer["deferred"] else "ok",
            tuple(answer["checked"]),
            tuple(answer["notes"]),
            findings=tuple(findings),
            **numbers,
        )

    def _read_problem(self, problem: dict[str, Any]) -> Finding:
        if problem["kind"] == "exception":
            return self._read_exception(problem)
        known = _PROBLEMS[problem["kind"]]
        message = problem["message"]
        more = problem.get("count", 0) - len(problem.get("names", ()))
        ending = f" and {more} more" if more > 0 else ""
        if known.counted:
            message = f"{problem['count']} {known.counted}: {message}{ending}"
        elif problem["kind"] == "missing_shard":
            message += f": {', '.join(problem['names'])}{ending}"
        return self._finding(known.code, f"{self._subject}: {message}", self._fill(known.remedy), known.severity)

    def _read_exception(self, problem: dict[str, Any]) -> Finding:
        task = self.task
        words = {"repo": task.repo_id, "cache": self.cache_dir or "", "config": task.path, "python": self.python}
        known = explain_error(problem, "load", words | {"component": task.component})
        code, remedy = _STAGES.get(problem["stage"], ("OSR205", _PROBLEMS["corrupt"].remedy))
        message = f"{self._subject}, {problem['stage']}: {known.cause or first_line(problem)}"
        return self._finding(known.code or code, message, known.remedy or self._fill(remedy))

    @property
    def _subject(self) -> str:
        place = f"/{self.task.subfolder}" if self.task.subfolder else ""
        return f"{self.task.repo_id}{place} ({self.task.class_name or self.task.kind})"

    def _fill(self, remedy: str) -> str:
        task = self.task
        revision = f" --revision {task.revision}" if task.revision else ""
        folder = f" --cache-dir {quote_word(self.cache_dir)}" if self.cache_dir else ""
        return remedy.format(repo=task.repo_id, download=f"hf download {task.repo_id}{revision}{folder}")

    def _finding(self, code: str, message: str, remedy: str, severity: Severity = "error") -> Finding:
        task = self.task
        if self.others:
            message += f" (needed in {self.others} more place{'s' if self.others > 1 else ''})"
        return Finding(code, task.path, task.line, task.column, task.component, message, remedy, severity)
