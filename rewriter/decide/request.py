"""What the user requests of a run: one value, made by the command line and handed through unchanged."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_COMPONENTS = ("text_encoder", "vae")


class Request(NamedTuple):
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

    @property
    def named(self) -> frozenset[str]:
        """Components that a per-component option names: naming one selects it."""
        return frozenset([*dict(self.cache_dirs), *dict(self.unsets), *(name for name, _, _ in self.sets)])

    @property
    def selected(self) -> frozenset[str]:
        """Components that are requested by their names."""
        return self.named.union(self.components)

    def dir_for(self, name: str) -> str | None:
        """The cache_dir that component ``name`` is to have, or None where none is requested."""
        return dict(self.cache_dirs).get(name, self.cache_dir)

    def looks_at_cache_dir(self, name: str) -> bool:
        """Whether the component's cache_dir is this run's business; ``check`` without a DIR wants any absolute one."""
        return self.dir_for(name) is not None or (self.checking and not self.cache_dirs)

    @property
    def keys_possible(self) -> bool:
        """Whether any key that loaders may have to be edited for is requested of any component."""
        return bool(self.local_files_only or self.cache_dir is not None or self.cache_dirs)


def split_keyword(given: str) -> tuple[str, str]:
    """The two names of ``"vae.from_pretrained"``. Raises ValueError."""
    name, _, key = given.strip().rpartition(".")
    if not (key.isidentifier() and name.isidentifier()):
        raise ValueError(f"{given!r} is not COMPONENT.KEY (for example vae.from_pretrained)")
    return name, key
