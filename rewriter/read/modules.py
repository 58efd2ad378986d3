"""The Python files of a checkout's packages: what their names stand for, and what is registered in them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from rewriter import checkout, files
from rewriter.decoding import parse
from rewriter.model import Problem, Trace
from rewriter.read import library
from rewriter.read.syntax import dotted_name, imported_names, package_of, statements_run_once
from rewriter.read.values import Definition, Env, External, Known, Unknown, Val, is_given, read_literal

_MISSING = Unknown("?")


class Module:
    """One file, parsed on first use."""

    def __init__(self, sources: Sources, name: str, path: str) -> None:
        self.sources, self.name, self.path = sources, name, path
        self.package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        self._found: dict[str, Val] = {}

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file; an empty one where it cannot be read."""
        return self.sources.parse_file(self.path)

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines of the file as they are numbered in its tree."""
        return self.sources.read_file(self.path).splitlines()

    @cached_property
    def names(self) -> dict[str, list[Val | ast.AST]]:
        """What each top-level name may stand for; values as their expression, ``*`` the modules imported whole."""
        found: dict[str, list[Val | ast.AST]] = {}
        for node in statements_run_once(self.tree.body):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.setdefault(node.name, []).append(Definition(self, node))
            elif isinstance(node, ast.AsyncFunctionDef):
                found.setdefault(node.name, []).append(node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(node.value)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for name, stands_for in imported_names(node, self.find_origin(node)):
                    found.setdefault(name, []).append(External(stands_for))
        return found

    @cached_property
    def registrations(self) -> list[tuple[str, str, Definition]]:
        """``(registry, registered name, definition)``: decorators and plain calls of ``register_module``."""
        found: list[tuple[str, str, Definition]] = []
        for node in statements_run_once(self.tree.body):
            pairs: list[tuple[ast.expr, Val]] = []
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                pairs = [(decorator, Definition(self, node)) for decorator in node.decorator_list]
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                given = [*node.value.args[2:3], *(each.value for each in node.value.keywords if each.arg == "module")]
                pairs = [(node.value, self.find(each.id)) for each in given if isinstance(each, ast.Name)]
            for call, value in pairs:
                dotted = dotted_name(call.func) if isinstance(call, ast.Call) else None
                registry, _, method = (dotted or "").rpartition(".")
                if method == checkout.REGISTRATION.decode() and isinstance(value, Definition):
                    names = self._names_given(call, value.node.name)
                    found += [(registry.rpartition(".")[2], name, value) for name in names]
        return found

    def _names_given(self, call: ast.expr, own: str) -> Iterable[str]:
        """The names under which ``register_module(...)`` registers a definition ``own``; none that is computed."""
        assert isinstance(call, ast.Call)
        given = [*call.args[:1], *(each.value for each in call.keywords if each.arg == "name")]
        value = self.find_value(given[0]) if given else Known(None)
        names = (value.value or own) if isinstance(value, Known) else ()
        return [name for name in (names if isinstance(names, (list, tuple)) else [names]) if isinstance(name, str)]

    def find_origin(self, node: ast.Import | ast.ImportFrom) -> str:
        """The absolute name of the module that a ``from`` import names."""
        if isinstance(node, ast.Import):
            return ""
        parts = self.package.split(".")
        base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
        return ".".join(filter(None, (base, node.module)))

    def find(self, name: str) -> Val:
        """What a top-level name stands for; unknown where it is bound to different things."""
        if name not in self._found:
            self._found[name] = _MISSING  # for names that lead back to themselves
            values: list[Val] = [self.find_value(each) for each in self.names.get(name, ())]
            if not values:
                whole = [self.sources.find(f"{each.name}.{name}") for each in self.names.get("*", ())]  # type: ignore[union-attr]
                values += [each for each in whole if each is not _MISSING and not isinstance(each, External)][:1]
            same = all(value == values[0] for value in values)
            self._found[name] = (values or [_MISSING])[0] if same else Unknown()
        return self._found[name]

    def find_value(self, found: Val | ast.AST) -> Val:
        """What an expression at top level, or an imported name, stands for."""
        if isinstance(found, External):
            return self.sources.find(found.name)
        if isinstance(found, ast.Name):
            return self.find(found.id)
        if isinstance(found, ast.AST):
            return read_literal(found) if isinstance(found, ast.expr) else Unknown()
        return found


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
        self.can_load: dict[object, bool] = {}
        self.traces: dict[object, Trace] = {}
        self._overlay = dict(overlay or {})
        self._read: dict[str, bytes] = {}
        self._trees: dict[tuple[str, bytes | None], ast.Module] = {}
        self._modules: dict[str, Module | None] = {}
        self._registering: dict[str, list[Module]] = {}
        self._loaders: dict[str, list[Definition]] = {}

    def with_overlay(self, overlay: Mapping[str, bytes]) -> Sources:
        """The same packages with other bytes for some files."""
        other = Sources(self.root, {**self._overlay, **overlay}, self.packages)
        other._read, other._trees, other.problems = self._read, self._trees, self.problems
        other._registering_files = self._registering_files
        other.can_load = dict(self.can_load)  # an edit passes keywords on and loads nothing more
        other.traces = {key: each for key, each in self.traces.items() if each.files.isdisjoint(overlay)}
        return other

    # --- files

    def has_read(self, path: str) -> bool:
        """Whether a file is one of these sources."""
        return path in self._read or path in self._overlay

    def read_file(self, path: str) -> bytes:
        """The bytes of one source, as they were first read. Raises :class:`rewriter.files.Unreadable`."""
        if path in self._overlay:
            return self._overlay[path]
        if path not in self._read:
            self._read[path] = files.read_bytes(path)
        return self._read[path]

    def parse_file(self, path: str) -> ast.Module:
        """The tree of one source; one that cannot be read is empty, and a problem."""
        key = path, self._overlay.get(path)
        if key not in self._trees:
            try:
                tree = parse(self.read_file(path))
            except files.Unreadable as error:
                tree = Problem(1, 0, error.message, error.remedy)
            if isinstance(tree, Problem):
                self.problems[path] = tree
                tree = ast.Module([], [])
            self._trees[key] = tree
        return self._trees[key]

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

    def is_own(self, dotted: str) -> bool:
        """Whether a dotted name leads into the checkout, found or not."""
        return any(os.path.isdir(os.path.join(base, package_of(dotted))) for base in self.import_roots)

    def find(self, dotted: str) -> Val:
        """What an absolute dotted name stands for: a definition of the checkout, or something outside."""
        module, _, name = dotted.rpartition(".")
        home = self.find_module(module) if module else None
        value = home.find(name) if home is not None else _MISSING
        return External(dotted) if value is _MISSING else value

    def find_name(self, node: ast.expr, env: Env, definition: Definition) -> Val:
        """What a dotted name stands for in ``definition``, where ``env`` holds its local names."""
        dotted = dotted_name(node)
        if dotted is None:
            return Unknown()
        if dotted in env:
            return env[dotted]
        first, _, rest = dotted.partition(".")
        found = env[first] if first in env else definition.module.find(first)
        if not rest:
            return found
        if isinstance(found, External):
            return self.find(f"{found.name}.{rest}")
        return self.find_attribute(found, rest) if isinstance(found, Definition) else Unknown(dotted, is_given(found))

    def find_attribute(self, owner: Definition, name: str) -> Val:
        """A method or a constant of a class of the checkout."""
        for cls in self.find_lineage(owner):
            for node in cls.node.body:
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    return Definition(cls.module, node, cls)
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
                    return read_literal(node.value)
        bases = (self.find_outside_bases(owner) or []) if name in library.HUB_METHODS else []
        if any(package_of(base.name) in library.CACHE_DIR_LIBRARIES for base in bases):
            return External(f"{package_of(owner.module.name)}.{owner.node.name}.{name}")
        return Unknown()

    def find_method(self, cls: Definition, name: str) -> Definition | None:
        """A method of a class of the checkout, by lineage."""
        found = self.find_attribute(cls, name)
        return found if isinstance(found, Definition) else None

    def find_lineage(self, cls: Definition, seen: tuple[Definition, ...] = ()) -> Iterator[Definition]:
        """A class and its base classes that the checkout defines."""
        if isinstance(cls.node, ast.ClassDef) and cls not in seen:
            yield cls
            for base in cls.node.bases:
                found = self.find_name(base, {}, cls)
                if isinstance(found, Definition):
                    yield from self.find_lineage(found, (*seen, cls))

    def find_outside_bases(self, cls: Definition) -> list[External] | None:
        """The base classes from outside the checkout; None where one is not known."""
        pairs = [(each, base) for each in self.find_lineage(cls) for base in getattr(each.node, "bases", ())]
        found = [self.find_name(base, {}, each) for each, base in pairs]
        if any(isinstance(base, (Unknown, Known)) for base in found):
            return None
        return [base for base in found if isinstance(base, External)]

    # --- registrations

    @cached_property
    def _files(self) -> list[str]:
        """Every Python file of the packages, sorted."""
        return sorted({path for package in self.packages for path in files.walk(package)})

    @cached_property
    def _registering_files(self) -> list[str]:
        """The files that name ``register_module``."""
        return [path for path in self._files if checkout.registers(path)]

    def _module_at(self, path: str) -> Module:
        base = next(base for base in self.import_roots if path.startswith(base.rstrip(os.sep) + os.sep))
        name = os.path.relpath(path, base)[:-3].replace(os.sep, ".").removesuffix(".__init__")
        module = self.find_module(name)
        if module is None or module.path != path:  # `x.py` beside a folder `x`
            module = self._modules.setdefault(path, Module(self, name, path))
        assert module is not None
        return module

    def find_registering(self, type_name: str) -> list[Module]:
        """The files that register a name, or seem to."""
        if type_name not in self._registering:
            name = type_name.encode(errors="replace")
            words = [quote + name + quote for quote in (b'"', b"'")] + [b"class " + name, b"def " + name]
            paths = [path for path in self._registering_files if any(word in self.read_file(path) for word in words)]
            self._registering[type_name] = [self._module_at(path) for path in paths]
        return self._registering[type_name]

    def find_loaders(self, type_name: str) -> list[Definition]:
        """The definitions registered under a name: one, or several where which one is meant cannot be known."""
        if type_name not in self._loaders:
            modules = self.find_registering(type_name)
            entries = [each for module in modules for each in module.registrations if each[1] == type_name]
            models = [found for registry, _, found in entries if registry == "MODELS"]
            loaders = list(dict.fromkeys(models or [found for _, _, found in entries]))
            if len(loaders) > 1:
                loaders = [each for each in loaders if each.module.name in self._imported_modules] or loaders
            self._loaders[type_name] = loaders
        return self._loaders[type_name]

    @cached_property
    def _imported_modules(self) -> frozenset[str]:
        """The modules that some file of the packages imports."""
        found: set[str] = set()
        for module in map(self._module_at, self._files):
            for node in ast.walk(module.tree):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    origin = module.find_origin(node)
                    names = [alias.name for alias in node.names]
                    found |= {origin, *names, *(f"{origin}.{name}" for name in names)}
        return frozenset(found)
