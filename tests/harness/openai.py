"""An OpenAI-compatible endpoint in a thread, that answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("The ", "capital ", "is ", "Paris.")


def events(words: Sequence[str] = WORDS, *, usage: bool = True, done: bool = True, finish: str = "stop") -> list[bytes]:
    """A stream as vLLM sends it."""
    pieces: list[Any] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}]
    pieces += [{"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in words]
    pieces.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        pieces.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(words)}})
    return [b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces] + ([b"data: [DONE]\n\n"] if done else [])


class Endpoint(ThreadingHTTPServer):
    """`asked` are the bodies that came, `headers` what came with them."""

    daemon_threads = True
    stream: Sequence[bytes] = ()
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.headers.append(dict(self.headers))
        self.send_response(self.server.status)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for part in self.server.stream:
            self.wfile.write(part)
            self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def endpoint(stream: Sequence[bytes], status: int = 200) -> Iterator[Endpoint]:
    """It, while the block runs."""
    with Endpoint() as server:
        server.stream, server.status = stream, status
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
