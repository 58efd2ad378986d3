"""``opensora-rewriter verify``: from the config to tensors, as far as requested, without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from typing import Any

import click

from rewriter.cli.cache import read_lock
from rewriter.cli.output import bar, counter, fail
from rewriter.cli.run import Run, flag, shared
from rewriter.cli.trace import collect_needs
from rewriter.decide.installed import report_installed
from rewriter.files import show_path
from rewriter.process.interpreters import InterpreterError
from rewriter.report import FORMATS, text
from rewriter.verify import levels
from rewriter.verify.cache import Inspected, check_directories, inspect_cache
from rewriter.verify.directories import describe_source
from rewriter.verify.lock import Lock, compare_lock
from rewriter.verify.needs import ComponentTrace, Needs
from rewriter.words import counted, human_size

_LEVEL: dict[str, Any] = {"type": click.Choice(levels.LEVELS), "default": "cache", "show_default": True}


@click.command()
@shared(formats=FORMATS)
@click.option("--level", help="The last level to verify.", **_LEVEL)
@click.option("--python", metavar="EXE", help="Interpreter of the Open-Sora environment.")
@flag("--hash", "hashing", help="Hash every blob and compare it with its name.")
@click.option("--lock", "lock_path", metavar="FILE", help="Say what changed since this lock was written.")
def verify(run: Run, level: str, python: str | None, hashing: bool, lock_path: str | None) -> None:
    """Prove that the weights which the configs need are in the cache and load, offline.

    Where no cache_dir reaches a loader, the cache of the environment is inspected (HF_HUB_CACHE, HF_HOME, or the
    default), and named. Nothing is downloaded and nothing is written to a cache.

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
      opensora-rewriter verify . --level build --python ~/envs/opensora/bin/python
    """
    known = read_lock(lock_path)
    run.select()
    traced, needed, plan = collect_needs(run, python=python)
    if level == "resolve":  # nothing of what the components load
        run.findings = [each for each in run.findings if each.code == "OSR900"]
    if level == "build":  # what only running tells is proved by this level, and by no level before it
        run.findings = [each._replace(severity="warning") if each.code == "OSR007" else each for each in run.findings]
    run.findings += report_installed(plan, python)
    _resolve(run, needed, python, alone=level == "resolve")
    skipped = 0
    if level != "resolve":
        broken = _inspect(run, needed, hashing, known, os.path.abspath(lock_path or ""))
        if level != "cache":
            skipped = _load(run, needed, python, broken)
    if level == "build":
        built = _build(run, traced, python)
        run.findings = [
            each
            for each in run.findings
            if each.code not in ("OSR007", "OSR212") or (each.path, each.component) not in built
        ]
    run.hide_ignored()
    verdict = (
        "they resolve; no repo was inspected" if level == "resolve" else "everything that the loaders request is there"
    )
    verdict += f"; {counted(skipped, 'model')} could not be compared" if skipped and level == "load" else ""
    verdict = f"{counted(run.count_errors(), 'error')} found" if run.exit_code else verdict
    repos = counted(len({need.repo_id for need in needed.needs}), "repo")
    summary = f"verify   level {level}: {counted(len(run.selection.targets), 'config')}, {repos}: {verdict}"
    run.finish([summary, *text.list_next_steps(run.findings)])


def _resolve(run: Run, needed: Needs, python: str | None, *, alone: bool) -> None:
    """Level resolve; alone, it also checks the cache directories, as the later levels do by themselves."""
    broken = {finding.path for finding in run.findings if finding.code == "OSR900"}
    targets = [target for target in run.selection.targets if target.path not in broken]
    try:
        found, note = levels.resolve_configs(targets, python, required=alone)
    except InterpreterError as error:
        fail(str(error), "pip install 'opensora-rewriter[resolve]', or name one that has it with --python")
    run.findings += found
    failed = len({finding.path for finding in found if finding.severity == "error"})
    run.say("resolve  " + (note or f"{len(targets) - failed} of {counted(len(targets), 'config')} load"))
    for directory, findings in check_directories(needed.needs).items() if alone else ():
        run.findings += findings
        run.say(f"resolve  cache directory {directory}")


def _inspect(run: Run, needed: Needs, hashing: bool, known: Lock | None, lock_path: str) -> set[tuple[str, str]]:
    """Level cache, and the comparison with a lock. Returns (repo id, cache directory) that are not whole."""
    for directory, variable in needed.environment:
        run.say(f"cache    where no cache_dir reaches the loader: {directory}{describe_source(variable)}")
    with bar("hashing", quiet=run.quiet) as progress:
        hashes = known.list_hashes() if known is not None else None
        report = inspect_cache(needed.needs, hash=hashing, progress=progress, known=hashes)
    run.findings += report.findings
    groups: dict[tuple[str, str, str | None], list[Inspected]] = {}
    for found in report.inspected:
        groups.setdefault((found.need.repo_id, found.need.cache_dir, found.commit), []).append(found)
    for (repo_id, cache_dir, commit), group in groups.items():
        files = {file.path: file for found in group for file in found.files}.values()
        if all(found.sound for found in group):
            size = f"{counted(len(files), 'file')}, {human_size(sum(file.size for file in files))}"
            hashed = f", {sum(file.verified for file in files)} hashed" if hashing else ""
            run.say(f"cache    ok: {repo_id} at {(commit or '')[:12]} in {cache_dir}: {size}{hashed}")
        else:
            run.say(f"cache    {'not found' if commit is None else 'not whole'}: {repo_id} in {cache_dir}")
    if not groups:
        run.say("cache    no selected component loads from the Hub")
    if known is not None:
        given = run.settings
        partial = bool(not given.all_configs or given.components or given.include or given.exclude)
        run.findings += compare_lock(
            known, report, lock_path=lock_path, root=run.root, partial=partial, scope=run.scope
        )
    return {(found.need.repo_id, found.need.cache_dir) for found in report.inspected if not found.sound}


def _load(run: Run, needed: Needs, python: str | None, broken: Set[tuple[str | None, str | None]]) -> int:
    """Level load. Returns how many models could not be compared with their files."""
    for repo_id, _ in sorted(broken, key=str):
        run.say(f"load     not tried: {repo_id}, which the cache does not hold whole")
    groups = levels.group_calls([row for row in needed.rows if (row.call.repo_id, row.cache_dir) not in broken])
    with counter("loading", len(groups), quiet=run.quiet) as tick:
        results = levels.load_level(groups, python=python, tick=tick)
    for result in results:
        run.findings += result.findings
        notes = "".join(f"; {note}" for note in result.notes)
        checked = "" if result.status == "failed" else f": {result.outcome}"
        run.say(f"load     {result.status}: {result.subject}{checked}{notes} ({result.seconds:.1f} s)")
    return sum(result.status == "skipped" for result in results)


def _build(run: Run, traced: Sequence[ComponentTrace], python: str | None) -> set[tuple[str, str]]:
    """Level build. Returns what was built, ``(path, component)``."""
    tasks, homeless = levels.list_builds(traced)
    for component in homeless:
        place = f"{show_path(component.path, run.cwd)} {component.component.name}"
        run.say(f"build    not tried: {place}, which belongs to no checkout")
    with counter("building", len(tasks), quiet=run.quiet) as tick:
        results = levels.build_level(tasks, python=python, tick=tick)
    for result in results:
        run.findings += result.findings
        if not result.same_as or run.verbose:
            place = f"{show_path(result.path, run.cwd)} {result.subject}"
            run.say(f"build    {place}: {result.outcome} ({result.seconds:.1f} s)")
    return {(result.path, result.subject) for result in results if result.status == "ok"}
