"""The composition root: builds every part, and runs them until one of them ends.

    standby   health port, then wait for the Lease
    leader    key for Ray's tokens -> first resync -> Kopf, workers, resync, Lease renewal

Whatever ends, ends the process: a pod that lost the Lease, or whose watch died, must not look alive. A pass that fails is no such end.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from functools import partial
from typing import Any

import httpx
import structlog

from llama_operator.adapters.agents import HttpAgents
from llama_operator.adapters.bounded import make_client
from llama_operator.adapters.canary import HttpCanary
from llama_operator.adapters.clock import SystemClock
from llama_operator.adapters.events import Events
from llama_operator.adapters.http_server import HttpServer
from llama_operator.adapters.hub import Hub
from llama_operator.adapters.kube import Kube, apart, connect
from llama_operator.adapters.lease import Lease
from llama_operator.adapters.model_files.hub import HubReader
from llama_operator.adapters.models import KnownModels
from llama_operator.adapters.own_metrics import OwnMetrics
from llama_operator.adapters.prometheus import Prometheus
from llama_operator.adapters.ray_serve import RayServe
from llama_operator.control.begin import begin
from llama_operator.control.canary import canary_forever
from llama_operator.control.execute import Hands
from llama_operator.control.gather import Senses
from llama_operator.control.handlers import observe, watch
from llama_operator.control.health import Health
from llama_operator.control.parts import run_until_one_ends, unless_ended
from llama_operator.control.reconcile import Reconciler, run_worker
from llama_operator.control.resync import resync_forever
from llama_operator.control.rooms import Rooms
from llama_operator.control.scalers import Scalers
from llama_operator.control.settings import Settings
from llama_operator.control.store import Store
from llama_operator.control.workqueue import WorkQueue, share
from llama_operator.rendering import names

log = structlog.get_logger(__name__)

AGENT_TIMEOUT = httpx.Timeout(3.0, connect=1.5)
HUB_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
CANARY_TIMEOUT = httpx.Timeout(60.0, connect=2.0)
SERVE_TIMEOUT = httpx.Timeout(8.0, connect=2.0)


async def run(settings: Settings) -> None:
    """Run the operator until it is told to stop. Raises what ended it otherwise."""
    own = OwnMetrics()
    own.tell_api_prices(settings.api_prices)
    lease = Lease(settings.namespace, settings.lease_name, f"{settings.pod_name}_{uuid.uuid4().hex[:8]}", settings.lease_seconds)
    health = Health(held=lambda: lease.held)
    own.leading.set_function(lambda: 1.0 if lease.held and not health.trouble else 0.0)
    server = HttpServer(healthy=health.healthy, ready=health.ready, expose=own.exposition)
    await server.start(settings.health_port, settings.metrics_port)
    api = await connect(settings.kubeconfig, settings.kube_context)
    unguarded = Kube(apart(api), on_error=own.refused, patience=lease.turn)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        health.standby = True
        if not await _first(stop, lease.acquire(unguarded)):
            return
        health.led = True
        await _lead(settings, own, lease, Kube(api, lease.guard, own.wrote, own.refused), unguarded, stop, health)
    finally:
        await lease.release(unguarded)
        await unguarded.close()
        await api.close()
        await server.stop()


async def _lead(
    settings: Settings, own: OwnMetrics, lease: Lease, kube: Kube, unguarded: Kube, stop: asyncio.Event, health: Health
) -> None:
    store = Store()
    queue = WorkQueue[names.Key](tenant=lambda key: key.namespace, most=share(settings.workers))
    own.queue_depth.set_function(lambda: float(len(queue)))
    own.queue_oldest.set_function(queue.oldest_seconds)
    async with (
        make_client(AGENT_TIMEOUT, proxies=False) as agent_client,
        make_client(SERVE_TIMEOUT, proxies=False) as serve_client,
        make_client(settings.prometheus_timeout_seconds, proxies=True) as prometheus_client,
        make_client(HUB_TIMEOUT, proxies=True) as hub_client,
        make_client(CANARY_TIMEOUT, proxies=False) as canary_client,
    ):
        # The Lease is renewed from the very start: the first resync of a large cluster may take longer than the Lease lasts.
        keeper = asyncio.create_task(lease.keep(unguarded), name="lease")
        tokens = await unless_ended(begin(kube, unguarded, store, queue, settings, health), keeper, stop)
        if tokens is None:
            return
        agents, serve, clock = HttpAgents(agent_client), RayServe(serve_client), SystemClock()
        rooms = Rooms(reader=kube, clock=clock)
        reconciler = Reconciler(
            senses=Senses(reader=kube, agents=agents, serve=serve, tokens=tokens, store=store, rooms=rooms),
            hands=Hands(writer=kube, agents=agents, serve=serve, tokens=tokens, store=store),
            metrics=Prometheus(prometheus_client, settings.prometheus_url),
            events=Events(kube, "llama-operator", settings.pod_name),
            own=own,
            clock=clock,
            settings=settings,
            rooms=rooms,
            scalers=Scalers(reader=kube, clock=clock),
            models=KnownModels(
                HubReader(hub_client, settings.hub_endpoint) if settings.hub_endpoint else None,
                Hub(hub_client, settings.hub_endpoint, monotonic=time.monotonic),
                monotonic=time.monotonic,
            ),
        )
        parts = [
            keeper,
            asyncio.create_task(resync_forever(kube, store, queue, settings), name="resync"),
            *(asyncio.create_task(run_worker(reconciler, queue), name=f"worker-{index}") for index in range(settings.workers)),
        ]
        if settings.canary_interval_seconds:
            watcher = canary_forever(HttpCanary(canary_client), store, own, settings.canary_interval_seconds)
            parts.append(asyncio.create_task(watcher, name="canary"))
        parts.append(asyncio.create_task(watch(partial(observe, store, queue), settings), name="watch"))
        await run_until_one_ends(parts, stop)


async def _first(stop: asyncio.Event, work: Any) -> bool:
    """True when `work` ended before `stop` was set."""
    halt, task = asyncio.create_task(stop.wait()), asyncio.create_task(work)
    await asyncio.wait([halt, task], return_when=asyncio.FIRST_COMPLETED)
    for each in (halt, task):
        if not each.done():
            each.cancel()
    await asyncio.gather(halt, task, return_exceptions=True)
    if task.done() and not task.cancelled() and task.exception():
        raise task.exception() or RuntimeError("unreachable")
    return not stop.is_set()
