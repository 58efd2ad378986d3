"""``opensora-rewriter verify``: from the config to tensors, as far as requested, without a network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import click

from rewriter.checkout import Selection
from rewriter.cli import run
from rewriter.cli.options import Options, shared
from rewriter.cli.output import FOUND, fail, print_lines
from rewriter.cli.progress import bar, counter
from rewriter.decide.installed import report_installed
from rewriter.model import Finding, Note
from rewriter.process.interpreters import InterpreterError, find_major, site_packages
from rewriter.report import FORMATS, text
from rewriter.verify import levels, lock
from rewriter.verify.build import build_level
from rewriter.verify.cache import Inspected, inspect_cache
from rewriter.verify.load import LoadResult, load_level
from rewriter.verify.needs import CallRow, ComponentTrace, Needs, collect_needs, trace_components
from rewriter.words import counted, human_size, printable

EPILOG = """
\b
Levels, each including those before it:
  resolve  mmengine loads the configs
  cache    every file that the loaders request is in the cache, whole (needs the extra [cache])
  load     tokenizers, configs and weights fit together, without reading the weights ([load])
  build    the checkout's own build_module builds the components, sockets blocked (its interpreter)

\b
Examples:
  opensora-rewriter verify .
  opensora-rewriter verify . --all-configs --hash
  opensora-rewriter verify configs/opensora-v1-2/inference/sample.py --level build --python ~/envs/opensora/bin/python
"""


@click.command("verify", epilog=EPILOG)
@shared(formats=FORMATS)
@click.option(
    "--level", type=click.Choice(levels.LEVELS), default="cache", show_default=True, help="The last level to verify."
)
@click.option("--python", metavar="EXE", help="Interpreter of the Open-Sora environment.")
@click.option("--hash", "hashing", is_flag=True, help="Hash every blob and compare it with its name.")
@click.option("--lock", "lock_path", metavar="FILE", help="Say what changed since this lock was written.")
def command(options: Options, level: str, python: str | None, hashing: bool, lock_path: str | None) -> None:
    """Prove that the weights which the configs need are in the cache and load, offline.

    Where no cache_dir reaches a loader, the cache of the environment is inspected (HF_HUB_CACHE, HF_HOME, or the
    default), and named. Nothing is downloaded and nothing is written to a cache.
    """
    state = _start(options, level, python)
    _resolve(state)
    if level != "resolve":
        _inspect(state, hashing, lock_path)
    if level in ("load", "build"):
        _load(state)
    if level == "build":
        _build(state)
    _finish(state)


@dataclass
class _State:
    """A run of ``verify`` under way. ``broken``: (repo id, cache directory) that are not whole."""

    options: Options
    level: str
    python: str | None
    selection: Selection
    traced: Sequence[ComponentTrace]
    needed: Needs
    findings: list[Finding]
    notes: list[Note]
    broken: set[tuple[str | None, str | None]] = field(default_factory=set)

    @property
    def quiet(self) -> bool:
        return self.options.quiet or (self.options.output_format != "full" and self.options.output_file is None)

    def say(self, line: str) -> None:
        """Print a line of the usual text."""
        if not self.quiet:
            click.echo(printable(line))

    def find_directory(self, row: CallRow) -> str | None:
        """The cache that a call reads."""
        if row.cache_dir is not None:
            return row.cache_dir
        matching = (need for need in self.needed.needs if need.repo_id == row.call.repo_id and need.source != "config")
        return next((need.cache_dir for need in matching if need.library == row.call.library), None)


def _start(options: Options, level: str, python: str | None) -> _State:
    selection = run.select_files(options)
    loaders = run.make_loaders(options)
    names = None if options.all_components else options.components
    traced, problems = trace_components(selection.targets, loaders, names)
    major = find_major(site_packages(python), "transformers") or 4
    needed = collect_needs(traced, os.environ, transformers_major=major)
    undecided, notes, plan = run.diagnose(selection, loaders, names, "OSR006", "OSR007")
    found = run.add_findings(needed.findings, undecided)
    if level == "resolve":
        found = []
    elif level == "build":  # what only running tells is proved by this level, and by no level before it
        found = [replace(each, severity="warning") if each.code == "OSR007" else each for each in found]
    findings = [*selection.findings, *problems, *loaders.problems(), *found, *report_installed(plan, python)]
    return _State(options, level, python, selection, traced, needed, findings, [*notes, *needed.notes])


def _resolve(state: _State) -> None:
    """Level resolve; alone, it also checks the cache directories, as the later levels do by themselves."""
    alone = state.level == "resolve"
    broken = {finding.path for finding in state.findings if finding.code == "OSR900"}
    targets = [target for target in state.selection.targets if target.path not in broken]
    try:
        found, note = levels.resolve_configs(targets, state.python, required=alone)
    except InterpreterError as error:
        fail(str(error), "pip install 'opensora-rewriter[resolve]', or name one that has it with --python")
    state.findings += found
    failed = len({finding.path for finding in found if finding.severity == "error"})
    state.say("resolve  " + (note or f"{len(targets) - failed} of {counted(len(targets), 'config')} load"))
    if alone:
        state.findings += levels.check_directories(state.needed.needs)
        for place in dict.fromkeys(need.cache_dir for need in state.needed.needs):
            state.say(f"resolve  cache directory {place}")


def _inspect(state: _State, hashing: bool, lock_path: str | None) -> None:
    """Level cache, and the comparison with a lock."""
    for directory, variable in state.needed.environment:
        origin = "the default" if variable == "default" else f"from {variable}"
        state.say(f"cache    where no cache_dir reaches the loader: {directory} ({origin})")
    known = run.read_lock(lock_path) if lock_path is not None else None
    with bar("hashing", quiet=state.quiet) as progress:
        hashes = known.list_hashes() if known is not None else None
        report = inspect_cache(state.needed.needs, hash=hashing, progress=progress, known=hashes)
    state.findings += report.findings
    state.broken = {(found.need.repo_id, found.need.cache_dir) for found in report.inspected if not found.sound}
    for line in _describe_repos(report.inspected, hashing):
        state.say(line)
    if not state.needed.needs:
        state.say("cache    no selected component loads from the Hub")
    if known is not None and lock_path is not None:
        settings = state.options.settings
        selected = settings.components or settings.include or settings.exclude
        state.findings += lock.compare_lock(
            known,
            report,
            lock_path=os.path.abspath(lock_path),
            root=run.find_common_root(state.selection),
            partial=not settings.all_configs or bool(selected),
        )


def _load(state: _State) -> None:
    """Level load."""

    def is_broken(row: CallRow) -> bool:
        return (row.call.repo_id, state.find_directory(row)) in state.broken

    tasks = levels.make_load_tasks(state.needed.rows, state.traced, is_broken)
    for repo_id, _ in sorted(state.broken, key=str):
        state.say(f"load     not tried: {repo_id}, which the cache does not hold whole")
    with counter("loading", len({task.identity for task in tasks}), quiet=state.quiet) as tick:
        report = load_level(
            tasks,
            python=state.python,
            on_result=lambda _result: tick(),
            use_environment_cache=bool(state.needed.environment),
        )
    state.findings += report.findings
    for line in dict.fromkeys(map(_describe_load, report.results)):
        state.say(line)


def _build(state: _State) -> None:
    """Level build."""
    tasks, homeless = levels.make_build_tasks(state.traced)
    cwd = os.getcwd()
    for component in homeless:
        place = f"{text.show_path(component.path, cwd)} {component.component.name}"
        state.say(f"build    not tried: {place}, which belongs to no checkout")
    with counter("building", sum(len(task.components) for task in tasks), quiet=state.quiet) as tick:
        report = build_level(
            tasks,
            python=state.python,
            on_result=lambda _result: tick(),
            use_environment_cache=bool(state.needed.environment),
        )
    state.findings += report.findings
    for result in report.results:
        if not result.same_as or state.options.verbose:
            outcome = f"built, {result.parameters:,} parameters" if result.ok else f"failed: {result.exception}"
            place = f"{text.show_path(result.task.config, cwd)} {result.component}"
            state.say(f"build    {place}: {outcome} ({result.seconds:.1f} s)")


def _finish(state: _State) -> None:
    """Print the findings and the verdict, and end with its exit code."""
    cwd = os.getcwd()
    options = state.options
    findings = text.sort_findings(run.hide_findings(options, state.findings))
    errors = sum(finding.severity == "error" for finding in findings)
    code = FOUND if errors else 0
    files = len(state.selection.targets)
    if not run.emit_report("verify", options, findings, exit_code=code, files=files, notes=state.notes):
        print_lines(text.format_full(findings, cwd, verbose=options.verbose, scope=run.describe_scope(options)))
        if not options.quiet:
            print_lines(text.format_notes(state.notes, cwd), err=True)
        verdict = f"{counted(errors, 'error')} found" if errors else "everything that the loaders request is there"
        if state.level == "resolve" and not errors:
            verdict = "they resolve; no repo was inspected"
        repos = counted(len({need.repo_id for need in state.needed.needs}), "repo")
        state.say(f"verify   level {state.level}: {counted(files, 'config')}, {repos}: {verdict}")
        for line in text.list_next_steps(findings, cwd, run.describe_scope(options)):
            state.say(line)
    raise SystemExit(code)


def _describe_repos(inspected: Iterable[Inspected], hashing: bool) -> list[str]:
    """One line a repo and cache: whole or not, its commit, files and size."""
    groups: dict[tuple[str, str, str | None], list[Inspected]] = {}
    for found in inspected:
        groups.setdefault((found.need.repo_id, found.need.cache_dir, found.commit), []).append(found)
    lines = []
    for (repo_id, cache_dir, commit), group in groups.items():
        files = {file.path: file for found in group for file in found.files}
        size = sum(file.size for file in files.values())
        if all(found.sound for found in group):
            hashed = f", {sum(file.verified for file in files.values())} hashed" if hashing else ""
            place = f"{repo_id} at {(commit or '')[:12]} in {cache_dir}"
            lines.append(f"cache    ok: {place}: {counted(len(files), 'file')}, {human_size(size)}{hashed}")
        else:
            state = "not whole" if commit is not None else "not found"
            lines.append(f"cache    {state}: {repo_id} in {cache_dir}")
    return lines


def _describe_load(result: LoadResult) -> str:
    name = result.task.subject
    notes = "".join(f"; {note}" for note in result.notes)
    if result.status == "failed":
        return f"load     failed: {name}{notes}"
    checked = ", ".join(result.checked) or "nothing could be compared"
    return f"load     {result.status}: {name}: {checked}{notes} ({result.seconds:.1f} s)"
