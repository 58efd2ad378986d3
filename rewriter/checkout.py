"""Which files a run is about: checkouts, their packages and config folders, and the selection of a command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rewriter.files import (
    LIMIT,
    Unreadable,
    compile_patterns,
    open_regular,
    outside,
    read_bytes,
    relative_path,
    scan,
    select_tracked,
    walk,
)
from rewriter.model import Finding, Note

__all__ = [
    "LIMIT",
    "NoSuchPath",
    "Selection",
    "Target",
    "Unreadable",
    "config_files",
    "find_packages",
    "find_root",
    "open_regular",
    "outside",
    "python_files",
    "read_bytes",
    "select",
]

CONFIG_FOLDERS = ("configs", "config")
PACKAGE = "opensora"
REGISTRATION = b"register_module"
LEVELS = 3
"""How deep checkouts are searched below a folder, and config folders below a checkout."""
SECOND_RELEASE = (
    "this is Open-Sora v2: its configs name single files of weights by path, and its loaders and scripts are "
    "not covered beyond what is reported here"
)
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})


class NoSuchPath(Exception):  # noqa: N818 - it is the user's path that is at fault
    """A path of the command line does not exist: wrong usage."""


@dataclass(frozen=True, slots=True)
class Target:
    """A config file of the run. ``named``: it is on the command line itself, so no pattern leaves it out."""

    path: str
    root: str | None
    named: bool


@dataclass(frozen=True, slots=True)
class Selection:
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
            if not os.path.isfile(os.path.join(folder, "__init__.py")):
                return folder
            inner = inner or folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return inner
        folder = parent


def is_root(folder: str) -> bool:
    """Whether ``folder`` holds a package and a config folder; the latter may lie in one of its packages."""
    if any(os.path.isdir(os.path.join(folder, name)) for name in CONFIG_FOLDERS):
        return next(_iter_packages(folder), None) is not None
    candidates = [path for path in _package_candidates(folder) if os.path.dirname(path) == folder]
    return any(
        os.path.isdir(os.path.join(path, name)) and _registers(path) for path in candidates for name in CONFIG_FOLDERS
    )


def find_packages(root: str) -> tuple[str, ...]:
    """The packages of a checkout as absolute folders, ``opensora`` first.

    A package is a folder with ``__init__.py`` in which some ``*.py`` names ``register_module``: directly in ``root``
    or in ``root/src``, or inside a folder of its own name (``opensora/opensora``, a submodule). A folder ``opensora``
    needs no ``__init__.py``. Where ``root`` is itself a package, as ``--opensora-source`` may name one, that is all.
    """
    return (root,) if _is_package(root) else tuple(_iter_packages(root))


def _is_package(folder: str) -> bool:
    if _has_config_folder(folder):
        return False
    named = os.path.basename(folder) == PACKAGE and not os.path.isdir(os.path.join(folder, PACKAGE))
    return (named or os.path.isfile(os.path.join(folder, "__init__.py"))) and _registers(folder)


def _iter_packages(root: str) -> Iterator[str]:
    return (path for path in _package_candidates(root) if _registers(path))


def _package_candidates(root: str) -> list[str]:
    """Folders that are packages by their place and ``__init__.py``."""
    found = []
    for parent in (root, os.path.join(root, "src")):
        for entry in scan(parent, {}):
            if entry.name.startswith(".") or entry.name in CONFIG_FOLDERS or not entry.name.isidentifier():
                continue
            inner = os.path.join(entry.path, entry.name)
            if os.path.isfile(os.path.join(entry.path, "__init__.py")):
                found.append(entry.path)
            elif os.path.isfile(os.path.join(inner, "__init__.py")):
                found.append(inner)
            elif entry.name == PACKAGE and entry.is_dir():
                found.append(entry.path)
    return sorted(found, key=lambda path: (os.path.basename(path) != PACKAGE, path))


def _registers(package: str) -> bool:
    """Whether some source of the folder names ``register_module``; stops at the first."""
    return any(registers(entry.path) for entry in walk(package, {}) if not entry.odd)


def registers(path: str) -> bool:
    try:
        return REGISTRATION in read_bytes(path)
    except Unreadable:
        return False


def _is_second_release(package: str) -> bool:
    """Whether the package is that of Open-Sora v2 (``opensora/models/mmdit``, no ``text_encoder`` beside it)."""
    models = os.path.join(package, "models")
    return os.path.isdir(os.path.join(models, "mmdit")) and not os.path.isdir(os.path.join(models, "text_encoder"))


def find_config_folders(root: str) -> list[str]:
    """The config folders of a checkout: ``configs``, ``config`` and nested ones, at most three levels below.

    Those of another checkout inside it are not its own.
    """
    return sorted(_config_folders_below(root, LEVELS, {}, skip=_is_inner_root))


def _is_inner_root(folder: str) -> bool:
    return is_root(folder) and not os.path.isfile(os.path.join(folder, "__init__.py"))


def config_files(root: str) -> list[str]:
    """Every ``*.py`` of the config folders of a checkout, sorted, git-ignored or not."""
    return sorted(entry.path for folder in find_config_folders(root) for entry in walk(folder, {}))


def python_files(folder: str) -> list[str]:
    """Every ``*.py`` below a folder that git does not ignore, sorted."""
    return sorted(select_tracked(list(walk(folder, {})), folder, find_root(folder) or folder))


def _config_folders_below(
    folder: str, levels: int, findings: dict[str, Finding], skip: Callable[[str], bool]
) -> Iterator[str]:
    for entry in _folders_of(folder, findings):
        if entry.name in CONFIG_FOLDERS:
            yield entry.path
        elif levels > 1 and not (_has_config_folder(entry.path) and skip(entry.path)):
            yield from _config_folders_below(entry.path, levels - 1, {}, skip)


def _has_config_folder(folder: str) -> bool:
    return any(os.path.isdir(os.path.join(folder, name)) for name in CONFIG_FOLDERS)


def _roots_below(folder: str, levels: int, findings: dict[str, Finding]) -> Iterator[str]:
    """Checkouts below; hidden folders and links are not searched, nor is a found one.

    That ``folder`` itself cannot be listed is a finding; a folder further down may not be one that matters.
    """
    for entry in _folders_of(folder, findings):
        if is_root(entry.path):
            yield entry.path
        elif levels > 1 and entry.name not in CONFIG_FOLDERS:
            yield from _roots_below(entry.path, levels - 1, {})


def _folders_of(folder: str, findings: dict[str, Finding]) -> Iterator[os.DirEntry[str]]:
    for entry in sorted(scan(folder, findings), key=lambda entry: entry.name):
        if not entry.name.startswith(".") and entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False):
            yield entry


# --- selection -----------------------------------------------------------------------------------

_Match = Callable[[str], bool]


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
    return _Selector(all_configs, _matcher(include), _matcher(exclude), cwd).select(paths)


class _Selector:
    """One selection under way: its options, and what was found so far."""

    def __init__(self, all_configs: bool, include: _Match | None, exclude: _Match | None, cwd: str) -> None:
        self.all_configs = all_configs
        self.include = include
        self.exclude = exclude
        self.cwd = cwd
        self.targets: dict[str, Target] = {}
        self.passed: set[str] = set()
        self.below: list[str] = []
        self.beside: list[str] = []
        self.findings: dict[str, Finding] = {}
        self.roots: dict[str, str | None] = {}

    def select(self, paths: Sequence[str]) -> Selection:
        named = {}
        for given in paths:
            path = os.path.abspath(os.path.join(self.cwd, given))
            if not os.path.lexists(path):
                raise NoSuchPath(f"{given}: no such file or folder")
            if os.path.isdir(path):
                self.add_folder(path)
            else:
                named[path] = Target(path, self.find_root(os.path.dirname(path)), True)
        if not paths:
            folder = os.path.abspath(self.cwd)
            self.add_folder(folder)
            root = self.find_root(folder)
            if root is not None and not self.targets and self.include is None:
                self.add_folder(root)
        targets = {**self.targets, **named}
        ordered = tuple(targets[path] for path in sorted(targets))
        findings = tuple(self.findings[path] for path in sorted(self.findings))
        return Selection(ordered, findings, tuple(self.make_notes(targets)))

    def make_notes(self, targets: dict[str, Target]) -> Iterator[Note]:
        if self.below:
            yield Note(f"no checkout around this folder; found below it: {self.list_folders(self.below)}")
        if self.beside:
            yield Note(f"checkouts inside this one, taken too: {self.list_folders(self.beside)}")
        for root in sorted({target.root for target in targets.values() if target.root is not None}):
            if any(map(_is_second_release, find_packages(root))):
                yield Note(SECOND_RELEASE, root)
        count = len(self.passed - targets.keys())
        if count:
            yield Note(f"{count} more config{'s' if count > 1 else ''}: --all-configs")

    def list_folders(self, folders: list[str]) -> str:
        more = f" and {len(folders) - 5} more" if len(folders) > 5 else ""
        return ", ".join(os.path.relpath(path, self.cwd) for path in folders[:5]) + more

    def find_root(self, folder: str) -> str | None:
        if folder not in self.roots:
            self.roots[folder] = find_root(folder)
        return self.roots[folder]

    def add_folder(self, folder: str) -> None:
        """Add the targets of one folder."""
        root = self.find_root(folder)
        if self.include is not None:
            self.add_files(folder, root or folder, narrow=False)
        elif folder == root:
            for top in find_config_folders(root):
                self.add_files(top, root, narrow=not self.all_configs)
            if not _has_config_folder(root):
                inner = [path for path in _roots_below(root, LEVELS, self.findings) if _is_inner_root(path)]
                self.beside += inner
                for checkout in inner:
                    self.add_folder(checkout)
        elif _lies_in_config_folder(folder, root):
            self.add_files(folder, root or folder, narrow=False)
        else:
            inner = list(_roots_below(folder, LEVELS, self.findings)) if root is None else []
            self.below += inner
            for top in _config_folders_below(folder, LEVELS, self.findings, skip=inner.__contains__):
                self.add_files(top, root or folder, narrow=False)
            for checkout in inner:
                self.add_folder(checkout)

    def add_files(self, top: str, base: str, *, narrow: bool) -> None:
        """Add every ``*.py`` below ``top``; with ``narrow`` only those of ``inference`` folders, if there are such."""
        entries = list(walk(top, self.findings))
        if self.include is not None:
            entries = [entry for entry in entries if self.include(relative_path(entry.path, base))]
        if self.exclude is not None:
            entries = [entry for entry in entries if not self.exclude(relative_path(entry.path, base))]
        files = select_tracked(entries, top, base)
        chosen = [path for path in files if os.path.basename(os.path.dirname(path)) == "inference"]
        if not narrow or not chosen:
            chosen = files
        self.passed.update(set(files) - set(chosen))
        for path in chosen:
            self.targets[path] = Target(path, self.find_root(os.path.dirname(path)), False)


def _lies_in_config_folder(folder: str, root: str | None) -> bool:
    parts = relative_path(folder, root).split("/") if root is not None else folder.split(os.sep)
    return any(name in parts for name in CONFIG_FOLDERS)


def _matcher(patterns: Sequence[str]) -> _Match | None:
    """gitignore-style patterns as a test of a relative path with ``/``; None where there are no patterns."""
    if not patterns:
        return None
    match = compile_patterns(patterns)
    return lambda relative: match(relative) is True
