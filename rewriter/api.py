"""The Python API: the command's jobs as functions that take and return plain values. Nothing is printed or written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rewriter import checkout
from rewriter.decide import plan
from rewriter.decide.request import DEFAULT_COMPONENTS, Request
from rewriter.model import FileResult, Finding
from rewriter.report.text import fill_remedy, sort_findings
from rewriter.settings import make_absolute

CacheDir = str | Mapping[str, str] | None


class Rewritten(NamedTuple):
    """The new text, equal to the old one where nothing changed; why components were refused, and warnings."""

    source: str
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything requested holds: no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)


def check_source(
    source: str,
    filename: str = "config.py",
    *,
    cache_dir: CacheDir = None,
    components: Iterable[str] = DEFAULT_COMPONENTS,
    local_files_only: bool = False,
    opensora_source: str | None = None,
) -> tuple[Finding, ...]:
    """What ``opensora-rewriter check`` would find in one config, in the order of the file.

    ``filename``: where it lies or would lie (it need not exist); the checkout around it holds the loaders.
    ``cache_dir``: the directory that every component is to have, or one for each component by name, relative to the
    working directory; None: any absolute one will do. ``components``: the names to look at. ``local_files_only``:
    require that key too. ``opensora_source``: root of the checkout whose loaders are meant, if not the one around.

    >>> [finding.code for finding in check_source('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")')]
    ['OSR001']
    """
    request = _make_request(cache_dir, components, local_files_only, checking=True)
    return _order(_decide(source, filename, request, opensora_source).all_findings)


def rewrite_source(
    source: str,
    filename: str = "config.py",
    *,
    cache_dir: CacheDir = None,
    components: Iterable[str] = DEFAULT_COMPONENTS,
    local_files_only: bool = False,
    sets: Mapping[str, object] | None = None,
    unsets: Iterable[str] = (),
    opensora_source: str | None = None,
) -> Rewritten:
    """What ``opensora-rewriter rewrite --no-source --no-resolve`` would make of one config.

    ``sets``: ``{"vae.from_pretrained": "ORG/NAME"}``, as ``--set``. ``unsets``: ``["vae.cache_dir"]``, as ``--unset``.
    The others: as for :func:`check_source`. ValueError: a name in ``sets`` or ``unsets`` is not COMPONENT.KEY.

    >>> result = rewrite_source('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")', cache_dir="/models/hf")
    >>> result.source, result.ok
    ('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b", cache_dir="/models/hf")', True)
    """
    set_to = tuple((*_split_target(name), value) for name, value in (sets or {}).items())
    request = _make_request(
        cache_dir,
        components,
        local_files_only,
        edit_source=False,
        sets=set_to,
        unsets=tuple(map(_split_target, unsets)),
    )
    result = _decide(source, filename, request, opensora_source)
    assert result.new is not None  # no file was read that could have been unreadable
    return Rewritten(result.new.decode("utf-8", "surrogateescape"), _order(result.all_findings))


def check_paths(
    paths: Sequence[str],
    *,
    all_configs: bool = False,
    cache_dir: CacheDir = None,
    components: Iterable[str] = DEFAULT_COMPONENTS,
    local_files_only: bool = False,
    opensora_source: str | None = None,
) -> tuple[Finding, ...]:
    """What ``opensora-rewriter check PATH...`` would find; see :func:`check_source` for the arguments.

    Raises :class:`rewriter.checkout.NoSuchPath`.
    """
    selection = checkout.select(paths, all_configs=all_configs, cwd=os.getcwd())
    request = _make_request(cache_dir, components, local_files_only, checking=True)
    found = plan.check(selection.targets, request, plan.Loaders(opensora_source))
    return _order((*selection.findings, *found.all_findings))


def needed_repos(
    paths: Sequence[str],
    *,
    all_configs: bool = False,
    components: Iterable[str] | None = None,
    opensora_source: str | None = None,
) -> tuple[str, ...]:
    """The repo ids that the configs need from the Hub, sorted, as ``opensora-rewriter trace --repos`` prints them.

    ``components``: the names to trace; None: every component. Raises :class:`rewriter.checkout.NoSuchPath`.
    """
    from rewriter.verify.needs import list_repos, trace_components

    selection = checkout.select(paths, all_configs=all_configs, cwd=os.getcwd())
    traced = trace_components(selection.targets, plan.Loaders(opensora_source), components)[0]
    return tuple(dict.fromkeys(each[0] for each in list_repos(traced)))


def _make_request(cache_dir: CacheDir, components: Iterable[str], local_files_only: bool, **more: Any) -> Request:
    general = make_absolute(cache_dir, os.getcwd()) if isinstance(cache_dir, str) else None
    named = cache_dir.items() if isinstance(cache_dir, Mapping) else ()
    single = tuple((name, make_absolute(path, os.getcwd())) for name, path in named)
    return Request(tuple(components), False, general, single, local_files_only=local_files_only, **more)


def _decide(source: str, filename: str, request: Request, opensora_source: str | None) -> FileResult:
    path = os.path.abspath(filename)
    target = checkout.Target(path, checkout.find_root(path), True)
    overlay = {path: source.encode("utf-8", "surrogateescape")}
    loaders = plan.Loaders(opensora_source)
    if request.checking:
        return plan.Planner([target], request, loaders, overlay=overlay).decide_file(path)
    return plan.rewrite([target], request, loaders, overlay=overlay).results[0]


def _order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """In order, once each, and with remedies that name their file."""
    return tuple(each._replace(remedy=fill_remedy([each], os.getcwd())) for each in sort_findings(findings))


def _split_target(dotted: str) -> tuple[str, str]:
    name, _, key = dotted.rpartition(".")
    if not name or not key:
        raise ValueError(f"{dotted!r} is not COMPONENT.KEY")
    return name, key
