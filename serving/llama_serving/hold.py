"""How long and how many requests are held while no replica runs: bounds around Serve's proxy on the head, and an honest answer beyond them.

While nothing runs, HAProxy on the head hands every request to Serve's proxy, which keeps it until a replica takes it: for ever, and as many
as come. Serve calls `middlewares` when its proxy starts (RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH), and this stands before it:

    more than MOST_HELD wait already      503 at once
    one waited LONGEST_SECONDS            503

each with a Retry-After: what the last wait for a replica took, less what this one has lasted; before one was seen, UNKNOWN_SECONDS. What
waits is measured up to the first byte of the answer. Around it stand what gives each request one id and, where traces are wanted, a span
for the wait. No Ray here.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from llama_serving import request_id, tracing
from llama_serving.asgi import App, Receive, Scope, Send

MOST_HELD = 1000
"""Requests: of 100 kB each, which is a long prompt, 100 MB in a pod that asks for 1 GiB."""
LONGEST_SECONDS = 1800.0
"""Longer than any load that was measured; a client that wants less gives up by itself (OpenAI's own after 10 minutes,
https://github.com/openai/openai-python#timeouts), and is forgotten at once."""
UNKNOWN_SECONDS, LEAST_RETRY_SECONDS = 60.0, 5.0

HELD_VARIABLE, SECONDS_VARIABLE = "LLAMA_HOLD_REQUESTS", "LLAMA_HOLD_SECONDS"
IMPORT_PATH = "llama_serving.hold:middlewares"


class Hold:
    """The ASGI middleware."""

    def __init__(
        self, app: App, most: int = MOST_HELD, longest: float = LONGEST_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` gives seconds."""
        self._app, self._most, self._longest, self._clock = app, most, longest, clock
        self.waiting = 0
        """Requests without a first byte of their answer."""
        self._since: float | None = None
        """When the oldest wait for a replica began."""
        self._took: float | None = None
        """What the last one took."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve's proxy, within the bounds."""
        if scope["type"] != "http" or scope.get("method") != "POST" or not scope.get("path", "").startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        if self.waiting >= self._most:
            await self._refuse(send, f"{self.waiting} requests wait for a replica already")
            return
        begun, given_up = asyncio.Event(), asyncio.Event()

        async def relay(message: dict[str, Any]) -> None:
            if given_up.is_set():
                return  # what Serve says of a request that was taken from it
            if not begun.is_set():
                self._leave(served=message.get("status", 500) < 500)
                begun.set()
            await send(message)

        self._enter()
        work, first = asyncio.ensure_future(self._app(scope, receive, relay)), asyncio.ensure_future(begun.wait())
        try:
            await asyncio.wait({work, first}, timeout=self._longest, return_when=asyncio.FIRST_COMPLETED)
            if begun.is_set() or work.done():
                await work
            else:
                given_up.set()
        finally:
            first.cancel()
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            if not begun.is_set():
                self._leave(served=False)
        if given_up.is_set():
            await self._refuse(send, f"no replica was there within {self._longest:.0f} s")

    def _enter(self) -> None:
        self.waiting += 1
        if self._since is None:
            self._since = self._clock()

    def _leave(self, *, served: bool) -> None:
        self.waiting -= 1
        if served and self._since is not None:
            self._took = self._clock() - self._since
            self._since = None
        if not self.waiting:
            self._since = None

    def retry_after(self) -> int:
        """Seconds until a replica is likely to be there."""
        if self._took is None:
            return round(UNKNOWN_SECONDS)
        lasted = 0.0 if self._since is None else self._clock() - self._since
        return round(max(self._took - lasted, LEAST_RETRY_SECONDS))

    async def _refuse(self, send: Send, why: str) -> None:
        seconds = self.retry_after()
        words = f"The model is scaled to zero or still loads, and {why}. Try again in {seconds} s."
        body = json.dumps({"error": {"message": words, "type": "service_unavailable", "code": 503}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers.append((b"retry-after", str(seconds).encode()))
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def middlewares() -> list[Any]:
    """What Serve's proxy is to have around it, innermost first."""
    from starlette.middleware import Middleware  # lazy: comes with Ray

    most, longest = _setting(HELD_VARIABLE, MOST_HELD), _setting(SECONDS_VARIABLE, LONGEST_SECONDS)
    config = tracing.configured(os.environ)
    spans = [Middleware(tracing.Spans, part="proxy", start=partial(tracing.start, config))] if config else []
    return [Middleware(Hold, most=int(most), longest=longest), *spans, *request_id.middlewares()]


def _setting(name: str, otherwise: float) -> float:
    """A whole number above 0 from the environment; what is none does not count: the proxy must start."""
    text = os.environ.get(name, "")
    return float(text) if text.isascii() and text.isdigit() and int(text) > 0 else float(otherwise)
