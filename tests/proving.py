"""The one proof that every rewrite of a test goes through: it re-checks by its own means what the project promises."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewriter.configs import read_config
from rewriter.edits.config import edit_config
from rewriter.proof import compare
from rewriter.types import REMOVE, Component, ConfigChange, ConfigFile

PATH = "/checkout/configs/inference/sample.py"

Asked = Callable[[ConfigFile], Sequence[ConfigChange]] | tuple[Iterable[str], str, object]


def read(old: bytes | str, path: str = PATH) -> ConfigFile:
    """Read a config that must be readable."""
    config = read_config(old if isinstance(old, bytes) else old.encode(), path)
    assert config.problem is None, config.problem
    return config


def component(config: ConfigFile, *keys: str) -> Component:
    """The one component at ``keys``."""
    found = [c for c in config.components if c.keys == keys]
    assert len(found) == 1, f"{keys} stands {len(found)} times"
    return found[0]


def changes_for(config: ConfigFile, names: Iterable[str], key: str, value: object) -> list[ConfigChange]:
    """``key`` for every component of these names that is a dict of this file, but once for a call and its spreads."""
    wanted = set(names)
    found = [c for c in config.components if c.name in wanted and c.form != "other"]
    calls = {c.span for c in found}
    twice = {c.span for c in found for t in c.takers if t.stars and (t.span in calls or t.clashes(key))}
    return [ConfigChange(c, key, value) for c in found if c.span not in twice]


def prove_config_edit(
    old: bytes, asked: Asked, *, path: str = PATH, resolve_in: Path | None = None, dump: bool = True
) -> bytes:
    """Edit ``old`` and prove the edit.

    - the project's own proof holds;
    - a second run changes nothing;
    - outside the top-level statements that hold the edited dicts every line has the bytes it had;
    - the syntax tree is the same but for the asked keywords;
    - removing what was added gives the old bytes back;
    - with ``resolve_in`` (a folder to write into): mmengine resolves the same dict but for the asked keys.

    Args:
        old: the bytes of a config file.
        asked: ``(names, key, value)``, or a function that gives the changes for what was read.

    Returns:
        The new bytes, for what else a test has to say about them.
    """
    before = read(old, path)
    changes = _changes(before, asked)
    new = edit_config(old, changes)
    after = read(new, path)
    assert compare(old, new, path, changes) is None
    assert edit_config(new, _changes(after, asked)) == new, "a second run changes something"
    _lines_outside_are_equal(old, new, changes, before, after)
    if dump:
        assert _dump(old, before, changes) == _dump(new, after, _again(before, after, changes))
    if _only_adds(changes):
        undo = [ConfigChange(c.component, c.key, REMOVE) for c in _again(before, after, changes)]
        assert edit_config(new, undo) == old, "what was added cannot be undone to the byte"
    if resolve_in is not None:
        _resolves_alike(old, new, changes, resolve_in)
    return new


def _changes(config: ConfigFile, asked: Asked) -> Sequence[ConfigChange]:
    return asked(config) if callable(asked) else changes_for(config, *asked)


def _again(before: ConfigFile, after: ConfigFile, changes: Sequence[ConfigChange]) -> list[ConfigChange]:
    """The changes with the components of the new file: they come in the same order.

    What comes or goes with an asked value that is a dict of its own is passed over.
    """
    asked = {(c.component.span, c.key) for c in changes}
    values = {(*c.keys, key) for c in before.components for span, key in asked if c.span == span}
    old, new = (
        [c for c in config.components if not any(c.keys[: len(v)] == v for v in values)] for config in (before, after)
    )
    assert [c.keys for c in old] == [c.keys for c in new]
    twin = {a.span: b for a, b in zip(old, new, strict=True)}
    return [ConfigChange(twin[c.component.span], c.key, c.value) for c in changes if c.component.span in twin]


def _only_adds(changes: Sequence[ConfigChange]) -> bool:
    return all(c.value is not REMOVE and all(k.key != c.key for k in c.component.written) for c in changes)


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _lines_outside_are_equal(
    old: bytes, new: bytes, changes: Sequence[ConfigChange], before: ConfigFile, after: ConfigFile
) -> None:
    again = _again(before, after, changes)
    cut = [_cut(_lines(d), {c.component.statement for c in cs}) for d, cs in ((old, changes), (new, again))]
    assert cut[0] == cut[1], "a line outside the edited statements changed"


def _cut(lines: list[bytes], statements: Iterable[Any]) -> list[bytes]:
    inside = {n for s in statements for n in range(s.line, s.end_line + 1)}
    return [line for number, line in enumerate(lines, 1) if number not in inside]


def _dump(data: bytes, config: ConfigFile, changes: Sequence[ConfigChange]) -> str:
    """The whole syntax tree as text, with the asked keywords left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(data)
    spans: dict[tuple[int, ...], set[str]] = {}
    for change in changes:
        s = change.component.span
        spans.setdefault((s.line, s.column, s.end_line, s.end_column), set()).add(change.key)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call | ast.Dict):
            keys = spans.get((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset), ())
            if isinstance(node, ast.Call):
                node.keywords = [k for k in node.keywords if k.arg not in keys]
            else:
                kept = [i for i, k in enumerate(node.keys) if not (isinstance(k, ast.Constant) and k.value in keys)]
                node.keys, node.values = [node.keys[i] for i in kept], [node.values[i] for i in kept]
    return ast.dump(tree)


def _resolves_alike(old: bytes, new: bytes, changes: Sequence[ConfigChange], folder: Path) -> None:
    names = {key.split(".")[0] for c in changes for key in (c.component.keys[0], *c.component.shared_with)}
    asked = {c.key: c.value for c in changes}
    was, now = resolve(old, folder), resolve(new, folder)
    assert list(_without(was, asked, names)) == list(_without(now, asked, names))
    assert _without(was, asked, names) == _without(now, asked, names)
    for change in changes:
        if not change.component.ways and change.component.replaced_by is None and not change.component.overrides:
            found: Any = now
            for key in change.component.keys:
                found = found[key]
            if change.value is REMOVE:
                assert change.key not in found
            else:
                assert found[change.key] == change.value


def resolve(data: bytes, folder: Path) -> dict[str, Any]:
    """What mmengine makes of a config file."""
    from mmengine.config import Config

    path = folder / "config_under_proof.py"
    path.write_bytes(data)
    config = Config.fromfile(str(path), lazy_import=False, import_custom_modules=False)
    return dict(config._cfg_dict.to_dict())


def _without(tree: Any, keys: Mapping[str, object], names: Iterable[str]) -> Any:
    """``tree`` without ``keys`` in any dict below the top-level ``names``."""
    names = set(names)
    return {k: _strip(v, keys) if k in names else v for k, v in tree.items()}


def _strip(tree: Any, keys: Mapping[str, object]) -> Any:
    if isinstance(tree, dict):
        return {k: _strip(v, keys) for k, v in tree.items() if k not in keys}
    return tree


def text_of(data: bytes) -> str:
    """Bytes of a config without its spaces and comments, to compare what two layouts say."""
    return re.sub(rb"#[^\n]*|\s", b"", data).decode()
