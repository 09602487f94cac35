"""One time for a whole answer of Prometheus, and words for what came instead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import httpx

from llama_operator.scaling.signals import Missing


async def in_time(client: httpx.AsyncClient, url: str, reading: Awaitable[Any]) -> Any:
    """What `reading` gives, or a Missing that says what came instead.

    httpx allows the client's time for each part of an answer; here it is for the whole: one that drips would never be given up.
    """
    try:
        async with asyncio.timeout(client.timeout.read):
            return await reading
    except TimeoutError:
        why = f"no whole answer within {client.timeout.read:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = f"{type(error).__name__} {error}".rstrip()
    return Missing(reason="PrometheusUnreachable", message=f"Prometheus at {url}: {why}")
