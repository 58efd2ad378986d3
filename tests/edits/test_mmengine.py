"""mmengine loads each changed config before and after: what differs beyond the request is refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from proving import find_dicts

from rewriter.edit.loader import edit_config
from rewriter.edit.mmengine import MmengineError, Mode, Prover
from rewriter.model import ConfigChange, Decision, FileResult, Finding, Plan

pytest.importorskip("mmengine")

VAE = "vae = dict(type='AE', from_pretrained='o/n')\n"


def config(root: Path, name: str, text: str, *, write: bool = True, bases: tuple[str, ...] = ()) -> FileResult:
    """A config whose ``vae``, where it has one, is to get a ``cache_dir``."""
    path, old = root / "configs" / name, text.encode()
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(old)
    changes = [ConfigChange(each, "cache_dir", "/c") for each in find_dicts(old) if each.keys == ("vae",)]
    decisions = tuple(Decision(change.component, "set", "AE", changes=(change,)) for change in changes)
    paths = tuple(str(root / "configs" / base) for base in bases)
    return FileResult(str(path), str(root), decisions, old=old, new=edit_config(old, changes), bases=paths)


def drop(plan: Plan, refused: Mapping[str, Finding]) -> Plan:
    """What ``rewriter.decide.plan.drop`` does, but for the sources."""
    results = []
    for result in plan.results:
        why = next((refused[path] for path in (result.path, *result.bases) if path in refused), None)
        if why is not None:
            decisions = tuple(each._replace(outcome="cannot", changes=()) for each in result.decisions)
            result = result._replace(decisions=decisions, findings=(*result.findings, why), new=result.old)
        results.append(result)
    return plan._replace(results=tuple(results))


def prove(plan: Plan, mode: Mode, python: str | None, drop: Any = drop) -> Plan:
    with closing(Prover(mode, python, drop)) as prover:
        return prover.prove(plan)


def prove_all(*results: FileResult, mode: Mode = "always") -> dict[str, str]:
    """The message of each file that is refused, by its name; every other one keeps its edit."""
    plan = prove(Plan(results), mode, sys.executable)
    refused = {result.path: f"{each.code} {each.message}" for result in plan.results for each in result.findings}
    kept = {edit.path for edit in plan.config_edits}
    assert kept == {result.path for result in results if result.new != result.old and result.path not in refused}
    return {os.path.basename(path): message for path, message in refused.items()}


def test_what_resolves_as_requested_is_kept_and_the_checkout_is_not_touched(tmp_path: Path) -> None:
    base = config(tmp_path, "base.py", VAE)
    child = config(tmp_path, "a/child.py", "_base_ = '../base.py'\nvae = dict(a=1)\n", bases=("base.py",))
    inheriting = config(tmp_path, "inheriting.py", "_base_ = './base.py'\nseed = 1\n", bases=("base.py",))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.py")}
    assert prove_all(base, child, inheriting) == {}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_files_of_the_checkout_are_there_for_a_config(tmp_path: Path) -> None:
    """It reads a file beside it, imports the checkout's package, and inherits from a base that nobody selected."""
    (tmp_path / "opensora").mkdir()
    (tmp_path / "opensora" / "__init__.py").write_text("SIZE = 3\n")
    (tmp_path / "sizes.txt").write_text("7")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "other.py").write_text("lr = 0.1\n")
    text = f"from opensora import SIZE\n_base_ = 'other.py'\nsize = open('sizes.txt').read()\n{VAE}"
    assert prove_all(config(tmp_path, "a.py", text, bases=("other.py",))) == {}


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("import os; os._exit(3)", "while it was loaded: the child process ended with status 3 before it answered"),
        ("import os; os.kill(os.getpid(), 6)", "while it was loaded: the child process crashed (Aborted)"),
    ],
)
def test_a_config_that_mmengine_cannot_load_is_refused_alone(tmp_path: Path, end: str, why: str) -> None:
    ending = config(tmp_path, "ending.py", f"{VAE}{end}\n")
    names = [config(tmp_path, f"right{number}.py", VAE) for number in range(2)]
    message = f"OSR901 mmengine cannot load it as it is: {why}"
    assert prove_all(names[0], ending, names[1]) == {"ending.py": message}


def test_a_dict_that_is_used_elsewhere_contradicts(tmp_path: Path) -> None:
    """The reading would find this one; where it does not, mmengine does."""
    found = prove_all(config(tmp_path, "a.py", f"{VAE}keys = len(vae)\n"), config(tmp_path, "b.py", VAE))
    assert found == {"a.py": "OSR902 `keys` resolves to 3, it was 2"}


def test_with_a_contradiction_go_the_bases_that_it_inherits_from(tmp_path: Path) -> None:
    base = config(tmp_path, "base.py", VAE)
    text = "_base_ = './base.py'\nother = {{_base_.vae}}\nvae = dict(a=1)\n"
    child = config(tmp_path, "child.py", text, bases=("base.py",))
    other = config(tmp_path, "other.py", VAE)
    found = prove_all(base, child, other)
    assert found == {
        "base.py": "OSR902 child.py inherits from it: `other.cache_dir` resolves to '/c', it was nothing",
        "child.py": "OSR902 `other.cache_dir` resolves to '/c', it was nothing",
    }


def test_a_key_that_does_not_arrive_is_refused(tmp_path: Path) -> None:
    result = config(tmp_path, "a.py", f"{VAE}vae.pop('cache_dir', None)\n")
    assert prove_all(result) == {"a.py": "OSR902 `vae.cache_dir` did not arrive: it resolves to nothing"}


def test_in_the_branch_that_is_not_taken_nothing_has_to_arrive(tmp_path: Path) -> None:
    assert prove_all(config(tmp_path, "a.py", f"{VAE}if True:\n    vae = None\n")) == {}


def test_a_config_from_standard_input_lies_nowhere(tmp_path: Path) -> None:
    result = config(tmp_path, "stdin.py", VAE, write=False)
    (tmp_path / "configs").mkdir()
    assert prove_all(result, result._replace(path=str(tmp_path / "lone.py"), root=None)) == {}


def test_a_child_that_was_begun_is_the_one_that_loads_and_its_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr("rewriter.process.children.find_memory", lambda: str(memory))
    results = [config(tmp_path, "bad.py", f"import os; os._exit(3)\n{VAE}"), config(tmp_path, "b.py", VAE)]
    for ask in (True, False):
        with closing(Prover("always", sys.executable, drop)) as prover:
            prover.begin()
            prover.begin()
            assert len(list(memory.iterdir())) == 1
            plan = prover.prove(Plan(tuple(results))) if ask else Plan(())
        assert [result.path for result in plan.results if result.findings] == [results[0].path] * ask
        assert list(memory.iterdir()) == []


# --- without mmengine ----------------------------------------------------------------------------


def test_without_mmengine_it_is_a_note_or_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan((config(tmp_path, "a.py", VAE),))
    monkeypatch.setattr("rewriter.edit.mmengine.find_interpreter", lambda *_: None)
    assert prove(plan, "never", None) is plan
    (note,) = prove(plan, "auto", None).notes
    assert note.message.startswith("mmengine did not load the configs")
    with pytest.raises(MmengineError, match="no interpreter with mmengine is found") as caught:
        prove(plan, "always", None)
    assert "pip install" in caught.value.args[1]


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/false"])
def test_a_named_interpreter_that_cannot_serve_is_an_error(tmp_path: Path, python: str) -> None:
    with pytest.raises(MmengineError, match=python) as caught:
        prove(Plan((config(tmp_path, "a.py", VAE),)), "auto", python)
    assert "--python" in caught.value.args[1]


def test_where_nothing_changes_nothing_is_loaded(tmp_path: Path) -> None:
    plan = Plan((config(tmp_path, "a.py", "raise SystemExit\n"),))
    assert prove(plan, "always", "/no/such/python") is plan


def test_a_contradiction_that_stays_whatever_is_left_out_ends_the_run(tmp_path: Path) -> None:
    plan = Plan((config(tmp_path, "a.py", f"{VAE}keys = len(vae)\n"),))
    with pytest.raises(MmengineError, match=r"OSR902 .*a\.py"):
        prove(plan, "always", sys.executable, lambda plan, _: plan)
