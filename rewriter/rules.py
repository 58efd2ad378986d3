"""The table of findings: one entry a code, read from ``rules.toml`` beside this file."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import NamedTuple

from rewriter.files import parse_toml, read_bytes
from rewriter.model import Severity

# A file that cannot be read, or a run that cannot be proved, is not a matter of taste.
NEVER_IGNORED = frozenset({"OSR900", "OSR901", "OSR902"})


class Rule(NamedTuple):
    """One kind of finding. ``name``: a slug. ``meaning``: one line. ``explanation``: why it matters, and the cure.

    ``bad``/``good``: config source that has the finding, and the same after the cure (empty where no edit cures).
    """

    code: str
    name: str
    meaning: str
    severity: Severity
    explanation: str
    bad: str = ""
    good: str = ""


@functools.cache
def all_rules() -> Mapping[str, Rule]:
    """Every finding of every command, by code: configs, caches and locks, weights and builds."""
    rules = {}
    table = read_bytes(os.path.join(os.path.dirname(__file__), "rules.toml")).decode()
    for code, entry in sorted(parse_toml(table).items()):
        texts = {"severity": "error", **{key: text.strip() for key, text in entry.items()}}
        rules[code] = Rule(code, **{**texts, "explanation": " ".join(texts["explanation"].split())})
    return rules
