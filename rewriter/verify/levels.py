"""Levels resolve, load and build of `verify`: what a child process in the user's own interpreter says, as findings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from rewriter.checkout import PACKAGE, Target, find_packages
from rewriter.model import Finding
from rewriter.process.children import SCRATCH, Answer, ChildError, run_probe
from rewriter.process.configs import ConfigTask, load_configs
from rewriter.process.interpreters import InterpreterError, choose_interpreter, find_interpreter
from rewriter.read.library import CACHE_DIR_LIBRARIES
from rewriter.verify.directories import Place, Trouble, find_default_cache
from rewriter.verify.explain import Level, explain_error, explain_problem
from rewriter.verify.needs import ComponentTrace, Need

LEVELS = ("resolve", "cache", "load", "build")  # each includes those before it
SECONDS = {"load": 600.0, "build": 1800.0}  # what one task may take


def resolve_configs(targets: Sequence[Target], python: str | None) -> list[Finding]:
    """Let mmengine load every config (OSR901). Raises InterpreterError: there is none that has mmengine and runs.

    A config that upstream's own ``Config.fromfile(path)`` cannot load, only ``lazy_import=False``, is a warning.
    """
    interpreter = find_interpreter(python, "mmengine")
    if interpreter is None:
        raise InterpreterError("no interpreter with mmengine is found")
    findings: list[Finding] = []
    loaded = load_configs(interpreter, [ConfigTask(target.path, target.root) for target in targets])
    for target, result in zip(targets, loaded, strict=True):
        trouble = Trouble("OSR901", f"mmengine cannot load it: {result.error}", "correct the config")
        if result.ok:
            message = f"upstream's `Config.fromfile(path)` cannot load it: {result.plain_error}"
            remedy = "remove the import, or load it with Config.fromfile(path, lazy_import=False)"
            trouble = Trouble("OSR901", message, remedy, "warning")
        if not result.ok or result.plain_error:
            findings += trouble.at([(target.path, result.line or 1, "")])
    return findings


class Task(NamedTuple):
    """One check of level load, or one component to build; ``root``: the checkout whose package is imported, or ""."""

    subject: str
    places: list[Place]
    root: str
    request: dict[str, str]


class Result(NamedTuple):
    """What a task gave; ``same_as``: the config whose equal dict was built in its place, or ""."""

    task: Task
    status: Literal["ok", "failed", "skipped"]
    outcome: str
    troubles: Sequence[Trouble] = ()
    seconds: float = 0.0
    same_as: str = ""

    @property
    def findings(self) -> list[Finding]:
        """Its troubles at each place that requests the task."""
        return [finding for trouble in self.troubles for finding in trouble.at(self.task.places)]


def list_checks(needs: Iterable[Need]) -> list[Task]:
    """What level load checks; needs that are the same to a library are one task."""
    tasks: dict[tuple[str, ...], Task] = {}
    for need in needs:
        root = "" if need.library in CACHE_DIR_LIBRARIES else need.root or ""  # a class of the checkout's own
        names = ("repo_id", "cache_dir", "revision", "subfolder", "kind", "class_name", "filename")
        request: dict[str, str] = {name: getattr(need, name) or "" for name in names}
        request |= {"type_name": need.type} if root else {"library": need.library}
        subject = f"{need.repo_id}{f'/{need.subfolder}' if need.subfolder else ''} ({need.class_name or need.kind})"
        task = tasks.setdefault((root, *request.values()), Task(subject, [], root, request))
        task.places.extend(need.requested_by)
    return list(tasks.values())


def list_builds(traced: Iterable[ComponentTrace]) -> list[Task]:
    """What level build builds: components that are no parts of others."""
    return [
        Task(each.name, [(path, each.span.line, each.name)], root or "", {"config": path, "component": each.name})
        for path, root, each, *_ in traced
        if len(each.keys) == 1
    ]


def run_level(level: Level, tasks: Sequence[Task], python: str | None, tick: Callable[[], None]) -> list[Result]:
    """Carry out tasks offline, each failure a finding; never raises for what a cache or a checkout holds.

    Level load does not read the weights themselves. Level build runs the checkout's own ``build_module`` and loads
    whole models into memory (a float32 T5 takes about 19 GB). ``tick`` is called as each task ends.
    """
    executable = choose_interpreter(python, "mmengine" if level == "build" else "transformers")
    libraries = {"HF_HUB_CACHE": "diffusers", "TRANSFORMERS_CACHE": "transformers"}
    caches = {name: os.path.abspath(find_default_cache(library)[0]) for name, library in libraries.items()}
    results: list[Result] = []
    for root in sorted({task.root for task in tasks}):  # two checkouts have packages of the same names: a child each
        part = [task for task in tasks if task.root == root]
        if level == "build" and not root:
            results += [Result(task, "skipped", "it belongs to no checkout") for task in part]
            continue
        packages = find_packages(root) or (os.path.join(root, PACKAGE),)  # imported: the one with the registry
        folder, package = os.path.split(max(packages, key=lambda each: os.path.isfile(f"{each}/registry.py")))
        job = {"root": root, "package": package, "folder": folder}
        answers = run_probe(executable, level, [job | task.request for task in part], SECONDS[level], caches, tick)
        pairs = zip(part, answers, strict=True)
        results += [_read_answer(level, *pair, executable, caches["HF_HUB_CACHE"]) for pair in pairs]
    return results


def _read_answer(level: Level, task: Task, answer: Answer | ChildError, python: str, lent: str) -> Result:
    """``lent``: the cache that calls without ``cache_dir`` read."""
    if isinstance(answer, ChildError):
        codes = {"start": ("OSR201", "OSR307"), "memory": ("OSR211", "OSR311")}.get(answer.reason, ("OSR211", "OSR312"))
        trouble = Trouble(codes[level == "build"], f"{task.subject}: {answer.message}", answer.remedy)
        return Result(task, "failed", answer.message, [trouble])
    seconds = answer["seconds"]
    if level == "build" and answer["status"] == "failed":
        cache = answer["cache_dir"]
        cache = lent if cache is None or SCRATCH in cache else cache
        trouble = explain_error(answer, level, task.subject, cache, python)
        return Result(task, "failed", answer["chain"][0]["type"], [trouble], seconds)
    if level == "build":
        built = f"built, {answer['parameters']:,} parameters" if answer["status"] == "ok" else "nothing to build"
        return Result(task, answer["status"], built, (), seconds, answer.get("same_as", ""))
    cache = task.request["cache_dir"]
    outcome = ", ".join(answer["checked"]) or "nothing could be compared"
    if answer["deferred"]:
        message = f"{task.subject} is left to level build: {answer['deferred']}"
        build = "opensora-rewriter verify {path} --component {component} --level build"
        return Result(task, "skipped", outcome, [Trouble("OSR212", message, build, "warning")], seconds)
    troubles = [explain_problem(each, task.subject, cache, python) for each in answer["problems"]]
    failed = any(trouble.severity == "error" for trouble in troubles)
    return Result(task, "failed" if failed else "ok", outcome, troubles, seconds)
