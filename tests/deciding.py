"""Decisions and rewrites of small checkouts, with what holds of every rewrite asserted in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path

from loading import write_files, write_package

from rewriter.checkout import Selection, Target, find_root, select
from rewriter.decide import plan
from rewriter.decide.plan import Loaders, Planner
from rewriter.decide.request import Request
from rewriter.model import FileResult, Plan

CACHE = "/models/hf"
SAMPLE = "configs/inference/sample.py"
HEAD = """\
import os

from diffusers import AutoencoderKL
from huggingface_hub import hf_hub_download
from opensora.registry import MODELS, build_module
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

"""


def write_checkout(root: Path, loaders: str, configs: dict[str, str] | None = None, package: str = "opensora") -> Path:
    """A checkout with one file of loaders, ``HEAD`` before them, and configs by name below ``configs/``."""
    head = HEAD.replace("opensora.registry", f"{package}.registry")
    write_package(root, {"loaders.py": head + loaders}, package)
    return write_files(root, {f"configs/{name}": text for name, text in (configs or {}).items()})


def wanted(**changes: object) -> Request:
    """What ``rewrite --cache-dir /models/hf`` requests, with changes."""
    return Request(**{"cache_dir": CACHE, **changes})  # type: ignore[arg-type]


def checked(**changes: object) -> Request:
    """What ``check`` requests."""
    return Request(**{"cache_dir": CACHE, "checking": True, **changes})  # type: ignore[arg-type]


def decide(text: str, root: Path | None, request: Request) -> FileResult:
    """Decide about one config as if it lay in the checkout ``root`` (None: in none), without the rest of it."""
    path = str((root or Path("/nowhere")) / SAMPLE)
    target = Target(path, str(root) if root is not None else None, True)
    made = Planner([target], request, Loaders(), overlay={path: text.encode()}).decide_file(path)
    return made if request.checking else plan.edit_configs([made], 1)[0][0]


def choose(root: Path, *paths: str) -> Selection:
    """All configs of these paths (none: the root) of a checkout."""
    return select(paths, all_configs=True, cwd=str(root))


def check(root: Path, *paths: str, source: str | None = None, **changes: object) -> Plan:
    """What ``check --all-configs`` says."""
    return plan.check(choose(root, *paths).targets, checked(**changes), Loaders(source))


def plan_rewrite(root: Path, *paths: str, request: Request | None = None, source: str | None = None) -> Plan:
    """What ``rewrite --all-configs`` would do."""
    return plan.rewrite(choose(root, *paths).targets, request or wanted(), Loaders(source))


def rewrite(root: Path, *paths: str, request: Request | None = None) -> Plan:
    """Rewrite a checkout on disk, and assert what holds of every rewrite.

    Everything parses, only keywords, parameters and what a special case adds is new, a second run changes nothing, and
    ``check`` has no fault to find with what was set.
    """
    request = request or wanted()
    made = plan_rewrite(root, *paths, request=request)
    for edit in made.edits:
        assert Path(edit.path).read_bytes() == edit.old
        ast.parse(edit.new)
        Path(edit.path).write_bytes(edit.new)
    again = plan_rewrite(root, *paths, request=request)
    assert again.edits == (), "a second rewrite changes nothing"
    was_set = {(r.path, d.component.keys) for r in made.results for d in r.decisions if d.outcome == "set"}
    assert all(
        d.outcome in ("already", "not needed", "untouched")
        for r in again.results
        for d in r.decisions
        if (r.path, d.component.keys) in was_set
    ), "what was set is set"
    return made


def outcomes(found: Plan | FileResult) -> dict[str, str]:
    """Component, dotted -> outcome; of a plan over several files ``file:component``."""
    if isinstance(found, FileResult):
        return {decision.component.dotted: decision.outcome for decision in found.decisions}
    if len(found.results) == 1:
        return outcomes(found.results[0])
    return {
        f"{Path(result.path).stem}:{name}": outcome
        for result in found.results
        for name, outcome in outcomes(result).items()
    }


def codes(found: Plan | FileResult, severity: str | None = None) -> list[str]:
    """The codes of the findings, of one severity or all."""
    return [each.code for each in found.all_findings if severity in (None, each.severity)]


def messages(found: Plan | FileResult) -> str:
    """All messages, remedies and notes as one text."""
    notes: Sequence[object] = found.notes if isinstance(found, Plan) else ()
    lines: Iterable[str] = (f"{each.code} {each.message} -> {each.remedy}" for each in found.all_findings)
    return "\n".join([*lines, *(f"note: {note.message}" for note in notes)])  # type: ignore[attr-defined]


def repo_of(root: Path) -> str | None:
    """The checkout that is found around a folder."""
    return find_root(str(root))
