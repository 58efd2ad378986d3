"""``make demo``: v1.2's sample from the question to a verified cache, every command shown as a user would type it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import caches

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
TOOL = (sys.executable, "-m", "rewriter")
WIDTH = 100
SAMPLE = "configs/opensora-v1-2/inference/sample.py"
CACHE = ("--cache-dir", "../hub")
WEIGHTS = {"config.json": b"{}", "model.safetensors": caches.safetensors()}
REPOS = {
    caches.T5: caches.t5_files(),
    caches.VAE: caches.vae_files(),
    "hpcai-tech/OpenSora-VAE-v1.2": WEIGHTS,
    "hpcai-tech/OpenSora-STDiT-v3": WEIGHTS,
}
V1_3 = (
    "model.from_pretrained=hpcai-tech/OpenSora-STDiT-v4",
    "vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3",
    f"text_encoder.from_pretrained={caches.T5}",
)
OTHERS = {
    "v1.0": ("configs/opensora/inference/16x256x256.py",),
    "v1.1": ("configs/opensora-v1-1/inference/sample.py",),
    "v1.3": ("configs/opensora-v1-3/inference/t2v.py", *(word for value in V1_3 for word in ("--set", value))),
    "derived": ("config/inference/sounding_video.py",),
}
RESOLVE = """
import sys
from mmengine.config import Config
config = Config.fromfile(sys.argv[1], lazy_import=False, import_custom_modules=False)
for name in ("text_encoder", "vae", "model"):
    part = config[name]
    print(f"{name}: type={part['type']!r}, from_pretrained={part['from_pretrained']!r},")
    print(f"    cache_dir={part['cache_dir']!r}")
"""
COLOURED = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


class Demo:
    """The commands of one demo, in one temporary folder; ``DEMO`` stands for that folder in what is printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def say(self, title: str) -> None:
        print(f"\n{paint('1;36', f'# {title}')}", flush=True)

    def run(self, title: str, *words: str, expect: int = 0, keep: Callable[[str], bool] = bool) -> None:
        """Show a command and those lines of its output that ``keep`` takes; insist on the exit code."""
        self.say(title)
        command = f"$ opensora-rewriter {shlex.join(words)}"
        print(
            textwrap.fill(command, WIDTH - 2, subsequent_indent="    ", break_on_hyphens=False).replace("\n", " \\\n"),
            flush=True,
        )
        done = self.start(*TOOL, *words, cwd=self.folder / "v1.2")
        for line in filter(keep, done.stdout.splitlines()):
            print(colour_line(line), flush=True)
        if done.returncode != expect:
            sys.exit(f"demo: exit code {done.returncode}, expected {expect}\n{done.stderr}")

    def start(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": str(WIDTH)}
        done = subprocess.run(words, cwd=cwd, check=False, capture_output=True, text=True, env=environment)
        done.stdout = done.stdout.replace(str(self.folder), "DEMO")
        return done


def paint(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOURED else text


def colour_line(line: str) -> str:
    """A line cut to the width, coloured by what it starts with."""
    line = line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
    colours = {"+": "32", "-": "31", "@@": "36", "rewrote": "32", "cache    ok": "32", "cache    not": "31"}
    code = next((code for start, code in colours.items() if line.startswith(start)), "")
    return paint(code, line) if code else line


def show_sample(demo: Demo, hub: Path) -> None:
    """v1.2's sample: trace, diff, rewrite, mmengine, a second run, and a cache that is verified."""
    demo.run("Which repos does v1.2's sample read? One of them no config names.", "trace", SAMPLE, "--repos", "-v")
    demo.run("The vae's loader takes no cache_dir. What a rewrite would change:",
             "rewrite", SAMPLE, *CACHE, "--diff", expect=1, keep=lambda line: line[:1] in ("+", "-"))  # fmt: skip
    demo.run("Rewrite. Nothing is written before ast and mmengine have proved it.",
             "rewrite", SAMPLE, *CACHE, "--all-components")  # fmt: skip
    demo.say("What mmengine resolves now:")
    print(demo.start(sys.executable, "-c", RESOLVE, SAMPLE, cwd=demo.folder / "v1.2").stdout, end="")
    demo.run("A second run changes nothing.", "rewrite", SAMPLE, *CACHE, "--all-components")
    for repo_id, files in REPOS.items():
        caches.make_repo(hub, repo_id, files)
    verify = ("verify", SAMPLE, "--all-components")
    demo.run("Tiny weights are put into the cache. Is everything there that the loaders request?", *verify, "--hash")
    next(hub.glob("models--DeepFloyd*/snapshots/*/pytorch_model-00002*")).unlink()
    demo.run("One file is removed:", *verify, expect=1)


def show_others(demo: Demo, hub: Path) -> None:
    """One line for each other release, and for a derived project."""
    demo.say("The other releases, and a derived project:")
    for tag, words in OTHERS.items():
        done = demo.start(*TOOL, "rewrite", *words, "--all-components", "--cache-dir", str(hub), cwd=demo.folder / tag)
        lines = [line for line in done.stdout.splitlines() if line.startswith("components:")]
        print(f"{tag:8}{words[0]}: {lines[0] if lines else done.stderr}"[:WIDTH], flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        folder = Path(os.path.realpath(name))
        for tag in ("v1.2", *OTHERS):
            shutil.copytree(FIXTURES / tag, folder / tag, ignore=shutil.ignore_patterns("__pycache__"))
        hub = folder / "hub"
        hub.mkdir()
        print(f"Copies of fixtures/ in {folder}, called DEMO below.")
        demo = Demo(folder)
        show_sample(demo, hub)
        show_others(demo, hub)


if __name__ == "__main__":
    main()
