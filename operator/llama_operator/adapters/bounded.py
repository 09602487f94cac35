"""Answers of what tenants run, bounded as a whole: in time, since one that drips keeps every limit for a single read, and in bytes, since
all of it would be held in the operator's memory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx


async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    most_bytes: int,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    seconds: float | None = None,
) -> httpx.Response:
    """The whole answer to one request, read already; redirects are answers.

    `seconds` are those of the client for a read where none are given. Raises httpx.HTTPError, also for what is too slow, too long or
    compressed.
    """
    limits = client.timeout if seconds is None else httpx.Timeout(seconds)
    # Uncompressed: a few bytes could stand for any number.
    sent = client.build_request(method, url, json=body, headers={**(headers or {}), "Accept-Encoding": "identity"}, timeout=limits)
    raw = bytearray()
    try:
        async with asyncio.timeout(limits.read):
            answer = await client.send(sent, stream=True, follow_redirects=False)
            try:
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise httpx.RemoteProtocolError("the answer was sent compressed, unasked", request=sent)
                async for chunk in answer.aiter_bytes():
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
        return json.loads(answer.content)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
