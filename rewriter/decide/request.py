"""What the user requests of a run: one frozen value, made by the command line and handed through unchanged."""

from __future__ import annotations

from dataclasses import dataclass

from rewriter.model import CACHE_DIR, LOCAL_FILES_ONLY

DEFAULT_COMPONENTS = ("text_encoder", "vae")


@dataclass(frozen=True, slots=True)
class Request:
    """The question that ``check`` and ``rewrite`` put to every component.

    ``components``: names that are selected. ``all_components``: every dict whose loader reads from the Hub is.
    ``cache_dir``: absolute path for every selected component, or None. ``cache_dirs``: ``(component, path)`` pairs
    that win over it. ``sets``: ``(component, key, value)``. ``unsets``: ``(component, key)``.
    ``edit_source``: loaders may be edited (False: ``--no-source``). ``must_exist``: a missing path is an error.
    ``source_default``: what an added ``cache_dir`` parameter of a loader defaults to.
    ``checking``: True for ``check``, which diagnoses what is there; False for ``rewrite``, which changes it.
    """

    components: tuple[str, ...] = DEFAULT_COMPONENTS
    all_components: bool = False
    cache_dir: str | None = None
    cache_dirs: tuple[tuple[str, str], ...] = ()
    sets: tuple[tuple[str, str, object], ...] = ()
    unsets: tuple[tuple[str, str], ...] = ()
    local_files_only: bool = False
    edit_source: bool = True
    force: bool = False
    must_exist: bool = False
    source_default: str | None = None
    checking: bool = False

    def selects(self, name: str) -> bool:
        """Whether the component ``name`` is requested by its name."""
        return name in self.components or name in self.named

    @property
    def named(self) -> frozenset[str]:
        """Components that a per-component option names: naming one selects it."""
        names = [name for name, _ in (*self.cache_dirs, *self.unsets)]
        return frozenset([*names, *(name for name, _, _ in self.sets)])

    def dir_for(self, name: str) -> str | None:
        """The cache_dir that component ``name`` is to have, or None where none is requested."""
        return dict(self.cache_dirs).get(name, self.cache_dir)

    def looks_at_cache_dir(self, name: str) -> bool:
        """Whether the component's cache_dir is this run's business; ``check`` without a DIR wants any absolute one."""
        return self.dir_for(name) is not None or (self.checking and not self.cache_dirs)

    def requested_keys(self, name: str) -> tuple[tuple[str, object], ...]:
        """``(key, value)`` pairs that a Hub-loading component ``name`` is to have, beside ``sets``."""
        directory = self.dir_for(name)
        pairs: list[tuple[str, object]] = [] if directory is None else [(CACHE_DIR, directory)]
        return (*pairs, (LOCAL_FILES_ONLY, True)) if self.local_files_only else tuple(pairs)

    @property
    def keys_possible(self) -> bool:
        """Whether any key that loaders may have to be edited for is requested of any component."""
        return bool(self.local_files_only or self.cache_dir is not None or self.cache_dirs)

    def default_for(self, key: str) -> object:
        """What a parameter added to a loader for ``key`` defaults to, so that without the key nothing changes."""
        return False if key == LOCAL_FILES_ONLY else self.source_default
