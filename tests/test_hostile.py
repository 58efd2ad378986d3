"""Odd files and hostile input through the whole command: one finding each, nothing executed, nothing injected."""

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
from conftest import FIXTURES

if TYPE_CHECKING:
    from click.testing import Result

Checkout = Callable[[str], Path]
Run = Callable[..., "Result"]

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files")

FOLDER = "configs/opensora-v1-2/inference"
SAMPLE = f"{FOLDER}/sample.py"
VAE = 'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")'
ASKED = ("--cache-dir", "/models/hf")


# --- odd files -----------------------------------------------------------------------------------


def deep(brackets: str) -> bytes:
    return f"{VAE}\nx = {brackets[0] * 5000}{brackets[1] * 5000}\n".encode()


READ = {
    "ten_megabytes": b"# " + b"x" * 78 + b"\n" + b"# filler filler\n" * 655_360 + VAE.encode() + b"\n",
    "one_line_of_1_mb": f'{VAE}; x = "{"x" * 1_000_000}"\n'.encode(),
    "returns_only": f"a = 1\r{VAE}\rb = 2\r".encode(),
    "form_feeds": f"\x0c\na = 1\n\x0c{VAE}\n\x0c\n".encode(),
    "gbk_with_cookie": f"# coding: gbk\n{VAE}  # 模型\n".encode("gbk"),
    "bom": b"\xef\xbb\xbf" + VAE.encode(),
    "no_final_newline": VAE.encode(),
}
NOT_READ = {
    "nul": VAE.encode() + b"\0\n",
    "not_utf8": b"x = '\xff'\n",
    "gbk_without_cookie": f"{VAE}  # 模型\n".encode("gbk"),
    "utf16": VAE.encode("utf-16"),
    "brackets": deep("[]"),
    "parentheses": deep("()"),
    "braces": deep("{}"),
    "operators": f"{VAE}\nx = {'-' * 100_000}1\n".encode(),
    "attributes": f"{VAE}\nx = a{'.b' * 100_000}\n".encode(),
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
    (folder / "empty.py").write_bytes(b"")
    (folder / "folder.py").mkdir()
    (folder / "dangling.py").symlink_to("nowhere.py")
    (folder / "loop.py").symlink_to("loop.py")
    os.mkfifo(folder / "fifo.py")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    words = ["--no-resolve"] if command == "rewrite" else []
    done = run(command, FOLDER, *ASKED, *words, "--output-format", "json", cwd=root)
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["path"], []).append(finding)
    unread = {f"{FOLDER}/{name}.py" for name in (*NOT_READ, "folder", "dangling", "loop", "fifo")}
    for path in unread - {f"{FOLDER}/attributes.py", f"{FOLDER}/operators.py"}:
        assert [finding["code"] for finding in found.pop(path)] == ["OSR900"], path
    for name in ("attributes", "operators"):  # newer parsers read some of these
        assert len(found.pop(f"{FOLDER}/{name}.py", [])) <= 1
    assert not [finding for rest in found.values() for finding in rest if finding["code"] == "OSR900"]
    if command == "check":
        for name in READ:
            assert [finding["code"] for finding in found[f"{FOLDER}/{name}.py"]] == ["OSR001"], name
    for path, data in before.items():
        edited = command == "rewrite" and path.stem in (*READ, "sample", "attributes", "operators")
        if not edited:
            assert path.read_bytes() == data, path
        elif path.stem in READ:
            encoding = "gbk" if path.stem.startswith("gbk") else "utf-8"
            new = data.decode(encoding).replace('"a/b")', '"a/b", cache_dir="/models/hf")').encode(encoding)
            assert path.read_bytes() == new, path.stem


def without_privileges() -> list[str]:
    """What to put before a command so that permission bits bind it, root or not."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root ignores permission bits, and there is no setpriv program to give that up")
    return [setpriv, "--bounding-set", "-dac_override,-dac_read_search,-fowner", "--inh-caps", "-all"]


@posix
def test_permissions_that_are_lacking_are_findings_or_messages(checkout: Checkout) -> None:
    root = checkout("v1.2")
    secret = root / FOLDER / "secret.py"
    secret.write_text(VAE + "\n")
    secret.chmod(0)
    locked = root / FOLDER
    before = (root / SAMPLE).read_bytes()

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*without_privileges(), sys.executable, "-m", "rewriter", *words], capture_output=True, text=True,
            cwd=FIXTURES.parent, check=False,
        )  # fmt: skip

    done = command("check", str(locked), *ASKED, "--output-format", "concise")
    assert done.returncode == 1, done.stderr
    assert next(line for line in done.stdout.splitlines() if "OSR900" in line).endswith("no permission to read it")
    assert "sample.py" in done.stdout
    locked.chmod(0o555)  # a file can be read, and none made beside it
    try:
        done = command("rewrite", str(root), *ASKED, "--no-resolve")
        assert done.returncode == 2, done.stdout
        assert "Traceback" not in done.stderr
        assert "nothing was written" in done.stderr
        assert (root / SAMPLE).read_bytes() == before
        locked.chmod(0)
        done = command("check", str(root), "--all-configs", *ASKED, "--output-format", "concise")
        assert done.returncode == 1
        assert "cannot be listed" in done.stdout
        assert "opensora/inference" in done.stdout  # other folders are read
    finally:
        locked.chmod(0o755)
    for folder, path in ((root / "configs", root), (root, root), (root / "configs", root / "configs")):
        folder.chmod(0)
        try:
            done = command("check", str(path), *ASKED)
        finally:
            folder.chmod(0o755)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"error: {folder}: the folder cannot be listed: Permission denied\n" in done.stderr
        assert "give yourself permission to read it" in done.stderr


@posix
@pytest.mark.parametrize("where", ["opensora/models/vae", "opensora/models/text_encoder"])
def test_odd_files_among_the_loaders_do_not_stop_the_run(where: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    folder = root / where
    for name, data in {**NOT_READ, "ten_megabytes": READ["ten_megabytes"]}.items():
        (folder / f"{name}.py").write_bytes(data)
    (folder / "long_word.py").write_bytes(b"#" + b"x" * 300_000 + b".register_module\n" * 2)
    (folder / "folder.py").mkdir()
    (folder / "loop.py").symlink_to("loop.py")
    os.mkfifo(folder / "fifo.py")
    done = run("rewrite", SAMPLE, *ASKED, "--no-resolve", cwd=root)
    assert done.exit_code == 0, done.output
    assert (root / SAMPLE).read_text().count('cache_dir="/models/hf"') == 2


@posix
@pytest.mark.parametrize(
    ("linked", "words"),
    [
        ("opensora", "out of the checkout"),
        ("opensora/models/vae/vae.py", "out of the checkout"),
        ("opensora/models/vae", "no loader is registered"),  # links to folders are not followed
    ],
)
def test_a_loader_behind_a_link_out_of_the_checkout_is_not_written(
    linked: str, words: str, checkout: Checkout, run: Run, tmp_path: Path
) -> None:
    root = checkout("v1.2")
    away = tmp_path / "elsewhere"
    (root / linked).rename(away)
    (root / linked).symlink_to(away)
    before = {path: path.read_bytes() for path in [away, *away.rglob("*")] if path.is_file()}
    done = run("rewrite", SAMPLE, *ASKED, "--no-resolve", cwd=root)
    assert done.exit_code == 1
    assert words in " ".join(done.output.split())
    assert {path: path.read_bytes() for path in before} == before
    assert (root / SAMPLE).read_text().count('cache_dir="/models/hf"') == 1  # the text encoder needs no edit


# --- nothing is executed -------------------------------------------------------------------------


def armed(root: Path, canary: Path) -> None:
    """Code that would touch ``canary`` if anything in the checkout ran: configs, loaders, what lies about."""
    touch = f"open({str(canary)!r}, 'w').close()\n"
    for path in [*root.rglob("*.py")]:
        path.write_text(touch + path.read_text())
    config = root / FOLDER / "hostile.py"
    config.write_text(
        f"{touch}import hostile_module\n_base_ = [__import__('os').path.join('.', 'sample.py')]\n{VAE}\n"
        f"text_encoder = dict(type='t5', from_pretrained=(lambda: {touch.strip()})() or 'x')\n"
        f"model = dict(type=__import__('hostile_module').TYPE, from_pretrained=f'{{{touch.strip()}}}')\n"
    )
    for name in ("hostile_module", "json", "sitecustomize", "usercustomize", "conftest", "setup", "mmengine", "click"):
        (root / f"{name}.py").write_text(touch)
    (root / "opensora-rewriter.toml").write_text("")
    (root / ".git").mkdir()
    hook = f"[core]\n\tfsmonitor = touch {canary}\n\thooksPath = .\n[alias]\n\tls-files = !touch {canary}\n"
    (root / ".git" / "config").write_text(hook)


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--all-configs", "--cache-dir", "/m"),
        ("check", "--all-configs", "--cache-dir", "/m", "--output-format", "sarif"),
        ("trace", "--all-configs"),
        ("trace", "--repos", "--all-components"),
        ("settings",),
        ("rewrite", "--all-configs", "--cache-dir", "/m", "--no-resolve", "--diff"),
        ("rewrite", "--all-configs", "--cache-dir", "/m", "--no-resolve"),
    ],
    ids=" ".join,
)
def test_nothing_of_a_checkout_is_executed(words: tuple[str, ...], checkout: Checkout, tmp_path: Path) -> None:
    root = checkout("v1.2")
    canary = tmp_path / "canary"
    armed(root, canary)
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
        f"print('{forged}', file=sys.__stdout__)\n"
        f"{VAE}\nraise ValueError('{forged}')\n"
    )
    done = run("rewrite", *ASKED, FOLDER, "--resolve", "always", cwd=root)
    assert done.exit_code == 1
    assert "s3cret" not in seen.read_text()
    assert "HF_HUB_OFFLINE" in seen.read_text()
    assert "OSR901" in done.output
    assert "\x1b" not in done.output
    assert not any(line.startswith(("::", "rewrote nothing", '{"index"')) for line in done.output.splitlines())
    assert 'cache_dir="/models/hf"' in (root / SAMPLE).read_text()


def test_a_config_that_never_ends_is_refused_at_its_limit(
    checkout: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mmengine")
    monkeypatch.setattr("rewriter.resolve.CONFIG_SECONDS", 1.0)
    root = checkout("v1.2")
    (root / FOLDER / "endless.py").write_text(f"{VAE}\nwhile True: pass\n")
    done = run("rewrite", *ASKED, FOLDER, "--resolve", "always", cwd=root)
    assert done.exit_code == 1
    assert "took too long and was stopped" in " ".join(done.output.split())
    assert 'cache_dir="/models/hf"' in (root / SAMPLE).read_text()


# --- nothing is injected -------------------------------------------------------------------------

VALUES = [
    "/m'); __import__('os').system('touch canary'); ('",
    '/m"); __import__("os").system("touch canary"); ("',
    "/m\n__import__('os').system('touch canary')\n",
    "/m\\",
    "/m$(touch canary)`touch canary`;touch canary",
    "/m\x1b]0;owned\x07\x1b[2J\x9b31m",
    "/m\r\n::error file=x,line=1::forged%0A::set-env",
    "/m\u202e\u2066hidden\u200b",
    '/m","level":"none","x":"</script><b>[link](javascript:x)',
    "/m{{$HOME:x}}{}%s%(x)s{0}",
    "/m\ud800",  # stands for no byte: no command line brings it, a config may
    "/m\udcff",
]


def harmless(output: str, value: str) -> None:
    """No character that drives a terminal or hides text, and no line that an output of ours could not begin with."""
    for character in output:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), (
            f"{character!r} of {value!r}"
        )
    assert not any(line.startswith(("::error file=x", "::set-env", "__import__")) for line in output.splitlines())


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_cache_dir_cannot_inject_code(value: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    done = run("rewrite", FOLDER, "--cache-dir", value, "--no-resolve", cwd=root)
    assert done.exit_code == 0, done.output
    tree = ast.parse((root / SAMPLE).read_bytes())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert all(isinstance(call.func, ast.Name) and call.func.id == "dict" for call in calls)
    found = [word.value for call in calls for word in call.keywords if word.arg == "cache_dir"]
    assert [ast.literal_eval(node) for node in found] == [os.path.abspath(value)] * 2
    harmless(done.output, value)


@pytest.mark.parametrize("style", ["full", "concise", "github", "json", "sarif"])
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_no_value_drives_a_terminal_or_forges_a_report(value: str, style: str, checkout: Checkout, run: Run) -> None:
    """The value as cache_dir, as repo id, as type, as key, and in the name of the file."""
    root = checkout("v1.2")
    shutil.rmtree(root / "configs")
    name = value.replace("/", "_").encode("utf-8", "replace").decode()[:100]
    path = root / FOLDER / f"{name}.py"
    path.parent.mkdir(parents=True)
    text = ascii(value)
    path.write_text(
        f"vae = dict(type='VideoAutoencoderKL', from_pretrained={text}, cache_dir={text})\n"
        f"text_encoder = dict(type={text}, from_pretrained='a/b')\n"
        f"model = {{'type': 't5', {text}: 1, 'vae': {{'type': 'VideoAutoencoderKL', 'subfolder': {text}}}}}\n"
        f"t5 = dict(type='t5', from_pretrained={text}, cache_dir=os.environ[{text}])\n"
    )
    for words in (("check", "--cache-dir", "/other"), ("check", "--all-components"),
                  ("rewrite", "--cache-dir", value, "--no-resolve", "--check")):  # fmt: skip
        done = run(*words, "--output-format", style, cwd=root)
        assert done.exit_code in (0, 1, 2), done.output
        assert "Traceback" not in done.output
        harmless(done.output, value)
        if style in ("json", "sarif") and done.exit_code != 2:
            report = json.loads(done.stdout)
            if style == "sarif":
                assert len(report["runs"]) == 1
                assert {result["level"] for result in report["runs"][0]["results"]} <= {"error", "warning"}
        if style == "github":
            assert all(line.startswith(("::error ", "::warning ")) for line in done.stdout.splitlines())


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_diff_trace_and_verbose_show_no_raw_value(value: str, checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    path = root / SAMPLE
    path.write_text(path.read_text().replace('"hpcai-tech/OpenSora-VAE-v1.2"', ascii(value)))
    for words in (("trace", "--verbose"), ("trace", "--repos"), ("trace", "--output-format", "json"),
                  ("rewrite", "--cache-dir", value, "--no-resolve", "--diff", "--verbose"),
                  ("check", "--verbose", "--cache-dir", value)):  # fmt: skip
        done = run(*words, SAMPLE, cwd=root)
        assert "Traceback" not in done.output
        harmless(done.output.replace("\t", " "), value)
