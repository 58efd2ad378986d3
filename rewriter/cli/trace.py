"""``opensora-rewriter trace``: from every component to every Hub call that it reaches."""

from __future__ import annotations

import itertools
import json
import os
import sysconfig
from collections.abc import Iterable, Iterator
from typing import Any

import click

from rewriter.cli.output import FOUND, print_lines
from rewriter.cli.run import Run, flag, scripts_option, shared
from rewriter.decide import plan as planning
from rewriter.decide.request import DEFAULT_COMPONENTS, Request
from rewriter.files import show_path
from rewriter.model import CACHE_DIR, Finding, Note, Plan, Value
from rewriter.process.interpreters import find_major, site_packages
from rewriter.verify import needs as needing
from rewriter.verify.directories import TRANSFORMERS_VARIABLES
from rewriter.words import counted, printable

_ROW = "{:<20} {:<9} {:<16} {}"
_SHOWN = ("callee", "library", "repo_id", "repo_text", "hard_coded", "subfolder", "revision", "filename", "certain")
_MARKS = {
    ("place", "local"): "a local path",
    ("place", "missing"): "a local path, missing",
    ("hard_coded", True): "only the source names it",
    ("certain", False): "on some branch",
}


def trace_run(run: Run, *, every: bool = False) -> tuple[list[needing.ComponentTrace], Plan]:
    """Trace the selected components, or, with ``every``, all where none is named; and what ``check`` says of them."""
    everything = run.all_components or (every and not run.settings.components)
    request = Request(run.settings.components or DEFAULT_COMPONENTS, everything, checking=True)
    traced = needing.trace_components(run.selection.targets, run.loaders, None if everything else request.components)
    plan = planning.check(run.selection.targets, request, run.loaders)
    run.findings += [each for each in plan.all_findings if each.code == "OSR900"]
    run.notes += plan.notes
    return traced, plan


def collect_needs(
    run: Run, python: str | None = None, choose: needing.Choose | None = None
) -> tuple[list[needing.ComponentTrace], list[needing.Need], Plan]:
    """Trace the selected components (``download``, which has a ``choose``: all), and collect what is needed of a cache.

    Of what ``check`` says that is added which leaves a repo unknown or missing and, but for ``download``, a
    ``cache_dir`` unread that the config gives.
    """
    traced, plan = trace_run(run, every=choose is not None)
    lost = {(finding.path, finding.component) for finding in plan.all_findings if finding.code == "OSR006"}
    codes: dict[tuple[str, str], list[str]] = {}
    for each in traced:
        place = each.path, each.component.dotted
        is_lost = any(row.place == "missing" for row in each.rows) and not (choose and each.after_rewrite)
        codes[place] = ["OSR006" if place in lost else "OSR004"] if is_lost else []
        if choose is None and isinstance(each.component.values.get(CACHE_DIR, Value.of(None)).value, str):
            codes[place] += ["OSR004", "OSR005"]
    for finding in plan.all_findings:
        if _is_undecided(finding):
            run.findings.append(finding)
        elif finding.code in codes.get((finding.path, finding.component), ()):
            run.findings.append(finding._replace(severity="error"))
    major = find_major(site_packages(python) or sysconfig.get_path("purelib"), "transformers") or 4
    unread = ("DIFFUSERS_CACHE", *(TRANSFORMERS_VARIABLES if major >= 5 else ()))
    words = "is set, but no library in use reads it: it has no effect"
    run.notes += [Note(f"{name} {words}") for name in unread if traced and name in os.environ]
    return traced, needing.collect_needs(traced, major, choose), plan


def _is_undecided(finding: Finding) -> bool:
    """Whether ``check`` does not know what a component reads; a path or a directory that is missing only warns."""
    return finding.code == "OSR007" or (finding.code, finding.severity) == ("OSR006", "error")


@click.command()
@shared(formats=("table", "json"))
@flag("--repos", help="Only the repo ids that are needed, one a line (-v: subfolder, revision).")
@scripts_option
def trace(run: Run, repos: bool, scripts: bool) -> None:
    """Show the path from each component's type to every Hub call that it reaches. Executes nothing.

    Every component of a config is traced (--component narrows it): text_encoder, vae, model, discriminator, t5 ...
    With --repos, exit code 1 says that some repo cannot be known.

    \b
    Examples:
      opensora-rewriter trace configs/opensora-v1-2/inference/sample.py
      opensora-rewriter trace . --repos --verbose
    """
    run.select(scripts=scripts)
    traced, plan = trace_run(run, every=True)
    components = [_describe(each, run.cwd) for each in traced]
    calls = [
        {"path": show_path(call.path, run.cwd), "line": call.span.line, "column": call.span.column + 1}
        | {"callee": call.callee, "reads": call.reads, "cache_dir": call.state, "editable": call.editable}
        for call in (run.find_script_calls() if scripts else [])
    ]
    lost = [r.place for c in traced for r in c.rows if r.place in ("missing", "unknown") and not c.after_rewrite]
    if repos:
        lines = []
        for repo_id, *names in needing.list_repos(traced):
            extra = [f" {key}={value}" for key, value in zip(("subfolder", "revision"), names, strict=True) if value]
            lines.append(repo_id + "".join(extra if run.verbose else []))
        print_lines(map(printable, dict.fromkeys(lines)))
        words = "on a path that is missing, or on a repo that is not known; without --repos they are shown"
        run.notes += [Note(f"{counted(len(lost), 'Hub call')} {words}")] * bool(lost)
    elif run.output_format == "json":
        document = {"schema_version": 1, "components": components, **({"scripts": calls} if scripts else {})}
        click.echo(json.dumps(document, indent=2))
    else:
        print_lines(map(printable, _format_tables(components, run.verbose)))
        for call in calls:
            known = f"{call['callee']} reads {call['reads']}, cache_dir {call['cache_dir']}"
            found = call["reads"] if call["cache_dir"] == "unreadable" else known
            click.echo(printable(f"{call['path']}:{call['line']}: {found}"))
    undecided = [each for each in plan.all_findings if _is_undecided(each)]
    failed = run.exit_code or (FOUND if repos and (undecided or "unknown" in lost) else 0)
    run.findings += undecided
    run.print_findings(err=True)
    raise SystemExit(failed)


def _describe(component: needing.ComponentTrace, cwd: str) -> dict[str, Any]:
    """A component as the JSON has it."""
    calls = []
    for call, place, keys in component.rows:
        shown = {name: getattr(call, name) for name in _SHOWN}
        where = {"path": show_path(call.path, cwd), "line": call.line, "column": call.column + 1, "place": place}
        chain = [{"function": s.function, "path": show_path(s.path, cwd), "line": s.node.lineno} for s in call.chain]
        calls.append({**shown, **where, **keys, "chain": chain})
    where = {"config": show_path(component.path, cwd), "line": component.component.span.line}
    names = {"component": component.component.dotted, "type": component.type}
    return {**where, **names, "calls": calls, "not_followed": list(component.unknown)}


def _format_tables(components: Iterable[dict[str, Any]], verbose: bool) -> Iterator[str]:
    """A table a config: a row a Hub call, and below it the path from the type to it."""
    for path, group in itertools.groupby(components, key=lambda each: each["config"]):
        yield from (path, _ROW.format("component", "cache_dir", "local_files_only", "repo"))
        for component in group:
            for call in component["calls"]:
                repo = [f"? {call['repo_text']}" if call["repo_id"] is None else call["repo_id"]]
                repo += [f"{name} {call[name]}" for name in ("subfolder", "revision", "filename") if call[name]]
                repo += [words for (name, value), words in _MARKS.items() if call[name] == value]
                yield _ROW.format(component["component"], call["cache_dir"], call["local_files_only"], ", ".join(repo))
                steps = [f"{step['function']}:{step['line']} -> " for step in call["chain"]]
                yield f"  {component['type']}: {''.join(steps)}{call['callee']}  {call['path']}:{call['line']}"
            for unknown in component["not_followed"] if verbose or not component["calls"] else ():
                yield f"{component['component']:<20} not followed: {unknown}"
