"""What is asked of a cache and what was found in it: the values of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rewriter.types import Finding

Kind = Literal["from_pretrained", "hf_hub_download", "snapshot_download"]
Place = tuple[str, int, str]  # (path of a config, its line, the component there)


@dataclass(frozen=True, slots=True)
class Need:
    """What one Hub call asks of a cache.

    ``revision``: None stands for ``main``. ``library``, ``class_name``: as in :class:`rewriter.types.HubCall`.
    ``hard_coded``: the loader's source names ``repo_id``, no config does.
    ``wanted_by``: the components that lead here. ``source``: where ``cache_dir`` came from: "config", or the
    environment's "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "default".
    """

    repo_id: str
    cache_dir: str
    revision: str | None = None
    subfolder: str | None = None
    kind: Kind = "from_pretrained"
    library: str = "transformers"
    class_name: str = ""
    filename: str | None = None
    hard_coded: bool = False
    wanted_by: tuple[Place, ...] = ()
    source: str = "config"


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file that a loader reads. ``size`` in bytes.

    ``name``: posix path below the snapshot. ``hash``: ``sha256:HEX`` or ``git-sha1:HEX``, or "" where neither the
    cache's layout nor a hashing run told it. ``verified``: the content was hashed and is what ``hash`` says.
    """

    name: str
    path: str
    size: int
    hash: str = ""
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a need meets: its commit and snapshot (None where there is none) and the files that its loader reads.

    ``sound``: no error was found in the repo, so ``files`` are all that there should be.
    """

    need: Need
    commit: str | None = None
    snapshot: str | None = None
    files: tuple[CachedFile, ...] = ()
    sound: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of one inspection and, need by need in the order given, what is there."""

    findings: tuple[Finding, ...] = ()
    inspected: tuple[Inspected, ...] = ()
    hashed_bytes: int = 0
