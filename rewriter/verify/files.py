"""Judge and hash the files of a snapshot: what each is, whether its own structure is complete, what its name says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from rewriter.verify.weights_files import WeightsError, read_safetensors_header

State = Literal["ok", "missing", "unreadable", "broken", "lost", "pointer", "altered"]
HashKind = Literal["sha256", "git-sha1", "sha1", "md5"]
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all), from one thread at a time."""

_POINTER = b"version https://git-lfs.github.com/spec/v1"
_LINK_TEXT = re.compile(rb"(\.\./)+blobs/[0-9a-f]{32,64}\s*")  # as git without core.symlinks and archives write a link
_HASH_KINDS: dict[int, HashKind] = {64: "sha256", 40: "git-sha1", 32: "md5"}
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file that a loader reads, and the state it is in.

    ``name``: posix path below the snapshot. ``size``: bytes. ``hash``: ``sha256:HEX`` or ``git-sha1:HEX``, or "" where
    neither the cache's layout nor hashing says it. ``verified``: the content was hashed and is what it should be.
    ``detail``: what was found, for the message; of a broken link, where it leads.
    """

    name: str
    path: str
    state: State = "ok"
    size: int = 0
    detail: str = ""
    hash: str = ""
    verified: bool = False
    error: OSError | None = None


def check_file(path: str, name: str = "") -> CachedFile:
    """What is at ``path``, file ``name`` of a snapshot, without hashing it. Never raises :class:`OSError`."""
    try:
        if os.path.islink(path) and not os.path.lexists(os.path.realpath(path)):
            return CachedFile(name, path, "broken", detail=os.path.join(os.path.dirname(path), os.readlink(path)))
        size = os.stat(path).st_size
        if not os.path.isfile(path):
            return CachedFile(name, path, "altered", detail="is not a file")
        with open(path, "rb") as stream:
            head = stream.read(1024)
        if head.startswith(_POINTER):
            return CachedFile(name, path, "pointer", size)
        if not os.path.islink(path) and _LINK_TEXT.fullmatch(head):
            return CachedFile(name, path, "lost", size)
        flaw = _find_flaw(path, size, head)
        return CachedFile(name, path, "altered" if flaw else "ok", size, flaw)
    except (FileNotFoundError, NotADirectoryError):
        return CachedFile(name, path, "missing")
    except OSError as error:  # no permission, a loop of links, an input/output error
        return CachedFile(name, path, "unreadable", error=error)


def _find_flaw(path: str, size: int, head: bytes) -> str:
    """What is wrong with the file's own structure, or ""; only what the format itself decides."""
    if size == 0:
        return "is empty" if path.endswith((".json", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".model")) else ""
    try:
        if path.endswith(".json"):
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


# --- blobs and their names --------------------------------------------------------------------------


def find_blob_name(path: str) -> str:
    """The name of the blob that a snapshot's file links to, or "" in a layout without links."""
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else ""


def format_hash(name: str) -> str:
    """What a blob's name says of its content: ``sha256:HEX`` (Git-LFS, Xet), ``git-sha1:HEX``, ``md5:HEX``, else ""."""
    kind = _HASH_KINDS.get(len(name)) if re.fullmatch(r"[0-9a-f]+", name) else None
    return f"{kind}:{name}" if kind else ""


def hash_file(path: str, kind: HashKind, on_bytes: Callable[[int], None] = lambda count: None) -> str:
    r"""The hash of a file's content in hex; "git-sha1" is sha1 over ``blob SIZE\0`` and the content.

    ``on_bytes`` is called after every buffer with the number of bytes read; what it raises ends the run.

    Raises:
        OSError: it cannot be opened or read.
    """
    digest = hashlib.new(kind.removeprefix("git-"), usedforsecurity=False)
    with open(path, "rb", buffering=0) as stream:
        if kind == "git-sha1":
            digest.update(b"blob %d\0" % os.fstat(stream.fileno()).st_size)
        while piece := stream.read(_BUFFER_BYTES):
            digest.update(piece)
            on_bytes(len(piece))
    return digest.hexdigest()


def hash_files(
    wanted: Iterable[tuple[str, HashKind]], progress: Progress | None = None
) -> dict[tuple[str, HashKind], str | OSError]:
    """Hash (path, kind) pairs on several threads: the hex hash of each, or the error that reading met.

    Ctrl-C stops every thread and is raised again.
    """
    items = list(dict.fromkeys(wanted))
    total, done = sum(os.path.getsize(path) for path, _ in items if os.path.exists(path)), 0
    lock, stop = threading.Lock(), threading.Event()

    def advance(count: int) -> None:
        nonlocal done
        if stop.is_set():
            raise InterruptedError
        with lock:
            done += count
            if progress is not None:
                progress(done, total)

    def hash_one(item: tuple[str, HashKind]) -> str | OSError:
        try:
            return hash_file(*item, advance)
        except OSError as error:
            return error

    with ThreadPoolExecutor() as pool:
        try:
            return dict(zip(items, pool.map(hash_one, items), strict=True))
        finally:
            stop.set()
