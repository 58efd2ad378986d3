"""Follow the calls of a loader: into the checkout's own functions, to the Hub, or no further."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rewriter.model import KEYS, HubCall, Rejection, Step, Value
from rewriter.read import library
from rewriter.read.reach import can_load
from rewriter.read.syntax import dotted_name, names_in, package_of
from rewriter.read.values import (
    Definition,
    Env,
    External,
    Items,
    Known,
    Unknown,
    Val,
    call_library,
    find_held,
    find_passed,
    is_given,
    join,
    matters,
    replace_held,
)

if TYPE_CHECKING:
    from rewriter.read.walk import Chain, Frame, Walk

Evaluate = Callable[[ast.expr], Val]
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
            walk.enter(loader, [], rest, made.complete, _extend(frame, node, made))
    return made


def follow_call(walk: Walk, node: ast.Call, frame: Frame) -> Val:
    """One call: its arguments first, then what it calls."""
    starred = any(isinstance(each, ast.Starred) for each in node.args)
    positional = [walk.evaluate(each, frame) for each in node.args if not isinstance(each, ast.Starred)]
    given = collect(walk, [(each.arg, each.value) for each in node.keywords], frame)
    given = Items(given.items, given.complete and not starred)
    dotted = dotted_name(node.func)
    if dotted is None:
        return _call_expression(walk, node, positional, given, frame)
    if dotted == "dict" and not node.args:
        return make_dict(walk, node, given, frame)
    holder, _, last = dotted.rpartition(".")
    held = frame.env.get(holder)
    if isinstance(held, Items):
        return _call_dict_method(last, held, positional, frame.env)
    if isinstance(held, Known) and isinstance(held.value, str) and last in ("endswith", "startswith"):
        end = positional[0].value if len(positional) == 1 and isinstance(positional[0], Known) else None
        if isinstance(end, str):
            return Known(held.value.endswith(end) if last == "endswith" else held.value.startswith(end), held.given)
    callee = walk.sources.find_name(node.func, frame.env, frame.definition)
    if isinstance(callee, (External, Definition)):
        walk.called.update(names_in(node.func))
    if isinstance(callee, External):
        return _call_external(walk, callee, node, positional, given, frame)
    if isinstance(callee, Definition):
        return _call_own(walk, callee, node, positional, given, frame)
    if last in library.HUB_NAMES:
        walk.called.update(names_in(node.func))
        walk.note_unknown(frame.definition, node, f"what `{dotted}` loads")
    elif not holder and dotted not in _BUILTINS and any(map(matters, [*positional, given])):
        walk.note_unknown(frame.definition, node, f"what `{dotted}` does with what it is given")
    return join([callee, *positional, given])


def _extend(frame: Frame, node: ast.expr, given: Items) -> Chain:
    """The path to what ``node`` leads to."""
    made_by = frame.definition
    place = made_by.name, made_by.module.path, node.lineno
    return (*frame.chain, Step(*place, made_by.node, node, find_held(frame.env), find_passed(given)))


def _call_expression(walk: Walk, node: ast.Call, positional: list[Val], given: Items, frame: Frame) -> Val:
    """A call of something that is no dotted name: ``super().m()``, ``X(...).to()``, ``LOADERS[name]()``."""
    func = node.func
    if isinstance(func, ast.Attribute):
        if isinstance(func.value, ast.Call) and dotted_name(func.value.func) == "super":
            _call_super(walk, func, positional, given, frame, _extend(frame, node, given))
            return Unknown()
        holder = walk.evaluate(func.value, frame)
        if func.attr in library.HUB_NAMES:
            walk.note_unknown(frame.definition, node, f"what `{ast.unparse(func)}` loads")
            walk.called.update(ast.walk(func))
        return join([holder, *positional])
    walk.evaluate(func, frame)
    if any(map(matters, [*positional, given])):
        walk.note_unknown(frame.definition, node, f"what `{ast.unparse(func)}` does with what it is given")
    return Unknown()


def _call_dict_method(method: str, holder: Items, positional: list[Val], env: Env) -> Val:
    """``kwargs.pop("key", default)`` and the like, where ``kwargs`` is known."""
    first = positional[0] if positional else Unknown()
    if method in ("pop", "get") and isinstance(first, Known):
        key = str(first.value)
        default = positional[1] if len(positional) > 1 else Known(None)
        if method == "pop":
            left = {name: value for name, value in holder.items.items() if name != key}
            replace_held(env, holder, Items(left, holder.complete))
        return holder.items.get(key, default if holder.complete else Unknown())
    if method == "copy" and not positional:
        return holder
    if method not in ("get", "keys", "values", "items"):
        replace_held(env, holder, Unknown())
    return Unknown()


def _call_own(walk: Walk, callee: Definition, node: ast.Call, positional: list[Val], given: Items, frame: Frame) -> Val:
    """A call of a definition of the checkout."""
    if callee.node.name == "build_module":
        # a component that was made in sight has been walked there; else nothing is known of it
        argument = node.args[0] if node.args else None
        in_sight = isinstance(argument, ast.Attribute) and argument.attr in walk.made_keys
        if not in_sight and (not positional or isinstance(positional[0], Unknown)):
            walk.note_unknown(frame.definition, node, f"what `{ast.unparse(node)}` builds")
        return Unknown()
    if callee.owner is not None and isinstance(node.func, ast.Attribute):
        bound = _find_bound(walk, callee, node.func.value, frame)
        positional = [bound, *positional] if bound is not None else positional
    if given.complete and not any(map(matters, [*positional, given])) and not can_load(walk.sources, callee):
        return Unknown()
    result = walk.enter(callee, positional, given.items, given.complete, _extend(frame, node, given))
    arguments = (*node.args, *(word.value for word in node.keywords if word.arg is not None))
    for each in arguments:
        if isinstance(each, ast.Name) and isinstance(frame.env.get(each.id), Items):
            frame.env[each.id] = Unknown()  # the function may have changed it
    if isinstance(node.func, ast.Attribute) or any(getattr(each, "id", "") == "self" for each in arguments):
        frame.env.update((name, Unknown()) for name in frame.env if name.startswith("self."))
    return result


def _find_bound(walk: Walk, callee: Definition, receiver: ast.expr, frame: Frame) -> Val | None:
    """The class that takes the place of ``self`` or ``cls``; None where none does."""
    decorators = {getattr(each, "id", "") for each in callee.node.decorator_list}
    found = walk.sources.find_name(receiver, frame.env, frame.definition)
    is_class = isinstance(found, Definition) and isinstance(found.node, ast.ClassDef)
    by_name = is_class and dotted_name(receiver) not in ("self", "cls")
    if "staticmethod" in decorators or (by_name and "classmethod" not in decorators):
        return None
    return found if is_class else callee.owner


def _call_super(
    walk: Walk, func: ast.Attribute, positional: list[Val], given: Items, frame: Frame, chain: Chain
) -> None:
    """``super().__init__(...)``: of the next class of the checkout, else of a library."""
    walk.called.add(func)
    definition = frame.definition
    own = frame.env.get("self", definition.owner)
    cls = own if isinstance(own, Definition) and isinstance(own.node, ast.ClassDef) else definition.owner
    if cls is None:
        return
    lineage = list(walk.sources.find_lineage(cls))
    behind = lineage[lineage.index(definition.owner) + 1 :] if definition.owner in lineage else lineage[1:]
    for base in behind:
        for node in base.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == func.attr:
                method = Definition(base.module, node, base)
                walk.enter(method, [cls, *positional], given.items, given.complete, chain)
                return
    outside = walk.sources.find_outside_bases(cls) or []
    if func.attr == "__init__" and outside and all(base.name.startswith("torch.nn.") for base in outside):
        place = definition.module.path, chain[-1].line
        walk.rejections += [Rejection(key, f"super of {definition.name}", *place, chain) for key in given.items]
    elif func.attr in library.HUB_NAMES:
        walk.note_unknown(definition, func, f"what `super().{func.attr}` loads")


def _call_external(
    walk: Walk, callee: External, node: ast.Call, positional: list[Val], given: Items, frame: Frame
) -> Val:
    """A call of something outside the checkout."""
    last, package, name = callee.name.rpartition(".")[2], package_of(callee.name), dotted_name(node.func)
    own = walk.sources.is_own(package)
    first = positional[0] if positional else Unknown()
    reads_config = last in ("from_config", "load_config") and isinstance(first, Known) and isinstance(first.value, str)
    is_hub = last in library.HUB_NAMES or reads_config
    handed_on = [*positional, *given.items.values()]
    names_repo = any(matters(each) and isinstance(each, Known) and "/" in str(each.value) for each in handed_on)
    problem = None
    if package in library.OTHER_KEYWORDS and (is_hub or any(map(matters, handed_on))):
        problem = f"`{name}`: {library.OTHER_KEYWORDS[package]}"
    elif is_hub and (package in library.CACHE_DIR_LIBRARIES or own):
        _add_hub_call(walk, callee, node, positional, given, frame)
    elif own and any(map(matters, handed_on)):
        problem = f"`{callee.name}` is not found in the checkout"
    elif is_hub or (names_repo and library.may_load(package)):
        problem = f"what `{name}` loads"
    if problem is not None:
        walk.note_unknown(frame.definition, node, problem)
    return Unknown() if is_hub else call_library(callee.name, positional, walk.sources.root)


def _add_hub_call(
    walk: Walk, callee: External, node: ast.Call, positional: list[Val], given: Items, frame: Frame
) -> None:
    """Record a hub call; of a class of the checkout the ``__init__`` is walked too."""
    repo = next((given.items[name] for name in library.REPO_PARAMETERS if name in given.items), None)
    repo = repo or (positional[0] if positional else Unknown())
    parts = callee.name.split(".")
    kind = parts[-1]
    named: dict[str, Val] = dict(given.items)
    if kind == "hf_hub_download" and len(positional) > 1:
        named["filename"] = positional[1]
    strings = {
        key: value.value
        for key, value in named.items()
        if key in ("subfolder", "revision", "filename") and isinstance(value, Known) and isinstance(value.value, str)
    }
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
    chain = _extend(frame, node, given)
    walk.calls.append(
        HubCall(
            str(dotted_name(node.func)),
            kind,
            parts[0],
            parts[-2] if parts[-2][:1].isupper() else "",
            frame.definition.module.path,
            node.lineno,
            node.col_offset,
            repo_id,
            text,
            hard_coded=repo_id is not None and not is_given(repo),
            reached=find_passed(given),
            certain=not walk.doubt,
            chain=chain,
            unseen=frozenset() if given.complete else frozenset(KEYS) - set(given.items),
            **strings,
        )
    )
    if walk.sources.is_own(parts[0]) and isinstance(node.func, ast.Attribute):
        _enter_model(walk, node.func.value, frame, chain)


def _describe(repo: Val, node: ast.Call) -> str:
    """What is written for a repo that is no string, for messages."""
    if isinstance(repo, Known):
        return repr(repo.value)
    text = repo.text if isinstance(repo, Unknown) and repo.given else ""
    return text or (ast.unparse(node.args[0]) if node.args else "?")


def _enter_model(walk: Walk, cls: ast.expr, frame: Frame, chain: Chain) -> None:
    """The ``__init__`` of the checkout's own model class, which its ``from_pretrained`` runs with a config object."""
    found = walk.sources.find_name(cls, frame.env, frame.definition)
    init = walk.sources.find_method(found, "__init__") if isinstance(found, Definition) else None
    if init is not None and isinstance(found, Definition):
        before = len(walk.rejections)
        walk.entered.setdefault(found.node, found)
        walk.enter(init, [found], {}, False, chain)
        del walk.rejections[before:]
