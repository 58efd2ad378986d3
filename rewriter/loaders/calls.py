"""Calls: of whatever a value is, of dicts, lists and libraries, of the registry, and of the Hub."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping
from typing import Any

from rewriter.loaders import library
from rewriter.loaders.frames import Arguments, Frame, Link, Reach, last_name, place_of, source_of
from rewriter.loaders.functions import Functions
from rewriter.loaders.index import Registration
from rewriter.loaders.names import class_of
from rewriter.loaders.state import MISSING
from rewriter.loaders.values import (
    NONE,
    PLAIN,
    TRACKED,
    Cells,
    Choice,
    Class,
    Const,
    Dict,
    External,
    Function,
    Instance,
    Lazy,
    Method,
    Partial,
    Sequence,
    Super,
    Unknown,
    Val,
    elements,
    join,
    key_of,
    options,
)
from rewriter.types import NO_KEYWORDS, HubCall


class Calls(Functions):
    """Calls of any value."""

    def _invoke(self, callee: Val, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        """Call a value."""
        self._at(node, frame)
        if isinstance(callee, Choice):
            return self.state.choose(
                *[functools.partial(self._apply, option, node, arguments, frame) for option in callee.options]
            )
        return self._apply(callee, node, arguments, frame)

    def _apply(self, callee: Val, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        handler = _CALLED.get(type(callee))
        if handler is not None:
            return handler(self, callee, node, arguments, frame)
        if isinstance(callee, Unknown) and last_name(node.func) in library.DOWNLOADS:
            self._note(self._where("what it calls cannot be told", node, frame))
        self._hand_over(None, arguments, node, frame)
        return Unknown()

    def _hand_over(self, name: str | None, arguments: Arguments, node: ast.Call, frame: Frame) -> None:
        """What is not known may call a function that it is handed, and load with a tracked keyword.

        ``name``: of what is called; None: as it is written.
        """
        for value in arguments.values():
            key = key_of(value)
            if key is not None and not library.loads_nothing(name or source_of(node.func)):
                self._note(self._where(f"where {key} goes from there cannot be told", node, frame))
            if type(value) in PLAIN:
                continue
            for each in options(value):
                if type(each) in (Function, Partial, External) and self._leads(each):
                    self._note(self._where("whether it calls what it is given cannot be told", node, frame))

    def _asked(self, values: list[Val]) -> list[Val]:
        """Values for a function of a library, to which an object of the checkout tells nothing."""
        return [value if isinstance(value, Lazy) and value.kind is not None else self.force(value) for value in values]

    def _call_function(self, callee: Function, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        if callee.node.name == "build_module" and self.sources.inside(callee.unit.module):
            return self._build_module(node, arguments, frame)
        link = self._link(node, frame)
        self._calling = node
        return self._now_or_later(callee, arguments, lambda told, later: self._enter(callee, told, link, later))

    def _call_class(self, callee: Class, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        link = self._link(node, frame)
        self._calling = node
        return self._now_or_later(callee, arguments, lambda told, later: self._instantiate(callee, told, link, later))

    def _call_object(self, callee: Instance, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        method = self._find_method(callee.kind, "__call__")
        if isinstance(method, Function):
            return self._call_function(method.bind(callee), node, arguments, frame)
        return Unknown()

    def _call_partial(self, callee: Partial, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        before = callee.arguments
        merged = Arguments(
            [*before.positional, *arguments.positional],
            {**before.keywords, **arguments.keywords},
            before.is_open or arguments.is_open,
        )
        return self._invoke(self.force(callee.callee), node, merged, frame)

    def _call_method(self, callee: Method, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        receiver = callee.receiver
        if callee.name == "from_pretrained":
            kind = class_of(receiver.self_ if isinstance(receiver, Super) else receiver)
            if kind is not None:
                return self._own_model(kind, node, arguments, frame)
            self._note(self._where("whose method it is cannot be told", node, frame))
            return Unknown()
        if isinstance(receiver, Super):
            if callee.name != "__init__":
                return Unknown()
            if isinstance(receiver.self_, Instance):
                self._calling = node
                self._check_outside(receiver.self_.kind, arguments, receiver.owner)
                for base in self.outside(receiver.self_.kind):
                    if base.split(".")[0] not in library.MODELS_OF:
                        self._hand_over(base, arguments, node, frame)
                self._absorb(receiver.self_, arguments)
            return NONE
        if isinstance(receiver, Dict):
            return self._dict_method(receiver, callee.name, arguments)
        if isinstance(receiver, Sequence):
            return self._list_method(receiver, callee.name, arguments.positional)
        unseen = isinstance(receiver, Unknown) and bool(arguments.positional)  # it may be a registry
        if unseen and callee.name == "build":
            return self._build_from(arguments.positional[0], {}, node, frame)
        if unseen and callee.name == "get" and source_of(node.func).endswith("MODELS.get"):
            return self._registered(self.force(arguments.positional[0]))
        if isinstance(receiver, Instance) and callee.name in library.SAME_OBJECT:
            return receiver
        self._hand_over(None, arguments, node, frame)
        return library.method(receiver, callee.name, self._asked(arguments.positional))

    def _call_external(self, callee: External, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        name = callee.name
        last = name.rpartition(".")[2]
        if last == "from_pretrained":
            return self._hub(node, arguments, frame, "from_pretrained", name.split(".")[0], name.split(".")[-2])
        if last in library.DOWNLOADS:
            return self._hub(node, arguments, frame, last, name.split(".")[0], "")
        if last == "build" and name.endswith("MODELS.build") and arguments.positional:
            return self._build_from(arguments.positional[0], {}, node, frame)
        if last == "build_module" and not self.sources.inside(name):
            return self._build_module(node, arguments, frame)
        if self.sources.inside(name):
            self._note(self._where(f"{name} is not in the sources", node, frame))
            return Unknown()
        if name == "builtins.dict":
            return self._dict_call(node, arguments, frame)
        if name.startswith("builtins.dict.") and arguments.positional:
            held = self.force(arguments.positional[0])
            if isinstance(held, Dict):
                rest = Arguments(arguments.positional[1:], arguments.keywords, arguments.is_open)
                return self._dict_method(held, last, rest)
            for each in options(held):
                if isinstance(each, Dict):
                    self._blur(each)
            return Unknown()
        if name == "builtins.getattr" and len(arguments.positional) > 1:
            attribute = self.force(arguments.positional[1])
            if isinstance(attribute, Const) and isinstance(attribute.value, str):
                return self.attribute(arguments.positional[0], attribute.value)
            return Unknown()
        if name == "functools.partial" and arguments.positional:
            rest = Arguments(arguments.positional[1:], arguments.keywords, arguments.is_open)
            return Partial(arguments.positional[0], rest)
        if name == "builtins.type" and len(arguments.positional) == 1:
            value = self.force(arguments.positional[0])
            return value.kind if isinstance(value, Instance) else Unknown()
        if name in ("copy.copy", "copy.deepcopy") and arguments.positional:
            return self._copied(arguments.positional[0], name == "copy.deepcopy", {})
        if name == "builtins.setattr" and len(arguments.positional) == 3:
            return self._set_attribute(*arguments.positional)
        if name == "builtins.vars" and arguments.positional:
            return self.attribute(arguments.positional[0], "__dict__")
        if not name.startswith("builtins.") or last in library.CALL_WHAT_THEY_GET:
            self._hand_over(name, arguments, node, frame)
        return library.function(name, self._asked(arguments.positional), self.sources.root)

    # --- dicts, lists and attributes

    def _dict_call(self, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        built = Dict({}, arguments.is_open, node, frame)
        for each in arguments.positional:
            self._spread(built, each)
        built.items.update(arguments.keywords)
        return built

    def _entries(self, value: Val) -> tuple[Mapping[Any, Val], bool]:
        """What ``**value`` gives, and whether there may be more; an entry that may be missing may be anything."""
        value = self.force(value)
        if isinstance(value, Dict):
            return value.items, value.open
        dicts = [each for each in options(value) if isinstance(each, Dict)]
        if not all(isinstance(each, (Dict, Const)) for each in options(value)):
            return {}, True
        names = dict.fromkeys(name for each in dicts for name in each.items)
        found = {name: functools.reduce(join, [each.items.get(name, Unknown()) for each in dicts]) for name in names}
        return found, any(each.open for each in dicts)

    def _spread(self, built: Dict, value: Val) -> None:
        entries, is_open = self._entries(value)
        built.items.update(entries)
        built.open = built.open or is_open

    def _dict_method(self, receiver: Dict, name: str, arguments: Arguments) -> Val:
        first = self.force(arguments.positional[0]) if arguments.positional else None
        if name in ("get", "pop", "setdefault") and isinstance(first, Const):
            default = arguments.positional[1] if len(arguments.positional) > 1 else NONE
            found = receiver.items.get(first.value)
            if found is None:
                found = join(default, Unknown()) if receiver.open else default
            if name == "pop" and first.value in receiver.items:
                self.state.write(receiver.items, first.value, MISSING)
            elif name == "setdefault":
                self.state.write(receiver.items, first.value, found)
            return found
        if name == "update":
            entries, is_open = self._entries(first) if first is not None else ({}, False)
            receiver.open = receiver.open or is_open or arguments.is_open
            for key, value in {**entries, **arguments.keywords}.items():
                self.state.write(receiver.items, key, value)
            return NONE
        if name == "copy":
            return self._copied(receiver, False, {})
        if name in _VIEWS and not receiver.open:
            return Sequence([_VIEWS[name](key, value) for key, value in receiver.items.items()])
        if name == "clear":
            for key in list(receiver.items):
                self.state.write(receiver.items, key, MISSING)
        elif name in ("popitem", "pop", "setdefault"):
            self._blur(receiver)
        return Unknown()

    def _copied(self, value: Val, deep: bool, known: dict[int, Val]) -> Val:
        """A copy of a value; ``known``: those that were made already, by what they are copies of."""
        value = self.force(value)
        if id(value) in known:
            return known[id(value)]
        if isinstance(value, Choice):
            return functools.reduce(join, [self._copied(each, deep, known) for each in value.options])
        if isinstance(value, Sequence):
            listed = known[id(value)] = Sequence([], value.fixed)
            listed.items = [self._copied(each, deep, known) for each in value.items] if deep else list(value.items)
            listed.open = value.open
            return listed
        made: Dict | Instance
        if isinstance(value, Dict):
            made, old = Dict({}, value.open, value.node, value.frame, value.given, value.path), value.items
            new = made.items
        elif isinstance(value, Instance):
            made, old = Instance(value.kind), value.attributes
            new = made.attributes
        else:
            return value
        known[id(value)] = made
        new.update({name: self._copied(each, True, known) if deep else each for name, each in old.items()})
        return made

    def _blur(self, held: Dict) -> None:
        """Some key of it may be another now, or gone."""
        held.open = True
        for name, value in list(held.items.items()):
            self.state.write(held.items, name, join(value, Unknown()))

    def _list_method(self, receiver: Sequence, name: str, positional: list[Val]) -> Val:
        """A method of a list. Elsewhere than on the way that is certainly gone its elements are not known any more."""
        added: list[Val] | None = None
        if name in ("append", "extend") and len(positional) == 1:
            added = positional if name == "append" else elements(self.force(positional[0]))
        if added is not None and not (self.state.doubt or self.state.forks):
            receiver.items += added
        elif name == "copy":
            return self._copied(receiver, False, {})
        elif name not in ("count", "index"):
            receiver.open = True
        return NONE if name in ("append", "extend", "insert") else Unknown()

    def _put_item(self, receiver: Val, index: Val, value: Val) -> None:
        several = isinstance(receiver, Choice)
        for each in options(receiver):
            if isinstance(each, Sequence):
                each.open = True
            elif isinstance(each, Dict):
                if isinstance(index, Const):
                    old = each.items.get(index.value, Unknown())
                    self.state.write(each.items, index.value, join(old, value) if several else value)
                else:
                    self._blur(each)

    def _put_attribute(self, receiver: Val, name: str, value: Val) -> None:
        if isinstance(receiver, Instance):
            self.state.write(receiver.attributes, name, value)
        elif isinstance(receiver, Class):
            self.state.write(self._attributes.setdefault(receiver.node, Cells()), name, value)
        elif isinstance(receiver, Choice):
            for each in receiver.options:
                self._put_attribute(each, name, join(self.attribute(each, name), value))

    def _set_attribute(self, receiver: Val, name: Val, value: Val) -> Val:
        known, receiver = self.force(name), self.force(receiver)
        if isinstance(known, Const) and isinstance(known.value, str):
            self._put_attribute(receiver, known.value, value)
        else:
            for each in options(receiver):
                if isinstance(each, Instance):
                    self._blur(Dict(each.attributes))
        return NONE

    # --- registered names

    def _registered(self, name: Val) -> Val:
        """What stands in the registry under a name."""
        if not (isinstance(name, Const) and isinstance(name.value, str)):
            return Unknown()
        registration = self.sources.index().get(name.value)
        return self._definition(registration) if registration is not None else Unknown()

    def _definition(self, registration: Registration) -> Val:
        unit = self.sources.unit(registration.path)
        return self.resolve(unit, registration.definition) if unit else Unknown()

    def _build(self, type_name: str, arguments: Arguments, link: Link | None) -> Val:
        """Build a registered name, as ``Registry.build`` does."""
        registration = self.sources.index().get(type_name)
        if registration is None:
            if link is not None:
                self._note(f'"{type_name}" is not registered in the sources')
            return Unknown()
        value = self._definition(registration)
        if link is None:
            self._describe(value, registration.path)
        if not isinstance(value, (Class, Function)):
            self._note(
                f"the definition of {registration.definition} could not be read in {self._short(registration.path)}"
            )
            return Unknown()
        if link is None:
            return self._enter_build(value, arguments, None)
        return self._now_or_later(value, arguments, lambda told, later: self._enter_build(value, told, link, later))

    def _enter_build(
        self, value: Class | Function, arguments: Arguments, link: Link | None, tolerant: bool = False
    ) -> Val:
        self._built = True
        try:
            if isinstance(value, Function):
                return self._enter(value, arguments, link, tolerant)
            return self._instantiate(value, arguments, link, tolerant)
        finally:
            self._built = False

    def _describe(self, value: Val, path: str) -> None:
        """Fill in what is told about the registered loader itself."""
        if not isinstance(value, (Class, Function)):
            return
        self.found = True
        self.defined = (path, value.node.lineno)
        loader = self._find_method(value, "__init__") if isinstance(value, Class) else value
        if isinstance(loader, Function):
            self.loader = loader
            self.defined = (loader.unit.path, loader.node.lineno)
            self.accepts = frozenset(key for key in TRACKED if self._takes(loader, key))
        elif isinstance(value, Class) and (names := self._fields(value)) is not None:
            self.accepts = frozenset(key for key in TRACKED if key in names)

    def _build_module(self, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        if not arguments.positional:
            self._note(self._where("what it builds cannot be told", node, frame))
            return Unknown()
        keywords = {name: value for name, value in arguments.keywords.items() if name != "builder"}
        return self._build_from(arguments.positional[0], keywords, node, frame)

    def _build_from(self, value: Val, keywords: dict[str, Val], node: ast.Call, frame: Frame) -> Val:
        value = self.force(value)
        if isinstance(value, Choice):
            return self.state.choose(
                *[functools.partial(self._build_from, option, keywords, node, frame) for option in value.options]
            )
        if isinstance(value, Dict):
            return self._build_dict(value, keywords, node, frame)
        if isinstance(value, Instance) or (isinstance(value, Const) and value.value is None):
            return value
        self._note(self._where("what it builds cannot be told", node, frame))
        return Unknown()

    def _build_dict(self, value: Dict, keywords: dict[str, Val], node: ast.Call, frame: Frame) -> Val:
        entries = {
            name: each for name, each in {**value.items, **keywords}.items()
            if isinstance(name, str) and name not in NO_KEYWORDS
        }  # fmt: skip
        arguments = Arguments([], entries, value.open)
        before = self._via, self._led
        if value.given:
            self._via, self._led = value.path, keywords
        try:
            return self._build_type(self.force(value.items.get("type", Unknown())), value, arguments, node, frame)
        finally:
            self._via, self._led = before

    def _build_type(self, kind: Val, value: Dict, arguments: Arguments, node: ast.Call, frame: Frame) -> Val:
        """Build what the ``type`` of a dict stands for: a name that is registered, a class or a function."""
        if isinstance(kind, Choice):
            return self.state.choose(
                *[functools.partial(self._build_type, each, value, arguments, node, frame) for each in kind.options]
            )
        self._calling = value.node or node
        if value.node is not None and value.frame is not None and value.frame.node is not None:
            link = self._link(value.node, value.frame)
        else:
            link = self._link(node, frame)
        if isinstance(kind, Const) and isinstance(kind.value, str):
            return self._build(kind.value, arguments, link)
        if isinstance(kind, (Class, Function)):
            return self._enter_build(kind, arguments, link)
        self._note(self._where("the type of what it builds cannot be told", node, frame))
        return Unknown()

    # --- the Hub

    def _own_model(self, cls: Class, node: ast.Call, arguments: Arguments, frame: Frame) -> Val:
        """``from_pretrained`` of a checkout class that inherits it from a library; its ``__init__`` runs afterwards."""
        origins = [name for name in self.outside(cls) if name.split(".")[0] not in library.NO_HUB]
        if not origins:
            self._note(self._where(f"{cls.node.name} has no from_pretrained that could be found", node, frame))
            return Unknown()
        self._hub(node, arguments, frame, "from_pretrained", self.sources.package, cls.node.name)
        init = self._find_method(cls, "__init__")
        if not isinstance(init, Function) or not self.sources.leads_on(cls.unit, cls.node.name):
            return Instance(cls)
        instance = Instance(cls)
        rest = {name: value for name, value in arguments.keywords.items() if name not in library.HUB_KEYWORDS}
        config = rest.get("config") or self._config_of(cls, rest)
        inner = Arguments([config] if config is not None else [], rest, arguments.is_open)
        link = self._link(node, frame, by_object=True)
        self._enter(init.bind(instance), inner, link, tolerant=True)
        return instance

    def _config_of(self, cls: Class, keywords: dict[str, Val]) -> Val | None:
        """The config object that ``PreTrainedModel.from_pretrained`` makes of the repo's file and the keywords."""
        kind = self._find_method(cls, "config_class")
        kind = self.force(kind) if kind is not None else None
        if not isinstance(kind, Class):
            return None
        refused, failures = list(self.refused), list(self.failures)
        config = self._instantiate(kind, Arguments([], dict(keywords)), None)
        self.refused, self.failures = refused, failures  # the library filters them by the config's attributes
        config.attributes.update(keywords)
        return config

    def _hub(self, node: ast.Call, arguments: Arguments, frame: Frame, kind: str, origin: str, class_name: str) -> Val:
        named = library.HUB_FIRST[kind]
        first = next((arguments.keywords[name] for name in named if name in arguments.keywords), None)
        rest = list(arguments.positional)
        if first is None and rest:
            first = rest.pop(0)
        if kind == "hf_hub_download" and rest and "filename" not in arguments.keywords:
            arguments.keywords["filename"] = rest.pop(0)
        value = self.force(first) if first is not None else Unknown("")
        several = isinstance(value, Choice)
        self.state.doubt += several
        for option in options(value):
            self._record(option, node, arguments, frame, kind, origin, class_name)
        self.state.doubt -= several
        return Unknown()

    def _record(
        self, repo: Val, node: ast.Call, arguments: Arguments, frame: Frame, kind: Any, origin: str, class_name: str
    ) -> None:
        known = repo.value if isinstance(repo, Const) else None
        repo_id = known if isinstance(known, str) else None
        if isinstance(repo, Const):
            text = repo_id if repo_id is not None else repr(known)
        else:
            text = (repo.text if isinstance(repo, Unknown) else "") or self._written(node)
        keywords = arguments.keywords
        call = HubCall(
            callee=source_of(node.func),
            kind=kind,
            library=origin,
            class_name=class_name,
            path=frame.unit.path,
            line=node.lineno,
            column=node.col_offset,
            repo_id=repo_id,
            repo_text=text,
            hard_coded=repo_id is not None and isinstance(repo, Const) and not repo.given,
            subfolder=self._string(keywords.get("subfolder")),
            revision=self._string(keywords.get("revision")),
            filename=self._string(keywords.get("filename")),
            reached=frozenset(key for key in TRACKED if key in keywords and key_of(self.force(keywords[key])) == key),
            certain=not self.state.doubt,
            chain=self._chain(),
            via=self._via,
            unseen=frozenset(key for key in TRACKED if self._may_arrive(key, node, keywords, frame)),
        )
        self.reaches.append(Reach(call, frame, node, self._held(frame), dict(keywords)))

    def _may_arrive(self, key: str, node: ast.Call, keywords: Mapping[str, Val], frame: Frame) -> bool:
        """Whether it cannot be told if a key arrives at a call."""
        if key not in keywords:
            return place_of(frame.unit.path, node) in self.unseen
        value = self.force(keywords[key])
        made_of_it = any(
            isinstance(each, Unknown) or (isinstance(each, Const) and each.given) for each in options(value)
        )
        return key_of(value) != key and made_of_it

    def _string(self, value: Val | None) -> str | None:
        value = self.force(value) if value is not None else None
        return value.value if isinstance(value, Const) and isinstance(value.value, str) else None

    def _written(self, node: ast.Call) -> str:
        first = node.args[0] if node.args else next((each.value for each in node.keywords if each.arg), None)
        return ast.unparse(first)[:200] if first is not None else ""


_CALLED: dict[type, Callable[[Calls, Any, ast.Call, Arguments, Frame], Val]] = {
    Function: Calls._call_function,
    Class: Calls._call_class,
    Method: Calls._call_method,
    External: Calls._call_external,
    Instance: Calls._call_object,
    Partial: Calls._call_partial,
}
_VIEWS: dict[str, Callable[[Any, Val], Val]] = {
    "keys": lambda key, _: Const(key),
    "values": lambda _, value: value,
    "items": lambda key, value: Sequence([Const(key), value], fixed=True),
}
