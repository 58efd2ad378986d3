"""``opensora-rewriter verify``: from the config to tensors, as far as requested, without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from rewriter.cli.cache import read_lock
from rewriter.cli.output import bar, counter, fail
from rewriter.cli.run import Run, flag, shared
from rewriter.cli.trace import collect_needs
from rewriter.decide.installed import report_installed
from rewriter.files import show_path
from rewriter.model import Note
from rewriter.process.interpreters import InterpreterError
from rewriter.report import FORMATS
from rewriter.verify.cache import Inspected, inspect_cache
from rewriter.verify.directories import describe_source
from rewriter.verify.explain import Level
from rewriter.verify.levels import LEVELS, Result, Task, list_builds, list_checks, resolve_configs, run_level
from rewriter.verify.lock import Lock, compare_lock
from rewriter.verify.needs import Need, trace_components
from rewriter.words import counted, human_size


@click.command()
@shared(formats=FORMATS)
@click.option("--level", type=click.Choice(LEVELS), default="cache", show_default=True, help="The last level to run.")
@click.option("--python", metavar="EXE", help="Interpreter of the Open-Sora environment.")
@flag("--hash", "hashing", help="Hash every file that is read, and compare it with its blob's name.")
@click.option("--lock", "lock_path", metavar="FILE", help="Say what changed since this lock was written.")
def verify(run: Run, level: str, python: str | None, hashing: bool, lock_path: str | None) -> None:
    """Prove that the weights which the configs need are in the cache and load, offline.

    Where no cache_dir reaches a loader, the cache of the environment is inspected (HF_HUB_CACHE, HF_HOME, or the
    default), and named. Nothing is downloaded and nothing is written to a cache.

    \b
    Levels, each including those before it:
      resolve  mmengine loads the configs
      cache    every file that the loaders request is in the cache, whole
      load     tokenizers, configs and weights fit together, without reading the weights (needs the extra [load])
      build    the checkout's own build_module builds the components, sockets blocked (in its interpreter)

    \b
    Examples:
      opensora-rewriter verify .
      opensora-rewriter verify . --all-configs --hash
      opensora-rewriter verify . --level build --python ~/envs/opensora/bin/python
    """
    known = read_lock(lock_path)
    run.select()
    traced, needs, plan = collect_needs(run, python=python)
    if level == "resolve":  # nothing of what the components load
        run.findings = [each for each in run.findings if each.code == "OSR900"]
    others = {each.component.name for each in trace_components(run.selection.targets, run.loaders) if each.rows}
    if left_out := sorted(others - {each.component.name for each in traced}):
        run.notes.append(Note(f"not verified, since not selected: {', '.join(left_out)} (--all-components)"))
    run.findings += report_installed(plan, python)
    _resolve(run, python, alone=level == "resolve")
    verdict = "they resolve; no repo was inspected"
    if level != "resolve":
        verdict = "everything that the loaders request is there"
        whole = _inspect(run, needs, hashing, known, os.path.abspath(lock_path or ""))
    if level in ("load", "build"):
        results = _run_level(run, "load", list_checks(whole), python)
        skipped = sum(result.status == "skipped" for result in results)
        verdict += f"; {counted(skipped, 'model')} could not be compared" if skipped and level == "load" else ""
    if level == "build":  # what only running tells is proved by it, or by nothing
        results = _run_level(run, "build", list_builds(traced), python)
        proved = {(path, name) for each in results if each.status == "ok" for path, _, name in each.task.places}
        found = [each for each in run.findings if each.code != "OSR212"]  # which leaves it to this level
        left = [each for each in found if each.code != "OSR007" or (each.path, each.component) not in proved]
        run.findings = [each._replace(severity="warning") if each.code == "OSR007" else each for each in left]
    run.hide_ignored()
    verdict = f"{counted(run.count_errors(), 'error')} found" if run.exit_code else verdict
    repos = counted(len({need.repo_id for need in needs}), "repo")
    run.finish([f"verify   level {level}: {counted(len(run.selection.targets), 'config')}, {repos}: {verdict}"])


def _resolve(run: Run, python: str | None, *, alone: bool) -> None:
    """Level resolve; alone, it insists on mmengine."""
    unreadable = {finding.path for finding in run.findings if finding.code == "OSR900"}
    targets = [target for target in run.selection.targets if target.path not in unreadable]
    try:
        found = resolve_configs(targets, python)
    except InterpreterError as error:
        if alone or python is not None:
            fail(str(error), "pip install 'opensora-rewriter[resolve]', or name one that has it with --python")
        run.say(f"resolve  mmengine did not load the configs ({error}): pip install 'opensora-rewriter[resolve]'")
        return
    run.findings += found
    failed = len({finding.path for finding in found if finding.severity == "error"})
    run.say(f"resolve  {len(targets) - failed} of {counted(len(targets), 'config')} load")


def _inspect(run: Run, needs: list[Need], hashing: bool, known: Lock | None, lock_path: str) -> list[Need]:
    """Level cache, and the comparison with a lock. Returns the needs whose files are all there."""
    for directory, source in dict.fromkeys((need.cache_dir, need.source) for need in needs):
        if source not in ("config", "option"):
            run.say(f"cache    where no cache_dir reaches the loader: {directory}{describe_source(source)}")
    with bar("hashing", quiet=run.quiet) as progress:
        hashes = {(key[0], file.name): file.hash for key, repo in (known or {}).items() for file in repo.files}
        report = inspect_cache(needs, hash=hashing, progress=progress, known=hashes)
    run.findings += report.findings
    groups: dict[tuple[str, str, str | None], list[Inspected]] = {}
    for found in report.inspected:
        groups.setdefault((found.need.repo_id, found.need.cache_dir, found.commit), []).append(found)
    for (repo_id, cache_dir, commit), group in groups.items():
        if all(found.sound for found in group):
            files = {file.path: file for found in group for file in found.files}.values()
            size = f"{counted(len(files), 'file')}, {human_size(sum(file.size for file in files))}"
            hashed = f", {sum(file.verified for file in files)} hashed" if hashing else ""
            run.say(f"cache    ok: {repo_id} at {str(commit)[:12]} in {cache_dir}: {size}{hashed}")
        else:
            run.say(f"cache    {'not found' if commit is None else 'not whole'}: {repo_id} in {cache_dir}")
    if known is not None:
        given = run.settings
        partial = bool(not given.all_configs or given.components or given.include or given.exclude)
        run.findings += compare_lock(known, report, lock_path, run.root, partial, run.scope)
    return [found.need for found in report.inspected if found.sound]


def _run_level(run: Run, level: Level, tasks: Sequence[Task], python: str | None) -> list[Result]:
    with counter(f"{level}ing", len(tasks), quiet=run.quiet) as tick:
        results = run_level(level, tasks, python, tick)
    for result in results:
        run.findings += result.findings
        if run.verbose or not result.same_as:
            place = f"{show_path(result.task.places[0][0], run.cwd)} " if level == "build" else ""
            words = f"{result.status}: {place}{result.task.subject}: {result.outcome} ({result.seconds:.1f} s)"
            run.say(f"{level:<8} {words}")
    return results
