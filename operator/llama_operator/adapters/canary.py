"""One small request through the Service, as a user makes it: how long until the first token."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import httpx

PROMPT = "Hello"
"""The same for every model, and no user's text."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a canary request ended. `seconds` to the first token where one came."""

    outcome: Literal["answered", "refused", "silent"]
    seconds: float | None = None


class HttpCanary:
    """Asks endpoints for one token."""

    def __init__(self, client: httpx.AsyncClient, clock: Callable[[], float] = time.perf_counter) -> None:
        """`client` brings the time limit: an answer that takes longer is none."""
        self._client, self._clock = client, clock

    async def ask(self, endpoint: str, model: str) -> Answer:
        """One token of `model` from the OpenAI API at `endpoint`. Never raises: no answer is silence."""
        body = {"model": model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0, "stream": True}
        begun = self._clock()
        try:
            async with self._client.stream("POST", f"{endpoint}/completions", json=body) as answer:
                if answer.status_code != httpx.codes.OK:
                    return Answer(outcome="refused")
                async for line in answer.aiter_lines():
                    # A stream that failed after its status says so in an event of its own.
                    if line.startswith("data:") and '"choices"' in line:
                        return Answer(outcome="answered", seconds=self._clock() - begun)
        except (httpx.HTTPError, httpx.InvalidURL):
            return Answer(outcome="silent")
        return Answer(outcome="refused")
