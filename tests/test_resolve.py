"""mmengine in its child process: what it resolves, what it must not see, and what a hostile config cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from rewriter import resolve as module
from rewriter.prove import Prover
from rewriter.resolve import (
    MISSING,
    Child,
    Interpreter,
    Job,
    Resolved,
    ResolveError,
    differences,
    find_interpreter,
    resolve,
)
from rewriter.resolve_child import prefer_memory

OURS = Interpreter(sys.executable, "this one")
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX processes")


@pytest.fixture(autouse=True)
def _mmengine() -> None:
    pytest.importorskip("mmengine")


def put(root: Path, name: str, text: str) -> str:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return str(path)


def load(root: Path, *texts: str, overlay: Mapping[str, bytes] | None = None, timeout: float = 60.0) -> list[Resolved]:
    jobs = [Job(put(root, f"configs/c{index}.py", text), str(root)) for index, text in enumerate(texts)]
    return resolve(OURS, jobs, overlay=overlay, timeout=timeout)


# --- what is resolved ----------------------------------------------------------------------------


def test_the_file_on_disk_and_the_new_bytes_are_both_loaded(tmp_path: Path) -> None:
    path = put(tmp_path, "configs/a.py", "vae = dict(type='V', from_pretrained='o/n')\n")
    new = b"vae = dict(type='V', from_pretrained='o/n', cache_dir='/m')\r\n"
    old, resolved = resolve(OURS, [Job(path, str(tmp_path)), Job(path, str(tmp_path), new)], overlay={path: new})
    assert old == Resolved(True, {"vae": {"type": "V", "from_pretrained": "o/n"}})
    assert differences(old.value, resolved.value) == [(("vae", "cache_dir"), MISSING, "/m")]
    assert Path(path).read_bytes().startswith(b"vae = dict(type='V', from_pretrained='o/n')")


def test_an_edited_base_reaches_the_configs_built_on_it(tmp_path: Path) -> None:
    base = put(tmp_path, "configs/base/vae.py", "vae = dict(type='V')\n")
    path = put(tmp_path, "configs/train/a.py", "_base_ = ['../base/vae.py']\nmodel = dict(type='M')\n")
    new_base = b"vae = dict(type='V', cache_dir='/m')\n"
    same = Path(path).read_bytes()
    old, new = resolve(OURS, [Job(path, str(tmp_path)), Job(path, str(tmp_path), same)], overlay={base: new_base})
    assert differences(old.value, new.value) == [(("vae", "cache_dir"), MISSING, "/m")]


def test_bytes_of_a_file_that_does_not_exist_are_loaded_beside_their_base(tmp_path: Path) -> None:
    put(tmp_path, "configs/base.py", "a = 1\n")
    job = Job(str(tmp_path / "configs/new.py"), str(tmp_path), b"_base_ = './base.py'\nb = 2\n")
    assert resolve(OURS, [job]) == [Resolved(True, {"a": 1, "b": 2})]


def test_relative_files_are_looked_up_in_the_checkout_root(tmp_path: Path) -> None:
    put(tmp_path, "prompts.txt", "a cat")
    assert load(tmp_path, "prompt = open('prompts.txt').read()\n") == [Resolved(True, {"prompt": "a cat"})]


def test_two_checkouts_of_one_run_do_not_share_packages(tmp_path: Path) -> None:
    jobs = []
    for name in ("one", "two"):
        put(tmp_path, f"{name}/opensora/__init__.py", f"NAME = {name!r}\n")
        path = put(tmp_path, f"{name}/configs/a.py", "from opensora import NAME as name\n")
        jobs.append(Job(path, str(tmp_path / name)))
    assert [answer.value for answer in resolve(OURS, jobs)] == [{"name": "one"}, {"name": "two"}]


def test_a_config_that_imports_the_library_loads(tmp_path: Path) -> None:
    (answer,) = load(tmp_path, "import os\nfrom pathlib import Path\nx = os.path.join('a', 'b')\np = Path('a')\n")
    assert answer.ok
    assert isinstance(answer.value, dict)
    assert answer.value["x"] == os.path.join("a", "b")


def test_custom_imports_are_not_followed(tmp_path: Path) -> None:
    assert load(tmp_path, "custom_imports = dict(imports=['no_such_package'])\n")[0].ok


ALIKE = {
    "(1, 2)": "[1, 2]",
    "1": "True",
    "2": "2.0",
    "{1: 2}": "{'1': 2}",
    "{1, 2}": "[1, 2]",
    "b'a'": "'a'",
    "float('nan')": "'nan'",
    "float('inf')": "float('-inf')",
    "10 ** 5000": "10 ** 5000 + 1",
    "int": "float",
    "dict(f=len)": "dict(f=max)",
    "dict(a={'$tuple': [1]})": "dict(a=(1,))",
    "None": "'None'",
}


def test_values_of_other_types_are_told_apart_and_equal_ones_are_not(tmp_path: Path) -> None:
    def text(values: Iterable[str]) -> str:
        return "".join(f"x{index} = {value}\n" for index, value in enumerate(values))

    first, again, second = load(tmp_path, text(ALIKE), text(ALIKE), text(ALIKE.values()))
    assert first.ok, first.error
    assert second.ok, second.error
    assert differences(first.value, again.value) == []
    found = {path[0] for path, _, _ in differences(first.value, second.value)}
    assert found == {f"x{index}" for index in range(len(ALIKE))}


def test_an_object_is_the_same_in_two_loads(tmp_path: Path) -> None:
    text = (
        "class A:\n    pass\nx = [A(), A, lambda: 1]\n"
        "class B:\n    def __repr__(self): raise ValueError\ny = dict(b=B())\n"
    )
    one, two = load(tmp_path, text, text)
    assert one.ok, one.error
    assert differences(one.value, two.value) == []


def test_random_values_are_the_same_in_two_loads(tmp_path: Path) -> None:
    one, two = load(tmp_path, *["import random\nx = random.random()\n"] * 2)
    assert one.value == two.value


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        ("a = 1\nb = c\n", "NameError: name 'c' is not defined", 2),
        ("a = 1\n\nb = (\n", "SyntaxError: '(' was never closed", 3),
        ("x = dict(\n    a=1,\n    a=2,\n)\n", "SyntaxError: keyword argument repeated: a", 3),
        ("import sys\nsys.exit(3)\n", "the config ended the program (exit code 3)", 2),
        ("import os\nx = os.environ['NO_SUCH_NAME']\n", "KeyError: 'NO_SUCH_NAME'", 2),
        ("raise ValueError('a\\nb\\x1b[31m')\n", "ValueError: a b?[31m", 1),
    ],
)
def test_a_config_that_fails_is_told_with_its_line(tmp_path: Path, text: str, error: str, line: int) -> None:
    (answer,) = load(tmp_path, text)
    assert (answer.ok, answer.error, answer.line) == (False, error, line) or (
        sys.version_info[:2] != (3, 11) and answer.error.startswith("SyntaxError")
    )


def test_an_error_in_a_base_names_the_base(tmp_path: Path) -> None:
    base = put(tmp_path, "configs/base.py", "x = 1\ny = z\n")
    (answer,) = load(tmp_path, "_base_ = 'base.py'\n")
    assert answer.error == f"NameError: name 'z' is not defined ({base}, line 2)"
    assert answer.line is None


def test_bytes_that_are_not_utf8_are_one_configs_error(tmp_path: Path) -> None:
    path = put(tmp_path, "configs/a.py", "x = 1\n")
    bad, good = resolve(OURS, [Job(path, str(tmp_path), b"x = '\xff'\n"), Job(path, str(tmp_path), b"x = 2\n")])
    assert (bad.ok, good.value) == (False, {"x": 2})


@posix
def test_a_checkout_that_is_gone_is_its_configs_error(tmp_path: Path) -> None:
    path, gone = put(tmp_path, "configs/a.py", "x = 1\n"), tmp_path / "gone"
    first, second = resolve(OURS, [Job(path, str(gone)), Job(path, str(tmp_path))])
    assert first == Resolved(False, error=f"FileNotFoundError: [Errno 2] No such file or directory: '{gone}'")
    assert second == Resolved(True, {"x": 1})


def test_a_config_too_large_to_compare_is_told_and_one_too_deep_is_cut(tmp_path: Path) -> None:
    large, deep = load(tmp_path, "x = 'a' * (65 << 20)\n", "x = 1\nfor _ in range(150):\n    x = [x]\n")
    assert large == Resolved(False, error="the config resolves to more than 64 MB")
    value, depth = deep.value, 0
    assert isinstance(value, dict)
    value = value["x"]
    while isinstance(value, list):
        (value,), depth = value, depth + 1
    assert (value, depth) == ({"$deep": "list"}, 100)


def test_a_config_that_kills_the_process_costs_itself_only(tmp_path: Path) -> None:
    answers = load(
        tmp_path, "x = 0\n", "import os\nos._exit(7)\n", "x = 2\n", "import os\nos.kill(os.getpid(), 9)\n", "x = 4\n"
    )
    assert [answer.value for answer in answers] == [{"x": 0}, None, {"x": 2}, None, {"x": 4}]
    assert answers[1].error == "the config ended the process that loads it (exit code 7)"
    assert answers[3].error == "the config ended the process that loads it (signal 9)"


def test_a_config_that_never_ends_is_stopped_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFIG_SECONDS", 1.0)
    answers = load(tmp_path, "while True: pass\n", "x = 1\n")
    assert answers[0].error == "the config took too long and was stopped"
    assert answers[1].value == {"x": 1}


def test_the_run_ends_at_its_time_limit(tmp_path: Path) -> None:
    start = time.monotonic()
    answers = load(tmp_path, "x = 1\n", "import time\ntime.sleep(60)\n", "x = 3\n", timeout=4.0)
    assert time.monotonic() - start < 10
    assert [answer.ok for answer in answers] == [True, False, False]
    assert [answer.tried for answer in answers] == [True, True, False]
    assert answers[2].error == "the time limit of 4 s for all configs was reached"


@posix
def test_what_a_config_started_ends_with_the_run(tmp_path: Path) -> None:
    late = tmp_path / "late"
    text = f"import subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 1; touch {late}'])\n"
    assert load(tmp_path, text)[0].ok
    time.sleep(1.5)
    assert not late.exists()


@posix
def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_run(tmp_path: Path) -> None:
    text = "import os, time\nif os.fork():\n    os._exit(1)\nos.setsid()\ntime.sleep(8)\nos._exit(0)\n"
    start = time.monotonic()
    answers = load(tmp_path, text, "x = 1\n")
    assert [answer.ok for answer in answers] == [False, True]
    assert time.monotonic() - start < 7


def test_what_a_config_prints_is_no_answer(tmp_path: Path) -> None:
    forged = (
        "import os, sys\n"
        "for fd in range(0, 3):\n"
        '    try: os.write(fd, b\'{"index": 0, "value": {}}\\n\' * 1000)\n'
        "    except OSError: pass\n"
        "print('{\"end\": true}'); sys.stdout.flush()\nx = 1\n"
    )
    assert [answer.value for answer in load(tmp_path, forged, "x = 2\n")] == [{"fd": 2, "x": 1}, {"x": 2}]


def test_lines_without_the_secret_word_are_passed_over(tmp_path: Path) -> None:
    write = "    try: os.write(d, b'{\"end\": true}\\n')\n    except OSError: pass\n"
    text = f"import os\nfor d in range(3, 64):\n{write}x = 1\n"
    (answer,) = load(tmp_path, text)
    assert answer.ok, answer.error


def test_secrets_of_the_environment_do_not_reach_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_DATA"):
        monkeypatch.setenv(name, "secret")
    seen, asked = load(tmp_path, "import os\nx = dict(os.environ)\n", "import os\nx = os.environ['MY_DATA']\n")
    assert isinstance(seen.value, dict)
    assert "secret" not in seen.value["x"].values()
    assert seen.value["x"]["HF_HUB_OFFLINE"] == "1"
    assert asked.error == "KeyError: 'MY_DATA' (an environment variable that is not handed to configs here)"


def test_one_config_does_not_change_the_world_of_the_next(tmp_path: Path) -> None:
    first = "import os, sys\nos.environ['HF_HUB_OFFLINE'] = '0'\nos.chdir('/')\nsys.path.clear()\n"
    second = "import os, colorsys\nx = (os.environ['HF_HUB_OFFLINE'], os.getcwd())\n"
    assert load(tmp_path, first, second)[1].value == {"x": {"$tuple": ["1", os.path.realpath(tmp_path)]}}


def test_modules_of_the_checkout_do_not_hide_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "random", "types", "mmengine"):
        put(tmp_path, f"{name}.py", "raise RuntimeError('hidden')\n")
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path, "x = 1\n")[0].value == {"x": 1}


def test_loading_leaves_no_trace_in_the_checkout(tmp_path: Path) -> None:
    put(tmp_path, "opensora/__init__.py", "x = 1\n")
    path = put(tmp_path, "configs/a.py", "from opensora import x\n")
    before = sorted(tmp_path.rglob("*"))
    assert resolve(OURS, [Job(path, str(tmp_path)), Job(path, str(tmp_path), b"y = 1\n")])[0].ok
    assert sorted(tmp_path.rglob("*")) == before


def test_copies_of_configs_are_made_in_memory_unless_a_folder_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "import tempfile\nx = tempfile.gettempdir()\n"
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert load(tmp_path, where)[0].value == {"x": str(tmp_path)}
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    prefer_memory(str(tmp_path / "absent"))
    assert tempfile.tempdir is None
    monkeypatch.setattr("rewriter.resolve_child.ROOM", 1 << 62)
    prefer_memory(str(tmp_path))
    assert tempfile.tempdir is None
    monkeypatch.setattr("rewriter.resolve_child.ROOM", 1)
    prefer_memory(str(tmp_path))
    assert tempfile.tempdir == str(tmp_path)


def test_no_configs_start_no_process() -> None:
    assert resolve(Interpreter("/no/such/python", "--python"), []) == []


# --- a config that spoils its process ------------------------------------------------------------

SPOILS = {
    "mmengine": "import mmengine.config as c; c.Config.fromfile = None; del c\n",
    "modules": "import sys; sys.path.clear(); sys.modules.clear(); del sys\n",
    "files": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); del resource\n",
    "answers": "import json; json.dumps = None; del json\n",
    "exits": "import threading, os; threading.Timer(0.05, os._exit, (7,)).start(); del os, threading\n",
    "hangs": "import mmengine.config as c, time; c.Config.fromfile = lambda *a, **k: time.sleep(99); del c, time\n",
}


@posix
@pytest.mark.parametrize("forks", [True, False])
@pytest.mark.parametrize("spoils", SPOILS.values(), ids=SPOILS)
def test_a_config_that_spoils_its_process_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoils: str, forks: bool
) -> None:
    monkeypatch.setattr(module, "can_fork", lambda: forks)
    monkeypatch.setattr(module, "CONFIG_SECONDS", 3.0)
    waits = "import time; time.sleep(0.1); del time\n" if "Timer" in spoils else ""
    jobs = []
    for number, text in enumerate([f"{spoils}x = 0\n", f"{waits}x = 1\n", "x = 2\n", "y = x\n"]):
        path = put(tmp_path, f"c{number}.py", text)
        jobs += [Job(path, str(tmp_path)), Job(path, str(tmp_path), f"{text}z = 1\n".encode())]
    answers = resolve(OURS, jobs)
    if "setrlimit" in spoils:
        assert not answers[0].ok
    elif "dumps" in spoils:
        assert answers[:2] == [Resolved(False, error="the config ended the process that loads it (exit code 1)")] * 2
    else:
        assert [answer.value for answer in answers[:2]] == [{"x": 0}, {"x": 0, "z": 1}]
    assert [answer.value for answer in answers[2:6]] == [{"x": 1}, {"x": 1, "z": 1}, {"x": 2}, {"x": 2, "z": 1}]
    assert [answer.error for answer in answers[6:]] == ["NameError: name 'x' is not defined"] * 2


@posix
def test_a_process_that_ends_between_two_configs_is_no_config_that_ended_it(tmp_path: Path) -> None:
    """The process ends as it puts the next config in its place, after it has answered for this one."""
    ends = "import os, json\nreal = json.dumps\njson.dumps = lambda a: os._exit(7) if 'start' in a else real(a)\n"
    answers = load(tmp_path, ends, "x = 1\n")
    assert [answer.ok for answer in answers] == [True, True]
    assert answers[1].value == {"x": 1}


@posix
def test_where_no_process_can_be_forked_each_is_loaded_in_another_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = "def fork(): raise BlockingIOError(11, 'no more processes')\nos.fork = fork\n"
    monkeypatch.setattr(module, "_START", module._START.replace("exec(", f"exec({fails!r}); exec("))
    answers = load(tmp_path, SPOILS["mmengine"], "x = 1\n", "x = 2\n")
    assert [answer.value for answer in answers] == [{}, {"x": 1}, {"x": 2}]


# --- the interpreter -----------------------------------------------------------------------------


def fake_python(path: Path, script: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return str(path)


@posix
def test_the_active_environment_comes_before_our_own_and_only_with_mmengine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_it = fake_python(tmp_path / "with/bin/python", "exit 0\n")
    fake_python(tmp_path / "without/bin/python", "exit 3\n")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "without"))
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "with"))
    assert find_interpreter() == Interpreter(with_it, "conda environment")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "with"))
    assert find_interpreter() == Interpreter(with_it, "active virtual environment")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "gone"))
    monkeypatch.delenv("CONDA_PREFIX")
    assert find_interpreter() == OURS
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert find_interpreter() == Interpreter(sys.executable, "active virtual environment")


@posix
def test_an_interpreter_asked_for_must_have_mmengine(tmp_path: Path) -> None:
    assert find_interpreter(sys.executable) == Interpreter(sys.executable, "--python")
    with pytest.raises(ResolveError, match="mmengine is not installed there; install it"):
        find_interpreter(fake_python(tmp_path / "bare", "exit 3\n"))
    with pytest.raises(ResolveError, match="does not run as a Python"):
        find_interpreter(fake_python(tmp_path / "other", "exit 1\n"))
    with pytest.raises(ResolveError, match="no such program"):
        find_interpreter(str(tmp_path / "missing"))
    no_program = tmp_path / "no program"
    no_program.write_bytes(b"\0")
    no_program.chmod(0o755)
    with pytest.raises(ResolveError, match="does not run as a Python"):
        find_interpreter(str(no_program))


@posix
def test_none_has_mmengine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setattr(sys, "executable", "")
    assert find_interpreter() is None


@posix
@pytest.mark.parametrize("script", ["exit 1\n", "read greeting; read request; echo nonsense\n"])
def test_an_interpreter_that_does_not_load_mmengine_is_named(tmp_path: Path, script: str) -> None:
    executable = fake_python(tmp_path / "python", script)
    with pytest.raises(ResolveError, match="could not load mmengine"):
        resolve(Interpreter(executable, "--python"), [Job("/x.py", None)])


def test_a_broken_mmengine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "broken/mmengine/__init__.py", "raise ImportError('libGL.so.1')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with pytest.raises(ResolveError, match=r"ImportError: libGL\.so\.1"):
        load(tmp_path, "x = 1\n")


def test_an_mmengine_that_reads_by_other_means_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "import os\nclass Config(dict):\n    @classmethod\n    def fromfile(cls, *a, **k): return cls(x=1)\n"
    put(tmp_path, "other/mmengine/__init__.py", "")
    put(tmp_path, "other/mmengine/config.py", other)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    path = put(tmp_path, "configs/a.py", "x = 1\n")
    (answer,) = resolve(OURS, [Job(path, str(tmp_path), b"x = 1\n")])
    assert "nothing is proven" in answer.error


@posix
def test_an_interpreter_that_cannot_be_started_is_named() -> None:
    with pytest.raises(ResolveError, match=r"^/no/such/python cannot be started: No such file or directory$"):
        resolve(Interpreter("/no/such/python", "--python"), [Job("/x.py", None)])


ANSWERS = """#!{}
import json, sys
word = json.loads(sys.stdin.readline())["word"]
job = json.loads(sys.stdin.readline())["jobs"][0][0]["index"]
def send(text, process="0000", more="."): print(word + process + more + text, flush=True)
send('{{"index": 0, "value": "before it started"}}')
send('{{"start": 0}}')
send('{{"index": 1, "value": "of another"}}')
send('not json')
send('["not", "an", "object"]')
print('{{"index": 0, "value": "without the word"}}')
send('{{"index": 0, "value": "of another process"}}', process="0001")
send('{{"index": 0, "value": "of no process"}}', process="ZERO")
send('{{"ended": 7, "signal": 0, "code": 1}}')
send('{{"index": 0, "value": ', more="+")
send('"the ', more="+")
send('right one"}}')
send('{{"end": true}}')
"""


@posix
def test_answers_that_nobody_asked_for_are_passed_over(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(ANSWERS.format(sys.executable))
    python.chmod(0o755)
    assert resolve(Interpreter(str(python), "--python"), [Job("/x.py", None)]) == [Resolved(True, "the right one")]


@posix
def test_a_config_that_closes_the_pipe_and_goes_on_costs_itself_only(tmp_path: Path) -> None:
    closes = "import os, time\nos.closerange(3, 256)\ntime.sleep(60)\n"
    start = time.monotonic()
    answers = load(tmp_path, closes, "x = 1\n")
    assert time.monotonic() - start < 15
    assert answers == [
        Resolved(False, error="the config ended the process that loads it (its answers were closed)"),
        Resolved(True, {"x": 1}),
    ]


# --- comparing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, [(("a", 1, "b"), 2, 3)]),
        ({"a": {"$tuple": [1, 2]}}, {"a": {"$tuple": [1, 3]}}, [(("a", 1), 2, 3)]),
        ({"a": {"$tuple": [1]}}, {"a": [1]}, [(("a",), {"$tuple": [1]}, [1])]),
        ({"a": [1]}, {"a": [1, 2]}, [(("a",), [1], [1, 2])]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": None}, {}, [(("a",), None, MISSING)]),
        ({"a": 1}, {"a": True}, [(("a",), 1, True)]),
        (1, 1.0, [((), 1, 1.0)]),
    ],
)
def test_differences_name_the_path_and_both_values(old: object, new: object, expected: object) -> None:
    assert differences(old, new) == expected


# --- processes that are ready before they are asked ----------------------------------------------


@posix
@pytest.mark.parametrize("ready", [True, False])
def test_processes_share_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: bool) -> None:
    monkeypatch.setattr(module, "A_PROCESS", 2)
    jobs = []
    for number in range(7):
        ends = {0: "import os; os._exit(3)\n", 3: "import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n"}
        text = f"{ends.get(number, '')}import os\nx = {number}\ny = {'z' * 9000!r}\nprocess = os.getpid()\ndel os\n"
        jobs += [Job(put(tmp_path, f"x{number}.py", text), str(tmp_path)) for _ in range(2)]
    child = Child(OURS) if ready else None
    answers = resolve(OURS, jobs, ready=child, processes=3)
    for number in range(7):
        for answer in answers[2 * number : 2 * number + 2]:
            if number in (0, 3):
                status = "signal 15" if number else "exit code 3"
                assert answer == Resolved(False, error=f"the config ended the process that loads it ({status})")
            else:
                assert isinstance(answer.value, dict)
                assert (answer.value["x"], answer.value["y"]) == (number, "z" * 9000)
    used = {answer.value["process"] for answer in answers if isinstance(answer.value, dict)}
    assert len(used) > 3  # of the first child, and of those that took what the ended ones left
    assert child is None or child._process.poll() is not None


@posix
def test_a_process_that_never_ends_is_stopped_and_the_others_are_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "A_PROCESS", 2)
    monkeypatch.setattr(module, "CONFIG_SECONDS", 2.0)
    texts = ["x = 0\n", "x = 1\n", "while True: pass\n", "x = 3\n", "import time; time.sleep(1.2)\nx = 4\ndel time\n"]
    jobs = [Job(put(tmp_path, f"x{n}.py", text), str(tmp_path)) for n, text in enumerate(texts)]
    answers = resolve(OURS, jobs, processes=3)
    assert [answer.value for answer in answers] == [{"x": 0}, {"x": 1}, None, {"x": 3}, {"x": 4}]
    assert answers[2].error == "the config took too long and was stopped"


@posix
def test_configs_that_never_end_are_stopped_once_and_take_no_time_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "A_PROCESS", 4)
    monkeypatch.setattr(module, "CONFIG_SECONDS", 1.0)
    jobs = []
    for number in range(12):
        text = {0: "while True: pass\n", 5: "import os; os._exit(0)\n", 6: "import time; time.sleep(99)\n"}
        path = put(tmp_path, f"x{number}.py", text.get(number, f"x = {number}\n"))
        jobs += [Job(path, str(tmp_path)), Job(path, str(tmp_path), b"y = 1\n")]
    start = time.monotonic()
    answers = resolve(OURS, jobs, processes=3)
    assert time.monotonic() - start < 15
    assert [answer.ok for answer in answers[1::2]] == [number not in (0, 6) for number in range(12)]
    wrong = {number: answer.error for number, answer in enumerate(answers[::2]) if not answer.ok}
    assert wrong == {
        0: "the config took too long and was stopped",
        5: "the config ended the process that loads it (exit code 0)",
        6: "the config took too long and was stopped",
    }


@posix
def test_a_copy_that_a_config_makes_of_its_process_sends_no_answer(tmp_path: Path) -> None:
    large = f"import os\nos.fork()\nx = {'y' * 3_000_000!r}\nos.wait\ndel os\n"
    answers = load(tmp_path, large, "x = 2\n")
    assert [answer.ok for answer in answers] == [True, True]
    assert answers[1].value == {"x": 2}


@posix
def test_where_no_process_can_be_forked_one_loads_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "A_PROCESS", 2)
    fails = "def fork(): raise BlockingIOError(11, 'no more processes')\nos.fork = fork\n"
    monkeypatch.setattr(module, "_START", module._START.replace("exec(", f"exec({fails!r}); exec("))
    jobs = [Job(put(tmp_path, f"x{n}.py", f"x = {n}\n"), str(tmp_path)) for n in range(9)]
    assert resolve(OURS, jobs, processes=3) == [Resolved(True, {"x": n}) for n in range(9)]


@posix
def test_a_config_that_collects_our_processes_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "A_PROCESS", 2)
    waits = "import os\ntry:\n    while True: os.wait()\nexcept OSError: pass\ndel os\n"
    texts = [f"{waits}x = 0\n", "x = 1\n", "x = 2\n", "x = 3\n"]
    jobs = [Job(put(tmp_path, f"x{n}.py", text), str(tmp_path)) for n, text in enumerate(texts)]
    assert [answer.value for answer in resolve(OURS, jobs, processes=2)] == [{"x": n} for n in range(4)]


def test_a_large_answer_takes_no_longer_than_its_size_asks_for(tmp_path: Path) -> None:
    start = time.monotonic()
    (answer,) = load(tmp_path, "x = 'y' * 40_000_000\n")
    assert answer.ok
    assert time.monotonic() - start < 15


@posix
def test_the_first_process_may_end_while_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "A_PROCESS", 2)
    slow = "import time; time.sleep(0.5)\ndel time\n"
    texts = ["import os; os._exit(7)\n", "x = 1\n", f"{slow}x = 2\n", f"{slow}x = 3\n"]
    jobs = [Job(put(tmp_path, f"x{n}.py", text), str(tmp_path)) for n, text in enumerate(texts)]
    answers = resolve(OURS, jobs, processes=2)
    assert [answer.value for answer in answers] == [None, {"x": 1}, {"x": 2}, {"x": 3}]
    assert answers[0].error == "the config ended the process that loads it (exit code 7)"


def test_more_processes_than_jobs_are_no_harm(tmp_path: Path) -> None:
    path = put(tmp_path, "x.py", "x = 1\n")
    child = Child(OURS)
    try:
        assert resolve(OURS, [], ready=child, processes=8) == []
        assert resolve(OURS, [Job(path, None)], ready=child, processes=8) == [Resolved(True, {"x": 1})]
    finally:
        child.kill()


def test_a_prover_that_has_nothing_to_ask_leaves_no_process_behind() -> None:
    with Prover("always", sys.executable) as prover:
        first = prover._ready
        assert first is not None
        assert first._process.poll() is None
    assert first._process.poll() is not None
    with suppress(KeyboardInterrupt), Prover("auto", None) as prover:
        second = prover._ready
        assert second is not None
        raise KeyboardInterrupt
    assert second._process.poll() is not None


@posix
def test_a_process_that_is_never_asked_ends_with_its_parent() -> None:
    code = "import os, sys; from rewriter.resolve import *; c = Child(find_interpreter(sys.executable)); " \
           "print(c._process.pid, flush=True); os._exit(0)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and alive(int(done.stdout)):
        time.sleep(0.05)
    assert not alive(int(done.stdout))


def alive(process: int) -> bool:
    """Whether a process runs still; one that waits to be collected by its parent does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
