"""Mutation testing by sample: change one thing in a module, run its tests, list the changes that no test noticed.

    make mutation                                   # MUTANTS=80 over configs, loaders, decide and edits
    python tests/mutation.py 40 rewriter/decide.py  # of one module

Works on a copy below a temporary folder; the same seed (``--seed``) gives the same sample.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = {
    "rewriter/configs.py": "test_configs test_decide test_edits_config",
    "rewriter/decide.py": "test_decide test_cli",
    "rewriter/edits/config.py": "test_edits_config test_proof",
    "rewriter/edits/keywords.py": "test_edits_config",
    "rewriter/edits/source.py": "test_edits_source test_thread",
    "rewriter/statements.py": "test_statements test_configs",
    "rewriter/thread.py": "test_thread test_edits_source",
    "rewriter/loaders/evaluate.py": "test_loaders test_thread test_builtin",
    "rewriter/loaders/index.py": "test_loaders test_thread",
    "rewriter/loaders/sources.py": "test_loaders test_thread",
    "rewriter/loaders/unit.py": "test_loaders test_thread",
    "rewriter/loaders/values.py": "test_loaders test_thread",
}
SECONDS = 240
COMPARE = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: the node number ``index`` of the module's tree, in the way ``kind``."""

    path: str
    index: int
    line: int
    kind: str
    before: str
    after: str


def mutants(path: str) -> Iterator[Mutant]:
    """Every change that can be made of one module."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    skipped = _not_code(tree)
    for index, node in enumerate(ast.walk(tree)):
        if index in skipped:
            continue
        for kind, new in changes(node):
            yield Mutant(path, index, getattr(node, "lineno", 0), kind, _short(node), _short(new))


def _not_code(tree: ast.Module) -> set[int]:
    """Annotations, docstrings and the parts of strings: nothing that runs."""
    out: set[int] = set()
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                out.update(id(each) for each in ast.walk(getattr(node, name)))
        if isinstance(node, ast.JoinedStr):
            out.update(id(each) for each in ast.walk(node))
    return {index for index, node in enumerate(ast.walk(tree)) if id(node) in out}


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The ways to change one node."""
    new = copy.deepcopy(node)
    if isinstance(new, ast.Compare) and type(new.ops[0]) in COMPARE:
        new.ops[0] = COMPARE[type(new.ops[0])]()
        yield "compare", new
    elif isinstance(new, ast.BoolOp):
        new.op = ast.Or() if isinstance(new.op, ast.And) else ast.And()
        yield "and/or", new
    elif isinstance(new, ast.UnaryOp) and isinstance(new.op, ast.Not):
        yield "not", new.operand
    elif isinstance(new, ast.Constant) and isinstance(new.value, bool):
        new.value = not new.value
        yield "bool", new
    elif isinstance(new, ast.Constant) and isinstance(new.value, int):
        new.value += 1
        yield "number", new
    elif isinstance(new, ast.If | ast.IfExp | ast.While):
        new.test = ast.UnaryOp(ast.Not(), new.test)
        yield "condition", new
    elif isinstance(new, ast.Return) and new.value is not None and not _is_none(new.value):
        new.value = ast.Constant(None)
        yield "return", new
    elif isinstance(new, ast.BinOp) and isinstance(new.op, ast.Add | ast.Sub):
        new.op = ast.Sub() if isinstance(new.op, ast.Add) else ast.Add()
        yield "plus/minus", new
    elif isinstance(new, ast.Continue):
        yield "continue", ast.Break()
    elif isinstance(new, ast.Break):
        yield "break", ast.Continue()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _short(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0]
    return text if len(text) <= 90 else text[:87] + "..."


def mutated(mutant: Mutant) -> str:
    """The module's source with the change made (comments and layout are lost, which nothing tests)."""
    tree = ast.parse((ROOT / mutant.path).read_text(encoding="utf-8"))
    target = list(ast.walk(tree))[mutant.index]
    new = dict(changes(target))[mutant.kind]
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(each is target for each in value):
                value[:] = [new if each is target else each for each in value]
    return ast.unparse(ast.fix_missing_locations(tree))


def survives(mutant: Mutant | None, path: str) -> bool:
    """Whether the tests of ``path`` pass with the change made (None: with none)."""
    with tempfile.TemporaryDirectory() as name:
        copy_to = Path(name)
        for folder in ("rewriter", "tests", "fixtures"):
            shutil.copytree(ROOT / folder, copy_to / folder, ignore=shutil.ignore_patterns("__pycache__", "benchmarks"))
        for file in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / file, copy_to / file)
        if mutant is not None:
            (copy_to / path).write_text(mutated(mutant), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not torch"]
        files = [f"tests/{name}.py" for name in TESTS[path].split()]
        environment = {**os.environ, "OPENSORA_REWRITER_FUZZ": "25", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [*command, *files], cwd=copy_to, env=environment, capture_output=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def main() -> int:
    """Print the survivors and the score; 1 where the tests fail without any change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=80)
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    every = [mutant for path in asked.modules for mutant in mutants(path)]
    sample = random.Random(asked.seed).sample(every, min(asked.count, len(every)))
    sample.sort(key=lambda mutant: (mutant.path, mutant.line))
    for path in sorted({mutant.path for mutant in sample}):
        if not survives(None, path):
            print(f"{path}: its tests fail without any change")
            return 1
    with ThreadPoolExecutor(asked.jobs) as pool:
        alive = [mutant for mutant, lives in zip(sample, pool.map(lambda m: survives(m, m.path), sample), strict=True)
                 if lives]  # fmt: skip
    for mutant in alive:
        print(f"survived {mutant.path}:{mutant.line}: {mutant.kind}: {mutant.before}  ->  {mutant.after}")
    killed = len(sample) - len(alive)
    print(f"{killed} of {len(sample)} mutants killed ({killed / len(sample):.0%}), drawn from {len(every)} "
          f"(seed {asked.seed})")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
