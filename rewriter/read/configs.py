"""Read the components of a config with ``ast``. Nothing of the config is executed.

A component is a ``dict(...)`` call or a ``{...}`` display with literal keys that is bound to a name at module level
(in the branches of ``if``, ``try`` and ``with`` too: each binding is a component), or such a dict as a value in one. It
can be decided when every other mention of its name is another such binding, a top-level ``name["key"] = value``, or a
use that only reads (:class:`rewriter.read.mentions.Mentions`). Anything else makes it ``unsure``: OSR007, and nothing
is written.
"""

from __future__ import annotations

import ast
import io
import os
import re
import tokenize
from collections.abc import Callable, Iterator, Sequence

from rewriter.decoding import decode, parse
from rewriter.model import Component, Config, Ignore, Keyword, Problem, Value
from rewriter.read.mentions import Binding, find_mentions
from rewriter.read.syntax import span_of

_IGNORE = re.compile(r"#\s*opensora-rewriter:\s*ignore(?:\[([\w\s,]+)\]|(?!\w|\[))")
_LONGEST_TEXT = 200
_NO_DICT = (ast.Constant, ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp, ast.UnaryOp, ast.Compare)


def read_config(data: bytes, path: str) -> Config:
    """What one config says. Never raises: a file that cannot be read carries a problem.

    Args:
        data: the bytes of the file, in any encoding that Python reads.
        path: of the file, absolute; ``_base_`` files are found from there.
    """
    source = decode(data)
    tree = source if isinstance(source, Problem) else parse(source)
    if isinstance(source, Problem) or isinstance(tree, Problem):
        return Config(path, problem=tree if isinstance(tree, Problem) else None)
    try:
        return _Reader(tree, source.utf8).read(path)
    except RecursionError:
        return Config(path, problem=Problem(1, 0, "the file nests too deeply to be read", "leave the file out"))


class _Reader:
    """One module on its way to components."""

    def __init__(self, tree: ast.Module, source: bytes) -> None:
        self.source = source
        self.lines = source.splitlines(keepends=True)
        self.mentions = find_mentions(tree)
        self.bindings = self.mentions.bindings

    def read(self, path: str) -> Config:
        bases, bases_unknown = self._bases(os.path.dirname(path))
        components = sorted(self._components(), key=lambda each: (each.span.line, each.span.column))
        ignores = _read_ignores(self.source) if b"opensora-rewriter" in self.source else ()
        bound = frozenset(self.bindings)
        return Config(path, tuple(components), bases, bases_unknown, bound, ignores)

    # --- components

    def _components(self) -> Iterator[Component]:
        for name, bindings in self.bindings.items():
            unsure = self._doubt(name)
            for binding in bindings:
                if _is_dict(binding.value):
                    assert binding.value is not None
                    items = [each for each in self.mentions.items.get(name, ()) if each[1].lineno > binding.line]
                    yield from self._component((name,), binding.value, unsure, items)
            others = [each for each in bindings if not _is_dict(each.value) and not _holds_no_dict(each.value)]
            if others and not (isinstance(others[0].value, ast.Name) and self._value(others[0].value).known):
                yield self._opaque((name,), others[0].value or others[0].node)

    def _doubt(self, name: str) -> str | None:
        """Why a name may hold something else than the dicts that are bound to it."""
        for word in ("dict", "*"):
            if word in self.bindings:
                what = "binds the name `dict`" if word == "dict" else "imports *"
                return f"line {self.bindings[word][0].line} {what}"
        found = self.mentions.others.get(name)
        lines = [found] if found is not None else []
        lines += [line for key, line in self.mentions.reads.get(name, ()) if self._may_hold_dict(name, key)]
        return f"line {min(lines)} uses `{name}`, and may change it" if lines else None

    def _may_hold_dict(self, name: str, key: str) -> bool:
        """Whether reading ``name["key"]`` may give something that can be changed through it."""
        pairs = [pair for each in self.bindings.get(name, ()) for pair in _dict_items(each.value)]
        values = [value for found, value in (*pairs, *self.mentions.items.get(name, ())) if found in (key, None)]
        return any(not isinstance(value, (ast.Constant, ast.JoinedStr)) for value in values)

    def _component(
        self,
        keys: tuple[str, ...],
        node: ast.expr,
        doubt: str | None,
        items: Sequence[tuple[str, ast.expr]] = (),
    ) -> Iterator[Component]:
        keywords: list[Keyword] = []
        values: dict[str, Value] = {}
        inner: list[tuple[str, ast.expr]] = []
        for key, value in _dict_items(node):
            if key is None:
                doubt = doubt or f"line {value.lineno}: `{self._text(value)}` may give it any key"
                continue
            if key in values:
                doubt = doubt or f"line {value.lineno} gives `{key}` twice"
            values[key] = self._value(value)
            keywords.append(Keyword(key, values[key], span_of(value)))
            if not _holds_no_dict(value) and key.isidentifier():
                inner.append((key, value))
        overrides = tuple(Keyword(key, self._value(value), span_of(value)) for key, value in items)
        values |= {each.key: each.value for each in overrides}
        yield Component(keys, span_of(node), self._text(node), tuple(keywords), values, overrides, doubt)
        for key, value in inner:
            later = next((item for name, item in items if name == key), None)
            changed = f"line {later.lineno} gives `{key}` again" if later is not None else None
            if _is_dict(value):
                yield from self._component((*keys, key), value, doubt or changed)
            elif not self._value(value).known:
                yield self._opaque((*keys, key), value)
        for key, value in items:
            if _is_dict(value):
                yield from self._component((*keys, key), value, doubt)

    def _opaque(self, keys: tuple[str, ...], node: ast.AST) -> Component:
        """A name that is bound to no dict that can be read."""
        text = self._text(node) if isinstance(node, (ast.expr, ast.stmt)) else keys[-1]
        return Component(keys, span_of(node), text, unsure=f"`{text}` is no dict that can be read")

    # --- values

    def _value(self, node: ast.expr) -> Value:
        try:
            return Value(self._text(node), True, self._evaluate(node))
        except (ValueError, TypeError, MemoryError):
            return Value(self._text(node))

    def _evaluate(self, node: ast.expr) -> object:
        """The value of constants, their names, sums and f-strings, and containers of them; else ValueError."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and "{{" in node.value:
                raise ValueError  # mmengine replaces it before it runs the file
            return node.value
        if isinstance(node, ast.Name):
            binding, *others = self.bindings.get(node.id) or [Binding(node, None, node.lineno)]
            simple = isinstance(binding.value, (ast.Constant, ast.BinOp, ast.JoinedStr, ast.Name))
            if binding.value is None or others or not simple or binding.line >= node.lineno:
                raise ValueError
            return self._evaluate(binding.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._evaluate(node.left), self._evaluate(node.right)
            if isinstance(left, str) and isinstance(right, str):
                return left + right
        if isinstance(node, ast.JoinedStr):
            return "".join(self._evaluate_part(part) for part in node.values)
        if isinstance(node, (ast.List, ast.Tuple)):
            items = [self._evaluate(each) for each in node.elts]
            return items if isinstance(node, ast.List) else tuple(items)
        if not _is_dict(node):
            return ast.literal_eval(node)
        pairs = list(_dict_items(node))
        if any(key is None for key, _ in pairs):
            raise ValueError
        return {key: self._evaluate(value) for key, value in pairs}

    def _evaluate_part(self, part: ast.expr) -> str:
        if isinstance(part, ast.FormattedValue):
            value = self._evaluate(part.value)
            if part.format_spec is not None or part.conversion != -1 or not isinstance(value, (str, int)):
                raise ValueError
            return str(value)
        return str(self._evaluate(part))

    def _bases(self, folder: str) -> tuple[tuple[str, ...], str | None]:
        """The ``_base_`` files, absolute, and why some cannot be named."""
        bindings = self.bindings.get("_base_", [])
        if not bindings:
            return (), None
        doubt = self._doubt("_base_")
        value = self._value(bindings[0].value) if bindings[0].value is not None else Value("_base_")
        names = [value.value] if isinstance(value.value, str) else value.value
        plain = value.known and isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
        if doubt is not None or len(bindings) > 1 or not plain:
            return (), doubt or f"line {bindings[0].line}: `_base_` is `{value.text}`"
        assert isinstance(names, (list, tuple))
        return tuple(os.path.normpath(os.path.join(folder, name)) for name in names), None

    def _text(self, node: ast.AST) -> str:
        """The source of a node on one line, shortened."""
        first, last = node.lineno - 1, node.end_lineno  # type: ignore[attr-defined]
        lines = self.lines[first:last]
        lines[-1] = lines[-1][: node.end_col_offset]  # type: ignore[attr-defined]
        lines[0] = lines[0][node.col_offset :]  # type: ignore[attr-defined]
        text = b" ".join(line[: 4 * _LONGEST_TEXT].strip() for line in lines).decode(errors="ignore")
        return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def inherit(config: Config, read: Callable[[str], Config], seen: tuple[str, ...] = ()) -> Config:
    """The config with the values of its ``_base_`` files merged in, as mmengine does it.

    Args:
        read: gives the reading of a base file; one with a problem makes ``bases_unknown``.
    """
    theirs: dict[tuple[str, ...], Component] = {}
    unknown = config.bases_unknown
    for path in config.bases:
        base = read(path) if path not in (*seen, config.path) else Config(path, problem=Problem(1, 0, "a circle", ""))
        if base.problem is not None:
            unknown = unknown or f"{path}: {base.problem.message}"
            continue
        base = inherit(base, read, (*seen, config.path))
        unknown = unknown or base.bases_unknown
        for each in base.components:
            theirs[each.keys] = each._replace(origin=each.origin or path)
    own = []
    for component in config.components:
        above = theirs.pop(component.keys, None)
        if above is not None and "_delete_" not in component.values:
            merged = {**above.values, **component.values}
            component = component._replace(values=merged, unsure=component.unsure or above.unsure)
        own.append(component)
    by_keys = {component.keys: component for component in own}
    kept = [each for keys, each in theirs.items() if _stays(keys, by_keys, config.bound)]
    return config._replace(components=(*own, *kept), bases_unknown=unknown)


def _stays(keys: tuple[str, ...], own: dict[tuple[str, ...], Component], bound: frozenset[str]) -> bool:
    """Whether a base's dict is still there when the config that inherits it has said all."""
    for depth in range(len(keys) - 1, 0, -1):
        parent = own.get(keys[:depth])
        if parent is not None:
            written = {keyword.key for keyword in parent.keywords}
            return "_delete_" not in parent.values and keys[depth] not in written
    return keys[0] not in bound


def _is_dict(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "dict"
    return isinstance(node, ast.Dict)


def _holds_no_dict(node: ast.expr | None) -> bool:
    return isinstance(node, _NO_DICT) or (isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitOr))


def _dict_items(node: ast.expr | None) -> Iterator[tuple[str | None, ast.expr]]:
    """Keys and values of a dict; the key is None for a spread, a positional argument and a computed key."""
    if isinstance(node, ast.Call):
        yield from ((None, each) for each in node.args)
        yield from ((each.arg, each.value) for each in node.keywords)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and not isinstance(key.value, str):
                continue  # a number builds nothing
            yield (str(key.value) if isinstance(key, ast.Constant) else None), value


def _read_ignores(source: bytes) -> tuple[Ignore, ...]:
    """The ignore comments; strings that look like one are none."""
    found: list[Ignore] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source.decode()).readline):
            match = _IGNORE.search(token.string) if token.type == tokenize.COMMENT else None
            found += [Ignore(token.start[0], tuple(re.findall(r"\w+", match[1] or "")))] if match else []
    except (tokenize.TokenError, IndentationError):
        pass  # ast has read the file; what tokenize cannot read holds no comment of ours
    return tuple(found)
