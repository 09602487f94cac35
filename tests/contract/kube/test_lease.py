"""The Lease outlives an API server that is silent for a moment, and one of several that is lost with every connection to it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from kubernetes.aio import client
from tests.harness.virtual_time import run_virtually

from llama_operator.adapters import kube as kube_module
from llama_operator.adapters import lease as lease_module
from llama_operator.adapters.kube import Kube, apart
from llama_operator.adapters.lease import MARGIN_SECONDS, Lease
from llama_operator.ports import ApiError, NotLeader

SECONDS = 15.0
SILENT, REFUSED, LATE = "no answer", "refused", "written, no answer"


class Server:
    """Keeps one Lease. `moods` say how the next requests fare; a silent one ends after `patience` seconds, as `Kube` has it."""

    def __init__(self, patience: float) -> None:
        self.patience, self.moods, self.always = patience, list[str](), ""
        self.version = 0
        self.kept: dict[str, Any] | None = None

    async def _fare(self) -> str:
        mood = self.moods.pop(0) if self.moods else self.always
        if mood == SILENT:
            await asyncio.sleep(self.patience)
        if mood in (SILENT, REFUSED):
            raise ApiError(0, "NoAnswer", mood)
        return mood

    async def get(self, *_: str) -> Any:
        await self._fare()
        return self.kept

    async def create_unguarded(self, manifest: dict[str, Any]) -> dict[str, Any]:
        return await self.replace(manifest)

    async def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        mood = await self._fare()
        self.version += 1
        self.kept = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(self.version)}}
        if mood == LATE:
            await asyncio.sleep(self.patience)
            raise ApiError(0, "NoAnswer", mood)
        return self.kept


async def holder(monkeypatch: pytest.MonkeyPatch) -> tuple[Lease, Server]:
    """One that leads since 0 s, by the loop's clock."""
    monkeypatch.setattr(lease_module, "time", SimpleNamespace(monotonic=asyncio.get_running_loop().time))
    lease = Lease("llama-system", "llama-operator", "me", SECONDS)
    server = Server(lease.turn)
    await lease.acquire(cast("Kube", server))
    return lease, server


@pytest.mark.parametrize(
    "moods",
    [[SILENT], ["", SILENT], [SILENT, SILENT], ["", SILENT, SILENT], ["", LATE], ["", LATE, SILENT], [REFUSED, REFUSED], [SILENT, REFUSED]],
    ids=str,
)
def test_requests_that_nobody_answers_are_repeated_before_the_lease_is_lost(moods: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        lease, server = await holder(monkeypatch)
        server.moods = list(moods)
        keeper = asyncio.create_task(lease.keep(cast("Kube", server)))
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert not keeper.done()
            lease.guard()
        keeper.cancel()

    run_virtually(story())


@pytest.mark.parametrize("mood", [SILENT, REFUSED])
def test_a_server_that_stays_silent_ends_the_holder_which_writes_nothing_from_the_margin_on(
    mood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        lease, server = await holder(monkeypatch)
        server.always = mood
        keeper, loop = asyncio.create_task(lease.keep(cast("Kube", server))), asyncio.get_running_loop()
        while not keeper.done():
            assert lease.held is (loop.time() < SECONDS - MARGIN_SECONDS)
            await asyncio.sleep(0.25)
        assert loop.time() <= SECONDS - MARGIN_SECONDS + lease.turn
        with pytest.raises(NotLeader):
            await keeper

    run_virtually(story())


async def test_the_leases_requests_end_soon_and_each_has_a_connection_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp takes another idle connection where one hung, and those lead to the same lost server."""
    monkeypatch.setattr(kube_module, "TIMEOUT_SECONDS", 30.0)
    end, connections = asyncio.Event(), list[Any]()

    async def answer(request: web.Request) -> web.Response:
        connections.append(request.transport)
        if request.method == "GET" and len(connections) == 3:
            await end.wait()
        return web.json_response({"metadata": {"name": "l", "namespace": "n"}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = client.Configuration()
    settings.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    shared = client.ApiClient(settings)
    everything, lease = Kube(shared), Kube(apart(shared), patience=0.2)
    manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "namespace": "n"}}
    try:
        await everything.get("Lease", "n", "l")
        await lease.get("Lease", "n", "l")
        with pytest.raises(ApiError, match="NoAnswer"):
            await asyncio.wait_for(lease.get("Lease", "n", "l"), 5)
        await lease.get("Lease", "n", "l")
        await lease.replace(manifest)
        await everything.get("Lease", "n", "l")
    finally:
        end.set()
        await everything.close()
        await lease.close()
        await runner.cleanup()
    assert connections[0] is connections[-1]
    assert len(set(map(id, connections))) == len(connections) - 1
