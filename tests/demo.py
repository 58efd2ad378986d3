"""``make demo``: the main job on copies of the bundled checkouts, every command shown as a user would type it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
COMMAND = [sys.executable, "-m", "rewriter"]
SAMPLES = {
    "v1.0": "configs/opensora/inference/16x256x256.py",
    "v1.1": "configs/opensora-v1-1/inference/sample.py",
    "v1.2": "configs/opensora-v1-2/inference/sample.py",
    "v1.3": "configs/opensora-v1-3/inference/t2v.py",
}
# v1.3's own configs name folders of their authors' machines; these are the published repos.
CURE = (
    "--set", "vae.from_pretrained=hpcai-tech/OpenSora-VAE-v1.3",
    "--set", "text_encoder.from_pretrained=DeepFloyd/t5-v1_1-xxl",
)  # fmt: skip
SHOW_RESOLVED = """
import sys
from mmengine.config import Config
config = Config.fromfile(sys.argv[1], lazy_import=False, import_custom_modules=False)
for name in ("text_encoder", "vae"):
    print(f"{name} = {dict(config[name])}")
"""


def step(title: str, *args: str, cwd: Path, expect: int) -> None:
    """Run one command, show it and its output, and insist on its exit code."""
    print(f"\n# {title}\n$ opensora-rewriter {shlex.join(args)}", flush=True)
    done = subprocess.run([*COMMAND, *args], cwd=cwd, check=False)
    print(f"(exit code {done.returncode})", flush=True)
    if done.returncode != expect:
        sys.exit(f"demo: exit code {done.returncode}, expected {expect}")


def show(tag: str, checkout: Path, cache: Path) -> None:
    """The job on one checkout: look, refuse, rewrite, look again."""
    sample = SAMPLES[tag]
    every = ("rewrite", "--all-configs", "--cache-dir", str(cache))
    print(f"\n{'=' * 24} a checkout in the shape of {tag} {'=' * 24}", flush=True)
    step("What does the sample config load?", "trace", sample, "--repos", cwd=checkout, expect=0)
    if tag == "v1.2":
        step("With the loaders left alone, what is refused, and why?", "rewrite", sample, "--cache-dir", str(cache),
             "--no-source", "--check", cwd=checkout, expect=1)  # fmt: skip
    cure = CURE if tag == "v1.3" else ()
    step("The diff of the sample config and of its loaders.", "rewrite", sample, "--cache-dir", str(cache), *cure,
         "--diff", "--quiet", cwd=checkout, expect=1)  # fmt: skip
    if tag == "v1.3":
        step("Its own configs name folders that exist nowhere: give them the published repos.", "rewrite",
             "configs/opensora-v1-3", "--cache-dir", str(cache), *CURE, cwd=checkout, expect=0)  # fmt: skip
    step("Every config of the checkout.", *every, cwd=checkout, expect=0)
    step("Once more: nothing is left to do, nothing is refused.", *every, "--check", cwd=checkout, expect=0)
    print(f"\n# What mmengine makes of {sample}:", flush=True)
    subprocess.run([sys.executable, "-c", SHOW_RESOLVED, sample], cwd=checkout, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="opensora-rewriter-demo-") as folder:
        cache = Path(folder) / "hub"
        cache.mkdir()
        for tag in SAMPLES:
            checkout = Path(folder) / tag
            shutil.copytree(FIXTURES / tag, checkout, ignore=shutil.ignore_patterns("__pycache__"))
            show(tag, checkout, cache)


if __name__ == "__main__":
    main()
