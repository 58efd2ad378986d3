"""The values that the parts of this package exchange.

Lines are 1-based, columns 0-based and in UTF-8 bytes, as :mod:`ast` counts them. Paths are absolute strings.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Literal, NamedTuple

CACHE_DIR = "cache_dir"
LOCAL_FILES_ONLY = "local_files_only"
KEYS = (CACHE_DIR, LOCAL_FILES_ONLY)  # of a loader, followed to its hub calls
RESERVED_KEYS = frozenset({"type", "_delete_", "_scope_"})  # mmengine keeps them: no loader ever sees them

Severity = Literal["error", "warning"]
Outcome = Literal["not needed", "already", "set", "cannot", "untouched", "inherited"]


class REMOVE:  # a class, so that it is the same one in another process
    """The new value of a keyword that is to be taken away."""


class Span(NamedTuple):
    """A piece of source, in ``ast``'s numbers (end exclusive)."""

    line: int
    column: int
    end_line: int
    end_column: int


class Value(NamedTuple):
    """The value of a keyword: ``value`` counts only where ``known``; else ``written`` is its source, on one line."""

    written: str = ""
    known: bool = False
    value: object = None

    @classmethod
    def of(cls, value: object) -> Value:
        """A known value."""
        return cls("", True, value)

    @property
    def text(self) -> str:
        """How messages show it."""
        return repr(self.value) if self.known else self.written


class Component(NamedTuple):
    """A config dict that builds a module, at one of the places where it is written (both branches of an ``if``).

    ``keys``: the path from the top-level name, ``("model", "vae")``. ``span``: of ``dict(...)`` or ``{...}``.
    ``keywords``: its own keys. ``values``: what a build sees: those of ``_base_`` files, then its own, then those of
    later statements ``name["key"] = value``, whose lines are ``overrides``.
    ``unsure``: why it cannot be decided (OSR007). ``origin``: the ``_base_`` file that writes it, if only inherited.
    """

    keys: tuple[str, ...]
    span: Span
    keywords: tuple[str, ...] = ()
    values: Mapping[str, Value] = {}
    overrides: Mapping[str, int] = {}
    unsure: str | None = None
    origin: str | None = None

    @property
    def name(self) -> str:
        """The last key: what ``--component`` selects."""
        return self.keys[-1]

    @property
    def dotted(self) -> str:
        """The keys as messages show them, ``"model.vae"``."""
        return ".".join(self.keys)


class Problem(NamedTuple):
    """Why a file could not be read: what was found and what to do about it."""

    line: int
    column: int
    message: str
    remedy: str


class Ignore(NamedTuple):
    """A comment ``# opensora-rewriter: ignore[OSR001]``; ``codes`` empty means every code."""

    line: int
    codes: tuple[str, ...]


class Config(NamedTuple):
    """What a config file says, read without running it. ``problem``: it could not be read; all else is then empty.

    ``bases``: ``_base_`` files; ``bases_unknown``: why some cannot be named. ``bound``: all its top-level names.
    """

    path: str
    components: tuple[Component, ...] = ()
    bases: tuple[str, ...] = ()
    bases_unknown: str | None = None
    bound: frozenset[str] = frozenset()
    ignores: tuple[Ignore, ...] = ()
    problem: Problem | None = None


class Step(NamedTuple):
    """One function ("T5Encoder.__init__") on the path from a registered name to a hub call.

    ``node``: the call or dict that leads on. ``held``: key -> local name. ``passes``: keys passed on.
    """

    function: str
    path: str
    definition: ast.FunctionDef | ast.ClassDef
    node: ast.expr
    held: Mapping[str, str] = {}
    passes: frozenset[str] = frozenset()


class HubCall(NamedTuple):
    """A call that reads through the Hugging Face cache, for one set of keyword values.

    ``callee``: as written, "AutoTokenizer.from_pretrained". ``kind``: its last name. ``library``: the package that
    defines it. ``class_name``: "" for a function. ``repo_id``: the first argument (maybe a path), None where not known;
    ``repo_text``: as written. ``hard_coded``: in the loader's source, not in a config. ``subfolder``, ``revision``,
    ``filename``: None where not given, or not known. ``reached``: keys of the loader's keywords that arrive;
    ``unseen``: that may arrive. ``certain``: no condition on the path was undecided.
    """

    callee: str
    kind: str
    library: str
    class_name: str
    path: str
    line: int
    column: int
    repo_id: str | None
    repo_text: str
    hard_coded: bool = False
    subfolder: str | None = None
    revision: str | None = None
    filename: str | None = None
    reached: frozenset[str] = frozenset()
    certain: bool = True
    chain: tuple[Step, ...] = ()
    unseen: frozenset[str] = frozenset()


class Rejection(NamedTuple):
    """A TypeError that building would raise: ``function`` has no parameter ``key``."""

    key: str
    function: str
    path: str
    line: int


class Failure(NamedTuple):
    """An assertion or ``raise`` that a loader certainly reaches (v1.1's ``t5`` takes one repo id and nothing else)."""

    text: str
    path: str
    line: int


class Trace(NamedTuple):
    """What building a type with these keyword values would do, as far as the sources plainly say.

    ``found``: it is registered there (or in the table of released loaders: ``guessed``), at ``path`` and ``line``.
    ``lacking``: parameters without value and default. ``calls``: also of the components that it builds (``vae_2d``).
    ``unknown``: what could not be followed, with file and line. ``files``: the sources whose functions run for it.
    """

    found: bool
    guessed: bool = False
    path: str = ""
    line: int = 0
    lacking: frozenset[str] = frozenset()
    calls: tuple[HubCall, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    failures: tuple[Failure, ...] = ()
    unknown: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()


class Finding(NamedTuple):
    """One diagnosis. ``component`` is dotted ("model.vae") or empty. ``remedy``: a command to paste, or advice;
    ``{path}`` in it stands for the file as the report shows it. Findings of one code and ``cause`` are one message.
    """

    code: str
    path: str
    line: int
    column: int
    component: str
    message: str
    remedy: str = ""
    severity: Severity = "error"
    cause: str = ""


class Note(NamedTuple):
    """A fact for the reader that is no finding, and leaves the exit code alone."""

    message: str
    path: str = ""
    line: int = 0


class ConfigChange(NamedTuple):
    """Give ``key`` of the dict at ``component.span`` a new literal ``value``, or take it away (:data:`REMOVE`)."""

    component: Component
    key: str
    value: object


class SourceChange(NamedTuple):
    """One edit of the source of a loader, a script or a config.

    "parameter": the function with its header at ``span`` gets the trailing parameter ``name`` with the literal
    ``default``. "keyword": the call or dict at ``span`` gets ``key=name`` (or the literal ``default``), or loses it
    (:data:`REMOVE`). "value": the expression at ``span`` becomes ``name`` (or ``default``). "guard": the ``if`` with
    its header at ``span`` becomes the ``elif`` of ``if name is not None:``, which sets ``assign`` to ``default``.
    ``function``: the function that is edited, as :class:`Step` names it.
    """

    path: str
    target: Literal["parameter", "keyword", "value", "guard"]
    span: Span
    key: str
    name: str = ""
    default: object = None
    assign: tuple[str, ...] = ()
    function: str = ""


class FileEdit(NamedTuple):
    """New bytes for one file. ``old`` is what was read; a file that no longer holds it is not overwritten."""

    path: str
    old: bytes
    new: bytes
    kind: Literal["source", "config", "script"] = "config"
    changes: tuple[ConfigChange, ...] = ()


class Decision(NamedTuple):
    """What is decided about one component. ``trace``: with its new keywords, that need ``edits`` of its loader."""

    component: Component
    outcome: Outcome
    type: str | None
    findings: tuple[Finding, ...] = ()
    changes: tuple[ConfigChange, ...] = ()
    trace: Trace | None = None
    edits: tuple[SourceChange, ...] = ()


class FileResult(NamedTuple):
    """What one config file came to: what was read (None: it could not be), and what ``rewrite`` would write.

    ``skipped_lines``: of components that nobody selected. ``bases``: all that it inherits from, also through others.
    """

    path: str
    root: str | None
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()
    old: bytes | None = None
    new: bytes | None = None
    ignores: tuple[Ignore, ...] = ()
    skipped_lines: tuple[int, ...] = ()
    bases: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[ConfigChange, ...]:
        """What is to change in the file, component by component."""
        return tuple(change for decision in self.decisions for change in decision.changes)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """The findings of the file, and of each of its decisions."""
        return (*self.findings, *(finding for decision in self.decisions for finding in decision.findings))


class Plan(NamedTuple):
    """All edits and findings of one run. ``sources``: edits of loaders (and scripts), each complete."""

    results: tuple[FileResult, ...]
    sources: tuple[FileEdit, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def config_edits(self) -> tuple[FileEdit, ...]:
        """The edits of the configs that are to change."""
        return tuple(
            FileEdit(result.path, result.old, result.new, "config", result.changes)
            for result in self.results
            if result.old is not None and result.new is not None and result.new != result.old
        )

    @property
    def edits(self) -> tuple[FileEdit, ...]:
        """Loader sources first, configs last: the order in which they are renamed into place."""
        return (*self.sources, *self.config_edits)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """The findings of the run, and of each of its files."""
        return (*self.findings, *(finding for result in self.results for finding in result.all_findings))
