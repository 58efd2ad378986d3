"""The sources of one checkout: which file registers a type, and what building it would do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from rewriter.checkout import Unreadable
from rewriter.loaders.evaluate import Evaluation
from rewriter.loaders.frames import Virtual
from rewriter.loaders.index import Registration, python_files, read_bytes, registered, registered_in
from rewriter.loaders.unit import CHANGING, FunctionNode, Signature, Unit, UnreadableError, changes, names_in, text_of
from rewriter.loaders.values import TRACKED, Val
from rewriter.types import Trace, Value

# A definition without any of these, and without a name that leads to one, loads nothing from the Hub.
_LEADS_ON = re.compile(
    r"\.\s*from_pretrained\b|\bgetattr\b[\s\S]*?from_pretrained|\b(?:hf_hub_download|snapshot_download|build_module)\b"
    r"|\.build\("
    r"|\n[ \t]+global[ \t]"  # what it does to others may
)

# What stands behind a name where what it stands for is changed.
_PART = r"(?:\.\w+|\[.*\])"
_CHANGED = re.compile(
    rf"{_PART}*\.(?:{'|'.join(CHANGING)})\(|{_PART}+[ \t]*(?::[^=\n]*)?(?:[-+*/%|&^@<>]{{1,2}})?=(?!=)"
)
_CLASS = ("cls", "self.__class__", "type(self)")

_Definition = tuple[Unit, str]
_Seen = set[tuple[str, str | None]]
_Result = TypeVar("_Result")
LEADING = frozenset({"hf_hub_download", "snapshot_download", "build_module"})


class Sources:
    """The loaders of a checkout. Nothing is read before it is asked for, and nothing is ever executed.

    Args:
        root: the checkout root that holds the package, absolute.
        package: the name of the package with the loaders.
        overlay: absolute path -> bytes that stand for the file on disk, to read edited sources before they are written.
    """

    def __init__(self, root: str, package: str = "opensora", overlay: Mapping[str, bytes] | None = None) -> None:
        self.root = root
        self.package = package
        self._inner_import = re.compile(
            rf"(?:\n[ \t]+|[:;][ \t]*)(?:from\s+(?:\.|{package}\b)|import\s[^\n]*\b{package}\b)"
        )
        self.overlay: Mapping[str, bytes] = overlay or {}
        self.problems: list[tuple[str, int, str]] = []
        self._data: dict[str, bytes] | None = None
        self._index: dict[str, Registration] | None = None
        self._units: dict[str, Unit] = {}
        self._modules: dict[str, Unit | None] = {}
        self._children: dict[str, dict[str, None]] | None = None  # the modules of each package
        self._leads: dict[tuple[str, str], bool] = {}
        self._next: dict[tuple[str, str], list[_Definition] | None] = {}
        self.resolved: dict[tuple[str, str], Val] = {}
        self._signatures: dict[FunctionNode, Signature] = {}
        self._names_in: dict[FunctionNode, frozenset[str]] = {}
        self._parameters: dict[str, dict[str, bool]] = {}  # type -> see Evaluation.parameters
        self._last: tuple[object, Evaluation] | None = None  # without edits: threading starts where deciding ended
        self._evaluations: list[Evaluation] = []  # of what is being remembered
        # (purpose, type, *keywords that matter by being there) -> keywords asked for -> their values -> the result
        self._results: dict[tuple[str, ...], dict[tuple[str, ...], dict[tuple[object, ...], Any]]] = {}

    def edited(self, overlay: Mapping[str, bytes]) -> Sources:
        """The same checkout with other bytes for some files, as threading edits them: no name is registered anew."""
        other = Sources(self.root, self.package, {**self.overlay, **overlay})
        other._data = {path: overlay.get(path, data) for path, data in self.files().items()}
        other._index = self.index()
        other._units = {path: unit for path, unit in self._units.items() if path not in overlay}
        other.problems = list(self.problems)
        return other

    def trace(self, type_name: str, values: Mapping[str, Value]) -> Trace:
        """What building ``type_name`` with these keyword values (without ``type``) would do; see :class:`Trace`."""
        return self.remembered("trace", type_name, values, lambda: self.evaluate(type_name, values).trace())

    def remembered(
        self, purpose: str, type_name: str, values: Mapping[str, Value], make: Callable[[], _Result]
    ) -> _Result:
        """What ``make`` gives, or gave for values that differ only in what no evaluation of it asked for.

        A constant for a parameter with a constant default may as well be left out, if nothing asks for it.
        """
        if type_name in self._parameters:
            for asked, results in self._results.get(self._slot(purpose, type_name, values), {}).items():
                known = _identity(values, asked)
                if known in results:
                    found: _Result = results[known]
                    return found
        outer, self._evaluations = self._evaluations, []
        try:
            result = make()
            asked = tuple(sorted({name for each in self._evaluations for name in each.asked()}))
        finally:
            self._evaluations = outer
        slot = self._results.setdefault(self._slot(purpose, type_name, values), {})
        slot.setdefault(asked, {})[_identity(values, asked)] = result
        return result

    def _slot(self, purpose: str, type_name: str, values: Mapping[str, Value]) -> tuple[str, ...]:
        """The purpose, the type, and the keywords whose being there matters; their order is that of rejections."""
        optional = self._parameters.get(type_name, {})
        names = [
            name for name, value in values.items()
            if not optional.get(name) or name in TRACKED or not _is_scalar(value)
        ]  # fmt: skip
        return purpose, type_name, *names

    def evaluate(self, type_name: str, values: Mapping[str, Value], virtual: Virtual | None = None) -> Evaluation:
        """The evaluation behind :meth:`trace`, with the links that :mod:`rewriter.thread` needs.

        ``virtual``: edits to be taken as if they were made.
        """
        place = (type_name, *values, _identity(values, tuple(values)))
        if virtual is None and self._last is not None and self._last[0] == place:
            evaluation = self._last[1]
        else:
            evaluation = Evaluation(self, virtual or Virtual())
            evaluation.run(type_name, values)
            self._last = (place, evaluation) if virtual is None else self._last
        self._evaluations.append(evaluation)
        if type_name not in self._parameters:
            self._parameters[type_name] = evaluation.parameters()
        return evaluation

    def signature(self, node: FunctionNode) -> Signature:
        """The parameters of a function."""
        found = self._signatures.get(node)
        if found is None:
            found = self._signatures[node] = Signature(node)
        return found

    def names_in(self, node: FunctionNode) -> frozenset[str]:
        """Every name that stands in a function: a new parameter of one of them would change it."""
        found = self._names_in.get(node)
        if found is None:
            found = self._names_in[node] = names_in(node)
        return found

    # --- files

    def files(self) -> dict[str, bytes]:
        """Every source file of the package that can be read, ``{path: bytes}``."""
        if self._data is None:
            self._data = {}
            for path in python_files(os.path.join(self.root, self.package)):
                data = self._read(path)
                if data is not None:
                    self._data[path] = data
        return self._data

    def _read(self, path: str) -> bytes | None:
        try:
            return read_bytes(path, self.overlay)
        except Unreadable as error:
            self.problem(path, 1, f"it cannot be read: {error.message}")
            return None

    def index(self) -> dict[str, Registration]:
        """``{registered name: where}``; the first registration of a name counts."""
        if self._index is None:
            self._index = {}
            for path, data in self.files().items():
                if b"register_module" in data:
                    for name, definition in self._registrations(path, data):
                        self._index.setdefault(name, Registration(name, path, definition))
        return self._index

    def unit(self, path: str) -> Unit | None:
        """The file at ``path``, ready to be asked; None if it is not in the package."""
        unit = self._units.get(path)
        if unit is None and path in self.files():
            relative = os.path.relpath(path, self.root)[: -len(".py")].replace(os.sep, ".")
            is_package = relative.endswith(".__init__")
            module = relative[: -len(".__init__")] if is_package else relative
            unit = self._units[path] = Unit(path, module, is_package, self.files()[path], self.problem, self.leads_on)
        return unit

    def module(self, name: str) -> Unit | None:
        """The file of a dotted module of the package; None: it is not there."""
        if name not in self._modules:
            path = os.path.join(self.root, *name.split("."))
            self._modules[name] = self.unit(path + ".py") or self.unit(os.path.join(path, "__init__.py"))
        return self._modules[name]

    def inside(self, module: str) -> bool:
        """True if a dotted module name belongs to the package."""
        return module == self.package or module.startswith(self.package + ".")

    def leads_on(self, unit: Unit, name: str) -> bool:
        """False if the definition ``name`` certainly reaches no hub call: neither its text nor what it names does."""
        start = (unit.path, name)
        known = self._leads.get(start)
        if known is not None:
            return known
        seen, ahead = {start}, [(unit, name)]
        while ahead:
            following = self._following(*ahead.pop())
            if following is None or any(self._leads.get((each.path, word)) for each, word in following):
                self._leads[start] = True
                return True
            for each, word in following:
                place = (each.path, word)
                if place not in seen and place not in self._leads:
                    seen.add(place)
                    ahead.append((each, word))
        self._leads.update(dict.fromkeys(seen, False))
        return False

    def _following(self, unit: Unit, name: str) -> list[_Definition] | None:
        """The definitions that ``name`` of ``unit`` names; None: its own text leads to a hub call."""
        place = (unit.path, name)
        if place not in self._next:
            self._next[place] = self._look(unit, name)
        return self._next[place]

    def _look(self, unit: Unit, name: str) -> list[_Definition] | None:
        text = unit.text_of(name)
        words = ("from_pretrained", "_download", "build", "global")
        if any(word in text for word in words) and _LEADS_ON.search(text):
            return None
        if "import" in text and self._inner_import.search(text):
            return None
        if any(self.inside(star) for star in unit.stars()):
            return None
        found: list[_Definition] = []
        seen: _Seen = set()
        named = _named(text, unit)
        for word in named:
            for each in self._meant(text, unit, word, seen) if word != name else ():
                if each is None:
                    return None
                found.append(each)
        suspects = {"cls" for word in _CLASS if word in text and _may_change(text, word)}
        for word in named:
            origin = unit.imports().get(word)
            if (origin is None or self.inside(origin[0])) and _may_change(text, word):
                suspects.add(word)
        return None if suspects and changes(text, frozenset(suspects)) else found

    def _meant(self, text: str, unit: Unit, name: str, seen: _Seen) -> Iterator[_Definition | None]:
        """The definitions that a name of ``unit`` stands for in ``text``; None: one of the Hub's functions."""
        origin = unit.imports().get(name)
        if origin is not None:
            yield from self._imported(text, *origin, seen)
        if origin is None or unit.text_of(name):
            yield unit, name

    def _imported(self, text: str, module: str, original: str | None, seen: _Seen) -> Iterator[_Definition | None]:
        if original in LEADING:
            yield None
        if not self.inside(module) or (module, original) in seen:
            return
        seen.add((module, original))
        yield from self._attributes(text, module if original is None else f"{module}.{original}", seen)
        target = self.module(module)
        if target is not None and original is not None:
            yield from self._meant(text, target, original, seen)

    def _attributes(self, text: str, module: str, seen: _Seen) -> Iterator[_Definition | None]:
        """What stands in ``text`` and may be a name of a module, or of one below it."""
        if (module, ".") in seen:
            return
        seen.add((module, "."))
        unit = self.module(module)
        if unit is not None:
            for word in _named(text, unit):
                yield from self._meant(text, unit, word, seen)
            for star in unit.stars():
                yield from self._attributes(text, star, seen)
        for child in self._below(module):
            if child in text:
                yield from self._attributes(text, f"{module}.{child}", seen)

    def _below(self, module: str) -> list[str]:
        """The names of the modules in a package."""
        if self._children is None:
            self._children = {}
            for path in self.files():
                *above, last = os.path.relpath(path, self.root)[: -len(".py")].split(os.sep)
                for depth, child in enumerate([*above[1:], last], 1):
                    self._children.setdefault(".".join(above[:depth]), {})[child] = None
        return list(self._children.get(module, ()))

    def _registrations(self, path: str, data: bytes) -> list[tuple[str, str]]:
        try:
            text = text_of(data)
        except UnreadableError as problem:
            self.problem(path, problem.line, problem.message)
            return []
        found, odd = registered(text)
        if odd and (unit := self.unit(path)) is not None:
            return registered_in(unit.tree(), text)
        return found

    def problem(self, path: str, line: int, message: str) -> None:
        """Note why a file cannot be read; one problem a file."""
        if all(path != known for known, _, _ in self.problems):
            self.problems.append((path, line, message))


def _named(text: str, unit: Unit) -> list[str]:
    """The names of a file that stand in a text."""
    return [word for word in unit.names() if word in text and _names(text, word)]


def _names(text: str, word: str) -> bool:
    """Whether a name stands in a text, and not only as a part of longer ones."""
    place = text.find(word)
    while place >= 0:
        end = place + len(word)
        before, after = text[place - 1 : place], text[end : end + 1]
        if not (before == "_" or before.isalnum() or after == "_" or after.isalnum()):
            return True
        place = text.find(word, end)
    return False


def _may_change(text: str, word: str, seen: frozenset[str] = frozenset()) -> bool:
    """False if no line with a name can change what it stands for; quick, and sometimes wrong the other way."""
    place = text.find(word) if word not in seen else -1
    while place >= 0:
        end = place + len(word)
        if text[end : end + 1] in (".", "[") and _CHANGED.match(text, end):
            return True
        before = text[text.rfind("\n", 0, place) + 1 : place].strip()
        if before.endswith(("attr(", "vars(")) or before.startswith("del"):
            return True
        if before == "" or before[-1] == "=":
            line = text[end : text.find("\n", end) % (len(text) + 1)]
            name = before.rstrip("= ").partition(":")[0]
            if name == "":
                if re.match(rf"{_PART}+[ \t]*,", line):  # the first of several targets
                    return True
            elif re.fullmatch(rf"{_PART}*[ \t]*(?:#.*)?", line) and _may_change(text, name.rstrip(), seen | {word}):
                return True
        place = text.find(word, end)
    return False


def _is_scalar(value: object) -> bool:
    return (
        isinstance(value, Value) and value.literal and not isinstance(value.value, (dict, list, tuple, set, frozenset))
    )


def _identity(values: Mapping[str, Value], names: tuple[str, ...]) -> tuple[object, ...]:
    """What tells the values of these keywords apart from others."""
    found: list[object] = []
    for name in names:
        value = values.get(name)
        if not isinstance(value, Value):  # left out, or a nested mapping
            found.append(repr(value))
        else:
            found.append((value.literal, repr(value.value) if value.literal else value.text))
    return tuple(found)
