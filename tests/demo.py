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
SHOW_RESOLVED = """
import sys
from mmengine.config import Config
for path in sys.argv[1:]:
    config = Config.fromfile(path, lazy_import=False, import_custom_modules=False)
    for name in ("text_encoder", "vae"):
        print(f"{path}: {name} = {config.get(name)}")
"""


def step(title: str, *args: str, cwd: Path, expect: tuple[int, ...]) -> None:
    """Run one command, show it and its output, and insist on its exit code."""
    print(f"\n# {title}\n$ opensora-rewriter {shlex.join(args)}", flush=True)
    done = subprocess.run([*COMMAND, *args], cwd=cwd, check=False)
    print(f"(exit code {done.returncode})", flush=True)
    if done.returncode not in expect:
        sys.exit(f"demo: exit code {done.returncode}, expected one of {expect}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="opensora-rewriter-demo-") as folder:
        cache = Path(folder) / "hub"
        cache.mkdir()
        for tag in ("v1.0", "v1.1", "v1.2", "v1.3"):
            checkout = Path(folder) / tag
            shutil.copytree(FIXTURES / tag, checkout, ignore=shutil.ignore_patterns("__pycache__"))
            print(f"\n{'=' * 30} a checkout in the shape of {tag} {'=' * 30}", flush=True)
            step("What is wrong?", "check", "--all-configs", "--quiet", cwd=checkout, expect=(0, 1))
            asked = ("rewrite", "--all-configs", "--cache-dir", str(cache))
            step("What would change?", *asked, "--diff", "--quiet", cwd=checkout, expect=(0, 1))
            step("Do it.", *asked, cwd=checkout, expect=(0, 1))
            step("Once more: nothing is left to do.", *asked, "--check", cwd=checkout, expect=(0, 1))
            sample = next(iter(sorted(checkout.glob("configs/opensora*/inference/*.py"))))
            print("\n# What mmengine makes of it:", flush=True)
            subprocess.run(
                [sys.executable, "-c", SHOW_RESOLVED, str(sample.relative_to(checkout))], cwd=checkout, check=True
            )


if __name__ == "__main__":
    main()
