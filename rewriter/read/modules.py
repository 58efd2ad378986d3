"""The Python files of a checkout's packages: what their names stand for, and what is registered in them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from rewriter import checkout, files
from rewriter.decoding import decode, parse
from rewriter.model import Problem, Trace, Value
from rewriter.read.mentions import statements_run_once
from rewriter.read.values import Definition, External, Known, Unknown, Val

_MISSING = Unknown("?")


class Module:
    """One file, parsed on first use."""

    def __init__(self, sources: Sources, name: str, path: str) -> None:
        self.sources, self.name, self.path = sources, name, path
        self.package = name if path.endswith("__init__.py") else name.rpartition(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file; an empty one where it cannot be read."""
        return self.sources.parse_file(self.path)

    @cached_property
    def registrations(self) -> list[tuple[str, str, Definition]]:
        """``(registry, registered name, definition)``: decorators and plain calls of ``register_module``."""
        return list(_find_registrations(self))

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines of the file as they are numbered in its tree."""
        return self.sources.read_file(self.path).splitlines()

    @cached_property
    def names(self) -> dict[str, list[Val | ast.AST]]:
        """What each top-level name may stand for; constants as their expression, ``*`` the modules imported whole."""
        found: dict[str, list[Val | ast.AST]] = {}
        for node in statements_run_once(self.tree.body):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.setdefault(node.name, []).append(Definition(self, node))
            elif isinstance(node, ast.AsyncFunctionDef):
                found.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                found.setdefault(node.target.id, []).append(node.value)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    whole = External(alias.name if alias.asname else alias.name.partition(".")[0])
                    found.setdefault(alias.asname or whole.name, []).append(whole)
            elif isinstance(node, ast.ImportFrom):
                origin = self.find_origin(node)
                for alias in node.names:
                    name = origin if alias.name == "*" else f"{origin}.{alias.name}"
                    found.setdefault(alias.asname or alias.name, []).append(External(name))
        return found

    def find_origin(self, node: ast.ImportFrom) -> str:
        """The absolute name of the module that an import names."""
        parts = self.package.split(".")
        base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
        return ".".join(filter(None, (base, node.module)))

    def find(self, name: str) -> Val:
        """What a top-level name stands for; unknown where it is bound to different things."""
        found = self.names.get(name)
        if found is None:
            for module in self.names.get("*", ()):
                assert isinstance(module, External)
                value = self.sources.find(f"{module.name}.{name}")
                if value is not _MISSING and not isinstance(value, External):
                    return value
            return _MISSING
        values = [self._resolve(each) for each in found]
        return values[0] if all(value == values[0] for value in values) else Unknown()

    def _resolve(self, found: Val | ast.AST) -> Val:
        if isinstance(found, External):
            return self.sources.find(found.name)
        if isinstance(found, ast.Name):
            return self.find(found.id)
        if isinstance(found, ast.expr):
            try:
                return Known(ast.literal_eval(found))
            except (ValueError, TypeError):
                return Unknown()
        return Unknown() if isinstance(found, ast.AST) else found


class Sources:
    """The packages of a checkout and what is registered in them.

    Args:
        root: the checkout, absolute, or any folder that holds a package, or a package itself.
        overlay: bytes that stand for files, by absolute path.
        packages: their folders, where they have been found already.
    """

    def __init__(
        self, root: str, overlay: Mapping[str, bytes] | None = None, packages: Sequence[str] | None = None
    ) -> None:
        self.root = root
        self.packages = tuple(checkout.find_packages(root) if packages is None else packages)
        parents = [os.path.dirname(package) for package in self.packages]
        self.import_roots = tuple(dict.fromkeys([*parents, root, os.path.join(root, "src")]))
        self.problems: dict[str, Problem] = {}
        self._overlay = dict(overlay or {})
        self._read: dict[str, bytes] = {}
        self._trees: dict[str, ast.Module] = {}
        self._modules: dict[str, Module | None] = {}
        self._traces: dict[tuple[str, tuple[tuple[str, str, str], ...]], Trace] = {}
        self._loaders: dict[str, list[Definition]] = {}
        self.can_load: dict[ast.AST, bool] = {}

    def with_overlay(self, overlay: Mapping[str, bytes]) -> Sources:
        """The same packages with other bytes for some files."""
        other = Sources(self.root, {**self._overlay, **overlay}, self.packages)
        other._read = self._read
        other._trees = {path: tree for path, tree in self._trees.items() if path not in overlay}
        other._traces = {key: each for key, each in self._traces.items() if each.files.isdisjoint(overlay)}
        return other

    def has_read(self, path: str) -> bool:
        """Whether a file is one of these sources."""
        return path in self._read or path in self._overlay

    # --- files

    def read_file(self, path: str) -> bytes:
        """The bytes of one source, as they were first read. Raises :class:`rewriter.files.Unreadable`."""
        if path in self._overlay:
            return self._overlay[path]
        if path not in self._read:
            self._read[path] = files.read_bytes(path)
        return self._read[path]

    def parse_file(self, path: str) -> ast.Module:
        """The tree of one source; one that cannot be read is empty, and a problem."""
        if path not in self._trees:
            tree = self._parse(path)
            if isinstance(tree, Problem):
                self.problems[path] = tree
                tree = ast.Module([], [])
            self._trees[path] = tree
        return self._trees[path]

    def _parse(self, path: str) -> ast.Module | Problem:
        try:
            source = decode(self.read_file(path))
        except files.Unreadable as error:
            return Problem(1, 0, error.message, error.remedy)
        return source if isinstance(source, Problem) else parse(source)

    def list_files(self) -> list[str]:
        """Every Python file of the packages, sorted."""
        found: set[str] = set()
        for package in self.packages:
            for folder, folders, names in os.walk(package):
                folders[:] = [name for name in folders if name not in (".git", "__pycache__")]
                found.update(os.path.join(folder, name) for name in names if name.endswith(".py"))
        return sorted(found)

    def read_folders(self) -> set[str]:
        """The folders of the sources that were read."""
        return {os.path.dirname(path) for path in self._read}

    # --- names

    def find_module(self, name: str) -> Module | None:
        """The module of that absolute name, or None where the checkout has none."""
        if name not in self._modules:
            parts = name.split(".")
            places = (os.path.join(base, *parts) + end for base in self.import_roots for end in (".py", "/__init__.py"))
            path = next((place for place in places if place in self._overlay or os.path.isfile(place)), None)
            self._modules[name] = Module(self, name, path) if path is not None else None
        return self._modules[name]

    def find(self, dotted: str) -> Val:
        """What an absolute dotted name stands for: a definition of the checkout, or something outside."""
        module, _, name = dotted.rpartition(".")
        home = self.find_module(module) if module else None
        if home is None:
            return External(dotted)
        value = home.find(name)
        return External(dotted) if value is _MISSING else value

    def is_own(self, dotted: str) -> bool:
        """Whether a dotted name leads into the checkout, found or not."""
        first = dotted.partition(".")[0]
        return any(os.path.isdir(os.path.join(base, first)) for base in self.import_roots)

    def _name_of(self, path: str) -> str:
        base = next(base for base in self.import_roots if path.startswith(base.rstrip(os.sep) + os.sep))
        dotted = os.path.relpath(path, base)[:-3].replace(os.sep, ".")
        return dotted.removesuffix(".__init__")

    # --- registrations

    @cached_property
    def _registering_files(self) -> list[str]:
        """The files that name ``register_module``."""
        found = []
        for path in self.list_files():
            try:
                if b"register_module" in self.read_file(path):
                    found.append(path)
                else:
                    self._read.pop(path, None)
            except files.Unreadable:
                continue
        return found

    def find_loaders(self, type_name: str) -> list[Definition]:
        """The definitions registered under a name: one, or several where which one is meant cannot be known."""
        if type_name not in self._loaders:
            self._loaders[type_name] = self._find_loaders(type_name)
        return self._loaders[type_name]

    def _find_loaders(self, type_name: str) -> list[Definition]:
        entries: list[tuple[str, Definition]] = []
        for path in self._registering_files:
            if type_name.encode(errors="replace") not in self.read_file(path):
                continue
            name = self._name_of(path)
            module = self.find_module(name)
            if module is None or module.path != path:
                module = self._modules.setdefault(path, Module(self, name, path))
            assert module is not None
            entries += [(registry, found) for registry, name, found in module.registrations if name == type_name]
        models = [each for registry, each in entries if registry == "MODELS"]
        found = list(dict.fromkeys(models or [each for _, each in entries]))
        if len(found) > 1:
            return [each for each in found if each.module.name in self._imported_modules] or found
        return found

    @cached_property
    def _imported_modules(self) -> frozenset[str]:
        """The modules that some file of the packages imports."""
        found: set[str] = set()
        for path in self.list_files():
            module = Module(self, self._name_of(path), path)
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Import):
                    found.update(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    origin = module.find_origin(node)
                    found.add(origin)
                    found.update(f"{origin}.{alias.name}" for alias in node.names)
        return frozenset(found)

    def trace(self, type_name: str, values: Mapping[str, Value]) -> Trace:
        """What building ``type_name`` with these keywords would do."""
        from rewriter.read.loaders import trace_loader

        given = {key: value if key == "from_pretrained" else _drop_number(value) for key, value in values.items()}
        request = type_name, tuple((key, value.text, repr(value.value)) for key, value in sorted(given.items()))
        if request not in self._traces:
            self._traces[request] = trace_loader(self, type_name, given)
        return self._traces[request]


def _drop_number(value: Value) -> Value:
    """Numbers and lists of them decide nothing about what is loaded: they are not known to a walk."""
    return value if not value.known or isinstance(value.value, (str, bool, dict, type(None))) else Value("")


def _find_registrations(module: Module) -> Iterator[tuple[str, str, Definition]]:
    for node in statements_run_once(module.tree.body):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for decorator in node.decorator_list:
                if (call := _registering(decorator)) is not None:
                    yield from _names_given(call[0], call[1], node.name, Definition(module, node))
        elif isinstance(node, ast.Expr) and (call := _registering(node.value)) is not None:
            given = [each.value for each in call[1].keywords if each.arg == "module"]
            found = module.find(given[0].id) if given and isinstance(given[0], ast.Name) else None
            if isinstance(found, Definition):
                yield from _names_given(call[0], call[1], found.node.name, found)


def _registering(node: ast.expr) -> tuple[str, ast.Call] | None:
    """The registry's name and the call, where ``node`` is ``REGISTRY.register_module(...)``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "register_module":
        holder = node.func.value
        return getattr(holder, "id", getattr(holder, "attr", "")), node
    return None


def _names_given(registry: str, call: ast.Call, own: str, found: Definition) -> Iterator[tuple[str, str, Definition]]:
    given = [*call.args[:1], *(each.value for each in call.keywords if each.arg == "name")]
    names: Iterable[object] = [own]
    if given:
        try:
            value = ast.literal_eval(given[0])
        except (ValueError, TypeError):
            value = None
        names = value if isinstance(value, (list, tuple)) else [value or own]
    yield from ((registry, name, found) for name in names if isinstance(name, str))
