"""Read one source file of a checkout piece by piece: only the top-level statements that are asked for are parsed."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from contextlib import suppress

from rewriter.decoding import decode, parse_text
from rewriter.types import Problem

Report = Callable[[str, int, str], None]

# A newline in front and not "^": the search then jumps from newline to newline.
_START = re.compile(r"\n[^ \t\f\v\n#)\]}]")
_DEFINITION = re.compile(r"(?:async\s+def|def|class)\s+(\w+)")
_ASSIGNMENT = re.compile(r"(?!try\b)(\w+)\s*(?::[^=;\n]*)?=(?!=)")
_IMPORT = re.compile(r"(?:from|import)\b")
_IMPORTED = re.compile(r"(?:from (\.*)((?:[^\W\d][\w.]*)?) )?import (.+)")
_NAME = re.compile(r"([^\W\d][\w.]*)(?: as ([^\W\d]\w*))?")
_CONTINUES = re.compile(r"(?:else|elif|except|finally)\b")
_GOES_ON = frozenset("(,\\")  # so ends no line that a statement ends on

# A comment or a string.
_TOKEN = (
    r"""\#.*|\"{3}(?s:\\.|[^\\])*?\"{3}|'{3}(?s:\\.|[^\\])*?'{3}"""
    r"""|"(?:\\.|\\\n|[^\\"\n])*"|'(?:\\.|\\\n|[^\\'\n])*'"""
)

_METHOD = re.compile(r"def (\w+)")
_LINE = re.compile(r"\n(?P<indent>[ \t]*)(?P<first>\S)")
_CLASS = re.compile(r"(?:^|\n)class[ \t]+(\w+)")
_KEPT = frozenset({"__init__", "__post_init__", "__new__", "from_pretrained"})
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*FUNCTIONS, ast.ClassDef)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
PLAIN = (*_SCOPES, *_ASSIGNMENTS)
"""Statements that bind a name and hold no others that do."""

Import = tuple[str, str | None]
"""Where an imported name comes from: the absolute module, and the name in it (None: the module itself)."""


class UnreadableError(Exception):
    """The bytes of a file are no Python source: line (1-based) and what is wrong."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def text_of(data: bytes) -> str:
    """Bytes of a Python file to text as the interpreter would read it, with ``\\n`` line ends and no BOM.

    Raises:
        UnreadableError: see :func:`rewriter.decoding.decode`.
    """
    source = decode(data)
    if isinstance(source, Problem):
        raise UnreadableError(source.line, source.message)
    text = source.utf8.decode("utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


class _Block:
    """One top-level statement (with decorators, ``else`` branches and so on), parsed when it is asked for."""

    __slots__ = ("end", "head", "nodes", "start")

    def __init__(self, start: int, end: int, head: str) -> None:
        self.start = start
        self.end = end
        self.head = head
        self.nodes: list[ast.stmt] | None = None


class Unit:
    """A source file: its top-level names, each parsed at first use. Never raises for what the file holds."""

    def __init__(
        self, path: str, module: str, is_package: bool, data: bytes, report: Report,
        leads_on: Callable[[Unit, str], bool],
    ) -> None:  # fmt: skip
        self.path = path
        self._leads_on = leads_on  # False: only the signatures of a class are of interest, until `full` is asked
        self._short: dict[ast.stmt, _Block] = {}  # classes without some methods, and methods without their bodies
        self._members: dict[ast.ClassDef, dict[str, ast.stmt | None]] = {}
        self._looked: set[tuple[ast.ClassDef, str]] = set()  # members that were looked for among what was left out
        self._full: dict[FunctionNode, FunctionNode] = {}  # methods with their bodies
        self.module = module
        self.package = module if is_package else module.rpartition(".")[0]
        self.report = report
        try:
            self.text = text_of(data)
        except UnreadableError as problem:
            self.text = ""
            report(path, problem.line, problem.message)
        self._whole = False
        self._blocks: list[_Block] | None = None
        self._names: dict[str, list[_Block]] = {}
        self._imports: dict[str, Import] | None = None
        self._stars: list[str] = []
        self._all_names: set[str] | None = None
        self._found: dict[str, list[ast.stmt]] = {}
        self._rest: list[_Block] = []

    # --- what the file defines

    def names(self) -> set[str]:
        """Every name that the file binds at its top level, as far as it is told without running it."""
        if self._all_names is None:
            imports = self.imports()
            self._all_names = {*self._names, *imports}
        return self._all_names

    def find(self, name: str) -> list[ast.stmt]:
        """The top-level statements that bind ``name`` by a definition or an assignment, in order."""
        found = self._found.get(name)
        if found is None:
            self._split()
            whole = self._whole
            blocks = self._names.get(name, ())
            found = [node for block in blocks for node in self._parse(block) if name in bound(node)]
            if self._whole != whole:
                return self.find(name)
            self._found[name] = found
        return found

    def text_of(self, name: str) -> str:
        """The source of the statements that bind ``name`` (empty: none)."""
        self._split()
        return "\n".join(self.text[block.start : block.end] for block in self._names.get(name, ()))

    def imports(self) -> dict[str, Import]:
        """Imported names, ``{local name: (module, name in it or None)}``; also those inside a ``try`` or ``with``."""
        if self._imports is None:
            self._split()
            self._imports = {}
            for local, target in [each for block in self._rest for each in self._imported_by(block)]:
                if local == "*":
                    self._stars.append(target[0])
                else:
                    self._imports[local] = target
        return self._imports

    def stars(self) -> list[str]:
        """Modules of ``from module import *``."""
        self.imports()
        return self._stars

    def member(self, node: ast.ClassDef, name: str) -> ast.stmt | None:
        """The statement that binds ``name`` in a class of the file, also a method that :meth:`find` left out of it."""
        known = self._members.get(node)
        if known is None:
            known = self._members[node] = {**members(node.body)}
        block = self._short.get(node)
        if block is not None and (node, name) not in self._looked:
            self._looked.add((node, name))
            written = self.text.find(f"def {name}", block.start, block.end) >= 0
            if written and not isinstance(known.get(name), FUNCTIONS):
                known[name] = self._in_class(block, name)
        return known.get(name)

    def full(self, node: FunctionNode) -> FunctionNode:
        """The same method with its body, which :meth:`find` leaves out of a class that leads to no hub call."""
        block = self._short.get(node)
        if block is not None and node not in self._full:
            found = self._in_class(block, node.name)
            self._full[node] = found if isinstance(found, FUNCTIONS) else node
        return self._full.get(node, node)

    def _in_class(self, block: _Block, name: str) -> ast.stmt | None:
        """A member of the class in ``block``."""
        text = self.text[block.start : block.end]
        for each in (_without_methods(text, frozenset({name})), text):
            with suppress(UnreadableError):
                return members(_body(self._parse_at(block.start, each))).get(name)
        self._read_whole()  # it says what is broken
        return None

    def tree(self) -> list[ast.stmt]:
        """Every top-level statement (parses the whole file)."""
        self._read_whole()
        return [node for block in self._blocks or () for node in block.nodes or ()]

    # --- how it is read

    def _imported_by(self, block: _Block) -> list[tuple[str, Import]]:
        """The imports of one piece; the common forms need no parser."""
        text = self.text[block.start : block.end]
        plain = _plain_imports(text, self.package) if block.nodes is None else None
        if plain is not None or "import" not in text:
            return plain or []
        return [each for node in self._parse(block) for each in _imports_in(node, self.package)]

    def _split(self) -> None:
        """Cut the text at lines that start a top-level statement, by their first characters alone.

        A cut inside a bracket gives a piece that does not parse; the whole file is parsed then.
        """
        if self._blocks is not None:
            return
        self._blocks = []
        text = self.text
        if "\f" in text:  # it may stand before a statement
            self._read_whole()
            return
        starts = [match.end() - 1 for match in _START.finditer(text)]
        if text[:1].strip() and text[0] not in "#)]}":
            starts.insert(0, 0)
        decorated = False
        quotes = [quote for quote in ('"""', "'''") if quote in text]
        before = behind = 0
        strings = _Strings(text)
        for start in starts:
            for quote in quotes if start >= behind else ():
                if text.count(quote, before, start) % 2:
                    behind = strings.end(start)
            if start < behind:
                continue
            if start > 1 and text[start - 2] in _GOES_ON:
                self._read_whole()
                return
            before = start
            end = text.find("\n", start)
            head = text[start : end if end >= 0 else len(text)]
            last = self._blocks[-1] if self._blocks else None
            if last is not None:
                if decorated:
                    if _DEFINITION.match(head):
                        last.head, decorated = head, False
                    continue
                if _CONTINUES.match(head):
                    continue
                last.end = start
            decorated = head.startswith("@")
            self._blocks.append(_Block(start, len(text), head))
        for block in self._blocks:
            self._note_names(block)
            if self._whole:
                return

    def _note_names(self, block: _Block) -> None:
        """Note what a piece binds: its first line tells that of a definition, a plain assignment and an import."""
        head = block.head
        found = _DEFINITION.match(head)
        if found is None and (found := _ASSIGNMENT.match(head)) is not None:
            rest = head[found.end() :]
            if "=" in rest or ";" in rest:  # it may bind more
                found = None
        if found is not None and found[1].isascii():
            self._names.setdefault(found[1], []).append(block)
        elif head[0] not in "\"'":
            self._rest.append(block)
            if _IMPORT.match(head) is None or ";" in head:
                for name in {name for node in self._parse(block) for name in bound(node)}:
                    self._names.setdefault(name, []).append(block)

    def _parse(self, block: _Block) -> list[ast.stmt]:
        if block.nodes is not None:
            return block.nodes
        text = self.text[block.start : block.end]
        if (name := _CLASS.match(block.head)) is not None:
            short = _without_methods(text if self._leads_on(self, name[1]) else _without_bodies(text))
            if short != text:
                with suppress(UnreadableError):  # a line of it looked like something else
                    block.nodes = self._parse_at(block.start, short)
                    empty = [each for each in _body(block.nodes) if isinstance(_first(each), ast.Pass)]
                    self._short.update(dict.fromkeys([*block.nodes, *empty], block))
                    return block.nodes
        try:
            block.nodes = self._parse_at(block.start, text)
        except UnreadableError:
            self._read_whole()
        return block.nodes or []

    def _parse_at(self, start: int, text: str) -> list[ast.stmt]:
        """Parse a piece so that its nodes have the line numbers of the file."""
        return parse("\n" * self.text.count("\n", 0, start) + text)

    def _read_whole(self) -> None:
        """Parse the whole file; its statements replace the pieces."""
        if self._whole:
            return
        self._whole = True
        try:
            nodes = parse(self.text)
        except UnreadableError as problem:
            self.report(self.path, problem.line, problem.message)
            nodes = []
        self._blocks, self._names, self._rest, self._all_names = [], {}, [], None
        offsets = _line_offsets(self.text)
        for node in nodes:
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            block = _Block(offsets[first - 1], offsets[min(node.end_lineno or first, len(offsets) - 1)], "")
            block.nodes = [node]
            self._blocks.append(block)
            for name in bound(node):
                self._names.setdefault(name, []).append(block)
            if not isinstance(node, _SCOPES):
                self._rest.append(block)


def _body(nodes: list[ast.stmt]) -> list[ast.stmt]:
    """The statements in a class, of which ``nodes`` consists."""
    return [each for node in nodes if isinstance(node, ast.ClassDef) for each in node.body]


def _first(node: ast.stmt) -> ast.stmt | None:
    return node.body[0] if isinstance(node, FUNCTIONS) else None


class _Strings:
    """The comments and strings of a text, looked at once from its start to its end."""

    def __init__(self, text: str) -> None:
        self._found = re.finditer(_TOKEN, text)
        self._last: re.Match[str] | None = None

    def end(self, start: int) -> int:
        """Where the string ends that goes on at ``start``, no less than any before; ``start``: there is none."""
        if self._last is None or self._last.end() <= start:
            self._last = next((match for match in self._found if match.end() > start), None)
        return self._last.end() if self._last is not None and self._last.start() < start else start


def _without_methods(text: str, kept: frozenset[str] = _KEPT) -> str:
    """The text of a class with ``pass`` in place of its methods, but for those of ``kept``."""
    indent, starts = _methods(text)
    pieces: list[str] = []
    done = 0
    for start, name, behind in starts:
        if name in kept:
            continue
        end = _end_of_method(text, behind, indent)
        method = text[start:end]
        if method.count('"""') % 2 or method.count("'''") % 2:
            return text
        pieces += [text[done:start], f"{indent}pass", "\n" * method.count("\n")]
        done = end
    return "".join([*pieces, text[done:]])


def _without_bodies(text: str) -> str:
    """The text of a class with ``pass`` for the bodies of its methods."""
    indent, starts = _methods(text)
    pieces: list[str] = []
    done = 0
    for _, _, behind in starts:
        end = _end_of_method(text, behind, indent)
        body = _end_of_signature(text, behind, end)
        if body is not None:
            pieces += [text[done:body], f"{indent} pass", "\n" * text.count("\n", body, end)]
            done = end
    return "".join([*pieces, text[done:]])


def _end_of_signature(text: str, place: int, end: int) -> int | None:
    """Where the line after a signature starts whose name ends at ``place``; None: its letters do not tell."""
    depth = 0
    for line in text[place:end].split("\n"):
        place += len(line) + 1
        code = line.partition("#")[0].rstrip()
        depth += sum(map(code.count, "([{")) - sum(map(code.count, ")]}"))
        if depth == 0:
            return place if code.endswith(":") else None
    return None


def _methods(text: str) -> tuple[str, list[tuple[int, str, int]]]:
    """The indent of a class, and of each ``def`` in it: where it starts, decorators included, its name, and its end."""
    name = _CLASS.search(text)
    start = name.end() if name is not None else len(text)
    body = text.find(":\n", start) + 1
    if body == 0 or "#" in text[start:body]:  # a colon of a comment, or of something in the class
        return "", []
    indent = next((line["indent"] for line in _LINE.finditer(text, body) if line["first"] != "#"), "")
    found: list[tuple[int, str, int]] = []
    for match in _METHOD.finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        if text[start : match.start()] not in (indent, f"{indent}async "):
            continue
        above = text.rfind("\n", 0, start - 1) + 1
        while text.startswith(f"{indent}@", above):
            start, above = above, text.rfind("\n", 0, above - 1) + 1
        found.append((start, match[1], match.end()))
    return indent, found


def _end_of_method(text: str, place: int, indent: str) -> int:
    """Where the first line starts that is indented no deeper than ``indent`` and is no closing bracket or comment."""
    for match in _LINE.finditer(text, place):
        if len(match["indent"]) <= len(indent) and match["first"] not in ")]}#":
            return match.start() + 1
    return len(text)


def parse(text: str) -> list[ast.stmt]:
    """The statements of a text. Raises UnreadableError."""
    tree = parse_text(text)
    if isinstance(tree, Problem):
        raise UnreadableError(tree.line, tree.message)
    return tree.body


class Signature:
    """The parameters of a function, as binding asks for them."""

    __slots__ = ("_uses", "defaults", "keywords", "kwarg", "named", "positional", "required", "vararg")

    def __init__(self, node: FunctionNode) -> None:
        spec = node.args
        by_place = [each.arg for each in (*spec.posonlyargs, *spec.args)]
        only = [each.arg for each in spec.kwonlyargs]
        by_name = [(name, default) for name, default in zip(only, spec.kw_defaults, strict=True) if default is not None]
        late = zip(reversed(by_place), reversed(spec.defaults), strict=False)
        self.positional = tuple(by_place)
        self.defaults: tuple[tuple[str, ast.expr], ...] = (*late, *by_name)
        self.named = (*by_place, *only)
        self.required = tuple(set(self.named).difference(name for name, _ in self.defaults))
        self.keywords = frozenset([*(each.arg for each in spec.args), *only])
        self.vararg = spec.vararg.arg if spec.vararg else None
        self.kwarg = spec.kwarg.arg if spec.kwarg else None
        self._uses: tuple[bool, bool] | None = None

    def hands_on(self, node: FunctionNode) -> tuple[bool, bool]:
        """Whether the function does anything with its ``**kwargs``, and anything but give them to ``super().__init__``.

        ``node``: the function with its body.
        """
        if self._uses is None:
            inner = [each for statement in node.body for each in ast.walk(statement)]
            uses = sum(isinstance(each, ast.Name) and each.id == self.kwarg for each in inner)
            up = sum(isinstance(each, ast.Call) and self._goes_up(each) for each in inner)
            self._uses = uses > 0, uses > up
        return self._uses

    def _goes_up(self, call: ast.Call) -> bool:
        plain = (f"super().__init__(**{self.kwarg})", f"super().__init__(*{self.vararg}, **{self.kwarg})")
        return bool(call.keywords) and call.keywords[0].arg is None and ast.unparse(call) in plain


_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)


def names_in(node: ast.AST) -> frozenset[str]:
    """Every name that stands in ``node``: variables, parameters, definitions, imports."""
    found: set[str | None] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.add(each.id)
        elif isinstance(each, ast.arg):
            found.add(each.arg)
        elif isinstance(each, (ast.Global, ast.Nonlocal)):
            found.update(each.names)
        elif isinstance(each, ast.alias):
            found.add(each.asname or each.name.partition(".")[0])
        elif isinstance(each, _NAMED):
            found.add(each.name)
        elif isinstance(each, ast.MatchMapping):
            found.add(each.rest)
    return frozenset(name for name in found if name is not None)


CHANGING = frozenset(
    {"append", "extend", "insert", "remove", "pop", "popitem", "clear", "update", "setdefault", "add", "discard",
     "sort", "reverse", "__setitem__", "__delitem__", "__setattr__", "__delattr__"}
)  # fmt: skip


def changes(text: str, names: frozenset[str]) -> bool:
    """Whether a function or method of a definition changes an attribute or an item of one of these names.

    ``cls`` stands for the class of a method.
    """
    try:
        return any(_changes(each, names) for each in parse(text))
    except UnreadableError:
        return True


def _changes(node: ast.AST, names: frozenset[str], runs: bool = False) -> bool:
    """``runs``: it is in a function; anything else has run when the module was imported."""
    if isinstance(node, FUNCTIONS):
        runs = True
        inner = list(ast.walk(node))
        own = {each.arg for each in inner if isinstance(each, ast.arg)}
        own |= {each.id for each in inner if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        names -= own - {"cls"}
        for each in inner:
            if isinstance(each, ast.Assign) and _root(each.value) in names:
                names |= {target.id for target in each.targets if isinstance(target, ast.Name)}
    if runs and isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
        return _root(node) in names
    if runs and isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in CHANGING and _root(function.value) in names:
            return True
        if isinstance(function, ast.Name) and function.id in ("setattr", "delattr") and _first_root(node) in names:
            return True
    return any(_changes(each, names, runs) for each in ast.iter_child_nodes(node))


def _root(node: ast.expr) -> str:
    """The name that ``a.b["c"].d`` starts with; ``cls``: the class of an object."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Attribute) and node.attr == "__class__":
            return "cls"
        node = node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("type", "vars"):
        return "cls" if node.func.id == "type" else _first_root(node)
    return node.id if isinstance(node, ast.Name) else ""


def _first_root(call: ast.Call) -> str:
    return "".join(map(_root, call.args[:1]))


def bound(node: ast.stmt) -> set[str]:
    """The names that a statement binds by a definition or an assignment, or whose items it sets (not by an import)."""
    if isinstance(node, _SCOPES):
        return {node.name}
    if isinstance(node, _ASSIGNMENTS):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {name for each in targets for name in _assigned(each)}
    return {name for inner in _inner(node) for name in bound(inner)}


def definitions(node: ast.stmt, name: str) -> list[ast.stmt]:
    """The statements that bind a name, ``node`` or those inside it."""
    if isinstance(node, PLAIN):
        return [node] if name in bound(node) else []
    return [each for inner in _inner(node) for each in definitions(inner, name)]


def _assigned(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, (ast.Tuple, ast.List)):
        return [name for each in target.elts for name in _assigned(each)]
    return _assigned(target.value) if isinstance(target, (ast.Starred, ast.Subscript)) else []


def members(body: Iterable[ast.stmt]) -> dict[str, ast.stmt]:
    """The members of a class by name: the last of each, but for the setter of a property."""
    return {name: node for node in body if not _sets(node) for name in bound(node)}


def _sets(node: ast.stmt) -> bool:
    decorators = getattr(node, "decorator_list", ())
    return any(isinstance(each, ast.Attribute) and each.attr in ("setter", "deleter") for each in decorators)


def imported(node: ast.Import | ast.ImportFrom, package: str) -> list[tuple[str, Import]]:
    """``(local name, (module, name))`` for each name of an import; relative modules made absolute by ``package``."""
    if isinstance(node, ast.Import):
        tops = ((each.asname, each.name) if each.asname else (each.name.partition(".")[0],) * 2 for each in node.names)
        return [(local, (module, None)) for local, module in tops]
    module = _absolute(node.module or "", node.level, package)
    return [(each.asname or each.name, (module, each.name)) for each in node.names]


def _imports_in(node: ast.stmt, package: str) -> list[tuple[str, Import]]:
    """The same for any statement: the imports that run with it."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return imported(node, package)
    if isinstance(node, _SCOPES):
        return []
    return [each for inner in _inner(node) for each in _imports_in(inner, package)]


def _plain_imports(text: str, package: str) -> list[tuple[str, Import]] | None:
    """What :func:`imported` gives for a text that holds one import and comments; None: read it with the parser."""
    words = " ".join([line.partition("#")[0] for line in text.split("\n")]).split()
    match = _IMPORTED.fullmatch(" ".join(words)) if text.isascii() else None
    if match is None:
        return None
    dots, module, names = match.groups()
    origin = None if dots is None else _absolute(module, len(dots), package)
    if names == "*":
        return None if origin is None else [("*", (origin, "*"))]
    found: list[tuple[str, Import]] = []
    for each in names.strip("(), ").split(","):
        one = _NAME.fullmatch(each.strip())
        if one is None:
            return None
        name, local = one.groups()
        top = name.partition(".")[0]
        if origin is not None:
            found.append((local or name, (origin, name)))
        else:
            found.append((local, (name, None)) if local else (top, (top, None)))
    return found


def _absolute(module: str, level: int, package: str) -> str:
    """The absolute name of a module that is imported with ``level`` leading dots in ``package``."""
    if not level:
        return module
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - (level - 1)], *([module] if module else [])])


def _inner(node: ast.stmt) -> list[ast.stmt]:
    """The statements inside a compound statement."""
    inner: list[ast.stmt] = []
    for field in ("body", "orelse", "finalbody"):
        inner += getattr(node, field, ())
    for field in ("handlers", "cases"):
        for branch in getattr(node, field, ()):
            inner += branch.body
    return inner


def _line_offsets(text: str) -> list[int]:
    offsets = [0]
    for line in text.split("\n"):
        offsets.append(offsets[-1] + len(line) + 1)
    offsets[-1] = len(text)
    return offsets
