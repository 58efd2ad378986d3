"""``opensora-rewriter verify``: from the config to tensors, as far as requested, without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

import click

from rewriter.cli.output import bar, counter, fail
from rewriter.cli.run import Run, flag, read_lock, shared
from rewriter.decide.installed import report_installed
from rewriter.process.interpreters import InterpreterError, find_major, site_packages
from rewriter.report import FORMATS, text
from rewriter.verify import levels
from rewriter.verify.cache import Inspected, check_directories, inspect_cache
from rewriter.verify.lock import Lock, compare_lock
from rewriter.verify.needs import ComponentTrace, Needs
from rewriter.words import counted, human_size

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
_LEVEL: dict[str, Any] = {"type": click.Choice(levels.LEVELS), "default": "cache", "show_default": True}


@click.command(epilog=EPILOG)
@shared(formats=FORMATS)
@click.option("--level", help="The last level to verify.", **_LEVEL)
@click.option("--python", metavar="EXE", help="Interpreter of the Open-Sora environment.")
@flag("--hash", "hashing", help="Hash every blob and compare it with its name.")
@click.option("--lock", "lock_path", metavar="FILE", help="Say what changed since this lock was written.")
def verify(run: Run, level: str, python: str | None, hashing: bool, lock_path: str | None) -> None:
    """Prove that the weights which the configs need are in the cache and load, offline.

    Where no cache_dir reaches a loader, the cache of the environment is inspected (HF_HUB_CACHE, HF_HOME, or the
    default), and named. Nothing is downloaded and nothing is written to a cache.
    """
    known = read_lock(lock_path)
    run.select()
    major = find_major(site_packages(python), "transformers") or 4
    traced, needed, plan = run.collect_needs("OSR006", "OSR007", transformers_major=major)
    if level == "resolve":  # nothing of what the components load
        run.findings = [each for each in run.findings if each.code == "OSR900"]
    if level == "build":  # what only running tells is proved by this level, and by no level before it
        run.findings = [replace(each, severity="warning") if each.code == "OSR007" else each for each in run.findings]
    run.findings += report_installed(plan, python)
    _resolve(run, needed, python, alone=level == "resolve")
    if level != "resolve":
        broken = _inspect(run, needed, hashing, known, os.path.abspath(lock_path or ""))
        if level != "cache":
            _load(run, needed, python, broken)
    if level == "build":
        _build(run, traced, python)
    run.hide_ignored()
    errors = sum(finding.severity == "error" for finding in run.findings)
    verdict = f"{counted(errors, 'error')} found" if errors else "everything that the loaders request is there"
    if level == "resolve" and not errors:
        verdict = "they resolve; no repo was inspected"
    repos = counted(len({need.repo_id for need in needed.needs}), "repo")
    summary = f"verify   level {level}: {counted(len(run.selection.targets), 'config')}, {repos}: {verdict}"
    run.report(run.exit_code, [summary, *text.list_next_steps(run.findings)])
    raise SystemExit(run.exit_code)


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
    if alone:
        run.findings += check_directories(needed.needs)
        run.say(
            *(f"resolve  cache directory {place}" for place in dict.fromkeys(each.cache_dir for each in needed.needs))
        )


def _inspect(run: Run, needed: Needs, hashing: bool, known: Lock | None, lock_path: str) -> set[tuple[str, str]]:
    """Level cache, and the comparison with a lock. Returns (repo id, cache directory) that are not whole."""
    for directory, variable in needed.environment:
        origin = "the default" if variable == "default" else f"from {variable}"
        run.say(f"cache    where no cache_dir reaches the loader: {directory} ({origin})")
    with bar("hashing", quiet=run.quiet) as progress:
        hashes = known.list_hashes() if known is not None else None
        report = inspect_cache(needed.needs, hash=hashing, progress=progress, known=hashes)
    run.findings += report.findings
    groups: dict[tuple[str, str, str | None], list[Inspected]] = {}
    for found in report.inspected:
        groups.setdefault((found.need.repo_id, found.need.cache_dir, found.commit), []).append(found)
    for (repo_id, cache_dir, commit), group in groups.items():
        files = {file.path: file for found in group for file in found.files}
        if all(found.sound for found in group):
            size = f"{counted(len(files), 'file')}, {human_size(sum(file.size for file in files.values()))}"
            hashed = f", {sum(file.verified for file in files.values())} hashed" if hashing else ""
            run.say(f"cache    ok: {repo_id} at {(commit or '')[:12]} in {cache_dir}: {size}{hashed}")
        else:
            run.say(f"cache    {'not found' if commit is None else 'not whole'}: {repo_id} in {cache_dir}")
    if not groups:
        run.say("cache    no selected component loads from the Hub")
    if known is not None:
        given = run.settings
        partial = bool(not given.all_configs or given.components or given.include or given.exclude)
        run.findings += compare_lock(known, report, lock_path=lock_path, root=run.root, partial=partial)
    return {(found.need.repo_id, found.need.cache_dir) for found in report.inspected if not found.sound}


def _load(run: Run, needed: Needs, python: str | None, broken: Set[tuple[str | None, str | None]]) -> None:
    """Level load."""
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


def _build(run: Run, traced: Sequence[ComponentTrace], python: str | None) -> None:
    """Level build."""
    tasks, homeless = levels.list_builds(traced)
    for component in homeless:
        place = f"{text.show_path(component.path, run.cwd)} {component.component.name}"
        run.say(f"build    not tried: {place}, which belongs to no checkout")
    with counter("building", len(tasks), quiet=run.quiet) as tick:
        results = levels.build_level(tasks, python=python, tick=tick)
    for result in results:
        run.findings += result.findings
        if not result.same_as or run.verbose:
            place = f"{text.show_path(result.path, run.cwd)} {result.subject}"
            run.say(f"build    {place}: {result.outcome} ({result.seconds:.1f} s)")
