"""Which files a run is about: checkouts, their packages and config folders, and the selection of a command line."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rewriter.files import Unreadable, compile_patterns, read_bytes, scan, select_tracked, show_path, walk
from rewriter.model import Finding, Note

CONFIG_FOLDERS = ("configs", "config")
REGISTRATION = b"register_module"
"""What registers a loader; a file without it registers none."""
PACKAGE = "opensora"
LEVELS = 3  # how deep checkouts are searched below a folder, and config folders below a checkout
SECOND_RELEASE = (
    "this is Open-Sora v2: its configs name single files of weights by path, and its loaders and scripts are "
    "not covered beyond what is reported here"
)
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})


class NoSuchPath(Exception):  # noqa: N818 - it is the user's path that is at fault
    """A path of the command line does not exist: wrong usage."""


class Target(NamedTuple):
    """A config file of the run. ``named``: it is on the command line itself, so no pattern leaves it out."""

    path: str
    root: str | None
    named: bool


class Selection(NamedTuple):
    """The files of a run, sorted by path, each once; ``findings``: folders that could not be listed (OSR900)."""

    targets: tuple[Target, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()


# --- checkouts and packages --------------------------------------------------------------------


def find_root(path: str) -> str | None:
    """The checkout of ``path`` (absolute): the nearest folder, itself or above, with a config folder and a package.

    A folder that is itself a package (``pavdm/`` with ``pavdm/configs`` and ``pavdm/models``) is a checkout only
    where no folder above it is one.
    """
    inner = None
    folder = path
    while True:
        if is_root(folder):
            if not _has_init(folder):
                return folder
            inner = inner or folder
        if folder == (folder := os.path.dirname(folder)):
            return inner


def is_root(folder: str) -> bool:
    """Whether ``folder`` holds a package and a config folder; the latter may lie in one of its packages."""
    packages = _list_packages(folder)
    if not _has_config_folder(folder):
        packages = [path for path in packages if os.path.dirname(path) == folder and _has_config_folder(path)]
    return any(map(_has_loaders, packages))


def find_packages(root: str) -> tuple[str, ...]:
    """The packages of a checkout as absolute folders, ``opensora`` first.

    A package is a folder with ``__init__.py`` in which some ``*.py`` names ``register_module``: directly in ``root``
    or in ``root/src``, or inside a folder of its own name (``opensora/opensora``, a submodule). A folder ``opensora``
    needs no ``__init__.py``. Where ``root`` is itself a package, as ``--opensora-source`` may name one, that is all.
    """
    named = os.path.basename(root) == PACKAGE and not os.path.isdir(os.path.join(root, PACKAGE))
    if not _has_config_folder(root) and (named or _has_init(root)) and _has_loaders(root):
        return (root,)
    return tuple(filter(_has_loaders, _list_packages(root)))


def _list_packages(root: str) -> list[str]:
    """Folders that are packages by their place and ``__init__.py``."""
    found = []
    for entry in (*scan(root, {}), *scan(os.path.join(root, "src"), {})):
        if entry.name not in CONFIG_FOLDERS and entry.name.isidentifier():
            places = filter(_has_init, (entry.path, os.path.join(entry.path, entry.name)))
            package = next(places, entry.path if entry.name == PACKAGE and entry.is_dir() else None)
            found += [package] if package is not None else []
    return sorted(found, key=lambda path: (os.path.basename(path) != PACKAGE, path))


def _has_init(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "__init__.py"))


def _has_config_folder(folder: str) -> bool:
    return any(os.path.isdir(os.path.join(folder, name)) for name in CONFIG_FOLDERS)


@functools.cache
def _has_loaders(package: str) -> bool:
    return any(map(registers, walk(package, {})))


def registers(path: str) -> bool:
    """Whether a file names ``register_module``."""
    try:
        return REGISTRATION in read_bytes(path)
    except Unreadable:
        return False


def config_files(root: str) -> list[str]:
    """Every ``*.py`` of the config folders of a checkout, sorted, git-ignored or not.

    The folders are ``configs``, ``config`` and nested ones, at most three levels below, but not those of another
    checkout inside it.
    """
    folders = [path for path, is_checkout in _search(root, {}, _is_inner_root) if not is_checkout]
    return sorted(path for folder in folders for path in walk(folder, {}))


def _is_inner_root(folder: str) -> bool:
    return _has_config_folder(folder) and not _has_init(folder) and is_root(folder)


def python_files(folder: str) -> list[str]:
    """Every ``*.py`` below a folder that git does not ignore, sorted."""
    return sorted(select_tracked(list(walk(folder, {})), folder, find_root(folder) or folder))


def _search(
    folder: str, findings: dict[str, Finding], is_checkout: Callable[[str], bool], levels: int = LEVELS
) -> Iterator[tuple[str, bool]]:
    """Config folders below, and (True) checkouts, which are not searched; nor are hidden folders and links.

    That ``folder`` itself cannot be listed is a finding; a folder further down may not be one that matters.
    """
    for entry in scan(folder, findings):
        if entry.name.startswith(".") or entry.name in _SKIPPED or not entry.is_dir(follow_symlinks=False):
            continue
        if entry.name in CONFIG_FOLDERS:
            yield entry.path, False
        elif is_checkout(entry.path):
            yield entry.path, True
        elif levels > 1:
            yield from _search(entry.path, {}, is_checkout, levels - 1)


# --- selection -----------------------------------------------------------------------------------


def select(
    paths: Sequence[str],
    *,
    all_configs: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    cwd: str,
) -> Selection:
    """The config files that ``paths`` (relative to ``cwd``; none: the checkout around ``cwd``) stand for.

    A file is taken as it is. A checkout gives ``**/inference/*.py`` of each of its config folders (every ``*.py``
    where there are none such, or with ``all_configs``). Another folder gives the config folders below it, or every
    ``*.py`` below it where it lies in one; without a checkout around it, the checkouts at most three levels below.
    A checkout without a config folder of its own (its packages hold them) gives those of the checkouts inside it, too.
    ``include`` (gitignore-style patterns, relative to the checkout, or to the folder where there is none) replaces
    these rules, ``exclude`` takes away. Git-ignored files are left out, also without a git work tree.

    Raises:
        NoSuchPath: a path does not exist.
    """
    _has_loaders.cache_clear()
    selector = _Selector(all_configs, include, exclude)
    named = {}
    for given in paths or ["."]:
        path = os.path.abspath(os.path.join(cwd, given))
        if not os.path.lexists(path):
            raise NoSuchPath(f"{given}: no such file or folder")
        if os.path.isdir(path):
            selector.add_folder(path)
        else:
            named[path] = Target(path, selector.find_root(os.path.dirname(path)), True)
    root = None if paths or include else selector.find_root(os.path.abspath(cwd))
    if root is not None and not selector.targets:
        selector.add_folder(root)
    targets = {**selector.targets, **named}
    ordered = tuple(targets[path] for path in sorted(targets))
    return Selection(ordered, tuple(selector.findings.values()), tuple(_make_notes(selector, targets, cwd)))


def _make_notes(selector: _Selector, targets: dict[str, Target], cwd: str) -> Iterator[Note]:
    if selector.inner:
        shown = ", ".join(os.path.relpath(path, cwd) for path in selector.inner)
        yield Note(f"checkouts found below this folder: {shown}")
    for root in sorted({target.root for target in targets.values() if target.root is not None}):
        models = [os.path.join(package, "models") for package in find_packages(root)]
        if any(os.path.isdir(f"{each}/mmdit") and not os.path.isdir(f"{each}/text_encoder") for each in models):
            yield Note(SECOND_RELEASE, root)
    count = len(selector.passed - targets.keys())
    if count:
        yield Note(f"{count} more config{'s' if count > 1 else ''}: --all-configs")


class _Selector:
    """One selection under way: its options, and what was found so far."""

    def __init__(self, all_configs: bool, include: Sequence[str], exclude: Sequence[str]) -> None:
        self.all_configs = all_configs
        self.include = compile_patterns(include) if include else None
        self.exclude = compile_patterns(exclude) if exclude else lambda path: False
        self.find_root = functools.cache(find_root)
        self.targets: dict[str, Target] = {}
        self.passed: set[str] = set()
        self.inner: list[str] = []
        self.findings: dict[str, Finding] = {}

    def add_folder(self, folder: str) -> None:
        """Add the targets of one folder."""
        root = self.find_root(folder)
        parts = (folder if root is None else show_path(folder, root)).split("/")
        if self.include is not None or (folder != root and any(name in parts for name in CONFIG_FOLDERS)):
            self.add_files(folder, root or folder, narrow=False)
            return
        is_checkout = is_root if root is None else _is_inner_root if folder == root else lambda path: False
        for path, found in list(_search(folder, self.findings, is_checkout)):
            if not found:
                self.add_files(path, root or folder, narrow=folder == root and not self.all_configs)
            elif root is None or not _has_config_folder(root):
                self.inner.append(path)
                self.add_folder(path)

    def add_files(self, top: str, base: str, *, narrow: bool) -> None:
        """Add every ``*.py`` below ``top``; with ``narrow`` only those of ``inference`` folders, if there are such."""
        relative = [(path, show_path(path, base)) for path in walk(top, self.findings)]
        chosen = [
            path for path, name in relative if (not self.include or self.include(name)) and not self.exclude(name)
        ]
        files = select_tracked(chosen, top, base)
        inference = [path for path in files if narrow and os.path.basename(os.path.dirname(path)) == "inference"]
        for path in inference or files:
            self.targets[path] = Target(path, self.find_root(os.path.dirname(path)), False)
        self.passed.update(files)
