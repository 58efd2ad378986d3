"""Read one source file of a checkout piece by piece: only the top-level statements that are asked for are parsed."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from rewriter.decoding import decode
from rewriter.types import Problem

Report = Callable[[str, int, str], None]

# A newline in front and not "^": the search then jumps from newline to newline.
_START = re.compile(r"\n[^ \t\f\v\n#)\]}]")
_DEFINITION = re.compile(r"(?:async\s+def|def|class)\s+(\w+)")
_ASSIGNMENT = re.compile(r"(\w+)\s*(?::[^=\n]*)?=(?!=)")
_CONTINUES = re.compile(r"(?:else|elif|except|finally)\b")
_COMPOUND = re.compile(r"(?:if|try|with|for|while|async)\b")

_METHOD = re.compile(r"def[ \t]+(\w+)")
_LINE = re.compile(r"\n(?P<indent>[ \t]*)(?P<first>\S)")
_CLASS = re.compile(r"class[ \t]+(\w+)")
_CUT = frozenset({"__init__", "__post_init__"})
_KEPT = frozenset({*_CUT, "__new__", "from_pretrained"})
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

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

    __slots__ = ("end", "head", "nodes", "start", "trimmed")

    def __init__(self, start: int, end: int, head: str) -> None:
        self.start = start
        self.end = end
        self.head = head
        self.nodes: list[ast.stmt] | None = None
        self.trimmed = False


class Unit:
    """A source file: its top-level names, each parsed at first use. Never raises for what the file holds."""

    def __init__(
        self, path: str, module: str, is_package: bool, data: bytes, report: Report,
        leads_on: Callable[[Unit, str], bool] = lambda _unit, _name: True,
    ) -> None:  # fmt: skip
        self.path = path
        self._leads_on = leads_on  # False: only the signatures of a class are of interest, until `full` is asked
        self._cut: dict[ast.stmt, _Block] = {}  # methods without their bodies
        self._full: dict[FunctionNode, FunctionNode] = {}  # the same with them
        self.module = module
        self.package = module if is_package else module.rpartition(".")[0]
        self.report = report
        self.broken = False
        try:
            self.text = text_of(data)
        except UnreadableError as problem:
            self.text = ""
            self._break(problem.line, problem.message)
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
            found = [node for block in self._binding(name) for node in self._parse(block) if name in bound(node)]
            if self._whole != whole:
                return self.find(name)
            self._found[name] = found
        return found

    def _binding(self, name: str) -> list[_Block]:
        """The pieces that may bind a name."""
        blocks = list(self._names.get(name, ()))
        others = [block for block in self._rest if not block.head.startswith(("import", "from"))]
        if others:
            word = re.compile(rf"\b{re.escape(name)}\b")
            blocks += [block for block in others if word.search(self.text, block.start, block.end)]
        return blocks

    def text_of(self, name: str) -> str:
        """The source of the statements that bind ``name`` (empty: none)."""
        self._split()
        return "\n".join(self.text[block.start : block.end] for block in self._names.get(name, ()))

    def imports(self) -> dict[str, Import]:
        """Imported names, ``{local name: (module, name in it or None)}``; also those under a top-level ``try``."""
        if self._imports is None:
            self._split()
            whole = self._whole
            self._imports = {}
            for block in self._rest:
                self._note_block(block)
            if self._whole != whole:
                self._imports = None
                return self.imports()
        return self._imports

    def stars(self) -> list[str]:
        """Modules of ``from module import *``."""
        self.imports()
        return self._stars

    def method(self, node: ast.ClassDef, name: str) -> ast.stmt | None:
        """A method that :meth:`find` left out of a class, as one that building it seldom runs."""
        for block in self._names.get(node.name, ()):
            if block.trimmed and block.nodes and node in block.nodes:
                text = self.text[block.start : block.end]
                for each in (_without_methods(text, frozenset({name})), text):
                    found = self._in_class(block.start, each, name) if each is not None else None
                    if found is not None:
                        return found
        return None

    def full(self, node: FunctionNode) -> FunctionNode:
        """The same method with its body, which :meth:`find` leaves out of a class that leads to no hub call."""
        block = self._cut.get(node)
        if block is None:
            return node
        if node in self._full:
            return self._full[node]
        text = self.text[block.start : block.end]
        for each in (_without_methods(text, frozenset({node.name})), text):
            found = self._in_class(block.start, each, node.name) if each is not None else None
            if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._full[node] = found
                return found
        return node

    def _in_class(self, start: int, text: str, name: str) -> ast.stmt | None:
        try:
            nodes = self._parse_at(start, text)
        except UnreadableError:
            return None
        body = [each for node in nodes if isinstance(node, ast.ClassDef) for each in node.body]
        return next((each for each in body if name in bound(each)), None)

    def tree(self) -> list[ast.stmt]:
        """Every top-level statement (parses the whole file)."""
        self._read_whole()
        return [node for block in self._blocks or () for node in block.nodes or ()]

    # --- how it is read

    def _break(self, line: int, message: str) -> None:
        if not self.broken:
            self.broken = True
            self.report(self.path, line, message)

    def _note_block(self, block: _Block) -> None:
        """Note the imports of one piece; the common forms need no parser."""
        text = self.text[block.start : block.end]
        if block.nodes is None and (plain := _plain_imports(text, self.package)) is not None:
            for local, target in plain:
                self._note(local, target)
        elif "import" in text:
            for node in self._parse(block):
                self._note_imports(node)

    def _note_imports(self, node: ast.stmt) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for local, target in imported(node, self.package):
                self._note(local, target)
        elif isinstance(node, (ast.If, ast.Try)):
            for inner in _inner(node):
                self._note_imports(inner)

    def _note(self, local: str, target: Import) -> None:
        if local == "*":
            self._stars.append(target[0])
        elif self._imports is not None:
            self._imports[local] = target

    def _split(self) -> None:
        """Cut the text at lines that start a top-level statement, by their first characters alone.

        A cut inside a string or a bracket gives a piece that does not parse; the whole file is parsed then.
        """
        if self._blocks is not None:
            return
        self._blocks = []
        decorated = False
        text = self.text
        starts = [match.end() - 1 for match in _START.finditer(text)]
        if text[:1].strip() and text[0] not in "#)]}":
            starts.insert(0, 0)
        for start in starts:
            end = text.find("\n", start)
            head = text[start : end if end >= 0 else len(text)]
            last = self._blocks[-1] if self._blocks else None
            if last is not None:
                if decorated or _CONTINUES.match(head):
                    decorated = head.startswith("@")
                    if not _CONTINUES.match(head):
                        last.head = head
                    continue
                last.end = start
            decorated = head.startswith("@")
            self._blocks.append(_Block(start, len(text), head))
        for block in self._blocks:
            head = block.head
            found = _DEFINITION.match(head) or (None if _COMPOUND.match(head) else _ASSIGNMENT.match(head))
            if found:
                self._names.setdefault(found[1], []).append(block)
            elif head[0] not in "\"'":
                self._rest.append(block)

    def _parse(self, block: _Block) -> list[ast.stmt]:
        if block.nodes is not None:
            return block.nodes
        if self._inside_string(block.start):
            self._read_whole()
            return block.nodes or []
        text = self.text[block.start : block.end]
        if (name := _CLASS.match(block.head)) is not None:
            short, cut = text, False
            if not self._leads_on(self, name[1]):
                short, cut = _without_bodies(text)
            trimmed = _without_methods(short)
            if cut or trimmed is not None:
                try:
                    block.nodes = self._parse_at(block.start, short if trimmed is None else trimmed)
                    block.trimmed = trimmed is not None
                    if cut:
                        self._note_cut(block)
                    return block.nodes
                except UnreadableError:
                    pass  # a line of it looked like something else
        try:
            block.nodes = self._parse_at(block.start, text)
        except UnreadableError:
            self._read_whole()
        return block.nodes or []

    def _note_cut(self, block: _Block) -> None:
        for cls in block.nodes or ():
            for node in cls.body if isinstance(cls, ast.ClassDef) else ():
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name in _CUT:
                    self._cut[node] = block

    def _parse_at(self, start: int, text: str) -> list[ast.stmt]:
        """Parse a piece so that its nodes have the line numbers of the file."""
        return parse("\n" * self.text.count("\n", 0, start) + text)

    def _inside_string(self, place: int) -> bool:
        text = self.text
        return bool(text.count('"""', 0, place) % 2 or text.count("'''", 0, place) % 2)

    def _read_whole(self) -> None:
        """Parse the whole file; its statements replace the pieces."""
        if self._whole:
            return
        self._whole = True
        try:
            nodes = parse(self.text)
        except UnreadableError as problem:
            self._break(problem.line, problem.message)
            nodes = []
        self._split()
        self._blocks, self._names, self._rest, self._all_names = [], {}, [], None
        offsets = _line_offsets(self.text)
        for node in nodes:
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            block = _Block(offsets[first - 1], offsets[min(node.end_lineno or first, len(offsets) - 1)], "")
            block.nodes = [node]
            self._blocks.append(block)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)):
                for name in bound(node):
                    self._names.setdefault(name, []).append(block)
            else:
                self._rest.append(block)


def _without_methods(text: str, kept: frozenset[str] = _KEPT) -> str | None:
    """The text of a class with ``pass`` in place of its methods, but for those of ``kept``; None: no use."""
    starts = _methods(text)
    if not starts:
        return None
    indent = min((lead for _, lead, _, _ in starts), key=len)
    pieces: list[str] = []
    done = 0
    for start, lead, name, behind in starts:
        if lead != indent or name in kept or start < done:
            continue
        end = _end_of_method(text, behind, indent)
        method = text[start:end]
        if method.count('"""') % 2 or method.count("'''") % 2:
            return None
        pieces += [text[done:start], f"{indent}pass", "\n" * method.count("\n")]
        done = end
    return "".join([*pieces, text[done:]]) if pieces else None


def _without_bodies(text: str) -> tuple[str, bool]:
    """The text of a class with ``pass`` for the body of each method of ``_CUT``, and whether there was one."""
    pieces: list[str] = []
    done = 0
    for start, indent, name, behind in _methods(text):
        if name not in _CUT or start < done:
            continue
        end = _end_of_method(text, behind, indent)
        body = _end_of_signature(text, behind, end)
        if body is not None and (lines := text.count("\n", body, end)) > 1:
            pieces += [text[done:body], f"{indent} pass", "\n" * lines]
            done = end
    return "".join([*pieces, text[done:]]), bool(pieces)


def _end_of_signature(text: str, place: int, end: int) -> int | None:
    """Where the line after a signature starts whose name ends at ``place``; None: its letters do not tell."""
    depth = 0
    while place < end:
        stop = text.find("\n", place, end)
        if stop < 0:
            return None
        line = text[place:stop].partition("#")[0].rstrip()
        depth += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
        place = stop + 1
        if depth == 0:
            return place if line.endswith(":") else None
    return None


def _methods(text: str) -> list[tuple[int, str, str, int]]:
    """Where each ``def`` of a class starts, decorators included, its indent, its name, and where the name ends."""
    found: list[tuple[int, str, str, int]] = []
    for match in _METHOD.finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        lead = text[start : match.start()]
        indent = lead[: len(lead) - len(lead.lstrip())]
        if not indent or lead.strip() not in ("", "async"):
            continue
        above = text.rfind("\n", 0, start - 1) + 1
        while text.startswith(f"{indent}@", above):
            start, above = above, text.rfind("\n", 0, above - 1) + 1
        found.append((start, indent, match[1], match.end()))
    return found


def _end_of_method(text: str, place: int, indent: str) -> int:
    """Where the first line starts that is indented no deeper than ``indent`` and is no closing bracket or comment."""
    for match in _LINE.finditer(text, place):
        if len(match["indent"]) <= len(indent) and match["first"] not in ")]}#":
            return match.start() + 1
    return len(text)


def parse(text: str) -> list[ast.stmt]:
    """:func:`ast.parse`, with every way in which it gives up turned into :class:`UnreadableError`."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in upstream's strings
            return ast.parse(text).body
    except SyntaxError as error:
        raise UnreadableError(error.lineno or 1, f"it does not parse: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise UnreadableError(1, f"it does not parse: {error}") from error


class Signature:
    """The parameters of a function, as binding asks for them."""

    __slots__ = ("_hands_on", "defaults", "keywords", "kwarg", "named", "positional", "required", "vararg")

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
        self._hands_on: bool | None = None

    def hands_on(self, node: FunctionNode) -> bool:
        """Whether the function does anything with its ``**kwargs``; ``node``: it, with its body."""
        if self._hands_on is None:
            inner = (each for statement in node.body for each in ast.walk(statement))
            self._hands_on = any(isinstance(each, ast.Name) and each.id == self.kwarg for each in inner)
        return self._hands_on


def names_in(node: ast.AST) -> frozenset[str]:
    """Every name that stands in ``node``: variables, parameters, imports."""
    found: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.add(each.id)
        elif isinstance(each, ast.arg):
            found.add(each.arg)
        elif isinstance(each, (ast.Global, ast.Nonlocal)):
            found.update(each.names)
        elif isinstance(each, ast.alias):
            found.add(each.asname or each.name)
    return frozenset(found)


def bound(node: ast.stmt) -> set[str]:
    """The names that a statement binds by a definition or an assignment (not by an import)."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    if isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        return {node.target.id} if isinstance(node.target, ast.Name) else set()
    found: set[str] = set()
    for inner in _inner(node):
        found |= bound(inner)
    return found


def imported(node: ast.Import | ast.ImportFrom, package: str) -> list[tuple[str, Import]]:
    """``(local name, (module, name))`` for each name of an import; relative modules made absolute by ``package``."""
    if isinstance(node, ast.Import):
        tops = ((each.asname, each.name) if each.asname else (each.name.partition(".")[0],) * 2 for each in node.names)
        return [(local, (module, None)) for local, module in tops]
    module = _absolute(node.module or "", node.level, package)
    return [(each.asname or each.name, (module, each.name)) for each in node.names]


def _plain_imports(text: str, package: str) -> list[tuple[str, Import]] | None:
    """What :func:`imported` gives for a text that holds one import and comments; None: read it with the parser."""
    if ";" in text or "\\" in text:
        return None
    lines = text.split("\n")
    words = " ".join([line.partition("#")[0] for line in lines] if "#" in text else lines).split()
    if len(words) > 3 and words[0] == "from" and words[2] == "import":
        module = words[1].lstrip(".")
        origin, rest = _absolute(module, len(words[1]) - len(module), package), " ".join(words[3:])
        if rest[0] == "(" and rest[-1] == ")":
            rest = rest[1:-1].strip().removesuffix(",")
        dotted = [module] if module else []
    elif len(words) > 1 and words[0] == "import":
        origin, rest, dotted = None, " ".join(words[1:]), []
    else:
        return None
    found: list[tuple[str, Import]] = []
    for each in rest.split(","):
        name, _, local = each.strip().partition(" as ")
        if origin is None:
            dotted.append(name)
            local = local or name.partition(".")[0]
            found.append((local, (name if " as " in each else local, None)))
        elif name.isidentifier():
            local = local or name
            found.append((local, (origin, name)))
        if not local.isidentifier():
            return None
    return found if all(part.isidentifier() for name in dotted for part in name.split(".")) else None


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
    for handler in getattr(node, "handlers", ()):
        inner += handler.body
    return inner


def _line_offsets(text: str) -> list[int]:
    offsets = [0]
    for line in text.split("\n"):
        offsets.append(offsets[-1] + len(line) + 1)
    offsets[-1] = len(text)
    return offsets
