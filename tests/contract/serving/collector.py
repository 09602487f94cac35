"""An OpenTelemetry collector as far as the tests need one (it takes OTLP over HTTP in a thread, and keeps the spans), and requests to trace."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from bench.endpoint.barehost import Pod

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT_SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{PARENT_SPAN}-01"
"""A client's trace context, as https://www.w3.org/TR/trace-context/ shows one."""
CANARY = "canary-of-a-prompt"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
"""Milliseconds after which spans are sent; the SDK's own are 5000."""


def post(pod: Pod, path: str, body: Any, headers: Sequence[tuple[str, str]]) -> tuple[int, list[str], str]:
    """One POST with headers as they are given, also twice: the status, the ids of the answer, its text."""
    connection = http.client.HTTPConnection(urlsplit(pod.url("http", "")).netloc, timeout=120)
    with contextlib.closing(connection):
        data = json.dumps(body).encode()
        connection.putrequest("POST", path)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers):
            connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        return answer.status, answer.headers.get_all("x-request-id") or [], answer.read().decode()


def logged(directory: Any) -> dict[str, str]:
    """Every log below a directory of Ray's, by its file's name: Ray's own and those of what it started."""
    found = [path for path in directory.rglob("logs/**/*") if path.is_file() and not path.is_symlink()]
    return {f"{number} {path.name}": path.read_text(encoding="utf-8", errors="replace") for number, path in enumerate(found)}


class Collector:
    """What came, and where it is to be sent."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.spans: list[tuple[Any, dict[str, str]]] = []
        """Spans as opentelemetry-proto has them, each with its process's attributes."""
        self.paths: set[str] = set()
        self.headers: dict[str, str] = {}
        """Of the last export."""
        self.raw = b""

    def take(self, path: str, body: bytes) -> None:
        """One export."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.paths.add(path)
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            of = {item.key: item.value.string_value for item in resource.resource.attributes}
            self.spans += [(span, of) for scope in resource.scope_spans for span in scope.spans]

    def of_trace(self, trace_id: str) -> dict[str, Any]:
        """The spans of one trace by name."""
        return {span.name: span for span, _ in list(self.spans) if span.trace_id.hex() == trace_id}


def attributes(span: Any) -> dict[str, Any]:
    """A span's attributes."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """One that listens, on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.headers = {name.lower(): value for name, value in self.headers.items()}
            made.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Collector(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
