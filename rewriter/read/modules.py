"""The Python files of a checkout's packages: what their names stand for, and what is registered in them."""

from __future__ import annotations

import ast
import copy
import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

from rewriter import checkout, files
from rewriter.decoding import parse
from rewriter.model import Problem, Trace
from rewriter.read import library
from rewriter.read.syntax import dotted_name, imported_names, last_name, package_of, statements_run_once
from rewriter.read.values import UNKNOWN, Definition, Env, External, Known, Unknown, Val, apply

_MISSING = Unknown()  # compared by identity, never equal to UNKNOWN in meaning
_IMPORT = re.compile(rb"\n[ \t]*(?=[fi])(?:from[ \t]+(\.*)([\w.]*)[ \t]+)?import[ \t]+(\([^)]*\)|(?:\\\n|.)*)")


class Texts:
    """The bytes and trees of sources, as they were first read, and why some could not be, by path."""

    def __init__(self) -> None:
        self.bytes: dict[str, bytes] = {}
        self.problems: dict[str, Problem] = {}
        self._trees: dict[str, ast.Module] = {}

    def with_overlay(self, overlay: Mapping[str, bytes]) -> Texts:
        """The same with other bytes for some files."""
        other = Texts()
        other.bytes, other.problems = {**self.bytes, **overlay}, self.problems
        other._trees = {path: tree for path, tree in self._trees.items() if path not in overlay}
        return other

    def read(self, path: str) -> bytes:
        """The bytes of one source; one that cannot be read is empty, and a problem."""
        if path not in self.bytes:
            try:
                self.bytes[path] = files.read_bytes(path)
            except files.Unreadable as error:
                self.bytes[path], self.problems[path] = b"", error.problem
        return self.bytes[path]

    def parse(self, path: str) -> ast.Module:
        """The tree of one source; one that is not Python is empty, and a problem."""
        if path not in self._trees:
            tree = parse(self.read(path))
            if isinstance(tree, Problem):
                self.problems[path], tree = tree, ast.Module([], [])
            self._trees[path] = tree
        return self._trees[path]


class Module:
    """One file, parsed on first use."""

    def __init__(self, sources: Sources, name: str, path: str) -> None:
        self.sources, self.name, self.path = sources, name, path
        self.package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        self._found: dict[str, Val] = {}

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.sources.texts.read(self.path).splitlines()

    def read_text(self, node: ast.AST | None = None) -> bytes:
        """The lines on which a node is written; the whole file where there is none."""
        if node is None:
            return self.sources.texts.read(self.path)
        return b"\n".join(self._lines[getattr(node, "lineno", 1) - 1 : getattr(node, "end_lineno", None)])

    def read_imports(self, text: bytes) -> Iterator[str]:
        """The absolute dotted names that the imports in some text of the module may stand for."""
        for dots, origin, names in _IMPORT.findall(b"\n" + text) if b"import" in text else ():
            base = self._find_origin(origin.decode(), len(dots))
            yield from (f"{base}.{name.decode()}".lstrip(".") for name in re.findall(rb"[\w.]+|\*", names))

    @cached_property
    def names(self) -> dict[str, list[Definition | External | ast.expr]]:
        """What each top-level name may stand for; values as their expression, ``*`` the modules imported whole."""
        found: dict[str, list[Definition | External | ast.expr]] = {}
        for node in statements_run_once(self.sources.texts.parse(self.path).body):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.setdefault(node.name, []).append(Definition(self, node))
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(node.value)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for name, stands_for in self.list_imported(node):
                    found.setdefault(name, []).append(External(stands_for))
        return found

    @cached_property
    def registrations(self) -> list[tuple[str, str, Definition]]:
        """``(registry, registered name, definition)``: decorators and plain calls of ``register_module``."""
        found = []
        for node in statements_run_once(self.sources.texts.parse(self.path).body):
            pairs: list[tuple[ast.expr, Val]] = []
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                pairs = [(call, Definition(self, node)) for call in node.decorator_list]
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                modules = [each.value for each in node.value.keywords if each.arg == "module"]
                pairs = [(node.value, self.find(each.id)) for each in modules if isinstance(each, ast.Name)]
            for call, definition in pairs:
                is_registration = last_name(call) == checkout.REGISTRATION.decode()
                if is_registration and isinstance(call, ast.Call) and isinstance(definition, Definition):
                    given = [*call.args[:1], *(each.value for each in call.keywords if each.arg == "name")]
                    name = self._find_value(given[0]) if given else Known(None)
                    if isinstance(name, Known):
                        registry = last_name(getattr(call.func, "value", call.func))
                        found.append((registry, str(name.value or definition.node.name), definition))
        return found

    def list_imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
        """The names that an import binds, and the absolute dotted ones that they stand for."""
        origin = self._find_origin(node.module, node.level) if isinstance(node, ast.ImportFrom) else ""
        return imported_names(node, origin)

    def _find_origin(self, module: str | None, level: int) -> str:
        """The absolute name of the module that a ``from`` import names, with ``level`` dots before it."""
        parts = self.package.split(".")
        return ".".join(filter(None, [*parts[: level and len(parts) - level + 1], module]))

    def find(self, name: str) -> Val:
        """What a top-level name stands for; unknown where it is bound to different things."""
        if name not in self._found:
            self._found[name] = _MISSING  # for names that lead back to themselves
            values: list[Val] = [self._find_value(each) for each in self.names.get(name, ())]
            if not values:
                whole = [self.sources.find(f"{each.name}.{name}") for each in self.names.get("*", ())]  # type: ignore[union-attr]
                values += [each for each in whole if each is not _MISSING and not isinstance(each, External)][:1]
            same = all(value == values[0] for value in values)
            self._found[name] = (values or [_MISSING])[0] if same else UNKNOWN
        return self._found[name]

    def _find_value(self, found: Definition | External | ast.expr) -> Val:
        """What an expression at top level, or an imported name, stands for."""
        if isinstance(found, External):
            return self.sources.find(found.name)
        if isinstance(found, ast.Name):
            return self.find(found.id)
        return apply(ast.literal_eval, Known(found)) if isinstance(found, ast.expr) else found


class Sources:
    """The packages of a checkout and what is registered in them.

    ``root``: the checkout, absolute, or any folder that holds a package, or a package itself. ``texts``: of the run.
    """

    def __init__(self, root: str, texts: Texts | None = None) -> None:
        self.root, self.texts = root, texts or Texts()
        own = (root,) if os.path.isfile(os.path.join(root, "__init__.py")) else ()
        self.packages = checkout.find_packages(root) or own
        parents = [os.path.dirname(package) for package in self.packages]
        self._roots = tuple(dict.fromkeys([*parents, root, os.path.join(root, "src")]))
        self.can_load: dict[str | ast.AST, bool] = {}
        self.traces: dict[object, Trace] = {}
        self._bases: dict[str, list[str]] = {}
        self._modules: dict[str, Module | None] = {}
        self._registering: dict[str, list[Module]] = {}
        self._loaders: dict[str, list[Definition]] = {}

    def with_overlay(self, texts: Texts, overlay: Collection[str]) -> Sources:
        """The same packages with other bytes for some files; an edit passes keywords on and loads nothing more."""
        other = copy.copy(self)
        other.texts, other._modules, other._registering, other._loaders = texts, {}, {}, {}
        other.traces = {key: each for key, each in self.traces.items() if each.files.isdisjoint(overlay)}
        return other

    # --- names

    def find_module(self, name: str) -> Module | None:
        """The module of that absolute name, or None where the checkout has none."""
        if name not in self._modules:
            parts = name.split(".")
            bases = self.find_bases(parts[0])
            places = (os.path.join(base, *parts) + end for base in bases for end in (".py", "/__init__.py"))
            path = next(filter(os.path.isfile, places), None)
            self._modules[name] = Module(self, name, path) if path is not None else None
        return self._modules[name]

    def find_bases(self, first: str) -> list[str]:
        """The folders from which a name with that first part is imported."""
        if first not in self._bases:
            places = {base: os.path.join(base, first) for base in self._roots}
            found = [each for each, path in places.items() if os.path.isdir(path) or os.path.isfile(f"{path}.py")]
            self._bases[first] = found
        return self._bases[first]

    def find(self, dotted: str) -> Val:
        """What an absolute dotted name stands for: a definition of the checkout, or something outside."""
        module, _, name = dotted.rpartition(".")
        home = self.find_module(module) if module else None
        value = home.find(name) if home is not None else _MISSING
        return External(dotted) if value is _MISSING else value

    def find_name(self, node: ast.expr, env: Env, definition: Definition) -> Val:
        """What a dotted name stands for in ``definition``, where ``env`` holds its local names."""
        dotted = dotted_name(node)
        if dotted is None or dotted in env:
            return env[dotted] if dotted is not None else UNKNOWN
        first, _, rest = dotted.partition(".")
        found = env[first] if first in env else definition.module.find(first)
        if not rest:
            return found
        if isinstance(found, External):
            return self.find(f"{found.name}.{rest}")
        return self.find_attribute(found, rest) if isinstance(found, Definition) else UNKNOWN

    def find_attribute(self, owner: Definition, name: str, skipped: int = 0) -> Val:
        """A method or a constant of a class of the checkout; ``skipped``: 1 for what ``super()`` in it finds."""
        for cls in [*self.find_lineage(owner)][skipped:]:
            for node in cls.node.body:
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    return Definition(cls.module, node, cls)
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
                    return apply(ast.literal_eval, Known(node.value))
        bases = self.find_outside_bases(owner) if name in library.HUB_METHODS else []
        if all(bases) and any(package_of(base) in library.CACHE_DIR_LIBRARIES for base in bases):
            return External(f"{package_of(owner.module.name)}.{owner.node.name}.{name}")
        return UNKNOWN

    def find_lineage(self, cls: Definition, seen: tuple[Definition, ...] = ()) -> Iterator[Definition]:
        """A class and its base classes that the checkout defines."""
        if isinstance(cls.node, ast.ClassDef) and cls not in seen:
            yield cls
            for base in cls.node.bases:
                found = self.find_name(base, {}, cls)
                if isinstance(found, Definition):
                    yield from self.find_lineage(found, (*seen, cls))

    def find_outside_bases(self, cls: Definition) -> list[str]:
        """The names of the base classes that the checkout does not define; "" where one is not known."""
        pairs = [(each, base) for each in self.find_lineage(cls) for base in getattr(each.node, "bases", ())]
        found = [self.find_name(base, {}, each) for each, base in pairs]
        return [getattr(each, "name", "") for each in found if not isinstance(each, Definition)]

    # --- registrations

    @cached_property
    def _files(self) -> list[str]:
        """Every Python file of the packages, sorted."""
        return sorted({path for package in self.packages for path in files.walk(package)})

    @cached_property
    def _registering_files(self) -> list[str]:
        return [path for path in self._files if checkout.registers(path)]

    def _module_at(self, path: str) -> Module:
        shown = next(shown for base in self._roots if (shown := files.show_path(path, base)) != path)
        name = shown[:-3].replace(os.sep, ".").removesuffix(".__init__")
        module = self.find_module(name)
        return module if module is not None and module.path == path else Module(self, name, path)

    def find_registering(self, type_name: str) -> list[Module]:
        """The files that register a name, or seem to."""
        if type_name not in self._registering:
            name, marks = type_name.encode(errors="replace"), (b'"%b"', b"'%b'", b"class %b", b"def %b")
            named = [path for path in self._registering_files if name in self.texts.read(path)]
            paths = [path for path in named if any(mark % name in self.texts.read(path) for mark in marks)]
            self._registering[type_name] = list(map(self._module_at, paths))
        return self._registering[type_name]

    def find_loaders(self, type_name: str) -> list[Definition]:
        """The definitions registered under a name: one, or several where which one is meant cannot be known."""
        if type_name not in self._loaders:
            listed = [each for module in self.find_registering(type_name) for each in module.registrations]
            entries = [each for each in listed if each[1] == type_name]
            models = [found for registry, _, found in entries if registry == "MODELS"]
            loaders = list(dict.fromkeys(models or [found for _, _, found in entries]))
            if len(loaders) > 1:
                loaders = [each for each in loaders if each.module.name in self._imported_modules] or loaders
            self._loaders[type_name] = loaders
        return self._loaders[type_name]

    @cached_property
    def _imported_modules(self) -> frozenset[str]:
        """The modules that some file of the packages imports."""
        modules = map(self._module_at, self._files)
        names = {name for module in modules for name in module.read_imports(module.read_text())}
        return frozenset(names | {name.rpartition(".")[0] for name in names})
