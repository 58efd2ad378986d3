"""The one proof that every rewrite of a test goes through: it re-checks by its own means what the project promises."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rewriter.edit.loader import edit_config, edit_loader
from rewriter.model import REMOVE, Component, ConfigChange, SourceChange, Span
from rewriter.read.configs import find_values, read_config
from rewriter.read.syntax import header_of, span_of

PATH = "/checkout/configs/inference/sample.py"
NEWLINE = re.compile(r"\r\n|\r|\n")

Request = Callable[[bytes], Sequence[ConfigChange]]


# --- dicts of a config ---------------------------------------------------------------------------


def parse(data: bytes) -> ast.Module:
    """``ast.parse`` without warnings of invalid escapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(data)


def find_dicts(data: bytes) -> list[Component]:
    """Every dict of a config, whether it can be decided or not."""
    return [each for each in read_config(data, PATH).components if "is no dict" not in (each.unsure or "")]


def change_key(name: str, key: str, value: object) -> Request:
    """``key`` of every dict whose last key is ``name`` gets ``value``."""
    return lambda data: [ConfigChange(each, key, value) for each in find_dicts(data) if each.name == name]


# --- the proof of a config -----------------------------------------------------------------------


def prove_config_edit(old: bytes, request: Request, *, resolve_in: Path | None = None) -> bytes:
    """Edit ``old`` and prove the edit.

    - a second run changes nothing;
    - outside the changed dicts every byte is the same, inside them every token and comment but those of the keywords;
    - the syntax tree is the same but for the requested keywords;
    - removing what was added gives the old bytes back;
    - with ``resolve_in`` (a folder to write into): mmengine resolves the same dict but for the requested keys.

    Returns:
        The new bytes, for what else a test has to say about them.
    """
    changes = request(old)
    new = edit_config(old, _needed(changes))
    again = request(new)
    assert edit_config(new, _needed(again)) == new, "a second run changes something"
    assert _cut_out(old, changes) == _cut_out(new, again), "bytes outside of the changed dicts differ"
    assert _dump(old, changes) == _dump(new, again)
    _compare_tokens(old, new, changes, again)
    if all(not _has(change) and change.value is not REMOVE for change in changes):
        undo = [ConfigChange(change.component, change.key, REMOVE) for change in again]
        assert edit_config(new, undo) == old, "what was added cannot be taken away to the byte"
    if resolve_in is not None:
        _compare_resolved(old, new, changes, resolve_in)
    return new


def _needed(changes: Sequence[ConfigChange]) -> list[ConfigChange]:
    return [change for change in changes if change.value is not REMOVE or _has(change)]


def _has(change: ConfigChange) -> bool:
    return change.key in change.component.keywords


def _offsets(utf8: bytes, span: Span) -> tuple[int, int]:
    starts = [0, *(match.end() for match in re.finditer(rb"\r\n|\r|\n", utf8))]
    return starts[span.line - 1] + span.column, starts[span.end_line - 1] + span.end_column


def _mask(utf8: bytes, spans: Sequence[Span], filling: bytes) -> bytes:
    """The text with something else in the place of the outermost of ``spans``."""
    done, pieces = 0, []
    for start, end in sorted((_offsets(utf8, span) for span in set(spans)), key=lambda pair: (pair[0], -pair[1])):
        if start >= done:
            pieces += [utf8[done:start], filling]
            done = end
    return b"".join([*pieces, utf8[done:]])


def _cut_out(data: bytes, changes: Sequence[ConfigChange]) -> bytes:
    return _mask(data, [change.component.span for change in changes], b"<dict>")


def _dump(data: bytes, changes: Sequence[ConfigChange]) -> str:
    """The whole syntax tree as text, with the requested keywords left out."""
    tree = parse(data)
    keys: dict[Span, set[str]] = {}
    for change in changes:
        keys.setdefault(change.component.span, set()).add(change.key)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [each for each in node.keywords if each.arg not in keys.get(span_of(node), ())]
        elif isinstance(node, ast.Dict):
            gone = keys.get(span_of(node), set())
            pairs = list(zip(node.keys, node.values, strict=True))
            pairs = [pair for pair in pairs if not (isinstance(pair[0], ast.Constant) and pair[0].value in gone)]
            node.keys, node.values = [key for key, _ in pairs], [value for _, value in pairs]
    return ast.dump(tree)


def _compare_tokens(old: bytes, new: bytes, changes: Sequence[ConfigChange], again: Sequence[ConfigChange]) -> None:
    if any(re.search(rb"\([^=:'\"]*\Z", old[: _offsets(old, span)[0]]) for span in _values(old, changes)):
        return  # brackets round a value go with it, and the comments in them
    texts = [_mask(data, _values(data, wanted), b"_") for data, wanted in ((old, changes), (new, again))]
    was, now = map(_tokens, texts)
    adds = sum(not _has(change) and change.value is not REMOVE for change in changes)
    removes = any(_has(change) and change.value is REMOVE for change in changes)
    if not removes:
        assert _is_within(was, now), "a token or a comment is gone"
        # key, sign, value and a comma; a bare `{}` on lines gets a comma of its own besides
        assert len(now) - len(was) <= 5 * adds, "more tokens came than were requested"
    elif not adds:
        assert _is_within(now, was), "a token came"
    own_line = re.compile(r"^[ \t\f]*#.*$", re.MULTILINE)
    lines = [own_line.findall(NEWLINE.sub("\n", text.decode())) for text in texts]
    assert not changes or [line.strip() for line in lines[0]] == [line.strip() for line in lines[1]] or removes


def _values(data: bytes, changes: Sequence[ConfigChange]) -> list[Span]:
    written = [(each.component.span, each.key) for each in changes if each.value is not REMOVE and _has(each)]
    return [find_values(data)[place] for place in written]


def _tokens(utf8: bytes) -> list[str]:
    """Names, signs, strings and comments; brackets are left out, as those round a value go with it."""
    text = "(" + NEWLINE.sub("\n", utf8.decode()) + "\n)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    return [token.string for token in tokens if token.string.strip() and token.string not in "()"]


def _is_within(some: Sequence[str], others: Sequence[str]) -> bool:
    rest = iter(others)
    return all(each in rest for each in some)


def _compare_resolved(old: bytes, new: bytes, changes: Sequence[ConfigChange], folder: Path) -> None:
    names = {change.component.keys[0] for change in changes}
    keys = {change.key for change in changes}
    was, now = resolve(old, folder), resolve(new, folder)
    assert list(was) == list(now)
    assert {name: _strip(was[name], keys if name in names else set()) for name in was} == {
        name: _strip(now[name], keys if name in names else set()) for name in now
    }
    for change in changes:
        found: Any = now
        for key in change.component.keys:
            found = found[key]
        assert (change.key not in found) if change.value is REMOVE else found[change.key] == change.value


def resolve(data: bytes, folder: Path) -> dict[str, Any]:
    """What mmengine makes of a config file."""
    from mmengine.config import Config

    path = folder / "config_under_proof.py"
    path.write_bytes(data)
    config = Config.fromfile(str(path), lazy_import=False, import_custom_modules=False)
    return dict(config._cfg_dict.to_dict())


def _strip(tree: Any, keys: set[str]) -> Any:
    return (
        {key: _strip(value, keys) for key, value in tree.items() if key not in keys} if isinstance(tree, dict) else tree
    )


# --- the proof of a loader -----------------------------------------------------------------------

KINDS: dict[str, tuple[type[ast.AST], ...]] = {
    "parameter": (ast.FunctionDef, ast.AsyncFunctionDef),
    "keyword": (ast.Call, ast.Dict),
    "guard": (ast.If,),
}


def source_change(data: bytes | str, target: Any, which: int = 0, key: str = "cache_dir", **more: Any) -> SourceChange:
    """A change of the ``which``-th function, call or dict, or ``if`` of a source, outermost first.

    Without ``name`` and with ``default`` a keyword gets that literal.
    """
    tree = parse(data if isinstance(data, bytes) else data.encode())
    nodes: list[Any] = [node for node in ast.walk(tree) if isinstance(node, KINDS[target])]
    name = str(more.pop("name", "" if target == "keyword" and "default" in more else key))
    span = span_of(nodes[which]) if target == "keyword" else header_of(nodes[which])
    return SourceChange("x.py", target, span, key, name, **more)


def prove_loader_edit(old: bytes | str, *changes: SourceChange) -> str:
    """The source after changes; every old token and comment is still there, and it is Python."""
    old = old if isinstance(old, bytes) else old.encode()
    new = edit_loader(old, changes)
    if not any(change.target == "value" or change.default is not None for change in changes):
        was, now = (_tokens(re.sub(rb"\bel(?=if\b)", b"", data)) for data in (old, new))
        assert _is_within(was, now), "a token or a comment is gone"
    parse(new)
    return new.decode()
