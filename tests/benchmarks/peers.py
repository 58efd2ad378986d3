"""The smallest rule that does this project's job, for each tool that could be used instead, and how each is called."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

HUB = "/models/hf/hub"

_AST_GREP = f"""\
id: cache-dir
language: python
severity: error
message: no cache_dir
rule:
  pattern: $NAME = dict($$$ARGS)
  not: {{has: {{kind: keyword_argument, stopBy: end, has: {{field: name, regex: ^cache_dir$}}}}}}
constraints:
  NAME: {{regex: ^(text_encoder|vae)$}}
fix: $NAME = dict($$$ARGS, cache_dir="{HUB}")
"""

_SEMGREP = f"""\
rules:
  - id: cache-dir
    languages: [python]
    severity: ERROR
    message: no cache_dir
    patterns:
      - pattern: $NAME = dict(..., type=$T, ...)
      - pattern-not: $NAME = dict(..., cache_dir=$D, ...)
      - metavariable-regex: {{metavariable: $NAME, regex: ^(text_encoder|vae)$}}
    fix: $NAME = dict(type=$T, cache_dir="{HUB}")
"""

_FIXIT_RULE = f"""\
import libcst as cst
from fixit import LintRule


class CacheDir(LintRule):
    MESSAGE = "no cache_dir"

    def visit_Assign(self, node: cst.Assign) -> None:
        target, call = node.targets[0].target, node.value
        if not (isinstance(target, cst.Name) and target.value in ("text_encoder", "vae")):
            return
        if not (isinstance(call, cst.Call) and isinstance(call.func, cst.Name) and call.func.value == "dict"):
            return
        if any(arg.keyword and arg.keyword.value == "cache_dir" for arg in call.args):
            return
        new = cst.Arg(cst.parse_expression({f'"{HUB}"'!r}), keyword=cst.Name("cache_dir"))
        self.report(node, replacement=node.with_changes(value=call.with_changes(args=[*call.args, new])))
"""
_FIXIT_SETTINGS = '[tool.fixit]\nroot = true\nenable = [".bench_rule"]\ndisable = ["fixit.rules"]\n'

_TRANSFORMER = f"""\
class CacheDir({{base}}):
    def leave_Assign(self, original_node, updated_node):
        target, call = updated_node.targets[0].target, updated_node.value
        if not (isinstance(target, cst.Name) and target.value in ("text_encoder", "vae")):
            return updated_node
        if not (isinstance(call, cst.Call) and isinstance(call.func, cst.Name) and call.func.value == "dict"):
            return updated_node
        if any(arg.keyword and arg.keyword.value == "cache_dir" for arg in call.args):
            return updated_node
        new = cst.Arg(cst.parse_expression({f'"{HUB}"'!r}), keyword=cst.Name("cache_dir"))
        return updated_node.with_changes(value=call.with_changes(args=[*call.args, new]))
"""
_CODEMOD = "import libcst as cst\nfrom libcst.codemod import VisitorBasedCodemodCommand\n\n\n" + _TRANSFORMER.format(
    base="VisitorBasedCodemodCommand"
)
_SCRIPT = (
    "import pathlib, sys\nimport libcst as cst\n\n\n"
    + _TRANSFORMER.format(base="cst.CSTTransformer")
    + """

for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.py")):
    old = path.read_bytes()
    new = cst.parse_module(old).visit(CacheDir()).bytes
    if new != old and sys.argv[2] == "write":
        path.write_bytes(new)
"""
)

Command = Callable[[Path], list[str]]
"""The argument vector for a tree: a checkout root."""


def available(work: Path, python: str, peers: str) -> dict[str, tuple[Command, Command]]:
    """``{name: (check, rewrite)}`` of the peers that are there; their rules are written into ``work``.

    ``python`` has libcst. ``peers``: a folder with console scripts that is looked into before PATH ("": PATH alone).
    """
    found: dict[str, tuple[Command, Command]] = {}
    write(work / "script.py", _SCRIPT)
    found["a plain libcst script"] = (
        lambda tree: [python, str(work / "script.py"), str(tree / "configs"), "look"],
        lambda tree: [python, str(work / "script.py"), str(tree / "configs"), "write"],
    )
    write(work / "bench_codemods" / "cache_dir.py", _CODEMOD)
    write(work / "bench_codemods" / "__init__.py", "")
    codemod = [python, "-m", "libcst.tool", "codemod", "--no-format", "-x", "bench_codemods.cache_dir.CacheDir"]
    if importlib.util.find_spec("yaml") is not None or python != sys.executable:
        found["libcst.tool codemod"] = (
            lambda tree: [*codemod, "--unified-diff", "3", str(tree / "configs")],
            lambda tree: [*codemod, str(tree / "configs")],
        )
    grep = _which("ast-grep", peers)
    if grep:
        write(work / "cache-dir.yml", _AST_GREP)
        scan = [grep, "scan", "--rule", str(work / "cache-dir.yml"), "--no-ignore", "vcs"]
        found["ast-grep"] = (
            lambda tree: [*scan, str(tree / "configs")],
            lambda tree: [*scan, "--update-all", str(tree / "configs")],
        )
    semgrep = _which("semgrep", peers)
    if semgrep:
        write(work / "semgrep.yml", _SEMGREP)
        search = [semgrep, "scan", "--config", str(work / "semgrep.yml"), "--metrics=off", "--disable-version-check",
                  "--no-git-ignore", "--quiet"]  # fmt: skip
        found["semgrep"] = (
            lambda tree: [*search, str(tree / "configs")],
            lambda tree: [*search, "--autofix", str(tree / "configs")],
        )
    fixit = _which("fixit", peers)
    if fixit:
        found["Fixit"] = (
            lambda tree: [fixit, "--quiet", "lint", str(tree / "configs")],
            lambda tree: [fixit, "--quiet", "fix", "--automatic", str(tree / "configs")],
        )
    return found


def prepare(tree: Path) -> None:
    """Put beside the configs what Fixit and libcst.tool look for there."""
    write(tree / "configs" / "pyproject.toml", _FIXIT_SETTINGS)
    write(tree / "configs" / "bench_rule.py", _FIXIT_RULE)
    write(tree / ".libcst.codemod.yaml", "modules: ['bench_codemods']\nrepo_root: '.'\n")


def write(path: Path, text: str) -> None:
    """Write a text file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _which(name: str, folder: str) -> str | None:
    found = (shutil.which(name, path=folder) if folder else None) or shutil.which(name)
    return os.path.abspath(found) if found else None
