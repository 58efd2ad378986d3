"""A small Hugging Face Hub on 127.0.0.1: as much of its API as huggingface_hub 0.34 to 2.x asks for to download."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from caches import COMMIT, blob_name


@dataclass
class Repo:
    """What the Hub has of a repo. ``status``: 401, 403 or 404 in place of it; ``gated``: only its files are refused."""

    files: dict[str, bytes]
    commit: str = COMMIT
    status: int = 200
    gated: bool = False
    renamed: str = ""


@dataclass
class Hub:
    """The server's state. ``requests``: (method, path below the prefix) of all.

    ``token``: what the ``Authorization`` header has to bear, or "". ``cut``: file -> the byte where it always breaks.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    prefix: str = ""
    token: str = ""
    cut: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    endpoint: str = ""

    @property
    def fetched(self) -> list[str]:
        """The files whose content was requested, in order."""
        found = (re.fullmatch(r"/.+?/resolve/[^/]+/(.+)", path) for method, path in self.requests if method == "GET")
        return [match[1] for match in found if match]


@contextmanager
def serve(repos: dict[str, Repo], prefix: str = "") -> Iterator[Hub]:
    """Serve ``repos`` until the block ends; ``prefix``: a mirror's path before everything."""
    hub = Hub(repos, prefix)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}{prefix}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if not path.startswith(self.hub.prefix):
            return self.send_json(404, {"error": "outside of the mirror"})
        path = path.removeprefix(self.hub.prefix)
        self.hub.requests.append((self.command, path))
        api = re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+?)(?:/(revision|tree)/([^/]+)(/.*)?)?", path)
        resolve = re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", path)
        if api:
            return self.send_api(api[1], api[2] or "revision", api[3] or "main")
        if resolve:
            return self.send_file(resolve[1], resolve[2], resolve[3])
        return self.send_json(404, {"error": "not found"})

    def refuse(self, repo: Repo | None, revision: str) -> bool:
        """Whether the request is refused; the answer is then sent."""
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.send_json(401, {"error": "Invalid username or password."}, {"X-Error-Message": "Invalid username"})
        elif repo is None or repo.status == 404:
            self.send_json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif repo.status != 200:
            self.send_json(repo.status, {"error": "refused"})
        elif revision not in ("main", repo.commit):
            self.send_json(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        else:
            return False
        return True

    def send_api(self, repo_id: str, route: str, revision: str) -> None:
        repo = self.hub.repos.get(repo_id)
        if self.refuse(repo, revision):
            return None
        assert repo is not None
        entries = [_describe(name, content) for name, content in sorted(repo.files.items())]
        if route == "tree":
            return self.send_json(200, entries)
        info = {"id": repo.renamed or repo_id, "modelId": repo_id, "sha": repo.commit, "siblings": entries,
                "private": False, "gated": "auto" if repo.gated else False, "tags": [], "downloads": 0}  # fmt: skip
        return self.send_json(200, info)

    def send_file(self, repo_id: str, revision: str, name: str) -> None:
        repo = self.hub.repos.get(repo_id)
        if self.refuse(repo, revision):
            return None
        assert repo is not None
        if repo.gated:
            return self.send_json(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        if name not in repo.files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit}
            return self.send_json(404, {"error": "Entry not found"}, headers)
        content = repo.files[name]
        etag = blob_name(name, content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes",
                   "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}  # fmt: skip
        range_ = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(range_[1]) if range_ else 0
        if range_:
            self.hub.ranges.append(f"{name} from {start}")
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = max(self.hub.cut[name] - start, 0) if name in self.hub.cut else None
        return self.send_body(206 if range_ else 200, content[start:], headers, cut)

    def send_json(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        self.send_body(status, json.dumps(data).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send_body(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None and self.command == "GET":
            self.close_connection = True


def _describe(name: str, content: bytes) -> dict[str, Any]:
    blob = blob_name(name, content)
    lfs = {"sha256": blob, "oid": blob, "size": len(content), "pointerSize": 134}
    entry = {"type": "file", "rfilename": name, "path": name, "blobId": blob, "oid": blob, "size": len(content)}
    return entry | ({"lfs": lfs} if len(blob) == 64 else {})
