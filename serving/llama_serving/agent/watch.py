"""What the agent looks at, again and again: Ray's ports, the pod's proxy, the GCS's list of nodes. Each look has its own short timeout."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable

import aiohttp

from llama_serving import ray_internals
from llama_serving.agent.raystart import START_LABEL
from llama_serving.agent.settings import Settings

logger = logging.getLogger(__name__)

LOOK_TIMEOUT_SECONDS = 3.0


async def http_ok(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether a GET of `url` gives 200 in time."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=LOOK_TIMEOUT_SECONDS)) as response:
            return bool(response.status == 200)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def port_open(host: str, port: int) -> bool:
    """Whether something takes a connection at `host:port` in time."""
    try:
        # Not asyncio.wait_for: before Python 3.12 it loses a cancellation that comes in the moment of the answer, and a watcher that was
        # cancelled would watch for ever, with an agent that waits for its end (https://github.com/python/cpython/issues/86296).
        async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def own_node_id(settings: Settings, start: str) -> str | None:
    """The id of the Ray node of that start; None while it has not joined. Raises Ray's RPC errors when the GCS does not answer."""
    return find_node(await asyncio.to_thread(ray_internals.list_nodes, settings.gcs_address), start)


def find_node(nodes: Iterable[ray_internals.RayNode], start: str) -> str | None:
    """The live node of that start, not one of a predecessor with the same pod name."""
    return next((node.node_id for node in nodes if node.alive and node.labels.get(START_LABEL) == start), None)
