"""Which files a run is about: checkouts, their packages and config folders, and the selection of a command line."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rewriter.files import compile_patterns, drop_ignored, list_above, read_or_empty, show_path, walk
from rewriter.model import Finding, Note
from rewriter.words import counted

CONFIG_FOLDERS = ("configs", "config")
REGISTRATION = b"register_module"  # what registers a loader
PACKAGE = "opensora"
LEVELS = 3  # how deep checkouts are searched below a folder, and config folders below a checkout
SECOND_RELEASE = (
    "this is Open-Sora v2: its configs name single files of weights by path, and its loaders and scripts are "
    "not covered beyond what is reported here"
)


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


def is_root(folder: str) -> bool:
    """Whether ``folder`` holds a package and a config folder; the latter may lie in the package."""
    own = _has_config_folder(folder)
    return any((own or _has_config_folder(path)) and _has_loaders(path) for path in _list_packages(folder))


def find_root(path: str, is_root: Callable[[str], bool] = is_root) -> str | None:
    """The checkout of ``path`` (absolute): the nearest folder, itself or above, with a config folder and a package.

    A folder that is itself a package (``pavdm`` with ``pavdm/configs``) is one only where no folder above it is.
    """
    inner = None
    for folder in filter(is_root, list_above(path)):
        if not _has_init(folder):
            return folder
        inner = inner or folder
    return inner


def find_packages(root: str) -> tuple[str, ...]:
    """The packages of a checkout as absolute folders, ``opensora`` first.

    A package is a folder with ``__init__.py`` (``opensora`` needs none) in which some ``*.py`` names
    ``register_module``: in ``root`` or ``root/src``, or in a folder of its own name (``opensora/opensora``).
    Where ``root`` is itself a package, as ``--opensora-source`` may name one, that is all.
    """
    is_package = (_has_init(root) or os.path.basename(root) == PACKAGE) and not _has_config_folder(root)
    return tuple(filter(_has_loaders, [root] if is_package else _list_packages(root)))


def _list_packages(root: str) -> list[str]:
    """Folders that are packages by their place and ``__init__.py``, ``opensora`` first."""
    found = []
    for path in (*_list_folders(root), *_list_folders(os.path.join(root, "src"))):
        name = os.path.basename(path)
        found.append(next(filter(_has_init, (path, os.path.join(path, name))), path if name == PACKAGE else ""))
    return sorted(filter(None, found), key=lambda path: (os.path.basename(path) != PACKAGE, path))


def _list_folders(folder: str) -> list[str]:
    """The folders in a folder, without hidden ones; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(each.path for each in entries if not each.name.startswith(".") and each.is_dir())
    except OSError:
        return []


def _has_init(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "__init__.py"))


def _has_config_folder(folder: str) -> bool:
    return any(os.path.isdir(os.path.join(folder, name)) for name in CONFIG_FOLDERS)


@functools.cache
def _has_loaders(package: str) -> bool:
    return any(map(registers, walk(package)))


def registers(path: str) -> bool:
    """Whether a file names ``register_module``."""
    return REGISTRATION in read_or_empty(path)


def config_files(root: str) -> list[str]:
    """Every ``*.py`` of the config folders of a checkout, not of another one inside it; sorted, git-ignored or not."""
    own = (folder for folder in _config_folders(root) if find_root(os.path.dirname(folder)) == root)
    return sorted(path for folder in own for path in walk(folder))


def _config_folders(folder: str, levels: int = LEVELS - 1) -> Iterator[str]:
    """The folders ``configs`` and ``config`` in a folder and some levels below it; links are not followed."""
    for path in _list_folders(folder):
        name = os.path.basename(path)
        if name in CONFIG_FOLDERS:
            yield path
        elif levels and name not in ("__pycache__", "node_modules", "site-packages") and not os.path.islink(path):
            yield from _config_folders(path, levels - 1)


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
    where there are none such, or with ``all_configs``). Another folder gives every ``*.py`` below it where it lies in a
    config folder, else the config folders and checkouts below it. A checkout without a config folder of its own (its
    packages hold them) gives the checkouts inside it, too. ``include`` (gitignore-style patterns, relative to the
    checkout, else to the folder) replaces these rules. ``exclude`` and git leave files out. Raises FileNotFoundError.
    """
    _has_loaders.cache_clear()
    selector, named = _Selector(all_configs, include, exclude), set()
    for given in paths or ["."]:
        path = os.path.abspath(os.path.join(cwd, given))
        if os.path.isdir(path):
            selector.add_folder(path)
        elif os.path.lexists(path):
            named.add(path)
        else:
            raise FileNotFoundError(f"{given}: no such file or folder")
    if not (paths or include or selector.chosen) and (root := selector.find_root(os.path.abspath(cwd))):
        selector.add_folder(root)
    chosen = sorted(selector.chosen | named)
    targets = tuple(Target(path, selector.find_root(os.path.dirname(path)), path in named) for path in chosen)
    findings = {error.filename: f"the folder cannot be listed: {error.strerror}" for error in selector.errors}
    bad = (Finding("OSR900", path, 1, 0, "", why, "make it readable") for path, why in findings.items())
    return Selection(targets, tuple(bad), tuple(_make_notes(selector, targets, cwd)))


def _make_notes(selector: _Selector, targets: Sequence[Target], cwd: str) -> Iterator[Note]:
    if shown := ", ".join(os.path.relpath(path, cwd) for path in sorted(selector.inner)):
        yield Note(f"checkouts found below this folder: {shown}")
    for root in sorted({target.root for target in targets if target.root is not None}):
        models = [os.path.join(package, "models") for package in find_packages(root)]
        if any(os.path.isdir(f"{each}/mmdit") and not os.path.isdir(f"{each}/text_encoder") for each in models):
            yield Note(SECOND_RELEASE, root)
    if passed := selector.passed.difference(target.path for target in targets):
        yield Note(f"{counted(len(passed), 'more config')}: --all-configs")


class _Selector:
    """One selection under way: its options, and what was found so far."""

    def __init__(self, all_configs: bool, include: Sequence[str], exclude: Sequence[str]) -> None:
        self.all_configs = all_configs
        self.include = compile_patterns(include) if include else None
        self.exclude = compile_patterns(exclude) if exclude else None
        self.find_root = functools.cache(functools.partial(find_root, is_root=functools.cache(is_root)))
        self.chosen, self.passed, self.inner = set[str](), set[str](), set[str]()
        self.errors: list[OSError] = []

    def add_folder(self, folder: str) -> None:
        """Choose the configs of one folder."""
        root = self.find_root(folder)
        parts = show_path(folder, root or "").split("/")
        whole = self.include is not None or (folder != root and not set(CONFIG_FOLDERS).isdisjoint(parts))
        if whole:
            self.add_files(folder, root or folder, narrow=False)
        for path in () if whole else _config_folders(folder, LEVELS if root is None else LEVELS - 1):
            base = self.find_root(os.path.dirname(path)) or folder
            if base not in (root, folder):  # a checkout inside it
                if folder == root and _has_config_folder(root):
                    continue
                self.inner.add(base)
            self.add_files(path, base, narrow=not self.all_configs and (folder == root or base in self.inner))

    def add_files(self, top: str, base: str, *, narrow: bool) -> None:
        """Choose every ``*.py`` below ``top``; ``narrow``: only those of ``inference`` folders, if there are such."""
        names = {path: show_path(path, base) for path in walk(top, self.errors.append)}
        included = [path for path, name in names.items() if not self.include or self.include(name)]
        files = drop_ignored([path for path in included if not self.exclude or not self.exclude(names[path])], top)
        inference = [path for path in files if narrow and os.path.basename(os.path.dirname(path)) == "inference"]
        self.chosen.update(inference or files)
        self.passed.update(files)
