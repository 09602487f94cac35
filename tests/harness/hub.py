"""A small model hub that tests serve: the part of the Hugging Face hub's HTTP API that downloads use, and faults on order.

    with FakeHub({"org/llama": Repo(files={"config.json": b"{}"})}) as hub:
        ...  # HF_ENDPOINT=hub.url

It answers the listing of a commit, the tree, and `resolve` with HEAD, GET and Range, as huggingface_hub and `llama_serving.fetch` use
them. For a cluster, run it on an address that pods reach: `python -m tests.harness.hub --host 10.0.0.1 --port 8123 org/llama=FOLDER`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

LARGE_SUFFIX = ".safetensors"
"""Files that the hub keeps in its large-file store: these have a SHA-256 in the listing."""

PIECE = 1 << 16
"""Bytes that are written at a time."""


@dataclass(kw_only=True)
class Repo:
    """A model. `tokens`: who may read it, None for everybody. `commit` is what every branch names."""

    files: dict[str, bytes]
    tokens: set[str] | None = None
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    branches: tuple[str, ...] = ("main",)

    @classmethod
    def of_folder(cls, folder: Path) -> Repo:
        """The files of a folder."""
        return cls(files={path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})

    def has(self, revision: str) -> bool:
        """Whether it is a branch, or the commit."""
        return revision in {*self.branches, self.commit}


@dataclass(kw_only=True)
class Faults:
    """What goes wrong, and how often. Counters fall to 0 as the faults happen."""

    rate_limited: int = 0
    retry_after: int | str | None = 0
    server_errors: int = 0
    cuts: int = 0
    """Answers with a large file's body that end half way."""
    cut_after: int = 0
    """Bytes of the answer's body that come before the cut."""
    cut_hard: bool = False
    """Reset the connection instead of closing it."""
    ignore_range: bool = False
    damaged: int = 0
    """Large files whose first byte is wrong."""
    bytes_per_second: int | None = None
    listing: bytes | None = None
    """The body of every listing."""
    odd_ranges: bool = False
    """Answers to a Range say that they begin elsewhere."""
    answer: tuple[int, dict[str, str]] | None = None
    """The status and headers of every answer."""
    silent: bool = False
    """Requests are taken, and never answered while the hub runs."""
    compressed: bool = False
    """Files say that they are compressed."""
    to_other_host: bool = False
    """Redirect large files to another host, as the real hub does to its content network."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request and its answer."""

    method: str
    path: str
    status: int
    range: str | None
    authorization: str | None
    host: str


@dataclass(kw_only=True)
class _State:
    repos: dict[str, Repo]
    faults: Faults
    seen: list[Seen] = field(default_factory=list)
    sent: int = 0
    """Bytes of bodies that clients took, or that lie in their sockets' buffers."""
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, name: str) -> bool:
        """Whether that fault happens now; it is counted down."""
        with self.lock:
            left: int = getattr(self.faults, name)
            setattr(self.faults, name, max(0, left - 1))
            return left > 0


class FakeHub:
    """The server, in threads of its own, from `with` to its end."""

    def __init__(self, repos: dict[str, Repo], faults: Faults | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.state = _State(repos=repos, faults=faults or Faults())
        state = self.state

        class Handler(_Handler):
            hub = state

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] -- a client that goes away is part of the tests
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def faults(self) -> Faults:
        """The faults still to come."""
        return self.state.faults

    @property
    def seen(self) -> list[Seen]:
        """Every request so far."""
        return list(self.state.seen)

    @property
    def sent(self) -> int:
        """Bytes of bodies so far."""
        return self.state.sent

    def bodies(self, name: str) -> list[Seen]:
        """The GET requests for one file that gave some of it."""
        return [seen for seen in self.seen if seen.method == "GET" and seen.path.endswith(f"/{name}") and seen.status in {200, 206}]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.state.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: _State
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
        """Say nothing: `seen` holds it all."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.hub.faults.silent:
            self.hub.over.wait()
            self.close_connection = True
            return None
        if self.hub.faults.answer:
            status, headers = self.hub.faults.answer
            return self._send(status, b"as ordered", headers)
        if self.hub.take("rate_limited"):
            after = self.hub.faults.retry_after
            return self._send(429, b"slow down", {} if after is None else {"Retry-After": str(after)})
        if self.hub.take("server_errors"):
            return self._send(503, b"down")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+?))?/?", path):
            return self._listing(match[1], match[2] or "revision", match[3] or "main")
        if match := re.fullmatch(r"/(cdn/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", urlsplit(self.path).path):
            # As it was sent: a revision may hold an encoded slash, as refs%2Fpr%2F1 does.
            return self._file(unquote(match[2]), unquote(match[3]), unquote(match[4]), from_cdn=bool(match[1]))
        return self._send(404, b"no such page")

    def _repo(self, name: str, revision: str) -> Repo | None:
        """The repository that this caller may read, else None after an answer that says why not."""
        repo, token = self.hub.repos.get(name), (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repo is None:
            # As the real hub: without a token nobody learns which names exist.
            self._send(404 if token else 401, b"not found", {"X-Error-Code": "RepoNotFound"})
        elif repo.tokens is not None and token not in repo.tokens:
            self._send(403 if token else 401, b"gated", {"X-Error-Code": "GatedRepo"})
        elif not repo.has(revision):
            self._send(404, b"no revision", {"X-Error-Code": "RevisionNotFound"})
        else:
            return repo
        return None

    def _listing(self, name: str, kind: str, revision: str) -> None:
        repo = self._repo(name, revision)
        if repo is None:
            return None
        if self.hub.faults.listing is not None:
            return self._send(200, self.hub.faults.listing)
        if kind == "tree":
            body = json.dumps([_tree_entry(file, data) for file, data in repo.files.items()])
        else:
            body = json.dumps({"id": name, "sha": repo.commit, "siblings": [_sibling(file, data) for file, data in repo.files.items()]})
        return self._send(200, body.encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, file: str, *, from_cdn: bool) -> None:
        repo = self.hub.repos.get(name) if from_cdn else self._repo(name, revision)
        if repo is None:
            return None
        data = repo.files.get(file)
        if data is None:
            return self._send(404, b"no file", {"X-Error-Code": "EntryNotFound"})
        large = file.endswith(LARGE_SUFFIX)
        digest = hashlib.sha256(data).hexdigest() if large else _git_sha1(data)
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        if large:
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
            if self.hub.faults.to_other_host and not from_cdn:
                # Another name of the same server is another host to every HTTP client.
                port = self.server.server_address[1]
                return self._send(302, b"", headers | {"Location": f"http://localhost:{port}/cdn{self.path}"})
        if large and self.command == "GET" and self.hub.take("damaged"):
            data = bytes([data[0] ^ 1]) + data[1:]
        return self._body(data, headers, large=large)

    def _body(self, data: bytes, headers: dict[str, str], *, large: bool) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if self.hub.faults.compressed:
            headers |= {"Content-Encoding": "gzip"}
        if not wanted or self.hub.faults.ignore_range:
            return self._send(200, data, headers, large=large)
        start = int(wanted[1]) - self.hub.faults.odd_ranges
        end = min(int(wanted[2]) + 1, len(data)) if wanted[2] else len(data)
        if start >= len(data):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        return self._send(206, data[start:end], headers | {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}, large=large)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, large: bool = False) -> None:
        given, range_, authorization = self.headers, self.headers.get("Range"), self.headers.get("Authorization")
        seen = Seen(method=self.command, path=self.path, status=status, range=range_, authorization=authorization, host=given["Host"])
        with self.hub.lock:
            self.hub.seen.append(seen)
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if large and self.hub.take("cuts"):
            self._write(body[: self.hub.faults.cut_after])
            self._cut()
            return
        self._write(body)

    def _write(self, body: bytes) -> None:
        rate = self.hub.faults.bytes_per_second
        if rate is None:
            for start in range(0, len(body), PIECE):
                self.wfile.write(body[start : start + PIECE])
                with self.hub.lock:
                    self.hub.sent += len(body[start : start + PIECE])
            return
        piece = max(1, rate // 20)
        for start in range(0, len(body), piece):
            self.wfile.write(body[start : start + piece])
            time.sleep(0.05)  # noqa: TID251 -- the pace of a slow hub is what is being made

    def _cut(self) -> None:
        """End the connection in the middle of an answer."""
        self.close_connection = True
        self.wfile.flush()
        if self.hub.faults.cut_hard:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() then sends a reset
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)


def _sibling(name: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": _git_sha1(data)}
    if name.endswith(LARGE_SUFFIX):
        entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def _tree_entry(name: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": _git_sha1(data)}
    if name.endswith(LARGE_SUFFIX):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def _git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def main() -> None:
    """Serve folders until interrupted."""
    parser = argparse.ArgumentParser(description="A small model hub for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", action="append", help="make every model gated; this token may read it")
    parser.add_argument("models", nargs="+", metavar="ORG/NAME=FOLDER")
    options = parser.parse_args()
    repos = {}
    for item in options.models:
        name, _, folder = item.partition("=")
        repos[name] = Repo.of_folder(Path(folder))
        repos[name].tokens = set(options.token) if options.token else None
    with FakeHub(repos, host=options.host, port=options.port) as hub:
        print(hub.url, flush=True)  # noqa: T201 -- the caller reads the address here
        threading.Event().wait()


if __name__ == "__main__":
    main()
