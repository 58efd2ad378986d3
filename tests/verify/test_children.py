"""Children and the configs that they load with mmengine: what it resolves, and what a hostile config cannot do."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest
from answering import script

from rewriter.process import configs as module
from rewriter.process.configs import MISSING, ConfigTask, Resolved, find_differences, load_configs
from rewriter.process.interpreters import InterpreterError

OURS = sys.executable
PROBES = Path(module.__file__).parent / "probes"


@pytest.fixture(autouse=True)
def _mmengine() -> None:
    pytest.importorskip("mmengine")


def put(root: Path, name: str, text: str) -> str:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return str(path)


def load(root: Path, *texts: str) -> list[Resolved]:
    tasks = [ConfigTask(put(root, f"configs/c{index}.py", text), str(root)) for index, text in enumerate(texts)]
    return load_configs(OURS, tasks)


def test_probes_keep_to_python_3_8_and_at_the_top_to_the_standard_library() -> None:
    for probe in PROBES.glob("*.py"):
        tree = ast.parse(probe.read_text(), feature_version=(3, 8))
        names = {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
        names |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom) and not node.level}
        assert {name.split(".")[0] for name in names} <= {"__future__", *sys.stdlib_module_names}, probe


# --- what is resolved ----------------------------------------------------------------------------


def test_a_config_is_loaded_as_it_is_and_as_it_would_be_at_the_same_path(tmp_path: Path) -> None:
    path = put(tmp_path, "configs/a.py", "vae = dict(type='V', from_pretrained='o/n')\n")
    new = b"vae = dict(type='V', from_pretrained='o/n', cache_dir='/m')\r\n"
    old, resolved = load_configs(OURS, [ConfigTask(path, str(tmp_path)), ConfigTask(path, str(tmp_path), {path: new})])
    assert old == Resolved(True, {"vae": {"type": "V", "from_pretrained": "o/n"}})
    assert find_differences(old.value, resolved.value) == [(("vae", "cache_dir"), MISSING, "/m")]


def test_an_edited_base_reaches_the_configs_that_inherit_from_it(tmp_path: Path) -> None:
    base = put(tmp_path, "configs/base/vae.py", "vae = dict(type='V')\n")
    path = put(tmp_path, "configs/train/a.py", "_base_ = ['../base/vae.py']\nmodel = dict(type='M')\n")
    files = {base: b"vae = dict(type='V', cache_dir='/m')\n"}
    old, new = load_configs(OURS, [ConfigTask(path, str(tmp_path)), ConfigTask(path, str(tmp_path), files)])
    assert find_differences(old.value, new.value) == [(("vae", "cache_dir"), MISSING, "/m")]


def test_two_checkouts_of_one_run_do_not_share_packages(tmp_path: Path) -> None:
    tasks = []
    for name in ("one", "two"):
        put(tmp_path, f"{name}/opensora/__init__.py", f"NAME = {name!r}\n")
        path = put(tmp_path, f"{name}/configs/a.py", "from opensora import NAME as name\n")
        tasks.append(ConfigTask(path, str(tmp_path / name)))
    assert [answer.value for answer in load_configs(OURS, tasks)] == [{"name": "one"}, {"name": "two"}]


def test_a_config_that_upstreams_own_way_cannot_load_is_loaded_and_that_is_said(tmp_path: Path) -> None:
    """mmengine's lazy mode judges some modules of the standard library to be no builtin ones, and calls nothing."""
    text = "import os\nfrom opensora.name import NAME\nx = os.path.join('a', NAME)\n"
    put(tmp_path, "opensora/__init__.py", "")
    put(tmp_path, "opensora/name.py", "NAME = 'b'\n")
    plain, other = load(tmp_path, "custom_imports = dict(imports=['no_such_package'])\n", text)
    assert plain.plain_error == ""  # and custom imports are not followed
    assert isinstance(other.value, dict)
    assert other.value["x"] == os.path.join("a", "b")
    assert other.plain_error


ALIKE = {
    "(1, 2)": "[1, 2]", "1": "True", "2": "2.0", "{1: 2}": "{'1': 2}", "{1, 2}": "[1, 2]", "b'a'": "'a'",
    "float('inf')": "float('-inf')", "int": "float", "dict(f=len)": "dict(f=max)",
    "None": "'None'",
}  # fmt: skip


def test_values_of_other_types_are_kept_apart_and_equal_ones_are_not(tmp_path: Path) -> None:
    one, other = (
        "".join(f"x{index} = {value}\n" for index, value in enumerate(part)) for part in (ALIKE, ALIKE.values())
    )
    first, again, second = load(tmp_path, one, one, other)
    assert first.ok, first.error
    assert second.ok, second.error
    assert find_differences(first.value, again.value) == []
    found = {path[0] for path, _, _ in find_differences(first.value, second.value)}
    assert found == {f"x{index}" for index in range(len(ALIKE))}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, [(("a", 1, "b"), 2, 3)]),
        ({"a": {"$tuple": [1, 2]}}, {"a": {"$tuple": [1, 3]}}, [(("a", "$tuple", 1), 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [(("a",), [1], [1, 2])]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": None}, {}, [(("a",), None, MISSING)]),
        ({"a": 1}, {"a": True}, [(("a",), 1, True)]),
        (1, 1.0, [((), 1, 1.0)]),
    ],
)
def test_differences_name_the_path_and_both_values(old: object, new: object, expected: object) -> None:
    assert find_differences(old, new) == expected


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_config_that_ends_its_process_costs_itself_alone_whatever_was_sent_behind_it(tmp_path: Path) -> None:
    texts = [f"number = {number}  # {'x' * 2000}\n" for number in range(60)]
    texts[7] = texts[31] = "import os\nos._exit(3)\n"
    tasks = [ConfigTask(put(tmp_path, f"c{number}.py", ""), None) for number in range(60)]
    tasks = [each._replace(files={each.path: text.encode()}) for each, text in zip(tasks, texts, strict=True)]
    answers = load_configs(OURS, tasks)
    assert [number for number, each in enumerate(answers) if not each.ok] == [7, 31]
    assert [each.value for each in answers if each.ok] == [{"number": n} for n in range(60) if n not in (7, 31)]


def test_configs_and_answers_that_no_pipe_holds_are_loaded(tmp_path: Path) -> None:
    sizes = [1, 500_000, 500_000, 40_000, 1]
    texts = [f"words = {'x' * size!r}\n" for size in sizes]
    tasks = [ConfigTask(put(tmp_path, f"c{number}.py", ""), None) for number in range(len(sizes))]
    tasks = [each._replace(files={each.path: text.encode()}) for each, text in zip(tasks, texts, strict=True)]
    assert [each.value for each in load_configs(OURS, tasks)] == [{"words": "x" * size} for size in sizes]


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        ("a = 1\nb = c\n", "NameError: name 'c' is not defined", 2),
        ("a = 1\n\nb = (\n", "SyntaxError: '(' was never closed", 3),
        ("x = dict(\n    a=1,\n    a=2,\n)\n", "SyntaxError: keyword argument repeated: a", 3),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3", 2),
        ("raise ValueError('a\\nb\\x1b[31m')\n", "ValueError: a b\x1b[31m", 1),
    ],
)
def test_the_error_of_a_config_has_its_line(tmp_path: Path, text: str, error: str, line: int) -> None:
    (answer,) = load(tmp_path, text)
    assert (answer.ok, answer.error, answer.line) == (False, error, line) or (
        sys.version_info[:2] != (3, 11) and answer.error.startswith("SyntaxError")
    )


def test_an_error_in_a_base_names_the_base(tmp_path: Path) -> None:
    base = put(tmp_path, "configs/base.py", "x = 1\ny = z\n")
    expected = Resolved(False, error=f"NameError: name 'z' is not defined ({base}, line 2)")
    assert load(tmp_path, "_base_ = 'base.py'\n") == [expected]


def test_a_checkout_that_is_gone_is_its_configs_error(tmp_path: Path) -> None:
    path, gone = put(tmp_path, "configs/a.py", "x = 1\n"), tmp_path / "gone"
    first, second = load_configs(OURS, [ConfigTask(path, str(gone)), ConfigTask(path, str(tmp_path))])
    assert first == Resolved(False, error=f"FileNotFoundError: [Errno 2] No such file or directory: '{gone}'")
    assert second == Resolved(True, {"x": 1})


DEADLY = {
    "import os\nos._exit(7)\n": "the child process ended with status 7 before it answered",
    "import os\nos.kill(os.getpid(), 9)\n": "the child process was killed (signal 9), as the kernel does when memory",
    "while True: pass\n": "no answer within 3 s",
}


def test_a_config_that_kills_the_process_or_never_ends_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFIG_SECONDS", 3.0)
    answers = load(tmp_path, *(text for deadly in DEADLY for text in ("x = 0\n", deadly)), "x = 1\n")
    assert [answer.value for answer in answers] == [{"x": 0}, None] * len(DEADLY) + [{"x": 1}]
    for answer, error in zip(answers[1::2], DEADLY.values(), strict=True):
        assert answer.error.startswith(f"while it was loaded: {error}")


# --- what a config cannot do ----------------------------------------------------------------------


def test_what_a_config_prints_is_no_answer(tmp_path: Path) -> None:
    write = '    try: os.write(d, b\'{"result": 0, "value": {}}\\n{"end": true}\\n\' * 100)\n    except OSError: pass\n'
    text = f"import os\nfor d in [0, 1, 2, *range(3, 64)]:\n{write}print('{{\"end\": true}}', flush=True)\nx = 1\n"
    first, second = load(tmp_path, text, "x = 2\n")
    assert isinstance(first.value, dict)
    assert (first.value["x"], second.value) == (1, {"x": 2})


def test_secrets_of_the_environment_do_not_reach_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_DATA"):
        monkeypatch.setenv(name, "secret")
    all_of_it = "from os import environ\nx = dict(environ)\ndel environ\n"
    seen, wanted = load(tmp_path, all_of_it, "from os import environ\nx = environ['MY_DATA']\n")
    assert isinstance(seen.value, dict)
    assert "secret" not in seen.value["x"].values()
    assert seen.value["x"]["HF_HUB_OFFLINE"] == "1"
    assert wanted.error == "KeyError: 'MY_DATA'"


def test_loading_leaves_no_trace_in_the_checkout(tmp_path: Path) -> None:
    put(tmp_path, "opensora/__init__.py", "x = 1\n")
    path = put(tmp_path, "configs/a.py", "from opensora import x\n")
    before = sorted(tmp_path.rglob("*"))
    assert load_configs(OURS, [ConfigTask(path, str(tmp_path))])[0].ok
    assert sorted(tmp_path.rglob("*")) == before


# --- an interpreter that does not serve -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("exit 1\n", "the child process ended with status 1 before it answered"),
        ("echo nonsense\n", "ended with status 0"),
        ("", r"^/no/such/python cannot be started: No such file or directory"),
    ],
)
def test_an_interpreter_that_loads_nothing_is_named(tmp_path: Path, text: str, error: str) -> None:
    executable = script(tmp_path / "python", f"#!/bin/sh\n{text}") if text else "/no/such/python"
    with pytest.raises(InterpreterError, match=error) as raised:
        load_configs(executable, [ConfigTask("/x.py", None)])
    assert executable in str(raised.value)
    assert load_configs(executable, []) == []


def test_a_broken_mmengine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "broken/mmengine/__init__.py", "raise ImportError('libGL.so.1')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with pytest.raises(InterpreterError, match=r"ended with status 1 .*; its last output: ImportError: libGL\.so\.1"):
        load(tmp_path, "x = 1\n")
