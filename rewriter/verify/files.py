"""Judge one file of a snapshot without hashing it: what it is, and whether its own structure is complete."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rewriter.verify.hashing import HashKind
from rewriter.verify.weights_files import WeightsError, read_safetensors_header

State = Literal["ok", "missing", "unreadable", "broken", "lost", "pointer", "altered"]

_POINTER = b"version https://git-lfs.github.com/spec/v1"
_POINTER_SIZE = re.compile(rb"^size (\d+)$", re.MULTILINE)
# A link written out as text, by git without core.symlinks, an archive or an SMB share ("XSym", length, md5, target).
_LINK_TEXT = re.compile(
    rb"(?:XSym\n\d{4}\n[0-9a-f]{32}\n)?(?:\.\.[/\\])+blobs[/\\](?:[0-9a-f]{2}[/\\])?[0-9a-f]{32,64}\s*"
)
_HEAD_BYTES = 2048
_LINK_TEXT_BYTES = 1100  # an XSym file is 1067 bytes long
_JSON_BYTES = 64 << 20
_ZIP_TAIL_BYTES = 22 + 65535  # the end record and the longest comment
_LINK_STEPS = 16
_HASH_KINDS: Mapping[int, HashKind] = {64: "sha256", 40: "git-sha1", 32: "md5"}


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file's state. ``detail``: what was found, for the message. ``target``: where a broken link leads."""

    state: State
    path: str
    size: int = 0
    detail: str = ""
    target: str = ""
    error: OSError | None = None


def check_file(path: str) -> CheckedFile:
    """What is at ``path`` in a snapshot. Never raises :class:`OSError`; never writes."""
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return _check_regular(path, linked=False)
        try:
            os.stat(path)
        except FileNotFoundError:
            target = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
            return CheckedFile("broken", path, target=target)
        return _check_regular(path, linked=True)
    except (FileNotFoundError, NotADirectoryError):
        return CheckedFile("missing", path)
    except OSError as error:  # no permission, a loop of links, an input/output error
        return CheckedFile("unreadable", path, error=error)


def _check_regular(path: str, *, linked: bool) -> CheckedFile:
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        return CheckedFile("altered", path, detail="is not a file")
    size = info.st_size
    with open(path, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith(_POINTER):
        noted = _POINTER_SIZE.search(head)
        return CheckedFile("pointer", path, size, f"of {int(noted[1]):,} bytes" if noted else "")
    if not linked and size <= _LINK_TEXT_BYTES and _LINK_TEXT.fullmatch(head):
        return CheckedFile("lost", path, size)
    flaw = _find_flaw(path, size, head)
    return CheckedFile("altered", path, size, flaw) if flaw else CheckedFile("ok", path, size)


def _find_flaw(path: str, size: int, head: bytes) -> str:
    """What is wrong with the file's own structure, or ""; only what the format itself decides."""
    if path.endswith(".json"):
        return _find_json_flaw(path, size)
    if path.endswith(".safetensors"):
        try:
            read_safetensors_header(path)
        except WeightsError as error:
            return str(error)
        return ""
    if path.endswith((".bin", ".pt", ".pth", ".ckpt")):
        return "is empty" if size == 0 else _find_zip_flaw(path, size) if head.startswith(b"PK\x03\x04") else ""
    return "is empty" if size == 0 and path.endswith(".model") else ""


def _find_json_flaw(path: str, size: int) -> str:
    if size > _JSON_BYTES:
        return ""
    try:
        with open(path, "rb") as stream:
            json.loads(stream.read())
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({error})" if size else "is empty"
    return ""


def _find_zip_flaw(path: str, size: int) -> str:
    """torch.save writes a zip file: its end record is at the end, and is lost by cutting."""
    with open(path, "rb") as stream:
        stream.seek(max(0, size - _ZIP_TAIL_BYTES))
        return "" if b"PK\x05\x06" in stream.read() else f"is cut short: no end of its zip directory ({size:,} bytes)"


# --- blobs and their names --------------------------------------------------------------------------


def find_blob_name(path: str) -> str:
    """The name of the first blob that a snapshot's file leads to, or "" in a layout without links."""
    for _ in range(_LINK_STEPS):
        try:
            target = os.readlink(path)
        except OSError:
            return ""
        path = os.path.join(os.path.dirname(path), target)
        folder, name = os.path.split(path)
        if os.path.basename(folder) == "blobs" or re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name):
            return name
    return ""


def get_hash_kind(name: str) -> HashKind | None:
    """How a blob of that name is hashed: 64 digits sha256, 40 as git does, 32 md5; None for another ETag."""
    return _HASH_KINDS.get(len(name)) if re.fullmatch(r"[0-9a-f]+", name) else None


def format_hash(name: str) -> str:
    """``sha256:HEX`` for 64 digits (Git-LFS, Xet), ``git-sha1:HEX`` for 40 (plain git), else ""."""
    kind = get_hash_kind(name)
    return f"{kind}:{name}" if kind in ("sha256", "git-sha1") else ""
