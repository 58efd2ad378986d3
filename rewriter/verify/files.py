"""Judge and hash the files of a snapshot: what each is, whether its own structure is complete, what its name says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from rewriter.process.probes.weights_files import WeightsError, read_safetensors_header, read_shard_index

State = Literal["ok", "missing", "unreadable", "broken", "moved", "lost", "pointer", "altered"]
HashKind = Literal["sha256", "git-sha1", "sha1", "md5"]
Hashing = tuple[str, HashKind]  # of what is at a path
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

_LINK_TEXT = re.compile(rb"(\.\./)+blobs/[0-9a-f]{32,64}\s*")  # as git without core.symlinks and archives write a link


class CachedFile(NamedTuple):
    """A file that a loader reads, and the state it is in.

    ``name``: posix path below the snapshot. ``size``: bytes. ``detail``: what was found, for the message. ``hash``:
    ``KIND:HEX`` as the blob's name or hashing says it, or "". ``verified``: the content was hashed and is that.
    """

    name: str
    path: str
    state: State = "ok"
    size: int = 0
    detail: str = ""
    hash: str = ""
    verified: bool = False


def check_file(path: str, name: str = "") -> CachedFile:
    """What is at ``path``, file ``name`` of a snapshot, without hashing it. Never raises :class:`OSError`."""
    try:
        if os.path.islink(path) and not os.path.lexists(os.path.realpath(path)):
            return CachedFile(name, path, "broken", detail=os.readlink(path))
        size = os.stat(path).st_size
        if not os.path.isfile(path):
            return CachedFile(name, path, "altered", detail="is not a file")
        with open(path, "rb") as stream:
            head = stream.read(1024)
        if head.startswith(b"version https://git-lfs.github.com/spec/v1"):
            return CachedFile(name, path, "pointer", size)
        if not os.path.islink(path) and _LINK_TEXT.fullmatch(head):
            return CachedFile(name, path, "lost", size)
        flaw, blob = _find_flaw(path, size, head), find_blob_name(path)
        kind = {64: "sha256", 40: "git-sha1"}.get(len(blob), "") if re.fullmatch("[0-9a-f]+", blob) else ""
        return CachedFile(name, path, "altered" if flaw else "ok", size, flaw, kind and f"{kind}:{blob}")
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a name with a NUL character
        return CachedFile(name, path, "missing")
    except OSError as error:
        return CachedFile(name, path, "unreadable", detail=str(error.strerror))


def _find_flaw(path: str, size: int, head: bytes) -> str:
    """What is wrong with the file's own structure, or ""; only what the format itself decides."""
    try:
        if size == 0 and path.endswith((".json", ".bin", ".pt", ".pth", ".ckpt", ".model")):
            return "is empty"
        if path.endswith((".safetensors.index.json", ".bin.index.json")):
            read_shard_index(path)
        elif path.endswith(".json"):
            with open(path, "rb") as stream:
                json.load(stream)
        elif path.endswith(".safetensors"):
            read_safetensors_header(path)
        elif head.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path):  # torch.save writes a zip file
            return f"is cut short: no end of its zip directory ({size:,} bytes)"
    except WeightsError as error:
        return str(error)
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({error})"
    return ""


def find_blob_name(path: str) -> str:
    """The name of the blob that a snapshot's file links to, or "" in a layout without links."""
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else ""


def hash_files(wanted: Iterable[Hashing], progress: Progress | None = None) -> dict[Hashing, str | OSError]:
    """Hash (path, kind) pairs: the hex hash of each, or the error that reading met."""
    found: dict[Hashing, str | OSError] = dict.fromkeys(wanted, "")
    total, done = sum(os.path.getsize(path) for path, _ in found), 0
    for path, kind in found:
        digest = hashlib.new(kind.removeprefix("git-"), usedforsecurity=False)
        try:
            with open(path, "rb", buffering=0) as stream:
                if kind == "git-sha1":  # as git hashes it
                    digest.update(b"blob %d\0" % os.path.getsize(path))
                while piece := stream.read(1 << 20):
                    digest.update(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done, total)
            found[path, kind] = digest.hexdigest()
        except OSError as error:
            found[path, kind] = error
    return found
