"""Levels resolve, load and build of `verify`: what a child process in the user's own interpreter says, as findings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from rewriter.checkout import Target, find_packages
from rewriter.decide.remedies import suggest_repo
from rewriter.model import Finding
from rewriter.process.children import SCRATCH, Answer, ChildError, run_probe
from rewriter.process.configs import ConfigTask, load_configs
from rewriter.process.interpreters import InterpreterError, choose_interpreter, find_interpreter
from rewriter.verify.directories import Trouble, find_default_cache
from rewriter.verify.explain import explain_death, explain_error, first_line
from rewriter.verify.needs import CallRow, ComponentTrace, format_fetch

Status = Literal["ok", "failed", "skipped"]
LEVELS = ("resolve", "cache", "load", "build")
"""Each includes those before it."""
LOAD_SECONDS, BUILD_SECONDS = 600.0, 1800.0
"""What one check, and one component, may take."""


def resolve_configs(targets: Sequence[Target], python: str | None, *, required: bool) -> tuple[list[Finding], str]:
    """Let mmengine load every config. Returns findings (OSR901) and a note (empty where mmengine loaded them).

    A config that upstream's own ``Config.fromfile(path)`` cannot load, only ``lazy_import=False``, is a warning.
    Raises InterpreterError: none has mmengine and ``required``, or the one that was named does not run.
    """
    interpreter = find_interpreter(python, "mmengine")
    if interpreter is None:
        if required:
            raise InterpreterError("no interpreter with mmengine is found")
        return [], "mmengine did not load the configs (none found): pip install 'opensora-rewriter[resolve]'"
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
    return findings, ""


class Result(NamedTuple):
    """What one check of level load or build gave.

    ``subject``: what was loaded, or the component that was built. ``outcome``: what holds, or why it does not, in
    words. ``same_as``: the config whose equal dict was built in its place, or "".
    """

    path: str
    subject: str
    status: Status
    outcome: str
    findings: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    seconds: float = 0.0
    same_as: str = ""


def _find_import(root: str) -> tuple[str, str]:
    """The name of the package that holds the checkout's registry, and the folder from which it is imported."""
    packages = find_packages(root) or (os.path.join(root, "opensora"),)
    with_registry = [each for each in packages if os.path.isfile(os.path.join(each, "registry.py"))]
    folder = (with_registry or packages)[0]
    return os.path.basename(folder), os.path.dirname(folder)


# --- level load -----------------------------------------------------------------------------------

_PINNED = "use the library versions that your Open-Sora release pins, with --python"
# A kind of problem of the probe, or the stage of an exception that is not known: its code, what cures it, and the words
# after a count. {fetch} is a command.
_PROBLEMS = {
    "no_weights": ("OSR202", "{fetch}", ""),
    "tokens": ("OSR203", "{fetch}", ""),
    "no_class": ("OSR213", _PINNED, ""),
    "corrupt": ("OSR205", "delete that file, then fetch it again: {fetch}", ""),
    "unsafe": ("OSR206", "do not load this file; fetch the weights from their author again", ""),
    "missing": ("OSR207", _PINNED + "; or correct the repo", " parameters of the model are in none of the files: "),
    "shape": ("OSR208", _PINNED + "; or correct the repo", " parameters do not fit the model: "),
    "unexpected": ("OSR209", "nothing, if the outputs are right", " parameters in the files are not in the model: "),
    "library": ("OSR213", _PINNED, ""),
    "tokenizer": ("OSR203", "{fetch}", ""),
    "config": ("OSR204", _PINNED, ""),
    "model": ("OSR204", _PINNED, ""),
    "weights": ("OSR205", "delete that file, then fetch it again: {fetch}", ""),
}


def group_calls(rows: Iterable[CallRow]) -> list[list[CallRow]]:
    """The calls that level load checks, those of one check together."""
    groups: dict[tuple[object, ...], list[CallRow]] = {}
    for row in rows:
        call, own_root = row.call, _find_own_root(row)
        what = call.repo_id, row.cache_dir, call.revision, call.subfolder, call.kind, call.library, call.class_name
        groups.setdefault((*what, call.filename, own_root, row.type if own_root else ""), []).append(row)
    return list(groups.values())


def _find_own_root(row: CallRow) -> str:
    """The checkout whose own package holds the class, or ""."""
    if row.root is None or row.call.library in ("transformers", "diffusers", "huggingface_hub"):
        return ""
    return row.root if row.call.library in ("opensora", *map(os.path.basename, find_packages(row.root))) else ""


def load_level(
    groups: Sequence[list[CallRow]], *, python: str | None = None, tick: Callable[[], None] = lambda: None
) -> list[Result]:
    """Check tokenizers, configs and weights offline, without reading the weights themselves.

    ``groups``: of :func:`group_calls`, each call with the cache that it reads (None: none at all). ``python``: the
    interpreter; None: that of VIRTUAL_ENV or CONDA_PREFIX, else our own, the first that has transformers. ``tick`` is
    called as each check ends. Never raises for what a cache or a checkout holds: each failure is a finding.
    """
    executable = choose_interpreter(python, "transformers")
    results: list[Result] = []
    # The checkouts' classes are imported from their roots: a child for each root, one for all the rest.
    for root in sorted({_find_own_root(group[0]) for group in groups}):
        part = [group for group in groups if _find_own_root(group[0]) == root]
        requests = [_make_request(group[0], root) for group in part]
        how: dict[str, Any] = {"timeout": LOAD_SECONDS, "inherit": True, "on_answer": lambda *_: tick()}
        answers = run_probe(executable, "load", {}, requests, **how)
        results += [_read_load(group, answer, executable) for group, answer in zip(part, answers, strict=True)]
    return results


def _make_request(row: CallRow, own_root: str) -> dict[str, Any]:
    call = row.call
    package, folder = _find_import(own_root) if own_root else (call.library, "")
    fields = {name: getattr(call, name) for name in ("revision", "subfolder", "kind", "class_name", "filename")}
    # a relative directory is read as the checkout's scripts, run in its root, read it
    cache_dir = os.path.join(os.path.abspath(row.root or ""), row.cache_dir) if row.cache_dir else None
    place = {"repo_id": os.path.expanduser(str(call.repo_id)), "cache_dir": cache_dir, "root": row.root or ""}
    return {**fields, **place, "library": package, "type_name": row.type, "folder": folder}


def _read_load(group: list[CallRow], answer: Answer | ChildError, python: str) -> Result:
    row = group[0]
    place = f"/{row.call.subfolder}" if row.call.subfolder else ""
    subject = f"{row.call.repo_id}{place} ({row.call.class_name or row.call.kind})"
    places = [(each.path, each.line, each.component) for each in group]
    if isinstance(answer, ChildError):
        death = explain_death(answer, "load", f"checking {row.call.repo_id}")
        return Result(row.path, subject, "failed", death.message, death.at(places))
    findings: list[Finding] = []
    for problem in answer["problems"]:
        kind, words = problem["kind"], {"repo": str(row.call.repo_id), "cache": row.cache_dir or "", "python": python}
        code, remedy, counted = _PROBLEMS[problem["stage"] if kind == "exception" else kind]
        remedy = remedy.replace("{fetch}", format_fetch(row.cache_dir or ""))
        if kind == "exception":
            known = explain_error(problem, "load", known="", **words)
            message = f"{subject}, {problem['stage']}: {known.message or first_line(problem)}"
            code, remedy = known.code or code, known.remedy or remedy
        else:
            message = f"{subject}: {problem['count'] if counted else ''}{counted}{problem['message']}"
        findings += Trouble(code, message, remedy, "warning" if kind == "unexpected" else "error").at(places)
    failed = any(finding.severity == "error" for finding in findings)
    if answer["deferred"]:
        message = f"{subject} is left to level build: {answer['deferred']}"
        build = "opensora-rewriter verify {path} --component {component} --level build"
        findings += Trouble("OSR212", message, build, "warning").at(places)
    outcome = ", ".join(answer["checked"]) or "nothing could be compared"
    status: Status = "failed" if failed else "skipped" if answer["deferred"] else "ok"
    return Result(row.path, subject, status, outcome, findings, answer["notes"], answer["seconds"])


# --- level build ----------------------------------------------------------------------------------


def list_builds(traced: Iterable[ComponentTrace]) -> tuple[list[ComponentTrace], list[ComponentTrace]]:
    """What level build builds, and the components that belong to no checkout, which it cannot."""
    whole = [each for each in traced if len(each.component.keys) == 1]  # others are parts of the component around them
    return [each for each in whole if each.root], [each for each in whole if not each.root]


def build_level(
    components: Sequence[ComponentTrace],
    *,
    python: str | None = None,
    timeout: float = BUILD_SECONDS,
    tick: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Build components with the checkout's own ``build_module``, offline; equal dicts of one checkout are built once.

    This runs the checkout's code and loads whole models into memory (a float32 T5 takes about 19 GB). ``timeout``:
    seconds for one component. Loaders that no ``cache_dir`` reaches read the environment's cache.
    """
    executable = choose_interpreter(python, "mmengine")
    libraries = {"HF_HUB_CACHE": "diffusers", "TRANSFORMERS_CACHE": "transformers"}
    caches = {name: os.path.abspath(find_default_cache(os.environ, library)[0]) for name, library in libraries.items()}
    how: dict[str, Any] = {"timeout": timeout, "inherit": True, "caches": caches, "on_answer": lambda *_: tick()}
    results: list[Result] = []
    for root in sorted({each.root or "" for each in components}):
        part = [each for each in components if each.root == root]
        package, folder = _find_import(root)
        job = {"root": root, "package": package, "folder": folder}
        requests = [{"config": each.path, "component": each.component.name} for each in part]
        answers = run_probe(executable, "build", job, requests, **how)
        pairs = zip(part, answers, strict=True)
        results += [_read_build(each, answer, executable, caches["HF_HUB_CACHE"]) for each, answer in pairs]
    return results


def _read_build(traced: ComponentTrace, answer: Answer | ChildError, python: str, lent: str) -> Result:
    """``lent``: the cache that calls without ``cache_dir`` read."""
    path, name = traced.path, traced.component.name
    if not isinstance(answer, ChildError) and answer["status"] != "failed":
        built = answer["status"] == "ok"
        outcome = f"built, {answer['parameters']:,} parameters" if built else "nothing to build"
        same_as = answer["same_as"] if built else ""
        return Result(path, name, answer["status"], outcome, seconds=answer["seconds"], same_as=same_as)
    if isinstance(answer, ChildError):
        known, outcome, seconds = explain_death(answer, "build", f"building {name}"), answer.message, 0.0
    else:
        known, outcome = _explain_build(traced, answer, python, lent), answer["chain"][0]["type"]
        seconds = answer["seconds"]
    findings = known.at([(path, traced.component.span.line, name)])
    return Result(path, name, "failed", f"failed: {outcome}", findings, seconds=seconds)


def _explain_build(traced: ComponentTrace, answer: Answer, python: str, lent: str) -> Trouble:
    repo, cache = answer["repo"], answer["cache_dir"]
    reached = lent if cache is None or SCRATCH in cache else cache
    repo_id = suggest_repo(repo, str(answer["loader"]), traced.root)[0] if repo else ""
    known = explain_error(answer, "build", repo="", cache=reached, python=python, known=repo_id)
    activity = f"building {traced.component.name}"
    if answer["stage"] == "config":
        activity = "loading the config"
        if known.code != "OSR307":
            known = Trouble("OSR313", "", "verify it with --level resolve, which says what is wrong")
    first = first_line(answer)
    place = f" [{answer['where']}]" if answer["where"] else ""
    message = f"{activity}: {f'{known.message} ({first})' if known.message else first}{place}"
    fallback = "run opensora-rewriter verify {path} --level load, and look at the place that the message names"
    return Trouble(known.code or "OSR301", message, known.remedy or fallback)
