"""Reads a model's config.json from the hub, so that a spec that cannot work is refused before any pod exists.

Only that: whatever goes wrong is a HubProblem, which means "unknown" and refuses nothing, for the pods check the model again and have the
user's token, which the operator by design cannot read. A gated model is therefore always unknown here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from llama_operator.api.depth import read_json

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 1 << 20
"""Bytes of config.json that are read; a Llama's has about 1,000."""

SECONDS = 10.0
"""For a whole answer, on whatever hosts it was sent to: one that drips keeps every limit for a single read."""

KEEP = 256
"""Answers that are remembered."""

SCHEME = "hf://"


@dataclass(frozen=True)
class HubProblem:
    """Why a config.json could not be read, in words."""

    message: str


class Hub:
    """Reads from one hub, and remembers: a pass at rest must not go there again."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: str,
        *,
        monotonic: Callable[[], float],
        retry_seconds: float = 300.0,
        keep_seconds: float = 3600.0,
        seconds: float = SECONDS,
    ) -> None:
        """`client` brings the time limit of each part, `seconds` is that of a whole answer. A config is asked for again after
        `keep_seconds` (a branch may move), a failure after `retry_seconds`.
        """
        self._client = client
        self._endpoint = endpoint.rstrip("/")
        self._monotonic = monotonic
        self._seconds = seconds
        self._retry_seconds = retry_seconds
        self._keep_seconds = keep_seconds
        self._known: dict[tuple[str, str], tuple[float, dict[str, Any] | HubProblem]] = {}

    async def read_config(self, source: str, revision: str | None = None) -> dict[str, Any] | HubProblem:
        """The parsed config.json of an `hf://` source at a revision (default: main)."""
        if not source.startswith(SCHEME):
            return HubProblem(f"{source} is not on the hub")
        if not self._endpoint:
            return HubProblem("the operator was given no hub")
        key, now = (source.removeprefix(SCHEME).strip("/"), revision or "main"), self._monotonic()
        if key in self._known and self._known[key][0] > now:
            return self._known[key][1]
        answer = await self._read(*key)
        if len(self._known) >= KEEP:
            del self._known[min(self._known, key=lambda known: self._known[known][0])]
        self._known[key] = now + (self._retry_seconds if isinstance(answer, HubProblem) else self._keep_seconds), answer
        return answer

    async def _read(self, repo: str, revision: str) -> dict[str, Any] | HubProblem:
        url = f"{self._endpoint}/{quote(repo)}/resolve/{quote(revision, safe='')}/config.json"
        raw = bytearray()
        try:
            async with asyncio.timeout(self._seconds), self._client.stream("GET", url, follow_redirects=True) as answer:
                if not answer.is_success:
                    return HubProblem(f"{url} answers {answer.status_code}")
                async for chunk in answer.aiter_bytes():
                    raw += chunk
                    if len(raw) > MAX_BYTES:
                        return HubProblem(f"{url} is larger than {MAX_BYTES} bytes")
        except TimeoutError:
            return HubProblem(f"{url}: no whole answer within {self._seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return HubProblem(f"{url}: {type(error).__name__} {error}".rstrip())
        return parse_config(bytes(raw), url)


def parse_config(raw: bytes, url: str) -> dict[str, Any] | HubProblem:
    """The object in the text of a config.json."""
    try:
        config = read_json(raw)
    except ValueError:
        return HubProblem(f"{url} is not JSON")
    return config if isinstance(config, dict) else HubProblem(f"{url} holds no JSON object")
