"""``opensora-rewriter verify``: from the config to tensors, as far as asked, without a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from rewriter.cli import common
from rewriter.types import Finding

EPILOG = """
\b
Levels, each including those before it:
  resolve  mmengine loads the configs
  cache    every file that the loaders ask for lies in the cache, whole (needs the extra [cache])
  load     tokenizers, configs and weights fit together, without reading the weights ([load])
  build    the checkout's own build_module builds the components, sockets blocked (its interpreter)

\b
Examples:
  opensora-rewriter verify .
  opensora-rewriter verify . --all-configs --hash
  opensora-rewriter verify configs/opensora-v1-2/inference/sample.py --level build --python ~/envs/opensora/bin/python
"""


@click.command("verify", epilog=EPILOG)
@common.shared(output=True)
@click.option(
    "--level",
    type=click.Choice(["resolve", "cache", "load", "build"]),
    default="cache",
    show_default=True,
    help="How far to go.",
)
@click.option("--python", metavar="EXE", help="Interpreter of the Open-Sora environment.")
@click.option("--hash", "hashing", is_flag=True, help="Hash every blob and compare it with its name.")
@click.option("--lock", "lock_path", metavar="FILE", help="Say what changed since this lock was written.")
def command(chosen: common.Chosen, level: str, python: str | None, hashing: bool, lock_path: str | None) -> None:
    """Prove that the weights which the configs ask for lie in the cache and load, offline.

    Where no cache_dir reaches a loader, the cache of the environment is looked at (HF_HUB_CACHE, HF_HOME, or the
    default), and said so. Nothing is downloaded and nothing is written to a cache.
    """
    from rewriter.verify import reaches

    run = _Verify(chosen, python, level)
    run.resolve()
    if reaches(level, "cache"):
        run.cache(hashing, lock_path)
    if reaches(level, "load"):
        run.load()
    if reaches(level, "build"):
        run.build()
    run.end()


class _Verify:
    """One run of ``verify``: each level adds lines and findings."""

    def __init__(self, chosen: common.Chosen, python: str | None, level: str) -> None:
        from rewriter import tracing, verify

        self.chosen = chosen
        self.python = python
        self.level = level
        self.cwd = os.getcwd()
        self.quiet = chosen.quiet or (chosen.output_format != "full" and chosen.output_file is None)
        self.selection = chosen.select()
        loaders = chosen.loaders()
        self.traced, problems = tracing.trace_configs(self.selection.targets, loaders, chosen.traced)
        self.findings: list[Finding] = [*self.selection.findings, *problems, *loaders.problems()]
        self.wanted = verify.wanted(self.traced, os.environ)
        self.broken: set[tuple[str, str]] = set()

    def say(self, line: str) -> None:
        """A line of the usual text."""
        if not self.quiet:
            from rewriter.report import printable

            click.echo(printable(line))

    def resolve(self) -> None:
        """Level resolve; alone, it also looks at the cache directories, as the later levels do of themselves."""
        from rewriter import verify
        from rewriter.resolve import ResolveError

        alone = self.level == "resolve"
        broken = {finding.path for finding in self.findings if finding.code == "OSR900"}
        targets = [target for target in self.selection.targets if target.path not in broken]
        try:
            found, note = verify.resolve_level(targets, self.python, required=alone)
        except ResolveError as error:
            common.fail(str(error), "pip install 'opensora-rewriter[resolve]', or name one that has it with --python")
        self.findings += found
        self.say(f"resolve  {note}" if note else f"resolve  {len(targets) - len(found)} of {len(targets)} configs load")
        if alone:
            self.findings += verify.directories(self.wanted.needs)
            for place in dict.fromkeys(need.cache_dir for need in self.wanted.needs):
                self.say(f"resolve  cache directory {place}")

    def cache(self, hashing: bool, lock_path: str | None) -> None:
        """Level cache, and the comparison with a lock."""
        from rewriter import verify
        from rewriter.cli.progress import bar

        for finding in self.wanted.findings:
            # what only running tells is proved by level build, and by no level before it
            told = finding.code == "OSR007" and self.level == "build"
            self.findings.append(replace(finding, severity="warning") if told else finding)
        if self.wanted.environment is not None:
            directory, variable = self.wanted.environment
            origin = "the default" if variable == "default" else f"from {variable}"
            self.say(f"cache    where no cache_dir reaches the loader: {directory} ({origin})")
        lock = common.read_lock(lock_path) if lock_path is not None else None
        with bar("hashing", quiet=self.quiet) as progress:
            report = verify.cache_level(self.wanted.needs, hash=hashing, progress=progress,
                                        known=lock.known() if lock is not None else None)  # fmt: skip
        self.findings += report.findings
        self.broken = {(found.need.repo_id, found.need.cache_dir) for found in report.inspected if not found.sound}
        for line in _repo_lines(report.inspected, hashing):
            self.say(line)
        if not self.wanted.needs:
            self.say("cache    no selected component loads from the Hub")
        if lock is not None and lock_path is not None:
            from rewriter.lock import compare_lock

            path = os.path.abspath(lock_path)
            self.findings += compare_lock(lock, report, lock_path=path, root=self._root(), partial=self._partial())

    def _partial(self) -> bool:
        """Whether configs or components may have been left out that the lock knows."""
        settings = self.chosen.settings
        return not settings.all_configs or bool(settings.components or settings.include or settings.exclude)

    def _root(self) -> str | None:
        roots = {target.root for target in self.selection.targets}
        return roots.pop() if len(roots) == 1 else None

    def _directory(self, cache_dir: str | None) -> str | None:
        """The cache that a call reads."""
        if cache_dir is None and self.wanted.environment is not None:
            return self.wanted.environment[0]
        return cache_dir

    def load(self) -> None:
        """Level load."""
        from rewriter.cli.progress import counter
        from rewriter.weights import load_level, load_task

        roots = {component.path: component.root or "" for component in self.traced}
        tasks = [
            load_task(row.call, row.cache_dir, root=roots[row.path], type_name=row.type, component=row.component,
                      path=row.path, line=row.line)
            for row in self.wanted.rows if (row.call.repo_id, self._directory(row.cache_dir)) not in self.broken
        ]  # fmt: skip
        for repo_id, _ in sorted(self.broken):
            self.say(f"load     not tried: {repo_id}, which the cache does not hold whole")
        known = [task for task in tasks if task is not None]
        distinct = len({task.identity for task in known})
        with counter("loading", distinct, quiet=self.quiet) as tick:
            report = load_level(known, python=self.python, on_result=lambda _result: tick(),
                                use_environment_cache=self.wanted.environment is not None)  # fmt: skip
        self.findings += report.findings
        seen = set()
        for result in report.results:
            if result.task.identity not in seen:
                seen.add(result.task.identity)
                self.say(_load_line(result))

    def build(self) -> None:
        """Level build."""
        from rewriter.cli.progress import counter
        from rewriter.report import shown
        from rewriter.weights import BuildTask, build_level

        tasks: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for component in self.traced:
            if len(component.component.keys) > 1:
                continue  # a part of the component around it
            if component.root is None:
                place = f"{shown(component.path, self.cwd)} {component.component.name}"
                self.say(f"build    not tried: {place}, which lies in no checkout")
                continue
            slot = tasks.setdefault((component.root, component.path), [])
            slot.append((component.component.name, component.component.span.line))
        made = [
            BuildTask(root, path, tuple(name for name, _ in parts), tuple(line for _, line in parts))
            for (root, path), parts in tasks.items()
        ]
        with counter("building", sum(len(task.components) for task in made), quiet=self.quiet) as tick:
            report = build_level(made, python=self.python, on_result=lambda _result: tick(),
                                 use_environment_cache=self.wanted.environment is not None)  # fmt: skip
        self.findings += report.findings

        for result in report.results:
            if not result.same_as or self.chosen.verbose:
                state = f"built, {result.parameters:,} parameters" if result.ok else f"failed: {result.exception}"
                self.say(f"build    {shown(result.task.config, self.cwd)} {result.component}: {state} "
                         f"({result.seconds:.1f} s)")  # fmt: skip

    def end(self) -> None:
        """Tell the findings and the verdict, and end with its exit code."""
        from rewriter import report

        findings = report.ordered(self.chosen.kept(self.findings))
        errors = sum(finding.severity == "error" for finding in findings)
        if not self._formatted(findings, common.FOUND if errors else 0):
            for line in report.full(findings, self.cwd):
                click.echo(line)
            verdict = "everything asked for is there" if not errors else f"{report.counted(errors, 'error')} found"
            if self.level == "resolve" and not errors:
                verdict = "they resolve; no repo was looked at"
            self.say(f"verify   level {self.level}: {report.counted(len(self.selection.targets), 'config')}, "
                     f"{report.counted(len({n.repo_id for n in self.wanted.needs}), 'repo')}: {verdict}")  # fmt: skip
        if errors:
            raise SystemExit(common.FOUND)

    def _formatted(self, findings: Sequence[Finding], code: int) -> bool:
        if self.chosen.output_format == "full" and self.chosen.output_file is None:
            return False
        from rewriter import __version__
        from rewriter.formats import Report, repository

        told = Report("verify", __version__, self.cwd, repository(self.cwd), tuple(findings),
                      files=len(self.selection.targets), unchanged=len(self.selection.targets),
                      exit_code=code)  # fmt: skip
        return self.chosen.emit(told)


def _repo_lines(inspected: Sequence[Any], hashing: bool) -> list[str]:
    """One line a repo and cache: whole or not, its commit, files and size."""
    groups: dict[tuple[str, str, str | None], list[Any]] = {}
    for found in inspected:
        groups.setdefault((found.need.repo_id, found.need.cache_dir, found.commit), []).append(found)
    lines = []
    for (repo_id, cache_dir, commit), group in groups.items():
        files = {file.path: file for found in group for file in found.files}
        size = sum(file.size for file in files.values())
        if all(found.sound for found in group):
            verified = sum(file.verified for file in files.values())
            hashed = f", {verified} hashed" if hashing else ""
            lines.append(f"cache    ok: {repo_id} at {(commit or '')[:12]} in {cache_dir}: "
                         f"{len(files)} files, {human(size)}{hashed}")  # fmt: skip
        else:
            state = "not whole" if commit is not None else "not found"
            lines.append(f"cache    {state}: {repo_id} in {cache_dir}")
    return lines


def _load_line(result: Any) -> str:
    task = result.task
    name = f"{task.repo_id}{'/' + task.subfolder if task.subfolder else ''} ({task.class_name or task.kind})"
    notes = "".join(f"; {note}" for note in result.notes)
    if result.status == "failed":
        return f"load     failed: {name}{notes}"
    checked = ", ".join(result.checked) or "nothing could be compared"
    return f"load     {result.status}: {name}: {checked}{notes} ({result.seconds:.1f} s)"


def human(size: int) -> str:
    """Bytes in decimal units, as the Hub shows them.

    >>> [human(size) for size in (999, 41_234_567_890, 1_500_000_000_000)]
    ['999 B', '41.2 GB', '1.5 TB']
    """
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
