"""Run mutmut over what reads, decides and edits, and list the mutants that no test notices.

    make mutation                                   # all of them: hours on two cores
    make mutation MUTANTS='rewriter.decide.*'       # of one module
    python tests/mutation.py --tell                 # what the last runs found, once more

``tests/mutants.toml`` explains survivors that change nothing a test could state: an entry names the function, the line
as it was (both as shell patterns) and the reason. A mutant that only changes the wording inside a string of several
words is counted apart, since no wording is promised. Exit code 1: a survivor is left without an explanation.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tokenize
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = ROOT / "tests" / "mutants.toml"
ALIVE = ("survived", "no tests")
NOTICED = ("killed", "timeout", "caught by type check", "segfault")
EXAMPLES = "10"  # of each hypothesis test: every mutant runs them


class Survivor(NamedTuple):
    """One mutant: what mutmut calls it, the function, and the changed lines."""

    name: str
    function: str
    old: str
    new: str

    def is_wording(self) -> bool:
        """Whether nothing but a string of several words is another."""
        pairs = list(zip(_tokens(self.old), _tokens(self.new), strict=False))
        changed = [(old, new) for old, new in pairs if old != new]
        return (
            len(_tokens(self.old)) == len(_tokens(self.new)) == len(pairs)
            and len(changed) == 1
            and changed[0][1][:1] in "\"'"
            and " " in changed[0][0].strip("\"' ")
        )


def main() -> int:
    """Run what is asked for and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=[], help="names of mutants: 'rewriter.decide.*'")
    parser.add_argument("--tell", action="store_true", help="run nothing")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if not asked.tell:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # mypy lies there
        environment = {**os.environ, "OPENSORA_REWRITER_FUZZ": EXAMPLES, "PATH": path}
        command = _mutmut("run", "--max-children", str(asked.jobs), *asked.patterns)
        output = None if sys.stdout.isatty() else subprocess.PIPE  # its progress is for terminals
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, text=True, check=False)
        if done.returncode != 0:
            print((done.stdout or "")[-4000:], f"mutmut: exit code {done.returncode}", sep="\n")
            return done.returncode
    listed = subprocess.run(_mutmut("results", "--all", "true"), cwd=ROOT, capture_output=True, text=True, check=True)
    found = dict(line.strip().rsplit(": ", 1) for line in listed.stdout.splitlines() if ": " in line)
    found = {
        name: status for name, status in found.items()
        if status in (*ALIVE, *NOTICED) and (not asked.patterns or any(fnmatchcase(name, p) for p in asked.patterns))
    }  # fmt: skip
    with ThreadPoolExecutor(asked.jobs) as pool:
        survivors = list(pool.map(_survivor, [name for name, status in found.items() if status in ALIVE]))
    return tell(found, survivors)


def tell(found: dict[str, str], survivors: list[Survivor]) -> int:
    """Print the survivors that have no explanation, and the score."""
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))["explained"]
    explained: Counter[int] = Counter()
    wording, open_ones = 0, []
    for each in survivors:
        fits = [
            number for number, entry in enumerate(entries)
            if fnmatchcase(each.function, entry["where"]) and fnmatchcase(each.old, entry["line"])
        ]  # fmt: skip
        if fits:
            explained[fits[0]] += 1
        elif each.is_wording():
            wording += 1
        else:
            open_ones.append(each)
    for each in open_ones:
        print(f"{each.name}\n  - {each.old}\n  + {each.new}")
    for number, entry in enumerate(entries):
        print(f"explained {explained[number]:3} of {entry['where']} at `{entry['line']}`: {entry['reason']}")
    statuses = Counter(found.values())
    noticed = sum(statuses[status] for status in NOTICED)
    print(f"{len(found)} mutants: {noticed} noticed ({noticed / max(len(found), 1):.1%}; "
          f"by types {statuses['caught by type check']}), {explained.total()} explained, {wording} of wording, "
          f"{len(open_ones)} open")  # fmt: skip
    return 1 if open_ones else 0


def _mutmut(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("mutmut")), *words]


def _survivor(name: str) -> Survivor:
    shown = subprocess.run(_mutmut("show", name), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in shown.splitlines() if line[:1] in "-+" and not line.startswith(("---", "+++"))]
    old, new = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    module, _, function = name.rpartition("__mutmut_")[0].rpartition(".")
    function = function.removeprefix("x").removeprefix("_").strip("ǁ").replace("ǁ", ".")  # xǁ_Classǁmethod, x__function
    return Survivor(name, f"{module}.{function}", old, new)


def _tokens(line: str) -> list[str]:
    found: list[str] = []
    with suppress(tokenize.TokenError, IndentationError):  # a line is rarely a whole statement
        found.extend(token.string for token in tokenize.generate_tokens(io.StringIO(line).readline))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
