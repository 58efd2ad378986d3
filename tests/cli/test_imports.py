"""What keeps the command quick: heavy packages are imported only where they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import REPOSITORY, Checkout

CHECKOUT = REPOSITORY / "fixtures" / "v1.3"
HEAVY = {"libcst", "mmengine", "torch", "rich", "sarif_pydantic", "pydantic", "huggingface_hub", "asyncio", "pathspec"}


def imported(*args: str | Path) -> set[str]:
    """The modules that are loaded when a command line has run, in a process of its own."""
    code = (
        "import sys\nfrom rewriter.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("args", [["check", CHECKOUT, "--all-configs"], ["--version"], ["--help"], ["rules"]])
def test_check_and_help_import_nothing_heavy(args: list[str | Path]) -> None:
    found = imported(*args)
    assert "click" in found
    assert found & HEAVY == set()


def test_rewrite_imports_no_tool_that_it_does_not_use() -> None:
    found = imported("rewrite", CHECKOUT, "--no-resolve", "--cache-dir", "/nowhere", "--check")
    assert "libcst" in found
    assert found.isdisjoint({"mmengine", "torch", "sarif_pydantic", "huggingface_hub", "libcst.matchers"})


def test_a_check_of_one_file_imports_only_what_it_needs(checkout: Checkout) -> None:
    """A hook runs it at each commit."""
    found = imported("check", checkout("v1.3") / "configs/opensora-v1-3/inference/t2v.py")
    found -= imported("--version")  # click needs subprocess on Python 3.10
    unneeded = {"subprocess", "hashlib", "zipfile", "json", "tomllib", "tomli", "tempfile", "concurrent.futures"}
    assert found.isdisjoint(HEAVY | unneeded)
    assert not [name for name in found if name.startswith(("rewriter.verify", "rewriter.edit.write"))]
