"""Odd files and hostile input: one finding each, nothing executed, nothing injected, nothing written elsewhere."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from click.testing import Result

Checkout = Callable[[str], Path]
Run = Callable[..., "Result"]

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files")

FOLDER = "configs/opensora-v1-2/inference"
SAMPLE = f"{FOLDER}/sample.py"
VAE = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")'
CACHE = ("--cache-dir", "/models/hf")


# --- odd files -------------------------------------------------------------------------------------

READ = {
    "one_long_line": f'{VAE}; x = "{"x" * 1_000_000}"\n'.encode(),
    "returns_only": f"a = 1\r{VAE}\rb = 2\r".encode(),
    "form_feeds": f"\x0c\na = 1\n\x0c{VAE}\n\x0c\n".encode(),
    "cookie": f"# coding: utf8\n{VAE}  # 模型\n".encode(),
    "no_final_newline": VAE.encode(),
}
NOT_READ = {
    "nul": VAE.encode() + b"\0\n",
    "not_utf8": b"x = '\xff'\n",
    "gbk_with_cookie": f"# coding: gbk\n{VAE}  # 模型\n".encode("gbk"),
    "gbk_without_cookie": f"{VAE}  # 模型\n".encode("gbk"),
    "bom": b"\xef\xbb\xbf" + VAE.encode(),
    "utf16": VAE.encode("utf-16"),
    "brackets": f"{VAE}\nx = {'[' * 5000}{']' * 5000}\n".encode(),
    "not_python": b"vae = dict(\n",
    "over_the_limit": b"#" * (20 * 1024 * 1024 + 1),
    "unknown_cookie": b"# coding: no-such-encoding\n",
    "two\nlines": b"vae = (\n",
    "\x1b[31mred": b"vae = (\n",
}


@posix
@pytest.mark.parametrize("command", ["check", "rewrite"])
def test_every_odd_file_is_one_finding_and_the_rest_goes_on(command: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    folder = root / FOLDER
    for name, data in {**READ, **NOT_READ}.items():
        (folder / f"{name}.py").write_bytes(data)
    (folder / "folder.py").mkdir()
    (folder / "dangling.py").symlink_to("nowhere.py")
    (folder / "loop.py").symlink_to("loop.py")
    os.mkfifo(folder / "fifo.py")
    words = ["--no-resolve"] if command == "rewrite" else []
    done = run(command, FOLDER, *CACHE, *words, "--output-format", "json", cwd=root)
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["path"], []).append(finding)
    for name in (*NOT_READ, "dangling", "loop", "fifo"):
        assert [finding["code"] for finding in found.pop(f"{FOLDER}/{name}.py")] == ["OSR900"], name
    assert not [finding for rest in found.values() for finding in rest if finding["code"] == "OSR900"]
    for name, data in READ.items():
        path = folder / f"{name}.py"
        new = data.replace(b'"a/b")', b'"a/b", cache_dir="/models/hf")')
        assert path.read_bytes() == (new if command == "rewrite" else data), name
    for name, data in NOT_READ.items():
        assert (folder / f"{name}.py").read_bytes() == data


@posix
@pytest.mark.parametrize("where", ["opensora/models/vae", "opensora/models/text_encoder"])
def test_odd_files_among_the_loaders_do_not_stop_the_run(where: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    folder = root / where
    for name, data in NOT_READ.items():
        (folder / f"{name}.py").write_bytes(data)
    (folder / "folder.py").mkdir()
    (folder / "loop.py").symlink_to("loop.py")
    os.mkfifo(folder / "fifo.py")
    done = run("rewrite", SAMPLE, *CACHE, "--no-resolve", cwd=root)
    assert done.exit_code == 0, done.output
    assert (root / SAMPLE).read_text().count('cache_dir="/models/hf"') == 2


@posix
@pytest.mark.parametrize("linked", ["opensora", "opensora/models/vae/vae.py"])
def test_a_loader_behind_a_link_out_of_the_checkout_is_not_written(
    linked: str, checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    root = checkout("v1.2")
    away = tmp_path / "elsewhere"
    (root / linked).rename(away)
    (root / linked).symlink_to(away)
    before = {path: path.read_bytes() for path in [away, *away.rglob("*")] if path.is_file()}
    done = run("rewrite", SAMPLE, *CACHE, "--no-resolve", cwd=root)
    assert done.exit_code == 1
    assert "out of the checkout" in " ".join(done.output.split())
    assert {path: path.read_bytes() for path in before} == before
    assert (root / SAMPLE).read_text().count('cache_dir="/models/hf"') == 1  # the text encoder needs no edit


# --- nothing is executed ---------------------------------------------------------------------------


def arm(root: Path, canary: Path) -> None:
    """Code that would make ``canary`` if anything in the checkout ran: configs, loaders, what lies about."""
    touch = f"open({str(canary)!r}, 'w').close()\n"
    for path in [*root.rglob("*.py")]:
        path.write_text(touch + path.read_text())
    (root / FOLDER / "hostile.py").write_text(
        f"{touch}import hostile_module\n_base_ = [__import__('os').path.join('.', 'sample.py')]\n{VAE}\n"
        f"text_encoder = dict(type='t5', from_pretrained=(lambda: {touch.strip()})() or 'x')\n"
        f"model = dict(type=__import__('hostile_module').TYPE, from_pretrained=f'{{{touch.strip()}}}')\n"
    )
    for name in ("hostile_module", "json", "sitecustomize", "conftest", "setup", "mmengine", "click"):
        (root / f"{name}.py").write_text(touch)
    (root / ".git").mkdir()
    hook = f"[core]\n\tfsmonitor = touch {canary}\n\thooksPath = .\n[alias]\n\tls-files = !touch {canary}\n"
    (root / ".git" / "config").write_text(hook)


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--all-configs", "--cache-dir", "/m", "--scripts"),
        ("trace", "--all-configs", "--repos"),
        ("rewrite", "--all-configs", "--cache-dir", "/m", "--no-resolve", "--scripts", "--diff"),
        ("rewrite", "--all-configs", "--cache-dir", "/m", "--no-resolve"),
    ],
    ids=" ".join,
)
def test_nothing_of_a_checkout_is_executed(words: tuple[str, ...], checkout: Checkout, tmp_path: Path) -> None:
    root = checkout("v1.2")
    canary = tmp_path / "canary"
    arm(root, canary)
    script = Path(sys.executable).with_name("opensora-rewriter")
    start = [str(script)] if script.exists() else [sys.executable, "-P", "-m", "rewriter"]
    done = subprocess.run([*start, *words], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert not canary.exists()


def test_with_mmengine_a_config_runs_in_the_child_only_without_secrets_and_cannot_forge_the_report(
    checkout: Checkout, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mmengine")
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    root = checkout("v1.2")
    seen = tmp_path / "seen"
    forged = '{"index": 0, "value": {}}\\n::error::forged\\n\\x1b[31mrewrote nothing\\n'
    (root / FOLDER / "hostile.py").write_text(
        "import os, sys\n"
        f"with open({str(seen)!r}, 'w') as file:\n    file.write(repr(dict(os.environ)))\n"
        f"for number in (1, 2):\n    os.write(number, b'{forged}')\n"
        f"{VAE}\nraise ValueError('{forged}')\n"
    )
    done = run("rewrite", *CACHE, FOLDER, "--resolve", "always", cwd=root)
    assert done.exit_code == 1
    assert "s3cret" not in seen.read_text()
    assert "HF_HUB_OFFLINE" in seen.read_text()
    assert "OSR901" in done.output
    assert "\x1b" not in done.output
    assert not any(line.startswith(("::", "rewrote nothing", '{"index"')) for line in done.output.splitlines())
    assert 'cache_dir="/models/hf"' in (root / SAMPLE).read_text()


# --- nothing is injected ---------------------------------------------------------------------------

VALUES = [
    "/m'); __import__('os').system('touch canary'); ('",
    "/m\n__import__('os').system('touch canary')\n",
    "/m\\",
    "/m$(touch canary)`touch canary`;touch canary",
    "/m\x1b]0;owned\x07\x1b[2J\x9b31m",
    "/m\r\n::error file=x,line=1::forged%0A::set-env",
    "/m\u202e\u2066hidden\u200b",
    '/m","level":"none","x":"</script><b>[link](javascript:x)',
    "/m{{$HOME:x}}{}%s%(x)s{0}",
    "/m\udcff",
]


def is_harmless(output: str) -> bool:
    """No character that drives a terminal or hides text, and no line that an output of ours could not begin with."""
    text = output.replace("\n", "").replace("\t", "")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text):
        return False
    return not any(line.startswith(("::error file=x", "::set-env", "__import__")) for line in output.splitlines())


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_cache_dir_cannot_inject_code(value: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    done = run("rewrite", FOLDER, "--cache-dir", value, "--no-resolve", cwd=root)
    assert done.exit_code == 0, done.output
    calls = [node for node in ast.walk(ast.parse((root / SAMPLE).read_bytes())) if isinstance(node, ast.Call)]
    assert all(isinstance(call.func, ast.Name) and call.func.id == "dict" for call in calls)
    found = [word.value for call in calls for word in call.keywords if word.arg == "cache_dir"]
    assert [ast.literal_eval(node) for node in found] == [os.path.abspath(value)] * 2
    assert is_harmless(done.output)


@pytest.mark.parametrize("style", ["full", "concise", "github", "json", "sarif"])
def test_no_value_drives_a_terminal_or_forges_a_report(style: str, checkout: Checkout, run: Run) -> None:
    """The value as cache_dir, as repo id, as type, as key, and in the name of the file."""
    root = checkout("v1.2")
    shutil.rmtree(root / "configs")
    for value in VALUES:
        name = value.replace("/", "_").encode("utf-8", "replace").decode()[:100]
        path = root / FOLDER / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = ascii(value)
        path.write_text(
            f"vae = dict(type='VideoAutoencoderKL', from_pretrained={text}, cache_dir={text})\n"
            f"text_encoder = dict(type={text}, from_pretrained={text})\n"
            f"model = {{'type': 't5', 'from_pretrained': 'a/b', {text}: 1}}\n"
        )
    for words in (("check", *CACHE), ("rewrite", *CACHE, "--no-resolve"), ("check", "--all-components", "-v")):
        done = run(*words, FOLDER, "--output-format", style, cwd=root)
        assert done.exit_code == 1, done.output
        assert is_harmless(done.output)
        if style in ("json", "sarif"):
            report = json.loads(done.stdout)
        if style == "sarif":
            assert {each["level"] for each in report["runs"][0]["results"]} <= {"error", "warning"}
        if style == "github":
            assert all(line.startswith(("::error ", "::warning ")) for line in done.stdout.splitlines())


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_diff_and_trace_show_no_raw_value(value: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    path = root / SAMPLE
    path.write_text(path.read_text().replace('"hpcai-tech/OpenSora-VAE-v1.2"', ascii(value)))
    for words in (("trace", "--verbose"), ("trace", "--repos"), ("trace", "--output-format", "json"),
                  ("rewrite", "--cache-dir", value, "--no-resolve", "--diff", "--verbose")):  # fmt: skip
        done = run(*words, SAMPLE, cwd=root)
        assert "Traceback" not in done.output
        assert is_harmless(done.output)
