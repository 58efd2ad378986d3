"""Level build of `verify`: the checkout's own ``build_module`` builds the components, offline, as its scripts would."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rewriter.decide.remedies import select_option, suggest_repo
from rewriter.model import Finding
from rewriter.process.children import SCRATCH, Answer, ChildError, run_probe
from rewriter.process.interpreters import choose_interpreter
from rewriter.verify.directories import find_default_cache
from rewriter.verify.explain import Explanation, explain_death, explain_error, first_line
from rewriter.verify.load import find_import
from rewriter.words import quote_word

Status = Literal["ok", "failed", "skipped"]

BUILD_TIMEOUT = 1800.0
"""Seconds that one component may take."""

_REMEDIES = {
    "OSR301": "run opensora-rewriter verify --level load {config}, and look at the place that the message names",
    "OSR313": "opensora-rewriter verify --level resolve --python {python} {config}",
}


@dataclass(frozen=True, slots=True)
class BuildTask:
    """Components (dotted names) of one config to build. ``lines``: of each component in the config, for findings."""

    root: str
    config: str
    components: tuple[str, ...]
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What building one component gave. ``same_as``: the config whose equal dict was built in its place, or ""."""

    task: BuildTask
    component: str
    status: Status
    exception: str = ""
    parameters: int = 0
    seconds: float = 0.0
    same_as: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing is wrong: it was built, or there was nothing to build."""
        return self.status != "failed"


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Level build of a run: one result a component."""

    results: tuple[BuildResult, ...]
    findings: tuple[Finding, ...]


def build_level(
    tasks: Sequence[BuildTask],
    *,
    python: str | None = None,
    timeout: float = BUILD_TIMEOUT,
    use_environment_cache: bool = False,
    on_result: Callable[[BuildResult], None] = lambda _result: None,
) -> BuildReport:
    """Build components with the checkout's own ``build_module``, offline; equal dicts of one checkout are built once.

    This runs the checkout's code and loads whole models into memory (a float32 T5 takes about 19 GB).
    ``use_environment_cache``: loaders that no ``cache_dir`` reaches read the environment's cache; without it they
    find an empty one. The other arguments are those of :func:`rewriter.verify.load.load_level`.
    """
    executable = choose_interpreter(python, "mmengine")
    caches: dict[str, str] = {}
    if use_environment_cache:
        for variable, library in (("HF_HUB_CACHE", "diffusers"), ("TRANSFORMERS_CACHE", "transformers")):
            caches[variable] = os.path.abspath(find_default_cache(os.environ, library)[0])
    results: list[BuildResult] = []
    for root in sorted({task.root for task in tasks}):
        part = [(task, index) for task in tasks if task.root == root for index in range(len(task.components))]

        def hear(number: int, answer: Answer | ChildError, part: list[tuple[BuildTask, int]] = part) -> None:
            reader = _Reader(*part[number], executable, caches.get("HF_HUB_CACHE"))
            results.append(reader.read(answer))
            on_result(results[-1])

        package, folder = find_import(root)
        job = {"root": root, "package": package, "folder": folder}
        requests = [{"config": task.config, "component": task.components[index]} for task, index in part]
        run_probe(executable, "build", job, requests, timeout=timeout, inherit=True, caches=caches, on_answer=hear)
    return BuildReport(tuple(results), tuple(finding for result in results for finding in result.findings))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes the result of one component. ``cache``: what calls without ``cache_dir`` read, or None."""

    task: BuildTask
    index: int
    python: str
    cache: str | None

    @property
    def component(self) -> str:
        return self.task.components[self.index]

    def read(self, answer: Answer | ChildError) -> BuildResult:
        task, component = self.task, self.component
        if isinstance(answer, ChildError):
            finding = self._make_finding(explain_death(answer, "build", f"building {component}"))
            return BuildResult(task, component, "failed", finding.message, findings=(finding,))
        if answer["status"] == "failed":
            kind, finding = answer["chain"][0]["type"], self._make_finding(self._explain(answer))
            return BuildResult(task, component, "failed", kind, 0, answer["seconds"], findings=(finding,))
        counted = answer.get("parameters", 0), answer["seconds"], answer.get("same_as", "")
        return BuildResult(task, component, answer["status"], "", *counted)

    def _explain(self, answer: Answer) -> Explanation:
        repo = answer["repo"]
        lent = answer["cache_dir"] is None or SCRATCH in answer["cache_dir"]
        reached = self.cache if lent else answer["cache_dir"]
        words = {"repo": "", "cache": reached or "", "config": self.task.config, "component": self.component}
        words["known"] = suggest_repo(repo, str(answer["loader"]), self.task.root)[0] if repo else ""
        found = explain_error(answer, "build", words | {"python": self.python})
        in_config = answer["stage"] == "config"
        if in_config and found.code != "OSR307":
            found = Explanation("OSR313")
        elif found.code == "OSR304" and not reached:
            cause = f"{repo or 'the repo'} was looked for in the default cache: no cache_dir reaches this call"
            select = select_option(self.component)
            remedy = f"opensora-rewriter rewrite --cache-dir DIR{select} {quote_word(self.task.config)}"
            found = Explanation("OSR304", cause, remedy)
        code, first = found.code or "OSR301", first_line(answer)
        cause = f"{found.cause} ({first})" if found.cause else first
        place = f" [{answer['where']}]" if answer["where"] else ""
        activity = "loading the config" if in_config else f"building {self.component}"
        quoted = {"config": quote_word(self.task.config), "python": quote_word(self.python)}
        remedy = found.remedy or _REMEDIES[code].format(**quoted)
        return Explanation(code, f"{activity}: {cause}{place}", remedy)

    def _make_finding(self, known: Explanation) -> Finding:
        line = self.task.lines[self.index]
        return Finding(known.code, self.task.config, line, 0, self.component, known.cause, known.remedy)
