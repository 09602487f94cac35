"""What kubelet and Prometheus get at the operator's own ports, over HTTP, while it starts, stands by, leads and has lost its Lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from tests.harness.http import local_client
from tests.unit.serving.test_agent_process import free_port

from llama_operator.adapters import lease
from llama_operator.adapters.http_server import HttpServer
from llama_operator.adapters.kube import Kube
from llama_operator.adapters.lease import MARGIN_SECONDS, Lease
from llama_operator.control.health import Health

LEASE_SECONDS = 15.0
OK = (200, {"status": "ok"})
LOST = (503, {"status": "the Lease is lost and the process has not ended"})
Get = Callable[[str], Awaitable[httpx.Response]]


class OneLease:
    """An API server that keeps one Lease, as far as `Lease` asks."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] | None = None

    async def get(self, *_: str) -> dict[str, Any] | None:
        return self.kept

    async def create_unguarded(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.kept = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}}
        return self.kept

    async def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.kept = manifest
        return self.kept


@asynccontextmanager
async def served(health: Health, *, together: bool = True) -> AsyncIterator[tuple[Get, Get]]:
    """How to ask the health port, and the metrics port."""
    server = HttpServer(healthy=health.healthy, ready=health.ready, expose=lambda: b"up 1\n")
    first = free_port()
    second = first if together else free_port()
    await server.start(first, second)
    try:
        async with local_client() as client:
            yield lambda path: client.get(f"http://127.0.0.1:{first}{path}"), lambda path: client.get(f"http://127.0.0.1:{second}{path}")
    finally:
        await server.stop()


async def said(get: Get) -> list[tuple[int, Mapping[str, Any]]]:
    """What /healthz and /readyz answer."""
    answers = [await get("/healthz"), await get("/readyz")]
    return [(answer.status_code, answer.json()) for answer in answers]


def test_it_is_ready_when_it_stands_by_and_unhealthy_once_its_lease_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: now))

    async def story() -> None:
        nonlocal now
        api = cast("Kube", OneLease())
        mine, other = (Lease("llama-system", "llama-operator", name, LEASE_SECONDS) for name in ("mine", "other"))
        health = Health(held=lambda: mine.held)
        async with served(health) as (get, _):
            assert await said(get) == [OK, (503, {"status": "starting"})]
            health.standby = True
            assert await said(get) == [OK, OK]
            await mine.acquire(api)
            health.led = True
            assert await said(get) == [OK, OK]
            now += LEASE_SECONDS - MARGIN_SECONDS - 0.1
            assert await said(get) == [OK, OK]
            now += 0.2  # nobody renewed it: this process was frozen, or the API server away
            assert await said(get) == [LOST, OK]
            assert not await other._try(api)
            now += LEASE_SECONDS + 1
            await other.acquire(api)
            assert await said(get) == [LOST, OK]

    asyncio.run(story())


@pytest.mark.parametrize("together", [True, False], ids=["one port", "two ports"])
def test_the_metrics_have_the_port_that_is_given_and_the_checks_theirs(together: bool) -> None:
    async def story() -> None:
        async with served(Health(held=lambda: False), together=together) as (health, metrics):
            answer = await metrics("/metrics")
            assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"up 1\n", CONTENT_TYPE_LATEST)
            assert (await health("/healthz")).status_code == 200
            assert (await metrics("/healthz")).status_code == (200 if together else 404)
            assert (await health("/")).status_code == 404

    asyncio.run(story())


def test_a_port_that_is_taken_is_an_error_and_nothing_is_left_open() -> None:
    async def story() -> None:
        taken = await asyncio.start_server(lambda *_: None, None, 0)
        port = taken.sockets[0].getsockname()[1]
        server = HttpServer(healthy=lambda: None, ready=lambda: None, expose=lambda: b"")
        with pytest.raises(OSError, match="address already in use"):
            await server.start(port, port)
        await server.stop()
        taken.close()

    asyncio.run(story())
