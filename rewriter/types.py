"""The values that the rooms hand to each other: frozen, picklable, without behaviour of their own.

Lines are 1-based. Columns are 0-based offsets in UTF-8 bytes, as :mod:`ast` counts them; only
:mod:`rewriter.report` and :mod:`rewriter.formats` turn them into what a person or a viewer counts.
Paths are absolute strings; :mod:`rewriter.report` makes them relative to where the user stands.
"""

from __future__ import annotations

from typing import Literal

from rewriter.frozen import Frozen

CACHE_DIR = "cache_dir"
LOCAL_FILES_ONLY = "local_files_only"
NO_KEYWORDS = frozenset({"type", "_delete_", "_scope_"})
"""Keys of a component's dict that mmengine takes for itself: no loader ever sees them."""


class Span(Frozen):
    """Where a piece of source stands: ``ast``'s numbers (end exclusive)."""

    line: int
    column: int
    end_line: int
    end_column: int


class Value(Frozen):
    """What stands for a keyword: a Python literal, or an expression that only running would tell.

    ``literal`` is True when ``value`` is what ``ast.literal_eval`` gives; else ``value`` is None.
    ``text`` is the source as written (one line, shortened to 200 characters).
    """

    literal: bool
    value: object
    text: str


class Keyword(Frozen):
    """One keyword of a component, with the span of its value expression."""

    key: str
    value: Value
    span: Span


class Override(Frozen):
    """What sets (or may set, or removes) a key of a component later than the keyword that is written for it.

    A statement (``vae["k"] = v``, ``vae.update(k=v)``), or in the dict itself a spread behind the keyword or a key
    that is computed. ``key`` is None where the key itself is not a literal. ``certain`` is False under an ``if``, a
    loop or a ``try``, and where it cannot be told what is spread. ``why``: where nobody can see whether the line
    changes anything (a call that is given the dict, a function that mentions it), what it does.
    """

    key: str | None
    value: Value | None
    line: int
    certain: bool
    why: str | None = None


class Taker(Frozen):
    """A dict that takes over what a component holds, straight (``dict(vae, ...)``, ``{**vae}``) or by way of others.

    ``places``: where it stands, as keys. ``stars``: it is a call that takes it over by ``**``; ``given``: the keys that
    this call has from elsewhere (None among them: it may have any), so that one more of them would be a TypeError.
    """

    span: Span
    places: tuple[tuple[str, ...], ...] = ()
    stars: bool = False
    given: tuple[str | None, ...] = ()

    def clashes(self, key: str) -> bool:
        """Whether the call would get ``key`` twice, were it in the component too."""
        return key in self.given or None in self.given


Form = Literal["call", "literal", "other"]


class Component(Frozen):
    """A config dict that builds a module, at one place where it is written.

    One name can be written in several places (both branches of an ``if``): each is a component of its own.

    ``keys``: the path from the top-level name, ``("model", "vae")``.
    ``span``: of the expression that an edit would change: ``dict(...)`` (form "call"), ``{...}`` ("literal"), or
    whatever else stands there ("other": a call, an attribute, a string; nothing can be edited).
    ``statement``: span of the top-level statement (module body) that holds ``span``.
    ``written``: what is written in this very dict, in order; the keys that an edit can replace or remove.
    ``values``: what a build would see: defaults from ``**common`` or a positional base that could be read, then
    ``written``, then certain later overrides. Order of first appearance.
    ``ways``: how it is written, any of "alias", "conditional", "spread", "positional", "annotated", "nested".
    ``unsure``: why keys may be there that nobody can see without running the file, or None.
    ``overrides``: later statements that change keys of it.
    ``replaced_by``: line of the later unconditional assignment that replaces it whole, or None.
    ``shared_with``: where else the same dict object stands by alias, dotted (``vae = common``: "common").
    ``delete``: ``_delete_=True`` stands in it (mmengine does not merge the base's dict).
    ``origin``: path of the ``_base_`` file that writes it, where this file only inherits it (way "inherited").
    ``takers``: dicts of the same file that are made from it.
    """

    keys: tuple[str, ...]
    span: Span
    statement: Span
    form: Form
    text: str
    written: tuple[Keyword, ...] = ()
    values: tuple[tuple[str, Value], ...] = ()
    ways: tuple[str, ...] = ()
    unsure: str | None = None
    overrides: tuple[Override, ...] = ()
    replaced_by: int | None = None
    shared_with: tuple[str, ...] = ()
    delete: bool = False
    origin: str | None = None
    takers: tuple[Taker, ...] = ()

    @property
    def name(self) -> str:
        """The last key: what ``--component`` selects."""
        return self.keys[-1]


class Problem(Frozen):
    """Why a file could not be read: what was found and what to do about it."""

    line: int
    column: int
    message: str
    remedy: str


class Ignore(Frozen):
    """A comment ``# opensora-rewriter: ignore[OSR001]``; ``codes`` empty means every code."""

    line: int
    codes: tuple[str, ...]


class BaseChange(Frozen):
    """That a file changes what its bases hold, or may change it, before it inherits it (``_base_.vae["k"] = v``).

    ``keys``: of the dict that is changed (empty: of all that they hold). ``key``: in that dict; None: it may be any.
    ``why``: what changes it. ``text``: of what the key is set to.
    """

    keys: tuple[str, ...]
    key: str | None
    line: int
    why: str
    text: str = ""


class ConfigFile(Frozen):
    """What a config file says, read without running it.

    ``bases``: ``_base_`` targets as absolute paths. ``bases_unknown``: why some cannot be told, or None.
    ``base_span``: of the ``_base_`` assignment. ``base_changes``: what it does to what they hold.
    ``assigned``: top-level names that the file binds at all (also to None or a string).
    ``problem``: the file could not be read; everything else is then empty.
    """

    path: str
    components: tuple[Component, ...] = ()
    bases: tuple[str, ...] = ()
    bases_unknown: str | None = None
    assigned: frozenset[str] = frozenset()
    ignores: tuple[Ignore, ...] = ()
    problem: Problem | None = None
    base_span: Span | None = None
    base_changes: tuple[BaseChange, ...] = ()


# --- loaders -----------------------------------------------------------------------------------


class Step(Frozen):
    """One step of the way from a registered name to a hub call: a function, and the line in it that leads on."""

    function: str  # "OpenSoraVAE_V1_2", "T5Encoder.__init__"
    path: str
    line: int


class HubCall(Frozen):
    """A call that reads through the Hugging Face cache, for one set of keyword values.

    ``callee``: as written, ``"AutoTokenizer.from_pretrained"``; ``library``: the package that the class or function
    comes from ("transformers", "diffusers", "huggingface_hub", or "opensora" for a checkout's own PreTrainedModel);
    ``class_name``: "AutoTokenizer", or "" for a function.
    ``repo_id``: the first argument where it is a string that could be followed, else None; may be a local path.
    ``repo_text``: what stands there, for messages. ``hard_coded``: the loader's source names it, no config does.
    ``subfolder``, ``revision``, ``filename``: strings, or None where absent or unknown.
    ``reached``: keys of the loader's own keywords ("cache_dir", "local_files_only") that arrive at this call.
    ``certain``: False where a condition on the way could not be decided.
    ``via``: where the call is made for a component dict nested in the config's own values, the keys that lead to it
    (``("vae_2d",)``): that nested component answers for it.
    ``unseen``: keys that may arrive or not, since not all that the call is given could be told.
    """

    callee: str
    kind: Literal["from_pretrained", "hf_hub_download", "snapshot_download"]
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
    via: tuple[str, ...] = ()
    unseen: frozenset[str] = frozenset()


class Rejection(Frozen):
    """A TypeError that building would raise: ``function`` has no parameter ``key``."""

    key: str
    function: str
    path: str
    line: int
    chain: tuple[Step, ...] = ()
    via: tuple[str, ...] = ()


class Failure(Frozen):
    """An assertion of a loader that is false for these values (v1.1 ``t5`` takes one repo id and nothing else)."""

    text: str
    path: str
    line: int


class Trace(Frozen):
    """What building ``type`` with given keyword values would do, as far as the sources tell without running them.

    ``found``: the type is registered in the sources (or in the built-in table: ``builtin``).
    ``accepts``: keys among "cache_dir" and "local_files_only" that the loader's signature takes (by name or by
    ``**kwargs``). ``path``/``line``: the loader's definition.
    ``unknown``: what could not be followed, in plain words, one each. ``files``: sources whose functions run for it.
    ``asked``: keywords whose values, where they are known, or whose being left out had a part in this.
    """

    type: str
    found: bool
    builtin: bool = False
    path: str = ""
    line: int = 0
    accepts: frozenset[str] = frozenset()
    calls: tuple[HubCall, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    failures: tuple[Failure, ...] = ()
    unknown: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()


# --- findings, edits ---------------------------------------------------------------------------

Severity = Literal["error", "warning"]


class Finding(Frozen):
    """One diagnosis. ``component`` is dotted ("model.vae") or empty; ``remedy`` can be pasted or followed as it is."""

    code: str
    path: str
    line: int
    column: int
    component: str
    message: str
    remedy: str = ""
    severity: Severity = "error"


class _Remove(Frozen):
    """The one value of :data:`REMOVE`."""

    def __repr__(self) -> str:
        return "REMOVE"

    def __reduce__(self) -> str:
        return "REMOVE"  # by name: it is compared by identity, in other processes too


REMOVE = _Remove()


class ConfigChange(Frozen):
    """Give ``key`` of the dict at ``component.span`` a new literal ``value``, or take it away (:data:`REMOVE`)."""

    component: Component
    key: str
    value: object


SourceTarget = Literal["parameter", "call", "dict", "value", "guard", "docstring"]


class SourceChange(Frozen):
    """One edit of a loader's source.

    ``target`` "parameter": the function definition at ``span`` gets the parameter ``name``, which holds ``key``, with
    the literal ``default``. "call": the call at ``span`` gets the keyword ``key=name``. "dict": the ``dict(...)`` or
    ``{...}`` at ``span`` gets it. ``name`` is the local variable that holds the value in the function around.
    "value": the expression at ``span`` becomes ``name`` (empty: the literal ``default``).
    "guard": the ``if`` at ``span`` becomes the ``elif`` of ``if name is not None:``, which sets each variable of
    ``assign`` to its string. "docstring": the docstring at ``span``, which lists the parameters in ``assign``, gets a
    line for ``name``.
    """

    path: str
    target: SourceTarget
    span: Span
    key: str
    name: str
    default: object = None
    assign: tuple[tuple[str, str], ...] = ()


Kind = Literal["source", "config"]


class FileEdit(Frozen):
    """New bytes for one file. ``old`` is what was read; a file that no longer holds it is not overwritten."""

    path: str
    old: bytes
    new: bytes
    kind: Kind = "config"
    changes: tuple[ConfigChange, ...] = ()
