"""Follow the calls of a loader: into the checkout's own functions, to the Hub, or no further."""

from __future__ import annotations

import ast
import builtins
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from rewriter.locality import locality
from rewriter.model import KEYS, HubCall, Rejection, Step, Value
from rewriter.read import library
from rewriter.read.reach import can_load
from rewriter.read.syntax import dotted_name, package_of
from rewriter.read.values import Definition, External, Items, Known, Unknown, Val, join, matters, replace_held

if TYPE_CHECKING:
    from rewriter.read.walk import Chain, Frame, Walk

_BUILTINS = frozenset(dir(builtins))


def collect(walk: Walk, pairs: Iterable[tuple[ast.expr | str | None, ast.expr]], frame: Frame) -> Items:
    """The keywords of a call or the items of a dict; a key of None is a ``**``."""
    found: dict[str, Val] = {}
    complete = True
    for key, node in pairs:
        value = walk.evaluate(node, frame)
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


def make_dict(walk: Walk, node: ast.expr, made: Items, frame: Frame) -> Items:
    """A dict that is made; with a registered type it is a component, and this loader builds it."""
    walk.made_keys |= {key for key, value in made.items.items() if isinstance(value, (Items, Known))}
    kind = made.items.get("type")
    if isinstance(kind, Known) and isinstance(kind.value, str):
        loaders = walk.sources.find_loaders(kind.value)
        if len(loaders) > 1:
            walk.note_unknown(frame.definition, node, f"`{kind.value}` is registered twice")
        for loader in loaders[:1]:
            rest = {key: value for key, value in made.items.items() if key != "type"}
            walk.enter(loader, [], Items(rest, made.complete), _extend(frame, node, made))
    return made


def follow_call(walk: Walk, node: ast.Call, frame: Frame) -> Val:
    """One call: its arguments first, then what it calls."""
    starred = any(isinstance(each, ast.Starred) for each in node.args)
    positional = [walk.evaluate(each, frame) for each in node.args if not isinstance(each, ast.Starred)]
    given = collect(walk, [(each.arg, each.value) for each in node.keywords], frame)
    call = _Call(walk, node, positional, Items(given.items, given.complete and not starred), frame)
    dotted = dotted_name(node.func)
    if dotted is None:
        return call.of_expression()
    if dotted == "dict" and not node.args:
        return make_dict(walk, node, call.given, frame)
    holder, _, last = dotted.rpartition(".")
    held = frame.env.get(holder)
    if isinstance(held, Items):
        return call.of_dict(last, held)
    if isinstance(held, Known) and isinstance(held.value, str) and last in ("endswith", "startswith"):
        end = call.first.value if isinstance(call.first, Known) and len(positional) == 1 else None
        if isinstance(end, str):
            return Known(held.value.endswith(end) if last == "endswith" else held.value.startswith(end), held.given)
    callee = walk.sources.find_name(node.func, frame.env, frame.definition)
    if isinstance(callee, External):
        return call.of_external(callee)
    if isinstance(callee, Definition):
        return call.of_own(callee)
    if last in library.HUB_NAMES:
        call.note(f"what `{dotted}` loads")
    elif holder:
        walk.attributes.update(dotted.split("."))
    elif dotted in library.UNFOLLOWED_NAMES or (dotted not in _BUILTINS and call.matters):
        call.note(f"what `{dotted}` does with what it is given")
    return join([callee, *positional, call.given])


def _extend(frame: Frame, node: ast.expr, given: Items) -> Chain:
    """The path to what ``node`` leads to."""
    made_by, held = frame.definition, dict[str, str]()
    for name, value in frame.env.items():
        key = getattr(value, "key", None)
        if key is not None and (key not in held or name == key):
            held[key] = name  # the local name that holds the key; one that is equal to it comes first
    place = made_by.name, made_by.module.path, node.lineno
    return (*frame.chain, Step(*place, made_by.node, node, held, _find_passed(given)))


def _find_passed(given: Items) -> frozenset[str]:
    """The keys that a call or dict passes on as they are."""
    return frozenset(key for key in KEYS if getattr(given.items.get(key), "key", None) == key)


class _Call(NamedTuple):
    """A call that is followed, with the values of its arguments."""

    walk: Walk
    node: ast.Call
    positional: list[Val]
    given: Items
    frame: Frame

    @property
    def first(self) -> Val:
        return self.positional[0] if self.positional else Unknown()

    @property
    def matters(self) -> bool:
        """Whether it is given a key that is followed, or a string of the config."""
        return any(map(matters, [*self.positional, self.given]))

    def note(self, problem: str) -> None:
        self.walk.note_unknown(self.frame.definition, self.node, problem)

    def of_expression(self) -> Val:
        """Of something that is no dotted name: ``super().m()``, ``X(...).to()``, ``LOADERS[name]()``."""
        func = self.node.func
        if isinstance(func, ast.Attribute):
            if isinstance(func.value, ast.Call) and dotted_name(func.value.func) == "super":
                self._of_super(func.attr)
                return Unknown()
            holder = self.walk.evaluate(func.value, self.frame)
            if func.attr in library.HUB_NAMES:
                self.note(f"what `{ast.unparse(func)}` loads")
            self.walk.attributes.add(func.attr)
            return join([holder, *self.positional])
        self.walk.evaluate(func, self.frame)
        if self.matters:
            self.note(f"what `{ast.unparse(func)}` does with what it is given")
        return Unknown()

    def _of_super(self, method: str) -> None:
        """``super().__init__(...)``: of the next class of the checkout, else of a library."""
        walk, definition = self.walk, self.frame.definition
        own = self.frame.env.get("self", definition.owner)
        cls = own if isinstance(own, Definition) and isinstance(own.node, ast.ClassDef) else definition.owner
        if cls is None:
            return
        chain = _extend(self.frame, self.node, self.given)
        lineage = list(walk.sources.find_lineage(cls))
        behind = lineage[lineage.index(definition.owner) + 1 :] if definition.owner in lineage else lineage[1:]
        for base in behind:
            for node in base.node.body:
                if isinstance(node, ast.FunctionDef) and node.name == method:
                    walk.enter(Definition(base.module, node, base), [cls, *self.positional], self.given, chain)
                    return
        outside = walk.sources.find_outside_bases(cls) or []
        if method == "__init__" and outside and all(base.name.startswith("torch.nn.") for base in outside):
            place = f"super of {definition.name}", definition.module.path, self.node.lineno
            walk.rejections += [Rejection(key, *place, chain) for key in self.given.items]
        elif method in library.HUB_NAMES:
            self.note(f"what `super().{method}` loads")

    def of_dict(self, method: str, holder: Items) -> Val:
        """``kwargs.pop("key", default)`` and the like, where ``kwargs`` is known."""
        env = self.frame.env
        if method in ("pop", "get") and isinstance(self.first, Known):
            key = str(self.first.value)
            default = self.positional[1] if len(self.positional) > 1 else Known(None)
            if method == "pop":
                left = {name: value for name, value in holder.items.items() if name != key}
                replace_held(env, holder, Items(left, holder.complete))
            return holder.items.get(key, default if holder.complete else Unknown())
        if method == "copy" and not self.positional:
            return holder
        if method not in ("get", "keys", "values", "items"):
            replace_held(env, holder, Unknown())
        return Unknown()

    def of_own(self, callee: Definition) -> Val:
        """Of a definition of the checkout."""
        walk, node, frame = self.walk, self.node, self.frame
        if callee.node.name == "build_module":
            # a component that was made in sight has been walked there; else nothing is known of it
            argument = node.args[0] if node.args else None
            in_sight = isinstance(argument, ast.Attribute) and argument.attr in walk.made_keys
            if not in_sight and isinstance(self.first, Unknown):
                self.note(f"what `{ast.unparse(node)}` builds")
            return Unknown()
        if self.given.complete and not self.matters and not can_load(walk.sources, callee):
            return Unknown()
        bound = self._find_bound(callee)
        result = walk.enter(callee, [*bound, *self.positional], self.given, _extend(frame, node, self.given))
        arguments = (*node.args, *(word.value for word in node.keywords if word.arg is not None))
        for each in arguments:
            if isinstance(each, ast.Name) and isinstance(frame.env.get(each.id), Items):
                frame.env[each.id] = Unknown()  # the function may have changed it
        if isinstance(node.func, ast.Attribute) or any(getattr(each, "id", "") == "self" for each in arguments):
            frame.env.update((name, Unknown()) for name in frame.env if name.startswith("self."))
        return result

    def _find_bound(self, callee: Definition) -> list[Val]:
        """The class that takes the place of ``self`` or ``cls``, where one does."""
        if callee.owner is None or not isinstance(self.node.func, ast.Attribute):
            return []
        receiver = self.node.func.value
        decorators = {getattr(each, "id", "") for each in callee.node.decorator_list}
        found = self.walk.sources.find_name(receiver, self.frame.env, self.frame.definition)
        is_class = isinstance(found, Definition) and isinstance(found.node, ast.ClassDef)
        by_name = is_class and dotted_name(receiver) not in ("self", "cls")
        if "staticmethod" in decorators or (by_name and "classmethod" not in decorators):
            return []
        return [found if is_class else callee.owner]

    def of_external(self, callee: External) -> Val:
        """Of something outside the checkout."""
        last, package, name = callee.name.rpartition(".")[2], package_of(callee.name), dotted_name(self.node.func)
        own = self.walk.sources.is_own(package)
        is_text = isinstance(self.first, Known) and isinstance(self.first.value, str)
        is_hub = last in library.HUB_NAMES or (is_text and last in library.HUB_METHODS)
        known = [each for each in (*self.positional, *self.given.items.values()) if isinstance(each, Known)]
        names_repo = any(matters(each) and "/" in str(each.value) for each in known)
        if package in library.OTHER_KEYWORDS and (is_hub or self.matters):
            self.note(f"`{name}`: {library.OTHER_KEYWORDS[package]}")
        elif is_hub and (package in library.CACHE_DIR_LIBRARIES or own):
            self._add_hub_call(callee)
        elif own and self.matters:
            self.note(f"`{callee.name}` is not found in the checkout")
        elif is_hub or (names_repo and library.may_load(package)):
            self.note(f"what `{name}` loads")
        return Unknown() if is_hub else _call_library(callee.name, self.positional, self.walk.sources.root)

    def _add_hub_call(self, callee: External) -> None:
        """Record a hub call; of a class of the checkout the ``__init__`` is walked too."""
        walk, node, frame = self.walk, self.node, self.frame
        named: dict[str, Val] = dict(self.given.items)
        repo = next((named[name] for name in library.REPO_PARAMETERS if name in named), self.first)
        parts = callee.name.split(".")
        kind = parts[-1]
        if kind == "hf_hub_download" and len(self.positional) > 1:
            named["filename"] = self.positional[1]
        texts = [(key, value.value) for key, value in named.items() if isinstance(value, Known)]
        strings = {key: text for key, text in texts if key in _STRINGS and isinstance(text, str)}
        repo_id = repo.value if isinstance(repo, Known) and isinstance(repo.value, str) else None
        text = repo_id if repo_id is not None else _describe(repo, node)
        if kind in library.HUB_FUNCTIONS and isinstance(repo, Unknown) and repo.given:
            if any(call.kind == "from_pretrained" and not call.hard_coded for call in walk.calls):
                return  # v1.3's load_checkpoint: the repo that was read, cut out of the same string
            written = walk.config.get("from_pretrained", Value("")).value
            if isinstance(written, str):
                if written.count("/") < 2:
                    return  # what is left of it when the file name is cut off is no repo id
                organisation, name, strings["filename"] = written.split("/", 2)
                text = repo_id = f"{organisation}/{name}"
        chain = _extend(frame, node, self.given)
        class_name = parts[-2] if parts[-2][:1].isupper() else ""
        place = frame.definition.module.path, node.lineno, node.col_offset
        call = HubCall(
            *(str(dotted_name(node.func)), kind, parts[0], class_name, *place, repo_id, text),
            hard_coded=repo_id is not None and not join([repo]).given,
            reached=_find_passed(self.given),
            certain=not walk.doubt,
            chain=chain,
            unseen=frozenset() if self.given.complete else frozenset(KEYS) - set(self.given.items),
            **strings,  # type: ignore[arg-type]
        )
        walk.calls.append(call)
        if walk.sources.is_own(parts[0]) and isinstance(node.func, ast.Attribute):
            self._enter_model(node.func.value, chain)

    def _enter_model(self, cls: ast.expr, chain: Chain) -> None:
        """The ``__init__`` of the checkout's own model class: its ``from_pretrained`` runs it with a config object."""
        walk = self.walk
        found = walk.sources.find_name(cls, self.frame.env, self.frame.definition)
        if isinstance(found, Definition) and can_load(walk.sources, found):
            init = walk.sources.find_method(found, "__init__")
            walk.enter_class(found)
            if init is not None:
                before = len(walk.rejections)
                walk.enter(init, [found], Items({}, False), chain)
                del walk.rejections[before:]


_STRINGS = ("subfolder", "revision", "filename")


def _describe(repo: Val, node: ast.Call) -> str:
    """What is written for a repo that is no string, for messages."""
    if isinstance(repo, Known):
        return repr(repo.value)
    text = repo.text if isinstance(repo, Unknown) and repo.given else ""
    return text or (ast.unparse(node.args[0]) if node.args else "?")


def _call_library(name: str, arguments: list[Val], root: str) -> Val:
    """The result of the few functions of the standard library that decide how a loader goes on.

    ``os.path.exists`` and its kin are False for what is a repo id, whatever the disk holds.
    """
    texts = [each.value for each in arguments if isinstance(each, Known) and isinstance(each.value, str)]
    unknown = join(arguments)
    if not texts or len(texts) != len(arguments):
        return unknown
    if name in ("os.path.exists", "os.path.isdir", "os.path.isfile"):
        test = {"exists": os.path.exists, "isdir": os.path.isdir, "isfile": os.path.isfile}[name[8:]]
        place = os.path.join(root, os.path.expanduser(texts[0]))
        return Known(locality(texts[0], root) == "local" and test(place), unknown.given)
    if name == "os.path.join":
        return Known(os.path.join(*texts), unknown.given)
    return Known(os.path.expanduser(texts[0]), unknown.given) if name == "os.path.expanduser" else unknown
