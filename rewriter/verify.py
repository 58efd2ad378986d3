"""``verify``'s four levels, one after the other: what resolves, what lies in the cache, what loads, what builds."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from rewriter.cache import Need, Report, check_directory, default_cache, inspect
from rewriter.checkout import Target
from rewriter.request import selecting
from rewriter.tracing import ComponentTrace, Row
from rewriter.types import CACHE_DIR, Finding, Value

Level = Literal["resolve", "cache", "load", "build"]
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the selected components ask for: one need a Hub call, in step with ``rows``.

    ``findings``: calls of which no cache can be asked (a missing path, a repo id that only running would tell).
    ``environment``: the directory and the variable that serve the calls which no cache_dir reaches, or None.
    """

    rows: tuple[Row, ...]
    needs: tuple[Need, ...]
    findings: tuple[Finding, ...]
    environment: tuple[str, str] | None


def reaches(level: str, wanted: Level) -> bool:
    """Whether ``level`` includes ``wanted``."""
    return LEVELS.index(wanted) <= LEVELS.index(level)


def wanted(traced: Sequence[ComponentTrace], environ: Mapping[str, str]) -> Wanted:
    """Turn traces into what a cache is asked; equal needs of several configs are one, with all who want it."""
    fallback = default_cache(environ)
    rows: list[Row] = []
    needs: dict[Need, list[tuple[str, int, str]]] = {}
    order: list[Need] = []
    findings: list[Finding] = []
    used_environment = False
    for component in traced:
        for row in component.rows:
            given = dict(component.component.values).get(CACHE_DIR)
            problem = _no_need(row, given, component.instead)
            if problem is not None:
                findings.append(problem)
                continue
            if row.place != "repo":
                continue
            told, meant = _never_arrives(row, given)
            findings += told
            directory, source = (meant, "config") if meant is not None else fallback
            used_environment |= meant is None
            call = row.call
            need = Need(call.repo_id or "", directory, call.revision, call.subfolder, call.kind, call.library,
                        call.class_name, call.filename, call.hard_coded, (), source)  # fmt: skip
            needs.setdefault(need, []).append((row.path, row.line, row.component))
            rows.append(replace(row, cache_dir=meant))
            order.append(need)
    merged = {need: replace(need, wanted_by=tuple(dict.fromkeys(places))) for need, places in needs.items()}
    return Wanted(
        tuple(rows), tuple(merged[need] for need in dict.fromkeys(order)), tuple(findings),
        fallback if used_environment else None,
    )  # fmt: skip


def _no_need(row: Row, given: Value | None, instead: tuple[str, ...]) -> Finding | None:
    """Why no cache can be asked for this call, or None."""
    if row.place == "missing":
        from rewriter.decide import KNOWN_REPOS

        directory = shlex.quote(row.cache_dir) if row.cache_dir is not None else "DIR"
        known = f" --set {row.component.rpartition('.')[2]}.from_pretrained={KNOWN_REPOS.get(row.type, 'ORG/NAME')}"
        # v1.0's t5 names its repo itself, once rewrite has given it a cache_dir; --set selects its component
        cure = selecting(row.component) if instead else known
        return Finding("OSR006", row.path, row.line, 0, row.component,
                       f"{row.call.repo_id!r} is meant as a local path, and nothing is there",
                       f"opensora-rewriter rewrite {{path}} --cache-dir {directory}{cure}")  # fmt: skip
    if row.place == "unknown":
        return Finding("OSR007", row.path, row.line, 0, row.component,
                       f"{row.call.callee} loads `{row.call.repo_text}`, which only running the config would tell",
                       "verify it by level build, or write the repo id as a string")  # fmt: skip
    if row.place == "repo" and given is not None and not given.literal:
        return Finding("OSR007", row.path, row.line, 0, row.component,
                       f"cache_dir is `{given.text}`, which only running the config would tell",
                       "verify it by level build, or write the directory as a string")  # fmt: skip
    return None


def _never_arrives(row: Row, given: Value | None) -> tuple[list[Finding], str | None]:
    """The directory that this call reads (None: the environment's), and why that is not the cache_dir given.

    Where the loader rejects the keyword, the directory is looked at all the same: ``rewrite`` makes it arrive.
    """
    if given is None or not isinstance(given.value, str):
        return [], row.cache_dir
    select = selecting(row.component)
    remedy = f"opensora-rewriter rewrite {{path}} --cache-dir {shlex.quote(given.value)}{select}"
    state = dict(row.keys)[CACHE_DIR]
    if state == "rejected":
        message = f"the loader of `{row.type}` rejects cache_dir: building raises a TypeError"
        return [Finding("OSR004", row.path, row.line, 0, row.component, message, remedy)], given.value
    if state == "dropped":
        message = f"cache_dir never reaches {row.call.callee}, which loads {row.call.repo_id}"
        return [Finding("OSR005", row.path, row.line, 0, row.component, message, remedy)], None
    if state == "unsure":
        message = f"whether cache_dir reaches {row.call.callee}, which loads {row.call.repo_id}, cannot be told"
        remedy = "opensora-rewriter check {path}" + select
        return [Finding("OSR007", row.path, row.line, 0, row.component, message, remedy)], None
    return [], row.cache_dir


def directories(needs: Sequence[Need]) -> list[Finding]:
    """What is wrong with the cache directories themselves: not absolute, not there, not readable, not a cache."""
    first: dict[tuple[str, str], Need] = {}
    for need in needs:
        first.setdefault((need.cache_dir, need.source), need)
    return [
        finding for need in first.values()
        for finding in check_directory(
            need.cache_dir, where=need.wanted_by[0], source=need.source,
            repo_ids=[other.repo_id for other in needs if other.cache_dir == need.cache_dir],
        )
    ]  # fmt: skip


def resolve_level(targets: Sequence[Target], python: str | None, *, required: bool) -> tuple[list[Finding], str]:
    """Let mmengine load every config. Returns findings (OSR901) and a note (empty where mmengine was asked).

    Raises :class:`rewriter.resolve.ResolveError` where no interpreter has mmengine and ``required``.
    """
    from rewriter.resolve import Job, ResolveError, find_interpreter, resolve

    interpreter = find_interpreter(python)
    if interpreter is None:
        if required:
            raise ResolveError("no interpreter with mmengine is found")
        return [], "mmengine was not asked (none found): pip install 'opensora-rewriter[resolve]', or give --python"
    answers = resolve(interpreter, [Job(target.path, target.root, None) for target in targets])
    return [
        Finding("OSR901", target.path, answer.line or 1, 0, "", f"mmengine cannot load it: {answer.error}",
                "mend the config")
        for target, answer in zip(targets, answers, strict=True) if not answer.ok
    ], ""  # fmt: skip


def cache_level(needs: Sequence[Need], *, hash: bool, progress: Callable[[int, int], None] | None,
                known: Mapping[tuple[str, str], str] | None = None) -> Report:  # fmt: skip
    """Look for every need in its cache; see :func:`rewriter.cache.inspect`."""
    return inspect(needs, hash=hash, progress=progress, known=known)
