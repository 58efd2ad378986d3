"""Read the components of a config with ``ast``. Nothing of the config is executed.

A component is a ``dict(...)`` call or a ``{...}`` display with literal keys that is bound to a name at module level
(in the branches of ``if``, ``try`` and ``with`` too: each binding is a component), or such a dict as a value in one. It
can be decided when every other mention of its name is another such binding, a top-level ``name["key"] = value``, the
first argument of ``build_module``, ``X.build`` or ``print``, or a reading of a key that holds no dict. Anything else
makes it ``unsure``: OSR007, and nothing is written.
"""

from __future__ import annotations

import ast
import operator
import os
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from rewriter.decoding import parse
from rewriter.model import Component, Config, Ignore, Problem, Span, Value
from rewriter.read.syntax import imported_names, package_of, span_of, statements_run_once, stored_names

_IGNORE = re.compile(r"#[ \t]*opensora-rewriter:[ \t]*ignore(?:\[([\w ,]+)\]|(?!\w|\[))")
_PLAIN = (ast.Constant, ast.JoinedStr)
_NUMERIC = {ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv}

_Keys = tuple[str, ...]
_Node = ast.expr | ast.stmt
_Items = list[tuple[str, ast.expr]]
_Pairs = Sequence[tuple[str | None, ast.expr]]


def read_config(data: bytes, path: str) -> Config:
    """What one config says. Never raises: a file that cannot be read carries a problem.

    ``path``: of the file, absolute; ``_base_`` files are found from there.
    """
    tree = parse(data)
    if isinstance(tree, Problem):
        return Config(path, problem=tree)
    source = data.decode()
    reader = _Reader(tree, source)
    try:
        components = tuple(reader.read_components())
        bases, bases_unknown = reader.read_bases(os.path.dirname(path))
    except RecursionError:
        return Config(path, problem=Problem(1, 0, "the file nests too deeply to be read", "leave the file out"))
    ignores = tuple(
        Ignore(source.count("\n", 0, match.start()) + 1, tuple(re.findall(r"\w+", match[1] or "")))
        for match in _IGNORE.finditer(source)
    )
    return Config(path, components, bases, bases_unknown, frozenset(reader.bindings), ignores)


class _Reader:
    """One module: ``bindings`` of each top-level name, and ``items``, its ``name["key"] = value`` at top level.

    What binds a name in any other way than ``name = value`` stands for the value itself. ``explained``: the nodes of
    names that stand in such a statement, or are used so that nothing can change. ``templates``: strings that mmengine
    changes before it runs the file.
    """

    def __init__(self, tree: ast.Module, source: str) -> None:
        self.tree = tree
        strings = ast.walk(tree) if "{{" in source else ()
        self.templates = {each for each in strings if "{{" in str(getattr(each, "value", ""))}
        self.values: dict[ast.AST, Value] = {}
        self.bindings = defaultdict[str, list[_Node]](list)
        self.items = defaultdict[str, _Items](list)
        self.explained: set[ast.AST] = set()
        for statement in statements_run_once(tree.body):
            self._note(statement)

    def _note(self, statement: ast.stmt) -> None:
        names: Iterable[str] = ()
        match statement:
            case (
                ast.Assign(targets=[ast.Name() as target], value=value)
                | ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value)
            ):
                self.bindings[target.id].append(value)
                self.explained.add(target)
            case ast.Assign(
                targets=[ast.Subscript(value=ast.Name() as target, slice=ast.Constant(value=str(key)))],
                value=value,
                col_offset=0,
            ):
                self.items[target.id].append((key, value))
                self.explained.add(target)
            case ast.Import() | ast.ImportFrom():
                names = [package_of(name) for name, _ in imported_names(statement)]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case _:
                names = stored_names([statement])
        for name in names:
            self.bindings[name].append(statement)

    # --- components

    def read_components(self) -> Iterator[Component]:
        for name, nodes in self.bindings.items():
            for node in nodes:
                if isinstance(node, (ast.Call, ast.Dict)) or not self._is_known(node):
                    items = [each for each in self.items.get(name, ()) if each[1].lineno > node.lineno]
                    yield from self._read((name,), node, items, self._doubt(name))

    def _read(self, keys: _Keys, node: _Node, items: _Items, doubt: str | None) -> Iterator[Component]:
        """The components of one value: a dict and those in it, or what may be a dict and cannot be read."""
        pairs = _dict_items(node)
        if pairs is None:
            if not self._value(node).known:
                yield Component(keys, span_of(node), unsure=f"`{self._value(node).text}` is no dict that can be read")
            return
        written = dict(pairs)
        if None in written or len(written) < len(pairs):
            doubt = doubt or "a key of it is computed, spread (`**`) or given twice"
        own = {key: value for key, value in written.items() if key is not None}
        keywords = tuple(own)
        overrides = {key: value.lineno for key, value in items}
        own |= dict(items)
        values = {key: self._value(value) for key, value in own.items()}
        yield Component(keys, span_of(node), keywords, values, overrides, doubt)
        for key, inner in own.items():
            if (isinstance(inner, (ast.Call, ast.Dict)) or not values[key].known) and key.isidentifier():
                yield from self._read((*keys, key), inner, [], doubt)

    def _doubt(self, name: str) -> str | None:
        """Why a name may hold something else than the dicts that are bound to it."""
        other = [*self.bindings.get("dict", ()), *self.bindings.get("*", ())]
        if other:
            return f"line {other[0].lineno} may bind `dict` to something else"
        if name not in self.uses:
            return None
        pairs = [pair for node in self.bindings[name] for pair in _dict_items(node) or ()] + self.items.get(name, [])
        risky = {None, *(key for key, value in pairs if not isinstance(value, _PLAIN))}
        lines = [line for key, line in self.uses[name] if key in risky]
        return f"line {min(lines)} uses `{name}`, and may change it" if lines else None

    @cached_property
    def uses(self) -> dict[str, list[tuple[str | None, int]]]:
        """Of each name the mentions that are not explained: the key that is read (None: any other use), its line."""
        uses = defaultdict[str, list[tuple[str | None, int]]](list)
        known = [each for each in self.tree.body if isinstance(each, ast.Assign) and each.targets[0] in self.explained]
        others = {*self.tree.body} - {each for each in known if self._is_known(each.value)}
        for node in ast.walk(ast.Module([*others], [])):  # a name comes after all that it stands in
            match node:
                case ast.Call(
                    func=ast.Name(id="print" | "build_module") | ast.Attribute(attr="build" | "build_module"),
                    args=[ast.Name() as name, *_],
                ):
                    self.explained.add(name)
                    continue
                case (
                    ast.Call(
                        func=ast.Attribute(value=ast.Name() as name, attr="get"),
                        args=[ast.Constant(value=str(key)), *_],
                    )
                    | ast.Subscript(value=ast.Name() as name, slice=ast.Constant(value=str(key)), ctx=ast.Load())
                    | ast.Attribute(value=ast.Name() as name, attr=key, ctx=ast.Load())
                ):
                    is_method = isinstance(node, ast.Attribute) and hasattr(dict, key)  # `f = vae.update`
                    use: tuple[str | None, int] = None if is_method else key, name.lineno
                case ast.Call(func=ast.Attribute(value=ast.Name() as name)) | (ast.Name() as name):
                    use = None, name.lineno
                case _:
                    continue
            if name not in self.explained:
                self.explained.add(name)
                uses[name.id].append(use)
        return uses

    # --- values

    def _is_known(self, node: _Node) -> bool:
        """Whether a value is known, and so mentions no dict."""
        return (isinstance(node, ast.Constant) and node not in self.templates) or self._value(node).known

    def _value(self, node: _Node) -> Value:
        if isinstance(node, ast.Constant) and node not in self.templates:
            return Value("", True, node.value)
        if node not in self.values:
            try:
                self.values[node] = Value.of(self._evaluate(node))
            except (ValueError, TypeError, ArithmeticError):
                self.values[node] = Value(textwrap.shorten(ast.unparse(node), 200, placeholder="..."))
        return self.values[node]

    def _evaluate(self, node: _Node) -> Any:
        """The value of constants, their names, sums and f-strings, and containers of them; else ValueError."""
        if isinstance(node, ast.Constant):
            if node in self.templates:
                raise ValueError
            return node.value
        match node:
            case ast.Dict() if None not in node.keys:
                keys = [self._evaluate(key) for key in node.keys if key is not None]
                return dict(zip(keys, map(self._evaluate, node.values), strict=True))
            case ast.Call(func=ast.Name(id="dict"), args=[]) if None not in [each.arg for each in node.keywords]:
                return {each.arg: self._evaluate(each.value) for each in node.keywords}
            case ast.List():
                return [self._evaluate(each) for each in node.elts]
            case ast.Tuple():
                return tuple([self._evaluate(each) for each in node.elts])
            case ast.Name():
                value, *others = self.bindings.get(node.id) or [node]
                simple = isinstance(value, (*_PLAIN, ast.BinOp, ast.Name))
                if others or not simple or value.lineno >= node.lineno:
                    raise ValueError
                return self._evaluate(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._evaluate(left) + self._evaluate(right)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _NUMERIC:
                numbers = self._evaluate(left), self._evaluate(right)
                if not all(isinstance(each, (int, float)) for each in numbers):
                    raise ValueError  # `"a" * 10**9` would not fit
                return _NUMERIC[type(op)](*numbers)
            case ast.JoinedStr():
                return "".join(str(self._evaluate(part)) for part in node.values)
            case ast.FormattedValue(conversion=-1, format_spec=None):
                return self._evaluate(node.value)
            case _:
                return ast.literal_eval(node)

    def read_bases(self, folder: str) -> tuple[tuple[str, ...], str | None]:
        """The ``_base_`` files, absolute, or why they cannot be named."""
        nodes = self.bindings.get("_base_")
        if not nodes:
            return (), None
        value = self._value(nodes[0])
        names = [value.value] if isinstance(value.value, str) else value.value
        if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
            return tuple(os.path.normpath(os.path.join(folder, name)) for name in names), None
        return (), f"line {nodes[0].lineno}: `_base_` is `{value.text}`"


def _dict_items(node: _Node) -> _Pairs | None:
    """Keys and values of a dict, or None for anything else.

    A key is None where it is spread, positional or computed. Numbers are left out: they build nothing.
    """
    match node:
        case ast.Call(func=ast.Name(id="dict")):
            return [*[(None, each) for each in node.args], *[(each.arg, each.value) for each in node.keywords]]
        case ast.Dict():
            keys = [each.value if isinstance(each, ast.Constant) else None for each in node.keys]
            pairs = zip(keys, node.values, strict=True)
            return [(key, value) for key, value in pairs if key is None or isinstance(key, str)]
    return None


def find_values(data: bytes) -> dict[tuple[Span, str | None], Span]:
    """Where the values of a config's dicts are written, by the place of the dict and the key."""
    tree = parse(data)
    nodes = [] if isinstance(tree, Problem) else [each for each in ast.walk(tree) if isinstance(each, ast.expr)]
    return {(span_of(each), key): span_of(value) for each in nodes for key, value in _dict_items(each) or ()}


def inherit(config: Config, read: Callable[[str], Config], seen: tuple[str, ...] = ()) -> Config:
    """The config with the values of its ``_base_`` files merged in, as mmengine does it.

    ``read``: gives the reading of a base file; one with a problem makes ``bases_unknown``. ``seen``: the files that
    inherit from this one.
    """
    if not config.bases:
        return config
    theirs: dict[_Keys, Component] = {}
    unknown = config.bases_unknown
    seen = (*seen, config.path)
    for path in config.bases:
        base = inherit(read(path), read, seen) if path not in seen else Config(path, bases_unknown="inherits itself")
        fault = base.problem.message if base.problem is not None else base.bases_unknown
        unknown = unknown or (f"{path}: {fault}" if fault is not None else None)
        theirs |= {each.keys: each._replace(origin=each.origin or path) for each in base.components}
    own = []
    for component in config.components:
        above = theirs.get(component.keys)
        if above is not None and "_delete_" not in component.values:
            merged = {**above.values, **component.values}
            component = component._replace(values=merged, unsure=component.unsure or above.unsure)
        own.append(component)
    by_keys = {component.keys: component for component in config.components}
    kept = [each for keys, each in theirs.items() if _stays(keys, by_keys, config.bound)]
    return config._replace(components=(*own, *kept), bases_unknown=unknown)


def _stays(keys: _Keys, own: Mapping[_Keys, Component], bound: frozenset[str]) -> bool:
    """Whether a base's dict is still there, as it is, when the config that inherits it has said all."""
    parent = own.get(keys[:-1])
    if parent is not None:
        return not {"_delete_", keys[-1]} & parent.values.keys()
    return _stays(keys[:-1], own, bound) if keys[1:] else keys[0] not in bound
