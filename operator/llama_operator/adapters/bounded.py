"""Answers of what tenants run, bounded as a whole: in time, since one that drips keeps every limit for a single read, and in bytes, since
all of it would be held in the operator's memory. What is parsed is held once at a time, as nothing else runs meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx

from llama_operator.api.depth import TooDeep, read_json

SMALL_BYTES = 64 << 10
"""Answers up to this size wait for no other one: hundreds of them take little memory."""


def make_client(timeout: float | httpx.Timeout, *, proxies: bool) -> httpx.AsyncClient:
    """A client whose requests never wait for one of its connections; `proxies`: whether those that the environment names are used.

    httpx allows 100. Where more requests than that time out together, httpcore 1.0.9 gives what becomes free to some that have ended
    already, and keeps those connections, which nobody ever begins, until none is left: from then on every request times out.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx.AsyncClient(timeout=timeout, trust_env=proxies, limits=limits)


async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    most_bytes: int,
    large: asyncio.Semaphore | None = None,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    seconds: float | None = None,
) -> httpx.Response:
    """The whole answer to one request, read already; redirects are answers.

    `seconds` are those of the client for a read where none are given. `large` is shared by the questions whose answers may have more than
    SMALL_BYTES: only so many of those are read at once, and the others wait, within their time, with what they have so far.

    Raises httpx.HTTPError, also for what is too slow, too long or compressed.
    """
    limits = client.timeout if seconds is None else httpx.Timeout(seconds)
    # Uncompressed: a few bytes could stand for any number.
    sent = client.build_request(method, url, json=body, headers={**(headers or {}), "Accept-Encoding": "identity"}, timeout=limits)
    raw = bytearray()
    try:
        async with asyncio.timeout(limits.read), AsyncExitStack() as place:
            answer = await client.send(sent, stream=True, follow_redirects=False)
            try:
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise httpx.RemoteProtocolError("the answer was sent compressed, unasked", request=sent)
                async for chunk in answer.aiter_bytes():
                    if large is not None and len(raw) <= SMALL_BYTES < len(raw) + len(chunk):
                        await place.enter_async_context(large)
                    raw += chunk
                    if len(raw) > most_bytes:
                        raise httpx.RemoteProtocolError(f"the answer has more than {most_bytes} bytes", request=sent)
            finally:
                await answer.aclose()
    except TimeoutError as error:
        raise httpx.ReadTimeout(f"no whole answer within {limits.read:g} s", request=sent) from error
    return httpx.Response(answer.status_code, content=bytes(raw), request=sent)


def parsed(answer: httpx.Response) -> Any:
    """What the JSON of an answer says. Raises ValueError."""
    try:
        return read_json(answer.content)
    except TooDeep:
        raise ValueError("JSON that is nested too deeply") from None
