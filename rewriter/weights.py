"""Levels load and build of `verify`: do the weights load, asked of the user's own interpreter in a child."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rewriter import interpreters
from rewriter.request import selecting
from rewriter.types import Finding, HubCall
from rewriter.weights_rules import EXPLANATIONS

Status = Literal["ok", "failed", "skipped"]

# Seconds without any word from the child, after which it is ended.
LOAD_TIMEOUT = 600.0
BUILD_TIMEOUT = 1800.0


@dataclass(frozen=True, slots=True)
class LoadTask:
    """One hub call to check: a :class:`~rewriter.types.HubCall` with the cache directory that reaches it.

    ``cache_dir`` None: no cache at all, or the environment's with ``use_environment_cache``. ``type_name`` and
    ``root`` (the checkout) are needed for classes of the checkout's own (``library`` "opensora").
    ``component``, ``path``, ``line``, ``column``: where a finding points to; they do not make two tasks different.
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
    def identity(self) -> tuple[object, ...]:
        """What makes it a check of its own."""
        checkout = (self.type_name, self.root) if self.library == "opensora" else ("", "")
        where = (self.repo_id, self.cache_dir, self.revision, self.subfolder)
        return (*where, self.kind, self.library, self.class_name, self.filename, *checkout)


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
    """Level load of a run: one result a task, in the order asked; each distinct finding once."""

    python: str
    versions: dict[str, str] = field(default_factory=dict)
    results: tuple[LoadResult, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildTask:
    """Components (dotted names) of one config to build. ``lines``: of each component in the config, for findings."""

    root: str
    config: str
    components: tuple[str, ...]
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What building one component gave. ``same_as``: the config whose equal dict was built in its place, or ""."""

    task: BuildTask
    component: str
    status: Status
    exception: str = ""
    message: str = ""
    parameters: int = 0
    seconds: float = 0.0
    peak_rss: int = 0
    same_as: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing is wrong: it was built, or there was nothing to build."""
        return self.status != "failed"


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Level build of a run: one result a component, in the order asked."""

    python: str
    versions: dict[str, str] = field(default_factory=dict)
    results: tuple[BuildResult, ...] = ()
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
    """The task for a hub call; None where the repo id is unknown. Findings point to the call unless told otherwise."""
    if call.repo_id is None:
        return None
    place = (path, line, column) if path else (call.path, call.line, call.column)
    return LoadTask(
        call.repo_id, cache_dir, call.revision, call.subfolder, call.kind, call.library, call.class_name,
        call.filename, type_name, root, component, *place,
    )  # fmt: skip


# --- level load --------------------------------------------------------------------------------


def load_level(
    tasks: Sequence[LoadTask],
    *,
    python: str | None = None,
    timeout: float = LOAD_TIMEOUT,
    use_environment_cache: bool = False,
    on_result: Callable[[LoadResult], None] | None = None,
) -> LoadReport:
    """Checks tokenizers, configs and weights of ``tasks`` without network and without reading the weights themselves.

    ``python``: the interpreter; None: that of VIRTUAL_ENV or CONDA_PREFIX, else our own, the first that has
    transformers. ``timeout``: seconds without any word from the child. ``on_result`` hears of each distinct check as
    it ends. Never raises for what a cache or a checkout holds: each failure is a finding.
    """
    executable = find_python(python, "transformers")
    groups: dict[tuple[object, ...], list[LoadTask]] = {}
    for task in tasks:
        groups.setdefault(task.identity, []).append(task)
    distinct = [group[0] for group in groups.values()]
    default = environment_cache() if use_environment_cache else None
    told: dict[int, _Told] = {}
    versions: dict[str, str] = {}

    def hear(number: int, answer: _Told) -> None:
        told[number] = answer
        if on_result is not None:
            on_result(_load_result(distinct[number], answer, executable, 0, default))

    # The checkouts' classes are imported from their roots: a child for each root, one for all the rest.
    roots = {task.root if task.library == "opensora" else "" for task in distinct}
    for root in sorted(roots):
        wanted = [
            (number, _load_job(task, default))
            for number, task in enumerate(distinct)
            if (task.root if task.library == "opensora" else "") == root
        ]
        versions |= _drive(executable, "load.py", {"root": root}, wanted, timeout, None, hear)
    findings: list[Finding] = []
    by_identity = {task.identity: number for number, task in enumerate(distinct)}
    for number, task in enumerate(distinct):
        others = len(groups[task.identity]) - 1
        findings.extend(_load_result(task, told[number], executable, others, default).findings)
    results = tuple(_load_result(task, told[by_identity[task.identity]], executable, 0, default) for task in tasks)
    return LoadReport(executable, versions, results, tuple(findings))


def _load_job(task: LoadTask, default: str | None) -> dict[str, Any]:
    repo_id = os.path.expanduser(task.repo_id) if task.repo_id.startswith("~") else task.repo_id
    # As the checkout's scripts would read a relative one: they run in the checkout's root.
    folder = os.path.join(os.path.abspath(task.root), task.cache_dir) if task.cache_dir else default
    return {
        "repo_id": repo_id,
        "cache_dir": folder,
        "revision": task.revision,
        "subfolder": task.subfolder,
        "kind": task.kind,
        "library": task.library,
        "class_name": task.class_name,
        "filename": task.filename,
        "type_name": task.type_name,
        "root": task.root,
    }


_LOAD_CODES = {
    "no_weights": "OSR202",
    "missing_shard": "OSR202",
    "tokens": "OSR203",
    "no_class": "OSR213",
    "corrupt": "OSR205",
    "unsafe": "OSR206",
    "missing": "OSR207",
    "shape": "OSR208",
    "unexpected": "OSR209",
}

_LOAD_REMEDIES = {
    "OSR202": "opensora-rewriter verify --level cache says what to fetch; with a network: {download}",
    "OSR203": "fetch the tokenizer files of {repo} again: {download}",
    "OSR204": "fetch config.json of {repo} again, or use the library versions that your Open-Sora release pins",
    "OSR205": "delete that file and fetch it again: {download}",
    "OSR206": "do not load this file; fetch the weights from their author again: {download}",
    "OSR207": "check that the repo is the one that the config means, and fetch it again: {download}",
    "OSR208": "config.json and weights are of different models: fetch the repo again: {download}",
    "OSR209": "nothing, if the outputs are right; else check that the repo is the one that the config means",
    "OSR212": "opensora-rewriter verify --level build",
    "OSR213": "use the library versions that your Open-Sora release pins, with --python",
}

# An exception that is not in the table: what was being done tells the code.
_STAGE_CODES = {"library": "OSR213", "tokenizer": "OSR203", "config": "OSR204", "model": "OSR204"}


def _load_result(task: LoadTask, told: _Told, python: str, others: int, default: str | None) -> LoadResult:
    """The result of one task.

    ``others``: how many more components ask for the same. ``default``: the cache that was lent where the task has none.
    """
    answer = told.answer
    if answer is None:
        message, remedy = _death(told, f"checking {task.repo_id}")
        return LoadResult(task, "failed", findings=(_at(task, told.code or "OSR211", message, remedy, others),))
    findings = [
        _load_finding(task, problem, python, others, task.cache_dir or default) for problem in answer["problems"]
    ]
    if answer["deferred"]:
        message = f"{_what(task)} is left to level build: {answer['deferred']}"
        findings.append(_at(task, "OSR212", message, _LOAD_REMEDIES["OSR212"], others, "warning"))
    failed = any(finding.severity == "error" for finding in findings)
    return LoadResult(
        task,
        "failed" if failed else "skipped" if answer["deferred"] else "ok",
        tuple(answer["checked"]),
        tuple(answer["notes"]),
        answer["parameters"],
        answer["elements"],
        answer["files"],
        answer["bytes"],
        answer["seconds"],
        answer["peak_rss"],
        tuple(findings),
    )


def _load_finding(task: LoadTask, problem: dict[str, Any], python: str, others: int, cache_dir: str | None) -> Finding:
    names = {"repo": task.repo_id, "download": _download(task, cache_dir)}
    if problem["kind"] == "exception":
        words = {"repo": task.repo_id, "cache": cache_dir or "", "config": task.path, "python": python}
        code, cause, remedy = explain(problem, "load", words | {"component": task.component})
        code = code or _STAGE_CODES.get(problem["stage"], "OSR205")
        message = f"{_what(task)}, {problem['stage']}: {cause or _first(problem)}"
        return _at(task, code, message, remedy or _LOAD_REMEDIES.get(code, "").format(**names), others)
    code = _LOAD_CODES[problem["kind"]]
    message = f"{_what(task)}: {problem['message']}"
    count = problem.get("count", 0)
    if problem["kind"] in ("missing", "shape", "unexpected"):
        message = f"{_what(task)}: {count} {_COUNTED[problem['kind']]}: {problem['message']}{_more(problem)}"
    elif problem.get("names") and problem["kind"] == "missing_shard":
        message += f": {', '.join(problem['names'])}{_more(problem)}"
    severity: Literal["error", "warning"] = "warning" if problem["kind"] == "unexpected" else "error"
    return _at(task, code, message, _LOAD_REMEDIES[code].format(**names), others, severity)


_COUNTED = {
    "missing": "parameters of the model are in none of the files",
    "shape": "parameters do not fit the model",
    "unexpected": "parameters in the files have no place in the model",
}


def _more(problem: dict[str, Any]) -> str:
    left = problem["count"] - len(problem["names"])
    return f" and {left} more" if left > 0 else ""


def _what(task: LoadTask) -> str:
    place = f"/{task.subfolder}" if task.subfolder else ""
    return f"{task.repo_id}{place} ({task.class_name or task.kind})"


def _download(task: LoadTask, cache_dir: str | None) -> str:
    revision = f" --revision {task.revision}" if task.revision else ""
    folder = f" --cache-dir {_quoted(cache_dir)}" if cache_dir else ""
    return f"hf download {task.repo_id}{revision}{folder}"


def _quoted(path: str) -> str:
    from shlex import quote

    return quote(path)


def _at(
    task: LoadTask,
    code: str,
    message: str,
    remedy: str,
    others: int,
    severity: Literal["error", "warning"] = "error",
) -> Finding:
    if others:
        message += f" (needed in {others} more place{'s' if others > 1 else ''})"
    return Finding(code, task.path, task.line, task.column, task.component, message, remedy, severity)


# --- level build -------------------------------------------------------------------------------


def build_level(
    tasks: Sequence[BuildTask],
    *,
    python: str | None = None,
    timeout: float = BUILD_TIMEOUT,
    use_environment_cache: bool = False,
    on_result: Callable[[BuildResult], None] | None = None,
) -> BuildReport:
    """Builds components with the checkout's own ``build_module``, offline; equal dicts of one checkout are built once.

    This runs the checkout's code and loads whole models into memory (a float32 T5 takes about 19 GB).
    ``use_environment_cache``: loaders that no ``cache_dir`` reaches read the environment's cache; without it they
    find an empty one. The other arguments are those of :func:`load_level`.
    """
    executable = find_python(python, "mmengine")
    units = [(task, number) for task in tasks for number in range(len(task.components))]
    results: dict[int, BuildResult] = {}
    versions: dict[str, str] = {}
    default = environment_cache() if use_environment_cache else None

    def hear(number: int, told: _Told) -> None:
        results[number] = _build_result(*units[number], told, executable, default)
        if on_result is not None:
            on_result(results[number])

    for root in sorted({task.root for task in tasks}):
        wanted = [
            (number, {"config": task.config, "component": task.components[part]})
            for number, (task, part) in enumerate(units)
            if task.root == root
        ]
        versions |= _drive(executable, "build.py", {"root": root}, wanted, timeout, default, hear)
    ordered = tuple(results[number] for number in range(len(units)))
    return BuildReport(executable, versions, ordered, tuple(one for result in ordered for one in result.findings))


def _build_result(task: BuildTask, part: int, told: _Told, python: str, default: str | None) -> BuildResult:
    component = task.components[part]
    line = task.lines[part] if part < len(task.lines) else 1

    def finding(code: str, message: str, remedy: str) -> Finding:
        return Finding(code, task.config, line, 0, component, message, remedy)

    answer = told.answer
    if answer is None:
        message, remedy = _death(told, f"building {component}")
        code = told.code or ("OSR311" if told.killed else "OSR312")
        return BuildResult(task, component, "failed", "", message, findings=(finding(code, message, remedy),))
    seconds, peak = answer["seconds"], answer["peak_rss"]
    if answer["status"] == "skipped":
        return BuildResult(task, component, "skipped", "", answer["why"], 0, seconds, peak)
    if answer["status"] == "ok":
        return BuildResult(task, component, "ok", "", "", answer["parameters"], seconds, peak, answer["same_as"])
    reached = answer["cache_dir"] if not _is_scratch(answer["cache_dir"]) else default
    words = {"repo": "", "cache": reached or "", "config": task.config, "component": component, "python": python}
    code, cause, remedy = explain(answer, "build", words | {"known": _known_repo(answer.get("loader"))})
    if not code or (answer["stage"] == "config" and code != "OSR307"):
        code, cause, remedy = ("OSR313", "", "") if answer["stage"] == "config" else (code or "OSR301", cause, remedy)
    if code == "OSR304" and not reached:
        cause = f"{answer['repo'] or 'the repo'} was looked for in the default cache: no cache_dir reaches this call"
        remedy = f"opensora-rewriter rewrite --cache-dir DIR{selecting(component)} {_quoted(task.config)}"
    first, place = _first(answer), f" [{answer['where']}]" if answer["where"] else ""
    verb = "loading the config" if answer["stage"] == "config" else f"building {component}"
    message = f"{verb}: {cause} ({first}){place}" if cause else f"{verb}: {first}{place}"
    remedy = remedy or _BUILD_REMEDIES[code].format(config=_quoted(task.config), python=python)
    kind = answer["chain"][0]["type"]
    told_message = answer["chain"][0]["message"]
    return BuildResult(
        task, component, "failed", kind, told_message, 0, seconds, peak, answer.get("same_as", ""),
        (finding(code, message, remedy),),
    )  # fmt: skip


_BUILD_REMEDIES = {
    "OSR301": "run opensora-rewriter verify --level load {config}, and look at the place that the message names",
    "OSR313": "opensora-rewriter verify --level resolve --python {python} {config}",
}


# --- what failures mean --------------------------------------------------------------------------


def explain(told: dict[str, Any], level: Literal["load", "build"], words: dict[str, str]) -> tuple[str, str, str]:
    """Code, cause and remedy of an exception that a probe described; empty strings where it is not in the table.

    ``words``: "repo" (used where the probe saw none), "cache", "config", "component" and "python", for the templates.
    """
    quoted = {key: _quoted(words[key]) for key in ("cache", "config", "python") if words[key]}
    known_words = {
        "repo": "the repo",
        "cache": "the cache",
        "config": "CONFIG",
        "component": "COMPONENT",
        "known": "ORG/NAME",
    }
    known_words |= {key: value for key, value in (words | quoted).items() if value}
    known_words["select"] = selecting(words["component"]) if words["component"] else ""
    if told["repo"]:
        known_words["repo"] = told["repo"]
    for known in EXPLANATIONS:
        code = known.build if level == "build" else known.load
        for link in told["chain"]:
            subject = f"{' '.join(link['bases'])}: {link['message']} ({told['text']})"
            match = known.pattern.search(subject)
            if match is None or not code:
                continue
            found = known_words | {"keyword": match.groupdict().get("keyword") or ""}
            # Without a cache_dir the loader looks where a download without one goes.
            remedy = known.remedy if words["cache"] else known.remedy.replace(" --cache-dir {cache}", "")
            return code, known.cause.format(**found), remedy.format(**found)
    return "", "", ""


def _known_repo(loader: object) -> str:
    from rewriter.decide import KNOWN_REPOS

    return KNOWN_REPOS.get(str(loader), "")


def _first(told: dict[str, Any]) -> str:
    """The exception as one line of at most 300 characters."""
    link = told["chain"][0]
    text = " ".join(link["message"].split())
    return f"{link['type']}: {text[:300]}" if text else link["type"]


def _is_scratch(path: str | None) -> bool:
    return path is None or _SCRATCH in path


def _death(told: _Told, doing: str) -> tuple[str, str]:
    """Why a child gave no answer, and what to do."""
    output = f"; its last words: {told.output}" if told.output else ""
    return f"{doing}: {told.why}{output}", told.remedy


# --- the child -----------------------------------------------------------------------------------

_SCRATCH = "opensora-rewriter-probe-"


@dataclass(frozen=True, slots=True)
class _Told:
    """The probe's answer to one task, or why there is none."""

    answer: dict[str, Any] | None = None
    why: str = ""
    remedy: str = ""
    output: str = ""
    killed: bool = False
    code: str = ""


@dataclass(slots=True)
class _Child:
    """What one child did until it ended."""

    versions: dict[str, str] = field(default_factory=dict)
    current: int | None = None
    status: int | None = None
    timed_out: bool = False
    output: str = ""


def _drive(
    python: str,
    script: str,
    job: dict[str, Any],
    wanted: list[tuple[int, dict[str, Any]]],
    timeout: float,
    hub_cache: str | None,
    hear: Callable[[int, _Told], None],
) -> dict[str, str]:
    """Runs ``wanted`` in children, a new one after each that dies; ``hear`` gets an answer for every number."""
    versions: dict[str, str] = {}
    left = dict(wanted)

    def answered(number: int, answer: dict[str, Any]) -> None:
        if left.pop(number, None) is not None:
            hear(number, _Told(answer))

    while left:
        try:
            child = _run(python, script, dict(job, tasks=list(left.items())), timeout, hub_cache, answered)
        except OSError as error:
            why = f"{python} does not start ({error.strerror or error})"
            for number in list(left):
                del left[number]
                hear(number, _Told(None, why, "name a Python interpreter with --python", code=_no_python(script)))
            break
        versions |= child.versions
        if not left:
            break
        # A child that died before its first task would die again: all that is left shares its fate.
        for number in [number for number in left if child.current not in left or number == child.current]:
            del left[number]
            hear(number, _fate(child, python, timeout))
    return versions


def _no_python(script: str) -> str:
    return "OSR201" if script == "load.py" else "OSR307"


def _fate(child: _Child, python: str, timeout: float) -> _Told:
    if child.timed_out:
        why, remedy = f"no answer within {timeout:g} s", "give it more time with --timeout, or free the machine"
        return _Told(None, why, remedy, child.output)
    if child.status == -9:
        why = "the child process was killed (signal 9), as the kernel does when memory runs out"
        return _Told(None, why, "use a machine with more memory, or --level load", child.output, killed=True)
    if child.status is not None and child.status < 0:
        why = f"the child process crashed ({_signal_name(-child.status)})"
        return _Told(None, why, f"look whether {_quoted(python)} runs Open-Sora at all", child.output)
    why = f"the child process ended with status {child.status} before it answered"
    return _Told(None, why, f"look whether {_quoted(python)} runs Open-Sora at all", child.output)


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _run(
    python: str,
    script: str,
    job: dict[str, Any],
    timeout: float,
    hub_cache: str | None,
    answered: Callable[[int, dict[str, Any]], None],
) -> _Child:
    """One child, from start to end. Raises OSError if ``python`` does not start."""
    import json
    import secrets
    import subprocess
    import tempfile

    probe = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probes", script)
    nonce = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as scratch, tempfile.TemporaryFile() as output:
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(
                [python, probe],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=job.get("root") or scratch,
                env=probe_environment(scratch, hub_cache),
                pass_fds=(writing,),
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        try:
            assert process.stdin is not None
            try:
                with process.stdin as stdin:
                    stdin.write(json.dumps(dict(job, fd=writing, nonce=nonce)).encode())
            except BrokenPipeError:
                pass
            child = _listen(process, reading, nonce, timeout, answered)
        finally:
            os.close(reading)
            _end(process)
        child.status = process.returncode
        output.seek(0, os.SEEK_END)
        output.seek(max(0, output.tell() - 4000))
        child.output = _last_words(output.read().decode("utf-8", "replace"))
        return child


def _listen(
    process: Any, reading: int, nonce: str, timeout: float, answered: Callable[[int, dict[str, Any]], None]
) -> _Child:
    """Hears messages until the child has ended or has said nothing for ``timeout`` seconds."""
    import json
    import selectors
    import time

    child, rest = _Child(), b""
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            if selector.select(0 if ended else 0.2):
                data = os.read(reading, 65536)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    message = json.loads(line) if nonce.encode() in line else {}
                    if message.get("nonce") == nonce:
                        deadline = time.monotonic() + timeout
                        if _heed(child, message, answered):
                            return child
            elif ended:  # whoever still holds the pipe is not the child
                break
            elif time.monotonic() > deadline:
                child.timed_out = True
                return child
    return child


def _heed(child: _Child, message: dict[str, Any], answered: Callable[[int, dict[str, Any]], None]) -> bool:
    """Takes in one message; True for the last."""
    if message["event"] == "ready":
        child.versions = message["versions"]
    elif message["event"] == "start":
        child.current = message["task"]
    elif message["event"] == "result":
        child.current = None
        answered(message["task"], message)
    return bool(message["event"] == "end")


def _end(process: Any) -> None:
    """The child and all that it started are gone afterwards; one that is about to end by itself may do so."""
    import signal
    import subprocess

    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(output: str) -> str:
    """The last line that says something, at most 300 characters."""
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][-300:] if lines else ""


# --- interpreter and environment -------------------------------------------------------------------


def find_python(python: str | None, module: str) -> str:
    """The interpreter to ask: ``python`` as it is, else the first candidate that has ``module``, else the first of all.

    One that lacks what it needs is told by the child itself, as a finding.
    """
    if python:
        from shutil import which

        return os.path.abspath(which(os.path.expanduser(python)) or os.path.expanduser(python))
    found = interpreters.find(None, module) or next(interpreters.candidates())
    return found.executable


def environment_cache() -> str:
    """The Hugging Face cache that the environment names , absolute."""
    from rewriter.cache.places import default_cache

    return os.path.abspath(default_cache(os.environ)[0])


_SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY")
_DROPPED = (
    "HF_",
    "HUGGINGFACE_",
    "HUGGING_FACE_",
    "TRANSFORMERS_",
    "DIFFUSERS_",
    "AWS_",
    "WANDB_",
    "GIT_",
    "PYTHONSTARTUP",
)


def probe_environment(scratch: str, hub_cache: str | None) -> dict[str, str]:
    """The child's environment: offline, an empty HF_HOME, no credentials, no proxies.

    ``hub_cache`` is given as a folder of links to its repos: libraries that write beside them (transformers'
    version.txt, locks) write into ``scratch``, never into a shared cache.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.upper().startswith(_DROPPED)
        and not key.upper().endswith("_PROXY")
        and not any(word in key.upper() for word in _SECRET)
    }
    home = os.path.join(scratch, "huggingface")
    folder = os.path.join(home, "hub")
    os.makedirs(folder)
    for name in _repos(hub_cache):
        os.symlink(os.path.join(str(hub_cache), name), os.path.join(folder, name))
    return kept | {
        "HF_HOME": home,
        "HF_HUB_CACHE": folder,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TORCHDYNAMO_DISABLE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }


def _repos(hub_cache: str | None) -> Iterable[str]:
    if not hub_cache:
        return []
    try:
        return sorted(name for name in os.listdir(hub_cache) if name.startswith("models--"))
    except OSError:
        return []
