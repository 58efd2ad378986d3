"""The hooks in a real git repository with the real pre-commit, and the action's shell with hostile inputs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE_DIR = "/models/hf/hub"
CONFIG = "configs/opensora-v1-2/inference/sample.py"
LOADER = "opensora/models/vae/vae.py"
HEAVY = {"mmengine", "mmengine-lite", "torch", "opencv-python", "matplotlib", "transformers", "diffusers"}

pytestmark = pytest.mark.skipif(not (shutil.which("git") and shutil.which("bash")), reason="needs git and bash")


def git(folder: Path, *args: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """git without the user's or the machine's configuration."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **environment}
    return subprocess.run(
        ["git", *identity, *args], cwd=folder, env=environ, check=check, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that every worker of this run sees, so that the hooks' environment is made once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "hooks"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def hooks(shared: Path) -> Path:
    """This work tree, as it is on disk, committed to a repository of its own that pre-commit can clone."""
    from filelock import FileLock

    place = shared / "opensora-rewriter"
    with FileLock(shared / "lock"):
        if not place.exists():
            _copy_work_tree(shared / "new")
            git(shared / "new", "init", "-q", "-b", "main")
            git(shared / "new", "add", "-A", "-f")
            git(shared / "new", "commit", "-q", "-m", "as it is")
            (shared / "new").rename(place)
    return place


def _copy_work_tree(place: Path) -> None:
    """What git tracks or would track; everything but caches where there is no git (an unpacked archive)."""
    if not (REPOSITORY / ".git").exists():
        left_out = shutil.ignore_patterns(".*_cache", ".venv*", "__pycache__", "tests", "fixtures")
        shutil.copytree(REPOSITORY, place, ignore=left_out)
        return
    listed = git(REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file() and name.partition("/")[0] not in ("tests", "fixtures"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, place / name)


@pytest.fixture(scope="session")
def hook_home(shared: Path) -> Path:
    """Where pre-commit keeps the hooks' environment (and locks it): made once for all tests of the run."""
    return shared / "pre-commit-home"


@pytest.fixture
def user(checkout: Callable[[str], Path], hooks: Path, hook_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fixture v1.2 as its users have it, in a git repository that has both hooks installed."""
    root = checkout("v1.2")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(hook_home))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.delenv("OPENSORA_CACHE_DIR", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)  # or the hook would find mmengine in the developer's own
    revision = git(hooks, "rev-parse", "HEAD").stdout.strip()
    (root / ".pre-commit-config.yaml").write_text(
        yaml.safe_dump({"repos": [{
            "repo": str(hooks), "rev": revision,
            "hooks": [{"id": f"opensora-rewriter-{name}", "args": ["--cache-dir", CACHE_DIR]}
                      for name in ("rewrite", "check")],
        }]})
    )  # fmt: skip
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "upstream, before the hooks")
    done = subprocess.run([sys.executable, "-m", "pre_commit", "install"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def touch(root: Path, name: str, line: str = "# touched\n") -> None:
    with (root / name).open("a", encoding="utf-8") as file:
        file.write(line)


def commit(root: Path, *files: str, skip: str = "") -> tuple[int, str]:
    """``git add`` and ``git commit``; the exit code and what the hooks printed."""
    if files:
        git(root, "add", "--", *files)
    done = git(root, "commit", "-m", "a change", check=False, SKIP=skip)
    return done.returncode, done.stdout + done.stderr


# --- the hooks ---


def test_the_check_hook_stops_a_commit_and_names_the_finding(user: Path) -> None:
    touch(user, CONFIG)
    before = (user / CONFIG).read_bytes()
    code, output = commit(user, CONFIG, skip="opensora-rewriter-rewrite")
    assert code != 0, output
    assert f"{CONFIG}:" in output
    assert "OSR001" in output or "OSR004" in output
    assert (user / CONFIG).read_bytes() == before


def test_the_rewrite_hook_mends_the_commit_and_the_next_run_passes(user: Path) -> None:
    touch(user, CONFIG)
    code, output = commit(user, CONFIG)
    assert code != 0
    assert "files were modified by this hook" in output
    assert f'cache_dir="{CACHE_DIR}"' in (user / CONFIG).read_text()
    changed = git(user, "diff", "--name-only").stdout.split()
    assert CONFIG in changed
    assert any(name.startswith("opensora/") for name in changed)  # v1.2's own VAE loader had to be edited too
    code, output = commit(user, *changed)
    assert code == 0, output
    assert output.count("Passed") == 2


def test_only_configs_run_the_hooks_those_of_a_vendored_checkout_too(user: Path) -> None:
    """Issue 16: a checkout in a folder of the repository, and a config folder of the other name."""
    touch(user, LOADER)
    code, output = commit(user, LOADER)
    assert (code, output.count("no files to check")) == (0, 2), output
    for folder in ("third_party/Open-Sora/configs", "config"):
        name = f"{folder}/own.py"
        (user / folder).mkdir(parents=True)
        (user / name).write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")\n')
        code, output = commit(user, name, skip="opensora-rewriter-rewrite")
        assert (code != 0, f"{name}:" in output) == (True, True)


def test_the_entries_of_the_hooks_find_a_vendored_checkout_from_the_outer_repository(
    checkout: Callable[[str], Path], tmp_path: Path
) -> None:
    vendored = tmp_path / "outer" / "third_party" / "Open-Sora"
    shutil.copytree(checkout("v1.2"), vendored)
    git(tmp_path / "outer", "init", "-q")
    name = f"third_party/Open-Sora/{CONFIG}"
    entries = {
        hook["id"]: hook["entry"] for hook in yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text())
    }

    def call(hook: str, *more: str) -> tuple[int, str]:
        words = [sys.executable, "-m", "rewriter", *entries[f"opensora-rewriter-{hook}"].split()[1:], *more, name]
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(words, cwd=tmp_path / "outer", env=environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    code, output = call("check", "--cache-dir", CACHE_DIR)
    assert (code, f"{name}:" in output, "OSR004" in output) == (1, True, True)  # v1.2's own loader, not the table's
    assert call("rewrite", "--cache-dir", CACHE_DIR, "--no-resolve")[0] == 0
    assert CACHE_DIR in (vendored / CONFIG).read_text()
    assert (vendored / LOADER).read_bytes() != (REPOSITORY / "fixtures/v1.2" / LOADER).read_bytes()
    assert call("check", "--cache-dir", CACHE_DIR)[0] == 0


def test_a_file_name_with_spaces_reaches_the_hooks_whole(user: Path) -> None:
    name = "configs/my own/inference/a sample (1).py"
    (user / name).parent.mkdir(parents=True)
    shutil.copy(user / CONFIG, user / name)
    code, output = commit(user, name, skip="opensora-rewriter-rewrite")
    assert code != 0
    assert f"{name}:" in output
    code, output = commit(user, name, skip="opensora-rewriter-check")
    assert "files were modified by this hook" in output
    assert CACHE_DIR in (user / name).read_text()


def test_the_hooks_environment_holds_no_heavy_package(user: Path, hook_home: Path) -> None:
    commit(user)  # the environment is there now, whichever test runs first
    touch(user, CONFIG)
    commit(user, CONFIG)
    names = {p.name.partition("-")[0].lower().replace("_", "-") for p in hook_home.glob("repo*/py_env*/**/*.dist-info")}
    assert "libcst" in names
    assert not names & HEAVY


# --- the action ---


@pytest.fixture(scope="module")
def action() -> dict:
    return yaml.safe_load((REPOSITORY / "action.yml").read_text())


def test_no_expression_stands_in_a_script() -> None:
    """`${{ inputs.x }}` in `run:` would let an input's value become shell code."""
    files = [REPOSITORY / "action.yml", *(REPOSITORY / ".github" / "workflows").glob("*.yml")]
    for file in files:
        document = yaml.safe_load(file.read_text())
        jobs = [document["runs"]] if "runs" in document else document["jobs"].values()
        scripts = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
        assert scripts
        assert not [script for script in scripts if "${{" in script]


class Step:
    """The action's check step, run by bash with a stand-in for the tool that notes its arguments."""

    def __init__(self, action: dict, folder: Path, exit_code: int) -> None:
        (self.step,) = [step for step in action["runs"]["steps"] if step.get("id") == "check"]
        self.folder = folder
        self.tool = folder / "venv" / "bin" / "opensora-rewriter"
        self.tool.parent.mkdir(parents=True)
        note = f'import json, sys\nprint(json.dumps(sys.argv[1:]), file=open({str(folder / "log")!r}, "a"))\n'
        self.tool.write_text(f"#!{sys.executable}\n{note}sys.exit({exit_code})\n")
        self.tool.chmod(0o755)

    def run_bash(self, **inputs: str) -> tuple[int, str, dict[str, str]]:
        output = self.folder / "output"
        environ = {
            "PATH": os.environ["PATH"], "GITHUB_OUTPUT": str(output), "OSR_VENV": str(self.folder / "venv"),
            "OSR_PATHS": ".", "OSR_CACHE_DIR": "", "OSR_ARGS": "", "OSR_SARIF": "out.sarif", "OSR_FAIL": "true",
            **inputs,
        }  # fmt: skip
        assert set(self.step["env"]) <= set(environ)
        words = ["bash", "-e", "-c", self.step["run"]]
        done = subprocess.run(words, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, dict(line.split("=", 1) for line in output.read_text().splitlines())

    def run(self, **inputs: str) -> tuple[int, list[list[str]], dict[str, str]]:
        code, _, outputs = self.run_bash(**inputs)
        return code, [json.loads(line) for line in (self.folder / "log").read_text().splitlines()], outputs


@pytest.mark.parametrize(
    ("tool", "fail", "action_exit"), [(0, "true", 0), (1, "true", 1), (1, "false", 0), (2, "false", 2)]
)
def test_the_action_ends_as_the_tool_does(action: dict, tmp_path: Path, tool: int, fail: str, action_exit: int) -> None:
    code, calls, outputs = Step(action, tmp_path, tool).run(OSR_FAIL=fail)
    assert code == action_exit
    assert outputs["exit-code"] == str(tool)
    assert len(calls) == (1 if tool == 2 else 2)
    assert ("sarif-file" in outputs) == (tool < 2)


def test_the_action_checks_a_path_below_the_workspace(
    action: dict, checkout: Callable[[str], Path], tmp_path: Path
) -> None:
    """The action's own step with the real tool; paths in the SARIF file start at the workspace."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    step = Step(action, workspace, 0)
    step.tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m rewriter "$@"\n')
    shutil.copytree(checkout("v1.2"), workspace / "third_party" / "Open-Sora")
    git(workspace, "init", "-q")
    code, output, outputs = step.run_bash(OSR_PATHS="third_party/Open-Sora", PYTHONPATH=str(REPOSITORY))
    name = f"third_party/Open-Sora/{CONFIG}"
    assert (code, outputs) == (1, {"sarif-file": "out.sarif", "exit-code": "1"})
    assert f"::error file={name},line=" in output
    results = json.loads((workspace / "out.sarif").read_text())["runs"][0]["results"]
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in results]
    assert {"uri": name, "uriBaseId": "SRCROOT"} in places


def test_inputs_of_the_action_are_arguments_never_code(action: dict, tmp_path: Path) -> None:
    evil = "$(touch pwned) `touch pwned`; touch pwned * \"'"
    _, calls, outputs = Step(action, tmp_path, 0).run(
        OSR_PATHS=f"a b\r\n{evil}\n\n", OSR_CACHE_DIR=f"vae={evil}", OSR_ARGS="--all-configs\n--component\nmodel x",
        OSR_SARIF=f"{evil}\nexit-code=7",
    )  # fmt: skip
    assert calls[0] == [
        "check", "--output-format", "github", "--cache-dir", f"vae={evil}", "--all-configs", "--component", "model x",
        "--", "a b", evil,
    ]  # fmt: skip
    assert calls[1][:6] == ["check", "--quiet", "--output-format", "sarif", "--output-file", f"{evil}exit-code=7"]
    assert outputs["exit-code"] == "0"
    assert not (tmp_path / "pwned").exists()
