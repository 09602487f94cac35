"""What the agent looks at, again and again: Ray's ports, the pod's proxy, the GCS's list of nodes. Each look has its own short timeout."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import aiohttp

from llama_serving import ray_internals
from llama_serving.agent.raystart import POD_LABEL
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
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), LOOK_TIMEOUT_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def own_node_id(settings: Settings) -> str | None:
    """The id of this pod's live Ray node; None while it has not joined. Raises Ray's RPC errors when the GCS does not answer."""
    nodes = await asyncio.to_thread(ray_internals.list_nodes, settings.gcs_address)
    return next((node.node_id for node in nodes if node.alive and node.labels.get(POD_LABEL) == settings.pod_name), None)
