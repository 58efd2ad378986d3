"""Judge one file of a snapshot without hashing it: what it is, and whether its own structure is whole."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "missing", "unreadable", "broken", "lost", "pointer", "altered"]

_POINTER = b"version https://git-lfs.github.com/spec/v1"
_POINTER_SIZE = re.compile(rb"^size (\d+)$", re.MULTILINE)
# A link written out as text, by git without core.symlinks, an archive or an SMB share ("XSym", length, md5, target).
_PLACEHOLDER = re.compile(
    rb"(?:XSym\n\d{4}\n[0-9a-f]{32}\n)?(?:\.\.[/\\])+blobs[/\\](?:[0-9a-f]{2}[/\\])?[0-9a-f]{40,64}\s*"
)
_BLOB_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HEAD_BYTES = 2048
_PLACEHOLDER_BYTES = 1100  # an XSym file is 1067 bytes long
_JSON_BYTES = 64 << 20
_SAFETENSORS_HEADER_BYTES = 100 << 20  # the format's own limit
_ZIP_TAIL_BYTES = 22 + 65535  # the end record and the longest comment
_LINK_STEPS = 16


@dataclass(frozen=True, slots=True)
class Judged:
    """One file's state. ``detail``: what was found, for the message. ``target``: where a broken link leads."""

    state: State
    path: str
    size: int = 0
    detail: str = ""
    target: str = ""
    error: OSError | None = None


def judge(path: str) -> Judged:
    """Say what stands at ``path`` in a snapshot. Never raises :class:`OSError`; never writes."""
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return _judge_regular(path, linked=False)
        try:
            os.stat(path)
        except FileNotFoundError:
            return Judged(
                "broken", path, target=os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
            )
        return _judge_regular(path, linked=True)
    except (FileNotFoundError, NotADirectoryError):
        return Judged("missing", path)
    except OSError as error:  # no permission, a loop of links, an input/output error
        return Judged("unreadable", path, error=error)


def _judge_regular(path: str, linked: bool) -> Judged:
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        return Judged("altered", path, detail="is not a file")
    size = info.st_size
    with open(path, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith(_POINTER):
        told = _POINTER_SIZE.search(head)
        return Judged("pointer", path, size, f"of {int(told[1]):,} bytes" if told else "")
    if not linked and size <= _PLACEHOLDER_BYTES and _PLACEHOLDER.fullmatch(head):
        return Judged("lost", path, size)
    flaw = _flaw(path, size, head)
    return Judged("altered", path, size, flaw) if flaw else Judged("ok", path, size)


def _flaw(path: str, size: int, head: bytes) -> str:
    """What is wrong with the file's own structure, or ""; only what the format itself decides."""
    if path.endswith(".json"):
        return _json_flaw(path, size)
    if path.endswith(".safetensors"):
        return _safetensors_flaw(path, size, head)
    if path.endswith((".bin", ".pt", ".pth", ".ckpt")):
        return "is empty" if size == 0 else _zip_flaw(path, size) if head.startswith(b"PK\x03\x04") else ""
    return "is empty" if size == 0 and path.endswith(".model") else ""


def _json_flaw(path: str, size: int) -> str:
    import json

    if size > _JSON_BYTES:
        return ""
    try:
        with open(path, "rb") as stream:
            json.loads(stream.read())
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({error})" if size else "is empty"
    return ""


def _safetensors_flaw(path: str, size: int, head: bytes) -> str:
    """The header says to the byte how long the file is: 8 + header + the largest end of a tensor's data."""
    import json

    length = int.from_bytes(head[:8], "little")
    if size < 8 or length > _SAFETENSORS_HEADER_BYTES or 8 + length > size:
        return f"is cut short or no safetensors file ({size:,} bytes)"
    with open(path, "rb") as stream:
        stream.seek(8)
        text = stream.read(length)
    try:
        header = json.loads(text)
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return "has a safetensors header that cannot be read"
    should = 8 + length + max(ends, default=0)
    return "" if size == should else f"has {size:,} bytes, its safetensors header says {should:,}"


def _zip_flaw(path: str, size: int) -> str:
    """torch.save writes a zip file: its end record stands at the end, and is lost by cutting."""
    with open(path, "rb") as stream:
        stream.seek(max(0, size - _ZIP_TAIL_BYTES))
        return "" if b"PK\x05\x06" in stream.read() else f"is cut short: no end of its zip directory ({size:,} bytes)"


def blob_name(path: str) -> str:
    """The hash that a snapshot's file is named by (the first blob on its way), or "" in a layout without links."""
    for _ in range(_LINK_STEPS):
        try:
            target = os.readlink(path)
        except OSError:
            return ""
        path = os.path.join(os.path.dirname(path), target)
        if _BLOB_NAME.fullmatch(os.path.basename(path)):
            return os.path.basename(path)
    return ""


def named_hash(hexadecimal: str) -> str:
    """``sha256:HEX`` for 64 digits (Git-LFS, Xet), ``git-sha1:HEX`` for 40 (plain git), "" for none."""
    if not hexadecimal:
        return ""
    return f"{'sha256' if len(hexadecimal) == 64 else 'git-sha1'}:{hexadecimal}"
