"""``make demo``: the main job on copies of the bundled checkouts, every command shown as a user would type it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import caches

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
COMMAND = [sys.executable, "-m", "rewriter"]
SAMPLE = "configs/opensora-v1-2/inference/sample.py"
REPOS = {
    "DeepFloyd/t5-v1_1-xxl": caches.t5_files(),
    "hpcai-tech/OpenSora-VAE-v1.2": {"config.json": b"{}", "model.safetensors": caches.safetensors()},
    "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers": caches.vae_files(),
}
OTHERS = {"v1.0": [], "v1.1": [], "v1.3": ["--set", "vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3"]}
SHOW_RESOLVED = """
import sys
from mmengine.config import Config
config = Config.fromfile(sys.argv[1], lazy_import=False, import_custom_modules=False)
for name in ("text_encoder", "vae"):
    print(f"{name}: " + ", ".join(f"{key}={value!r}" for key, value in config[name].items())[:90])
"""
BOLD, PLAIN = ("\033[1;36m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")


def say(title: str) -> None:
    """A heading."""
    print(f"\n{BOLD}# {title}{PLAIN}", flush=True)


def run(title: str, *args: str, cwd: Path, expect: int, lines: int = 14) -> None:
    """Run one command, show it and the first lines of its output, and insist on its exit code."""
    say(title)
    print(f"$ opensora-rewriter {shlex.join(args)}", flush=True)
    done = subprocess.run([*COMMAND, *args], cwd=cwd, check=False, capture_output=True, text=True)
    shown = [line for line in done.stdout.splitlines() if line.strip()]
    print("\n".join(line[:100] for line in shown[:lines]) + ("\n..." if len(shown) > lines else ""), flush=True)
    if done.returncode != expect:
        sys.exit(f"demo: exit code {done.returncode}, expected {expect}\n{done.stderr}")


def show_sample(checkout: Path, hub: Path) -> None:
    """v1.2's sample, from the question to the proof."""
    cache = ("--cache-dir", "../hub")
    run("What does v1.2's sample load? One repo no config names.", "trace", SAMPLE, "--repos", cwd=checkout, expect=0)
    run("Its vae takes no cache_dir: the diff threads it.", "rewrite", SAMPLE, *cache, "--diff", "-q", cwd=checkout,
        expect=1, lines=18)  # fmt: skip
    run("The rewrite, proved by mmengine before it writes.", "rewrite", SAMPLE, *cache, cwd=checkout, expect=0)
    say("What mmengine makes of it now:")
    subprocess.run([sys.executable, "-c", SHOW_RESOLVED, SAMPLE], cwd=checkout, check=True)
    run("Once more: nothing changes.", "rewrite", SAMPLE, *cache, "--check", cwd=checkout, expect=0)
    for repo_id, files in REPOS.items():
        caches.make_repo(hub, repo_id, files)
    run("With tiny weights in the cache:", "verify", SAMPLE, "--hash", cwd=checkout, expect=0, lines=8)
    lost = next(hub.glob("models--DeepFloyd*/snapshots/*/config.json"))
    lost.unlink()
    run("One file removed:", "verify", SAMPLE, cwd=checkout, expect=1, lines=9)


def main() -> None:
    """The whole demo, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="opensora-rewriter-demo-") as folder:
        hub = Path(folder) / "hub"
        hub.mkdir()
        for tag in ("v1.2", *OTHERS):
            shutil.copytree(FIXTURES / tag, Path(folder) / tag, ignore=shutil.ignore_patterns("__pycache__"))
        show_sample(Path(folder) / "v1.2", hub)
        say("The other releases, all configs:")
        for tag, more in OTHERS.items():
            command = ["rewrite", ".", "--all-configs", "--cache-dir", str(hub), "--force", *more]
            done = subprocess.run(
                [*COMMAND, *command], cwd=Path(folder) / tag, capture_output=True, text=True, check=False
            )
            summary = next((line for line in done.stdout.splitlines() if line.startswith("components:")), done.stderr)
            print(f"{tag}: {summary}", flush=True)


if __name__ == "__main__":
    main()
