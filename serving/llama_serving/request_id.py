"""One id for a request: the client's `x-request-id` where it can be trusted in a log, else one made here.

It stands outermost in every HTTP server that Serve starts in a pod (RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH), before anything of Ray's
has read the header. HAProxy hands on whatever the client sent, and behind it Ray 2.60 answers with the first such header, logs the last,
fails a request whose id is no UTF-8, and lets ids of kilobytes, with blanks and line separators, into its log. So here:

    exactly one header of 1 to MOST_CHARACTERS characters of ALLOWED      kept
    anything else, and none                                               a random UUID

What is behind (Serve's access log, vLLM, our spans) sees that one id, and the answer carries it, whoever wrote the answer. No Ray here.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from llama_serving.asgi import App, Receive, Scope, Send

HEADER = b"x-request-id"
MOST_CHARACTERS = 128
"""A UUID has 36, AWS's X-Amzn-Trace-Id some 70."""
ALLOWED = re.compile(rb"[A-Za-z0-9._:=+-]{1,%d}" % MOST_CHARACTERS)
"""What UUIDs, ULIDs, W3C and AWS ids are made of: nothing that ends a line, divides fields or moves a terminal's cursor."""

IMPORT_PATH = "llama_serving.request_id:middlewares"

Headers = list[tuple[bytes, bytes]]


class RequestId:
    """The ASGI middleware."""

    def __init__(self, app: App, make: Callable[[], object] = uuid.uuid4) -> None:
        """`make` gives an id where the client gave none; its text counts."""
        self._app, self._make = app, make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app behind, with one id in the request and in the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        header = (HEADER, given(scope["headers"]) or str(self._make()).encode())

        async def answer(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*without(message.get("headers", ())), header]}
            await send(message)

        await self._app({**scope, "headers": [*without(scope["headers"]), header]}, receive, answer)


def given(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The client's id; None where there is none, where there are several, or where it has no place in a log."""
    values = [bytes(value) for name, value in headers if name.lower() == HEADER]
    return values[0] if len(values) == 1 and ALLOWED.fullmatch(values[0]) else None


def without(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The other headers."""
    return [(name, value) for name, value in headers if name.lower() != HEADER]


def middlewares() -> list[Any]:
    """What every HTTP server of a replica pod is to have around it; a head's are `hold.middlewares`."""
    from starlette.middleware import Middleware  # lazy: comes with Ray

    return [Middleware(RequestId)]
