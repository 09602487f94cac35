"""The canary: now and then one request to every LlamaDeployment that serves, so that its time to first token is known from outside.

Off unless an interval is set: it is a real request, takes a place in a batch, counts as traffic, and keeps GPUs from counting as idle.
"""

from __future__ import annotations

import asyncio

from llama_operator.adapters.canary import HttpCanary
from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.control.store import Store
from llama_operator.rendering import names

AT_ONCE = 8
"""Requests under way at the same time."""


async def look_around(canary: HttpCanary, store: Store, own: OwnMetrics) -> None:
    """Ask every LlamaDeployment that has a ready replica, once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(key: names.Key, endpoint: str, model: str) -> None:
        async with gate:
            answer = await canary.ask(endpoint, model)
        own.canary(key, answer.outcome, answer.seconds)

    asked = []
    for key in store.deployments():
        raw = store.deployment(key) or {}
        status, model = raw.get("status") or {}, (raw.get("spec") or {}).get("model") or {}
        if status.get("readyReplicas") and status.get("endpoint"):
            asked.append(ask(key, str(status["endpoint"]), str(model.get("servedName") or key.name)))
    await asyncio.gather(*asked)


async def canary_forever(canary: HttpCanary, store: Store, own: OwnMetrics, interval: float) -> None:
    """Look around every `interval` seconds, for ever."""
    while True:
        await asyncio.sleep(interval)
        await look_around(canary, store, own)
