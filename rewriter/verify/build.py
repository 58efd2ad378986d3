"""Level build of `verify`: the checkout's own ``build_module`` builds the components, offline, as its scripts would."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rewriter.decide.remedies import select_option, suggest_repo
from rewriter.model import Finding
from rewriter.process.children import SCRATCH, Answer, ChildError, ProbeSettings, run_probe
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
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What building one component gave. ``same_as``: the config whose equal dict was built in its place, or "".

    ``package_file``: the file of the package that was imported; an installed copy of the package comes before the
    checkout, as it does for upstream's scripts. ``plain_error``: what upstream's ``Config.fromfile(path)`` raises
    where the config loads with ``lazy_import=False`` only. ``peak_rss``: in bytes.
    """

    task: BuildTask
    component: str
    status: Status
    exception: str = ""
    message: str = ""
    parameters: int = 0
    seconds: float = 0.0
    peak_rss: int = 0
    same_as: str = ""
    package_file: str = ""
    plain_error: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing is wrong: it was built, or there was nothing to build."""
        return self.status != "failed"

    @property
    def from_checkout(self) -> bool:
        """Whether the package that was imported is the checkout's own (True where none was imported)."""
        root = os.path.join(os.path.realpath(self.task.root), "")
        return not self.package_file or os.path.realpath(self.package_file).startswith(root)


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Level build of a run: one result a component, in the order given.

    ``python``: the interpreter. ``versions``: of Python and the libraries in it.
    """

    python: str
    versions: Mapping[str, str] = field(default_factory=dict)
    results: tuple[BuildResult, ...] = ()
    findings: tuple[Finding, ...] = ()


def build_level(
    tasks: Sequence[BuildTask],
    *,
    python: str | None = None,
    timeout: float = BUILD_TIMEOUT,
    use_environment_cache: bool = False,
    on_result: Callable[[BuildResult], None] | None = None,
) -> BuildReport:
    """Build components with the checkout's own ``build_module``, offline; equal dicts of one checkout are built once.

    This runs the checkout's code and loads whole models into memory (a float32 T5 takes about 19 GB).
    ``use_environment_cache``: loaders that no ``cache_dir`` reaches read the environment's cache; without it they
    find an empty one. The other arguments are those of :func:`rewriter.verify.load.load_level`.
    """
    interpreter = choose_interpreter(python, ["mmengine"])
    cache, other = _find_caches() if use_environment_cache else (None, None)
    settings = ProbeSettings(timeout, inherit=True, hub_cache=cache, transformers_cache=other, block_sockets=True)
    units = [(task, index) for task in tasks for index in range(len(task.components))]
    results: dict[int, BuildResult] = {}
    versions: dict[str, str] = {}
    for root in sorted({task.root for task in tasks}):
        part = [number for number, (task, _) in enumerate(units) if task.root == root]

        def hear(index: int, answer: Answer | ChildError, part: list[int] = part) -> None:
            task, component = units[part[index]]
            reader = _Reader(task, component, interpreter.executable, cache)
            results[part[index]] = reader.read(answer)
            if on_result is not None:
                on_result(results[part[index]])

        package, folder = find_import(root)
        job = {"root": root, "package": package, "folder": folder}
        wanted = [
            {"config": task.config, "component": task.components[index]} for task, index in map(units.__getitem__, part)
        ]
        versions |= run_probe(interpreter, "build", job, wanted, settings, on_answer=hear).versions
    ordered = tuple(results[number] for number in range(len(units)))
    return BuildReport(
        interpreter.executable, versions, ordered, tuple(one for result in ordered for one in result.findings)
    )


def _find_caches() -> tuple[str, str | None]:
    """The environment's cache, and what transformers 4 reads in its place (None: the same)."""
    cache, other = (os.path.abspath(find_default_cache(os.environ, name)[0]) for name in ("diffusers", "transformers"))
    return cache, other if other != cache else None


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
        if isinstance(answer, ChildError):
            death = explain_death(answer, "build", f"building {self.component}")
            finding = self._finding(death.code, death.cause, death.remedy)
            return BuildResult(self.task, self.component, "failed", "", death.cause, findings=(finding,))
        exception = message = ""
        findings: tuple[Finding, ...] = ()
        if answer["status"] == "skipped":
            message = answer["why"]
        elif answer["status"] == "failed":
            exception, message = answer["chain"][0]["type"], answer["chain"][0]["message"]
            findings = (self._read_failure(answer),)
        return BuildResult(
            self.task,
            self.component,
            answer["status"],
            exception,
            message,
            answer.get("parameters", 0),
            answer["seconds"],
            answer["peak_rss"],
            answer.get("same_as", ""),
            answer["package_file"],
            answer["plain_error"],
            findings,
        )

    def _read_failure(self, answer: Answer) -> Finding:
        in_config = answer["stage"] == "config"
        known = self._explain(answer)
        if in_config and known.code != "OSR307":
            known = Explanation("OSR313")
        code = known.code or "OSR301"
        first = first_line(answer)
        place = f" [{answer['where']}]" if answer["where"] else ""
        activity = "loading the config" if in_config else f"building {self.component}"
        message = f"{activity}: {known.cause} ({first}){place}" if known.cause else f"{activity}: {first}{place}"
        config = quote_word(self.task.config)
        remedy = known.remedy or _REMEDIES[code].format(config=config, python=quote_word(self.python))
        return self._finding(code, message, remedy)

    def _explain(self, answer: Answer) -> Explanation:
        lent = answer["cache_dir"] is None or SCRATCH in answer["cache_dir"]
        reached = self.cache if lent else answer["cache_dir"]
        repo = answer["repo"]
        known = suggest_repo(repo, str(answer["loader"]), self.task.root)[0] if repo else ""
        words = {"repo": "", "cache": reached or "", "config": self.task.config, "component": self.component}
        found = explain_error(answer, "build", words | {"known": known, "python": self.python})
        if found.code != "OSR304" or reached:
            return found
        select = select_option(self.component)
        return Explanation(
            "OSR304",
            f"{repo or 'the repo'} was looked for in the default cache: no cache_dir reaches this call",
            f"opensora-rewriter rewrite --cache-dir DIR{select} {quote_word(self.task.config)}",
        )

    def _finding(self, code: str, message: str, remedy: str) -> Finding:
        line = self.task.lines[self.index] if self.index < len(self.task.lines) else 1
        return Finding(code, self.task.config, line, 0, self.component, message, remedy)
