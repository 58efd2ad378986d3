"""The Python API: the command's jobs as functions that take and return plain values. Nothing is printed or written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from rewriter import checkout
from rewriter.decide import plan
from rewriter.decide.request import DEFAULT_COMPONENTS, Request, split_keyword
from rewriter.model import FileResult, Finding
from rewriter.report.text import fill_remedy, sort_findings
from rewriter.settings import Settings, with_cache_dirs

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Options(TypedDict, total=False):
    """Keywords that the functions share."""

    cache_dir: str | Mapping[str, str] | None  # of every component, or of each by name; else any absolute one will do
    components: Iterable[str]  # the names to look at, else text_encoder and vae
    local_files_only: bool  # that key is to be there, too
    opensora_source: str | None  # the checkout whose loaders are meant, if not the one around the config


class Rewritten(NamedTuple):
    """The new text, equal to the old one where nothing changed; why components were refused, and warnings."""

    source: str
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything requested holds: no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)


def check_source(source: str, filename: str = "config.py", **options: Unpack[Options]) -> tuple[Finding, ...]:
    """What ``check`` would find in a config at ``filename`` (not read), without ignore comments and settings files.

    >>> [finding.code for finding in check_source('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")')]
    ['OSR001']
    """
    return _order(_decide(source, filename, *_read_options(**options, checking=True)).all_findings)


def rewrite_source(
    source: str,
    filename: str = "config.py",
    *,
    sets: Mapping[str, object] | None = None,
    unsets: Iterable[str] = (),
    **options: Unpack[Options],
) -> Rewritten:
    """What ``opensora-rewriter rewrite --no-source --no-resolve`` would make of a config that lies at ``filename``.

    ``sets``: ``{"vae.from_pretrained": "ORG/NAME"}``, as ``--set``. ``unsets``: ``["vae.cache_dir"]``, as ``--unset``.
    ValueError: a name in them is not COMPONENT.KEY.

    >>> result = rewrite_source('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")', cache_dir="/models/hf")
    >>> result.source, result.ok
    ('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b", cache_dir="/models/hf")', True)
    """
    set_to = tuple((*split_keyword(name), value) for name, value in (sets or {}).items())
    more = {"sets": set_to, "unsets": tuple(map(split_keyword, unsets)), "edit_source": False}
    result = _decide(source, filename, *_read_options(**options, **more))
    assert result.new is not None  # no file was read that could have been unreadable
    return Rewritten(result.new.decode("utf-8", "surrogateescape"), _order(result.all_findings))


def check_paths(paths: Sequence[str], *, all_configs: bool = False, **options: Unpack[Options]) -> tuple[Finding, ...]:
    """What ``check PATH...`` would find, but OSR014, and as :func:`check_source`. Raises FileNotFoundError."""
    selection = checkout.select(paths, all_configs=all_configs, cwd=os.getcwd())
    found = plan.check(selection.targets, *_read_options(**options, checking=True))
    return _order((*selection.findings, *found.all_findings))


def needed_repos(
    paths: Sequence[str],
    *,
    all_configs: bool = False,
    components: Iterable[str] | None = None,
    opensora_source: str | None = None,
) -> tuple[str, ...]:
    """What ``trace PATH... --repos`` prints; ``components`` None: of every component. Raises FileNotFoundError."""
    from rewriter.verify.needs import list_repos, trace_components

    selection = checkout.select(paths, all_configs=all_configs, cwd=os.getcwd())
    traced = trace_components(selection.targets, plan.Loaders(opensora_source), components)
    return tuple(dict.fromkeys(each[0] for each in list_repos(traced)))


def _read_options(
    cache_dir: Any = None, components: Any = DEFAULT_COMPONENTS, opensora_source: str | None = None, **more: Any
) -> tuple[Request, plan.Loaders]:
    named = cache_dir.items() if isinstance(cache_dir, Mapping) else ()
    items = [cache_dir] if isinstance(cache_dir, str) else [f"{name}={path}" for name, path in named]
    given = with_cache_dirs(Settings(), items)
    return Request(tuple(components), False, given.cache_dir, given.cache_dirs, **more), plan.Loaders(opensora_source)


def _decide(source: str, filename: str, request: Request, loaders: plan.Loaders) -> FileResult:
    path = os.path.abspath(filename)
    target = checkout.Target(path, checkout.find_root(path), True)
    overlay = {path: source.encode("utf-8", "surrogateescape")}
    if request.checking:
        return plan.Planner([target], request, loaders, overlay=overlay).decide_file(path)
    return plan.rewrite([target], request, loaders, overlay=overlay).results[0]


def _order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """In order, once each, and with remedies that name their file."""
    return tuple(each._replace(remedy=fill_remedy([each], os.getcwd())) for each in sort_findings(findings))
