"""Find the source changes that let a keyword of a loader reach every hub call: pure, nothing is edited here.

The loader is evaluated with the keyword given; where a hub call does not see it, the deepest function on the way that
still holds it passes it one step further. That change is taken as if it were made, and the evaluation runs again,
until every hub call is reached. So the same rules that read a loader decide how it is edited, and a second run on the
edited sources finds nothing to do.

Then the loader is evaluated with values that nobody knows, so that it goes every way: calls that the key reached there
before the changes are led to again, and a keyword that some callee rejects, when it is the one that is called, is
refused.
"""

from __future__ import annotations

import ast
import functools
import os
import re
from collections.abc import Mapping
from itertools import zip_longest
from weakref import WeakKeyDictionary

from rewriter.checkout import outside
from rewriter.frozen import Frozen, replace
from rewriter.loaders import Sources
from rewriter.loaders.evaluate import Evaluation
from rewriter.loaders.frames import Arguments, Frame, Place, Reach, Refused, Virtual, place_of, source_of
from rewriter.loaders.library import DOWNLOADS
from rewriter.loaders.unit import FunctionNode
from rewriter.loaders.values import Class, Dict, External, Function, Module, Unknown, Val, elements, join, key_of
from rewriter.locality import locality
from rewriter.types import CACHE_DIR, LOCAL_FILES_ONLY, SourceChange, SourceTarget, Span, Value

MAX_ROUNDS = 200

_WORKS_WITH_PATHS = frozenset({"Path", "glob", "open", "os", "pathlib", "print", "shutil", "str", "torch"})

_TAKE_KEYWORDS = frozenset({"from_pretrained", *DOWNLOADS, "build", "build_module", "dict", "partial"})

_UNSET = {CACHE_DIR: None, LOCAL_FILES_ONLY: False}
_STANDS_FOR = {CACHE_DIR: Value(True, "/", "'/'"), LOCAL_FILES_ONLY: Value(True, True, "True")}


class SpecialCase(Frozen):
    """A loader that joins a path where a repo id is needed: with ``key`` given, it must load ``repo_id`` instead.

    ``function``: where the path is made. ``test``: the variable of the ``if`` that makes it. ``variables``: those that
    hold what is loaded.
    """

    function: str
    test: str
    variables: tuple[str, ...]
    repo_id: str
    key: str = CACHE_DIR


# opensora/models/text_encoder/t5.py of tag v1.0.0: `cache_dir` there is the folder of a flat `t5-v1_1-xxl/`.
SPECIAL_CASES = (
    SpecialCase("T5Embedder.__init__", "local_cache", ("tokenizer_path", "path"), "DeepFloyd/t5-v1_1-xxl"),
)


class Threading(Frozen):
    """The changes that let the key reach every hub call; with ``refusal`` (why that cannot be done) there are none.

    ``refusal_path``, ``refusal_line``: where the obstacle stands. ``to_repo``: with these changes the loader reads a
    repo where it now reads a path (v1.0.0's ``t5``).
    """

    changes: tuple[SourceChange, ...] = ()
    refusal: str | None = None
    refusal_path: str = ""
    refusal_line: int = 0
    to_repo: bool = False


def thread(
    sources: Sources, type_name: str, values: Mapping[str, Value], key: str, default: object = None
) -> Threading:
    """Which changes make ``key`` of the registered loader ``type_name`` reach every hub call that ``values`` lead to.

    Args:
        sources: of the checkout, unedited.
        type_name: the registered name.
        values: the component's keywords; ``key`` need not be among them.
        key: "cache_dir" or "local_files_only".
        default: of the loader's own parameter; None means the neutral one (None, or False). Inner functions always
            get the neutral one.

    Returns:
        No change where nothing is loaded from the Hub, or where the key already arrives everywhere.
    """
    given = dict(values)
    known = given.get(key)
    if known is None or (known.literal and not known.value):
        given[key] = _STANDS_FOR[key]
    neutral = _UNSET[key]
    search = _Search(sources, key, neutral if default is None else default, neutral)
    try:
        for _ in range(MAX_ROUNDS):
            evaluation = sources.evaluate(type_name, given, search.virtual if search.changes else None)
            before = len(search.changes)
            if not search.step(evaluation):
                break
            search.check(before, evaluation)
        else:
            raise _Refusal(f"the way of {key} through this loader is too long", "", 0)
        search.own_default(evaluation)
        _keep(search, type_name, evaluation)
        _refuse_rejections(search, evaluation)
        if evaluation.failures:
            bare = {name: value for name, value in values.items() if name != key}
            _refuse_failures(sources.evaluate(type_name, bare), evaluation, key)
    except _Refusal as refusal:
        return Threading((), refusal.why, refusal.path, refusal.line)
    changes = tuple(dict.fromkeys(search.changes))
    away = next((change for change in changes if outside(change.path, sources.root)), None)
    if away is not None:
        why = f"its source is a link to {os.path.realpath(away.path)}, out of the checkout; name that one's root"
        return Threading((), f"{why} with --opensora-source DIR", away.path, away.span.line)
    return Threading(changes, to_repo=any(change.target == "guard" for change in changes))


def _refuse_rejections(search: _Search, evaluation: Evaluation) -> None:
    """Refuse where what is given the key by the config or by the changes rejects it: a ``__new__`` gets none here."""
    given = {id(node) for _, node in search.written}
    for refused in evaluation.refused if search.changes else ():
        rejection = refused.rejection
        if rejection.key == search.key and not rejection.via and (refused.frame is None or id(refused.node) in given):
            raise _Refusal(f"{rejection.function} takes no {rejection.key}", rejection.path, rejection.line)


def _refuse_failures(before: Evaluation, after: Evaluation, key: str) -> None:
    """Refuse where the loader itself objects to the key: it asserts that there is none, or raises if there is one."""
    new = [failure for failure in after.failures if failure not in before.failures]
    if new:
        raise _Refusal(f"`{new[0].text}` fails with {key}", new[0].path, new[0].line)


class _Refusal(Exception):  # noqa: N818 - a result, not an error
    def __init__(self, why: str, path: str, line: int) -> None:
        self.why = why
        self.path = path
        self.line = line


class _Hop(Frozen):
    """One function on the way, and the call or dict in it that leads on."""

    frame: Frame
    node: ast.expr
    names: Mapping[str, str]


class _Search:
    def __init__(self, sources: Sources, key: str, default: object, neutral: object) -> None:
        self.sources = sources
        self.key = key
        self.default = default
        self.neutral = neutral
        self.virtual = Virtual()
        self.changes: list[SourceChange] = []
        self.unseen: set[Place] = set()  # the calls that get a ``**`` of which not all is known
        self.written: list[tuple[Frame, ast.expr]] = []  # the calls and dicts that get the key
        self.cuts = False  # a ``**kwargs`` holds the key no longer

    def check(self, before: int, evaluation: Evaluation) -> None:
        """Refuse where a round brought nothing new: the key gets lost in a way that no edit here mends."""
        if all(change in self.changes[:before] for change in self.changes[before:]):
            raise _Refusal(f"{self.key} gets lost on the way to a hub call", *evaluation.defined)

    # --- one round

    def step(self, evaluation: Evaluation) -> bool:
        """Lead the key to one more call; False: nothing is left to do."""
        self.unseen = evaluation.unseen
        pending = [reach for reach in evaluation.reaches if self._wanted(reach)]
        for reach in pending:
            root = _way(reach)[0].frame
            if self.default != self.neutral and _captured(root, self.key):
                self._take(root, self.key)  # a default needs a parameter of its own
                return True
        for reach in pending:
            if self.key not in reach.call.reached:
                self._lead(_way(reach), reach)
                return True
        return bool(pending) and self._keep_out(evaluation)

    def _wanted(self, reach: Reach) -> bool:
        """Whether a call reads from the Hub, or would with a right path; a nested config dict answers for itself."""
        call = reach.call
        if call.via or (call.repo_id is None and call.repo_text == "None"):
            return False
        return call.repo_id is None or locality(call.repo_id, self.sources.root) != "local"

    def _lead(self, way: list[_Hop], reach: Reach) -> None:
        """Lead the key further on the way to a hub call."""
        for place in reversed(range(len(way))):
            hop = way[place]
            name = hop.names.get(self.key)
            if name is not None:
                self._follow(way[place:], name, reach)
                return
            if _captured(hop.frame, self.key):
                self._take(hop.frame, self.key)
                return
        if way[0].frame.node is None:
            raise _Refusal("the call stands outside of any function", way[0].frame.unit.path, way[0].node.lineno)
        self._take(way[0].frame, self.key)
        self._follow(way, self.key, reach)

    def _follow(self, way: list[_Hop], name: str, reach: Reach) -> None:
        """Pass the key on from the first hop, which holds it as ``name``, as far as that needs no other evaluation."""
        for hop, following in zip_longest(way, way[1:]):
            self._guard(hop, name)
            self._refuse_other_meaning(hop.frame, name)
            if following is None:
                self._write(hop, self.key, name, reach.given.get(self.key))
            else:
                name, new = self._pass_on(hop, name, following.frame)
                if not new:
                    return

    def _refuse_other_meaning(self, frame: Frame, name: str) -> None:
        """Refuse a registered loader whose own parameter, such as a folder of features, only has the key's name."""
        node = frame.node
        if frame.registered and node is not None and name in _parameters(node) and _serves_otherwise(node, name):
            where = f"{_called(frame)} uses the name {name} for something else"
            raise _Refusal(where, frame.unit.path, node.lineno)

    def lead_again(self, reach: Reach) -> None:
        """Lead the key to a call that it reached before the changes."""
        self._lead(_way(reach), reach)

    def _keep_out(self, evaluation: Evaluation) -> bool:
        """Where ``**kwargs`` carries the key into a function that rejects it, hold it in a parameter instead."""
        for refused in evaluation.refused:
            if refused.rejection.key != self.key or refused.rejection.via or key_of(refused.value) != self.key:
                continue
            frame = refused.frame
            if frame is not None and _captured(frame, self.key):
                self._take(frame, self.key)
                return True
        return False

    def own_default(self, evaluation: Evaluation) -> None:
        """Write the asked default into the loader's own parameter, where it has one already."""
        loader = evaluation.loader
        if self.default == self.neutral or loader is None or not any(map(self._wanted, evaluation.reaches)):
            return
        place = place_of(loader.unit.path, loader.node)
        if self.key in self.virtual.parameters.get(place, {}):
            return
        node = _default_of(loader.node, self.key)
        if isinstance(node, ast.Constant) and node.value != self.default:
            self.changes.append(SourceChange(loader.unit.path, "value", _span(node), self.key, "", self.default))

    # --- the changes

    def _take(self, frame: Frame, name: str) -> None:
        """Give the function of ``frame`` a parameter ``name`` that holds the key."""
        node, path = frame.node, frame.unit.path
        assert node is not None
        if frame.link is None and not frame.registered:
            raise _Refusal(f"{node.name} runs without a call that could pass {self.key}", path, node.lineno)
        if name in self.sources.names_in(node):
            where = f"{_called(frame)} uses the name {name} for something else"
            raise _Refusal(where, path, node.lineno)
        if "locals" in self.sources.names_in(node):
            raise _Refusal(
                f"{_called(frame)} uses locals(), where one more name may be one too many", path, node.lineno
            )
        default = self.default if frame.registered else self.neutral
        self.virtual.parameters.setdefault(place_of(path, node), {})[name] = default
        self.changes.append(SourceChange(path, "parameter", _span(node), self.key, name, default))
        self._document(path, node, name)
        if frame.captured:
            self.cuts = True

    def _document(self, path: str, node: FunctionNode, name: str) -> None:
        """A docstring that lists the parameters gets a line for the new one."""
        first = node.body[0]
        if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
            return
        text = first.value.value
        if isinstance(text, str):
            listed = [each for each in _parameters(node) if re.search(rf"(?m)^[ \t]+{each}\b[^\n]*?(?:--|:)", text)]
            if listed:
                assign = tuple((each, "") for each in listed)
                self.changes.append(SourceChange(path, "docstring", _span(first.value), self.key, name, None, assign))

    def _pass_on(self, hop: _Hop, name: str, inner: Frame) -> tuple[str, bool]:
        """Pass the key from one function to the next, which gets a parameter for it unless it has one.

        Its name there, and whether it is new: else the next may lead it on already, or hold it in ``**kwargs``.
        """
        node = inner.node
        assert node is not None
        if inner.link is not None and inner.link.by_object:
            raise _Refusal(f"{_called(inner)} gets its values by way of an object", inner.unit.path, node.lineno)
        parameter = self._parameter_for(hop, inner, node)
        new = parameter not in _parameters(node) and node.args.kwarg is None
        if new:
            self._take(inner, parameter)
        self._write(hop, parameter, name, None)
        return parameter, new

    def _parameter_for(self, hop: _Hop, inner: Frame, node: FunctionNode) -> str:
        """The parameter of the next function that may hold the key: its own name, or another where that is taken."""
        for name in (self.key, f"hub_{self.key}", f"huggingface_{self.key}"):
            own = name in _parameters(node)
            if own and self._is_free(hop.node, name, inner):
                return name
            if not own and name not in self.sources.names_in(node):
                return name
            if inner.registered:
                break
        raise _Refusal(f"{_called(inner)} uses the name {self.key} for something else", inner.unit.path, node.lineno)

    def _is_free(self, node: ast.expr, name: str, inner: Frame) -> bool:
        """Whether a parameter that is there is not fed by this call, or with the neutral value, and not used up."""
        if inner.node is not None and _serves_otherwise(inner.node, name):
            return False
        keyword = _keyword_of(node, name)
        if keyword is not None:
            return isinstance(keyword, ast.Constant) and keyword.value == self.neutral
        given = inner.given.get(name)
        return given is None or key_of(given) == self.key

    def _write(self, hop: _Hop, keyword: str, name: str, old: Val | None) -> None:
        """Put ``keyword=name`` at a call or dict, in place of a neutral constant if need be."""
        path, node = hop.frame.unit.path, hop.node
        added = self.virtual.keywords.setdefault(place_of(path, node), {})
        if added.get(keyword) == name:  # on another way to it
            return
        written = _keyword_of(node, keyword)
        if old is not None or written is not None:
            if not (isinstance(written, ast.Constant) and written.value == self.neutral):
                raise _Refusal(f"{keyword} is given another value here", path, node.lineno)
            self.changes.append(SourceChange(path, "value", _span(written), keyword, name))
        elif place_of(path, node) in self.unseen:
            why = f"what `**` gives this call cannot be told, and {keyword} twice would be a TypeError"
            raise _Refusal(why, path, node.lineno)
        else:
            target: SourceTarget = "call" if isinstance(node, ast.Call) else "dict"
            self.changes.append(SourceChange(path, target, _span(node), keyword, name))
        added[keyword] = name
        self.written.append((hop.frame, node))

    def _guard(self, hop: _Hop, name: str) -> None:
        """The special cases: load the repo instead of the path wherever the key is given."""
        frame = hop.frame
        for case in SPECIAL_CASES:
            if case.key != self.key or frame.value is None or frame.value.name != case.function or frame.node is None:
                continue
            for node in frame.node.body:
                place = place_of(frame.unit.path, node)
                if _is_if(node, case) and place not in self.virtual.guards:
                    assign = tuple((variable, case.repo_id) for variable in case.variables)
                    self.virtual.guards[place] = (name, assign)
                    change = SourceChange(frame.unit.path, "guard", _span(node), self.key, name)
                    self.changes.append(replace(change, assign=assign))


_Kept = tuple[tuple[SourceChange, ...], tuple[str, str, int] | None]
"""The changes, or what a refusal says."""
_kept: WeakKeyDictionary[Sources, dict[tuple[object, ...], _Kept]] = WeakKeyDictionary()


def _keep(search: _Search, type_name: str, evaluation: Evaluation) -> None:
    """Have the changes of a search serve other values as well; the same changes are looked at once.

    Where every call and dict that gets the key names what it calls or builds, other values change nothing.
    """
    if not search.cuts and all(_is_certain(evaluation, frame, node) for frame, node in search.written):
        return
    known = _kept.setdefault(search.sources, {})
    alike = (type_name, search.key, *search.changes)
    if alike not in known:
        try:
            _Elsewhere(search, type_name, evaluation).keep()
            known[alike] = tuple(search.changes), None
        except _Refusal as refusal:
            known[alike] = (), (refusal.why, refusal.path, refusal.line)
    changes, why = known[alike]
    if why is not None:
        raise _Refusal(*why)
    search.changes[:] = changes


def _is_certain(evaluation: Evaluation, frame: Frame, node: ast.expr) -> bool:
    """Whether what a call calls, or a dict with a ``type`` builds, is the same for all values."""
    kind = _keyword_of(node, "type")
    if kind is not None or not isinstance(node, ast.Call):
        return isinstance(kind, ast.Constant)
    root = node.func
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name):
        return False
    if any(root.id in each.env for each in (frame, frame.outer) if each is not None and each.node is not None):
        return frame.cls is not None and frame.node is not None and root.id in _parameters(frame.node)[:1]
    return isinstance(evaluation.resolve(frame.unit, root.id), (Class, Function, External, Module))


class _Wide(Evaluation):
    """An evaluation with values that nobody knows: an element of which it is not known which is any of them.

    ``strange``: calls that get a new keyword, of what is not in the sources.
    """

    def __init__(self, sources: Sources, virtual: Virtual) -> None:
        super().__init__(sources, virtual)
        self.strange: list[tuple[External, ast.Call, Frame]] = []

    def eval(self, node: ast.AST, frame: Frame) -> Val:
        """The value of an expression."""
        value = super().eval(node, frame)
        if isinstance(node, ast.Subscript) and type(value) is Unknown:
            held = self.force(self._quiet(node.value, frame))
            found = list(held.items.values()) if isinstance(held, Dict) else elements(held)
            return functools.reduce(join, found) if found else value
        return value

    def _apply(self, callee: Val, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        new = place_of(frame.unit.path, node) in self.virtual.keywords
        if new and isinstance(callee, External) and callee.name.rpartition(".")[2] not in _TAKE_KEYWORDS:
            self.strange.append((callee, node, frame))
        return super()._apply(callee, node, arguments, frame)


class _Elsewhere:
    """What the changes of a search do to other values of the same loader: it is evaluated with ones nobody knows."""

    def __init__(self, search: _Search, type_name: str, evaluation: Evaluation) -> None:
        self.search = search
        self.type_name = type_name
        loader = evaluation.loader
        no_values = (
            {search.key} if loader is None or loader.owner is None else {search.key, _parameters(loader.node)[0]}
        )
        self.values = {name: Value(False, None, name) for name in evaluation.parameters() if name not in no_values}

    def keep(self) -> None:
        """Lead the key again to where it came before; refuse changes that would break a call."""
        search, key = self.search, self.search.key
        with_key = {**self.values, key: _STANDS_FOR[key]}
        before = self._evaluate(with_key, Virtual())
        reached = {_spot(reach) for reach in before.reaches if not self._misses(reach)}
        reached -= {_spot(reach) for reach in before.reaches if self._misses(reach)}
        while True:
            now = self._evaluate(with_key, search.virtual)
            lost = [reach for reach in now.reaches if self._misses(reach) and _spot(reach) in reached]
            if not lost:
                break
            count = len(search.changes)
            search.lead_again(lost[0])
            search.check(count, now)
        known = {_place(each) for each in self._evaluate(self.values, Virtual()).refused}
        plain = self._evaluate(self.values, search.virtual)
        for callee, node, frame in plain.strange:
            why = f"{callee.name} may be called on the way, and whether it takes {key} cannot be told"
            raise _Refusal(why, frame.unit.path, node.lineno)
        for refused in plain.refused:
            if _place(refused) not in known:
                rejection = refused.rejection
                why = f"{rejection.function} may be called on the way, and takes no {rejection.key}"
                raise _Refusal(why, rejection.path, rejection.line)

    def _misses(self, reach: Reach) -> bool:
        """Whether the key does not reach a call, or would be given there twice."""
        key = self.search.key
        return key not in reach.call.reached or isinstance(_keyword_of(reach.node, key), ast.Constant)

    def _evaluate(self, values: Mapping[str, Value], virtual: Virtual) -> _Wide:
        """Not remembered, since no value of the config has a part in it."""
        evaluation = _Wide(self.search.sources, virtual)
        evaluation.run(self.type_name, values)
        return evaluation


def _spot(reach: Reach) -> tuple[str, int, int]:
    return reach.call.path, reach.call.line, reach.call.column


def _place(refused: Refused) -> tuple[object, ...]:
    """What was refused, and where."""
    rejection, node = refused.rejection, refused.node
    return rejection.key, rejection.path, rejection.line, node and (node.lineno, node.col_offset)


def _is_if(node: ast.stmt, case: SpecialCase) -> bool:
    """The ``if`` of a special case, which sets its variables."""
    if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == case.test):
        return False
    stored = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return stored.issuperset(case.variables)


def _way(reach: Reach) -> list[_Hop]:
    """From the registered function to the hub call."""
    hops = [_Hop(reach.frame, reach.node, reach.names)]
    link = reach.frame.link
    while link is not None:
        hops.append(_Hop(link.frame, link.node, link.names))
        link = link.frame.link
    return hops[::-1]


def _called(frame: Frame) -> str:
    assert frame.value is not None  # it is a function's
    return frame.value.name


def _captured(frame: Frame, key: str) -> bool:
    """Whether a function holds the key in its ``**kwargs`` and nowhere else."""
    held = frame.env.get(frame.captured)
    return isinstance(held, Dict) and key in held.items and key_of(held.items[key]) == key


def _parameters(node: FunctionNode) -> list[str]:
    return [each.arg for each in (*node.args.args, *node.args.kwonlyargs)]


def _serves_otherwise(node: FunctionNode, name: str) -> bool:
    """Whether a parameter called like a directory is worked with in the function, and never handed on by that name."""
    if not name.endswith(CACHE_DIR):
        return False
    handed: set[ast.AST] = set()
    kept: set[ast.AST] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.keyword) and str(each.arg).endswith(CACHE_DIR):
            handed.update(ast.walk(each.value))
        elif isinstance(each, ast.Dict):
            handed.update(each.values[at] for at, key in enumerate(each.keys) if _is_text(key, name))
        elif isinstance(each, ast.Call) and source_of(each.func).split(".")[0] not in _WORKS_WITH_PATHS:
            handed.update(each.args)
        elif isinstance(each, ast.Assign) and isinstance(each.targets[0], (ast.Attribute, ast.Subscript)):
            kept.add(each.value)
        elif isinstance(each, ast.Compare) and all(isinstance(op, (ast.Is, ast.IsNot)) for op in each.ops):
            kept.add(each.left)
    uses = [each for each in ast.walk(node) if isinstance(each, ast.Name) and each.id == name]
    return not any(use in handed for use in uses) and any(use not in kept for use in uses)


def _default_of(node: FunctionNode, name: str) -> ast.expr | None:
    """The default of a parameter."""
    spec = node.args
    named = zip(reversed([*spec.posonlyargs, *spec.args]), reversed(spec.defaults), strict=False)
    found = [*named, *zip(spec.kwonlyargs, spec.kw_defaults, strict=True)]
    return next((default for each, default in found if each.arg == name), None)


def _keyword_of(node: ast.expr, name: str) -> ast.expr | None:
    """The value written for a keyword of a call or a key of a dict display."""
    if isinstance(node, ast.Call):
        return next((each.value for each in node.keywords if each.arg == name), None)
    assert isinstance(node, ast.Dict)  # nothing else leads on
    return next((node.values[at] for at, key in enumerate(node.keys) if _is_text(key, name)), None)


def _is_text(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def _span(node: ast.expr | ast.stmt) -> Span:
    return Span(node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
