"""Follow the calls of a loader: into the checkout's own functions, to the Hub, or no further."""

from __future__ import annotations

import ast
import builtins
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from rewriter.model import KEYS, HubCall
from rewriter.read import library
from rewriter.read.reach import can_load
from rewriter.read.syntax import dotted_name, last_name, package_of
from rewriter.read.values import UNKNOWN, Definition, External, Items, Known, Unknown, Val, apply, matters

if TYPE_CHECKING:
    from rewriter.read.walk import Frame

_BUILTINS = frozenset(dir(builtins))
_READING = ("get", "keys", "values", "items", "copy", "index", "count")  # methods that change no container


def collect(evaluate: Callable[[ast.expr], Val], pairs: Iterable[tuple[ast.expr | str | None, ast.expr]]) -> Items:
    """The keywords of a call or the items of a dict; a key of None is a ``**``."""
    found: dict[str, Val] = {}
    complete = True
    for key, node in pairs:
        value = evaluate(node)
        name = key.value if isinstance(key, ast.Constant) else key
        if isinstance(name, str):
            found[name] = value
        elif key is None and isinstance(value, Items):
            found |= value.items
            complete = complete and value.complete
        elif key is None and isinstance(value, Known) and isinstance(value.value, dict):
            found |= {str(each): Known(part, value.given) for each, part in value.value.items()}
        else:
            complete = False
    return Items(found, complete)


def make_dict(frame: Frame, node: ast.expr, made: Items) -> Items:
    """A dict that is made; with a registered type it is a component, and this loader builds it."""
    walk, kind = frame.walk, made.items.get("type")
    walk.made_keys |= {key for key, value in made.items.items() if isinstance(value, (Items, Known))}
    if isinstance(kind, Known) and isinstance(kind.value, str):
        loaders = walk.sources.find_loaders(kind.value)
        if len(loaders) > 1:
            frame.note(node, f"`{kind.value}` is registered twice")
        for loader in loaders[:1]:
            rest = {key: value for key, value in made.items.items() if key != "type"}
            walk.enter(loader, [], Items(rest, made.complete), frame.extend(node, made), frame.sure)
    return made


def follow_call(frame: Frame, node: ast.Call) -> Val:
    """One call: its arguments first, those from files that cannot load only where it is walked; then what it calls."""
    harmless, nodes = _is_harmless(frame, node.func), [*node.args, *(each.value for each in node.keywords)]
    late = [each for each in nodes if harmless and _is_harmless(frame, each)]
    values = {each: frame.evaluate(each) for each in nodes if each not in late}
    starred = any(isinstance(each, ast.Starred) for each in node.args)
    if harmless and not starred and all(each.arg for each in node.keywords) and not any(map(matters, values.values())):
        return UNKNOWN
    values |= {each: frame.evaluate(each) for each in late}
    given = collect(values.__getitem__, [(each.arg, each.value) for each in node.keywords])
    positional = [values[each] for each in node.args]
    call = Call(frame, node, positional, Items(given.items, given.complete and not starred))
    func, dotted = node.func, dotted_name(node.func)
    if dotted == "dict" and not node.args:
        return make_dict(frame, node, call.given)
    if isinstance(func, ast.Attribute):
        if isinstance(func.value, ast.Call) and dotted_name(func.value.func) == "super":
            call.of_super(func.attr)
            return UNKNOWN
        holder = frame.find(func.value) if dotted is not None else frame.evaluate(func.value)
        if isinstance(holder, Items):
            return call.of_dict(func.attr, holder)
        if isinstance(holder, Known) and isinstance(holder.value, (dict, list)) and func.attr not in _READING:
            frame.change(holder)
        if isinstance(holder, (Known, Unknown)) and func.attr in library.TEXT_METHODS and not node.keywords:
            return apply(getattr(str, func.attr), holder, *positional)
    elif dotted is None:
        frame.evaluate(func)
    callee = frame.find(func)
    if isinstance(callee, External):
        return call.of_external(callee)
    if isinstance(callee, Definition):
        call.of_own(callee)
    elif last_name(func) in library.HUB_NAMES:
        call.note("loads")
    elif dotted in library.UNFOLLOWED_NAMES or (
        not isinstance(func, ast.Attribute) and dotted not in _BUILTINS and call.matters
    ):
        call.note("does with what it is given")
    return UNKNOWN


def _is_harmless(frame: Frame, node: ast.expr) -> bool:
    """Whether a name is imported from files of the checkout that cannot load: they need not be parsed."""
    module, name = frame.definition.module, getattr(node, "id", "")
    values = module.names.get(name, []) if name not in (*frame.env, "build_module") else []
    origins = [each.name.rpartition(".")[0] for each in values if isinstance(each, External)]
    homes = [module.sources.find_module(origin) for origin in origins]
    return 0 < len(values) == len(homes) and all(home is not None and not can_load(home) for home in homes)


class Call(NamedTuple):
    """A call that is followed, with the values of its arguments."""

    frame: Frame
    node: ast.Call
    positional: list[Val]
    given: Items

    @property
    def first(self) -> Val:
        """The first argument."""
        return self.positional[0] if self.positional else UNKNOWN

    @property
    def matters(self) -> bool:
        """Whether it is given a key that is followed, or a string of the config."""
        return any(map(matters, [*self.positional, self.given]))

    def note(self, what: str, name: str = "") -> None:
        """Note that it is not known what is called."""
        self.frame.note(self.node, f"what `{name or ast.unparse(self.node.func)}` {what}")

    def of_super(self, method: str) -> None:
        """``super().__init__(...)``: of the next class of the checkout, else of a library."""
        frame, owner = self.frame, self.frame.definition.owner
        found = frame.walk.sources.find_attribute(owner, method, 1) if owner is not None else UNKNOWN
        if isinstance(found, Definition):
            positional = [frame.env.get("self", UNKNOWN), *self.positional]
            frame.walk.enter(found, positional, self.given, frame.extend(self.node, self.given), frame.sure)
        elif owner is not None and method == "__init__":
            frame.call_outside_init(owner, self.node, self.given)
        if method in library.HUB_NAMES:
            self.note("loads")

    def of_dict(self, method: str, holder: Items) -> Val:
        """``kwargs.pop("key", default)`` and the like, where ``kwargs`` is known."""
        if method in ("pop", "get") and isinstance(self.first, Known):
            key = str(self.first.value)
            if method == "pop":
                left = {name: value for name, value in holder.items.items() if name != key}
                self.frame.change(holder, Items(left, holder.complete))
            default = self.positional[1] if len(self.positional) > 1 else Known(None)
            return holder.items.get(key, default if holder.complete else UNKNOWN)
        if method not in _READING:
            self.frame.change(holder)
        return UNKNOWN

    def of_own(self, callee: Definition) -> None:
        """Of a definition of the checkout."""
        node, frame = self.node, self.frame
        if callee.node.name == "build_module":
            # a component that was made in sight has been walked there; else nothing is known of it
            argument = node.args[0] if node.args else None
            in_sight = isinstance(argument, ast.Attribute) and argument.attr in frame.walk.made_keys
            if not in_sight and isinstance(self.first, Unknown):
                frame.note(node, f"what `{ast.unparse(node)}` builds")
            return
        for each in (*self.positional, *self.given.items.values()):
            if isinstance(each, Items):
                frame.change(each)  # the function may change it
        if not self.matters and not can_load(callee.module, (callee.owner or callee).node):
            return
        positional = [*self._find_bound(callee), *self.positional]
        frame.walk.enter(callee, positional, self.given, frame.extend(node, self.given), frame.sure)
        if any(getattr(each, "id", "") == "self" for each in ast.walk(node)):
            frame.forget([name for name in frame.env if name.startswith("self.")])

    def _find_bound(self, callee: Definition) -> list[Val]:
        """The class that takes the place of ``self`` or ``cls``, where one does."""
        if callee.owner is None or not isinstance(self.node.func, ast.Attribute):
            return []
        receiver = self.node.func.value
        decorators = {getattr(each, "id", "") for each in callee.node.decorator_list}
        by_name = dotted_name(receiver) not in ("self", "cls")
        if "staticmethod" in decorators or (by_name and "classmethod" not in decorators):
            return []
        return [self.frame.find(receiver)]

    def of_external(self, callee: External) -> Val:
        """Of something outside the checkout."""
        last, package = callee.name.rpartition(".")[2], package_of(callee.name)
        own = bool(self.frame.walk.sources.find_bases(package))
        is_hub = last in library.HUB_NAMES or (last in library.HUB_METHODS and _read_text(self.first) is not None)
        given = [_read_text(each) or "" for each in (*self.positional, *self.given.items.values()) if matters(each)]
        if is_hub and (package in library.CACHE_DIR_LIBRARIES or own):
            self._add_hub_call(callee)
        elif is_hub or (given and (own or library.may_load(package, given))):
            self.note("loads" + library.OTHER_LIBRARIES.get(package, ""), callee.name)
        return UNKNOWN if is_hub else _call_library(callee.name, self.positional, self.frame.walk.sources.root)

    def _add_hub_call(self, callee: External) -> None:
        """Record a hub call; of a class of the checkout the ``__init__`` is walked too."""
        walk, node, frame, named = self.frame.walk, self.node, self.frame, dict(self.given.items)
        repo = next((named[name] for name in library.REPO_PARAMETERS if name in named), self.first)
        *_, parent, kind = parts = callee.name.split(".")
        if kind == "hf_hub_download" and len(self.positional) > 1:
            named["filename"] = self.positional[1]
        repo_id = _read_text(repo)
        is_given = bool(getattr(repo, "given", False) or getattr(repo, "text", ""))
        written = walk.given.get("from_pretrained")
        is_cut = is_given and (repo_id is None or (repo != written and repo_id in (_read_text(written) or "")))
        if is_cut and kind in library.HUB_FUNCTIONS:
            # v1.3's load_checkpoint: what is left of the repo where the file name is cut off
            is_repo = repo_id is None or "/" in repo_id
            if not is_repo or any(call.kind == "from_pretrained" and not call.hard_coded for call in walk.calls):
                return
        text = repr(repo.value) if isinstance(repo, Known) else getattr(repo, "text", "")
        chain = frame.extend(node, self.given)
        class_name = parent if parent[:1].isupper() else ""
        place = frame.definition.module.path, node.lineno, node.col_offset
        call = HubCall(
            *(str(dotted_name(node.func)), kind, parts[0], class_name, *place, repo_id),
            repo_id or text or (ast.unparse(node.args[0]) if node.args else "?"),
            hard_coded=repo_id is not None and not is_given,
            subfolder=_read_text(named.get("subfolder")),
            revision=_read_text(named.get("revision")),
            filename=_read_text(named.get("filename")),
            reached=chain[-1].passes,
            certain=frame.sure,
            chain=chain,
            unseen=frozenset() if self.given.complete else frozenset(KEYS) - set(self.given.items),
        )
        walk.calls.append(call)
        model = frame.find(node.func.value) if isinstance(node.func, ast.Attribute) else UNKNOWN
        if isinstance(model, Definition) and can_load(model.module, model.node):
            walk.enter(model, [], Items({}, False), chain, frame.sure)  # it gets a config object


def _read_text(value: Val | None) -> str | None:
    return value.value if isinstance(value, Known) and isinstance(value.value, str) else None


def _call_library(name: str, arguments: list[Val], root: str) -> Val:
    """The result of the few functions of the standard library that decide how a loader goes on."""
    if name in ("os.path.join", "os.path.expanduser"):
        return apply(getattr(os.path, name[8:]), *arguments)
    if name in ("os.path.exists", "os.path.isdir", "os.path.isfile"):
        test, where = getattr(os.path, name[8:]), apply(os.path.expanduser, *arguments)
        return apply(lambda path: path != "" and test(os.path.join(root, path)), where)
    return UNKNOWN
