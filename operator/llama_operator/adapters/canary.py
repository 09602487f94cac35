"""One small request through the Service, as a user makes it: how long until the first token.

What answers is a tenant's: its answer is bounded in time and in bytes, and read as UTF-8 whatever charset or encoding it names.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

import httpx

PROMPT = "Hello"
"""The same for every model, and no user's text."""
SECONDS = 60.0
"""For the whole request: a server that sends a comment now and then keeps any limit for a single read."""
BYTES = 64 * 1024
"""Of an answer that are read. The event of one token takes some hundred."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a canary request ended. `seconds` to the first token where one came."""

    outcome: Literal["answered", "refused", "silent"]
    seconds: float | None = None


class HttpCanary:
    """Asks endpoints for one token."""

    def __init__(self, client: httpx.AsyncClient, clock: Callable[[], float] = time.perf_counter, seconds: float = SECONDS) -> None:
        """An answer that takes longer than `seconds`, or than `client` waits for a read, is none."""
        self._client, self._clock, self._seconds = client, clock, seconds

    async def ask(self, endpoint: str, model: str) -> Answer:
        """One token of `model` from the OpenAI API at `endpoint`. Never raises for what an endpoint does: no answer is silence."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(endpoint, model)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return Answer(outcome="silent")

    async def _ask(self, endpoint: str, model: str) -> Answer:
        body = {"model": model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0, "stream": True}
        begun = self._clock()
        # Uncompressed, and read as it comes: a few bytes could stand for any number.
        plain = {"Accept-Encoding": "identity"}
        async with self._client.stream("POST", f"{endpoint}/completions", json=body, headers=plain) as answer:
            if answer.status_code != httpx.codes.OK:
                return Answer(outcome="refused")
            async for line in _lines(answer.aiter_raw()):
                # A stream that failed after its status says so in an event of its own.
                if line.startswith("data:") and '"choices"' in line:
                    return Answer(outcome="answered", seconds=self._clock() - begun)
        return Answer(outcome="refused")


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The lines of the first BYTES, each as soon as it has come; the last one may have no end."""
    rest, left = b"", BYTES
    async for chunk in chunks:
        rest += chunk[:left]
        left -= len(chunk)
        if b"\n" in chunk:
            *whole, rest = rest.split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
        if left <= 0:
            break
    yield rest.decode(errors="replace")
