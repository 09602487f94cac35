"""The canary: now and then one request to every LlamaDeployment that serves, so that its time to first token is known from outside.

Off unless an interval is set: it is a real request, takes a place in a batch, counts as traffic, and keeps GPUs from counting as idle.
Where replicas may go to zero none is sent: it would be a request that keeps the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from llama_operator.adapters.canary import HttpCanary
from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.control.store import Store
from llama_operator.rendering import names

log = structlog.get_logger(__name__)

AT_ONCE = 8
"""Requests under way at the same time."""


async def look_around(canary: HttpCanary, store: Store, own: OwnMetrics) -> None:
    """Ask every LlamaDeployment that has a ready replica and never goes to zero, once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(key: names.Key) -> None:
        try:
            raw = store.deployment(key) or {}
            status, spec = raw.get("status") or {}, raw.get("spec") or {}
            if not status.get("readyReplicas") or not status.get("endpoint") or may_sleep(spec):
                return
            async with gate:
                answer = await canary.ask(str(status["endpoint"]), str(spec["model"].get("servedName") or key.name))
        except Exception:  # what a tenant wrote, or what a tenant's server says, must not end the operator of all the others
            log.exception("the canary failed", deployment=str(key))
            return
        own.canary(key, answer.outcome, answer.seconds)

    await asyncio.gather(*(ask(key) for key in store.deployments()))


def may_sleep(spec: Mapping[str, Any]) -> bool:
    """minReplicas is 0, always or in a window: a canary request counts as one, so that an idle replica would never go."""
    scaling = spec.get("autoscaling") or {}
    return 0 in [part.get("minReplicas") for part in (scaling, *(scaling.get("schedules") or []))]


async def canary_forever(canary: HttpCanary, store: Store, own: OwnMetrics, interval: float) -> None:
    """Look around every `interval` seconds, for ever."""
    while True:
        await asyncio.sleep(interval)
        await look_around(canary, store, own)
